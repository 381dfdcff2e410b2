"""The ledger as the runner sees it: asynchronous, with one thread that writes."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Self

from probe import clock
from probe.core.case_happenings import CaseHappening
from probe.core.happenings import Happening
from probe.core.model import Amendment, Terms
from probe.ledger import amending, retention
from probe.ledger import recover as recovery
from probe.ledger.outbox import Outbox
from probe.ledger.records import Batch, Commit
from probe.ledger.remarks import Proposal
from probe.ledger.store import Head, Store
from probe.ledger.thread import Worker

CLOSE_TIMEOUT_S = 1.0
CUT_ROWS_MAX = 5_000


class Ledger:
    """One ledger, written by this process alone.

    All calls but `recover` run in one thread of their own, in the order in which they were made.
    """

    def __init__(self, address: str, vantage: str, *, wall_us: Callable[[], int] = clock.wall_us) -> None:
        self._address = address
        self._store = Store(address, vantage, wall_us)
        self._worker = Worker("ledger")

    @property
    def head(self) -> Head:
        """Give the newest batch that is known to be kept."""
        return self._store.head

    @property
    def name(self) -> str:
        """Name the ledger as it may be shown: without a password."""
        return self._store.address.name

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Connect, make or migrate the tables, read the head.

        Raises:
            LedgerTooNew: If a newer program wrote it.
            LedgerUnwritable: If it cannot be opened for writing.
        """
        await self._worker.run(self._store.open)

    async def append(self, batch: Batch) -> Commit:
        """Keep a batch in one synced transaction.

        After LedgerUnwritable append the very same object again: it is kept once, whatever the outcome was.

        Raises:
            LedgerUnwritable: If it is not known to be kept.
            LedgerRefused: If it contradicts what is kept (a second or an attempt twice).
        """
        return await self._worker.run(lambda: self._store.append(batch))

    async def recover(self, terms: Mapping[str, Terms], *, check_chain: bool = True) -> recovery.Recovery:
        """Find the state of each target and compare the record with the rules; write nothing.

        It reads through a connection and in a thread of its own, so batches are kept meanwhile. At a start ask for all
        configured targets; for targets that a reload adds, do without checking the chain: it was checked at the start.

        Raises:
            LedgerError: If it cannot be read.
        """
        address = self._address
        worker = Worker("ledger-recovery")
        try:
            return await worker.run(lambda: recovery.recover_from(address, terms, check_chain=check_chain))
        finally:
            worker.stop()

    async def cut(
        self,
        now_second: int,
        attempts_kept_s: float,
        verdicts_kept_s: float,
        rows_max: int = CUT_ROWS_MAX,
        targets: Collection[str] | None = None,
    ) -> retention.CutReport:
        """Take one small step of retention; call it between batches, again while it is not `finished`.

        `targets` are the configured ones; without them those of the last batch's terms count, and nothing is cut before
        the first batch of this run. What a restart needs for them stays.
        """

        def run() -> retention.CutReport:
            needed = self._store.known_targets if targets is None else targets
            return retention.cut(self._store, needed, now_second, attempts_kept_s, verdicts_kept_s, rows_max)

        return await self._worker.run(run)

    async def take_inbox(self) -> tuple[Proposal, ...]:
        """Seal what others asked to be kept (`propose`), and give it; call it every second or two.

        Raises:
            LedgerUnwritable: If it is not known to be kept; it is taken the next time.
        """
        return await self._worker.run(self._store.take_inbox)

    def outbox(self) -> Outbox:
        """Make the outbox: what is kept and to be told. The caller closes it."""
        return Outbox(self._address, self._worker, self._store)

    async def amend(self, decide: amending.Decide) -> Amendment:
        """Keep the amendment that `decide` makes of those that are kept already, and give it; what it raises is raised.

        It runs in the writer's thread. Where the caller is cancelled, it may be kept all the same.

        Raises:
            LedgerUnwritable: If it is not known to be kept.
        """
        return await self._worker.run(lambda: amending.amend(self._store, decide))

    async def tell(self, decide: amending.Tell) -> Happening:
        """Keep the happening that `decide` makes of the lives as they are, and give it; likewise.

        Raises:
            LedgerUnwritable: If it is not known to be kept.
        """
        return await self._worker.run(lambda: amending.tell(self._store, decide))

    async def tell_case(self, decide: amending.TellCase) -> CaseHappening:
        """Keep the happening that `decide` makes of the cases as they are, and give it; likewise.

        Raises:
            LedgerUnwritable: If it is not known to be kept.
        """
        return await self._worker.run(lambda: amending.tell_case(self._store, decide))

    async def draft(self, target: str, decide: amending.Draft) -> CaseHappening | None:
        """Keep what `decide` makes of the cases of a target as they are, if anything, and give it; likewise.

        Raises:
            LedgerUnwritable: If it is not known to be kept.
        """
        return await self._worker.run(lambda: amending.draft(self._store, target, decide))

    async def close(self) -> None:
        """Let go of the database and end the thread; give up on a disk that hangs."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._worker.run(self._store.close)
        self._worker.stop()
