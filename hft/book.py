"""The book keeps one instrument's price levels and answers by side and price; `hft.ladder` stores them.

Books of many instruments are the same arrays with one more axis (`new_books`, `book_at`). Codes are 0 or an InvalidReason.
Queries may move what is stored about, so a book has one user.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.ladder import (
    BASE,
    BOOK_FULL,
    FAR,
    HINT,
    NEAR,
    NEAR_TICKS,
    Book,
    Books,
    best_key,
    book_at,
    far_is_sound,
    lots_at,
    lowest_key,
    near_below,
    new_book,
    new_books,
    next_key,
    set_far,
    set_near,
    set_slowly,
)
from hft.records import InvalidReason, MarketFlag, Side
from shm.jit import njit

__all__ = [
    "BOOK_FULL",
    "CROSSED",
    "MALFORMED",
    "NEAR_TICKS",
    "VALUE_LIMIT",
    "Book",
    "Books",
    "apply_levels",
    "best_lots",
    "best_ticks",
    "book_at",
    "check",
    "clear",
    "crossed",
    "deepest_ticks",
    "depth",
    "level_count",
    "level_lots",
    "new_book",
    "new_books",
    "set_level",
    "state_hash",
    "worse_ticks",
]

CROSSED = int(InvalidReason.CROSSED)
MALFORMED = int(InvalidReason.MALFORMED)
BUY, SELL = int(Side.BUY), int(Side.SELL)
BID_FLAG = int(MarketFlag.BID)

#: Prices and sizes are below this, so that their sums and negatives fit an int64.
VALUE_LIMIT = 1 << 62


@njit
def clear(book: Book) -> None:
    """Forget every level."""
    for row in range(2):
        index = near_below(book, row, book.state[row, HINT] + 1)
        while index >= 0:
            set_near(book, row, index, 0)
            index = near_below(book, row, index)
        book.state[row, FAR] = 0


@njit
def set_level(book: Book, side: int, price_ticks: int, qty_lots: int) -> int:
    """Set a level's absolute size; 0 lots removes it, and removing what is not there is no error.

    Returns 0, MALFORMED (price not positive, size negative, either 2**62 or more) or BOOK_FULL; then nothing changed.
    """
    if price_ticks <= 0 or qty_lots < 0 or price_ticks >= VALUE_LIMIT or qty_lots >= VALUE_LIMIT:
        return MALFORMED
    row = (1 - side) >> 1
    key = price_ticks * side
    state = book.state
    index = key - state[row, BASE]
    outside = index < 0 or index >= book.near_lots.shape[1]
    full = state[row, NEAR] + state[row, FAR] >= book.far_keys.shape[1]
    if outside or full:
        return set_slowly(book, row, key, qty_lots)
    set_near(book, row, index, qty_lots)
    return 0


@njit
def apply_levels(book: Book, records: NDArray[Any], first: int, count: int) -> int:
    """Set the levels of `count` LEVEL records from `first` on. Returns 0, or the code of the first that was refused."""
    last = first + count
    i = first
    while i < last:
        i = _set_run(book, records, i, last)
        if i < last:
            side = BUY if records[i]["flags"] & BID_FLAG else SELL
            code = set_level(book, side, records[i]["price_ticks"], records[i]["qty_lots"])
            if code != 0:
                return code
            i += 1
    return 0


@njit
def _set_run(book: Book, records: NDArray[Any], i: int, last: int) -> int:
    """Set levels of one side from record `i` on, while they are good and the window can stay; the first that was not set, or `last`."""
    state, bid = book.state, records[i]["flags"] & BID_FLAG
    row = 0 if bid else 1
    side = 1 - 2 * row
    base, near, hint = state[row, BASE], state[row, NEAR], state[row, HINT]
    if near + state[row, FAR] + last - i > book.far_keys.shape[1]:
        return i
    stays = near > 0 and hint >= book.near_lots.shape[1] // 4
    near_lots, near_words, near_sums = book.near_lots[row], book.near_words[row], book.near_sums[row]
    while i < last and records[i]["flags"] & BID_FLAG == bid:
        price_ticks, qty_lots = records[i]["price_ticks"], records[i]["qty_lots"]
        if price_ticks <= 0 or qty_lots < 0 or price_ticks >= VALUE_LIMIT or qty_lots >= VALUE_LIMIT:
            break
        index = price_ticks * side - base
        if index >= len(near_lots):
            break
        if index < 0:
            if not stays:
                break
            set_far(book, row, price_ticks * side, qty_lots)
            i += 1
            continue
        present = 1 if qty_lots > 0 else 0
        near += present - (1 if near_lots[index] > 0 else 0)
        near_lots[index] = qty_lots
        word = index >> 5
        bits = (near_words[word] & ~(1 << (index & 31))) | (present << (index & 31))
        near_words[word] = bits
        any_bits = 1 if bits != 0 else 0
        near_sums[word >> 5] = (near_sums[word >> 5] & ~(1 << (word & 31))) | (any_bits << (word & 31))
        hint = max(hint, index * present)
        i += 1
    state[row, NEAR] = near
    state[row, HINT] = hint
    return i


@njit
def level_count(book: Book, side: int) -> int:
    """Number of levels on one side."""
    row = (1 - side) >> 1
    return book.state[row, NEAR] + book.state[row, FAR]


@njit
def best_ticks(book: Book, side: int) -> int:
    """Best price of one side; 0 if it is empty."""
    return best_key(book, (1 - side) >> 1) * side


@njit
def best_lots(book: Book, side: int) -> int:
    """Size at the best price of one side; 0 if it is empty."""
    row = (1 - side) >> 1
    key = best_key(book, row)
    return lots_at(book, row, key) if key != 0 else 0


@njit
def level_lots(book: Book, side: int, price_ticks: int) -> int:
    """Size at one price; 0 if there is no such level."""
    return lots_at(book, (1 - side) >> 1, price_ticks * side)


@njit
def worse_ticks(book: Book, side: int, price_ticks: int) -> int:
    """Price of the best level that is worse than `price_ticks`; 0 if there is none. Steps through a side from its best."""
    return next_key(book, (1 - side) >> 1, price_ticks * side) * side


@njit
def deepest_ticks(book: Book, side: int) -> int:
    """Worst price of one side; 0 if it is empty."""
    return lowest_key(book, (1 - side) >> 1) * side


@njit
def depth(book: Book, side: int, k: int, prices_out: NDArray[Any], lots_out: NDArray[Any]) -> int:
    """Copy the best `k` levels of one side, best first; return how many there were."""
    row = (1 - side) >> 1
    key = best_key(book, row)
    n = 0
    while key != 0 and n < k:
        prices_out[n] = key * side
        lots_out[n] = lots_at(book, row, key)
        n += 1
        key = next_key(book, row, key)
    return n


@njit
def crossed(book: Book) -> bool:
    """Whether the best bid is at or above the best ask."""
    bid, ask = best_key(book, 0), -best_key(book, 1)
    return bid > 0 and ask > 0 and bid >= ask


@njit
def check(book: Book) -> int:
    """Check every level: 0, CROSSED, or MALFORMED if a side is unordered, miscounted or holds what is not positive."""
    for row in range(2):
        if not 0 <= book.state[row, HINT] < book.near_lots.shape[1] or not 0 <= book.state[row, FAR] <= book.far_keys.shape[1]:
            return MALFORMED
        near = 0
        for index in range(book.near_lots.shape[1]):
            present = 1 if book.near_lots[row, index] > 0 else 0
            word = book.near_words[row, index >> 5]
            in_sum = (book.near_sums[row, index >> 10] >> ((index >> 5) & 31)) & 1
            if book.near_lots[row, index] < 0 or (word >> (index & 31)) & 1 != present or in_sum != (1 if word != 0 else 0):
                return MALFORMED
            if present and (index > book.state[row, HINT] or (book.state[row, BASE] + index) * (1 - 2 * row) <= 0):
                return MALFORMED
            near += present
        if near != book.state[row, NEAR] or not far_is_sound(book, row):
            return MALFORMED
    return CROSSED if crossed(book) else 0


@njit
def _mix(state: int, value: int) -> int:
    """Stir a 62-bit value into a 31-bit state; the products stay below 2**62."""
    low = value & 0x7FFFFFFF
    high = (value >> 31) & 0x7FFFFFFF
    state = ((state ^ low) * 0x2545F491) & 0x7FFFFFFF
    state ^= state >> 15
    state = ((state ^ high) * 0x1B873593) & 0x7FFFFFFF
    return state ^ (state >> 13)


@njit
def state_hash(book: Book) -> int:
    """A hash of every level, equal for equal books whatever updates made them; positive, costs a pass over the book."""
    first = level_count(book, BUY)
    second = level_count(book, SELL)
    for row in range(2):
        key = best_key(book, row)
        while key != 0:
            qty_lots = lots_at(book, row, key)
            first = _mix(_mix(first, abs(key)), qty_lots)
            second = _mix(_mix(second, qty_lots), abs(key))
            key = next_key(book, row, key)
    return (first << 31) | second
