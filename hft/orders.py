"""Orders keeps every order's life cycle in one bounded table, the same in strategy, risk, execution and portfolio.

`TRANSITION` says which report moves an order from which state to which; everything else refuses. The rules behind it:

- Cumulative size never regresses; a fill is taken once, by trade id and by cumulative size.
- UNKNOWN and PENDING_CANCEL are exposure in full, and take fills.
- Only a report that is evidence ends an order; a report that arrives late never reopens or regresses one.
- A fill after the end is still a fill: it is taken, and flagged LATE_FILL.

A slot holds an order until the table needs the slot: ended orders stay findable, oldest evicted first, so that late and
repeated fills are told apart. All lookups are O(1), all loops bounded, and equal histories give equal tables.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import WORKING, OrderState, ReportKind, Side
from hft.units import as_int
from shm.copying import expect_write
from shm.jit import njit

_ROW_BYTES, _WORD_BYTES = WORKING.itemsize, 8

#: Newest trade ids remembered for each order; older repeats are caught by cumulative size.
TRADE_IDS = 8

EPOCH_MAX = (1 << 23) - 1
STRATEGY_MAX = (1 << 8) - 1
COUNTER_MAX = (1 << 32) - 1

# Cells of Orders.words, and what they count.
USED, DONE_HEAD, DONE_COUNT, LATE_FILLS, FILL_GAPS, OVERFILLS, ORPHAN_FILLS, REFUSED_REPORTS = range(8)
WORDS = 8


class Outcome(IntEnum):
    """What `apply_report` did. Zero and above: it was taken, and a TRADE must be booked once. Below: nothing changed."""

    APPLIED = 0
    LATE_FILL = 1  #: a fill after the order had ended
    FILL_GAP = 2  #: the cumulative size says that a fill was missed
    OVERFILL = 3  #: more was filled than ordered
    ORPHAN_FILL = 4  #: a fill of an order that is not in the table; unexplained exposure is exposure
    STALE = -1  #: the order had ended, or was already past this
    DUPLICATE_FILL = -2  #: this trade id was taken before
    REGRESSED = -3  #: the cumulative size is not above what was taken
    BAD_FILL = -4  #: size not positive, or cumulative size that contradicts it
    BAD_TRANSITION = -5  #: this kind of report cannot follow that state
    UNKNOWN_ORDER = -6  #: not in the table


def _transitions() -> NDArray[np.int8]:
    """Build the table: state after each kind of report, -1 where it cannot follow."""
    state, kind = OrderState, ReportKind
    table = np.full((len(OrderState), max(ReportKind) + 1), -1, np.int8)
    for at in (state.PENDING_NEW, state.NEW, state.PARTIALLY_FILLED, state.PENDING_CANCEL, state.UNKNOWN):
        table[at, kind.ACK] = at
        table[at, kind.TRADE] = state.PARTIALLY_FILLED
        table[at, kind.CANCELED] = state.CANCELED
        table[at, kind.EXPIRED] = state.EXPIRED
        table[at, kind.CANCEL_REJECTED] = at
        table[at, kind.UNKNOWN] = state.UNKNOWN
        table[at, kind.PENDING_CANCEL] = state.PENDING_CANCEL
    table[state.PENDING_NEW, kind.ACK] = state.NEW
    table[state.UNKNOWN, kind.ACK] = state.NEW  # PARTIALLY_FILLED when something was filled.
    table[state.PENDING_CANCEL, kind.TRADE] = state.PENDING_CANCEL
    table[state.UNKNOWN, kind.PENDING_CANCEL] = state.UNKNOWN
    table[state.PENDING_NEW, kind.REFUSED] = state.REJECTED
    for at in (state.PENDING_NEW, state.PENDING_CANCEL, state.UNKNOWN):
        table[at, kind.REJECTED] = state.REJECTED
        table[at, kind.NOT_SENT] = state.REJECTED
    for at in (state.FILLED, state.CANCELED, state.EXPIRED, state.REJECTED):
        table[at, : kind.BUSTED] = at
        table[at, 0] = -1
    return table


#: TRANSITION[state, kind] -> state after the report, or -1. A fill that leaves nothing makes any of them FILLED, and a
#: rejected cancel returns to the state before it.
TRANSITION = _transitions()


class Orders(NamedTuple):
    """The order table: WORKING rows and what finds them. Make one with `new_orders`."""

    rows: NDArray[Any]  # WORKING; slot -> order, ended ones included
    cells: NDArray[Any]  # order id -> slot + 1, open addressing; 0 is empty
    members: NDArray[Any]  # (instrument, k) -> slot of its k-th working order
    prices: NDArray[Any]  # (instrument, k) -> side x price of the same order: one short scan finds a crossing
    counts: NDArray[Any]  # instrument -> working orders
    lots: NDArray[Any]  # (instrument, 0 buy | 1 sell) -> leaves of its working orders
    buy_ticklots: NDArray[Any]  # instrument -> price x leaves of its working buys
    place: NDArray[Any]  # slot -> its k in members
    resume: NDArray[Any]  # slot -> the state that a rejected cancel returns to
    trades: NDArray[Any]  # slot -> (fills, newest trade ids)
    done: NDArray[Any]  # ring of ended orders' slots, oldest first
    words: NDArray[Any]  # USED, DONE_HEAD, DONE_COUNT, then counters


def new_orders(slots: int, instruments: int) -> Orders:
    """Return an empty table for `slots` orders, working and recently ended, over `instruments` rows."""
    if slots < 1 or instruments < 1:
        raise ValueError(f"slots and instruments must be positive, were {slots} and {instruments}")
    index_slots = 1 << (4 * slots - 1).bit_length()

    def words(*shape: int) -> NDArray[np.int64]:
        return np.zeros(shape, np.int64)

    return Orders(
        rows=np.zeros(slots, WORKING),
        cells=words(index_slots),
        members=words(instruments, slots),
        prices=words(instruments, slots),
        counts=words(instruments),
        lots=words(instruments, 2),
        buy_ticklots=words(instruments),
        place=words(slots),
        resume=words(slots),
        trades=words(slots, 1 + TRADE_IDS),
        done=words(slots),
        words=words(WORDS),
    )


@njit
def order_id(epoch: int, strategy: int, counter: int) -> int:
    """Return epoch | strategy | counter as one positive id, or -1 when one of them has run out."""
    if epoch < 1 or epoch > EPOCH_MAX or strategy < 0 or strategy > STRATEGY_MAX or counter < 0 or counter > COUNTER_MAX:
        return -1
    return (as_int(epoch) << 40) | (as_int(strategy) << 32) | as_int(counter)


@njit
def id_epoch(identity: int) -> int:
    """Return the epoch of an order id."""
    return as_int(identity) >> 40


@njit
def id_strategy(identity: int) -> int:
    """Return the strategy row of an order id."""
    return (as_int(identity) >> 32) & STRATEGY_MAX


@njit
def id_counter(identity: int) -> int:
    """Return the counter of an order id."""
    return as_int(identity) & COUNTER_MAX


@njit
def is_working(state: int) -> bool:
    """Return whether an order in `state` still counts against limits."""
    return OrderState.PENDING_NEW <= state <= OrderState.UNKNOWN


@njit
def _home(identity: int, mask: int) -> int:
    # Consecutive ids, as one strategy's are, lie four apart, with room for others between: a probe or a removal ends at once.
    return (((identity & COUNTER_MAX) << 2) ^ ((identity >> 32) * 40503)) & mask


@njit
def find(orders: Orders, identity: int) -> int:
    """Return the slot of order `identity`, working or recently ended, or -1."""
    identity = as_int(identity)
    mask = len(orders.cells) - 1
    cell = _home(identity, mask)
    for _ in range(len(orders.cells)):
        slot = orders.cells[cell] - 1
        if slot < 0:
            return -1
        if orders.rows[slot]["order_id"] == identity:
            return slot
        cell = (cell + 1) & mask
    return -1


@njit
def _unindex(orders: Orders, slot: int) -> None:
    """Take the slot out of the index, shifting back what probed past it."""
    mask = len(orders.cells) - 1
    cell = _home(orders.rows[slot]["order_id"], mask)
    while orders.cells[cell] != slot + 1:
        cell = (cell + 1) & mask
    hole = cell
    while True:
        cell = (cell + 1) & mask
        other = orders.cells[cell] - 1
        if other < 0:
            break
        home = _home(orders.rows[other]["order_id"], mask)
        if ((cell - home) & mask) >= ((cell - hole) & mask):
            orders.cells[hole] = other + 1
            hole = cell
    orders.cells[hole] = 0


@njit
def next_slot(orders: Orders) -> int:
    """Return the slot that the next order gets, if it gets one."""
    words = orders.words
    return words[USED] if words[USED] < len(orders.rows) else orders.done[words[DONE_HEAD]]


@njit
def _take_slot(orders: Orders) -> int:
    """Return a slot never used, else the longest ended order's, else -1."""
    words, slot = orders.words, next_slot(orders)
    if words[USED] < len(orders.rows):
        words[USED] += 1
        return slot
    if words[DONE_COUNT] == 0:
        return -1
    words[DONE_HEAD] = (words[DONE_HEAD] + 1) % len(orders.done)
    words[DONE_COUNT] -= 1
    _unindex(orders, slot)
    return slot


