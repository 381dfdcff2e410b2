"""A server that does at one place of the SMTP dialogue what a case says, and the surface that meets it."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import aiodns
import pytest
import trustme
import uvloop

from probe.clock import SystemClock
from probe.core.conducts_smtp import Conduct, Place, ReplyCase
from probe.core.model import Cause, Outcome, Surface
from probe.settings import Connections, Smtp
from probe.surfaces.smtp import SmtpSurface

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

MANY, FEW = 24, 3
TRIES_MAX = 5
PlayOnce = Callable[[Any, int], Awaitable[Any]]
GOOD = {
    Place.BANNER: b"220 2.0.0 line.example ESMTP\r\n",
    Place.STARTTLS: b"220 2.0.0 continue\r\n",
    Place.AUTH: b"235 2.0.0 Authed. Go on.\r\n",
    Place.MAIL: b"250 2.0.0 MAIL FROM accepted\r\n",
    Place.RCPT: b"250 2.0.0 RCPT TO accepted\r\n",
    Place.DATA: b"354 3.0.0 continue\r\n",
    Place.FINAL: b"250 2.0.0 OK 95/6F-30607-EA5D4555\r\n",
    Place.NEXT_MAIL: b"250 2.0.0 MAIL FROM accepted\r\n",
    Place.NEXT_FINAL: b"250 2.0.0 OK 95/6F-30607-EA5D4556\r\n",
    Place.QUIT: b"221 2.3.0 closing connection\r\n",
    Place.IDLE: b"",
    Place.TLS: b"",
}
OFFERS = b"250-line.example\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH PLAIN LOGIN\r\n"
SAID = {
    Conduct.GARBAGE: b"hello there\r\n",
    Conduct.BINARY: b"\x00\xff\x16\x03\x01\r\n",
    Conduct.TWO_CODES: b"250-one\r\n451 two\r\n",
    Conduct.LONG_LINE: b"250 " + b"x" * 5000 + b"\r\n",
    Conduct.CLOSING: b"421 4.3.2 shutting down\r\n",
    Conduct.REFUSAL_AND_CLOSE: b"451 4.3.0 transaction failed\r\n",
    Conduct.SPLIT_REFUSAL: b"451 4.3.0 transaction failed\r\n",
    Conduct.EXTRA: b"250 and more\r\n",
    Conduct.EXTRA_CLOSING: b"421 4.3.2 shutting down\r\n",
    # TLS records (RFC 8446 section 5.1): fatal alerts, and a handshake record longer than any may be.
    Conduct.ALERT_INTERNAL: b"\x15\x03\x03\x00\x02\x02\x50",
    Conduct.ALERT_HANDSHAKE: b"\x15\x03\x03\x00\x02\x02\x28",
    Conduct.ALERT_VERSION: b"\x15\x03\x03\x00\x02\x02\x46",
    Conduct.LONG_RECORD: b"\x16\x03\x03\xff\xff" + b"\x02" * 70_000,
}
SERVER_HELLO_BEGUN = b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03"
ENDS_BY_CLOSE = {Conduct.CLOSE, Conduct.CLOSING, Conduct.REFUSAL_AND_CLOSE, Conduct.EXTRA_CLOSING}
GOES_ON = {Conduct.SPLIT, Conduct.EXTRA, Conduct.NO_STARTTLS}
CERTIFICATES = {Conduct.EXPIRED, Conduct.NOT_YET_VALID, Conduct.WRONG_NAME, Conduct.UNKNOWN_AUTHORITY}


@dataclass(slots=True)
class Actor:
    """An SMTP server on loopback that is good but at one place, on its first connection."""

    place: Place
    case: Any
    contexts: dict[Conduct | None, ssl.SSLContext]
    implicit: bool = False
    pipelining: bool = True
    login_step: int = -1
    crowd: int = 0  # so many connections come first, and are left without a word
    connections: int = 0
    open_connections: int = 0
    acted: bool = False
    has_acted: asyncio.Event = field(default_factory=asyncio.Event)
    may_leave: asyncio.Event = field(default_factory=asyncio.Event)
    is_crowded: asyncio.Event = field(default_factory=asyncio.Event)
    all_closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def conduct(self) -> Conduct | None:
        """Name what it does, unless it is a reply."""
        return None if isinstance(self.case, ReplyCase) else self.case.conduct

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold one connection, and leave when the other side does."""
        self.connections += 1
        self.open_connections += 1
        if self.open_connections == self.crowd:
            self.is_crowded.set()
        talk = Talk(self, self.connections == 1 + self.crowd, reader, writer)
        try:
            with suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                await (reader.read() if self.connections <= self.crowd else talk.hold())
        finally:
            writer.transport.abort()
            self.open_connections -= 1
            if not self.open_connections:
                self.all_closed.set()


