"""A running simulated provider, and clients for it."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from probe.simulator import SimulatedProvider

TRANSMISSION = {
    "recipients": [{"address": "probe@example.com.sink.sparkpostmail.com"}],
    "content": {"from": "probe@example.com", "subject": "probe", "text": "probe"},
    "metadata": {"message_id": "1.0.api.main.here"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An API reply, read whole."""

    status: int
    content_type: str
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        return json.loads(self.body)


Post = Callable[..., Awaitable[Answer]]


class Dialogue:
    """A bare client: sends what it is told, and reads lines or all there is."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, *lines: str) -> None:
        """Send lines in one piece."""
        self.writer.write("".join(f"{line}\r\n" for line in lines).encode())
        await self.writer.drain()

    async def reply(self) -> str:
        """Read one reply, of all its lines; what comes before the end if it is cut."""
        lines: list[str] = []
        while not lines or lines[-1][3:4] == "-":
            line = (await asyncio.wait_for(self.reader.readline(), 2)).decode("latin-1")
            if not line:
                break
            lines.append(line.rstrip("\r\n"))
        return "\n".join(lines)

    async def ask(self, line: str) -> str:
        """Send one line and read its reply."""
        await self.say(line)
        return await self.reply()

    async def rest(self) -> bytes:
        """Read until the server closes."""
        return await asyncio.wait_for(self.reader.read(), 2)

    async def is_silent(self) -> bool:
        """Say whether the server neither speaks nor closes for a while."""
        try:
            await asyncio.wait_for(self.reader.read(1), 0.05)
        except TimeoutError:
            return True
        return False


Dial = Callable[..., Awaitable[Dialogue]]


@pytest.fixture
async def provider() -> AsyncIterator[SimulatedProvider]:
    """Run a healthy provider."""
    async with SimulatedProvider() as running:
        yield running


@pytest.fixture
async def dial() -> AsyncIterator[Dial]:
    """Give a function that opens a connection, under TLS if it gets a context."""
    writers: list[asyncio.StreamWriter] = []

    async def open_dialogue(port: int, context: ssl.SSLContext | None = None) -> Dialogue:
        name = "localhost" if context is not None else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
        writers.append(writer)
        return Dialogue(reader, writer)

    yield open_dialogue
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0)


@pytest.fixture
def trust() -> Callable[[SimulatedProvider], ssl.SSLContext]:
    """Give a function that makes a client's context which trusts the provider."""
    return lambda provider: ssl.create_default_context(cafile=str(provider.ca_file))


@pytest.fixture
async def post(trust: Callable[[SimulatedProvider], ssl.SSLContext]) -> AsyncIterator[Post]:
    """Give a function that makes one API call on a session of kept connections, the body read."""
    timeout = aiohttp.ClientTimeout(total=2)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        contexts: dict[SimulatedProvider, ssl.SSLContext] = {}

        async def call(
            provider: SimulatedProvider, body: object = TRANSMISSION, *, key: str | None = None, timeout_s: float = 2
        ) -> Answer:
            async with session.post(
                f"{provider.api_url}/transmissions",
                data=body if isinstance(body, bytes) else json.dumps(body).encode(),
                headers={"Authorization": provider.key if key is None else key, "Content-Type": "application/json"},
                ssl=contexts.setdefault(provider, trust(provider)),
                timeout=aiohttp.ClientTimeout(total=timeout_s),
            ) as response:
                body = await response.read()
                return Answer(
                    status=response.status, content_type=response.content_type, headers=response.headers, body=body
                )

        yield call
    await asyncio.sleep(0)
