"""Binance SBE report: turns a binary execution report of the account's stream into one VENUE_EVENT row.

Template 603 of schema 3, versions 2 and later; its root block is read by offset, as the schema has it.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import Liquidity, Side, VenueEventKind, VenueEventSource, VenueReason
from hft.venues.binance.errors import REPORT_REASONS
from hft.venues.binance.private_fields import fee_asset_of
from hft.venues.binance.private_report import note_fill, note_key
from hft.venues.binance.private_words import L_REASON, REASONS, Reader, list_of
from hft.venues.binance.sbe import read_i8, read_i64, skip_text, step_scale, to_steps
from hft.venues.fields import begin_event
from hft.venues.json_bytes import byte_at
from hft.venues.members import UNKNOWN, word_number
from hft.venues.outcomes import Scanned
from hft.venues.symbols import find_symbol
from hft.venues.text import HEX_BYTES, read_hex
from shm.jit import njit

#: Expiry reasons by number, from 1.
EXPIRY_NAMES = (
    "REJECTED",
    "EXCHANGE_CANCELED",
    "OCO_TRIGGER",
    "OTO_PHASE_ONE_EXPIRED",
    "UNFILLED_IOC_QUANTITY_EXPIRED",
    "UNFILLED_FOK_ORDER_EXPIRED",
    "INSUFFICIENT_LIQUIDITY",
    "EXECUTION_RULE_PRICE_RANGE_EXCEEDED",
)

_MALFORMED, _IGNORED, _COLD = int(Scanned.MALFORMED), int(Scanned.IGNORED), int(Scanned.COLD)
_K = VenueEventKind
_TRADE, _REJECTED, _EXPIRED, _STREAM = int(_K.TRADE), int(_K.REJECTED), int(_K.EXPIRED), int(VenueEventSource.STREAM)
_MAKER, _TAKER, _BUY, _SELL = int(Liquidity.MAKER), int(Liquidity.TAKER), int(Side.BUY), int(Side.SELL)
_OTHER, _SELF_TRADE = int(VenueReason.OTHER), int(VenueReason.SELF_TRADE)
_US, _MARK = 1_000, ord("x")

#: Execution types and order states by their numbers; -1: not known.
_EXECUTIONS = tuple(int(k) for k in (_K.ACK, _K.CANCELED, _K.AMENDED, _K.REJECTED, _K.TRADE, _K.EXPIRED, -1, -1, _K.CANCELED))
STATES = tuple(int(k) for k in (_K.ACK, _K.ACK, _K.ACK, _K.CANCELED, _K.ACK, _K.REJECTED, _K.EXPIRED, -1, -1, _K.CANCELED, -1, _K.ACK))
_X_PREVENTION, EXPIRED_IN_MATCH = 8, 9
#: Since version 3: why an order expired, behind everything else that we read.
_EXPIRY_AT = 281
_EXPIRIES = (0, *(int(REPORT_REASONS.get(name, VenueReason.OTHER)) for name in EXPIRY_NAMES))
#: What we read of the root block.
_REPORT_BLOCK = 163


@njit
def client_id(data: NDArray[Any], at: int, past: int) -> int:
    """Our order id in the text from `at` to `past`, with or without the mark of a canceled order; 0 if it is none of ours."""
    start = at + 1
    if past - start == HEX_BYTES + 1 and byte_at(data, start) == _MARK:
        start += 1
    return read_hex(data, start, past)


@njit
def price_of(instruments: NDArray[Any], row: int, mantissa: int, exponent: int) -> int:
    """A price in ticks, rounded down, or -1."""
    scale = instruments[row]
    factor, divisor, most = step_scale(exponent, scale["price_decimals"], scale["tick_units"])
    return to_steps(mantissa, factor, divisor, most)[0]


@njit
def qty_of(instruments: NDArray[Any], row: int, mantissa: int, exponent: int) -> int:
    """A size in lots, rounded down, or -1."""
    scale = instruments[row]
    factor, divisor, most = step_scale(exponent, scale["qty_decimals"], scale["lot_units"])
    return to_steps(mantissa, factor, divisor, most)[0]


@njit
def side_of(code: int) -> int:
    """Side, or 0."""
    return _BUY if code == 0 else _SELL if code == 1 else 0


@njit
def read_report_sbe(reader: Reader, data: NDArray[Any], root: int, texts: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read an execution report: 1 with its event in `out[0]`, or a member of Scanned. `texts` is where its root block ends."""
    symbol_past = skip_text(data, texts, end)
    client_past = skip_text(data, symbol_past, end)
    orig_past = skip_text(data, client_past, end)
    asset_past = skip_text(data, orig_past, end)
    reject_past = skip_text(data, asset_past, end)
    if reject_past < 0 or texts - root < _REPORT_BLOCK:
        return _MALFORMED
    row_number = find_symbol(reader.symbols, data, texts + 1, symbol_past)
    if row_number < 0:
        return _IGNORED
    execution, status = byte_at(data, root + 94), byte_at(data, root + 95)
    if execution >= len(_EXECUTIONS) or status >= len(STATES) or _EXECUTIONS[execution] < 0 or STATES[status] < 0:
        return _COLD
    if execution == _X_PREVENTION and status != EXPIRED_IN_MATCH:
        return _IGNORED
    price_exponent, qty_exponent = read_i8(data, root + 16), read_i8(data, root + 17)
    key, time_us = read_i64(data, root + 35), read_i64(data, root + 8)
    price, qty = (
        price_of(reader.instruments, row_number, read_i64(data, root + 59), price_exponent),
        qty_of(reader.instruments, row_number, read_i64(data, root + 51), qty_exponent),
    )
    cum, side = qty_of(reader.instruments, row_number, read_i64(data, root + 112), qty_exponent), side_of(byte_at(data, root + 92))
    if key < 0 or time_us < 0 or price < 0 or qty < 0 or cum < 0 or side == 0:
        return _MALFORMED
    kind = _EXECUTIONS[execution]
    client, orig = client_id(data, symbol_past, client_past), client_id(data, client_past, orig_past)
    begin_event(out, 0, kind, _STREAM, received_ns)
    row = out[0]
    row["order_id"] = orig if orig > 0 and kind != _REJECTED else client
    row["venue_key"] = key
    row["price_ticks"] = price
    row["qty_lots"] = qty
    row["cum_lots"] = cum
    row["exchange_ns"] = time_us * _US
    row["instrument"] = row_number
    row["side"] = side
    if status == EXPIRED_IN_MATCH:
        row["reason"] = _SELF_TRADE
    elif (kind == _REJECTED or kind == _EXPIRED) and reject_past - asset_past > 1:
        number = word_number(list_of(reader.words, L_REASON), data, asset_past + 1, reject_past)
        row["reason"] = _OTHER if number == UNKNOWN else REASONS[number]
    elif kind == _EXPIRED and texts - root > _EXPIRY_AT:
        row["reason"] = _expiry(byte_at(data, root + _EXPIRY_AT))
    note_key(reader.asked, row["order_id"], key)
    return _read_fill(reader, data, root, orig_past, asset_past, row_number, out) if kind == _TRADE else 1


