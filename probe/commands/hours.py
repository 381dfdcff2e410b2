"""`hours`: whether the provider's people are at work, and how much of a time counts as business time."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from probe.clock import SECOND_US, wall_us
from probe.commands.ledger import parse_second
from probe.commands.settings import loaded
from probe.commands.terminal import Exit, fail, out, write
from probe.core.calendar import BusinessHours, ServiceZone, business_time, exception_of, outlook
from probe.service_zones import FIRST_YEAR, LAST_YEAR, business_hours

PLAIN: Final = "%a %Y-%m-%d %H:%M %Z"
EXACT: Final = "%a %Y-%m-%d %H:%M:%S %Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """Business Hours that are asked about, and the target that they are of; "" without settings."""

    target: str
    hours: BusinessHours

    @property
    def name(self) -> str:
        """Name them for people."""
        return f"{self.target} ({self.hours.name})" if self.target else self.hours.name


def hours(
    config: Path | None, target: str | None, at: str | None, first: str | None, last: str | None, *, as_json: bool
) -> None:
    """Say whether it is open, or how much business time lies between two moments."""
    if at is not None and (first is not None or last is not None):
        fail("--at: asks about one moment, --from and --to about the time between two; leave one out.", Exit.INPUT)
    if last is not None and first is None:
        fail("--to: needs --from, the moment at which the time begins.", Exit.INPUT)
    watched = list(_watched(config, target))
    if first is None:
        moment = _moment(at, "--at")
        if as_json:
            write(json.dumps([_described(one, moment) for one in watched], indent=2))
        else:
            _show(watched, moment)
        return
    begin, end = _moment(first, "--from"), _moment(last, "--to")
    if end < begin:
        fail(f"--to ({_utc(end)}) is before --from ({_utc(begin)}).", Exit.INPUT)
    if as_json:
        write(json.dumps([_measured(one, begin, end) for one in watched], indent=2))
    else:
        _show_time(watched, begin, end)


def _watched(config: Path | None, target: str | None) -> Iterator[Watched]:
    if config is None:
        if target is not None:
            fail("--target: needs --config, the settings that name the target.", Exit.INPUT)
        for zone in ServiceZone:
            yield Watched(target="", hours=business_hours(zone))
        return
    targets = loaded(config).settings.targets
    if target is not None and target not in (names := [one.name for one in targets]):
        fail(f"{config}: no target is named {target!r}; the file has: {', '.join(names)}.", Exit.INPUT)
    for one in targets:
        if target in (None, one.name):
            contract = one.contract
            yield Watched(target=one.name, hours=business_hours(contract.service_zone, contract.exceptions()))


def _moment(text: str | None, option: str) -> datetime:
    """Read a moment; one that names no zone is of the operator's."""
    if text is None:
        return datetime.fromtimestamp(wall_us() // SECOND_US, UTC)
    try:
        moment = None if text.isdecimal() else datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is not None:
        moment = datetime.fromtimestamp(parse_second(text, option), UTC)
    if not FIRST_YEAR < moment.year < LAST_YEAR:
        fail(f"{option}: bank holidays are known for {FIRST_YEAR + 1} to {LAST_YEAR - 1} only.", Exit.INPUT)
    return moment.replace(microsecond=0).astimezone(UTC)


def _show(watched: list[Watched], moment: datetime) -> None:
    for one in watched:
        seen = outlook(one.hours, moment)
        why = seen.why_closed
        exception = exception_of(one.hours, moment)
        out.print(
            f"{one.name}: closed, {why}" if why else f"{one.name}: open",
            style="yellow" if why else "green",
            markup=False,
            soft_wrap=True,
        )
        if exception is not None and exception.span is not None:
            span = "-".join(f"{at:%H:%M}" for at in exception.span)
            out.print(f"    hours of this day  {span}, by exception: {exception.reason}", markup=False, soft_wrap=True)
        turns = [("opens", seen.next_opening), ("closes", seen.next_closing)]
        for word, turn in [("asked for", moment), *sorted(turns, key=lambda pair: pair[1])]:
            style = EXACT if turn.second else PLAIN
            there, here = turn.astimezone(one.hours.zone), turn.astimezone()
            line = f"    {word:<9}  {there:{style}}  here {here:{style}}"
            out.print(line, markup=False, soft_wrap=True)


def _show_time(watched: list[Watched], begin: datetime, end: datetime) -> None:
    out.print(f"From {_utc(begin)} to {_utc(end)}:", markup=False, soft_wrap=True)
    for one in watched:
        minutes, seconds = divmod(_business_seconds(one.hours, begin, end), 60)
        exact = f" {seconds} s" if seconds else ""
        written = f"{minutes // 60} h {minutes % 60} min{exact}"
        line = f"    {one.name}: {minutes:,} business minutes ({written})"
        out.print(line, markup=False, soft_wrap=True)


def _described(one: Watched, moment: datetime) -> dict[str, Any]:
    seen = outlook(one.hours, moment)
    return {
        **_named(one),
        "at": _thrice(one.hours, moment),
        "open": seen.is_open,
        "why_closed": seen.why_closed,
        "exception": seen.exception or None,
        "next_opening": _thrice(one.hours, seen.next_opening),
        "next_closing": _thrice(one.hours, seen.next_closing),
    }


def _measured(one: Watched, begin: datetime, end: datetime) -> dict[str, Any]:
    seconds = _business_seconds(one.hours, begin, end)
    return {
        **_named(one),
        "from": _thrice(one.hours, begin),
        "to": _thrice(one.hours, end),
        "business_seconds": seconds,
        "business_minutes": seconds // 60,
    }


def _named(one: Watched) -> dict[str, Any]:
    return {
        "target": one.target or None,
        "service_time_zone": one.hours.name,
        "time_zone": str(one.hours.zone),
        "hours": f"{one.hours.opens:%H:%M}-{one.hours.closes:%H:%M}",
    }


def _thrice(service: BusinessHours, moment: datetime) -> dict[str, str]:
    """Write a moment in UTC, in the service's zone and in the operator's."""
    return {
        "utc": _utc(moment),
        "service": moment.astimezone(service.zone).isoformat(),
        "operator": moment.astimezone().isoformat(),
    }


def _business_seconds(service: BusinessHours, begin: datetime, end: datetime) -> int:
    return int(business_time(service, begin, end).total_seconds())


def _utc(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
