"""What a simulated provider does in each second, written down beforehand: a pure function of a seed.

The fakes below act it out; the oracle reads the same script and never sees what the fakes did.
"""

import asyncio
import random
import zlib
from enum import Enum, auto
from typing import TYPE_CHECKING, NamedTuple, Protocol

from probe.core.endings import fault_of
from probe.core.model import Cause, Connection, ControlOutcome, Outcome, Phase, Surface, Ticket

if TYPE_CHECKING:
    from tests.sim.sim_time import HostTime
else:
    from sim_time import HostTime

SECOND_US = 1_000_000


class Manner(Enum):
    """How an attempt or a control ends."""

    ANSWERS = auto()  # after a time of its own, or at the deadline if that is earlier
    BREAKS = auto()  # raises: a bug of ours
    OVERSTAYS = auto()  # never ends by itself, deadline or not: another bug of ours


class Sight(NamedTuple):
    """What one attempt would see, and when."""

    cause: Cause = Cause.ACCEPTED
    takes_us: int = 20_000
    manner: Manner = Manner.ANSWERS


HANG = Sight(cause=Cause.SILENT, takes_us=10**12)


class World(Protocol):
    """The script."""

    def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
        """Say what an attempt would see."""
        ...

    def control(self, control: str, second: int) -> Sight:
        """Say what a control would see; it worked if the cause is `accepted`."""
        ...


class Calm:
    """All is well, always; the base of worlds in which one thing is not."""

    def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
        """Say that it is accepted."""
        return Sight()

    def control(self, control: str, second: int) -> Sight:
        """Say that it works."""
        return Sight()


class Mood(Enum):
    """What a provider is like for a while."""

    HEALTHY = auto()
    DOWN = auto()
    HANGING = auto()
    FLAPPING = auto()
    BROWNOUT = auto()
    CUT_OFF = auto()
    MISCONFIGURED = auto()
    BUGGY = auto()
    GREY = auto()


# Far more trouble than any provider makes, and still long enough in one mood to open and to end an issue.
MOOD_WEIGHTS = {Mood.HEALTHY: 6, Mood.DOWN: 3, Mood.HANGING: 2, Mood.FLAPPING: 2, Mood.BROWNOUT: 2}
MOOD_SECONDS_MAX = 90
GREY_CAUSES = (
    Cause.ACCEPTED,
    Cause.HTTP_ERROR,
    Cause.SERVICE_CLOSING,
    Cause.SILENT,
    Cause.REFUSED,
    Cause.THROTTLED,
    Cause.RESOLVER,
)


_MIXER = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


class Stormy:
    """A seeded world of moods that change every now and then, for each target and surface on its own."""

    def __init__(self, seed: int, *, seconds: int, first_second: int) -> None:
        self._seed = seed
        self._seconds = seconds
        self._first_second = first_second
        self._moods: dict[str, list[tuple[Mood, int]]] = {}

    def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
        """Act by the mood of the second."""
        place = f"{target}/{surface}"
        mood, period = self._mood(place, second)
        return _sight(mood, period, second, self.chance(f"{place}/{second}/{ordinal}"))

    def control(self, control: str, second: int) -> Sight:
        """Work mostly; now and then fail, be slow, or break."""
        chance = self.chance(f"{control}/{second}") % 100
        if self._mood(control, second)[0] is not Mood.HEALTHY:
            return Sight(cause=Cause.UNREACHABLE, takes_us=chance * 10_000)
        if chance < 5:
            return Sight(manner=Manner.BREAKS)
        return Sight(takes_us=chance * 20_000)

    def _mood(self, place: str, second: int) -> tuple[Mood, int]:
        moods = self._moods.get(place)
        if moods is None:
            moods = self._moods[place] = self._write(place)
        return moods[min(max(0, second - self._first_second), len(moods) - 1)]

    def _write(self, place: str) -> list[tuple[Mood, int]]:
        dice = random.Random(f"{self._seed}/{place}")  # noqa: S311 - a script, not a secret
        kinds = list(Mood)
        moods: list[tuple[Mood, int]] = []
        while len(moods) < self._seconds:
            mood = dice.choices(kinds, [MOOD_WEIGHTS.get(kind, 1) for kind in kinds])[0]
            moods += [(mood, dice.choice((1, 2, 5)))] * dice.randint(1, MOOD_SECONDS_MAX)
        return moods

    def chance(self, name: str) -> int:
        """Throw the dice that belong to a name."""
        low = zlib.crc32(name.encode(), self._seed)
        # Multiplied by an odd constant and folded, so that neighbouring seconds have nothing in common.
        mixed = (low | low << 32) * _MIXER & _MASK
        return (mixed ^ mixed >> 29) * _MIXER & _MASK ^ mixed >> 32


