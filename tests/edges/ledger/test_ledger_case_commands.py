"""`sev1probe case`: what a person or a script gets, with no daemon running."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from probe.__main__ import app
from probe.ledger import verify

Run = Callable[..., Result]

SETTINGS = """
targets:
  - name: main
    smtp: {{host: localhost, sender: a@example.com, recipient: b@example.com}}
    contract: {{tam: {{name: Terry Amato, phone: +1 555 0101}}}}
ledger: {{url: {ledger}}}
"""
BUG = ("--kind", "software_bug", "--title", "421 now and then", "--target", "main")


@pytest.fixture
def run(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Give a function that runs a case command on the kept ledger."""
    monkeypatch.setenv("COLUMNS", "200")
    config = tmp_path / "settings.yaml"
    config.write_text(SETTINGS.format(ledger=kept))
    return lambda *arguments: CliRunner().invoke(app, ["case", *map(str, arguments), "--config", str(config)])


def told(result: Result) -> Any:
    """Read the JSON of a command that did its work."""
    assert (result.exit_code, result.stderr) == (0, ""), result
    return json.loads(result.stdout)


def test_a_draft_is_opened_submitted_through_the_dashboard_and_resolved(run: Run) -> None:
    """Each step says where the case stands, and what is owed once it is submitted."""
    draft = told(run("open", *BUG, "--draft", "--by", "otto", "--json"))
    assert draft["stage"] == "draft"
    early = run("submit", "--number", "4711")
    assert (early.exit_code, "is a draft" in early.stderr) == (1, True)
    assert told(run("open", draft["case"], "--by", "nina", "--json"))["stage"] == "open"
    submitted = run("submit", "--number", "4711", "--by", "nina")
    assert submitted.exit_code == 0
    assert "submitted through the dashboard, reference 4711, (nina)" in submitted.stdout
    assert "pending: the provider is to answer by" in submitted.stdout

    assert told(run("reply", "--words", "looking", "--by", "nina", "--json"))["stage"] == "answered"
    assert told(run("escalate", "--to", "Terry", "--by", "nina", "--json"))["escalated"] is not None
    assert told(run("agree", "provider", "--by", "nina", "--json"))["agreed"].keys() == {"provider"}
    assert told(run("withdraw", "--agreement", "provider", "--by", "nina", "--json"))["agreed"] == {}
    for side in ("customer", "provider"):
        done = told(run("agree", side, "--by", "nina", "--json"))
    assert done["stage"] == "resolved"
    assert told(run("list", "--json")) == []
    (listed,) = told(run("list", "--all", "--json"))
    assert listed["case"] == draft["case"]
    assert [one["act"] for one in listed["happenings"]] == [
        "drafted", "opened", "submitted", "replied", "escalated", "agreed", "taken_back", "agreed", "agreed",
    ]  # fmt: skip


def test_the_evidence_is_given_in_the_operators_zone(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time without a zone is of his clock, and is kept in UTC."""
    with monkeypatch.context() as berlin:
        berlin.setenv("TZ", "Europe/Berlin")
        time.tzset()
        opened = told(run("open", *BUG, "--from", "2025-11-24T17:00", "--to", "2025-11-24T16:00:59Z", "--json"))
    time.tzset()
    assert (opened["first_second"], opened["last_second"]) == (1_764_000_000, 1_764_000_059)


def test_names_are_whole_and_the_tam_is_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """However narrow the terminal is, a name can be copied; who can be escalated to stands below a case."""
    case = told(run("open", *BUG[:2], "--title", "x" * 90, "--target", "main", "--json"))["case"]
    shown = run("show").stdout
    assert "to escalate: Terry Amato, +1 555 0101; " in shown
    assert "at work now" in shown
    monkeypatch.setenv("COLUMNS", "40")
    assert case in run("list").stdout
    assert told(run("withdraw", "--words", "our quota", "--json"))["tam"]["name"] == "Terry Amato"
    assert "to escalate" not in run("show", case).stdout


def test_a_case_takes_its_evidence_from_a_critical_issue(run: Run, script: Any) -> None:
    """From the beginning of the issue to the last second before the restoration."""
    turns = [turn for step in script.steps for turn in step.events]
    opened, restored = turns
    case = told(run("open", "--issue", opened.issue, "--by", "nina", "--json"))
    assert (case["stage"], case["kind"], case["target"]) == ("open", "software_bug", "main")
    assert (case["first_second"], case["last_second"]) == (opened.since_second, restored.since_second - 1)
    assert case["title"] == f"Persistent Unavailability: {opened.issue}"
    both = run("open", "--issue", opened.issue, "--from", "2h")
    assert (both.exit_code, "--issue: says what the case is about" in both.stderr) == (2, True)


def test_a_case_is_withdrawn_with_a_reason(run: Run) -> None:
    """Without one nothing is recorded."""
    assert run("open", *BUG, "--by", "nina").exit_code == 0
    silent = run("withdraw", "--by", "nina")
    assert (silent.exit_code, "a withdrawal says why" in silent.stderr) == (1, True)
    assert told(run("withdraw", "--words", "it was our quota", "--by", "nina", "--json"))["stage"] == "withdrawn"
    late = run("submit", "--number", "1", "--by", "nina")
    assert (late.exit_code, "No Support Case is open" in late.stderr) == (2, True)


def test_what_somebody_saw_before_is_compared(run: Run) -> None:
    """The second of two, who insists on what he saw, hears that it has changed."""
    assert run("open", *BUG, "--by", "nina").exit_code == 0
    assert run("submit", "--number", "1", "--if-revision", "1", "--by", "nina").exit_code == 0
    second = run("reply", "--words", "yes", "--if-revision", "1", "--by", "otto")
    assert (second.exit_code, "somebody was faster" in second.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("open", "--kind", "software_bug"), "--kind and --title"),
        (("open", *BUG[:4]), "which one is it about? It has: main, other"),
        (("open", *BUG[:4], "--target", "third"), "the ledger knows no target 'third'"),
        (("open", *BUG, "--to", "1h"), "--to: needs --from"),
        (("open", "case-1", "--title", "x"), "a draft is opened as it is"),
        (("show",), "No Support Case is open"),
        (("show", "4711"), 'There is no Support Case "4711"'),
        (("submit", "--by-mail", "--number", "1"), "Say either --by-mail, or --number"),
        (("submit",), "Say either --by-mail, or --number"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_said(
    run: Run, kept: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """One sentence, exit code 2, and nothing is recorded."""
    before = verify(str(kept)).head_seq
    ended = run(*arguments)
    assert (ended.exit_code, sentence in ended.stderr) == (2, True), ended.stderr
    assert verify(str(kept)).head_seq == before


def test_a_case_cannot_be_mailed_without_a_relay_and_an_address(run: Run) -> None:
    """The settings that are missing are named."""
    assert run("open", *BUG, "--by", "nina").exit_code == 0
    ended = run("submit", "--by-mail", "--by", "nina")
    assert (ended.exit_code, "cases.relay: there is none" in ended.stderr) == (2, True)
