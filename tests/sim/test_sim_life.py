"""The whole loop stopped and reloaded at random instants, and left alone for an hour or a day."""

import asyncio
import gc
from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from probe.core.engine import TargetState
from probe.core.model import Cause, Fault, Persistence, Step, Surface, Verdict

if TYPE_CHECKING:
    from tests.sim.sim_oracle import causes, target_verdict, turn_of, turns, turns_of, verdict
    from tests.sim.sim_run import (
        BOTH,
        SECOND_US,
        SHORT,
        TWO,
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
    from sim_oracle import causes, target_verdict, turn_of, turns, turns_of, verdict
    from sim_run import (
        BOTH,
        SECOND_US,
        SHORT,
        TWO,
        Life,
        ScriptedLedger,
        Watch,
        assert_every_second_once,
        by_target,
        seeded,
    )
    from sim_time import FIRST_SECOND, HostTime, simulate
    from sim_world import HANG, Calm, Sight, Stormy

HOUR_S = 3_600
Lines = list[MutableMapping[str, Any]]


def test_a_stop_at_any_instant_ends_in_time_and_keeps_what_was_begun(seed: int) -> None:
    """The loop ends within the grace, closes every second that it began, leaves a checkpoint and no task."""
    dice = seeded(seed)

    async def scenario() -> None:
        host = HostTime()
        ledger, states, elapsed_s = ScriptedLedger(), dict[str, TargetState](), 0.0
        world = Stormy(seed, seconds=2_000, first_second=FIRST_SECOND)
        for _ in range(25):
            life = Life(host, world, ledger, states=states)
            life.start()
            elapsed_s += dice.uniform(0.0, 25.0)
            await life.run_through(elapsed_s)
            life.runner.stop()
            begun = life.runner.open_seconds
            grace_s, begun_s = dice.uniform(0.1, 3.0), asyncio.get_running_loop().time()
            await asyncio.sleep(0)
            await life.runner.finish(grace_s)
            assert asyncio.get_running_loop().time() - begun_s <= grace_s + 0.001
            assert life.runner.open_seconds == 0
            assert await life.stop() == 0
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert all(charge.prober.in_flight == 0 for charge in life.plan.charges.values())  # type: ignore[attr-defined]
            assert all(charge.prober.closed for charge in life.plan.charges.values())  # type: ignore[attr-defined]
            assert life.view.told == ledger.steps[len(ledger.steps) - len(life.view.told) :]
            states |= life.view.states
            if begun:  # Else the last closer had closed them all.
                last = life.view.told[-1].target
                assert ledger.checkpoints[last] == life.view.states[last]
            elapsed_s = (host.monotonic_us() / SECOND_US) - 1_000.0 + dice.choice([0.0, 0.0, 40.0]) * dice.random()
            await host.sleep_until(elapsed_s)
        assert_every_second_once(ledger.steps)
        for own in by_target(ledger.steps).values():
            assert turns_of(own, SHORT) == [turn_of(event) for step in own for event in step.events]

    simulate(scenario())


def other_settings(dice: Random) -> list[Watch]:
    """Change terms, surfaces, timeouts and rates, and take targets away or add them."""
    names = dice.sample(["main", "spare", "third"], dice.randint(1, 3))
    return [
        Watch(
            name=name,
            surfaces=dice.choice([BOTH, BOTH, (Surface.API,), (Surface.SMTP,)]),
            persistence=dice.choice([SHORT, Persistence(unavailable_seconds=3, window_seconds=3, recovery_seconds=2)]),
            timeout_s=dice.choice([1.0, 5.0, 12.0]),
            attempts_per_second=dice.choice([1, 3]),
            in_flight_max=60,
        )
        for name in names
    ]


def test_a_reload_at_any_instant_loses_nothing(seed: int) -> None:
    """Every second is judged by the settings it began with, targets that come back have no hole, issues are kept."""
    dice = seeded(seed)
    plans: list[tuple[int, dict[str, Watch]]] = []

    async def scenario() -> Life:
        host = HostTime()
        life = Life(host, Stormy(seed, seconds=900, first_second=FIRST_SECOND), ledger)
        begun: list[Sequence[Watch]] = [TWO]
        life.on_second = lambda second: plans.append((second, {watch.name: watch for watch in begun[-1]}))
        life.start()
        elapsed_s = 0.0
        while elapsed_s < 850:
            elapsed_s += dice.expovariate(0.1)
            await life.run_through(elapsed_s)
            watches = other_settings(dice)
            begun.append(watches)
            life.reload(watches)
        await life.run_through(elapsed_s + 0.5)
        assert await life.stop(grace_s=15.0) == 0
        return life

    ledger = ScriptedLedger()
    life = simulate(scenario())

    assert_every_second_once(ledger.steps)
    settings = dict(plans)
    whole_through = plans[-1][0] - 20  # What is in flight at the stop is cut off.
    for batch in ledger.batches:
        for step in batch.steps:
            watch = settings[step.second].get(step.target)
            if watch is None:
                assert (step.verdict, step.reason) == (Verdict.UNOBSERVED, "the target was not configured")
            elif step.second < whole_through:
                assert batch.terms[step.target] == watch.terms
                assert_judged_by(life, watch, step)
    opened = {event.issue for step in ledger.steps for event in step.events if event.turn == "opened"}
    restored = {event.issue for step in ledger.steps for event in step.events if event.turn == "restored"}
    assert opened
    assert restored <= opened


def assert_judged_by(life: Life, watch: Watch, step: Step) -> None:
    """The verdicts and attempts of a second are those of the script by these settings."""
    timeout_us = round(watch.timeout_s * SECOND_US)
    assert tuple(judgement.surface for judgement in step.judgements) == watch.surfaces
    seen = [
        causes(life.world, watch.name, surface, step.second, watch.attempts_per_second, timeout_us)
        for surface in watch.surfaces
    ]
    assert [str(outcome.cause) for outcome in step.outcomes] == [cause for causes_seen in seen for cause in causes_seen]
    worked = any(life.world.control(name, step.second).cause == "accepted" for name in ("dns", "gateway"))
    # What a control decides depends on which controls there were at that instant of the reload.
    if not any(outcome.fault is Fault.NETWORK or outcome.cause is Cause.SILENT for outcome in step.outcomes):
        assert step.verdict == target_verdict([verdict(made, worked) for made in seen])[0]


def test_a_shorter_timeout_cuts_off_nothing_that_had_begun() -> None:
    """A hang that began under a long timeout is told as one, though a reload has shortened the timeout since."""

    class Hanging(Calm):
        def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
            return HANG

    async def scenario() -> None:
        watch = Watch(name="main", timeout_s=30.0, in_flight_max=60)
        life = Life(HostTime(), Hanging(), ledger, watches=[watch])
        life.start()
        await life.run_through(20.2)
        life.reload([replace(watch, timeout_s=1.0)])
        await life.run_through(60.97)
        await life.stop()

    ledger = ScriptedLedger()
    simulate(scenario())

    assert_every_second_once(ledger.steps)
    assert {step.verdict for step in ledger.steps[:-3]} == {Verdict.UNAVAILABLE}


def test_an_open_issue_survives_the_targets_absence() -> None:
    """A target that is taken out of the settings and comes back has its issue still, and what lies between is said."""

    class Down(Calm):
        def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
            return HANG if second < FIRST_SECOND + 60 else Sight()

    async def scenario() -> Life:
        life = Life(HostTime(), Down(), ledger)
        life.start()
        await life.run_through(30.5)
        life.reload(TWO[1:])
        await life.run_through(50.5)
        assert life.runner.watched == {"main", "spare"}
        life.reload(TWO)
        await life.run_through(80.97)
        await life.stop()
        return life

    ledger = ScriptedLedger()
    life = simulate(scenario())

    spans = assert_every_second_once(ledger.steps)
    assert spans["main"] == spans["spare"] == range(FIRST_SECOND + 1, FIRST_SECOND + 81)
    gap = [step for step in by_target(ledger.steps)["main"] if step.reason]
    assert [(step.second - FIRST_SECOND, step.seconds, step.reason) for step in gap] == [
        (31, 20, "the target was not configured")
    ]
    events = [event for step in by_target(ledger.steps)["main"] for event in step.events]
    assert [event.turn for event in events] == ["opened", "restored"]
    assert events[0].issue == events[1].issue
    assert life.view.status()["targets"][0]["critical_issue"] is None


def long_run(seed: int, seconds: int, lines: Lines) -> None:
    """Run through storms for a long time; hold the turns against the oracle, and memory against its beginning."""
    seeded(seed)
    watches = (replace(TWO[0], persistence=Persistence()), Watch(name="spare"))

    verdicts: dict[str, list[tuple[int, str]]] = {watch.name: [] for watch in watches}
    turned: dict[str, list[tuple[object, ...]]] = {watch.name: [] for watch in watches}

    async def scenario() -> list[int]:
        ledger = ScriptedLedger()
        life = Life(HostTime(), Stormy(seed, seconds=seconds, first_second=FIRST_SECOND), ledger, watches=watches)

        def on_told(step: Step) -> None:
            verdicts[step.target].append((step.second, str(step.verdict)))
            turned[step.target].extend(tuple(turn_of(event)) for event in step.events)

        life.view.on_told = on_told
        life.start()
        objects = []
        for part in range(1, 7):
            await life.run_through(seconds * part / 6)
            # What the test itself gathers is no part of the program's memory.
            del ledger.batches[:-1]
            life.view.told.clear()
            lines.clear()
            gc.collect()
            objects.append(len(gc.get_objects()))
        assert life.open_seconds_most <= len(watches) * 12
        assert await life.stop() == 0
        return objects

    objects = simulate(scenario())
    assert objects[-1] < objects[0] + 5_000
    for watch in watches:
        seconds_told = [second for second, _ in verdicts[watch.name]]
        assert seconds_told == list(range(FIRST_SECOND + 1, FIRST_SECOND + 1 + len(seconds_told)))
        assert len(seconds_told) >= seconds - 1
        script = turns(verdicts[watch.name], watch.persistence)
        assert [tuple(turn) for turn in script.values()] == turned[watch.name]
        assert script


@pytest.mark.slow
def test_an_hour_of_storms(seed: int, lines: Lines) -> None:
    """After an hour the record is whole, the issues are the oracle's, and nothing has piled up."""
    long_run(seed, HOUR_S, lines)
