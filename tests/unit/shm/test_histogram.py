"""Histogram: the same numbers as the reference implementation, and exact sums."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram

from shm.histogram import bit_length, bucket_of, local_histogram, record
from shm.jit import njit
from shm.layout import HISTOGRAM_COUNTS, HISTOGRAM_NS_MAX
from shm.observe import Histogram, highest_equivalent, lowest_equivalent

EDGES = [0, 1, 1023, 1024, 2047, 2048, 2049, 4095, 4096, 123_456_789, HISTOGRAM_NS_MAX - 1, HISTOGRAM_NS_MAX]


@njit
def bit_length_of(value):
    return bit_length(value)


def seeded_values(seed, count):
    draw = random.Random(seed)
    return [int(2 ** draw.uniform(0, 36)) for _ in range(count)] + EDGES


def filled(values):
    words, oracle = local_histogram(), HdrHistogram(1, HISTOGRAM_NS_MAX, 3)
    for value in values:
        record(words, np.int64(value))
        oracle.record_value(value)
    return Histogram(words), oracle


def test_the_layout_has_the_reference_number_of_counts():
    assert HdrHistogram(1, HISTOGRAM_NS_MAX, 3).counts_len == HISTOGRAM_COUNTS


@pytest.mark.parametrize("value", [0, 1, 2, 3, 255, 256, 2**36 - 1, 2**36, 2**62])
def test_bit_length_is_pythons_own(value):
    assert bit_length_of(value) == value.bit_length()


@pytest.mark.parametrize("seed", range(3))
def test_every_bucket_count_equals_the_reference(seed):
    histogram, oracle = filled(seeded_values(seed, 500))
    assert histogram.buckets.tolist() == [oracle.get_count_at_index(i) for i in range(oracle.counts_len)], f"seed {seed}"


@pytest.mark.parametrize("seed", range(3))
def test_percentiles_equal_the_reference(seed):
    histogram, oracle = filled(seeded_values(seed, 500))
    for percent in (0.0, 0.1, 10.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0):
        assert histogram.percentile(percent) == oracle.get_value_at_percentile(percent), f"seed {seed}, percentile {percent}"


def test_bucket_bounds_enclose_their_values_and_leave_no_gap():
    for value in seeded_values(7, 300):
        bucket = bucket_of(np.int64(value))
        assert lowest_equivalent(bucket) <= value <= highest_equivalent(bucket)
    assert all(highest_equivalent(i) + 1 == lowest_equivalent(i + 1) for i in range(HISTOGRAM_COUNTS - 1))


def test_a_value_is_kept_to_three_digits():
    for value in seeded_values(11, 300):
        bucket = bucket_of(np.int64(value))
        assert highest_equivalent(bucket) - lowest_equivalent(bucket) <= max(0, value // 1000)


def test_count_sum_minimum_and_maximum_are_exact():
    values = seeded_values(5, 200)
    histogram, _ = filled(values)
    assert (histogram.count, histogram.sum_ns) == (len(values), sum(values))
    assert (histogram.min_ns, histogram.max_ns) == (min(values), max(values))
    assert histogram.mean_ns == sum(values) / len(values)


def test_values_outside_the_range_are_counted_at_its_ends():
    words = local_histogram()
    for value in (-5, HISTOGRAM_NS_MAX + 1, 2**62):
        record(words, np.int64(value))
    histogram = Histogram(words)
    assert histogram.count == 3
    assert histogram.percentile(10) == 0
    assert lowest_equivalent(int(np.flatnonzero(histogram.buckets)[-1])) == HISTOGRAM_NS_MAX
    assert (histogram.min_ns, histogram.max_ns) == (-5, 2**62)


def test_an_empty_histogram_reads_as_zeros():
    histogram = Histogram(local_histogram())
    assert set(histogram.summary().values()) == {0}
    assert histogram.percentile(99) == 0


def test_the_summary_names_every_percentile():
    summary = filled([1000] * 10)[0].summary()
    assert list(summary) == ["count", "mean_ns", "p50_ns", "p90_ns", "p99_ns", "p999_ns", "p9999_ns", "max_ns"]
    assert summary["mean_ns"] == summary["max_ns"] == summary["p50_ns"] == 1000


def test_hgrm_lines_are_the_references_values_and_end_with_everything():
    histogram, oracle = filled(seeded_values(3, 400))
    out = io.StringIO()
    histogram.write_hgrm(out)
    head, _, *rest = out.getvalue().splitlines()
    assert head.split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    rows = [line.split() for line in rest if not line.startswith("#")]
    assert len(rows) > 10
    for value, fraction, _, *_ in rows:
        assert float(value) == oracle.get_value_at_percentile(float(fraction) * 100)
    assert rows[-1][1:] == ["1.000000000000", str(histogram.count)]
    assert [line[:8] for line in rest[-3:]] == ["#[Mean  ", "#[Max   ", "#[Bucket"]


def test_hgrm_of_an_empty_histogram_has_no_rows():
    out = io.StringIO()
    Histogram(local_histogram()).write_hgrm(out)
    assert [line for line in out.getvalue().splitlines()[2:] if not line.startswith("#")] == []
