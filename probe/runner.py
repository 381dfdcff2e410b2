"""The second loop: the one place where the rules and the edges meet.

Theory of operation
-------------------

Three things go on at the same time, each at its own pace, and none waits for another:

- the *starter* walks through the slots of each second and starts what is due, late by as little as the machine allows;
  what it cannot start in its own second it leaves unmade, since a burst of old attempts would prove nothing;
- the *attempts* run on their own tasks, up to their deadlines, and put their outcomes into the second they belong to;
- the *closer* comes once a second, in the tenth that no slot uses, and closes what has ended, in strict order for each
  target, by one call of the rules for each; what was closed goes to the ledger as one batch.

What the ledger has kept is then told: to the metrics, the status and the log. Only while the ledger is in trouble are
seconds told before they are kept, and then with the words "not yet recorded".

A target's queue of open seconds holds `OpenSecond`s and `Gap`s. A gap is a run of seconds in which nobody looked: the
loop stood still, the host slept, the wall clock was stepped, or the ledger's queue was full.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog

from probe.clock import SECOND_US, Clock
from probe.control_room import ControlRoom
from probe.core import engine
from probe.core.controls import Records
from probe.core.model import (
    Cause,
    Surface,
    Ticket,
)
from probe.core.schedule import Slot
from probe.flight import Flight
from probe.lanes import ControlSecond, Gap, Lane, OpenSecond
from probe.not_made import in_its_second, not_made
from probe.plan import Charge, Closed, Plan, Sink
from probe.timekeeper import Timekeeper

log = structlog.get_logger("runner")

# The closer works in the part of the second that the schedule leaves free.
CLOSE_AT_US = 940_000
# Lanes closed between two turns of the event loop; at some 60 us each this holds an attempt up by a millisecond or so.
LANES_PER_TURN = 16
# An attempt has to end by its deadline. One that has not by this much later has a bug, and is cut off. So is a control
# that the second still waits for by then.
OVERDUE_US = 2 * SECOND_US
# Attempts that are overdue are looked for once a second. When more has passed, this process did not run.
OVERDUE_LOOK_US_MAX = SECOND_US + SECOND_US // 2
# Lateness up to this much is taken off the attempt's own time, so that hanging attempts can't drift through the second.
LATENESS_ABSORBED_US_MAX = 50_000
CHECKPOINT_SECONDS = 300


class Runner:
    """Starts what each second owes, and closes seconds in order."""

    def __init__(
        self,
        *,
        plan: Plan,
        clock: Clock,
        sink: Sink,
        states: Mapping[str, engine.TargetState],
        control_records: Records | None = None,
        on_second: Callable[[int], None] = lambda _second: None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        self._plan = plan
        self._next_plan: Plan | None = None
        self._clock = clock
        self._sink = sink
        self._on_second = on_second
        self._on_turn = on_turn
        self._timekeeper = Timekeeper(clock=clock, sink=sink)
        self._known_states = dict(states)
        self._lanes: dict[str, Lane] = {}
        self._leaving: dict[str, Lane] = {}
        self._flights: dict[tuple[str, Surface], Flight] = {}
        self._seconds: dict[str, OpenSecond] = {}
        self._controls = ControlRoom(clock=clock, plan=plan, records=control_records or {})
        self._closed: list[Closed] = []
        self._stopping = asyncio.Event()
        self._last_checkpoint_second = 0
        self._looked_for_overdue_us = clock.monotonic_us()
        self._overdue_from_us = self._looked_for_overdue_us  # nothing that is open is overdue before
        self._gap_reason = engine.DAEMON_DOWN
        self.expected_second = 0
        self.waiting: dict[str, int] = {}  # targets whose record is ahead of the clock, and by how many seconds

    def replace(self, plan: Plan, states: Mapping[str, engine.TargetState]) -> None:
        """Go over to another plan at the next second; open seconds are closed by the terms they were opened with.

        `states` are those of targets that this run has not watched so far, as the ledger knows them.
        """
        self._next_plan = plan
        self._known_states |= {target: state for target, state in states.items() if target not in self._known_states}

    @property
    def watched(self) -> frozenset[str]:
        """Name the targets whose state this run knows."""
        return frozenset(self._lanes.keys() | self._leaving.keys() | self._known_states.keys())

    def state_of(self, target: str) -> engine.TargetState | None:
        """Give what this run knows of a target, also of one that is not watched any more."""
        lane = self._lanes.get(target) or self._leaving.get(target)
        return lane.state if lane is not None else self._known_states.get(target)

    @property
    def control_records(self) -> Records:
        """Give what is remembered of each control."""
        return self._controls.records

    @property
    def clock_ahead_us(self) -> int:
        """Say how far the wall clock is ahead of the time that seconds are named by."""
        return self._timekeeper.ahead_us

    @property
    def open_seconds(self) -> int:
        """Count the open seconds of the target that has the most."""
        return max((len(lane.open) for lane in self._all_lanes()), default=0)

    async def run(self) -> None:
        """Probe until `stop` is called. The first second is the next whole one.

        Raises what the starter or the closer raises: that is a broken rule of ours, and the record says where to go on.
        """
        self.expected_second = self._clock.now_us() // SECOND_US + 1
        self._take_up(self._plan, self.expected_second)
        work = {asyncio.create_task(self._start_forever()), asyncio.create_task(self._close_forever())}
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({*work, stopping}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*work, stopping):
            task.cancel()
        await asyncio.wait({*work, stopping})
        for task in work:
            if not task.cancelled() and (error := task.exception()):
                raise error

    def stop(self) -> None:
        """Start no more attempts; `run` then returns, and `finish` closes what is open."""
        self._stopping.set()

    async def finish(self, grace_s: float, cut_off_s: float = 1.0) -> None:
        """Let attempts end for `grace_s`, cut off the rest within `cut_off_s`, and close every second begun."""
        tasks = self._controls.tasks.union(*(lane.attempt_tasks() for lane in self._all_lanes()))
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        remaining = {task for task in tasks if not task.done()}
        for task in remaining:
            task.cancel()
        if remaining:
            await asyncio.wait(remaining, timeout=cut_off_s)
        self._controls.give_up_waiting()
        for lane in self._all_lanes():
            lane.give_up_waiting()
        await self._close_once(last=True)
        self._plan.close()

    # Starting.

    async def _start_forever(self) -> None:
        while True:
            await self._clock.sleep_until(self.expected_second * SECOND_US)
            beginning = self._timekeeper.next_second(self.expected_second)
            second = beginning.second
            if second > self.expected_second:
                self._mark_gap(second - 1, beginning.why_skipped)
            if self._next_plan is not None:
                self._change_plan(self._next_plan, second)
            await self._start_second(second, beginning.why_missed)
            self.expected_second = second + 1

    async def _start_second(self, second: int, why_missed: str) -> None:
        self._on_second(second)
        if self._sink.full:
            self._mark_gap(second, "the ledger's queue was full")
            return
        self._open_seconds(second, self._controls.start(second), why_missed)
        for slot in self._plan.slots:
            if not await self._start_slot(second, slot):
                break
        for opened in self._seconds.values():
            opened.all_started = True

    async def _start_slot(self, second: int, slot: Slot) -> bool:
        """Start one attempt at its time; False means that its second is over."""
        due_us = second * SECOND_US + slot.offset_us
        now_us = self._clock.now_us()
        if now_us < due_us:
            await self._clock.sleep_until(due_us)
            now_us = self._clock.now_us()
        if self._is_over(second):
            return False
        opened = self._seconds.get(slot.target)
        if opened is None:  # The record of this target is ahead of the clock.
            return True
        lateness_us = max(0, now_us - due_us)
        opened.pending += 1
        flight = self._flights[slot.target, slot.surface]
        charge = self._plan.charges[slot.target, slot.surface]
        task = asyncio.create_task(self._fly(opened, slot, charge, flight, lateness_us))
        opened.tasks.add(task)
        return True

    async def _fly(self, opened: OpenSecond, slot: Slot, charge: Charge, flight: Flight, lateness_us: int) -> None:
        """Make one attempt, and put its outcome into the second it belongs to, whatever happens."""
        ticket = Ticket(
            target=slot.target,
            vantage=self._plan.vantage,
            surface=slot.surface,
            second=opened.second,
            ordinal=slot.ordinal,
        )
        started_us, started_mono_us = self._clock.now_us(), self._clock.monotonic_us()
        deadline_us = started_mono_us + charge.timeout_us - min(lateness_us, LATENESS_ABSORBED_US_MAX)
        try:
            if not await flight.enter():
                outcome = not_made(ticket, started_us, Cause.CAPPED)
            else:
                self._sink.started(slot, lateness_us)
                try:
                    if self._is_over(opened.second):  # An attempt belongs to the second in which it starts.
                        return
                    outcome = await charge.prober.attempt(ticket, deadline_us)
                finally:
                    flight.leave()
                    self._sink.ended(slot)
        except asyncio.CancelledError:
            cause = Cause.STOPPED if self._stopping.is_set() else Cause.INTERNAL  # It was overdue.
            outcome = not_made(ticket, started_us, cause, self._clock.monotonic_us() - started_mono_us)
        except Exception:
            log.exception("attempt.failed_inside", target=slot.target, surface=slot.surface, second=opened.second)
            outcome = not_made(ticket, started_us, Cause.INTERNAL, self._clock.monotonic_us() - started_mono_us)
        else:
            if outcome.cause is Cause.STOPPED and not self._stopping.is_set():  # It was overdue.
                outcome = replace(outcome, cause=Cause.INTERNAL)
            outcome = in_its_second(outcome)
        finally:
            opened.pending -= 1
            task = asyncio.current_task()
            assert task is not None
            opened.tasks.discard(task)
        opened.outcomes.append(outcome)

    def _is_over(self, second: int) -> bool:
        return self._clock.now_us() >= (second + 1) * SECOND_US

    # Plans and gaps.

    def _take_up(self, plan: Plan, first_second: int) -> None:
        """Give every target of the plan a lane that begins where its record ends."""
        for target, terms in plan.terms.items():
            if target in self._leaving:
                self._lanes[target] = self._leaving.pop(target)
            elif target not in self._lanes:
                known = self._known_states.pop(target, None)
                self._lanes[target] = Lane(state=known or engine.begin(target, terms, first_second))
        for key, charge in plan.charges.items():
            flight = self._flights.setdefault(key, Flight(charge.in_flight_max))
            flight.in_flight_max = charge.in_flight_max

    def _change_plan(self, plan: Plan, second: int) -> None:
        for target in [target for target in self._lanes if target not in plan.terms]:
            self._leaving[target] = self._lanes.pop(target)
            self.waiting.pop(target, None)
        self._plan.close(keep=plan)
        self._plan, self._next_plan = plan, None
        self._gap_reason = engine.NOT_CONFIGURED
        self._controls.take_up(plan)
        self._take_up(plan, second)

    def _mark_gap(self, through_second: int, reason: str) -> None:
        """Write down for every target that nobody looked up to and including `through_second`."""
        for target, lane in self._lanes.items():
            lane.mark_gap(Gap(through_second=through_second, terms=self._plan.terms[target], reason=reason))

    def _open_seconds(self, second: int, controls: ControlSecond, why_missed: str) -> None:
        self._seconds = {}
        # On the clock that nobody sets, and by this plan's deadlines: a reload may shorten those of later seconds.
        overdue_us = self._clock.monotonic_us() + SECOND_US + self._plan.timeout_us_max + OVERDUE_US
        self._overdue_from_us = min(self._overdue_from_us, overdue_us)
        for target, lane in self._lanes.items():
            terms = self._plan.terms[target]
            if lane.next_second > second:
                # Somebody set the clock back while we were down. No second is judged twice, so we wait for the first
                # that is not in the record yet.
                if target not in self.waiting:
                    log.error("target.record_is_ahead", target=target, blind_for_s=lane.next_second - second)
                self.waiting[target] = lane.next_second - second
                continue
            self.waiting.pop(target, None)
            lane.mark_gap(Gap(through_second=second - 1, terms=terms, reason=self._gap_reason))
            self._seconds[target] = opened = OpenSecond(
                second=second, overdue_us=overdue_us, terms=terms, controls=controls, why_missed=why_missed
            )
            lane.open.append(opened)

    # Closing.

    async def _close_forever(self) -> None:
        while True:
            second = self._clock.now_us() // SECOND_US
            close_at_us = second * SECOND_US + CLOSE_AT_US
            if close_at_us <= self._clock.now_us():
                close_at_us += SECOND_US
            await self._clock.sleep_until(close_at_us)
            if not self._sink.full:  # Nothing new is opened meanwhile, so what waits here stays bounded.
                await self._close_once()
            self._on_turn()

    async def _close_once(self, *, last: bool = False) -> None:
        """Close what can close and hand it over. The `last` time a lane that fails does not keep the others from it."""
        self._cut_off_overdue()
        settled = self._controls.settle()
        # What is closed is kept on the instance, for a stop may cut this short between two lanes.
        for number, lane in enumerate(self._all_lanes(), start=1):
            try:
                lane.close(self._closed)
            except Exception:
                if not last:
                    raise
                log.exception("lane.broken", target=lane.state.target)
            if number % LANES_PER_TURN == 0:
                await asyncio.sleep(0)
        left = [target for target, lane in self._leaving.items() if not lane.open]
        for target in left:
            self._known_states[target] = self._leaving.pop(target).state
        self._flights = {key: flight for key, flight in self._flights.items() if key[0] not in left}
        closed, self._closed = self._closed, []
        if closed or settled:
            # The record of a target that left ends here, perhaps for long, and is read from here when it comes back.
            self._sink.offer(closed, settled, bool(last or left or self._checkpoint_due(closed)))

    def _cut_off_overdue(self) -> None:
        now_us, last_us = self._clock.monotonic_us(), self._looked_for_overdue_us
        self._looked_for_overdue_us = now_us
        if now_us - last_us > OVERDUE_LOOK_US_MAX:
            # Our own loop stood still, so nothing could end meanwhile; replies that lie unread are taken first.
            return
        if now_us < self._overdue_from_us:
            return
        lanes = self._all_lanes()
        overdue = set[asyncio.Task[None]]().union(*(lane.overdue_tasks(now_us) for lane in lanes))
        self._overdue_from_us = min((us for lane in lanes for us in lane.overdue_from_us()), default=now_us)
        for task in overdue:
            task.cancel()
        if overdue:
            log.error("attempt.overdue", attempts=len(overdue))

    def _checkpoint_due(self, closed: Sequence[Closed]) -> bool:
        last_second = closed[-1].step.second if closed else 0
        if last_second - self._last_checkpoint_second < CHECKPOINT_SECONDS:
            return False
        self._last_checkpoint_second = last_second
        return True

    def _all_lanes(self) -> list[Lane]:
        return [*self._lanes.values(), *self._leaving.values()]
