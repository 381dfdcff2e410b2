"""What the command line says to wrong input: one sentence with the mend, and the exit code that --help documents."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typer.testing import CliRunner

from probe.__main__ import app

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command

INPUT, CANNOT = 2, 3
DIGEST = "0" * 64
EXAMPLE = Path(__file__).resolve().parents[3] / "config" / "sev1probe.example.yaml"
EXAMPLE_KEYS = {"SPARKPOST_KEY": "k-1-secret", "SPARKPOST_ENTERPRISE_KEY": "k-2-secret"}
EXAMPLE_KEYS |= {"BIRD_KEY": "k-3-secret", "BY_HAND_KEY": "k-4-secret"}
EXAMPLE_KEYS |= {"WEBHOOK_SECRET": "k-5-secret", "APPRISE_URL": "json://user:k-6-secret@127.0.0.1/"}

# Arguments, exit code, and what standard error says, from its beginning.
WRONG: tuple[tuple[str, int, str], ...] = (
    ("run", INPUT, "Usage: "),
    ("frobnicate", INPUT, "Usage: "),
    ("run -c missing.yaml", INPUT, "missing.yaml: there is no such file; give the path of the settings file"),
    ("once -c missing.yaml", INPUT, "missing.yaml: there is no such file; give the path of the settings file"),
    ("status -c missing.yaml", INPUT, "missing.yaml: there is no such file; give the path of the settings file"),
    ("check-config missing.yaml", INPUT, "missing.yaml: there is no such file; give the path of the settings file"),
    ("check-config .", INPUT, ".: this is a folder; give the path of the settings file in it"),
    ("check-config broken.yaml", INPUT, "broken.yaml:1:5: this is not YAML: "),
    ("run -c broken.yaml", INPUT, "broken.yaml:1:5: this is not YAML: "),
    (
        "check-config unknown.yaml",
        INPUT,
        'unknown.yaml:3: targets[0].apii: found an unknown key, expected a known key; did you mean "api"?',
    ),
    (
        "check-config trust.yaml",
        INPUT,
        "{folder}/empty.pem: ca_file can't be used: it holds no certificate in PEM form",
    ),
    ("run -c trust.yaml", INPUT, "{folder}/empty.pem: ca_file can't be used: it holds no certificate in PEM"),
    ("once -c good.yaml --target other", INPUT, "good.yaml: no target is named 'other'; the file has: main."),
    ("simulate missing.yaml", INPUT, "missing.yaml: can't be read: No such file or directory"),
    ("simulate scenario.yaml", INPUT, "scenario.yaml:2: api[0].do: found 'nope', expected one of refuse, "),
    ("ledger verify", INPUT, "Name the ledger (a file or an SQLAlchemy URL), or the settings with --config FILE."),
    ("ledger export", INPUT, "Name the ledger (a file or an SQLAlchemy URL), or the settings with --config FILE."),
    ("ledger verify -c missing.yaml", INPUT, "missing.yaml: there is no such file; give the path of the settings file"),
    ("ledger verify missing.sqlite3", CANNOT, "missing.sqlite3: there is no such file"),
    ("ledger export missing.sqlite3", CANNOT, "missing.sqlite3: there is no such file"),
    ("ledger verify broken.yaml", CANNOT, "broken.yaml: the file is not a ledger"),
    ("ledger export broken.yaml", CANNOT, "broken.yaml: the file is not a ledger"),
    ("ledger verify x --anchor 12", INPUT, "--anchor: found '12', expected NUMBER:DIGEST as `ledger verify` prints"),
    ("ledger verify x --anchor 12:ab", INPUT, "--anchor: found '12:ab', expected NUMBER:DIGEST as `ledger verify`"),
    (f"ledger verify x --anchor twelve:{DIGEST}", INPUT, f"--anchor: found 'twelve:{DIGEST}', expected NUMBER:DIGEST"),
    ("ledger export x --from yesterday", INPUT, "--from: found 'yesterday', expected a time such as 2026-11-22T20:"),
    ("ledger export x --to 2026-11-22T20:30:00", INPUT, "--to: '2026-11-22T20:30:00' names no time zone; write "),
    (
        "ledger export x --from 20 --to 10",
        INPUT,
        "--to (1970-01-01T00:00:10Z) is before --from (1970-01-01T00:00:20Z).",
    ),
    (
        "ledger export x --from 1795381200000",
        INPUT,
        "--from: '1795381200000' is after the year 9999; Unix seconds are ",
    ),
    (f"ledger export x --to {'9' * 5000}", INPUT, "--to: "),
    ("hours -c missing.yaml", INPUT, "missing.yaml: there is no such file; give the path of the settings file"),
    ("ledger export x --format xml", INPUT, "Usage: "),
    ("ledger amend x --author nina --reason why", CANNOT, "x: there is no such file"),
    ("ledger amend x --author nina", INPUT, "Usage: "),
    ("ledger amendments missing.sqlite3", CANNOT, "missing.sqlite3: there is no such file"),
    ("ledger totals missing.sqlite3", CANNOT, "missing.sqlite3: there is no such file"),
    ("ledger totals x --from 20 --to 10", INPUT, "--to (1970-01-01T00:00:10Z) is before --from (1970-01-01T00:00:20Z)"),
    ("status --url http://127.0.0.1:1", CANNOT, "No daemon answers at http://127.0.0.1:1: Connection refused. Is it "),
    ("status --url nonsense", INPUT, "--url: found 'nonsense', expected http://HOST:PORT."),
    ("status --url file:///etc/passwd", INPUT, "--url: found 'file:///etc/passwd', expected http://HOST:PORT."),
    ("status -c good.yaml", INPUT, "good.yaml: listener.port is 0, so only the daemon's log knows it; name it with "),
)

# What each command's help must mention, so that nobody has to read the source.
HELP: dict[str, tuple[str, ...]] = {
    "": (
        "run",
        "check-config",
        "once",
        "status",
        "simulate",
        "hours",
        "demo",
        "ledger",
        "--version",
        "Exit codes: 0 ",
        "3 some",
    ),
    "run": ("SIGTERM", "SIGHUP", "--config", "5 s"),
    "check-config": ("--show", "secrets", "redacted", "file, line, field"),
    "once": ("--target", "real messages", "phase by phase"),
    "status": ("--url", "--config", "--json", "http://127.0.0.1:9747"),
    "hours": ("--config", "--target", "--at", "--from", "--to", "--json", "Service Time Zones", "business minutes"),
    "simulate": ("--api-port", "--smtp-port", "--page-port", "--directory", "docs/simulate.md", "scenario"),
    "demo": ("two minutes", "Critical Issue"),
    "ledger": ("verify", "export", "amend", "amendments", "totals"),
    "ledger verify": ("--anchor", "NUMBER:DIGEST", "hash chain", "--json"),
    "ledger export": ("--from", "--to", "--target", "--format", "jsonl|csv", "--output", "docs/ledger.md"),
    "ledger amend": ("--withdraw", "planned-maintenance|force-majeure|agreed-exclusion", "changes no verdict"),
    "ledger amendments": ("withdrawn", "--json"),
    "ledger totals": ("--from", "--target", "--block", "as amended", "budget"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with good and bad files."""
    made = tmp_path_factory.mktemp("files")
    (made / "broken.yaml").write_text("a: [")
    (made / "unknown.yaml").write_text("targets:\n  - name: main\n    apii: {}\n")
    (made / "scenario.yaml").write_text("api:\n  - {at: 1s, do: nope}\n")
    good: dict[str, Any] = {
        "targets": [{"name": "main", "api": {"base_url": "http://127.0.0.1:1/v1", "body": {"to": "{message_id}"}}}],
        "ledger": {"url": "ledger.sqlite3"},
        "listener": {"port": 0},
    }
    (made / "good.yaml").write_text(yaml.safe_dump(good))
    good["targets"][0]["api"] |= {"base_url": "https://127.0.0.1:1/v1", "ca_file": "empty.pem"}
    (made / "trust.yaml").write_text(yaml.safe_dump(good))
    (made / "empty.pem").write_text("")
    return made


