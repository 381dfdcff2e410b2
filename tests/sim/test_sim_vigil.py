"""How long a sound second loop may close nothing: the bound that the watchdog and the condition `blind` rest on."""

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

import pytest

from probe.core.engine import begin
from probe.core.model import Surface
from probe.runner import Runner
from probe.systemd import ServiceManager
from probe.vigil import CLOSING_MARGIN_S, Insight, Vigil

if TYPE_CHECKING:
    from tests.sim.sim_run import SECOND_US, Life, ScriptedLedger, Watch
    from tests.sim.sim_time import FIRST_SECOND, HostTime, simulate
    from tests.sim.sim_world import HANG, Calm, Manner, Sight
else:
    from sim_run import SECOND_US, Life, ScriptedLedger, Watch
    from sim_time import FIRST_SECOND, HostTime, simulate
    from sim_world import HANG, Calm, Manner, Sight

Lines = list[MutableMapping[str, Any]]
DEAF = Sight(manner=Manner.OVERSTAYS)
BEGIN_S, END_S = 20, 60


class Spell(Calm):
    """All is well but for a while, in which every attempt is like this."""

    def __init__(self, sight: Sight) -> None:
        self._sight = sight

    def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
        """Say what an attempt sees."""
        if FIRST_SECOND + BEGIN_S <= second < FIRST_SECOND + END_S:
            return self._sight
        return super().attempt(target, surface, second, ordinal)


class Manager(ServiceManager):
    """A service manager that notes when it is fed."""

    def __init__(self, host: HostTime) -> None:
        super().__init__({})
        self._host = host
        self._fed_us = host.monotonic_us()
        self.longest_us = 0

    def feed(self) -> None:
        """Note it."""
        now_us = self._host.monotonic_us()
        self.longest_us = max(self.longest_us, now_us - self._fed_us)
        self._fed_us = now_us


@pytest.mark.parametrize("timeout_s", [0.3, 2.5, 10.0])
@pytest.mark.parametrize(
    ("sight", "margin_s"), [(HANG, 2.0), (DEAF, CLOSING_MARGIN_S)], ids=["hanging provider", "attempts with a bug"]
)
def test_a_sound_loop_never_closes_nothing_for_longer_than_is_said(
    timeout_s: float, sight: Sight, margin_s: float, lines: Lines
) -> None:
    """Whatever hangs, the watchdog is fed within the stated bound, and nobody calls the prober blind."""

    async def scenario() -> float:
        host = HostTime()
        watch = Watch(name="main", timeout_s=timeout_s, attempts_per_second=3, in_flight_max=100)
        life = Life(host, Spell(sight), ScriptedLedger(), watches=[watch])
        manager = Manager(host)
        vigil = Vigil(
            clock=life.clock,
            sink=life.teller,
            metrics=life.metrics,
            view=life.view,
            manager=manager,
            tell=lambda _turn: None,
        )
        vigil.configure(["main"], 1, timeout_s)
        runner = life.runner = Runner(
            plan=life.plan,
            clock=life.clock,
            sink=vigil,
            states={},
            on_second=vigil.second_begins,
            on_turn=vigil.turned,
        )
        vigil.attach(Insight(open_seconds=lambda: runner.open_seconds))
        life.start()
        for elapsed_s in range(1, END_S + 20):
            await life.run_through(elapsed_s)
            vigil.look()
        await life.stop()
        return manager.longest_us / SECOND_US

    longest_s = simulate(scenario())
    assert timeout_s < longest_s <= timeout_s + margin_s
    assert not [line for line in lines if line["event"].startswith("blind.") and line["event"] != "blind.later"]


def test_a_target_that_leaves_while_its_record_is_ahead_is_waited_for_no_more() -> None:
    """Health and watchdog ask which targets wait for the clock; one that is not watched any more is none of them."""

    async def scenario() -> tuple[dict[str, int], dict[str, int]]:
        host = HostTime()
        both = [Watch(name="main"), Watch(name="ahead")]
        ahead = begin("ahead", both[1].terms, FIRST_SECOND + 600)
        life = Life(host, Calm(), ScriptedLedger(), watches=both, states={"ahead": ahead})
        life.start()
        await life.run_through(3)
        before = dict(life.runner.waiting)
        life.reload(both[:1])
        await life.run_through(6)
        after = dict(life.runner.waiting)
        await life.stop()
        return before, after

    before, after = simulate(scenario())
    assert list(before) == ["ahead"]
    assert after == {}
