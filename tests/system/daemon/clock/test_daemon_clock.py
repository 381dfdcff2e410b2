"""The daemon on hosts whose wall clock is set, runs fast, or comes back from a suspension.

libfaketime gives the daemon a wall clock that is read from a file and can be set while it runs; its monotonic clock
stays the real one, and so does that of this test, which counts by it what should have been seen.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import pytest

from probe import adjtimex
from probe.clock import DID_NOT_RUN
from probe.core.model import Fault, Step, Surface, Verdict
from probe.ledger.remarks import remarks_of
from probe.ledger.tables import RemarkKind

if TYPE_CHECKING:
    from tests.system.daemon.conftest import Daemon, Start

T = TypeVar("T")
Describe = Callable[..., dict[str, Any]]
Write = Callable[..., Path]

LIBRARIES = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
SUSPENSIONS = Path(__file__).parent / "suspensions"
ROOT = Path(__file__).resolve().parents[4]
SECOND_US = 1_000_000
# Seconds that are judged before the first turn, and after each.
BEFORE_SECONDS = 1
AFTER_SECONDS = 2
SLEW_PART_MAX = 0.01
TIMEOUT_S = 4
STOPPED_S = 3.0
PATIENCE = 10
WAIT_S = 20.0


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What happens to a host's clock, and what has to stand in the ledger.

    The wall clock is set to `wall`, in libfaketime's words: that is a step by `step_s`. Then `skipped_s` seconds are
    unobserved, and `reason` is why.
    """

    wall: str
    step_s: float
    skipped_s: float = 0.0
    reason: str = ""
    stopped_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What happens to one host, turn by turn; `left_s` is how far its wall clock is ahead in the end."""

    name: str
    wall: str = "+0"
    turns: tuple[Turn, ...] = ()
    is_suspension: bool = False
    left_s: float = 0.0
    after_seconds: int = 0


SCENARIOS = [
    Scenario(
        name="set to and fro",
        turns=(
            Turn(wall="+1", step_s=1, skipped_s=1, reason="the wall clock was stepped forward by 1 s"),
            Turn(wall="+0", step_s=-1),
            # Of this step a second was not followed, for the tie was that much behind.
            Turn(wall="+3600", step_s=3600, skipped_s=3599, reason="the wall clock was stepped forward by 3600 s"),
            Turn(wall="+0", step_s=-3600),
        ),
        left_s=-3600,
    ),
    Scenario(
        name="frozen",
        turns=(
            # A hypervisor that freezes a guest is seen like this: nothing in the guest counts all of the time.
            Turn(
                wall="+57",
                step_s=57,
                skipped_s=57 + STOPPED_S,
                reason=f"the wall clock was stepped forward by 57 s and {DID_NOT_RUN}",
                stopped_s=STOPPED_S,
            ),
        ),
    ),
    Scenario(
        name="suspended",
        turns=(Turn(wall="+60", step_s=60, skipped_s=60, reason="the host was suspended for 60 s"),),
        is_suspension=True,
    ),
    # As fast as an NTP client may slew, and forty times a leap second that is smeared over a day.
    Scenario(name="slewed", wall="+0 x1.0005", after_seconds=8),
]


@dataclass(kw_only=True)
class Host:
    """One daemon on its own clock."""

    scenario: Scenario
    wall_file: Path
    ledger: Path
    daemon: "Daemon"
    lived_s: float = 0.0
    turned_s: float = 0.0
    clock_ahead_s: float = 0.0
    trouble: list[Exception] = field(default_factory=list)

    def live(self) -> None:
        """Go through the scenario; keep what fails."""
        try:
            self._live()
        except Exception as error:  # noqa: BLE001
            self.trouble.append(error)

    def _live(self) -> None:
        daemon = self.daemon
        daemon.wait_for_start()
        patiently(lambda: daemon.wait_for_recent("A"))
        begun_s = time.monotonic()
        self._see(BEFORE_SECONDS)
        for number, turn in enumerate(self.scenario.turns, start=1):
            # Neither at a second's edge nor in the tenth in which seconds are closed, whatever a second is named.
            time.sleep(1.4 - time.time() % 1)
            if turn.stopped_s:
                daemon.process.send_signal(signal.SIGSTOP)
                time.sleep(turn.stopped_s)
            set_wall_clock(self.wall_file, turn.wall)
            if turn.stopped_s:
                daemon.process.send_signal(signal.SIGCONT)
            self.turned_s = time.monotonic()
            daemon.wait_for_log("clock.moved", number)
            self._see(AFTER_SECONDS)
        self._see(self.scenario.after_seconds)
        self.clock_ahead_s = patiently(lambda: daemon.metric("clock_ahead_seconds"))
        ended_s = time.monotonic()
        self.lived_s, self.turned_s = ended_s - begun_s, ended_s - self.turned_s
        assert daemon.end(timeout_s=WAIT_S)[0] == 0

    def _see(self, seconds: int) -> None:
        """Wait until that many more seconds are judged and told, however long a busy machine takes for them."""
        last = patiently(lambda: self.daemon.status()["last_second"]) + seconds
        patiently(lambda: self.daemon.wait(lambda: self.daemon.status()["last_second"] >= last, f"second {last}"))


def patiently(ask: Callable[[], T]) -> T:
    """Ask again where a machine that is busy with other things kept the answer back."""
    for _ in range(PATIENCE):
        with contextlib.suppress(TimeoutError):
            return ask()
    return ask()


def set_wall_clock(file: Path, words: str) -> None:
    """Set the wall clock that libfaketime shows, at one moment."""
    new = file.with_suffix(".new")
    new.write_text(words + "\n")
    os.replace(new, file)


@pytest.fixture
def library(do_without: Callable[[str], NoReturn]) -> str:
    """Find libfaketime."""
    found = next(LIBRARIES, None)
    if found is None:
        do_without("needs libfaketime (Debian package faketime)")
    return str(found)


@pytest.fixture
def begin(
    library: str, start: "Start", target: Describe, settings: Write, tmp_path: Path
) -> Callable[[int, Scenario], Host]:
    """Give a function that begins a scenario."""

    def run(number: int, scenario: Scenario) -> Host:
        wall_file, ledger = tmp_path / f"wall-{number}", tmp_path / f"ledger-{number}.sqlite3"
        set_wall_clock(wall_file, scenario.wall)
        config = settings(target(timeout=f"{TIMEOUT_S}s"), name=f"settings-{number}.yaml", ledger={"url": str(ledger)})
        daemon = start(
            config,
            wait=False,
            LD_PRELOAD=library,
            FAKETIME_TIMESTAMP_FILE=str(wall_file),
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            FAKETIME_NO_CACHE="1",
            # Else every thread that waits for the interpreter's lock spins, and holds libfaketime's own lock meanwhile:
            # the thread that has the interpreter can't read the clock, and the daemon stands still for seconds.
            FAKETIME_FORCE_MONOTONIC_FIX="0",
            NO_FAKE_STAT="1",
            PYTHONPATH=os.pathsep.join([str(ROOT)] + [str(SUSPENSIONS)] * scenario.is_suspension),
        )
        return Host(scenario=scenario, wall_file=wall_file, ledger=ledger, daemon=daemon)

    return run


def test_no_second_comes_twice_and_none_goes_back_whatever_the_wall_clock_does(
    begin: Callable[[int, Scenario], Host], recorded: Callable[[Path], list[Step]]
) -> None:
    """Skipped seconds are unobserved with the true reason; all others are judged by what was seen; probing goes on."""
    hosts = [begin(number, scenario) for number, scenario in enumerate(SCENARIOS)]
    lives = [threading.Thread(target=host.live) for host in hosts]
    for life in lives:
        life.start()
    for life in lives:
        life.join()

    assert not {host.scenario.name: host.trouble for host in hosts if host.trouble}
    for host in hosts:
        found = recorded(host.ledger)
        assert_seconds_are_right(host, found)
        assert_attempts_are_right(host, found)
        assert_clock_is_on_record(host)


def assert_seconds_are_right(host: Host, found: list[Step]) -> None:
    """Each second has one verdict (`recorded` has seen to that), and only what was skipped is unobserved."""
    gaps = runs_of_one_reason(found[:-1])
    # On a machine that is busy with other things the prober may come late at any time, and then says so.
    skipped = [(reason, seconds) for reason, seconds in gaps if reason != DID_NOT_RUN]
    expected = [turn for turn in host.scenario.turns if turn.reason]
    reasons = [reason for reason, _ in skipped]
    assert len(skipped) == len(expected), (host.scenario.name, reasons)
    for (reason, seconds), turn in zip(skipped, expected, strict=True):
        assert reason in (turn.reason, f"{turn.reason} and {DID_NOT_RUN}")
        assert abs(seconds - turn.skipped_s) <= (1 if reason == turn.reason else 5), (host.scenario.name, gaps)
    for step in found[:-1]:
        assert bool(step.reason) is not bool(step.outcomes), step
        if step.reason:
            assert step.verdict is Verdict.UNOBSERVED
        elif step.verdict is not Verdict.AVAILABLE:
            # So may be the second in which a process is stopped, or put aside for long by a machine that is busy.
            assert step.verdict is Verdict.INCONCLUSIVE, step
            assert {outcome.fault for outcome in step.outcomes} <= {Fault.NONE, Fault.SELF}, step


def runs_of_one_reason(found: list[Step]) -> list[tuple[str, int]]:
    """List why nobody looked and for how many seconds: a jump over seconds may cut the next one short as well."""
    runs = groupby(found, key=lambda step: step.reason)
    return [(reason, sum(step.seconds for step in steps)) for reason, steps in runs if reason]


def assert_attempts_are_right(host: Host, found: list[Step]) -> None:
    """Attempts go on once a second of real time, in order, each in the second that it names, with sane durations."""
    stopped_s = sum(turn.stopped_s for turn in host.scenario.turns)
    jumped_s = sum(turn.skipped_s for turn in host.scenario.turns) - stopped_s
    assert sum(step.seconds for step in found) - jumped_s >= host.lived_s - 2, host.scenario.name
    for surface in Surface:
        outcomes = [outcome for step in found for outcome in step.outcomes if outcome.surface is surface]
        unmade = [step for step in found if surface not in {outcome.surface for outcome in step.outcomes}]
        late_s = sum(step.seconds for step in unmade) - jumped_s - stopped_s
        assert late_s < host.lived_s / 2, (host.scenario.name, surface, unmade)
        # Slewing by a hundredth of each second changes no count here.
        assert len(outcomes) >= host.lived_s - stopped_s - late_s - 2, (host.scenario.name, surface, host.lived_s)
        assert [outcome.started_us for outcome in outcomes] == sorted(outcome.started_us for outcome in outcomes)
        for outcome in outcomes:
            assert outcome.started_us // SECOND_US == outcome.second or outcome.fault is Fault.SELF, outcome
            assert 0 < outcome.duration_us < (TIMEOUT_S + stopped_s + 1) * SECOND_US, outcome
            assert sum(duration_us for _, duration_us in outcome.phases) <= outcome.duration_us


def assert_clock_is_on_record(host: Host) -> None:
    """The start and each turn stand in the ledger, with what this host's kernel says; the log has a line of each."""
    scenario, moved = host.scenario, host.daemon.log("clock.moved")
    states = remarks_of(str(host.ledger), RemarkKind.CLOCK)
    assert {state.synchronisation for state in states} == {adjtimex.read().synchronisation}
    assert abs(states[0].ahead_us) < SECOND_US // 2
    assert len(moved) == len(scenario.turns) == len(states) - 1, (scenario.name, moved, states)
    behind_s = 0.0
    for turn, line, state in zip(scenario.turns, moved, states[1:], strict=True):
        assert line["followed"].startswith("at once" if turn.reason else "slowly"), line
        part = "host_suspended_s" if scenario.is_suspension else "wall_clock_stepped_s"
        assert abs(line[part] - turn.step_s) < 0.1, line
        slewed_s = SLEW_PART_MAX * host.lived_s
        assert abs(state.ahead_us / SECOND_US - turn.step_s - behind_s) < 0.1 + slewed_s, (turn, state)
        behind_s = 0.0 if turn.reason else turn.step_s
    # What runs half a millisecond fast in each second is followed; a step back is followed by 10 ms in each second.
    apart_s = host.clock_ahead_s - scenario.left_s
    slewed_s = SLEW_PART_MAX * (host.turned_s + 1) if scenario.left_s else 0.0
    assert -0.03 < apart_s < 0.03 + slewed_s if scenario.turns else abs(apart_s) < 0.002, scenario.name
