"""What a service manager is told: sd_notify(3), spoken over the datagram socket that it names in the environment.

Every message may be lost and none is worth waiting for: nothing here blocks or raises. Without a service manager all
of it does nothing.
"""

import contextlib
import os
import socket
from collections.abc import Mapping

from probe import clock

STATUS_CHARACTERS_MAX = 240
SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLE = "WATCHDOG_USEC"
WATCHDOG_PROCESS_VARIABLE = "WATCHDOG_PID"
WATCHDOG_DIGITS_MAX = 20  # as many as an unsigned number of 64 bits has
US_PER_S = 1_000_000


class ServiceManager:
    """Whoever started the daemon and wants to hear how it does."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = _address(environment.get(SOCKET_VARIABLE, ""))
        self._socket: socket.socket | None = None
        if self._address:
            # Opened once and kept, so that it is there too when the process has no descriptor left.
            with contextlib.suppress(OSError):
                self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
                self._socket.setblocking(False)
        self.watchdog_s = _watchdog_s(environment) if self._socket is not None else None

    def ready(self, status: str) -> None:
        """Say that the work has begun, or goes on after a reload."""
        self._tell("READY=1", _status(status))

    def status(self, status: str) -> None:
        """Say in one line how things are."""
        self._tell(_status(status))

    def reloading(self) -> None:
        """Say that the settings are being read again; `ready` says that this is over."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={clock.monotonic_us()}", _status("Reading the settings again."))

    def stopping(self) -> None:
        """Say that the end has begun."""
        self._tell("STOPPING=1", _status("Stopping."))

    def feed(self) -> None:
        """Keep the watchdog from acting, if there is one."""
        if self.watchdog_s is not None:
            self._tell("WATCHDOG=1")

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *assignments: str) -> None:
        if self._socket is None:
            return
        # A full or vanished socket is the manager's affair; the next message may get through.
        with contextlib.suppress(OSError):
            self._socket.sendto("\n".join(assignments).encode("utf-8", "replace"), self._address)


def _address(written: str) -> str:
    """Give the address as sockets want it; "" for one that is no path and no abstract name (vsock is not spoken)."""
    if written.startswith("@"):
        return "\0" + written[1:]
    return written if written.startswith("/") else ""


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Give the watchdog's interval, None if there is none or if it is meant for another process."""
    interval, process = environment.get(WATCHDOG_VARIABLE, ""), environment.get(WATCHDOG_PROCESS_VARIABLE, "")
    is_number = interval.isascii() and interval.isdigit() and len(interval) <= WATCHDOG_DIGITS_MAX
    if process not in ("", str(os.getpid())) or not is_number or int(interval) == 0:
        return None
    return int(interval) / US_PER_S


def _status(line: str) -> str:
    return f"STATUS={' '.join(line.split())[:STATUS_CHARACTERS_MAX]}"
