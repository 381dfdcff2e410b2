"""The export's rows of what is kept beside the seconds; `export.py` states what others may rely on."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from probe.ledger.connect import streaming
from probe.ledger.remarks import Kept, kind_of, read_remarks
from probe.ledger.tables import RemarkKind

FORMAT_VERSION: Final = 1
# In the order in which they are given. Behind each, the fields after `v` and `type`.
REMARK_FIELDS: Final[Mapping[RemarkKind, tuple[str, ...]]] = {
    RemarkKind.AMENDMENT: (
        "amendment",
        "target",
        "surface",
        "first_second",
        "last_second",
        "exclusion",
        "reason",
        "author",
        "added_at",
        "withdraws",
    ),
    RemarkKind.SUSPICION: (
        "target",
        "surface",
        "first_second",
        "last_second",
        "seconds",
        "codes",
        "accepted_before_second",
        "accepted_after_second",
    ),
    RemarkKind.STATEMENT: ("source", "second", "fetched_at", "code", "trouble", "digest", "body"),
    RemarkKind.CLOCK: (
        "second",
        "read_at",
        "synchronisation",
        "estimated_error_us",
        "maximum_error_us",
        "ahead_us",
    ),
    RemarkKind.CONDITION: ("condition", "target", "since_second", "noticed_second", "raised", "words"),
    RemarkKind.HAPPENING: (
        "happening",
        "target",
        "issue",
        "act",
        "at",
        "recorded_at",
        "actor",
        "words",
        "party",
        "spoken_to",
        "reference",
        "next_update_at",
    ),
    RemarkKind.CASE: (
        "happening",
        "target",
        "case",
        "act",
        "at",
        "recorded_at",
        "actor",
        "words",
        "kind",
        "title",
        "first_second",
        "last_second",
        "way",
        "reference",
        "party",
        "spoken_to",
        "next_update_at",
        "cause",
        "seconds",
    ),
    RemarkKind.LAPSE: (
        "target",
        "issue",
        "case",
        "obligation",
        "owed_by",
        "due_at",
        "noticed_at",
        "raised",
        "words",
    ),
}

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Moments are written as ISO 8601, by these names.
_MOMENTS: Final = {
    "added_at": "added_us",
    "at": "at_us",
    "due_at": "due_us",
    "fetched_at": "fetched_us",
    "next_update_at": "next_update_us",
    "noticed_at": "noticed_us",
    "read_at": "read_us",
    "recorded_at": "recorded_us",
}

ExportRow = dict[str, str | int | float]


def remark_rows_of(
    connection: Connection, first_second: int, last_second: int, target: str | None
) -> Iterator[ExportRow]:
    """Give a row for each remark that concerns a range of seconds, kind by kind, each in the order it was kept in.

    Of one target: those about it and those about all. A window, and a run of refused credentials, concerns the range if
    any of its seconds does.
    """
    for kind in REMARK_FIELDS:
        is_window = kind in (RemarkKind.AMENDMENT, RemarkKind.SUSPICION)
        since = None if is_window else first_second
        for remark in read_remarks(streaming(connection), kind, since, last_second):
            if is_window and remark.last_second < first_second:
                continue
            if target is None or getattr(remark, "target", "") in ("", target):
                yield remark_row(remark)


def remark_row(remark: Kept) -> ExportRow:
    """Make the row of one remark."""
    kind = kind_of(remark)
    fields = {name: _field(remark, name) for name in REMARK_FIELDS[kind]}
    return {"v": FORMAT_VERSION, "type": str(kind), **fields}


def moment(moment_us: int) -> str:
    """Write a moment as ISO 8601 in UTC with microseconds."""
    return (_EPOCH + timedelta(microseconds=moment_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _field(remark: Kept, name: str) -> str | int:
    value: Any = getattr(remark, _MOMENTS.get(name, name))
    if name in _MOMENTS:
        return moment(value) if value or name != "next_update_at" else ""
    if value is None:
        return ""
    return int(value) if isinstance(value, int) else str(value)
