"""Metrics of one target on both surfaces, and steps made by the real rules."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from prometheus_client import CollectorRegistry

from probe.core.endings import fault_of
from probe.core.engine import TargetState, advance, begin
from probe.core.model import Cause, Fault, Outcome, Persistence, Phase, Step, Surface, Terms
from probe.metrics import Metrics

SURFACES = (Surface.API, Surface.SMTP)
TERMS = Terms(
    profile="sparkpost-enterprise",
    persistence=Persistence(unavailable_seconds=2, window_seconds=3, recovery_seconds=2),
    objective_ppm=999_900,
    surfaces=SURFACES,
)
PHASES = {
    Surface.API: ((Phase.REQUEST, 100), (Phase.FIRST_BYTE, 20_000), (Phase.BODY, 900)),
    Surface.SMTP: ((Phase.MAIL, 2_000), (Phase.RCPT, 3_000), (Phase.DATA, 1_000), (Phase.FINAL, 600_000)),
}


@dataclass(frozen=True)
class Named:
    """A target or control, as far as metrics care."""

    name: str
    surfaces: tuple[Surface, ...] = SURFACES


@dataclass
class Scene:
    """Metrics and the registry they are on."""

    registry: CollectorRegistry
    metrics: Metrics

    def configure(
        self, targets: Sequence[str] = ("main",), controls: Sequence[str] = ("dns",), sources: Sequence[str] = ("page",)
    ) -> None:
        """Load settings with these names."""
        self.metrics.configure([Named(name) for name in targets], [Named(name) for name in controls], sources)

    def value(self, name: str, **labels: str) -> float | None:
        """Read one sample."""
        return self.registry.get_sample_value(name, labels)


class Story:
    """The seconds of one target, each told by the causes of its two attempts."""

    def __init__(self, target: str = "main", first_second: int = 1_700_000_000) -> None:
        self.state: TargetState = begin(target, TERMS, first_second)

    def second(self, api: Cause = Cause.ACCEPTED, smtp: Cause = Cause.ACCEPTED) -> tuple[Step, TargetState]:
        """Close one second."""
        outcomes = [self._outcome(Surface.API, api), self._outcome(Surface.SMTP, smtp)]
        self.state, step = advance(self.state, TERMS, self.state.next_second, outcomes, ())
        return step, self.state

    def _outcome(self, surface: Surface, cause: Cause) -> Outcome:
        fault = fault_of(cause)
        return Outcome(
            target=self.state.target,
            surface=surface,
            second=self.state.next_second,
            ordinal=0,
            started_us=self.state.next_second * 1_000_000,
            duration_us=21_000 if surface is Surface.API else 606_000,
            fault=fault,
            cause=cause,
            phase=PHASES[surface][-1][0],
            reply="key=hunter2",
            message_id="1.0.api.main.here",
            phases=PHASES[surface] if fault is Fault.NONE else (),
        )


@pytest.fixture
def scene() -> Scene:
    """Give configured metrics."""
    registry = CollectorRegistry()
    scene = Scene(registry, Metrics(registry, version="1.2.3", rules_version=1))
    scene.configure()
    return scene


@pytest.fixture
def new_story() -> Callable[..., Story]:
    """Give a maker of stories."""
    return Story
