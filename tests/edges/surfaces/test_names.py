"""A name that our own resolver calls absent, and what others say of it; real questions over UDP on loopback."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import aiodns
import pytest

from probe.clock import SECOND_US, SystemClock
from probe.core.model import Cause, Fault, Phase, Surface, Ticket
from probe.settings import Control, Settings
from probe.surfaces.api import ApiSurface
from probe.surfaces.control import ControlSurface
from probe.surfaces.dial import Dialer
from probe.surfaces.names import OtherResolvers
from probe.surfaces.smtp import SmtpSurface
from probe.surfaces.watch import Trouble, Watch

HOST = "provider.test"
HEAD = struct.Struct(">HHHHHH")
A = 1
NAME_ABSENT, REFUSED = 3, 5


class Nameserver(asyncio.DatagramProtocol):
    """Answers every question in one manner: with an address, without one, or not at all."""

    def __init__(self, manner: str) -> None:
        self.manner = manner
        self.address = ""  # as the settings name it
        self.questions = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.DatagramTransport, transport)
        host, port, *_ = transport.get_extra_info("sockname")
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer one question (RFC 1035 section 4), with nothing that anybody may remember."""
        self.questions += 1
        if self.manner == "silent":
            return
        end = data.index(b"\0", HEAD.size) + 5
        has_address = self.manner == "address" and int.from_bytes(data[end - 4 : end - 2], "big") == A
        code = {"absent": NAME_ABSENT, "refuses": REFUSED}.get(self.manner, 0)
        number = int.from_bytes(data[:2], "big")
        reply = HEAD.pack(number, 0x8180 | code, 1, int(has_address), 0, 0) + data[HEAD.size : end]
        if has_address:
            reply += struct.pack(">HHHIH", 0xC00C, A, 1, 0, 4) + socket.inet_aton("127.0.0.1")
        self.transport.sendto(reply, addr)


Serve = Callable[..., Any]


@pytest.fixture
async def nameserver() -> AsyncIterator[Serve]:
    """Give a function that starts a name server on loopback."""
    started: list[Nameserver] = []

    async def start(manner: str, host: str = "127.0.0.1") -> Nameserver:
        made = Nameserver(manner)
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: made, (host, 0))
        started.append(made)
        return made

    yield start
    for one in started:
        one.transport.abort()


@pytest.fixture
async def own(nameserver: Serve) -> AsyncIterator[tuple[aiodns.DNSResolver, Nameserver]]:
    """Give our own resolver, which calls every name absent, and the server that it asks."""
    server = await nameserver("absent")
    resolver = aiodns.DNSResolver(nameservers=[server.address], timeout=2, tries=1)
    yield resolver, server
    await resolver.close()


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a shorter time for those who do not answer; only where nobody does, for a busy machine is slow."""
    monkeypatch.setattr("probe.surfaces.names.ANSWER_S", 0.15)


@pytest.fixture
async def others() -> AsyncIterator[OtherResolvers]:
    """Give the other resolvers, of which none is named yet."""
    made = OtherResolvers()
    yield made
    await made.close()


async def look_up(resolver: aiodns.DNSResolver, others: OtherResolvers | None, **more: Any) -> Trouble:
    """Open a connection that comes to nothing, and return why."""
    watch = Watch()
    with pytest.raises(Trouble) as caught:
        await Dialer(resolver, HOST, 1, others=others, **more).open(watch)
    return caught.value


Own = tuple[aiodns.DNSResolver, Nameserver]
NOT_THERE = f"{HOST} does not exist"


@pytest.mark.parametrize(
    ("manners", "cause", "words"),
    [
        (["absent"], Cause.NAME_NOT_FOUND, "{host} does not exist, say our own resolver and {0}"),
        (["empty"], Cause.NAME_NOT_FOUND, "{host} does not exist, say our own resolver and {0}"),
        (["absent", "absent"], Cause.NAME_NOT_FOUND, "{host} does not exist, say our own resolver and {0} and {1}"),
        (["refuses", "absent"], Cause.NAME_NOT_FOUND, "{host} does not exist, say our own resolver and {1}"),
        (
            ["address"],
            Cause.RESOLVER,
            "our resolver says that {host} does not exist, {0} has an address for it",
        ),
        (
            ["absent", "address", "refuses"],
            Cause.RESOLVER,
            "our resolver says that {host} does not exist, {1} has an address for it",
        ),
        (
            ["address", "address"],
            Cause.RESOLVER,
            "our resolver says that {host} does not exist, {0} and {1} have an address for it",
        ),
        (["refuses"], Cause.RESOLVER, "{host} does not exist, says our own resolver alone; no answer from {0}"),
        ([], Cause.RESOLVER, "{host} does not exist, says our own resolver alone; name others under resolvers"),
    ],
)
async def test_a_name_is_gone_only_if_another_resolver_says_so_and_none_contradicts(
    own: Own, nameserver: Serve, others: OtherResolvers, manners: list[str], cause: Cause, words: str
) -> None:
    """Our own resolver's word alone is never laid at the provider's door, and the words name who said what."""
    servers = [await nameserver(manner) for manner in manners]
    addresses = [server.address for server in servers]
    others.name(addresses)

    trouble = await look_up(own[0], others)

    assert trouble.cause is cause
    assert trouble.reply == words.format(*addresses, host=HOST)


async def test_a_silent_resolver_confirms_nothing(
    own: Own, nameserver: Serve, others: OtherResolvers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited for no longer than a while."""
    hurry(monkeypatch)
    others.name([(await nameserver("silent")).address])

    trouble = await look_up(own[0], others)

    assert trouble.cause is Cause.RESOLVER
    assert "says our own resolver alone; no answer from" in trouble.reply


