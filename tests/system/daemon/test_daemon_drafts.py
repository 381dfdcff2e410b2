"""Outages too short to persist become one draft of a Support Case, which a person opens."""

import json
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Daemon, Provider, Start

Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
WINDOW_S = 7


def fail_shortly(daemon: "Daemon", provider: "Provider") -> None:
    """Let SMTP fail for a second or two, and wait until it is certain that this did not persist."""
    before = unavailable(daemon)
    provider.set("smtp", "reply", phase="banner", reply="421 4.3.2 Service not available")
    daemon.wait(lambda: unavailable(daemon) > before, "an Unavailable second")
    provider.clear("smtp")
    daemon.wait_for_recent("A" * (WINDOW_S + 1))


def unavailable(daemon: "Daemon") -> int:
    """Count the Unavailable seconds of SMTP."""
    return int(daemon.status()["surfaces"]["smtp"]["totals"]["unavailable_seconds"])


def test_short_outages_are_drafted_join_and_survive_a_crash(
    start: "Start", command: "Command", target: Describe, settings: Write, provider: "Provider"
) -> None:
    """There is one draft with every second in it, whatever becomes of the daemon, until a person opens it."""
    config = settings(
        target(persistence=f"{WINDOW_S}/{WINDOW_S}/2"), cases={"draft": {"unavailable": "1s", "period": "10m"}}
    )
    daemon = start(config)
    daemon.wait_for_recent("A")
    fail_shortly(daemon, provider)
    drafted = daemon.wait_for_log("case.drafted")
    (shown,) = daemon.status()["cases"]
    assert (shown["case"], shown["stage"], shown["cause"]) == (drafted["case"], "draft", "service_closing")
    assert daemon.metric("cases", target="main", stage="draft") == 1
    assert shown["unavailable_seconds"] == unavailable(daemon)

    fail_shortly(daemon, provider)
    assert daemon.wait_for_log("case.joined")["case"] == drafted["case"]
    daemon.end(signal.SIGKILL)
    daemon = start(config)
    daemon.wait_for_seconds(2)
    assert daemon.log("case.drafted") == daemon.log("case.joined") == []
    (shown,) = daemon.status()["cases"]
    assert (shown["case"], shown["unavailable_seconds"]) == (drafted["case"], unavailable(daemon))

    assert drafted["see"] == f"sev1probe case show {drafted['case']} --config FILE"
    with ThreadPoolExecutor() as together:
        asked = together.submit(command, "status", "--url", daemon.url)
        seen = command("case", "show", drafted["case"], "-c", config)
    assert f"see sev1probe case show {drafted['case']}" in " ".join(asked.result().out.split())
    assert (seen.code, "(sev1probe" in seen.out, "a draft: `sev1probe case open" in seen.out) == (0, True, True), seen
    opened = command("case", "open", drafted["case"], "-c", config, "--by", "nina", "--json")
    assert (opened.code, json.loads(opened.out)["stage"]) == (0, "open"), opened
    daemon.wait(lambda: [one["stage"] for one in daemon.status()["cases"]] == ["open"], "the case in the status")
    assert daemon.log("critical_issue.opened") == []
