"""Each courier over a real socket: what its receiver gets, and what is said when it fails."""

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from probe import clock
from probe.core.case_happenings import CaseAct, CaseHappening
from probe.core.happenings import PROGRAM, Party
from probe.core.lapses import Lapse
from probe.core.model import IssueEvent
from probe.core.notices import CaseTurn, LifeTurn, Wording, notice_of, trial
from probe.core.obligations import Duty
from probe.notify import CourierCharge, CourierError, build, tell_in_time

if TYPE_CHECKING:
    from tests.edges.notify.conftest import Receiver

SECRET = "hunter2-unique-4711"

MakeCharge = Callable[..., CourierCharge]


async def tell(charge: CourierCharge, notice: Any) -> None:
    """Tell one notice through a courier of its own."""
    courier = build(charge)
    try:
        await tell_in_time(courier, charge, notice)
    finally:
        await courier.close()


async def test_a_webhook_is_signed_over_its_timestamp_and_body(
    receiver: "Receiver", charge: MakeCharge, turns: Callable[..., IssueEvent]
) -> None:
    """A receiver that shares the secret can prove by plain HMAC-SHA256 that it is ours and new."""
    notice = notice_of(turns(0), Wording(vantage="here"))
    await tell(charge("webhook", receiver.url, headers=(("Authorization", "Bearer x"),)), notice)

    ((headers, body),) = receiver.taken
    timestamp = headers["Sev1probe-Timestamp"]
    expected = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["Sev1probe-Signature"] == f"v1={expected}"
    assert abs(int(timestamp) - clock.wall_us() / 1e6) < 10
    assert headers["Idempotency-Key"] == f'"{notice.key}"'
    assert headers["Authorization"] == "Bearer x"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["key"] == notice.key == "here/main-a/opened/1764000060"


async def test_an_alert_has_the_labels_that_routes_go_by(
    receiver: "Receiver", charge: MakeCharge, turns: Callable[..., IssueEvent]
) -> None:
    """Target, issue, severity and the line to call; what is empty is left out, and the user's labels come on top."""
    more = {"repeat_s": 60.0, "labels": (("team", "mail"),)}
    await tell(charge("alertmanager", receiver.url + "/prefix", **more), notice_of(turns(0), Wording(vantage="here")))
    without = Wording(vantage="here", without_line=frozenset({"main"}))
    await tell(charge("alertmanager", receiver.url, **more), notice_of(turns(0), without))

    (first,), (second,) = receiver.bodies
    assert first["labels"] == {
        "alertname": "Sev1probeCriticalIssue",
        "target": "main",
        "issue": "main-a",
        "severity": "critical",
        "line": "severity-1",
        "vantage": "here",
        "team": "mail",
    }
    assert first["annotations"]["summary"] == "Critical Issue: main is unavailable"
    assert "Call the provider's Severity 1 line." in first["annotations"]["description"]
    assert "line" not in second["labels"]
    assert "Technical Account Manager" in second["annotations"]["description"]


MISSED = Lapse(
    target="main",
    issue="main-a",
    obligation=Duty.CALL_BACK,
    owed_by=Party.PROVIDER,
    due_us=1_764_000_900_000_000,
    noticed_us=1_764_000_901_000_000,
    raised=True,
    words="the record has none",
)


async def test_a_missed_obligation_is_an_alert_of_its_own_until_it_is_over(
    receiver: "Receiver", charge: MakeCharge
) -> None:
    """It has the labels of whoever is on call for the issue, and ends with the labels that it began with."""
    wording, courier = Wording(vantage="here"), charge("alertmanager", receiver.url, repeat_s=60.0)
    await tell(courier, notice_of(MISSED, wording))
    await tell(courier, notice_of(replace(MISSED, raised=False, noticed_us=1_764_000_999_000_000), wording))
    await tell(charge("webhook", receiver.url), notice_of(MISSED, wording))

    (missed,), (over,), body = receiver.bodies
    assert missed["labels"] == {
        "alertname": "Sev1probeObligationMissed",
        "target": "main",
        "issue": "main-a",
        "obligation": "call_back",
        "owed_by": "provider",
        "due": "2025-11-24T16:15:00Z",
        "severity": "critical",
        "line": "severity-1",
        "vantage": "here",
    }
    assert missed["startsAt"] == "2025-11-24T16:15:00Z"
    assert over["labels"] == missed["labels"]
    assert over["endsAt"] == "2025-11-24T16:16:39Z"
    told = {name: body[name] for name in ("kind", "obligation", "owed_by", "due", "due_second", "case")}
    assert told == {
        "kind": "obligation.missed",
        "obligation": "call_back",
        "owed_by": "provider",
        "due": "2025-11-24T16:15:00Z",
        "due_second": 1_764_000_900,
        "case": "",
    }


