"""Old records go in small steps, and what is left still verifies."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from probe.ledger import Ledger, verify
from probe.ledger.records import Batch
from probe.ledger.recover import recover
from probe.ledger.retention import GRAIN_S, STATES_KEPT_S, CutReport, cut
from probe.ledger.store import Store
from probe.ledger.tables import Kind

MakeStore = Callable[[Path], Store]
ATTEMPTS_KEPT_S = 1_200
VERDICTS_KEPT_S = 2_400


def count(path: Path, table: str) -> int:
    """Count the rows of a table."""
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - names of tests


def long_run(script: Any, store: Store, minutes: int) -> None:
    """Keep a second of each minute, with a checkpoint, and the rest as unobserved."""
    for _ in range(minutes):
        store.append(script.second(checkpoint=True))
        store.append(script.away(59))


def cut_all(store: Store, now_second: int, rows_max: int = 20) -> list[CutReport]:
    """Take steps until nothing is left to cut."""
    reports: list[CutReport] = []
    while not (reports and reports[-1].finished):
        reports.append(cut(store, ["main", "other"], now_second, ATTEMPTS_KEPT_S, VERDICTS_KEPT_S, rows_max))
        assert verify(str(store.address.name)).problems == ()
    return reports


def test_a_cut_ledger_verifies_after_every_step(path: Path, script: Any, make_store: MakeStore) -> None:
    """Attempts go first, verdicts later, never more than asked for at once, and the chain holds throughout."""
    store = make_store(path)
    long_run(script, store, 60)
    reports = cut_all(store, script.next_second)

    assert all(report.deleted <= 20 for report in reports)
    assert {kind for report in reports for kind in report.noted} == {Kind.ATTEMPTS, Kind.VERDICTS}
    with closing(sqlite3.connect(path)) as connection:
        oldest = {
            table: connection.execute(f"SELECT min(second) FROM {table}").fetchone()[0]  # noqa: S608
            for table in ("attempt", "control", "verdict")
        }
    now = script.next_second
    assert now - ATTEMPTS_KEPT_S - 660 <= oldest["attempt"] == oldest["control"] <= now - ATTEMPTS_KEPT_S
    assert now - VERDICTS_KEPT_S - 660 <= oldest["verdict"] <= now - VERDICTS_KEPT_S
    store.append(script.second())
    assert verify(str(path)).sound


def test_nothing_young_is_cut(path: Path, script: Any, make_store: MakeStore) -> None:
    """Within its time every record stays, and no note is written."""
    store = make_store(path)
    long_run(script, store, 15)

    assert cut_all(store, script.next_second) == [CutReport(deleted=0, noted=(), finished=True)]
    assert store.head.seq == 30


def test_the_newest_checkpoints_stay(path: Path, script: Any, make_store: MakeStore) -> None:
    """However old it is, what a restart needs is not cut."""
    store = make_store(path)
    store.append(script.second(checkpoint=True))
    for _ in range(60):
        store.append(script.away(60))
    cut_all(store, script.next_second)

    assert count(path, "state") == 2
    assert count(path, "attempt") == 4


def test_checkpoints_are_kept_for_a_day(path: Path, script: Any, make_store: MakeStore) -> None:
    """Checkpoints that are older than a day and not the newest go, though verdicts stay for longer."""
    store = make_store(path)
    long_run(script, store, 3)
    store.append(script.away(100_000))
    store.append(script.second(checkpoint=True))
    while not cut(store, ["main", "other"], script.next_second, 1e9, 1e9, 100).finished:
        assert verify(str(path)).sound

    assert count(path, "state") == 2
    assert count(path, "attempt") == 16
    boundary = (script.next_second - STATES_KEPT_S) // GRAIN_S * GRAIN_S
    assert verify(str(path)).cut_through == {Kind.STATES: boundary - 1}


def test_what_was_kept_before_the_first_second_is_as_young_as_the_ledger(path: Path, script: Any) -> None:
    """The clock's state that a daemon writes down at its start is not cut as if it were of 1970."""
    now_second = script.next_second
    store = Store(str(path), "vantage-1", wall_us=lambda: now_second * 1_000_000)
    store.append(Batch(remarks=script.second(checkpoint=True).remarks))
    store.append(script.second(checkpoint=True))

    report = cut(store, ["main", "other"], now_second, 3_600, 3_600, 100)

    assert (report.deleted, report.noted, report.finished) == (0, (), True)
    assert verify(str(path)).first_second == now_second
    store.close()


def leave_and_go_on(script: Any, alone: Any, store: Store) -> None:
    """Keep a second of two targets, of which one leaves with a checkpoint, and two days of the other alone."""
    store.append(script.second())
    store.append(script.second(checkpoint=True))
    alone.states = {"main": script.states["main"]}
    for _ in range(48):
        store.append(alone.second(checkpoint=True))
        store.append(alone.away(3_599))


