"""Risk decides whether an intent may become an order: one pure kernel, one numeric code for each refusal.

`check` reads the state and answers; `approve` commits what an approval means (order, budget, id, duplicate memory). A check
that is repeated gives the same answer. Cheap and fundamental checks come first; `hft.controls` defines each one in words.

Everything fails closed: a limit of 0 refuses, a missing mark, rate or touch refuses, a product out of range refuses.
CANCEL and CANCEL_ALL pass everything except identity, and for CANCEL an identical one within the window.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.bounds import BASIS_POINTS
from hft.breakers import is_late, is_wild, rearm, standing
from hft.fill_rate import forget
from hft.funds import covers, settle
from hft.messages import is_over, note_message
from hft.orders import DONE_COUNT, USED, find, id_counter, id_epoch, id_strategy, insert_order, is_working
from hft.records import IntentKind, OrderFlag, RiskCode, Side, TimeInForce
from hft.reference import has_agreeing_peer, is_beyond_reference
from hft.risk_state import (
    ASK_TICKS,
    BEHIND_NS,
    BID_TICKS,
    BROKEN,
    CLOSED_UNTIL_NS,
    CREDIT,
    EPOCH,
    EVENT_NS,
    FILLED_NS,
    FIRM_KILL,
    GROSS_E8,
    HALT,
    LONG_E8,
    MISSING,
    PRICE_TICKS,
    QTY_LOTS,
    RECEIVED_NS,
    RECENT_PROBES,
    SESSION_PNL_E8,
    SHORT_E8,
    TOTAL_GROSS_E8,
    TOTAL_LONG_E8,
    TOTAL_MISSING,
    TOTAL_PNL_E8,
    TOTAL_SHORT_E8,
    UNTIL_NS,
    UTC_NS,
    VALID,
    VENUE_KILL,
    WHO,
    RiskState,
    apply_report,
    exposure_e8,
    new_state,
    note_age,
    observe_reduce,
    on_top,
    refresh,
    signed_e8,
    start_session,
    worst_lots,
)
from hft.stops import closes_only, refusal
from hft.units import WIDE, as_int, mul_div_half_even, mul_saturated
from shm.jit import njit

__all__ = ["RiskState", "apply_report", "approve", "arm", "check", "new_state", "note_age", "observe_reduce", "on_top", "start_session"]

_SECOND_NS = 1_000_000_000
_KNOWN_FLAGS = int(OrderFlag.POST_ONLY | OrderFlag.REDUCE_ONLY | OrderFlag.FROM_MARKET)
_LOW_31 = (1 << 31) - 1


@njit
def check(state: RiskState, intents: NDArray[Any], i: int, now_ns: int) -> RiskCode:
    """Return RiskCode.OK or the first control that refuses INTENT record `i`; changes nothing.

    `now_ns` must be a time at or after the intent was decided, on the same clock.
    """
    row, strategy, kind = as_int(intents[i]["instrument"]), as_int(intents[i]["strategy"]), as_int(intents[i]["kind"])
    if row < 0 or row >= len(state.instruments):
        return RiskCode.INSTRUMENT_NOT_ALLOWED
    if strategy < 0 or strategy >= len(state.approved):
        return RiskCode.STRATEGY_NOT_APPROVED
    if kind == IntentKind.CANCEL_ALL:
        return RiskCode.OK
    if kind == IntentKind.CANCEL:
        return _check_cancel(state, intents, i, now_ns)
    code = _check_standing(state, intents, i, now_ns)
    if code == RiskCode.OK:
        code = _check_size(state, intents, i)
    if code == RiskCode.OK:
        code = _check_market(state, intents, i, now_ns)
    if code == RiskCode.OK:
        code = _check_flow(state, intents, i, now_ns)
    if code == RiskCode.OK:
        code = _check_exposure(state, intents, i)
    if code == RiskCode.OK and not covers(state.funds, state.instruments, state.orders, intents, i):
        return RiskCode.BALANCE
    return code


@njit
def _own_working_order(state: RiskState, intents: NDArray[Any], i: int) -> int:
    """Return the slot of the working order that CANCEL or REPLACE means, -1 unless it is this strategy's in this instrument."""
    slot = find(state.orders, intents[i]["ref_order_id"])
    if slot < 0:
        return -1
    order = state.orders.rows
    own = order[slot]["strategy"] == intents[i]["strategy"] and order[slot]["instrument"] == intents[i]["instrument"]
    return slot if own and is_working(as_int(order[slot]["state"])) else -1


