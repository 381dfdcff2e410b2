"""Drafts of Support Cases: which seconds they count, what joins them, and what is refused."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.core.case_happenings import Case, CaseAct, CaseHappening, CaseStage, named_case
from probe.core.cases import EVIDENCE_S_MAX, JOININGS_MAX, add_case, cases_of
from probe.core.drafting import (
    DraftRule,
    Recollection,
    UnavailableSecond,
    after,
    is_pending,
    is_within,
    issue_spans,
    proposal,
    recalled,
    seen_of,
    unavailable_of,
)
from probe.core.engine import advance, begin, skip
from probe.core.happenings import PROGRAM
from probe.core.model import Cause, Fault, Outcome, Persistence, Phase, Step, Surface, Terms
from probe.core.notice_values import CaseTurn, Wording
from probe.core.notices_of_cases import notice_of_case
from probe.core.procedure import Refused

S = 1_000_000
FIRST = 1_764_000_000
WINDOW_S = 5
TERMS = Terms(
    profile="sparkpost-enterprise",
    persistence=Persistence(unavailable_seconds=3, window_seconds=WINDOW_S, recovery_seconds=2),
    objective_ppm=999_900,
    surfaces=(Surface.API, Surface.SMTP),
)
RULE = DraftRule(unavailable_seconds=3, period_s=60)
CAUSES = {"a": (Fault.NONE, Cause.ACCEPTED), "h": (Fault.SERVER_ERROR, Cause.HTTP_ERROR),
          "s": (Fault.SERVER_TIMEOUT, Cause.SILENT), "c": (Fault.CLIENT, Cause.CREDENTIALS)}  # fmt: skip


class Target:
    """A target whose seconds are played, with what is remembered of them and the cases that come of it."""

    def __init__(self, rule: DraftRule = RULE) -> None:
        self.rule = rule
        self.state = begin("main", TERMS, FIRST)
        self.steps: list[Step] = []
        self.known = Recollection()
        self.cases: dict[str, Case] = {}

    @property
    def now_us(self) -> int:
        """Give the moment after the last second."""
        return self.state.next_second * S

    def play(self, letters: str) -> None:
        """Play a second for each letter: of a cause where both surfaces fail by it, or upper case for SMTP alone."""
        for letter in letters:
            second, fault = self.state.next_second, CAUSES[letter.lower()]
            faults = (CAUSES["a"], fault) if letter.isupper() else (fault, fault)
            outcomes = [outcome(surface, second, *one) for surface, one in zip(TERMS.surfaces, faults, strict=True)]
            self.state, step = advance(self.state, TERMS, second, outcomes, ())
            self._take(step)
            self.decide()

    def leap(self, seconds: int) -> None:
        """Let nobody look for so long."""
        self.state, step = skip(self.state, TERMS, self.state.next_second + seconds - 1, "the daemon was down")
        self._take(step)
        self.decide()

    def _take(self, step: Step) -> None:
        self.steps.append(step)
        self.known = after(self.known, seen_of(step), WINDOW_S, self.rule.remembered_s)

    def restarted(self) -> Recollection:
        """Make what is remembered anew, by the record as a daemon that was killed finds it when it starts."""
        # A run that nobody saw, because no daemon ran, is closed by the new one.
        *before, last = self.steps
        found = before if last.reason else self.steps
        next_second = found[-1].second + found[-1].seconds if found else FIRST
        since = next_second - WINDOW_S - self.rule.remembered_s
        unavailable = [one for step in found if step.second >= since and (one := unavailable_of(step))]
        turns = [turn for step in found for turn in step.events]
        known = recalled(next_second - 1, unavailable, turns, WINDOW_S, self.rule.remembered_s)
        return after(known, seen_of(last), WINDOW_S, self.rule.remembered_s)

    def proposed(self, known: Recollection) -> CaseHappening | None:
        """Say what is proposed now by what is remembered."""
        return proposal("main", self.cases, known, self.rule, self.now_us)

    def decide(self) -> None:
        """Keep what is proposed; after a restart it must be the same."""
        known = self.restarted()
        while (proposed := self.proposed(self.known)) is not None:
            assert self.proposed(known) == proposed
            assert is_pending("main", self.cases, self.known.certain, self.rule)
            self.keep(proposed)
        assert self.proposed(known) is None

    def keep(self, happening: CaseHappening) -> None:
        """Have a happening kept, as the ledger's writer does."""
        self.cases[happening.case] = add_case(self.cases, happening)

    def tell(self, act: CaseAct, case: Case, actor: str = "nina", **more: Any) -> CaseHappening:
        """Make what a person tells of a case now."""
        fields = {"at_us": self.now_us, "recorded_us": self.now_us, "words": "so", **more}
        return named_case(CaseHappening(case=case.case, target="main", act=act, actor=actor, **fields))

    @property
    def drafts(self) -> list[Case]:
        """List the drafts that nobody has opened or withdrawn."""
        return [case for case in self.cases.values() if case.stage is CaseStage.DRAFT]

    def loose(self, cause: str) -> list[int]:
        """List, by all that is known at the end, the Unavailable seconds of a cause that no issue has."""
        spans = issue_spans([turn for step in self.steps for turn in step.events])
        found = [one for step in self.steps if (one := unavailable_of(step)) is not None]
        return [one.second for one in found if one.cause == cause and not is_within(one.second, spans)]


