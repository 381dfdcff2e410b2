"""Whose word counts among the controls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.core.controls import COUNTED_MAX, FAILED_MAX, ControlRecord, Records, all_failed, hear, witnesses_of
from probe.core.model import Cause, ControlOutcome

SECOND = 1_764_000_000


def control(name: str, *, worked: bool, cause: Cause = Cause.CONNECT_TIMEOUT, trusted: bool = True) -> ControlOutcome:
    """Make the outcome of one control attempt."""
    return ControlOutcome(
        control=name,
        second=SECOND,
        started_us=1,
        duration_us=1,
        worked=worked,
        cause=Cause.ACCEPTED if worked else cause,
        trusted=trusted,
    )


def lived(*seconds: dict[str, bool], records: Records | None = None) -> Records:
    """Live through seconds, each of which says which controls worked."""
    known: Records = records or {}
    for second in seconds:
        known, _ = hear(known, [control(name, worked=worked) for name, worked in second.items()])
    return known


def test_a_control_that_fails_too_often_while_another_works_loses_its_word() -> None:
    """Up to 5 % of the last quarter of an hour is forgiven, one more is not, and then its success tells nothing."""
    records = lived(*[{"good": True, "bad": False}] * FAILED_MAX)
    assert records["bad"].trusted

    records = lived({"good": True, "bad": False}, records=records)

    _, marked = hear(records, [control("good", worked=False), control("bad", worked=True)])
    assert [(outcome.control, outcome.trusted) for outcome in marked] == [("bad", False), ("good", True)]
    assert witnesses_of(marked) == ()


def test_a_control_gets_its_word_back_when_its_failures_lie_behind() -> None:
    """Once enough attempts have worked since, it is believed again."""
    records = lived(*[{"good": True, "bad": False}] * (FAILED_MAX + 1))
    records = lived(*[{"good": True, "bad": True}] * (COUNTED_MAX - FAILED_MAX - 1), records=records)
    assert not records["bad"].trusted

    assert lived({"good": True, "bad": True}, records=records)["bad"].trusted


def test_an_outage_of_our_own_network_costs_no_control_its_word() -> None:
    """When none of several works, the failure is nobody's: an hour of it changes nothing."""
    records = lived(*[{"one": True, "two": True}] * 60, *[{"one": False, "two": False}] * 3_600)

    assert {name: (record.trusted, record.success_ppm) for name, record in records.items()} == {
        "one": (True, 1_000_000),
        "two": (True, 1_000_000),
    }


def test_of_a_single_control_every_failure_counts() -> None:
    """Nobody can tell whose failure it was, so after an outage it corroborates nothing for a while."""
    assert not lived(*[{"only": False}] * (FAILED_MAX + 1))["only"].trusted


@pytest.mark.parametrize("cause", [Cause.DESCRIPTORS, Cause.STALLED, Cause.RESOLVER])
def test_a_failure_of_our_own_does_not_count_against_a_control(cause: Cause) -> None:
    """A prober without descriptors says nothing about the control."""
    records: Records = {}
    for _ in range(100):
        records, _ = hear(records, [control("one", worked=False, cause=cause), control("two", worked=True)])

    assert records.get("one", ControlRecord()).trusted
    assert records["two"].success_ppm == 1_000_000


def test_the_success_rate_is_that_of_the_counted_attempts() -> None:
    """Three of four worked: 75 %."""
    records = lived({"one": True, "two": True}, {"one": False, "two": True}, *[{"one": True, "two": True}] * 2)

    assert records["one"].success_ppm == 750_000
    assert ControlRecord().success_ppm == 1_000_000


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.booleans(), min_size=1), max_size=60))
def test_what_is_remembered_stays_bounded_and_the_order_of_outcomes_never_matters(
    seconds: list[dict[str, bool]],
) -> None:
    """Memory is one bit for each of the last attempts; outcomes may come in any order."""
    records: Records = {}
    for second in seconds:
        outcomes = [control(name, worked=worked) for name, worked in second.items()]
        forward, backward = hear(records, outcomes), hear(records, reversed(outcomes))
        assert forward == backward
        records = forward[0]
    for record in records.values():
        assert record.failures.bit_count() <= record.counted <= COUNTED_MAX
        assert 0 <= record.success_ppm <= 1_000_000


def test_only_trusted_controls_that_worked_are_witnesses() -> None:
    """They are named in the order of their names, whatever order they came in."""
    outcomes = [
        control("z", worked=True),
        control("a", worked=True),
        control("m", worked=False),
        control("flaky", worked=True, trusted=False),
    ]

    assert [witness.control for witness in witnesses_of(outcomes)] == ["a", "z"]


@pytest.mark.parametrize(
    ("outcomes", "speaks_against_us"),
    [
        ([], False),
        ([control("one", worked=False)], True),
        ([control("one", worked=False), control("two", worked=False)], True),
        ([control("one", worked=False), control("two", worked=True)], False),
        ([control("one", worked=False), control("flaky", worked=True, trusted=False)], False),
        ([control("one", worked=False), control("flaky", worked=False, trusted=False)], True),
        ([control("dead", worked=False, trusted=False)], False),
    ],
)
def test_controls_speak_against_our_own_network_when_all_failed_and_one_is_believed(
    outcomes: list[ControlOutcome], speaks_against_us: bool
) -> None:
    """Without controls nobody speaks, and a control that is broken for good is not heard in this either."""
    assert all_failed(outcomes) is speaks_against_us
