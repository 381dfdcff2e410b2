"""A Support Case by mail: what stands in it, and its journey through a relay that has moods."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP

from probe.cases import Enclosure, Letter, NotSent, letter, message_id_of, send
from probe.cases.letter import TABLE_ROWS_MAX
from probe.cases.mail import ATTEMPTS_MAX
from probe.core.callsheet import Contacts
from probe.core.case_happenings import Case, CaseAct, CaseHappening, CaseKind, named_case
from probe.core.cases import tell_case
from probe.core.evidence import Evidence, SurfaceEvidence
from probe.core.model import Cause, Connection, Fault, Outcome, Phase, Surface
from probe.settings import Relay

SECOND = 1_764_000_000
SENDER = "oncall@example.com"


class Moods:
    """A relay that answers DATA with these replies in turn, the last of them for ever."""

    def __init__(self, *replies: str) -> None:
        self.replies = replies
        self.seen: list[bytes] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        """Take or refuse a mail."""
        self.seen.append(envelope.content)
        return self.replies[min(len(self.seen), len(self.replies)) - 1]


@asynccontextmanager
async def relaying(handler: Moods) -> AsyncIterator[Relay]:
    """Run the relay on loopback."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(handler, hostname="relay.test", loop=loop), "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Relay.model_validate({"host": "127.0.0.1", "port": port, "tls": "none", "timeout_s": 5.0})


def case(**more: Any) -> Case:
    """Make an open case."""
    fields = {"title": "421 now and then", "words": "It comes and goes.", **more}
    return tell_case(
        None,
        named_case(
            CaseHappening(
                target="main", act=CaseAct.OPENED, at_us=SECOND * 10**6, recorded_us=SECOND * 10**6, actor="nina",
                kind=CaseKind.SOFTWARE_BUG, **fields,
            )
        ),
    )  # fmt: skip


def mail(enclosure: Enclosure | None = None, **more: Any) -> EmailMessage:
    """Write the mail of a case."""
    contacts = Contacts(company="Example Mail GmbH", contact_name="Nina Keller", contact_email="nina@example.com")
    return letter(
        Letter(
            case=case(**more), sender=SENDER, recipient="support@provider.test", contacts=contacts, vantage="here",
            now_us=SECOND * 10**6, enclosure=enclosure,
        )
    )  # fmt: skip


def enclosed(*unavailable: tuple[str, int, str]) -> Enclosure:
    """Make evidence of ten seconds."""
    sample = Outcome(
        target="main", surface=Surface.SMTP, second=SECOND, ordinal=0, started_us=SECOND * 10**6, duration_us=9,
        fault=Fault.SERVER_ERROR, cause=Cause.REPLY_TRANSIENT, phase=Phase.BANNER, code=421, enhanced_code="4.3.2",
        reply="busy\x1b[2J\r\nBcc: you", message_id="m1", connection=Connection.FRESH, address="127.0.0.1",
        maybe_accepted=False, phases=(),
    )  # fmt: skip
    surface = SurfaceEvidence(
        surface=Surface.SMTP, first_second=SECOND, last_second=SECOND + 3, seconds=10, unavailable=3, corroborated=0,
        causes=((Cause.REPLY_TRANSIENT, 3),),
    )  # fmt: skip
    evidence = Evidence(
        target="main", first_second=SECOND, last_second=SECOND + 9, unavailable=3, surfaces=(surface,),
        samples=(sample,), controls=(("gateway", 3, 3),), own_faults=(),
    )  # fmt: skip
    return Enclosure(evidence=evidence, unavailable=unavailable, record=b"v,type\r\n1,second\r\n")


def text_of(message: EmailMessage) -> str:
    """Read the words of a mail."""
    body = message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def test_the_mail_has_summary_table_and_record() -> None:
    """Who asks, about what, the seconds joined to runs, a reply as one harmless line, and the CSV as it is."""
    seconds = (("smtp", SECOND, "literal"), ("smtp", SECOND + 1, "literal"), ("smtp", SECOND + 3, "corroborated"))
    message = mail(enclosed(*seconds))
    text = text_of(message)
    for said in (
        "Kind:           Software bug\n",  # and no word of persistence, which the case's own words speak of
        "Company:        Example Mail GmbH",
        "It comes and goes.",
        "In 3 of the 10 seconds from 2025-11-24T16:00:00Z to 2025-11-24T16:00:09Z",
        "SMTP injections: 3 of 10 seconds Unavailable; what happened: reply transient (3x).",
        "message id m1: 421 busy\N{REPLACEMENT CHARACTER}[2J Bcc: you",
        "the control gateway worked in 3 of 3",
        "smtp     2025-11-24T16:00:00Z  2025-11-24T16:00:01Z        2  literal",
        "smtp     2025-11-24T16:00:03Z  2025-11-24T16:00:03Z        1  corroborated",
    ):
        assert said in text
    (record,) = message.iter_attachments()
    assert record.get_content_type() == "text/csv"
    assert record.get_filename() == f"{case().case}.csv"
    assert record.get_payload(decode=True) == b"v,type\r\n1,second\r\n"
    assert (message["Reply-To"], message["Bcc"]) == ("nina@example.com", None)


def test_a_long_table_ends_and_says_so() -> None:
    """The attached record has the rest."""
    seconds = [("api", SECOND + 2 * place, "literal") for place in range(TABLE_ROWS_MAX + 7)]
    text = text_of(mail(enclosed(*seconds)))
    assert text.count("  literal") == TABLE_ROWS_MAX
    assert "... and 7 more in the attached record" in text


def test_a_case_without_evidence_is_words_alone() -> None:
    """A request needs no seconds, and any script is written as it is."""
    message = mail(title="Größere Grenzen, bitte — 上限", words="Wir wüssten gern mehr.")
    assert "Wir wüssten gern mehr." in text_of(message)
    assert str(message["Subject"]).endswith("Größere Grenzen, bitte — 上限")
    assert list(message.iter_attachments()) == []


async def test_a_mail_that_is_sent_again_is_the_same_one() -> None:
    """A relay that is busy is tried again, and both times the Message-ID is that of the case."""
    relay = Moods("451 4.3.0 busy", "250 2.0.0 taken")
    async with relaying(relay) as there:
        await send(mail(), there, wait_s=0.0)
    expected = message_id_of(case().case, SENDER)
    assert expected == mail()["Message-ID"]
    assert [seen.count(f"Message-ID: {expected}".encode()) for seen in relay.seen] == [1, 1]


@pytest.mark.parametrize(("reply", "attempts"), [("554 5.7.1 no \x07thanks", 1), ("451 4.3.0 busy", ATTEMPTS_MAX)])
async def test_a_mail_that_is_not_taken_is_not_sent(reply: str, attempts: int) -> None:
    """What is refused for good is tried once, what may pass a few times, and then the relay's words are told."""
    relay = Moods(reply)
    async with relaying(relay) as there:
        with pytest.raises(NotSent, match=rf"the relay 127.0.0.1:{there.port} did not take it: {reply[:3]}"):
            await send(mail(), there, wait_s=0.0)
    assert len(relay.seen) == attempts


async def test_a_relay_that_is_not_there_is_named() -> None:
    """Its address is in the sentence."""
    async with relaying(Moods("250 ok")) as there:
        pass
    with pytest.raises(NotSent, match=rf"127.0.0.1:{there.port} did not take it"):
        await send(mail(), there, wait_s=0.0)
