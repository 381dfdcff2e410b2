"""Counters, gauges and histograms of our own, which the library's registry collects.

Why not the library's instruments: a scrape must be rendered in slices (the library builds a whole family in one go), an
attempt must cost a few microseconds (the library takes a lock for each value), and histograms must be native too (the
library has none). Names, escaping and numbers are still formatted by the library, see `exposition`.

All of it belongs to the event loop's thread; nothing here takes a lock.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate
from typing import Any, Generic, TypeVar

from prometheus_client import utils
from prometheus_client.metrics_core import Metric
from prometheus_client.samples import Sample

SECOND_US = 1_000_000
INFINITE = "+Inf"

# A native histogram's bucket is 2 ** (1 / 8) wide: an error of at most 4.4 % of the duration, as in Prometheus's own
# example settings for latencies.
SCHEMA_FIRST = 3
# From 100 us to 10 s are 133 buckets at schema 3, but one surface's durations spread over far fewer. One more bucket
# than this halves the resolution (schema 3, 2, 1, ...) instead of growing, so a child's memory is bounded.
NATIVE_BUCKETS_MAX = 100
SCHEMA_LAST = -4
# Durations are whole microseconds, so the zero bucket (at most 0.95 us) holds those that are zero, and no others.
ZERO_THRESHOLD_S = 2.0**-20

_FRACTIONS = tuple(0.5 * 2 ** (step / 2**SCHEMA_FIRST) for step in range(2**SCHEMA_FIRST))


class Kind(StrEnum):
    """The type of a family, by the library's words."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a family is: the name that its samples begin with, what it means, and the labels it has."""

    name: str
    kind: Kind
    documentation: str
    labels: tuple[str, ...] = ()
    bounds_us: tuple[int, ...] = ()  # classic buckets, histograms only

    def __post_init__(self) -> None:
        """Refuse what the naming rules refuse."""
        assert self.name.startswith("sev1probe_")
        assert self.name.endswith("_total") == (self.kind is Kind.COUNTER)
        assert bool(self.bounds_us) == (self.kind is Kind.HISTOGRAM)
        assert list(self.bounds_us) == sorted(set(self.bounds_us))

    @property
    def family_name(self) -> str:
        """Name the family as OpenMetrics does: a counter without its suffix."""
        return self.name.removesuffix("_total")

    @property
    def unit(self) -> str:
        """Name the base unit, "" where the family has none."""
        return "seconds" if self.family_name.endswith("_seconds") else ""


class Scalar:
    """One counter's or gauge's value; callers add to it or set it directly."""

    __slots__ = ("label_pairs", "label_values", "template", "value")

    def __init__(self, label_values: tuple[str, ...], _bounds_us: tuple[int, ...] = ()) -> None:
        self.label_values = label_values
        self.value: float = 0
        self.template = ""  # kept by the text exposition
        self.label_pairs = b""  # kept by the protobuf exposition

    def values(self) -> tuple[float, ...]:
        """Give the values of all lines, in the order of `Family.samples`."""
        return (self.value,)


class Histogram:
    """One histogram: classic buckets and native sparse buckets over the same observations.

    Durations are added up as whole microseconds, so the sum has no rounding to drift by.
    """

    __slots__ = (
        "bounds_us",
        "counts",
        "label_pairs",
        "label_values",
        "native",
        "schema",
        "sum_us",
        "template",
        "zeros",
    )

    def __init__(self, label_values: tuple[str, ...], bounds_us: tuple[int, ...]) -> None:
        self.label_values = label_values
        self.bounds_us = bounds_us
        self.counts = [0] * (len(bounds_us) + 1)
        self.sum_us = 0
        self.zeros = 0
        self.schema = SCHEMA_FIRST
        self.native: dict[int, int] = {}
        self.template = ""
        self.label_pairs = b""

    def observe_us(self, duration_us: int) -> None:
        """Count one duration; one below zero (a clock's fault, never ours to show) counts as zero."""
        if duration_us <= 0:
            self.counts[0] += 1
            self.zeros += 1
            return
        self.sum_us += duration_us
        self.counts[bisect_left(self.bounds_us, duration_us)] += 1
        fraction, exponent = math.frexp(duration_us / SECOND_US)
        finest = bisect_left(_FRACTIONS, fraction) + ((exponent - 1) << SCHEMA_FIRST)
        # Each bucket holds its upper bound, so joining two of them rounds the index up.
        index = -(-finest >> (SCHEMA_FIRST - self.schema))
        native = self.native
        if index in native:
            native[index] += 1
        else:
            native[index] = 1
            if len(native) > NATIVE_BUCKETS_MAX:
                self._widen()

    def _widen(self) -> None:
        """Join native buckets in pairs until there are few enough; the counts stay exact, the resolution halves."""
        while len(self.native) > NATIVE_BUCKETS_MAX and self.schema > SCHEMA_LAST:
            joined: dict[int, int] = {}
            for index, count in self.native.items():
                wider = -(-index >> 1)
                joined[wider] = joined.get(wider, 0) + count
            self.native = joined
            self.schema -= 1

    @property
    def count(self) -> int:
        """Count all observations."""
        return sum(self.counts)

    @property
    def sum_s(self) -> float:
        """Add up all observations."""
        return self.sum_us / SECOND_US

    def values(self) -> tuple[float, ...]:
        """Give the values of all lines, in the order of `Family.samples`."""
        cumulative = list(accumulate(self.counts))
        return (*cumulative, cumulative[-1], self.sum_s)


