"""Coinbase resting orders: every order on the book of an instrument, by the 128 bits of its UUID.

An open-addressed table a row: linear probing, half of its places free, and a removal moves later entries up, so that no search
ever meets a grave. A free place has lots 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shm.jit import njit

# Columns of a place.
HIGH, LOW, KEY, LOTS = range(4)


def new_resting(instruments: int, orders_max: int) -> NDArray[np.int64]:
    """int64 [instrument, place, (UUID high, UUID low, price_ticks * side, lots)] for `orders_max` orders of each."""
    if orders_max < 1:
        raise ValueError(f"orders_max must be positive, was {orders_max}")
    return np.zeros((instruments, 1 << (2 * orders_max - 1).bit_length(), 4), np.int64)


@njit
def _home(table: NDArray[Any], high: int, low: int) -> int:
    mixed = high ^ low ^ (high >> 31) ^ (low >> 17)
    return mixed & (len(table) - 1)


@njit
def find_order(table: NDArray[Any], high: int, low: int) -> int:
    """Place of the order, or -1; `table` is one instrument's."""
    mask = len(table) - 1
    place = _home(table, high, low)
    while table[place, LOTS] != 0:
        if table[place, LOW] == low and table[place, HIGH] == high:
            return place
        place = (place + 1) & mask
    return -1


@njit
def add_order(table: NDArray[Any], high: int, low: int, key: int, lots: int) -> None:
    """Enter an order that is not there; `lots` is positive, and the caller keeps half of the places free."""
    mask = len(table) - 1
    place = _home(table, high, low)
    while table[place, LOTS] != 0:
        place = (place + 1) & mask
    table[place, HIGH] = high
    table[place, LOW] = low
    table[place, KEY] = key
    table[place, LOTS] = lots


@njit
def remove_order(table: NDArray[Any], place: int) -> None:
    """Remove the order at a place."""
    mask = len(table) - 1
    hole = place
    table[hole, LOTS] = 0
    place = (place + 1) & mask
    while table[place, LOTS] != 0:
        home = _home(table, table[place, HIGH], table[place, LOW])
        # It may move to the hole unless its home lies between the hole and where it is.
        if ((place - home) & mask) >= ((place - hole) & mask):
            for column in range(4):
                table[hole, column] = table[place, column]
            table[place, LOTS] = 0
            hole = place
        place = (place + 1) & mask
