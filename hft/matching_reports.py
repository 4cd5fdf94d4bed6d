"""Matching reports: makes what the paper venue says about an order, and holds it back until it is visible."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.matching_state import (
    ACK_LATENCY_NS,
    REPORT_COUNT,
    REPORT_HEAD,
    REPORT_LAST_NS,
    TRADE_ID_NEXT,
    UTC_OFFSET_NS,
    Matching,
)
from hft.records import FeeAsset, IntentKind, Liquidity, OrderState, ReportKind
from hft.reports import begin_report
from hft.units import E8, mul_div_half_even, notional_e8
from shm.jit import njit

_REPLACE = int(IntentKind.REPLACE)
_CANCEL_REJECTED = int(ReportKind.CANCEL_REJECTED)
_TRADE = int(ReportKind.TRADE)
_FILLED = int(OrderState.FILLED)
_PARTIALLY_FILLED = int(OrderState.PARTIALLY_FILLED)
_MAKER = int(Liquidity.MAKER)
_BASE = int(FeeAsset.BASE)


@njit
def emit(
    m: Matching, orders: NDArray[Any], i: int, kind: int, state: int, reason: int, cum_lots: int, leaves_lots: int, now_ns: int
) -> int:
    """Queue a report about `orders[i]` that happened at `now_ns`; return its index in `m.reports`.

    The caller has made sure of room (`report_room`). Fields of a trade are left zero.
    """
    mask = len(m.reports) - 1
    k = (m.words[REPORT_HEAD] + m.words[REPORT_COUNT]) & mask
    m.words[REPORT_COUNT] += 1
    due_ns = max(now_ns + m.words[ACK_LATENCY_NS], m.words[REPORT_LAST_NS])
    m.words[REPORT_LAST_NS] = due_ns
    m.report_due_ns[k] = due_ns
    begin_report(m.reports, k, orders, i)
    report = m.reports[k]
    if orders[i]["kind"] != _REPLACE:
        report["ref_order_id"] = 0
    report["cum_lots"] = cum_lots
    report["leaves_lots"] = leaves_lots
    report["exchange_ns"] = now_ns + m.words[UTC_OFFSET_NS] if m.words[UTC_OFFSET_NS] != 0 else 0
    report["kind"] = kind
    report["state"] = state
    report["reason"] = reason
    return int(k)


@njit
def emit_trade(m: Matching, slot: int, price_ticks: int, lots: int, liquidity: int, now_ns: int) -> None:
    """Queue the report of a fill that `m.resting[slot]` already counts."""
    row, order = m.resting[slot], m.orders[slot]
    state = _FILLED if row["leaves_lots"] == 0 else _PARTIALLY_FILLED
    report = m.reports[emit(m, m.orders, slot, _TRADE, state, 0, row["cum_lots"], row["leaves_lots"], now_ns)]
    instrument = m.instruments[order["instrument"]]
    report["last_price_ticks"] = price_ticks
    report["last_lots"] = lots
    report["fee_e8"] = fee_e8(m.instruments, order["instrument"], price_ticks, lots, liquidity)
    report["fee_asset"] = instrument["fee_asset"]
    report["liquidity"] = liquidity
    report["trade_id"] = m.words[TRADE_ID_NEXT]
    m.words[TRADE_ID_NEXT] += 1


@njit
def emit_cancel_rejected(m: Matching, k: int, state: int, reason: int, cum_lots: int, now_ns: int) -> int:
    """Queue the refusal of the cancel `m.arrivals[k]`; return its index in `m.reports`. It is about the order meant."""
    index = emit(m, m.arrivals, k, _CANCEL_REJECTED, state, reason, cum_lots, 0, now_ns)
    m.reports[index]["order_id"] = m.arrivals[k]["ref_order_id"]
    m.reports[index]["ref_order_id"] = m.arrivals[k]["order_id"]
    return index


@njit
def fee_e8(instruments: NDArray[Any], instrument: int, price_ticks: int, lots: int, liquidity: int) -> int:
    """Fee of a fill in 1e-8 of the instrument's fee asset: traded amount x rate, each rounded half to even."""
    row = instruments[instrument]
    rate_e8 = row["maker_fee_e8"] if liquidity == _MAKER else row["taker_fee_e8"]
    if row["fee_asset"] == _BASE:
        amount_e8, _ = mul_div_half_even(lots, row["lot_e8_num"], row["lot_e8_den"])
    else:
        amount_e8 = notional_e8(price_ticks, lots, instruments, instrument)
    fee, _ = mul_div_half_even(amount_e8, rate_e8, E8)
    return fee


@njit
def next_report(m: Matching, now_ns: int) -> int:
    """Take the oldest report visible at `now_ns`; return its index in `m.reports`, or -1.

    The record stays intact until the next call of any other kernel on `m`.
    """
    head = m.words[REPORT_HEAD]
    if m.words[REPORT_COUNT] == 0 or m.report_due_ns[head] > now_ns:
        return -1
    m.words[REPORT_HEAD] = (head + 1) & (len(m.reports) - 1)
    m.words[REPORT_COUNT] -= 1
    return int(head)
