"""Time that costs nothing: an asyncio loop that jumps to its next timer, and the clocks of a host that may lie."""

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from heapq import heappop, heappush
from typing import Any, TypeVar

import pytest

SECOND_US = 1_000_000
FIRST_SECOND = 1_700_000_000
BEGUN_US = 1_000 * SECOND_US

T = TypeVar("T")


class WaitsForever(Exception):
    """Nothing is ready and no timer is set: the program under test would hang."""


class Turn(list[Any]):
    """A callback of the loop with its arguments and context; empty once cancelled.

    It stands in for asyncio.Handle, of which nobody here uses more than `cancel`.
    """

    __slots__ = ()

    def cancel(self) -> None:
        """Never call it."""
        self.clear()


class VirtualLoop(asyncio.BaseEventLoop):
    """A loop whose time moves only when nothing is ready; then it jumps to the next timer.

    Callbacks run in asyncio's own order. What asyncio does besides for files, threads and debugging is left out, since
    it takes half of a simulated day: there are no files here.
    """

    _ready: deque[Turn]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self.now_us = BEGUN_US
        self._timers: list[tuple[int, int, Turn | asyncio.Future[Any]]] = []
        self._serial = 0

    def time(self) -> float:
        """Return virtual seconds."""
        return self.now_us / SECOND_US

    def stall(self, stall_s: float) -> None:
        """Let time pass in which no callback runs: a stopped process, a blocking call, a long collection."""
        self.now_us += round(stall_s * SECOND_US)

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> Turn:  # type: ignore[override]
        """Call it in the next round."""
        turn = Turn((callback, args, copy_context() if context is None else context))
        self._ready.append(turn)
        return turn

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(self, delay: float, callback: Any, *args: Any, context: Context | None = None) -> Turn:  # type: ignore[override]
        """Call it when so many virtual seconds have passed."""
        turn = Turn((callback, args, copy_context() if context is None else context))
        self._push(self.now_us + round(delay * SECOND_US), turn)
        return turn

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> Turn:  # type: ignore[override]
        """Call it at a virtual time."""
        turn = Turn((callback, args, copy_context() if context is None else context))
        self._push(round(when * SECOND_US), turn)
        return turn

    def create_task(self, coroutine: Any, *, name: Any = None, context: Any = None) -> asyncio.Task[Any]:
        """Make a task."""
        return asyncio.Task(coroutine, loop=self, name=name, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future."""
        return asyncio.Future(loop=self)

    async def sleep(self, delay: float, result: Any = None) -> Any:
        """Do what asyncio.sleep does, with half of its steps: nine of ten timers of the program are made by it."""
        if delay <= 0:
            return await _asyncio_sleep(0, result)
        woken: asyncio.Future[Any] = asyncio.Future(loop=self)
        self._serial = serial = self._serial + 1
        heappush(self._timers, (self.now_us + round(delay * SECOND_US), serial, woken))
        await woken
        return result

    def _push(self, when_us: int, turn: Turn) -> None:
        self._serial = serial = self._serial + 1
        heappush(self._timers, (when_us, serial, turn))

    def _run_once(self) -> None:
        """Run rounds of what is ready, and jump where nothing is, until the loop is stopped."""
        ready, timers = self._ready, self._timers
        while True:
            if not ready and not self._stopping:
                self._jump()
            now_us = self.now_us
            while timers and timers[0][0] <= now_us:
                due = heappop(timers)[2]
                if isinstance(due, Turn):
                    ready.append(due)
                elif not due.done():
                    due.set_result(None)
            for _ in range(len(ready)):
                turn = ready.popleft()
                if turn:
                    callback, args, context = turn
                    try:
                        context.run(callback, *args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as error:  # noqa: BLE001 - as asyncio does.
                        self.call_exception_handler({"message": f"Exception in {callback!r}", "exception": error})
            if self._stopping:
                return

    def _jump(self) -> None:
        """Move time to the next timer that is still wanted."""
        timers = self._timers
        while timers:
            due = timers[0][2]
            if due if isinstance(due, Turn) else not due.done():
                self.now_us = max(self.now_us, timers[0][0])
                return
            heappop(timers)
        raise WaitsForever


_asyncio_sleep = asyncio.sleep


def simulate(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario in virtual time, and without the collector, which would take a fifth of the true time."""
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner, pytest.MonkeyPatch.context() as patch:
            loop = runner.get_loop()
            assert isinstance(loop, VirtualLoop)
            patch.setattr(asyncio, "sleep", loop.sleep)
            return runner.run(scenario)
    finally:
        gc.enable()


class HostTime:
    """The clocks of a simulated host: one that never lies, and one that people and programs set.

    The host's second 0 is FIRST_SECOND; `drift_ppb` is how much faster than the monotonic clock the wall clock runs, in
    parts per thousand million. While the host is suspended the monotonic clock stands still, as Linux's does; the wall
    clock and the boottime clock go on.
    """

    def __init__(self, *, drift_ppb: int = 0) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        self._begun_us = loop.now_us
        self._drift_ppb = drift_ppb
        self._drifts_since_us = loop.now_us
        self._step_us = 0
        self._suspended_us = 0
        self.named_us: Callable[[], int] = self.wall_us  # the time that the program on it names seconds by

    @property
    def elapsed_s(self) -> float:
        """Give the true seconds since the host began, those of suspension left out."""
        return (self._loop.now_us - self._begun_us) / SECOND_US

    def monotonic_us(self) -> int:
        """Return the clock that never lies."""
        return self._loop.now_us

    def boottime_us(self) -> int:
        """Return the clock that goes on while the host is suspended."""
        return self._loop.now_us + self._suspended_us

    def wall_us(self) -> int:
        """Return the clock that people read."""
        now_us = self._loop.now_us
        drifted_us = (now_us - self._drifts_since_us) * self._drift_ppb // 1_000_000_000
        return FIRST_SECOND * SECOND_US + now_us - self._begun_us + drifted_us + self._step_us

    def step(self, step_s: float) -> None:
        """Set the wall clock forward or back."""
        self._step_us += round(step_s * SECOND_US)

    def slew(self, drift_ppb: int) -> None:
        """Let the wall clock run faster or slower from now on."""
        now_us = self._loop.now_us
        self._step_us += (now_us - self._drifts_since_us) * self._drift_ppb // 1_000_000_000
        self._drift_ppb, self._drifts_since_us = drift_ppb, now_us

    def suspend(self, suspended_s: float) -> None:
        """Put the host to sleep and wake it up again."""
        self._suspended_us += round(suspended_s * SECOND_US)
        self.step(suspended_s)

    def stall(self, stall_s: float) -> None:
        """Let all clocks go on while the process stands still."""
        self._loop.stall(stall_s)

    async def sleep_until(self, elapsed_s: float) -> None:
        """Sleep until so many true seconds have passed since the host began."""
        await asyncio.sleep(max(0.0, elapsed_s - self.elapsed_s))
