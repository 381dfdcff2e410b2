"""The lives of issues, as the ledger has them."""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select

from probe.core.happenings import Happening
from probe.core.lives import Lives, lives_of
from probe.core.model import IssueEvent
from probe.ledger import tables
from probe.ledger.records import event_of_row
from probe.ledger.remarks import remark_of_body
from probe.ledger.snapshot import snapshot
from probe.ledger.tables import RemarkKind


def lives_in(address: str, target: str | None = None) -> Mapping[str, Lives]:
    """Read the lives of one target, or of all, by target.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    with snapshot(address) as connection:
        return read_lives(connection, target)


def read_lives(connection: Connection, target: str | None = None) -> Mapping[str, Lives]:
    """Read the same in the caller's transaction."""
    placed: list[tuple[tuple[int, int], IssueEvent | Happening]] = [
        *_turns(connection, target),
        *_happenings(connection, target),
    ]
    # Turns come with the seconds and happenings in batches of their own, so the batch alone is the order between them.
    placed.sort(key=lambda found: (found[1].target, found[0]))
    return {
        name: lives_of([entry for _, entry in entries])
        for name, entries in groupby(placed, key=lambda found: found[1].target)
    }


def _turns(connection: Connection, target: str | None) -> Iterator[tuple[tuple[int, int], IssueEvent]]:
    columns = tables.event.c
    query = select(tables.event).order_by(columns.batch, columns.position)
    if target is not None:
        query = query.where(columns.target == target)
    for row in connection.execute(query):
        yield _place(row), event_of_row(tuple(row)[2:])


def _happenings(connection: Connection, target: str | None) -> Iterator[tuple[tuple[int, int], Happening]]:
    columns = tables.remark.c
    query = select(tables.remark).where(columns.kind == str(RemarkKind.HAPPENING))
    if target is not None:
        query = query.where(columns.target == target)
    for row in connection.execute(query.order_by(columns.batch, columns.position)):
        yield _place(row), remark_of_body(row.kind, row.body)


def _place(row: Any) -> tuple[int, int]:
    return int(row.batch), int(row.position)
