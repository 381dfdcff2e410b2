"""What a call sheet says, by what the record holds."""

from dataclasses import replace
from datetime import UTC, timedelta, timezone
from typing import Any

import pytest

from probe.core.callsheet import MISSING, CallSheet, Contacts, Facts, call_sheet
from probe.core.evidence import gather
from probe.core.happenings import Act, Happening, named
from probe.core.lives import Life, add, lives_of
from probe.core.model import (
    Basis,
    Cause,
    ControlOutcome,
    Fault,
    IssueEvent,
    IssueTurn,
    Judgement,
    Outcome,
    Phase,
    Statement,
    Step,
    Surface,
    Verdict,
)
from probe.core.obligations import Pledges, obligations

S = 1_000_000
FIRST = 1_700_000_000  # 2023-11-14 22:13:20 UTC
CONTACTS = Contacts(
    company="Acme",
    contact_name="Nina",
    contact_phone="+49 30 1",
    contact_email="n@acme.example",
    severity_1_line="+1 555 0100",
    tam_name="Terry",
    tam_phone="+1 555 0101",
)


def outcome(surface: Surface, second: int, fault: Fault, cause: Cause, **more: Any) -> Outcome:
    """Make an outcome."""
    fields: dict[str, Any] = {
        "code": 421,
        "enhanced_code": "4.3.2",
        "reply": "4.3.2 closing",
        "message_id": f"{second}.{surface}",
    }
    return Outcome(
        target="main", surface=surface, second=second, ordinal=0, started_us=second * S, duration_us=2_500_000,
        fault=fault, cause=cause, phase=Phase.BANNER, **(fields | more),
    )  # fmt: skip


def step(second: int, *smtp: Outcome, basis: Basis = Basis.LITERAL) -> Step:
    """Make a second in which the API worked, and SMTP did what its outcomes say."""
    down = all(one.fault in (Fault.SERVER_ERROR, Fault.SERVER_TIMEOUT, Fault.NETWORK) for one in smtp)
    verdict, on = (Verdict.UNAVAILABLE, basis) if down else (Verdict.INCONCLUSIVE, Basis.NONE)
    api = outcome(Surface.API, second, Fault.NONE, Cause.ACCEPTED)
    return Step(
        target="main",
        second=second,
        seconds=1,
        verdict=verdict,
        basis=on,
        judgements=(
            Judgement(surface=Surface.API, verdict=Verdict.AVAILABLE, basis=Basis.NONE, attempts=1, accepted=1),
            Judgement(surface=Surface.SMTP, verdict=verdict, basis=on, attempts=len(smtp), accepted=0),
        ),
        outcomes=(api, *smtp),
    )


def control(name: str, second: int, *, worked: bool) -> ControlOutcome:
    """Make a control's outcome."""
    return ControlOutcome(control=name, second=second, started_us=0, duration_us=0, worked=worked, cause=Cause.ACCEPTED)


SEEN = [
    *[
        (
            step(
                FIRST + n,
                outcome(Surface.SMTP, FIRST + n, Fault.SERVER_ERROR, Cause.SERVICE_CLOSING),
                basis=Basis.CORROBORATED if n == 1 else Basis.LITERAL,
            ),
            [control("dns", FIRST + n, worked=True), control("web", FIRST + n, worked=n != 2)],
        )
        for n in range(4)
    ],
    (
        step(
            FIRST + 4,
            outcome(Surface.SMTP, FIRST + 4, Fault.SERVER_TIMEOUT, Cause.SILENT, code=0, enhanced_code="", reply=""),
        ),
        [control("dns", FIRST + 4, worked=True)],
    ),
    (step(FIRST + 5, outcome(Surface.SMTP, FIRST + 5, Fault.SELF, Cause.CAPPED)), [control("dns", 5, worked=False)]),
]
OPENED = IssueEvent(issue="main-1", target="main", turn=IssueTurn.OPENED, since_second=FIRST, noticed_second=FIRST + 60)
LIFE = lives_of([OPENED])["main-1"]
SUMMARY = Statement(
    source="provider/summary", second=FIRST, fetched_us=FIRST * S, code=200, trouble="", digest="d",
    body='{"status": {"description": "Partial outage"}, "incidents": [{"name": "SMTP \\ud800", "status": "open"}]}',
)  # fmt: skip


