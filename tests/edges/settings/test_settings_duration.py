"""Durations read like Prometheus's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.settings.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10s", 10),
        ("5m", 300),
        ("1h30m", 5_400),
        ("250ms", 0.25),
        ("1s500ms", 1.5),
        ("35d", 35 * 86_400),
        ("2w", 14 * 86_400),
        ("1y", 365 * 86_400),
        ("0s", 0),
        ("90s", 90),
        ("1y2w3d4h5m6s7ms", 365 * 86_400 + 17 * 86_400 + 4 * 3_600 + 306.007),
    ],
)
def test_a_duration_reads_as_seconds(text: str, seconds: float) -> None:
    """Each unit has its length, and larger units stand first."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", "10", "s", "10 s", " 10s", "10s\n", "1.5s", "-1s", "10S", "30m1h", "1m1m", "ms", "1e3s", "٣s", "9" * 30 + "s"],
)
def test_anything_else_is_no_duration(text: str) -> None:
    """Plain numbers, fractions, signs, blanks and a wrong order are refused."""
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@given(milliseconds=st.integers(min_value=0, max_value=100 * 365 * 86_400_000))
def test_a_duration_written_reads_back_the_same(milliseconds: int) -> None:
    """Nothing is lost between the effective settings and the file."""
    text = format_duration(milliseconds / 1000)
    # A hundred years in milliseconds are beyond what a person would write in one field.
    if len(text) <= 18:
        assert parse_duration(text) == milliseconds / 1000
