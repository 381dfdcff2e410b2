"""Whose word counts: what is remembered of each control, and when it stops being believed.

A control tells whether our own network worked. One that fails by itself now and then tells nothing when it fails, and
a dispute over a verdict that rests on such a one is lost. So the last COUNTED_MAX attempts at each control are
remembered, and one that failed in more than FAILED_MAX of them is not trusted: it is attempted and recorded as before,
but corroborates nothing until its failures lie further back.

Not every failure is the control's own:

- one in a second in which no *other* control worked may be our network's, and is not counted (with a single control
  nobody can tell, and all are counted);
- one that is our own by its cause (no descriptors, a stalled loop) is not counted either.

Whether a control is trusted in a second is decided by the seconds before it, and recorded with its outcome. So a
verdict can be judged again from the record of its own second alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from probe.core.endings import fault_of
from probe.core.model import ControlOutcome, Fault

COUNTED_MAX: Final = 900  # attempts remembered; a quarter of an hour at one a second
FAILED_MAX: Final = 45  # of these: a control that fails in more than 5 % of them corroborates nothing
PPM: Final = 1_000_000


class ControlRecord(NamedTuple):
    """What is remembered of one control: `failures` holds one bit for each counted attempt, the latest lowest."""

    failures: int = 0
    counted: int = 0

    @property
    def trusted(self) -> bool:
        """Say whether its word counts. A new control is believed until it has failed too often."""
        return self.failures.bit_count() <= FAILED_MAX

    @property
    def success_ppm(self) -> int:
        """Give the share of counted attempts that worked, in parts per million; all of them before the first."""
        if not self.counted:
            return PPM
        return PPM - self.failures.bit_count() * PPM // self.counted


Records = Mapping[str, ControlRecord]


def hear(records: Records, outcomes: Iterable[ControlOutcome]) -> tuple[dict[str, ControlRecord], list[ControlOutcome]]:
    """Take in all control outcomes of one second; give what is remembered now, and the outcomes marked with trust."""
    seen = sorted(outcomes, key=lambda outcome: outcome.control)
    working = {outcome.control for outcome in seen if outcome.worked}
    after = dict(records)
    marked = []
    for outcome in seen:
        record = records.get(outcome.control, ControlRecord())
        marked.append(outcome if record.trusted == outcome.trusted else replace(outcome, trusted=record.trusted))
        if _counts(outcome, seen, working):
            after[outcome.control] = _counted(record, failed=not outcome.worked)
    return after, marked


def witnesses_of(outcomes: Iterable[ControlOutcome]) -> tuple[ControlOutcome, ...]:
    """Give the controls of one second that say that our own network worked, in order of their names."""
    found = [outcome for outcome in outcomes if outcome.worked and outcome.trusted]
    return tuple(sorted(found, key=lambda outcome: outcome.control))


def all_failed(outcomes: Iterable[ControlOutcome]) -> bool:
    """Say whether the controls of one second speak against our own network: none worked, and one is believed in that.

    A single control that is broken for good is soon not trusted any more, and then hides no outage of the provider's.
    """
    heard = list(outcomes)
    return any(outcome.trusted for outcome in heard) and not any(outcome.worked for outcome in heard)


def _counts(outcome: ControlOutcome, seen: list[ControlOutcome], working: set[str]) -> bool:
    if outcome.worked:
        return True
    if fault_of(outcome.cause) is Fault.SELF:
        return False
    return bool(working) or len(seen) == 1


def _counted(record: ControlRecord, *, failed: bool) -> ControlRecord:
    bits = (record.failures << 1 | failed) & ((1 << COUNTED_MAX) - 1)
    return ControlRecord(bits, min(record.counted + 1, COUNTED_MAX))
