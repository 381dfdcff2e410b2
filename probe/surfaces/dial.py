"""From a name to a connected TCP socket: look-up and connect, timed apart.

A service is not unavailable while one of its addresses answers, or while IPv4 works and only IPv6 is broken: every
ordinary client goes on to the next address (RFC 5321 section 5.1, RFC 8305), and a claim has to survive that. So an
address that fails, or does not answer within `NEXT_ADDRESS_S`, is followed by the next one, families in alternation,
within the attempt's deadline. The first connection that stands is used and nothing was said on any other, so an attempt
stays one transaction. A dead address is not hidden: the attempt's record names those that were passed over, each new
connection begins with the next address in turn, and a fallback costs time that is recorded.
"""

import asyncio
import ipaddress
import itertools
import socket
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Final, Literal

import aiodns
from pycares import AddrInfoNode

from probe.core.endings import cause_of_errno, fault_of
from probe.core.model import Cause, Fault, Phase
from probe.surfaces.names import OtherResolvers, missing
from probe.surfaces.watch import Trouble, Watch

Family = Literal["any", "ipv4", "ipv6"]
SocketAddress = tuple[str, int] | tuple[str, int, int, int]
Place = tuple[socket.AddressFamily, SocketAddress]

# RFC 8305 section 8 recommends it as the time after which the next address is tried.
NEXT_ADDRESS_S: Final = 0.25
ADDRESSES_MAX: Final = 8  # dialled by one attempt

_FAMILIES: dict[Family, socket.AddressFamily] = {
    "any": socket.AF_UNSPEC,
    "ipv4": socket.AF_INET,
    "ipv6": socket.AF_INET6,
}


