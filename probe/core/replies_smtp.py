"""What an SMTP reply, or its absence, says about whose failure it was: one table, read from the top.

Theory of operation. RFC 5321 alone does not settle fault: 4yz says "not now" both of a sick server and of a sender who
went too fast, 5yz both of our mistake and of the server's. So a row may ask for the phase, the code, the enhanced code
(RFC 3463) and words of the text, and the first row that fits decides. Rows stand from the most specific to the least;
the last one fits everything. What the provider documents comes first, then enhanced codes, then bare codes.

Where two readings are possible, the row takes the one that does not charge the server: a claim has to survive the
other side's reading of it. `DEPARTURE` notes say where a row differs from the reference's proposal, and why.
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from probe.core.endings import RENEWAL_US_MAX, Judged, fault_of
from probe.core.model import Cause, Phase

# The number of connections that the provider documents as the most; with more of our own open, a full house is ours.
OWN_CONNECTIONS_MAX: Final = 10

REPLY_PHASES: Final = (
    Phase.BANNER,
    Phase.EHLO,
    Phase.STARTTLS,
    Phase.AUTH,
    Phase.MAIL,
    Phase.RCPT,
    Phase.DATA,
    Phase.FINAL,
)
_TRANSACTION: Final = (Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.FINAL)
# A client acts on the first digit (RFC 5321 section 4.2). This one lets the dialogue go on, or ends it well.
GOOD_FIRST_DIGIT: Final = {phase: 3 if phase is Phase.DATA else 2 for phase in REPLY_PHASES}

_LIMIT_WORDS: Final = r"\b(?:limit|limits|limited|rate|exceeded|too many|throttl\w*)\b"
_QUOTA_WORDS: Final = r"\b(?:quota|(?:sending|daily|hourly|monthly) limit|suspended)\b"
_CROWD_WORDS: Final = r"concurrency limit|too many (?:concurrent )?connections"
_NOT_POLICY: Final = ("none", "x.0.z", "x.3.z", "x.4.z")
# x.0.z is "other undefined status" (RFC 3463): it says no more than the code does.
_BARE: Final = ("none", "x.0.z")


class Own(StrEnum):
    """How many connections of our own were open when the reply came."""

    ANY = "any number"
    WITHIN = "at most 10"
    BEYOND = "more than 10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule. Empty fields fit anything; `codes` and `enhanced` may hold letters where any digit will do."""

    phases: tuple[Phase, ...] = ()
    codes: tuple[str, ...] = ()
    enhanced: tuple[str, ...] = ()
    text: str = ""
    own: Own = Own.ANY
    cause: Cause
    note: str = ""


