"""After any end the ledger is sound, agrees with the rules, and goes on where it was."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event

from probe.core.model import Persistence
from probe.ledger import Ledger, LedgerUnwritable, what_if
from probe.ledger import recover as recovery_module
from probe.ledger.export import rows_of
from probe.ledger.recover import Recovery, recover
from probe.ledger.store import Store
from probe.ledger.verify import walk

CRASH_RUN = Path(__file__).with_name("crash_run.py")
ROOT = Path(__file__).resolve().parents[3]
MakeStore = Callable[[Path], Store]


def recovered(store: Store, terms: Any, *, check_chain: bool = True) -> Recovery:
    """Recover through the store's own connection."""
    with store.transaction() as connection:
        return recover(connection, terms, check_chain=check_chain)


def test_recovery_finds_the_state(kept: Path, script: Any, make_store: MakeStore) -> None:
    """The state of each target is the one that the rules had come to, and nothing differs."""
    recovery = recovered(make_store(kept), script.terms)

    assert recovery.states == script.states
    assert (recovery.differences, recovery.problems) == ((), ())
    # From the second checkpoint on, not from the beginning.
    assert recovery.steps == 6 * 2
    assert recovery.head.seq == 13


def test_an_empty_ledger_knows_no_target(path: Path, script: Any, make_store: MakeStore) -> None:
    """Where nothing is stored, every target begins anew."""
    recovery = recovered(make_store(path), script.terms)

    assert (recovery.states, recovery.steps, recovery.head.seq) == ({}, 0, 0)


def test_without_a_checkpoint_everything_is_replayed(path: Path, script: Any, make_store: MakeStore) -> None:
    """A target whose checkpoints are missing is folded from its first second on."""
    store = make_store(path)
    for batch in script.story():
        store.append(replace(batch, states=()))
    recovery = recovered(store, script.terms)

    assert recovery.states == script.states
    assert recovery.steps == len(script.steps)


def test_a_target_that_was_away_goes_on_where_it_was(
    path: Path, script: Any, make_script: Any, make_store: MakeStore
) -> None:
    """A target that comes back after a long time is found with its last second."""
    store = make_store(path)
    store.append(script.second(checkpoint=True))
    store.append(script.second())
    alone = make_script(["main"])
    alone.states = {"main": script.states["main"]}
    store.append(alone.away(100_000))
    store.append(alone.second(checkpoint=True))
    recovery = recovered(store, script.terms)

    assert recovery.states == {"main": alone.states["main"], "other": script.states["other"]}
    assert (recovery.differences, recovery.problems) == ((), ())


def test_targets_that_are_new_cost_no_walk_along_the_chain(
    kept: Path, make_script: Any, make_store: MakeStore, tamper: Callable[..., None]
) -> None:
    """Where the ledger knows none of the targets, only its newest batch is checked, however many there are."""
    tamper("UPDATE verdict SET accepted = 7 WHERE batch = 12")
    terms = make_script(["new"]).terms
    store = make_store(kept)
    assert recovered(store, terms).problems == ()
    assert recovered(store, terms).states == {}
    store.close()
    tamper("UPDATE verdict SET accepted = 7 WHERE batch = 13")

    assert len(recovered(make_store(kept), terms).problems) == 1


@pytest.mark.parametrize("at_start", [True, False])
def test_a_target_that_comes_back_costs_only_its_own_record(
    path: Path, script: Any, make_script: Any, make_store: MakeStore, tamper: Callable[..., None], at_start: bool
) -> None:
    """It is not looked for in all that was written while it was away, nor is the chain walked from where it left."""
    store = make_store(path)
    store.append(script.second())
    store.append(script.second(checkpoint=True))
    store.append(script.second())
    alone = make_script(["main"])
    alone.states = {"main": script.states["main"]}
    for _ in range(40):
        store.append(alone.away(400))
    last = store.append(alone.second(checkpoint=True))
    tamper("UPDATE verdict SET accepted = 7 WHERE batch = 20")
    statements: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *found: statements.append(found[2]))
    terms = script.terms if at_start else {"other": script.terms["other"]}
    with store.transaction() as connection:
        recovery = recover(connection, terms, check_chain=at_start)

    states = {"main": alone.states["main"], "other": script.states["other"]}
    assert recovery.states == {target: states[target] for target in terms}
    assert (recovery.differences, recovery.problems, recovery.steps) == ((), (), 1)
    assert recovery.head.seq == last.seq
    assert len(statements) < 40


