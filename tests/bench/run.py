"""`make bench`: what an attempt costs, and how many targets one core holds. Ratios of the same run; nothing asserted.

The program is pinned to core 0 and all servers to core 1. Machines are small and noisy: read the medians, and a figure
only beside the one that it is divided by.
"""

import argparse
import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probe.core.model import Surface
from probe.core.schedule import phase_us
from tests.bench import peers

HERE = Path(__file__).parent

PROGRAM_CORE, SERVER_CORE = 0, 1
TICKS = os.sysconf("SC_CLK_TCK")
VANTAGE = "bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """The simulated provider, running."""

    api_url: str
    smtp_port: int
    ca_file: Path
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One run of the daemon. Lateness in milliseconds, sorted; `lost` counts seconds nobody looked at."""

    cpu_s: float
    seconds: float
    attempts: int
    accepted: int
    lateness_ms: list[float]
    lost: int
    capped: int
    rss_mb: float
    scrape_ms: list[float]

    @property
    def cpu_ms(self) -> float:
        """CPU per attempt."""
        return 1000 * self.cpu_s / max(1, self.attempts)

    def late(self, share: float) -> float:
        """The lateness that this share of attempt starts stays under."""
        return self.lateness_ms[min(len(self.lateness_ms) - 1, int(share * len(self.lateness_ms)))]

    def line(self) -> str:
        """Write it for people."""
        late = ", ".join(f"p{100 * share:g} {self.late(share):.2f}" for share in (0.5, 0.99, 0.999))
        return (
            f"{self.attempts:7,} attempts, {self.accepted:7,} accepted, {self.lost} seconds lost, "
            f"{self.capped} capped; {self.cpu_ms:.3f} ms CPU each, core {100 * self.cpu_s / self.seconds:.0f} % busy; "
            f"lateness {late}, max {self.late(1):.1f} ms; {self.rss_mb:.0f} MB"
        )


def pinned(core: int) -> Callable[[], None]:
    """Make a child's first act that it goes to its core."""
    return lambda: os.sched_setaffinity(0, {core})


@contextmanager
def child(command: list[str], core: int, **options: Any) -> Iterator["subprocess.Popen[str]"]:
    """Run a process on a core; stop it by its own id."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, text=True, preexec_fn=pinned(core), **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def provider(folder: Path, scenario: str = "") -> Iterator[Provider]:
    """Run the simulated provider."""
    script = folder / "scenario.yaml"
    script.write_text(scenario or "seed: 1\n")
    command = [
        sys.executable,
        "-u",
        "-m",
        "probe",
        "simulate",
        str(script),
        "--api-port=0",
        "--smtp-port=0",
        "--page-port=0",
    ]
    with child([*command, f"--directory={folder}"], SERVER_CORE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        facts: dict[str, str] = {}
        while "authority" not in facts:
            word, _, rest = process.stdout.readline().partition(" ")
            facts[word] = rest.strip()
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield Provider(
            api_url=facts["API"],
            smtp_port=int(facts["SMTP"].split(" ")[0].rpartition(":")[2]),
            ca_file=Path(facts["authority"]),
            key=(folder / "api.key").read_text().strip(),
        )


def settings(folder: Path, to: Provider, targets: int, mode: str, timeout: str) -> Path:
    """Write settings for so many targets, all at the same provider; YAML reads JSON."""
    connections = {"mode": mode, "fresh_every": 0}
    key = {"file": str(folder / "api.key")}
    address = "probe@example.com.sink.sparkpostmail.com"
    api = {
        "base_url": to.api_url.removesuffix("/transmissions"),
        "key": key,
        "ca_file": str(to.ca_file),
        "timeout": timeout,
        "connections": connections,
        "body": {
            "recipients": [{"address": address}],
            "content": {"from": "probe@example.com", "subject": "bench", "text": "{message_id}"},
            "metadata": {"sev1probe": "{message_id}"},
        },
    }
    smtp = {
        "host": "127.0.0.1",
        "port": to.smtp_port,
        "user": "SMTP_Injection",
        "password": key,
        "ca_file": str(to.ca_file),
        "timeout": timeout,
        "sender": "probe@example.com",
        "recipient": address,
        "connections": connections,
    }
    control = f"127.0.0.1:{to.smtp_port}"
    written = {
        "vantage": VANTAGE,
        "targets": [{"name": f"t{number:04}", "api": api, "smtp": smtp} for number in range(targets)],
        "controls": [{"name": name, "kind": "tcp", "address": control} for name in ("one", "two")],
        "ledger": {"url": str(folder / "ledger.sqlite3")},
        "listener": {"port": 0},
        "log": {"format": "json", "level": "info"},
    }
    path = folder / "sev1probe.yaml"
    path.write_text(json.dumps(written))
    return path


def cpu_s(pid: int) -> float:
    """CPU seconds of a process, all threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def peak_mb(pid: int) -> float:
    """The most memory that a process has held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def run_daemon(
    targets: int,
    *,
    mode: str = "kept",
    seconds: int = 30,
    warm_up_s: int = 8,
    scenario: str = "",
    timeout: str = "10s",
    scrape_every_s: float = 0,
) -> Measured:
    """Run the daemon for a while against the simulated provider, and read what it did from its own ledger."""
    with tempfile.TemporaryDirectory(prefix="sev1probe-bench-") as name:
        folder = Path(name)
        with provider(folder, scenario) as to:
            path = settings(folder, to, targets, mode, timeout)
            log = folder / "daemon.log"
            with (
                log.open("w") as out,
                child([sys.executable, "-m", "probe", "run", "-c", str(path)], PROGRAM_CORE, stderr=out) as daemon,
            ):
                url = listener(log)
                time.sleep(warm_up_s)
                before, begun = cpu_s(daemon.pid), time.time()
                scrapes = scrape(url, seconds, scrape_every_s)
                cost, ended = cpu_s(daemon.pid) - before, time.time()
                memory = peak_mb(daemon.pid)
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(30)
            window = (int(begun) + 1, int(ended))
            return read_ledger(folder / "ledger.sqlite3", window, cost / (ended - begun), memory, scrapes)


def listener(log: Path) -> str:
    """Wait for the daemon's listener."""
    until = time.time() + 60
    while time.time() < until:
        for line in log.read_text().splitlines():
            if '"daemon.started"' in line:
                return str(json.loads(line)["listener"])
        time.sleep(0.1)
    raise SystemExit(f"The daemon did not start:\n{log.read_text()}")


