"""Binance feed: keeps each instrument's book in step with the venue by its own rule, and says when it is not.

An instrument is UNSYNCED (diffs are buffered until a REST snapshot comes) or SYNCED. The rule:

1. buffer diffs; when there is one, a snapshot is wanted (`WANTS_SYNC`);
2. a snapshot older than the first buffered diff is stale: another is wanted;
3. diffs with u <= lastUpdateId are dropped; the first kept one has U <= lastUpdateId + 1 <= u;
4. from then on a diff with U > last u + 1 is a gap.

A gap, a crossed book, a level that does not fit, a malformed diff, silence, the end of the connection, or two diffs in a row
that disagree with `bookTicker` at their own update id make the book invalid and begin again. Each function writes MARKET
records to `out` and returns how many; the last of each event is flagged LAST.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.book import Book, Books, apply_levels, best_lots, best_ticks, book_at, clear, crossed, new_books, set_level
from hft.counters import FeedCounter
from hft.records import InvalidReason, MarketFlag, Side
from hft.venues.binance.scan import DEPTH, QUOTE_FRAME, SNAPSHOT, TRADE_FRAME, scan, scan_snapshot
from hft.venues.binance.tables import Found, FrameKind, Scanner, new_scanner
from hft.venues.book_feed import (
    EVENT_NS,
    FEED_WORDS,
    LAST_ID,
    NEVER_SYNCED,
    OWN_COLUMNS,
    REASON,
    SHUTDOWN,
    SILENCE_NS,
    SYNCED,
    WANTS_SYNC,
    invalidate,
    republish,
    set_synced,
    silent_instrument,
    write_top,
)
from shm.counters import add
from shm.jit import njit

# Columns of BinanceFeed.state beyond those of all venues.
BUFFERED = OWN_COLUMNS  #: diffs in `buffer_heads`
BUFFERED_LEVELS = OWN_COLUMNS + 1  #: levels in `buffer_levels`
QUOTE_HEAD = OWN_COLUMNS + 2  #: quotes seen
QUOTE_NEXT = OWN_COLUMNS + 3  #: first quote not yet at or before the book's id
MISMATCHES = OWN_COLUMNS + 4  #: diffs in a row that disagreed with bookTicker
STATE_COLUMNS = OWN_COLUMNS + 5

#: What is buffered while a snapshot is on its way; more begins again with the newest diff.
BUFFER_DIFFS, BUFFER_LEVELS = 8192, 65536

#: Quotes remembered for the comparison with bookTicker; a power of two.
QUOTES = 4096

_FIRST, _LAST_U, _START, _COUNT = range(4)
_GAP, _CROSSED, _SILENT = int(InvalidReason.GAP), int(InvalidReason.CROSSED), int(InvalidReason.SILENT)
_MALFORMED, _DISCONNECTED = int(InvalidReason.MALFORMED), int(InvalidReason.DISCONNECTED)
_BID = int(MarketFlag.BID)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_SHUTDOWN_FRAME = int(FrameKind.SHUTDOWN)
_INSTRUMENT, _FIRST_ID, _LAST_FOUND = int(Found.INSTRUMENT), int(Found.FIRST_ID), int(Found.LAST_ID)
_EXCHANGE_NS, _RECORDS = int(Found.EXCHANGE_NS), int(Found.RECORDS)


class BinanceFeed(NamedTuple):
    """Decoder, books and synchronisation of one connection; rows are of the whole instrument table."""

    scanner: Scanner
    books: Books
    state: NDArray[Any]  #: int64 [instrument, column]
    buffer_heads: NDArray[Any]  #: int64 [instrument, diff, (U, u, first level, levels)]
    buffer_levels: NDArray[Any]  #: int64 [instrument, level, (side * price, lots)]
    quotes: NDArray[Any]  #: int64 [instrument, QUOTES, (id, bid, bid lots, ask, ask lots)]
    rows: NDArray[Any]  #: int64: this venue's instruments
    words: NDArray[Any]  #: int64, see the cells above
    counters: NDArray[Any]  #: int64 by FeedCounter


def new_feed(
    instruments: NDArray[Any], symbols: Sequence[str], rows: Sequence[int], levels_max: int, silence_ns: int, counters: NDArray[Any]
) -> BinanceFeed:
    """A feed with every book invalid. `symbols` are on the wire, `rows` their rows in `instruments`."""
    count = len(instruments)
    state = np.zeros((count, STATE_COLUMNS), np.int64)
    state[:, REASON] = NEVER_SYNCED
    words = np.zeros(FEED_WORDS, np.int64)
    words[SILENCE_NS] = silence_ns
    return BinanceFeed(
        scanner=new_scanner(instruments, symbols, rows),
        books=new_books(count, levels_max),
        state=state,
        buffer_heads=np.zeros((count, BUFFER_DIFFS, 4), np.int64),
        buffer_levels=np.zeros((count, BUFFER_LEVELS, 2), np.int64),
        quotes=np.zeros((count, QUOTES, 5), np.int64),
        rows=np.array(rows, np.int64),
        words=words,
        counters=counters,
    )


@njit(forceinline=True)
def on_frame(feed: BinanceFeed, data: NDArray[Any], start: int, end: int, opcode: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take one frame's text; `out` holds the levels of any diff and one record more."""
    kind = scan(feed.scanner, data, start, end, received_ns, out)
    found = feed.scanner.found
    instrument = found[_INSTRUMENT]
    if kind == DEPTH:
        return _on_diff(feed, instrument, received_ns, out)
    if kind == QUOTE_FRAME:
        _remember_quote(feed, instrument, out)
        return 1
    if kind == TRADE_FRAME:
        return 1
    if kind < 0:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        return _invalidate(feed, instrument, _MALFORMED, received_ns, out) if instrument >= 0 else 0
    if kind == _SHUTDOWN_FRAME:
        feed.words[SHUTDOWN] = 1
    add(feed.counters, FeedCounter.IGNORED, 1)
    return 0


