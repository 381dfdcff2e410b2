"""What can go wrong with the ledger, each as one sentence for a human."""

import sqlite3

from sqlalchemy.exc import DBAPIError

# SQLite's own names of errors (their beginnings), and what an operator should read.
SENTENCES = (
    ("SQLITE_FULL", "the disk is full"),
    ("SQLITE_READONLY", "the ledger is read-only"),
    ("SQLITE_BUSY", "another process holds the write lock"),
    ("SQLITE_LOCKED", "another process holds the write lock"),
    ("SQLITE_IOERR", "the disk reports an input/output error"),
    ("SQLITE_CANTOPEN", "the file cannot be opened"),
    ("SQLITE_CORRUPT", "the file is damaged"),
    ("SQLITE_NOTADB", "the file is not a ledger"),
    ("SQLITE_PERM", "the file may not be accessed"),
    ("SQLITE_AUTH", "the file may not be accessed"),
)


class LedgerError(Exception):
    """The ledger cannot do what was asked; the message is one sentence that names the ledger."""


class LedgerUnwritable(LedgerError):
    """The ledger cannot be written now; a later append may succeed."""


class LedgerTooNew(LedgerError):
    """The ledger was written by a newer program than this one."""


class LedgerRefused(LedgerError):
    """The batch contradicts what the ledger holds already, so writing it later cannot succeed either: our own bug."""


def sentence(error: Exception) -> str:
    """Say what an error of the database or the operating system means, without SQL and without parameters."""
    origin = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    name = getattr(origin, "sqlite_errorname", "") if isinstance(origin, sqlite3.Error) else ""
    for beginning, words in SENTENCES:
        if name.startswith(beginning):
            return f"{words} ({origin})"
    if isinstance(origin, OSError):
        return origin.strerror or type(origin).__name__
    lines = str(origin).strip().splitlines()
    return lines[0] if lines else type(origin).__name__
