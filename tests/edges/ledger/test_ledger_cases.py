"""Support Cases in the ledger: proposed by people, decided by the writer, sealed in the chain, exported."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from probe import clock
from probe.core.case_happenings import CaseAct, CaseHappening, CaseKind, CaseStage, Way, named_case
from probe.core.procedure import Refused
from probe.ledger import LedgerError, RemarkKind, cases_in, export_rows, propose, remarks_of, verify
from probe.ledger.export_remarks import REMARK_FIELDS
from probe.ledger.remarks import body_of
from probe.ledger.store import Store

MakeStore = Callable[..., Store]
NOW_US = 1_764_100_000_000_000
OPENED = named_case(
    CaseHappening(
        target="main",
        act=CaseAct.OPENED,
        at_us=NOW_US,
        recorded_us=NOW_US,
        actor="nina",
        kind=CaseKind.CONFIGURATION_REQUEST,
        title="more connections",
        words="Größer, bitte",
    )
)


def told(act: CaseAct, **more: Any) -> CaseHappening:
    """Make what happens in that case, a second later."""
    fields = {"at_us": NOW_US + 10**6, "recorded_us": NOW_US + 10**6, "actor": "nina", **more}
    return named_case(CaseHappening(**{"case": OPENED.case, "target": "main", "act": act, **fields}))


SUBMITTED = told(CaseAct.SUBMITTED, way=Way.DASHBOARD, reference="4711")


def test_a_case_is_sealed_read_back_and_exported(kept: Path) -> None:
    """What was told is in the chain, the case is the fold of it, and the export has a row for each."""
    for happening in (OPENED, SUBMITTED):
        assert propose(str(kept), happening) == verify(str(kept)).head_seq
    assert verify(str(kept)).sound
    (case,) = cases_in(str(kept)).values()
    assert (case.stage, case.happenings) == (CaseStage.SUBMITTED, (OPENED, SUBMITTED))
    assert remarks_of(str(kept), RemarkKind.CASE) == (OPENED, SUBMITTED)
    rows = [row for row in export_rows(str(kept), NOW_US // 10**6, 2**40, "main") if row["type"] == "case"]
    assert [row["act"] for row in rows] == ["opened", "submitted"]
    assert (rows[0]["kind"], rows[0]["way"], rows[1]["kind"], rows[1]["way"]) == (
        "configuration_request", "", "", "dashboard",
    )  # fmt: skip
    assert tuple(rows[0])[2:] == REMARK_FIELDS[RemarkKind.CASE]


def test_what_is_refused_changes_nothing(kept: Path) -> None:
    """The proposer hears why, the chain has no new batch, and the inbox is empty again."""
    before = verify(str(kept))
    for refused, why in (
        (SUBMITTED, "the record knows no case"),
        (replace(OPENED, title=""), "its kind and a title"),
        (replace(OPENED, target="\ud800\0"), "control character"),
        (replace(OPENED, recorded_us=2**70), "at a time that has not come yet"),
        (replace(OPENED, case="../../etc"), "not named as cases are"),
    ):
        with pytest.raises(Refused, match=why):
            propose(str(kept), refused)
    assert verify(str(kept)) == before
    assert cases_in(str(kept)) == {}
    with closing(sqlite3.connect(kept)) as connection:
        assert connection.execute("SELECT count(*) FROM inbox").fetchone() == (0,)


def test_of_two_submissions_at_once_the_second_sees_the_first(kept: Path, make_store: MakeStore) -> None:
    """Both lie in the inbox when the writer looks, and one is refused."""
    propose(str(kept), OPENED)
    store = make_store(kept, wall_us=clock.wall_us)
    other = told(CaseAct.SUBMITTED, way=Way.MAIL, reference="<a@b>", actor="otto")
    assert propose(str(kept), SUBMITTED, wait_s=0) is None
    assert propose(str(kept), other, wait_s=0) is None
    assert store.take_inbox() == (SUBMITTED,)
    with closing(sqlite3.connect(kept)) as connection:
        ((refusal,),) = connection.execute("SELECT refusal FROM inbox").fetchall()
    assert "is submitted already, as 4711" in refusal


@pytest.mark.parametrize("change", [{"kind": "wish"}, {"way": "pigeon"}, {"title": None}, {"at_us": "now"}, {"x": 1}])
def test_nonsense_cases_hold_up_nothing(kept: Path, make_store: MakeStore, change: dict[str, Any]) -> None:
    """A process that writes what is none into the inbox stops nobody else."""
    store = make_store(kept, wall_us=clock.wall_us)
    body = json.dumps(json.loads(body_of(OPENED)) | change)
    with closing(sqlite3.connect(kept)) as connection, connection:
        connection.execute("INSERT INTO inbox (id, kind, body, proposed_us) VALUES ('a', 'case', ?, 0)", (body,))
    assert propose(str(kept), OPENED, wait_s=0) is None
    assert store.take_inbox() == (OPENED,)


def test_cases_of_a_ledger_that_is_none_are_an_error_in_words(path: Path) -> None:
    """A path that was mistyped is named."""
    with pytest.raises(LedgerError, match=str(path)):
        cases_in(str(path))
