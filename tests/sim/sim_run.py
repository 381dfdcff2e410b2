"""The program's own second loop, put together as in the daemon, between a scripted provider and a scripted ledger."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import CollectorRegistry

from probe.clock import SystemClock
from probe.core.controls import Records
from probe.core.engine import TargetState
from probe.core.model import ControlOutcome, Persistence, Step, Surface, Terms
from probe.core.schedule import slots
from probe.ledger import Batch, Commit, LedgerQueue, LedgerUnwritable
from probe.ledger.queue import COMMIT_INTERVAL_S
from probe.metrics import Metrics
from probe.plan import Charge, Plan
from probe.runner import Runner
from probe.teller import Teller
from probe.view import View

if TYPE_CHECKING:
    from tests.sim.sim_time import HostTime
    from tests.sim.sim_world import ScriptedControl, ScriptedProber, World
else:
    from sim_time import HostTime
    from sim_world import ScriptedControl, ScriptedProber, World

SECOND_US = 1_000_000
VANTAGE = "here"
BOTH = (Surface.API, Surface.SMTP)
SHORT = Persistence(unavailable_seconds=5, window_seconds=8, recovery_seconds=4)
CONTROLS = ("dns", "gateway")
# What piles up is there at the next look as well; a prime, so that no cycle of the script hides it.
OPEN_SECONDS_NOTED_EACH = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The settings of one target, as far as the loop cares."""

    name: str
    surfaces: tuple[Surface, ...] = BOTH
    persistence: Persistence = SHORT
    timeout_s: float = 5.0
    in_flight_max: int = 30
    attempts_per_second: int = 1

    @property
    def terms(self) -> Terms:
        """Give the terms of the contract."""
        return Terms(
            profile="sparkpost-enterprise",
            persistence=self.persistence,
            objective_ppm=999_900,
            surfaces=self.surfaces,
        )


TWO = (Watch(name="main"), Watch(name="spare", attempts_per_second=2))


class Appends(Protocol):
    """A ledger, as the queue knows it."""

    async def append(self, batch: Batch) -> Commit:
        """Keep a batch."""
        ...


@dataclass(slots=True)
class ScriptedLedger:
    """A ledger in memory, in trouble when the test says so. It keeps a batch that is offered again only once."""

    takes_s: float = 0.005
    broken: bool = False
    keeps_but_fails: bool = False  # the commit worked and the answer was lost
    hanging: asyncio.Event | None = None
    batches: list[Batch] = field(default_factory=list)
    tries: int = 0

    async def append(self, batch: Batch) -> Commit:
        """Keep a batch, or raise."""
        self.tries += 1
        await asyncio.sleep(self.takes_s)
        if self.hanging is not None:
            await self.hanging.wait()
        if self.broken and not self.keeps_but_fails:
            raise LedgerUnwritable("the disk is full")
        if not self.batches or self.batches[-1] is not batch:
            self.batches.append(batch)
        if self.broken:
            raise LedgerUnwritable("the disk may be full")
        return Commit(duration_us=5_000, seq=len(self.batches), digest=f"{len(self.batches):064x}")

    @property
    def steps(self) -> list[Step]:
        """List the steps that are kept."""
        return [step for batch in self.batches for step in batch.steps]

    @property
    def controls(self) -> list[ControlOutcome]:
        """List the control outcomes that are kept."""
        return [outcome for batch in self.batches for outcome in batch.controls]

    @property
    def checkpoints(self) -> dict[str, TargetState]:
        """Give the newest checkpoint of each target."""
        return {state.target: state for batch in self.batches for state in batch.states}


class Bystander(View):
    """The daemon's picture of itself, which also notes each second that it is told."""

    def __init__(self) -> None:
        super().__init__(version="0", vantage=VANTAGE, started_second=0)
        self.on_told: Callable[[Step], None] = lambda _step: None
        self.told: list[Step] = []
        self.states: dict[str, TargetState] = {}

    def observe(self, step: Step, state: TargetState) -> None:
        """Note it, then take it in as ever."""
        self.on_told(step)
        self.told.append(step)
        self.states[state.target] = state
        super().observe(step, state)


