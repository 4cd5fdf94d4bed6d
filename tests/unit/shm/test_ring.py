"""Ring: records come out as they went in, a full or empty ring says so, and a role is acquired once."""

from __future__ import annotations

import os
import random
import signal
from collections import deque

import numpy as np
import pytest

from shm import ring as kernels
from shm.layout import CONSUMER, HEAD, PRODUCER, RING_WORDS, TAIL, ring_bytes
from shm.ring import (
    attach_ring,
    available,
    claim,
    copy_record,
    create_ring,
    has_room,
    head_sequence,
    local_ring,
    peek,
    publish,
    publish_many,
    read_record,
    release,
    release_many,
    room,
    slot_at,
    slot_of,
    tail_sequence,
)
from shm.segment import Owner, RoleTaken, SegmentAbsent, SegmentError, SegmentMismatch, this_process

RECORD = np.dtype([("sequence", "<i8"), ("price_ticks", "<i8"), ("kind", "<i4"), ("flags", "<i4"), ("rest", "<i8", (5,))], align=True)
WIDE = np.dtype([("sequence", "<i8"), ("rest", "<i8", (15,))], align=True)
LAYOUT = 42
EPOCH = 3
SLOTS = 8


@pytest.fixture(params=["compiled", "python"])
def body(request):
    """Each kernel compiled, and its Python body."""
    return (lambda kernel: kernel) if request.param == "compiled" else (lambda kernel: getattr(kernel, "py_func", kernel))


def put(ring, sequence):
    slot = claim(ring)
    assert slot >= 0
    ring.slots[slot]["sequence"] = sequence
    publish(ring)


def take(ring):
    slot = peek(ring)
    assert slot >= 0
    sequence = int(ring.slots[slot]["sequence"])
    release(ring)
    return sequence


def test_a_new_ring_is_empty_and_has_room_for_its_slots(body):
    ring = local_ring(RECORD, SLOTS)
    assert body(peek)(ring) == -1
    assert body(available)(ring) == 0
    assert body(room)(ring) == SLOTS
    assert (body(tail_sequence)(ring), body(head_sequence)(ring)) == (0, 0)


def test_a_claimed_record_is_not_seen_before_it_is_published(body):
    ring = local_ring(RECORD, SLOTS)
    body(claim)(ring)
    assert body(peek)(ring) == -1
    body(publish)(ring)
    assert body(peek)(ring) == 0


def test_claiming_again_without_publishing_gives_the_same_slot(body):
    ring = local_ring(RECORD, SLOTS)
    assert body(claim)(ring) == body(claim)(ring) == 0


def test_peeking_again_without_releasing_gives_the_same_slot(body):
    ring = local_ring(RECORD, SLOTS)
    put(ring, 5)
    assert body(peek)(ring) == body(peek)(ring) == 0


def test_a_full_ring_refuses_and_takes_one_more_after_a_release(body):
    ring = local_ring(RECORD, SLOTS)
    for sequence in range(SLOTS):
        assert body(claim)(ring) == sequence
        body(publish)(ring)
    assert body(claim)(ring) == -1
    assert body(room)(ring) == 0
    body(peek)(ring)
    body(release)(ring)
    assert body(room)(ring) == 1
    assert body(claim)(ring) == 0


def test_a_ring_of_one_slot_alternates(body):
    ring = local_ring(RECORD, 1)
    for _ in range(3):
        assert body(claim)(ring) == 0
        body(publish)(ring)
        assert body(claim)(ring) == -1
        assert body(peek)(ring) == 0
        body(release)(ring)
        assert body(peek)(ring) == -1


@pytest.mark.parametrize("count", [1, 7, 8])
def test_several_records_appear_at_once(body, count):
    ring = local_ring(RECORD, SLOTS)
    for start in range(0, 40, count):
        assert body(has_room)(ring, count)
        for k in range(count):
            ring.slots[body(slot_at)(ring, k)]["sequence"] = start + k
        assert body(available)(ring) == 0
        body(publish_many)(ring, count)
        assert body(available)(ring) == count
        assert [int(ring.slots[body(slot_of)(ring, k)]["sequence"]) for k in range(count)] == list(range(start, start + count))
        body(release_many)(ring, count)


def test_room_is_asked_for_exactly_at_its_bound(body):
    ring = local_ring(RECORD, SLOTS)
    body(publish_many)(ring, 5)
    assert body(has_room)(ring, 3)
    assert not body(has_room)(ring, 4)
    assert body(available)(ring) == 5
    body(release_many)(ring, 1)
    assert body(has_room)(ring, 4)
    assert not body(has_room)(ring, 5)


