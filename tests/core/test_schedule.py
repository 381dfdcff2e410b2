"""The places of attempts within a second."""

import pytest

from probe.core.model import Surface
from probe.core.schedule import SPREAD_US, Slot, phase_us, slots

BOTH = (Surface.API, Surface.SMTP)


@pytest.mark.parametrize(
    ("vantage", "target", "surface", "expected_us"),
    [
        ("vie1", "main", Surface.API, 673_289),
        ("vie1", "main", Surface.SMTP, 97_797),
        ("vie2", "main", Surface.API, 375_135),
        ("vie1", "zürich", Surface.API, 600_690),
    ],
)
def test_a_phase_is_the_same_on_every_machine_and_after_every_restart(
    vantage: str, target: str, surface: Surface, expected_us: int
) -> None:
    """A phase depends on the three names alone, so its value can be written down here."""
    assert phase_us(vantage, target, surface) == expected_us


def test_names_that_read_alike_when_joined_have_phases_of_their_own() -> None:
    """The border between vantage and target is part of the name."""
    assert phase_us("a", "bc", Surface.API) != phase_us("ab", "c", Surface.API)


def test_nothing_is_owed_without_targets() -> None:
    """No targets, no slots."""
    assert slots("vie1", []) == ()


def test_every_surface_owes_as_many_attempts_as_its_target_asks() -> None:
    """Each target, surface and ordinal has exactly one slot, and the slots stand in the order of starting."""
    owed = slots("vie1", [("main", BOTH, 3), ("small", (Surface.SMTP,), 1)])
    assert {(slot.target, slot.surface, slot.ordinal) for slot in owed} == {
        *(("main", surface, ordinal) for surface in BOTH for ordinal in range(3)),
        ("small", Surface.SMTP, 0),
    }
    assert len(owed) == 7
    assert [slot.offset_us for slot in owed] == sorted(slot.offset_us for slot in owed)


@pytest.mark.parametrize("attempts_per_second", [1, 2, 3, 7, 10, 100])
def test_attempts_of_one_surface_are_evenly_apart(attempts_per_second: int) -> None:
    """The spread is a ring: the step from each attempt to the next is the same, to the microsecond's rounding."""
    offsets = [slot.offset_us for slot in slots("vie1", [("main", (Surface.API,), attempts_per_second)])]
    following = [*offsets[1:], offsets[0] + SPREAD_US]
    steps = {after - before for before, after in zip(offsets, following, strict=True)}
    assert max(steps) - min(steps) <= 1
    assert 0 <= min(offsets) <= max(offsets) < SPREAD_US
    assert phase_us("vie1", "main", Surface.API) in offsets


def test_many_targets_are_spread_over_the_whole_of_the_nine_tenths() -> None:
    """Of 3,000 targets each tenth of a second gets its share, and the last tenth none."""
    owed = slots("vie1", [(f"target-{number}", BOTH, 1) for number in range(3_000)])
    shares = [0] * 10
    for slot in owed:
        shares[slot.offset_us // 100_000] += 1
    assert shares[9] == 0
    assert all(abs(share - 6_000 / 9) < 6_000 / 9 * 0.2 for share in shares[:9])


def test_a_new_target_moves_no_other_one() -> None:
    """Adding a target, or naming the targets in another order, leaves every slot where it was."""
    before = slots("vie1", [("a", BOTH, 2), ("b", BOTH, 1)])
    after = slots("vie1", [("c", BOTH, 5), ("b", BOTH, 1), ("a", BOTH, 2)])
    assert tuple(slot for slot in after if slot.target != "c") == before


def test_another_vantage_looks_at_another_moment() -> None:
    """Two vantages do not fire at the same instant."""
    assert slots("vie1", [("main", BOTH, 1)]) != slots("vie2", [("main", BOTH, 1)])


def test_a_target_named_twice_is_refused() -> None:
    """Two targets of one name would owe the same attempt twice."""
    with pytest.raises(AssertionError):
        slots("vie1", [("main", BOTH, 1), ("main", BOTH, 1)])


@pytest.mark.parametrize("attempts_per_second", [0, -1])
def test_a_target_that_owes_nothing_is_refused(attempts_per_second: int) -> None:
    """A target without attempts would never be observed."""
    with pytest.raises(AssertionError):
        slots("vie1", [("main", BOTH, attempts_per_second)])


@pytest.mark.parametrize("offset_us", [-1, SPREAD_US])
def test_a_slot_outside_the_spread_is_refused(offset_us: int) -> None:
    """No attempt starts in the last tenth of a second."""
    with pytest.raises(AssertionError):
        Slot(target="main", surface=Surface.API, ordinal=0, offset_us=offset_us)
