"""Blocks added up by their shapes, against a model that looks at every second of every block."""

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from probe.core.amendments import is_excluded, sections
from probe.core.blocks import BlockAdder, BlockCount, BlockTotals, is_block, spread, stretches
from probe.core.model import Amendment, Basis, Exclusion, Surface, Verdict
from probe.core.totals import Alike, Judged, judge_alike

BOTH = (Surface.API, Surface.SMTP)
GOOD: Judged = (Verdict.AVAILABLE, Basis.NONE)
LITERAL: Judged = (Verdict.UNAVAILABLE, Basis.LITERAL)
CORROBORATED: Judged = (Verdict.UNAVAILABLE, Basis.CORROBORATED)
UNOBSERVED: Judged = (Verdict.UNOBSERVED, Basis.NONE)
JUDGED = [GOOD, LITERAL, CORROBORATED, (Verdict.INCONCLUSIVE, Basis.NONE), UNOBSERVED]
DAY_S = 24  # a short one, of which the widths are parts
WIDTHS_S = (4, 6, 12)
END = 80

Record = dict[int, dict[Surface, Judged]]

# What fails fails for a while: in runs alike a block is often unavailable throughout.
stays = st.tuples(
    st.integers(1, 20),
    st.one_of(
        st.none(),  # nothing in the record
        st.fixed_dictionaries({Surface.API: st.sampled_from(JUDGED)}),  # SMTP was not watched then
        st.fixed_dictionaries({surface: st.sampled_from(JUDGED) for surface in BOTH}),
        st.just(dict.fromkeys(BOTH, LITERAL)),
        st.just({Surface.API: GOOD, Surface.SMTP: CORROBORATED}),
    ),
)


def recorded(found: list[tuple[int, dict[Surface, Judged] | None]]) -> Record:
    """Lay stays one after the other, from second 0 on."""
    every = [judged for seconds, judged in found for _ in range(seconds)]
    return {second: judged for second, judged in enumerate(every[:END]) if judged is not None}


def window(first: int, length: int, surface: str = "") -> Amendment:
    """Make an amendment."""
    return Amendment(
        amendment="x",
        target="",
        surface=surface,
        first_second=first,
        last_second=first + length,
        exclusion=Exclusion.FORCE_MAJEURE,
        reason="storm",
        author="Ada",
        added_us=0,
    )


records = st.lists(stays, min_size=1, max_size=16).map(recorded)
windows = st.lists(
    st.builds(window, st.integers(0, END), st.integers(0, 30), st.sampled_from(["", "api", "smtp"])), max_size=4
)
ranges = st.tuples(st.integers(0, END), st.integers(0, END)).map(lambda pair: (min(pair), max(pair)))


Surfaces = tuple[Surface, ...]


def looked_at(
    record: Record, holding: list[Amendment], between: tuple[int, int], surfaces: Surfaces
) -> list[BlockTotals]:
    """Look at every second of every block, straight from the words."""
    return [
        BlockTotals(
            block_s=width,
            surface=surface,
            as_judged=_counted(record, [], between, width, (surface, surfaces)),
            as_amended=_counted(record, holding, between, width, (surface, surfaces)),
        )
        for width in WIDTHS_S
        for surface in (*surfaces, None)
    ]


def _counted(
    record: Record,
    holding: list[Amendment],
    between: tuple[int, int],
    width: int,
    of: tuple[Surface | None, Surfaces],
) -> BlockCount:
    totals = Counter[str]()
    for block in range(0, END + width, width):
        found = [_looked(record, holding, second, of) for second in range(block, block + width)]
        seen = [
            "nothing" if not between[0] <= block + place <= between[1] else words for place, words in enumerate(found)
        ]
        left = [words for words in seen if words != "excluded"]
        if not any(words != "nothing" for words in left):
            continue
        totals["blocks"] += 1
        totals["partial"] += "nothing" in left
        totals["any_literal"] += "literal" in left
        totals["any_both"] += "literal" in left or "corroborated" in left
        totals["throughout_literal"] += set(left) == {"literal"}
        totals["throughout_both"] += set(left) <= {"literal", "corroborated"}
    return BlockCount(**totals)


def _looked(record: Record, holding: list[Amendment], second: int, of: tuple[Surface | None, Surfaces]) -> str:
    judged = record.get(second, {})
    surface, surfaces = of
    left = {
        one
        for one in ({surface} if surface else set(judged or surfaces))
        if not is_excluded(holding, "main", one, second)
    }
    if not left:
        return "excluded"
    rest = [(one, judged[one]) for one in judged if one in left]
    if not rest:
        return "nothing"
    verdict, basis = judge_alike(rest)
    return str(basis) if verdict is Verdict.UNAVAILABLE else "else"


def added(
    record: Record, holding: list[Amendment], between: tuple[int, int], surfaces: Surfaces = BOTH
) -> list[BlockTotals]:
    """Add up groups that were judged alike, day by day and section by section."""
    adder = BlockAdder(WIDTHS_S)
    ends = (min(record), max(record)) if record else (0, -1)
    for first, last in stretches(*between, ends, DAY_S):
        parts = []
        for section in sections(holding, "main", BOTH, first, last):
            inside = Counter(
                (second - second % adder.finest_s, tuple(record[second].items()))
                for second in range(section.first_second, section.last_second + 1)
                if second in record
            )
            parts.append(
                (section, [Alike(seconds=of, judged=judged, block=block) for (block, judged), of in inside.items()])
            )
        adder.add(parts)
    return list(adder.totals(surfaces))


