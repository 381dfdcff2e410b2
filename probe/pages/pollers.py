"""Asks each page at times of its own, for as long as it is configured."""

import asyncio
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

import structlog

from probe.clock import SECOND_US, Clock
from probe.core.model import Statement
from probe.pages.page import DOCUMENTS, Page
from probe.settings import StatusPage

_log = structlog.get_logger("pages")

Tell = Callable[[Statement], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCharge:
    """A page that is to be asked: `poll_s` seconds between two requests for the same document."""

    name: str
    url: str
    poll_s: float
    timeout_s: float
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, settings: StatusPage, tls: ssl.SSLContext) -> Self:
        """Make the charge of a page that is configured."""
        return cls(name=settings.name, url=settings.url, poll_s=settings.poll_s, timeout_s=settings.timeout_s, tls=tls)


class Pollers:
    """One task for each page. Statements go to `tell`, which must not wait.

    While `paused` nothing is asked: what can't be kept would only fill memory.
    """

    def __init__(self, *, vantage: str, clock: Clock, tell: Tell, paused: Callable[[], bool] = lambda: False) -> None:
        self._vantage = vantage
        self._clock = clock
        self._tell = tell
        self._paused = paused
        self._tasks: dict[PageCharge, asyncio.Task[None]] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def configure(self, charges: Iterable[PageCharge]) -> None:
        """Ask these pages from now on and no others; one that stays as it is keeps its turn."""
        wanted = tuple(charges)
        for charge in [charge for charge in self._tasks if charge not in wanted]:
            task = self._tasks.pop(charge)
            task.cancel()
            if not task.done():
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
        for charge in wanted:
            if charge not in self._tasks:
                self._tasks[charge] = asyncio.create_task(self._poll(charge))

    async def close(self) -> None:
        """End all, also a request under way."""
        self.configure(())
        if self._ending:
            await asyncio.wait(self._ending)

    async def _poll(self, charge: PageCharge) -> None:
        page = Page(name=charge.name, url=charge.url, timeout_s=charge.timeout_s, tls=charge.tls, clock=self._clock)
        troubles = dict.fromkeys(DOCUMENTS, "")
        async with page:
            turn = 0
            while True:
                turn = max(turn + 1, self._turn_after(charge, max(self._clock.now_us(), page.retry_at_us)))
                await self._clock.sleep_until(self._due_us(charge, turn))
                if self._paused():
                    continue
                document = DOCUMENTS[turn % len(DOCUMENTS)]
                try:
                    statement = await page.ask(document)
                    self._say_change(charge, document, troubles, statement)
                    self._tell(statement)
                except Exception:  # noqa: BLE001  A page is never the end of anything; the log has the traceback.
                    _log.exception("page.failed_inside", page=charge.name, document=document)

    def _due_us(self, charge: PageCharge, turn: int) -> int:
        """Tell when a turn is due. The documents take turns, and pages and vantages are spread over the period."""
        period_us = round(charge.poll_s * SECOND_US / len(DOCUMENTS))
        return turn * period_us + _phase_us(self._vantage, charge.name, period_us)

    def _turn_after(self, charge: PageCharge, moment_us: int) -> int:
        """Find the first turn that is due after a moment; turns that a slow page has missed are left out."""
        period_us = round(charge.poll_s * SECOND_US / len(DOCUMENTS))
        return (moment_us - _phase_us(self._vantage, charge.name, period_us)) // period_us + 1

    def _say_change(self, charge: PageCharge, document: str, troubles: dict[str, str], statement: Statement) -> None:
        before, troubles[document] = troubles[document], statement.trouble
        if statement.trouble and not before:
            _log.warning("page.silent", page=charge.name, document=document, trouble=statement.trouble)
        elif before and not statement.trouble:
            _log.info("page.speaks_again", page=charge.name, document=document)


def _phase_us(vantage: str, name: str, period_us: int) -> int:
    digest = sha256("\0".join((vantage, name)).encode()).digest()
    return int.from_bytes(digest[:8], "big") % period_us
