"""The key stays where it is kept: nothing that the program writes, serves or prints ever holds it, in any dress."""

import base64
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Evidence, Provider, Start

USER = "SMTP_Injection"
FORMATS = (
    "",
    "application/openmetrics-text; version=1.0.0",
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited",
)
ROOT = Path(__file__).resolve().parents[3]
# A bug, with the key in the variables around it.
BUG = """
import sys
if "run" in sys.argv or "run" in sys.orig_argv:
    from probe.surfaces.api import ApiSurface

    async def attempt(self, ticket, deadline_us):
        key = [open(path).read() for path in __import__("glob").glob(sys.orig_argv[-1].rpartition("/")[0] + "/*/key")]
        assert key
        return len(key) / 0

    ApiSurface.attempt = attempt
"""


def dresses(key: str) -> list[bytes]:
    """List the forms in which a key, or a piece of it that would help to guess the rest, travels or may be quoted."""
    plain = key.encode()
    coded = [base64.b64encode(f"\0{USER}\0{key}".encode()), base64.b64encode(plain + b":")]
    # What base64 makes of it, without the characters that depend on what stands around it.
    within = [base64.b64encode(b"x" * shift + plain)[4 * (shift > 0) : -4] for shift in range(3)]
    return [plain[: len(plain) // 2], plain[len(plain) // 2 :], plain.hex().encode(), *coded, *within]


def test_a_key_never_leaves(
    start: "Start",
    command: "Command",
    target: Callable[..., dict[str, Any]],
    settings: Callable[..., Path],
    provider: "Provider",
    tmp_path: Path,
) -> None:
    """Through refused logins, servers that echo the key, malformed replies, a wrong reload."""
    key = provider.inner.key
    config = settings(target(timeout="1s"), log={"format": "json", "level": "debug"})
    daemon = start(config)
    said: list[str] = []
    for api, smtp in _phases(key):
        provider.set("api", **api)
        provider.set("smtp", **smtp)
        if not said:
            ended = command("once", "--config", config)
            assert ended.code == 1, ended
            said += [ended.out, ended.err]
        daemon.wait_for_seconds(2)
        said.append(daemon.get("/api/v1/status")[1])
    config.write_text(config.read_text().replace("file:", "flie:", 1) + f"wrong: {key}-in-the-wrong-place\n")
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("settings.refused")
    seen = {name: daemon.get("/metrics", accept=accept)[1] for name, accept in enumerate(FORMATS)}
    assert daemon.end()[0] == 0

    for arguments in (("check-config", config), ("ledger", "verify", "-c", config)):
        ended = command(*arguments)
        assert ended.code == 2
        said += [ended.out, ended.err]
    right = settings(target(timeout="1s"), name="right.yaml")
    shown = command("check-config", right, "--show")
    exported = command("ledger", "export", tmp_path / "ledger.sqlite3")
    assert (shown.code, exported.code) == (0, 0)
    rows = [json.loads(line) for line in exported.out.splitlines()]
    assert {row["cause"] for row in rows if row["type"] == "attempt"} >= {
        "credentials",
        "http_error",
        "reply_transient",
    }
    assert any("[" in row.get("reply", "") or "*" in row.get("reply", "") for row in rows)
    said += [shown.out, shown.err, exported.out, *seen.values()]

    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != provider.key_file and path != config]
    assert {"ledger.sqlite3", "daemon-1.log"} <= {path.name for path in files}
    haystacks = {path.name: path.read_bytes() for path in files}
    haystacks |= {f"said {number}": text.encode() for number, text in enumerate(said)}
    found = [(name, dress) for name, text in haystacks.items() for dress in dresses(key) if dress in text]
    assert found == []


def test_an_error_of_our_own_is_told_without_the_key(
    start: "Start",
    target: Callable[..., dict[str, Any]],
    settings: Callable[..., Path],
    provider: "Provider",
    evidence: Callable[..., "Evidence"],
    tmp_path: Path,
) -> None:
    """A bug in an attempt is our own fault, ends nothing else, and its traceback shows no values."""
    patches = tmp_path / "patches"
    patches.mkdir()
    (patches / "sitecustomize.py").write_text(BUG)
    config = settings(target())
    daemon = start(config, PYTHONPATH=f"{patches}:{ROOT}")
    line = daemon.wait_for_log("attempt.failed_inside", count=2)
    assert "ZeroDivisionError" in line["exception"]
    daemon.wait(lambda: daemon.recent("smtp").endswith("A"), "an available second on the other surface")
    assert daemon.recent("api").strip("I") == ""
    assert daemon.end()[0] == 0

    found = evidence()
    assert {(row["fault"], row["cause"]) for row in found.made("api")} <= {("self", "internal"), ("self", "stopped")}
    assert set(found.verdicts("api").values()) == {"inconclusive"}
    told = daemon.log_path.read_bytes()
    assert [dress for dress in dresses(provider.inner.key) if dress in told] == []


def _phases(key: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Give what API and SMTP do at the same time, each echoing the key where it can."""
    plain = base64.b64encode(f"\0{USER}\0{key}".encode()).decode()
    errors = {"errors": [{"message": f"no such key {key}", "description": key, "code": key}]}
    yield (
        {"kind": "status", "status": 401, "body": json.dumps(errors).encode()},
        {"kind": "reply", "phase": "auth", "reply": f"535 5.7.8 Sorry, {key} is wrong ({plain})"},
    )
    yield (
        {"kind": "status", "status": 503, "body": f"upstream saw Authorization: {key}".encode()},
        {"kind": "reply", "phase": "mail", "reply": f"451-4.3.0 {key}\n451 4.3.0 {plain}\t{key}"},
    )
    # The key stands across the place where what is kept of a reply ends.
    yield (
        {"kind": "status", "status": 400, "body": json.dumps({"errors": [{"message": "x" * 250 + key * 9}]}).encode()},
        {"kind": "reply", "phase": "final", "reply": f"421 4.3.3 {'x' * 490}{key * 9}"},
    )
    yield (
        {"kind": "html", "status": 400, "body": f"<html>{key}</html>".encode(), "headers": (("X-Echo", key),)},
        {"kind": "garbage", "phase": "banner"},
    )
