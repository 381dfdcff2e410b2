"""What an API server can do, and what must be said of it.

See `probe.core.conducts` for what these tables are. Sources: the provider's reference, sections 1.3 and 5.2 (documented
statuses, codes and bodies), RFC 9110 and 9112, RFC 6585, RFC 8446. A status that nobody knows is read as its class
(RFC 9110 section 15). Where two readings are possible the case takes the one that does not charge the server.
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


class Body(StrEnum):
    """What stands in a reply's body."""

    RESULTS = "results"
    WITH_ERRORS = "results and errors"
    NONE_ACCEPTED = "results that accept nobody"
    ERRORS = "errors"
    JSON = "other JSON"
    HTML = "HTML"
    LOGIN = "HTML of a login page"
    TEXT = "plain text"
    EMPTY = "nothing"


class Answer(StrEnum):
    """The replies that are sent in all the ways in which a reply can be sent."""

    ACCEPTED = "200 results"
    REFUSED = "400 errors"
    RESOURCES = "400 code 1502"
    KEY = "401 errors"
    SICK = "503 errors"
    TIMEOUT = "504 HTML"


class Conduct(StrEnum):
    """What the server does on the wire."""

    NOBODY = "does not listen"
    FULL = "does not take the connection"
    TLS_SILENCE = "is silent in the TLS handshake"
    TLS_CLOSE = "closes in the TLS handshake"
    TLS_RESET = "resets in the TLS handshake"
    TLS_DRIP = "sends its TLS handshake one byte a second"
    TLS_SPLIT = "sends all in packets of one byte"
    PLAIN_HTTP = "speaks plain HTTP on the TLS port"
    ALERT_INTERNAL = "sends the TLS alert internal_error"
    ALERT_HANDSHAKE = "sends the TLS alert handshake_failure"
    ALERT_VERSION = "sends the TLS alert protocol_version"
    LONG_RECORD = "sends a TLS record that is too long"
    EXPIRED = "shows an expired certificate"
    NOT_YET_VALID = "shows a certificate that is not yet valid"
    WRONG_NAME = "shows a certificate for another name"
    UNKNOWN_AUTHORITY = "shows a certificate of an unknown authority"
    DEAF = "takes no more bytes off the wire"
    DEAF_TO_MUCH = "takes no more bytes off the wire, and we have many"
    SILENCE = "says nothing"
    CLOSE = "closes before a reply"
    RESET = "resets before a reply"
    CLOSE_IN_HEAD = "closes within the head"
    RESET_IN_HEAD = "resets within the head"
    STALL_IN_HEAD = "falls silent within the head"
    DRIP_HEAD = "says the head one byte a second"
    ENDLESS_HEADERS = "never ends its headers"
    ENDLESS_HEADER = "never ends a header"
    INTERIM_SILENCE = "says 100, and nothing more"
    INTERIM_CLOSE = "says 103, and closes"
    ENDLESS_INTERIM = "says 100 without end"
    GARBAGE = "says what is not HTTP"
    BANNER = "says an SMTP greeting"
    HTTP_2 = "speaks HTTP/2"
    NO_STATUS = "says a status of letters"
    LOW_STATUS = "says the status 099"
    LONG_STATUS = "says a status of four digits"
    BAD_LENGTH = "says a Content-Length of letters"
    TWO_LENGTHS = "says two Content-Lengths that differ"
    KEPT_CLOSE = "closes a kept connection between two calls"
    KEPT_RESET = "resets a kept connection between two calls"
    KEPT_CLOSE_LATER = "closes a kept connection at the next call"
    KEPT_RESET_LATER = "resets a kept connection at the next call"
    KEPT_408 = "says 408 on a kept connection"
    KEPT_421 = "says 421 on a kept connection"
    KEPT_503 = "says 503 on a kept connection"
    KEPT_SILENCE = "says nothing on a kept connection"
    WHOLE = "sends it whole"
    SPLIT = "sends it in packets of one byte"
    CHUNKED = "sends it in chunks"
    UNTIL_CLOSE = "sends it without a length, and closes"
    HTTP_1_0 = "sends it as HTTP/1.0"
    CLOSE_AFTER = "sends it, and closes"
    RESET_AFTER = "sends it, and resets"
    EXTRA = "sends it, and one reply more"
    INTERIM_100 = "says 100 first"
    INTERIM_102 = "says 102 first"
    INTERIM_103 = "says 103 first"
    TRUNCATED = "closes within the body"
    RESET_IN_BODY = "resets within the body"
    CHUNK_CUT = "closes between two chunks"
    CHUNK_BAD = "says a chunk's size in letters"
    TOO_SHORT = "says half its Content-Length"
    TOO_LONG = "says more than its Content-Length, and stays"
    CHUNK_STALL = "falls silent between two chunks"
    DRIP = "says the body one byte a second"
    ENDLESS_BODY = "never ends the body"
    ENDLESS_CHUNKS = "never ends the chunks"


