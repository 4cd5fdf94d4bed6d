"""Binance feed: market data in JSON, over the books that `sync` keeps in step.

Each function writes MARKET records to `out` and returns how many; the last of each event is flagged LAST.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.book import Books, new_books
from hft.counters import FeedCounter
from hft.venues.binance.scan import DEPTH, QUOTE_FRAME, TRADE_FRAME, scan
from hft.venues.binance.snapshot import on_snapshot
from hft.venues.binance.sync import (
    BUFFER_DIFFS,
    BUFFER_LEVELS,
    BUFFERED,
    BUFFERED_LEVELS,
    MALFORMED_BOOK,
    QUOTE_HEAD,
    QUOTE_NEXT,
    QUOTES,
    invalidate_book,
    is_new_trade,
    new_arrays,
    on_diff,
    on_disconnect,
    on_timer,
    overlap_until,
    take_quote,
)
from hft.venues.binance.tables import Found, FrameKind, Scanner, new_scanner
from hft.venues.book_feed import SHUTDOWN
from shm.counters import add
from shm.jit import njit

__all__ = [
    "BUFFERED",
    "BUFFERED_LEVELS",
    "BUFFER_DIFFS",
    "BUFFER_LEVELS",
    "QUOTES",
    "QUOTE_HEAD",
    "QUOTE_NEXT",
    "BinanceFeed",
    "new_feed",
    "on_disconnect",
    "on_frame",
    "on_snapshot",
    "on_timer",
    "overlap_until",
]

_SHUTDOWN_FRAME = int(FrameKind.SHUTDOWN)
_INSTRUMENT, _FIRST_ID, _LAST_FOUND = int(Found.INSTRUMENT), int(Found.FIRST_ID), int(Found.LAST_ID)
_EXCHANGE_NS, _RECORDS = int(Found.EXCHANGE_NS), int(Found.RECORDS)


class BinanceFeed(NamedTuple):
    """Decoder, books and synchronisation of one feed; rows are of the whole instrument table."""

    scanner: Scanner
    books: Books
    state: NDArray[Any]  #: int64 [instrument, column]
    buffer_heads: NDArray[Any]  #: int64 [instrument, diff, (U, u, first level, levels)]
    buffer_levels: NDArray[Any]  #: int64 [instrument, level, (side * price, lots)]
    quotes: NDArray[Any]  #: int64 [instrument, QUOTES, (id, bid, bid lots, ask, ask lots)]
    rows: NDArray[Any]  #: int64: this venue's instruments
    words: NDArray[Any]  #: int64, see the cells of `book_feed` and `sync`
    counters: NDArray[Any]  #: int64 by FeedCounter


def new_feed(
    instruments: NDArray[Any], symbols: Sequence[str], rows: Sequence[int], levels_max: int, silence_ns: int, counters: NDArray[Any]
) -> BinanceFeed:
    """A feed with every book invalid. `symbols` are on the wire, `rows` their rows in `instruments`."""
    arrays = new_arrays(len(instruments), silence_ns)
    return BinanceFeed(
        scanner=new_scanner(instruments, symbols, rows),
        books=new_books(len(instruments), levels_max),
        rows=np.array(rows, np.int64),
        counters=counters,
        **arrays._asdict(),
    )


@njit
def on_frame(feed: BinanceFeed, data: NDArray[Any], start: int, end: int, opcode: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take one frame's text; `out` holds the levels of any diff and one record more."""
    kind = scan(feed.scanner, data, start, end, received_ns, out)
    found = feed.scanner.found
    instrument = found[_INSTRUMENT]
    if kind == DEPTH:
        if found[_LAST_FOUND] < found[_FIRST_ID]:
            return invalidate_book(feed, instrument, MALFORMED_BOOK, received_ns, out)
        return on_diff(feed, instrument, found[_FIRST_ID], found[_LAST_FOUND], found[_EXCHANGE_NS], received_ns, out, found[_RECORDS])
    if kind == QUOTE_FRAME:
        return take_quote(feed, instrument, out)
    if kind == TRADE_FRAME:
        return 1 if is_new_trade(feed, instrument, found[_LAST_FOUND]) else 0
    if kind < 0:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        return invalidate_book(feed, instrument, MALFORMED_BOOK, received_ns, out) if instrument >= 0 else 0
    if kind == _SHUTDOWN_FRAME:
        feed.words[SHUTDOWN] = 1
    add(feed.counters, FeedCounter.IGNORED, 1)
    return 0
