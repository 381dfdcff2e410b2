"""The fold from outcomes to Steps, against an oracle that reads the whole history anew."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probe.core.engine import (
    STATE_VERSION,
    Tally,
    TargetState,
    advance,
    begin,
    from_plain,
    skip,
    to_plain,
)
from probe.core.model import (
    Basis,
    Cause,
    ControlOutcome,
    Fault,
    IssueEvent,
    IssueTurn,
    Judgement,
    Outcome,
    Persistence,
    Phase,
    Step,
    Surface,
    Terms,
    Verdict,
)
from probe.core.persistence import issue_name
from probe.core.suspicion import Doubt

FIRST_SECOND = 1_795_379_401
CAUSES = {
    Fault.NONE: Cause.ACCEPTED,
    Fault.SERVER_TIMEOUT: Cause.SILENT,
    Fault.SERVER_ERROR: Cause.HTTP_ERROR,
    Fault.CLIENT: Cause.QUOTA,
    Fault.NETWORK: Cause.REFUSED,
    Fault.SELF: Cause.CAPPED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """One second of a history: what its attempts and controls saw, or, with `seen` None, that nobody looked."""

    seen: tuple[tuple[Surface, Cause, Fault], ...] | None
    controls: tuple[bool, ...] = ()


@dataclass(slots=True)
class Read:
    """What the oracle reads out of a history."""

    judged: list[dict[Surface, tuple[Verdict, Basis, int, int]]] = field(default_factory=list)
    verdicts: list[tuple[Verdict, Basis]] = field(default_factory=list)
    events: list[IssueEvent] = field(default_factory=list)


def terms_of(persistence: Persistence, surfaces: tuple[Surface, ...] = tuple(Surface)) -> Terms:
    """Make the terms of a target."""
    return Terms(profile="sparkpost-enterprise", persistence=persistence, objective_ppm=999_900, surfaces=surfaces)


TERMS = terms_of(Persistence())
SHORT = terms_of(Persistence(unavailable_seconds=3, window_seconds=5, recovery_seconds=2))


def outcome(
    second: int, surface: Surface = Surface.API, fault: Fault = Fault.NONE, cause: Cause | None = None, ordinal: int = 0
) -> Outcome:
    """Make an outcome."""
    return Outcome(
        target="main",
        surface=surface,
        second=second,
        ordinal=ordinal,
        started_us=second * 1_000_000,
        duration_us=1_000,
        fault=fault,
        cause=cause or CAUSES[fault],
        phase=Phase.START,
    )


def control(second: int, worked: bool, name: str = "gateway") -> ControlOutcome:
    """Make a control's outcome."""
    cause = Cause.ACCEPTED if worked else Cause.UNREACHABLE
    return ControlOutcome(
        control=name, second=second, started_us=second * 1_000_000, duration_us=1, worked=worked, cause=cause
    )


def inputs(lived: Lived, second: int) -> tuple[list[Outcome], list[ControlOutcome]]:
    """Turn one lived second into the arguments of `advance`."""
    seen = [
        outcome(second, surface, fault, cause, ordinal)
        for ordinal, (surface, cause, fault) in enumerate(lived.seen or ())
    ]
    return seen, [control(second, worked, f"control-{n}") for n, worked in enumerate(lived.controls)]


def live(
    history: Sequence[Lived], terms: Terms, state: TargetState | None = None, turned: bool = False
) -> tuple[TargetState, list[Step]]:
    """Feed a history to the engine, each hole in one go; `turned` gives the outcomes in the opposite order."""
    state = state or begin("main", terms, FIRST_SECOND)
    steps = []
    for hole, group in groupby(history, key=lambda lived: lived.seen is None):
        run = list(group)
        if hole:
            state, step = skip(state, terms, state.next_second + len(run) - 1, "daemon was down")
            steps.append(step)
            continue
        for lived in run:
            seen, controls = inputs(lived, state.next_second)
            order = slice(None, None, -1 if turned else 1)
            state, step = advance(state, terms, state.next_second, seen[order], controls[order])
            steps.append(step)
    return state, steps


