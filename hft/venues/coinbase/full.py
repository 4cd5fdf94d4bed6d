"""Coinbase full: keeps a book exact from the `full` channel, order by order.

The rule: queue what comes; ask for `GET /products/<id>/book?level=3`; drop what is at or before the snapshot's sequence, apply the
rest. `open` adds an order, `match` takes from the maker's, `done` removes it if it is there, `change` sets its size or price if it is
there, `received` says nothing of the book. Each product's `sequence` rises by exactly 1; a gap, or a message out of order, makes the
book invalid and begins again. A level is the sum of its orders; those are kept in full, levels down to the bound (`levels.py`).

A heartbeat tells the newest sequence: what is still missing when the next one comes was lost.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.book import BOOK_FULL, Book, book_at, clear, crossed, level_lots
from hft.counters import FeedCounter
from hft.records import InvalidReason, MarketFlag
from hft.units import as_int
from hft.venues.book_feed import EVENT_NS, LAST_ID, SYNCED, WANTS_SYNC, invalidate, republish, set_synced, write_top
from hft.venues.coinbase import tables as t
from hft.venues.coinbase.levels import forget_bounds, is_thin, publish_level, put_level
from hft.venues.coinbase.resting import KEY, LOTS, add_order, find_order, remove_order
from hft.venues.coinbase.scan import (
    CHANGE,
    DONE,
    EXCHANGE_NS,
    ID_HIGH,
    ID_LOW,
    MATCH,
    OPEN,
    PRICE_TICKS,
    QTY_LOTS,
    SEQUENCE,
    SIDE,
    read_level,
)
from hft.venues.coinbase.state import (
    ASKED_NS,
    BEAT_SEQUENCE,
    BUFFERED,
    ORDERS,
    STRANGE_MAKERS,
)
from hft.venues.coinbase.uuids import read_uuid
from hft.venues.json_bytes import read_integer, skip_space
from hft.venues.members import first_element, next_element, note_members
from shm.counters import add
from shm.jit import njit

#: Messages queued while a snapshot is on its way; more begins again with the newest.
BUFFER_EVENTS = 65536

# Columns of a queued message.
_SEQUENCE, _KIND, _HIGH, _LOW, _SIGNED_TICKS, _LOTS = range(6)
BUFFER_COLUMNS = 6

_GAP, _CROSSED, _MALFORMED = int(InvalidReason.GAP), int(InvalidReason.CROSSED), int(InvalidReason.MALFORMED)
_LAST = int(MarketFlag.LAST)
#: Records that one message makes at most: a trade, two levels, two that went for them, TOP.
RECORDS_MAX = 6
#: What `_apply` returns for an order that the table has no room for, and for one that contradicts its level.
_NO_PLACE, _CONTRADICTION = -1, -2


@njit
def on_order_event(feed: Any, kind: int, instrument: int, trades: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take the sequenced message that was just scanned; `out` begins with its `trades` TRADE records already."""
    found, state = feed.scanner.found, feed.state[instrument]
    sequence = found[SEQUENCE]
    if state[SYNCED] == 0:
        _queue(feed, kind, instrument)
        return trades
    if sequence <= state[LAST_ID]:
        return trades
    if sequence != state[LAST_ID] + 1 or len(out) < RECORDS_MAX:
        _queue(feed, kind, instrument)
        return _invalidate(feed, instrument, _GAP if sequence != state[LAST_ID] + 1 else BOOK_FULL, trades, received_ns, out)
    state[LAST_ID] = sequence
    state[EVENT_NS] = received_ns
    book = book_at(feed.books, instrument)
    key = found[PRICE_TICKS] * found[SIDE]
    exchange_ns = found[EXCHANGE_NS]
    n = _apply(feed, instrument, book, kind, found[ID_HIGH], found[ID_LOW], key, found[QTY_LOTS], received_ns, exchange_ns, out, trades)
    if n < 0:
        return _invalidate(feed, instrument, BOOK_FULL if n == _NO_PLACE else _GAP, trades, received_ns, out)
    if n == trades:
        return n
    if crossed(book):
        return _invalidate(feed, instrument, _CROSSED, trades, received_ns, out)
    if is_thin(book, feed.bounds[instrument]):
        return _invalidate(feed, instrument, BOOK_FULL, trades, received_ns, out)
    if trades > 0:
        # The trade and what it did to the book are one event.
        out[0]["flags"] &= ~_LAST
    write_top(feed, instrument, book, received_ns, exchange_ns, out, n)
    return n + 1


