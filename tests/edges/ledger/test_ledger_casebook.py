"""What the daemon drafts of the seconds in its ledger, and what it shows of the cases there."""

import os
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from probe import clock
from probe.casebook import AGAIN_US, CaseBook, CaseTerms
from probe.core.calendar import ServiceZone
from probe.core.case_happenings import Case, CaseAct, CaseHappening, CaseStage, Way, named_case
from probe.core.case_obligations import CaseDuty, CasePledges
from probe.core.drafting import DraftRule
from probe.core.happenings import PROGRAM, Party
from probe.core.lapses import Lapse
from probe.core.procedure import Refused
from probe.ledger import Ledger, cases_in, propose, verify
from probe.metrics import Metrics
from probe.service_zones import business_hours
from probe.view import View

S = clock.SECOND_US
RULE = DraftRule(unavailable_seconds=2, period_s=600)


class StillClock(clock.SystemClock):
    """A clock that is moved by hand."""

    def __init__(self, now_us: int) -> None:
        super().__init__()
        self.us = now_us

    def now_us(self) -> int:
        """Tell the time."""
        return self.us


class _Target:
    name = "main"
    surfaces = ()


class Scene:
    """A book over a ledger, and what it says; `restart` makes both anew, as after a crash."""

    def __init__(self, path: Path, script: Any) -> None:
        self.path, self.script = path, script
        self.clock = StillClock(script.next_second * S)
        self.lines: list[Any] = []
        self.rule: DraftRule | None = RULE
        self.troubled = False
        self.lapses: list[Lapse] = []

    async def restart(self) -> None:
        """Begin with what the ledger has."""
        self.ledger = Ledger(str(self.path), "vantage-1", wall_us=lambda: self.clock.us)
        await self.ledger.open()
        self.registry = CollectorRegistry()
        metrics = Metrics(self.registry, version="0", rules_version=2)
        metrics.configure([_Target()], [])
        self.view = View(version="0", vantage="here", started_second=0)
        self.view.configure("here", self.script.terms, [])
        self.book = CaseBook(
            address=str(self.path), ledger=self.ledger, clock=self.clock, metrics=metrics, view=self.view,
            tell=self.lapses.append, paused=lambda: self.troubled,
        )  # fmt: skip
        self.configure()

    def configure(self) -> None:
        """Let the book follow all targets by the rule."""
        pledges = CasePledges(hours=business_hours(ServiceZone.UK, {}))
        window_s = self.script.terms["main"].persistence.window_seconds
        terms = CaseTerms(pledges=pledges, rule=self.rule, window_s=window_s)
        self.book.configure(
            dict.fromkeys(self.script.terms, terms), {name: one.next_second for name, one in self.script.states.items()}
        )

    async def play(self, letters: str, *, is_told: bool = True) -> list[str]:
        """Keep a second for each letter, "d" where the target is down, and let the book look after each."""
        with capture_logs() as lines:
            for letter in letters:
                batch = self.script.second(down=["main"] if letter == "d" else [])
                await self.ledger.append(batch)
                self.clock.us = self.script.next_second * S
                if is_told:
                    for step in batch.steps:
                        self.book.kept(step)
                    await self.book.look()
        self.lines = lines
        return [line["event"] for line in lines]

    async def kill(self) -> None:
        """End it without a word."""
        await self.ledger.close()

    def case(self) -> Case:
        """Give the one case that the ledger has."""
        (case,) = cases_in(str(self.path)).values()
        return case

    async def tell(self, act: CaseAct, **more: Any) -> None:
        """Have a person tell something of the case."""
        now_us, case = self.clock.us, self.case()
        fields = {"actor": "nina", "words": "so", "at_us": now_us, "recorded_us": now_us, **more}
        told = named_case(CaseHappening(case=case.case, target="main", act=act, **fields))
        propose(str(self.path), told, wait_s=0)
        assert await self.ledger.take_inbox() == (told,)
        self.book.told(told)

    def shown(self) -> Any:
        """Give what the status says of the target's cases."""
        return next(one for one in self.view.status()["targets"] if one["target"] == "main")["cases"]

    def metric(self, name: str, **labels: str) -> float:
        """Give a sample."""
        within = ",".join(f'{label}="{value}"' for label, value in sorted({**labels, "target": "main"}.items()))
        text = generate_latest(self.registry).decode()
        return float(text.split(f"sev1probe_{name}{{{within}}} ")[1].split("\n")[0])


