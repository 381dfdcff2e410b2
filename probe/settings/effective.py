"""The settings in force, as YAML that holds no secret."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import yaml

from probe.settings.kinds import REDACTED
from probe.settings.model import Settings
from probe.settings.problem import Path, field_name

_MARK = "redacted-secret-number-{}-"
_NO_SOURCES: Mapping[str, str] = MappingProxyType({})


def effective(settings: Settings, sources: Mapping[str, str] = _NO_SOURCES) -> str:
    """Write every field with its value, defaults too; a secret as <redacted> and, beside it, where it came from."""
    marks: list[str] = []

    def marked(value: Any, path: Path) -> Any:
        if isinstance(value, dict):
            return {key: marked(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [marked(item, (*path, place)) for place, item in enumerate(value)]
        if value != REDACTED and field_name(path) not in sources:
            return value
        source = sources.get(field_name(path))
        marks.append(f"{REDACTED}  # from {source}" if source else REDACTED)
        return _MARK.format(len(marks) - 1)

    data = marked(settings.model_dump(mode="json", by_alias=True, exclude_none=True), ())
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1_000_000)
    for place, shown in enumerate(marks):
        text = text.replace(_MARK.format(place), shown.replace("\n", " "))
    return text
