"""A disk that is full or read-only stops nothing, and everything is written once it can be."""

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from probe.core.model import Step
from probe.ledger import Batch, Commit, Ledger, LedgerQueue, LedgerUnwritable, verify
from probe.ledger.connect import parse_address, reading_engine
from probe.ledger.read import steps
from probe.ledger.store import Store

LONG_S = 10.0
NOBODY = 65_534


@pytest.fixture
def small_disk(tmp_path: Path, do_without: Any) -> Iterator[Path]:
    """Give a real filesystem of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode != 0:
        do_without("needs the right to mount a small tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def stored_steps(path: Path) -> list[Step]:
    """Read all steps of a ledger."""
    engine = reading_engine(parse_address(str(path)))
    with engine.connect() as connection, connection.begin():
        return [stored.step for stored in steps(connection, 0, 2**40)]


def in_order(of: list[Step]) -> list[Step]:
    """Sort steps as the ledger reads them."""
    return sorted(of, key=lambda step: (step.second, step.target))


def fill(disk: Path) -> Path:
    """Take all the space that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as out:
        try:
            while True:
                out.write(b"x" * 512)
        except OSError:
            return filler


async def test_a_full_disk_is_survived(small_disk: Path, script: Any) -> None:
    """While the disk is full batches wait and trouble is told; with space again all is kept and told, once."""
    told: list[Step] = []
    said: list[str] = []

    def kept(batch: Batch, _commit: Commit) -> None:
        told.extend(batch.steps)

    path = small_disk / "ledger.db"
    async with Ledger(str(path), "vantage-1") as ledger:
        queue = LedgerQueue(
            ledger,
            records_max=10_000,
            on_kept=kept,
            on_trouble=lambda reason, _waiting: said.append(reason),
            on_recovered=lambda: said.append("recovered"),
            commit_interval_s=0.0,
            retry_first_s=0.01,
        )
        queue.start()
        queue.offer(script.second(checkpoint=True))
        assert await queue.drain(LONG_S) == 0
        filler = fill(small_disk)
        async with asyncio.timeout(LONG_S):
            while len(said) < 3:
                queue.offer(script.second())
                await asyncio.sleep(0.005)
        assert len(told) < len(script.steps)
        filler.unlink()
        assert await queue.drain(LONG_S) == 0
        await queue.stop()

    assert said[0].startswith(f"{path}: the disk is full")
    assert said[-1] == "recovered"
    assert told == script.steps
    assert stored_steps(path) == in_order(script.steps)
    assert verify(str(path)).problems == ()


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to write everywhere."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that other users can look into, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="sev1probe-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_ledger_is_written_again_later(
    open_folder: Path, script: Any, make_store: Callable[[Path], Store]
) -> None:
    """The reason is named, and the very batch that failed is kept once the file may be written."""
    path = open_folder / "ledger.db"
    store = make_store(path)
    store.append(script.second())
    store.close()
    path.chmod(0o444)
    open_folder.chmod(0o555)
    batch = script.second()
    with as_nobody():
        for _ in range(2):
            with pytest.raises(LedgerUnwritable, match=r"ledger\.db: (the ledger is read-only|the file cannot be)"):
                store.append(batch)
    open_folder.chmod(0o755)
    path.chmod(0o644)
    store.append(batch)

    assert stored_steps(path) == in_order(script.steps)
    assert verify(str(path)).sound
