"""One HTTP/1.1 connection and one request on it: aiohttp's client protocol and parser, and nothing above them.

aiohttp's session is left out on purpose. What it adds (pool, retries, redirects, cookies, proxies, happy eyeballs,
rounded timeouts) is what an attempt must not have, and most of it can only be switched off by private names. What is
left of aiohttp here is used through names without an underscore, and is where its worth lies: the HTTP parser.

So one call of `exchange` is one request on the wire, by construction; who wants a second one opens a second connection.
"""

import asyncio
import fcntl
import ssl
import struct
import termios
import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp.client_exceptions import ClientPayloadError, ServerDisconnectedError
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from probe.clock import monotonic_us
from probe.core.endings import cause_of_errno, own_cause_of
from probe.core.model import Cause, Phase
from probe.core.replies_api import ApiReply, Ended, Ending
from probe.surfaces.dial import Dialer, cause_of_tls, expiry_of
from probe.surfaces.path import packets_lost
from probe.surfaces.watch import Trouble, Watch

HEAD_BYTES_MAX = 64 * 1024
HEAD_LINE_BYTES_MAX = 8190
BODY_BYTES_MAX = 64 * 1024
INTERIM_REPLIES_MAX = 8
HEADER_CHARACTERS_MAX = 128

# The attempt's deadline spans the handshake too, so the loop's own limit (60 s) must never be the first to end it.
TLS_HANDSHAKE_S_MAX = 3600.0
# A connection that is put aside waits this long for the other side's close_notify, not the loop's 30 s.
TLS_SHUTDOWN_S_MAX = 1.0

_HEAD_END: Final = b"\r\n\r\n"
_FINAL_STATUS_MIN = 200
_SWITCHING_PROTOCOLS = 101
_STATUS_MIN = 100
_CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate"})


class NoReply(Exception):
    """No status line came; never leaves `probe.surfaces`."""

    def __init__(self, ended: Ended, text: str = "") -> None:
        super().__init__(ended)
        self.ended = ended
        self.text = text


@dataclass(slots=True)
class Arrived:
    """What has arrived of a reply so far and from where, so that a deadline can be judged by it."""

    address: str = ""
    packets_lost: int = 0  # on the connection since the attempt began, where it ended without a whole reply
    status: int = 0
    content_type: str = ""
    content_coding: str = ""
    retry_after: str = ""
    ending: Ending = Ending.STALLED
    chunks: list[bytes] = field(default_factory=list)

    def reply(self) -> ApiReply:
        """Return it as the value that is judged."""
        body = b"".join(self.chunks)[:BODY_BYTES_MAX]
        return ApiReply(
            status=self.status,
            content_type=self.content_type,
            body=_decoded(body) if self.content_coding in _CODINGS else body,
            ending=self.ending,
            retry_after=self.retry_after,
        )