def outcome(surface: Surface, second: int, fault: Fault, cause: Cause) -> Outcome:
    """Make an attempt's outcome."""
    return Outcome(
        target="main", surface=surface, second=second, ordinal=0, started_us=second * S, duration_us=1,
        fault=fault, cause=cause, phase=Phase.FINAL,
    )  # fmt: skip


@pytest.fixture
def target() -> Target:
    """Give a target that nobody has looked at yet."""
    return Target()


def test_seconds_that_did_not_persist_become_a_draft_once_that_is_certain(target: Target) -> None:
    """The third one of a cause drafts the case, and not before it has left the window of the persistence."""
    target.play("ahaaaaahaaaaaHaaa")
    assert target.cases == {}
    target.play("a")
    assert target.cases == {}
    target.play("a")
    (case,) = target.drafts
    assert (case.cause, case.seconds) == ("http_error", 3)
    assert (case.first_second, case.last_second, case.through_second) == (FIRST + 1, FIRST + 13, FIRST + 13)
    assert case.title == "API calls and SMTP injections fail for single seconds: http_error"
    assert case.words == (
        "3 Unavailable seconds from 2025-11-24 16:00:01 UTC to 2025-11-24 16:00:13 UTC, by the same cause: http_error. "
        "The service says itself that it failed (HTTP 5xx). All API calls failed in 2 of them. "
        "All SMTP injections failed in 3 of them. It did not persist: no Critical Issue has these seconds."
    )


@pytest.mark.parametrize(
    ("letters", "why"),
    [
        ("hahaaaaaaaaaaaaa", "two are not enough"),
        ("haaaaahaaaaasaaaaaaa", "nor are three of two causes"),
        ("hhhaaaaaaaaaaa", "three at once are a Critical Issue"),
        ("hhhhahhahhaaaaaaaaa", "nor does any second of it count"),
        ("cacaaacaaaaacaaaaaaa", "our own fault is never theirs"),
        ("haaaaah" + "a" * 60 + "haaaaaaa", "one of the three is older than the period"),
    ],
)
def test_nothing_else_becomes_a_draft(target: Target, letters: str, why: str) -> None:
    """Only enough non-persistent seconds of one cause within the period do."""
    target.play(letters)
    assert target.cases == {}, why