@njit
def _check_cancel(state: RiskState, intents: NDArray[Any], i: int, now_ns: int) -> RiskCode:
    slot = _own_working_order(state, intents, i)
    if slot < 0:
        return RiskCode.UNKNOWN_ORDER
    age_ns = now_ns - state.cancels[slot, 1]
    repeated = state.cancels[slot, 0] == intents[i]["ref_order_id"]
    if repeated and age_ns < state.limits[as_int(intents[i]["instrument"])]["duplicate_window_ns"]:
        return RiskCode.DUPLICATE_ORDER
    return RiskCode.OK


@njit
def _check_standing(state: RiskState, intents: NDArray[Any], i: int, now_ns: int) -> RiskCode:
    """Who asks, whether anyone may, when it was decided, and whether the ids are right."""
    row, strategy = as_int(intents[i]["instrument"]), as_int(intents[i]["strategy"])
    if state.approved[strategy] != 1:
        return RiskCode.STRATEGY_NOT_APPROVED
    if state.allowed[strategy, row] != 1 or state.instruments[row]["trading"] != 1:
        return RiskCode.INSTRUMENT_NOT_ALLOWED
    tripped = standing(state.breakers, state.firm, strategy)
    if tripped != RiskCode.OK:
        return tripped
    if is_late(state.breakers, state.firm, strategy, now_ns):
        return RiskCode.LATENCY_BUDGET
    halts, venue = state.halts, as_int(state.instruments[row]["venue"])
    if venue < 0 or venue >= state.counts[0] or halts[HALT] | halts[FIRM_KILL] | state.totals[BROKEN] != 0:
        return RiskCode.SYSTEM_HALTED
    if halts[VENUE_KILL + venue] | halts[VENUE_KILL + state.counts[0] + strategy] != 0:
        return RiskCode.SYSTEM_HALTED
    # Another core may stamp an intent after `now_ns` was read, but never by more than a usable age.
    age_ns, age_max_ns = now_ns - intents[i]["decided_ns"], state.firm[0]["intent_age_max_ns"]
    if age_ns > age_max_ns or age_ns < -age_max_ns or age_max_ns <= 0:
        return RiskCode.INTENT_STALE
    identity = intents[i]["order_id"]
    if identity <= 0 or id_epoch(identity) != state.totals[EPOCH] or id_strategy(identity) != strategy:
        return RiskCode.CLIENT_ID_REUSE
    if id_counter(identity) <= state.last_counters[strategy]:
        return RiskCode.CLIENT_ID_REUSE
    if intents[i]["kind"] == IntentKind.REPLACE:
        # An amendment names no side: the venue would keep the old order's.
        slot = _own_working_order(state, intents, i)
        if slot < 0 or state.orders.rows[slot]["side"] != intents[i]["side"]:
            return RiskCode.UNKNOWN_ORDER
    return RiskCode.OK


@njit
def _check_size(state: RiskState, intents: NDArray[Any], i: int) -> RiskCode:
    """The order by itself: its form, the venue's filters, the size limits."""
    row, kind, side = as_int(intents[i]["instrument"]), as_int(intents[i]["kind"]), as_int(intents[i]["side"])
    price_ticks, qty_lots = intents[i]["price_ticks"], intents[i]["qty_lots"]
    tif, flags = as_int(intents[i]["tif"]), as_int(intents[i]["flags"])
    if (kind != IntentKind.NEW and kind != IntentKind.REPLACE) or (side != Side.BUY and side != Side.SELL):
        return RiskCode.NON_FINITE_OR_SIGN
    if price_ticks <= 0 or qty_lots <= 0 or tif < TimeInForce.GTC or tif > TimeInForce.FOK or flags & ~_KNOWN_FLAGS != 0:
        return RiskCode.NON_FINITE_OR_SIGN
    ticklots = mul_saturated(price_ticks, qty_lots)
    if ticklots >= WIDE:
        return RiskCode.NON_FINITE_OR_SIGN
    instrument, limits = state.instruments, state.limits
    if price_ticks < instrument[row]["price_ticks_min"] or price_ticks > instrument[row]["price_ticks_max"]:
        return RiskCode.TICK_LOT
    if qty_lots > instrument[row]["qty_lots_max"]:
        return RiskCode.TICK_LOT
    if qty_lots < instrument[row]["qty_lots_min"]:
        return RiskCode.MIN_QTY_NOTIONAL
    if qty_lots > limits[row]["order_qty_max_lots"]:
        return RiskCode.MAX_ORDER_QTY
    # The remainder says on which side of a whole 1e-8 the notional lies, so that both comparisons are exact.
    notional_e8, rest = mul_div_half_even(ticklots, instrument[row]["ticklot_num"], instrument[row]["ticklot_den"])
    bound_e8 = instrument[row]["notional_min_e8"]
    if notional_e8 < bound_e8 or (notional_e8 == bound_e8 and rest < 0):
        return RiskCode.MIN_QTY_NOTIONAL
    bound_e8 = limits[row]["order_notional_max_e8"]
    if notional_e8 > bound_e8 or (notional_e8 == bound_e8 and rest > 0):
        return RiskCode.MAX_ORDER_NOTIONAL
    return RiskCode.OK