@pytest.mark.parametrize(("arguments", "code", "said"), WRONG, ids=[words[:40] for words, _, _ in WRONG])
def test_wrong_input_is_one_sentence_and_a_code(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, said: str
) -> None:
    """Nothing on standard output, the sentence on standard error, never an exception."""
    monkeypatch.chdir(folder)

    ended = CliRunner().invoke(app, arguments.split())

    assert ended.stderr.startswith(said.replace("{folder}", str(folder)))
    assert ended.exit_code == code
    assert isinstance(ended.exception, SystemExit)
    assert ended.stdout == ""
    if not said.startswith("Usage"):
        assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("name", HELP)
def test_help_says_what_a_command_does(name: str) -> None:
    """Each command's help has a sentence and every option that the documents name."""
    ended = CliRunner().invoke(app, [*name.split(), "--help"])

    assert ended.exit_code == 0
    words = " ".join(ended.stdout.split())
    assert [part for part in HELP[name] if part not in words] == []


def test_a_process_ends_with_the_same_sentence_and_code(command: "Command", folder: Path) -> None:
    """What the tables above hold inside of one process is what a shell sees."""
    ended = command("run", "-c", "missing.yaml", cwd=folder)

    assert (ended.code, ended.out) == (INPUT, "")
    assert ended.err == "missing.yaml: there is no such file; give the path of the settings file\n"


