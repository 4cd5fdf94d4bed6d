"""Kraken feed: keeps each instrument's book in step with the venue by its checksum, and says when it is not.

The rule: apply every level of a message in the order of its lists, then drop what is beyond the subscribed depth, then compare the
checksum over the ten best of both sides. It is on every message and is the only gap detector; a mismatch makes the book invalid, and
subscribing that symbol again brings a snapshot, which is a whole book. Levels that fall out of the depth are published as removed.

Silence of a book is normal here; heartbeats come each second on every connection. So with `silence_of_connection` no message of any
kind for too long makes every book invalid, and silence of one symbol means nothing. Each function writes MARKET records to
`out` and returns how many; the last of each event is flagged LAST.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.book import Book, Books, book_at, clear, crossed, new_books, set_level
from hft.counters import FeedCounter
from hft.records import InvalidReason, MarketFlag, MarketKind
from hft.venues.book_feed import (
    EVENT_NS,
    FEED_WORDS,
    NEVER_SYNCED,
    OWN_COLUMNS,
    REASON,
    SHUTDOWN,
    SILENCE_NS,
    SYNCED,
    WANTS_SYNC,
    begin_book,
    invalidate,
    republish,
    set_synced,
    silent_instrument,
    write_top,
)
from hft.venues.fields import write_record
from hft.venues.kraken import tables as t
from hft.venues.kraken.depth import PRICE, SIZE, Depths, checksum, drop_worst, forget, new_depths, put_level, widen
from hft.venues.kraken.levels import EXCHANGE_NS, INSTRUMENT, RECORDS
from hft.venues.kraken.scan import (
    BOOK_SNAPSHOT,
    BOOK_UPDATE,
    CHECKSUM,
    HEARTBEAT,
    INSTRUMENT_FRAME,
    NO_ROOM_FRAME,
    REFUSED,
    STATUS_FRAME,
    SYSTEM,
    TRADE_FRAME,
    scan,
)
from hft.venues.kraken.tables import Scanner, new_scanner
from hft.websocket import Opcode
from shm.counters import add
from shm.jit import njit

# Columns of KrakenFeed.state beyond those of all venues.
STATUS = OWN_COLUMNS  #: PairStatus, by the `instrument` channel
TOLD_PRICE = OWN_COLUMNS + 1  #: decimals of prices, by the `instrument` channel; 0 until it said so
TOLD_QTY = OWN_COLUMNS + 2
WIRE_PRICE = OWN_COLUMNS + 3  #: decimals of the digits in `depths`: as told, or the most seen since the snapshot
WIRE_QTY = OWN_COLUMNS + 4
REFUSALS = OWN_COLUMNS + 5  #: subscriptions of this symbol that were refused
WAITING_NS = OWN_COLUMNS + 6  #: since when a snapshot has been waited for; 0 while there is none to wait for
STATE_COLUMNS = OWN_COLUMNS + 7

# Cells of KrakenFeed.words beyond those of all venues.
HEARD_NS = FEED_WORDS  #: received_ns of the newest message of any kind; 0 while there is no connection
BY_CONNECTION = FEED_WORDS + 1  #: 1: silence is that of the connection, not of a symbol
SYSTEM_STATUS = FEED_WORDS + 2  #: PairStatus of the venue as a whole, 0 until it said anything
REFUSAL_BYTES = FEED_WORDS + 3  #: bytes of the newest refusal in `refusal`
REFUSALS_IN_ALL = FEED_WORDS + 4
WORDS = FEED_WORDS + 5

#: A snapshot that has not come after this long is asked for again.
SNAPSHOT_WAIT_NS = 1_000_000_000

DEPTHS = (10, 25, 100, 500, 1000)

_CROSSED, _SILENT, _CHECKSUM = int(InvalidReason.CROSSED), int(InvalidReason.SILENT), int(InvalidReason.CHECKSUM)
_MALFORMED, _DISCONNECTED = int(InvalidReason.MALFORMED), int(InvalidReason.DISCONNECTED)
_BOOK_FULL = int(InvalidReason.BOOK_FULL)
_LEVEL, _BID = int(MarketKind.LEVEL), int(MarketFlag.BID)
_TEXT = int(Opcode.TEXT)
_BUY = 1


class KrakenFeed(NamedTuple):
    """Decoder, books and synchronisation of one connection; rows are of the whole instrument table."""

    scanner: Scanner
    books: Books
    depths: Depths
    state: NDArray[Any]  #: int64 [instrument, column]
    rows: NDArray[Any]  #: int64: this venue's instruments
    words: NDArray[Any]  #: int64, see the cells above
    counters: NDArray[Any]  #: int64 by FeedCounter
    refusal: NDArray[Any]  #: uint8: the newest refusal of a subscription, for people


def new_feed(
    instruments: NDArray[Any],
    symbols: Sequence[str],
    rows: Sequence[int],
    levels_max: int,
    silence_ns: int,
    counters: NDArray[Any],
    depth: int = 100,
    silence_of_connection: bool = True,
) -> KrakenFeed:
    """A feed with every book invalid. `symbols` are on the wire, `rows` their rows in `instruments`, `depth` as subscribed.

    Raises ValueError for a depth that the venue does not have, or that `levels_max` has no room for.
    """
    if depth not in DEPTHS:
        raise ValueError(f"depth: expected one of {DEPTHS}, was {depth}")
    if levels_max < depth:
        raise ValueError(f"levels_max: expected at least the depth {depth}, was {levels_max}")
    state = np.zeros((len(instruments), STATE_COLUMNS), np.int64)
    state[:, REASON] = NEVER_SYNCED
    words = np.zeros(WORDS, np.int64)
    words[SILENCE_NS] = silence_ns
    words[BY_CONNECTION] = 1 if silence_of_connection else 0
    return KrakenFeed(
        scanner=new_scanner(instruments, symbols, rows),
        # Room for the levels of one message that the truncation then takes back.
        books=new_books(len(instruments), levels_max + t.LEVELS_MAX),
        depths=new_depths(len(instruments), depth),
        state=state,
        rows=np.array(rows, np.int64),
        words=words,
        counters=counters,
        refusal=np.zeros(512, np.uint8),
    )


@njit
def on_frame(feed: KrakenFeed, data: NDArray[Any], start: int, end: int, opcode: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take one message; `out` holds the whole book and two records more, and twice the levels of any message."""
    if opcode != _TEXT:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        return 0
    kind = scan(feed.scanner, data, start, end, received_ns, out)
    instrument = feed.scanner.found[INSTRUMENT]
    if kind == BOOK_UPDATE:
        feed.words[HEARD_NS] = received_ns
        return on_update(feed, instrument, True, received_ns, out)
    if kind == TRADE_FRAME:
        feed.words[HEARD_NS] = received_ns
        return feed.scanner.found[RECORDS]
    if kind < 0:
        return _on_refused_frame(feed, instrument, kind, received_ns, out)
    feed.words[HEARD_NS] = received_ns
    if kind == BOOK_SNAPSHOT:
        return on_whole_book(feed, instrument, True, received_ns, out)
    if kind == HEARTBEAT:
        add(feed.counters, FeedCounter.HEARTBEATS, 1)
        return 0
    _on_other(feed, kind, instrument, data, start, end)
    return 0