ACCEPTED_WITH_ERRORS: Final = Expected(Fault.NONE, Cause.ACCEPTED_WITH_ERRORS)
HTTP_ERROR: Final = Expected(Fault.SERVER_ERROR, Cause.HTTP_ERROR)
RESOURCES: Final = Expected(Fault.SERVER_ERROR, Cause.SERVER_RESOURCES)
INCOMPLETE: Final = Expected(Fault.SERVER_ERROR, Cause.INCOMPLETE_BODY)
UNREADABLE: Final = Expected(Fault.SERVER_ERROR, Cause.UNREADABLE_BODY)
GATEWAY: Final = Expected(Fault.SERVER_TIMEOUT, Cause.GATEWAY_TIMEOUT)
FOREIGN: Final = Expected(Fault.NETWORK, Cause.FOREIGN_REPLY)
LOST: Final = Expected(Fault.NETWORK, Cause.RESET)
REDIRECTED: Final = Expected(Fault.CLIENT, Cause.REDIRECTED)
MISDIRECTED: Final = Expected(Fault.CLIENT, Cause.MISDIRECTED)
CAPTIVE: Final = Expected(Fault.SELF, Cause.CAPTIVE_NETWORK)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusCase:
    """Whole replies with one meaning: each status with each body, or with an error of each code and the message."""

    statuses: tuple[int, ...]
    bodies: tuple[Body, ...] = ()
    codes: tuple[str, ...] = ()
    message: str = "no"
    expected: Expected
    unclear: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class WireCase:
    """A conduct: with what must be said of it, or (`answers`) of each answer that is sent so."""

    conduct: Conduct
    expected: Expected = TAKEN
    phase: Phase = Phase.BODY
    unclear: bool = False
    answers: tuple[tuple[Answer, Expected], ...] = ()
    why: str = ""


B, C, A = Body, Conduct, Answer
_ANY: Final = (B.ERRORS, B.HTML, B.EMPTY, B.JSON, B.TEXT)
_TIMEOUTS: Final = (504, 522, 524)
_LOST_ANSWERS: Final = (502, 520)
_OURS_OF_5XX: Final = (505, 510)
_OTHER_5XX: Final = tuple(
    status for status in range(500, 600) if status not in (*_TIMEOUTS, *_LOST_ANSWERS, *_OURS_OF_5XX, 509, 511)
)
_OTHER_4XX: Final = tuple(
    status for status in range(400, 500) if status not in (400, 401, 403, 404, 407, 420, 421, 422, 429)
)

