"""Binance tables: what a scan can find, the keys and words it knows, and the symbols and scales it reads."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.venues.binance import keys as key
from hft.venues.symbols import Symbols, new_symbols, packed


class FrameKind(IntEnum):
    """What a frame was; negative kinds gave no records and must not be used."""

    NO_ROOM = -2  #: more levels than `out` holds
    MALFORMED = -1
    OTHER = 0  #: valid, and nothing we read
    DEPTH = 1
    QUOTE = 2
    TRADE = 3
    SNAPSHOT = 4
    SHUTDOWN = 5
    REPLY = 6
    REPLY_ERROR = 7
    UNKNOWN_SYMBOL = 8  #: an event of a symbol that is not in the table


class Found(IntEnum):
    """Index into `Scanner.found`: what the last scan found."""

    INSTRUMENT = 0  #: row, or -1
    FIRST_ID = 1  #: U
    LAST_ID = 2  #: u, lastUpdateId, or the trade id
    EXCHANGE_NS = 3
    RECORDS = 4  #: MARKET records written
    KEYS = 5  #: bit set of the keys seen, by key number
    NO_ROOM = 6  #: 1: `out` was too small


class ScanCount(IntEnum):
    """Index into `Scanner.counts`: FrameKind k is counted at k + 2; then the rest."""

    NO_ROOM = 0
    MALFORMED = 1
    OTHER = 2
    DEPTH = 3
    QUOTE = 4
    TRADE = 5
    SNAPSHOT = 6
    SHUTDOWN = 7
    REPLY = 8
    REPLY_ERROR = 9
    UNKNOWN_SYMBOL = 10
    UNKNOWN_KEYS = 11  #: keys that no event we read has
    OFF_LOT = 12  #: sizes rounded to whole lots


#: Values of "e" that are read, and what they are.
EVENT_WORDS = ("depthUpdate", "bookTicker", "trade", "serverShutdown")
EVENT_KINDS = (int(FrameKind.DEPTH), int(FrameKind.QUOTE), int(FrameKind.TRADE), int(FrameKind.SHUTDOWN))

_WORD_BYTES_MAX = 16


class Scanner(NamedTuple):
    """Symbols and scales that a scan reads, and the scratch it writes; one a connection, never shared by threads."""

    instruments: NDArray[Any]  #: INSTRUMENT, by row
    symbols: Symbols  #: symbols on the wire -> rows of `instruments`
    words: NDArray[Any]  #: uint8[n, 16]: EVENT_WORDS, then key.WORDS
    word_bytes: NDArray[Any]  #: int64[n]
    at: NDArray[Any]  #: int64[64]: key -> offset of its value, valid where `found[KEYS]` has its bit
    found: NDArray[Any]  #: int64[len(Found)]
    counts: NDArray[Any]  #: int64[len(ScanCount)]


def new_scanner(instruments: NDArray[Any], symbols: Sequence[str], rows: Sequence[int] | None = None) -> Scanner:
    """A scanner for `symbols`, as on the wire; `rows` are their rows in `instruments`, by default 0, 1, 2, ...

    Raises ValueError for a repeated or overlong symbol, a row that is not in the table, or a scale that is not positive.
    """
    words, word_bytes = packed([word.encode() for word in (*EVENT_WORDS, *key.WORDS)], _WORD_BYTES_MAX)
    return Scanner(
        instruments=instruments,
        symbols=new_symbols(instruments, symbols, rows),
        words=words,
        word_bytes=word_bytes,
        at=np.zeros(64, np.int64),
        found=np.zeros(len(Found), np.int64),
        counts=np.zeros(len(ScanCount), np.int64),
    )
