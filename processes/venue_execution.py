"""Venue execution: sends approved orders to a venue, publishes what the venue says of them.

A venue's word is journaled as VENUE_EVENT before it is acted on, and a report before anyone sees it. `order_line` is the way
to the venue, `live_events` what its words mean, `venue_sending` what an instruction does.

Messages that kernels do not read (log-on, subscriptions, answers to queries) wait in `cold` for `AccountSession`.
"""

from __future__ import annotations

from hft.counters import ExecutionCounter
from hft.live_events import is_gone, on_event, says_working
from hft.live_orders import (
    FOREIGN,
    FREED,
    QUERY_PAUSE_NS,
    UNKNOWN_COUNT,
    overdue,
)
from hft.orders import find, member
from hft.records import VENUE_EVENT, ExecutionCode, JournalKind, OrderFlag, OrderState, VenueReason
from hft.venues.codecs import Scanned
from processes.common import (
    CANCEL_ALL_CELL,
    FIRM_CELL,
    VENUE_CELL,
    journal_bytes,
    may_work,
    observe,
    take_in,
)
from processes.execution import record_spans
from processes.order_line import NOTHING, Settled, can_send, flush, poll, scan, settled
from processes.venue_sending import (
    CLOCK_DOUBTED,
    HEAR_DUE_NS,
    MALFORMED_SEEN,
    OBEY_DUE_NS,
    TIMER_DUE_NS,
    VenueExecution,
    cancel_scope,
    cancel_stranger,
    send_follower,
    take_order,
    tell_report,
    tell_unknown,
    tell_unsent,
)
from shm.clock import monotonic_ns
from shm.counters import add
from shm.jit import njit
from shm.ring import read_record, release_many, slot_of

_EVENT_BYTES = VENUE_EVENT.itemsize
_VENUE_EVENT, _FROM_MARKET = int(JournalKind.VENUE_EVENT), int(OrderFlag.FROM_MARKET)
_MALFORMED, _PENDING_NEW_STATE = int(Scanned.MALFORMED), int(OrderState.PENDING_NEW)
_KILLED, _NOT_CONNECTED = int(ExecutionCode.KILLED), int(ExecutionCode.NOT_CONNECTED)
_CLOCK, _EXPIRED_REQUEST = int(VenueReason.CLOCK), int(VenueReason.EXPIRED_REQUEST)
_NO_NEWS, _UNSENT, _UNKNOWN = int(Settled.NOTHING), int(Settled.UNSENT), int(Settled.UNKNOWN)

#: Messages taken in one `work`.
MESSAGES_MAX = 64

_TIMER_NS = 5_000_000
#: The socket is read this often: a read that brings nothing is most of an idle cycle, and the market's next message waits for it.
_HEAR_NS = 2_000


@njit
def work(ctx: VenueExecution, now_ns: int) -> int:
    """Send what was approved, hear the venue, tell what became of it; return how much was done."""
    if not may_work(ctx.common):
        return 0
    done = observe(ctx.common, now_ns)
    if done > 0:
        _obey(ctx, False, now_ns)
    done += _drain_orders(ctx, now_ns)
    _flush(ctx, now_ns)
    if now_ns >= ctx.words[HEAR_DUE_NS]:
        ctx.words[HEAR_DUE_NS] = now_ns + _HEAR_NS
        poll(ctx.line, now_ns)
    heard = _drain_messages(ctx, now_ns)
    if heard > 0:
        _flush(ctx, now_ns)
    done += heard
    if now_ns >= ctx.words[TIMER_DUE_NS]:
        ctx.words[TIMER_DUE_NS] = now_ns + _TIMER_NS
        _on_timer(ctx, now_ns)
    return done


@njit
def _flush(ctx: VenueExecution, now_ns: int) -> None:
    """Write what is queued, and learn what left."""
    flush(ctx.line, ctx.common.halts, FIRM_CELL, VENUE_CELL + ctx.venue[0])
    _settle(ctx, now_ns)


@njit
def _drain_messages(ctx: VenueExecution, now_ns: int) -> int:
    """Take the messages that have come; one that cold code must see, and has no room for, is taken later."""
    done = 0
    while done < MESSAGES_MAX:
        count = scan(ctx.line, ctx.codec, ctx.cold, ctx.events)
        if count == NOTHING:
            break
        if count == _MALFORMED:
            ctx.words[MALFORMED_SEEN] += 1
        for k in range(count):
            take_event(ctx, k, now_ns)
        done += 1
    return done


