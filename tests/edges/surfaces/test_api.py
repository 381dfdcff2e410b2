"""The API surface on real sockets, against a server that does exactly what its script says."""

import asyncio
import contextlib
import gzip
import itertools
import json
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiodns
import pytest
import structlog
import trustme

from probe.clock import SystemClock, monotonic_us
from probe.core.model import Cause, Connection, Fault, Outcome, Phase, Surface, Ticket
from probe.settings import Api
from probe.surfaces.api import ApiSurface
from probe.surfaces.http import BODY_BYTES_MAX

KEY = "4f1cfc8a7b60d1c2f9b5d0e6a7c8b9a0"
RESULTS = b'{"results":{"total_rejected_recipients":0,"total_accepted_recipients":1,"id":"10225855834"}}'
HTML = b"<html><head><title>400 Bad Request</title></head><center>openresty/1.9.15.1</center></html>"
SHORT_S = 0.2
LONG_S = 2.0

Script = Callable[["Call"], Awaitable[None]]


@dataclass
class Call:
    """One request as the server read it, and the means to answer it."""

    number: int
    connection: int
    head: str
    body: bytes
    writer: asyncio.StreamWriter

    async def say(self, *pieces: bytes) -> None:
        """Write, and wait until it has left."""
        for piece in pieces:
            self.writer.write(piece)
        with contextlib.suppress(OSError):
            await self.writer.drain()

    async def reply(self, status: int, body: bytes, content_type: str = "application/json", more: str = "") -> None:
        """Write a whole reply of known length."""
        await self.say(
            f"HTTP/1.1 {status} Reason\r\nContent-Type: {content_type}\r\n{more}"
            f"Content-Length: {len(body)}\r\n\r\n".encode(),
            body,
        )

    def reset(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()


@dataclass
class Provider:
    """A server on loopback that counts what reaches it."""

    script: Script
    port: int = 0
    connections: int = 0
    calls: list[Call] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read requests off one connection and hand each to the script."""
        self.connections += 1
        connection = self.connections
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    int(line[15:]) for line in head.split("\r\n") if line.lower().startswith("content-length")
                )
                body = await reader.readexactly(length)
                call = Call(len(self.calls) + 1, connection, head, body, writer)
                self.calls.append(call)
                self.called.set()
                await self.script(call)
        with contextlib.suppress(OSError):
            writer.close()


Serve = Callable[..., Awaitable[Provider]]
Make = Callable[..., ApiSurface]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Give a throw-away certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """Give a client context that trusts it and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def server_context(authority: trustme.CA, name: str = "127.0.0.1", **more: Any) -> ssl.SSLContext:
    """Make a server context with a certificate for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, **more).configure_cert(context)
    return context


@pytest.fixture
async def serve(authority: trustme.CA) -> AsyncIterator[Serve]:
    """Give a function that starts a provider: TLS with a good certificate unless told otherwise."""
    started: list[tuple[asyncio.Server, Provider]] = []
    good = server_context(authority)

    async def start(script: Script, *, tls: ssl.SSLContext | None = good) -> Provider:
        provider = Provider(script)
        server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=tls)
        provider.port = server.sockets[0].getsockname()[1]
        started.append((server, provider))
        return provider

    yield start
    for server, provider in started:
        server.close()
        for writer in provider.writers:
            writer.transport.abort()
    await asyncio.sleep(0.005)  # Aborted transports free their sockets in the loop's next turns.


@pytest.fixture
async def make(trusting: ssl.SSLContext) -> AsyncIterator[Make]:
    """Give a function that makes a surface for a provider or a URL."""
    made: list[ApiSurface] = []
    resolver = aiodns.DNSResolver()

    def build(
        aim: Provider | str,
        *,
        tls: ssl.SSLContext | None = trusting,
        in_flight_max: int = 10,
        resolver: aiodns.DNSResolver = resolver,
        target: str = "acme",
        **settings: Any,
    ) -> ApiSurface:
        base_url = aim if isinstance(aim, str) else f"https://127.0.0.1:{aim.port}/api/v1"
        settings = {"key": KEY, "body": {"metadata": {"probe": "{message_id}"}}, **settings}
        settings.setdefault("connections", {"fresh_every": 0})
        surface = ApiSurface(
            Api(base_url=base_url, **settings),
            target=target,
            vantage="ams1",
            resolver=resolver,
            clock=SystemClock(),
            tls=tls,
            in_flight_max=in_flight_max,
        )
        made.append(surface)
        return surface

    yield build
    for surface in made:
        surface.close()
    await resolver.close()
    await asyncio.sleep(0.005)


def ticket(ordinal: int = 0, target: str = "acme") -> Ticket:
    """Name an attempt."""
    return Ticket(target=target, vantage="ams1", surface=Surface.API, second=1_700_000_000, ordinal=ordinal)


async def attempt(surface: ApiSurface, within_s: float = LONG_S, ordinal: int = 0) -> Outcome:
    """Make one attempt."""
    return await surface.attempt(ticket(ordinal), monotonic_us() + int(within_s * 1e6))


async def accept(call: Call) -> None:
    """Accept the message."""
    await call.reply(200, RESULTS)


async def never(call: Call) -> None:
    """Never answer."""
    await asyncio.Event().wait()


def phases_of(outcome: Outcome) -> list[Phase]:
    """Name the phases that were timed, in order."""
    return [phase for phase, _ in outcome.phases]


async def test_an_accepted_call_says_how_it_went(serve: Serve, make: Make) -> None:
    """The outcome holds the status, the success id, the address and every phase's own time."""
    provider = await serve(accept)

    outcome = await attempt(make(provider))

    assert (outcome.fault, outcome.cause, outcome.code, outcome.reply) == (
        Fault.NONE,
        Cause.ACCEPTED,
        200,
        "10225855834",
    )
    assert (outcome.connection, outcome.address) == (Connection.FRESH, "127.0.0.1")
    assert phases_of(outcome) == [Phase.CONNECT, Phase.TLS, Phase.REQUEST, Phase.FIRST_BYTE, Phase.BODY]
    assert sum(duration_us for _, duration_us in outcome.phases) <= outcome.duration_us
    assert not outcome.maybe_accepted
    assert outcome.message_id == "1700000000.0.api.acme.ams1"


async def test_the_request_is_one_post_with_the_ids_filled_in(serve: Serve, make: Make) -> None:
    """Ids are written into the JSON as JSON, the provider's own placeholders stay, and so does every header."""
    provider = await serve(accept)
    body = {"a": 'it is "{second}" 100% {{second}} é', "b": ["{message_id}", "{ordinal}"], "c": "{target}@{vantage}"}
    surface = make(
        provider, target='ac"me', body=body, headers={"X-Probe": "{message_id}", "user-agent": "other", "X-P": "100%"}
    )

    await surface.attempt(ticket(7, 'ac"me'), monotonic_us() + 1_000_000)

    (call,) = provider.calls
    message_id = '1700000000.7.api.ac"me.ams1'
    assert json.loads(call.body) == {
        "a": 'it is "1700000000" 100% {{second}} é',
        "b": [message_id, "7"],
        "c": 'ac"me@ams1',
    }
    lines = call.head.split("\r\n")
    assert lines[0] == "POST /api/v1/transmissions HTTP/1.1"
    assert f"Host: 127.0.0.1:{provider.port}" in lines
    assert f"Authorization: {KEY}" in lines
    assert "X-P: 100%" in lines
    assert "user-agent: other" in lines
    assert not [line for line in lines if line.startswith("User-Agent")]
    assert "Accept-Encoding: identity" in lines


@pytest.mark.parametrize(
    ("status", "body", "content_type", "fault", "cause", "enhanced_code"),
    [
        (202, b'{"id":"e1"}', "application/json", Fault.NONE, Cause.ACCEPTED, ""),
        (400, HTML, "text/html", Fault.NETWORK, Cause.FOREIGN_REPLY, ""),
        (400, b'{"errors":[{"code":"1502"}]}', "application/json", Fault.SERVER_ERROR, Cause.SERVER_RESOURCES, "1502"),
        (400, b'{"errors":[{"code":1400}]}', "application/json", Fault.CLIENT, Cause.REQUEST_REJECTED, "1400"),
        (401, b'{"errors":[{"message":"Unauthorized."}]}', "application/json", Fault.CLIENT, Cause.CREDENTIALS, ""),
        (420, b'{"errors":[{"code":"2101"}]}', "application/json", Fault.CLIENT, Cause.QUOTA, "2101"),
        (429, b"", "text/plain", Fault.CLIENT, Cause.THROTTLED, ""),
        (500, b'{"errors":[{"code":"1501"}]}', "application/json", Fault.SERVER_ERROR, Cause.HTTP_ERROR, "1501"),
        (504, HTML, "text/html", Fault.SERVER_TIMEOUT, Cause.GATEWAY_TIMEOUT, ""),
        (511, HTML, "text/html", Fault.SELF, Cause.CAPTIVE_NETWORK, ""),
        (200, HTML, "text/html", Fault.SERVER_ERROR, Cause.UNREADABLE_BODY, ""),
        (200, RESULTS + b" " * BODY_BYTES_MAX, "application/json", Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, ""),
    ],
)
async def test_a_reply_is_judged_as_the_table_says(
    serve: Serve,
    make: Make,
    *,
    status: int,
    body: bytes,
    content_type: str,
    fault: Fault,
    cause: Cause,
    enhanced_code: str,
) -> None:
    """Status, content type and body go through the table of replies together."""
    provider = await serve(lambda call: call.reply(status, body, content_type))

    outcome = await attempt(make(provider))

    assert (outcome.fault, outcome.cause, outcome.code, outcome.enhanced_code) == (fault, cause, status, enhanced_code)
    assert len(provider.calls) == 1


async def test_a_204_needs_no_body(serve: Serve, make: Make) -> None:
    """A success without a body is one, and the connection is kept."""
    provider = await serve(lambda call: call.say(b"HTTP/1.1 204 No Content\r\n\r\n"))
    surface = make(provider)

    outcomes = [await attempt(surface) for _ in range(2)]

    assert [outcome.cause for outcome in outcomes] == [Cause.ACCEPTED] * 2
    assert [outcome.connection for outcome in outcomes] == [Connection.FRESH, Connection.KEPT]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_never_followed(serve: Serve, make: Make, status: int) -> None:
    """A redirect is an outcome; nothing else reaches the wire."""
    provider = await serve(lambda call: call.reply(status, b"", more="Location: /elsewhere\r\nSet-Cookie: a=b\r\n"))
    surface = make(provider)

    outcomes = [await attempt(surface) for _ in range(2)]

    assert [outcome.cause for outcome in outcomes] == [Cause.REDIRECTED] * 2
    assert [call.head.split()[1] for call in provider.calls] == ["/api/v1/transmissions"] * 2
    assert "Cookie" not in provider.calls[1].head


def say_and(*pieces: bytes, then: str = "close") -> Script:
    """Make a script that writes, and then closes, resets or falls silent."""

    async def script(call: Call) -> None:
        await call.say(*pieces)
        if then == "silent":
            await never(call)
        await asyncio.sleep(0.005)  # A reset throws away what the other side has not read yet.
        if then == "reset":
            call.reset()
        else:
            call.close()

    return script


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n\r\n" % len(RESULTS)
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("script", "fault", "cause", "code"),
    [
        (say_and(then="close"), Fault.NETWORK, Cause.RESET, 0),
        (say_and(then="reset"), Fault.NETWORK, Cause.RESET, 0),
        (say_and(b"HTTP/1.1 2", then="close"), Fault.SERVER_ERROR, Cause.CLOSED, 0),
        (say_and(OK, then="reset"), Fault.SERVER_ERROR, Cause.CLOSED, 0),
        (say_and(OK + LENGTH, RESULTS[:40], then="close"), Fault.SERVER_ERROR, Cause.INCOMPLETE_BODY, 200),
        (say_and(OK + LENGTH, RESULTS[:40], then="reset"), Fault.SERVER_ERROR, Cause.INCOMPLETE_BODY, 200),
        (say_and(OK + LENGTH, RESULTS, then="reset"), Fault.NONE, Cause.ACCEPTED, 200),
        (say_and(OK + LENGTH + RESULTS + b"\r\nand more"), Fault.NONE, Cause.ACCEPTED, 200),
        (say_and(OK + LENGTH + RESULTS + b"\r\nand more", then="silent"), Fault.NONE, Cause.ACCEPTED, 200),
        (say_and(b"HTTP/1.1 204 None\r\n\r\nand more", then="silent"), Fault.NONE, Cause.ACCEPTED, 204),
        (say_and(b"HTTP/1.1 204 None\r\n\r", b"\nand more", then="silent"), Fault.NONE, Cause.ACCEPTED, 204),
        (say_and(OK + b"Content-Length: 40\r\n\r\n", RESULTS), Fault.SERVER_ERROR, Cause.UNREADABLE_BODY, 200),
        (say_and(OK + b"\r\n", RESULTS), Fault.NONE, Cause.ACCEPTED, 200),
        (say_and(OK + b"\r\n", RESULTS[:40]), Fault.SERVER_ERROR, Cause.UNREADABLE_BODY, 200),
        (say_and(OK + CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (len(RESULTS), RESULTS)), Fault.NONE, Cause.ACCEPTED, 200),
        (say_and(OK + CHUNKED, b"%x\r\n%b" % (len(RESULTS), RESULTS)), Fault.SERVER_ERROR, Cause.INCOMPLETE_BODY, 200),
        (say_and(OK + CHUNKED, b"zz\r\n", then="silent"), Fault.SERVER_ERROR, Cause.INCOMPLETE_BODY, 200),
        (say_and(b"220 mail.example ESMTP\r\n", then="silent"), Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, 0),
        (say_and(OK + b"Content-Length: many\r\n\r\n{}"), Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, 0),
        (say_and(OK + b"X: " + b"x" * 70_000, then="silent"), Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, 0),
        (say_and(OK + b"X: y\r\n" * 20_000, then="silent"), Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, 0),
        (say_and(b"HTTP/1.1 100 Continue\r\n\r\n" * 50, then="silent"), Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, 0),
        (say_and(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + LENGTH + RESULTS), Fault.NONE, Cause.ACCEPTED, 200),
        (say_and(b"HTTP/1.1 100 Continue\r\n\r\n", then="silent"), Fault.SERVER_TIMEOUT, Cause.SILENT, 0),
        (say_and(OK, then="silent"), Fault.SERVER_TIMEOUT, Cause.BODY_STALLED, 0),
        (say_and(then="silent"), Fault.SERVER_TIMEOUT, Cause.SILENT, 0),
        (say_and(OK + LENGTH, RESULTS[:40], then="silent"), Fault.SERVER_TIMEOUT, Cause.BODY_STALLED, 200),
        (say_and(OK + CHUNKED, b"5\r\n{    \r\n", then="silent"), Fault.SERVER_TIMEOUT, Cause.BODY_STALLED, 200),
        (say_and(OK + b"\r\n", RESULTS, then="silent"), Fault.SERVER_TIMEOUT, Cause.BODY_STALLED, 200),
    ],
)
async def test_a_broken_reply_on_a_fresh_connection_is_the_outcome(
    serve: Serve, make: Make, script: Script, fault: Fault, cause: Cause, code: int
) -> None:
    """However a reply breaks off, one request was sent and the outcome says where it broke."""
    provider = await serve(script)

    # Only what ends by the deadline needs a short one; on a busy machine all else must not meet it.
    outcome = await attempt(make(provider), SHORT_S if fault is Fault.SERVER_TIMEOUT else LONG_S)

    assert (outcome.fault, outcome.cause, outcome.code) == (fault, cause, code)
    assert outcome.maybe_accepted == (fault is not Fault.NONE)
    assert (len(provider.calls), provider.connections) == (1, 1)