# fmt: off
STATUSES: Final[tuple[StatusCase, ...]] = (
    StatusCase(statuses=(200, 201, 202, 203, 206, 226, 299), bodies=(B.RESULTS,), expected=TAKEN, why="Documented."),
    StatusCase(statuses=(200, 202), bodies=(B.WITH_ERRORS,), expected=ACCEPTED_WITH_ERRORS, why="Documented: 2000."),
    StatusCase(statuses=(202,), bodies=(B.JSON,), expected=TAKEN, why="Documented by Bird."),
    StatusCase(statuses=(204,), bodies=(B.EMPTY,), expected=TAKEN, why="Has no body by definition."),
    StatusCase(statuses=(200, 202), bodies=(B.NONE_ACCEPTED,), expected=OURS, why="It answered: nobody accepted."),
    StatusCase(statuses=(200,), codes=("1000", "2000", "5000"), expected=OURS, why="An error and no results."),
    StatusCase(statuses=(200,), codes=("1500", "1501", "1502", "1900"), expected=RESOURCES,
               why="The service's own words for its own trouble."),
    StatusCase(statuses=(200, 201, 203, 206, 299), bodies=(B.HTML, B.EMPTY, B.JSON, B.TEXT), expected=UNREADABLE,
               unclear=True, why="Not the documented answer, and behind verified TLS it is the provider's."),
    StatusCase(statuses=(202,), bodies=(B.HTML, B.EMPTY, B.TEXT), expected=UNREADABLE, unclear=True),
    StatusCase(statuses=(205,), bodies=(B.EMPTY,), expected=UNREADABLE, unclear=True, why="Not a documented success."),
    StatusCase(statuses=tuple(range(300, 400)), bodies=(B.EMPTY,), expected=REDIRECTED, why="The wrong URL."),
    StatusCase(statuses=(300, 301, 302, 303, 307, 308), bodies=(B.HTML, B.ERRORS, B.TEXT), expected=REDIRECTED),
    StatusCase(statuses=(300, 301, 302, 303, 307, 308), bodies=(B.LOGIN,), expected=FOREIGN,
               why="Somebody between us and the service wants a login."),
    StatusCase(statuses=(400,), codes=("1502",), expected=RESOURCES, why="Documented: the server's resources."),
    StatusCase(statuses=(400, 422), codes=("1500", "1501", "1900"), expected=RESOURCES, why="As 1502."),
    StatusCase(statuses=(400,), codes=("", "9999"), message="Server resources unavailable", expected=RESOURCES,
               why="The documented words of 1502; a code may be missing."),
    StatusCase(statuses=(400,), expected=OURS, bodies=(B.ERRORS,), codes=(
        "1100", "1200", "1305", "1401", "1901", "1902", "1910", "2001", "2008", "3030", "5001", "5002", "6100", "7000",
        "7001"), why="Documented."),
    StatusCase(statuses=(400,), bodies=(B.HTML, B.EMPTY, B.JSON, B.TEXT), expected=FOREIGN,
               why="No documented error: seen of openresty in 4 to 5 of 5,000 equal calls, so a control must speak."),
    StatusCase(statuses=(401,), bodies=_ANY, codes=("1303", "1304"), expected=KEY, why="Documented."),
    StatusCase(statuses=(403,), bodies=(B.ERRORS,), codes=("1100", "1601"), expected=KEY, why="Documented."),
    StatusCase(statuses=(403,), bodies=(B.HTML, B.EMPTY, B.JSON, B.TEXT), expected=OURS, why="A filter dislikes us."),
    StatusCase(statuses=(404,), bodies=(B.ERRORS, B.JSON), codes=("1101", "1103", "1600", "6200"), expected=OURS,
               why="Documented."),
    StatusCase(statuses=(404,), bodies=(B.HTML, B.EMPTY, B.TEXT), expected=FOREIGN, why="The path is right else."),
    StatusCase(statuses=(405,), codes=("1102",), expected=OURS, why="Documented."),
    StatusCase(statuses=(406,), codes=("1800",), expected=OURS, why="Documented."),
    StatusCase(statuses=(407,), bodies=_ANY, expected=CAPTIVE, why="We use no proxy, so one forced itself between."),
    StatusCase(statuses=(409,), codes=("1602", "2003", "2006"), expected=OURS, why="Documented."),
    StatusCase(statuses=(413,), codes=("10001",), expected=OURS, why="Documented."),
    StatusCase(statuses=(415,), codes=("1700",), expected=OURS, why="Documented."),
    StatusCase(statuses=(420,), bodies=_ANY, codes=("2101", "2102", "2103", "2105"), expected=QUOTA, why="Documented."),
    StatusCase(statuses=(421,), bodies=_ANY, expected=MISDIRECTED, why="RFC 9110: the wrong origin."),
    StatusCase(statuses=(422,), bodies=_ANY, expected=OURS, codes=(
        "1300", "1301", "1400", "1603", "2002", "2004", "2005", "2007", "2106", "3000", "3051"), why="Documented."),
    StatusCase(statuses=(422,), codes=("1300",), message="Failed parsing json from DB", expected=RESOURCES,
               why="Documented in a draft: the server's own data."),
    StatusCase(statuses=(429,), bodies=_ANY, expected=LIMIT, why="Documented."),
    StatusCase(statuses=_OTHER_4XX, bodies=(B.ERRORS, B.HTML, B.EMPTY), expected=OURS,
               why="RFC 9110: the client's. Includes what proxies make of a client's doing (444, 460, 499)."),
    StatusCase(statuses=(500,), codes=("1500", "1501"), expected=HTTP_ERROR, why="Documented."),
    StatusCase(statuses=(503,), codes=("1900",), expected=HTTP_ERROR, why="Documented."),
    StatusCase(statuses=(503,), codes=("",), message="Unable to contact authorization service.", expected=HTTP_ERROR,
               why="Seen, without a code."),
    StatusCase(statuses=_TIMEOUTS, bodies=_ANY, expected=GATEWAY, unclear=True,
               why="A server-side timeout in so many words; the message may have been accepted."),
    StatusCase(statuses=_LOST_ANSWERS, bodies=_ANY, expected=HTTP_ERROR, unclear=True,
               why="A gateway lost the answer, whatever it was."),
    StatusCase(statuses=_OURS_OF_5XX, bodies=_ANY, expected=OURS, why="Our version, our extension."),
    StatusCase(statuses=(509,), bodies=_ANY, expected=QUOTA, why="Not registered: a bandwidth limit."),
    StatusCase(statuses=(511,), bodies=_ANY, expected=CAPTIVE, why="RFC 6585: our own network wants a login."),
    StatusCase(statuses=_OTHER_5XX, bodies=(B.ERRORS, B.HTML, B.EMPTY), expected=HTTP_ERROR,
               why="RFC 9110: the server's. The provider: 5xx is a problem with the service."),
    StatusCase(statuses=(101, 600, 999), bodies=(B.EMPTY,), expected=NO_PROTOCOL, unclear=True,
               why="We asked for no other protocol; HTTP has no such class."),
)

