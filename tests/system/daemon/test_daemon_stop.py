"""How the daemon ends, and what a daemon that was killed leaves to the next one."""

import contextlib
import math
import signal
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Daemon, Evidence, Provider, Start


@pytest.fixture
def config(target: Callable[..., dict[str, Any]], settings: Callable[..., Path]) -> Path:
    """Watch the simulated provider with a deadline of 3 s."""
    return settings(target(timeout="3s"))


@pytest.fixture
def scrapers() -> Iterator[contextlib.ExitStack]:
    """Hold what is closed at the end of the test."""
    with contextlib.ExitStack() as open_until_the_end:
        yield open_until_the_end


def test_daemons_whose_attempts_all_hang_end_in_time(
    start: "Start",
    target: Callable[..., dict[str, Any]],
    settings: Callable[..., Path],
    provider: "Provider",
    evidence: Callable[..., "Evidence"],
    scrapers: contextlib.ExitStack,
    tmp_path: Path,
) -> None:
    """Whatever asks them to, they end within the deadline, with code 0 and the last second that was begun."""
    provider.set("api", "silent", phase="first_byte")
    provider.set("smtp", "silent", phase="banner")
    askings = ((signal.SIGTERM,), (signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM, signal.SIGINT))
    ledgers = [tmp_path / f"ledger-{number}.sqlite3" for number in range(len(askings))]
    configs = [
        settings(target(timeout="3s"), name=f"{ledger.stem}.yaml", ledger={"url": str(ledger)}) for ledger in ledgers
    ]
    daemons = [start(config, wait=False) for config in configs]
    for daemon in daemons:
        daemon.wait_for_start()
    for daemon in daemons:
        _wait_for_flights(daemon)
    # Half a request and a kept connection, as scrapers leave them, hold up nobody either.
    port = int(daemons[0].url.rpartition(":")[2])
    half, kept = (scrapers.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(2))
    half.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
    kept.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert kept.recv(4096).startswith(b"HTTP/1.1 200")

    asked_s, begun_s = time.time(), time.monotonic()
    for daemon, numbers in zip(daemons, askings, strict=True):
        for number in numbers:
            daemon.process.send_signal(number)
            daemon.wait_for_log("daemon.stopping")
    codes = [daemon.process.wait(5.0) for daemon in daemons]
    assert codes == [0, 0, 0]
    assert time.monotonic() - begun_s < 3.0

    for daemon, ledger in zip(daemons, ledgers, strict=True):
        found = evidence(ledger)
        assert found.of("api")[-1]["second"] in (math.floor(asked_s) - 1, math.floor(asked_s))
        assert {row["cause"] for row in found.attempts} <= {"stopped", "silent"}
        assert len(daemon.log("daemon.stopping")) == 1
        assert len(daemon.log("daemon.stopped")) == 1


def test_a_healthy_daemon_ends_at_once(
    start: "Start", config: Path, provider: "Provider", evidence: Callable[..., "Evidence"]
) -> None:
    """Without attempts to wait for it takes no second, and everything that the provider took is in the ledger."""
    daemon = start(config)
    daemon.wait_for_recent("AA")

    code, took_s = daemon.end()

    assert code == 0
    assert took_s < 1.0
    found = evidence()
    for surface in ("api", "smtp"):
        assert found.accepted(surface) == set(provider.taken(surface))
        assert provider.attempts(surface) == len(found.made(surface))


def _wait_for_flights(daemon: "Daemon") -> None:
    def two_on_each() -> bool:
        return all(daemon.metric("attempts_in_flight", target="main", surface=s) >= 2 for s in ("api", "smtp"))

    daemon.wait(two_on_each, "two attempts in flight on each surface")


def test_a_daemon_killed_in_an_outage_is_taken_up_by_the_next(
    start: "Start",
    target: Callable[..., dict[str, Any]],
    settings: Callable[..., Path],
    provider: "Provider",
    evidence: Callable[..., "Evidence"],
    tmp_path: Path,
) -> None:
    """The open issue stays the same one, the seconds between are unobserved and say why, and the totals go on."""
    config = settings(target())
    first = start(config)
    first.wait_for_recent("AA")
    provider.set("api", "status", status=503)
    silence_began_s = time.time()
    issue = first.wait_for_log("critical_issue.opened")
    before = first.status()["totals"]
    first.process.kill()
    killed_s = time.time()
    assert first.process.wait() == -signal.SIGKILL

    second = start(config)
    recovered = second.wait_for_log("target.recovered")
    assert recovered["critical_issue"] == issue["issue"]
    assert second.status()["critical_issue"]["issue"] == issue["issue"]
    assert second.metric("critical_issue_open", target="main") == 1
    gap = second.wait_for_log("seconds.unobserved")
    assert gap["reason"] == "the daemon was down"
    assert second.status()["totals"]["unavailable_seconds"] >= before["unavailable_seconds"]
    provider.clear()
    restored = second.wait_for_log("critical_issue.restored")
    assert restored["issue"] == issue["issue"]
    assert not second.log("critical_issue.opened")
    totals, last_second = second.status()["totals"], second.status()["last_second"]
    assert second.end()[0] == 0

    found = evidence()
    for surface in ("api", "smtp"):
        verdicts = found.verdicts(surface)
        unobserved = [second for second, verdict in verdicts.items() if verdict == "unobserved"]
        assert len(unobserved) == gap["seconds"] >= 1
        assert killed_s - 3 < unobserved[0] <= killed_s + 1
    whole = [
        _whole(found.verdicts("api")[second], found.verdicts("smtp")[second])
        for second in found.verdicts("api")
        if second <= last_second
    ]
    # The status may have been read between two seconds, so it may be one behind its own last second.
    for verdict in ("available", "unavailable", "unobserved"):
        assert abs(whole.count(verdict) - totals[f"{verdict}_seconds"]) <= 1
    since = min(second for second, verdict in found.verdicts("api").items() if verdict == "unavailable")
    assert int(silence_began_s) <= since <= silence_began_s + 1
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as ledger:
        events = ledger.execute("SELECT issue, turn, since_second FROM event ORDER BY batch, position").fetchall()
    ledger.close()
    assert [event[:2] for event in events] == [(issue["issue"], "opened"), (issue["issue"], "restored")]
    assert events[0][2] == since


def _whole(*verdicts: str) -> str:
    """Judge the target as the design has it."""
    if "unavailable" in verdicts:
        return "unavailable"
    if "inconclusive" in verdicts:
        return "inconclusive"
    return verdicts[0]
