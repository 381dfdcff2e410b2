"""One status page of the Statuspage kind: one request, and what came of it as a statement, never as an exception."""

import asyncio
import hashlib
import json
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Final, Self
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.resolver import AsyncResolver

from probe.clock import SECOND_US, Clock
from probe.core.model import Statement
from probe.version import VERSION

# What is kept of a page: how it is now, and the maintenance that it announces.
DOCUMENTS: Final = ("summary", "scheduled-maintenances")
BODY_BYTES_MAX: Final = 1024 * 1024
REDIRECTS_MAX: Final = 3
RESOLVER_TIMEOUT_S: Final = 2.0
RESOLVER_TRIES: Final = 2
RETRY_AFTER_S_MAX: Final = 3_600
# A body is kept again after so long, so that no statement rests on one that is years away.
BODY_AGAIN_US: Final = 86_400 * SECOND_US

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ASKS_TO_WAIT = frozenset({429, 503})
_HEADERS = {
    "User-Agent": f"sev1probe/{VERSION}",
    "Accept": "application/json",
    "Accept-Encoding": "identity",  # what is kept is what was sent
}


class _NoStatement(Exception):
    """The page did not say what it should; the message says in words what came instead."""

    def __init__(self, trouble: str, code: int = 0) -> None:
        super().__init__(trouble)
        self.trouble = trouble
        self.code = code


@dataclass(slots=True)
class _Kept:
    digest: str = ""
    kept_us: int = 0


def source_of(page: str, document: str) -> str:
    """Name what a statement comes from."""
    return f"{page}/{document}"


class Page:
    """Asks one page. Use as an async context manager; it has one connection and one request at a time."""

    def __init__(self, *, name: str, url: str, timeout_s: float, tls: ssl.SSLContext | None, clock: Clock) -> None:
        self._name = name
        self._url = url
        self._timeout_s = timeout_s
        self._tls = tls
        self._clock = clock
        self._kept = {document: _Kept() for document in DOCUMENTS}
        self._session: aiohttp.ClientSession | None = None
        self.retry_at_us = 0  # the page asked not to be asked again before

    async def __aenter__(self) -> Self:
        """Make the session; nothing is sent yet."""
        connector = aiohttp.TCPConnector(
            # Look-ups of its own, without a thread: a silent resolver holds up this page and nothing else.
            resolver=AsyncResolver(timeout=RESOLVER_TIMEOUT_S, tries=RESOLVER_TRIES),
            ssl=self._tls if self._tls is not None else True,
            limit=1,
            force_close=True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            timeout=aiohttp.ClientTimeout(total=None),
            auto_decompress=False,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the session."""
        assert self._session is not None
        await self._session.close()

    async def ask(self, document: str) -> Statement:
        """Ask for one of the documents; raise nothing but CancelledError."""
        code, trouble, digest, text = 0, "", "", ""
        try:
            # One limit over all of it: look-up, connect, TLS, redirects and the last byte of the body.
            async with asyncio.timeout(self._timeout_s):
                code, body = await self._fetch(f"{self._url}/api/v2/{document}.json")
            text = _checked(code, body)
            digest = hashlib.sha256(body).hexdigest()
        except TimeoutError:
            trouble = f"no whole reply within {self._timeout_s:g} s"
        except _NoStatement as error:
            code, trouble = error.code, error.trouble
        except (aiohttp.ClientError, OSError, ValueError) as error:
            trouble = _words(error)
        fetched_us = self._clock.now_us()
        return Statement(
            source=source_of(self._name, document),
            second=fetched_us // SECOND_US,
            fetched_us=fetched_us,
            code=code,
            trouble=trouble,
            digest=digest,
            body=self._body_to_keep(document, digest, text, fetched_us),
        )

    def _body_to_keep(self, document: str, digest: str, text: str, fetched_us: int) -> str:
        kept = self._kept[document]
        if not digest or (kept.digest == digest and fetched_us - kept.kept_us < BODY_AGAIN_US):
            return ""
        self._kept[document] = _Kept(digest, fetched_us)
        return text

    async def _fetch(self, url: str) -> tuple[int, bytes]:
        assert self._session is not None
        for _ in range(REDIRECTS_MAX + 1):
            async with self._session.get(url, allow_redirects=False) as reply:
                if reply.status in _REDIRECTS:
                    url = self._next_url(reply)
                    continue
                if reply.status in _ASKS_TO_WAIT and (wait_s := _retry_after_s(reply, self._clock)):
                    self.retry_at_us = self._clock.now_us() + wait_s * SECOND_US
                    raise _NoStatement(f"HTTP {reply.status}, to be asked again after {wait_s} s", reply.status)
                if reply.headers.get("Content-Encoding", "identity").lower() != "identity":
                    raise _NoStatement("the reply is compressed, which was not asked for", reply.status)
                return reply.status, await _read(reply)
        raise _NoStatement(f"more than {REDIRECTS_MAX} redirects, one after the other")

    def _next_url(self, reply: aiohttp.ClientResponse) -> str:
        try:
            target = urljoin(str(reply.url), reply.headers.get("Location", ""))
            here, there = urlsplit(str(reply.url)), urlsplit(target)
        except ValueError:
            raise _NoStatement("a redirect to something that is no URL", reply.status) from None
        if (there.scheme, there.netloc) != (here.scheme, here.netloc):
            raise _NoStatement("a redirect to another host, which is not followed", reply.status)
        return target


async def _read(reply: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in reply.content.iter_any():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise _NoStatement(f"the reply is larger than {BODY_BYTES_MAX} bytes", reply.status)
    return bytes(body)


def _checked(code: int, body: bytes) -> str:
    """Return the text of a reply that is a status page's document; it is kept as it came, not as it was read."""
    if code != 200:
        raise _NoStatement(f"HTTP {code}", code)
    try:
        text = body.decode("utf-8")
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise _NoStatement("the reply is not JSON", code) from None
    if not isinstance(document, dict) or not isinstance(document.get("page"), dict):
        raise _NoStatement('the reply is JSON, but no status page\'s: it has no "page"', code)
    return text


def _retry_after_s(reply: aiohttp.ClientResponse, clock: Clock) -> int:
    """Read Retry-After (RFC 9110 section 10.2.3), bounded; 0 if there is none that makes sense."""
    text = reply.headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:10]), RETRY_AFTER_S_MAX)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return 0
    now = datetime.fromtimestamp(clock.now_us() // SECOND_US, UTC)
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return max(0, min(int((aware - now).total_seconds()), RETRY_AFTER_S_MAX))


def _words(error: Exception) -> str:
    """Say what an error of the connection means, in one line."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the page's certificate is not accepted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the page's name was not found: {error.os_error.strerror}"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return f"no connection: {os.strerror(number) if number else error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without a reply"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
