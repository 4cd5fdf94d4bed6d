"""Coinbase feed: keeps each instrument's book in step with the venue, and says when it is not.

With `level2` or `level2_batch` a snapshot of the whole book comes on the connection, then absolute sizes; the venue guarantees their
delivery and numbers nothing, so the checks are a crossed book, and a trade after which no level moves for as long as silence lasts: the
maker's must. With `full` every message has a
sequence and the book is built order by order (`full.py`). Heartbeats come each second of each product, whether anything happens or
not: silence is that of a product, heartbeats included. Each function writes MARKET records to `out` and returns how many; the last of
each event is flagged LAST.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.book import BOOK_FULL, Book, Books, book_at, clear, crossed, new_books
from hft.counters import FeedCounter
from hft.records import InvalidReason, MarketFlag, MarketKind
from hft.venues.book_feed import (
    EVENT_NS,
    NEVER_SYNCED,
    REASON,
    SHUTDOWN,
    SILENCE_NS,
    SYNCED,
    WANTS_SYNC,
    begin_book,
    republish,
    set_synced,
    write_top,
)
from hft.venues.coinbase import tables as t
from hft.venues.coinbase.full import (
    BUFFER_COLUMNS,
    BUFFER_EVENTS,
    lose,
    on_heartbeat_sequence,
    on_order_event,
    on_whole_orders,
    want_snapshot,
)
from hft.venues.coinbase.levels import WHOLE, forget_bounds, is_thin, publish_level, put_level
from hft.venues.coinbase.resting import new_resting
from hft.venues.coinbase.scan import (
    ERROR,
    EXCHANGE_NS,
    HEARTBEAT,
    INSTRUMENT,
    LAST_MATCH,
    MATCH,
    NO_ROOM_FRAME,
    PRICE_TICKS,
    QTY_LOTS,
    RECORDS,
    SIDE,
    SNAPSHOT,
    TICKER,
    TRADE_ID,
    UPDATE,
    Scanner,
    new_scanner,
    read_level,
    scan,
)
from hft.venues.coinbase.state import (
    ASKED_NS,
    BEAT_SEQUENCE,
    BEAT_TRADE,
    BUFFERED,
    ERROR_BYTES,
    ERRORS,
    FULL,
    HEARD,
    HEARD_NS,
    MISSED_TRADES,
    STATE_COLUMNS,
    TRADED_NS,
    WORDS,
)
from hft.venues.coinbase.state import TRADE_ID as SEEN_TRADE
from hft.venues.fields import write_record
from hft.venues.members import first_element, next_element
from hft.websocket import Opcode
from shm.counters import add
from shm.jit import njit

CHANNELS = ("level2_batch", "level2", "full")

#: A whole book that has not come after this long is asked for again.
SNAPSHOT_WAIT_NS, ORDERS_WAIT_NS = 1_000_000_000, 10_000_000_000

_CROSSED, _SILENT, _MALFORMED = int(InvalidReason.CROSSED), int(InvalidReason.SILENT), int(InvalidReason.MALFORMED)
_DISCONNECTED = int(InvalidReason.DISCONNECTED)
_TRADE, _LAST, _BID = int(MarketKind.TRADE), int(MarketFlag.LAST), int(MarketFlag.BID)
_TEXT = int(Opcode.TEXT)
_LAST_ORDER_KIND = int(t.FrameKind.CHANGE)


class CoinbaseFeed(NamedTuple):
    """Decoder, books and synchronisation of one connection; rows are of the whole instrument table."""

    scanner: Scanner
    books: Books
    state: NDArray[Any]  #: int64 [instrument, column]
    bounds: NDArray[Any]  #: int64 [instrument, side's row]: least key that the book keeps
    resting: NDArray[Any]  #: full: the orders on the books, see `resting.py`; one place without it
    queued: NDArray[Any]  #: full: int64 [instrument, message, column]; one message without it
    rows: NDArray[Any]  #: int64: this venue's instruments
    words: NDArray[Any]  #: int64, see `state.py`
    counters: NDArray[Any]  #: int64 by FeedCounter
    refusal: NDArray[Any]  #: uint8: the newest refusal of a subscription, for people


def new_feed(
    instruments: NDArray[Any],
    symbols: Sequence[str],
    rows: Sequence[int],
    levels_max: int,
    silence_ns: int,
    counters: NDArray[Any],
    channel: str = "level2_batch",
    orders_max: int = 1 << 17,
) -> CoinbaseFeed:
    """A feed with every book invalid. `symbols` are on the wire, `rows` their rows in `instruments`, `channel` as subscribed.

    A side keeps its best `levels_max` levels; `orders_max` is how many orders a `full` book has room for. Raises ValueError for a
    channel that the venue does not have.
    """
    if channel not in CHANNELS:
        raise ValueError(f"channel: expected one of {CHANNELS}, was {channel!r}")
    count, full = len(instruments), channel == "full"
    state = np.zeros((count, STATE_COLUMNS), np.int64)
    state[:, REASON] = NEVER_SYNCED
    words = np.zeros(WORDS, np.int64)
    words[SILENCE_NS] = silence_ns
    words[FULL] = 1 if full else 0
    return CoinbaseFeed(
        scanner=new_scanner(instruments, symbols, rows),
        books=new_books(count, levels_max),
        state=state,
        bounds=np.full((count, 2), WHOLE, np.int64),
        resting=new_resting(count, orders_max if full else 1),
        queued=np.zeros((count, BUFFER_EVENTS if full else 1, BUFFER_COLUMNS), np.int64),
        rows=np.array(rows, np.int64),
        words=words,
        counters=counters,
        refusal=np.zeros(512, np.uint8),
    )


@njit
def on_frame(feed: CoinbaseFeed, data: NDArray[Any], start: int, end: int, opcode: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take one message; `out` holds the whole book and three records more, and twice the changes of any message and one more."""
    if opcode != _TEXT:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        return 0
    kind = scan(feed.scanner, data, start, end, received_ns, out)
    instrument = feed.scanner.found[INSTRUMENT]
    if kind < 0:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        if instrument < 0:
            return 0
        return lose(feed, instrument, BOOK_FULL if kind == NO_ROOM_FRAME else _MALFORMED, received_ns, out)
    feed.words[HEARD] = received_ns
    if instrument < 0:
        _on_other(feed, kind, data, start, end)
        return 0
    feed.state[instrument, HEARD_NS] = received_ns
    if kind == UPDATE and feed.words[FULL] == 0:
        return _on_update(feed, instrument, received_ns, out)
    return _on_rest(feed, kind, instrument, data, end, received_ns, out)


