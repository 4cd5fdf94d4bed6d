"""Binance SBE feed: market data in binary frames, over the books that `sync` keeps in step.

Control messages and the REST snapshot are JSON here too. `bestBidAsk` drops what newer prices made obsolete, so that its prices
are compared with the book only at the very same update id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.book import Books, new_books
from hft.counters import FeedCounter
from hft.records import MarketFlag
from hft.venues.binance.sbe_scan import SbeScanner, new_sbe_scanner, scan_sbe
from hft.venues.binance.scan import DEPTH, QUOTE_FRAME, TRADE_FRAME, scan
from hft.venues.binance.snapshot import on_snapshot
from hft.venues.binance.sync import (
    MALFORMED_BOOK,
    QUOTES_CULLED,
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
from hft.websocket import Opcode
from shm.counters import add
from shm.jit import njit

__all__ = ["BinanceSbeFeed", "new_sbe_feed", "on_disconnect", "on_frame", "on_snapshot", "on_timer", "overlap_until"]

_SHUTDOWN_FRAME, _BINARY, _LAST = int(FrameKind.SHUTDOWN), int(Opcode.BINARY), int(MarketFlag.LAST)
_INSTRUMENT, _FIRST_ID, _LAST_FOUND = int(Found.INSTRUMENT), int(Found.FIRST_ID), int(Found.LAST_ID)
_EXCHANGE_NS, _RECORDS = int(Found.EXCHANGE_NS), int(Found.RECORDS)


class BinanceSbeFeed(NamedTuple):
    """Decoders, books and synchronisation of one feed; rows are of the whole instrument table."""

    scanner: Scanner  #: JSON: snapshots, control messages
    sbe: SbeScanner
    books: Books
    state: NDArray[Any]  #: int64 [instrument, column]
    buffer_heads: NDArray[Any]  #: int64 [instrument, diff, (U, u, first level, levels)]
    buffer_levels: NDArray[Any]  #: int64 [instrument, level, (side * price, lots)]
    quotes: NDArray[Any]  #: int64 [instrument, QUOTES, (id, bid, bid lots, ask, ask lots)]
    rows: NDArray[Any]  #: int64: this venue's instruments
    words: NDArray[Any]  #: int64, see the cells of `book_feed` and `sync`
    counters: NDArray[Any]  #: int64 by FeedCounter


def new_sbe_feed(
    instruments: NDArray[Any], symbols: Sequence[str], rows: Sequence[int], levels_max: int, silence_ns: int, counters: NDArray[Any]
) -> BinanceSbeFeed:
    """A feed with every book invalid. `symbols` are on the wire, `rows` their rows in `instruments`."""
    arrays = new_arrays(len(instruments), silence_ns)
    arrays.words[QUOTES_CULLED] = 1
    return BinanceSbeFeed(
        scanner=new_scanner(instruments, symbols, rows),
        sbe=new_sbe_scanner(instruments, symbols, rows),
        books=new_books(len(instruments), levels_max),
        rows=np.array(rows, np.int64),
        counters=counters,
        **arrays._asdict(),
    )


@njit
def on_frame(feed: BinanceSbeFeed, data: NDArray[Any], start: int, end: int, opcode: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take one frame; `out` holds the levels of any diff and one record more."""
    if opcode != _BINARY:
        return _on_control(feed, data, start, end, received_ns, out)
    kind = scan_sbe(feed.sbe, data, start, end, received_ns, out)
    found = feed.sbe.found
    instrument = found[_INSTRUMENT]
    if kind == DEPTH:
        return on_diff(feed, instrument, found[_FIRST_ID], found[_LAST_FOUND], found[_EXCHANGE_NS], received_ns, out, found[_RECORDS])
    if kind == QUOTE_FRAME:
        return take_quote(feed, instrument, out)
    if kind == TRADE_FRAME:
        return _on_trades(feed, instrument, out, found[_RECORDS])
    if kind < 0:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        return invalidate_book(feed, instrument, MALFORMED_BOOK, received_ns, out) if instrument >= 0 else 0
    add(feed.counters, FeedCounter.IGNORED, 1)
    return 0


@njit
def _on_control(feed: BinanceSbeFeed, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take a text frame: replies, and the announcement of a shutdown. Market data in text was not subscribed."""
    kind = scan(feed.scanner, data, start, end, received_ns, out)
    if kind == _SHUTDOWN_FRAME:
        feed.words[SHUTDOWN] = 1
    add(feed.counters, FeedCounter.MALFORMED if kind < 0 else FeedCounter.IGNORED, 1)
    return 0


@njit
def _on_trades(feed: BinanceSbeFeed, instrument: int, out: NDArray[Any], count: int) -> int:
    """Keep the trades of a frame that were not told before, in order."""
    kept = 0
    for n in range(count):
        if is_new_trade(feed, instrument, out[n]["venue_id"]):
            out[kept] = out[n]
            out[kept]["flags"] &= ~_LAST
            kept += 1
    if kept > 0:
        out[kept - 1]["flags"] |= _LAST
    return kept
