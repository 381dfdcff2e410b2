"""The whole loop on hosts that stall, sleep, and set their clocks: every second once, and never by our own fault."""

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from probe.clock import DID_NOT_RUN
from probe.core.engine import begin
from probe.core.model import Cause, Fault, Step, Surface, Verdict
from probe.lanes import STOPPED

if TYPE_CHECKING:
    from tests.sim.sim_oracle import causes, turns_of
    from tests.sim.sim_run import (
        SECOND_US,
        SHORT,
        TWO,
        Life,
        ScriptedLedger,
        Watch,
        assert_every_second_once,
        at,
        by_target,
        seeded,
    )
    from tests.sim.sim_time import FIRST_SECOND, HostTime, simulate
    from tests.sim.sim_world import HANG, Calm, Sight, Stormy, World
else:
    from sim_oracle import causes, turns_of
    from sim_run import (
        SECOND_US,
        SHORT,
        TWO,
        Life,
        ScriptedLedger,
        Watch,
        assert_every_second_once,
        at,
        by_target,
        seeded,
    )
    from sim_time import FIRST_SECOND, HostTime, simulate
    from sim_world import HANG, Calm, Sight, Stormy, World

HOUR_S = 3_600
LATE_US_MAX = 130_000


def assert_told_as_scripted(world: World, steps: list[Step]) -> None:
    """Whatever was attempted is recorded as the script has it, and the turns follow from what was judged."""
    watches = {watch.name: watch for watch in TWO}
    for step in steps:
        watch = watches[step.target]
        for outcome in step.outcomes:
            timeout_us = round(watch.timeout_s * SECOND_US)
            # Lateness and the wait for room are taken off an attempt's own time.
            scripted = {
                causes(
                    world, step.target, outcome.surface, step.second, watch.attempts_per_second, timeout_us - late_us
                )[outcome.ordinal]
                for late_us in (0, LATE_US_MAX)
            }
            # A stall may cost an attempt its outcome, and then it is our fault that is recorded.
            assert outcome.cause in scripted or outcome.fault is Fault.SELF
        if step.verdict is Verdict.UNOBSERVED:
            assert not step.outcomes
            assert step.reason or step.seconds == 1
    for own in by_target(steps).values():
        assert [turn.turn for turn in turns_of(own, SHORT)] == [event.turn for step in own for event in step.events]


def test_every_second_is_told_once_however_the_loop_stalls(seed: int) -> None:
    """Stalls of milliseconds to minutes leave seconds unobserved, and never a hole, a double or a wrong outcome."""
    dice = seeded(seed)

    async def scenario() -> Life:
        host = HostTime()
        world = Stormy(seed, seconds=600, first_second=FIRST_SECOND)
        life = Life(host, world, ledger)
        life.start()
        for _ in range(60):
            await life.run_through((host.monotonic_us() / SECOND_US - 1_000.0) + dice.uniform(0.0, 5.0))
            host.stall(dice.choice([0.03, 0.2, 0.7, 1.0, 2.5, 30.0]) * dice.uniform(0.5, 1.5))
        await life.run_through(host.monotonic_us() / SECOND_US - 1_000.0 + 8.0)
        assert await life.stop() == 0
        return life

    ledger = ScriptedLedger()
    life = simulate(scenario())

    spans = assert_every_second_once(ledger.steps)
    assert ledger.steps == life.view.told
    assert {span.start for span in spans.values()} == {FIRST_SECOND + 1}
    assert len({span.stop for span in spans.values()}) == 1
    assert {step.reason for step in ledger.steps} - {STOPPED} == {"", DID_NOT_RUN}
    assert {step.verdict for step in ledger.steps if not step.outcomes} == {Verdict.UNOBSERVED}
    assert all(bool(step.reason) is not bool(step.outcomes) for step in ledger.steps)
    assert_told_as_scripted(life.world, ledger.steps)


@pytest.mark.parametrize("step_s", [1.0, -1.0, 0.3, 2.7, HOUR_S, -HOUR_S, 100 * HOUR_S])
def test_a_wall_clock_that_is_set_repeats_no_second(step_s: float) -> None:
    """A step forward leaves seconds unobserved; a step back is followed so slowly that no second comes twice."""

    async def scenario() -> None:
        host = HostTime()
        life = Life(host, Calm(), ledger)
        life.start()
        await life.run_through(30.4)
        host.step(step_s)
        await life.run_through(330.4)
        assert await life.stop() == 0

    ledger = ScriptedLedger()
    simulate(scenario())

    spans = assert_every_second_once(ledger.steps)
    unobserved = sum(step.seconds for step in ledger.steps if step.verdict is Verdict.UNOBSERVED)
    ahead_s = max(0.0, step_s) if step_s >= 0.5 else 0.0
    for span in spans.values():
        # Slewing by a hundredth of each second, 300 seconds cannot gain or lose more than three.
        assert abs(len(span) - (330 + ahead_s)) <= 4
    assert len(TWO) * (ahead_s - 1) <= unobserved <= len(TWO) * (ahead_s + 1)
    # The stop may come between the first surface and the second.
    whole = [step for own in by_target(ledger.steps).values() for step in own[:-1]]
    assert {step.verdict for step in whole} == {Verdict.AVAILABLE, *([Verdict.UNOBSERVED] if ahead_s >= 1 else [])}


