"""`sev1probe hours`: the answer that a person or a script gets."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from probe.__main__ import app

Hours = Callable[..., Result]

SETTINGS = """
targets:
  - name: east
    smtp: &smtp {host: localhost, sender: a@example.com, recipient: b@example.com}
  - name: london
    smtp: *smtp
    contract:
      service_time_zone: uk
      business_hours_exceptions:
        - {date: 2026-12-24, hours: 08:30-12:00, reason: Christmas Eve}
        - {date: 2026-12-29, hours: closed, reason: a move of the office}
        - {date: 2026-12-28, hours: 10:00-11:00, reason: duty on a holiday}
"""


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hours]:
    """Give a function that runs the command for an operator in Berlin."""
    monkeypatch.setenv("COLUMNS", "200")
    with monkeypatch.context() as berlin:
        berlin.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield lambda *arguments: CliRunner().invoke(app, ["hours", *map(str, arguments)])
    time.tzset()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write settings with two targets."""
    file = tmp_path / "settings.yaml"
    file.write_text(SETTINGS)
    return file


def answer(result: Result) -> Any:
    """Read the JSON of a command that did its work."""
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def test_all_three_zones_are_shown_in_both_clocks(hours: Hours) -> None:
    """Without settings each zone says why it is closed, and its next turns in its own time and in the operator's."""
    done = hours("--at", "2026-07-03T15:00Z")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "us-eastern: closed, Independence Day (observed)",
        "    asked for  Fri 2026-07-03 11:00 EDT  here Fri 2026-07-03 17:00 CEST",
        "    opens      Mon 2026-07-06 09:00 EDT  here Mon 2026-07-06 15:00 CEST",
        "    closes     Mon 2026-07-06 17:00 EDT  here Mon 2026-07-06 23:00 CEST",
        "us-pacific: closed, Independence Day (observed)",
        "    asked for  Fri 2026-07-03 08:00 PDT  here Fri 2026-07-03 17:00 CEST",
        "    opens      Mon 2026-07-06 09:00 PDT  here Mon 2026-07-06 18:00 CEST",
        "    closes     Mon 2026-07-06 17:00 PDT  here Tue 2026-07-07 02:00 CEST",
        "uk: open",
        "    asked for  Fri 2026-07-03 16:00 BST  here Fri 2026-07-03 17:00 CEST",
        "    closes     Fri 2026-07-03 16:30 BST  here Fri 2026-07-03 17:30 CEST",
        "    opens      Mon 2026-07-06 08:30 BST  here Mon 2026-07-06 09:30 CEST",
    ]


def test_a_target_has_its_own_zone_and_exceptions(hours: Hours, config: Path) -> None:
    """The hours of a shortened day are shown with their reason."""
    done = hours("--config", config, "--target", "london", "--at", "2026-12-24T12:59:59+01:00")
    assert done.stdout.splitlines() == [
        "london (uk): open",
        "    hours of this day  08:30-12:00, by exception: Christmas Eve",
        "    asked for  Thu 2026-12-24 11:59:59 GMT  here Thu 2026-12-24 12:59:59 CET",
        "    closes     Thu 2026-12-24 12:00 GMT  here Thu 2026-12-24 13:00 CET",
        "    opens      Mon 2026-12-28 10:00 GMT  here Mon 2026-12-28 11:00 CET",
    ]


