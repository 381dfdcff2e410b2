"""The body of the status, as models; docs/status.md says what each field means."""

from pydantic import Field

from probe.core.model import Basis, Synchronisation, Verdict
from probe.web.schemas import Moment, Saying, Second, Turn


class Trouble(Saying):
    """Why something does not work; empty if it does."""

    trouble: str


class LedgerStatus(Trouble):
    """The record: why it can't be written, and the newest batch of the hash chain."""

    head_sequence: int
    head_digest: str


class ClockStatus(Saying):
    """What the kernel says of the host's clock."""

    second: Second
    synchronisation: Synchronisation
    estimated_error_s: float
    maximum_error_s: float
    ahead_s: float


class ConditionStatus(Saying):
    """What is wrong with the prober itself."""

    condition: str
    surface: str
    target: str
    since: Moment
    since_second: Second
    noticed: Moment
    noticed_second: Second
    words: str


class ControlStatus(Saying):
    """A control's last outcome and its record; null where there is none yet."""

    second: Second
    worked: bool | None
    cause: str | None
    success_ratio: float | None = Field(ge=0, le=1)
    trusted: bool | None


class Tally(Saying):
    """Seconds by verdict since the record began."""

    available_seconds: int
    unavailable_seconds: int
    unavailable_literal_seconds: int
    unavailable_corroborated_seconds: int
    inconclusive_seconds: int
    unobserved_seconds: int
    unavailable_run_seconds: int


class FailureCount(Saying):
    """Attempts that failed alike since the start."""

    fault: str
    cause: str
    attempts: int


class Failure(Saying):
    """What a failed attempt saw."""

    second: Second
    time: Moment
    fault: str
    cause: str
    phase: str
    code: int
    enhanced_code: str
    reply: str
    message_id: str
    connection: str


class SurfaceStatus(Saying):
    """One surface of a target."""

    verdict: Verdict
    basis: Basis
    recent: str
    totals: Tally
    suspected_seconds: int
    failures: list[FailureCount]
    last_failure: Failure | None


class PersistenceStatus(Saying):
    """When unavailability is persistent."""

    unavailable_seconds: int
    window_seconds: int
    recovery_seconds: int


class TargetStatus(Saying):
    """One target."""

    target: str
    verdict: Verdict
    last_second: Second
    profile: str
    persistence: PersistenceStatus
    critical_issue: Turn | None
    turns: list[Turn]
    totals: Tally | None
    surfaces: dict[str, SurfaceStatus]


class Status(Saying):
    """What the daemon sees now."""

    v: int
    version: str
    vantage: str
    started: Moment
    settings: Trouble
    ledger: LedgerStatus
    clock: ClockStatus | None
    conditions: list[ConditionStatus]
    network_faults: str
    controls: dict[str, ControlStatus | None]
    targets: list[TargetStatus]
