"""The host's clocks, tied together: what the second loop is told of time when the wall clock is wrong."""

import asyncio
from dataclasses import dataclass

import pytest

from probe import adjtimex
from probe.adjtimex import NOT_SAID, STA_UNSYNC, TIME_ERROR, KernelClock, judge
from probe.clock import SECOND_US, SLEW_US_PER_SECOND_MAX, STEP_US_MIN, SystemClock, monotonic_us, wall_us
from probe.core.model import Synchronisation


@dataclass
class Host:
    """Clocks that the test sets."""

    elapsed_us: int = 5_000
    wall_offset_us: int = 1_700_000_000 * SECOND_US
    suspended_us: int = 0

    def monotonic_us(self) -> int:
        """Return the clock that never goes back."""
        return self.elapsed_us

    def boottime_us(self) -> int:
        """Return the clock that goes on while the host is suspended."""
        return self.elapsed_us + self.suspended_us

    def suspend(self, suspended_us: int) -> None:
        """Sleep as a host does: its monotonic clock stands still, and it wakes with the right wall clock."""
        self.suspended_us += suspended_us
        self.wall_offset_us += suspended_us

    def wall_us(self) -> int:
        """Return the clock that people set."""
        return self.elapsed_us + self.wall_offset_us

    def tie(self) -> SystemClock:
        """Make a clock of them."""
        return SystemClock(
            read_monotonic_us=self.monotonic_us, read_wall_us=self.wall_us, read_boottime_us=self.boottime_us
        )


def test_a_clock_that_is_right_needs_no_correction() -> None:
    """Unix time is the wall clock's while nobody touches it."""
    host = Host()
    clock = host.tie()
    host.elapsed_us += 90 * SECOND_US

    assert clock.now_us() == host.wall_us()
    assert clock.discipline().ahead_us == 0
    assert clock.now_us() == host.wall_us()
    assert clock.monotonic_us() == host.elapsed_us


@pytest.mark.parametrize("step_us", [STEP_US_MIN, 3_600 * SECOND_US])
def test_a_step_forward_is_followed_at_once(step_us: int) -> None:
    """The seconds between were not looked at, so they may be skipped; they are not before the clock is disciplined."""
    host = Host()
    clock = host.tie()
    host.wall_offset_us += step_us

    assert clock.now_us() == host.wall_us() - step_us
    found = clock.discipline()
    assert (found.ahead_us, found.left_us, found.stepped_us) == (step_us, 0, step_us)
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
        left_us = clock.discipline().left_us
        corrected_us = min(done * SLEW_US_PER_SECOND_MAX, abs(step_us))
        assert abs(left_us) == abs(step_us) - corrected_us
        assert clock.now_us() - before_us >= SECOND_US - SLEW_US_PER_SECOND_MAX
        before_us = clock.now_us()
    assert clock.now_us() == host.wall_us() - left_us


MINUTE_US = 60 * SECOND_US


@pytest.mark.parametrize(
    ("suspended_us", "set_us", "late_us", "reason"),
    [
        (MINUTE_US, 0, 900, "the host was suspended for 60 s"),
        (0, 60 * MINUTE_US, 900, "the wall clock was stepped forward by 3600 s"),
        (0, 1_640_000, 0, "the wall clock was stepped forward by 1.6 s"),
        (0, 0, SECOND_US, "the prober did not run"),
        (0, -MINUTE_US, 5 * SECOND_US, "the prober did not run"),
        (MINUTE_US, 5 * SECOND_US, 0, "the host was suspended for 60 s and the wall clock was stepped forward by 5 s"),
        (MINUTE_US, 0, 3 * SECOND_US, "the host was suspended for 60 s and the prober did not run"),
        # A wall clock that was set back by more than the host slept is not followed: nothing of it was skipped.
        (MINUTE_US, -2 * MINUTE_US, 2 * SECOND_US, "the prober did not run"),
    ],
)
def test_what_moved_the_wall_clock_is_told_apart(suspended_us: int, set_us: int, late_us: int, reason: str) -> None:
    """Seconds that were skipped are put down to what skipped them: a suspension, a step, or a loop that stood still."""
    host = Host()
    clock = host.tie()
    host.elapsed_us += SECOND_US + late_us
    host.suspend(suspended_us)
    host.wall_offset_us += set_us

    found = clock.discipline()

    assert found.reason(late_us) == reason
    assert (found.suspended_us, found.stepped_us) == (suspended_us, set_us)
    assert clock.discipline().suspended_us == clock.discipline().stepped_us == 0


def test_a_wall_clock_that_runs_away_is_named_as_that() -> None:
    """What is slewed faster than we follow is no step, and its lead is jumped over once it is as large as one."""
    host = Host()
    clock = host.tie()
    for _ in range(10):
        host.elapsed_us += SECOND_US
        host.wall_offset_us += 60_000
        found = clock.discipline()
        assert found.stepped_us == 0
        if found.is_jump:
            break

    assert found.reason(0) == "the wall clock had gone ahead by 0.5 s"
    assert clock.now_us() == host.wall_us()


@pytest.mark.parametrize("asides", [1, 4])
def test_a_process_put_aside_between_two_readings_sees_no_step(asides: int) -> None:
    """Clocks that were read at two moments are read again, and the closest readings are taken."""
    host = Host()
    left = 0

    def boottime_us() -> int:
        nonlocal left
        if left:
            left -= 1
            host.elapsed_us += MINUTE_US
        return host.boottime_us()

    clock = SystemClock(read_monotonic_us=host.monotonic_us, read_wall_us=host.wall_us, read_boottime_us=boottime_us)
    host.elapsed_us += SECOND_US
    left = asides

    found = clock.discipline()

    assert left == 0
    assert (found.ahead_us, found.suspended_us, found.stepped_us) == (0, 0, 0)


def test_the_kernels_own_words_decide_whether_its_clock_is_synchronised() -> None:
    """By adjtimex(2): an error or the bit for a clock that nothing disciplines; where it may not be asked, unknown."""
    assert judge(0, 0x2001, 12, 345) == KernelClock(
        synchronisation=Synchronisation.SYNCHRONISED, estimated_error_us=12, maximum_error_us=345
    )
    assert judge(0, STA_UNSYNC, 12, 345).synchronisation is Synchronisation.UNSYNCHRONISED
    assert judge(TIME_ERROR, 0x2001, 12, 345).synchronisation is Synchronisation.UNSYNCHRONISED
    assert judge(-1, 0, 0, 0) == NOT_SAID
    assert adjtimex.read().synchronisation in Synchronisation


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
