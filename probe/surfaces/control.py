"""A control: an attempt at something that is not the provider, to learn whether our own network works.

Always on a fresh connection: what is asked of a control is whether a path can be made now.

It must not vouch for a network that is sick in a way which it happened to survive, so it is made to notice more than
whether somebody answers:

- An HTTP request is padded to more than one full packet, and a site's certificates fill several in the other direction.
  Where large packets vanish, an HTTPS control fails like the provider's surfaces do.
- A control on whose connection packets were lost does not vouch, though it was answered in the end, nor does one that
  met loss or silence in several of its latest attempts. A connect takes few packets, so single ones slip through a
  network that loses a third of all.
"""

import ssl
from collections import deque
from typing import Final

import aiodns
import structlog

from probe.clock import SECOND_US, Clock
from probe.core.endings import own_cause_of
from probe.core.model import Cause, ControlOutcome, Phase
from probe.core.replies_api import WITHOUT_REPLY
from probe.settings import Control
from probe.surfaces.dial import Dialer
from probe.surfaces.http import Arrived, NoReply, connect, exchange
from probe.surfaces.path import packets_lost
from probe.surfaces.request import USER_AGENT, Origin, origin_of
from probe.surfaces.watch import Deadline, Trouble, Watch

_log = structlog.get_logger(__name__)

_SERVER_ERROR_MIN = 500
# 511 and 407 are our own network's words: the reply did not come from where we asked.
_CAPTIVE_STATUSES = frozenset({407, 511})
_SILENT_BY_PHASE = {Phase.START: Cause.INTERNAL, Phase.LOOKUP: Cause.RESOLVER, Phase.CONNECT: Cause.CONNECT_TIMEOUT}


# More than the largest packet of an Ethernet, and far less than what servers take as headers.
PADDING_BYTES: Final = 1600
# Of the latest so many attempts, so many that met loss or silence make the network a lossy one.
LATEST_ATTEMPTS: Final = 10
LOSSY_ATTEMPTS_MIN: Final = 2
# What a lossy network does to a control; a refusal or a reset is not among it.
_LOSSES: Final = frozenset({Cause.LOSSY_NETWORK, Cause.CONNECT_TIMEOUT, Cause.SILENT, Cause.SEND_STUCK})


class ControlSurface:
    """Makes attempts at one control: a TCP connect, or an HTTP HEAD that anything but a server error answers."""

    def __init__(
        self, settings: Control, *, resolver: aiodns.DNSResolver, clock: Clock, tls: ssl.SSLContext | None
    ) -> None:
        self._name = settings.name
        self._timeout_s = settings.timeout_s
        self._clock = clock
        self._request = b""
        self._latest: deque[bool] = deque(maxlen=LATEST_ATTEMPTS)  # whether each met loss or silence
        self._tls: ssl.SSLContext | None = None
        if settings.kind == "http":
            origin = origin_of(settings.url, tls)
            self._tls = tls if origin.is_tls else None
            self._request = _head_request(origin)
            host, port = origin.host, origin.port
        else:
            host, _, port_text = settings.address.rpartition(":")
            host, port = host.strip("[]"), int(port_text)
        self._dialer = Dialer(resolver, host, port, settings.family)

    async def attempt(self, second: int) -> ControlOutcome:
        """Make one attempt and say whether it worked; raise nothing but CancelledError, at shutdown."""
        started_us = self._clock.now_us()
        watch = Watch()
        try:
            cause = await self._cause(watch)
        except Exception as error:  # noqa: BLE001  The one place where the unknown becomes a fault of ours.
            _log.exception("a control attempt failed within the program", control=self._name)
            cause = own_cause_of(error) or Cause.INTERNAL
        duration_us, _ = watch.stop()
        self._latest.append(cause in _LOSSES)
        if cause is Cause.ACCEPTED and self._latest.count(True) >= LOSSY_ATTEMPTS_MIN:
            cause = Cause.LOSSY_NETWORK
        return ControlOutcome(
            control=self._name,
            second=second,
            started_us=started_us,
            duration_us=duration_us,
            worked=cause is Cause.ACCEPTED,
            cause=cause,
        )

    def close(self) -> None:
        """Do nothing: a control keeps no connection."""

    async def _cause(self, watch: Watch) -> Cause:
        deadline = Deadline(self._clock, self._clock.monotonic_us() + round(self._timeout_s * SECOND_US))
        try:
            async with deadline:
                return await (self._ask(watch) if self._request else self._knock(watch))
        except TimeoutError:
            if deadline.stalled:
                return Cause.STALLED
            return _SILENT_BY_PHASE.get(watch.phase, Cause.SILENT)
        except NoReply as error:
            return WITHOUT_REPLY[error.ended].cause
        except Trouble as error:
            return error.cause

    async def _knock(self, watch: Watch) -> Cause:
        sock, _ = await self._dialer.open(watch)
        with sock:
            return Cause.LOSSY_NETWORK if packets_lost(sock) else Cause.ACCEPTED

    async def _ask(self, watch: Watch) -> Cause:
        arrived = Arrived()
        connection = await connect(self._dialer, watch, self._tls, arrived)
        try:
            await exchange(connection, self._request, watch, arrived, head=True)
            lost = connection.packets_lost
        finally:
            connection.abort()
        if arrived.status in _CAPTIVE_STATUSES:
            return Cause.CAPTIVE_NETWORK
        if arrived.status >= _SERVER_ERROR_MIN:
            return Cause.HTTP_ERROR
        return Cause.LOSSY_NETWORK if lost else Cause.ACCEPTED


def _head_request(origin: Origin) -> bytes:
    return (
        f"HEAD {origin.path} HTTP/1.1\r\nHost: {origin.host_header}\r\nUser-Agent: {USER_AGENT}\r\n"
        f"Accept: */*\r\nX-Padding: {'x' * PADDING_BYTES}\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
