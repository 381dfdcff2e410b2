"""The same code keeps, verifies, cuts, recovers and exports a ledger on a real PostgreSQL."""

import importlib.util
import os
import shutil
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from alembic import command as alembic
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, insert

from probe import clock
from probe.core.case_happenings import CaseAct, CaseHappening, CaseKind, Cases, CaseStage, Way, named_case
from probe.core.happenings import Act, Happening, Party, Stage, named
from probe.core.lives import Life, Lives, distinct
from probe.core.model import Amendment, Condition, Exclusion, Statement
from probe.core.notices import LifeTurn, Place
from probe.core.procedure import Refused
from probe.ledger import (
    Batch,
    Ledger,
    LedgerError,
    LedgerRefused,
    LedgerUnwritable,
    RemarkKind,
    account_of,
    cases_in,
    evidence_of,
    export_rows,
    known_targets,
    lives_in,
    propose,
    remarks_of,
    statements_of,
    verify,
    what_if,
)
from probe.ledger.amending import tell, tell_case
from probe.ledger.connect import parse_address, reading_engine, writing_engine
from probe.ledger.migrate import MIGRATIONS
from probe.ledger.read import steps
from probe.ledger.recover import recover
from probe.ledger.retention import cut
from probe.ledger.store import Store
from probe.ledger.tables import metadata

OLD_LEDGER = Path(__file__).parents[2] / "data" / "ledger" / "schema_0001.sql"
NOW_US = 1_764_100_000_000_000
MakeStore = Callable[..., Store]


