"""What the teller passes on of remarks that page somebody: at once while the ledger can't be written, and once."""

import asyncio

from prometheus_client import CollectorRegistry

from probe.core.happenings import Party
from probe.core.lapses import Lapse
from probe.core.model import Condition, IssueEvent
from probe.ledger import Batch, Commit, LedgerQueue, LedgerUnwritable
from probe.metrics import Metrics
from probe.teller import Teller
from probe.view import View

LAPSE = Lapse(
    target="main",
    issue="main-a",
    obligation="call_back",
    owed_by=Party.PROVIDER,
    due_us=1,
    noticed_us=2,
    raised=True,
    words="the record has none",
)
BLIND = Condition(condition="blind", target="main", since_second=1, noticed_second=2, raised=True, words="stuck")


class Disk:
    """A ledger whose disk is full for so many tries."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.kept: list[Batch] = []

    async def append(self, batch: Batch) -> Commit:
        """Keep a batch, or fail."""
        if self.failures:
            self.failures -= 1
            raise LedgerUnwritable("no space left on device")
        self.kept.append(batch)
        return Commit(seq=len(self.kept), digest="0" * 64, duration_us=1)


async def told_through(disk: Disk) -> tuple[list[IssueEvent | Condition | Lapse], int]:
    """Pass a lapse and a condition on; give what is told before it is kept, and how often couriers are woken."""
    urgent: list[IssueEvent | Condition | Lapse] = []
    wakes: list[int] = []
    teller = Teller(
        metrics=Metrics(CollectorRegistry(), version="1", rules_version=1),
        view=View(version="1", vantage="here", started_second=0),
        on_turns=lambda: wakes.append(1),
        on_unrecorded=urgent.append,
    )
    queue = LedgerQueue(
        disk,
        records_max=100,
        on_kept=teller.kept,
        on_trouble=teller.in_trouble,
        on_recovered=teller.recovered,
        commit_interval_s=0.0,
        retry_first_s=0.01,
    )
    teller.attach(queue, 100)
    queue.start()
    teller.remark(LAPSE)
    teller.remark(BLIND)
    async with asyncio.timeout(10):
        while await queue.drain(1.0):
            pass
    await queue.stop()
    return urgent, len(wakes)


async def test_a_lapse_that_can_not_be_kept_is_told_all_the_same_and_once() -> None:
    """However often it is tried, couriers are told at once, once each, and woken when it is kept."""
    disk = Disk(failures=3)
    urgent, wakes = await told_through(disk)
    assert urgent == [LAPSE, BLIND]
    assert wakes >= 1
    assert [remark for batch in disk.kept for remark in batch.remarks] == [LAPSE, BLIND]


async def test_a_lapse_that_is_kept_is_told_out_of_the_ledger_alone() -> None:
    """Nothing is told before its time."""
    urgent, wakes = await told_through(Disk(failures=0))
    assert urgent == []
    assert wakes >= 1
