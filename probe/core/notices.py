"""What people and their tools are told: each turn that the ledger keeps, as one notice.

A notice is derived from what is kept, never stored. Its `key` is made of the turn alone, so whoever is told the same
turn twice can drop the repeat. Notices of one `thread` (an issue, a case, an obligation that was missed, or a condition
of one target) are told in order.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, assert_never

from probe.core.happenings import WORDS, Happening
from probe.core.lapses import Lapse
from probe.core.model import Condition, IssueEvent, IssueTurn
from probe.core.moments import utc
from probe.core.notice_values import (
    SECOND_US,
    SEVERITY_1,
    Bearing,
    CaseTurn,
    Delivery,
    LifeTurn,
    Notice,
    Place,
    Severity,
    Turn,
    Wording,
    as_sentence,
    particulars,
)
from probe.core.notices_of_cases import notice_of_case
from probe.core.notices_of_lapses import MISSED, notice_of_lapse

__all__ = [
    "Bearing",
    "CaseTurn",
    "Delivery",
    "LifeTurn",
    "Notice",
    "Place",
    "Severity",
    "Turn",
    "Wording",
    "notice_of",
    "still_lasting",
    "take_in",
    "trial",
    "wants_call_sheet",
]

CALL_THE_LINE: Final = "Call the provider's Severity 1 line"
CALL_THE_MANAGER: Final = "Submit a Support Case and call the Technical Account Manager"
NOT_RECORDED: Final = "NOT YET RECORDED: the ledger can't be written."
CRITICAL_ISSUE: Final = "Sev1probeCriticalIssue"
OPENED: Final = f"critical_issue.{IssueTurn.OPENED}"


def notice_of(turn: Turn, wording: Wording, *, recorded: bool = True) -> Notice:
    """Say what there is to tell of a turn."""
    match turn:
        case IssueEvent():
            return _of_issue(turn, turn.issue, wording, recorded)
        case LifeTurn():
            if isinstance(turn.what, IssueEvent):
                return _of_issue(turn.what, turn.issue, wording, recorded)
            return _of_happening(turn.what, turn, wording)
        case Condition():
            return _of_condition(turn, wording, recorded)
        case Lapse():
            notice = notice_of_lapse(turn, wording)
            return replace(notice, text=_with_doubt(notice.text, recorded), recorded=recorded)
        case CaseTurn():
            return notice_of_case(turn, wording)
        case _:
            assert_never(turn)


def trial(vantage: str, second: int) -> Notice:
    """Make the notice that shows whether a courier works."""
    return Notice(
        key=f"{vantage}/test/{second}",
        thread=f"{vantage}/test",
        kind="test",
        name="Sev1probeTest",
        vantage=vantage,
        target="",
        issue="",
        bearing=Bearing.NOTES,
        severity=Severity.INFO,
        title="Test of sev1probe's notifications",
        text=f"Nothing has happened. Somebody at {vantage} tried whether this way of telling works. It does.",
        since_second=second,
        noticed_second=second,
    )


def wants_call_sheet(notice: Notice) -> bool:
    """Say whether somebody has to call, and needs the page for it."""
    is_owed = notice.kind == MISSED and bool(notice.issue) and notice.severity is Severity.CRITICAL
    return (notice.kind == OPENED or is_owed) and notice.recorded


def still_lasting(notices: Iterable[Notice]) -> dict[str, Notice]:
    """Fold notices to those that began and are not over, by their threads."""
    lasting: dict[str, Notice] = {}
    for notice in notices:
        take_in(lasting, notice)
    return lasting


def take_in(lasting: dict[str, Notice], notice: Notice) -> None:
    """Go on with the same fold by one notice."""
    match notice.bearing:
        case Bearing.BEGINS:
            lasting[notice.thread] = notice
        case Bearing.ENDS:
            lasting.pop(notice.thread, None)
        case Bearing.NOTES:
            pass
        case _:
            assert_never(notice.bearing)


def _of_issue(turn: IssueEvent, issue: str, wording: Wording, recorded: bool) -> Notice:
    has_line, call = turn.target not in wording.without_line, wording.calls.get(turn.target, "")
    is_relapse = turn.turn is IssueTurn.OPENED and issue != turn.issue
    if turn.turn is IssueTurn.OPENED:
        bearing, severity = Bearing.BEGINS, Severity.CRITICAL
        again = " again" if is_relapse else ""
        title = f"Critical Issue: {turn.target} is unavailable{again}"
        said = (
            f"{turn.target} has been unavailable persistently since {utc(turn.since_second)}, seen from "
            f"{wording.vantage}. {CALL_THE_LINE if has_line else CALL_THE_MANAGER}{f': {call}' if call else ''}."
        )
    else:
        bearing, severity = Bearing.NOTES, Severity.INFO
        title = f"Service restored: {turn.target}"
        said = (
            f"{turn.target} has been available again since {utc(turn.since_second)}, seen from {wording.vantage}. "
            "Restored is not resolved: agree with the provider on the resolution."
        )
    return Notice(
        key=f"{wording.vantage}/{turn.issue}/{turn.turn}/{turn.noticed_second}",
        thread=f"{wording.vantage}/{issue}",
        kind=f"critical_issue.{turn.turn}",
        name=CRITICAL_ISSUE,
        vantage=wording.vantage,
        target=turn.target,
        issue=issue,
        bearing=bearing,
        severity=severity,
        title=title,
        text=_with_doubt(f"{said} Issue {issue}.", recorded),
        since_second=turn.since_second,
        noticed_second=turn.noticed_second,
        line=SEVERITY_1 if has_line else "",
        recorded=recorded,
        is_relapse=is_relapse,
    )


def _of_happening(happening: Happening, turn: LifeTurn, wording: Wording) -> Notice:
    has_line = happening.target not in wording.without_line
    what = WORDS[happening.act] if happening.party is None else f"{WORDS[happening.act]} of the {happening.party}"
    at_second = happening.at_us // SECOND_US
    said = f"{happening.actor} recorded {what}, at {utc(at_second)}{particulars(happening)}"
    ended = "" if turn.over is None else f" With that it is {turn.over}."
    return Notice(
        key=f"{wording.vantage}/{turn.issue}/{happening.act}/{happening.happening}",
        thread=f"{wording.vantage}/{turn.issue}",
        kind=f"critical_issue.{turn.over or happening.act}",
        name=CRITICAL_ISSUE,
        vantage=wording.vantage,
        target=happening.target,
        issue=turn.issue,
        bearing=Bearing.NOTES if turn.over is None else Bearing.ENDS,
        # The alert that ends has the severity that it began with.
        severity=Severity.INFO if turn.over is None else Severity.CRITICAL,
        title=f"Critical Issue of {happening.target}: {turn.over or what}",
        text=f"{as_sentence(said)} Issue {turn.issue}.{ended}",
        since_second=at_second,
        noticed_second=happening.recorded_us // SECOND_US,
        line=SEVERITY_1 if has_line else "",
    )


def _of_condition(turn: Condition, wording: Wording, recorded: bool) -> Notice:
    about = turn.target or "all targets"
    state = "raised" if turn.raised else "over"
    if turn.raised:
        title = f"The prober is {turn.condition}: {about}"
        said = (
            f"The prober at {wording.vantage} is {turn.condition} for {about}: {turn.words}. "
            "See to the prober: until then nobody watches the provider."
        )
    else:
        title = f"The prober is {turn.condition} no more: {about}"
        said = f"The prober at {wording.vantage} is {turn.condition} for {about} no more: {turn.words}."
    return Notice(
        key=f"{wording.vantage}/{turn.condition}/{turn.target}/{state}/{turn.noticed_second}",
        thread=f"{wording.vantage}/{turn.condition}/{turn.target}",
        kind=f"{turn.condition}.{state}",
        name=f"Sev1probe{turn.condition.title().replace('_', '')}",
        vantage=wording.vantage,
        target=turn.target,
        issue="",
        bearing=Bearing.BEGINS if turn.raised else Bearing.ENDS,
        severity=Severity.WARNING,
        title=title,
        text=_with_doubt(said, recorded),
        since_second=turn.since_second,
        noticed_second=turn.noticed_second,
        recorded=recorded,
    )


def _with_doubt(text: str, recorded: bool) -> str:
    return text if recorded else f"{text} {NOT_RECORDED}"
