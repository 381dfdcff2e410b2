"""The only module that reads time (what the kernel says of its clock is read by its neighbour, `probe.adjtimex`).

Durations come from the monotonic clock and never from the wall clock. Seconds are named by a time of our own: the
monotonic clock plus a tie, which is made once, from the wall clock, and then looked at once a second.

- A wall clock that is ahead by `STEP_US_MIN` or more is followed at once, by a jump forward: the seconds between are
  recorded as unobserved. It was stepped, or the host was suspended, in which time the monotonic clock stands still.
- Every other difference, a step back of any size among them, is slewed away by at most `SLEW_US_PER_SECOND_MAX`: the
  time that seconds are named by never goes back, so that no second can come twice, and none shrinks or grows by over a
  percent. Until then seconds have other names than the wall clock would give them.

What moved the wall clock is told apart by a third clock, which goes on while the host is suspended (CLOCK_BOOTTIME).
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Final, Protocol

from probe import adjtimex
from probe.adjtimex import KernelClock

SECOND_US = 1_000_000
# Faster than any sane oscillator drifts (100 ppm) and slow enough that no second shrinks or grows by over a percent.
SLEW_US_PER_SECOND_MAX = 10_000
# A wall clock that is ahead by more was stepped (or the host slept): the seconds between were not looked at.
STEP_US_MIN = 500_000
# Clocks that are read one after the other say the same moment only if nobody took the processor away meanwhile.
READING_US_MAX = 1_000
READINGS_MAX = 5
# Why nobody looked, where no clock explains it.
DID_NOT_RUN: Final = "the prober did not run"
# Of Linux; elsewhere a suspension looks like a step.
_BOOTTIME: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def monotonic_us() -> int:
    """Return microseconds on a clock that never goes back; only differences mean anything."""
    return time.monotonic_ns() // 1000


def boottime_us() -> int:
    """Return microseconds on a clock that never goes back and counts the time in which the host was suspended."""
    return time.clock_gettime_ns(_BOOTTIME) // 1000


def wall_us() -> int:
    """Return the host's Unix time in microseconds, as it is, steps included."""
    return time.time_ns() // 1000


def local_zone() -> tzinfo:
    """Give the zone of this host, or of TZ, as it is now."""
    zone = datetime.fromtimestamp(wall_us() / SECOND_US, UTC).astimezone().tzinfo
    assert zone is not None
    return zone


