"""The whole loop over a ledger in trouble: nothing lost, nothing twice, nothing told too early without saying so."""

import asyncio
from collections.abc import MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from probe.core.model import Cause, Step, Surface, Verdict
from probe.ledger import Batch, Commit, export_rows, verify
from probe.ledger.recover import recover
from probe.ledger.store import Store

if TYPE_CHECKING:
    from tests.sim.sim_oracle import turns_of
    from tests.sim.sim_run import (
        SHORT,
        TWO,
        VANTAGE,
        Life,
        ScriptedLedger,
        assert_every_second_once,
        by_target,
        seeded,
    )
    from tests.sim.sim_time import FIRST_SECOND, HostTime, simulate
    from tests.sim.sim_world import Calm, Sight, Stormy
else:
    from sim_oracle import turns_of
    from sim_run import (
        SHORT,
        TWO,
        VANTAGE,
        Life,
        ScriptedLedger,
        assert_every_second_once,
        by_target,
        seeded,
    )
    from sim_time import FIRST_SECOND, HostTime, simulate
    from sim_world import Calm, Sight, Stormy

Lines = list[MutableMapping[str, Any]]


class Outage(Calm):
    """Both surfaces answer 503 from one second to another."""

    def __init__(self, begins: int, ends: int) -> None:
        self._seconds = range(FIRST_SECOND + begins, FIRST_SECOND + ends)

    def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
        """Answer 503 during the outage."""
        return Sight(cause=Cause.HTTP_ERROR) if second in self._seconds else Sight()


def watch_the_telling(life: Life, ledger: ScriptedLedger) -> list[Step]:
    """Note which steps are told before the ledger has them, and fail if the ledger is said to be well then."""
    early: list[Step] = []
    kept = {"batches": 0}
    known: set[tuple[str, int]] = set()

    def on_told(step: Step) -> None:
        for batch in ledger.batches[kept["batches"] :]:
            known.update((own.target, own.second) for own in batch.steps)
        kept["batches"] = len(ledger.batches)
        if (step.target, step.second) not in known:
            assert life.view.ledger_trouble
            early.append(step)

    life.view.on_told = on_told
    return early


def turns_logged(lines: Lines) -> list[tuple[str, str]]:
    """List which turn was logged with which words about the record."""
    return [(line["event"], line["record"]) for line in lines if line["event"].startswith("critical_issue")]


def test_nothing_is_told_before_it_is_kept(seed: int, lines: Lines) -> None:
    """With a ledger that works, however slowly, no view, metric or line of log knows a second that it has not kept."""
    dice = seeded(seed)

    async def scenario() -> list[Step]:
        life = Life(HostTime(), Stormy(seed, seconds=300, first_second=FIRST_SECOND), ledger)
        early = watch_the_telling(life, ledger)
        life.start()
        for second in range(1, 300):
            ledger.takes_s = dice.uniform(0.001, 1.9)
            await life.run_through(second)
        assert await life.stop() == 0
        assert life.view.told == ledger.steps
        return early

    ledger = ScriptedLedger()
    assert simulate(scenario()) == []
    assert {record for _, record in turns_logged(lines)} == {"kept in the ledger"}


