"""The `issue` commands where no daemon runs: the command itself seals what it is told."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from probe.__main__ import app
from probe.core.happenings import Party
from probe.core.lapses import Lapse
from probe.core.lives import distinct
from probe.ledger import Batch, lives_in, propose
from probe.ledger.store import Store

MakeStore = Callable[..., Store]
SMTP = {"host": "localhost", "sender": "a@b.example", "recipient": "b@b.example"}


class Shell:
    """Runs commands on one ledger, each with the settings of a profile."""

    def __init__(self, ledger: Path, profile: str = "sparkpost-enterprise") -> None:
        self._config = ledger.parent / f"{profile}.yaml"
        contract = {
            "profile": profile,
            "severity_1_line": "+1 555 0100",
            "tam": {"name": "Terry", "phone": "+1 555 01"},
        }
        targets = [{"name": "main", "smtp": SMTP, "contract": contract}]
        self._config.write_text(yaml.safe_dump({"targets": targets, "ledger": {"url": str(ledger)}}))

    def __call__(self, *arguments: str) -> tuple[int, str]:
        """Run one; return its exit code and all that it said."""
        ended = CliRunner().invoke(app, ["issue", *arguments, "-c", str(self._config)], env={"TZ": "UTC"})
        return ended.exit_code, ended.output

    def json(self, *arguments: str) -> Any:
        """Run one that prints JSON."""
        return json.loads(self(*arguments, "--json")[1])


@pytest.fixture
def shell(kept: Path) -> Shell:
    """Stand before the ledger of the script, with its one issue that is restored."""
    return Shell(kept)


def test_an_issue_is_named_by_its_beginning_or_not_at_all(kept: Path, shell: Shell) -> None:
    """As long as one alone is meant; else the sentence lists them."""
    (life,) = distinct(lives_in(str(kept))["main"])
    for name in ((), ("main",), (life.issue,)):
        assert shell.json("show", *name)["issue"] == life.issue
    assert shell("show", "other") == (
        2, 'There is no Critical Issue "other"; `sev1probe issue list --all` lists them.\n',
    )  # fmt: skip


def test_who_can_be_escalated_to_is_shown_until_it_is_over(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the hours in which he is at work; that he was called is recorded like all else. Names in lists are whole."""
    code, said = shell("escalated", "--to", "Terry", "--by", "nina")
    assert (code, "escalated, to Terry, (nina)" in said, "to escalate: Terry, +1 555 01; " in said) == (0, True, True)
    shown = shell.json("show")
    assert (shown["happenings"][-1]["act"], shown["tam"]["phone"]) == ("escalated", "+1 555 01")
    monkeypatch.setenv("COLUMNS", "40")
    assert shown["issue"] in shell("list")[1]
    assert shell("reclassify", "--reason", "our quota", "--by", "nina")[0] == 0
    assert "to escalate" not in shell("show", shown["issue"])[1]


def test_two_open_issues_are_asked_about(make_script: Any, path: Path, make_store: MakeStore) -> None:
    """Nothing is recorded of the wrong one."""
    store, script = make_store(path), make_script()
    for batch in [script.second(), *[script.second(down=["main", "other"]) for _ in range(4)]]:
        store.append(batch)
    store.close()
    code, said = Shell(path)("called", "--by", "nina")
    assert (code, said.startswith("Which one? Name one of main-")) == (2, True)


def test_a_record_that_ended_a_while_ago_is_no_all_clear(shell: Shell) -> None:
    """While the ledger can't be written, what opened since is not in it: the list says until when it knows."""
    said = shell("list")[1]
    assert "The ledger ends at 20" in said
    assert "What came since then is not in it; see `sev1probe status`." in said


def test_exit_codes_say_what_a_script_must_know(shell: Shell) -> None:
    """1 while an issue is not over and for a refusal, 2 for a wrong command line, 3 for no ledger."""
    assert shell("list")[0] == 1
    assert shell("called-back", "--by", "nina")[0] == 1
    assert shell("called", "--by", " ")[0] == 1
    assert shell("called", "--at", "soon")[0] == 2
    assert shell("called", "--ledger", "/nowhere/at/all")[0] == 3
    for party in ("customer", "provider"):
        assert shell("agree", party, "--by", "nina")[0] == 0
    assert shell("list")[0] == 0
    assert shell("list", "--all")[0] == 0
    assert shell("show")[0] == 2