def pause(pause_s: float) -> None:
    """Sleep, for commands that have no event loop."""
    time.sleep(pause_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What one look at the wall clock found, and what was left of it.

    `ahead_us` is how far the wall clock was ahead of the time that seconds are named by, `left_us` how far it still is.
    Since the last look the host was suspended for `suspended_us`, and the wall clock stepped by `stepped_us`; each is 0
    below `STEP_US_MIN`.
    """

    ahead_us: int
    left_us: int
    suspended_us: int
    stepped_us: int

    @property
    def is_jump(self) -> bool:
        """Say whether the wall clock was followed at once."""
        return self.ahead_us >= STEP_US_MIN

    def reason(self, late_us: int) -> str:
        """Say in one true sentence why seconds were skipped by a loop that came `late_us` after the next was due."""
        parts = []
        if self.is_jump and self.suspended_us:
            parts.append(f"the host was suspended for {in_seconds(self.suspended_us)}")
        if self.is_jump and self.stepped_us > 0:
            parts.append(f"the wall clock was stepped forward by {in_seconds(self.stepped_us)}")
        if self.is_jump and not parts:
            parts.append(f"the wall clock had gone ahead by {in_seconds(self.ahead_us)}")
        if late_us >= SECOND_US or not parts:
            parts.append(DID_NOT_RUN)
        return " and ".join(parts)


def in_seconds(duration_us: int) -> str:
    """Write a duration for humans, to the tenth of a second."""
    return f"{duration_us / SECOND_US:.1f}".removesuffix(".0") + " s"


class Clock(Protocol):
    """What the second loop asks of time."""

    def now_us(self) -> int:
        """Return the disciplined Unix time in microseconds: it never goes back."""
        ...

    def monotonic_us(self) -> int:
        """Return monotonic microseconds, for durations."""
        ...

    def discipline(self) -> Correction:
        """Correct the tie between both clocks, and say what was found."""
        ...

    def kernel(self) -> KernelClock:
        """Say what the kernel says of the host's clock."""
        ...

    async def sleep_until(self, when_us: int) -> None:
        """Sleep until the disciplined time reaches `when_us`."""
        ...


class SystemClock:
    """The host's clocks, tied together.

    A caller that brings a monotonic clock of its own has a host that is never suspended, unless it says otherwise.
    """

    def __init__(
        self,
        *,
        read_monotonic_us: Callable[[], int] = monotonic_us,
        read_wall_us: Callable[[], int] = wall_us,
        read_boottime_us: Callable[[], int] | None = None,
        read_kernel: Callable[[], KernelClock] = adjtimex.read,
    ) -> None:
        self._read_monotonic_us = read_monotonic_us
        self._read_wall_us = read_wall_us
        if read_boottime_us is None:
            read_boottime_us = boottime_us if read_monotonic_us is monotonic_us else read_monotonic_us
        self._read_boottime_us = read_boottime_us
        self._read_kernel = read_kernel
        self._last = elapsed_us, _, wall_now_us = self._read_together()
        self._offset_us = wall_now_us - elapsed_us

    def now_us(self) -> int:
        """Return the disciplined Unix time in microseconds: it never goes back."""
        return self._read_monotonic_us() + self._offset_us

    def monotonic_us(self) -> int:
        """Return monotonic microseconds, for durations."""
        return self._read_monotonic_us()

    def discipline(self) -> Correction:
        """Follow the wall clock: a step forward at once (the seconds between are lost), everything else slowly."""
        last_elapsed_us, last_boot_us, last_wall_us = self._last
        self._last = elapsed_us, boot_us, wall_now_us = self._read_together()
        passed_us = elapsed_us - last_elapsed_us
        suspended_us = _at_least_a_step(boot_us - last_boot_us - passed_us)
        ahead_us = wall_now_us - elapsed_us - self._offset_us
        followed_us = (
            ahead_us if ahead_us >= STEP_US_MIN else max(-SLEW_US_PER_SECOND_MAX, min(SLEW_US_PER_SECOND_MAX, ahead_us))
        )
        self._offset_us += followed_us
        return Correction(
            ahead_us=ahead_us,
            left_us=ahead_us - followed_us,
            suspended_us=suspended_us,
            stepped_us=_at_least_a_step(wall_now_us - last_wall_us - passed_us - suspended_us),
        )

    def kernel(self) -> KernelClock:
        """Say what the kernel says of the host's clock."""
        return self._read_kernel()

    async def sleep_until(self, when_us: int) -> None:
        """Sleep until the disciplined time reaches `when_us`; return at once if it has."""
        await asyncio.sleep(max(0, when_us - self.now_us()) / SECOND_US)

    def _read_together(self) -> tuple[int, int, int]:
        """Read the monotonic clock, the one that counts suspensions, and the wall clock, at one moment.

        A process put aside between two readings would else see a step that never was. On a host that is too busy
        to read them together, those are taken that were read the closest.
        """
        readings = []
        for _ in range(READINGS_MAX):
            elapsed_us = self._read_monotonic_us()
            reading = elapsed_us, self._read_boottime_us(), self._read_wall_us()
            readings.append((self._read_monotonic_us() - elapsed_us, reading))
            if readings[-1][0] <= READING_US_MAX:
                break
        return min(readings)[1]


def _at_least_a_step(shift_us: int) -> int:
    return shift_us if abs(shift_us) >= STEP_US_MIN else 0
