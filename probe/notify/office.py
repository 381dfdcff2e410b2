"""All couriers: who is at work, what place each of them has, and who wakes them."""

import asyncio
from collections.abc import Iterable

import structlog

from probe.core.notices import Place, Turn, Wording
from probe.notify.charge import CourierCharge
from probe.notify.courier import Courier, OutboxError
from probe.notify.desk import Desk, Enclose, Kept, Pace, Watch

log = structlog.get_logger("notify")

ENROL_AGAIN_S = 5.0


class Office:
    """Gives each courier a desk and a task of its own, so that none waits for another."""

    def __init__(self, *, kept: Kept, watch: Watch, enclose: Enclose, pace: Pace | None = None) -> None:
        self._kept = kept
        self._watch = watch
        self._enclose = enclose
        self._pace = pace or Pace()
        self._wording = Wording(vantage="")
        self._desks: dict[CourierCharge, tuple[Desk, asyncio.Task[None]]] = {}
        self._wanted: dict[CourierCharge, Courier] = {}
        self._something = asyncio.Event()
        self._changed = False

    def configure(self, couriers: Iterable[tuple[CourierCharge, Courier]], wording: Wording) -> None:
        """Work with these couriers from now on and no others; one that stays as it is goes on with what it does."""
        self._wanted = dict(couriers)
        self._wording = wording
        self._changed = True
        self.wake()

    def wake(self) -> None:
        """Hear that the ledger keeps something more that is to be told; never wait."""
        self._something.set()

    def urgent(self, turn: Turn) -> None:
        """Tell a turn that can't be kept now; never wait."""
        for desk, _ in self._desks.values():
            desk.urgent(turn)

    async def enrol(self) -> None:
        """Give every courier its place and its desk.

        Raises:
            OutboxError: If the ledger can't be written now; call it again.
        """
        places = await self._kept.enrol(frozenset(charge.name for charge in self._wanted))
        wanted, self._changed = self._wanted, False
        come: dict[str, Place] = {}
        for charge in [charge for charge in self._desks if charge not in wanted]:
            desk, task = self._desks.pop(charge)
            task.cancel()
            await asyncio.wait({task})
            come[charge.name] = desk.place  # At times further than the ledger could keep.
        for charge, courier in wanted.items():
            # A courier that came while the places were asked for is enrolled at the next turn.
            if charge in self._desks or charge.name not in places:
                continue
            desk = Desk(
                charge=charge,
                courier=courier,
                kept=self._kept,
                place=max(places[charge.name], come.get(charge.name, Place())),
                wording=lambda: self._wording,
                enclose=self._enclose,
                watch=self._watch,
                pace=self._pace,
            )
            task = asyncio.create_task(desk.run(), name=f"courier-{charge.name}")
            task.add_done_callback(_say_end)
            self._desks[charge] = (desk, task)
        self.wake()

    async def work_forever(self) -> None:
        """Wake the desks when there is something to tell, and take up what was configured."""
        is_in_trouble = False
        while True:
            await self._something.wait()
            self._something.clear()
            try:
                if self._changed:
                    await self.enrol()
                    self._something.clear()
                for desk, _ in list(self._desks.values()):
                    await self._wake(desk)
                is_in_trouble = False
            except OutboxError as error:
                if not is_in_trouble:
                    log.error("notify.outbox_trouble", reason=str(error))
                is_in_trouble = True
                await asyncio.sleep(ENROL_AGAIN_S)
                self.wake()

    async def _wake(self, desk: Desk) -> None:
        """Tell a desk how many notices wait for it; if it told some meanwhile, count again."""
        place = None
        while place != desk.place:
            place = desk.place
            waiting = await self._kept.count_after(place)
        desk.wake(waiting)

    async def close(self) -> None:
        """End all desks; what is not told yet is told after the next start."""
        tasks = [task for _, task in self._desks.values()]
        self._desks = {}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _say_end(task: "asyncio.Task[None]") -> None:
    """Say that a desk ended though nobody told it to: that is a bug of ours, and no reason to stop probing."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("courier.ended", courier=task.get_name(), exc_info=error)
