"""The real daemon at the limits of its own process and host: whatever it lacks, nobody else is blamed.

The provider is healthy, or slow, in all of these, and a control works where the experiment leaves it a way to: every
second could be called unavailable, and none is.
"""

import contextlib
import ctypes
import errno
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from probe.core.model import Cause, Fault, Outcome, Step, Surface, Verdict

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Daemon, Provider, Start

Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
Read = Callable[[Path], list[Step]]

SECOND_US = 1_000_000
CLONE_NEWNET = 0x40000000
WARM_S = 3.0  # before the experiment
TRIED_S = 4.0  # the experiment
HEALED_S = 3.0  # after it
FRESH = {"mode": "fresh"}


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One daemon, the provider that it watches, and its ledger."""

    daemon: "Daemon"
    provider: "Provider"
    ledger: Path

    @property
    def pid(self) -> int:
        """Name the daemon's process."""
        return self.daemon.process.pid

    def second(self) -> int:
        """Return the second that it is now."""
        return int(time.time())

    def limit(self, what: int, soft: int) -> tuple[int, int]:
        """Set a limit of the running daemon; return what it was."""
        before = resource.prlimit(self.pid, what)
        resource.prlimit(self.pid, what, (soft, before[1]))
        return before

    def warm_up(self) -> None:
        """Wait until it probes, and then some seconds."""
        self.daemon.wait_for_start()
        self.daemon.wait(lambda: self.ledger.stat().st_size, "a ledger")
        time.sleep(WARM_S)


Begin = Callable[..., Bench]


@pytest.fixture
def begin(
    start: "Start",
    more_providers: Callable[[str], "Provider"],
    parts: Mapping[str, Describe],
    settings: Write,
    tmp_path: Path,
) -> Begin:
    """Give a function that runs a provider and a daemon that watches it, in the network of the calling thread."""
    one_at_a_time = threading.Lock()

    def run(name: str, timeout: str = "3s", **more: Any) -> Bench:
        with one_at_a_time:
            provider, ledger = more_providers(name), tmp_path / f"{name}.sqlite3"
            surfaces = {
                "api": parts["api"](provider.inner.api_url, provider.key_file, provider.ca_file, timeout, **more),
                "smtp": parts["smtp"](
                    "127.0.0.1", provider.inner.smtp_port, provider.key_file, provider.ca_file, timeout, **more
                ),
            }
            watched = {"name": "main", **surfaces, "attempts_per_second": 2, "in_flight_max": 60}
            config = settings(
                watched, name=f"{name}.yaml", ledger={"url": str(ledger)}, controls=[control_of(provider)]
            )
            return Bench(daemon=start(config, wait=False), provider=provider, ledger=ledger)

    return run


def control_of(provider: "Provider") -> dict[str, Any]:
    """Describe a control that works as long as the provider's host does."""
    return {"name": "here", "kind": "tcp", "address": f"127.0.0.1:{provider.inner.smtp_port}"}


Experiment = Callable[[Begin, Read], None]


def test_what_the_prober_lacks_is_its_own_fault(begin: Begin, recorded: Read, new_networks: None) -> None:
    """Used up descriptors, ports and memory, and a process that is stopped, are own faults; then it goes on."""
    experiments: list[Experiment] = [lack_descriptors, lack_ports, lack_memory, be_stopped, be_starved]
    ends = {experiment.__name__: in_thread(experiment, begin, recorded) for experiment in experiments}
    troubles = {name: end.exception() for name, end in ends.items()}
    for name, trouble in troubles.items():
        if trouble is not None:
            trouble.add_note(name)
            raise trouble


