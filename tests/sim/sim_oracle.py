"""A second reading of the contract, slow and plain: what every second of a script must have been judged."""

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from probe.core.model import IssueEvent, Persistence, Step, Surface

if TYPE_CHECKING:
    from tests.sim.sim_world import Manner, World
else:
    from sim_world import Manner, World

SECOND_US = 1_000_000

# The contract's words, spelled out once more on purpose.
THEIRS = {"silent", "http_error", "service_closing"}
BETWEEN = {"refused", "unreachable"}
# Laid at the server's door without a word of its own: not while every control of the same second failed.
WORDLESS = {"silent"}


class Turn(NamedTuple):
    """A turn of an issue."""

    turn: str
    since_second: int
    noticed_second: int


class Judged(NamedTuple):
    """What is told of one second: verdict and basis of the target, each surface's, each attempt's cause, the turns."""

    second: int
    verdict: str
    basis: str
    surfaces: tuple[tuple[str, str], ...]
    causes: tuple[str, ...]
    turns: tuple[Turn, ...]


def judged(step: Step) -> Judged:
    """Put a Step into the oracle's words."""
    return Judged(
        step.second,
        step.verdict,
        step.basis,
        tuple((judgement.verdict, judgement.basis) for judgement in step.judgements),
        tuple(outcome.cause for outcome in step.outcomes),
        tuple(turn_of(event) for event in step.events),
    )


def turn_of(event: IssueEvent) -> Turn:
    """Put a turn into the oracle's words."""
    return Turn(event.turn, event.since_second, event.noticed_second)


def causes(world: World, target: str, surface: Surface, second: int, attempts: int, timeout_us: int) -> list[str]:
    """Say what each attempt of a second must have been recorded as."""
    recorded = []
    for ordinal in range(attempts):
        sight = world.attempt(target, surface, second, ordinal)
        if sight.manner is Manner.OVERSTAYS:
            recorded.append("internal")
        elif sight.takes_us >= timeout_us and sight.manner is Manner.ANSWERS:
            recorded.append("silent")
        elif sight.manner is Manner.BREAKS:
            recorded.append("internal")
        else:
            recorded.append(str(sight.cause))
    return recorded


def verdict(seen: Sequence[str], control_worked: bool, controls_failed: bool = False) -> tuple[str, str]:
    """Judge one surface for one second, from the causes of its attempts."""
    made = [cause for cause in seen if cause != "capped"]
    if not seen:
        return "unobserved", "none"
    if "accepted" in made:
        return "available", "none"
    if controls_failed and any(cause in WORDLESS for cause in made):
        return "inconclusive", "none"
    if made and all(cause in THEIRS for cause in made):
        return "unavailable", "literal"
    if made and control_worked and all(cause in THEIRS | BETWEEN for cause in made):
        return "unavailable", "corroborated"
    return "inconclusive", "none"


def target_verdict(surfaces: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Judge the target from its surfaces."""
    bases = [basis for said, basis in surfaces if said == "unavailable"]
    if bases:
        return "unavailable", "literal" if "literal" in bases else "corroborated"
    said = {said for said, _ in surfaces}
    return (said.pop() if len(said) == 1 else "inconclusive"), "none"


def turns(verdicts: Iterable[tuple[int, str]], rule: Persistence) -> dict[int, Turn]:
    """Read the history of a target's verdicts, second by second, and say which second turned an issue.

    Seconds that are left out count as unobserved.
    """
    said: dict[int, Turn] = {}
    unavailable: list[int] = []
    run: list[int] = []
    opened = False
    for second, verdict_said in verdicts:
        if verdict_said == "unavailable":
            unavailable = [old for old in unavailable if old > second - rule.window_seconds] + [second]
            run = []
            if not opened and len(unavailable) >= rule.unavailable_seconds:
                opened = True
                said[second] = Turn("opened", unavailable[0], second)
        elif verdict_said == "available" and opened:
            run.append(second)
            if len(run) == rule.recovery_seconds:
                said[second] = Turn("restored", run[0], second)
                opened, unavailable, run = False, [], []
    return said


def turns_of(steps: Sequence[Step], rule: Persistence) -> list[Turn]:
    """Say which turns follow from the verdicts of these steps."""
    return list(turns([(step.second, str(step.verdict)) for step in steps], rule).values())


class Trust:
    """Whose word counts, second by second: of 900 attempts a control may have failed by itself in 45."""

    def __init__(self, world: World, controls: Sequence[str]) -> None:
        self._world = world
        self._memory = {control: deque[bool](maxlen=900) for control in controls}
        self._believed = set(controls)

    def worked(self, second: int) -> bool:
        """Say whether a control that is believed worked in this second, which must be the next one."""
        heard = self._heard(second)
        self._believed = {control for control, worked in self._memory.items() if worked.count(False) <= 45}
        for control, works in heard.items():
            if any(heard.values()) or len(heard) == 1:
                self._memory[control].append(works)
        return any(works and control in self._believed for control, works in heard.items())

    def failed(self, second: int) -> bool:
        """Say whether none of the controls heard in this second worked, though one of them is believed."""
        heard = self._heard(second)
        return bool(self._believed & heard.keys()) and not any(heard.values())

    def _heard(self, second: int) -> dict[str, bool]:
        """Say which controls were heard in a second, and whether each worked; one that breaks is not heard."""
        sights = {control: self._world.control(control, second) for control in self._memory}
        return {
            control: sight.cause == "accepted" for control, sight in sights.items() if sight.manner is Manner.ANSWERS
        }


def expected(
    world: World,
    target: str,
    surfaces: Sequence[Surface],
    seconds: range,
    *,
    rule: Persistence,
    controls: Sequence[str],
    attempts: int,
    timeout_us: int,
) -> list[Judged]:
    """Judge every second of a script in which everything was attempted."""
    rows = []
    trust = Trust(world, controls)
    for second in seconds:
        worked = trust.worked(second)
        seen = [causes(world, target, surface, second, attempts, timeout_us) for surface in surfaces]
        failed = trust.failed(second)
        said = tuple(verdict(made, worked, failed) for made in seen)
        rows.append((second, *target_verdict(said), said, tuple(cause for made in seen for cause in made)))
    turned = turns([(row[0], row[1]) for row in rows], rule)
    return [Judged(*row, (turned[row[0]],) if row[0] in turned else ()) for row in rows]