@njit
def _check_market(state: RiskState, intents: NDArray[Any], i: int, now_ns: int) -> RiskCode:
    """The order against the book, that there is one, and its age; and the price collars at its touch and at what vouches for it."""
    row = as_int(intents[i]["instrument"])
    if now_ns < state.tops[row, CLOSED_UNTIL_NS] or state.limits[row]["closed_pause_ns"] <= 0:
        return RiskCode.CANCEL_ONLY_MODE
    bid_ticks, ask_ticks = state.tops[row, BID_TICKS], state.tops[row, ASK_TICKS]
    if state.tops[row, VALID] != 1 or bid_ticks <= 0 or ask_ticks <= bid_ticks:
        return RiskCode.BOOK_INVALID
    if is_wild(state.breakers, state.limits, row):
        return RiskCode.VOLATILITY
    clock, offset_max_ns = state.clocks[as_int(state.instruments[row]["venue"])], state.firm[0]["clock_offset_max_ns"]
    if clock[UTC_NS] == 0 or abs(clock[BEHIND_NS]) > offset_max_ns or offset_max_ns <= 0:
        return RiskCode.CLOCK_UNSAFE
    # Another core may stamp an event after `now_ns` was read, but never by more than a usable age.
    age_ns, age_max_ns = now_ns - state.tops[row, RECEIVED_NS], state.limits[row]["book_age_max_ns"]
    if age_ns > age_max_ns or age_ns < -age_max_ns or age_max_ns <= 0:
        return RiskCode.STALE_BOOK
    # What only now arrives may have happened long ago.
    event_ns = state.tops[row, EVENT_NS]
    if event_ns > 0 and now_ns + clock[UTC_NS] - event_ns - offset_max_ns > age_max_ns:
        return RiskCode.STALE_BOOK
    if state.limits[row]["divergence_max_bp"] <= 0 or not has_agreeing_peer(state, row, now_ns):
        return RiskCode.CROSS_VENUE_DIVERGENCE
    passive_bp, through_bp = state.limits[row]["collar_passive_bp"], state.limits[row]["collar_through_bp"]
    if passive_bp <= 0 or passive_bp > BASIS_POINTS or through_bp <= 0 or through_bp > BASIS_POINTS:
        return RiskCode.PRICE_COLLAR_TOUCH
    price = mul_saturated(intents[i]["price_ticks"], BASIS_POINTS)
    if intents[i]["side"] == Side.BUY:
        low, high = bid_ticks * (BASIS_POINTS - passive_bp), ask_ticks * (BASIS_POINTS + through_bp)
    else:
        low, high = bid_ticks * (BASIS_POINTS - through_bp), ask_ticks * (BASIS_POINTS + passive_bp)
    if price < low or price > high:
        return RiskCode.PRICE_COLLAR_TOUCH
    if not closes_only(state.stops, row) and is_beyond_reference(state, intents, i, now_ns):
        return RiskCode.PRICE_COLLAR_REF
    return RiskCode.OK


@njit
def _credit(state: RiskState, bucket: int, rate_per_s: int, now_ns: int) -> int:
    """Return the bucket's credit now, in 1e-9 orders; a second's worth at most, and time never runs backwards."""
    elapsed_ns = min(max(now_ns - state.buckets[bucket, FILLED_NS], 0), _SECOND_NS)
    return min(state.buckets[bucket, CREDIT] + elapsed_ns * rate_per_s, rate_per_s * _SECOND_NS)


