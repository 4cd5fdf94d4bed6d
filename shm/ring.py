"""Ring: carries records from one producer process to one consumer process.

One producer, one consumer, always; a fan-out is several rings. The layout is drawn in `shm/layout.py`. Nobody waits here: a
full ring answers -1 to `claim`, an empty one to `peek`, and the caller decides.

    slot = claim(ring)                        slot = peek(ring)
    if slot >= 0:                             if slot >= 0:
        ring.slots[slot]["qty_lots"] = 1          qty_lots = ring.slots[slot]["qty_lots"]
        publish(ring)                             release(ring)

Several records are made visible by one tail store with `room`, `slot_at`, `publish_many`, and taken together with
`available`, `slot_of`, `release_many`.
"""

from __future__ import annotations

import fcntl
import os
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shm.atomics import load_acquire, store_release
from shm.copying import copy_item
from shm.jit import njit
from shm.layout import (
    CONSUMER,
    HEAD,
    HEAD_SEEN,
    PRODUCER,
    RING_WORDS,
    TAIL,
    TAIL_SEEN,
    Geometry,
    SegmentKind,
    aligned_zeros,
    is_power_of_two,
    ring_bytes,
)
from shm.segment import NOBODY, Owner, RoleTaken, Segment, SegmentError, SegmentMismatch, check_power_of_two, is_alive, this_process

__all__ = ["Ring", "RingSegment", "attach_ring", "create_ring", "local_ring", "ring_bytes"]


class Ring(NamedTuple):
    """What kernels see of a ring: its cursors, its records, and the records' bytes."""

    words: NDArray[np.int64]
    slots: NDArray[Any]
    bytes: NDArray[np.uint8]


@njit
def claim(ring: Ring) -> int:
    """Producer: the slot to fill next, or -1 when the ring is full. Claiming again without publishing gives the same slot."""
    words = ring.words
    tail = words[TAIL]
    if tail - words[HEAD_SEEN] >= ring.slots.size:
        # SYNC head: pairs with store_release(HEAD) in release() and release_many(). The slot is read before it is reused.
        head = load_acquire(words, HEAD)
        if tail - head >= ring.slots.size:
            return -1
        words[HEAD_SEEN] = head
    return tail & (ring.slots.size - 1)


@njit
def publish(ring: Ring) -> None:
    """Producer: hand the claimed record over."""
    # SYNC tail: pairs with load_acquire(TAIL) in peek() and available(). The record is complete before TAIL says so.
    store_release(ring.words, TAIL, ring.words[TAIL] + 1)


@njit
def room(ring: Ring) -> int:
    """Producer: how many records can be published now."""
    # SYNC head: pairs with store_release(HEAD) in release() and release_many().
    ring.words[HEAD_SEEN] = load_acquire(ring.words, HEAD)
    return ring.slots.size - (ring.words[TAIL] - ring.words[HEAD_SEEN])


@njit
def has_room(ring: Ring, count: int) -> bool:
    """Producer: whether `count` records can be published; asks the other core only when the last answer no longer does."""
    if ring.words[TAIL] - ring.words[HEAD_SEEN] + count <= ring.slots.size:
        return True
    return room(ring) >= count


@njit
def slot_at(ring: Ring, k: int) -> int:
    """Producer: the slot of the k-th record not yet published, from 0; below `room(ring)`."""
    return (ring.words[TAIL] + k) & (ring.slots.size - 1)


@njit
def publish_many(ring: Ring, count: int) -> None:
    """Producer: hand over the next `count` records, all visible at once."""
    # SYNC tail: pairs with load_acquire(TAIL) in peek() and available(). All records are complete before TAIL says so.
    store_release(ring.words, TAIL, ring.words[TAIL] + count)


