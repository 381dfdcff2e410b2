"""What people are told of Support Cases: what happened in them, as it is recorded."""

from typing import Final

from probe.core.case_happenings import CaseAct
from probe.core.happenings import PROGRAM
from probe.core.moments import utc
from probe.core.notice_values import (
    SECOND_US,
    Bearing,
    CaseTurn,
    Notice,
    Severity,
    Wording,
    as_sentence,
    particulars,
)

SUPPORT_CASE: Final = "Sev1probeSupportCase"
# Each act as a noun, for sentences to people.
WORDS: Final = {
    CaseAct.DRAFTED: "the draft",
    CaseAct.JOINED: "that further seconds join the draft",
    CaseAct.OPENED: "the opening",
    CaseAct.SUBMITTED: "the submission",
    CaseAct.REPLIED: "the reply",
    CaseAct.UPDATED: "the update",
    CaseAct.ESCALATED: "the escalation",
    CaseAct.AGREED: "the agreement",
    CaseAct.TAKEN_BACK: "the agreement that was taken back",
    CaseAct.WITHDRAWN: "the withdrawal",
}


def notice_of_case(turn: CaseTurn, wording: Wording) -> Notice:
    """Say what there is to tell of what happened in a case."""
    happening = turn.what
    is_ours = happening.actor == PROGRAM and happening.act is CaseAct.DRAFTED
    at_second = happening.at_us // SECOND_US
    stage = turn.over or happening.act
    return Notice(
        key=f"{wording.vantage}/{happening.case}/{happening.act}/{happening.happening}",
        thread=f"{wording.vantage}/{happening.case}",
        kind=f"support_case.{stage}",
        name=SUPPORT_CASE,
        vantage=wording.vantage,
        target=happening.target,
        issue="",
        case=happening.case,
        bearing=Bearing.NOTES,
        # What the program drafted by itself is for somebody to look at.
        severity=Severity.WARNING if is_ours else Severity.INFO,
        title=f"Support Case of {happening.target}: {str(stage).replace('_', ' ')}",
        text=_text(turn, is_ours=is_ours, at=utc(at_second)),
        since_second=at_second,
        noticed_second=happening.recorded_us // SECOND_US,
    )


def _text(turn: CaseTurn, *, is_ours: bool, at: str) -> str:
    happening = turn.what
    party = f" of the {happening.party}" if happening.party else ""
    about = f"Support Case {happening.case}, “{turn.title}”." if turn.title else f"Support Case {happening.case}."
    told = f"{happening.actor} recorded {WORDS[happening.act]}{party}, at {at}{particulars(happening)}"
    said = f"{as_sentence(told)} {about}"
    if turn.over is not None:
        return f"{said} With that it is {turn.over}."
    if is_ours:
        return f"{said} Review it: sev1probe case show {happening.case}."
    return said
