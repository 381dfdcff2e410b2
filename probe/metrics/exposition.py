"""A scrape: the registry's families as text, OpenMetrics or protobuf, in slices.

Theory of operation
-------------------

The daemon's one thread starts attempts to the millisecond, so a scrape may hold it for about a millisecond at a time
and no longer. `pieces` is a plain generator that hands out the body bit by bit, each bit the work of at most one slice;
`Exposition` compresses each bit and lets the event loop turn before it asks for the next. Seconds may close between two
slices: each child is consistent in itself, and two families may be one second apart.

The text of a child is made by the library's own formatter once (names, labels, escaping) and kept as a template, into
which later scrapes write the numbers. The result is, byte for byte, what the library's `generate_latest` gives.

One render at a time: scrapes that ask for the same while one is under way get the same bytes; others wait.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from enum import StrEnum
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.exposition import generate_latest as generate_text
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE_OPENMETRICS

from probe import clock
from probe.metrics import protobuf
from probe.metrics.families import AnyCell, Family, FamilyMetric, Histogram, format_number

# Costs are rough microseconds on a slow core; a slice ends once they add up to this.
SLICE_COST_MAX = 500
COST_LINE = 1
COST_LINE_FIRST = 14  # the library formats it
COST_PROTOBUF_SCALAR = 3
COST_PROTOBUF_HISTOGRAM = 20
COST_PROTOBUF_FIRST = 30  # its labels are encoded
PROTOBUF_CHILDREN_A_PIECE = 100  # about 20 kB
COMPRESSED_BYTES_A_TURN = 48 * 1024
COMPRESSION_LEVEL = 1  # lines repeat so much that higher levels cost three times as much for a few per cent
GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS


class Format(StrEnum):
    """A form of exposition."""

    TEXT = "text"
    OPENMETRICS = "openmetrics"
    PROTOBUF = "protobuf"


CONTENT_TYPES = {
    Format.TEXT: CONTENT_TYPE_PLAIN_0_0_4,
    Format.OPENMETRICS: CONTENT_TYPE_OPENMETRICS,
    Format.PROTOBUF: protobuf.CONTENT_TYPE,
}
_END_OF_OPENMETRICS = b"# EOF\n"
_generate_openmetrics: Callable[["_View"], bytes] = openmetrics.generate_latest


class _View:
    """A registry that holds one metric, for the library's formatters."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterable[Metric]:
        return [self._metric]


def _formatted(metric: Metric, form: Format) -> bytes:
    """Let the library format one metric."""
    if form is Format.OPENMETRICS:
        return _generate_openmetrics(_View(metric)).removesuffix(_END_OF_OPENMETRICS)
    return generate_text(_View(metric))


def _template(family: Family[Any], cell: AnyCell) -> str:
    """Let the library format one child, and leave its numbers out."""
    metric = family.heading()
    metric.samples = family.samples(cell)
    lines = _formatted(metric, Format.TEXT).decode().splitlines()
    return "".join(line.rpartition(" ")[0].replace("%", "%%") + " %s\n" for line in lines if not line.startswith("# "))


def _family_text(family: Family[Any], form: Format) -> Iterator[bytes]:
    yield _formatted(family.heading(), form)
    lines: list[str] = []
    cost = 0
    for cell in family.cells():
        values = cell.values()
        if cell.template:
            cost += COST_LINE * len(values)
        else:
            cell.template = _template(family, cell)
            cost += COST_LINE_FIRST * len(values)
        lines.append(cell.template % tuple([format_number(value) if value else "0.0" for value in values]))
        if cost >= SLICE_COST_MAX:
            yield "".join(lines).encode()
            lines, cost = [], 0
    yield "".join(lines).encode()


def _family_protobuf(family: Family[Any]) -> Iterator[bytes]:
    described = family.description
    children: list[bytes] = []
    cost = 0
    for cell in family.cells():
        cost += 0 if cell.label_pairs else COST_PROTOBUF_FIRST
        children.append(protobuf.encode_cell(described, cell))
        cost += COST_PROTOBUF_HISTOGRAM if isinstance(cell, Histogram) else COST_PROTOBUF_SCALAR
        if cost >= SLICE_COST_MAX:
            yield b""  # nothing can leave before the length of the whole is known
            cost = 0
    head = protobuf.encode_head(described.name, described.documentation, described.kind)
    yield protobuf.delimited(head, children)
    for first in range(0, len(children), PROTOBUF_CHILDREN_A_PIECE):
        yield b"".join(children[first : first + PROTOBUF_CHILDREN_A_PIECE])


def pieces(registry: CollectorRegistry, form: Format) -> Iterator[bytes]:
    """Give the exposition bit by bit, each the work of one slice; some bits are empty."""
    for metric in registry.collect():
        if not isinstance(metric, FamilyMetric):
            yield protobuf.encode_foreign(metric) if form is Format.PROTOBUF else _formatted(metric, form)
        elif form is Format.PROTOBUF:
            yield from _family_protobuf(metric.family)
        else:
            yield from _family_text(metric.family, form)
    if form is Format.OPENMETRICS:
        yield _END_OF_OPENMETRICS


class Exposition:
    """Renders scrapes, one at a time, without holding the event loop."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        render_duration: Histogram,
        slice_duration: Histogram,
        monotonic_us: Callable[[], int] = clock.monotonic_us,
        turn: Callable[[], Awaitable[None]] = lambda: asyncio.sleep(0),
    ) -> None:
        self._registry = registry
        self._render_duration = render_duration
        self._slice_duration = slice_duration
        self._monotonic_us = monotonic_us
        self._turn = turn
        self._lock = asyncio.Lock()
        self._running: dict[tuple[Format, bool], asyncio.Task[bytes]] = {}

    async def render(self, form: Format, compressed: bool) -> bytes:
        """Render the registry; a scrape that is cancelled does not take the bytes from others that wait for them."""
        key = (form, compressed)
        task = self._running.get(key)
        if task is None:
            task = self._running[key] = asyncio.create_task(self._render(form, compressed), name=f"scrape {form}")
            task.add_done_callback(lambda _: self._running.pop(key))
        return await asyncio.shield(task)

    async def _render(self, form: Format, compressed: bool) -> bytes:
        async with self._lock:
            started_us = slice_us = self._monotonic_us()
            compressor = zlib.compressobj(COMPRESSION_LEVEL, zlib.DEFLATED, GZIP_WINDOW_BITS) if compressed else None
            body: list[bytes] = []
            for piece in self._cut(pieces(self._registry, form), compressed):
                body.append(compressor.compress(piece) if compressor else piece)
                now_us = self._monotonic_us()
                self._slice_duration.observe_us(now_us - slice_us)
                await self._turn()
                slice_us = self._monotonic_us()
            if compressor:
                body.append(compressor.flush())
            self._render_duration.observe_us(self._monotonic_us() - started_us)
            return b"".join(body)

    def _cut(self, whole: Iterable[bytes], compressed: bool) -> Iterator[bytes]:
        """Gather small pieces and cut large ones, so that a turn of the loop is neither cheap nor dear."""
        for piece in whole:
            if not compressed or len(piece) <= COMPRESSED_BYTES_A_TURN:
                yield piece
                continue
            for first in range(0, len(piece), COMPRESSED_BYTES_A_TURN):
                yield piece[first : first + COMPRESSED_BYTES_A_TURN]