# fmt: off
ROWS: Final[tuple[Row, ...]] = (
    Row(phases=(Phase.FINAL,), codes=("2yz",), cause=Cause.ACCEPTED,
        note="The server has taken the message; whatever happens at QUIT changes nothing."),

    # What the provider documents word by word.
    Row(codes=("421",), enhanced=_NOT_POLICY, text=_CROWD_WORDS, own=Own.WITHIN, cause=Cause.SERVICE_CLOSING,
        note="We keep to the documented 10 connections, so others (or the server) filled the house. With x.7.z it is "
             "a policy about our address instead, and the same words carry no claim."),
    Row(codes=("421",), enhanced=_NOT_POLICY, text=_CROWD_WORDS, own=Own.BEYOND, cause=Cause.THROTTLED,
        note="We are over the documented number ourselves."),
    Row(codes=("4yz", "5yz"), enhanced=("x.5.3",), cause=Cause.THROTTLED,
        note="452 4.5.3 says 'Service unavailable, batch limit reached', and yet it is our own limit."),
    Row(phases=(Phase.FINAL,), codes=("5yz",), text=r"message body missing", cause=Cause.REQUEST_REJECTED,
        note="550 5.3.0 [internal] message body missing: our message, although x.3.z speaks of the system."),

    # 421 may answer any command (RFC 5321 section 3.8).
    Row(phases=(Phase.BANNER,), codes=("421", "554"), enhanced=("x.7.z",), cause=Cause.REQUEST_REJECTED,
        note="A policy on our address, a block list."),
    Row(codes=("421",), enhanced=("x.3.z", "x.4.z"), cause=Cause.SERVICE_CLOSING,
        note="Includes 421 4.3.4 'allocated resources exceeded' and the final dot's 421 4.3.3 [internal]. On a kept "
             "connection a 421 before or at once after the first command is answered with one fresh connection first."),
    Row(codes=("421",), text=_QUOTA_WORDS, cause=Cause.QUOTA,
        note="DEPARTURE: the reference charges every 421 to the server; one that names our quota can't carry a claim."),
    Row(codes=("421",), text=_LIMIT_WORDS, cause=Cause.THROTTLED,
        note="DEPARTURE: likewise for one that names a rate or a limit."),
    Row(phases=(Phase.STARTTLS, Phase.AUTH), codes=("421",), enhanced=("4.7.0",), cause=Cause.SERVICE_CLOSING,
        note="4.7.0 here is the server's own trouble (421 4.7.0 TLS Negotiation failed); other 4.7.z are policy."),
    Row(codes=("421",), enhanced=("x.7.z",), cause=Cause.THROTTLED,
        note="DEPARTURE: the reference charges 421 after the banner to the server whatever it adds; x.7.z is policy."),
    Row(codes=("421",), cause=Cause.SERVICE_CLOSING, note="Bare, or with any other enhanced code."),

    # TLS and authentication have meanings of their own (RFC 3207 section 4, RFC 4954 section 6).
    Row(phases=(Phase.STARTTLS, Phase.AUTH), codes=("454",), text=_LIMIT_WORDS, cause=Cause.THROTTLED,
        note="454 Throttling failure: another provider's, for whoever points this at it."),
    Row(phases=(Phase.STARTTLS,), codes=("454",), cause=Cause.TLS_SERVER_ERROR,
        note="TLS not available due to temporary reason."),
    Row(phases=(Phase.AUTH,), codes=("432", "525", "530", "534", "535", "538"), cause=Cause.CREDENTIALS,
        note="A 535 that comes and goes with unchanged credentials is left to people: the next second tells."),
    Row(phases=(Phase.AUTH,), codes=("454",), cause=Cause.AUTH_UNAVAILABLE, note="Temporary server failure."),
    Row(phases=(Phase.AUTH,), codes=("500", "501", "503", "504"), cause=Cause.REQUEST_REJECTED,
        note="500 5.5.6 line too long, mechanism not known, out of order."),
    Row(phases=(Phase.STARTTLS, Phase.AUTH), codes=("4yz",), enhanced=("4.7.0",), cause=Cause.REPLY_TRANSIENT,
        note="4.7.0 in these phases is a temporary failure of the server's, whatever the code."),
    Row(phases=(Phase.AUTH,), codes=("5yz",), enhanced=("x.7.z",), cause=Cause.CREDENTIALS),

    # Banner.
    Row(phases=(Phase.BANNER,), codes=("521", "554"), enhanced=_BARE, cause=Cause.REPLY_PERMANENT,
        note="'No SMTP service here' (RFC 5321 section 3.1, RFC 7504). Contestable, so the reply is kept verbatim."),

    # The transaction: limits of ours first, since they borrow the codes of a sick server.
    Row(phases=_TRANSACTION, codes=("530",), cause=Cause.CREDENTIALS, note="Authentication required."),
    Row(phases=_TRANSACTION, codes=("552",), enhanced=("x.3.4",), cause=Cause.REQUEST_REJECTED,
        note="Message size limit exceeded."),
    Row(phases=_TRANSACTION, codes=("451", "452"), enhanced=("4.3.z", "4.4.z"), cause=Cause.REPLY_TRANSIENT,
        note="4.3.z is the mail system, 4.4.z its network. 'Allocated resources exceeded' is theirs, so before words."),
    Row(codes=("4yz",), text=r"\[internal\]", cause=Cause.REPLY_TRANSIENT,
        note="Made by the server itself, not passed on from elsewhere."),
    Row(codes=("4yz", "5yz"), enhanced=("none", "x.7.z", "x.0.z"), text=_QUOTA_WORDS, cause=Cause.QUOTA),
    # EHLO. HELO is not tried on 500 or 502: STARTTLS and AUTH need EHLO, and a second try would hide the first.
    Row(phases=(Phase.EHLO,), codes=("500", "501", "502", "504", "550"), cause=Cause.REQUEST_REJECTED,
        note="DEPARTURE: no fall-back to HELO; it could neither encrypt nor log in."),
    Row(codes=("4yz",), enhanced=("none", "4.7.z", "4.0.z"), text=_LIMIT_WORDS, cause=Cause.THROTTLED,
        note="450, 451, 452, 454 that name a rate or a limit."),
    Row(codes=("455",), cause=Cause.THROTTLED, note="Parameters not accommodated now."),

    # By enhanced code, in any phase.
    Row(codes=("4yz", "5yz"), enhanced=("5.3.3", "5.3.4", "4.3.3", "4.3.4"), cause=Cause.REQUEST_REJECTED,
        note="Not capable of selected features, message too big: about our message. 421, 451, 452 were met above."),
    Row(codes=("4yz",), enhanced=("x.3.z", "x.4.z"), cause=Cause.REPLY_TRANSIENT),
    Row(codes=("5yz",), enhanced=("x.3.z",), cause=Cause.REPLY_PERMANENT,
        note="554 5.3.z at the final dot above all."),
    Row(codes=("4yz", "5yz"), enhanced=("x.1.z", "x.2.z", "x.5.z", "x.6.z"), cause=Cause.REQUEST_REJECTED,
        note="Address, mailbox, protocol, content: recipient not known, 550 5.6.0 X-MSYS-API, 503 5.5.1."),
    Row(codes=("4yz",), enhanced=("x.7.z",), cause=Cause.THROTTLED, note="Policy: not now."),
    Row(codes=("5yz",), enhanced=("x.7.z",), cause=Cause.REQUEST_REJECTED,
        note="Relaying denied, Unconfigured Sending Domain, suppressed, blackholed. Relaying denied after a good AUTH "
             "is suspect, but the reply alone does not prove it, so people decide."),

    # By bare code. Only 421, 451 and 452 speak of the server's state by definition.
    Row(codes=("451", "452"), cause=Cause.REPLY_TRANSIENT),
    Row(codes=("4yz",), cause=Cause.THROTTLED, note="450 above all: mailbox busy or policy."),
    Row(codes=("5yz",), cause=Cause.REQUEST_REJECTED,
        note="503 or 554 'no valid recipients' to DATA, 552, 553, 555, 500 to 504."),
    Row(cause=Cause.MALFORMED_REPLY,
        note="A code that has no place here, such as 250 to DATA or 354 to MAIL. Also what is not a reply at all."),
)
# fmt: on


