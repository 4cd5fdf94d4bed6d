"""Observe: reads counters, cells, rings and histograms from outside, for people; no Numba, and never a write.

The readers are plain Python on x86-64, where aligned 8-byte reads are acquire loads and nothing reorders them.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from shm.counters_layout import read_labels
from shm.layout import (
    CELL_WORDS,
    CONSUMER,
    COUNT,
    HEAD,
    HISTOGRAM_COUNTS,
    HISTOGRAM_WORDS,
    MAX_NS,
    MIN_NS,
    PRODUCER,
    RING_WORDS,
    SUB_BUCKETS_HALF,
    SUM_NS,
    TAIL,
    VERSION,
    Geometry,
    SegmentKind,
    cell_bytes,
    counters_bytes,
    histogram_bytes,
)
from shm.segment import Owner, Segment, SegmentMismatch

#: How often a cell is read before its row is reported torn.
_CELL_TRIES = 1000

#: Percentiles that reports name.
PERCENTILES = {"p50_ns": 50.0, "p90_ns": 90.0, "p99_ns": 99.0, "p999_ns": 99.9, "p9999_ns": 99.99}


class RingState(NamedTuple):
    """Where a ring stands: records ever published and consumed, slots, and who holds the roles."""

    published: int
    consumed: int
    slots: int
    producer: Owner
    consumer: Owner

    @property
    def unread(self) -> int:
        """Records waiting."""
        return self.published - self.consumed


def attach(name: str, layout_id: int, kind: SegmentKind) -> Segment:
    """Map a segment of this kind read-only; raises SegmentAbsent or SegmentMismatch."""
    segment = Segment.attach(name, layout_id, readonly=True)
    if segment.geometry.kind != kind:
        segment.close()
        raise SegmentMismatch(f"segment {name}: holds a {segment.geometry}, expected a {kind.name.lower()}")
    return segment


def ring_state(segment: Segment) -> RingState:
    """Where a ring stands; raises SegmentMismatch when it cannot be one."""
    words = _words(segment, 0, RING_WORDS)
    # HEAD first: a ring that moves between the two reads can look fuller than it is, never negative.
    consumed, published = int(words[HEAD]), int(words[TAIL])
    producer = Owner(int(words[PRODUCER]), int(words[PRODUCER + 1]))
    consumer = Owner(int(words[CONSUMER]), int(words[CONSUMER + 1]))
    return RingState(published, consumed, segment.geometry.slots, producer, consumer)


def counters(segment: Segment) -> dict[str, int]:
    """label -> count."""
    count = segment.geometry.slots
    _need(segment, Geometry(SegmentKind.COUNTERS, 8, count), counters_bytes(count))
    # SYNC counter: pairs with store_release in counters.add().
    return dict(zip(read_labels(segment.buffer, count), _words(segment, 0, count).tolist(), strict=True))


def cells(segment: Segment, dtype: np.dtype[Any]) -> NDArray[Any]:
    """A copy of every row of a table of cells, each row whole; raises SegmentMismatch when one stays torn."""
    rows = segment.geometry.slots
    _need(segment, Geometry(SegmentKind.CELL, cell_bytes(dtype), rows), rows * cell_bytes(dtype))
    words = _words(segment, 0, rows * cell_bytes(dtype) // 8).reshape(rows, -1)
    copy = np.zeros(rows, dtype)
    for row in range(rows):
        copy[row] = _whole(segment.name, row, words[row]).view(dtype)[0]
    return copy


def histograms(segment: Segment) -> list[Histogram]:
    """A copy of every histogram of a table."""
    count = segment.geometry.slots
    _need(segment, Geometry(SegmentKind.HISTOGRAM, histogram_bytes(), count), histogram_bytes(count))
    return [Histogram(row) for row in _words(segment, 0, histogram_bytes(count) // 8).reshape(count, -1)]


def _whole(name: str, row: int, words: NDArray[np.int64]) -> NDArray[np.int64]:
    for _ in range(_CELL_TRIES):
        # SYNC version: pairs with store_release(VERSION) in cell.write(). Even and unchanged: the copy between is whole.
        before = int(words[VERSION])
        record = words[CELL_WORDS:].copy()
        if before & 1 == 0 and int(words[VERSION]) == before:
            return record
    raise SegmentMismatch(f"segment {name}: row {row} stayed torn for {_CELL_TRIES} reads; did its writer die inside?")


def _need(segment: Segment, expected: Geometry, payload_bytes: int) -> None:
    if segment.geometry != expected or segment.buffer.size < payload_bytes:
        found = f"{segment.geometry} in {segment.buffer.size} bytes"
        raise SegmentMismatch(f"segment {segment.name}: holds a {found}, expected a {expected} in {payload_bytes}")


def _words(segment: Segment, offset: int, count: int) -> NDArray[np.int64]:
    return segment.array(offset, np.int64, count)


class Histogram:
    """A copy of a latency histogram taken at one moment; values in ns."""

    def __init__(self, words: NDArray[np.int64]) -> None:
        # SYNC histogram: pairs with store_release(COUNT) in histogram.record(). The buckets are copied after COUNT.
        self._count_at_start = int(words[COUNT])
        self.sum_ns, self.min_ns, self.max_ns = int(words[SUM_NS]), int(words[MIN_NS]), int(words[MAX_NS])
        self.buckets = words[HISTOGRAM_WORDS : HISTOGRAM_WORDS + HISTOGRAM_COUNTS].copy()
        self.count = int(self.buckets.sum())

    @property
    def mean_ns(self) -> float:
        """The exact mean; 0 when empty."""
        return self.sum_ns / self._count_at_start if self._count_at_start else 0.0

    def percentile(self, percent: float) -> int:
        """The value that `percent` of all do not exceed, to three digits; 0 when empty."""
        return _value_at(np.cumsum(self.buckets), percent)[0] if self.count else 0

    def summary(self) -> dict[str, Any]:
        """`count, mean_ns, p50_ns ... p9999_ns, max_ns`."""
        percentiles = {name: self.percentile(percent) for name, percent in PERCENTILES.items()}
        return {"count": self.count, "mean_ns": round(self.mean_ns, 1), **percentiles, "max_ns": self.max_ns if self.count else 0}

    def write_hgrm(self, out: TextIO, ticks_per_half_distance: int = 5) -> None:
        """Write the percentile distribution in the `.hgrm` text format of HdrHistogram, in ns."""
        out.write(f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n\n")
        totals = np.cumsum(self.buckets)
        for percent in _steps(totals, ticks_per_half_distance):
            value, total = _value_at(totals, percent)
            inverse = f" {1.0 / (1.0 - percent / 100.0):14.2f}" if percent < 100.0 else ""
            out.write(f"{value:12.3f} {percent / 100.0:2.12f} {total:10d}{inverse}\n")
        deviation = self._deviation_ns()
        out.write(f"#[Mean    = {self.mean_ns:12.3f}, StdDeviation   = {deviation:12.3f}]\n")
        out.write(f"#[Max     = {self.max_ns:12.3f}, Total count    = {self.count:12d}]\n")
        out.write(f"#[Buckets = {HISTOGRAM_COUNTS // SUB_BUCKETS_HALF - 1:12d}, SubBuckets     = {2 * SUB_BUCKETS_HALF:12d}]\n")

    def _deviation_ns(self) -> float:
        if self.count == 0:
            return 0.0
        used = np.flatnonzero(self.buckets)
        middles = np.array([(lowest_equivalent(int(i)) + highest_equivalent(int(i)) + 1) // 2 for i in used], float)
        return float(np.sqrt(np.average((middles - self.mean_ns) ** 2, weights=self.buckets[used])))


def lowest_equivalent(bucket: int) -> int:
    """The smallest value that a bucket counts."""
    scale = max(0, bucket // SUB_BUCKETS_HALF - 1)
    return (bucket - scale * SUB_BUCKETS_HALF) << scale


def highest_equivalent(bucket: int) -> int:
    """The largest value that a bucket counts."""
    return lowest_equivalent(bucket + 1) - 1


def _value_at(totals: NDArray[np.int64], percent: float) -> tuple[int, int]:
    """The value at a percentile, and how many values it covers; `totals` are the running sums of the buckets."""
    wanted = max(1, int(percent / 100.0 * int(totals[-1]) + 0.5))
    bucket = int(np.searchsorted(totals, wanted))
    return highest_equivalent(bucket) if percent > 0.0 else lowest_equivalent(bucket), int(totals[bucket])


def _steps(totals: NDArray[np.int64], ticks_per_half_distance: int) -> list[float]:
    """The percentiles that a `.hgrm` file lists: ever closer to 100, until one covers everything."""
    percents: list[float] = []
    percent = 0.0
    while int(totals[-1]) > 0:
        percents.append(percent)
        if _value_at(totals, percent)[1] >= int(totals[-1]):
            return percents if percent == 100.0 else [*percents, 100.0]
        percent += 100.0 / (ticks_per_half_distance * 2 ** (int(np.log2(100.0 / (100.0 - percent))) + 1))
    return percents
