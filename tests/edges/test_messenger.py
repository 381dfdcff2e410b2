"""How couriers fare is shown: in the metrics at once, in the status and the log once it has lasted, each turn once."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from structlog.testing import capture_logs

from probe.clock import SystemClock
from probe.core.model import Persistence, Surface, Terms
from probe.core.notices import Delivery, trial
from probe.ledger import Ledger
from probe.messenger import Messenger
from probe.metrics import Metrics
from probe.notify import CourierCharge, CourierKind, build
from probe.sheets import Sheets
from probe.view import View

TERMS = Terms(
    profile="sparkpost-enterprise",
    persistence=Persistence(),
    objective_ppm=999_900,
    surfaces=(Surface.API,),
)
CHARGE = CourierCharge(
    name="hook",
    kind=CourierKind.WEBHOOK,
    url=SecretStr("http://127.0.0.1:1/hunter2"),
    secret=SecretStr("hunter2"),
    timeout_s=1.0,
    repeat_s=0,
)


class Scene:
    """A messenger, and what it shows."""

    def __init__(self, folder: Path, failing_long_s: float) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, version="1", rules_version=1)
        self.metrics.configure((), (), (), (CHARGE,))
        self.view = View(version="1", vantage="here", started_second=0)
        self.ledger = Ledger(str(folder / "ledger.db"), "here")
        self.messenger = Messenger(
            outbox=self.ledger.outbox(),
            sheets=Sheets(self.ledger.name, lambda: None, SystemClock()),
            clock=SystemClock(),
            metrics=self.metrics,
            view=self.view,
            failing_long_s=failing_long_s,
        )

    @property
    def shown(self) -> Any:
        """Give what the status says of the courier."""
        return self.view.status()["couriers"]["hook"]

    def metric(self, name: str, **labels: str) -> float | None:
        """Give a metric of the courier."""
        return self.registry.get_sample_value(f"sev1probe_{name}", {"courier": "hook", **labels})


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[[float], Scene]]:
    """Give a function that makes a scene in which a courier has failed for long after so many seconds."""
    scenes = []

    def begin(failing_long_s: float) -> Scene:
        scene = Scene(tmp_path, failing_long_s)
        scenes.append(scene)
        scene.messenger.configure([(CHARGE, build(CHARGE))], "here", {"main": TERMS}, {})
        return scene

    yield begin
    for scene in scenes:
        await scene.messenger.close()
        await scene.ledger.close()


async def test_a_courier_that_fails_for_long_is_shown_and_said_once(make: Callable[[float], Scene]) -> None:
    """However often it is tried, there is one line for the turn, and one when it works again."""
    scene = make(0.0)
    with capture_logs() as lines:
        for _ in range(3):
            scene.messenger.tried("hook", Delivery.FAILED)
            scene.messenger.failed("hook", "no connection: Connection refused")
        failing = scene.shown
        assert scene.metric("courier_failing") == 1
        scene.messenger.worked("hook")
        scene.messenger.worked("hook")

    assert failing["trouble"] == "no connection: Connection refused"
    assert failing["failing_since"].endswith("Z")
    assert [line["event"] for line in lines] == ["courier.failing", "courier.works_again"]
    assert (scene.shown["trouble"], scene.shown["failing_since"]) == ("", None)
    assert scene.metric("courier_failing") == 0
    assert scene.metric("notifications_total", outcome="failed") == 3


async def test_a_short_failure_is_in_the_metrics_alone(make: Callable[[float], Scene]) -> None:
    """One refused connection wakes nobody."""
    scene = make(60.0)
    with capture_logs() as lines:
        scene.messenger.failed("hook", "no connection: Connection refused")
        scene.messenger.worked("hook")

    assert lines == []
    assert scene.shown["trouble"] == ""


async def test_a_notice_that_is_given_up_has_its_line(make: Callable[[float], Scene]) -> None:
    """It names the notice and why."""
    scene = make(60.0)
    with capture_logs() as lines:
        scene.messenger.given_up("hook", trial("here", 7), "the receiver refuses it: HTTP 422")

    assert lines == [
        {
            "event": "courier.gave_up",
            "log_level": "error",
            "courier": "hook",
            "notice": "here/test/7",
            "words": "the receiver refuses it: HTTP 422",
        }
    ]


async def test_every_courier_is_shown_from_the_start_and_no_longer_than_it_is_configured(
    make: Callable[[float], Scene],
) -> None:
    """Zero is visible, and a reload without it takes it away."""
    scene = make(60.0)
    assert scene.metric("outbox_waiting") == 0
    assert {scene.metric("notifications_total", outcome=str(outcome)) for outcome in Delivery} == {0}
    scene.messenger.waiting("hook", 3)
    assert (scene.shown["waiting"], scene.metric("outbox_waiting")) == (3, 3)

    scene.messenger.configure([], "here", {"main": TERMS}, {})
    scene.metrics.configure((), (), (), ())

    assert scene.view.status()["couriers"] == {}
    assert scene.metric("outbox_waiting") is None
