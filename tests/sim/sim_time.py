"""Time that costs nothing: an asyncio loop that jumps to its next timer, and the clocks of a host that may lie."""

import asyncio
import gc
import selectors
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

SECOND_US = 1_000_000
FIRST_SECOND = 1_700_000_000

T = TypeVar("T")


class WaitsForever(Exception):
    """Nothing is ready and no timer is set: the program under test would hang."""


class Jumping(selectors.BaseSelector):
    """Instead of waiting for a timer, move the loop's time to it. Files are never ready."""

    def __init__(self) -> None:
        self._keys: dict[int, selectors.SelectorKey] = {}
        self.now_s = 1_000.0

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Take note of a file, for the loop's own pipe."""
        key = self._keys[fileobj] = selectors.SelectorKey(fileobj, fileobj, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        """Forget a file."""
        return self._keys.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """List the files."""
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Jump."""
        if timeout is None:
            raise WaitsForever
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time moves only when nothing is ready."""

    def __init__(self) -> None:
        self._jumping = Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        """Return virtual seconds."""
        return self._jumping.now_s

    def stall(self, stall_s: float) -> None:
        """Let time pass in which no callback runs: a stopped process, a blocking call, a long collection."""
        self._jumping.now_s += stall_s


def simulate(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario in virtual time, and without the collector, which would take a fifth of the true time."""
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            return runner.run(scenario)
    finally:
        gc.enable()


class HostTime:
    """The clocks of a simulated host: one that never lies, and one that people and programs set.

    The host's second 0 is FIRST_SECOND; `drift_ppm` is how much faster than the monotonic clock the wall clock runs.
    """

    def __init__(self, *, drift_ppm: int = 0) -> None:
        self._loop = asyncio.get_running_loop()
        self._begun_us = self.monotonic_us()
        self._drift_ppm = drift_ppm
        self._step_us = 0

    def monotonic_us(self) -> int:
        """Return the clock that never lies."""
        return round(self._loop.time() * SECOND_US)

    def wall_us(self) -> int:
        """Return the clock that does."""
        elapsed_us = self.monotonic_us() - self._begun_us
        return FIRST_SECOND * SECOND_US + elapsed_us + elapsed_us * self._drift_ppm // SECOND_US + self._step_us

    def step(self, step_s: float) -> None:
        """Set the wall clock forward or back; a host that slept finds it set forward."""
        self._step_us += round(step_s * SECOND_US)

    def stall(self, stall_s: float) -> None:
        """Let all clocks go on while the process stands still."""
        assert isinstance(self._loop, VirtualLoop)
        self._loop.stall(stall_s)

    async def sleep_until(self, elapsed_s: float) -> None:
        """Sleep until so many true seconds have passed since the host began."""
        now_s = self._loop.time() - self._begun_us / SECOND_US
        await asyncio.sleep(max(0.0, elapsed_s - now_s))
