"""The whole loop under a provider that does everything wrong, held against a plain reading of the script."""

import hashlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from probe.core.model import Cause, Surface, Verdict

if TYPE_CHECKING:
    from tests.sim.sim_oracle import expected, judged
    from tests.sim.sim_run import (
        CONTROLS,
        SECOND_US,
        TWO,
        Life,
        ScriptedLedger,
        Watch,
        assert_every_second_once,
        by_target,
        seeded,
    )
    from tests.sim.sim_time import FIRST_SECOND, HostTime, simulate
    from tests.sim.sim_world import HANG, Calm, Manner, Sight, Stormy
else:
    from sim_oracle import expected, judged
    from sim_run import (
        CONTROLS,
        SECOND_US,
        TWO,
        Life,
        ScriptedLedger,
        Watch,
        assert_every_second_once,
        by_target,
        seeded,
    )
    from sim_time import FIRST_SECOND, HostTime, simulate
    from sim_world import HANG, Calm, Manner, Sight, Stormy

SECONDS = 600


async def play(seed: int, seconds: int = SECONDS) -> tuple[Life, ScriptedLedger]:
    """Run the program through a storm and stop it."""
    seeded(seed)
    world = Stormy(seed, seconds=seconds, first_second=FIRST_SECOND)
    ledger = ScriptedLedger()
    life = Life(HostTime(), world, ledger)
    life.start()
    await life.run_through(seconds + 0.5)
    assert await life.stop(grace_s=10.0) == 0
    return life, ledger


@cache
def played(seed: int) -> tuple[Life, ScriptedLedger]:
    """Run the program through a storm, once for all tests that look at it."""
    return simulate(play(seed))


def digest(seed: int) -> str:
    """Run the program through a storm and give a digest of everything that it kept and told."""
    with capture_logs() as lines:
        life, ledger = simulate(play(seed, 60))
    said = [line for line in lines if line["event"].startswith(("critical_issue", "seconds"))]
    kept = [(step, outcome) for step in ledger.steps for outcome in step.outcomes]
    return hashlib.sha256(repr((kept, ledger.batches, life.view.told, said)).encode()).hexdigest()


def test_the_same_seed_leads_to_the_same_record(seed: int) -> None:
    """Nothing in the loop depends on chance: neither in this process nor in one that hashes strings differently."""
    elsewhere = subprocess.run(
        [sys.executable, "-c", f"import sys; from test_sim_judging import digest; print(digest({seed}))"],
        env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": f"{Path(__file__).parent}:{Path.cwd()}"},
        capture_output=True,
        text=True,
        check=True,
    )

    here = digest(seed)
    assert digest(seed) == here
    assert elsewhere.stdout.strip() == here
    assert digest(seed + 1) != here


def test_what_is_told_is_what_the_script_says(seed: int) -> None:
    """Through all layers, every second of a storm is judged as a slow and plain reading of the script judges it."""
    life, ledger = played(seed)

    assert life.view.told == ledger.steps
    told = by_target(life.view.told)
    for watch in TWO:
        steps = told[watch.name]
        seconds = range(steps[0].second, steps[-1].second + 1)
        assert len(seconds) >= SECONDS - 1
        # Attempts of the last few seconds may have been cut off by the stop.
        whole = len(seconds) - 20
        script = expected(
            life.world,
            watch.name,
            watch.surfaces,
            seconds,
            rule=watch.persistence,
            controls=CONTROLS,
            attempts=watch.attempts_per_second,
            timeout_us=round(watch.timeout_s * SECOND_US),
        )
        assert [judged(step) for step in steps[:whole]] == script[:whole]
        assert any(row.turns for row in script), "a seed in which no issue opens proves little"


def test_an_issue_turns_only_on_seconds_of_the_right_kind(seed: int) -> None:
    """An issue opens on an unavailable second, ends on an available one, and at most one is open at a time."""
    life, _ = played(seed)

    opened = 0
    for steps in by_target(life.view.told).values():
        open_issue = ""
        for step in steps:
            for event in step.events:
                assert event.noticed_second == step.second
                if event.turn == "opened":
                    assert (step.verdict, open_issue) == ("unavailable", "")
                    open_issue, opened = event.issue, opened + 1
                else:
                    assert (step.verdict, open_issue) == ("available", event.issue)
                    open_issue = ""
    assert opened


