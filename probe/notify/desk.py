"""One courier at work: told is what the ledger keeps, in its order, until the receiver has it.

Theory of operation
-------------------

A desk has a place in the chain, and all before it is told. It reads what lies behind, tells one notice after the other,
and moves its place on after each; the ledger keeps the place. A restart goes on there. What was told in the moment
before the program died is told once more, with the same key; nothing is left out.

A notice that is not taken is tried again, ever more seldom, and those behind it wait: so notices of one issue are told
in their order. It is given up, and said so, when the receiver refuses it again and again, or after a day.

While the ledger can't be written, turns are told before they are kept (`urgent`), with those words in them. When the
same turn comes out of the ledger later, it is known by its key and not told again.

Between notices the desk repeats what still lasts, for couriers that want it. What lasts is a fold of all that was told.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog
from tenacity import AsyncRetrying, RetryCallState, RetryError, retry_if_exception_type, wait_exponential, wait_random

from probe.core.notices import Delivery, Notice, Place, Turn, Wording, notice_of, take_in
from probe.notify.charge import CourierCharge
from probe.notify.courier import Courier, CourierError, OutboxError, Refused, tell_in_time

log = structlog.get_logger("notify")

PAGE_TURNS = 100  # read at once
URGENT_MAX = 100  # turns that are told before they are kept, at once
EARLY_KEYS_MAX = 1_000  # of turns that were told before they were kept


# Gives a notice what goes with it; it takes its time within limits, and never raises.
Enclose = Callable[[Notice], Awaitable[Notice]]


class Kept(Protocol):
    """The ledger, as far as couriers care. Its methods raise OutboxError and nothing else."""

    async def enrol(self, names: frozenset[str]) -> Mapping[str, Place]:
        """Give each of these couriers its place, a new one the end of the chain; forget all others."""
        ...

    async def after(self, place: Place, limit: int) -> tuple[tuple[Place, Turn], ...]:
        """Read the first of what is to be told after a place, in order."""
        ...

    async def count_after(self, place: Place) -> int:
        """Count all that is to be told after a place."""
        ...

    async def settle(self, name: str, place: Place) -> None:
        """Keep how far a courier has told."""
        ...


class Watch(Protocol):
    """Who is told how couriers fare. Its methods must not wait."""

    def tried(self, courier: str, delivery: Delivery) -> None:
        """Hear what became of one try."""
        ...

    def waiting(self, courier: str, notices: int) -> None:
        """Hear how many notices are kept and not told."""
        ...

    def failed(self, courier: str, words: str) -> None:
        """Hear that a try failed, and why."""
        ...

    def worked(self, courier: str) -> None:
        """Hear that a try worked."""
        ...

    def given_up(self, courier: str, notice: Notice, words: str) -> None:
        """Hear that a notice will never be told."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often and how long a notice is tried."""

    retry_first_s: float = 1.0
    retry_max_s: float = 60.0
    jitter_s: float = 3.0
    give_up_s: float = 86_400.0
    refusals_max: int = 5


