"""What the stages of both surfaces share: where a play is given, how an attempt is made, and what came of it."""

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import Protocol

from probe.clock import monotonic_us
from probe.core.model import Outcome, Surface, Ticket

# Not 127.0.0.1, where whoever looks for a server that has left could come across ours.
HOST = "127.0.77.1"
SETTLE_S = 2.0


class Prober(Protocol):
    """A surface under test."""

    async def attempt(self, ticket: Ticket, deadline_us: int) -> Outcome:
        """Make one attempt."""
        ...

    def close(self) -> None:
        """Drop what is kept."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of a play."""

    outcome: Outcome
    within_s: float
    acted: bool
    connections: int
    left_behind: tuple[str, ...]


async def attempt(prober: Prober, surface: Surface, within_s: float) -> Outcome:
    """Make one attempt."""
    ticket = Ticket(target="acme", vantage="here", surface=surface, second=1_700_000_000, ordinal=0)
    return await prober.attempt(ticket, monotonic_us() + int(within_s * 1e6))


async def attempt_at_nobody(
    listener: socket.socket, prober: Prober, surface: Surface, within_s: float, *, is_full: bool
) -> Seen:
    """Make an attempt at a port that is bound, where nobody listens or the queue of those who wait is full."""
    if is_full:
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            outcome = await attempt(prober, surface, within_s)
    else:
        outcome = await attempt(prober, surface, within_s)
    prober.close()
    return Seen(outcome=outcome, within_s=within_s, acted=True, connections=0, left_behind=())


def reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection, so that the other side sees an RST."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def send_at_once(listener: socket.socket) -> None:
    """Let what is said leave at once (RFC 896), before a reset can overtake it."""
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def let_it_come(acted: asyncio.Event) -> None:
    """Wait until the server has acted between two messages, and what it did has reached us."""
    await asyncio.wait_for(acted.wait(), SETTLE_S)
    await asyncio.sleep(0.02)
    for _ in range(10):  # However busy the loop is: each turn takes what has come.
        await asyncio.sleep(0)
