"""Book feed: what every venue's feed does with its books, whatever rule keeps them in step.

A venue's feed is a NamedTuple with the fields of `BookFeed` and its own. Each function writes MARKET records to `out` and
returns how many; the last of each event is flagged LAST.
"""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

from hft.book import Book, Books, best_lots, best_ticks, book_at, level_lots, worse_ticks
from hft.counters import FeedCounter
from hft.records import InvalidReason, MarketFlag, MarketKind, Side
from hft.venues.fields import write_record
from shm.counters import add
from shm.jit import njit

# Columns of BookFeed.state that all venues have; a venue's own begin at OWN_COLUMNS.
SYNCED = 0  #: 1 while the book may be used
LAST_ID = 1  #: update id that the book is at; 0 where the venue has none
WANTS_SYNC = 2  #: 1 until cold code began what the venue needs to be in step again
EVENT_NS = 3  #: received_ns of the newest message that moved the book, or when it was synced
REASON = 4  #: InvalidReason while not SYNCED
STAMPED_NS = 5  #: exchange_ns of the newest event of the book; 0 if it had none
OWN_COLUMNS = 8

# Cells of BookFeed.words.
SHUTDOWN = 0  #: 1 once the venue announced its shutdown: connect anew
SILENCE_NS = 1
FEED_WORDS = 8

_GAP, _CROSSED, _SILENT = int(InvalidReason.GAP), int(InvalidReason.CROSSED), int(InvalidReason.SILENT)
_CHECKSUM, NEVER_SYNCED = int(InvalidReason.CHECKSUM), int(InvalidReason.NEVER_SYNCED)
_LEVEL, _TOP, _RESET = int(MarketKind.LEVEL), int(MarketKind.TOP), int(MarketKind.RESET)
_VALID, _INVALID = int(MarketKind.VALID), int(MarketKind.INVALID)
_LAST, _BID = int(MarketFlag.LAST), int(MarketFlag.BID)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)


class BookFeed(Protocol):
    """The fields that every venue's feed has; rows are of the whole instrument table."""

    @property
    def books(self) -> Books:
        """The books."""

    @property
    def state(self) -> NDArray[Any]:
        """int64 [instrument, column]."""

    @property
    def rows(self) -> NDArray[Any]:
        """int64: this venue's instruments."""

    @property
    def words(self) -> NDArray[Any]:
        """int64, see the cells above."""

    @property
    def counters(self) -> NDArray[Any]:
        """int64 by FeedCounter."""


@njit
def write_top(feed: BookFeed, instrument: int, book: Book, received_ns: int, exchange_ns: int, out: NDArray[Any], at: int) -> None:
    """Write the TOP record that closes a book event."""
    feed.state[instrument, STAMPED_NS] = exchange_ns
    bid_ticks, bid_lots = best_ticks(book, _BUY), best_lots(book, _BUY)
    write_record(out, at, _TOP, _LAST, instrument, received_ns, exchange_ns, feed.state[instrument, LAST_ID], bid_ticks, bid_lots)
    out[at]["ask_ticks"] = best_ticks(book, _SELL)
    out[at]["ask_lots"] = best_lots(book, _SELL)


@njit
def begin_book(feed: BookFeed, instrument: int, now_ns: int) -> None:
    """The book is another from here: a snapshot tells no time of an event."""
    feed.state[instrument, EVENT_NS] = now_ns
    feed.state[instrument, STAMPED_NS] = 0


@njit
def set_synced(feed: BookFeed, instrument: int, now_ns: int) -> None:
    """The book is in step from here."""
    state = feed.state[instrument]
    state[SYNCED] = 1
    state[WANTS_SYNC] = 0
    begin_book(feed, instrument, now_ns)
    add(feed.counters, FeedCounter.BOOKS_VALID, 1)
    add(feed.counters, FeedCounter.RESYNCS, 1)


@njit
def invalidate(feed: BookFeed, instrument: int, reason: int, now_ns: int, out: NDArray[Any]) -> int:
    """Make the book invalid and ask for a resync; one INVALID record if it was valid before."""
    state, counters = feed.state[instrument], feed.counters
    if state[SYNCED] == 0:
        return 0
    state[SYNCED] = 0
    state[REASON] = reason
    state[WANTS_SYNC] = 1
    add(counters, FeedCounter.BOOKS_VALID, -1)
    if reason == _GAP:
        add(counters, FeedCounter.GAPS, 1)
    elif reason == _CROSSED:
        add(counters, FeedCounter.CROSSED, 1)
    elif reason == _SILENT:
        add(counters, FeedCounter.SILENT, 1)
    elif reason == _CHECKSUM:
        add(counters, FeedCounter.CHECKSUM_BAD, 1)
    write_record(out, 0, _INVALID, _LAST, instrument, now_ns, 0, reason, 0, 0)
    return 1


@njit
def republish(feed: BookFeed, instrument: int, now_ns: int, out: NDArray[Any]) -> int:
    """The whole book as RESET, LEVEL for each level, VALID, TOP, with the times of what moved it last; or INVALID if it is not SYNCED."""
    state = feed.state[instrument]
    if state[SYNCED] == 0:
        write_record(out, 0, _INVALID, _LAST, instrument, now_ns, 0, state[REASON], 0, 0)
        return 1
    book = book_at(feed.books, instrument)
    # A book that nothing has moved is as old to who is told of it again.
    last_id, received_ns = state[LAST_ID], state[EVENT_NS]
    write_record(out, 0, _RESET, 0, instrument, received_ns, 0, last_id, 0, 0)
    n = 1
    for side in (_BUY, _SELL):
        price_ticks = best_ticks(book, side)
        while price_ticks != 0:
            flags = _BID if side == _BUY else 0
            write_record(out, n, _LEVEL, flags, instrument, received_ns, 0, last_id, price_ticks, level_lots(book, side, price_ticks))
            price_ticks = worse_ticks(book, side, price_ticks)
            n += 1
    write_record(out, n, _VALID, 0, instrument, received_ns, 0, last_id, 0, 0)
    write_top(feed, instrument, book, received_ns, state[STAMPED_NS], out, n + 1)
    return n + 2


@njit
def silent_instrument(feed: BookFeed, now_ns: int) -> int:
    """The first instrument of which nothing moved a valid book for too long, or -1."""
    for instrument in feed.rows:
        state = feed.state[instrument]
        if state[SYNCED] != 0 and now_ns - state[EVENT_NS] > feed.words[SILENCE_NS]:
            return instrument
    return -1
