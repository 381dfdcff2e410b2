"""Judge stored attempts again and say where the result differs from what is stored.

Two uses: at start, from the newest checkpoint on, with the rules that are stored beside each verdict (`recover`); and
"what if", over a range, with terms of the caller's choice (`what_if`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select

from probe.core.engine import RULES_VERSION, TargetState, advance, begin, skip
from probe.core.model import IssueEvent, Judgement, Outcome, Step, Terms
from probe.ledger import tables
from probe.ledger.canonical import parse_rules
from probe.ledger.read import StoredStep, judged_steps
from probe.ledger.snapshot import snapshot

NOT_STORED = "nothing is stored for this second"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Where the ledger and the rules disagree. `what` is a surface, "event" or "record"."""

    target: str
    second: int
    what: str
    stored: str
    found: str

    def __str__(self) -> str:
        return f"{self.target} {self.what} {self.second}: stored {self.stored}, the rules say {self.found}"


def stored_rules(connection: Connection) -> dict[tuple[str, str], tuple[int, Terms]]:
    """Read all rules that verdicts were judged by; leave out what cannot be read."""
    found = {}
    for row in connection.execute(select(tables.rules)):
        try:
            found[row.target, row.id] = parse_rules(row.body)
        except ValueError:
            # The verdicts that name it will be reported, each by name.
            continue
    return found


def replay_step(
    state: TargetState, terms: Terms, stored: StoredStep, compare: bool = True
) -> tuple[TargetState, list[Difference]]:
    """Advance a state by one stored step, and list where the result differs from what is stored."""
    step = stored.step
    found = [_record(step.target, step.second, text, "nothing of the kind") for text in stored.unreadable]
    if step.second < state.next_second:
        return state, [*found, _record(step.target, step.second, "a second verdict", "the second is closed already")]
    if step.second > state.next_second:
        missing = _record(step.target, state.next_second, "nothing", f"{step.second - state.next_second} s are missing")
        found.append(missing)
        state, _ = skip(state, terms, step.second - 1, NOT_STORED)
    if step.reason:
        state, again = skip(state, terms, step.second + step.seconds - 1, step.reason)
    else:
        known = _known_outcomes(step, terms, found)
        state, again = advance(state, terms, step.second, known, stored.controls)
    return state, found + (_differences(step, again) if compare else [])


def what_if(address: str, first_second: int, last_second: int, target: str, terms: Terms) -> tuple[Difference, ...]:
    """Judge a range of seconds again under other terms, from a calm start, and list what would differ.

    Seconds whose attempts were cut cannot be judged again and are left out.
    """
    with snapshot(address) as connection:
        return tuple(_what_if(connection, first_second, last_second, target, terms))


def _what_if(
    connection: Connection, first_second: int, last_second: int, target: str, terms: Terms
) -> Iterator[Difference]:
    state: TargetState | None = None
    for stored in judged_steps(connection, first_second, last_second, target):
        if _attempts_are_cut(stored):
            state = None
            continue
        if state is None:
            state = begin(target, terms, stored.step.second)
        state, differences = replay_step(state, terms, stored)
        yield from differences


def _attempts_are_cut(stored: StoredStep) -> bool:
    return not stored.step.outcomes and any(judged.attempts for judged in stored.step.judgements)


def fold(
    states: dict[str, TargetState],
    stored: StoredStep,
    rules: Mapping[tuple[str, str], tuple[int, Terms]],
    report: Callable[[Difference], None],
) -> None:
    """Advance the state of a step's target in place, by the rules that are stored with the step."""
    step = stored.step
    known = rules.get((step.target, stored.rules))
    if known is None:
        report(_record(step.target, step.second, f"rules {stored.rules}", "there are no such rules in the ledger"))
        return
    version, terms = known
    state = states.get(step.target) or begin(step.target, terms, step.second)
    # Verdicts of other rules than this program's may rightly differ.
    compare = version == RULES_VERSION and not _attempts_are_cut(stored)
    state, differences = replay_step(state, terms, stored, compare)
    for difference in differences:
        report(difference)
    states[step.target] = state


def _known_outcomes(step: Step, terms: Terms, found: list[Difference]) -> list[Outcome]:
    """Keep the outcomes that the terms have a surface for; the core takes no others."""
    known = [outcome for outcome in step.outcomes if outcome.surface in terms.surfaces]
    if len(known) < len(step.outcomes):
        found.append(_record(step.target, step.second, "attempts on another surface", "the terms do not have it"))
    return known


def _differences(step: Step, again: Step) -> list[Difference]:
    stored = {judged.surface: judged for judged in step.judgements}
    found = {judged.surface: judged for judged in again.judgements}
    differences = [
        Difference(
            target=step.target,
            second=step.second,
            what=str(surface),
            stored=_judged(stored.get(surface)),
            found=_judged(found.get(surface)),
        )
        for surface in sorted(stored.keys() | found.keys())
        if stored.get(surface) != found.get(surface)
    ]
    if step.events != again.events:
        differences.append(
            Difference(
                target=step.target,
                second=step.second,
                what="event",
                stored=_events(step.events),
                found=_events(again.events),
            )
        )
    return differences


def _record(target: str, second: int, stored: str, found: str) -> Difference:
    return Difference(target=target, second=second, what="record", stored=stored, found=found)


def _judged(judged: Judgement | None) -> str:
    if judged is None:
        return "no verdict"
    basis = f" ({judged.basis})" if judged.basis != "none" else ""
    controls = ", ".join([outcome.control for outcome in judged.evidence])
    witnessed = f", by the word of {controls}" if controls else ""
    return f"{judged.verdict}{basis}, {judged.accepted} of {judged.attempts} accepted{witnessed}"


def _events(events: Sequence[IssueEvent]) -> str:
    words = [f"{e.issue} {e.turn} since {e.since_second} noticed {e.noticed_second}" for e in events]
    return "; ".join(words) or "no event"