def test_sequences_count_every_record_ever(body):
    ring = local_ring(RECORD, SLOTS)
    for sequence in range(3 * SLOTS + 2):
        put(ring, sequence)
        if sequence >= 2:
            take(ring)
    assert (body(tail_sequence)(ring), body(head_sequence)(ring)) == (3 * SLOTS + 2, 3 * SLOTS)


def test_a_whole_record_is_copied_in_and_out(body):
    ring = local_ring(RECORD, SLOTS)
    source, target = np.zeros(3, RECORD), np.zeros(2, RECORD)
    source[2] = (1, -2, 3, -4, (5, 6, 7, 8, -9))
    body(copy_record)(ring, 6, source, 2)
    body(read_record)(ring, 6, target, 1)
    assert target[1] == source[2]
    assert not target[0]["sequence"]
    assert ring.slots[5] == ring.slots[7] == np.zeros(1, RECORD)[0]


def test_bytes_are_the_bytes_of_the_slots():
    ring = local_ring(RECORD, SLOTS)
    ring.slots[3]["sequence"] = 0x0102
    assert ring.bytes[3 * RECORD.itemsize : 3 * RECORD.itemsize + 2].tolist() == [2, 1]
    assert ring.bytes.size == SLOTS * RECORD.itemsize


def test_cursors_and_slots_share_no_line_between_the_two_sides():
    ring = local_ring(RECORD, SLOTS)
    assert ring.words.ctypes.data % 128 == ring.slots.ctypes.data % 128 == 0
    assert TAIL // 16 != HEAD // 16 != PRODUCER // 16


@pytest.mark.parametrize("seed", range(20))
def test_random_traffic_equals_a_queue(seed):
    draw = random.Random(seed)
    slots = draw.choice([1, 2, 8, 32])
    ring, queue, sequence = local_ring(RECORD, slots), deque(), 0
    for step in range(400):
        what, context = draw.randrange(4), f"seed {seed}, step {step}"
        if what == 0:
            assert (claim(ring) >= 0) == (len(queue) < slots), context
            if len(queue) < slots:
                put(ring, sequence)
                queue.append(sequence)
                sequence += 1
        elif what == 1:
            assert (peek(ring) >= 0) == bool(queue), context
            if queue:
                assert take(ring) == queue.popleft(), context
        elif what == 2:
            count = draw.randint(0, room(ring))
            assert room(ring) == slots - len(queue), context
            for k in range(count):
                ring.slots[slot_at(ring, k)]["sequence"] = sequence + k
            publish_many(ring, count)
            queue.extend(range(sequence, sequence + count))
            sequence += count
        else:
            unread = available(ring)
            assert (unread > 0) == bool(queue) and unread <= len(queue), context
            taken = draw.randint(0, unread)
            assert [int(ring.slots[slot_of(ring, k)]["sequence"]) for k in range(taken)] == [queue[k] for k in range(taken)], context
            release_many(ring, taken)
            for _ in range(taken):
                queue.popleft()
    assert tail_sequence(ring) - head_sequence(ring) == len(queue)


def test_kernels_are_compiled_once_for_local_and_shared_rings(name):
    shared = create_ring(name, WIDE, 4, LAYOUT, EPOCH).ring
    for ring in (local_ring(WIDE, 4), shared, local_ring(WIDE, 16)):
        put(ring, 1)
        take(ring)
    signatures = getattr(kernels.claim, "signatures", [])
    assert len({str(signature) for signature in signatures if "128" in str(signature)}) <= 1


@pytest.mark.parametrize("slots", [0, -1, 3, 1000, 4097])
def test_slots_must_be_a_power_of_two(name, slots):
    for make in (
        lambda: local_ring(RECORD, slots),
        lambda: create_ring(name, RECORD, slots, LAYOUT, EPOCH),
        lambda: attach_ring(name, RECORD, slots, LAYOUT),
    ):
        with pytest.raises(SegmentError, match=f"power of two, was {slots}"):
            make()


def test_two_processes_views_of_a_shared_ring_are_one_ring(name):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)
    producer = attach_ring(name, RECORD, SLOTS, LAYOUT, EPOCH).acquire_producer()
    consumer = attach_ring(name, RECORD, SLOTS, LAYOUT, EPOCH).acquire_consumer()
    for sequence in range(20):
        put(producer, sequence)
        assert take(consumer) == sequence
    assert tail_sequence(created.ring) == 20


