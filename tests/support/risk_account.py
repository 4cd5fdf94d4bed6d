"""Risk account: a small firm with generous limits, which tests tighten one by one."""

from __future__ import annotations

from typing import Any

import numpy as np

from hft import risk
from hft.orders import order_id
from hft.records import (
    FIRM_LIMITS,
    INSTRUMENT,
    INTENT,
    LIMITS,
    MARKET,
    REPORT,
    FeeAsset,
    IntentKind,
    MarketKind,
    ReportKind,
    RiskCode,
    Side,
    StopAction,
    TimeInForce,
)
from hft.units import E8

BID, ASK = 6_000_000, 6_000_010
NOW = 10_000_000_000
UTC_NS = 1_800_000_000_000_000_000  #: CLOCK_REALTIME - CLOCK_MONOTONIC
EPOCH = 7

INSTRUMENT_ROW = {
    "tick_units": 1,
    "lot_units": 1,
    "price_decimals": 2,
    "qty_decimals": 5,
    "ticklot_num": 10,
    "ticklot_den": 1,
    "lot_e8_num": 1000,
    "lot_e8_den": 1,
    "price_ticks_min": 1,
    "price_ticks_max": 100_000_000,
    "qty_lots_min": 1,
    "qty_lots_max": 900_000_000,
    "notional_min_e8": 5 * E8,
    "base_rate_e8": E8,
    "maker_fee_e8": 100_000,
    "taker_fee_e8": 100_000,
    "trading": 1,
}
LIMITS_ROW = {
    "order_qty_max_lots": 1_000_000,
    "order_notional_max_e8": 1_000_000 * E8,
    "position_max_lots": 10_000_000,
    "open_orders_max": 100,
    "collar_passive_bp": 500,
    "collar_through_bp": 50,
    "book_age_max_ns": 500_000_000,
    "duplicate_window_ns": 250_000_000,
    "move_max_bp": 10_000,
    "move_window_ns": 60_000_000_000,
    "divergence_max_bp": 100,
    "reference_max_bp": 10_000,
    "reference_window_ns": 300_000_000_000,
    "closed_pause_ns": 5_000_000_000,
    "stop_loss_bp": 10_000,
    "stop_action": StopAction.HOLD,
}
FIRM_ROW = {
    "gross_max_e8": 100_000_000 * E8,
    "net_max_e8": 100_000_000 * E8,
    "concentration_max_percent": 100,
    "daily_loss_max_e8": 1_000_000 * E8,
    "intent_age_max_ns": 50_000_000,
    "send_age_max_ns": 50_000_000,
    "strategy_rate_per_s": 1000,
    "firm_rate_per_s": 1500,
    "unknown_orders_max": 100,
    "fills_max": 1000,
    "fills_window_ns": 1_000_000_000,
    "rejects_max": 1000,
    "rejects_window_ns": 1_000_000_000,
    "late_after_ns": 10_000_000,
    "late_max": 1000,
    "late_window_ns": 1_000_000_000,
    "filled_expected_e8": 100_000_000 * E8,
    "filled_max_percent": 500,
    "filled_window_ns": 60_000_000_000,
    "messages_per_fill_max": 1000,
    "messages_window_ns": 300_000_000_000,
    "fee_max_percent": 1000,
    "clock_offset_max_ns": 250_000_000,
    "drawdown_max_e8": 1_000_000 * E8,
    "loss_rate_max_e8": 1_000_000 * E8,
    "loss_rate_window_ns": 60_000_000_000,
}


def instrument_rows(count: int = 1, **fields: int) -> Any:
    """INSTRUMENT rows: ticks of 0.01, lots of 0.00001, one venue, quote = the firm's base currency."""
    rows = np.zeros(count, INSTRUMENT)
    for name, value in (INSTRUMENT_ROW | fields).items():
        rows[name] = value
    return rows


