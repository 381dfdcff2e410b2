"""The API: who may ask, what is asked, and the answer. The operations themselves are given as a table."""

import math
import re
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Final

from aiohttp import ETag, web

from probe.version import VERSION
from probe.web.body import checked, query_of, read_body
from probe.web.limits import (
    ADDRESS_REQUESTS_AT_ONCE,
    ADDRESS_REQUESTS_PER_S,
    TOKEN_REQUESTS_AT_ONCE,
    TOKEN_REQUESTS_PER_S,
    Buckets,
    client_of,
)
from probe.web.openapi import document
from probe.web.operations import PREFIX, Asked, Operation, Reply
from probe.web.problem import ApiProblem, Unavailable
from probe.web.schemas import PATH_PATTERNS, OpenApi
from probe.web.tokens import TokenBook

JSON: Final = "application/json"
# A page has its style within it, and nothing else that a browser would run or load.
PAGE_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"
TOKEN_CHARACTERS_MAX: Final = 200
CHALLENGE: Final = {"WWW-Authenticate": 'Bearer realm="sev1probe"'}
_BEARER: Final = re.compile(r"(?i:bearer) +([A-Za-z0-9._~+/-]+=*) *")  # RFC 6750 section 2.1

_ETAG: Final = r'(?:W/)?"[!#-~]{0,64}"'
_ETAGS: Final = re.compile(rf"\*|{_ETAG}(?:[ \t]*,[ \t]*{_ETAG}){{0,9}}")  # RFC 9110 section 13.1.1


