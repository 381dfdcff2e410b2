"""When unavailability lasts: the opening and the restoration of a Critical Issue.

Theory of operation
-------------------

The rule has the shape of ITU-T G.826. It reads nothing but the target's verdicts, one after another:

- While no issue is open, the issue opens on the unavailable second that makes it `unavailable_seconds` within the last
  `window_seconds`, that second included. It is dated back to the first unavailable second of that window.
- While an issue is open, service is restored on the available second that makes it `recovery_seconds` in a row. It is
  dated back to the first of that run. An unavailable second ends the run.
- Inconclusive and unobserved seconds count neither way: they make no second unavailable and end no run. They do take
  their place in the window, which is one of real seconds: what lies further back is old, whether anyone looked or not.
- After restoration the spent evidence is cleared, so the outage that was told cannot open a second issue.

What follows, and is tested: an issue opens only on an unavailable second and is restored only on an available one; no
second turns an issue twice; at most one issue of a target is open; restoration lies after the second that opened it.

The window is an integer with one bit for each second: bit n is set if the second n before the latest was unavailable.
A second shifts it by one place and a hole of any length shifts it by as many, or empties it, at the same cost. The
oldest set bit is the second that an issue is dated back to.

The terms may change between two seconds, for the operator may reload the configuration. The window is then cut to the
new length; a longer one fills as seconds pass, since what was cut is gone. A threshold that the change alone has
crossed is acted on at the next second of the right kind, so that what holds above holds still.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from probe.core.model import IssueEvent, IssueTurn, Persistence, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistenceState:
    """What the rule remembers of the past.

    `window` holds one bit for each second, the latest lowest. The run is that of available seconds since the last
    unavailable one, kept only while an issue is open; `run_since_second` is its first second, 0 without a run.
    """

    window: int = 0
    open_issue: IssueEvent | None = None
    run_seconds: int = 0
    run_since_second: int = 0

    def __post_init__(self) -> None:
        """Refuse a memory that no history leads to."""
        assert self.window >= 0
        assert self.run_seconds >= 0
        assert self.open_issue is None or self.open_issue.turn == IssueTurn.OPENED
        assert self.open_issue is not None or self.run_seconds == 0
        assert self.run_seconds > 0 or self.run_since_second == 0

    @property
    def unavailable_seconds(self) -> int:
        """Count the unavailable seconds in the window."""
        return self.window.bit_count()


CALM = PersistenceState()


def issue_name(target: str, since_second: int) -> str:
    """Name an issue by its target and the second that it is dated back to, in UTC."""
    return f"{target}-{datetime.fromtimestamp(since_second, UTC):%Y%m%dT%H%M%SZ}"


def after_second(
    state: PersistenceState, rule: Persistence, target: str, second: int, verdict: Verdict
) -> tuple[PersistenceState, tuple[IssueEvent, ...]]:
    """Take in the target's verdict of the next second; return what to remember and what turned."""
    if verdict == Verdict.AVAILABLE and state == CALM:
        return state, ()
    window = _shifted(state.window, rule, 1) | (verdict == Verdict.UNAVAILABLE)
    if state.open_issue is None:
        return _while_calm(window, rule, target, second, verdict)
    return _while_open(state, state.open_issue, window, rule, second, verdict)


def after_unobserved(state: PersistenceState, rule: Persistence, seconds: int) -> PersistenceState:
    """Take in a run of seconds that nobody looked at; nothing can turn in it."""
    assert seconds >= 1
    return PersistenceState(
        window=_shifted(state.window, rule, seconds),
        open_issue=state.open_issue,
        run_seconds=state.run_seconds,
        run_since_second=state.run_since_second,
    )


def _shifted(window: int, rule: Persistence, seconds: int) -> int:
    """Move the window on, its new seconds not unavailable."""
    if seconds >= rule.window_seconds:
        return 0
    return (window << seconds) & ((1 << rule.window_seconds) - 1)


def _while_calm(
    window: int, rule: Persistence, target: str, second: int, verdict: Verdict
) -> tuple[PersistenceState, tuple[IssueEvent, ...]]:
    if verdict != Verdict.UNAVAILABLE or window.bit_count() < rule.unavailable_seconds:
        return PersistenceState(window=window), ()
    since_second = second - (window.bit_length() - 1)
    opened = IssueEvent(
        issue=issue_name(target, since_second),
        target=target,
        turn=IssueTurn.OPENED,
        since_second=since_second,
        noticed_second=second,
    )
    return PersistenceState(window=window, open_issue=opened), (opened,)


def _while_open(
    state: PersistenceState, issue: IssueEvent, window: int, rule: Persistence, second: int, verdict: Verdict
) -> tuple[PersistenceState, tuple[IssueEvent, ...]]:
    if verdict == Verdict.UNAVAILABLE:
        return PersistenceState(window=window, open_issue=issue), ()
    run_seconds, run_since_second = state.run_seconds, state.run_since_second
    if verdict == Verdict.AVAILABLE:
        run_since_second = run_since_second if run_seconds else second
        run_seconds += 1
        if run_seconds >= rule.recovery_seconds:
            return CALM, (_restored(issue, run_since_second, second),)
    return (
        PersistenceState(window=window, open_issue=issue, run_seconds=run_seconds, run_since_second=run_since_second),
        (),
    )


def _restored(issue: IssueEvent, since_second: int, second: int) -> IssueEvent:
    assert since_second > issue.noticed_second
    return IssueEvent(
        issue=issue.issue,
        target=issue.target,
        turn=IssueTurn.RESTORED,
        since_second=since_second,
        noticed_second=second,
    )