def test_a_long_sleep_of_the_daemon_loses_nothing(target: Target) -> None:
    """Seconds that were in the window when it was killed are drafted after days."""
    target.play("haaaaahaaaaah")
    target.leap(5 * 86_400)
    assert [case.seconds for case in target.drafts] == [3]


def test_what_is_too_old_to_count_is_forgotten(target: Target) -> None:
    """Memory has a bound, however long a service fails for single seconds."""
    for _ in range(20):
        target.play("haaaaas")
        target.leap(200)
    assert len(target.known.certain) == 2 * 2


def test_all_seconds_that_are_certain_by_then_are_in_the_draft() -> None:
    """More than enough of them do not wait for a minute."""
    target = Target(DraftRule(unavailable_seconds=1, period_s=60))
    target.play("hh")
    target.leap(100)
    assert [case.seconds for case in target.drafts] == [2]


def test_an_outage_is_drafted_as_a_whole_once_it_is_over(target: Target) -> None:
    """While further seconds are uncertain it waits, but not for longer than a minute's worth of seconds."""
    target.play("haahaahaah" + "aaaa")
    assert target.cases == {}
    target.play("a")
    assert [case.seconds for case in target.drafts] == [4]
    endless = Target()
    endless.play("haa" * 40)
    (case,) = endless.drafts
    assert (case.last_second - case.first_second, case.seconds) == (60, 21)


def test_later_seconds_join_the_draft_at_once_and_then_each_minute_at_most(target: Target) -> None:
    """They are counted once, and the evidence reaches to the last of them."""
    target.play("haaaaahaaaaah" + "aaaaah" * 20 + "a" * 70)
    (case,) = target.drafts
    assert (case.seconds, case.last_second) == (23, FIRST + 12 + 120)
    joinings = [one.at_us for one in case.happenings if one.act is CaseAct.JOINED]
    assert joinings[0] == (FIRST + 19) * S + 5 * S
    assert len(joinings) == 3
    assert all(later - before >= 60 * S for before, later in pairwise(joinings))
    assert case.happenings[-1].words.endswith(": 23 in all.")


def test_couriers_have_words_for_all_that_the_program_adds(target: Target) -> None:
    """The draft asks for a review, and what joins it says how many seconds it has now."""
    target.play("haaaaahaaaaahaaaaahaaaaa")
    (case,) = target.drafts
    wording = Wording(vantage="here")
    drafted, joined = (notice_of_case(CaseTurn(what=one, title=case.title), wording) for one in case.happenings)
    assert f"Review it: sev1probe case show {case.case}." in drafted.text
    assert "further seconds join the draft" in joined.text
    assert "4 in all" in joined.text


def test_a_draft_that_somebody_opened_takes_no_more(target: Target) -> None:
    """Further seconds begin another draft once they are enough by themselves."""
    target.play("haaaaahaaaaahaaaaa")
    (first,) = target.drafts
    target.keep(target.tell(CaseAct.OPENED, first))
    target.play("haaaaahaaaaa")
    assert target.drafts == []
    target.play("haaaaa")
    (second,) = target.drafts
    assert (second.seconds, second.first_second > first.through_second) == (3, True)


def test_a_withdrawn_draft_is_not_drafted_again_from_the_same_seconds(target: Target) -> None:
    """What it counted is spent."""
    target.play("haaaaahaaaaahaaaaa")
    (first,) = target.drafts
    target.keep(target.tell(CaseAct.WITHDRAWN, first))
    target.play("ahaaaaaaaahaaaaaa")
    assert target.drafts == []


