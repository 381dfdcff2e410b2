"""Histograms: classic and native buckets over the same durations."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.metrics.families import NATIVE_BUCKETS_MAX, SCHEMA_FIRST, Histogram
from probe.metrics.protobuf import spans

BOUNDS_US = (5_000, 100_000, 10_000_000)
durations_us = st.one_of(st.integers(0, 10**4), st.integers(0, 10**8), st.sampled_from([0, 5_000, 10**6, 2 * 10**6]))


def filled(observed_us: list[int]) -> Histogram:
    """Make a histogram that has observed these."""
    histogram = Histogram((), BOUNDS_US)
    for duration_us in observed_us:
        histogram.observe_us(duration_us)
    return histogram


def index_by_definition(duration_us: int, schema: int) -> int:
    """Find the bucket by the definition: the least index whose upper bound 2^(index * 2^-schema) is not exceeded."""
    width, value = 2.0**-schema, duration_us / 1e6
    index = math.ceil(math.log2(value) / width)
    # The logarithm may be off by a rounding at a bound.
    while value <= 2.0 ** ((index - 1) * width):
        index -= 1
    while value > 2.0 ** (index * width):
        index += 1
    return index


@given(st.lists(durations_us, max_size=200))
def test_both_forms_count_the_same_observations(observed_us: list[int]) -> None:
    """Every observation is in one classic and in one native bucket, each by its definition, and the sum is exact."""
    histogram = filled(observed_us)
    classic = [sum(d <= bound for d in observed_us) for bound in BOUNDS_US]
    assert histogram.values() == (*classic, len(observed_us), len(observed_us), sum(observed_us) / 1e6)
    native: dict[int, int] = {}
    for duration_us in observed_us:
        if duration_us:
            index = index_by_definition(duration_us, histogram.schema)
            native[index] = native.get(index, 0) + 1
    assert histogram.native == native
    assert histogram.zeros == observed_us.count(0)


def test_too_many_buckets_halve_the_resolution_and_lose_nothing() -> None:
    """However wide the durations are spread, there are never more buckets than the limit, and none is miscounted."""
    observed_us = [round(1.04**power) for power in range(400)]
    histogram = Histogram((), BOUNDS_US)
    schemas = []
    for duration_us in observed_us:
        histogram.observe_us(duration_us)
        assert len(histogram.native) <= NATIVE_BUCKETS_MAX
        schemas.append(histogram.schema)
    assert schemas == sorted(schemas, reverse=True)
    assert SCHEMA_FIRST == schemas[0] > schemas[-1]
    native: dict[int, int] = {}
    for duration_us in observed_us:
        index = index_by_definition(duration_us, histogram.schema)
        native[index] = native.get(index, 0) + 1
    assert histogram.native == native


def test_a_clock_that_went_back_counts_as_zero() -> None:
    """A duration below zero changes neither the sum nor a negative bucket, so the sum stays a counter."""
    histogram = filled([-5, 7])
    assert (histogram.count, histogram.zeros, histogram.sum_s) == (2, 1, 7e-6)


@given(st.dictionaries(st.integers(-50, 50), st.integers(1, 99)))
def test_spans_and_deltas_can_be_read_back(native: dict[int, int]) -> None:
    """A reader that follows the format's rules gets the very buckets back, and no two spans touch."""
    runs, deltas = spans(sorted(native.items()))
    read: dict[int, int] = {}
    index = count = 0
    left = iter(deltas)
    for place, (offset, length) in enumerate(runs):
        assert length >= 1
        assert place == 0 or offset >= 1
        index += offset
        for _ in range(length):
            count += next(left)
            read[index] = count
            index += 1
    assert read == native
    assert next(left, None) is None


@pytest.mark.parametrize(
    ("native", "runs", "deltas"),
    [({}, [], []), ({-3: 2, -2: 5, 1: 1}, [(-3, 2), (2, 1)], [2, 3, -4]), ({4: 7}, [(4, 1)], [7])],
)
def test_spans_are_as_the_format_says(native: dict[int, int], runs: list[tuple[int, int]], deltas: list[int]) -> None:
    """The first offset is where the buckets begin, later ones are gaps; deltas run on over gaps."""
    assert spans(sorted(native.items())) == (runs, deltas)
