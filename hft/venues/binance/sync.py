"""Binance sync: keeps each instrument's book in step with the venue by its own rule, whatever encoding the messages came in.

An instrument is UNSYNCED (diffs are buffered until a REST snapshot comes) or SYNCED. The rule:

1. buffer diffs; when there is one, a snapshot is wanted (`WANTS_SYNC`);
2. a snapshot older than the first buffered diff is stale: another is wanted;
3. diffs with u <= lastUpdateId are dropped; the first kept one has U <= lastUpdateId + 1 <= u;
4. from then on a diff with U > last u + 1 is a gap.

A gap, a crossed book, a level that does not fit, a malformed diff, silence, the end of the connection, or two diffs in a row
that disagree with the venue's own best prices at their own update id make the book invalid and begin again.

Two connections may deliver the same streams into one feed, so that the second takes over before the first ends. What comes again
is dropped: diffs by their update ids, trades and quotes by theirs. Until the time that `overlap_until` set, a diff that is ahead
of the book waits for what the other connection still has to bring, and is a gap only if that does not come in time.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from hft.book import Book, apply_levels, book_at, clear, crossed, set_level
from hft.counters import FeedCounter
from hft.records import InvalidReason, MarketFlag, MarketKind, Side
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
    BookFeed,
    invalidate,
    republish,
    set_synced,
    silent_instrument,
    write_top,
)
from hft.venues.fields import write_record
from shm.counters import add
from shm.jit import njit

# Columns of `state` beyond those of all venues.
BUFFERED = OWN_COLUMNS  #: diffs in `buffer_heads`
BUFFERED_LEVELS = OWN_COLUMNS + 1  #: levels in `buffer_levels`
QUOTE_HEAD = OWN_COLUMNS + 2  #: quotes seen
QUOTE_NEXT = OWN_COLUMNS + 3  #: first quote not yet at or before the book's id
MISMATCHES = OWN_COLUMNS + 4  #: diffs in a row that disagreed with the venue's best prices
TRADE_ID = OWN_COLUMNS + 5  #: newest trade published
QUOTE_ID = OWN_COLUMNS + 6  #: newest quote published
AHEAD_NS = OWN_COLUMNS + 7  #: while SYNCED: since when diffs ahead of the book wait for those between; 0 if none do
STATE_COLUMNS = OWN_COLUMNS + 8

# Cells of `words` beyond those of all venues.
OVERLAP_UNTIL_NS = FEED_WORDS  #: two connections may deliver until then
QUOTES_CULLED = FEED_WORDS + 1  #: 1: the venue drops quotes that newer ones made obsolete
WORDS = FEED_WORDS + 2

#: What is buffered while a snapshot is on its way; more begins again with the newest diff.
BUFFER_DIFFS, BUFFER_LEVELS = 8192, 65536

#: Quotes remembered for the comparison with the venue's best prices; a power of two.
QUOTES = 4096

#: How long a diff that is ahead waits for the other connection.
AHEAD_MAX_NS = 1_000_000_000

_FIRST, _LAST_U, _START, _COUNT = range(4)
_GAP, _CROSSED, _SILENT = int(InvalidReason.GAP), int(InvalidReason.CROSSED), int(InvalidReason.SILENT)
MALFORMED_BOOK, _DISCONNECTED = int(InvalidReason.MALFORMED), int(InvalidReason.DISCONNECTED)
_LEVEL, _BID = int(MarketKind.LEVEL), int(MarketFlag.BID)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)


class SyncFeed(BookFeed, Protocol):
    """The fields that every Binance feed has, beyond those of BookFeed."""

    @property
    def buffer_heads(self) -> NDArray[Any]:
        """int64 [instrument, diff, (U, u, first level, levels)]."""

    @property
    def buffer_levels(self) -> NDArray[Any]:
        """int64 [instrument, level, (side * price, lots)]."""

    @property
    def quotes(self) -> NDArray[Any]:
        """int64 [instrument, QUOTES, (id, bid, bid lots, ask, ask lots)]."""


class SyncArrays(NamedTuple):
    """Memory of a feed's synchronisation; made by `new_arrays`."""

    state: NDArray[Any]
    buffer_heads: NDArray[Any]
    buffer_levels: NDArray[Any]
    quotes: NDArray[Any]
    words: NDArray[Any]


