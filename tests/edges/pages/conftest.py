"""A web server on loopback that says what it is told, byte for byte, and pages that ask it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest

from probe.clock import SystemClock
from probe.pages import Page

GOOD = b'{"page": {"id": "x1", "name": "Provider"}, "status": {"indicator": "none"}}'


def http(body: bytes = GOOD, status: str = "200 OK", *headers: str) -> bytes:
    """Write a reply."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Content-Type: application/json", *headers, "", ""]
    return "\r\n".join(head).encode() + body


@dataclass(slots=True)
class Site:
    """A server whose i-th request is answered by the i-th reply; the last one repeats. b"" answers nothing at all."""

    replies: list[bytes] = field(default_factory=lambda: [http()])
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    at_once: int = 0
    at_once_max: int = 0
    port: int = 0
    asked_again: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Give the base URL."""
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, and keep it open where nothing is to be said."""
        self.at_once += 1
        self.at_once_max = max(self.at_once_max, self.at_once)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            reply = self.replies[min(len(self.asked), len(self.replies) - 1)]
            self.heads.append(head)
            self.asked.append(head.split(" ")[1])
            self.asked_again.set()
            writer.write(reply)
            await (writer.drain() if reply else reader.read())
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.at_once -= 1
            writer.close()

    async def wait_for(self, count: int) -> None:
        """Wait until so many requests have come."""
        async with asyncio.timeout(10):
            while len(self.asked) < count:
                self.asked_again.clear()
                await self.asked_again.wait()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Give a site that is up."""
    found = Site()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    yield found
    server.close()
    await asyncio.sleep(0)


MakePage = Callable[..., Page]


@pytest.fixture
async def make_page() -> AsyncIterator[Callable[..., object]]:
    """Give a function that opens a page; all are closed at the end."""
    async with AsyncExitStack() as stack:

        async def make(url: str, timeout_s: float = 5.0) -> Page:
            page = Page(name="provider", url=url, timeout_s=timeout_s, tls=None, clock=SystemClock())
            return await stack.enter_async_context(page)

        yield make


@pytest.fixture(name="http")
def give_http() -> Callable[..., bytes]:
    """Give the writer of replies."""
    return http
