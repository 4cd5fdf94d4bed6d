"""Wire execution: the send path of the tick-to-trade benchmark: journal, encode, frame, send, report.

It drains orders as `execution.paper` does, and hands each to a socket instead of the matching kernel. The peer answers
nothing, so every order is reported EXPIRED at once and frees its place in risk's limits.
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.counters import ExecutionCounter
from hft.records import ORDER, REPORT, JournalKind, OrderState, ReportKind
from hft.units import as_int
from hft.venues.binance.orders import REQUEST_BYTES_MAX, OrderTemplates, encode_place, new_templates
from processes.common import FIRM_CELL, VENUE_CELL, Common, is_halted, journal_bytes, may_work, observe, take_in
from processes.execution import record_spans
from processes.resources import Resources
from processes.stage import Stage
from processes.transport.direct import direct_flush
from processes.transport.wire import ORDERS, Wire, make_wire, queue_text
from shm.clock import monotonic_ns
from shm.counters import add
from shm.jit import njit
from shm.pinned import unpin
from shm.ring import Ring, claim, copy_record, publish, read_record, release_many, slot_of

_ORDER_BYTES, _REPORT_BYTES = ORDER.itemsize, REPORT.itemsize
_SENDING, _REPORT = int(JournalKind.SENDING), int(JournalKind.REPORT)
_EXPIRED, _EXPIRED_STATE = int(ReportKind.EXPIRED), int(OrderState.EXPIRED)


class WireExecution(NamedTuple):
    """Context of the benchmark's execution stage."""

    common: Common
    orders: Ring  #: in
    rings: NDArray[np.int64]  #: number of `orders`
    reports: tuple[Ring, ...]  #: out: the strategy's, risk's, the portfolio's
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


class WireExecutionStage(Stage):
    """`execution.<venue>`, with a wire for a venue. Set `wire` and `direct` before `attach`."""

    wire: Wire | None = None  #: where orders go; None: one of its own
    direct = True  #: whether this stage writes the wire's socket itself

    def make_context(self, common: Common, resources: Resources) -> WireExecution:
        orders = next(ring for ring in self.spec.inputs if ring.kind == "orders")
        order, report = np.zeros(1, ORDER), np.zeros(1, REPORT)
        if self.wire is None:
            self.wire = make_wire(message_bytes_max=4096, messages_max=16)
        return WireExecution(
            common=common,
            orders=resources.consumer(orders),
            rings=np.array([orders.number], np.int64),
            reports=tuple(resources.producer(ring) for ring in self.spec.outputs),
            wire=self.wire,
            templates=new_templates(self.tables.instrument_rows, self.tables.symbols),
            firm=self.tables.firm,
            latency=resources.latency(),
            order=order,
            order_bytes=order.view(np.uint8),
            report=report,
            report_bytes=report.view(np.uint8),
            request=np.zeros(REQUEST_BYTES_MAX, np.uint8),
            settings=np.array([time.time_ns() - time.monotonic_ns(), self.direct], np.int64),
        )


@njit
def turn(cell: Any, now_ns: int) -> int:
    """The stage's turn in a burst."""
    return work(unpin(cell)[0], now_ns)


@njit
def work(ctx: WireExecution, now_ns: int) -> int:
    """Send what was approved; return how many orders were taken."""
    if not may_work(ctx.common):
        return 0
    observe(ctx.common, now_ns)
    ring = ctx.orders
    count = take_in(ctx.common, ring, ctx.rings[0], now_ns)
    if count == 0:
        return 0
    for k in range(count):
        read_record(ring, slot_of(ring, k), ctx.order, 0)
        _send(ctx, now_ns)
    release_many(ring, count)
    return count


@njit
def _send(ctx: WireExecution, now_ns: int) -> None:
    """Journal, encode, frame, send and report the order in the scratch row; one that may not leave is counted NOT_SENT."""
    row = ctx.order[0]
    counters = ctx.common.counters
    if is_halted(ctx.common, 0, as_int(row["strategy"])) or now_ns - row["approved_ns"] > ctx.firm[0]["send_age_max_ns"]:
        add(counters, ExecutionCounter.NOT_SENT, 1)
        return
    journal_bytes(ctx.common, _SENDING, 0, ctx.order_bytes, 0, _ORDER_BYTES)
    length = encode_place(ctx.templates, ctx.order, 0, now_ns + ctx.settings[0], ctx.request, 0)
    if queue_text(ctx.wire, ORDERS, ctx.request, 0, length) == 0:
        add(counters, ExecutionCounter.NOT_SENT, 1)
        return
    if ctx.settings[1] != 0:
        direct_flush(ctx.wire, ctx.common.halts, FIRM_CELL, VENUE_CELL)
    row["sent_ns"] = monotonic_ns()
    record_spans(ctx.latency, ctx.order, 0)
    add(counters, ExecutionCounter.SENT, 1)
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
    journal_bytes(ctx.common, _REPORT, (1 << len(ctx.reports)) - 1, ctx.report_bytes, 0, _REPORT_BYTES)
    add(ctx.common.counters, ExecutionCounter.EXPIRED, 1)
    for ring in ctx.reports:
        slot = claim(ring)
        if slot < 0:
            add(ctx.common.counters, ExecutionCounter.BEHIND, 1)
            continue
        copy_record(ring, slot, ctx.report, 0)
        publish(ring)
