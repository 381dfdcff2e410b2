"""The calendar month (UTC) of one target, counted on second by second from what the record had.

The contract's objective is of the calendar month, and what is excluded by an amendment counts in none of its numbers.
So the count begins with what the ledger says of the month, and goes on by the same rules: what a query over counters
could only guess, after restarts and amendments, is known here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from probe.core.amendments import concerns, sections
from probe.core.model import Amendment, Basis, Step, Surface, Verdict
from probe.core.totals import Count, Judged, judge_alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Month:
    """A calendar month in UTC; both seconds are in it."""

    first_second: int
    last_second: int


def month_of(second: int) -> Month:
    """Give the month that a second lies in."""
    at = datetime.fromtimestamp(second, UTC)
    first = datetime(at.year, at.month, 1, tzinfo=UTC)
    following = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return Month(first_second=int(first.timestamp()), last_second=int(following.timestamp()) - 1)


class MonthTally:
    """Counts a target as a whole from the second after `through_second` on, to the end of the month that is in.

    What came before in that month is told by `begin_with`, whenever it is known. `holding` are the amendments in force.
    """

    def __init__(
        self, target: str, surfaces: Iterable[Surface], through_second: int, holding: Iterable[Amendment]
    ) -> None:
        self.month = month = month_of(through_second + 1)
        self._target = target
        self._surfaces = tuple(surfaces)
        self._through_second = through_second
        # Most targets have no window in a month; their seconds are counted without a look at each.
        self._holding = tuple(
            one
            for one in holding
            if one.first_second <= month.last_second
            and one.last_second >= month.first_second
            and any(concerns(one, target, surface) for surface in self._surfaces)
        )
        self._seconds: dict[Judged, int] = {}
        self._excluded = 0
        self._range_seconds = sum(
            section.seconds
            for section in sections(self._holding, target, self._surfaces, month.first_second, month.last_second)
            if not section.excluded.issuperset(self._surfaces)
        )

    def begin_with(self, before: Count) -> None:
        """Add what the record says of the month up to the second after which this began to count; once."""
        self._add((Verdict.AVAILABLE, Basis.NONE), before.available)
        self._add((Verdict.UNAVAILABLE, Basis.LITERAL), before.unavailable_literal)
        self._add((Verdict.UNAVAILABLE, Basis.CORROBORATED), before.unavailable_corroborated)
        self._add((Verdict.INCONCLUSIVE, Basis.NONE), before.inconclusive)
        self._add((Verdict.UNOBSERVED, Basis.NONE), before.unobserved)
        self._excluded += before.excluded

    def add(self, step: Step) -> None:
        """Count the seconds of a step that are of this month and were not counted yet."""
        first = max(step.second, self.month.first_second, self._through_second + 1)
        last = min(step.second + step.seconds - 1, self.month.last_second)
        if last < first:
            return
        self._through_second = last
        if not self._holding:
            self._add((step.verdict, step.basis), last - first + 1)
            return
        for section in sections(self._holding, self._target, self._surfaces, first, last):
            rest = [
                (judgement.surface, (judgement.verdict, judgement.basis))
                for judgement in step.judgements
                if judgement.surface not in section.excluded
            ]
            if rest:
                self._add(judge_alike(rest), section.seconds)
            else:
                self._excluded += section.seconds

    def count(self) -> Count:
        """Give what is counted so far; `range_seconds` are those of the whole month that are not excluded."""
        seconds = self._seconds
        return Count(
            available=seconds.get((Verdict.AVAILABLE, Basis.NONE), 0),
            unavailable_literal=seconds.get((Verdict.UNAVAILABLE, Basis.LITERAL), 0),
            unavailable_corroborated=seconds.get((Verdict.UNAVAILABLE, Basis.CORROBORATED), 0),
            inconclusive=seconds.get((Verdict.INCONCLUSIVE, Basis.NONE), 0),
            unobserved=seconds.get((Verdict.UNOBSERVED, Basis.NONE), 0),
            excluded=self._excluded,
            range_seconds=self._range_seconds,
        )

    def _add(self, judged: Judged, seconds: int) -> None:
        self._seconds[judged] = self._seconds.get(judged, 0) + seconds
