"""Cut what is old, in small steps, and leave a note in the chain.

A cut has two halves. First a note is appended to the chain: records of this kind, through this batch, may be gone.
Only then are they deleted, a bounded number a transaction, in as many steps as it takes; a crash between two steps
leaves a cut that the next step goes on with. What a note covers is always a prefix of the chain.

Nothing is cut that a restart needs: no cut reaches the oldest of the configured targets' newest checkpoints. A target
that is configured no more holds up nothing: its records go in their time like all others. Only its newest checkpoint
stays for as long as verdicts do, so that it goes on where it was if it comes back.
"""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, exists, func, or_, select

from probe.ledger import tables
from probe.ledger.records import Rows
from probe.ledger.store import Store
from probe.ledger.tables import Kind
from probe.ledger.verify import Cut, cuts

# Checkpoints are of use for a restart only; older ones stay for a day for those who look into one.
STATES_KEPT_S = 86_400
# Cuts are made at whole multiples of this: each leaves a note, and a note a second would be half of a small ledger.
GRAIN_S = 600
BATCHES_LOOKED_AT_MAX = 5_000
_NO_CUT = Cut(0, "", 0)

# In this order, since the rows of `batch` can go only after all that refer to them.
_TABLES = {
    Kind.ATTEMPTS: (tables.attempt, tables.control),
    Kind.STATES: (tables.state,),
    Kind.VERDICTS: (
        tables.attempt,
        tables.control,
        tables.state,
        tables.verdict,
        tables.event,
        tables.remark,
        tables.cut,
        tables.batch,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CutReport:
    """What one step did. `finished` says that there is nothing more to cut at this time."""

    deleted: int
    noted: tuple[Kind, ...]
    finished: bool


def cut(
    store: Store,
    targets: Collection[str],
    now_second: int,
    attempts_kept_s: float,
    verdicts_kept_s: float,
    rows_max: int,
) -> CutReport:
    """Take one step: delete up to `rows_max` rows that a note covers, or else write the notes that are due.

    `targets` are the configured ones: nothing goes that a restart needs for them.
    """
    kept_s = {Kind.ATTEMPTS: attempts_kept_s, Kind.STATES: STATES_KEPT_S, Kind.VERDICTS: verdicts_kept_s}
    with store.transaction() as connection:
        deleted = _delete_some(connection, rows_max)
        notes = [] if deleted else _notes_due(connection, targets, now_second, kept_s)
        if notes:
            store.append_cut(connection, notes)
    if notes:
        store.batch_is_kept()
    noted = tuple(Kind(str(note[0])) for note in notes)
    return CutReport(deleted=deleted, noted=noted, finished=not deleted and not noted)


def _delete_some(connection: Connection, rows_max: int) -> int:
    """Delete rows that notes cover, oldest first."""
    deleted = 0
    for kind, done in sorted(cuts(connection).items()):
        for table in _TABLES[kind]:
            if deleted < rows_max:
                covered = _covered(kind, table, done.through)
                deleted += _delete_through(connection, table, done.through, covered, rows_max - deleted)
            if deleted >= rows_max:
                return deleted
    return deleted


def _covered(kind: Kind, table: Table, through: int) -> ColumnElement[bool]:
    """Select the rows of a table that a note lets go."""
    place = table.c.seq if table is tables.batch else table.c.batch
    if kind is not Kind.STATES:
        return place <= through
    newer = tables.state.alias()
    has_newer = exists().where(newer.c.target == table.c.target, newer.c.batch > table.c.batch)
    return and_(table.c.batch <= through, has_newer)


def _delete_through(
    connection: Connection, table: Table, through: int, covered: ColumnElement[bool], rows_max: int
) -> int:
    """Delete up to `rows_max` of the rows that are covered, in order."""
    if table is tables.batch:
        last = _lowest_kept(connection, through, rows_max)
        return connection.execute(delete(table).where(table.c.seq <= last)).rowcount if last else 0
    place = (table.c.batch, table.c.position)
    query = select(*place).where(covered).order_by(*place)
    if connection.execute(query.limit(1)).first() is None:
        return 0
    beyond = connection.execute(query.offset(rows_max).limit(1)).first()
    if beyond is None:
        return connection.execute(delete(table).where(covered)).rowcount
    before = or_(table.c.batch < beyond.batch, and_(table.c.batch == beyond.batch, table.c.position < beyond.position))
    return connection.execute(delete(table).where(covered, before)).rowcount


def _lowest_kept(connection: Connection, through: int, rows_max: int) -> int:
    lowest = connection.execute(select(func.min(tables.batch.c.seq))).scalar()
    return 0 if lowest is None or lowest > through else min(through, lowest + rows_max - 1)


def _notes_due(connection: Connection, targets: Collection[str], now_second: int, kept_s: dict[Kind, float]) -> Rows:
    needed = _oldest_needed(connection, targets)
    done = cuts(connection)
    notes: Rows = []
    for kind, kept in kept_s.items():
        boundary = int(now_second - kept) // GRAIN_S * GRAIN_S
        begun = max(done.get(kind, _NO_CUT).through, done.get(Kind.VERDICTS, _NO_CUT).through)
        found = _last_before(connection, begun, needed, boundary)
        if found is not None:
            seq, digest = found
            notes.append((str(kind), seq, boundary - 1, digest))
    return notes


def _oldest_needed(connection: Connection, targets: Collection[str]) -> int:
    """Find the oldest batch that a restart needs: of a target its newest checkpoint, or all since its first rules."""
    if not targets:
        return 0
    needed = _head_seq(connection)
    for target in targets:
        query = select(func.max(tables.state.c.batch)).where(tables.state.c.target == target)
        seq = connection.execute(query).scalar()
        if seq is None:
            query = select(func.min(tables.rules.c.batch)).where(tables.rules.c.target == target)
            seq = connection.execute(query).scalar()
        # A target without either has no record yet, and needs nothing.
        needed = needed if seq is None else min(needed, seq)
    return needed


def _head_seq(connection: Connection) -> int:
    return connection.execute(select(func.max(tables.batch.c.seq))).scalar() or 0


def _last_before(connection: Connection, begun: int, needed: int, boundary: int) -> tuple[int, str] | None:
    """Find the last batch of the run of batches after `begun` that end before the boundary."""
    columns = tables.batch.c["seq", "last_second", "digest"]
    query = (
        select(*columns)
        .where(tables.batch.c.seq > begun, tables.batch.c.seq < needed)
        .order_by(tables.batch.c.seq)
        .limit(BATCHES_LOOKED_AT_MAX)
    )
    found = None
    for row in connection.execute(query):
        if row.last_second >= boundary:
            break
        found = row.seq, row.digest
    return found
