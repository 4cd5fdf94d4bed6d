"""Binance tables: what a scan can find, the keys and words it knows, and the symbols and scales it reads."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import INSTRUMENT
from hft.venues import binance_keys as key
from shm.jit import njit


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

_SYMBOL_BYTES_MAX = 64
_WORD_BYTES_MAX = 16


class Scanner(NamedTuple):
    """Symbols and scales that a scan reads, and the scratch it writes; one a connection, never shared by threads."""

    instruments: NDArray[Any]  #: INSTRUMENT, by row
    symbols: NDArray[Any]  #: uint8[symbols, 64], as on the wire
    symbol_bytes: NDArray[Any]  #: int64[symbols]
    symbol_rows: NDArray[Any]  #: int64[symbols] -> instrument row
    slots: NDArray[Any]  #: int64[power of two]: hash -> symbol + 1, or 0
    words: NDArray[Any]  #: uint8[n, 16]: EVENT_WORDS, then key.WORDS
    word_bytes: NDArray[Any]  #: int64[n]
    at: NDArray[Any]  #: int64[64]: key -> offset of its value, valid where `found[KEYS]` has its bit
    found: NDArray[Any]  #: int64[len(Found)]
    counts: NDArray[Any]  #: int64[len(ScanCount)]


def new_scanner(instruments: NDArray[Any], symbols: Sequence[str], rows: Sequence[int] | None = None) -> Scanner:
    """A scanner for `symbols`, as on the wire; `rows` are their rows in `instruments`, by default 0, 1, 2, ...

    Raises ValueError for a repeated or overlong symbol, a row that is not in the table, or a scale that is not positive.
    """
    encoded = [symbol.encode() for symbol in symbols]
    rows = range(len(encoded)) if rows is None else rows
    if instruments.dtype != INSTRUMENT:
        raise ValueError(f"instruments: expected INSTRUMENT rows, got {instruments.dtype}")
    if len(set(encoded)) != len(encoded) or not all(0 < len(symbol) <= _SYMBOL_BYTES_MAX for symbol in encoded):
        raise ValueError(f"symbols: expected distinct names of 1 to {_SYMBOL_BYTES_MAX} bytes, got {list(symbols)}")
    if len(rows) != len(encoded) or any(not 0 <= row < len(instruments) for row in rows):
        raise ValueError(f"rows: expected {len(encoded)} rows below {len(instruments)}, got {list(rows)}")
    for row in rows:
        scale = instruments[row]
        if (
            scale["tick_units"] <= 0
            or scale["lot_units"] <= 0
            or not (0 <= scale["price_decimals"] <= 18 and 0 <= scale["qty_decimals"] <= 18)
        ):
            raise ValueError(f"instrument {row}: tick_units and lot_units must be positive, decimals 0 to 18")
    slots = np.zeros(max(16, 1 << (4 * len(encoded)).bit_length()), np.int64)
    table, lengths = _packed(encoded, _SYMBOL_BYTES_MAX)
    for i, symbol in enumerate(encoded):
        slot = symbol_hash(table[i], 0, len(symbol)) & (len(slots) - 1)
        while slots[slot]:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = i + 1
    words, word_bytes = _packed([word.encode() for word in (*EVENT_WORDS, *key.WORDS)], _WORD_BYTES_MAX)
    return Scanner(
        instruments=instruments,
        symbols=table,
        symbol_bytes=lengths,
        symbol_rows=np.array(rows, np.int64),
        slots=slots,
        words=words,
        word_bytes=word_bytes,
        at=np.zeros(64, np.int64),
        found=np.zeros(len(Found), np.int64),
        counts=np.zeros(len(ScanCount), np.int64),
    )


def _packed(texts: Sequence[bytes], width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    table = np.zeros((max(1, len(texts)), width), np.uint8)
    for i, text in enumerate(texts):
        table[i, : len(text)] = np.frombuffer(text, np.uint8)
    return table, np.array([len(text) for text in texts], np.int64)


@njit
def symbol_hash(data: NDArray[Any], start: int, end: int) -> int:
    """Hash of a symbol's bytes, for `Scanner.slots`."""
    value = 0
    for i in range(start, end):
        value = (value * 31 + int(data[i])) & 0xFFFFFFF
    return value ^ (value >> 7)
