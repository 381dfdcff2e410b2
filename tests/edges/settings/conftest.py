"""Settings files made on the spot."""

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

import pytest

from probe.settings import Loaded, load

Loads = Callable[..., Loaded]


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    """Give a function that loads settings from text."""

    def from_text(text: str, environ: Mapping[str, str] | None = None) -> Loaded:
        file = tmp_path / "settings.yaml"
        file.write_text(dedent(text))
        return load(file, environ or {})

    return from_text
