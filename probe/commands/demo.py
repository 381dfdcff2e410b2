"""`demo`: the whole job in about two minutes, with real processes, sockets and files, on loopback only."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from probe.clock import SECOND_US, monotonic_us, pause
from probe.commands.status import LEGEND, Unreachable, failure_line, fetch, strip
from probe.commands.terminal import Exit, fail, out
from probe.ledger import verify
from probe.times import utc

SCENARIO = """\
# The demo's outage. Seconds count from the start of the simulated provider.
api:
  - {at: 10s, for: 1s, do: status, status: 503}     # one bad second: seen, counted, no reason to call anybody
  - {at: 18s, for: 7s, do: status, status: 503}     # the API is overloaded for a while
  - {at: 54s, for: 22s, do: silent}                 # the API accepts and never answers
smtp:
  - {at: 34s, for: 7s, do: silent, phase: ehlo}     # SMTP says its banner, and no more
  - {at: 54s, for: 22s, do: reply, phase: banner, reply: "421 4.3.2 Service not available"}
page:
  - {at: 80s, incident: Elevated error rates, impact: minor}  # what the provider says of it, once it is over
"""

SETTINGS = """\
# The demo's settings. Persistence is a fifth of the default, so that two minutes are enough to see a Critical Issue.
vantage: demo
company:
  name: Example Mail GmbH
  contact_name: Nina Keller
  contact_phone: "+49 30 5550100"
  contact_email: oncall@example.com
targets:
  - name: simulated
    attempts_per_second: 1
    api:
      base_url: {api_url}
      key: {{file: {key_file}}}
      ca_file: {ca_file}
      timeout: 2s
      body:
        recipients: [{{address: "probe@example.com.sink.sparkpostmail.com"}}]
        content: {{from: "probe@example.com", subject: "sev1probe demo", text: "{{message_id}}"}}
        metadata: {{sev1probe: "{{message_id}}"}}
    smtp:
      host: {smtp_host}
      port: {smtp_port}
      user: SMTP_Injection
      password: {{file: {key_file}}}
      ca_file: {ca_file}
      sender: probe@example.com
      recipient: probe@example.com.sink.sparkpostmail.com
      timeout: 2s
      connections: {{mode: fresh}}
    contract:
      severity_1_line: "+1 555 0100"
      persistence: {{unavailable: 12s, window: 18s, recovery: 8s}}
controls:
  - {{name: loopback, kind: tcp, address: "{control}"}}
  - {{name: loopback-too, kind: tcp, address: "{control}"}}
status_pages:
  - {{name: provider, url: "{page_url}", poll: 10s, ca_file: {ca_file}}}
ledger: {{url: {ledger}}}
listener: {{port: 0}}
log: {{format: json}}
"""

# What the scenario does when, for people. The numbers are those of SCENARIO.
ACTS = (
    (0, "Healthy: both surfaces accept a message every second."),
    (10, "One bad second: the API answers 503 once."),
    (11, "Healthy again."),
    (18, "The API answers 503 to everything."),
    (25, "Healthy again: what is shorter than the persistence opens no Critical Issue."),
    (34, "SMTP says its banner and then nothing: server-side timeouts (they lag by the deadline of 2 s)."),
    (41, "Healthy again."),
    (54, "Both surfaces are down: the API never answers, SMTP answers 421. 12 such seconds within 18 will do."),
    (76, "The provider has recovered: 8 available seconds in a row make it a restoration."),
)
END_S = 96
START_S_MAX = 20.0
STOP_S_MAX = 6.0
PLAIN_EVERY_S = 5


class DemoFailed(Exception):
    """The demo can't go on; str() is a sentence."""


