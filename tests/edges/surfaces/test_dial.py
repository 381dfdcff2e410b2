"""Dialling a name that stands for several addresses, and what the kernel knows of a path; on loopback."""

import asyncio
import contextlib
import os
import socket
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import aiodns
import pytest

from probe.core.model import Cause
from probe.surfaces.dial import NEXT_ADDRESS_S, Dialer
from probe.surfaces.path import StuckGuard, doubted, packets_lost
from probe.surfaces.watch import Trouble, Watch

# Nobody has a route to the broadcast address for TCP.
NO_ROUTE_TO = "255.255.255.255"


class Zone:
    """A resolver that knows these addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def getaddrinfo(self, host: str, **_: object) -> Any:
        """Answer with all of them, in order."""
        nodes = [
            SimpleNamespace(family=socket.AF_INET6 if ":" in address else socket.AF_INET, addr=(address.encode(), 0))
            for address in self.addresses
        ]
        return SimpleNamespace(nodes=nodes)


def dialer(port: int, *addresses: str) -> Dialer:
    """Make a dialer for a name that stands for these addresses."""
    return Dialer(cast(aiodns.DNSResolver, Zone(*addresses)), "provider.test", port)


async def dial(to: Dialer) -> tuple[str, Watch]:
    """Open one connection, and close it; return where it went."""
    watch = Watch()
    sock, address = await to.open(watch)
    assert sock.getpeername()[0] == address
    sock.close()
    return address, watch


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """Listen on 127.0.0.3 only; the port is refused on every other address of loopback."""
    with socket.create_server(("127.0.0.3", 0)) as listening:
        yield listening


@pytest.fixture
async def silent() -> AsyncIterator[Callable[[int], None]]:
    """Give a function that makes a port of 127.0.0.2 silent: its queue is full, and nobody accepts."""
    with contextlib.ExitStack() as opened:

        def fill(port: int) -> None:
            full = opened.enter_context(socket.socket())
            full.bind(("127.0.0.2", port))
            full.listen(0)
            opened.enter_context(socket.create_connection(("127.0.0.2", port)))

        yield fill


async def test_an_address_that_refuses_is_followed_by_the_next_at_once(listener: socket.socket) -> None:
    """The living address is used, and the dead one is named."""
    port = listener.getsockname()[1]
    begun_s = time.monotonic()

    address, watch = await dial(dialer(port, "127.0.0.2", "127.0.0.3"))

    assert time.monotonic() - begun_s < NEXT_ADDRESS_S
    assert (address, watch.address) == ("127.0.0.3", "127.0.0.3")
    assert watch.words.startswith(" (passed over: 127.0.0.2: connect to 127.0.0.2: ")


async def test_an_address_that_is_silent_is_followed_by_the_next_after_a_while(
    listener: socket.socket, silent: Callable[[int], None]
) -> None:
    """The wait is that of RFC 8305, and nothing of the silent one stays open."""
    port = listener.getsockname()[1]
    silent(port)
    before = len(os.listdir("/proc/self/fd"))
    begun_s = time.monotonic()

    address, watch = await dial(dialer(port, "127.0.0.2", "127.0.0.3"))

    assert NEXT_ADDRESS_S <= time.monotonic() - begun_s < 3 * NEXT_ADDRESS_S
    assert address == "127.0.0.3"
    assert watch.words == " (passed over: 127.0.0.2: no answer within 250 ms)"
    await asyncio.sleep(0.005)
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_a_slow_address_is_still_used_where_the_next_one_fails(listener: socket.socket) -> None:
    """Going on to the next address does not give up the one before."""
    port = listener.getsockname()[1]

    address, watch = await dial(dialer(port, "127.0.0.3", "127.0.0.2"))

    assert (address, watch.words) == ("127.0.0.3", "")


async def test_each_new_connection_begins_with_the_next_address(listener: socket.socket) -> None:
    """A dead address of two is met by every other attempt, so it is seen again and again."""
    port = listener.getsockname()[1]
    to = dialer(port, "127.0.0.2", "127.0.0.3")

    met = [(await dial(to))[1].words != "" for _ in range(4)]

    assert met == [True, False, True, False]


@pytest.mark.parametrize(
    ("addresses", "cause"),
    [
        (("127.0.0.2", "127.0.0.4"), Cause.REFUSED),
        (("127.0.0.2", NO_ROUTE_TO), Cause.REFUSED),
        ((NO_ROUTE_TO, "127.0.0.2"), Cause.REFUSED),
        ((NO_ROUTE_TO, NO_ROUTE_TO), Cause.NO_ROUTE),
    ],
)
async def test_where_every_address_fails_the_network_is_told_before_a_missing_route(
    listener: socket.socket, addresses: tuple[str, ...], cause: Cause
) -> None:
    """Who has no route to one family has not learnt anything about the server by it."""
    with pytest.raises(Trouble) as raised:
        await dialer(listener.getsockname()[1], *addresses).open(Watch())

    assert raised.value.cause is cause


async def test_families_alternate_beginning_with_the_preferred(listener: socket.socket) -> None:
    """The living IPv4 address comes second, however many IPv6 addresses there are."""
    port = listener.getsockname()[1]

    address, watch = await dial(dialer(port, "::1", "::1", "::1", "127.0.0.3"))

    assert address == "127.0.0.3"
    assert list(watch.passed_over) == ["::1"]


async def test_a_deadline_while_dialling_leaves_nothing_open(silent: Callable[[int], None], free_port: Any) -> None:
    """What was under way is closed when the attempt is cancelled."""
    port = free_port()
    silent(port)
    before = len(os.listdir("/proc/self/fd"))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await dialer(port, "127.0.0.2", "127.0.0.2").open(Watch())

    await asyncio.sleep(0.005)
    assert len(os.listdir("/proc/self/fd")) <= before


class Kernel:
    """A socket of which the kernel says this."""

    def __init__(self, info: bytes) -> None:
        self.info = info

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        """Return tcp_info, as much as was asked for."""
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_INFO)
        return self.info[:size]


def info(retransmissions: int, out_of_order: int, size: int = 248) -> bytes:
    """Make a struct tcp_info of linux/tcp.h."""
    whole = bytearray(248)
    struct.pack_into("=I", whole, 100, retransmissions)
    struct.pack_into("=I", whole, 224, out_of_order)
    return bytes(whole[:size])


@pytest.mark.parametrize(
    ("said", "lost"),
    [(info(0, 0), 0), (info(3, 0), 3), (info(0, 2), 2), (info(1, 2), 3), (info(1, 2, size=104), 1), (b"", 0)],
)
def test_lost_packets_are_those_sent_again_and_those_behind_a_gap(said: bytes, lost: int) -> None:
    """An older kernel says less, and what it does not say is none."""
    assert packets_lost(cast(socket.socket, Kernel(said))) == lost


def test_a_clean_connection_has_lost_nothing_and_a_closed_one_says_nothing(listener: socket.socket) -> None:
    """The real kernel is asked in the same way."""
    with socket.create_connection(listener.getsockname()) as client:
        assert packets_lost(client) == 0
    assert packets_lost(client) == 0
    assert packets_lost(None) == 0


def test_only_a_silence_is_doubted() -> None:
    """A reply that came says what it says, however many packets it took."""
    changed = {cause for cause in Cause if doubted(cause, 1) is not cause}
    assert changed == {Cause.SILENT, Cause.BODY_STALLED}
    assert all(doubted(cause, 0) is cause for cause in Cause)


@pytest.mark.parametrize("stuck", [True, False])
async def test_a_kept_connection_is_given_up_only_if_it_is_stuck(monkeypatch: pytest.MonkeyPatch, stuck: bool) -> None:
    """After a while the guard looks once."""
    monkeypatch.setattr("probe.surfaces.path.STUCK_S", 0.01)
    given_up = asyncio.Event()

    with StuckGuard(lambda: stuck, given_up.set) as guard:
        await asyncio.sleep(0.03)

    assert (guard.struck, given_up.is_set()) == (stuck, stuck)
