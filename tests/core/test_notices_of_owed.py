"""What people are told of missed obligations and of Support Cases."""

from dataclasses import replace

import pytest

from probe.core.case_happenings import CaseAct, CaseHappening, CaseKind, CaseStage, named_case
from probe.core.case_obligations import CaseDuty
from probe.core.happenings import PROGRAM, Act, Happening, Party
from probe.core.lapses import Lapse
from probe.core.notices import (
    Bearing,
    CaseTurn,
    LifeTurn,
    Notice,
    Severity,
    Wording,
    notice_of,
    still_lasting,
    wants_call_sheet,
)
from probe.core.obligations import Duty

DUE_S = 1_764_000_900
LAPSE = Lapse(
    target="main",
    issue="main-a",
    obligation=Duty.CALL_BACK,
    owed_by=Party.PROVIDER,
    due_us=DUE_S * 1_000_000,
    noticed_us=(DUE_S + 1) * 1_000_000,
    raised=True,
    words="the record has none; the provider's reference is S1-4711",
)
OVER = replace(LAPSE, raised=False, noticed_us=LAPSE.noticed_us + 60_000_000, words="it came 30 s late, at NOON")
WITH_LINE = Wording(vantage="here")
WITHOUT_LINE = Wording(vantage="here", without_line=frozenset({"main"}))


def test_a_missed_call_back_says_who_owes_what_and_what_to_do() -> None:
    """It pages whoever is on call for the line, with the reference to quote."""
    notice = notice_of(LAPSE, WITH_LINE)
    assert notice.text == (
        "The provider owed the call back by 2025-11-24 16:15:00 UTC: the record has none; the provider's reference is "
        "S1-4711. Call the Severity 1 line again, quote the reference, and ask the Technical Account Manager to step "
        "in. If they did call back, record it with its true time: sev1probe issue called-back main-a --at TIME. Issue "
        "main-a, seen from here."
    )
    assert notice == Notice(
        key=f"here/main-a/call_back/{LAPSE.due_us}/missed",
        thread=f"here/main-a/call_back/{LAPSE.due_us}",
        kind="obligation.missed",
        name="Sev1probeObligationMissed",
        vantage="here",
        target="main",
        issue="main-a",
        bearing=Bearing.BEGINS,
        severity=Severity.CRITICAL,
        title="Missed by the provider: call back, main",
        text=notice.text,
        since_second=DUE_S,
        noticed_second=DUE_S + 1,
        obligation="call_back",
        owed_by="provider",
        due_second=DUE_S,
        line="severity-1",
    )


def test_it_lasts_until_it_is_over() -> None:
    """The end is of the same thread and says why; another obligation of the issue is another thread."""
    missed, over = notice_of(LAPSE, WITH_LINE), notice_of(OVER, WITH_LINE)
    other = notice_of(replace(LAPSE, obligation=Duty.UPDATE), WITH_LINE)
    assert over.kind == "obligation.over"
    assert "it came 30 s late, at NOON. Issue main-a" in over.text
    assert (over.severity, over.bearing, over.key != missed.key) == (missed.severity, Bearing.ENDS, True)
    assert list(still_lasting([missed, other]).values()) == [missed, other]
    assert list(still_lasting([missed, other, over]).values()) == [other]


@pytest.mark.parametrize(
    ("obligation", "wording", "severity", "line", "asked"),
    [
        (Duty.CALL_LINE, WITH_LINE, "critical", "severity-1", "Call the provider's Severity 1 line now"),
        (Duty.CALL_BACK, WITH_LINE, "critical", "severity-1", "Call the Severity 1 line again"),
        (Duty.UPDATE, WITH_LINE, "warning", "", "agree on the next update"),
        (Duty.SUBMIT_CASE, WITHOUT_LINE, "critical", "", "Submit a Support Case now"),
        (Duty.UPDATE, WITHOUT_LINE, "warning", "", "Ask for it in the Support Case"),
        # The profile was changed while it was owed.
        (Duty.CALL_LINE, WITHOUT_LINE, "critical", "", "Call the provider's Severity 1 line now"),
        (Duty.SUBMIT_CASE, WITH_LINE, "critical", "severity-1", "Submit a Support Case now"),
    ],
)
def test_every_obligation_of_an_issue_has_its_severity_and_its_advice(
    obligation: Duty, wording: Wording, severity: str, line: str, asked: str
) -> None:
    """Critical is that without which nobody works on it; a profile without a line names none."""
    notice = notice_of(replace(LAPSE, obligation=obligation), wording)
    assert (notice.severity, notice.line) == (severity, line)
    assert asked in notice.text
    assert "{" not in notice.text


@pytest.mark.parametrize(
    ("obligation", "without", "said"),
    [
        (Duty.CALL_LINE, frozenset(), "Call the provider's Severity 1 line now (+1 555 0100), and record it"),
        (Duty.CALL_BACK, frozenset(), "Call the Severity 1 line again (+1 555 0100), quote"),
        (Duty.SUBMIT_CASE, {"main"}, "Technical Account Manager in Business Hours (+1 555 0100), and record both"),
        # The number is that of the profile of today.
        (Duty.SUBMIT_CASE, frozenset(), "Technical Account Manager in Business Hours, and record both"),
    ],
)
def test_the_number_to_call_stands_where_it_is_known(obligation: Duty, without: frozenset[str], said: str) -> None:
    """As in the notice of the opening."""
    wording = Wording(vantage="here", without_line=frozenset(without), calls={"main": "+1 555 0100"})
    assert said in notice_of(replace(LAPSE, obligation=obligation), wording).text


