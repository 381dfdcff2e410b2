"""The API surface of the simulated provider: HTTP/1.1 with kept connections, as bytes."""

import base64
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from probe.core.model import Phase
from probe.simulator import replies
from probe.simulator.certificates import ServerContexts
from probe.simulator.desk import Desk
from probe.simulator.faults import FaultKind, SimulatedFault
from probe.simulator.options import ProviderOptions, TlsMode
from probe.simulator.wire import RESET_DELAY_S, Wire

HEAD_BYTES_MAX = 32_768
BODY_BYTES_MAX = replies.MESSAGE_BYTES_MAX
_HEADS_KEPT_MAX = 256
_METHOD_INITIALS = b"PGHDO"
_FIRST_TRANSMISSION = 11_668_787_484_950_529


@dataclass(frozen=True, slots=True)
class Head:
    """What matters of a request's head. A `length` of -1 says that the body comes in chunks."""

    method: str
    path: str
    length: int
    authorization: str
    keep: bool
    expects: bool


@lru_cache(maxsize=_HEADS_KEPT_MAX)
def parse_head(head: bytes) -> Head | None:
    """Read a request's head; None if it is not HTTP/1. Kept, because a client sends the same head again and again."""
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    fields: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            return None
        fields[name.lower()] = value.strip()
    length = fields.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        return None
    chunked = fields.get("transfer-encoding", "").lower() == "chunked"
    return Head(
        method=words[0],
        path=words[1].partition("?")[0].rstrip("/"),
        length=-1 if chunked else int(length),
        authorization=fields.get("authorization", ""),
        keep=fields.get("connection", "").lower() != "close" and words[2] == "HTTP/1.1",
        expects=fields.get("expect", "").lower() == "100-continue",
    )


def dechunk(data: bytes | bytearray) -> tuple[bytes, int] | None:
    """Read a chunked body: its bytes and where it ends, or None if there is more to come; ValueError if broken."""
    parts: list[bytes] = []
    at = 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size = int(bytes(data[at:end]).partition(b";")[0], 16)
        begin = end + 2
        if size == 0:
            finish = data.find(b"\r\n\r\n", end)
            return None if finish < 0 else (b"".join(parts), finish + 4)
        if len(data) < begin + size + 2:
            return None
        parts.append(bytes(data[begin : begin + size]))
        at = begin + size + 2


