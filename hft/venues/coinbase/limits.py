"""Coinbase limits: the venue's request rates as token buckets, in kernels.

Private REST allows 15 requests a second of a profile, 30 at once; over that comes a 429. The profile is shared: execution sends orders
and asks questions, the guardian cancels. Each has a slice; the orders' slice keeps a part that only cancels may use. Public REST, of which
the feed asks level 3 snapshots, is counted by address: 10 a second, 15 at once. A product takes 500 open orders, far over any
`open_orders_max`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.records import IntentKind
from shm.jit import njit

PRIVATE_PER_S, PRIVATE_AT_ONCE = 15, 30
PUBLIC_PER_S, PUBLIC_AT_ONCE = 10, 15
OPEN_ORDERS_MAX = 500

#: Slices of the private rate, in per cent: order requests, execution's questions, the guardian.
ORDERS_PERCENT, QUESTIONS_PERCENT, GUARDIAN_PERCENT = 55, 15, 30
#: Part of the orders' bucket that only cancels may use, in per cent.
CANCELS_PERCENT = 40
#: Slice of the public rate that is the feed's.
FEED_PERCENT = 70

#: How long nothing is sent after a 429.
THROTTLED_NS = 1_000_000_000

# Cells of the limits' array. Tokens count in billionths, so that a rate a second is tokens a nanosecond.
TOKENS, REFILLED_NS, BLOCKED_NS, PER_S, AT_ONCE, CANCELS = range(6)
LIMIT_CELLS = 8

_TOKEN = 1_000_000_000
_CANCEL, _CANCEL_ALL = int(IntentKind.CANCEL), int(IntentKind.CANCEL_ALL)


def new_limits() -> NDArray[np.int64]:
    """The orders' bucket, full; rates in thousandths."""
    limits = np.zeros(LIMIT_CELLS, np.int64)
    limits[PER_S] = PRIVATE_PER_S * ORDERS_PERCENT * 10
    limits[AT_ONCE] = PRIVATE_AT_ONCE * ORDERS_PERCENT * _TOKEN // 100
    limits[CANCELS] = limits[AT_ONCE] * CANCELS_PERCENT // 100
    limits[TOKENS] = limits[AT_ONCE]
    return limits


@njit
def refill(limits: NDArray[Any], now_ns: int) -> None:
    """Add what came since the last look."""
    # A longer time fills the bucket in any case, and its product would not fit.
    elapsed_ns = min(max(now_ns - limits[REFILLED_NS], 0), 60 * _TOKEN)
    limits[TOKENS] = min(limits[TOKENS] + elapsed_ns * limits[PER_S] // 1000, limits[AT_ONCE])
    limits[REFILLED_NS] = now_ns


@njit
def may_send_within(limits: NDArray[Any], kind: int, now_ns: int) -> int:
    """How many ns to wait before a request of IntentKind `kind` may leave; 0: none."""
    refill(limits, now_ns)
    if now_ns < limits[BLOCKED_NS]:
        return limits[BLOCKED_NS] - now_ns
    least = _TOKEN if kind == _CANCEL or kind == _CANCEL_ALL else _TOKEN + limits[CANCELS]
    missing = least - limits[TOKENS]
    return 0 if missing <= 0 else missing * 1000 // limits[PER_S] + 1


@njit
def note_sent_within(limits: NDArray[Any], now_ns: int) -> None:
    """Count one request."""
    refill(limits, now_ns)
    limits[TOKENS] = max(limits[TOKENS] - _TOKEN, 0)


@njit
def learn(limits: NDArray[Any], status: int, now_ns: int) -> None:
    """Learn from an answer's status: after a 429 nothing is sent for a while."""
    if status == 429:
        refill(limits, now_ns)
        limits[TOKENS] = 0
        limits[BLOCKED_NS] = now_ns + THROTTLED_NS
