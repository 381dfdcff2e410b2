"""Which Unavailable seconds did not persist, and the Support Case that the program drafts of them.

Theory of operation
-------------------

The contract calls a software bug without persistent Unavailability a Non-Critical Issue. So what counts here are the
Unavailable seconds of which it is certain that they did not persist:

- a second is certain once it has left the window of the persistence (`persistence`), since no issue can be dated back
  to it any more;
- a second from the beginning of a Critical Issue until its restoration belongs to that issue and never counts here.

What is remembered of a target (`Recollection`) is a fold of its steps and nothing else. It can be made anew from the
record at any time (`recalled`), and then leads to the same proposals: what counts is the number of each second, never
when somebody looked.

What is proposed (`proposal`) follows from the certain seconds and from the cases in the ledger. A case says through
which second of its cause it has counted, and seconds up to that one are never counted again, whatever became of the
case. Where a draft of the same cause is open, later seconds join it. Else they begin one as soon as enough of them lie
within the period. An outage comes into a case as a whole: while further seconds of the target are uncertain nothing
is proposed, unless those that are certain span a minute already.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from probe.core.callsheet import NAMES
from probe.core.case_happenings import Case, CaseAct, CaseHappening, CaseKind, Cases, named_case
from probe.core.cases import EVIDENCE_S_MAX, open_draft, takes_more
from probe.core.causes import MEANING, OF_CONTROLS
from probe.core.happenings import PROGRAM
from probe.core.model import Cause, Fault, IssueEvent, IssueTurn, Step, Surface, Verdict
from probe.core.moments import utc

SECOND_US: Final = 1_000_000
# From one joining to the next, so that a flapping service does not flood the ledger.
JOIN_EVERY_US: Final = 60 * SECOND_US
HELD_S: Final = 60  # at most, while more seconds are uncertain: one outage comes into the case at once and as a whole
# Seconds are remembered for longer than the period: until they have joined, and until a slow ledger has answered.
REMEMBERED_S: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRule:
    """When a case is drafted: at `unavailable_seconds` of one cause within `period_s`."""

    unavailable_seconds: int = 3
    period_s: int = 3_600

    @property
    def remembered_s(self) -> int:
        """Say how long a second is remembered."""
        return self.period_s + REMEMBERED_S


@dataclass(frozen=True, slots=True, kw_only=True)
class UnavailableSecond:
    """An Unavailable second, the surfaces that were, and what most of their attempts failed by."""

    second: int
    cause: Cause
    surfaces: tuple[Surface, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What matters here of a step."""

    target: str
    last_second: int
    unavailable: UnavailableSecond | None
    turns: tuple[IssueEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
    """What is remembered of a target's Unavailable seconds, through one second, in their order."""

    through_second: int = 0
    in_issue: bool = False
    uncertain: tuple[UnavailableSecond, ...] = ()  # still in the window of the persistence
    certain: tuple[UnavailableSecond, ...] = ()


def seen_of(step: Step) -> Seen:
    """Take of a step what matters here."""
    last_second = step.second + step.seconds - 1
    return Seen(target=step.target, last_second=last_second, unavailable=unavailable_of(step), turns=step.events)


def unavailable_of(step: Step) -> UnavailableSecond | None:
    """Say what an Unavailable second failed by; None of any other, and where its attempts are not kept any more."""
    if step.verdict is not Verdict.UNAVAILABLE:
        return None
    down = tuple(judged.surface for judged in step.judgements if judged.verdict is Verdict.UNAVAILABLE)
    causes = [o.cause for o in step.outcomes if o.surface in down and o.fault is not Fault.NONE]
    if not causes:
        return None
    # Of causes that are equally common the first by name, so that the order of attempts never matters.
    cause = min(set(causes), key=lambda one: (-causes.count(one), one))
    return UnavailableSecond(second=step.second, cause=cause, surfaces=down)


def after(known: Recollection, seen: Seen, window_s: int, remembered_s: int) -> Recollection:
    """Take in the next step of a target; one that is known already changes nothing."""
    if seen.last_second <= known.through_second:
        return known
    uncertain, in_issue = known.uncertain, known.in_issue
    if seen.unavailable is not None and not in_issue:
        uncertain = (*uncertain, seen.unavailable)
    for turn in seen.turns:
        in_issue = turn.turn is IssueTurn.OPENED
        if in_issue:
            uncertain = tuple(one for one in uncertain if one.second < turn.since_second)
    return _settled(seen.last_second, in_issue, uncertain, known.certain, window_s, remembered_s)


def recalled(
    through_second: int,
    unavailable: Iterable[UnavailableSecond],
    turns: Sequence[IssueEvent],
    window_s: int,
    remembered_s: int,
) -> Recollection:
    """Make the same from the record of a target: its Unavailable seconds in order, and all turns of its issues."""
    spans = issue_spans(turns)
    loose = tuple(one for one in unavailable if not is_within(one.second, spans))
    in_issue = bool(turns) and turns[-1].turn is IssueTurn.OPENED
    return _settled(through_second, in_issue, loose, (), window_s, remembered_s)


def issue_spans(turns: Iterable[IssueEvent]) -> tuple[tuple[int, int | None], ...]:
    """List the seconds from the beginning of each issue until its restoration was noticed; None while it is open."""
    spans: list[tuple[int, int | None]] = []
    for turn in turns:
        if turn.turn is IssueTurn.OPENED:
            spans.append((turn.since_second, None))
        elif spans:
            spans[-1] = (spans[-1][0], turn.noticed_second)
    return tuple(spans)


def is_within(second: int, spans: Iterable[tuple[int, int | None]]) -> bool:
    """Say whether a second belongs to an issue."""
    return any(first <= second and (last is None or second <= last) for first, last in spans)


def _settled(
    through_second: int,
    in_issue: bool,
    uncertain: tuple[UnavailableSecond, ...],
    certain: tuple[UnavailableSecond, ...],
    window_s: int,
    remembered_s: int,
) -> Recollection:
    left = sum(one.second <= through_second - window_s for one in uncertain)
    if left:
        # What is forgotten goes by the newest certain second, not by the clock: while a daemon is down nothing is lost.
        since = uncertain[left - 1].second - remembered_s
        certain = tuple(one for one in (*certain, *uncertain[:left]) if one.second > since)
    return Recollection(through_second=through_second, in_issue=in_issue, uncertain=uncertain[left:], certain=certain)


def is_pending(target: str, cases: Cases, certain: Sequence[UnavailableSecond], rule: DraftRule) -> bool:
    """Say whether there is something to propose now or within a minute."""
    for cause in {one.cause for one in certain}:
        fresh, draft = _fresh(cases, certain, cause), open_draft(cases.values(), target, cause)
        if fresh and (takes_more(draft) if draft is not None else _gathered(fresh, rule)):
            return True
    return False


def proposal(target: str, cases: Cases, known: Recollection, rule: DraftRule, now_us: int) -> CaseHappening | None:
    """Say what the program adds next to a target's cases, by the cases as they are; None if nothing."""
    for cause in sorted({one.cause for one in known.certain}):
        fresh, draft = _fresh(cases, known.certain, cause), open_draft(cases.values(), target, cause)
        if known.uncertain and fresh and fresh[-1].second - fresh[0].second < HELD_S:
            continue
        if draft is None:
            if gathered := _gathered(fresh, rule):
                return _drafted(target, cause, gathered, now_us)
        elif fresh and takes_more(draft) and now_us >= _joins_from_us(draft):
            total = draft.seconds + len(fresh)
            return named_case(
                CaseHappening(
                    case=draft.case,
                    target=target,
                    act=CaseAct.JOINED,
                    at_us=now_us,
                    recorded_us=now_us,
                    actor=PROGRAM,
                    words=f"{_seconds(len(fresh))} more, the last at {utc(fresh[-1].second)}: {total:,} in all.",
                    last_second=fresh[-1].second,
                    cause=str(cause),
                    seconds=len(fresh),
                )
            )
    return None


def _joins_from_us(draft: Case) -> int:
    joined = [one.at_us for one in draft.happenings if one.act is CaseAct.JOINED]
    return joined[-1] + JOIN_EVERY_US if joined else 0


def _fresh(cases: Cases, certain: Iterable[UnavailableSecond], cause: Cause) -> list[UnavailableSecond]:
    """List the seconds of a cause that no case has counted."""
    counted = max((case.through_second for case in cases.values() if case.cause == cause), default=0)
    return [one for one in certain if one.cause == cause and one.second > counted]


def _gathered(fresh: Sequence[UnavailableSecond], rule: DraftRule) -> Sequence[UnavailableSecond]:
    """Give the seconds from the first ones on that are enough within a period; none if they never are."""
    needed = rule.unavailable_seconds
    for place in range(len(fresh) - needed + 1):
        if fresh[place + needed - 1].second - fresh[place].second < rule.period_s:
            return fresh[place:]
    return ()


def _drafted(target: str, cause: Cause, counted: Sequence[UnavailableSecond], now_us: int) -> CaseHappening:
    first, last = counted[0].second, counted[-1].second
    shown = next(one.second for one in counted if one.second > last - EVIDENCE_S_MAX)
    by_surface = [(surface, sum(surface in one.surfaces for one in counted)) for surface in Surface]
    failed = [(NAMES[surface], count) for surface, count in by_surface if count]
    which = " and ".join(name for name, _ in failed)
    count = len(counted)
    words = [
        f"{_seconds(count)} from {utc(first)} to {utc(last)}, by the same cause: {cause}.",
        _meaning(cause),
        *[f"All {name} failed in {number:,} of them." for name, number in failed],
        "It did not persist: no Critical Issue has these seconds.",
    ]
    return named_case(
        CaseHappening(
            target=target,
            act=CaseAct.DRAFTED,
            at_us=now_us,
            recorded_us=now_us,
            actor=PROGRAM,
            words=" ".join(words),
            kind=CaseKind.SOFTWARE_BUG,
            title=f"{which} fail for single seconds: {cause}",
            first_second=shown,
            last_second=last,
            cause=str(cause),
            seconds=count,
        )
    )


def _meaning(cause: Cause) -> str:
    """Say what a cause means, without what it means of a control: the provider reads this."""
    return f"{MEANING[cause].partition(OF_CONTROLS)[0].removesuffix('.')}."


def _seconds(count: int) -> str:
    return f"{count:,} Unavailable second{'' if count == 1 else 's'}"