@njit
def peek(ring: Ring) -> int:
    """Consumer: the slot of the oldest unread record, or -1 when there is none."""
    words = ring.words
    head = words[HEAD]
    if head == words[TAIL_SEEN]:
        # SYNC tail: pairs with store_release(TAIL) in publish() and publish_many(). Nothing of the record is read earlier.
        tail = load_acquire(words, TAIL)
        if head == tail:
            return -1
        words[TAIL_SEEN] = tail
    return head & (ring.slots.size - 1)


@njit
def release(ring: Ring) -> None:
    """Consumer: give the peeked slot back."""
    # SYNC head: pairs with load_acquire(HEAD) in claim() and room(). The record was read before its slot is free.
    store_release(ring.words, HEAD, ring.words[HEAD] + 1)


@njit
def available(ring: Ring) -> int:
    """Consumer: a number of unread records, 0 only when there are none; the rest shows once these are released."""
    words = ring.words
    if words[HEAD] == words[TAIL_SEEN]:
        # SYNC tail: pairs with store_release(TAIL) in publish() and publish_many().
        words[TAIL_SEEN] = load_acquire(words, TAIL)
    return words[TAIL_SEEN] - words[HEAD]


@njit
def slot_of(ring: Ring, k: int) -> int:
    """Consumer: the slot of the k-th unread record, from 0; below `available(ring)`."""
    return (ring.words[HEAD] + k) & (ring.slots.size - 1)


@njit
def release_many(ring: Ring, count: int) -> None:
    """Consumer: give the oldest `count` slots back at once."""
    # SYNC head: pairs with load_acquire(HEAD) in claim() and room(). The records were read before their slots are free.
    store_release(ring.words, HEAD, ring.words[HEAD] + count)


@njit
def tail_sequence(ring: Ring) -> int:
    """The sequence number published next; also how many records were ever published."""
    # SYNC tail: pairs with store_release(TAIL) in publish() and publish_many().
    return load_acquire(ring.words, TAIL)


@njit
def head_sequence(ring: Ring) -> int:
    """The sequence number consumed next; also how many records were ever consumed."""
    # SYNC head: pairs with store_release(HEAD) in release() and release_many().
    return load_acquire(ring.words, HEAD)


@njit
def copy_record(ring: Ring, slot: int, source: NDArray[Any], i: int) -> None:
    """Copy the whole record `source[i]` into a slot."""
    copy_item(ring.slots, slot, source, i)


@njit
def read_record(ring: Ring, slot: int, target: NDArray[Any], i: int) -> None:
    """Copy the whole record in a slot into `target[i]`."""
    copy_item(target, i, ring.slots, slot)


def local_ring(dtype: np.dtype[Any], slots: int) -> Ring:
    """A ring in private memory, of the same types as a shared one: for fused scratch and tests."""
    if not is_power_of_two(slots):
        raise SegmentError(f"a ring's slots must be a power of two, was {slots}")
    return _views(aligned_zeros(ring_bytes(slots, dtype)), dtype)


def create_ring(name: str, dtype: np.dtype[Any], slots: int, layout_id: int, epoch: int) -> RingSegment:
    """Create an empty shared ring; raises SegmentError."""
    if not is_power_of_two(slots):
        raise SegmentError(f"ring {name}: slots must be a power of two, was {slots}")
    geometry = Geometry(SegmentKind.RING, dtype.itemsize, slots)
    return RingSegment(Segment.create(name, layout_id, geometry, ring_bytes(slots, dtype), epoch), dtype)


def attach_ring(name: str, dtype: np.dtype[Any], slots: int, layout_id: int, epoch: int | None = None) -> RingSegment:
    """Attach a shared ring after checking header and cursors; raises SegmentAbsent or SegmentMismatch."""
    check_power_of_two(name, slots)
    geometry = Geometry(SegmentKind.RING, dtype.itemsize, slots)
    segment = Segment.attach(name, layout_id, geometry, epoch=epoch)
    try:
        if segment.buffer.size != ring_bytes(slots, dtype):
            raise SegmentMismatch(f"ring {name}: payload is {segment.buffer.size} bytes, expected {ring_bytes(slots, dtype)}")
        check_cursors(name, segment.array(0, np.int64, RING_WORDS), slots)
    except BaseException:
        segment.close()
        raise
    return RingSegment(segment, dtype)


