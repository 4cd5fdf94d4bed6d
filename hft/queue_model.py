"""Queue model: keeps resting paper orders in price-time order and decides what the market's events fill.

A resting order trades behind the size that was displayed at its price when it came (`queue_ahead_lots`):

- a public trade at its price eats the queue ahead, then the order; a trade through its price fills it up to the trade's size;
- a level that shows less than the queue ahead cuts the queue ahead to it. Trades show up as smaller levels too, and since
  the level only clamps what the trade has already eaten, nothing counts twice;
- the other side's best at or through its price fills it at its own price, up to the size displayed there.

Size taken from a displayed level is remembered until that level shows another size.
"""

from __future__ import annotations

from hft.book import Book, best_ticks, depth, level_lots
from hft.matching_reports import emit_trade
from hft.matching_state import (
    BUY,
    FILLS_WITHHELD,
    FREE_HEAD,
    SELL,
    TAKEN_FULL,
    WORKING_COUNT,
    Matching,
    column,
    report_room,
    wide,
)
from hft.records import Liquidity, OrderState
from shm.jit import njit

_MAKER = int(Liquidity.MAKER)
_FILLED = int(OrderState.FILLED)


@njit
def take_slot(m: Matching) -> int:
    """A free slot, now counted as working, or -1."""
    slot = m.words[FREE_HEAD]
    if slot >= 0:
        m.words[FREE_HEAD] = m.resting[slot]["next"]
        m.words[WORKING_COUNT] += 1
    return int(slot)


@njit
def link(m: Matching, slot: int) -> None:
    """Put the order in `slot` behind all of its side with the same price or a better one."""
    order = m.orders[slot]
    side, price_ticks = wide(order["side"]), order["price_ticks"]
    instrument, c = wide(order["instrument"]), column(side)
    before = -1
    after = m.heads[instrument, c]
    while after >= 0 and side * (m.orders[after]["price_ticks"] - price_ticks) >= 0:
        before = after
        after = m.resting[after]["next"]
    m.resting[slot]["next"] = after
    if before < 0:
        m.heads[instrument, c] = slot
    else:
        m.resting[before]["next"] = slot


@njit
def unlink(m: Matching, slot: int) -> None:
    """Take the order in `slot` out of its side's list; the slot stays in use."""
    instrument, c = wide(m.orders[slot]["instrument"]), column(wide(m.orders[slot]["side"]))
    after = m.resting[slot]["next"]
    if m.heads[instrument, c] == slot:
        m.heads[instrument, c] = after
        return
    before = m.heads[instrument, c]
    while m.resting[before]["next"] != slot:
        before = m.resting[before]["next"]
    m.resting[before]["next"] = after


@njit
def free_slot(m: Matching, slot: int, state: int) -> None:
    """Give an unlinked slot back, remembering that its order ended in `state`."""
    order, done = m.orders[slot], m.done[done_index(m, m.orders[slot]["order_id"])]
    done["order_id"] = order["order_id"]
    done["price_ticks"] = order["price_ticks"]
    done["qty_lots"] = order["qty_lots"]
    done["cum_lots"] = m.resting[slot]["cum_lots"]
    done["state"] = state
    done["strategy"] = order["strategy"]
    done["instrument"] = order["instrument"]
    done["side"] = order["side"]
    m.resting[slot]["next"] = m.words[FREE_HEAD]
    m.words[FREE_HEAD] = slot
    m.words[WORKING_COUNT] -= 1


@njit
def done_index(m: Matching, order_id: int) -> int:
    """The only row of `m.done` in which `order_id` can be."""
    low, high = order_id & 0xFFFF_FFFF, order_id >> 32
    return int(((low ^ (high * 40503)) & 0xFFFF_FFFF) & (len(m.done) - 1))


@njit
def find_resting(m: Matching, instrument: int, order_id: int) -> int:
    """Slot of a resting order of `instrument`, or -1."""
    for c in range(2):
        slot = m.heads[instrument, c]
        while slot >= 0:
            if m.orders[slot]["order_id"] == order_id:
                return int(slot)
            slot = m.resting[slot]["next"]
    return -1


