"""Binance private fields: reads the parts of replies and account events, and begins VENUE_EVENT rows.

Offsets are -1 for a member that is absent. Prices and sizes of ours lie on the grid; one that does not is rounded down, because a
fill must never be lost over it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import FeeAsset, Side
from hft.units import as_int
from hft.venues.binance.fields import read_time
from hft.venues.binance.private_words import L_REASON, L_SIDE, PrivateWords, list_of
from hft.venues.fields import text_end
from hft.venues.json_bytes import byte_at, is_mark, is_null, is_text, read_decimal, read_integer
from hft.venues.members import UNKNOWN, word_number
from hft.venues.symbols import Symbols, find_symbol
from hft.venues.text import HEX_BYTES, read_hex
from shm.jit import njit

#: A member that must be there is not, or is not what it should be.
BAD = -2

_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_QUOTE_ASSET, _BASE_ASSET, _OTHER_ASSET = int(FeeAsset.QUOTE), int(FeeAsset.BASE), int(FeeAsset.OTHER)
_MARK = ord("x")
_E8_DECIMALS = 8


@njit
def read_word(words: PrivateWords, number: int, data: NDArray[Any], at: int, end: int) -> int:
    """Place of the quoted word at `at` in list `number`; UNKNOWN for another one, BAD for what is no text."""
    if at < 0:
        return BAD
    past = text_end(data, at, end)
    return word_number(list_of(words, number), data, at + 1, past) if past >= 0 else BAD


@njit
def read_client(data: NDArray[Any], at: int, end: int) -> int:
    """Our order id in a client id, with or without the mark of a canceled order; 0 if it is none of ours, BAD if it is no text."""
    if at < 0:
        return 0
    past = text_end(data, at, end)
    if past < 0:
        return BAD
    start = at + 1
    if past - start == HEX_BYTES + 1 and byte_at(data, start) == _MARK:
        start += 1
    return read_hex(data, start, past)


@njit
def read_row(symbols: Symbols, data: NDArray[Any], at: int, end: int) -> int:
    """Instrument row of a symbol; UNKNOWN for one that is not ours, BAD for what is no text."""
    if at < 0:
        return BAD
    past = text_end(data, at, end)
    return find_symbol(symbols, data, at + 1, past) if past >= 0 else BAD


@njit
def read_key(data: NDArray[Any], at: int, end: int) -> int:
    """An id of the venue's, or BAD."""
    if at < 0:
        return BAD
    value, past = read_integer(data, at, end)
    return value if past >= 0 else BAD


@njit
def read_signed(data: NDArray[Any], at: int, end: int) -> tuple[int, bool]:
    """A JSON integer that may be negative: (value, whether it was one)."""
    if at < 0:
        return 0, False
    negative = is_mark(data, at, end, 45)
    value, past = read_integer(data, at + 1 if negative else at, end)
    return (-value if negative else value), past >= 0


@njit
def read_when(data: NDArray[Any], at: int, end: int) -> int:
    """A time as ns, 0 if it is absent, or BAD."""
    if at < 0:
        return 0
    value = read_time(data, at, end)
    return value if value >= 0 else BAD


@njit
def read_steps(data: NDArray[Any], at: int, end: int, decimals: int, step_units: int) -> int:
    """A quoted decimal in whole steps, rounded down; 0 if it is absent, or BAD."""
    if at < 0:
        return 0
    units, past, _ = read_decimal(data, at, end, decimals)
    return as_int(units) // step_units if past >= 0 else BAD


@njit
def read_price(instruments: NDArray[Any], row: int, data: NDArray[Any], at: int, end: int) -> int:
    """A price in ticks, 0 if it is absent, or BAD."""
    scale = instruments[row]
    return read_steps(data, at, end, scale["price_decimals"], scale["tick_units"])


@njit
def read_qty(instruments: NDArray[Any], row: int, data: NDArray[Any], at: int, end: int) -> int:
    """A size in lots, 0 if it is absent, or BAD."""
    scale = instruments[row]
    return read_steps(data, at, end, scale["qty_decimals"], scale["lot_units"])


@njit
def read_side(words: PrivateWords, data: NDArray[Any], at: int, end: int) -> int:
    """Side, 0 if it is absent, or BAD."""
    if at < 0:
        return 0
    number = read_word(words, L_SIDE, data, at, end)
    return _BUY if number == 0 else _SELL if number == 1 else BAD


@njit
def read_fee(data: NDArray[Any], at: int, end: int) -> int:
    """A fee in 1e-8, or BAD."""
    if at < 0:
        return BAD
    units, past, _ = read_decimal(data, at, end, _E8_DECIMALS)
    return units if past >= 0 else BAD


@njit
def read_fee_asset(words: PrivateWords, row: int, data: NDArray[Any], at: int, end: int) -> int:
    """FeeAsset of a commission's asset by the instrument's own; OTHER for null and for what is neither, BAD for what is no text."""
    if at < 0 or is_null(data, at, end):
        return _OTHER_ASSET
    past = text_end(data, at, end)
    if past < 0:
        return BAD
    return fee_asset_of(words, row, data, at + 1, past)


@njit
def fee_asset_of(words: PrivateWords, row: int, data: NDArray[Any], start: int, end: int) -> int:
    """FeeAsset of the asset whose name is `data[start:end]`."""
    for side in range(2):
        size = words.asset_bytes[row, side]
        if size > 0 and is_text(data, start, end, words.assets[row, side, :size]):
            return _QUOTE_ASSET if side else _BASE_ASSET
    return _OTHER_ASSET


@njit
def read_reason(words: PrivateWords, data: NDArray[Any], at: int, end: int, reasons: tuple[int, ...], other: int) -> int:
    """VenueReason of a report's reason word: 0 if it is absent, `other` if it is not known, BAD if it is no text."""
    if at < 0:
        return 0
    number = read_word(words, L_REASON, data, at, end)
    if number == BAD:
        return BAD
    return other if number == UNKNOWN else reasons[number]