class HttpConnection(ResponseHandler):
    """A connection for one request after the other; fits `probe.surfaces.pool`."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.opened_us = self.idle_since_us = monotonic_us()
        self.uses = 0
        self.address = ""
        self.certificate_expires_second = 0  # without TLS there is none
        self.head_bytes = 0
        self.lost_by: BaseException | None = None
        self._head_is_whole = False
        self._head_end = b""
        self._content: StreamReader | None = None
        self._watch: Watch | None = None
        self._stirred: asyncio.Future[None] | None = None
        self._sock: Any = None
        self._interim_bytes = 0

    @property
    def is_open(self) -> bool:
        """Say whether another request may follow: not closed, nothing left over in either direction."""
        return self.is_connected() and not self.should_close and not self.writing_paused

    @property
    def is_mid_head(self) -> bool:
        """Say whether a head has begun and not ended; interim (1xx) replies before it are none."""
        return self.head_bytes > self._interim_bytes

    def abort(self) -> None:
        """Drop the connection at once and free its descriptor; harmless if it is closed already."""
        if self.transport is not None:
            self.transport.abort()

    def begin(self, watch: Watch, *, head: bool) -> None:
        """Get ready for the reply to the next request; `head` says that it will have no body."""
        self._watch = watch
        self.head_bytes = self._interim_bytes = 0
        self._head_is_whole = False
        self._head_end = b""
        self._content = None
        self.set_response_params(
            skip_payload=head,
            read_until_eof=True,  # A body without a length ends with the connection (RFC 9112 section 6.3).
            auto_decompress=False,  # We ask for none, and unpack within a limit if there is one all the same.
            read_timeout=None,  # The attempt's deadline is the only clock.
            read_bufsize=BODY_BYTES_MAX,
            max_line_size=HEAD_LINE_BYTES_MAX,
            max_field_size=HEAD_LINE_BYTES_MAX,
        )

    async def flush(self) -> None:
        """Wait until the request has left the process, or the reply or the connection's end makes that moot."""
        if self.writing_paused and not self.head_bytes and self.is_connected():
            self._stirred = asyncio.get_running_loop().create_future()
            await self._stirred

    @property
    def packets_lost(self) -> int:
        """Return how many packets of the connection were lost on the way so far, as far as our kernel knows."""
        return packets_lost(self._sock)

    def unacknowledged_bytes(self) -> int:
        """Return how much of what we sent the other side's TCP has not acknowledged; 0 where nobody knows."""
        if self._sock is None:
            return 0
        try:
            answer = fcntl.ioctl(self._sock.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except (OSError, ValueError):  # ValueError: it is closed.
            return 0
        (count,) = struct.unpack("i", answer)
        return int(count)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport, and its socket apart: a TLS transport that was closed twice can't be asked for it."""
        super().connection_made(transport)
        self._sock = transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        """Feed the parser, the head apart from what follows it.

        When a piece holds anything that is not HTTP, the parser forgets the heads in it too. Fed apart, a reply stays
        good whatever stands behind it, and a reply that turns bad within its body keeps its status.
        """
        end = self._end_of_head(data)
        while 0 < end < len(data) and self.exception() is None:
            self._feed(data[:end])
            data = data[end:]
            end = self._end_of_head(data)
        self._feed(data)
        self._stir()

    def _end_of_head(self, data: bytes) -> int:
        """Return where in `data` the empty line ends that ends a head; 0 if it does not."""
        if self._head_is_whole:
            return 0
        joined = self._head_end + data
        found = joined.find(_HEAD_END)
        if found < 0:
            self._head_end = joined[1 - len(_HEAD_END) :]
            return 0
        begun, self._head_end = len(self._head_end), b""
        return found + len(_HEAD_END) - begun

    def _feed(self, data: bytes) -> None:
        """Note the first byte's time and hold the limit on the head, which the parser of older versions lacks."""
        if data and not self._head_is_whole:
            if not self.head_bytes and self._watch is not None:
                self._watch.enter(Phase.BODY)
            self.head_bytes += len(data)
        super().data_received(data)
        if self.head_bytes > HEAD_BYTES_MAX and not self._head_is_whole and self.exception() is None:
            self.set_exception(HttpProcessingError(message="status line and headers never end"))
            self.abort()
        error, content = self.exception(), self._content
        if error is not None and content is not None and not content.is_eof():
            content.set_exception(error)  # The parser has let go of the body and would never end it.

    def feed_data(self, data: Any, size: int = 0) -> None:
        """Note that status line and headers are complete; called by the parser's side."""
        status = data[0].code
        self._head_is_whole = status >= _FINAL_STATUS_MIN or status == _SWITCHING_PROTOCOLS
        self._content = data[1]
        self._interim_bytes = self.head_bytes
        super().feed_data(data, size)

    def resume_writing(self) -> None:
        """Let `flush` return: the request has been written."""
        super().resume_writing()
        self._stir()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Let `flush` return: nothing more can be written. Keep the reason, which aiohttp hands on in part only."""
        self.lost_by = exc
        self._sock = None  # Its number may be another's from now on.
        super().connection_lost(exc)
        self._stir()

    def _stir(self) -> None:
        if self._stirred is not None:
            if not self._stirred.done():
                self._stirred.set_result(None)
            self._stirred = None


async def connect(dialer: Dialer, watch: Watch, tls: ssl.SSLContext | None, arrived: Arrived) -> HttpConnection:
    """Open a connection, with TLS unless `tls` is None; raise Trouble or NoReply."""
    loop = asyncio.get_running_loop()
    sock, arrived.address = await dialer.open(watch)
    if tls is None:
        _, connection = await loop.create_connection(lambda: HttpConnection(loop), sock=sock)
    else:
        watch.enter(Phase.TLS)
        try:
            _, connection = await loop.create_connection(
                lambda: HttpConnection(loop),
                sock=sock,
                ssl=tls,
                server_hostname=dialer.host.rstrip("."),  # Certificates name hosts without the root's dot.
                ssl_handshake_timeout=TLS_HANDSHAKE_S_MAX,
                ssl_shutdown_timeout=TLS_SHUTDOWN_S_MAX,
            )
        except ssl.SSLError as error:
            raise Trouble(cause_of_tls(error), reply=f"TLS: {error}") from error
        except OSError as error:
            raise _tls_ended(error) from error
        except asyncio.CancelledError:
            arrived.packets_lost = packets_lost(sock)
            raise
    connection.address = arrived.address
    assert connection.transport is not None
    if tls is not None:
        connection.certificate_expires_second = expiry_of(connection.transport.get_extra_info("ssl_object"))
    # Without this up to 64 KiB count as written while they wait in the process. 0 would stop writing for ever, since
    # TLS transports compare with "not less".
    connection.transport.set_write_buffer_limits(high=1, low=0)
    return connection


async def exchange(
    connection: HttpConnection, request: bytes, watch: Watch, arrived: Arrived, *, head: bool = False
) -> None:
    """Send one request and read its reply into `arrived`; raise NoReply or Trouble if no status line comes."""
    watch.enter(Phase.REQUEST)
    arrived.address = connection.address
    if connection.transport is None or not connection.is_connected():
        raise NoReply(Ended.CLOSED_BEFORE_REQUEST)
    connection.begin(watch, head=head)
    connection.transport.write(request)
    await connection.flush()
    if watch.phase is Phase.REQUEST:
        watch.enter(Phase.FIRST_BYTE)
    content = await _read_head(connection, arrived)
    arrived.ending = await _read_body(connection, content, arrived.chunks)


async def _read_head(connection: HttpConnection, arrived: Arrived) -> StreamReader:
    for _ in range(1 + INTERIM_REPLIES_MAX):
        message, content = await _next_head(connection)
        if message.code >= _FINAL_STATUS_MIN or message.code == _SWITCHING_PROTOCOLS:
            headers = message.headers
            arrived.status = message.code
            arrived.content_type = headers.get("Content-Type", "")[:HEADER_CHARACTERS_MAX]
            arrived.content_coding = headers.get("Content-Encoding", "")[:HEADER_CHARACTERS_MAX].lower()
            arrived.retry_after = headers.get("Retry-After", "")[:HEADER_CHARACTERS_MAX]
            return content
        if message.code < _STATUS_MIN:
            raise NoReply(Ended.NOT_HTTP, f"the status {message.code}, which HTTP does not have")
    raise NoReply(Ended.NOT_HTTP, "too many interim (1xx) replies")


async def _next_head(connection: HttpConnection) -> tuple[Any, StreamReader]:
    try:
        return await connection.read()
    except HttpProcessingError as error:
        raise _ours(connection, error) or NoReply(Ended.NOT_HTTP, error.message) from error
    except ServerDisconnectedError as error:
        ended = Ended.CLOSED_IN_HEAD if connection.head_bytes else Ended.CLOSED_BEFORE_REPLY
        raise NoReply(ended) from error
    except OSError as error:
        raise _lost(connection.lost_by or error, connection.head_bytes) from error


def _ours(connection: HttpConnection, error: BaseException) -> Trouble | None:
    """Say what of our own ended the connection, where it was not the other side; aiohttp tells it only as a cause."""
    lost_by = connection.lost_by
    # An SSLError has numbers of its own where other errors have the operating system's.
    cause = None if isinstance(lost_by, ssl.SSLError) else own_cause_of(lost_by)
    if isinstance(error.__cause__, MemoryError):
        cause = Cause.MEMORY
    return None if cause is None else Trouble(cause, reply=str(lost_by or error.__cause__))


def _lost(error: BaseException, head_bytes: int) -> Exception:
    # Under TLS 1.3 the server's alert to our handshake may come only now, as the reason of the connection's end.
    if isinstance(error, ssl.SSLError):
        return Trouble(cause_of_tls(error), reply=f"TLS: {error}")
    cause = cause_of_errno(error.errno if isinstance(error, OSError) else None)
    if cause is not Cause.RESET:
        return Trouble(cause, reply=str(error))
    return NoReply(Ended.RESET_IN_HEAD if head_bytes else Ended.RESET_BEFORE_REPLY)


def _tls_ended(error: OSError) -> Exception:
    if error.errno is None and isinstance(error, ConnectionError):  # The loop's word for an end of file here.
        return NoReply(Ended.TLS_CLOSED)
    cause = cause_of_errno(error.errno)
    return NoReply(Ended.TLS_RESET) if cause is Cause.RESET else Trouble(cause, reply=f"TLS: {error}")


async def _read_body(connection: HttpConnection, content: StreamReader, chunks: list[bytes]) -> Ending:
    size = 0
    try:
        while not content.at_eof():
            chunk = await content.readany()
            chunks.append(chunk)
            size += len(chunk)
            if size > BODY_BYTES_MAX:
                return Ending.TOO_LONG
    except (ClientPayloadError, HttpProcessingError, OSError) as error:
        if (trouble := _ours(connection, error)) is not None:
            raise trouble from error
        return Ending.CUT
    return Ending.WHOLE


def _decoded(body: bytes) -> bytes:
    """Unpack a content coding that we did not ask for, within the limit; return b"" if it is broken."""
    try:
        return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(body, BODY_BYTES_MAX)
    except zlib.error:
        return b""
