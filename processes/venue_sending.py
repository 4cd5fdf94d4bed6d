"""Venue sending: what execution at a venue does with an approved instruction: refuse it, encode and queue it, or wait.

An order is journaled as SENDING before its request is written. New orders leave on the ORDERS lane, which kill words guard;
cancels on a lane of their own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.counters import ExecutionCounter
from hft.ledger import apply_fill
from hft.live_orders import (
    ACK_TIMEOUT_NS,
    FOLLOWER,
    FREED,
    WIRE_ID,
    LiveOrders,
    begin_cancel,
    begin_order,
    make_unknown,
    make_unsent,
    note_request,
    slot_now,
)
from hft.orders import STRATEGY_MAX, find, id_strategy, is_working, member
from hft.orders import order_id as make_id
from hft.records import ORDER, ExecutionCode, IntentKind, JournalKind, OrderState, ReportKind
from hft.reports import begin_report
from hft.units import as_int
from hft.venues.codecs import Encoded, encode, may_send, note_sent
from processes.cold_box import ColdBox
from processes.common import (
    Common,
    is_halted,
    journal_bytes,
)
from processes.execution import count_report, publish_report
from processes.order_line import can_send, queue
from processes.transport.wire import CANCELS, ORDERS
from shm.counters import add
from shm.jit import njit
from shm.ring import Ring

_ORDER_BYTES, _SENDING = ORDER.itemsize, int(JournalKind.SENDING)
_NEW, _CANCEL, _REPLACE, _CANCEL_ALL = (int(kind) for kind in IntentKind)
_SPLIT = int(Encoded.SPLIT)
_KILLED, _TOO_OLD = int(ExecutionCode.KILLED), int(ExecutionCode.TOO_OLD_AT_SEND)
_TABLE_FULL, _UNKNOWN_ORDER = int(ExecutionCode.TABLE_FULL), int(ExecutionCode.UNKNOWN_ORDER)
_NOT_CONNECTED, _NOT_RECONCILED = int(ExecutionCode.NOT_CONNECTED), int(ExecutionCode.NOT_RECONCILED)
_RATE_LIMITED, _NOT_EXPRESSIBLE = int(ExecutionCode.RATE_LIMITED), int(ExecutionCode.NOT_EXPRESSIBLE)
_ALREADY_DONE = int(ExecutionCode.ALREADY_DONE)
_NOT_SENT_REPORT, _TRADE_REPORT = int(ReportKind.NOT_SENT), int(ReportKind.TRADE)
_NEW_STATE, _PARTIAL_STATE = int(OrderState.NEW), int(OrderState.PARTIALLY_FILLED)
_FILLED_STATE, _REJECTED_STATE = int(OrderState.FILLED), int(OrderState.REJECTED)

#: VENUE_EVENT rows that one message, or one answer to a query, gives at most.
EVENTS_MAX = 64

# Cells of VenueExecution.words.
READY = 0  #: 1 once the account is logged on, its private stream live, and the venue's open orders are ours
UTC_OFFSET_NS = 1  #: CLOCK_REALTIME minus CLOCK_MONOTONIC, corrected to the venue's clock
TIMER_DUE_NS = 2
CANCELS_OWN = 3  #: cancels that this stage made by itself; with EPOCH and the last strategy number, which no strategy has, their ids
MALFORMED_SEEN = 4  #: messages that were not as documented, since cold code looked
EPOCH = 5
HEAR_DUE_NS = 6  #: when the socket is read next
OBEY_DUE_NS = 7  #: when what a halt or kill covers is looked at again
CLOCK_DOUBTED = 8  #: 1 when the venue has refused a request for its time
UNBOOKED_SEEN = 9  #: 1 once a fill could not be booked: what is held is not known
EXECUTION_WORDS = 10


class VenueExecution(NamedTuple):
    """Context of one execution stage at a venue."""

    common: Common
    orders: Ring  #: in
    reports: tuple[Ring, ...]  #: out: one a strategy in row order, then risk, then portfolio
    rings: NDArray[np.int64]  #: ring numbers: none, orders, then `reports` in order
    missed: NDArray[np.int64]  #: consumer -> reports that it has still to be given from the journal
    line: Any  #: the way to the venue; see `order_line`
    codec: Any  #: the venue's; see `hft/venues/codecs.py`
    live: LiveOrders
    firm: NDArray[Any]  #: FIRM_LIMITS, one row
    latency: NDArray[np.int64]  #: [span, ...] histograms
    order: NDArray[Any]  #: ORDER, one row of scratch
    order_bytes: NDArray[np.uint8]
    report: NDArray[Any]  #: REPORT, one row of scratch
    report_bytes: NDArray[np.uint8]
    told: NDArray[Any]  #: REPORT, scratch for what one event makes
    events: NDArray[Any]  #: VENUE_EVENT, EVENTS_MAX rows of scratch
    event_bytes: NDArray[np.uint8]
    request: NDArray[np.uint8]  #: scratch for one request's text
    cold: ColdBox
    words: NDArray[np.int64]  #: see the cells above
    venue: NDArray[np.int64]  #: one cell: the venue's row
    instruments: NDArray[Any]  #: INSTRUMENT rows
    positions: NDArray[Any]  #: POSITION of the firm, by instrument; compared with what the venue says


@njit
def tell_report(ctx: VenueExecution, n: int) -> None:
    """Count, book and publish report `n` of what the newest event made."""
    ctx.report[0] = ctx.told[n]
    count_report(ctx)
    row, is_fill = as_int(ctx.report[0]["instrument"]), ctx.report[0]["kind"] == _TRADE_REPORT
    if is_fill and apply_fill(ctx.positions, row, ctx.instruments, ctx.report, 0) == 0:
        ctx.words[UNBOOKED_SEEN] = 1
        ctx.words[READY] = 0
    publish_report(ctx)


@njit
def take_order(ctx: VenueExecution, now_ns: int) -> None:
    """Do what the approved instruction in the scratch row says."""
    kind = as_int(ctx.order[0]["kind"])
    if kind == _NEW:
        _open_order(ctx, -1, now_ns)
    elif kind == _REPLACE:
        _replace(ctx, now_ns)
    elif kind == _CANCEL:
        _cancel(ctx, slot_now(ctx.live, ctx.order[0]["ref_order_id"]), now_ns)
    else:
        cancel_scope(ctx, as_int(ctx.order[0]["instrument"]), as_int(ctx.order[0]["strategy"]), False, now_ns)


@njit
def _refusal(ctx: VenueExecution, now_ns: int) -> int:
    """Why the new order in the scratch row may not leave now, as ExecutionCode; 0 if it may."""
    row = ctx.order[0]
    if is_halted(ctx.common, ctx.venue[0], as_int(row["strategy"])):
        return _KILLED
    if now_ns - row["approved_ns"] > ctx.firm[0]["send_age_max_ns"]:
        return _TOO_OLD
    if can_send(ctx.line) == 0:
        return _NOT_CONNECTED
    if ctx.words[READY] == 0:
        return _NOT_RECONCILED
    if may_send(ctx.codec, as_int(row["kind"]), as_int(row["instrument"]), now_ns, now_ns + ctx.words[UTC_OFFSET_NS]) > 0:
        return _RATE_LIMITED
    return 0


@njit
def _open_order(ctx: VenueExecution, ref_slot: int, now_ns: int) -> None:
    """Enter and send the NEW or REPLACE in the scratch row; `ref_slot` is the order that a REPLACE replaces."""
    slot = begin_order(ctx.live, ctx.order, 0, now_ns)
    if slot < 0:
        _tell_unentered(ctx, now_ns)
        return
    note_request(ctx.live, ctx.order, 0, ctx.order[0]["order_id"])
    code = _refusal(ctx, now_ns)
    if code == 0:
        code = _send(ctx, slot, ref_slot, now_ns)
    if code != 0:
        tell_unsent(ctx, slot, code, now_ns)


@njit
def _send(ctx: VenueExecution, slot: int, ref_slot: int, now_ns: int) -> int:
    """Journal, encode and queue the request of the order in the scratch row; 0, or the ExecutionCode of what kept it from leaving."""
    row, live = ctx.order[0], ctx.live.live
    utc_ns = now_ns + ctx.words[UTC_OFFSET_NS]
    ref_wire_id = live[ref_slot, WIRE_ID] if ref_slot >= 0 else 0
    length = encode(ctx.codec, ctx.order, 0, live[slot, WIRE_ID], ref_wire_id, utc_ns, ctx.request, 0)
    if length == _SPLIT:
        live[ref_slot, FOLLOWER] = row["order_id"]
        _cancel(ctx, ref_slot, now_ns)
        return 0
    if length < 0:
        return _NOT_EXPRESSIBLE
    journal_bytes(ctx.common, _SENDING, 0, ctx.order_bytes, 0, _ORDER_BYTES)
    deadline_ns = now_ns + ctx.live.words[ACK_TIMEOUT_NS]
    if queue(ctx.line, ORDERS, as_int(row["order_id"]), as_int(row["kind"]), deadline_ns, ctx.request, 0, length) == 0:
        return _NOT_CONNECTED
    note_sent(ctx.codec, as_int(row["kind"]), as_int(row["instrument"]), now_ns, utc_ns)
    return 0


@njit
def _replace(ctx: VenueExecution, now_ns: int) -> None:
    """Replace a working order; one that has ended is not replaced, because then both could fill."""
    ref_slot = slot_now(ctx.live, ctx.order[0]["ref_order_id"])
    if ref_slot >= 0 and is_working(ctx.live.orders.rows[ref_slot]["state"]):
        _open_order(ctx, ref_slot, now_ns)
        return
    slot = begin_order(ctx.live, ctx.order, 0, now_ns)
    if slot >= 0:
        tell_unsent(ctx, slot, _UNKNOWN_ORDER if ref_slot < 0 else _ALREADY_DONE, now_ns)
    else:
        _tell_unentered(ctx, now_ns)


@njit
def send_follower(ctx: VenueExecution, now_ns: int) -> None:
    """The order before it has ended: send the one that waited for that, unless the first was filled after all."""
    slot = find(ctx.live.orders, ctx.live.words[FREED])
    ctx.live.words[FREED] = 0
    if slot < 0 or not is_working(ctx.live.orders.rows[slot]["state"]):
        return
    ctx.order[0] = ctx.live.sources[slot]
    before = find(ctx.live.orders, ctx.order[0]["ref_order_id"])
    ctx.order[0]["kind"] = _NEW
    filled = before >= 0 and ctx.live.orders.rows[before]["state"] == _FILLED_STATE
    code = _ALREADY_DONE if filled else _refusal(ctx, now_ns)
    if code == 0:
        code = _send(ctx, slot, -1, now_ns)
    if code != 0:
        tell_unsent(ctx, slot, code, now_ns)


@njit
def _cancel(ctx: VenueExecution, slot: int, now_ns: int) -> None:
    """Send the cancel of a working order, on behalf of the instruction in the scratch row."""
    if slot < 0 or not is_working(ctx.live.orders.rows[slot]["state"]):
        return
    if ctx.order[0]["kind"] != _CANCEL:
        _make_own_cancel(ctx, slot)
    if _send_cancel(ctx, ctx.live.orders.rows[slot]["order_id"], ctx.live.live[slot, WIRE_ID], now_ns):
        for n in range(begin_cancel(ctx.live, slot, now_ns, ctx.events, ctx.told)):
            tell_report(ctx, n)


@njit
def _send_cancel(ctx: VenueExecution, target: int, wire_id: int, now_ns: int) -> bool:
    """Journal, encode and queue the CANCEL in the scratch row; whether it was queued."""
    instruction = ctx.order[0]
    note_request(ctx.live, ctx.order, 0, target)
    utc_ns = now_ns + ctx.words[UTC_OFFSET_NS]
    length = encode(ctx.codec, ctx.order, 0, instruction["order_id"], wire_id, utc_ns, ctx.request, 0)
    if length <= 0:
        return False
    journal_bytes(ctx.common, _SENDING, 0, ctx.order_bytes, 0, _ORDER_BYTES)
    deadline_ns = now_ns + ctx.live.words[ACK_TIMEOUT_NS]
    if queue(ctx.line, CANCELS, as_int(instruction["order_id"]), _CANCEL, deadline_ns, ctx.request, 0, length) == 0:
        return False
    note_sent(ctx.codec, _CANCEL, as_int(instruction["instrument"]), now_ns, utc_ns)
    add(ctx.common.counters, ExecutionCounter.CANCELS_SENT, 1)
    return True


@njit
def _make_own_cancel(ctx: VenueExecution, slot: int) -> None:
    """Make the scratch row a CANCEL of the order, with an id that no strategy's request has."""
    order, row = ctx.order[0], ctx.live.orders.rows[slot]
    ctx.words[CANCELS_OWN] += 1
    order["order_id"] = make_id(ctx.words[EPOCH], STRATEGY_MAX, ctx.words[CANCELS_OWN])
    order["ref_order_id"] = row["order_id"]
    order["kind"] = _CANCEL
    order["instrument"] = row["instrument"]
    order["strategy"] = row["strategy"]
    order["side"] = row["side"]


