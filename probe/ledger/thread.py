"""A thread of our own for a disk that may hang."""

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")

_Job = tuple[Callable[[], Any], asyncio.AbstractEventLoop, "asyncio.Future[Any]"]


class Worker:
    """Runs synchronous calls one after the other in one thread.

    Not an executor of the standard library: those join their threads when the interpreter ends, so a disk that hangs
    would keep the daemon from ending.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, call: Callable[[], T]) -> T:
        """Run a call in the thread; it goes on even where the caller is cancelled."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((call, loop, future))
        return await future

    def stop(self) -> None:
        """End the thread after the calls that wait already."""
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, loop, future = job
            try:
                result, error = call(), None
            except BaseException as raised:  # noqa: BLE001 - whatever it is, the caller must hear of it
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(_answer, future, result, error)
            except RuntimeError:
                # The loop was closed meanwhile: nobody waits any more.
                continue


def _answer(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
