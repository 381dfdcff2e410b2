"""The HTTP listener: metrics, health, readiness, reload and status.

It knows nothing of what it serves: all of that comes by constructor, as plain functions. It keeps limits on everything
that a client decides: connections, requests at once, sizes, and the time for each.

There is no login. By default it listens on loopback; there, a request that changes something must come to a loopback
name, so that no web page can reach it by a name of its own that it lets point here (DNS rebinding).
"""

import asyncio
import errno
import ipaddress
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any, NoReturn
from urllib.parse import urlsplit

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

Report = tuple[bool, str]  # whether it is well, and one line that says why or why not
Render = Callable[[str, str], Awaitable[tuple[str, str, bytes]]]

CONNECTIONS_MAX = 64
UNHEARD_MAX = 256  # connections without a request within FIRST_REQUEST_S_MAX, closed ones included
REQUESTS_MAX = 16
REQUEST_BODY_BYTES_MAX = 4096
HEADER_BYTES_MAX = 8190
HEADERS_MAX = 64
REQUEST_S_MAX = 30.0
FIRST_REQUEST_S_MAX = 10.0
KEPT_IDLE_S_MAX = 75.0
SHUTDOWN_S_MAX = 1.0
LINGERING_S_MAX = 1.0
WRITE_BYTES_A_TURN = 64 * 1024
RETRY_AFTER_S = 1