@njit
def insert_order(orders: Orders, source: NDArray[Any], i: int, now_ns: int) -> int:
    """Put INTENT or ORDER record `i` in the table as PENDING_NEW; return its slot.

    -1: the table is full of working orders, the id is not positive or is present, or instrument, side or size is not valid.
    """
    identity, instrument, side = source[i]["order_id"], as_int(source[i]["instrument"]), as_int(source[i]["side"])
    if identity <= 0 or instrument < 0 or instrument >= len(orders.counts) or (side != Side.BUY and side != Side.SELL):
        return -1
    if source[i]["qty_lots"] <= 0 or find(orders, identity) >= 0:
        return -1
    slot = _take_slot(orders)
    if slot < 0:
        return -1
    row = orders.rows
    row[slot]["order_id"] = identity
    row[slot]["ref_order_id"] = source[i]["ref_order_id"]
    row[slot]["price_ticks"] = source[i]["price_ticks"]
    row[slot]["qty_lots"] = source[i]["qty_lots"]
    row[slot]["cum_lots"] = 0
    row[slot]["leaves_lots"] = source[i]["qty_lots"]
    row[slot]["decided_ns"] = source[i]["decided_ns"]
    row[slot]["sent_ns"] = 0
    row[slot]["changed_ns"] = now_ns
    row[slot]["state"] = OrderState.PENDING_NEW
    row[slot]["strategy"] = source[i]["strategy"]
    row[slot]["instrument"] = source[i]["instrument"]
    row[slot]["side"] = source[i]["side"]
    row[slot]["tif"] = source[i]["tif"]
    row[slot]["flags"] = source[i]["flags"]
    orders.resume[slot] = OrderState.PENDING_NEW
    orders.trades[slot, 0] = 0
    mask = len(orders.cells) - 1
    cell = _home(identity, mask)
    while orders.cells[cell] != 0:
        cell = (cell + 1) & mask
    orders.cells[cell] = slot + 1
    k = orders.counts[instrument]
    orders.members[instrument, k] = slot
    orders.prices[instrument, k] = side * source[i]["price_ticks"]
    orders.place[slot] = k
    orders.counts[instrument] = k + 1
    orders.lots[instrument, 0 if side == Side.BUY else 1] += source[i]["qty_lots"]
    if side == Side.BUY:
        orders.buy_ticklots[instrument] += source[i]["price_ticks"] * source[i]["qty_lots"]
    _expect_next(orders)
    return slot


