"""Depth: the levels within the subscribed depth, sorted, with the digits of their texts, and the checksum over them.

The venue sends no removal for levels that fall out of the depth, and its checksum is over the texts of the ten best. So a side is a
sorted run of levels, worst first, in `levels[instrument, side, FIRST..END]`: the best are changed most, and move least.

    KEY     price_ticks * side, ascending
    PRICE   digits of the price's text as one integer, at the side's wire decimals
    SIZE    digits of the size's text
    PART    what the checksum has to know of both texts, one after the other: their CRC-32 state, and above 32 bits their bytes

A level's part is made when the level is set, so that a checksum is twenty products (`hft/crc32.py`) and no text.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.crc32 import after_word, checksum_of_terms, reduced, term
from hft.units import as_int
from hft.venues.json_bytes import UNITS_MAX
from hft.venues.text import WORD_LIMIT, first_word, whole_word
from shm.jit import njit

# Columns of Depths.levels.
KEY, PRICE, SIZE, PART = range(4)
# Columns of Depths.ends.
FIRST, END = range(2)

#: Levels a side that the checksum covers.
CHECKSUM_LEVELS = 10

#: Room beyond the depth, for the levels of one message and for moving seldom.
ROOM = 4096

_BYTES_SHIFT, _STATE = 32, (1 << 32) - 1


class Depths(NamedTuple):
    """The levels of every instrument."""

    levels: NDArray[Any]  #: int64 [instrument, 0 bids | 1 asks, level, column]
    ends: NDArray[Any]  #: int64 [instrument, side, (FIRST, END)]
    depth_max: int


def new_depths(instruments: int, depth_max: int) -> Depths:
    """Empty sides of at most `depth_max` levels."""
    levels = np.zeros((instruments, 2, depth_max + ROOM, 4), np.int64)
    return Depths(levels, np.zeros((instruments, 2, 2), np.int64), depth_max)


@njit
def forget(depths: Depths, instrument: int) -> None:
    """Forget every level of an instrument."""
    for row in range(2):
        depths.ends[instrument, row, FIRST] = 0
        depths.ends[instrument, row, END] = 0


@njit
def count_levels(depths: Depths, instrument: int, row: int) -> int:
    """Number of levels of a side."""
    return depths.ends[instrument, row, END] - depths.ends[instrument, row, FIRST]


@njit
def put_level(depths: Depths, instrument: int, row: int, key: int, price: int, size: int) -> bool:
    """Set one level, or remove it if its size is 0; False, and nothing changed, if the side is full."""
    levels, ends = depths.levels[instrument, row], depths.ends[instrument, row]
    first, end = ends[FIRST], ends[END]
    at = _find(levels, first, end, key)
    present = at < end and levels[at, KEY] == key
    if size == 0:
        if present:
            for i in range(at, end - 1):
                _copy(levels, i + 1, i)
            ends[END] = end - 1
        return True
    if not present:
        if end == len(levels):
            if first == 0:
                return False
            for i in range(first, end):
                _copy(levels, i, i - first)
            ends[FIRST] = 0
            at, end = at - first, end - first
        for i in range(end, at, -1):
            _copy(levels, i - 1, i)
        ends[END] = end + 1
    levels[at, KEY] = key
    levels[at, PRICE] = price
    levels[at, SIZE] = size
    levels[at, PART] = _part_of(price, size)
    return True


@njit
def _part_of(price: int, size: int) -> int:
    """The PART of positive digits."""
    price_state, price_bytes = _state_of(price)
    size_state, size_bytes = _state_of(size)
    return ((price_bytes + size_bytes) << _BYTES_SHIFT) | (reduced(term(price_state, size_bytes)) ^ size_state)


@njit
def _state_of(digits: int) -> tuple[int, int]:
    """The CRC-32 state of a positive number's text, and its bytes."""
    digits = as_int(digits)
    upper = digits // WORD_LIMIT
    if upper == 0:
        word, count = first_word(digits)
        return after_word(0, word), count
    top = upper // WORD_LIMIT
    if top == 0:
        word, count = first_word(upper)
        state = after_word(0, word)
    else:
        word, count = first_word(top)
        state = after_word(after_word(0, word), whole_word(upper - top * WORD_LIMIT))
        count += 8
    return after_word(state, whole_word(digits - upper * WORD_LIMIT)), count + 8


@njit
def _find(levels: NDArray[Any], low: int, high: int, key: int) -> int:
    """The first place in `low..high` whose key is not below `key`; `high` if there is none."""
    while low < high:
        middle = (low + high) >> 1
        if levels[middle, KEY] < key:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def _copy(levels: NDArray[Any], source: int, target: int) -> None:
    levels[target, KEY] = levels[source, KEY]
    levels[target, PRICE] = levels[source, PRICE]
    levels[target, SIZE] = levels[source, SIZE]
    levels[target, PART] = levels[source, PART]


@njit
def drop_worst(depths: Depths, instrument: int, row: int) -> int:
    """Remove the worst level of a side that has more than the depth, and return its key; 0 if it has not."""
    ends = depths.ends[instrument, row]
    if ends[END] - ends[FIRST] <= depths.depth_max:
        return 0
    key = depths.levels[instrument, row, ends[FIRST], KEY]
    ends[FIRST] += 1
    return key


@njit
def widen(depths: Depths, instrument: int, column: int, places: int) -> bool:
    """Append `places` zeros to the digits in PRICE or SIZE of every level; False if one becomes 2**62 or more."""
    for row in range(2):
        for i in range(depths.ends[instrument, row, FIRST], depths.ends[instrument, row, END]):
            level = depths.levels[instrument, row, i]
            for _ in range(places):
                if level[column] >= UNITS_MAX // 10:
                    return False
                level[column] *= 10
            level[PART] = _part_of(level[PRICE], level[SIZE])
    return True


@njit
def checksum(depths: Depths, instrument: int) -> int:
    """The CRC-32 of the texts of the ten best asks, then of the ten best bids, each without point and leading zeros."""
    terms = as_int(0)
    behind = as_int(0)
    # From the last text to the first: the tenth bid to the best, then the asks.
    for row in range(2):
        end = depths.ends[instrument, row, END]
        for i in range(max(depths.ends[instrument, row, FIRST], end - CHECKSUM_LEVELS), end):
            part = as_int(depths.levels[instrument, row, i, PART])
            terms ^= term(part & _STATE, behind)
            behind += part >> _BYTES_SHIFT
    return checksum_of_terms(terms, behind)
