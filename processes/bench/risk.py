"""Risk bench: times every check on one intent, with 32 of the firm's orders working in the instrument.

    top -> [clock] check [clock] -> refused? counted : timed

Goals: the distribution over single intents that pass all controls, so that every control runs; clock and check in one kernel.
Not goals: the stage around it (rings, journal), refusals (they return early), cold caches.

The clock's own cost is measured in the same run by two readings with nothing between them; rounds alternate, and the median
round counts. `over_clock_p99_ns` is the 99th percentile of the check less the median of the clock.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.funds import BASE, QUOTE, SAID, begin
from hft.orders import order_id
from hft.records import (
    FIRM_LIMITS,
    INSTRUMENT,
    INTENT,
    LIMITS,
    MARKET,
    REPORT,
    IntentKind,
    MarketKind,
    ReportKind,
    RiskCode,
    Side,
    StopAction,
    TimeInForce,
)
from hft.risk import RiskState, apply_report, approve, check, new_state, on_top
from hft.units import E8
from processes.bench.report import finish
from shm.clock import monotonic_ns
from shm.jit import njit

WORKING = 32
INSTRUMENTS = 4

_EPOCH = 1
_BID, _ASK = 6_000_000, 6_000_010
_NOW_NS = 10_000_000_000
_UTC_NS = 1_800_000_000_000_000_000
_PERCENTILES = {"p50_ns": 50.0, "p90_ns": 90.0, "p99_ns": 99.0, "p999_ns": 99.9}


def account(working: int = WORKING) -> RiskState:
    """A firm with a position and `working` orders on both sides in instrument 0, and something in each other one."""
    instruments, limits, firm = np.zeros(INSTRUMENTS, INSTRUMENT), np.zeros(INSTRUMENTS, LIMITS), np.zeros(1, FIRM_LIMITS)
    for fields in (
        {"tick_units": 1, "lot_units": 1, "price_decimals": 2, "qty_decimals": 5, "ticklot_num": 10, "ticklot_den": 1},
        {"lot_e8_num": 1000, "lot_e8_den": 1, "price_ticks_min": 1, "price_ticks_max": 100_000_000, "trading": 1},
        {"qty_lots_min": 1, "qty_lots_max": 900_000_000, "notional_min_e8": 5 * E8, "base_rate_e8": 99_990_000},
    ):
        for name, value in fields.items():
            instruments[name] = value
    for name in ("order_qty_max_lots", "position_max_lots", "open_orders_max"):
        limits[name] = 10_000_000
    limits["order_notional_max_e8"] = 25_000 * E8
    limits["collar_passive_bp"], limits["collar_through_bp"] = 50, 20
    limits["book_age_max_ns"], limits["duplicate_window_ns"] = 500_000_000, 250_000_000
    firm["gross_max_e8"] = firm["net_max_e8"] = firm["daily_loss_max_e8"] = 10_000_000 * E8
    firm["concentration_max_percent"] = 100
    firm["intent_age_max_ns"] = firm["send_age_max_ns"] = 50_000_000
    firm["strategy_rate_per_s"] = firm["firm_rate_per_s"] = 1000
    limits["move_max_bp"], limits["move_window_ns"] = 300, 60_000_000_000
    limits["stop_loss_bp"], limits["stop_action"] = 500, StopAction.HOLD
    limits["divergence_max_bp"], limits["closed_pause_ns"] = 100, 5_000_000_000
    limits["reference_max_bp"], limits["reference_window_ns"] = 200, 300_000_000_000
    firm["messages_per_fill_max"], firm["messages_window_ns"], firm["fee_max_percent"] = 500, 300_000_000_000, 200
    firm["clock_offset_max_ns"] = 250_000_000
    firm["filled_expected_e8"], firm["filled_max_percent"], firm["filled_window_ns"] = 100_000 * E8, 500, 60_000_000_000
    firm["drawdown_max_e8"] = firm["loss_rate_max_e8"] = 10_000_000 * E8
    firm["fills_max"] = firm["rejects_max"] = firm["unknown_orders_max"] = firm["late_max"] = 1000
    for name in ("fills_window_ns", "rejects_window_ns", "loss_rate_window_ns", "late_window_ns", "late_after_ns"):
        firm[name] = 60_000_000_000
    state = new_state(instruments, limits, firm, venues=1, strategies=1, epoch=_EPOCH)
    state.approved[:] = 1
    state.allowed[:] = 1
    state.funds.known[:] = SAID
    for row in range(INSTRUMENTS):
        begin(state.funds, instruments, row, BASE, 1_000_000 * E8)
        begin(state.funds, instruments, row, QUOTE, 1_000_000 * E8)
    _trade(state, working)
    return state


def _trade(state: RiskState, working: int) -> None:
    market, intents, reports = np.zeros(1, MARKET), _intents(1), np.zeros(1, REPORT)
    market[0]["price_ticks"], market[0]["ask_ticks"], market[0]["received_ns"] = _BID, _ASK, _NOW_NS
    market[0]["exchange_ns"] = _UTC_NS + _NOW_NS
    counter = 0
    for row in range(INSTRUMENTS):
        market[0]["instrument"] = intents[0]["instrument"] = reports[0]["instrument"] = row
        for kind in (MarketKind.VALID, MarketKind.TOP, MarketKind.CLOCK):
            market[0]["kind"] = kind
            on_top(state, market, 0)
        # Two, so that the average of the last trades is no trade's price.
        for market[0]["price_ticks"] in (_ASK, _BID):
            market[0]["kind"] = MarketKind.TRADE
            on_top(state, market, 0)
        for n in range(1 + (working if row == 0 else 1)):
            side = Side.BUY if n % 2 == 0 else Side.SELL
            intents[0]["order_id"], intents[0]["side"] = order_id(_EPOCH, 0, counter), side
            intents[0]["price_ticks"] = (_BID if side == Side.BUY else _ASK) - int(side) * (20 + n)
            if check(state, intents, 0, _NOW_NS) != RiskCode.OK:
                raise AssertionError(f"order {counter} of the set-up was refused")
            approve(state, intents, 0, _NOW_NS)
            counter += 1
            if n == 0:
                for field, value in {"kind": ReportKind.TRADE, "side": side, "last_lots": 1000, "cum_lots": 1000, "trade_id": 1}.items():
                    reports[0][field] = value
                reports[0]["order_id"], reports[0]["qty_lots"], reports[0]["last_price_ticks"] = intents[0]["order_id"], 1000, _BID
                apply_report(state, reports, 0)


def _intents(count: int) -> NDArray[Any]:
    """Intents of 0.01 on alternating sides, none of which repeats or crosses another."""
    intents = np.zeros(count, INTENT)
    intents["kind"], intents["tif"], intents["qty_lots"], intents["decided_ns"] = IntentKind.NEW, TimeInForce.GTC, 1000, _NOW_NS
    numbers = np.arange(count)
    intents["order_id"] = order_id(_EPOCH, 0, 1000) + numbers
    intents["side"] = np.where(numbers % 2 == 0, Side.BUY, Side.SELL)
    intents["price_ticks"] = np.where(numbers % 2 == 0, _BID - numbers % 19, _ASK + numbers % 19)
    return intents


@njit
def time_checks(state: RiskState, intents: NDArray[Any], market: NDArray[Any], spans_ns: NDArray[Any], start_ns: int) -> int:
    """Check each intent after a new top; fill `spans_ns` and return how many were refused."""
    refused = 0
    for n in range(len(spans_ns)):
        i = n % len(intents)
        now_ns = start_ns + n % 1000
        market[0]["price_ticks"] = _BID - n % 3
        market[0]["received_ns"] = now_ns
        on_top(state, market, 0)
        began_ns = monotonic_ns()
        code = check(state, intents, i, now_ns)
        spans_ns[n] = monotonic_ns() - began_ns
        refused += code != RiskCode.OK
    return refused


@njit
def time_clock(spans_ns: NDArray[Any]) -> None:
    """Fill `spans_ns` with what two readings of the clock cost."""
    for n in range(len(spans_ns)):
        began_ns = monotonic_ns()
        spans_ns[n] = monotonic_ns() - began_ns


def run(rounds: int = 7, intents: int = 100_000) -> dict[str, Any]:
    """Run the bench: `rounds` alternations of clock and check over `intents` intents each."""
    state, records, market = account(), _intents(256), np.zeros(1, MARKET)
    market[0]["kind"], market[0]["ask_ticks"] = MarketKind.TOP, _ASK
    spans_ns = np.zeros(intents, np.int64)
    clock: list[dict[str, float]] = []
    checks: list[dict[str, float]] = []
    refused = time_checks(state, records, market, spans_ns[:1000], _NOW_NS)
    for _ in range(rounds):
        time_clock(spans_ns)
        clock.append(_summary(spans_ns))
        refused += time_checks(state, records, market, spans_ns, _NOW_NS)
        checks.append(_summary(spans_ns))
    if refused:
        raise AssertionError(f"{refused} intents were refused, so that not every control ran")
    over = [round(ours["p99_ns"] - bare["p50_ns"], 1) for ours, bare in zip(checks, clock, strict=True)]
    results = _median(checks) | {"over_clock_p99_ns": median(over), "over_clock_p99_range_ns": [min(over), max(over)]}
    results |= {"working_orders": int(state.orders.counts[0]), "instruments": INSTRUMENTS, "rounds": rounds, "intents": intents}
    floor = _median(clock)
    ratio = {"p99": round(results["p99_ns"] / max(floor["p99_ns"], 1.0), 3)}
    return finish("risk", results, floor, ratio, [refused, state.totals.tolist(), state.orders.lots.tolist()])


def _summary(spans_ns: NDArray[Any]) -> dict[str, float]:
    return {name: float(np.percentile(spans_ns, percent)) for name, percent in _PERCENTILES.items()} | {"max_ns": float(spans_ns.max())}


def _median(rounds: list[dict[str, float]]) -> dict[str, Any]:
    return {name: round(median(values[name] for values in rounds), 1) for name in rounds[0]}
