"""A day of the whole program on virtual time: storms, flaps, a failing disk, power cuts, and what it leaves behind.

Real are the runner with its lanes, flights and closer, the rules, the teller, the metrics, the status, the ledger's
queue, the ledger itself with its chain in an SQLite file, and its recovery at each start. Simulated are time, the
sockets (an attempt and a control act out a script), and the thread that the ledger's writer has in the daemon. Commits
come every five minutes rather than every second, or a day would be mostly transactions. One target is watched: on both
surfaces at first, and after each power cut by other settings, with a control or without. The host smears a leap second
over the day.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from probe.core.model import Cause, Persistence, Step, Surface
from probe.ledger import Batch, Commit, LedgerUnwritable
from probe.ledger.recover import recover
from probe.ledger.store import Store

if TYPE_CHECKING:
    from tests.sim.sim_oracle import Trust, causes, target_verdict, turns, verdict
    from tests.sim.sim_run import BOTH, SECOND_US, VANTAGE, Life, Watch
    from tests.sim.sim_time import FIRST_SECOND, HostTime
    from tests.sim.sim_world import Sight, Stormy
else:
    from sim_oracle import Trust, causes, target_verdict, turns, verdict
    from sim_run import BOTH, SECOND_US, VANTAGE, Life, Watch
    from sim_time import FIRST_SECOND, HostTime
    from sim_world import Sight, Stormy

DAY_S = 86_400
COMMIT_S = 300.0
DISK_FAILS_ONE_IN = 20
DOWN_S_MAX = 90.0
CONTROL_FAILS_PPT = 20
CONTROLS = ("gateway",)
# The surfaces that each life watches, and its controls; a power cut ends each but the last.
LIVES = (
    (BOTH, CONTROLS),
    ((Surface.API,), ()),
    ((Surface.SMTP,), CONTROLS),
    ((Surface.SMTP,), ()),
    ((Surface.API,), CONTROLS),
)
BOTH_SHARE = 0.15  # of the day, for the first life
WATCH = Watch(name="main", persistence=Persistence(unavailable_seconds=20, window_seconds=30, recovery_seconds=15))
# What a stop cuts off, and what a power cut may take: all since the last commit, one failure of the disk included.
CUT_OFF_S = 20
# A leap second smeared over a day: the wall clock runs slower by one part in 86 400.
SMEAR_PPB = -1_000_000_000 // DAY_S
LOST_S_MAX = 2 * COMMIT_S + CUT_OFF_S
REASONS = frozenset({"the daemon was down"})


class Weather(Stormy):
    """Storms around a control that mostly works, so that its word counts."""

    def control(self, control: str, second: int) -> Sight:
        """Fail now and then."""
        chance = self.chance(f"{control}/{second}") % 1_000
        return Sight(takes_us=chance * 1_000, cause=Cause.UNREACHABLE if chance < CONTROL_FAILS_PPT else Cause.ACCEPTED)


class FailingDisk:
    """The real ledger in a real file; now and then a commit fails, before it was kept or after."""

    def __init__(self, path: Path, dice: Random) -> None:
        self.store = Store(str(path), VANTAGE, lambda: FIRST_SECOND * SECOND_US)
        self.store.open()
        self.kept_second = 0
        self._dice = dice

    async def append(self, batch: Batch) -> Commit:
        """Keep a batch, or raise."""
        fails = self._dice.randrange(DISK_FAILS_ONE_IN)
        if fails == 0:
            raise LedgerUnwritable("the disk is full")
        commit = self.store.append(batch)
        if fails == 1:
            raise LedgerUnwritable("the disk may be full")
        # A batch may hold controls only, while the first second of a life is still open.
        self.kept_second = max([self.kept_second, *(step.second + step.seconds - 1 for step in batch.steps)])
        return commit


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The seconds of one life, and what it watched."""

    began_second: int
    ended_second: int
    watch: Watch
    controls: tuple[str, ...]


@dataclass(slots=True)
class Day:
    """What a simulated day leaves behind."""

    ledger: Path
    lives: list[Span] = field(default_factory=list)
    told_before_kept: list[int] = field(default_factory=list)
    open_seconds_most: int = 0
    clock_ahead_us: int = 0
    objects: list[int] = field(default_factory=list)


