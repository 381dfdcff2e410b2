"""A server that does to one call of the API what a case of the tables says, and the surface that meets it."""

import asyncio
import json
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import aiodns

from probe.clock import SystemClock
from probe.core.conducts_api import Answer, Body, Conduct
from probe.core.model import Outcome, Surface
from probe.settings import Api
from probe.surfaces.api import ApiSurface

if TYPE_CHECKING:
    from tests.edges.surfaces.conducts.play import (
        HOST,
        SETTLE_S,
        Seen,
        attempt,
        attempt_at_nobody,
        let_it_come,
        reset,
        send_at_once,
    )
else:
    from play import HOST, SETTLE_S, Seen, attempt, attempt_at_nobody, let_it_come, reset, send_at_once

RESULTS = {"total_rejected_recipients": 0, "total_accepted_recipients": 1, "id": "102258558346809186"}
HTML = b"<html><head><title>Bad</title></head><center>openresty/1.9.15.1</center></html>"
BODIES = {
    Body.RESULTS: json.dumps({"results": RESULTS}).encode(),
    Body.WITH_ERRORS: json.dumps({"results": RESULTS, "errors": [{"code": "2000", "message": "odd"}]}).encode(),
    Body.NONE_ACCEPTED: b'{"results":{"total_accepted_recipients":0,"id":"1"}}',
    Body.ERRORS: b'{"errors":[{"message":"no"}]}',
    Body.JSON: b'{"status":"fine"}',
    Body.HTML: HTML,
    Body.LOGIN: b"<html><form action=/login>Please log in</form></html>",
    Body.TEXT: b"no such luck",
    Body.EMPTY: b"",
}
ANSWERS = {
    Answer.ACCEPTED: (200, BODIES[Body.RESULTS]),
    Answer.REFUSED: (400, BODIES[Body.ERRORS]),
    Answer.RESOURCES: (400, b'{"errors":[{"message":"Server resources unavailable","code":"1502"}]}'),
    Answer.KEY: (401, BODIES[Body.ERRORS]),
    Answer.SICK: (503, BODIES[Body.ERRORS]),
    Answer.TIMEOUT: (504, HTML),
}
# TLS records (RFC 8446 section 5.1): fatal alerts, and a handshake record longer than any may be.
RECORDS = {
    Conduct.ALERT_INTERNAL: b"\x15\x03\x03\x00\x02\x02\x50",
    Conduct.ALERT_HANDSHAKE: b"\x15\x03\x03\x00\x02\x02\x28",
    Conduct.ALERT_VERSION: b"\x15\x03\x03\x00\x02\x02\x46",
    Conduct.LONG_RECORD: b"\x16\x03\x03\xff\xff" + b"\x02" * 70_000,
    Conduct.PLAIN_HTTP: b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    Conduct.TLS_SILENCE: b"",
    Conduct.TLS_CLOSE: b"",
    Conduct.TLS_RESET: b"",
    Conduct.TLS_DRIP: b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03",
}
CERTIFICATES = {Conduct.EXPIRED, Conduct.NOT_YET_VALID, Conduct.WRONG_NAME, Conduct.UNKNOWN_AUTHORITY}
OK, INTERIM = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"
SAID = {
    Conduct.CLOSE_IN_HEAD: OK,
    Conduct.RESET_IN_HEAD: OK,
    Conduct.STALL_IN_HEAD: OK,
    Conduct.DRIP_HEAD: OK,
    Conduct.INTERIM_SILENCE: INTERIM,
    Conduct.INTERIM_CLOSE: b"HTTP/1.1 103 Early Hints\r\n\r\n",
    Conduct.GARBAGE: b"hello there\r\n\r\n",
    Conduct.BANNER: b"220 mail.example ESMTP\r\n",
    Conduct.HTTP_2: b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + b"\x00" * 18,
    Conduct.NO_STATUS: b"HTTP/1.1 abc OK\r\n\r\n",
    Conduct.LOW_STATUS: b"HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n",
    Conduct.LONG_STATUS: b"HTTP/1.1 2000 Long\r\nContent-Length: 0\r\n\r\n",
    Conduct.BAD_LENGTH: OK + b"Content-Length: many\r\n\r\n{}",
    Conduct.TWO_LENGTHS: OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ",
    Conduct.KEPT_408: b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n",
    Conduct.KEPT_421: b"HTTP/1.1 421 Misdirected\r\nContent-Length: 0\r\n\r\n",
    Conduct.KEPT_503: b"HTTP/1.1 503 Sick\r\nContent-Length: 0\r\n\r\n",
    Conduct.INTERIM_100: INTERIM,
    Conduct.INTERIM_102: b"HTTP/1.1 102 Processing\r\n\r\n",
    Conduct.INTERIM_103: b"HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\n",
}
ENDLESS = {
    Conduct.ENDLESS_HEADERS: (OK, b"X-More: yes\r\n" * 50),
    Conduct.ENDLESS_HEADER: (OK + b"X: ", b"x" * 1000),
    Conduct.ENDLESS_INTERIM: (b"", INTERIM),
}
CLOSES = {
    Conduct.TLS_CLOSE,
    Conduct.CLOSE,
    Conduct.CLOSE_IN_HEAD,
    Conduct.INTERIM_CLOSE,
    Conduct.KEPT_CLOSE,
    Conduct.KEPT_CLOSE_LATER,
    Conduct.UNTIL_CLOSE,
    Conduct.HTTP_1_0,
    Conduct.CLOSE_AFTER,
    Conduct.TRUNCATED,
    Conduct.CHUNK_CUT,
}
RESETS = {
    Conduct.TLS_RESET,
    Conduct.RESET,
    Conduct.RESET_IN_HEAD,
    Conduct.KEPT_RESET,
    Conduct.KEPT_RESET_LATER,
    Conduct.RESET_AFTER,
    Conduct.RESET_IN_BODY,
}
DRIPS = {Conduct.TLS_DRIP, Conduct.DRIP_HEAD, Conduct.DRIP}
BETWEEN_CALLS = {Conduct.KEPT_CLOSE, Conduct.KEPT_RESET}
DEAF = {Conduct.DEAF: 60_000, Conduct.DEAF_TO_MUCH: 8_000_000}
KEPT = {conduct for conduct in Conduct if conduct.name.startswith("KEPT")}


