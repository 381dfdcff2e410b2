"""Durations as Prometheus writes them: `250ms`, `10s`, `1h30m`, `35d`."""

import re

DURATION_PATTERN = r"^(?=\d)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"
DURATION_DIGITS_MAX = 18  # keeps every readable duration exact as an integer of milliseconds

_SHAPE = re.compile(DURATION_PATTERN, re.ASCII)
# A year is 365 days and a week 7, as in Prometheus.
_UNITS_MS = (31_536_000_000, 604_800_000, 86_400_000, 3_600_000, 60_000, 1_000, 1)
_NAMES = ("y", "w", "d", "h", "m", "s", "ms")


def parse_duration(text: str) -> float:
    """Read a duration; seconds. Raises ValueError if the text is not one."""
    shape = _SHAPE.match(text)
    if shape is None or text.endswith("\n") or len(text) > DURATION_DIGITS_MAX:
        raise ValueError("not a duration")
    total_ms = sum(
        int(part.rstrip("ywdhms")) * unit for part, unit in zip(shape.groups(), _UNITS_MS, strict=True) if part
    )
    return total_ms / 1000


def format_duration(duration_s: float) -> str:
    """Write seconds the way that `parse_duration` reads them, in days and smaller units."""
    rest_ms = round(duration_s * 1000)
    if rest_ms == 0:
        return "0s"
    text = ""
    for name, unit in list(zip(_NAMES, _UNITS_MS, strict=True))[2:]:
        count, rest_ms = divmod(rest_ms, unit)
        text += f"{count}{name}" if count else ""
    return text
