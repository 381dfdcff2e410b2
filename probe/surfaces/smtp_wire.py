"""One SMTP connection on the wire: replies read under limits, TLS in memory, and an end that is never lost.

Theory of operation. Replies are queued in the order in which they came, and how the connection ended stands behind the
last of them, so a 421 that was sent before a close is always read before the close is.

aiosmtplib's client is not used for attempts: its protocol throws away replies that nobody asked for (the 421 that says
why a connection closes is one), can't pipeline, and gives no time per phase. Its encodings are used.

TLS runs over `ssl.MemoryBIO` instead of the loop's own layer, for three reasons. Plain text hidden behind the STARTTLS
reply is seen for certain (CVE-2011-0411). Ten thousand hanging connections cost no 256 KiB read buffers. And we see
segments that hold no reply, which the following needs:

The stall of 40 ms. Under TLS 1.3 a server sends session tickets right after the handshake. Its reply to our next
command then waits in its kernel for the acknowledgement of those tickets (Nagle, RFC 896), and our kernel delays that
acknowledgement by 40 ms (RFC 1122 section 4.2.3.2) in the hope of sending data along. With TCP_NODELAY, as asyncio sets
it, our command has left before the tickets came, so there is no such data; smtplib is not hit because Nagle on its own
side holds EHLO back until the tickets came. It is the same with a server that writes the replies to pipelined commands
one by one. So whenever something arrived and a reply is still owed, we acknowledge at once (TCP_QUICKACK).
"""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from probe.clock import monotonic_us
from probe.core.endings import own_cause_of
from probe.core.model import Cause
from probe.surfaces.dial import cause_of_tls, expiry_of
from probe.surfaces.path import packets_lost
from probe.surfaces.smtp_reader import Malformed, Reply, ReplyReader, printable
from probe.surfaces.watch import Trouble

# May answer any command, and may come before one (RFC 5321 section 3.8).
SERVICE_CLOSING: Final = 421
# Three replies are owed at most; a server that talks on its own gets no more than this.
REPLIES_WAITING_MAX: Final = 8
TLS_RECORD_BYTES_MAX: Final = 16 * 1024