def test_the_evidence_stays_bounded_while_more_is_counted() -> None:
    """Seconds that lie further than an hour from the first are in the count, and not in the evidence."""
    target = Target(DraftRule(unavailable_seconds=2, period_s=86_400))
    target.play("h")
    target.leap(EVIDENCE_S_MAX)
    target.play("haaaaa")
    (case,) = target.drafts
    assert (case.seconds, case.first_second, case.last_second) == (2, FIRST + 3_601, FIRST + 3_601)
    target.leap(EVIDENCE_S_MAX - 10)
    target.play("hahaaaaaa")
    target.leap(100)
    target.play("haaaaaa")
    target.leap(60)
    (case,) = target.drafts
    assert (case.seconds, case.last_second) == (5, FIRST + 3_601 + 5 + EVIDENCE_S_MAX - 10 + 1 + 2)
    assert case.through_second > case.first_second + EVIDENCE_S_MAX


def test_a_draft_has_room_for_people(target: Target) -> None:
    """After very many joinings it takes no more seconds, but can still be opened."""
    target.play("haaaaahaaaaahaaaaa")
    (case,) = target.drafts
    joined = target.tell(CaseAct.JOINED, case, PROGRAM, cause=case.cause, seconds=1)
    for number in range(1, JOININGS_MAX + 1):
        moved = {"last_second": case.through_second + number, "at_us": target.now_us + number * S}
        target.keep(named_case(replace(joined, **moved, recorded_us=moved["at_us"])))  # type: ignore[arg-type]
    target.play("h" + "a" * 1_200 + "haaaaahaaaaaahaaaaaaa")
    (case,) = target.drafts
    assert case.seconds == 3 + JOININGS_MAX
    assert not is_pending("main", target.cases, target.known.certain, RULE)
    target.keep(target.tell(CaseAct.OPENED, case))
    assert is_pending("main", target.cases, target.known.certain, RULE)


REFUSALS: list[tuple[CaseAct, dict[str, Any], str]] = [
    (CaseAct.JOINED, {"actor": "nina"}, "counts the seconds of a cause"),
    (CaseAct.JOINED, {"actor": "nina", "cause": "", "seconds": 0}, "only the program lets seconds join"),
    (CaseAct.JOINED, {"cause": ""}, "counts the seconds of a cause"),
    (CaseAct.JOINED, {"seconds": 0}, "counts the seconds of a cause"),
    (CaseAct.JOINED, {"cause": "silent"}, "seconds join a draft of their own cause only"),
    (CaseAct.JOINED, {"last_second": FIRST + 12}, "already, and each once"),
    (CaseAct.JOINED, {"seconds": 3}, "already, and each once"),
    (CaseAct.JOINED, {"last_second": FIRST + 1_000}, "has not happened yet"),
    (CaseAct.JOINED, {"first_second": FIRST}, "were said when it began"),
    (CaseAct.JOINED, {"title": "another"}, "were said when it began"),
    (CaseAct.OPENED, {"cause": "", "seconds": 0, "last_second": 0}, "the program itself"),
    (CaseAct.WITHDRAWN, {"cause": "", "seconds": 0, "last_second": 0}, "the program itself"),
    (CaseAct.WITHDRAWN, {"actor": "nina", "last_second": 0}, "counts the seconds of a cause"),
]


@pytest.mark.parametrize(("act", "fields", "sentence"), REFUSALS)
def test_what_the_program_may_not_do_is_refused_in_words(
    target: Target, act: CaseAct, fields: dict[str, Any], sentence: str
) -> None:
    """The draft stays as it is."""
    target.play("haaaaahaaaaahaaaaa")
    (case,) = target.drafts
    whole = {"actor": PROGRAM, "cause": case.cause, "seconds": 2, "last_second": FIRST + 14, **fields}
    with pytest.raises(Refused, match=sentence):
        target.keep(target.tell(act, case, **whole))


