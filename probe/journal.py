"""The journal's native protocol: one datagram of fields for each line, in place of a line of text.

As in https://systemd.io/JOURNAL_NATIVE_PROTOCOL: `KEY=value` and a newline, or for a value of several lines the key, a
newline, the value's length as 64 bits with the lowest byte first, the value and a newline. Trusted fields (`_PID`,
`_SYSTEMD_UNIT` and so on) are added by the journal itself.
"""

import json
import os
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final, TextIO

ADDRESS = "/run/systemd/journal/socket"
STREAM_VARIABLE: Final = "JOURNAL_STREAM"
PREFIX: Final = "SEV1PROBE_"
IDENTIFIER: Final = "sev1probe"
# Far below what a datagram may hold (net.core.wmem_default, 208 KiB), so that no entry is refused for its size.
VALUE_BYTES_MAX: Final = 32 * 1024
ENTRY_BYTES_MAX: Final = 128 * 1024
# What one field may be repeated, as a list is.
REPEATS_MAX: Final = 64
KEY_CHARACTERS_MAX: Final = 64
# Of syslog(3).
PRIORITIES: Final = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
# Said by fields of their own, so that the text doesn't repeat what `journalctl` prints beside it.
_NOT_IN_TEXT: Final = frozenset({"event", "level", "timestamp"})
# What people read as it stands, below the text: a call sheet, a traceback.
_BELOW_TEXT: Final = ("call_sheet", "exception")
_PLAIN: Final = re.compile(r"[^\s\"'={}\[\]]+")


class Journal:
    """Sends entries to the journal's socket; it is for a thread of its own, since a stuck journal makes it wait."""

    def __init__(self, address: str | None = None) -> None:
        """Open a socket for `address`, or for that of systemd's journal.

        Raises:
            OSError: If nothing can be sent to that address.
        """
        self._address = ADDRESS if address is None else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as trial:
                trial.connect(self._address)
        except OSError:
            self._socket.close()
            raise

    def write(self, entry: bytes) -> None:
        """Send one entry (OSError if the journal does not take it)."""
        # Named each time and never connected, so that a journal that was made anew is found again.
        self._socket.sendto(entry, self._address)

    def flush(self) -> None:
        """Do nothing: an entry is on its way once it was written."""

    def close(self) -> None:
        """Send nothing more."""
        self._socket.close()

    def lines_lost(self, count: int) -> bytes:
        """Give the entry that says how many did not get through."""
        return entry({"event": "log.lines_lost", "level": "warning", "lines": count})


def is_behind(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Say whether what is written to this stream goes into the journal, as $JOURNAL_STREAM has it."""
    try:
        seen = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get(STREAM_VARIABLE) == f"{seen.st_dev}:{seen.st_ino}"


def entry(event: Mapping[str, Any]) -> bytes:
    """Render a line's facts as one entry: a text for people, the syslog fields, and a field for each fact."""
    chunks = [
        _field("MESSAGE", _text(event)),
        _field("PRIORITY", str(PRIORITIES.get(str(event.get("level")), PRIORITIES["info"]))),
        _field("SYSLOG_IDENTIFIER", IDENTIFIER),
    ]
    size = sum(map(len, chunks))
    for name, value in event.items():
        for written in _values(value):
            field = _field(_key(name), written)
            if size + len(field) <= ENTRY_BYTES_MAX:
                chunks.append(field)
                size += len(field)
    return b"".join(chunks)


def _text(event: Mapping[str, Any]) -> str:
    """Write the event's name and its facts in one line, and below it what has lines of its own to be read."""
    below = {name: str(event[name]) for name in _BELOW_TEXT if "\n" in str(event.get(name, ""))}
    names = (name for name in event if name not in _NOT_IN_TEXT and name not in below)
    facts = (f"{name}={_shown(event[name])}" for name in names)
    return "\n".join((" ".join((str(event.get("event", "")), *facts)), *below.values()))


def _field(key: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    if len(data) > VALUE_BYTES_MAX:
        data = data[:VALUE_BYTES_MAX].decode("utf-8", "ignore").encode() + "…".encode()
    if b"\n" in data:
        return b"%s\n%s%s\n" % (key.encode(), len(data).to_bytes(8, "little"), data)
    return b"%s=%s\n" % (key.encode(), data)


def _key(name: str) -> str:
    """Name a field as the journal wants it: capitals, digits and underscores."""
    return (PREFIX + re.sub(r"[^A-Z0-9_]", "_", name.upper()))[:KEY_CHARACTERS_MAX]


def _values(value: Any) -> Iterable[str]:
    """Give a list as one value for each of its members, for `journalctl` to match any of them."""
    if isinstance(value, list | tuple):
        return [_written(member) for member in value[:REPEATS_MAX]]
    return [_written(value)]


def _written(value: Any) -> str:
    """Write a value as JSON would, but text as it is; what JSON has no word for says itself what it shows."""
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)


def _shown(value: Any) -> str:
    is_plain = not isinstance(value, str) or _PLAIN.fullmatch(value)
    return _written(value) if is_plain else json.dumps(value, ensure_ascii=False)
