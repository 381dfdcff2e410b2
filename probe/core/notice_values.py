"""What a notice is: values that those who word it and those who carry it share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from probe.core.case_happenings import CaseHappening, CaseStage
from probe.core.happenings import Happening, Stage
from probe.core.lapses import Lapse
from probe.core.model import Condition, IssueEvent
from probe.core.moments import utc

SECOND_US: Final = 1_000_000
SEVERITY_1: Final = "severity-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeTurn:
    """Something that happened to an issue, with the name of the life it belongs to.

    `over` is the stage that it led to, where nothing more is owed by anybody from then on.
    """

    issue: str  # the life's own: a relapse has another name in the record
    what: IssueEvent | Happening
    over: Stage | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseTurn:
    """Something that happened in a Support Case, with the case's title. `over` is as in `LifeTurn`."""

    what: CaseHappening
    title: str
    over: CaseStage | None = None


# What a notice can be made of. A turn that is not kept yet is known by its name in the record alone.
Turn = IssueEvent | Condition | Lapse | LifeTurn | CaseTurn


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
    case: str = ""  # of the Support Case that it is about
    obligation: str = ""  # what was missed, as `Lapse.name` has it
    owed_by: str = ""
    due_second: int = 0
    line: str = ""  # whom to call
    recorded: bool = True  # False: told although the ledger can't be written
    is_relapse: bool = False  # of what began before and is not over
    call_sheet: str = ""  # the page that goes with it, of many lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """What the words of a notice need besides its turn."""

    vantage: str
    # Targets whose contract has no Severity 1 line.
    without_line: frozenset[str] = frozenset()
    # The number to call, or how to reach the Technical Account Manager, by target.
    calls: Mapping[str, str] = field(default_factory=dict)


def as_sentence(text: str) -> str:
    """End a text with a full stop, unless people's own words have ended it."""
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def particulars(happening: Happening | CaseHappening) -> str:
    """Say to whom, by which reference, with which promise and in which words it happened; "" if there is nothing."""
    parts = (
        f", to {happening.spoken_to}" if happening.spoken_to else "",
        f", reference {happening.reference}" if happening.reference else "",
        f", next update {utc(happening.next_update_us // SECOND_US)}" if happening.next_update_us else "",
        f": {happening.words}" if happening.words else "",
    )
    return "".join(parts)
