"""A control: an attempt at something that is not the provider, to learn whether our own network works.

Always on a fresh connection: what is asked of a control is whether a path can be made now.
"""

import ssl

import aiodns
import structlog

from probe.clock import SECOND_US, Clock
from probe.core.endings import own_cause_of
from probe.core.model import Cause, ControlOutcome, Phase
from probe.core.replies_api import WITHOUT_REPLY
from probe.settings import Control
from probe.surfaces.dial import Dialer
from probe.surfaces.http import Arrived, NoReply, connect, exchange
from probe.surfaces.request import USER_AGENT, Origin, origin_of
from probe.surfaces.watch import Deadline, Trouble, Watch

_log = structlog.get_logger(__name__)

_SERVER_ERROR_MIN = 500
# 511 and 407 are our own network's words: the reply did not come from where we asked.
_CAPTIVE_STATUSES = frozenset({407, 511})
_SILENT_BY_PHASE = {Phase.START: Cause.INTERNAL, Phase.LOOKUP: Cause.RESOLVER, Phase.CONNECT: Cause.CONNECT_TIMEOUT}


class ControlSurface:
    """Makes attempts at one control: a TCP connect, or an HTTP HEAD that anything but a server error answers."""

    def __init__(
        self, settings: Control, *, resolver: aiodns.DNSResolver, clock: Clock, tls: ssl.SSLContext | None
    ) -> None:
        self._name = settings.name
        self._timeout_s = settings.timeout_s
        self._clock = clock
        self._request = b""
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
        sock.close()
        return Cause.ACCEPTED

    async def _ask(self, watch: Watch) -> Cause:
        arrived = Arrived()
        connection = await connect(self._dialer, watch, self._tls, arrived)
        try:
            await exchange(connection, self._request, watch, arrived, head=True)
        finally:
            connection.abort()
        if arrived.status in _CAPTIVE_STATUSES:
            return Cause.CAPTIVE_NETWORK
        return Cause.ACCEPTED if arrived.status < _SERVER_ERROR_MIN else Cause.HTTP_ERROR


def _head_request(origin: Origin) -> bytes:
    return (
        f"HEAD {origin.path} HTTP/1.1\r\nHost: {origin.host_header}\r\nUser-Agent: {USER_AGENT}\r\n"
        "Accept: */*\r\nConnection: close\r\n\r\n"
    ).encode("ascii")