def test_attaching_refuses_what_is_not_that_ring(name):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)
    for arguments, message in [
        ((RECORD, SLOTS, LAYOUT + 1), "layout id is 42, expected 43"),
        ((RECORD, SLOTS * 2, LAYOUT), "ring of 8 x 64 bytes, expected ring of 16 x 64 bytes"),
        ((WIDE, SLOTS, LAYOUT), "ring of 8 x 64 bytes, expected ring of 8 x 128 bytes"),
        ((RECORD, SLOTS, LAYOUT, EPOCH + 1), "epoch is 3, expected 4"),
    ]:
        with pytest.raises(SegmentMismatch, match=message):
            attach_ring(name, *arguments)
    created.unlink()
    with pytest.raises(SegmentAbsent):
        attach_ring(name, RECORD, SLOTS, LAYOUT)


@pytest.mark.parametrize(
    ("tail", "head", "message"),
    [
        (-1, 0, "tail -1 lies before head 0"),
        (4, 5, "tail 4 lies before head 5"),
        (3, -3, "tail 3 lies before head -3"),
        (9, 0, "9 records unread"),
    ],
)
def test_impossible_cursors_are_refused(name, tail, head, message):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)
    created.ring.words[TAIL], created.ring.words[HEAD] = tail, head
    with pytest.raises(SegmentMismatch, match=message):
        attach_ring(name, RECORD, SLOTS, LAYOUT)


@pytest.mark.parametrize(("tail", "head"), [(0, 0), (8, 0), (5, 5), (2**40 + 8, 2**40)])
def test_cursors_at_their_bounds_are_accepted(name, tail, head):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)
    created.ring.words[TAIL], created.ring.words[HEAD] = tail, head
    attach_ring(name, RECORD, SLOTS, LAYOUT)


def test_ring_bytes_is_the_size_of_the_payload(name):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)
    assert created.segment.buffer.size == ring_bytes(SLOTS, RECORD) == RING_WORDS * 8 + SLOTS * 64


@pytest.mark.parametrize("role", ["producer", "consumer"])
def test_a_second_holder_is_refused_and_the_first_named(name, role):
    create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)
    first, second = (attach_ring(name, RECORD, SLOTS, LAYOUT) for _ in range(2))
    getattr(first, f"acquire_{role}")()
    for late in (second, first):
        with pytest.raises(RoleTaken, match=f"the {role} role is held by pid {os.getpid()}"):
            getattr(late, f"acquire_{role}")()
    assert getattr(second, role)() == this_process()


def test_the_two_roles_are_separate(name):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)
    assert created.producer() == created.consumer() == Owner(0, 0)
    created.acquire_producer()
    assert created.consumer() == Owner(0, 0)
    created.acquire_consumer()
    assert created.producer() == created.consumer() == this_process()


def test_a_closed_role_is_not_acquired_again(name):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)
    first = attach_ring(name, RECORD, SLOTS, LAYOUT)
    first.acquire_producer()
    first.close()
    with pytest.raises(RoleTaken, match=f"was acquired before by pid {os.getpid()}, which still runs; a ring is never re-attached"):
        created.acquire_producer()


def in_child(action):
    """Run `action` in a forked process, which then waits to be killed; returns its pid."""
    ready_read, ready_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(ready_write, action() or b"ok")
        except SegmentError as error:
            os.write(ready_write, repr(error).encode())
        signal.pause()
        os._exit(0)
    answer = os.read(ready_read, 1000)
    os.close(ready_read)
    os.close(ready_write)
    return pid, answer


def end(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_role_held_by_another_process_is_refused_while_it_lives_and_when_it_is_dead(name):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)

    def hold():
        attach_ring(name, RECORD, SLOTS, LAYOUT).acquire_producer()

    pid, answer = in_child(hold)
    try:
        assert answer == b"ok"
        with pytest.raises(RoleTaken, match=f"is held by pid {pid}"):
            created.acquire_producer()
    finally:
        end(pid)
    with pytest.raises(RoleTaken, match=f"by pid {pid}, which is gone; a ring is never re-attached"):
        created.acquire_producer()


def test_a_forked_child_cannot_acquire_through_an_inherited_attachment(name):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)
    created.acquire_producer()

    def steal():
        created.acquire_producer()

    pid, answer = in_child(steal)
    end(pid)
    assert answer.startswith(b"RoleTaken")


def test_a_lock_that_died_before_its_words_were_written_leaves_the_role_free(name):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)

    def lock_only():
        attached = attach_ring(name, RECORD, SLOTS, LAYOUT)
        fd = os.open(f"/proc/self/fd/{attached.segment.fd}", os.O_RDWR)
        attached._lock(fd, "consumer", CONSUMER)

    pid, _ = in_child(lock_only)
    end(pid)
    created.acquire_consumer()


def test_a_refused_role_leaks_no_descriptor(name):
    created = create_ring(name, RECORD, SLOTS, LAYOUT, EPOCH)
    created.acquire_producer()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with pytest.raises(RoleTaken):
            created.acquire_producer()
    assert len(os.listdir("/proc/self/fd")) == before
