"""Peers are the rows of the same pair at other venues: what an instrument's mid is compared with.

Mids of different ticks are compared as prices in 1e-12 quote, exactly. A peer counts while its book is valid, two-sided and no older
than its own limit; an instrument that has peers, none of which counts, has nothing that vouches for its price.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.bounds import BASIS_POINTS, ConfigBoundsError
from hft.units import WIDE, as_int, mul_div_half_even, mul_saturated
from shm.jit import njit

_DECIMALS = 12


class Peers(NamedTuple):
    """Which rows are of one pair, and what their ticks are worth; made by `new_peers`."""

    rows: NDArray[Any]  #: [instrument, k] -> row of its k-th peer; -1 after the last
    tick_e12: NDArray[Any]  #: instrument -> one tick in 1e-12 quote


def new_peers(instruments: NDArray[Any]) -> Peers:
    """The peers among INSTRUMENT rows. Raises ConfigBoundsError for a tick with more than 12 decimals."""
    found = [
        [other for other in range(len(instruments)) if _are_peers(instruments[row], instruments[other])] for row in range(len(instruments))
    ]
    rows = np.full((len(instruments), 1 + max(len(others) for others in found)), -1, np.int64)
    for row, others in enumerate(found):
        rows[row, : len(others)] = others
    if int(instruments["price_decimals"].max()) > _DECIMALS:
        raise ConfigBoundsError(f"a tick has more than {_DECIMALS} decimals: {instruments['price_decimals'].tolist()}")
    return Peers(rows, np.array([int(i["tick_units"]) * 10 ** (_DECIMALS - int(i["price_decimals"])) for i in instruments], np.int64))


def _are_peers(one: Any, other: Any) -> bool:
    pair = one["base_asset"] == other["base_asset"] and one["quote_asset"] == other["quote_asset"]
    return bool(pair and one["venue"] != other["venue"])


@njit
def price_e12_x2(peers: Peers, row: int, mid_ticks_x2: int) -> int:
    """Twice a mid as a price in 1e-12 quote; WIDE when it is out of range."""
    return mul_saturated(mid_ticks_x2, peers.tick_e12[row])


@njit
def diverge(one: int, other: int, max_bp: int) -> bool:
    """Whether two positive prices are further apart than so many basis points of the lower one; also when one is out of range."""
    if one >= WIDE or other >= WIDE:
        return True
    most, rest = mul_div_half_even(min(one, other), max_bp, BASIS_POINTS)
    over = as_int(abs(one - other)) - most
    return bool(over > 0 or (over == 0 and rest < 0))
