"""Matching state: the arrays in which the paper venue keeps orders, queue positions, taken liquidity and waiting reports.

Everything is bounded and allocated once. `check` walks every invariant and is what tests call after each step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import ORDER, REPORT, WORKING, Side
from shm.jit import njit

#: What is kept of a resting order beside its ORDER record.
RESTING = np.dtype(
    [
        ("cum_lots", "<i8"),  # filled so far
        ("leaves_lots", "<i8"),  # still to fill
        ("queue_ahead_lots", "<i8"),  # displayed size of others that trades before it at its price
        ("next", "<i8"),  # slot of the next order of its side in price-time order, or of the next free slot; -1 ends
    ]
)

#: Liquidity taken from one displayed level, so that it cannot be taken twice.
TAKEN = np.dtype(
    [
        ("price_ticks", "<i8"),
        ("side", "<i8"),  # side of the level
        ("shown_lots", "<i8"),  # displayed size when taken; another size shown means that the level was updated
        ("taken_lots", "<i8"),
    ]
)

# Indices of Matching.words.
ORDER_LATENCY_NS = 0
ACK_LATENCY_NS = 1
UTC_OFFSET_NS = 2  #: UTC minus CLOCK_MONOTONIC, from the newest CLOCK record; 0 before the first
TRADE_ID_NEXT = 3
FREE_HEAD = 4  #: first free slot of `orders`
WORKING_COUNT = 5  #: used slots of `orders`
ARRIVAL_HEAD = 6  #: oldest instruction in flight, index in `arrivals`
ARRIVAL_COUNT = 7
ARRIVAL_LAST_NS = 8  #: arrival time of the newest instruction in flight: first sent, first there
REPORT_HEAD = 9  #: oldest waiting report, index in `reports`
REPORT_COUNT = 10
REPORT_LAST_NS = 11  #: when the newest waiting report becomes visible
FILLS_WITHHELD = 12  #: fills not made because no waiting report had room
TAKEN_FULL = 13  #: levels not taken because no more taken liquidity could be remembered
WORDS = 14

#: `next_due_ns` when nothing is under way.
NEVER_NS = 2**63 - 1

BUY = int(Side.BUY)
SELL = int(Side.SELL)


class Matching(NamedTuple):
    """The paper venue. Slots are rows of `orders` and `resting`; lists of slots are linked through `resting.next`."""

    words: NDArray[Any]  #: see the indices above
    instruments: NDArray[Any]  #: INSTRUMENT rows
    valid: NDArray[Any]  #: [instrument] -> 1 while its book may be matched against
    heads: NDArray[Any]  #: [instrument, 0 buys | 1 sells] -> slot of the first order in price-time order, -1 if none
    orders: NDArray[Any]  #: ORDER by slot
    resting: NDArray[Any]  #: RESTING by slot
    arrivals: NDArray[Any]  #: ORDER: instructions on their way to the venue, a circle
    arrival_due_ns: NDArray[Any]
    reports: NDArray[Any]  #: REPORT: waiting to become visible, a circle
    report_due_ns: NDArray[Any]
    done: NDArray[Any]  #: WORKING: orders that ended, newest of each hash, to tell "already done" from "unknown"
    taken: NDArray[Any]  #: [instrument, k] TAKEN
    taken_count: NDArray[Any]  #: [instrument] -> rows used
    walk_ticks: NDArray[Any]  #: scratch: prices of the levels that an order may take from
    walk_lots: NDArray[Any]  #: scratch: what is left to take there


def new_matching(
    instruments: NDArray[Any],
    orders_max: int,
    order_latency_ns: int,
    ack_latency_ns: int,
    trade_id_first: int = 1,
    walk_levels_max: int = 256,
) -> Matching:
    """An empty venue for the INSTRUMENT rows `instruments`, with every book invalid.

    `orders_max` bounds the resting orders and, apart, the instructions in flight. `trade_id_first` must make trade ids unique
    over restarts (epoch in the high bits). One order takes from at most `walk_levels_max` levels at once.
    """
    if orders_max < 1 or walk_levels_max < 1:
        raise ValueError(f"orders_max and walk_levels_max must be positive, were {orders_max} and {walk_levels_max}")
    if order_latency_ns < 0 or ack_latency_ns < 0:
        raise ValueError(f"latencies must not be negative, were {order_latency_ns} and {ack_latency_ns}")
    count = len(instruments)
    arrival_slots = _power_of_two(orders_max + 1)
    report_slots = _power_of_two(2 * (orders_max + arrival_slots) + walk_levels_max + 4)
    words = np.zeros(WORDS, np.int64)
    words[ORDER_LATENCY_NS], words[ACK_LATENCY_NS] = order_latency_ns, ack_latency_ns
    words[TRADE_ID_NEXT] = trade_id_first
    resting = np.zeros(orders_max, RESTING)
    resting["next"] = np.arange(1, orders_max + 1)
    resting["next"][-1] = -1
    return Matching(
        words=words,
        instruments=instruments,
        valid=np.zeros(count, np.int64),
        heads=np.full((count, 2), -1, np.int64),
        orders=np.zeros(orders_max, ORDER),
        resting=resting,
        arrivals=np.zeros(arrival_slots, ORDER),
        arrival_due_ns=np.zeros(arrival_slots, np.int64),
        reports=np.zeros(report_slots, REPORT),
        report_due_ns=np.zeros(report_slots, np.int64),
        done=np.zeros(_power_of_two(8 * orders_max), WORKING),
        taken=np.zeros((count, 2 * walk_levels_max), TAKEN),
        taken_count=np.zeros(count, np.int64),
        walk_ticks=np.zeros(walk_levels_max, np.int64),
        walk_lots=np.zeros(walk_levels_max, np.int64),
    )


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


@njit
def wide(value: Any) -> Any:
    """`value` as int64; narrow fields take part in arithmetic and calls only so."""
    return np.int64(value)


@njit
def column(side: int) -> int:
    """Column of `heads` for orders of `side`."""
    return 0 if side == BUY else 1


@njit
def report_room(m: Matching) -> int:
    """Reports that can still be made when each order resting or in flight is kept room for its last one."""
    free = len(m.reports) - 1 - m.words[REPORT_COUNT]
    return free - m.words[WORKING_COUNT] - m.words[ARRIVAL_COUNT]


@njit
def check(m: Matching) -> int:
    """0 if every invariant holds, else the number of the first broken one."""
    linked = 0
    for instrument in range(len(m.valid)):
        for side in (BUY, SELL):
            slot = m.heads[instrument, column(side)]
            price_before = 0
            queue_before = 0
            first = True
            while slot >= 0:
                row, order = m.resting[slot], m.orders[slot]
                if linked >= m.words[WORKING_COUNT]:
                    return 1
                if row["leaves_lots"] <= 0 or row["queue_ahead_lots"] < 0:
                    return 2
                if row["cum_lots"] + row["leaves_lots"] != order["qty_lots"]:
                    return 3
                if order["side"] != side or order["instrument"] != instrument:
                    return 4
                if not first and side * (order["price_ticks"] - price_before) > 0:
                    return 5
                if not first and order["price_ticks"] == price_before and row["queue_ahead_lots"] < queue_before:
                    return 6
                price_before, queue_before, first = order["price_ticks"], row["queue_ahead_lots"], False
                linked += 1
                slot = row["next"]
    if linked != m.words[WORKING_COUNT]:
        return 7
    return _check_circles(m)


@njit
def _check_circles(m: Matching) -> int:
    free = 0
    slot = m.words[FREE_HEAD]
    while slot >= 0 and free <= len(m.orders):
        free += 1
        slot = m.resting[slot]["next"]
    if free + m.words[WORKING_COUNT] != len(m.orders):
        return 8
    if report_room(m) < 0:
        return 9
    for circle_due, head, count in (
        (m.arrival_due_ns, m.words[ARRIVAL_HEAD], m.words[ARRIVAL_COUNT]),
        (m.report_due_ns, m.words[REPORT_HEAD], m.words[REPORT_COUNT]),
    ):
        mask = len(circle_due) - 1
        for k in range(1, count):
            if circle_due[(head + k) & mask] < circle_due[(head + k - 1) & mask]:
                return 10
    return 0