def test_what_is_told_is_shown_with_both_its_times(shell: Shell) -> None:
    """When it happened, in the operator's zone, and when it was recorded if that was much later."""
    called = shell("called", "--by", "nina", "--to", "Ana", "--reference", "S1", "--at", "20m")
    assert called[0] == 0
    assert "revision 3" in called[1]
    back = shell.json("called-back", "--by", "otto", "--at", "1m", "--next-update", "30m")
    states = {one["obligation"]: one["state"] for one in back["obligations"]}
    assert states == {"call_line": "missed", "call_back": "missed", "update": "pending"}
    said = shell("show")[1]
    assert "UTC  line called, to Ana, reference S1, (nina, recorded " in said
    assert "missed: the provider was to call back by" in said


def test_what_the_daemon_noted_of_obligations_is_shown(kept: Path, shell: Shell, make_store: MakeStore) -> None:
    """Of this issue alone, each turn of it, to people and to scripts."""
    issue = shell.json("show")["issue"]
    missed = Lapse(
        target="main",
        issue=issue,
        obligation="call_line",
        owed_by=Party.CUSTOMER,
        due_us=1_764_000_300_000_000,
        noticed_us=1_764_000_301_000_000,
        raised=True,
        words="the record has none",
    )
    over = replace(missed, raised=False, noticed_us=1_764_000_400_000_000, words="it came 1 min 39 s late")
    store = make_store(kept)
    store.append(Batch(remarks=(missed, replace(missed, issue="another"), over)))
    store.close()

    text = shell("show")[1]
    assert "call_line of the customer, due 2025-11-24 16:05:00 UTC, was missed: the record has none" in text
    assert "is no longer owed: it came 1 min 39 s late" in text
    assert [(one["obligation"], one["raised"], one["noticed"]) for one in shell.json("show")["lapses"]] == [
        ("call_line", True, "2025-11-24T16:05:01Z"),
        ("call_line", False, "2025-11-24T16:06:40Z"),
    ]


def test_what_somebody_did_meanwhile_is_not_overwritten(shell: Shell) -> None:
    """Whoever insists on a revision is told that it is another one by now."""
    revision = str(shell.json("show")["revision"])
    assert shell("update", "--by", "nina", "--words", "a", "--if-revision", revision)[0] == 0
    code, said = shell("update", "--by", "otto", "--words", "b", "--if-revision", revision)
    assert (code, "somebody was faster" in said) == (1, True)


def test_the_newer_contract_has_no_line_to_call(kept: Path) -> None:
    """A Support Case and the TAM are told instead, and asked for."""
    shell = Shell(kept, "bird-premium-email")
    code, said = shell("called", "--by", "nina")
    assert (code, "no Severity 1 line" in said) == (1, True)
    sheet = shell("call-sheet")[1]
    assert "CALL: Terry, +1 555 01" in sheet
    assert "Submit a Support Case" in sheet
    assert shell("submitted", "--reference", "4711", "--by", "nina")[0] == 0
    told = shell.json("escalated", "--to", "Terry", "--by", "nina")
    assert (told["cases"], [one["obligation"] for one in told["obligations"]]) == (["4711"], ["submit_case"])


def test_what_nobody_decides_on_is_said_so(
    kept: Path, shell: Shell, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that holds the ledger and does not look leaves it in the inbox; the exit code is 3."""
    monkeypatch.setattr(propose, "__defaults__", (0.0,))  # not ten seconds
    store = make_store(kept)
    code, said = shell("called", "--by", "nina")
    assert (code, "it lies in the inbox" in said) == (3, True)
    store.close()


@pytest.mark.parametrize(("profile", "reminds"), [("bird-premium-email", True), ("sparkpost-enterprise", False)])
def test_a_submitted_case_names_the_issue_that_still_asks_for_one(kept: Path, profile: str, reminds: bool) -> None:
    """Only where a case is what the profile asks for, and only until the issue has it."""
    issue, config = Shell(kept, profile).json("show")["issue"], str(kept.parent / f"{profile}.yaml")

    def case(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["case", *arguments, "-c", config, "--by", "nina"])

    for number, expected in (("47 11", reminds), ("4712", False)):
        opened = json.loads(case("open", "--issue", issue, "--title", number, "--json").stdout)
        submitted = case("submit", opened["case"], "--number", number)
        assert submitted.exit_code == 0
        command = f"sev1probe issue submitted {issue} -c {config} --reference '{number}'"
        assert (command in submitted.stderr) == expected, submitted.stderr
        assert Shell(kept, profile)("submitted", issue, "--reference", number, "--by", "nina")[0] == 0