class Api:
    """Serves a table of operations under /api/v1."""

    def __init__(
        self,
        operations: Sequence[Operation],
        *,
        tokens: TokenBook | None = None,
        open_reading: bool = False,
        by_address: Buckets | None = None,
        by_token: Buckets | None = None,
    ) -> None:
        self._operations = (*operations, self._own_description())
        self._tokens = tokens
        self._open_reading = open_reading
        if by_address is None:
            by_address = Buckets(per_s=ADDRESS_REQUESTS_PER_S, at_once=ADDRESS_REQUESTS_AT_ONCE)
        if by_token is None:
            by_token = Buckets(per_s=TOKEN_REQUESTS_PER_S, at_once=TOKEN_REQUESTS_AT_ONCE)
        self._by_address, self._by_token = by_address, by_token
        self._is_loopback: Callable[[], bool] = lambda: True
        self._document: dict[str, Any] = {}

    def register(self, router: web.UrlDispatcher, is_loopback: Callable[[], bool]) -> None:
        """Add the routes; `is_loopback` says, once the listener listens, whether only this host can reach it."""
        self._is_loopback = is_loopback
        for operation in self._operations:
            router.add_route(operation.method, PREFIX + operation.path, self._handler(operation))

    async def authenticate(self, request: web.Request) -> str:
        """Name whose token a request brings, "" where it brings none.

        Raises:
            ApiProblem: If it brings something else, or too many requests came with the same.
        """
        presented = request.headers.getall("Authorization", [])
        if not presented:
            return ""
        found = _BEARER.fullmatch(presented[0]) if len(presented) == 1 else None
        if found is None or len(found[1]) > TOKEN_CHARACTERS_MAX:
            raise ApiProblem(HTTPStatus.UNAUTHORIZED, "Send one header Authorization: Bearer TOKEN.", CHALLENGE)
        if not request.secure and not self._is_loopback():
            raise ApiProblem(HTTPStatus.FORBIDDEN, "Tokens are taken over TLS only; consider this one as lost.")
        holder = None if self._tokens is None else await self._tokens.holder_of(found[1])
        if holder is None:
            raise ApiProblem(HTTPStatus.UNAUTHORIZED, "This token is not known, or was revoked.", CHALLENGE)
        _check_rate(self._by_token.wait_s(holder), "with this token")
        return holder

    async def admit(self, request: web.Request, *, is_writing: bool) -> str:
        """Name the actor of a request that may be done, "" for an open reading.

        Raises:
            ApiProblem: If it may not be done.
        """
        _check_rate(self._by_address.wait_s(client_of(request.remote)), "from your address")
        actor = await self.authenticate(request)
        if actor or (not is_writing and self._is_reading_open()):
            return actor
        if self._tokens is None:
            raise ApiProblem(
                HTTPStatus.FORBIDDEN, "This needs a token, and the settings name no listener.tokens_file to hold any."
            )
        raise ApiProblem(HTTPStatus.UNAUTHORIZED, "This needs a token: send Authorization: Bearer TOKEN.", CHALLENGE)

    def _is_reading_open(self) -> bool:
        return self._open_reading or self._is_loopback()

    def _own_description(self) -> Operation:
        return Operation(
            name="describe",
            method="GET",
            path="/openapi.json",
            summary="This document.",
            response=OpenApi,
            answer=self._describe,
        )

    async def _describe(self, _asked: Asked) -> Reply:
        if not self._document:
            self._document = document(self._operations, version=VERSION, is_reading_open=self._is_reading_open())
        return Reply(body=self._document)

    def _handler(self, operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            actor = await self.admit(request, is_writing=operation.is_writing)
            asked = await _asked(operation, request, actor)
            try:
                reply = await operation.answer(asked)
            except Unavailable as error:
                raise ApiProblem(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}", {"Retry-After": "1"}) from error
            return _response(operation, request, reply)

        return handle


def _check_rate(wait_s: float, of_whom: str) -> None:
    if wait_s:
        seconds = max(1, math.ceil(wait_s))
        raise ApiProblem(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"Too many requests came {of_whom}; wait {seconds} s.",
            {"Retry-After": str(seconds)},
        )


async def _asked(operation: Operation, request: web.Request, actor: str) -> Asked:
    """Read all that a request says; the cheap first."""
    path = {name: request.match_info[name] for name in operation.parameters}
    for name, value in path.items():
        if re.fullmatch(PATH_PATTERNS[name], value) is None:
            raise ApiProblem(HTTPStatus.NOT_FOUND, f"There is no such {name}.")
    query = checked(operation.query, query_of(request))
    if_match = _if_match(request)
    if operation.needs_match and if_match is None:
        sentence = "Send If-Match with the ETag of what you read, so that nobody undoes what he has not seen."
        raise ApiProblem(HTTPStatus.PRECONDITION_REQUIRED, sentence)
    body = None if operation.request is None else await read_body(request, operation.request)
    return Asked(actor=actor, path=path, query=query, body=body, if_match=if_match)


def _if_match(request: web.Request) -> tuple[ETag, ...] | None:
    """Read If-Match; aiohttp takes an empty one for none, and passes over what it can't read behind the first."""
    lines = request.headers.getall("If-Match", [])
    if not lines:
        return None
    if len(lines) > 1 or _ETAGS.fullmatch(lines[0]) is None:
        raise ApiProblem(HTTPStatus.BAD_REQUEST, 'If-Match must be * or ETags in double quotes, such as "0123abcd".')
    return request.if_match


def _response(operation: Operation, request: web.Request, reply: Reply) -> web.Response:
    headers = {"ETag": f'"{reply.etag}"'} if reply.etag else {}
    if reply.location:
        headers["Location"] = reply.location
    is_known = any(tag.value in ("*", reply.etag) for tag in request.if_none_match or ())
    if reply.etag and operation.method == "GET" and operation.is_cacheable and is_known:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    if operation.page_types:
        headers["Vary"] = "Accept"
        if (wanted := _page_type(request.headers.get("Accept", ""), operation.page_types)) is not None:
            headers["Content-Security-Policy"] = PAGE_POLICY
            return web.Response(text=reply.pages[wanted], content_type=wanted, charset="utf-8", headers=headers)
    return web.json_response(reply.body, status=operation.status, headers=headers)


def _page_type(accept: str, offered: tuple[str, ...]) -> str | None:
    """Choose among JSON and the other forms the one that is named first, as browsers do with HTML; None for JSON."""
    named = (part.partition(";")[0].strip().lower() for part in accept.split(","))
    found = next((one for one in named if one == JSON or one in offered), JSON)
    return None if found == JSON else found
