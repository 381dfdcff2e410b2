"""What systemd hears of a running daemon, and what a daemon whose second loop is broken says of itself."""

import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from probe.ledger import remarks_of
from probe.ledger.tables import RemarkKind
from probe.times import utc

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Daemon, Start

ROOT = Path(__file__).resolve().parents[3]

Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
FEED = "WATCHDOG=1"
# Held still for so long, a daemon that was fed by anything but itself would be heard.
STILL_S = 1.6

# A surface with a bug, put into the real program when its interpreter starts: while a file is there, its attempts
# neither end nor let themselves be cut off. So the second loop lives, and closes nothing.
DEAF_ATTEMPTS = """
import asyncio, os, pathlib
from probe.surfaces.api import ApiSurface
attempt = ApiSurface.attempt
async def deaf(self, ticket, deadline_us):
    while pathlib.Path(os.environ["DEAF_WHILE"]).exists():
        try:
            await asyncio.sleep(0.1)
        except asyncio.CancelledError:
            pass
    return await attempt(self, ticket, deadline_us)
ApiSurface.attempt = deaf
"""


class ServiceManager:
    """Hears what a service manager hears."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "20000000"}
        self.heard: list[str] = []

    def listen(self) -> list[str]:
        """Take what was said since the last call, a line each."""
        lines = list[str]()
        while True:
            try:
                lines += self._socket.recv(4096).decode().split("\n")
            except BlockingIOError:
                self.heard += lines
                return lines

    def has(self, start: str) -> bool:
        """Say whether a line that begins so was ever heard."""
        self.listen()
        return any(line.startswith(start) for line in self.heard)

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    """Listen as systemd does."""
    manager = ServiceManager(tmp_path / "notify")
    yield manager
    manager.close()


def feeds(daemon: "Daemon", manager: ServiceManager, count: int) -> float:
    """Wait until the watchdog was fed so many times more; return how long that took."""
    manager.listen()
    before, begun_s = manager.heard.count(FEED), time.monotonic()
    daemon.wait(lambda: manager.has(FEED) and manager.heard.count(FEED) >= before + count, f"{count} more feeds")
    return time.monotonic() - begun_s


def test_systemd_hears_of_every_turn_and_nothing_from_a_daemon_that_stands_still(
    start: "Start", target: Describe, settings: Write, manager: ServiceManager
) -> None:
    """Ready with the first second, fed once a second, not while stopped, a reload and the end announced."""
    daemon = start(settings(target()), **manager.environment)
    daemon.wait(lambda: manager.has("READY=1"), "READY=1")
    assert manager.heard[:2] == ["READY=1", "STATUS=Watching 1 target; no second closed yet; ledger ok."]
    feeds(daemon, manager, 1)
    assert 1.5 < feeds(daemon, manager, 3) < 6

    daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)  # What it had said by then is on its way.
    manager.listen()
    time.sleep(STILL_S)
    assert manager.listen() == []
    daemon.process.send_signal(signal.SIGCONT)
    feeds(daemon, manager, 1)

    manager.heard.clear()
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait(lambda: manager.has("READY=1"), "the end of the reload")
    said = [line for line in manager.heard if line != FEED]
    assert said[0] == "RELOADING=1"
    assert abs(int(said[1].removeprefix("MONOTONIC_USEC=")) - time.monotonic_ns() // 1000) < 10_000_000
    assert daemon.end()[0] == 0
    assert manager.has("STOPPING=1")
    assert FEED not in manager.heard[manager.heard.index("STOPPING=1") :]


def test_a_second_loop_that_closes_nothing_starves_the_watchdog_and_raises_the_condition(
    start: "Start",
    command: "Command",
    target: Describe,
    settings: Write,
    manager: ServiceManager,
    tmp_path: Path,
) -> None:
    """The listener answers all the while; the condition is told everywhere, and over once the next run judges."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "sitecustomize.py").write_text(DEAF_ATTEMPTS)
    deaf = tmp_path / "deaf"
    told = tmp_path / "told"
    program = tmp_path / "tell.sh"
    program.write_text(f'#!/bin/sh\necho "$SEV1PROBE_CONDITION $SEV1PROBE_TARGET $SEV1PROBE_TURN" >> {told}\n')
    program.chmod(0o700)
    watched = target(timeout="1s")
    del watched["smtp"]
    config = settings(watched, blind_after="6s", on_condition=str(program))
    broken = {"PYTHONPATH": f"{tmp_path / 'broken'}:{ROOT}", "DEAF_WHILE": str(deaf), **manager.environment}
    daemon = start(config, **broken)
    feeds(daemon, manager, 2)
    assert daemon.metric("blind", target="main") == 0
    deaf.touch()
    raised = daemon.wait_for_log("blind.raised")
    assert (raised["level"], raised["target"], raised["surface"]) == ("critical", "main", "self")
    assert "attempts or controls do not end" in raised["words"]
    manager.listen()
    assert daemon.get("/-/healthy")[0] == 503
    assert "blind for main" in daemon.get("/-/healthy")[1]
    assert daemon.metric("blind", target="main") == daemon.metric("blind_conditions_total", target="main") == 1
    shown = json.loads(daemon.get("/api/v1/status")[1])
    assert [(one["condition"], one["target"]) for one in shown["conditions"]] == [("blind", "main")]
    seen = command("status", "--url", daemon.url)
    assert seen.code == 1
    assert "THE PROBER IS BLIND for main" in seen.out
    assert "network faults stay inconclusive" in seen.out
    assert FEED not in manager.listen()

    ledger = str(tmp_path / "ledger.sqlite3")
    daemon.wait(lambda: remarks_of(ledger, RemarkKind.CONDITION), "the condition in the ledger")
    daemon.wait_for_log("on_condition.ended")

    # Nothing but a restart helps, as systemd would do it.
    daemon.end(signal.SIGKILL)
    deaf.unlink()
    daemon = start(config, **broken)
    assert daemon.wait_for_log("blind.still")["since"] == raised["since"]
    assert daemon.wait_for_log("blind.over")["since"] == raised["since"]
    assert daemon.metric("blind", target="main") == 0
    feeds(daemon, manager, 1)
    daemon.wait_for_log("on_condition.ended")
    assert told.read_text().splitlines() == ["blind main raised", "blind main over"]
    assert daemon.end()[0] == 0
    kept = remarks_of(ledger, RemarkKind.CONDITION)
    assert [(turn.target, turn.raised, utc(turn.since_second)) for turn in kept] == [
        ("main", True, raised["since"]),
        ("main", False, raised["since"]),
    ]
