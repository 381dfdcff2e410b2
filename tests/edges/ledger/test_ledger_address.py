"""Where a ledger may live, and what is said of where it may not."""

import os
import sqlite3
import subprocess
from pathlib import Path

import pytest

from probe.ledger import Ledger, LedgerError, verify


@pytest.mark.parametrize("url", ["mysql://root:geheim@127.0.0.1/ledger", "nonsense://root:geheim@127.0.0.1/x"])
def test_another_kind_of_database_is_one_sentence_without_the_password(url: str) -> None:
    """Only files and PostgreSQL can hold a ledger."""
    with pytest.raises(LedgerError, match=r"a ledger lives in a file or in PostgreSQL") as caught:
        verify(url)

    assert "geheim" not in str(caught.value)


async def test_another_programs_database_is_left_as_it_is(tmp_path: Path) -> None:
    """A file with somebody else's tables is refused, and not one byte of it changes."""
    foreign = tmp_path / "foreign.sqlite3"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE customer (name TEXT)")
    connection.close()
    before = foreign.read_bytes()

    ledger = Ledger(str(foreign), "here")
    with pytest.raises(LedgerError, match=r"belongs to another program \(it has a table customer\)"):
        await ledger.open()
    await ledger.close()

    assert foreign.read_bytes() == before


async def test_evidence_on_a_medium_that_can_not_be_written_can_be_verified(tmp_path: Path) -> None:
    """A ledger that was closed and put on a read-only file system is read as it lies there."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a read-only file system")
    folder = tmp_path / "medium"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(folder)], check=True)  # noqa: ASYNC221
    try:
        async with Ledger(str(folder / "ledger.sqlite3"), "here"):
            pass
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)  # noqa: ASYNC221

        assert verify(str(folder / "ledger.sqlite3")).sound
    finally:
        subprocess.run(["umount", str(folder)], check=True)  # noqa: ASYNC221
