"""One target's way through its seconds: what is open, what can close, and where nobody looked."""

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from probe.core import engine
from probe.core.model import ControlOutcome, Outcome, Terms
from probe.plan import Closed

# Why nobody looked at the second in which the daemon stopped, if its first attempt was still to come.
STOPPED: Final = "the daemon stopped before the first attempt of this second"


@dataclass(slots=True)
class ControlSecond:
    """The controls of one second, shared by all targets; `settled` once it is known which of them are trusted."""

    pending: int
    settled: bool = False
    outcomes: list[ControlOutcome] = field(default_factory=list)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)


@dataclass(slots=True)
class OpenSecond:
    """A second of one target whose attempts have not all ended.

    What has not ended at `overdue_us` of the monotonic clock has a bug. `why_missed` says why no attempt was made, if
    none was.
    """

    second: int
    overdue_us: int
    terms: Terms
    controls: ControlSecond
    why_missed: str
    pending: int = 0
    all_started: bool = False
    outcomes: list[Outcome] = field(default_factory=list)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """Say whether nothing more can come."""
        return self.all_started and not self.pending and self.controls.settled


@dataclass(slots=True)
class Gap:
    """A run of seconds in which nobody looked."""

    through_second: int
    terms: Terms
    reason: str


@dataclass(slots=True)
class Lane:
    """One target's way through its seconds."""

    state: engine.TargetState
    open: deque[OpenSecond | Gap] = field(default_factory=deque)

    @property
    def next_second(self) -> int:
        """The first second that is neither closed nor open yet."""
        if not self.open:
            return self.state.next_second
        last = self.open[-1]
        return (last.second if isinstance(last, OpenSecond) else last.through_second) + 1

    def mark_gap(self, gap: Gap) -> None:
        """Write down that nobody looks up to and including the gap's last second."""
        if self.next_second > gap.through_second:
            return
        last = self.open[-1] if self.open else None
        if isinstance(last, Gap) and last.reason == gap.reason and last.terms == gap.terms:
            last.through_second = gap.through_second
        else:
            self.open.append(gap)

    def close(self, into: list[Closed]) -> None:
        """Close what can close, strictly in order: a second that is not over holds back those behind it."""
        while self.open:
            head = self.open[0]
            if isinstance(head, Gap):
                self.state, step = engine.skip(self.state, head.terms, head.through_second, head.reason)
            elif head.is_over and not head.outcomes:
                self.state, step = engine.skip(self.state, head.terms, head.second, head.why_missed)
            elif head.is_over:
                self.state, step = engine.advance(
                    self.state, head.terms, head.second, head.outcomes, head.controls.outcomes
                )
            else:
                return
            self.open.popleft()
            into.append(Closed(step=step, state=self.state, terms=head.terms))

    def attempt_tasks(self) -> set["asyncio.Task[None]"]:
        """List the attempts in flight."""
        return {task for opened in self.open if isinstance(opened, OpenSecond) for task in opened.tasks}

    def give_up_waiting(self) -> None:
        """Let every open second close with what it has."""
        for opened in self.open:
            if isinstance(opened, OpenSecond) and not opened.all_started:
                opened.all_started, opened.why_missed = True, STOPPED

    def overdue_from_us(self) -> Iterator[int]:
        """List the moments of the monotonic clock from which what is open would be overdue."""
        return (opened.overdue_us for opened in self.open if isinstance(opened, OpenSecond))

    def overdue_tasks(self, now_us: int) -> set["asyncio.Task[None]"]:
        """List the attempts and controls that should have ended before `now_us` of the monotonic clock.

        To cut them off holds the limit on open seconds even against a bug in a surface.
        """
        late = [opened for opened in self.open if isinstance(opened, OpenSecond) and opened.overdue_us <= now_us]
        return {task for opened in late for task in opened.tasks | opened.controls.tasks}
