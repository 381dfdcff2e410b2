"""The prober's watch over itself, with a clock in the test's hand and a real notification socket."""

import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import structlog
from prometheus_client import CollectorRegistry

from probe.adjtimex import NOT_SAID, KernelClock
from probe.clock import SECOND_US, Correction
from probe.core import engine
from probe.core.model import (
    Cause,
    Condition,
    Connection,
    ControlOutcome,
    Fault,
    Outcome,
    Persistence,
    Phase,
    Remark,
    Surface,
    Terms,
)
from probe.core.schedule import Slot
from probe.metrics import Metrics
from probe.plan import Closed
from probe.systemd import ServiceManager
from probe.view import View
from probe.vigil import Insight, Vigil

START_SECOND = 1_700_000_000
TERMS = Terms(profile="x", persistence=Persistence(), objective_ppm=999_900, surfaces=(Surface.API,))
FEED = "WATCHDOG=1"


class HandClock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.passed_us = 0

    def now_us(self) -> int:
        """Name the instant."""
        return START_SECOND * SECOND_US + self.passed_us

    def monotonic_us(self) -> int:
        """Measure."""
        return self.passed_us

    def discipline(self) -> Correction:
        """Agree with the wall clock."""
        return Correction(ahead_us=0, left_us=0, suspended_us=0, stepped_us=0)

    def kernel(self) -> KernelClock:
        """Say nothing."""
        return NOT_SAID

    async def sleep_until(self, when_us: int) -> None:
        """Not used here."""
        raise AssertionError


@dataclass
class Desk:
    """Takes what the vigil passes on."""

    full: bool = False
    taken: list[Closed] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    def offer(self, closed: Sequence[Closed], controls: Sequence[ControlOutcome], checkpoint: bool) -> None:
        """Note it."""
        self.taken.extend(closed)

    def remark(self, remark: Remark) -> None:
        """Keep it."""
        self.remarks.append(remark)

    def started(self, slot: Slot, lateness_us: int) -> None:
        """Hear it."""

    def ended(self, slot: Slot) -> None:
        """Hear it."""


class Scene:
    """A vigil over targets whose seconds the test closes."""

    def __init__(self, notify_path: Path) -> None:
        self.listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listening.bind(str(notify_path))
        self.listening.setblocking(False)
        self.clock, self.desk, self.turns = HandClock(), Desk(), list[Condition]()
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, version="0", rules_version=1)
        self.view = View(version="0", vantage="here", started_second=START_SECOND)
        self.manager = ServiceManager({"NOTIFY_SOCKET": str(notify_path), "WATCHDOG_USEC": "20000000"})
        self.vigil = Vigil(
            clock=self.clock,
            sink=self.desk,
            metrics=self.metrics,
            view=self.view,
            manager=self.manager,
            tell=self.turns.append,
        )
        self.states: dict[str, engine.TargetState] = {}

    def watch(self, *targets: str, blind_after_s: float = 30, timeout_s_max: float = 10) -> None:
        """Go over to these settings."""
        self.metrics.configure([Watched(name) for name in targets], [])
        self.vigil.configure(targets, blind_after_s, timeout_s_max)
        for name in targets:
            self.states.setdefault(name, engine.begin(name, TERMS, START_SECOND))

    def wait(self, seconds: float) -> None:
        """Let time pass, with a second begun in each, and a look once a second."""
        for _ in range(round(seconds)):
            self.clock.passed_us += SECOND_US
            self.vigil.second_begins(self.clock.now_us() // SECOND_US)
            self.vigil.look()

    def judge(self, target: str = "main") -> None:
        """Close a second that was looked at."""
        state = self.states[target]
        outcome = accepted(target, state.next_second)
        self.states[target], step = engine.advance(state, TERMS, state.next_second, [outcome], [])
        self.vigil.offer([Closed(step=step, state=self.states[target], terms=TERMS)], [], False)

    def skip(self, reason: str, target: str = "main") -> None:
        """Close a second that nobody looked at."""
        state = self.states[target]
        self.states[target], step = engine.skip(state, TERMS, state.next_second, reason)
        self.vigil.offer([Closed(step=step, state=self.states[target], terms=TERMS)], [], False)

    def told(self) -> list[str]:
        """Take all that the service manager was told, a line each."""
        lines = list[str]()
        while True:
            try:
                lines += self.listening.recv(4096).decode().split("\n")
            except BlockingIOError:
                return lines

    def metric(self, name: str, target: str = "main") -> float | None:
        """Read a metric of a target."""
        return self.registry.get_sample_value(f"sev1probe_{name}", {"target": target})


@dataclass
class Watched:
    """A target, as far as metrics care."""

    name: str
    surfaces: tuple[Surface, ...] = (Surface.API,)


def accepted(target: str, second: int) -> Outcome:
    """Make the outcome of an attempt that worked."""
    return Outcome(
        target=target,
        surface=Surface.API,
        second=second,
        ordinal=0,
        started_us=second * SECOND_US,
        duration_us=1,
        fault=Fault.NONE,
        cause=Cause.ACCEPTED,
        phase=Phase.BODY,
        connection=Connection.FRESH,
    )


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Watch one target, judged once."""
    scene = Scene(tmp_path / "notify")
    scene.watch("main")
    scene.wait(1)
    scene.judge()
    scene.told()
    yield scene
    scene.manager.close()
    scene.listening.close()


@pytest.fixture
def lines() -> Iterator[list[structlog.typing.EventDict]]:
    """Take the log's lines."""
    with structlog.testing.capture_logs() as captured:
        yield captured


def test_a_blind_target_is_told_everywhere_and_so_is_its_end(
    scene: Scene, lines: list[structlog.typing.EventDict]
) -> None:
    """One critical line, the metrics, the status, the health and the record say it; a judged second ends it."""
    scene.wait(30)
    assert scene.vigil.healthy() == (True, "Probing, judging and recording.")
    scene.wait(1)
    (raised,) = scene.turns
    words = "no second was judged for 31 s: the second loop closes none"
    assert (raised.condition, raised.target, raised.raised, raised.words) == ("blind", "main", True, words)
    assert (raised.since_second, raised.noticed_second) == (START_SECOND + 1, START_SECOND + 32)
    assert (scene.metric("blind"), scene.metric("blind_conditions_total")) == (1, 1)
    assert [shown["words"] for shown in scene.view.status()["conditions"]] == [words]
    assert scene.vigil.healthy() == (False, f"The prober is blind for main since 2023-11-14T22:13:21Z: {words}.")
    assert scene.vigil.status_line().startswith("BLIND for main; Watching 1 target;")
    scene.wait(20)
    assert scene.turns == [raised]

    scene.judge()
    assert [turn.raised for turn in scene.turns] == [True, False]
    assert scene.desk.remarks == scene.turns
    assert (scene.metric("blind"), scene.metric("blind_conditions_total")) == (0, 1)
    assert scene.view.status()["conditions"] == []
    assert scene.vigil.healthy()[0]
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("blind.raised", "critical"),
        ("blind.over", "warning"),
    ]