def judged_by_words(
    faults: list[Fault], causes: list[Cause], controls: tuple[bool, ...]
) -> tuple[Verdict, Basis, int, int]:
    """Judge a surface as the contract says it, sentence by sentence."""
    made = [fault for fault, cause in zip(faults, causes, strict=True) if cause != Cause.CAPPED]
    counts = len(made), made.count(Fault.NONE)
    worked = any(controls)
    if not faults:
        return Verdict.UNOBSERVED, Basis.NONE, *counts
    if any(fault == Fault.NONE for fault in made):
        return Verdict.AVAILABLE, Basis.NONE, *counts
    if controls and not worked and Cause.SILENT in causes:
        return Verdict.INCONCLUSIVE, Basis.NONE, *counts
    if made and all(fault in (Fault.SERVER_TIMEOUT, Fault.SERVER_ERROR) for fault in made):
        return Verdict.UNAVAILABLE, Basis.LITERAL, *counts
    if made and worked and all(fault in (Fault.SERVER_TIMEOUT, Fault.SERVER_ERROR, Fault.NETWORK) for fault in made):
        return Verdict.UNAVAILABLE, Basis.CORROBORATED, *counts
    return Verdict.INCONCLUSIVE, Basis.NONE, *counts


def judged_together(judged: Iterable[tuple[Verdict, Basis, int, int]]) -> tuple[Verdict, Basis]:
    """Judge the target as the design says it."""
    verdicts = [verdict for verdict, *_ in judged]
    bases = [basis for _, basis, *_ in judged]
    if Verdict.UNAVAILABLE in verdicts:
        return Verdict.UNAVAILABLE, Basis.LITERAL if Basis.LITERAL in bases else Basis.CORROBORATED
    if all(verdict == Verdict.AVAILABLE for verdict in verdicts):
        return Verdict.AVAILABLE, Basis.NONE
    if all(verdict == Verdict.UNOBSERVED for verdict in verdicts):
        return Verdict.UNOBSERVED, Basis.NONE
    return Verdict.INCONCLUSIVE, Basis.NONE


def turn_at(now: int, bad: list[int], good: list[int], events: list[IssueEvent], rule: Persistence) -> list[IssueEvent]:
    """Read from all unavailable and available seconds so far whether an issue turns now."""
    last = events[-1] if events else None
    if last is None or last.turn == IssueTurn.RESTORED:
        spent = last.noticed_second if last else 0
        evidence = [second for second in bad if second > max(spent, now - rule.window_seconds)]
        name = issue_name("main", evidence[0]) if evidence else ""
        due, turn = now in bad and len(evidence) >= rule.unavailable_seconds, IssueTurn.OPENED
    else:
        evidence = [second for second in good if second > max(bad)]
        name = last.issue
        due, turn = now in good and len(evidence) >= rule.recovery_seconds, IssueTurn.RESTORED
    if not due:
        return []
    return [IssueEvent(issue=name, target="main", turn=turn, since_second=evidence[0], noticed_second=now)]


def read(history: Sequence[Lived], terms: Terms) -> Read:
    """Read a history by brute force: no state, and all seconds so far looked at again for each one."""
    found = Read()
    for lived in history:
        seen = lived.seen or ()
        judged = {
            surface: judged_by_words(
                [fault for at, _, fault in seen if at == surface],
                [cause for at, cause, _ in seen if at == surface],
                lived.controls,
            )
            for surface in terms.surfaces
        }
        found.judged.append(judged)
        found.verdicts.append(judged_together(list(judged.values())))
        dated = list(enumerate(found.verdicts, FIRST_SECOND))
        bad = [second for second, (verdict, _) in dated if verdict == Verdict.UNAVAILABLE]
        good = [second for second, (verdict, _) in dated if verdict == Verdict.AVAILABLE]
        found.events.extend(turn_at(dated[-1][0], bad, good, found.events, terms.persistence))
    return found