def test_scripts_get_the_same_as_json(hours: Hours, config: Path) -> None:
    """Every moment stands there in UTC, in the service's zone and in the operator's."""
    east, london = answer(hours("-c", config, "--json", "--at", "2026-12-29T10:00:00Z"))
    assert (east["target"], east["service_time_zone"], east["time_zone"]) == ("east", "us-eastern", "America/New_York")
    assert (east["open"], east["why_closed"], east["exception"]) == (False, "before business hours", None)
    assert london == {
        "target": "london",
        "service_time_zone": "uk",
        "time_zone": "Europe/London",
        "hours": "08:30-16:30",
        "at": {
            "utc": "2026-12-29T10:00:00Z",
            "service": "2026-12-29T10:00:00+00:00",
            "operator": "2026-12-29T11:00:00+01:00",
        },
        "open": False,
        "why_closed": "closed by exception: a move of the office",
        "exception": "a move of the office",
        "next_opening": {
            "utc": "2026-12-30T08:30:00Z",
            "service": "2026-12-30T08:30:00+00:00",
            "operator": "2026-12-30T09:30:00+01:00",
        },
        "next_closing": {
            "utc": "2026-12-30T16:30:00Z",
            "service": "2026-12-30T16:30:00+00:00",
            "operator": "2026-12-30T17:30:00+01:00",
        },
    }


def test_a_time_without_a_zone_is_the_operators(hours: Hours) -> None:
    """Half past nine in Berlin is half past eight in London, in summer and in winter, when it opens."""
    for day in ("2026-07-01", "2026-12-01"):
        early, late = (answer(hours("--json", "--at", f"{day}T{at}"))[2] for at in ("09:29:59", "09:30"))
        assert (early["open"], late["open"]) == (False, True)
        assert late["at"]["service"].startswith(f"{day}T08:30:00")


def test_business_time_between_two_moments_is_measured(hours: Hours, config: Path) -> None:
    """Days off, exceptions and the hour that summer time takes are not counted."""
    done = hours("--from", "2026-03-26T23:00Z", "--to", "2026-03-30T08:00:30Z")
    assert done.stdout.splitlines() == [
        "From 2026-03-26T23:00:00Z to 2026-03-30T08:00:30Z:",
        "    us-eastern: 480 business minutes (8 h 0 min)",
        "    us-pacific: 540 business minutes (9 h 0 min)",  # Thursday's last hour there
        "    uk: 510 business minutes (8 h 30 min 30 s)",
    ]
    spent = answer(hours("-c", config, "--from", "2026-12-24", "--to", "2026-12-30", "--json"))
    assert [(one["target"], one["business_seconds"], one["business_minutes"]) for one in spent] == [
        ("east", 3 * 8 * 3600, 3 * 480),
        ("london", 3600 * 9 // 2, 270),
    ]
    assert spent[1]["from"]["utc"] == "2026-12-23T23:00:00Z"


def test_now_is_the_default(hours: Hours) -> None:
    """Without a time the answer is about this moment, and --from measures up to it."""
    earlier = int(time.time())
    found = answer(hours("--json"))[0]["at"]["utc"]
    measured = answer(hours("--json", "--from", "2h"))[0]
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(earlier)) <= found <= measured["to"]["utc"] <= later
    assert 0 <= measured["business_seconds"] <= 7200


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--at 1h --from 2h", "--at: asks about one moment, --from and --to about the time between two; leave one"),
        ("--to 1h", "--to: needs --from, the moment at which the time begins."),
        ("--from 1h --to 2h", "--to ("),
        ("--target london", "--target: needs --config, the settings that name the target."),
        ("-c {config} --target paris", "{config}: no target is named 'paris'; the file has: east, london."),
        ("--at tomorrow", "--at: found 'tomorrow', expected a time such as 2026-11-22T20:30:00Z, a Unix second, or"),
        ("--at 1969-12-31", "--at: bank holidays are known for 1971 to 2099 only."),
        ("--at 9999-12-31", "--at: bank holidays are known for 1971 to 2099 only."),
        ("--at 0001-01-01T00:00+14:00", "--at: bank holidays are known for 1971 to 2099 only."),
        ("--from 2026-01-01 --to 2100-01-01T12:00Z", "--to: bank holidays are known for 1971 to 2099 only."),
    ],
)
def test_a_question_that_makes_no_sense_is_one_sentence(
    hours: Hours, config: Path, arguments: str, sentence: str
) -> None:
    """It names the option and the mend, and the exit code is that of wrong input."""
    done = hours(*(word.format(config=config) for word in arguments.split()))
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.replace("\n", " ").startswith(sentence.format(config=config))
