"""One SMTP injection, from the name of the host to the reply after the final dot, as one Outcome.

One attempt is one transaction on the wire. The one exception is recorded as `renewed`: a kept connection that the
server had closed, or closes at once (`RENEWAL_US_MAX`) instead of answering this attempt's first command, gets one
fresh connection, within the same deadline. Nothing was injected on the old one, since no command of this attempt was
answered there.

With PIPELINING (RFC 2920) offered, MAIL, RCPT and DATA leave in one write, and their replies are judged one by one; the
first bad one ends the attempt. Should DATA have been granted all the same, the connection is dropped, so that the
server can't take an empty message for one of ours. A connection on which anything went wrong is not used again.
"""

import asyncio
import re
import ssl
from collections.abc import Callable
from zlib import crc32

import aiodns
import structlog
from aiosmtplib.esmtp import parse_esmtp_extensions

from probe.clock import Clock
from probe.core.endings import RENEWAL_US_MAX, fault_of, own_cause_of
from probe.core.model import REPLY_CHARACTERS_MAX, Cause, Connection, Outcome, Phase, Ticket
from probe.core.replies_smtp import Ending, cause_without_reply, goes_on, judge
from probe.settings import Smtp
from probe.surfaces.dial import Dialer
from probe.surfaces.names import OtherResolvers
from probe.surfaces.path import STUCK_WORDS, StuckGuard, doubted
from probe.surfaces.pool import Pool
from probe.surfaces.smtp_login import Redactor, auth_lines
from probe.surfaces.smtp_message import MessageTemplate, plain_line
from probe.surfaces.smtp_reader import Reply, printable
from probe.surfaces.smtp_wire import SERVICE_CLOSING, Wire
from probe.surfaces.watch import Deadline, Trouble, Watch, cancelling_now, take_back_cancelling, unblamed

log = structlog.get_logger(__name__)


_ENHANCED_CODE = re.compile(rb"\s*([2-5]\.[0-9]{1,3}\.[0-9]{1,3})(?![0-9.])")
_GONE = frozenset({Cause.CLOSED, Cause.RESET_IN_SESSION})
_ENVELOPE_PHASES = frozenset({Phase.MAIL, Phase.RCPT, Phase.DATA})


