"""An hour of real time against the simulated provider with random faults; every second is compared with the truth.

SOAK_SECONDS (3600) and SOAK_SEED (random) are read from the environment.
"""

import asyncio
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import yaml

from probe.core.model import Surface
from probe.core.schedule import phase_us
from probe.simulator import ProviderOptions, SimulatedProvider

if TYPE_CHECKING:
    from tests.soak.soak_account import GUARD_S, Account, Event, Key, lateness_ms
    from tests.soak.soak_faults import TIMEOUT_S
    from tests.soak.soak_plan import Deed, Window, deeds, windows
else:
    from soak_account import GUARD_S, Account, Event, Key, lateness_ms
    from soak_faults import TIMEOUT_S
    from soak_plan import Deed, Window, deeds, windows

ROOT = Path(__file__).resolve().parents[2]
SECONDS = int(os.environ.get("SOAK_SECONDS", "3600"))
SEED = int(os.environ.get("SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)
PERSISTENCE = (20, 30, 15)
MODES = ("kept", "fresh")  # targets and the way in which they use connections
KEY = "soak-key-5d0c2f9a41"
SCRAPE_S, STATUS_S = 15, 10
STOP_S = 3.0
DAEMON_GROWTH_KIB_MAX = 24 * 1024
WARM_UP_S = 60


@dataclass(kw_only=True)
class Daemon:
    """The daemon, killed and started again at will, on one port."""

    config: Path
    url: str
    log_path: Path
    process: subprocess.Popen[bytes] | None = None
    begun_s: float = 0.0
    memory_kib: list[tuple[int, float, int]] = field(default_factory=list)

    async def start(self) -> tuple[float, float]:
        """Start it and wait until it is ready; return both instants."""
        self.begun_s = time.time()
        with self.log_path.open("ab") as sink:
            self.process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once.
                [sys.executable, "-m", "probe", "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        while await self.get("/-/ready") is None:
            assert self.process.poll() is None, self.log_path.read_text()[-4000:]
            assert time.time() < self.begun_s + 30, self.log_path.read_text()[-4000:]
            await asyncio.sleep(0.05)
        return self.begun_s, time.time()

    async def get(self, path: str) -> str | None:
        """Ask its listener; None if it does not answer or is not well."""
        with suppress(aiohttp.ClientError, TimeoutError):
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
                session.get(self.url + path) as reply,
            ):
                return await reply.text() if reply.status == 200 else None
        return None

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        assert self.process is not None
        assert self.process.poll() is None, self.log_path.read_text()[-4000:]
        self.process.send_signal(number)

    def note_memory(self) -> None:
        """Read how much memory it has."""
        assert self.process is not None
        with suppress(OSError):
            found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())
            if found:
                self.memory_kib.append((self.process.pid, time.time() - self.begun_s, int(found[1])))

    def growth_kib(self) -> dict[int, tuple[int, int]]:
        """Give the memory of each life after its warm-up and at its end."""
        lives: dict[int, list[int]] = {}
        for pid, age_s, kib in self.memory_kib:
            if age_s >= WARM_UP_S or SECONDS < 600:
                lives.setdefault(pid, []).append(kib)
        return {pid: (readings[0], readings[-1]) for pid, readings in lives.items()}

    async def end(self, number: signal.Signals) -> None:
        """End it and wait."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)
            await asyncio.to_thread(self.process.wait, 15)


@dataclass(kw_only=True)
class Journal:
    """What was really done, and when."""

    downs: list[tuple[float, float, float]] = field(default_factory=list)
    stops: list[tuple[float, float]] = field(default_factory=list)
    reloads: int = 0
    scrapes: Counter[str] = field(default_factory=Counter)


@pytest.mark.soak
@pytest.mark.slow
async def test_every_second_of_a_real_hour_is_judged_as_it_was(
    tmp_path: Path, free_port: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    """Under random faults, reloads, stops and kills, each second's verdict is what was really done in it."""

    def say(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"{text}\n")
            sys.stdout.flush()

    say(f"\nsoak: SOAK_SECONDS={SECONDS} SOAK_SEED={SEED}, files in {tmp_path}")
    async with AsyncExitStack() as stack:
        providers = {
            mode: await stack.enter_async_context(
                SimulatedProvider(ProviderOptions(key=KEY, records_max=4 * SECONDS), directory=tmp_path / mode)
            )
            for mode in MODES
        }
        controls = [await stack.enter_async_context(listener()) for _ in range(2)]
        port = free_port()
        config = write_settings(tmp_path, providers, controls, port)
        daemon = Daemon(config=config, url=f"http://127.0.0.1:{port}", log_path=tmp_path / "daemon.log")
        stack.push_async_callback(daemon.end, signal.SIGKILL)
        await daemon.start()
        first = int(time.time()) + 1
        plan = {(mode, surface): windows(SEED, mode, surface, first, SECONDS) for mode in MODES for surface in Surface}
        journal = Journal()
        await run(daemon, providers, plan, journal, first, say)
        last_second = int(time.time()) - TIMEOUT_S - 2
        await daemon.end(signal.SIGTERM)
        received = {key: providers[key[0]].received(key[1]) for key in plan}
    account = Account(
        windows=plan,
        received=received,
        rows=exported(tmp_path),
        events=events(tmp_path),
        persistence=PERSISTENCE,
        last_second=last_second,
        downs=journal.downs,
        stops=journal.stops,
    )
    account.compare()
    account.disagreements += verified(tmp_path)
    account.disagreements += grown(daemon)
    for line in summary(account, daemon, journal):
        say(line)
    assert not account.disagreements, f"{len(account.disagreements)} disagreements, named above; SOAK_SEED={SEED}"


# What happens.


async def run(
    daemon: Daemon,
    providers: dict[str, SimulatedProvider],
    plan: dict[Key, list[Window]],
    journal: Journal,
    first: int,
    say: Callable[[str], None],
) -> None:
    """Let everything happen until the time is over; what fails ends the run at once."""
    end_s = first + SECONDS
    background = [
        asyncio.create_task(play(providers[target], surface, found)) for (target, surface), found in plan.items()
    ]
    background += [
        asyncio.create_task(disturb(daemon, journal, first)),
        asyncio.create_task(ask(daemon, journal, "/metrics", SCRAPE_S)),
        asyncio.create_task(ask(daemon, journal, "/api/v1/status", STATUS_S)),
    ]
    try:
        while time.time() < end_s:
            await asyncio.sleep(min(60.0, end_s - time.time()))
            say(f"soak: {time.time() - first:.0f} s of {SECONDS} s")
            for task in background:
                if task.done():
                    task.result()
    finally:
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)