def new_arrays(instruments: int, silence_ns: int) -> SyncArrays:
    """Memory for so many instruments, every book invalid."""
    state = np.zeros((instruments, STATE_COLUMNS), np.int64)
    state[:, REASON] = NEVER_SYNCED
    state[:, TRADE_ID] = state[:, QUOTE_ID] = -1
    words = np.zeros(WORDS, np.int64)
    words[SILENCE_NS] = silence_ns
    return SyncArrays(
        state=state,
        buffer_heads=np.zeros((instruments, BUFFER_DIFFS, 4), np.int64),
        buffer_levels=np.zeros((instruments, BUFFER_LEVELS, 2), np.int64),
        quotes=np.zeros((instruments, QUOTES, 5), np.int64),
        words=words,
    )


def overlap_until(feed: SyncFeed, until_ns: int) -> None:
    """Until then a second connection may deliver the same streams, ahead of or behind the first; now or earlier: none does."""
    feed.words[OVERLAP_UNTIL_NS] = until_ns


@njit
def is_new_trade(feed: SyncFeed, instrument: int, trade_id: int) -> bool:
    """Whether a trade is newer than all before; it is the newest from here on."""
    state = feed.state[instrument]
    if trade_id <= state[TRADE_ID]:
        add(feed.counters, FeedCounter.IGNORED, 1)
        return False
    state[TRADE_ID] = trade_id
    return True


@njit
def take_quote(feed: SyncFeed, instrument: int, out: NDArray[Any]) -> int:
    """Take the QUOTE in `out[0]`: 1 if it is newer than all before, else 0."""
    state = feed.state[instrument]
    if out[0]["venue_id"] <= state[QUOTE_ID]:
        add(feed.counters, FeedCounter.IGNORED, 1)
        return 0
    state[QUOTE_ID] = out[0]["venue_id"]
    quote = feed.quotes[instrument, state[QUOTE_HEAD] & (QUOTES - 1)]
    quote[0] = out[0]["venue_id"]
    quote[1] = out[0]["price_ticks"]
    quote[2] = out[0]["qty_lots"]
    quote[3] = out[0]["ask_ticks"]
    quote[4] = out[0]["ask_lots"]
    state[QUOTE_HEAD] += 1
    if state[QUOTE_HEAD] - state[QUOTE_NEXT] > QUOTES:
        state[QUOTE_NEXT] = state[QUOTE_HEAD] - QUOTES
    return 1


@njit
def on_diff(
    feed: SyncFeed, instrument: int, first_id: int, last_id: int, exchange_ns: int, received_ns: int, out: NDArray[Any], count: int
) -> int:
    """Apply or buffer a diff whose `count` LEVEL records are in `out`; `first_id` is at most `last_id`."""
    state = feed.state[instrument]
    if state[SYNCED] == 0:
        _buffer(feed, instrument, first_id, last_id, out, count)
        return 0
    if last_id <= state[LAST_ID]:
        return 0
    if first_id > state[LAST_ID] + 1:
        # Buffered before the INVALID record takes its place in `out`.
        return _on_ahead(feed, instrument, first_id, last_id, received_ns, out, count)
    book = book_at(feed.books, instrument)
    code = apply_levels(book, out, 0, count)
    if code != 0:
        return invalidate_book(feed, instrument, code, received_ns, out)
    state[LAST_ID] = last_id
    # Only what moves the book counts as life: a venue whose ids began again would be ignored for ever, and never be silent.
    state[EVENT_NS] = received_ns
    if state[AHEAD_NS] != 0:
        count = _catch_up(feed, instrument, book, exchange_ns, received_ns, out, count)
        if count < 0:
            return invalidate_book(feed, instrument, MALFORMED_BOOK, received_ns, out)
    write_top(feed, instrument, book, received_ns, exchange_ns, out, count)
    if 0 < out[count]["ask_ticks"] <= out[count]["price_ticks"]:
        return invalidate_book(feed, instrument, _CROSSED, received_ns, out)
    if not _agrees(feed, instrument, out, count, received_ns):
        return invalidate_book(feed, instrument, _GAP, received_ns, out)
    return count + 1


