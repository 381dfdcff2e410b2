"""Each courier over a real socket: what its receiver gets, and what is said when it fails."""

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from probe import clock
from probe.core.model import IssueEvent
from probe.core.notices import Wording, notice_of, trial
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
