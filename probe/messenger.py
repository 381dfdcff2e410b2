"""Between the ledger, the couriers and those who watch them: metrics, status and log."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import structlog

from probe.clock import SECOND_US, Clock
from probe.core.model import Terms
from probe.core.notices import Delivery, Notice, Place, Turn, Wording, wants_call_sheet
from probe.ledger import LedgerError, Outbox
from probe.metrics import Metrics
from probe.notify import Courier, CourierCharge, Office, OutboxError, Pace
from probe.sheets import Sheets
from probe.times import utc
from probe.view import CourierView, View

log = structlog.get_logger("notify")

# A courier that has failed for longer is shown in the status, and gets its line.
FAILING_LONG_S = 60
# Profiles whose contract has no Severity 1 line.
WITHOUT_LINE = frozenset({"bird-premium-email"})


@dataclass(slots=True)
class _Failing:
    since_us: int  # of the monotonic clock
    since_second: int
    said: bool = False


class Messenger:
    """Lets couriers tell what the ledger keeps, and shows how they fare."""

    def __init__(
        self,
        *,
        outbox: Outbox,
        sheets: Sheets,
        clock: Clock,
        metrics: Metrics,
        view: View,
        failing_long_s: float = FAILING_LONG_S,
    ) -> None:
        self._outbox = outbox
        self._sheets = sheets
        self._clock = clock
        self._metrics = metrics
        self._view = view
        self._failing_long_us = round(failing_long_s * SECOND_US)
        self._failing: dict[str, _Failing] = {}
        self.office = Office(kept=_Shelf(outbox), watch=self, enclose=self._enclose, pace=Pace())

    def configure(
        self,
        couriers: Iterable[tuple[CourierCharge, Courier]],
        vantage: str,
        terms: Mapping[str, Terms],
        calls: Mapping[str, str],
    ) -> None:
        """Tell through these couriers from now on, and no others."""
        wanted = tuple(couriers)
        known = self._view.couriers
        kinds = {charge.name: str(charge.kind) for charge, _ in wanted}
        self._view.couriers = {
            name: known[name] if name in known and known[name].kind == kind else CourierView(kind=kind)
            for name, kind in kinds.items()
        }
        self._failing = {name: failing for name, failing in self._failing.items() if name in kinds}
        without_line = frozenset(target for target, agreed in terms.items() if agreed.profile in WITHOUT_LINE)
        self.office.configure(wanted, Wording(vantage=vantage, without_line=without_line, calls=calls))

    async def open(self) -> None:
        """Give the couriers their places before the first second, so that none of its turns is missed."""
        try:
            await self.office.enrol()
        except OutboxError as error:  # It is tried again.
            log.error("notify.outbox_trouble", reason=str(error))

    async def _enclose(self, notice: Notice) -> Notice:
        """Give the notice that asks for a call its call sheet."""
        if not wants_call_sheet(notice):
            return notice
        return replace(notice, call_sheet=await self._sheets.text_of(notice.target, notice.issue))

    async def close(self) -> None:
        """End all."""
        await self.office.close()
        self._outbox.close()

    # What the desks say.

    def tried(self, courier: str, delivery: Delivery) -> None:
        """Count a try."""
        self._metrics.observe_delivery(courier, delivery)

    def waiting(self, courier: str, notices: int) -> None:
        """Show how many notices wait."""
        self._metrics.set_outbox_waiting(courier, notices)
        if courier in self._view.couriers:
            self._view.couriers[courier].waiting = notices

    def failed(self, courier: str, words: str) -> None:
        """Show that a courier fails, and once it has for long say so, once."""
        now_us = self._clock.monotonic_us()
        self._metrics.set_courier_failing(courier, True)
        failing = self._failing.get(courier)
        if failing is None:
            since_second = self._clock.now_us() // SECOND_US
            failing = self._failing[courier] = _Failing(since_us=now_us, since_second=since_second)
        if now_us - failing.since_us < self._failing_long_us:
            return
        if not failing.said:
            failing.said = True
            log.error("courier.failing", courier=courier, since=utc(failing.since_second), words=words)
        if courier in self._view.couriers:
            shown = self._view.couriers[courier]
            shown.failing_since_second, shown.trouble = failing.since_second, words

    def worked(self, courier: str) -> None:
        """Show that a courier works."""
        self._metrics.set_courier_failing(courier, False)
        failing = self._failing.pop(courier, None)
        if courier in self._view.couriers:
            self._view.couriers[courier].trouble = ""
        if failing is not None and failing.said:
            log.warning("courier.works_again", courier=courier, failed_since=utc(failing.since_second))

    def given_up(self, courier: str, notice: Notice, words: str) -> None:
        """Say that a notice will not be told."""
        log.error("courier.gave_up", courier=courier, notice=notice.key, words=words)


class _Shelf:
    """The ledger's outbox, with its errors in the couriers' words."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox

    async def enrol(self, names: frozenset[str]) -> Mapping[str, Place]:
        try:
            return await self._outbox.enrol(names)
        except LedgerError as error:
            raise OutboxError(str(error)) from error

    async def after(self, place: Place, limit: int) -> tuple[tuple[Place, Turn], ...]:
        try:
            return await self._outbox.after(place, limit)
        except LedgerError as error:
            raise OutboxError(str(error)) from error

    async def count_after(self, place: Place) -> int:
        try:
            return await self._outbox.count_after(place)
        except LedgerError as error:
            raise OutboxError(str(error)) from error

    async def settle(self, name: str, place: Place) -> None:
        try:
            await self._outbox.settle(name, place)
        except LedgerError as error:
            raise OutboxError(str(error)) from error
