"""Counters: counted by one writer a block, read from outside at any time."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from shm.atomics import store_release
from shm.jit import njit


@njit
def add(values: NDArray[Any], i: int, count: int) -> None:
    """Add `count` to counter `i`, an int or an IntEnum member. Only the block's one writer may."""
    # SYNC counter: pairs with load_acquire in observe.counters(). A reader sees each count whole, and never one go back.
    store_release(values, i, values[i] + count)
