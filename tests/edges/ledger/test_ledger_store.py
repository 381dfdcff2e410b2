"""The ledger keeps what it is given, once, and gives it back as it was."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from probe.core.model import Step
from probe.ledger import LedgerError, LedgerRefused, LedgerTooNew, LedgerUnwritable, migrate, verify
from probe.ledger.connect import parse_address, reading_engine
from probe.ledger.read import steps
from probe.ledger.store import Store
from probe.ledger.tables import metadata

MakeStore = Callable[[Path | str], Store]


def stored_steps(address: Path | str, target: str | None = None) -> list[Step]:
    """Read all steps of a ledger."""
    engine = reading_engine(parse_address(str(address)))
    with engine.connect() as connection, connection.begin():
        return [stored.step for stored in steps(connection, 0, 2**40, target)]


def in_order(of: list[Step]) -> list[Step]:
    """Sort steps as the ledger reads them."""
    return sorted(of, key=lambda step: (step.second, step.target))


def test_what_is_appended_is_read_back_equal(kept: Path, script: Any) -> None:
    """Every field of every step comes back as it was."""
    assert stored_steps(kept) == in_order(script.steps)
    assert any(step.events for step in script.steps)


def test_one_target_is_read_back_by_itself(kept: Path, script: Any) -> None:
    """A target's steps are those of all targets, without the others."""
    assert stored_steps(kept, "main") == [step for step in script.steps if step.target == "main"]


def test_one_target_is_found_by_an_index(kept: Path) -> None:
    """A range of one target is searched by second and target, not scanned."""
    with closing(sqlite3.connect(kept)) as connection:
        for table, index in (("attempt", "attempt_by_second"), ("verdict", "verdict_by_second")):
            query = f"SELECT * FROM {table} WHERE second IN (1, 2, 3) AND target = 'main' ORDER BY second, target"  # noqa: S608
            plan = " ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}"))

            assert f"USING INDEX {index} (second=? AND target=?)" in plan
            assert "SCAN" not in plan


def test_the_usual_message_id_is_not_stored_twice(kept: Path) -> None:
    """An attempt's own name is made of its other columns."""
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM attempt WHERE message_id IS NOT NULL").fetchone() == (0,)


def test_a_text_that_no_database_holds_does_not_block_the_ledger(
    path: Path, script: Any, make_store: MakeStore
) -> None:
    """NUL and lone surrogates are replaced, and the rest of the reply is kept."""
    batch = script.second()
    step = batch.steps[0]
    odd = replace(step.outcomes[0], reply="a\0b\ud800c", message_id="")
    batch = replace(batch, steps=(replace(step, outcomes=(odd, *step.outcomes[1:])), *batch.steps[1:]))
    make_store(path).append(batch)

    found = stored_steps(path)[0].outcomes[0]

    assert found.reply == "a\ufffdb?c"
    assert found.message_id == ""
    assert verify(str(path)).sound


def test_the_same_batch_is_kept_once(path: Path, script: Any, make_store: MakeStore) -> None:
    """Appending a batch that is kept already answers as before and writes nothing."""
    store = make_store(path)
    batch = script.second()
    first = store.append(batch)
    again = store.append(batch)

    assert (again.seq, again.digest) == (first.seq, first.digest)
    assert verify(str(path)).batches == 1


@pytest.mark.parametrize("was_kept", [True, False])
def test_a_commit_in_doubt_is_neither_lost_nor_written_twice(
    path: Path, script: Any, make_store: MakeStore, was_kept: bool
) -> None:
    """After an error at the commit the same batch is appended again, and is kept once, whether or not it was."""
    store = make_store(path)
    store.append(script.second())
    batch = script.second()
    failing = [True]

    @event.listens_for(store.engine, "commit")
    def fail(connection: Any) -> None:
        if failing.pop() if failing else False:
            if was_kept:
                connection.connection.execute("COMMIT")
            raise OperationalError("COMMIT", None, sqlite3.OperationalError("no answer"))

    with pytest.raises(LedgerUnwritable, match="no answer"):
        store.append(batch)
    assert store.append(batch).seq == 2
    assert store.append(script.second()).seq == 3
    assert stored_steps(path) == in_order(script.steps)
    assert verify(str(path)).sound


