"""A listener on a free port of loopback, with everything it serves written into one fake."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest

from probe.web import Listener, Report


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

    def listener(self, **options: Any) -> Listener:
        """Make a listener that serves this daemon."""
        return Listener(
            **{"port": 0, **options},
            render=self.render,
            healthy=lambda: self.health,
            ready=lambda: self.readiness,
            reload=self.reload,
            status=lambda: self.status,
        )


@pytest.fixture
def daemon() -> Daemon:
    """Give what the listener serves."""
    return Daemon()


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
