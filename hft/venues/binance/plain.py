"""Binance plain frames: reads a `depthUpdate` that is written exactly as the venue writes it, without looking for its keys.

    {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255408,"s":"BTCUSDT","U":50093239208,
     "u":50093239224,"b":[["61837.63000000","3.78826000"]],"a":[]}}

Whatever differs in a single byte, white space or an unknown key, is left to the scanner, which reads any valid form of it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import MarketFlag
from hft.venues.binance.fields import read_levels, read_time
from hft.venues.binance.tables import Found, FrameKind, ScanCount, Scanner
from hft.venues.json_bytes import CLOSE_BRACE, byte_at, is_mark, read_integer
from hft.venues.pieces import new_pieces, skip_piece, skip_plain_text
from hft.venues.symbols import find_symbol
from shm.jit import njit

#: What `read_plain_depth` answers when the frame is to be read the long way.
OTHERWISE = -100

_HEAD, _EVENT, _SYMBOL, _FIRST, _LAST, _BIDS, _ASKS = range(7)
_PIECES = new_pieces(('{"stream":"', '","data":{"e":"depthUpdate","E":', ',"s":"', '","U":', ',"u":', ',"b":', ',"a":'))
_DEPTH = int(FrameKind.DEPTH)
_INSTRUMENT, _FIRST_ID, _LAST_ID = int(Found.INSTRUMENT), int(Found.FIRST_ID), int(Found.LAST_ID)
_EXCHANGE_NS, _RECORDS, _OFF_LOT = int(Found.EXCHANGE_NS), int(Found.RECORDS), int(ScanCount.OFF_LOT)
_BID = int(MarketFlag.BID)


@njit
def read_plain_depth(scanner: Scanner, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read the frame `data[start:end]` as `scan` does, if it is plain: a FrameKind, or OTHERWISE with nothing changed."""
    found = scanner.found
    at = skip_plain_text(data, skip_piece(_PIECES, data, start, _HEAD), end)
    at = skip_piece(_PIECES, data, at, _EVENT)
    if at < 0:
        return OTHERWISE
    time_at = at
    while at < end and 48 <= byte_at(data, at) <= 57:
        at += 1
    symbol = skip_piece(_PIECES, data, at, _SYMBOL)
    symbol_end = skip_plain_text(data, symbol, end)
    at = skip_piece(_PIECES, data, symbol_end, _FIRST)
    if at < 0:
        return OTHERWISE
    first_id, at = read_integer(data, at, end)
    at = skip_piece(_PIECES, data, at, _LAST)
    if at < 0:
        return OTHERWISE
    last_id, at = read_integer(data, at, end)
    at = skip_piece(_PIECES, data, at, _BIDS)
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
    at = skip_piece(_PIECES, data, at, _ASKS)
    if at >= 0:
        at = read_levels(scanner, data, at, end, 0, received_ns, out)
    if at + 2 == end and is_mark(data, at, end, CLOSE_BRACE) and is_mark(data, at + 1, end, CLOSE_BRACE):
        return _DEPTH
    found[_INSTRUMENT] = -1
    found[_RECORDS] = 0
    scanner.counts[_OFF_LOT] = off_lot
    return OTHERWISE
