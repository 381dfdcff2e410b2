"""The export gives every second and attempt of a range, with the documented fields."""

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from probe.core.happenings import Party
from probe.core.lapses import Lapse
from probe.core.model import (
    Amendment,
    Cause,
    ClockState,
    Condition,
    Exclusion,
    Fault,
    Statement,
    Synchronisation,
)
from probe.ledger import (
    ATTEMPT_FIELDS,
    CSV_FIELDS,
    SECOND_FIELDS,
    LedgerError,
    RemarkKind,
    export_rows,
    write_csv,
    write_jsonl,
)
from probe.ledger.export_remarks import REMARK_FIELDS
from probe.ledger.records import Batch
from probe.ledger.store import Store

ROOT = Path(__file__).resolve().parents[3]


def test_every_second_has_one_row_per_target_and_surface(kept: Path, script: Any) -> None:
    """Runs of unobserved seconds are given second by second, in order, beside all others."""
    first, last = script.steps[0].second, script.steps[-1].second
    rows = [row for row in export_rows(str(kept), first, last) if row["type"] == "second"]

    assert [(row["second"], row["target"], row["surface"]) for row in rows] == [
        (second, target, surface)
        for second in range(first, last + 1)
        for target in ("main", "other")
        for surface in ("api", "smtp")
    ]
    assert {row["verdict"] for row in rows} == {"available", "unavailable", "unobserved"}
    assert tuple(rows[0]) == SECOND_FIELDS


def test_an_attempt_has_all_its_fields(kept: Path, script: Any) -> None:
    """The documented fields, in order, with the start as ISO 8601 in microseconds."""
    second = script.steps[0].second
    rows = [row for row in export_rows(str(kept), second, second, "main") if row["type"] == "attempt"]

    assert tuple(rows[0]) == ATTEMPT_FIELDS
    assert rows[0] == {
        "v": 1,
        "type": "attempt",
        "target": "main",
        "vantage": "vantage-1",
        "surface": "api",
        "second": second,
        "ordinal": 0,
        "started_at": "2025-11-24T16:00:00.123456Z",
        "duration_ms": 45.678,
        "fault": "none",
        "cause": "accepted",
        "phase": "final",
        "code": 250,
        "enhanced_code": "2.0.0",
        "reply": '2.0.0 Ok: queued as "4ABC"\nand more',
        "message_id": f"{second}.0.api.main.vantage-1",
        "connection": "kept",
    }


@pytest.mark.parametrize("target", [None, "other"])
def test_a_range_may_begin_and_end_within_a_run(kept: Path, script: Any, target: str | None) -> None:
    """Only the seconds asked for are given, also of a run that began before and goes on after."""
    run = next(step for step in script.steps if step.seconds > 1)
    rows = [row for row in export_rows(str(kept), run.second + 10, run.second + 12, target) if row["type"] != "clock"]

    assert {row["second"] for row in rows} == {run.second + 10, run.second + 11, run.second + 12}
    assert len(rows) == 3 * 2 * (2 if target is None else 1)


def test_one_target_is_exported_alone(kept: Path) -> None:
    """Rows of a target are those of all targets without the others."""
    everything = list(export_rows(str(kept), 0, 2**40))
    alone = list(export_rows(str(kept), 0, 2**40, "main"))
    place = ("type", "second", "surface", "ordinal")

    def sort(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows, key=lambda row: [str(row.get(name)) for name in place])

    assert sort(alone) == sort([row for row in everything if row.get("target", "main") == "main"])
    assert {row["type"] for row in alone} == {"second", "attempt", "clock"}


def test_jsonl_and_csv_hold_the_same(kept: Path) -> None:
    """Both formats come back to the same rows; CSV leaves empty what a type does not have."""
    rows = list(export_rows(str(kept), 0, 2**40))
    lines, table = io.StringIO(), io.StringIO()

    assert write_jsonl(rows, lines) == write_csv(rows, table) == len(rows)
    assert [json.loads(line) for line in lines.getvalue().splitlines()] == rows
    read = list(csv.DictReader(io.StringIO(table.getvalue(), newline="")))
    assert read == [{name: str(row.get(name, "")) for name in CSV_FIELDS} for row in rows]


