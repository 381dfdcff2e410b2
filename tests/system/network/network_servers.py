"""What stands in the namespaces beside the prober: simulated providers, controls over HTTPS, and a resolver that lies.

All run on one thread; a socket belongs to the namespace that the thread was in when it was made.
"""

import asyncio
import ipaddress
import ssl
import struct
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import trustme

from probe.core.model import Surface
from probe.simulator import FaultKind, ProviderOptions, SimulatedFault, SimulatedProvider

if TYPE_CHECKING:
    from tests.system.network.network_world import (
        CONTROL_ADDRESSES,
        CONTROLS,
        OTHER_RESOLVER_ADDRESS,
        PROVIDER,
        PROVIDER_ADDRESSES,
        PROVIDER_ADDRESSES_6,
        RESOLVER_ADDRESS,
        ROUTER,
        World,
    )
else:
    from network_world import (
        CONTROL_ADDRESSES,
        CONTROLS,
        OTHER_RESOLVER_ADDRESS,
        PROVIDER,
        PROVIDER_ADDRESSES,
        PROVIDER_ADDRESSES_6,
        RESOLVER_ADDRESS,
        ROUTER,
        World,
    )

KEY: Final = "network-key-2b8e61d7c4"
CONTROL_PORT: Final = 443
API_PORT, SMTP_PORT = 8443, 5870
PROVIDER_HOST: Final = "provider.test"
GONE_HOST: Final = "gone.test"  # a name of the provider's that the other resolver does not know
# Real sites show chains of some kilobytes, which is why a control over TLS notices that large packets vanish.
_PADDING_NAMES: Final = tuple(f"{'padding-' * 6}{number}.test" for number in range(40))
_WAIT_S: Final = 20.0
_A, _AAAA = 1, 28
_NAME_ABSENT, _REFUSED = 3, 5
_DNS_HEAD: Final = struct.Struct(">HHHHHH")

Manner = Literal["honest", "silent", "refuses", "lies", "slow"]


@dataclass(kw_only=True)
class Resolver(asyncio.DatagramProtocol):
    """A resolver that knows a few names, and answers in the manner that it is told to."""

    addresses: dict[str, tuple[str, ...]]
    manner: Manner = "honest"
    slow_s: float = 5.0
    questions: list[str] = field(default_factory=list)
    _transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer one question, or not."""
        name, kind, end = _question(data)
        self.questions.append(name)
        if self.manner == "silent":
            return
        code = {"refuses": _REFUSED, "lies": _NAME_ABSENT}.get(self.manner, 0)
        known = self.addresses.get(name, ())
        found = [address for address in known if (":" in address) == (kind == _AAAA)] if kind in (_A, _AAAA) else []
        if not known:
            code = code or _NAME_ABSENT
        reply = _reply(data[:end], code, [] if code else found)
        wait_s = self.slow_s if self.manner == "slow" else 0.0
        asyncio.get_running_loop().call_later(wait_s, self._send, reply, addr)

    def _send(self, reply: bytes, addr: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(reply, addr)

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.abort()


def _question(data: bytes) -> tuple[str, int, int]:
    labels, at = [], _DNS_HEAD.size
    while size := data[at]:
        labels.append(data[at + 1 : at + 1 + size].decode("ascii").lower())
        at += 1 + size
    return ".".join(labels), int.from_bytes(data[at + 1 : at + 3], "big"), at + 5


def _reply(question: bytes, code: int, addresses: list[str]) -> bytes:
    """Make a reply (RFC 1035 section 4) whose records live for no time at all, so that nothing is remembered."""
    (number, flags, *_) = _DNS_HEAD.unpack_from(question)
    head = _DNS_HEAD.pack(number, 0x8080 | (flags & 0x0100) | code, 1, len(addresses), 0, 0)
    records = b""
    for address in addresses:
        packed = ipaddress.ip_address(address).packed
        kind = _A if len(packed) == 4 else _AAAA
        records += struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(packed)) + packed
    return head + question[_DNS_HEAD.size :] + records


@dataclass(frozen=True, slots=True, kw_only=True)
class Staff:
    """The servers of one experiment."""

    provider: SimulatedProvider
    resolver: Resolver  # the prober's own
    ca_file: Path
    call: Callable[[Callable[[], None]], None]  # runs something on the servers' thread

    def delay(self, surface: Surface, by_s: float) -> None:
        """Have the provider give each last reply late."""
        fault = SimulatedFault(kind=FaultKind.SLOW, by_s=by_s)
        self.call(lambda: self.provider.set(surface, fault))

    def hurry(self) -> None:
        """Have the provider answer at once again."""
        for surface in Surface:
            self.call(lambda surface=surface: self.provider.clear(surface))  # type: ignore[misc]

    def tell(self, manner: Manner) -> None:
        """Have the prober's own resolver answer so from now on."""
        self.resolver.manner = manner


class Servers:
    """The servers of all experiments, on one thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers")
        self._thread.start()
        self._ends: list[Callable[[], Coroutine[Any, Any, None]]] = []
        authority = trustme.CA()
        certificate = authority.issue_cert(*CONTROL_ADDRESSES, *_PADDING_NAMES)
        self._control_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(self._control_tls)
        self.control_ca_file = folder / "control-ca.pem"
        authority.cert_pem.write_to_path(str(self.control_ca_file))
        self.key_file = folder / "key"
        self.key_file.write_text(KEY)
        self.key_file.chmod(0o600)

    def staff(self, world: World, provider_addresses: tuple[str, ...]) -> Staff:
        """Start the servers of one experiment; `provider_addresses` are what the provider's name stands for."""
        staff = self.do(self._staff(world, provider_addresses))
        assert isinstance(staff, Staff)
        return staff

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run something on the servers' thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_WAIT_S)

    def _call(self, function: Callable[[], None]) -> None:
        async def call() -> None:
            function()

        self.do(call())

    def close(self) -> None:
        """End all."""
        for end in reversed(self._ends):
            self.do(end())
        self.do(_cancel_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _staff(self, world: World, provider_addresses: tuple[str, ...]) -> Staff:
        options = ProviderOptions(
            host="::",
            api_port=API_PORT,
            smtp_port=SMTP_PORT,
            key=KEY,
            names=(PROVIDER_HOST, GONE_HOST, *PROVIDER_ADDRESSES, *PROVIDER_ADDRESSES_6, *_PADDING_NAMES),
        )
        folder = self._folder / world.name
        folder.mkdir()
        provider = SimulatedProvider(options, directory=folder)
        await world.within(PROVIDER, provider.__aenter__)
        self._ends.append(provider.__aexit__)
        await world.within(CONTROLS, self._start_controls)
        known = {PROVIDER_HOST: provider_addresses}
        own = Resolver(addresses={**known, GONE_HOST: provider_addresses})
        await world.within(ROUTER, lambda: self._start_resolver(own, RESOLVER_ADDRESS))
        await world.within(ROUTER, lambda: self._start_resolver(Resolver(addresses=known), OTHER_RESOLVER_ADDRESS))
        return Staff(provider=provider, resolver=own, ca_file=provider.ca_file, call=self._call)

    async def _start_controls(self) -> None:
        server = await asyncio.start_server(_answer_once, "0.0.0.0", CONTROL_PORT, ssl=self._control_tls)

        async def end() -> None:
            server.close()
            await server.wait_closed()

        self._ends.append(end)

    async def _start_resolver(self, resolver: Resolver, address: str) -> None:
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: resolver, (address, 53))

        async def end() -> None:
            resolver.close()

        self._ends.append(end)


async def _cancel_all() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


async def _answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.transport.abort() if writer.transport.is_closing() else writer.close()