class Ending(StrEnum):
    """How a phase ended that ended without a reply."""

    DEADLINE = "deadline passed"
    DEADLINE_MID_REPLY = "deadline passed in the middle of a reply"
    DEADLINE_UNSENT = "deadline passed, our request not acknowledged by the other side's TCP"
    CLOSED = "closed"
    RESET = "reset"


_CAUSE_WITHOUT_REPLY: Final = {
    Ending.DEADLINE: Cause.SILENT,
    Ending.DEADLINE_MID_REPLY: Cause.BODY_STALLED,
    Ending.DEADLINE_UNSENT: Cause.SEND_STUCK,
    Ending.CLOSED: Cause.CLOSED,
    Ending.RESET: Cause.RESET_IN_SESSION,
}
_CAUSE_BEFORE_SESSION: Final = {
    (Phase.START, Ending.DEADLINE): Cause.INTERNAL,  # we began too late
    (Phase.LOOKUP, Ending.DEADLINE): Cause.RESOLVER,
    (Phase.CONNECT, Ending.DEADLINE): Cause.CONNECT_TIMEOUT,
}

_ENDED_BY_US_AND_RENEWED: Final = f"""
An attempt that we ended ourselves is our own fault whatever the rows above say: at a stop (`stopped`), or when our own
loop stood still beyond the deadline and no final reply was found waiting then (`stalled`).

A kept connection that the server had closed, or that it closes (or answers by 421) before any good reply of this
attempt and within {RENEWAL_US_MAX // 1000} ms of our write, is replaced by one fresh connection, within the same
deadline. That is recorded as `renewed`, with the first end in `reply`. An end that comes later is judged as it is.
"""


