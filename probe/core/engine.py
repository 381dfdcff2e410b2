"""The rules put together: from the outcomes of one second to its Step.

Theory of operation
-------------------

The state of a target is a fold of its seconds, and this module is the whole of the fold. There are two ways on:

- `advance` closes exactly the next second, with all outcomes and controls of that second;
- `skip` closes a run of seconds that nobody looked at, from the next one on, in one Step of any length.

Neither can be called for another second than the next, so every second from the first on has exactly one Step, in
order, and a hole cannot come about. Neither reads anything but its arguments, so the same record leads to the same
state wherever and whenever it is replayed, from the start or from a checkpoint (`to_plain`, `from_plain`).

A second passes through three rules, each of which sees only what the one before it said: outcomes become the judgement
of each surface, judgements become the target's verdict (both in `verdict`), and verdicts become the turns of a Critical
Issue (`persistence`). Beside them runs the counting: totals for each surface and for the target as a whole, always by
basis too.

The terms are an argument and no part of the state, for the operator may change them between two seconds. A surface that
is new begins with totals of zero; one that is gone keeps its totals, is judged no more, and is in no Step.

An assertion that fails here means that the program is wrong, not the world: outcomes of another target, of another
second, or of a surface that the terms do not have; two outcomes for the same attempt.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, assert_never

from probe.core import suspicion
from probe.core.controls import all_failed, witnesses_of
from probe.core.model import (
    Basis,
    ControlOutcome,
    IssueEvent,
    IssueTurn,
    Judgement,
    Outcome,
    Step,
    Surface,
    Suspicion,
    Terms,
    Verdict,
)
from probe.core.persistence import CALM, PersistenceState, after_second, after_unobserved
from probe.core.suspicion import Doubt
from probe.core.verdict import judge, judge_target

RULES_VERSION = 2  # goes up whenever the same outcomes may lead to another verdict or event
STATE_VERSION = 2  # goes up whenever the plain form of a state changes; the ones before can still be read

# Why nobody looked, where that is a reason to forget what was suspected: settings may have changed meanwhile.
DAEMON_DOWN = "the daemon was down"
NOT_CONFIGURED = "the target was not configured"


class Tally(NamedTuple):
    """The seconds of one surface, or of the target as a whole, counted by verdict and basis.

    A named tuple, as three are made for each second of each target and a frozen dataclass costs five times as much.
    `run_seconds` is the current run of unavailable seconds: an available second ends it, while inconclusive and
    unobserved ones leave it as it is.
    """

    unobserved_seconds: int = 0
    available_seconds: int = 0
    literal_seconds: int = 0
    corroborated_seconds: int = 0
    inconclusive_seconds: int = 0
    run_seconds: int = 0

    @property
    def unavailable_seconds(self) -> int:
        """Count the unavailable seconds on either basis."""
        return self.literal_seconds + self.corroborated_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """All that the rules remember of one target. `next_second` is the second that closes next.

    `settings` names the settings that `doubts` were gathered under (`Terms.settings`).
    """

    target: str
    next_second: int
    persistence: PersistenceState
    tallies: tuple[tuple[Surface, Tally], ...]
    whole: Tally
    settings: str = ""
    doubts: tuple[tuple[Surface, Doubt], ...] = ()

    @property
    def open_issue(self) -> IssueEvent | None:
        """Give the opening of the issue that is open now, if one is."""
        return self.persistence.open_issue

    def tally(self, surface: Surface) -> Tally:
        """Give the totals of one surface."""
        return dict(self.tallies).get(surface, Tally())

    def run_seconds(self, surface: Surface) -> int:
        """Give the current run of unavailable seconds of one surface."""
        return self.tally(surface).run_seconds


def begin(target: str, terms: Terms, first_second: int) -> TargetState:
    """Make the state of a target that nobody has looked at yet."""
    assert terms.surfaces
    return TargetState(
        target=target,
        next_second=first_second,
        persistence=CALM,
        tallies=tuple((surface, Tally()) for surface in terms.surfaces),
        whole=Tally(),
    )


def advance(
    state: TargetState, terms: Terms, second: int, outcomes: Iterable[Outcome], controls: Iterable[ControlOutcome]
) -> tuple[TargetState, Step]:
    """Close the next second with everything that was seen in it, in whatever order it came in."""
    assert second == state.next_second
    seen = tuple(sorted(outcomes, key=_place))
    _check_outcomes(seen, state.target, terms, second)
    heard = tuple(controls)
    witnesses = _witnesses(heard, second)
    controls_failed = all_failed(heard)
    parts = [(surface, [o for o in seen if o.surface == surface]) for surface in terms.surfaces]
    judgements = tuple(
        [judge(surface, outcomes, witnesses, controls_failed=controls_failed) for surface, outcomes in parts]
    )
    verdict, basis = judge_target(judgements)
    persistence, events = after_second(state.persistence, terms.persistence, state.target, second, verdict)
    doubts, suspicions = _doubts_after(state, terms.settings, second, judgements, parts)
    step = Step(
        target=state.target,
        second=second,
        seconds=1,
        verdict=verdict,
        basis=basis,
        judgements=judgements,
        outcomes=seen,
        events=events,
        suspicions=suspicions,
    )
    return _after(state, step, persistence, terms.settings, doubts), step


def skip(state: TargetState, terms: Terms, through_second: int, reason: str) -> tuple[TargetState, Step]:
    """Close all seconds up to and including `through_second` as unobserved, and say why nobody looked."""
    assert through_second >= state.next_second
    assert reason
    seconds = through_second - state.next_second + 1
    step = Step(
        target=state.target,
        second=state.next_second,
        seconds=seconds,
        verdict=Verdict.UNOBSERVED,
        basis=Basis.NONE,
        judgements=tuple(judge(surface, (), ()) for surface in terms.surfaces),
        reason=reason,
    )
    persistence = after_unobserved(state.persistence, terms.persistence, seconds)
    doubts = () if reason in {DAEMON_DOWN, NOT_CONFIGURED} else state.doubts
    return _after(state, step, persistence, state.settings, doubts), step


def to_plain(state: TargetState) -> dict[str, Any]:
    """Turn a state into what JSON can hold, for a checkpoint in the ledger."""
    remembered = state.persistence
    return {
        "version": STATE_VERSION,
        "target": state.target,
        "next_second": state.next_second,
        # As text, since many readers of JSON keep only 53 bits of a number.
        "window": f"{remembered.window:x}",
        "open_issue": asdict(remembered.open_issue) if remembered.open_issue else None,
        "run_seconds": remembered.run_seconds,
        "run_since_second": remembered.run_since_second,
        "tallies": [[str(surface), tally._asdict()] for surface, tally in state.tallies],
        "whole": state.whole._asdict(),
        "settings": state.settings,
        "doubts": [[str(surface), {**doubt._asdict(), "codes": list(doubt.codes)}] for surface, doubt in state.doubts],
    }


def from_plain(plain: Mapping[str, Any]) -> TargetState:
    """Turn a checkpoint back into the state that it was made of.

    Raises:
        ValueError: If it was written by another version, or is not a checkpoint.
    """
    if plain.get("version") not in {1, STATE_VERSION}:
        raise ValueError(f"checkpoint has version {plain.get('version')!r}, expected {STATE_VERSION}")
    # The first version knew nothing of doubts.
    of_doubts: Mapping[str, Any] = {"settings": "", "doubts": ()} if plain["version"] == 1 else plain
    try:
        return TargetState(
            target=plain["target"],
            next_second=plain["next_second"],
            persistence=PersistenceState(
                window=int(plain["window"], 16),
                open_issue=_issue_from_plain(plain["open_issue"]),
                run_seconds=plain["run_seconds"],
                run_since_second=plain["run_since_second"],
            ),
            tallies=tuple((Surface(surface), _tally_from_plain(tally)) for surface, tally in plain["tallies"]),
            whole=_tally_from_plain(plain["whole"]),
            settings=of_doubts["settings"],
            doubts=tuple((Surface(surface), _doubt_from_plain(doubt)) for surface, doubt in of_doubts["doubts"]),
        )
    except (KeyError, TypeError, AssertionError) as error:
        raise ValueError(f"checkpoint cannot be read: {error!r}") from error


def _place(outcome: Outcome) -> tuple[str, int]:
    return outcome.surface, outcome.ordinal


def _check_outcomes(seen: Sequence[Outcome], target: str, terms: Terms, second: int) -> None:
    """Stop the program if an outcome is not one of this target's attempts in this second, or comes twice."""
    before = None
    for outcome in seen:
        assert outcome.target == target
        assert outcome.second == second
        assert outcome.surface in terms.surfaces
        place = _place(outcome)
        assert place != before
        before = place


