"""Each phase of an injection meets each way in which a server can fail."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from probe.core.model import Cause, Connection, Fault, Phase
from probe.core.replies_smtp import judge

PHASES = ["banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "final"]
DEADLINE_S = 0.12
REPLIES = [
    b"421 4.3.2 Service unavailable",
    b"421 Closing",
    b"450 4.7.1 not now",
    b"450",
    b"451 4.3.0 transaction failed",
    b"452 4.3.1 no room",
    b"452 4.5.3 batch limit reached",
    b"454 4.7.0 temporary failure",
    b"500 5.5.2 what",
    b"535 5.7.8 Sorry.",
    b"550-5.7.1 first line\r\n550 5.7.1 second line",
    b"554 5.3.0 broken",
    b"554",
]
StartServer = Callable[..., Awaitable[Any]]
MakeUser = Callable[..., Any]
Act = Callable[..., Any]


@pytest.mark.parametrize("phase", PHASES)
async def test_a_server_that_falls_silent_timed_out(
    phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """Silence until the deadline is a server-side timeout in the phase in which it began."""
    server = await line_server({phase: act(say=b"", then="hang")})

    outcome = await smtp_user(server.port).attempt(DEADLINE_S)

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.SERVER_TIMEOUT, Cause.SILENT, Phase(phase))
    assert outcome.maybe_accepted == (phase == "final")
    assert DEADLINE_S * 1e6 <= outcome.duration_us + 2000 < DEADLINE_S * 1e6 + 100_000


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(("then", "cause"), [("close", Cause.CLOSED), ("reset", Cause.RESET_IN_SESSION)])
async def test_a_connection_cut_on_a_fresh_attempt_is_the_servers(
    then: str, cause: Cause, phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """A connection closed or reset without a reason counts as 451 (RFC 5321 section 3.8), and is not tried again."""
    server = await line_server({phase: act(say=b"", then=then)})

    outcome = await smtp_user(server.port).attempt()

    assert (outcome.fault, outcome.cause, outcome.phase) == (Fault.SERVER_ERROR, cause, Phase(phase))
    assert outcome.maybe_accepted == (phase == "final")
    assert outcome.connection is Connection.FRESH
    assert server.connections == 1


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("reply", REPLIES)
async def test_a_bad_reply_is_judged_in_its_phase_and_kept_verbatim(
    reply: bytes, phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """The table's judgement, the code, the enhanced code and the text of a reply reach the outcome."""
    server = await line_server({phase: act(say=reply + b"\r\n")})

    outcome = await smtp_user(server.port).attempt()

    lines = [line[4:].decode() for line in reply.split(b"\r\n")]
    enhanced = lines[0].split(" ")[0] if lines[0][1:2] == "." else ""
    expected = judge(Phase(phase), int(reply[:3]), enhanced, " / ".join(lines), own_open_connections=1)
    assert (outcome.fault, outcome.cause) == expected
    assert (outcome.phase, outcome.code, outcome.enhanced_code) == (Phase(phase), int(reply[:3]), enhanced)
    assert outcome.reply == " / ".join(lines)
    assert not outcome.maybe_accepted
    assert len(server.messages) == (phase == "final")


