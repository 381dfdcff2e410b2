"""Business Hours: when the provider's people are at work, and how much of a time is theirs.

The contract (Business Hours): Monday to Friday, excluding the bank holidays generally recognised in the Service Time
Zone, from one local time of day to another; the provider may reasonably extend or shorten them, which is a dated
exception here. A day's hours are local wall-clock times, so a day with a change of summer time has as many business
minutes as any other (both changes are made at night, and on a Sunday); only an exception that spans the change itself
is longer or shorter than its figures, because what counts is the time that goes by.

All moments are aware datetimes, in any zone; what comes back is in UTC. They are brought to UTC before they are
compared, because Python compares two moments of one zone by their wall clocks, and those repeat an hour each autumn.
Nothing here reads a clock. Exceptions that leave no opening for `HORIZON_DAYS` are an error, and said so.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from typing import Final

SATURDAY: Final = 5
HORIZON_DAYS: Final = 366  # no sane calendar is closed for longer
ONE_DAY: Final = timedelta(days=1)
NOTHING: Final = timedelta(0)

Span = tuple[time, time]


class ServiceZone(StrEnum):
    """The Service Time Zone of the order form."""

    US_EASTERN = "us-eastern"
    US_PACIFIC = "us-pacific"
    UK = "uk"


class NeverOpen(ValueError):
    """The calendar has no opening within its horizon; str() is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatedException:
    """The hours of one day, extended or reduced, and why; no span is closed all day."""

    span: Span | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessHours:
    """The hours of one Service Time Zone.

    `holiday` names the bank holiday of a day, "" if it is none. `exceptions` go before weekends and holidays.
    """

    name: str
    zone: tzinfo
    opens: time
    closes: time
    holiday: Callable[[date], str]
    exceptions: Mapping[date, DatedException] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse hours that end before they begin."""
        spans = [exception.span for exception in self.exceptions.values() if exception.span is not None]
        for opens, closes in [(self.opens, self.closes), *spans]:
            if opens >= closes:
                raise ValueError(f"business hours of {self.name} begin at {opens:%H:%M} and end at {closes:%H:%M}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Whether it is open at a moment, why not, and what comes next: what is open now opens next after it has closed."""

    is_open: bool
    why_closed: str
    exception: str
    next_opening: datetime
    next_closing: datetime


def hours_of(hours: BusinessHours, day: date) -> tuple[datetime, datetime] | None:
    """Give the opening and the closing of a local day, in UTC; None if it is closed."""
    if day in hours.exceptions:
        span = hours.exceptions[day].span
    elif day.weekday() >= SATURDAY or hours.holiday(day):
        span = None
    else:
        span = (hours.opens, hours.closes)
    if span is None:
        return None
    opens, closes = (datetime.combine(day, at, hours.zone).astimezone(UTC) for at in span)
    # An exception from within the hour that the change to summer time skips can end before it begins.
    return (opens, closes) if opens < closes else None


def exception_of(hours: BusinessHours, moment: datetime) -> DatedException | None:
    """Give the exception of a moment's local day; None if it is a day like any other."""
    return hours.exceptions.get(_local_day(hours, moment))


def why_closed(hours: BusinessHours, moment: datetime) -> str:
    """Say why it is closed at a moment, in a few words; "" if it is open."""
    if is_open(hours, moment):
        return ""
    day = _local_day(hours, moment)
    found = hours_of(hours, day)
    if found is not None:
        return "before business hours" if moment.astimezone(UTC) < found[0] else "after business hours"
    exception = hours.exceptions.get(day)
    if exception is not None:
        return f"closed by exception: {exception.reason}"
    return hours.holiday(day) or "the weekend"


def is_open(hours: BusinessHours, moment: datetime) -> bool:
    """Say whether a moment lies in business hours; the closing moment does not."""
    found = hours_of(hours, _local_day(hours, moment))
    return found is not None and found[0] <= moment.astimezone(UTC) < found[1]


def next_opening(hours: BusinessHours, moment: datetime) -> datetime:
    """Give the next moment at which it is open: the moment itself if it is.

    Raises:
        NeverOpen: If there is none for a year.
    """
    return max(moment.astimezone(UTC), next(_spans(hours, moment))[0])


def next_closing(hours: BusinessHours, moment: datetime) -> datetime:
    """Give the moment at which business hours end next: those under way, or else the next.

    Raises:
        NeverOpen: If there are none for a year.
    """
    return next(_spans(hours, moment))[1]


def outlook(hours: BusinessHours, at: datetime) -> Outlook:
    """Look from a moment ahead.

    Raises:
        NeverOpen: If there are no business hours within a year.
    """
    closes, exception = next_closing(hours, at), exception_of(hours, at)
    is_now = is_open(hours, at)
    return Outlook(
        is_open=is_now,
        why_closed=why_closed(hours, at),
        exception="" if exception is None else exception.reason,
        next_opening=next_opening(hours, closes if is_now else at),
        next_closing=closes,
    )


def business_time(hours: BusinessHours, begin: datetime, end: datetime) -> timedelta:
    """Measure the business time between two moments; none if the end is not after the beginning."""
    begin, end = begin.astimezone(UTC), end.astimezone(UTC)
    total = NOTHING
    day, last = _local_day(hours, begin), _local_day(hours, end)
    while day <= last:
        found = hours_of(hours, day)
        if found is not None:
            total += max(NOTHING, min(found[1], end) - max(found[0], begin))
        day += ONE_DAY
    return total


def after_business_time(hours: BusinessHours, begin: datetime, wanted: timedelta) -> datetime:
    """Give the first moment at which so much business time has gone by since the beginning.

    For none at all that is the next moment at which it is open.

    Raises:
        NeverOpen: If it never comes.
    """
    assert wanted >= NOTHING
    if not wanted:
        return next_opening(hours, begin)
    left = wanted
    for opens, closes in _spans(hours, begin):
        begun = max(opens, begin.astimezone(UTC))
        if closes - begun >= left:
            return begun + left
        left -= closes - begun
    raise AssertionError("the spans have no end")


def _local_day(hours: BusinessHours, moment: datetime) -> date:
    # A moment without a zone would silently be read in the zone of this host.
    assert moment.tzinfo is not None
    return moment.astimezone(hours.zone).date()


def _spans(hours: BusinessHours, since: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Give the open spans that end after a moment, without end."""
    day, since = _local_day(hours, since), since.astimezone(UTC)
    closed_days = 0
    while True:
        found = hours_of(hours, day)
        if found is not None and found[1] > since:
            closed_days = 0
            yield found
        elif (closed_days := closed_days + 1) > HORIZON_DAYS:
            raise NeverOpen(f"{hours.name}: there are no business hours within a year after {since:%Y-%m-%d}")
        day += ONE_DAY
