"""Binance plain frames: reads a `depthUpdate` that is written exactly as the venue writes it, without looking for its keys.

    {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255408,"s":"BTCUSDT","U":50093239208,
     "u":50093239224,"b":[["61837.63000000","3.78826000"]],"a":[]}}

Whatever differs in a single byte, white space or an unknown key, is left to the scanner, which reads any valid form of it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.crc32c import word_at
from hft.records import MarketFlag
from hft.venues.binance.fields import read_levels, read_time
from hft.venues.binance.tables import PIECE_BYTES, Found, FrameKind, ScanCount, Scanner
from hft.venues.json_bytes import BACKSLASH, CLOSE_BRACE, JSON_QUOTE, SPACE, byte_at, is_mark, read_integer
from hft.venues.symbols import find_symbol
from shm.jit import njit

#: What `read_plain_depth` answers when the frame is to be read the long way.
OTHERWISE = -100

_HEAD, _EVENT, _SYMBOL, _FIRST, _LAST, _BIDS, _ASKS = range(7)
_DEPTH = int(FrameKind.DEPTH)
_INSTRUMENT, _FIRST_ID, _LAST_ID = int(Found.INSTRUMENT), int(Found.FIRST_ID), int(Found.LAST_ID)
_EXCHANGE_NS, _RECORDS, _OFF_LOT = int(Found.EXCHANGE_NS), int(Found.RECORDS), int(ScanCount.OFF_LOT)
_BID = int(MarketFlag.BID)


@njit
def _skip_piece(scanner: Scanner, data: NDArray[Any], at: int, piece: int) -> int:
    """Step over piece number `piece`; -1 if it is not there. `at` is -1 or has PIECE_BYTES bytes behind it."""
    size = scanner.piece_bytes[piece]
    if at < 0 or at + PIECE_BYTES > len(data):
        return -1
    row = scanner.pieces[piece]
    differs = 0
    for k in range(0, size - 7, 8):
        differs |= word_at(data, at + k) ^ word_at(row, k)
    for k in range(size & ~7, size):
        differs |= byte_at(data, at + k) ^ byte_at(row, k)
    return at + size if differs == 0 else -1


@njit
def _skip_plain_text(data: NDArray[Any], at: int, end: int) -> int:
    """Offset of the quote that ends a text of printable ASCII without escapes, or -1."""
    while 0 <= at < end:
        byte = byte_at(data, at)
        if byte == JSON_QUOTE:
            return at
        if byte < SPACE or byte == BACKSLASH or byte >= 127:
            return -1
        at += 1
    return -1


@njit
def read_plain_depth(scanner: Scanner, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read the frame `data[start:end]` as `scan` does, if it is plain: a FrameKind, or OTHERWISE with nothing changed."""
    found = scanner.found
    at = _skip_plain_text(data, _skip_piece(scanner, data, start, _HEAD), end)
    at = _skip_piece(scanner, data, at, _EVENT)
    if at < 0:
        return OTHERWISE
    time_at = at
    while at < end and 48 <= byte_at(data, at) <= 57:
        at += 1
    symbol = _skip_piece(scanner, data, at, _SYMBOL)
    symbol_end = _skip_plain_text(data, symbol, end)
    at = _skip_piece(scanner, data, symbol_end, _FIRST)
    if at < 0:
        return OTHERWISE
    first_id, at = read_integer(data, at, end)
    at = _skip_piece(scanner, data, at, _LAST)
    if at < 0:
        return OTHERWISE
    last_id, at = read_integer(data, at, end)
    at = _skip_piece(scanner, data, at, _BIDS)
    exchange_ns = read_time(data, time_at, end)
    row = find_symbol(scanner.symbols, data, symbol, symbol_end)
    if at < 0 or exchange_ns < 0 or last_id < first_id or row < 0:
        return OTHERWISE
    found[_INSTRUMENT] = row
    found[_FIRST_ID] = first_id
    found[_LAST_ID] = last_id
    found[_EXCHANGE_NS] = exchange_ns
    off_lot = scanner.counts[_OFF_LOT]
    at = read_levels(scanner, data, at, end, _BID, received_ns, out)
    at = _skip_piece(scanner, data, at, _ASKS)
    if at >= 0:
        at = read_levels(scanner, data, at, end, 0, received_ns, out)
    if at + 2 == end and is_mark(data, at, end, CLOSE_BRACE) and is_mark(data, at + 1, end, CLOSE_BRACE):
        return _DEPTH
    found[_INSTRUMENT] = -1
    found[_RECORDS] = 0
    scanner.counts[_OFF_LOT] = off_lot
    return OTHERWISE
