"""The ledger as the API asks it."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from probe.archive import WAITING_MAX, Archive
from probe.clock import SystemClock
from probe.core.model import Amendment, Exclusion
from probe.core.obligations import Pledges
from probe.ledger import Ledger
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


class Desk:
    """An archive whose parts a test can reach."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(str(path), "here")
        self.troubled = False
        self.archive = Archive(
            str(path),
            self.ledger,
            troubled=lambda: self.troubled,
            targets=lambda: ["configured"],
            pledges=lambda _: Pledges(),
            told=lambda _: None,
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
    while desk.archive._tasks:
        await asyncio.wait(desk.archive._tasks)
    assert await desk.archive.amendments() == ()