@njit
def _invalidate(feed: Any, instrument: int, reason: int, trades: int, now_ns: int, out: NDArray[Any]) -> int:
    """INVALID behind a trade, which stays true; one event of both."""
    if trades == 0:
        return lose(feed, instrument, reason, now_ns, out)
    count = lose(feed, instrument, reason, now_ns, out[trades:])
    if count > 0:
        out[0]["flags"] &= ~_LAST
    return trades + count


@njit
def on_heartbeat_sequence(feed: Any, instrument: int, received_ns: int, out: NDArray[Any]) -> int:
    """Compare with the heartbeat before: what it told of and is still missing was lost."""
    state = feed.state[instrument]
    want_snapshot(feed, instrument, received_ns)
    if state[SYNCED] == 0:
        return 0
    before = state[BEAT_SEQUENCE]
    state[BEAT_SEQUENCE] = feed.scanner.found[SEQUENCE]
    return lose(feed, instrument, _GAP, received_ns, out) if state[LAST_ID] < before else 0


@njit
def lose(feed: Any, instrument: int, reason: int, now_ns: int, out: NDArray[Any]) -> int:
    """Make the book invalid; one INVALID record if it was valid before. It is asked for from here on."""
    count = invalidate(feed, instrument, reason, now_ns, out)
    if count > 0:
        feed.state[instrument, ASKED_NS] = now_ns
    return count


@njit
def want_snapshot(feed: Any, instrument: int, received_ns: int) -> None:
    """Ask for a snapshot of a book that is not in step, once: the subscription is in effect."""
    state = feed.state[instrument]
    if state[SYNCED] == 0 and state[ASKED_NS] == 0:
        state[ASKED_NS] = received_ns
        state[WANTS_SYNC] = 1


@njit
def _queue(feed: Any, kind: int, instrument: int) -> None:
    found, state = feed.scanner.found, feed.state[instrument]
    if state[BUFFERED] >= feed.queued.shape[1]:
        state[BUFFERED] = 0
    event = feed.queued[instrument, state[BUFFERED]]
    event[_SEQUENCE] = found[SEQUENCE]
    event[_KIND] = kind
    event[_HIGH] = found[ID_HIGH]
    event[_LOW] = found[ID_LOW]
    event[_SIGNED_TICKS] = found[PRICE_TICKS] * found[SIDE]
    event[_LOTS] = found[QTY_LOTS]
    state[BUFFERED] += 1


@njit
def _apply(
    feed: Any,
    instrument: int,
    book: Book,
    kind: int,
    high: int,
    low: int,
    key: int,
    lots: int,
    received_ns: int,
    exchange_ns: int,
    out: NDArray[Any],
    n: int,
) -> int:
    """Do to orders and levels what a message says; the number of records then in `out`, or a negative code."""
    state, table = feed.state[instrument], feed.resting[instrument]
    if kind != OPEN and kind != MATCH and kind != DONE and kind != CHANGE:
        return n
    place = find_order(table, high, low)
    if place < 0 and kind != OPEN:
        # A maker that was never on the book would mean that an open was lost, which the sequence excludes.
        state[STRANGE_MAKERS] += 1 if kind == MATCH else 0
        return n
    key_before = as_int(table[place, KEY]) if place >= 0 else as_int(0)
    lots_before = as_int(table[place, LOTS]) if place >= 0 else as_int(0)
    key_after, lots_after = key_before, as_int(0)
    if kind == OPEN:
        key_after, lots_after = key, lots
    elif kind == MATCH:
        lots_after = max(lots_before - lots, 0)
    elif kind == CHANGE:
        key_after = key if key != 0 else key_before
        lots_after = lots if lots >= 0 else lots_before
    if place < 0:
        if 2 * (state[ORDERS] + 1) > len(table):
            return _NO_PLACE
        add_order(table, high, low, key_after, lots_after)
        state[ORDERS] += 1
    elif lots_after == 0:
        remove_order(table, place)
        state[ORDERS] -= 1
    else:
        table[place, KEY] = key_after
        table[place, LOTS] = lots_after
    last_id = state[LAST_ID]
    if key_after == key_before:
        return _shift(feed, instrument, book, key_after, lots_after - lots_before, received_ns, exchange_ns, last_id, out, n)
    if lots_before > 0:
        n = _shift(feed, instrument, book, key_before, -lots_before, received_ns, exchange_ns, last_id, out, n)
    if n >= 0 and lots_after > 0:
        n = _shift(feed, instrument, book, key_after, lots_after, received_ns, exchange_ns, last_id, out, n)
    return n