@pytest.fixture
async def scene(path: Path, script: Any) -> Any:
    """Give a book over a calm ledger."""
    made = Scene(path, script)
    await made.restart()
    await made.play("uu")
    yield made
    await made.kill()


async def test_a_draft_is_kept_told_and_shown(scene: Scene) -> None:
    """The log names the commands that review it; the chain has it, and so have status and metrics."""
    assert await scene.play("duuuuuduuuu") == []
    assert await scene.play("u") == ["case.drafted"]
    case = scene.case()
    assert (case.stage, case.cause, case.seconds, case.happenings[0].actor) == (
        CaseStage.DRAFT, "http_error", 2, PROGRAM,
    )  # fmt: skip
    (line,) = scene.lines
    assert (line["log_level"], line["see"]) == ("warning", f"sev1probe case show {case.case} --config FILE")
    assert verify(str(scene.path)).sound
    assert [(one["stage"], one["unavailable_seconds"]) for one in scene.shown()] == [("draft", 2)]
    assert (scene.metric("cases", stage="draft"), scene.metric("cases", stage="open")) == (1, 0)


async def test_a_crash_between_any_two_steps_leaves_one_draft(scene: Scene) -> None:
    """Whether it was killed before it heard of the last seconds or after, the next daemon drafts once."""
    await scene.play("duuuuud")
    await scene.kill()
    await scene.restart()
    await scene.play("uuuu", is_told=False)
    await scene.kill()
    await scene.restart()
    assert await scene.play("u") == ["case.drafted"]
    assert await scene.play("duuuuu") == ["case.joined"]
    await scene.play("duuuuu")
    for _ in range(2):
        await scene.kill()
        await scene.restart()
        assert await scene.play("u") == []
    assert await scene.play("u" * 60) == ["case.joined"]
    await scene.kill()
    await scene.restart()
    assert await scene.play("u" * 70) == []
    case = scene.case()
    assert (case.stage, case.seconds, case.revision) == (CaseStage.DRAFT, 4, 3)


async def test_of_a_person_and_the_program_at_once_the_second_sees_what_the_first_did(scene: Scene) -> None:
    """Seconds do not join what was opened a moment before, though the book has not heard of it yet."""
    await scene.play("duuuuuduuuuu")
    case = scene.case()
    opened = named_case(
        CaseHappening(
            case=case.case, target="main", act=CaseAct.OPENED, at_us=scene.clock.us, recorded_us=scene.clock.us,
            actor="nina",
        )
    )  # fmt: skip
    await scene.ledger.draft("main", lambda _: opened)
    assert await scene.play("duuuuuu" + "u" * 60) == []
    assert (scene.case().stage, scene.case().seconds) == (CaseStage.OPEN, 2)
    scene.book.told(opened)
    assert await scene.play("duuuuu") == ["case.drafted"]
    assert sorted(one.stage for one in cases_in(str(scene.path)).values()) == ["draft", "open"]


async def test_what_the_rules_refuse_is_not_kept(scene: Scene) -> None:
    """A second draft of a cause, whoever decides on it; the seconds go on in the same chain."""
    await scene.play("duuuuuduuuuu")
    again = named_case(
        CaseHappening(
            target="main", act=CaseAct.DRAFTED, at_us=scene.clock.us, recorded_us=scene.clock.us, actor=PROGRAM,
            kind=scene.case().kind, title="x", cause="http_error", seconds=1,
            first_second=scene.script.next_second - 1, last_second=scene.script.next_second - 1,
        )
    )  # fmt: skip
    with pytest.raises(Refused, match="a draft of the same cause already"):
        await scene.ledger.draft("main", lambda _: again)
    propose(str(scene.path), again, wait_s=0)
    assert await scene.ledger.take_inbox() == ()
    await scene.play("u")
    assert scene.case().seconds == 2
    assert verify(str(scene.path)).sound


