"""Risk state holds what the checks read: limits, halts, orders, positions, marks and budgets, and keeps them current.

`on_top` and `apply_report` are the only ways in from outside, `hft.risk.approve` the one from inside. Exposure and P&L of
each instrument in the base currency are kept up to date here, so that a check reads sums instead of walking instruments.
The breakers are told of marks, P&L, fills and rejects, the stop-losses of marks and fills.

Whatever cannot be valued (no mark, no rate, out of range) is counted as missing, and while anything is missing the sums
refuse.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft import ledger, orders, stops
from hft.bounds import prove_bounds, recent_slots
from hft.breakers import (
    ANY_PULL,
    ANY_TRIP,
    PULL,
    WILD,
    Breakers,
    new_breakers,
    note_late,
    note_mid,
    note_pnl,
)
from hft.counting import Counted, count_report, to_base_e8
from hft.fill_rate import FillRate, new_fill_rate
from hft.funds import Funds, new_funds, settle
from hft.messages import Messages, new_messages
from hft.orders import Orders, new_orders
from hft.peers import Peers, new_peers
from hft.records import POSITION, MarketKind, OrderFlag, OrderState, ReportKind, VenueReason
from hft.stops import Stops, new_stops
from hft.traded import begin_at_mid, new_traded, note_trade
from hft.units import WIDE, as_int
from shm.jit import njit

# Columns of RiskState.tops.
BID_TICKS, ASK_TICKS, RECEIVED_NS, VALID, GROSS_E8, PNL_E8, MISSING, LONG_E8, SHORT_E8, CLOSED_UNTIL_NS, EVENT_NS = range(11)
TOP_COLUMNS = 11

# Columns of RiskState.clocks: how far a venue's clock is behind ours and the way from there; CLOCK_REALTIME - CLOCK_MONOTONIC, 0 if the
# venue's feed has told nothing yet.
BEHIND_NS, UTC_NS = range(2)

# Cells of RiskState.totals. LONG, SHORT: what fills of all working buys, or sells, lead to. BROKEN: a report contradicted the ledger,
# so that the position is not known.
TOTAL_GROSS_E8, TOTAL_PNL_E8, TOTAL_MISSING, SESSION_PNL_E8, EPOCH, BROKEN, TERM_MAX_E8, TOTAL_LONG_E8, TOTAL_SHORT_E8 = range(9)
TOTALS = 9

# Columns of RiskState.buckets.
CREDIT, FILLED_NS = range(2)

# Columns of RiskState.recent.
UNTIL_NS, PRICE_TICKS, QTY_LOTS, WHO = range(4)

#: Most probes of RiskState.recent; when all hold live orders the next is refused as a duplicate, since it may be one.
RECENT_PROBES = 8

#: Prices at or above this are no prices: with any collar the comparison stays below 2^62.
TOP_TICKS_MAX = 1 << 47

# Cells of RiskState.halts before those of venues and strategies.
HALT, FIRM_KILL, VENUE_KILL = range(3)


class RiskState(NamedTuple):
    """Everything a check reads. Make one with `new_state`; arrays may be replaced by views of shared segments."""

    instruments: NDArray[Any]  # INSTRUMENT
    limits: NDArray[Any]  # LIMITS, one row an instrument
    firm: NDArray[Any]  # FIRM_LIMITS, one row
    approved: NDArray[Any]  # strategy -> 1 if it may trade
    allowed: NDArray[Any]  # (strategy, instrument) -> 1 if it may trade it
    halts: NDArray[Any]  # halt, firm, each venue, each strategy: nonzero halts; the stage copies the kill words in
    orders: Orders  # every order of the firm
    positions: NDArray[Any]  # POSITION of the firm, one row an instrument
    tops: NDArray[Any]  # (instrument, column)
    totals: NDArray[Any]  # sums over instruments, session start, epoch
    assets: NDArray[Any]  # asset -> gross exposure of the instruments that trade it, in 1e-8 base currency
    buckets: NDArray[Any]  # (strategy, column), the firm last; credit in 1e-9 orders
    last_counters: NDArray[Any]  # strategy -> counter of its newest approved order id, -1 before the first
    cancels: NDArray[Any]  # order slot -> (order id, when its newest CANCEL was approved)
    recent: NDArray[Any]  # approved orders by content, open addressing
    counts: NDArray[Any]  # venues, strategies
    clocks: NDArray[Any]  # (venue, column)
    unknown: NDArray[Any]  # venue -> orders of which it is not known what became of them
    breakers: Breakers
    messages: Messages
    filled: FillRate
    stops: Stops
    peers: Peers
    funds: Funds
    traded: NDArray[Any]  # (instrument, column) of `hft.traded`


def new_state(
    instruments: NDArray[Any], limits: NDArray[Any], firm: NDArray[Any], *, venues: int, strategies: int, epoch: int, slots: int = 1024
) -> RiskState:
    """Return the state of an empty account; nothing is approved, allowed or valid yet.

    Set `approved` and `allowed`, book what the journals say, then `start_session`. Raises ConfigBoundsError.
    """
    prove_bounds(instruments, limits, firm)
    rows = len(instruments)
    positions = np.zeros(rows, POSITION)
    positions["instrument"] = np.arange(rows)
    positions["strategy"] = -1
    totals = np.zeros(TOTALS, np.int64)
    totals[EPOCH] = epoch
    totals[TERM_MAX_E8] = WIDE // (rows + 1)
    buckets = np.zeros((strategies + 1, 2), np.int64)
    buckets[:, FILLED_NS] = -1_000_000_000
    return RiskState(
        instruments=instruments,
        limits=limits,
        firm=firm,
        approved=np.zeros(strategies, np.int64),
        allowed=np.zeros((strategies, rows), np.int64),
        halts=np.zeros(VENUE_KILL + venues + strategies, np.int64),
        orders=new_orders(slots, rows),
        positions=positions,
        tops=np.zeros((rows, TOP_COLUMNS), np.int64),
        totals=totals,
        assets=np.zeros(int(instruments["base_asset"].max()) + 1, np.int64),
        buckets=buckets,
        last_counters=np.full(strategies, -1, np.int64),
        cancels=np.zeros((slots, 2), np.int64),
        recent=np.zeros((recent_slots(limits, firm), 4), np.int64),
        counts=np.array([venues, strategies], np.int64),
        clocks=np.zeros((venues, 2), np.int64),
        unknown=np.zeros(venues, np.int64),
        breakers=new_breakers(rows, strategies, firm),
        messages=new_messages(strategies),
        filled=new_fill_rate(strategies),
        stops=new_stops(rows, strategies),
        peers=new_peers(instruments),
        funds=new_funds(instruments, venues),
        traded=new_traded(rows),
    )


@njit
def worst_lots(position_lots: int, buy_lots: int, sell_lots: int) -> int:
    """Return the largest |position| that fills of any of the working orders can lead to."""
    return max(abs(position_lots + buy_lots), abs(position_lots - sell_lots))


@njit
def exposure_e8(state: RiskState, row: int, lots: int) -> int:
    """Return `lots` of instrument `row` at its mark in 1e-8 base currency; -1 when it cannot be valued."""
    if lots == 0:
        return as_int(0)
    mark_ticks_x2, rate_e8 = state.positions[row]["mark_ticks_x2"], state.instruments[row]["base_rate_e8"]
    if mark_ticks_x2 <= 0 or rate_e8 <= 0:
        return as_int(-1)
    value_e8 = to_base_e8(ledger.value_at_e8(lots, mark_ticks_x2, state.instruments, row), rate_e8)
    return value_e8 if 0 <= value_e8 < state.totals[TERM_MAX_E8] else as_int(-1)


@njit
def signed_e8(state: RiskState, row: int, lots: int) -> int:
    """Return signed `lots` of instrument `row` at its mark in 1e-8 base currency; 0 when it cannot be valued."""
    value_e8 = max(exposure_e8(state, row, abs(lots)), as_int(0))
    return value_e8 if lots > 0 else -value_e8


@njit
def refresh(state: RiskState, row: int) -> None:
    """Bring instrument `row`'s exposure and P&L, and the sums over instruments, up to its orders, position and mark."""
    position, tops, totals = state.positions, state.tops, state.totals
    buy_lots, sell_lots = state.orders.lots[row, 0], state.orders.lots[row, 1]
    position[row]["working_buy_lots"] = buy_lots
    position[row]["working_sell_lots"] = sell_lots
    missing = as_int(0)
    long_lots, short_lots = position[row]["position_lots"] + buy_lots, sell_lots - position[row]["position_lots"]
    long_e8, short_e8 = exposure_e8(state, row, abs(long_lots)), exposure_e8(state, row, abs(short_lots))
    if long_e8 < 0 or short_e8 < 0:
        long_e8, short_e8, missing = as_int(0), as_int(0), as_int(1)
    gross_e8 = max(long_e8, short_e8)
    long_e8 = long_e8 if long_lots > 0 else -long_e8
    short_e8 = short_e8 if short_lots > 0 else -short_e8
    pnl_e8 = position[row]["realised_e8"] + position[row]["unrealised_e8"] - position[row]["fees_quote_e8"]
    rate_e8 = state.instruments[row]["base_rate_e8"]
    if pnl_e8 != 0:
        pnl_e8 = to_base_e8(pnl_e8, rate_e8)
        if rate_e8 <= 0 or abs(pnl_e8) >= totals[TERM_MAX_E8]:
            pnl_e8, missing = as_int(0), as_int(1)
    if position[row]["position_lots"] != 0 and position[row]["mark_ticks_x2"] <= 0:
        missing = as_int(1)
    totals[TOTAL_LONG_E8] += long_e8 - tops[row, LONG_E8]
    totals[TOTAL_SHORT_E8] += short_e8 - tops[row, SHORT_E8]
    tops[row, LONG_E8] = long_e8
    tops[row, SHORT_E8] = short_e8
    state.assets[as_int(state.instruments[row]["base_asset"])] += gross_e8 - tops[row, GROSS_E8]
    totals[TOTAL_GROSS_E8] += gross_e8 - tops[row, GROSS_E8]
    totals[TOTAL_PNL_E8] += pnl_e8 - tops[row, PNL_E8]
    totals[TOTAL_MISSING] += missing - tops[row, MISSING]
    tops[row, GROSS_E8] = gross_e8
    tops[row, PNL_E8] = pnl_e8
    tops[row, MISSING] = missing


