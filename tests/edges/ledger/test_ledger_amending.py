"""What the daemon itself adds: looked at, decided and kept in one transaction."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from probe.core.model import Amendment, Exclusion, IssueTurn
from probe.ledger import Ledger, LedgerError, LedgerUnwritable, RemarkKind, propose, remarks_of, turns_of, verify
from probe.ledger.amending import amend
from probe.ledger.store import Store

MakeStore = Callable[..., Store]
SECOND = 1_764_000_100
AMENDMENT = Amendment(
    amendment="a1",
    target="main",
    surface="",
    first_second=SECOND,
    last_second=SECOND + 600,
    exclusion=Exclusion.PLANNED_MAINTENANCE,
    reason="announced",
    author="nina",
    added_us=1_764_100_000_000_000,
)


def add(known: tuple[Amendment, ...]) -> Amendment:
    """Add one that is named by how many there are."""
    return replace(AMENDMENT, amendment=f"a{len(known)}")


def test_what_is_decided_is_sealed(path: Path, script: Any, make_store: MakeStore) -> None:
    """Each decision sees all that were kept before it, and the seconds go on in the same chain."""
    store = make_store(path)
    store.append(script.second())
    assert [amend(store, add).amendment for _ in range(3)] == ["a0", "a1", "a2"]
    store.append(script.second())
    assert [one.amendment for one in remarks_of(str(path), RemarkKind.AMENDMENT)] == ["a0", "a1", "a2"]
    report = verify(str(path))
    assert (report.sound, report.batches) == (True, 5)


def test_a_refusal_keeps_nothing_and_the_connection_stays(path: Path, script: Any, make_store: MakeStore) -> None:
    """What the decision raises comes through, and the next batch needs no new connection."""
    store = make_store(path)
    store.append(script.second())
    connections: list[object] = []
    event.listen(store.engine, "connect", lambda *_: connections.append(1))

    def refuse(known: tuple[Amendment, ...]) -> Amendment:
        raise ValueError("not so")

    with pytest.raises(ValueError, match="not so"):
        amend(store, refuse)
    store.append(script.second())
    assert connections == []
    assert remarks_of(str(path), RemarkKind.AMENDMENT) == ()
    assert verify(str(path)).batches == 2


def test_a_decision_sees_what_others_proposed(path: Path, script: Any, make_store: MakeStore) -> None:
    """Once the inbox is taken; between looking and keeping nobody comes in."""
    store = make_store(path)
    store.append(script.second())
    propose(str(path), AMENDMENT, wait_s=0)
    assert store.take_inbox() == (AMENDMENT,)
    seen: list[tuple[Amendment, ...]] = []

    def look(known: tuple[Amendment, ...]) -> Amendment:
        seen.append(known)
        return add(known)

    amend(store, look)
    assert seen == [(AMENDMENT,)]


def test_an_amendment_whose_commit_ended_in_doubt_is_kept_once(
    path: Path, script: Any, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller hears that it is not known to be kept; the next batch stands on top of what is."""
    store = make_store(path)
    store.append(script.second())

    def lose_the_answer() -> None:
        raise LedgerUnwritable("the answer was lost")

    with monkeypatch.context() as patch:
        patch.setattr(store, "batch_is_kept", lose_the_answer)
        with pytest.raises(LedgerUnwritable):
            amend(store, add)
    store.append(script.second())
    assert [one.amendment for one in remarks_of(str(path), RemarkKind.AMENDMENT)] == ["a0"]
    assert verify(str(path)).sound


async def test_the_daemons_ledger_amends_in_its_writers_thread(path: Path) -> None:
    """What is decided comes back, and what is refused is raised."""
    async with Ledger(str(path), "here") as ledger:
        assert (await ledger.amend(add)).amendment == "a0"
        with pytest.raises(ZeroDivisionError):
            await ledger.amend(lambda known: known[1 // 0])


def test_turns_are_read_in_order(kept: Path) -> None:
    """All of them, one target's, one issue's, or the newest."""
    turns = turns_of(str(kept))
    assert {turn.turn for turn in turns} == {IssueTurn.OPENED, IssueTurn.RESTORED}
    assert list(turns) == sorted(turns, key=lambda turn: turn.noticed_second)
    target = turns[0].target
    assert turns_of(str(kept), target=target) == tuple(turn for turn in turns if turn.target == target)
    assert turns_of(str(kept), issue=turns[0].issue)[0] == turns[0]
    assert turns_of(str(kept), target="none") == ()
    assert turns_of(str(kept), turns_max=1) == turns[-1:]


def test_turns_of_no_ledger_are_one_sentence(tmp_path: Path) -> None:
    """The sentence names the file."""
    with pytest.raises(LedgerError, match="there is no such file"):
        turns_of(str(tmp_path / "none.sqlite3"))