def check_cursors(name: str, words: NDArray[np.int64], slots: int) -> None:
    """Raise SegmentMismatch unless 0 <= HEAD <= TAIL <= HEAD + slots, on a ring that may be moving."""
    # HEAD before and after TAIL: each bound is then checked against a value that movement can only make safer.
    head_before = int(load_acquire(words, HEAD))
    tail = int(load_acquire(words, TAIL))
    head_after = int(load_acquire(words, HEAD))
    if head_before < 0 or tail < head_before:
        raise SegmentMismatch(f"ring {name}: tail {tail} lies before head {head_before}")
    if tail - head_after > slots:
        raise SegmentMismatch(f"ring {name}: {tail - head_after} records unread, more than its {slots} slots")


class RingSegment:
    """A shared ring and its two roles, each acquired once in the ring's life.

    A role is a lock on a byte of the segment's file, so it ends with its process, and the holder's pid and start time in the
    ring, so that people see who it is and a ring is never re-attached by a restarted stage.
    """

    def __init__(self, segment: Segment, dtype: np.dtype[Any]) -> None:
        self.segment = segment
        self.ring = _views(segment.buffer, dtype)
        self._lock_fds: list[int] = []

    @property
    def name(self) -> str:
        """The segment's name."""
        return self.segment.name

    def acquire_producer(self) -> Ring:
        """Become the producer; raises RoleTaken when anyone was before."""
        return self._acquire("producer", PRODUCER)

    def acquire_consumer(self) -> Ring:
        """Become the consumer; raises RoleTaken when anyone was before."""
        return self._acquire("consumer", CONSUMER)

    def producer(self) -> Owner:
        """Who acquired the producer role; NOBODY if nobody did."""
        return self._holder(PRODUCER)

    def consumer(self) -> Owner:
        """Who acquired the consumer role; NOBODY if nobody did."""
        return self._holder(CONSUMER)

    def close(self) -> None:
        """Close descriptors and so free the locks; views stay valid. The roles stay used up."""
        for fd in self._lock_fds:
            os.close(fd)
        self._lock_fds.clear()
        self.segment.close()

    def unlink(self) -> None:
        """Remove the ring's name."""
        self.segment.unlink()

    def _holder(self, word: int) -> Owner:
        return Owner(int(self.ring.words[word]), int(self.ring.words[word + 1]))

    def _acquire(self, role: str, word: int) -> Ring:
        # A description of its own: locks belong to descriptions, and a fork shares those it inherits.
        fd = os.open(f"/proc/self/fd/{self.segment.fd}", os.O_RDWR | os.O_CLOEXEC)
        try:
            self._lock(fd, role, word)
            holder = self._holder(word)
            if holder != NOBODY:
                state = "still runs" if is_alive(holder) else "is gone"
                text = f"was acquired before by pid {holder.pid}, which {state}; a ring is never re-attached, it takes a new one"
                raise RoleTaken(f"ring {self.name}: the {role} role {text}")
            self.ring.words[word], self.ring.words[word + 1] = this_process()
        except BaseException:
            os.close(fd)
            raise
        self._lock_fds.append(fd)
        return self.ring

    def _lock(self, fd: int, role: str, word: int) -> None:
        # struct flock: type, whence, start, length, pid (0 for a lock of the open file description).
        request = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, word, 1, 0)
        try:
            fcntl.fcntl(fd, fcntl.F_OFD_SETLK, request)
        except OSError as error:
            raise RoleTaken(f"ring {self.name}: the {role} role is held by pid {self._holder(word).pid}") from error


def _views(buffer: NDArray[np.uint8], dtype: np.dtype[Any]) -> Ring:
    start = RING_WORDS * 8
    records = buffer[start:]
    return Ring(buffer[:start].view(np.int64), records.view(dtype), records)