async def test_a_reset_is_told_from_a_close_within_the_head(serve: Serve, make: Make) -> None:
    """Over plain TCP, where the loop shows the reset, it is named so."""

    async def script(call: Call) -> None:
        sock = call.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await call.say(b"HTTP/1.1 200")
        await asyncio.sleep(0.005)
        call.reset()

    provider = await serve(script, tls=None)

    outcome = await attempt(make(f"http://127.0.0.1:{provider.port}"))

    assert (outcome.fault, outcome.cause) == (Fault.SERVER_ERROR, Cause.RESET_IN_SESSION)


async def test_one_byte_at_a_time_is_read_until_the_deadline(serve: Serve, make: Make) -> None:
    """A drip is as good as the whole if it ends in time, and a stall if it does not."""

    async def drip(call: Call) -> None:
        for byte in OK + LENGTH + RESULTS:
            await call.say(bytes([byte]))
            await asyncio.sleep(0)

    async def slow_drip(call: Call) -> None:
        await call.say(OK + LENGTH)
        for byte in RESULTS:
            await call.say(bytes([byte]))
            await asyncio.sleep(0.01)

    quick, slow = await serve(drip), await serve(slow_drip)

    assert (await attempt(make(quick))).cause is Cause.ACCEPTED
    assert (await attempt(make(slow), SHORT_S)).cause is Cause.BODY_STALLED


