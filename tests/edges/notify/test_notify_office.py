"""What is kept is told: at least once, in order, through each courier for itself, and never in anybody's way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from probe.core.happenings import Act, Happening, Party, Stage, named
from probe.core.model import Condition, IssueEvent
from probe.core.notices import NOT_RECORDED, Delivery, LifeTurn, Notice, Wording, notice_of, wants_call_sheet
from probe.notify import CourierCharge, Office, Pace, build

if TYPE_CHECKING:
    from tests.edges.notify.conftest import Receiver, Shelf, Watcher

PACE = Pace(retry_first_s=0.01, retry_max_s=0.05, jitter_s=0.01, refusals_max=3)
WORDING = Wording(vantage="here")

MakeCharge = Callable[..., CourierCharge]
Turns = Callable[..., IssueEvent]


def key(turn: IssueEvent | Condition) -> str:
    """Name a turn as receivers see it."""
    return notice_of(turn, WORDING).key


async def enclose(notice: Notice) -> Notice:
    """Put the page into the notice that asks for a call."""
    return replace(notice, call_sheet=f"CALL of {notice.issue}") if wants_call_sheet(notice) else notice


@asynccontextmanager
async def at_work(shelf: "Shelf", watcher: "Watcher", *charges: CourierCharge) -> AsyncIterator[Office]:
    """Run an office with these couriers."""
    office = Office(kept=shelf, watch=watcher, enclose=enclose, pace=PACE)  # type: ignore[arg-type]
    office.configure([(charge, build(charge)) for charge in charges], WORDING)
    await office.enrol()
    work = asyncio.create_task(office.work_forever())
    try:
        yield office
    finally:
        await office.close()
        work.cancel()
        await asyncio.wait({work})


async def test_what_is_kept_is_told_in_its_order(
    shelf: "Shelf", watcher: "Watcher", receiver: "Receiver", charge: MakeCharge, turns: Turns
) -> None:
    """Opened comes before restored, each once, and the place moves on with them."""
    async with at_work(shelf, watcher, charge("webhook", receiver.url)) as office:
        shelf.kept += [turns(0), turns(200, over=True)]
        office.wake()
        await watcher.until(lambda: shelf.places["webhook"].batch == 2 and watcher.left["webhook"] == 0)

    assert receiver.keys == [key(turns(0)), key(turns(200, over=True))]
    assert [body["bearing"] for body in receiver.bodies] == ["begins", "notes"]
    assert [body["call_sheet"] for body in receiver.bodies] == ["CALL of main-a", ""]


async def test_a_notice_that_is_told_while_it_is_counted_does_not_wait(
    shelf: "Shelf", watcher: "Watcher", receiver: "Receiver", charge: MakeCharge, turns: Turns
) -> None:
    """The number that wait is of the place where the courier is now, not where it was when counting began."""
    async with at_work(shelf, watcher, charge("webhook", receiver.url)) as office:
        shelf.kept.append(turns(0))

        async def until_told() -> None:
            for desk, _ in office._desks.values():
                desk.wake(1)
            await watcher.until(lambda: shelf.places["webhook"].batch == 1)
            shelf.counts_slowly = None

        shelf.counts_slowly = until_told
        office.wake()
        await watcher.until(lambda: shelf.counts_slowly is None and shelf.places["webhook"].batch == 1)
        for _ in range(10):  # What was counted comes to the desk within these turns of the loop.
            await asyncio.sleep(0)

        assert watcher.left["webhook"] == 0


async def test_a_notice_that_is_not_taken_is_tried_again_and_those_behind_it_wait(
    shelf: "Shelf", watcher: "Watcher", receiver: "Receiver", charge: MakeCharge, turns: Turns
) -> None:
    """After 500, 401 and 503 the order is still the ledger's."""
    receiver.answers = [500, 401, 503, 200]
    async with at_work(shelf, watcher, charge("webhook", receiver.url)) as office:
        shelf.kept += [turns(0), turns(200, over=True)]
        office.wake()
        await receiver.until(lambda: len(receiver.taken) == 2)

    assert receiver.keys == [key(turns(0)), key(turns(200, over=True))]
    assert [delivery for _, delivery in watcher.tries][:4] == [Delivery.FAILED] * 3 + [Delivery.TOLD]
    assert watcher.troubles == [f"the receiver answers HTTP {status}" for status in (500, 401, 503)]


