"""Observe: people read what kernels write, read-only and without Numba."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hft.counters import FeedCounter
from shm import observe
from shm.cell import write
from shm.counters import add
from shm.counters_layout import read_labels, write_labels
from shm.histogram import record
from shm.layout import HEAD, TAIL, VERSION, Geometry, SegmentKind, cell_bytes, counters_bytes, histogram_bytes
from shm.ring import claim, create_ring, publish
from shm.segment import Owner, Segment, SegmentError, SegmentMismatch, this_process

RECORD = np.dtype([("a", "<i8"), ("b", "<i8", (7,))])
LAYOUT = 5


def create(name, kind, record_bytes, slots, payload_bytes):
    return Segment.create(name, LAYOUT, Geometry(kind, record_bytes, slots), payload_bytes, 0)


def test_numba_is_not_imported():
    code = "import sys, shm.observe, shm.segment; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(observe.__file__).parent.parent, check=False).returncode == 0


def test_counters_are_read_by_label(name):
    labels = ["frames", "gaps", "x" * 56]
    segment = create(name, SegmentKind.COUNTERS, 8, 3, counters_bytes(3))
    write_labels(segment.buffer, labels)
    values = segment.array(0, np.int64, 3)
    add(values, 0, 5)
    add(values, FeedCounter.FRAMES, 1)
    add(values, 2, -(2**62))
    assert observe.counters(observe.attach(name, LAYOUT, SegmentKind.COUNTERS)) == {"frames": 6, "gaps": 0, "x" * 56: -(2**62)}


@pytest.mark.parametrize("labels", [["a", "a"], [""], ["x" * 57], ["é"]])
def test_bad_labels_are_refused(labels):
    with pytest.raises(SegmentError, match="label"):
        write_labels(np.zeros(1000, np.uint8), labels)


def test_labels_need_their_room():
    with pytest.raises(SegmentMismatch, match="needs 128 bytes, has 127"):
        read_labels(np.zeros(127, np.uint8), 2)


def test_every_cell_of_a_table_is_read_whole(name):
    segment = create(name, SegmentKind.CELL, cell_bytes(RECORD), 3, 3 * cell_bytes(RECORD))
    table = segment.array(0, np.int64, 3 * cell_bytes(RECORD) // 8).reshape(3, -1)
    rows = np.zeros(3, RECORD)
    rows["a"] = (7, 8, 9)
    for i in range(3):
        write(table[i], rows, i)
    assert observe.cells(observe.attach(name, LAYOUT, SegmentKind.CELL), RECORD).tobytes() == rows.tobytes()


def test_a_cell_that_stays_torn_is_an_error(name):
    segment = create(name, SegmentKind.CELL, cell_bytes(RECORD), 1, cell_bytes(RECORD))
    segment.array(0, np.int64, 1)[VERSION] = 1
    with pytest.raises(SegmentMismatch, match="row 0 stayed torn"):
        observe.cells(segment, RECORD)


def test_histograms_are_read_in_order(name):
    segment = create(name, SegmentKind.HISTOGRAM, histogram_bytes(), 2, histogram_bytes(2))
    words = segment.array(0, np.int64, histogram_bytes(2) // 8).reshape(2, -1)
    record(words[1], np.int64(100))
    first, second = observe.histograms(observe.attach(name, LAYOUT, SegmentKind.HISTOGRAM))
    assert (first.count, second.count, second.percentile(50)) == (0, 1, 100)


def test_a_ring_shows_where_it_stands_and_who_holds_it(name):
    ring_segment = create_ring(name, RECORD, 8, LAYOUT, 0)
    ring = ring_segment.acquire_producer()
    for _ in range(3):
        claim(ring)
        publish(ring)
    state = observe.ring_state(observe.attach(name, LAYOUT, SegmentKind.RING))
    assert (state.published, state.consumed, state.unread, state.slots) == (3, 0, 3, 8)
    assert (state.producer, state.consumer) == (this_process(), Owner(0, 0))
    ring.words[TAIL], ring.words[HEAD] = 10, 6
    assert observe.ring_state(ring_segment.segment).unread == 4


def test_a_segment_of_another_kind_is_refused(name):
    create(name, SegmentKind.WORDS, 8, 4, 32)
    with pytest.raises(SegmentMismatch, match="holds a words of 4 x 8 bytes, expected a ring"):
        observe.attach(name, LAYOUT, SegmentKind.RING)


@pytest.mark.parametrize(
    ("kind", "record_bytes", "payload_bytes", "reader"),
    [
        (SegmentKind.COUNTERS, 8, 8, observe.counters),
        (SegmentKind.COUNTERS, 16, 256, observe.counters),
        (SegmentKind.CELL, 64, 1024, lambda segment: observe.cells(segment, RECORD)),
        (SegmentKind.HISTOGRAM, 64, 1024, observe.histograms),
    ],
)
def test_a_geometry_that_is_not_the_readers_is_refused(name, kind, record_bytes, payload_bytes, reader):
    with pytest.raises(SegmentMismatch, match="expected a"):
        reader(create(name, kind, record_bytes, 1, payload_bytes))
