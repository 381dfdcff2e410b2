"""What the daemon says and shows of the lives in its ledger."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from probe import clock
from probe.core.happenings import Act, Happening, Party, named
from probe.core.lapses import Lapse
from probe.core.obligations import CALL_BACK_WITHIN_US, Pledges
from probe.issuebook import IssueBook
from probe.ledger import Batch, RemarkKind, propose, remarks_of, verify
from probe.ledger.store import Store
from probe.metrics import Metrics
from probe.sheets import Sheets
from probe.view import View

MakeStore = Callable[..., Store]


class StillClock(clock.SystemClock):
    """A clock that is moved by hand."""

    def __init__(self, now_us: int) -> None:
        super().__init__()
        self.us = now_us

    def now_us(self) -> int:
        """Tell the time."""
        return self.us


class Scene:
    """A book over a ledger in which one issue opens."""

    def __init__(self, path: Path, make_store: MakeStore, script: Any) -> None:
        self.path, self.script = path, script
        self.store = make_store(path, wall_us=clock.wall_us)
        self.play(down=0, up=1)
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, version="0", rules_version=2)
        self.metrics.configure([_Target()], [])
        self.view = View(version="0", vantage="here", started_second=0)
        self.view.configure("here", script.terms, [])
        self.clock = StillClock(script.next_second * clock.SECOND_US)
        self.noted: list[Lapse] = []
        self.start()

    def start(self) -> None:
        """Begin a book, as a start of the daemon does; what was noted and not kept is lost."""
        self.noted.clear()
        self.book = IssueBook(
            address=str(self.path),
            sheets=Sheets(str(self.path), lambda: None, self.clock),
            clock=self.clock,
            metrics=self.metrics,
            view=self.view,
            tell=self.noted.append,
        )
        self.book.configure(dict.fromkeys(self.script.terms, Pledges()))
        self.book.take_up(self.kept)

    def keep(self) -> None:
        """Keep what was noted."""
        self.store.append(Batch(remarks=tuple(self.noted)))
        self.noted.clear()

    @property
    def kept(self) -> tuple[Lapse, ...]:
        """Read what was kept."""
        return remarks_of(str(self.path), RemarkKind.LAPSE)

    def play(self, *, down: int, up: int) -> None:
        """Let the service fail, and work again."""
        for _ in range(down):
            self.store.append(self.script.second(down=["main"]))
        for _ in range(up):
            self.store.append(self.script.second())

    async def look(self) -> list[str]:
        """Let the book look as it does each second; return the events that it says."""
        self.book.turned("main")
        with capture_logs() as lines:
            await self.book.look()
        return [line["event"] for line in lines]

    def tell(self, act: Act, **more: Any) -> None:
        """Tell something of the issue, now."""
        now_us = clock.wall_us()
        fields = {"actor": "nina", "words": "so", "issue": self.shown()[0]["issue"], "at_us": now_us, **more}
        happening = named(Happening(target="main", act=act, recorded_us=now_us, **fields))
        self.store.close()
        propose(str(self.path), happening)
        self.store.open()

    def shown(self) -> Any:
        """Give what the status says of the target's issues."""
        return next(one for one in self.view.status()["targets"] if one["target"] == "main")["issues"]

    def metric(self, obligation: str, state: str) -> float | None:
        """Give the count of obligations."""
        labels = {"obligation": obligation, "state": state, "target": "main"}
        return self.registry.get_sample_value("sev1probe_obligations", labels)

    def missed(self, obligation: str) -> float | None:
        """Give the count of those that were found to be missed since the start."""
        labels = {"obligation": obligation, "target": "main"}
        return self.registry.get_sample_value("sev1probe_obligations_missed_total", labels)


class _Target:
    name = "main"
    surfaces = ()


@pytest.fixture
def scene(path: Path, make_store: MakeStore, script: Any) -> Scene:
    """Give a book over a calm ledger."""
    return Scene(path, make_store, script)


async def test_an_obligation_that_passes_its_time_is_said_once(scene: Scene) -> None:
    """It is pending, then missed: in the status, in the metrics, in one line of the log, and in what is to be kept."""
    assert await scene.look() == []
    assert scene.shown() == []
    scene.play(down=4, up=0)
    assert await scene.look() == ["critical_issue.call_sheet"]
    assert [one["state"] for one in scene.shown()[0]["obligations"]] == ["pending"]
    assert scene.metric("call_line", "pending") == 1
    scene.clock.us += Pledges().call_within_us + 9 * clock.SECOND_US
    assert await scene.look() == ["obligation.missed"]
    assert await scene.look() == []
    assert (scene.metric("call_line", "pending"), scene.metric("call_line", "missed")) == (0, 1)
    assert scene.missed("call_line") == 1
    assert [(lapse.obligation, lapse.raised) for lapse in scene.noted] == [("call_line", True)]


