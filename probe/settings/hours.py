"""The settings of Business Hours: days on which the provider works longer, shorter or not at all."""

import re
from datetime import date, time
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from probe.core.calendar import DatedException
from probe.settings.kinds import refuse
from probe.settings.surface import Frozen

# Fewer than the working days of a year, so that no file can close the provider for so long.
EXCEPTIONS_MAX: Final = 200
REASON_LENGTH_MAX: Final = 200
CLOSED: Final = "closed"

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_HOURS = re.compile(f"({_TIME})-({_TIME})")


def span_of(hours: str) -> tuple[time, time] | None:
    """Read the hours of a day, such as 09:00-13:00; None is closed. Raises `refuse(...)` if they are none."""
    if hours == CLOSED:
        return None
    found = _HOURS.fullmatch(hours)
    if found is None:
        raise refuse("hours such as 09:00-13:00, or closed")
    opens, closes = (time.fromisoformat(text) for text in found.groups())
    if opens >= closes:
        raise refuse("hours that end after they begin, such as 09:00-13:00")
    return opens, closes


def _day(value: object) -> object:
    # Pydantic would take a plain number for the seconds since 1970.
    if isinstance(value, date):
        return value
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise refuse("a date such as 2026-12-24")


def _hours(value: str) -> str:
    span_of(value)
    return value


def _reason(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise refuse("a reason in words, in one line")
    return value.strip()


Day = Annotated[date, BeforeValidator(_day), WithJsonSchema({"type": "string", "format": "date"})]
Hours = Annotated[
    str, AfterValidator(_hours), WithJsonSchema({"type": "string", "pattern": f"^({_TIME}-{_TIME}|{CLOSED})$"})
]
Reason = Annotated[str, Field(max_length=REASON_LENGTH_MAX), AfterValidator(_reason)]


class BusinessHoursException(Frozen):
    """A day on which the provider works longer, shorter or not at all; local times of the Service Time Zone."""

    date: Day
    hours: Hours
    reason: Reason

    def stated(self) -> DatedException:
        """State it as the rules want it."""
        return DatedException(span=span_of(self.hours), reason=self.reason)
