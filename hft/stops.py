"""Stops hold each strategy's position in an instrument against its stop-loss, and know which instruments may only be reduced.

    loss of a position = its average cost - its value at the mark     above the limit: the instrument becomes reduce-only

Reduce-only is of the instrument, for every strategy, and is judged by the strategy's own position: an order passes when it and all
that its strategy has working on its side leave that position no further than at zero. It lasts until somebody arms it. A loss that
was there then is forgiven: the position may lose as much again, and what is opened after it was flat counts from nothing.

Where ledger and venue differ it is reduce-only too, until they agree again; that forgives nothing, and no stop trips meanwhile.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft import ledger
from hft.bounds import BASIS_POINTS
from hft.control import DIFFERING
from hft.orders import Orders
from hft.records import POSITION, RiskCode
from hft.units import as_int, mul_div_half_even
from shm.jit import njit

_STOP_LOSS, _REDUCE_ONLY_MODE, _DIFFERING = int(RiskCode.STOP_LOSS), int(RiskCode.REDUCE_ONLY_MODE), DIFFERING


class Stops(NamedTuple):
    """State of all stop-losses; made by `new_stops`. Limits are read from the rows of LIMITS at each use."""

    owned: NDArray[Any]  #: POSITION of each strategy, row strategy x instruments + instrument
    forgiven_e8: NDArray[Any]  #: the same rows -> loss that was there when somebody armed it, 1e-8 quote
    reducing: NDArray[Any]  #: instrument -> RiskCode, or DIFFERING, for which it may only be reduced, else 0
    untold: NDArray[Any]  #: instrument -> 1 from when its stop trips until its reduce word is set


def new_stops(instruments: int, strategies: int) -> Stops:
    """Stops of an empty account; set `owned` to what the journals say."""
    owned = np.zeros(strategies * instruments, POSITION)
    owned["instrument"] = np.tile(np.arange(instruments), strategies)
    owned["strategy"] = np.repeat(np.arange(strategies), instruments)
    return Stops(owned, *(np.zeros(length, np.int64) for length in (len(owned), instruments, instruments)))


@njit
def book(stops: Stops, instruments: NDArray[Any], reports: NDArray[Any], i: int) -> int:
    """Book the TRADE in REPORT record `i` on its strategy's position; return 1, or 0 as `ledger.apply_fill`."""
    row, strategy = as_int(reports[i]["instrument"]), as_int(reports[i]["strategy"])
    k = strategy * len(stops.reducing) + row
    if strategy < 0 or k >= len(stops.owned):
        return 0
    before_lots = stops.owned[k]["position_lots"]
    booked = ledger.apply_fill(stops.owned, k, instruments, reports, i)
    after_lots = stops.owned[k]["position_lots"]
    if after_lots == 0 or (before_lots > 0) != (after_lots > 0):
        stops.forgiven_e8[k] = 0
    return booked


@njit
def _value_e8(stops: Stops, instruments: NDArray[Any], k: int, mark_ticks_x2: int) -> int:
    """Signed value of a position at the mark, 0 where the venue takes no order so small: fees leave such, at no cost."""
    row = as_int(stops.owned[k]["instrument"])
    value_e8 = ledger.value_at_e8(stops.owned[k]["position_lots"], mark_ticks_x2, instruments, row)
    return as_int(value_e8) if abs(value_e8) >= instruments[row]["notional_min_e8"] else as_int(0)


@njit
def has_lost(stops: Stops, instruments: NDArray[Any], limits: NDArray[Any], row: int, mark_ticks_x2: int) -> bool:
    """Whether a strategy's position in instrument `row` has lost more than the limit at this mark, bid + ask; exact."""
    if mark_ticks_x2 <= 0:
        return False
    for k in range(row, len(stops.owned), len(stops.reducing)):
        value_e8 = as_int(0) if stops.owned[k]["position_lots"] == 0 else _value_e8(stops, instruments, k, mark_ticks_x2)
        if value_e8 != 0:
            cost_e8 = stops.owned[k]["cost_e8"]
            most_e8, rest = mul_div_half_even(abs(cost_e8), limits[row]["stop_loss_bp"], BASIS_POINTS)
            over_e8 = cost_e8 - value_e8 - stops.forgiven_e8[k] - most_e8
            if over_e8 > 0 or (over_e8 == 0 and rest < 0):
                return True
    return False


@njit
def trip(stops: Stops, row: int) -> None:
    """The stop-loss of an instrument makes it reduce-only."""
    stops.reducing[row] = _STOP_LOSS
    stops.untold[row] = 1


@njit
def observe_reduce(stops: Stops, instruments: NDArray[Any], row: int, word: int, mark_ticks_x2: int) -> bool:
    """Follow an instrument's reduce word; return whether it is news that the instrument may only be reduced."""
    before = stops.reducing[row]
    if word != 0 and word != _DIFFERING:
        if before == 0 or before == _DIFFERING:
            stops.reducing[row] = _STOP_LOSS if word == _STOP_LOSS else _REDUCE_ONLY_MODE
        return bool(before == 0)
    stops.reducing[row] = word
    if before != 0 and before != _DIFFERING:
        for k in range(row, len(stops.owned), len(stops.reducing)):
            value_e8 = _value_e8(stops, instruments, k, mark_ticks_x2) if mark_ticks_x2 > 0 else as_int(0)
            stops.forgiven_e8[k] = max(stops.owned[k]["cost_e8"] - value_e8, as_int(0)) if value_e8 != 0 else as_int(0)
    return bool(before == 0 and word != 0)


@njit
def closes_only(stops: Stops, row: int) -> bool:
    """Whether all that may leave in an instrument closes what a stop, or somebody, wants closed."""
    return bool(stops.reducing[row] != 0 and stops.reducing[row] != _DIFFERING)


@njit
def refusal(stops: Stops, orders: Orders, limits: NDArray[Any], intents: NDArray[Any], i: int) -> RiskCode:
    """OK, or why the order in INTENT record `i` may not go out: it does not only reduce, or nothing says what a loss may be."""
    row, strategy, side = as_int(intents[i]["instrument"]), as_int(intents[i]["strategy"]), as_int(intents[i]["side"])
    if limits[row]["stop_loss_bp"] <= 0 or limits[row]["stop_action"] <= 0:
        return RiskCode.STOP_LOSS
    if stops.reducing[row] == 0:
        return RiskCode.OK
    reached_lots = side * stops.owned[strategy * len(stops.reducing) + row]["position_lots"] + intents[i]["qty_lots"]
    for n in range(orders.counts[row]):
        order = orders.rows[orders.members[row, n]]
        if order["strategy"] == strategy and order["side"] == side:
            reached_lots += order["leaves_lots"]
    if reached_lots <= 0:
        return RiskCode.OK
    return RiskCode.STOP_LOSS if stops.reducing[row] == _STOP_LOSS else RiskCode.REDUCE_ONLY_MODE
