"""An issue's life as JSON has it, for scripts and for the status body."""

from collections.abc import Iterable
from typing import Any

from probe.core.happenings import Happening
from probe.core.lapses import Lapse
from probe.core.lives import Life
from probe.core.obligations import Obligation
from probe.times import utc_of


def summary_of(life: Life, owed: Iterable[Obligation]) -> dict[str, Any]:
    """Say where an issue stands, and what each side owes."""
    state = life.procedure
    return {
        "issue": life.issue,
        "names": list(life.names),
        "target": life.target,
        "stage": state.stage,
        "revision": state.revision,
        "opened": utc_of(state.opened_us),
        "noticed": utc_of(state.noticed_us),
        "restored": utc_of(state.restored_us),
        "line_called": utc_of(state.line_called_us),
        "called_back": utc_of(state.called_back_us),
        "agreed": {party: utc_of(at_us) for party, at_us in state.agreed},
        "disagreed": list(state.disagreed),
        "resolved": utc_of(state.resolved_us),
        "reclassified": utc_of(state.reclassified_us),
        "relapses": state.relapses,
        "cases": list(state.cases),
        "references": list(state.references),
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


def lapses_of(lapses: Iterable[Lapse], subject: str) -> dict[str, Any]:
    """Say what the daemon noted of obligations that were missed in an issue or a case."""
    return {
        "lapses": [
            {
                "obligation": one.obligation,
                "owed_by": one.owed_by,
                "due": utc_of(one.due_us),
                "noticed": utc_of(one.noticed_us),
                "raised": one.raised,
                "words": one.words,
            }
            for one in lapses
            if one.subject == subject
        ]
    }


def whole_of(life: Life, owed: Iterable[Obligation]) -> dict[str, Any]:
    """Say the same, and all that happened."""
    return {
        **summary_of(life, owed),
        "happenings": [_happening(one) for one in life.happenings],
        "unfitting": [{**_happening(one), "refusal": why} for one, why in life.unfitting],
    }


def _happening(one: Happening) -> dict[str, Any]:
    return {
        "happening": one.happening,
        "act": one.act,
        "at": utc_of(one.at_us),
        "recorded": utc_of(one.recorded_us),
        "actor": one.actor,
        "words": one.words,
        "party": one.party,
        "spoken_to": one.spoken_to,
        "reference": one.reference,
        "next_update": utc_of(one.next_update_us),
    }
