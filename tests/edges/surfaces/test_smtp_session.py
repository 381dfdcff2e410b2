"""Connections, deadlines, TLS, secrets and the message of SMTP injections."""

import asyncio
import email
import email.policy
import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import pytest
import structlog
import trustme
from aiosmtpd.handlers import Message
from aiosmtpd.smtp import SMTP, AuthResult
from pydantic import SecretStr

from probe.core.model import Cause, Connection, Fault, Outcome, Phase, Surface, Ticket
from probe.log import LogFormat, set_up
from probe.surfaces import smtp_wire
from probe.surfaces.smtp_message import MessageTemplate
from probe.surfaces.smtp_wire import Wire

StartServer = Callable[..., Awaitable[Any]]
MakeUser = Callable[..., Any]
Act = Callable[..., Any]
PASSWORD = "correct-horse-battery"
PLAIN_PORT: dict[str, Any] = {"tls": "none", "user": None, "password": None}
FULL_PATH = ["connect", "banner", "ehlo", "starttls", "tls", "auth", "mail", "rcpt", "data", "final"]
TRANSACTION = ["mail", "rcpt", "data", "final"]


def _names(outcome: Outcome) -> list[str]:
    return [str(phase) for phase, _ in outcome.phases]


# Connections.


async def test_a_fresh_attempt_times_every_phase_and_a_kept_one_only_the_transaction(
    line_server: StartServer, smtp_user: MakeUser
) -> None:
    """The first attempt opens a connection, the second reuses it; the times of the phases add up to the whole."""
    server = await line_server()
    user = smtp_user(server.port)

    fresh, kept, *more = [await user.attempt() for _ in range(6)]

    assert (fresh.cause, fresh.connection, _names(fresh)) == (Cause.ACCEPTED, Connection.FRESH, FULL_PATH)
    assert (kept.cause, kept.connection, _names(kept)) == (Cause.ACCEPTED, Connection.KEPT, TRANSACTION)
    for outcome in (fresh, kept):
        assert (outcome.code, outcome.enhanced_code, outcome.phase) == (250, "2.0.0", Phase.FINAL)
        assert outcome.reply == "2.0.0 OK 95/6F-30607-EA5D4555"
        assert outcome.address == "127.0.0.1"
    # A busy machine may take the processor away between two phases, but hardly each time.
    assert min(abs(one.duration_us - sum(us for _, us in one.phases)) for one in (fresh, kept, *more)) < 2000
    assert server.connections == 1


async def test_one_attempt_is_one_transaction(line_server: StartServer, smtp_user: MakeUser) -> None:
    """As many MAIL commands and messages arrive as attempts were made, and no RSET or NOOP between them."""
    server = await line_server()
    user = smtp_user(server.port)

    outcomes = [await user.attempt() for _ in range(7)]

    assert all(outcome.cause is Cause.ACCEPTED for outcome in outcomes)
    assert len(server.messages) == server.count(b"MAIL") == server.count(b"RCPT") == server.count(b"DATA") == 7
    assert server.count(b"RSET") == server.count(b"NOOP") == 0


