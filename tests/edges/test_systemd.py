"""What a service manager hears, over a real socket."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from probe.systemd import STATUS_CHARACTERS_MAX, ServiceManager


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[socket.socket]:
    """Listen as a service manager does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(2)
        yield listening


def lines(listening: socket.socket) -> list[str]:
    """Receive one message."""
    return listening.recv(4096).decode().split("\n")


def told_nothing(listening: socket.socket) -> bool:
    """Say that no message waits."""
    listening.setblocking(False)
    try:
        listening.recv(4096)
    except BlockingIOError:
        return True
    finally:
        listening.settimeout(2)
    return False


def manager_at(listening: socket.socket, **more: str) -> ServiceManager:
    """Find the manager by the environment."""
    return ServiceManager({"NOTIFY_SOCKET": listening.getsockname(), **more})


def test_each_turn_of_a_life_is_told_in_the_words_of_sd_notify(heard: socket.socket) -> None:
    """Ready, how it goes, a reload with its instant, the watchdog and the end."""
    manager = manager_at(heard, WATCHDOG_USEC="20000000", WATCHDOG_PID=str(os.getpid()))
    assert manager.watchdog_s == 20
    manager.ready("Watching 1 target.")
    assert lines(heard) == ["READY=1", "STATUS=Watching 1 target."]
    manager.status("Watching\n2\ttargets.")
    assert lines(heard) == ["STATUS=Watching 2 targets."]
    manager.reloading()
    reloading, instant, status = lines(heard)
    assert (reloading, status[:7]) == ("RELOADING=1", "STATUS=")
    assert instant.removeprefix("MONOTONIC_USEC=").isdigit()
    manager.feed()
    assert lines(heard) == ["WATCHDOG=1"]
    manager.stopping()
    assert lines(heard)[0] == "STOPPING=1"
    manager.close()
    manager.feed()
    assert told_nothing(heard)


def test_an_abstract_socket_is_found_too() -> None:
    """A name that begins with @ is no file."""
    name = f"sev1probe-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0{name}")
        listening.settimeout(2)
        manager = ServiceManager({"NOTIFY_SOCKET": f"@{name}"})
        manager.ready("")
        assert lines(listening)[0] == "READY=1"
        manager.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "-5"},
        {"WATCHDOG_USEC": "many"},
        {"WATCHDOG_USEC": "9" * 5_000},
        {"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "1"},
    ],
)
def test_a_watchdog_that_is_not_ours_is_not_fed(heard: socket.socket, environment: dict[str, str]) -> None:
    """None was asked for, its interval is no number, or another process shall feed it."""
    manager = manager_at(heard, **environment)
    assert manager.watchdog_s is None
    manager.feed()
    assert told_nothing(heard)
    manager.close()


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234", "/nowhere/at/all", "/" + "x" * 300])
def test_a_manager_that_cannot_be_reached_is_no_trouble(address: str) -> None:
    """Without a service manager, or with one that went away, every message is simply lost."""
    manager = ServiceManager({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000"})
    manager.ready("x")
    manager.reloading()
    manager.feed()
    manager.stopping()
    manager.close()


def test_a_manager_that_does_not_listen_holds_nobody_up(heard: socket.socket) -> None:
    """Once its queue is full, messages are lost instead of waited for, and later ones get through again."""
    manager = manager_at(heard)
    for number in range(10_000):
        manager.status(f"{number} " + "x" * 10_000)
    waiting = 0
    while not told_nothing(heard):
        waiting += 1
    assert 0 < waiting < 10_000
    manager.status("y" * 10_000)
    assert lines(heard) == ["STATUS=" + "y" * STATUS_CHARACTERS_MAX]
    manager.close()
