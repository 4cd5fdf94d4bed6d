"""Traded is what an instrument's last trades say of its price: their average, each weighted by how long it was the last one.

A trade counts from when it comes until the next, up to the window, so that a single print moves the average by what it lasted. Prices
are in 1/1024 ticks, and what rounding leaves is carried. Until something has been traded the first mid stands for it; the first trade takes
its place, whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.units import as_int, mul_add_div
from shm.jit import njit

#: Bits of a tick's fraction. Prices must be below 2^47 ticks.
FRACTION_BITS = 10

# Columns: the last price, 0 for none, since when, and the average until then; how many trades there were; what the average is more, in
# parts of the window.
_LAST, _SINCE_NS, _AVERAGE, _TRADES, _REST = range(5)


def new_traded(instruments: int) -> NDArray[Any]:
    """[instrument, column]: nothing has been traded."""
    return np.zeros((instruments, 5), np.int64)


@njit
def begin_at_mid(traded: NDArray[Any], row: int, mid_ticks_x2: int) -> None:
    """An instrument's mid is this, as bid + ask; it counts where there is no price yet."""
    if traded[row, _LAST] == 0:
        traded[row, _LAST] = traded[row, _AVERAGE] = mid_ticks_x2 << (FRACTION_BITS - 1)


@njit
def note_trade(traded: NDArray[Any], row: int, price_ticks: int, at_ns: int, window_ns: int) -> None:
    """An instrument was traded at a positive price. Times are of several cores: an earlier one than the last counts as that."""
    trade, price = traded[row], price_ticks << FRACTION_BITS
    if trade[_TRADES] == 0:
        trade[_AVERAGE], trade[_SINCE_NS] = price, at_ns
    elif window_ns > 0:
        trade[_AVERAGE], trade[_REST] = _moved(trade, at_ns, window_ns)
        trade[_SINCE_NS] = max(trade[_SINCE_NS], at_ns)
    trade[_LAST] = price
    trade[_TRADES] += 1


@njit
def _moved(trade: NDArray[Any], now_ns: int, window_ns: int) -> tuple[int, int]:
    """The average of one row as of now, and what it is more."""
    lasted_ns = min(max(now_ns - trade[_SINCE_NS], 0), window_ns)
    change, rest = mul_add_div(trade[_LAST] - trade[_AVERAGE], lasted_ns, trade[_REST], window_ns)
    return trade[_AVERAGE] + change, rest


@njit
def average(traded: NDArray[Any], row: int, now_ns: int, window_ns: int) -> int:
    """The average as of now, in 1/1024 ticks; 0 if there is no price or no window."""
    if traded[row, _LAST] <= 0 or window_ns <= 0:
        return as_int(0)
    return as_int(_moved(traded[row], now_ns, window_ns)[0])
