"""Breakers stop trading by themselves when too much happens in too little time; each takes what risk is told anyway.

    fee of a fill                           over the venue's schedule by more than the limit: its strategy is off
    what a strategy is filled for           much more than is usual for it: it is off
    fills and venue rejects of a strategy   more than the limit within the window: the strategy is off
    P&L of the firm                         below its peak, or its highest in the window, by more than the limit: the firm is off
    mid of an instrument                    moved by more than the limit within the window: its quotes are pulled, no new ones
    late intents of a strategy              more than the limit within the window: its quotes are pulled, no new ones

The first four stay tripped until somebody arms them (`rearm`); the stage sets the kill word of their scope. The last two open by
themselves when the window has passed. Times are those of the records, so a replay trips at the same record.

A window is looked at in slices: what is older than the window is forgotten at the latest a slice later, and never earlier.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.bounds import BASIS_POINTS
from hft.records import RiskCode
from hft.units import as_int
from shm.jit import njit

#: Slices of a window; one more is kept, so that the whole window always is.
SLICES = 16
_KEPT = SLICES + 1

# What is counted of a strategy.
FILLS, REJECTS, LATE = range(3)

# Columns of Breakers.pnl and .mids: the number of a slice, -1 for none, and the extremes in it.
_SLICE, _HIGH, _LOW = range(3)

# Cells of Breakers.words. BEGUN: 1 once a P&L is known. ANY_TRIP, ANY_PULL: 1 while nobody has acted on the newest.
_BEGUN, _PEAK_PNL_E8, _LAST_PNL_E8, _NEWEST_NS, ANY_TRIP, ANY_PULL = range(6)

# Columns of Breakers.moves: the newest mid, its slice, and the range over the window as of then. WILD: it is too wide. PULL: it has
# just become so, and nobody has pulled the quotes yet.
_MID, _MOVE_SLICE, _MOVE_HIGH, _MOVE_LOW, WILD, PULL = range(6)

_REPEATED_EXECUTION, _REJECT_STORM = int(RiskCode.REPEATED_EXECUTION), int(RiskCode.REJECT_STORM)
_FEE_SANITY, _FILL_RATE_ANOMALY = int(RiskCode.FEE_SANITY), int(RiskCode.FILL_RATE_ANOMALY)
_DRAWDOWN, _LOSS_RATE = int(RiskCode.DRAWDOWN), int(RiskCode.LOSS_RATE)


class Breakers(NamedTuple):
    """State of all breakers; made by `new_breakers`. Limits are read from the rows of LIMITS and FIRM_LIMITS at each use."""

    fills_ns: NDArray[Any]  #: [strategy, k]: when its newest fills were reported; a circle
    rejects_ns: NDArray[Any]  #: the same of venue rejects
    late_ns: NDArray[Any]  #: the same of late intents
    counts: NDArray[Any]  #: [strategy, FILLS, REJECTS or LATE]: how many there were
    late_until_ns: NDArray[Any]  #: strategy -> until when it is paused because of late intents
    pnl: NDArray[Any]  #: [slice, column]: highest P&L of the firm, 1e-8 base currency
    mids: NDArray[Any]  #: [instrument, slice, column]: bid + ask in ticks
    moves: NDArray[Any]  #: [instrument, column]
    words: NDArray[Any]
    tripped: NDArray[Any]  #: strategy, then the firm -> RiskCode of the breaker that tripped first, 0 if none did


def new_breakers(instruments: int, strategies: int, firm: NDArray[Any]) -> Breakers:
    """Breakers that nothing has tripped. Circles are as long as the counts in the FIRM_LIMITS row `firm`, which may only be tightened."""
    breakers = Breakers(
        fills_ns=np.zeros((strategies, int(firm[0]["fills_max"])), np.int64),
        rejects_ns=np.zeros((strategies, int(firm[0]["rejects_max"])), np.int64),
        late_ns=np.zeros((strategies, int(firm[0]["late_max"])), np.int64),
        counts=np.zeros((strategies, 3), np.int64),
        late_until_ns=np.zeros(strategies, np.int64),
        pnl=np.zeros((_KEPT, 3), np.int64),
        mids=np.zeros((instruments, _KEPT, 3), np.int64),
        moves=np.zeros((instruments, 6), np.int64),
        words=np.zeros(6, np.int64),
        tripped=np.zeros(strategies + 1, np.int64),
    )
    breakers.pnl[:, _SLICE] = breakers.mids[:, :, _SLICE] = breakers.moves[:, _MOVE_SLICE] = -1
    return breakers


@njit
def note_fill(breakers: Breakers, firm: NDArray[Any], strategy: int, at_ns: int) -> None:
    """A strategy was filled."""
    if _is_too_often(breakers.fills_ns, breakers.counts, FILLS, strategy, at_ns, firm[0]["fills_max"], firm[0]["fills_window_ns"]):
        _trip(breakers, strategy, _REPEATED_EXECUTION)


@njit
def note_reject(breakers: Breakers, firm: NDArray[Any], strategy: int, at_ns: int) -> None:
    """The venue rejected an order of a strategy."""
    if _is_too_often(breakers.rejects_ns, breakers.counts, REJECTS, strategy, at_ns, firm[0]["rejects_max"], firm[0]["rejects_window_ns"]):
        _trip(breakers, strategy, _REJECT_STORM)


@njit
def note_fee(breakers: Breakers, strategy: int) -> None:
    """A strategy was filled at a fee that the venue's schedule does not explain."""
    if 0 <= strategy < len(breakers.counts):
        _trip(breakers, strategy, _FEE_SANITY)


