"""What the API's replies mean: a table, and the judge that reads it.

A reply is judged by four things together: status, the shape of its body, the code of its first error, and words in its
text. Status alone would be wrong in both directions: a 400 with code 1502 is the server's failure, and a 400 with an
HTML page was never written by the service at all. The first row that fits decides.

Rows follow the provider's reference (sections 1.3 and 5.2) and RFC 9110; a row that departs from either says why.
`markdown` prints the tables for the documentation, so that the page can't say anything else than the code.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from probe.core.endings import RENEWAL_US_MAX, fault_of
from probe.core.model import REPLY_CHARACTERS_MAX, Cause, Fault
from probe.core.redaction import without_begun_secrets

ENHANCED_CODE_CHARACTERS_MAX = 32
ERRORS_READ_MAX = 8
REDACTED = "<redacted>"


class Shape(StrEnum):
    """What the body of a reply is."""

    ACCEPTED = "accepted"  # `results` that accept a recipient, no errors
    WITH_ERRORS = "accepted with errors"  # `results` that accept a recipient, and errors beside them
    NONE_ACCEPTED = "none accepted"  # `results` that accept nobody
    ERRORS = "errors"  # a JSON object that names an error
    JSON = "other JSON"  # a JSON object that is none of these
    HTML = "HTML"
    EMPTY = "empty"
    OTHER = "other"  # anything else, such as JSON that was cut


class Ending(StrEnum):
    """How the body of a reply ended."""

    WHOLE = "whole"
    CUT = "cut short"
    STALLED = "stalled"
    TOO_LONG = "too long"


class Ended(StrEnum):
    """How an attempt ended for which no status line came."""

    LATE_START = "the deadline had passed before anything was begun"
    LOOKUP_SILENT = "name look-up unanswered at the deadline"
    CONNECT_SILENT = "connect unanswered at the deadline"
    TLS_SILENT = "TLS handshake unanswered at the deadline"
    TLS_CLOSED = "closed in the TLS handshake"
    TLS_RESET = "reset in the TLS handshake"
    CLOSED_BEFORE_REQUEST = "closed before the request could be sent"
    SEND_STUCK = "request not written at the deadline"
    SEND_UNACKNOWLEDGED = "request not acknowledged by the other side's TCP at the deadline"
    REPLY_SILENT = "no byte of a reply at the deadline"
    HEAD_STALLED = "status line and headers begun and not whole at the deadline"
    CLOSED_BEFORE_REPLY = "closed before any byte of a reply"
    RESET_BEFORE_REPLY = "reset before any byte of a reply"
    CLOSED_IN_HEAD = "closed within status line or headers"
    RESET_IN_HEAD = "reset within status line or headers"
    NOT_HTTP = "not HTTP, or status line and headers beyond the limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiReply:
    """A reply as it came off the wire. `body` is what arrived of it, decoded from any content coding."""

    status: int
    content_type: str = ""
    body: bytes = b""
    ending: Ending = Ending.WHOLE
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class ApiJudgement:
    """What an attempt's end means, and the part of the reply that is worth keeping."""

    fault: Fault
    cause: Cause
    code: int = 0
    enhanced_code: str = ""
    reply: str = ""
    maybe_accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table; an empty field fits everything. `statuses` are inclusive ranges."""

    statuses: tuple[tuple[int, int], ...]
    cause: Cause
    shapes: frozenset[Shape] = frozenset()
    endings: frozenset[Ending] = frozenset()
    codes: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()
    maybe_accepted: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedRow:
    """One line of the table of attempts without a reply."""

    cause: Cause
    maybe_accepted: bool = False
    why: str = ""


_ANY_STATUS: Final = ((100, 999),)
_SUCCESS: Final = ((200, 299),)
# 1500 update failed, 1501 read failed, 1502 resources unavailable, 1900 generation module unavailable.
_SERVER_CODES: Final = frozenset({"1500", "1501", "1502", "1900"})


def _one(*statuses: int) -> tuple[tuple[int, int], ...]:
    return tuple((status, status) for status in statuses)


TABLE: Final[tuple[Row, ...]] = (
    Row(
        statuses=_SUCCESS,
        endings=frozenset({Ending.CUT}),
        cause=Cause.INCOMPLETE_BODY,
        maybe_accepted=True,
        why="A truncated success is no success.",
    ),
    Row(
        statuses=_SUCCESS,
        endings=frozenset({Ending.TOO_LONG}),
        cause=Cause.MALFORMED_REPLY,
        maybe_accepted=True,
        why="The documented reply has some hundred bytes.",
    ),
    Row(
        statuses=_SUCCESS,
        endings=frozenset({Ending.STALLED}),
        cause=Cause.BODY_STALLED,
        maybe_accepted=True,
    ),
    Row(statuses=_SUCCESS, shapes=frozenset({Shape.ACCEPTED}), cause=Cause.ACCEPTED),
    Row(
        statuses=_SUCCESS,
        shapes=frozenset({Shape.WITH_ERRORS}),
        cause=Cause.ACCEPTED_WITH_ERRORS,
        why="Code 2000: the service took the message and says what it disliked.",
    ),
    Row(statuses=_one(202), shapes=frozenset({Shape.JSON}), cause=Cause.ACCEPTED, why="The Bird APIs answer so."),
    Row(statuses=_one(204), cause=Cause.ACCEPTED, why="Has no body by definition."),
    Row(
        statuses=_SUCCESS,
        shapes=frozenset({Shape.NONE_ACCEPTED}),
        cause=Cause.REQUEST_REJECTED,
        why="The service answered, and accepted no recipient.",
    ),
    Row(
        statuses=_SUCCESS,
        shapes=frozenset({Shape.ERRORS}),
        codes=_SERVER_CODES,
        cause=Cause.SERVER_RESOURCES,
        why="The code says more than the status.",
    ),
    Row(
        statuses=_SUCCESS,
        shapes=frozenset({Shape.ERRORS}),
        cause=Cause.REQUEST_REJECTED,
        why="An error without results: nobody was accepted; unless the code is the server's, it is ours.",
    ),
    Row(
        statuses=_SUCCESS,
        cause=Cause.UNREADABLE_BODY,
        maybe_accepted=True,
        why="HTML, nothing, or JSON without results. Behind verified TLS nobody but the provider can have written it.",
    ),
    Row(
        statuses=((300, 399),),
        shapes=frozenset({Shape.HTML}),
        words=("<form", "login", "log in", "sign in", "captive"),
        cause=Cause.FOREIGN_REPLY,
        why="A login page is somebody's between us and the service. Plain redirects carry HTML too, hence the words.",
    ),
    Row(statuses=((300, 399),), cause=Cause.REDIRECTED, why="The wrong URL; it is never followed."),
    Row(
        statuses=_one(400, 422),
        codes=_SERVER_CODES,
        cause=Cause.SERVER_RESOURCES,
        why="Documented: 1502 means that the server's resources are unavailable, although the status blames us.",
    ),
    Row(
        statuses=_one(400, 422),
        shapes=frozenset({Shape.ERRORS}),
        words=("server resources unavailable", "failed parsing json from db"),
        cause=Cause.SERVER_RESOURCES,
        why="The same when the code is missing, and a fault in the server's own data that travels as 422/1300.",
    ),
    Row(statuses=_one(400), shapes=frozenset({Shape.ERRORS}), cause=Cause.REQUEST_REJECTED),
    Row(
        statuses=_one(400),
        cause=Cause.FOREIGN_REPLY,
        why="No documented error: 4 to 5 of 5,000 equal calls were seen to get an openresty page, the others worked.",
    ),
    Row(statuses=_one(401), cause=Cause.CREDENTIALS),
    Row(statuses=_one(403), shapes=frozenset({Shape.ERRORS}), cause=Cause.CREDENTIALS),
    Row(
        statuses=_one(403),
        cause=Cause.REQUEST_REJECTED,
        why="Not the service's own words: a filter before it dislikes us. No less our affair.",
    ),
    Row(
        statuses=_one(404),
        shapes=frozenset({Shape.HTML, Shape.EMPTY, Shape.OTHER}),
        cause=Cause.FOREIGN_REPLY,
        why="The path is right on other days, and the service answers 404 in JSON; suspect, so a control must speak.",
    ),
    Row(
        statuses=_one(407),
        cause=Cause.CAPTIVE_NETWORK,
        why="No proxy is ever configured, so one on our own side forced itself between.",
    ),
    Row(
        statuses=_one(408),
        cause=Cause.REQUEST_REJECTED,
        why="The server missed our data. On a kept connection the attempt goes on with a fresh one first (RFC 9110).",
    ),
    Row(statuses=_one(420), cause=Cause.QUOTA, why="2101, 2102, 2103, 2105: our own sending limit."),
    Row(
        statuses=_one(421),
        cause=Cause.MISDIRECTED,
        why="Wrong origin or region. On a kept connection the attempt goes on with a fresh one first (RFC 9110).",
    ),
    Row(statuses=_one(429), cause=Cause.THROTTLED, why="POST /transmissions is documented as exempt: worth a look."),
    Row(
        statuses=((400, 499),),
        cause=Cause.REQUEST_REJECTED,
        why="Includes 425 (we send no early data), 444, 460, 463, 464 and 499, which proxies make of a client's doing.",
    ),
    Row(statuses=_one(505, 510), cause=Cause.REQUEST_REJECTED, why="Our HTTP version, our missing extension."),
    Row(statuses=_one(509), cause=Cause.QUOTA, why="Not registered; means a bandwidth limit where it is used."),
    Row(statuses=_one(511), cause=Cause.CAPTIVE_NETWORK, why="RFC 6585: our own network wants a login."),
    Row(
        statuses=_one(504),
        cause=Cause.GATEWAY_TIMEOUT,
        maybe_accepted=True,
        why="A server-side timeout in so many words. Documented: the message may have been accepted.",
    ),
    Row(
        statuses=_one(522, 524),
        cause=Cause.GATEWAY_TIMEOUT,
        maybe_accepted=True,
        why="Cloudflare's words for an origin that does not answer in time.",
    ),
    Row(
        statuses=((500, 599),),
        endings=frozenset({Ending.STALLED}),
        cause=Cause.BODY_STALLED,
        why="The status is kept. A 4xx that stalls is judged by its status instead: what we did wrong stays ours.",
    ),
    Row(
        statuses=_one(502, 520),
        cause=Cause.HTTP_ERROR,
        maybe_accepted=True,
        why="A gateway lost the service's answer, whatever that was.",
    ),
    Row(
        statuses=((500, 599),),
        cause=Cause.HTTP_ERROR,
        why="Documented: with 500 and 503 the service took no responsibility. 501 too, since our request never "
        "changes. 502 to 504 of an own forward proxy would be ours, and none is ever used.",
    ),
    Row(
        statuses=_ANY_STATUS,
        cause=Cause.MALFORMED_REPLY,
        maybe_accepted=True,
        why="101, or a status that HTTP does not have.",
    ),
)

WITHOUT_REPLY: Final[dict[Ended, EndedRow]] = {
    Ended.LATE_START: EndedRow(cause=Cause.INTERNAL, why="We were too slow, nobody else."),
    Ended.LOOKUP_SILENT: EndedRow(cause=Cause.RESOLVER, why="Says more about our resolver than about the zone."),
    Ended.CONNECT_SILENT: EndedRow(cause=Cause.CONNECT_TIMEOUT),
    Ended.TLS_SILENT: EndedRow(cause=Cause.SILENT, why="TCP had just been accepted, so the path worked."),
    Ended.TLS_CLOSED: EndedRow(cause=Cause.CLOSED, why="The server had accepted the connection and gave no reason."),
    Ended.TLS_RESET: EndedRow(cause=Cause.RESET_IN_SESSION),
    Ended.CLOSED_BEFORE_REQUEST: EndedRow(cause=Cause.RESET, why="As the close before a reply below."),
    Ended.SEND_STUCK: EndedRow(cause=Cause.SEND_STUCK),
    Ended.SEND_UNACKNOWLEDGED: EndedRow(
        cause=Cause.SEND_STUCK,
        maybe_accepted=True,
        why="The server can't be called silent about a request that may never have reached its host.",
    ),
    Ended.REPLY_SILENT: EndedRow(
        cause=Cause.SILENT,
        maybe_accepted=True,
        why="The server's host had acknowledged the request. Interim (1xx) replies are no reply.",
    ),
    Ended.HEAD_STALLED: EndedRow(cause=Cause.BODY_STALLED, maybe_accepted=True, why="The reply had begun."),
    Ended.CLOSED_BEFORE_REPLY: EndedRow(
        cause=Cause.RESET,
        maybe_accepted=True,
        why="HTTP has no rule like RFC 5321 section 3.8, which makes a bare close the server's word. Close and reset "
        "differ only by who had unread bytes, so both need a control's word. A kept connection is renewed first.",
    ),
    Ended.RESET_BEFORE_REPLY: EndedRow(cause=Cause.RESET, maybe_accepted=True, why="As above."),
    Ended.CLOSED_IN_HEAD: EndedRow(cause=Cause.CLOSED, maybe_accepted=True, why="The server had begun to answer."),
    Ended.RESET_IN_HEAD: EndedRow(cause=Cause.RESET_IN_SESSION, maybe_accepted=True),
    Ended.NOT_HTTP: EndedRow(cause=Cause.MALFORMED_REPLY, maybe_accepted=True),
}

# RFC 9110 sections 15.5.9 and 15.5.20: the client may repeat the request on a new connection.
RENEWING_STATUSES: Final = frozenset({408, 421})
RENEWING_ENDINGS: Final = frozenset({Ended.CLOSED_BEFORE_REQUEST, Ended.CLOSED_BEFORE_REPLY, Ended.RESET_BEFORE_REPLY})

_ENDED_BY_US_AND_RENEWED: Final = f"""\
An attempt that we ended ourselves is our own fault whatever the rows above say: at a stop (`stopped`), or when our own
loop stood still beyond the deadline and no whole reply was found waiting then (`stalled`). It keeps its phase, its
status, and whether the message may have been accepted.