@dataclass(slots=True)
class Talk:
    """One connection of an actor."""

    actor: Actor
    is_stage: bool
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    messages: int = 0
    is_tls: bool = False

    async def hold(self) -> None:
        """Lead the dialogue."""
        if self.actor.implicit:
            await self._tls()
        await self._say(Place.BANNER)
        while True:
            line = (await self.reader.readuntil(b"\n")).rstrip(b"\r\n")
            verb = line.split(b" ")[0].upper()
            if verb == b"EHLO":
                await self._say(Place.SECOND_EHLO if self.is_tls else Place.EHLO)
            elif verb == b"STARTTLS":
                await self._say(Place.STARTTLS)
                await self._tls()
            elif verb == b"AUTH":
                await self._auth(line)
            elif verb == b"MAIL":
                self.messages += 1
                await self._say(Place.MAIL if self.messages == 1 else Place.NEXT_MAIL)
            elif verb == b"RCPT":
                await self._say(Place.RCPT)
            elif verb == b"DATA":
                await self._say(Place.DATA)
                if self._is_due(Place.FINAL) and self.actor.conduct is Conduct.DEAF:
                    await self._be_deaf()
                await self.reader.readuntil(b"\r\n.\r\n")
                await self._say(Place.FINAL if self.messages == 1 else Place.NEXT_FINAL)
                await self._say(Place.IDLE)
            elif verb == b"QUIT":
                await self._say(Place.QUIT)
                return

    def _is_due(self, place: Place) -> bool:
        return self.is_stage and place is self.actor.place and not self.actor.acted

    async def _say(self, place: Place) -> None:
        good = GOOD.get(place)
        if good is None:
            offers = OFFERS + (b"250-PIPELINING\r\n" if self.actor.pipelining else b"")
            hides = self._is_due(place) and self.actor.conduct is Conduct.NO_STARTTLS
            good = offers + (b"250 8BITMIME\r\n" if hides else b"250 STARTTLS\r\n")
        if self._is_due(place) and not (place is Place.AUTH and self.actor.login_step in (0, 1)):
            await self._act(good)
        else:
            self.writer.write(good)

    async def _auth(self, line: bytes) -> None:
        if line.upper().startswith(b"AUTH LOGIN"):
            for step, prompt in enumerate((b"334 VXNlcm5hbWU6\r\n", b"334 UGFzc3dvcmQ6\r\n")):
                if step == self.actor.login_step and self._is_due(Place.AUTH):
                    await self._act(prompt)
                self.writer.write(prompt)
                await self.reader.readuntil(b"\n")
        await self._say(Place.AUTH)

    async def _act(self, good: bytes) -> None:
        """Do what the case says; return only if the dialogue goes on."""
        if self.actor.place is Place.IDLE:
            await asyncio.sleep(0.01)  # The message before must have ended.
        self.actor.acted = True
        conduct = self.actor.conduct
        if conduct is None:
            self.writer.write(self.actor.case.reply.encode() + b"\r\n")
        else:
            await self._conduct(conduct, good)
        self.actor.has_acted.set()
        if conduct in ENDS_BY_CLOSE:
            self.writer.close()
        elif conduct is Conduct.RESET:
            await asyncio.sleep(0.01)  # What was said before must have arrived.
            reset(self.writer)
        if conduct not in GOES_ON:
            # Reads on until the other side has left; what a refused dialogue still holds is not answered.
            while await self.reader.read(65_536):
                pass
            raise ConnectionResetError

    async def _conduct(self, conduct: Conduct, good: bytes) -> None:
        said = SAID.get(conduct, b"")
        if conduct in (Conduct.EXTRA, Conduct.EXTRA_CLOSING, Conduct.NO_STARTTLS):
            self.writer.write(good + said)
        elif conduct in (Conduct.SPLIT, Conduct.SPLIT_REFUSAL):
            for byte in said or good:
                self.writer.write(bytes([byte]))
                await asyncio.sleep(0)
        elif conduct is Conduct.DRIP:
            for byte in SERVER_HELLO_BEGUN if self.actor.place is Place.TLS else good:
                self.writer.write(bytes([byte]))
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.actor.may_leave.wait(), 1.0)
                    return
        elif conduct in (Conduct.ENDLESS_LINES, Conduct.ENDLESS_LINE):
            while True:
                self.writer.write(b"250-and\r\n" * 50 if conduct is Conduct.ENDLESS_LINES else b"250 " + b"x" * 500)
                await self.writer.drain()
                await asyncio.sleep(0)
        elif said:
            self.writer.write(said)

    async def _tls(self) -> None:
        conduct = self.actor.conduct if self._is_due(Place.TLS) else None
        context = self.actor.contexts[conduct if conduct in CERTIFICATES else None]
        if conduct in CERTIFICATES or conduct is Conduct.SPLIT:
            self.actor.acted = True
        elif conduct is not None:
            await self.reader.read(4096)  # the ClientHello
            await self._act(b"")
        try:
            await self.writer.start_tls(context)
        finally:
            self.actor.has_acted.set()
        self.is_tls = True

    async def _be_deaf(self) -> None:
        self.actor.acted = True
        # uvloop's transports have the interface and not the base class.
        transport = cast(asyncio.ReadTransport, self.writer.transport)
        transport.pause_reading()
        await self.actor.may_leave.wait()
        transport.resume_reading()