def sheet(life: Life = LIFE, pledges: Pledges = Pledges(), **more: Any) -> CallSheet:  # noqa: B008
    """Write a sheet."""
    now_us = more.pop("now_us", (FIRST + 70) * S)
    facts = {
        "contacts": CONTACTS,
        "profile": "sparkpost-enterprise",
        "vantage": "here",
        "evidence": gather("main", SEEN),
        "statements": (SUMMARY,),
        "owed": obligations(life, pledges, now_us),
        "zone": UTC,
        **more,
    }
    return call_sheet(Facts(life=life, pledges=pledges, now_us=now_us, **facts))


def test_the_description_is_made_of_the_record() -> None:
    """Which surfaces, since which second, how many of how many, and what happened."""
    found = sheet()
    assert found.call == "+1 555 0100"
    assert dict(found.say)["Company"] == "Acme"
    assert found.description[1:4] == (
        "In 5 of the 6 seconds up to 2023-11-14 22:13:25 UTC every attempt on a surface failed for a cause that lies "
        "with the service.",
        "API calls were not affected in these 6 seconds.",
        "SMTP injections: 5 of 6 seconds Unavailable since 2023-11-14 22:13:20 UTC, 1 of them by the word of our "
        "controls. What happened: service closing (4x), silent (1x).",
    )
    assert [(one.reply, one.message_id) for one in found.samples] == [
        ("421 4.3.2 closing", f"{FIRST + 3}.smtp"),
        ("no reply", f"{FIRST + 4}.smtp"),
    ]
    assert found.owed == ("pending: the customer is to call the Severity 1 line by 2023-11-14 22:19:20 UTC",)


def test_what_was_ruled_out_is_counted_in_the_unavailable_seconds() -> None:
    """Controls by name, and our own faults, which no second rests on."""
    assert sheet().ruled_out[:3] == (
        "Our network: the control dns worked in 5 of 5 unavailable seconds.",
        "Our network: the control web worked in 3 of 4 unavailable seconds.",
        "Our own faults: capped (1x). Seconds that rest on them are not counted.",
    )
    clean = gather("main", [(SEEN[0][0], ())])
    assert sheet(evidence=clean).ruled_out == (
        "Our network: no control was attempted, so only the service's own replies and silences count.",
        "Our own faults (credentials, quota, our host): none in this time.",
    )


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ((SUMMARY,), "“Partial outage; SMTP \ud800 (open)”"),
        ((SUMMARY, replace(SUMMARY, body="")), "“Partial outage; SMTP \ud800 (open)”"),
        ((SUMMARY, replace(SUMMARY, trouble="no reply", body="", digest="")), "no statement (no reply)."),
        ((replace(SUMMARY, body="[]"),), "it could not be read as a status page"),
        ((replace(SUMMARY, body="<html>"),), "it could not be read as a status page"),
        ((replace(SUMMARY, body='{"scheduled_maintenances": []}'),), "“nothing announced”"),
    ],
)
def test_the_status_page_is_quoted_as_it_said_last(statements: tuple[Statement, ...], said: str) -> None:
    """A body that is kept once is found by its digest, and nonsense costs nobody the sheet."""
    (line,) = sheet(statements=statements).status_page
    assert said in line


def test_times_have_the_callers_own_behind_them() -> None:
    """Both sides' logs are in UTC; the day is named where it is another one."""
    berlin = timezone(timedelta(hours=1), "CET")
    assert "2023-11-14 22:13:20 UTC (23:13:20 CET)" in sheet(zone=berlin).description[0]
    kiev = timezone(timedelta(hours=2), "EET")
    assert "(2023-11-15 00:13:20 EET)" in sheet(zone=kiev).description[0]


def test_without_a_line_a_case_and_the_tam_are_asked_for() -> None:
    """The newer contract's way."""
    found = sheet(pledges=Pledges(has_line=False), profile="bird-premium-email")
    assert found.call == "Terry, +1 555 0101"
    assert "Submit a Support Case" in found.do[0]
    assert "Technical Account Manager: Terry, +1 555 0101" in found.do[2]
    assert "Severity 1" not in " ".join(found.do)


