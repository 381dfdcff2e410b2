"""The same code keeps, verifies, cuts, recovers and exports a ledger on a real PostgreSQL."""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from probe.ledger import LedgerError, LedgerRefused, LedgerUnwritable, account_of, export_rows, verify, what_if
from probe.ledger.connect import parse_address, reading_engine, writing_engine
from probe.ledger.read import steps
from probe.ledger.recover import recover
from probe.ledger.retention import cut
from probe.ledger.store import Store
from probe.ledger.tables import metadata


@pytest.fixture(scope="module")
def server(
    require_program: Callable[[str], str], free_port: Callable[[], int], do_without: Callable[[str], None]
) -> Iterator[str]:
    """Start a PostgreSQL of our own on loopback, as a user without rights, and give its URL."""
    if importlib.util.find_spec("psycopg") is None:
        do_without("needs psycopg (pip install 'sev1probe[postgres]')")
    initdb, pg_ctl = require_program("initdb"), require_program("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="sev1probe-pg-"))
    port = free_port()
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run([*user, *command], check=True, capture_output=True, cwd=folder)

    run(initdb, "--pgdata", str(data), "--auth=trust", "--username=probe", "--no-sync", "--encoding=UTF8")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
    run(pg_ctl, "start", "--pgdata", str(data), "--wait", "--log", str(folder / "log"), "--options", options)
    yield f"postgresql://probe@127.0.0.1:{port}/postgres"
    run(pg_ctl, "stop", "--pgdata", str(data), "--mode=immediate")
    shutil.rmtree(folder)


@pytest.fixture
def address(server: str, request: pytest.FixtureRequest) -> str:
    """Give the address of a schema of the test's own."""
    name = f"t{abs(hash(request.node.name))}"
    engine = writing_engine(parse_address(server))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    return f"{server}?options=-csearch_path%3D{name}"


def test_a_story_is_kept_verified_recovered_and_exported(
    address: str, script: Any, make_store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds for SQLite holds here."""
    store = make_store(address)
    for batch in script.story():
        store.append(batch)
    engine = reading_engine(parse_address(address))
    with engine.connect() as connection, connection.begin():
        found = [stored.step for stored in steps(connection, 0, 2**40)]
        recovery = recover(connection, script.terms)
    first, last = script.steps[0].second, script.steps[-1].second

    assert found == sorted(script.steps, key=lambda step: (step.second, step.target))
    assert recovery.states == script.states
    assert (recovery.differences, recovery.problems) == ((), ())
    assert verify(address).problems == ()
    seconds = [row for row in export_rows(address, first, last, "main") if row["type"] == "second"]
    assert len(seconds) == 2 * (last - first + 1)
    assert what_if(address, first, last, "main", script.terms["main"]) == ()
    by_both = []
    for together_max in (8, 0):
        monkeypatch.setattr("probe.ledger.tallies.TARGETS_READ_TOGETHER_MAX", together_max)
        by_both.append(account_of(address, first, last, "main"))
    assert by_both[0] == by_both[1]
    assert {total.as_judged.recorded for total in by_both[0].tallies[0].totals} == {last - first + 1}
    assert {total.as_judged.unavailable for total in by_both[0].tallies[0].totals} == {4}
    with pytest.raises(LedgerRefused):
        store.append(type(batch)(steps=batch.steps, controls=(), terms=batch.terms))
    store.append(script.second())


def test_a_cut_ledger_verifies(address: str, script: Any, make_store: Callable[[str], Store]) -> None:
    """Retention and the naming of what was altered work here too."""
    store = make_store(address)
    for _ in range(25):
        store.append(script.second(checkpoint=True))
        store.append(script.away(59))
    while not cut(store, ["main", "other"], script.next_second, 300, 600, 20).finished:
        assert verify(address).problems == ()
    with writing_engine(parse_address(address)).begin() as connection:
        connection.exec_driver_sql("UPDATE verdict SET accepted = 7 WHERE batch = 49 AND position = 2")

    assert verify(address).batches < 51
    assert verify(address).problems[0].endswith("(batch 49 #2): was altered")


def test_a_second_writer_is_refused(
    address: str, server: str, script: Any, make_store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One schema has one writer; another schema's is another ledger, and whoever has ended lets the next one in."""
    monkeypatch.setattr("probe.ledger.lock.SERVER_LOCK_TIMEOUT", "50ms")
    store = make_store(address)
    with pytest.raises(LedgerUnwritable, match="another sev1probe is using this ledger"):
        make_store(address)
    make_store(server)
    store.append(script.second())
    store.close()

    assert make_store(address).append(script.second()).seq == 2


def test_the_migrations_make_the_tables_of_the_program(address: str, make_store: Callable[[str], Store]) -> None:
    """The schema is the same as the program's, by Alembic's own comparison."""
    with make_store(address).engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_server_that_is_away_is_named_without_its_password(free_port: Callable[[], int], server: str) -> None:
    """A refused connection is one sentence, and the password is not in it."""
    with pytest.raises(LedgerError, match=r"probe:\*\*\*@127\.0\.0\.1") as raised:
        verify(f"postgresql://probe:hunter2@127.0.0.1:{free_port()}/ledger")

    assert "hunter2" not in str(raised.value)
    assert server
