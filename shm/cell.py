"""Cell: holds the latest value of one record, for one writer and any number of readers.

A seqlock: the version is odd while the writer is inside. A reader that finds it odd, or changed after copying, got a torn
copy and tries again, a bounded number of times. The writer never waits. A cell is `CELL_WORDS` int64 words and the record's
own, on lines of its own; `local_cell` or a segment's `array` provides the words.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shm.atomics import fence_acquire, fence_release, load_acquire, relax, store_release
from shm.copying import copy_from_words, copy_to_words
from shm.jit import njit
from shm.layout import CELL_WORDS, VERSION, aligned_zeros, cell_bytes

#: How often `read` tries before it answers 0.
READ_TRIES = 64


@njit
def write(cell: NDArray[np.int64], source: NDArray[Any], i: int) -> None:
    """Make the record `source[i]` the cell's value."""
    version = cell[VERSION]
    store_release(cell, VERSION, version + 1)
    # SYNC version: pairs with fence_acquire() in read(). The version is odd before any of the record changes.
    fence_release()
    copy_to_words(cell, CELL_WORDS, source, i)
    # SYNC version: pairs with load_acquire(VERSION) in read(). The record is whole before the version is even again.
    store_release(cell, VERSION, version + 2)


@njit
def read(cell: NDArray[np.int64], target: NDArray[Any], i: int) -> int:
    """Copy the value to `target[i]`; 1, or 0 when every try was torn and `target[i]` is not to be used."""
    for _ in range(READ_TRIES):
        # SYNC version: pairs with the last store_release(VERSION) in write(). Nothing of the record is read earlier.
        before = load_acquire(cell, VERSION)
        if before & 1 == 0:
            copy_from_words(target, i, cell, CELL_WORDS)
            # SYNC version: pairs with fence_release() in write(). The record was read before the version is read again.
            fence_acquire()
            if load_acquire(cell, VERSION) == before:
                return 1
        relax()
    return 0


def local_cell(dtype: np.dtype[Any]) -> NDArray[np.int64]:
    """A cell in private memory."""
    return aligned_zeros(cell_bytes(dtype)).view(np.int64)
