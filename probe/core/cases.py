"""Support Cases: from a Non-Critical Issue to agreed resolution, as a fold of what happened.

The contract (Non-Critical Issue): the customer submits a Support Case; a representative answers by e-mail during
Business Hours, works towards a resolution and gives updates; the customer supplies what information is needed; both
agree that it is resolved. The Technical Account Manager is the escalation point.

As with Critical Issues (`procedure`), the state of a case is the fold of its happenings in the order in which they were
recorded, and a happening that is not allowed is refused with a sentence and changes nothing. Most of them are told by
people, and nothing in them is trusted. The program itself only drafts cases, and lets further seconds join its drafts
(`drafting`). What each side owes in a case is derived in `case_obligations`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from probe.core.case_happenings import (
    AFTER_SUBMISSION,
    BEGINNINGS,
    BY_PROGRAM,
    WITH_PARTY,
    WITH_WORDS,
    Case,
    CaseAct,
    CaseHappening,
    Cases,
    CaseStage,
    is_from_provider,
)
from probe.core.happenings import PROGRAM, Party
from probe.core.procedure import HAPPENINGS_MAX, NAME_CHARACTERS_MAX, PROMISE_US_MAX, WORDS_CHARACTERS_MAX, Refused

SECOND_US: Final = 1_000_000
EVIDENCE_S_MAX: Final = 3_600  # of one case; more is no longer read by anybody, and no mail carries it
JOININGS_MAX: Final = 1_000  # of one draft, one a minute; people must still have room to say what becomes of it
CASE_ID: Final = re.compile("case-[0-9a-f]{8}")


def cases_of(happenings: Iterable[CaseHappening]) -> Cases:
    """Fold happenings in the ledger's order to cases, by their ids; what lacks its beginning is passed over."""
    cases: dict[str, Case] = {}
    for happening in happenings:
        known = cases.get(happening.case)
        try:
            cases[happening.case] = tell_case(known, happening)
        except Refused as refusal:
            if known is not None:
                unfitting = (*known.unfitting, (happening, str(refusal)))
                cases[happening.case] = replace(known, unfitting=unfitting)
    return cases


def tell_case(case: Case | None, happening: CaseHappening) -> Case:
    """Begin a case, or go on with it.

    Raises:
        Refused: If it makes no sense or is not allowed; the case is as it was.
    """
    for problem in _problems_of_form(happening):
        raise Refused(problem)
    if case is None:
        for problem in _problems_of_beginning(happening):
            raise Refused(problem)
        return _begun(happening)
    for problem in _problems(case, happening):
        raise Refused(problem)
    return replace(_changed(case, happening), happenings=(*case.happenings, happening))


def add_case(cases: Cases, happening: CaseHappening) -> Case:
    """Begin or go on with one of the cases of a target, and see to it that no two drafts have the same cause.

    Raises:
        Refused: If it is not allowed; nothing has changed.
    """
    grown = tell_case(cases.get(happening.case), happening)
    if happening.act is CaseAct.DRAFTED and (other := open_draft(cases.values(), grown.target, grown.cause)):
        raise Refused(f"{other.case} is a draft of the same cause already, and further seconds join it")
    return grown


def open_draft(cases: Iterable[Case], target: str, cause: str) -> Case | None:
    """Find the program's draft of a target and a cause that nobody has opened or withdrawn; there is one at most."""
    drafts = (case for case in cases if case.stage is CaseStage.DRAFT and cause)
    return next((case for case in drafts if (case.target, case.cause) == (target, cause)), None)