format_number: Callable[[float], str] = utils.floatToGoString
AnyCell = Scalar | Histogram
Cell = TypeVar("Cell", Scalar, Histogram)


class Family(Generic[Cell]):
    """All children of one metric name; a collector of the library's registry.

    A child is made once and kept by its user. Children are shown in the order in which they were made.
    """

    def __init__(self, description: Description, make: Callable[[tuple[str, ...], tuple[int, ...]], Cell]) -> None:
        self.description = description
        self._make: Callable[[tuple[str, ...], tuple[int, ...]], Cell] = make
        self._cells: dict[tuple[str, ...], Cell] = {}
        self._bucket_names = (*(format_number(bound / SECOND_US) for bound in description.bounds_us), INFINITE)

    def cell(self, *label_values: str) -> Cell:
        """Give the child with these label values; make it, at zero, if it is new."""
        cell = self._cells.get(label_values)
        if cell is None:
            assert len(label_values) == len(self.description.labels)
            # A member of an enum is a string that prints as one, but the library formats by type.
            cell = self._make(tuple(str.__str__(value) for value in label_values), self.description.bounds_us)
            self._cells[cell.label_values] = cell
        return cell

    def has(self, *label_values: str) -> bool:
        """Tell whether the child with these label values was made."""
        return label_values in self._cells

    def forget_unless(self, kept: Callable[[dict[str, str]], bool]) -> None:
        """Remove every child whose labels are not to be kept."""
        names = self.description.labels
        self._cells = {key: cell for key, cell in self._cells.items() if kept(dict(zip(names, key, strict=True)))}

    def cells(self) -> Sequence[Cell]:
        """List the children as they are now; later changes do not show in the list."""
        return tuple(self._cells.values())

    def samples(self, cell: AnyCell) -> list[Sample]:
        """Give the samples of one child, one for each line of text."""
        labels = dict(zip(self.description.labels, cell.label_values, strict=True))
        values = cell.values()
        name = self.description.name
        if self.description.kind is not Kind.HISTOGRAM:
            return [Sample(name, labels, values[0])]
        bounds = zip(self._bucket_names, values[:-2], strict=True)
        buckets: list[Sample] = [Sample(f"{name}_bucket", {**labels, "le": bound}, below) for bound, below in bounds]
        return [*buckets, Sample(f"{name}_count", labels, values[-2]), Sample(f"{name}_sum", labels, values[-1])]

    def heading(self) -> Metric:
        """Give the family without its samples."""
        described = self.description
        return Metric(described.family_name, described.documentation, described.kind, described.unit)

    def describe(self) -> list[Metric]:
        """Tell the registry which names are taken."""
        return [self.heading()]

    def collect(self) -> "list[Metric]":
        """Hand the family to the registry; its samples are made only when somebody asks for all at once."""
        return [FamilyMetric(self)]


class FamilyMetric(Metric):
    """A metric of the library's kind whose samples are made when they are first asked for.

    So that the renderer can learn from the registry which families there are, in which order, and then take their
    children in slices.
    """

    def __init__(self, family: "Family[Any]") -> None:
        described = family.description
        super().__init__(described.family_name, described.documentation, described.kind, described.unit)
        self.family = family
        del self.samples

    def __getattr__(self, name: str) -> list[Sample]:
        """Make the samples, which `__init__` left out."""
        if name != "samples":
            raise AttributeError(name)
        self.samples = [sample for cell in self.family.cells() for sample in self.family.samples(cell)]
        return self.samples
