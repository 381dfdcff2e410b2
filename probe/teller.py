"""From closed seconds to what people and programs see, and never before the ledger has them.

A second is told once: when its batch is kept, or, while the ledger is in trouble, at once and with the words "not yet
recorded" (an outage of our disk must not keep the Severity 1 line from being called).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import structlog

from probe.core.lapses import Lapse
from probe.core.model import Condition, ControlOutcome, IssueEvent, IssueTurn, Remark, Step, Terms
from probe.core.schedule import Slot
from probe.ledger import Batch, Commit, LedgerQueue
from probe.metrics import Metrics
from probe.plan import Closed
from probe.times import utc
from probe.view import View

log = structlog.get_logger("teller")

# Seconds told between two turns of the event loop, so that telling holds up no attempt by over a millisecond or so.
TOLD_PER_TURN = 16
# What a Critical Issue asks of people, by the profile of the contract.
DO_CALL = "call the Severity 1 line"
DO: Mapping[str, str] = {
    "sparkpost-enterprise": DO_CALL,
    "bird-premium-email": "submit a Support Case; in Business Hours call the Technical Account Manager",
}


class Teller:
    """Hands closed seconds to the ledger, and tells them to the metrics, the view and the log once they are kept."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        view: View,
        turned: Callable[[str], None] = lambda _target: None,
        on_kept: Callable[[Step], None] = lambda _step: None,
        on_turns: Callable[[], None] = lambda: None,
        on_unrecorded: Callable[[IssueEvent | Condition | Lapse], None] = lambda _turn: None,
    ) -> None:
        """`turned` hears of a target once a turn of its Critical Issue is kept, `on_kept` of every second that is."""
        self._on_turns = on_turns
        self._on_unrecorded = on_unrecorded
        self._urgent: deque[Condition | Lapse] = deque()  # that are not kept yet
        self._metrics = metrics
        self._view = view
        self._turned = turned
        self._on_kept = on_kept
        self._calls: Mapping[str, str] = {}
        self._queue: LedgerQueue | None = None
        self._records_max = 0
        self._terms: Mapping[str, Terms] = {}
        self._offered: deque[tuple[Closed, bool]] = deque()  # with whether it was told before it was kept
        self._to_tell: deque[tuple[Closed, bool]] = deque()
        self._controls: deque[ControlOutcome] = deque()
        self._something = asyncio.Event()
        self._in_trouble = False

    def attach(self, queue: LedgerQueue, records_max: int) -> None:
        """Name the queue that closed seconds go to; it calls `kept`, `in_trouble` and `recovered` in turn."""
        self._queue = queue
        self._records_max = records_max

    def configure(self, terms: Mapping[str, Terms], calls: Mapping[str, str] | None = None) -> None:
        """Name the targets that are watched now, their terms, and whom to call when an issue of each opens."""
        self._terms = terms
        self._calls = calls or {}

    @property
    def full(self) -> bool:
        """Say that the ledger's queue can take no more."""
        assert self._queue is not None
        return self._queue.full

    @property
    def unrecorded_seconds(self) -> int:
        """Count the seconds that were told, or wait to be, and that the ledger does not have."""
        return len(self._offered)

    def offer(self, closed: Sequence[Closed], controls: Sequence[ControlOutcome], checkpoint: bool) -> None:
        """Pass closed seconds on to the ledger, without waiting."""
        assert self._queue is not None
        for entry in closed:
            self._offered.append((entry, self._in_trouble))
            if self._in_trouble:
                self._tell_soon(entry, recorded=False)
        self._controls.extend(controls)
        first, *others = self._parts(closed)
        self._queue.offer(_batch(*first, controls, checkpoint))
        for part in others:
            self._queue.offer(_batch(*part, (), checkpoint))
        self._show_ledger()

    def _parts(self, closed: Sequence[Closed]) -> list[tuple[Mapping[str, Terms], list[Closed]]]:
        """Part what was closed so that a target has one set of terms in each part; a reload changes them in between.

        Each part comes with the terms of all targets that are watched and of those that only finish.
        """
        parts: list[tuple[Mapping[str, Terms], list[Closed]]] = []
        terms, entries, seen = self._terms, list[Closed](), set[str]()
        for entry in closed:
            target = entry.step.target
            if terms.get(target) != entry.terms:
                if target in seen:
                    parts.append((terms, entries))
                    entries, seen = [], set()
                terms = {**terms, target: entry.terms}
            seen.add(target)
            entries.append(entry)
        return [*parts, (terms, entries)]

    def remark(self, remark: Remark) -> None:
        """Pass on to the ledger what is kept beside the seconds; it is told once it is kept."""
        assert self._queue is not None
        if isinstance(remark, Condition | Lapse):
            self._urgent.append(remark)
            if self._in_trouble:
                self._on_unrecorded(remark)
        self._queue.remark(remark)

    def started(self, slot: Slot, lateness_us: int) -> None:
        """Count an attempt that starts."""
        self._metrics.attempt_started(slot.target, slot.surface, lateness_us)

    def ended(self, slot: Slot) -> None:
        """Count an attempt that ended."""
        self._metrics.attempt_ended(slot.target, slot.surface)

    # What the ledger's queue says.

    def kept(self, batch: Batch, commit: Commit) -> None:
        """Hear that a batch is in the ledger: what it holds may be told now."""
        self._metrics.observe_commit(commit.duration_us, sequence=commit.seq, digest=commit.digest)
        self._view.chain = (commit.seq, commit.digest)
        for _ in batch.steps:
            entry, told = self._offered.popleft()
            if not told:
                self._tell_soon(entry, recorded=True)
            self._on_kept(entry.step)
            if entry.step.events:
                self._turned(entry.step.target)
        for _ in batch.controls:
            outcome = self._controls.popleft()
            self._metrics.observe_controls((outcome,))
            self._view.observe_control(outcome)
        for remark in batch.remarks:
            self._metrics.observe_remark(remark)
            self._view.observe_remark(remark)
            if isinstance(remark, Condition | Lapse):
                self._urgent.popleft()
        if any(step.events for step in batch.steps) or any(
            isinstance(remark, Condition | Lapse) for remark in batch.remarks
        ):
            self._on_turns()
        self._show_ledger()

    def in_trouble(self, reason: str, waiting_records: int) -> None:
        """Hear that the ledger can't be written: tell what waits, and say that it is not recorded yet."""
        log.error("ledger.unwritable", reason=reason, records_waiting=waiting_records, probing="goes on")
        self._view.ledger_trouble = reason
        if not self._in_trouble:
            self._in_trouble = True
            for place, (entry, told) in enumerate(self._offered):
                if not told:
                    self._offered[place] = (entry, True)
                    self._tell_soon(entry, recorded=False)
            for remark in self._urgent:
                self._on_unrecorded(remark)
        self._show_ledger()

    def recovered(self) -> None:
        """Hear that the ledger can be written again."""
        self._in_trouble = False
        self._view.ledger_trouble = ""
        log.warning("ledger.writable_again", recorded="everything that waited")
        self._show_ledger()

    # Telling.

    async def tell_forever(self) -> None:
        """Tell what may be told, in small portions between the attempts."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._to_tell:
                for _ in range(min(TOLD_PER_TURN, len(self._to_tell))):
                    self._tell(*self._to_tell.popleft())
                await asyncio.sleep(0)

    def tell_rest(self) -> None:
        """Tell everything that may be told, at once; for the end."""
        while self._to_tell:
            self._tell(*self._to_tell.popleft())

    def _tell_soon(self, entry: Closed, *, recorded: bool) -> None:
        self._to_tell.append((entry, recorded))
        self._something.set()

    def _tell(self, entry: Closed, recorded: bool) -> None:
        self._metrics.observe_step(entry.step, entry.state)
        self._view.observe(entry.step, entry.state)
        for event in entry.step.events:
            _say_turn(event, entry, recorded, self._calls.get(event.target, ""))
            if not recorded:
                self._on_unrecorded(event)
        if entry.step.reason:
            log.warning(
                "seconds.unobserved",
                target=entry.step.target,
                since=utc(entry.step.second),
                seconds=entry.step.seconds,
                reason=entry.step.reason,
            )

    def _show_ledger(self) -> None:
        assert self._queue is not None
        self._metrics.set_ledger(
            writable=not self._in_trouble,
            queue_records=self._queue.records,
            queue_records_max=self._records_max,
            unrecorded_seconds=self.unrecorded_seconds,
        )


def _batch(
    terms: Mapping[str, Terms], entries: Sequence[Closed], controls: Sequence[ControlOutcome], checkpoint: bool
) -> Batch:
    states = {entry.step.target: entry.state for entry in entries} if checkpoint else {}
    return Batch(
        steps=tuple([entry.step for entry in entries]),
        controls=tuple(controls),
        terms=terms,
        states=tuple(states.values()),
    )


def _say_turn(event: IssueEvent, entry: Closed, recorded: bool, call: str) -> None:
    """Write the one line that a turn of a Critical Issue gets."""
    record = "kept in the ledger" if recorded else "NOT YET RECORDED: the ledger can't be written"
    facts = {
        "target": event.target,
        "issue": event.issue,
        "since": utc(event.since_second),
        "noticed": utc(event.noticed_second),
        "record": record,
    }
    if event.turn is IssueTurn.OPENED:
        runs = {str(surface): tally.run_seconds for surface, tally in entry.state.tallies}
        log.critical(
            "critical_issue.opened",
            **facts,
            unavailable_run_seconds=runs,
            do=DO.get(entry.terms.profile, DO_CALL),
            call=call,
            say=f"sev1probe issue call-sheet {event.issue} --config FILE",
        )
    else:
        log.warning("critical_issue.restored", **facts, do="agree with the provider on the resolution")
