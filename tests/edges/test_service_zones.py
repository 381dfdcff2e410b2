"""The three Service Time Zones against tables written by hand, from the laws and the governments' own lists.

United States: 5 U.S.C. 6103 and the Office of Personnel Management's lists of federal holidays. England and Wales: the
Banking and Financial Dealings Act 1971, and the proclaimed substitute days as GOV.UK lists them. Summer time: the
Energy Policy Act of 2005 (second Sunday of March to first Sunday of November, 02:00 local time) and the Summer Time
Order 2002 (last Sunday of March to last Sunday of October, 01:00 UTC).
"""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, time, timedelta

import pytest

from probe.core.calendar import (
    SATURDAY,
    DatedException,
    ServiceZone,
    after_business_time,
    business_time,
    hours_of,
    is_open,
    next_opening,
    why_closed,
)
from probe.service_zones import business_hours

US_EASTERN, US_PACIFIC, UK = ServiceZone
YEARS = range(2024, 2028)
ONE_DAY = timedelta(days=1)

# The weekdays that are closed, each with a word of its name.
US_HOLIDAYS = {
    "2024-01-01": "New Year",
    "2024-01-15": "Martin Luther King",
    "2024-02-19": "Washington",
    "2024-05-27": "Memorial",
    "2024-06-19": "Juneteenth",
    "2024-07-04": "Independence",
    "2024-09-02": "Labor",
    "2024-10-14": "Columbus",
    "2024-11-11": "Veterans",
    "2024-11-28": "Thanksgiving",
    "2024-12-25": "Christmas",
    "2025-01-01": "New Year",
    "2025-01-20": "Martin Luther King",
    "2025-02-17": "Washington",
    "2025-05-26": "Memorial",
    "2025-06-19": "Juneteenth",
    "2025-07-04": "Independence",
    "2025-09-01": "Labor",
    "2025-10-13": "Columbus",
    "2025-11-11": "Veterans",
    "2025-11-27": "Thanksgiving",
    "2025-12-25": "Christmas",
    "2026-01-01": "New Year",
    "2026-01-19": "Martin Luther King",
    "2026-02-16": "Washington",
    "2026-05-25": "Memorial",
    "2026-06-19": "Juneteenth",
    "2026-07-03": "Independence Day (observed)",  # the 4th is a Saturday; the Federal Reserve Banks are open
    "2026-09-07": "Labor",
    "2026-10-12": "Columbus",
    "2026-11-11": "Veterans",
    "2026-11-26": "Thanksgiving",
    "2026-12-25": "Christmas",
    "2027-01-01": "New Year",
    "2027-01-18": "Martin Luther King",
    "2027-02-15": "Washington",
    "2027-05-31": "Memorial",
    "2027-06-18": "Juneteenth National Independence Day (observed)",  # the 19th is a Saturday; likewise
    "2027-07-05": "Independence Day (observed)",  # the 4th is a Sunday
    "2027-09-06": "Labor",
    "2027-10-11": "Columbus",
    "2027-11-11": "Veterans",
    "2027-11-25": "Thanksgiving",
    "2027-12-24": "Christmas Day (observed)",  # the 25th is a Saturday; likewise
    "2027-12-31": "New Year's Day (observed)",  # the first of 2028 is a Saturday; likewise
}
UK_HOLIDAYS = {
    "2024-01-01": "New Year",
    "2024-03-29": "Good Friday",
    "2024-04-01": "Easter Monday",
    "2024-05-06": "May",
    "2024-05-27": "Spring",
    "2024-08-26": "Summer",
    "2024-12-25": "Christmas",
    "2024-12-26": "Boxing",
    "2025-01-01": "New Year",
    "2025-04-18": "Good Friday",
    "2025-04-21": "Easter Monday",
    "2025-05-05": "May",
    "2025-05-26": "Spring",
    "2025-08-25": "Summer",
    "2025-12-25": "Christmas",
    "2025-12-26": "Boxing",
    "2026-01-01": "New Year",
    "2026-04-03": "Good Friday",
    "2026-04-06": "Easter Monday",
    "2026-05-04": "May",
    "2026-05-25": "Spring",
    "2026-08-31": "Summer",
    "2026-12-25": "Christmas",
    "2026-12-28": "Boxing Day (observed)",  # the 26th is a Saturday
    "2027-01-01": "New Year",
    "2027-03-26": "Good Friday",
    "2027-03-29": "Easter Monday",
    "2027-05-03": "May",
    "2027-05-31": "Spring",
    "2027-08-30": "Summer",
    "2027-12-27": "Christmas Day (observed)",  # the 25th is a Saturday
    "2027-12-28": "Boxing Day (observed)",  # the 26th is a Sunday
}
HOLIDAYS = {US_EASTERN: US_HOLIDAYS, US_PACIFIC: US_HOLIDAYS, UK: UK_HOLIDAYS}
# Weekdays of each year less the holidays above, counted on paper: 2024 is a leap year from Monday, so it has 262.
WORKING_DAYS = {
    US_EASTERN: (262 - 11, 261 - 11, 261 - 11, 261 - 12),
    US_PACIFIC: (262 - 11, 261 - 11, 261 - 11, 261 - 12),
    UK: (262 - 8, 261 - 8, 261 - 8, 261 - 8),
}