@dataclass(slots=True)
class Stage:
    """The demo's processes and files."""

    folder: Path
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    provider_lines: list[str] = field(default_factory=list)
    begun_s: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the simulated provider began."""
        return now_s() - self.begun_s

    @property
    def act(self) -> str:
        """What the provider does now."""
        return [words for at_s, words in ACTS if at_s <= self.elapsed_s][-1]


def now_s() -> float:
    """Monotonic seconds."""
    return monotonic_us() / SECOND_US


def demo() -> None:
    """Run the demo; Ctrl-C ends it cleanly at any moment."""
    folder = Path(tempfile.mkdtemp(prefix="sev1probe-demo-"))
    stage = Stage(folder)
    last: dict[str, Any] | None = None
    interrupted = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with _processes(stage):
            url = _start(stage)
            try:
                for body in _watch(stage, url):
                    last = body
            except KeyboardInterrupt:
                interrupted = True
    except DemoFailed as error:
        fail(f"{error} The files are in {folder}.", Exit.CANNOT)
    except KeyboardInterrupt:
        interrupted = True
    if interrupted:
        out.print("Stopped. The provider and the daemon have ended.", style="bold")
    _summarise(stage, last)


# Starting and stopping.


@contextmanager
def _processes(stage: Stage) -> Iterator[None]:
    """Stop what was started, the daemon first, by its own process id, whatever happens."""
    try:
        yield
    finally:
        for process in reversed(stage.processes):
            process.terminate()
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(stage: Stage) -> str:
    """Start the provider and the daemon; return the listener's URL."""
    folder = stage.folder
    out.print(f"Files of this demo: {folder}", markup=False, soft_wrap=True)
    (folder / "scenario.yaml").write_text(SCENARIO, encoding="utf-8")
    ports = ("--api-port=0", "--smtp-port=0", "--page-port=0")
    provider = _spawn(stage, "simulate", str(folder / "scenario.yaml"), *ports, f"--directory={folder}")
    stage.begun_s = now_s()
    assert provider.stdout is not None
    threading.Thread(target=_read_lines, args=(provider.stdout, stage.provider_lines), daemon=True).start()
    facts = _wait_for(lambda: _provider_facts(stage.provider_lines), provider, "The simulated provider")
    api_url = facts["API"].removesuffix("/transmissions")
    host, _, port = facts["SMTP"].split(" ")[0].rpartition(":")
    (folder / "sev1probe.yaml").write_text(
        SETTINGS.format(
            api_url=api_url,
            smtp_host=host,
            smtp_port=port,
            page_url=facts["page"].split(" ")[0],
            control=f"{host}:{port}",
            ca_file=facts["authority"],
            key_file=folder / "api.key",
            ledger=folder / "ledger.sqlite3",
        ),
        encoding="utf-8",
    )
    with (folder / "daemon.log").open("w", encoding="utf-8") as log_file:
        daemon = _spawn(stage, "run", f"--config={folder / 'sev1probe.yaml'}", stderr=log_file)
    url: str = _wait_for(lambda: _listener(folder / "daemon.log"), daemon, "The daemon (see daemon.log)")
    return url


