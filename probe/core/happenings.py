"""What can happen in an issue's life, and where an issue can stand: the values of `procedure`, which has the rules."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Final

ID_CHARACTERS: Final = 12  # 48 bits: two of a hundred thousand happenings share one with a chance of 1 in 50,000
PROGRAM: Final = "sev1probe"


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
AGREEMENT_ACTS = frozenset({Act.AGREED, Act.WITHDRAWN, Act.DISAGREED})
# Each act as a noun, for sentences to people.
WORDS: Final = {
    Act.OPENED: "the opening",
    Act.RESTORED: "the restoration",
    Act.RELAPSED: "the relapse",
    Act.LINE_CALLED: "the call",
    Act.CALLED_BACK: "the call back",
    Act.CASE_SUBMITTED: "the Support Case",
    Act.ESCALATED: "the escalation",
    Act.UPDATED: "the update",
    Act.AGREED: "the agreement",
    Act.WITHDRAWN: "the withdrawal",
    Act.DISAGREED: "the disagreement",
    Act.RECLASSIFIED: "the reclassification",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """One thing that happened in an issue's life.

    `happening` names it (`named`). `actor` is who recorded it, "sev1probe" for the program. `party` is who agrees,
    withdraws or disagrees. `spoken_to` and `reference` belong to calls and cases; `next_update_us` to calls back and
    updates, 0 if none was promised. `seen_revision` is that of the state which its author had before his eyes: if it is
    another one by then, it is refused; 0 if he does not insist.
    """

    happening: str = ""
    target: str
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
    seen_revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """Where an issue stands: the fold of its happenings. `revision` counts them.

    `opened_us` is dated back to the first unavailable second; `noticed_us` is the second that decided it.
    """

    target: str
    issue: str
    opened_us: int
    noticed_us: int
    revision: int = 1
    restored_us: int = 0  # 0 while the service is not restored
    line_called_us: int = 0  # the first call
    case_submitted_us: int = 0  # the first one
    escalated_us: int = 0  # the first time
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
    def asked_us(self) -> int:
        """Say when the provider was first asked for help, on whichever way; 0 if nobody did yet."""
        asked = [at_us for at_us in (self.line_called_us, self.case_submitted_us, self.escalated_us) if at_us]
        return min(asked, default=0)

    @property
    def over_us(self) -> int:
        """Say since when nothing more is owed by anybody; 0 if something is."""
        return self.reclassified_us or self.resolved_us

    @property
    def is_over(self) -> bool:
        """Say whether nothing more is owed by anybody."""
        return self.stage in {Stage.RESOLVED, Stage.RECLASSIFIED}


def named(happening: Happening) -> Happening:
    """Give a happening the id that follows from its content and its time: the same one is never two."""
    content = {**asdict(happening), "happening": ""}
    digest = hashlib.sha256(json.dumps(content, separators=(",", ":"), sort_keys=True).encode("ascii")).hexdigest()
    return replace(happening, happening=digest[:ID_CHARACTERS])