@pytest.fixture(scope="module")
def server(
    require_program: Callable[[str], str], free_port: Callable[[], int], do_without: Callable[[str], None]
) -> Iterator[str]:
    """Start a PostgreSQL of our own on loopback, as a user without rights, and give its URL."""
    if importlib.util.find_spec("psycopg") is None:
        do_without("needs psycopg (pip install 'sev1probe[postgres]')")
    initdb, pg_ctl = require_program("initdb"), require_program("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="sev1probe-pg-"))
    port = free_port()
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if user:
        shutil.chown(folder, "postgres", "postgres")
    data = folder / "data"

    def run(*command: str) -> None:
        subprocess.run([*user, *command], check=True, capture_output=True, cwd=folder)

    run(initdb, "--pgdata", str(data), "--auth=trust", "--username=probe", "--no-sync", "--encoding=UTF8")
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
    run(pg_ctl, "start", "--pgdata", str(data), "--wait", "--log", str(folder / "log"), "--options", options)
    yield f"postgresql://probe@127.0.0.1:{port}/postgres"
    run(pg_ctl, "stop", "--pgdata", str(data), "--mode=immediate")
    shutil.rmtree(folder)


@pytest.fixture
def address(server: str, request: pytest.FixtureRequest) -> str:
    """Give the address of a schema of the test's own."""
    name = f"t{abs(hash(request.node.name))}"
    engine = writing_engine(parse_address(server))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    return f"{server}?options=-csearch_path%3D{name}"


def test_a_story_is_kept_verified_recovered_and_exported(
    address: str, script: Any, make_store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What holds for SQLite holds here."""
    store = make_store(address)
    for batch in script.story():
        store.append(batch)
    engine = reading_engine(parse_address(address))
    with engine.connect() as connection, connection.begin():
        found = [stored.step for stored in steps(connection, 0, 2**40)]
        recovery = recover(connection, script.terms)
    first, last = script.steps[0].second, script.steps[-1].second

    assert found == sorted(script.steps, key=lambda step: (step.second, step.target))
    assert recovery.states == script.states
    assert (recovery.differences, recovery.problems) == ((), ())
    assert verify(address).problems == ()
    seconds = [row for row in export_rows(address, first, last, "main") if row["type"] == "second"]
    assert len(seconds) == 2 * (last - first + 1)
    assert what_if(address, first, last, "main", script.terms["main"]) == ()
    by_both = []
    for together_max in (8, 0):
        monkeypatch.setattr("probe.ledger.tallies.TARGETS_READ_TOGETHER_MAX", together_max)
        by_both.append(account_of(address, first, last, "main", (60, 300)))
    assert by_both[0] == by_both[1]
    assert {total.as_judged.recorded for total in by_both[0].tallies[0].totals} == {last - first + 1}
    assert {total.as_judged.unavailable for total in by_both[0].tallies[0].totals} == {4}
    assert {total.as_judged.any_literal for total in by_both[0].tallies[0].blocks} == {1}
    with pytest.raises(LedgerRefused):
        store.append(type(batch)(steps=batch.steps, controls=(), terms=batch.terms))
    store.append(script.second())


def test_a_cut_ledger_verifies(address: str, script: Any, make_store: Callable[[str], Store]) -> None:
    """Retention and the naming of what was altered work here too."""
    store = make_store(address)
    for _ in range(25):
        store.append(script.second(checkpoint=True))
        store.append(script.away(59))
    while not cut(store, ["main", "other"], script.next_second, 300, 600, 20).finished:
        assert verify(address).problems == ()
    with writing_engine(parse_address(address)).begin() as connection:
        connection.exec_driver_sql("UPDATE verdict SET accepted = 7 WHERE batch = 49 AND position = 2")

    assert verify(address).batches < 51
    assert verify(address).problems[0].endswith("(batch 49 #2): was altered")


def test_a_second_writer_is_refused(
    address: str, server: str, script: Any, make_store: Callable[[str], Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One schema has one writer; another schema's is another ledger, and whoever has ended lets the next one in."""
    monkeypatch.setattr("probe.ledger.lock.SERVER_LOCK_TIMEOUT", "50ms")
    store = make_store(address)
    with pytest.raises(LedgerUnwritable, match="another sev1probe is using this ledger"):
        make_store(address)
    make_store(server)
    store.append(script.second())
    store.close()

    assert make_store(address).append(script.second()).seq == 2


def test_the_migrations_make_the_tables_of_the_program(address: str, make_store: Callable[[str], Store]) -> None:
    """The schema is the same as the program's, by Alembic's own comparison."""
    with make_store(address).engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_server_that_is_away_is_named_without_its_password(free_port: Callable[[], int], server: str) -> None:
    """A refused connection is one sentence, and the password is not in it."""
    with pytest.raises(LedgerError, match=r"probe:\*\*\*@127\.0\.0\.1") as raised:
        verify(f"postgresql://probe:hunter2@127.0.0.1:{free_port()}/ledger")

    assert "hunter2" not in str(raised.value)
    assert server


# What people tell, and what is told to people.


@pytest.fixture
def peopled(address: str, script: Any, make_store: MakeStore) -> str:
    """Keep a story with an outage; nobody writes it any more."""
    store = make_store(address)
    for batch in script.story():
        store.append(batch)
    store.close()
    return address


def issue_of(address: str) -> Life:
    """Read the one issue."""
    (life,) = distinct(lives_in(address, "main")["main"])
    return life


def about(issue: str, act: Act, **more: Any) -> Happening:
    """Make what happens in an issue."""
    fields = {"at_us": NOW_US, "recorded_us": NOW_US, "actor": "nina", "words": "so it was", **more}
    return named(Happening(target="main", issue=issue, act=act, **fields))


OPENED = named_case(
    CaseHappening(
        target="main",
        act=CaseAct.OPENED,
        at_us=NOW_US,
        recorded_us=NOW_US,
        actor="nina",
        kind=CaseKind.SOFTWARE_BUG,
        title="421 now and then",
        words="Größer, bitte",
    )
)
WINDOW = Amendment(
    amendment="a1",
    target="main",
    surface="",
    first_second=1,
    last_second=2,
    exclusion=Exclusion.FORCE_MAJEURE,
    reason="flood",
    author="nina",
    added_us=NOW_US,
)
SUBMITTED = named_case(
    replace(
        OPENED, happening="", case=OPENED.case, act=CaseAct.SUBMITTED, kind=None, title="", words="",
        way=Way.DASHBOARD, reference="4711",
    )
)  # fmt: skip


def test_what_people_tell_is_decided_and_sealed(peopled: str) -> None:
    """Lives and cases are the fold of what was told; what is refused changes nothing and is not left lying."""
    issue = issue_of(peopled).issue
    told = [about(issue, Act.LINE_CALLED, spoken_to="Ana"), *[about(issue, Act.AGREED, party=party) for party in Party]]
    proposals: tuple[Happening | CaseHappening, ...] = (*told, OPENED, SUBMITTED)
    for proposal in proposals:
        assert propose(peopled, proposal) == verify(peopled).head_seq
    assert issue_of(peopled).procedure.stage is Stage.RESOLVED
    (case,) = cases_in(peopled).values()
    assert (case.stage, case.happenings) == (CaseStage.SUBMITTED, (OPENED, SUBMITTED))
    assert remarks_of(peopled, RemarkKind.HAPPENING) == tuple(told)
    before = verify(peopled)
    assert before.sound

    refusals: tuple[tuple[Amendment | Happening | CaseHappening, str], ...] = (
        (about(issue, Act.UPDATED), "resolved, as both sides agreed"),
        (about(issue, Act.UPDATED, words="\0"), "resolved|control character"),
        (replace(about(issue, Act.UPDATED), target="\ud800\0"), "knows no issue"),
        (replace(OPENED, happening="x", target="\ud800\0"), "control character"),
        (SUBMITTED, "is recorded already"),
        (replace(WINDOW, target="main\0"), "no such target"),
        (replace(WINDOW, last_second=2**70), "no such window"),
    )
    for refused, why in refusals:
        with pytest.raises(Refused, match=why):
            propose(peopled, refused)
    assert verify(peopled) == before
    with reading_engine(parse_address(peopled)).connect() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM inbox").scalar() == 0
    types = [row["type"] for row in export_rows(peopled, 0, 2**40, "main")]
    assert (types.count("happening"), types.count("case")) == (3, 2)


def test_of_two_at_once_the_writer_decides(
    peopled: str, make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both lie in the inbox when the one who writes looks; one is sealed, the other one hears that it is done."""
    monkeypatch.setattr("probe.ledger.lock.SERVER_LOCK_TIMEOUT", "10ms")
    issue = issue_of(peopled)
    store = make_store(peopled, wall_us=clock.wall_us)
    ended: dict[str, object] = {}

    def act(who: str) -> None:
        told = about(issue.issue, Act.AGREED, party=Party.CUSTOMER, actor=who, seen_revision=issue.procedure.revision)
        try:
            ended[who] = propose(peopled, told, wait_s=20)
        except Refused as refusal:
            ended[who] = str(refusal)

    proposing = [Thread(target=act, args=(who,)) for who in ("nina", "otto")]
    for thread in proposing:
        thread.start()
    waiting, until_s, engine = 0, time.monotonic() + 20, reading_engine(parse_address(peopled))
    while waiting < 2:
        assert time.monotonic() < until_s, f"{waiting} of two proposals came"
        time.sleep(0.01)
        with engine.connect() as connection:
            waiting = int(connection.exec_driver_sql("SELECT count(*) FROM inbox").scalar_one())
    (sealed,) = store.take_inbox()
    for thread in proposing:
        thread.join(20)

    assert isinstance(sealed, Happening)
    (loser,) = ended.keys() - {sealed.actor}
    assert ended[sealed.actor] == store.head.seq
    assert "somebody was faster" in str(ended[loser])


def test_the_writer_itself_tells_on_top_of_what_is_kept(peopled: str, script: Any, make_store: MakeStore) -> None:
    """As the API does it: what is decided is sealed, a refusal keeps nothing, and the seconds go on."""
    issue, store = issue_of(peopled).issue, make_store(peopled)
    called = about(issue, Act.LINE_CALLED)

    def call(lives: Mapping[str, Lives]) -> Happening:
        assert lives["main"][issue].procedure.revision == 2
        return called

    assert tell(store, call) is called
    assert tell_case(store, lambda cases: OPENED if not cases else SUBMITTED) is OPENED

    def refuse(cases: Cases) -> CaseHappening:
        raise Refused(f"there is {next(iter(cases))} already")

    with pytest.raises(Refused, match=OPENED.case):
        tell_case(store, refuse)
    for batch in script.story():
        store.append(batch)
    assert verify(peopled).sound
    assert [life.procedure.revision for life in distinct(lives_in(peopled)["main"])] == [5]


def test_what_a_call_sheet_is_made_of_is_read(peopled: str, script: Any, make_store: MakeStore) -> None:
    """The evidence of the outage, and what the provider's page said."""
    said = Statement(
        source="provider/summary", second=script.next_second, fetched_us=NOW_US, code=200, trouble="", digest="d",
        body='{"status": {"description": "naïve \U0001f4a9"}}',
    )  # fmt: skip
    make_store(peopled).append(Batch(remarks=(said,)))
    evidence = evidence_of(peopled, "main", script.steps[0].second, script.next_second)
    assert evidence is not None
    assert (evidence.unavailable, len(evidence.samples) > 0) == (4, True)
    assert evidence_of(peopled, "third", 0, 10) is None
    assert statements_of(peopled, script.next_second) == (said,)
    assert known_targets(peopled) == ("main", "other")


async def test_couriers_are_told_in_the_order_of_the_chain(address: str, script: Any) -> None:
    """Their places outlive a restart, and writing them leaves the chain alone."""
    blind = Condition(
        condition="blind", target="main", since_second=script.next_second, noticed_second=script.next_second + 31,
        raised=True, words="no second was judged",
    )  # fmt: skip
    async with Ledger(address, "vantage-1") as ledger:
        outbox = ledger.outbox()
        assert await outbox.enrol(()) == {}
        places = await outbox.enrol({"hook", "alerts"})
        for batch in script.story():
            await ledger.append(batch)
        await ledger.append(Batch(remarks=(blind,)))
        issue = issue_of(address).issue
        called = about(issue, Act.LINE_CALLED)
        await ledger.tell(lambda _: called)
        await ledger.tell_case(lambda _: OPENED)
        told, place = list[Any](), places["hook"]
        for left in (5, 4, 3, 2, 1):
            assert await outbox.count_after(place) == left
            ((place, turn),) = await outbox.after(place, 1)
            told.append(turn.what if isinstance(turn, LifeTurn) else turn)
        assert await outbox.after(place, 10) == ()
        await outbox.settle("hook", place)
        outbox.close()
    assert told[2:4] == [blind, called]
    assert told[4].what == OPENED
    async with Ledger(address, "vantage-1") as ledger:
        outbox = ledger.outbox()
        places = await outbox.enrol({"hook", "new"})
        assert places["hook"] == place
        assert [await outbox.count_after(places[name]) for name in ("hook", "new")] == [0, 0]
        assert await outbox.count_after(Place()) == 5
        outbox.close()
    assert verify(address).sound


@pytest.mark.parametrize("schema", ["0001", "0002"])
def test_an_old_ledger_is_brought_up_and_stays_sound(
    address: str, schema: str, make_script: Any, make_store: MakeStore
) -> None:
    """Every seal of an older schema holds after the migration, and the chain goes on in the new format."""
    keep_old_ledger(address, schema)
    with pytest.raises(LedgerError, match=f"older schema {schema}"):
        verify(address)
    store, script = make_store(address), make_script(["main"])
    for _ in range(60):
        batch = script.second()
    store.append(batch)
    assert tell_case(store, lambda _: OPENED) is OPENED
    with store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    report = verify(address)
    assert (report.problems, report.head_seq) == ((), 15)
    assert [*cases_in(address)] == [OPENED.case]


def keep_old_ledger(address: str, schema: str) -> None:
    """Fill the tables of the first schema with what a program of that time wrote, and go on to a later one."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with writing_engine(parse_address(address)).begin() as connection, closing(sqlite3.connect(":memory:")) as old:
        config.attributes["connection"] = connection
        alembic.upgrade(config, "0001")
        old.executescript(OLD_LEDGER.read_text())
        found = MetaData()
        found.reflect(connection)
        for table in found.sorted_tables:
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            rows = old.execute(f"SELECT {names} FROM {table.name}").fetchall()  # noqa: S608 - our own names
            if rows and table.name != "alembic_version":
                columns = [column.name for column in table.columns]
                connection.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in rows])
        alembic.upgrade(config, schema)
