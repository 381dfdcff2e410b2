"""Counts each target's calendar month for the metrics: begun from the ledger's totals, gone on with each second kept.

The ledger is read at the start, when a target comes into view, and whenever an amendment changes what is excluded; that
may take seconds for a month, in a thread of its own. What is kept meanwhile is counted beside it.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from probe.core.amendments import in_force
from probe.core.engine import TargetState
from probe.core.model import Amendment, Step, Terms
from probe.core.month import MonthTally
from probe.core.totals import Count
from probe.ledger import LedgerError, RemarkKind, account_of, remarks_of
from probe.ledger.thread import Worker
from probe.metrics import Metrics

log = structlog.get_logger("monthbook")

LOOK_INTERVAL_S = 1.0
RETRY_INTERVAL_S = 30.0


@dataclass(slots=True, kw_only=True)
class _Following:
    terms: Terms
    last_second: int  # the last one that was kept; 0 before the first
    tally: MonthTally | None = None  # what is shown; whole
    coming: MonthTally | None = None  # what counts while the ledger is read for it
    is_stale: bool = True  # the ledger is to be read


class MonthBook:
    """Knows the months of the targets that are watched."""

    def __init__(self, *, address: str, metrics: Metrics, paused: Callable[[], bool]) -> None:
        """`paused` says that the ledger is in trouble."""
        self._address = address
        self._metrics = metrics
        self._paused = paused
        self._followed: dict[str, _Following] = {}
        self._worker = Worker("month-reader")

    def configure(self, terms: Mapping[str, Terms], states: Mapping[str, TargetState]) -> None:
        """Follow these targets from now on; `states` are those of targets that come into view."""
        before, self._followed = self._followed, {}
        for target, agreed in terms.items():
            following = before.get(target)
            if following is None or target in states:
                last_second = states[target].next_second - 1 if target in states else 0
                following = _Following(terms=agreed, last_second=last_second)
            elif following.terms.surfaces != agreed.surfaces:
                following.is_stale = True
            following.terms = agreed
            self._followed[target] = following

    def amended(self) -> None:
        """Hear that what is excluded has changed."""
        for following in self._followed.values():
            following.is_stale = True

    def observe(self, step: Step) -> None:
        """Count a step that is kept."""
        following = self._followed.get(step.target)
        if following is None:
            return
        following.last_second = last_second = step.second + step.seconds - 1
        for tally in (following.tally, following.coming):
            if tally is not None:
                tally.add(step)
        shown = following.tally
        if shown is not None and last_second > shown.month.last_second:
            # Nothing of the new month was kept before; its windows, if there are any, come with the next reading.
            following.tally = MonthTally(step.target, following.terms.surfaces, shown.month.last_second, ())
            following.tally.add(step)
            following.is_stale = True
        self._show(step.target, following)

    async def follow_forever(self) -> None:
        """Read the ledger for those whose month is not known."""
        while True:
            could = await self.look()
            await asyncio.sleep(LOOK_INTERVAL_S if could else RETRY_INTERVAL_S)

    async def look(self) -> bool:
        """Read what is to be read; say whether all of it could be."""
        stale = [(target, one) for target, one in self._followed.items() if one.is_stale and one.last_second]
        if not stale or self._paused():
            return True
        try:
            amendments = await self._worker.run(lambda: remarks_of(self._address, RemarkKind.AMENDMENT))
            for target, following in stale:
                begun_s = asyncio.get_running_loop().time()
                await self._read(target, following, in_force(amendments))
                # Of hundreds of targets' months the processor shall have time for the attempts as well.
                await asyncio.sleep(asyncio.get_running_loop().time() - begun_s)
        except LedgerError as error:
            log.warning("month.not_read", reason=str(error))
            return False
        return True

    def close(self) -> None:
        """End the thread."""
        self._worker.stop()

    async def _read(self, target: str, following: _Following, holding: tuple[Amendment, ...]) -> None:
        """Begin a tally after the last second that was kept, and add what the record has of the month up to there."""
        if self._paused():
            return
        through = following.last_second
        coming = following.coming = MonthTally(target, following.terms.surfaces, through, holding)
        following.is_stale = False
        try:
            if through >= coming.month.first_second:
                first = coming.month.first_second
                account = await self._worker.run(lambda: account_of(self._address, first, through, target))
                coming.begin_with(account.tallies[0].totals[-1].as_amended if account.tallies else Count())
        except LedgerError:
            following.is_stale = True
            raise
        if following.last_second > coming.month.last_second:
            following.is_stale = True  # The month ended meanwhile.
            return
        following.tally, following.coming = coming, None
        self._show(target, following)

    def _show(self, target: str, following: _Following) -> None:
        if following.tally is not None and self._followed.get(target) is following:
            self._metrics.contract.show_month(target, following.tally.count(), following.terms.objective_ppm)
