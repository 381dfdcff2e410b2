"""The bodies of the API, as models: what the OpenAPI document says of them is made from these."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from probe.core.amendments import AUTHOR_CHARACTERS_MAX, REASON_CHARACTERS_MAX
from probe.core.model import Exclusion, IssueTurn, Surface

SECOND_MAX: Final = 253_402_300_799  # the end of the year 9999, the last that a date can be written of
TARGET_CHARACTERS_MAX: Final = 63
AT_ONCE_MAX: Final = 200
AT_ONCE: Final = 50
PATH_PATTERNS: Final[Mapping[str, str]] = {
    "amendment": "^[0-9a-f]{12}$",
    "case": "^case-[0-9a-f]{8}$",
    "issue": "^[A-Za-z0-9._-]{1,100}$",
}

Second = Annotated[int, Field(ge=0, le=SECOND_MAX, description="Unix time in whole seconds, UTC.")]
Moment = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", description="The same in ISO 8601.")]
Reason = Annotated[
    str,
    Field(min_length=1, max_length=REASON_CHARACTERS_MAX, description="Why: one line that both sides will read."),
]


class Asking(BaseModel):
    """What a client sends: nothing is guessed, nothing is passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Saying(BaseModel):
    """What the daemon sends: within a version of the API fields may be added."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Problem(Saying):
    """What went wrong (RFC 9457)."""

    type: str = Field(description="about:blank: the status says what kind of problem it is.")
    title: str = Field(description="The status in words.")
    status: int = Field(ge=400, le=599)
    detail: str = Field(description="One sentence for people.")


class NoQuery(Asking):
    """Nothing may stand behind the question mark."""


class TargetQuery(Asking):
    """Of which target."""

    model_config = ConfigDict(strict=False)

    target: str | None = Field(
        default=None, min_length=1, max_length=TARGET_CHARACTERS_MAX, description="Only those of this target."
    )


class LivesQuery(TargetQuery):
    """Which issues or cases to list."""

    over: Literal["true", "false"] | None = Field(
        default=None, description="false: only those that are not over; true: only those that are."
    )
    limit: int = Field(default=AT_ONCE, ge=1, le=AT_ONCE_MAX, description="At most so many, the newest.")

    def wants(self, target: str, *, is_over: bool) -> bool:
        """Say whether one of this target belongs into the list."""
        return self.target in (None, target) and self.over in (None, "true" if is_over else "false")


class NewAmendment(Asking):
    """A window that is to be left out of the totals; both ends are included."""

    first_second: Second
    last_second: Second
    exclusion: Annotated[Exclusion, Field(strict=False)]
    reason: Reason
    target: str = Field(default="", max_length=TARGET_CHARACTERS_MAX, description="Empty: all targets.")
    surface: Annotated[Surface, Field(strict=False)] | Literal[""] = Field(
        default="", description="Empty: all surfaces."
    )


class NewWithdrawal(Asking):
    """An amendment is to be taken back; it and its withdrawal both stay in the record."""

    reason: Reason


class Amendment(Saying):
    """A window that is left out of the totals, or the withdrawal of one."""

    amendment: str = Field(pattern=PATH_PATTERNS["amendment"])
    target: str
    surface: str
    first_second: Second
    last_second: Second
    exclusion: Exclusion
    reason: str
    author: str = Field(max_length=AUTHOR_CHARACTERS_MAX)
    added_us: int = Field(description="When it was added: Unix time in microseconds.")
    withdraws: str = Field(description="The amendment that this one takes back; empty for none.")


class StandingAmendment(Amendment):
    """A window that was left out of the totals, and the withdrawal if that was taken back."""

    withdrawn_by: Amendment | None


class Amendments(Saying):
    """The windows that were ever left out, in the order in which they were added."""

    amendments: list[StandingAmendment]


class Turn(Saying):
    """A Critical Issue was opened, or the service restored; `since` is dated back."""

    issue: str
    turn: IssueTurn
    state: Literal["open", "service restored"]
    since: Moment
    since_second: Second
    noticed: Moment
    noticed_second: Second


class OpenApi(Saying):
    """This document: OpenAPI 3.1."""

    openapi: str
    info: dict[str, Any]
    paths: dict[str, JsonValue]
