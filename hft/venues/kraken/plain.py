"""Kraken plain messages: reads an update of a book that is written exactly as the venue writes it, without looking for its keys.

    {"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":78858.8,"qty":0.00000000}],"asks":[],
     "checksum":2416540570,"timestamp":"2026-08-24T22:21:58.343688Z"}]}

Whatever differs in a single byte is left to the scanner, which reads any valid form of it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.units import as_int
from hft.venues.fields import read_rfc3339
from hft.venues.json_bytes import CLOSE_BRACE, CLOSE_BRACKET, COMMA, is_mark, read_integer
from hft.venues.kraken.levels import EXCHANGE_NS, INSTRUMENT, OFF_LOT, RECORDS, note_level
from hft.venues.kraken.tables import Found, FrameKind, Scanner
from hft.venues.pieces import new_pieces, skip_piece, skip_plain_text
from hft.venues.plain_numbers import plain_number
from hft.venues.symbols import find_symbol
from shm.jit import njit

#: What `read_plain_update` answers when the message is to be read the long way.
OTHERWISE = -100

_HEAD, _BIDS, _ASKS, _CHECKSUM_KEY, _TIMESTAMP, _PRICE, _QTY = range(7)
_PIECES = new_pieces(
    (
        '{"channel":"book","type":"update","data":[{"symbol":"',
        '","bids":[',
        ',"asks":[',
        ',"checksum":',
        ',"timestamp":',
        '{"price":',
        ',"qty":',
    )
)
_BOOK_UPDATE, _CHECKSUM = int(FrameKind.BOOK_UPDATE), int(Found.CHECKSUM)
_CHECKSUM_MAX = (1 << 32) - 1
_BUY, _SELL = 1, -1


@njit
def _read_plain_levels(scanner: Scanner, data: NDArray[Any], at: int, end: int, side: int) -> int:
    """Read levels on from behind the opening bracket; the offset past the closing one, or -1."""
    if at >= 0 and is_mark(data, at, end, CLOSE_BRACKET):
        return at + 1
    while at >= 0:
        price, price_decimals, past = plain_number(data, skip_piece(_PIECES, data, at, _PRICE), end)
        qty, qty_decimals, past = plain_number(data, skip_piece(_PIECES, data, past, _QTY), end)
        room = scanner.found[RECORDS] < len(scanner.levels)
        if past < 0 or not is_mark(data, past, end, CLOSE_BRACE) or not room:
            return -1
        if not note_level(scanner, side, price, price_decimals, qty, qty_decimals):
            return -1
        at = past + 2
        if is_mark(data, past + 1, end, CLOSE_BRACKET):
            return at
        if not is_mark(data, past + 1, end, COMMA):
            return -1
    return -1


@njit
def read_plain_update(scanner: Scanner, data: NDArray[Any], start: int, end: int) -> int:
    """Read the message `data[start:end]` as `scan` does, if it is plain: BOOK_UPDATE, or OTHERWISE with nothing changed."""
    found = scanner.found
    symbol = skip_piece(_PIECES, data, start, _HEAD)
    symbol_end = skip_plain_text(data, symbol, end)
    at = skip_piece(_PIECES, data, symbol_end, _BIDS)
    if at < 0:
        return OTHERWISE
    row = find_symbol(scanner.symbols, data, symbol, symbol_end)
    if row < 0:
        return OTHERWISE
    found[INSTRUMENT] = row
    off_lot = scanner.counts[OFF_LOT]
    at = skip_piece(_PIECES, data, _read_plain_levels(scanner, data, at, end, _BUY), _ASKS)
    at = skip_piece(_PIECES, data, _read_plain_levels(scanner, data, at, end, _SELL), _CHECKSUM_KEY)
    checksum, exchange_ns = as_int(-1), as_int(-1)
    if at >= 0:
        checksum, at = read_integer(data, at, end)
        at = skip_piece(_PIECES, data, at, _TIMESTAMP)
    if at >= 0:
        exchange_ns, at = read_rfc3339(data, at, end)
    closed = (
        at >= 0
        and is_mark(data, at, end, CLOSE_BRACE)
        and is_mark(data, at + 1, end, CLOSE_BRACKET)
        and is_mark(data, at + 2, end, CLOSE_BRACE)
    )
    if at + 3 != end or not closed or checksum > _CHECKSUM_MAX:
        found[INSTRUMENT] = -1
        found[RECORDS] = 0
        scanner.counts[OFF_LOT] = off_lot
        return OTHERWISE
    found[_CHECKSUM] = checksum
    found[EXCHANGE_NS] = exchange_ns
    return _BOOK_UPDATE
