"""The API surface: one call of the provider's API, one outcome.

An attempt is one POST. It never follows a redirect and never repeats a request, with one documented exception: when a
kept connection turns out to have been closed (or is answered by 408 or 421) within `RENEWAL_US_MAX` of our write, the
attempt goes on with one fresh connection at once, within the same deadline, and says so (`Connection.RENEWED`).
"""

import asyncio
import ssl
import zlib
from collections.abc import Callable
from dataclasses import replace

import aiodns
import structlog

from probe.clock import Clock
from probe.core.endings import RENEWAL_US_MAX, fault_of, own_cause_of
from probe.core.model import REPLY_CHARACTERS_MAX, Cause, Connection, Fault, Outcome, Phase, Surface, Ticket
from probe.core.replies_api import (
    RENEWING_ENDINGS,
    RENEWING_STATUSES,
    WITHOUT_REPLY,
    ApiJudgement,
    Ended,
    Ending,
    judge,
    tidy,
)
from probe.settings import Api
from probe.surfaces.dial import Dialer
from probe.surfaces.http import Arrived, HttpConnection, NoReply, connect, exchange
from probe.surfaces.names import OtherResolvers
from probe.surfaces.path import STUCK_WORDS, StuckGuard, doubted
from probe.surfaces.pool import Pool
from probe.surfaces.request import RequestTemplate, origin_of
from probe.surfaces.watch import Deadline, Trouble, Watch, cancelling_now, take_back_cancelling, unblamed

_log = structlog.get_logger(__name__)

_ENDED_BY_PHASE = {
    Phase.START: Ended.LATE_START,  # Between the check and the first phase.
    Phase.LOOKUP: Ended.LOOKUP_SILENT,
    Phase.CONNECT: Ended.CONNECT_SILENT,
    Phase.TLS: Ended.TLS_SILENT,
    Phase.REQUEST: Ended.SEND_STUCK,
    Phase.FIRST_BYTE: Ended.REPLY_SILENT,
    Phase.BODY: Ended.HEAD_STALLED,
}


class _Journey:
    """How far one attempt has come."""

    __slots__ = (
        "arrived",
        "connection",
        "is_mid_head",
        "maybe_accepted_before",
        "unacknowledged_bytes",
        "watch",
        "words",
    )

    def __init__(self) -> None:
        self.watch = Watch()
        self.arrived = Arrived()
        self.connection = Connection.NONE
        self.unacknowledged_bytes = 0
        self.is_mid_head = False
        self.words = ""  # how a kept connection ended that had to be renewed
        self.maybe_accepted_before = False  # by what was written to it