@dataclass(slots=True)
class Stage:
    """Where an actor and a surface meet."""

    contexts: dict[Conduct | None, ssl.SSLContext]
    client_tls: ssl.SSLContext
    resolver: aiodns.DNSResolver

    def surface(self, port: int, *, keeps: bool = False, in_flight_max: int = 10, **options: Any) -> SmtpSurface:
        """Make a surface for a port."""
        values: dict[str, Any] = {
            "host": HOST,
            "port": port,
            "user": "SMTP_Injection",
            "password": "correct-horse",
        }
        values |= {"sender": "probe@mail.example", "recipient": "seen@sink.example", **options}
        values["connections"] = Connections(mode="kept" if keeps else "fresh", fresh_every=0, uses_max=100)
        return SmtpSurface(
            Smtp(**values),
            target="acme",
            vantage="here",
            resolver=self.resolver,
            clock=SystemClock(),
            tls=self.client_tls,
            in_flight_max=in_flight_max,
        )

    async def attempt(self, surface: SmtpSurface, within_s: float) -> Outcome:
        """Make one attempt."""
        return await attempt(surface, Surface.SMTP, within_s)

    async def play(self, play: Any, within_s: float) -> Seen:
        """Play one case once."""
        if play.place is Place.CONNECT:
            return await self._connect(play.case.conduct, within_s)
        options = dict(play.variant)
        actor = Actor(place=play.place, case=play.case, contexts=self.contexts, **options)
        is_deaf = actor.conduct is Conduct.DEAF
        with socket.create_server((HOST, 0)) as listener:
            send_at_once(listener)
            if is_deaf:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            server = await asyncio.start_server(actor.serve, sock=listener, limit=2**22)
            hands = Relay(listener.getsockname()[1])
            relay = await asyncio.start_server(hands.serve, HOST, 0)
            is_relayed = play.place is Place.TLS and actor.conduct is Conduct.SPLIT
            surface = self.surface(
                (relay if is_relayed else server).sockets[0].getsockname()[1],
                keeps=play.place in (Place.IDLE, Place.NEXT_MAIL, Place.NEXT_FINAL),
                in_flight_max=1 + actor.crowd,
                tls="implicit" if actor.implicit else "starttls",
                auth="plain" if actor.login_step < 0 else "login",
                headers={f"X-Load-{number}": "load " * 1400 for number in range(40)} if is_deaf else {},
            )
            try:
                outcome = await self._attempts(surface, actor, within_s)
                left = await self._left_behind(surface, actor)
                if is_relayed:
                    await asyncio.wait_for(hands.has_left.wait(), SETTLE_S)
            finally:
                server.close()
                relay.close()
        return Seen(
            outcome=outcome,
            within_s=within_s,
            acted=actor.acted,
            connections=actor.connections - actor.crowd,
            left_behind=left,
        )

    async def _attempts(self, surface: SmtpSurface, actor: Actor, within_s: float) -> Outcome:
        if actor.place in (Place.IDLE, Place.NEXT_MAIL, Place.NEXT_FINAL):
            before = await self.attempt(surface, 20.0)
            assert before.cause == "accepted", f"the first message ended as {before.cause}"
            if actor.place is Place.IDLE:
                await let_it_come(actor.has_acted)
        crowd = [asyncio.create_task(self.attempt(surface, 60.0)) for _ in range(actor.crowd)]
        if crowd:
            await asyncio.wait_for(actor.is_crowded.wait(), SETTLE_S)
        outcome = await self.attempt(surface, within_s)
        for one in crowd:
            one.cancel()
        await asyncio.gather(*crowd)
        if actor.place is Place.QUIT:
            await asyncio.wait_for(actor.all_closed.wait() if actor.acted else asyncio.sleep(0.05), SETTLE_S)
        return outcome

    async def _left_behind(self, surface: SmtpSurface, actor: Actor) -> tuple[str, ...]:
        surface.close()
        actor.may_leave.set()
        try:
            await asyncio.wait_for(actor.all_closed.wait(), SETTLE_S)
        except TimeoutError:
            return (f"{actor.open_connections} connections are left open at the server",)
        await asyncio.sleep(0)
        return (f"{surface.open_connections} connections are left open",) if surface.open_connections else ()

    async def _connect(self, conduct: Conduct, within_s: float) -> Seen:
        with socket.socket() as listener:
            listener.bind((HOST, 0))
            surface = self.surface(listener.getsockname()[1])
            is_full = conduct is not Conduct.NOBODY
            return await attempt_at_nobody(listener, surface, Surface.SMTP, within_s, is_full=is_full)


