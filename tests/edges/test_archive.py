"""The ledger as the API asks it."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from probe.archive import WAITING_MAX, Archive
from probe.clock import SystemClock
from probe.core.case_happenings import CaseAct, CaseHappening, CaseKind, Cases, CaseStage, Way, named_case
from probe.core.happenings import Happening
from probe.core.model import Amendment, Exclusion
from probe.ledger import Ledger
from probe.settings import load
from probe.sheets import Sheets
from probe.web import Unavailable

AMENDMENT = Amendment(
    amendment="a1",
    target="",
    surface="",
    first_second=1,
    last_second=2,
    exclusion=Exclusion.FORCE_MAJEURE,
    reason="flood",
    author="nina",
    added_us=3,
)
NOON_US = 1_773_057_600_000_000  # Monday, 9 March 2026, 12:00 UTC
SETTINGS = """
targets:
  - name: configured
    smtp: {host: localhost, sender: a@example.com, recipient: b@example.com}
    contract:
      service_time_zone: uk
      tam: {name: Terry Amato, phone: +44 20 5550101}
      business_hours_exceptions:
        - {date: 2026-03-10, hours: closed, reason: a move of the office}
"""


class Desk:
    """An archive whose parts a test can reach."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(str(path), "here")
        self.troubled = False
        self.heard: list[Happening | CaseHappening] = []
        file = path.parent / "settings.yaml"
        file.write_text(SETTINGS)
        settings = load(file, {}).settings
        self.archive = Archive(
            str(path),
            self.ledger,
            troubled=lambda: self.troubled,
            settings=lambda: settings,
            told=self.heard.append,
            sheets=Sheets(str(path), lambda: None, SystemClock()),
        )


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """Give an archive over a new ledger."""
    desk = Desk(tmp_path / "ledger.sqlite3")
    async with desk.ledger:
        yield desk
    desk.archive.close()


async def test_what_is_decided_is_kept_and_given_with_the_rest(desk: Desk) -> None:
    """A decision sees the amendments, and the targets that are configured though not judged yet."""
    seen: list[tuple[tuple[Amendment, ...], Collection[str]]] = []

    def decide(known: tuple[Amendment, ...], targets: Collection[str]) -> Amendment:
        seen.append((known, targets))
        return replace(AMENDMENT, amendment=f"a{len(known)}")

    first = replace(AMENDMENT, amendment="a0")
    assert await desk.archive.amend(decide) == (first,)
    assert await desk.archive.amend(decide) == (first, AMENDMENT)
    assert seen == [((), {"configured"}), ((first,), {"configured"})]
    assert await desk.archive.amendments() == (first, AMENDMENT)
    assert await desk.archive.lives() == ()


async def test_nothing_is_written_to_a_ledger_in_trouble(desk: Desk) -> None:
    """It is refused at once instead of waiting behind the seconds."""
    desk.troubled = True
    with pytest.raises(Unavailable, match="can't be written now"):
        await desk.archive.amend(lambda _known, _targets: AMENDMENT)
    assert await desk.archive.amendments() == ()


async def test_a_ledger_that_is_gone_is_said_without_its_place(desk: Desk, tmp_path: Path) -> None:
    """A client learns that it can't be read, the log where it should be."""
    (tmp_path / "ledger.sqlite3").unlink()
    with pytest.raises(Unavailable) as caught:
        await desk.archive.amendments()
    assert str(tmp_path) not in str(caught.value)


async def test_calls_that_wait_for_a_disk_have_a_limit(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that give up leave their calls behind; beyond the limit the next is refused at once."""
    release = Event()
    monkeypatch.setattr("probe.archive.remarks_of", lambda *_: release.wait(20) and ())
    calls = [asyncio.create_task(desk.archive.amendments()) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    with pytest.raises(Unavailable, match="Too many calls"):
        await desk.archive.amendments()
    release.set()
    async with asyncio.timeout(20):
        while desk.archive._tasks:
            await asyncio.wait(desk.archive._tasks)
    assert await desk.archive.amendments() == ()


async def test_cases_are_told_heard_of_and_described(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is decided on top of the cases is kept, the daemon hears of it, and the answer says what is owed."""
    monkeypatch.setattr("probe.clock.wall_us", lambda: NOON_US)
    opening = named_case(
        CaseHappening(
            target="configured",
            act=CaseAct.OPENED,
            at_us=NOON_US,
            recorded_us=NOON_US,
            actor="nina",
            kind=CaseKind.INFORMATION_REQUEST,
            title="limits",
        )
    )
    assert await desk.archive.targets() == {"configured"}
    assert (await desk.archive.tell_case(lambda _cases: opening)).stage is CaseStage.OPEN

    def submit(cases: Cases) -> CaseHappening:
        assert [*cases] == [opening.case]
        return named_case(
            replace(opening, happening="", case=opening.case, act=CaseAct.SUBMITTED, kind=None, title="",
                    way=Way.DASHBOARD, reference="4711")
        )  # fmt: skip

    case = await desk.archive.tell_case(submit)
    assert (case.stage, [one.act for one in desk.heard]) == (CaseStage.SUBMITTED, ["opened", "submitted"])
    assert [*(await desk.archive.cases()).values()] == [case]
    (body,) = await desk.archive.described_cases([case])
    # Closed on the 10th by exception, so the eight hours of business time run out on the 11th.
    assert [(one["obligation"], one["due"]) for one in body["obligations"]] == [("respond", "2026-03-11T12:00:00Z")]
    assert body["tam"]["next_opening"] == "2026-03-11T08:30:00Z"

    def refuse(_cases: Cases) -> CaseHappening:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await desk.archive.tell_case(refuse)
    desk.troubled = True
    with pytest.raises(Unavailable):
        await desk.archive.tell_case(submit)
    assert len(desk.heard) == 2


async def test_business_hours_and_the_tam_are_those_of_the_settings(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Open now, until when, and from when again; the Technical Account Manager is reached in the same hours."""
    monkeypatch.setattr("probe.clock.wall_us", lambda: NOON_US)
    (found,) = await desk.archive.hours()
    tam = found["tam"]
    assert found == {
        "target": "configured",
        "service_time_zone": "uk",
        "time_zone": "Europe/London",
        "hours": "08:30-16:30",
        "at": "2026-03-09T12:00:00Z",
        "open": True,
        "why_closed": "",
        "next_opening": "2026-03-11T08:30:00Z",
        "next_closing": "2026-03-09T16:30:00Z",
        "exception": None,
        "tam": tam,
    }
    assert (tam["name"], tam["phone"], tam["email"], tam["open"]) == ("Terry Amato", "+44 20 5550101", "", True)
