"""Counting: what of a report the breakers count, and how an epoch goes on with what earlier ones have counted.

A restart forgives nothing: fills, rejects and messages in a window, what is usual, the P&L's peak and what has tripped are carried over, and so is
what somebody has forgiven: the loss that a stop-loss had when it was armed. Late intents and wild mids are not: what they stop begins again by itself.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

from hft import breakers, fill_rate, messages
from hft.breakers import Breakers, new_breakers, note_fee, note_fill, note_fill_rate, note_reject, rearm
from hft.fees import is_over_schedule
from hft.fill_rate import FillRate, forget, new_fill_rate, note_filled
from hft.messages import Messages, new_messages, note_message_filled
from hft.records import ExecutionCode, ReportKind, VenueReason
from hft.stops import Stops
from hft.units import E8, as_int, mul_div_half_even, mul_saturated
from shm.jit import njit


class Counted(NamedTuple):
    """What is counted of all strategies and the firm."""

    breakers: Breakers
    messages: Messages
    filled: FillRate


def new_counted(instruments: int, strategies: int, firm: NDArray[Any]) -> Counted:
    """Nothing has been counted; `firm` is the row of FIRM_LIMITS."""
    return Counted(new_breakers(instruments, strategies, firm), new_messages(strategies), new_fill_rate(strategies))


@njit
def to_base_e8(amount_e8: int, rate_e8: int) -> int:
    """An amount in 1e-8 quote at this rate, in 1e-8 base currency."""
    return as_int(amount_e8) if rate_e8 == E8 else as_int(mul_div_half_even(amount_e8, rate_e8, E8)[0])


@njit
def count_report(counted: Counted, instruments: NDArray[Any], firm: NDArray[Any], reports: NDArray[Any], i: int) -> None:
    """Count REPORT record `i`, of a known instrument, if it is a fill or says that something was wrong with an order."""
    at_ns, strategy, kind = reports[i]["reported_ns"], as_int(reports[i]["strategy"]), as_int(reports[i]["kind"])
    if kind == ReportKind.TRADE:
        note_fill(counted.breakers, firm, strategy, at_ns)
        note_message_filled(counted.messages, firm, strategy, at_ns)
        if is_over_schedule(instruments, reports, i, firm[0]["fee_max_percent"]):
            note_fee(counted.breakers, strategy)
        if note_filled(counted.filled, firm, strategy, _filled_e8(instruments, reports, i), at_ns):
            note_fill_rate(counted.breakers, strategy)
    elif kind == ReportKind.REJECTED and _is_wrong(as_int(reports[i]["reason"])):
        note_reject(counted.breakers, firm, strategy, at_ns)


@njit
def _filled_e8(instruments: NDArray[Any], reports: NDArray[Any], i: int) -> int:
    """What the fill in REPORT record `i` was worth in 1e-8 base currency; without a rate nothing new is sent, as of MAX_GROSS."""
    instrument = instruments[as_int(reports[i]["instrument"])]
    ticklots = mul_saturated(reports[i]["last_price_ticks"], reports[i]["last_lots"])
    return to_base_e8(mul_div_half_even(ticklots, instrument["ticklot_num"], instrument["ticklot_den"])[0], instrument["base_rate_e8"])


@njit
def _is_wrong(reason: int) -> bool:
    """Whether a rejection says so: a closed market does not, nor an order that must only rest when the market moved."""
    return reason != VenueReason.MARKET_CLOSED and reason != VenueReason.WOULD_TAKE and reason != ExecutionCode.POST_ONLY_WOULD_TAKE


def carry(counted: Counted, firm: NDArray[Any]) -> dict[str, Any]:
    """What a later epoch goes on with, as JSON takes it; times are of CLOCK_MONOTONIC, slices of the windows in FIRM_LIMITS row `firm`."""
    return {
        "breakers": breakers.carry(counted.breakers, firm),
        "messages": messages.carry(counted.messages, firm),
        "filled": fill_rate.carry(counted.filled, firm),
    }


def resume(counted: Counted, firm: NDArray[Any], carried: dict[str, Any], same_clock: bool = True) -> None:
    """Go on with what `carry` gave. On another clock (the host has been started since) windows begin anew, as those do that have another
    length now; peak, trips and what is usual stay."""
    breakers.resume(counted.breakers, firm, carried["breakers"], same_clock)
    messages.resume(counted.messages, firm, carried["messages"], same_clock)
    fill_rate.resume(counted.filled, firm, carried["filled"], same_clock)


def carry_forgiven(stops: Stops) -> list[list[int]]:
    """Of each row of `Stops` that has a loss which somebody armed: the row, that loss, and how many fills its position had by then."""
    rows = stops.forgiven_e8.nonzero()[0].tolist()
    return [[k, int(stops.forgiven_e8[k]), int(stops.owned[k]["fills"])] for k in rows]


def resume_forgiven(stops: Stops, carried: list[list[int]]) -> None:
    """Go on with what `carry_forgiven` gave. A fill since may have ended a position, and what was forgiven with it: nothing is then."""
    for k, forgiven_e8, fills in carried:
        if stops.owned[k]["fills"] == fills:
            stops.forgiven_e8[k] = forgiven_e8


def arm_tripped(counted: Counted) -> None:
    """Somebody has armed everything: what tripped may trade again."""
    for scope in counted.breakers.tripped.nonzero()[0].tolist():
        rearm(counted.breakers, scope)
        if scope < len(counted.filled.newest):
            forget(counted.filled, scope)
