"""Read steps back from the ledger, in order of their seconds, in bounded portions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, func, literal_column, select

from probe.core.model import Basis, ControlOutcome, Judgement, Outcome, Step, Verdict
from probe.core.verdict import judge_target
from probe.ledger import records, tables
from probe.ledger.canonical import Row

# Seconds read at once: for all targets, and for one alone (they are named one by one in the query).
WINDOW_S = 20
WINDOW_OF_ONE_S = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStep:
    """A step as it is stored, with what it was judged by. `unreadable` names what in it makes no sense."""

    step: Step
    batch: int
    rules: str
    controls: tuple[ControlOutcome, ...]
    unreadable: tuple[str, ...] = ()


@dataclass(slots=True)
class _Window:
    attempts: dict[tuple[int, str], list[Any]] = field(default_factory=dict)
    controls: dict[int, list[Any]] = field(default_factory=dict)
    events: dict[tuple[int, str], list[Any]] = field(default_factory=dict)


def span(connection: Connection) -> tuple[int, int] | None:
    """Tell the first second of the oldest verdict and the first second of the newest."""
    column = tables.verdict.c.second
    first = connection.execute(select(func.min(column))).scalar()
    last = connection.execute(select(func.max(column))).scalar()
    return None if first is None or last is None else (first, last)


def windows(connection: Connection, first: int, last: int, target: str | None) -> Iterator[tuple[int, int]]:
    """Part a range of seconds, both ends included, into what is read at once; skip where nothing is stored."""
    known = span(connection)
    if known is None:
        return
    at, last = max(first, known[0]), min(last, known[1])
    length = WINDOW_S if target is None else WINDOW_OF_ONE_S
    while at <= last:
        yield at, min(at + length - 1, last)
        column = tables.verdict.c.second
        following = connection.execute(select(func.min(column)).where(column >= at + length)).scalar()
        if following is None:
            return
        at = following


def in_window(table: Table, window: tuple[int, int], target: str | None) -> list[ColumnElement[bool]]:
    """Select a window's rows such that the index on the second is searched, for one target too."""
    first, last = window
    if target is None:
        return [table.c.second.between(first, last)]
    return [table.c.second.in_(range(first, last + 1)), table.c.target == target]


def runs_into(connection: Connection, first: int, target: str | None) -> Sequence[Any]:
    """Read the runs of unobserved seconds that begin before a second and last until it or longer."""
    table = tables.verdict
    query = (
        select(table)
        # Spelled out, not bound: only so can the databases see that the index on runs serves.
        .where(table.c.seconds > literal_column("1"), table.c.second < first, table.c.second + table.c.seconds > first)
        .order_by(table.c.second, table.c.target, table.c.surface)
    )
    if target is not None:
        query = query.where(table.c.target == target)
    return connection.execute(query).all()


def verdicts_in(connection: Connection, window: tuple[int, int], target: str | None) -> Sequence[Any]:
    """Read a window's verdicts in order of second, target and surface."""
    table = tables.verdict
    order = table.c["second", "target", "surface"]
    return connection.execute(select(table).where(*in_window(table, window, target)).order_by(*order)).all()


def attempts_in(connection: Connection, window: tuple[int, int], target: str | None) -> Sequence[Any]:
    """Read a window's attempts in order of second, target, surface and ordinal, each with its vantage."""
    table = tables.attempt
    order = table.c["second", "target", "surface", "ordinal"]
    query = select(table, tables.batch.c.vantage).join(tables.batch, tables.batch.c.seq == table.c.batch)
    return connection.execute(query.where(*in_window(table, window, target)).order_by(*order)).all()


def steps(connection: Connection, first: int, last: int, target: str | None = None) -> Iterator[StoredStep]:
    """Read the steps that begin in a range of seconds, in order of second and target."""
    for window in windows(connection, first, last, target):
        seen = _seen_in(connection, window, target)
        rows = verdicts_in(connection, window, target)
        for place, group in groupby(rows, key=lambda row: (row.second, row.target)):
            yield _step(place, list(group), seen)


def _seen_in(connection: Connection, window: tuple[int, int], target: str | None) -> _Window:
    found = _Window()
    for row in attempts_in(connection, window, target):
        found.attempts.setdefault((row.second, row.target), []).append(row)
    controls = tables.control
    query = select(controls).where(*in_window(controls, window, None)).order_by(controls.c.batch, controls.c.position)
    for row in connection.execute(query):
        found.controls.setdefault(row.second, []).append(row)
    events = tables.event
    query = select(events).where(*in_window(events, window, target)).order_by(events.c.batch, events.c.position)
    for row in connection.execute(query):
        found.events.setdefault((row.second, row.target), []).append(row)
    return found


def _step(place: tuple[int, str], rows: list[Any], seen: _Window) -> StoredStep:
    second, target = place
    rows.sort(key=lambda row: (row.batch, row.position))
    unreadable: list[str] = []
    judgements = _readable([(row, _judgement) for row in rows], unreadable)
    outcomes = _readable([(row, _outcome) for row in seen.attempts.get(place, ())], unreadable)
    events = _readable([(row, _event) for row in seen.events.get(place, ())], unreadable)
    controls = _readable([(row, _control) for row in seen.controls.get(second, ())], unreadable)
    verdict, basis = judge_target(judgements) if judgements else (Verdict.INCONCLUSIVE, Basis.NONE)
    step = Step(
        target=target,
        second=second,
        seconds=rows[0].seconds,
        verdict=verdict,
        basis=basis,
        judgements=tuple(judgements),
        outcomes=tuple(outcomes),
        events=tuple(events),
        reason=rows[0].reason,
    )
    return StoredStep(
        step=step,
        batch=rows[0].batch,
        rules=rows[0].rules,
        # Each once, though the batches of several targets may have brought it.
        controls=tuple({control.control: control for control in controls}.values()),
        unreadable=tuple(unreadable),
    )


def _readable(rows: list[tuple[Any, Any]], unreadable: list[str]) -> list[Any]:
    found = []
    for row, read in rows:
        try:
            found.append(read(row))
        except ValueError as error:
            unreadable.append(f"batch {row.batch} #{row.position} cannot be read: {error}")
    return found


def _fields(row: Any) -> Row:
    return tuple(row)[2:]


def _judgement(row: Any) -> Judgement:
    return records.judgement_of_row(_fields(row))


def _outcome(row: Any) -> Outcome:
    return records.outcome_of_row(_fields(row)[:-1], row.vantage)


def _event(row: Any) -> Any:
    return records.event_of_row(_fields(row))


def _control(row: Any) -> ControlOutcome:
    return records.control_of_row(_fields(row))
