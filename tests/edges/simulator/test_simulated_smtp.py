"""The simulated SMTP service as its clients see it."""

import asyncio
import base64
import re
import smtplib
import ssl
from collections.abc import Awaitable, Callable
from email.message import EmailMessage
from typing import Any

import aiosmtplib
import pytest

from probe.core.model import Phase, Surface
from probe.simulator import FaultKind, ProviderOptions, SimulatedFault, SimulatedProvider, TlsMode

Trust = Callable[[SimulatedProvider], ssl.SSLContext]
Dial = Callable[..., Awaitable[Any]]
SMTP = Surface.SMTP
BARE = ProviderOptions(smtp_tls=TlsMode.NONE, user="")
TRANSACTION = ("MAIL FROM:<me@example.com>", "RCPT TO:<a@b.test>", "DATA")


def fault(kind: FaultKind, **parameters: Any) -> SimulatedFault:
    """Make a fault in one line."""
    return SimulatedFault(kind=kind, **parameters)


def message(sender: str = "me@example.com", **headers: str) -> EmailMessage:
    """Make a message with a Message-ID and the provider's own header."""
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, "a@b.test", "probe"
    mail["Message-ID"] = "<1.0.smtp.main.here@example.com>"
    mail["X-MSYS-API"] = '{"metadata": {"message_id": "1.0.smtp.main.here", "long": "' + "long words " * 10 + '"}}'
    for name, value in headers.items():
        mail.replace_header(name, value) if name in mail else mail.__setitem__(name, value)
    mail.set_content("text\n.\n..dots\n")
    return mail


async def _dialogue(dial: Dial, provider: SimulatedProvider) -> Any:
    """Open a session without TLS, past EHLO."""
    dialogue = await dial(provider.smtp_port)
    await dialogue.reply()
    await dialogue.ask("EHLO here")
    return dialogue


async def test_the_standard_library_s_client_sends_two_messages(provider: SimulatedProvider, trust: Trust) -> None:
    """smtplib finds STARTTLS and AUTH, and sends two messages on one connection; the record names them."""

    def send() -> None:
        with smtplib.SMTP("localhost", provider.smtp_port, timeout=2) as client:
            client.ehlo()
            assert client.has_extn("starttls")
            assert not client.has_extn("auth")
            client.starttls(context=trust(provider))
            client.ehlo()
            assert client.esmtp_features["auth"].split() == ["LOGIN", "PLAIN", "LOGIN", "PLAIN"]
            assert {"enhancedstatuscodes", "pipelining", "8bitmime", "size"} <= set(client.esmtp_features)
            client.login(provider.user, provider.key)
            client.send_message(message())
            client.noop()
            client.send_message(message(), to_addrs=["a@b.test", "c@d.test"])

    await asyncio.to_thread(send)
    first, second = provider.received(SMTP)
    assert first.message_id == "1.0.smtp.main.here@example.com"
    assert first.metadata["message_id"] == "1.0.smtp.main.here"
    assert (first.sender, first.recipients, second.recipients) == ("me@example.com", 1, 2)
    tally = provider.tally(SMTP)
    assert (tally.connections, tally.attempts, tally.accepted, tally.refused) == (1, 2, 2, 0)


