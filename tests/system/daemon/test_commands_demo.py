"""The demo and the simulator as processes: what they start, they end."""

import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from probe.ledger import verify

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Until

Process = Callable[..., tuple["subprocess.Popen[bytes]", Path]]


def children_of(pid: int) -> set[int]:
    """List the processes that a process has started and that still run."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if int(parent) == pid and state != "Z":
            found.add(int(folder.name))
    return found


def is_running(pid: int) -> bool:
    """Say whether a process has not ended yet; one that nobody has buried has."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_demo_that_is_stopped_ends_all_that_it_started(
    process: Process, command: "Command", until: "Until", tmp_path: Path
) -> None:
    """Without a terminal it shows the first seconds in lines; asked to stop, it says so, sums up and leaves nobody."""
    demos = [process("demo", TMPDIR=str(tmp_path)) for _ in range(2)]
    for _, path in demos:
        until(lambda: re.search("api .*▁.*smtp .*▁", path.read_text()), "judged seconds", explain=path.read_text)  # noqa: B023
    children = [pid for demo, _ in demos for pid in children_of(demo.pid)]
    assert len(children) == 4
    metrics = re.search(r"Metrics while it runs: (\S+)", demos[0][1].read_text())
    assert metrics
    with urllib.request.urlopen(metrics[1], timeout=5) as reply:
        assert b"sev1probe_seconds_total{" in reply.read()

    for (demo, _), number in zip(demos, (signal.SIGINT, signal.SIGTERM), strict=True):
        demo.send_signal(number)

    for demo, path in demos:
        assert demo.wait(20.0) == 0, path.read_text()
        text = path.read_text()
        assert "Stopped. The provider and the daemon have ended." in text
        assert "its hash chain is sound" in text
        assert "provider: Healthy: both surfaces accept a message every second." in text
        ledger = re.search(r"ledger verify (\S+)", text)
        assert ledger
        assert command("ledger", "verify", ledger[1]).code == 0
    assert [pid for pid in children if Path(f"/proc/{pid}").exists()] == []


def test_a_demo_that_is_killed_leaves_nobody_behind(process: Process, until: "Until", tmp_path: Path) -> None:
    """Its daemon ends as if asked to, with the ledger sound, and so does its provider, though the demo can't ask."""
    demo, path = process("demo", TMPDIR=str(tmp_path))
    until(lambda: "Metrics while it runs" in path.read_text(), "a daemon that runs", explain=path.read_text)
    children = children_of(demo.pid)
    assert len(children) == 2
    (folder,) = tmp_path.glob("sev1probe-demo-*")

    demo.kill()
    demo.wait()

    until(lambda: not any(map(is_running, children)), "the end of both", explain=path.read_text)
    assert '"daemon.stopped"' in (folder / "daemon.log").read_text()
    assert verify(str(folder / "ledger.sqlite3")).sound


def test_a_process_whose_parent_has_ended_before_it_could_ask_to_be_told_does_not_begin() -> None:
    """It ends at once and starts nothing, for the kernel will tell it nothing any more."""
    a_stranger = "1"
    done = subprocess.run(
        [sys.executable, "-m", "probe.commands.leash", a_stranger, "--version"],
        capture_output=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.soak
def test_the_demo_tells_its_whole_story(process: Process) -> None:
    """Left alone it ends by itself, with an issue that opened and was restored, and nothing opened before."""
    demo, path = process("demo")

    assert demo.wait(150.0) == 0

    text = path.read_text()
    told = text[: text.index("What the daemon saw")]
    assert len(re.findall(r"Critical Issue \S+ opened at", told)) == 1
    assert len(re.findall(r"Service restored at", told)) == 1
    assert "its hash chain is sound" in text


def test_a_simulator_plays_its_scenario_for_other_clients(
    process: Process, command: "Command", until: "Until", tmp_path: Path
) -> None:
    """It says where it listens and each turn, keeps its key in a file of its owner's alone, and ends when asked."""
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("api:\n  - {at: 300ms, for: 300ms, do: status, status: 503}\n")
    folder = tmp_path / "made"
    simulator, path = process(
        "simulate", str(scenario), "--api-port=0", "--smtp-port=0", "--page-port=0", "--directory", str(folder)
    )
    until(lambda: "healthy again" in path.read_text(), "the end of the outage", explain=path.read_text)
    text = path.read_text()
    key = (folder / "api.key").read_text().strip()
    assert (folder / "api.key").stat().st_mode & 0o077 == 0
    assert key
    assert key not in text
    where = re.search(r"API +(\S+)/transmissions", text)
    smtp = re.search(r"SMTP +127\.0\.0\.1:(\d+)", text)
    assert where
    assert smtp
    settings = tmp_path / "settings.yaml"
    secret = {"file": str(folder / "api.key")}
    content = {"from": "a@example.com", "subject": "s", "text": "t"}
    body = {"recipients": [{"address": "a@example.com"}], "content": content}
    api = {"base_url": where[1], "key": secret, "ca_file": str(folder / "ca.pem"), "body": body}
    mail = {"host": "127.0.0.1", "port": int(smtp[1]), "user": "SMTP_Injection", "password": secret}
    mail |= {"ca_file": str(folder / "ca.pem"), "sender": "a@example.com", "recipient": "a@example.com"}
    settings.write_text(json.dumps({"targets": [{"name": "main", "api": api, "smtp": mail}]}))

    once = command("once", "--config", settings)
    simulator.send_signal(signal.SIGTERM)

    assert once.code == 0, once
    assert once.out.count("none / accepted") == 2
    assert simulator.wait(5.0) == 0
    assert "Traceback" not in path.read_text()