class Ours(Calm):
    """A world in which all that goes wrong is our own doing, on one surface or on both."""

    def __init__(self, sight: Sight) -> None:
        self.sight = sight

    def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
        """Fail by our fault."""
        return self.sight


@pytest.mark.parametrize(
    ("sight", "in_flight_max", "causes"),
    [
        (Sight(manner=Manner.BREAKS), 30, {Cause.INTERNAL}),
        (Sight(manner=Manner.OVERSTAYS), 30, {Cause.INTERNAL}),
        (Sight(manner=Manner.OVERSTAYS), 3, {Cause.INTERNAL, Cause.CAPPED}),
        (Sight(cause=Cause.RESOLVER), 30, {Cause.RESOLVER}),
        (Sight(cause=Cause.NO_ROUTE), 30, {Cause.NO_ROUTE}),
        (Sight(cause=Cause.DESCRIPTORS), 30, {Cause.DESCRIPTORS}),
    ],
)
def test_our_fault_is_never_theirs(sight: Sight, in_flight_max: int, causes: set[Cause]) -> None:
    """Bugs of ours, attempts that never end, and trouble of our host leave seconds inconclusive and open no issue."""

    async def scenario() -> tuple[Life, ScriptedLedger]:
        ledger = ScriptedLedger()
        watch = Watch(name="main", in_flight_max=in_flight_max)
        life = Life(HostTime(), Ours(sight), ledger, watches=[watch])
        life.start()
        await life.run_through(119.97)
        # However wrong a surface goes, what is open stays bounded by the deadline and the guard behind it.
        assert life.open_seconds_most <= watch.timeout_s + 5
        await life.stop(grace_s=0.5)
        return life, ledger

    life, ledger = simulate(scenario())

    assert_every_second_once(ledger.steps)
    assert len(ledger.steps) >= 119
    assert {step.verdict for step in ledger.steps} == {Verdict.INCONCLUSIVE}
    assert {outcome.cause for step in ledger.steps for outcome in step.outcomes} - {Cause.STOPPED} <= causes
    assert life.view.status()["targets"][0]["critical_issue"] is None


def test_a_control_that_never_ends_holds_nothing_up() -> None:
    """A bug in a control costs its word, never the seconds that wait for it."""

    class Stuck(Calm):
        def control(self, control: str, second: int) -> Sight:
            return Sight(manner=Manner.OVERSTAYS)

    async def scenario() -> Life:
        life = Life(HostTime(), Stuck(), ScriptedLedger())
        life.start()
        await life.run_through(59.97)
        assert life.open_seconds_most <= 2 * 12
        await life.stop()
        return life

    life = simulate(scenario())
    assert {step.verdict for step in life.view.told} == {Verdict.AVAILABLE}
    assert len(life.view.told) >= 2 * 58


@pytest.mark.slow
def test_an_hour_of_hanging_costs_no_attempt() -> None:
    """With ten attempts in flight at a deadline of ten seconds and one a second, none is capped, not even by drift."""

    class Hanging(Calm):
        def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
            return HANG

    async def scenario() -> tuple[Life, ScriptedLedger]:
        ledger = ScriptedLedger()
        host = HostTime()
        life = Life(host, Hanging(), ledger, watches=[Watch(name="main", timeout_s=10.0, in_flight_max=10)])
        lags: list[float] = []
        life.view.on_told = lambda step: lags.append(host.wall_us() / SECOND_US - step.second)
        life.start()
        await life.run_through(3_600.0)
        # The deadline, the rest of the second, and the wait for the closer and the ledger.
        assert 10.0 < min(lags) <= max(lags) < 13.0
        await life.stop()
        return life, ledger

    life, ledger = simulate(scenario())

    assert_every_second_once(ledger.steps)
    hung = ledger.steps[:3_580]
    assert {outcome.cause for step in hung for outcome in step.outcomes} == {Cause.SILENT}
    assert {step.verdict for step in hung} == {Verdict.UNAVAILABLE}
    assert all(charge.prober.in_flight_most == 10 for charge in life.plan.charges.values())  # type: ignore[attr-defined]