def _problems_of_form(happening: CaseHappening) -> Iterator[str]:
    act = happening.act
    yield from _problems_of_counting(happening)
    if (happening.party is not None) != (act in WITH_PARTY):
        yield f"{act} needs a party, customer or provider" if happening.party is None else f"{act} has no party"
    if (happening.way is not None) != (act is CaseAct.SUBMITTED):
        yield "a submission, and nothing else, says whether it went by mail or through the dashboard"
    if not happening.actor.strip() or (happening.actor == PROGRAM and act not in BY_PROGRAM):
        yield "the actor is empty or the program itself; say who records this"
    if len(happening.words) > WORDS_CHARACTERS_MAX:
        yield f"the words have more than {WORDS_CHARACTERS_MAX:,} characters; name the document that says more"
    names = (
        happening.actor, happening.spoken_to, happening.reference, happening.title, happening.target, happening.cause,
    )  # fmt: skip
    if max(map(len, names)) > NAME_CHARACTERS_MAX:
        yield f"a name, a title or a reference has more than {NAME_CHARACTERS_MAX} characters"
    if not "".join((happening.words, *names)).isprintable():
        yield "there is a line break or a control character in it; write one line"
    if not 0 < happening.at_us <= happening.recorded_us:
        yield "it can't be recorded before it happened"
    if act in WITH_WORDS and not happening.words.strip():
        yield "a withdrawal says why" if act is CaseAct.WITHDRAWN else "write down what was said"
    if happening.next_update_us and not is_from_provider(happening):
        yield "only a reply or an update of the provider promises the next update"
    elif happening.next_update_us and happening.next_update_us <= happening.at_us:
        yield "the next update can't be due before this one"
    elif happening.next_update_us > happening.at_us + PROMISE_US_MAX:
        yield "the next update is more than a year away; a promise is sooner"


def _problems_of_counting(happening: CaseHappening) -> Iterator[str]:
    is_programs = happening.actor == PROGRAM and happening.act in BY_PROGRAM
    if is_programs != bool(happening.cause) or is_programs != (happening.seconds > 0):
        yield "what the program drafts, and nothing else, counts the seconds of a cause"
    if happening.act is CaseAct.JOINED and happening.actor != PROGRAM:
        yield "only the program lets seconds join a draft"


def _problems_of_beginning(happening: CaseHappening) -> Iterator[str]:
    if happening.act not in BEGINNINGS:
        yield f"the record knows no case {happening.case}; `sev1probe case list --all` lists them"
    if happening.kind is None or not happening.title.strip():
        yield "a case begins with its kind and a title"
    if happening.seen_revision:
        yield "a case that begins has no revision yet"
    if CASE_ID.fullmatch(happening.case) is None:
        yield "the case is not named as cases are"
    first, last = happening.first_second, happening.last_second
    if not 0 <= first <= last or bool(first) != bool(last):
        yield "the evidence ends before it begins"
    if last - first >= EVIDENCE_S_MAX:
        yield f"the evidence of a case is {EVIDENCE_S_MAX:,} seconds at most; take those that show it best"
    if last * SECOND_US > happening.recorded_us:
        yield "the evidence has not happened yet"


def _problems(case: Case, happening: CaseHappening) -> Iterator[str]:
    act, name = happening.act, case.case
    if happening.target != case.target:
        yield f"{name} is a case of {case.target}, not of {happening.target}"
    if any(known.happening == happening.happening for known in case.happenings):
        yield f"{happening.happening} is recorded already"
    if happening.seen_revision not in (0, case.revision):
        yield f"somebody was faster: {name} is at revision {case.revision} by now, not at {happening.seen_revision}"
    if case.revision >= HAPPENINGS_MAX:
        yield f"{name} has {HAPPENINGS_MAX:,} happenings already, which is the most that is kept of one case"
    if case.withdrawn_us:
        yield f"{name} was withdrawn; open another one"
    if case.resolved_us:
        yield f"{name} is resolved, as both sides agreed; open another one"
    if act is CaseAct.DRAFTED or (act is CaseAct.OPENED and case.opened_us):
        yield f"{name} is there already, and {case.stage}"
    is_joining = act is CaseAct.JOINED
    last_second = 0 if is_joining else happening.last_second
    if happening.kind is not None or happening.title or happening.first_second or last_second:
        yield f"kind, title and evidence of {name} were said when it began"
    if happening.at_us < case.begun_us:
        yield f"that was before {name} began"
    if is_joining:
        yield from _problems_of_joining(case, happening)
    if act is CaseAct.SUBMITTED:
        yield from _problems_of_submission(case, happening)
    if act in AFTER_SUBMISSION and not case.submitted_us:
        yield f"{name} is not submitted yet, so the provider can't know of it"
    elif act in AFTER_SUBMISSION and happening.at_us < case.submitted_us:
        yield f"that was before {name} was submitted"
    if act is CaseAct.AGREED and happening.party in dict(case.agreed):
        yield f"the {happening.party} has agreed already that {name} is resolved"
    if act is CaseAct.TAKEN_BACK and happening.party not in dict(case.agreed):
        yield f"the {happening.party} has not agreed that {name} is resolved, so there is nothing to take back"