@njit
def _on_refused_frame(feed: KrakenFeed, instrument: int, kind: int, received_ns: int, out: NDArray[Any]) -> int:
    add(feed.counters, FeedCounter.MALFORMED, 1)
    if instrument < 0:
        return 0
    return invalidate(feed, instrument, _BOOK_FULL if kind == NO_ROOM_FRAME else _MALFORMED, received_ns, out)


@njit
def _on_other(feed: KrakenFeed, kind: int, instrument: int, data: NDArray[Any], start: int, end: int) -> None:
    """Take what is not about a book."""
    words = feed.words
    if kind == INSTRUMENT_FRAME:
        for row in feed.rows:
            told = feed.scanner.told[row]
            if told[t.TOLD] != 0:
                feed.state[row, STATUS] = told[t.TOLD_STATUS]
                feed.state[row, TOLD_PRICE] = told[t.TOLD_PRICE_DECIMALS]
                feed.state[row, TOLD_QTY] = told[t.TOLD_QTY_DECIMALS]
    elif kind == STATUS_FRAME:
        words[SYSTEM_STATUS] = feed.scanner.found[SYSTEM]
    elif kind == REFUSED:
        words[REFUSALS_IN_ALL] += 1
        words[REFUSAL_BYTES] = min(end - start, len(feed.refusal))
        for i in range(words[REFUSAL_BYTES]):
            feed.refusal[i] = data[start + i]
        if instrument >= 0:
            feed.state[instrument, REFUSALS] += 1
            if feed.state[instrument, SYNCED] == 0:
                feed.state[instrument, WANTS_SYNC] = 1
    add(feed.counters, FeedCounter.IGNORED, 1)


