"""Live events: turns what a venue says into reports, each thing told once.

Replies, the private stream and queries race each other and repeat each other; whatever comes in whatever order, the same
events end in the same state:

- A fill is taken once, by (instrument, trade id), and its report counts up from what was taken before.
- An end that counts more fills than were seen waits for them: first the fills, then the end.
- UNKNOWN is full exposure. It ends by evidence only: a status, a fill, or two answers NOT_FOUND that were given after the
  request can no longer arrive (`WINDOW_NS`). An order that the venue said was live has arrived: then it is enough that what
  asks could have known of it (`ACK_TIMEOUT_NS`). An earlier NOT_FOUND has the next question wait until one can be evidence.
- A cancel of which nothing is heard is asked for. An order that still works then is no longer PENDING_CANCEL: CANCEL_REJECTED for TIMEOUT.
- An order changed in place keeps its first id on the wire; `NEXT` leads from there to the order that it is now. What the venue counts
  as filled under that id is the sum over all of them, so `BASE_LOTS` of earlier ones are taken off. A fill that was on its way when the
  order was changed leaves less of the later one, which then ends without being filled in full.

Events come in as VENUE_EVENT rows, reports go out as REPORT rows; who journals and publishes them is the stage.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.live_orders import (
    ACK_TIMEOUT_NS,
    ACKED,
    ASK,
    ASK_FROM_NS,
    ASKED_NS,
    BASE_LOTS,
    END_KIND,
    END_LOTS,
    END_REASON,
    FOREIGN,
    GONE,
    NEXT,
    NOT_FOUNDS,
    REPEATED,
    REQUEST_ID,
    REQUEST_KIND,
    REQUEST_TARGET,
    REQUESTS,
    VENUE_KEY,
    WINDOW_NS,
    WIRE_ID,
    LiveOrders,
    begin_told,
    finish_told,
    slot_now,
    tell,
)
from hft.live_seen import is_new
from hft.orders import USED, apply_report, find, id_strategy, is_working
from hft.records import IntentKind, OrderState, ReportKind, VenueEventKind, VenueReason
from hft.units import as_int
from shm.jit import njit

_CANCEL, _CANCEL_ALL = int(IntentKind.CANCEL), int(IntentKind.CANCEL_ALL)
_ACK, _TRADE, _CANCELED, _EXPIRED = int(ReportKind.ACK), int(ReportKind.TRADE), int(ReportKind.CANCELED), int(ReportKind.EXPIRED)
_REJECTED, _CANCEL_REJECTED, _UNKNOWN = int(ReportKind.REJECTED), int(ReportKind.CANCEL_REJECTED), int(ReportKind.UNKNOWN)
_SAYS_ACK, _SAYS_TRADE = int(VenueEventKind.ACK), int(VenueEventKind.TRADE)
_SAYS_CANCELED, _SAYS_EXPIRED = int(VenueEventKind.CANCELED), int(VenueEventKind.EXPIRED)
_SAYS_REJECTED, _SAYS_CANCEL_REJECTED = int(VenueEventKind.REJECTED), int(VenueEventKind.CANCEL_REJECTED)
_SAYS_AMENDED, _SAYS_STATUS = int(VenueEventKind.AMENDED), int(VenueEventKind.STATUS)
_SAYS_NOT_FOUND, _SAYS_UNKNOWN = int(VenueEventKind.NOT_FOUND), int(VenueEventKind.UNKNOWN)
_SAYS_THROTTLED = int(VenueEventKind.THROTTLED)
_STATE_UNKNOWN, _STATE_FILLED = int(OrderState.UNKNOWN), int(OrderState.FILLED)
_STATE_CANCELED, _STATE_EXPIRED, _STATE_REJECTED = int(OrderState.CANCELED), int(OrderState.EXPIRED), int(OrderState.REJECTED)
_STATE_PENDING_CANCEL = int(OrderState.PENDING_CANCEL)
_UNKNOWN_ORDER, _TIMEOUT = int(VenueReason.UNKNOWN_ORDER), int(VenueReason.TIMEOUT)


@njit
def _slot_of(book: LiveOrders, events: NDArray[Any], i: int) -> int:
    """Slot of the order that an event is about, or -1: by client id, by what the request was about, by the venue's id."""
    order_id = events[i]["order_id"]
    if order_id > 0:
        return slot_now(book, order_id)
    request_id = events[i]["request_id"]
    if request_id > 0:
        request = book.requests[request_id & (REQUESTS - 1)]
        if request[REQUEST_ID] == request_id:
            return slot_now(book, request[REQUEST_TARGET])
        return -1
    key = events[i]["venue_key"]
    if key != 0:
        instrument = events[i]["instrument"]
        for slot in range(book.orders.words[USED]):
            # A venue's ids may be unique in each symbol only.
            same = instrument < 0 or book.orders.rows[slot]["instrument"] == instrument
            if same and book.live[slot, VENUE_KEY] == key and book.live[slot, NEXT] == 0:
                return slot
    return -1


