"""What a client sends, read with limits: bodies and queries into models."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, NoReturn, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from probe.web.problem import ApiProblem

BODY_BYTES_MAX: Final = 64 * 1024
BODY_S_MAX: Final = 10.0
M = TypeVar("M", bound=BaseModel)


async def read_body(request: web.Request, model: type[M]) -> M:
    """Read a JSON body.

    Raises:
        ApiProblem: If it is too large, too slow, of another type, no JSON, or not what is asked for.
    """
    if request.content_type != "application/json":
        raise ApiProblem(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must be JSON, with Content-Type: application/json."
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ApiProblem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body must not be compressed.")
    too_large = ApiProblem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        f"The body has more than {BODY_BYTES_MAX} bytes, which is the most.",
    )
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise too_large
    try:
        async with asyncio.timeout(BODY_S_MAX):
            raw = await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise too_large from error
    except TimeoutError:
        raise ApiProblem(HTTPStatus.REQUEST_TIMEOUT, f"The body did not come within {BODY_S_MAX:g} s.") from None
    return checked(model, _json(raw))


def checked(model: type[M], plain: object) -> M:
    """Make a model of what was sent.

    Raises:
        ApiProblem: If it is not what the model says; no value that was sent stands in the sentence.
    """
    try:
        return model.model_validate(plain)
    except ValidationError as error:
        first, *others = error.errors(include_url=False, include_context=False, include_input=False)
        # Of a field that takes one of several kinds the place has the library's name of the kind, too.
        parts = [part for part in map(str, first["loc"]) if "[" not in part]
        where = ".".join(parts) or "the body"
        more = f" ({len(others)} more like it)" if others else ""
        raise ApiProblem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}{more}.") from None


def query_of(request: web.Request) -> Mapping[str, str]:
    """Take the query apart.

    Raises:
        ApiProblem: If a name stands there twice.
    """
    if len(request.query) != len(set(request.query)):
        raise ApiProblem(HTTPStatus.UNPROCESSABLE_ENTITY, "The same name stands twice in the query.")
    return dict(request.query)


def _json(raw: bytes) -> object:
    try:
        plain: object = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_repeats)
    except (ValueError, RecursionError):
        raise ApiProblem(HTTPStatus.BAD_REQUEST, "The body is not JSON that everybody reads alike.") from None
    return plain


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _no_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a key twice: of two readers each might believe another of its values."""
    listed = list(pairs)
    found = dict(listed)
    if len(found) != len(listed):
        raise ValueError("a key twice")
    return found
