"""Layout: says where everything lies in a segment; no algorithm, no Numba.

A segment is a 256-byte header and a payload. Offsets below count 8-byte words of the payload.

    ring                                          cell
    word   0  TAIL       HEAD_SEEN   producer's   word  0  VERSION  odd while it is being written
    word  16  HEAD       TAIL_SEEN   consumer's   word 16  the record
    word  32  PRODUCER   pid, start
    word  34  CONSUMER   pid, start               counters
    word  48  slots, a power of two of them       word  0  values, one int64 each
                                                  then     labels, 56 bytes each
    histogram
    word   0  COUNT  SUM_NS  MIN_NS  MAX_NS
    word   8  buckets

TAIL is the sequence number the producer publishes next, HEAD the one the consumer reads next; both only grow. Each lies on
a 128-byte line of its own (adjacent lines are prefetched in pairs) together with the last value seen of the other, so that a
ring neither full nor empty costs no traffic between the cores.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

#: Bytes kept apart so that two cores never write to one line or to one prefetched pair.
LINE_BYTES = 128

TAIL = 0
HEAD_SEEN = 1
HEAD = 16
TAIL_SEEN = 17
PRODUCER = 32
CONSUMER = 34
RING_WORDS = 48

VERSION = 0
CELL_WORDS = 16

LABEL_BYTES = 56

COUNT = 0
SUM_NS = 1
MIN_NS = 2
MAX_NS = 3
HISTOGRAM_WORDS = 8

#: HDR parameters: 3 significant digits, 1 ns to 2^36 ns (68.7 s).
SUB_BUCKETS_LOG2 = 11
SUB_BUCKETS = 1 << SUB_BUCKETS_LOG2
SUB_BUCKETS_HALF = SUB_BUCKETS >> 1
HISTOGRAM_NS_MAX = 1 << 36
BUCKETS = 37 - SUB_BUCKETS_LOG2 + 1
HISTOGRAM_COUNTS = (BUCKETS + 1) * SUB_BUCKETS_HALF


class SegmentKind(IntEnum):
    """What a segment's payload is."""

    RING = 1
    CELL = 2
    COUNTERS = 3
    HISTOGRAM = 4
    TABLE = 5  #: plain rows of one record; whoever owns it says how they are written
    WORDS = 6  #: int64 words, each atomic by itself: heartbeats, kill and halt words


class Geometry(NamedTuple):
    """What a segment holds: `slots` records of `record_bytes` each."""

    kind: int
    record_bytes: int
    slots: int

    def __str__(self) -> str:
        kind = SegmentKind(self.kind).name.lower() if self.kind in set(SegmentKind) else f"kind {self.kind}"
        return f"{kind} of {self.slots} x {self.record_bytes} bytes"


def is_power_of_two(count: int) -> bool:
    """True for 1, 2, 4, ..."""
    return count > 0 and count & (count - 1) == 0


def ring_bytes(slots: int, dtype: np.dtype[Any]) -> int:
    """Payload bytes of a ring of `slots` records of `dtype`."""
    return RING_WORDS * 8 + slots * dtype.itemsize


def cell_bytes(dtype: np.dtype[Any]) -> int:
    """Payload bytes of a latest-value cell."""
    return CELL_WORDS * 8 + dtype.itemsize


def counters_bytes(count: int) -> int:
    """Payload bytes of `count` labelled counters."""
    return count * (8 + LABEL_BYTES)


def histogram_bytes(count: int = 1) -> int:
    """Payload bytes of `count` histograms."""
    return count * (HISTOGRAM_WORDS + HISTOGRAM_COUNTS) * 8


def aligned_zeros(byte_count: int) -> NDArray[np.uint8]:
    """Zeroed private memory that starts on a line, as a segment's payload does."""
    raw = np.zeros(byte_count + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return raw[start : start + byte_count]
