"""When within its second each attempt starts.

A thousand targets must not fire at once, so every target and surface has a phase of its own within the first 0.9 s. The
phase is a hash of names, not a random number: the same configuration has the same schedule after every restart and on
every machine, and adding a target moves no other one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from probe.core.model import Surface

# The last tenth of the second is left free, so that a late start still starts in the second that owes it.
SPREAD_US = 900_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One attempt that every second owes, and where in the second it starts."""

    target: str
    surface: Surface
    ordinal: int
    offset_us: int

    def __post_init__(self) -> None:
        """Refuse a slot outside the spread."""
        assert self.ordinal >= 0
        assert 0 <= self.offset_us < SPREAD_US


def phase_us(vantage: str, target: str, surface: Surface) -> int:
    """Place a surface in the second by a hash that no restart, machine or Python version changes."""
    name = "\0".join((vantage, target, surface))
    return int.from_bytes(sha256(name.encode()).digest()[:8], "big") % SPREAD_US


def slots(vantage: str, targets: Iterable[tuple[str, Iterable[Surface], int]]) -> tuple[Slot, ...]:
    """List what every second owes, in the order of starting.

    Each target is (name, surfaces, attempts per second).
    """
    owed = tuple(slot for target in targets for slot in _slots_of_target(vantage, *target))
    assert len({(slot.target, slot.surface, slot.ordinal) for slot in owed}) == len(owed)
    return tuple(sorted(owed, key=lambda slot: (slot.offset_us, slot.target, slot.surface, slot.ordinal)))


def _slots_of_target(
    vantage: str, target: str, surfaces: Iterable[Surface], attempts_per_second: int
) -> Iterator[Slot]:
    assert 1 <= attempts_per_second <= SPREAD_US
    for surface in surfaces:
        phase = phase_us(vantage, target, surface)
        for ordinal in range(attempts_per_second):
            offset_us = (phase + ordinal * SPREAD_US // attempts_per_second) % SPREAD_US
            yield Slot(target=target, surface=surface, ordinal=ordinal, offset_us=offset_us)
