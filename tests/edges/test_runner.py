"""The second loop where a real loop and real time show more than a simulation: errors, the smallest runs, the end."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from probe.clock import SECOND_US, SystemClock, wall_us
from probe.core.model import (
    Cause,
    Connection,
    ControlOutcome,
    Fault,
    Outcome,
    Persistence,
    Phase,
    Surface,
    Terms,
    Ticket,
)
from probe.core.schedule import Slot
from probe.plan import Charge, Closed, Plan
from probe.runner import Runner

TERMS = Terms(profile="sparkpost-enterprise", persistence=Persistence(), objective_ppm=999_900, surfaces=(Surface.API,))
SLOT = Slot(target="main", surface=Surface.API, ordinal=0, offset_us=100_000)


@dataclass
class Taker:
    """Takes what is closed."""

    full: bool = False
    closed: list[Closed] = field(default_factory=list)
    checkpoints: list[bool] = field(default_factory=list)
    in_flight: int = 0

    def offer(self, closed: Sequence[Closed], controls: Sequence[ControlOutcome], checkpoint: bool) -> None:
        """Note it."""
        self.closed.extend(closed)
        self.checkpoints.append(checkpoint)

    def started(self, slot: Slot, lateness_us: int) -> None:
        """Count it."""
        assert lateness_us >= 0
        self.in_flight += 1

    def ended(self, slot: Slot) -> None:
        """Count it off."""
        self.in_flight -= 1


class Stub:
    """Answers at once, or as it is told to."""

    def __init__(self, *, waits: bool = False, second_off: int = 0) -> None:
        self._waits = waits
        self._second_off = second_off
        self.began = asyncio.Event()
        self.closed = False

    async def attempt(self, ticket: Ticket, deadline_us: int) -> Outcome:
        """Accept."""
        self.began.set()
        if self._waits:
            await asyncio.Event().wait()
        return Outcome(
            target=ticket.target,
            surface=ticket.surface,
            second=ticket.second + self._second_off,
            ordinal=ticket.ordinal,
            started_us=wall_us(),
            duration_us=1,
            fault=Fault.NONE,
            cause=Cause.ACCEPTED,
            phase=Phase.BODY,
            connection=Connection.FRESH,
        )

    def close(self) -> None:
        """Note it."""
        self.closed = True


def plan_of(prober: Stub) -> Plan:
    """Plan one attempt a second."""
    charge = Charge(prober=prober, timeout_us=SECOND_US, in_flight_max=3)
    return Plan(
        vantage="here", slots=(SLOT,), terms={"main": TERMS}, charges={("main", Surface.API): charge}, controls={}
    )


def runner_of(prober: Stub, taker: Taker) -> Runner:
    """Build the loop."""
    return Runner(plan=plan_of(prober), clock=SystemClock(), sink=taker, states={})


async def test_one_real_second_is_made_judged_and_offered() -> None:
    """On the real clocks a second passes through the loop, and the stop leaves it closed with a checkpoint."""
    prober, taker = Stub(), Taker()
    runner = runner_of(prober, taker)
    running = asyncio.create_task(runner.run())

    async with asyncio.timeout(5):
        await prober.began.wait()
    runner.stop()
    await running
    await runner.finish(0.5)

    [closed] = taker.closed
    [outcome] = closed.step.outcomes
    assert closed.step.verdict == "available"
    assert closed.state.next_second == closed.step.second + 1
    assert 0 <= outcome.started_us - (closed.step.second * SECOND_US + SLOT.offset_us) < SECOND_US
    assert taker.checkpoints == [True]
    assert taker.in_flight == 0
    assert prober.closed


async def test_a_stop_before_the_first_second_leaves_nothing() -> None:
    """Nothing was begun, so nothing is written."""
    taker = Taker()
    runner = runner_of(Stub(), taker)
    running = asyncio.create_task(runner.run())
    await asyncio.sleep(0)

    runner.stop()
    await running
    await runner.finish(0.0)

    assert taker.closed == []
    assert runner.open_seconds == 0


async def test_an_attempt_that_outlives_the_grace_is_cut_off_and_recorded() -> None:
    """What is in flight at the end is recorded as stopped: our doing, and never theirs."""
    prober, taker = Stub(waits=True), Taker()
    runner = runner_of(prober, taker)
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(5):
        await prober.began.wait()
    runner.stop()
    await running

    await runner.finish(0.01)

    [closed] = taker.closed
    assert [(outcome.fault, outcome.cause) for outcome in closed.step.outcomes] == [(Fault.SELF, Cause.STOPPED)]
    assert closed.step.verdict == "inconclusive"
    assert taker.in_flight == 0


async def test_a_broken_rule_of_ours_ends_the_run() -> None:
    """An outcome of another second means that the program is wrong: the run raises rather than record it."""
    prober, taker = Stub(second_off=1), Taker()
    runner = runner_of(prober, taker)

    async with asyncio.timeout(5):
        with pytest.raises(AssertionError):
            await runner.run()

    assert taker.closed == []


async def test_a_plan_that_is_replaced_is_closed() -> None:
    """A reload drops the connections of the plan before it, and the next attempts are made by the new one."""
    before, after, taker = Stub(), Stub(), Taker()
    runner = runner_of(before, taker)
    running = asyncio.create_task(runner.run())

    runner.replace(replace(plan_of(after), terms={"main": TERMS}), {})
    async with asyncio.timeout(5):
        await after.began.wait()
    runner.stop()
    await running
    await runner.finish(0.5)

    assert before.closed
    assert not before.began.is_set()
    assert runner.watched == {"main"}


async def test_a_full_sink_begins_nothing() -> None:
    """While nothing more can be taken no attempt is made, and the gap that this leaves is told at the end."""
    prober, taker, begun = Stub(), Taker(full=True), asyncio.Event()
    runner = Runner(
        plan=plan_of(prober), clock=SystemClock(), sink=taker, states={}, on_second=lambda _second: begun.set()
    )
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(5):
        await begun.wait()
    runner.stop()
    await running
    await runner.finish(0.0)

    assert not prober.began.is_set()
    assert [(closed.step.verdict, closed.step.reason) for closed in taker.closed] == [
        ("unobserved", "the ledger's queue was full")
    ]
