"""The documented words of the provider: success and error bodies of the API, and SMTP replies."""

import json
from functools import lru_cache
from http import HTTPStatus
from typing import Any

SMTP_NAME = "smtp.sparkpostmail.com"
_HEADS_KEPT_MAX = 256
MESSAGE_BYTES_MAX = 20 * 1024 * 1024

# The documented error body for a status, used where a scenario gives none (extended error codes; a 503 of the
# authorization tier has a message and no code).
ERRORS: dict[int, tuple[str, str]] = {
    400: ("Server resources unavailable", "1502"),
    401: ("Unauthorized.", ""),
    403: ("Forbidden.", "1100"),
    404: ("Resource could not be found", "1600"),
    405: ("Method not allowed", "1102"),
    409: ("Resource conflict", "1602"),
    413: ("Request entity too large", "10001"),
    415: ("Unsupported content type", "1700"),
    420: ("Exceed Sending Limit (hourly)", "2101"),
    422: ("invalid data format/type", "1300"),
    429: ("Too many requests", ""),
    500: ("Database read failed", "1501"),
    502: ("Bad gateway", ""),
    503: ("Unable to contact authorization service.", ""),
    504: ("Gateway timeout", ""),
}
# Statuses that the provider documents and http.HTTPStatus does not know.
REASONS = {420: "Enhance Your Calm"}


def reason(status: int) -> str:
    """Return the reason phrase for a status."""
    if status in REASONS:
        return REASONS[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def error_body(message: str, code: str = "", description: str = "") -> bytes:
    """Return an error body in the documented shape."""
    error: dict[str, str] = {"message": message}
    if description:
        error["description"] = description
    if code:
        error["code"] = code
    return json.dumps({"errors": [error]}).encode()


def documented_body(status: int) -> bytes:
    """Return what the provider documents for a status."""
    if 200 <= status < 300:
        return success_body("11668787484950529", 1)
    message, code = ERRORS.get(status, (reason(status), ""))
    return error_body(message, code)


def success_body(transmission: str, recipients: int) -> bytes:
    """Return the documented body of an accepted transmission."""
    return (
        f'{{"results":{{"total_rejected_recipients":0,"total_accepted_recipients":{recipients},"id":"{transmission}"}}}}'
    ).encode()


def html_page(status: int) -> bytes:
    """Return the page that an openresty front answers with."""
    title = f"{status} {reason(status)}"
    return (
        f'<html>\r\n<head><title>{title}</title></head>\r\n<body bgcolor="white">\r\n<center><h1>{title}</h1></center>'
        "\r\n<hr><center>openresty/1.9.15.1</center>\r\n</body>\r\n</html>\r\n"
    ).encode()


def http_reply(
    status: int,
    body: bytes,
    *,
    content_type: str = "application/json",
    server: str = "msys-http",
    headers: tuple[tuple[str, str], ...] = (),
    close: bool = False,
) -> tuple[bytes, bytes]:
    """Return the head and the body of an HTTP/1.1 reply as they go on the wire."""
    return _head(status, len(body), content_type, server, headers, close), body


@lru_cache(maxsize=_HEADS_KEPT_MAX)
def _head(
    status: int, length: int, content_type: str, server: str, headers: tuple[tuple[str, str], ...], close: bool
) -> bytes:
    more = "".join(f"{name}: {value}\r\n" for name, value in headers)
    kept = "close" if close else "keep-alive"
    head = (
        f"HTTP/1.1 {status} {reason(status)}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n"
        f"Connection: {kept}\r\nServer: {server}\r\n{more}\r\n"
    )
    return head.encode("latin-1", "replace")


def http_page(
    status: int, body: bytes, *, headers: tuple[tuple[str, str], ...] = (), close: bool = False
) -> tuple[bytes, bytes]:
    """Return an HTML reply of the openresty front."""
    return http_reply(status, body, content_type="text/html", server="openresty/1.9.15.1", headers=headers, close=close)


def json_object(data: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None for anything else."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
