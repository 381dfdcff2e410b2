"""From the ledger's order of things to lives, and what each side owes in them."""

from dataclasses import replace
from typing import Any

import pytest

from probe.core.happenings import Act, Happening, Party, Stage, named
from probe.core.lives import Life, add, distinct, lives_of
from probe.core.model import IssueEvent, IssueTurn
from probe.core.obligations import Duty, ObligationState, Pledges, obligations
from probe.core.procedure import Refused

S = 1_000_000
MINUTE = 60
PENDING, MET, MISSED = ObligationState.PENDING, ObligationState.MET, ObligationState.MISSED


def turn(issue: str, word: str, since: int, noticed: int) -> IssueEvent:
    """Make a turn that the engine saw."""
    return IssueEvent(issue=issue, target="main", turn=IssueTurn(word), since_second=since, noticed_second=noticed)


def tell(act: Act, at_s: int, issue: str = "a", **more: Any) -> Happening:
    """Make something that somebody tells."""
    fields = {"recorded_us": at_s * S, "actor": "nina", "words": "so it was", **more}
    return named(Happening(target="main", issue=issue, act=act, at_us=at_s * S, **fields))


OPEN_A = turn("a", "opened", 1_000, 1_060)
UP_A = turn("a", "restored", 1_300, 1_360)
OPEN_B = turn("b", "opened", 2_000, 2_060)
UP_B = turn("b", "restored", 2_300, 2_360)
YES = tuple(tell(Act.AGREED, 1_400, party=party, words="") for party in Party)


def test_a_new_opening_before_both_agreed_is_a_relapse() -> None:
    """Both names lead to the one life, and happenings under either belong to it."""
    called = tell(Act.LINE_CALLED, 2_100, issue="b")
    lives = lives_of([OPEN_A, UP_A, YES[0], OPEN_B, called, UP_B])

    life = lives["b"]
    assert life is lives["a"]
    assert (life.issue, life.names, life.procedure.relapses) == ("a", ("a", "b"), 1)
    assert [one.act for one in life.happenings] == [
        Act.OPENED, Act.RESTORED, Act.AGREED, Act.RELAPSED, Act.LINE_CALLED, Act.RESTORED,
    ]  # fmt: skip
    assert {one.issue for one in life.happenings} == {"a"}
    assert (life.procedure.stage, life.procedure.agreed) == (Stage.RESTORED, ())


@pytest.mark.parametrize("end", [YES, (tell(Act.RECLASSIFIED, 1_400),)])
def test_after_the_end_an_opening_is_a_new_issue(end: tuple[Happening, ...]) -> None:
    """What was agreed, or was no Critical Issue, is not opened again."""
    lives = lives_of([OPEN_A, UP_A, *end, OPEN_B])
    assert [life.issue for life in distinct(lives)] == ["a", "b"]
    assert lives["a"].procedure.is_over
    assert lives["b"].procedure.stage is Stage.OPEN


def test_a_restoration_after_a_reclassification_changes_nothing() -> None:
    """The record has it as a turn; the issue was over before."""
    before = lives_of([OPEN_A, tell(Act.RECLASSIFIED, 1_200)])
    after = lives_of([OPEN_A, tell(Act.RECLASSIFIED, 1_200), UP_A])
    assert after == before


def test_what_the_record_lost_its_beginning_of_is_passed_over() -> None:
    """Retention may cut an opening and leave what came after it."""
    assert lives_of([UP_A, tell(Act.LINE_CALLED, 1_100), OPEN_B]) == lives_of([OPEN_B])


def test_what_was_sealed_and_does_not_fit_is_shown_beside_the_life() -> None:
    """A record that today's rules would refuse neither breaks the fold nor vanishes."""
    odd = tell(Act.CALLED_BACK, 1_100)
    life = lives_of([OPEN_A, odd])["a"]
    assert life.procedure.revision == 1
    assert life.unfitting == ((odd, "nobody has called the provider about a yet, so nobody can have called back"),)


def test_what_is_told_is_judged_by_what_was_told_before() -> None:
    """The same thing is not added twice, nor to an issue of another target."""
    called = tell(Act.LINE_CALLED, 1_100)
    life = add(lives_of([OPEN_A])["a"], called)
    assert life.procedure.line_called_us == 1_100 * S
    with pytest.raises(Refused, match="recorded already"):
        add(life, called)
    with pytest.raises(Refused, match="an issue of main, not of other"):
        add(life, replace(called, target="other"))