@given(records, windows, ranges)
def test_blocks_by_their_shapes_are_those_that_are_looked_at_second_by_second(
    record: Record, holding: list[Amendment], between: tuple[int, int]
) -> None:
    """Whatever the record, the range's ends and the windows that cut blocks, of every width at once."""
    assert added(record, holding, between) == looked_at(record, holding, between, BOTH)


@given(records, windows, ranges)
def test_a_target_of_one_surface_is_excluded_with_it(
    record: Record, holding: list[Amendment], between: tuple[int, int]
) -> None:
    """The same of a target that has no SMTP."""
    of_api = {second: {Surface.API: judged[Surface.API]} for second, judged in record.items()}
    only = (Surface.API,)
    assert added(of_api, holding, between, only) == looked_at(of_api, holding, between, only)


def whole(record: Record, holding: list[Amendment], between: tuple[int, int]) -> tuple[BlockCount, BlockCount]:
    """Count the target's blocks of 12 seconds, as judged and as amended."""
    found = added(record, holding, between)[-1]
    assert (found.block_s, found.surface) == (12, None)
    return found.as_judged, found.as_amended


def test_a_block_that_the_range_or_the_record_cuts_is_never_unavailable_throughout() -> None:
    """Nobody can say it of the seconds that are not looked at; that one of its seconds was, can be said."""
    down: Record = dict.fromkeys(range(6, 40), dict.fromkeys(BOTH, LITERAL))
    expected = {"any_literal": 4, "any_both": 4, "throughout_literal": 2, "throughout_both": 2}
    assert whole(down, [], (0, 47))[0] == BlockCount(blocks=4, partial=2, **expected)
    assert whole(down, [], (13, 23))[0] == BlockCount(blocks=1, partial=1, any_literal=1, any_both=1)


def test_a_window_that_cuts_a_block_leaves_it_to_its_other_seconds() -> None:
    """Excluded seconds neither save a block nor spoil it, recorded or not, and a block wholly excluded is none."""
    record: Record = {second: dict.fromkeys(BOTH, LITERAL if second % 12 > 5 else GOOD) for second in range(36)}
    for second in (12, 13):
        del record[second]
    judged, amended = whole(record, [window(12, 5), window(24, 11)], (0, 35))
    assert judged == BlockCount(blocks=3, partial=1, any_literal=3, any_both=3)
    assert amended == BlockCount(blocks=2, any_literal=2, any_both=2, throughout_literal=1, throughout_both=1)
    assert whole(record, [window(0, 5), window(6, 5, "smtp")], (0, 11))[1].throughout_literal == 1


def test_seconds_of_which_no_judged_surface_is_left_are_excluded() -> None:
    """SMTP was not watched in the first half, and the API, which was, is excluded there."""
    record: Record = {second: dict.fromkeys(BOTH[: 1 if second < 6 else 2], LITERAL) for second in range(12)}
    amended = whole(record, [window(0, 5, "api")], (0, 11))[1]
    assert (amended.blocks, amended.partial, amended.throughout_literal) == (1, 0, 1)


def test_a_block_whose_basis_changes_is_unavailable_throughout_by_both_only() -> None:
    """By the literal basis alone only some of it is; with the literal surface excluded the other's basis is left."""
    record: Record = {second: {Surface.API: LITERAL, Surface.SMTP: CORROBORATED} for second in range(12)}
    record[11] = {Surface.API: GOOD, Surface.SMTP: CORROBORATED}
    judged, amended = whole(record, [window(0, 11, "api")], (0, 11))
    assert judged == BlockCount(blocks=1, any_literal=1, any_both=1, throughout_both=1)
    assert amended == BlockCount(blocks=1, any_both=1, throughout_both=1)


def test_availability_in_blocks_is_the_share_that_is_left() -> None:
    """One bad minute of a day of minutes, and no percentage of no blocks."""
    assert BlockCount(blocks=1_440).availability_percent(1) == 100 - Fraction(100, 1_440)
    assert BlockCount().availability_percent(0) is None


def test_whole_minutes_that_part_a_day_are_blocks() -> None:
    """Nothing narrower than a minute, nothing that straddles midnight and nothing broken is one."""
    assert all(is_block(width_s) for width_s in (60, 300, 3_600, 86_400))
    assert not any(is_block(width_s) for width_s in (0, 30, 60.5, 90, 420, 172_800))


def test_a_run_is_parted_at_blocks_and_clipped_to_its_section() -> None:
    """A run of unobserved seconds is in each block with what lies in it; without blocks it is one part."""
    section = sections([], "main", BOTH, 10, 30)[0]
    assert list(spread(5, 40, section, 12)) == [(0, 2), (12, 12), (24, 7)]
    assert list(spread(14, 3, section, 12)) == [(12, 3)]
    assert list(spread(40, 3, section, 12)) == []
    assert list(spread(5, 40, section, 0)) == [(0, 21)]


def test_only_days_that_may_have_a_record_are_parted() -> None:
    """What lies before and after the record is one stretch each, however long, and ends with a day."""
    assert list(stretches(3, 1_000, (110, 130), 24)) == [(3, 95), (96, 119), (120, 143), (144, 1_000)]
    assert list(stretches(3, 1_000, (0, -1), 24)) == [(3, 1_000)]
    assert list(stretches(100, 120, (0, 500), 24)) == [(100, 119), (120, 120)]