def _problems_of_joining(case: Case, happening: CaseHappening) -> Iterator[str]:
    name = case.case
    if case.stage is not CaseStage.DRAFT or happening.cause != case.cause:
        yield f"seconds join a draft of their own cause only, and {name} is {case.stage}, of {case.cause or 'none'}"
    if not 0 < happening.seconds <= happening.last_second - case.through_second:
        yield f"{name} counts the seconds through {case.through_second:,} already, and each once"
    if happening.last_second * SECOND_US > happening.recorded_us:
        yield "the evidence has not happened yet"
    if not takes_more(case):
        yield f"{name} has taken in further seconds {JOININGS_MAX:,} times, which is the most"


def takes_more(case: Case) -> bool:
    """Say whether a draft has room for further seconds."""
    return sum(one.act is CaseAct.JOINED for one in case.happenings) < JOININGS_MAX


def _problems_of_submission(case: Case, happening: CaseHappening) -> Iterator[str]:
    if case.submitted_us:
        yield f"{case.case} is submitted already, as {', '.join(case.references)}"
    if not case.opened_us:
        yield f"{case.case} is a draft, which nobody has agreed to yet; open it first"
    elif happening.at_us < case.opened_us:
        yield f"that was before {case.case} was opened"
    if not happening.reference.strip():
        yield "a submission has the dashboard's number or the Message-ID"


def _begun(happening: CaseHappening) -> Case:
    assert happening.kind is not None
    return Case(
        case=happening.case,
        target=happening.target,
        kind=happening.kind,
        title=happening.title,
        words=happening.words,
        first_second=happening.first_second,
        last_second=happening.last_second,
        begun_us=happening.at_us,
        opened_us=happening.at_us if happening.act is CaseAct.OPENED else 0,
        happenings=(happening,),
        cause=happening.cause,
        seconds=happening.seconds,
        through_second=happening.last_second if happening.cause else 0,
    )


def _changed(case: Case, happening: CaseHappening) -> Case:
    at_us, party = happening.at_us, happening.party
    case = replace(case, references=_with(case.references, happening.reference))
    match happening.act:
        case CaseAct.JOINED:
            last = happening.last_second
            # Seconds beyond what a case can show are counted all the same; the ledger has them.
            shown = last if last - case.first_second < EVIDENCE_S_MAX else case.last_second
            return replace(case, last_second=shown, seconds=case.seconds + happening.seconds, through_second=last)
        case CaseAct.OPENED:
            return replace(case, opened_us=at_us)
        case CaseAct.SUBMITTED:
            return replace(case, submitted_us=at_us)
        case CaseAct.REPLIED if party is Party.PROVIDER:
            return replace(case, answered_us=min(case.answered_us or at_us, at_us))
        case CaseAct.ESCALATED:
            return replace(case, escalated_us=min(case.escalated_us or at_us, at_us))
        case CaseAct.AGREED:
            assert party is not None
            agreed = (*case.agreed, (party, at_us))
            resolved_us = max(agreed_us for _, agreed_us in agreed) if len(agreed) == len(Party) else 0
            return replace(case, agreed=agreed, resolved_us=resolved_us)
        case CaseAct.TAKEN_BACK:
            return replace(case, agreed=tuple(one for one in case.agreed if one[0] is not party))
        case CaseAct.WITHDRAWN:
            return replace(case, withdrawn_us=at_us)
        case _:
            return case


def _with(known: tuple[str, ...], reference: str) -> tuple[str, ...]:
    return known if not reference or reference in known else (*known, reference)