class ApiSurface:
    """Makes attempts at one target's API."""

    def __init__(
        self,
        settings: Api,
        *,
        target: str,
        vantage: str,
        resolver: aiodns.DNSResolver,
        clock: Clock,
        tls: ssl.SSLContext | None,
        in_flight_max: int,
        others: OtherResolvers | None = None,
        certificate_seen: Callable[[int], None] = lambda _second: None,
    ) -> None:
        """`certificate_seen` hears until which second the certificate is good that a fresh connection was shown."""
        self._certificate_seen = certificate_seen
        origin = origin_of(settings.base_url.rstrip("/") + settings.path, tls)
        self._template = RequestTemplate(settings, origin, target=target, vantage=vantage)
        self._dialer = Dialer(resolver, origin.host, origin.port, settings.family, others or OtherResolvers())
        self._tls = tls if origin.is_tls else None
        self._clock = clock
        self._in_flight = 0
        self._in_flight_max = in_flight_max
        self._is_closed = False
        self._pool: Pool[HttpConnection] | None = None
        connections = settings.connections
        if connections.mode == "kept":
            self._pool = Pool(
                age_max_s=connections.age_max_s,
                uses_max=connections.uses_max,
                fresh_every=connections.fresh_every,
                retire=self._retire,
                # A thousand targets that start together must not all be due for a fresh connection together.
                stagger=zlib.crc32(f"api {target} {vantage}".encode()) % max(1, connections.fresh_every),
            )

    async def attempt(self, ticket: Ticket, deadline_us: int) -> Outcome:
        """Make one attempt and say what came of it; raise nothing.

        Cancelled, it says how far it had come, with the cause `stopped`, and its task goes on.
        """
        started_us = self._clock.now_us()
        journey = _Journey()
        if self._in_flight >= self._in_flight_max:
            return _outcome(ticket, started_us, journey, _own(Cause.CAPPED))
        self._in_flight += 1
        cancelling = cancelling_now()
        deadline = Deadline(self._clock, deadline_us)
        try:
            judgement = await self._judgement(journey, ticket, deadline)
        except asyncio.CancelledError:
            take_back_cancelling(cancelling)
            judgement = self._cut_off(journey, Cause.STOPPED, "the daemon is stopping")
        except Exception as error:  # noqa: BLE001  The one place where the unknown becomes a fault of ours.
            _log.exception("an attempt failed within the program", target=ticket.target, surface=Surface.API)
            judgement = _own(own_cause_of(error) or Cause.INTERNAL)
        finally:
            self._in_flight -= 1
        return unblamed(_outcome(ticket, started_us, journey, _with_first_end(journey, judgement)), deadline)

    def close(self) -> None:
        """Drop all kept connections at once; those of attempts still under way go when the attempts end."""
        self._is_closed = True
        if self._pool is not None:
            self._pool.close()

    async def _judgement(self, journey: _Journey, ticket: Ticket, deadline: Deadline) -> ApiJudgement:
        if deadline.is_past:
            return self._without_reply(Ended.LATE_START)
        try:
            async with deadline:
                await self._travel(journey, self._template.render(ticket))
        except TimeoutError:
            if not journey.arrived.status:
                return _doubted(self._without_reply(_ended_at_deadline(journey)), journey)
            return _doubted(judge(journey.arrived.reply(), secrets=self._template.secrets), journey)
        except NoReply as error:
            return self._without_reply(error.ended, error.text)
        except Trouble as error:
            reply = tidy(error.reply, self._template.secrets)
            return ApiJudgement(fault_of(error.cause), error.cause, reply=reply)
        return judge(journey.arrived.reply(), secrets=self._template.secrets)

    def _cut_off(self, journey: _Journey, cause: Cause, words: str) -> ApiJudgement:
        """Keep what is known of an attempt that we ended ourselves: the status, and whether it may be accepted."""
        if journey.arrived.status:
            seen = judge(journey.arrived.reply(), secrets=self._template.secrets)
        else:
            seen = self._without_reply(_ended_at_deadline(journey))
        return replace(seen, fault=fault_of(cause), cause=cause, reply=words)

    def _without_reply(self, ended: Ended, text: str = "") -> ApiJudgement:
        row = WITHOUT_REPLY[ended]
        # The parser quotes what it disliked, as far as it had come or up to a limit of its own.
        reply = tidy(f"{ended}: {text}" if text else ended, self._template.secrets, is_cut=bool(text))
        return ApiJudgement(fault_of(row.cause), row.cause, reply=reply, maybe_accepted=row.maybe_accepted)

    async def _travel(self, journey: _Journey, request: bytes) -> None:
        kept = None if self._pool is None else self._pool.take()
        if kept is not None:
            journey.connection = Connection.KEPT
            written_us = self._clock.monotonic_us()
            guard = StuckGuard(lambda: not kept.head_bytes and kept.unacknowledged_bytes() > 0, kept.abort)
            try:
                with guard:
                    await self._ride(kept, journey, request)
                if journey.arrived.status not in RENEWING_STATUSES or self._is_too_late_to_renew(written_us):
                    return
                journey.words = f"HTTP status {journey.arrived.status}"
            except NoReply as error:
                if error.ended not in RENEWING_ENDINGS or (not guard.struck and self._is_too_late_to_renew(written_us)):
                    raise
                journey.words = STUCK_WORDS if guard.struck else error.ended
                journey.maybe_accepted_before = WITHOUT_REPLY[error.ended].maybe_accepted
            journey.arrived = Arrived()
        journey.connection = Connection.FRESH if kept is None else Connection.RENEWED
        fresh = await connect(self._dialer, journey.watch, self._tls, journey.arrived)
        if fresh.certificate_expires_second:
            self._certificate_seen(fresh.certificate_expires_second)
        await self._ride(fresh, journey, request)

    def _is_too_late_to_renew(self, written_us: int) -> bool:
        return self._clock.monotonic_us() - written_us > RENEWAL_US_MAX

    async def _ride(self, connection: HttpConnection, journey: _Journey, request: bytes) -> None:
        lost_before = connection.packets_lost if journey.connection is Connection.KEPT else 0
        try:
            await exchange(connection, request, journey.watch, journey.arrived)
        except BaseException:
            journey.unacknowledged_bytes = connection.unacknowledged_bytes()
            journey.is_mid_head = connection.is_mid_head
            journey.arrived.packets_lost = connection.packets_lost - lost_before
            connection.abort()
            raise
        if journey.arrived.ending is not Ending.WHOLE:
            connection.abort()
        elif self._pool is None or self._is_closed:
            self._retire(connection)
        else:
            self._pool.give(connection)

    def _retire(self, connection: HttpConnection) -> None:
        if self._is_closed:
            connection.abort()
        else:
            connection.close()