def _spawn(stage: Stage, *arguments: str, stderr: Any = None) -> "subprocess.Popen[str]":
    process = subprocess.Popen(  # noqa: S603 - our own program
        # Were we killed, nobody else would stop it.
        [sys.executable, "-m", "probe.commands.leash", str(os.getpid()), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE if stderr is None else subprocess.DEVNULL,
        stderr=stderr if stderr is not None else subprocess.STDOUT,
        text=True,
        # A session of its own, so that Ctrl-C reaches us alone and we stop both in order.
        start_new_session=True,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )
    stage.processes.append(process)
    return process


def _read_lines(stream: Any, lines: list[str]) -> None:
    lines.extend(line.rstrip("\n") for line in stream)


def _wait_for(look: Any, process: "subprocess.Popen[str]", who: str) -> Any:
    until_s = now_s() + START_S_MAX
    while now_s() < until_s:
        if found := look():
            return found
        if process.poll() is not None:
            raise DemoFailed(f"{who} ended with exit code {process.returncode} before it was ready.")
        pause(0.05)
    raise DemoFailed(f"{who} was not ready within {START_S_MAX:.0f} s.")


def _provider_facts(lines: list[str]) -> dict[str, str] | None:
    facts = {word: rest.strip() for word, _, rest in (line.partition(" ") for line in list(lines))}
    return facts if {"API", "SMTP", "authority", "scenario"} <= facts.keys() else None


def _listener(log_file: Path) -> str | None:
    for line in log_file.read_text(encoding="utf-8").splitlines():
        if '"daemon.started"' in line:
            return str(json.loads(line)["listener"]).rstrip("/")
    return None


# Watching.


def _watch(stage: Stage, url: str) -> Iterator[dict[str, Any]]:
    """Show what the daemon sees until the scenario is over; yield each status."""
    out.print(f"Metrics while it runs: {url}/metrics   Status: {url}/api/v1/status", markup=False, soft_wrap=True)
    yield from _watch_live(stage, url) if out.is_terminal else _watch_plain(stage, url)


def _watch_live(stage: Stage, url: str) -> Iterator[dict[str, Any]]:
    with Live(console=out, refresh_per_second=4, transient=False) as live:
        while stage.elapsed_s < END_S:
            body = _status(stage, url)
            live.update(_picture(stage, url, body))
            yield body
            pause(0.25)


def _watch_plain(stage: Stage, url: str) -> Iterator[dict[str, Any]]:
    """Without a terminal: a line for each act and turn, and the strips every few seconds."""
    act, turns, shown_s = "", 0, 0.0
    while stage.elapsed_s < END_S:
        body = _status(stage, url)
        if stage.act != act:
            act = stage.act
            out.print(f"{stage.elapsed_s:5.0f}s  provider: {act}", markup=False, soft_wrap=True)
        target = body["targets"][0]
        for turn in target["turns"][turns:]:
            out.print(f"{stage.elapsed_s:5.0f}s  ", _turn_line(turn), soft_wrap=True)
        turns = len(target["turns"])
        if stage.elapsed_s - shown_s >= PLAIN_EVERY_S:
            shown_s = stage.elapsed_s
            strips = "  ".join(f"{name} {strip(seen['recent'], 40)}" for name, seen in target["surfaces"].items())
            out.print(f"{shown_s:5.0f}s  {strips}", markup=False, soft_wrap=True)
        yield body
        pause(0.25)


def _status(stage: Stage, url: str) -> dict[str, Any]:
    try:
        return fetch(url)
    except Unreachable as error:
        raise DemoFailed(f"The daemon does not answer any more: {error}") from error


def _picture(stage: Stage, url: str, body: Mapping[str, Any]) -> Group:
    target = body["targets"][0]
    width = max(20, min(90, out.width - 20))
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(width=8)
    table.add_column()
    for surface, seen in target["surfaces"].items():
        table.add_row(Text(surface, style="bold"), strip(seen["recent"], width))
        totals = seen["totals"]
        table.add_row("", Text(_totals(totals), style="dim"))
        if seen["last_failure"]:
            table.add_row("", Text(f"last failure {failure_line(seen['last_failure'])}", style="yellow"))
    issue = target["critical_issue"]
    state = (
        Text(f" CRITICAL ISSUE {issue['issue']}: call the Severity 1 line ", style="bold white on red")
        if issue
        else Text("no Critical Issue", style="green")
    )
    return Group(
        Panel(Text(stage.act), title=f"the provider, {stage.elapsed_s:.0f} of {END_S} s", title_align="left"),
        table,
        Text(LEGEND, style="dim"),
        state,
        *[_turn_line(turn) for turn in target["turns"]],
        Text(f"{url}/metrics   Ctrl-C stops", style="dim"),
    )


def _totals(totals: Mapping[str, int]) -> str:
    return (
        f"available {totals['available_seconds']}  unavailable {totals['unavailable_seconds']}  "
        f"inconclusive {totals['inconclusive_seconds']}  unobserved {totals['unobserved_seconds']}  "
        f"current run {totals['unavailable_run_seconds']}"
    )


def _turn_line(turn: Mapping[str, Any]) -> Text:
    late = turn["noticed_second"] - turn["since_second"]
    if turn["turn"] == "opened":
        words = f"Critical Issue {turn['issue']} opened at {turn['noticed']}, dated back {late} s to {turn['since']}"
        return Text(words, style="bold red")
    words = f"Service restored at {turn['noticed']}, dated back {late} s to {turn['since']}"
    return Text(f"{words}; the issue ends when both sides agree", style="bold green")


# The end.


def _summarise(stage: Stage, last: Mapping[str, Any] | None) -> None:
    if last is None:
        return
    target = last["targets"][0]
    out.print("\nWhat the daemon saw", style="bold")
    for surface, seen in target["surfaces"].items():
        out.print(f"  {surface:<5} {_totals(seen['totals'])}", markup=False, soft_wrap=True)
        for failure in seen["failures"]:
            line = f"        {failure['attempts']} x {failure['fault']} / {failure['cause']}"
            out.print(line, markup=False, soft_wrap=True)
    for turn in target["turns"]:
        out.print(Text("  ") + _turn_line(turn), soft_wrap=True)
    ledger = stage.folder / "ledger.sqlite3"
    report = verify(str(ledger))
    word = "sound" if report.sound else "BROKEN"
    span = f"{utc(report.first_second or 0)} to {utc(report.last_second or 0)}"
    out.print(f"  ledger: {report.records:,} records, {span}; its hash chain is {word}", markup=False, soft_wrap=True)
    program = _program()
    out.print("\nTry next", style="bold")
    for command, why in (
        (f"{program} issue call-sheet -c {stage.folder / 'sev1probe.yaml'}", "whom to call, and what to say"),
        (f"{program} ledger verify {ledger}", "walk the hash chain"),
        (f"{program} ledger export {ledger} --format csv", "the evidence, second by second"),
        (f"{program} simulate config/scenario.example.yaml", "a provider that fails, to drill your on-call"),
        ("cp config/sev1probe.example.yaml sev1probe.yaml", "put your own account into it, then check-config and once"),
    ):
        out.print(f"  {command}", markup=False, soft_wrap=True)
        out.print(f"      {why}", style="dim", markup=False)


def _program() -> str:
    """Name the program as the user can type it."""
    installed = Path(sys.executable).with_name("sev1probe")
    if not installed.exists():
        return f"{sys.executable} -m probe"
    try:
        return str(installed.relative_to(Path.cwd()))
    except ValueError:
        return str(installed)
