"""What the ledger keeps beside the seconds, and what a corroborated verdict rests on."""

import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread
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
    Remark,
    Statement,
    Surface,
    Synchronisation,
)
from probe.ledger import LedgerError, RemarkKind, propose, remarks_of, verify
from probe.ledger.records import Batch
from probe.ledger.recover import recover_from
from probe.ledger.remarks import Proposal
from probe.ledger.store import Store

OLD_LEDGER = Path(__file__).parents[2] / "data" / "ledger" / "schema_0001.sql"
MakeStore = Callable[..., Store]
SECOND = 1_764_000_100
AMENDMENT = Amendment(
    amendment="a1",
    target="main",
    surface="",
    first_second=SECOND,
    last_second=SECOND + 600,
    exclusion=Exclusion.PLANNED_MAINTENANCE,
    reason="announced on 20 November",
    author="nina",
    added_us=1_764_100_000_000_000,
)
REMARKS: tuple[tuple[RemarkKind, Remark], ...] = (
    (RemarkKind.AMENDMENT, AMENDMENT),
    (
        RemarkKind.STATEMENT,
        Statement(
            source="status/summary",
            second=SECOND,
            fetched_us=SECOND * 1_000_000,
            code=200,
            trouble="",
            digest="ab" * 32,
            body='{"status": "naïve €, \\u0000 \ud800"}',
        ),
    ),
    (
        RemarkKind.CLOCK,
        ClockState(
            second=SECOND,
            read_us=SECOND * 1_000_000,
            synchronisation=Synchronisation.UNSYNCHRONISED,
            estimated_error_us=1,
            maximum_error_us=2,
            ahead_us=-3,
        ),
    ),
    (
        RemarkKind.CONDITION,
        Condition(
            condition="blind",
            target="main",
            since_second=SECOND,
            noticed_second=SECOND + 30,
            raised=True,
            words="the ledger's queue was full",
        ),
    ),
    (
        RemarkKind.LAPSE,
        Lapse(
            target="main",
            issue="main-a",
            obligation="call_back",
            owed_by=Party.PROVIDER,
            due_us=SECOND * 1_000_000,
            noticed_us=SECOND * 1_000_000 + 1,
            raised=True,
            words="the record has none",
        ),
    ),
)


@pytest.mark.parametrize(("kind", "remark"), REMARKS)
def test_a_remark_comes_back_as_it_was_kept(
    path: Path, make_store: MakeStore, kind: RemarkKind, remark: Remark
) -> None:
    """Every kind is sealed in the chain and read back whole."""
    make_store(path).append(Batch(remarks=(remark,)))

    assert remarks_of(str(path), kind) == (remark,)
    assert verify(str(path)).sound
    assert verify(str(path)).records == 1


def test_a_corroborated_verdict_carries_the_rule_and_its_controls(
    path: Path, script: Any, make_store: MakeStore
) -> None:
    """A third party needs nothing but the verdict's own row; every other verdict carries nothing."""
    script.fault = (Fault.NETWORK, Cause.REFUSED)
    store = make_store(path)
    store.append(script.second(down=["main"]))

    with closing(sqlite3.connect(path)) as connection:
        rows = dict(connection.execute("SELECT target || ' ' || surface, evidence FROM verdict").fetchall())
    evidence = json.loads(rows["main api"])
    assert "at least one trusted control of the same second worked" in evidence["rule"]
    assert [control["control"] for control in evidence["controls"]] == ["gateway", "resolver"]
    assert rows["other api"] is None


def test_what_a_verdict_rests_on_is_replayed_from_the_record(path: Path, script: Any, make_store: MakeStore) -> None:
    """A restart judges again from the stored controls, their trust included, and finds the same evidence."""
    script.fault = (Fault.NETWORK, Cause.REFUSED)
    store = make_store(path)
    for batch in (script.second(), script.second(down=["main"]), script.second()):
        store.append(batch)
    store.close()

    recovery = recover_from(str(path), script.terms, check_chain=True)
    assert recovery.differences == ()
    assert set(recovery.control_records) == {"gateway", "resolver"}

    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE control SET trusted = 0")
    differences = [
        str(difference) for difference in recover_from(str(path), script.terms, check_chain=False).differences
    ]
    assert any(
        "stored unavailable (corroborated)" in found and "by the word of gateway" in found for found in differences
    )


def test_a_suspicion_is_kept_when_it_is_told(path: Path, script: Any, make_store: MakeStore) -> None:
    """A run of refused credentials between two acceptances lies in the ledger for humans to decide on."""
    store = make_store(path)
    store.append(script.second())
    script.fault = (Fault.CLIENT, Cause.CREDENTIALS)
    store.append(script.second(down=["main"]))
    store.append(script.second())

    found = remarks_of(str(path), RemarkKind.SUSPICION)
    assert [(one.target, one.surface, one.seconds) for one in found] == [
        ("main", Surface.API, 1),
        ("main", Surface.SMTP, 1),
    ]
    assert verify(str(path)).sound


# What others ask the one writer to keep.


