"""A real daemon tells real receivers: what it promised in the ledger is told, whatever happens to it in between."""

import hashlib
import hmac
import json
import signal
import sqlite3
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Daemon, Ended, Provider, Start

SECRET = "hunter2-signing"
HIDDEN = "hunter2-address"


class Receiver:
    """Takes messages on loopback, and refuses with 503 while it is shut."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.forged = 0
        self.asked = 0
        self.is_shut = False
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.asked += 1
                status = 503 if receiver.is_shut else 200
                if not receiver.is_shut:
                    receiver.take(dict(self.headers), body)
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Keep a message; count it if its signature is wrong."""
        if "Sev1probe-Signature" in headers:
            signed = headers["Sev1probe-Timestamp"].encode() + b"." + body
            right = "v1=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
            self.forged += headers["Sev1probe-Signature"] != right
        self.messages.append(json.loads(body))

    @property
    def kinds(self) -> list[str]:
        """Say what kinds of notice came, in order."""
        return [message["kind"] for message in self.messages]

    @property
    def distinct_kinds(self) -> list[str]:
        """Say the same without repeats, which kill -9 in the wrong moment may make."""
        return list({message["key"]: message["kind"] for message in self.messages}.values())

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Run a receiver."""
    running = Receiver()
    yield running
    running.close()


def webhook(receiver: Receiver, **more: Any) -> dict[str, Any]:
    """Describe the courier that tells a receiver."""
    url = f"http://{receiver.address}/{HIDDEN}"
    return {"name": "hook", "kind": "webhook", "url": url, "secret": {"env": "HOOK_SECRET"}, **more}


Settings = Callable[..., Path]
Describe = Callable[..., dict[str, Any]]


def test_after_kill_9_between_keeping_and_telling_exactly_what_was_promised_is_told(
    start: "Start",
    command: "Command",
    target: Describe,
    settings: Settings,
    provider: "Provider",
    receiver: Receiver,
    until: Callable[..., Any],
) -> None:
    """An issue that is kept while the receiver is shut is told by the next daemon, once; what was told is not."""
    config = settings(target(persistence="2/4/2"), notify=[webhook(receiver)])
    environment = {"HOOK_SECRET": SECRET}
    daemon = start(config, **environment)
    daemon.wait_for_recent("AA")
    provider.set("api", "status", status=503)
    until(lambda: receiver.kinds == ["critical_issue.opened"], "the opening is told")
    receiver.is_shut = True
    provider.clear("api")
    daemon.wait_for_log("critical_issue.restored")  # said once it is kept
    asked = receiver.asked
    until(lambda: receiver.asked > asked, "the receiver refuses")
    assert daemon.metric("outbox_waiting", courier="hook") == 1
    assert daemon.metric("courier_failing", courier="hook") == 1
    daemon.end(signal.SIGKILL)
    assert receiver.kinds == ["critical_issue.opened"]

    receiver.is_shut = False
    daemon = start(config, **environment)
    until(lambda: len(receiver.messages) == 2, "the restoration is told")
    daemon.wait(lambda: daemon.metric("outbox_waiting", courier="hook") == 0, "nothing waits")
    daemon.end(signal.SIGKILL)
    daemon = start(config, **environment)
    daemon.wait_for_recent("AA")

    opened, restored = receiver.messages
    assert receiver.kinds == ["critical_issue.opened", "critical_issue.restored"]
    assert opened["issue"] == restored["issue"]
    assert opened["key"] != restored["key"]
    assert opened["recorded"]
    assert receiver.forged == 0
    assert daemon.metric("outbox_waiting", courier="hook") == 0
    shown = "".join(path.read_text() for path in daemon.log_path.parent.glob("daemon-*.log"))
    shown += daemon.get("/api/v1/status")[1] + daemon.get("/metrics")[1]
    assert "hunter2" not in shown
    status = json.loads(daemon.get("/api/v1/status")[1])
    assert status["couriers"]["hook"] == {"kind": "webhook", "waiting": 0, "failing_since": None, "trouble": ""}
    assert command("ledger", "verify", config.parent / "ledger.sqlite3").code == 0


def test_an_issue_that_can_not_be_recorded_is_told_all_the_same_and_only_once(
    start: "Start",
    target: Describe,
    settings: Settings,
    provider: "Provider",
    receiver: Receiver,
    until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """A ledger that can't be written keeps nobody from being called; the message says so, and is not repeated later."""
    config = settings(target(persistence="2/4/2"), notify=[webhook(receiver)])
    daemon = start(config, HOOK_SECRET=SECRET)
    daemon.wait_for_recent("AA")
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # No other process can write meanwhile.
        daemon.wait_for_log("ledger.unwritable")
        provider.set("api", "status", status=503)
        until(lambda: receiver.messages, "the opening is told")
        assert not receiver.messages[0]["recorded"]
        assert "NOT YET RECORDED" in receiver.messages[0]["text"]
        other.execute("ROLLBACK")
    daemon.wait_for_log("ledger.writable_again")
    provider.clear("api")
    until(lambda: len(receiver.messages) >= 2, "the restoration is told")
    daemon.wait(lambda: daemon.metric("outbox_waiting", courier="hook") == 0, "nothing waits")

    assert receiver.kinds == ["critical_issue.opened", "critical_issue.restored"]
    assert receiver.messages[1]["recorded"]
    assert receiver.forged == 0