@njit
def on_whole_book(feed: KrakenFeed, instrument: int, verified: bool, received_ns: int, out: NDArray[Any]) -> int:
    """Take the snapshot that was just scanned: the whole book as an event; or INVALID, once, if it is wrong."""
    book = book_at(feed.books, instrument)
    state = feed.state[instrument]
    clear(book)
    forget(feed.depths, instrument)
    state[WIRE_PRICE] = state[TOLD_PRICE]
    state[WIRE_QTY] = state[TOLD_QTY]
    code = _apply(feed, instrument, book)
    if code == 0:
        code = _truncate(feed, instrument, book)
    if code == 0 and verified:
        code = _verify(feed, instrument)
    if code == 0 and crossed(book):
        code = _CROSSED
    if code != 0:
        return _never_synced(feed, instrument, code, received_ns, out)
    if state[SYNCED] == 0:
        set_synced(feed, instrument, received_ns)
    state[WANTS_SYNC] = 0
    state[WAITING_NS] = 0
    begin_book(feed, instrument, received_ns)
    return republish(feed, instrument, received_ns, out)


@njit
def _never_synced(feed: KrakenFeed, instrument: int, code: int, now_ns: int, out: NDArray[Any]) -> int:
    """A snapshot was wrong: INVALID if the book was valid; the mismatch is counted in any case, and another one asked for."""
    state = feed.state[instrument]
    if state[SYNCED] != 0:
        return invalidate(feed, instrument, code, now_ns, out)
    state[REASON] = code
    state[WANTS_SYNC] = 1
    state[WAITING_NS] = 0
    if code == _CHECKSUM:
        add(feed.counters, FeedCounter.CHECKSUM_BAD, 1)
    return 0


@njit
def on_update(feed: KrakenFeed, instrument: int, verified: bool, received_ns: int, out: NDArray[Any]) -> int:
    """Take the update that was just scanned: its levels, those that fell out of the depth, and TOP."""
    found, state = feed.scanner.found, feed.state[instrument]
    if state[SYNCED] == 0:
        return 0
    count = found[RECORDS]
    # A level brings in at most one, and so takes out at most one.
    if 2 * count + 1 > len(out):
        return invalidate(feed, instrument, _BOOK_FULL, received_ns, out)
    book = book_at(feed.books, instrument)
    code = _apply(feed, instrument, book)
    if code != 0:
        return invalidate(feed, instrument, code, received_ns, out)
    exchange_ns = found[EXCHANGE_NS]
    for i in range(count):
        level = feed.scanner.levels[i]
        flags = _BID if level[t.LEVEL_SIDE] == _BUY else 0
        write_record(out, i, _LEVEL, flags, instrument, received_ns, exchange_ns, 0, level[t.LEVEL_TICKS], level[t.LEVEL_LOTS])
    for row in range(2):
        key = drop_worst(feed.depths, instrument, row)
        while key != 0:
            set_level(book, 1 - 2 * row, abs(key), 0)
            write_record(out, count, _LEVEL, _BID if row == 0 else 0, instrument, received_ns, exchange_ns, 0, abs(key), 0)
            count += 1
            key = drop_worst(feed.depths, instrument, row)
    if verified:
        code = _verify(feed, instrument)
        if code != 0:
            return invalidate(feed, instrument, code, received_ns, out)
    if crossed(book):
        return invalidate(feed, instrument, _CROSSED, received_ns, out)
    state[EVENT_NS] = received_ns
    write_top(feed, instrument, book, received_ns, exchange_ns, out, count)
    return count + 1


