"""A strategy that counts its callbacks in `view.ints[instrument, which]` and sends as many orders a book as it is told."""

from __future__ import annotations

from typing import Any

from hft.book import best_ticks, book_at
from hft.records import Side
from strategies.contract import ON_BOOK, ON_DISCONNECT, ON_HALT, ON_REPORT, ON_TIMER, ON_TRADE, Param, callback, cancel_all, quote, view_of

PARAMS = (
    Param("orders", 0, 0, 64, "orders", "How many orders each book event is answered with."),
    Param("cancels", 0, 0, 1, "0 or 1", "1: a halt is answered with a cancel of everything."),
)
ORDERS, CANCELS = range(2)
QTY_LOTS = 1000

_BUY = int(Side.BUY)


@callback
def on_book(cell: Any, instrument: int, now_ns: int) -> int:
    view = view_of(cell)
    view.ints[instrument, ON_BOOK] += 1
    bid_ticks = best_ticks(book_at(view.books, instrument), _BUY)
    for n in range(int(view.params[ORDERS])):
        quote(view, instrument, _BUY, bid_ticks - n, QTY_LOTS)
    return 0


@callback
def on_trade(cell: Any, instrument: int, now_ns: int) -> int:
    view_of(cell).ints[instrument, ON_TRADE] += 1
    return 0


@callback
def on_report(cell: Any, instrument: int, now_ns: int) -> int:
    view_of(cell).ints[instrument, ON_REPORT] += 1
    return 0


@callback
def on_timer(cell: Any, instrument: int, now_ns: int) -> int:
    view_of(cell).ints[instrument, ON_TIMER] += 1
    return 0


@callback
def on_disconnect(cell: Any, instrument: int, now_ns: int) -> int:
    view_of(cell).ints[instrument, ON_DISCONNECT] += 1
    return 0


@callback
def on_halt(cell: Any, instrument: int, now_ns: int) -> int:
    view = view_of(cell)
    view.ints[instrument, ON_HALT] += 1
    if view.params[CANCELS] != 0:
        cancel_all(view, instrument)
    return 0
