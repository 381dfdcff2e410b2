"""What an SMTP reply means, and whose failure it is."""

import re
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.core import conducts_smtp
from probe.core.endings import fault_of
from probe.core.model import Cause, Fault, Phase
from probe.core.replies_smtp import (
    REPLY_PHASES,
    ROWS,
    Ending,
    as_markdown,
    cause_without_reply,
    goes_on,
    judge,
    row_for,
)

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "replies-smtp.md"
P = Phase
TEXTS = (
    "",
    "concurrency limit reached",
    "[internal] memory shortage",
    "[internal] message body missing",
    "sending limit exceeded",
    "rate exceeded",
)


# The provider's documented replies and the reference's rows.
@pytest.mark.parametrize(
    ("phase", "code", "enhanced", "text", "fault", "cause"),
    [
        (P.BANNER, 421, "4.3.2", "", Fault.SERVER_ERROR, Cause.SERVICE_CLOSING),
        (P.BANNER, 421, "4.4.5", "Service unavailable", Fault.SERVER_ERROR, Cause.SERVICE_CLOSING),
        (P.BANNER, 421, "", "", Fault.SERVER_ERROR, Cause.SERVICE_CLOSING),
        (P.BANNER, 421, "4.7.1", "blocked", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.BANNER, 554, "5.7.1", "block list", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.BANNER, 554, "", "no SMTP service here", Fault.SERVER_ERROR, Cause.REPLY_PERMANENT),
        (P.EHLO, 451, "", "", Fault.SERVER_ERROR, Cause.REPLY_TRANSIENT),
        (P.EHLO, 452, "", "", Fault.SERVER_ERROR, Cause.REPLY_TRANSIENT),
        (P.EHLO, 502, "", "", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.STARTTLS, 454, "", "TLS not available", Fault.SERVER_ERROR, Cause.TLS_SERVER_ERROR),
        (P.STARTTLS, 421, "4.7.0", "TLS Negotiation failed.", Fault.SERVER_ERROR, Cause.SERVICE_CLOSING),
        (P.STARTTLS, 451, "", "", Fault.SERVER_ERROR, Cause.REPLY_TRANSIENT),
        (P.STARTTLS, 503, "5.5.1", "", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.AUTH, 454, "4.7.0", "", Fault.SERVER_ERROR, Cause.AUTH_UNAVAILABLE),
        (P.AUTH, 454, "", "Throttling failure: Maximum sending rate exceeded", Fault.CLIENT, Cause.THROTTLED),
        (P.AUTH, 535, "5.7.8", "Sorry.", Fault.CLIENT, Cause.CREDENTIALS),
        (P.AUTH, 432, "4.7.12", "", Fault.CLIENT, Cause.CREDENTIALS),
        (P.AUTH, 500, "5.5.6", "", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.MAIL, 421, "4.3.2", "Reconfiguration in progress", Fault.SERVER_ERROR, Cause.SERVICE_CLOSING),
        (P.MAIL, 421, "4.3.4", "allocated resources exceeded", Fault.SERVER_ERROR, Cause.SERVICE_CLOSING),
        (P.MAIL, 451, "4.3.0", "transaction failed", Fault.SERVER_ERROR, Cause.REPLY_TRANSIENT),
        (P.MAIL, 451, "", "[internal] memory shortage", Fault.SERVER_ERROR, Cause.REPLY_TRANSIENT),
        (P.MAIL, 451, "4.7.1", "", Fault.CLIENT, Cause.THROTTLED),
        (P.MAIL, 450, "", "", Fault.CLIENT, Cause.THROTTLED),
        (P.MAIL, 452, "4.5.3", "Service unavailable, batch limit reached", Fault.CLIENT, Cause.THROTTLED),
        (P.MAIL, 452, "", "rate limit", Fault.CLIENT, Cause.THROTTLED),
        (P.MAIL, 451, "", "temporarily unable to generate an id", Fault.SERVER_ERROR, Cause.REPLY_TRANSIENT),
        (P.MAIL, 530, "5.7.0", "", Fault.CLIENT, Cause.CREDENTIALS),
        (P.MAIL, 550, "5.7.1", "relaying denied", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.MAIL, 550, "5.7.1", "daily limit exceeded", Fault.CLIENT, Cause.QUOTA),
        (P.RCPT, 550, "5.1.1", "", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.RCPT, 451, "4.4.1", "", Fault.SERVER_ERROR, Cause.REPLY_TRANSIENT),
        (P.RCPT, 452, "4.5.3", "", Fault.CLIENT, Cause.THROTTLED),
        (P.DATA, 554, "", "no valid recipients", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.DATA, 452, "4.3.1", "", Fault.SERVER_ERROR, Cause.REPLY_TRANSIENT),
        (P.DATA, 250, "2.0.0", "", Fault.SERVER_ERROR, Cause.MALFORMED_REPLY),
        (P.FINAL, 250, "2.0.0", "OK 95/6F-30607-EA5D4555", Fault.NONE, Cause.ACCEPTED),
        (
            P.FINAL,
            421,
            "4.3.3",
            "[internal] smtpapi unable to generate unique transmission id",
            Fault.SERVER_ERROR,
            Cause.SERVICE_CLOSING,
        ),
        (P.FINAL, 554, "5.3.0", "", Fault.SERVER_ERROR, Cause.REPLY_PERMANENT),
        (P.FINAL, 550, "5.3.0", "[internal] message body missing", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.FINAL, 552, "5.3.4", "message size limit exceeded", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.FINAL, 550, "5.6.0", "X-MSYS-API", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.FINAL, 550, "5.7.1", "Unconfigured Sending Domain", Fault.CLIENT, Cause.REQUEST_REJECTED),
        (P.FINAL, 354, "", "", Fault.SERVER_ERROR, Cause.MALFORMED_REPLY),
    ],
)
def test_documented_replies_are_judged_as_the_provider_means_them(
    phase: Phase, code: int, enhanced: str, text: str, fault: Fault, cause: Cause
) -> None:
    """Each documented reply has the fault and cause of the reference's table."""
    assert judge(phase, code, enhanced, text, own_open_connections=1) == (fault, cause)


