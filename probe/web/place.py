"""Where the listener listens, and who is turned away at the door."""

import asyncio
import errno
import ipaddress
import json
import os
from typing import Final
from urllib.parse import urlsplit

RETRY_AFTER_S: Final = 1


class ListenerError(Exception):
    """The listener cannot listen; the message is one sentence for the operator."""


class Turned(asyncio.Protocol):
    """A connection too many: told so and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so and close (asyncio's protocol interface)."""
        assert isinstance(transport, asyncio.WriteTransport)
        body = json.dumps({"error": "too many connections"}).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            f"Retry-After: {RETRY_AFTER_S}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        transport.write(head.encode() + body)
        transport.close()


def host_of(host_header: str) -> str:
    """Take the port and an IPv6 address's brackets off a Host header."""
    if host_header.startswith("["):
        return host_header[1:].partition("]")[0]
    return host_header.partition(":")[0]


def origin_host(origin: str) -> str:
    """Take the host and port out of an Origin header; "" if it has none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def why_not(host: str, port: int, error: Exception) -> str:
    """Say in one sentence why the address cannot be had, and what to do about it."""
    wanted = f"The listener cannot use {host} port {port}"
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EADDRINUSE:
        return f"{wanted}: another program listens there; stop that one or set another listener.port."
    if code == errno.EACCES:
        return f"{wanted}: this user may not listen on so low a port; set listener.port to 1024 or more."
    # From Python 3.13 on asyncio passes over addresses that the host does not have, and says so without a number.
    if code == errno.EADDRNOTAVAIL or "could not bind on any address" in str(error):
        return f"{wanted}: this host does not have that address; mend listener.host."
    reason = os.strerror(code) if code is not None and code > 0 else str(error)
    return f"{wanted}: {reason}; mend listener.host or listener.port."
