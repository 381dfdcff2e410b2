"""The ledger's writing side, synchronous: what the writer thread does.

Theory of operation
-------------------

One `Store` writes a ledger, through one connection, one transaction for each batch. It remembers the head of the chain
as it left it. At the start of every transaction it reads the head that is stored, and the two tell what happened:

- they are equal: the batch is written on top;
- the stored head is the batch that was tried last, though its commit had reported an error or never reported: it is
  kept, and must not be written again;
- anything else: somebody else wrote, and nothing is written at all.

So a batch whose commit ended in doubt is offered again, the very same batch with the very same time in it, until an
answer comes; it is kept once, whatever happened. After an error the connection is thrown away and a new one is made
at the next append. A file that was removed or replaced under an open connection would take writes for ever without
anybody finding them, so the file's identity is compared before each transaction. From `open` to `close`, whatever
becomes of connections in between, the store holds the lock by which a second writer is refused.

Integrity errors are not retried: the unique indexes forbid a second with two verdicts, and trying again cannot help.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from probe import clock
from probe.core.model import Terms
from probe.ledger import inbox, records, remarks, tables
from probe.ledger.canonical import GENESIS, batch_digest, rules_body, rules_id, seal
from probe.ledger.connect import Address, file_identity, is_same_file, parse_address, reading_engine, writing_engine
from probe.ledger.errors import LedgerRefused, LedgerUnwritable, sentence
from probe.ledger.lock import WriterLock
from probe.ledger.migrate import refuse_foreign, upgrade
from probe.ledger.records import Batch, Commit, Rows
from probe.ledger.remarks import Proposal


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest batch of the chain."""

    seq: int = 0
    digest: str = GENESIS
    last_second: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A batch as rows, with its place in the chain: the same bytes at every try."""

    batch: Batch | None
    header: tuple[str | int | bytes, ...]
    rows: Mapping[str, Rows]
    digest: str
    last_second: int
    rules: Mapping[str, tuple[Terms, str]] = field(default_factory=dict)

    @property
    def head(self) -> Head:
        """Give the head that the chain has once this is kept."""
        return Head(seq=int(self.header[0]), digest=self.digest, last_second=self.last_second)


class Store:
    """Writes one ledger. Not for use by several threads at once."""

    def __init__(self, address: str, vantage: str, wall_us: Callable[[], int] = clock.wall_us) -> None:
        self.address: Address = parse_address(address)
        self.vantage = vantage
        self.engine: Engine = writing_engine(self.address)
        self.head = Head()
        # The configured targets, as far as the last batch tells: a restart will need their newest checkpoints.
        self.known_targets: tuple[str, ...] = ()
        self._lock = WriterLock(self.address)
        self._wall_us = wall_us
        self._connection: Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._tried: Prepared | None = None
        self._kept_batch: Batch | None = None
        self._rules: dict[str, tuple[Terms, str]] = {}
        self._rules_kept: set[tuple[str, str]] = set()
        self._inserts = {table.name: self._insert_text(table) for table in tables.metadata.sorted_tables}
        self._opened = False

    def open(self) -> None:
        """Connect, make sure that nobody else writes, bring the tables up to date, and read the head.

        A missing file is made.
        """
        self._refuse_foreign()
        try:
            head, rules_kept = self._connect()
        except BaseException:
            self.close()
            raise
        # Only now, all at once: a connection that breaks on the way must not change what is known of the chain.
        self.head, self._rules_kept = head, rules_kept
        self._opened = True

    def close(self) -> None:
        """Let go of the database, and of the right to write it."""
        self._disconnect()
        self._lock.release()

    def _disconnect(self) -> None:
        """Let go of the connection only: the ledger stays ours until a new one is made."""
        connection, self._connection = self._connection, None
        if connection is not None:
            # A connection that is broken already has nothing left to close.
            with suppress(SQLAlchemyError, OSError):
                connection.close()
        self.engine.dispose()

    def append(self, batch: Batch) -> Commit:
        """Keep a batch in one transaction.

        Raises:
            LedgerUnwritable: If it is not known to be kept; append the same batch again.
            LedgerRefused: If it contradicts what is kept already.
        """
        begun_us = clock.monotonic_us()
        with self.transaction() as connection:
            if self._kept_batch is not batch:
                tried = self._tried
                if tried is None or tried.batch is not batch:
                    tried = self._tried = self._prepare(batch)
                self._write(connection, tried)
        self._settle_tried()
        if batch.terms:
            self.known_targets = tuple(batch.terms)
        return Commit(duration_us=clock.monotonic_us() - begun_us, seq=self.head.seq, digest=self.head.digest)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a transaction on top of the stored head, with every error as a sentence."""
        with self._errors():
            connection = self._connected()
            with connection.begin():
                self._settle(stored_head(connection))
                yield connection

    def _write(self, connection: Connection, prepared: Prepared) -> None:
        *before, remark_seal = prepared.header
        connection.exec_driver_sql(self._inserts["batch"], (*before, prepared.digest, remark_seal))
        seq = prepared.header[0]
        for name, rows in prepared.rows.items():
            if rows:
                placed = [(seq, position, *row) for position, row in enumerate(rows)]
                connection.exec_driver_sql(self._inserts[name], placed)

    def append_cut(self, connection: Connection, rows: Rows) -> None:
        """Write a batch that holds nothing but a note of retention; `batch_is_kept` must follow its commit."""
        self._append_rows(connection, {"cut": rows})

    def append_remarks(self, connection: Connection, kept: Iterable[remarks.Kept]) -> None:
        """Write a batch that holds nothing but remarks; `batch_is_kept` must follow its commit."""
        self._append_rows(connection, {"remark": remarks.remark_rows(kept)})

    def _append_rows(self, connection: Connection, rows: Mapping[str, Rows]) -> None:
        self._tried = self._prepare_rows(None, rows, (self.head.last_second, self.head.last_second), {})
        self._write(connection, self._tried)

    def batch_is_kept(self) -> None:
        """Move the head on to a batch of this kind that is kept now."""
        self._settle_tried()

    def take_inbox(self) -> tuple[Proposal, ...]:
        """Seal what others asked to be kept and may be, in a batch of its own, and give it; refuse the rest in words.

        Raises:
            LedgerUnwritable: If it is not known to be kept; call it again.
        """
        now_us = self._wall_us()
        with self.transaction() as connection:
            decided = inbox.decide(connection, now_us)
            if decided.accepted:
                rows = {"remark": remarks.remark_rows(decided.remarks)}
                seconds = (self.head.last_second, self.head.last_second)
                self._tried = self._prepare_rows(None, rows, seconds, {})
                self._write(connection, self._tried)
            inbox.settle(connection, decided, now_us)
        self._settle_tried()
        return decided.remarks

    def _settle_tried(self) -> None:
        """Remember that what was tried last is kept, if it is not remembered already."""
        tried, self._tried = self._tried, None
        if tried is None:
            return
        self.head = tried.head
        self._rules.update(tried.rules)
        self._rules_kept.update((str(row[0]), str(row[1])) for row in tried.rows.get("rules", ()))
        self._kept_batch = tried.batch or self._kept_batch

    def _settle(self, stored: Head) -> None:
        """Find out what the stored head says about the batch that was tried last."""
        if stored.digest == self.head.digest:
            return
        if self._tried is None or stored.digest != self._tried.digest:
            raise LedgerUnwritable(
                f"{self.address.name}: another process wrote to the ledger: "
                f"its head is batch {stored.seq}, this process knows batch {self.head.seq}"
            )
        self._settle_tried()

    def _connect(self) -> tuple[Head, set[tuple[str, str]]]:
        """Connect, bring the tables up to date, and read what the ledger says about itself."""
        with self._errors():
            connection = self.engine.connect()
            try:
                self._lock.take(connection)
                with connection.begin():
                    upgrade(connection, self.address.name)
                with connection.begin():
                    head = stored_head(connection)
                    known = connection.execute(select(tables.rules.c.target, tables.rules.c.id))
                    rules_kept = {(row.target, row.id) for row in known}
            except BaseException:
                connection.close()
                raise
        self._connection = connection
        self._identity = file_identity(self.address)
        return head, rules_kept

    def _refuse_foreign(self) -> None:
        """Look into a file before anything is written to it, even a PRAGMA: it may be another program's."""
        file = self.address.file
        if file is None or not file.is_file() or not file.stat().st_size:
            return
        engine = reading_engine(self.address)
        try:
            with self._errors(), engine.connect() as connection, connection.begin():
                refuse_foreign(connection, self.address.name)
        finally:
            engine.dispose()

    def _connected(self) -> Connection:
        if self._connection is not None and not is_same_file(self.address, self._identity):
            self._disconnect()
        if self._connection is None:
            if self._opened and self.address.file is not None and not self.address.file.exists():
                raise LedgerUnwritable(
                    f"{self.address.name}: the file has vanished: put it back, or restart to begin a new ledger"
                )
            if self._opened:
                # The head stays as this process left it: the next transaction compares it with the stored one.
                self._connect()
            else:
                self.open()
        assert self._connection is not None
        return self._connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn foreign errors into the ledger's own, and drop the connection after any of them."""
        try:
            yield
        except IntegrityError as error:
            self._disconnect()
            raise LedgerRefused(f"{self.address.name}: {sentence(error)}") from error
        except (DBAPIError, OSError) as error:
            self._disconnect()
            raise LedgerUnwritable(f"{self.address.name}: {sentence(error)}") from error
        except BaseException:
            self._disconnect()
            raise

    def _prepare(self, batch: Batch) -> Prepared:
        rules = self._rules_of(batch)
        identities = {target: identity for target, (_, identity) in rules.items()}
        steps = batch.steps
        new_rules: Rows = [
            (target, identity, rules_body(terms))
            for target, (terms, identity) in rules.items()
            if (target, identity) not in self._rules_kept
        ]
        rows = {
            "attempt": records.attempt_rows(steps, self.vantage),
            "control": records.control_rows(batch.controls),
            "verdict": records.verdict_rows(steps, identities),
            "event": records.event_rows(steps),
            "rules": new_rules,
            "state": records.state_rows(batch.states),
            "remark": remarks.remark_rows([*batch.remarks, *[s for step in steps for s in step.suspicions]]),
        }
        # The first batch of all may hold no seconds yet. It must not look as old as the beginning of time to retention.
        otherwise = self.head.last_second or self._wall_us() // clock.SECOND_US
        return self._prepare_rows(batch, rows, _seconds_of(batch, otherwise), rules)

    def _prepare_rows(
        self,
        batch: Batch | None,
        rows: Mapping[str, Rows],
        seconds: tuple[int, int],
        rules: Mapping[str, tuple[Terms, str]],
    ) -> Prepared:
        header: tuple[str | int | bytes, ...] = (
            self.head.seq + 1,
            self._wall_us(),
            self.vantage,
            *seconds,
            self.head.digest,
            *[seal(part.name, part.sealed(rows.get(part.name, ()))) for part in tables.PARTS],
        )
        return Prepared(
            batch=batch,
            header=header,
            rows=rows,
            digest=batch_digest(header),
            last_second=seconds[1],
            rules=rules,
        )

    def _rules_of(self, batch: Batch) -> dict[str, tuple[Terms, str]]:
        """Name the rules of each target that the batch judges."""
        found = {}
        for step in batch.steps:
            target = step.target
            if target in found:
                continue
            terms = batch.terms[target]
            known = self._rules.get(target)
            unchanged = known is not None and (known[0] is terms or known[0] == terms)
            found[target] = known if known and unchanged else (terms, rules_id(rules_body(terms)))
        return found

    def _insert_text(self, table: Any) -> str:
        """Compile an insert of whole rows once; compiling and binding for each row would cost more than the rows."""
        columns = [column.name for column in table.columns]
        compiled = insert(table).compile(dialect=self.engine.dialect, column_keys=columns)
        assert getattr(compiled, "positiontup", None) == columns
        return str(compiled)


def stored_head(connection: Connection) -> Head:
    """Read the newest batch."""
    wanted = tables.batch.c["seq", "digest", "last_second"]
    row = connection.execute(select(*wanted).order_by(tables.batch.c.seq.desc()).limit(1)).first()
    return Head() if row is None else Head(seq=row.seq, digest=row.digest, last_second=row.last_second)


def _seconds_of(batch: Batch, otherwise: int) -> tuple[int, int]:
    """Give the first and the last second that a batch speaks of."""
    firsts = [step.second for step in batch.steps] + [control.second for control in batch.controls]
    lasts = [step.second + step.seconds - 1 for step in batch.steps] + [control.second for control in batch.controls]
    return (min(firsts), max(lasts)) if firsts else (otherwise, otherwise)