@njit
def _who(intents: NDArray[Any], i: int) -> int:
    """Return instrument, strategy and side as one nonzero word."""
    buys = 1 if intents[i]["side"] == Side.BUY else 0
    return (as_int(intents[i]["instrument"]) << 32) | (as_int(intents[i]["strategy"]) << 2) | (buys << 1) | 1


@njit
def _find_recent(state: RiskState, intents: NDArray[Any], i: int, now_ns: int) -> int:
    """Return where the order may be remembered, or -1 when an identical live one is, or no slot is free."""
    price_ticks, qty_lots, who = intents[i]["price_ticks"], intents[i]["qty_lots"], _who(intents, i)
    mixed = (price_ticks & _LOW_31) * 2654435 + (qty_lots & _LOW_31) * 40503 + (who >> 32) * 7919 + (who & _LOW_31) * 104729
    mask = len(state.recent) - 1
    cell, free = (mixed ^ (mixed >> 17)) & mask, as_int(-1)
    for _ in range(RECENT_PROBES):
        recent = state.recent[cell]
        if recent[WHO] == 0:
            return cell if free < 0 else free
        if recent[UNTIL_NS] > now_ns:
            if recent[WHO] == who and recent[PRICE_TICKS] == price_ticks and recent[QTY_LOTS] == qty_lots:
                return as_int(-1)
        elif free < 0:
            free = cell
        cell = (cell + 1) & mask
    return free


@njit
def _check_flow(state: RiskState, intents: NDArray[Any], i: int, now_ns: int) -> RiskCode:
    """The order among those before it: rates, repeats, how many are open, and whether it would meet one of ours."""
    row, strategy = as_int(intents[i]["instrument"]), as_int(intents[i]["strategy"])
    firm, orders = state.firm, state.orders
    if _credit(state, strategy, firm[0]["strategy_rate_per_s"], now_ns) < _SECOND_NS:
        return RiskCode.ORDER_RATE
    if _credit(state, len(state.approved), firm[0]["firm_rate_per_s"], now_ns) < _SECOND_NS:
        return RiskCode.ORDER_RATE
    if is_over(state.messages, firm, strategy, now_ns):
        return RiskCode.ORDER_TO_TRADE
    if state.limits[row]["duplicate_window_ns"] <= 0 or _find_recent(state, intents, i, now_ns) < 0:
        return RiskCode.DUPLICATE_ORDER
    working = orders.counts[row]
    if working >= state.limits[row]["open_orders_max"] or (orders.words[USED] >= len(orders.rows) and orders.words[DONE_COUNT] == 0):
        return RiskCode.OPEN_ORDERS
    unknown_max = firm[0]["unknown_orders_max"]
    if unknown_max <= 0 or state.unknown[as_int(state.instruments[row]["venue"])] >= unknown_max:
        return RiskCode.UNKNOWN_ORDERS
    price_ticks, prices = intents[i]["price_ticks"], orders.prices[row]
    # Working sells are held as negative prices: an order crosses when it reaches the best of the other side.
    if intents[i]["side"] == Side.BUY:
        for k in range(working):
            if -price_ticks <= prices[k] < 0:
                return RiskCode.SELF_TRADE
    else:
        for k in range(working):
            if prices[k] >= price_ticks:
                return RiskCode.SELF_TRADE
    return RiskCode.OK