SECOND = 1_764_000_000
REMARKS = (
    (
        Amendment(
            amendment="a1",
            target="main",
            surface="",
            first_second=SECOND - 600,
            last_second=SECOND,
            exclusion=Exclusion.FORCE_MAJEURE,
            reason='storm, "the" one',
            author="nina",
            added_us=SECOND * 1_000_000 + 5,
        ),
        {
            "v": 1,
            "type": "amendment",
            "amendment": "a1",
            "target": "main",
            "surface": "",
            "first_second": SECOND - 600,
            "last_second": SECOND,
            "exclusion": "force_majeure",
            "reason": 'storm, "the" one',
            "author": "nina",
            "added_at": "2025-11-24T16:00:00.000005Z",
            "withdraws": "",
        },
    ),
    (
        Statement(
            source="provider/summary",
            second=SECOND,
            fetched_us=SECOND * 1_000_000,
            code=200,
            trouble="",
            digest="ab" * 32,
            body='{"page":\n {}}',
        ),
        {
            "v": 1,
            "type": "statement",
            "source": "provider/summary",
            "second": SECOND,
            "fetched_at": "2025-11-24T16:00:00.000000Z",
            "code": 200,
            "trouble": "",
            "digest": "ab" * 32,
            "body": '{"page":\n {}}',
        },
    ),
    (
        ClockState(
            second=SECOND,
            read_us=SECOND * 1_000_000,
            synchronisation=Synchronisation.UNKNOWN,
            estimated_error_us=1,
            maximum_error_us=2,
            ahead_us=-3,
        ),
        {
            "v": 1,
            "type": "clock",
            "second": SECOND,
            "read_at": "2025-11-24T16:00:00.000000Z",
            "synchronisation": "unknown",
            "estimated_error_us": 1,
            "maximum_error_us": 2,
            "ahead_us": -3,
        },
    ),
    (
        Condition(
            condition="blind",
            target="",
            since_second=SECOND - 9,
            noticed_second=SECOND,
            raised=True,
            words="queue full",
        ),
        {
            "v": 1,
            "type": "condition",
            "condition": "blind",
            "target": "",
            "since_second": SECOND - 9,
            "noticed_second": SECOND,
            "raised": 1,
            "words": "queue full",
        },
    ),
    (
        Lapse(
            target="main",
            issue="main-a",
            obligation="call_line",
            owed_by=Party.CUSTOMER,
            due_us=(SECOND - 1) * 1_000_000,
            noticed_us=SECOND * 1_000_000 + 5,
            raised=False,
            words="it came 1 s late",
        ),
        {
            "v": 1,
            "type": "lapse",
            "target": "main",
            "issue": "main-a",
            "case": "",
            "obligation": "call_line",
            "owed_by": "customer",
            "due_at": "2025-11-24T15:59:59.000000Z",
            "noticed_at": "2025-11-24T16:00:00.000005Z",
            "raised": 0,
            "words": "it came 1 s late",
        },
    ),
)


def test_what_is_kept_beside_the_seconds_comes_after_them(path: Path, make_store: Callable[[Path], Store]) -> None:
    """One row each, with the documented fields; a window if any second of it is in the range."""
    make_store(path).append(Batch(remarks=tuple(remark for remark, _ in REMARKS)))

    for target in (None, "main"):
        assert list(export_rows(str(path), SECOND, SECOND + 9, target)) == [row for _, row in REMARKS]
    about_all = [row for _, row in REMARKS if row.get("target") != "main"]
    assert list(export_rows(str(path), SECOND, SECOND + 9, "other")) == about_all
    assert [row["type"] for row in export_rows(str(path), SECOND - 9, SECOND - 1)] == ["amendment"]
    assert list(export_rows(str(path), SECOND + 1, 2**40)) == []
    for _, row in REMARKS:
        assert tuple(row)[2:] == REMARK_FIELDS[RemarkKind(str(row["type"]))]


def test_a_corroborated_second_names_its_evidence_and_a_flap_is_a_row(
    path: Path, script: Any, make_store: Callable[[Path], Store]
) -> None:
    """A third party needs the exported row alone; other seconds have nothing there."""
    store = make_store(path)
    store.append(script.second())
    script.fault = (Fault.NETWORK, Cause.REFUSED)
    store.append(script.second(down=["main"]))
    script.fault = (Fault.CLIENT, Cause.CREDENTIALS)
    store.append(script.second(down=["main"]))
    store.append(script.second())

    rows = list(export_rows(str(path), 0, 2**40, "main"))
    evidence = [json.loads(str(row["evidence"])) for row in rows if row.get("basis") == "corroborated"]
    assert [[control["control"] for control in one["controls"]] for one in evidence] == [["gateway", "resolver"]] * 2
    assert {row["evidence"] for row in rows if row.get("basis") == "none"} == {""}
    flaps = [row for row in rows if row["type"] == "suspicion"]
    second = script.steps[0].second
    assert flaps[0] == {
        "v": 1,
        "type": "suspicion",
        "target": "main",
        "surface": "api",
        "first_second": second + 2,
        "last_second": second + 2,
        "seconds": 1,
        "codes": flaps[0]["codes"],
        "accepted_before_second": second,
        "accepted_after_second": second + 3,
    }
    assert flaps[0]["codes"]
    assert rows[-2:] == flaps


def test_a_ledger_may_be_exported_while_it_is_written(
    path: Path, script: Any, make_store: Callable[[Path], Store]
) -> None:
    """A reader in the middle of its rows does not stop the writer, and sees one state."""
    store = make_store(path)
    store.append(script.second())
    rows = export_rows(str(path), 0, 2**40)
    first = next(rows)
    store.append(script.second())

    assert {row["second"] for row in [first, *rows]} == {script.steps[0].second}


def test_a_missing_ledger_is_named(path: Path) -> None:
    """There is nothing to export from a file that is not there, and none is made."""
    with pytest.raises(LedgerError, match="there is no such file"):
        list(export_rows(str(path), 0, 1))
    assert not path.exists()


def test_the_fields_are_documented() -> None:
    """docs/ledger.md describes each field of the export, in order."""
    text = (ROOT / "docs" / "ledger.md").read_text()
    of_remarks = [(f"### `type={kind}`", ("v", "type", *fields)) for kind, fields in REMARK_FIELDS.items()]
    for heading, fields in (
        ("### `type=second`", SECOND_FIELDS),
        ("### `type=attempt`", ATTEMPT_FIELDS),
        *of_remarks,
    ):
        section = text.split(heading)[1].split("\n#")[0]
        assert tuple(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == fields
