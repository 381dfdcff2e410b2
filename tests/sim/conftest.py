"""Seeds for the simulations, and how to play one again.

`SIM_SEEDS=7` or `SIM_SEEDS=0-999` chooses them; a test that fails says which to choose, and of which commit it is.
"""

import os
import subprocess
from collections.abc import Generator, Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

SEEDS = "1-2"
SOAK_SEEDS = "1-20"


def _seeds(otherwise: str) -> list[int]:
    first, _, last = os.environ.get("SIM_SEEDS", otherwise).partition("-")
    return list(range(int(first), int(last or first) + 1))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for a seed with each; a slow one with one, unless they are chosen or it soaks."""
    if "seed" in metafunc.fixturenames:
        marks = {mark.name for mark in metafunc.definition.iter_markers()}
        seeds = _seeds(SOAK_SEEDS if "soak" in marks else SEEDS)
        few = "SIM_SEEDS" not in os.environ and "slow" in marks and "soak" not in marks
        metafunc.parametrize("seed", seeds[: 1 if few else None], ids=lambda seed: f"seed-{seed}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how a failed simulation is played again."""
    report = yield
    seed = getattr(item, "callspec", None) and item.callspec.params.get("seed")  # type: ignore[attr-defined]
    if report.failed and seed is not None:
        # The paths of the command are those of the folder that pytest was started in.
        path = os.path.relpath(item.path)
        name = item.nodeid.partition("::")[2]
        soaks = " -m soak" if item.get_closest_marker("soak") else ""
        again = f"SIM_SEEDS={seed} python -m pytest{soaks} '{path}::{name}'"
        report.sections.append(("seed", f"seed {seed}, commit {_commit()}; again: {again}"))
    return report


def _commit() -> str:
    """Name the commit that the tests are of, with a mark if something was changed since."""
    command = ["git", "-C", os.path.dirname(__file__), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return "unknown"


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """Keep the lines of the log: a storm writes thousands, and printing them takes longer than the storm."""
    with capture_logs() as captured:
        yield captured