@njit
def on_event(book: LiveOrders, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any]) -> int:
    """Take VENUE_EVENT row `i`; write up to REPORTS_MAX REPORT rows and return how many."""
    slot = _slot_of(book, events, i)
    kind = as_int(events[i]["kind"])
    if kind == _SAYS_TRADE:
        return _on_trade(book, slot, events, i, now_ns, reports)
    if slot < 0:
        book.words[FOREIGN] += 1
        return 0
    kind = _meant(book, events, i, kind)
    if events[i]["venue_key"] != 0 and kind != _SAYS_AMENDED:
        book.live[slot, VENUE_KEY] = events[i]["venue_key"]
    if kind == _SAYS_AMENDED:
        return _on_amended(book, slot, events, i, now_ns, reports)
    if kind == _SAYS_ACK:
        return _on_live(book, slot, events, i, now_ns, reports, 0)
    if kind == _SAYS_CANCELED or kind == _SAYS_EXPIRED:
        book.live[slot, ACKED] = 1
        report_kind = _CANCELED if kind == _SAYS_CANCELED else _EXPIRED
        return _on_end(book, slot, report_kind, events, i, now_ns, reports, 0)
    if kind == _SAYS_REJECTED:
        return _on_end(book, slot, _REJECTED, events, i, now_ns, reports, 0)
    if kind == _SAYS_STATUS:
        return _on_status(book, slot, events, i, now_ns, reports)
    if kind == _SAYS_NOT_FOUND:
        return _on_not_found(book, slot, events, i, now_ns, reports)
    if kind == _SAYS_CANCEL_REJECTED:
        book.live[slot, ASK] = 1
        return tell(book, slot, _CANCEL_REJECTED, events, i, now_ns, reports, 0)
    if kind == _SAYS_UNKNOWN:
        return _on_unknown(book, slot, events, i, now_ns, reports)
    return 0


@njit
def says_working(events: NDArray[Any], i: int) -> bool:
    """Whether an event says of an order that it works at the venue."""
    kind = as_int(events[i]["kind"])
    return kind == _SAYS_ACK or (kind == _SAYS_STATUS and is_working(as_int(events[i]["state"])))


@njit
def is_gone(book: LiveOrders, events: NDArray[Any], i: int) -> bool:
    """Whether an event is about an order that ended here because the venue had not found it."""
    slot = _slot_of(book, events, i)
    return slot >= 0 and book.live[slot, GONE] != 0


@njit
def _cancels(book: LiveOrders, events: NDArray[Any], i: int) -> bool:
    """Whether the request that the event answers was a cancel."""
    request_id = events[i]["request_id"]
    request = book.requests[request_id & (REQUESTS - 1)]
    if request_id <= 0 or request[REQUEST_ID] != request_id:
        return False
    return request[REQUEST_KIND] == _CANCEL or request[REQUEST_KIND] == _CANCEL_ALL


@njit
def _meant(book: LiveOrders, events: NDArray[Any], i: int, kind: int) -> int:
    """What an event means for the order, given what its request was: a refused cancel does not refuse the order."""
    if kind == _SAYS_THROTTLED or kind == _SAYS_REJECTED:
        return _SAYS_CANCEL_REJECTED if _cancels(book, events, i) else _SAYS_REJECTED
    return kind


@njit
def _on_unknown(book: LiveOrders, slot: int, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any]) -> int:
    """The venue cannot say what became of a request. What the stream has said of the order since is not taken back."""
    if _cancels(book, events, i):
        book.live[slot, ASK] = 1
        return 0
    if book.live[slot, ACKED] != 0:
        return 0
    book.live[slot, ASK] = 1
    return tell(book, slot, _UNKNOWN, events, i, now_ns, reports, 0)