class Refused(Exception):
    """The server replied, and the dialogue can't go on; never leaves this module."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.code)
        self.reply = reply


class Trip:
    """What one attempt has met so far."""

    __slots__ = (
        "address",
        "connection",
        "good_replies",
        "is_dot_sent",
        "lost_before",
        "started_us",
        "ticket",
        "watch",
        "wire",
        "words",
    )

    def __init__(self, ticket: Ticket, started_us: int) -> None:
        self.ticket = ticket
        self.started_us = started_us
        self.watch = Watch()
        self.wire: Wire | None = None
        self.connection = Connection.NONE
        self.address = ""
        self.good_replies = 0
        self.is_dot_sent = False
        self.lost_before = 0  # packets, on a kept connection before this attempt
        self.words = ""  # what was said on a kept connection that had to be renewed


class SmtpSurface:
    """Makes injections into one target."""

    def __init__(
        self,
        settings: Smtp,
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
        assert tls is not None or settings.tls == "none"
        self._settings = settings
        self._clock = clock
        self._tls = tls
        self._in_flight_max = in_flight_max
        self._dialer = Dialer(resolver, settings.host, settings.port, settings.family, others or OtherResolvers())
        self._keeps = settings.connections.mode == "kept"
        self._pool: Pool[Wire] = Pool(
            age_max_s=settings.connections.age_max_s,
            uses_max=settings.connections.uses_max,
            fresh_every=settings.connections.fresh_every,
            retire=Wire.quit,
            # Targets that started together must not all go through the front door in the same second.
            stagger=crc32(target.encode()) % max(1, settings.connections.fresh_every),
        )
        self._ehlo = b"EHLO %s\r\n" % plain_line(settings.ehlo or vantage, "ehlo").encode()
        self._mail = b"MAIL FROM:<%s>\r\n" % plain_line(settings.sender, "sender").encode()
        self._rcpt = b"RCPT TO:<%s>\r\n" % plain_line(settings.recipient, "recipient").encode()
        self._envelope = self._mail + self._rcpt + b"DATA\r\n"
        self._auth_lines = auth_lines(settings)
        self._message = MessageTemplate(
            sender=settings.sender,
            recipient=settings.recipient,
            headers=settings.headers,
            target=target,
            vantage=vantage,
        )
        self._redactor = Redactor(settings)
        self._in_flight = 0
        self.open_connections = 0

    async def attempt(self, ticket: Ticket, deadline_us: int) -> Outcome:
        """Make one attempt; raise nothing. `deadline_us` is on the monotonic clock and spans all phases.

        Cancelled, it says how far it had come, with the cause `stopped`, and its task goes on.
        """
        trip = Trip(ticket, self._clock.now_us())
        if self._in_flight >= self._in_flight_max:
            return self._outcome(trip, Cause.CAPPED)
        self._in_flight += 1
        cancelling = cancelling_now()
        deadline = Deadline(self._clock, deadline_us)
        try:
            return unblamed(await self._attempt_until(trip, deadline), deadline)
        except asyncio.CancelledError:
            take_back_cancelling(cancelling)
            return self._outcome(trip, Cause.STOPPED, text="the daemon is stopping")
        except Exception as error:
            log.exception("attempt.failed_inside", target=ticket.target, surface=ticket.surface, second=ticket.second)
            return self._outcome(trip, own_cause_of(error) or Cause.INTERNAL)
        finally:
            self._in_flight -= 1
            if trip.wire is not None:
                trip.wire.abort()

    def close(self) -> None:
        """Retire the connections that are kept; attempts in flight go on, and keep theirs no longer."""
        self._keeps = False
        self._pool.close()

    async def _attempt_until(self, trip: Trip, deadline: Deadline) -> Outcome:
        if deadline.is_past:
            return self._outcome(trip, cause_without_reply(Phase.START, Ending.DEADLINE), text="began too late")
        try:
            async with deadline:
                reply = await self._inject(trip)
        except TimeoutError:
            return self._outcome_at_deadline(trip)
        except Refused as refused:
            return self._outcome_of_refusal(trip, refused.reply)
        except Trouble as trouble:
            return self._outcome(trip, trouble.cause, text=trouble.reply)
        self._put_back(trip)
        return self._outcome(trip, Cause.ACCEPTED, reply)

    async def _inject(self, trip: Trip) -> Reply:
        """Return the good reply after the final dot; raise Refused or Trouble."""
        kept = self._pool.take() if self._keeps else None
        trip.connection = Connection.FRESH
        if kept is not None:
            trip.wire, trip.address, trip.connection = kept, kept.address, Connection.KEPT
            trip.lost_before = kept.packets_lost
            written_us = self._clock.monotonic_us()
            guard = StuckGuard(lambda: not trip.good_replies and kept.unacknowledged_bytes() > 0, kept.abort)
            try:
                with guard:
                    if kept.is_quiet:
                        return await self._transact(trip, kept)
                trip.words = kept.last_words()
            except (Refused, Trouble) as error:
                if not guard.struck and self._clock.monotonic_us() - written_us > RENEWAL_US_MAX:
                    raise
                trip.words = STUCK_WORDS if guard.struck else _words_of_gone(trip, error)
            kept.abort()
            trip.lost_before = 0
            trip.wire, trip.address, trip.connection = None, "", Connection.RENEWED
        return await self._transact(trip, await self._open(trip))

    async def _transact(self, trip: Trip, wire: Wire) -> Reply:
        enter = trip.watch.enter
        enter(Phase.MAIL)
        if wire.pipelining:
            wire.send(self._envelope, 3)
            await _good_reply(trip, wire)
            enter(Phase.RCPT)
            await _good_reply(trip, wire)
            enter(Phase.DATA)
            await _good_reply(trip, wire)
        else:
            await _ask(trip, wire, self._mail)
            enter(Phase.RCPT)
            await _ask(trip, wire, self._rcpt)
            enter(Phase.DATA)
            await _ask(trip, wire, b"DATA\r\n")
        enter(Phase.FINAL)
        wire.send(self._message.fill(trip.ticket, trip.started_us // 1_000_000), 1)
        trip.is_dot_sent = True
        return await _good_reply(trip, wire)

    async def _open(self, trip: Trip) -> Wire:
        """Open a connection and take it to where MAIL may be said."""
        sock, trip.address = await self._dialer.open(trip.watch)
        trip.watch.enter(Phase.TLS if self._settings.tls == "implicit" else Phase.BANNER)
        wire = Wire(sock, self._count_closed)
        wire.address = trip.address
        self.open_connections += 1
        try:
            await asyncio.get_running_loop().create_connection(lambda: wire, sock=sock)
        except BaseException:
            if not wire.was_made:
                sock.close()
                self.open_connections -= 1
            wire.abort()
            raise
        trip.wire = wire
        await self._greet(trip, wire)
        return wire

    async def _greet(self, trip: Trip, wire: Wire) -> None:
        wire.expect_banner()
        if self._settings.tls == "implicit":
            await self._go_over_to_tls(wire, asked=False)
            trip.watch.enter(Phase.BANNER)
        await _good_reply(trip, wire)
        hello = await self._say_ehlo(trip, wire)
        if self._settings.tls == "starttls":
            if "starttls" not in hello:
                offered = ", ".join(hello)
                raise Trouble(Cause.STARTTLS_MISSING, reply=f"STARTTLS is not among what EHLO offers: {offered}")
            trip.watch.enter(Phase.STARTTLS)
            await _ask(trip, wire, b"STARTTLS\r\n")
            trip.watch.enter(Phase.TLS)
            await self._go_over_to_tls(wire, asked=True)
            # What was said before TLS must be forgotten (RFC 3207 section 4.2).
            hello = await self._say_ehlo(trip, wire)
        wire.pipelining = "pipelining" in hello
        await self._log_in(trip, wire)

    async def _go_over_to_tls(self, wire: Wire, *, asked: bool) -> None:
        assert self._tls is not None
        if expires_second := await wire.shake_hands(self._tls, self._settings.host, asked=asked):
            self._certificate_seen(expires_second)

    async def _say_ehlo(self, trip: Trip, wire: Wire) -> dict[str, str]:
        trip.watch.enter(Phase.EHLO)
        reply = await _ask(trip, wire, self._ehlo)
        return parse_esmtp_extensions(b"\n".join(reply.lines).decode("utf-8", "replace"))[0]

    async def _log_in(self, trip: Trip, wire: Wire) -> None:
        if not self._auth_lines:
            return
        trip.watch.enter(Phase.AUTH)
        *first, last = self._auth_lines
        for line in first:
            wire.send(line, 1)
            reply = await wire.reply()
            if reply.code // 100 != 3:
                raise Refused(reply)
        await _ask(trip, wire, last)

    def _put_back(self, trip: Trip) -> None:
        wire, trip.wire = trip.wire, None
        assert wire is not None
        if self._keeps and wire.is_quiet:
            self._pool.give(wire)
        else:
            wire.quit()

    def _count_closed(self) -> None:
        self.open_connections -= 1

    def _outcome_of_refusal(self, trip: Trip, reply: Reply) -> Outcome:
        phase = trip.watch.phase
        _, cause = judge(
            phase, reply.code, _enhanced_code(reply), _text(reply), own_open_connections=self.open_connections
        )
        outcome = self._outcome(trip, cause, reply)
        if trip.wire is not None and not (trip.wire.pipelining and phase in _ENVELOPE_PHASES):
            trip.wire.quit()
            trip.wire = None
        return outcome

    def _outcome_at_deadline(self, trip: Trip) -> Outcome:
        wire, ending = trip.wire, Ending.DEADLINE
        if wire is not None and wire.unacknowledged_bytes():
            ending = Ending.DEADLINE_UNSENT
        elif wire is not None and wire.is_mid_reply:
            ending = Ending.DEADLINE_MID_REPLY
        cause = cause_without_reply(trip.watch.phase, ending)
        if wire is None:
            return self._outcome(trip, cause)
        lost = wire.packets_lost - trip.lost_before
        return self._outcome(trip, doubted(cause, lost), text=wire.evidence)

    def _outcome(self, trip: Trip, cause: Cause, reply: Reply | None = None, text: str = "") -> Outcome:
        duration_us, phases = trip.watch.stop()
        if reply is not None:
            text = _text(reply)
        if trip.words:
            text = f"{text} (kept connection: {trip.words})"
        words = trip.watch.words
        ticket = trip.ticket
        was_never_open = trip.connection is Connection.FRESH and not trip.address
        is_unclear = cause is not Cause.ACCEPTED and (reply is None or cause is Cause.MALFORMED_REPLY)
        return Outcome(
            target=ticket.target,
            surface=ticket.surface,
            second=ticket.second,
            ordinal=ticket.ordinal,
            started_us=trip.started_us,
            duration_us=duration_us,
            fault=fault_of(cause),
            cause=cause,
            phase=trip.watch.phase,
            code=0 if reply is None else reply.code,
            enhanced_code="" if reply is None else _enhanced_code(reply),
            reply=self._redactor.redacted(text)[: REPLY_CHARACTERS_MAX - len(words)] + words,
            message_id=ticket.message_id,
            connection=Connection.NONE if was_never_open else trip.connection,
            address=trip.address or trip.watch.address,
            maybe_accepted=trip.is_dot_sent and is_unclear,
            phases=_merged(phases),
        )


async def _ask(trip: Trip, wire: Wire, command: bytes) -> Reply:
    wire.send(command, 1)
    return await _good_reply(trip, wire)


async def _good_reply(trip: Trip, wire: Wire) -> Reply:
    reply = await wire.reply()
    if not goes_on(trip.watch.phase, reply.code):
        raise Refused(reply)
    trip.good_replies += 1
    return reply


def _words_of_gone(trip: Trip, error: Refused | Trouble) -> str:
    """Return what the server said when it left a kept connection before serving this attempt, or raise the error."""
    if not trip.good_replies:
        if isinstance(error, Refused) and error.reply.code == SERVICE_CLOSING:
            return f"{error.reply.code} {_text(error.reply)}"
        if isinstance(error, Trouble) and error.cause in _GONE:
            return str(error.cause)
    raise error


def _text(reply: Reply) -> str:
    return printable(b"\n".join(line.strip() for line in reply.lines))


def _enhanced_code(reply: Reply) -> str:
    match = _ENHANCED_CODE.match(reply.lines[0])
    return "" if match is None else match[1].decode()


def _merged(phases: tuple[tuple[Phase, int], ...]) -> tuple[tuple[Phase, int], ...]:
    """Add up what was entered twice: EHLO before and after STARTTLS, MAIL on a connection that had to be renewed."""
    durations: dict[Phase, int] = {}
    for phase, duration_us in phases:
        durations[phase] = durations.get(phase, 0) + duration_us
    return phases if len(durations) == len(phases) else tuple(durations.items())