def test_without_a_daemon_a_proposal_is_sealed_at_once(kept: Path) -> None:
    """The proposer takes the right to write for a moment."""
    before = verify(str(kept))

    assert propose(str(kept), AMENDMENT) == before.head_seq + 1
    assert remarks_of(str(kept), RemarkKind.AMENDMENT) == (AMENDMENT,)
    assert verify(str(kept)).sound


def test_beside_a_daemon_a_proposal_is_sealed_by_the_one_who_writes(kept: Path, make_store: MakeStore) -> None:
    """The proposer waits until the daemon has looked into the inbox; the daemon's chain goes on unbroken."""
    store = make_store(kept)
    sealed: list[int | None] = []
    proposing = Thread(target=lambda: sealed.append(propose(str(kept), AMENDMENT, wait_s=20)))
    proposing.start()
    taken: tuple[Proposal, ...] = ()
    until_s = time.monotonic() + 20
    while not taken and proposing.is_alive():
        assert time.monotonic() < until_s
        taken = store.take_inbox()
        time.sleep(0.05)  # The daemon, too, leaves the ledger to others in between.
    proposing.join()

    assert taken == (AMENDMENT,)
    assert sealed == [store.head.seq]
    assert store.take_inbox() == ()
    assert verify(str(kept)).sound


def test_a_proposal_that_nobody_takes_waits_in_the_inbox(kept: Path, make_store: MakeStore) -> None:
    """A daemon that is too busy to look costs nobody the proposal: it is sealed later."""
    store = make_store(kept)

    assert propose(str(kept), AMENDMENT, wait_s=0) is None
    store.close()
    assert propose(str(kept), replace(AMENDMENT, amendment="a2")) is not None
    assert [one.amendment for one in remarks_of(str(kept), RemarkKind.AMENDMENT)] == ["a1", "a2"]


def test_the_same_amendment_is_not_proposed_twice(kept: Path, make_store: MakeStore) -> None:
    """The second one is refused in words."""
    store = make_store(kept)
    assert propose(str(kept), AMENDMENT, wait_s=0) is None

    with pytest.raises(LedgerError, match="amendment a1 is proposed already"):
        propose(str(kept), AMENDMENT, wait_s=0)
    store.close()


def test_nonsense_in_the_inbox_holds_up_nothing(kept: Path, make_store: MakeStore) -> None:
    """What is no proposal of this program is left lying; true ones behind it are taken."""
    store = make_store(kept)
    with closing(sqlite3.connect(kept)) as connection, connection:
        connection.execute(
            "INSERT INTO inbox (id, kind, body, proposed_us)"
            " VALUES ('a0', 'amendment', '{}', 0), ('a00', 'gossip', 'x', 0), ('a01', 'happening', '[]', 0)"
        )
    assert propose(str(kept), AMENDMENT, wait_s=0) is None

    assert store.take_inbox() == (AMENDMENT,)


@pytest.mark.parametrize(
    "change", [{"target": "\ud800"}, {"target": "main\0"}, {"first_second": 2**70, "last_second": 2**70}]
)
def test_an_amendment_that_no_database_can_keep_holds_up_nothing(
    kept: Path, make_store: MakeStore, change: dict[str, Any]
) -> None:
    """It is refused in words, and what is proposed behind it is sealed."""
    store = make_store(kept)
    assert propose(str(kept), replace(AMENDMENT, amendment="0", **change), wait_s=0) is None
    assert propose(str(kept), AMENDMENT, wait_s=0) is None
    assert store.take_inbox() == (AMENDMENT,)
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT id, refusal FROM inbox").fetchall() == [
            ("0", "there is no such target or no such window")
        ]


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.touch()])
def test_a_ledger_that_is_none_cannot_be_amended(path: Path, make: Callable[[Path], None]) -> None:
    """A path that was mistyped makes no new ledger."""
    make(path)

    with pytest.raises(LedgerError, match=str(path)):
        propose(str(path), AMENDMENT)
    assert not path.exists() or not path.stat().st_size


# A ledger of the first schema.


@pytest.fixture
def old(path: Path) -> Path:
    """Make a ledger that the first released schema was written with."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLD_LEDGER.read_text())
    return path


def test_an_old_ledger_is_brought_up_and_stays_sound(old: Path, make_script: Any, make_store: MakeStore) -> None:
    """Every seal of the first schema holds after the migration, and the chain goes on in the new format."""
    with pytest.raises(LedgerError, match="older schema 0001"):
        verify(str(old))
    store = make_store(old)
    old_head = store.head

    script = make_script(["main"])
    for _ in range(60):
        batch = script.second()
    store.append(batch)

    report = verify(str(old))
    assert report.problems == ()
    assert (old_head.seq, report.head_seq) == (13, 14)
    assert old_head.digest.startswith("76a6750370416024")


def test_an_old_ledger_recovers_without_a_difference(old: Path, make_script: Any, make_store: MakeStore) -> None:
    """Its checkpoints are read, and its verdicts are not held against younger rules."""
    make_store(old).close()

    recovery = recover_from(str(old), make_script(["main"]).terms, check_chain=True)

    assert (recovery.problems, recovery.differences) == ((), ())
    assert recovery.states["main"].next_second == 1_764_000_042