## Renewed connections

A kept connection that is closed or reset within {RENEWAL_US_MAX // 1000} ms of our write, before any byte of a reply,
or that is answered by 408 or 421 within that time, is taken for one that the server had ended already: the attempt goes
on with one fresh connection, within the same deadline, and is recorded as `renewed` with the first end in `reply`. An
end that comes later came while the server was at work, and is judged as it is.

Nobody can prove that the first write was not read, so a renewed attempt may put the same message on the wire twice.
Both carry the same message id, so a duplicate can be told by it.
"""


def judge(reply: ApiReply, *, secrets: Iterable[str] = ()) -> ApiJudgement:
    """Say what a reply means; none of `secrets` appears in the judgement, even when the server repeats it."""
    document = _document(reply.body) if reply.ending is Ending.WHOLE else None
    shape = _shape(reply, document)
    error_code, text = _essence(reply, document)
    row = _row(reply, shape, error_code, text)
    if reply.retry_after:
        text = f"{text} (Retry-After: {reply.retry_after})"
    return ApiJudgement(
        fault=fault_of(row.cause),
        cause=row.cause,
        code=reply.status,
        enhanced_code=tidy(error_code, secrets, ENHANCED_CODE_CHARACTERS_MAX),
        reply=tidy(text, secrets, is_cut=reply.ending is not Ending.WHOLE or bool(reply.retry_after)),
        maybe_accepted=row.maybe_accepted,
    )


def row_for(reply: ApiReply) -> Row:
    """Return the first row that fits; there always is one."""
    document = _document(reply.body) if reply.ending is Ending.WHOLE else None
    return _row(reply, _shape(reply, document), *_essence(reply, document))


def tidy(
    text: str, secrets: Iterable[str] = (), characters_max: int = REPLY_CHARACTERS_MAX, *, is_cut: bool = False
) -> str:
    """Return text without secrets, in printable characters, of bounded length. Redacts before it cuts.

    `is_cut` says that the text may end, or quote something that ends, in the middle of a secret.
    """
    secrets = tuple(secrets)
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    if is_cut or len(text) > characters_max:
        text = without_begun_secrets(text, secrets, REDACTED)
    if text.isprintable() and len(text) <= characters_max:
        return text
    text = text[: characters_max * 2]
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())[
        :characters_max
    ]


def markdown() -> str:
    """Print both tables as the documentation's page."""
    return "\n".join(_page()) + "\n"


def _document(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):  # RecursionError: some thousand opening brackets are enough.
        return None
    return found if isinstance(found, dict) else None


def _shape(reply: ApiReply, document: dict[str, Any] | None) -> Shape:
    if document is not None:
        return _shape_of_document(document)
    start = reply.body.lstrip()[:1]
    if not start and reply.ending is Ending.WHOLE:
        return Shape.EMPTY
    if start == b"<" or "html" in reply.content_type.lower():
        return Shape.HTML
    return Shape.OTHER


def _shape_of_document(document: dict[str, Any]) -> Shape:
    has_errors = bool(document.get("errors"))
    results = document.get("results")
    if not isinstance(results, dict) or not results:
        says_error = has_errors or bool(document.get("error")) or ("message" in document and "id" not in document)
        return Shape.ERRORS if says_error else Shape.JSON
    accepted = results.get("total_accepted_recipients")
    # A missing count is no zero: `results.id` is what the service names the transmission by.
    if accepted is None:
        accepted = 1 if results.get("id") else 0
    if not isinstance(accepted, int) or accepted < 1:
        return Shape.NONE_ACCEPTED
    return Shape.WITH_ERRORS if has_errors else Shape.ACCEPTED


def _essence(reply: ApiReply, document: dict[str, Any] | None) -> tuple[str, str]:
    """Return the first error's code, and the text worth keeping: the messages of the errors, or the success's id."""
    if document is None:
        return "", reply.body.decode("utf-8", "replace")
    errors = list(_errors(document))
    if errors:
        return _code(errors[0]), "; ".join(filter(None, map(_message, errors)))
    results = document.get("results")
    return "", _plain((results if isinstance(results, dict) else document).get("id"))


def _errors(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    found = document.get("errors") or document.get("error")
    if found is None and "message" in document and "id" not in document:
        found = document
    for error in (found if isinstance(found, list) else [found])[:ERRORS_READ_MAX]:
        if isinstance(error, dict):
            yield error
        elif isinstance(error, str):
            yield {"message": error}


def _code(error: dict[str, Any]) -> str:
    # Documented as a string, seen as a number in a draft, and missing from the authorization tier's 503.
    return _plain(error.get("code"))


def _message(error: dict[str, Any]) -> str:
    return ": ".join(filter(None, (_plain(error.get("message")), _plain(error.get("description")))))


def _plain(value: object) -> str:
    is_plain = isinstance(value, str | int) and not isinstance(value, bool)
    return str(value) if is_plain else ""


def _row(reply: ApiReply, shape: Shape, error_code: str, text: str) -> Row:
    words: str | None = None
    for row in _ROWS_BY_STATUS.get(reply.status, TABLE[-1:]):
        if row.shapes and shape not in row.shapes:
            continue
        if row.endings and reply.ending not in row.endings:
            continue
        if row.codes and error_code not in row.codes:
            continue
        if row.words:
            words = text.lower() if words is None else words
            if not any(word in words for word in row.words):
                continue
        return row
    raise AssertionError("the table's last row fits every reply")


def _rows_by_status() -> dict[int, tuple[Row, ...]]:
    return {
        status: tuple(row for row in TABLE if any(first <= status <= last for first, last in row.statuses))
        for status in range(100, 600)
    }


_ROWS_BY_STATUS: Final = _rows_by_status()


def _page() -> Iterator[str]:
    yield "# What the API's replies mean"
    yield ""
    yield "Printed from `probe/core/replies_api.py`; a test holds both equal. The first row that fits decides."
    yield ""
    yield "| Status | Body | Body's end | `errors[0].code` | Text holds | Fault | Cause | Maybe accepted | Why |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in TABLE:
        yield _line(
            ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in row.statuses),
            _any(row.shapes, Shape),
            _any(row.endings, Ending),
            ", ".join(sorted(row.codes)) or "any",
            ", ".join(f"`{word}`" for word in row.words) or "any",
            fault_of(row.cause),
            row.cause,
            "yes" if row.maybe_accepted else "",
            row.why,
        )
    yield ""
    yield "## Attempts without a reply"
    yield ""
    yield "| Seen | Fault | Cause | Maybe accepted | Why |"
    yield "|---|---|---|---|---|"
    for ended, row_of in WITHOUT_REPLY.items():
        maybe = "yes" if row_of.maybe_accepted else ""
        yield _line(ended, fault_of(row_of.cause), row_of.cause, maybe, row_of.why)
    yield ""
    yield "Errors of the operating system and of TLS certificates are judged as in `probe/core/endings.py`."
    yield ""
    yield from _ENDED_BY_US_AND_RENEWED.splitlines()


def _any(chosen: frozenset[Any], order: Iterable[StrEnum]) -> str:
    return ", ".join(member for member in order if member in chosen) or "any"


def _line(*cells: str) -> str:
    return "| " + " | ".join(re.sub(r"\s+", " ", cell) for cell in cells) + " |"
