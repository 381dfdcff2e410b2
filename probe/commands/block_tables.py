"""What `ledger totals --block` shows: minutes or wider blocks, by each rule that agreements have for a bad one."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any

from rich.table import Table

from probe.commands.terminal import Exit, fail, out
from probe.core.blocks import BlockCount, BlockTotals, is_block
from probe.core.model import Surface
from probe.settings.duration import format_duration, parse_duration

PERCENT_DECIMALS = 6  # one second of a year shows
ROWS = (
    "blocks with a record",
    "of them partial",
    "with an unavailable second, literal",
    "with an unavailable second, both",
    "unavailable throughout, literal",
    "unavailable throughout, both",
    "availability %, any second, literal",
    "availability %, any second, both",
    "availability %, throughout, literal",
    "availability %, throughout, both",
)
# The counts of blocks that an agreement may take for unavailable; each has its percentage.
RULES = ("any_literal", "any_both", "throughout_literal", "throughout_both")
BLOCK_WORDS = (
    "Blocks are aligned to UTC; one counts if a second of it is in the record and not excluded. Throughout means that "
    "each second is unavailable or excluded; a partial block, with seconds out of the record or the range, never is."
)


def block_widths(texts: Iterable[str]) -> tuple[int, ...]:
    """Read the widths of `--block`, each given once or parted by commas; seconds."""
    return tuple(sorted({_width(text) for listed in texts for text in listed.split(",")}))


def _width(text: str) -> int:
    try:
        width_s = parse_duration(text.strip())
    except ValueError:
        width_s = 0
    if not is_block(width_s):
        fail(
            f"--block: found '{text}', expected whole minutes that part a day evenly, such as 1m, 5m or 1h.", Exit.INPUT
        )
    return int(width_s)


def show_blocks(totals: Sequence[BlockTotals], *, amended: bool) -> None:
    """Show the blocks of one target, a table for each width and way of counting."""
    for block_s, found in _by_width(totals):
        out.print(_table(block_s, "as judged", {name_of(total.surface): total.as_judged for total in found}))
        if amended:
            out.print(_table(block_s, "as amended", {name_of(total.surface): total.as_amended for total in found}))


def plain_blocks(totals: Sequence[BlockTotals]) -> list[dict[str, Any]]:
    """Give the same for programs."""
    return [
        {
            "block_s": block_s,
            "surfaces": {
                name_of(total.surface): {
                    "as_judged": _plain_count(total.as_judged),
                    "as_amended": _plain_count(total.as_amended),
                }
                for total in found
            },
        }
        for block_s, found in _by_width(totals)
    ]


def _by_width(totals: Sequence[BlockTotals]) -> list[tuple[int, list[BlockTotals]]]:
    return [(block_s, list(found)) for block_s, found in groupby(totals, key=lambda total: total.block_s)]


def _table(block_s: int, words: str, counts: dict[str, BlockCount]) -> Table:
    table = Table(f"blocks of {format_duration(block_s)}, {words}", box=None, header_style="dim", padding=(0, 0, 0, 2))
    for name in counts:
        table.add_column(name, justify="right")
    for row, *cells in zip(ROWS, *map(_cells, counts.values()), strict=True):
        table.add_row(row, *cells)
    return table


def _cells(count: BlockCount) -> list[str]:
    return [
        *[f"{number:,}" for number in asdict(count).values()],
        *[decimal(percent) for percent in _percents(count).values()],
    ]


def _percents(count: BlockCount) -> dict[str, Fraction | None]:
    return {name: count.availability_percent(getattr(count, name)) for name in RULES}


def _plain_count(count: BlockCount) -> dict[str, Any]:
    return {
        **asdict(count),
        **{
            f"availability_percent_{name}": None if percent is None else float(round(percent, PERCENT_DECIMALS))
            for name, percent in _percents(count).items()
        },
    }


def name_of(surface: Surface | None) -> str:
    """Name a surface, or the target as a whole."""
    return "target" if surface is None else str(surface)


def decimal(number: Fraction | None, decimals: int = PERCENT_DECIMALS) -> str:
    """Write a number without an exponent and without zeros at its end; "-" if there is none."""
    if number is None:
        return "-"
    text = f"{Decimal(round(number * 10**decimals)).scaleb(-decimals):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