def tally_of(verdicts: list[tuple[Verdict, Basis]]) -> Tally:
    """Count verdicts by reading all of them."""
    told = [verdict for verdict, _ in verdicts if verdict in (Verdict.AVAILABLE, Verdict.UNAVAILABLE)]
    good = [place for place, verdict in enumerate(told) if verdict == Verdict.AVAILABLE]
    return Tally(
        unobserved_seconds=verdicts.count((Verdict.UNOBSERVED, Basis.NONE)),
        available_seconds=verdicts.count((Verdict.AVAILABLE, Basis.NONE)),
        literal_seconds=verdicts.count((Verdict.UNAVAILABLE, Basis.LITERAL)),
        corroborated_seconds=verdicts.count((Verdict.UNAVAILABLE, Basis.CORROBORATED)),
        inconclusive_seconds=verdicts.count((Verdict.INCONCLUSIVE, Basis.NONE)),
        run_seconds=len(told) - (good[-1] + 1 if good else 0),
    )


PERSISTENCES = st.tuples(st.integers(1, 4), st.integers(0, 5), st.integers(1, 4)).map(
    lambda terms: Persistence(
        unavailable_seconds=terms[0], window_seconds=terms[0] + terms[1], recovery_seconds=terms[2]
    )
)


def seen_with(faults: Sequence[Fault]) -> st.SearchStrategy[tuple[tuple[Surface, Cause, Fault], ...]]:
    """Draw outcomes of both surfaces with some of the faults; a fault of our own may be an attempt not made."""
    one = st.tuples(st.sampled_from(Surface), st.sampled_from(faults), st.booleans()).map(
        lambda drawn: (
            drawn[0],
            Cause.STOPPED if drawn[1] == Fault.SELF and drawn[2] else CAUSES[drawn[1]],
            drawn[1],
        )
    )
    return st.lists(one, max_size=4).map(tuple)


def both(fault: Fault) -> tuple[tuple[Surface, Cause, Fault], ...]:
    """Make one outcome of the same fault on each surface."""
    return tuple((surface, CAUSES[fault], fault) for surface in Surface)


CONTROLS = st.sampled_from([(), (False,), (True,), (False, True)])
SECONDS = st.one_of(
    st.just(Lived(seen=both(Fault.NONE))),
    st.just(Lived(seen=both(Fault.NONE))),
    st.just(Lived(seen=both(Fault.SERVER_TIMEOUT))),
    st.builds(Lived, seen=st.just(both(Fault.NETWORK)), controls=CONTROLS),
    st.builds(Lived, seen=seen_with(list(Fault)), controls=CONTROLS),
    st.just(Lived(seen=None)),
)
HISTORIES = st.lists(st.tuples(SECONDS, st.integers(1, 5)), max_size=16).map(
    lambda runs: [lived for lived, seconds in runs for _ in range(seconds)]
)


@settings(deadline=None, max_examples=200)
@given(persistence=PERSISTENCES, history=HISTORIES)
def test_the_fold_agrees_with_a_reading_of_the_whole_history(persistence: Persistence, history: list[Lived]) -> None:
    """Verdicts, counts, events and totals are those of the oracle, holes included."""
    terms = terms_of(persistence)
    state, steps = live(history, terms)
    found = read(history, terms)
    verdicts = [(step.verdict, step.basis) for step in steps for _ in range(step.seconds)]
    judged = [
        {j.surface: (j.verdict, j.basis, j.attempts, j.accepted) for j in step.judgements}
        for step in steps
        for _ in range(step.seconds)
    ]
    assert verdicts == found.verdicts
    assert judged == found.judged
    assert [event for step in steps for event in step.events] == found.events
    assert state.whole == tally_of(found.verdicts)
    for surface in Surface:
        assert state.tally(surface) == tally_of([second[surface][:2] for second in found.judged])
    opened = bool(found.events) and found.events[-1].turn == IssueTurn.OPENED
    assert state.open_issue == (found.events[-1] if opened else None)


@settings(deadline=None, max_examples=200)
@given(history=HISTORIES)
def test_every_second_has_exactly_one_step(history: list[Lived]) -> None:
    """The Steps stand end to end, from the first second to the one before the next."""
    state, steps = live(history, SHORT)
    assert state.next_second == FIRST_SECOND + len(history)
    assert sum(step.seconds for step in steps) == len(history)
    assert all(before.second + before.seconds == after.second for before, after in pairwise(steps))
    assert all(step.second == FIRST_SECOND for step in steps[:1])
    for tally in (state.whole, *(tally for _, tally in state.tallies)):
        assert tally._replace(run_seconds=0).unavailable_seconds + sum(tally[:2]) + tally[4] == len(history)