@njit
def fill(m: Matching, slot: int, price_ticks: int, lots: int, liquidity: int, now_ns: int) -> None:
    """Count and report a fill; the slot stays in use even when nothing is left."""
    m.resting[slot]["cum_lots"] += lots
    m.resting[slot]["leaves_lots"] -= lots
    emit_trade(m, slot, price_ticks, lots, liquidity, now_ns)


@njit
def fill_maker(m: Matching, slot: int, lots: int, now_ns: int) -> int:
    """Fill a linked order at its own price; return the lots filled, 0 if there is no room to report it."""
    # One report's room is kept for cancel_everything.
    if report_room(m) < 2:
        m.words[FILLS_WITHHELD] += 1
        return 0
    fill(m, slot, m.orders[slot]["price_ticks"], lots, _MAKER, now_ns)
    if m.resting[slot]["leaves_lots"] == 0:
        unlink(m, slot)
        free_slot(m, slot, _FILLED)
    return lots


@njit
def find_taken(m: Matching, instrument: int, side: int, price_ticks: int) -> int:
    """Row of what was taken from a level, or -1."""
    for k in range(m.taken_count[instrument]):
        row = m.taken[instrument, k]
        if row["price_ticks"] == price_ticks and row["side"] == side:
            return k
    return -1


@njit
def left_lots(m: Matching, instrument: int, side: int, price_ticks: int, shown_lots: int) -> int:
    """What is left to take of a level that shows `shown_lots`."""
    k = find_taken(m, instrument, side, price_ticks)
    if k < 0:
        return shown_lots
    return max(0, shown_lots - m.taken[instrument, k]["taken_lots"])


@njit
def remember_taken(m: Matching, instrument: int, side: int, price_ticks: int, shown_lots: int, lots: int) -> None:
    """Remember `lots` taken from a level; the caller has made sure of a row (`taken_room`)."""
    k = find_taken(m, instrument, side, price_ticks)
    if k < 0:
        k = m.taken_count[instrument]
        m.taken_count[instrument] += 1
        row = m.taken[instrument, k]
        row["price_ticks"] = price_ticks
        row["side"] = side
        row["shown_lots"] = shown_lots
        row["taken_lots"] = 0
    m.taken[instrument, k]["taken_lots"] += lots


@njit
def taken_room(m: Matching, instrument: int) -> int:
    """Levels whose taking can still be remembered."""
    return int(m.taken.shape[1] - m.taken_count[instrument])


@njit
def see_level(m: Matching, instrument: int, side: int, price_ticks: int, shown_lots: int) -> None:
    """Forget what was taken from a level if it now shows another size."""
    k = find_taken(m, instrument, side, price_ticks)
    if k < 0 or m.taken[instrument, k]["shown_lots"] == shown_lots:
        return
    m.taken_count[instrument] -= 1
    m.taken[instrument, k] = m.taken[instrument, m.taken_count[instrument]]


@njit
def clamp_queue(m: Matching, instrument: int, side: int, price_ticks: int, shown_lots: int) -> None:
    """Cut the queue ahead of the orders at a price to the size that it shows."""
    slot = m.heads[instrument, column(side)]
    while slot >= 0:
        if m.orders[slot]["price_ticks"] == price_ticks and m.resting[slot]["queue_ahead_lots"] > shown_lots:
            m.resting[slot]["queue_ahead_lots"] = shown_lots
        slot = m.resting[slot]["next"]


@njit
def clamp_all(m: Matching, book: Book, instrument: int) -> None:
    """Cut every queue ahead to what the book shows: levels may have gone while it was rebuilt."""
    for side in (BUY, SELL):
        slot = m.heads[instrument, column(side)]
        while slot >= 0:
            shown_lots = level_lots(book, side, m.orders[slot]["price_ticks"])
            m.resting[slot]["queue_ahead_lots"] = min(m.resting[slot]["queue_ahead_lots"], shown_lots)
            slot = m.resting[slot]["next"]


