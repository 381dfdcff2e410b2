"""One POST over a connection of its own, and what its answer means."""

import os
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp.resolver import AsyncResolver

from probe.notify.charge import CourierCharge
from probe.notify.courier import CourierError, Refused
from probe.version import VERSION

RESOLVER_TIMEOUT_S: Final = 2.0
RESOLVER_TRIES: Final = 2
# Answers that speak of the notice itself. All others may change: somebody mends a key, a path or the server.
_ABOUT_THE_NOTICE: Final = frozenset({400, 413, 415, 422})


class Post:
    """Sends bodies to the address of one courier. A redirect is not followed: it could lead the secret elsewhere."""

    def __init__(self, charge: CourierCharge, path: str = "") -> None:
        self._url = charge.url.get_secret_value().rstrip("/") + path if path else charge.url.get_secret_value()
        self._headers = {"User-Agent": f"sev1probe/{VERSION}", **dict(charge.headers)}
        self._tls = charge.tls
        self._session: aiohttp.ClientSession | None = None

    async def send(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Send one body; return once the receiver says that it has it.

        Raises:
            Refused: If the receiver says that it won't take this one.
            CourierError: If it is not known to have it.
        """
        session = self._session = self._session or self._new_session()
        try:
            async with session.post(
                self._url, data=body, headers={**self._headers, **headers}, allow_redirects=False
            ) as answer:
                status = answer.status
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Without its cause: a traceback of that one would show the address.
            raise CourierError(_words(error)) from None
        if status in _ABOUT_THE_NOTICE:
            raise Refused(f"the receiver refuses it: HTTP {status}")
        if not 200 <= status < 300:
            raise CourierError(f"the receiver answers HTTP {status}")

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _new_session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            # Look-ups of its own, without a thread: a silent resolver holds up this courier and nothing else.
            resolver=AsyncResolver(timeout=RESOLVER_TIMEOUT_S, tries=RESOLVER_TRIES),
            ssl=self._tls if self._tls is not None else True,
            limit=1,
            force_close=True,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=False,
        )


def _words(error: Exception) -> str:
    """Say what an error of the connection means, without the address, in which a secret may stand."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            return "the receiver's certificate is not accepted"
        case aiohttp.ClientConnectorDNSError():
            return "the receiver's name was not found"
        case aiohttp.ClientConnectorError():
            number = error.os_error.errno
            return f"no connection: {os.strerror(number) if number else type(error.os_error).__name__}"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without an answer"
    return f"no answer: {type(error).__name__}"