_AS_IT_IS: Final = ((A.ACCEPTED, TAKEN), (A.REFUSED, OURS), (A.RESOURCES, RESOURCES), (A.KEY, KEY),
                    (A.SICK, HTTP_ERROR), (A.TIMEOUT, GATEWAY))
# Of a body that did not come whole the status is known, and a 400 needs its body to be told from the server's trouble.
_BY_STATUS: Final = ((A.REFUSED, FOREIGN), (A.RESOURCES, FOREIGN), (A.KEY, KEY), (A.TIMEOUT, GATEWAY))
_CUT: Final = ((A.ACCEPTED, INCOMPLETE), *_BY_STATUS, (A.SICK, HTTP_ERROR))
_STALLED: Final = ((A.ACCEPTED, STALLED), *_BY_STATUS, (A.SICK, STALLED))
_ENDLESS: Final = ((A.ACCEPTED, NO_PROTOCOL), *_BY_STATUS, (A.SICK, HTTP_ERROR))
_HALF: Final = ((A.ACCEPTED, UNREADABLE), *_BY_STATUS, (A.SICK, HTTP_ERROR))
_TLS: Final = Phase.TLS


def _w(conduct: Conduct, expected: Expected, why: str = "", phase: Phase = Phase.BODY, *,
       unclear: bool = True) -> WireCase:
    return WireCase(conduct=conduct, expected=expected, phase=phase, unclear=unclear, why=why)


def _t(conduct: Conduct, expected: Expected, why: str) -> WireCase:
    return _w(conduct, expected, why, Phase.TLS, unclear=False)