@njit
def _on_live(book: LiveOrders, slot: int, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any], k: int) -> int:
    """The venue has the order: ACK, if that is news."""
    state = book.orders.rows[slot]["state"]
    book.live[slot, NOT_FOUNDS] = 0
    known = book.live[slot, ACKED] != 0 and state != _STATE_UNKNOWN
    book.live[slot, ACKED] = 1
    if state == _STATE_UNKNOWN:
        book.live[slot, ASK] = 0
    return k if known else tell(book, slot, _ACK, events, i, now_ns, reports, k)


@njit
def _on_trade(book: LiveOrders, slot: int, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any]) -> int:
    """A fill: taken once, whatever state its order is in, and even if nobody knows the order any more."""
    event = events[i]
    instrument = as_int(event["instrument"])
    if slot >= 0:
        instrument = as_int(book.orders.rows[slot]["instrument"])
    if event["last_lots"] <= 0 or (slot < 0 and (event["order_id"] <= 0 or instrument < 0 or event["side"] == 0)):
        book.words[FOREIGN] += 1
        return 0
    if not is_new(book.seen, instrument, event["trade_id"]):
        book.words[REPEATED] += 1
        return 0
    if slot >= 0:
        if event["venue_key"] != 0:
            book.live[slot, VENUE_KEY] = event["venue_key"]
        book.live[slot, ACKED] = 1
        begin_told(book, slot, _TRADE, events, i, now_ns, reports, 0)
        reports[0]["cum_lots"] = book.orders.rows[slot]["cum_lots"] + event["last_lots"]
    else:
        _begin_orphan(events, i, now_ns, reports)
    reports[0]["last_price_ticks"] = event["last_price_ticks"]
    reports[0]["last_lots"] = event["last_lots"]
    reports[0]["fee_e8"] = event["fee_e8"]
    reports[0]["fee_asset"] = event["fee_asset"]
    reports[0]["liquidity"] = event["liquidity"]
    reports[0]["trade_id"] = event["trade_id"]
    if slot < 0:
        apply_report(book.orders, reports, 0)
        return 1
    k = finish_told(book, slot, reports, 0)
    return _end_if_whole(book, slot, events, i, now_ns, reports, k)


@njit
def _begin_orphan(events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any]) -> None:
    """Begin the report of a fill whose order is no longer known: what an id and the event say must do."""
    event, report = events[i], reports[0]
    report["order_id"] = event["order_id"]
    report["ref_order_id"] = 0
    report["price_ticks"] = event["price_ticks"]
    report["qty_lots"] = event["qty_lots"]
    report["cum_lots"] = event["last_lots"]
    report["leaves_lots"] = 0
    report["exchange_ns"] = event["exchange_ns"]
    report["reported_ns"] = now_ns
    report["received_ns"] = 0
    report["decided_ns"] = 0
    report["approved_ns"] = 0
    report["sent_ns"] = 0
    report["kind"] = _TRADE
    report["state"] = _STATE_FILLED
    report["reason"] = _UNKNOWN_ORDER
    report["strategy"] = id_strategy(event["order_id"])
    report["instrument"] = event["instrument"]
    report["side"] = event["side"]


@njit
def _cum_lots(book: LiveOrders, slot: int, events: NDArray[Any], i: int) -> int:
    """What an event counts as filled of the order that its wire id means now; negative if it does not say."""
    cum_lots = as_int(events[i]["cum_lots"])
    return cum_lots if cum_lots < 0 else max(as_int(cum_lots - book.live[slot, BASE_LOTS]), as_int(0))


@njit
def _on_end(book: LiveOrders, slot: int, report_kind: int, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any], k: int) -> int:
    """The order has ended; told at once, or once the fills came that the venue counts."""
    row, cum_lots = book.orders.rows[slot], _cum_lots(book, slot, events, i)
    if not is_working(row["state"]):
        return k
    if cum_lots <= row["cum_lots"]:
        return tell(book, slot, report_kind, events, i, now_ns, reports, k)
    live = book.live[slot]
    live[END_KIND] = report_kind
    live[END_LOTS] = cum_lots
    live[END_REASON] = events[i]["reason"]
    live[ASK] = 1
    return k


