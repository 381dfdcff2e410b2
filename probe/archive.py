"""The ledger, as the API asks it: reads beside the writer, and amendments through it."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import asdict
from typing import Any, Final, TypeVar

import structlog

from probe import clock
from probe.core.happenings import Happening
from probe.core.lives import Life, Lives, add, distinct
from probe.core.model import Amendment
from probe.core.obligations import Pledges, obligations
from probe.issues import as_html, as_text, whole_of
from probe.ledger import Ledger, LedgerError, RemarkKind, known_targets, lives_in, remarks_of
from probe.ledger.thread import Worker
from probe.sheets import Sheets
from probe.web import Decide, Tell, Unavailable

WAITING_MAX: Final = 32  # calls that wait for the disk, those whose clients gave up included
T = TypeVar("T")

log = structlog.get_logger("daemon")


class Archive:
    """Reads one ledger in a thread of its own, and writes to it in the writer's; a disk that hangs holds up no more."""

    def __init__(
        self,
        address: str,
        ledger: Ledger,
        *,
        troubled: Callable[[], bool],
        targets: Callable[[], Collection[str]],
        pledges: Callable[[str], Pledges],
        told: Callable[[Happening], None],
        sheets: Sheets,
    ) -> None:
        self._address = address
        self._ledger = ledger
        self._troubled = troubled
        self._targets = targets
        self._pledges = pledges
        self._told = told
        self._sheets = sheets
        self._worker = Worker("ledger-reader")
        self._tasks: set[asyncio.Task[object]] = set()

    async def lives(self) -> tuple[Life, ...]:
        """Read the lives of all issues, each once, by target and in the order in which they began."""
        found = await self._read(lambda: lives_in(self._address))
        return tuple(life for lives in found.values() for life in distinct(lives))

    async def tell(self, decide: Tell) -> Life:
        """Keep the happening that `decide` makes of the lives as they are; give the life that it leads to."""
        self._check()
        seen: list[Life] = []

        def deciding(lives: Mapping[str, Lives]) -> Happening:
            seen[:] = [life for of_target in lives.values() for life in distinct(of_target)]
            return decide(seen)

        happening = await self._bounded(self._ledger.tell(deciding))
        self._told(happening)
        return add(next(life for life in seen if happening.issue == life.issue), happening)

    def described(self, life: Life) -> Mapping[str, Any]:
        """Say where an issue stands, what happened, and what is owed now."""
        return whole_of(life, obligations(life, self._pledges(life.target), clock.wall_us()))

    async def call_sheet(self, life: Life) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Write the call sheet of an issue: its fields, and pages by media type."""
        sheet = await self._read(lambda: self._sheets.write(life))
        return asdict(sheet), {"text/html": as_html(sheet), "text/plain": as_text(sheet)}

    async def amendments(self) -> tuple[Amendment, ...]:
        """Read the amendments, in the order in which they were kept."""
        return await self._read(lambda: remarks_of(self._address, RemarkKind.AMENDMENT))

    async def amend(self, decide: Decide) -> tuple[Amendment, ...]:
        """Keep what `decide` makes of the amendments and the targets that are known; give all amendments with it."""
        self._check()
        targets = {*await self._read(lambda: known_targets(self._address)), *self._targets()}
        seen: list[Amendment] = []

        def deciding(known: tuple[Amendment, ...]) -> Amendment:
            seen[:] = known
            return decide(known, targets)

        # Cancelled or not, it is kept or refused as a whole; the next reading tells which.
        amendment = await self._bounded(self._ledger.amend(deciding))
        log.info("ledger.amended", remark=str(amendment))
        return (*seen, amendment)

    def _check(self) -> None:
        if self._troubled():
            raise Unavailable("The ledger can't be written now, so nothing is added; /api/v1/status says why.")

    def close(self) -> None:
        """End the thread."""
        self._worker.stop()

    async def _read(self, read: Callable[[], T]) -> T:
        return await self._bounded(self._worker.run(read))

    async def _bounded(self, work: Coroutine[object, object, T]) -> T:
        """Wait for the ledger, but not in any number."""
        if len(self._tasks) >= WAITING_MAX:
            work.close()
            raise Unavailable("Too many calls wait for the ledger already.")
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except LedgerError as error:
            log.warning("ledger.not_asked", reason=str(error))
            raise Unavailable("The ledger can't be read or written now; the daemon's log says why.") from error

    def _done(self, task: "asyncio.Task[object]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # Seen, though the client may be gone.
