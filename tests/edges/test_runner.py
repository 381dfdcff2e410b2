"""The second loop where a real loop and real time show more than a simulation: errors, the smallest runs, the end."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest
import structlog

from probe.clock import SECOND_US, SystemClock, wall_us
from probe.control_room import ControlRoom
from probe.core import engine
from probe.core.model import (
    Cause,
    Connection,
    ControlOutcome,
    Fault,
    Outcome,
    Persistence,
    Phase,
    Remark,
    Surface,
    Terms,
    Ticket,
)
from probe.core.schedule import Slot
from probe.not_made import in_its_second, not_made
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
    took: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, closed: Sequence[Closed], controls: Sequence[ControlOutcome], checkpoint: bool) -> None:
        """Note it."""
        self.closed.extend(closed)
        self.took.set()
        self.checkpoints.append(checkpoint)

    def remark(self, remark: Remark) -> None:
        """Note nothing."""

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


class LateClock(SystemClock):
    """A clock that says, once asked to, that a second has passed in which this process did not run."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_us = 0

    def now_us(self) -> int:
        """Return the time, with what was skipped."""
        return super().now_us() + self.skipped_us


async def test_an_attempt_that_comes_too_late_for_its_second_is_not_made() -> None:
    """An attempt belongs to the second in which it starts; where that is over, nobody looked, and nobody is blamed."""
    clock, prober, taker = LateClock(), Stub(), Taker()

    def stall(slot: Slot, lateness_us: int) -> None:
        clock.skipped_us = SECOND_US

    taker.started = stall  # type: ignore[method-assign]
    runner = Runner(plan=plan_of(prober), clock=clock, sink=taker, states={})
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(8):
        await taker.took.wait()
    runner.stop()
    await running
    await runner.finish(0.0)

    assert taker.closed[0].step.verdict == "unobserved"
    assert not taker.closed[0].step.outcomes
    assert not prober.began.is_set()


@pytest.mark.parametrize(("late_us", "fault"), [(-1, Fault.NONE), (0, Fault.SELF), (49_626, Fault.SELF)])
def test_an_attempt_that_began_in_the_next_second_says_nothing_of_its_own(late_us: int, fault: Fault) -> None:
    """The process was put aside after the last look at the time; what was seen is kept in the words."""
    ticket = Ticket(target="main", vantage="here", surface=Surface.API, second=10, ordinal=0)
    outcome = replace(not_made(ticket, 11 * SECOND_US + late_us, Cause.ACCEPTED), fault=Fault.NONE, reply="250 2.0.0")

    told = in_its_second(outcome)

    assert told.fault is fault
    if fault is Fault.SELF:
        assert (told.cause, told.maybe_accepted) == (Cause.STALLED, True)
        assert told.reply == f"began {late_us // 1000} ms after the end of its second; else: none accepted 250 2.0.0"


@dataclass
class TellingControl:
    """Says when it was asked, and that it worked."""

    asked: list[int] = field(default_factory=list)

    async def attempt(self, second: int) -> ControlOutcome:
        """Work."""
        self.asked.append(second)
        return ControlOutcome(
            control="one", second=second, started_us=wall_us(), duration_us=1, worked=True, cause=Cause.ACCEPTED
        )

    def close(self) -> None:
        """Keep nothing."""


async def test_a_control_that_comes_too_late_for_its_second_is_not_made() -> None:
    """What works five seconds later does not corroborate what failed before."""
    clock, control = LateClock(), TellingControl()
    plan = replace(plan_of(Stub()), controls={"one": control})
    room = ControlRoom(clock=clock, plan=plan, records={})
    clock.skipped_us = 2 * SECOND_US
    seconds = room.start(clock.now_us() // SECOND_US - 2)

    await asyncio.wait(room.tasks)

    assert control.asked == []
    assert seconds.outcomes == []
    assert seconds.pending == 0


async def test_a_target_whose_rules_break_does_not_cost_the_others_their_last_seconds() -> None:
    """At the end each target is closed by itself: what was seen of the others reaches the ledger."""
    good, bad, taker = Stub(), Stub(second_off=1), Taker()
    charges = {
        ("bad", Surface.API): Charge(prober=bad, timeout_us=SECOND_US, in_flight_max=3),
        ("good", Surface.API): Charge(prober=good, timeout_us=SECOND_US, in_flight_max=3),
    }
    slots = tuple(replace(SLOT, target=target, offset_us=place) for place, target in enumerate(("bad", "good")))
    plan = Plan(vantage="here", slots=slots, terms={"bad": TERMS, "good": TERMS}, charges=charges, controls={})
    runner = Runner(plan=plan, clock=SystemClock(), sink=taker, states={})
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(5):
        await good.began.wait()
        with pytest.raises(AssertionError):
            await running

    await runner.finish(0.5)

    assert {closed.step.target for closed in taker.closed} == {"good"}


async def test_a_reload_leaves_what_did_not_change_alone() -> None:
    """Connections of a target whose settings are the same outlive a reload; those of a changed one are dropped."""
    same, before, after = Stub(), Stub(), Stub()
    keys = (("same", Surface.API), ("changed", Surface.API))
    old, new = (
        replace(
            plan_of(same),
            charges={
                key: Charge(prober=prober, timeout_us=SECOND_US, in_flight_max=3)
                for key, prober in zip(keys, probers, strict=True)
            },
        )
        for probers in ((same, before), (same, after))
    )

    old.close(keep=new)

    assert before.closed
    assert not same.closed
    assert not after.closed


async def test_a_record_that_is_ahead_of_the_clock_is_said_once(caught_log: list[dict[str, object]]) -> None:
    """Where the clock was set back nothing is judged twice: the target waits, and one line says for how long."""
    taker = Taker()
    ahead = engine.begin("main", TERMS, wall_us() // SECOND_US + 3600)
    begun: list[int] = []
    third = asyncio.Event()

    def count(second: int) -> None:
        begun.append(second)
        if len(begun) == 3:
            third.set()

    runner = Runner(plan=plan_of(Stub()), clock=SystemClock(), sink=taker, states={"main": ahead}, on_second=count)
    running = asyncio.create_task(runner.run())
    async with asyncio.timeout(6):
        await third.wait()
    runner.stop()
    await running
    await runner.finish(0.0)

    assert taker.closed == []
    assert 3590 < runner.waiting["main"] <= 3600
    assert [line["event"] for line in caught_log].count("target.record_is_ahead") == 1


@pytest.fixture
def caught_log() -> Iterator[list[dict[str, object]]]:
    """Collect what is logged."""
    with structlog.testing.capture_logs() as lines:
        yield lines  # type: ignore[misc]