def goes_on(phase: Phase, code: int) -> bool:
    """Say whether a reply lets the dialogue go on (or, after the final dot, ends it well)."""
    return code // 100 == GOOD_FIRST_DIGIT[phase]


def judge(phase: Phase, code: int, enhanced_code: str, text: str, *, own_open_connections: int) -> Judged:
    """Return whose failure a reply is and its cause; a good reply before the final dot is not to be asked about."""
    cause = row_for(phase, code, enhanced_code, text, own_open_connections=own_open_connections).cause
    return fault_of(cause), cause


def row_for(phase: Phase, code: int, enhanced_code: str, text: str, *, own_open_connections: int) -> Row:
    """Return the first row that fits; there always is one."""
    beyond = own_open_connections > OWN_CONNECTIONS_MAX
    return next(row for row in ROWS if _fits(row, phase, code, enhanced_code, text, beyond))


def cause_without_reply(phase: Phase, ending: Ending) -> Cause:
    """Return what it means that a phase ended without a reply (RFC 5321 section 3.8: closed counts as 451)."""
    return _CAUSE_BEFORE_SESSION.get((phase, ending)) or _CAUSE_WITHOUT_REPLY[ending]


def as_markdown() -> str:
    """Print the tables for the documentation."""
    lines = [
        "# SMTP replies and whose failure they are",
        "",
        "Printed from `probe/core/replies_smtp.py`; a test holds both equal. The first row that fits decides.",
        "Letters stand for any digit; `none` means a reply without an enhanced code (RFC 3463).",
        "A reply that lets the dialogue go on (2yz; 3yz to DATA) is not judged.",
        "",
        "| # | phase | code | enhanced code | words (regular expression) | own connections | fault | cause | note |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [_row_as_markdown(number, row) for number, row in enumerate(ROWS, 1)]
    lines += [
        "",
        "## Without a reply",
        "",
        "After the final dot each of these also says that the message may have been accepted.",
        "Look-up, TCP and TLS failures with a reason of their own are judged by `probe/core/endings.py`.",
        "",
        "| phase | ending | fault | cause |",
        "|---|---|---|---|",
    ]
    lines += [f"| {p} | {e} | {fault_of(c)} | {c} |" for (p, e), c in _CAUSE_BEFORE_SESSION.items()]
    lines += [f"| any later | {e} | {fault_of(c)} | {c} |" for e, c in _CAUSE_WITHOUT_REPLY.items()]
    lines += _ENDED_BY_US_AND_RENEWED.splitlines()
    return "\n".join(lines) + "\n"


def _row_as_markdown(number: int, row: Row) -> str:
    words = f"`{row.text}`".replace("|", "\\|") if row.text else "any"
    cells = (
        str(number),
        ", ".join(row.phases) or "any",
        ", ".join(row.codes) or "any",
        ", ".join(row.enhanced) or "any",
        words,
        row.own.value,
        fault_of(row.cause).value,
        row.cause.value,
        row.note,
    )
    return f"| {' | '.join(cells)} |"


def _fits(row: Row, phase: Phase, code: int, enhanced_code: str, text: str, beyond: bool) -> bool:
    return (
        (not row.phases or phase in row.phases)
        and (not row.codes or any(_matches(pattern, str(code)) for pattern in row.codes))
        and (not row.enhanced or any(_matches(pattern, enhanced_code or "none") for pattern in row.enhanced))
        and (not row.text or re.search(row.text, text, re.IGNORECASE) is not None)
        and (row.own is Own.ANY or (row.own is Own.BEYOND) == beyond)
    )


def _matches(pattern: str, value: str) -> bool:
    return _as_regex(pattern).fullmatch(value) is not None


@cache
def _as_regex(pattern: str) -> re.Pattern[str]:
    if pattern == "none":
        return re.compile("none")
    dotted = "." in pattern
    return re.compile(re.sub("[xyz]", r"\\d{1,3}" if dotted else r"\\d", pattern.replace(".", r"\.")))
