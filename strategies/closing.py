"""Closing: the order by which a strategy's stage takes a position towards zero, when its instrument may only be reduced."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.book import best_ticks, book_at
from hft.records import Side, TimeInForce
from hft.units import as_int, mul_div_half_even, mul_saturated, notional_e8
from shm.jit import njit
from strategies.contract import View, send

_BUY, _SELL, _IOC = int(Side.BUY), int(Side.SELL), int(TimeInForce.IOC)


@njit
def close_position(view: View, limits: NDArray[Any], instrument: int) -> int:
    """Stage an order at the other side's best that ends at once; return its id, 0 if there is none to send.

    It waits while any own order works in the instrument, or its book is invalid. One order has no more than the limits in `limits`
    (LIMITS) allow; what is less than the venue takes stays.
    """
    position_lots = view.positions[instrument]["position_lots"]
    if position_lots == 0 or view.valid[instrument] == 0 or view.orders.counts[instrument] != 0:
        return 0
    side = _SELL if position_lots > 0 else _BUY
    price_ticks = best_ticks(book_at(view.books, instrument), -side)
    if price_ticks <= 0:
        return 0
    row = view.instruments[instrument]
    lot_num = mul_saturated(price_ticks, row["ticklot_num"])
    most_lots, rest = mul_div_half_even(limits[instrument]["order_notional_max_e8"], row["ticklot_den"], lot_num)
    if rest < 0:
        most_lots -= 1
    lots = min(abs(position_lots), limits[instrument]["order_qty_max_lots"], row["qty_lots_max"], most_lots)
    if lots < row["qty_lots_min"] or notional_e8(price_ticks, lots, view.instruments, instrument) < row["notional_min_e8"]:
        return 0
    return as_int(send(view, instrument, side, price_ticks, lots, _IOC, 0))
