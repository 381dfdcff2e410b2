"""From the first bad second to the page: a real daemon, Prometheus, Alertmanager, and the files in deploy/."""

import json
import ssl
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cryptography.x509 import load_pem_x509_certificate

if TYPE_CHECKING:
    from tests.system.daemon.alerting.conftest import Pager
    from tests.system.daemon.conftest import Command, Daemon, Provider, Start

ROOT = Path(__file__).resolve().parents[4]
LINE = "+44 20 7946 0000"
SCRAPES_S = 1
# From the moment the contract calls it persistent: the second closes, the ledger keeps it, a scrape, a rule, a message.
REST_S_MAX = 15.0


class Asked:
    """A Prometheus that can be asked."""

    def __init__(self, url: str) -> None:
        self._url = url

    def query(self, expression: str) -> dict[str, float]:
        """Give the values of an expression, by their labels as text."""
        asked = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(f"{self._url}/api/v1/query?{asked}", timeout=5) as answer:
            found = json.loads(answer.read())["data"]["result"]
        return {json.dumps(one["metric"], sort_keys=True): float(one["value"][1]) for one in found}

    def value(self, expression: str) -> float | None:
        """Give the only value of an expression; None if there is none."""
        values = [*self.query(expression).values()]
        assert len(values) <= 1, expression
        return values[0] if values else None


def prometheus_config(folder: Path, daemon: "Daemon", alertmanager: str) -> Path:
    """Write the example with short intervals, for this daemon and Alertmanager."""
    example = ROOT / "deploy" / "prometheus"
    config = yaml.safe_load((example / "prometheus.example.yml").read_text())
    config["global"] = {"scrape_interval": f"{SCRAPES_S}s", "evaluation_interval": f"{SCRAPES_S}s"}
    config["rule_files"] = [str(example / "rules" / "*.yml")]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager.removeprefix("http://")]
    (job,) = config["scrape_configs"]
    job.update(scrape_interval=f"{SCRAPES_S}s", scrape_timeout=f"{SCRAPES_S}s")
    job["static_configs"] = [{"targets": [daemon.url.removeprefix("http://")], "labels": {"vantage": "here"}}]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def pages_of(pager: "Pager", issue: str, status: str) -> list[tuple[float, dict[str, Any]]]:
    """List the pages that the Severity 1 line's receiver got about an issue in a state."""
    return [
        (at_s, alert)
        for at_s, receiver, body in pager.pages
        if receiver == "severity-1-line"
        for alert in body["alerts"]
        if (alert["labels"].get("issue"), alert["status"]) == (issue, status)
    ]


def agree(command: "Command", config: Path, issue: str) -> None:
    """Have both sides agree that it is resolved."""
    with ThreadPoolExecutor(2) as workers:
        parties = ("customer", "provider")
        for agreed in workers.map(lambda party: command("issue", "agree", party, issue, "-c", config), parties):
            assert agreed.code == 0, agreed


