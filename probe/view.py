"""What the daemon shows of itself: the body of `/api/v1/status`, built from told seconds only."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from probe.core.engine import Tally, TargetState
from probe.core.model import (
    Basis,
    ClockState,
    Condition,
    ControlOutcome,
    Fault,
    IssueEvent,
    IssueTurn,
    Outcome,
    Remark,
    Step,
    Surface,
    Terms,
    Verdict,
)
from probe.times import utc

STATUS_VERSION = 1
RECENT_SECONDS_MAX = 120
ISSUES_SHOWN_MAX = 20
CASES_SHOWN_MAX = 20
PPM = 1_000_000
US_PER_S = 1_000_000
# What follows from the number of controls, for people.
NO_CONTROLS = "No control is configured, so network faults stay inconclusive: nothing tells ours from the provider's."
ONE_CONTROL = "One control is configured, so network faults rest on it alone; two on different networks are better."
CONTROLS_DECIDE = "Network faults count as the provider's only where controls of the same second worked."

# One letter a second, oldest first; lower case where the verdict needed a control's word.
LETTERS: Mapping[Verdict, str] = {
    Verdict.AVAILABLE: "A",
    Verdict.UNAVAILABLE: "U",
    Verdict.INCONCLUSIVE: "I",
    Verdict.UNOBSERVED: "-",
}


@dataclass(slots=True)
class SurfaceView:
    """What is shown of one surface."""

    recent: deque[str] = field(default_factory=lambda: deque(maxlen=RECENT_SECONDS_MAX))
    verdict: Verdict = Verdict.UNOBSERVED
    basis: Basis = Basis.NONE
    failures: Counter[tuple[str, str]] = field(default_factory=Counter)
    last_failure: Outcome | None = None
    suspected_seconds: int = 0


@dataclass(slots=True)
class TargetView:
    """What is shown of one target."""

    terms: Terms
    surfaces: dict[Surface, SurfaceView]
    verdict: Verdict = Verdict.UNOBSERVED
    state: TargetState | None = None
    turns: deque[IssueEvent] = field(default_factory=lambda: deque(maxlen=ISSUES_SHOWN_MAX))
    issues: Sequence[Mapping[str, Any]] = ()
    cases: Sequence[Mapping[str, Any]] = ()


@dataclass(slots=True)
class ControlView:
    """What is shown of one control: its last outcome, and its long-term record once there is one."""

    last: ControlOutcome | None = None
    success_ppm: int | None = None
    trusted: bool | None = None


@dataclass(slots=True)
class CourierView:
    """What is shown of one courier; `trouble` only once it has failed for long."""

    kind: str
    waiting: int = 0
    failing_since_second: int = 0
    trouble: str = ""


class View:
    """The daemon's picture of itself."""

    def __init__(self, *, version: str, vantage: str, started_second: int) -> None:
        self._version = version
        self._vantage = vantage
        self._started_second = started_second
        self._targets: dict[str, TargetView] = {}
        self._controls: dict[str, ControlView] = {}
        self._clock: ClockState | None = None
        self._conditions: dict[tuple[str, str], Condition] = {}
        self.couriers: dict[str, CourierView] = {}
        self.chain: tuple[int, str] = (0, "")
        self.ledger_trouble = ""
        self.settings_trouble = ""

    def configure(self, vantage: str, terms: Mapping[str, Terms], controls: Iterable[str]) -> None:
        """Show these targets and controls and no others; what is known of them stays."""
        self._vantage = vantage
        known = self._targets
        self._targets = {}
        for name, agreed in terms.items():
            old = known.get(name) or TargetView(terms=agreed, surfaces={})
            surfaces = {surface: old.surfaces.get(surface, SurfaceView()) for surface in agreed.surfaces}
            self._targets[name] = TargetView(
                terms=agreed,
                surfaces=surfaces,
                verdict=old.verdict,
                state=old.state,
                turns=old.turns,
                issues=old.issues,
                cases=old.cases,
            )
        self._controls = {name: self._controls.get(name) or ControlView() for name in controls}

    def recover(self, state: TargetState) -> None:
        """Take over what the ledger knew of a target."""
        target = self._targets.get(state.target)
        if target is not None:
            target.state = state
            if state.open_issue is not None:
                target.turns.append(state.open_issue)

    def observe(self, step: Step, state: TargetState) -> None:
        """Take in a told second."""
        target = self._targets.get(step.target)
        if target is None:
            return
        target.state, target.verdict = state, step.verdict
        target.turns.extend(step.events)
        for judgement in step.judgements:
            surface = target.surfaces.get(judgement.surface)
            if surface is None:
                continue
            surface.verdict, surface.basis = judgement.verdict, judgement.basis
            letter = LETTERS[judgement.verdict]
            shown = letter.lower() if judgement.basis is Basis.CORROBORATED else letter
            surface.recent.extend(shown * min(step.seconds, RECENT_SECONDS_MAX))
        for suspicion in step.suspicions:
            if suspicion.surface in target.surfaces:
                target.surfaces[suspicion.surface].suspected_seconds += suspicion.seconds
        for outcome in step.outcomes:
            if outcome.fault is not Fault.NONE and outcome.surface in target.surfaces:
                surface = target.surfaces[outcome.surface]
                surface.failures[outcome.fault, outcome.cause] += 1
                surface.last_failure = outcome

    def observe_control(self, outcome: ControlOutcome) -> None:
        """Take in a control's outcome that is in the ledger."""
        if outcome.control in self._controls:
            self._controls[outcome.control].last = outcome

    def show_issues(self, target: str, issues: Sequence[Mapping[str, Any]]) -> None:
        """Show where the issues of a target that are not over stand."""
        if target in self._targets:
            self._targets[target].issues = issues[-ISSUES_SHOWN_MAX:]

    def show_cases(self, target: str, cases: Sequence[Mapping[str, Any]]) -> None:
        """Show where the Support Cases of a target that are not over stand."""
        if target in self._targets:
            self._targets[target].cases = cases[-CASES_SHOWN_MAX:]

    def show_control(self, name: str, success_ppm: int, trusted: bool) -> None:
        """Show a control's long-term record, and whether it lets the control speak for our network."""
        if name in self._controls:
            self._controls[name].success_ppm, self._controls[name].trusted = success_ppm, trusted

    def observe_condition(self, condition: Condition) -> None:
        """Take in a turn of a condition of the prober itself; only what is raised is shown."""
        key = (condition.condition, condition.target)
        if condition.raised:
            self._conditions[key] = condition
        else:
            self._conditions.pop(key, None)

    def observe_remark(self, remark: Remark) -> None:
        """Take in what the ledger keeps beside the seconds; a condition was shown at once when it turned."""
        if isinstance(remark, ClockState):
            self._clock = remark

    def status(self) -> dict[str, Any]:
        """Give the body of `/api/v1/status`; docs/status.md describes each field."""
        return {
            "v": STATUS_VERSION,
            "version": self._version,
            "vantage": self._vantage,
            "started": utc(self._started_second),
            "settings": {"trouble": self.settings_trouble},
            "ledger": {"trouble": self.ledger_trouble, "head_sequence": self.chain[0], "head_digest": self.chain[1]},
            "clock": None if self._clock is None else _clock(self._clock),
            "conditions": [_condition(condition) for condition in self._conditions.values()],
            "couriers": {name: _courier(seen) for name, seen in self.couriers.items()},
            "network_faults": (NO_CONTROLS, ONE_CONTROL, CONTROLS_DECIDE)[min(len(self._controls), 2)],
            "controls": {name: _control(seen) for name, seen in self._controls.items()},
            "targets": [_target(name, target) for name, target in self._targets.items()],
        }


