"""Whose word counts, through the whole loop: a control that fails by itself must corroborate nothing."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from probe.core.model import Basis, Cause, Step, Surface, Verdict

if TYPE_CHECKING:
    from tests.sim.sim_run import Life, ScriptedLedger, Watch, seeded
    from tests.sim.sim_time import FIRST_SECOND, HostTime, simulate
    from tests.sim.sim_world import Calm, Sight
else:
    from sim_run import Life, ScriptedLedger, Watch, seeded
    from sim_time import FIRST_SECOND, HostTime, simulate
    from sim_world import Calm, Sight

REFUSED, UNREACHABLE = Sight(cause=Cause.REFUSED), Sight(cause=Cause.UNREACHABLE)
ONE = (Watch(name="main", surfaces=(Surface.API,)),)
QUIET_SECONDS = 200


class Scripted(Calm):
    """The provider refuses every call after the quiet seconds; the controls do as they are told."""

    def __init__(self, works: Callable[[str, int], bool]) -> None:
        self._works = works

    def attempt(self, target: str, surface: Surface, second: int, ordinal: int) -> Sight:
        """Be well at first, then refuse."""
        return Sight() if second < FIRST_SECOND + QUIET_SECONDS else REFUSED

    def control(self, control: str, second: int) -> Sight:
        """Work as told."""
        return Sight() if self._works(control, second - FIRST_SECOND) else UNREACHABLE


async def play(works: Callable[[str, int], bool]) -> tuple[Life, list[Step]]:
    """Live through the quiet seconds and ten more."""
    seeded(1)
    ledger = ScriptedLedger()
    life = Life(HostTime(), Scripted(works), ledger, watches=ONE)
    life.start()
    await life.run_through(QUIET_SECONDS + 10.5)
    assert await life.stop(grace_s=10.0) == 0
    return life, [step for step in ledger.steps if step.second >= FIRST_SECOND + QUIET_SECONDS]


def test_the_word_of_a_flaky_control_does_not_make_a_second_unavailable() -> None:
    """One that failed in every third second while the other worked is not believed when it alone works."""

    def works(control: str, second: int) -> bool:
        return second % 3 > 0 if control == "dns" else second < QUIET_SECONDS

    life, refused = simulate(play(works))

    assert {step.verdict for step in refused} == {Verdict.INCONCLUSIVE}
    assert not life.runner.control_records["dns"].trusted
    assert life.runner.control_records["dns"].success_ppm == pytest.approx(666_000, abs=20_000)


def test_the_word_of_a_sound_control_does() -> None:
    """The other one, which never failed, is enough; the evidence names it alone."""

    def works(control: str, second: int) -> bool:
        return control == "gateway"

    life, refused = simulate(play(works))

    assert {(step.verdict, step.basis) for step in refused} == {(Verdict.UNAVAILABLE, Basis.CORROBORATED)}
    witnesses = {outcome.control for step in refused for judged in step.judgements for outcome in judged.evidence}
    assert witnesses == {"gateway"}
    assert not life.runner.control_records["dns"].trusted


def test_our_own_outage_leaves_the_controls_their_word() -> None:
    """When both fail together for minutes it was our network: afterwards they corroborate as before."""

    def works(control: str, second: int) -> bool:
        return not 10 <= second < QUIET_SECONDS

    _, refused = simulate(play(works))

    assert {(step.verdict, step.basis) for step in refused} == {(Verdict.UNAVAILABLE, Basis.CORROBORATED)}