def test_a_simulated_outage_pages_the_severity_1_line_once(
    start: "Start",
    command: "Command",
    target: Callable[..., dict[str, Any]],
    settings: Callable[..., Path],
    provider: "Provider",
    alertmanager_example: Callable[[], str],
    alerting_programs: Callable[..., str],
    pager: "Pager",
    until: Callable[..., Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An outage pages by scrape, rule and route, and ends when both agree; the daemon's own courier adds no page."""
    described = target(persistence="3/5/2")
    described["contract"]["severity_1_line"] = LINE
    daemon = start(config := settings(described))
    alertmanager = alertmanager_example()
    prometheus = Asked(alerting_programs("prometheus", prometheus_config(tmp_path, daemon, alertmanager)))
    until(lambda: prometheus.value("sev1probe_month_budget_seconds"), "the daemon is scraped")
    daemon.wait_for_recent("AAA")

    provider.set("api", "status", status=503)
    opened = daemon.wait_for_log("critical_issue.opened")
    issue = str(opened["issue"])
    until(lambda: pages_of(pager, issue, "firing"), "the page")
    at_s, alert = pages_of(pager, issue, "firing")[0]
    status = daemon.status()["critical_issue"]
    persistence_s = status["noticed_second"] + 1 - status["since_second"]
    to_page_s = at_s - status["since_second"]
    with capsys.disabled():
        sys.stdout.write(f"paged {to_page_s:.1f} s after the first bad second, persistence being {persistence_s} s\n")
    assert persistence_s <= to_page_s <= persistence_s + REST_S_MAX
    labels = {"alertname", "issue", "line", "severity", "target", "vantage"}
    assert alert["labels"].keys() == labels
    assert (alert["labels"]["line"], alert["labels"]["vantage"]) == ("severity-1", "here")
    assert f"Call the Severity 1 line now: {LINE}." in alert["annotations"]["summary"]
    assert f"sev1probe issue call-sheet {issue} -c FILE" in alert["annotations"]["description"]
    # The link leads to this issue.
    assert json.loads(daemon.get(urllib.parse.urlsplit(alert["annotations"]["link"]).path)[1])["issue"] == issue

    provider.clear("api")
    daemon.wait_for_log("critical_issue.restored")
    assert not pages_of(pager, issue, "resolved"), "restored is not resolved"
    provider.set("api", "status", status=503)
    relapsed = ("Sev1probeCriticalIssueRelapsed", "firing")
    until(lambda: relapsed in pager.told("severity-1-line"), "the relapse pages")
    assert {alert["labels"]["issue"] for _, alert in pages_of(pager, issue, "firing")} == {issue}
    provider.clear("api")
    daemon.wait_for_log("critical_issue.restored", count=2)
    agree(command, config, issue)
    until(lambda: pages_of(pager, issue, "resolved"), "the end")
    check_month(daemon, prometheus, command, config, until)
    check_certificates(daemon, provider)

    courier = {"name": "alerts", "kind": "alertmanager", "url": alertmanager, "repeat": "1s"}
    settings(described, notify=[courier])
    assert daemon.get("/-/reload", post=True)[0] == 200
    provider.set("smtp", "reply", phase="mail", reply="451 4.3.0 Trouble in the service")
    daemon.wait_for_log("critical_issue.opened", count=3)
    second = str(daemon.log("critical_issue.opened")[-1]["issue"])
    firing = f'ALERTS{{alertname="Sev1probeCriticalIssue",alertstate="firing",issue="{second}"}}'
    until(lambda: prometheus.value(firing), "the rule fires too")
    told = daemon.metric("notifications_total", courier="alerts", outcome="repeated") + 3
    daemon.wait(lambda: daemon.metric("notifications_total", courier="alerts", outcome="repeated") >= told, "repeats")
    provider.clear("smtp")
    daemon.wait_for_log("critical_issue.restored", count=3)
    agree(command, config, second)
    until(lambda: pages_of(pager, second, "resolved"), "the second end")
    assert len(pages_of(pager, second, "firing")) == 1, "both ways are one alert, and one page"


def check_month(
    daemon: "Daemon", prometheus: Asked, command: "Command", config: Path, until: Callable[..., Any]
) -> None:
    """The month by the rules is the month by the ledger, and the budget is what is left of it."""
    until(lambda: daemon.metric("unavailable_run_seconds", target="main", surface="api") == 0, "it is over")
    totals = json.loads(command("ledger", "totals", "-c", config, "--json").out)
    whole = next(one for one in totals["targets"] if one["target"] == "main")["surfaces"]["target"]["as_amended"]
    unavailable = whole["unavailable_literal"] + whole["unavailable_corroborated"]
    assert unavailable >= 3
    both = 'target:sev1probe_unavailable_seconds:month{basis="both"}'
    until(lambda: prometheus.value(both) == unavailable, f"{unavailable} s of the month are unavailable")
    left = prometheus.value('target:sev1probe_budget_left_seconds:month{basis="both"}')
    assert left == pytest.approx(whole["budget_left_s_both"])
    # Watched for some seconds of the month so far.
    assert 0 < (prometheus.value("target:sev1probe_coverage:month") or 0) < 1


def check_certificates(daemon: "Daemon", provider: "Provider") -> None:
    """Both surfaces show until when the certificate is good that the provider has."""
    shown = ssl.get_server_certificate(("127.0.0.1", urllib.parse.urlsplit(provider.inner.api_url).port or 443))
    expires = load_pem_x509_certificate(shown.encode()).not_valid_after_utc.timestamp()
    for surface in ("api", "smtp"):
        assert daemon.metric("certificate_expiry_timestamp_seconds", target="main", surface=surface) == expires
