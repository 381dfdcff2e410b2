"""Alertmanager's example, by Alertmanager's own tool: accepted, routed as meant, and readable by people."""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from probe.core.notices_of_cases import SUPPORT_CASE
from probe.core.notices_of_lapses import OBLIGATION_MISSED

if TYPE_CHECKING:
    from tests.system.deploy.conftest import Kit

AMTOOL_TIMEOUT_S = 60.0
ISSUE = {"alertname": "Sev1probeCriticalIssue", "target": "main", "issue": "main-1", "vantage": "ops-1"}
FIRING = {
    "status": "firing",
    "labels": ISSUE,
    "annotations": {
        "summary": "main is Unavailable persistently since noon. Call the Severity 1 line now: +44 20 7946 0000.",
        "description": "Call the Severity 1 line.\nRecord it.",
        "link": "http://ops-1:9747/api/v1/issues/main-1",
        "runbook": "deploy/runbooks/Sev1probeCriticalIssue.md",
    },
    "startsAt": "2026-11-22T20:00:00Z",
    "endsAt": "0001-01-01T00:00:00Z",
}
RESOLVED = {**FIRING, "status": "resolved", "endsAt": "2026-11-22T20:10:00Z"}

# Who hears of an alert, by its labels: those that the rules or the daemon's courier give it.
ROUTES: list[tuple[dict[str, str], str]] = [
    ({**ISSUE, "severity": "critical", "line": "severity-1"}, "severity-1-line"),
    ({**ISSUE, "severity": "critical"}, "on-call"),  # by a contract without that line
    ({"alertname": "Sev1probeBlind", "severity": "warning", "target": "main", "vantage": "ops-1"}, "on-call"),
    (
        {"alertname": OBLIGATION_MISSED, "severity": "critical", "line": "severity-1", "target": "main"},
        "severity-1-line",
    ),
    ({"alertname": OBLIGATION_MISSED, "severity": "warning", "target": "main"}, "mail-team"),
    ({"alertname": SUPPORT_CASE, "severity": "warning", "target": "main"}, "mail-team"),
    ({"alertname": "Sev1probeTest", "severity": "info", "vantage": "ops-1"}, "mail-team"),
]
BY_SEVERITY = {"critical": "on-call", "warning": "mail-team", "info": "mail-team"}
BY_NAME = {"Sev1probeBlind": "on-call", "Sev1probeStale": "on-call", "Sev1probeCriticalIssue": "severity-1-line"}


@pytest.fixture
def amtool(kit: "Kit", require_program: Callable[[str], str]) -> Callable[..., str]:
    """Give a function that runs amtool beside the example and returns what it says."""

    def run(*arguments: str) -> str:
        ended = subprocess.run(
            [require_program("amtool"), *arguments],
            cwd=kit.path / "alertmanager",
            capture_output=True,
            text=True,
            timeout=AMTOOL_TIMEOUT_S,
            check=False,
        )
        assert ended.returncode == 0, f"{arguments}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    return run


def routed(amtool: Callable[..., str], labels: Mapping[str, str]) -> str:
    """Say which receiver hears of an alert."""
    pairs = [f"{label}={value}" for label, value in labels.items()]
    return amtool("config", "routes", "test", "--config.file=alertmanager.example.yml", *pairs).strip()


def test_amtool_accepts_the_example(amtool: Callable[..., str]) -> None:
    """`amtool check-config` reads the configuration and its templates."""
    said = amtool("check-config", "alertmanager.example.yml")
    assert "6 inhibit rules" in said
    assert "1 templates" in said


def test_every_alert_is_routed_to_who_has_to_act(kit: "Kit", amtool: Callable[..., str]) -> None:
    """What has the line's label goes to the line, what is critical to who is on call, the rest to the team."""
    cases = list(ROUTES)
    for name, alert in kit.alerts.items():
        labels = {label: value for label, value in alert["labels"].items() if value}
        if name == "Sev1probeCriticalIssue":
            labels["line"] = "severity-1"
        if name == "Sev1probeLineNotCalled":
            labels["line"] = "severity-1"  # of the obligation call_line
        by_line = "severity-1-line" if "line" in labels else BY_SEVERITY[labels["severity"]]
        cases.append(({"alertname": name, "target": "main", **labels}, BY_NAME.get(name, by_line)))
    with ThreadPoolExecutor(2) as workers:
        found = list(workers.map(lambda case: routed(amtool, case[0]), cases))
    assert found == [receiver for _, receiver in cases]


