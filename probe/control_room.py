"""The controls' part of the second loop: each is attempted once in every second, and heard second by second."""

import asyncio
from collections import deque

import structlog

from probe.clock import SECOND_US, Clock
from probe.core import controls as rules
from probe.core.model import ControlOutcome, Surface
from probe.core.schedule import phase_us
from probe.lanes import ControlSecond
from probe.plan import Control, Plan

log = structlog.get_logger("controls")


class ControlRoom:
    """Starts what each second owes of controls, and decides in order whose word counts."""

    def __init__(self, *, clock: Clock, plan: Plan, records: rules.Records) -> None:
        self._clock = clock
        self._seconds: deque[ControlSecond] = deque()
        self.tasks: set[asyncio.Task[None]] = set()
        self.records = records
        self.take_up(plan)

    def take_up(self, plan: Plan) -> None:
        """Go over to the controls of a plan; what is remembered of others is dropped."""
        self._controls = plan.controls
        self._phases_us = {name: phase_us(plan.vantage, f"control/{name}", Surface.API) for name in plan.controls}
        self.records = {name: kept for name, kept in self.records.items() if name in plan.controls}

    def start(self, second: int) -> ControlSecond:
        """Start the controls of a second, each at its own time."""
        opened = ControlSecond(pending=len(self._controls))
        self._seconds.append(opened)
        for name, control in self._controls.items():
            task = asyncio.create_task(self._attempt(second, name, control, opened))
            for tasks in (self.tasks, opened.tasks):
                tasks.add(task)
                task.add_done_callback(tasks.discard)
        return opened

    def settle(self) -> list[ControlOutcome]:
        """Decide, second by second in order, whose word counts; give what was decided now."""
        decided = list[ControlOutcome]()
        while self._seconds and not self._seconds[0].pending:
            second = self._seconds.popleft()
            self.records, second.outcomes = rules.hear(self.records, second.outcomes)
            second.settled = True
            decided += second.outcomes
        return decided

    def give_up_waiting(self) -> None:
        """Let every second be settled with what it has."""
        for second in self._seconds:
            second.pending = 0

    async def _attempt(self, second: int, name: str, control: Control, into: ControlSecond) -> None:
        try:
            await self._clock.sleep_until(second * SECOND_US + self._phases_us[name])
            # One that is made later says nothing about this second.
            if self._clock.now_us() < (second + 1) * SECOND_US:
                into.outcomes.append(await control.attempt(second))
        except Exception:
            log.exception("control.failed_inside", control=name, second=second)
        finally:
            into.pending -= 1