def scrape(url: str, seconds: int, every_s: float) -> list[float]:
    """Let the time pass, scraping if asked to; return how long each scrape took, in ms."""
    took, until = [], time.time() + seconds
    os.sched_setaffinity(0, {SERVER_CORE})
    while every_s and time.time() < until:
        begun = time.time()
        with urllib.request.urlopen(f"{url}metrics") as reply:
            reply.read()
        took.append(1000 * (time.time() - begun))
        time.sleep(max(0.0, begun + every_s - time.time()))
    time.sleep(max(0.0, until - time.time()))
    return took


def read_ledger(path: Path, window: tuple[int, int], load: float, memory: float, scrapes: list[float]) -> Measured:
    """Compare when each attempt started with when it was due; `load` is the share of a core that was used."""
    first, last = window
    connection = sqlite3.connect(path)
    query = "select target, surface, second, started_us, fault, cause from attempt where second >= ? and second < ?"
    rows = connection.execute(query, (first, last)).fetchall()
    lost = connection.execute(
        "select coalesce(sum(seconds), 0) from verdict where verdict = 'unobserved' and second >= ? and second < ?",
        (first, last),
    ).fetchone()[0]
    connection.close()
    phases = {(t, s): phase_us(VANTAGE, t, Surface(s)) for t, s in {(row[0], row[1]) for row in rows}}
    lateness = sorted((us - second * 1_000_000 - phases[t, s]) / 1000 for t, s, second, us, _, _ in rows)
    return Measured(
        cpu_s=load * (last - first),
        seconds=last - first,
        attempts=len(rows),
        accepted=sum(row[4] == "none" for row in rows),
        lateness_ms=lateness or [0.0],
        lost=lost,
        capped=sum(row[5] == "capped" for row in rows),
        rss_mb=memory,
        scrape_ms=scrapes,
    )


def run_bare(targets: int, seconds: int = 30, warm_up_s: int = 8) -> float:
    """CPU milliseconds per attempt of the bare libraries."""
    with tempfile.TemporaryDirectory(prefix="sev1probe-bench-") as name, provider(Path(name)) as to:
        command = [sys.executable, str(HERE / "bare.py"), "--api-url", to.api_url, "--ca-file", str(to.ca_file)]
        command += ["--key", to.key, "--smtp-port", str(to.smtp_port), "--targets", str(targets)]
        command += ["--warm-up-s", str(warm_up_s), "--seconds", str(seconds)]
        with child(command, PROGRAM_CORE, stdout=subprocess.PIPE) as process:
            answer = json.loads(process.communicate(timeout=seconds + warm_up_s + 60)[0])
    assert not answer["failed"], answer
    return 1000 * float(answer["cpu_s"]) / float(answer["attempts"])


