"""What the provider says and what both sides agree on, beside the seconds: while the daemon runs, and without it."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from probe.times import utc

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Command, Provider, Start

Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]
WHO = ("--author", "nina", "--reason", "announced on the status page")


def counts(command: "Command", ledger: Path, surface: str, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what `ledger totals` counts of a surface, as judged and as amended."""
    ended = command("ledger", "totals", ledger, "--json", *arguments)
    assert ended.code == 0, ended
    found = json.loads(ended.out)["targets"][0]["surfaces"][surface]
    return found["as_judged"], found["as_amended"]


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
    whole = ("--from", "1h", "--to", str(daemon.status()["last_second"]))
    before, _ = counts(command, ledger, "smtp", *whole)
    assert before["unavailable_literal"] >= 2

    last = daemon.status()["last_second"]
    window = ("--from", str(last - 3_000), "--to", str(last), "--kind", "planned-maintenance", "--surface", "smtp")
    added = command("ledger", "amend", ledger, *window, *WHO)
    assert added.code == 0, added
    assert "sealed in batch" in added.out
    amended_id = added.out.split()[0]
    judged, amended = counts(command, ledger, "smtp", *whole)
    assert judged["unavailable_literal"] == before["unavailable_literal"]
    assert (amended["unavailable_literal"], amended["recorded"], amended["excluded"]) == (0, 0, judged["recorded"])
    assert counts(command, ledger, "target", *whole)[1]["unavailable_literal"] == 0

    back = command(
        "ledger", "amend", "-c", config, "--withdraw", amended_id, "--author", "otto", "--reason", "not ours"
    )
    assert back.code == 0, back
    judged, amended = counts(command, ledger, "smtp", *whole)
    assert amended == judged
    twice = command("ledger", "amend", ledger, "--withdraw", amended_id, *WHO)
    assert (twice.code, twice.err.strip()) == (
        2,
        f'Nothing is added: "{amended_id}" is withdrawn already, by otto; nothing is left to take back.',
    )
    listed = command("ledger", "amendments", ledger)
    assert [word in listed.out for word in (amended_id, "by nina: announced", "WITHDRAWN", "by otto: not ours")] == [
        True
    ] * 4

    daemon.wait(lambda: len(_exported(command, ledger, "statement")) >= 2, "both documents of the page")
    daemon.end()
    summary, announced = sorted(
        _exported(command, ledger, "statement")[:2], key=lambda row: row["source"] != "provider/summary"
    )
    assert (summary["trouble"], summary["code"]) == ("", 200)
    assert "Work on the mail exchangers" in announced["body"]
    assert announced["digest"] == hashlib.sha256(announced["body"].encode()).hexdigest()
    assert [row["withdraws"] for row in _exported(command, ledger, "amendment")] == ["", amended_id]
    verified = command("ledger", "verify", ledger)
    assert (verified.code, "sound" in verified.out) == (0, True)

    alone = command("ledger", "amend", ledger, *window, *WHO)
    assert (alone.code, "sealed in batch" in alone.out) == (0, True)
    report = command("ledger", "totals", ledger, *whole)
    assert report.code == 0, report
    for words in (
        "Amendments: 1 excluded window(s) in force in this range, 1 withdrawn.",
        "Controls: none. No control was attempted in this range",
        "network faults stay inconclusive",
        "budget as amended: ",
        f"added {utc(last)[:10]}",
    ):
        assert words in report.out, words


@pytest.fixture
def story(start: "Start", target: Describe, settings: Write, tmp_path: Path) -> Path:
    """Make a ledger with some seconds of one target."""
    daemon = start(settings(target()))
    daemon.wait_for_seconds(1)
    daemon.end()
    return tmp_path / "ledger.sqlite3"


def test_an_amendment_that_makes_no_sense_is_one_sentence(story: Path, command: "Command") -> None:
    """It names the option, or what is wrong, and nothing is added."""
    window = ("--from", "20", "--to", "30", "--kind", "force-majeure")
    wrong: list[tuple[tuple[str, ...], str]] = [
        (WHO, "--from: a window needs --from, --to, --kind; --withdraw ID takes one back."),
        ((*window[:4], *WHO), "--kind: a window needs --kind; --withdraw ID takes one back."),
        (
            (*window, "--withdraw", "abc", *WHO),
            "--from: a withdrawal repeats its amendment's window; leave --from, --to, --kind out.",
        ),
        (("--withdraw", "abc", *WHO), '--withdraw: there is no amendment "abc"; `ledger amendments` lists them.'),
        (
            (*window, "--target", "mian", *WHO),
            'Nothing is added: the record knows no target "mian"; it knows: main.',
        ),
        (
            ("--from", "30", "--to", "20", *window[4:], *WHO),
            "Nothing is added: the window ends before it begins; exchange the two times.",
        ),
        (
            (*window, "--author", " ", "--reason", "storm"),
            "Nothing is added: the author is empty; say who adds this.",
        ),
    ]
    for arguments, sentence in wrong:
        ended = command("ledger", "amend", story, *arguments)
        assert (ended.code, ended.err.strip()) == (2, sentence)
    assert command("ledger", "amendments", story).out.strip() == "No window is excluded."
    assert command("ledger", "amendments", story, "--json").out.strip() == "[]"
    unknown = command("ledger", "totals", story, "--target", "mian")
    assert (unknown.code, unknown.err.strip()) == (2, '--target: the record knows no target "mian".')


def _exported(command: "Command", ledger: Path, kind: str) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in command("ledger", "export", ledger).out.splitlines()]
    return [row for row in rows if row["type"] == kind]
