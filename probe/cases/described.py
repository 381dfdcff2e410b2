"""A Support Case as JSON has it, for scripts."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from probe.core.case_happenings import Case, CaseHappening
from probe.core.case_obligations import CaseObligation

SECOND_US: Final = 1_000_000


def case_of(case: Case, owed: Iterable[CaseObligation]) -> dict[str, Any]:
    """Say where a case stands, what is owed in it, and all that happened."""
    return {
        **case_summary_of(case, owed),
        "happenings": [_happening(one) for one in case.happenings],
        "unfitting": [{**_happening(one), "refusal": why} for one, why in case.unfitting],
    }


def case_summary_of(case: Case, owed: Iterable[CaseObligation]) -> dict[str, Any]:
    """Say where a case stands, and what is owed in it."""
    return {
        "case": case.case,
        "target": case.target,
        "kind": case.kind,
        "title": case.title,
        "words": case.words,
        "stage": case.stage,
        "revision": case.revision,
        "first_second": case.first_second or None,
        "last_second": case.last_second or None,
        "cause": case.cause or None,
        "unavailable_seconds": case.seconds or None,
        "through_second": case.through_second or None,
        "opened": _iso(case.opened_us),
        "submitted": _iso(case.submitted_us),
        "answered": _iso(case.answered_us),
        "escalated": _iso(case.escalated_us),
        "agreed": {party: _iso(at_us) for party, at_us in case.agreed},
        "resolved": _iso(case.resolved_us),
        "withdrawn": _iso(case.withdrawn_us),
        "references": list(case.references),
        "obligations": [
            {
                "obligation": one.name,
                "owed_by": one.owed_by,
                "due": _iso(one.due_us),
                "state": one.state,
                "met": _iso(one.met_us),
            }
            for one in owed
        ],
    }


def _iso(moment_us: int) -> str | None:
    return f"{datetime.fromtimestamp(moment_us // SECOND_US, UTC):%Y-%m-%dT%H:%M:%SZ}" if moment_us else None


def _happening(one: CaseHappening) -> dict[str, Any]:
    return {
        "happening": one.happening,
        "act": one.act,
        "at": _iso(one.at_us),
        "recorded": _iso(one.recorded_us),
        "actor": one.actor,
        "words": one.words,
        "way": one.way,
        "reference": one.reference,
        "party": one.party,
        "spoken_to": one.spoken_to,
        "next_update": _iso(one.next_update_us),
    }