async def test_of_a_case_only_what_the_program_drafted_is_an_alert(receiver: "Receiver", charge: MakeCharge) -> None:
    """What people did they know; a webhook is told of both."""
    draft = CaseHappening(
        case="case-0a1b2c3d",
        target="main",
        act=CaseAct.DRAFTED,
        at_us=1_764_000_900_000_000,
        recorded_us=1_764_000_900_000_000,
        actor=PROGRAM,
        happening="d1",
    )
    opening = replace(draft, act=CaseAct.OPENED, actor="nina", happening="o1")
    for kind in ("alertmanager", "webhook"):
        for happening in (draft, opening):
            turn = CaseTurn(what=happening, title="HTTP 503 at times")
            await tell(charge(kind, receiver.url, repeat_s=60.0), notice_of(turn, Wording(vantage="here")))

    (alert,), *bodies = receiver.bodies
    assert alert["labels"] == {
        "alertname": "Sev1probeSupportCase",
        "target": "main",
        "case": "case-0a1b2c3d",
        "severity": "warning",
        "vantage": "here",
    }
    assert "sev1probe case show case-0a1b2c3d" in alert["annotations"]["description"]
    assert [body["kind"] for body in bodies] == ["support_case.drafted", "support_case.opened"]
    assert {body["thread"] for body in bodies} == {"here/case-0a1b2c3d"}


async def test_a_relapse_is_an_alert_of_its_own(
    receiver: "Receiver", charge: MakeCharge, turns: Callable[..., IssueEvent]
) -> None:
    """The issue's alert goes on under its first name; one that was acknowledged hours ago would page nobody."""
    relapse = notice_of(LifeTurn(issue="main-a", what=turns(900, issue="main-b")), Wording(vantage="here"))
    await tell(charge("alertmanager", receiver.url, repeat_s=60.0), relapse)

    ((issue, again),) = receiver.bodies
    assert (issue["labels"]["alertname"], again["labels"]["alertname"]) == (
        "Sev1probeCriticalIssue",
        "Sev1probeCriticalIssueRelapsed",
    )
    assert {label: again["labels"][label] for label in ("issue", "line", "severity", "about")} == {
        "issue": "main-a",
        "line": "severity-1",
        "severity": "critical",
        "about": "issue",
    }


async def test_apprise_tells_what_its_url_stands_for(
    receiver: "Receiver", charge: MakeCharge, turns: Callable[..., IssueEvent]
) -> None:
    """Title, text and kind of a notice arrive at a json:// service."""
    url = receiver.url.replace("http://", "json://user:hunter2@") + "/hunter2-path/"
    await tell(charge("apprise", url), notice_of(turns(0), Wording(vantage="here")))
    await tell(charge("apprise", url), notice_of(turns(200, over=True), Wording(vantage="here")))

    opened, restored = receiver.bodies
    assert (opened["title"], opened["type"]) == ("Critical Issue: main is unavailable", "failure")
    assert (restored["title"], restored["type"]) == ("Service restored: main", "info")
    assert "Issue main-a." in opened["message"]


@pytest.mark.parametrize(("sheet", "arrives"), [("CALL: +1 555 0100", True), ("x" * 9_000 + "the end", False)])
async def test_a_call_sheet_goes_with_the_page_and_never_keeps_it_from_going(
    receiver: "Receiver", charge: MakeCharge, turns: Callable[..., IssueEvent], sheet: str, arrives: bool
) -> None:
    """Every way of telling carries it; where a service takes less (ntfy: 7,800 characters), its end is cut off."""
    wording = Wording(vantage="here", calls={"main": "+1 555 0100"})
    notice = replace(notice_of(turns(0), wording), call_sheet=sheet)
    ntfy = receiver.url.replace("http://", "ntfy://") + "/topic"
    for kind, url in (("webhook", receiver.url), ("alertmanager", receiver.url), ("apprise", ntfy)):
        await tell(charge(kind, url, repeat_s=60.0), notice)

    webhook, (alert,), told = receiver.bodies
    assert (webhook["call_sheet"], alert["annotations"]["call_sheet"]) == (sheet, sheet)
    assert "Call the provider's Severity 1 line: +1 555 0100." in told["message"]
    assert (sheet[-15:] in told["message"]) == arrives


@pytest.mark.parametrize(
    ("kind", "answers", "words"),
    [
        ("webhook", 307, "the receiver answers HTTP 307"),
        ("webhook", 400, "the receiver refuses it: HTTP 400"),
        ("alertmanager", 503, "the receiver answers HTTP 503"),
        ("apprise", 500, "the service did not take it"),
        ("webhook", 0, "no answer within 0.2 s"),
        ("apprise", 0, "no answer within 0.2 s"),
    ],
)
async def test_a_failure_is_said_in_words_without_an_address(
    receiver: "Receiver",
    charge: MakeCharge,
    kind: str,
    answers: int,
    words: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """What a receiver answers is told, and neither it nor the library's own log shows the URL."""
    receiver.answers, receiver.hangs = [answers], not answers
    scheme = "json://user:hunter2@" if kind == "apprise" else "http://"
    url = receiver.url.replace("http://", scheme) + "/hunter2-path"
    made = charge(kind, url, timeout_s=0.2 if not answers else 2.0, repeat_s=1.0)
    with pytest.raises(CourierError) as raised:
        await tell(made, trial("here", 1_764_000_000))

    assert str(raised.value) == words
    assert "hunter2" not in "".join(capfd.readouterr())
    assert raised.value.__cause__ is None


def test_a_url_that_apprise_does_not_know_is_refused_without_being_shown(charge: MakeCharge) -> None:
    """The sentence names the courier."""
    with pytest.raises(ValueError, match="courier apprise: Apprise knows no service") as raised:
        build(charge("apprise", "nonsense://hunter2"))

    assert "hunter2" not in str(raised.value)