def test_a_second_draft_of_a_cause_is_refused_and_so_is_what_joins_an_opened_one(target: Target) -> None:
    """Whoever proposes it, the procedure holds that there is one draft of a target and a cause at most."""
    target.play("haaaaahaaaaahaaaaa")
    (case,) = target.drafts
    drafted = replace(case.happenings[0], recorded_us=target.now_us, case="case-00000000", happening="")
    with pytest.raises(Refused, match=f"{case.case} is a draft of the same cause already"):
        target.keep(drafted)
    target.keep(replace(drafted, case="case-00000001", cause="silent"))
    target.keep(target.tell(CaseAct.OPENED, case))
    with pytest.raises(Refused, match=f"and {case.case} is open"):
        target.keep(target.tell(CaseAct.JOINED, case, PROGRAM, cause=case.cause, seconds=1, last_second=FIRST + 14))
    target.keep(drafted)
    assert len(target.drafts) == 2


def test_people_draft_without_a_cause_as_often_as_they_like(target: Target) -> None:
    """The rule is about what the program drafts by itself."""
    target.play("haaaaahaaaaahaaaaa")
    (case,) = target.drafts
    drafted = replace(case.happenings[0], actor="nina", cause="", seconds=0, case="", happening="")
    for title in ("one", "another"):
        target.keep(named_case(replace(drafted, title=title)))
    assert len(target.drafts) == 3
    with pytest.raises(Refused, match="counts the seconds of a cause"):
        target.keep(named_case(replace(drafted, cause="silent")))


PLAYED = st.one_of(
    st.text("ahHsSc", min_size=1, max_size=12),
    st.sampled_from(["aaaaaa", "a" * 70, "haaaaahaaaaah"]),
    st.integers(min_value=1, max_value=500),
    st.sampled_from([CaseAct.OPENED, CaseAct.WITHDRAWN]),
)


@given(st.lists(PLAYED, max_size=25), st.integers(min_value=1, max_value=4), st.sampled_from([20, 60, 400]))
def test_whatever_happens_each_second_counts_once_and_one_draft_is_open(
    played: list[str | int | CaseAct], needed: int, period_s: int
) -> None:
    """By the whole record each counted second was Unavailable and in no issue; a restart changes nothing."""
    target = Target(DraftRule(unavailable_seconds=needed, period_s=period_s))
    for one in played:
        if isinstance(one, int):
            target.leap(one)
        elif not isinstance(one, CaseAct):
            target.play(one)
        elif target.drafts:
            target.keep(target.tell(one, target.drafts[0]))
        causes = [case.cause for case in target.drafts]
        assert len(causes) == len(set(causes))
    check_the_counts(target)
    told = sorted((one for case in target.cases.values() for one in case.happenings), key=lambda one: one.at_us)
    assert cases_of(told) == target.cases


def check_the_counts(target: Target) -> None:
    """Hold each happening of the program against the whole record."""
    for cause in {case.cause for case in target.cases.values()}:
        loose, counted = target.loose(cause), 0
        for case in (case for case in target.cases.values() if case.cause == cause):
            for one in case.happenings:
                if one.actor == PROGRAM:
                    first = one.first_second or counted + 1
                    assert first > counted
                    assert one.seconds == sum(first <= second <= one.last_second for second in loose)
                    counted = one.last_second
            assert case.seconds >= target.rule.unavailable_seconds
            assert case.last_second - case.first_second < EVIDENCE_S_MAX


def test_the_commonest_cause_is_that_of_the_second() -> None:
    """Of surfaces that were available nothing counts, and of equally common causes the first by name."""
    target = Target()
    target.play("aHs")
    assert [unavailable_of(step) for step in target.steps] == [
        None,
        UnavailableSecond(second=FIRST + 1, cause=Cause.HTTP_ERROR, surfaces=(Surface.SMTP,)),
        UnavailableSecond(second=FIRST + 2, cause=Cause.SILENT, surfaces=(Surface.API, Surface.SMTP)),
    ]
    mixed = replace(target.steps[2], outcomes=(*target.steps[2].outcomes[:1], *target.steps[1].outcomes[1:]))
    found = unavailable_of(mixed)
    assert found is not None
    assert found.cause is Cause.HTTP_ERROR
    assert unavailable_of(replace(mixed, outcomes=())) is None
