"""The rules that Prometheus is given: accepted and tested by promtool, and of nothing that the daemon does not show."""

import re
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from probe.core import model
from probe.core.notices import Delivery
from probe.core.obligations import Duty, ObligationState
from probe.metrics.catalogue import CATALOGUE
from probe.metrics.families import Kind

if TYPE_CHECKING:
    from tests.system.deploy.conftest import Kit

PROMTOOL_TIMEOUT_S = 120.0
SEVERITIES = {"critical", "warning", "info"}
# Labels that Prometheus or its scrape configuration puts on what it scrapes.
SCRAPED_LABELS = frozenset({"job", "instance", "vantage", "scheme"})
RECORDED_LABELS = frozenset({"target", "surface", "basis", "issue", "line", "call", *SCRAPED_LABELS})
CLOSED_SETS: Mapping[str, frozenset[str]] = {
    "surface": frozenset(model.Surface),
    "verdict": frozenset(model.Verdict),
    "basis": frozenset({*model.Basis, "both"}),
    "fault": frozenset(model.Fault),
    "cause": frozenset(model.Cause),
    "phase": frozenset(model.Phase),
    "obligation": frozenset(Duty),
    "state": frozenset(ObligationState),
    "outcome": frozenset(Delivery),
    "job": frozenset({"sev1probe"}),
}
SUFFIXES = ("_bucket", "_count", "_sum")


def labels_of() -> dict[str, frozenset[str]]:
    """Give the labels of every series that the daemon shows, by its name."""
    found: dict[str, frozenset[str]] = {}
    for described in CATALOGUE:
        labels = frozenset(described.labels) | SCRAPED_LABELS
        found[described.name] = labels
        if described.kind is Kind.HISTOGRAM:
            found.update({f"{described.name}{suffix}": labels | {"le"} for suffix in SUFFIXES})
    return found


@pytest.fixture(scope="session")
def known(kit: "Kit") -> dict[str, frozenset[str]]:
    """Give the labels of every series that may be asked for: the daemon's and what the rules record."""
    return labels_of() | {rule["record"]: RECORDED_LABELS for rule in kit.rules if "record" in rule}


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=PROMTOOL_TIMEOUT_S, check=False)


def test_promtool_accepts_the_configuration_and_passes_every_test(
    kit: "Kit", require_program: Callable[[str], str]
) -> None:
    """`promtool check config`, which checks the rules too, and `promtool test rules` have nothing to say."""
    promtool, folder = require_program("promtool"), kit.path / "prometheus"
    commands = [("check", "config", "prometheus.example.yml")]
    commands += [("test", "rules", str(path.relative_to(folder))) for path in kit.test_files]
    with ThreadPoolExecutor(2) as workers:
        for ended in workers.map(lambda command: run(promtool, *command, cwd=folder), commands):
            assert ended.returncode == 0, f"{ended.args}\n{ended.stdout}{ended.stderr}"
            assert "FAILED" not in ended.stdout + ended.stderr


def test_every_alert_has_what_a_person_needs(kit: "Kit") -> None:
    """A severity of three, a summary, a description, and a runbook that is there and says what to do."""
    for name, alert in kit.alerts.items():
        assert name.startswith("Sev1probe"), name
        assert alert["labels"]["severity"] in SEVERITIES, name
        annotations = alert["annotations"]
        assert annotations["summary"].strip(), name
        assert annotations["description"].strip(), name
        assert annotations["runbook"] == f"deploy/runbooks/{name}.md"
    assert set(kit.runbooks) == set(kit.alerts)
    for name, text in kit.runbooks.items():
        headings = re.findall(r"^#+ .*", text, re.MULTILINE)
        assert headings == [f"# {name}", "## What it means", "## What to look at", "## What to do"], name


def test_the_same_alert_of_the_daemons_courier_has_the_same_labels(kit: "Kit") -> None:
    """What the courier tells too carries its severity and none of the labels that only Prometheus knows."""
    issue, blind = kit.alerts["Sev1probeCriticalIssue"]["labels"], kit.alerts["Sev1probeBlind"]["labels"]
    assert issue == {"severity": "critical", "call": "", "instance": "", "job": "", "scheme": ""}
    assert blind == {"severity": "warning", "instance": "", "job": "", "scheme": ""}


def test_every_alert_is_seen_to_fire_and_to_be_silent(kit: "Kit") -> None:
    """In promtool's tests each fires at one time and does not at another."""
    fires, silent = set[str](), set[str]()
    for test in kit.tests:
        for case in test.get("alert_rule_test", ()):
            (fires if case.get("exp_alerts") else silent).add(case["alertname"])
        for case in test.get("promql_expr_test", ()):
            for name in re.findall(r'ALERTS\{alertname="(\w+)"', case["expr"]):
                (fires if case["exp_samples"] else silent).add(name)
    assert fires == set(kit.alerts)
    assert silent == set(kit.alerts)


def expressions(kit: "Kit") -> Iterator[tuple[str, str]]:
    """List every expression that an operator is given, with where it stands."""
    for rule in kit.rules:
        yield rule.get("alert") or rule["record"], rule["expr"]
    for name, text in kit.runbooks.items():
        for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
            yield f"{name}.md", block
    for test in kit.tests:
        for series in test["input_series"]:
            yield f"test: {test['name']}", series["series"]
        for case in test.get("promql_expr_test", ()):
            yield f"test: {test['name']}", case["expr"]


def test_what_is_asked_for_is_what_the_daemon_shows(
    kit: "Kit",
    known: Mapping[str, frozenset[str]],
    selected_in: Callable[[str], Any],
    grouped_in: Callable[[str], set[str]],
) -> None:
    """Every metric, label and word of a closed set in rules, runbooks and tests is one of the program's."""
    labels = frozenset[str]().union(*known.values())
    seen = 0
    for where, expression in expressions(kit):
        assert grouped_in(expression) <= labels | {"alertname"}, where
        for selected in selected_in(expression):
            seen += 1
            assert selected.name in known, f"{where}: {selected.name}"
            assert selected.labels.keys() <= known[selected.name], f"{where}: {selected}"
            for label, values in selected.labels.items():
                assert values <= CLOSED_SETS.get(label, values), f"{where}: {selected}"
    assert seen > 100


def test_a_wrong_name_would_be_seen(
    known: Mapping[str, frozenset[str]], selected_in: Callable[[str], Any], grouped_in: Callable[[str], set[str]]
) -> None:
    """The reading of expressions finds names, labels and words wherever they stand."""
    expression = 'sum by (surfaces) (rate(sev1probe_second_total{verdict!="down",a=~"b|c"}[5m])) > target:sev1probe_x:y'
    found = list(selected_in(expression))
    assert [one.name for one in found] == ["sev1probe_second_total", "target:sev1probe_x:y"]
    assert found[0].labels == {"verdict": {"down"}, "a": {"b", "c"}}
    assert grouped_in(expression) == {"surfaces"}
    assert not {one.name for one in found} & known.keys()