@njit
def _expect_next(orders: Orders) -> None:
    """Fetch what the next order will be written to, so that it does not wait for that."""
    slot = next_slot(orders)
    expect_write(orders.rows, slot, _ROW_BYTES)
    expect_write(orders.trades, slot, _WORD_BYTES)
    expect_write(orders.place, slot, _WORD_BYTES)
    expect_write(orders.resume, slot, _WORD_BYTES)


@njit
def member(orders: Orders, instrument: int, k: int) -> int:
    """Return the slot of the instrument's k-th working order, 0 <= k < orders.counts[instrument]; the order is arbitrary."""
    return orders.members[instrument, k]


@njit
def end_order(orders: Orders, slot: int, state: int) -> None:
    """Make the working order terminal: out of its instrument's members and exposure, and last in line for eviction."""
    instrument, identity = as_int(orders.rows[slot]["instrument"]), orders.rows[slot]["order_id"]
    set_leaves(orders, slot, 0)
    orders.rows[slot]["state"] = state
    last = orders.counts[instrument] - 1
    k, moved = orders.place[slot], orders.members[instrument, last]
    orders.members[instrument, k] = moved
    orders.prices[instrument, k] = orders.prices[instrument, last]
    orders.place[moved] = k
    orders.counts[instrument] = last
    words = orders.words
    orders.done[(words[DONE_HEAD] + words[DONE_COUNT]) % len(orders.done)] = slot
    words[DONE_COUNT] += 1
    for n in range(last):
        if orders.rows[orders.members[instrument, n]]["ref_order_id"] == identity:
            orders.rows[orders.members[instrument, n]]["ref_order_id"] = 0


@njit
def set_leaves(orders: Orders, slot: int, leaves_lots: int) -> None:
    """Change what is left of a working order, and its side's sum."""
    instrument = as_int(orders.rows[slot]["instrument"])
    side = 0 if orders.rows[slot]["side"] == Side.BUY else 1
    more_lots = leaves_lots - orders.rows[slot]["leaves_lots"]
    orders.lots[instrument, side] += more_lots
    if side == 0:
        orders.buy_ticklots[instrument] += orders.rows[slot]["price_ticks"] * more_lots
    orders.rows[slot]["leaves_lots"] = leaves_lots


