"""Kraken tables: what a scan can find, the words it knows, and the symbols and scales it reads."""

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
    *("price", "qty", "symbol", "bids", "asks", "checksum", "timestamp", "channel", "type", "data", "side", "trade_id"),
    *("method", "success", "error", "result", "pairs", "status", "price_precision", "qty_precision", "system"),
)
PRICE, QTY, SYMBOL, BIDS, ASKS, CHECKSUM, TIMESTAMP, CHANNEL, TYPE, DATA, SIDE, TRADE_ID = range(12)
METHOD, SUCCESS, ERROR, RESULT, PAIRS, STATUS, PRICE_PRECISION, QTY_PRECISION, SYSTEM = range(12, 21)

#: Texts of values that are read; their numbers.
VALUES = ("book", "trade", "instrument", "status", "heartbeat", "snapshot", "update", "buy", "sell", "subscribe")
BOOK, TRADE, INSTRUMENT, STATUS_CHANNEL, HEARTBEAT, SNAPSHOT, UPDATE, BUY, SELL, SUBSCRIBE = range(10)


class PairStatus(IntEnum):
    """What the `instrument` channel says of a pair; 0 until it said anything."""

    UNKNOWN = 0
    ONLINE = 1
    CANCEL_ONLY = 2
    POST_ONLY = 3
    LIMIT_ONLY = 4
    REDUCE_ONLY = 5
    MAINTENANCE = 6
    DELISTED = 7
    WORK_IN_PROGRESS = 8
    OTHER = 9  #: a status of its own, new to us


#: Statuses in which any limit order is taken; in the others at most some are.
TRADING_STATUSES = (PairStatus.ONLINE, PairStatus.LIMIT_ONLY)

_STATUS_WORDS = [status.name.lower() for status in PairStatus]


class FrameKind(IntEnum):
    """What a frame was; negative kinds must not be used."""

    NO_ROOM = -2  #: more levels or trades than there is room for
    MALFORMED = -1
    OTHER = 0  #: valid, and nothing we read
    BOOK_SNAPSHOT = 1
    BOOK_UPDATE = 2
    TRADE = 3
    INSTRUMENT = 4
    STATUS = 5
    HEARTBEAT = 6
    SUBSCRIBED = 7
    REFUSED = 8  #: a subscription was refused; the connection lives on without its data
    REPLY = 9  #: any other answer
    UNKNOWN_SYMBOL = 10


class Found(IntEnum):
    """Index into `Scanner.found`: what the last scan found."""

    INSTRUMENT = 0  #: row, or -1
    EXCHANGE_NS = 1
    RECORDS = 2  #: levels in `Scanner.levels`, or TRADE records written
    CHECKSUM = 3
    SYSTEM = 4  #: PairStatus of the venue as a whole
    NO_ROOM = 5  #: 1: what came has no room


class ScanCount(IntEnum):
    """Index into `Scanner.counts`: FrameKind k is counted at k + 2; then the rest."""

    NO_ROOM = 0
    MALFORMED = 1
    OTHER = 2
    BOOK_SNAPSHOT = 3
    BOOK_UPDATE = 4
    TRADE = 5
    INSTRUMENT = 6
    STATUS = 7
    HEARTBEAT = 8
    SUBSCRIBED = 9
    REFUSED = 10
    REPLY = 11
    UNKNOWN_SYMBOL = 12
    UNKNOWN_KEYS = 13
    OFF_LOT = 14  #: sizes rounded to whole lots


# Columns of Scanner.levels.
LEVEL_SIDE, LEVEL_TICKS, LEVEL_LOTS, PRICE_DIGITS, PRICE_DECIMALS, QTY_DIGITS, QTY_DECIMALS = range(7)

# Columns of Scanner.told: what an `instrument` message says of a pair of ours.
TOLD, TOLD_STATUS, TOLD_PRICE_DECIMALS, TOLD_QTY_DECIMALS = range(4)

#: Levels in one message; the deepest snapshot has 2000.
LEVELS_MAX = 8192


class Scanner(NamedTuple):
    """Symbols and scales that a scan reads, and the scratch it writes; one a connection, never shared by threads."""

    instruments: NDArray[Any]  #: INSTRUMENT, by row
    symbols: Symbols  #: symbols on the wire -> rows of `instruments`
    keys: Words
    values: Words
    statuses: Words  #: PairStatus by name
    places: NDArray[Any]  #: int64: key -> offset of its value at the top level, -1 if absent
    levels: NDArray[Any]  #: int64 [LEVELS_MAX, column]
    told: NDArray[Any]  #: int64 [instrument, column]
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
        values=new_words(VALUES),
        statuses=new_words(_STATUS_WORDS),
        places=np.full(len(KEYS), -1, np.int64),
        levels=np.zeros((LEVELS_MAX, 7), np.int64),
        told=np.zeros((len(instruments), 4), np.int64),
        found=np.zeros(len(Found), np.int64),
        counts=np.zeros(len(ScanCount), np.int64),
    )