# Alertmanager.


@pytest.fixture
def alertmanager(
    require_program: Callable[[str], str], free_port: Callable[[], int], tmp_path: Path, until: Callable[..., Any]
) -> Iterator["Alertmanager"]:
    """Run a real Alertmanager that tells a receiver of its own what fires and what is resolved."""
    program = require_program("prometheus-alertmanager")
    receiver = Receiver()
    config = {
        # Much shorter than our own repeats, to show that it is not what keeps an alert firing.
        "global": {"resolve_timeout": "1s"},
        "route": {
            "receiver": "all",
            "group_by": ["alertname", "issue"],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "all", "webhook_configs": [{"url": f"http://{receiver.address}/"}]}],
    }
    path = tmp_path / "alertmanager.yml"
    path.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    flags = [f"--config.file={path}", f"--storage.path={tmp_path / 'alertmanager'}", "--cluster.listen-address="]
    with (tmp_path / "alertmanager.log").open("wb") as sink:
        process = subprocess.Popen([program, *flags, f"--web.listen-address={address}"], stdout=sink, stderr=sink)
    running = Alertmanager(f"http://{address}", receiver)
    try:
        until(running.is_ready, "Alertmanager is ready")
        yield running
    finally:
        process.terminate()
        process.wait()
        receiver.close()


class Alertmanager:
    """A running Alertmanager."""

    def __init__(self, url: str, receiver: Receiver) -> None:
        self.url = url
        self.receiver = receiver

    def is_ready(self) -> bool:
        """Say whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def firing(self) -> list[dict[str, Any]]:
        """List the alerts that fire."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=5) as answer:
            found: list[dict[str, Any]] = json.loads(answer.read())
        return found

    @property
    def alerts(self) -> dict[str, dict[str, Any]]:
        """Give the alerts that fire, by name."""
        return {alert["labels"]["alertname"]: alert for alert in self.firing()}

    def told(self, name: str) -> list[str]:
        """Say what it told its receiver of the alerts of a name."""
        messages = self.receiver.messages
        return [one["status"] for one in messages if one["groupLabels"]["alertname"] == name]


ISSUE, MISSED = "Sev1probeCriticalIssue", "Sev1probeObligationMissed"


