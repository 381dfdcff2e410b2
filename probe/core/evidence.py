"""What the record shows of an outage, gathered for whoever has to describe it on the phone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from probe.core.model import Basis, Cause, ControlOutcome, Fault, Outcome, Step, Surface, Verdict

SAMPLES_MAX: Final = 3
CAUSES_MAX: Final = 3
OWN_FAULTS: Final = frozenset({Fault.SELF, Fault.CLIENT})


@dataclass(frozen=True, slots=True, kw_only=True)
class SurfaceEvidence:
    """One surface: its seconds by verdict, and the causes of the failed attempts of its unavailable seconds."""

    surface: Surface
    first_second: int  # the first unavailable one; 0 if there is none
    last_second: int
    seconds: int
    unavailable: int
    corroborated: int  # of the unavailable ones
    causes: tuple[tuple[Cause, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the record shows of a range of seconds of one target, both ends included.

    `samples` are verbatim: the newest outcome of each of the commonest failures. `controls` has of each how many of its
    attempts worked, and how many were made, in the unavailable seconds.
    """

    target: str
    first_second: int
    last_second: int
    unavailable: int
    surfaces: tuple[SurfaceEvidence, ...]
    samples: tuple[Outcome, ...]
    controls: tuple[tuple[str, int, int], ...]
    own_faults: tuple[tuple[Cause, int], ...]


class _Surface:
    def __init__(self) -> None:
        self.first = self.last = self.seconds = self.unavailable = self.corroborated = 0
        self.causes: Counter[Cause] = Counter()


def gather(target: str, seen: Iterable[tuple[Step, Sequence[ControlOutcome]]]) -> Evidence:
    """Gather it from steps in order of their seconds, each with the controls of its second."""
    surfaces: dict[Surface, _Surface] = {}
    failures: Counter[tuple[str, ...]] = Counter()
    newest: dict[tuple[str, ...], Outcome] = {}
    tried: Counter[str] = Counter()
    worked: Counter[str] = Counter()
    own: Counter[Cause] = Counter()
    first = last = unavailable = 0
    for step, controls in seen:
        first, last = first or step.second, step.second + step.seconds - 1
        down = {judged.surface for judged in step.judgements if judged.verdict is Verdict.UNAVAILABLE}
        for judged in step.judgements:
            _count(surfaces.setdefault(judged.surface, _Surface()), step, judged.verdict, judged.basis)
        for outcome in step.outcomes:
            if outcome.fault in OWN_FAULTS:
                own[outcome.cause] += 1
            elif outcome.surface in down and outcome.fault is not Fault.NONE:
                surfaces[outcome.surface].causes[outcome.cause] += 1
                kind = (outcome.surface, outcome.cause, outcome.phase, str(outcome.code), outcome.reply)
                failures[kind] += 1
                newest[kind] = outcome
        if step.verdict is Verdict.UNAVAILABLE:
            unavailable += step.seconds
            for control in controls:
                tried[control.control] += 1
                worked[control.control] += control.worked
    return Evidence(
        target=target,
        first_second=first,
        last_second=last,
        unavailable=unavailable,
        surfaces=tuple(_evidence(surface, found) for surface, found in sorted(surfaces.items())),
        samples=tuple(newest[kind] for kind, _ in failures.most_common(SAMPLES_MAX)),
        controls=tuple((name, worked[name], tried[name]) for name in sorted(tried)),
        own_faults=tuple(own.most_common(CAUSES_MAX)),
    )


def _count(found: _Surface, step: Step, verdict: Verdict, basis: Basis) -> None:
    found.seconds += step.seconds
    if verdict is Verdict.UNAVAILABLE:
        found.first = found.first or step.second
        found.last = step.second
        found.unavailable += step.seconds
        found.corroborated += step.seconds * (basis is Basis.CORROBORATED)


def _evidence(surface: Surface, found: _Surface) -> SurfaceEvidence:
    return SurfaceEvidence(
        surface=surface,
        first_second=found.first,
        last_second=found.last,
        seconds=found.seconds,
        unavailable=found.unavailable,
        corroborated=found.corroborated,
        causes=tuple(found.causes.most_common(CAUSES_MAX)),
    )
