"""The cap on attempts in flight on one surface of one target."""

import asyncio
from collections import deque

# How long an attempt waits for another of its surface to make room. Both deadlines and slots come round on the same
# instant of the second, so the tenth attempt of a hanging server ends just as the eleventh is due.
ROOM_WAIT_S = 0.08


class Flight:
    """The attempts in flight on one surface of one target, and those waiting for room."""

    __slots__ = ("_waiting", "in_flight", "in_flight_max")

    def __init__(self, in_flight_max: int) -> None:
        self.in_flight_max = in_flight_max
        self.in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def enter(self) -> bool:
        """Take a place, waiting a moment for one; False means that the cap holds."""
        if self.in_flight < self.in_flight_max:
            self.in_flight += 1
            return True
        room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(room)
        try:
            await asyncio.wait([room], timeout=ROOM_WAIT_S)
        except asyncio.CancelledError:
            if room.done():
                self.leave()
            raise
        finally:
            if not room.done():
                self._waiting.remove(room)
        return room.done()

    def leave(self) -> None:
        """Give the place to who waits longest, or back."""
        # It passes from hand to hand: between a place given back and one taken, a newcomer could come in as well.
        if self._waiting and self.in_flight <= self.in_flight_max:
            self._waiting.popleft().set_result(None)
        else:
            self.in_flight -= 1