@dataclass(slots=True)
class Relay:
    """Hands on what a server says in packets of one byte, for one connection."""

    port: int
    has_left: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hand on in both directions until the server has left."""
        inner_reader, inner_writer = await asyncio.open_connection(HOST, self.port)

        async def hand_on() -> None:
            while data := await reader.read(65_536):
                inner_writer.write(data)
            inner_writer.close()

        back = asyncio.create_task(hand_on())
        with suppress(OSError):
            while data := await inner_reader.read(65_536):
                for byte in data:
                    writer.write(bytes([byte]))
                    await asyncio.sleep(0)
        back.cancel()
        with suppress(asyncio.CancelledError, OSError):
            await back
        inner_writer.transport.abort()
        writer.transport.abort()
        await asyncio.sleep(0)  # Aborted transports free their sockets in the loop's next turn.
        self.has_left.set()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Play on the loop that the daemon runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(scope="session")
def bad_certificates(authority: trustme.CA) -> dict[str, ssl.SSLContext]:
    """Give server contexts by what is wrong with their certificates."""
    now = datetime.now(UTC)
    day = timedelta(days=1)
    certificates = {
        "good": authority.issue_cert(HOST),
        "expired": authority.issue_cert(HOST, not_before=now - 3 * day, not_after=now - day),
        "not yet valid": authority.issue_cert(HOST, not_before=now + day, not_after=now + 3 * day),
        "wrong name": authority.issue_cert("other.example"),
        "unknown authority": trustme.CA().issue_cert(HOST),
    }
    contexts = {}
    for name, certificate in certificates.items():
        contexts[name] = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(contexts[name])
    return contexts


@pytest.fixture
async def smtp_stage(client_tls: ssl.SSLContext, bad_certificates: dict[str, ssl.SSLContext]) -> AsyncIterator[Stage]:
    """Give a stage on which SMTP cases are played."""
    contexts: dict[Conduct | None, ssl.SSLContext] = {
        None: bad_certificates["good"],
        Conduct.EXPIRED: bad_certificates["expired"],
        Conduct.NOT_YET_VALID: bad_certificates["not yet valid"],
        Conduct.WRONG_NAME: bad_certificates["wrong name"],
        Conduct.UNKNOWN_AUTHORITY: bad_certificates["unknown authority"],
    }
    resolver = aiodns.DNSResolver()
    yield Stage(contexts, client_tls, resolver)
    await resolver.close()


async def play_all(plays: Sequence[Any], play: PlayOnce) -> list[Any]:
    """Return what came of each play: many at a time, and again, few at a time, what the machine was too busy for.

    A machine that can't bring an attempt to its place, or whose loop stood still, has shown nothing about the case.
    """
    found: dict[int, Any] = {}
    for number in range(TRIES_MAX):
        gate = asyncio.Semaphore(FEW if number else MANY)
        stretch = 1 + number

        async def one(index: int, gate: asyncio.Semaphore = gate, stretch: int = stretch) -> None:
            async with gate:
                try:
                    found[index] = await play(plays[index], stretch)
                except Exception as error:  # noqa: BLE001  Whatever is raised is a disagreement too.
                    found[index] = f"raised {error!r}"

        again = [index for index in range(len(plays)) if index not in found or _has_shown_nothing(found[index])]
        await asyncio.gather(*map(one, again))
    return [found[index] for index in range(len(plays))]


def _has_shown_nothing(seen: Any) -> bool:
    return isinstance(seen, str) or seen.outcome.cause is Cause.STALLED or not seen.acted


@pytest.fixture(scope="session")
def together() -> Callable[[Sequence[Any], PlayOnce], Awaitable[list[Any]]]:
    """Give a function that plays many cases."""
    return play_all


@pytest.fixture(scope="session")
def relay_of() -> type[Relay]:
    """Give what hands on a port in packets of one byte."""
    return Relay