class Outage:
    """Loses the answer to one commit, and breaks the connection once more at the k-th call after it."""

    def __init__(self, store: Store, was_kept: bool, breaks_at: int) -> None:
        self._lost = False
        self._was_kept = was_kept
        self.left = breaks_at
        event.listen(store.engine, "commit", self._commit)
        event.listen(store.engine, "connect", self._call)
        event.listen(store.engine, "before_cursor_execute", self._call)

    def _commit(self, connection: Any) -> None:
        if self._lost:
            self._call()
            return
        self._lost = True
        if self._was_kept:
            connection.connection.execute("COMMIT")
        raise OperationalError("COMMIT", None, sqlite3.OperationalError("no answer"))

    def _call(self, *_: Any) -> None:
        if self._lost:
            self.left -= 1
            if self.left == 0:
                raise OperationalError("", None, sqlite3.OperationalError("the connection broke"))


@pytest.mark.parametrize("was_kept", [True, False])
def test_a_connection_that_breaks_while_a_doubt_is_settled_changes_nothing(
    tmp_path: Path, make_script: Any, make_store: MakeStore, was_kept: bool
) -> None:
    """After a commit in doubt any call of the new connection may fail as well, and the batch is kept once still."""
    broken = 0
    while True:
        path = tmp_path / f"ledger-{broken}.db"
        script, store = make_script(["main"]), make_store(path)
        store.append(script.second())
        outage = Outage(store, was_kept, breaks_at=broken + 1)
        batch = script.second()
        with pytest.raises(LedgerUnwritable, match="no answer"):
            store.append(batch)
        with suppress(LedgerUnwritable):
            assert store.append(batch).seq == 2
        if outage.left > 0:
            break
        assert store.append(batch).seq == 2
        store.close()
        broken += 1

    assert broken > 5
    assert verify(str(path)).sound


def test_a_second_with_two_verdicts_is_refused(path: Path, script: Any, make_store: MakeStore) -> None:
    """No second gets a second verdict, and the ledger stays usable."""
    store = make_store(path)
    batch = script.second()
    store.append(batch)
    with pytest.raises(LedgerRefused):
        store.append(replace(batch, states=()))
    store.append(script.second())

    assert stored_steps(path) == in_order(script.steps)


def test_a_second_writer_is_refused(path: Path, script: Any, make_store: MakeStore) -> None:
    """While one process writes a ledger another one that opens it is told who does, by whatever path it came."""
    store = make_store(path)
    link = path.with_name("link.db")
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(LedgerUnwritable, match=rf"{name}: another sev1probe \(pid {os.getpid()}\) is using this"):
            make_store(name)
    store.append(script.second())
    assert verify(str(path)).sound
    store.close()

    assert make_store(link).append(script.second()).seq == 2


