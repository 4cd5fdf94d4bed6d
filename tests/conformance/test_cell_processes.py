"""Cell between two pinned processes: a reader sees whole records only, and never an older one after a newer."""

from __future__ import annotations

import os
import secrets
from collections import Counter

import numpy as np
import pytest

from shm.atomics import relax
from shm.cell import read, write
from shm.copying import copy_to_words
from shm.jit import JIT_ENABLED, njit
from shm.layout import CELL_WORDS, Geometry, SegmentKind, cell_bytes
from shm.segment import Segment
from support.two_processes import Watchdog, peer

#: Words of a record after the first: so many that a copy takes long enough to be interrupted.
WORDS = 511
RECORD = np.dtype([("sequence", "<i8"), ("words", "<i8", (WORDS,))])
OUTCOMES = ["whole", "gave up", "FORBIDDEN: torn record", "FORBIDDEN: older record"]
WHOLE, GAVE_UP, TORN, OLDER = range(4)
LAYOUT = 2
GEOMETRY = Geometry(SegmentKind.CELL, cell_bytes(RECORD), 1)

SAMPLE = 500_000 if JIT_ENABLED else 1_000
CAMPAIGN = 5_000_000


@njit
def fill(rows, sequence):
    rows[0]["sequence"] = sequence
    for k in range(WORDS):
        rows[0]["words"][k] = sequence * (2 * k + 3) + k


@njit
def write_many(cell, rows, first, count):
    """Write records first, first + 1, ...; the number of the next one."""
    for sequence in range(first, first + count):
        fill(rows, sequence)
        write(cell, rows, 0)
        for _ in range(sequence % 64):
            relax()
    return first + count


@njit
def write_unmarked(cell, rows, first, count):
    """BROKEN on purpose: the version never says that the record is being written."""
    for sequence in range(first, first + count):
        fill(rows, sequence)
        copy_to_words(cell, CELL_WORDS, rows, 0)
    return first + count


@njit
def read_many(cell, rows, newest, count, outcomes):
    """Read `count` times and judge; the newest sequence number seen."""
    for _ in range(count):
        if read(cell, rows, 0) == 0:
            outcomes[GAVE_UP] += 1
            continue
        sequence, outcome = np.int64(rows[0]["sequence"]), WHOLE
        for k in range(WORDS):
            if rows[0]["words"][k] != sequence * (2 * k + 3) + k:
                outcome = TORN
        if outcome == WHOLE and sequence < newest:
            outcome = OLDER
        outcomes[outcome] += 1
        newest = max(newest, sequence)
    return newest


def outcomes_of(writer, reads, batch):
    """Write from a peer process while this one reads `reads` times; label -> count, and how many records were seen."""
    name = f"hft.t{os.getpid()}.{secrets.token_hex(4)}"
    created = Segment.create(name, LAYOUT, GEOMETRY, cell_bytes(RECORD), 0)
    stop = Segment.create(f"{name}.stop", LAYOUT, Geometry(SegmentKind.WORDS, 8, 1), 8, 0)

    def words_of(segment):
        return segment.array(0, np.int64, segment.buffer.size // 8)

    def write_until_told(parent_lives):
        cell, rows, sequence = words_of(Segment.attach(name, LAYOUT, GEOMETRY)), np.zeros(1, RECORD), 1
        while not words_of(stop)[0] and parent_lives():
            sequence = int(writer(cell, rows, np.int64(sequence), batch))

    outcomes, rows = np.zeros(len(OUTCOMES), np.int64), np.zeros(1, RECORD)
    try:
        cell = words_of(Segment.attach(name, LAYOUT, GEOMETRY))
        writer(cell, rows, np.int64(0), 1)
        read_many(cell, rows, np.int64(0), 0, outcomes)
        with peer(write_until_told):
            watchdog, newest = Watchdog(), 0
            while outcomes.sum() < reads or newest == 0:
                before, newest = newest, int(read_many(cell, rows, np.int64(newest), batch, outcomes))
                watchdog.note(newest > before)
            words_of(stop)[0] = 1
    finally:
        words_of(stop)[0] = 1
        created.unlink()
        stop.unlink()
    return Counter({label: int(count) for label, count in zip(OUTCOMES, outcomes, strict=True) if count}), newest


def check(reads, batch):
    found, newest = outcomes_of(write_many, reads, batch)
    assert set(found) <= {"whole", "gave up"}, found
    assert found["whole"] > 0, found
    assert newest > 1


def test_every_read_is_whole_and_none_is_older_than_the_last():
    check(SAMPLE, 10_000 if JIT_ENABLED else 20)


@pytest.mark.load
def test_every_one_of_many_reads_is_whole_and_none_is_older_than_the_last():
    check(CAMPAIGN if JIT_ENABLED else SAMPLE, 100_000 if JIT_ENABLED else 20)


@pytest.mark.skipif(not JIT_ENABLED or len(os.sched_getaffinity(0)) < 2, reason="needs two cores and compiled speed to show")
def test_a_writer_that_does_not_mark_the_version_is_caught():
    assert outcomes_of(write_unmarked, SAMPLE, 10_000)[0]["FORBIDDEN: torn record"] > 0
