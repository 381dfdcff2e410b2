"""How moments and seconds are written for people."""

from datetime import UTC, datetime


def utc(second: int) -> str:
    """Write a second as ISO 8601 in UTC: `2026-11-22T20:30:01Z`."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