def test_the_ledger_stays_ours_while_a_connection_is_lost(path: Path, script: Any, make_store: MakeStore) -> None:
    """An error that costs the connection does not let another process in."""
    store = make_store(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("DROP TABLE attempt")
    with pytest.raises(LedgerUnwritable):
        store.append(script.second())
    with pytest.raises(LedgerUnwritable, match="another sev1probe"):
        make_store(path)


def test_a_ledger_that_cannot_be_opened_is_let_go(
    kept: Path, make_store: MakeStore, tamper: Callable[..., None]
) -> None:
    """Who is refused for another reason keeps nobody else out."""
    tamper("UPDATE alembic_version SET version_num = '0777'")
    with pytest.raises(LedgerTooNew):
        make_store(kept)
    tamper(f"UPDATE alembic_version SET version_num = '{migrate.SCHEMA}'")  # noqa: S608

    assert make_store(kept).head.seq == 13


def test_a_second_writer_that_got_past_the_lock_is_noticed(
    path: Path, script: Any, make_script: Any, make_store: MakeStore
) -> None:
    """A process whose chain was continued by another writes nothing more, also if somebody removed the lock's file."""
    one = make_store(path)
    path.with_name("ledger.db-lock").unlink()
    two = make_store(path)
    one.append(script.second())
    with pytest.raises(LedgerUnwritable, match="another process wrote"):
        two.append(make_script(["third"]).second())
    one.append(script.second())

    assert verify(str(path)).sound


def test_a_vanished_file_is_noticed_and_taken_back(path: Path, script: Any, make_store: MakeStore) -> None:
    """Nothing is written to a file that nobody can find any more; put back, it is written on."""
    store = make_store(path)
    store.append(script.second())
    aside = path.with_suffix(".aside")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    path.rename(aside)
    batch = script.second()
    with pytest.raises(LedgerUnwritable, match="has vanished"):
        store.append(batch)
    aside.rename(path)
    store.append(batch)

    assert stored_steps(path) == in_order(script.steps)
    assert verify(str(path)).sound


def test_another_process_that_holds_the_lock_is_named(path: Path, script: Any, make_store: MakeStore) -> None:
    """A ledger that somebody else has locked is unwritable until the lock is gone."""
    store = make_store(path)
    batch = script.second()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnwritable, match="another process holds the write lock"):
            store.append(batch)
    store.append(batch)

    assert verify(str(path)).batches == 1


def test_a_newer_ledger_is_refused(kept: Path, make_store: MakeStore, tamper: Callable[..., None]) -> None:
    """A schema that this program does not know is refused with one sentence, for writing and for reading."""
    tamper("UPDATE alembic_version SET version_num = '0777'")

    for use in (make_store, lambda path: verify(str(path))):
        with pytest.raises(LedgerTooNew, match=r"ledger\.db: the ledger has schema 0777, written by a newer sev1probe"):
            use(kept)


def test_a_file_that_is_no_ledger_is_named(path: Path, tmp_path: Path, make_store: MakeStore) -> None:
    """Another file, another database, a missing file and a missing folder are told apart."""
    with pytest.raises(LedgerError, match="there is no such file"):
        verify(str(path))
    path.write_text("not a database, but long enough to have a header of one hundred bytes" * 20)
    with pytest.raises(LedgerError, match="not a ledger"):
        verify(str(path))
    with pytest.raises(LedgerUnwritable, match="not a ledger"):
        make_store(path)
    with pytest.raises(LedgerUnwritable, match="cannot be opened"):
        make_store(tmp_path / "no" / "ledger.db")
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE t (a)")
    with pytest.raises(LedgerError, match="has no tables of sev1probe"):
        verify(str(other))


def test_the_migrations_make_the_tables_of_the_program(path: Path, make_store: MakeStore) -> None:
    """What the migrations make is what the code reads and writes, and the newest is the one the program names."""
    store = make_store(path)
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        sql = {row.name: row.sql for row in connection.execute(text("SELECT name, sql FROM sqlite_master"))}
    config = Config()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    script = ScriptDirectory.from_config(config)

    assert script.get_heads() == [migrate.SCHEMA]
    assert {revision.revision for revision in script.walk_revisions()} == migrate.KNOWN_SCHEMAS
    assert "WITHOUT ROWID" in sql["attempt"]
    assert "WHERE seconds > 1" in sql["verdict_runs"]


def test_every_commit_is_synced(path: Path, make_store: MakeStore) -> None:
    """The write-ahead log is on and synced at each commit, and references are checked."""
    store = make_store(path)
    with store.engine.connect() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]

    assert found == ["wal", 2, 1]


def test_a_password_in_the_address_is_not_shown() -> None:
    """The name of a ledger on a server has no password in it."""
    address = parse_address("postgresql://probe:hunter2@127.0.0.1/ledger")

    assert address.name == "postgresql+psycopg://probe:***@127.0.0.1/ledger"
    with pytest.raises(LedgerError, match="neither a file path nor a database URL") as raised:
        parse_address("://hunter2")
    assert "hunter2" not in str(raised.value)
    with pytest.raises(LedgerError, match="must name a file"):
        parse_address("sqlite://")