def test_the_call_sheet_goes_with_whatever_asks_for_a_call() -> None:
    """Not with an update, nor with what is over, nor in a case."""
    update, of_case = replace(LAPSE, obligation=Duty.UPDATE), replace(LAPSE, issue="", case="c", obligation="update")
    wanted = [wants_call_sheet(notice_of(lapse, WITH_LINE)) for lapse in (LAPSE, update, OVER, of_case)]
    assert wanted == [True, False, False, False]


@pytest.mark.parametrize(("duty", "what"), [(CaseDuty.RESPOND, "first answer"), (CaseDuty.UPDATE, "update")])
def test_a_missed_obligation_of_a_case_is_a_warning(duty: CaseDuty, what: str) -> None:
    """It names the case, and the Technical Account Manager."""
    notice = notice_of(replace(LAPSE, issue="", case="case-0a1b2c3d", obligation=duty), WITH_LINE)
    assert (notice.severity, notice.line, notice.issue, notice.case) == ("warning", "", "", "case-0a1b2c3d")
    assert notice.obligation == f"case_{duty}"
    assert notice.thread.startswith(f"here/case-0a1b2c3d/case_{duty}/")
    assert f"The provider owed the {what} by" in notice.text
    assert "call the Technical Account Manager in Business Hours" in notice.text


def test_a_lapse_that_can_not_be_kept_yet_says_so_and_has_the_same_key() -> None:
    """A full disk keeps nobody from being called."""
    notice = notice_of(LAPSE, WITH_LINE, recorded=False)
    assert (notice.recorded, notice.key) == (False, notice_of(LAPSE, WITH_LINE).key)
    assert "NOT YET RECORDED" in notice.text


def case_turn(act: CaseAct, *, actor: str = "nina", over: CaseStage | None = None) -> CaseTurn:
    """Make something that happened in a case."""
    at_us = DUE_S * 1_000_000
    happening = CaseHappening(
        case="case-0a1b2c3d", target="main", act=act, at_us=at_us, recorded_us=at_us + 5_000_000, actor=actor,
        words="12 unavailable seconds", kind=CaseKind.SOFTWARE_BUG,
    )  # fmt: skip
    return CaseTurn(what=named_case(happening), title="HTTP 503 at times", over=over)


def test_a_draft_of_the_program_asks_for_review() -> None:
    """It is a warning, since somebody has to look at it, and lasts no longer than it is told."""
    notice = notice_of(case_turn(CaseAct.DRAFTED, actor=PROGRAM), WITH_LINE)
    assert (notice.kind, notice.bearing, notice.severity) == ("support_case.drafted", "notes", "warning")
    assert notice.text == (
        "sev1probe recorded the draft, at 2025-11-24 16:15:00 UTC: 12 unavailable seconds. Support Case case-0a1b2c3d, "
        "“HTTP 503 at times”. Review it: sev1probe case show case-0a1b2c3d."
    )


def test_what_people_do_with_a_case_is_noted() -> None:
    """All of a case is one thread, for information; the end is said."""
    turns = [case_turn(act) for act in CaseAct]
    turns.append(case_turn(CaseAct.AGREED, over=CaseStage.RESOLVED))
    notices = [notice_of(turn, WITH_LINE) for turn in turns]
    assert {notice.thread for notice in notices} == {"here/case-0a1b2c3d"}
    assert {(notice.severity, notice.bearing, notice.case) for notice in notices} == {
        ("info", "notes", "case-0a1b2c3d")
    }
    assert [notice.kind for notice in notices] == [
        *(f"support_case.{act}" for act in CaseAct),
        "support_case.resolved",
    ]
    assert notices[-1].text.endswith("With that it is resolved.")
    assert len({notice.key for notice in notices[:-1]}) == len(CaseAct)


def test_what_people_told_is_told_with_its_particulars() -> None:
    """Whoever reads it can quote the reference, and knows until when to wait; words that end have one full stop."""
    called = Happening(
        target="main", issue="main-a", act=Act.LINE_CALLED, at_us=DUE_S * 1_000_000, recorded_us=DUE_S * 1_000_000,
        actor="nina", spoken_to="Ana", reference="S1-4711",
    )  # fmt: skip
    said = notice_of(LifeTurn(what=called, issue="main-a"), WITH_LINE).text
    assert said == "nina recorded the call, at 2025-11-24 16:15:00 UTC, to Ana, reference S1-4711. Issue main-a."
    update = replace(
        called,
        act=Act.UPDATED,
        spoken_to="",
        reference="",
        words="Why? We look.",
        next_update_us=(DUE_S + 60) * 1_000_000,
    )
    said = notice_of(LifeTurn(what=update, issue="main-a"), WITH_LINE).text
    assert ", next update 2025-11-24 16:16:00 UTC: Why? We look. Issue main-a." in said