@njit
def on_top(state: RiskState, market: NDArray[Any], i: int) -> None:
    """Take MARKET record `i`: the touch, its age and the book's validity, trades, the venue's clock. LEVEL changes nothing.

    The mark moves only with a valid two-sided book; an invalid one keeps the last mark for P&L and gross exposure.
    """
    row, kind = as_int(market[i]["instrument"]), as_int(market[i]["kind"])
    if row < 0 or row >= len(state.tops):
        return
    tops = state.tops
    if kind == MarketKind.TOP or kind == MarketKind.QUOTE:
        bid_ticks, ask_ticks = market[i]["price_ticks"], market[i]["ask_ticks"]
        if bid_ticks >= TOP_TICKS_MAX or ask_ticks >= TOP_TICKS_MAX:
            bid_ticks, ask_ticks = as_int(0), as_int(0)
        tops[row, BID_TICKS] = bid_ticks
        tops[row, ASK_TICKS] = ask_ticks
        tops[row, RECEIVED_NS] = max(tops[row, RECEIVED_NS], market[i]["received_ns"])
        if market[i]["exchange_ns"] > 0:
            tops[row, EVENT_NS] = market[i]["exchange_ns"]
        if tops[row, VALID] == 1:
            _move_mark(state, row)
    elif kind == MarketKind.TRADE:
        price_ticks, window_ns = market[i]["price_ticks"], state.limits[row]["reference_window_ns"]
        if 0 < price_ticks < TOP_TICKS_MAX:
            note_trade(state.traded, row, price_ticks, market[i]["received_ns"], window_ns)
    elif kind == MarketKind.VALID:
        tops[row, VALID] = 1
        _move_mark(state, row)
    elif kind == MarketKind.INVALID:
        tops[row, VALID] = 0
    elif kind == MarketKind.RESET:
        tops[row, VALID] = 0
        tops[row, BID_TICKS] = 0
        tops[row, ASK_TICKS] = 0
    elif kind == MarketKind.CLOCK:
        venue = as_int(state.instruments[row]["venue"])
        if 0 <= venue < len(state.clocks):
            clock, most_ns = state.clocks[venue], state.firm[0]["clock_offset_max_ns"]
            was_unsafe = clock[UTC_NS] != 0 and abs(clock[BEHIND_NS]) > most_ns
            clock[BEHIND_NS] = market[i]["venue_id"]
            clock[UTC_NS] = market[i]["exchange_ns"] - market[i]["received_ns"]
            if abs(clock[BEHIND_NS]) > most_ns and not was_unsafe:
                # What works there was priced by what comes late, and may not be replaced from here.
                for each in range(len(state.tops)):
                    if as_int(state.instruments[each]["venue"]) == venue:
                        _pull(state, each)