def test_a_real_alertmanager_sees_alerts_appear_stay_and_resolve(
    start: "Start",
    command: "Command",
    target: Describe,
    settings: Settings,
    provider: "Provider",
    receiver: Receiver,
    alertmanager: Alertmanager,
    until: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """The issue's alert fires until both sides agreed, that of the call which nobody made until it is told.

    Both fire through repeats and kill -9, longer than one message lets them; a webhook is told of each turn once.
    """
    described = target(persistence="2/4/2")
    described["contract"] |= {"severity_1_line": "+1 555 0100", "call_within": "5s"}
    courier = {"name": "alerts", "kind": "alertmanager", "url": alertmanager.url, "repeat": "1s"}
    config = settings(described, notify=[{**courier, "labels": {"team": "mail"}}, webhook(receiver)])
    daemon = start(config, HOOK_SECRET=SECRET)
    daemon.wait_for_recent("AA")
    provider.set("smtp", "reply", phase="mail", reply="451 4.3.0 Trouble in the service")
    (alert,) = until(alertmanager.firing, "the alert appears")
    labels = {name: alert["labels"][name] for name in ("alertname", "target", "severity", "line", "team", "vantage")}
    assert labels == {
        "alertname": ISSUE,
        "target": "main",
        "severity": "critical",
        "line": "severity-1",
        "team": "mail",
        "vantage": "here",
    }
    until(lambda: alertmanager.alerts.keys() == {ISSUE, MISSED}, "the missed call pages again")
    assert daemon.metric("obligations_missed_total", target="main", obligation="call_line") == 1
    began = alertmanager.alerts

    daemon.end(signal.SIGKILL)
    daemon = start(config, HOOK_SECRET=SECRET)
    check_that_alerts_stay(daemon, alertmanager, began, until)
    assert receiver.distinct_kinds == ["critical_issue.opened", "obligation.missed"]

    issue = alert["labels"]["issue"]
    provider.clear("smtp")
    called = command("issue", "called", issue, "--reference", "S1-4711", "-c", config, HOOK_SECRET=SECRET)
    assert called.code == 0, called
    until(lambda: alertmanager.alerts.keys() == {ISSUE}, "nobody is paged for the call any more")
    daemon.wait_for_log("critical_issue.restored")
    assert alertmanager.alerts.keys() == {ISSUE}

    def agree(party: str) -> "Ended":
        return command("issue", "agree", party, issue, "-c", config, HOOK_SECRET=SECRET)

    with ThreadPoolExecutor() as together:
        exported = together.submit(command, "ledger", "export", tmp_path / "ledger.sqlite3")
        agreed = list(together.map(agree, ("customer", "provider")))
    assert [one.code for one in agreed] == [0, 0], agreed
    until(lambda: not alertmanager.firing(), "the alert is gone")
    # On a busy machine the new daemon may come so late that an alert ended meanwhile, and fired again.
    until(
        lambda: all(alertmanager.told(name)[-1] == "resolved" for name in (ISSUE, MISSED)),
        "the end of both is told",
        explain=lambda: str(alertmanager.receiver.messages),
    )
    assert {alertmanager.told(name)[0] for name in (ISSUE, MISSED)} == {"firing"}
    until(lambda: receiver.kinds[-1] == "critical_issue.resolved", "the webhook is told of the end")
    check_what_was_told_of_the_call(receiver, issue, exported.result().out)


def check_that_alerts_stay(
    daemon: "Daemon", alertmanager: Alertmanager, began: dict[str, dict[str, Any]], until: Callable[..., Any]
) -> None:
    """See that they fire on by repeats, as they began."""
    # One message lets it fire for five repeats; it fires on although the daemon died, and past the first one's end.
    until(
        lambda: all(one["endsAt"] > began[name]["endsAt"] for name, one in alertmanager.alerts.items()),
        "both are repeated",
    )
    daemon.wait(lambda: daemon.metric("notifications_total", courier="alerts", outcome="repeated") >= 6, "six repeats")
    still = alertmanager.alerts
    assert still.keys() == began.keys()
    for name, one in still.items():
        assert (one["startsAt"], one["labels"]) == (began[name]["startsAt"], began[name]["labels"])
        assert one["status"]["state"] == "active"
    assert daemon.metric("obligations", target="main", obligation="call_line", state="missed") == 1


def check_what_was_told_of_the_call(receiver: Receiver, issue: str, export: str) -> None:
    """See that a webhook was told once that it was missed, what to do, and that it came late; the record has both."""
    rows = [json.loads(row) for row in export.splitlines()]
    lapses = [(row["issue"], row["obligation"], row["raised"]) for row in rows if row["type"] == "lapse"]
    assert lapses == [(issue, "call_line", 1), (issue, "call_line", 0)]
    told = {message["key"]: message for message in receiver.messages}.values()
    missed, over = [message for message in told if message["kind"].startswith("obligation.")]
    assert (missed["issue"], missed["obligation"], missed["owed_by"]) == (issue, "call_line", "customer")
    assert (missed["line"], missed["severity"], missed["recorded"]) == ("severity-1", "critical", True)
    assert "Call the provider's Severity 1 line now" in missed["text"]
    assert (over["thread"], over["ends"], " late, at " in over["text"]) == (missed["thread"], True, True)


def test_notify_test_says_in_one_line_each_what_happened(
    command: "Command",
    target: Describe,
    settings: Settings,
    alertmanager: Alertmanager,
    receiver: Receiver,
    free_port: Callable[[], int],
) -> None:
    """All work: 0. One does not: 1, and the line says which and why. No address is shown."""
    couriers = [
        {"name": "alerts", "kind": "alertmanager", "url": alertmanager.url},
        webhook(receiver),
        {"name": "people", "kind": "apprise", "url": {"env": "PEOPLE"}},
    ]
    environment = {"HOOK_SECRET": SECRET, "PEOPLE": f"json://user:hunter2@{receiver.address}/{HIDDEN}"}
    config = settings(target(), notify=couriers)
    worked = command("notify", "test", "--config", config, **environment)

    assert worked.code == 0, worked
    assert [line.split(" in ")[0] for line in worked.out.splitlines()] == [
        "alerts (alertmanager): told",
        "hook (webhook): told",
        "people (apprise): told",
    ]
    assert {"Test of sev1probe's notifications"} == {message["title"] for message in receiver.messages}
    assert [alert["labels"]["alertname"] for alert in alertmanager.firing()] == ["Sev1probeTest"]

    couriers[0]["url"] = f"http://127.0.0.1:{free_port()}"
    receiver.is_shut = True
    failed = command("notify", "test", "--config", settings(target(), notify=couriers), **environment)

    assert failed.code == 1
    assert failed.out.splitlines() == [
        "alerts (alertmanager): NOT told: no connection: Connection refused",
        "hook (webhook): NOT told: the receiver answers HTTP 503",
        "people (apprise): NOT told: the service did not take it",
    ]
    assert "hunter2" not in worked.out + worked.err + failed.out + failed.err
    none = command("notify", "test", "--config", settings(target()))
    assert none.code == 2
    assert "there is no courier" in none.err
