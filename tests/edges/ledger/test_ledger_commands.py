"""The commands that amend and total a ledger, where nothing else runs."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from probe.__main__ import app
from probe.core.model import Cause, Fault
from probe.ledger.store import Store

WHO = ("--author", "nina", "--reason", "announced on the status page")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Give a function that runs one of the ledger's commands in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Ended:
        done = CliRunner().invoke(app, ["ledger", *map(str, arguments)])
        return Ended(code=done.exit_code, out=done.stdout, err=done.stderr)

    return run


def test_an_amendment_that_makes_no_sense_is_one_sentence(kept: Path, command: Command) -> None:
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
            'Nothing is added: the record knows no target "mian"; it knows: main, other.',
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
        ended = command("amend", kept, *arguments)
        assert (ended.code, ended.err.strip()) == (2, sentence)
    assert command("amendments", kept).out.strip() == "No window is excluded."
    assert command("amendments", kept, "--json").out.strip() == "[]"
    unknown = command("totals", kept, "--target", "mian")
    assert (unknown.code, unknown.err.strip()) == (2, '--target: the record knows no target "mian".')


def test_without_a_daemon_a_window_is_added_listed_and_taken_back(kept: Path, script: Any, command: Command) -> None:
    """Each is one more record of the chain; the list says who, when and why, and a second withdrawal is refused."""
    first = script.steps[0].second
    window = ("--from", first, "--to", first + 9, "--kind", "agreed-exclusion", "--target", "main")
    added = command("amend", kept, *window, *WHO)
    name = added.out.split()[0]
    assert added.out.strip() == (
        f"{name} agreed exclusion, main, all surfaces, 2025-11-24T16:00:00Z to 2025-11-24T16:00:09Z (10 s): "
        "sealed in batch 14"
    )
    counts = json.loads(command("totals", kept, "--from", first, "--to", first + 12, "--json").out)["targets"]
    main, other = (found["surfaces"]["target"]["as_amended"] for found in counts)
    assert (main["excluded"], main["range_seconds"], other["excluded"]) == (10, 3, 0)

    back = command("amend", kept, "--withdraw", name, "--author", "otto", "--reason", "not ours")
    assert "sealed in batch 15" in back.out
    again = command("amend", kept, "--withdraw", name, *WHO)
    assert (again.code, again.err.strip()) == (
        2,
        f'Nothing is added: "{name}" is withdrawn already, by otto; nothing is left to take back.',
    )
    listed = command("amendments", kept).out
    for words in (name, "by nina: announced on the status page", "WITHDRAWN", "by otto: not ours"):
        assert words in listed
    (described,) = json.loads(command("amendments", kept, "--json").out)
    assert (described["exclusion"], described["withdrawn_by"]["withdraws"]) == ("agreed_exclusion", name)
    assert "1 withdrawn" in command("totals", kept, "--from", first, "--to", first + 12).out
    assert command("verify", kept).code == 0


def test_this_month_is_counted_unless_a_range_is_given(kept: Path, command: Command, monkeypatch: Any) -> None:
    """The range is the calendar month of now in UTC, to its last second; December has one too."""
    for moment, first, last in (
        (1_764_000_050, 1_761_955_200, 1_764_547_199),  # November 2025
        (1_767_225_599, 1_764_547_200, 1_767_225_599),  # the last second of December 2025
    ):
        monkeypatch.setattr("probe.commands.totals.wall_us", lambda moment=moment: moment * 1_000_000)
        found = json.loads(command("totals", kept, "--json").out)
        assert (found["first_second"], found["last_second"]) == (first, last)
    monkeypatch.setattr("probe.commands.totals.wall_us", lambda: 1_764_000_050 * 1_000_000)
    found = json.loads(command("totals", kept, "--json", "--target", "main").out)
    (main,) = found["targets"]
    target = main["surfaces"]["target"]["as_judged"]
    assert (target["unavailable_literal"], target["unobserved"], target["range_seconds"]) == (4, 30, 2_592_000)
    assert (target["budget_s"], target["budget_left_s_both"]) == (259.2, 255.2)
    assert target["availability_percent_both"] == round(100 - 400 / target["recorded"], 6)


def test_minutes_and_wider_blocks_are_counted_where_asked_for(kept: Path, script: Any, command: Command) -> None:
    """Widths are repeated or parted by commas; the table has each, the fields are there for programs, in seconds."""
    first, last = script.steps[0].second, script.steps[-1].second
    within = ("--from", first, "--to", last)
    assert [target["blocks"] for target in json.loads(command("totals", kept, *within, "--json").out)["targets"]] == [
        [],
        [],
    ]
    counted = command("totals", kept, *within, "--json", "--block", "5m,1m", "--block", "60s")
    minutes, wider = json.loads(counted.out)["targets"][0]["blocks"]
    assert (minutes["block_s"], wider["block_s"], list(minutes["surfaces"])) == (60, 300, ["api", "smtp", "target"])
    target = minutes["surfaces"]["target"]
    assert target["as_judged"] == target["as_amended"]
    assert target["as_judged"] == {
        "blocks": 1,
        "partial": 1,
        "any_literal": 1,
        "any_both": 1,
        "throughout_literal": 0,
        "throughout_both": 0,
        "availability_percent_any_literal": 0.0,
        "availability_percent_any_both": 0.0,
        "availability_percent_throughout_literal": 100.0,
        "availability_percent_throughout_both": 100.0,
    }
    shown = command("totals", kept, *within, "--block", "1m").out
    for words in ("blocks of 1m, as judged", "with an unavailable second, literal", "Blocks are aligned to UTC; "):
        assert words in shown, shown
    assert "as amended" not in shown
    assert "Blocks" not in command("totals", kept, *within).out
    window = (*within, "--kind", "force-majeure")
    assert command("amend", kept, *window, *WHO).code == 0
    assert "blocks of 1m, as amended" in command("totals", kept, *within, "--block", "1m").out
    (amended,) = json.loads(command("totals", kept, *within, "--json", "--block", "1m").out)["targets"][0]["blocks"]
    assert amended["surfaces"]["api"]["as_amended"]["availability_percent_any_both"] is None
    for wrong in ("7m", "30s", "soon", "1m,", "2d"):
        refused = command("totals", kept, "--block", wrong)
        assert (refused.code, refused.err.strip()) == (
            2,
            f"--block: found '{wrong.rpartition(',')[2]}', expected whole minutes that part a day evenly, such as 1m, "
            "5m or 1h.",
        )


def test_the_report_says_in_words_what_the_numbers_leave_out(
    path: Path, script: Any, make_store: Callable[[Path], Store], command: Command
) -> None:
    """Unrecorded and unobserved seconds, flaps of credentials, an overspent budget, and whether there were controls."""
    store = make_store(path)
    for batch in script.story():
        store.append(batch)
    script.fault = (Fault.CLIENT, Cause.CREDENTIALS)
    store.append(script.second(down=["main"]))
    store.append(script.second())
    store.close()
    first, last = script.steps[0].second, script.steps[-1].second
    report = command("totals", path, "--from", first - 5, "--to", last, "--target", "main")
    assert report.code == 0
    for words in (
        "5 seconds of the range have no record",
        "30 seconds are unobserved: nobody looked",
        "for human decision, not counted: api refused our unchanged credentials (",
        "in 1 second(s) from ",
        "by the literal basis 3.995 s OVERSPENT",
        "Amendments: none, so both totals are the same.",
        "Controls: attempted; network faults count (corroborated) where one worked in the same second.",
    ):
        assert words in report.out, report.out
