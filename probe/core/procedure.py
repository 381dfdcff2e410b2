"""From Critical Issue to agreed resolution: the contract's procedure as a fold of what happened.

Theory of operation
-------------------

An issue's life is a sequence of `Happening`s, each kept for ever in the order in which it was recorded. The state of
the issue (`Procedure`) is the fold of that sequence by `after`, and nothing else; whoever folds the same sequence sees
the same state. A happening that is not allowed is refused with a sentence and changes nothing.

Two of them come from the program: the opening, and what the record says of the service afterwards (`restored`, and
`relapsed` when unavailability persists again before both sides have agreed). All others are told by people, and carry
the moment at which they happened (`at_us`) beside the one at which they were recorded (`recorded_us`): a call back may
be told hours later with its true time.

What the contract says of each step (contract.md, Critical Issue): the customer calls the Severity 1 line; a
representative calls back within 15 minutes; updates come at agreed intervals; customer *and* provider agree that it is
resolved. Service restored is not the same as resolved, so agreement may come only after the service was restored, and a
relapse takes back what was agreed by one side alone. Under a profile without a Severity 1 line a Support Case is
submitted and the Technical Account Manager called instead; the rest is the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never


class Act(StrEnum):
    """What may happen in an issue's life."""

    OPENED = "opened"
    RESTORED = "restored"
    RELAPSED = "relapsed"
    LINE_CALLED = "line_called"
    CALLED_BACK = "called_back"
    CASE_SUBMITTED = "case_submitted"
    ESCALATED = "escalated"  # to the Technical Account Manager
    UPDATED = "updated"
    AGREED = "agreed"
    WITHDRAWN = "withdrawn"  # an agreement is taken back
    DISAGREED = "disagreed"
    RECLASSIFIED = "reclassified"


class Party(StrEnum):
    """Who agrees."""

    CUSTOMER = "customer"
    PROVIDER = "provider"


class Stage(StrEnum):
    """Where an issue stands."""

    OPEN = "open"
    RESTORED = "restored"
    DISAGREED = "disagreed"
    RESOLVED = "resolved"
    RECLASSIFIED = "reclassified"


PROGRAM_ACTS = frozenset({Act.OPENED, Act.RESTORED, Act.RELAPSED})


class Refused(ValueError):
    """A happening that the procedure does not allow; str() is a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened in an issue's life.

    `actor` is who recorded it, "sev1probe" for the program. `party` is who agrees, withdraws or disagrees.
    `spoken_to` and `reference` belong to calls and cases; `next_update_us` to calls back and updates, 0 if none was
    promised.
    """

    issue: str
    act: Act
    at_us: int
    recorded_us: int
    actor: str
    words: str = ""
    party: Party | None = None
    spoken_to: str = ""
    reference: str = ""
    next_update_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """Where an issue stands: the fold of its happenings. `revision` counts them."""

    issue: str
    opened_us: int
    revision: int = 1
    restored_us: int = 0  # 0 while the service is not restored
    line_called_us: int = 0  # the first call
    called_back_us: int = 0  # the first call back
    last_update_us: int = 0
    next_update_us: int = 0
    agreed: tuple[tuple[Party, int], ...] = ()
    disagreed: tuple[Party, ...] = ()
    resolved_us: int = 0
    reclassified_us: int = 0
    relapses: int = 0
    cases: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    @property
    def stage(self) -> Stage:
        """Say where the issue stands."""
        if self.reclassified_us:
            return Stage.RECLASSIFIED
        if self.resolved_us:
            return Stage.RESOLVED
        if self.disagreed:
            return Stage.DISAGREED
        return Stage.RESTORED if self.restored_us else Stage.OPEN

    @property
    def is_over(self) -> bool:
        """Say whether nothing more is owed by anybody."""
        return self.stage in {Stage.RESOLVED, Stage.RECLASSIFIED}


def begin(opening: Happening) -> Procedure:
    """Make the state that an opening leads to."""
    assert opening.act is Act.OPENED
    return Procedure(issue=opening.issue, opened_us=opening.at_us)


def fold(happenings: Iterable[Happening]) -> Procedure:
    """Fold a whole life.

    Raises:
        Refused: If it is none that `after` allows.
    """
    opening, *others = happenings
    state = begin(opening)
    for happening in others:
        state = after(state, happening)
    return state


def after(state: Procedure, happening: Happening) -> Procedure:
    """Go on by one happening.

    Raises:
        Refused: If the procedure does not allow it; the state is as it was.
    """
    assert happening.issue == state.issue
    _check(state, happening)
    return replace(_changed(state, happening), revision=state.revision + 1)


