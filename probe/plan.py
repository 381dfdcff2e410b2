"""What the second loop works with: who is probed, by what terms, and where the closed seconds go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from probe.core import engine
from probe.core.model import ControlOutcome, Outcome, Remark, Step, Surface, Terms, Ticket
from probe.core.schedule import Slot


class Prober(Protocol):
    """One surface of one target: makes attempts."""

    async def attempt(self, ticket: Ticket, deadline_us: int) -> Outcome:
        """Make one attempt; never raises, and ends by `deadline_us` of the monotonic clock."""
        ...

    def close(self) -> None:
        """Drop what is kept."""
        ...


class Control(Protocol):
    """One control: tells whether our own network works."""

    async def attempt(self, second: int) -> ControlOutcome:
        """Make one control attempt; never raises."""
        ...

    def close(self) -> None:
        """Drop what is kept."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One surface to be probed: its prober and the limits of its attempts."""

    prober: Prober
    timeout_us: int
    in_flight_max: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the settings come to, for the second loop. A reload replaces it whole, between two seconds."""

    vantage: str
    slots: tuple[Slot, ...]
    terms: Mapping[str, Terms]
    charges: Mapping[tuple[str, Surface], Charge]
    controls: Mapping[str, Control]

    def close(self, keep: "Plan | None" = None) -> None:
        """Drop idle connections, but those of what `keep` has too; those in use are dropped when their attempts end."""
        kept = set[int]()
        if keep is not None:
            kept = {id(charge.prober) for charge in keep.charges.values()} | {id(c) for c in keep.controls.values()}
        for charge in self.charges.values():
            if id(charge.prober) not in kept:
                charge.prober.close()
        for control in self.controls.values():
            if id(control) not in kept:
                control.close()

    @property
    def timeout_us_max(self) -> int:
        """The longest that any second can stay open for its attempts."""
        return max(charge.timeout_us for charge in self.charges.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A Step, the state that it led to, and the terms that it was judged by."""

    step: Step
    state: engine.TargetState
    terms: Terms


class Sink(Protocol):
    """Where closed seconds go, and what the second loop tells beside them."""

    @property
    def full(self) -> bool:
        """Say that nothing more can be taken; seconds are then unobserved."""
        ...

    def offer(self, closed: Sequence[Closed], controls: Sequence[ControlOutcome], checkpoint: bool) -> None:
        """Take what was closed, without waiting."""
        ...

    def remark(self, remark: Remark) -> None:
        """Take what the ledger keeps beside the seconds, without waiting."""
        ...

    def started(self, slot: Slot, lateness_us: int) -> None:
        """Hear of an attempt that starts."""
        ...

    def ended(self, slot: Slot) -> None:
        """Hear of an attempt that ended, whatever it saw."""
        ...