def _witnesses(controls: Sequence[ControlOutcome], second: int) -> tuple[ControlOutcome, ...]:
    assert all(control.second == second for control in controls)
    return witnesses_of(controls)


def _doubts_after(
    state: TargetState,
    settings: str,
    second: int,
    judgements: Sequence[Judgement],
    parts: Sequence[tuple[Surface, list[Outcome]]],
) -> tuple[tuple[tuple[Surface, Doubt], ...], tuple[Suspicion, ...]]:
    """Go on with what is suspected of each surface; other settings begin it anew."""
    known = dict(state.doubts) if settings == state.settings else {}
    doubts, told = [], []
    for judged, (surface, outcomes) in zip(judgements, parts, strict=True):
        doubt, suspected = suspicion.after_second(
            known.get(surface, Doubt()), state.target, surface, second, judged.verdict, outcomes
        )
        doubts.append((surface, doubt))
        if suspected is not None:
            told.append(suspected)
    return tuple(doubts), tuple(told)


def _after(
    state: TargetState,
    step: Step,
    persistence: PersistenceState,
    settings: str,
    doubts: tuple[tuple[Surface, Doubt], ...],
) -> TargetState:
    """Count a Step and move on to the second after it."""
    judged = {judgement.surface: judgement for judgement in step.judgements}
    known = [(surface, _counted_judgement(tally, judged.pop(surface, None), step)) for surface, tally in state.tallies]
    new = [(surface, _counted_judgement(Tally(), judgement, step)) for surface, judgement in judged.items()]
    return TargetState(
        target=state.target,
        next_second=step.second + step.seconds,
        persistence=persistence,
        tallies=(*known, *new),
        whole=_counted(state.whole, step.verdict, step.basis, step.seconds),
        settings=settings,
        doubts=doubts,
    )


