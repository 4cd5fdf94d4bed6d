"""Matching fills paper orders against a live book, in price-time order with queue position.

The venue is simulated beside real market data, which the own orders do not change. Time is an argument everywhere:

- an instruction sent at t reaches the venue at t + order latency, and is handled in the order sent; what the venue reports
  at t is visible at t + acknowledgement latency;
- on arrival, an order that would take and is post-only is REJECTED; otherwise it takes the other side's levels within its
  limit as taker, best first, a fill a level. Size taken stays taken until that level shows another size. FOK takes all or
  EXPIRES; what an IOC cannot take EXPIRES; the rest of a GTC rests behind the size displayed at its price;
- resting orders fill as makers as `hft/queue_model.py` says;
- an order never trades with an own order: it takes only better prices than the best own order against it, and what would
  have reached that EXPIRES with the reason SELF_TRADE;
- a CANCEL frees what is left on arrival: a fill before that wins. REPLACE cancels the old order, then the new one comes in;
  if the old one is done or unknown, the new one is REJECTED, so both can never fill;
- while the book is invalid nothing fills and new orders are REJECTED; cancels work. After it the queues are cut to the new
  book.

One order takes at most `walk_levels_max` levels at once; what would take more EXPIRES and never rests crossing. Orders beyond
`orders_max` are REJECTED. A fill that could not be reported is not made.

The caller, for each event: `advance` to the event's time, then for each record `apply_market(books, m.valid, ...)` and
`on_market`.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.book import Book, Books, best_ticks, book_at, depth, level_lots
from hft.matching_reports import emit, emit_cancel_rejected, next_report
from hft.matching_state import (
    ARRIVAL_COUNT,
    ARRIVAL_HEAD,
    ARRIVAL_LAST_NS,
    BUY,
    NEVER_NS,
    ORDER_LATENCY_NS,
    REPORT_COUNT,
    REPORT_HEAD,
    SELL,
    TAKEN_FULL,
    UTC_OFFSET_NS,
    Matching,
    check,
    column,
    new_matching,
    report_room,
    wide,
)
from hft.queue_model import (
    clamp_all,
    clamp_queue,
    cross_book,
    cross_quote,
    done_index,
    fill,
    find_resting,
    free_slot,
    left_lots,
    link,
    on_trade,
    remember_taken,
    see_level,
    take_slot,
    taken_room,
    unlink,
)
from hft.records import (
    ExecutionCode,
    IntentKind,
    Liquidity,
    MarketFlag,
    MarketKind,
    OrderFlag,
    OrderState,
    ReportKind,
    RiskCode,
    TimeInForce,
)
from shm.jit import njit

__all__ = [
    "Matching",
    "advance",
    "cancel_everything",
    "check",
    "new_matching",
    "next_due_ns",
    "next_report",
    "on_market",
    "on_order",
]

_LEVEL, _TRADE, _TOP = int(MarketKind.LEVEL), int(MarketKind.TRADE), int(MarketKind.TOP)
_QUOTE, _RESET, _VALID = int(MarketKind.QUOTE), int(MarketKind.RESET), int(MarketKind.VALID)
_INVALID, _CLOCK, _BID = int(MarketKind.INVALID), int(MarketKind.CLOCK), int(MarketFlag.BID)
_NEW_ORDER, _CANCEL = int(IntentKind.NEW), int(IntentKind.CANCEL)
_REPLACE, _CANCEL_ALL = int(IntentKind.REPLACE), int(IntentKind.CANCEL_ALL)
_GTC, _FOK, _POST_ONLY = int(TimeInForce.GTC), int(TimeInForce.FOK), int(OrderFlag.POST_ONLY)
_ACK, _CANCELED, _EXPIRED = int(ReportKind.ACK), int(ReportKind.CANCELED), int(ReportKind.EXPIRED)
_REJECTED = int(ReportKind.REJECTED)
_NONE, _NEW_STATE, _FILLED_STATE = int(OrderState.NONE), int(OrderState.NEW), int(OrderState.FILLED)
_CANCELED_STATE, _EXPIRED_STATE = int(OrderState.CANCELED), int(OrderState.EXPIRED)
_REJECTED_STATE = int(OrderState.REJECTED)
_TAKER = int(Liquidity.TAKER)
_POST_ONLY_WOULD_TAKE, _NO_LIQUIDITY = int(ExecutionCode.POST_ONLY_WOULD_TAKE), int(ExecutionCode.NO_LIQUIDITY)
_UNKNOWN_ORDER, _ALREADY_DONE = int(ExecutionCode.UNKNOWN_ORDER), int(ExecutionCode.ALREADY_DONE)
_TABLE_FULL, _BOOK_INVALID = int(ExecutionCode.TABLE_FULL), int(ExecutionCode.BOOK_INVALID)
_SELF_TRADE = int(RiskCode.SELF_TRADE)

#: In `arrivals`: a CANCEL_ALL of every strategy and instrument.
_EVERYTHING = -1


@njit
def on_order(m: Matching, orders: NDArray[Any], i: int, now_ns: int) -> int:
    """Send the ORDER record `orders[i]` at `now_ns`.

    Returns 0, or TABLE_FULL when too much is in flight or reports are not taken: then nothing was sent, and the caller reports NOT_SENT.
    """
    # One place, and the room of one report, are kept for cancel_everything.
    if m.words[ARRIVAL_COUNT] >= len(m.arrivals) - 1 or report_room(m) < 2:
        return _TABLE_FULL
    m.arrivals[_append_arrival(m, now_ns)] = orders[i]
    return 0


@njit
def cancel_everything(m: Matching, now_ns: int) -> None:
    """Send a cancel of every order sent before, whoever sent it. Asking again while it is the last thing sent does nothing."""
    count = m.words[ARRIVAL_COUNT]
    if count > 0:
        last = (m.words[ARRIVAL_HEAD] + count - 1) & (len(m.arrivals) - 1)
        if m.arrivals[last]["kind"] == _CANCEL_ALL and m.arrivals[last]["strategy"] == _EVERYTHING:
            return
    k = _append_arrival(m, now_ns)
    m.arrivals[k]["kind"] = _CANCEL_ALL
    m.arrivals[k]["strategy"] = _EVERYTHING
    m.arrivals[k]["instrument"] = _EVERYTHING


@njit
def _append_arrival(m: Matching, now_ns: int) -> int:
    k = (m.words[ARRIVAL_HEAD] + m.words[ARRIVAL_COUNT]) & (len(m.arrivals) - 1)
    m.words[ARRIVAL_COUNT] += 1
    m.words[ARRIVAL_LAST_NS] = max(now_ns + m.words[ORDER_LATENCY_NS], m.words[ARRIVAL_LAST_NS])
    m.arrival_due_ns[k] = m.words[ARRIVAL_LAST_NS]
    return int(k)


@njit
def next_due_ns(m: Matching) -> int:
    """When the next instruction arrives or the next report becomes visible; NEVER_NS if nothing is under way."""
    due_ns = NEVER_NS
    if m.words[ARRIVAL_COUNT] > 0:
        due_ns = min(due_ns, m.arrival_due_ns[m.words[ARRIVAL_HEAD]])
    if m.words[REPORT_COUNT] > 0:
        due_ns = min(due_ns, m.report_due_ns[m.words[REPORT_HEAD]])
    return due_ns


@njit
def advance(m: Matching, books: Books, now_ns: int) -> int:
    """Handle the instructions that have arrived by `now_ns`; return how many.

    When reports are not taken (`next_report`), arrivals wait until there is room for all that one may report.
    """
    handled = 0
    while m.words[ARRIVAL_COUNT] > 0 and report_room(m) >= len(m.walk_ticks) + 3:
        k = m.words[ARRIVAL_HEAD]
        due_ns = m.arrival_due_ns[k]
        if due_ns > now_ns:
            break
        m.words[ARRIVAL_HEAD] = (k + 1) & (len(m.arrivals) - 1)
        m.words[ARRIVAL_COUNT] -= 1
        _arrive(m, books, k, due_ns)
        handled += 1
    return handled


@njit
def _arrive(m: Matching, books: Books, k: int, now_ns: int) -> None:
    kind = m.arrivals[k]["kind"]
    if kind == _NEW_ORDER:
        _enter(m, books, k, now_ns)
    elif kind == _CANCEL:
        _cancel(m, k, now_ns)
    elif kind == _REPLACE:
        slot = find_resting(m, wide(m.arrivals[k]["instrument"]), m.arrivals[k]["ref_order_id"])
        if slot < 0:
            emit(m, m.arrivals, k, _REJECTED, _REJECTED_STATE, _UNKNOWN_ORDER, 0, 0, now_ns)
        else:
            _end(m, slot, _CANCELED, _CANCELED_STATE, 0, now_ns)
            _enter(m, books, k, now_ns)
    else:
        _cancel_all(m, wide(m.arrivals[k]["strategy"]), wide(m.arrivals[k]["instrument"]), now_ns)


@njit
def _cancel(m: Matching, k: int, now_ns: int) -> None:
    meant = m.arrivals[k]["ref_order_id"]
    slot = find_resting(m, wide(m.arrivals[k]["instrument"]), meant)
    if slot >= 0:
        _end(m, slot, _CANCELED, _CANCELED_STATE, 0, now_ns)
        return
    done = m.done[done_index(m, meant)]
    if done["order_id"] != meant or meant == 0:
        emit_cancel_rejected(m, k, _NONE, _UNKNOWN_ORDER, 0, now_ns)
        return
    report = m.reports[emit_cancel_rejected(m, k, done["state"], _ALREADY_DONE, done["cum_lots"], now_ns)]
    report["price_ticks"] = done["price_ticks"]
    report["qty_lots"] = done["qty_lots"]
    report["side"] = done["side"]


@njit
def _cancel_all(m: Matching, strategy: int, instrument: int, now_ns: int) -> None:
    for row in range(len(m.valid)):
        if instrument != _EVERYTHING and instrument != row:
            continue
        for c in range(2):
            slot = m.heads[row, c]
            while slot >= 0:
                after = m.resting[slot]["next"]
                if strategy == _EVERYTHING or m.orders[slot]["strategy"] == strategy:
                    _end(m, slot, _CANCELED, _CANCELED_STATE, 0, now_ns)
                slot = after


@njit
def _end(m: Matching, slot: int, kind: int, state: int, reason: int, now_ns: int) -> None:
    """End a linked order with nothing left working."""
    emit(m, m.orders, slot, kind, state, reason, m.resting[slot]["cum_lots"], 0, now_ns)
    unlink(m, slot)
    free_slot(m, slot, state)


@njit
def _refusal(m: Matching, book: Book, k: int) -> int:
    """Why the venue does not take the order `m.arrivals[k]`, or 0."""
    order = m.arrivals[k]
    instrument, side = wide(order["instrument"]), wide(order["side"])
    if m.valid[instrument] == 0:
        return _BOOK_INVALID
    if order["flags"] & _POST_ONLY:
        best = best_ticks(book, -side)
        own = m.heads[instrument, column(-side)]
        if best != 0 and side * (order["price_ticks"] - best) >= 0:
            return _POST_ONLY_WOULD_TAKE
        if own >= 0 and side * (order["price_ticks"] - m.orders[own]["price_ticks"]) >= 0:
            return _POST_ONLY_WOULD_TAKE
    return 0


@njit
def _enter(m: Matching, books: Books, k: int, now_ns: int) -> None:
    """Let the new order `m.arrivals[k]` in: reject, take, rest or expire."""
    instrument = wide(m.arrivals[k]["instrument"])
    book = book_at(books, instrument)
    reason = _refusal(m, book, k)
    slot = -1 if reason != 0 else take_slot(m)
    if slot < 0:
        emit(m, m.arrivals, k, _REJECTED, _REJECTED_STATE, reason if reason != 0 else _TABLE_FULL, 0, 0, now_ns)
        return
    m.orders[slot] = m.arrivals[k]
    order, row = m.orders[slot], m.resting[slot]
    row["cum_lots"] = 0
    row["leaves_lots"] = order["qty_lots"]
    emit(m, m.orders, slot, _ACK, _NEW_STATE, 0, 0, order["qty_lots"], now_ns)
    levels, stopped = _walk(m, book, slot)
    if order["tif"] != _FOK or _walked_lots(m, slot, levels) >= order["qty_lots"]:
        _take(m, slot, levels, now_ns)
    if row["leaves_lots"] == 0:
        free_slot(m, slot, _FILLED_STATE)
    elif order["tif"] != _GTC or stopped != 0:
        emit(m, m.orders, slot, _EXPIRED, _EXPIRED_STATE, stopped if stopped != 0 else _NO_LIQUIDITY, row["cum_lots"], 0, now_ns)
        free_slot(m, slot, _EXPIRED_STATE)
    else:
        side, price_ticks = wide(order["side"]), order["price_ticks"]
        row["queue_ahead_lots"] = left_lots(m, instrument, side, price_ticks, level_lots(book, side, price_ticks))
        link(m, slot)


@njit
def _walk(m: Matching, book: Book, slot: int) -> tuple[int, int]:
    """Copy the levels that the order may take to the walk scratch; return how many, and why it may not take more.

    The reason is 0 if only its own limit stops it: then what is left may rest.
    """
    order = m.orders[slot]
    instrument, side = wide(order["instrument"]), wide(order["side"])
    limit_ticks, stopped = order["price_ticks"], 0
    own = m.heads[instrument, column(-side)]
    if own >= 0 and side * (limit_ticks - m.orders[own]["price_ticks"]) >= 0:
        limit_ticks, stopped = m.orders[own]["price_ticks"] - side, _SELF_TRADE
    best = best_ticks(book, -side)
    if best == 0 or side * (limit_ticks - best) < 0:
        return 0, stopped
    count = depth(book, -side, len(m.walk_ticks), m.walk_ticks, m.walk_lots)
    levels = 0
    while levels < count and side * (limit_ticks - m.walk_ticks[levels]) >= 0:
        levels += 1
    if levels == len(m.walk_ticks):
        stopped = _NO_LIQUIDITY
    room = taken_room(m, instrument)
    if levels > room:
        m.words[TAKEN_FULL] += 1
        levels, stopped = room, _NO_LIQUIDITY
    return levels, stopped


@njit
def _walked_lots(m: Matching, slot: int, levels: int) -> int:
    """What is left to take on the walk scratch's levels."""
    instrument, level_side = wide(m.orders[slot]["instrument"]), wide(-m.orders[slot]["side"])
    total_lots = 0
    for k in range(levels):
        total_lots += left_lots(m, instrument, level_side, m.walk_ticks[k], m.walk_lots[k])
    return total_lots