def test_a_core_that_is_shared_with_hogs_makes_the_provider_no_worse(begin: Begin, recorded: Read) -> None:
    """Two others never let go of the daemon's only core: seconds stay available, and none is the provider's fault."""
    bench = begin("hogged")
    bench.warm_up()
    core = min(os.sched_getaffinity(0))
    for task in Path(f"/proc/{bench.pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
    first_second = bench.second() + 1
    with hogs(core, 2):
        time.sleep(TRIED_S + 2)
    last_second = bench.second() - 1
    assert bench.daemon.end()[0] == 0

    found = steps_between(recorded(bench.ledger), first_second, last_second)
    assert_nobody_is_blamed(found)
    verdicts = Counter(step.verdict for step in found)
    assert verdicts[Verdict.AVAILABLE] >= len(found) - 1, verdicts


def lack_descriptors(begin: Begin, recorded: Read) -> None:
    """Every new connection needs a descriptor, and there is none left."""
    bench = begin("descriptors", connections=FRESH)
    bench.warm_up()
    before = bench.limit(resource.RLIMIT_NOFILE, 5)
    first_second = bench.second() + 1
    time.sleep(TRIED_S)
    last_second = bench.second() - 1
    bench.limit(resource.RLIMIT_NOFILE, before[0])
    healed_second = bench.second() + 1
    time.sleep(HEALED_S)
    assert bench.daemon.get("/-/healthy")[0] == 200
    assert bench.daemon.end()[0] == 0

    found = recorded(bench.ledger)
    assert_nobody_is_blamed(found)
    assert_all_are(found, first_second, last_second, Cause.DESCRIPTORS)
    assert_healed(found, healed_second)


def lack_ports(begin: Begin, recorded: Read) -> None:
    """In a network of its own, with few ports, somebody else holds a connection from each to the provider."""
    enter_new_network()
    bench = begin("ports", connections=FRESH)
    bench.warm_up()
    # Only now: the listeners of both took theirs from the same range.
    Path("/proc/sys/net/ipv4/ip_local_port_range").write_text("61000 61015")
    port_of_api = int(bench.provider.inner.api_url.split(":")[2].split("/")[0])
    with contextlib.ExitStack() as held:
        take_all_ports(held, port_of_api, bench.provider.inner.smtp_port)
        first_second = bench.second() + 1
        until_s = time.monotonic() + TRIED_S
        while time.monotonic() < until_s:
            time.sleep(0.05)
            take_all_ports(held, port_of_api, bench.provider.inner.smtp_port)
        last_second = bench.second() - 1
    healed_second = bench.second() + 2
    time.sleep(HEALED_S + 1)
    assert bench.daemon.end()[0] == 0

    found = recorded(bench.ledger)
    assert_nobody_is_blamed(found)
    assert_all_are(found, first_second, last_second, Cause.PORTS_USED_UP)
    assert_healed(found, healed_second)


def lack_memory(begin: Begin, recorded: Read) -> None:
    """The provider answers late, so attempts pile up, each with a connection of its own, and memory does not grow."""
    bench = begin("memory", connections=FRESH)
    bench.warm_up()
    bench.provider.set("api", "slow", by_s=2.0)
    bench.provider.set("smtp", "slow", phase="final", by_s=2.0)
    used_kb = int(next(line for line in status_of(bench.pid) if line.startswith("VmSize")).split()[1])
    before = bench.limit(resource.RLIMIT_AS, (used_kb + 256) * 1024)
    time.sleep(TRIED_S)
    bench.provider.clear()
    if bench.daemon.process.poll() is None:
        bench.limit(resource.RLIMIT_AS, before[0])
        time.sleep(HEALED_S)
    if bench.daemon.process.poll() is None:
        assert bench.daemon.end()[0] == 0
    else:  # It may end, but never without a word: whoever runs it starts it again, and it goes on from its record.
        assert bench.daemon.process.returncode not in (0, None)
        assert "MemoryError" in bench.daemon.log_path.read_text()

    found = recorded(bench.ledger)
    assert_nobody_is_blamed(found)
    has_ended = bench.daemon.process.returncode != 0
    assert has_ended or Cause.MEMORY in {outcome.cause for outcome in outcomes_of(found)}


def be_stopped(begin: Begin, recorded: Read) -> None:
    """SIGSTOP for longer than an attempt may take; the provider's late replies come in meanwhile and lie unread."""
    bench = begin("stopped")
    bench.warm_up()
    bench.provider.set("api", "slow", by_s=1.5)
    bench.provider.set("smtp", "slow", phase="final", by_s=1.5)
    time.sleep(2.0)  # until those in flight are slow ones
    stopped_s = 5.0
    bench.daemon.process.send_signal(signal.SIGSTOP)
    time.sleep(stopped_s)
    bench.daemon.process.send_signal(signal.SIGCONT)
    time.sleep(HEALED_S)
    assert bench.daemon.end()[0] == 0

    found = recorded(bench.ledger)
    assert_nobody_is_blamed(found)
    for surface in Surface:
        overdue = [
            outcome
            for outcome in outcomes_of(found)
            if outcome.surface is surface and outcome.duration_us > stopped_s * SECOND_US
        ]
        assert Cause.ACCEPTED in {outcome.cause for outcome in overdue}, (surface, overdue)
        # What had not come when the process was stopped may be lost; that it stood still is then all that is known.
        assert {outcome.cause for outcome in overdue} <= {Cause.ACCEPTED, Cause.STALLED}, (surface, overdue)
    (gap,) = [step for step in found if step.seconds > 2]
    assert gap.reason == "the prober did not run"
    assert gap.seconds in (4, 5)


def be_starved(begin: Begin, recorded: Read) -> None:
    """The process runs for a few milliseconds of each fifth of a second, and an attempt may take five of those.

    The provider is silent meanwhile, but from here that could not be told from replies that we were too slow to read.
    """
    bench = begin("starved", timeout="1s", connections=FRESH)
    bench.warm_up()
    starve(bench, 0.5)
    bench.provider.set("api", "silent", phase="first_byte")
    bench.provider.set("smtp", "silent", phase="final")
    starve(bench, TRIED_S - 2)
    bench.provider.clear()
    starve(bench, 1.5)  # longer than what was begun before may last
    assert bench.daemon.end()[0] == 0

    found = recorded(bench.ledger)
    assert_nobody_is_blamed(found)
    assert {outcome.cause for outcome in outcomes_of(found)} >= {Cause.ACCEPTED, Cause.STALLED}


# Means.


def starve(bench: Bench, starved_s: float) -> None:
    """Stop the process again and again, never for as long as a standstill is."""
    until_s = time.monotonic() + starved_s
    while time.monotonic() < until_s:
        bench.daemon.process.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        bench.daemon.process.send_signal(signal.SIGCONT)
        time.sleep(0.005)


def in_thread(experiment: Experiment, begin: Begin, recorded: Read) -> "Future[None]":
    """Carry out an experiment in a thread of its own, which may change its network, and return its end."""
    end: Future[None] = Future()

    def run() -> None:
        try:
            experiment(begin, recorded)
            end.set_result(None)
        except BaseException as error:  # noqa: BLE001
            end.set_exception(error)

    threading.Thread(target=run, name=experiment.__name__).start()
    return end


@pytest.fixture
def new_networks(do_without: Callable[[str], NoReturn]) -> None:
    """Skip where a test may not make a network of its own."""
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode != 0:
        do_without("needs root: nobody else may make a network namespace")


def enter_new_network() -> None:
    """Give the calling thread, and what it starts from now on, a network of its own; it ends with the last of them."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


def take_all_ports(held: contextlib.ExitStack, *ports: int) -> None:
    """Connect to each port from every port that is left."""
    for port in ports:
        while True:
            sock = held.enter_context(socket.socket())
            try:
                sock.connect(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                break


@contextlib.contextmanager
def hogs(core: int, count: int) -> Iterator[None]:
    """Keep a core busy."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        for hog in running:
            os.sched_setaffinity(hog.pid, {core})
        yield
    finally:
        for hog in running:
            hog.kill()
            hog.wait()


def status_of(pid: int) -> list[str]:
    """Return what the kernel says of a process."""
    return Path(f"/proc/{pid}/status").read_text().splitlines()


# What has to hold.


def outcomes_of(steps: list[Step]) -> list[Outcome]:
    """List the attempts."""
    return [outcome for step in steps for outcome in step.outcomes]


def steps_between(steps: list[Step], first_second: int, last_second: int) -> list[Step]:
    """Take the steps that lie within."""
    return [step for step in steps if first_second <= step.second and step.second + step.seconds - 1 <= last_second]


def assert_nobody_is_blamed(steps: list[Step]) -> None:
    """Every failure was ours, and no second is unavailable."""
    assert {outcome.fault for outcome in outcomes_of(steps)} <= {Fault.NONE, Fault.SELF}, [
        outcome for outcome in outcomes_of(steps) if outcome.fault not in (Fault.NONE, Fault.SELF)
    ]
    assert Verdict.UNAVAILABLE not in {step.verdict for step in steps}
    assert not [event for step in steps for event in step.events]


def assert_all_are(steps: list[Step], first_second: int, last_second: int, cause: Cause) -> None:
    """Within these seconds every attempt failed for this cause, and each second came to nothing."""
    within = steps_between(steps, first_second, last_second)
    assert len(within) >= TRIED_S - 2
    assert {outcome.cause for outcome in outcomes_of(within)} == {cause}
    judged = {step.verdict for step in within if not step.reason}
    assert judged == {Verdict.INCONCLUSIVE}, [(step.second, step.verdict) for step in within]


def assert_healed(steps: list[Step], first_second: int) -> None:
    """From then on, seconds are available again; the last may be cut short by the end."""
    after = [step for step in steps[:-1] if step.second >= first_second]
    assert after
    assert {step.verdict for step in after if not step.reason} == {Verdict.AVAILABLE}