def test_the_tam_is_named_with_his_hours_where_he_is_known() -> None:
    """Beside the line he is the escalation point; without one he is whom to call."""
    away = "Terry, +1 555 0101; not at work now (the weekend), but from 2023-11-20 14:00:00 UTC"
    for has_line in (True, False):
        said = " ".join(sheet(pledges=Pledges(has_line=has_line), tam=away).do)
        assert f"Technical Account Manager: {away}." in said
        assert "sev1probe issue escalated main-1" in said
    assert "escalated" not in " ".join(sheet().do)


def test_what_nobody_configured_is_said_so() -> None:
    """A gap is seen, and not passed over."""
    found = sheet(contacts=Contacts(), evidence=None, statements=())
    assert found.call == MISSING
    assert {value for _, value in found.say} == {MISSING}
    assert (found.samples, found.status_page) == ((), ())
    assert "no more can be said" in found.description[-1]


def test_a_restored_and_relapsed_issue_says_so() -> None:
    """Restored is not resolved."""
    up = IssueEvent(
        issue="main-1", target="main", turn=IssueTurn.RESTORED, since_second=FIRST + 20, noticed_second=FIRST + 30
    )
    again = replace(OPENED, issue="main-2", since_second=FIRST + 40)
    assert "relapsed once" in sheet(lives_of([OPENED, up, again])["main-2"]).description[1]
    assert "not a resolution yet" in sheet(lives_of([OPENED, up])["main-1"]).description[1]


def test_an_obligation_that_came_late_says_when() -> None:
    """The sheet shows it as missed."""
    called = named(
        Happening(
            target="main", issue="main-1", act=Act.LINE_CALLED, at_us=(FIRST + 400) * S, recorded_us=(FIRST + 400) * S,
            actor="nina",
        )
    )  # fmt: skip
    words = sheet(add(LIFE, called)).owed[0]
    assert words.startswith("missed: the customer was to call")
    assert words.endswith("came 2023-11-14 22:20:00 UTC")


def told(life: Life, act: Act, at_s: int, **more: Any) -> Life:
    """Go on by what somebody recorded at once."""
    at_us = (FIRST + at_s) * S
    fields: dict[str, Any] = {"at_us": at_us, "recorded_us": at_us, "actor": "nina", **more}
    return add(life, named(Happening(target="main", issue="main-1", act=act, **fields)))


def test_what_was_done_is_not_asked_for_again() -> None:
    """Whoever is woken second sees that the line was called, and by which reference they know of it."""
    assert sheet().do[0].endswith("Do it by 2023-11-14 22:19:20 UTC.")
    assert sheet(now_us=(FIRST + 400) * S).do[0].endswith("It was due by 2023-11-14 22:19:20 UTC: do it now.")
    called = sheet(told(LIFE, Act.LINE_CALLED, 100, reference="S1-4711")).do[0]
    assert "was called at 2023-11-14 22:15:00 UTC" in called
    assert called.endswith("call it again and quote S1-4711.")
    no_line = Pledges(has_line=False)
    submitted = sheet(told(LIFE, Act.CASE_SUBMITTED, 100, reference="4711"), no_line).do[0]
    assert submitted == "The Support Case was submitted at 2023-11-14 22:15:00 UTC (4711). Add to it what is new."


def test_a_relapse_asks_for_another_call_with_the_same_reference() -> None:
    """The first call was about the first outage."""
    up = replace(OPENED, turn=IssueTurn.RESTORED, since_second=FIRST + 120, noticed_second=FIRST + 130)
    again = replace(OPENED, issue="main-2", since_second=FIRST + 140, noticed_second=FIRST + 150)
    call = told(LIFE, Act.LINE_CALLED, 100, reference="S1-4711").happenings[-1]
    relapsed = lives_of([OPENED, call, up, again])["main-2"]
    assert "Call the Severity 1 line again, +1 555 0100, open day and night and quote S1-4711" in sheet(relapsed).do[0]
    assert "was called at 2023-11-14 22:16:10 UTC" in sheet(told(relapsed, Act.LINE_CALLED, 170)).do[0]


def test_a_call_in_time_stays_one_when_the_profile_is_changed() -> None:
    """Nobody owes a Support Case from a time at which the contract asked for a call."""
    life = told(LIFE, Act.LINE_CALLED, 100)
    owed = obligations(life, Pledges(has_line=False), (FIRST + 4_000) * S)
    assert [(one.name, one.state) for one in owed] == [("call_line", "met"), ("call_back", "missed")]
