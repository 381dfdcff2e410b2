"""The children that one target's steps are counted in, made at zero when its settings are loaded.

Causes and phases that are not likely are made when they first happen. Children are kept, never looked up by labels,
since a step is counted hundreds of times a second.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry

from probe.core.case_happenings import CaseStage
from probe.core.case_obligations import CaseDuty
from probe.core.endings import fault_of
from probe.core.engine import TargetState
from probe.core.model import Basis, Cause, Fault, IssueTurn, Judgement, Outcome, Phase, Step, Surface, Verdict
from probe.core.obligations import Duty, ObligationState
from probe.metrics import catalogue
from probe.metrics.families import Description, Family, Histogram, Kind, Scalar

# What a surface's attempts may run into on any day, and is therefore there at zero from the start.
LIKELY_CAUSES = {
    Surface.API: (
        Cause.ACCEPTED,
        Cause.SILENT,
        Cause.BODY_STALLED,
        Cause.GATEWAY_TIMEOUT,
        Cause.HTTP_ERROR,
        Cause.CLOSED,
        Cause.CREDENTIALS,
        Cause.THROTTLED,
        Cause.REFUSED,
        Cause.RESET,
        Cause.CONNECT_TIMEOUT,
        Cause.NAME_NOT_FOUND,
        Cause.CAPPED,
        Cause.INTERNAL,
    ),
    Surface.SMTP: (
        Cause.ACCEPTED,
        Cause.SILENT,
        Cause.SERVICE_CLOSING,
        Cause.REPLY_TRANSIENT,
        Cause.REPLY_PERMANENT,
        Cause.CLOSED,
        Cause.CREDENTIALS,
        Cause.THROTTLED,
        Cause.REFUSED,
        Cause.RESET,
        Cause.CONNECT_TIMEOUT,
        Cause.NAME_NOT_FOUND,
        Cause.CAPPED,
        Cause.INTERNAL,
    ),
}
# Implicit TLS on SMTP is rare, so that phase comes when it is first entered.
LIKELY_PHASES = {
    Surface.API: (Phase.LOOKUP, Phase.CONNECT, Phase.TLS, Phase.REQUEST, Phase.FIRST_BYTE, Phase.BODY),
    Surface.SMTP: (
        Phase.LOOKUP,
        Phase.CONNECT,
        Phase.BANNER,
        Phase.EHLO,
        Phase.STARTTLS,
        Phase.AUTH,
        Phase.MAIL,
        Phase.RCPT,
        Phase.DATA,
        Phase.FINAL,
    ),
}
# As lapses name them (core/lapses.py).
MISSABLE = (*map(str, Duty), *(f"case_{duty}" for duty in CaseDuty))
# Of a case that is not over.
CASE_STAGES = (CaseStage.DRAFT, CaseStage.OPEN, CaseStage.SUBMITTED, CaseStage.ANSWERED)
OBLIGATION_STATES = (ObligationState.PENDING, ObligationState.MISSED)
UNAVAILABLE_BASES = (Basis.LITERAL, Basis.CORROBORATED)


class Families:
    """One family for each line of the catalogue, registered in its order."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._scalars: dict[str, Family[Scalar]] = {}
        self._histograms: dict[str, Family[Histogram]] = {}
        for described in catalogue.CATALOGUE:
            if described.kind is Kind.HISTOGRAM:
                registry.register(self._histograms.setdefault(described.name, Family(described, Histogram)))
            else:
                registry.register(self._scalars.setdefault(described.name, Family(described, Scalar)))

    def scalar(self, described: Description) -> Family[Scalar]:
        """Give the family of a counter or gauge."""
        return self._scalars[described.name]

    def histogram(self, described: Description) -> Family[Histogram]:
        """Give the family of a histogram."""
        return self._histograms[described.name]

    def forget_unless(self, kept: Callable[[dict[str, str]], bool]) -> None:
        """Remove every child, of any family, whose labels are not to be kept."""
        for scalars in self._scalars.values():
            scalars.forget_unless(kept)
        for histograms in self._histograms.values():
            histograms.forget_unless(kept)


