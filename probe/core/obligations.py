"""What each side owes in a Critical Issue, by when, and whether it came: derived from the life, never stored.

Of a Critical Issue all of it counts 24 hours, 7 days, 365 days (contract.md). The call back within 15 minutes is the
contract's word; within what time the customer calls is his own target, and how often the provider gives updates is
agreed between them. Where the profile has no Severity 1 line, a Support Case is submitted in its place, and nothing is
promised about a call back.

An obligation that came late is missed for ever, and says when it came. One that was still pending when the issue was
over lapses: it is not in the list.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from probe.core.happenings import Act, Happening, Party
from probe.core.lives import Life

MINUTE_US: Final = 60_000_000
CALL_BACK_WITHIN_US: Final = 15 * MINUTE_US  # contract.md, Critical Issue


class Duty(StrEnum):
    """What is owed."""

    CALL_LINE = "call_line"
    SUBMIT_CASE = "submit_case"
    CALL_BACK = "call_back"
    UPDATE = "update"


class ObligationState(StrEnum):
    """Whether it came."""

    PENDING = "pending"
    MET = "met"
    MISSED = "missed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pledges:
    """What was agreed: within what time the customer asks for help, and how often the provider says something."""

    has_line: bool = True
    call_within_us: int = 5 * MINUTE_US
    update_every_us: int = 30 * MINUTE_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """One thing that one side owes by a time. `met_us` is when it came, 0 if it did not."""

    name: Duty
    owed_by: Party
    due_us: int
    state: ObligationState
    met_us: int = 0


def obligations(life: Life, pledges: Pledges, now_us: int) -> tuple[Obligation, ...]:
    """List what was and is owed in an issue's life, in order of the due times."""
    over_us = life.procedure.over_us
    found = (
        _obligation(name, owed_by, due_us, met_us, over_us, now_us)
        for name, owed_by, due_us, met_us in _owed(life, pledges)
    )
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.due_us))


def _owed(life: Life, pledges: Pledges) -> Iterator[tuple[Duty, Party, int, int]]:
    state = life.procedure
    due_us = state.noticed_us + pledges.call_within_us
    # A line that was called counts though the profile has none any more: what was done by then is not owed anew.
    if pledges.has_line or (state.line_called_us and not state.case_submitted_us):
        yield Duty.CALL_LINE, Party.CUSTOMER, due_us, state.line_called_us
    else:
        yield Duty.SUBMIT_CASE, Party.CUSTOMER, due_us, state.case_submitted_us
    if state.line_called_us:
        due_us = state.line_called_us + CALL_BACK_WITHIN_US
        yield Duty.CALL_BACK, Party.PROVIDER, due_us, state.called_back_us
    said = _said(life.happenings)
    for place, happening in enumerate(said):
        due_us = happening.next_update_us or happening.at_us + pledges.update_every_us
        following_us = said[place + 1].at_us if place + 1 < len(said) else 0
        yield Duty.UPDATE, Party.PROVIDER, due_us, following_us


def _said(happenings: tuple[Happening, ...]) -> list[Happening]:
    """List when the provider said something, in order of the times at which he did, however late they were told."""
    found = [happening for happening in happenings if happening.act in (Act.CALLED_BACK, Act.UPDATED)]
    return sorted(found, key=lambda happening: happening.at_us)


def state_of(due_us: int, met_us: int, over_us: int, now_us: int) -> ObligationState | None:
    """Say whether what was due has come; None if it lapsed: pending still when all was over."""
    if met_us:
        return ObligationState.MET if met_us <= due_us else ObligationState.MISSED
    if (over_us or now_us) > due_us:
        return ObligationState.MISSED
    return None if over_us else ObligationState.PENDING


def _obligation(name: Duty, owed_by: Party, due_us: int, met_us: int, over_us: int, now_us: int) -> Obligation | None:
    state = state_of(due_us, met_us, over_us, now_us)
    if state is None:
        return None
    return Obligation(name=name, owed_by=owed_by, due_us=due_us, state=state, met_us=met_us)
