"""What is put on record of the host's clock, and what a human reads of it in the log."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import structlog

from probe.adjtimex import KernelClock
from probe.clock import DID_NOT_RUN, SECOND_US, SystemClock
from probe.core.model import ClockState, Remark, Synchronisation
from probe.plan import Sink
from probe.timekeeper import STATE_SECONDS, Beginning, Timekeeper

GOOD = KernelClock(synchronisation=Synchronisation.SYNCHRONISED, estimated_error_us=40, maximum_error_us=900)
OFF = KernelClock(
    synchronisation=Synchronisation.UNSYNCHRONISED, estimated_error_us=16_000_000, maximum_error_us=16_000_000
)
SILENT = KernelClock(synchronisation=Synchronisation.UNKNOWN)
FIRST_SECOND = 1_700_000_000


@dataclass
class Host:
    """A host with a clock that goes on by itself, a kernel that says what it is told to, and a record."""

    elapsed_us: int = 0
    ahead_us: int = 0
    kernel: KernelClock = GOOD
    kept: list[Remark] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin to keep time."""
        clock = SystemClock(
            read_monotonic_us=lambda: self.elapsed_us,
            read_wall_us=lambda: FIRST_SECOND * SECOND_US + self.elapsed_us + self.ahead_us,
            read_kernel=lambda: self.kernel,
        )
        self.keeper = Timekeeper(clock=clock, sink=cast(Sink, self))
        self.next_second = FIRST_SECOND

    def remark(self, remark: Remark) -> None:
        """Keep it."""
        self.kept.append(remark)

    def live(self, seconds: int) -> list[dict[str, Any]]:
        """Let the second loop go on; return what it logs."""
        with structlog.testing.capture_logs() as lines:
            for _ in range(seconds):
                self.next_second = self.keeper.next_second(self.next_second).second + 1
                self.elapsed_us += SECOND_US
        return cast(list[dict[str, Any]], lines)


def test_the_clocks_state_is_put_on_record_once_a_minute() -> None:
    """From the first second on, with the kernel's own estimate and bound of the error."""
    host = Host()

    host.live(2 * STATE_SECONDS + 1)

    assert host.kept == [
        ClockState(
            second=FIRST_SECOND + passed,
            read_us=(FIRST_SECOND + passed) * SECOND_US,
            synchronisation=Synchronisation.SYNCHRONISED,
            estimated_error_us=40,
            maximum_error_us=900,
            ahead_us=0,
        )
        for passed in (0, STATE_SECONDS, 2 * STATE_SECONDS)
    ]


@pytest.mark.parametrize(("step_us", "followed"), [(3_600 * SECOND_US, "at once"), (-SECOND_US, "slowly")])
def test_a_step_of_the_wall_clock_is_on_record_and_in_the_log(step_us: int, followed: str) -> None:
    """In the second in which it is seen, once, with how far the wall clock was then ahead."""
    host = Host()
    host.live(10)
    host.ahead_us += step_us
    (line,) = host.live(20)

    assert (line["event"], line["log_level"]) == ("clock.moved", "warning")
    assert line["wall_clock_stepped_s"] == step_us / SECOND_US
    assert line["followed"].startswith(followed)
    _, state = host.kept
    assert isinstance(state, ClockState)
    assert state.ahead_us == step_us
    assert state.second == FIRST_SECOND + 10 + max(0, step_us // SECOND_US)


def test_a_clock_that_nothing_disciplines_is_warned_of_until_it_is_right_again() -> None:
    """At the start and at each turn there is one line and one state, and none between."""
    host = Host(kernel=OFF)
    assert [(line["event"], line["log_level"]) for line in host.live(5)] == [("clock.unsynchronised", "warning")]
    host.kernel = GOOD
    assert [(line["event"], line["log_level"]) for line in host.live(5)] == [("clock.synchronised", "warning")]
    host.kernel = OFF
    assert [(line["event"], line["log_level"]) for line in host.live(5)] == [("clock.unsynchronised", "warning")]

    states = [state for state in host.kept if isinstance(state, ClockState)]
    assert [(state.second - FIRST_SECOND, str(state.synchronisation)) for state in states] == [
        (0, "unsynchronised"),
        (5, "synchronised"),
        (10, "unsynchronised"),
    ]


def test_a_clock_that_is_right_or_not_known_warns_nobody() -> None:
    """What the kernel says at the start is worth a line, and no warning."""
    for kernel, event in ((GOOD, "clock.synchronised"), (SILENT, "clock.unknown")):
        assert [(line["event"], line["log_level"]) for line in Host(kernel=kernel).live(3)] == [(event, "info")]


@pytest.mark.parametrize(
    ("step_us", "late_us", "skipped", "why_skipped", "why_missed"),
    [
        (990_000, 0, 0, "the wall clock was stepped forward by 1 s", "the wall clock was stepped forward by 1 s"),
        (650_000, 0, 0, "the wall clock was stepped forward by 0.7 s", "the wall clock was stepped forward by 0.7 s"),
        (
            2_900_000,
            1_000,
            2,
            "the wall clock was stepped forward by 2.9 s",
            "the wall clock was stepped forward by 2.9 s",
        ),
        # The step leaves the whole second, so a loop that misses it has itself to blame.
        (3 * SECOND_US, 0, 3, "the wall clock was stepped forward by 3 s", DID_NOT_RUN),
        (0, 0, 0, DID_NOT_RUN, DID_NOT_RUN),
        (0, 2_950_000, 2, DID_NOT_RUN, DID_NOT_RUN),
    ],
)
def test_a_second_that_nobody_looks_at_has_its_true_reason(
    step_us: int, late_us: int, skipped: int, why_skipped: str, why_missed: str
) -> None:
    """Whether it was jumped over, cut short by a jump into its middle, or slept through."""
    host = Host()
    host.live(10)
    host.ahead_us += step_us
    host.elapsed_us += late_us

    assert host.keeper.next_second(host.next_second) == Beginning(
        second=host.next_second + skipped, why_skipped=why_skipped, why_missed=why_missed
    )
