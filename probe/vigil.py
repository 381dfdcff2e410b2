"""The prober's watch over itself: whether seconds are judged, who is told if not, and what keeps the watchdog fed.

Theory of operation
-------------------

The vigil stands between the second loop and the teller, as the loop's sink, and so sees each closed second when it is
handed over. From that it folds one `Sight` for each target (core/blindness.py). A timer of its own looks at them once a
second, so a second loop that is stuck is noticed too; an event loop that is stuck is noticed by systemd alone.

The watchdog is fed by the closer's turn and by nothing else, if that turn handed closed seconds over. There are two
exceptions, in which there is nothing to close, a restart mends nothing, and the first would lose evidence by it: the
ledger's queue is full, so seconds are held back until it is not; and all records are ahead of the clock. Both raise the
condition instead.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from probe.clock import SECOND_US, Clock
from probe.core import blindness
from probe.core.blindness import Moment, Sight
from probe.core.model import Condition, ControlOutcome, Remark
from probe.core.schedule import Slot
from probe.metrics import Metrics
from probe.plan import Closed, Sink
from probe.systemd import ServiceManager
from probe.times import utc
from probe.view import View

log = structlog.get_logger("self")

LOOK_INTERVAL_S = 1.0
STATUS_EVERY_LOOKS = 5
# No second has begun for this long: whoever asks should hear that the prober is blind.
LATE_S_MAX = 3.0
# A sound second loop closes nothing for at most an attempt's timeout and this much more: the second in which the
# attempt starts, the 2 s after which one that should have ended is cut off, and two turns of the closer, one that cuts
# and one that closes.
CLOSING_MARGIN_S = 5.0
TARGETS_NAMED_MAX = 5


@dataclass(slots=True)
class Insight:
    """What the second loop can say about why it judges nothing."""

    waiting: Callable[[], Mapping[str, int]] = dict
    open_seconds: Callable[[], int] = lambda: 0
    clock_ahead_us: Callable[[], int] = lambda: 0


@dataclass(slots=True)
class _Watch:
    """One target: its sight, and why nobody looked, if that was the last thing known."""

    sight: Sight
    reason: str = ""


class Vigil:
    """Watches whether seconds are judged."""

    def __init__(
        self,
        *,
        clock: Clock,
        sink: Sink,
        metrics: Metrics,
        view: View,
        manager: ServiceManager,
        tell: Callable[[Condition], None],
    ) -> None:
        self._clock = clock
        self._sink = sink
        self._metrics = metrics
        self._view = view
        self._manager = manager
        self._tell_others = tell
        self._insight = Insight()
        self._watches: dict[str, _Watch] = {}
        self._blind_after_us = 0
        self._begun_second = 0
        self._closed_second = 0
        self._handed_over = False

    def configure(self, targets: Sequence[str], blind_after_s: float, timeout_s_max: float) -> None:
        """Watch these targets and no others; what is known of them stays.

        While attempts hang, a sound prober judges nothing for as long as they may take, which must not look like
        blindness: the provider's fault is never ours.
        """
        bound_s = timeout_s_max + CLOSING_MARGIN_S
        self._blind_after_us = round(max(blind_after_s, bound_s) * SECOND_US)
        if blind_after_s < bound_s:
            reason = f"hanging attempts let a sound prober judge nothing for up to {bound_s:g} s"
            log.warning("blind.later", blind_after_s=blind_after_s, used_s=bound_s, reason=reason)
        watchdog_s = self._manager.watchdog_s
        if watchdog_s is not None and watchdog_s < bound_s:
            log.warning("watchdog.short", watchdog_s=watchdog_s, needed_s=bound_s, do="set WatchdogSec= to more")
        now = self._now()
        for name in [name for name in self._watches if name not in targets]:
            if over := blindness.leave(self._watches.pop(name).sight, now):
                self._tell(over)
        for name in targets:
            self._watches.setdefault(name, _Watch(sight=blindness.begin(name, now)))

    def take_up(self, kept: Iterable[Condition]) -> None:
        """Go on with what an earlier run left raised, by the turns that the ledger has in their order."""
        latest = {turn.target: turn for turn in kept if turn.condition == blindness.BLIND}
        now = self._now()
        for name, turn in latest.items():
            if turn.raised and name in self._watches:
                self._watches[name].sight = blindness.take_up(name, turn, now)
                log.warning("blind.still", target=name, since=utc(turn.since_second), words=turn.words)
                self._metrics.set_blind(name, True)
                self._view.observe_condition(turn)

    def attach(self, insight: Insight) -> None:
        """Name whom to ask why nothing is judged."""
        self._insight = insight

    # What the second loop says.

    @property
    def full(self) -> bool:
        """Say that nothing more can be taken."""
        return self._sink.full

    def offer(self, closed: Sequence[Closed], controls: Sequence[ControlOutcome], checkpoint: bool) -> None:
        """Hand over what was closed, and take in which targets were judged."""
        self._sink.offer(closed, controls, checkpoint)
        now = self._now()
        for entry in closed:
            self._handed_over = True
            self._closed_second = max(self._closed_second, entry.step.second + entry.step.seconds - 1)
            watch = self._watches.get(entry.step.target)
            if watch is None:
                continue
            if not blindness.is_judged(entry.step):
                watch.reason = entry.step.reason
                continue
            why = self._why(entry.step.target)
            watch.sight, turns = blindness.judge(watch.sight, now, self._blind_after_us, why)
            watch.reason = ""
            for turn in turns:
                self._tell(turn)

    def remark(self, remark: Remark) -> None:
        """Pass on what the ledger keeps beside the seconds."""
        self._sink.remark(remark)

    def started(self, slot: Slot, lateness_us: int) -> None:
        """Pass on that an attempt starts."""
        self._sink.started(slot, lateness_us)

    def ended(self, slot: Slot) -> None:
        """Pass on that an attempt ended."""
        self._sink.ended(slot)

    def second_begins(self, second: int) -> None:
        """Hear that a second begins; with the first one the daemon is at work."""
        is_first = not self._begun_second
        self._begun_second = second
        if is_first:
            self._manager.ready(self.status_line())

    def reloaded(self) -> None:
        """Hear that a reload is over, whatever came of it."""
        if self._begun_second:
            self._manager.ready(self.status_line())

    def turned(self) -> None:
        """Hear that the closer has come round: feed the watchdog if that closed something, or rightly nothing."""
        if self._handed_over or self._sink.full or self._all_are_ahead():
            self._manager.feed()
        self._handed_over = False

    # Looking.

    async def watch_forever(self) -> None:
        """Look once a second, whatever the second loop does."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            self.look()
            looks += 1
            if looks % STATUS_EVERY_LOOKS == 0 and self._begun_second:
                self._manager.status(self.status_line())

    def look(self) -> None:
        """Raise the condition of each target that has gone without a judged second for too long."""
        now = self._now()
        for name, watch in self._watches.items():
            if watch.sight.condition is None and watch.sight.silent_us(now) > self._blind_after_us:
                watch.sight, raised = blindness.look(watch.sight, now, self._blind_after_us, self._why(name))
                if raised is not None:
                    self._tell(raised)

    def _why(self, target: str) -> str:
        """Say why nothing is judged, as far as is known."""
        if ahead_s := self._insight.waiting().get(target):
            return f"the record is {ahead_s} s ahead of the clock, and no second is judged twice"
        if self._sink.full:
            return f"the ledger's queue is full, and it can't be written: {self._view.ledger_trouble}"
        late_s = self._late_s()
        if not self._begun_second or late_s > LATE_S_MAX:
            return f"no second has begun for {late_s:.0f} s" if self._begun_second else "no second has begun yet"
        if reason := self._watches[target].reason:
            return reason
        if open_seconds := self._insight.open_seconds():
            return f"attempts or controls do not end: {open_seconds} seconds are open"
        if abs(ahead_us := self._insight.clock_ahead_us()) > SECOND_US:
            return f"the wall clock was stepped by {ahead_us / SECOND_US:.0f} s"
        return "the second loop closes none"

    def _late_s(self) -> float:
        return self._clock.now_us() / SECOND_US - self._begun_second

    def _all_are_ahead(self) -> bool:
        return not self._insight.open_seconds() and self._watches.keys() <= self._insight.waiting().keys()

    def _now(self) -> Moment:
        return Moment(monotonic_us=self._clock.monotonic_us(), second=self._clock.now_us() // SECOND_US)

    def _tell(self, turn: Condition) -> None:
        """Tell a turn everywhere: the line comes first, since the ledger may be what is wrong."""
        facts = {
            "target": turn.target,
            "surface": "self",
            "since": utc(turn.since_second),
            "noticed": utc(turn.noticed_second),
            "words": turn.words,
        }
        if turn.raised:
            log.critical("blind.raised", **facts, do="see to the prober: nobody watches the provider")
        else:
            log.warning("blind.over", **facts)
        self._metrics.set_blind(turn.target, turn.raised)
        self._view.observe_condition(turn)
        self._sink.remark(turn)
        self._tell_others(turn)

    # Saying how things are.

    @property
    def conditions(self) -> list[Condition]:
        """List the conditions that are raised."""
        return [watch.sight.condition for watch in self._watches.values() if watch.sight.condition is not None]

    def status_line(self) -> str:
        """Say in one line how things are, for a service manager."""
        count = len(self._watches)
        parts = [f"Watching {count} target{'' if count == 1 else 's'}"]
        if conditions := self.conditions:
            parts.insert(0, f"BLIND for {_names(conditions)}")
        parts.append(
            f"last closed second {utc(self._closed_second)}" if self._closed_second else "no second closed yet"
        )
        parts.append(f"ledger: {self._view.ledger_trouble}" if self._view.ledger_trouble else "ledger ok")
        return "; ".join(parts) + "."

    def healthy(self) -> tuple[bool, str]:
        """Say whether the work is done, and why not."""
        if self._begun_second and (late_s := self._late_s()) > LATE_S_MAX:
            return False, f"The prober is blind: no second has begun for {late_s:.0f} s."
        if waiting := self._insight.waiting():
            target, seconds = max(waiting.items(), key=lambda item: item[1])
            return False, f"The record of {target} is {seconds} s ahead of the clock: nothing is probed until then."
        trouble = self._view.ledger_trouble
        if self._sink.full:
            return False, f"Nobody looks: the ledger's queue is full, and it can't be written: {trouble}"
        if conditions := self.conditions:
            first = conditions[0]
            since = utc(first.since_second)
            return False, f"The prober is blind for {_names(conditions)} since {since}: {first.words}."
        if trouble:
            return False, f"Probing goes on, but the ledger can't be written: {trouble}"
        return True, "Probing, judging and recording."

    def ready(self) -> tuple[bool, str]:
        """Say whether the first second has begun."""
        if not self._begun_second:
            return False, "The first second has not begun yet."
        return True, f"Probing since {utc(self._begun_second)} at the latest."


def _names(conditions: Sequence[Condition]) -> str:
    names = [condition.target for condition in conditions]
    more = len(names) - TARGETS_NAMED_MAX
    return ", ".join(names[:TARGETS_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")