@settings(deadline=None, max_examples=200)
@given(persistence=PERSISTENCES, history=HISTORIES)
def test_the_order_of_outcomes_and_controls_is_irrelevant(persistence: Persistence, history: list[Lived]) -> None:
    """The same second told in the opposite order is the same Step, to the last field."""
    terms = terms_of(persistence)
    assert live(history, terms) == live(history, terms, turned=True)


@settings(deadline=None, max_examples=200)
@given(persistence=PERSISTENCES, history=HISTORIES)
def test_an_issue_turns_only_on_a_second_that_says_so(persistence: Persistence, history: list[Lived]) -> None:
    """An issue opens only on a bad second and is restored only on a good one, and one is open at most."""
    _, steps = live(history, terms_of(persistence))
    is_open = False
    for step in steps:
        assert len(step.events) <= 1
        for event in step.events:
            expected = Verdict.AVAILABLE if is_open else Verdict.UNAVAILABLE
            assert event.turn == (IssueTurn.RESTORED if is_open else IssueTurn.OPENED)
            assert (step.verdict, step.second) == (expected, event.noticed_second)
            is_open = not is_open


@settings(deadline=None, max_examples=200)
@given(seen=st.lists(seen_with([Fault.SELF, Fault.CLIENT]), max_size=30))
def test_our_own_fault_never_makes_a_second_unavailable(seen: list[tuple[tuple[Surface, Cause, Fault], ...]]) -> None:
    """With nothing but faults of our own no second is unavailable, however well the controls work."""
    terms = terms_of(Persistence(unavailable_seconds=1, window_seconds=1, recovery_seconds=1))
    state, steps = live([Lived(seen=each, controls=(True,)) for each in seen], terms)
    assert all(step.verdict in (Verdict.UNOBSERVED, Verdict.INCONCLUSIVE) for step in steps)
    assert state.open_issue is None


@settings(deadline=None, max_examples=200)
@given(persistence=PERSISTENCES, history=HISTORIES, data=st.data())
def test_a_replay_from_a_checkpoint_is_a_replay_from_the_start(
    persistence: Persistence, history: list[Lived], data: st.DataObject
) -> None:
    """A state written as JSON and read back goes on exactly as the one that was never written."""
    terms = terms_of(persistence)
    cut = data.draw(st.integers(0, len(history)))
    before, early = live(history[:cut], terms)
    restored = from_plain(json.loads(json.dumps(to_plain(before))))
    assert restored == before
    after, late = live(history[cut:], terms, restored)
    whole, steps = live(history, terms)
    assert after == whole
    assert seconds_of(early + late) == seconds_of(steps)


def seconds_of(steps: list[Step]) -> list[Step]:
    """Part every run of unobserved seconds into single ones."""
    return [replace(step, second=step.second + n, seconds=1) for step in steps for n in range(step.seconds)]


def test_a_target_begins_with_nothing_counted() -> None:
    """The first second to close is the one named, and every total of every surface is there at zero."""
    state = begin("main", TERMS, FIRST_SECOND)
    assert (state.next_second, state.open_issue, state.whole) == (FIRST_SECOND, None, Tally())
    assert state.tallies == ((Surface.API, Tally()), (Surface.SMTP, Tally()))


def test_a_step_says_what_was_seen_and_what_was_judged() -> None:
    """One surface down makes the target unavailable, and the Step holds the sorted outcomes."""
    smtp = outcome(FIRST_SECOND, Surface.SMTP)
    late, early = (outcome(FIRST_SECOND, fault=Fault.SERVER_ERROR, ordinal=ordinal) for ordinal in (1, 0))
    state, step = advance(begin("main", TERMS, FIRST_SECOND), TERMS, FIRST_SECOND, [smtp, late, early], [])
    api_down = Judgement(surface=Surface.API, verdict=Verdict.UNAVAILABLE, basis=Basis.LITERAL, attempts=2, accepted=0)
    smtp_up = Judgement(surface=Surface.SMTP, verdict=Verdict.AVAILABLE, basis=Basis.NONE, attempts=1, accepted=1)
    assert step == Step(
        target="main",
        second=FIRST_SECOND,
        seconds=1,
        verdict=Verdict.UNAVAILABLE,
        basis=Basis.LITERAL,
        judgements=(api_down, smtp_up),
        outcomes=(early, late, smtp),
    )
    assert (state.run_seconds(Surface.API), state.run_seconds(Surface.SMTP), state.whole.run_seconds) == (1, 0, 1)


