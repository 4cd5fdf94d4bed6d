"""Binance SBE scanner: turns a binary market-data frame into MARKET records, in place and without floats.

The schema is `stream_1_0` (id 1). A frame that is shorter than it says, of another schema, or with a number that cannot be, is
MALFORMED as a whole; a template that is not known is OTHER.

    10000 trades     eventTime, transactTime, exponents of price and size; [id, price, size, buyer made]; symbol
    10001 best       eventTime, bookUpdateId, exponents; bid price, bid size, ask price, ask size; symbol
    10002 snapshot   eventTime, bookUpdateId, exponents; bids [price, size], asks; symbol
    10003 diff       eventTime, first and last bookUpdateId, exponents; bids, asks; symbol
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.book import VALUE_LIMIT
from hft.records import MarketFlag, MarketKind
from hft.venues.binance.sbe import (
    GROUP16_BYTES,
    GROUP32_BYTES,
    HEADER_BYTES,
    read_i8,
    read_i64,
    read_u16,
    read_u32,
    skip_group,
    skip_text,
    step_scale,
    to_steps,
)
from hft.venues.binance.tables import Found, FrameKind, ScanCount
from hft.venues.fields import write_record
from hft.venues.json_bytes import byte_at
from hft.venues.symbols import Symbols, find_symbol, new_symbols
from shm.jit import njit

SCHEMA = 1
TRADES, BEST, BOOK, DIFF = 10_000, 10_001, 10_002, 10_003

_TRADES_BLOCK, _BEST_BLOCK, _BOOK_BLOCK, _DIFF_BLOCK = 18, 50, 18, 26
_TRADE_BLOCK, _LEVEL_BLOCK = 25, 16

_NO_ROOM, _MALFORMED, _OTHER = int(FrameKind.NO_ROOM), int(FrameKind.MALFORMED), int(FrameKind.OTHER)
_DEPTH, _QUOTE_FRAME, _TRADE_FRAME = int(FrameKind.DEPTH), int(FrameKind.QUOTE), int(FrameKind.TRADE)
_SNAPSHOT, _UNKNOWN_SYMBOL = int(FrameKind.SNAPSHOT), int(FrameKind.UNKNOWN_SYMBOL)
_COUNT_OF_KIND, _OFF_LOT = -_NO_ROOM, int(ScanCount.OFF_LOT)
_INSTRUMENT, _FIRST_ID, _LAST_ID = int(Found.INSTRUMENT), int(Found.FIRST_ID), int(Found.LAST_ID)
_EXCHANGE_NS, _RECORDS = int(Found.EXCHANGE_NS), int(Found.RECORDS)
_TRADE, _QUOTE, _LEVEL = int(MarketKind.TRADE), int(MarketKind.QUOTE), int(MarketKind.LEVEL)
_LAST, _BID = int(MarketFlag.LAST), int(MarketFlag.BID)
_US = 1_000


class SbeScanner(NamedTuple):
    """Symbols and scales that a scan reads, and the scratch it writes; one a connection."""

    instruments: NDArray[Any]  #: INSTRUMENT, by row
    symbols: Symbols
    found: NDArray[Any]  #: int64[len(Found)]
    counts: NDArray[Any]  #: int64[len(ScanCount)]


def new_sbe_scanner(instruments: NDArray[Any], symbols: Sequence[str], rows: Sequence[int] | None = None) -> SbeScanner:
    """A scanner for `symbols`, as on the wire; raises ValueError as `new_scanner` does."""
    return SbeScanner(
        instruments=instruments,
        symbols=new_symbols(instruments, symbols, rows),
        found=np.zeros(len(Found), np.int64),
        counts=np.zeros(len(ScanCount), np.int64),
    )


@njit
def scan_sbe(scanner: SbeScanner, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read the binary frame `data[start:end]`; write its MARKET records to `out` and what it was about to `scanner.found`.

    Returns a FrameKind. DEPTH and SNAPSHOT give a LEVEL for each level, none flagged LAST; QUOTE one record; TRADE one for each
    trade, the last flagged LAST. `decode_ns` is 0. A MALFORMED depth event leaves its row in `found[INSTRUMENT]` if its symbol
    could be read.
    """
    found = scanner.found
    found[_INSTRUMENT] = -1
    found[_RECORDS] = 0
    kind = _read_message(scanner, data, start, end, received_ns, out)
    scanner.counts[kind + _COUNT_OF_KIND] += 1
    return kind


