"""The life of the service in a booted Debian, from its installation to its removal."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.container.container_world import Container

pytestmark = pytest.mark.container

DOCS = Path(__file__).resolve().parents[3] / "docs" / "systemd.md"
UNIT = "sev1probe.service"
PROGRAM = "/usr/bin/sev1probe"
SETTINGS = "/etc/sev1probe/sev1probe.yaml"
PRIVATE_STATE = "/var/lib/private/sev1probe"
FACTS_OF_THE_PROCESS = re.compile(r"^(\w+):\s+(\S+)", re.MULTILINE)
# The restart's second, the start, and the first seconds that close.
BACK_WITHIN_S = 25.0


def status(container: "Container") -> dict[str, Any]:
    """Return what the daemon says of itself; {} if there is none to ask."""
    done = container.try_run(PROGRAM, "status", "--json", "--config", SETTINGS)
    return dict(json.loads(done.stdout)) if done.stdout.startswith("{") else {}


def of_target(container: "Container", name: str) -> dict[str, Any]:
    """Return what the daemon says of one target; {} if nothing."""
    return next((seen for seen in status(container).get("targets", []) if seen["target"] == name), {})


def probes(container: "Container") -> None:
    """Wait until both surfaces of the sound provider are seen as available in the newest two seconds."""

    def seen() -> bool:
        surfaces = of_target(container, "steady").get("surfaces", {})
        return bool(surfaces) and all(str(surface["recent"]).endswith("AA") for surface in surfaces.values())

    container.until(seen, "available seconds", BACK_WITHIN_S)


def open_issue(container: "Container") -> str:
    """Wait until the target that fails has a Critical Issue, and return its id."""

    def issue() -> str:
        return str((of_target(container, "broken").get("critical_issue") or {}).get("issue", ""))

    return str(container.until(issue, "a Critical Issue", BACK_WITHIN_S))


def restarts(container: "Container") -> int:
    """Count how often systemd has started it again by itself."""
    return int(container.shown(UNIT, "NRestarts"))


def test_it_runs_and_probes_in_its_sandbox(container: "Container") -> None:
    """Names are looked up, logins work, the clock is read, the ledger is kept, and there is no privilege to be had."""
    probes(container)
    assert container.shown(UNIT, "ActiveState") == "active"
    assert "2 targets" in container.shown(UNIT, "StatusText")
    assert container.journal(f"_SYSTEMD_UNIT={UNIT}", "SEV1PROBE_EVENT=clock.unknown") == []

    main = container.shown(UNIT, "MainPID")
    refused = container.try_run("nsenter", "--mount", "--target", main, "touch", "/etc/of-ours", "/home/of-ours").stderr
    assert [line.rpartition(": ")[2] for line in refused.splitlines()] == ["Read-only file system"] * 2
    process = container.path(f"/proc/{main}")
    facts = dict(FACTS_OF_THE_PROCESS.findall((process / "status").read_text()))
    assert facts["CapEff"].strip("0") == facts["CapBnd"].strip("0") == ""
    assert (facts["NoNewPrivs"], facts["Seccomp"]) == ("1", "2")
    assert facts["Uid"] != "0"
    assert (process / "stat").read_text().rpartition(")")[2].split()[16] == "-10"  # nice
    owners = container.run("stat", "-c", "%U %a", "/etc/sev1probe/credentials", "/etc/sev1probe/credentials/steady")
    assert owners.split("\n")[:2] == ["root 700", "root 600"]


def test_the_journal_has_fields_to_match(container: "Container") -> None:
    """A Critical Issue's entries are found by its id, its target and its priority, and the key stands nowhere."""
    issue = open_issue(container)
    (entry,) = container.journal("SEV1PROBE_EVENT=critical_issue.opened", "SEV1PROBE_TARGET=broken")
    assert entry["SEV1PROBE_ISSUE"] == issue
    assert entry["_SYSTEMD_UNIT"] == UNIT
    assert (entry["_TRANSPORT"], entry["SYSLOG_IDENTIFIER"]) == ("journal", "sev1probe")
    assert entry["MESSAGE"].startswith("critical_issue.opened ")
    assert entry in container.journal("-p", "crit", "-u", UNIT)
    assert all(one["_TRANSPORT"] == "journal" for one in container.journal("_COMM=sev1probe", f"_SYSTEMD_UNIT={UNIT}"))
    whole = container.run("journalctl", "--no-pager", "-o", "export", "--all")
    for name in ("steady", "broken"):
        assert container.path(f"/etc/sev1probe/credentials/{name}").read_text().strip() not in whole


