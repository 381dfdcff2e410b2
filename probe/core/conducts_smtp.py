"""What an SMTP server can do at each place of the dialogue, and what must be said of it.

See `probe.core.conducts` for what these tables are. Sources: RFC 5321 (dialogue), 3463 and 5248 (enhanced codes), 3207
(STARTTLS), 4954 (AUTH), 7504 (521, 556), and the provider's reference, section 5.1. Where two readings are possible the
case takes the one that does not charge the server.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from probe.core.conducts import (
    CLOSED,
    EXPIRED,
    KEY,
    LIMIT,
    NO_PROTOCOL,
    NOT_TLS,
    NOT_TRUSTED,
    OURS,
    QUOTA,
    REFUSED,
    RESET_IN_SESSION,
    SILENT,
    STALLED,
    STUCK,
    TAKEN,
    TLS_DOWN,
    TLS_REFUSED,
    UNANSWERED,
    WHY_ALERT,
    WHY_CERTIFICATE,
    WHY_SILENT,
    WHY_TRUST,
    WRONG_NAME,
    Expected,
    line,
)
from probe.core.model import Cause, Fault, Phase


class Place(StrEnum):
    """Where in the dialogue the server does it."""

    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    TLS = "TLS"
    SECOND_EHLO = "EHLO after TLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    FINAL = "final dot"
    IDLE = "between two messages"
    NEXT_MAIL = "MAIL of the next message"
    NEXT_FINAL = "final dot of the next message"
    QUIT = "QUIT"


class Conduct(StrEnum):
    """What the server does, but for the replies in `REPLIES`."""

    SILENCE = "says nothing"
    CLOSE = "closes"
    RESET = "resets"
    GARBAGE = "says what is no reply"
    BINARY = "sends binary garbage"
    TWO_CODES = "changes the code within a reply"
    ENDLESS_LINES = "never ends a reply of many lines"
    ENDLESS_LINE = "never ends a line"
    LONG_LINE = "says a line that is too long"
    DRIP = "says one byte a second"
    SPLIT = "says what is good in packets of one byte"
    SPLIT_REFUSAL = "says 451 4.3.0 in packets of one byte"
    EXTRA = "says what is good, and one reply more"
    EXTRA_CLOSING = "says what is good, and 421, and closes"
    CLOSING = "says 421 and closes"
    REFUSAL_AND_CLOSE = "says 451 4.3.0 and closes"
    NO_STARTTLS = "does not offer STARTTLS"
    DEAF = "takes no more bytes off the wire"
    NOBODY = "does not listen"
    FULL = "does not take the connection"
    ALERT_INTERNAL = "sends the TLS alert internal_error"
    ALERT_HANDSHAKE = "sends the TLS alert handshake_failure"
    ALERT_VERSION = "sends the TLS alert protocol_version"
    LONG_RECORD = "sends a TLS record that is too long"
    EXPIRED = "shows an expired certificate"
    NOT_YET_VALID = "shows a certificate that is not yet valid"
    WRONG_NAME = "shows a certificate for another name"
    UNKNOWN_AUTHORITY = "shows a certificate of an unknown authority"


P, C = Place, Conduct
PHASE: Final = {
    P.CONNECT: Phase.CONNECT,
    P.BANNER: Phase.BANNER,
    P.EHLO: Phase.EHLO,
    P.STARTTLS: Phase.STARTTLS,
    P.TLS: Phase.TLS,
    P.SECOND_EHLO: Phase.EHLO,
    P.AUTH: Phase.AUTH,
    P.MAIL: Phase.MAIL,
    P.RCPT: Phase.RCPT,
    P.DATA: Phase.DATA,
    P.FINAL: Phase.FINAL,
    P.IDLE: Phase.FINAL,
    P.NEXT_MAIL: Phase.MAIL,
    P.NEXT_FINAL: Phase.FINAL,
    P.QUIT: Phase.FINAL,
}
# Where the server owes a reply whose meaning counts.
ANSWERING: Final = (
    P.BANNER,
    P.EHLO,
    P.STARTTLS,
    P.SECOND_EHLO,
    P.AUTH,
    P.MAIL,
    P.RCPT,
    P.DATA,
    P.FINAL,
    P.NEXT_MAIL,
    P.NEXT_FINAL,
)
_TRANSACTION: Final = (P.MAIL, P.RCPT, P.DATA, P.FINAL, P.NEXT_MAIL, P.NEXT_FINAL)
AFTER_THE_DOT: Final = (P.FINAL, P.NEXT_FINAL)

CLOSING: Final = Expected(Fault.SERVER_ERROR, Cause.SERVICE_CLOSING)
SICK: Final = Expected(Fault.SERVER_ERROR, Cause.REPLY_TRANSIENT)
BROKEN: Final = Expected(Fault.SERVER_ERROR, Cause.REPLY_PERMANENT)
AUTH_DOWN: Final = Expected(Fault.SERVER_ERROR, Cause.AUTH_UNAVAILABLE)
STRIPPED: Final = Expected(Fault.NETWORK, Cause.STARTTLS_MISSING)
RENEWED: Final = Expected(Fault.NONE, Cause.ACCEPTED, Phase.FINAL)

But = tuple[tuple[tuple[Place, ...], Expected], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyCase:
    """One reply, and what it means everywhere but at some places."""

    reply: str
    everywhere: Expected
    but: But = ()
    places: tuple[Place, ...] = ANSWERING
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConductCase:
    """One conduct, and what it means everywhere but at some places; `unclear` at a final dot: was it taken?"""

    conduct: Conduct
    everywhere: Expected
    but: But = ()
    places: tuple[Place, ...] = ANSWERING
    unclear: bool = True
    why: str = ""


_RENEWED: Final = ((P.NEXT_MAIL,), RENEWED)
_AUTH_KEY: Final = ((P.AUTH,), KEY)
_TRANSIENT_FAILURE: Final = (((P.STARTTLS,), TLS_DOWN), ((P.AUTH,), AUTH_DOWN))
_BANNER_BROKEN: Final = (((P.BANNER,), BROKEN),)


def _r(reply: str, everywhere: Expected, *but: tuple[tuple[Place, ...], Expected], why: str = "") -> ReplyCase:
    return ReplyCase(reply=reply, everywhere=everywhere, but=but, why=why)


def _c421(reply: str, everywhere: Expected, *but: tuple[tuple[Place, ...], Expected], why: str = "") -> ReplyCase:
    return ReplyCase(reply=f"421 {reply}".strip(), everywhere=everywhere, but=(_RENEWED, *but), why=why)


# fmt: off
REPLIES: Final[tuple[ReplyCase, ...]] = (
    _c421("", CLOSING, why="May answer any command (RFC 5321 section 3.8); to the first command of a kept connection "
          "it is the documented way to end one, so the attempt goes on with a fresh connection."),
    _c421("4.3.0 message is too large to process at this time", CLOSING, why="Documented: a system outage."),
    _c421("4.3.2 Reconfiguration in progress", CLOSING, why="Documented: the server's own maintenance."),
    _c421("4.3.3 [internal] smtpapi unable to generate unique transmission id", CLOSING, why="Documented: internal."),
    _c421("4.3.4 allocated resources exceeded", CLOSING, why="Documented: theirs, although it says 'exceeded'."),
    _c421("4.4.5 Service unavailable", CLOSING, why="Documented: overload."),
    _c421("4.4.5 Service unavailable, concurrency limit reached.", CLOSING, why="We keep to the documented 10."),
    _c421("4.7.0 TLS Negotiation failed.", LIMIT, ((P.BANNER,), OURS), ((P.STARTTLS, P.AUTH), CLOSING),
          why="x.7.0 is a temporary failure of the server's in STARTTLS and AUTH, and policy elsewhere."),
    _c421("4.7.0 Too many connections from your address", LIMIT, ((P.BANNER,), OURS), ((P.STARTTLS, P.AUTH), LIMIT),
          why="x.7.z is policy about us, and says so by its words too."),
    _c421("4.7.1 listed by policy", LIMIT, ((P.BANNER,), OURS), why="x.7.z but 4.7.0 is policy in every phase."),
    _c421("too many connections", CLOSING, why="As the documented full house."),
    _c421("4.5.3 too many recipients", LIMIT, why="x.5.3 is our own limit, whatever the code."),
    _c421("daily sending limit exceeded", QUOTA, why="A reply that names our quota can't carry a claim."),
    _c421("rate exceeded, slow down", LIMIT, why="Nor one that names a rate."),

    _r("432", LIMIT, _AUTH_KEY, why="RFC 4954: a password transition is needed. Elsewhere 4yz without a meaning."),
    _r("432 4.7.12 A password transition is needed", LIMIT, _AUTH_KEY),
    _r("450", LIMIT, why="Mailbox busy or policy: by definition not the server's state."),
    _r("450 4.2.1 mailbox busy", OURS, why="x.2.z is about the mailbox that we chose."),
    _r("450 4.3.2 not accepting now", SICK, why="x.3.z is the mail system."),
    _r("450 4.4.1 [internal] Connection Timed Out", SICK, why="Documented: made by the server itself."),
    _r("450 4.7.1 not now", LIMIT),
    _r("450 4.7.0 temporary", LIMIT, ((P.STARTTLS, P.AUTH), SICK), why="4.7.0 in STARTTLS and AUTH is the server's."),
    _r("451", SICK, why="Local error in processing: the server's state by definition (RFC 5321)."),
    _r("451 4.0.0 error", SICK, why="x.0.z adds nothing to the code."),
    _r("451 4.3.0 transaction failed", SICK, why="Documented: internal."),
    _r("451 4.3.5 configuration error, please try later", SICK, why="Documented: internal."),
    _r("451 4.4.2 [internal] timeout", SICK),
    _r("451 [internal] memory shortage", SICK, why="Documented: internal."),
    _r("451 4.7.0 temporary", LIMIT, ((P.STARTTLS, P.AUTH), SICK)),
    _r("451 4.7.1 greylisted", LIMIT),
    _r("451 rate limit exceeded", LIMIT, why="The words name a limit of ours."),
    _r("452", SICK, why="Insufficient system storage: the server's state by definition (RFC 5321)."),
    _r("452 4.2.2 mailbox full", OURS),
    _r("452 4.3.1 Insufficient system storage", SICK),
    _r("452 4.4.5 congestion", SICK),
    _r("452 4.5.3 Service unavailable, batch limit reached", LIMIT, why="Documented: our own limit."),
    _r("454", LIMIT, *_TRANSIENT_FAILURE, why="RFC 3207: TLS not available; RFC 4954: temporary server failure."),
    _r("454 4.3.0 trouble", SICK, *_TRANSIENT_FAILURE),
    _r("454 4.7.0 Temporary authentication failure", LIMIT, *_TRANSIENT_FAILURE),
    _r("454 Throttling failure: Maximum sending rate exceeded.", LIMIT, why="Names a rate of ours in every phase."),
    _r("455 parameters not accommodated", LIMIT),
    _r("455 4.5.4 parameters", LIMIT),

    _r("500", OURS, why="5yz without more says: do not repeat this. It can't carry a claim."),
    _r("500 5.5.2 what", OURS),
    _r("500 5.5.6 line too long", OURS),
    _r("501", OURS),
    _r("501 5.5.4 parameter", OURS),
    _r("502", OURS),
    _r("502 5.5.1 not implemented", OURS),
    _r("503", OURS),
    _r("503 5.5.1 bad sequence", OURS),
    _r("504", OURS),
    _r("504 5.5.4 mechanism", OURS),
    _r("521", OURS, *_BANNER_BROKEN, why="RFC 7504: the greeting of a host that takes no mail from anybody."),
    _r("521 5.3.2 System not accepting network messages", BROKEN, why="x.3.z is the mail system."),
    _r("521 5.7.1 you are blocked", OURS, _AUTH_KEY),
    _r("523 5.7.10 Encryption needed", OURS, _AUTH_KEY),
    _r("525", OURS, _AUTH_KEY),
    _r("525 5.7.13 User account disabled", OURS, _AUTH_KEY),
    _r("530", OURS, ((*_TRANSACTION, P.AUTH), KEY)),
    _r("530 5.7.0 Authentication required", OURS, ((*_TRANSACTION, P.AUTH), KEY)),
    _r("534", OURS, _AUTH_KEY),
    _r("534 5.7.9 mechanism too weak", OURS, _AUTH_KEY),
    _r("535", OURS, _AUTH_KEY, why="A 535 that comes and goes with unchanged credentials is left to people."),
    _r("535 5.7.8 Sorry.", OURS, _AUTH_KEY, why="Documented."),
    _r("538", OURS, _AUTH_KEY),
    _r("538 5.7.11 encryption required", OURS, _AUTH_KEY),
    _r("550", OURS),
    _r("550 5.1.1 no such mailbox", OURS),
    _r("550 5.3.0 [internal] message body missing", BROKEN, (AFTER_THE_DOT, OURS), ((P.EHLO, P.SECOND_EHLO), OURS),
       why="Documented: about our message, where there is one. 550 to EHLO can be read as being about our name."),
    _r("550 5.4.4 unable to route", OURS, why="A permanent 5.4.z is about the address."),
    _r("550 5.5.1 RFC2821 HELO/EHLO needed", OURS, why="Documented."),
    _r("550 5.6.0 X-MSYS-API", OURS, why="Documented."),
    _r("550 5.7.1 relaying denied", OURS, _AUTH_KEY, why="Documented."),
    _r("550 5.7.1 Unconfigured Sending Domain example.com", OURS, _AUTH_KEY, why="Documented."),
    _r("550 5.7.1 daily limit exceeded", QUOTA, _AUTH_KEY),
    _r("550-5.7.1 first line\r\n550 5.7.1 second line", OURS, _AUTH_KEY),
    _r("551", OURS),
    _r("551 5.1.6 moved", OURS),
    _r("551 5.7.1 recipient blackholed", OURS, _AUTH_KEY, why="Documented."),
    _r("552", OURS),
    _r("552 5.2.2 mailbox full", OURS),
    _r("552 5.3.1 mail system full", BROKEN, why="x.3.1 is the server's disk, not our mailbox."),
    _r("552 5.3.4 message size limit exceeded", OURS, why="Documented: our message."),
    _r("553", OURS),
    _r("553 5.1.3 bad address", OURS),
    _r("554", OURS, *_BANNER_BROKEN, why="RFC 5321 section 3.1: no SMTP service here. Contestable, kept verbatim."),
    _r("554 5.0.0 no", OURS, *_BANNER_BROKEN, why="x.0.z adds nothing to the code."),
    _r("554 5.3.0 broken", BROKEN),
    _r("554 5.3.2 System not accepting network messages", BROKEN),
    _r("554 5.5.1 no valid recipients", OURS),
    _r("554 5.6.0 content", OURS),
    _r("554 5.7.1 recipient address was suppressed", OURS, _AUTH_KEY, why="Documented."),
    _r("555 5.5.4 parameters not recognized", OURS),
    _r("556 5.1.10 domain takes no mail", OURS, why="RFC 7504: about the recipient's domain."),
    _r("599 what", OURS, why="RFC 5321 section 4.2: the first digit decides on a code that nobody knows."),
    _r("499 what", LIMIT, why="As above."),
    ReplyCase(reply="250 2.0.0 fine", everywhere=NO_PROTOCOL, places=(P.DATA,), why="DATA wants 3yz."),
    ReplyCase(reply="354 go on", everywhere=NO_PROTOCOL, places=tuple(p for p in ANSWERING if p is not P.DATA),
              why="A good reply elsewhere is 2yz; with an initial response AUTH PLAIN has no other step."),
)

_ENDED: Final = "Without a reason it counts as 451 (RFC 5321 section 3.8)."
_REPLIES_BEFORE_CLOSE: Final = "What was said before the close is the reason."
_IN_STEP: Final = "One reply too many puts the dialogue out of step, and is met where the next one is due."
CONDUCTS: Final[tuple[ConductCase, ...]] = (
    ConductCase(conduct=C.NOBODY, everywhere=REFUSED, places=(P.CONNECT,),
                why="Nobody knows whose host refused; a control must speak."),
    ConductCase(conduct=C.FULL, everywhere=UNANSWERED, places=(P.CONNECT,), why="As above."),
    ConductCase(conduct=C.SILENCE, everywhere=SILENT, but=(((P.QUIT,), TAKEN),), places=(*ANSWERING, P.TLS, P.QUIT),
                why=WHY_SILENT),
    ConductCase(conduct=C.CLOSE, everywhere=CLOSED, but=(_RENEWED, ((P.IDLE,), RENEWED), ((P.QUIT,), TAKEN)),
                places=(*ANSWERING, P.TLS, P.IDLE, P.QUIT), why=_ENDED),
    ConductCase(conduct=C.RESET, everywhere=RESET_IN_SESSION, but=(_RENEWED, ((P.IDLE,), RENEWED), ((P.QUIT,), TAKEN)),
                places=(*ANSWERING, P.TLS, P.IDLE, P.QUIT), why=_ENDED),
    ConductCase(conduct=C.CLOSING, everywhere=CLOSING, but=(_RENEWED, ((P.IDLE,), RENEWED), ((P.QUIT,), TAKEN)),
                places=(*ANSWERING, P.IDLE, P.QUIT), unclear=False, why=_REPLIES_BEFORE_CLOSE),
    ConductCase(conduct=C.REFUSAL_AND_CLOSE, everywhere=SICK, but=(((P.IDLE,), RENEWED), ((P.QUIT,), TAKEN)),
                places=(*ANSWERING, P.IDLE, P.QUIT), unclear=False, why=_REPLIES_BEFORE_CLOSE),
    ConductCase(conduct=C.GARBAGE, everywhere=NO_PROTOCOL,
                but=(((P.TLS,), NOT_TLS), ((P.IDLE,), RENEWED), ((P.QUIT,), TAKEN)),
                places=(*ANSWERING, P.TLS, P.IDLE, P.QUIT), why="No reply line. In the handshake: plain text."),
    ConductCase(conduct=C.BINARY, everywhere=NO_PROTOCOL),
    ConductCase(conduct=C.TWO_CODES, everywhere=NO_PROTOCOL, why="RFC 5321 section 4.2.1: all lines have one code."),
    ConductCase(conduct=C.ENDLESS_LINES, everywhere=NO_PROTOCOL, but=(((P.QUIT,), TAKEN),), places=(*ANSWERING, P.QUIT),
                why="Beyond the limits on a reply; cut off in bounded memory."),
    ConductCase(conduct=C.ENDLESS_LINE, everywhere=NO_PROTOCOL, but=(((P.QUIT,), TAKEN),),
                places=(*ANSWERING, P.QUIT), why="As above."),
    ConductCase(conduct=C.LONG_LINE, everywhere=NO_PROTOCOL, why="RFC 5321 section 4.5.3.1.5: 512 octets; here 2048."),
    ConductCase(conduct=C.DRIP, everywhere=STALLED, but=(((P.TLS,), SILENT), ((P.QUIT,), TAKEN)),
                places=(*ANSWERING, P.TLS, P.QUIT), why="A reply that began and was not whole in time."),
    ConductCase(conduct=C.SPLIT, everywhere=RENEWED, places=(*ANSWERING, P.TLS, P.QUIT), unclear=False,
                why="TCP has no packets; a good reply is good."),
    ConductCase(conduct=C.SPLIT_REFUSAL, everywhere=SICK, unclear=False, why="And a bad one bad."),
    ConductCase(conduct=C.EXTRA, everywhere=NO_PROTOCOL, unclear=False, why=_IN_STEP, but=(
        ((P.BANNER,), Expected(Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, Phase.EHLO)),
        ((P.EHLO,), Expected(Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, Phase.STARTTLS)),
        ((P.STARTTLS,), Expected(Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, Phase.TLS)),
        ((P.SECOND_EHLO,), Expected(Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, Phase.AUTH)),
        ((P.AUTH,), Expected(Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, Phase.MAIL)),
        ((P.MAIL, P.RCPT, P.NEXT_MAIL), Expected(Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, Phase.DATA)),
        ((P.DATA,), Expected(Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, Phase.FINAL)),
        (AFTER_THE_DOT, TAKEN),
    )),
    ConductCase(conduct=C.EXTRA_CLOSING, everywhere=CLOSING, unclear=False, but=(
        ((P.BANNER,), Expected(Fault.SERVER_ERROR, Cause.SERVICE_CLOSING, Phase.EHLO)),
        ((P.EHLO,), Expected(Fault.SERVER_ERROR, Cause.SERVICE_CLOSING, Phase.STARTTLS)),
        ((P.STARTTLS,), Expected(Fault.SERVER_ERROR, Cause.MALFORMED_REPLY, Phase.TLS)),
        ((P.SECOND_EHLO,), Expected(Fault.SERVER_ERROR, Cause.SERVICE_CLOSING, Phase.AUTH)),
        ((P.AUTH,), Expected(Fault.SERVER_ERROR, Cause.SERVICE_CLOSING, Phase.MAIL)),
        ((P.MAIL, P.NEXT_MAIL), Expected(Fault.SERVER_ERROR, Cause.SERVICE_CLOSING, Phase.RCPT)),
        ((P.RCPT,), Expected(Fault.SERVER_ERROR, Cause.SERVICE_CLOSING, Phase.DATA)),
        ((P.DATA,), Expected(Fault.SERVER_ERROR, Cause.SERVICE_CLOSING, Phase.FINAL)),
        (AFTER_THE_DOT, TAKEN),
    ), why="421 may come unasked (RFC 5321 section 3.8). Before TLS begins nothing may stand behind the 220."),
    ConductCase(conduct=C.NO_STARTTLS, everywhere=STRIPPED, places=(P.EHLO,),
                why="Something between us, or a broken node; a control must speak."),
    ConductCase(conduct=C.DEAF, everywhere=STUCK, places=AFTER_THE_DOT[:1],
                why="A server can't be called silent about what its host did not acknowledge."),
    ConductCase(conduct=C.ALERT_INTERNAL, everywhere=TLS_DOWN, places=(P.TLS,), why="RFC 8446 section 6: its own."),
    ConductCase(conduct=C.ALERT_HANDSHAKE, everywhere=TLS_REFUSED, places=(P.TLS,), why=WHY_ALERT),
    ConductCase(conduct=C.ALERT_VERSION, everywhere=TLS_REFUSED, places=(P.TLS,), why=WHY_ALERT),
    ConductCase(conduct=C.LONG_RECORD, everywhere=TLS_REFUSED, places=(P.TLS,), why=WHY_ALERT),
    ConductCase(conduct=C.EXPIRED, everywhere=EXPIRED, places=(P.TLS,), why=WHY_CERTIFICATE),
    ConductCase(conduct=C.WRONG_NAME, everywhere=WRONG_NAME, places=(P.TLS,), why=WHY_CERTIFICATE),
    ConductCase(conduct=C.UNKNOWN_AUTHORITY, everywhere=NOT_TRUSTED, places=(P.TLS,), why=WHY_TRUST),
    ConductCase(conduct=C.NOT_YET_VALID, everywhere=NOT_TRUSTED, places=(P.TLS,), why=WHY_TRUST),
)
# fmt: on


def cases(case: ReplyCase | ConductCase) -> Iterator[tuple[Place, Expected]]:
    """Yield each place of a case with what must be said of it there."""
    for place in case.places:
        yield place, next((expected for places, expected in case.but if place in places), case.everywhere)


def as_markdown() -> str:
    """Print the section of the documentation."""
    count = sum(len(case.places) for case in REPLIES) + sum(len(case.places) for case in CONDUCTS)
    lines = [
        "",
        "## How the server can behave, and what we say",
        "",
        f"{count} cases, printed from `probe/core/conducts_smtp.py`. They were reasoned from the contract, the RFCs",
        "and the provider's documentation, not from the rules above, and each is played over a real socket by a test.",
        "`(in ...)` names the phase in which it is met, where that is not the place's own. An attempt that meets a",
        "`MAIL of the next message` or `between two messages` case on a kept connection goes on with a fresh one where",
        "the case says `none: accepted`.",
        "",
        "### Replies",
        "",
        "Wherever a reply is due: " + ", ".join(ANSWERING) + ".",
        "",
        "| reply | everywhere | but | why |",
        "|---|---|---|---|",
    ]
    lines += [
        line(f"`{case.reply}`".replace("\r\n", " / "), _everywhere(case), _but(case), case.why) for case in REPLIES
    ]
    lines += ["", "### Other conduct", "", "| the server | everywhere | but | places | why |", "|---|---|---|---|---|"]
    lines += [line(case.conduct, _everywhere(case), _but(case), _places(case), case.why) for case in CONDUCTS]
    return "\n".join(lines) + "\n"


def _everywhere(case: ReplyCase | ConductCase) -> str:
    said = str(case.everywhere)
    if isinstance(case, ReplyCase) and case.places is not ANSWERING:
        return f"{said} (only {', '.join(case.places)})"
    return said


def _but(case: ReplyCase | ConductCase) -> str:
    return "; ".join(f"{', '.join(places)}: {expected}" for places, expected in case.but)


def _places(case: ConductCase) -> str:
    if case.places == ANSWERING:
        return "as above"
    more = [place for place in case.places if place not in ANSWERING]
    return f"as above, {', '.join(more)}" if set(ANSWERING) < set(case.places) else ", ".join(case.places)
