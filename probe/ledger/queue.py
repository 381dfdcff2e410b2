"""Between the cadence and the disk: a bounded queue, and the one task that empties it.

The runner offers a batch each second and never waits. The task takes what has gathered, merges it into one batch, at
most one a second while it keeps up, and appends it until the ledger says that it is kept; only then are its steps told
(`on_kept`), each exactly once, in order. A batch that is being tried is never changed, because the ledger knows it
again by what it is. While a commit fails, or does not come back, `on_trouble` says why and how many records wait; the
runner may tell people all the same, with the words "not yet recorded". `on_recovered` says that this is over: all that
waited when the ledger came back is kept and told by then.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential, wait_random

from probe.core.model import Remark
from probe.ledger.errors import LedgerUnwritable
from probe.ledger.records import Batch, Commit

COMMIT_INTERVAL_S = 1.0
SLOW_COMMIT_S = 2.0
RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0
# Bounds one transaction, so that a long backlog is written in portions of about a quarter of a second.
BATCH_RECORDS_MAX = 20_000


class Appends(Protocol):
    """What the queue asks of a ledger."""

    async def append(self, batch: Batch) -> Commit:
        """Keep a batch, or raise LedgerUnwritable."""
        ...


class LedgerQueue:
    """Holds what is not kept yet, and keeps it."""

    def __init__(
        self,
        ledger: Appends,
        *,
        records_max: int,
        on_kept: Callable[[Batch, Commit], None],
        on_trouble: Callable[[str, int], None],
        on_recovered: Callable[[], None],
        commit_interval_s: float = COMMIT_INTERVAL_S,
        slow_commit_s: float = SLOW_COMMIT_S,
        retry_first_s: float = RETRY_FIRST_S,
    ) -> None:
        self._ledger = ledger
        self._records_max = records_max
        self._on_kept = on_kept
        self._on_trouble = on_trouble
        self._on_recovered = on_recovered
        self._commit_interval_s = commit_interval_s
        self._slow_commit_s = slow_commit_s
        self._retry_first_s = retry_first_s
        self._waiting: deque[Batch] = deque()
        self._records = 0
        self._trying = 0
        self._troubled = False
        # Since the ledger came back: how many of the batches that waited then still do.
        self._behind: int | None = None
        self._offered = asyncio.Event()
        self._emptied = asyncio.Event()
        self._emptied.set()
        self._draining = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def records(self) -> int:
        """Count the records that are not kept yet, those of a commit under way included."""
        return self._records

    @property
    def full(self) -> bool:
        """Say whether no second should be begun now; those that were begun before are taken all the same."""
        return self._records >= self._records_max

    @property
    def troubled(self) -> bool:
        """Say whether the ledger cannot be written at the moment."""
        return self._troubled

    def start(self) -> asyncio.Task[None]:
        """Start the task; it ends only by `stop`, or with an error that is our own bug."""
        assert self._task is None
        self._task = asyncio.create_task(self._run(), name="ledger-queue")
        return self._task

    def offer(self, batch: Batch) -> None:
        """Take a batch; never wait.

        Also while `full`: whoever begins no second then has few open ones left to offer, so what waits stays bounded.
        """
        records = batch.records
        if not records:
            return
        self._waiting.append(batch)
        self._records += records
        self._emptied.clear()
        self._offered.set()

    def remark(self, remark: Remark) -> None:
        """Take what is kept beside the seconds; never wait."""
        self.offer(Batch(remarks=(remark,)))

    async def drain(self, timeout_s: float) -> int:
        """Hurry, wait until all is kept or the time is over, and return how many records are still not kept."""
        self._draining.set()
        emptied = asyncio.create_task(self._emptied.wait())
        waited = {emptied} if self._task is None else {emptied, self._task}
        await asyncio.wait(waited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        emptied.cancel()
        self._draining.clear()
        return self._records

    async def stop(self) -> None:
        """End the task; a commit under way may still be kept, but is not told."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._offered.wait()
            begun_s = loop.time()
            batch = self._take()
            commit = await self._keep(batch)
            self._records -= self._trying
            self._trying = 0
            self._on_kept(batch, commit)
            self._catch_up()
            if not self._waiting:
                self._offered.clear()
                self._emptied.set()
            # What gathered while this one was written is due at once if writing took longer than the interval.
            await self._pause(begun_s + self._commit_interval_s - loop.time())

    def _take(self) -> Batch:
        """Merge what waits into one batch, in which each target has one set of terms, up to a bound."""
        first = self._waiting.popleft()
        self._trying = first.records
        taken, terms = [first], dict(first.terms)
        while self._waiting and self._trying + self._waiting[0].records <= BATCH_RECORDS_MAX:
            following = self._waiting[0]
            # Not every target closes a second each time, so the terms of two batches need not be the same ones.
            if any(terms.get(target, agreed) != agreed for target, agreed in following.terms.items()):
                break
            terms.update(following.terms)
            self._trying += following.records
            taken.append(self._waiting.popleft())
        if self._behind is not None:
            self._behind -= len(taken)
        if len(taken) == 1:
            return first
        return Batch(
            steps=tuple([step for batch in taken for step in batch.steps]),
            controls=tuple([control for batch in taken for control in batch.controls]),
            states=tuple([state for batch in taken for state in batch.states]),
            remarks=tuple([remark for batch in taken for remark in batch.remarks]),
            terms=terms,
        )

    async def _keep(self, batch: Batch) -> Commit:
        """Append until it is kept."""
        # To build what retries costs more than the rest of a turn, and nearly every batch is kept at once.
        try:
            return await self._append(batch)
        except LedgerUnwritable as error:
            self._trouble(str(error))
        await self._pause(self._retry_first_s)
        retrying = AsyncRetrying(
            sleep=self._pause,
            wait=wait_exponential(self._retry_first_s, RETRY_MAX_S - self._retry_first_s)
            + wait_random(0, self._retry_first_s),
            retry=retry_if_exception_type(LedgerUnwritable),
            before_sleep=self._failed,
        )
        return await retrying(self._append, batch)

    async def _append(self, batch: Batch) -> Commit:
        commit = asyncio.ensure_future(self._ledger.append(batch))
        try:
            done, _ = await asyncio.wait({commit}, timeout=self._slow_commit_s)
            if not done:
                self._trouble(f"the ledger has not answered for {self._slow_commit_s:g} s")
            return await commit
        except asyncio.CancelledError:
            commit.cancel()
            raise

    def _failed(self, attempt: RetryCallState) -> None:
        assert attempt.outcome is not None
        self._trouble(str(attempt.outcome.exception()))

    def _trouble(self, reason: str) -> None:
        self._troubled = True
        self._behind = None
        self._on_trouble(reason, self._records)

    def _catch_up(self) -> None:
        """Say that the trouble is over once what had waited is kept; what was offered since is nobody's backlog."""
        if not self._troubled:
            return
        if self._behind is None:
            self._behind = len(self._waiting)
        if self._behind <= 0:
            self._troubled, self._behind = False, None
            self._on_recovered()

    async def _pause(self, pause_s: float) -> None:
        """Wait, but not while a caller of `drain` does."""
        if pause_s <= 0:
            await asyncio.sleep(0)
            return
        if self._draining.is_set():
            # Even then not in a busy loop: a disk that fails at once is asked again soon, not always.
            await asyncio.sleep(min(pause_s, self._retry_first_s))
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._draining.wait()