def new_account(
    instruments: int = 2, strategies: int = 2, venues: int = 1, slots: int = 64, rows: dict[str, list[int]] | None = None
) -> risk.RiskState:
    """A state with everything approved and allowed, and a valid two-sided book in each instrument; `rows` are columns of INSTRUMENT."""
    limits, firm = np.zeros(instruments, LIMITS), np.zeros(1, FIRM_LIMITS)
    for name, value in LIMITS_ROW.items():
        limits[name] = value
    for name, value in FIRM_ROW.items():
        firm[name] = value
    table = instrument_rows(instruments)
    for name, values in (rows or {}).items():
        table[name] = values
    state = risk.new_state(table, limits, firm, venues=venues, strategies=strategies, epoch=EPOCH, slots=slots)
    state.approved[:] = 1
    state.allowed[:] = 1
    for row in range(instruments):
        tell(state, MarketKind.VALID, row=row)
        tell(state, MarketKind.TOP, row=row)
        tell_clock(state, row=row)
    return state


def tell_clock(state: risk.RiskState, behind_ns: int = 0, row: int = 0, utc_ns: int = UTC_NS) -> None:
    """Say how far the venue's clock is behind ours."""
    market = np.zeros(1, MARKET)
    market[0]["kind"], market[0]["instrument"], market[0]["venue_id"] = MarketKind.CLOCK, row, behind_ns
    market[0]["received_ns"], market[0]["exchange_ns"] = NOW, NOW + utc_ns
    risk.on_top(state, market, 0)


def tell(
    state: risk.RiskState, kind: MarketKind, row: int = 0, bid: int = BID, ask: int = ASK, received_ns: int = NOW, exchange_ns: int = 0
) -> None:
    """Give the state one MARKET record."""
    market = np.zeros(1, MARKET)
    market[0]["exchange_ns"] = exchange_ns
    market[0]["kind"], market[0]["instrument"], market[0]["received_ns"] = kind, row, received_ns
    if kind in (MarketKind.TOP, MarketKind.QUOTE):
        market[0]["price_ticks"], market[0]["ask_ticks"] = bid, ask
    if kind == MarketKind.TRADE:
        market[0]["price_ticks"] = bid
    risk.on_top(state, market, 0)


def intent(counter: int = 0, **fields: int) -> Any:
    """One INTENT record: strategy 0 buys 1000 lots passively in instrument 0, decided now."""
    records = np.zeros(1, INTENT)
    base = {"kind": IntentKind.NEW, "side": Side.BUY, "tif": TimeInForce.GTC, "price_ticks": BID, "qty_lots": 1000, "decided_ns": NOW}
    for name, value in (base | fields).items():
        records[0][name] = value
    if "order_id" not in fields:
        records[0]["order_id"] = order_id(EPOCH, int(records[0]["strategy"]), counter)
    return records


def admit(state: risk.RiskState, records: Any, now_ns: int = NOW) -> int:
    """Check and approve; return the slot."""
    code = risk.check(state, records, 0, now_ns)
    assert code == RiskCode.OK, RiskCode(code)
    return int(risk.approve(state, records, 0, now_ns))


def report(order: Any, kind: ReportKind, **fields: int) -> Any:
    """One REPORT record about the INTENT `order[0]`."""
    records = np.zeros(1, REPORT)
    for name in ("order_id", "price_ticks", "qty_lots", "strategy", "instrument", "side"):
        records[0][name] = order[0][name]
    records[0]["kind"], records[0]["reported_ns"], records[0]["fee_asset"] = kind, NOW, FeeAsset.QUOTE
    for name, value in fields.items():
        records[0][name] = value
    return records


def fill(order: Any, lots: int, cum_lots: int | None = None, price_ticks: int = BID, trade_id: int = 1, **fields: int) -> Any:
    """One TRADE report about the INTENT `order[0]`."""
    numbers = {"last_lots": lots, "cum_lots": lots if cum_lots is None else cum_lots, "last_price_ticks": price_ticks, "trade_id": trade_id}
    return report(order, ReportKind.TRADE, **(numbers | fields))
