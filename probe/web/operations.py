"""What the API can do, as data: the routes and the OpenAPI document are both made from one table of `Operation`s."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from aiohttp import ETag
from pydantic import BaseModel

from probe.web.problem import ApiProblem
from probe.web.schemas import NoQuery

PREFIX: Final = "/api/v1"
ETAG_CHARACTERS: Final = 32  # 128 bits of a SHA-256
STALE = "What you saw has changed since: read it again, and decide anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that is well formed and allowed. `actor` is whose token it came with, "" for nobody's."""

    actor: str = ""
    path: Mapping[str, str] = field(default_factory=dict)
    query: Any = None
    body: Any = None
    if_match: tuple[ETag, ...] | None = None

    def check_match(self, etag: str) -> None:
        """Refuse to change what is no longer as the client saw it.

        Raises:
            ApiProblem: If the request names other states than this one.
        """
        if self.if_match is None or any(tag.value in ("*", etag) and not tag.is_weak for tag in self.if_match):
            return
        raise ApiProblem(HTTPStatus.PRECONDITION_FAILED, STALE, {"ETag": f'"{etag}"'})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an operation answers."""

    body: Mapping[str, Any]
    etag: str = ""
    location: str = ""
    pages: Mapping[str, str] = field(default_factory=dict)  # the same in other forms, by media type


Answer = Callable[[Asked], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One thing that the API can do. `path` stands behind the prefix, its parameters in braces."""

    name: str
    method: str
    path: str
    summary: str
    response: type[BaseModel]
    answer: Answer
    query: type[BaseModel] = NoQuery
    request: type[BaseModel] | None = None
    is_writing: bool = False
    has_etag: bool = False
    page_types: tuple[str, ...] = ()  # in what forms besides JSON it answers
    is_cacheable: bool = True  # whether the same ETag means the very same body
    takes_match: bool = False
    needs_match: bool = False
    status: HTTPStatus = HTTPStatus.OK
    problems: tuple[HTTPStatus, ...] = ()

    @property
    def parameters(self) -> tuple[str, ...]:
        """Name the parameters of the path."""
        return tuple(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    @property
    def statuses(self) -> tuple[HTTPStatus, ...]:
        """List the problems that it may answer with, in order."""
        found = {
            *self.problems,
            HTTPStatus.BAD_REQUEST,
            HTTPStatus.UNAUTHORIZED,
            HTTPStatus.FORBIDDEN,
            HTTPStatus.UNPROCESSABLE_ENTITY,
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.INTERNAL_SERVER_ERROR,
            HTTPStatus.SERVICE_UNAVAILABLE,
        }
        if self.request is not None:
            found |= {
                HTTPStatus.REQUEST_TIMEOUT,
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            }
        if self.takes_match or self.needs_match:
            found.add(HTTPStatus.PRECONDITION_FAILED)
        if self.needs_match:
            found.add(HTTPStatus.PRECONDITION_REQUIRED)
        if self.parameters:
            found.add(HTTPStatus.NOT_FOUND)
        return tuple(sorted(found))


def etag_of(body: Any) -> str:
    """Name a state: the same state has the same name, whenever and by whomever it is read."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:ETAG_CHARACTERS]