@pytest.mark.parametrize("tls", list(TlsMode))
async def test_aiosmtplib_sends_a_message(trust: Trust, tls: TlsMode) -> None:
    """The daemon's own library sends over STARTTLS, implicit TLS and no TLS, and gets the provider's kind of id."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=tls)) as provider:
        _, reply = await aiosmtplib.send(
            message(),
            hostname="localhost",
            port=provider.smtp_port,
            use_tls=tls is TlsMode.IMPLICIT,
            start_tls=tls is TlsMode.STARTTLS,
            tls_context=trust(provider),
            username=provider.user,
            password=provider.key,
            timeout=2,
        )
        assert re.fullmatch(r"2\.0\.0 OK [0-9A-F]{2}/[0-9A-F]{2}-30607-[0-9A-F]{8}", reply)
        assert reply.endswith(provider.received(SMTP)[0].transmission)


async def test_the_session_reads_like_the_recorded_one(provider: SimulatedProvider, dial: Dial) -> None:
    """Banner, EHLO and the reply to STARTTLS are those of the recorded session."""
    dialogue = await dial(provider.smtp_port)
    assert (await dialogue.reply()).startswith("220 2.0.0 smtp.sparkpostmail.com ESMTP ecelerity 4.1.5")
    lines = (await dialogue.ask("EHLO here")).split("\n")
    assert lines[0].startswith("250-smtp.sparkpostmail.com says EHLO to 127.0.0.1:")
    assert lines[1:] == [
        "250-STARTTLS",
        "250-ENHANCEDSTATUSCODES",
        "250-PIPELINING",
        "250-SIZE 20971520",
        "250 8BITMIME",
    ]
    assert await dialogue.ask("STARTTLS") == "220 2.0.0 continue"


@pytest.mark.parametrize("mechanism", ["PLAIN", "PLAIN in two steps", "LOGIN", "LOGIN in two steps"])
@pytest.mark.parametrize(("key", "reply"), [("right", "235 2.0.0 Authed. Go on."), ("wrong", "535 5.7.8 Sorry.")])
async def test_auth_is_judged_by_user_and_key(dial: Dial, mechanism: str, key: str, reply: str) -> None:
    """Both mechanisms, with and without an initial response, tell the right key from a wrong one."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=TlsMode.NONE, key="right")) as provider:
        dialogue = await _dialogue(dial, provider)
        name, plain = (
            base64.b64encode(text.encode()).decode() for text in (provider.user, f"\0{provider.user}\0{key}")
        )
        if mechanism == "PLAIN":
            answer = await dialogue.ask(f"AUTH PLAIN {plain}")
        elif mechanism == "PLAIN in two steps":
            assert await dialogue.ask("AUTH PLAIN") == "334 "
            answer = await dialogue.ask(plain)
        else:
            if mechanism == "LOGIN":
                assert await dialogue.ask(f"AUTH LOGIN {name}") == "334 UGFzc3dvcmQ6"
            else:
                assert await dialogue.ask("AUTH LOGIN") == "334 VXNlcm5hbWU6"
                assert await dialogue.ask(name) == "334 UGFzc3dvcmQ6"
            answer = await dialogue.ask(base64.b64encode(key.encode()).decode())
        assert answer == reply
        assert (await dialogue.ask(TRANSACTION[0]))[:3] == ("250" if key == "right" else "550")


async def test_without_auth_or_tls_relaying_is_denied(provider: SimulatedProvider, dial: Dial) -> None:
    """Mail without STARTTLS and AUTH gets the documented refusal, and AUTH is not to be had in the clear."""
    dialogue = await _dialogue(dial, provider)
    assert await dialogue.ask(TRANSACTION[0]) == "550 5.7.1 relaying denied"
    assert (await dialogue.ask("AUTH PLAIN AAAA"))[:3] == "503"


async def test_commands_out_of_order_are_answered(dial: Dial) -> None:
    """Each protocol mistake gets its documented reply and leaves the session usable."""
    async with SimulatedProvider(BARE) as provider:
        dialogue = await dial(provider.smtp_port)
        await dialogue.reply()
        asked = [
            "MAIL FROM:<a@example.com>",
            "EHLO",
            "EHLO x",
            "RCPT TO:<a@b>",
            "DATA",
            "MAIL a",
            "STARTTLS",
            "WHAT",
            "VRFY a",
        ]
        asked += ["MAIL FROM:<a@example.com> SIZE=99999999", "MAIL FROM:<a@example.com>", "MAIL FROM:<a@example.com>"]
        asked += ["RCPT TO:<>", "RSET", "NOOP", "QUIT"]
        codes = [(await dialogue.ask(line))[:3] for line in asked]
        assert " ".join(codes) == "550 501 250 503 503 501 503 500 502 552 250 503 501 250 250 221"
        assert await dialogue.rest() == b""


async def test_a_pipelined_transaction_is_answered_in_order(dial: Dial) -> None:
    """Two whole transactions in one piece, bytes split anywhere, get all replies in order."""
    async with SimulatedProvider(BARE) as provider:
        dialogue = await _dialogue(dial, provider)
        one = "\r\n".join((*TRANSACTION, "Message-ID: <1@x>", "", "..", ".", ""))
        empty = "\r\n".join((*TRANSACTION, ".", ""))
        for byte in (one + empty).encode():
            dialogue.writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        replies = [(await dialogue.reply())[:9] for _ in range(8)]
        assert replies == ["250 2.0.0", "250 2.0.0", "354 3.0.0", "250 2.0.0"] * 2
        assert [received.message_id for received in provider.received(SMTP)] == ["1@x", ""]


async def test_commands_behind_starttls_are_refused(provider: SimulatedProvider, dial: Dial) -> None:
    """What is pipelined behind STARTTLS is never taken for a command of the private session."""
    dialogue = await _dialogue(dial, provider)
    await dialogue.say("STARTTLS", "EHLO injected")
    assert (await dialogue.rest()).startswith(b"503 ")