def test_version_is_one_line(command: "Command") -> None:
    """The name and the version, and no more."""
    ended = command("--version")

    assert ended.code == 0
    assert ended.out.startswith("sev1probe ")
    assert len(ended.out.splitlines()) == 1


@pytest.mark.parametrize("arguments", ["run -c good.yaml", "ledger verify ledger.sqlite3"])
def test_nothing_runs_without_assertions(command: "Command", folder: Path, arguments: str) -> None:
    """Under python -O the program refuses every command and says why."""
    ended = command(*arguments.split(), python=("-O",), cwd=folder)

    assert ended.code == INPUT
    assert ended.err == (
        "sev1probe does not run under python -O: its assertions guard the evidence. Start it without -O.\n"
    )
    assert ended.out == ""


def test_the_example_is_right_and_shown_without_its_secrets(command: "Command") -> None:
    """The example passes with one line of sums; --show prints it with defaults, and with no secret."""
    checked = command("check-config", EXAMPLE, **EXAMPLE_KEYS)
    shown = command("check-config", EXAMPLE, "--show", **EXAMPLE_KEYS)

    assert (checked.code, shown.code) == (0, 0), (checked, shown)
    assert checked.out.startswith(f"{EXAMPLE}: right. 4 target(s), ")
    effective = yaml.safe_load(shown.out)
    assert effective["targets"][0]["contract"]["persistence"]["window"] == "1m30s"
    for secret in EXAMPLE_KEYS.values():
        assert secret not in checked.out + checked.err + shown.out + shown.err
    missing = command("check-config", EXAMPLE)
    assert missing.code == INPUT
    assert "found no environment variable SPARKPOST_KEY, expected it to be set: export SPARKPOST_KEY=..." in missing.err
    assert len(missing.err.splitlines()) >= 4


@pytest.mark.parametrize("arguments", ["run -c {file}", "simulate --api-port {port} --smtp-port 0"])
def test_a_port_in_use_is_named(command: "Command", folder: Path, free_port: Callable[[], int], arguments: str) -> None:
    """Whoever wants a port that another program has gets a sentence with it, and exit code 3."""
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        port = taken.getsockname()[1]
        config = folder / "taken.yaml"
        config.write_text((folder / "good.yaml").read_text().replace("port: 0", f"port: {port}"))
        ended = command(*arguments.format(file=config, port=port).split(), cwd=folder)

    assert ended.code == CANNOT, ended
    assert str(port) in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("url", ["mysql://root:geheim@127.0.0.1/ledger", "nonsense://root:geheim@127.0.0.1/ledger"])
def test_a_database_of_another_kind_is_refused_in_a_sentence(command: "Command", folder: Path, url: str) -> None:
    """A URL that SQLAlchemy can't use here is named without its password."""
    ended = command("ledger", "verify", url, cwd=folder)

    assert "geheim" not in ended.err
    assert "Traceback" not in ended.err
    assert ended.code == CANNOT


def test_a_status_of_something_else_is_refused(command: "Command", folder: Path) -> None:
    """A listener that is not a daemon's gets a sentence, not a picture."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(10)
        url = f"http://127.0.0.1:{other.getsockname()[1]}"

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n[1]")

        thread = threading.Thread(target=answer)
        thread.start()
        ended = command("status", "--url", url, cwd=folder)
        thread.join()

    assert ended.code == CANNOT
    assert ended.err.startswith(f"What answers at {url} is not sev1probe.")
