"""Live orders: what execution knows of its orders at a venue.

`live_events` takes what the venue says; here is the table, what time does to it, and how a report of it is made.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.live_seen import Seen, new_seen
from hft.orders import Orders, apply_report, find, insert_order, is_working, member, new_orders, next_slot
from hft.records import ORDER, OrderState, ReportKind
from hft.reports import begin_report
from hft.units import as_int
from shm.copying import expect_write
from shm.jit import njit

# Columns of LiveOrders.live.
VENUE_KEY = 0  #: stands for the venue's own id; 0 until it was heard
WIRE_ID = 1  #: client id that the venue knows the order by
NEXT = 2  #: order id that this one's wire id now means, after a change in place; 0: itself
ASKED_NS = 3  #: when it was last asked for
ASK = 4  #: 1: it must be asked for
NOT_FOUNDS = 5  #: answers NOT_FOUND that count as evidence
END_KIND = 6  #: ReportKind of an end that waits for fills; 0 if none does
END_LOTS = 7  #: size filled in all, by that end
END_REASON = 8
FOLLOWER = 9  #: order id that is sent when this one has ended; 0 if none is
ACKED = 10  #: 1 once the venue said that the order was live
BASE_LOTS = 11  #: filled under the wire id before this order took it over: the venue counts it too
ASK_FROM_NS = 12  #: until then it need not be asked for: that it is not found was said, and proves nothing yet
GONE = 13  #: 1: it ended because the venue did not find it
LIVE_COLUMNS = 16

# Cells of LiveOrders.words.
WINDOW_NS = 0  #: after this long a request can no longer reach the matching engine
ACK_TIMEOUT_NS = 1
QUERY_PAUSE_NS = 2
FOREIGN = 3  #: events of orders that are not ours
REPEATED = 4  #: fills told again
FREED = 5  #: order id of a follower that may be sent now; 0 if there is none
UNKNOWN_COUNT = 6  #: orders in UNKNOWN
LIVE_WORDS = 8

# Columns of LiveOrders.requests.
REQUEST_ID, REQUEST_KIND, REQUEST_TARGET = range(3)
REQUESTS = 8192

_SOURCE_BYTES, _LIVE_BYTES = ORDER.itemsize, 8 * LIVE_COLUMNS

#: Reports that one event makes at most.
REPORTS_MAX = 4

_CANCELED, _CANCEL_REJECTED = int(ReportKind.CANCELED), int(ReportKind.CANCEL_REJECTED)
_NOT_SENT, _UNKNOWN, _PENDING_CANCEL = int(ReportKind.NOT_SENT), int(ReportKind.UNKNOWN), int(ReportKind.PENDING_CANCEL)
_STATE_PENDING_NEW, _STATE_UNKNOWN = int(OrderState.PENDING_NEW), int(OrderState.UNKNOWN)
_STATE_PENDING_CANCEL = int(OrderState.PENDING_CANCEL)


class LiveOrders(NamedTuple):
    """Orders at one venue; made by `new_live_orders`."""

    orders: Orders
    sources: NDArray[Any]  #: ORDER, by slot of `orders`
    live: NDArray[Any]  #: int64 [slot, column]
    requests: NDArray[Any]  #: int64 [n, (id, IntentKind, target order id)], newest of each place
    seen: Seen  #: trades that were taken
    words: NDArray[Any]  #: int64, see the cells above


def new_live_orders(slots: int, instruments: int, window_ns: int, ack_timeout_ns: int, query_pause_ns: int) -> LiveOrders:
    """An empty table for `slots` orders, working and recently ended."""
    words = np.zeros(LIVE_WORDS, np.int64)
    words[WINDOW_NS], words[ACK_TIMEOUT_NS], words[QUERY_PAUSE_NS] = window_ns, ack_timeout_ns, query_pause_ns
    return LiveOrders(
        orders=new_orders(slots, instruments),
        sources=np.zeros(slots, ORDER),
        live=np.zeros((slots, LIVE_COLUMNS), np.int64),
        requests=np.zeros((REQUESTS, 3), np.int64),
        seen=new_seen(),
        words=words,
    )


@njit
def note_request(book: LiveOrders, orders: NDArray[Any], i: int, target: int) -> None:
    """Remember what ORDER row `i` asks for, so that an answer that names only the request can be understood."""
    identity = as_int(orders[i]["order_id"])
    row = book.requests[identity & (REQUESTS - 1)]
    row[REQUEST_ID] = identity
    row[REQUEST_KIND] = as_int(orders[i]["kind"])
    row[REQUEST_TARGET] = target


@njit
def begin_order(book: LiveOrders, orders: NDArray[Any], i: int, now_ns: int) -> int:
    """Enter ORDER row `i`, NEW or REPLACE, as PENDING_NEW; its slot, or -1 when the table takes no more."""
    slot = insert_order(book.orders, orders, i, now_ns)
    if slot >= 0:
        book.sources[slot] = orders[i]
        book.live[slot, :] = 0
        book.live[slot, WIRE_ID] = orders[i]["order_id"]
        following = next_slot(book.orders)
        expect_write(book.sources, following, _SOURCE_BYTES)
        expect_write(book.live, following, _LIVE_BYTES)
    return slot


@njit
def _holder(book: LiveOrders, wire_id: int) -> int:
    """Slot of the working order that took over this id, when the order that had it first is no longer in the table; or -1."""
    for instrument in range(len(book.orders.counts)):
        for k in range(book.orders.counts[instrument]):
            slot = member(book.orders, instrument, k)
            if book.live[slot, WIRE_ID] == wire_id:
                return slot
    return -1


@njit
def slot_now(book: LiveOrders, order_id: int) -> int:
    """Slot of the order that an id on the wire means now, or -1."""
    slot = find(book.orders, order_id)
    if slot < 0:
        return _holder(book, order_id)
    for _ in range(64):
        if slot < 0 or book.live[slot, NEXT] == 0:
            return slot
        slot = find(book.orders, book.live[slot, NEXT])
    return slot


@njit
def begin_told(book: LiveOrders, slot: int, kind: int, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any], k: int) -> None:
    begin_report(reports, k, book.sources, slot)
    report, row = reports[k], book.orders.rows[slot]
    report["kind"] = kind
    report["sent_ns"] = row["sent_ns"]
    report["cum_lots"] = row["cum_lots"]
    report["reported_ns"] = now_ns
    report["exchange_ns"] = events[i]["exchange_ns"]
    report["reason"] = events[i]["reason"]
    if kind == _CANCEL_REJECTED:
        report["ref_order_id"] = events[i]["request_id"]


@njit
def _ask_replaced(book: LiveOrders, slot: int) -> None:
    """What became of a replacement was not known: the order before it may have ended too, with fills that nobody told."""
    before = slot_now(book, book.sources[slot]["ref_order_id"])
    if before >= 0 and before != slot and is_working(book.orders.rows[before]["state"]):
        book.live[before, ASK] = 1


@njit
def finish_told(book: LiveOrders, slot: int, reports: NDArray[Any], k: int) -> int:
    """Apply report `k` to the table and complete it; k + 1 if it said something new, else k."""
    was_unknown = book.orders.rows[slot]["state"] == _STATE_UNKNOWN
    if apply_report(book.orders, reports, k) < 0:
        return k
    row = book.orders.rows[slot]
    reports[k]["state"] = row["state"]
    reports[k]["leaves_lots"] = row["leaves_lots"]
    book.words[UNKNOWN_COUNT] += as_int(row["state"] == _STATE_UNKNOWN) - as_int(was_unknown)
    if was_unknown and row["state"] != _STATE_UNKNOWN:
        _ask_replaced(book, slot)
    if not is_working(row["state"]):
        book.live[slot, ASK] = 0
        if book.live[slot, FOLLOWER] != 0:
            book.words[FREED] = book.live[slot, FOLLOWER]
            book.live[slot, FOLLOWER] = 0
    return k + 1


@njit
def tell(book: LiveOrders, slot: int, kind: int, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any], k: int) -> int:
    """Write a report that is no fill, if it says something new; the number of reports after it."""
    if not is_working(book.orders.rows[slot]["state"]):
        return k
    if kind == _UNKNOWN and book.orders.rows[slot]["state"] == _STATE_UNKNOWN:
        return k
    begin_told(book, slot, kind, events, i, now_ns, reports, k)
    return finish_told(book, slot, reports, k)


@njit
def overdue(book: LiveOrders, now_ns: int) -> int:
    """Slot of an order whose new-order request was not answered in time and that is not UNKNOWN yet, or -1."""
    timeout_ns = book.words[ACK_TIMEOUT_NS]
    for instrument in range(len(book.orders.counts)):
        for k in range(book.orders.counts[instrument]):
            slot = member(book.orders, instrument, k)
            row = book.orders.rows[slot]
            if row["state"] == _STATE_PENDING_NEW and row["sent_ns"] != 0 and now_ns - row["sent_ns"] > timeout_ns:
                return slot
    return -1


@njit
def question(book: LiveOrders, now_ns: int) -> int:
    """Slot of an order that must be asked for now, or -1; it counts as asked."""
    timeout_ns, pause_ns = book.words[ACK_TIMEOUT_NS], book.words[QUERY_PAUSE_NS]
    for instrument in range(len(book.orders.counts)):
        for k in range(book.orders.counts[instrument]):
            slot = member(book.orders, instrument, k)
            row, live = book.orders.rows[slot], book.live[slot]
            stuck = row["state"] == _STATE_PENDING_CANCEL and now_ns - row["changed_ns"] > timeout_ns
            wanted = row["state"] == _STATE_UNKNOWN or live[ASK] != 0 or stuck
            is_early = live[ACKED] == 0 and now_ns < live[ASK_FROM_NS]
            if wanted and not is_early and now_ns - live[ASKED_NS] >= pause_ns:
                live[ASKED_NS] = now_ns
                return slot
    return -1


@njit
def make_unknown(book: LiveOrders, slot: int, now_ns: int, events: NDArray[Any], reports: NDArray[Any]) -> int:
    """Nobody knows what became of the order's request: UNKNOWN, if it still works; the number of reports. `events[0]` is scratch."""
    events[0]["exchange_ns"] = 0
    events[0]["reason"] = 0
    return tell(book, slot, _UNKNOWN, events, 0, now_ns, reports, 0)


@njit
def make_unsent(book: LiveOrders, slot: int, reason: int, now_ns: int, events: NDArray[Any], reports: NDArray[Any]) -> int:
    """Not one byte of the order's request left: NOT_SENT; the number of reports. `events[0]` is scratch."""
    events[0]["exchange_ns"] = 0
    events[0]["reason"] = reason
    k = tell(book, slot, _NOT_SENT, events, 0, now_ns, reports, 0)
    if k:
        reports[0]["sent_ns"] = 0
    return k


@njit
def begin_cancel(book: LiveOrders, slot: int, now_ns: int, events: NDArray[Any], reports: NDArray[Any]) -> int:
    """A cancel of the order leaves now: PENDING_CANCEL; the number of reports. `events[0]` is scratch."""
    events[0]["exchange_ns"] = 0
    events[0]["reason"] = 0
    return tell(book, slot, _PENDING_CANCEL, events, 0, now_ns, reports, 0)