@njit
def _on_rest(feed: CoinbaseFeed, kind: int, instrument: int, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take a message about a product that is no change of level 2."""
    full = feed.words[FULL] != 0
    if kind == MATCH:
        trades = _on_match(feed, instrument, received_ns, out)
        return on_order_event(feed, kind, instrument, trades, received_ns, out) if full else trades
    if MATCH < kind <= _LAST_ORDER_KIND and full:
        want_snapshot(feed, instrument, received_ns)
        return on_order_event(feed, kind, instrument, 0, received_ns, out)
    if kind == HEARTBEAT:
        add(feed.counters, FeedCounter.HEARTBEATS, 1)
        _on_heartbeat_trades(feed, instrument)
        return on_heartbeat_sequence(feed, instrument, received_ns, out) if full else 0
    if kind == SNAPSHOT and not full:
        return _on_whole_book(feed, instrument, data, end, received_ns, out)
    if kind == TICKER:
        return feed.scanner.found[RECORDS]
    if kind == LAST_MATCH:
        _see_trade(feed, instrument)
    add(feed.counters, FeedCounter.IGNORED, 1)
    return 0


@njit
def _on_other(feed: CoinbaseFeed, kind: int, data: NDArray[Any], start: int, end: int) -> None:
    """Take what is about no product of ours; a refusal of a subscription is kept for people."""
    words = feed.words
    if kind == ERROR:
        words[ERRORS] += 1
        words[ERROR_BYTES] = min(end - start, len(feed.refusal))
        for i in range(words[ERROR_BYTES]):
            feed.refusal[i] = data[start + i]
    add(feed.counters, FeedCounter.IGNORED, 1)


@njit
def _on_update(feed: CoinbaseFeed, instrument: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take the changes that were just scanned: each level, those that went for them, and TOP."""
    found, state, levels = feed.scanner.found, feed.state[instrument], feed.scanner.levels
    if state[SYNCED] == 0:
        return 0
    count = found[RECORDS]
    if 2 * count + 1 > len(out):
        return lose(feed, instrument, BOOK_FULL, received_ns, out)
    book, bounds = book_at(feed.books, instrument), feed.bounds[instrument]
    exchange_ns = found[EXCHANGE_NS]
    n = 0
    for i in range(count):
        side, ticks, lots = levels[i, t.LEVEL_SIDE], levels[i, t.LEVEL_TICKS], levels[i, t.LEVEL_LOTS]
        n = publish_level(book, bounds, side, ticks, lots, instrument, received_ns, exchange_ns, 0, out, n)
    state[EVENT_NS] = received_ns
    state[TRADED_NS] = 0
    if crossed(book):
        return lose(feed, instrument, _CROSSED, received_ns, out)
    if is_thin(book, bounds):
        return lose(feed, instrument, BOOK_FULL, received_ns, out)
    write_top(feed, instrument, book, received_ns, exchange_ns, out, n)
    return n + 1


@njit
def _on_whole_book(feed: CoinbaseFeed, instrument: int, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take the snapshot whose lists were just found: the whole book as an event; or INVALID, once, if it is wrong."""
    book, bounds, places = book_at(feed.books, instrument), feed.bounds[instrument], feed.scanner.places
    state = feed.state[instrument]
    clear(book)
    forget_bounds(bounds)
    bids_at, asks_at = places[t.BIDS], places[t.ASKS]
    reason = 0
    if _read_side(feed, instrument, book, 1, data, bids_at, end) < 0 or _read_side(feed, instrument, book, -1, data, asks_at, end) < 0:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        reason = _MALFORMED
    elif crossed(book):
        reason = _CROSSED
    if reason != 0:
        count = lose(feed, instrument, reason, received_ns, out)
        state[REASON] = reason
        state[WANTS_SYNC] = 1
        state[ASKED_NS] = received_ns
        return count
    if state[SYNCED] == 0:
        set_synced(feed, instrument, received_ns)
    state[WANTS_SYNC] = 0
    state[ASKED_NS] = 0
    state[TRADED_NS] = 0
    begin_book(feed, instrument, received_ns)
    return republish(feed, instrument, received_ns, out)


@njit
def _read_side(feed: CoinbaseFeed, instrument: int, book: Book, side: int, data: NDArray[Any], at: int, end: int) -> int:
    """Read `[["price","size"],...]` of a snapshot into the book; the offset past it, or -1."""
    bounds, scale = feed.bounds[instrument], feed.scanner.instruments[instrument]
    at, more = first_element(data, at, end)
    while more:
        at, inner = first_element(data, at, end)
        if not inner:
            return -1
        ticks, lots, at = read_level(feed.scanner, data, at, end, scale)
        at, inner = next_element(data, at, end)
        if at < 0 or inner or lots == 0:
            return -1
        put_level(book, bounds, side, ticks, lots)
        at, more = next_element(data, at, end)
    return at


@njit
def _on_match(feed: CoinbaseFeed, instrument: int, received_ns: int, out: NDArray[Any]) -> int:
    """Write the TRADE record of the match that was just scanned. Its side is the maker's: the aggressor's is the other one."""
    found, state = feed.scanner.found, feed.state[instrument]
    _see_trade(feed, instrument)
    if feed.words[FULL] != 0:
        want_snapshot(feed, instrument, received_ns)
    elif state[TRADED_NS] == 0:
        state[TRADED_NS] = received_ns
    flags = _LAST if found[SIDE] > 0 else _LAST | _BID
    trade_id, ticks, lots = found[TRADE_ID], found[PRICE_TICKS], found[QTY_LOTS]
    write_record(out, 0, _TRADE, flags, instrument, received_ns, found[EXCHANGE_NS], trade_id, ticks, lots)
    return 1


@njit
def _see_trade(feed: CoinbaseFeed, instrument: int) -> None:
    state = feed.state[instrument]
    state[SEEN_TRADE] = max(state[SEEN_TRADE], feed.scanner.found[TRADE_ID])


@njit
def _on_heartbeat_trades(feed: CoinbaseFeed, instrument: int) -> None:
    """Count the trades that the heartbeat before told of and that have not come until this one."""
    state = feed.state[instrument]
    missed = state[BEAT_TRADE] - state[SEEN_TRADE]
    if state[SEEN_TRADE] != 0 and missed > 0:
        state[MISSED_TRADES] += missed
        state[SEEN_TRADE] = state[BEAT_TRADE]
    state[BEAT_TRADE] = feed.scanner.found[TRADE_ID]


@njit
def on_snapshot(feed: CoinbaseFeed, instrument: int, data: NDArray[Any], start: int, end: int, now_ns: int, out: NDArray[Any]) -> int:
    """Take the answer to a resync's Call, which only `full` makes; the whole book if the instrument is SYNCED by it, else 0."""
    return on_whole_orders(feed, instrument, data, start, end, now_ns, out) if feed.words[FULL] != 0 else 0


@njit
def on_timer(feed: CoinbaseFeed, now_ns: int, out: NDArray[Any]) -> int:
    """Make the first book that is silent too long invalid, and ask again for whole books; call again until it returns 0."""
    words = feed.words
    for instrument in feed.rows:
        state = feed.state[instrument]
        if state[SYNCED] == 0:
            continue
        unmoved = state[TRADED_NS] != 0 and now_ns - state[TRADED_NS] > words[SILENCE_NS]
        if unmoved or now_ns - max(state[HEARD_NS], state[EVENT_NS]) > words[SILENCE_NS]:
            state[TRADED_NS] = 0
            return lose(feed, instrument, _SILENT, now_ns, out)
    if words[HEARD] != 0 and now_ns - words[HEARD] > words[SILENCE_NS]:
        # Nothing is alive on this connection: no subscription would be answered either.
        words[SHUTDOWN] = 1
    elif words[HEARD] != 0:
        _wait(feed, now_ns)
    return 0


@njit
def _wait(feed: CoinbaseFeed, now_ns: int) -> None:
    """Want what was asked for and did not come: an answer can be lost, or be a refusal."""
    for instrument in feed.rows:
        state = feed.state[instrument]
        if state[SYNCED] != 0 or state[WANTS_SYNC] != 0:
            continue
        if state[ASKED_NS] == 0:
            # Orders are asked for once their first message comes (`want_snapshot`); a whole book of levels comes by itself.
            state[ASKED_NS] = 0 if feed.words[FULL] != 0 else now_ns
        elif now_ns - state[ASKED_NS] > (ORDERS_WAIT_NS if feed.words[FULL] != 0 else SNAPSHOT_WAIT_NS):
            state[ASKED_NS] = now_ns
            state[WANTS_SYNC] = 1


@njit
def on_disconnect(feed: CoinbaseFeed, now_ns: int, out: NDArray[Any]) -> int:
    """Forget what was queued and make the first valid book invalid; call again until it returns 0."""
    feed.words[SHUTDOWN] = 0
    feed.words[HEARD] = 0
    for instrument in feed.rows:
        state = feed.state[instrument]
        state[BUFFERED] = 0
        state[WANTS_SYNC] = 0
        state[ASKED_NS] = 0
        state[TRADED_NS] = 0
        state[BEAT_SEQUENCE] = 0
        state[SEEN_TRADE] = 0
        state[BEAT_TRADE] = 0
        if state[SYNCED] != 0:
            count = lose(feed, instrument, _DISCONNECTED, now_ns, out)
            state[WANTS_SYNC] = 0
            state[ASKED_NS] = 0
            return count
    return 0