async def test_a_call_back_that_did_not_come_is_kept_once_over_restarts(scene: Scene) -> None:
    """What was not kept before the program died is noted anew, what was kept is not; it ends when it is told."""
    scene.play(down=4, up=0)
    await scene.look()
    scene.clock.us = clock.wall_us()
    scene.tell(Act.LINE_CALLED, reference="S1-4711")
    back_us = clock.wall_us()
    assert await scene.look() == ["obligation.over"]  # the call itself came late, and pages nobody any more
    scene.keep()
    scene.clock.us += CALL_BACK_WITHIN_US + 2 * clock.SECOND_US
    assert await scene.look() == ["obligation.missed"]

    scene.start()  # It died before the ledger had it.
    assert await scene.look() == ["obligation.missed"]
    scene.keep()
    with capture_logs() as lines:
        scene.start()
    assert [line["event"] for line in lines] == ["obligation.still_missed"]
    for _ in range(2):
        assert await scene.look() == []
    assert scene.metric("call_back", "missed") == 1
    assert scene.noted == []

    # Told afterwards, with the time at which it really came.
    scene.tell(Act.CALLED_BACK, at_us=back_us)
    assert await scene.look() == ["obligation.over"]
    scene.keep()
    scene.start()
    assert await scene.look() == []
    late, raised, over = scene.kept
    assert (late.obligation, late.raised) == ("call_line", False)
    assert (raised.raised, over.raised, raised.key == over.key) == (True, False, True)
    assert (raised.obligation, raised.owed_by) == ("call_back", Party.PROVIDER)
    assert "S1-4711" in raised.words
    assert "it came in time after all" in over.words
    scene.store.close()
    assert verify(str(scene.path)).sound


async def test_a_target_that_is_watched_no_more_owes_nothing_that_anybody_is_paged_for(scene: Scene) -> None:
    """Nobody follows its issues then, so nobody would end the page."""
    scene.play(down=4, up=0)
    scene.clock.us += Pledges().call_within_us + 9 * clock.SECOND_US
    assert await scene.look() == ["obligation.missed"]
    with capture_logs() as lines:
        scene.book.configure({})
    # The status and the metrics have no place for it any more, so the log says that it is not over.
    (line,) = lines
    assert (line["event"], line["log_level"], line["stage"]) == ("critical_issue.not_watched", "error", "open")
    assert await scene.look() == ["obligation.over"]
    assert scene.noted[-1].words == "the target is not watched any more"
    scene.book.configure({"main": Pledges()})
    assert await scene.look() == []


async def test_an_opening_prints_the_call_sheet(scene: Scene) -> None:
    """Whom to call and what to say stands in the log once the issue is kept; a start with an open one prints none."""
    scene.book.turned("main")
    with capture_logs() as lines:
        await scene.book.look()
        assert lines == []
        scene.play(down=4, up=1)
        scene.book.turned("main")
        await scene.book.look()
    (line,) = lines
    assert (line["event"], line["log_level"], line["target"]) == ("critical_issue.call_sheet", "critical", "main")
    assert line["call_sheet"].startswith("CRITICAL ISSUE: MAIN\n")
    assert "Unavailable persistently since" in line["call_sheet"]


async def test_a_relapse_and_the_end_are_said(scene: Scene) -> None:
    """The same issue goes on under its first name; once both sides agreed nothing is shown of it."""
    scene.play(down=4, up=4)
    await scene.look()
    name = scene.shown()[0]["issue"]
    scene.play(down=4, up=4)
    assert await scene.look() == ["critical_issue.relapsed", "critical_issue.call_sheet"]
    assert (scene.shown()[0]["issue"], len(scene.shown()[0]["names"])) == (name, 2)
    for party in Party:
        scene.tell(Act.AGREED, party=party)
    assert "critical_issue.over" in await scene.look()
    assert scene.shown() == []
    assert scene.noted == []
    assert scene.metric("call_line", "pending") == 0


async def test_a_ledger_that_cannot_be_read_is_read_again(scene: Scene, path: Path) -> None:
    """Nothing is lost: what changed meanwhile is shown once it can be read."""
    scene.play(down=4, up=0)
    away = path.with_suffix(".away")
    os.rename(path, away)
    assert await scene.look() == ["critical_issue.not_read"]
    os.rename(away, path)
    with capture_logs():
        await scene.book.look()
    assert len(scene.shown()) == 1


async def test_an_issue_is_in_the_metrics_until_it_is_over(scene: Scene) -> None:
    """It is shown through its restoration; what came late is overdue no more, although it was missed."""
    await scene.look()
    scene.metrics.contract.name_lines({"main": "+44 20 7946 0000"})
    scene.play(down=4, up=0)
    await scene.look()
    issue = scene.shown()[0]["issue"]
    line = f'call="+44 20 7946 0000",issue="{issue}",line="severity-1",target="main"'
    since = f"sev1probe_critical_issue_since_timestamp_seconds{{{line}}} "
    opened = scene.script.next_second - 4
    text = generate_latest(scene.registry).decode()
    assert float(text.split(since)[1].split("\n")[0]) == opened
    overdue = 'sev1probe_obligations_overdue{obligation="call_line",target="main"} '
    assert f"{overdue}0.0" in text

    scene.clock.us += Pledges().call_within_us + 9 * clock.SECOND_US
    await scene.look()
    assert f"{overdue}1.0" in generate_latest(scene.registry).decode()
    scene.tell(Act.LINE_CALLED, issue=issue)
    await scene.look()
    assert f"{overdue}0.0" in generate_latest(scene.registry).decode()
    assert scene.metric("call_line", "missed") == 1

    scene.play(down=0, up=4)
    await scene.look()
    assert since in generate_latest(scene.registry).decode()
    for party in Party:
        scene.tell(Act.AGREED, issue=issue, party=party)
    await scene.look()
    assert since not in generate_latest(scene.registry).decode()
