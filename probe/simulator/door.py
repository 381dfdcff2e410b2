"""A listening socket that can be closed for real and opened again on the same port."""

import asyncio
import socket
from collections.abc import Callable
from typing import Self

_BACKLOG = 4096


class Door:
    """Listen on one port, or refuse on it.

    A second socket stays bound to the port without listening, so that nobody else can take the port while the door is
    shut; the kernel refuses connections to it like to any port without a listener. Opening and shutting take effect
    at once, within the call: the kernel queues connections until the event loop comes to accept them.
    """

    def __init__(self, host: str, port: int, factory: Callable[[], asyncio.Protocol]) -> None:
        self._host = host
        self._factory = factory
        self._holder = _bound(host, port)
        self.port: int = self._holder.getsockname()[1]
        self._listening: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> Self:
        """Listen; nothing if it listens already."""
        if self._listening is None:
            listening = _bound(self._host, self.port)
            listening.listen(_BACKLOG)
            self._listening = listening
            self._task = asyncio.get_running_loop().create_task(self._accept(listening))
        return self

    def shut(self) -> None:
        """Refuse connections; nothing if it does already."""
        if self._listening is None:
            return
        # The event loop may close the socket later; shutting it down ends the listening now.
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening = None
        if self._server is not None:
            self._server.close()
            self._server = None

    async def close(self) -> None:
        """Shut for good and give the port back."""
        self.shut()
        if self._task is not None:
            await self._task
        self._holder.close()

    async def _accept(self, listening: socket.socket) -> None:
        server = await asyncio.get_running_loop().create_server(self._factory, sock=listening, backlog=_BACKLOG)
        if self._listening is listening:
            self._server = server
        else:
            server.close()


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio does not switch Nagle's algorithm off for what is accepted here: a reply would then wait
    # for the delayed acknowledgement of the TLS session tickets, and a reset soon after it would swallow it.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
