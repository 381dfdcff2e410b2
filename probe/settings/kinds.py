"""The kinds of field that settings are made of: how each is checked, written back, and described to an editor.

A check that fails raises `refuse(...)`, whose words become the second half of "found X, expected Y". The context given
to pydantic, if any, says that the values come from a YAML file: only there are plain numbers refused as durations, and
only there are relative paths moved to the file's folder.
"""

import ipaddress
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, SecretStr, WithJsonSchema
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ValidationInfo

from probe.settings.duration import DURATION_PATTERN, format_duration, parse_duration

PLACEHOLDERS = ("message_id", "target", "vantage", "second", "ordinal")
PLACEHOLDER_PATTERN = re.compile(r"(?<!\{)\{([A-Za-z_][A-Za-z0-9_]*)\}(?!\})")  # {{name}} is the provider's own syntax
REDACTED = "<redacted>"
NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
WORD_PATTERN = r"^[A-Za-z0-9]([A-Za-z0-9_-]{0,62}[A-Za-z0-9])?$"
VANTAGE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,62}$"
ADDRESS_LENGTH_MAX = 254  # RFC 5321 section 4.5.3.1.3, less the angle brackets
HEADER_VALUE_MAX = 8_000
LABEL_LENGTH_MAX = 200
BODY_DEPTH_MAX = 20
BODY_NUMBER_MAX = 2**63  # beyond this, readers of JSON disagree
LINE_LENGTH_MAX = 200  # of text that is said to people
PLAIN_NUMBER_MAX = 10**9  # the largest number of seconds that a mend is worked out for

