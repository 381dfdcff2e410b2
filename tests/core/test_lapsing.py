"""What the program notes of obligations that were missed: each once, and once more when it is no longer owed."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.core.calendar import BusinessHours
from probe.core.case_happenings import Case, CaseAct, CaseHappening, CaseKind, Way, named_case
from probe.core.case_obligations import CasePledges, case_obligations
from probe.core.cases import cases_of
from probe.core.happenings import Act, Happening, Party, named
from probe.core.lapses import Key, Lapse
from probe.core.lapsing import changes, debt_of_case, debt_of_issue, ending_of_case, ending_of_issue
from probe.core.lives import Life, add, distinct, lives_of
from probe.core.model import IssueEvent, IssueTurn
from probe.core.obligations import ObligationState, Pledges, obligations
from probe.core.procedure import Refused

S = 1_000_000
OPENED_S, NOTICED_S = 1_000, 1_060
CALL_DUE_S = NOTICED_S + 300  # by the customer's own target
EVENTS = (
    IssueEvent(issue="a", target="main", turn=IssueTurn.OPENED, since_second=OPENED_S, noticed_second=NOTICED_S),
    IssueEvent(issue="a", target="main", turn=IssueTurn.RESTORED, since_second=1_070, noticed_second=1_090),
)


def tell(act: Act, at_s: int, recorded_s: int | None = None, **more: Any) -> Happening:
    """Make something that somebody tells."""
    recorded_us = (at_s if recorded_s is None else recorded_s) * S
    fields = {"actor": "nina", "words": "so it was", **more}
    return named(Happening(target="main", issue="a", act=act, at_us=at_s * S, recorded_us=recorded_us, **fields))


def life_of(*told: Happening) -> Life:
    """Fold a life."""
    (life,) = distinct(lives_of([*EVENTS, *told]))
    return life


class Notes:
    """What is noted, look by look."""

    def __init__(self) -> None:
        self.noted: dict[Key, Lapse] = {}
        self.turns: list[Lapse] = []

    def look(self, lives: Iterable[Life], at_s: int, pledges: Pledges | None = None) -> list[tuple[str, bool, str]]:
        """Look at lives; give what is noted of it."""
        lives = tuple(lives)
        debts = [
            debt_of_issue(life, one) for life in lives for one in obligations(life, pledges or Pledges(), at_s * S)
        ]
        found = changes(self.noted, debts, {life.issue: ending_of_issue(life) for life in lives}, at_s * S)
        self.noted |= {lapse.key: lapse for lapse in found}
        self.turns += found
        assert {lapse.noticed_us for lapse in found} <= {at_s * S}
        return [(lapse.obligation, lapse.raised, lapse.words) for lapse in found]


CALLED = tell(Act.LINE_CALLED, 1_120, reference="S1-4711")
BACK_DUE_S = 1_120 + 900  # contract.md: within 15 minutes of the call


def test_a_call_back_that_does_not_come_is_noted_once_after_15_minutes() -> None:
    """Not before the last second is over; with the reference to quote; and then never again."""
    notes, life = Notes(), life_of(CALLED)
    assert notes.look([life], BACK_DUE_S) == []
    assert notes.look([life], BACK_DUE_S + 1) == [
        ("call_back", True, "the record has none; the provider's reference is S1-4711")
    ]
    assert notes.look([life], BACK_DUE_S + 2) == []
    (lapse,) = notes.turns
    assert (lapse.owed_by, lapse.due_us, lapse.issue, lapse.name) == (
        Party.PROVIDER, BACK_DUE_S * S, "a", "call_back",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("back_s", "words"),
    [
        (BACK_DUE_S - 60, "it came in time after all, at 1970-01-01 00:32:40 UTC, as was told afterwards"),
        (BACK_DUE_S + 1, "it came 1 s late, at 1970-01-01 00:33:41 UTC"),
        (BACK_DUE_S + 125, "it came 2 min 5 s late, at 1970-01-01 00:35:45 UTC"),
    ],
)
def test_what_came_after_all_is_no_longer_owed(back_s: int, words: str) -> None:
    """The record says whether it came late, or in time and was only told late; once."""
    notes = Notes()
    notes.look([life_of(CALLED)], BACK_DUE_S + 200)
    life = life_of(CALLED, tell(Act.CALLED_BACK, back_s, BACK_DUE_S + 290))
    assert notes.look([life], BACK_DUE_S + 300) == [("call_back", False, words)]
    assert notes.look([life], BACK_DUE_S + 301) == []


def test_what_came_late_before_anybody_saw_it_missed_pages_nobody() -> None:
    """It is noted as over and never as raised."""
    notes = Notes()
    late = tell(Act.CALLED_BACK, BACK_DUE_S + 10, BACK_DUE_S + 20)
    words = "it came 10 s late, at 1970-01-01 00:33:50 UTC"
    assert notes.look([life_of(CALLED, late)], BACK_DUE_S + 30) == [("call_back", False, words)]


def test_the_end_of_the_issue_ends_what_is_owed_and_raises_nothing() -> None:
    """A lapse ends with its issue; what nobody had noted by then is not noted any more."""
    notes = Notes()
    notes.look([life_of()], CALL_DUE_S + 1)
    over = life_of(tell(Act.RECLASSIFIED, CALL_DUE_S + 100))
    assert notes.look([over], CALL_DUE_S + 101) == [("call_line", False, "the issue is reclassified")]
    assert Notes().look([over], CALL_DUE_S + 101) == []


def test_an_issue_that_was_over_before_its_time_owed_nothing() -> None:
    """The end is told afterwards, with its true time."""
    notes = Notes()
    notes.look([life_of()], CALL_DUE_S + 1)
    over = life_of(tell(Act.RECLASSIFIED, CALL_DUE_S - 100, CALL_DUE_S + 50))
    assert notes.look([over], CALL_DUE_S + 60) == [("call_line", False, "the issue is reclassified")]


def test_another_due_time_is_another_lapse() -> None:
    """An earlier call, told later, moves the call back; the old lapse ends before the new one begins."""
    notes = Notes()
    notes.look([life_of(CALLED)], BACK_DUE_S + 1)
    life = life_of(CALLED, tell(Act.LINE_CALLED, 1_100, BACK_DUE_S + 5))
    assert [(raised, words) for _, raised, words in notes.look([life], BACK_DUE_S + 6)] == [
        (False, "it is due at another time, by what was told or agreed since"),
        (True, "the record has none; the provider's reference is S1-4711"),
    ]


def test_of_an_issue_that_is_not_known_now_nothing_changes() -> None:
    """A ledger that can't be read at a start ends no page."""
    notes = Notes()
    notes.look([life_of()], CALL_DUE_S + 1)
    assert notes.look([], CALL_DUE_S + 2) == []
    assert [lapse.raised for lapse in notes.noted.values()] == [True]