STATUS_PATH = "/api/v1/status"
INDEX = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>sev1probe</title>
<h1>sev1probe</h1>
<ul>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
<li><a href="{STATUS_PATH}">{STATUS_PATH}</a>: what the daemon sees now, as JSON</li>
<li><a href="/-/healthy">/-/healthy</a>: whether it does its work</li>
<li><a href="/-/ready">/-/ready</a>: whether it has begun to</li>
<li>/-/reload: POST to read the settings again</li>
</ul>
</html>
"""
_HEADERS = {
    "Server": "sev1probe",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

_BEGUN = web.RequestKey("begun", bool)

log = structlog.get_logger(__name__)


class ListenerError(Exception):
    """The listener cannot listen; the message is one sentence for the operator."""


class Listener:
    """Serves HTTP on one address until it is stopped."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 9747,
        render: Render,
        healthy: Callable[[], Report],
        ready: Callable[[], Report],
        reload: Callable[[], Awaitable[Report]],
        status: Callable[[], Mapping[str, Any]],
        request_s_max: float = REQUEST_S_MAX,
        first_request_s_max: float = FIRST_REQUEST_S_MAX,
    ) -> None:
        self._host = host
        self._port = port
        self._render = render
        self._healthy = healthy
        self._ready = ready
        self._reload = reload
        self._status = status
        self._request_s_max = request_s_max
        self._first_request_s_max = first_request_s_max
        self._requests = 0
        self._unheard: dict[web.RequestHandler, asyncio.TimerHandle] = {}
        self._server: asyncio.Server | None = None
        self._runner = web.AppRunner(
            self._application(),
            handle_signals=False,
            access_log=None,
            keepalive_timeout=KEPT_IDLE_S_MAX,
            shutdown_timeout=SHUTDOWN_S_MAX,
            lingering_time=LINGERING_S_MAX,
            max_line_size=HEADER_BYTES_MAX,
            max_field_size=HEADER_BYTES_MAX,
            max_headers=HEADERS_MAX,
        )

    @property
    def address(self) -> str:
        """Give the address as it stands in a URL, with the port that the system chose if 0 was asked for."""
        assert self._server is not None
        host, port = self._server.sockets[0].getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            ListenerError: If the address cannot be listened on.
        """
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(self._accept, self._host, self._port, backlog=CONNECTIONS_MAX)
        except (OSError, OverflowError, UnicodeError) as error:
            await self._runner.cleanup()
            raise ListenerError(_why_not(self._host, self._port, error)) from error

    async def stop(self) -> None:
        """Listen no more, let running requests end for a moment, and close what is left."""
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()
        for timer in self._unheard.values():
            timer.cancel()
        self._unheard.clear()

    def _accept(self) -> asyncio.Protocol:
        """Make what serves one new connection."""
        server = self._runner.server
        if server is None or len(server.connections) >= CONNECTIONS_MAX or len(self._unheard) >= UNHEARD_MAX:
            return _Turned()
        protocol = server()
        loop = asyncio.get_running_loop()
        self._unheard[protocol] = loop.call_later(self._first_request_s_max, self._close_silent, protocol)
        return protocol

    def _close_silent(self, protocol: web.RequestHandler) -> None:
        """Close a connection that has not made one whole request in its time; aiohttp would wait for ever."""
        del self._unheard[protocol]
        protocol.force_close()

    def _hear(self, protocol: web.RequestHandler) -> None:
        """Let a connection be, now that it made a request; from here on aiohttp's own limit on idling holds."""
        timer = self._unheard.pop(protocol, None)
        if timer is not None:
            timer.cancel()

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=REQUEST_BODY_BYTES_MAX, middlewares=[self._guard])
        application.router.add_get("/", self._get_index, allow_head=False)
        application.router.add_get("/metrics", self._get_metrics, allow_head=False)
        application.router.add_get("/-/healthy", self._get_healthy)
        application.router.add_get("/-/ready", self._get_ready)
        application.router.add_post("/-/reload", self._post_reload)
        application.router.add_get(STATUS_PATH, self._get_status, allow_head=False)
        application.on_response_prepare.append(_add_headers)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keep the limits, and give every error as JSON."""
        self._hear(request.protocol)
        if self._requests >= REQUESTS_MAX:
            response = _error(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once; try again in a second")
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
            return response
        self._requests += 1
        try:
            async with asyncio.timeout(self._request_s_max):
                self._check_sender(request)
                return await handler(request)
        except web.HTTPException as error:
            response = _error(error.status, (error.text or error.reason).removeprefix(f"{error.status}: "))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
            return response
        except TimeoutError:
            if _BEGUN in request:  # half of an answer is on its way, and nothing can follow it
                request.protocol.force_close()
                raise ConnectionResetError from None
            return _error(HTTPStatus.SERVICE_UNAVAILABLE, f"not done within {self._request_s_max:g} s")
        except ConnectionError:
            raise  # The client went away, so there is nobody to answer.
        except Exception:
            log.exception("web.request_failed", method=request.method, path=request.path)
            return _error(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; the log has the traceback")
        finally:
            self._requests -= 1

    def _check_sender(self, request: web.Request) -> None:
        """Refuse to change anything at the wish of a web page."""
        if request.method in ("GET", "HEAD"):
            return
        if self._is_loopback() and not is_loopback(host_of(request.host)):
            _refuse("the Host header must name a loopback address")
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            _refuse("requests from web pages of other origins are refused")

    def _is_loopback(self) -> bool:
        assert self._server is not None
        return all(is_loopback(str(socket.getsockname()[0])) for socket in self._server.sockets)

    async def _get_index(self, _request: web.Request) -> web.Response:
        return web.Response(text=INDEX, content_type="text/html")

    async def _get_metrics(self, request: web.Request) -> web.StreamResponse:
        accept = ",".join(request.headers.getall("Accept", ()))
        encodings = ",".join(request.headers.getall("Accept-Encoding", ()))
        content_type, encoding, body = await self._render(accept, encodings)
        headers = {"Content-Type": content_type, "Vary": "Accept, Accept-Encoding"}
        if encoding:
            headers["Content-Encoding"] = encoding
        response = web.StreamResponse(headers=headers)
        response.content_length = len(body)
        await response.prepare(request)
        for first in range(0, len(body), WRITE_BYTES_A_TURN):
            await response.write(body[first : first + WRITE_BYTES_A_TURN])
            await asyncio.sleep(0)
        await response.write_eof()
        return response

    async def _get_healthy(self, _request: web.Request) -> web.Response:
        return _report(self._healthy(), HTTPStatus.SERVICE_UNAVAILABLE)

    async def _get_ready(self, _request: web.Request) -> web.Response:
        return _report(self._ready(), HTTPStatus.SERVICE_UNAVAILABLE)

    async def _post_reload(self, _request: web.Request) -> web.Response:
        # A client that goes away must not leave the settings half changed.
        return _report(await asyncio.shield(self._reload()), HTTPStatus.BAD_REQUEST)

    async def _get_status(self, _request: web.Request) -> web.Response:
        return web.json_response(dict(self._status()))


class _Turned(asyncio.Protocol):
    """A connection too many: told so and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        body = json.dumps({"error": "too many connections"}).encode()
        head = (
            "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
            f"Retry-After: {RETRY_AFTER_S}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        transport.write(head.encode() + body)
        transport.close()


def host_of(host_header: str) -> str:
    """Take the port and an IPv6 address's brackets off a Host header."""
    if host_header.startswith("["):
        return host_header[1:].partition("]")[0]
    return host_header.partition(":")[0]


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    request[_BEGUN] = True
    response.headers.update(_HEADERS)


def _error(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)


def _report(report: Report, otherwise: HTTPStatus) -> web.Response:
    well, sentence = report
    line = " ".join(sentence.split())
    return web.Response(text=f"{line}\n") if well else _plain_refusal(line, otherwise)


def _plain_refusal(line: str, status: HTTPStatus) -> web.Response:
    if status is HTTPStatus.BAD_REQUEST:
        return _error(status, line)
    return web.Response(text=f"{line}\n", status=status)


def _refuse(sentence: str) -> NoReturn:
    raise web.HTTPForbidden(text=sentence)


def _why_not(host: str, port: int, error: Exception) -> str:
    """Say in one sentence why the address cannot be had, and what to do about it."""
    wanted = f"The listener cannot use {host} port {port}"
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EADDRINUSE:
        return f"{wanted}: another program listens there; stop that one or set another listener.port."
    if code == errno.EACCES:
        return f"{wanted}: this user may not listen on so low a port; set listener.port to 1024 or more."
    # From Python 3.13 on asyncio passes over addresses that the host does not have, and says so without a number.
    if code == errno.EADDRNOTAVAIL or "could not bind on any address" in str(error):
        return f"{wanted}: this host does not have that address; mend listener.host."
    reason = os.strerror(code) if code is not None and code > 0 else str(error)
    return f"{wanted}: {reason}; mend listener.host or listener.port."