@njit
def _check_exposure(state: RiskState, intents: NDArray[Any], i: int) -> RiskCode:
    """What the firm could come to hold, and what it has lost."""
    row, qty_lots = as_int(intents[i]["instrument"]), intents[i]["qty_lots"]
    position_lots = state.positions[row]["position_lots"]
    buy_lots, sell_lots = state.orders.lots[row, 0], state.orders.lots[row, 1]
    before_lots = worst_lots(position_lots, buy_lots, sell_lots)
    if intents[i]["side"] == Side.BUY:
        buy_lots += qty_lots
        reached_lots = position_lots + buy_lots
    else:
        sell_lots += qty_lots
        reached_lots = sell_lots - position_lots
    # Only the side that the order adds to: what reduces a position beyond its limit stays possible.
    position_max_lots = state.limits[row]["position_max_lots"]
    if position_max_lots <= 0 or reached_lots > position_max_lots:
        return RiskCode.MAX_POSITION
    if as_int(intents[i]["flags"]) & OrderFlag.REDUCE_ONLY.value != 0 and reached_lots > 0:
        return RiskCode.MAX_POSITION
    reducing = refusal(state.stops, state.orders, state.limits, intents, i)
    if reducing != RiskCode.OK:
        return reducing
    totals, after_lots = state.totals, worst_lots(position_lots, buy_lots, sell_lots)
    gross_max_e8, gross_e8 = state.firm[0]["gross_max_e8"], exposure_e8(state, row, after_lots)
    missing_elsewhere = totals[TOTAL_MISSING] - state.tops[row, MISSING]
    if gross_max_e8 <= 0 or gross_e8 < 0 or missing_elsewhere != 0 or state.instruments[row]["base_rate_e8"] <= 0:
        return RiskCode.MAX_GROSS
    added_e8 = gross_e8 - state.tops[row, GROSS_E8]
    if after_lots > before_lots and totals[TOTAL_GROSS_E8] + added_e8 > gross_max_e8:
        return RiskCode.MAX_GROSS
    net_max_e8, net_e8 = state.firm[0]["net_max_e8"], gross_e8 if reached_lots == after_lots else signed_e8(state, row, reached_lots)
    if intents[i]["side"] == Side.BUY:
        net_e8 += totals[TOTAL_LONG_E8] - state.tops[row, LONG_E8]
    else:
        net_e8 += totals[TOTAL_SHORT_E8] - state.tops[row, SHORT_E8]
    if net_max_e8 <= 0 or net_e8 > net_max_e8:
        return RiskCode.MAX_NET
    percent, asset_e8 = state.firm[0]["concentration_max_percent"], state.assets[as_int(state.instruments[row]["base_asset"])]
    if percent <= 0 or (after_lots > before_lots and asset_e8 + added_e8 > gross_max_e8 // 100 * percent):
        return RiskCode.CONCENTRATION
    loss_max_e8 = state.firm[0]["daily_loss_max_e8"]
    if loss_max_e8 <= 0 or totals[TOTAL_MISSING] != 0 or totals[SESSION_PNL_E8] - totals[TOTAL_PNL_E8] > loss_max_e8:
        return RiskCode.DAILY_LOSS
    return RiskCode.OK


@njit
def approve(state: RiskState, intents: NDArray[Any], i: int, now_ns: int) -> int:
    """Commit INTENT record `i`, which `check` just found OK at the same `now_ns`; return its order's slot.

    NEW and REPLACE: the order counts against every limit from here, sent or not. CANCEL: the slot of the order meant.
    CANCEL_ALL: -1, nothing to commit.
    """
    row, strategy, kind = as_int(intents[i]["instrument"]), as_int(intents[i]["strategy"]), as_int(intents[i]["kind"])
    note_message(state.messages, state.firm, strategy, now_ns)
    if kind == IntentKind.CANCEL_ALL:
        return as_int(-1)
    if kind == IntentKind.CANCEL:
        slot = find(state.orders, intents[i]["ref_order_id"])
        state.cancels[slot, 0] = intents[i]["ref_order_id"]
        state.cancels[slot, 1] = now_ns
        return as_int(slot)
    slot = insert_order(state.orders, intents, i, now_ns)
    state.last_counters[strategy] = id_counter(intents[i]["order_id"])
    for bucket, rate_per_s in ((strategy, state.firm[0]["strategy_rate_per_s"]), (len(state.approved), state.firm[0]["firm_rate_per_s"])):
        state.buckets[bucket, CREDIT] = _credit(state, bucket, rate_per_s, now_ns) - _SECOND_NS
        state.buckets[bucket, FILLED_NS] = max(state.buckets[bucket, FILLED_NS], now_ns)
    recent = state.recent[_find_recent(state, intents, i, now_ns)]
    recent[UNTIL_NS] = now_ns + state.limits[row]["duplicate_window_ns"]
    recent[PRICE_TICKS] = intents[i]["price_ticks"]
    recent[QTY_LOTS] = intents[i]["qty_lots"]
    recent[WHO] = _who(intents, i)
    refresh(state, row)
    settle(state.funds, state.instruments, state.positions, state.orders, row)
    return as_int(slot)


@njit
def arm(state: RiskState, scope: int) -> None:
    """Somebody has armed what a breaker stopped: a strategy, or the firm after them."""
    rearm(state.breakers, scope)
    if scope < len(state.approved):
        forget(state.filled, scope)
