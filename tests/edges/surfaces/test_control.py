"""Controls on real sockets."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiodns
import pytest
import trustme

from probe.clock import SystemClock
from probe.core.model import Cause, ControlOutcome
from probe.settings import Control
from probe.surfaces.control import ControlSurface

SECOND = 1_700_000_000
SHORT_S = 0.08

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Try = Callable[..., Awaitable[ControlOutcome]]


@pytest.fixture
async def try_once() -> AsyncIterator[Try]:
    """Give a function that makes one control attempt."""
    resolver = aiodns.DNSResolver()

    async def run(*, tls: ssl.SSLContext | None = None, **settings: Any) -> ControlOutcome:
        control = Control(name="elsewhere", **{"timeout": "80ms", **settings})
        surface = ControlSurface(control, resolver=resolver, clock=SystemClock(), tls=tls)
        try:
            return await surface.attempt(SECOND)
        finally:
            surface.close()

    yield run
    await resolver.close()
    await asyncio.sleep(0.005)


class Web:
    """An HTTP server with one fixed answer, that counts connections and requests."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each request, or close after it if there is no answer."""
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.answer)
                if not self.answer:
                    break
        writer.close()


async def ask(try_once: Try, web: Web) -> ControlOutcome:
    """Make an HTTP control attempt at a server."""
    server = await asyncio.start_server(web.serve, "127.0.0.1", 0)
    async with server:
        return await try_once(kind="http", url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/health")


async def test_a_tcp_control_works_where_somebody_listens(try_once: Try) -> None:
    """A connect is enough, and says when and for which second."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outcome = await try_once(kind="tcp", address=f"127.0.0.1:{listener.getsockname()[1]}")

    assert (outcome.worked, outcome.cause) == (True, Cause.ACCEPTED)
    assert (outcome.control, outcome.second) == ("elsewhere", SECOND)
    assert outcome.started_us > SECOND * 1_000_000
    assert 0 < outcome.duration_us < 80_000


async def test_a_tcp_control_may_have_an_ipv6_address(try_once: Try) -> None:
    """Brackets part the address from the port."""
    try:
        listener = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    with listener:
        outcome = await try_once(kind="tcp", address=f"[::1]:{listener.getsockname()[1]}")

    assert outcome.worked


async def test_a_refused_control_has_not_worked(try_once: Try) -> None:
    """Nobody listens: the control says nothing good about our network."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    outcome = await try_once(kind="tcp", address=f"127.0.0.1:{port}")

    assert (outcome.worked, outcome.cause) == (False, Cause.REFUSED)


@pytest.mark.parametrize(
    ("status", "worked", "cause"),
    [
        (200, True, Cause.ACCEPTED),
        (204, True, Cause.ACCEPTED),
        (301, True, Cause.ACCEPTED),
        (404, True, Cause.ACCEPTED),
        (407, False, Cause.CAPTIVE_NETWORK),
        (500, False, Cause.HTTP_ERROR),
        (503, False, Cause.HTTP_ERROR),
        (511, False, Cause.CAPTIVE_NETWORK),
    ],
)
async def test_any_real_http_reply_is_a_working_network(try_once: Try, status: int, worked: bool, cause: Cause) -> None:
    """A redirect or a 404 came from where we asked; a server error or a captive network's reply proves nothing."""
    web = Web(f"HTTP/1.1 {status} R\r\nLocation: /x\r\nContent-Length: 5\r\n\r\n".encode())

    outcome = await ask(try_once, web)

    assert (outcome.worked, outcome.cause) == (worked, cause)
    assert [request.split(b"\r\n")[0] for request in web.requests] == [b"HEAD /health HTTP/1.1"]


@pytest.mark.parametrize(("answer", "cause"), [(b"", Cause.RESET), (b"SSH-2.0-OpenSSH_9.2\r\n", Cause.MALFORMED_REPLY)])
async def test_a_control_is_never_tried_twice(try_once: Try, answer: bytes, cause: Cause) -> None:
    """A close or rubbish is the outcome, after exactly one request."""
    web = Web(answer)

    outcome = await ask(try_once, web)

    assert (outcome.worked, outcome.cause) == (False, cause)
    assert (len(web.requests), web.connections) == (1, 1)


async def test_a_silent_control_ends_at_its_deadline(try_once: Try) -> None:
    """Who never answers has not worked, and costs no more than the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outcome = await try_once(kind="http", url=f"http://127.0.0.1:{listener.getsockname()[1]}/")

    assert (outcome.worked, outcome.cause) == (False, Cause.SILENT)
    assert outcome.duration_us < (SHORT_S + 0.03) * 1e6


async def test_an_https_control_checks_the_certificate(try_once: Try) -> None:
    """A control behind TLS must prove its name, or a captive network could play it."""
    authority = trustme.CA()
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(trusting)
    for name, worked in (("127.0.0.1", True), ("other.example", False)):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(name).configure_cert(context)
        web = Web(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        server = await asyncio.start_server(web.serve, "127.0.0.1", 0, ssl=context)
        async with server:
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            outcome = await try_once(kind="http", url=url, tls=trusting, timeout="2s")

        assert outcome.worked is worked
        assert outcome.cause is (Cause.ACCEPTED if worked else Cause.CERTIFICATE_NAME)


async def test_an_http_control_sends_a_full_packet(try_once: Try) -> None:
    """Where large packets vanish on the way out, it is not answered, as the provider's surfaces are not."""
    web = Web(b"HTTP/1.1 204 No Content\r\n\r\n")

    outcome = await ask(try_once, web)

    assert outcome.worked
    assert len(web.requests[0]) > 1500


async def test_a_control_that_lost_packets_does_not_vouch_nor_one_that_often_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It was answered, but over a network that is not known to work; two such attempts of ten are remembered."""
    losses = iter([0, 1, 0, 2, *[0] * 10])
    monkeypatch.setattr("probe.surfaces.control.packets_lost", lambda _: next(losses))
    resolver = aiodns.DNSResolver()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = Control(name="elsewhere", kind="tcp", address=f"127.0.0.1:{listener.getsockname()[1]}")
        surface = ControlSurface(settings, resolver=resolver, clock=SystemClock(), tls=None)
        worked = [(await surface.attempt(SECOND + n)).worked for n in range(14)]
    await resolver.close()

    assert worked == [True, False, True, *[False] * 8, True, True, True]