@njit
def take_event(ctx: VenueExecution, k: int, now_ns: int) -> None:
    """Journal event `k`, then act on it. An order of ours that works there and that nobody here knows is canceled: an earlier epoch sent
    it, and it may arrive after everything was asked for."""
    journal_bytes(ctx.common, _VENUE_EVENT, 0, ctx.event_bytes, k * _EVENT_BYTES, _EVENT_BYTES)
    reason = ctx.events[k]["reason"]
    if reason == _CLOCK or reason == _EXPIRED_REQUEST:
        ctx.words[CLOCK_DOUBTED] = 1
    foreign = ctx.live.words[FOREIGN]
    count = on_event(ctx.live, ctx.events, k, now_ns, ctx.told)
    for n in range(count):
        tell_report(ctx, n)
    if says_working(ctx.events, k) and (ctx.live.words[FOREIGN] != foreign or is_gone(ctx.live, ctx.events, k)):
        cancel_stranger(ctx, ctx.events[k]["order_id"], ctx.events[k]["instrument"], now_ns)
    if ctx.live.words[FREED] != 0:
        send_follower(ctx, now_ns)


@njit
def _drain_orders(ctx: VenueExecution, now_ns: int) -> int:
    ring = ctx.orders
    count = take_in(ctx.common, ring, ctx.rings[1], now_ns)
    if count == 0:
        return 0
    for k in range(count):
        read_record(ring, slot_of(ring, k), ctx.order, 0)
        take_order(ctx, now_ns)
    release_many(ring, count)
    return count


@njit
def _obey(ctx: VenueExecution, again: bool, now_ns: int) -> None:
    """Cancel every working order that a halt or kill covers; `again`: that is in force, and what lives in spite of it."""
    halts = ctx.common.halts
    if halts[CANCEL_ALL_CELL] | halts[FIRM_CELL] | halts[VENUE_CELL + ctx.venue[0]] != 0:
        cancel_scope(ctx, -1, -1, again, now_ns)
        return
    first = VENUE_CELL + ctx.common.venues[0]
    for strategy in range(len(halts) - first):
        if halts[first + strategy] != 0:
            cancel_scope(ctx, -1, strategy, again, now_ns)


@njit
def _settle(ctx: VenueExecution, now_ns: int) -> None:
    """Learn which of the queued requests left."""
    what, order_id = settled(ctx.line)
    while what != _NO_NEWS:
        slot = find(ctx.live.orders, order_id)
        if what == _UNSENT:
            if slot >= 0:
                tell_unsent(ctx, slot, _KILLED if _is_killed(ctx) else _NOT_CONNECTED, now_ns)
        else:
            _note_left(ctx, slot)
            if what == _UNKNOWN:
                tell_unknown(ctx, slot, now_ns)
        what, order_id = settled(ctx.line)


@njit
def _is_killed(ctx: VenueExecution) -> bool:
    halts = ctx.common.halts
    return halts[FIRM_CELL] | halts[VENUE_CELL + ctx.venue[0]] != 0


@njit
def _note_left(ctx: VenueExecution, slot: int) -> None:
    """The order's request has left this host."""
    if slot < 0:
        return
    sent_ns = monotonic_ns()
    source = ctx.live.sources[slot]
    source["sent_ns"] = sent_ns
    ctx.live.orders.rows[slot]["sent_ns"] = sent_ns
    add(ctx.common.counters, ExecutionCounter.SENT, 1)
    if source["flags"] & _FROM_MARKET != 0:
        record_spans(ctx.latency, ctx.live.sources, slot)


@njit
def _on_timer(ctx: VenueExecution, now_ns: int) -> None:
    """Orders that got no answer in time are UNKNOWN; what lives in spite of a kill is canceled again; gauges."""
    if now_ns >= ctx.words[OBEY_DUE_NS] and can_send(ctx.line) != 0:
        # Its cancel may have found no connection, or have been lost, or the order was answered late.
        ctx.words[OBEY_DUE_NS] = now_ns + ctx.live.words[QUERY_PAUSE_NS]
        _obey(ctx, True, now_ns)
    slot = overdue(ctx.live, now_ns)
    while slot >= 0:
        tell_unknown(ctx, slot, now_ns)
        slot = overdue(ctx.live, now_ns)
    working = 0
    for instrument in range(len(ctx.live.orders.counts)):
        working += ctx.live.orders.counts[instrument]
    ctx.common.counters[ExecutionCounter.WORKING] = working
    ctx.common.counters[ExecutionCounter.UNKNOWN] = ctx.live.words[UNKNOWN_COUNT]


@njit
def forget_connection(ctx: VenueExecution, now_ns: int) -> None:
    """The connection ended: what had left and was not answered is UNKNOWN."""
    _settle(ctx, now_ns)
    orders = ctx.live.orders
    for instrument in range(len(orders.counts)):
        for k in range(orders.counts[instrument]):
            slot = member(orders, instrument, k)
            if orders.rows[slot]["state"] == _PENDING_NEW_STATE and orders.rows[slot]["sent_ns"] != 0:
                tell_unknown(ctx, slot, now_ns)


@njit
def take_events(ctx: VenueExecution, count: int, now_ns: int) -> None:
    """Take the first `count` events of the scratch rows, which cold code put there."""
    for k in range(count):
        take_event(ctx, k, now_ns)
