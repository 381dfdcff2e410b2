"""From a name to a connected TCP socket: look-up and connect, timed apart, one address, no race and no second try.

An attempt is evidence about one path. Happy eyeballs (RFC 8305) would hide a dead address behind a living one, so each
new connection takes one address of the answer, the next one in turn.
"""

import asyncio
import ipaddress
import itertools
import socket
import ssl
from typing import Literal

import aiodns

from probe.core.endings import cause_of_errno
from probe.core.model import Cause, Phase
from probe.surfaces.watch import Trouble, Watch

Family = Literal["any", "ipv4", "ipv6"]
SocketAddress = tuple[str, int] | tuple[str, int, int, int]

_FAMILIES: dict[Family, socket.AddressFamily] = {
    "any": socket.AF_UNSPEC,
    "ipv4": socket.AF_INET,
    "ipv6": socket.AF_INET6,
}
# The zone's servers answered, and the answer is no. Everything else says more about our resolver than about the zone.
_NAME_IS_ABSENT = frozenset({aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_ENODATA, aiodns.error.ARES_ENONAME})


class Dialer:
    """Opens TCP connections to one host and port. Shares a resolver, which caches no longer than a record's TTL."""

    def __init__(self, resolver: aiodns.DNSResolver, host: str, port: int, family: Family = "any") -> None:
        self.host = host
        self.port = port
        self._resolver = resolver
        self._family = _FAMILIES[family]
        self._turn = itertools.count()
        self._literal = _literal_address(host, port)

    async def open(self, watch: Watch) -> tuple[socket.socket, str]:
        """Return a connected non-blocking socket and the address it is connected to; raise Trouble."""
        family, address = self._literal or await self._look_up(watch)
        watch.enter(Phase.CONNECT)
        watch.address = address[0]
        sock = _new_socket(family)
        try:
            await asyncio.get_running_loop().sock_connect(sock, address)
        except OSError as error:
            sock.close()
            raise Trouble(cause_of_errno(error.errno), reply=f"connect to {address[0]}: {error.strerror}") from error
        except BaseException:
            sock.close()
            raise
        return sock, address[0]

    async def _look_up(self, watch: Watch) -> tuple[socket.AddressFamily, SocketAddress]:
        watch.enter(Phase.LOOKUP)
        try:
            found = await self._resolver.getaddrinfo(
                self.host, family=self._family, port=self.port, type=socket.SOCK_STREAM
            )
        except aiodns.error.DNSError as error:
            absent = error.args[0] in _NAME_IS_ABSENT
            cause = Cause.NAME_NOT_FOUND if absent else Cause.RESOLVER
            raise Trouble(cause, reply=f"look-up of {self.host}: {error.args[-1]}") from error
        # RFC 6724 has put the preferred family first; the other one is another vantage, never a silent fallback.
        nodes = [node for node in found.nodes if node.family == found.nodes[0].family]
        node = nodes[next(self._turn) % len(nodes)]
        host = node.addr[0]
        text = host.decode() if isinstance(host, bytes) else host
        return socket.AddressFamily(node.family), _socket_address(text, self.port)


def trust(ca_file: str | None) -> ssl.SSLContext:
    """Return a TLS client context; build it once per trust store, since loading one takes tens of milliseconds.

    TLS 1.2 is the least: the provider's public hosts were seen with it, and 1.3 alone would fail on our own account.
    """
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


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
