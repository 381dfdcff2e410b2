"""The month that the metrics show is what the ledger's totals are, through starts, seconds and amendments."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from probe import clock
from probe.core.amendments import named
from probe.core.model import Amendment, Exclusion
from probe.core.month import month_of
from probe.ledger import account_of, propose
from probe.ledger.store import Store
from probe.metrics import Metrics
from probe.monthbook import MonthBook

MakeStore = Callable[..., Store]


class Scene:
    """A book over a ledger that goes on."""

    def __init__(self, path: Path, make_store: MakeStore, script: Any) -> None:
        self.path, self.script = path, script
        self.store = make_store(path, wall_us=clock.wall_us)
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry, version="0", rules_version=2)
        self.metrics.configure([_Target("main"), _Target("other")], [])
        self.is_paused = False
        self.book = MonthBook(address=str(path), metrics=self.metrics, paused=lambda: self.is_paused)

    def play(self, down: int, up: int = 0) -> None:
        """Keep some seconds and tell them."""
        batches = [self.script.second(down=["main"]) for _ in range(down)]
        for batch in [*batches, *(self.script.second() for _ in range(up))]:
            self.store.append(batch)
            for step in batch.steps:
                self.book.observe(step)

    def amend(self, first: int, last: int) -> None:
        """Exclude a window."""
        window = Amendment(
            amendment="",
            target="main",
            surface="",
            first_second=first,
            last_second=last,
            exclusion=Exclusion.PLANNED_MAINTENANCE,
            reason="announced",
            author="nina",
            added_us=clock.wall_us(),
        )
        self.store.close()
        propose(str(self.path), named(window))
        self.store.open()
        self.book.amended()

    def shown(self, target: str = "main") -> dict[str, float | None]:
        """Give what the metrics show of a month."""
        value = self.registry.get_sample_value

        def month(name: str, **labels: str) -> float | None:
            return value(f"sev1probe_month_{name}", {"target": target, **labels})

        return {
            "available": month("seconds", verdict="available"),
            "unavailable_literal": month("unavailable_seconds", basis="literal"),
            "unavailable_corroborated": month("unavailable_seconds", basis="corroborated"),
            "unobserved": month("seconds", verdict="unobserved"),
            "excluded": month("excluded_seconds"),
            "budget": month("budget_seconds"),
        }

    def totals(self, target: str = "main") -> dict[str, float]:
        """Give the same from the ledger."""
        month = month_of(self.script.next_second - 1)
        (tally,) = account_of(str(self.path), month.first_second, month.last_second, target).tallies
        count = tally.totals[-1].as_amended
        names = ("available", "unavailable_literal", "unavailable_corroborated", "unobserved", "excluded")
        return {name: getattr(count, name) for name in names} | {"budget": float(count.budget_s(999_900))}


class _Target:
    surfaces = ()

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.fixture
def scene(path: Path, make_store: MakeStore, script: Any) -> Iterator[Scene]:
    """Give a book over an empty ledger."""
    scene = Scene(path, make_store, script)
    yield scene
    scene.book.close()


async def test_the_month_goes_on_from_what_the_ledger_has(scene: Scene) -> None:
    """What was kept before the start, what is told later, and what an amendment leaves out come to the totals."""
    first = scene.script.next_second
    scene.play(down=5, up=5)  # Nobody follows yet: this is what an earlier run has left.
    scene.book.configure(scene.script.terms, scene.script.states)
    assert scene.shown()["available"] is None, "what is not known is not shown"
    assert await scene.book.look()
    assert scene.shown() == scene.totals()
    assert scene.shown()["unavailable_literal"] == 5

    scene.play(down=3, up=2)
    assert scene.shown() == scene.totals()
    assert scene.shown()["unavailable_literal"] == 8
    assert scene.shown("other") == scene.totals("other")

    scene.amend(first, first + 3)
    scene.play(down=1)
    assert await scene.book.look()
    scene.play(down=1)
    assert scene.shown() == scene.totals()
    assert (scene.shown()["unavailable_literal"], scene.shown()["excluded"]) == (6, 4)
    assert scene.shown("other")["excluded"] == 0


async def test_what_is_not_kept_yet_is_not_looked_for(scene: Scene) -> None:
    """While the ledger lacks what was told nothing is read, and the month is shown once it can be."""
    scene.book.configure(scene.script.terms, {})
    scene.is_paused = True
    scene.play(down=2)
    assert await scene.book.look()
    assert scene.shown()["available"] is None
    scene.is_paused = False
    assert await scene.book.look()
    scene.play(down=0, up=1)
    assert scene.shown() == scene.totals()


async def test_a_month_that_begins_is_counted_from_zero(scene: Scene) -> None:
    """The night over the end of the month is parted; the budget is that of the new month's days."""
    scene.book.configure(scene.script.terms, {})
    scene.play(down=3)
    assert await scene.book.look()
    new_month = int(datetime(2025, 12, 1, tzinfo=UTC).timestamp())
    away = scene.script.away(new_month - scene.script.next_second + 40)
    scene.store.append(away)
    for step in away.steps:
        scene.book.observe(step)
    assert (scene.shown()["unobserved"], scene.shown()["unavailable_literal"]) == (40, 0)
    assert scene.shown()["budget"] == 267.84
    assert await scene.book.look()
    scene.play(down=2)
    assert scene.shown() == scene.totals()


async def test_a_ledger_that_can_not_be_read_is_read_later(scene: Scene) -> None:
    """Nothing is shown meanwhile, and the book says that it has to look again."""
    scene.book.configure(scene.script.terms, {})
    scene.play(down=2)
    away = scene.path.with_name("away")
    scene.path.rename(away)
    assert not await scene.book.look()
    away.rename(scene.path)
    assert await scene.book.look()
    assert scene.shown() == scene.totals()
