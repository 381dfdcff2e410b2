"""The host's clocks, tied together: what the second loop is told of time when the wall clock is wrong."""

import asyncio
from dataclasses import dataclass

import pytest

from probe.clock import SECOND_US, SLEW_US_PER_SECOND_MAX, STEP_US_MIN, SystemClock, monotonic_us, wall_us


@dataclass
class Host:
    """Two clocks that the test sets."""

    elapsed_us: int = 5_000
    wall_offset_us: int = 1_700_000_000 * SECOND_US

    def monotonic_us(self) -> int:
        """Return the clock that never goes back."""
        return self.elapsed_us

    def wall_us(self) -> int:
        """Return the clock that people set."""
        return self.elapsed_us + self.wall_offset_us

    def tie(self) -> SystemClock:
        """Make a clock of both."""
        return SystemClock(read_monotonic_us=self.monotonic_us, read_wall_us=self.wall_us)


def test_a_clock_that_is_right_needs_no_correction() -> None:
    """Unix time is the wall clock's while nobody touches it."""
    host = Host()
    clock = host.tie()
    host.elapsed_us += 90 * SECOND_US

    assert clock.now_us() == host.wall_us()
    assert clock.discipline() == 0
    assert clock.now_us() == host.wall_us()
    assert clock.monotonic_us() == host.elapsed_us


@pytest.mark.parametrize("step_us", [STEP_US_MIN, 3_600 * SECOND_US])
def test_a_step_forward_is_followed_at_once(step_us: int) -> None:
    """The seconds between were not looked at, so they may be skipped; they are not before the clock is disciplined."""
    host = Host()
    clock = host.tie()
    host.wall_offset_us += step_us

    assert clock.now_us() == host.wall_us() - step_us
    assert clock.discipline() == 0
    assert clock.now_us() == host.wall_us()


@pytest.mark.parametrize("step_us", [STEP_US_MIN - 1, -20_000, -SECOND_US, -3_600 * SECOND_US])
def test_every_other_error_is_followed_slowly(step_us: int) -> None:
    """A second shrinks or grows by a hundredth at most, and time never goes back."""
    host = Host()
    clock = host.tie()
    host.wall_offset_us += step_us
    before_us = clock.now_us()
    corrections = min(100, abs(step_us) // SLEW_US_PER_SECOND_MAX + 1)

    for done in range(1, corrections + 1):
        host.elapsed_us += SECOND_US
        left_us = clock.discipline()
        corrected_us = min(done * SLEW_US_PER_SECOND_MAX, abs(step_us))
        assert abs(left_us) == abs(step_us) - corrected_us
        assert clock.now_us() - before_us >= SECOND_US - SLEW_US_PER_SECOND_MAX
        before_us = clock.now_us()
    assert clock.now_us() == host.wall_us() - left_us


async def test_sleeping_until_a_moment_that_is_past_gives_way_once() -> None:
    """A loop that is late lets others run before it goes on."""
    clock = SystemClock()
    ran: list[str] = []
    asyncio.get_running_loop().call_soon(ran.append, "other")

    await clock.sleep_until(clock.now_us() - SECOND_US)

    assert ran == ["other"]


async def test_sleeping_ends_at_the_moment_asked_for() -> None:
    """On the real clocks, the sleeper wakes not before its time and soon after it."""
    clock = SystemClock()
    when_us = clock.now_us() + 20_000

    await clock.sleep_until(when_us)

    assert -1_000 <= clock.now_us() - when_us < SECOND_US


def test_the_real_clocks_are_in_microseconds() -> None:
    """Unix time lies in this century, and monotonic time goes on."""
    assert 1_700_000_000 < wall_us() // SECOND_US < 4_102_444_800
    assert monotonic_us() <= monotonic_us()
