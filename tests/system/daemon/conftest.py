"""The program as its user meets it: processes, their files, and a simulated provider to point them at."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import pytest
import yaml

from probe.core.model import Phase, Step, Surface
from probe.ledger import verify
from probe.ledger.connect import parse_address, reading_engine
from probe.ledger.read import steps
from probe.simulator import FaultKind, Notice, ProviderOptions, SimulatedFault, SimulatedProvider

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = (sys.executable, "-m", "probe")
COMMAND_TIMEOUT_S = 30.0
START_TIMEOUT_S = 20.0
WAIT_S = 60.0
POLL_S = 0.03
KEY = "unique-key-7f3a9c51e2"


def until(condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S, explain: Callable[[], str] = str) -> Any:
    """Return the first true answer."""
    deadline = time.monotonic() + timeout_s
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}\n{explain()}"
        time.sleep(POLL_S)
    return answer


Until = Callable[..., Any]


@pytest.fixture(scope="session", name="until")
def give_until() -> Until:
    """Give the function that waits for a condition."""
    return until


def environment(**extra: str) -> dict[str, str]:
    """Give the environment of a process of ours: this checkout, wide lines, and no colours."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1", **extra}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Give a function that runs one command of the program to its end."""
    folder = tmp_path_factory.mktemp("commands")

    def run(*arguments: object, python: Sequence[str] = (), cwd: Path = folder, **extra: str) -> Ended:
        done = subprocess.run(
            [sys.executable, *python, "-m", "probe", *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=COMMAND_TIMEOUT_S,
            env=environment(**extra),
            cwd=cwd,
            check=False,
        )
        return Ended(code=done.returncode, out=done.stdout, err=done.stderr)

    return run


# The provider.


class Provider:
    """A simulated provider on a thread of its own, so that tests can be plain functions."""

    def __init__(self, options: ProviderOptions, folder: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="provider")
        self._thread.start()
        self.inner = SimulatedProvider(options, directory=folder)
        self._do(self.inner.__aenter__())
        self.ca_file = self.inner.ca_file
        self.key_file = folder / "key"
        self.key_file.write_text(options.key)
        self.key_file.chmod(0o600)

    def set(self, surface: str, kind: str, **parameters: Any) -> None:
        """Begin a fault now."""
        if "phase" in parameters:
            parameters["phase"] = Phase(parameters["phase"])
        self._call(self.inner.set, Surface(surface), SimulatedFault(kind=FaultKind(kind), **parameters))

    def clear(self, *surfaces: str) -> None:
        """End the faults now, of all surfaces if none is named."""
        for surface in surfaces or tuple(Surface):
            self._call(self.inner.clear, Surface(surface))

    def announce(self, text: str, *, is_maintenance: bool = False) -> None:
        """Put an incident or a maintenance on the status page."""
        self._call(self.inner.page.show, Notice(text=text, is_maintenance=is_maintenance))

    def attempts(self, surface: str) -> int:
        """Count the whole requests, or the transactions begun with MAIL."""
        return int(self._call(self.inner.tally, Surface(surface)).attempts)

    def taken(self, surface: str) -> list[str]:
        """List the ids of the messages that it took, oldest first."""
        received = self._call(self.inner.received, Surface(surface))
        return [message.message_id.removesuffix("@example.com") for message in received]

    def close(self) -> None:
        """End it."""
        self._do(self.inner.__aexit__())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(WAIT_S)

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        async def call() -> Any:
            return function(*arguments)

        return self._do(call())


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[Provider]:
    """Run a healthy provider for this test."""
    running = Provider(ProviderOptions(key=KEY, page_port=0), tmp_path / "provider")
    yield running
    running.close()


@pytest.fixture
def more_providers(tmp_path: Path) -> Iterator[Callable[[str], Provider]]:
    """Give a function that runs another healthy provider, in the network of the thread that calls it."""
    with contextlib.ExitStack() as running:

        def run(name: str) -> Provider:
            another = Provider(ProviderOptions(key=KEY), tmp_path / f"provider-{name}")
            running.callback(another.close)
            return another

        yield run


# Settings.


def api_part(base_url: str, key_file: Path, ca_file: Path, timeout: str = "2s", **more: Any) -> dict[str, Any]:
    """Describe an API whose every call says its message id in a header too."""
    return {
        "base_url": base_url,
        "key": {"file": str(key_file)},
        "ca_file": str(ca_file),
        "timeout": timeout,
        "headers": {"X-Message-Id": "{message_id}"},
        "body": {
            "recipients": [{"address": "probe@example.com.sink.sparkpostmail.com"}],
            "content": {"from": "probe@example.com", "subject": "{target}", "text": "{message_id}"},
            "metadata": {"message_id": "{message_id}"},
        },
        **more,
    }


def smtp_part(host: str, port: int, key_file: Path, ca_file: Path, timeout: str = "2s", **more: Any) -> dict[str, Any]:
    """Describe an injection with STARTTLS and a login."""
    return {
        "host": host,
        "port": port,
        "user": "SMTP_Injection",
        "password": {"file": str(key_file)},
        "ca_file": str(ca_file),
        "sender": "probe@example.com",
        "recipient": "probe@example.com.sink.sparkpostmail.com",
        "timeout": timeout,
        **more,
    }


Describe = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def parts() -> Mapping[str, Describe]:
    """Give the functions that describe one surface of a target, by its name."""
    return {"api": api_part, "smtp": smtp_part}


@pytest.fixture
def target(provider: Provider) -> Describe:
    """Give a function that describes a target at the simulated provider."""

    def describe(name: str = "main", *, timeout: str = "2s", persistence: str = "3/5/2", **more: Any) -> dict[str, Any]:
        unavailable, window, recovery = persistence.split("/")
        return {
            "name": name,
            "api": api_part(provider.inner.api_url, provider.key_file, provider.ca_file, timeout),
            "smtp": smtp_part("127.0.0.1", provider.inner.smtp_port, provider.key_file, provider.ca_file, timeout),
            "contract": {
                "persistence": {"unavailable": f"{unavailable}s", "window": f"{window}s", "recovery": f"{recovery}s"}
            },
            **more,
        }

    return describe


@pytest.fixture
def settings(tmp_path: Path) -> Callable[..., Path]:
    """Give a function that writes settings with these targets, and returns their file."""

    def write(*targets: dict[str, Any], name: str = "sev1probe.yaml", **more: Any) -> Path:
        path = tmp_path / name
        whole = {
            "vantage": "here",
            "targets": list(targets),
            "ledger": {"url": str(tmp_path / "ledger.sqlite3")},
            "listener": {"port": 0},
            "log": {"format": "json"},
            **more,
        }
        path.write_text(yaml.safe_dump(whole, sort_keys=False))
        return path

    return write


# The daemon.


@dataclass(kw_only=True)
class Daemon:
    """A running `sev1probe run`."""

    process: subprocess.Popen[bytes]
    log_path: Path
    url: str = ""
    begun_s: float = field(default_factory=time.monotonic)

    def wait_for_start(self) -> None:
        """Wait until it listens."""
        line = self.wait_for_log("daemon.started", timeout_s=START_TIMEOUT_S)
        self.url = str(line["listener"]).rstrip("/")

    def log(self, event: str = "") -> list[dict[str, Any]]:
        """Return the log lines of an event, or all; a line that is not JSON has the event "not JSON"."""
        lines = self.log_path.read_text(encoding="utf-8").splitlines()
        return [line for line in map(_read_line, lines) if event in ("", line["event"])]

    def wait_for_log(self, event: str, count: int = 1, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """Return the newest line of an event once there are that many."""
        self.wait(lambda: len(self.log(event)) >= count, f"{count} log lines {event}", timeout_s)
        return self.log(event)[-1]

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float = WAIT_S) -> Any:
        """Return the first true answer while the daemon lives."""

        def living() -> Any:
            assert self.process.poll() is None, f"the daemon ended with {self.process.returncode}: {self._end()}"
            return condition()

        return until(living, what, timeout_s, self._end)

    def get(self, path: str, accept: str = "", post: bool = False) -> tuple[int, str]:
        """Ask its listener; return status and body."""
        request = urllib.request.Request(
            self.url + path, method="POST" if post else "GET", headers={"Accept": accept} if accept else {}
        )
        try:
            with urllib.request.urlopen(request, timeout=5) as reply:
                return reply.status, reply.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode("utf-8", "replace")

    def status(self, target: str = "main") -> dict[str, Any]:
        """Return what the status says of one target."""
        body = json.loads(self.get("/api/v1/status")[1])
        found: dict[str, Any] = next(seen for seen in body["targets"] if seen["target"] == target)
        return found

    def recent(self, surface: str, target: str = "main") -> str:
        """Return the letters of the last seconds of a surface, newest last."""
        return str(self.status(target)["surfaces"][surface]["recent"])

    def wait_for_recent(self, ending: str, target: str = "main", timeout_s: float = WAIT_S) -> None:
        """Wait until the last judged seconds of every surface of the target are these."""
        self.wait(
            lambda: all(str(s["recent"]).endswith(ending) for s in self.status(target)["surfaces"].values()),
            f"seconds that end with {ending}",
            timeout_s,
        )

    def wait_for_seconds(self, count: int, target: str = "main") -> None:
        """Wait until that many more seconds of a target are judged and told."""
        last = self.status(target)["last_second"] + count
        self.wait(lambda: self.status(target)["last_second"] >= last, f"{count} more seconds")

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of one sample of /metrics."""
        within = ",".join(f'{label}="{labels[label]}"' for label in sorted(labels))
        sample = f"sev1probe_{name}{{{within}}}" if labels else f"sev1probe_{name}"
        found = re.search(rf"^{re.escape(sample)} (\S+)$", self.get("/metrics")[1], re.MULTILINE)
        assert found, f"no {sample} in /metrics"
        return float(found[1])

    def end(self, number: signal.Signals = signal.SIGTERM, timeout_s: float = 10.0) -> tuple[int, float]:
        """Send a signal and wait for the end; return exit code and seconds that it took."""
        begun_s = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(timeout_s)
        return code, time.monotonic() - begun_s

    def _end(self) -> str:
        return self.log_path.read_text(encoding="utf-8")[-4000:]