# Each change of summer time: the last working day before it with its opening in UTC, and the first one after it.
CHANGES = [
    (US_EASTERN, "2024-03-08T14:00", "2024-03-11T13:00"),
    (US_EASTERN, "2024-11-01T13:00", "2024-11-04T14:00"),
    (US_EASTERN, "2025-03-07T14:00", "2025-03-10T13:00"),
    (US_EASTERN, "2025-10-31T13:00", "2025-11-03T14:00"),
    (US_EASTERN, "2026-03-06T14:00", "2026-03-09T13:00"),
    (US_EASTERN, "2026-10-30T13:00", "2026-11-02T14:00"),
    (US_EASTERN, "2027-03-12T14:00", "2027-03-15T13:00"),
    (US_EASTERN, "2027-11-05T13:00", "2027-11-08T14:00"),
    (US_PACIFIC, "2024-03-08T17:00", "2024-03-11T16:00"),
    (US_PACIFIC, "2024-11-01T16:00", "2024-11-04T17:00"),
    (US_PACIFIC, "2025-03-07T17:00", "2025-03-10T16:00"),
    (US_PACIFIC, "2025-10-31T16:00", "2025-11-03T17:00"),
    (US_PACIFIC, "2026-03-06T17:00", "2026-03-09T16:00"),
    (US_PACIFIC, "2026-10-30T16:00", "2026-11-02T17:00"),
    (US_PACIFIC, "2027-03-12T17:00", "2027-03-15T16:00"),
    (US_PACIFIC, "2027-11-05T16:00", "2027-11-08T17:00"),
    (UK, "2024-03-28T08:30", "2024-04-02T07:30"),  # on Easter Sunday
    (UK, "2024-10-25T07:30", "2024-10-28T08:30"),
    (UK, "2025-03-28T08:30", "2025-03-31T07:30"),
    (UK, "2025-10-24T07:30", "2025-10-27T08:30"),
    (UK, "2026-03-27T08:30", "2026-03-30T07:30"),
    (UK, "2026-10-23T07:30", "2026-10-26T08:30"),
    (UK, "2027-03-25T08:30", "2027-03-30T07:30"),  # on Easter Sunday
    (UK, "2027-10-29T07:30", "2027-11-01T08:30"),
]


