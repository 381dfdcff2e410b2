"""All experiments at once: the daemon in each, healthy seconds, the fault, healthy seconds again, and its ledger."""

import contextlib
import math
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from probe.ledger.export import export_rows

if TYPE_CHECKING:
    from tests.system.network.network_servers import API_PORT, SMTP_PORT, Servers, Staff
    from tests.system.network.network_world import CONTROL_ADDRESSES, PROBER, PROVIDER_ADDRESSES, World
else:
    from network_servers import API_PORT, SMTP_PORT, Servers, Staff
    from network_world import CONTROL_ADDRESSES, PROBER, PROVIDER_ADDRESSES, World

ROOT: Final = Path(__file__).resolve().parents[3]
TIMEOUT_S: Final = 2
HEALTHY_S, FAULT_S, RECOVERY_S = 4.0, 9.0, 6.0
START_S_MAX: Final = 90.0
STOP_S_MAX: Final = 20.0
_POLL_S: Final = 0.05
_LATE_S: Final = 0.2
_SLOW_US: Final = 700_000  # an undisturbed control takes some 20 ms

Key = tuple[str, str]  # target and surface
Deed = Callable[[World, Staff], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """One target of an experiment."""

    name: str
    mode: str = "fresh"
    host: str = PROVIDER_ADDRESSES[0]
    size_bytes: int = 0  # how much is added to each message and call


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One fault, how it is brought about and taken away, and who is aimed at."""

    name: str
    inject: Deed
    heal: Deed
    aims: tuple[Aim, ...] = (Aim(name="kept", mode="kept"), Aim(name="fresh"))
    provider_addresses: tuple[str, ...] = PROVIDER_ADDRESSES[:1]
    resolvers: tuple[str, ...] = ()  # beside the host's own
    spares_controls: bool = False  # whether nothing that is broken can touch the controls


@dataclass(kw_only=True)
class Record:
    """What the ledger says of one experiment, and when the fault began and ended (wall clock, seconds)."""

    name: str
    fault_from_s: float = 0.0
    fault_until_s: float = 0.0
    begun_s: float = 0.0
    ended_s: float = 0.0
    log: str = ""
    overloaded: frozenset[int] = frozenset()
    seconds: list[dict[str, Any]] = field(default_factory=list)
    attempts: list[dict[str, Any]] = field(default_factory=list)
    controls: list[dict[str, Any]] = field(default_factory=list)

    def surfaces(self) -> list[Key]:
        """Return each target and surface."""
        return sorted({(row["target"], row["surface"]) for row in self.seconds})

    def verdicts(self, key: Key) -> dict[int, str]:
        """Map each second of a surface to what was judged: "available", "unavailable literal" and the like."""
        rows = [row for row in self.seconds if (row["target"], row["surface"]) == key]
        said = [row["verdict"] if row["basis"] == "none" else f"{row['verdict']} {row['basis']}" for row in rows]
        seconds = [row["second"] for row in rows]
        assert seconds == list(range(seconds[0], seconds[-1] + 1)), "each second has exactly one verdict"
        return dict(zip(seconds, said, strict=True))

    def made(self, key: Key) -> list[dict[str, Any]]:
        """Return the attempts of a surface."""
        return [row for row in self.attempts if (row["target"], row["surface"]) == key]

    def within(self, settle_s: float = 0.0) -> range:
        """Return the seconds whose attempts lie in the fault from their beginning to their deadline."""
        return range(math.ceil(self.fault_from_s + settle_s), math.floor(self.fault_until_s - TIMEOUT_S))

    def outside(self) -> list[int]:
        """Return the seconds whose attempts the fault can't have touched; the first and the last are cut short."""
        before = range(math.ceil(self.begun_s) + 1, math.floor(self.fault_from_s - TIMEOUT_S))
        after = range(math.ceil(self.fault_until_s) + 1, math.floor(self.ended_s - TIMEOUT_S))
        return [*before, *after]

    def stalled(self) -> set[int]:
        """Return the seconds in which the machine itself was too slow: by the daemon's word, or by others' pace."""
        late = {row["second"] for row in self.attempts if row["cause"] == "stalled" or lateness_s(row) > _LATE_S}
        return late | self.overloaded

    def seen(self, key: Key, seconds: Sequence[int]) -> dict[int, str]:
        """Return the verdicts of these seconds, but for those in which the machine stood still."""
        verdicts, stalled = self.verdicts(key), self.stalled()
        return {second: verdicts[second] for second in seconds if second not in stalled}

    def explain(self, key: Key, seconds: Sequence[int]) -> str:
        """Describe some seconds of a surface for a failure's message."""
        verdicts = self.verdicts(key)
        lines = [f"{self.name} {key}, fault from {self.fault_from_s:.2f} until {self.fault_until_s:.2f}"]
        for second in seconds:
            lines.append(f"{second} {verdicts.get(second)}")
            lines += [
                f"    {row['fault']} {row['cause']} in {row['phase']} after {row['duration_ms']:.0f} ms, "
                f"{row['connection']}: {row['reply'][:150]}"
                for row in self.made(key)
                if row["second"] == second
            ]
            lines += [
                f"    {row['control']}: worked {row['worked']}, {row['cause']} after {row['duration_us'] // 1000} ms"
                for row in self.controls
                if row["second"] == second
            ]
        return "\n".join(lines)


def lateness_s(row: dict[str, Any]) -> float:
    """Return how long after the end of its second an attempt was begun; 0 for one that was begun in time."""
    begun_s = datetime.fromisoformat(str(row["started_at"])).timestamp()
    return max(0.0, begun_s - int(row["second"]) - 1)


@dataclass(kw_only=True)
class Running:
    """One experiment under way."""

    experiment: Experiment
    world: World
    staff: Staff
    folder: Path
    record: Record
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """Return what the daemon has logged."""
        return (self.folder / "daemon.log").read_text(encoding="utf-8")


def run_all(experiments: Sequence[Experiment], folder: Path) -> dict[str, Record]:
    """Run all experiments beside each other, and remove what they made whatever happens."""
    with contextlib.ExitStack() as stack:
        worlds = [World(name=experiment.name) for experiment in experiments]
        servers = Servers(folder)
        stack.callback(servers.close)
        for world in worlds:
            stack.callback(world.remove)
        pool = stack.enter_context(ThreadPoolExecutor(4))  # entered last, so that nothing is made after the removal
        list(pool.map(World.make, worlds))
        under_way = []
        for experiment, world in zip(experiments, worlds, strict=True):
            staff = servers.staff(world, experiment.provider_addresses)
            running = _start(experiment, world, staff, servers, folder / world.name)
            stack.callback(_end, running.process)
            under_way.append(running)
        _wait_for_start(under_way)
        time.sleep(HEALTHY_S)
        _turn(under_way, inject=True, servers=servers)
        time.sleep(FAULT_S)
        _turn(under_way, inject=False, servers=servers)
        time.sleep(RECOVERY_S)
        for running in under_way:
            running.record.ended_s = time.time()
            running.process.send_signal(signal.SIGTERM)
        for running in under_way:
            code = running.process.wait(STOP_S_MAX)
            assert code == 0, f"{running.world.name}: the daemon ended with {code}: {running.log[-3000:]}"
        records = {running.world.name: _read(running) for running in under_way}
        overloaded = _overloaded(records[experiment.name] for experiment in experiments if experiment.spares_controls)
        for record in records.values():
            record.overloaded = overloaded
        return records


def _start(experiment: Experiment, world: World, staff: Staff, servers: Servers, folder: Path) -> Running:
    path = folder / "sev1probe.yaml"
    path.write_text(yaml.safe_dump(_settings(experiment, staff, servers, folder), sort_keys=False))
    with (folder / "daemon.log").open("wb") as sink:
        process = subprocess.Popen(
            world.command(PROBER, sys.executable, "-m", "probe", "run", "--config", str(path)),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
            start_new_session=True,
        )
    record = Record(name=experiment.name)
    return Running(experiment=experiment, world=world, staff=staff, folder=folder, record=record, process=process)


def _wait_for_start(under_way: Sequence[Running]) -> None:
    deadline = time.monotonic() + START_S_MAX
    for running in under_way:
        while "daemon.started" not in running.log:
            assert running.process.poll() is None, f"{running.world.name}: the daemon ended: {running.log[-3000:]}"
            assert time.monotonic() < deadline, f"{running.world.name}: not started: {running.log[-3000:]}"
            time.sleep(_POLL_S)
    for running in under_way:
        running.record.begun_s = time.time()


def _turn(under_way: Sequence[Running], *, inject: bool, servers: Servers) -> None:
    for running in under_way:
        record, experiment = running.record, running.experiment
        deed = experiment.inject if inject else experiment.heal
        before_s = time.time()
        deed(running.world, running.staff)
        # Whatever happened while it was brought about or taken away lies outside both kinds of seconds.
        if inject:
            record.fault_from_s = time.time()
        else:
            record.fault_until_s = before_s


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def _read(running: Running) -> Record:
    record, ledger = running.record, running.folder / "ledger.sqlite3"
    rows = list(export_rows(str(ledger), math.floor(record.begun_s) - 10, math.ceil(record.ended_s)))
    record.seconds = [row for row in rows if row["type"] == "second"]
    record.attempts = [row for row in rows if row["type"] == "attempt"]
    record.log = running.log
    with contextlib.closing(sqlite3.connect(ledger)) as connection:
        connection.row_factory = sqlite3.Row
        record.controls = [dict(row) for row in connection.execute("select * from control")]
    return record


def _overloaded(records: Iterable[Record]) -> frozenset[int]:
    """Return the seconds in which controls that no fault could touch were slow: then the machine itself was.

    An attempt of a second may have met what came up to its deadline.
    """
    slow = {row["second"] for record in records for row in record.controls if row["duration_us"] > _SLOW_US}
    return frozenset(second - before for second in slow for before in range(TIMEOUT_S + 1))


def _settings(experiment: Experiment, staff: Staff, servers: Servers, folder: Path) -> dict[str, Any]:
    return {
        "vantage": "here",
        "targets": [_target(aim, staff, servers.key_file) for aim in experiment.aims],
        "controls": [
            {
                "name": f"control-{number}",
                "kind": "http",
                "url": f"https://{host}/",
                "ca_file": str(servers.control_ca_file),
            }
            for number, host in enumerate(CONTROL_ADDRESSES, 1)
        ],
        "resolvers": list(experiment.resolvers),
        "ledger": {"url": str(folder / "ledger.sqlite3")},
        "listener": {"port": 0},
        "log": {"format": "json"},
    }


def _target(aim: Aim, staff: Staff, key_file: Path) -> dict[str, Any]:
    key = {"file": str(key_file)}
    common = {
        "ca_file": str(staff.ca_file),
        "timeout": f"{TIMEOUT_S}s",
        "connections": {"mode": aim.mode, **({"fresh_every": 0} if aim.mode == "kept" else {})},
    }
    padding = "x" * aim.size_bytes
    return {
        "name": aim.name,
        "api": {
            "base_url": f"https://{aim.host}:{API_PORT}/api/v1",
            "key": key,
            "body": {
                "recipients": [{"address": "probe@example.com.sink.sparkpostmail.com"}],
                "content": {"from": "probe@example.com", "subject": "{target}", "text": "{message_id}" + padding},
                "metadata": {"message_id": "{message_id}"},
            },
            **common,
        },
        "smtp": {
            "host": aim.host,
            "port": SMTP_PORT,
            "user": "SMTP_Injection",
            "password": key,
            "sender": "probe@example.com",
            "recipient": "probe@example.com.sink.sparkpostmail.com",
            "headers": {f"X-Padding-{n}": padding[at : at + 500] for n, at in enumerate(range(0, len(padding), 500))},
            **common,
        },
        "contract": {"persistence": {"unavailable": "60s", "window": "90s", "recovery": "60s"}},
    }
