"""What happens when in a soak, all of it from one seed: fault windows, and what is done to the daemon."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

from probe.core.model import Surface

if TYPE_CHECKING:
    from tests.soak.soak_faults import ROWS, WHOLE_KINDS, Row
else:
    from soak_faults import ROWS, WHOLE_KINDS, Row

FRACTION_SHARE = 0.25
# An attempt of one window must have ended before the next begins.
GAP_SECONDS = ((5, 8), (8, 20), (17, 45))
LENGTH_SECONDS = ((1, 5), (5, 15), (20, 40))
# Nothing is done to the daemon so soon after the last thing, nor at the ends of the run.
CALM_SECONDS = 14


class Deed(StrEnum):
    """What is done to the daemon."""

    RELOAD = "reload"
    STOP = "stop"
    KILL = "kill"


# In an hour 8 reloads, 5 stops and 4 kills or so; a shorter run has at least one of each.
EVERY_SECONDS = {Deed.RELOAD: 420, Deed.STOP: 660, Deed.KILL: 780}


@dataclass(slots=True, kw_only=True)
class Window:
    """One fault from second `first` to before `end`; the instants at which it really began and ended are noted."""

    first: int
    end: int
    row: Row
    began_s: float = 0.0
    ended_s: float = 0.0


def windows(seed: int, target: str, surface: Surface, first: int, seconds: int) -> list[Window]:
    """Fill a span with faults and healthy gaps; each row of the table comes before any comes twice."""
    dice = Random(f"{seed}/{target}/{surface}")  # noqa: S311 - repeatable, not secret.
    rows = _dealt(dice, surface)
    found: list[Window] = []
    at = first + dice.randint(3, 12)
    while True:
        end = at + dice.randint(*dice.choice(LENGTH_SECONDS))
        if end > first + seconds - CALM_SECONDS:
            return found
        row = next(rows)
        if row.fault.kind not in WHOLE_KINDS and dice.random() < FRACTION_SHARE:
            row = row.with_fraction(dice.choice((0.1, 0.5, 0.9)))
        found.append(Window(first=at, end=end, row=row))
        at = end + dice.randint(*dice.choice(GAP_SECONDS))


def deeds(seed: int, first: int, seconds: int) -> list[tuple[float, Deed]]:
    """List what is done to the daemon, at instants anywhere within a second."""
    dice = Random(f"{seed}/deeds")  # noqa: S311 - repeatable, not secret.
    wanted: list[tuple[float, Deed]] = []
    for deed, every in EVERY_SECONDS.items():
        step = min(every, seconds / 3.5)
        at = first + step * dice.uniform(0.5, 0.9)
        while at < first + seconds - CALM_SECONDS:
            wanted.append((at, deed))
            at += step * dice.uniform(0.9, 1.1)
    wanted.sort()
    kept: list[tuple[float, Deed]] = []
    for at, deed in wanted:
        later = max(at, kept[-1][0] + CALM_SECONDS) if kept else at
        if later < first + seconds - CALM_SECONDS:
            kept.append((later, deed))
    return kept


def _dealt(dice: Random, surface: Surface) -> Iterator[Row]:
    while True:
        rows = list(ROWS[surface])
        dice.shuffle(rows)
        yield from rows
