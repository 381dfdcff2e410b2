"""Seeds for the simulations, and how to play one again.

`SIM_SEEDS=7` or `SIM_SEEDS=0-999` chooses them; a test that fails says which to choose.
"""

import os
from collections.abc import Generator, Iterator, MutableMapping
from typing import Any

import pytest
from structlog.testing import capture_logs

SEEDS = "1-2"


def _seeds() -> list[int]:
    first, _, last = os.environ.get("SIM_SEEDS", SEEDS).partition("-")
    return list(range(int(first), int(last or first) + 1))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test that asks for a seed with each of them; a slow one with one, unless they are chosen."""
    if "seed" in metafunc.fixturenames:
        slow = "SIM_SEEDS" not in os.environ and any(metafunc.definition.iter_markers("slow"))
        metafunc.parametrize("seed", _seeds()[: 1 if slow else None], ids=lambda seed: f"seed-{seed}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how a failed simulation is played again."""
    report = yield
    seed = getattr(item, "callspec", None) and item.callspec.params.get("seed")  # type: ignore[attr-defined]
    if report.failed and seed is not None:
        report.sections.append(("seed", f"{seed}; again: SIM_SEEDS={seed} python -m pytest '{item.nodeid}'"))
    return report


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """Keep the lines of the log: a storm writes thousands, and printing them takes longer than the storm."""
    with capture_logs() as captured:
        yield captured
