"""A program for the crash tests: it writes a scripted run into a ledger and dies on the way, as they tell it.

`sweep FOLDER` forks a child for each k = 1, 2, 3 ... that dies at its k-th call of the ledger's database, and ends when
a child has come through. `forever FILE` writes second after second until it is killed. What a run was told is kept goes
to a file beside its ledger.
"""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import alembic.command
import alembic.config  # noqa: F401 - imported before the forks, which would each take the time for it
from conftest import TERMS, Script  # type: ignore[import-not-found]
from sqlalchemy import event

from probe.core.model import Persistence
from probe.ledger.records import Batch
from probe.ledger.retention import cut
from probe.ledger.store import Store

CRASHED = 42
READS = ("SELECT", "PRAGMA", "BEGIN")


def main() -> None:
    """Run as told by the command line."""
    if sys.argv[1] == "sweep":
        sweep(Path(sys.argv[2]))
    else:
        forever(Path(sys.argv[2]))


def sweep(folder: Path) -> None:
    """Die at each call once: first while the tables are made, then in a ledger that has them already."""
    opened = folder / "opened"
    each(lambda crash_at: make_tables(folder / f"open-{crash_at:03}.db", crash_at))
    make_tables(opened, 0)
    each(lambda crash_at: run(Path(shutil.copy(opened, folder / f"run-{crash_at:03}.db")), crash_at))


def each(run_to: Callable[[int], None]) -> None:
    """Fork a child for each k until one comes through."""
    for crash_at in range(1, 1_000):
        child = os.fork()
        if child == 0:
            run_to(crash_at)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return
        assert code == CRASHED, f"the run that was to die at call {crash_at} ended with {code}"


class Counter:
    """Counts the calls that change something, and dies at one of them."""

    def __init__(self, crash_at: int) -> None:
        self._left = crash_at

    def call(self, *_: Any) -> None:
        """Count a call."""
        self._left -= 1
        if self._left == 0:
            os._exit(CRASHED)

    def statement(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        """Count a statement; to die before a read is to die after the call before it."""
        if not statement.lstrip().startswith(READS):
            self.call()

    def watch(self, store: Store) -> None:
        """Count what a store does to its database."""
        event.listen(store.engine, "before_cursor_execute", self.statement)
        event.listen(store.engine, "commit", self.call)


def make_tables(path: Path, crash_at: int) -> None:
    """Open a ledger that does not exist."""
    store = Store(str(path), "vantage-1")
    Counter(crash_at).watch(store)
    store.open()
    store.close()


def run(path: Path, crash_at: int) -> None:
    """Keep a story with an issue, a run of unobserved seconds and a cut in it."""
    store = Store(str(path), "vantage-1")
    counter = Counter(crash_at)
    counter.watch(store)
    store.open()
    script = Script(["main"], replace(TERMS, persistence=Persistence(unavailable_seconds=1, window_seconds=1)))
    with path.with_suffix(".told").open("w", buffering=1) as told:
        for batch in story(script):
            keep(store, batch, told.write, counter.call)
        while not cut(store, ["main"], script.next_second, 600, 1_200, 6).finished:
            counter.call()
        keep(store, script.second(), told.write, counter.call)


def story(script: Script) -> Iterator[Batch]:
    """Play few seconds in which much happens."""
    yield script.second(checkpoint=True)
    yield script.second(down=["main"])
    yield script.away(2_400)
    yield script.second(checkpoint=True)


def keep(store: Store, batch: Batch, tell: Callable[[str], Any], count: Callable[[], None]) -> None:
    """Keep a batch and tell of it; both sides of the telling are places to die."""
    commit = store.append(batch)
    count()
    tell(f"{commit.seq} {commit.digest} {batch.steps[-1].second}\n")
    count()


def forever(path: Path) -> None:
    """Write until killed."""
    store = Store(str(path), "vantage-1")
    store.open()
    script = Script()
    with path.with_suffix(".told").open("w", buffering=1) as told:
        while True:
            keep(store, script.second(checkpoint=script.next_second % 10 == 0), told.write, lambda: None)


if __name__ == "__main__":
    main()