def test_the_queries_of_the_docs_are_understood(container: "Container") -> None:
    """Each `journalctl` line of docs/systemd.md is run as it stands, and finds something if it is there to be found."""
    queries = re.findall(r"^journalctl [^#\n]+", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(queries) >= 5
    open_issue(container)
    for query in queries:
        done = container.try_run(*query.split(), "--no-pager", "-q")
        assert (done.returncode, done.stderr) == (0, ""), query
        assert done.stdout or "=main" in query, query


def test_root_tells_what_happened_while_it_runs(container: "Container") -> None:
    """The commands of the one who is on call use the service's own settings, secrets and ledger."""
    issue = open_issue(container)
    container.run(PROGRAM, "issue", "called", issue, "--config", SETTINGS, "--to", "Ada", "--reference", "42")
    container.until(
        lambda: container.journal("SEV1PROBE_EVENT=critical_issue.told", f"SEV1PROBE_ISSUE={issue}"), "the call", 15
    )


def test_a_reload_goes_over_to_new_settings_and_refuses_wrong_ones(
    container: "Container", settings: Callable[..., str]
) -> None:
    """The process stays; what it watches is what the file says, if the file can be right."""
    process = container.shown(UNIT, "MainPID")
    container.write(SETTINGS, settings("steady"))
    container.run("systemctl", "reload", UNIT)
    container.until(lambda: len(status(container)["targets"]) == 1, "one target")
    container.write(SETTINGS, "targets: nonsense")
    container.run("systemctl", "reload", UNIT)
    container.until(lambda: container.journal("SEV1PROBE_EVENT=settings.refused"), "a refusal")
    container.write(SETTINGS, settings("steady", "broken"))
    container.run("systemctl", "reload", UNIT)
    container.until(lambda: len(status(container)["targets"]) == 2, "two targets")
    assert container.shown(UNIT, "MainPID") == process
    assert container.shown(UNIT, "ActiveState") == "active"


def test_it_is_started_again_after_kill_9(container: "Container") -> None:
    """The Critical Issue stays the one that was open."""
    issue, before = open_issue(container), restarts(container)
    container.run("kill", "-KILL", container.shown(UNIT, "MainPID"))
    container.until(lambda: restarts(container) == before + 1, "a restart")
    probes(container)
    assert open_issue(container) == issue


def test_one_that_hangs_is_started_again(container: "Container") -> None:
    """The watchdog hears nothing, asks where it hangs, and ends it; what was missed is said."""
    issue, before = open_issue(container), restarts(container)
    container.run("kill", "-STOP", container.shown(UNIT, "MainPID"))
    container.until(lambda: restarts(container) == before + 1, "the watchdog")
    probes(container)
    assert open_issue(container) == issue
    assert [one for one in container.journal("-u", UNIT, "_PID=1") if "Watchdog timeout" in one["MESSAGE"]]
    assert container.journal("SEV1PROBE_EVENT=seconds.unobserved", "SEV1PROBE_TARGET=steady")


def test_one_that_is_aborted_says_where_it_was(container: "Container") -> None:
    """What the watchdog sends makes each thread's place known, in the journal, and leaves no core with keys in it."""
    before = restarts(container)
    container.run("kill", "-ABRT", container.shown(UNIT, "MainPID"))
    container.until(lambda: restarts(container) == before + 1, "a restart")
    probes(container)
    said = [str(one["MESSAGE"]) for one in container.journal("-u", UNIT, "_TRANSPORT=stdout")]
    assert "Fatal Python error: Aborted" in said
    assert any("probe/commands/run.py" in line for line in said)
    assert not any("dumped" in str(one["MESSAGE"]) for one in container.journal("-u", UNIT, "_PID=1"))


def test_it_stops_in_order_and_root_reads_the_ledger_that_it_left(container: "Container") -> None:
    """Reading as root leaves nothing behind that keeps the service from starting again."""
    issue = open_issue(container)
    container.run("systemctl", "stop", UNIT)
    assert (container.shown(UNIT, "Result"), container.shown(UNIT, "ExecMainStatus")) == ("success", "0")
    container.run(PROGRAM, "ledger", "verify", "--config", SETTINGS)
    assert issue in container.try_run(PROGRAM, "issue", "list", "--config", SETTINGS, "--json").stdout
    container.run("systemctl", "start", UNIT)
    probes(container)
    assert open_issue(container) == issue


def test_a_second_one_has_settings_secrets_and_ledger_of_its_own(
    container: "Container", settings: Callable[..., str]
) -> None:
    """Both run beside each other."""
    folder = "/etc/sev1probe/second"
    ledger = {"url": "/var/lib/sev1probe-second/ledger.sqlite3"}
    container.write(f"{folder}/sev1probe.yaml", settings("steady", ledger=ledger, listener={"port": 9748}))
    key = container.path("/etc/sev1probe/credentials/steady").read_text()
    container.write(f"{folder}/credentials/steady", key, 0o600)
    container.run("systemctl", "start", "sev1probe@second")
    assert container.path("/var/lib/private/sev1probe-second/ledger.sqlite3").exists()
    assert container.run(PROGRAM, "status", "--config", f"{folder}/sev1probe.yaml", "--json").startswith("{")
    assert container.shown("sev1probe@second", "MainPID") != container.shown(UNIT, "MainPID")
    container.run("systemctl", "stop", "sev1probe@second")


def test_wrong_settings_at_the_start_are_not_tried_over_and_over(
    container: "Container", settings: Callable[..., str]
) -> None:
    """It says what is wrong once and stays down, until somebody has mended it."""
    container.write("/etc/sev1probe/third/sev1probe.yaml", "targets: nonsense")
    container.write("/etc/sev1probe/third/credentials/unused", "", 0o600)
    assert container.try_run("systemctl", "start", "sev1probe@third").returncode != 0
    assert container.shown("sev1probe@third", "ActiveState") == "failed"
    assert (container.shown("sev1probe@third", "NRestarts"), container.shown("sev1probe@third", "ExecMainStatus")) == (
        "0",
        "2",
    )


def test_an_upgrade_in_place_loses_neither_issue_nor_settings(container: "Container") -> None:
    """The service is started again by the later package, and the Critical Issue is still the one that was open."""
    issue, process = open_issue(container), container.shown(UNIT, "MainPID")
    before = container.path(SETTINGS).read_text()
    container.run("dpkg", "--install", "--force-confold", "/srv/packages/later.deb")
    assert container.run("dpkg-query", "-W", "-f", "${Version}", "sev1probe").endswith("-2")
    assert container.shown(UNIT, "MainPID") != process
    probes(container)
    assert open_issue(container) == issue
    assert len(container.journal("SEV1PROBE_EVENT=critical_issue.opened", "SEV1PROBE_TARGET=broken")) == 1
    assert container.path(SETTINGS).read_text() == before


def test_removal_keeps_the_evidence_and_purge_takes_it(container: "Container") -> None:
    """Last of all: the service and the program go, then settings, secrets and ledgers."""
    container.run("dpkg", "--remove", "sev1probe")
    assert container.shown(UNIT, "ActiveState") == "inactive"
    assert not container.path("/opt/sev1probe/bin/sev1probe").exists()
    assert container.path(f"{PRIVATE_STATE}/ledger.sqlite3").exists()
    assert container.path(SETTINGS).exists()
    container.run("dpkg", "--purge", "sev1probe")
    left = container.run("sh", "-c", "ls -d /etc/sev1probe* /var/lib/sev1probe* /var/lib/private/sev1probe* || true")
    assert left == ""
