"""The ledger, as the API asks it: reads beside the writer, and amendments through it."""

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Final, TypeVar

import structlog

from probe.core.model import Amendment, IssueEvent
from probe.ledger import Ledger, LedgerError, RemarkKind, known_targets, remarks_of, turns_of
from probe.ledger.thread import Worker
from probe.web import Decide, Unavailable

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
    ) -> None:
        self._address = address
        self._ledger = ledger
        self._troubled = troubled
        self._targets = targets
        self._worker = Worker("ledger-reader")
        self._tasks: set[asyncio.Task[object]] = set()

    async def turns(self, *, target: str | None, issue: str | None, turns_max: int) -> tuple[IssueEvent, ...]:
        """Read the newest turns of Critical Issues, in the order in which they were kept."""
        return await self._read(lambda: turns_of(self._address, target=target, issue=issue, turns_max=turns_max))

    async def amendments(self) -> tuple[Amendment, ...]:
        """Read the amendments, in the order in which they were kept."""
        return await self._read(lambda: remarks_of(self._address, RemarkKind.AMENDMENT))

    async def amend(self, decide: Decide) -> tuple[Amendment, ...]:
        """Keep what `decide` makes of the amendments and the targets that are known; give all amendments with it."""
        if self._troubled():
            raise Unavailable("The ledger can't be written now, so nothing is added; /api/v1/status says why.")
        targets = {*await self._read(lambda: known_targets(self._address)), *self._targets()}
        seen: list[Amendment] = []

        def deciding(known: tuple[Amendment, ...]) -> Amendment:
            seen[:] = known
            return decide(known, targets)

        # Cancelled or not, it is kept or refused as a whole; the next reading tells which.
        amendment = await self._bounded(self._ledger.amend(deciding))
        log.info("ledger.amended", remark=str(amendment))
        return (*seen, amendment)

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