def _read_line(text: str) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        line = json.loads(text)
        if isinstance(line, dict):
            return line
    return {"event": "not JSON", "text": text}


Start = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Give a function that starts a daemon and, unless told not to, waits until it listens; it is killed at the end."""
    with contextlib.ExitStack() as started:
        count = 0

        def begin(config: Path, *, wait: bool = True, **extra: str) -> Daemon:
            nonlocal count
            count += 1
            log_path = tmp_path / f"daemon-{count}.log"
            with log_path.open("wb") as sink:
                process = spawn("run", "--config", str(config), output=sink, **extra)
            started.callback(kill, process)
            daemon = Daemon(process=process, log_path=log_path)
            if wait:
                daemon.wait_for_start()
            return daemon

        yield begin


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., tuple[subprocess.Popen[bytes], Path]]]:
    """Give a function that starts a command and returns it and the file of its output; it is killed at the end."""
    with contextlib.ExitStack() as started:
        count = 0

        def begin(*arguments: str, **extra: str) -> tuple[subprocess.Popen[bytes], Path]:
            nonlocal count
            count += 1
            path = tmp_path / f"{arguments[0]}-{count}.out"
            with path.open("wb") as sink:
                running = spawn(*arguments, output=sink, **extra)
            started.callback(kill, running)
            return running, path

        yield begin


def spawn(*arguments: str, output: IO[bytes], **extra: str) -> subprocess.Popen[bytes]:
    """Start a process of the program, in a session of its own."""
    return subprocess.Popen(
        [*PROGRAM, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=environment(PYTHONUNBUFFERED="1", **extra),
        start_new_session=True,
    )


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process if it still runs."""
    if process.poll() is None:
        process.kill()
    process.wait()


