"""Binance private report: turns an executionReport of the account's stream into one VENUE_EVENT row.

    {"e":"executionReport","E":1499405658658,"s":"ETHBTC","c":"000001000000002a","S":"BUY","o":"LIMIT","f":"GTC",
     "q":"1.00000000","p":"0.10264410","C":"","x":"NEW","X":"NEW","r":"NONE","i":4293153,"l":"0.00000000","z":"0.00000000",
     "L":"0.00000000","n":"0","N":null,"T":1499405658657,"t":-1,"I":8641984,"w":true,"m":false,...}

When an order is canceled or changed, `c` is its new client id and `C` the one it had.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import Liquidity, VenueEventKind, VenueEventSource, VenueReason
from hft.venues.binance.limits import note_first_fill
from hft.venues.binance.orders import ASKED_FILLED, ASKED_ID, ASKED_KEY, asked_place
from hft.venues.binance.private_fields import (
    BAD,
    read_client,
    read_fee,
    read_fee_asset,
    read_key,
    read_price,
    read_qty,
    read_reason,
    read_row,
    read_side,
    read_signed,
    read_when,
    read_word,
)
from hft.venues.binance.private_words import (
    EXECUTION_KINDS,
    EXPIRED_IN_MATCH,
    L_EXECUTION,
    L_STATUS,
    OTHER_REASON,
    R_CLIENT,
    R_CUM_QTY,
    R_EXECUTION,
    R_EXPIRY,
    R_FEE,
    R_FEE_ASSET,
    R_LAST_PRICE,
    R_LAST_QTY,
    R_MAKER,
    R_ORDER_ID,
    R_ORIG_CLIENT,
    R_PRICE,
    R_QTY,
    R_REJECT,
    R_SIDE,
    R_STATUS,
    R_SYMBOL,
    R_TIME,
    R_TRADE_ID,
    REASONS,
    X_PREVENTION,
    Reader,
)
from hft.venues.fields import begin_event
from hft.venues.json_bytes import is_false, is_true
from hft.venues.members import UNKNOWN
from hft.venues.outcomes import Scanned
from shm.jit import njit

_MALFORMED, _IGNORED, _COLD = int(Scanned.MALFORMED), int(Scanned.IGNORED), int(Scanned.COLD)
_STREAM = int(VenueEventSource.STREAM)
_TRADE, _REJECTED, _EXPIRED = int(VenueEventKind.TRADE), int(VenueEventKind.REJECTED), int(VenueEventKind.EXPIRED)
_MAKER, _TAKER, _SELF_TRADE = int(Liquidity.MAKER), int(Liquidity.TAKER), int(VenueReason.SELF_TRADE)


@njit
def read_report(reader: Reader, data: NDArray[Any], at: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read the report whose members are at the offsets `at`: 1 with its event in `out[0]`, or a member of Scanned."""
    instrument = read_row(reader.symbols, data, at[R_SYMBOL], end)
    execution = read_word(reader.words, L_EXECUTION, data, at[R_EXECUTION], end)
    status = read_word(reader.words, L_STATUS, data, at[R_STATUS], end)
    if instrument == BAD or execution == BAD or status == BAD:
        return _MALFORMED
    if instrument == UNKNOWN:
        return _IGNORED
    if execution == UNKNOWN or status == UNKNOWN:
        return _COLD
    if execution == X_PREVENTION and status != EXPIRED_IN_MATCH:
        # A part of the size was taken back, and the order goes on. Orders of ours are in no mode that does so.
        return _IGNORED
    client, orig = read_client(data, at[R_CLIENT], end), read_client(data, at[R_ORIG_CLIENT], end)
    key, time_ns = read_key(data, at[R_ORDER_ID], end), read_when(data, at[R_TIME], end)
    price, qty = (
        read_price(reader.instruments, instrument, data, at[R_PRICE], end),
        read_qty(reader.instruments, instrument, data, at[R_QTY], end),
    )
    cum, side = read_qty(reader.instruments, instrument, data, at[R_CUM_QTY], end), read_side(reader.words, data, at[R_SIDE], end)
    reject = read_reason(reader.words, data, at[R_REJECT], end, REASONS, OTHER_REASON)
    expiry = read_reason(reader.words, data, at[R_EXPIRY], end, REASONS, OTHER_REASON)
    if client == BAD or orig == BAD or key < 0 or time_ns == BAD or price == BAD or qty == BAD or reject == BAD or expiry == BAD:
        return _MALFORMED
    if cum == BAD or at[R_CUM_QTY] < 0 or side == BAD or side == 0:
        return _MALFORMED
    kind = EXECUTION_KINDS[execution]
    begin_event(out, 0, kind, _STREAM, received_ns)
    row = out[0]
    row["order_id"] = orig if orig > 0 and kind != _REJECTED else client
    row["venue_key"] = key
    row["price_ticks"] = price
    row["qty_lots"] = qty
    row["cum_lots"] = cum
    row["exchange_ns"] = time_ns
    row["instrument"] = instrument
    row["side"] = side
    if status == EXPIRED_IN_MATCH:
        row["reason"] = _SELF_TRADE
    elif kind == _REJECTED or kind == _EXPIRED:
        row["reason"] = reject if reject != 0 else expiry
    note_key(reader.asked, row["order_id"], key)
    if kind == _TRADE:
        return _read_fill(reader, data, at, end, instrument, out)
    return 1


@njit
def note_key(all_asked: NDArray[Any], order_id: int, key: int) -> None:
    """Remember the venue's id of an order of ours."""
    asked = all_asked[asked_place(order_id)]
    if order_id > 0 and asked[ASKED_ID] == order_id:
        asked[ASKED_KEY] = key


@njit
def note_fill(all_asked: NDArray[Any], limits: NDArray[Any], order_id: int) -> None:
    """An order of ours filled: its first fill makes room for another order."""
    asked = all_asked[asked_place(order_id)]
    if order_id > 0 and asked[ASKED_ID] == order_id and asked[ASKED_FILLED] == 0:
        asked[ASKED_FILLED] = 1
        note_first_fill(limits)


@njit
def _read_fill(reader: Reader, data: NDArray[Any], at: NDArray[Any], end: int, instrument: int, out: NDArray[Any]) -> int:
    """Read what only a fill says."""
    row = out[0]
    trade_id, good = read_signed(data, at[R_TRADE_ID], end)
    price = read_price(reader.instruments, instrument, data, at[R_LAST_PRICE], end)
    lots = read_qty(reader.instruments, instrument, data, at[R_LAST_QTY], end)
    fee = read_fee(data, at[R_FEE], end)
    asset = read_fee_asset(reader.words, instrument, data, at[R_FEE_ASSET], end)
    maker = at[R_MAKER] >= 0 and is_true(data, at[R_MAKER], end)
    if at[R_MAKER] < 0 or not (maker or is_false(data, at[R_MAKER], end)):
        return _MALFORMED
    if not good or trade_id < 0 or price <= 0 or lots <= 0 or fee == BAD or asset == BAD:
        return _MALFORMED
    row["trade_id"] = trade_id
    row["last_price_ticks"] = price
    row["last_lots"] = lots
    row["fee_e8"] = fee
    row["fee_asset"] = asset
    row["liquidity"] = _MAKER if maker else _TAKER
    note_fill(reader.asked, reader.limits, row["order_id"])
    return 1
