"""Adopted orders: enters what an earlier epoch left at a venue into order tables, as orders of which nothing is known yet."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.live_orders import ACKED, BASE_LOTS, NEXT, UNKNOWN_COUNT, WIRE_ID, LiveOrders, begin_order
from hft.orders import Orders, end_order, insert_order, set_leaves
from hft.records import OrderState
from hft.units import as_int
from shm.jit import njit


@njit
def adopt_order(orders: Orders, source: NDArray[Any], i: int, cum_lots: int, now_ns: int) -> int:
    """Put ORDER record `i`, which an earlier epoch sent and of which `cum_lots` are filled, in the table as UNKNOWN; return its slot, or -1."""
    slot = insert_order(orders, source, i, now_ns)
    if slot >= 0:
        orders.rows[slot]["cum_lots"] = cum_lots
        orders.rows[slot]["sent_ns"] = now_ns
        orders.rows[slot]["state"] = OrderState.UNKNOWN
        orders.resume[slot] = OrderState.PARTIALLY_FILLED if cum_lots > 0 else OrderState.NEW
        set_leaves(orders, slot, max(as_int(source[i]["qty_lots"] - cum_lots), as_int(0)))
    return slot


@njit
def adopt(book: LiveOrders, orders: NDArray[Any], i: int, cum_lots: int, wire_id: int, base_lots: int, acked: int, now_ns: int) -> int:
    """Enter ORDER row `i`, which an earlier epoch left at the venue under `wire_id`, as UNKNOWN; its slot, or -1.

    `base_lots` were filled under that id before the order took it over; `acked`: the venue said that it was live. It counts as sent now: what
    the venue does not find is evidence only a window later, whatever clock the earlier epoch had.
    """
    slot = adopt_order(book.orders, orders, i, cum_lots, now_ns)
    if slot >= 0:
        book.sources[slot] = orders[i]
        book.sources[slot]["sent_ns"] = now_ns
        book.live[slot, :] = 0
        book.live[slot, WIRE_ID] = wire_id
        book.live[slot, BASE_LOTS] = base_lots
        book.live[slot, ACKED] = acked
        book.words[UNKNOWN_COUNT] += 1
    return slot


@njit
def lead_on(book: LiveOrders, orders: NDArray[Any], i: int, wire_id: int, now_ns: int) -> None:
    """Have `wire_id` mean the order of ORDER row `i`, as after a change in place: the one that had it first has ended."""
    order_id = orders[i]["order_id"]
    orders[i]["order_id"] = wire_id
    slot = begin_order(book, orders, i, now_ns)
    orders[i]["order_id"] = order_id
    if slot >= 0:
        end_order(book.orders, slot, as_int(OrderState.CANCELED))
        book.live[slot, NEXT] = order_id
