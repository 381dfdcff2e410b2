"""A scripted run of the rules, whose batches the ledger's tests keep, break and read back."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from probe.core.engine import TargetState, advance, begin, skip
from probe.core.model import (
    Cause,
    ClockState,
    Connection,
    ControlOutcome,
    Fault,
    Outcome,
    Persistence,
    Phase,
    Step,
    Surface,
    Synchronisation,
    Terms,
    Ticket,
)
from probe.ledger.records import Batch
from probe.ledger.store import Store

FIRST_SECOND = 1_764_000_000
VANTAGE = "vantage-1"
TERMS = Terms(
    profile="sparkpost-enterprise",
    persistence=Persistence(unavailable_seconds=3, window_seconds=5, recovery_seconds=3),
    objective_ppm=999_900,
    surfaces=(Surface.API, Surface.SMTP),
)


class Script:
    """Plays seconds through the rules and makes a batch of each, as the runner would."""

    def __init__(self, targets: Sequence[str] = ("main", "other"), terms: Terms = TERMS) -> None:
        self.terms = dict.fromkeys(targets, terms)
        self.states: dict[str, TargetState] = {name: begin(name, terms, FIRST_SECOND) for name in self.terms}
        self.steps: list[Step] = []
        self.fault = (Fault.SERVER_ERROR, Cause.HTTP_ERROR)

    @property
    def next_second(self) -> int:
        """Give the second that is played next."""
        return max(state.next_second for state in self.states.values())

    def second(self, *, down: Sequence[str] = (), checkpoint: bool = False) -> Batch:
        """Play one second; both surfaces of the targets in `down` fail with `fault`."""
        second = self.next_second
        controls = tuple(control(name, second) for name in ("gateway", "resolver"))
        steps = []
        for target, terms in self.terms.items():
            fault = self.fault if target in down else (Fault.NONE, Cause.ACCEPTED)
            outcomes = [outcome(target, surface, second, *fault) for surface in terms.surfaces]
            self.states[target], step = advance(self.states[target], terms, second, outcomes, controls)
            steps.append(step)
        return self._batch(steps, controls, checkpoint)

    def away(self, seconds: int, reason: str = "daemon was down") -> Batch:
        """Play a run of seconds that nobody looked at."""
        steps = []
        for target, terms in self.terms.items():
            state = self.states[target]
            self.states[target], step = skip(state, terms, state.next_second + seconds - 1, reason)
            steps.append(step)
        return self._batch(steps, (), checkpoint=False)

    def story(self) -> list[Batch]:
        """Play a healthy start, an outage that opens an issue, a recovery and a run that nobody saw."""
        return [
            self.second(checkpoint=True),
            self.second(),
            *[self.second(down=["main"]) for _ in range(4)],
            self.second(checkpoint=True),
            *[self.second() for _ in range(4)],
            self.away(30),
            self.second(),
        ]

    def _batch(self, steps: list[Step], controls: tuple[ControlOutcome, ...], checkpoint: bool) -> Batch:
        self.steps += steps
        states = tuple(self.states.values()) if checkpoint else ()
        remarks = (clock_state(steps[0].second), clock_state(steps[0].second + 1)) if checkpoint else ()
        return Batch(steps=tuple(steps), controls=controls, states=states, terms=self.terms, remarks=remarks)


def clock_state(second: int) -> ClockState:
    """Make what was known of the clock."""
    return ClockState(
        second=second,
        read_us=second * 1_000_000 + 7,
        synchronisation=Synchronisation.SYNCHRONISED,
        estimated_error_us=55,
        maximum_error_us=1_200,
        ahead_us=-3,
    )


def outcome(target: str, surface: Surface, second: int, fault: Fault, cause: Cause, ordinal: int = 0) -> Outcome:
    """Make an attempt's outcome with every field filled."""
    ticket = Ticket(target=target, vantage=VANTAGE, surface=surface, second=second, ordinal=ordinal)
    good = fault == Fault.NONE
    return Outcome(
        target=target,
        surface=surface,
        second=second,
        ordinal=ordinal,
        started_us=second * 1_000_000 + 123_456,
        duration_us=45_678,
        fault=fault,
        cause=cause,
        phase=Phase.FINAL,
        code=250 if good else 503,
        enhanced_code="2.0.0" if good else "",
        reply='2.0.0 Ok: queued as "4ABC"\nand more' if good else "sorry, naïve €",
        message_id=ticket.message_id,
        connection=Connection.KEPT,
        address="127.0.0.1",
        maybe_accepted=not good,
        phases=((Phase.REQUEST, 1_200), (Phase.FIRST_BYTE, 40_000)),
    )


def control(name: str, second: int, *, worked: bool = True) -> ControlOutcome:
    """Make a control's outcome."""
    return ControlOutcome(
        control=name,
        second=second,
        started_us=second * 1_000_000 + 500,
        duration_us=900,
        worked=worked,
        cause=Cause.ACCEPTED if worked else Cause.REFUSED,
    )


@pytest.fixture
def script() -> Script:
    """Give a fresh scripted run of two targets."""
    return Script()


@pytest.fixture
def make_script() -> type[Script]:
    """Give the maker of scripted runs."""
    return Script


@pytest.fixture
def make_outcome() -> Callable[..., Outcome]:
    """Give the maker of outcomes."""
    return outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a ledger that does not exist yet."""
    return tmp_path / "ledger.db"


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the tables once: the migrations take longer than most tests."""
    path = tmp_path_factory.mktemp("empty") / "ledger.db"
    store = Store(str(path), VANTAGE)
    store.open()
    store.close()
    return path


@pytest.fixture(scope="session")
def whole_story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the whole story once."""
    path = tmp_path_factory.mktemp("story") / "ledger.db"
    store = Store(str(path), VANTAGE)
    for batch in Script().story():
        store.append(batch)
    store.close()
    return path


@pytest.fixture
def make_store(empty_ledger: Path) -> Iterator[Callable[[Path | str], Store]]:
    """Give a function that opens a store; all are closed at the end."""
    stores = []

    def make(address: Path | str, wall_us: Callable[[], int] | None = None) -> Store:
        if isinstance(address, Path) and address.parent.exists() and not address.exists():
            shutil.copy(empty_ledger, address)
        # A clock of the test's own: the same script makes the same bytes.
        ticks = iter(range(FIRST_SECOND * 1_000_000, 2 * FIRST_SECOND * 1_000_000, 1_000_000))
        store = Store(str(address), VANTAGE, wall_us=wall_us or (lambda: next(ticks)))
        stores.append(store)
        store.open()
        return store

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def kept(path: Path, script: Script, whole_story: Path) -> Path:
    """Give a ledger that holds the whole story, and the script as it stands after it."""
    script.story()
    return Path(shutil.copy(whole_story, path))


@pytest.fixture
def tamper(path: Path) -> Callable[..., None]:
    """Give a function that runs SQL on the ledger as an attacker would, without any of the program's checks."""

    def run(*statements: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return run