class ApiWire(Wire):
    """One connection to the API."""

    def __init__(self, desk: Desk, contexts: ServerContexts, options: ProviderOptions) -> None:
        super().__init__(desk, contexts, implicit_tls=options.api_tls is TlsMode.IMPLICIT)
        self._options = options
        self._path = f"{options.base_path}/transmissions"
        self._authorizations = _authorizations(options)
        self._buffer = bytearray()
        self._continued = False
        self._busy = False

    def ready(self) -> None:
        """Wait for the first request."""
        # A connection that is to be turned out still gets its first reply: the client is on its way in.
        self.idle_since = self.loop.time()

    def received(self, data: bytes) -> None:
        """Collect requests and answer each that is whole."""
        self._buffer += data
        if not self._busy:
            self._serve()

    def _serve(self) -> None:
        while self._buffer and not self._busy and not self.closed and not self._deaf:
            self.idle_since = None
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > HEAD_BYTES_MAX or self._buffer[0] not in _METHOD_INITIALS:
                    self._refuse_html()
                return
            head = parse_head(bytes(self._buffer[:end]))
            if head is None:
                self._refuse_html()
                return
            if not self._take_body(head, end + 4):
                return

    def _take_body(self, head: Head, begin: int) -> bool:
        """Answer the request if its body is whole; False if more must come or the connection is done for."""
        if head.expects and not self._continued:
            self._continued = True
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if max(head.length, len(self._buffer) - begin) > BODY_BYTES_MAX:
            self._reply(413, replies.documented_body(413), close=True)
            return False
        if head.length >= 0:
            end = begin + head.length
            if len(self._buffer) < end:
                return False
            body = bytes(self._buffer[begin:end])
        else:
            try:
                whole = dechunk(self._buffer[begin:])
            except ValueError:
                self._refuse_html()
                return False
            if whole is None:
                return False
            body, end = whole[0], begin + whole[1]
        del self._buffer[:end]
        self._continued = False
        self._answer(head, body)
        return True

    def _refuse_html(self) -> None:
        self.send(b"".join(replies.http_page(400, replies.html_page(400), close=True)))
        self.close()

    # Answers.

    def _answer(self, head: Head, body: bytes) -> None:
        self.desk.attempts += 1
        self.begin_transaction()
        fault = self.strike(Phase.FIRST_BYTE) or self.strike(Phase.BODY)
        if fault is None:
            status, reply = self._judge(head, body)
            self._reply(status, reply, close=not head.keep, bodiless=head.method == "HEAD")
            return
        self._busy = True
        if fault.kind in (FaultKind.STATUS, FaultKind.HTML):
            self._take_unanswered(fault, head, body)
            self._busy = False
            self._reply_as_told(fault, close=not head.keep)
        elif fault.phase is Phase.BODY or fault.kind is FaultKind.SLOW:
            status, reply = self._judge(head, body, answered=fault.kind is FaultKind.SLOW)
            self._spoil_body(fault, *replies.http_reply(status, reply, close=not head.keep))
        else:
            self._take_unanswered(fault, head, body)
            self.misbehave(fault)

    def _take_unanswered(self, fault: SimulatedFault, head: Head, body: bytes) -> None:
        if fault.taken:
            self._judge(head, body, answered=False)

    def _reply(self, status: int, body: bytes, *, close: bool, bodiless: bool = False) -> None:
        head, content = replies.http_reply(status, body, close=close)
        self.send(head if bodiless else head + content)
        self._end_request(close=close)

    def _reply_as_told(self, fault: SimulatedFault, *, close: bool) -> None:
        if fault.kind is FaultKind.HTML:
            status = fault.status or 400
            body = fault.body or replies.html_page(status)
            head, content = replies.http_page(status, body, headers=fault.headers, close=close)
        else:
            head, content = replies.http_reply(
                fault.status,
                fault.body or replies.documented_body(fault.status),
                content_type=fault.content_type or "application/json",
                headers=fault.headers,
                close=close,
            )
        self.send(head + content)
        self._end_request(close=close)

    def _spoil_body(self, fault: SimulatedFault, head: bytes, body: bytes) -> None:
        if fault.kind is FaultKind.SLOW:
            first = b"" if fault.phase is Phase.FIRST_BYTE else head + body[: len(body) // 2]
            self.send(first)
            self.loop.call_later(
                fault.by_s, self._finish_late, (head + body)[len(first) :], b"Connection: close" in head
            )
            return
        self.send(head + body[: len(body) // 2])
        if fault.kind is FaultKind.STALL:
            self.deafen()
        elif fault.kind is FaultKind.TRUNCATE:
            self.close()
        else:
            self.deafen()
            self.loop.call_later(RESET_DELAY_S, self.reset)

    def _finish_late(self, rest: bytes, close: bool) -> None:
        self._busy = False
        self.send(rest)
        self._end_request(close=close)
        if not self.closed:
            self._serve()

    def _end_request(self, *, close: bool) -> None:
        if close:
            self.close()
        else:
            self.rest()

    # What the service itself says.

    def _judge(self, head: Head, body: bytes, *, answered: bool = True) -> tuple[int, bytes]:
        """Return the documented answer to a request, and take its message."""
        error = self._error_of_head(head)
        if error is None:
            transmission = replies.json_object(body)
            error = self._error_of_body(transmission)
            if error is None and transmission is not None:
                return 200, self._take(transmission, answered=answered)
        assert error is not None
        self.desk.refused += 1
        return error[0], error[1]

    def _error_of_head(self, head: Head) -> tuple[int, bytes] | None:
        if head.path != self._path:
            return 404, replies.documented_body(404)
        if head.method != "POST":
            return 405, replies.documented_body(405)
        if head.authorization not in self._authorizations:
            return 401, replies.documented_body(401)
        return None

    def _error_of_body(self, body: dict[str, Any] | None) -> tuple[int, bytes] | None:
        if body is None:
            return 422, replies.error_body("invalid data format/type", "1300", "Problems decoding JSON payload")
        content = body.get("content")
        if not isinstance(content, dict) or not isinstance(body.get("recipients"), list) or not body["recipients"]:
            return 422, replies.error_body("required field is missing", "1400", "recipients and content are required")
        sender = _address_of(content.get("from"))
        if not sender or not ("text" in content or "html" in content) or "subject" not in content:
            return 422, replies.error_body(
                "required field is missing", "1400", "content needs from, subject and text or html"
            )
        if not self._options.takes_domain_of(sender):
            return 400, replies.error_body(
                "Unconfigured or unverified sending domain.", "7001", "Unconfigured Sending Domain"
            )
        return None

    def _take(self, body: dict[str, Any], *, answered: bool) -> bytes:
        content = body["content"]
        metadata = body.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        headers = content.get("headers")
        named = headers.get("Message-ID", "") if isinstance(headers, dict) else ""
        transmission = str(_FIRST_TRANSMISSION + self.desk.next_serial())
        recipients = len(body["recipients"])
        self.desk.take(
            transmission,
            message_id=str(named).strip(" <>") or str(metadata.get("message_id", "")),
            sender=_address_of(content["from"]),
            recipients=recipients,
            metadata=metadata,
            answered=answered,
        )
        return replies.success_body(transmission, recipients)


def _address_of(sender: object) -> str:
    if isinstance(sender, dict):
        sender = sender.get("email")
    return sender.rpartition("<")[2].strip(" >") if isinstance(sender, str) else ""


def _authorizations(options: ProviderOptions) -> frozenset[str]:
    """Return the values of the Authorization header that are right."""
    basic = base64.b64encode(f"{options.key}:".encode()).decode()
    return frozenset((options.authorization.replace("{key}", options.key), f"Basic {basic}"))