@njit
def _on_ahead(feed: SyncFeed, instrument: int, first_id: int, last_id: int, now_ns: int, out: NDArray[Any], count: int) -> int:
    """A diff beyond the next one: it waits while another connection may bring what is between; else it is a gap."""
    state = feed.state[instrument]
    known = state[BUFFERED] > 0 and last_id <= feed.buffer_heads[instrument, state[BUFFERED] - 1, _LAST_U]
    if not known:
        _buffer(feed, instrument, first_id, last_id, out, count)
    if state[AHEAD_NS] == 0:
        state[AHEAD_NS] = now_ns
    if _waits_in_vain(feed, state, now_ns):
        return invalidate_book(feed, instrument, _GAP, now_ns, out)
    state[WANTS_SYNC] = 0
    return 0


@njit
def _waits_in_vain(feed: SyncFeed, state: NDArray[Any], now_ns: int) -> bool:
    """Whether no other connection is left, or too much time has passed, for what is missing before the diffs that wait."""
    return bool(now_ns >= feed.words[OVERLAP_UNTIL_NS] or now_ns - state[AHEAD_NS] > AHEAD_MAX_NS)


@njit
def _catch_up(feed: SyncFeed, instrument: int, book: Book, exchange_ns: int, received_ns: int, out: NDArray[Any], count: int) -> int:
    """Apply the waiting diffs that now follow, behind the `count` records in `out`: the records there then, or -1 if one does not fit."""
    state = feed.state[instrument]
    taken = 0
    while taken < state[BUFFERED]:
        head = feed.buffer_heads[instrument, taken]
        # One place more than the levels, for the TOP.
        if head[_FIRST] > state[LAST_ID] + 1 or count + head[_COUNT] >= len(out):
            break
        if head[_LAST_U] > state[LAST_ID]:
            for i in range(head[_START], head[_START] + head[_COUNT]):
                signed_ticks, lots = feed.buffer_levels[instrument, i, 0], feed.buffer_levels[instrument, i, 1]
                side = _BUY if signed_ticks > 0 else _SELL
                if set_level(book, side, abs(signed_ticks), lots) != 0:
                    return -1
                flags = _BID if side == _BUY else 0
                write_record(out, count, _LEVEL, flags, instrument, received_ns, exchange_ns, head[_LAST_U], abs(signed_ticks), lots)
                count += 1
            state[LAST_ID] = head[_LAST_U]
        taken += 1
    if taken == state[BUFFERED]:
        _forget_buffer(state)
    elif taken > 0:
        for i in range(taken, state[BUFFERED]):
            for k in range(4):
                feed.buffer_heads[instrument, i - taken, k] = feed.buffer_heads[instrument, i, k]
        state[BUFFERED] -= taken
    return count


@njit
def _forget_buffer(state: NDArray[Any]) -> None:
    state[BUFFERED] = 0
    state[BUFFERED_LEVELS] = 0
    state[AHEAD_NS] = 0


