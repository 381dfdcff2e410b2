"""A day of storms and flaps through the whole program, with a failing disk and power cuts, held against its script."""

import gc
import tempfile
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from probe.ledger.verify import verify

if TYPE_CHECKING:
    from tests.sim.sim_day import DAY_S, Day, Weather, differences, live_a_day
    from tests.sim.sim_run import seeded
    from tests.sim.sim_time import FIRST_SECOND, simulate
else:
    from sim_day import DAY_S, Day, Weather, differences, live_a_day
    from sim_run import seeded
    from sim_time import FIRST_SECOND, simulate

Lines = list[MutableMapping[str, Any]]
MEMORY = Path("/dev/shm")  # noqa: S108 - the disk of a simulated day need not survive it.
OPEN_SECONDS_MAX = 12
CLOCK_AHEAD_US_MAX = 1_000
SHOWN = 20


def a_day(seed: int, lines: Lines, *, seconds: int = DAY_S, walks_chain: bool) -> None:
    """Live through a day and hold what it leaves behind against the script."""
    seeded(seed)
    world = Weather(seed, seconds=seconds, first_second=FIRST_SECOND)

    def at_rest() -> int:
        lines.clear()
        gc.collect()
        return len(gc.get_objects())

    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        path = Path(folder) / "ledger.sqlite3"
        day: Day = simulate(live_a_day(world, seed, path, seconds=seconds, at_rest=at_rest))
        found = differences(day, world)
        assert not walks_chain or verify(str(path)).sound
    assert not found, "\n".join([f"{len(found)} differences", *found[:SHOWN]])
    assert not day.told_before_kept
    assert day.clock_ahead_us < CLOCK_AHEAD_US_MAX
    assert day.open_seconds_most <= OPEN_SECONDS_MAX
    assert day.objects[-1] < day.objects[0] + 5_000


@pytest.mark.slow
def test_a_day_of_storms_and_flaps(seed: int, lines: Lines) -> None:
    """After a day every second has the one verdict of the script, and nothing has piled up."""
    a_day(seed, lines, walks_chain=False)


@pytest.mark.soak
@pytest.mark.slow
def test_many_days_of_storms_and_flaps(seed: int, lines: Lines) -> None:
    """After a day of any seed that is so as well, and the whole chain is sound."""
    a_day(seed, lines, walks_chain=True)
