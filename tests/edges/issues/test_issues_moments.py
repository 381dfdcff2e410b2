"""Times as operators say them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import typer

from probe.commands.moments import parse_due, parse_past, shown

S = 1_000_000


@pytest.fixture(autouse=True)
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Stand in Central Europe."""
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def us(text: str) -> int:
    """Read a moment in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


NOW = us("2026-11-23T00:05:00")  # 01:05 in Berlin


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("00:58", "2026-11-22T23:58:00"),
        ("23:58:30", "2026-11-22T22:58:30"),
        ("1:05", "2026-11-23T00:05:00"),
        ("1:06", "2026-11-22T00:06:00"),
        ("2026-11-22T03:12", "2026-11-22T02:12:00"),
        ("2026-11-22 03:12:05", "2026-11-22T02:12:05"),
        ("2026-07-01T03:12", "2026-07-01T01:12:00"),
        ("2026-11-22T03:12:00-05:00", "2026-11-22T08:12:00"),
        ("2026-11-22T03:12:00Z", "2026-11-22T03:12:00"),
        ("5m", "2026-11-23T00:00:00"),
        ("1763856000", "2025-11-23T00:00:00"),
    ],
)
def test_a_time_that_was_is_the_last_one_in_the_operators_zone(text: str, moment: str) -> None:
    """After midnight 23:58 was yesterday; a duration is ago; a zone that is written counts."""
    assert parse_past(text, "--at", NOW) == us(moment)


@pytest.mark.parametrize(
    ("text", "moment"),
    [("02:00", "2026-11-23T01:00:00"), ("01:00", "2026-11-24T00:00:00"), ("30m", "2026-11-23T00:35:00")],
)
def test_a_time_that_is_due_is_the_next_one(text: str, moment: str) -> None:
    """A clock time that is past today is tomorrow's; a duration counts from what was said."""
    assert parse_due(text, "--next-update", NOW) == us(moment)


@pytest.mark.parametrize("text", ["2026-10-25T02:30", "2026-03-29T02:30"])
def test_a_time_in_the_change_of_the_clocks_is_asked_about(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is there twice, or not at all; the mend is printed."""
    with pytest.raises(typer.Exit):
        parse_past(text, "--at", NOW)
    said = capsys.readouterr().err
    assert "+01:00" in said
    assert "+02:00" in said


@pytest.mark.parametrize("text", ["soon", "25:00", "", "5 m", "\u0663:00"])
def test_what_is_no_time_is_refused_with_examples(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The option is named."""
    with pytest.raises(typer.Exit):
        parse_past(text, "--at", NOW)
    assert "--at: found" in capsys.readouterr().err


def test_a_moment_is_shown_in_the_zone_of_its_own_time_of_year() -> None:
    """Summer time in July, whatever the date of today."""
    assert shown(us("2026-07-01T01:12:00")) == "2026-07-01 03:12:00 CEST"
    assert shown(us("2026-11-22T02:12:00")) == "2026-11-22 03:12:00 CET"
    assert shown(0) == ""
