"""The three Service Time Zones of the contract: their hours, their clocks and their bank holidays.

Which days are "the bank holidays generally recognised in that zone" the contract does not say. Here they are:

- In both zones of the United States the legal public holidays of the nation (5 U.S.C. 6103), on which the banks close.
  A holiday on a Sunday is observed on the Monday after, one on a Saturday on the Friday before. In the latter the
  Federal Reserve Banks differ: they stay open that Friday. It is taken as closed, as the law and most employers do, so
  that in doubt no business minute is held against the provider. The holidays of single states are no bank holidays.
- In the UK the bank holidays of England and Wales, with their substitute days. Scotland's and Northern Ireland's others
  do not count.

Where the provider works otherwise, that is a dated exception in the settings.
"""

from collections.abc import Mapping
from datetime import date, time
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from holidays import PUBLIC, country_holidays

from probe.core.calendar import BusinessHours, DatedException, ServiceZone

# The years for which the library states bank holidays; outside of them every weekday would count.
FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2100
YEARS_KEPT_MAX: Final = 2 * (LAST_YEAR - FIRST_YEAR + 1)

_NO_EXCEPTIONS: Mapping[date, DatedException] = MappingProxyType({})
_US: Final = ("US", None)
_ENGLAND: Final = ("GB", "ENG")  # Wales has the same days
# Time zone, opening and closing, and whose holidays.
_ZONES: Mapping[ServiceZone, tuple[str, time, time, tuple[str, str | None]]] = MappingProxyType(
    {
        ServiceZone.US_EASTERN: ("America/New_York", time(9), time(17), _US),
        ServiceZone.US_PACIFIC: ("America/Los_Angeles", time(9), time(17), _US),
        ServiceZone.UK: ("Europe/London", time(8, 30), time(16, 30), _ENGLAND),
    }
)


def business_hours(zone: ServiceZone, exceptions: Mapping[date, DatedException] = _NO_EXCEPTIONS) -> BusinessHours:
    """Give the Business Hours of a Service Time Zone, with the exceptions that were agreed."""
    time_zone, opens, closes, whose = _ZONES[zone]
    return BusinessHours(
        name=zone,
        zone=ZoneInfo(time_zone),
        opens=opens,
        closes=closes,
        holiday=partial(_holiday, whose),
        exceptions=exceptions,
    )


def _holiday(whose: tuple[str, str | None], day: date) -> str:
    return _holidays(*whose, day.year).get(day, "")


@lru_cache(maxsize=YEARS_KEPT_MAX)
def _holidays(country: str, subdivision: str | None, year: int) -> Mapping[date, str]:
    """Name the bank holidays of a year; a plain mapping, because the library's own one changes as it is asked."""
    found = country_holidays(country, subdiv=subdivision, years=year, expand=False, observed=True, categories=PUBLIC)
    return MappingProxyType({day: str(name) for day, name in found.items()})