@njit
def cancel_scope(ctx: VenueExecution, instrument: int, strategy: int, again: bool, now_ns: int) -> None:
    """Cancel each working order of an instrument (-1: all) and strategy (-1: all); `again`: only those that live and no cancel is of."""
    orders = ctx.live.orders
    for row in range(len(orders.counts)):
        if instrument >= 0 and row != instrument:
            continue
        for k in range(orders.counts[row]):
            slot = member(orders, row, k)
            state = orders.rows[slot]["state"]
            if again and state != _NEW_STATE and state != _PARTIAL_STATE:
                continue
            if strategy < 0 or orders.rows[slot]["strategy"] == strategy:
                ctx.order[0]["kind"] = _CANCEL_ALL
                _cancel(ctx, slot, now_ns)


@njit
def tell_unsent(ctx: VenueExecution, slot: int, reason: int, now_ns: int) -> None:
    for n in range(make_unsent(ctx.live, slot, reason, now_ns, ctx.events, ctx.told)):
        tell_report(ctx, n)


@njit
def tell_unknown(ctx: VenueExecution, slot: int, now_ns: int) -> None:
    if slot >= 0:
        for n in range(make_unknown(ctx.live, slot, now_ns, ctx.events, ctx.told)):
            tell_report(ctx, n)


@njit
def _tell_unentered(ctx: VenueExecution, now_ns: int) -> None:
    """The table took no more orders: report the one in the scratch row as NOT_SENT without it."""
    begin_report(ctx.told, 0, ctx.order, 0)
    report = ctx.told[0]
    report["kind"] = _NOT_SENT_REPORT
    report["state"] = _REJECTED_STATE
    report["reason"] = _TABLE_FULL
    report["reported_ns"] = now_ns
    tell_report(ctx, 0)


@njit
def cancel_stranger(ctx: VenueExecution, order_id: int, instrument: int, now_ns: int) -> None:
    """Cancel an order that is open at the venue, has an id of ours, and that nobody here knows: an earlier epoch left it."""
    if order_id <= 0 or instrument < 0:
        return
    order = ctx.order[0]
    ctx.words[CANCELS_OWN] += 1
    order["order_id"] = make_id(ctx.words[EPOCH], STRATEGY_MAX, ctx.words[CANCELS_OWN])
    order["ref_order_id"] = order_id
    order["kind"] = _CANCEL
    order["instrument"] = instrument
    order["strategy"] = id_strategy(order_id)
    order["side"] = 1
    _send_cancel(ctx, order_id, order_id, now_ns)