def utc(text: str) -> datetime:
    """Read a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def days_of(year: int) -> list[date]:
    """List the days of a year."""
    first = date(year, 1, 1)
    return [first + place * ONE_DAY for place in range((date(year + 1, 1, 1) - first).days)]


@pytest.mark.parametrize("year", YEARS)
@pytest.mark.parametrize("zone", ServiceZone)
def test_exactly_the_days_of_the_table_are_bank_holidays(zone: ServiceZone, year: int) -> None:
    """No weekday of the year is closed but those that were written down by hand, each by its name."""
    service = business_hours(zone)
    closed = [day for day in days_of(year) if day.weekday() < SATURDAY and hours_of(service, day) is None]
    assert [day.isoformat() for day in closed] == [day for day in HOLIDAYS[zone] if day.startswith(str(year))]
    for day in closed:
        noon = datetime.combine(day, time(12), service.zone)
        assert HOLIDAYS[zone][day.isoformat()] in why_closed(service, noon)


@pytest.mark.parametrize("zone", ServiceZone)
def test_a_year_has_eight_hours_for_each_working_day(zone: ServiceZone) -> None:
    """Neither weekends nor changes of summer time add or take a minute."""
    service = business_hours(zone)
    for year, days in zip(YEARS, WORKING_DAYS[zone], strict=True):
        begin, end = (datetime.combine(date(one, 1, 1), time(0), service.zone) for one in (year, year + 1))
        assert business_time(service, begin, end) == timedelta(hours=8 * days)


@pytest.mark.parametrize(("zone", "before", "after"), CHANGES)
def test_opening_follows_the_local_clock_over_a_change(zone: ServiceZone, before: str, after: str) -> None:
    """In UTC it opens an hour earlier in summer; the time between has the business minutes of its working days."""
    service = business_hours(zone)
    first, second = utc(before), utc(after)
    assert next_opening(service, first - timedelta(hours=5)) == first
    assert next_opening(service, first + timedelta(hours=8)) == second
    assert business_time(service, first - timedelta(hours=5), second + timedelta(hours=8)) == timedelta(hours=16)
    assert after_business_time(service, first + timedelta(hours=7), timedelta(hours=2)) == second + timedelta(hours=1)


@pytest.mark.parametrize(
    ("zone", "opens", "closes"),
    [
        (US_EASTERN, "2026-11-23T14:00", "2026-11-23T22:00"),
        (US_PACIFIC, "2026-11-23T17:00", "2026-11-24T01:00"),
        (UK, "2026-11-23T08:30", "2026-11-23T16:30"),
    ],
)
def test_the_hours_are_those_of_the_contract(zone: ServiceZone, opens: str, closes: str) -> None:
    """Nine to five in the United States, half past eight to half past four in the UK."""
    service = business_hours(zone)
    assert hours_of(service, date(2026, 11, 23)) == (utc(opens), utc(closes))
    assert is_open(service, utc(opens))
    assert not is_open(service, utc(opens) - timedelta(seconds=1))
    assert is_open(service, utc(closes) - timedelta(seconds=1))
    assert not is_open(service, utc(closes))


def test_what_is_closed_for_others_is_no_bank_holiday() -> None:
    """Days of single states, of Scotland and Northern Ireland, and days off for federal offices alone are open."""
    for day in ("2024-12-24", "2025-01-09", "2025-12-26", "2026-02-12", "2026-03-31", "2026-11-27"):
        assert hours_of(business_hours(US_PACIFIC), date.fromisoformat(day)) is not None
    for day in ("2026-01-02", "2026-03-17", "2026-06-15", "2027-07-12", "2026-08-03", "2026-11-30"):
        assert hours_of(business_hours(UK), date.fromisoformat(day)) is not None


def test_an_exception_goes_before_a_bank_holiday() -> None:
    """A provider that follows the Federal Reserve Banks is open on the Friday before a holiday's Saturday."""
    friday = date(2026, 7, 3)
    service = business_hours(US_EASTERN, {friday: DatedException(span=(time(9), time(13)), reason="as the banks do")})
    assert hours_of(service, friday) == (utc("2026-07-03T13:00"), utc("2026-07-03T17:00"))
    assert why_closed(business_hours(US_EASTERN), utc("2026-07-03T13:00")) == "Independence Day (observed)"


def test_a_host_without_zone_files_knows_the_zones() -> None:
    """The rules of summer time come with the program where the system has none."""
    source = "from probe.service_zones import *\nfor z in ServiceZone: print(business_hours(z).zone)"
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | {"PYTHONTZPATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["America/New_York", "America/Los_Angeles", "Europe/London"]