WHY_LOST: Final = "HTTP has no rule like SMTP's that makes a bare end the server's word, so a control must speak."
WHY_BEGUN: Final = "The server had begun to answer."
WHY_RENEWED: Final = "RFC 9110: the attempt goes on with a fresh connection."
CONDUCTS: Final[tuple[WireCase, ...]] = (
    _w(C.NOBODY, REFUSED, "Nobody knows whose host refused.", Phase.CONNECT, unclear=False),
    _w(C.FULL, UNANSWERED, "As above.", Phase.CONNECT, unclear=False),
    _t(C.TLS_SILENCE, SILENT, "The server's TCP had just answered, so the path worked."),
    _t(C.TLS_DRIP, SILENT, "As above."),
    _t(C.TLS_CLOSE, CLOSED, "The server had taken the connection."),
    _t(C.TLS_RESET, RESET_IN_SESSION, "As above."),
    _t(C.PLAIN_HTTP, NOT_TLS, "Something else answers; a control must speak."),
    _t(C.ALERT_INTERNAL, TLS_DOWN, "RFC 8446 section 6: the server's own trouble."),
    _t(C.ALERT_HANDSHAKE, TLS_REFUSED, WHY_ALERT),
    _t(C.ALERT_VERSION, TLS_REFUSED, WHY_ALERT),
    _t(C.LONG_RECORD, TLS_REFUSED, WHY_ALERT),
    _t(C.EXPIRED, EXPIRED, WHY_CERTIFICATE),
    _t(C.WRONG_NAME, WRONG_NAME, WHY_CERTIFICATE),
    _t(C.UNKNOWN_AUTHORITY, NOT_TRUSTED, WHY_TRUST),
    _t(C.NOT_YET_VALID, NOT_TRUSTED, WHY_TRUST),
    _w(C.DEAF, STUCK, "Its host did not acknowledge the request.", Phase.FIRST_BYTE),
    _w(C.DEAF_TO_MUCH, STUCK, "The request never left us whole.", Phase.REQUEST, unclear=False),
    _w(C.SILENCE, SILENT, WHY_SILENT, Phase.FIRST_BYTE),
    _w(C.CLOSE, LOST, WHY_LOST, Phase.FIRST_BYTE),
    _w(C.RESET, LOST, WHY_LOST, Phase.FIRST_BYTE),
    _w(C.CLOSE_IN_HEAD, CLOSED, WHY_BEGUN),
    _w(C.RESET_IN_HEAD, RESET_IN_SESSION, WHY_BEGUN),
    _w(C.STALL_IN_HEAD, STALLED, "A reply began and was not whole in time."),
    _w(C.DRIP_HEAD, STALLED, "As above."),
    _w(C.ENDLESS_HEADERS, NO_PROTOCOL, "Beyond the limits on a head; cut off in bounded memory."),
    _w(C.ENDLESS_HEADER, NO_PROTOCOL, "As above."),
    _w(C.INTERIM_SILENCE, SILENT, "An interim reply is no reply."),
    _w(C.INTERIM_CLOSE, CLOSED, WHY_BEGUN),
    _w(C.ENDLESS_INTERIM, NO_PROTOCOL, "Beyond the limit on interim replies."),
    _w(C.GARBAGE, NO_PROTOCOL, "Not HTTP, from whoever holds the certificate."),
    _w(C.BANNER, NO_PROTOCOL, "As above."),
    _w(C.HTTP_2, NO_PROTOCOL, "Not asked for."),
    _w(C.NO_STATUS, NO_PROTOCOL, "RFC 9112 section 4: three digits."),
    _w(C.LOW_STATUS, NO_PROTOCOL, "RFC 9110 section 15: 100 to 599."),
    _w(C.LONG_STATUS, NO_PROTOCOL, "RFC 9112 section 4: three digits."),
    _w(C.BAD_LENGTH, NO_PROTOCOL, "RFC 9112 section 6.3: beyond recovery."),
    _w(C.TWO_LENGTHS, NO_PROTOCOL, "As above."),
    _w(C.KEPT_CLOSE, TAKEN, WHY_RENEWED, unclear=False),
    _w(C.KEPT_RESET, TAKEN, WHY_RENEWED, unclear=False),
    _w(C.KEPT_CLOSE_LATER, TAKEN, WHY_RENEWED, unclear=False),
    _w(C.KEPT_RESET_LATER, TAKEN, WHY_RENEWED, unclear=False),
    _w(C.KEPT_408, TAKEN, WHY_RENEWED, unclear=False),
    _w(C.KEPT_421, TAKEN, WHY_RENEWED, unclear=False),
    _w(C.KEPT_503, HTTP_ERROR, "An answer is an answer, on any connection.", unclear=False),
    _w(C.KEPT_SILENCE, SILENT, WHY_SILENT, Phase.FIRST_BYTE),
    *(WireCase(conduct=conduct, answers=_AS_IT_IS, why="The reply came whole.") for conduct in (
        C.WHOLE, C.TLS_SPLIT, C.SPLIT, C.CHUNKED, C.UNTIL_CLOSE, C.HTTP_1_0, C.CLOSE_AFTER, C.RESET_AFTER, C.EXTRA,
        C.INTERIM_100, C.INTERIM_102, C.INTERIM_103)),
    *(WireCase(conduct=conduct, answers=_CUT, why="A truncated success is no success.") for conduct in (
        C.TRUNCATED, C.RESET_IN_BODY, C.CHUNK_CUT, C.CHUNK_BAD)),
    WireCase(conduct=C.TOO_SHORT, answers=_HALF, why="What counts as the body is half of it."),
    *(WireCase(conduct=conduct, answers=_STALLED, why="Status line received, body stalls: a server-side timeout.")
      for conduct in (C.TOO_LONG, C.CHUNK_STALL, C.DRIP)),
    *(WireCase(conduct=conduct, answers=_ENDLESS, why="Beyond the limit on a body; cut off in bounded memory.")
      for conduct in (C.ENDLESS_BODY, C.ENDLESS_CHUNKS)),
)
# fmt: on


