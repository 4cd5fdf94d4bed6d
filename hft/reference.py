"""Reference is what vouches for an instrument's prices other than its own book: the same pair at other venues, or its own trades.

mid     must be near the mid at every other venue that has a usable book, and one must have one
price   may be so far beyond the median of those mids; without one, beyond the average of the instrument's last trades
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.bounds import BASIS_POINTS
from hft.peers import diverge, price_e12_x2
from hft.records import Side
from hft.risk_state import ASK_TICKS, BID_TICKS, RECEIVED_NS, TOP_TICKS_MAX, VALID, RiskState
from hft.traded import FRACTION_BITS, average
from hft.units import WIDE, as_int, mul_saturated
from shm.jit import njit


@njit
def _mid_e12_x2(state: RiskState, row: int, now_ns: int) -> int:
    """Twice the mid of a book in 1e-12 quote; 0 unless the book is valid, two-sided and not older than its own limit."""
    tops = state.tops
    bid_ticks, ask_ticks = tops[row, BID_TICKS], tops[row, ASK_TICKS]
    if tops[row, VALID] != 1 or not 0 < bid_ticks < ask_ticks:
        return as_int(0)
    if abs(now_ns - tops[row, RECEIVED_NS]) > state.limits[row]["book_age_max_ns"]:
        return as_int(0)
    return price_e12_x2(state.peers, row, bid_ticks + ask_ticks)


@njit
def has_agreeing_peer(state: RiskState, row: int, now_ns: int) -> bool:
    """Whether the instrument's mid is near that of the same pair at other venues: at each that has a usable one, and one has. None: True."""
    peers, count = state.peers, as_int(0)
    if peers.rows[row, 0] < 0:
        return True
    own = price_e12_x2(peers, row, state.tops[row, BID_TICKS] + state.tops[row, ASK_TICKS])
    for k in range(peers.rows.shape[1]):
        if peers.rows[row, k] < 0:
            break
        mid = _mid_e12_x2(state, as_int(peers.rows[row, k]), now_ns)
        if mid > 0:
            if diverge(own, mid, state.limits[row]["divergence_max_bp"]):
                return False
            count += 1
    return count > 0


@njit
def _median_e12_x2(state: RiskState, row: int, now_ns: int) -> int:
    """The median of the usable mids at other venues, as `_mid_e12_x2`: the mean of the middle two, rounded down; 0 if there is none."""
    peers = state.peers.rows
    first, second, usable = as_int(0), as_int(0), as_int(0)
    for k in range(peers.shape[1]):
        if peers[row, k] < 0:
            break
        mid = _mid_e12_x2(state, as_int(peers[row, k]), now_ns)
        if mid > 0:
            first, second = mid, first
            usable += 1
    if usable <= 1:
        return first
    low, high = (min(first, second), max(first, second)) if usable == 2 else _middle_two(state, row, usable, now_ns)
    return low + (high - low) // 2


@njit
def _middle_two(state: RiskState, row: int, usable: int, now_ns: int) -> tuple[int, int]:
    """The middle two of so many usable mids at other venues, by counting how many are below each; one twice if their number is odd."""
    peers = state.peers.rows
    low, high = as_int(0), as_int(0)
    for k in range(peers.shape[1] - 1):
        mid = _mid_e12_x2(state, as_int(peers[row, k]), now_ns) if peers[row, k] >= 0 else as_int(0)
        below = as_int(0)
        for n in range(peers.shape[1] - 1):
            other = _mid_e12_x2(state, as_int(peers[row, n]), now_ns) if peers[row, n] >= 0 else as_int(0)
            below += 1 if 0 < other < mid or (other == mid and n < k) else 0
        if mid > 0 and below == (usable - 1) // 2:
            low = mid
        if mid > 0 and below == usable // 2:
            high = mid
    return low, high


@njit
def _reference_ticks(state: RiskState, row: int, now_ns: int, rounded_up: int) -> int:
    """What vouches for an instrument's prices, in its ticks, rounded down, or up if that is 1; 0 if nothing does."""
    median = _median_e12_x2(state, row, now_ns)
    if median > 0:
        unit = 2 * state.peers.tick_e12[row]
    else:
        median, unit = average(state.traded, row, now_ns, state.limits[row]["reference_window_ns"]), as_int(1 << FRACTION_BITS)
    ticks = median // unit
    if rounded_up != 0 and ticks * unit != median:
        ticks += 1
    return ticks if median < WIDE and ticks < TOP_TICKS_MAX else as_int(0)


@njit
def is_beyond_reference(state: RiskState, intents: NDArray[Any], i: int, now_ns: int) -> bool:
    """Whether INTENT record `i` would buy too far above, or sell too far below, its reference, or there is none to hold it against."""
    row, price = as_int(intents[i]["instrument"]), mul_saturated(intents[i]["price_ticks"], BASIS_POINTS)
    max_bp, sells = state.limits[row]["reference_max_bp"], as_int(intents[i]["side"] == Side.SELL)
    reference_ticks = _reference_ticks(state, row, now_ns, sells)
    if max_bp <= 0 or max_bp > BASIS_POINTS or state.limits[row]["reference_window_ns"] <= 0 or reference_ticks <= 0:
        return True
    if sells != 0:
        return price < reference_ticks * (BASIS_POINTS - max_bp)
    return price > reference_ticks * (BASIS_POINTS + max_bp)
