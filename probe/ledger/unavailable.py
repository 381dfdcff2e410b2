"""The Unavailable seconds that no Critical Issue has, as the ledger has them."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select

from probe.core.drafting import UnavailableSecond, is_within, issue_spans, unavailable_of
from probe.core.model import IssueEvent, Verdict
from probe.ledger import tables
from probe.ledger.read import steps_in
from probe.ledger.records import event_of_row
from probe.ledger.snapshot import snapshot

ALIKE_S = 3_600


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What the record holds of one target, as `drafting.recalled` wants it."""

    through_second: int
    unavailable: tuple[UnavailableSecond, ...]
    turns: tuple[IssueEvent, ...]


def unavailable_in(address: str, spans: Mapping[str, tuple[int, int]]) -> Mapping[str, Recorded]:
    """Read of each target its Unavailable seconds in a span, both ends included, but for those of its issues.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    with snapshot(address) as connection:
        found = {}
        for targets in _alike(spans).values():
            first, last = min(spans[one][0] for one in targets), max(spans[one][1] for one in targets)
            seconds = _unavailable(connection, first, last)
            for target in targets:
                turns = _turns(connection, target)
                of_issues = issue_spans(turns)
                # Those of an issue are left out here already: what is left is little, so each is read by itself.
                loose = [
                    one
                    for one in seconds.get(target, ())
                    if spans[target][0] <= one <= spans[target][1] and not is_within(one, of_issues)
                ]
                read = [one for second in loose if (one := _read(connection, second, target)) is not None]
                found[target] = Recorded(
                    through_second=_through(connection, target, *spans[target]), unavailable=tuple(read), turns=turns
                )
        return found


def _alike(spans: Mapping[str, tuple[int, int]]) -> Mapping[int, list[str]]:
    """Part the targets so that those of one part are read at once, and no long time is for the sake of one."""
    found: dict[int, list[str]] = {}
    for target, (_, last) in spans.items():
        found.setdefault(last // ALIKE_S, []).append(target)
    return found


def _unavailable(connection: Connection, first: int, last: int) -> Mapping[str, list[int]]:
    columns = tables.verdict.c
    query = (
        select(columns.target, columns.second)
        .distinct()
        .where(columns.second.between(first, last), columns.verdict == str(Verdict.UNAVAILABLE))
        .order_by(columns.second)
    )
    found: dict[str, list[int]] = {}
    for row in connection.execute(query):
        found.setdefault(row.target, []).append(row.second)
    return found


def _through(connection: Connection, target: str, first: int, last: int) -> int:
    columns = tables.verdict.c
    # From the newest on, so that one index search or a few are enough.
    query = select(columns.second).where(columns.second.between(first, last), columns.target == target)
    return connection.execute(query.order_by(columns.second.desc()).limit(1)).scalar() or 0


def _turns(connection: Connection, target: str) -> tuple[IssueEvent, ...]:
    columns = tables.event.c
    query = select(tables.event).where(columns.target == target).order_by(columns.batch, columns.position)
    return tuple(event_of_row(tuple(row)[2:]) for row in connection.execute(query))


def _read(connection: Connection, second: int, target: str) -> UnavailableSecond | None:
    (stored,) = steps_in(connection, (second, second), target, whole=False)
    return unavailable_of(stored.step)