def test_a_target_without_a_checkpoint_is_found_in_the_batch_that_brought_it(
    path: Path, script: Any, make_script: Any, make_store: MakeStore
) -> None:
    """A batch that was merged from a long backlog may begin long before a target that it brings."""
    store = make_store(path)
    early, late = make_script(["main"]), make_script(["other"])
    first = early.away(2_000)
    late.states["other"] = replace(late.states["other"], next_second=early.next_second)
    second = late.second()
    terms = {**first.terms, **second.terms}
    store.append(replace(first, steps=(*first.steps, *second.steps), controls=second.controls, terms=terms))

    recovery = recovered(store, {"other": terms["other"]}, check_chain=False)
    assert (recovery.states, recovery.differences) == (late.states, ())


async def test_batches_are_kept_during_a_recovery(
    path: Path, script: Any, make_script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload that looks for targets in the ledger, however long it takes, holds up no commit."""
    looking, go_on = threading.Event(), threading.Event()

    def slow_walk(*arguments: Any, **options: Any) -> Any:
        looking.set()
        assert go_on.wait(20)
        return walk(*arguments, **options)

    monkeypatch.setattr(recovery_module, "walk", slow_walk)
    async with Ledger(str(path), "vantage-1") as ledger:
        await ledger.append(script.second(checkpoint=True))
        before = dict(script.states)
        looked = asyncio.create_task(ledger.recover(script.terms))
        await asyncio.to_thread(looking.wait, 20)
        assert (await ledger.append(script.second())).seq == 2
        go_on.set()
        recovery = await looked

    # One consistent state: that of the moment when it began.
    assert (recovery.states, recovery.head.seq, recovery.problems) == (before, 1, ())


def test_an_altered_verdict_is_named_and_the_state_is_that_of_the_attempts(
    kept: Path, script: Any, make_store: MakeStore, tamper: Callable[..., None]
) -> None:
    """What the rules make of the stored attempts counts, and the difference is reported, not mended."""
    second = script.steps[-1].second
    tamper(
        f"UPDATE verdict SET verdict = 'unavailable', basis = 'literal', accepted = 0 "  # noqa: S608
        f"WHERE second = {second} AND surface = 'smtp' AND target = 'other'"
    )
    recovery = recovered(make_store(kept), script.terms)

    assert [str(difference) for difference in recovery.differences] == [
        f"other smtp {second}: stored unavailable (literal), 0 of 1 accepted, the rules say available, 1 of 1 accepted"
    ]
    assert recovery.states == script.states
    assert len(recovery.problems) == 1


def test_removed_attempts_and_seconds_and_events_are_named(
    path: Path, script: Any, make_store: MakeStore, tamper: Callable[..., None]
) -> None:
    """An event, a second or a word that is not what the rules say is reported with its second."""
    store = make_store(path)
    for batch in [script.second(checkpoint=True), *[script.second(down=["main"]) for _ in range(4)], script.second()]:
        store.append(batch)
    store.close()
    first = script.steps[0].second
    tamper(
        "DELETE FROM event",
        f"DELETE FROM verdict WHERE second = {first + 4} AND target = 'other'",  # noqa: S608
        f"UPDATE attempt SET fault = 'weather' WHERE second = {first + 5} AND target = 'main' AND surface = 'api'",  # noqa: S608
    )
    found = [str(difference) for difference in recovered(make_store(path), script.terms).differences]

    assert f"main event {first + 3}: stored no event, the rules say" in found[0]
    assert found[1].startswith(f"main record {first + 5}: stored batch 6 #0 cannot be read: 'weather'")
    assert any("1 s are missing" in text for text in found)


def test_an_unreadable_checkpoint_is_reported_and_done_without(
    kept: Path, script: Any, make_store: MakeStore, tamper: Callable[..., None]
) -> None:
    """A checkpoint that makes no sense costs a longer replay, not the state."""
    tamper("UPDATE state SET body = '{}' WHERE target = 'main'")
    recovery = recovered(make_store(kept), script.terms)

    assert recovery.states == script.states
    assert any("checkpoint main" in problem for problem in recovery.problems)


def test_changed_terms_are_no_tampering(kept: Path, script: Any, make_store: MakeStore) -> None:
    """Stored seconds are judged by the terms stored with them; new terms count from the next second on."""
    store = make_store(kept)
    other = replace(script.terms["main"], persistence=Persistence(unavailable_seconds=1, window_seconds=1))
    script.terms = dict.fromkeys(script.terms, other)
    assert recovered(store, script.terms).differences == ()
    store.append(script.second())
    store.append(script.second(down=["main"]))
    recovery = recovered(store, script.terms)

    assert recovery.differences == ()
    assert recovery.states == script.states
    assert recovery.states["main"].open_issue is not None
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM rules").fetchone() == (4,)


def test_what_if_lists_what_other_terms_would_have_said(kept: Path, script: Any) -> None:
    """The same terms differ in nothing; stricter ones open the issue at another second."""
    first, last = script.steps[0].second, script.steps[-1].second
    terms = script.terms["main"]
    stricter = replace(terms, persistence=replace(terms.persistence, unavailable_seconds=2))

    assert what_if(str(kept), first, last, "main", terms) == ()
    differences = what_if(str(kept), first, last, "main", stricter)
    assert [(difference.what, difference.second - first) for difference in differences] == [("event", 3), ("event", 4)]
    assert differences[1].found == "no event"
    assert what_if(str(kept), first, last, "other", stricter) == ()


def test_a_crash_at_every_call_leaves_a_sound_ledger(tmp_path: Path, make_script: Any, make_store: MakeStore) -> None:
    """Wherever the process ends: what was told is kept, the replay agrees, and the run can be gone on with."""
    start(tmp_path, "sweep", tmp_path).wait(60)
    ledgers = sorted(tmp_path.glob("*.db"))
    ends = set()
    for path in ledgers:
        ends.add(check_and_go_on(path, make_script, make_store))

    assert len(ledgers) > 60
    # Crashes before the first batch, after each of them, and during the cut were all among them.
    assert set(range(6)) <= ends


def test_a_killed_writer_leaves_a_sound_ledger(tmp_path: Path, make_script: Any, make_store: MakeStore) -> None:
    """SIGKILL in the middle of writing loses nothing that was told, and leaves no lock; until then nobody gets in."""
    path = tmp_path / "ledger.db"
    process = start(tmp_path, "forever", path)
    told = path.with_suffix(".told")
    deadline_s = time.monotonic() + 20
    while not (told.exists() and told.read_text().count("\n") > 25):
        assert process.poll() is None
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    with pytest.raises(LedgerUnwritable, match=rf"another sev1probe \(pid {process.pid}\) is using this ledger"):
        make_store(path)
    process.send_signal(signal.SIGKILL)
    process.wait(10)

    assert check_and_go_on(path, make_script, make_store, ["main", "other"]) >= 25


def start(folder: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """Start the program that dies."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(CRASH_RUN.parent)])}
    command = [sys.executable, str(CRASH_RUN), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, cwd=folder)


def check_and_go_on(path: Path, make_script: Any, make_store: MakeStore, targets: Any = ("main",)) -> int:
    """Check a ledger that was left behind, go on with it as after a restart, and tell its head at the crash."""
    script = make_script(targets)
    store = make_store(path)
    head = store.head
    assert_told_is_kept(path, head.seq)
    recovery = recovered(store, script.terms)
    assert (recovery.differences, recovery.problems) == ((), ())
    script.states.update(recovery.states)
    store.append(script.away(5))
    store.append(script.second(checkpoint=True))
    # In one connection: an engine of its own for each reading would take most of the time.
    with store.transaction() as connection:
        assert walk(connection).problems == ()
        assert_no_hole(connection, script)
    store.close()
    return head.seq


def assert_told_is_kept(path: Path, head_seq: int) -> None:
    """Every batch that was told is in the ledger as told, unless retention has cut it since."""
    told = path.with_suffix(".told")
    lines = [line.split() for line in told.read_text().splitlines()] if told.exists() else []
    with closing(sqlite3.connect(path)) as connection:
        kept = dict(connection.execute("SELECT seq, digest FROM batch").fetchall())
        cut = connection.execute("SELECT coalesce(max(through), 0) FROM cut WHERE kind = 'verdicts'").fetchone()[0]
    for seq, digest, _ in lines:
        assert int(seq) <= head_seq
        assert int(seq) <= cut or kept[int(seq)] == digest


def assert_no_hole(connection: Connection, script: Any) -> None:
    """Every second from the oldest that is left to the newest has exactly one verdict for each target and surface."""
    last = script.next_second - 1
    rows = [row for row in rows_of(connection, last - 300, last) if row["type"] == "second"]
    places = [(row["second"], row["target"], row["surface"]) for row in rows]
    first = int(str(places[0][0]))

    assert len(places) == len(set(places)) == (last - first + 1) * len(script.terms) * 2
