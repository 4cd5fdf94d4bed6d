"""Ring between two pinned processes: every record arrives once, whole, in order.

Each word of a record is a different function of its sequence number, so that any mixture of two records shows. Batch sizes
follow from the sequence number too, so that a failure is repeatable as far as two processes can be.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter

import numpy as np
import pytest

from shm.atomics import fence_release, relax
from shm.jit import JIT_ENABLED, njit
from shm.ring import (
    attach_ring,
    available,
    claim,
    create_ring,
    peek,
    publish,
    publish_many,
    release,
    release_many,
    room,
    slot_at,
    slot_of,
)
from support.two_processes import Watchdog, peer

RECORD = np.dtype([("sequence", "<i8"), ("words", "<i8", (7,))])
OUTCOMES = [
    "whole and in order",
    "FORBIDDEN: torn record",
    "FORBIDDEN: lost record",
    "FORBIDDEN: duplicated record",
    "FORBIDDEN: reordered records",
]
OK, TORN, LOST, DUPLICATED, REORDERED = range(5)
LAYOUT = 1
#: Polls of an empty or full ring before a kernel returns to Python.
TRIES = 20_000 if JIT_ENABLED else 200

SAMPLE = 2_000_000 if JIT_ENABLED else 20_000
CAMPAIGN = 60_000_000


@njit
def mark(sequence, k):
    return sequence * (2 * k + 3) + k


@njit
def fill(row, sequence):
    for k in range(7):
        row["words"][k] = mark(sequence, k)
    row["sequence"] = sequence


@njit
def produce_single(ring, first, last, tries):
    """Publish records first, first + 1, ... one by one; the number of the next one."""
    sequence = first
    for _ in range(tries):
        while sequence < last:
            slot = claim(ring)
            if slot < 0:
                break
            fill(ring.slots[slot], sequence)
            publish(ring)
            sequence += 1
        if sequence == last:
            break
        relax()
    return sequence


@njit
def produce_batched(ring, first, last, tries):
    """Publish records in batches of changing size."""
    sequence = first
    for _ in range(tries):
        count = min(room(ring), last - sequence, 1 + (sequence * 7919) % 37)
        for k in range(count):
            fill(ring.slots[slot_at(ring, k)], sequence + k)
        publish_many(ring, count)
        sequence += count
        if sequence == last:
            break
        relax()
    return sequence


@njit
def produce_published_first(ring, first, last, tries):
    """BROKEN on purpose: the record is handed over before it is written."""
    sequence = first
    for _ in range(tries):
        while sequence < last:
            slot = claim(ring)
            if slot < 0:
                break
            publish(ring)
            # Slower than the consumer, which therefore waits at the tail and looks at once.
            for _ in range(20):
                relax()
            fence_release()
            fill(ring.slots[slot], sequence)
            sequence += 1
        if sequence == last:
            break
        relax()
    return sequence


@njit
def judge(row, expected, outcomes):
    """Count what became of the record expected; the sequence number expected next."""
    sequence = np.int64(row["sequence"])
    for k in range(7):
        if row["words"][k] != mark(sequence, k):
            outcomes[TORN] += 1
            return expected + 1
    if sequence == expected:
        outcomes[OK] += 1
    elif sequence > expected:
        outcomes[LOST] += 1
    elif sequence == expected - 1:
        outcomes[DUPLICATED] += 1
        return expected
    else:
        outcomes[REORDERED] += 1
    return sequence + 1


@njit
def consume_single(ring, first, last, tries, outcomes):
    """Take records one by one and judge them; the sequence number expected next."""
    expected = first
    for _ in range(tries):
        slot = peek(ring)
        while slot >= 0:
            expected = judge(ring.slots[slot], expected, outcomes)
            release(ring)
            slot = peek(ring)
        if expected >= last:
            break
        relax()
    return expected


@njit
def consume_batched(ring, first, last, tries, outcomes):
    """Take all there are at once and judge them."""
    expected = first
    for _ in range(tries):
        count = available(ring)
        for k in range(count):
            expected = judge(ring.slots[slot_of(ring, k)], expected, outcomes)
        release_many(ring, count)
        if expected >= last:
            break
        relax()
    return expected


PRODUCERS = {"single": produce_single, "batched": produce_batched}
CONSUMERS = {"single": consume_single, "batched": consume_batched}


def outcomes_of(produce, consume, slots, records, batch=1_000_000):
    """Send `records` from a peer process and count what arrives here, label -> count."""
    name = f"hft.t{os.getpid()}.{secrets.token_hex(4)}"
    created = create_ring(name, RECORD, slots, LAYOUT, 0)

    def send(parent_lives):
        ring = attach_ring(name, RECORD, slots, LAYOUT, 0).acquire_producer()
        sent = 0
        while sent < records and parent_lives():
            sent = int(produce(ring, np.int64(sent), np.int64(min(records, sent + batch)), TRIES))

    outcomes = np.zeros(len(OUTCOMES), np.int64)
    try:
        ring = attach_ring(name, RECORD, slots, LAYOUT, 0).acquire_consumer()
        produce(ring, np.int64(0), np.int64(0), 1)
        consume(ring, np.int64(0), np.int64(0), 1, outcomes)
        with peer(send):
            watchdog, expected = Watchdog(), 0
            # Every record taken is judged once; lost ones are never taken.
            while expected < records and outcomes.sum() < records:
                last = min(records, expected + batch)
                before, expected = outcomes.sum(), int(consume(ring, np.int64(expected), np.int64(last), TRIES, outcomes))
                watchdog.note(outcomes.sum() > before)
    finally:
        created.unlink()
    return Counter({label: int(count) for label, count in zip(OUTCOMES, outcomes, strict=True) if count})


@pytest.mark.parametrize("slots", [2, 64, 4096])
@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("producer", ["single", "batched"])
def test_every_record_arrives_once_whole_and_in_order(producer, consumer, slots):
    records = SAMPLE // 6 if slots > 2 else SAMPLE // 200
    assert outcomes_of(PRODUCERS[producer], CONSUMERS[consumer], slots, records) == {OUTCOMES[OK]: records}


@pytest.mark.load
@pytest.mark.parametrize("slots", [64, 4096])
@pytest.mark.parametrize(("producer", "consumer"), [("single", "single"), ("batched", "batched"), ("single", "batched")])
def test_every_one_of_many_records_arrives_once_whole_and_in_order(producer, consumer, slots):
    records = CAMPAIGN // 6 if JIT_ENABLED else SAMPLE
    assert outcomes_of(PRODUCERS[producer], CONSUMERS[consumer], slots, records) == {OUTCOMES[OK]: records}


@pytest.mark.skipif(not JIT_ENABLED or len(os.sched_getaffinity(0)) < 2, reason="needs two cores and compiled speed to show")
def test_a_producer_that_publishes_before_it_writes_is_caught():
    found = outcomes_of(produce_published_first, consume_single, 64, SAMPLE // 20)
    assert sum(count for label, count in found.items() if label.startswith("FORBIDDEN")) > 0


@pytest.mark.parametrize(
    ("sequences", "label"),
    [([0, 1, 1], DUPLICATED), ([0, 1, 2, 4], LOST), ([0, 1, 2, 0], REORDERED)],
)
def test_the_judge_names_each_forbidden_outcome(sequences, label):
    rows, outcomes, expected = np.zeros(1, RECORD), np.zeros(len(OUTCOMES), np.int64), np.int64(0)
    for sequence in sequences:
        fill(rows[0], np.int64(sequence))
        expected = judge(rows[0], expected, outcomes)
    assert outcomes[label] == 1
    assert outcomes[OK] == len(sequences) - 1


@pytest.mark.parametrize("k", range(8))
def test_the_judge_sees_any_torn_word(k):
    rows, outcomes = np.zeros(1, RECORD), np.zeros(len(OUTCOMES), np.int64)
    fill(rows[0], np.int64(5))
    rows.view(np.int64)[k] += 1
    judge(rows[0], np.int64(5), outcomes)
    assert outcomes[TORN] == 1