@pytest.mark.parametrize(
    ("worked", "verdict"),
    [
        ((), Verdict.INCONCLUSIVE),
        ((False, False), Verdict.INCONCLUSIVE),
        ((False, True), Verdict.UNAVAILABLE),
        ((True, False), Verdict.UNAVAILABLE),
    ],
)
def test_one_control_that_worked_is_enough(worked: tuple[bool, ...], verdict: Verdict) -> None:
    """A refused second is laid at the server's door if any control of the same second worked."""
    _, (step,) = live([Lived(seen=both(Fault.NETWORK), controls=worked)], TERMS)
    assert step.verdict == verdict


def test_an_issue_opens_after_sixty_bad_seconds_and_ends_after_sixty_good_ones() -> None:
    """By the default terms both turns are dated back, and the whole story is in the totals."""
    history = [Lived(seen=both(fault)) for fault in (Fault.SERVER_TIMEOUT, Fault.NONE) for _ in range(60)]
    state, steps = live([Lived(seen=both(Fault.NONE)), *history], TERMS)
    events = [event for step in steps for event in step.events]
    assert [(e.turn, e.since_second - FIRST_SECOND, e.noticed_second - FIRST_SECOND) for e in events] == [
        (IssueTurn.OPENED, 1, 60),
        (IssueTurn.RESTORED, 61, 120),
    ]
    assert {event.issue for event in events} == {"main-20261122T203002Z"}
    assert (state.whole.unavailable_seconds, state.whole.available_seconds, state.open_issue) == (60, 61, None)


def test_a_hole_is_one_step_that_says_why_nobody_looked() -> None:
    """A hole of a year is one unobserved Step, and the issue that was open before it is open after it."""
    before, _ = live([Lived(seen=both(Fault.SERVER_ERROR))] * 3, SHORT)
    year = 365 * 86_400
    state, step = skip(before, SHORT, before.next_second + year - 1, "daemon was down")
    assert (step.verdict, step.seconds, step.reason) == (Verdict.UNOBSERVED, year, "daemon was down")
    assert (step.second, state.next_second) == (before.next_second, before.next_second + year)
    assert [judgement.verdict for judgement in step.judgements] == [Verdict.UNOBSERVED] * 2
    assert state.open_issue == before.open_issue is not None
    assert (state.run_seconds(Surface.API), state.whole.unobserved_seconds) == (3, year)


def test_terms_may_change_between_two_seconds() -> None:
    """A surface that the new terms lack keeps its totals and is judged no more; a new one begins at zero."""
    api, smtp = terms_of(Persistence(), (Surface.API,)), terms_of(Persistence(), (Surface.SMTP,))
    state, _ = advance(begin("main", api, FIRST_SECOND), api, FIRST_SECOND, [outcome(FIRST_SECOND)], [])
    second = FIRST_SECOND + 1
    state, step = advance(state, smtp, second, [outcome(second, Surface.SMTP)], [])
    state, _ = skip(state, smtp, second + 4, "daemon was down")
    assert [judgement.surface for judgement in step.judgements] == [Surface.SMTP]
    assert state.tally(Surface.API) == Tally(available_seconds=1)
    assert state.tally(Surface.SMTP) == Tally(available_seconds=1, unobserved_seconds=4)


def test_a_step_leaves_the_state_before_it_as_it_was() -> None:
    """The state is a value: closing the same second twice from it gives the same twice."""
    state = begin("main", TERMS, FIRST_SECOND)
    seen = [outcome(FIRST_SECOND)]
    assert advance(state, TERMS, FIRST_SECOND, seen, []) == advance(state, TERMS, FIRST_SECOND, seen, [])
    assert state == begin("main", TERMS, FIRST_SECOND)