class Life:
    """One run of the program, from its start to its end or its death."""

    def __init__(
        self,
        host: HostTime,
        world: World,
        ledger: Appends,
        *,
        watches: Sequence[Watch] = TWO,
        controls: Sequence[str] = CONTROLS,
        states: Mapping[str, TargetState] | None = None,
        control_records: Records | None = None,
        records_max: int = 200_000,
        commit_interval_s: float = COMMIT_INTERVAL_S,
    ) -> None:
        self.host = host
        self.world = world
        self.clock = SystemClock(
            read_monotonic_us=host.monotonic_us, read_wall_us=host.wall_us, read_boottime_us=host.boottime_us
        )
        host.named_us = self.clock.now_us
        self.view = Bystander()
        self.metrics = Metrics(CollectorRegistry(), version="0", rules_version=1)
        self.teller = Teller(metrics=self.metrics, view=self.view)
        self.queue = LedgerQueue(
            ledger,
            records_max=records_max,
            on_kept=self.teller.kept,
            on_trouble=self.teller.in_trouble,
            on_recovered=self.teller.recovered,
            commit_interval_s=commit_interval_s,
        )
        self.teller.attach(self.queue, records_max)
        self.plan = self.make_plan(watches, controls)
        self.runner = Runner(
            plan=self.plan,
            clock=self.clock,
            sink=self.teller,
            states=states or {},
            control_records=control_records,
            on_second=self._note_open_seconds,
        )
        self.open_seconds_most = 0
        self.on_second: Callable[[int], None] = lambda _second: None
        self._show(watches, controls)
        self._work: list[asyncio.Task[None]] = []

    def make_plan(self, watches: Sequence[Watch], controls: Sequence[str] = CONTROLS) -> Plan:
        """Build what the loop works with."""
        return Plan(
            vantage=VANTAGE,
            slots=slots(VANTAGE, ((watch.name, watch.surfaces, watch.attempts_per_second) for watch in watches)),
            terms={watch.name: watch.terms for watch in watches},
            charges={
                (watch.name, surface): Charge(
                    prober=ScriptedProber(self.world, self.host),
                    timeout_us=round(watch.timeout_s * SECOND_US),
                    in_flight_max=watch.in_flight_max,
                )
                for watch in watches
                for surface in watch.surfaces
            },
            controls={name: ScriptedControl(name, self.world, self.host) for name in controls},
        )

    def reload(self, watches: Sequence[Watch], states: Mapping[str, TargetState] | None = None) -> None:
        """Go over to other settings, as SIGHUP does."""
        self.plan = self.make_plan(watches)
        self._show(watches, CONTROLS)
        self.runner.replace(self.plan, states or {})

    def start(self) -> None:
        """Begin."""
        self._work = [
            self.queue.start(),
            asyncio.create_task(self.teller.tell_forever()),
            asyncio.create_task(self.runner.run()),
        ]
        for task in self._work:
            task.add_done_callback(lambda _: self.runner.stop())

    async def run_through(self, elapsed_s: float) -> None:
        """Let the program run until so many true seconds have passed since the host began, or until it dies."""
        sleeping = asyncio.create_task(self.host.sleep_until(elapsed_s))
        await asyncio.wait({sleeping, *self._work}, return_when=asyncio.FIRST_COMPLETED)
        sleeping.cancel()
        self._check()

    async def stop(self, grace_s: float = 3.0, drain_s: float = 30.0) -> int:
        """End as the daemon does; return how many records the ledger does not have."""
        self.runner.stop()
        await self._work[2]
        await self.runner.finish(grace_s)
        waiting = await self.queue.drain(drain_s)
        self.teller.tell_rest()
        await self.queue.stop()
        await self.die()
        return waiting

    async def die(self) -> None:
        """End as a power cut does."""
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others)
        self._work = [task for task in self._work if not task.cancelled()]

    def _check(self) -> None:
        for task in self._work:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    def _note_open_seconds(self, second: int) -> None:
        self.on_second(second)
        if second % OPEN_SECONDS_NOTED_EACH == 0:
            self.open_seconds_most = max(self.open_seconds_most, self.runner.open_seconds)

    def _show(self, watches: Sequence[Watch], controls: Sequence[str]) -> None:
        self.view.configure(VANTAGE, {watch.name: watch.terms for watch in watches}, controls)
        self.metrics.configure([_Named(watch.name, watch.surfaces) for watch in watches], [_Named(c) for c in controls])


@dataclass(frozen=True)
class _Named:
    name: str
    surfaces: tuple[Surface, ...] = BOTH


def by_target(steps: Sequence[Step]) -> dict[str, list[Step]]:
    """Sort steps by target, each in its order."""
    sorted_steps: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        sorted_steps[step.target].append(step)
    return dict(sorted_steps)


def assert_every_second_once(steps: Sequence[Step]) -> dict[str, range]:
    """Each target's steps follow each other without a hole and without a second twice; return what they span."""
    spans = {}
    for target, own in by_target(steps).items():
        following = own[0].second
        for step in own:
            assert step.second == following, f"{target}: second {step.second} where {following} was due"
            following = step.second + step.seconds
        spans[target] = range(own[0].second, following)
    return spans


async def at(host: HostTime, elapsed_s: float, deed: Callable[[], Any]) -> None:
    """Do something when so many true seconds have passed since the host began."""
    await host.sleep_until(elapsed_s)
    deed()


def seeded(seed: int) -> random.Random:
    """Give the dice of a test, and load those of the libraries that roll their own."""
    random.seed(seed)
    return random.Random(seed)  # noqa: S311 - a script, not a secret