def _check(state: Procedure, happening: Happening) -> None:
    act = happening.act
    if act is Act.OPENED:
        raise Refused(f"{state.issue} is open already")
    if state.reclassified_us:
        raise Refused(f"{state.issue} was reclassified and is no Critical Issue any more; nothing can be added to it")
    if state.resolved_us:
        raise Refused(f"{state.issue} is resolved, as both sides agreed; a new failure opens a new issue")
    if happening.at_us < state.opened_us and act is not Act.RESTORED:
        raise Refused(f"{act} can't have happened before {state.issue} began")
    if happening.at_us > happening.recorded_us:
        raise Refused(f"{act} can't be recorded before it happened")
    if act in {Act.AGREED, Act.WITHDRAWN, Act.DISAGREED}:
        _check_agreement(state, happening)
    if act is Act.CALLED_BACK and not state.line_called_us:
        raise Refused(f"nobody has called the line for {state.issue} yet, so nobody can have called back")
    if act is Act.CALLED_BACK and happening.at_us < state.line_called_us:
        raise Refused(f"a call back can't have come before the call about {state.issue}")
    if act is Act.RESTORED and state.restored_us:
        raise Refused(f"the service is restored already in {state.issue}")
    if act is Act.RELAPSED and not state.restored_us:
        raise Refused(f"the service was not restored in {state.issue}, so it can't have relapsed")
    if act is Act.RECLASSIFIED and not happening.words:
        raise Refused(f"{state.issue} is reclassified with a reason or not at all")


def _check_agreement(state: Procedure, happening: Happening) -> None:
    party = happening.party
    assert party is not None
    has_agreed = party in dict(state.agreed)
    if happening.act is Act.WITHDRAWN:
        if not has_agreed:
            raise Refused(f"the {party} has not agreed that {state.issue} is resolved, so there is nothing to withdraw")
    elif not state.restored_us:
        raise Refused(f"the service is not restored in {state.issue} yet, so nobody can say whether it is resolved")
    elif happening.act is Act.AGREED and has_agreed:
        raise Refused(f"the {party} has agreed already that {state.issue} is resolved")


def _changed(state: Procedure, happening: Happening) -> Procedure:
    at_us = happening.at_us
    match happening.act:
        case Act.RESTORED:
            return replace(state, restored_us=at_us)
        case Act.RELAPSED:
            return replace(state, restored_us=0, agreed=(), disagreed=(), relapses=state.relapses + 1)
        case Act.LINE_CALLED:
            return replace(
                state, line_called_us=_first(state.line_called_us, at_us), references=_with(state.references, happening)
            )
        case Act.CALLED_BACK:
            called_back_us = _first(state.called_back_us, at_us)
            return replace(
                _updated(state, happening), called_back_us=called_back_us, references=_with(state.references, happening)
            )
        case Act.UPDATED:
            return _updated(state, happening)
        case Act.CASE_SUBMITTED:
            return replace(state, cases=_with(state.cases, happening))
        case Act.ESCALATED:
            return state
        case Act.AGREED | Act.WITHDRAWN | Act.DISAGREED:
            return _agreement(state, happening)
        case Act.RECLASSIFIED:
            return replace(state, reclassified_us=at_us)
        case Act.OPENED:
            raise AssertionError("refused before")
        case _:
            assert_never(happening.act)


def _updated(state: Procedure, happening: Happening) -> Procedure:
    """Take in what was said; an update that is told late does not move what a later one promised."""
    if happening.at_us < state.last_update_us:
        return state
    return replace(state, last_update_us=happening.at_us, next_update_us=happening.next_update_us)


def _agreement(state: Procedure, happening: Happening) -> Procedure:
    party = happening.party
    assert party is not None
    agreed = tuple((other, at_us) for other, at_us in state.agreed if other is not party)
    disagreed = tuple(other for other in state.disagreed if other is not party)
    if happening.act is Act.DISAGREED:
        return replace(state, agreed=agreed, disagreed=(*disagreed, party))
    if happening.act is Act.WITHDRAWN:
        return replace(state, agreed=agreed, disagreed=disagreed)
    agreed = (*agreed, (party, happening.at_us))
    resolved_us = max(at_us for _, at_us in agreed) if len(agreed) == len(Party) else 0
    return replace(state, agreed=agreed, disagreed=disagreed, resolved_us=resolved_us)


def _first(known_us: int, at_us: int) -> int:
    return min(known_us, at_us) if known_us else at_us


def _with(known: tuple[str, ...], happening: Happening) -> tuple[str, ...]:
    if not happening.reference or happening.reference in known:
        return known
    return (*known, happening.reference)
