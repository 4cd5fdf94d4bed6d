"""Kraken levels: reads the parts of market data: symbols, prices and sizes as JSON numbers, levels, trades.

A level is kept twice: as ticks and lots of the instrument, and as the digits of its texts, over which the checksum is.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import MarketFlag, MarketKind
from hft.venues.fields import read_rfc3339, text_end, write_record
from hft.venues.json_bytes import read_integer, skip_string, skip_value, to_decimals
from hft.venues.kraken import tables as t
from hft.venues.kraken.tables import Found, ScanCount, Scanner
from hft.venues.members import first_element, first_member, member, next_element, next_member, read_word
from hft.venues.plain_numbers import plain_number
from hft.venues.symbols import find_symbol
from shm.jit import njit

INSTRUMENT, EXCHANGE_NS, RECORDS = int(Found.INSTRUMENT), int(Found.EXCHANGE_NS), int(Found.RECORDS)
NO_ROOM, OFF_LOT, UNKNOWN_KEYS = int(Found.NO_ROOM), int(ScanCount.OFF_LOT), int(ScanCount.UNKNOWN_KEYS)
_TRADE, _LAST, _BID = int(MarketKind.TRADE), int(MarketFlag.LAST), int(MarketFlag.BID)


@njit
def read_row(scanner: Scanner, data: NDArray[Any], at: int, end: int) -> tuple[int, int]:
    """Read a symbol: (instrument row or -1, offset past it), or (-1, -1) if it is no string."""
    past = skip_string(data, at, end)
    if past < 0 or text_end(data, at, end) < 0:
        return -1, past
    return find_symbol(scanner.symbols, data, at + 1, past - 1), past


@njit
def ticks_of(digits: int, decimals: int, scale: Any) -> int:
    """A price in ticks; -1 if it is between two, or too big."""
    units, rest = to_decimals(digits, decimals, scale["price_decimals"])
    ticks = units // scale["tick_units"]
    if units < 0 or rest != 0 or ticks * scale["tick_units"] != units:
        return -1
    return ticks


@njit
def lots_of(counts: NDArray[Any], digits: int, decimals: int, scale: Any) -> int:
    """A size in lots; -1 if it is too big. A size between two is rounded down, but never to 0, and counted."""
    units, rest = to_decimals(digits, decimals, scale["qty_decimals"])
    if units < 0:
        return -1
    lots = units // scale["lot_units"]
    if rest != 0 or lots * scale["lot_units"] != units:
        counts[OFF_LOT] += 1
        lots = max(lots, 1)
    return lots


@njit
def read_levels(scanner: Scanner, data: NDArray[Any], at: int, end: int, side: int) -> int:
    """Read `[{"price":..,"qty":..},...]` of the instrument found to `levels`; returns the offset past it, or -1."""
    at, more = first_element(data, at, end)
    while more:
        if scanner.found[RECORDS] >= len(scanner.levels):
            scanner.found[NO_ROOM] = 1
            return -1
        at, more = next_element(data, _read_level(scanner, data, at, end, side), end)
    return at


@njit
def _read_level(scanner: Scanner, data: NDArray[Any], at: int, end: int, side: int) -> int:
    price = price_decimals = qty = qty_decimals = -1
    at, more = first_member(data, at, end)
    while more:
        number, at = member(scanner.keys, data, at, end)
        if at < 0:
            return -1
        if number == t.PRICE:
            if price >= 0:
                return -1
            price, price_decimals, at = plain_number(data, at, end)
        elif number == t.QTY:
            if qty >= 0:
                return -1
            qty, qty_decimals, at = plain_number(data, at, end)
        else:
            scanner.counts[UNKNOWN_KEYS] += 1
            at = skip_value(data, at, end)
        at, more = next_member(data, at, end)
    if at < 0 or not note_level(scanner, side, price, price_decimals, qty, qty_decimals):
        return -1
    return at


@njit
def note_level(scanner: Scanner, side: int, price: int, price_decimals: int, qty: int, qty_decimals: int) -> bool:
    """Add one level of the instrument found to `levels`; False if it is none. There is room for it."""
    found = scanner.found
    scale = scanner.instruments[found[INSTRUMENT]]
    if price <= 0 or qty < 0:
        return False
    ticks = ticks_of(price, price_decimals, scale)
    lots = lots_of(scanner.counts, qty, qty_decimals, scale)
    if ticks <= 0 or lots < 0:
        return False
    level = scanner.levels[found[RECORDS]]
    level[t.LEVEL_SIDE] = side
    level[t.LEVEL_TICKS] = ticks
    level[t.LEVEL_LOTS] = lots
    level[t.PRICE_DIGITS] = price
    level[t.PRICE_DECIMALS] = price_decimals
    level[t.QTY_DIGITS] = qty
    level[t.QTY_DECIMALS] = qty_decimals
    found[RECORDS] += 1
    return True


@njit
def read_trades(scanner: Scanner, data: NDArray[Any], at: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read the trades of one symbol to `out`, the last flagged LAST; returns the offset past them, or -1."""
    found = scanner.found
    at, more = first_element(data, at, end)
    while more:
        at, more = next_element(data, _read_trade(scanner, data, at, end, received_ns, out), end)
    if at >= 0 and found[RECORDS] > 0:
        out[found[RECORDS] - 1]["flags"] |= _LAST
    return at


@njit
def _read_trade(scanner: Scanner, data: NDArray[Any], at: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read one trade; `side` is the taker's. A trade of another symbol than the first is stepped over."""
    found = scanner.found
    seen = 0
    row = side = price = price_decimals = qty = qty_decimals = trade_id = exchange_ns = -1
    at, more = first_member(data, at, end)
    while more:
        number, at = member(scanner.keys, data, at, end)
        if at < 0 or (number >= 0 and (seen >> number) & 1):
            return -1
        if number >= 0:
            seen |= 1 << number
        if number == t.SYMBOL:
            row, at = read_row(scanner, data, at, end)
        elif number == t.SIDE:
            side, at = read_word(scanner.values, data, at, end)
        elif number == t.PRICE:
            price, price_decimals, at = plain_number(data, at, end)
        elif number == t.QTY:
            qty, qty_decimals, at = plain_number(data, at, end)
        elif number == t.TRADE_ID:
            trade_id, at = read_integer(data, at, end)
        elif number == t.TIMESTAMP:
            exchange_ns, at = read_rfc3339(data, at, end)
        else:
            at = skip_value(data, at, end)
        at, more = next_member(data, at, end)
    if at < 0 or price <= 0 or qty <= 0 or trade_id < 0 or exchange_ns < 0 or (side != t.BUY and side != t.SELL):
        return -1
    if not (seen >> t.SYMBOL) & 1:
        return -1
    if row < 0 or (found[INSTRUMENT] >= 0 and row != found[INSTRUMENT]):
        return at
    scale = scanner.instruments[row]
    ticks, lots = ticks_of(price, price_decimals, scale), lots_of(scanner.counts, qty, qty_decimals, scale)
    if ticks <= 0 or lots <= 0:
        return -1
    if found[RECORDS] >= len(out):
        found[NO_ROOM] = 1
        return -1
    found[INSTRUMENT] = row
    found[EXCHANGE_NS] = exchange_ns
    write_record(out, found[RECORDS], _TRADE, _BID if side == t.BUY else 0, row, received_ns, exchange_ns, trade_id, ticks, lots)
    found[RECORDS] += 1
    return at
