"""A Critical Issue from the outage to the agreed resolution, as the engineers on call go through it."""

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Daemon, Ended, Provider, Start

Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
COMPANY = {
    "name": "Example Mail GmbH",
    "contact_name": "Nina Keller",
    "contact_phone": "+49 30 5550100",
    "contact_email": "oncall@example.com",
}
REPLY = "421 4.3.2 Service not available, <b>sorry</b>"


def obligations(daemon: "Daemon") -> dict[str, str]:
    """Return what the status says is owed, by name."""
    (issue,) = daemon.status()["issues"]
    return {one["obligation"]: one["state"] for one in issue["obligations"]}


def test_an_issue_is_seen_through_to_the_resolution(
    start: "Start", command: "Command", target: Describe, settings: Write, provider: "Provider", tmp_path: Path
) -> None:
    """Call sheet, call, call back, update, restoration and two agreements; what is not allowed changes nothing."""
    provider.announce("Delays in injection")
    page = {"name": "provider", "url": provider.inner.page_url, "poll": "10s", "ca_file": str(provider.ca_file)}
    described = target(persistence="3/5/2")
    described["contract"] |= {"severity_1_line": "+1 555 0100", "update_every": "1h"}
    config = settings(described, company=COMPANY, status_pages=[page])
    daemon = start(config)

    def issue(*arguments: object, by: str = "nina") -> "Ended":
        told = () if arguments[0] in ("list", "show", "call-sheet") else ("--by", by)
        return command("issue", *arguments, "-c", config, *told)

    assert issue("list").code == 0
    daemon.wait_for_seconds(1)
    provider.set("smtp", "reply", phase="banner", reply=REPLY)
    opened = daemon.wait_for_log("critical_issue.opened")
    name = opened["issue"]
    assert (opened["call"], opened["say"]) == ("+1 555 0100", f"sev1probe issue call-sheet {name} --config FILE")

    sheet = issue("call-sheet")
    assert sheet.code == 0, sheet
    for said in (*COMPANY.values(), "CALL: +1 555 0100", "Service not available, <b>sorry</b>", "Delays in injection"):
        assert said in sheet.out
    assert "API calls were not affected" in sheet.out
    paper = tmp_path / "sheet.html"
    assert issue("call-sheet", name, "--format", "html", "-o", paper).code == 0
    assert "&lt;b&gt;sorry&lt;/b&gt;" in paper.read_text()
    ids = json.loads(issue("call-sheet", "--json").out)["samples"]
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as ledger:
        seconds = {row[0] for row in ledger.execute("SELECT second FROM attempt WHERE surface = 'smtp'")}
    assert {int(sample["message_id"].split(".")[0]) for sample in ids} <= seconds

    early = issue("called-back")
    assert (early.code, "nobody has called the provider" in early.err) == (1, True)
    assert issue("agree", "provider").code == 1
    called = issue("called", "--to", "Ana", "--reference", "S1-4711")
    assert (called.code, "sealed in batch" in called.out) == (0, True), called
    daemon.wait(lambda: obligations(daemon) == {"call_line": "met", "call_back": "pending"}, "the call in the status")
    assert daemon.metric("obligations", target="main", obligation="call_back", state="pending") == 1

    with ThreadPoolExecutor() as together:
        back = together.submit(issue, "called-back", "--to", "Ben", "--at", "0s", "--next-update", "2h")
        update = together.submit(issue, "update", "--words", "a full disk; until noon", by="otto")
        provider.clear("smtp")
        assert (back.result().code, update.result().code) == (0, 0), (back.result(), update.result())
    daemon.wait_for_log("critical_issue.restored")
    listed = command("status", "--url", daemon.url)
    assert f"{name}: restored" in listed.out
    assert "provider: update pending" in listed.out
    assert issue("list").code == 1

    with ThreadPoolExecutor() as together:
        both = [together.submit(issue, "agree", "customer", by=who) for who in ("nina", "otto")]
        ended = [one.result() for one in both]
    assert sorted(one.code for one in ended) == [0, 1], ended
    assert "the customer has agreed already" in "".join(one.err for one in ended)
    resolved = issue("agree", "provider", "--words", "said Ben", "--json", by="otto")
    assert (resolved.code, json.loads(resolved.out)["stage"]) == (0, "resolved"), resolved
    daemon.wait_for_log("critical_issue.over")
    assert daemon.status()["issues"] == []
    late = issue("withdraw", "customer", name)
    assert (late.code, "resolved, as both sides agreed" in late.err) == (1, True)

    shown = json.loads(issue("show", name, "--json").out)
    assert [one["act"] for one in shown["happenings"] if one["actor"] == "sev1probe"] == ["opened", "restored"]
    assert len(daemon.log("critical_issue.told")) == len(shown["happenings"]) - 2 == 5
    daemon.end()
    assert command("ledger", "verify", tmp_path / "ledger.sqlite3").code == 0
    acts = [json.loads(row)["act"] for row in command("ledger", "export", tmp_path / "ledger.sqlite3").out.splitlines()
            if json.loads(row)["type"] == "happening"]  # fmt: skip
    assert acts == [one["act"] for one in shown["happenings"] if one["actor"] != "sev1probe"]