@pytest.mark.parametrize("trouble", ["raises", "raises after it has kept", "hangs"])
def test_trouble_with_the_ledger_loses_nothing(trouble: str, lines: Lines) -> None:
    """For minutes nothing can be written: an issue is told at once all the same, and in the end all is kept, once."""

    async def scenario() -> tuple[Life, list[Step]]:
        life = Life(HostTime(), Outage(60, 90), ledger)
        early = watch_the_telling(life, ledger)
        life.start()
        await life.run_through(30.5)
        if trouble == "hangs":
            ledger.hanging = asyncio.Event()
        ledger.broken = trouble.startswith("raises")
        ledger.keeps_but_fails = trouble == "raises after it has kept"
        await life.run_through(68.0)
        opened = [line for line in lines if line["event"] == "critical_issue.opened"]
        assert len(opened) == len(TWO)
        assert all(line["record"].startswith("NOT YET RECORDED") for line in opened)
        assert len(ledger.steps) < 2 * 34
        await life.run_through(240.5)
        assert life.view.status()["ledger"]["trouble"]
        ledger.broken = False
        if ledger.hanging is not None:
            ledger.hanging.set()
            ledger.hanging = None
        # Half a minute is more than the longest pause between two tries, and all that waited comes at once.
        await life.run_through(250.0)
        assert not life.view.status()["ledger"]["trouble"]
        assert life.teller.unrecorded_seconds <= 2 * len(TWO)
        await life.run_through(299.97)
        assert await life.stop() == 0
        return life, early

    ledger = ScriptedLedger()
    life, early = simulate(scenario())

    assert life.view.told == ledger.steps
    spans = assert_every_second_once(ledger.steps)
    assert {len(span) for span in spans.values()} == {299}
    assert {step.verdict for step in ledger.steps} == {Verdict.AVAILABLE, Verdict.UNAVAILABLE}
    assert len({(outcome.control, outcome.second) for outcome in ledger.controls}) == len(ledger.controls) == 2 * 299
    assert 2 * 205 < len(early) < 2 * 225
    assert [event for event, _ in turns_logged(lines)] == ["critical_issue.opened"] * 2 + [
        "critical_issue.restored"
    ] * 2


def test_what_waited_is_written_at_once_though_one_target_lags() -> None:
    """A target that closes its seconds later than the others does not keep a backlog from being written together."""

    class Lagging(Calm):
        def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
            slow = target == "main" and second % 4 == 0
            return Sight(takes_us=3_000_000 if slow else 20_000)

    async def scenario() -> None:
        ledger.broken = True
        life = Life(HostTime(), Lagging(), ledger)
        life.start()
        await life.run_through(300.5)
        ledger.broken = False
        await life.run_through(315.0)
        assert life.teller.unrecorded_seconds < 20
        assert await life.stop() == 0
        assert life.view.told == ledger.steps

    ledger = ScriptedLedger()
    simulate(scenario())
    assert_every_second_once(ledger.steps)


@pytest.mark.parametrize("stops_while_full", [False, True])
def test_a_full_queue_makes_seconds_unobserved_and_loses_none(stops_while_full: bool) -> None:
    """What waits for the ledger is bounded: then seconds are not observed, and the record says why."""
    records_max = 1_000

    async def scenario() -> Life:
        life = Life(HostTime(), Calm(), ledger, records_max=records_max)
        life.start()
        ledger.broken = True
        most = 0
        for second in range(1, 601):
            await life.run_through(float(second))
            most = max(most, life.queue.records)
        # Each second makes 6 attempts, 2 controls and 4 judgements; what was open when it was full comes on top.
        assert records_max <= most <= records_max + 12 * 10
        assert life.runner.open_seconds <= 2 * 10
        ledger.broken = False
        if not stops_while_full:
            await life.run_through(660.97)
        assert await life.stop() == 0
        return life

    ledger = ScriptedLedger()
    life = simulate(scenario())

    spans = assert_every_second_once(ledger.steps)
    assert {span.stop for span in spans.values()} == {FIRST_SECOND + (601 if stops_while_full else 661)}
    assert life.view.told == ledger.steps
    unobserved = [step for step in ledger.steps if step.verdict is Verdict.UNOBSERVED]
    assert {step.reason for step in unobserved} == {"the ledger's queue was full"}
    assert sum(step.seconds for step in unobserved) > 2 * 500
    controls = [(outcome.control, outcome.second) for outcome in ledger.controls]
    assert len(controls) == len(set(controls))