@pytest.mark.parametrize(
    ("headers", "reply"),
    [
        ({"sender": "me@elsewhere.test"}, "550 5.7.1 Unconfigured Sending Domain <elsewhere.test>"),
        ({"X-MSYS-API": "{broken"}, "550 5.6.0 Invalid X-MSYS-API header"),
        ({"X-MSYS-API": '{"campaign_id": "' + "c" * 65 + '"}'}, "550 5.6.0 Invalid X-MSYS-API header"),
    ],
)
async def test_a_message_is_judged_at_the_end_of_data(dial: Dial, headers: dict[str, str], reply: str) -> None:
    """A sending domain that is not configured, and a wrong header, are refused after the final dot."""
    async with SimulatedProvider(BARE) as provider:
        dialogue = await _dialogue(dial, provider)
        for line in TRANSACTION:
            await dialogue.ask(line)
        assert await dialogue.ask(message(**headers).as_string().replace("\n", "\r\n") + "\r\n.") == reply
        tally = provider.tally(SMTP)
        assert (tally.accepted, tally.refused) == (0, 1)


async def test_a_message_without_binding_vanishes_where_bindings_are_used(dial: Dial) -> None:
    """The Enterprise service accepts a message without X-Binding and swallows it; the record says so."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=TlsMode.NONE, user="", binding_required=True)) as provider:
        dialogue = await _dialogue(dial, provider)
        for extra in ("", "X-Binding: pool\r\n"):
            await dialogue.say(*TRANSACTION, f"{extra}From: me@example.com", "", "x", ".")
            assert [(await dialogue.reply())[:3] for _ in range(4)][-1] == "250"
        assert [received.blackholed for received in provider.received(SMTP)] == [True, False]


# Faults.

PHASES = (Phase.BANNER, Phase.EHLO, Phase.AUTH, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL)


async def _walk(dial: Dial, provider: SimulatedProvider, until: Phase) -> Any:
    """Go through a session without TLS up to the reply of a phase, which is left unread."""
    plain = base64.b64encode(f"\0{provider.user}\0{provider.key}".encode()).decode()
    words = (None, "EHLO here", f"AUTH PLAIN {plain}", *TRANSACTION, "From: me@example.com\r\n\r\nx\r\n.")
    dialogue = await dial(provider.smtp_port)
    for phase, line in zip(PHASES, words, strict=True):
        if line is not None:
            await dialogue.say(line)
        if phase is until:
            break
        assert (await dialogue.reply())[:1] in "23"
    return dialogue


@pytest.mark.parametrize("phase", PHASES)
async def test_every_phase_can_fail_in_every_way(dial: Dial, phase: Phase) -> None:
    """A reply, silence, a close, a reset, half a reply, garbage and a delay: each at exactly the phase asked for."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=TlsMode.NONE)) as provider:

        async def meet(kind: FaultKind, **parameters: Any) -> Any:
            provider.set(SMTP, fault(kind, phase=phase, **parameters))
            return await _walk(dial, provider, phase)

        assert await (await meet(FaultKind.REPLY, reply="451 4.3.0 transaction failed")).reply() == (
            "451 4.3.0 transaction failed"
        )
        closing = await meet(FaultKind.REPLY, reply="421-4.3.2 Reconfiguration\n421 4.3.2 in progress")
        assert await closing.rest() == b"421-4.3.2 Reconfiguration\r\n421 4.3.2 in progress\r\n"
        assert await (await meet(FaultKind.SILENT)).is_silent()
        assert await (await meet(FaultKind.CLOSE)).rest() == b""
        with pytest.raises(ConnectionResetError):
            await (await meet(FaultKind.RESET)).rest()
        half = await (await meet(FaultKind.TRUNCATE)).rest()
        assert re.match(rb"[23]\d\d", half)
        assert not half.endswith(b"\r\n")
        stalled = await meet(FaultKind.STALL)
        assert await stalled.reader.readexactly(len(half) - 8)
        garbage = await (await meet(FaultKind.GARBAGE, size=100)).reader.readexactly(100)
        assert garbage.startswith(b"\xff\x00")
        start = asyncio.get_running_loop().time()
        assert (await (await meet(FaultKind.SLOW, by_s=0.05)).reply())[:1] in "23"
        assert asyncio.get_running_loop().time() - start >= 0.045
        assert provider.tally(SMTP).struck >= 9