def _sight(mood: Mood, period: int, second: int, chance: int) -> Sight:
    quick_us = 1_000 + chance % 300_000
    percent = chance // 1_000_003 % 100
    match mood:
        case Mood.HEALTHY:
            return Sight(takes_us=quick_us)
        case Mood.DOWN:
            return Sight(cause=Cause.HTTP_ERROR, takes_us=quick_us)
        case Mood.HANGING:
            return HANG if percent < 95 else Sight(takes_us=4 * SECOND_US)
        case Mood.FLAPPING:
            return Sight(cause=Cause.HTTP_ERROR if second // period % 2 else Cause.ACCEPTED, takes_us=quick_us)
        case Mood.BROWNOUT:
            return Sight(cause=Cause.SERVICE_CLOSING if percent < 50 else Cause.ACCEPTED, takes_us=chance % 6_000_000)
        case Mood.CUT_OFF:
            return Sight(cause=Cause.REFUSED, takes_us=quick_us)
        case Mood.MISCONFIGURED:
            return Sight(cause=Cause.CREDENTIALS, takes_us=quick_us)
        case Mood.BUGGY:
            return Sight(takes_us=quick_us, manner=Manner.OVERSTAYS if percent < 20 else Manner.BREAKS)
        case Mood.GREY:
            return Sight(cause=GREY_CAUSES[percent % len(GREY_CAUSES)], takes_us=chance % 3_000_000)


class ScriptedProber:
    """One surface of one target, acting out the script."""

    def __init__(self, world: World, host: HostTime) -> None:
        self._world = world
        self._host = host
        self.in_flight = 0
        self.in_flight_most = 0
        self.closed = False

    async def attempt(self, ticket: Ticket, deadline_us: int) -> Outcome:
        """Do what the script says for this attempt."""
        sight = self._world.attempt(ticket.target, ticket.surface, ticket.second, ticket.ordinal)
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight, self.in_flight_most)
        started_us, started_mono_us = self._host.named_us(), self._host.monotonic_us()
        left_us = max(0, deadline_us - started_mono_us)
        try:
            if sight.manner is Manner.OVERSTAYS:
                await asyncio.Event().wait()
            await asyncio.sleep(min(sight.takes_us, left_us) / SECOND_US)
            if sight.manner is Manner.BREAKS:
                raise RuntimeError("a bug in a surface")
        finally:
            self.in_flight -= 1
        cause = sight.cause if sight.takes_us < left_us else Cause.SILENT
        return Outcome(
            target=ticket.target,
            surface=ticket.surface,
            second=ticket.second,
            ordinal=ticket.ordinal,
            started_us=started_us,
            duration_us=self._host.monotonic_us() - started_mono_us,
            fault=fault_of(cause),
            cause=cause,
            phase=Phase.FINAL,
            message_id=ticket.message_id,
            connection=Connection.KEPT,
        )

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True


class ScriptedControl:
    """One control, acting out the script."""

    def __init__(self, name: str, world: World, host: HostTime) -> None:
        self._name = name
        self._world = world
        self._host = host

    async def attempt(self, second: int) -> ControlOutcome:
        """Do what the script says for this second."""
        sight = self._world.control(self._name, second)
        started_us = self._host.wall_us()
        if sight.manner is Manner.OVERSTAYS:
            await asyncio.Event().wait()
        await asyncio.sleep(sight.takes_us / SECOND_US)
        if sight.manner is Manner.BREAKS:
            raise RuntimeError("a bug in a control")
        return ControlOutcome(
            control=self._name,
            second=second,
            started_us=started_us,
            duration_us=sight.takes_us,
            worked=sight.cause is Cause.ACCEPTED,
            cause=sight.cause,
        )

    def close(self) -> None:
        """Have nothing to drop."""
