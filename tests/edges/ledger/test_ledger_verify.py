# ruff: noqa: S608 - the SQL of these tests is made of names that stand in this file
"""Whatever is done to a ledger behind the program's back, `verify` names it."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.ledger import Anchor, canonical, verify
from probe.ledger.store import Store
from probe.ledger.tables import PARTS

Tamper = Callable[..., None]
# Notes of retention have tests of their own.
PART_NAMES = [part.name for part in PARTS if part.name != "cut"]
# A column of each table to change, and a text that the sentence about it must hold.
NAMED = {
    "attempt": ("reply", "attempt main api 2025-11-24T16:00:00Z #0 (batch 1 #0)"),
    "control": ("duration_us", "control gateway 2025-11-24T16:00:00Z (batch 1 #0)"),
    "verdict": ("verdict", "verdict main api 2025-11-24T16:00:00Z (batch 1 #0)"),
    "event": ("since_second", "event main opened 2025-11-24T16:00:04Z (batch 5 #0)"),
    "rules": ("body", "rules main "),
    "state": ("body", "state main 2025-11-24T16:00:01Z (batch 1 #0)"),
    "remark": ("body", "remark clock  2025-11-24T16:00:00Z (batch 1 #0)"),
}


def first_problem(path: Path) -> str:
    """Verify a ledger that is not sound."""
    report = verify(str(path))

    assert not report.sound
    return report.problems[0]


def test_an_untouched_ledger_is_sound(kept: Path, script: Any) -> None:
    """The report counts everything and names the head."""
    report = verify(str(kept))

    assert report.problems == ()
    assert report.batches == 13
    attempts = sum(len(step.outcomes) for step in script.steps)
    verdicts = sum(len(step.judgements) for step in script.steps)
    assert report.records == attempts + verdicts + 12 * 2 + 2 + 2 + 4 + 4
    assert report.first_second == script.steps[0].second
    assert report.last_second == script.steps[-1].second
    assert (report.head_seq, len(report.head_digest)) == (13, 64)


@pytest.mark.parametrize("part", PART_NAMES)
def test_an_altered_record_is_named(kept: Path, tamper: Tamper, part: str) -> None:
    """Any field of any table: the record is named with its target and second."""
    column, name = NAMED[part]
    place = "batch = (SELECT min(batch) FROM event)" if part == "event" else "batch = 1"
    tamper(f"UPDATE {part} SET {column} = {column} || '1' WHERE {place} AND position = 0")

    assert name in first_problem(kept)
    assert "was altered" in first_problem(kept)


@pytest.mark.parametrize("part", PART_NAMES)
def test_every_column_is_sealed(kept: Path, tamper: Tamper, part: str) -> None:
    """There is no column that can be changed unseen."""
    batch = 5 if part == "event" else 1
    for column in next(known.columns for known in PARTS if known.name == part):
        tamper(
            f"CREATE TABLE spare AS SELECT * FROM {part}",
            f"UPDATE {part} SET {column} = coalesce({column}, '') || '7' WHERE batch = {batch} AND position = 0",
        )
        assert not verify(str(kept)).sound, column
        tamper(f"DELETE FROM {part}", f"INSERT INTO {part} SELECT * FROM spare", "DROP TABLE spare")
    assert verify(str(kept)).sound


@pytest.mark.parametrize("part", ["attempt", "control", "verdict", "state", "remark"])
def test_a_missing_record_is_named_by_its_neighbours(kept: Path, tamper: Tamper, part: str) -> None:
    """A record that was removed is named by its place, also if those after it were moved up."""
    tamper(f"DELETE FROM {part} WHERE batch = 1 AND position = 0")
    assert f"{part} #0 of batch 1: is missing (before " in first_problem(kept)
    tamper(f"UPDATE {part} SET position = position - 1 WHERE batch = 1")
    assert f"{part} #0 of batch 1: is missing (before " in first_problem(kept)


@pytest.mark.parametrize("part", ["event", "rules"])
def test_a_missing_lonely_record_is_named(kept: Path, tamper: Tamper, part: str) -> None:
    """The last record of a part that is removed is missing too."""
    tamper(f"DELETE FROM {part}")

    assert f"{part} #0 of batch {5 if part == 'event' else 1}: is missing" in first_problem(kept)


@pytest.mark.parametrize("part", ["attempt", "control", "verdict", "state", "rules", "remark"])
def test_reordered_records_are_named(kept: Path, tamper: Tamper, part: str) -> None:
    """Two records that changed places are found."""
    tamper(
        f"UPDATE {part} SET position = 99 WHERE batch = 1 AND position = 0",
        f"UPDATE {part} SET position = 0 WHERE batch = 1 AND position = 1",
        f"UPDATE {part} SET position = 1 WHERE batch = 1 AND position = 99",
    )

    assert "(batch 1 #0): was moved from its place" in first_problem(kept)


@pytest.mark.parametrize("part", PART_NAMES)
@pytest.mark.parametrize("place", ["(SELECT max(batch) FROM {part}), 99", "7777, 0"])
def test_an_added_record_is_named(kept: Path, tamper: Tamper, part: str, place: str) -> None:
    """A record that no batch sealed is found, in a batch and beyond the last one."""
    columns = next(p.columns for p in PARTS if p.name == part)
    new = ["'added'" if column in ("target", "id", "control", "kind") else column for column in columns]
    tamper(
        f"INSERT INTO {part} (batch, position, {', '.join(columns)}) "
        f"SELECT {place.format(part=part)}, {', '.join(new)} FROM {part} LIMIT 1"
    )

    assert f"{part} added" in first_problem(kept)
    assert "was added" in first_problem(kept)


def test_a_record_moved_to_another_batch_is_found(kept: Path, tamper: Tamper) -> None:
    """What stood in one batch cannot stand in another."""
    tamper("UPDATE attempt SET batch = 4, position = 77 WHERE batch = 3 AND position = 3")

    assert "attempt #3 of batch 3: is missing" in first_problem(kept)
    assert "(batch 4 #77): was added" in verify(str(kept)).problems[1]


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("UPDATE batch SET written_us = written_us + 1 WHERE seq = 3", "batch 3: its header was altered"),
        ("UPDATE batch SET vantage = 'elsewhere' WHERE seq = 3", "batch 3: its header was altered"),
        ("UPDATE batch SET digest = previous WHERE seq = 3", "batch 3: its header was altered"),
        ("UPDATE batch SET verdict_seal = NULL WHERE seq = 3", ""),
    ],
)
def test_an_altered_header_is_named(kept: Path, tamper: Tamper, statement: str, sentence: str) -> None:
    """The batch's own row is sealed as well."""
    if sentence:
        tamper(statement)
        assert sentence in first_problem(kept)
    else:
        with pytest.raises(sqlite3.IntegrityError):
            tamper(statement)