@njit
def on_trade(m: Matching, instrument: int, aggressor: int, price_ticks: int, lots: int, now_ns: int) -> None:
    """Let a public trade eat the queue and the orders that stand against it, best price and oldest first."""
    remaining = lots
    eaten = 0  # of the displayed size at the trade's price; every queue at that price shares it
    slot = m.heads[instrument, column(-aggressor)]
    while slot >= 0:
        after = m.resting[slot]["next"]
        through_ticks = aggressor * (price_ticks - m.orders[slot]["price_ticks"])
        if through_ticks < 0:
            return
        if through_ticks > 0:
            m.resting[slot]["queue_ahead_lots"] = 0
        else:
            ahead_lots = m.resting[slot]["queue_ahead_lots"]
            ate = min(remaining, max(0, ahead_lots - eaten))
            eaten += ate
            remaining -= ate
            m.resting[slot]["queue_ahead_lots"] = max(0, ahead_lots - eaten)
        lots_filled = min(remaining, m.resting[slot]["leaves_lots"])
        if lots_filled > 0:
            remaining -= fill_maker(m, slot, lots_filled, now_ns)
        slot = after


@njit
def cross_book(m: Matching, book: Book, instrument: int, now_ns: int) -> None:
    """Fill the orders that the book's other side has reached."""
    for side in (BUY, SELL):
        slot = m.heads[instrument, column(side)]
        if slot < 0:
            continue
        best = best_ticks(book, -side)
        if best == 0 or side * (m.orders[slot]["price_ticks"] - best) < 0:
            continue
        count = depth(book, -side, len(m.walk_ticks), m.walk_ticks, m.walk_lots)
        cross(m, instrument, side, count, now_ns)


@njit
def cross_quote(m: Matching, instrument: int, side: int, price_ticks: int, lots: int, now_ns: int) -> None:
    """Fill the orders of `side` that a quote of the other side has reached."""
    see_level(m, instrument, -side, price_ticks, lots)
    slot = m.heads[instrument, column(side)]
    if price_ticks == 0 or slot < 0 or side * (m.orders[slot]["price_ticks"] - price_ticks) < 0:
        return
    m.walk_ticks[0] = price_ticks
    m.walk_lots[0] = lots
    cross(m, instrument, side, 1, now_ns)


@njit
def cross(m: Matching, instrument: int, side: int, count: int, now_ns: int) -> None:
    """Fill orders of `side`, at their own prices, from the first `count` levels displayed in the walk scratch."""
    slot = m.heads[instrument, column(side)]
    while slot >= 0:
        after = m.resting[slot]["next"]
        price_ticks, leaves_lots = m.orders[slot]["price_ticks"], m.resting[slot]["leaves_lots"]
        crossing_lots = 0
        levels = 0
        for k in range(count):
            if side * (price_ticks - m.walk_ticks[k]) < 0 or crossing_lots == leaves_lots:
                break
            levels += 1
            left = left_lots(m, instrument, -side, m.walk_ticks[k], m.walk_lots[k])
            crossing_lots += min(left, leaves_lots - crossing_lots)
        if crossing_lots == 0:
            return
        if taken_room(m, instrument) < levels:
            m.words[TAKEN_FULL] += 1
            return
        if fill_maker(m, slot, crossing_lots, now_ns) == 0:
            return
        take_walked(m, instrument, -side, levels, crossing_lots)
        slot = after


@njit
def take_walked(m: Matching, instrument: int, level_side: int, count: int, lots: int) -> None:
    """Remember `lots` as taken from the walk scratch's levels, best first."""
    remaining = lots
    for k in range(count):
        if remaining == 0:
            return
        left = left_lots(m, instrument, level_side, m.walk_ticks[k], m.walk_lots[k])
        ate = min(left, remaining)
        if ate > 0:
            remember_taken(m, instrument, level_side, m.walk_ticks[k], m.walk_lots[k], ate)
            remaining -= ate