async def test_a_packed_body_is_unpacked_within_the_limit(serve: Serve, make: Make) -> None:
    """A server that packs its reply unasked is still understood, and can't blow us up."""
    for body, cause in ((RESULTS, Cause.ACCEPTED), (b" " * 50_000_000, Cause.UNREADABLE_BODY)):
        packed = gzip.compress(body, 9)
        provider = await serve(lambda call, packed=packed: call.reply(200, packed, more="Content-Encoding: gzip\r\n"))

        assert (await attempt(make(provider))).cause is cause


@pytest.mark.parametrize("within_s", [0.05, 0.1])
async def test_the_deadline_is_kept_to_the_hundredth(serve: Serve, make: Make, within_s: float) -> None:
    """Nothing rounds the deadline, and at the deadline the connection is gone on both sides."""
    gone = asyncio.Event()

    async def script(call: Call) -> None:
        with contextlib.suppress(OSError):
            await call.writer.wait_closed()
        gone.set()

    provider = await serve(script)
    surface = make(provider)
    descriptors = len(os.listdir("/proc/self/fd"))

    outcome = await attempt(surface, within_s)

    assert within_s * 1e6 <= outcome.duration_us + 2_000
    assert outcome.duration_us <= (within_s + 0.02) * 1e6
    async with asyncio.timeout(1):
        await gone.wait()
    assert len(os.listdir("/proc/self/fd")) <= descriptors


