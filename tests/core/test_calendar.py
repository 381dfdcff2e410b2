"""Business Hours as pure rules: exceptions, both changes of summer time, and what must hold for any two moments."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.core.calendar import (
    HORIZON_DAYS,
    NOTHING,
    BusinessHours,
    DatedException,
    NeverOpen,
    after_business_time,
    business_time,
    exception_of,
    hours_of,
    is_open,
    next_closing,
    next_opening,
    why_closed,
)

NEW_YORK = ZoneInfo("America/New_York")
LONDON = ZoneInfo("Europe/London")
TOKYO = ZoneInfo("Asia/Tokyo")
DAY_S = 86_400
# Bank holidays made up for these tests: two in a row, and one beside a weekend.
HOLIDAYS = {date(2026, 3, 6): "Founders' Day", date(2026, 3, 17): "First Day", date(2026, 3, 18): "Second Day"}
EXCEPTIONS = {
    date(2026, 3, 17): DatedException(span=(time(10), time(12)), reason="duty on a holiday"),
    date(2026, 3, 7): DatedException(span=(time(22), time(23, 59)), reason="a Saturday night"),
    # On this Sunday New York's clocks go from 02:00 to 03:00.
    date(2026, 3, 8): DatedException(span=(time(1), time(4)), reason="the change itself"),
    date(2026, 3, 11): DatedException(span=None, reason="a move of the office"),
    date(2026, 10, 25): DatedException(span=(time(0, 30), time(3)), reason="the change in London"),
    date(2026, 11, 1): DatedException(span=(time(0, 30), time(3)), reason="the change back"),
}


def hours(zone: ZoneInfo = NEW_YORK, **changes: object) -> BusinessHours:
    """Make hours of nine to five with the holidays above."""
    parts: dict[str, object] = {"opens": time(9), "closes": time(17), "holiday": lambda day: HOLIDAYS.get(day, "")}
    return BusinessHours(name="us-eastern", zone=zone, **(parts | changes))  # type: ignore[arg-type]


def at(text: str, zone: ZoneInfo = NEW_YORK, fold: int = 0) -> datetime:
    """Read a local moment."""
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


@pytest.mark.parametrize(
    ("moment", "why"),
    [
        ("2026-03-05T08:59:59", "before business hours"),
        ("2026-03-05T09:00:00", ""),
        ("2026-03-05T16:59:59", ""),
        ("2026-03-05T17:00:00", "after business hours"),
        ("2026-03-06T12:00:00", "Founders' Day"),
        ("2026-03-14T12:00:00", "the weekend"),
        ("2026-03-15T12:00:00", "the weekend"),
        ("2026-03-07T21:59:59", "before business hours"),
        ("2026-03-07T22:00:00", ""),
        ("2026-03-11T12:00:00", "closed by exception: a move of the office"),
        ("2026-03-17T09:59:59", "before business hours"),
        ("2026-03-17T11:00:00", ""),
        ("2026-03-17T12:00:00", "after business hours"),
        ("2026-03-18T11:00:00", "Second Day"),
    ],
)
def test_it_is_said_why_it_is_closed(moment: str, why: str) -> None:
    """The hours, the weekend, the bank holiday by its name or the exception with its reason; nothing when open."""
    service = hours(exceptions=EXCEPTIONS)
    assert why_closed(service, at(moment)) == why
    assert is_open(service, at(moment)) == (why == "")
    assert why_closed(service, at(moment).astimezone(TOKYO)) == why


def test_a_day_is_one_of_the_services_zone() -> None:
    """Monday morning in Tokyo is Sunday evening in New York."""
    assert why_closed(hours(), at("2026-03-16T09:30", TOKYO)) == "the weekend"
    assert is_open(hours(), at("2026-03-17T00:30", TOKYO))  # 11:30 on Monday


def test_the_next_turns_pass_weekends_holidays_and_exceptions() -> None:
    """From Thursday evening over a holiday and a weekend to Monday; what is open now opens now."""
    assert next_opening(hours(), at("2026-03-05T17:00")) == at("2026-03-09T09:00")
    assert next_closing(hours(), at("2026-03-05T17:00")) == at("2026-03-09T17:00")
    assert next_opening(hours(), at("2026-03-05T12:00")) == at("2026-03-05T12:00")
    assert next_closing(hours(), at("2026-03-05T12:00")) == at("2026-03-05T17:00")
    service = hours(exceptions=EXCEPTIONS)
    assert next_opening(service, at("2026-03-05T17:00")) == at("2026-03-07T22:00")
    assert next_closing(service, at("2026-03-16T18:00")) == at("2026-03-17T12:00")
    assert next_opening(service, at("2026-03-10T18:00")) == at("2026-03-12T09:00")


@pytest.mark.parametrize(
    ("begin", "end", "minutes"),
    [
        ("2026-03-05T08:00", "2026-03-05T18:00", 480),
        ("2026-03-05T10:15", "2026-03-05T10:45", 30),
        ("2026-03-05T16:00", "2026-03-09T10:00", 120),  # over the holiday, the weekend and the change
        ("2026-03-07T00:00", "2026-03-09T00:00", 0),
        ("2026-03-09T00:00", "2026-03-16T00:00", 5 * 480),
        ("2026-03-02T00:00", "2026-03-09T00:00", 4 * 480),  # the week of the holiday, an hour short by the clock
        ("2026-10-26T00:00", "2026-11-02T00:00", 5 * 480),  # a week that is an hour longer
        ("2026-03-05T12:00", "2026-03-05T12:00", 0),
        ("2026-03-05T13:00", "2026-03-05T12:00", 0),
    ],
)
def test_business_time_is_counted_over_weeks_with_a_change(begin: str, end: str, minutes: int) -> None:
    """A week of five working days is forty hours, however many hours it has."""
    assert business_time(hours(), at(begin), at(end)) == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    ("zone", "day", "minutes"),
    [
        (NEW_YORK, date(2026, 3, 8), 120),  # 01:00 to 04:00, of which one hour is skipped
        (NEW_YORK, date(2026, 11, 1), 210),  # 00:30 to 03:00, of which one hour comes twice
        (LONDON, date(2026, 10, 25), 210),
    ],
)
def test_an_exception_over_the_change_has_the_time_that_goes_by(zone: ZoneInfo, day: date, minutes: int) -> None:
    """What counts is elapsed time and not the figures on the clock, whatever zone the two moments are given in."""
    service = hours(zone, exceptions=EXCEPTIONS)
    begin = datetime.combine(day, time(0), zone)
    for view in (zone, UTC, TOKYO):
        pair = begin.astimezone(view), (begin + timedelta(days=1)).astimezone(view)
        assert business_time(service, *pair) == timedelta(minutes=minutes)


def test_the_hour_that_comes_twice_is_two_hours() -> None:
    """From 01:30 to the second 01:30, which the wall clock can't tell apart, lies an hour of business time."""
    service = hours(exceptions=EXCEPTIONS)
    first, second = at("2026-11-01T01:30"), at("2026-11-01T01:30", fold=1)
    assert business_time(service, first, second) == timedelta(hours=1)
    assert business_time(service, first, at("2026-11-01T01:10", fold=1)) == timedelta(minutes=40)
    assert after_business_time(service, first, timedelta(hours=1)) == second.astimezone(UTC)


