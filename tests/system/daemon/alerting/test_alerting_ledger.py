"""What the rules ask of the ledger, shown by a real daemon."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Start


def test_an_excluded_window_leaves_the_month_and_a_changed_record_is_a_problem_of_the_chain(
    start: "Start",
    command: "Command",
    target: Callable[..., dict[str, Any]],
    settings: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """An amendment told to the running daemon counts at once; a start on an altered ledger says so in the metrics."""
    daemon = start(config := settings(target()))
    daemon.wait_for_recent("AAA")
    daemon.wait(lambda: "sev1probe_month_excluded_seconds{" in daemon.get("/metrics")[1], "the month is known")
    assert daemon.metric("month_excluded_seconds", target="main") == 0
    budget_s = daemon.metric("month_budget_seconds", target="main")
    # Around now, and on into what is to come.
    first = int(time.time()) - 5
    window = ("--from", first, "--to", first + 3_599, "--kind", "planned-maintenance")
    amended = command("ledger", "amend", "-c", config, *window, "--author", "nina", "--reason", "announced")
    assert amended.code == 0, amended
    daemon.wait(lambda: daemon.metric("month_excluded_seconds", target="main") >= 3, "seconds are excluded")
    assert daemon.metric("month_budget_seconds", target="main") < budget_s
    assert daemon.metric("ledger_chain_problems") == 0
    daemon.end()

    with closing(sqlite3.connect(tmp_path / "ledger.sqlite3")) as other, other:
        other.execute("UPDATE verdict SET accepted = 7 WHERE batch = (SELECT max(batch) FROM verdict)")
    daemon = start(config)
    assert daemon.metric("ledger_chain_problems") >= 1
    assert daemon.log("ledger.chain_broken")
    daemon.wait(lambda: "sev1probe_month_excluded_seconds{" in daemon.get("/metrics")[1], "the month is known")
    # Begun from the ledger, it is what it was before the restart, and goes on.
    daemon.wait(lambda: daemon.metric("month_excluded_seconds", target="main") >= 3, "the month is taken up again")