@njit(forceinline=True)
def _on_diff(feed: BinanceFeed, instrument: int, received_ns: int, out: NDArray[Any]) -> int:
    """Apply or buffer the diff that was just scanned into `out`."""
    found, state = feed.scanner.found, feed.state[instrument]
    first_id, last_id, count = found[_FIRST_ID], found[_LAST_FOUND], found[_RECORDS]
    if last_id < first_id:
        return _invalidate(feed, instrument, _MALFORMED, received_ns, out)
    if state[SYNCED] == 0:
        _buffer(feed, instrument, first_id, last_id, out, count)
        return 0
    if last_id <= state[LAST_ID]:
        return 0
    if first_id > state[LAST_ID] + 1:
        # Buffered before the INVALID record takes its place in `out`.
        _buffer(feed, instrument, first_id, last_id, out, count)
        return _invalidate(feed, instrument, _GAP, received_ns, out)
    book = book_at(feed.books, instrument)
    code = apply_levels(book, out, 0, count)
    if code != 0:
        return _invalidate(feed, instrument, code, received_ns, out)
    state[LAST_ID] = last_id
    # Only what moves the book counts as life: a venue whose ids began again would be ignored for ever, and never be silent.
    state[EVENT_NS] = received_ns
    if crossed(book):
        return _invalidate(feed, instrument, _CROSSED, received_ns, out)
    if not _agrees(feed, instrument, book):
        return _invalidate(feed, instrument, _GAP, received_ns, out)
    write_top(feed, instrument, book, received_ns, found[_EXCHANGE_NS], out, count)
    return count + 1


@njit
def _buffer(feed: BinanceFeed, instrument: int, first_id: int, last_id: int, out: NDArray[Any], count: int) -> None:
    state = feed.state[instrument]
    if state[BUFFERED] >= BUFFER_DIFFS or state[BUFFERED_LEVELS] + count > BUFFER_LEVELS:
        state[BUFFERED] = 0
        state[BUFFERED_LEVELS] = 0
    if state[BUFFERED] == 0:
        state[WANTS_SYNC] = 1
    if count > BUFFER_LEVELS:
        return
    head = feed.buffer_heads[instrument, state[BUFFERED]]
    head[_FIRST] = first_id
    head[_LAST_U] = last_id
    head[_START] = state[BUFFERED_LEVELS]
    head[_COUNT] = count
    for i in range(count):
        level = feed.buffer_levels[instrument, state[BUFFERED_LEVELS] + i]
        level[0] = out[i]["price_ticks"] if out[i]["flags"] & _BID else -out[i]["price_ticks"]
        level[1] = out[i]["qty_lots"]
    state[BUFFERED] += 1
    state[BUFFERED_LEVELS] += count


@njit
def _remember_quote(feed: BinanceFeed, instrument: int, out: NDArray[Any]) -> None:
    state = feed.state[instrument]
    quote = feed.quotes[instrument, state[QUOTE_HEAD] & (QUOTES - 1)]
    quote[0] = out[0]["venue_id"]
    quote[1] = out[0]["price_ticks"]
    quote[2] = out[0]["qty_lots"]
    quote[3] = out[0]["ask_ticks"]
    quote[4] = out[0]["ask_lots"]
    state[QUOTE_HEAD] += 1
    if state[QUOTE_HEAD] - state[QUOTE_NEXT] > QUOTES:
        state[QUOTE_NEXT] = state[QUOTE_HEAD] - QUOTES


