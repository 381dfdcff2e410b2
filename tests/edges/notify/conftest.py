"""A receiver on loopback that can refuse, hang and be away, and an outbox in memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from pydantic import SecretStr

from probe.core.model import Condition, IssueEvent, IssueTurn
from probe.core.notices import Delivery, Notice, Place, Turn
from probe.notify import CourierCharge, CourierKind, OutboxError

SECRET = "hunter2-unique-4711"


@dataclass(kw_only=True)
class Receiver:
    """Takes POSTs; `answers` are the statuses it gives, the last of them for ever."""

    url: str = ""
    answers: list[int] = field(default_factory=lambda: [200])
    taken: list[tuple[Mapping[str, str], bytes]] = field(default_factory=list)
    refused: int = 0
    hangs: bool = False
    something: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, request: web.Request) -> web.Response:
        """Take or refuse one request."""
        body = await request.read()
        if self.hangs:
            await asyncio.sleep(3_600)
        status = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if status == 200:
            self.taken.append((dict(request.headers), body))
        else:
            self.refused += 1
        self.something.set()
        return web.Response(status=status)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until it holds, looking after each request."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.something.clear()
                await self.something.wait()

    @property
    def bodies(self) -> list[Any]:
        """Give the bodies that were taken."""
        return [json.loads(body) for _, body in self.taken]

    @property
    def keys(self) -> list[str]:
        """Give the keys of what was taken."""
        return [body["key"] for body in self.bodies]


@pytest.fixture
async def receive() -> AsyncIterator[Callable[[], Awaitable[Receiver]]]:
    """Give a function that starts another receiver."""
    runners = []

    async def start() -> Receiver:
        receiver = Receiver()
        application = web.Application()
        application.router.add_post("/{path:.*}", receiver.take)
        runner = web.AppRunner(application, shutdown_timeout=0.01)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return receiver

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def receiver(receive: Callable[[], Awaitable[Receiver]]) -> Receiver:
    """Start one receiver."""
    return await receive()


@pytest.fixture
def charge() -> Callable[..., CourierCharge]:
    """Give a function that makes a courier's charge."""

    def make(kind: str, url: str, **more: Any) -> CourierCharge:
        secret = SecretStr(SECRET) if kind == "webhook" else None
        whole = {"name": kind, "secret": secret, "timeout_s": 2.0, "repeat_s": 0.0, **more}
        return CourierCharge(kind=CourierKind(kind), url=SecretStr(url), **whole)

    return make


def turn(number: int, *, issue: str = "main-a", over: bool = False) -> IssueEvent:
    """Make a turn of an issue."""
    return IssueEvent(
        issue=issue,
        target="main",
        turn=IssueTurn.RESTORED if over else IssueTurn.OPENED,
        since_second=1_764_000_000 + number,
        noticed_second=1_764_000_060 + number,
    )


@pytest.fixture
def turns() -> Callable[..., IssueEvent]:
    """Give the function that makes a turn."""
    return turn


@pytest.fixture
def blind() -> Callable[..., Condition]:
    """Give a function that makes a turn of a condition."""

    def make(number: int, *, raised: bool = True) -> Condition:
        since_second = 1_764_000_000 + number
        return Condition(
            condition="blind",
            target="main",
            since_second=since_second,
            noticed_second=since_second + 31,
            raised=raised,
            words="no second was judged for 31 s",
        )

    return make


@dataclass(kw_only=True)
class Shelf:
    """An outbox in memory, which can be unreadable and can't be settled when the disk is full."""

    kept: list[Turn] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    trouble: str = ""
    counts_slowly: Callable[[], Awaitable[None]] | None = None

    def _check(self) -> None:
        if self.trouble:
            raise OutboxError(self.trouble)

    async def enrol(self, names: frozenset[str]) -> Mapping[str, Place]:
        """Give places."""
        self._check()
        self.places = {name: self.places.get(name, Place(batch=len(self.kept))) for name in names}
        return self.places

    async def after(self, place: Place, limit: int) -> Sequence[tuple[Place, Turn]]:
        """Read on."""
        self._check()
        told = [(Place(batch=number), kept) for number, kept in enumerate(self.kept, 1) if number > place.batch]
        return tuple(told[:limit])

    async def count_after(self, place: Place) -> int:
        """Count, and take some time to answer."""
        self._check()
        waiting = len(self.kept) - place.batch
        if self.counts_slowly is not None:
            await self.counts_slowly()
        return waiting

    async def settle(self, name: str, place: Place) -> None:
        """Keep a place."""
        self._check()
        self.places[name] = place


@pytest.fixture
def shelf() -> Shelf:
    """Make an outbox."""
    return Shelf()


@dataclass(kw_only=True)
class Watcher:
    """Notes what it hears."""

    tries: list[tuple[str, Delivery]] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    something: asyncio.Event = field(default_factory=asyncio.Event)

    def tried(self, courier: str, delivery: Delivery) -> None:
        """Note a try."""
        self.tries.append((courier, delivery))
        self.something.set()

    def waiting(self, courier: str, notices: int) -> None:
        """Note what waits."""
        self.left[courier] = notices
        self.something.set()

    def failed(self, courier: str, words: str) -> None:
        """Note a failure."""
        self.troubles.append(words)
        self.something.set()

    def worked(self, courier: str) -> None:
        """Note a success."""

    def given_up(self, courier: str, notice: Notice, words: str) -> None:
        """Note what is lost."""
        self.lost.append(notice.key)
        self.something.set()

    async def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait until it holds, looking after each word."""
        async with asyncio.timeout(timeout_s):
            while not condition():
                self.something.clear()
                await self.something.wait()


@pytest.fixture
def watcher() -> Watcher:
    """Make one who watches."""
    return Watcher()
