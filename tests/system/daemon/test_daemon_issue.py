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


Issue = Callable[..., "Ended"]


def check_the_call_sheet(issue: Issue, name: str, folder: Path) -> None:
    """Read it in all forms while the outage lasts; a call back that nobody can have made is refused meanwhile."""
    paper = folder / "sheet.html"
    asked = (
        ("call-sheet",),
        ("call-sheet", name, "--format", "html", "-o", paper),
        ("call-sheet", "--json"),
        ("called-back",),
    )
    with ThreadPoolExecutor() as together:
        text, html, plain, early = together.map(lambda arguments: issue(*arguments), asked)
    assert (text.code, html.code, plain.code) == (0, 0, 0), (text, html, plain)
    for said in (*COMPANY.values(), "CALL: +1 555 0100", "Service not available, <b>sorry</b>", "Delays in injection"):
        assert said in text.out
    assert "API calls were not affected" in text.out
    assert "&lt;b&gt;sorry&lt;/b&gt;" in paper.read_text()
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as ledger:
        seconds = {row[0] for row in ledger.execute("SELECT second FROM attempt WHERE surface = 'smtp'")}
    ids = [sample["message_id"] for sample in json.loads(plain.out)["samples"]]
    assert ids
    assert {int(name.split(".")[0]) for name in ids} <= seconds
    assert (early.code, "nobody has called the provider" in early.err) == (1, True)


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

    # What the page says is in the ledger, and so on the call sheet, before the outage.
    daemon.wait(
        lambda: daemon.metric("provider_page_polls_total", source="provider/summary", outcome="read"),
        "the words of the page",
    )
    provider.set("smtp", "reply", phase="banner", reply=REPLY)
    opened = daemon.wait_for_log("critical_issue.opened")
    name = opened["issue"]
    assert (opened["call"], opened["say"]) == ("+1 555 0100", f"sev1probe issue call-sheet {name} --config FILE")
    check_the_call_sheet(issue, name, tmp_path)
    printed = daemon.wait_for_log("critical_issue.call_sheet")["call_sheet"]
    served = daemon.get(f"/api/v1/issues/{name}/call-sheet")[1]
    assert "CALL: +1 555 0100" in printed
    assert json.loads(served)["call"] == "+1 555 0100"

    called = issue("called", "--to", "Ana", "--reference", "S1-4711")
    assert (called.code, "sealed in batch" in called.out) == (0, True), called
    daemon.wait(lambda: obligations(daemon) == {"call_line": "met", "call_back": "pending"}, "the call in the status")
    assert daemon.metric("obligations", target="main", obligation="call_back", state="pending") == 1
    provider.clear("smtp")
    with ThreadPoolExecutor() as together:
        back = together.submit(issue, "called-back", "--to", "Ben", "--at", "0s", "--next-update", "2h")
        update = together.submit(issue, "update", "--words", "a full disk; until noon", by="otto")
        assert (back.result().code, update.result().code) == (0, 0), (back.result(), update.result())
    daemon.wait_for_log("critical_issue.restored")

    with ThreadPoolExecutor() as together:
        listed = together.submit(command, "status", "--url", daemon.url)
        both = [together.submit(issue, "agree", "customer", by=who) for who in ("nina", "otto")]
        ended = [one.result() for one in both]
        assert f"{name}: restored" in listed.result().out
        assert "provider: update pending" in listed.result().out
    assert sorted(one.code for one in ended) == [0, 1], ended
    assert "the customer has agreed already" in "".join(one.err for one in ended)
    resolved = issue("agree", "provider", "--words", "said Ben", "--json", by="otto")
    assert (resolved.code, json.loads(resolved.out)["stage"]) == (0, "resolved"), resolved
    daemon.wait_for_log("critical_issue.over")
    assert daemon.status()["issues"] == []

    with ThreadPoolExecutor() as together:
        late = together.submit(issue, "withdraw", "customer", name)
        shown = json.loads(together.submit(issue, "show", name, "--json").result().out)["happenings"]
        assert (late.result().code, "resolved, as both sides agreed" in late.result().err) == (1, True)
    told = [one["act"] for one in shown if one["actor"] != "sev1probe"]
    assert [one["act"] for one in shown if one["actor"] == "sev1probe"] == ["opened", "restored"]
    assert len(daemon.log("critical_issue.told")) == len(told) == 5
    daemon.end()
    ledger = tmp_path / "ledger.sqlite3"
    assert command("ledger", "verify", ledger).code == 0
    rows = [json.loads(row) for row in command("ledger", "export", ledger).out.splitlines()]
    assert [row["act"] for row in rows if row["type"] == "happening"] == told
