"""Hosts whose wall clock lies, through the whole program: set, slewed, smeared, suspended, and all of it in a storm."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

import pytest

from probe.clock import SLEW_US_PER_SECOND_MAX, STEP_US_MIN, SystemClock
from probe.core.model import Cause, Fault, Step, Surface, Verdict

if TYPE_CHECKING:
    from tests.sim.sim_oracle import causes, turns_of
    from tests.sim.sim_run import (
        SECOND_US,
        SHORT,
        Life,
        ScriptedLedger,
        Watch,
        assert_every_second_once,
        by_target,
        seeded,
    )
    from tests.sim.sim_time import FIRST_SECOND, HostTime, simulate
    from tests.sim.sim_world import HANG, Calm, Sight, Stormy
else:
    from sim_oracle import causes, turns_of
    from sim_run import (
        SECOND_US,
        SHORT,
        Life,
        ScriptedLedger,
        Watch,
        assert_every_second_once,
        by_target,
        seeded,
    )
    from sim_time import FIRST_SECOND, HostTime, simulate
    from sim_world import HANG, Calm, Sight, Stormy

HOUR_S, MINUTE_S = 3_600, 60
ONE = Watch(name="main", surfaces=(Surface.API,))
Lie = Callable[[HostTime], None]
LATE_US_MAX = 130_000
AGREES_US = 1_000
# The start of a second is where the two clocks are tied anew, so up to one second is on its way.
TIE_S = 2


def left_after(ahead_us: int, quiet_s: float) -> int:
    """Say how far apart the named time and the wall clock may still be, so long after the last lie."""
    if ahead_us >= STEP_US_MIN:
        return AGREES_US
    return max(0, abs(ahead_us) - round((quiet_s - TIE_S) * SLEW_US_PER_SECOND_MAX)) + AGREES_US


def assert_no_outcome_is_of_the_wall_clock(steps: list[Step], timeout_us: int) -> None:
    """A hang lasts for the timeout by the monotonic clock, whatever the wall clock did meanwhile."""
    for outcome in [outcome for step in steps for outcome in step.outcomes]:
        assert 0 <= outcome.duration_us <= timeout_us + LATE_US_MAX
        if outcome.cause is Cause.SILENT:
            assert outcome.duration_us >= timeout_us - LATE_US_MAX


def assert_only_what_was_skipped_is_unobserved(steps: list[Step], skipped_s: float, lies: int) -> None:
    """Seconds are unobserved where the wall clock went ahead of us, with a reason, and nowhere else."""
    unobserved = [step for step in steps if step.verdict is Verdict.UNOBSERVED]
    assert all(step.reason and not step.outcomes for step in unobserved)
    seconds = sum(step.seconds for step in unobserved)
    assert skipped_s - 2 * lies <= seconds <= skipped_s + lies


class Hanging(Calm):
    """A provider that never answers."""

    def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
        """Hang."""
        return HANG


LIES: dict[str, tuple[Lie, float]] = {
    "set back an hour": (lambda host: host.step(-HOUR_S), 0),
    "set forward an hour": (lambda host: host.step(HOUR_S), HOUR_S),
    "set forward a second": (lambda host: host.step(1.0), 1),
    "set back a second": (lambda host: host.step(-1.0), 0),
    "set forward by 300 ms": (lambda host: host.step(0.3), 0),
    "set back by 300 ms": (lambda host: host.step(-0.3), 0),
    "leap second stepped": (lambda host: host.step(-1.0), 0),
    "suspended for a minute": (lambda host: host.suspend(MINUTE_S), MINUTE_S),
}


@pytest.mark.parametrize("at_s", [30.005, 30.4, 30.95])
@pytest.mark.parametrize("name", LIES)
def test_a_lie_repeats_no_second_and_is_made_up_for(name: str, at_s: float) -> None:
    """At the border, in the middle or at the end of a second: each is judged once, and the clocks agree again."""
    lie, skipped_s = LIES[name]
    quiet_s = 150.0

    async def scenario() -> None:
        host = HostTime()
        life = Life(host, Hanging(), ledger, watches=[ONE])
        life.start()
        await life.run_through(at_s)
        lie(host)
        ahead_us = host.wall_us() - life.clock.now_us()
        await life.run_through(at_s + quiet_s)
        assert abs(host.wall_us() - life.clock.now_us()) <= left_after(ahead_us, quiet_s)
        assert await life.stop(grace_s=6.0) == 0

    ledger = ScriptedLedger()
    simulate(scenario())

    assert_every_second_once(ledger.steps)
    assert_no_outcome_is_of_the_wall_clock(ledger.steps, 5 * SECOND_US)
    steps = ledger.steps[:-1]  # The stop may come before the last second's attempt.
    assert_only_what_was_skipped_is_unobserved(steps, skipped_s, lies=1)
    looked_at = [step for step in steps if step.verdict is not Verdict.UNOBSERVED]
    assert {step.verdict for step in looked_at} == {Verdict.UNAVAILABLE}
    # A hundredth of each second may be lost or won on the way back to the wall clock, and no more.
    assert abs(len(looked_at) - (at_s + quiet_s)) <= quiet_s / 100 + 2


@pytest.mark.parametrize("drift_ppb", [500_000, -500_000])
def test_a_clock_slewed_for_hours_costs_no_second(drift_ppb: int) -> None:
    """At 500 ppm for two hours every second is looked at, and the names of seconds keep to the wall clock."""
    apart_us: list[int] = []

    async def scenario() -> int:
        host = HostTime()
        life = Life(host, Calm(), ledger, watches=[ONE], controls=())
        life.on_second = lambda _: apart_us.append(abs(host.wall_us() - life.clock.now_us()))
        life.start()
        host.slew(drift_ppb)
        await life.run_through(2 * HOUR_S + 0.5)
        assert await life.stop() == 0
        return host.wall_us()

    ledger = ScriptedLedger()
    ended_us = simulate(scenario())

    spans = assert_every_second_once(ledger.steps)
    assert {step.verdict for step in ledger.steps[:-1]} == {Verdict.AVAILABLE}
    assert spans["main"].stop - 1 == ended_us // SECOND_US
    assert ended_us // SECOND_US - FIRST_SECOND == 2 * HOUR_S + (4 if drift_ppb > 0 else -4)
    assert max(apart_us) <= AGREES_US


def test_a_record_an_hour_ahead_is_caught_up_with_in_a_hundred_hours() -> None:
    """Set back by an hour, the named time goes on without a second twice, and meets the wall clock again."""

    async def scenario() -> None:
        host = HostTime()
        loop = asyncio.get_running_loop()
        clock = SystemClock(read_monotonic_us=host.monotonic_us, read_wall_us=host.wall_us)
        host.step(-HOUR_S)
        named_us = clock.now_us()
        for _ in range(100 * HOUR_S):
            loop.stall(1.0)  # type: ignore[attr-defined]
            clock.discipline()
            named_us, before_us = clock.now_us(), named_us
            assert 0.98 * SECOND_US < named_us - before_us <= SECOND_US
        assert abs(clock.now_us() - host.wall_us()) <= AGREES_US

    simulate(scenario())


def test_lies_of_every_kind_in_a_storm(seed: int) -> None:
    """Steps, slews, suspensions and stalls one after the other: the record has each second once, and as scripted."""
    dice = seeded(seed)
    watch = replace(ONE, surfaces=(Surface.API, Surface.SMTP))

    async def scenario() -> Stormy:
        host = HostTime()
        world = Stormy(seed, seconds=40_000, first_second=FIRST_SECOND)
        life = Life(host, world, ledger, watches=[watch])
        life.start()
        for _ in range(60):
            await life.run_through(host.elapsed_s + dice.uniform(0.01, 20.0))
            before_us = life.clock.now_us()
            _lie(host, dice)
            assert life.clock.now_us() >= before_us
        host.slew(0)
        # The last step back of a second or so is made up for by then; that of an hour would take four days.
        ahead_us, quiet_s = host.wall_us() - life.clock.now_us(), 120.0
        await life.run_through(host.elapsed_s + quiet_s)
        assert abs(host.wall_us() - life.clock.now_us()) <= left_after(ahead_us, quiet_s)
        assert await life.stop() == 0
        return world

    ledger = ScriptedLedger()
    world = simulate(scenario())

    assert_every_second_once(ledger.steps)
    starts = [outcome.second for step in ledger.steps for outcome in step.outcomes]
    assert starts == sorted(starts)
    timeout_us = round(watch.timeout_s * SECOND_US)
    for step in ledger.steps:
        if step.verdict is Verdict.UNOBSERVED:
            assert not step.outcomes
            assert step.reason
        for outcome in step.outcomes:
            # Lateness and the wait for room are taken off an attempt's own time; a stall may cost it its outcome.
            scripted = {
                causes(world, "main", outcome.surface, step.second, 1, timeout_us - late_us)[0]
                for late_us in (0, LATE_US_MAX)
            }
            assert outcome.cause in scripted or outcome.fault is Fault.SELF
    for own in by_target(ledger.steps).values():
        assert [turn.turn for turn in turns_of(own, SHORT)] == [event.turn for step in own for event in step.events]


def _lie(host: HostTime, dice: Random) -> None:
    """Do one of the things that hosts do to their clocks."""
    match dice.randrange(6):
        case 0:
            host.step(dice.choice([1.0, -1.0, 0.3, -0.3, 2.7]))
        case 1:
            host.step(dice.choice([HOUR_S, HOUR_S, -HOUR_S]) * dice.random())
        case 2:
            host.slew(dice.choice([500_000, -500_000, -11_574, 0]))
        case 3:
            host.suspend(dice.choice([0.3, 5.0, MINUTE_S, 30 * MINUTE_S]) * dice.uniform(0.5, 1.5))
        case 4:
            host.stall(dice.choice([0.03, 0.7, 2.5, 30.0]) * dice.uniform(0.5, 1.5))
        case _:
            host.step(0.0)
