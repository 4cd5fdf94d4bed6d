"""Ladder: stores a book's price levels, by key: the near ones by price, the rest sorted.

Each side is a row, 0 bids and 1 asks, and a level's key is `price_ticks * side`: the greater key is the better price on both
sides. Near levels lie in a window of keys, `base` up to `base + near_ticks`, one entry of `near_lots` each:

    near_lots[row, i]           size at key base + i, 0 if there is no level
    near_words[row, i / 32]     bit i % 32: near_lots[row, i] > 0
    near_sums[row, i / 1024]    bit i / 32 % 32: that word is not 0

So an update of a near level is a store and a few bit operations without a branch that a processor could guess wrong; the
best is found from above by the bits, when somebody asks. Levels below the window are two sorted arrays, `far_keys` and
`far_lots`. No level is ever above the window: it moves to a better price, and when most of it has become empty.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from hft.records import InvalidReason
from shm.inlining import InnerCompiler
from shm.jit import njit

BOOK_FULL = int(InvalidReason.BOOK_FULL)

#: Default width of the window; a multiple of 1024. BTCUSDT keeps nine tenths of its updates within it.
NEAR_TICKS = 1 << 16

# Columns of Book.state.
BASE = 0  # key of near_lots[row, 0]
HINT = 1  # no near level has a greater index than this
NEAR = 2  # number of near levels
FAR = 3  # number of far levels


class Book(NamedTuple):
    """One instrument's levels; every array is int64 and has the side's row as first axis."""

    near_lots: NDArray[Any]  #: [2, near_ticks]
    near_words: NDArray[Any]  #: [2, near_ticks / 32]
    near_sums: NDArray[Any]  #: [2, near_ticks / 1024]
    far_keys: NDArray[Any]  #: [2, levels_max], ascending
    far_lots: NDArray[Any]  #: [2, levels_max]
    state: NDArray[Any]  #: [2, 4]: BASE, HINT, NEAR, FAR


class Books(NamedTuple):
    """The books of a table of instruments: the arrays of `Book` with the instrument as first axis."""

    near_lots: NDArray[Any]
    near_words: NDArray[Any]
    near_sums: NDArray[Any]
    far_keys: NDArray[Any]
    far_lots: NDArray[Any]
    state: NDArray[Any]


def new_book(levels_max: int, near_ticks: int = NEAR_TICKS) -> Book:
    """An empty book with room for `levels_max` levels a side."""
    return Book(*(array[0] for array in new_books(1, levels_max, near_ticks)))


def new_books(instruments: int, levels_max: int, near_ticks: int = NEAR_TICKS) -> Books:
    """Empty books for `instruments` instruments, each with room for `levels_max` levels a side.

    Raises ValueError unless `near_ticks` is a positive multiple of 1024 and `levels_max` positive.
    """
    if near_ticks <= 0 or near_ticks % 1024 or levels_max <= 0:
        raise ValueError(f"near_ticks must be a positive multiple of 1024, was {near_ticks}; levels_max positive, was {levels_max}")
    widths = (near_ticks, near_ticks // 32, near_ticks // 1024, levels_max, levels_max, 4)
    return Books(*(np.zeros((instruments, 2, width), np.int64) for width in widths))


def book_at(books: Books, instrument: int) -> Book:
    """The book of one instrument: a view, not a copy."""
    return Book(*(array[instrument] for array in books))


@overload(book_at, jit_options={"pipeline_class": InnerCompiler})
def _book_at_compiled(books: Any, instrument: Any) -> Any:
    def body(books: Any, instrument: Any) -> Any:
        return Book(
            books.near_lots[instrument],
            books.near_words[instrument],
            books.near_sums[instrument],
            books.far_keys[instrument],
            books.far_lots[instrument],
            books.state[instrument],
        )

    return body


@njit
def set_near(book: Book, row: int, index: int, qty_lots: int) -> None:
    """Set the size of the near level at `index`; 0 removes it."""
    before = book.near_lots[row, index]
    book.near_lots[row, index] = qty_lots
    present = 1 if qty_lots > 0 else 0
    word = index >> 5
    bit = index & 31
    bits = (book.near_words[row, word] & ~(1 << bit)) | (present << bit)
    book.near_words[row, word] = bits
    bit = word & 31
    any_bits = 1 if bits != 0 else 0
    book.near_sums[row, word >> 5] = (book.near_sums[row, word >> 5] & ~(1 << bit)) | (any_bits << bit)
    book.state[row, NEAR] += present - (1 if before > 0 else 0)
    book.state[row, HINT] = max(book.state[row, HINT], index * present)


@njit
def set_slowly(book: Book, row: int, key: int, qty_lots: int) -> int:
    """Set a level that is outside the window, or in a full book."""
    state = book.state
    near_ticks = book.near_lots.shape[1]
    far = state[row, FAR]
    if qty_lots > 0 and state[row, NEAR] + far >= book.far_keys.shape[1] and lots_at(book, row, key) == 0:
        return BOOK_FULL
    if qty_lots > 0 and (key >= state[row, BASE] + near_ticks or state[row, NEAR] == 0):
        _move_window(book, row, max(key, book.far_keys[row, far - 1] if far > 0 else key))
    elif qty_lots > 0 and state[row, HINT] < near_ticks // 4:
        _move_window(book, row, state[row, BASE] + state[row, HINT])
    index = key - state[row, BASE]
    if index < 0:
        set_far(book, row, key, qty_lots)
    elif index < near_ticks:
        set_near(book, row, index, qty_lots)
    return 0


@njit
def _move_window(book: Book, row: int, best: int) -> None:
    """Move the window so that the key `best`, which no level exceeds, has seven eighths of it below."""
    state = book.state
    near_ticks = book.near_lots.shape[1]
    # All near levels are better than all far ones: appended from the end, best first, they leave one sorted list.
    total = state[row, NEAR] + state[row, FAR]
    at = total - 1
    index = near_below(book, row, state[row, HINT] + 1)
    while index >= 0:
        book.far_keys[row, at] = state[row, BASE] + index
        book.far_lots[row, at] = book.near_lots[row, index]
        set_near(book, row, index, 0)
        index = near_below(book, row, index)
        at -= 1
    state[row, BASE] = best - near_ticks // 8 * 7
    state[row, HINT] = 0
    at = total - 1
    while at >= 0 and book.far_keys[row, at] >= state[row, BASE]:
        set_near(book, row, book.far_keys[row, at] - state[row, BASE], book.far_lots[row, at])
        at -= 1
    state[row, FAR] = at + 1


@njit
def set_far(book: Book, row: int, key: int, qty_lots: int) -> None:
    keys, lots = book.far_keys[row], book.far_lots[row]
    count = book.state[row, FAR]
    at = _find(keys, count, key)
    if at < count and keys[at] == key:
        if qty_lots > 0:
            lots[at] = qty_lots
            return
        _close(keys[at:count])
        _close(lots[at:count])
        book.state[row, FAR] = count - 1
    elif qty_lots > 0:
        _open(keys[at : count + 1])
        _open(lots[at : count + 1])
        keys[at] = key
        lots[at] = qty_lots
        book.state[row, FAR] = count + 1


@njit
def _find(keys: NDArray[Any], count: int, key: int) -> int:
    """Number of far keys below `key`: its position if present, else where it belongs."""
    low = 0
    high = count
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@njit
def _close(values: NDArray[Any]) -> None:
    """Move all but the first one down: the compiler sees offsets from 0 and makes it a block move."""
    for i in range(len(values) - 1):
        values[i] = values[i + 1]


@njit
def _open(values: NDArray[Any]) -> None:
    """Move all but the last one up."""
    for i in range(len(values) - 1, 0, -1):
        values[i] = values[i - 1]


@njit
def _top_bit(bits: int) -> int:
    """Number of the highest bit set, of 32; `bits` is not 0."""
    number = 0
    for step in (16, 8, 4, 2, 1):
        shift = step if bits >> step != 0 else 0
        bits >>= shift
        number += shift
    return number


@njit
def _low_bit(bits: int) -> int:
    """Number of the lowest bit set, of 32; `bits` is not 0."""
    return _top_bit(bits & -bits)


@njit
def near_below(book: Book, row: int, index: int) -> int:
    """Greatest index under `index` with a near level, or -1; `index` is at most the window's width."""
    word = (index - 1) >> 5
    if index <= 0:
        return -1
    bits = book.near_words[row, word] & ((2 << ((index - 1) & 31)) - 1)
    if bits != 0:
        return (word << 5) + _top_bit(bits)
    block = word >> 5
    bits = book.near_sums[row, block] & ((1 << (word & 31)) - 1)
    while bits == 0:
        block -= 1
        if block < 0:
            return -1
        bits = book.near_sums[row, block]
    word = (block << 5) + _top_bit(bits)
    return (word << 5) + _top_bit(book.near_words[row, word])


