"""Blocks of minutes, as other agreements count: in how many a second was Unavailable, and in how many every one was.

Blocks are aligned to UTC and part its days evenly, so a day holds each of its blocks whole and is counted by itself.
Most blocks of a month are alike: each shape is kept once, with how many there are of it.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
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


class Shapes:
    """Collects the blocks of one target, stretch by stretch."""

    def __init__(self, widths_s: Iterable[int]) -> None:
        self._found: dict[int, Counter[Shape]] = {width: Counter() for width in sorted(set(widths_s))}
        self.finest_s = gcd(*self._found)  # 0 without widths

    def add(self, parts: Sequence[tuple[Section, Sequence[Alike]]]) -> None:
        """Add the sections of a stretch, in order, with what the record has of each in blocks of `finest_s`.

        Every block must lie in one stretch with all that the range has of it.
        """
        for width, shapes in self._found.items():
            shapes.update(_shapes(parts, width))

    def totals(self, surfaces: Sequence[Surface]) -> tuple[BlockTotals, ...]:
        """Count the blocks, the narrowest first: each surface in its order, then the target as a whole."""
        return tuple(
            BlockTotals(
                block_s=width,
                surface=surface,
                as_judged=_count(((_as_judged(shape, surface), of) for shape, of in shapes.items()), width),
                as_amended=_count(((_as_amended(shape, surface, surfaces), of) for shape, of in shapes.items()), width),
            )
            for width, shapes in self._found.items()
            for surface in (*surfaces, None)
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


def _as_judged(shape: Shape, surface: Surface | None) -> _Seconds:
    found = _Seconds()
    for portion in shape:
        for pattern, seconds in portion.judged:
            if rest := _of(pattern, surface, frozenset()):
                found.add(judge_alike(rest), seconds)
    return found


def _as_amended(shape: Shape, surface: Surface | None, surfaces: Sequence[Surface]) -> _Seconds:
    found = _Seconds()
    for portion in shape:
        if portion.excluded.issuperset(surfaces if surface is None else (surface,)):
            found.excluded += portion.seconds
            continue
        for pattern, seconds in portion.judged:
            if rest := _of(pattern, surface, portion.excluded):
                found.add(judge_alike(rest), seconds)
            elif surface is None:
                # Of the target only surfaces that are excluded were judged in these seconds, so none is left.
                found.excluded += seconds
    return found


def _of(pattern: Pattern, surface: Surface | None, excluded: frozenset[Surface]) -> Pattern:
    return tuple((one, judged) for one, judged in pattern if surface in (None, one) and one not in excluded)


def _count(blocks: Iterable[tuple[_Seconds, int]], width: int) -> BlockCount:
    totals = Counter[str]()
    for seconds, of in blocks:
        if not seconds.recorded:
            continue
        totals["blocks"] += of
        totals["partial"] += of * (seconds.recorded + seconds.excluded < width)
        totals["any_literal"] += of * (seconds.literal > 0)
        totals["any_both"] += of * (seconds.unavailable > 0)
        totals["throughout_literal"] += of * (seconds.literal + seconds.excluded == width)
        totals["throughout_both"] += of * (seconds.unavailable + seconds.excluded == width)
    return BlockCount(**totals)