def test_a_target_that_left_holds_up_no_cut(
    path: Path, script: Any, make_script: Any, make_store: MakeStore, tamper: Callable[..., None]
) -> None:
    """Its records go in their time, its newest checkpoint stays with the verdicts, and with it it goes on later."""
    store, alone = make_store(path), make_script(["main"])
    leave_and_go_on(script, alone, store)
    while not cut(store, ["main"], alone.next_second, 7_200, 100_000_000, 50).finished:
        assert verify(str(path)).problems == ()

    assert count(path, "attempt WHERE target = 'other'") == 0
    assert count(path, "attempt") == 2 * 2
    assert count(path, "state WHERE target = 'other'") == 1
    assert count(path, "state WHERE target = 'main'") == 24
    with store.transaction() as connection:
        recovery = recover(connection, script.terms)
    assert (recovery.states["other"], recovery.differences) == (script.states["other"], ())
    assert recovery.states["main"] == alone.states["main"]
    store.close()
    tamper("UPDATE state SET body = replace(body, '1', '2') WHERE target = 'other'")
    assert verify(str(path)).problems[0].startswith("state other ")
    assert verify(str(path)).problems[0].endswith("(batch 2 #1): was altered")


def test_a_checkpoint_of_a_target_that_left_goes_with_the_verdicts(
    path: Path, script: Any, make_script: Any, make_store: MakeStore
) -> None:
    """When nothing else of it is left the target begins anew."""
    store, alone = make_store(path), make_script(["main"])
    leave_and_go_on(script, alone, store)
    while not cut(store, ["main"], alone.next_second, 7_200, 86_400, 1_000).finished:
        assert verify(str(path)).problems == ()

    assert count(path, "state WHERE target = 'other'") == 0
    assert count(path, "verdict WHERE target = 'other'") == 0
    with store.transaction() as connection:
        recovery = recover(connection, script.terms)
    assert (recovery.states, recovery.problems) == (alone.states, ())


async def test_a_target_that_a_reload_removed_is_needed_no_more(path: Path, script: Any, make_script: Any) -> None:
    """Without being told the configured targets a cut takes those of the last batch's terms; told, it takes these."""
    script_of_one = make_script(["main"])
    async with Ledger(str(path), "vantage-1") as ledger:
        await ledger.append(script.second(checkpoint=True))
        script_of_one.states = {"main": script.states["main"]}
        await ledger.append(script_of_one.away(10_000))
        await ledger.append(script_of_one.second(checkpoint=True))
        now = script_of_one.next_second
        assert (await ledger.cut(now, 600, 1e9, targets=["main", "other"])).finished
        assert (await ledger.cut(now, 600, 1e9)).noted == (Kind.ATTEMPTS,)


def test_a_target_without_a_record_holds_up_no_cut(path: Path, script: Any, make_store: MakeStore) -> None:
    """A target that is configured and has never had a second needs nothing of the ledger."""
    store = make_store(path)
    long_run(script, store, 60)

    assert cut(store, ["main", "other", "new"], script.next_second, 600, 1e9, 50).noted == (Kind.ATTEMPTS,)


def test_cutting_goes_on_after_a_restart(path: Path, script: Any, make_store: MakeStore) -> None:
    """A cut that was noted but not carried through is no fault, and the next process finishes it."""
    store = make_store(path)
    long_run(script, store, 60)
    for _ in range(4):
        cut(store, ["main", "other"], script.next_second, ATTEMPTS_KEPT_S, VERDICTS_KEPT_S, 3)
    store.close()
    left = count(path, "attempt")
    assert verify(str(path)).sound

    cut_all(make_store(path), script.next_second, 1_000)

    assert count(path, "attempt") < left
    assert verify(str(path)).sound


@pytest.mark.parametrize("table", ["attempt", "verdict"])
def test_deletion_without_a_note_is_found(
    path: Path, script: Any, make_store: MakeStore, tamper: Callable[..., None], table: str
) -> None:
    """One batch more than the note covers is a missing record."""
    store = make_store(path)
    long_run(script, store, 60)
    cut_all(store, script.next_second, 10_000)
    store.close()
    tamper(f"DELETE FROM {table} WHERE batch = (SELECT min(batch) FROM {table})")  # noqa: S608

    assert f"{table} #0 of batch" in verify(str(path)).problems[0]


def test_a_forged_note_is_found(path: Path, script: Any, make_store: MakeStore, tamper: Callable[..., None]) -> None:
    """A note that no batch sealed, or one that was changed, does not excuse what is gone."""
    store = make_store(path)
    long_run(script, store, 60)
    cut_all(store, script.next_second, 10_000)
    store.close()
    tamper("UPDATE cut SET through = through + 1")
    assert any("cut " in problem and "was altered" in problem for problem in verify(str(path)).problems)
    tamper("UPDATE cut SET through = through - 1", "DELETE FROM cut WHERE kind = 'attempts'")
    assert any("is missing" in problem for problem in verify(str(path)).problems)


def test_a_note_in_doubt_is_settled_by_the_next_append(path: Path, script: Any, make_store: MakeStore) -> None:
    """A note whose commit was never answered neither blocks the chain nor makes a batch be written twice."""
    store = make_store(path)
    long_run(script, store, 60)

    def lose_the_answer() -> None:
        raise RuntimeError("crash between commit and answer")

    store.batch_is_kept = lose_the_answer  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        cut(store, ["main", "other"], script.next_second, ATTEMPTS_KEPT_S, VERDICTS_KEPT_S, 10)
    assert store.append(script.second()).seq == 122
    assert verify(str(path)).sound
