"""Signals: say what a book and its trades suggest, as kernels that a strategy calls.

Prices are in ticks. The doubled mid is exact; the rest is float64, fit to steer a quote and never to be booked. What is
remembered lies in the first columns, those of `Signal`, of a float64 row for each instrument that begins as zeros: strategies
pass `view.floats` and have the columns from `SIGNALS` on for themselves. Time comes from the caller and is never negative.

The market maker is built on the mid, the microprice and the volatility. `imbalance` and `update_flow` are for strategies that
lean with the pressure in the book or in the trades.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

from numpy.typing import NDArray

from hft.book import Book, best_lots, best_ticks, level_lots, worse_ticks
from hft.records import Side
from shm.jit import njit

BUY, SELL = int(Side.BUY), int(Side.SELL)
_LN2 = math.log(2.0)
_NS_PER_S = 1e9


class Signal(IntEnum):
    """Columns of a signals row."""

    VARIANCE = 0  #: of the mid's relative return, a second
    MID_X2 = 1  #: bid + ask at MID_NS; 0 before the first
    MID_NS = 2
    FLOW_LOTS = 3  #: decayed sum of traded lots, bought by aggressors less sold
    VOLUME_LOTS = 4  #: decayed sum of traded lots
    TRADE_NS = 5


VARIANCE, MID_X2, MID_NS = int(Signal.VARIANCE), int(Signal.MID_X2), int(Signal.MID_NS)
FLOW_LOTS, VOLUME_LOTS, TRADE_NS = int(Signal.FLOW_LOTS), int(Signal.VOLUME_LOTS), int(Signal.TRADE_NS)

#: Columns that signals take of a row.
SIGNALS = len(Signal)


@njit
def mid_x2_ticks(book: Book) -> int:
    """Best bid plus best ask: twice the mid, exactly; 0 unless both are there."""
    bid, ask = best_ticks(book, BUY), best_ticks(book, SELL)
    return bid + ask if bid > 0 and ask > 0 else 0


@njit
def microprice_ticks(book: Book) -> float:
    """The mid weighted towards the side with less size, where the price is likelier to go; 0 unless both sides are there."""
    bid, ask = best_ticks(book, BUY), best_ticks(book, SELL)
    if bid <= 0 or ask <= 0:
        return 0.0
    bid_lots, ask_lots = float(best_lots(book, BUY)), float(best_lots(book, SELL))
    return (bid * ask_lots + ask * bid_lots) / (bid_lots + ask_lots)


@njit
def imbalance(book: Book, k: int) -> float:
    """(bid size - ask size) / (their sum) over the best `k` levels of each side, -1 to 1; 0 for an empty book."""
    bid_lots, ask_lots = _lots_within(book, BUY, k), _lots_within(book, SELL, k)
    total_lots = bid_lots + ask_lots
    return (bid_lots - ask_lots) / total_lots if total_lots > 0.0 else 0.0


@njit
def _lots_within(book: Book, side: int, k: int) -> float:
    lots = 0.0
    price_ticks = best_ticks(book, side)
    for _ in range(k):
        if price_ticks == 0:
            break
        lots += float(level_lots(book, side, price_ticks))
        price_ticks = worse_ticks(book, side, price_ticks)
    return lots


@njit
def _decay(elapsed_ns: float, half_life_ns: float) -> float:
    return math.exp(-_LN2 * elapsed_ns / half_life_ns)


@njit
def update_volatility(signals: NDArray[Any], instrument: int, mid_x2: int, now_ns: int, half_life_ns: float) -> None:
    """Take a mid into the moving variance of its relative return.

    Weights halve every `half_life_ns` of time, not of updates, so a burst of updates counts for no more than it lasted. A mid
    of 0 (a side is empty) or no later than the one before changes nothing: the next later one then spans both moves.
    """
    row = signals[instrument]
    elapsed_ns = float(now_ns) - row[MID_NS]
    if mid_x2 <= 0 or (row[MID_X2] > 0.0 and elapsed_ns <= 0.0):
        return
    if row[MID_X2] > 0.0:
        moved = float(mid_x2) / row[MID_X2] - 1.0
        kept = _decay(elapsed_ns, half_life_ns)
        row[VARIANCE] = kept * row[VARIANCE] + (1.0 - kept) * moved * moved / (elapsed_ns / _NS_PER_S)
    row[MID_X2] = float(mid_x2)
    row[MID_NS] = float(now_ns)


@njit
def volatility(signals: NDArray[Any], instrument: int) -> float:
    """Standard deviation of the mid's relative return over one second; over s seconds it is sqrt(s) times as much."""
    return math.sqrt(signals[instrument, VARIANCE])


@njit
def forget_mid(signals: NDArray[Any], instrument: int) -> None:
    """Take the next mid for the first: what moved until then was not seen. The variance stays."""
    signals[instrument, MID_X2] = 0.0


@njit
def update_flow(signals: NDArray[Any], instrument: int, side: int, qty_lots: int, now_ns: int, half_life_ns: float) -> float:
    """Take a trade of an aggressor on `side` into the flow; returns bought less sold over the sum of both, -1 to 1."""
    row = signals[instrument]
    kept = _decay(max(0.0, float(now_ns) - row[TRADE_NS]), half_life_ns)
    row[FLOW_LOTS] = kept * row[FLOW_LOTS] + float(side * qty_lots)
    row[VOLUME_LOTS] = kept * row[VOLUME_LOTS] + float(qty_lots)
    row[TRADE_NS] = max(row[TRADE_NS], float(now_ns))
    return row[FLOW_LOTS] / row[VOLUME_LOTS] if row[VOLUME_LOTS] > 0.0 else 0.0