# The evidence.


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What `ledger export` gives."""

    seconds: list[dict[str, Any]]
    attempts: list[dict[str, Any]]

    def of(self, surface: str, target: str = "main") -> list[dict[str, Any]]:
        """Return the seconds of one surface, oldest first."""
        return [row for row in self.seconds if (row["surface"], row["target"]) == (surface, target)]

    def verdicts(self, surface: str, target: str = "main") -> dict[int, str]:
        """Map each second of one surface to its verdict, but for the last: it was cut short by the end."""
        return {row["second"]: row["verdict"] for row in self.of(surface, target)[:-1]}

    def made(self, surface: str, target: str = "main") -> list[dict[str, Any]]:
        """Return the attempts of one surface, oldest first."""
        return [row for row in self.attempts if (row["surface"], row["target"]) == (surface, target)]

    def accepted(self, surface: str, target: str = "main") -> set[str]:
        """Return the ids of the messages that the server took by its own word."""
        return {str(row["message_id"]) for row in self.made(surface, target) if row["fault"] == "none"}


@pytest.fixture
def evidence(command: Command, tmp_path: Path) -> Callable[..., Evidence]:
    """Give a function that verifies a ledger, exports it, and holds that each second stands there exactly once."""

    def take(ledger: Path | None = None) -> Evidence:
        ledger = ledger or tmp_path / "ledger.sqlite3"
        verified = command("ledger", "verify", ledger)
        assert verified.code == 0, verified
        assert "sound" in verified.out
        exported = command("ledger", "export", ledger)
        assert exported.code == 0, exported
        rows = [json.loads(line) for line in exported.out.splitlines()]
        found = Evidence(
            seconds=[row for row in rows if row["type"] == "second"],
            attempts=[row for row in rows if row["type"] == "attempt"],
        )
        for target, surface in {(row["target"], row["surface"]) for row in found.seconds}:
            seconds = [row["second"] for row in found.of(surface, target)]
            assert seconds == list(range(seconds[0], seconds[-1] + 1)), (target, surface)
        return found

    return take


@pytest.fixture(scope="session")
def recorded() -> Callable[..., list[Step]]:
    """Give a function that verifies a ledger and returns a target's steps, each second being there exactly once."""

    def read(ledger: Path, target: str = "main") -> list[Step]:
        assert verify(str(ledger)).sound
        engine = reading_engine(parse_address(str(ledger)))
        with engine.connect() as connection, connection.begin():
            found = [stored.step for stored in steps(connection, 0, 2**40, target)]
        engine.dispose()
        for before, after in pairwise(found):
            assert after.second == before.second + before.seconds, (before, after)
        return found

    return read