@njit
def _buffer(feed: SyncFeed, instrument: int, first_id: int, last_id: int, out: NDArray[Any], count: int) -> None:
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
def _agrees(feed: SyncFeed, instrument: int, out: NDArray[Any], top: int, now_ns: int) -> bool:
    """Compare the TOP record `out[top]` with the newest quote at or before the book's id; False on the second mismatch in a row."""
    state = feed.state[instrument]
    before = state[QUOTE_NEXT]
    while state[QUOTE_NEXT] < state[QUOTE_HEAD] and feed.quotes[instrument, state[QUOTE_NEXT] & (QUOTES - 1), 0] <= state[LAST_ID]:
        state[QUOTE_NEXT] += 1
    if state[QUOTE_NEXT] == before:
        return True
    quote = feed.quotes[instrument, (state[QUOTE_NEXT] - 1) & (QUOTES - 1)]
    # Where some quotes are missing, the newest we have may not be the newest there was: one at the book's own id is.
    some_missing = feed.words[QUOTES_CULLED] != 0 or now_ns < feed.words[OVERLAP_UNTIL_NS]
    if some_missing and quote[0] != state[LAST_ID]:
        return True
    bids_agree = quote[1] == out[top]["price_ticks"] and quote[2] == out[top]["qty_lots"]
    if bids_agree and quote[3] == out[top]["ask_ticks"] and quote[4] == out[top]["ask_lots"]:
        state[MISMATCHES] = 0
        return True
    add(feed.counters, FeedCounter.QUOTE_MISMATCHES, 1)
    state[MISMATCHES] += 1
    return state[MISMATCHES] < 2


@njit
def invalidate_book(feed: SyncFeed, instrument: int, reason: int, now_ns: int, out: NDArray[Any]) -> int:
    """Make the book invalid; one INVALID record if it was valid before. A snapshot is of use once there is a diff to go on from."""
    count = invalidate(feed, instrument, reason, now_ns, out)
    if count:
        state = feed.state[instrument]
        state[MISMATCHES] = 0
        state[AHEAD_NS] = 0
        state[WANTS_SYNC] = 1 if state[BUFFERED] > 0 else 0
    return count


@njit
def take_snapshot(feed: SyncFeed, instrument: int, snapshot_id: int, now_ns: int, out: NDArray[Any], count: int) -> int:
    """Take a snapshot whose `count` LEVEL records are in `out`; the whole book if the instrument is SYNCED by it, else 0."""
    state = feed.state[instrument]
    if state[BUFFERED] > 0 and snapshot_id + 1 < feed.buffer_heads[instrument, 0, _FIRST]:
        state[WANTS_SYNC] = 1
        return 0
    book = book_at(feed.books, instrument)
    clear(book)
    if apply_levels(book, out, 0, count) != 0:
        state[WANTS_SYNC] = 1
        return 0
    state[LAST_ID] = snapshot_id
    if not _apply_buffer(feed, instrument, book) or crossed(book):
        state[WANTS_SYNC] = 1
        return 0
    set_synced(feed, instrument, now_ns)
    return republish(feed, instrument, now_ns, out)


@njit
def _apply_buffer(feed: SyncFeed, instrument: int, book: Book) -> bool:
    """Apply the buffered diffs on a snapshot; False if they have a gap or do not fit, and then only later ones are kept."""
    state = feed.state[instrument]
    count = state[BUFFERED]
    _forget_buffer(state)
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


@njit
def on_timer(feed: SyncFeed, now_ns: int, out: NDArray[Any]) -> int:
    """Make the first instrument found silent, or waiting in vain, for too long invalid; call again until it returns 0."""
    instrument = silent_instrument(feed, now_ns)
    if instrument >= 0:
        return invalidate_book(feed, instrument, _SILENT, now_ns, out)
    for row in feed.rows:
        state = feed.state[row]
        if state[SYNCED] != 0 and state[AHEAD_NS] != 0 and _waits_in_vain(feed, state, now_ns):
            return invalidate_book(feed, row, _GAP, now_ns, out)
    return 0


@njit
def on_disconnect(feed: SyncFeed, now_ns: int, out: NDArray[Any]) -> int:
    """No connection is left: forget what was buffered and make the first valid book invalid; call again until it returns 0."""
    feed.words[SHUTDOWN] = 0
    feed.words[OVERLAP_UNTIL_NS] = 0
    for instrument in feed.rows:
        state = feed.state[instrument]
        _forget_buffer(state)
        state[WANTS_SYNC] = 0
        state[QUOTE_NEXT] = state[QUOTE_HEAD]
        # A venue may begin its ids again between two connections, as a test network does.
        state[TRADE_ID] = -1
        state[QUOTE_ID] = -1
        if state[SYNCED] != 0:
            return invalidate_book(feed, instrument, _DISCONNECTED, now_ns, out)
    return 0