@njit
def _move_mark(state: RiskState, row: int) -> None:
    bid_ticks, ask_ticks, received_ns = state.tops[row, BID_TICKS], state.tops[row, ASK_TICKS], state.tops[row, RECEIVED_NS]
    if 0 < bid_ticks < ask_ticks:
        begin_at_mid(state.traded, row, bid_ticks + ask_ticks)
    if bid_ticks + ask_ticks == state.positions[row]["mark_ticks_x2"] and 0 < bid_ticks < ask_ticks:
        state.positions[row]["mark_received_ns"] = received_ns
        # A mid that stands still ends a wild move too, when that is long enough ago.
        if state.breakers.moves[row, WILD] != 0:
            note_mid(state.breakers, state.limits, row, bid_ticks + ask_ticks, received_ns)
        return
    if ledger.mark(state.positions, row, state.instruments, bid_ticks, ask_ticks, received_ns) == 1:
        refresh(state, row)
        note_mid(state.breakers, state.limits, row, bid_ticks + ask_ticks, received_ns)
        _note_pnl(state, received_ns)
        _note_loss(state, row)


@njit
def apply_report(state: RiskState, reports: NDArray[Any], i: int) -> int:
    """Take REPORT record `i` of a venue: the order's state, and a fill's position, cost and fees; return its `Outcome`.

    A fill that cannot be booked sets BROKEN, and every new order is refused from then on: the position is not known.
    """
    outcome = orders.apply_report(state.orders, reports, i)
    row = as_int(reports[i]["instrument"])
    known = 0 <= row < len(state.positions)
    booked = as_int(1)
    if outcome >= 0 and reports[i]["kind"] == ReportKind.TRADE:
        booked = ledger.apply_fill(state.positions, row, state.instruments, reports, i) if known else as_int(0)
        if booked == 1:
            booked = stops.book(state.stops, state.instruments, reports, i)
    if booked == 0:
        state.totals[BROKEN] = 1
    if outcome >= 0 and (reports[i]["kind"] == ReportKind.UNKNOWN or state.unknown.any()):
        count_unknown(state)
    if outcome >= 0 and known:
        refresh(state, row)
        settle(state.funds, state.instruments, state.positions, state.orders, row)
        at_ns = reports[i]["reported_ns"]
        _note_pnl(state, at_ns)
        counted = Counted(state.breakers, state.messages, state.filled)
        count_report(counted, state.instruments, state.firm, reports, i)
        if reports[i]["kind"] == ReportKind.TRADE:
            _note_loss(state, row)
        elif reports[i]["kind"] == ReportKind.REJECTED and reports[i]["reason"] == VenueReason.MARKET_CLOSED:
            state.tops[row, CLOSED_UNTIL_NS] = max(state.tops[row, CLOSED_UNTIL_NS], at_ns + state.limits[row]["closed_pause_ns"])
    return outcome