class Desk:
    """Tells what is kept through one courier."""

    def __init__(
        self,
        *,
        charge: CourierCharge,
        courier: Courier,
        kept: Kept,
        place: Place,
        wording: Callable[[], Wording],
        enclose: Enclose,
        watch: Watch,
        pace: Pace,
    ) -> None:
        self.charge = charge
        self.place = place
        self._courier = courier
        self._kept = kept
        self._wording = wording
        self._enclose = enclose
        self._watch = watch
        self._pace = pace
        self._lasting: dict[str, Notice] = {}
        self._urgent: deque[Turn] = deque(maxlen=URGENT_MAX)
        self._early: dict[str, str] = {}  # their threads, by key
        self._something = asyncio.Event()
        self._waiting = 0

    def wake(self, waiting: int) -> None:
        """Hear that the ledger keeps more, and how many notices wait in all; never wait."""
        self._show_waiting(waiting)
        self._something.set()

    def urgent(self, turn: Turn) -> None:
        """Tell a turn that can't be kept now; never wait."""
        self._urgent.append(turn)
        self._something.set()

    async def run(self) -> None:
        """Tell for ever; close the courier at the end."""
        try:
            is_learned = not self.charge.repeat_s
            while True:
                self._something.clear()
                is_learned = is_learned or await self._learn_what_lasts()
                await self._tell_kept()
                await self._tell_urgent()
                if self._lasting and self.charge.repeat_s:
                    await self._repeat()
                await self._rest()
        finally:
            await self._courier.close()

    async def _rest(self) -> None:
        """Wait until there is something to tell, or again."""
        repeat_s = self.charge.repeat_s if self._lasting and self.charge.repeat_s else None
        with suppress(TimeoutError):
            async with asyncio.timeout(repeat_s):
                await self._something.wait()

    async def _learn_what_lasts(self) -> bool:
        """Fold what was told before this start, from the beginning on, in portions; say whether all could be read."""
        lasting: dict[str, Notice] = {}
        place = Place()
        while found := await self._read(place):
            for place, turn in found:
                if place <= self.place:
                    take_in(lasting, notice_of(turn, self._wording()))
            if place > self.place:
                break
        if found is None:
            return False
        enclosed = {thread: await self._enclose(notice) for thread, notice in lasting.items()}
        self._lasting = enclosed | self._lasting
        return True

    async def _read(self, place: Place) -> Sequence[tuple[Place, Turn]] | None:
        """Read on once that works; None if it does not, and there is something that can't wait."""
        while True:
            try:
                return await self._kept.after(place, PAGE_TURNS)
            except OutboxError as error:
                self._watch.failed(self.charge.name, f"what is to be told can't be read: {error}")
            if self._urgent:
                return None
            self._something.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.retry_max_s):
                    await self._something.wait()

    async def _tell_kept(self) -> None:
        while found := await self._read(self.place):
            for place, turn in found:
                notice = notice_of(turn, self._wording())
                if (thread := self._early.pop(notice.key, None)) is not None:
                    # Only the ledger knew which issue it belongs to, if it was a relapse.
                    if thread != notice.thread:
                        self._lasting.pop(thread, None)
                    take_in(self._lasting, notice)
                else:
                    await self._tell(await self._enclose(notice))
                self.place = place
                self._show_waiting(self._waiting - 1)
                # If it can't be kept now, the next one's place covers this one.
                with suppress(OutboxError):
                    await self._kept.settle(self.charge.name, place)

    async def _tell_urgent(self) -> None:
        while self._urgent:
            notice = notice_of(self._urgent.popleft(), self._wording(), recorded=False)
            if notice.key in self._early:
                continue
            await self._tell(notice)
            self._early[notice.key] = notice.thread
            if len(self._early) > EARLY_KEYS_MAX:
                del self._early[next(iter(self._early))]

    async def _tell(self, notice: Notice) -> None:
        """Tell one notice until it is told or given up."""
        take_in(self._lasting, notice)
        pace = self._pace
        retrying = AsyncRetrying(
            wait=wait_exponential(pace.retry_first_s, pace.retry_max_s) + wait_random(0, pace.jitter_s),
            stop=self._is_hopeless,
            retry=retry_if_exception_type(CourierError),
            before_sleep=self._try_failed,
        )
        try:
            await retrying(self._try, notice)
        except RetryError as error:
            words = str(error.last_attempt.exception())
            self._watch.tried(self.charge.name, Delivery.GIVEN_UP)
            self._watch.given_up(self.charge.name, notice, words)

    async def _try(self, notice: Notice) -> None:
        await self._guarded(tell_in_time(self._courier, self.charge, notice))
        self._watch.tried(self.charge.name, Delivery.TOLD)
        self._watch.worked(self.charge.name)

    def _is_hopeless(self, state: RetryCallState) -> bool:
        assert state.outcome is not None
        if isinstance(state.outcome.exception(), Refused) and state.attempt_number >= self._pace.refusals_max:
            return True
        return (state.seconds_since_start or 0) >= self._pace.give_up_s

    def _try_failed(self, state: RetryCallState) -> None:
        assert state.outcome is not None
        self._watch.tried(self.charge.name, Delivery.FAILED)
        self._watch.failed(self.charge.name, str(state.outcome.exception()))

    async def _repeat(self) -> None:
        """Tell once more what lasts; if that fails it is time again soon."""
        try:
            async with asyncio.timeout(self.charge.timeout_s):
                await self._guarded(self._courier.repeat(tuple(self._lasting.values())))
        except (CourierError, TimeoutError) as error:
            words = str(error) or f"no answer within {self.charge.timeout_s:g} s"
            self._watch.tried(self.charge.name, Delivery.FAILED)
            self._watch.failed(self.charge.name, words)
            return
        self._watch.tried(self.charge.name, Delivery.REPEATED)
        self._watch.worked(self.charge.name)

    async def _guarded(self, telling: Awaitable[None]) -> None:
        """Let no bug of a courier, or of its library, end the desk; its words may hold an address and are not shown."""
        try:
            await telling
        except (CourierError, TimeoutError):
            raise
        except Exception as error:  # noqa: BLE001 - a traceback could show a secret
            log.error("courier.failed_inside", courier=self.charge.name, error=type(error).__name__)
            raise CourierError(f"an error inside the program: {type(error).__name__}") from None

    def _show_waiting(self, notices: int) -> None:
        self._waiting = max(0, notices)
        self._watch.waiting(self.charge.name, self._waiting)
