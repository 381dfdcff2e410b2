"""What the provider owes in a Support Case, by when, and whether it came: derived from the case, never stored.

A representative answers during Business Hours (contract.md, Non-Critical Issue), so all of it counts business time:
nights, weekends and bank holidays are not in it. The contract names no figure: within what time an answer and the next
update come is what both sides have agreed. A moment that the provider has promised is taken as it was said.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from probe.core.calendar import BusinessHours, after_business_time
from probe.core.case_happenings import Case, is_from_provider
from probe.core.happenings import Party
from probe.core.obligations import ObligationState, state_of

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_HOUR_US: Final = 3_600_000_000


class CaseDuty(StrEnum):
    """What is owed in a case."""

    RESPOND = "respond"
    UPDATE = "update"


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePledges:
    """What was agreed of cases, in business time of these hours."""

    hours: BusinessHours
    respond_within_us: int = 8 * _HOUR_US
    update_every_us: int = 24 * _HOUR_US


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseObligation:
    """One thing that is owed in a case by a time. `met_us` is when it came, 0 if it did not."""

    name: CaseDuty
    owed_by: Party
    due_us: int
    state: ObligationState
    met_us: int = 0


def case_obligations(case: Case, pledges: CasePledges, now_us: int) -> tuple[CaseObligation, ...]:
    """List what was and is owed in a case, in order of the due times.

    Raises:
        NeverOpen: If the Business Hours have no opening within a year.
    """
    found = []
    for name, due_us, met_us in _owed(case, pledges):
        state = state_of(due_us, met_us, case.over_us, now_us)
        if state is not None:
            one = CaseObligation(name=name, owed_by=Party.PROVIDER, due_us=due_us, state=state, met_us=met_us)
            found.append(one)
    return tuple(sorted(found, key=lambda one: one.due_us))


def _owed(case: Case, pledges: CasePledges) -> Iterator[tuple[CaseDuty, int, int]]:
    if not case.submitted_us:
        return
    said = sorted((one for one in case.happenings if is_from_provider(one)), key=lambda one: one.at_us)
    met_us = said[0].at_us if said else 0
    yield CaseDuty.RESPOND, _due(pledges.hours, case.submitted_us, pledges.respond_within_us), met_us
    for place, one in enumerate(said):
        due_us = one.next_update_us or _due(pledges.hours, one.at_us, pledges.update_every_us)
        yield CaseDuty.UPDATE, due_us, said[place + 1].at_us if place + 1 < len(said) else 0


def _due(hours: BusinessHours, since_us: int, within_us: int) -> int:
    begin = _EPOCH + timedelta(microseconds=since_us)
    return (after_business_time(hours, begin, timedelta(microseconds=within_us)) - _EPOCH) // _MICROSECOND
