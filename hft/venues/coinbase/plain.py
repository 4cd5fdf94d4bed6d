"""Coinbase plain messages: reads an `l2update` that is written exactly as the venue writes it, without looking for its keys.

    {"type":"l2update","product_id":"SKL-BTC","changes":[["sell","0.00001306","660.5"]],"time":"2021-04-17T16:43:37.075687Z"}

Whatever differs in a single byte is left to the scanner, which reads any valid form of it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.units import as_int
from hft.venues.coinbase import tables as t
from hft.venues.coinbase.tables import Found, FrameKind, ScanCount, Scanner
from hft.venues.fields import read_lots, read_rfc3339, read_ticks
from hft.venues.json_bytes import CLOSE_BRACE, CLOSE_BRACKET, COMMA, is_mark
from hft.venues.pieces import new_pieces, skip_piece, skip_plain_text
from hft.venues.symbols import find_symbol
from shm.jit import njit

#: What `read_plain_update` answers when the message is to be read the long way.
OTHERWISE = -100

_HEAD, _CHANGES, _BUY, _SELL, _TIME = range(5)
_PIECES = new_pieces(('{"type":"l2update","product_id":"', '","changes":[', '["buy",', '["sell",', ',"time":'))
_UPDATE, _OFF_LOT = int(FrameKind.UPDATE), int(ScanCount.OFF_LOT)
_INSTRUMENT, _EXCHANGE_NS, _RECORDS = int(Found.INSTRUMENT), int(Found.EXCHANGE_NS), int(Found.RECORDS)


@njit
def _read_plain_changes(scanner: Scanner, row: int, data: NDArray[Any], at: int, end: int) -> int:
    """Read changes to `scanner.levels` on from behind the opening bracket; the offset past the closing one, or -1."""
    scale = scanner.instruments[row]
    n = 0
    while n < len(scanner.levels):
        side, past = 1, skip_piece(_PIECES, data, at, _BUY)
        if past < 0:
            side, past = -1, skip_piece(_PIECES, data, at, _SELL)
        if past < 0:
            return -1
        ticks, past = read_ticks(data, past, end, scale)
        if ticks <= 0 or not is_mark(data, past, end, COMMA):
            return -1
        lots, past = read_lots(scanner.counts, _OFF_LOT, data, past + 1, end, scale)
        if lots < 0 or not is_mark(data, past, end, CLOSE_BRACKET):
            return -1
        level = scanner.levels[n]
        level[t.LEVEL_SIDE] = side
        level[t.LEVEL_TICKS] = ticks
        level[t.LEVEL_LOTS] = lots
        n += 1
        at = past + 2
        if is_mark(data, past + 1, end, CLOSE_BRACKET):
            scanner.found[_RECORDS] = n
            return at
        if not is_mark(data, past + 1, end, COMMA):
            return -1
    return -1


@njit
def read_plain_update(scanner: Scanner, data: NDArray[Any], start: int, end: int) -> int:
    """Read the message `data[start:end]` as `scan` does, if it is plain: UPDATE, or OTHERWISE with nothing changed."""
    found = scanner.found
    product = skip_piece(_PIECES, data, start, _HEAD)
    product_end = skip_plain_text(data, product, end)
    at = skip_piece(_PIECES, data, product_end, _CHANGES)
    if at < 0:
        return OTHERWISE
    row = find_symbol(scanner.symbols, data, product, product_end)
    if row < 0:
        return OTHERWISE
    off_lot = scanner.counts[_OFF_LOT]
    at = skip_piece(_PIECES, data, _read_plain_changes(scanner, row, data, at, end), _TIME)
    exchange_ns = as_int(-1)
    if at >= 0:
        exchange_ns, at = read_rfc3339(data, at, end)
    if at < 0 or at + 1 != end or not is_mark(data, at, end, CLOSE_BRACE):
        found[_RECORDS] = 0
        scanner.counts[_OFF_LOT] = off_lot
        return OTHERWISE
    found[_INSTRUMENT] = row
    found[_EXCHANGE_NS] = exchange_ns
    return _UPDATE
