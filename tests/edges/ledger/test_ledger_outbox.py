"""What the ledger holds to be told, in the order of the chain, and how far each courier has come."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from probe.clock import wall_us
from probe.core.case_happenings import CaseAct, CaseHappening, CaseKind, CaseStage, named_case
from probe.core.happenings import Act, Happening, Party, named
from probe.core.lapses import Lapse
from probe.core.model import Condition
from probe.core.notices import Bearing, CaseTurn, LifeTurn, Place, Wording, notice_of, still_lasting
from probe.ledger import Batch, Ledger, Outbox, propose, verify

VANTAGE = "vantage-1"
BLIND = Condition(
    condition="blind",
    target="main",
    since_second=1_764_000_000,
    noticed_second=1_764_000_031,
    raised=True,
    words="no second was judged for 31 s",
)

LAPSE = Lapse(
    target="main",
    issue="main-a",
    obligation="call_back",
    owed_by=Party.PROVIDER,
    due_us=1_764_000_000_000_000,
    noticed_us=1_764_000_001_000_000,
    raised=True,
    words="the record has none",
)


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[tuple[Ledger, Outbox]]:
    """Open a ledger and its outbox."""
    async with Ledger(str(path), VANTAGE) as ledger:
        outbox = ledger.outbox()
        try:
            yield ledger, outbox
        finally:
            outbox.close()


async def test_turns_are_read_in_the_order_of_the_chain_in_portions(path: Path, script: Any) -> None:
    """Issues and conditions come as they were kept, and nothing that was only seen or judged."""
    async with opened(path) as (ledger, outbox):
        for number, batch in enumerate(script.story()):
            await ledger.append(batch)
            if number == 1:
                await ledger.append(Batch(remarks=(BLIND,)))
        told: list[Any] = []
        place = Place()
        while found := await outbox.after(place, 1):
            assert len(found) == 1
            assert await outbox.count_after(place) == 3 - len(told)
            place, turn = found[0]
            told.append(turn)

    events = [event for step in script.steps for event in step.events]
    assert told == [BLIND, *(LifeTurn(issue=events[0].issue, what=event) for event in events)]
    assert [event.turn for event in events] == ["opened", "restored"]


async def test_a_record_of_the_same_batch_is_told_after_those_before_it(path: Path, script: Any) -> None:
    """Within a batch events come before conditions, and each place parts what is told from what is not."""
    async with opened(path) as (ledger, outbox):
        story = script.story()
        steps = tuple(step for batch in story for step in batch.steps)
        other = Condition(**{name: getattr(BLIND, name) for name in BLIND.__slots__} | {"raised": False})
        await ledger.append(Batch(steps=steps, terms=script.terms, remarks=(BLIND, other)))
        whole = await outbox.after(Place(), 100)
        for number, (place, _) in enumerate(whole, 1):
            assert await outbox.after(place, 100) == whole[number:]
            assert await outbox.count_after(place) == len(whole) - number

    assert [type(turn) for _, turn in whole] == [LifeTurn, LifeTurn, Condition, Condition]


async def test_an_issue_lasts_through_a_relapse_until_both_sides_agree(path: Path, script: Any) -> None:
    """All turns of its life are of one thread, whatever the record calls a relapse; only the resolution ends it."""
    async with opened(path) as (ledger, outbox):
        for batch in [*script.story(), *script.story()]:
            await ledger.append(batch)
        event = next(event for step in script.steps for event in step.events)

        for act, party in (
            (Act.LINE_CALLED, None),
            (Act.AGREED, Party.CUSTOMER),
            (Act.AGREED, Party.PROVIDER),
        ):
            at_us = script.next_second * 1_000_000
            told = named(
                Happening(
                    target=event.target,
                    issue=event.issue,
                    act=act,
                    at_us=at_us,
                    recorded_us=at_us,
                    actor="nina",
                    party=party,
                )
            )

            def decide(_: Any, told: Happening = told) -> Happening:
                return told

            await ledger.tell(decide)
        notices = [notice_of(turn, Wording(vantage="here")) for _, turn in await outbox.after(Place(), 100)]

    assert [notice.kind.removeprefix("critical_issue.") for notice in notices] == [
        *("opened", "restored", "opened", "restored"),
        *("line_called", "agreed", "resolved"),
    ]
    assert {notice.thread for notice in notices} == {f"here/{event.issue}"}
    assert len({notice.key for notice in notices}) == len(notices)
    assert [*still_lasting(notices[:-1])] == [f"here/{event.issue}"]
    assert notices[-1].bearing is Bearing.ENDS
    assert still_lasting(notices) == {}


async def test_cases_and_lapses_are_told_in_the_order_of_the_chain(kept: Path) -> None:
    """What happened in a case comes with its title, and its end is known; a lapse comes as it was kept."""
    at_us = wall_us() - 1_000_000

    def told(act: CaseAct, **more: Any) -> CaseHappening:
        return named_case(
            CaseHappening(target="main", act=act, at_us=at_us, recorded_us=at_us, actor="nina", words="so", **more)
        )

    opened_case = told(CaseAct.OPENED, kind=CaseKind.INFORMATION_REQUEST, title="limits")
    withdrawn = told(CaseAct.WITHDRAWN, case=opened_case.case)
    propose(str(kept), opened_case)
    async with opened(kept) as (ledger, outbox):
        before = await outbox.after(Place(), 100)
        await ledger.append(Batch(remarks=(LAPSE,)))
    propose(str(kept), withdrawn)
    async with opened(kept) as (_, outbox):
        whole = await outbox.after(Place(), 100)
        assert await outbox.count_after(before[-1][0]) == 2

    assert [turn for _, turn in before][-1] == CaseTurn(what=opened_case, title="limits")
    assert [turn for _, turn in whole][len(before) :] == [
        LAPSE,
        CaseTurn(what=withdrawn, title="limits", over=CaseStage.WITHDRAWN),
    ]


async def test_a_new_courier_begins_at_the_end_and_an_old_one_where_it_was(path: Path, script: Any) -> None:
    """Places outlive a restart; a courier that is gone is forgotten, and is a new one when it comes back."""
    async with opened(path) as (ledger, outbox):
        await ledger.append(Batch(remarks=(BLIND,)))
        places = await outbox.enrol({"hook", "alerts"})
        assert await outbox.count_after(places["hook"]) == 0
        await ledger.append(script.second())
        await ledger.append(Batch(remarks=(BLIND,)))
        assert await outbox.count_after(places["hook"]) == 1
        ((place, _),) = await outbox.after(places["hook"], 10)
        await outbox.settle("hook", place)
    async with opened(path) as (_, outbox):
        places = await outbox.enrol({"hook", "alerts"})
        assert places["hook"] == place
        assert await outbox.count_after(places["alerts"]) == 1
        await outbox.enrol({"hook"})
        places = await outbox.enrol({"hook", "alerts"})
        assert await outbox.count_after(places["alerts"]) == 0

    assert verify(str(path)).sound


async def test_places_are_kept_between_batches_without_touching_the_chain(path: Path, script: Any) -> None:
    """Batches and places that are written at the same time hinder each other in nothing."""
    async with opened(path) as (ledger, outbox):
        await outbox.enrol({"hook"})
        batches = [script.second() for _ in range(20)]

        async def settle() -> None:
            for number in range(20):
                await outbox.settle("hook", Place(batch=number))

        async def append() -> None:
            for batch in batches:
                await ledger.append(batch)

        await asyncio.gather(settle(), append())
        assert (await outbox.enrol({"hook"}))["hook"] == Place(batch=19)

    report = verify(str(path))
    assert report.sound
    assert report.batches == 20
