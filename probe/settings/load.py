"""From the YAML file to frozen settings."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from probe.settings.kinds import FromFile
from probe.settings.model import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Good settings, what is doubtful about them, and where each secret came from (by field)."""

    settings: Settings
    warnings: tuple[str, ...]
    sources: Mapping[str, str] = field(default_factory=dict)


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read settings; raises SettingsError with all that is wrong."""
    data = yaml.safe_load(path.read_text())
    settings = Settings.model_validate(data, context=FromFile(folder=path.parent), by_alias=True, by_name=False)
    return Loaded(settings=settings, warnings=())
