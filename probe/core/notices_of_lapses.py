"""What people are told of obligations that were missed: who owes what, and what to do now."""

from collections.abc import Mapping
from typing import Final

from probe.core.case_obligations import CaseDuty
from probe.core.lapses import Lapse
from probe.core.moments import utc
from probe.core.notice_values import SECOND_US, SEVERITY_1, Bearing, Notice, Severity, Wording
from probe.core.obligations import Duty

OBLIGATION_MISSED: Final = "Sev1probeObligationMissed"
MISSED: Final = "obligation.missed"
# By `Lapse.name`: what is owed, as a noun.
WHAT: Final[Mapping[str, str]] = {
    Duty.CALL_LINE: "call of the Severity 1 line",
    Duty.SUBMIT_CASE: "Support Case",
    Duty.CALL_BACK: "call back",
    Duty.UPDATE: "update",
    f"case_{CaseDuty.RESPOND}": "first answer",
    f"case_{CaseDuty.UPDATE}": "update",
}
_WITH_LINE: Final[Mapping[str, str]] = {
    Duty.CALL_LINE: "Call the provider's Severity 1 line now{call}, and record it: sev1probe issue called {subject}.",
    Duty.CALL_BACK: (
        "Call the Severity 1 line again{call}, quote the reference, and ask the Technical Account Manager to step in. "
        "If they did call back, record it with its true time: sev1probe issue called-back {subject} --at TIME."
    ),
    Duty.UPDATE: (
        "Call the Severity 1 line again{call}, quote the reference, and agree on the next update. "
        "If there was one, record it with its true time: sev1probe issue update {subject} --words WHAT --at TIME."
    ),
}
_WITHOUT_LINE: Final[Mapping[str, str]] = {
    Duty.SUBMIT_CASE: (
        "Submit a Support Case now, call the Technical Account Manager in Business Hours{call}, and record both: "
        "sev1probe issue submitted {subject}, sev1probe issue escalated {subject}."
    ),
    Duty.UPDATE: (
        "Ask for it in the Support Case, quote its number, and call the Technical Account Manager in Business Hours"
        "{call}. "
        "If there was one, record it with its true time: sev1probe issue update {subject} --words WHAT --at TIME."
    ),
}
_OF_CASES: Final[Mapping[str, str]] = {
    f"case_{CaseDuty.RESPOND}": (
        "Ask for an answer, quote the reference, and call the Technical Account Manager in Business Hours. "
        "If there was one, record it with its true time: sev1probe case reply {subject} --words WHAT --at TIME."
    ),
    f"case_{CaseDuty.UPDATE}": (
        "Ask for it, quote the reference, and call the Technical Account Manager in Business Hours. "
        "If there was one, record it with its true time: sev1probe case update {subject} --words WHAT --at TIME."
    ),
}
# Without these nobody works on a Critical Issue.
_CRITICAL: Final[frozenset[str]] = frozenset({Duty.CALL_LINE, Duty.SUBMIT_CASE, Duty.CALL_BACK})


def notice_of_lapse(lapse: Lapse, wording: Wording) -> Notice:
    """Say what there is to tell of an obligation that was missed, or is no longer owed."""
    what, owner = WHAT[lapse.name], lapse.owed_by
    has_line = lapse.target not in wording.without_line
    severity = Severity.CRITICAL if lapse.name in _CRITICAL else Severity.WARNING
    about = f"Issue {lapse.issue}" if lapse.issue else f"Support Case {lapse.case}"
    due = f"The {owner} owed the {what} by {utc(lapse.due_us // SECOND_US)}"
    if lapse.raised:
        title = f"Missed by the {owner}: {what}, {lapse.target}"
        said = f"{due}: {lapse.words}. {_advice(lapse, wording)} {about}, seen from {wording.vantage}."
    else:
        title = f"No longer owed by the {owner}: {what}, {lapse.target}"
        said = f"{due}: {lapse.words}. {about}, seen from {wording.vantage}."
    kind = MISSED if lapse.raised else "obligation.over"
    thread = f"{wording.vantage}/{lapse.subject}/{lapse.name}/{lapse.due_us}"
    return Notice(
        key=f"{thread}/{kind.removeprefix('obligation.')}",
        thread=thread,
        kind=kind,
        name=OBLIGATION_MISSED,
        vantage=wording.vantage,
        target=lapse.target,
        issue=lapse.issue,
        case=lapse.case,
        obligation=lapse.name,
        owed_by=str(owner),
        due_second=lapse.due_us // SECOND_US,
        bearing=Bearing.BEGINS if lapse.raised else Bearing.ENDS,
        severity=severity,
        title=title,
        text=said,
        since_second=lapse.due_us // SECOND_US,
        noticed_second=lapse.noticed_us // SECOND_US,
        # Whoever is called out for the issue is called out for this too, but for no update.
        line=SEVERITY_1 if has_line and severity is Severity.CRITICAL else "",
    )


def _advice(lapse: Lapse, wording: Wording) -> str:
    """Say what to do; a profile that was changed meanwhile may leave an obligation of the other one behind."""
    has_line, number = lapse.target not in wording.without_line, wording.calls.get(lapse.target, "")
    of_profile, of_other = (_WITH_LINE, _WITHOUT_LINE) if has_line else (_WITHOUT_LINE, _WITH_LINE)
    call = f" ({number})" if number and lapse.name in of_profile else ""
    advice = {**_OF_CASES, **of_other, **of_profile}[lapse.name]
    return advice.format(subject=lapse.subject, call=call)