def run_blackbox(targets: int, seconds: int = 30) -> float | None:
    """CPU milliseconds per probe of blackbox_exporter, both surfaces; None if it is not installed."""
    exporter = "/usr/bin/prometheus-blackbox-exporter"
    if not os.path.exists(exporter):
        return None
    good = bad = 0
    cost = 0.0
    with tempfile.TemporaryDirectory(prefix="sev1probe-bench-") as name, provider(Path(name)) as to:
        config = Path(name) / "blackbox.yml"
        config.write_text(peers.modules(to.key, to.ca_file))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [exporter, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
        with child(command, PROGRAM_CORE, stderr=subprocess.DEVNULL) as process:
            os.sched_setaffinity(0, {SERVER_CORE})
            probes = {"api": to.api_url, "smtp": f"127.0.0.1:{to.smtp_port}"}
            url = f"http://127.0.0.1:{port}"
            time.sleep(1)
            peers.run(url, probes, targets, 3)
            before = cpu_s(process.pid)
            good, bad = peers.run(url, probes, targets, seconds)
            cost = cpu_s(process.pid) - before
    if bad > 0.01 * good:
        say(f"    blackbox_exporter failed {bad} of {good + bad} probes")
    return 1000 * cost / (good + bad)


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)  # noqa: T201


def bench_cost(rounds: int, seconds: int, targets: int) -> None:
    """CPU per attempt: the daemon against the bare libraries and against blackbox_exporter."""
    say(f"CPU per attempt at {targets} targets, both surfaces, TLS; {rounds} rounds of {seconds} s, medians")
    kept: list[float] = []
    fresh: list[float] = []
    bare: list[float] = []
    peer: list[float] = []
    for number in range(rounds):
        bare.append(run_bare(targets, seconds))
        kept.append(run_daemon(targets, seconds=seconds).cpu_ms)
        fresh.append(run_daemon(targets, mode="fresh", seconds=seconds).cpu_ms)
        blackbox = run_blackbox(targets, seconds)
        costs = {"bare": bare[-1], "kept": kept[-1], "fresh": fresh[-1], "blackbox": blackbox or 0.0}
        say(f"  round {number + 1}: " + "  ".join(f"{what} {cost:.3f} ms" for what, cost in costs.items()))
        if blackbox is not None:
            peer.append(blackbox)
    median = statistics.median
    say(f"  daemon kept / bare libraries kept: {median(k / b for k, b in zip(kept, bare, strict=True)):.2f}  (aim 1.5)")
    if peer:
        over = median(k / p for k, p in zip(kept, peer, strict=True))
        say(f"  daemon kept / blackbox:  {over:.2f}  (aim 0.4; other work, since the exporter can't keep connections)")
        say(f"  daemon fresh / blackbox: {median(f / p for f, p in zip(fresh, peer, strict=True)):.2f}  (aim 1.4)")


def bench_cadence(seconds: int) -> None:
    """The most targets at which no second is lost and starts stay on time."""
    for mode, counts in (("kept", (10, 100, 200, 300, 400)), ("fresh", (10, 50, 100, 130))):
        say(f"Cadence, {mode} connections, {seconds} s each (aim: p99.9 under 50 ms, nothing lost)")
        for targets in counts:
            say(f"  {targets:4} targets: {run_daemon(targets, mode=mode, seconds=seconds).line()}")


def bench_outage(seconds: int, targets: int) -> None:
    """All servers accept and never answer."""
    silent = "api: [{at: 0s, do: silent}]\nsmtp: [{at: 0s, do: silent, phase: banner}]\n"
    say(f"Total outage at {targets} targets: everything accepts and never answers, deadline 10 s")
    measured = run_daemon(targets, seconds=seconds, warm_up_s=15, scenario=silent)
    say(f"  {measured.line()}")


def bench_scrape(seconds: int, targets: int) -> None:
    """What a scrape does to the cadence."""
    say(f"Scrapes at {targets} targets (aim: p99.9 of lateness grows by no more than 10 ms)")
    quiet = run_daemon(targets, seconds=seconds)
    scraped = run_daemon(targets, seconds=seconds, scrape_every_s=2)
    say(f"  without: {quiet.line()}")
    say(f"  with:    {scraped.line()}")
    say(
        f"  p99.9 grows by {scraped.late(0.999) - quiet.late(0.999):.2f} ms; a scrape takes "
        f"{statistics.median(scraped.scrape_ms):.0f} ms (median of {len(scraped.scrape_ms)})"
    )


def main() -> None:
    """Run what is asked for, or everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", help="cost, cadence, outage, scrape; all of them if none is named")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--targets", type=int, default=300)
    arguments = parser.parse_args()
    parts: dict[str, Callable[[], None]] = {
        "cost": lambda: bench_cost(arguments.rounds, arguments.seconds, min(100, arguments.targets)),
        "cadence": lambda: bench_cadence(arguments.seconds),
        "outage": lambda: bench_outage(arguments.seconds, arguments.targets),
        "scrape": lambda: bench_scrape(arguments.seconds, arguments.targets),
    }
    unknown = [part for part in arguments.parts if part not in parts]
    if unknown:
        parser.error(f"found {', '.join(unknown)}, expected any of {', '.join(parts)}")
    if len(os.sched_getaffinity(0)) < 2:
        sys.exit("make bench needs two cores: one for the program, one for the servers.")
    for part in arguments.parts or parts:
        parts[part]()


if __name__ == "__main__":
    main()