async def test_a_notice_that_is_refused_again_and_again_is_given_up_and_said_so(
    shelf: "Shelf", watcher: "Watcher", receiver: "Receiver", charge: MakeCharge, turns: Turns
) -> None:
    """A receiver that says 422 three times gets the next one."""
    receiver.answers = [422, 422, 422, 200]
    async with at_work(shelf, watcher, charge("webhook", receiver.url)) as office:
        shelf.kept += [turns(0), turns(200, over=True)]
        office.wake()
        await receiver.until(lambda: len(receiver.taken) == 1)

    assert receiver.keys == [key(turns(200, over=True))]
    assert watcher.lost == [key(turns(0))]
    assert Delivery.GIVEN_UP in [delivery for _, delivery in watcher.tries]


async def test_a_receiver_that_hangs_holds_up_no_other(
    shelf: "Shelf",
    watcher: "Watcher",
    receive: Callable[[], Awaitable["Receiver"]],
    charge: MakeCharge,
    turns: Turns,
) -> None:
    """One hangs, one is away, and the third is told at once."""
    hanging, sound = await receive(), await receive()
    hanging.hangs = True
    couriers = (
        charge("webhook", hanging.url, name="hanging"),
        charge("webhook", "http://127.0.0.1:1/", name="away"),
        charge("webhook", sound.url, name="sound"),
    )
    async with at_work(shelf, watcher, *couriers) as office:
        shelf.kept.append(turns(0))
        office.wake()
        await sound.until(lambda: len(sound.taken) == 1, timeout_s=1.0)
        await watcher.until(lambda: "no connection: Connection refused" in watcher.troubles)

        assert watcher.left["hanging"] == watcher.left["away"] == 1


async def test_a_restart_tells_what_was_promised_and_nothing_twice(
    shelf: "Shelf", watcher: "Watcher", receiver: "Receiver", charge: MakeCharge, turns: Turns
) -> None:
    """The place that is kept says where to go on; a courier that is new is told of what comes."""
    webhook = charge("webhook", receiver.url)
    shelf.kept.append(turns(-500, issue="old"))
    async with at_work(shelf, watcher, webhook) as office:
        shelf.kept.append(turns(0))
        office.wake()
        await watcher.until(lambda: shelf.places["webhook"].batch == 2)
    shelf.kept.append(turns(200, over=True))  # kept, and then the power went
    async with at_work(shelf, watcher, webhook):
        await watcher.until(lambda: shelf.places["webhook"].batch == 3)

    assert receiver.keys == [key(turns(0)), key(turns(200, over=True))]


async def test_while_the_ledger_is_in_trouble_a_turn_is_told_at_once_and_only_once(
    shelf: "Shelf", watcher: "Watcher", receiver: "Receiver", charge: MakeCharge, turns: Turns
) -> None:
    """It says that it is not recorded yet; when it is, it is not told again."""
    async with at_work(shelf, watcher, charge("webhook", receiver.url)) as office:
        await watcher.until(lambda: "webhook" in watcher.left)
        shelf.trouble = "the disk is full"
        office.urgent(turns(0))
        await receiver.until(lambda: len(receiver.taken) == 1)
        shelf.trouble = ""
        shelf.kept += [turns(0), turns(200, over=True)]
        office.wake()
        await receiver.until(lambda: len(receiver.taken) == 2)

    assert receiver.keys == [key(turns(0)), key(turns(200, over=True))]
    assert [body["recorded"] for body in receiver.bodies] == [False, True]
    assert receiver.bodies[0]["text"].endswith(NOT_RECORDED)


