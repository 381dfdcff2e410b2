"""Business Hours: when the provider's people are at work, and how much of a time is theirs.

The contract (Business Hours): Monday to Friday, excluding the bank holidays generally recognised in the Service Time
Zone, from one local time of day to another; the provider may reasonably extend or shorten them, which is a dated
exception here. A day's hours are local wall-clock times, so a day with a change of summer time has as many business
minutes as any other (both changes are made at night, and on a Sunday).

All moments are aware datetimes; nothing here reads a clock. A day that the calendar knows nothing of (`HORIZON_DAYS`
ahead without any opening) is an error in the exceptions, and said so.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Final

SATURDAY: Final = 5
HORIZON_DAYS: Final = 366  # no sane calendar is closed for longer
ONE_DAY: Final = timedelta(days=1)
NOTHING: Final = timedelta(0)

Span = tuple[time, time]


class NeverOpen(ValueError):
    """The calendar has no opening within its horizon; str() is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BusinessHours:
    """The hours of one Service Time Zone.

    `holiday` names the bank holiday of a day, "" if it is none. `exceptions` have the hours of single days, extended or
    reduced; None is closed. They go before weekends and holidays.
    """

    name: str
    zone: tzinfo
    opens: time
    closes: time
    holiday: Callable[[date], str]
    exceptions: Mapping[date, Span | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse hours that end before they begin."""
        for opens, closes in [(self.opens, self.closes), *[span for span in self.exceptions.values() if span]]:
            if opens >= closes:
                raise ValueError(f"business hours of {self.name} begin at {opens:%H:%M} and end at {closes:%H:%M}")


def hours_of(hours: BusinessHours, day: date) -> tuple[datetime, datetime] | None:
    """Give the opening and the closing of a local day, in UTC; None if it is closed."""
    if day in hours.exceptions:
        span = hours.exceptions[day]
    elif day.weekday() >= SATURDAY or hours.holiday(day):
        span = None
    else:
        span = (hours.opens, hours.closes)
    if span is None:
        return None
    opens, closes = (datetime.combine(day, at, hours.zone).astimezone(UTC) for at in span)
    return opens, closes


def why_closed(hours: BusinessHours, moment: datetime) -> str:
    """Say why it is closed at a moment, in a few words; "" if it is open."""
    if is_open(hours, moment):
        return ""
    local = moment.astimezone(hours.zone)
    found = hours_of(hours, local.date())
    if found is not None:
        return "before business hours" if moment < found[0] else "after business hours"
    if local.date() in hours.exceptions:
        return "closed by an exception"
    return hours.holiday(local.date()) or "the weekend"


def is_open(hours: BusinessHours, moment: datetime) -> bool:
    """Say whether a moment lies in business hours; the closing moment does not."""
    found = hours_of(hours, moment.astimezone(hours.zone).date())
    return found is not None and found[0] <= moment < found[1]


def next_opening(hours: BusinessHours, moment: datetime) -> datetime:
    """Give the next moment at which it is open: the moment itself if it is.

    Raises:
        NeverOpen: If there is none for a year.
    """
    return max(moment.astimezone(UTC), next(_spans(hours, moment))[0])


def business_time(hours: BusinessHours, begin: datetime, end: datetime) -> timedelta:
    """Measure the business time between two moments."""
    if end <= begin:
        return NOTHING
    total = NOTHING
    day, last = begin.astimezone(hours.zone).date(), end.astimezone(hours.zone).date()
    while day <= last:
        found = hours_of(hours, day)
        if found is not None:
            total += max(NOTHING, min(found[1], end) - max(found[0], begin))
        day += ONE_DAY
    return total


def after_business_time(hours: BusinessHours, begin: datetime, wanted: timedelta) -> datetime:
    """Give the moment at which so much business time has gone by since the beginning.

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


def _spans(hours: BusinessHours, since: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Give the open spans that end after a moment, without end."""
    day = since.astimezone(hours.zone).date()
    closed_days = 0
    while True:
        found = hours_of(hours, day)
        if found is not None and found[1] > since:
            closed_days = 0
            yield found
        elif (closed_days := closed_days + 1) > HORIZON_DAYS:
            raise NeverOpen(f"{hours.name}: there are no business hours within a year after {since:%Y-%m-%d}")
        day += ONE_DAY
