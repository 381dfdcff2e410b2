"""Totals with and without excluded windows, against a count second by second."""

from collections import Counter
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from probe.core.amendments import is_excluded, sections
from probe.core.model import Amendment, Basis, Exclusion, Surface, Verdict
from probe.core.totals import Adder, Alike, Count, Judged, Totals, clipped, judge_alike

BOTH = (Surface.API, Surface.SMTP)
JUDGED: list[Judged] = [
    (Verdict.AVAILABLE, Basis.NONE),
    (Verdict.UNAVAILABLE, Basis.LITERAL),
    (Verdict.UNAVAILABLE, Basis.CORROBORATED),
    (Verdict.INCONCLUSIVE, Basis.NONE),
    (Verdict.UNOBSERVED, Basis.NONE),
]
FIRST, LAST = 10, 69

Record = dict[int, dict[Surface, Judged]]

seconds = st.one_of(
    st.none(),  # nothing in the record
    st.fixed_dictionaries({Surface.API: st.sampled_from(JUDGED)}),  # SMTP was not watched then
    st.fixed_dictionaries({surface: st.sampled_from(JUDGED) for surface in BOTH}),
)
records = st.lists(seconds, min_size=LAST - FIRST + 1, max_size=LAST - FIRST + 1).map(
    lambda found: {FIRST + place: judged for place, judged in enumerate(found) if judged is not None}
)
windows = st.builds(
    lambda first, length, surface: Amendment(
        amendment="x",
        target="",
        surface=surface,
        first_second=first,
        last_second=first + length,
        exclusion=Exclusion.FORCE_MAJEURE,
        reason="storm",
        author="Ada",
        added_us=0,
    ),
    st.integers(0, 80),
    st.integers(0, 30),
    st.sampled_from(["", "api", "smtp"]),
)


def counted(record: Record, holding: list[Amendment]) -> list[Totals]:
    """Count second by second, straight from the words."""
    found = []
    for surface in (*BOTH, None):
        plain, amended = Counter[str](), Counter[str]()
        for second in range(FIRST, LAST + 1):
            judged = record.get(second, {})
            of = {surface} if surface else set(judged or BOTH)
            left = {one for one in of if one and not is_excluded(holding, "main", one, second)}
            plain["range_seconds"] += 1
            amended["range_seconds"] += bool(left)
            seen = {one: judged[one] for one in judged if one in of}
            if not seen:
                continue
            plain[_field(judge_alike(seen.items()))] += 1
            rest = {one: judged[one] for one in seen if one in left}
            amended[_field(judge_alike(rest.items())) if rest else "excluded"] += 1
        found.append(Totals(surface=surface, as_judged=Count(**plain), as_amended=Count(**amended)))
    return found


def _field(judged: Judged) -> str:
    verdict, basis = judged
    return str(verdict) if basis is Basis.NONE else f"{verdict}_{basis}"


def added(record: Record, holding: list[Amendment]) -> tuple[Totals, ...]:
    """Add up in groups that were judged alike, section by section."""
    adder = Adder(BOTH)
    for section in sections(holding, "main", BOTH, FIRST, LAST):
        inside = Counter(
            tuple(judged.items())
            for second, judged in record.items()
            if section.first_second <= second <= section.last_second
        )
        adder.add(section, [Alike(seconds=count, judged=judged) for judged, count in inside.items()])
    return adder.totals()


@given(records, st.lists(windows, max_size=5))
def test_totals_in_groups_are_those_of_a_count_second_by_second(record: Record, holding: list[Amendment]) -> None:
    """Whatever the record and however windows overlap, nothing is counted twice or lost, with and without them."""
    assert list(added(record, holding)) == counted(record, holding)


@given(records, st.lists(windows, max_size=5))
def test_excluding_never_adds_a_second_to_any_count_of_a_surface(record: Record, holding: list[Amendment]) -> None:
    """What is excluded was in the totals as judged, and the two agree on how many seconds there are."""
    for total in added(record, holding):
        plain, amended = total.as_judged, total.as_amended
        assert amended.recorded + amended.excluded == plain.recorded
        assert plain.excluded == 0
        assert amended.unavailable <= plain.unavailable
        assert amended.unrecorded >= 0


def test_a_surface_that_is_excluded_leaves_the_target_to_be_judged_by_the_other() -> None:
    """An outage of SMTP in SMTP's maintenance is not one of the target, whose API was available."""
    window = Amendment(
        amendment="x",
        target="main",
        surface="smtp",
        first_second=FIRST,
        last_second=LAST,
        exclusion=Exclusion.PLANNED_MAINTENANCE,
        reason="announced",
        author="Ada",
        added_us=0,
    )
    down: dict[Surface, Judged] = {Surface.API: JUDGED[0], Surface.SMTP: JUDGED[1]}
    whole = added(dict.fromkeys(range(FIRST, LAST + 1), down), [window])[-1]
    assert (whole.surface, whole.as_judged.unavailable, whole.as_amended.unavailable) == (None, 60, 0)
    assert (whole.as_amended.available, whole.as_amended.excluded) == (60, 0)


def test_availability_and_budget_follow_the_contracts_arithmetic() -> None:
    """A 30-day month at 99.99 % allows 259.2 seconds; both bases are given, and no seconds give no percentage."""
    month = 30 * 86_400
    count = Count(available=month - 300, unavailable_literal=200, unavailable_corroborated=100, range_seconds=month)
    assert count.budget_s(999_900) == Fraction(2592, 10)
    assert count.availability_percent(literal_only=True) == 100 - Fraction(20_000, month)
    assert count.availability_percent(literal_only=False) == 100 - Fraction(30_000, month)
    assert (count.unrecorded, Count(range_seconds=9).unrecorded) == (0, 9)
    assert Count().availability_percent(literal_only=True) is None


def test_a_run_is_cut_at_the_sections_ends() -> None:
    """A run of unobserved seconds counts in each section with what lies in it."""
    before, inside = sections([], "main", BOTH, 0, 9)[0], sections([], "main", BOTH, 10, 19)[0]
    assert [clipped(5, 10, before), clipped(5, 10, inside), clipped(20, 5, inside)] == [5, 5, 0]
