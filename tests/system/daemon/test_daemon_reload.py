"""Settings that change under a running daemon."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trustme

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Daemon, Evidence, Provider, Start, Until

Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
OTHER_AUTHORITY = trustme.CA().cert_pem.bytes().decode()


def test_a_wrong_file_changes_nothing_and_is_said_loudly(
    start: "Start", target: Describe, settings: Write, evidence: Callable[..., "Evidence"]
) -> None:
    """By signal or by POST, the old settings go on and log, metric, status and answer say why; a right file ends it."""
    config = settings(target())
    daemon = start(config)
    daemon.wait_for_recent("A")
    right = config.read_text()
    assert daemon.metric("config_last_reload_successful") == 1

    config.write_text(right.replace("base_url:", "base_uri:"))
    daemon.process.send_signal(signal.SIGHUP)
    line = daemon.wait_for_log("settings.refused")

    assert line["level"] == "error"
    assert line["kept"] == "the old settings"
    assert any("base_uri" in problem and str(config) in problem for problem in line["problems"])
    assert daemon.metric("config_last_reload_successful") == 0
    assert daemon.get("/-/healthy") == (200, "Probing, judging and recording.\n")
    assert daemon.get("/-/ready")[0] == 200
    code, answer = daemon.get("/-/reload", post=True)
    assert code == 400
    assert "The old settings are kept" in answer
    assert "base_uri" in answer
    config.unlink()
    code, answer = daemon.get("/-/reload", post=True)
    assert code == 400
    assert str(config) in answer
    daemon.wait_for_recent("AA")

    config.write_text(right)
    code, answer = daemon.get("/-/reload", post=True)
    assert (code, answer) == (200, f"Now watching 1 target by {config}.\n")
    assert daemon.metric("config_last_reload_successful") == 1
    assert daemon.end()[0] == 0
    assert set(evidence().verdicts("api").values()) == {"available"}


def test_terms_and_targets_change_without_a_lost_second(
    start: "Start", target: Describe, settings: Write, provider: "Provider", evidence: Callable[..., "Evidence"]
) -> None:
    """New terms open the issue, more reloads leave it open, a target comes and goes, and the other loses no second."""
    config = settings(target(persistence="60/90/60"))
    daemon = start(config)
    daemon.wait_for_recent("A")
    provider.set("api", "status", status=503)
    provider.set("smtp", "silent", phase="ehlo")
    daemon.wait_for_recent("UUUU")
    assert daemon.status()["critical_issue"] is None

    settings(target(persistence="3/5/2"), target("late", persistence="60/90/60"))
    _reload(daemon)
    issue = daemon.wait_for_log("critical_issue.opened")
    assert issue["target"] == "main"
    assert daemon.status()["persistence"]["unavailable_seconds"] == 3
    for _ in range(3):  # While attempts hang and the issue is open.
        _reload(daemon)
    assert daemon.status()["critical_issue"]["issue"] == issue["issue"]
    provider.clear()
    assert daemon.wait_for_log("critical_issue.restored")["issue"] == issue["issue"]
    daemon.wait_for_recent("A", "late")

    settings(target(persistence="3/5/2"))
    _reload(daemon)
    assert 'target="late"' not in daemon.get("/metrics")[1]
    assert '"late"' not in daemon.get("/api/v1/status")[1]
    daemon.wait_for_seconds(2)

    settings(target(persistence="3/5/2"), target("late", persistence="60/90/60"))
    _reload(daemon)
    daemon.wait_for_recent("AA", "late")
    gap = daemon.wait_for_log("seconds.unobserved")
    assert (gap["target"], gap["reason"]) == ("late", "the target was not configured")
    assert daemon.end()[0] == 0

    found = evidence()
    verdicts = found.verdicts("api")
    assert "unobserved" not in verdicts.values()
    assert {row["cause"] for row in found.made("smtp")} <= {"silent", "accepted", "stopped"}
    assert [row["cause"] for row in found.made("smtp")].count("stopped") <= 1
    assert max(verdicts) == max(found.verdicts("api", "late"))
    assert list(found.verdicts("api", "late").values()).count("unobserved") == gap["seconds"]


def test_a_new_key_and_a_new_authority_take_effect_by_the_same_names(
    start: "Start", target: Describe, settings: Write, provider: "Provider", tmp_path: Path
) -> None:
    """Files that were replaced are read again; what belongs to the start is kept, with a warning each time."""
    own, key_file, ca_file = target(), tmp_path / "key", tmp_path / "ca.pem"
    key_file.write_text("wrong")
    key_file.chmod(0o600)
    right_ca = provider.ca_file.read_text()
    ca_file.write_text(OTHER_AUTHORITY)
    own["api"] |= {"key": {"file": str(key_file)}, "ca_file": str(ca_file)}
    del own["smtp"]
    config = settings(own)
    daemon = start(config)
    _wait_for_cause(daemon, "trust_store")

    ca_file.write_text("nothing of use")
    code, answer = daemon.get("/-/reload", post=True)
    assert code == 400
    assert f"{ca_file}: ca_file can't be used: it holds no certificate in PEM form" in answer
    ca_file.write_text(right_ca)
    _reload(daemon)
    _wait_for_cause(daemon, "credentials")
    key_file.write_text(provider.inner.key)
    settings(own, vantage="there", log={"format": "console"})
    for count in (1, 2):
        _reload(daemon)
        assert daemon.wait_for_log("settings.need_a_restart", count)["parts"] == ["vantage", "log"]
    daemon.wait_for_recent("AA")
    assert {message_id.split(".")[-1] for message_id in provider.taken("api")} == {"here"}


def test_signals_that_come_early_are_obeyed_after_the_start(
    process: Callable[..., tuple["subprocess.Popen[bytes]", Path]],
    target: Describe,
    settings: Write,
    until: "Until",
) -> None:
    """A SIGHUP while the program is still being loaded does not end it."""
    daemon, path = process("run", "--config", str(settings(target())))
    # The first thing of ours that the kernel shows is the ignored signal: bit 0 of SigIgn.
    status = Path(f"/proc/{daemon.pid}/status")
    until(lambda: int(status.read_text().split("SigIgn:")[1].split()[0], 16) & 1, "the first line of our own")

    daemon.send_signal(signal.SIGHUP)

    until(lambda: "daemon.started" in path.read_text(), "the start", explain=path.read_text)
    daemon.terminate()
    assert daemon.wait(5.0) == 0


def _wait_for_cause(daemon: "Daemon", cause: str) -> None:
    def seen() -> bool:
        failure = daemon.status()["surfaces"]["api"]["last_failure"]
        return bool(failure) and failure["cause"] == cause

    daemon.wait(seen, f"a failure by {cause}")


def _reload(daemon: "Daemon") -> None:
    before = len(daemon.log("settings.reloaded"))
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("settings.reloaded", before + 1)
