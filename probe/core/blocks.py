"""Blocks of minutes, as other agreements count: in how many a second was Unavailable, and in how many every one was.

Blocks are aligned to UTC and part its days evenly, so a day holds each of its blocks whole and is counted by itself.
Most blocks of a day are alike, so each shape is judged once, and of the days before only the counts are kept.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import gcd
from typing import Final

from probe.core.amendments import Section
from probe.core.model import Basis, Surface, Verdict
from probe.core.totals import Alike, Judged, clipped, judge_alike

BLOCK_S_MIN: Final = 60
DAY_S: Final = 86_400

Pattern = tuple[tuple[Surface, Judged], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """A part of a block with the same surfaces `excluded` throughout: its seconds, and those that the record has."""

    excluded: frozenset[Surface]
    seconds: int
    judged: frozenset[tuple[Pattern, int]]


Shape = tuple[Portion, ...]

# What is counted: a surface, or the target (None), and the surfaces with the last of which it is excluded. Which ones
# a target has is known only when all of the range is read, so it is counted as each of them and as both.
Scope = tuple[Surface | None, frozenset[Surface]]
SCOPES: Final[tuple[Scope, ...]] = (
    *((surface, frozenset((surface,))) for surface in Surface),
    *((None, frozenset((surface,))) for surface in Surface),
    (None, frozenset(Surface)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockCount:
    """Blocks with at least one second in the record that is not excluded; no other block is in any number.

    `partial` ones have besides a second of which there is no record, or that lies outside the range. Unavailable
    throughout is a block of which every second is Unavailable or excluded, so never a partial one.
    """

    blocks: int = 0
    partial: int = 0
    any_literal: int = 0
    any_both: int = 0
    throughout_literal: int = 0
    throughout_both: int = 0

    def availability_percent(self, unavailable: int) -> Fraction | None:
        """Give 100 % minus the share of blocks that are taken for unavailable; None if there are no blocks."""
        return 100 - Fraction(100 * unavailable, self.blocks) if self.blocks else None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockTotals:
    """The blocks of one width and of one surface, or of the target as a whole (`surface` None)."""

    block_s: int
    surface: Surface | None
    as_judged: BlockCount
    as_amended: BlockCount


@dataclass(slots=True)
class _Seconds:
    """What the seconds of one block come to."""

    recorded: int = 0
    literal: int = 0
    unavailable: int = 0
    excluded: int = 0

    def add(self, judged: Judged, seconds: int) -> None:
        verdict, basis = judged
        self.recorded += seconds
        if verdict is Verdict.UNAVAILABLE:
            self.unavailable += seconds
            self.literal += seconds if basis is Basis.LITERAL else 0


class BlockAdder:
    """Adds up the blocks of one target, stretch by stretch."""

    def __init__(self, widths_s: Iterable[int]) -> None:
        self._widths_s = tuple(sorted(set(widths_s)))
        self._as_judged: dict[tuple[int, Scope], Counter[str]] = defaultdict(Counter)
        self._as_amended: dict[tuple[int, Scope], Counter[str]] = defaultdict(Counter)
        self.finest_s = gcd(*self._widths_s)  # 0 without widths

    def add(self, parts: Sequence[tuple[Section, Sequence[Alike]]]) -> None:
        """Add the sections of a stretch, in order, with what the record has of each in blocks of `finest_s`.

        Every block must lie in one stretch with all that the range has of it.
        """
        for width in self._widths_s:
            for shape, of in Counter(_shapes(parts, width)).items():
                is_cut = any(portion.excluded for portion in shape)
                for scope in SCOPES:
                    judged = [*_kinds(_seconds(shape, scope, amended=False), width)]
                    amended = [*_kinds(_seconds(shape, scope, amended=True), width)] if is_cut else judged
                    for counts, kinds in ((self._as_judged, judged), (self._as_amended, amended)):
                        counts[width, scope].update(dict.fromkeys(kinds, of))

    def totals(self, surfaces: Sequence[Surface]) -> tuple[BlockTotals, ...]:
        """Give the blocks, the narrowest first: each surface in its order, then the target as a whole."""
        scopes: list[Scope] = [*((surface, frozenset((surface,))) for surface in surfaces), (None, frozenset(surfaces))]
        return tuple(
            BlockTotals(
                block_s=width,
                surface=scope[0],
                as_judged=BlockCount(**self._as_judged[width, scope]),
                as_amended=BlockCount(**self._as_amended[width, scope]),
            )
            for width in self._widths_s
            for scope in scopes
        )


def is_block(width_s: float) -> bool:
    """Say whether blocks may be this wide: whole minutes that part a day evenly."""
    return width_s >= BLOCK_S_MIN and width_s % BLOCK_S_MIN == 0 and DAY_S % width_s == 0


def stretches(
    first_second: int, last_second: int, recorded: tuple[int, int], stretch_s: int = DAY_S
) -> Iterator[tuple[int, int]]:
    """Part a range at the ends of days (UTC) where there may be a record; what lies before and after is not parted."""
    start = first_second
    while start <= last_second:
        following = start - start % stretch_s + stretch_s
        if start > recorded[1]:
            following = last_second + 1
        elif following < recorded[0]:
            following = recorded[0] - recorded[0] % stretch_s
        yield start, min(following - 1, last_second)
        start = following


def spread(first_second: int, seconds: int, section: Section, width_s: int) -> Iterator[tuple[int, int]]:
    """Part what a section has of a run by blocks: the first second of each block, and the run's seconds in it.

    Without a width it is one part, at no block.
    """
    if not width_s:
        yield 0, clipped(first_second, seconds, section)
        return
    at = max(first_second, section.first_second)
    end = min(first_second + seconds - 1, section.last_second) + 1
    while at < end:
        block = at - at % width_s
        yield block, min(block + width_s, end) - at
        at = block + width_s


def _shapes(parts: Sequence[tuple[Section, Sequence[Alike]]], width: int) -> Iterator[Shape]:
    found: list[dict[int, Counter[Pattern]]] = []
    for _, groups in parts:
        by_block: dict[int, Counter[Pattern]] = defaultdict(Counter)
        for group in groups:
            by_block[group.block - group.block % width][group.judged] += group.seconds
        found.append(by_block)
    for block in set().union(*found):
        yield tuple(
            Portion(excluded=section.excluded, seconds=seconds, judged=frozenset(by_block.get(block, {}).items()))
            for (section, _), by_block in zip(parts, found, strict=True)
            if (seconds := clipped(block, width, section))
        )


def _seconds(shape: Shape, scope: Scope, *, amended: bool) -> _Seconds:
    surface, surfaces = scope
    found = _Seconds()
    for portion in shape:
        excluded = portion.excluded if amended else frozenset()
        if excluded >= surfaces:
            found.excluded += portion.seconds
            continue
        for pattern, seconds in portion.judged:
            judged = _judged(pattern, surface, excluded)
            if judged is not None:
                found.add(judged, seconds)
            elif surface is None:
                # Of the target only surfaces that are excluded were judged in these seconds, so none is left.
                found.excluded += seconds
    return found


# Every way in which a second can be judged and excluded is far less than this.
@lru_cache(maxsize=4_096)
def _judged(pattern: Pattern, surface: Surface | None, excluded: frozenset[Surface]) -> Judged | None:
    """Judge a surface, or the target by what is left of its surfaces; None if nothing is."""
    left = [(one, judged) for one, judged in pattern if surface in (None, one) and one not in excluded]
    return judge_alike(left) if left else None


def _kinds(seconds: _Seconds, width: int) -> Iterator[str]:
    """Name the fields of `BlockCount` that a block counts in."""
    if not seconds.recorded:
        return
    yield "blocks"
    if seconds.recorded + seconds.excluded < width:
        yield "partial"
    for basis, unavailable in (("literal", seconds.literal), ("both", seconds.unavailable)):
        if unavailable:
            yield f"any_{basis}"
        if unavailable + seconds.excluded == width:
            yield f"throughout_{basis}"
