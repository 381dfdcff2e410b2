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

What people tell passes `told`, which trusts nothing in it: a proposal may come from any process that can write the
ledger's inbox, and one that makes no sense must be refused in words and hold up nothing.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, assert_never

from probe.core.happenings import (
    AGREEMENT_ACTS,
    PROGRAM,
    PROGRAM_ACTS,
    WORDS,
    Act,
    Happening,
    Party,
    Procedure,
    Stage,
    named,
)

__all__ = [
    "Act",
    "Happening",
    "Party",
    "Procedure",
    "Refused",
    "Stage",
    "after",
    "begin",
    "fold",
    "named",
    "told",
]

WORDS_CHARACTERS_MAX: Final = 2_000
NAME_CHARACTERS_MAX: Final = 200  # of who recorded, who was spoken to, and a reference
PROMISE_US_MAX: Final = 366 * 86_400_000_000  # until the next update; dates far off could not even be written down
HAPPENINGS_MAX: Final = 5_000  # of one issue; an update each ten minutes for a month makes 4,320


class Refused(ValueError):
    """A happening that the procedure does not allow; str() is a sentence."""


def begin(opening: Happening) -> Procedure:
    """Make the state that an opening leads to."""
    assert opening.act is Act.OPENED
    return Procedure(
        target=opening.target, issue=opening.issue, opened_us=opening.at_us, noticed_us=opening.recorded_us
    )


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
    for problem in _problems(state, happening):
        raise Refused(problem)
    return replace(_changed(state, happening), revision=state.revision + 1)


def told(state: Procedure, happening: Happening) -> Procedure:
    """Go on by a happening that somebody tells: nothing in it is trusted.

    Raises:
        Refused: If it is not theirs to tell, makes no sense, or the procedure does not allow it.
    """
    for problem in _problems_of_form(state, happening):
        raise Refused(problem)
    return after(state, happening)


def _problems_of_form(state: Procedure, happening: Happening) -> Iterator[str]:
    act = happening.act
    if act in PROGRAM_ACTS:
        yield f"{act} is what the record itself says of {state.issue}; nobody can tell it"
    if (happening.party is not None) != (act in AGREEMENT_ACTS):
        yield f"{act} needs a party, customer or provider" if happening.party is None else f"{act} has no party"
    if not happening.actor.strip() or happening.actor == PROGRAM:
        yield "the actor is empty or the program itself; say who records this"
    if len(happening.words) > WORDS_CHARACTERS_MAX:
        yield f"the words have more than {WORDS_CHARACTERS_MAX:,} characters; name the document that says more"
    names = (happening.actor, happening.spoken_to, happening.reference)
    if max(map(len, names)) > NAME_CHARACTERS_MAX:
        yield f"a name or a reference has more than {NAME_CHARACTERS_MAX} characters"
    if not "".join((happening.words, *names)).isprintable():
        yield "there is a line break or a control character in it; write one line"
    if state.revision >= HAPPENINGS_MAX:
        yield f"{state.issue} has {HAPPENINGS_MAX:,} happenings already, which is the most that is kept of one issue"
    if happening.seen_revision not in (0, state.revision):
        yield (
            f"somebody was faster: {state.issue} is at revision {state.revision} by now, "
            f"not at {happening.seen_revision}; look at it again"
        )


def _problems(state: Procedure, happening: Happening) -> Iterator[str]:
    act, issue = happening.act, state.issue
    if act is Act.OPENED:
        yield f"{issue} is open already"
    if state.reclassified_us:
        yield f"{issue} was reclassified and is no Critical Issue any more; nothing can be added to it"
    if state.resolved_us:
        yield f"{issue} is resolved, as both sides agreed; a new failure opens a new issue"
    if happening.at_us < state.opened_us:
        yield f"{WORDS[act]} can't have happened before {issue} began"
    if happening.at_us > happening.recorded_us:
        yield f"{WORDS[act]} can't be recorded before it happened"
    if act is Act.CALLED_BACK:
        yield from _problems_of_call_back(state, happening)
    if act is Act.RESTORED and state.restored_us:
        yield f"the service is restored already in {issue}"
    if act is Act.RELAPSED and not state.restored_us:
        yield f"the service was not restored in {issue}, so it can't have relapsed"
    if act is Act.RECLASSIFIED and not happening.words.strip():
        yield f"{issue} is reclassified with a reason or not at all"
    if act is Act.UPDATED and not happening.words.strip():
        yield "an update says something; write down what was said"
    if happening.next_update_us and act not in (Act.CALLED_BACK, Act.UPDATED):
        yield "only a call back or an update promises the next update"
    elif happening.next_update_us and happening.next_update_us <= happening.at_us:
        yield "the next update can't be due before this one"
    elif happening.next_update_us > happening.at_us + PROMISE_US_MAX:
        yield "the next update is more than a year away; a promise is sooner"
    if act in AGREEMENT_ACTS:
        yield from _problems_of_agreement(state, happening)


def _problems_of_call_back(state: Procedure, happening: Happening) -> Iterator[str]:
    asked_us = state.asked_us
    if not asked_us:
        yield f"nobody has called the provider about {state.issue} yet, so nobody can have called back"
    elif happening.at_us < asked_us:
        yield f"a call back can't have come before the call about {state.issue}"


def _problems_of_agreement(state: Procedure, happening: Happening) -> Iterator[str]:
    act, party, issue = happening.act, happening.party, state.issue
    assert party is not None
    has_agreed = party in dict(state.agreed)
    if act is Act.WITHDRAWN:
        if not has_agreed:
            yield f"the {party} has not agreed that {issue} is resolved, so there is nothing to withdraw"
    elif not state.restored_us:
        yield f"the service is not restored in {issue} yet, so nobody can say whether it is resolved"
    elif happening.at_us < state.restored_us:
        yield f"that was before the service was restored in {issue}, so it can't have been about its resolution"
    elif act is Act.AGREED and has_agreed:
        yield f"the {party} has agreed already that {issue} is resolved"
    if act is Act.DISAGREED and not happening.words.strip():
        yield "a disagreement says what is still wrong"


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
            return replace(
                state, case_submitted_us=_first(state.case_submitted_us, at_us), cases=_with(state.cases, happening)
            )
        case Act.ESCALATED:
            return replace(
                state, escalated_us=_first(state.escalated_us, at_us), references=_with(state.references, happening)
            )
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
