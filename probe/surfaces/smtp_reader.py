"""SMTP replies, sans-IO: bytes in, replies out, garbage raised, however it was cut into packets.

Strict about what a reply is, since nothing else can be judged; lenient where RFC 5321 section 4.2 asks it of a client.
"""

import re
from collections import deque
from typing import Final

from probe.core.redaction import CUT_MARK

# RFC 5321 section 4.5.3.1.5 lets a reply line have 512 octets; servers that say more exist.
LINE_BYTES_MAX: Final = 2048
REPLY_LINES_MAX: Final = 128
REPLY_BYTES_MAX: Final = 32 * 1024
# More than is shown, since secrets are struck out before the text is cut to what is shown.
EVIDENCE_BYTES_MAX: Final = 4096
_CUT: Final = CUT_MARK.encode()

# A client must take a code without a text, and without a space before the missing text (RFC 5321 section 4.2).
_LINE: Final = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)


class Reply:
    """One reply: its code, and the text of each of its lines."""

    __slots__ = ("code", "lines")

    def __init__(self, code: int, lines: tuple[bytes, ...]) -> None:
        self.code = code
        self.lines = lines


class Malformed(Exception):
    """What came is not an SMTP reply, or is beyond the limits on one; holds the bytes as evidence."""


class ReplyReader:
    """Turns bytes into replies, however they were cut into packets."""

    __slots__ = ("_buffer", "_code", "_lines", "_reply_bytes")

    def __init__(self) -> None:
        self._buffer = b""
        self._code = b""
        self._lines: list[bytes] = []
        self._reply_bytes = 0

    @property
    def is_mid_reply(self) -> bool:
        """Say whether a reply has begun and not ended."""
        return bool(self._buffer or self._lines)

    @property
    def evidence(self) -> bytes:
        """Return what has come of a reply that has not ended, and a mark that says so."""
        found = b"\n".join([*self._lines, self._buffer])
        return _evidence(found, is_whole=False) if found else b""

    def feed(self, data: bytes, replies: deque[Reply]) -> None:
        """Append the replies that are whole now; raise Malformed behind the last good one."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            reply = self._take_line(line)
            if reply is not None:
                replies.append(reply)
        if len(self._buffer) > LINE_BYTES_MAX:
            raise Malformed(_evidence(self._buffer, is_whole=False))

    def _take_line(self, raw: bytes) -> Reply | None:
        # A bare LF ends a line too: lenient, since it leaves nothing open to misreading.
        line = raw[:-1] if raw.endswith(b"\r") else raw
        match = _LINE.fullmatch(line)
        self._reply_bytes += len(raw) + 1
        too_much = (
            len(line) > LINE_BYTES_MAX or self._reply_bytes > REPLY_BYTES_MAX or len(self._lines) >= REPLY_LINES_MAX
        )
        if match is None or too_much or (self._code and match[1] != self._code):
            raise Malformed(_evidence(b"\n".join([*self._lines[:4], line]), is_whole=True))
        self._lines.append(match[3] or b"")
        if match[2] == b"-":
            self._code = match[1]
            return None
        reply = Reply(int(match[1]), tuple(self._lines))
        self._code, self._lines, self._reply_bytes = b"", [], 0
        return reply


def _evidence(data: bytes, *, is_whole: bool) -> bytes:
    return data if is_whole and len(data) <= EVIDENCE_BYTES_MAX else data[:EVIDENCE_BYTES_MAX] + _CUT


def printable(data: bytes) -> str:
    """Return bytes from the network as text on one line that can do no harm."""
    text = data.decode("utf-8", "replace").replace("\r", "").replace("\n", " / ")
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
