"""The people's side of the daemon: what is followed, asked for and told of issues and cases, built together."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence

import structlog

from probe.archive import Archive
from probe.casebook import CaseBook, CaseTerms
from probe.clock import Clock
from probe.core.callsheet import whom_to_call
from probe.core.case_happenings import CaseHappening
from probe.core.engine import TargetState
from probe.core.happenings import Happening
from probe.core.lapses import Lapse
from probe.core.model import Amendment, Terms
from probe.issuebook import IssueBook
from probe.ledger import Ledger, LedgerError
from probe.messenger import Messenger
from probe.metrics import Metrics
from probe.notify import Courier, CourierCharge
from probe.settings import Settings, case_pledges_of, contacts_of, pledges_of
from probe.sheets import Sheets
from probe.view import View

log = structlog.get_logger("daemon")

INBOX_PAUSE_S = 2.0


class Casework:
    """Issues and their call sheets, couriers, what people propose, and the ledger as the API asks it."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        address: str,
        ledger: Ledger,
        troubled: Callable[[], bool],
        clock: Clock,
        metrics: Metrics,
        view: View,
        note: Callable[[Lapse], None],
    ) -> None:
        """`note` passes on to the ledger that an obligation was missed, without waiting."""
        self._ledger = ledger
        self._troubled = troubled
        sheets = Sheets(address, settings, clock)
        self.issues = IssueBook(address=address, sheets=sheets, clock=clock, metrics=metrics, view=view, tell=note)
        self.cases = CaseBook(
            address=address,
            ledger=ledger,
            clock=clock,
            metrics=metrics,
            view=view,
            tell=note,
            paused=troubled,
            drafted=lambda: self.messenger.office.wake(),
        )
        self.messenger = Messenger(outbox=ledger.outbox(), sheets=sheets, clock=clock, metrics=metrics, view=view)
        self.archive = Archive(
            address,
            ledger,
            troubled=troubled,
            settings=settings,
            told=self._told,
            sheets=sheets,
        )

    def take_up(self, kept: Iterable[Lapse]) -> None:
        """Go on with the lapses that the ledger has, in its order."""
        every = tuple(kept)
        self.issues.take_up(every)
        self.cases.take_up(every)

    def configure(
        self,
        settings: Settings,
        terms: Mapping[str, Terms],
        couriers: Sequence[tuple[CourierCharge, Courier]],
        states: Mapping[str, TargetState],
    ) -> Mapping[str, str]:
        """Follow and tell by these settings from now on; say whom to call when an issue of each target opens.

        `states` are those of targets that come into view.
        """
        pledges = {name: pledges_of(settings, name) for name in terms}
        calls = {name: whom_to_call(contacts_of(settings, name), pledges[name]) for name in terms}
        self.issues.configure(pledges)
        self.cases.configure(_case_terms(settings, terms), {name: state.next_second for name, state in states.items()})
        self.messenger.configure(couriers, settings.vantage, terms, calls)
        return calls

    def work(self) -> tuple[Coroutine[None, None, None], ...]:
        """Give what runs as long as the daemon does."""
        return (
            self.issues.follow_forever(),
            self.cases.follow_forever(),
            self.messenger.office.work_forever(),
            self._take_inbox_forever(),
        )

    async def _take_inbox_forever(self) -> None:
        """Seal what others ask the ledger's one writer to keep."""
        while True:
            await asyncio.sleep(INBOX_PAUSE_S)
            if self._troubled():
                continue
            try:
                for remark in await self._ledger.take_inbox():
                    if isinstance(remark, Amendment):
                        log.info("ledger.amended", remark=str(remark))
                    else:
                        self._told(remark)
            except LedgerError as error:
                log.warning("ledger.inbox_not_taken", reason=str(error))

    def _told(self, happening: Happening | CaseHappening) -> None:
        """Hear that what somebody told of an issue or a case is sealed."""
        if isinstance(happening, Happening):
            self.issues.told(happening)
        else:
            self.cases.told(happening)
        self.messenger.office.wake()


def _case_terms(settings: Settings, terms: Mapping[str, Terms]) -> Mapping[str, CaseTerms]:
    rule = settings.cases.draft.rule()
    return {
        name: CaseTerms(pledges=case_pledges_of(settings, name), rule=rule, window_s=agreed.persistence.window_seconds)
        for name, agreed in terms.items()
    }
