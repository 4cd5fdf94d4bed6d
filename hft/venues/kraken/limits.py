"""Kraken limits: the trading engine's counter of each pair, in kernels.

The counter rises with each request and falls all the time; a new order or an amendment that would lift it over the maximum is refused,
a cancel only lifts it. What a request costs goes by the age of its order. Ages are not known here, so each is taken as the youngest.
So the counter kept here is never below the venue's, as long as nobody else trades the pair with this account; and not above it for
long, for each execution of the pair tells the venue's own, which then takes its place (`ratecounter`, in `private.py`). Cancels
are never refused, so they may lift it to the top; amendments leave the most, because they cost the most and a strategy that moves its
quotes would use up whatever it is given: so new orders can still leave after a restart, which cancels what worked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.records import IntentKind
from shm.jit import njit

#: tier -> (maximum, fall a second in thousandths), as the venue documents
TIERS = {"starter": (60, 1000), "intermediate": (125, 2340), "pro": (180, 3750)}

#: How full new orders and amendments may make the counter, in per cent.
NEW_PERCENT, AMEND_PERCENT = 90, 60

#: Units: a new order; an amendment and a cancel of an order younger than 5 s.
NEW_UNITS, AMEND_UNITS, CANCEL_UNITS = 1, 4, 8

#: Columns of the limits' array; counters in billionths, so that thousandths a second are thousandths of one a nanosecond.
COUNTER, FELL_NS, MAXIMUM, FALL = range(4)

_UNIT = 1_000_000_000
_NEW, _REPLACE = int(IntentKind.NEW), int(IntentKind.REPLACE)
_CANCEL, _CANCEL_ALL = int(IntentKind.CANCEL), int(IntentKind.CANCEL_ALL)


def new_limits(instruments: int, tier: str = "starter") -> NDArray[np.int64]:
    """The counters by instrument row, at 0. Raises ValueError for an unknown tier."""
    if tier not in TIERS:
        raise ValueError(f"tier: expected one of {tuple(TIERS)}, was {tier!r}")
    limits = np.zeros((instruments, 4), np.int64)
    limits[:, MAXIMUM] = TIERS[tier][0] * _UNIT
    limits[:, FALL] = TIERS[tier][1]
    return limits


@njit
def _fall(limits: NDArray[Any], row: int, now_ns: int) -> None:
    # A longer time empties the counter in any case, and its product would not fit.
    elapsed_ns = min(max(now_ns - limits[row, FELL_NS], 0), 3600 * _UNIT)
    limits[row, COUNTER] = max(limits[row, COUNTER] - elapsed_ns * limits[row, FALL] // 1000, 0)
    limits[row, FELL_NS] = now_ns


@njit
def _units(kind: int) -> int:
    if kind == _REPLACE:
        return AMEND_UNITS
    return NEW_UNITS if kind == _NEW else CANCEL_UNITS


@njit
def may_send_within(limits: NDArray[Any], kind: int, row: int, now_ns: int) -> int:
    """How many ns to wait before a request of IntentKind `kind` may leave; 0: none. The venue refuses no cancel for its counter."""
    if kind == _CANCEL or kind == _CANCEL_ALL:
        return 0
    _fall(limits, row, now_ns)
    room = limits[row, MAXIMUM] * (AMEND_PERCENT if kind == _REPLACE else NEW_PERCENT) // 100
    over = limits[row, COUNTER] + _units(kind) * _UNIT - room
    return 0 if over <= 0 else over * 1000 // limits[row, FALL] + 1


@njit
def note_sent_within(limits: NDArray[Any], kind: int, row: int, now_ns: int) -> None:
    """Count such a request."""
    _fall(limits, row, now_ns)
    limits[row, COUNTER] += _units(kind) * _UNIT


@njit
def learn(limits: NDArray[Any], row: int, now_ns: int) -> None:
    """The venue refused a request of the pair for its counter: it is full."""
    _fall(limits, row, now_ns)
    limits[row, COUNTER] = max(limits[row, COUNTER], limits[row, MAXIMUM])