def test_trouble_that_comes_and_goes_tells_everything_once(seed: int) -> None:
    """Ledgers that fail, hang, answer late and recover at random: each second is kept once and told once, in order."""
    dice = seeded(seed)

    async def scenario() -> Life:
        world = Stormy(seed, seconds=600, first_second=FIRST_SECOND)
        life = Life(HostTime(), world, ledger, records_max=dice.choice([600, 200_000]))
        life.start()
        elapsed_s = 0.0
        while elapsed_s < 600:
            elapsed_s += dice.expovariate(0.1)
            await life.run_through(elapsed_s)
            ledger.takes_s = dice.choice([0.001, 0.3, 2.5])
            ledger.broken = dice.random() < 0.5
            ledger.keeps_but_fails = dice.random() < 0.5
            if ledger.hanging is not None:
                ledger.hanging.set()
            ledger.hanging = asyncio.Event() if dice.random() < 0.3 else None
        ledger.broken = False
        if ledger.hanging is not None:
            ledger.hanging.set()
        assert await life.stop(drain_s=60.0) == 0
        return life

    ledger = ScriptedLedger()
    life = simulate(scenario())

    assert_every_second_once(ledger.steps)
    assert life.view.told == ledger.steps
    for own in by_target(ledger.steps).values():
        assert [turn.turn for turn in turns_of(own, SHORT)] == [e.turn for step in own for e in step.events]


class PowerCut(BaseException):
    """The machine is off."""


class RealLedger:
    """The real ledger's writing side in a real file, until the power goes at one of its batches."""

    def __init__(self, path: Path, cut_at: int, after_commit: bool) -> None:
        self.store = Store(str(path), VANTAGE, lambda: FIRST_SECOND * 1_000_000)
        self.store.open()
        self._left = cut_at
        self._after_commit = after_commit

    async def append(self, batch: Batch) -> Commit:
        """Keep a batch, or lose power before or after."""
        self._left -= 1
        if self._left == 0 and not self._after_commit:
            raise PowerCut
        commit = self.store.append(batch)
        if self._left == 0:
            raise PowerCut
        return commit


def test_a_power_cut_at_any_batch_leaves_a_record_that_goes_on(tmp_path: Path, seed: int) -> None:
    """The power goes at a life's first batch, at the next one's second and so on; each life goes on from the file."""
    path = tmp_path / "ledger.db"
    told: list[Step] = []
    seeded(seed)
    terms = {watch.name: watch.terms for watch in TWO}

    async def live(host: HostTime, world: Stormy, cut_at: int, after_commit: bool) -> None:
        ledger = RealLedger(path, cut_at, after_commit)
        with ledger.store.transaction() as connection:
            recovery = recover(connection, terms)
        assert not recovery.problems
        assert not recovery.differences
        life = Life(host, world, ledger, states=recovery.states)
        life.start()
        elapsed_s = host.monotonic_us() / 1_000_000 - 1_000.0
        try:
            with pytest.raises(PowerCut):
                await life.run_through(elapsed_s + 100.0)
        finally:
            told.extend(life.view.told)
            await life.die()
            ledger.store.close()
        await asyncio.sleep(2.3)

    async def scenario() -> None:
        host = HostTime()
        world = Stormy(seed, seconds=1_000, first_second=FIRST_SECOND)
        for cut_at in range(1, 9):
            for after_commit in (False, True):
                await live(host, world, cut_at, after_commit)

    simulate(scenario())

    assert verify(str(path)).sound
    kept: dict[tuple[str, str], list[int]] = {}
    verdicts = {}
    for row in export_rows(str(path), FIRST_SECOND, FIRST_SECOND + 1_000):
        if row["type"] == "second":
            kept.setdefault((str(row["target"]), str(row["surface"])), []).append(int(str(row["second"])))
            verdicts[row["target"], row["surface"], row["second"]] = row["verdict"]
    assert len(kept) == 2 * len(TWO)
    for seconds in kept.values():
        assert seconds == list(range(seconds[0], seconds[0] + len(seconds)))
    assert told
    for step in told:
        for judgement in step.judgements:
            assert verdicts[step.target, judgement.surface, step.second] == judgement.verdict
