"""Portfolio: drains reports and best prices, publishes the positions and P&L that people read.

Row r of the table is the firm's position in instrument r; row (1 + strategy) * instruments + r is a strategy's. A fill is
booked on both; one of another session's order may be of a strategy that there is no row of. A mark revalues every row of its instrument, and each row that changed goes to its seqlock cell.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.counters import PortfolioCounter
from hft.ledger import apply_fill, mark
from hft.orders import Orders, apply_report, find, insert_order
from hft.records import MarketKind, ReportKind, Side
from hft.units import as_int
from processes.common import JOURNAL_FAILED, Common, may_work, take_in
from shm.cell import write
from shm.counters import add
from shm.jit import njit
from shm.ring import Ring, release_many, slot_of

_TRADE = int(ReportKind.TRADE)
_TOP, _QUOTE = int(MarketKind.TOP), int(MarketKind.QUOTE)
_BUY = int(Side.BUY)


class Portfolio(NamedTuple):
    """Context of the portfolio stage."""

    common: Common
    reports: tuple[Ring, ...]  #: in: one a venue
    markets: tuple[Ring, ...]  #: in: one a venue
    rings: NDArray[np.int64]  #: ring numbers: `reports`, then `markets`
    instruments: NDArray[Any]  #: INSTRUMENT rows
    positions: NDArray[Any]  #: POSITION: the stage's own truth
    orders: Orders
    order: NDArray[Any]  #: ORDER, one row of scratch
    cells: NDArray[np.int64]  #: [row, words]: the shared copies


@njit
def work(ctx: Portfolio, now_ns: int) -> int:
    """Take in what came; return how many records."""
    if not may_work(ctx.common):
        return 0
    done = 0
    for k in range(len(ctx.reports)):
        done += _drain_reports(ctx, k, now_ns)
    for k in range(len(ctx.markets)):
        done += _drain_market(ctx, k, now_ns)
    return done


@njit
def _drain_reports(ctx: Portfolio, k: int, now_ns: int) -> int:
    ring = ctx.reports[k]
    count = take_in(ctx.common, ring, ctx.rings[k], now_ns)
    if count == 0:
        return 0
    for n in range(count):
        _take_report(ctx, ring.slots, slot_of(ring, n), now_ns)
    release_many(ring, count)
    add(ctx.common.counters, PortfolioCounter.REPORTS, count)
    return count


@njit
def _take_report(ctx: Portfolio, reports: NDArray[Any], i: int, now_ns: int) -> None:
    """Follow the order, book the fill, publish the rows of its instrument."""
    report = reports[i]
    instrument, strategy = as_int(report["instrument"]), as_int(report["strategy"])
    own = (1 + strategy) * len(ctx.instruments) + instrument
    has_own = strategy >= 0 and own < len(ctx.positions)
    rows = (instrument, own if has_own else instrument)
    count = 2 if has_own else 1
    slot = find(ctx.orders, report["order_id"])
    if slot < 0 and report["leaves_lots"] > 0:
        slot = _follow(ctx, reports, i, now_ns)
        _change_working(ctx.positions, rows, count, report["side"], report["qty_lots"])
    before_lots = ctx.orders.rows[slot]["leaves_lots"] if slot >= 0 else as_int(0)
    outcome = apply_report(ctx.orders, reports, i)
    after_lots = ctx.orders.rows[slot]["leaves_lots"] if slot >= 0 else as_int(0)
    _change_working(ctx.positions, rows, count, report["side"], after_lots - before_lots)
    if report["kind"] == _TRADE and outcome >= 0:
        add(ctx.common.counters, PortfolioCounter.FILLS, 1)
        if not has_own:
            add(ctx.common.counters, PortfolioCounter.NO_STRATEGY, 1)
        for k in range(count):
            if apply_fill(ctx.positions, rows[k], ctx.instruments, reports, i) == 0:
                ctx.common.words[JOURNAL_FAILED] = 1
    for k in range(count):
        _publish(ctx, rows[k])


@njit
def _follow(ctx: Portfolio, reports: NDArray[Any], i: int, now_ns: int) -> int:
    """Put the order of a first report into the table: the portfolio sees reports, never orders."""
    order, report = ctx.order[0], reports[i]
    order["order_id"] = report["order_id"]
    order["ref_order_id"] = report["ref_order_id"]
    order["price_ticks"] = report["price_ticks"]
    order["qty_lots"] = report["qty_lots"]
    order["decided_ns"] = report["decided_ns"]
    order["strategy"] = report["strategy"]
    order["instrument"] = report["instrument"]
    order["side"] = report["side"]
    return insert_order(ctx.orders, ctx.order, 0, now_ns)


@njit
def _change_working(positions: NDArray[Any], rows: tuple[int, int], count: int, side: int, lots: int) -> None:
    for k in range(count):
        if side == _BUY:
            positions[rows[k]]["working_buy_lots"] += lots
        else:
            positions[rows[k]]["working_sell_lots"] += lots


@njit
def _drain_market(ctx: Portfolio, k: int, now_ns: int) -> int:
    ring = ctx.markets[k]
    count = take_in(ctx.common, ring, ctx.rings[len(ctx.reports) + k], now_ns)
    if count == 0:
        return 0
    for n in range(count):
        market = ring.slots[slot_of(ring, n)]
        if market["kind"] == _TOP or market["kind"] == _QUOTE:
            row = as_int(market["instrument"])
            while row < len(ctx.positions):
                if mark(ctx.positions, row, ctx.instruments, market["price_ticks"], market["ask_ticks"], market["received_ns"]):
                    _publish(ctx, row)
                row += len(ctx.instruments)
            add(ctx.common.counters, PortfolioCounter.MARKS, 1)
    release_many(ring, count)
    return count


@njit
def _publish(ctx: Portfolio, row: int) -> None:
    write(ctx.cells[row], ctx.positions, row)
