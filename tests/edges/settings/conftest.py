"""Settings files made on the spot."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from probe.settings import Loaded, load

Loads = Callable[..., Loaded]
OF_THE_CALL_SHEET = re.compile(r": (company|targets\[\d+\]\.contract\.(severity_1_line|tam)): ")


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    """Give a function that loads settings from text."""

    def from_text(text: str, environ: Mapping[str, str] | None = None, *, call_sheet: bool = False) -> Loaded:
        file = tmp_path / "settings.yaml"
        file.write_text(dedent(text))
        loaded = load(file, environ or {})
        # Few texts are complete enough to be called by; what the call sheet misses is a topic of its own.
        kept = [warning for warning in loaded.warnings if call_sheet or not OF_THE_CALL_SHEET.search(warning)]
        return replace(loaded, warnings=tuple(kept))

    return from_text
