"""Coinbase tables: what a scan can find, the words it knows, and the symbols and scales it reads."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.venues.members import Words, new_words
from hft.venues.symbols import Symbols, new_symbols

#: Names of members, the most frequent ones first; their numbers.
KEYS = (
    *("type", "product_id", "changes", "time", "price", "size", "side", "sequence", "order_id", "remaining_size", "trade_id"),
    *("maker_order_id", "new_size", "new_price", "last_trade_id", "bids", "asks", "best_bid", "best_bid_size", "best_ask"),
    *("best_ask_size", "message", "reason", "channels"),
)
TYPE, PRODUCT, CHANGES, TIME, PRICE, SIZE, SIDE, SEQUENCE, ORDER_ID, REMAINING, TRADE_ID = range(11)
MAKER_ID, NEW_SIZE, NEW_PRICE, LAST_TRADE_ID, BIDS, ASKS, BEST_BID, BEST_BID_SIZE, BEST_ASK = range(11, 20)
BEST_ASK_SIZE, MESSAGE, REASON, CHANNELS = range(20, 24)

#: Sides as they are written; their numbers.
SIDES = ("buy", "sell")


class FrameKind(IntEnum):
    """What a message was; negative kinds must not be used."""

    NO_ROOM = -2  #: more changes than there is room for
    MALFORMED = -1
    OTHER = 0  #: valid, and nothing we read
    UPDATE = 1  #: `l2update`
    MATCH = 2
    OPEN = 3
    DONE = 4
    RECEIVED = 5
    CHANGE = 6
    HEARTBEAT = 7
    TICKER = 8
    SNAPSHOT = 9
    LAST_MATCH = 10  #: the trade before the subscription: history
    SUBSCRIPTIONS = 11
    ERROR = 12  #: a subscription was refused; the connection lives on without its data
    UNKNOWN_SYMBOL = 13


#: Values of "type", FrameKind by FrameKind from UPDATE on.
TYPES = (
    *("l2update", "match", "open", "done", "received", "change", "heartbeat", "ticker", "snapshot", "last_match"),
    *("subscriptions", "error"),
)


class Found(IntEnum):
    """Index into `Scanner.found`: what the last scan found."""

    INSTRUMENT = 0  #: row, or -1
    EXCHANGE_NS = 1
    RECORDS = 2  #: changes in `Scanner.levels`
    SEQUENCE = 3
    TRADE_ID = 4  #: of a match; of a heartbeat, the newest trade's
    SIDE = 5  #: of the order; of a match, the maker's
    PRICE_TICKS = 6  #: 0 if the message has none
    QTY_LOTS = 7  #: match: traded; open: remaining; change: new size, -1 if the message has none
    ID_HIGH = 8  #: the order's UUID; of a match, the maker's
    ID_LOW = 9
    NO_ROOM = 10  #: 1: what came has no room


class ScanCount(IntEnum):
    """Index into `Scanner.counts`: FrameKind k is counted at k + 2; then the rest."""

    NO_ROOM = 0
    MALFORMED = 1
    OTHER = 2
    UPDATE = 3
    MATCH = 4
    OPEN = 5
    DONE = 6
    RECEIVED = 7
    CHANGE = 8
    HEARTBEAT = 9
    TICKER = 10
    SNAPSHOT = 11
    LAST_MATCH = 12
    SUBSCRIPTIONS = 13
    ERROR = 14
    UNKNOWN_SYMBOL = 15
    UNKNOWN_KEYS = 16  #: members that are not read
    OFF_LOT = 17  #: sizes rounded to whole lots


# Columns of Scanner.levels.
LEVEL_SIDE, LEVEL_TICKS, LEVEL_LOTS = range(3)

#: Changes in one message.
CHANGES_MAX = 8192


class Scanner(NamedTuple):
    """Symbols and scales that a scan reads, and the scratch it writes; one a connection, never shared by threads."""

    instruments: NDArray[Any]  #: INSTRUMENT, by row
    symbols: Symbols  #: products -> rows of `instruments`
    keys: Words
    types: Words
    sides: Words
    places: NDArray[Any]  #: int64: key -> offset of its value, -1 if absent
    levels: NDArray[Any]  #: int64 [CHANGES_MAX, (side, ticks, lots)]
    found: NDArray[Any]  #: int64[len(Found)]
    counts: NDArray[Any]  #: int64[len(ScanCount)]


def new_scanner(instruments: NDArray[Any], symbols: Sequence[str], rows: Sequence[int] | None = None) -> Scanner:
    """A scanner for `symbols`, as on the wire; `rows` are their rows in `instruments`, by default 0, 1, 2, ...

    Raises ValueError for a repeated or overlong symbol, a row that is not in the table, or a scale that is not positive.
    """
    return Scanner(
        instruments=instruments,
        symbols=new_symbols(instruments, symbols, rows),
        keys=new_words(KEYS),
        types=new_words(TYPES),
        sides=new_words(SIDES),
        places=np.full(len(KEYS), -1, np.int64),
        levels=np.zeros((CHANGES_MAX, 3), np.int64),
        found=np.zeros(len(Found), np.int64),
        counts=np.zeros(len(ScanCount), np.int64),
    )
