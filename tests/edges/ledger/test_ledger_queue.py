"""The queue never waits, loses nothing, and tells each step once, after it is kept."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from probe.core.model import Step
from probe.ledger import Batch, Commit, Ledger, LedgerQueue, LedgerRefused, LedgerUnwritable, verify
from probe.ledger.queue import BATCH_RECORDS_MAX

LONG_S = 5.0


class FakeLedger:
    """Keeps batches in a list, when the test lets it."""

    def __init__(self) -> None:
        self.kept: list[Batch] = []
        self.tried: list[Batch] = []
        self.open = asyncio.Event()
        self.open.set()
        self.failure: Exception | None = None

    async def append(self, batch: Batch) -> Commit:
        """Keep a batch, fail, or hang."""
        self.tried.append(batch)
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        self.kept.append(batch)
        return Commit(duration_us=1, seq=len(self.kept), digest=f"{len(self.kept):064x}")


@dataclass(slots=True)
class Teller:
    """Remembers what the queue said, in order."""

    ledger: FakeLedger | None = None
    steps: list[Step] = field(default_factory=list)
    commits: list[Commit] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)

    def kept(self, batch: Batch, commit: Commit) -> None:
        """Hear that a batch is kept."""
        if self.ledger is not None:
            assert batch in self.ledger.kept
        self.steps += batch.steps
        self.commits.append(commit)

    def trouble(self, reason: str, waiting: int) -> None:
        """Hear of trouble."""
        self.said.append(reason)
        self.waiting.append(waiting)

    def recovered(self) -> None:
        """Hear of its end."""
        self.said.append("recovered")


def make_queue(ledger: Any, teller: Teller, **options: Any) -> LedgerQueue:
    """Make a queue with short times."""
    settings = {"records_max": 1_000, "commit_interval_s": 0.0, "slow_commit_s": LONG_S, "retry_first_s": 0.005}
    return LedgerQueue(
        ledger,
        on_kept=teller.kept,
        on_trouble=teller.trouble,
        on_recovered=teller.recovered,
        **{**settings, **options},
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so; fail when it takes long."""
    async with asyncio.timeout(LONG_S):
        while not condition():  # noqa: ASYNC110 - what is waited for may be in another thread
            await asyncio.sleep(0.002)


@pytest.fixture
async def running() -> Any:
    """Give a function that starts a queue; all are stopped at the end."""
    queues: list[LedgerQueue] = []

    def start(queue: LedgerQueue) -> LedgerQueue:
        queues.append(queue)
        queue.start()
        return queue

    yield start
    for queue in queues:
        await queue.stop()


async def test_what_is_offered_is_kept_and_told_once(script: Any, running: Any) -> None:
    """Steps come out in order, after they are kept, and the queue is empty then."""
    ledger = FakeLedger()
    teller = Teller(ledger)
    queue = running(make_queue(ledger, teller))
    for batch in script.story():
        queue.offer(batch)

    assert await queue.drain(LONG_S) == 0
    assert teller.steps == script.steps
    assert queue.records == 0
    assert teller.said == []
    assert not queue.troubled


async def test_what_gathers_during_a_commit_becomes_one_batch(script: Any, running: Any) -> None:
    """A slow disk neither blocks an offer nor gets more than one commit at a time."""
    ledger = FakeLedger()
    ledger.open.clear()
    teller = Teller(ledger)
    queue = running(make_queue(ledger, teller))
    queue.offer(script.second())
    await until(lambda: len(ledger.tried) == 1)
    for _ in range(5):
        queue.offer(script.second())

    assert queue.records == 6 * 10
    assert teller.steps == []
    ledger.open.set()
    assert await queue.drain(LONG_S) == 0
    assert [len(batch.steps) for batch in ledger.kept] == [2, 10]
    assert teller.steps == script.steps


async def test_batches_of_other_terms_are_not_merged(script: Any, running: Any) -> None:
    """Each verdict is kept with the terms that it was judged by, also when a reload falls into an outage."""
    ledger = FakeLedger()
    queue = make_queue(ledger, Teller(ledger))
    queue.offer(script.second())
    terms = script.terms["main"]
    script.terms = dict.fromkeys(script.terms, replace(terms, objective_ppm=1))
    queue.offer(script.second())
    queue.offer(script.second())
    running(queue)

    assert await queue.drain(LONG_S) == 0
    assert [batch.terms["main"].objective_ppm for batch in ledger.kept] == [999_900, 1]