async def test_a_case_of_people_is_shown_until_it_is_over(scene: Scene) -> None:
    """With what the provider owes in it, in business time; nothing remains of it afterwards."""
    await scene.play("duuuuuduuuuu")
    await scene.tell(CaseAct.OPENED)
    await scene.tell(CaseAct.SUBMITTED, way=Way.DASHBOARD, reference="4711")
    await scene.play("u")
    assert scene.metric("cases", stage="submitted") == 1
    assert scene.metric("case_obligations", obligation="respond", state="pending") == 1
    assert [one["state"] for one in scene.shown()[0]["obligations"]] == ["pending"]
    scene.clock.us += 30 * 86_400 * S
    await scene.book.look()
    assert scene.metric("case_obligations", obligation="respond", state="missed") == 1
    await scene.tell(CaseAct.WITHDRAWN)
    await scene.book.look()
    assert scene.shown() == []
    assert scene.metric("cases", stage="submitted") == 0
    assert scene.metric("case_obligations", obligation="respond", state="missed") == 0


async def test_an_issue_of_its_own_is_no_draft(scene: Scene) -> None:
    """Its seconds never count, in the running daemon and after a restart."""
    assert await scene.play("dddduuuuuuuuuuu") == []
    await scene.kill()
    await scene.restart()
    assert await scene.play("duuuuuuu") == []
    assert cases_in(str(scene.path)) == {}


async def test_drafting_can_be_switched_off_and_on(scene: Scene) -> None:
    """While it is off nothing is drafted; switched on it takes up the seconds of the period."""
    scene.rule = None
    scene.configure()
    assert await scene.play("duuuuuduuuuuuu") == []
    scene.rule = RULE
    scene.configure()
    assert await scene.play("u") == ["case.drafted"]


async def test_a_ledger_in_trouble_is_asked_again(scene: Scene) -> None:
    """What was seen meanwhile is drafted once it can be read and written."""
    await scene.play("duuuuud")
    scene.troubled = True
    await scene.play("uuuuuu")
    assert cases_in(str(scene.path)) == {}
    scene.troubled = False
    away = scene.path.with_suffix(".away")
    os.rename(scene.path, away)
    with capture_logs() as lines:
        await scene.book.look()
        await scene.book.look()
    assert [line["event"] for line in lines] == ["case.not_followed"]
    os.rename(away, scene.path)
    scene.clock.us += AGAIN_US
    with capture_logs() as lines:
        await scene.book.look()
    assert [line["event"] for line in lines] == ["case.drafted"]


async def test_an_answer_that_does_not_come_is_noted_once_and_again_when_it_came(scene: Scene) -> None:
    """The provider owes it in business time; a missed one is for the ledger, the metrics and the couriers."""
    await scene.play("duuuuuduuuuu")
    await scene.tell(CaseAct.OPENED)
    await scene.tell(CaseAct.SUBMITTED, way=Way.DASHBOARD, reference="4711")
    await scene.book.look()
    assert scene.lapses == []
    scene.clock.us += 5 * 86_400 * S  # Whatever day it is, a whole business day has passed.
    await scene.book.look()
    await scene.book.look()
    (missed,) = scene.lapses
    assert (missed.case, missed.obligation, missed.owed_by, missed.raised) == (
        scene.case().case, CaseDuty.RESPOND, Party.PROVIDER, True,
    )  # fmt: skip
    assert scene.metric("obligations_missed_total", obligation="case_respond") == 1
    scene.book.take_up(scene.lapses)
    await scene.tell(CaseAct.REPLIED, party=Party.PROVIDER)
    await scene.book.look()
    assert [lapse.raised for lapse in scene.lapses] == [True, False]
    assert "late" in scene.lapses[-1].words
