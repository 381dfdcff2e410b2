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
        if self.in_flight >= self.in_flight_max:
            room: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(room)
            await asyncio.wait([room], timeout=ROOM_WAIT_S)
            if room in self._waiting:
                self._waiting.remove(room)
            if not room.done():
                return False
        self.in_flight += 1
        return True

    def leave(self) -> None:
        """Give the place back, and wake who waits longest."""
        self.in_flight -= 1
        while self._waiting:
            room = self._waiting.popleft()
            if not room.done():
                room.set_result(None)
                return
