"""What the documents tell a reader to type works as it stands there.

A block of commands with `<!-- run -->` before it is run here, in a folder that looks like a checkout and in a network
of its own. What the reader is asked to do by hand, fill in an account, is done with one at the simulated provider.
"""

import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import pytest
import typer.main

from probe.__main__ import app
from probe.settings import SettingsError, load

ROOT = Path(__file__).resolve().parents[3]
PAGES = ("README.md", "docs/install.md", "docs/numbers.md", "docs/tuning.md")
COMMAND_TIMEOUT_S = 60.0
POLL_S = 0.05
LASTING = re.compile(r"sev1probe (run|simulate)\b")
BY_HAND = "cp config/sev1probe.example.yaml sev1probe.yaml"
READY = "until curl --fail --silent --output /dev/null http://127.0.0.1:9747/-/ready; do sleep 0.1; done"
SETTINGS = """
vantage: here
targets:
  - name: main
    provider: sparkpost-us
    sender: probe@example.com
    key: {file: key}
    contract: {severity_1_line: "+1 555 0100"}
    api: {base_url: "https://127.0.0.1:9443/api/v1", ca_file: provider/ca.pem}
    smtp: {host: 127.0.0.1, port: 9587, ca_file: provider/ca.pem}
controls:
  - {name: one, kind: tcp, address: "127.0.0.2:9587"}
  - {name: other, kind: tcp, address: "127.0.0.3:9443"}
ledger: {url: ledger.sqlite3}
"""


