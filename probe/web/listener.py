"""The HTTP listener: metrics, health, readiness, reload, and the API.

It knows nothing of what it serves: all of that comes by constructor, as plain functions. It keeps limits on everything
that a client decides: connections, requests at once, sizes, and the time for each.

By default it listens on loopback; there, a reload needs no token but must come to a loopback name, so that no web page
can reach it by a name of its own that it lets point here (DNS rebinding). Off loopback it needs a token. What the API
lets whom do stands in `probe.web.api`.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, NoReturn

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from probe.web.api import Api
from probe.web.body import BODY_BYTES_MAX
from probe.web.operations import PREFIX
from probe.web.place import RETRY_AFTER_S, ListenerError, Turned, host_of, is_loopback, origin_host, why_not
from probe.web.problem import ApiProblem, problem_response

Report = tuple[bool, str]  # whether it is well, and one line that says why or why not
Render = Callable[[str, str], Awaitable[tuple[str, str, bytes]]]

CONNECTIONS_MAX = 64
UNHEARD_MAX = 256  # connections without a request within FIRST_REQUEST_S_MAX, closed ones included
REQUESTS_MAX = 16
HEADER_BYTES_MAX = 8190
HEADERS_MAX = 64
REQUEST_S_MAX = 30.0
FIRST_REQUEST_S_MAX = 10.0
KEPT_IDLE_S_MAX = 75.0
SHUTDOWN_S_MAX = 1.0
LINGERING_S_MAX = 1.0
WRITE_BYTES_A_TURN = 64 * 1024

STATUS_PATH: Final = f"{PREFIX}/status"
DOCUMENT_PATH: Final = f"{PREFIX}/openapi.json"
INDEX = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>sev1probe</title>
<h1>sev1probe</h1>
<ul>
<li><a href="/metrics">/metrics</a>: for Prometheus</li>
<li><a href="{STATUS_PATH}">{STATUS_PATH}</a>: what the daemon sees now, as JSON</li>
<li><a href="{DOCUMENT_PATH}">{DOCUMENT_PATH}</a>: what else can be read and written, as OpenAPI</li>
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
}
POLICY = "default-src 'none'; frame-ancestors 'none'"  # of all but pages that bring their own

_BEGUN = web.RequestKey("begun", bool)

log = structlog.get_logger(__name__)


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
        api: Api,
        tls: ssl.SSLContext | None = None,
        request_s_max: float = REQUEST_S_MAX,
        first_request_s_max: float = FIRST_REQUEST_S_MAX,
    ) -> None:
        self._host = host
        self._port = port
        self._render = render
        self._healthy = healthy
        self._ready = ready
        self._reload = reload
        self._api = api
        self._tls = tls
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
    def url(self) -> str:
        """Give the URL of the index, with the port that the system chose if 0 was asked for."""
        return f"{'http' if self._tls is None else 'https'}://{self.address}/"

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
            self._server = await loop.create_server(
                self._accept,
                self._host,
                self._port,
                backlog=CONNECTIONS_MAX,
                ssl=self._tls,
                ssl_handshake_timeout=None if self._tls is None else self._first_request_s_max,
                ssl_shutdown_timeout=None if self._tls is None else SHUTDOWN_S_MAX,
            )
        except (OSError, OverflowError, UnicodeError) as error:
            await self._runner.cleanup()
            raise ListenerError(why_not(self._host, self._port, error)) from error

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
            return Turned()
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
        application = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[self._guard])
        application.router.add_get("/", self._get_index, allow_head=False)
        application.router.add_get("/metrics", self._get_metrics, allow_head=False)
        application.router.add_get("/-/healthy", self._get_healthy)
        application.router.add_get("/-/ready", self._get_ready)
        application.router.add_post("/-/reload", self._post_reload)
        self._api.register(application.router, self._is_loopback)
        application.on_response_prepare.append(_add_headers)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keep the limits, and give every error as JSON."""
        self._hear(request.protocol)
        if self._requests >= REQUESTS_MAX:
            retry = {"Retry-After": str(RETRY_AFTER_S)}
            return _error(
                request, HTTPStatus.SERVICE_UNAVAILABLE, "too many requests at once; try again in a second", retry
            )
        self._requests += 1
        try:
            async with asyncio.timeout(self._request_s_max):
                await self._check_sender(request)
                return await handler(request)
        except ApiProblem as problem:
            return _error(request, problem.status, problem.detail, problem.headers)
        except web.HTTPException as error:
            return _error_of(request, error)
        except TimeoutError:
            if _BEGUN in request:  # half of an answer is on its way, and nothing can follow it
                request.protocol.force_close()
                raise ConnectionResetError from None
            return _error(request, HTTPStatus.SERVICE_UNAVAILABLE, f"not done within {self._request_s_max:g} s")
        except ConnectionError:
            raise  # The client went away, so there is nobody to answer.
        except Exception:
            log.exception("web.request_failed", method=request.method, path=request.path)
            return _error(request, HTTPStatus.INTERNAL_SERVER_ERROR, "internal error; the log has the traceback")
        finally:
            self._requests -= 1

    async def _check_sender(self, request: web.Request) -> None:
        """Refuse to change anything at the wish of a web page, or of somebody on the network without a token."""
        if request.method in ("GET", "HEAD"):
            return
        origin = request.headers.get("Origin")
        if origin is not None and origin_host(origin) != request.host:
            _refuse("requests from web pages of other origins are refused")
        if _is_of_api(request):
            return  # All that changes something there needs a token, which no browser sends by itself.
        if not self._is_loopback():
            await self._api.admit(request, is_writing=True)
        elif not is_loopback(host_of(request.host)):
            _refuse("the Host header must name a loopback address")

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


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    request[_BEGUN] = True
    response.headers.update(_HEADERS)
    response.headers.setdefault("Content-Security-Policy", POLICY)


def _is_of_api(request: web.Request) -> bool:
    return request.path == PREFIX or request.path.startswith(f"{PREFIX}/")


def _error(request: web.Request, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> web.Response:
    if _is_of_api(request):
        return problem_response(status, sentence, headers)
    return web.json_response({"error": sentence}, status=status, headers=headers)


def _error_of(request: web.Request, error: web.HTTPException) -> web.Response:
    """Write what aiohttp refused; its own words are no more than the name of the status."""
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    said = (error.text or error.reason).removeprefix(f"{error.status}: ")
    return _error(request, error.status, "" if said == error.reason and _is_of_api(request) else said, headers)


def _report(report: Report, otherwise: HTTPStatus) -> web.Response:
    well, sentence = report
    line = " ".join(sentence.split())
    return web.Response(text=f"{line}\n") if well else _plain_refusal(line, otherwise)


def _plain_refusal(line: str, status: HTTPStatus) -> web.Response:
    if status is HTTPStatus.BAD_REQUEST:
        return web.json_response({"error": line}, status=status)
    return web.Response(text=f"{line}\n", status=status)


def _refuse(sentence: str) -> NoReturn:
    raise web.HTTPForbidden(text=sentence)