def _doubted(judgement: ApiJudgement, journey: _Journey) -> ApiJudgement:
    """Doubt a silence on a connection that lost packets."""
    cause = doubted(judgement.cause, journey.arrived.packets_lost)
    return replace(judgement, fault=fault_of(cause), cause=cause)


def _ended_at_deadline(journey: _Journey) -> Ended:
    if journey.watch.phase is Phase.FIRST_BYTE and journey.unacknowledged_bytes:
        return Ended.SEND_UNACKNOWLEDGED
    if journey.watch.phase is Phase.BODY and not journey.is_mid_head:
        return Ended.REPLY_SILENT
    return _ENDED_BY_PHASE[journey.watch.phase]


def _with_first_end(journey: _Journey, judgement: ApiJudgement) -> ApiJudgement:
    """Add what became of the kept connection that had to be renewed."""
    note = f" (kept connection: {journey.words})" if journey.words else ""
    note += journey.watch.words
    if not note:
        return judgement
    is_accepted = judgement.fault is Fault.NONE
    return replace(
        judgement,
        reply=(judgement.reply[: REPLY_CHARACTERS_MAX - len(note)] + note).lstrip(),
        maybe_accepted=judgement.maybe_accepted or (journey.maybe_accepted_before and not is_accepted),
    )


def _own(cause: Cause) -> ApiJudgement:
    return ApiJudgement(Fault.SELF, cause)


def _outcome(ticket: Ticket, started_us: int, journey: _Journey, judgement: ApiJudgement) -> Outcome:
    duration_us, phases = journey.watch.stop()
    travelled = journey.connection is not Connection.FRESH or journey.arrived.address
    return Outcome(
        target=ticket.target,
        surface=Surface.API,
        second=ticket.second,
        ordinal=ticket.ordinal,
        started_us=started_us,
        duration_us=duration_us,
        fault=judgement.fault,
        cause=judgement.cause,
        phase=journey.watch.phase,
        code=judgement.code,
        enhanced_code=judgement.enhanced_code,
        reply=judgement.reply,
        message_id=ticket.message_id,
        connection=journey.connection if travelled else Connection.NONE,
        address=journey.arrived.address or journey.watch.address,
        maybe_accepted=judgement.maybe_accepted,
        phases=phases,
    )
