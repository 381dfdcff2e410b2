"""The cap on attempts in flight, at the moments where places change hands."""

import asyncio

from probe.flight import ROOM_WAIT_S, Flight


async def turns(number: int = 5) -> None:
    """Let everything that is ready run."""
    for _ in range(number):
        await asyncio.sleep(0)


async def test_the_cap_holds_while_nobody_leaves() -> None:
    """Who finds no room for a moment is not let in, and takes no place."""
    flight = Flight(1)

    assert await flight.enter()
    assert not await flight.enter()
    assert flight.in_flight == 1
    flight.leave()
    assert flight.in_flight == 0
    assert await flight.enter()


async def test_who_waits_longest_gets_the_place() -> None:
    """A place that becomes free goes to who waits, in the order of coming."""
    flight = Flight(1)
    order: list[int] = []

    async def wait(number: int) -> None:
        assert await flight.enter()
        order.append(number)

    await flight.enter()
    waiting = [asyncio.create_task(wait(number)) for number in range(3)]
    await turns()
    for number in range(3):
        flight.leave()
        await turns()
        assert order == list(range(number + 1))
    await asyncio.gather(*waiting)


async def test_a_newcomer_cannot_slip_in_beside_who_was_given_the_place() -> None:
    """The cap holds even if somebody comes in the very moment between a place given back and its being taken."""
    flight = Flight(1)
    await flight.enter()
    waiting = asyncio.create_task(flight.enter())
    await turns()

    flight.leave()
    newcomer = asyncio.create_task(flight.enter())

    assert await waiting
    assert flight.in_flight == 1
    assert not await newcomer
    assert flight.in_flight == 1


async def test_who_is_cut_off_while_waiting_holds_no_place() -> None:
    """A place goes to those who still want it, also if it had been given to somebody who is cut off just then."""
    flight = Flight(1)
    await flight.enter()
    first, second, third = (asyncio.create_task(flight.enter()) for _ in range(3))
    await turns()

    first.cancel()
    await turns()
    flight.leave()
    second.cancel()

    assert await third
    flight.leave()
    assert flight.in_flight == 0


async def test_a_lower_cap_counts_at_once() -> None:
    """After a reload with a lower cap, places are given back until the new one holds."""
    flight = Flight(3)
    for _ in range(3):
        await flight.enter()
    flight.in_flight_max = 1
    waiting = asyncio.create_task(flight.enter())
    await turns()

    flight.leave()
    flight.leave()
    assert flight.in_flight == 1
    async with asyncio.timeout(ROOM_WAIT_S):
        flight.leave()
        assert await waiting
    assert flight.in_flight == 1