@pytest.mark.parametrize("phase", PHASES)
async def test_an_unasked_421_before_a_close_is_the_evidence(
    phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """A server that says why it leaves is quoted, although the connection was closed behind its words."""
    server = await line_server({phase: act(say=b"421 4.3.2 shutting down\r\n", then="close")})

    outcome = await smtp_user(server.port).attempt()

    assert (outcome.cause, outcome.code, outcome.reply) == (Cause.SERVICE_CLOSING, 421, "4.3.2 shutting down")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    ("say", "options"),
    [
        pytest.param(b"hello there\r\n", {}, id="garbage"),
        pytest.param(b"\x16\x03\x01\x00\xff\r\n", {}, id="binary"),
        pytest.param(b"199 no such class\r\n", {}, id="impossible code"),
        pytest.param(b"2500 a code of four digits\r\n", {}, id="long code"),
        pytest.param(b"250-one\r\n451 two\r\n", {}, id="codes that differ"),
        pytest.param(b"250-and\r\n", {"endlessly": True}, id="endless lines"),
        pytest.param(b"250 " + b"x" * 5000, {"then": "hang"}, id="endless line"),
        pytest.param(b"250 " + b"x" * 5000 + b"\r\n", {}, id="long line"),
    ],
)
async def test_what_is_no_reply_is_malformed(
    say: bytes, options: dict[str, Any], phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """Garbage, and replies beyond the limits, end the attempt at once with a bounded piece as evidence."""
    server = await line_server({phase: act(say=say, **options)})

    outcome = await smtp_user(server.port).attempt()

    assert (outcome.fault, outcome.cause, outcome.phase) == (
        Fault.SERVER_ERROR,
        Cause.MALFORMED_REPLY,
        Phase(phase),
    )
    assert outcome.duration_us < 1_000_000
    assert outcome.reply
    assert outcome.reply.isprintable()
    assert len(outcome.reply) <= 512


@pytest.mark.parametrize("phase", PHASES)
async def test_a_reply_that_stops_half_way_stalled(
    phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """A reply that begins and never ends is told from silence, and its beginning is kept."""
    server = await line_server({phase: act(say=b"451-first\r\n451 and th", then="hang")})

    outcome = await smtp_user(server.port).attempt(DEADLINE_S)

    assert (outcome.fault, outcome.cause) == (Fault.SERVER_TIMEOUT, Cause.BODY_STALLED)
    assert (outcome.phase, outcome.reply) == (Phase(phase), "first / 451 and th…")


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("piece_bytes", [1, 7])
async def test_replies_may_come_in_pieces(
    piece_bytes: int, phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """A good reply is good however it is cut into packets."""
    server = await line_server({phase: act(piece_bytes=piece_bytes)})

    assert (await smtp_user(server.port).attempt()).cause is Cause.ACCEPTED


@pytest.mark.parametrize("phase", PHASES)
async def test_a_bare_code_is_a_reply(phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act) -> None:
    """A code without text, and without the space before it, is taken (RFC 5321 section 4.2)."""
    codes = {"banner": b"220", "starttls": b"220", "auth": b"235", "data": b"354"}
    say = b"250-x\r\n250-\r\n250-PIPELINING\r\n250 STARTTLS" if phase == "ehlo" else codes.get(phase, b"250")
    server = await line_server({phase: act(say=say + b"\r\n")})

    assert (await smtp_user(server.port).attempt()).cause is Cause.ACCEPTED


@pytest.mark.parametrize("phase", PHASES)
async def test_a_reply_that_nobody_asked_for_is_not_taken_for_the_next_ones(
    phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """Two replies for one command put the dialogue out of step; after the final reply nothing changes the outcome."""
    codes = {"banner": 220, "starttls": 220, "auth": 235, "data": 354}
    good = b"%d ok\r\n" % codes.get(phase, 250)
    if phase == "ehlo":
        good = b"250-x\r\n250-PIPELINING\r\n250 STARTTLS\r\n"
    server = await line_server({phase: act(say=good + b"250 and more\r\n")})

    outcome = await smtp_user(server.port).attempt()

    assert outcome.cause is (Cause.ACCEPTED if phase == "final" else Cause.MALFORMED_REPLY)
    assert outcome.phase is not Phase(phase) or phase == "final"


@pytest.mark.parametrize("phase", ["mail", "rcpt", "data"])
@pytest.mark.parametrize("pipelining", [True, False])
async def test_no_message_is_sent_after_a_refusal(
    pipelining: bool, phase: str, line_server: StartServer, smtp_user: MakeUser, act: Act
) -> None:
    """The first bad reply ends the transaction, also where the pipelined DATA behind it was granted."""
    ehlo = b"250-x\r\n250-PIPELINING\r\n250 STARTTLS\r\n" if pipelining else b"250-x\r\n250 STARTTLS\r\n"
    server = await line_server({"ehlo": act(say=ehlo), phase: act(say=b"451 4.3.0 not now\r\n")})

    outcome = await smtp_user(server.port).attempt()
    await server.all_closed.wait()

    assert (outcome.phase, outcome.code) == (Phase(phase), 451)
    assert server.messages == []
    assert server.count(b"MAIL") == 1
    assert server.connections == 1
