"""Coinbase levels: a book of bounded depth under a venue that sends every level it has.

The venue's book has tens of thousands of levels a side, ours `levels_max`. A side is whole from its best price down to its bound:
when a level has no room, the worst level goes and the bound moves up to just above it; what the venue says of prices below the bound
is not kept. So near the touch the book is always the venue's. A bound never moves down again before the next whole book, so a side
whose levels above the bound were taken away grows thin; a thin side asks for a new whole book.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.book import Book, deepest_ticks, level_count, level_lots, set_level
from hft.records import MarketFlag, MarketKind
from hft.venues.fields import write_record
from shm.jit import njit

#: The bound of a side that has all of the venue's levels.
WHOLE = -(1 << 62)

#: A side with less than one of this many of its levels left, and a bound, is thin.
THIN_PARTS = 8

_LEVEL, _BID = int(MarketKind.LEVEL), int(MarketFlag.BID)
_SKIPPED = -1


@njit
def forget_bounds(bounds: NDArray[Any]) -> None:
    """Both sides have all of the venue's levels, until one has no room; `bounds` is int64[2], least keys that are kept."""
    bounds[0] = WHOLE
    bounds[1] = WHOLE


@njit
def put_level(book: Book, bounds: NDArray[Any], side: int, price_ticks: int, qty_lots: int) -> int:
    """Set a level: price of the level that went for it, 0 if none did, or -1 if this one is not kept."""
    row = (1 - side) >> 1
    key = price_ticks * side
    if key < bounds[row]:
        return _SKIPPED
    dropped = 0
    if qty_lots > 0 and level_count(book, side) >= book.far_keys.shape[1] and level_lots(book, side, price_ticks) == 0:
        dropped = deepest_ticks(book, side)
        if key < dropped * side:
            bounds[row] = key + 1
            return _SKIPPED
        set_level(book, side, dropped, 0)
        bounds[row] = dropped * side + 1
    set_level(book, side, price_ticks, qty_lots)
    return dropped


@njit
def publish_level(
    book: Book,
    bounds: NDArray[Any],
    side: int,
    price_ticks: int,
    qty_lots: int,
    instrument: int,
    received_ns: int,
    exchange_ns: int,
    update_id: int,
    out: NDArray[Any],
    n: int,
) -> int:
    """Set a level and write its LEVEL record, after that of the level that went for it; the number of records then in `out`."""
    dropped = put_level(book, bounds, side, price_ticks, qty_lots)
    if dropped < 0:
        return n
    flags = _BID if side > 0 else 0
    if dropped > 0:
        write_record(out, n, _LEVEL, flags, instrument, received_ns, exchange_ns, update_id, dropped, 0)
        n += 1
    write_record(out, n, _LEVEL, flags, instrument, received_ns, exchange_ns, update_id, price_ticks, qty_lots)
    return n + 1


@njit
def is_thin(book: Book, bounds: NDArray[Any]) -> bool:
    """Whether so little is left of a bounded side that a new whole book is wanted."""
    least = book.far_keys.shape[1] // THIN_PARTS
    bids_thin = bounds[0] != WHOLE and level_count(book, 1) < least
    return bids_thin or (bounds[1] != WHOLE and level_count(book, -1) < least)