@pytest.mark.parametrize(
    ("second", "outcomes", "controls"),
    [
        (FIRST_SECOND - 1, [], []),
        (FIRST_SECOND + 1, [], []),
        (FIRST_SECOND, [outcome(FIRST_SECOND + 1)], []),
        (FIRST_SECOND, [replace(outcome(FIRST_SECOND), target="other")], []),
        (FIRST_SECOND, [outcome(FIRST_SECOND, Surface.SMTP)], []),
        (FIRST_SECOND, [outcome(FIRST_SECOND), outcome(FIRST_SECOND, fault=Fault.CLIENT)], []),
        (FIRST_SECOND, [outcome(FIRST_SECOND, fault=Fault.CLIENT, cause=Cause.CAPPED)], []),
        (FIRST_SECOND, [], [control(FIRST_SECOND - 1, worked=True)]),
    ],
)
def test_what_does_not_belong_to_the_second_is_refused(
    second: int, outcomes: list[Outcome], controls: list[ControlOutcome]
) -> None:
    """Another second, target or surface, the same attempt twice, a cap that is not ours: errors of the program."""
    terms = terms_of(Persistence(), (Surface.API,))
    with pytest.raises(AssertionError):
        advance(begin("main", terms, FIRST_SECOND), terms, second, outcomes, controls)


@pytest.mark.parametrize(("through_second", "reason"), [(FIRST_SECOND - 1, "daemon was down"), (FIRST_SECOND, "")])
def test_a_hole_without_length_or_reason_is_refused(through_second: int, reason: str) -> None:
    """Time does not go back, and nobody looked for a reason."""
    with pytest.raises(AssertionError):
        skip(begin("main", TERMS, FIRST_SECOND), TERMS, through_second, reason)


def test_a_checkpoint_is_plain_and_says_its_version() -> None:
    """The plain form of a state with an open issue is this, so that a change of it is noticed."""
    state, _ = live([Lived(seen=both(Fault.SERVER_ERROR))] * 3, SHORT)
    tally = {**Tally()._asdict(), "literal_seconds": 3, "run_seconds": 3}
    assert to_plain(state) == {
        "version": STATE_VERSION,
        "target": "main",
        "next_second": FIRST_SECOND + 3,
        "window": "7",
        "open_issue": {
            "issue": "main-20261122T203001Z",
            "target": "main",
            "turn": "opened",
            "since_second": FIRST_SECOND,
            "noticed_second": FIRST_SECOND + 2,
        },
        "run_seconds": 0,
        "run_since_second": 0,
        "tallies": [["api", tally], ["smtp", tally]],
        "whole": tally,
        "settings": "",
        "doubts": [[surface, {**Doubt()._asdict(), "codes": []}] for surface in ("api", "smtp")],
    }


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"version": 99}, "checkpoint has version 99, expected 2"),
        ({"version": None}, "checkpoint has version None"),
        ({"window": "no"}, "invalid literal"),
        ({"window": "-7"}, "checkpoint cannot be read"),
        ({"run_seconds": 5}, "checkpoint cannot be read"),
        ({"tallies": [["fax", {}]]}, "fax"),
        ({"tallies": 5}, "checkpoint cannot be read"),
        ({"doubts": [["api", {}]]}, "checkpoint cannot be read"),
        ({"whole": {}}, "checkpoint cannot be read"),
        ({"open_issue": {"turn": "opened"}}, "checkpoint cannot be read"),
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_an_error_with_a_reason(wrong: dict[str, Any], said: str) -> None:
    """A checkpoint of another version or shape is refused in words, never taken in halves."""
    with pytest.raises(ValueError, match=said):
        from_plain({**to_plain(begin("main", TERMS, FIRST_SECOND)), **wrong})


def test_a_checkpoint_with_a_field_missing_is_refused() -> None:
    """Nothing is filled in for a field that is not there."""
    plain = to_plain(begin("main", TERMS, FIRST_SECOND))
    for name in plain:
        with pytest.raises(ValueError, match="checkpoint"):
            from_plain({key: value for key, value in plain.items() if key != name})