async def test_a_fraction_strikes_a_whole_session_or_none_of_it(dial: Dial) -> None:
    """What is drawn at the first EHLO holds for the second, the session over: a fault strikes both or neither."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=TlsMode.NONE)) as provider:
        provider.set(SMTP, fault(FaultKind.REPLY, phase=Phase.EHLO, reply="451 4.3.0 no", fraction=0.5))
        seen = set()
        for _ in range(24):
            dialogue = await dial(provider.smtp_port)
            await dialogue.reply()
            seen.add(tuple([(await dialogue.ask("EHLO here"))[:3] for _ in range(3)]))
        assert seen == {("250",) * 3, ("451",) * 3}
        assert 0 < provider.tally(SMTP).struck < 24


async def test_a_fraction_strikes_a_whole_transaction_or_none_of_it(dial: Dial) -> None:
    """All recipients of a message meet the fault or none does, and the session's next message is drawn anew."""
    async with SimulatedProvider(BARE) as provider:
        provider.set(SMTP, fault(FaultKind.REPLY, phase=Phase.RCPT, reply="451 4.3.0 no", fraction=0.5))
        dialogue = await _dialogue(dial, provider)
        seen = set()
        for _ in range(24):
            await dialogue.ask(TRANSACTION[0])
            seen.add(tuple([(await dialogue.ask(TRANSACTION[1]))[:3] for _ in range(3)]))
            await dialogue.ask("RSET")
        assert seen == {("250",) * 3, ("451",) * 3}
        assert 0 < provider.tally(SMTP).struck < 24


async def test_starttls_is_missing_for_some_and_the_others_are_served(trust: Trust) -> None:
    """A client either is not offered STARTTLS or gets its message through, also past the EHLO behind STARTTLS."""
    async with SimulatedProvider(ProviderOptions()) as provider:
        provider.set(SMTP, fault(FaultKind.STARTTLS_MISSING, fraction=0.3))

        def send() -> bool:
            with smtplib.SMTP("localhost", provider.smtp_port, timeout=2) as client:
                try:
                    client.starttls(context=trust(provider))
                except smtplib.SMTPNotSupportedError:
                    return False
                client.login(provider.user, provider.key)
                client.send_message(message())
                return True

        sent = [await asyncio.to_thread(send) for _ in range(16)]
        assert set(sent) == {True, False}
        assert provider.tally(SMTP).struck == sent.count(False)


async def test_starttls_can_not_be_missing_where_there_is_no_tls(dial: Dial) -> None:
    """On a surface without TLS the fault does nothing: whoever says EHLO has been greeted."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=TlsMode.NONE)) as provider:
        provider.set(SMTP, fault(FaultKind.STARTTLS_MISSING))
        assert (await (await _walk(dial, provider, Phase.FINAL)).reply())[:3] == "250"


async def test_a_kept_session_meets_a_fault_of_the_transaction(dial: Dial) -> None:
    """A session opened before the fault gets it with its next message, and is right again after it."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=TlsMode.NONE)) as provider:
        dialogue = await _walk(dial, provider, Phase.FINAL)
        assert (await dialogue.reply())[:3] == "250"
        provider.set(SMTP, fault(FaultKind.REPLY, reply="451 4.3.0 no", fraction=1.0))
        mail = (*TRANSACTION, "From: me@example.com", "", "x", ".")
        await dialogue.say(*mail)
        assert [(await dialogue.reply())[:3] for _ in range(4)] == ["250", "250", "354", "451"]
        provider.clear(SMTP)
        await dialogue.say(*mail)
        assert [(await dialogue.reply())[:3] for _ in range(4)] == ["250", "250", "354", "250"]
        assert provider.tally(SMTP).accepted == 2


@pytest.mark.parametrize("phase", [Phase.CONNECT, Phase.BANNER, Phase.EHLO, Phase.AUTH])
async def test_a_kept_session_is_turned_out_by_a_fault_on_the_way_in(dial: Dial, phase: Phase) -> None:
    """A kept session can't meet a fault of a phase that it has passed, so it is closed and must come in anew."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=TlsMode.NONE)) as provider:
        idle = await _walk(dial, provider, Phase.FINAL)
        await idle.reply()
        busy = await _walk(dial, provider, Phase.FINAL)
        await busy.reply()
        await busy.ask(TRANSACTION[0])
        provider.set(SMTP, fault(FaultKind.SILENT, phase=phase))
        assert await idle.rest() == b""
        await busy.say(TRANSACTION[1], "DATA", ".")
        assert re.fullmatch(rb"250 .*\r\n354 .*\r\n250 .*\r\n", await busy.rest())


async def test_a_session_is_closed_right_after_its_banner(provider: SimulatedProvider, dial: Dial) -> None:
    """The banner comes, then the end, without a word from the client."""
    provider.set(SMTP, fault(FaultKind.CLOSE_AFTER_BANNER))
    assert (await (await dial(provider.smtp_port)).rest()).startswith(b"220 2.0.0 smtp")


async def test_a_message_can_be_taken_without_an_answer(dial: Dial) -> None:
    """The reply to the final dot is lost, and the record shows that the message was taken all the same."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=TlsMode.NONE)) as provider:
        provider.set(SMTP, fault(FaultKind.CLOSE, phase=Phase.FINAL, taken=True))
        assert await (await _walk(dial, provider, Phase.FINAL)).rest() == b""
        assert [received.answered for received in provider.received(SMTP)] == [False]


