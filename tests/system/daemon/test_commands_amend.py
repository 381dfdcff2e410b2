"""What the provider says and what both sides agree on, beside the seconds: while the daemon runs, and without it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Provider, Start

Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
WHO = ("--author", "nina", "--reason", "announced on the status page")


def counts(command: "Command", ledger: Path, *arguments: str) -> dict[str, Any]:
    """Return what `ledger totals` counts of each surface and of the target, as judged and as amended."""
    ended = command("ledger", "totals", ledger, "--json", *arguments)
    assert ended.code == 0, ended
    surfaces: dict[str, Any] = json.loads(ended.out)["targets"][0]["surfaces"]
    return surfaces


def test_an_outage_is_excluded_and_counted_again_while_the_daemon_runs(
    start: "Start",
    command: "Command",
    target: Describe,
    settings: Write,
    provider: "Provider",
    tmp_path: Path,
) -> None:
    """Amendments take effect within seconds, verdicts stay, and the provider's own words lie beside them."""
    provider.announce("Work on the mail exchangers", is_maintenance=True)
    page = {"name": "provider", "url": provider.inner.page_url, "poll": "10s", "ca_file": str(provider.ca_file)}
    config = settings(target(), status_pages=[page])
    ledger = tmp_path / "ledger.sqlite3"
    daemon = start(config)
    assert any("there is no control" in line["warning"] for line in daemon.log("settings.warning"))
    daemon.wait_for_seconds(1)
    provider.set("smtp", "reply", phase="banner", reply="421 4.3.2 Service not available")
    daemon.wait_for_seconds(4)
    provider.clear("smtp")
    daemon.wait_for_recent("AA")
    last = daemon.status()["last_second"]
    whole = ("--from", str(last - 3_000), "--to", str(last))
    before = counts(command, ledger, *whole)
    down = before["smtp"]["as_judged"]["unavailable_literal"]
    assert down >= 2

    window = (*whole, "--kind", "planned-maintenance", "--surface", "smtp")
    added = command("ledger", "amend", ledger, *window, *WHO)
    assert added.code == 0, added
    assert "sealed in batch" in added.out
    amended_id = added.out.split()[0]
    after = counts(command, ledger, *whole)
    judged, amended = after["smtp"]["as_judged"], after["smtp"]["as_amended"]
    assert judged["unavailable_literal"] == after["target"]["as_judged"]["unavailable_literal"] == down
    assert (amended["unavailable_literal"], amended["recorded"], amended["excluded"]) == (0, 0, judged["recorded"])
    assert after["target"]["as_amended"]["unavailable_literal"] == 0

    back = command(
        "ledger", "amend", "-c", config, "--withdraw", amended_id, "--author", "otto", "--reason", "not ours"
    )
    assert back.code == 0, back
    assert counts(command, ledger, *whole) == before

    daemon.wait(lambda: len(provider.inner.page.asked) >= 3, "both documents of the page")
    daemon.end()
    rows = [json.loads(line) for line in command("ledger", "export", ledger).out.splitlines()]
    statements = {row["source"]: row for row in reversed(rows) if row["type"] == "statement"}
    summary, announced = statements["provider/summary"], statements["provider/scheduled-maintenances"]
    assert (summary["trouble"], summary["code"]) == ("", 200)
    assert "Work on the mail exchangers" in announced["body"]
    assert announced["digest"] == hashlib.sha256(announced["body"].encode()).hexdigest()
    assert [row["withdraws"] for row in rows if row["type"] == "amendment"] == ["", amended_id]
    verified = command("ledger", "verify", ledger)
    assert (verified.code, "sound" in verified.out) == (0, True)