async def live_a_day(world: Stormy, seed: int, path: Path, *, seconds: int, at_rest: Callable[[], int]) -> Day:
    """Run the program until the day is over; each power cut is followed by a start from what the ledger has."""
    dice = Random(f"{seed}/day")  # noqa: S311 - a script, not a secret
    host, day = HostTime(drift_ppb=SMEAR_PPB), Day(ledger=path)
    cuts = sorted(dice.uniform(BOTH_SHARE, 0.98) * seconds for _ in LIVES[2:])
    for (surfaces, controls), until_s in zip(LIVES, (BOTH_SHARE * seconds, *cuts, float(seconds)), strict=True):
        watch = replace(WATCH, surfaces=surfaces)
        disk = FailingDisk(path, dice)
        with disk.store.transaction() as connection:
            recovery = recover(connection, {watch.name: watch.terms})
        assert not recovery.problems
        assert not recovery.differences
        life = Life(
            host,
            world,
            disk,
            watches=[watch],
            controls=controls,
            states=recovery.states,
            control_records=recovery.control_records,
            commit_interval_s=COMMIT_S,
        )
        life.view.on_told = _witness(life, disk, day)
        began_second = host.wall_us() // SECOND_US
        life.start()
        await life.run_through(until_s)
        ended_second = host.wall_us() // SECOND_US
        day.clock_ahead_us = max(day.clock_ahead_us, abs(life.clock.now_us() - host.wall_us()))
        if until_s == seconds:
            assert await life.stop(grace_s=10.0) == 0
        else:
            await life.die()
        day.lives.append(Span(began_second=began_second, ended_second=ended_second, watch=watch, controls=controls))
        day.open_seconds_most = max(day.open_seconds_most, life.open_seconds_most)
        disk.store.close()
        day.objects.append(at_rest())
        await host.sleep_until(host.elapsed_s + dice.uniform(0.1, DOWN_S_MAX))
    return day


def _witness(life: Life, disk: FailingDisk, day: Day) -> Callable[[Step], None]:
    """Note each step that is told before the ledger has it, though the ledger is not in trouble."""

    def told(step: Step) -> None:
        life.view.told.clear()
        if step.second > disk.kept_second and not life.view.ledger_trouble:
            day.told_before_kept.append(step.second)

    return told


def differences(day: Day, world: Stormy) -> list[str]:
    """Read the ledger as a file and hold each of its seconds against the script."""
    with closing(sqlite3.connect(day.ledger)) as ledger:
        judged: dict[int, dict[str, tuple[str, str]]] = defaultdict(dict)
        reasons: dict[int, str] = {}
        found: list[str] = []
        for surface, second, seconds, said, basis, reason in ledger.execute(
            "select surface, second, seconds, verdict, basis, reason from verdict order by second, surface"
        ):
            for at in range(second, second + seconds):
                if surface in judged[at]:
                    found.append(f"second {at} {surface}: judged twice")
                judged[at][surface] = (said, basis)
                if reason:
                    reasons[at] = reason
        recorded: dict[int, list[str]] = defaultdict(list)
        for second, cause in ledger.execute("select second, cause from attempt order by second, surface, ordinal"):
            recorded[second].append(cause)
        events = [tuple(row) for row in ledger.execute("select turn, since_second, noticed_second from event")]
    first, last = min(judged), max(judged)
    if len(judged) != last - first + 1:
        found.append(f"seconds {first} to {last}: {last - first + 1 - len(judged)} are missing")
    for span in day.lives:
        found += _differences_of_life(span, day, world, judged, reasons, recorded)
    verdicts = [(second, target_verdict(list(said.values()))[0]) for second, said in sorted(judged.items())]
    expected = [tuple(turn) for turn in turns(verdicts, WATCH.persistence).values()]
    if sorted(events) != sorted(expected):
        found.append(f"turns of issues: expected {expected}, found {events}")
    if not expected:
        found.append("no issue was ever opened: the day was no storm")
    return found


def _differences_of_life(
    span: Span,
    day: Day,
    world: Stormy,
    judged: dict[int, dict[str, tuple[str, str]]],
    reasons: dict[int, str],
    recorded: dict[int, list[str]],
) -> list[str]:
    found: list[str] = []
    watch, is_last, trust = span.watch, span is day.lives[-1], Trust(world, span.controls)
    for second in range(span.began_second + 1, span.ended_second - CUT_OFF_S * is_last):
        worked = trust.worked(second)
        if second in reasons:
            if is_last or second < span.ended_second - LOST_S_MAX or reasons[second] not in REASONS:
                found.append(f"second {second}: unobserved, {reasons[second]!r}, though the program was looking")
            continue
        seen = {surface: _causes(world, watch, surface, second) for surface in watch.surfaces}
        expected = {str(surface): verdict(made, worked, trust.failed(second)) for surface, made in seen.items()}
        if judged[second] != expected:
            found.append(f"second {second}: expected {expected}, found {judged[second]}")
        if recorded[second] != [cause for made in seen.values() for cause in made]:
            found.append(f"second {second}: expected attempts {list(seen.values())}, found {recorded[second]}")
    return found


def _causes(world: Stormy, watch: Watch, surface: Surface, second: int) -> Sequence[str]:
    timeout_us = round(watch.timeout_s * SECOND_US)
    return causes(world, watch.name, surface, second, watch.attempts_per_second, timeout_us)