async def test_a_deadline_beyond_five_seconds_is_not_rounded_up(serve: Serve, make: Make) -> None:
    """The loop's timer for a long deadline is due at the deadline itself."""
    provider = await serve(never)
    surface = make(provider)
    loop = asyncio.get_running_loop()
    due: list[float] = []
    call_at = loop.call_at

    def watching(when: float, *arguments: Any, **more: Any) -> asyncio.TimerHandle:
        due.append(when - loop.time())
        return call_at(when, *arguments, **more)

    loop.call_at = watching  # type: ignore[method-assign, assignment]
    task = asyncio.create_task(attempt(surface, 7.3))
    await provider.called.wait()
    task.cancel()
    await task

    assert any(7.2 < seconds <= 7.3 for seconds in due)


async def test_a_body_that_can_not_be_written_is_not_laid_at_the_servers_door(serve: Serve, make: Make) -> None:
    """A request that never leaves us, and one that the other side's TCP never acknowledges, are the network's."""

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.setblocking(False)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def unheard(size: int) -> Outcome:
        task = asyncio.create_task(attempt(make(url, body={"text": "x" * size}), SHORT_S))
        deaf, _ = await asyncio.get_running_loop().sock_accept(listener)
        with deaf:
            return await task

    huge, large = await unheard(8_000_000), await unheard(60_000)
    listener.close()

    assert (huge.cause, huge.phase, huge.maybe_accepted) == (Cause.SEND_STUCK, Phase.REQUEST, False)
    assert (large.cause, large.phase, large.maybe_accepted) == (Cause.SEND_STUCK, Phase.FIRST_BYTE, True)


