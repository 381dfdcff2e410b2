"""When a target's prober is blind: the condition of the surface `self`.

Theory of operation
-------------------

A `Sight` is what is known of one target: when a second of it was last judged (any verdict but unobserved), and the
condition, if one is raised. Two things move it on:

- `look`, as often as somebody cares to: raises the condition once nothing was judged for longer than agreed;
- `judge`, when a second was judged: ends the condition. It looks first, so a stretch that was too long is raised even
  if nobody looked while it lasted (the process was stopped), and how often somebody looks changes no turn.

How long is measured on the monotonic clock, so no step of the wall clock makes a prober blind; the seconds that the
turns are named by are those of the record. Watching begins as if a second had just been judged: what was missed while
the daemon was down is in the record as unobserved already, and is no news.
"""

from dataclasses import dataclass, replace

from probe.core.model import Condition, Step, Verdict

BLIND = "blind"
SECOND_US = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """An instant, as the monotonic clock has it and by the second that it lies in."""

    monotonic_us: int
    second: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What is known of one target: `judged` is when a second was last judged, or when watching began."""

    target: str
    judged: Moment
    condition: Condition | None = None

    def silent_us(self, now: Moment) -> int:
        """Say for how long nothing has been judged."""
        return max(0, now.monotonic_us - self.judged.monotonic_us)


def begin(target: str, now: Moment) -> Sight:
    """Begin to watch a target."""
    return Sight(target=target, judged=now)


def take_up(target: str, raised: Condition, now: Moment) -> Sight:
    """Begin to watch a target whose condition an earlier run of the daemon left raised: the next judgement ends it."""
    return Sight(target=target, judged=now, condition=raised)


def is_judged(step: Step) -> bool:
    """Say whether a step is a judgement: an unobserved second is none."""
    return step.verdict is not Verdict.UNOBSERVED


def look(sight: Sight, now: Moment, blind_after_us: int, why: str) -> tuple[Sight, Condition | None]:
    """Raise the condition if nothing was judged for longer than agreed; `why` is the cause as far as it is known."""
    silent_us = sight.silent_us(now)
    if sight.condition is not None or silent_us <= blind_after_us:
        return sight, None
    raised = Condition(
        condition=BLIND,
        target=sight.target,
        since_second=sight.judged.second,
        noticed_second=now.second,
        raised=True,
        words=f"no second was judged for {silent_us // SECOND_US} s: {why}",
    )
    return replace(sight, condition=raised), raised


def judge(sight: Sight, now: Moment, blind_after_us: int, why: str) -> tuple[Sight, tuple[Condition, ...]]:
    """Take in that a second was judged; give the turns, which are both if the condition was raised by nobody yet."""
    sight, raised = look(sight, now, blind_after_us, why)
    following = Sight(target=sight.target, judged=now)
    if sight.condition is None:
        return following, ()
    after_s = now.second - sight.condition.since_second
    over = _over(sight.condition, now, f"a second was judged again, after {after_s} s")
    return following, (over,) if raised is None else (raised, over)


def leave(sight: Sight, now: Moment) -> Condition | None:
    """Watch a target no more; give the turn if its condition was raised."""
    return None if sight.condition is None else _over(sight.condition, now, "the target is not watched any more")


def _over(raised: Condition, now: Moment, words: str) -> Condition:
    return replace(raised, noticed_second=now.second, raised=False, words=words)