@njit
def _end_if_whole(book: LiveOrders, slot: int, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any], k: int) -> int:
    """Tell the end that waited for fills, if they are all there."""
    live, row = book.live[slot], book.orders.rows[slot]
    if live[END_KIND] == 0 or row["cum_lots"] < live[END_LOTS] or not is_working(row["state"]):
        return k
    begin_told(book, slot, live[END_KIND], events, i, now_ns, reports, k)
    reports[k]["reason"] = live[END_REASON]
    live[END_KIND] = 0
    return finish_told(book, slot, reports, k)


@njit
def _on_amended(book: LiveOrders, slot: int, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any]) -> int:
    """A change in place: the order that asked for it takes over the wire id, and the one before it has ended."""
    new_slot = find(book.orders, events[i]["request_id"])
    if new_slot < 0 or new_slot == slot or book.live[slot, NEXT] != 0:
        return 0
    book.live[new_slot, WIRE_ID] = book.live[slot, WIRE_ID]
    book.live[new_slot, VENUE_KEY] = book.live[slot, VENUE_KEY]
    book.live[new_slot, BASE_LOTS] = book.live[slot, BASE_LOTS] + book.orders.rows[slot]["cum_lots"]
    if not is_working(book.orders.rows[slot]["state"]):
        # What ended it may have been the end of the later one.
        book.live[new_slot, ASK] = 1
    k = tell(book, slot, _CANCELED, events, i, now_ns, reports, 0)
    book.live[slot, NEXT] = book.orders.rows[new_slot]["order_id"]
    return _on_live(book, new_slot, events, i, now_ns, reports, k)


@njit
def _on_status(book: LiveOrders, slot: int, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any]) -> int:
    """The venue's answer about one order. What it counts beyond the fills seen is asked for."""
    state, row = as_int(events[i]["state"]), book.orders.rows[slot]
    k = as_int(0)
    if state == _STATE_REJECTED:
        return _on_end(book, slot, _REJECTED, events, i, now_ns, reports, k)
    k = _on_live(book, slot, events, i, now_ns, reports, k)
    if state == _STATE_CANCELED:
        return _on_end(book, slot, _CANCELED, events, i, now_ns, reports, k)
    if state == _STATE_EXPIRED:
        return _on_end(book, slot, _EXPIRED, events, i, now_ns, reports, k)
    cum_lots = _cum_lots(book, slot, events, i)
    if state == _STATE_FILLED and cum_lots >= 0:
        # Its own fills end it, if they make it whole.
        return _on_end(book, slot, _CANCELED, events, i, now_ns, reports, k)
    missing = is_working(row["state"]) and (cum_lots > row["cum_lots"] or state == _STATE_FILLED)
    book.live[slot, ASK] = 1 if missing else 0
    if row["state"] == _STATE_PENDING_CANCEL and now_ns - row["changed_ns"] > book.words[ACK_TIMEOUT_NS]:
        # It works although its cancel had time: that was lost. Should it arrive yet, the order ends as it would have.
        begin_told(book, slot, _CANCEL_REJECTED, events, i, now_ns, reports, k)
        reports[k]["reason"] = _TIMEOUT
        k = finish_told(book, slot, reports, k)
    return k


@njit
def _on_not_found(book: LiveOrders, slot: int, events: NDArray[Any], i: int, now_ns: int, reports: NDArray[Any]) -> int:
    """The venue does not know the order. Two such answers, given when it has arrived or no longer can, prove that it is not there."""
    live, row = book.live[slot], book.orders.rows[slot]
    if not is_working(row["state"]):
        return 0
    since_ns = max(as_int(row["sent_ns"]), as_int(book.sources[slot]["sent_ns"]))
    window_ns = as_int(book.words[ACK_TIMEOUT_NS if live[ACKED] != 0 else WINDOW_NS])
    if live[ASKED_NS] - since_ns <= window_ns:
        live[ASK] = 1
        live[ASK_FROM_NS] = since_ns + window_ns + 1
        return 0
    live[NOT_FOUNDS] += 1
    if live[NOT_FOUNDS] < 2:
        live[ASK] = 1
        return 0
    kind = _CANCELED if live[ACKED] != 0 or row["cum_lots"] > 0 else _REJECTED
    live[GONE] = 1
    begin_told(book, slot, kind, events, i, now_ns, reports, 0)
    reports[0]["reason"] = _UNKNOWN_ORDER
    return finish_told(book, slot, reports, 0)