def record_is_ahead(scene: Scene) -> None:
    """Set the clock back behind the record."""
    scene.vigil.attach(Insight(waiting=lambda: {"main": 600}))


def queue_is_full(scene: Scene) -> None:
    """Leave no room for what is closed."""
    scene.desk.full = True
    scene.view.ledger_trouble = "the disk is full"


def attempts_hang(scene: Scene) -> None:
    """Let no attempt end."""
    scene.vigil.attach(Insight(open_seconds=lambda: 7))


def clock_was_stepped(scene: Scene) -> None:
    """Step the wall clock back."""
    scene.vigil.attach(Insight(clock_ahead_us=lambda: -3_600 * SECOND_US))


def nobody_looked(scene: Scene) -> None:
    """Close a second without attempts."""
    scene.skip("the prober did not run")


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (record_is_ahead, "the record is 600 s ahead of the clock, and no second is judged twice"),
        (queue_is_full, "the ledger's queue is full, and it can't be written: the disk is full"),
        (attempts_hang, "attempts or controls do not end: 7 seconds are open"),
        (clock_was_stepped, "the wall clock was stepped by -3600 s"),
        (nobody_looked, "the prober did not run"),
    ],
)
def test_the_words_say_why(scene: Scene, happens: Callable[[Scene], None], why: str) -> None:
    """Whoever is woken knows where to look."""
    happens(scene)
    scene.wait(31)
    assert [turn.words for turn in scene.turns] == [f"no second was judged for 31 s: {why}"]


def test_a_second_loop_that_begins_nothing_is_seen_by_others(scene: Scene) -> None:
    """The looks come from a timer of their own, so a loop that is stuck raises the condition too."""
    scene.clock.passed_us += 31 * SECOND_US
    scene.vigil.look()
    assert [turn.words for turn in scene.turns] == ["no second was judged for 31 s: no second has begun for 31 s"]
    assert scene.vigil.healthy() == (False, "The prober is blind: no second has begun for 31 s.")


def test_a_start_blinds_nobody_until_it_has_had_its_time(tmp_path: Path) -> None:
    """However long the daemon was down, the condition waits as long as at any other time; then it is raised."""
    scene = Scene(tmp_path / "at-start")
    scene.watch("main")
    scene.skip("the daemon was down")
    scene.clock.passed_us += 30 * SECOND_US
    scene.vigil.look()
    assert scene.turns == []
    scene.clock.passed_us += SECOND_US
    scene.vigil.look()
    assert scene.turns[0].words == "no second was judged for 31 s: no second has begun yet"
    scene.listening.close()
    scene.manager.close()


