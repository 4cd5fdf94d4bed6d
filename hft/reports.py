"""Reports: begins what is said about an order with what the order says of itself."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from shm.jit import njit


@njit
def begin_report(reports: NDArray[Any], k: int, orders: NDArray[Any], i: int) -> None:
    """Make the REPORT `reports[k]` one about the ORDER `orders[i]`: nothing traded, no reason, no times but the order's.

    Kind and state are the caller's to set.
    """
    order, report = orders[i], reports[k]
    report["order_id"] = order["order_id"]
    report["ref_order_id"] = order["ref_order_id"]
    report["price_ticks"] = order["price_ticks"]
    report["qty_lots"] = order["qty_lots"]
    report["cum_lots"] = 0
    report["leaves_lots"] = 0
    report["last_price_ticks"] = 0
    report["last_lots"] = 0
    report["fee_e8"] = 0
    report["trade_id"] = 0
    report["exchange_ns"] = 0
    report["reported_ns"] = 0
    report["received_ns"] = order["received_ns"]
    report["decided_ns"] = order["decided_ns"]
    report["approved_ns"] = order["approved_ns"]
    report["sent_ns"] = order["sent_ns"]
    report["reason"] = 0
    report["strategy"] = order["strategy"]
    report["instrument"] = order["instrument"]
    report["side"] = order["side"]
    report["liquidity"] = 0
    report["fee_asset"] = 0
