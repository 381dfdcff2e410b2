"""What can happen in a Support Case, and where one can stand: the values of `cases`, which has the rules."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final

from probe.core.happenings import ID_CHARACTERS, Party

CASE_ID_CHARACTERS: Final = 8


class CaseKind(StrEnum):
    """What a Non-Critical Issue is (contract.md)."""

    SOFTWARE_BUG = "software_bug"
    CONFIGURATION_REQUEST = "configuration_request"
    INFORMATION_REQUEST = "information_request"


class CaseAct(StrEnum):
    """What may happen in a case's life."""

    DRAFTED = "drafted"
    JOINED = "joined"  # further seconds join a draft of the program's
    OPENED = "opened"
    SUBMITTED = "submitted"
    REPLIED = "replied"
    UPDATED = "updated"
    ESCALATED = "escalated"  # to the Technical Account Manager
    AGREED = "agreed"
    TAKEN_BACK = "taken_back"  # an agreement is
    WITHDRAWN = "withdrawn"  # the case is, by the customer


class Way(StrEnum):
    """How a case is submitted."""

    MAIL = "mail"
    DASHBOARD = "dashboard"


class CaseStage(StrEnum):
    """Where a case stands."""

    DRAFT = "draft"
    OPEN = "open"
    SUBMITTED = "submitted"
    ANSWERED = "answered"
    RESOLVED = "resolved"
    WITHDRAWN = "withdrawn"


BEGINNINGS: Final = frozenset({CaseAct.DRAFTED, CaseAct.OPENED})
BY_PROGRAM: Final = frozenset({CaseAct.DRAFTED, CaseAct.JOINED})
WITH_PARTY: Final = frozenset({CaseAct.REPLIED, CaseAct.AGREED, CaseAct.TAKEN_BACK})
AFTER_SUBMISSION: Final = WITH_PARTY | {CaseAct.UPDATED, CaseAct.ESCALATED}
WITH_WORDS: Final = frozenset({CaseAct.REPLIED, CaseAct.UPDATED, CaseAct.WITHDRAWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseHappening:
    """One thing that happened in a case's life.

    `kind`, `title` and the seconds of the evidence (both included; 0 if there is none) belong to the one that begins
    it. `reference` is the dashboard's number or the Message-ID of a submission, and the provider's in a reply. `party`
    is who replies, agrees or takes back. `seen_revision` is as in `Happening`. What the program drafts by
    itself names the `cause` of the Unavailable seconds, and how many `seconds` it counts; where more join a draft,
    `last_second` is the last one of them.
    """

    happening: str = ""
    case: str = ""
    target: str
    act: CaseAct
    at_us: int
    recorded_us: int
    actor: str
    words: str = ""
    kind: CaseKind | None = None
    title: str = ""
    first_second: int = 0
    last_second: int = 0
    way: Way | None = None
    reference: str = ""
    party: Party | None = None
    spoken_to: str = ""
    next_update_us: int = 0
    seen_revision: int = 0
    cause: str = ""
    seconds: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Where a case stands: the fold of its happenings. A moment is 0 while it has not come.

    Of a case that the program drafted, `seconds` Unavailable ones of one `cause` are counted, through `through_second`.

    `unfitting` is what the record holds for it and today's rules do not allow, each with the refusal.
    """

    case: str
    target: str
    kind: CaseKind
    title: str
    words: str
    first_second: int
    last_second: int
    begun_us: int
    happenings: tuple[CaseHappening, ...]
    unfitting: tuple[tuple[CaseHappening, str], ...] = ()
    opened_us: int = 0
    submitted_us: int = 0
    answered_us: int = 0  # the provider's first reply
    escalated_us: int = 0
    agreed: tuple[tuple[Party, int], ...] = ()
    resolved_us: int = 0
    withdrawn_us: int = 0
    references: tuple[str, ...] = ()
    cause: str = ""
    seconds: int = 0
    through_second: int = 0

    @property
    def revision(self) -> int:
        """Count the happenings."""
        return len(self.happenings)

    @property
    def over_us(self) -> int:
        """Say since when nothing more is owed by anybody; 0 if something is."""
        return self.withdrawn_us or self.resolved_us

    @property
    def stage(self) -> CaseStage:
        """Say where the case stands."""
        reached = (
            (self.withdrawn_us, CaseStage.WITHDRAWN),
            (self.resolved_us, CaseStage.RESOLVED),
            (self.answered_us, CaseStage.ANSWERED),
            (self.submitted_us, CaseStage.SUBMITTED),
            (self.opened_us, CaseStage.OPEN),
        )
        return next((stage for at_us, stage in reached if at_us), CaseStage.DRAFT)


Cases = Mapping[str, Case]


def named_case(happening: CaseHappening) -> CaseHappening:
    """Give a happening, and the case that it begins if it is of none yet, the ids that follow from the content."""
    if not happening.case:
        happening = replace(happening, case=f"case-{_digest(happening)[:CASE_ID_CHARACTERS]}")
    return replace(happening, happening=_digest(happening)[:ID_CHARACTERS])


def is_from_provider(happening: CaseHappening) -> bool:
    """Say whether the provider said something in it."""
    return happening.act is CaseAct.UPDATED or (happening.act is CaseAct.REPLIED and happening.party is Party.PROVIDER)


def _digest(happening: CaseHappening) -> str:
    content = json.dumps({**asdict(happening), "happening": ""}, separators=(",", ":"), sort_keys=True)
    return hashlib.sha256(content.encode("ascii")).hexdigest()