@pytest.mark.parametrize(("own", "fault"), [(10, Fault.SERVER_ERROR), (11, Fault.CLIENT)])
def test_a_full_house_is_ours_only_if_we_hold_more_than_the_documented_ten(own: int, fault: Fault) -> None:
    """`421 4.4.5 ... concurrency limit reached` turns on our own open connections."""
    text = "Service unavailable, concurrency limit reached."

    assert judge(Phase.BANNER, 421, "4.4.5", text, own_open_connections=own)[0] is fault


def test_every_row_can_be_reached() -> None:
    """No row stands behind one that takes everything from it."""
    codes = (220, 250, 354, 421, 432, 450, 451, 452, 454, 455, 500, 501, 525, 530, 535, 550, 552, 554)
    classes = ("3.0", "3.4", "4.5", "5.3", "7.0", "7.1", "6.0", "1.1", "0.0")
    reached = {
        id(row_for(phase, code, enhanced, text, own_open_connections=own))
        for phase, code, own, text in product(REPLY_PHASES, codes, (1, 11), TEXTS)
        for enhanced in ("", *(f"{code // 100}.{rest}" for rest in classes))
    }

    assert [row for row in ROWS if id(row) not in reached] == []


@given(
    phase=st.sampled_from(REPLY_PHASES),
    code=st.integers(0, 999),
    enhanced=st.just("") | st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True),
    text=st.text() | st.sampled_from(TEXTS),
    own=st.integers(0, 1000),
)
def test_every_reply_has_one_judgement_and_only_success_is_accepted(
    phase: Phase, code: int, enhanced: str, text: str, own: int
) -> None:
    """Nothing falls through the table, the fault follows from the cause, and a refusal is never a success."""
    fault, cause = judge(phase, code, enhanced, text, own_open_connections=own)

    assert fault is fault_of(cause)
    assert (fault is Fault.NONE) == (phase is Phase.FINAL and code // 100 == 2)
    assert fault not in (Fault.NETWORK, Fault.SELF)
    assert judge(phase, code, enhanced, text, own_open_connections=own) == (fault, cause)


@given(code=st.integers(500, 599), phase=st.sampled_from(REPLY_PHASES), subject=st.sampled_from([1, 2, 5, 6, 7]))
def test_a_permanent_reply_about_us_is_never_the_servers(code: int, phase: Phase, subject: int) -> None:
    """5yz with an enhanced code on address, mailbox, protocol, content or policy can't carry a claim."""
    assert judge(phase, code, f"5.{subject}.0", "", own_open_connections=1)[0] is Fault.CLIENT


def test_only_the_first_digit_decides_whether_the_dialogue_goes_on() -> None:
    """A client acts on the first digit (RFC 5321 section 4.2): 251 is as good as 250, and DATA wants 3yz."""
    assert goes_on(Phase.RCPT, 251)
    assert goes_on(Phase.DATA, 354)
    assert not goes_on(Phase.DATA, 250)
    assert not goes_on(Phase.MAIL, 354)


@pytest.mark.parametrize(
    ("phase", "ending", "fault", "cause"),
    [
        (P.START, Ending.DEADLINE, Fault.SELF, Cause.INTERNAL),
        (P.LOOKUP, Ending.DEADLINE, Fault.SELF, Cause.RESOLVER),
        (P.CONNECT, Ending.DEADLINE, Fault.NETWORK, Cause.CONNECT_TIMEOUT),
        (P.TLS, Ending.DEADLINE, Fault.SERVER_TIMEOUT, Cause.SILENT),
        (P.BANNER, Ending.DEADLINE, Fault.SERVER_TIMEOUT, Cause.SILENT),
        (P.FINAL, Ending.DEADLINE_MID_REPLY, Fault.SERVER_TIMEOUT, Cause.BODY_STALLED),
        (P.MAIL, Ending.DEADLINE_UNSENT, Fault.NETWORK, Cause.SEND_STUCK),
        (P.BANNER, Ending.CLOSED, Fault.SERVER_ERROR, Cause.CLOSED),
        (P.DATA, Ending.RESET, Fault.SERVER_ERROR, Cause.RESET_IN_SESSION),
    ],
)
def test_silence_and_closing_are_judged_by_phase(phase: Phase, ending: Ending, fault: Fault, cause: Cause) -> None:
    """What ends without a reply is the server's once it is connected, and before that the network's or ours."""
    assert cause_without_reply(phase, ending) is cause
    assert fault_of(cause) is fault


def test_the_documentation_is_printed_from_the_table() -> None:
    """The page in docs/ equals what the table prints, and a row is one line of it."""
    assert DOCUMENT.read_text(encoding="utf-8") == as_markdown() + conducts_smtp.as_markdown()
    assert len(re.findall(r"(?m)^\| \d+ \|", as_markdown())) == len(ROWS)
