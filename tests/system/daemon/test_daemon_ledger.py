"""A ledger that can't be written: while the daemon runs, and at its start."""

import os
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Ended, Evidence, Provider, Start

Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
DISK_SIZE = "2m"


@pytest.fixture
def small_disk(tmp_path: Path, do_without: Callable[[str], NoReturn]) -> Iterator[Path]:
    """Mount a real file system of 2 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    if os.geteuid() != 0:
        do_without("needs root: nobody else may mount a file system")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        do_without("needs a machine that lets a test mount a tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True, capture_output=True)


def fill(folder: Path) -> Path:
    """Leave no byte free."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65_536, 4_096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return filler


def test_a_full_disk_keeps_nobody_from_being_called(
    start: "Start",
    command: "Command",
    target: Describe,
    settings: Write,
    provider: "Provider",
    evidence: Callable[..., "Evidence"],
    small_disk: Path,
) -> None:
    """Probing goes on, the issue opens with "not yet recorded", and all of it is in the ledger once there is room."""
    ledger = small_disk / "ledger.sqlite3"
    config = settings(target(), ledger={"url": str(ledger)})
    daemon = start(config)
    daemon.wait_for_recent("A")

    filler = fill(small_disk)
    provider.set("api", "status", status=503)
    trouble = daemon.wait_for_log("ledger.unwritable")
    opened = daemon.wait_for_log("critical_issue.opened")
    assert "the disk is full" in trouble["reason"]
    assert opened["record"] == "NOT YET RECORDED: the ledger can't be written"
    code, sentence = daemon.get("/-/healthy")
    assert code == 503
    assert "Probing goes on" in sentence
    assert "the disk is full" in sentence
    assert daemon.get("/-/ready")[0] == 200
    assert daemon.metric("ledger_writable") == 0
    assert daemon.metric("unrecorded_seconds") > 0
    assert daemon.metric("critical_issue_open", target="main") == 1
    provider.clear()
    restored = daemon.wait_for_log("critical_issue.restored")
    assert "NOT YET RECORDED" in restored["record"]
    shown = daemon.status()["totals"]

    filler.unlink()
    daemon.wait_for_log("ledger.writable_again")
    daemon.wait(lambda: daemon.metric("unrecorded_seconds") == 0, "everything recorded")
    assert daemon.get("/-/healthy")[0] == 200
    assert daemon.metric("ledger_writable") == 1
    assert daemon.end()[0] == 0

    found = evidence(ledger)
    verdicts = list(found.verdicts("api").values())
    assert "unobserved" not in verdicts
    assert verdicts.count("unavailable") == shown["unavailable_seconds"]
    assert verdicts.count("available") >= shown["available_seconds"]
    with sqlite3.connect(ledger) as connection:
        turns = connection.execute("SELECT issue, turn FROM event ORDER BY batch, position").fetchall()
    connection.close()
    assert turns == [(opened["issue"], "opened"), (opened["issue"], "restored")]

    # On a disk that may only be read the next daemon does not start.
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, capture_output=True)
    ended = command("run", "--config", config)
    assert ended.code == 3, ended
    assert str(ledger) in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


def test_a_ledger_that_cannot_be_used_ends_the_start(
    command: "Command", target: Describe, settings: Write, tmp_path: Path
) -> None:
    """No folder, a folder in place of the file, no database at all: one sentence that names it, exit 3."""
    text = tmp_path / "text.sqlite3"
    text.write_text("not a database, whatever its name says\n" * 100)
    folder = tmp_path / "folder.sqlite3"
    folder.mkdir()
    cases = {
        tmp_path / "nowhere" / "ledger.sqlite3": "the file cannot be opened",
        text: "the file is not a ledger",
        folder: "the file cannot be opened",
    }
    for ledger, words in cases.items():
        _assert_refused(command("run", "--config", settings(target(), ledger={"url": str(ledger)})), ledger, words)


def test_another_programs_database_is_left_alone(
    command: "Command", target: Describe, settings: Write, free_port: Callable[[], int], tmp_path: Path
) -> None:
    """A database that holds somebody else's tables is refused, and nothing is written into it."""
    foreign = tmp_path / "foreign.sqlite3"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE customer (name TEXT)")
    connection.close()
    before = foreign.read_bytes()

    with socket.create_server(("127.0.0.1", free_port())) as taken:
        # Without a port to listen on the start ends in any case, also if the ledger is taken by mistake.
        listener = {"port": taken.getsockname()[1]}
        ended = command("run", "--config", settings(target(), ledger={"url": str(foreign)}, listener=listener))

    assert foreign.read_bytes() == before
    _assert_refused(ended, foreign, "")


def _assert_refused(ended: "Ended", ledger: Path, words: str) -> None:
    assert ended.code == 3, ended
    last = ended.err.splitlines()[-1]
    assert last.startswith(f"The ledger can't be used, so nothing would be proven: {ledger}: "), ended
    assert words in last
    assert "Traceback" not in ended.err


def test_a_daemon_that_never_gets_its_disk_back_says_what_is_lost(
    start: "Start", target: Describe, settings: Write, small_disk: Path, evidence: Callable[..., "Evidence"]
) -> None:
    """It ends in time all the same, says how much is left unwritten, and what was written verifies."""
    ledger = small_disk / "ledger.sqlite3"
    config = settings(target(), ledger={"url": str(ledger)})
    daemon = start(config)
    daemon.wait_for_recent("A")
    fill(small_disk)
    daemon.wait_for_log("ledger.unwritable")

    code, took_s = daemon.end()

    assert code == 3  # What was seen is not all recorded.
    assert took_s < 2.0
    assert daemon.log("ledger.left_unwritten")[0]["records"] > 0
    (small_disk / "filler").unlink()
    assert evidence(ledger).seconds
