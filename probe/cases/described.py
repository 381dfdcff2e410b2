"""A Support Case as JSON has it, for scripts."""

from collections.abc import Iterable
from typing import Any

from probe.core.case_happenings import Case, CaseHappening
from probe.core.case_obligations import CaseObligation
from probe.times import utc_of


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
        "opened": utc_of(case.opened_us),
        "submitted": utc_of(case.submitted_us),
        "answered": utc_of(case.answered_us),
        "escalated": utc_of(case.escalated_us),
        "agreed": {party: utc_of(at_us) for party, at_us in case.agreed},
        "resolved": utc_of(case.resolved_us),
        "withdrawn": utc_of(case.withdrawn_us),
        "references": list(case.references),
        "obligations": [
            {
                "obligation": one.name,
                "owed_by": one.owed_by,
                "due": utc_of(one.due_us),
                "state": one.state,
                "met": utc_of(one.met_us),
            }
            for one in owed
        ],
    }


def _happening(one: CaseHappening) -> dict[str, Any]:
    return {
        "happening": one.happening,
        "act": one.act,
        "at": utc_of(one.at_us),
        "recorded": utc_of(one.recorded_us),
        "actor": one.actor,
        "words": one.words,
        "way": one.way,
        "reference": one.reference,
        "party": one.party,
        "spoken_to": one.spoken_to,
        "next_update": utc_of(one.next_update_us),
    }
