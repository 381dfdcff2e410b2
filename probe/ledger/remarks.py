"""What is kept beside the seconds, and the evidence of a verdict: between values and canonical JSON, both ways."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields
from typing import Any, Final

from sqlalchemy import Connection, select

from probe.core.case_happenings import CaseAct, CaseHappening, CaseKind, Way
from probe.core.happenings import Act, Happening, Party
from probe.core.lapses import Lapse
from probe.core.model import (
    Amendment,
    Cause,
    ClockState,
    Condition,
    ControlOutcome,
    Exclusion,
    Remark,
    Statement,
    Surface,
    Suspicion,
    Synchronisation,
)
from probe.core.verdict import CORROBORATION
from probe.ledger import tables
from probe.ledger.canonical import Field, canonical_json
from probe.ledger.snapshot import snapshot
from probe.ledger.tables import RemarkKind

Proposal = Amendment | Happening | CaseHappening
Kept = Remark | Suspicion | Happening | CaseHappening

_SECOND_US: Final = 1_000_000

_TYPES: Final[Mapping[RemarkKind, type[Any]]] = {
    RemarkKind.CLOCK: ClockState,
    RemarkKind.CONDITION: Condition,
    RemarkKind.SUSPICION: Suspicion,
    RemarkKind.AMENDMENT: Amendment,
    RemarkKind.STATEMENT: Statement,
    RemarkKind.HAPPENING: Happening,
    RemarkKind.CASE: CaseHappening,
    RemarkKind.LAPSE: Lapse,
}
_KINDS: Final = {kept: kind for kind, kept in _TYPES.items()}


def _or_none(word: Callable[[str], Any]) -> Callable[[str | None], Any]:
    return lambda text: None if text is None else word(text)


# Fields that are words of a closed set, by the kind that they belong to.
_WORDS: Final[Mapping[RemarkKind, Mapping[str, Callable[[str], Any]]]] = {
    RemarkKind.CLOCK: {"synchronisation": Synchronisation},
    RemarkKind.SUSPICION: {"surface": Surface},
    RemarkKind.AMENDMENT: {"exclusion": Exclusion},
    RemarkKind.HAPPENING: {"act": Act, "party": _or_none(Party)},
    RemarkKind.CASE: {
        "act": CaseAct,
        "kind": _or_none(CaseKind),
        "way": _or_none(Way),
        "party": _or_none(Party),
    },
    RemarkKind.LAPSE: {"owed_by": Party},
}


def remark_rows(remarks: Iterable[Kept]) -> list[tuple[str | int | None, ...]]:
    """Make the rows of remarks."""
    return [(*_place(remark), body_of(remark)) for remark in remarks]


def kind_of(remark: Kept) -> RemarkKind:
    """Name the kind of a remark."""
    return _KINDS[type(remark)]


def body_of(remark: Kept) -> str:
    """Encode a remark."""
    return canonical_json(asdict(remark))


def remark_of_body(kind: str, body: str) -> Any:
    """Read a remark back: a value of the class that belongs to its kind.

    Raises:
        ValueError: If it is none that this program writes.
    """
    try:
        known = RemarkKind(kind)
        plain = json.loads(body)
        words = {name: word(plain[name]) for name, word in _WORDS.get(known, {}).items()}
        return _TYPES[known](**{**plain, **words})
    except (KeyError, TypeError) as error:
        raise ValueError(f"a remark of the kind {kind} cannot be read: {error!r}") from error


def proposal_of_body(kind: str, body: str) -> Proposal:
    """Read what somebody proposes, and make sure that every field holds what it should: nobody has checked it before.

    Raises:
        ValueError: If it is none that this program knows.
    """
    found = remark_of_body(kind, body)
    if not isinstance(found, Proposal):
        raise ValueError(f"a remark of the kind {kind} cannot be proposed")
    for field in fields(found):
        if not isinstance(getattr(found, field.name), field.type):  # type: ignore[arg-type]  # they are classes here
            raise ValueError(f"the field {field.name} of the kind {kind} holds something else")
    return found


def remarks_of(
    address: str, kind: RemarkKind, first_second: int | None = None, last_second: int | None = None
) -> tuple[Any, ...]:
    """Read the remarks of one kind, in the order in which they were kept.

    The range is of a remark's own second: of a clock state, condition, lapse or statement when it was noticed, of a
    suspicion or an amendment its first.

    Raises:
        LedgerError: If the ledger can't be read.
    """
    with snapshot(address) as connection:
        return tuple(read_remarks(connection, kind, first_second, last_second))


def read_remarks(
    connection: Connection, kind: RemarkKind, first_second: int | None = None, last_second: int | None = None
) -> Iterator[Any]:
    """Read the same in the caller's transaction."""
    columns = tables.remark.c
    query = select(columns.kind, columns.body).where(columns.kind == str(kind))
    if first_second is not None:
        query = query.where(columns.second >= first_second)
    if last_second is not None:
        query = query.where(columns.second <= last_second)
    for row in connection.execute(query.order_by(columns.batch, columns.position)):
        yield remark_of_body(row.kind, row.body)


def evidence_text(evidence: tuple[ControlOutcome, ...]) -> str | None:
    """Write down the rule and the controls that a corroborated verdict rests on; None for every other verdict."""
    if not evidence:
        return None
    controls = [
        {
            "control": outcome.control,
            "started_us": outcome.started_us,
            "duration_us": outcome.duration_us,
            "cause": str(outcome.cause),
        }
        for outcome in evidence
    ]
    return canonical_json({"rule": CORROBORATION, "controls": controls})


def evidence_of_text(text: Field, second: int) -> tuple[ControlOutcome, ...]:
    """Read the evidence of a verdict back.

    Raises:
        ValueError: If it is not what `evidence_text` writes.
    """
    if text is None:
        return ()
    try:
        return tuple(
            ControlOutcome(
                control=plain["control"],
                second=second,
                started_us=plain["started_us"],
                duration_us=plain["duration_us"],
                worked=True,
                cause=Cause(plain["cause"]),
            )
            for plain in json.loads(str(text))["controls"]
        )
    except (KeyError, TypeError) as error:
        raise ValueError(f"the evidence cannot be read: {error!r}") from error


def _place(remark: Kept) -> tuple[str, str, int]:
    """Give what a remark is found by: its kind, its target and its second."""
    match remark:
        case ClockState():
            return RemarkKind.CLOCK, "", remark.second
        case Condition():
            return RemarkKind.CONDITION, remark.target, remark.noticed_second
        case Suspicion():
            return RemarkKind.SUSPICION, remark.target, remark.first_second
        case Amendment():
            return RemarkKind.AMENDMENT, remark.target, remark.first_second
        case Statement():
            return RemarkKind.STATEMENT, remark.source, remark.second
        case Happening() | CaseHappening():
            return kind_of(remark), remark.target, remark.recorded_us // _SECOND_US
        case Lapse():
            return RemarkKind.LAPSE, remark.target, remark.noticed_us // _SECOND_US