HOURS = BusinessHours(name="round-the-week", zone=ZoneInfo("UTC"), opens=time(0), closes=time(23), holiday=lambda _: "")
CASE_AT_US = 1_764_000_000 * S  # a Monday, 16:00


def case_of(*more: CaseHappening) -> Case:
    """Make a case that is submitted, and what followed."""
    opening = case_happening(CaseAct.OPENED, 0, kind=CaseKind.INFORMATION_REQUEST, title="limits")
    submitted = case_happening(CaseAct.SUBMITTED, 0, case=opening.case, way=Way.DASHBOARD, reference="4711")
    (case,) = cases_of([opening, submitted, *(named_case(replace(one, case=opening.case)) for one in more)]).values()
    return case


def case_happening(act: CaseAct, after_s: int, **more: Any) -> CaseHappening:
    """Make what happens in a case."""
    at_us = CASE_AT_US + after_s * S
    fields = {"at_us": at_us, "recorded_us": at_us, "actor": "nina", "words": "said", **more}
    return named_case(CaseHappening(target="main", act=act, **fields))


def test_an_answer_that_is_not_given_in_a_case_is_noted_until_it_comes() -> None:
    """By the same rules, in the case's own obligations; the next update is another one."""
    pledges = CasePledges(hours=HOURS, respond_within_us=3_600 * S)
    noted: dict[Key, Lapse] = {}

    def look(case: Case, after_s: int) -> list[tuple[str, bool, str]]:
        now_us = CASE_AT_US + after_s * S
        debts = [debt_of_case(case, one) for one in case_obligations(case, pledges, now_us)]
        found = changes(noted, debts, {case.case: ending_of_case(case)}, now_us)
        noted.update({lapse.key: lapse for lapse in found})
        return [(lapse.name, lapse.raised, lapse.words) for lapse in found]

    assert look(case_of(), 3_600) == []
    assert look(case_of(), 3_601) == [("case_respond", True, "the record has none; the provider's reference is 4711")]
    answered = case_of(case_happening(CaseAct.REPLIED, 3_660, party=Party.PROVIDER))
    assert look(answered, 3_700) == [("case_respond", False, "it came 1 min 0 s late, at 2025-11-24 17:01:00 UTC")]
    noted.clear()
    look(case_of(), 3_601)
    withdrawn = case_of(case_happening(CaseAct.WITHDRAWN, 3_660))
    assert look(withdrawn, 3_700) == [("case_respond", False, "the case is withdrawn")]


TOLD = st.tuples(
    st.sampled_from([Act.LINE_CALLED, Act.CALLED_BACK, Act.UPDATED, Act.RECLASSIFIED]),
    st.integers(0, 4_000),  # how long before it is told it happened
    st.integers(1, 1_500),  # until the next one is told
)


@given(st.lists(TOLD, max_size=12), st.integers(1, 700))
def test_whatever_is_told_each_obligation_is_noted_once_and_ends_once(
    script: list[tuple[Act, int, int]], every_s: int
) -> None:
    """Raised at most once and over at most once; in the end exactly what is missed and owed is raised."""
    notes, life, now_s = Notes(), life_of(), NOTICED_S
    for act, ago_s, pause_s in script:
        try:
            life = add(life, tell(act, max(OPENED_S, now_s - ago_s), now_s))
        except Refused:
            continue
        for at_s in range(now_s, now_s + pause_s, every_s):
            notes.look([life], at_s)
        now_s += pause_s
    notes.look([life], now_s)

    turns: dict[Key, list[bool]] = {}
    for lapse in notes.turns:
        turns.setdefault(lapse.key, []).append(lapse.raised)
    assert all(found in ([True], [True, False], [False]) for found in turns.values())
    owed = {
        debt.key
        for debt in (debt_of_issue(life, one) for one in obligations(life, Pledges(), now_s * S))
        if debt.state is ObligationState.MISSED and not debt.met_us and not life.procedure.is_over
    }
    assert {lapse.key for lapse in notes.noted.values() if lapse.raised} == owed