@pytest.mark.parametrize(
    ("connections", "expected"),
    [
        ({"mode": "fresh"}, "fffffff"),
        ({"uses_max": 3}, "fkkfkkf"),
        ({"fresh_every": 2}, "2 of 7"),
        ({"age_max_s": 0.000001}, "fffffff"),
        ({}, "fkkkkkk"),
    ],
)
async def test_connections_are_rotated_as_configured(
    connections: dict[str, Any], expected: str, line_server: StartServer, smtp_user: MakeUser
) -> None:
    """Mode, uses, age and every n-th attempt decide whether a connection is opened; the old one hears QUIT."""
    server = await line_server()
    user = smtp_user(server.port, connections=connections)

    seen = "".join([str((await user.attempt()).connection)[0] for _ in range(7)])
    user.surface.close()
    await server.all_closed.wait()

    if expected == "2 of 7":
        assert seen[1:] in ("kfkfkf", "fkfkfk")
    else:
        assert seen == expected
    assert server.count(b"QUIT") == server.connections == seen.count("f")
    assert user.surface.open_connections == 0


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ({"idle": {"say": b"421 4.4.2 idle too long\r\n", "then": "close"}}, "421 4.4.2 idle too long"),
        ({"idle": {"say": b"", "then": "close"}}, "closed"),
        ({"idle": {"say": b"", "then": "reset"}}, "reset_in_session"),
        ({"idle": {"say": b"250 out of turn\r\n", "then": "hang"}}, "250 out of turn"),
    ],
)
async def test_a_kept_connection_that_the_server_left_is_renewed_once(
    script: dict[str, Any], words: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """What became of the kept connection is recorded, and the attempt is made on one fresh connection at once."""
    server = await line_server({phase: act(**value) for phase, value in script.items()}, {})
    user = smtp_user(server.port)
    await user.attempt()
    server.may_leave.set()
    await asyncio.sleep(0.02)  # until the news has come in

    outcome = await user.attempt()

    assert (outcome.cause, outcome.connection) == (Cause.ACCEPTED, Connection.RENEWED)
    assert words in outcome.reply
    assert server.connections == 2
    assert server.count(b"MAIL") == 2


@pytest.mark.parametrize(
    "value", [{"say": b"421 4.3.2 Reconfiguration in progress\r\n"}, {"say": b"", "then": "close"}]
)
async def test_a_kept_connection_that_refuses_the_first_command_is_renewed(
    value: dict[str, Any], line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """421 or a close in answer to MAIL on a kept connection is the server's rotation, not yet a failure."""
    first: dict[str, Any] = {}
    server = await line_server(first, {})
    user = smtp_user(server.port)
    await user.attempt()
    first["mail"] = act(**value)

    outcome = await user.attempt()

    assert (outcome.cause, outcome.connection) == (Cause.ACCEPTED, Connection.RENEWED)
    assert _names(outcome) == ["mail", *[name for name in FULL_PATH if name != "mail"]]
    assert server.connections == 2
    assert len(server.messages) == 2


async def test_a_renewed_connection_that_fails_too_is_the_outcome(
    line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """There is no second fresh connection: what the first one meets is judged."""
    first: dict[str, Any] = {}
    server = await line_server(first, {"mail": act(say=b"421 4.3.2 still\r\n", then="close")})
    user = smtp_user(server.port)
    await user.attempt()
    first["mail"] = act(say=b"421 4.3.2 Reconfiguration\r\n", then="close")

    outcome = await user.attempt()

    assert (outcome.cause, outcome.connection) == (Cause.SERVICE_CLOSING, Connection.RENEWED)
    assert outcome.reply == "4.3.2 still (kept connection: 421 4.3.2 Reconfiguration)"
    assert server.connections == 2


@pytest.mark.parametrize(
    ("phase", "value", "cause"),
    [
        ("rcpt", {"say": b"421 4.3.2 bye\r\n", "then": "close"}, Cause.SERVICE_CLOSING),
        ("final", {"say": b"", "then": "reset"}, Cause.RESET_IN_SESSION),
        ("mail", {"say": b"451 4.3.0 no\r\n"}, Cause.REPLY_TRANSIENT),
    ],
)
async def test_a_kept_connection_that_fails_later_is_not_renewed(
    phase: str, value: dict[str, Any], cause: Cause, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """Once the server has served this attempt, or refused it with another code than 421, its failure counts."""
    first: dict[str, Any] = {}
    server = await line_server(first, {})
    user = smtp_user(server.port)
    await user.attempt()
    first[phase] = act(**value)

    outcome = await user.attempt()

    assert (outcome.cause, outcome.connection, outcome.phase) == (cause, Connection.KEPT, Phase(phase))
    assert server.connections == 1


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ({"say": b"421 4.3.2 worked on it\r\n"}, Cause.SERVICE_CLOSING),
        ({"say": b"", "then": "close"}, Cause.CLOSED),
    ],
)
async def test_a_kept_connection_that_ends_long_after_our_first_command_is_not_renewed(
    value: dict[str, Any],
    cause: Cause,
    line_server: StartServer,
    smtp_user: MakeUser,
    act: Act,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server that took its time over MAIL and then left had not left before: that is the outcome."""
    monkeypatch.setattr("probe.surfaces.smtp.RENEWAL_US_MAX", 0)
    first: dict[str, Any] = {}
    server = await line_server(first, {})
    user = smtp_user(server.port)
    await user.attempt()
    first["mail"] = act(**value)

    outcome = await user.attempt()

    assert (outcome.cause, outcome.connection, outcome.phase) == (cause, Connection.KEPT, Phase.MAIL)
    assert server.connections == 1


async def test_a_silent_kept_connection_is_not_renewed_but_left(
    line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """Silence is a timeout also on a kept connection; the next attempt takes a fresh one."""
    first: dict[str, Any] = {}
    server = await line_server(first, {})
    user = smtp_user(server.port)
    await user.attempt()
    first["mail"] = act(say=b"", then="hang")

    silent, following = await user.attempt(0.12), await user.attempt()

    assert (silent.cause, silent.connection) == (Cause.SILENT, Connection.KEPT)
    assert (following.cause, following.connection) == (Cause.ACCEPTED, Connection.FRESH)


async def test_the_cap_on_attempts_in_flight_holds(line_server: StartServer, smtp_user: MakeUser, act: Act) -> None:
    """The eleventh attempt at once is not made, and says so."""
    server = await line_server({"banner": act(say=b"", then="hang")})
    user = smtp_user(server.port)

    outcomes = await asyncio.gather(*(user.attempt(0.1) for _ in range(11)))

    assert [outcome.cause for outcome in outcomes].count(Cause.CAPPED) == 1
    assert server.connections == 10


async def test_the_eleventh_own_connection_turns_a_full_house_into_our_own(
    line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """Our own open connections reach the judge."""
    server = await line_server({"banner": act(say=b"421 4.4.5 Service unavailable, concurrency limit reached\r\n")})
    user = smtp_user(server.port)

    within = await user.attempt()
    user.surface.open_connections += 10
    beyond = await user.attempt()
    user.surface.open_connections -= 10

    assert (within.fault, beyond.fault) == (Fault.SERVER_ERROR, Fault.CLIENT)


# Deadlines and stopping.


async def test_at_the_deadline_the_connection_is_reset_at_once(
    line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """No descriptor outlives a silent server's attempt."""
    server = await line_server({"ehlo": act(say=b"", then="hang")})
    user = smtp_user(server.port)

    outcome = await user.attempt(0.1)
    await asyncio.sleep(0)

    assert outcome.cause is Cause.SILENT
    assert user.surface.open_connections == 0
    async with asyncio.timeout(1):
        await server.all_closed.wait()


async def test_the_deadline_spans_all_phases(line_server: StartServer, smtp_user: MakeUser, act: Act) -> None:
    """A server that is slow in every phase does not get a deadline for each."""
    slow = {phase: act(piece_bytes=1) for phase in ("banner", "ehlo", "starttls")}
    server = await line_server({**slow, "auth": act(say=b"", then="hang")})

    outcome = await smtp_user(server.port).attempt(0.15)

    assert outcome.phase is Phase.AUTH
    assert outcome.duration_us < 250_000


async def test_an_attempt_that_begins_after_its_deadline_is_our_own_fault(
    line_server: StartServer, smtp_user: MakeUser
) -> None:
    """Nothing is sent, and nobody else is blamed."""
    server = await line_server()

    outcome = await smtp_user(server.port).attempt(-0.01)

    assert (outcome.fault, outcome.phase, server.connections) == (Fault.SELF, Phase.START, 0)


async def test_a_loop_that_stood_still_blames_nobody_else(
    line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """A deadline noticed far too late says that we slept, not that the server did."""
    server = await line_server({"mail": act(say=b"", then="hang")})
    user = smtp_user(server.port)
    task = asyncio.create_task(user.attempt(0.1))
    await server.heard_mail.wait()
    _stand_still(0.45)

    outcome = await task

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.SELF, Cause.STALLED, Phase.MAIL)
    assert (outcome.connection, outcome.address) == (Connection.FRESH, "127.0.0.1")
    assert "our own loop" in outcome.reply


@pytest.mark.parametrize(("phase", "maybe_accepted"), [("mail", False), ("final", True)])
async def test_a_cancelled_attempt_says_how_far_it_had_come_and_frees_its_connection(
    phase: str, maybe_accepted: bool, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """The outcome of a stop has the connection, the phases and what may be accepted, and its task lives on."""
    server = await line_server({phase: act(say=b"", then="hang")})
    user = smtp_user(server.port)

    async def go_on_afterwards() -> Outcome:
        outcome: Outcome = await user.attempt(5)
        async with asyncio.timeout(1):
            await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        return outcome

    task = asyncio.create_task(go_on_afterwards())
    await server.heard_mail.wait()
    await asyncio.sleep(0.03)  # until the attempt has come to where the server falls silent
    task.cancel()
    outcome = await task

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.SELF, Cause.STOPPED, Phase(phase))
    assert (outcome.connection, outcome.address) == (Connection.FRESH, "127.0.0.1")
    assert _names(outcome) == FULL_PATH[: FULL_PATH.index(phase) + 1]
    assert outcome.maybe_accepted is maybe_accepted
    async with asyncio.timeout(1):
        await server.all_closed.wait()


@pytest.mark.parametrize("late_s", [0.1, 0.35])
async def test_a_final_reply_that_our_own_loop_left_unread_is_judged(late_s: float, smtp_user: MakeUser) -> None:
    """What had come in while the loop stood still beyond the deadline counts as the reply that it is."""
    loop, heard, standing_still = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve_one() -> None:
        sock, _ = listener.accept()
        with sock, sock.makefile("rwb", buffering=0) as stream:
            stream.write(b"220 here\r\n")
            for verb in (b"250 here", b"250 ok", b"250 ok", b"354 go on"):
                stream.readline()
                stream.write(verb + b"\r\n")
            while stream.readline() != b".\r\n":
                pass
            loop.call_soon_threadsafe(heard.set)
            standing_still.wait()
            stream.write(b"250 2.0.0 taken\r\n")
            stream.read()

    with listener:
        serving = asyncio.create_task(asyncio.to_thread(serve_one))
        user = smtp_user(listener.getsockname()[1], **PLAIN_PORT)
        task = asyncio.create_task(user.attempt(0.1))
        await heard.wait()
        standing_still.set()
        _stand_still(0.1 + late_s)
        outcome = await task
        user.surface.close()
        await serving

    assert (outcome.cause, outcome.reply) == (Cause.ACCEPTED, "2.0.0 taken")


def _stand_still(seconds: float) -> None:
    until = asyncio.get_running_loop().time() + seconds
    while time.monotonic() < until:
        pass


async def test_a_request_that_can_not_be_written_is_stuck(smtp_user: MakeUser) -> None:
    """Where the other side's TCP takes nothing more, the server is not called silent."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        sock = socket.create_connection(listener.getsockname())
        sock.setblocking(False)
        wire = Wire(sock, lambda: None)
        await asyncio.get_running_loop().create_connection(lambda: wire, sock=sock)
        assert wire.unacknowledged_bytes() == 0

        wire.send(b"x" * 1_000_000, 1)

        assert wire.unacknowledged_bytes() > 100_000
        wire.abort()
        await asyncio.sleep(0)


# Before the session.


async def test_a_refused_connection_is_the_networks(free_port: Callable[[], int], smtp_user: MakeUser) -> None:
    """Nobody listens: refused, in the phase `connect`."""
    outcome = await smtp_user(free_port()).attempt()

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.NETWORK, Cause.REFUSED, Phase.CONNECT)
    assert "127.0.0.1" in outcome.reply
    assert (outcome.address, outcome.connection) == ("127.0.0.1", Connection.NONE)


async def test_a_resolver_that_never_answers_is_our_own(smtp_user: MakeUser, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look-up that outlasts the deadline says more about our resolver than about the zone."""
    user = smtp_user(25, host="smtp.example")

    class Deaf:
        async def getaddrinfo(self, *_: object, **__: object) -> None:
            await asyncio.Event().wait()

    monkeypatch.setattr(user.surface._dialer, "_resolver", Deaf())

    outcome = await user.attempt(0.05)

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.SELF, Cause.RESOLVER, Phase.LOOKUP)


async def test_an_unknown_exception_is_our_own_fault_and_logged(
    smtp_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug of ours becomes an outcome with a traceback in the log, and never an accusation."""
    user = smtp_user(25)

    async def broken(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(user.surface._dialer, "open", broken)
    with structlog.testing.capture_logs() as logs:
        outcome = await user.attempt()

    assert (outcome.fault, outcome.cause) == (Fault.SELF, Cause.INTERNAL)
    assert [(line["event"], line["exc_info"]) for line in logs] == [("attempt.failed_inside", True)]


# TLS.


async def test_implicit_tls_comes_before_the_banner(line_server: StartServer, smtp_user: MakeUser) -> None:
    """On a TLS port the handshake is the first phase after the connect."""
    server = await line_server(implicit=True)

    outcome = await smtp_user(server.port, tls="implicit").attempt()

    assert outcome.cause is Cause.ACCEPTED
    assert _names(outcome) == ["connect", "tls", "banner", "ehlo", "auth", *TRANSACTION]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_both_tls_versions_work(
    version: ssl.TLSVersion, authority: trustme.CA, line_server: StartServer, smtp_user: MakeUser
) -> None:
    """A server that speaks TLS 1.2 only, and one that speaks 1.3 only, are served."""
    context = _server_context(authority.issue_cert("127.0.0.1"))
    context.minimum_version = context.maximum_version = version
    server = await line_server(tls=context)
    user = smtp_user(server.port)

    assert [(await user.attempt()).cause for _ in range(2)] == [Cause.ACCEPTED] * 2


def _server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _expired(authority: trustme.CA) -> trustme.LeafCert:
    now = datetime.now(UTC)
    return authority.issue_cert("127.0.0.1", not_before=now - timedelta(days=9), not_after=now - timedelta(days=1))


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize(
    ("certificate", "cause", "words"),
    [
        (_expired, Cause.CERTIFICATE_EXPIRED, "expired"),
        (lambda authority: authority.issue_cert("other.example"), Cause.CERTIFICATE_NAME, "127.0.0.1"),
        (lambda _: trustme.CA().issue_cert("127.0.0.1"), Cause.TRUST_STORE, "issuer"),
    ],
)
async def test_a_certificate_that_does_not_verify_ends_the_attempt_before_the_password(
    certificate: Callable[[trustme.CA], trustme.LeafCert],
    cause: Cause,
    words: str,
    implicit: bool,
    authority: trustme.CA,
    line_server: StartServer,
    smtp_user: MakeUser,
) -> None:
    """Expired, for another name, of an unknown authority: told apart, and nothing is sent through such a channel."""
    server = await line_server(tls=_server_context(certificate(authority)), implicit=implicit)

    outcome = await smtp_user(server.port, tls="implicit" if implicit else "starttls").attempt()

    assert (outcome.cause, outcome.phase) == (cause, Phase.TLS)
    assert words in outcome.reply
    assert server.count(b"AUTH") == 0


@pytest.mark.parametrize("hurry", [True, False])
async def test_plain_text_on_a_tls_port_is_named(
    hurry: bool, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """A plain banner where TLS was due is told from a failed handshake, and quoted."""
    server = await line_server({} if hurry else {"banner": act(piece_bytes=5)})

    outcome = await smtp_user(server.port, tls="implicit").attempt()

    assert (outcome.cause, outcome.phase) == (Cause.NOT_TLS, Phase.TLS)
    assert "220" in outcome.reply


async def test_plain_text_injected_behind_starttls_is_refused(
    line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """Bytes in the same packet as the reply to STARTTLS are not read as if they had come through TLS."""
    server = await line_server({"starttls": act(say=b"220 2.0.0 continue\r\n250-evil\r\n250 AUTH PLAIN\r\n")})

    outcome = await smtp_user(server.port).attempt()

    assert (outcome.cause, outcome.phase) == (Cause.MALFORMED_REPLY, Phase.TLS)
    assert "evil" in outcome.reply
    assert server.count(b"AUTH") == 0


async def test_a_server_without_starttls_gets_no_password(
    line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """A stripped STARTTLS ends the attempt."""
    server = await line_server({"ehlo": act(say=b"250-x\r\n250 AUTH PLAIN\r\n")})

    outcome = await smtp_user(server.port).attempt()

    assert (outcome.cause, outcome.phase) == (Cause.STARTTLS_MISSING, Phase.EHLO)
    assert server.count(b"AUTH") == server.count(b"STARTTLS") == 0


@pytest.mark.parametrize(
    ("then", "cause"),
    [("hang", Cause.SILENT), ("close", Cause.CLOSED), ("reset", Cause.RESET_IN_SESSION)],
)
async def test_a_handshake_that_goes_nowhere_is_the_servers(
    then: str, cause: Cause, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """Silence, close and reset in the handshake are judged in the phase `tls`."""
    server = await line_server({"tls": act(say=b"", then=then)})

    outcome = await smtp_user(server.port).attempt(0.12)

    assert (outcome.cause, outcome.phase) == (cause, Phase.TLS)


@pytest.mark.parametrize(
    ("alert", "cause"), [(80, Cause.TLS_SERVER_ERROR), (40, Cause.TLS_FAILED), (70, Cause.TLS_FAILED)]
)
async def test_an_alert_in_the_handshake_says_whose_failure_it_is(
    alert: int, cause: Cause, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """internal_error is the server's own word; handshake_failure and protocol_version need a control's."""
    server = await line_server({"tls": act(say=b"\x15\x03\x03\x00\x02\x02" + bytes([alert]), then="hang")})

    outcome = await smtp_user(server.port).attempt()

    assert (outcome.cause, outcome.phase) == (cause, Phase.TLS)
    assert "alert" in outcome.reply


async def test_a_server_with_nagle_on_does_not_stall_us(
    line_server: StartServer, smtp_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What arrives while a reply is owed is acknowledged at once, or a server's Nagle costs 40 ms of honest time."""
    server = await line_server(nagle=True)

    async def fresh_ehlo_us() -> float:
        user = smtp_user(server.port, connections={"mode": "fresh"})
        return float(median([dict((await user.attempt()).phases)[Phase.EHLO] for _ in range(7)]))

    mended_us = await fresh_ehlo_us()
    monkeypatch.setattr(smtp_wire, "_QUICK_ACKNOWLEDGEMENT", None)
    stalled_us = await fresh_ehlo_us()

    assert stalled_us > 30_000
    assert mended_us < 20_000


# Login, secrets, message.


@pytest.mark.parametrize(
    ("auth", "lines"),
    [
        ("plain", [b"AUTH PLAIN AFNNVFBfSW5qZWN0aW9uAGNvcnJlY3QtaG9yc2UtYmF0dGVyeQ=="]),
        ("login", [b"AUTH LOGIN", b"U01UUF9JbmplY3Rpb24=", b"Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5"]),
    ],
)
async def test_login_follows_the_mechanism(
    auth: str, lines: list[bytes], line_server: StartServer, smtp_user: MakeUser
) -> None:
    """PLAIN says all in one line, LOGIN waits for both prompts."""
    server = await line_server()

    outcome = await smtp_user(server.port, auth=auth).attempt()

    assert outcome.cause is Cause.ACCEPTED
    start = server.lines[0].index(lines[0])
    assert server.lines[0][start : start + len(lines)] == lines


@pytest.mark.parametrize("phase", ["auth", "mail", "final"])
@pytest.mark.parametrize(
    "secret",
    [
        PASSWORD,
        PASSWORD.upper(),
        "SMTP_Injection",
        "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5",
        "AFNNVFBfSW5qZWN0aW9uAGNvcnJlY3QtaG9yc2UtYmF0dGVyeQ==",
        "tenant-binding-7",
    ],
)
async def test_a_server_that_repeats_our_secrets_does_not_get_them_into_the_outcome(
    secret: str, phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """User, password, what AUTH makes of them, and secret header values are struck out, also where the text is cut."""
    say = b"535 5.7.8 " + b"x" * 490 + f" {secret} no\r\n".encode()
    server = await line_server({phase: act(say=say)})
    user = smtp_user(server.port, headers={"X-Binding": SecretStr("tenant-binding-7")})

    outcome = await user.attempt()

    assert secret.lower()[:8] not in repr(outcome).lower()
    assert "[redacted" in outcome.reply
    assert PASSWORD not in repr(vars(user.surface)["_settings"])


@pytest.mark.parametrize("secret", [PASSWORD, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5", "tenant-binding-7"])
@pytest.mark.parametrize("shown", [3, 9, 15])
@pytest.mark.parametrize(
    ("before", "then"),
    [(b"250 no ", "hang"), (b"250-no\r\n250 ", "hang"), (b"no reply ", "endless line")],
)
async def test_a_secret_that_was_cut_leaves_no_beginning(
    before: bytes, then: str, shown: int, secret: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """Where a reply stops within a secret, or evidence is cut within one, what is left of it is struck out as well."""
    if then == "endless line":
        say = before + b"x" * (512 - len(before) - shown) + secret.encode() + b"x" * 2000
    else:
        say = before + secret.encode()[:shown]
    server = await line_server({"final": act(say=say, then="hang")})
    user = smtp_user(server.port, headers={"X-Binding": SecretStr("tenant-binding-7")})

    outcome = await user.attempt(0.15)

    assert outcome.reply
    assert secret[:3] not in outcome.reply
    assert "[redacted" in outcome.reply or (then, shown) == ("endless line", 3)


@pytest.mark.parametrize("log_format", ["json", "console"])
async def test_a_traceback_of_our_own_does_not_hold_the_password(
    log_format: LogFormat, line_server: StartServer, smtp_user: MakeUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug that strikes while the login is on its way is logged without the login, as it is and as AUTH encodes it."""
    server = await line_server()
    user = smtp_user(server.port)
    write = Wire._write

    def break_at_login(wire: Wire, data: bytes) -> None:
        if data.startswith(b"AUTH"):
            raise ZeroDivisionError
        write(wire, data)

    monkeypatch.setattr(Wire, "_write", break_at_login)
    lines = io.StringIO()
    writer = set_up(log_format, "debug", lines)
    try:
        outcome = await user.attempt()
    finally:
        writer.close()
        structlog.reset_defaults()

    assert (outcome.cause, outcome.phase) == (Cause.INTERNAL, Phase.AUTH)
    assert "ZeroDivisionError" in lines.getvalue()
    for secret in (PASSWORD, "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5", "AFNNVFBfSW5qZWN0aW9u"):
        assert secret[:8] not in lines.getvalue()


async def test_the_message_arrives_as_configured(line_server: StartServer, smtp_user: MakeUser) -> None:
    """Ids, addresses, date and placeholders are in the message and the envelope that the server receives."""
    server = await line_server()
    user = smtp_user(server.port, headers={"X-Binding": "acme 100%", "Subject": "{ordinal} of {second}", "X-Dot": "."})

    outcome = await user.attempt()

    message = email.message_from_bytes(server.messages[0], policy=email.policy.default)
    assert message["Message-ID"] == f"<{outcome.message_id}@mail.example>"
    assert (message["From"], message["To"]) == ("probe@mail.example", "seen@sink.example")
    assert message.get_all("Subject") == [f"0 of {outcome.second}"]
    assert (message["X-Binding"], message["X-Dot"]) == ("acme 100%", ".")
    assert message["Date"].datetime.timestamp() == outcome.started_us // 1_000_000
    assert outcome.message_id in message.get_content()
    assert b"MAIL FROM:<probe@mail.example>" in server.lines[0]
    assert b"RCPT TO:<seen@sink.example>" in server.lines[0]
    assert server.lines[0][0] == b"EHLO here"


def test_headers_are_folded_and_encoded_so_that_a_mail_parser_reads_them_back() -> None:
    """JSON is folded where white space means nothing, text beyond ASCII is encoded, and no line is too long."""
    api = {"campaign_id": "größe", "metadata": {f"key{n}": "{message_id}, {target}:  {vantage}" for n in range(40)}}
    headers: dict[str, str | SecretStr] = {
        "X-MSYS-API": json.dumps(api, ensure_ascii=False),
        "Subject": "Prüfung größer {ordinal} für {target}, Sekunde {second}, " + "sehr lang " * 30,
        "X-Own": "{{message_id}} {message_id} %s %(date)s",
        "X-Secret": SecretStr("{message_id} 7%"),
    }
    template = MessageTemplate(
        sender="a@b.example", recipient="c@d.example", headers=headers, target="acme", vantage="here"
    )

    raw = template.fill(TICKET, 1_700_000_000)

    assert raw.isascii()
    assert all(len(line) < 998 for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    message = email.message_from_bytes(raw, policy=email.policy.default)
    seen = json.loads(message["X-MSYS-API"])
    assert seen["campaign_id"] == "größe"
    assert seen["metadata"]["key39"] == f"{TICKET.message_id}, acme:  here"
    assert message["Subject"].startswith("Prüfung größer 0 für acme, Sekunde 1, sehr lang sehr lang")
    assert message["X-Own"] == f"{{{{message_id}}}} {TICKET.message_id} %s %(date)s"
    assert message["X-Secret"] == "{message_id} 7%"


TICKET = Ticket(target=".dotted", vantage="v", surface=Surface.SMTP, second=1, ordinal=0)


@pytest.mark.parametrize("value", [".", ". dot", "{target}", "a\t.b", ""])
def test_no_header_value_can_end_the_message(value: str) -> None:
    """The only line that is a lone dot is the last one."""
    template = MessageTemplate(
        sender="a@b.example", recipient="c@d.example", headers={"X-A": value}, target=".dotted", vantage="v"
    )

    lines = template.fill(TICKET, 1).split(b"\r\n")

    assert lines[-2:] == [b".", b""]
    assert not any(line.startswith(b".") for line in lines[:-2])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("X-A", "a\r\nBcc: all@example.org", "line break"),
        ("X-A", "a\n.\nMAIL", "line break"),
        ("X-A: b\r\nX", "a", "not a header name"),
        ("X-A", "x" * 2000, "folded"),
        ("X-A", "für{second}", "put a space between"),
    ],
)
def test_a_header_that_could_break_out_is_refused_in_one_sentence(name: str, value: str, words: str) -> None:
    """A line break can't get into the message, not even when the settings have been made by hand."""
    with pytest.raises(ValueError, match=words):
        MessageTemplate(sender="a@b.c", recipient="c@d.e", headers={name: value}, target="t", vantage="v")


# A server that is not of our making.


async def test_a_real_aiosmtpd_with_starttls_and_login_takes_the_message(
    server_tls: ssl.SSLContext, smtp_user: MakeUser
) -> None:
    """Two attempts against aiosmtpd, on one connection, arrive as two messages."""
    received: list[Any] = []

    class Keep(Message):
        def handle_message(self, message: Any) -> None:
            received.append(message)

    def check(*arguments: Any) -> AuthResult:
        login = arguments[-1]
        return AuthResult(success=login.login == b"SMTP_Injection" and login.password == PASSWORD.encode())

    def factory() -> SMTP:
        return SMTP(
            Keep(), tls_context=server_tls, require_starttls=True, auth_required=True, authenticator=check,
            loop=asyncio.get_running_loop(),
        )  # fmt: skip

    server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
    user = smtp_user(server.sockets[0].getsockname()[1])

    outcomes = [await user.attempt(), await user.attempt()]
    user.surface.close()
    server.close()
    await server.wait_closed()

    assert [(o.cause, o.connection) for o in outcomes] == [
        (Cause.ACCEPTED, Connection.FRESH),
        (Cause.ACCEPTED, Connection.KEPT),
    ]
    assert [m["Message-ID"] for m in received] == [f"<{o.message_id}@mail.example>" for o in outcomes]


async def test_a_silence_on_a_connection_that_loses_packets_is_the_networks(
    line_server: StartServer, smtp_user: MakeUser, act: Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The missing reply may be among what was lost; on a clean connection it is the server's."""
    server = await line_server({"final": act(say=b"", then="hang")})
    user = smtp_user(server.port)

    clean = await user.attempt(0.3)
    monkeypatch.setattr("probe.surfaces.smtp_wire.packets_lost", lambda _: 1)
    lossy = await user.attempt(0.3)

    assert (clean.fault, clean.cause) == (Fault.SERVER_TIMEOUT, Cause.SILENT)
    assert (lossy.fault, lossy.cause, lossy.maybe_accepted) == (Fault.NETWORK, Cause.PACKETS_LOST, True)
