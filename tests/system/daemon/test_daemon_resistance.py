"""What is not there, or never answers: the daemon's own limits, and whose failure it was."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Evidence, Provider, Start

Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def test_a_provider_that_is_gone_a_name_that_is_none_and_a_cap(
    start: "Start", target: Describe, settings: Write, provider: "Provider", evidence: Callable[..., "Evidence"]
) -> None:
    """Refused counts by a control's word, an unknown name never does, and what the cap keeps back is recorded so."""
    nameless = target("nameless")
    nameless["api"]["base_url"] = "https://nobody.invalid/api/v1"
    nameless["smtp"]["host"] = "nobody.invalid"
    refused = target("refused")
    refused["api"]["base_url"] = "https://127.0.0.1:1/api/v1"
    refused["smtp"]["port"] = 1
    capped = target("capped", timeout="3s", attempts_per_second=2, in_flight_max=3)
    del capped["smtp"]
    provider.set("api", "silent", phase="first_byte")
    control = {"name": "here", "kind": "tcp", "address": f"127.0.0.1:{provider.inner.smtp_port}"}
    daemon = start(settings(nameless, refused, capped, controls=[control]))
    opened = daemon.wait_for_log("critical_issue.opened")
    assert opened["target"] == "refused"
    daemon.wait(lambda: len(daemon.recent("api", "capped")) >= 6, "six judged seconds of the capped target")
    assert daemon.metric("attempts_capped_total", target="capped", surface="api") >= 3
    assert daemon.metric("attempts_in_flight", target="capped", surface="api") <= 3
    assert daemon.end()[0] == 0

    found = evidence()
    for surface in ("api", "smtp"):
        assert {row["cause"] for row in found.made(surface, "refused")} == {"refused"}
        assert {(row["verdict"], row["basis"]) for row in found.of(surface, "refused")[:-1]} == {
            ("unavailable", "corroborated")
        }
        assert {row["cause"] for row in found.made(surface, "nameless")} <= {"resolver", "stopped"}
        assert set(found.verdicts(surface, "nameless").values()) <= {"inconclusive", "unobserved"}
    _compare_with_cap(found)


def _compare_with_cap(found: "Evidence") -> None:
    causes: dict[int, list[str]] = {}
    for row in found.made("api", "capped"):
        causes.setdefault(row["second"], []).append(row["cause"])
        assert row["cause"] in ("silent", "capped", "stopped")
        assert row["cause"] != "capped" or (row["fault"], row["connection"]) == ("self", "none")
    # Some seconds made both attempts, some one, some none.
    assert {("silent", "silent"), ("capped", "silent"), ("capped", "capped")} <= {
        tuple(sorted(seen)) for seen in causes.values()
    }
    for row in found.of("api", "capped")[:-1]:
        made = [cause for cause in causes[row["second"]] if cause != "capped"]
        assert row["attempts"] == len(made)
        assert row["verdict"] == ("unavailable" if set(made) == {"silent"} else "inconclusive")