@njit
def _apply_trade(orders: Orders, slot: int, reports: NDArray[Any], i: int) -> int:
    """Take a fill of a known order; return its Outcome."""
    row, trades = orders.rows, orders.trades
    trade_id, last_lots, cum_lots = reports[i]["trade_id"], reports[i]["last_lots"], reports[i]["cum_lots"]
    state, taken_lots, qty_lots = as_int(row[slot]["state"]), row[slot]["cum_lots"], row[slot]["qty_lots"]
    for k in range(min(trades[slot, 0], TRADE_IDS)):
        if trades[slot, 1 + k] == trade_id:
            return as_int(Outcome.DUPLICATE_FILL)
    if cum_lots <= taken_lots:
        return as_int(Outcome.REGRESSED)
    if last_lots <= 0 or cum_lots - taken_lots < last_lots:
        return as_int(Outcome.BAD_FILL)
    trades[slot, 1 + trades[slot, 0] % TRADE_IDS] = trade_id
    trades[slot, 0] += 1
    row[slot]["cum_lots"] = cum_lots
    row[slot]["changed_ns"] = reports[i]["reported_ns"]
    outcome = as_int(Outcome.APPLIED)
    if cum_lots - taken_lots > last_lots:
        orders.words[FILL_GAPS] += 1
        outcome = as_int(Outcome.FILL_GAP)
    if not is_working(state):
        orders.words[LATE_FILLS] += 1
        outcome = as_int(Outcome.LATE_FILL)
    elif cum_lots >= qty_lots:
        end_order(orders, slot, as_int(OrderState.FILLED))
    else:
        orders.resume[slot] = OrderState.PARTIALLY_FILLED
        row[slot]["state"] = TRANSITION[state, ReportKind.TRADE]
        set_leaves(orders, slot, qty_lots - cum_lots)
    if cum_lots > qty_lots:
        orders.words[OVERFILLS] += 1
        outcome = as_int(Outcome.OVERFILL)
    return outcome


@njit
def _apply_state(orders: Orders, slot: int, reports: NDArray[Any], i: int) -> int:
    """Move a known order by a report that is no fill; return its Outcome."""
    row = orders.rows
    kind, state = as_int(reports[i]["kind"]), as_int(row[slot]["state"])
    target = as_int(TRANSITION[state, kind])
    if target < 0:
        return as_int(Outcome.BAD_TRANSITION)
    if not is_working(state):
        return as_int(Outcome.STALE)
    filled_state = as_int(OrderState.PARTIALLY_FILLED if row[slot]["cum_lots"] > 0 else OrderState.NEW)
    if kind == ReportKind.ACK:
        orders.resume[slot] = filled_state
        if state == OrderState.UNKNOWN:
            target = filled_state
    elif kind == ReportKind.PENDING_CANCEL and target != state:
        orders.resume[slot] = state
    elif kind == ReportKind.CANCEL_REJECTED and state == OrderState.PENDING_CANCEL:
        target = orders.resume[slot]
    if target != state:
        row[slot]["changed_ns"] = reports[i]["reported_ns"]
    if is_working(target):
        row[slot]["state"] = target
        return as_int(Outcome.APPLIED)
    end_order(orders, slot, target)
    # The fills that the venue counts and we have not seen come as TRADE reports, and are then LATE_FILL.
    if reports[i]["cum_lots"] > row[slot]["cum_lots"]:
        orders.words[FILL_GAPS] += 1
        return as_int(Outcome.FILL_GAP)
    return as_int(Outcome.APPLIED)


@njit
def apply_report(orders: Orders, reports: NDArray[Any], i: int) -> int:
    """Apply REPORT record `i` to the table; return an Outcome. A TRADE is to be booked exactly when it is not negative."""
    kind = as_int(reports[i]["kind"])
    slot = find(orders, reports[i]["order_id"])
    if kind < 0 or kind >= TRANSITION.shape[1]:
        outcome = as_int(Outcome.BAD_TRANSITION)
    elif slot < 0:
        outcome = as_int(Outcome.UNKNOWN_ORDER)
        if kind == ReportKind.TRADE and reports[i]["last_lots"] > 0:
            orders.words[ORPHAN_FILLS] += 1
            outcome = as_int(Outcome.ORPHAN_FILL)
    else:
        if kind == ReportKind.TRADE:
            outcome = _apply_trade(orders, slot, reports, i)
        else:
            outcome = _apply_state(orders, slot, reports, i)
        if outcome >= 0 and reports[i]["sent_ns"] != 0:
            orders.rows[slot]["sent_ns"] = reports[i]["sent_ns"]
    if outcome < 0 and outcome != Outcome.STALE:
        orders.words[REFUSED_REPORTS] += 1
    return outcome
