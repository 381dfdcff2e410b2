"""One writer for each ledger: a lock that lasts as long as its holder, and that no crash leaves behind.

A second writer would be found out at its first batch, since the chain goes on from the head that it knows; but by then
one of the two could write nothing more until it is restarted. So the second is refused when it opens the ledger.
Readers take no lock.
"""

import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from probe.ledger.connect import Address
from probe.ledger.errors import LedgerUnwritable

# A server may take a moment to notice that the connection of a former holder is gone.
SERVER_LOCK_TIMEOUT = "1s"
# What tells our advisory locks from those of other programs in the same database; the second number is the schema's.
SERVER_LOCK_CLASS = 0x53455631
LOCK_NOT_AVAILABLE = "55P03"
PID_LENGTH_MAX = 20


class WriterLock:
    """The right to write one ledger.

    For a file it is an advisory lock on a file beside it, which holds the holder's process id. It is not taken on the
    database's own file: closing any other descriptor of that would drop the locks that SQLite keeps there.
    On a server it is an advisory lock of the connection, so each new connection takes it again.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._descriptor: int | None = None

    def take(self, connection: Connection) -> None:
        """Take it, if this process does not hold it already.

        Raises:
            LedgerUnwritable: If another process holds it, or the file for it cannot be made.
        """
        file = self._address.file
        if file is None:
            self._take_on_server(connection)
        elif self._descriptor is None:
            self._descriptor = self._take_file(file)

    def release(self) -> None:
        """Give it up. The file stays: removing it would let two processes lock two files of the same name."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def _take_file(self, file: Path) -> int:
        # Of the file itself, so that a ledger has one lock by whatever links it is reached.
        path = Path(f"{file.resolve()}-lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise LedgerUnwritable(f"{self._address.name}: {path} cannot be opened ({error.strerror})") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except BlockingIOError as error:
            holder = os.pread(descriptor, PID_LENGTH_MAX, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise LedgerUnwritable(self._refusal(f" (pid {holder})" if holder else "")) from error
        except OSError as error:
            os.close(descriptor)
            raise LedgerUnwritable(f"{self._address.name}: {path} cannot be locked ({error.strerror})") from error
        return descriptor

    def _take_on_server(self, connection: Connection) -> None:
        try:
            with connection.begin():
                connection.execute(
                    text("SELECT set_config('lock_timeout', :timeout, true)"), {"timeout": SERVER_LOCK_TIMEOUT}
                )
                connection.execute(
                    text("SELECT pg_advisory_lock(:class, hashtext(coalesce(current_schema(), '')))"),
                    {"class": SERVER_LOCK_CLASS},
                )
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", "") == LOCK_NOT_AVAILABLE:
                raise LedgerUnwritable(self._refusal("")) from error
            raise

    def _refusal(self, holder: str) -> str:
        return f"{self._address.name}: another sev1probe{holder} is using this ledger"