class Dialer:
    """Opens TCP connections to one host and port. Shares a resolver, which caches no longer than a record's TTL.

    That a name is absent is confirmed by `others`; with None our own resolver's word is taken for it.
    """

    def __init__(
        self,
        resolver: aiodns.DNSResolver,
        host: str,
        port: int,
        family: Family = "any",
        others: OtherResolvers | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self._resolver = resolver
        self._others = others
        self._family = _FAMILIES[family]
        self._turn = itertools.count()
        self._literal = _literal_address(host, port)

    async def open(self, watch: Watch) -> tuple[socket.socket, str]:
        """Return a connected non-blocking socket and the address it is connected to; raise Trouble."""
        places = [self._literal] if self._literal else await self._look_up(watch)
        watch.enter(Phase.CONNECT)
        if len(places) == 1:
            watch.address = places[0][1][0]
            return await _connected(*places[0]), watch.address
        return await _first_connected(places, watch)

    async def _look_up(self, watch: Watch) -> list[Place]:
        watch.enter(Phase.LOOKUP)
        try:
            found = await self._resolver.getaddrinfo(
                self.host, family=self._family, port=self.port, type=socket.SOCK_STREAM
            )
        except aiodns.error.DNSError as error:
            raise await self._without_address(error) from error
        # RFC 6724 has put the preferred family first.
        families = list(dict.fromkeys(node.family for node in found.nodes))
        turn = next(self._turn)
        by_family = [_turned([self._place(node) for node in found.nodes if node.family == f], turn) for f in families]
        mixed = [place for row in itertools.zip_longest(*by_family) for place in row if place is not None]
        return mixed[:ADDRESSES_MAX]

    async def _without_address(self, error: aiodns.error.DNSError) -> Trouble:
        lacks = missing(error)
        if lacks and self._others is not None:
            return await self._others.absence(self.host, self._family, lacks)
        return Trouble(
            Cause.NAME_NOT_FOUND if lacks else Cause.RESOLVER, reply=f"look-up of {self.host}: {error.args[-1]}"
        )

    def _place(self, node: AddrInfoNode) -> Place:
        host = node.addr[0]
        text = host.decode() if isinstance(host, bytes) else host
        return socket.AddressFamily(node.family), _socket_address(text, self.port)


async def _connected(family: socket.AddressFamily, address: SocketAddress) -> socket.socket:
    sock = _new_socket(family)
    try:
        await asyncio.get_running_loop().sock_connect(sock, address)
    except OSError as error:
        sock.close()
        raise Trouble(cause_of_errno(error.errno), reply=f"connect to {address[0]}: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    return sock


async def _first_connected(places: Sequence[Place], watch: Watch) -> tuple[socket.socket, str]:
    """Connect to the first place that answers, each begun when the one before failed or kept us waiting."""
    waiting = deque(places)
    under_way: dict[asyncio.Task[socket.socket], str] = {}
    troubles: list[Trouble] = []
    try:
        while waiting or under_way:
            if waiting:
                place = waiting.popleft()
                watch.address = place[1][0]
                under_way[asyncio.create_task(_connected(*place))] = watch.address
            limit_s = NEXT_ADDRESS_S if waiting else None
            done, _ = await asyncio.wait(under_way, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                watch.passed_over[watch.address] = f"no answer within {NEXT_ADDRESS_S * 1000:.0f} ms"
            for task in done:
                address = under_way.pop(task)
                error = task.exception()
                if error is None:
                    watch.address = address
                    watch.passed_over.pop(address, None)
                    return task.result(), address
                if not isinstance(error, Trouble):
                    raise error
                troubles.append(error)
                watch.passed_over[address] = error.reply
        raise min(troubles, key=_telling)
    finally:
        for task in under_way:
            task.add_done_callback(_discard)
            task.cancel()


def _telling(trouble: Trouble) -> int:
    """Order the failures of several addresses: our own shortage first, then the network's, then a missing route.

    Who has no route to one family has not learnt anything about the server by it.
    """
    if trouble.cause is Cause.NO_ROUTE:
        return 2
    return 0 if fault_of(trouble.cause) is Fault.SELF else 1


def _discard(task: "asyncio.Task[socket.socket]") -> None:
    """Close what a connection that came too late has made."""
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _turned(places: list[Place], turn: int) -> list[Place]:
    first = turn % len(places)
    return places[first:] + places[:first]


def trust(ca_file: str | None) -> ssl.SSLContext:
    """Return a TLS client context; build it once per trust store, since loading one takes tens of milliseconds.

    TLS 1.2 is the least: the provider's public hosts were seen with it, and 1.3 alone would fail on our own account.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def expiry_of(shaken: ssl.SSLObject) -> int:
    """Return the second in which the certificate expires that a peer has shown; 0 if it was not verified."""
    certificate = shaken.getpeercert()
    return ssl.cert_time_to_seconds(str(certificate["notAfter"])) if certificate else 0


def cause_of_tls(error: ssl.SSLError) -> Cause:
    """Say what a failed handshake means. Alerts by RFC 8446 section 6; certificate errors by OpenSSL's verify code."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CAUSE_BY_VERIFY_CODE.get(error.verify_code, Cause.TRUST_STORE)
    reason = error.reason or str(error)
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason or "UNEXPECTED_MESSAGE" in reason:
        return Cause.NOT_TLS
    if "ALERT_INTERNAL_ERROR" in reason:
        return Cause.TLS_SERVER_ERROR
    if "malloc failure" in str(error).lower():
        return Cause.MEMORY
    if "EOF" in reason:
        return Cause.CLOSED
    return Cause.TLS_FAILED


# X509_V_ERR_CERT_NOT_YET_VALID (9) is left to the trust store's row: our own clock is the likelier liar.
_CAUSE_BY_VERIFY_CODE = {10: Cause.CERTIFICATE_EXPIRED, 62: Cause.CERTIFICATE_NAME, 64: Cause.CERTIFICATE_NAME}


def _new_socket(family: socket.AddressFamily) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise Trouble(cause_of_errno(error.errno), reply=f"socket: {error.strerror}") from error
    sock.setblocking(False)
    # Small writes that wait for an acknowledgement (RFC 896) would be counted as the server's time.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _literal_address(host: str, port: int) -> tuple[socket.AddressFamily, SocketAddress] | None:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return (socket.AF_INET if version == 4 else socket.AF_INET6), _socket_address(host, port)


def _socket_address(host: str, port: int) -> SocketAddress:
    return (host, port, 0, 0) if ":" in host else (host, port)
