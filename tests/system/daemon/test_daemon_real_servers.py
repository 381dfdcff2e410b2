"""The whole job on a real Postfix and a real nginx, each claim held against what the servers themselves logged."""

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.system.conftest import HttpsApi, Postfix
    from tests.system.daemon.conftest import Command, Daemon, Evidence, Start

MESSAGE_ID = re.compile(r"message-id=<([^>@]+)")
PERSISTENCE = {"persistence": {"unavailable": "3s", "window": "5s", "recovery": "2s"}}


def logged_by_postfix(postfix: "Postfix") -> set[str]:
    """Return the ids of all messages that Postfix has taken in, without our side's domain."""
    return {found.rpartition("@")[0] or found for found in MESSAGE_ID.findall(postfix.log())}


def logged_by_nginx(api: "HttpsApi") -> list[tuple[int, str]]:
    """Return status and message id of each request, in nginx's order."""
    lines = [line.split() for line in api.log_path.read_text().splitlines()]
    return [(int(line[0]), line[3]) for line in lines]


@pytest.fixture
def config(
    https_api: "HttpsApi",
    postfix: "Postfix",
    parts: Mapping[str, Callable[..., dict[str, Any]]],
    settings: Callable[..., Path],
    tmp_path: Path,
) -> Path:
    """Point a target at nginx and Postfix with STARTTLS, and another at Postfix with TLS from the first byte."""
    key_file = tmp_path / "password"
    key_file.write_text(postfix.password)
    key_file.chmod(0o600)

    def smtp(port: int, tls: str, mode: str) -> dict[str, Any]:
        described = parts["smtp"](postfix.host, port, key_file, postfix.ca_file)
        login = {"user": postfix.user, "sender": postfix.sender, "recipient": postfix.recipient}
        return {**described, **login, "tls": tls, "connections": {"mode": mode, "fresh_every": 3}}

    api = parts["api"](https_api.base_url, key_file, https_api.ca_file, connections={"fresh_every": 3})
    return settings(
        {"name": "main", "api": api, "smtp": smtp(postfix.port_starttls, "starttls", "kept"), "contract": PERSISTENCE},
        {"name": "other", "smtp": smtp(postfix.port_implicit, "implicit", "fresh"), "contract": PERSISTENCE},
    )


def test_once_injects_into_real_servers(
    command: "Command", config: Path, postfix: "Postfix", https_api: "HttpsApi"
) -> None:
    """One attempt on each surface is accepted, shown phase by phase, and its id stands in the servers' logs."""
    before = len(https_api.requests())

    done = command("once", "--config", config)

    assert done.code == 0, done
    assert done.out.count("none / accepted") == 3
    for phase in ("banner", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "final", "request", "first_byte"):
        assert phase in done.out
    api_id, *smtp_ids = re.findall(r"message +(\S+)", done.out)
    https_api.wait_for_requests(before + 1)
    assert logged_by_nginx(https_api)[before:] == [(200, api_id)]
    for message_id in smtp_ids:
        postfix.wait_for_log(message_id)


def test_an_outage_is_judged_as_the_servers_logs_tell_it(
    start: "Start",
    config: Path,
    postfix: "Postfix",
    https_api: "HttpsApi",
    evidence: Callable[..., "Evidence"],
) -> None:
    """Requests, messages, unavailable seconds and the dates of both issues are what nginx and Postfix logged."""
    before = len(https_api.requests())
    daemon = start(config)
    for target in ("main", "other"):
        daemon.wait_for_recent("AAA", target)

    falling_s = time.time()
    postfix.pause()
    https_api.set_down(True)
    fallen_s = time.time()
    opened = {line["target"]: line for line in _turns(daemon, "critical_issue.opened")}
    assert daemon.status()["critical_issue"]["state"] == "open"
    https_api.heal()
    postfix.resume()
    restored = {line["target"]: line for line in _turns(daemon, "critical_issue.restored")}
    assert {target: line["issue"] for target, line in opened.items()} == {
        target: line["issue"] for target, line in restored.items()
    }
    shown = {target: daemon.status(target)["turns"] for target in opened}
    assert daemon.end()[0] == 0

    found = evidence()
    _compare_with_nginx(found, https_api, before)
    for target in opened:
        taken_in_vain = _compare_with_postfix(found, postfix, target)
        assert len(taken_in_vain) <= 1
        bad = _unavailable(found, "smtp", target) + (_unavailable(found, "api") if target == "main" else [])
        assert [turn["turn"] for turn in shown[target]] == ["opened", "restored"]
        assert shown[target][0]["since_second"] == min(bad)
        assert int(falling_s) <= min(bad) <= fallen_s + 1
        assert shown[target][1]["since_second"] == max(bad) + 1


def _turns(daemon: "Daemon", event: str) -> list[dict[str, Any]]:
    daemon.wait_for_log(event, count=2)
    lines = daemon.log(event)
    assert {line["record"] for line in lines} == {"kept in the ledger"}
    return lines


def _unavailable(found: "Evidence", surface: str, target: str = "main") -> list[int]:
    verdicts = found.verdicts(surface, target)
    seconds = [second for second, verdict in verdicts.items() if verdict == "unavailable"]
    assert set(verdicts.values()) == {"available", "unavailable"}, verdicts
    assert seconds == list(range(seconds[0], seconds[-1] + 1))
    return seconds


def _compare_with_nginx(found: "Evidence", api: "HttpsApi", before: int) -> None:
    """Hold that one attempt was one request, and that exactly the seconds with a 503 are unavailable."""
    attempts = [(row["code"], row["message_id"]) for row in found.made("api")]
    api.wait_for_requests(before + len(attempts))
    requests = logged_by_nginx(api)[before:]
    assert sorted(requests) == sorted(attempts)
    assert [int(message_id.split(".")[0]) for code, message_id in requests if code == 503] == _unavailable(found, "api")
    assert {row["connection"] for row in found.made("api")} >= {"fresh", "kept"}


def _compare_with_postfix(found: "Evidence", postfix: "Postfix", target: str) -> set[str]:
    """Hold that Postfix logged all that was accepted; return what it took although we saw no success."""
    accepted = found.accepted("smtp", target)
    assert len(accepted) >= 5
    for message_id in accepted:
        postfix.wait_for_log(message_id)
    made = {str(row["message_id"]): row for row in found.made("smtp", target)}
    in_vain = (logged_by_postfix(postfix) & made.keys()) - accepted
    assert all(made[message_id]["phase"] == "final" for message_id in in_vain)
    silent = [row for row in made.values() if row["fault"] != "none"]
    assert silent
    assert {(row["fault"], row["cause"]) for row in silent} == {("server_timeout", "silent")}
    return in_vain