def whole(status: int, body: bytes, more: bytes = b"") -> bytes:
    """Write a whole reply of known length."""
    return _head(status, body, b"Content-Length: %d\r\n" % len(body) + more) + body


def _head(status: int, body: bytes, fields: bytes, version: bytes = b"1.1") -> bytes:
    kind = b"text/html" if body.startswith(b"<") else b"application/json"
    return b"HTTP/%b %d Reason\r\nContent-Type: %b\r\n%b\r\n" % (version, status, kind, fields)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def sent(conduct: Conduct, status: int, body: bytes) -> tuple[bytes, bytes]:
    """Return what is sent at once of an answer, and what follows piece by piece or again and again."""
    half, chunked = len(body) // 2, _head(status, body, b"Transfer-Encoding: chunked\r\n")
    length = b"Content-Length: %d\r\n" % len(body)
    first = chunked + _chunk(body[:half])
    pieces: dict[Conduct, tuple[bytes, bytes]] = {
        Conduct.SPLIT: (b"", whole(status, body)),
        Conduct.CHUNKED: (first + _chunk(body[half:]) + b"0\r\n\r\n", b""),
        Conduct.UNTIL_CLOSE: (_head(status, body, b"Connection: close\r\n") + body, b""),
        Conduct.HTTP_1_0: (_head(status, body, length, b"1.0") + body, b""),
        Conduct.EXTRA: (whole(status, body) + whole(200, BODIES[Body.RESULTS]), b""),
        Conduct.TRUNCATED: (_head(status, body, length) + body[:half], b""),
        Conduct.RESET_IN_BODY: (_head(status, body, length) + body[:half], b""),
        Conduct.CHUNK_CUT: (first, b""),
        Conduct.CHUNK_BAD: (first + b"zz\r\n", b""),
        Conduct.TOO_SHORT: (_head(status, body, b"Content-Length: %d\r\n" % half) + body, b""),
        Conduct.TOO_LONG: (_head(status, body, b"Content-Length: %d\r\n" % (len(body) + 100)) + body, b""),
        Conduct.CHUNK_STALL: (first, b""),
        Conduct.DRIP: (_head(status, body, length), body),
        Conduct.ENDLESS_BODY: (_head(status, body, b"Connection: close\r\n") + body, b" " * 1000),
        Conduct.ENDLESS_CHUNKS: (first, _chunk(b" " * 1000)),
    }
    return pieces.get(conduct, (SAID.get(conduct, b"") + whole(status, body), b""))