class SurfaceBook:
    """The kept children of one surface of one target."""

    __slots__ = (
        "_attempts",
        "_key",
        "_phases",
        "bases",
        "capped",
        "causes",
        "duration",
        "in_flight",
        "phases",
        "run",
        "suspected",
        "verdicts",
    )

    def __init__(self, families: Families, target: str, surface: Surface) -> None:
        key = self._key = (target, surface)
        scalar = families.scalar
        self.verdicts = {verdict: scalar(catalogue.SECONDS).cell(*key, verdict) for verdict in Verdict}
        self.bases = {basis: scalar(catalogue.UNAVAILABLE_SECONDS).cell(*key, basis) for basis in UNAVAILABLE_BASES}
        self.capped = scalar(catalogue.ATTEMPTS_CAPPED).cell(*key)
        self.in_flight = scalar(catalogue.ATTEMPTS_IN_FLIGHT).cell(*key)
        self.run = scalar(catalogue.UNAVAILABLE_RUN).cell(*key)
        self.suspected = scalar(catalogue.SUSPECTED_SECONDS).cell(*key)
        self.duration = families.histogram(catalogue.ATTEMPT_DURATION).cell(*key)
        self._attempts = scalar(catalogue.ATTEMPTS)
        self._phases = families.histogram(catalogue.PHASE_DURATION)
        self.causes: dict[tuple[Fault, Cause], Scalar] = {}
        self.phases: dict[Phase, Histogram] = {}
        for cause in LIKELY_CAUSES[surface]:
            self.cause(fault_of(cause), cause)
        for phase in LIKELY_PHASES[surface]:
            self.phase(phase)

    def cause(self, fault: Fault, cause: Cause) -> Scalar:
        """Make the counter of a cause."""
        cell = self.causes[fault, cause] = self._attempts.cell(*self._key, fault, cause)
        return cell

    def phase(self, phase: Phase) -> Histogram:
        """Make the histogram of a phase."""
        cell = self.phases[phase] = self._phases.cell(*self._key, phase)
        return cell

    def observe_judgement(self, judgement: Judgement, seconds: int) -> None:
        """Count the seconds of a verdict."""
        self.verdicts[judgement.verdict].value += seconds
        if judgement.verdict is Verdict.UNAVAILABLE:
            self.bases[judgement.basis].value += seconds

    def observe_outcome(self, outcome: Outcome) -> None:
        """Count an attempt; one that was not made has no duration."""
        cell = self.causes.get((outcome.fault, outcome.cause)) or self.cause(outcome.fault, outcome.cause)
        cell.value += 1
        if outcome.cause is Cause.CAPPED:
            self.capped.value += 1
            return
        self.duration.observe_us(outcome.duration_us)
        phases = self.phases
        for phase, duration_us in outcome.phases:
            (phases.get(phase) or self.phase(phase)).observe_us(duration_us)


class TargetBook:
    """The kept children of one target."""

    __slots__ = (
        "bases",
        "blind",
        "blind_conditions",
        "case_obligations",
        "cases",
        "issue_open",
        "issue_opened",
        "last_judged",
        "missed",
        "obligations",
        "surfaces",
        "turns",
        "verdicts",
    )

    def __init__(self, families: Families, target: str, surfaces: Iterable[Surface]) -> None:
        scalar = families.scalar
        self.verdicts = {verdict: scalar(catalogue.TARGET_SECONDS).cell(target, verdict) for verdict in Verdict}
        unavailable = scalar(catalogue.TARGET_UNAVAILABLE_SECONDS)
        self.bases = {basis: unavailable.cell(target, basis) for basis in UNAVAILABLE_BASES}
        self.turns = {turn: scalar(catalogue.ISSUE_TURNS).cell(target, turn) for turn in IssueTurn}
        self.issue_open = scalar(catalogue.ISSUE_OPEN).cell(target)
        self.issue_opened = scalar(catalogue.ISSUE_OPENED).cell(target)
        self.obligations = {
            (duty, state): scalar(catalogue.OBLIGATIONS).cell(target, duty, state)
            for duty in Duty
            for state in OBLIGATION_STATES
        }
        self.missed = {name: scalar(catalogue.OBLIGATIONS_MISSED).cell(target, name) for name in MISSABLE}
        self.cases = {stage: scalar(catalogue.CASES).cell(target, stage) for stage in CASE_STAGES}
        self.case_obligations = {
            (duty, state): scalar(catalogue.CASE_OBLIGATIONS).cell(target, duty, state)
            for duty in CaseDuty
            for state in OBLIGATION_STATES
        }
        self.last_judged = scalar(catalogue.LAST_JUDGED).cell(target)
        self.blind = scalar(catalogue.BLIND).cell(target)
        self.blind_conditions = scalar(catalogue.BLIND_CONDITIONS).cell(target)
        self.surfaces = {surface: SurfaceBook(families, target, surface) for surface in surfaces}

    def observe(self, step: Step) -> None:
        """Count all that a step says."""
        seconds, surfaces = step.seconds, self.surfaces
        self.verdicts[step.verdict].value += seconds
        if step.verdict is Verdict.UNAVAILABLE:
            self.bases[step.basis].value += seconds
        for judgement in step.judgements:
            if judgement.surface in surfaces:
                surfaces[judgement.surface].observe_judgement(judgement, seconds)
        for outcome in step.outcomes:
            if outcome.surface in surfaces:
                surfaces[outcome.surface].observe_outcome(outcome)
        for suspicion in step.suspicions:
            if suspicion.surface in surfaces:
                surfaces[suspicion.surface].suspected.value += suspicion.seconds
        for event in step.events:
            self.turns[event.turn].value += 1
        self.last_judged.value = step.second + seconds - 1

    def show(self, state: TargetState) -> None:
        """Show what the state is now; it is never added up here a second time."""
        for surface, tally in state.tallies:
            book = self.surfaces.get(surface)
            if book is not None:
                book.run.value = tally.run_seconds
        issue = state.open_issue
        self.issue_open.value = issue is not None
        self.issue_opened.value = issue.since_second if issue is not None else 0