@njit
def _read_message(scanner: SbeScanner, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    root = start + HEADER_BYTES
    if root > end or read_u16(data, start + 4) != SCHEMA:
        return _MALFORMED
    template = read_u16(data, start + 2)
    if template < TRADES or template > DIFF:
        return _OTHER
    groups = root + read_u16(data, start)
    if groups > end or groups - root < _root_bytes(template):
        return _MALFORMED
    if template == DIFF or template == BOOK:
        asks = skip_group(data, groups, end, GROUP16_BYTES, _LEVEL_BLOCK)
        symbol = skip_group(data, asks, end, GROUP16_BYTES, _LEVEL_BLOCK)
    elif template == TRADES:
        asks = -1
        symbol = skip_group(data, groups, end, GROUP32_BYTES, _TRADE_BLOCK)
    else:
        asks = -1
        symbol = groups
    past = skip_text(data, symbol, end)
    # Version 0 ends with the symbol; a later one may append.
    if past < 0 or (past != end and read_u16(data, start + 6) == 0):
        return _MALFORMED
    row = find_symbol(scanner.symbols, data, symbol + 1, past)
    if row < 0:
        return _UNKNOWN_SYMBOL
    scanner.found[_INSTRUMENT] = row
    if template == DIFF:
        return _read_book(scanner, data, root, root + 24, groups, asks, _DEPTH, received_ns, out)
    if template == BOOK:
        return _read_book(scanner, data, root, root + 16, groups, asks, _SNAPSHOT, received_ns, out)
    if template == BEST:
        return _read_best(scanner, data, root, received_ns, out)
    return _read_trades(scanner, data, root, groups, received_ns, out)


@njit
def _root_bytes(template: int) -> int:
    """What we read of the root block of a template."""
    if template == DIFF:
        return _DIFF_BLOCK
    if template == BEST:
        return _BEST_BLOCK
    return _BOOK_BLOCK if template == BOOK else _TRADES_BLOCK


@njit
def _read_time(data: NDArray[Any], at: int) -> int:
    """A time in microseconds as ns, or -1."""
    value = read_i64(data, at)
    return value * _US if 0 <= value < VALUE_LIMIT // _US else -1


@njit
def _lots(scanner: SbeScanner, mantissa: int, factor: int, divisor: int, mantissa_max: int) -> int:
    """A size in lots, rounded as `read_lots` does: down, but never to 0; -1 if it cannot be."""
    lots, rest = to_steps(mantissa, factor, divisor, mantissa_max)
    if rest != 0:
        scanner.counts[_OFF_LOT] += 1
        return max(lots, 1)
    return lots


@njit
def _read_book(
    scanner: SbeScanner, data: NDArray[Any], root: int, exponents: int, bids: int, asks: int, kind: int, received_ns: int, out: NDArray[Any]
) -> int:
    """Read a diff or a snapshot, of which `exponents` tells where its exponents are."""
    found = scanner.found
    scale = scanner.instruments[found[_INSTRUMENT]]
    exchange_ns = _read_time(data, root)
    found[_EXCHANGE_NS] = exchange_ns
    found[_FIRST_ID] = read_i64(data, root + 8)
    found[_LAST_ID] = read_i64(data, exponents - 8)
    if exchange_ns < 0 or found[_FIRST_ID] < 0 or found[_LAST_ID] < found[_FIRST_ID]:
        return _MALFORMED
    price_factor, price_divisor, price_max = step_scale(read_i8(data, exponents), scale["price_decimals"], scale["tick_units"])
    qty_factor, qty_divisor, qty_max = step_scale(read_i8(data, exponents + 1), scale["qty_decimals"], scale["lot_units"])
    if price_max < 0 or qty_max < 0:
        return _MALFORMED
    last_id, instrument = found[_LAST_ID], found[_INSTRUMENT]
    if read_u16(data, bids + 2) + read_u16(data, asks + 2) > len(out):
        return _NO_ROOM
    whole = price_divisor == 1 and qty_divisor == 1
    n = 0
    for side in range(2):
        at = asks if side else bids
        block = read_u16(data, at)
        count = read_u16(data, at + 2)
        at += GROUP16_BYTES
        for _ in range(count):
            if whole:
                price, size = read_i64(data, at), read_i64(data, at + 8)
                # Negative if any of them is: a price or a size out of bounds.
                if price | (price - 1) | (price_max - price) | size | (qty_max - size) < 0:
                    return _MALFORMED
                ticks, lots = price * price_factor, size * qty_factor
                write_record(out, n, _LEVEL, 0 if side else _BID, instrument, received_ns, exchange_ns, last_id, ticks, lots)
                n += 1
                at += block
                continue
            ticks, rest = to_steps(read_i64(data, at), price_factor, price_divisor, price_max)
            lots = _lots(scanner, read_i64(data, at + 8), qty_factor, qty_divisor, qty_max)
            if ticks <= 0 or rest != 0 or lots < 0:
                return _MALFORMED
            write_record(out, n, _LEVEL, 0 if side else _BID, instrument, received_ns, exchange_ns, last_id, ticks, lots)
            n += 1
            at += block
    found[_RECORDS] = n
    return kind


@njit
def _read_best(scanner: SbeScanner, data: NDArray[Any], root: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read a bestBidAsk. A side that is empty has price and size 0; any other 0 is refused. It says nothing about a book."""
    found = scanner.found
    instrument = found[_INSTRUMENT]
    found[_INSTRUMENT] = -1
    scale = scanner.instruments[instrument]
    exchange_ns = _read_time(data, root)
    update_id = read_i64(data, root + 8)
    price_factor, price_divisor, price_max = step_scale(read_i8(data, root + 16), scale["price_decimals"], scale["tick_units"])
    qty_factor, qty_divisor, qty_max = step_scale(read_i8(data, root + 17), scale["qty_decimals"], scale["lot_units"])
    if exchange_ns < 0 or update_id < 0 or price_max < 0 or qty_max < 0:
        return _MALFORMED
    bid_ticks, bid_rest = to_steps(read_i64(data, root + 18), price_factor, price_divisor, price_max)
    bid_lots = _lots(scanner, read_i64(data, root + 26), qty_factor, qty_divisor, qty_max)
    ask_ticks, ask_rest = to_steps(read_i64(data, root + 34), price_factor, price_divisor, price_max)
    ask_lots = _lots(scanner, read_i64(data, root + 42), qty_factor, qty_divisor, qty_max)
    bid_good = (bid_ticks > 0 and bid_lots > 0) or (bid_ticks == 0 and bid_lots == 0)
    ask_good = (ask_ticks > 0 and ask_lots > 0) or (ask_ticks == 0 and ask_lots == 0)
    if not bid_good or not ask_good or bid_rest != 0 or ask_rest != 0:
        return _MALFORMED
    if len(out) == 0:
        return _NO_ROOM
    found[_INSTRUMENT] = instrument
    found[_LAST_ID] = update_id
    found[_EXCHANGE_NS] = exchange_ns
    found[_RECORDS] = 1
    write_record(out, 0, _QUOTE, _LAST, instrument, received_ns, exchange_ns, update_id, bid_ticks, bid_lots)
    out[0]["ask_ticks"] = ask_ticks
    out[0]["ask_lots"] = ask_lots
    return _QUOTE_FRAME


@njit
def _read_trades(scanner: SbeScanner, data: NDArray[Any], root: int, group: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read trades, at their engine time. If the buyer was the maker, the aggressor sold. They say nothing about a book."""
    found = scanner.found
    instrument = found[_INSTRUMENT]
    found[_INSTRUMENT] = -1
    scale = scanner.instruments[instrument]
    event_ns, exchange_ns = _read_time(data, root), _read_time(data, root + 8)
    price_factor, price_divisor, price_max = step_scale(read_i8(data, root + 16), scale["price_decimals"], scale["tick_units"])
    qty_factor, qty_divisor, qty_max = step_scale(read_i8(data, root + 17), scale["qty_decimals"], scale["lot_units"])
    block, count = read_u16(data, group), read_u32(data, group + 2)
    if event_ns < 0 or exchange_ns < 0 or price_max < 0 or qty_max < 0 or count == 0:
        return _MALFORMED
    if count > len(out):
        return _NO_ROOM
    at = group + GROUP32_BYTES
    for n in range(count):
        trade_id = read_i64(data, at)
        ticks, rest = to_steps(read_i64(data, at + 8), price_factor, price_divisor, price_max)
        lots = _lots(scanner, read_i64(data, at + 16), qty_factor, qty_divisor, qty_max)
        buyer_made = byte_at(data, at + 24)
        if trade_id < 0 or ticks <= 0 or rest != 0 or lots <= 0 or buyer_made > 1:
            return _MALFORMED
        flags = (0 if buyer_made else _BID) | (_LAST if n == count - 1 else 0)
        write_record(out, n, _TRADE, flags, instrument, received_ns, exchange_ns, trade_id, ticks, lots)
        at += block
    found[_INSTRUMENT] = instrument
    found[_LAST_ID] = out[count - 1]["venue_id"]
    found[_EXCHANGE_NS] = exchange_ns
    found[_RECORDS] = count
    return _TRADE_FRAME