async def test_a_kept_connection_is_used_again_with_one_request_per_attempt(serve: Serve, make: Make) -> None:
    """Attempts share a connection, and the server counts exactly as many requests as attempts."""
    provider = await serve(accept)
    surface = make(provider)

    outcomes = [await attempt(surface, ordinal=number) for number in range(5)]

    assert [outcome.connection for outcome in outcomes] == [Connection.FRESH, *[Connection.KEPT] * 4]
    assert (len(provider.calls), provider.connections) == (5, 1)
    assert phases_of(outcomes[-1]) == [Phase.REQUEST, Phase.FIRST_BYTE, Phase.BODY]
    assert outcomes[-1].address == "127.0.0.1"


async def test_overlapping_attempts_never_share_a_connection(serve: Serve, make: Make) -> None:
    """An attempt that waits holds its connection alone."""
    provider = await serve(accept)
    surface = make(provider)

    outcomes = await asyncio.gather(*(attempt(surface, ordinal=number) for number in range(3)))

    assert [outcome.connection for outcome in outcomes] == [Connection.FRESH] * 3
    assert (len(provider.calls), provider.connections) == (3, 3)


@pytest.mark.parametrize(
    ("connections", "expected"),
    [
        ({"mode": "fresh"}, "fresh fresh fresh fresh"),
        ({"fresh_every": 0, "uses_max": 2}, "fresh kept fresh kept"),
        ({"fresh_every": 0, "age_max": 0.000_001}, "fresh fresh fresh fresh"),
        ({"fresh_every": 1}, "fresh fresh fresh fresh"),
    ],
)
async def test_connections_rotate_as_configured(
    serve: Serve, make: Make, connections: dict[str, Any], expected: str
) -> None:
    """Age, uses and freshness are the settings' to decide."""
    provider = await serve(accept)
    surface = make(provider, connections=connections)

    outcomes = [await attempt(surface) for _ in range(4)]

    assert " ".join(outcome.connection for outcome in outcomes) == expected
    assert ("Connection: close" in provider.calls[0].head) == (connections.get("mode") == "fresh")


async def test_every_nth_attempt_is_made_on_a_fresh_connection(serve: Serve, make: Make) -> None:
    """A broken front door is seen although a kept connection still works."""
    provider = await serve(accept)
    surface = make(provider, connections={"fresh_every": 3})
    await attempt(surface)

    fresh = [number for number in range(9) if (await attempt(surface)).connection is Connection.FRESH]

    assert [later - earlier for earlier, later in itertools.pairwise(fresh)] == [3] * (len(fresh) - 1)
    assert len(fresh) in {2, 3}


