"""Pydantic's errors in our own words: what was found, never a secret, and what is expected."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from probe.settings.cases import CaseSettings, DraftSettings, Relay
from probe.settings.courier import Courier
from probe.settings.duration import format_duration
from probe.settings.hours import BusinessHoursException
from probe.settings.kinds import NAME_PATTERN, VANTAGE_PATTERN, WORD_PATTERN
from probe.settings.model import (
    Contract,
    Control,
    Ledger,
    Listener,
    Log,
    PersistenceTerms,
    Settings,
    StatusPage,
    Target,
)
from probe.settings.people import Company, Tam
from probe.settings.problem import Findings, Path, describe, is_secret
from probe.settings.surface import Api, Connections, Smtp

TARGET_EXTRAS = ("provider", "tenant", "binding", "workspace", "sender", "recipient", "surfaces", "key")

_MODELS: Mapping[tuple[str, ...], type[BaseModel]] = {
    (): Settings,
    ("targets",): Target,
    ("targets", "api"): Api,
    ("targets", "api", "connections"): Connections,
    ("targets", "smtp"): Smtp,
    ("targets", "smtp", "connections"): Connections,
    ("targets", "contract"): Contract,
    ("targets", "contract", "persistence"): PersistenceTerms,
    ("targets", "contract", "business_hours_exceptions"): BusinessHoursException,
    ("targets", "contract", "tam"): Tam,
    ("company",): Company,
    ("cases",): CaseSettings,
    ("cases", "relay"): Relay,
    ("cases", "draft"): DraftSettings,
    ("controls",): Control,
    ("status_pages",): StatusPage,
    ("notify",): Courier,
    ("ledger",): Ledger,
    ("listener",): Listener,
    ("log",): Log,
}

_PATTERNS = {
    WORD_PATTERN: "letters, digits, hyphens and underscores, at most 64",
    NAME_PATTERN: "1 to 63 lower-case letters, digits and hyphens, the first of them no hyphen",
    VANTAGE_PATTERN: "1 to 63 letters, digits, dots and hyphens, the first of them a letter or a digit",
}

_EXPECTED = {
    "missing": "a value, because this field is required",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller number",
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "string_type": "text",
    "decimal_parsing": "a percentage such as 99.99",
    "decimal_type": "a percentage such as 99.99",
    "finite_number": "a percentage such as 99.99",
    "decimal_max_places": "a percentage with at most 4 decimals",
}


def known_keys(path: Path) -> tuple[str, ...]:
    """List the keys that may stand in the mapping at this place; empty where any may."""
    model = _MODELS.get(tuple(name for name in path if isinstance(name, str)))
    if model is None:
        return ()
    extras = TARGET_EXTRAS if model is Target else ()
    return (*(str(info.validation_alias or name) for name, info in model.model_fields.items()), *extras)


def drop_nothings(data: dict[str, Any], path: Path = ()) -> None:
    """Take out the known keys with nothing after them, in place: they mean the default."""
    known = known_keys(path)
    for key, value in list(data.items()):
        if value is None and key in known:
            del data[key]
        elif isinstance(value, dict) and known_keys((*path, key)):
            drop_nothings(value, (*path, key))
        elif isinstance(value, list) and known_keys((*path, key)):
            for place, item in enumerate(value):
                if isinstance(item, dict):
                    drop_nothings(item, (*path, key, place))


def report(error: ValidationError, findings: Findings, prefix: Path = ()) -> None:
    """Note each of pydantic's errors as a problem."""
    for item in error.errors(include_url=False):
        _report_one(item, findings, prefix)


def _report_one(item: Any, findings: Findings, prefix: Path) -> None:
    # Pydantic marks an error of a mapping's key, not its value, with one more step.
    path: Path = (*prefix, *(name for name in item["loc"] if name != "[key]"))
    context = item.get("ctx", {})
    match item["type"]:
        case "settings":
            for one in context.get("several", [context]):
                field: Path = (*path, *_split(one["field"], path))
                findings.refuse(field, one["found_text"] or describe(item["input"], field), one["expected"])
        case "extra_forbidden":
            findings.refuse(path, "an unknown key", _known(path))
        case "too_short" if item["input"]:
            pass  # the items were refused one by one already
        case "missing":
            findings.refuse(path, "nothing", _EXPECTED["missing"])
        case kind:
            found, shown = _as_written(item["input"], path, context)
            findings.refuse(path, found, _expected(kind, shown, item["input"]))


def _as_written(found: object, path: Path, context: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Write the limits of a duration, and what was found, as durations again; pydantic sees only seconds."""
    limits = {name: value for name, value in context.items() if name in ("ge", "gt", "le")}
    is_duration = path[-2:-1] in (("persistence",), ("draft",)) or any(
        isinstance(value, float) for value in limits.values()
    )
    if not limits or not is_duration or not isinstance(found, int | float):
        return describe(found, path), context
    return format_duration(found), {name: format_duration(value) for name, value in limits.items()}


def _split(field: str, path: Path) -> Path:
    if not field:
        return ()
    # A header's name may hold dots; places within Settings are the only fields of several parts.
    return (field,) if path else tuple(int(name) if name.isdigit() else name for name in field.split("."))


def _known(path: Path) -> str:
    known = known_keys(path[:-1])
    near = [] if is_secret(path) else difflib.get_close_matches(str(path[-1]).lower(), known, n=1)
    return f'a known key; did you mean "{near[0]}"?' if near else f"one of {', '.join(known)}"


def _expected(kind: str, context: Mapping[str, Any], found: object) -> str:
    """Put pydantic's demand in words."""
    match kind:
        case "literal_error":
            return f"{context['expected']}".replace("'", '"')
        case "string_pattern_mismatch":
            return _PATTERNS.get(context["pattern"], f"text of the form {context['pattern']}")
        case "greater_than_equal":
            return f"at least {context['ge']}"
        case "greater_than":
            return f"more than {context['gt']}"
        case "less_than_equal":
            return f"at most {context['le']}"
        case "too_short":
            return f"at least {context['min_length']} of them"
        case "too_long":
            return f"at most {context['max_length']} of them"
        case "string_type" if not isinstance(found, dict | list):
            return "text (put it in quotes)"
    return _EXPECTED.get(kind, "something else")
