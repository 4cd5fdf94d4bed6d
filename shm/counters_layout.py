"""Counter labels: written once when a counter block is created, read by people; no Numba."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shm.layout import LABEL_BYTES, counters_bytes
from shm.segment import SegmentError, SegmentMismatch


def write_labels(buffer: NDArray[np.uint8], labels: Sequence[str]) -> None:
    """Label the counters of a block, in order of place; labels are unique, ASCII, 1 to 56 bytes."""
    if len(set(labels)) != len(labels):
        raise SegmentError(f"counter labels repeat: {sorted({label for label in labels if list(labels).count(label) > 1})}")
    for label in labels:
        if not label.isascii() or not 0 < len(label) <= LABEL_BYTES:
            raise SegmentError(f"counter label {label!r}: expected 1 to {LABEL_BYTES} ASCII characters")
    _labels(buffer, len(labels))[:] = [label.encode() for label in labels]


def read_labels(buffer: NDArray[np.uint8], count: int) -> list[str]:
    """The labels of a block of `count` counters."""
    return [label.decode("ascii", "replace") for label in _labels(buffer, count).tolist()]


def _labels(buffer: NDArray[np.uint8], count: int) -> NDArray[np.bytes_]:
    if buffer.size < counters_bytes(count):
        raise SegmentMismatch(f"a block of {count} counters needs {counters_bytes(count)} bytes, has {buffer.size}")
    return buffer[count * 8 : counters_bytes(count)].view(f"S{LABEL_BYTES}")
