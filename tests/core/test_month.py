"""A calendar month counted on second by second is what the totals of its record are."""

from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.core.amendments import sections
from probe.core.model import Amendment, Basis, Exclusion, Judgement, Step, Surface, Verdict
from probe.core.month import MonthTally, month_of
from probe.core.totals import Adder, Alike, Count, judge_alike

SURFACES = (Surface.API, Surface.SMTP)
JUDGED = [
    (Verdict.AVAILABLE, Basis.NONE),
    (Verdict.UNAVAILABLE, Basis.LITERAL),
    (Verdict.UNAVAILABLE, Basis.CORROBORATED),
    (Verdict.INCONCLUSIVE, Basis.NONE),
]
FIRST = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp())
NEXT = int(datetime(2026, 12, 1, tzinfo=UTC).timestamp())


def step(second: int, *judged: tuple[Verdict, Basis], seconds: int = 1) -> Step:
    """Make a step of a target with both surfaces."""
    verdict, basis = judge_alike(zip(SURFACES, judged, strict=True))
    judgements = tuple(
        Judgement(surface=surface, verdict=one[0], basis=one[1], attempts=1, accepted=0)
        for surface, one in zip(SURFACES, judged, strict=True)
    )
    return Step(target="main", second=second, seconds=seconds, verdict=verdict, basis=basis, judgements=judgements)


def window(first: int, last: int, surface: str = "", target: str = "") -> Amendment:
    """Exclude a window."""
    return Amendment(
        amendment=f"{first}",
        target=target,
        surface=surface,
        first_second=first,
        last_second=last,
        exclusion=Exclusion.PLANNED_MAINTENANCE,
        reason="r",
        author="a",
        added_us=1,
    )


@pytest.mark.parametrize(
    ("at", "days"), [("2026-02-14", 28), ("2028-02-29", 29), ("2026-11-30T23:59:59", 30), ("2026-12-01", 31)]
)
def test_a_month_is_a_calendar_month_in_utc(at: str, days: int) -> None:
    """From midnight of its first day to the last second of its last."""
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    month = month_of(int(moment.timestamp()))
    assert datetime.fromtimestamp(month.first_second, UTC) == datetime(moment.year, moment.month, 1, tzinfo=UTC)
    assert month.last_second - month.first_second + 1 == days * 86_400


@given(
    story=st.lists(st.tuples(st.sampled_from(JUDGED), st.sampled_from(JUDGED)), min_size=1, max_size=40),
    windows=st.lists(
        st.tuples(st.integers(-5, 45), st.integers(0, 20), st.sampled_from(["", "api", "smtp"])), max_size=3
    ),
    told=st.integers(0, 40),
)
def test_it_agrees_with_the_totals_of_the_record(
    story: list[tuple[tuple[Verdict, Basis], tuple[Verdict, Basis]]],
    windows: list[tuple[int, int, str]],
    told: int,
) -> None:
    """Wherever the record ends and the counting begins, and whatever is excluded, it is what the totals say."""
    holding = [window(FIRST + first, FIRST + first + more, surface) for first, more, surface in windows]
    steps = [step(FIRST + place, *judged) for place, judged in enumerate(story)]
    told = min(told, len(steps))
    tally = MonthTally("main", SURFACES, FIRST + told - 1, holding)
    tally.begin_with(totals(steps[:told], holding))
    for one in steps:
        tally.add(one)  # Those that the record had are not counted twice.

    found, wanted = tally.count(), totals(steps, holding)
    names = ("available", "unavailable_literal", "unavailable_corroborated", "inconclusive", "unobserved", "excluded")
    assert [getattr(found, name) for name in names] == [getattr(wanted, name) for name in names]
    # Of the month, and not of the part that is over.
    gone = sum(one.seconds for one in sections(holding, "main", SURFACES, FIRST, NEXT - 1) if len(one.excluded) == 2)
    assert found.range_seconds == 30 * 86_400 - gone


def totals(steps: Iterable[Step], holding: Iterable[Amendment]) -> Count:
    """Add steps up as the ledger's totals are."""
    adder = Adder(SURFACES)
    for one in steps:
        (section,) = sections(holding, "main", SURFACES, one.second, one.second)
        judged = tuple((found.surface, (found.verdict, found.basis)) for found in one.judgements)
        adder.add(section, [Alike(seconds=1, judged=judged)])
    return adder.totals()[-1].as_amended


def test_a_run_of_seconds_counts_with_the_part_that_lies_in_the_month() -> None:
    """An unobserved night over the end of a month is parted between the two."""
    unobserved = (Verdict.UNOBSERVED, Basis.NONE)
    night = step(NEXT - 100, unobserved, unobserved, seconds=250)
    old, new = MonthTally("main", SURFACES, NEXT - 101, ()), MonthTally("main", SURFACES, NEXT - 1, ())
    old.add(night)
    new.add(night)
    assert (old.count().unobserved, new.count().unobserved) == (100, 150)
    assert (old.month.last_second, new.month.first_second) == (NEXT - 1, NEXT)
