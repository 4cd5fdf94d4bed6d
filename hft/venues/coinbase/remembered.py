"""Coinbase remembered: which of the venue's UUIDs are orders of ours, and how big those are.

Buckets of four places. A new order takes a free place, or that of one that has ended, or the oldest one's: thousands of orders live
before one that still lives is forgotten.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shm.jit import njit

# Columns of a place.
HIGH, LOW, ORDER_ID, LOTS = range(4)

#: Lots of an order whose size is not known, and of one that has ended.
UNKNOWN_LOTS, ENDED = -1, -2

_WAYS = 4
_BUCKETS = 2048


def new_remembered() -> NDArray[np.int64]:
    """int64 [place, (UUID high, UUID low, our order id or 0, lots)]."""
    return np.zeros((_BUCKETS * _WAYS, 4), np.int64)


@njit
def place_of(table: NDArray[Any], high: int, low: int) -> int:
    """Place of a remembered order, or -1."""
    first = ((low ^ high) & (_BUCKETS - 1)) * _WAYS
    for place in range(first, first + _WAYS):
        if table[place, ORDER_ID] != 0 and table[place, HIGH] == high and table[place, LOW] == low:
            return place
    return -1


@njit
def order_of(table: NDArray[Any], high: int, low: int) -> int:
    """Our id of an order by its UUID; 0 if it is not ours, or no longer remembered."""
    place = place_of(table, high, low)
    return int(table[place, ORDER_ID]) if place >= 0 else 0


@njit
def remember(table: NDArray[Any], high: int, low: int, order_id: int, lots: int) -> None:
    """Remember an order of ours; `lots` may be UNKNOWN_LOTS."""
    place = place_of(table, high, low)
    if place < 0:
        first = ((low ^ high) & (_BUCKETS - 1)) * _WAYS
        place = first
        for other in range(first + 1, first + _WAYS):
            if _rank(table, other) < _rank(table, place):
                place = other
    table[place, HIGH] = high
    table[place, LOW] = low
    table[place, ORDER_ID] = order_id
    table[place, LOTS] = lots


@njit
def _rank(table: NDArray[Any], place: int) -> int:
    """What is least worth keeping comes first: free places, ended orders, then the oldest."""
    order_id = int(table[place, ORDER_ID])
    return order_id - (1 << 62) if table[place, LOTS] == ENDED and order_id > 0 else (order_id if order_id > 0 else -(1 << 62))