def _target(name: str, target: TargetView) -> dict[str, Any]:
    state, persistence = target.state, target.terms.persistence
    issue = state.open_issue if state is not None else None
    return {
        "target": name,
        "verdict": target.verdict,
        "last_second": state.next_second - 1 if state is not None else 0,
        "profile": target.terms.profile,
        "persistence": {
            "unavailable_seconds": persistence.unavailable_seconds,
            "window_seconds": persistence.window_seconds,
            "recovery_seconds": persistence.recovery_seconds,
        },
        "critical_issue": None if issue is None else _turn(issue),
        "turns": [_turn(event) for event in target.turns],
        "issues": list(target.issues),
        "cases": list(target.cases),
        "totals": _tally(state.whole) if state is not None else None,
        "surfaces": {
            surface: _surface(view, state.tally(surface) if state is not None else Tally())
            for surface, view in target.surfaces.items()
        },
    }


def _turn(event: IssueEvent) -> dict[str, Any]:
    return {
        "issue": event.issue,
        "turn": event.turn,
        "since": utc(event.since_second),
        "since_second": event.since_second,
        "noticed": utc(event.noticed_second),
        "noticed_second": event.noticed_second,
        "state": "open" if event.turn is IssueTurn.OPENED else "service restored",
    }


def _surface(view: SurfaceView, tally: Tally) -> dict[str, Any]:
    return {
        "verdict": view.verdict,
        "basis": view.basis,
        "recent": "".join(view.recent),
        "totals": _tally(tally),
        "suspected_seconds": view.suspected_seconds,
        "failures": [
            {"fault": fault, "cause": cause, "attempts": attempts}
            for (fault, cause), attempts in view.failures.most_common()
        ],
        "last_failure": None if view.last_failure is None else _failure(view.last_failure),
    }


