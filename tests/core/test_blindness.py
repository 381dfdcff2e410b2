"""When the prober is blind for a target, against a slow reading of the same history."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.core import blindness
from probe.core.blindness import Moment, Sight
from probe.core.model import Basis, Condition, Step, Verdict

S = 1_000_000
AFTER_US = 30 * S
START_SECOND = 1_700_000_000

# Instants in tenths of a second after watching began, each a judgement (True) or somebody who looks (False).
histories = st.lists(st.tuples(st.integers(0, 3_000), st.booleans()), max_size=40).map(sorted)


def moment(tenths: int) -> Moment:
    """Give an instant so long after watching began."""
    return Moment(monotonic_us=7 * S + tenths * S // 10, second=START_SECOND + tenths // 10)


def begun() -> Sight:
    """Begin to watch."""
    return blindness.begin("main", moment(0))


def turns_of(history: list[tuple[int, bool]]) -> list[Condition]:
    """Fold a history."""
    sight, turns = begun(), list[Condition]()
    for tenths, is_judgement in history:
        if is_judgement:
            sight, turned = blindness.judge(sight, moment(tenths), AFTER_US, "the disk is full")
            turns += turned
        else:
            sight, raised = blindness.look(sight, moment(tenths), AFTER_US, "the disk is full")
            turns += [] if raised is None else [raised]
    return turns


@given(histories)
def test_each_stretch_without_a_judgement_that_is_too_long_is_raised_once(history: list[tuple[int, bool]]) -> None:
    """One raised turn for each stretch longer than agreed, dated to its beginning, and one that ends it."""
    judged = [0, *(tenths for tenths, is_judgement in history if is_judgement)]
    last = history[-1][0] if history else 0
    too_long = [(a, b) for a, b in pairwise([*judged, last]) if b - a > 300]
    still_raised = last - judged[-1] > 300
    turns = turns_of(history)
    raised = [turn.since_second for turn in turns if turn.raised]
    assert raised == [START_SECOND + a // 10 for a, _ in too_long]
    over = [turn.noticed_second for turn in turns if not turn.raised]
    ended = too_long[:-1] if still_raised else too_long
    assert over == [START_SECOND + b // 10 for _, b in ended]


@given(histories)
def test_turns_alternate_and_are_never_noticed_before_they_begin(history: list[tuple[int, bool]]) -> None:
    """Raised, over, raised, over; the end repeats the beginning that it ends."""
    turns = turns_of(history)
    assert [turn.raised for turn in turns] == [place % 2 == 0 for place in range(len(turns))]
    assert all(turn.since_second <= turn.noticed_second for turn in turns)
    for first, second in pairwise(turns):
        assert second.raised or second.since_second == first.since_second


@given(histories, st.lists(st.integers(0, 3_000), max_size=20))
def test_looking_more_often_changes_no_stretch(history: list[tuple[int, bool]], looks: list[int]) -> None:
    """Who looks, and when, decides when the condition is noticed and never whether it is raised."""
    ended = [*history, (3_000, True)]
    more = sorted([*ended, *((tenths, False) for tenths in looks)], key=lambda entry: entry[0])
    before, after = turns_of(ended), turns_of(more)
    assert [(turn.since_second, turn.raised) for turn in before] == [(t.since_second, t.raised) for t in after]


@given(st.integers(-100_000, 100_000), st.integers(0, 30))
def test_a_step_of_the_wall_clock_blinds_nobody(step_s: int, real_s: int) -> None:
    """Only time that really passed counts, whatever the seconds are named."""
    now = Moment(monotonic_us=7 * S + real_s * S, second=START_SECOND + real_s + step_s)
    assert blindness.look(begun(), now, AFTER_US, "") == (begun(), None)


def test_a_condition_says_since_when_and_why_and_how_it_ended() -> None:
    """The words are for a person who has never seen the program."""
    raised, over = turns_of([(301, False), (452, True)])
    assert raised == Condition(
        condition="blind",
        target="main",
        since_second=START_SECOND,
        noticed_second=START_SECOND + 30,
        raised=True,
        words="no second was judged for 30 s: the disk is full",
    )
    assert (over.raised, over.words) == (False, "a second was judged again, after 45 s")
    assert (over.since_second, over.noticed_second) == (START_SECOND, START_SECOND + 45)


def test_a_condition_that_was_left_raised_is_not_raised_again() -> None:
    """It goes on from its own beginning, and the next judgement ends it."""
    raised = turns_of([(301, False)])[0]
    sight = blindness.take_up("main", raised, moment(1_000))
    assert blindness.look(sight, moment(2_000), AFTER_US, "") == (sight, None)
    sight, turns = blindness.judge(sight, moment(2_005), AFTER_US, "")
    assert [(turn.raised, turn.since_second, turn.words) for turn in turns] == [
        (False, START_SECOND, "a second was judged again, after 200 s")
    ]
    assert sight == blindness.begin("main", moment(2_005))


def test_a_target_that_is_not_watched_any_more_is_no_alarm() -> None:
    """A condition that is raised ends with the target; without one there is nothing to say."""
    assert blindness.leave(begun(), moment(900)) is None
    sight, _ = blindness.look(begun(), moment(400), AFTER_US, "")
    over = blindness.leave(sight, moment(900))
    assert over is not None
    assert (over.raised, over.words) == (False, "the target is not watched any more")


@pytest.mark.parametrize("verdict", Verdict)
def test_every_verdict_is_a_judgement_but_unobserved(verdict: Verdict) -> None:
    """An inconclusive second was looked at; an unobserved one was not."""
    step = Step(target="main", second=1, seconds=1, verdict=verdict, basis=Basis.NONE, judgements=())
    assert blindness.is_judged(step) == (verdict is not Verdict.UNOBSERVED)