@njit
def note_fill_rate(breakers: Breakers, strategy: int) -> None:
    """A strategy was filled for much more than is usual."""
    _trip(breakers, strategy, _FILL_RATE_ANOMALY)


@njit
def note_late(breakers: Breakers, firm: NDArray[Any], strategy: int, at_ns: int) -> bool:
    """An intent of a strategy was late; whether that begins a pause."""
    window_ns = firm[0]["late_window_ns"]
    if not _is_too_often(breakers.late_ns, breakers.counts, LATE, strategy, at_ns, firm[0]["late_max"], window_ns):
        return False
    begins = at_ns >= breakers.late_until_ns[strategy]
    breakers.late_until_ns[strategy] = at_ns + window_ns
    return bool(begins)


@njit
def is_late(breakers: Breakers, firm: NDArray[Any], strategy: int, now_ns: int) -> bool:
    """Whether a strategy is paused because of late intents, or nothing says what that is."""
    row = firm[0]
    unset = row["late_after_ns"] <= 0 or row["late_max"] <= 0 or row["late_window_ns"] <= 0
    return bool(unset or now_ns < breakers.late_until_ns[strategy])


@njit
def _is_too_often(times_ns: NDArray[Any], counts: NDArray[Any], what: int, strategy: int, at_ns: int, limit: int, window_ns: int) -> bool:
    """Remember one more; whether the one that many before it, the limit, is within the window."""
    if strategy < 0 or strategy >= len(counts):
        return False
    length, count = times_ns.shape[1], counts[strategy, what]
    back = max(min(limit, length), 1)
    before_ns = times_ns[strategy, (count - back) % length] if count >= back else at_ns - window_ns - 1
    times_ns[strategy, count % length] = at_ns
    counts[strategy, what] = count + 1
    return at_ns - before_ns <= window_ns


@njit
def _trip(breakers: Breakers, scope: int, code: int) -> None:
    if breakers.tripped[scope] == 0:
        breakers.tripped[scope] = code
        breakers.words[ANY_TRIP] = 1


