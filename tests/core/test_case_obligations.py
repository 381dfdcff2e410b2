"""What the provider owes in a Support Case: in business time, by a calendar written by hand."""

from datetime import UTC, date, datetime, time
from zoneinfo import ZoneInfo

import pytest

from probe.core.calendar import BusinessHours
from probe.core.case_happenings import Case, CaseAct, CaseHappening, CaseKind, Way, named_case
from probe.core.case_obligations import CaseDuty, CasePledges, case_obligations
from probe.core.cases import tell_case
from probe.core.happenings import Party
from probe.core.obligations import ObligationState

HOLIDAY = date(2026, 7, 3)
PLEDGES = CasePledges(
    hours=BusinessHours(
        name="us-eastern",
        zone=ZoneInfo("America/New_York"),
        opens=time(9),
        closes=time(17),
        holiday=lambda day: "Independence Day" if day == HOLIDAY else "",
    )
)
SECOND_US = 1_000_000


def us(text: str) -> int:
    """Read a moment in New York as microseconds."""
    moment = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("America/New_York"))
    return int(moment.astimezone(UTC).timestamp()) * SECOND_US


def case(*said: tuple[CaseAct, str, Party | None, str]) -> Case:
    """Make a case that was opened and submitted on Thursday 2 July 2026 at 16:00 in New York, and what followed."""
    at_us = us("2026-07-02T16:00")
    opening = named_case(
        CaseHappening(
            target="main", act=CaseAct.OPENED, at_us=at_us, recorded_us=at_us, actor="nina",
            kind=CaseKind.INFORMATION_REQUEST, title="limits",
        )
    )  # fmt: skip
    made = tell_case(None, opening)
    entries = [(CaseAct.SUBMITTED, "2026-07-02T16:00", None, ""), *said]
    for act, text, party, promised in entries:
        is_submission = act is CaseAct.SUBMITTED
        happening = CaseHappening(
            case=opening.case, target="main", act=act, at_us=us(text), recorded_us=us(text), actor="nina", words="said",
            party=party, way=Way.MAIL if is_submission else None, reference="<a@b>" if is_submission else "",
            next_update_us=us(promised) if promised else 0,
        )  # fmt: skip
        made = tell_case(made, named_case(happening))
    return made


def owed(made: Case, now: str) -> list[tuple[CaseDuty, int, ObligationState]]:
    """List what is owed at a moment."""
    return [(one.name, one.due_us, one.state) for one in case_obligations(made, PLEDGES, us(now))]


def test_an_answer_is_due_after_business_time_alone() -> None:
    """Of eight hours one is left on the Thursday; the Friday is a holiday, so seven are on the Monday."""
    due_us = us("2026-07-06T16:00")
    assert owed(case(), "2026-07-06T16:00") == [(CaseDuty.RESPOND, due_us, ObligationState.PENDING)]
    assert owed(case(), "2026-07-06T16:01") == [(CaseDuty.RESPOND, due_us, ObligationState.MISSED)]


@pytest.mark.parametrize(
    ("answered", "state"),
    [("2026-07-06T16:00", ObligationState.MET), ("2026-07-06T16:01", ObligationState.MISSED)],
)
def test_an_answer_that_came_is_met_or_missed_for_ever(answered: str, state: ObligationState) -> None:
    """What the customer wrote is no answer, and after the answer updates are due, each from the one before."""
    made = case(
        (CaseAct.REPLIED, "2026-07-02T16:30", Party.CUSTOMER, ""),
        (CaseAct.REPLIED, answered, Party.PROVIDER, "2026-07-07T12:00"),
        (CaseAct.UPDATED, "2026-07-07T11:00", None, ""),
    )
    assert owed(made, "2026-08-30T12:00") == [
        (CaseDuty.RESPOND, us("2026-07-06T16:00"), state),
        (CaseDuty.UPDATE, us("2026-07-07T12:00"), ObligationState.MET),
        (CaseDuty.UPDATE, us("2026-07-10T11:00"), ObligationState.MISSED),
    ]


def test_what_is_not_due_yet_when_a_case_is_over_lapses() -> None:
    """Nobody owes anything in a case that was withdrawn in time."""
    assert owed(case((CaseAct.WITHDRAWN, "2026-07-06T15:00", None, "")), "2026-08-30T12:00") == []
