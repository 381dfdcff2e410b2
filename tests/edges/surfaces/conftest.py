"""A line server that follows a script, certificates to fail with, and surfaces that meet both."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import aiodns
import pytest
import trustme

from probe.clock import SystemClock, monotonic_us
from probe.core.model import Outcome, Surface, Ticket
from probe.settings import Connections, Smtp
from probe.surfaces.smtp import SmtpSurface

USER = "SMTP_Injection"
PASSWORD = "correct-horse-battery"
SECOND = 1_700_000_000

Then = Literal["go on", "close", "reset", "hang"]
GOOD = {
    "banner": b"220 2.0.0 line.example ESMTP\r\n",
    "ehlo": b"250-line.example\r\n250-PIPELINING\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH PLAIN LOGIN\r\n"
    b"250 STARTTLS\r\n",
    "idle": b"",
    "starttls": b"220 2.0.0 continue\r\n",
    "auth": b"235 2.0.0 Authed. Go on.\r\n",
    "mail": b"250 2.0.0 MAIL FROM accepted\r\n",
    "rcpt": b"250 2.0.0 RCPT TO accepted\r\n",
    "data": b"354 3.0.0 continue\r\n",
    "final": b"250 2.0.0 OK 95/6F-30607-EA5D4555\r\n",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What the server does in a phase: say something (None: what is good), perhaps in pieces, and then."""

    say: bytes | None = None
    then: Then = "go on"
    piece_bytes: int = 0
    endlessly: bool = False


Script = dict[str, Act]


@dataclass(slots=True)
class LineServer:
    """An SMTP server on loopback: the i-th connection follows the i-th script, the last script repeats."""

    scripts: list[Script]
    tls: ssl.SSLContext | None = None
    implicit: bool = False
    nagle: bool = False
    port: int = 0
    lines: list[list[bytes]] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    open_connections: int = 0
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)
    heard_mail: asyncio.Event = field(default_factory=asyncio.Event)
    # Set by a test: now the server may do what its script has for `idle`.
    may_leave: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None
    _tasks: set["asyncio.Task[Any]"] = field(default_factory=set)

    @property
    def connections(self) -> int:
        """Count the connections seen."""
        return len(self.lines)

    def count(self, verb: bytes) -> int:
        """Count the commands of one kind over all connections."""
        return sum(line.upper().startswith(verb) for lines in self.lines for line in lines)

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self.tls if self.implicit else None, limit=2**22
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut all connections and end."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.lines.append([])
        self.open_connections += 1
        self.all_closed.clear()
        number = len(self.lines) - 1
        sock = writer.get_extra_info("socket")
        if self.nagle:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        try:
            await self._talk(self.scripts[min(number, len(self.scripts) - 1)], self.lines[number], reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            self.open_connections -= 1
            if not self.open_connections:
                self.all_closed.set()
            self._tasks.discard(task)

    async def _talk(
        self, script: Script, lines: list[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await self._act("banner", script, reader, writer)
        while True:
            line = (await reader.readuntil(b"\n")).rstrip(b"\r\n")
            lines.append(line)
            verb = line.split(b" ")[0].upper()
            if verb == b"EHLO":
                await self._act("ehlo", script, reader, writer)
            elif verb == b"STARTTLS":
                await self._act("starttls", script, reader, writer)
                if "tls" in script:
                    await reader.read(4096)  # the ClientHello
                await self._act("tls", {"tls": Act(say=b""), **script}, reader, writer)
                assert self.tls is not None
                with suppress(OSError):
                    await writer.start_tls(self.tls)
            elif verb == b"AUTH":
                if line.upper().startswith(b"AUTH LOGIN"):
                    for prompt in (b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n"):
                        writer.write(prompt)
                        lines.append((await reader.readuntil(b"\n")).rstrip(b"\r\n"))
                await self._act("auth", script, reader, writer)
            elif verb == b"MAIL":
                self.heard_mail.set()
                await self._act("mail", script, reader, writer)
            elif verb == b"RCPT":
                await self._act("rcpt", script, reader, writer)
            elif verb == b"DATA":
                await self._act("data", script, reader, writer)
                self.messages.append(await reader.readuntil(b"\r\n.\r\n"))
                await self._act("final", script, reader, writer)
                if "idle" in script:
                    await self.may_leave.wait()
                    await self._act("idle", script, reader, writer)
            else:
                if verb == b"QUIT":
                    return
                writer.write(b"502 5.5.1 unknown\r\n")

    async def _act(
        self, phase: str, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        act = script.get(phase, Act())
        data = GOOD[phase] if act.say is None else act.say
        if act.piece_bytes:
            for start in range(0, len(data), act.piece_bytes):
                writer.write(data[start : start + act.piece_bytes])
                await asyncio.sleep(0)
        elif data:
            writer.write(data)
        while act.endlessly:
            writer.write(data)
            await writer.drain()
            await asyncio.sleep(0)
        if act.then == "go on":
            return
        if act.then == "close":
            writer.close()
        if act.then == "reset":
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        await reader.read()
        raise ConnectionResetError


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Give the throw-away authority that clients trust."""
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Give a server's TLS context with a good certificate for 127.0.0.1."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    """Give the context of a client that trusts the throw-away authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


StartLineServer = Callable[..., Awaitable[LineServer]]


@pytest.fixture
async def line_server(server_tls: ssl.SSLContext) -> AsyncIterator[StartLineServer]:
    """Give a function that starts a line server from scripts."""
    started: list[LineServer] = []

    async def start(*scripts: Script, **options: Any) -> LineServer:
        server = LineServer(scripts=list(scripts) or [{}], **{"tls": server_tls, **options})
        await server.start()
        started.append(server)
        return server

    yield start
    for server in started:
        await server.stop()


@dataclass(slots=True)
class SmtpUser:
    """A surface with its tickets counted up."""

    surface: SmtpSurface
    ordinal: int = 0

    async def attempt(self, timeout_s: float = 2.0) -> Outcome:
        """Make the next attempt."""
        ticket = Ticket(target="acme", vantage="here", surface=Surface.SMTP, second=SECOND, ordinal=self.ordinal)
        self.ordinal += 1
        return await self.surface.attempt(ticket, monotonic_us() + int(timeout_s * 1_000_000))


MakeSmtpUser = Callable[..., SmtpUser]


@pytest.fixture
async def smtp_user(client_tls: ssl.SSLContext) -> AsyncIterator[MakeSmtpUser]:
    """Give a function that builds a surface for a port."""
    made: list[SmtpSurface] = []
    resolver = aiodns.DNSResolver()

    def make(
        port: int, *, trust: ssl.SSLContext | None = None, connections: dict[str, Any] | None = None, **options: Any
    ) -> SmtpUser:
        values: dict[str, Any] = {
            "host": "127.0.0.1",
            "port": port,
            "user": USER,
            "password": PASSWORD,
            "sender": "probe@mail.example",
            "recipient": "seen@sink.example",
            **options,
        }
        settings = Smtp(connections=Connections(**{"fresh_every": 0, "uses_max": 100, **(connections or {})}), **values)
        surface = SmtpSurface(
            settings,
            target="acme",
            vantage="here",
            resolver=resolver,
            clock=SystemClock(),
            tls=trust or client_tls,
            in_flight_max=10,
        )
        made.append(surface)
        return SmtpUser(surface)

    yield make
    for surface in made:
        surface.close()
    await resolver.close()


@pytest.fixture
def act() -> type[Act]:
    """Give the word that scripts are made of."""
    return Act
