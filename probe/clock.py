"""The only module that reads time.

Durations come from the monotonic clock and never from the wall clock. The wall clock names seconds; it is tied to the
monotonic clock once and the tie is then corrected a little each second, so that a wall clock which is stepped by
somebody can neither repeat a second nor take one back.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

SECOND_US = 1_000_000
# Faster than any sane oscillator drifts (100 ppm) and slow enough that no second shrinks or grows by over a percent.
SLEW_US_PER_SECOND_MAX = 10_000
# A wall clock that is ahead by more was stepped (or the host slept): the seconds between were not looked at.
STEP_US_MIN = 500_000


def monotonic_us() -> int:
    """Return microseconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic_ns() // 1000


def wall_us() -> int:
    """Return the host's Unix time in microseconds, as it is, steps included."""
    return time.time_ns() // 1000


def pause(pause_s: float) -> None:
    """Sleep, for commands that have no event loop."""
    time.sleep(pause_s)


class Clock(Protocol):
    """What the second loop asks of time."""

    def now_us(self) -> int:
        """Return the disciplined Unix time in microseconds: it never goes back."""
        ...

    def monotonic_us(self) -> int:
        """Return monotonic microseconds, for durations."""
        ...

    def discipline(self) -> int:
        """Correct the tie between both clocks; return how far ahead the wall clock still is, in us."""
        ...

    async def sleep_until(self, when_us: int) -> None:
        """Sleep until the disciplined time reaches `when_us`."""
        ...


class SystemClock:
    """The host's clocks, tied together."""

    def __init__(
        self, *, read_monotonic_us: Callable[[], int] = monotonic_us, read_wall_us: Callable[[], int] = wall_us
    ) -> None:
        self._read_monotonic_us = read_monotonic_us
        self._read_wall_us = read_wall_us
        self._offset_us = read_wall_us() - read_monotonic_us()

    def now_us(self) -> int:
        """Return the disciplined Unix time in microseconds: it never goes back."""
        return self._read_monotonic_us() + self._offset_us

    def monotonic_us(self) -> int:
        """Return monotonic microseconds, for durations."""
        return self._read_monotonic_us()

    def discipline(self) -> int:
        """Follow the wall clock: forward steps at once (the seconds between are lost), everything else slowly.

        A step back is never followed at once, since a second would then be judged twice.
        """
        ahead_us = self._read_wall_us() - self.now_us()
        if ahead_us >= STEP_US_MIN:
            self._offset_us += ahead_us
            return 0
        correction_us = max(-SLEW_US_PER_SECOND_MAX, min(SLEW_US_PER_SECOND_MAX, ahead_us))
        self._offset_us += correction_us
        return ahead_us - correction_us

    async def sleep_until(self, when_us: int) -> None:
        """Sleep until the disciplined time reaches `when_us`; return at once if it has."""
        await asyncio.sleep(max(0, when_us - self.now_us()) / SECOND_US)
