"""Bench taker: sends one order on every book update, for measuring how long that takes."""

from __future__ import annotations

from typing import Any

from hft.book import best_ticks, book_at
from hft.records import OrderFlag, Side, TimeInForce
from strategies.contract import Param, callback, nothing, send, view_of

PARAMS = (
    Param("qty_lots", 1, 1, 1e12, "lots", "Size of each order."),
    Param("away_ticks", 0, 0, 1e9, "ticks", "How far below the best bid each buy is priced."),
    Param("post_only", 0, 0, 1, "", "1: rests, post-only; 0: immediate or cancel."),
)
QTY_LOTS, AWAY_TICKS, POST_ONLY = range(3)

_BUY = int(Side.BUY)
_GTC, _IOC, _POST_ONLY = int(TimeInForce.GTC), int(TimeInForce.IOC), int(OrderFlag.POST_ONLY)


@callback
def on_book(cell: Any, instrument: int, now_ns: int) -> int:
    """Buy at the best bid, or so many ticks below it."""
    view = view_of(cell)
    price_ticks = best_ticks(book_at(view.books, instrument), _BUY) - int(view.params[AWAY_TICKS])
    if price_ticks <= 0:
        return 0
    rests = view.params[POST_ONLY] != 0
    send(view, instrument, _BUY, price_ticks, int(view.params[QTY_LOTS]), _GTC if rests else _IOC, _POST_ONLY if rests else 0)
    return 1


# Only books are answered, orders end by themselves, and risk refuses until a halt ends.
on_trade = on_report = on_timer = on_disconnect = on_halt = nothing