async def test_a_backlog_is_written_in_portions(script: Any, running: Any) -> None:
    """One transaction stays bounded, however long the outage was."""
    ledger = FakeLedger()
    queue = make_queue(ledger, Teller(ledger), records_max=10**6)
    big = script.second()
    big = replace(big, controls=big.controls * (BATCH_RECORDS_MAX // 4))
    for _ in range(3):
        queue.offer(big)
    running(queue)

    assert await queue.drain(LONG_S) == 0
    assert [len(batch.steps) for batch in ledger.kept] == [2, 2, 2]


async def test_the_queue_is_bounded(script: Any, running: Any) -> None:
    """When it is full it says so; what was begun before is taken all the same, and nothing is lost."""
    ledger = FakeLedger()
    teller = Teller(ledger)
    queue = make_queue(ledger, teller, records_max=25)
    offered = 0
    while not queue.full:
        queue.offer(script.second())
        offered += 1

    assert (offered, queue.records) == (3, 30)
    queue.offer(script.second())
    assert queue.records == 40
    running(queue)
    assert await queue.drain(LONG_S) == 0
    assert queue.records == 0
    assert teller.steps == script.steps


async def test_a_failing_ledger_is_tried_until_it_works(script: Any, running: Any) -> None:
    """Trouble is told with its reason and the number that waits, the same batch is tried again, and its end is told."""
    ledger = FakeLedger()
    ledger.failure = LedgerUnwritable("ledger.db: the disk is full")
    teller = Teller(ledger)
    queue = running(make_queue(ledger, teller))
    queue.offer(script.second())
    await until(lambda: len(teller.said) >= 1)
    queue.offer(script.second())
    await until(lambda: len(teller.said) >= 3)

    assert set(teller.said) == {"ledger.db: the disk is full"}
    assert (teller.waiting[0], teller.waiting[-1]) == (10, 20)
    assert teller.steps == []
    assert all(batch is ledger.tried[0] for batch in ledger.tried)
    ledger.failure = None
    assert await queue.drain(LONG_S) == 0
    assert teller.said[-1] == "recovered"
    assert teller.said.count("recovered") == 1
    assert teller.steps == script.steps


async def test_trouble_is_over_when_what_waited_is_kept(script: Any, running: Any) -> None:
    """However many commits the backlog takes, its end is told once, after the last of it is told as kept."""
    ledger = FakeLedger()
    ledger.failure = LedgerUnwritable("ledger.db: the disk is full")
    teller = Teller(ledger)
    told_by_then: list[int] = []
    queue = make_queue(ledger, teller, records_max=10**6)
    queue._on_recovered = lambda: told_by_then.append(len(teller.steps))
    for _ in range(4):
        batch = script.second()
        queue.offer(replace(batch, controls=batch.controls * (BATCH_RECORDS_MAX // 4)))
    running(queue)
    await until(lambda: bool(teller.said))
    ledger.failure = None
    await until(lambda: bool(told_by_then))

    assert len(ledger.kept) == 4
    assert told_by_then == [8]
    assert not queue.troubled


async def test_trouble_during_the_catching_up_goes_on(script: Any, running: Any) -> None:
    """A disk that is full again before all is written was not well in between."""
    ledger = FakeLedger()
    ledger.failure = LedgerUnwritable("ledger.db: the disk is full")
    teller = Teller(ledger)
    queue = make_queue(ledger, teller, records_max=10**6)
    for _ in range(3):
        batch = script.second()
        queue.offer(replace(batch, controls=batch.controls * (BATCH_RECORDS_MAX // 4)))
    tell = queue._on_kept

    def full_again(batch: Batch, commit: Commit) -> None:
        tell(batch, commit)
        ledger.failure = LedgerUnwritable("ledger.db: the disk is full again") if len(ledger.kept) == 1 else None

    queue._on_kept = full_again
    running(queue)
    await until(lambda: bool(teller.said))
    ledger.failure = None
    await until(lambda: "ledger.db: the disk is full again" in teller.said)
    assert "recovered" not in teller.said
    ledger.failure = None
    assert await queue.drain(LONG_S) == 0

    assert teller.said.count("recovered") == 1
    assert teller.steps == script.steps


async def test_a_commit_that_does_not_come_back_is_trouble(script: Any, running: Any) -> None:
    """A disk that hangs is told of, and the batch is told as kept once it answers."""
    ledger = FakeLedger()
    ledger.open.clear()
    teller = Teller(ledger)
    queue = running(make_queue(ledger, teller, slow_commit_s=0.02))
    queue.offer(script.second())
    await until(lambda: bool(teller.said))

    assert teller.said == ["the ledger has not answered for 0.02 s"]
    assert teller.steps == []
    ledger.open.set()
    assert await queue.drain(LONG_S) == 0
    assert teller.said[1:] == ["recovered"]
    assert len(ledger.tried) == 1


async def test_draining_gives_up_in_time(script: Any, running: Any) -> None:
    """A shutdown does not wait for a dead disk, and hears how much is lost."""
    ledger = FakeLedger()
    ledger.open.clear()
    queue = running(make_queue(ledger, Teller(ledger)))
    queue.offer(script.second())

    assert await queue.drain(0.02) == 10


async def test_draining_does_not_wait_for_the_next_second(script: Any, running: Any) -> None:
    """At shutdown what waits is written at once."""
    ledger = FakeLedger()
    queue = running(make_queue(ledger, Teller(ledger), commit_interval_s=3_600.0))
    queue.offer(script.second())
    await until(lambda: len(ledger.kept) == 1)
    queue.offer(script.second())

    assert await queue.drain(LONG_S) == 0
    assert len(ledger.kept) == 2


async def test_commits_are_paced(script: Any, running: Any) -> None:
    """What is offered within one interval of the last commit waits for its end, and is one commit."""
    ledger = FakeLedger()
    teller = Teller(ledger)
    queue = running(make_queue(ledger, teller, commit_interval_s=0.1))
    for _ in range(5):
        queue.offer(script.second())
        await asyncio.sleep(0.005)
    await until(lambda: len(teller.steps) == 10)

    assert len(ledger.kept) == 2


async def test_a_contradiction_ends_the_task(script: Any) -> None:
    """What can never be kept is our own bug: the task ends with it instead of trying for ever."""
    ledger = FakeLedger()
    ledger.failure = LedgerRefused("a second has two verdicts")
    queue = make_queue(ledger, Teller(ledger))
    task = queue.start()
    queue.offer(script.second())

    assert await queue.drain(LONG_S) == 10
    with pytest.raises(LedgerRefused):
        await task


async def test_the_real_ledger_keeps_what_the_queue_holds(path: Path, script: Any, running: Any) -> None:
    """Queue, thread and file together: all is kept, told once, and the head that was told is the file's."""
    async with Ledger(str(path), "vantage-1") as ledger:
        teller = Teller()
        queue = running(make_queue(ledger, teller))
        for batch in script.story():
            queue.offer(batch)
            await asyncio.sleep(0)
        assert await queue.drain(LONG_S) == 0
        assert teller.steps == script.steps
        report = verify(str(path))
        assert (report.head_seq, report.head_digest) == (teller.commits[-1].seq, teller.commits[-1].digest)
        assert report.sound
        await queue.stop()


async def test_a_slow_disk_does_not_hold_the_loop(
    path: Path, script: Any, running: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the ledger's thread is stuck in the disk, the loop goes on and offers are taken."""
    async with Ledger(str(path), "vantage-1") as ledger:
        release = asyncio.Event()
        loop = asyncio.get_running_loop()
        append = ledger._store.append

        def stuck(batch: Batch) -> Commit:
            asyncio.run_coroutine_threadsafe(_wait(release.wait()), loop).result(LONG_S)
            return append(batch)

        monkeypatch.setattr(ledger._store, "append", stuck)
        queue = running(make_queue(ledger, Teller()))
        queue.offer(script.second())
        await asyncio.sleep(0.02)
        queue.offer(script.second())
        assert queue.records == 20
        release.set()
        assert await queue.drain(LONG_S) == 0
        await queue.stop()


async def _wait(what: Awaitable[Any]) -> None:
    await what
