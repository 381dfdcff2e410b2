"""Lines for humans. They may be lost; the ledger is what must not be.

A line is rendered where it is said and written by a thread of its own behind a bounded queue, so that a terminal which
somebody has stopped, a full pipe or a slow journal can't hold up a second.

Under systemd a line is an entry of the journal with fields of its own, see `probe.journal`.
"""

import logging
import queue
import sys
import threading
from collections.abc import Callable, MutableMapping
from typing import Any, Literal, TextIO

import structlog

from probe import journal
from probe.clock import monotonic_us
from probe.journal import Journal

LogFormat = Literal["auto", "json", "console"]
LINES_WAITING_MAX = 10_000
TRACEBACKS_MAX = 5
TRACEBACKS_PERIOD_US = 60_000_000


class Sparing:
    """Lets a traceback of each event through only so often.

    A bug in a surface fails 600 attempts a second; writing each of its tracebacks would cost the cadence as well.
    """

    def __init__(self, tracebacks_max: int = TRACEBACKS_MAX, period_us: int = TRACEBACKS_PERIOD_US) -> None:
        self._tracebacks_max = tracebacks_max
        self._period_us = period_us
        self._seen: dict[str, tuple[int, int]] = {}

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Pass the event on, or drop it (structlog's processor interface)."""
        if not event.get("exc_info"):
            return event
        name, now_us = str(event.get("event")), monotonic_us()
        begun_us, count = self._seen.get(name, (now_us, 0))
        if now_us - begun_us >= self._period_us:
            begun_us, count = now_us, 0
        self._seen[name] = (begun_us, count + 1)
        if count >= self._tracebacks_max:
            raise structlog.DropEvent
        return event


class Stream:
    """Lines as text on a stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, line: str) -> None:
        """Write one line."""
        self._stream.write(line + "\n")

    def flush(self) -> None:
        """Bring out what was written."""
        self._stream.flush()

    def close(self) -> None:
        """Leave the stream open: it is whoever gave it that closes it."""

    def lines_lost(self, count: int) -> str:
        """Give the line that says how many did not get through."""
        return f'{{"event": "log.lines_lost", "level": "warning", "lines": {count}}}'


class LineWriter:
    """Writes lines from its own thread, to a stream or to the journal; drops and counts what does not fit."""

    def __init__(self, out: TextIO | Journal) -> None:
        self._out: Any = out if isinstance(out, Journal) else Stream(out)
        self._lines: queue.Queue[str | bytes | None] = queue.Queue(LINES_WAITING_MAX)
        self.dropped_lines = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def say(self, line: str | bytes) -> None:
        """Hand a line over, never waiting."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped_lines += 1

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what is waiting, for as long as `timeout_s` at most."""
        try:
            self._lines.put(None, timeout=timeout_s)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                if self.dropped_lines:
                    dropped, self.dropped_lines = self.dropped_lines, 0
                    self._out.write(self._out.lines_lost(dropped))
                self._out.write(line)
                if self._lines.empty():
                    self._out.flush()
            except (OSError, ValueError):
                self.dropped_lines += 1
        self._out.close()

    # structlog asks a logger for one method per level.
    msg = debug = info = warning = error = critical = exception = fatal = say


def set_up(log_format: LogFormat = "auto", level: str = "info", stream: TextIO | None = None) -> LineWriter:
    """Configure structlog for the whole process and return the writer, to be closed at the end.

    `auto` means coloured lines on a terminal, entries with fields where the stream is the journal, and else JSON lines.
    """
    out = stream if stream is not None else sys.stderr
    entries = _journal(out) if log_format == "auto" else None
    writer = LineWriter(out if entries is None else entries)
    if entries is not None:
        rendering = _entries()
    elif log_format == "console" or (log_format == "auto" and out.isatty()):
        rendering = _console(out)
    else:
        rendering = _json()
    structlog.configure(
        processors=[
            Sparing(),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *rendering,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=False,
    )
    return writer


def _journal(stream: TextIO) -> Journal | None:
    """Reach for the journal if the stream leads there; if its socket is hidden, JSON lines get there all the same."""
    if not journal.is_behind(stream):
        return None
    try:
        return Journal()
    except OSError:
        return None


def _entries() -> list[Callable[..., Any]]:
    return [structlog.processors.format_exc_info, lambda _logger, _method, event: journal.entry(event)]


def _json() -> list[Callable[..., Any]]:
    # Not dict_tracebacks: it shows local variables, and a local variable may hold a secret.
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(default=str)]


def _console(stream: TextIO) -> list[Callable[..., Any]]:
    plain = structlog.dev.plain_traceback  # The rich one shows local variables too.
    line = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain, sort_keys=False)

    def with_its_sheet(logger: Any, method: str, event: MutableMapping[str, Any]) -> str:
        sheet = str(event.pop("call_sheet", ""))
        return f"{line(logger, method, event)}\n\n{sheet}" if sheet else line(logger, method, event)

    return [with_its_sheet]
