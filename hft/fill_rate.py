"""Fill rate holds what each strategy is filled for within a window against what is usual for it.

Usual is an average of that sum, over about eight windows, with as much weight for each slice of a window; and never less than what the
config expects, so that a strategy that has just begun, or has been quiet, has room to trade.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.breakers import SLICES
from hft.units import WIDE, as_int, mul_div_half_even
from shm.jit import njit

_KEPT = SLICES + 1
#: One slice's weight in the average is one in so many.
_MEMORY = 8 * SLICES
#: In so many slices without fills the average halves.
_HALF_LIFE = 89
#: Sums are no larger, so that nothing wraps.
_MOST_E8 = WIDE >> 1
_PERCENT = 100

# Columns of FillRate.slices: the number of a slice, -1 for none, and what was filled in it, in 1e-8 base currency.
_SLICE, _FILLED_E8 = range(2)

# Columns of FillRate.newest: the number of the newest slice, -1 before any, and what is usual in a window.
_NUMBER, _USUAL_E8 = range(2)


class FillRate(NamedTuple):
    """State of all strategies; made by `new_fill_rate`."""

    slices: NDArray[Any]  #: [strategy, slice, column]
    newest: NDArray[Any]  #: [strategy, column]


def new_fill_rate(strategies: int) -> FillRate:
    """Nobody has been filled."""
    rate = FillRate(np.zeros((strategies, _KEPT, 2), np.int64), np.zeros((strategies, 2), np.int64))
    rate.slices[:, :, _SLICE] = rate.newest[:, _NUMBER] = -1
    return rate


def carry(rate: FillRate, firm: NDArray[Any]) -> dict[str, Any]:
    """What a later epoch goes on with, as JSON takes it."""
    return {"window_ns": int(firm[0]["filled_window_ns"]), "slices": rate.slices.tolist(), "newest": rate.newest.tolist()}


def resume(rate: FillRate, firm: NDArray[Any], carried: dict[str, Any], same_clock: bool) -> None:
    """Go on with what `carry` gave, if its window is this one; of another clock, with what is usual alone."""
    if carried["window_ns"] != firm[0]["filled_window_ns"]:
        return
    rate.newest[:] = carried["newest"]
    if same_clock:
        rate.slices[:] = carried["slices"]
    else:
        rate.newest[:, _NUMBER] = -1


@njit
def note_filled(rate: FillRate, firm: NDArray[Any], strategy: int, value_e8: int, at_ns: int) -> bool:
    """A strategy was filled for so much of the base currency; whether that is too much for a window."""
    if strategy < 0 or strategy >= len(rate.newest):
        return False
    newest, number = rate.newest[strategy], as_int(at_ns * SLICES // max(firm[0]["filled_window_ns"], 1))
    if newest[_NUMBER] < 0:
        newest[_NUMBER] = number
    # Times are of several cores: a late one counts as of the newest.
    number = max(number, newest[_NUMBER])
    _pass(rate, strategy, number)
    part = rate.slices[strategy, number % _KEPT]
    if part[_SLICE] != number:
        part[_SLICE], part[_FILLED_E8] = number, 0
    part[_FILLED_E8] = min(part[_FILLED_E8] + min(max(value_e8, 0), _MOST_E8), _MOST_E8)
    usual_e8 = max(newest[_USUAL_E8], firm[0]["filled_expected_e8"])
    return bool(_sum_e8(rate, strategy, number) > mul_div_half_even(usual_e8, firm[0]["filled_max_percent"], _PERCENT)[0])


@njit
def forget(rate: FillRate, strategy: int) -> None:
    """A strategy may trade again: what it was filled for counts no more, what is usual does."""
    rate.slices[strategy, :, _SLICE] = -1


@njit
def _pass(rate: FillRate, strategy: int, number: int) -> None:
    """Take each slice that ended before the one with this number into the average."""
    newest = rate.newest[strategy]
    ended = min(newest[_NUMBER] + _KEPT, number)
    for k in range(newest[_NUMBER], ended):
        newest[_USUAL_E8] += (_sum_e8(rate, strategy, k) - newest[_USUAL_E8]) // _MEMORY
    # Nothing was filled in the window of the others.
    halvings = min((number - ended) // _HALF_LIFE, 62)
    newest[_USUAL_E8] >>= halvings
    for _ in range((number - ended) % _HALF_LIFE):
        newest[_USUAL_E8] -= (newest[_USUAL_E8] + _MEMORY - 1) // _MEMORY
    newest[_NUMBER] = number


@njit
def _sum_e8(rate: FillRate, strategy: int, number: int) -> int:
    """What was filled in the window that ends in the slice with this number."""
    filled_e8 = as_int(0)
    for k in range(_KEPT):
        part = rate.slices[strategy, k]
        if max(number - SLICES, 0) <= part[_SLICE] <= number:
            filled_e8 = min(filled_e8 + part[_FILLED_E8], _MOST_E8)
    return filled_e8
