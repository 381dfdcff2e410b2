"""Errors of the API: problem details for HTTP (RFC 9457), one clear sentence each."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

CONTENT_TYPE: Final = "application/problem+json"
TYPE: Final = "about:blank"  # RFC 9457 section 4.2.1: the status says what kind it is, and the title is its phrase
DETAIL_CHARACTERS_MAX: Final = 1_000

# What most of them say where nothing more exact is known.
_SENTENCES: Final[Mapping[int, str]] = {
    HTTPStatus.NOT_FOUND: "There is nothing at this address; /api/v1/openapi.json lists what there is.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This address does not know that method; the Allow header lists those it does.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large.",
}

# The rest of the request is not read, so nothing that comes after it could be told from it.
_NOT_READ: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})


class ApiProblem(Exception):
    """The request can't be done; the status and the sentence go to the client."""

    def __init__(self, status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class Unavailable(Exception):
    """What the API asks can't answer now; str() is a sentence that may be shown."""


def problem_response(status: int, detail: str = "", headers: Mapping[str, str] | None = None) -> web.Response:
    """Write a problem."""
    phrase = HTTPStatus(status).phrase
    said = " ".join((detail or _SENTENCES.get(status, phrase)).split())[:DETAIL_CHARACTERS_MAX]
    body = {"type": TYPE, "title": phrase, "status": int(status), "detail": said}
    response = web.json_response(body, status=status, headers=dict(headers or {}), content_type=CONTENT_TYPE)
    if status in _NOT_READ:
        response.force_close()
    return response
