"""The protobuf exposition: `io.prometheus.client.MetricFamily`, each with its length before it.

Prometheus takes native histograms in this format only. Only what our families hold is encoded, by the field numbers of
the format's `metrics.proto`; a scalar that is zero is written all the same, so that a reader sees it was meant.

A message is a run of fields, each a tag (number and wire type) and a value (protobuf's encoding guide).
"""

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache

from prometheus_client.metrics_core import Metric

from probe.metrics.families import SECOND_US, ZERO_THRESHOLD_S, AnyCell, Description, Histogram, Kind

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

_VARINT, _FIXED64, _LENGTH = 0, 1, 2
_PACK_DOUBLE = struct.Struct("<d").pack
_TYPES = {"counter": 0, "gauge": 1, "summary": 2, "unknown": 3, "histogram": 4, "info": 1, "stateset": 1}
_VALUE_FIELDS = {Kind.COUNTER: 3, Kind.GAUGE: 2, Kind.HISTOGRAM: 7}
_UNTYPED_FIELD = 5
_SAMPLE_FIELDS = {"counter": 3, "gauge": 2, "info": 2, "stateset": 2}


def _long_varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)


# Nearly all numbers of a scrape are small: counts of one bucket, lengths of one metric.
_SHORT = tuple(_long_varint(number) for number in range(4096))


def varint(number: int) -> bytes:
    """Write a number of at least zero in groups of seven bits, the lowest first."""
    assert number >= 0
    return _SHORT[number] if number < len(_SHORT) else _long_varint(number)


def zigzag(number: int) -> int:
    """Fold the sign into the lowest bit (sint32, sint64): 0, -1, 1, -2 become 0, 1, 2, 3."""
    return number << 1 if number >= 0 else (-number << 1) - 1


def _integer(field: int, number: int) -> bytes:
    return _SHORT[field << 3 | _VARINT] + varint(number)


def _double(field: int, number: float) -> bytes:
    return _SHORT[field << 3 | _FIXED64] + _PACK_DOUBLE(number)


def _bytes(field: int, content: bytes) -> bytes:
    return _SHORT[field << 3 | _LENGTH] + varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _bytes(field, text.encode())


def label_pairs(labels: Iterable[tuple[str, str]]) -> bytes:
    """Encode the labels of one metric, sorted by name as the format's other writers do."""
    return b"".join(_bytes(1, _text(1, name) + _text(2, value)) for name, value in sorted(labels))


def spans(native: Iterable[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[int]]:
    """Turn sorted (index, count) of the native buckets into spans (gap before, length) and deltas of the counts."""
    runs: list[tuple[int, int]] = []
    deltas: list[int] = []
    next_index, count_before = 0, 0
    for index, count in native:
        if runs and index == next_index:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((index - next_index, 1))
        deltas.append(count - count_before)
        next_index, count_before = index + 1, count
    return runs, deltas


@lru_cache(maxsize=64)
def _upper_bounds(bounds_us: tuple[int, ...]) -> tuple[bytes, ...]:
    """Encode what all histograms of a family have in common."""
    return tuple(_double(2, bound_us / SECOND_US) for bound_us in bounds_us)


_ZERO_THRESHOLD = _double(6, ZERO_THRESHOLD_S)


def _histogram(cell: Histogram) -> bytes:
    *cumulative, count, total = cell.values()
    parts = [_integer(1, int(count)), _double(2, total)]
    for bound, below in zip(_upper_bounds(cell.bounds_us), cumulative, strict=False):  # the format leaves +Inf out
        parts.append(_bytes(3, _integer(1, int(below)) + bound))
    parts += [_integer(5, zigzag(cell.schema)), _ZERO_THRESHOLD, _integer(7, cell.zeros)]
    runs, deltas = spans(sorted(cell.native.items()))
    parts += [_bytes(12, _integer(1, zigzag(offset)) + _integer(2, length)) for offset, length in runs]
    if deltas:
        parts.append(_bytes(13, b"".join([varint(zigzag(delta)) for delta in deltas])))
    return b"".join(parts)


def encode_cell(description: Description, cell: AnyCell) -> bytes:
    """Encode one child as a field of its family."""
    if not cell.label_pairs:
        cell.label_pairs = label_pairs(zip(description.labels, cell.label_values, strict=True))
    value = _histogram(cell) if isinstance(cell, Histogram) else _double(1, cell.value)
    return _bytes(4, cell.label_pairs + _bytes(_VALUE_FIELDS[description.kind], value))


def encode_head(name: str, documentation: str, kind: str) -> bytes:
    """Encode what stands before a family's children."""
    return _text(1, name) + _text(2, documentation) + _integer(3, _TYPES[kind])


def delimited(head: bytes, children: Sequence[bytes]) -> bytes:
    """Give the length of a whole family and its head, to be followed by its children."""
    return varint(len(head) + sum(map(len, children))) + head


def encode_foreign(metric: Metric) -> bytes:
    """Encode a family of somebody else's collector, sample by sample.

    Only single values can be had this way: a foreign histogram's or summary's samples come as untyped families.
    """
    names = dict.fromkeys(sample.name for sample in metric.samples)
    written: list[bytes] = []
    for name in names:
        kind = metric.type if metric.type in _SAMPLE_FIELDS and not name.endswith("_created") else "unknown"
        field = _SAMPLE_FIELDS.get(kind, _UNTYPED_FIELD)
        children = [
            _bytes(4, label_pairs(sample.labels.items()) + _bytes(field, _double(1, sample.value)))
            for sample in metric.samples
            if sample.name == name
        ]
        written += [delimited(encode_head(name, metric.documentation, kind), children), *children]
    return b"".join(written)