async def test_a_name_without_an_address_is_confirmed_likewise(
    own: Own, nameserver: Serve, others: OtherResolvers
) -> None:
    """It is asked for the family that is dialled, and the words say what is missing."""
    own[1].manner = "empty"
    other = await nameserver("address")
    others.name([other.address])

    six = await look_up(own[0], others, family="ipv6")
    four = await look_up(own[0], others, family="ipv4")

    assert (six.cause, six.reply) == (
        Cause.NAME_NOT_FOUND,
        f"{HOST} has no address, say our own resolver and {other.address}",
    )
    assert four.cause is Cause.RESOLVER
    assert four.reply == f"our resolver says that {HOST} has no address, {other.address} has an address for it"


async def test_a_resolver_may_be_named_by_an_ipv6_address(own: Own, nameserver: Serve, others: OtherResolvers) -> None:
    """Its port stands behind brackets."""
    other = await nameserver("absent", "::1")
    others.name([other.address])

    trouble = await look_up(own[0], others)

    assert trouble.cause is Cause.NAME_NOT_FOUND


@pytest.mark.parametrize("manner", ["address", "refuses"])
async def test_others_are_not_asked_unless_our_own_calls_the_name_absent(
    own: Own, nameserver: Serve, others: OtherResolvers, manner: str
) -> None:
    """They confirm an absence and do nothing else."""
    own[1].manner = manner
    other = await nameserver("absent")
    others.name([other.address])

    trouble = await look_up(own[0], others)

    assert trouble.cause is (Cause.REFUSED if manner == "address" else Cause.RESOLVER)
    assert other.questions == 0


async def test_many_attempts_at_once_ask_once(own: Own, nameserver: Serve, others: OtherResolvers) -> None:
    """One question for each kind of address serves all of them."""
    other = await nameserver("absent")
    others.name([other.address])

    troubles = await asyncio.gather(*(look_up(own[0], others) for _ in range(20)))

    assert {trouble.cause for trouble in troubles} == {Cause.NAME_NOT_FOUND}
    assert other.questions == 2


async def test_an_attempt_that_ends_early_takes_nobody_elses_answer_away(
    own: Own, nameserver: Serve, others: OtherResolvers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The attempts that share a question wait for it each by its own deadline."""
    hurry(monkeypatch)
    other = await nameserver("silent")
    others.name([other.address])
    patient = asyncio.create_task(look_up(own[0], others))

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await Dialer(own[0], HOST, 1, others=others).open(Watch())

    assert (await patient).reply.endswith(f"no answer from {other.address}")


async def test_resolvers_named_anew_are_asked_at_once(own: Own, nameserver: Serve, others: OtherResolvers) -> None:
    """An answer of those before is not used any more, and one that is named twice is asked once."""
    before, after = await nameserver("absent"), await nameserver("address")
    others.name([before.address])
    assert (await look_up(own[0], others)).cause is Cause.NAME_NOT_FOUND

    others.name([after.address, after.address])

    trouble = await look_up(own[0], others)
    assert trouble.reply == f"our resolver says that {HOST} does not exist, {after.address} has an address for it"


def target() -> Settings:
    """Make settings for a target that is watched by its name on both surfaces."""
    addresses = {"sender": "a@example.com", "recipient": "b@example.com"}
    api = {"base_url": f"https://{HOST}", "body": {}}
    smtp = {"host": HOST, **addresses}
    return Settings.model_validate({"vantage": "here", "targets": [{"name": "main", "api": api, "smtp": smtp}]})


@pytest.mark.parametrize("surface", Surface)
@pytest.mark.parametrize("confirmed", [True, False])
async def test_both_surfaces_ask(
    own: Own, nameserver: Serve, others: OtherResolvers, client_tls: Any, surface: Surface, confirmed: bool
) -> None:
    """The outcome carries fault, cause and words; without anybody to ask, the fault is our own."""
    if confirmed:
        others.name([(await nameserver("absent")).address])
    watched = target().targets[0]
    assert watched.api is not None
    assert watched.smtp is not None
    common: dict[str, Any] = {
        "target": "main",
        "vantage": "here",
        "resolver": own[0],
        "clock": SystemClock(),
        "tls": client_tls,
        "in_flight_max": 10,
        "others": others if confirmed else None,
    }
    prober = ApiSurface(watched.api, **common) if surface is Surface.API else SmtpSurface(watched.smtp, **common)
    ticket = Ticket(target="main", vantage="here", surface=surface, second=1_764_000_000, ordinal=0)

    outcome = await prober.attempt(ticket, SystemClock().monotonic_us() + 2 * SECOND_US)
    prober.close()

    expected = (Fault.NETWORK, Cause.NAME_NOT_FOUND) if confirmed else (Fault.SELF, Cause.RESOLVER)
    assert (outcome.fault, outcome.cause, outcome.phase) == (*expected, Phase.LOOKUP)
    assert outcome.reply.startswith(NOT_THERE)


async def test_a_control_takes_our_own_resolvers_word(own: Own) -> None:
    """Nothing is laid at anybody's door by it, and a control whose name is gone for good has to lose its trust."""
    settings = Control.model_validate({"name": "gone", "kind": "tcp", "address": f"{HOST}:443"})
    control = ControlSurface(settings, resolver=own[0], clock=SystemClock(), tls=None)

    assert (await control.attempt(1)).cause is Cause.NAME_NOT_FOUND
