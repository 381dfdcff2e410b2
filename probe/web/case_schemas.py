"""The bodies of Support Cases, of what happens in them, and of Business Hours, as models."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from probe.core.calendar import ServiceZone
from probe.core.case_happenings import CaseAct, CaseKind, CaseStage, Way
from probe.core.happenings import Party
from probe.core.procedure import NAME_CHARACTERS_MAX, WORDS_CHARACTERS_MAX
from probe.web.issue_schemas import Name, ObligationBody, TamCard, Told
from probe.web.schemas import PATH_PATTERNS, TARGET_CHARACTERS_MAX, Asking, Moment, Saying, Second

# What is told of a case that is there already.
TOLD_ACTS: Final = (
    CaseAct.OPENED,
    CaseAct.SUBMITTED,
    CaseAct.REPLIED,
    CaseAct.UPDATED,
    CaseAct.ESCALATED,
    CaseAct.AGREED,
    CaseAct.TAKEN_BACK,
    CaseAct.WITHDRAWN,
)


def _is_told(act: CaseAct) -> CaseAct:
    if act not in TOLD_ACTS:
        raise ValueError(f"nobody can tell that of a case; it is one of {', '.join(TOLD_ACTS)}")
    return act


class NewCase(Asking):
    """A case to begin; the token's name is recorded as who says so."""

    target: str = Field(min_length=1, max_length=TARGET_CHARACTERS_MAX)
    kind: Annotated[CaseKind, Field(strict=False)]
    title: str = Field(min_length=1, max_length=NAME_CHARACTERS_MAX, description="What it is about, in a line.")
    words: str = Field(default="", max_length=WORDS_CHARACTERS_MAX, description="What is wrong or wanted.")
    first_second: Second = Field(default=0, description="The evidence's first second, Unix time; 0: there is none.")
    last_second: Second = Field(default=0, description="Its last one, at most an hour later; 0: there is none.")
    at: Told = Field(default="", description="When it was opened; empty: now.")
    draft: bool = Field(default=False, description="Only draft it; somebody else opens it.")


class NewCaseHappening(Asking):
    """Something that happened in a case's life; a submission is one through the dashboard, with its number."""

    act: Annotated[
        CaseAct,
        Field(strict=False, json_schema_extra={"enum": [str(act) for act in TOLD_ACTS]}),
        AfterValidator(_is_told),
    ]
    at: Told = Field(default="", description="When it happened; empty: now.")
    words: str = Field(default="", max_length=WORDS_CHARACTERS_MAX)
    party: Annotated[Party, Field(strict=False)] | Literal[""] = Field(
        default="", description="Who replies, agrees or takes back."
    )
    spoken_to: Name = ""
    reference: Name = Field(default="", description="The dashboard's number, or the provider's reference.")
    next_update: Told = Field(default="", description="When the next update was promised; empty: not at all.")


class CaseHappeningBody(Saying):
    """Something that happened in a case's life."""

    happening: str
    act: CaseAct
    at: Moment | None
    recorded: Moment | None
    actor: str
    words: str
    way: Way | None
    reference: str
    party: Party | None
    spoken_to: str
    next_update: Moment | None


class Case(Saying):
    """A Support Case: where it stands, what happened, what is owed, and whom to escalate it to."""

    case: str = Field(pattern=PATH_PATTERNS["case"])
    target: str
    kind: CaseKind
    title: str
    words: str
    stage: CaseStage
    revision: int
    first_second: Second | None
    last_second: Second | None
    cause: str | None = Field(description="Of a draft of the program: what it collects.")
    unavailable_seconds: int | None
    through_second: Second | None
    opened: Moment | None
    submitted: Moment | None
    answered: Moment | None
    escalated: Moment | None
    agreed: dict[str, Any]
    resolved: Moment | None
    withdrawn: Moment | None
    references: list[str]
    obligations: list[ObligationBody]
    tam: TamCard | None
    happenings: list[CaseHappeningBody]


class Cases(Saying):
    """Support Cases, those that began last first."""

    cases: list[Case]


class TargetHours(Saying):
    """Business Hours of a target's Service Time Zone, as of now."""

    target: str
    service_time_zone: ServiceZone
    time_zone: str
    hours: str = Field(description="Monday to Friday, in this time zone.")
    at: Moment
    open: bool
    why_closed: str
    exception: str | None
    next_opening: Moment
    next_closing: Moment
    tam: TamCard | None


class Hours(Saying):
    """Business Hours, target by target."""

    hours: list[TargetHours]
