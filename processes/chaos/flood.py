"""Flood: a strategy that fills the ring of orders while nobody takes them, and asks for one more order than it holds.

It sends an order that ends by itself about once a second. One that is not answered says that execution stands still: then cancels of
everything go out, of which there may be as many as the ring has slots, until only slots that are kept for cancels are left; then new
orders. When one of them is refused because the ring is full, the strategy waits for an answer.
"""

from __future__ import annotations

from typing import Any

from hft.book import best_ticks, book_at
from hft.records import ReportKind, RiskCode, Side, TimeInForce
from hft.topology import ORDER_SLOTS_FOR_CANCELS, RING_SHAPES
from shm.jit import njit
from strategies.contract import INTENTS_MAX, View, callback, cancel_all, nothing, send, view_of

PARAMS = ()

# Cells of view.ints.
ASKED_NS = 0  #: when an order was sent that nobody has answered yet; 0 if none
DUE_NS = 1  #: when the next one is
CANCELS = 2  #: sent since then
FULL = 3  #: 1 once a new order was refused for the ring

_UNANSWERED_NS, _PAUSE_NS = 300_000_000, 1_000_000_000
#: Cancels that take some of the slots that are kept for them.
_ENOUGH = RING_SHAPES["orders"][1] - ORDER_SLOTS_FOR_CANCELS + INTENTS_MAX
#: So far below the bid that it never fills, as a part of the price; and its value, in the quote asset.
_AWAY_BP, _BP, _VALUE = 50, 10_000, 20
_BUY, _IOC = int(Side.BUY), int(TimeInForce.IOC)
_REFUSED, _BACKPRESSURE = int(ReportKind.REFUSED), int(RiskCode.RING_BACKPRESSURE)


@njit
def _ask(view: View, instrument: int) -> int:
    """Stage an order that ends by itself; return how many were staged."""
    ticks = best_ticks(book_at(view.books, instrument), _BUY) * (_BP - _AWAY_BP) // _BP
    row = view.instruments[instrument]
    lot_quote = ticks * row["ticklot_num"] / row["ticklot_den"] * 1e-8
    if ticks <= 0 or lot_quote <= 0:
        return 0
    send(view, instrument, _BUY, ticks, max(int(_VALUE / lot_quote), row["qty_lots_min"]), _IOC, 0)
    return 1


@callback
def on_timer(cell: Any, instrument: int, now_ns: int) -> int:
    """Ask now and then, and flood while nobody answers."""
    view = view_of(cell)
    cells = view.ints[instrument]
    if view.valid[instrument] == 0:
        return 0
    if cells[ASKED_NS] == 0:
        if now_ns < cells[DUE_NS] or _ask(view, instrument) == 0:
            return 0
        cells[ASKED_NS], cells[DUE_NS], cells[CANCELS], cells[FULL] = now_ns, now_ns + _PAUSE_NS, 0, 0
        return 1
    if now_ns - cells[ASKED_NS] < _UNANSWERED_NS or cells[FULL] != 0:
        return 0
    if cells[CANCELS] >= _ENOUGH:
        return _ask(view, instrument)
    for _ in range(INTENTS_MAX):
        cancel_all(view, instrument)
    cells[CANCELS] += INTENTS_MAX
    return INTENTS_MAX


@callback
def on_report(cell: Any, instrument: int, now_ns: int) -> int:
    """An answer ends the flood; a refusal is risk's, and none."""
    view = view_of(cell)
    report, cells = view.report[0], view.ints[instrument]
    if report["kind"] != _REFUSED:
        cells[ASKED_NS] = 0
    elif report["reason"] == _BACKPRESSURE:
        cells[FULL] = 1
    elif cells[CANCELS] == 0:
        cells[ASKED_NS] = 0  # The one that was asked for: nothing was sent.
    return 0


on_book = on_trade = on_disconnect = on_halt = nothing