_QUICK_ACKNOWLEDGEMENT: Final = getattr(socket, "TCP_QUICKACK", None)
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class Wire(asyncio.Protocol):
    """One connection. Also keepable: see `probe.surfaces.pool`."""

    def __init__(self, sock: socket.socket, on_closed: Callable[[], None]) -> None:
        self.opened_us = self.idle_since_us = monotonic_us()
        self.uses = 0
        self.address = ""
        self.pipelining = False
        self.was_made = False
        self._sock = sock
        self._on_closed = on_closed
        self._transport: asyncio.Transport | None = None
        self._reader = ReplyReader()
        self._replies: deque[Reply] = deque()
        self._owed = 0
        self._ended: Trouble | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._tls: ssl.SSLObject | None = None
        self._shaken = False
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()

    # For the dialogue.

    def send(self, data: bytes, replies: int) -> None:
        """Write commands that the server owes `replies` for; raise Trouble if it spoke out of turn before."""
        if self._replies and self._replies[0].code != SERVICE_CLOSING:
            raise Trouble(Cause.MALFORMED_REPLY, reply=f"unasked: {_text_of(self._replies[0])}")
        self._owed += replies
        if self._ended is None:
            self._write(data)

    async def reply(self) -> Reply:
        """Return the next reply; raise the Trouble that ended the connection instead."""
        while not self._replies:
            if self._ended is not None:
                raise self._ended
            await self._wait()
        self._owed -= 1
        return self._replies.popleft()

    async def shake_hands(self, context: ssl.SSLContext, name: str, *, asked: bool) -> int:
        """Go over to TLS, with certificate and name verified by the context; raise Trouble.

        Return the second in which the certificate expires, as `expiry_of` does.

        `asked` says that STARTTLS came before; without it the port itself speaks TLS.

        No session is resumed, which would save half a millisecond: a resumed handshake shows no certificate, and a
        fresh connection is there to prove the whole front door.
        """
        if self._replies or self._reader.is_mid_reply:
            # Whoever put this behind the 220 wants it to be read as if it had come through TLS.
            cause = Cause.MALFORMED_REPLY if asked else Cause.NOT_TLS
            raise Trouble(cause, reply=f"plain text where TLS was due: {self.last_words()}")
        if self._ended is not None:
            raise self._ended
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._shake(b"")
        while not self._shaken:
            if self._ended is not None:
                raise self._ended
            await self._wait()
        return expiry_of(self._tls)

    def expect_banner(self) -> None:
        """Note that the server owes its greeting."""
        self._owed += 1

    @property
    def is_mid_reply(self) -> bool:
        """Say whether a reply has begun and not ended."""
        return self._reader.is_mid_reply

    @property
    def evidence(self) -> str:
        """Return what has come of a reply that has not ended."""
        return printable(self._reader.evidence)

    def unacknowledged_bytes(self) -> int:
        """Return how much of what we wrote the other side's TCP has not acknowledged; 0 where nobody knows."""
        waiting = 0 if self._transport is None else self._transport.get_write_buffer_size()
        try:
            (sent,) = struct.unpack("i", fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
        except (OSError, ValueError):
            return waiting
        return waiting + int(sent)

    @property
    def packets_lost(self) -> int:
        """Return how many packets of the connection were lost on the way so far, as far as our kernel knows."""
        return packets_lost(self._sock)

    # For the pool.

    @property
    def is_open(self) -> bool:
        """Say whether the pool may offer it. A dead one is offered too: that it died is part of the attempt."""
        return True

    @property
    def is_quiet(self) -> bool:
        """Say whether it is open and the server has said nothing since its last reply."""
        return self._ended is None and not self._replies and not self._reader.is_mid_reply

    def last_words(self) -> str:
        """Return what the server said on a connection that was not in use, or how it ended."""
        if self._replies:
            return f"{self._replies[0].code} {_text_of(self._replies[0])}"
        return str(self._ended.cause) if self._ended is not None else self.evidence

    def quit(self) -> None:
        """Say QUIT and close, without waiting for an answer."""
        if self._transport is None or self._transport.is_closing():
            return
        if self._ended is None:
            self._write(b"QUIT\r\n")
        self._transport.close()

    def abort(self) -> None:
        """Reset the connection, which frees the descriptor and the port at once; harmless if it is closed already."""
        if self._transport is None or self._transport.is_closing():
            return
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    # For the loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)
        self.was_made = True

    def data_received(self, data: bytes) -> None:
        """Read what came, through TLS if it is on."""
        if self._ended is not None:
            return
        if self._tls is None:
            self._read(data)
        elif not self._shaken:
            self._shake(data)
        else:
            self._incoming.write(data)
            self._decrypt()
        if self._owed > len(self._replies) or not self._shaken:
            self._acknowledge()
        self._wake()

    def eof_received(self) -> bool:
        """Let the transport close; what ended the connection is known now."""
        self._end(Trouble(Cause.CLOSED, reply=self.evidence))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note how it ended, if nothing has ended it before."""
        text = exc.strerror or "" if isinstance(exc, OSError) else "" if exc is None else type(exc).__name__
        cause = own_cause_of(exc) or (Cause.CLOSED if exc is None else Cause.RESET_IN_SESSION)
        self._end(Trouble(cause, reply=text))
        self._transport = None
        self._on_closed()

    # Inside.

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done() and (self._replies or self._ended or self._shaken):
            self._waiter.set_result(None)

    def _end(self, trouble: Trouble) -> None:
        if self._ended is None:
            self._ended = trouble
        self._wake()

    def _write(self, data: bytes) -> None:
        if self._transport is None:
            return
        if self._tls is not None and self._shaken:
            self._tls.write(data)
            data = self._outgoing.read()
        self._transport.write(data)

    def _read(self, data: bytes) -> None:
        if self._ended is not None:
            return
        try:
            self._reader.feed(data, self._replies)
            if len(self._replies) > REPLIES_WAITING_MAX:
                raise Malformed(b"replies that nobody asked for")
        except Malformed as error:
            self._end(Trouble(Cause.MALFORMED_REPLY, reply=printable(error.args[0])))

    def _shake(self, data: bytes) -> None:
        assert self._tls is not None
        if self._transport is None:
            return
        if data:
            self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._transport.write(self._outgoing.read())
            return
        except ssl.SSLError as error:
            self._transport.write(self._outgoing.read())  # the alert that tells the server why
            cause = cause_of_tls(error)
            found = f": {printable(data)}" if cause is Cause.NOT_TLS else ""
            self._end(Trouble(cause, reply=f"{reason_of(error)}{found}"))
            return
        self._transport.write(self._outgoing.read())
        self._shaken = True
        self._decrypt()

    def _decrypt(self) -> None:
        assert self._tls is not None
        try:
            while self._incoming.pending or self._tls.pending():
                data = self._tls.read(TLS_RECORD_BYTES_MAX)
                if not data:
                    self._end(Trouble(Cause.CLOSED))
                    return
                self._read(data)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._end(Trouble(cause_of_tls(error), reply=reason_of(error)))

    def _acknowledge(self) -> None:
        if _QUICK_ACKNOWLEDGEMENT is not None and self._transport is not None:
            self._sock.setsockopt(socket.IPPROTO_TCP, _QUICK_ACKNOWLEDGEMENT, 1)


def reason_of(error: ssl.SSLError) -> str:
    """Say why a handshake failed, in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return (error.reason or str(error)).replace("_", " ").lower()


def _text_of(reply: Reply) -> str:
    return printable(b"\n".join(reply.lines))
