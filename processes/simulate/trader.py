"""Trader: a strategy that does a bit of everything, by numbers that its parameter begins with: what a simulation trades with."""

from __future__ import annotations

from typing import Any

from hft.book import best_ticks, book_at
from hft.orders import member
from hft.records import OrderState, Side, TimeInForce
from shm.jit import njit
from strategies.contract import Param, View, callback, cancel, cancel_all, nothing, quote, replace, send, view_of

PARAMS = (
    Param("seed", 1, 1, 2**31, "", "What the numbers begin with."),
    Param("size_quote", 600, 1, 1e6, "quote", "Value of the largest order."),
    Param("working_max", 4, 1, 16, "orders", "No new order while so many work in an instrument."),
    Param("per_mille", 400, 0, 1000, "1/1000", "How often a turn of the timer does something."),
)
SEED, SIZE_QUOTE, WORKING_MAX, PER_MILLE = range(4)
STATE = 0  #: cell of view.ints: the number before

_BUY, _SELL, _IOC = int(Side.BUY), int(Side.SELL), int(TimeInForce.IOC)
_PENDING_CANCEL, _UNKNOWN = int(OrderState.PENDING_CANCEL), int(OrderState.UNKNOWN)
_MASK = (1 << 62) - 1


@njit
def draw(view: View, instrument: int, below: int) -> int:
    """The next number, 0 <= n < below."""
    state = view.ints[instrument, STATE]
    if state == 0:
        state = int(view.params[SEED]) * 2654435761 + 40503 * (instrument + 1)
    state ^= (state << 13) & _MASK
    state ^= state >> 7
    state ^= (state << 17) & _MASK
    view.ints[instrument, STATE] = state & _MASK
    return (state >> 11) % below


@njit
def size_lots(view: View, instrument: int, price_ticks: int) -> int:
    """A size of up to SIZE_QUOTE, at least a fifth of that."""
    row = view.instruments[instrument]
    lot_quote = price_ticks * row["ticklot_num"] / row["ticklot_den"] / 1e8
    share = 200 + draw(view, instrument, 800)
    return max(int(view.params[SIZE_QUOTE] / lot_quote * share / 1000), 1)


@njit
def one_of(view: View, instrument: int) -> int:
    """Slot of a working order that nothing is asked of yet, or -1."""
    count = view.orders.counts[instrument]
    if count == 0:
        return -1
    slot = member(view.orders, instrument, draw(view, instrument, count))
    state = view.orders.rows[slot]["state"]
    return -1 if state == _PENDING_CANCEL or state == _UNKNOWN else slot


@njit
def act(view: View, instrument: int) -> int:
    """Do one thing, or nothing."""
    bid_ticks, ask_ticks = best_ticks(book_at(view.books, instrument), _BUY), best_ticks(book_at(view.books, instrument), _SELL)
    if view.valid[instrument] == 0 or bid_ticks == 0 or ask_ticks == 0 or draw(view, instrument, 1000) >= view.params[PER_MILLE]:
        return 0
    what, side = draw(view, instrument, 100), _BUY if draw(view, instrument, 2) == 0 else _SELL
    own, other = (bid_ticks, ask_ticks) if side == _BUY else (ask_ticks, bid_ticks)
    away = draw(view, instrument, 1 + own // 10000)
    if what < 3:
        cancel_all(view, instrument)
        return 1
    if what < 35:
        slot = one_of(view, instrument)
        if slot < 0:
            return 0
        row = view.orders.rows[slot]
        if what < 15:
            cancel(view, row["order_id"], instrument)
            return 1
        own = bid_ticks if row["side"] == _BUY else ask_ticks
        price_ticks = own - row["side"] * away
        replace(view, row["order_id"], instrument, row["side"], price_ticks, size_lots(view, instrument, price_ticks))
        return 1
    if view.orders.counts[instrument] >= view.params[WORKING_MAX]:
        return 0
    if what < 65:
        price_ticks = other + side * draw(view, instrument, 1 + other // 20000)
        send(view, instrument, side, price_ticks, size_lots(view, instrument, price_ticks), _IOC, 0)
        return 1
    price_ticks = own - side * away
    quote(view, instrument, side, price_ticks, size_lots(view, instrument, price_ticks))
    return 1


@callback
def on_timer(cell: Any, instrument: int, now_ns: int) -> int:
    """Do one thing, or nothing."""
    return act(view_of(cell), instrument)


@callback
def on_disconnect(cell: Any, instrument: int, now_ns: int) -> int:
    """Pull the quotes of a book that is of no use."""
    view = view_of(cell)
    if view.orders.counts[instrument] > 0:
        cancel_all(view, instrument)
    return 0


# The timer acts; what works at a halt may stay.
on_book = on_trade = on_report = on_halt = nothing