@njit(forceinline=True)
def _agrees(feed: BinanceFeed, instrument: int, book: Book) -> bool:
    """Compare the best levels with the newest quote at or before the book's id; False on the second mismatch in a row."""
    state = feed.state[instrument]
    before = state[QUOTE_NEXT]
    while state[QUOTE_NEXT] < state[QUOTE_HEAD] and feed.quotes[instrument, state[QUOTE_NEXT] & (QUOTES - 1), 0] <= state[LAST_ID]:
        state[QUOTE_NEXT] += 1
    if state[QUOTE_NEXT] == before:
        return True
    quote = feed.quotes[instrument, (state[QUOTE_NEXT] - 1) & (QUOTES - 1)]
    bids_agree = quote[1] == best_ticks(book, _BUY) and quote[2] == best_lots(book, _BUY)
    if bids_agree and quote[3] == best_ticks(book, _SELL) and quote[4] == best_lots(book, _SELL):
        state[MISMATCHES] = 0
        return True
    add(feed.counters, FeedCounter.QUOTE_MISMATCHES, 1)
    state[MISMATCHES] += 1
    return state[MISMATCHES] < 2


@njit
def _invalidate(feed: BinanceFeed, instrument: int, reason: int, now_ns: int, out: NDArray[Any]) -> int:
    """Make the book invalid; one INVALID record if it was valid before. A snapshot is of use once there is a diff to go on from."""
    count = invalidate(feed, instrument, reason, now_ns, out)
    if count:
        state = feed.state[instrument]
        state[MISMATCHES] = 0
        state[WANTS_SYNC] = 1 if state[BUFFERED] > 0 else 0
    return count


@njit
def on_snapshot(feed: BinanceFeed, instrument: int, data: NDArray[Any], start: int, end: int, now_ns: int, out: NDArray[Any]) -> int:
    """Take a REST depth reply; the whole book if the instrument is SYNCED by it, else 0 and WANTS_SYNC says what is next."""
    state, found = feed.state[instrument], feed.scanner.found
    if state[SYNCED] != 0:
        return 0
    if scan_snapshot(feed.scanner, instrument, data, start, end, now_ns, out) != SNAPSHOT:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        state[WANTS_SYNC] = 1
        return 0
    snapshot_id = found[_LAST_FOUND]
    if state[BUFFERED] > 0 and snapshot_id + 1 < feed.buffer_heads[instrument, 0, _FIRST]:
        state[WANTS_SYNC] = 1
        return 0
    book = book_at(feed.books, instrument)
    clear(book)
    if apply_levels(book, out, 0, found[_RECORDS]) != 0:
        state[WANTS_SYNC] = 1
        return 0
    state[LAST_ID] = snapshot_id
    if not _apply_buffer(feed, instrument, book) or crossed(book):
        state[WANTS_SYNC] = 1
        return 0
    set_synced(feed, instrument, now_ns)
    return republish(feed, instrument, now_ns, out)


@njit
def _apply_buffer(feed: BinanceFeed, instrument: int, book: Book) -> bool:
    """Apply the buffered diffs on a snapshot; False if they have a gap or do not fit, and then only later ones are kept."""
    state = feed.state[instrument]
    count = state[BUFFERED]
    state[BUFFERED] = 0
    state[BUFFERED_LEVELS] = 0
    for n in range(count):
        head = feed.buffer_heads[instrument, n]
        if head[_LAST_U] <= state[LAST_ID]:
            continue
        if head[_FIRST] > state[LAST_ID] + 1:
            add(feed.counters, FeedCounter.GAPS, 1)
            return False
        for i in range(head[_START], head[_START] + head[_COUNT]):
            signed_ticks = feed.buffer_levels[instrument, i, 0]
            side = _BUY if signed_ticks > 0 else _SELL
            if set_level(book, side, abs(signed_ticks), feed.buffer_levels[instrument, i, 1]) != 0:
                return False
        state[LAST_ID] = head[_LAST_U]
    return True


@njit(forceinline=True)
def on_timer(feed: BinanceFeed, now_ns: int, out: NDArray[Any]) -> int:
    """Make the first instrument found silent for too long invalid; call again until it returns 0."""
    instrument = silent_instrument(feed, now_ns)
    return _invalidate(feed, instrument, _SILENT, now_ns, out) if instrument >= 0 else 0


@njit
def on_disconnect(feed: BinanceFeed, now_ns: int, out: NDArray[Any]) -> int:
    """Forget what was buffered and make the first valid book invalid; call again until it returns 0."""
    feed.words[SHUTDOWN] = 0
    for instrument in feed.rows:
        state = feed.state[instrument]
        state[BUFFERED] = 0
        state[BUFFERED_LEVELS] = 0
        state[WANTS_SYNC] = 0
        state[QUOTE_NEXT] = state[QUOTE_HEAD]
        if state[SYNCED] != 0:
            return _invalidate(feed, instrument, _DISCONNECTED, now_ns, out)
    return 0