@dataclass(slots=True)
class Actor:
    """A server on loopback that answers well but for what its case says, on its first connection."""

    conduct: Conduct
    contexts: dict[Conduct | None, ssl.SSLContext]
    status: int = 0
    body: bytes = b""
    connections: int = 0
    open_connections: int = 0
    acted: bool = False
    has_acted: asyncio.Event = field(default_factory=asyncio.Event)
    may_leave: asyncio.Event = field(default_factory=asyncio.Event)
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one connection, and leave when the other side does."""
        self.connections += 1
        self.open_connections += 1
        try:
            with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError):
                await self._hold(reader, writer, is_stage=self.connections == 1)
        finally:
            writer.transport.abort()
            self.open_connections -= 1
            if not self.open_connections:
                self.all_closed.set()

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_stage: bool) -> None:
        if is_stage and self.conduct in RECORDS:
            await reader.read(4096)  # the ClientHello
            await self._act(reader, writer, RECORDS[self.conduct], b"")
        self.acted |= self.conduct in CERTIFICATES
        if self.conduct in DEAF:
            await self._be_deaf(writer)
        else:
            await writer.start_tls(self.contexts[self.conduct if self.conduct in CERTIFICATES else None])
        calls = 0
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0]))
            calls += 1
            is_kept = self.conduct in KEPT
            if not is_stage or (is_kept and calls == 1):
                writer.write(whole(200, BODIES[Body.RESULTS]))
                if not is_stage or self.conduct not in BETWEEN_CALLS:
                    continue
                await asyncio.sleep(0.01)  # The call before must have ended.
            if self.status:
                await self._act(reader, writer, *sent(self.conduct, self.status, self.body))
            await self._act(reader, writer, SAID.get(self.conduct, b""), b"")

    async def _act(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, first: bytes, then: bytes) -> None:
        self.acted = True
        if self.conduct in DRIPS:
            writer.write(first if then else b"")
            await self._drip(writer, then or first)
        elif self.conduct in ENDLESS or self.conduct in (Conduct.ENDLESS_BODY, Conduct.ENDLESS_CHUNKS):
            first, then = ENDLESS.get(self.conduct, (first, then))
            writer.write(first)
            while True:
                writer.write(then)
                await writer.drain()
                await asyncio.sleep(0)
        else:
            writer.write(first)
            for byte in then:
                writer.write(bytes([byte]))
                await asyncio.sleep(0)
        if self.conduct in CLOSES:
            writer.close()
        elif self.conduct in RESETS:
            await asyncio.sleep(0.01)  # What was said before must have arrived.
            reset(writer)
        self.has_acted.set()
        while await reader.read(65_536):
            pass
        raise ConnectionResetError

    async def _drip(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        for byte in data:
            writer.write(bytes([byte]))
            with suppress(TimeoutError):
                await asyncio.wait_for(self.may_leave.wait(), 1.0)
                return

    async def _be_deaf(self, writer: asyncio.StreamWriter) -> None:
        self.acted = True
        # uvloop's transports have the interface and not the base class.
        transport = cast(asyncio.ReadTransport, writer.transport)
        transport.pause_reading()
        await self.may_leave.wait()
        transport.resume_reading()


@dataclass(slots=True)
class ApiStage:
    """Where an actor and a surface meet."""

    contexts: dict[Conduct | None, ssl.SSLContext]
    client_tls: ssl.SSLContext
    resolver: aiodns.DNSResolver
    relay_of: Callable[[int], Any]

    def surface(self, port: int, *, keeps: bool = False, letters: int = 0) -> ApiSurface:
        """Make a surface for a port, with a message of so many letters."""
        settings: dict[str, Any] = {"key": "4f1cfc8a7b60d1c2"}
        settings["connections"] = {"mode": "kept" if keeps else "fresh", "fresh_every": 0}
        body = {"metadata": {"probe": "{message_id}"}, "text": "x" * letters}
        # Under TLS the server's own TLS layer would go on taking bytes.
        scheme = "http" if letters else "https"
        return ApiSurface(
            Api(base_url=f"{scheme}://{HOST}:{port}/api/v1", body=body, **settings),
            target="acme",
            vantage="here",
            resolver=self.resolver,
            clock=SystemClock(),
            tls=self.client_tls,
            in_flight_max=10,
        )

    async def play(self, conduct: Conduct, within_s: float, status: int = 0, body: bytes = b"") -> Seen:
        """Play one case once."""
        if conduct in (Conduct.NOBODY, Conduct.FULL):
            return await self._connect(conduct, within_s)
        actor = Actor(conduct=conduct, contexts=self.contexts, status=status, body=body)
        with socket.create_server((HOST, 0)) as listener:
            send_at_once(listener)
            if conduct in DEAF:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            server = await asyncio.start_server(actor.serve, sock=listener, limit=2**17)
            port = listener.getsockname()[1]
            hands = self.relay_of(port)
            relay = await asyncio.start_server(hands.serve, HOST, 0)
            if conduct is Conduct.TLS_SPLIT:
                port = relay.sockets[0].getsockname()[1]
            surface = self.surface(port, keeps=conduct in KEPT, letters=DEAF.get(conduct, 0))
            try:
                outcome = await self._attempts(surface, actor, within_s)
                left = await _left_behind(surface, actor)
                if conduct is Conduct.TLS_SPLIT:
                    await asyncio.wait_for(hands.has_left.wait(), SETTLE_S)
            finally:
                server.close()
                relay.close()
        return Seen(
            outcome=outcome, within_s=within_s, acted=actor.acted, connections=actor.connections, left_behind=left
        )

    async def _attempts(self, surface: ApiSurface, actor: Actor, within_s: float) -> Outcome:
        if actor.conduct in KEPT:
            before = await attempt(surface, Surface.API, 20.0)
            assert before.cause == "accepted", f"the first call ended as {before.cause}"
        if actor.conduct in BETWEEN_CALLS:
            await let_it_come(actor.has_acted)
        return await attempt(surface, Surface.API, within_s)

    async def _connect(self, conduct: Conduct, within_s: float) -> Seen:
        with socket.socket() as listener:
            listener.bind((HOST, 0))
            surface = self.surface(listener.getsockname()[1])
            is_full = conduct is not Conduct.NOBODY
            return await attempt_at_nobody(listener, surface, Surface.API, within_s, is_full=is_full)


async def _left_behind(surface: ApiSurface, actor: Actor) -> tuple[str, ...]:
    surface.close()
    actor.may_leave.set()
    try:
        await asyncio.wait_for(actor.all_closed.wait(), SETTLE_S)
    except TimeoutError:
        return (f"{actor.open_connections} connections are left open at the server",)
    return ()