@njit
def note_age(state: RiskState, intents: NDArray[Any], i: int, now_ns: int) -> None:
    """Tell the breakers how long INTENT record `i` took from the wire to here; too many late ones have the strategy's quotes pulled."""
    strategy, from_market = as_int(intents[i]["strategy"]), as_int(intents[i]["flags"]) & OrderFlag.FROM_MARKET.value
    if from_market == 0 or strategy < 0 or strategy >= len(state.approved):
        return
    if now_ns - intents[i]["received_ns"] > state.firm[0]["late_after_ns"] and note_late(state.breakers, state.firm, strategy, now_ns):
        for row in range(len(state.tops)):
            if state.allowed[strategy, row] != 0:
                _pull(state, row)


@njit
def count_unknown(state: RiskState) -> None:
    """Count them anew; there are none nearly always."""
    state.unknown[:] = 0
    rows = state.orders.rows
    for slot in range(state.orders.words[orders.USED]):
        if rows[slot]["state"] == OrderState.UNKNOWN:
            venue = as_int(state.instruments[as_int(rows[slot]["instrument"])]["venue"])
            if 0 <= venue < len(state.unknown):
                state.unknown[venue] += 1


@njit
def _note_pnl(state: RiskState, at_ns: int) -> None:
    """Tell the breakers of the P&L; one that is not known is refused by the daily loss."""
    if state.totals[TOTAL_MISSING] == 0:
        note_pnl(state.breakers, state.firm, state.totals[TOTAL_PNL_E8], at_ns)


@njit
def _note_loss(state: RiskState, row: int) -> None:
    """Make an instrument reduce-only once a position in it has lost too much; what works in it is pulled."""
    mark_ticks_x2 = state.positions[row]["mark_ticks_x2"]
    if state.stops.reducing[row] == 0 and stops.has_lost(state.stops, state.instruments, state.limits, row, mark_ticks_x2):
        stops.trip(state.stops, row)
        state.breakers.words[ANY_TRIP] = 1
        _pull(state, row)


@njit
def _pull(state: RiskState, row: int) -> None:
    state.breakers.moves[row, PULL] = state.breakers.words[ANY_PULL] = 1


@njit
def observe_reduce(state: RiskState, row: int, word: int) -> None:
    """Take over an instrument's reduce word: not 0, its orders may only reduce from here; 0, somebody has armed it."""
    if stops.observe_reduce(state.stops, state.instruments, row, word, state.positions[row]["mark_ticks_x2"]):
        _pull(state, row)


@njit
def start_session(state: RiskState) -> None:
    """Measure the daily loss from the P&L of this moment on."""
    for row in range(len(state.positions)):
        refresh(state, row)
        settle(state.funds, state.instruments, state.positions, state.orders, row)
    state.totals[SESSION_PNL_E8] = state.totals[TOTAL_PNL_E8]
