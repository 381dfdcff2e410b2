"""The bytes of the API call, made once; an attempt only fills in what names it."""

import json
import re
import ssl
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr
from yarl import URL

from probe.core.model import Ticket
from probe.settings import Api

USER_AGENT: Final = "sev1probe"

# {{name}} is the provider's own syntax for what it fills in itself, and stays.
_PLACEHOLDER: Final = re.compile(rb"(?<!\{)\{(message_id|target|vantage|second|ordinal)\}(?!\})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a URL leads: what to dial, and what to ask for there."""

    host: str
    port: int
    is_tls: bool
    host_header: str
    path: str


def origin_of(url_text: str, tls: ssl.SSLContext | None) -> Origin:
    """Take a URL apart; refuse https without a trust store, and anything but http and https."""
    url = URL(url_text)
    if url.scheme not in {"http", "https"} or not url.raw_host or not url.port:
        raise ValueError(f"the URL of scheme {url.scheme!r} is not an http or https address with a host")
    if url.scheme == "https" and tls is None:
        raise ValueError(f"https://{url.raw_host} needs a TLS context")
    return Origin(
        host=url.raw_host,
        port=url.port,
        is_tls=url.scheme == "https",
        host_header=url.host_port_subcomponent or url.raw_host,
        path=url.raw_path_qs,
    )


class RequestTemplate:
    """The call as bytes with gaps. Holds the key, so it has no telling repr."""

    __slots__ = ("_body", "_has_gaps_in_head", "_head", "_target", "_vantage", "secrets")

    def __init__(self, settings: Api, origin: Origin, *, target: str, vantage: str) -> None:
        head = f"POST {origin.path} HTTP/1.1\r\n".encode("ascii")
        for name, value in _headers(settings, origin).items():
            head += f"{name}: ".encode("ascii") + value + b"\r\n"
        self._head = _with_gaps(head)
        self._has_gaps_in_head = _PLACEHOLDER.search(head) is not None
        if not self._has_gaps_in_head:
            self._head = head
        self._body = _with_gaps(json.dumps(settings.body, separators=(",", ":"), allow_nan=False).encode("ascii"))
        self._target = _escaped(target)
        self._vantage = _escaped(vantage)
        self.secrets = _secrets(settings)

    def render(self, ticket: Ticket) -> bytes:
        """Return the whole request of one attempt, to be written in one go."""
        gaps = {
            b"message_id": _escaped(ticket.message_id),
            b"target": self._target,
            b"vantage": self._vantage,
            b"second": b"%d" % ticket.second,
            b"ordinal": b"%d" % ticket.ordinal,
        }
        body = self._body % gaps
        head = self._head % gaps if self._has_gaps_in_head else self._head
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)


def _with_gaps(text: bytes) -> bytes:
    return _PLACEHOLDER.sub(rb"%(\1)b", text.replace(b"%", b"%%"))


def _escaped(text: str) -> bytes:
    return json.dumps(text)[1:-1].encode("ascii")


def _headers(settings: Api, origin: Origin) -> dict[str, bytes]:
    """Return the headers, the configured ones over our own whatever their case."""
    headers = {
        "Host": origin.host_header.encode("ascii"),
        "User-Agent": USER_AGENT.encode("ascii"),
        "Accept": b"application/json",
        "Accept-Encoding": b"identity",  # A reply of a hundred bytes is not worth unpacking.
        "Content-Type": b"application/json",
    }
    if settings.connections.mode == "fresh":
        headers["Connection"] = b"close"  # RFC 9112 section 9.6: say so if no other request will follow.
    if settings.key is not None or "{key}" not in settings.authorization:
        headers["Authorization"] = _authorization(settings).encode("latin-1")
    for name, value in settings.headers.items():
        for known in [known for known in headers if known.lower() == name.lower()]:
            del headers[known]
        headers[name] = _text(value).encode("utf-8")
    for name, value_bytes in headers.items():
        if re.search(rb"[\r\n\0]", value_bytes):
            raise ValueError(f"the header {name} of the API holds a line break; a header is one line")
    return headers


def _authorization(settings: Api) -> str:
    key = "" if settings.key is None else settings.key.get_secret_value()
    # The key is put in last, so that nothing in it can be taken for a placeholder of ours.
    return settings.authorization.replace("{key}", key)


def _text(value: str | SecretStr) -> str:
    return value if isinstance(value, str) else value.get_secret_value()


def _secrets(settings: Api) -> tuple[str, ...]:
    """Return every spelling of a secret that a server could repeat to us, the longest first."""
    found = {value.get_secret_value() for value in settings.headers.values() if isinstance(value, SecretStr)}
    if settings.key is not None:
        found |= {settings.key.get_secret_value(), _authorization(settings)}
    found.add(_authorization(settings).rpartition(" ")[2])
    found |= {json.dumps(secret)[1:-1] for secret in found}
    return tuple(sorted(filter(None, found), key=lambda secret: (-len(secret), secret)))