def test_a_condition_that_a_run_left_raised_ends_with_the_next_judgement(scene: Scene) -> None:
    """The record has an end for each beginning, also where the daemon died in between."""
    scene.wait(31)
    raised = scene.turns[0]
    over = replace(raised, raised=False)
    scene.watch("main", "other")
    scene.turns.clear()
    later = replace(raised, since_second=raised.since_second + 100)
    scene.vigil.take_up([raised, over, replace(later, target="gone"), replace(later, target="other"), over])
    assert [(shown["target"], shown["since_second"]) for shown in scene.view.status()["conditions"]] == [
        ("main", raised.since_second),
        ("other", later.since_second),
    ]
    assert (scene.metric("blind", "other"), scene.turns) == (1, [])
    scene.wait(99)
    scene.judge("other")
    (ended,) = scene.turns
    assert (ended.target, ended.raised, ended.since_second) == ("other", False, later.since_second)
    assert scene.metric("blind", "other") == 0


def test_one_blind_target_is_not_hidden_by_one_that_is_judged(scene: Scene) -> None:
    """Each target has a condition of its own; the watchdog is about the loop, which closes seconds."""
    scene.watch("main", "other")
    fed = 0
    for _ in range(40):
        scene.wait(1)
        scene.judge("other")
        scene.vigil.turned()
        fed += scene.told().count(FEED)
    assert [(turn.target, turn.raised) for turn in scene.turns] == [("main", True)]
    assert fed == 40


def test_a_target_that_leaves_takes_its_condition_with_it(scene: Scene) -> None:
    """Nobody is kept awake by what is not watched any more."""
    scene.wait(31)
    scene.watch("other")
    assert [(turn.raised, turn.words) for turn in scene.turns[1:]] == [(False, "the target is not watched any more")]
    assert scene.view.status()["conditions"] == []
    assert scene.vigil.healthy()[0]


def test_a_hanging_provider_is_not_our_blindness(scene: Scene, lines: list[structlog.typing.EventDict]) -> None:
    """A blind_after shorter than attempts may hang is lengthened to what a sound prober needs, and that is said."""
    scene.watch("main", blind_after_s=5, timeout_s_max=60)
    assert [(line["event"], line.get("used_s", line.get("needed_s"))) for line in lines] == [
        ("blind.later", 65),
        ("watchdog.short", 65),
    ]
    scene.wait(65)
    assert scene.turns == []
    scene.wait(1)
    assert len(scene.turns) == 1


def test_only_the_turns_that_close_seconds_feed_the_watchdog(scene: Scene) -> None:
    """A turn that closed nothing feeds nothing, and neither do looks, new seconds and attempts."""
    scene.vigil.turned()
    assert scene.told() == [FEED]
    scene.wait(3)
    scene.vigil.turned()
    scene.vigil.turned()
    assert scene.told() == []
    scene.judge()
    scene.skip("the prober did not run")
    scene.vigil.turned()
    assert scene.told() == [FEED]


def test_the_watchdog_is_fed_where_a_restart_would_only_lose_evidence(scene: Scene) -> None:
    """With a full queue the turn holds seconds back on purpose, and what waits in memory must not be killed."""
    scene.vigil.turned()
    queue_is_full(scene)
    scene.told()
    scene.vigil.turned()
    assert scene.told() == [FEED]
    scene.desk.full = False
    scene.vigil.turned()
    assert scene.told() == []


def test_the_watchdog_is_fed_while_all_records_are_ahead_of_the_clock(scene: Scene) -> None:
    """There is nothing to close then, and a restart changes no clock; one target that could be closed ends that."""
    scene.vigil.turned()
    record_is_ahead(scene)
    scene.told()
    scene.vigil.turned()
    assert scene.told() == [FEED]
    scene.watch("main", "other")
    scene.vigil.turned()
    assert scene.told() == []


def test_the_service_manager_hears_once_that_the_work_has_begun(tmp_path: Path) -> None:
    """READY comes with the first second and again only after a reload."""
    scene = Scene(tmp_path / "ready")
    scene.watch("main", "other")
    scene.vigil.reloaded()
    assert scene.told() == []
    scene.wait(2)
    assert scene.told() == ["READY=1", "STATUS=Watching 2 targets; no second closed yet; ledger ok."]
    scene.judge()
    scene.view.ledger_trouble = "the disk is full"
    scene.vigil.reloaded()
    last = "last closed second 2023-11-14T22:13:20Z"
    assert scene.told() == ["READY=1", f"STATUS=Watching 2 targets; {last}; ledger: the disk is full."]
    scene.listening.close()
    scene.manager.close()
