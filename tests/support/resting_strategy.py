"""Resting strategy: rests one far bid, or cancels every order that an earlier epoch left; for tests of adoption."""

from __future__ import annotations

from typing import Any

from hft.book import best_ticks, book_at
from hft.orders import id_epoch, member
from hft.records import OrderState, ReportKind, Side
from strategies.contract import EPOCH, Param, callback, cancel, nothing, quote, view_of

PARAMS = (Param("rests", 1, 0, 1, "", "Rest a bid where no order works."), Param("cancels", 0, 0, 1, "", "Cancel what was adopted."))
_RESTS, _CANCELS = 0, 1
_BUY, _NEW = int(Side.BUY), int(OrderState.NEW)
_REFUSED, _NOT_SENT = int(ReportKind.REFUSED), int(ReportKind.NOT_SENT)
_QUOTED = 0  #: cell of view.ints


@callback
def on_book(cell: Any, instrument: int, now_ns: int) -> int:
    """Rest one bid half a percent down, once."""
    view = view_of(cell)
    if view.params[_RESTS] == 0 or view.ints[instrument, _QUOTED] != 0 or view.orders.counts[instrument] != 0:
        return 0
    view.ints[instrument, _QUOTED] = 1
    row, ticks = view.instruments[instrument], best_ticks(book_at(view.books, instrument), _BUY) * 995 // 1000
    quote(view, instrument, _BUY, ticks, int(2 * row["notional_min_e8"] / (ticks * row["ticklot_num"] / row["ticklot_den"])) + 1)
    return 1


@callback
def on_timer(cell: Any, instrument: int, now_ns: int) -> int:
    """Cancel what the venue has confirmed of earlier epochs' orders."""
    view = view_of(cell)
    if view.params[_CANCELS] == 0:
        return 0
    for k in range(view.orders.counts[instrument]):
        order = view.orders.rows[member(view.orders, instrument, k)]
        if order["state"] == _NEW and id_epoch(order["order_id"]) < view.words[EPOCH]:
            cancel(view, order["order_id"], instrument)
    return 0


@callback
def on_report(cell: Any, instrument: int, now_ns: int) -> int:
    """What was refused, or could not leave yet, is tried again."""
    view = view_of(cell)
    if view.report[0]["kind"] == _REFUSED or view.report[0]["kind"] == _NOT_SENT:
        view.ints[instrument, _QUOTED] = 0
    return 0


# The order is far away.
on_trade = on_disconnect = on_halt = nothing