@dataclass(kw_only=True)
class Reader:
    """Somebody who types what a page says, in a folder and a network of their own."""

    folder: Path
    network: str
    lasting: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def prepare(self) -> None:
        """Lay out what a checkout has, and start the provider at which the reader has an account."""
        (self.folder / ".venv/bin").mkdir(parents=True)
        program = self.folder / ".venv/bin/sev1probe"
        program.write_text(f'#!/bin/sh\nexec {sys.executable} -m probe "$@"\n')
        program.chmod(0o755)
        (self.folder / "config").symlink_to(ROOT / "config")
        self.type("sev1probe simulate --directory provider --api-port 9443 --smtp-port 9587 --page-port 9444")
        self.fill_in()

    def fill_in(self) -> None:
        """Do what the reader is asked to do by hand."""
        (self.folder / "sev1probe.yaml").write_text(SETTINGS)
        (self.folder / "key").write_bytes((self.folder / "provider/api.key").read_bytes())

    def type(self, command: str) -> str:
        """Run a command to its good end; one that lasts, until it is there."""
        if LASTING.search(command):
            return self._leave_running(command)
        done = subprocess.run(
            self._in_network("bash", "-euo", "pipefail", "-c", command),
            **self._surroundings(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}\nended with {done.returncode}:\n{done.stdout}"
        if command.startswith(BY_HAND):
            self.fill_in()
        return str(done.stdout)

    def stop(self) -> None:
        """End what lasts, by its number; it ends well."""
        for process in self.lasting:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait(COMMAND_TIMEOUT_S) for process in self.lasting]
        assert set(codes) == {0}, codes

    def leave(self) -> None:
        """End at once what the page left running, because a command failed."""
        for process in self.lasting:
            process.kill()
            process.wait()

    def _leave_running(self, command: str) -> str:
        words = shlex.split(command, comments=True)
        output = self.folder / f"output-{len(self.lasting)}"
        with output.open("wb") as sink:
            process = subprocess.Popen(
                self._in_network("bash", "-c", 'exec "$@"', "-", *words),
                **self._surroundings(),
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        self.lasting.append(process)
        if " simulate" in command:
            deadline = time.monotonic() + COMMAND_TIMEOUT_S
            while "authority" not in output.read_text():
                assert time.monotonic() < deadline, output.read_text()
                assert process.poll() is None, output.read_text()
                time.sleep(POLL_S)
        else:
            self.type(READY)
        return ""

    def _in_network(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.network, *command]

    def _surroundings(self) -> dict[str, Any]:
        path = f"{self.folder / '.venv/bin'}:{os.environ['PATH']}:/usr/sbin:/sbin"
        return {
            "cwd": self.folder,
            "stdin": subprocess.DEVNULL,
            "env": {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "NO_COLOR": "1"},
        }


@pytest.fixture
def reader(
    require_program: Callable[[str], str], do_without: Callable[[str], NoReturn], tmp_path: Path
) -> Iterator[Callable[[str], Reader]]:
    """Give a function that makes a reader of a page, whose network goes with the test."""
    if os.geteuid() != 0:
        do_without("needs root: pages name fixed ports, so each is read in a network of its own")
    for program in ("ip", "curl"):
        require_program(program)
    with contextlib.ExitStack() as left_behind:

        def make(page: str) -> Reader:
            name = f"sev1probe-{os.getpid()}-{page.rpartition('/')[2].partition('.')[0].lower()}"
            subprocess.run(["ip", "netns", "add", name], check=True)
            left_behind.callback(subprocess.run, ["ip", "netns", "delete", name], check=True)
            subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
            folder = tmp_path / name
            folder.mkdir()
            made = Reader(folder=folder, network=name)
            left_behind.callback(made.leave)
            return made

        yield make


@pytest.mark.slow
def test_the_commands_of_the_pages_work_in_their_order(
    reader: Callable[[str], Reader], commands_of: Callable[..., list[str]]
) -> None:
    """Each page is read from its beginning to its end, and every command on it ends well."""

    def read(page: str) -> int:
        commands = commands_of(page)
        by_page = reader(page)
        by_page.prepare()
        if not any(" run " in command for command in commands):
            by_page.type("sev1probe run --config sev1probe.yaml")
        for command in commands:
            by_page.type(command)
        by_page.stop()
        return len(commands)

    with ThreadPoolExecutor() as pool:
        typed = dict(zip(PAGES, pool.map(read, PAGES), strict=True))
    assert typed["README.md"] >= 6
    assert all(count >= 2 for count in typed.values()), typed


def test_the_package_s_settings_are_refused_until_they_are_filled_in(tmp_path: Path) -> None:
    """Nobody starts the daemon with settings that nobody has looked at; one address and the key make them right."""
    settings = tmp_path / "sev1probe.yaml"
    settings.write_text((ROOT / "deploy/debian/sev1probe.yaml").read_text())
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials/key").write_text("secret")
    with pytest.raises(SettingsError, match=re.escape("targets[0].sender")) as refused:
        load(settings, {})
    assert len(str(refused.value).splitlines()) == 1
    settings.write_text(settings.read_text().replace("sender:  #", "sender: probe@example.com  #"))
    assert load(settings, {}).settings.targets[0].name == "main"


def unknown_words(line: str) -> list[str]:
    """Name the commands and options of a line that the program does not have."""
    command: Any = typer.main.get_command(app)
    unknown: list[str] = []
    for word in shlex.split(line, comments=True)[1:]:
        commands = getattr(command, "commands", {})
        if commands and not word.startswith("-"):
            if word not in commands:
                return [word]
            command = commands[word]
        options = {"--help", *(name for parameter in command.params for name in parameter.opts)}
        if word.startswith("--") and word.partition("=")[0] not in options:
            unknown.append(word)
    return unknown


def test_every_command_that_a_document_names_exists_with_its_options() -> None:
    """No page tells to type a command or an option that the program does not have."""
    found = []
    lines = 0
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "deploy").rglob("*.md")):
        text = page.read_text().replace("\\\n", " ")
        for line in re.findall(r"^ *(?:\.venv/bin/|~/\.local/bin/)?(sev1probe [a-z-].*)$", text, re.MULTILINE):
            with contextlib.suppress(ValueError):  # a sentence with an apostrophe
                lines += 1
                found += [f"{page.name}: {line}: {word}" for word in unknown_words(line.split(" | ")[0])]
    assert lines > 30
    assert found == []
    assert unknown_words("sev1probe ledger totals --form json") == ["--form"]
    assert unknown_words("sev1probe leger totals") == ["leger"]