def _whole_batch(seq: str) -> list[str]:
    tables = [part.name for part in PARTS]
    return [*[f"DELETE FROM {table} WHERE batch {seq}" for table in tables], f"DELETE FROM batch WHERE seq {seq}"]


def test_a_missing_batch_is_named(kept: Path, tamper: Tamper) -> None:
    """Whole batches cannot be taken out of the middle or from the beginning without a note of retention."""
    tamper(*_whole_batch("IN (6, 7)"))
    assert "batch 6 to 7: missing, and no retention note" in first_problem(kept)
    tamper(*_whole_batch("< 6"))
    assert "batch 1 to 7: missing, and no retention note" in first_problem(kept)


def test_a_batch_whose_digest_was_made_anew_breaks_the_next(kept: Path, tamper: Tamper) -> None:
    """An attacker who can compute digests must make all later ones anew."""
    _forge(kept, tamper)

    assert first_problem(kept) == "batch 4: does not follow batch 3: one of them was replaced or moved"


def _forge(path: Path, tamper: Tamper) -> str:
    """Alter a verdict and seal its batch again, as one who knows the format would."""
    tamper("UPDATE verdict SET verdict = 'available' WHERE batch = 3 AND position = 1")
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT * FROM verdict WHERE batch = 3 ORDER BY position").fetchall()
        header = list(connection.execute("SELECT * FROM batch WHERE seq = 3").fetchone())
    verdicts = next(part for part in PARTS if part.name == "verdict")
    header[8] = canonical.seal("verdict", verdicts.sealed([row[2:] for row in rows]))
    del header[-2]
    digest = canonical.batch_digest(header)
    tamper(f"UPDATE batch SET verdict_seal = x'{header[8].hex()}', digest = '{digest}' WHERE seq = 3")
    return digest


