"""The opening and the restoration of a Critical Issue.

A history is a list of runs, each a verdict and a number of seconds; `U` and its fellows make it readable.
"""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.core.model import IssueEvent, IssueTurn, Persistence, Verdict
from probe.core.persistence import CALM, PersistenceState, after_second, after_unobserved, issue_name

U, A, I, N = Verdict.UNAVAILABLE, Verdict.AVAILABLE, Verdict.INCONCLUSIVE, Verdict.UNOBSERVED  # noqa: E741 - reads best
FIRST_SECOND = 1_795_379_401
RULE = Persistence()
History = list[tuple[Verdict, int]]


def fold(
    history: Iterable[tuple[Verdict, int]], rule: Persistence = RULE, state: PersistenceState = CALM
) -> tuple[PersistenceState, list[IssueEvent]]:
    """Feed a history to the rule, holes in one go."""
    events: list[IssueEvent] = []
    second = FIRST_SECOND
    for verdict, seconds in history:
        if verdict == N:
            state = after_unobserved(state, rule, seconds)
        else:
            for each in range(second, second + seconds):
                state, turned = after_second(state, rule, "main", each, verdict)
                events.extend(turned)
        second += seconds
    return state, events


def event(issue: str, turn: IssueTurn, since_second: int, noticed_second: int) -> IssueEvent:
    """Make a turn of an issue."""
    return IssueEvent(issue=issue, target="main", turn=turn, since_second=since_second, noticed_second=noticed_second)


def read_by_brute_force(history: History, rule: Persistence) -> list[IssueEvent]:
    """Find the events by reading the whole history again for every second, with no memory but the events."""
    verdicts = [verdict for verdict, seconds in history for _ in range(seconds)]
    seconds = list(enumerate(verdicts, FIRST_SECOND))
    events: list[IssueEvent] = []
    for now, verdict in seconds:
        last = events[-1] if events else None
        if last is None or last.turn == IssueTurn.RESTORED:
            spent = last.noticed_second if last else 0
            evidence = [s for s, v in seconds if v == U and max(now - rule.window_seconds, spent) < s <= now]
            if verdict == U and len(evidence) >= rule.unavailable_seconds:
                events.append(event(issue_name("main", evidence[0]), IssueTurn.OPENED, evidence[0], now))
        elif verdict == A:
            bad = max(s for s, v in seconds if v == U and s <= now)
            run = [s for s, v in seconds if v == A and bad < s <= now]
            if len(run) >= rule.recovery_seconds:
                events.append(event(last.issue, IssueTurn.RESTORED, run[0], now))
    return events


def turns(events: list[IssueEvent]) -> list[tuple[IssueTurn, int, int]]:
    """Give each event's turn and its two seconds, counted from the first of the history."""
    return [(event.turn, event.since_second - FIRST_SECOND, event.noticed_second - FIRST_SECOND) for event in events]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([(U, 59)], []),
        ([(U, 60)], [(IssueTurn.OPENED, 0, 59)]),
        ([(U, 600)], [(IssueTurn.OPENED, 0, 59)]),
        # 60 within exactly 90 seconds, and within 91.
        ([(U, 59), (A, 30), (U, 1)], [(IssueTurn.OPENED, 0, 89)]),
        ([(U, 59), (A, 31), (U, 1)], []),
        ([(U, 59), (A, 31), (U, 2)], []),
        ([(U, 58), (A, 31), (U, 1)], []),
        ([(A, 40), (U, 30), (A, 20), (U, 30)], [(IssueTurn.OPENED, 40, 119)]),
        # Every third second is good: 60 of 90, opening on an unavailable second.
        ([(U, 2), (A, 1)] * 30, [(IssueTurn.OPENED, 0, 88)]),
        # Every second second is good: never more than 45 of 90.
        ([(U, 1), (A, 1)] * 500, []),
        # Inconclusive and unobserved seconds are not unavailable, yet they take their place in the window.
        ([(U, 59), (I, 30), (U, 1)], [(IssueTurn.OPENED, 0, 89)]),
        ([(U, 59), (I, 31), (U, 1)], []),
        ([(U, 59), (N, 30), (U, 1)], [(IssueTurn.OPENED, 0, 89)]),
        ([(U, 59), (N, 31), (U, 1)], []),
        ([(U, 59), (I, 1_000)], []),
        ([(U, 59), (N, 1_000_000)], []),
        ([(U, 59), (N, 10**12), (U, 59)], []),
    ],
)
def test_an_issue_opens_at_sixty_of_the_last_ninety_seconds(
    history: History, expected: list[tuple[IssueTurn, int, int]]
) -> None:
    """The issue opens on the second that makes it sixty, dated back to the first of them."""
    assert turns(fold(history)[1]) == expected


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ([(A, 59)], []),
        ([(A, 60)], [(60, 119)]),
        ([(A, 59), (U, 1), (A, 59)], []),
        ([(A, 59), (U, 1), (A, 60)], [(120, 179)]),
        # Seconds that count neither way stand within the run, before it and behind it, and end nothing.
        ([(A, 30), (I, 100), (A, 30)], [(60, 219)]),
        ([(A, 30), (N, 100), (A, 30)], [(60, 219)]),
        ([(I, 7), (A, 60)], [(67, 126)]),
        ([(A, 59), (I, 1_000)], []),
        ([(A, 59), (N, 1_000), (A, 1)], [(60, 1_119)]),
        ([(I, 1_000)], []),
        ([(N, 1_000)], []),
        # What lies before the restoration is spent.
        ([(A, 60), (U, 59)], [(60, 119)]),
    ],
)
def test_service_is_restored_after_sixty_available_seconds_in_a_row(
    history: History, expected: list[tuple[int, int]]
) -> None:
    """Restoration comes on the sixtieth available second since the last unavailable one, dated back to the first."""
    _, events = fold([(U, 60), *history])
    assert turns(events) == [(IssueTurn.OPENED, 0, 59), *((IssueTurn.RESTORED, *seconds) for seconds in expected)]


