"""A real Alertmanager on the example: who is told of what, and what is silenced by what."""

import json
import urllib.request
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.daemon.alerting.conftest import Pager


def alert(name: str, severity: str, target: str = "main", **labels: str) -> dict[str, Any]:
    """Describe an alert as the rules make it."""
    named = {"alertname": name, "severity": severity, "vantage": "ops-1", **({"target": target} if target else {})}
    return {"labels": {**named, **labels}, "annotations": {"summary": name}}


ISSUE = alert("Sev1probeCriticalIssue", "critical", line="severity-1", issue="main-1")
OTHER_VANTAGE = {**alert("Sev1probeShortUnavailability", "warning", about="service")}
OTHER_VANTAGE["labels"] = {**OTHER_VANTAGE["labels"], "vantage": "ops-2"}
# Each alert, and the alerts that silence it.
ALERTS: list[tuple[dict[str, Any], set[str]]] = [
    (ISSUE, set()),
    (alert("Sev1probeShortUnavailability", "warning", about="service"), {"Sev1probeCriticalIssue"}),
    (alert("Sev1probeBudgetBurningSlow", "info", about="service"), {"Sev1probeCriticalIssue"}),
    (alert("Sev1probeCriticalIssueRelapsed", "critical", line="severity-1", issue="main-1", about="issue"), set()),
    (alert("Sev1probeCriticalIssueNotRecorded", "critical", about="issue"), {"Sev1probeCriticalIssue"}),
    (
        alert("Sev1probeCallBackOverdue", "critical", line="severity-1", obligation="call_back", about="obligation"),
        set(),
    ),
    (
        alert("Sev1probeLineNotCalled", "critical", obligation="call_line", about="obligation"),
        {"Sev1probeObligationMissed"},
    ),
    (alert("Sev1probeObligationMissed", "critical", obligation="call_line", line="severity-1"), set()),
    (alert("Sev1probeLedgerNotWritten", "critical", "", about="prober"), set()),
    (OTHER_VANTAGE, set()),
    (alert("Sev1probeShortUnavailability", "warning", "other", about="service"), set()),
    (alert("Sev1probeBlind", "warning", "dark"), set()),
    (alert("Sev1probeSurfaceSlow", "warning", "dark", about="service"), {"Sev1probeBlind", "Sev1probeStale"}),
    (alert("Sev1probeStale", "warning", "dark", about="prober"), {"Sev1probeBlind"}),
    (alert("Sev1probeInconclusive", "warning", "dark", about="prober"), {"Sev1probeBlind"}),
    (alert("Sev1probeInconclusive", "warning", about="prober"), set()),
    # One of two daemons on a host is gone; what the other has to say is still said.
    (alert("Sev1probeDown", "critical", "", instance="h:9747", about="prober"), set()),
    (alert("Sev1probeReloadFailed", "warning", "", instance="h:9747", about="prober"), {"Sev1probeDown"}),
    (alert("Sev1probeReloadFailed", "warning", "", instance="h:9748", about="prober"), set()),
    (alert("Sev1probeStale", "warning", instance="h:9748", about="prober"), set()),
]


def post(url: str, alerts: list[dict[str, Any]]) -> None:
    """Tell Alertmanager of alerts."""
    body = json.dumps(alerts).encode()
    request = urllib.request.Request(f"{url}/api/v2/alerts", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        assert answer.status == 200


def inhibited(url: str) -> list[tuple[dict[str, str], set[str]]]:
    """List the alerts that Alertmanager has, each with the names of those that silence it."""
    with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=5) as answer:
        found = json.loads(answer.read())
    names = {one["fingerprint"]: one["labels"]["alertname"] for one in found}
    return [(one["labels"], {names[by] for by in one["status"]["inhibitedBy"]}) for one in found]


def ordered(alerts: list[tuple[dict[str, str], set[str]]]) -> list[tuple[list[tuple[str, str]], set[str]]]:
    """Put alerts in the order of their labels."""
    return sorted((sorted(labels.items()), by) for labels, by in alerts)


def test_an_open_issue_silences_its_smaller_alerts_and_a_blind_prober_what_it_can_not_know(
    alertmanager_example: Callable[[], str], pager: "Pager", until: Callable[..., Any]
) -> None:
    """Only those of the same target and vantage are silenced; the line's receiver hears of the rest, and of the end."""
    url = alertmanager_example()
    post(url, [one for one, _ in ALERTS])
    until(lambda: len(inhibited(url)) == len(ALERTS), "all are taken in")
    # It names one alert of those that silence another.
    wanted = [(one["labels"], by) for one, by in ALERTS]
    for (labels, by), (same, allowed) in zip(ordered(inhibited(url)), ordered(wanted), strict=True):
        assert labels == same
        assert bool(by) == bool(allowed), (labels, by)
        assert by <= allowed, (labels, by)

    until(
        lambda: {("Sev1probeLedgerNotWritten", "firing")} <= set(pager.told("on-call")), "on call hears of the ledger"
    )
    assert set(pager.told("severity-1-line")) == {
        ("Sev1probeCriticalIssue", "firing"),
        ("Sev1probeCriticalIssueRelapsed", "firing"),
        ("Sev1probeCallBackOverdue", "firing"),
        ("Sev1probeObligationMissed", "firing"),
    }
    post(url, [{**ISSUE, "endsAt": "2020-01-01T00:00:00Z"}])
    until(lambda: ("Sev1probeCriticalIssue", "resolved") in pager.told("severity-1-line"), "the end is told")
    assert ("Sev1probeCriticalIssueNotRecorded", "firing") not in pager.told("severity-1-line")