def test_only_an_anchor_finds_a_chain_that_was_made_anew_or_cut_off(kept: Path, tamper: Tamper) -> None:
    """What the chain alone cannot prove, a head that was kept elsewhere can."""
    before = verify(str(kept))
    anchor = Anchor(seq=before.head_seq, digest=before.head_digest)
    assert verify(str(kept), anchor).sound

    tamper(*_whole_batch("= 13"))

    assert verify(str(kept)).sound
    assert verify(str(kept), anchor).problems == (
        "batch 13: the anchored head is not in this chain: the chain ends before it",
    )
    third = Anchor(seq=12, digest="0" * 64)
    assert "differs from the anchored head" in verify(str(kept), third).problems[0]


def test_a_value_of_another_type_is_an_alteration(kept: Path, tamper: Tamper) -> None:
    """SQLite stores anything anywhere; bytes or a fraction in a column are found and named."""
    tamper("UPDATE attempt SET reply = x'ff00' WHERE batch = 2 AND position = 2")
    assert "attempt other api 2025-11-24T16:00:01Z #0 (batch 2 #2): was altered" in first_problem(kept)
    tamper("UPDATE verdict SET second = 1.5 WHERE batch = 1 AND position = 0")
    assert "verdict main api 1.5 (batch 1 #0): was altered" in first_problem(kept)


def test_a_ledger_is_verified_while_it_is_written(path: Path, script: Any, make_store: Callable[[Path], Store]) -> None:
    """The walk sees one state, and the writer is not held up."""
    store = make_store(path)
    heads = []
    for batch in script.story():
        store.append(batch)
        report = verify(str(path))
        assert report.sound
        heads.append((report.head_seq, report.head_digest) == (store.head.seq, store.head.digest))

    assert heads == [True] * 13


FIELDS = st.none() | st.integers(-(2**63), 2**63 - 1) | st.text()
ROWS = st.lists(st.lists(FIELDS, min_size=1, max_size=5).map(tuple), max_size=5)


@given(ROWS)
def test_the_canonical_encoding_comes_back(rows: list[tuple[Any, ...]]) -> None:
    """Every row is read back as it was, alone and among others, and the encoding is plain JSON."""
    encoded = canonical.encode_all(rows)

    assert [canonical.decode(one) for one in encoded] == rows
    assert encoded == [canonical.encode(row) for row in rows]
    assert encoded == [json.dumps(row, separators=(",\n", ":")) for row in rows]


@given(ROWS, ROWS)
def test_different_records_have_different_seals(one: list[tuple[Any, ...]], two: list[tuple[Any, ...]]) -> None:
    """Two parts share a seal only if they hold the same."""
    same = [[type(field) for field in row] for row in one] == [[type(field) for field in row] for row in two]

    assert (canonical.seal("attempt", one) == canonical.seal("attempt", two)) == (one == two and same)
    assert not one or canonical.seal("attempt", one) != canonical.seal("verdict", one)


def test_the_digests_of_the_first_version_stay() -> None:
    """A ledger that was written once verifies for ever: the encoding has a fixed result."""
    sealed = canonical.seal("attempt", [("main", "api", 1_764_000_000, None), ("main", "smtp", 1_764_000_000, "é\n")])
    digest = canonical.batch_digest([1, 1_764_000_000_000_000, "v", 5, 6, canonical.GENESIS, sealed, b"", None])

    assert sealed.hex() == "154c7c96829963357bd3257957b12f0edb9d57621e72d2f14df871491f61b16f51fdb98dd4fe9d66"
    assert digest == "7559e7b3997659557016e69f8cf2d90478391bbbca001d41786a403edb8738c1"