def _counted_judgement(tally: Tally, judgement: Judgement | None, step: Step) -> Tally:
    return tally if judgement is None else _counted(tally, judgement.verdict, judgement.basis, step.seconds)


def _counted(tally: Tally, verdict: Verdict, basis: Basis, seconds: int) -> Tally:
    """Count seconds of one verdict."""
    unobserved, available, literal, corroborated, inconclusive, run = tally
    match verdict:
        case Verdict.AVAILABLE:
            available += seconds
            run = 0
        case Verdict.UNAVAILABLE:
            literal += seconds * (basis == Basis.LITERAL)
            corroborated += seconds * (basis == Basis.CORROBORATED)
            run += seconds
        case Verdict.INCONCLUSIVE:
            inconclusive += seconds
        case Verdict.UNOBSERVED:
            unobserved += seconds
        case _:
            assert_never(verdict)
    return Tally(unobserved, available, literal, corroborated, inconclusive, run)


def _issue_from_plain(plain: Mapping[str, Any] | None) -> IssueEvent | None:
    return None if plain is None else IssueEvent(**{**plain, "turn": IssueTurn(plain["turn"])})


def _tally_from_plain(plain: Mapping[str, int]) -> Tally:
    assert plain.keys() == set(Tally._fields)
    return Tally(**plain)


def _doubt_from_plain(plain: Mapping[str, Any]) -> Doubt:
    assert plain.keys() == set(Doubt._fields)
    return Doubt(**{**plain, "codes": tuple(plain["codes"])})
