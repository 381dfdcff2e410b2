"""Moments as an operator says them: in the zone of his own clock, or with a zone, or as a time ago."""

import re
from datetime import UTC, datetime, timedelta

from probe.clock import SECOND_US
from probe.commands.ledger import LAST_SECOND
from probe.commands.terminal import Exit, fail
from probe.settings.duration import parse_duration

_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_ONE_DAY = timedelta(days=1)
_EXAMPLES = "03:12, 2026-11-22T03:12, 2026-11-22T03:12:00+01:00, a Unix second"


def parse_past(text: str, option: str, now_us: int) -> int:
    """Read when something happened, in microseconds: a clock time is the last one that was, a duration is ago."""
    return _parse(text, option, now_us, direction=-1)


def parse_due(text: str, option: str, since_us: int) -> int:
    """Read when something is due: a clock time is the next one after `since_us`, a duration counts from there."""
    return _parse(text, option, since_us, direction=1)


def shown(moment_us: int) -> str:
    """Write a moment in the operator's zone, as it was then."""
    if not moment_us:
        return ""
    return f"{datetime.fromtimestamp(moment_us // SECOND_US, UTC).astimezone():%Y-%m-%d %H:%M:%S %Z}"


def _parse(text: str, option: str, from_us: int, direction: int) -> int:
    if re.fullmatch("[0-9]{9,12}", text) and int(text) <= LAST_SECOND:
        return int(text) * SECOND_US
    if clock := _CLOCK.fullmatch(text):
        return _clock_time(clock, text, option, from_us, direction)
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        try:
            return from_us + direction * round(parse_duration(text) * SECOND_US)
        except ValueError:
            fail(
                f"{option}: found {text!r}, expected a time such as {_EXAMPLES}, or a duration such as 5m.", Exit.INPUT
            )
    return _in_zone(found, text, option)


def _clock_time(clock: re.Match[str], text: str, option: str, from_us: int, direction: int) -> int:
    hour, minute, second = (int(part or 0) for part in clock.groups())
    start = datetime.fromtimestamp(from_us / SECOND_US, UTC).astimezone()
    for days in (0, 1):
        day = start.date() + direction * days * _ONE_DAY
        found_us = _in_zone(datetime(day.year, day.month, day.day, hour, minute, second), text, option)  # noqa: DTZ001
        if (found_us - from_us) * direction >= 0:
            return found_us
    raise AssertionError("a day has every clock time")


def _in_zone(moment: datetime, text: str, option: str) -> int:
    """Take a time without a zone for one of the operator's; in the hour of a change of the clocks he must say more."""
    if moment.tzinfo is None:
        first, second = (moment.replace(fold=fold).astimezone() for fold in (0, 1))
        if first.utcoffset() != second.utcoffset():
            fail(
                f"{option}: {text!r} is in the hour of a change of the clocks, so it is twice or not at all; write "
                f"{first.isoformat(timespec='seconds')} or {second.isoformat(timespec='seconds')}.",
                Exit.INPUT,
            )
        moment = first
    return round(moment.timestamp() * SECOND_US)