@njit
def lots_at(book: Book, row: int, key: int) -> int:
    """Size at a key; 0 if there is no level."""
    index = key - book.state[row, BASE]
    if 0 <= index < book.near_lots.shape[1]:
        return book.near_lots[row, index]
    count = book.state[row, FAR]
    at = _find(book.far_keys[row], count, key)
    return book.far_lots[row, at] if at < count and book.far_keys[row, at] == key else 0


@njit
def best_key(book: Book, row: int) -> int:
    """Greatest key of a side, or 0."""
    state = book.state
    if state[row, NEAR] == 0:
        if state[row, FAR] == 0:
            return 0
        _move_window(book, row, book.far_keys[row, state[row, FAR] - 1])
    if book.near_lots[row, state[row, HINT]] == 0:
        state[row, HINT] = near_below(book, row, state[row, HINT])
    return state[row, BASE] + state[row, HINT]


@njit
def next_key(book: Book, row: int, key: int) -> int:
    """Greatest key below `key`, or 0."""
    index = near_below(book, row, min(key - book.state[row, BASE], book.near_lots.shape[1]))
    if index >= 0:
        return book.state[row, BASE] + index
    at = _find(book.far_keys[row], book.state[row, FAR], key)
    return book.far_keys[row, at - 1] if at > 0 else 0


@njit
def lowest_key(book: Book, row: int) -> int:
    """Least key of a side, or 0."""
    if book.state[row, FAR] > 0:
        return book.far_keys[row, 0]
    if book.state[row, NEAR] == 0:
        return 0
    block = 0
    while book.near_sums[row, block] == 0:
        block += 1
    word = (block << 5) + _low_bit(book.near_sums[row, block])
    return book.state[row, BASE] + (word << 5) + _low_bit(book.near_words[row, word])


@njit
def far_is_sound(book: Book, row: int) -> bool:
    """Whether the far levels are in order, positive and below the window."""
    for i in range(book.state[row, FAR]):
        key = book.far_keys[row, i]
        ordered = i == 0 or book.far_keys[row, i - 1] < key
        if not ordered or key >= book.state[row, BASE] or key * (1 - 2 * row) <= 0 or book.far_lots[row, i] <= 0:
            return False
    return True