_HOST = re.compile(r"(?=.{1,253}\.?$)([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+", re.ASCII)
_ADDRESS = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`|~-]{1,64}@([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?)+", re.ASCII
)
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}", re.ASCII)  # RFC 9110 section 5.6.2
_PHONE = re.compile(r"\+?[0-9(][0-9 ()./-]{3,38}[0-9)]( *(x|ext\.?) *[0-9]{1,8})?", re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+_.-]*://", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class FromFile:
    """The pydantic context of values that stand in a YAML file."""

    folder: Path


def refuse(expected: str, *, found: str = "", field: str = "") -> PydanticCustomError:
    """Make the error that says what was expected; `field` names a field below the one that was checked."""
    return PydanticCustomError(
        "settings", "expected {expected}", {"expected": expected, "found_text": found, "field": field}
    )


def refuse_all(refusals: Iterable[PydanticCustomError]) -> None:
    """Raise several refusals as one error, in which `report` finds each again."""
    several = [dict(refusal.context or {}) for refusal in refusals]
    if several:
        expected = "; ".join(context["expected"] for context in several)
        raise PydanticCustomError("settings", "expected {expected}", {"expected": expected, "several": several})


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine by its very name, without asking the name service."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _duration(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError:
            raise refuse("a duration such as 250ms, 10s, 5m or 1h30m") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refuse("a duration such as 250ms, 10s, 5m or 1h30m")
    if info.context is not None:
        mend = f": write {format_duration(value)}" if 0 < value <= PLAIN_NUMBER_MAX else " such as 10s"
        raise refuse("a duration with its unit" + mend)
    return value


def _whole_seconds(value: object, info: ValidationInfo) -> object:
    duration_s = _duration(value, info)
    if isinstance(duration_s, float):
        if not duration_s.is_integer():
            raise refuse("a duration of whole seconds such as 60s")
        return int(duration_s)
    return duration_s


def _duration_schema(default: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "examples": [default]})


Duration = Annotated[
    float, BeforeValidator(_duration), PlainSerializer(format_duration, when_used="json"), _duration_schema("10s")
]
WholeSeconds = Annotated[
    int, BeforeValidator(_whole_seconds), PlainSerializer(format_duration, when_used="json"), _duration_schema("60s")
]


def _host(value: str) -> str:
    bare = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        if _HOST.fullmatch(value) is None:
            raise refuse("a host name or an IP address, without a port") from None
    return bare


def _host_port(value: str) -> str:
    if not value:
        return value
    host, _, port = value.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not _is_port(port) or (":" in host and not bracketed):
        raise refuse('"host:port" such as "192.0.2.1:443" or "[2001:db8::1]:443"')
    _host(host)
    return value


def _resolver(value: str) -> str:
    bracketed = value.startswith("[")
    if bracketed:
        bare, _, rest = value[1:].partition("]")
    elif value.count(":") == 1:
        bare, rest = value.split(":")[0], value[value.index(":") :]
    else:
        bare, rest = value, ""
    try:
        ipaddress.ip_address(bare)
        well_formed = "%" not in bare and not (bracketed and ":" not in bare)
    except ValueError:
        well_formed = False
    if not well_formed or (rest and not (rest[0] == ":" and _is_port(rest[1:]))):
        raise refuse('the IP address of a resolver such as "192.0.2.53", "192.0.2.53:5353" or "[2001:db8::53]:5353"')
    return value


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= 65_535


def _split_url(value: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(value)
        well_formed = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise refuse(f"a URL such as {example}") from None
    if not well_formed or parts.scheme not in ("http", "https") or re.search(r"[\x00-\x20\x7f\\]", value):
        raise refuse(f"a URL such as {example}")
    if parts.username is not None or parts.password is not None:
        raise refuse("a URL without a user name or password in it", found="a URL with a login (not shown)")
    if parts.fragment:
        raise refuse("a URL without a fragment")
    return parts


def _base_url(value: str) -> str:
    parts = _split_url(value, "https://api.example.com/v1")
    if parts.query:
        raise refuse("a URL without a query")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise refuse("an https URL, because the key travels with every call (http is for loopback only)")
    return value.rstrip("/")


def _url(value: str) -> str:
    if value:
        _split_url(value, "https://www.example.com/")
    return value


def _page_url(value: str) -> str:
    parts = _split_url(value, "https://status.example.com")
    if parts.query:
        raise refuse("a URL without a query")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise refuse("an https URL, because what the page says is kept as evidence (http is for loopback only)")
    return value.rstrip("/")


def check_courier_url(value: str) -> None:
    """Refuse what nothing can be posted to; it may be a secret, so no refusal shows it."""
    _split_url(value, "https://alerts.example.com")


def _label_name(name: str) -> str:
    if re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}", name, re.ASCII) is None:
        raise refuse("a label name of letters, digits and underscores", found="other characters in the name")
    return name


def _path(value: str) -> str:
    if re.fullmatch(r"/[!-~]*", value) is None:
        raise refuse('a path such as "/transmissions", in printable ASCII')
    return value


def _mail_address(value: str) -> str:
    if _ADDRESS.fullmatch(value) is None or len(value) > ADDRESS_LENGTH_MAX or ".." in value:
        raise refuse("an e-mail address such as probe@mail.example.com")
    return value


def _phone(value: str) -> str:
    if value and _PHONE.fullmatch(value) is None:
        raise refuse('a phone number such as "+1 555 0100", in quotes')
    return value


def _line(value: str) -> str:
    if not value.isprintable() or len(value) > LINE_LENGTH_MAX:
        raise refuse(f"one line of at most {LINE_LENGTH_MAX} characters")
    return value.strip()


def _new_file(value: object, info: ValidationInfo) -> object:
    if value is None:
        return None
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise refuse("the path of a file")
    return info.context.folder / value if isinstance(info.context, FromFile) else value


def _file(value: object, info: ValidationInfo, holding: str = "certificates") -> object:
    path = _new_file(value, info)
    if isinstance(info.context, FromFile) and isinstance(path, Path) and not path.is_file():
        raise refuse(f"a file of {holding} in PEM form (there is no file {path})")
    return path


def _key_file(value: object, info: ValidationInfo) -> object:
    return _file(value, info, "a private key")


def _program(value: object, info: ValidationInfo) -> object:
    if value is None:
        return None
    if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
        raise refuse("the path of a program")
    if not isinstance(info.context, FromFile):
        return value
    path = info.context.folder / value
    if not path.is_file() or not os.access(path, os.X_OK):
        raise refuse(f"a program without arguments ({path} is no file that this user may run)")
    return path


def _ledger_url(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str) or not value or "\0" in value or "\n" in value:
        raise refuse("a file path, or an SQLAlchemy URL such as postgresql+psycopg://host/database")
    if not isinstance(info.context, FromFile):
        return value
    folder = info.context.folder
    if value.startswith("sqlite:///") and not value.startswith(("sqlite:////", "sqlite:///:")):
        return f"sqlite:///{folder / value.removeprefix('sqlite:///')}"
    return value if _SCHEME.match(value) else str(folder / value)


def redact_url(value: str) -> str:
    """Blot out the login and the query of a URL; leave other text alone."""
    if "://" not in value:
        return value
    return re.sub(r"\?.*", f"?{REDACTED}", re.sub(r"(://).*@", rf"\1{REDACTED}@", value), flags=re.DOTALL)


def check_placeholders(text: str, known: tuple[str, ...] = PLACEHOLDERS) -> None:
    """Refuse a template that asks for what nobody fills in."""
    for name in PLACEHOLDER_PATTERN.findall(text):
        if name not in known:
            listed = " ".join(f"{{{word}}}" for word in known)
            raise refuse(f"only the placeholders {listed}", found=f"the placeholder {{{name}}}")


def _authorization(value: str) -> str:
    check_placeholders(value, ("key",))
    if re.search(r"[^ -~]", value):
        raise refuse("one line of printable ASCII")
    return value


def _header_name(name: str) -> str:
    if _TOKEN.fullmatch(name) is None:
        raise refuse("a header name of letters, digits and hyphens", found="other characters in the name")
    return name


def _header_value(value: object) -> object:
    if not isinstance(value, str | SecretStr):
        raise refuse("text (put it in quotes), or a secret from a file, env or credential")
    text = value.get_secret_value() if isinstance(value, SecretStr) else value
    if re.search(r"[^\t -~]", text) or len(text) > HEADER_VALUE_MAX:
        raise refuse(f"one line of at most {HEADER_VALUE_MAX} printable ASCII characters")
    if isinstance(value, str):
        check_placeholders(value)
    return value


def _body(value: Any, depth: int = 0) -> Any:
    if depth > BODY_DEPTH_MAX:
        raise refuse(f"a JSON body nested at most {BODY_DEPTH_MAX} deep", found="a deeper one")
    match value:
        case str():
            check_placeholders(value)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    raise refuse("a JSON body, whose keys are text", found="a key that is not")
                _body(item, depth + 1)
        case list() | tuple():
            for item in value:
                _body(item, depth + 1)
        case float() if value - value != 0:  # infinity or not a number
            raise refuse("a JSON body", found="a number that JSON cannot write (infinity or not a number)")
        case int() if abs(value) > BODY_NUMBER_MAX:
            raise refuse("a JSON body, with numbers of at most 64 bits", found="a larger number")
        case None | bool() | int() | float():
            pass
        case _:
            raise refuse("a JSON body: text, numbers, true, false, null, lists and mappings", found="something else")
    return value


Host = Annotated[str, AfterValidator(_host)]
Ehlo = Annotated[str, AfterValidator(lambda value: _host(value) if value else value)]
HostPort = Annotated[str, AfterValidator(_host_port)]
Resolver = Annotated[str, AfterValidator(_resolver)]
BaseUrl = Annotated[str, AfterValidator(_base_url), WithJsonSchema({"type": "string", "format": "uri"})]
Url = Annotated[str, AfterValidator(_url)]
PageUrl = Annotated[str, AfterValidator(_page_url), WithJsonSchema({"type": "string", "format": "uri"})]
UrlPath = Annotated[str, AfterValidator(_path), WithJsonSchema({"type": "string", "pattern": "^/"})]
MailAddress = Annotated[str, AfterValidator(_mail_address), WithJsonSchema({"type": "string", "pattern": "^.+@.+$"})]
Phone = Annotated[str, AfterValidator(_phone)]
Line = Annotated[str, AfterValidator(_line)]
MaybeMailAddress = Annotated[str, AfterValidator(lambda value: _mail_address(value) if value else value)]
CaFile = Annotated[Path | None, BeforeValidator(_file), WithJsonSchema({"type": ["string", "null"]})]
KeyFile = Annotated[Path | None, BeforeValidator(_key_file), WithJsonSchema({"type": ["string", "null"]})]
NewFile = Annotated[Path | None, BeforeValidator(_new_file), WithJsonSchema({"type": ["string", "null"]})]
Program = Annotated[Path | None, BeforeValidator(_program), WithJsonSchema({"type": ["string", "null"]})]
Authorization = Annotated[str, AfterValidator(_authorization)]
Body = Annotated[Any, AfterValidator(lambda value: _body(value))]
Port = Annotated[int, Field(strict=True, ge=1, le=65_535)]
Count = Annotated[int, Field(strict=True)]

SECRET_SCHEMA: dict[str, Any] = {
    "description": "A secret, and where it is read from.",
    "type": "object",
    "properties": {
        "file": {"type": "string", "description": "The path of a file that holds it."},
        "env": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "description": "An environment variable."},
        "credential": {
            "type": "string",
            "description": "A file in credentials/, or what systemd loads by this name.",
        },
        "literal": {"type": "string", "description": "The secret itself; for trying out only."},
    },
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
}
_redacted = PlainSerializer(lambda _: REDACTED, return_type=str, when_used="json")
Secret = Annotated[SecretStr, _redacted, WithJsonSchema(SECRET_SCHEMA)]
HeaderValue = Annotated[str | Secret, BeforeValidator(_header_value)]
SecretUrl = Annotated[
    SecretStr,
    _redacted,
    WithJsonSchema({"anyOf": [{"type": "string", "format": "uri"}, SECRET_SCHEMA]}),
]
Labels = dict[
    Annotated[str, AfterValidator(_label_name)], Annotated[str, Field(min_length=1, max_length=LABEL_LENGTH_MAX)]
]
Headers = dict[Annotated[str, AfterValidator(_header_name)], HeaderValue]
LedgerUrl = Annotated[
    str,
    BeforeValidator(_ledger_url),
    PlainSerializer(redact_url),
    WithJsonSchema({"anyOf": [{"type": "string"}, SECRET_SCHEMA]}),
]