@njit
def _apply(feed: KrakenFeed, instrument: int, book: Book) -> int:
    """Set the scanned levels in their order. Returns 0 or an InvalidReason; then the book is of no more use."""
    state, depths = feed.state[instrument], feed.depths
    for i in range(feed.scanner.found[RECORDS]):
        level = feed.scanner.levels[i]
        if level[t.PRICE_DECIMALS] > state[WIRE_PRICE]:
            if not widen(depths, instrument, PRICE, level[t.PRICE_DECIMALS] - state[WIRE_PRICE]):
                return _MALFORMED
            state[WIRE_PRICE] = level[t.PRICE_DECIMALS]
        if level[t.QTY_DECIMALS] > state[WIRE_QTY]:
            if not widen(depths, instrument, SIZE, level[t.QTY_DECIMALS] - state[WIRE_QTY]):
                return _MALFORMED
            state[WIRE_QTY] = level[t.QTY_DECIMALS]
        price = _wider(level[t.PRICE_DIGITS], state[WIRE_PRICE] - level[t.PRICE_DECIMALS])
        size = _wider(level[t.QTY_DIGITS], state[WIRE_QTY] - level[t.QTY_DECIMALS])
        if price < 0 or size < 0:
            return _MALFORMED
        side = level[t.LEVEL_SIDE]
        if not put_level(depths, instrument, (1 - side) >> 1, level[t.LEVEL_TICKS] * side, price, size):
            return _BOOK_FULL
        code = set_level(book, side, level[t.LEVEL_TICKS], level[t.LEVEL_LOTS])
        if code != 0:
            return code
    return 0


@njit
def _wider(digits: int, places: int) -> int:
    """Digits with this many zeros appended; -1 from 2**62 on."""
    for _ in range(places):
        if digits >= (1 << 62) // 10:
            return -1
        digits *= 10
    return digits


@njit
def _truncate(feed: KrakenFeed, instrument: int, book: Book) -> int:
    for row in range(2):
        key = drop_worst(feed.depths, instrument, row)
        while key != 0:
            set_level(book, 1 - 2 * row, abs(key), 0)
            key = drop_worst(feed.depths, instrument, row)
    return 0


@njit
def _verify(feed: KrakenFeed, instrument: int) -> int:
    """0 if the book has the checksum that was scanned, and counts that; else CHECKSUM."""
    if checksum(feed.depths, instrument) != feed.scanner.found[CHECKSUM]:
        return _CHECKSUM
    add(feed.counters, FeedCounter.CHECKSUM_OK, 1)
    return 0


@njit
def on_snapshot(feed: KrakenFeed, instrument: int, data: NDArray[Any], start: int, end: int, now_ns: int, out: NDArray[Any]) -> int:
    """Nothing: a snapshot comes on the connection, never as an answer to a Call."""
    return 0


@njit
def on_timer(feed: KrakenFeed, now_ns: int, out: NDArray[Any]) -> int:
    """Make the first book that is silent too long invalid, and ask again for snapshots; call again until it returns 0."""
    words = feed.words
    if words[BY_CONNECTION] == 0:
        instrument = silent_instrument(feed, now_ns)
        if instrument >= 0:
            return invalidate(feed, instrument, _SILENT, now_ns, out)
    elif words[HEARD_NS] != 0 and now_ns - words[HEARD_NS] > words[SILENCE_NS]:
        for instrument in feed.rows:
            if feed.state[instrument, SYNCED] != 0:
                return invalidate(feed, instrument, _SILENT, now_ns, out)
        # Nothing is alive on this connection: no subscription would be answered either.
        words[SHUTDOWN] = 1
        return 0
    _wait(feed, now_ns)
    return 0


@njit
def _wait(feed: KrakenFeed, now_ns: int) -> None:
    """Want what was asked for and did not come: a reply can be lost, or be a refusal."""
    if feed.words[HEARD_NS] == 0:
        return
    for instrument in feed.rows:
        state = feed.state[instrument]
        if state[SYNCED] != 0 or state[WANTS_SYNC] != 0:
            state[WAITING_NS] = 0
        elif state[WAITING_NS] == 0:
            state[WAITING_NS] = now_ns
        elif now_ns - state[WAITING_NS] > SNAPSHOT_WAIT_NS:
            state[WAITING_NS] = 0
            state[WANTS_SYNC] = 1


@njit
def on_disconnect(feed: KrakenFeed, now_ns: int, out: NDArray[Any]) -> int:
    """Make the first valid book invalid; call again until it returns 0. The next connection subscribes everything anew."""
    feed.words[SHUTDOWN] = 0
    feed.words[HEARD_NS] = 0
    for instrument in feed.rows:
        state = feed.state[instrument]
        state[WANTS_SYNC] = 0
        state[WAITING_NS] = 0
        if state[SYNCED] != 0:
            count = invalidate(feed, instrument, _DISCONNECTED, now_ns, out)
            state[WANTS_SYNC] = 0
            return count
    return 0
