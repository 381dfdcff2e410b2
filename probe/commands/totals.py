"""`ledger totals`: what a range of seconds comes to, with and without the excluded windows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from rich.table import Table

from probe.clock import SECOND_US, wall_us
from probe.commands.amend import described, lines_of
from probe.commands.block_tables import (
    BLOCK_WORDS,
    PERCENT_DECIMALS,
    block_widths,
    decimal,
    name_of,
    plain_blocks,
    show_blocks,
)
from probe.commands.ledger import parse_second
from probe.commands.terminal import Exit, fail, out, write
from probe.core.model import Suspicion
from probe.core.totals import PPM, Count
from probe.ledger import Account, LedgerError, Tally, account_of
from probe.times import utc

BUDGET_DECIMALS = 3
ROWS = (
    "available",
    "unavailable, literal",
    "unavailable, corroborated",
    "inconclusive",
    "unobserved",
    "excluded",
    "availability %, literal",
    "availability %, both",
)
NO_CONTROLS = "No control was attempted in this range, so nothing told our network from theirs: "


def totals(
    address: str,
    first: str | None,
    last: str | None,
    target: str | None,
    blocks: Sequence[str] = (),
    *,
    as_json: bool,
) -> None:
    """Count a range, this month's (UTC) if none is given, and its blocks of the widths that are asked for."""
    widths_s = block_widths(blocks)
    month = _this_month()
    first_second = parse_second(first, "--from") if first is not None else month[0]
    last_second = parse_second(last, "--to") if last is not None else max(month[1], first_second)
    if last_second < first_second:
        fail(f"--to ({utc(last_second)}) is before --from ({utc(first_second)}).", Exit.INPUT)
    try:
        account = account_of(address, first_second, last_second, target, widths_s)
    except LedgerError as error:
        fail(str(error), Exit.CANNOT)
    if target is not None and not account.tallies:
        fail(f'--target: the record knows no target "{target}".', Exit.INPUT)
    if as_json:
        write(json.dumps(_plain(account), indent=2))
        return
    _show(account)


def _this_month() -> tuple[int, int]:
    now = datetime.fromtimestamp(wall_us() / SECOND_US, UTC)
    first = datetime(now.year, now.month, 1, tzinfo=UTC)
    following = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    return int(first.timestamp()), int(following.timestamp()) - 1


# For people.


def _show(account: Account) -> None:
    seconds = account.last_second - account.first_second + 1
    _say(f"{utc(account.first_second)} to {utc(account.last_second)}, {seconds:,} seconds, both ends included")
    for tally in account.tallies:
        out.print()
        _show_tally(tally, amended=bool(account.windows))
    out.print()
    for sentence in _sentences(account):
        _say(sentence)
    for standing in account.windows:
        for line in lines_of(standing):
            _say("  " + line)


def _show_tally(tally: Tally, *, amended: bool) -> None:
    """Show one target; without excluded windows both ways of counting are the same, and one is shown."""
    out.print(tally.target, style="bold", markup=False)
    whole = tally.totals[-1]
    ways = [("as judged", whole.as_judged), ("as amended", whole.as_amended)][: 2 if amended else 1]
    out.print(_table("as judged", {name_of(total.surface): total.as_judged for total in tally.totals}))
    if amended:
        out.print(_table("as amended", {name_of(total.surface): total.as_amended for total in tally.totals}))
    show_blocks(tally.blocks, amended=amended)
    if tally.terms is not None:
        objective_ppm = tally.terms.objective_ppm
        for words, count in ways:
            _say(f"  budget {words}: {_budget_words(count, objective_ppm)}")
    if unrecorded := tally.totals[-1].as_judged.unrecorded:
        _say(f"  {unrecorded:,} seconds of the range have no record: not watched then, still to come, or cut")
    if unobserved := tally.totals[-1].as_judged.unobserved:
        _say(f"  {unobserved:,} seconds are unobserved: nobody looked, so none of them counts as unavailable")
    for suspicion in tally.suspicions:
        _say("  for human decision, not counted: " + _suspicion_words(suspicion))


def _table(words: str, counts: Mapping[str, Count]) -> Table:
    """Show the seconds of each surface and of the target, counted in one way."""
    table = Table(f"seconds, {words}", box=None, header_style="dim", padding=(0, 0, 0, 2))
    for name in counts:
        table.add_column(name, justify="right")
    for row, *cells in zip(ROWS, *map(_cells, counts.values()), strict=True):
        table.add_row(row, *cells)
    return table


