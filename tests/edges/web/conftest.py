"""A listener on a free port of loopback, with everything it serves written into one fake."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from probe.cases import case_of
from probe.core.callsheet import Contacts, Facts, call_sheet
from probe.core.case_happenings import Case, CaseHappening, Cases
from probe.core.cases import cases_of
from probe.core.lives import Life, distinct, lives_of
from probe.core.model import Amendment
from probe.core.obligations import Pledges, obligations
from probe.issues import as_html, as_text, whole_of
from probe.web import Api, Decide, Issues, Listener, Report, Resources, SupportCases, Tell, TellCase, TokenBook
from probe.web.tokens import create


@dataclass
class FakeRecord:
    """A ledger of turns, cases and amendments in memory."""

    told: list[Any] = field(default_factory=list)
    in_cases: list[CaseHappening] = field(default_factory=list)
    kept: list[Amendment] = field(default_factory=list)
    trouble: Exception | None = None
    without_line: frozenset[str] = frozenset()

    async def lives(self) -> Sequence[Life]:
        """Read lives."""
        self._fail()
        return distinct(lives_of(self.told))

    async def tell(self, decide: Tell) -> Life:
        """Add to one."""
        self.told.append(decide(await self.lives()))
        return next(life for life in await self.lives() if life.issue == self.told[-1].issue)

    async def call_sheet(self, life: Life) -> tuple[Mapping[str, Any], Mapping[str, str]]:
        """Write one."""
        facts = Facts(
            life=life,
            contacts=Contacts(company="<i>Example</i>"),
            profile="sparkpost-enterprise",
            pledges=Pledges(),
            vantage="here",
            evidence=None,
            statements=(),
            owed=(),
            zone=UTC,
            now_us=2_000_000_000_000_000,
        )
        sheet = call_sheet(facts)
        return asdict(sheet), {"text/html": as_html(sheet), "text/plain": as_text(sheet)}

    def has_line(self, target: str) -> bool:
        """Say whether there is a line."""
        return target not in self.without_line

    async def described(self, lives: Sequence[Life]) -> Sequence[Mapping[str, Any]]:
        """Describe them, long after it all."""
        return [whole_of(life, obligations(life, Pledges(), 2_000_000_000_000_000)) for life in lives]

    async def targets(self) -> Collection[str]:
        """Name targets."""
        return {"main", "other"}

    async def cases(self) -> Cases:
        """Read cases."""
        self._fail()
        return cases_of(self.in_cases)

    async def tell_case(self, decide: TellCase) -> Case:
        """Add to one."""
        self.in_cases.append(decide(await self.cases()))
        return (await self.cases())[self.in_cases[-1].case]

    async def described_cases(self, cases: Sequence[Case]) -> Sequence[Mapping[str, Any]]:
        """Describe them, without what is owed."""
        return [case_of(case, ()) for case in cases]

    async def hours(self) -> Sequence[Mapping[str, Any]]:
        """Tell the Business Hours of two targets."""
        return [{"target": "main", "open": True}, {"target": "other", "open": False}]

    async def amendments(self) -> tuple[Amendment, ...]:
        """Read amendments."""
        self._fail()
        return tuple(self.kept)

    async def amend(self, decide: Decide) -> tuple[Amendment, ...]:
        """Add one."""
        self._fail()
        self.kept.append(decide(tuple(self.kept), {"main"}))
        return tuple(self.kept)

    def _fail(self) -> None:
        if self.trouble is not None:
            raise self.trouble


@dataclass
class Daemon:
    """What a listener serves; a test sets the answers."""

    health: Report = (True, "all well")
    readiness: Report = (True, "began")
    reload_report: Report = (True, "settings read again")
    reloads: int = 0
    status: dict[str, Any] = field(default_factory=lambda: {"version": 1})
    rendered: tuple[str, str, bytes] = ("text/plain; version=0.0.4; charset=utf-8", "", b"a 1.0\n")
    asked: list[tuple[str, str]] = field(default_factory=list)
    before_render: Callable[[], Awaitable[None]] | None = None
    record: FakeRecord = field(default_factory=FakeRecord)
    tokens_file: Path | None = None

    async def render(self, accept: str, accept_encoding: str) -> tuple[str, str, bytes]:
        """Answer a scrape."""
        self.asked.append((accept, accept_encoding))
        if self.before_render is not None:
            await self.before_render()
        return self.rendered

    async def reload(self) -> Report:
        """Answer a reload."""
        self.reloads += 1
        return self.reload_report

    def token(self, name: str = "nina") -> str:
        """Make a token."""
        assert self.tokens_file is not None
        return create(self.tokens_file, name, 1_700_000_000_000_000)

    def api(self, **options: Any) -> Api:
        """Make the API of this daemon."""
        tokens = None if self.tokens_file is None else TokenBook(self.tokens_file)
        resources = Resources(status=lambda: self.status, record=self.record)
        operations = (
            *resources.operations(),
            *Issues(self.record).operations(),
            *SupportCases(self.record).operations(),
        )
        return Api(operations, **{"tokens": tokens, **options})

    def listener(self, **options: Any) -> Listener:
        """Make a listener that serves this daemon."""
        api = options.pop("api", None) or self.api()
        return Listener(
            **{"port": 0, **options},
            render=self.render,
            healthy=lambda: self.health,
            ready=lambda: self.readiness,
            reload=self.reload,
            api=api,
        )


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    """Give what the listener serves."""
    return Daemon(tokens_file=tmp_path / "tokens.json")


@pytest.fixture
async def listener(daemon: Daemon) -> AsyncIterator[Listener]:
    """Give a listener that listens."""
    listener = daemon.listener()
    await listener.start()
    yield listener
    await listener.stop()


@pytest.fixture
async def client(listener: Listener) -> AsyncIterator[aiohttp.ClientSession]:
    """Give a client of the listener that changes nothing about bodies."""
    async with aiohttp.ClientSession(f"http://{listener.address}", auto_decompress=False) as session:
        yield session