def test_spent_evidence_cannot_open_a_second_issue() -> None:
    """After a restoration that is shorter than the window, a new issue needs all of its own evidence."""
    rule = Persistence(unavailable_seconds=5, window_seconds=20, recovery_seconds=2)
    _, events = fold([(U, 5), (A, 2), (U, 4), (A, 1), (U, 1)], rule)
    assert turns(events) == [(IssueTurn.OPENED, 0, 4), (IssueTurn.RESTORED, 5, 6), (IssueTurn.OPENED, 7, 12)]
    assert len({event.issue for event in events}) == 2


def test_an_issue_is_named_by_its_target_and_its_first_second() -> None:
    """Opening and restoration carry one name, that of the second which the opening is dated back to."""
    _, events = fold([(A, 600), (U, 60), (A, 60)])
    assert [event.issue for event in events] == ["main-20261122T204001Z"] * 2


def test_the_memory_is_empty_again_after_restoration() -> None:
    """Nothing of a restored issue is left behind."""
    assert fold([(U, 60), (A, 60)])[0] == CALM


def test_a_hole_of_any_length_costs_the_same() -> None:
    """A thousand years unobserved are taken in at once, and the open issue and its run are still there."""
    before, _ = fold([(U, 60), (A, 59)])
    after = after_unobserved(before, RULE, 1_000 * 366 * 86_400)
    assert (after.open_issue, after.run_seconds, after.window) == (before.open_issue, 59, 0)


def test_lower_terms_act_on_the_next_second_of_the_right_kind() -> None:
    """A changed threshold opens nothing on an available second and restores nothing on an unavailable one."""
    lower = Persistence(unavailable_seconds=5, window_seconds=90, recovery_seconds=5)
    waiting, events = fold([(U, 59)])
    assert events == []
    assert fold([(A, 3), (I, 3), (N, 3)], lower, waiting)[1] == []
    assert len(fold([(A, 3), (U, 1)], lower, waiting)[1]) == 1
    recovering, _ = fold([(U, 60), (A, 59)])
    assert fold([(I, 3), (N, 3), (U, 1)], lower, recovering)[1] == []
    assert len(fold([(I, 3), (A, 1)], lower, recovering)[1]) == 1


def test_a_shorter_window_forgets_what_lies_outside_it() -> None:
    """With a shorter window the old unavailable seconds no longer count."""
    waiting, _ = fold([(U, 59), (A, 20)])
    shorter = Persistence(unavailable_seconds=10, window_seconds=20, recovery_seconds=60)
    assert fold([(U, 1)], shorter, waiting)[1] == []


@pytest.mark.parametrize(
    "wrong",
    [{"window": -1}, {"run_seconds": 1}, {"run_since_second": 5}, {"run_seconds": -1}],
)
def test_a_memory_that_no_history_leads_to_is_refused(wrong: dict[str, int]) -> None:
    """A run without an open issue, or anything negative, is an error of the program."""
    with pytest.raises(AssertionError):
        PersistenceState(**wrong)  # type: ignore[arg-type]


RULES = st.tuples(st.integers(1, 6), st.integers(0, 8), st.integers(1, 6)).map(
    lambda terms: Persistence(
        unavailable_seconds=terms[0], window_seconds=terms[0] + terms[1], recovery_seconds=terms[2]
    )
)
HISTORIES = st.lists(st.tuples(st.sampled_from([U, U, A, A, I, N]), st.integers(1, 9)), max_size=30)


@settings(deadline=None, max_examples=200)
@given(rule=RULES, history=HISTORIES)
def test_the_events_are_those_of_a_brute_force_reading(rule: Persistence, history: History) -> None:
    """A bit mask and a counter find what reading the whole history anew for each second finds."""
    assert fold(history, rule)[1] == read_by_brute_force(history, rule)


@settings(deadline=None, max_examples=200)
@given(rule=RULES, history=HISTORIES)
def test_a_hole_is_so_many_unobserved_seconds(rule: Persistence, history: History) -> None:
    """A hole taken in at once leaves the same memory as the same seconds one by one."""
    single = [(verdict, 1) for verdict, seconds in history for _ in range(seconds)]
    assert fold(history, rule) == fold(single, rule)


@settings(deadline=None, max_examples=200)
@given(rules=st.lists(RULES, min_size=1, max_size=5), history=HISTORIES)
def test_what_must_never_happen_does_not_even_when_terms_change(rules: list[Persistence], history: History) -> None:
    """Openings fall on unavailable seconds, restorations on available ones, in turn, and forward in time."""
    state, events, second = CALM, list[IssueEvent](), FIRST_SECOND
    for number, (verdict, seconds) in enumerate(history):
        rule = rules[number % len(rules)]
        for _ in range(seconds):
            state, turned = after_second(state, rule, "main", second, verdict)
            assert len(turned) <= (verdict in (U, A))
            for event in turned:
                assert event.turn == (IssueTurn.OPENED if verdict == U else IssueTurn.RESTORED)
                assert event.since_second <= event.noticed_second == second
            events.extend(turned)
            assert (state.open_issue is not None) == (len(events) % 2 == 1)
            assert state.window.bit_length() <= rule.window_seconds
            second += 1
    assert all(event.turn == (IssueTurn.RESTORED, IssueTurn.OPENED)[n % 2] for n, event in enumerate(events, 1))
    for before, after in pairwise(events):
        assert before.noticed_second < after.since_second
        assert (before.issue == after.issue) == (after.turn == IssueTurn.RESTORED)
