"""What people and their tools are told: each turn that the ledger keeps, as one notice.

A notice is derived from what is kept, never stored. Its `key` is made of the turn alone, so whoever is told the same
turn twice can drop the repeat. Notices of one `thread` (an issue, or a condition of one target) are told in order.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, assert_never

from probe.core.happenings import WORDS, Happening, Stage
from probe.core.model import Condition, IssueEvent, IssueTurn


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeTurn:
    """Something that happened to an issue, with the name of the life it belongs to.

    `over` is the stage that it led to, where nothing more is owed by anybody from then on.
    """

    issue: str  # the life's own: a relapse has another name in the record
    what: IssueEvent | Happening
    over: Stage | None = None


# What a notice can be made of. A turn that is not kept yet is known by its name in the record alone.
Turn = IssueEvent | Condition | LifeTurn


class Severity(StrEnum):
    """How much that matters which a notice is about; it stays the same until that is over."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"  # of what is only noted


class Bearing(StrEnum):
    """What a notice means for its thread."""

    BEGINS = "begins"  # something lasts from now on
    NOTES = "notes"  # something happened, once
    ENDS = "ends"  # what began is over


class Delivery(StrEnum):
    """What became of one try to tell."""

    TOLD = "told"
    REPEATED = "repeated"  # told again that it still lasts
    FAILED = "failed"  # and tried again later
    GIVEN_UP = "given_up"  # never told


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """A place in the chain: a record is told after those whose place is smaller."""

    batch: int = 0
    part: int = 0
    position: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing to tell. `since_second` is when it began, `noticed_second` when the program knew."""

    key: str
    thread: str
    kind: str  # what a machine may choose by: "critical_issue.opened"
    name: str  # what its alert is called
    vantage: str
    target: str
    issue: str  # "" where it is about none
    bearing: Bearing
    severity: Severity
    title: str
    text: str
    since_second: int
    noticed_second: int
    line: str = ""  # whom to call
    recorded: bool = True  # False: told although the ledger can't be written
    call_sheet: str = ""  # the page that goes with it, of many lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What the words of a notice need besides its turn."""

    vantage: str
    # Targets whose contract has no Severity 1 line.
    without_line: frozenset[str] = frozenset()
    # The number to call, or how to reach the Technical Account Manager, by target.
    calls: Mapping[str, str] = field(default_factory=dict)


CALL_THE_LINE: Final = "Call the provider's Severity 1 line"
CALL_THE_MANAGER: Final = "Submit a Support Case and call the Technical Account Manager"
NOT_RECORDED: Final = "NOT YET RECORDED: the ledger can't be written."
SEVERITY_1: Final = "severity-1"
CRITICAL_ISSUE: Final = "Sev1probeCriticalIssue"
OPENED: Final = f"critical_issue.{IssueTurn.OPENED}"
SECOND_US: Final = 1_000_000


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
    return notice.kind == OPENED and notice.recorded


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
    if turn.turn is IssueTurn.OPENED:
        bearing, severity = Bearing.BEGINS, Severity.CRITICAL
        again = "" if issue == turn.issue else " again"
        title = f"Critical Issue: {turn.target} is unavailable{again}"
        said = (
            f"{turn.target} has been unavailable persistently since {_utc(turn.since_second)}, seen from "
            f"{wording.vantage}. {CALL_THE_LINE if has_line else CALL_THE_MANAGER}{f': {call}' if call else ''}."
        )
    else:
        bearing, severity = Bearing.NOTES, Severity.INFO
        title = f"Service restored: {turn.target}"
        said = (
            f"{turn.target} has been available again since {_utc(turn.since_second)}, seen from {wording.vantage}. "
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
    )


def _of_happening(happening: Happening, turn: LifeTurn, wording: Wording) -> Notice:
    has_line = happening.target not in wording.without_line
    what = WORDS[happening.act] if happening.party is None else f"{WORDS[happening.act]} of the {happening.party}"
    words = f": {happening.words}" if happening.words else ""
    at_second = happening.at_us // SECOND_US
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
        text=f"{happening.actor} recorded {what}, at {_utc(at_second)}{words}. Issue {turn.issue}.{ended}",
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


def _utc(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
