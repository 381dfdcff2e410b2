"""The Unavailable seconds that no Critical Issue has, as the ledger has them."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from probe.core.drafting import UnavailableSecond, is_within, issue_spans, unavailable_of
from probe.core.model import IssueEvent, Verdict
from probe.ledger import tables
from probe.ledger.read import steps_in
from probe.ledger.records import event_of_row
from probe.ledger.snapshot import snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the record holds of one target, as `drafting.recalled` wants it."""

    through_second: int
    unavailable: tuple[UnavailableSecond, ...]
    turns: tuple[IssueEvent, ...]


def unavailable_in(address: str, since: Mapping[str, int]) -> Mapping[str, Recorded]:
    """Read of each target its Unavailable seconds from one on, but for those of its issues.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    if not since:
        return {}
    with snapshot(address) as connection:
        seconds, through = _unavailable(connection, since), _through(connection, since)
        found = {}
        for target, first in since.items():
            turns = _turns(connection, target)
            spans = issue_spans(turns)
            loose = [one for one in seconds.get(target, ()) if one >= first and not is_within(one, spans)]
            # They are few: more of them would be an issue. So each is read by itself.
            read = [one for second in loose if (one := _read(connection, second, target)) is not None]
            found[target] = Recorded(through_second=through.get(target, 0), unavailable=tuple(read), turns=turns)
        return found


def _unavailable(connection: Connection, since: Mapping[str, int]) -> Mapping[str, list[int]]:
    columns = tables.verdict.c
    query = (
        select(columns.target, columns.second)
        .distinct()
        .where(columns.second >= min(since.values()), columns.verdict == str(Verdict.UNAVAILABLE))
        .order_by(columns.second)
    )
    found: dict[str, list[int]] = {}
    for row in connection.execute(query):
        found.setdefault(row.target, []).append(row.second)
    return found


def _through(connection: Connection, since: Mapping[str, int]) -> Mapping[str, int]:
    columns = tables.verdict.c
    query = select(columns.target, func.max(columns.second).label("last")).where(columns.second >= min(since.values()))
    return {row.target: row.last for row in connection.execute(query.group_by(columns.target))}


def _turns(connection: Connection, target: str) -> tuple[IssueEvent, ...]:
    columns = tables.event.c
    query = select(tables.event).where(columns.target == target).order_by(columns.batch, columns.position)
    return tuple(event_of_row(tuple(row)[2:]) for row in connection.execute(query))


def _read(connection: Connection, second: int, target: str) -> UnavailableSecond | None:
    (stored,) = steps_in(connection, (second, second), target, whole=False)
    return unavailable_of(stored.step)