@pytest.mark.parametrize("drift_ppm", [-5_000, -100, 100, 5_000])
def test_a_drifting_clock_costs_no_second(drift_ppm: int) -> None:
    """The names of seconds follow the wall clock's drift, and every second is still observed."""

    async def scenario() -> None:
        host = HostTime(drift_ppb=1_000 * drift_ppm)
        life = Life(host, Calm(), ledger, watches=[Watch(name="main")])
        life.start()
        await life.run_through(300.5)
        assert abs(life.clock.now_us() - host.wall_us()) < 20_000
        assert await life.stop() == 0

    ledger = ScriptedLedger()
    simulate(scenario())

    assert_every_second_once(ledger.steps)
    assert {step.verdict for step in ledger.steps[:-1]} == {Verdict.AVAILABLE}


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_a_step_of_the_clock_falsifies_no_hang(step_s: float) -> None:
    """Attempts in flight while somebody sets the clock keep their deadline: nobody cuts them off, or lets them be."""

    class Hanging(Calm):
        def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
            return HANG

    async def scenario() -> None:
        host = HostTime()
        life = Life(host, Hanging(), ledger)
        life.start()
        await life.run_through(3.2)
        host.step(step_s)
        await life.run_through(30.2)
        await life.stop(grace_s=6.0)

    ledger = ScriptedLedger()
    simulate(scenario())

    assert_every_second_once(ledger.steps)
    outcomes = [outcome for step in ledger.steps for outcome in step.outcomes]
    assert {outcome.cause for outcome in outcomes} == {Cause.SILENT}
    assert all(4_900_000 < outcome.duration_us < 5_100_000 for outcome in outcomes)


def test_a_host_that_sleeps_skips_what_it_slept_through(seed: int) -> None:
    """Sleep and steps at random: the record goes on without a hole, and only what was looked at is judged."""
    dice = seeded(seed)

    async def scenario() -> Life:
        host = HostTime(drift_ppb=dice.randint(-200_000, 200_000))
        world = Stormy(seed, seconds=30_000, first_second=FIRST_SECOND)
        life = Life(host, world, ledger)
        life.start()
        elapsed_s = 0.0
        for _ in range(20):
            elapsed_s += dice.uniform(0.5, 20.0)
            await life.run_through(elapsed_s)
            host.step(dice.choice([0.02, 0.4, 1.0, 1.5, 60.0, 1_000.0]) * dice.choice([1, 1, 1, -1]))
        await life.run_through(elapsed_s + 10.0)
        assert await life.stop() == 0
        return life

    ledger = ScriptedLedger()
    life = simulate(scenario())

    assert_every_second_once(ledger.steps)
    assert_told_as_scripted(life.world, ledger.steps)
    for own in by_target(ledger.steps).values():
        starts = [(outcome.second, outcome.ordinal) for step in own for outcome in step.outcomes]
        assert all(before[0] <= after[0] for before, after in pairwise(starts))


def test_a_record_that_is_ahead_of_the_clock_is_waited_for() -> None:
    """A clock set back while the daemon was down judges no second twice: the target waits, and the others do not."""

    async def scenario() -> None:
        host = HostTime()
        states = {
            "main": begin("main", TWO[0].terms, FIRST_SECOND + 40),
            "spare": begin("spare", TWO[1].terms, FIRST_SECOND - 100),
        }
        life = Life(host, Calm(), ledger, states=states)
        life.start()
        await life.run_through(60.97)
        assert await life.stop() == 0

    ledger = ScriptedLedger()
    simulate(scenario())

    spans = assert_every_second_once(ledger.steps)
    assert spans["main"] == range(FIRST_SECOND + 40, FIRST_SECOND + 61)
    assert spans["spare"] == range(FIRST_SECOND - 100, FIRST_SECOND + 61)
    missed, *observed = by_target(ledger.steps)["spare"]
    assert (missed.seconds, missed.reason) == (101, "the daemon was down")
    assert {step.verdict for step in (*observed, *by_target(ledger.steps)["main"])} == {Verdict.AVAILABLE}


def test_a_late_second_makes_no_burst() -> None:
    """What could not start in its own second is left unmade."""
    starts: list[tuple[int, float]] = []

    class Watched(Calm):
        def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
            starts.append((second, asyncio.get_running_loop().time()))
            return Sight()

    async def scenario() -> None:
        host = HostTime()
        life = Life(host, Watched(), ledger, watches=[Watch(name="main", attempts_per_second=9)])
        life.start()
        stalling = asyncio.create_task(at(host, 10.35, lambda: host.stall(3.3)))
        await life.run_through(20.97)
        await stalling
        assert await life.stop() == 0

    ledger = ScriptedLedger()
    simulate(scenario())

    assert_every_second_once(ledger.steps)
    for second, started_s in starts:
        assert 0 <= started_s - 1_000.0 - (second - FIRST_SECOND) < 1
    reasons = {step.second - FIRST_SECOND: step.reason for step in ledger.steps if step.reason}
    assert reasons == {11: "the prober did not run"}
    assert sum(step.seconds for step in ledger.steps if step.reason) == 2