def test_an_exception_within_the_skipped_hour_never_opens() -> None:
    """Hours from 02:30 to 03:15 on the night that has no 02:30 are none, and nobody is sent to a door that is shut."""
    exceptions = {date(2026, 3, 8): DatedException(span=(time(2, 30), time(3, 15)), reason="a slip")}
    service = hours(exceptions=exceptions)
    assert hours_of(service, date(2026, 3, 8)) is None
    opening = next_opening(service, at("2026-03-08T00:00"))
    assert opening == at("2026-03-09T09:00")
    assert is_open(service, opening)


def test_the_exception_of_a_day_is_found_all_day() -> None:
    """It is given with its reason, before, in and after its hours, in the service's own zone."""
    service = hours(exceptions=EXCEPTIONS)
    assert exception_of(service, at("2026-03-17T23:59")) == EXCEPTIONS[date(2026, 3, 17)]
    assert exception_of(service, at("2026-03-18T05:00", TOKYO)) == EXCEPTIONS[date(2026, 3, 17)]
    assert exception_of(service, at("2026-03-18T00:00")) is None


def test_hours_that_end_before_they_begin_are_refused() -> None:
    """Neither the day's nor an exception's hours can be turned round."""
    with pytest.raises(ValueError, match="us-eastern begin at 17:00 and end at 09:00"):
        hours(opens=time(17), closes=time(9))
    with pytest.raises(ValueError, match="us-eastern begin at 12:00 and end at 12:00"):
        hours(exceptions={date(2026, 3, 5): DatedException(span=(time(12), time(12)), reason="none")})