@njit
def _expiry(number: int) -> int:
    """VenueReason of an expiry reason; 0 if it says none."""
    if number == 0 or number == 255:
        return 0
    return _EXPIRIES[number] if number < len(_EXPIRIES) else _OTHER


@njit
def _read_fill(reader: Reader, data: NDArray[Any], root: int, asset: int, asset_past: int, row_number: int, out: NDArray[Any]) -> int:
    """Read what only a fill says."""
    row = out[0]
    price_exponent, qty_exponent = read_i8(data, root + 16), read_i8(data, root + 17)
    trade_id, maker = read_i64(data, root + 96), byte_at(data, root + 161)
    last_price = price_of(reader.instruments, row_number, read_i64(data, root + 136), price_exponent)
    last_lots = qty_of(reader.instruments, row_number, read_i64(data, root + 128), qty_exponent)
    factor, divisor, most = step_scale(read_i8(data, root + 18), 8, 1)
    fee, _ = to_steps(read_i64(data, root + 152), factor, divisor, most)
    if trade_id < 0 or last_price <= 0 or last_lots <= 0 or fee < 0 or maker > 1:
        return _MALFORMED
    row["trade_id"] = trade_id
    row["last_price_ticks"] = last_price
    row["last_lots"] = last_lots
    row["fee_e8"] = fee
    row["fee_asset"] = fee_asset_of(reader.words, row_number, data, asset + 1, asset_past)
    row["liquidity"] = _MAKER if maker else _TAKER
    note_fill(reader.asked, reader.limits, row["order_id"])
    return 1
