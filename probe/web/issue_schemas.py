"""The bodies of issues and of what happens in their lives, as models."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field

from probe.core.happenings import PROGRAM_ACTS, Act, Party, Stage
from probe.core.procedure import NAME_CHARACTERS_MAX, WORDS_CHARACTERS_MAX
from probe.web.schemas import Asking, Moment, Saying

MOMENT_PATTERN: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
MOMENT_US_MAX: Final = 253_402_300_799_999_999  # the end of the year 9999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
PEOPLES_ACTS: Final = tuple(act for act in Act if act not in PROGRAM_ACTS)


def moment_us(text: str) -> int:
    """Read a moment that was sent; 0 for none.

    Raises:
        ValueError: If there is no such moment, or none that a date in UTC can be written of.
    """
    if not text:
        return 0
    found = (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)
    if not 0 < found <= MOMENT_US_MAX:
        raise ValueError("it must lie between 1970 and 9999")
    return found


def _is_a_moment(text: str) -> str:
    moment_us(text)
    return text


Told = Annotated[
    str,
    Field(pattern=rf"{MOMENT_PATTERN}|^$", description="ISO 8601 with a zone, such as 2026-11-22T20:30:00Z."),
    AfterValidator(_is_a_moment),
]
Name = Annotated[str, Field(max_length=NAME_CHARACTERS_MAX)]


class NewHappening(Asking):
    """Something that happened in an issue's life; the token's name is recorded as who says so."""

    act: Annotated[Act, Field(strict=False, json_schema_extra={"enum": [str(act) for act in PEOPLES_ACTS]})]
    at: Told = Field(default="", description="When it happened; empty: now.")
    words: str = Field(default="", max_length=WORDS_CHARACTERS_MAX)
    party: Annotated[Party, Field(strict=False)] | Literal[""] = Field(default="", description="Who agrees.")
    spoken_to: Name = ""
    reference: Name = ""
    next_update: Told = Field(default="", description="When the next update was promised; empty: not at all.")


class TamCard(Saying):
    """The Technical Account Manager, and whether he is at work: by Business Hours."""

    name: str
    phone: str
    email: str
    open: bool
    why_closed: str
    next_opening: Moment
    next_closing: Moment


class HappeningBody(Saying):
    """Something that happened in an issue's life."""

    happening: str
    act: Act
    at: Moment | None
    recorded: Moment | None
    actor: str
    words: str
    party: Party | None
    spoken_to: str
    reference: str
    next_update: Moment | None


class ObligationBody(Saying):
    """What one side owes by a time."""

    obligation: str
    owed_by: Party
    due: Moment
    state: Literal["pending", "met", "missed"]
    met: Moment | None


class Issue(Saying):
    """A Critical Issue: where it stands, what happened, and what is owed."""

    issue: str
    names: list[str]
    target: str
    stage: Stage
    revision: int
    opened: Moment
    noticed: Moment
    restored: Moment | None
    resolved: Moment | None
    reclassified: Moment | None
    relapses: int
    agreed: dict[str, Any]
    obligations: list[ObligationBody]
    tam: TamCard | None
    happenings: list[HappeningBody]


class SampleBody(Saying):
    """One failed attempt, verbatim."""

    title: str
    reply: str
    message_id: str


class CallSheet(Saying):
    """Whom to call and what to say; every text is one line."""

    title: str
    issue: str
    stage: Stage
    call: str
    do: list[str]
    say: list[tuple[str, str]]
    description: list[str]
    samples: list[SampleBody]
    ruled_out: list[str]
    status_page: list[str]
    owed: list[str]
    made: str


class Issues(Saying):
    """Critical Issues, those that began last first."""

    issues: list[Issue]
