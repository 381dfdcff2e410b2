"""How moments and seconds are written for people."""

from datetime import UTC, datetime
from typing import Final

SECOND_US: Final = 1_000_000


def utc(second: int) -> str:
    """Write a second as ISO 8601 in UTC: `2026-11-22T20:30:01Z`."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc_of(moment_us: int) -> str | None:
    """Write the second of a moment likewise; None for 0, which stands for none."""
    return utc(moment_us // SECOND_US) if moment_us else None
