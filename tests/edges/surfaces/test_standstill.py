"""An attempt during which our own loop stood still blames nobody."""

import asyncio
import errno
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import aiodns
import pytest

from probe.clock import SystemClock
from probe.core.model import Cause, Fault, Outcome, Surface, Ticket
from probe.settings import Api, Smtp
from probe.surfaces.api import ApiSurface
from probe.surfaces.http import HttpConnection
from probe.surfaces.pulse import STANDSTILL_US_MIN, pulse
from probe.surfaces.smtp import SmtpSurface
from probe.surfaces.smtp_reader import ReplyReader

STANDSTILL_S = STANDSTILL_US_MIN / 1_000_000 + 0.1
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[int]:
    """Serve a conversation on loopback, and see each one to its end."""
    served: set[asyncio.Task[object]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        served.add(task)
        with suppress(ConnectionError):
            await talk(reader, writer)
        writer.transport.abort()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]
    await asyncio.gather(*served)


def prober(surface: Surface, port: int) -> ApiSurface | SmtpSurface:
    """Build a prober without TLS."""
    resolver, clock = aiodns.DNSResolver(), SystemClock()
    if surface is Surface.API:
        api = Api.model_validate({"base_url": f"http://127.0.0.1:{port}", "body": {"text": "{message_id}"}})
        return ApiSurface(
            api, target="main", vantage="here", resolver=resolver, clock=clock, tls=None, in_flight_max=10
        )
    smtp = Smtp.model_validate(
        {"host": "127.0.0.1", "port": port, "tls": "none", "sender": "a@example.com", "recipient": "b@example.com"}
    )
    return SmtpSurface(smtp, target="main", vantage="here", resolver=resolver, clock=clock, tls=None, in_flight_max=10)


async def attempt(surface: Surface, talk: Talk, timeout_s: float, standstill_s: float) -> Outcome:
    """Make one attempt; as soon as the server is spoken to, hold the whole loop for a while."""
    spoken_to = asyncio.Event()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        spoken_to.set()
        await talk(reader, writer)

    async with server(hear) as port:
        made = prober(surface, port)
        ticket = Ticket(target="main", vantage="here", surface=surface, second=1, ordinal=0)
        deadline_us = SystemClock().monotonic_us() + round(timeout_s * 1_000_000)
        task = asyncio.create_task(made.attempt(ticket, deadline_us))
        await spoken_to.wait()
        time.sleep(standstill_s)  # noqa: ASYNC251  The loop stands still: that is the experiment.
        outcome = await task
        made.close()
    return outcome


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Wait until the client has had enough."""
    await reader.read()


async def leaves(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close without a word, as a server does that has waited for us for too long."""
    writer.close()


@pytest.mark.parametrize("surface", list(Surface))
async def test_a_deadline_that_falls_due_in_time_after_a_standstill_blames_nobody(surface: Surface) -> None:
    """The loop stood still while replies could have come; the deadline is noticed in time, and yet proves nothing."""
    outcome = await attempt(surface, says_nothing, timeout_s=STANDSTILL_S + 0.3, standstill_s=STANDSTILL_S)

    assert (outcome.fault, outcome.cause) == (Fault.SELF, Cause.STALLED)
    assert "our own loop stood still meanwhile; else: server_timeout silent" in outcome.reply


@pytest.mark.parametrize("surface", list(Surface))
async def test_a_server_that_leaves_during_our_standstill_is_not_blamed(surface: Surface) -> None:
    """A close that may answer our own silence is ours, and what was seen stays in the record."""
    outcome = await attempt(surface, leaves, timeout_s=3, standstill_s=STANDSTILL_S)

    assert (outcome.fault, outcome.cause) == (Fault.SELF, Cause.STALLED)
    assert "else: " in outcome.reply


@pytest.mark.parametrize("surface", list(Surface))
async def test_without_a_standstill_silence_is_the_servers(surface: Surface) -> None:
    """The same silence, while our loop turns, is a server-side timeout."""
    outcome = await attempt(surface, says_nothing, timeout_s=0.3, standstill_s=0)

    assert (outcome.fault, outcome.cause) == (Fault.SERVER_TIMEOUT, Cause.SILENT)


@pytest.mark.parametrize("surface", list(Surface))
async def test_a_loop_that_is_starved_in_small_pieces_blames_nobody(surface: Surface) -> None:
    """No single pause is long, but our own loop was away for most of the attempt: its silence proves nothing."""
    ticket = Ticket(target="main", vantage="here", surface=surface, second=1, ordinal=0)
    async with server(says_nothing) as port:
        made = prober(surface, port)
        task = asyncio.create_task(made.attempt(ticket, SystemClock().monotonic_us() + 1_000_000))
        while not task.done():
            time.sleep(STANDSTILL_S / 2)  # noqa: ASYNC251  Somebody else has the processor.
            await asyncio.sleep(0.005)
        outcome = await task
        made.close()

    assert (outcome.fault, outcome.cause) == (Fault.SELF, Cause.STALLED)
    assert "our own loop did not run for" in outcome.reply


async def begins_a_reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say something that is good on both surfaces as far as it goes, and then no more."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    await reader.read()


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOBUFS, "No buffer space available"), KeyError("x")])
@pytest.mark.parametrize(
    ("surface", "reads"),
    [
        (Surface.SMTP, (ReplyReader, "feed")),
        (Surface.API, (HttpConnection, "_end_of_head")),
        (Surface.API, (HttpConnection, "feed_data")),
    ],
)
async def test_a_reply_that_we_fail_to_read_is_not_a_server_that_closed(
    surface: Surface, reads: tuple[type, str], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ended the connection was raised within our own process: for want of memory, or by a bug."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(*reads, fail)
    outcome = await attempt(surface, begins_a_reply, timeout_s=3, standstill_s=0)

    assert outcome.fault is Fault.SELF
    assert outcome.cause is (Cause.INTERNAL if isinstance(error, KeyError) else Cause.MEMORY)


async def test_the_beat_runs_only_while_somebody_listens() -> None:
    """Between attempts nothing wakes the loop, and a standstill then is nobody's business."""
    beat = pulse()
    begun_us = SystemClock().monotonic_us()
    time.sleep(STANDSTILL_S)  # noqa: ASYNC251
    beat.listen()
    await asyncio.sleep(0.12)

    assert not beat.stood_since(begun_us)
    beat.leave()
