"""Wire execution: the send path of the tick-to-trade benchmark: journal, encode, frame, send, report.

It drains orders as `execution.paper` does, and hands each to a socket instead of the matching kernel. The peer answers
nothing, so every order is reported EXPIRED at once and frees its place in risk's limits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import ORDER, REPORT, JournalKind, OrderState, ReportKind
from hft.venues.binance_orders import OrderTemplates, encode_place
from processes.common import BUDGET, Common, is_halted, journal_bytes, may_work, note_records, observe
from processes.execution import record_spans
from processes.transport.direct import direct_flush
from processes.transport.wire import ORDERS, Wire, queue_text
from shm.clock import monotonic_ns
from shm.jit import njit
from shm.ring import Ring, available, claim, copy_record, head_sequence, publish, release_many, slot_of

_ORDER_BYTES, _REPORT_BYTES = ORDER.itemsize, REPORT.itemsize
_SENDING, _REPORT = int(JournalKind.SENDING), int(JournalKind.REPORT)
_EXPIRED, _EXPIRED_STATE = int(ReportKind.EXPIRED), int(OrderState.EXPIRED)


class WireExecution(NamedTuple):
    """Context of the benchmark's execution stage."""

    common: Common
    orders: Ring  #: in
    rings: NDArray[np.int64]  #: number of `orders`
    reports: tuple[Ring, ...]  #: out: the strategy's, risk's
    wire: Wire
    templates: OrderTemplates
    firm: NDArray[Any]  #: FIRM_LIMITS, one row
    latency: NDArray[np.int64]  #: [span, ...] histograms
    order: NDArray[Any]  #: ORDER, one row of scratch
    order_bytes: NDArray[np.uint8]
    report: NDArray[Any]  #: REPORT, one row of scratch
    report_bytes: NDArray[np.uint8]
    request: NDArray[np.uint8]  #: scratch for one request's text
    settings: NDArray[np.int64]  #: UTC minus CLOCK_MONOTONIC in ns; 1 if the wire is written here


@njit
def work(ctx: WireExecution, now_ns: int) -> int:
    """Send what was approved; return how many orders."""
    if not may_work(ctx.common):
        return 0
    observe(ctx.common, now_ns)
    ring = ctx.orders
    count = min(available(ring), BUDGET)
    if count == 0:
        return 0
    first = head_sequence(ring)
    note_records(ctx.common, ctx.rings[0], first, first + count, now_ns)
    for k in range(count):
        ctx.order[0] = ring.slots[slot_of(ring, k)]
        _send(ctx, now_ns)
    release_many(ring, count)
    return count


@njit
def _send(ctx: WireExecution, now_ns: int) -> None:
    row = ctx.order[0]
    if is_halted(ctx.common, 0, np.int64(row["strategy"])) or now_ns - row["approved_ns"] > ctx.firm[0]["send_age_max_ns"]:
        return
    journal_bytes(ctx.common, _SENDING, 0, ctx.order_bytes, 0, _ORDER_BYTES)
    length = encode_place(ctx.templates, ctx.order, 0, now_ns + ctx.settings[0], ctx.request, 0)
    queue_text(ctx.wire, ORDERS, ctx.request, 0, length)
    if ctx.settings[1] != 0:
        direct_flush(ctx.wire, ctx.common.halts, 2, 3)
    row["sent_ns"] = monotonic_ns()
    record_spans(ctx.latency, ctx.order, 0)
    _report_expired(ctx)


@njit
def _report_expired(ctx: WireExecution) -> None:
    order, report = ctx.order[0], ctx.report[0]
    report["order_id"] = order["order_id"]
    report["price_ticks"] = order["price_ticks"]
    report["qty_lots"] = order["qty_lots"]
    report["sent_ns"] = order["sent_ns"]
    report["kind"] = _EXPIRED
    report["state"] = _EXPIRED_STATE
    report["strategy"] = order["strategy"]
    report["instrument"] = order["instrument"]
    report["side"] = order["side"]
    report["reported_ns"] = order["sent_ns"]
    journal_bytes(ctx.common, _REPORT, 3, ctx.report_bytes, 0, _REPORT_BYTES)
    for ring in ctx.reports:
        copy_record(ring, claim(ring), ctx.report, 0)
        publish(ring)
