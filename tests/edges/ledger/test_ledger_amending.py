"""What the daemon itself adds: looked at, decided and kept in one transaction."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from probe.core import lives as rules
from probe.core.happenings import Act, Happening, named
from probe.core.lives import Life, Lives, distinct
from probe.core.model import Amendment, Exclusion
from probe.core.procedure import Refused
from probe.ledger import Ledger, LedgerUnwritable, RemarkKind, propose, remarks_of, verify
from probe.ledger.amending import amend, tell
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


def test_what_happened_is_told_on_top_of_what_was_told(kept: Path, make_store: MakeStore) -> None:
    """Each decision sees the lives as they are; the one that is refused keeps nothing."""
    store = make_store(kept)
    issues: list[Life] = []

    def call(lives: Mapping[str, Lives]) -> Happening:
        issues[:] = [life for of_target in lives.values() for life in distinct(of_target)]
        life = issues[0]
        told = Happening(
            target=life.target,
            issue=life.issue,
            act=Act.LINE_CALLED,
            at_us=life.procedure.noticed_us,
            recorded_us=life.procedure.noticed_us + life.procedure.revision,
            actor="nina",
            seen_revision=2,
        )
        happening = named(told)
        rules.add(life, happening)
        return happening

    assert tell(store, call).act is Act.LINE_CALLED
    with pytest.raises(Refused):
        tell(store, call)
    assert [one.act for one in issues[0].happenings].count(Act.LINE_CALLED) == 1
    assert verify(str(kept)).sound