async def until(when_s: float) -> None:
    """Sleep until an instant of the wall clock."""
    while (left_s := when_s - time.time()) > 0:  # noqa: ASYNC110 - the wall clock has no events.
        await asyncio.sleep(left_s)


async def play(provider: SimulatedProvider, surface: Surface, plan: list[Window]) -> None:
    """Begin and end each fault just before the border of its seconds, and note when that really was."""
    for window in plan:
        window.began_s = window.ended_s = float("inf")
        await until(window.first - GUARD_S)
        provider.set(surface, window.row.fault)
        window.began_s = time.time()
        await until(window.end - GUARD_S)
        window.ended_s = time.time()
        provider.clear(surface)


async def disturb(daemon: Daemon, journal: Journal, first: int) -> None:
    """Reload, stop and kill the daemon."""
    dice = random.Random(SEED)  # noqa: S311 - repeatable, not secret.
    for at, deed in deeds(SEED, first, SECONDS):
        await until(at)
        match deed:
            case Deed.RELOAD:
                daemon.send(signal.SIGHUP)
                journal.reloads += 1
            case Deed.STOP:
                stopped_s = time.time()
                daemon.send(signal.SIGSTOP)
                await asyncio.sleep(STOP_S)
                daemon.send(signal.SIGCONT)
                journal.stops.append((stopped_s, time.time()))
            case Deed.KILL:
                killed_s = time.time()
                await daemon.end(signal.SIGKILL)
                await asyncio.sleep(dice.uniform(0, 4))
                journal.downs.append((killed_s, *await daemon.start()))


async def ask(daemon: Daemon, journal: Journal, path: str, every_s: float) -> None:
    """Ask the listener again and again, and note its memory."""
    while True:
        answer = await daemon.get(path)
        journal.scrapes[f"{path} {'answered' if answer else 'unanswered'}"] += 1
        daemon.note_memory()
        await asyncio.sleep(every_s)