def _tally(tally: Tally) -> dict[str, int]:
    return {
        "available_seconds": tally.available_seconds,
        "unavailable_seconds": tally.unavailable_seconds,
        "unavailable_literal_seconds": tally.literal_seconds,
        "unavailable_corroborated_seconds": tally.corroborated_seconds,
        "inconclusive_seconds": tally.inconclusive_seconds,
        "unobserved_seconds": tally.unobserved_seconds,
        "unavailable_run_seconds": tally.run_seconds,
    }


def _failure(outcome: Outcome) -> dict[str, Any]:
    return {
        "second": outcome.second,
        "time": utc(outcome.second),
        "fault": outcome.fault,
        "cause": outcome.cause,
        "phase": outcome.phase,
        "code": outcome.code,
        "enhanced_code": outcome.enhanced_code,
        "reply": outcome.reply,
        "message_id": outcome.message_id,
        "connection": outcome.connection,
    }


def _control(seen: ControlView) -> dict[str, Any] | None:
    last = seen.last
    if last is None and seen.trusted is None:
        return None
    return {
        "second": 0 if last is None else last.second,
        "worked": None if last is None else last.worked,
        "cause": None if last is None else last.cause,
        "success_ratio": None if seen.success_ppm is None else seen.success_ppm / PPM,
        "trusted": seen.trusted,
    }


def _courier(seen: CourierView) -> dict[str, Any]:
    return {
        "kind": seen.kind,
        "waiting": seen.waiting,
        "failing_since": utc(seen.failing_since_second) if seen.trouble else None,
        "trouble": seen.trouble,
    }


def _clock(state: ClockState) -> dict[str, Any]:
    return {
        "second": state.second,
        "synchronisation": state.synchronisation,
        "estimated_error_s": state.estimated_error_us / US_PER_S,
        "maximum_error_s": state.maximum_error_us / US_PER_S,
        "ahead_s": state.ahead_us / US_PER_S,
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "condition": condition.condition,
        "surface": "self",
        "target": condition.target,
        "since": utc(condition.since_second),
        "since_second": condition.since_second,
        "noticed": utc(condition.noticed_second),
        "noticed_second": condition.noticed_second,
        "words": condition.words,
    }
