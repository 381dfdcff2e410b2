"""The ledger's export: one row for each second and surface, one for each attempt, and one for each remark beside them.

Others parse this: a field keeps its name and meaning, new fields come at the end, new types of row may appear, and
anything else raises FORMAT_VERSION, which is the first field (`v`) of every row.
"""

import csv
import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TextIO

from sqlalchemy import Connection

from probe.core.model import Outcome
from probe.ledger.export_remarks import FORMAT_VERSION, REMARK_FIELDS, ExportRow, moment, remark_rows_of
from probe.ledger.read import attempts_in, runs_into, verdicts_in, windows
from probe.ledger.records import outcome_of_row
from probe.ledger.snapshot import snapshot

SECOND_FIELDS = ("v", "type", "target", "surface", "second", "verdict", "basis", "attempts", "accepted", "evidence")
ATTEMPT_FIELDS = (
    "v",
    "type",
    "target",
    "vantage",
    "surface",
    "second",
    "ordinal",
    "started_at",
    "duration_ms",
    "fault",
    "cause",
    "phase",
    "code",
    "enhanced_code",
    "reply",
    "message_id",
    "connection",
)
_FIRST_FIELDS = [name for name in SECOND_FIELDS if name != "evidence"]
# A CSV file has one heading for all types, in the order in which the fields came to be; a field that a type does not
# have is empty.
CSV_FIELDS = tuple(
    dict.fromkeys((*_FIRST_FIELDS, *ATTEMPT_FIELDS, *SECOND_FIELDS, *(f for fs in REMARK_FIELDS.values() for f in fs)))
)


def export_rows(address: str, first_second: int, last_second: int, target: str | None = None) -> Iterator[ExportRow]:
    """Give the rows of a range of seconds, both ends included, in order of second, target and surface.

    Seconds come before attempts within each portion of the range, and what is kept beside the seconds after all of
    them. A run of unobserved seconds is given second by second. One snapshot is read, also while a daemon writes.
    """
    with snapshot(address) as connection:
        yield from rows_of(connection, first_second, last_second, target)


def rows_of(
    connection: Connection, first_second: int, last_second: int, target: str | None = None
) -> Iterator[ExportRow]:
    """Give the rows of a range, in the caller's transaction."""
    seconds = _Seconds(first_second, last_second)
    seconds.add(runs_into(connection, first_second, target))
    for window in windows(connection, first_second, last_second, target):
        yield from seconds.through(window[0] - 1)
        seconds.add(verdicts_in(connection, window, target))
        yield from seconds.through(window[1])
        for row in attempts_in(connection, window, target):
            yield attempt_row(outcome_of_row(tuple(row)[2:-1], row.vantage), row.vantage)
    yield from seconds.through(last_second)
    yield from remark_rows_of(connection, first_second, last_second, target)


def attempt_row(outcome: Outcome, vantage: str) -> ExportRow:
    """Make the row of one attempt."""
    return {
        "v": FORMAT_VERSION,
        "type": "attempt",
        "target": outcome.target,
        "vantage": vantage,
        "surface": str(outcome.surface),
        "second": outcome.second,
        "ordinal": outcome.ordinal,
        "started_at": moment(outcome.started_us),
        "duration_ms": outcome.duration_us / 1000,
        "fault": str(outcome.fault),
        "cause": str(outcome.cause),
        "phase": str(outcome.phase),
        "code": outcome.code,
        "enhanced_code": outcome.enhanced_code,
        "reply": outcome.reply,
        "message_id": outcome.message_id,
        "connection": str(outcome.connection),
    }


def write_jsonl(rows: Iterable[ExportRow], out: TextIO) -> int:
    """Write one JSON object a line; return how many."""
    count = 0
    for row in rows:
        out.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
        count += 1
    return count


def write_csv(rows: Iterable[ExportRow], out: TextIO) -> int:
    """Write CSV (RFC 4180) with a heading; return how many rows follow it."""
    writer = csv.DictWriter(out, CSV_FIELDS, restval="", lineterminator="\r\n")
    writer.writeheader()
    count = 0
    for row in rows:
        writer.writerow(row)
        count += 1
    return count


@dataclass(order=True, slots=True)
class _Run:
    """A verdict and the seconds of it that are still to be given."""

    second: int
    target: str
    surface: str
    last: int
    fields: ExportRow = field(compare=False)


class _Seconds:
    """Verdicts in order of their seconds, runs expanded; holds one entry for each run or verdict in a portion."""

    def __init__(self, first_second: int, last_second: int) -> None:
        self._first = first_second
        self._last = last_second
        self._heap: list[_Run] = []

    def add(self, rows: Iterable[Any]) -> None:
        for row in rows:
            last = min(row.second + row.seconds - 1, self._last)
            heapq.heappush(self._heap, _Run(max(row.second, self._first), row.target, row.surface, last, _verdict(row)))

    def through(self, second: int) -> Iterator[ExportRow]:
        while self._heap and self._heap[0].second <= second:
            run = self._heap[0]
            yield {**run.fields, "second": run.second}
            if run.second < run.last:
                run.second += 1
                heapq.heapreplace(self._heap, run)
            else:
                heapq.heappop(self._heap)


def _verdict(row: Any) -> ExportRow:
    return {
        "v": FORMAT_VERSION,
        "type": "second",
        "target": row.target,
        "surface": row.surface,
        "second": row.second,
        "verdict": row.verdict,
        "basis": row.basis,
        "attempts": row.attempts,
        "accepted": row.accepted,
        "evidence": row.evidence or "",
    }
