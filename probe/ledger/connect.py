"""How the ledger's database is reached: the one place that knows SQLite from PostgreSQL.

The ledger's address is a file path or an SQLAlchemy URL. SQLite gets its PRAGMAs here; everything else in the package
is SQLAlchemy Core that both databases understand.
"""

import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from probe.ledger.errors import LedgerError

BUSY_TIMEOUT_S = 1.0
PAGES_CACHED_KIB = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a ledger is. `file` is None where it is not a file; `name` is fit to be shown."""

    url: URL
    file: Path | None
    name: str


def parse_address(text: str) -> Address:
    """Read a file path or an SQLAlchemy URL."""
    if "://" not in text:
        return _file_address(Path(text))
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise LedgerError("the ledger's address is neither a file path nor a database URL") from error
    if url.drivername.partition("+")[0] == "sqlite":
        if not url.database or url.database == ":memory:":
            raise LedgerError("the ledger's address must name a file: a ledger in memory would keep nothing")
        return _file_address(Path(url.database))
    name = url.render_as_string(hide_password=True)
    if url.drivername.partition("+")[0] != "postgresql":
        raise LedgerError(f"{name}: a ledger lives in a file or in PostgreSQL; write a path, or postgresql://...")
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    return Address(url=url, file=None, name=url.render_as_string(hide_password=True))


def writing_engine(address: Address) -> Engine:
    """Make an engine whose transactions write: on SQLite each takes the write lock when it begins."""
    if address.file is None:
        return _server_engine(address)
    engine = _sqlite_engine(address.file, "rwc", "BEGIN IMMEDIATE")

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL syncs the write-ahead log at every commit: what was told survives the loss of power.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{PAGES_CACHED_KIB}")

    return engine


def reading_engine(address: Address) -> Engine:
    """Make an engine whose transactions only read and see one consistent state, also while a daemon writes."""
    if address.file is None:
        return _server_engine(address).execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    if not address.file.exists():
        raise LedgerError(f"{address.name}: there is no such file")
    # On a medium that can't be written SQLite can't make the files that readers of a write-ahead log share. A ledger
    # that was closed cleanly has none, and nobody can write to it there, so it may be read as it lies.
    is_fixed = not os.access(address.file.parent, os.W_OK) and not Path(f"{address.file}-wal").exists()
    return _sqlite_engine(address.file, "ro&immutable=1" if is_fixed else "ro", "BEGIN")


def is_same_file(address: Address, identity: tuple[int, int] | None) -> bool:
    """Say whether the file that was opened is still the one at its path."""
    return address.file is None or identity == file_identity(address)


def file_identity(address: Address) -> tuple[int, int] | None:
    """Name the file at the address, so that its replacement can be noticed: SQLite writes on to an unlinked file."""
    if address.file is None:
        return None
    with suppress(OSError):
        found = address.file.stat()
        return found.st_dev, found.st_ino
    return None


def streaming(connection: Connection) -> Connection:
    """Let results come in portions instead of whole, so that memory stays bounded."""
    return connection.execution_options(stream_results=True, max_row_buffer=1000)


def _file_address(file: Path) -> Address:
    return Address(url=URL.create("sqlite", database=str(file)), file=file, name=str(file))


def _server_engine(address: Address) -> Engine:
    try:
        # The `format` style takes rows as plain tuples, as SQLite's does.
        return create_engine(
            address.url,
            poolclass=NullPool,
            paramstyle="format",
            hide_parameters=True,
            connect_args={"connect_timeout": 5},
        )
    except (NoSuchModuleError, ImportError) as error:
        sentence = f"{address.name}: the database driver is not installed; install sev1probe[postgres]"
        raise LedgerError(sentence) from error


def _sqlite_engine(file: Path, mode: str, begin: str) -> Engine:
    address = f"file:{quote(str(file.absolute()))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        # The driver must not begin transactions by itself: it would leave reads and DDL outside of them.
        return sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True)

    @event.listens_for(engine, "begin")
    def take_lock(connection: Connection) -> Any:
        connection.exec_driver_sql(begin)

    return engine
