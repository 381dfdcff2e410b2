"""How the core writes moments in sentences for people."""

from datetime import UTC, datetime


def utc(second: int) -> str:
    """Write a second: `2026-11-22 20:30:01 UTC`."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