@njit
def _shift(
    feed: Any, instrument: int, book: Book, key: int, lots: int, received_ns: int, exchange_ns: int, last_id: int, out: NDArray[Any], n: int
) -> int:
    """Change the size of a level, if it is within its bound, and publish it."""
    bounds = feed.bounds[instrument]
    side = 1 if key > 0 else -1
    if lots == 0 or key < bounds[(1 - side) >> 1]:
        return n
    after = level_lots(book, side, key * side) + lots
    if after < 0:
        return _CONTRADICTION
    return publish_level(book, bounds, side, key * side, after, instrument, received_ns, exchange_ns, last_id, out, n)


@njit
def on_whole_orders(feed: Any, instrument: int, data: NDArray[Any], start: int, end: int, now_ns: int, out: NDArray[Any]) -> int:
    """Take a level 3 snapshot; the whole book if the instrument is SYNCED by it, else 0 and WANTS_SYNC says what is next."""
    state, places = feed.state[instrument], feed.scanner.places
    if state[SYNCED] != 0:
        return 0
    state[WANTS_SYNC] = 1
    state[ASKED_NS] = now_ns
    begin = skip_space(data, start, end)
    past = note_members(feed.scanner.keys, data, begin, end, places)
    sequence = as_int(-1)
    if past >= 0 and skip_space(data, past, end) == end and places[t.SEQUENCE] >= 0 and places[t.BIDS] >= 0 and places[t.ASKS] >= 0:
        sequence, _ = read_integer(data, places[t.SEQUENCE], end)
    bids_at, asks_at = as_int(places[t.BIDS]), as_int(places[t.ASKS])
    if sequence < 0:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        return 0
    if state[BUFFERED] > 0 and sequence + 1 < feed.queued[instrument, 0, _SEQUENCE]:
        return 0
    book = book_at(feed.books, instrument)
    clear(book)
    forget_bounds(feed.bounds[instrument])
    forget_orders(feed, instrument)
    if _read_orders(feed, instrument, book, 1, data, bids_at, end) < 0 or _read_orders(feed, instrument, book, -1, data, asks_at, end) < 0:
        add(feed.counters, FeedCounter.MALFORMED, 1)
        return 0
    state[LAST_ID] = sequence
    if not _replay(feed, instrument, book, now_ns, out) or crossed(book):
        return 0
    state[BEAT_SEQUENCE] = 0
    state[ASKED_NS] = 0
    set_synced(feed, instrument, now_ns)
    return republish(feed, instrument, now_ns, out)


@njit
def forget_orders(feed: Any, instrument: int) -> None:
    """Empty the table of an instrument's orders."""
    feed.resting[instrument, :, LOTS] = 0
    feed.state[instrument, ORDERS] = 0


@njit
def _read_orders(feed: Any, instrument: int, book: Book, side: int, data: NDArray[Any], at: int, end: int) -> int:
    """Read `[["price","size","order_id"],...]` of one side; the offset past it, or -1."""
    state, table, bounds = feed.state[instrument], feed.resting[instrument], feed.bounds[instrument]
    scale = feed.scanner.instruments[instrument]
    at, more = first_element(data, at, end)
    while more:
        at, inner = first_element(data, at, end)
        if not inner:
            return -1
        ticks, lots, at = read_level(feed.scanner, data, at, end, scale)
        at, inner = next_element(data, at, end)
        if not inner or lots == 0:
            return -1
        high, low, at = read_uuid(data, at, end)
        at, inner = next_element(data, at, end)
        if at < 0 or inner or find_order(table, high, low) >= 0 or 2 * (state[ORDERS] + 1) > len(table):
            return -1
        add_order(table, high, low, ticks * side, lots)
        state[ORDERS] += 1
        if ticks * side >= bounds[(1 - side) >> 1]:
            put_level(book, bounds, side, ticks, level_lots(book, side, ticks) + lots)
        at, more = next_element(data, at, end)
    return at


@njit
def _replay(feed: Any, instrument: int, book: Book, now_ns: int, out: NDArray[Any]) -> bool:
    """Apply the queue on a snapshot; False if it has a gap or contradicts it, and then only later messages are kept."""
    state = feed.state[instrument]
    count = as_int(state[BUFFERED])
    state[BUFFERED] = 0
    for i in range(count):
        event = feed.queued[instrument, i]
        if event[_SEQUENCE] <= state[LAST_ID]:
            continue
        if event[_SEQUENCE] != state[LAST_ID] + 1:
            add(feed.counters, FeedCounter.GAPS, 1)
            return False
        state[LAST_ID] = event[_SEQUENCE]
        kind, high, low = as_int(event[_KIND]), as_int(event[_HIGH]), as_int(event[_LOW])
        key, lots = as_int(event[_SIGNED_TICKS]), as_int(event[_LOTS])
        if _apply(feed, instrument, book, kind, high, low, key, lots, now_ns, 0, out, 0) < 0:
            return False
    return True