def test_what_silences_and_is_silenced_are_alerts_that_there_are(kit: "Kit") -> None:
    """Each matcher of an inhibition names an alert or a label of the rules, and only labels that both sides have."""
    config = yaml.safe_load((kit.path / "alertmanager" / "alertmanager.example.yml").read_text())
    about = {alert["labels"].get("about") for alert in kit.alerts.values()}
    for rule in config["inhibit_rules"]:
        assert set(rule["equal"]) <= {"target", "vantage", "instance", "obligation"}
        for matcher in (*rule["source_matchers"], *rule["target_matchers"]):
            label, _, value = matcher.replace("!=", "=").replace("=~", "=").partition("=")
            for word in value.strip('"').split("|"):
                if label == "alertname" and not word.endswith(".*"):
                    assert word in {*kit.alerts, OBLIGATION_MISSED}, matcher
                if label == "about":
                    assert word in about, matcher


def matches(matchers: list[str], labels: Mapping[str, str]) -> bool:
    """Say whether an alert has what all of these ask for, as Alertmanager reads them."""
    for matcher in matchers:
        read = re.fullmatch(r'(\w+)(=~|!=|=)"([^"]*)"', matcher)
        assert read, matcher
        label, sign, wanted = read.groups()
        found = labels.get(label, "")
        same = bool(re.fullmatch(wanted, found)) if sign == "=~" else found == wanted
        if same == (sign == "!="):
            return False
    return True


def test_nothing_silences_what_must_page(kit: "Kit") -> None:
    """No inhibition takes in a Critical Issue, its relapse, a blind prober, or one that is gone."""
    config = yaml.safe_load((kit.path / "alertmanager" / "alertmanager.example.yml").read_text())
    must_page = ["CriticalIssue", "CriticalIssueRelapsed", "Absent", "Down", "LedgerNotWritten", "ChainBroken"]
    for name in (f"Sev1probe{word}" for word in must_page):
        for line in ("", "severity-1"):
            labels = {"alertname": name, "line": line, "target": "main", **kit.alerts[name]["labels"]}
            assert not [rule for rule in config["inhibit_rules"] if matches(rule["target_matchers"], labels)], name
    # A blind prober is silenced by itself at most: by that its daemon, of the same instance, is gone.
    blind = {"alertname": "Sev1probeBlind", "target": "main", **kit.alerts["Sev1probeBlind"]["labels"]}
    rules = [rule for rule in config["inhibit_rules"] if matches(rule["target_matchers"], blind)]
    assert all(rule["equal"] == ["vantage", "instance"] for rule in rules)
    assert not blind["instance"]


def message(*alerts: dict[str, Any]) -> dict[str, Any]:
    """Make what Alertmanager hands to a template."""
    return {
        "receiver": "mail-team",
        "status": "firing" if any(alert["status"] == "firing" for alert in alerts) else "resolved",
        "alerts": list(alerts),
        "groupLabels": {"alertname": ISSUE["alertname"]},
        "commonLabels": ISSUE,
        "commonAnnotations": {},
        "externalURL": "http://alertmanager",
    }


def rendered(amtool: Callable[..., str], folder: Path, name: str, *alerts: dict[str, Any]) -> str:
    """Give what people read."""
    data = folder / f"{name}.json"
    data.write_text(json.dumps(message(*alerts)))
    glob, text = "--template.glob=templates/*.tmpl", f'--template.text={{{{ template "sev1probe.{name}" . }}}}'
    return amtool("template", "render", glob, text, f"--template.data={data}").strip()


def test_people_read_whom_to_call_and_later_that_it_is_over(amtool: Callable[..., str], tmp_path: Path) -> None:
    """The first message has number, description, link and runbook; the resolved one says what that means."""
    assert rendered(amtool, tmp_path, "title", FIRING) == FIRING["annotations"]["summary"]  # type: ignore[index]
    text = rendered(amtool, tmp_path, "text", FIRING)
    assert "+44 20 7946 0000" in text
    assert "Call sheet: http://ops-1:9747/api/v1/issues/main-1" in text
    assert "Runbook: deploy/runbooks/Sev1probeCriticalIssue.md" in text
    assert "OVER" not in text

    assert rendered(amtool, tmp_path, "title", RESOLVED) == "OVER: Sev1probeCriticalIssue at main"
    text = rendered(amtool, tmp_path, "text", RESOLVED)
    assert text.startswith("OVER since 2026-11-22 20:10:00 UTC: Sev1probeCriticalIssue at main.")
    assert "both sides have agreed" in text
    assert "Call the Severity 1 line" not in text