# What is owed.


def owed(life: Life, now_s: int, pledges: Pledges = Pledges()) -> list[tuple[str, str, int, str, int]]:  # noqa: B008
    """List obligations in plain values, seconds."""
    return [
        (one.name, one.owed_by, one.due_us // S, one.state, one.met_us // S)
        for one in obligations(life, pledges, now_s * S)
    ]


@pytest.mark.parametrize(
    ("now_s", "state"), [(1_061, PENDING), (1_060 + 5 * MINUTE, PENDING), (1_061 + 5 * MINUTE, MISSED)]
)
def test_the_line_is_called_within_the_customers_own_target(now_s: int, state: ObligationState) -> None:
    """The time runs from the second in which the issue was noticed, not from the one it is dated back to."""
    life = lives_of([OPEN_A])["a"]
    assert owed(life, now_s) == [(Duty.CALL_LINE, Party.CUSTOMER, 1_060 + 5 * MINUTE, state, 0)]


def test_a_call_back_after_fifteen_minutes_is_missed_for_ever() -> None:
    """It says when it came all the same; one that is told late with a good time is met."""
    called: tuple[IssueEvent | Happening, ...] = (OPEN_A, tell(Act.LINE_CALLED, 1_100))
    due = 1_100 + 15 * MINUTE
    assert owed(lives_of(called)["a"], due)[1] == (Duty.CALL_BACK, Party.PROVIDER, due, PENDING, 0)
    assert owed(lives_of(called)["a"], due + 1)[1] == (Duty.CALL_BACK, Party.PROVIDER, due, MISSED, 0)
    late = lives_of([*called, tell(Act.CALLED_BACK, due + 1)])["a"]
    assert owed(late, due + 5)[1] == (Duty.CALL_BACK, Party.PROVIDER, due, MISSED, due + 1)
    in_time = lives_of([*called, tell(Act.CALLED_BACK, due, recorded_us=(due + 999) * S)])["a"]
    assert owed(in_time, due + 999)[1] == (Duty.CALL_BACK, Party.PROVIDER, due, MET, due)


def test_updates_are_owed_by_the_promise_or_else_by_the_cadence() -> None:
    """Each update is due by what the one before it promised, in order of their true times."""
    life = lives_of(
        [
            OPEN_A,
            tell(Act.LINE_CALLED, 1_100),
            tell(Act.UPDATED, 5_000),
            tell(Act.CALLED_BACK, 1_200, next_update_us=2_000 * S, recorded_us=5_100 * S),
        ]
    )["a"]
    updates = [one for one in owed(life, 5_200) if one[0] == Duty.UPDATE]
    assert updates == [
        (Duty.UPDATE, Party.PROVIDER, 2_000, MISSED, 5_000),
        (Duty.UPDATE, Party.PROVIDER, 5_000 + 30 * MINUTE, PENDING, 0),
    ]


def test_what_was_pending_when_the_issue_was_over_lapses() -> None:
    """Nobody owes an update of what is resolved; what was missed before that stays missed."""
    early: tuple[IssueEvent | Happening, ...] = (
        OPEN_A,
        tell(Act.LINE_CALLED, 1_100),
        tell(Act.CALLED_BACK, 1_200),
        UP_A,
        *YES,
    )
    assert [one[0] for one in owed(lives_of(early)["a"], 99_999)] == [Duty.CALL_LINE, Duty.CALL_BACK]
    uncalled = lives_of([OPEN_A, UP_A, *YES])["a"]
    assert owed(uncalled, 99_999) == [(Duty.CALL_LINE, Party.CUSTOMER, 1_360, MISSED, 0)]


def test_without_a_line_a_case_is_owed_and_no_call_back() -> None:
    """The newer contract promises none."""
    life = lives_of([OPEN_A, tell(Act.CASE_SUBMITTED, 1_100), tell(Act.ESCALATED, 1_110)])["a"]
    assert owed(life, 9_999, Pledges(has_line=False)) == [(Duty.SUBMIT_CASE, Party.CUSTOMER, 1_360, MET, 1_100)]