def _sentences(account: Account) -> list[str]:
    held = sum(standing.withdrawn_by is None for standing in account.windows)
    counted = f"{held} excluded window(s) in force in this range, {len(account.windows) - held} withdrawn"
    found = [f"Amendments: {counted}." if account.windows else "Amendments: none, so both totals are the same."]
    if account.controls_seen is None:
        found.append("Controls: their records of this range are cut, so whether there were any is not known here.")
    elif account.controls_seen:
        found.append("Controls: attempted; network faults count (corroborated) where one worked in the same second.")
    else:
        found.append(f"Controls: none. {NO_CONTROLS}network faults stay inconclusive.")
    found.append("Availability is 100 % less the share of unavailable seconds in those recorded and not excluded.")
    if any(tally.blocks for tally in account.tallies):
        found.append(BLOCK_WORDS)
    return found


def _cells(count: Count) -> list[str]:
    seconds = (
        count.available,
        count.unavailable_literal,
        count.unavailable_corroborated,
        count.inconclusive,
        count.unobserved,
        count.excluded,
    )
    percents = [count.availability_percent(literal_only=literal_only) for literal_only in (True, False)]
    return [*[f"{number:,}" for number in seconds], *[decimal(percent) for percent in percents]]


def _budget_words(count: Count, objective_ppm: int) -> str:
    allowed = count.budget_s(objective_ppm)
    literal = _left_words(allowed - count.unavailable_literal)
    both = _left_words(allowed - count.unavailable)
    return (
        f"{decimal(allowed, BUDGET_DECIMALS)} s at {decimal(Fraction(100 * objective_ppm, PPM), 4)} %; "
        f"by the literal basis {literal}, by both {both}"
    )


def _left_words(left: Fraction) -> str:
    return f"{decimal(abs(left), BUDGET_DECIMALS)} s " + ("left" if left >= 0 else "OVERSPENT")


def _suspicion_words(found: Suspicion) -> str:
    return (
        f"{found.surface} refused our unchanged credentials ({found.codes}) in {found.seconds:,} second(s) from "
        f"{utc(found.first_second)} to {utc(found.last_second)}, accepted before and after"
    )


def _say(line: str) -> None:
    out.print(line, markup=False, soft_wrap=True)


# For programs.


def _plain(account: Account) -> dict[str, Any]:
    return {
        "first_second": account.first_second,
        "last_second": account.last_second,
        "controls_seen": account.controls_seen,
        "amendments": [described(standing) for standing in account.windows],
        "targets": [_plain_tally(tally) for tally in account.tallies],
    }


def _plain_tally(tally: Tally) -> dict[str, Any]:
    objective_ppm = None if tally.terms is None else tally.terms.objective_ppm
    return {
        "target": tally.target,
        "profile": None if tally.terms is None else tally.terms.profile,
        "objective_percent": None if objective_ppm is None else objective_ppm * 100 / PPM,
        "surfaces": {
            name_of(total.surface): {
                "as_judged": _plain_count(total.as_judged, objective_ppm),
                "as_amended": _plain_count(total.as_amended, objective_ppm),
            }
            for total in tally.totals
        },
        "suspicions": [asdict(found) for found in tally.suspicions],
        "blocks": plain_blocks(tally.blocks),
    }


def _plain_count(count: Count, objective_ppm: int | None) -> dict[str, Any]:
    def number(value: Fraction | None, decimals: int) -> float | None:
        return None if value is None else float(round(value, decimals))

    allowed = None if objective_ppm is None else count.budget_s(objective_ppm)
    return {
        **asdict(count),
        "recorded": count.recorded,
        "unrecorded": count.unrecorded,
        "availability_percent_literal": number(count.availability_percent(literal_only=True), PERCENT_DECIMALS),
        "availability_percent_both": number(count.availability_percent(literal_only=False), PERCENT_DECIMALS),
        "budget_s": number(allowed, BUDGET_DECIMALS),
        "budget_left_s_literal": number(_less(allowed, count.unavailable_literal), BUDGET_DECIMALS),
        "budget_left_s_both": number(_less(allowed, count.unavailable), BUDGET_DECIMALS),
    }


def _less(allowed: Fraction | None, spent: int) -> Fraction | None:
    return None if allowed is None else allowed - spent
