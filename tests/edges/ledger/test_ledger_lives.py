"""Lives in the ledger: proposed by people, decided by the writer, and what each of two who act at once gets to hear."""

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

from probe import clock
from probe.core.happenings import Act, Happening, Party, Stage, named
from probe.core.lives import Life, distinct
from probe.core.procedure import Refused
from probe.ledger import LedgerError, RemarkKind, lives_in, propose, remarks_of, verify
from probe.ledger.remarks import body_of
from probe.ledger.store import Store

MakeStore = Callable[..., Store]
NOW_US = 1_764_100_000_000_000


@pytest.fixture
def issue(kept: Path) -> Life:
    """Give the one issue of the script: opened, and restored."""
    (life,) = distinct(lives_in(str(kept))["main"])
    return life


@pytest.fixture
def tell(issue: Life) -> Callable[..., Happening]:
    """Give the maker of what people tell."""

    def make(act: Act, *, later_s: int = 0, **more: Any) -> Happening:
        at_us = NOW_US + later_s * 1_000_000
        fields = {"at_us": at_us, "recorded_us": at_us, "actor": "nina", "words": "so it was", **more}
        return named(Happening(target="main", issue=issue.issue, act=act, **fields))

    return make


Tell = Callable[..., Happening]


def now(kept: Path) -> Life:
    """Read the issue again."""
    (life,) = distinct(lives_in(str(kept), "main")["main"])
    return life


def test_a_life_is_read_from_the_turns_and_what_was_told(kept: Path, issue: Life, tell: Tell) -> None:
    """Each happening is sealed in the chain, and the state is the fold of all."""
    assert issue.procedure.stage is Stage.RESTORED
    told = [tell(Act.LINE_CALLED, spoken_to="Ana"), *[tell(Act.AGREED, party=party) for party in Party]]
    for happening in told:
        assert propose(str(kept), happening) == verify(str(kept)).head_seq

    life = now(kept)
    assert (life.procedure.stage, life.procedure.revision) == (Stage.RESOLVED, 5)
    assert [*life.happenings[2:]] == told
    assert remarks_of(str(kept), RemarkKind.HAPPENING) == tuple(told)
    assert verify(str(kept)).sound


def test_what_is_refused_changes_nothing(kept: Path, tell: Tell) -> None:
    """The proposer hears why, the chain has no new batch, and the inbox is empty again."""
    before = verify(str(kept))
    for refused, why in (
        (tell(Act.CALLED_BACK), "nobody has called the provider"),
        (replace(tell(Act.LINE_CALLED), issue="other-1"), "the record knows no issue other-1 of main"),
        (replace(tell(Act.LINE_CALLED), target="other"), "knows no issue main-.* of other"),
        (replace(tell(Act.LINE_CALLED), target="\ud800\0"), "knows no issue"),
        (tell(Act.LINE_CALLED, recorded_us=2**70), "at a time that has not come yet"),
        (tell(Act.LINE_CALLED, at_us=-(2**70)), "before .* began"),
        (tell(Act.RESTORED), "nobody can tell it"),
    ):
        with pytest.raises(Refused, match=why):
            propose(str(kept), refused)
    assert verify(str(kept)) == before
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM inbox").fetchone() == (0,)


def test_of_two_at_once_the_second_is_judged_by_what_the_first_did(
    kept: Path, make_store: MakeStore, tell: Tell
) -> None:
    """Both lie in the inbox when the writer looks; one is sealed, the other one hears that it is done."""
    store = make_store(kept, wall_us=clock.wall_us)
    ended: dict[str, object] = {}

    def act(who: str) -> None:
        try:
            ended[who] = propose(str(kept), tell(Act.AGREED, party=Party.CUSTOMER, actor=who), wait_s=20)
        except Refused as refusal:
            ended[who] = str(refusal)

    proposing = [Thread(target=act, args=(who,)) for who in ("nina", "otto")]
    for thread in proposing:
        thread.start()
    waiting, until_s = 0, time.monotonic() + 20
    while waiting < 2:
        assert time.monotonic() < until_s, f"{waiting} of two proposals came"
        time.sleep(0.01)
        with closing(sqlite3.connect(kept)) as connection:
            (waiting,) = connection.execute("SELECT count(*) FROM inbox").fetchone()
    (sealed,) = store.take_inbox()
    for thread in proposing:
        thread.join()

    assert isinstance(sealed, Happening)
    loser = next(who for who in ended if who != sealed.actor)
    assert ended[sealed.actor] == store.head.seq
    assert "the customer has agreed already" in str(ended[loser])
    assert now(kept).procedure.revision == 3


def test_who_insists_on_what_he_saw_is_refused_when_it_has_changed(kept: Path, issue: Life, tell: Tell) -> None:
    """A revision that is named is compared by the writer, not by the proposer."""
    seen = issue.procedure.revision
    assert propose(str(kept), tell(Act.UPDATED, seen_revision=seen))
    with pytest.raises(Refused, match=f"is at revision {seen + 1} by now, not at {seen}"):
        propose(str(kept), tell(Act.UPDATED, later_s=1, seen_revision=seen))


def test_the_same_happening_is_sealed_once(kept: Path, tell: Tell) -> None:
    """Whoever proposes it again hears that it is there."""
    called = tell(Act.LINE_CALLED)
    propose(str(kept), called)
    with pytest.raises(Refused, match="is recorded already"):
        propose(str(kept), called)


@pytest.mark.parametrize(
    "change",
    [{"at_us": "now"}, {"party": "nobody"}, {"act": "danced"}, {"words": None}, {"words": 3}, {"extra": 1}],
)
def test_nonsense_happenings_hold_up_nothing(
    kept: Path, make_store: MakeStore, tell: Tell, change: dict[str, Any]
) -> None:
    """A process that writes what is none into the inbox stops nobody else."""
    store = make_store(kept, wall_us=clock.wall_us)
    body = json.dumps(json.loads(body_of(tell(Act.LINE_CALLED))) | change)
    with closing(sqlite3.connect(kept)) as connection, connection:
        connection.execute(
            "INSERT INTO inbox (id, kind, body, proposed_us) VALUES ('a', 'happening', ?, 0), ('b', 'clock', '{}', 0)",
            (body,),
        )
    good = tell(Act.UPDATED)
    assert propose(str(kept), good, wait_s=0) is None
    assert store.take_inbox() == (good,)


def test_refusals_that_nobody_reads_are_forgotten(kept: Path, tell: Tell, make_store: MakeStore) -> None:
    """A proposer that never came back leaves nothing for ever."""
    clock_us = [2_000_000_000_000_000]
    store = make_store(kept, wall_us=lambda: clock_us[0])
    assert propose(str(kept), tell(Act.CALLED_BACK), wait_s=0) is None
    assert store.take_inbox() == ()
    clock_us[0] *= 2
    assert store.take_inbox() == ()
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM inbox").fetchone() == (0,)


def test_an_issue_of_a_ledger_that_is_none_is_an_error_in_words(path: Path) -> None:
    """A path that was mistyped is named."""
    with pytest.raises(LedgerError, match=str(path)):
        lives_in(str(path))