@pytest.mark.parametrize(
    "last_words", [b"", b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 421 Me\r\n\r\n"]
)
@pytest.mark.parametrize("way", ["close", "reset"])
async def test_a_kept_connection_that_the_server_ends_is_renewed_within_the_attempt(
    serve: Serve, make: Make, way: str, last_words: bytes
) -> None:
    """The attempt goes on with one fresh connection, and the outcome says so."""

    async def script(call: Call) -> None:
        if call.number == 2:
            await say_and(last_words, then=way)(call)
        else:
            await accept(call)

    provider = await serve(script)
    surface = make(provider)

    outcomes = [await attempt(surface) for _ in range(3)]

    assert [outcome.connection for outcome in outcomes] == [Connection.FRESH, Connection.RENEWED, Connection.KEPT]
    assert [outcome.cause for outcome in outcomes] == [Cause.ACCEPTED] * 3
    assert [call.connection for call in provider.calls] == [1, 1, 2, 2]
    assert f"(kept connection: {f'HTTP status {last_words[9:12].decode()}' if last_words else 'closed before'}" in (
        outcomes[1].reply.replace("reset before", "closed before")
    )


@pytest.mark.parametrize("last_words", [b"", b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_a_kept_connection_that_ends_long_after_our_write_is_not_renewed(
    serve: Serve, make: Make, monkeypatch: pytest.MonkeyPatch, last_words: bytes
) -> None:
    """A server that read the request, worked on it and hung up has failed this attempt; nothing is sent twice."""
    monkeypatch.setattr("probe.surfaces.api.RENEWAL_US_MAX", 20_000)

    async def script(call: Call) -> None:
        if call.number == 1:
            await accept(call)
        else:
            await asyncio.sleep(0.05)
            await say_and(last_words)(call)

    provider = await serve(script)
    surface = make(provider)
    await attempt(surface)

    outcome = await attempt(surface)

    assert outcome.connection is Connection.KEPT
    assert outcome.fault is (Fault.CLIENT if last_words else Fault.NETWORK)
    assert outcome.maybe_accepted == (not last_words)
    assert len(provider.calls) == 2


async def test_a_renewed_attempt_that_finds_nobody_may_have_been_accepted_before(serve: Serve, make: Make) -> None:
    """What was written to the kept connection may have been read, whatever the fresh one meets."""
    listener: list[asyncio.Server] = []

    async def script(call: Call) -> None:
        if call.number == 1:
            await accept(call)
        else:
            listener[0].close()
            call.close()

    provider = Provider(script)
    listener.append(await asyncio.start_server(provider.serve, "127.0.0.1", 0))
    provider.port = listener[0].sockets[0].getsockname()[1]
    surface = make(f"http://127.0.0.1:{provider.port}")
    await attempt(surface)

    outcome = await attempt(surface)

    assert (outcome.cause, outcome.connection) == (Cause.REFUSED, Connection.RENEWED)
    assert outcome.maybe_accepted
    assert "closed before any byte" in outcome.reply


async def test_a_connection_that_died_while_idle_is_not_offered_again(serve: Serve, make: Make) -> None:
    """What the server closed between attempts costs the next attempt nothing but a fresh connection."""
    closed = asyncio.Event()

    async def script(call: Call) -> None:
        await accept(call)
        if call.number == 1:
            call.close()
            closed.set()

    provider = await serve(script)
    surface = make(provider)
    await attempt(surface)
    await closed.wait()
    await asyncio.sleep(0.01)

    outcome = await attempt(surface)

    assert (outcome.cause, outcome.connection) == (Cause.ACCEPTED, Connection.FRESH)
    assert len(provider.calls) == 2


async def test_an_attempt_is_renewed_once_and_no_more(serve: Serve, make: Make) -> None:
    """If the fresh connection fails as well, that is the outcome."""

    async def script(call: Call) -> None:
        if call.number == 1:
            await accept(call)
        else:
            call.close()

    provider = await serve(script)
    surface = make(provider)
    await attempt(surface)

    outcome = await attempt(surface)

    assert (outcome.fault, outcome.cause, outcome.connection) == (Fault.NETWORK, Cause.RESET, Connection.RENEWED)
    assert len(provider.calls) == 3


@pytest.mark.parametrize("status", [408, 421])
async def test_a_408_or_421_on_a_fresh_connection_is_the_outcome(serve: Serve, make: Make, status: int) -> None:
    """Only a kept connection excuses them."""
    provider = await serve(lambda call: call.reply(status, b""))

    outcome = await attempt(make(provider))

    assert (outcome.fault, outcome.code) == (Fault.CLIENT, status)
    assert len(provider.calls) == 1


async def test_a_reply_that_nobody_asked_for_never_answers_the_next_attempt(serve: Serve, make: Make) -> None:
    """A connection with something left over is not used again."""
    surplus = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"
    provider = await serve(lambda call: call.say(OK + LENGTH + RESULTS + surplus))
    surface = make(provider)

    outcomes = [await attempt(surface) for _ in range(2)]

    assert [outcome.cause for outcome in outcomes] == [Cause.ACCEPTED] * 2
    assert provider.connections == 2


async def test_a_certificate_is_judged_by_what_is_wrong_with_it(
    serve: Serve, make: Make, authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    """Expiry, a wrong name and an unknown authority are three causes, none of them the server's by itself."""
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    expired = server_context(authority, not_before=long_ago, not_after=datetime(2020, 2, 1, tzinfo=UTC))
    for tls, fault, cause in (
        (expired, Fault.NETWORK, Cause.CERTIFICATE_EXPIRED),
        (server_context(authority, "other.example"), Fault.NETWORK, Cause.CERTIFICATE_NAME),
        (server_context(trustme.CA()), Fault.SELF, Cause.TRUST_STORE),
    ):
        provider = await serve(accept, tls=tls)

        outcome = await attempt(make(provider))

        assert (outcome.fault, outcome.cause, outcome.phase) == (fault, cause, Phase.TLS)
        assert (outcome.connection, outcome.address) == (Connection.FRESH, "127.0.0.1")
        assert not outcome.maybe_accepted
        assert not provider.calls


async def test_an_alert_after_the_handshake_is_told_from_a_reset(make: Make, authority: trustme.CA) -> None:
    """Under TLS 1.3 the server's refusal of our handshake comes only when it seems over."""
    tls = server_context(authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(tls)
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> ssl.SSLSocket:
        sock, _ = listener.accept()
        wrapped = tls.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        with contextlib.suppress(ssl.SSLError):
            wrapped.do_handshake()
        return wrapped

    refusing = asyncio.create_task(asyncio.to_thread(refuse))  # The event loop's own TLS server sends no alert.
    outcome = await attempt(make(f"https://127.0.0.1:{listener.getsockname()[1]}"))
    (await refusing).close()
    listener.close()

    assert (outcome.fault, outcome.cause) == (Fault.NETWORK, Cause.TLS_FAILED)


async def test_plain_text_on_the_tls_port_is_named(serve: Serve, make: Make) -> None:
    """A server that speaks HTTP where TLS is due is no TLS server."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listener:
        outcome = await attempt(make(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"))

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.NETWORK, Cause.NOT_TLS, Phase.TLS)


async def test_ends_in_the_tls_handshake_are_told_apart(make: Make) -> None:
    """Silence, close and reset in the handshake have causes of their own, and free their descriptors."""
    sockets: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    url = f"https://127.0.0.1:{listener.getsockname()[1]}"
    loop = asyncio.get_running_loop()

    async def one(way: str) -> Outcome:
        surface = make(url)
        task = asyncio.create_task(attempt(surface, SHORT_S))
        sock, _ = await loop.sock_accept(listener)
        sockets.append(sock)
        await loop.sock_recv(sock, 4096)
        if way == "reset":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if way != "silent":
            sock.close()
        return await task

    await one("silent")  # Event loops open some descriptors of their own when first used.
    before = len(os.listdir("/proc/self/fd")) - len(sockets)
    outcomes = {way: await one(way) for way in ("silent", "close", "reset")}
    await asyncio.sleep(0.005)

    assert outcomes["silent"].cause is Cause.SILENT
    assert outcomes["close"].cause is Cause.CLOSED
    assert outcomes["reset"].fault is Fault.SERVER_ERROR
    assert {outcome.phase for outcome in outcomes.values()} == {Phase.TLS}
    assert not any(outcome.maybe_accepted for outcome in outcomes.values())
    for sock in sockets:
        sock.close()
    assert len(os.listdir("/proc/self/fd")) <= before
    listener.close()


async def test_a_refused_connection_is_the_networks(make: Make) -> None:
    """Nobody listens: refused, and nothing was travelled on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    outcome = await attempt(make(f"https://127.0.0.1:{port}"))

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.NETWORK, Cause.REFUSED, Phase.CONNECT)
    assert (outcome.connection, outcome.address) == (Connection.NONE, "127.0.0.1")


async def test_a_full_backlog_is_a_connect_timeout(make: Make) -> None:
    """A SYN that nobody answers is the network's until a control says otherwise."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            outcome = await attempt(make(f"https://127.0.0.1:{listener.getsockname()[1]}"), SHORT_S)

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.NETWORK, Cause.CONNECT_TIMEOUT, Phase.CONNECT)
    assert (outcome.connection, outcome.address) == (Connection.NONE, "127.0.0.1")


async def test_a_resolver_that_is_silent_is_our_own(make: Make) -> None:
    """An unanswered look-up is never the provider's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        resolver = aiodns.DNSResolver(nameservers=["127.0.0.1"], udp_port=deaf.getsockname()[1], timeout=5, tries=1)
        outcome = await attempt(make("https://api.example.test", resolver=resolver), SHORT_S)
        await resolver.close()

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.SELF, Cause.RESOLVER, Phase.LOOKUP)


async def test_an_attempt_over_the_cap_is_not_made(serve: Serve, make: Make) -> None:
    """It ends at once as capped, and nothing reaches the wire."""
    provider = await serve(never)
    surface = make(provider, in_flight_max=1)
    first = asyncio.create_task(attempt(surface, SHORT_S))
    await provider.called.wait()

    capped = await attempt(surface, LONG_S, 1)

    assert (capped.fault, capped.cause, capped.phase) == (Fault.SELF, Cause.CAPPED, Phase.START)
    assert (await first).cause is Cause.SILENT
    assert (await attempt(surface, SHORT_S, 2)).cause is Cause.SILENT
    assert len(provider.calls) == 2


async def test_a_deadline_that_has_passed_is_our_own_fault(serve: Serve, make: Make) -> None:
    """An attempt that begins too late says nothing about the server."""
    provider = await serve(accept)

    outcome = await attempt(make(provider), -0.1)

    assert outcome.fault is Fault.SELF


@pytest.mark.parametrize("script", [never, accept])
async def test_shutdown_cancels_an_attempt_and_leaves_nothing_open(serve: Serve, make: Make, script: Script) -> None:
    """A cancelled attempt ends at once as an outcome, and close drops what is kept."""
    provider = await serve(script)
    surface = make(provider)
    await attempt(surface, SHORT_S)
    task = asyncio.create_task(attempt(surface))
    await asyncio.sleep(0.01)
    task.cancel()
    await task
    surface.close()
    await asyncio.sleep(0.01)

    assert all(writer.is_closing() or writer.transport.is_closing() for writer in provider.writers) or script is never
    late = await attempt(surface, SHORT_S)
    assert late.connection is Connection.FRESH


@pytest.mark.parametrize(
    ("script", "phase", "code"),
    [(never, Phase.FIRST_BYTE, 0), (say_and(OK + LENGTH, RESULTS[:9], then="silent"), Phase.BODY, 200)],
)
async def test_a_cancelled_attempt_says_how_far_it_had_come(
    serve: Serve, make: Make, script: Script, phase: Phase, code: int
) -> None:
    """The outcome of a stop has the connection, the phases and what may be accepted, and its task lives on."""
    provider = await serve(script)
    surface = make(provider)

    async def go_on_afterwards() -> Outcome:
        outcome = await attempt(surface)
        async with asyncio.timeout(1):
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return outcome

    task = asyncio.create_task(go_on_afterwards())
    await provider.called.wait()
    await asyncio.sleep(0.02)
    task.cancel()
    task.cancel()
    outcome = await task

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.SELF, Cause.STOPPED, phase)
    assert (outcome.connection, outcome.address, outcome.code) == (Connection.FRESH, "127.0.0.1", code)
    assert phases_of(outcome)[:3] == [Phase.CONNECT, Phase.TLS, Phase.REQUEST]
    assert outcome.maybe_accepted


def stand_still(seconds: float) -> None:
    """Let the event loop do nothing."""
    until_us = monotonic_us() + round(seconds * 1e6)
    while monotonic_us() < until_us:
        pass


@pytest.mark.parametrize("late_s", [0.1, 0.35])
@pytest.mark.parametrize("answers", [True, False])
async def test_what_our_own_loop_left_unread_is_not_the_servers_silence(
    make: Make, late_s: float, *, answers: bool
) -> None:
    """A reply that came in time and lay unread is judged; without one, a loop that stood still blames itself."""
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    standing_still = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve_one() -> socket.socket:
        sock, _ = listener.accept()
        sock.recv(65_536)
        loop.call_soon_threadsafe(heard.set)
        standing_still.wait()
        if answers:
            sock.sendall(OK + LENGTH + RESULTS)
        return sock

    with listener:
        serving = asyncio.create_task(asyncio.to_thread(serve_one))
        task = asyncio.create_task(attempt(make(f"http://127.0.0.1:{listener.getsockname()[1]}"), 0.05))
        await heard.wait()
        standing_still.set()
        stand_still(0.05 + late_s)
        outcome = await task
        (await serving).close()

    if answers:
        assert outcome.cause is Cause.ACCEPTED
    else:
        assert outcome.cause is (Cause.STALLED if late_s > 0.25 else Cause.SILENT)
        assert (outcome.phase, outcome.connection, outcome.maybe_accepted) == (
            Phase.FIRST_BYTE,
            Connection.FRESH,
            True,
        )


async def test_a_bug_of_ours_is_an_outcome_with_a_traceback_in_the_log(serve: Serve, make: Make) -> None:
    """The unknown becomes a fault of ours, never an exception."""
    provider = await serve(accept)
    surface = make(provider)
    wrong: Any = Ticket(target="acme", vantage="ams1", surface=Surface.API, second="x", ordinal=0)  # type: ignore[arg-type]

    with structlog.testing.capture_logs() as lines:
        outcome = await surface.attempt(wrong, monotonic_us() + 1_000_000)

    assert (outcome.fault, outcome.cause) == (Fault.SELF, Cause.INTERNAL)
    assert lines[0]["exc_info"]
    assert KEY not in str(lines)
    assert not provider.calls


@pytest.mark.parametrize(
    "reply",
    [
        (401, json.dumps({"errors": [{"message": f"key {KEY} is bad", "code": KEY}]}).encode()),
        (500, f"<html>Authorization: AccessKey {KEY}</html>".encode()),
        (200, json.dumps({"results": {"total_accepted_recipients": 1, "id": KEY}}).encode()),
    ],
)
async def test_the_key_is_nowhere_in_an_outcome_even_if_the_server_repeats_it(
    serve: Serve, make: Make, reply: tuple[int, bytes]
) -> None:
    """Neither an outcome nor a repr holds the key."""
    provider = await serve(lambda call: call.reply(*reply))
    surface = make(provider, authorization="AccessKey {key}")

    outcome = await attempt(surface)

    assert f"AccessKey {KEY}" in provider.calls[0].head
    assert KEY not in repr(outcome)
    assert "redacted" in outcome.reply
    assert KEY not in repr(surface) + repr(vars(surface))


async def test_a_key_within_rubbish_is_redacted_too(serve: Serve, make: Make) -> None:
    """What the parser quotes of a reply that is not HTTP passes the same filter."""
    provider = await serve(say_and(f"NOPE {KEY}\r\n\r\n".encode()))

    outcome = await attempt(make(provider))

    assert outcome.cause is Cause.MALFORMED_REPLY
    assert KEY not in repr(outcome)


@pytest.mark.parametrize(
    "pieces",
    [
        (OK + LENGTH, b'{"errors":[{"message":"your key ' + KEY[:9].encode()),
        (f"NOPE {KEY[:9]}".encode(),),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 91 + KEY.encode() + b"x" * 9000 + b"\r\n\r\n",),
        (OK + b"Retry-After: " + b"x" * 120 + KEY.encode() + b"\r\n" + LENGTH + RESULTS,),
    ],
)
async def test_a_key_that_was_cut_leaves_no_beginning(serve: Serve, make: Make, pieces: tuple[bytes, ...]) -> None:
    """Where the reply, the parser's quotation or our own limit ends within the key, what is left is struck out too."""
    provider = await serve(say_and(*pieces))

    outcome = await attempt(make(provider))

    assert KEY[:4] not in repr(outcome)


async def test_https_without_a_trust_store_is_refused_at_once(make: Make) -> None:
    """A surface that could never check a certificate is not built."""
    with pytest.raises(ValueError, match="needs a TLS context"):
        make("https://127.0.0.1:1", tls=None)


async def test_a_silence_on_a_connection_that_loses_packets_is_the_networks(
    serve: Serve, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The missing reply may be among what was lost; what was lost before this attempt says nothing about it."""
    silent = False

    async def then_never(call: Call) -> None:
        await (never(call) if silent else accept(call))

    monkeypatch.setattr("probe.surfaces.http.packets_lost", lambda _: 5)
    provider = await serve(then_never)
    kept, fresh = make(provider), make(provider, connections={"mode": "fresh"})
    assert (await attempt(kept)).fault is Fault.NONE
    silent = True

    before = await attempt(kept, SHORT_S, 1)
    during = await attempt(fresh, SHORT_S, 2)

    assert (before.fault, before.cause, before.connection) == (Fault.SERVER_TIMEOUT, Cause.SILENT, Connection.KEPT)
    assert (during.fault, during.cause, during.maybe_accepted) == (Fault.NETWORK, Cause.PACKETS_LOST, True)