@pytest.mark.parametrize(
    ("told", "error"),
    [
        (fault(FaultKind.EXPIRED_CERTIFICATE), ssl.SSLCertVerificationError),
        (fault(FaultKind.WRONG_NAME), ssl.SSLCertVerificationError),
        (fault(FaultKind.PLAIN_TEXT), ssl.SSLError),
        (fault(FaultKind.TLS_ALERT), ssl.SSLError),
        (fault(FaultKind.GARBAGE, phase=Phase.TLS), ssl.SSLError),
        (fault(FaultKind.SILENT, phase=Phase.TLS), TimeoutError),
        (fault(FaultKind.CLOSE, phase=Phase.TLS), (ssl.SSLError, ConnectionError)),
        (fault(FaultKind.RESET, phase=Phase.TLS), ConnectionResetError),
        (fault(FaultKind.STARTTLS_MISSING), smtplib.SMTPNotSupportedError),
        (
            fault(FaultKind.REPLY, phase=Phase.STARTTLS, reply="454 4.7.0 TLS not available"),
            smtplib.SMTPResponseException,
        ),
    ],
    ids=lambda value: f"{value.kind}-{value.phase}" if isinstance(value, SimulatedFault) else "",
)
@pytest.mark.parametrize("tls", [TlsMode.STARTTLS, TlsMode.IMPLICIT])
async def test_tls_can_fail_behind_starttls_and_at_once(
    trust: Trust, told: SimulatedFault, error: type[Exception], tls: TlsMode
) -> None:
    """Each TLS fault shows to smtplib behind STARTTLS as well as on a port with implicit TLS."""
    if tls is TlsMode.IMPLICIT and told.kind in (FaultKind.STARTTLS_MISSING, FaultKind.REPLY):
        return
    async with SimulatedProvider(ProviderOptions(smtp_tls=tls)) as provider:
        provider.set(SMTP, told)

        def enter() -> None:
            context = trust(provider)
            if tls is TlsMode.IMPLICIT:
                smtplib.SMTP_SSL("localhost", provider.smtp_port, timeout=0.1, context=context)
                return
            with smtplib.SMTP("localhost", provider.smtp_port, timeout=0.1) as client:
                client.starttls(context=context)

        with pytest.raises(error):
            await asyncio.to_thread(enter)


async def test_idle_sessions_are_cut_after_the_documented_minute(dial: Dial) -> None:
    """The provider cuts idle sessions by itself, here after a shorter time; silent ones it leaves."""
    async with SimulatedProvider(ProviderOptions(smtp_tls=TlsMode.NONE, smtp_idle_s=0.05)) as provider:
        dialogue = await _dialogue(dial, provider)
        provider.set(SMTP, fault(FaultKind.SILENT, phase=Phase.MAIL))
        silent = await _walk(dial, provider, Phase.MAIL)
        assert await dialogue.rest() == b""
        assert await silent.is_silent()


async def test_refuse_resets_sessions_and_frees_nothing(provider: SimulatedProvider, dial: Dial) -> None:
    """Open sessions are reset, new ones refused, and the port is served again after the fault."""
    dialogue = await _dialogue(dial, provider)
    provider.set(SMTP, fault(FaultKind.REFUSE))
    with pytest.raises(ConnectionResetError):
        await dialogue.rest()
    with pytest.raises(ConnectionRefusedError):
        await dial(provider.smtp_port)
    provider.clear(SMTP)
    assert (await (await dial(provider.smtp_port)).reply())[:3] == "220"


async def test_a_line_without_end_is_cut(provider: SimulatedProvider, dial: Dial) -> None:
    """A client can't make the server hold more than a line's limit."""
    dialogue = await dial(provider.smtp_port)
    await dialogue.reply()
    await dialogue.say("x" * 20_000)
    assert await dialogue.rest() == b"500 5.5.2 line too long\r\n"
