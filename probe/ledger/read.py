"""Read steps back from the ledger, in order of their seconds, in bounded portions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Table, func, literal_column, select

from probe.core.model import Basis, ControlOutcome, IssueEvent, Judgement, Outcome, Step, Verdict
from probe.core.verdict import judge_target
from probe.ledger import records, tables
from probe.ledger.canonical import Row
from probe.ledger.snapshot import snapshot

# Seconds read at once: for all targets, and for one alone (they are named one by one in the query).
WINDOW_S = 20
WINDOW_OF_ONE_S = 500
R = TypeVar("R")

_PLACE = attrgetter("second", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStep:
    """A step as it is stored, with what it was judged by. `unreadable` names what in it makes no sense."""

    step: Step
    batch: int
    rules: str
    controls: tuple[ControlOutcome, ...]
    unreadable: tuple[str, ...] = ()


@dataclass(slots=True)
class _Controls:
    """The controls of one second, which all targets share: each once, though several batches may have brought it."""

    outcomes: tuple[ControlOutcome, ...]
    unreadable: tuple[str, ...]


_NO_CONTROLS = _Controls(outcomes=(), unreadable=())


@dataclass(slots=True)
class _Window:
    read_outcome: Callable[[Any], Outcome]
    attempts: dict[tuple[int, str], list[Any]] = field(default_factory=dict)
    controls: dict[int, _Controls] = field(default_factory=dict)
    events: dict[tuple[int, str], list[Any]] = field(default_factory=dict)


def span(connection: Connection) -> tuple[int, int] | None:
    """Tell the first second of the oldest verdict and the first second of the newest."""
    column = tables.verdict.c.second
    first = connection.execute(select(func.min(column))).scalar()
    last = connection.execute(select(func.max(column))).scalar()
    return None if first is None or last is None else (first, last)


def newest_second(address: str) -> int | None:
    """Tell the last second that a ledger has a verdict of (the first of a run of unobserved ones); None if it has none.

    Raises:
        LedgerError: If it can't be read.
    """
    with snapshot(address) as connection:
        known = span(connection)
    return None if known is None else known[1]


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
        yield from steps_in(connection, window, target, whole=True)


def judged_steps(connection: Connection, first: int, last: int, target: str | None = None) -> Iterator[StoredStep]:
    """Read the same steps for judging them again; their outcomes have only what a verdict asks."""
    for window in windows(connection, first, last, target):
        yield from steps_in(connection, window, target, whole=False)


def steps_in(
    connection: Connection, window: tuple[int, int], target: str | None, *, whole: bool
) -> Iterator[StoredStep]:
    """Read the steps that begin in a window; `whole` or only what a verdict asks of their outcomes."""
    rows = verdicts_in(connection, window, target)
    if not rows:
        return
    seen = _seen_in(connection, window, target, whole)
    for place, group in groupby(rows, key=_PLACE):
        yield _step(place, list(group), seen)


def _judged_in(connection: Connection, window: tuple[int, int], target: str | None) -> Sequence[Any]:
    """Read of a window's attempts what a verdict asks, in the same order as `attempts_in`."""
    table = tables.attempt
    query = select(
        *table.c[
            "batch", "position", "target", "surface", "second", "ordinal", "fault", "cause", "code", "enhanced_code"
        ]
    )
    order = table.c["second", "target", "surface", "ordinal"]
    return connection.execute(query.where(*in_window(table, window, target)).order_by(*order)).all()


def _seen_in(connection: Connection, window: tuple[int, int], target: str | None, whole: bool) -> _Window:
    found = _Window(read_outcome=_outcome if whole else _judged)
    attempts = attempts_in(connection, window, target) if whole else _judged_in(connection, window, target)
    for place, rows in groupby(attempts, key=_PLACE):
        found.attempts[place] = list(rows)
    controls = tables.control
    for second, rows in _controls_by_second(connection, *in_window(controls, window, None)):
        found.controls[second] = _controls_of(rows)
    events = tables.event
    query = select(events).where(*in_window(events, window, target)).order_by(events.c.batch, events.c.position)
    for row in connection.execute(query):
        found.events.setdefault((row.second, row.target), []).append(row)
    return found


def controls_since(connection: Connection, second: int) -> Iterator[tuple[int, tuple[ControlOutcome, ...]]]:
    """Read the controls of each second from one on, each control once."""
    for found, rows in _controls_by_second(connection, tables.control.c.second >= second):
        yield found, _controls_of(rows).outcomes


def _controls_by_second(connection: Connection, *where: ColumnElement[bool]) -> Iterator[tuple[int, Iterator[Any]]]:
    columns = tables.control.c
    query = select(tables.control).where(*where).order_by(columns.second, columns.batch, columns.position)
    return groupby(connection.execute(query), key=lambda row: int(row.second))


def _controls_of(rows: Iterable[Any]) -> _Controls:
    unreadable: list[str] = []
    outcomes = _readable(rows, _control, unreadable)
    return _Controls(
        outcomes=tuple({control.control: control for control in outcomes}.values()), unreadable=tuple(unreadable)
    )


def _step(place: tuple[int, str], rows: list[Any], seen: _Window) -> StoredStep:
    second, target = place
    if len(rows) > 1:
        rows.sort(key=itemgetter(0, 1))
    first = rows[0]
    unreadable: list[str] = []
    judgements = _readable(rows, _judgement, unreadable)
    outcomes = _readable(seen.attempts.get(place, ()), seen.read_outcome, unreadable)
    events = _readable(seen.events.get(place, ()), _event, unreadable)
    controls = seen.controls.get(second, _NO_CONTROLS)
    verdict, basis = judge_target(judgements) if judgements else (Verdict.INCONCLUSIVE, Basis.NONE)
    step = Step(
        target=target,
        second=second,
        seconds=first.seconds,
        verdict=verdict,
        basis=basis,
        judgements=tuple(judgements),
        outcomes=tuple(outcomes),
        events=tuple(events),
        reason=first.reason,
    )
    return StoredStep(
        step=step,
        batch=first.batch,
        rules=first.rules,
        controls=controls.outcomes,
        unreadable=(*unreadable, *controls.unreadable),
    )


def _readable(rows: Iterable[Any], read: Callable[[Any], R], unreadable: list[str]) -> list[R]:
    found = []
    for row in rows:
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


def _judged(row: Any) -> Outcome:
    return records.judged_of_row(_fields(row))


def _event(row: Any) -> IssueEvent:
    return records.event_of_row(_fields(row))


def _control(row: Any) -> ControlOutcome:
    return records.control_of_row(_fields(row))