@njit
def note_pnl(breakers: Breakers, firm: NDArray[Any], pnl_e8: int, at_ns: int) -> None:
    """The firm's P&L is known to be this, in 1e-8 of the base currency. The first one is where losses are counted from."""
    words = breakers.words
    if words[_BEGUN] == 0:
        words[_BEGUN] = 1
        words[_PEAK_PNL_E8] = words[_LAST_PNL_E8] = pnl_e8
    last_e8 = words[_LAST_PNL_E8]
    if pnl_e8 == last_e8:
        return
    words[_LAST_PNL_E8] = pnl_e8
    words[_PEAK_PNL_E8] = max(words[_PEAK_PNL_E8], pnl_e8)
    scope = len(breakers.tripped) - 1
    if words[_PEAK_PNL_E8] - pnl_e8 > firm[0]["drawdown_max_e8"]:
        _trip(breakers, scope, _DRAWDOWN)
    # Reports and marks come from several stages: a late one counts as of the newest.
    words[_NEWEST_NS] = max(words[_NEWEST_NS], at_ns)
    number = as_int(words[_NEWEST_NS] * SLICES // max(firm[0]["loss_rate_window_ns"], 1))
    # What it was before held until now.
    _widen(breakers.pnl, number, max(pnl_e8, last_e8), min(pnl_e8, last_e8))
    if _range(breakers.pnl, number)[0] - pnl_e8 > firm[0]["loss_rate_max_e8"]:
        _trip(breakers, scope, _LOSS_RATE)


@njit
def note_mid(breakers: Breakers, limits: NDArray[Any], row: int, mid_ticks_x2: int, at_ns: int) -> None:
    """An instrument's mid is this, as bid + ask; both must be below 2^47 ticks."""
    move = breakers.moves[row]
    last_x2 = move[_MID] if move[_MID] > 0 else mid_ticks_x2
    number = as_int(at_ns * SLICES // max(limits[row]["move_window_ns"], 1))
    _widen(breakers.mids[row], number, max(mid_ticks_x2, last_x2), min(mid_ticks_x2, last_x2))
    if number != move[_MOVE_SLICE]:
        move[_MOVE_SLICE] = number
        move[_MOVE_HIGH], move[_MOVE_LOW] = _range(breakers.mids[row], number)
    move[_MOVE_HIGH] = max(move[_MOVE_HIGH], mid_ticks_x2, last_x2)
    move[_MOVE_LOW] = min(move[_MOVE_LOW], mid_ticks_x2, last_x2)
    move[_MID] = mid_ticks_x2
    wild = as_int((move[_MOVE_HIGH] - move[_MOVE_LOW]) * BASIS_POINTS > move[_MOVE_LOW] * limits[row]["move_max_bp"])
    if wild > move[WILD]:
        move[PULL] = breakers.words[ANY_PULL] = 1
    move[WILD] = wild


@njit
def _widen(slices: NDArray[Any], number: int, high: int, low: int) -> None:
    """Note extremes in the slice with this number; numbers never fall."""
    part = slices[number % _KEPT]
    if part[_SLICE] != number:
        part[_SLICE], part[_HIGH], part[_LOW] = number, high, low
    part[_HIGH] = max(part[_HIGH], high)
    part[_LOW] = min(part[_LOW], low)


@njit
def _range(slices: NDArray[Any], number: int) -> tuple[int, int]:
    """Highest and lowest of the window that ends in the slice with this number, which has been noted."""
    here = slices[number % _KEPT]
    high, low = here[_HIGH], here[_LOW]
    for k in range(_KEPT):
        if slices[k, _SLICE] >= max(number - SLICES, 0):
            high, low = max(high, slices[k, _HIGH]), min(low, slices[k, _LOW])
    return high, low


def carry(breakers: Breakers, firm: NDArray[Any]) -> dict[str, Any]:
    """What a later epoch goes on with, as JSON takes it."""
    row, found = firm[0], {}
    for name, what in (("fills", FILLS), ("rejects", REJECTS)):
        circles = getattr(breakers, f"{name}_ns")
        found[f"{name}_ns"] = [
            _within(circle, count, row[f"{name}_window_ns"]) for circle, count in zip(circles, breakers.counts[:, what], strict=True)
        ]
    slices = [int(row["loss_rate_window_ns"]), breakers.pnl.tolist()]
    return found | {"tripped": breakers.tripped.tolist(), "pnl": breakers.words[:ANY_TRIP].tolist(), "pnl_slices": slices}


def _within(circle: NDArray[Any], count: int, window_ns: int) -> list[int]:
    """The times in a circle, oldest first, that are in the window of the newest."""
    times_ns = circle[:count] if count < len(circle) else np.roll(circle, -(count % len(circle)))
    return list(times_ns[times_ns >= times_ns.max(initial=0) - window_ns].tolist())


def resume(breakers: Breakers, firm: NDArray[Any], carried: dict[str, Any], same_clock: bool) -> None:
    """Go on with what `carry` gave, without its times if they are of another clock. A trip is told again: whoever was to act on it may be gone."""
    words, (window_ns, slices) = breakers.words, carried["pnl_slices"]
    breakers.tripped[:] = carried["tripped"]
    words[:ANY_TRIP] = carried["pnl"]
    words[ANY_TRIP] = breakers.tripped.any()
    if not same_clock:
        words[_NEWEST_NS] = 0
        return
    if window_ns == firm[0]["loss_rate_window_ns"]:
        breakers.pnl[:] = slices
    for name, what in (("fills", FILLS), ("rejects", REJECTS)):
        for circle, counts, times_ns in zip(getattr(breakers, f"{name}_ns"), breakers.counts, carried[f"{name}_ns"], strict=True):
            newest = times_ns[-len(circle) :]
            circle[: len(newest)], counts[what] = newest, len(newest)


@njit
def rearm(breakers: Breakers, scope: int) -> None:
    """A scope may trade again: what was counted before is forgotten. Scopes are strategies, then the firm."""
    breakers.tripped[scope] = 0
    if scope < len(breakers.counts):
        breakers.counts[scope] = 0
        return
    breakers.words[_PEAK_PNL_E8] = breakers.words[_LAST_PNL_E8]
    breakers.pnl[:, _SLICE] = -1


@njit
def standing(breakers: Breakers, firm: NDArray[Any], strategy: int) -> RiskCode:
    """OK, or the breaker that tripped for a strategy or for the firm, or that has no limit: what is not set stops everything."""
    own, all_ = breakers.tripped[strategy], breakers.tripped[len(breakers.counts)]
    row = firm[0]
    if own == _REPEATED_EXECUTION or row["fills_max"] <= 0 or row["fills_window_ns"] <= 0:
        return RiskCode.REPEATED_EXECUTION
    if own == _REJECT_STORM or row["rejects_max"] <= 0 or row["rejects_window_ns"] <= 0:
        return RiskCode.REJECT_STORM
    if own == _FEE_SANITY or row["fee_max_percent"] <= 0:
        return RiskCode.FEE_SANITY
    if own == _FILL_RATE_ANOMALY or row["filled_expected_e8"] <= 0 or row["filled_max_percent"] <= 0 or row["filled_window_ns"] <= 0:
        return RiskCode.FILL_RATE_ANOMALY
    if all_ == _DRAWDOWN or row["drawdown_max_e8"] <= 0:
        return RiskCode.DRAWDOWN
    if all_ == _LOSS_RATE or row["loss_rate_max_e8"] <= 0 or row["loss_rate_window_ns"] <= 0:
        return RiskCode.LOSS_RATE
    return RiskCode.OK


@njit
def is_wild(breakers: Breakers, limits: NDArray[Any], row: int) -> bool:
    """Whether an instrument's mid moves too much to be quoted, or nothing says how much that is."""
    return breakers.moves[row, WILD] != 0 or limits[row]["move_max_bp"] <= 0 or limits[row]["move_window_ns"] <= 0
