"""Totals of a range of seconds, as judged and with the excluded windows left out.

Seconds come in as groups that were judged alike, never one by one: a month of one target has 2.6 million seconds.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from probe.core.amendments import Section
from probe.core.model import Basis, Judgement, Surface, Verdict
from probe.core.verdict import judge_target

PPM: Final = 1_000_000

Judged = tuple[Verdict, Basis]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alike:
    """Some `seconds` of one section that were all judged alike; `judged` has each surface that was judged, once.

    Where blocks are counted too, all of them lie in the block whose first second is `block`.
    """

    seconds: int
    judged: tuple[tuple[Surface, Judged], ...]
    block: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """Seconds by what they were judged to be. `excluded` ones stand apart: they are in none of the others.

    `range_seconds` are all of the range that are not excluded, whether the record has them or not.
    """

    available: int = 0
    unavailable_literal: int = 0
    unavailable_corroborated: int = 0
    inconclusive: int = 0
    unobserved: int = 0
    excluded: int = 0
    range_seconds: int = 0

    @property
    def unavailable(self) -> int:
        """Count the unavailable seconds of both bases."""
        return self.unavailable_literal + self.unavailable_corroborated

    @property
    def recorded(self) -> int:
        """Count the seconds that the record has a verdict of, unobserved ones included."""
        return self.available + self.unavailable + self.inconclusive + self.unobserved

    @property
    def unrecorded(self) -> int:
        """Count the seconds of the range that the record has nothing of: not watched yet, to come, or cut."""
        return self.range_seconds - self.recorded

    def availability_percent(self, *, literal_only: bool) -> Fraction | None:
        """Give 100 % minus the share of unavailable seconds in those recorded; None if there are none."""
        if not self.recorded:
            return None
        unavailable = self.unavailable_literal if literal_only else self.unavailable
        return 100 - Fraction(100 * unavailable, self.recorded)

    def budget_s(self, objective_ppm: int) -> Fraction:
        """Give the unavailable seconds that the objective allows in the range (contract: Objective)."""
        return Fraction(self.range_seconds * (PPM - objective_ppm), PPM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """The totals of one surface, or of the target as a whole (`surface` None): as judged, and as amended."""

    surface: Surface | None
    as_judged: Count
    as_amended: Count


@dataclass(slots=True)
class _Sum:
    as_judged: dict[Judged, int] = field(default_factory=dict)
    as_amended: dict[Judged, int] = field(default_factory=dict)
    excluded: int = 0
    range_seconds: int = 0
    range_seconds_excluded: int = 0

    def add(self, judged: Judged, seconds: int) -> None:
        self.as_judged[judged] = self.as_judged.get(judged, 0) + seconds

    def add_amended(self, judged: Judged | None, seconds: int) -> None:
        if judged is None:
            self.excluded += seconds
        else:
            self.as_amended[judged] = self.as_amended.get(judged, 0) + seconds


class Adder:
    """Adds up one target, section by section."""

    def __init__(self, surfaces: Iterable[Surface]) -> None:
        self._sums: dict[Surface | None, _Sum] = {surface: _Sum() for surface in (*surfaces, None)}

    def add(self, section: Section, groups: Iterable[Alike]) -> None:
        """Add a section of the range and what the record has of it."""
        for surface, total in self._sums.items():
            total.range_seconds += section.seconds
            if self._is_left_out(surface, section.excluded):
                total.range_seconds_excluded += section.seconds
        for group in groups:
            self._add(group, section.excluded)

    def totals(self) -> tuple[Totals, ...]:
        """Give the totals: each surface in its order, then the target as a whole."""
        return tuple(
            Totals(
                surface=surface,
                as_judged=_count(total.as_judged, 0, total.range_seconds),
                as_amended=_count(total.as_amended, total.excluded, total.range_seconds - total.range_seconds_excluded),
            )
            for surface, total in self._sums.items()
        )

    def _add(self, group: Alike, excluded: frozenset[Surface]) -> None:
        for surface, judged in group.judged:
            self._sums[surface].add(judged, group.seconds)
            self._sums[surface].add_amended(None if surface in excluded else judged, group.seconds)
        whole = self._sums[None]
        if group.judged:
            whole.add(judge_alike(group.judged), group.seconds)
            rest = tuple((surface, judged) for surface, judged in group.judged if surface not in excluded)
            whole.add_amended(judge_alike(rest) if rest else None, group.seconds)
            if not rest and not self._is_left_out(None, excluded):
                # Another surface of the target was not judged in these seconds, so none is left.
                whole.range_seconds_excluded += group.seconds

    def _is_left_out(self, surface: Surface | None, excluded: frozenset[Surface]) -> bool:
        if surface is not None:
            return surface in excluded
        # The target as a whole is judged by the surfaces that are left, so it is excluded with the last of them only.
        return all(one in excluded for one in self._sums if one is not None)


def judge_alike(judged: Iterable[tuple[Surface, Judged]]) -> Judged:
    """Judge the target as a whole by what its surfaces were judged to be."""
    return judge_target(
        [
            Judgement(surface=surface, verdict=verdict, basis=basis, attempts=0, accepted=0)
            for surface, (verdict, basis) in judged
        ]
    )


def merged(groups: Iterable[Alike]) -> list[Alike]:
    """Put groups that were judged alike together, whatever their blocks."""
    found = Counter[tuple[tuple[Surface, Judged], ...]]()
    for group in groups:
        found[group.judged] += group.seconds
    return [Alike(seconds=seconds, judged=judged) for judged, seconds in found.items()]


def clipped(first_second: int, seconds: int, section: Section) -> int:
    """Count the seconds of a run, from its first on, that lie in a section."""
    first = max(first_second, section.first_second)
    last = min(first_second + seconds - 1, section.last_second)
    return max(0, last - first + 1)


def _count(by: dict[Judged, int], excluded: int, range_seconds: int) -> Count:
    def verdict(wanted: Verdict) -> int:
        return sum(seconds for (found, _), seconds in by.items() if found is wanted)

    return Count(
        available=verdict(Verdict.AVAILABLE),
        unavailable_literal=by.get((Verdict.UNAVAILABLE, Basis.LITERAL), 0),
        unavailable_corroborated=by.get((Verdict.UNAVAILABLE, Basis.CORROBORATED), 0),
        inconclusive=verdict(Verdict.INCONCLUSIVE),
        unobserved=verdict(Verdict.UNOBSERVED),
        excluded=excluded,
        range_seconds=range_seconds,
    )