@njit
def _take(m: Matching, slot: int, levels: int, now_ns: int) -> None:
    """Fill the order as taker from the walk scratch's levels."""
    instrument, level_side = wide(m.orders[slot]["instrument"]), wide(-m.orders[slot]["side"])
    for k in range(levels):
        shown_lots = m.walk_lots[k]
        left = left_lots(m, instrument, level_side, m.walk_ticks[k], shown_lots)
        lots = min(left, m.resting[slot]["leaves_lots"])
        if lots > 0:
            remember_taken(m, instrument, level_side, m.walk_ticks[k], shown_lots, lots)
            fill(m, slot, m.walk_ticks[k], lots, _TAKER, now_ns)
        if m.resting[slot]["leaves_lots"] == 0:
            return


@njit
def on_market(m: Matching, books: Books, markets: NDArray[Any], i: int, now_ns: int) -> None:
    """Let the MARKET record `markets[i]`, whose event the books already hold, move queues and fill resting orders."""
    market = markets[i]
    kind = market["kind"]
    if kind == _CLOCK:
        m.words[UTC_OFFSET_NS] = market["exchange_ns"] - market["received_ns"]
        return
    instrument = wide(market["instrument"])
    side = BUY if market["flags"] & _BID else SELL
    if kind == _LEVEL:
        see_level(m, instrument, side, market["price_ticks"], market["qty_lots"])
        clamp_queue(m, instrument, side, market["price_ticks"], market["qty_lots"])
    elif kind == _RESET:
        m.valid[instrument] = 0
        m.taken_count[instrument] = 0
    elif kind == _INVALID:
        m.valid[instrument] = 0
    elif kind == _VALID:
        m.valid[instrument] = 1
        clamp_all(m, book_at(books, instrument), instrument)
    elif m.valid[instrument] != 0:
        if kind == _TRADE:
            on_trade(m, instrument, side, market["price_ticks"], market["qty_lots"], now_ns)
        elif kind == _TOP:
            cross_book(m, book_at(books, instrument), instrument, now_ns)
        elif kind == _QUOTE:
            cross_quote(m, instrument, SELL, market["price_ticks"], market["qty_lots"], now_ns)
            cross_quote(m, instrument, BUY, market["ask_ticks"], market["ask_lots"], now_ns)
