"""Between the values of the core and the rows of the ledger, both ways.

Rows are plain tuples in the order of the tables' columns without the place (`batch`, `position`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from probe.core.engine import TargetState, from_plain, to_plain
from probe.core.model import (
    Basis,
    Cause,
    Connection,
    ControlOutcome,
    Fault,
    IssueEvent,
    IssueTurn,
    Judgement,
    Outcome,
    Phase,
    Remark,
    Step,
    Surface,
    Terms,
    Verdict,
)
from probe.ledger.canonical import Row, canonical_json
from probe.ledger.remarks import evidence_of_text, evidence_text

Rows = list[tuple[str | int | None, ...]]
W = TypeVar("W", bound=StrEnum)


def _words(of: type[W]) -> Mapping[str, W]:
    return {str(word): word for word in of}


# Looked up rather than called: of a record that is read back, its words would cost the most.
_SURFACES, _FAULTS, _CAUSES, _PHASES = _words(Surface), _words(Fault), _words(Cause), _words(Phase)
_CONNECTIONS, _VERDICTS, _BASES, _TURNS = _words(Connection), _words(Verdict), _words(Basis), _words(IssueTurn)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one transaction keeps. `remarks` are what is kept beside the seconds.

    `terms` are those that the steps were judged by, of all configured targets. `states` are checkpoints; each must be
    the state after the last step of its target in this batch or an earlier one.
    """

    steps: tuple[Step, ...] = ()
    controls: tuple[ControlOutcome, ...] = ()
    terms: Mapping[str, Terms] = field(default_factory=dict)
    states: tuple[TargetState, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def records(self) -> int:
        """Count the records that this batch will make."""
        return (
            sum([len(step.outcomes) + len(step.judgements) + len(step.events) for step in self.steps])
            + len(self.controls)
            + len(self.states)
            + len(self.remarks)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """What the ledger answers: the batch is kept. `seq` and `digest` are the head of the chain now."""

    duration_us: int
    seq: int
    digest: str


def attempt_rows(steps: Sequence[Step], vantage: str) -> Rows:
    """Make the rows of all attempts."""
    return [_attempt_row(outcome, vantage) for step in steps for outcome in step.outcomes]


def control_rows(controls: Sequence[ControlOutcome]) -> Rows:
    """Make the rows of control outcomes."""
    return [
        (c.control, c.second, c.started_us, c.duration_us, int(c.worked), str(c.cause), None if c.trusted else 0)
        for c in controls
    ]


def verdict_rows(steps: Sequence[Step], rules: Mapping[str, str]) -> Rows:
    """Make the rows of all judgements, given the id of each target's rules."""
    rows: Rows = []
    for step in steps:
        identity = rules[step.target]
        rows += [
            (
                step.target,
                str(judged.surface),
                step.second,
                step.seconds,
                str(judged.verdict),
                str(judged.basis),
                judged.attempts,
                judged.accepted,
                _clean(step.reason),
                identity,
                evidence_text(judged.evidence),
            )
            for judged in step.judgements
        ]
    return rows


def event_rows(steps: Sequence[Step]) -> Rows:
    """Make the rows of all turns of Critical Issues."""
    return [
        (e.target, step.second, e.issue, str(e.turn), e.since_second, e.noticed_second)
        for step in steps
        for e in step.events
    ]


def state_rows(states: Sequence[TargetState]) -> Rows:
    """Make the rows of checkpoints."""
    return [(state.target, state.next_second, canonical_json(to_plain(state))) for state in states]


def outcome_of_row(row: Row, vantage: str) -> Outcome:
    """Read an attempt back.

    Raises:
        ValueError: If a word in it is none of this program's.
    """
    target, surface, second, ordinal, started_us, duration_us, fault, cause, phase, *rest = row
    code, enhanced_code, reply, message_id, connection, address, maybe_accepted, phases = rest
    if message_id is None:
        message_id = f"{second}.{ordinal}.{surface}.{target}.{vantage}"
    return Outcome(
        target=str(target),
        surface=_word(_SURFACES, surface),
        second=_integer(second),
        ordinal=_integer(ordinal),
        started_us=_integer(started_us),
        duration_us=_integer(duration_us),
        fault=_word(_FAULTS, fault),
        cause=_word(_CAUSES, cause),
        phase=_word(_PHASES, phase),
        code=_integer(code),
        enhanced_code=str(enhanced_code),
        reply=str(reply),
        message_id=str(message_id),
        connection=_word(_CONNECTIONS, connection),
        address=str(address),
        maybe_accepted=bool(maybe_accepted),
        phases=tuple([_phase(entry) for entry in str(phases).split()]),
    )


def judged_of_row(row: Row) -> Outcome:
    """Read of an attempt only what the rules ask: its place, its fault and cause, and its codes.

    Raises:
        ValueError: If a word in it is none of this program's.
    """
    target, surface, second, ordinal, fault, cause, code, enhanced_code = row
    return Outcome(
        target=str(target),
        surface=_word(_SURFACES, surface),
        second=_integer(second),
        ordinal=_integer(ordinal),
        started_us=0,
        duration_us=0,
        fault=_word(_FAULTS, fault),
        cause=_word(_CAUSES, cause),
        phase=Phase.START,
        code=_integer(code),
        enhanced_code=str(enhanced_code),
    )


def control_of_row(row: Row) -> ControlOutcome:
    """Read a control outcome back."""
    control, second, started_us, duration_us, worked, cause, trusted = row
    return ControlOutcome(
        control=str(control),
        second=_integer(second),
        started_us=_integer(started_us),
        duration_us=_integer(duration_us),
        worked=bool(worked),
        cause=_word(_CAUSES, cause),
        trusted=trusted is None or bool(trusted),
    )


def judgement_of_row(row: Row) -> Judgement:
    """Read the judgement in a verdict row back."""
    _target, surface, second, _seconds, verdict, basis, attempts, accepted, _reason, _rules, evidence = row
    return Judgement(
        surface=_word(_SURFACES, surface),
        verdict=_word(_VERDICTS, verdict),
        basis=_word(_BASES, basis),
        attempts=_integer(attempts),
        accepted=_integer(accepted),
        evidence=evidence_of_text(evidence, _integer(second)),
    )


def event_of_row(row: Row) -> IssueEvent:
    """Read a turn of a Critical Issue back."""
    target, _second, issue, turn, since_second, noticed_second = row
    return IssueEvent(
        issue=str(issue),
        target=str(target),
        turn=_word(_TURNS, turn),
        since_second=_integer(since_second),
        noticed_second=_integer(noticed_second),
    )


def state_of_body(body: str) -> TargetState:
    """Read a checkpoint back.

    Raises:
        ValueError: If it is none, or of another version.
    """
    plain = json.loads(body)
    if not isinstance(plain, dict):
        raise ValueError("checkpoint is not an object")
    return from_plain(plain)


def _attempt_row(o: Outcome, vantage: str) -> tuple[str | int | None, ...]:
    surface = str(o.surface)
    # The ticket's own name is made of the other columns; keeping it again would be a third of the row.
    usual = o.message_id == f"{o.second}.{o.ordinal}.{surface}.{o.target}.{vantage}"
    return (
        o.target,
        surface,
        o.second,
        o.ordinal,
        o.started_us,
        o.duration_us,
        str(o.fault),
        str(o.cause),
        str(o.phase),
        o.code,
        _clean(o.enhanced_code),
        _clean(o.reply),
        None if usual else _clean(o.message_id),
        str(o.connection),
        o.address,
        int(o.maybe_accepted),
        " ".join([f"{phase}:{duration_us}" for phase, duration_us in o.phases]),
    )


def _clean(text: str) -> str:
    """Replace what a database cannot hold (lone surrogates, NUL): one such reply must not block all records."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\ufffd")


def _phase(entry: str) -> tuple[Phase, int]:
    phase, _, duration_us = entry.partition(":")
    return _word(_PHASES, phase), int(duration_us)


def _word(words: Mapping[str, W], value: str | int | None) -> W:
    """Read a word of a closed set back."""
    found = words.get(value)  # type: ignore[arg-type]  # what is no text is in none of the sets
    if found is None:
        raise ValueError(f"{value!r} is none of this program's words")
    return found


def _integer(value: str | int | None) -> int:
    if not isinstance(value, int):
        raise ValueError(f"{value!r} is not an integer")
    return value
