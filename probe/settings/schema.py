"""The JSON schema of the settings file, for editors: the models' own, plus what a provider's profile adds.

A test compares it with config/sev1probe.schema.json and names the command that writes that file anew.
"""

import json
from typing import Any

from probe.settings.kinds import SECRET_SCHEMA
from probe.settings.model import Settings
from probe.settings.provider import Choice

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema() -> dict[str, Any]:
    """Describe the settings file."""
    data = Settings.model_json_schema(by_alias=True, mode="validation")
    parts = data["$defs"]
    _widen_target(parts)
    for part in (data, *parts.values()):
        _allow_nothing(part)
    data["properties"]["vantage"].setdefault("description", "Default: this host's name.")
    return {"$schema": _DIALECT, **data, "title": "sev1probe settings"}


def _widen_target(parts: dict[str, Any]) -> None:
    """Let a target be written with a provider, which then fills in what api and smtp must otherwise say."""
    target = parts["Target"]
    choice = Choice.model_json_schema()
    target["properties"] |= {**choice["properties"], "key": SECRET_SCHEMA}
    demands = {surface: {"required": parts[surface.title()].pop("required")} for surface in ("api", "smtp")}
    nullable = {name: {"if": {"type": "object"}, "then": demand} for name, demand in demands.items()}
    words = [name for name in choice["properties"] if name != "provider"]
    target["if"] = {"required": ["provider"]}
    target["then"] = {"required": ["sender"]}
    target["else"] = {
        "properties": nullable | dict.fromkeys(words, False),
        "anyOf": [{"required": ["api"]}, {"required": ["smtp"]}],
    }


def _allow_nothing(part: dict[str, Any]) -> None:
    """Let a section be empty, as it is when all its lines are commented out; that means its defaults."""
    for name, field in part["properties"].items():
        if ("$ref" in field or field.get("type") in ("array", "object")) and name not in part.get("required", ()):
            part["properties"][name] = {"anyOf": [field, {"type": "null"}]}


def schema_text() -> str:
    """Write the schema the way that it is checked in."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