def is_unclear(answer: Answer, expected: Expected) -> bool:
    """Say whether a message may have been accepted: told so, or by a gateway that did not wait."""
    return answer is Answer.TIMEOUT or (answer is Answer.ACCEPTED and expected.fault is not Fault.NONE)


def as_markdown() -> str:
    """Print the section of the documentation."""
    return "\n".join(_section()) + "\n"


def count() -> int:
    """Return how many cases there are."""
    replies = sum(len(case.statuses) * (len(case.bodies) + len(case.codes)) for case in STATUSES)
    return replies + sum(len(case.answers) or 1 for case in CONDUCTS)


def _section() -> Iterator[str]:
    yield from (
        "",
        "## How the server can behave, and what we say",
        "",
        f"{count()} cases, printed from `probe/core/conducts_api.py`. They were reasoned from the contract, the RFCs",
        "and the provider's documentation, not from the rules above, and each is played over a real socket by a test.",
        "",
        "### Whole replies",
        "",
        "| status | body | `errors[0].code` | message | fault: cause | maybe accepted | why |",
        "|---|---|---|---|---|---|---|",
    )
    for case in STATUSES:
        codes = ", ".join(code or "none" for code in case.codes)
        maybe = "yes" if case.unclear else ""
        message = "" if case.message == "no" else case.message
        yield line(_ranges(case.statuses), ", ".join(case.bodies), codes, message, str(case.expected), maybe, case.why)
    yield from ("", "### On the wire", "", "| the server | fault: cause | phase | maybe accepted | why |")
    yield "|---|---|---|---|---|"
    for wire in CONDUCTS:
        if not wire.answers:
            maybe = "yes" if wire.unclear else ""
            yield line(wire.conduct, str(wire.expected), wire.phase, maybe, wire.why)
    yield from (
        "",
        "### Ways to send a reply",
        "",
        line("the server", *Answer, "why"),
        "|" + "---|" * (len(Answer) + 2),
    )
    for wire in CONDUCTS:
        if wire.answers:
            meant = dict(wire.answers)
            yield line(wire.conduct, *(str(meant[answer]) for answer in Answer), wire.why)


def _ranges(statuses: tuple[int, ...]) -> str:
    runs: list[list[int]] = []
    for status in statuses:
        if runs and runs[-1][-1] == status - 1:
            runs[-1].append(status)
        else:
            runs.append([status])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