@asynccontextmanager
async def listener() -> AsyncIterator[str]:
    """Listen for a control, and take every connection."""

    async def take(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(take, "127.0.0.1", 0, backlog=1024)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await server.wait_closed()


def write_settings(folder: Path, providers: dict[str, SimulatedProvider], controls: list[str], port: int) -> Path:
    """Write the daemon's settings."""
    key_file = folder / "key"
    key_file.write_text(KEY)
    key_file.chmod(0o600)
    unavailable, window, recovery = PERSISTENCE
    whole = {
        "vantage": "soak",
        "targets": [
            {
                "name": mode,
                "api": {
                    "base_url": provider.api_url,
                    "key": {"file": str(key_file)},
                    "ca_file": str(provider.ca_file),
                    "timeout": f"{TIMEOUT_S}s",
                    "connections": {"mode": mode},
                    "body": {
                        "recipients": [{"address": "probe@example.com.sink.sparkpostmail.com"}],
                        "content": {"from": "probe@example.com", "subject": "{target}", "text": "{message_id}"},
                        "metadata": {"message_id": "{message_id}"},
                    },
                },
                "smtp": {
                    "host": "127.0.0.1",
                    "port": provider.smtp_port,
                    "user": provider.user,
                    "password": {"file": str(key_file)},
                    "ca_file": str(provider.ca_file),
                    "sender": "probe@example.com",
                    "recipient": "probe@example.com.sink.sparkpostmail.com",
                    "timeout": f"{TIMEOUT_S}s",
                    "connections": {"mode": mode},
                },
                "contract": {
                    "persistence": {
                        "unavailable": f"{unavailable}s",
                        "window": f"{window}s",
                        "recovery": f"{recovery}s",
                    }
                },
            }
            for mode, provider in providers.items()
        ],
        "controls": [
            {"name": f"control-{number}", "kind": "tcp", "address": address} for number, address in enumerate(controls)
        ],
        "ledger": {"url": str(folder / "ledger.sqlite3")},
        "listener": {"port": port},
        "log": {"format": "json"},
    }
    path = folder / "sev1probe.yaml"
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path


# What is left behind.


def ledger_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the ledger."""
    return subprocess.run(
        [sys.executable, "-m", "probe", "ledger", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"},
        cwd=folder,
    )


def exported(folder: Path) -> list[dict[str, Any]]:
    """Export the seconds and attempts of the ledger, and leave out what is kept beside them."""
    done = ledger_command(folder, "export", str(folder / "ledger.sqlite3"))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [row for row in rows if row["type"] in {"second", "attempt"}]


def verified(folder: Path) -> list[str]:
    """Say what `ledger verify` finds."""
    done = ledger_command(folder, "verify", str(folder / "ledger.sqlite3"))
    return [] if done.returncode == 0 and "sound" in done.stdout else [f"ledger verify: {done.stdout}{done.stderr}"]


def events(folder: Path) -> list[Event]:
    """Read the turns of all issues, which the export does not have."""
    with sqlite3.connect(folder / "ledger.sqlite3") as ledger:
        found = ledger.execute("select target, turn, since_second, noticed_second from event").fetchall()
    ledger.close()
    return [tuple(row) for row in found]


def grown(daemon: Daemon) -> list[str]:
    """Name each life of the daemon whose memory was not flat."""
    return [
        f"process {pid} grew from {before} to {after} KiB"
        for pid, (before, after) in daemon.growth_kib().items()
        if SECONDS >= 600 and after - before > DAEMON_GROWTH_KIB_MAX
    ]


def summary(account: Account, daemon: Daemon, journal: Journal) -> list[str]:
    """Say what the run has shown."""
    due_us = {(mode, surface): phase_us("soak", mode, surface) for mode in MODES for surface in Surface}
    late = lateness_ms(account.rows, due_us)
    lines = [f"compared {account.compared.total()} seconds; verdicts {dict(account.verdicts.most_common())}"]
    lines += [f"  {count:6d}  {kind}" for kind, count in account.compared.most_common()]
    lines += [f"  {line}" for line in account.disturbed if "stop" in line and "available/none" not in line]
    lines += [
        f"reloads {journal.reloads}, stops {len(journal.stops)}, kills {len(journal.downs)}",
        f"asked {dict(journal.scrapes)}",
        f"issue events {len(account.events)}; messages taken {sum(map(len, account.received.values()))}",
        f"lateness of starts: p50 {late[len(late) // 2]:.2f} ms, p99.9 {late[int(len(late) * 0.999)]:.2f} ms, "
        f"most {late[-1]:.2f} ms",
        f"memory of each life, KiB after {WARM_UP_S} s and at its end: {list(daemon.growth_kib().values())}",
        f"seconds compared {account.compared.total()}, false Unavailable {account.false_unavailable}, "
        f"missed Unavailable {account.missed_unavailable}, unobserved {account.unobserved}, "
        f"disagreements {len(account.disagreements)}",
    ]
    return lines + [f"  {disagreement}" for disagreement in account.disagreements]
