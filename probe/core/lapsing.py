"""When an obligation lapses: what the program notes of those that did not come by their time.

An obligation is derived from what happened and stored nowhere. That the program saw it missed is a fact of its own: it
paged somebody. So each is noted once, when it is seen that its time has passed without it, and once more when it is no
longer owed: it came late; it had come in time, as was told afterwards; or all is over. One that is found to have come
late already is noted as over and never as raised: there is nobody to page.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from probe.core.case_happenings import Case
from probe.core.case_obligations import CaseDuty, CaseObligation
from probe.core.happenings import Party
from probe.core.lapses import Key, Lapse
from probe.core.lives import Life
from probe.core.moments import utc
from probe.core.obligations import Duty, Obligation, ObligationState

SECOND_US: Final = 1_000_000
NOT_TOLD: Final = "the record has none"
NOT_WATCHED: Final = "the target is not watched any more"
ANOTHER_TIME: Final = "it is due at another time, by what was told or agreed since"


@dataclass(frozen=True, slots=True, kw_only=True)
class Debt:
    """An obligation with whom it belongs to: an issue or a case. `reference` is how the provider knows that."""

    target: str
    issue: str = ""
    case: str = ""
    obligation: Duty | CaseDuty
    owed_by: Party
    due_us: int
    state: ObligationState
    met_us: int = 0
    reference: str = ""

    @property
    def subject(self) -> str:
        """Give the id of the issue or the case."""
        return self.issue or self.case

    @property
    def key(self) -> Key:
        """Name it as its lapse is named."""
        return self.subject, str(self.obligation), self.due_us


def debt_of_issue(life: Life, owed: Obligation) -> Debt:
    """Say of an obligation which issue it belongs to."""
    return Debt(
        target=life.target,
        issue=life.issue,
        obligation=owed.name,
        owed_by=owed.owed_by,
        due_us=owed.due_us,
        state=owed.state,
        met_us=owed.met_us,
        reference=", ".join(life.procedure.references or life.procedure.cases),
    )


def debt_of_case(case: Case, owed: CaseObligation) -> Debt:
    """Say of an obligation which case it belongs to."""
    return Debt(
        target=case.target,
        case=case.case,
        obligation=owed.name,
        owed_by=owed.owed_by,
        due_us=owed.due_us,
        state=owed.state,
        met_us=owed.met_us,
        reference=", ".join(case.references),
    )


def ending_of_issue(life: Life) -> str:
    """Say why nothing more is owed in an issue; "" if something is."""
    return f"the issue is {life.procedure.stage}" if life.procedure.is_over else ""


def ending_of_case(case: Case) -> str:
    """Say why nothing more is owed in a case; "" if something is."""
    return f"the case is {case.stage}" if case.over_us else ""


def changes(
    noted: Mapping[Key, Lapse], debts: Iterable[Debt], endings: Mapping[str, str], now_us: int
) -> tuple[Lapse, ...]:
    """List what is to be noted now, what is over before what is raised.

    `noted` has the last turn of each lapse, and `debts` every obligation of the issues or cases that `endings` names,
    each with why it is over, "" if it is not. What is noted of others stays.
    """
    known = {debt.key: debt for debt in debts}
    over = [
        replace(lapse, raised=False, noticed_us=now_us, words=why)
        for key, lapse in noted.items()
        if lapse.raised and (why := _why_over(lapse, known.get(key), endings))
    ]
    raised: list[Lapse] = []
    for key, debt in known.items():
        if debt.state is ObligationState.MISSED and key not in noted and not endings[debt.subject]:
            (over if debt.met_us else raised).append(_noticed(debt, now_us))
    return (*over, *raised)


def _why_over(lapse: Lapse, debt: Debt | None, endings: Mapping[str, str]) -> str:
    """Say why what was missed is no longer owed; "" if it is, or nobody knows."""
    if debt is not None and debt.met_us:
        return _came(debt)
    ending = endings.get(lapse.subject)
    return ANOTHER_TIME if ending == "" and debt is None else ending or ""


def _noticed(debt: Debt, now_us: int) -> Lapse:
    reference = f"; the provider's reference is {debt.reference}" if debt.reference else ""
    return Lapse(
        target=debt.target,
        issue=debt.issue,
        case=debt.case,
        obligation=str(debt.obligation),
        owed_by=debt.owed_by,
        due_us=debt.due_us,
        noticed_us=now_us,
        raised=not debt.met_us,
        words=_came(debt) if debt.met_us else f"{NOT_TOLD}{reference}",
    )


def _came(debt: Debt) -> str:
    at = utc(debt.met_us // SECOND_US)
    late_us = debt.met_us - debt.due_us
    if late_us <= 0:
        return f"it came in time after all, at {at}, as was told afterwards"
    minutes, seconds = divmod(-(-late_us // SECOND_US), 60)
    late = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    return f"it came {late} late, at {at}"