def test_a_calendar_that_never_opens_says_so() -> None:
    """After a year without an opening the search ends with a sentence."""
    service = hours(holiday=lambda _: "an eternal holiday")
    begin = at("2026-03-05T12:00")
    sentence = "us-eastern: there are no business hours within a year after 2026-03-05"
    with pytest.raises(NeverOpen, match=sentence):
        next_opening(service, begin)
    with pytest.raises(NeverOpen, match=sentence):
        after_business_time(service, begin, timedelta(minutes=1))
    assert business_time(service, begin, begin + timedelta(days=HORIZON_DAYS)) == NOTHING


def test_a_moment_without_a_zone_is_a_mistake_of_ours() -> None:
    """It is never silently read in the zone of this host."""
    for asks in (is_open, why_closed, next_opening, next_closing):
        with pytest.raises(AssertionError):
            asks(hours(), datetime(2026, 3, 5, 12))  # noqa: DTZ001 - the mistake


SERVICES = st.sampled_from([hours(), hours(LONDON), hours(exceptions=EXCEPTIONS), hours(LONDON, exceptions=EXCEPTIONS)])
ZONES = st.sampled_from([UTC, NEW_YORK, LONDON, TOKYO])
YEAR_BEGINS_S = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    """Draw a moment of 2026, often near a change of summer time, to the second, in any zone."""
    changes = [at(f"2026-{day}T00:00", LONDON) for day in ("03-07", "03-08", "03-29", "10-25", "11-01")]
    near = st.sampled_from([int(change.timestamp()) for change in changes]).flatmap(
        lambda begin: st.integers(begin, begin + 2 * DAY_S)
    )
    second = draw(st.one_of(near, st.integers(YEAR_BEGINS_S, YEAR_BEGINS_S + 365 * DAY_S)))
    return datetime.fromtimestamp(second, UTC).astimezone(draw(ZONES))


def utc(moment: datetime) -> datetime:
    """Bring a moment to UTC, where moments can be compared."""
    return moment.astimezone(UTC)


@given(SERVICES, moments(), moments(), moments())
def test_business_time_is_additive(service: BusinessHours, one: datetime, two: datetime, three: datetime) -> None:
    """Two parts of a time have together what the whole has; no part has more than its length, and none is negative."""
    begin, middle, end = sorted((one, two, three), key=utc)
    first, second = business_time(service, begin, middle), business_time(service, middle, end)
    assert first + second == business_time(service, begin, end)
    assert NOTHING <= first <= utc(middle) - utc(begin)


@given(SERVICES, moments(), st.integers(1, 30 * 8 * 3600))
def test_after_business_time_is_the_inverse_of_business_time(
    service: BusinessHours, begin: datetime, seconds: int
) -> None:
    """So much business time later, so much has gone by; one second earlier it had not."""
    wanted = timedelta(seconds=seconds)
    due = after_business_time(service, begin, wanted)
    assert business_time(service, begin, due) == wanted
    assert business_time(service, begin, due - timedelta(seconds=1)) < wanted


@given(SERVICES, moments())
def test_the_next_opening_is_open_and_the_next(service: BusinessHours, begin: datetime) -> None:
    """It is open then, and no business time lies before it."""
    opening = next_opening(service, begin)
    assert opening >= utc(begin)
    assert is_open(service, opening)
    assert why_closed(service, opening) == ""
    assert business_time(service, begin, opening) == NOTHING
    assert after_business_time(service, begin, NOTHING) == opening


@given(SERVICES, moments())
def test_the_next_closing_ends_what_is_open(service: BusinessHours, begin: datetime) -> None:
    """It is open until then and not at that moment, and all from the next opening to it is business time."""
    opening, closing = next_opening(service, begin), next_closing(service, begin)
    assert is_open(service, closing - timedelta(seconds=1))
    assert not is_open(service, closing)
    assert business_time(service, begin, closing) == closing - opening


@given(SERVICES, moments())
def test_open_is_what_has_business_time(service: BusinessHours, begin: datetime) -> None:
    """A second counts exactly if it is open in it."""
    counted = business_time(service, begin, utc(begin) + timedelta(seconds=1))
    assert counted == (timedelta(seconds=1) if is_open(service, begin) else NOTHING)
