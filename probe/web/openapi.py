"""The OpenAPI 3.1 document, made from the very table that the routes are made from."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from probe.web.operations import PREFIX, Operation
from probe.web.problem import CONTENT_TYPE
from probe.web.schemas import PATH_PATTERNS, Problem

OPENAPI_VERSION: Final = "3.1.0"
_SCHEMA: Final = "#/components/schemas/{model}"
_RETRY_AFTER: Final = {
    "description": "Seconds to wait before the next request.",
    "schema": {"type": "integer", "minimum": 1},
}
_ETAG: Final = {"description": "Names the state that was read.", "schema": {"type": "string"}}
_HEADERS: Final[dict[int, dict[str, Any]]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    HTTPStatus.PRECONDITION_FAILED: {"ETag": _ETAG},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": _RETRY_AFTER},
}


def document(operations: Sequence[Operation], *, version: str, is_reading_open: bool) -> dict[str, Any]:
    """Describe the operations."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        described = _operation(operation, is_reading_open=is_reading_open)
        paths.setdefault(PREFIX + operation.path, {})[operation.method.lower()] = described
    return {
        "openapi": OPENAPI_VERSION,
        "info": {
            "title": "sev1probe",
            "version": version,
            "description": (
                "What the daemon sees and what people add to the record. Within v1 fields of answers may be added and "
                "none changes its name or meaning."
            ),
        },
        "paths": paths,
        "components": {
            "schemas": _schemas(operations),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Made by `sev1probe token create`."}
            },
        },
    }


def _operation(operation: Operation, *, is_reading_open: bool) -> dict[str, Any]:
    needed: list[dict[str, list[str]]] = [{"token": []}]
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "security": needed if operation.is_writing or not is_reading_open else [{}, *needed],
        "responses": _responses(operation),
    }
    if parameters := list(_parameters(operation)):
        described["parameters"] = parameters
    if operation.request is not None:
        described["requestBody"] = {"required": True, "content": _content("application/json", operation.request)}
    return described


def _parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in operation.parameters:
        schema = {"type": "string", "pattern": PATH_PATTERNS[name]}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    plain = operation.query.model_json_schema()
    for name, schema in plain.get("properties", {}).items():
        description = schema.pop("description", "")
        yield {"name": name, "in": "query", "required": False, "description": description, "schema": _no_null(schema)}
    if operation.takes_match or operation.needs_match:
        yield {
            "name": "If-Match",
            "in": "header",
            "required": operation.needs_match,
            "description": "The ETag of what was read: if that has changed since, nothing is done.",
            "schema": {"type": "string", "pattern": '^(\\*|"[0-9a-f]{1,32}")$'},
        }


def _no_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a parameter that may be left out: in a query there is no null."""
    if "anyOf" not in schema:
        return schema
    others = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return {**others, **next(one for one in schema["anyOf"] if one.get("type") != "null")}


def _responses(operation: Operation) -> dict[str, Any]:
    done: dict[str, Any] = {
        "description": operation.status.phrase,
        "content": _content("application/json", operation.response),
    }
    done["content"] |= {one: {"schema": {"type": "string"}} for one in operation.page_types}
    headers: dict[str, Any] = {}
    if operation.has_etag:
        headers["ETag"] = _ETAG
    if operation.status is HTTPStatus.CREATED:
        headers["Location"] = {"description": "Where it can be read.", "schema": {"type": "string"}}
    if headers:
        done["headers"] = headers
    responses = {str(int(operation.status)): done}
    if operation.has_etag and operation.is_cacheable and operation.method == "GET":
        responses["304"] = {"description": "It is as If-None-Match names it.", "headers": {"ETag": _ETAG}}
    for status in operation.statuses:
        problem: dict[str, Any] = {"description": status.phrase, "content": _content(CONTENT_TYPE, Problem)}
        if status in _HEADERS:
            problem["headers"] = _HEADERS[status]
        responses[str(int(status))] = problem
    return responses


def _content(content_type: str, model: type[BaseModel]) -> dict[str, Any]:
    return {content_type: {"schema": {"$ref": _SCHEMA.format(model=model.__name__)}}}


def _schemas(operations: Sequence[Operation]) -> dict[str, Any]:
    models: dict[type[BaseModel], Any] = {Problem: "serialization"}
    for operation in operations:
        models[operation.response] = "serialization"
        if operation.request is not None:
            models[operation.request] = "validation"
    _, plain = models_json_schema(list(models.items()), ref_template=_SCHEMA)
    schemas: dict[str, Any] = plain["$defs"]
    return schemas