async def test_a_turn_that_can_not_wait_is_told_though_the_outbox_can_not_be_read(
    shelf: "Shelf", watcher: "Watcher", receiver: "Receiver", charge: MakeCharge, turns: Turns
) -> None:
    """A courier that waits for the ledger leaves off waiting; what lasted before is repeated once it can be read."""
    shelf.kept.append(turns(-500, issue="old"))
    patient = Pace(retry_first_s=0.01, retry_max_s=60.0, jitter_s=0.01)
    office = Office(kept=shelf, watch=watcher, enclose=enclose, pace=patient)  # type: ignore[arg-type]
    alerts = charge("alertmanager", receiver.url, repeat_s=0.05)
    office.configure([(alerts, build(alerts))], WORDING)
    await office.enrol()
    shelf.trouble = "the server is away"
    await watcher.until(lambda: watcher.troubles == ["what is to be told can't be read: the server is away"])
    office.urgent(turns(0))
    await receiver.until(lambda: len(receiver.taken) >= 1)
    shelf.trouble = ""
    await receiver.until(lambda: len(receiver.bodies[-1]) == 2)
    await office.close()

    assert [alert["labels"]["issue"] for alert in receiver.bodies[0]] == ["main-a"]
    assert {alert["labels"]["issue"] for alert in receiver.bodies[-1]} == {"main-a", "old"}


def agreed(number: int) -> Happening:
    """Make the provider's agreement."""
    at_us = (1_764_000_000 + number) * 1_000_000
    told = Happening(
        target="main",
        issue="main-a",
        act=Act.AGREED,
        at_us=at_us,
        recorded_us=at_us,
        actor="nina",
        party=Party.PROVIDER,
    )
    return named(told)


async def test_what_lasts_is_repeated_until_it_is_over_also_after_a_restart(
    shelf: "Shelf", watcher: "Watcher", receiver: "Receiver", charge: MakeCharge, turns: Turns, blind: Any
) -> None:
    """The alert of an open issue is sent again and again; restored it still is, resolved no more."""
    alerts = charge("alertmanager", receiver.url, repeat_s=0.05)
    shelf.kept += [turns(0), blind(10), blind(10, raised=False)]
    async with at_work(shelf, watcher, alerts) as office:
        await receiver.until(lambda: len(receiver.taken) >= 3)
        repeats = len(receiver.taken)
        shelf.kept += [turns(100, over=True), LifeTurn(issue="main-a", what=agreed(200), over=Stage.RESOLVED)]
        office.wake()
        await watcher.until(lambda: shelf.places["alertmanager"].batch == 5)
        count = len(receiver.taken)
        await asyncio.sleep(0.2)

    assert len(receiver.taken) == count
    assert {alert["labels"]["alertname"] for body in receiver.bodies for alert in body} == {"Sev1probeCriticalIssue"}
    assert all("startsAt" in alert for body in receiver.bodies[:repeats] for alert in body)
    (last,) = receiver.bodies[-1]
    assert "startsAt" not in last
    assert last["endsAt"] == "2025-11-24T16:03:20Z"


async def test_a_reload_leaves_the_couriers_that_stay_at_work(
    shelf: "Shelf", watcher: "Watcher", receiver: "Receiver", charge: MakeCharge, turns: Turns
) -> None:
    """Only what changed is begun anew, and one that is gone is told nothing more."""
    one, other = (charge("webhook", receiver.url, name=name) for name in ("one", "other"))
    async with at_work(shelf, watcher, one) as office:
        shelf.kept.append(turns(0))
        office.wake()
        await watcher.until(lambda: shelf.places["one"].batch == 1)
        office.configure([(other, build(other))], WORDING)
        await watcher.until(lambda: "other" in watcher.left)
        shelf.kept.append(turns(200, over=True))
        office.wake()
        await watcher.until(lambda: shelf.places["other"].batch == 2)

    assert receiver.keys == [key(turns(0)), key(turns(200, over=True))]
    assert set(shelf.places) == {"other"}


@pytest.mark.parametrize("kind", ["webhook", "alertmanager", "apprise"])
def test_no_repr_shows_a_secret(charge: MakeCharge, kind: str) -> None:
    """Neither the URL nor a header nor the key is in what a log or a traceback could show."""
    made = charge(kind, "json://user:hunter2@127.0.0.1/hunter2", headers=(("Authorization", "hunter2"),))

    assert "hunter2" not in repr(made) + repr(build(made)) + str(made)
