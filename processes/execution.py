"""Execution: drains orders and market data, publishes what became of each order.

`execution.paper` is the venue itself: the matching kernel on the live book. An order is journaled as SENDING before it is
handed over, and a report is journaled before anyone sees it. A consumer whose ring is full is marked behind, its scope halts,
and cold code catches it up from the journal: nobody waits, and one strategy cannot stop another.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.book import Books
from hft.counters import ExecutionCounter
from hft.latency import Span
from hft.market_state import apply_market
from hft.matching import Matching, advance, cancel_everything, next_due_ns, next_report, on_market, on_order
from hft.matching_state import ARRIVAL_COUNT, WORKING_COUNT
from hft.records import (
    ORDER,
    REPORT,
    ExecutionCode,
    InputKind,
    IntentKind,
    JournalKind,
    OrderFlag,
    OrderState,
    ReportKind,
)
from hft.reports import begin_report
from hft.units import as_int
from processes.common import (
    BUDGET,
    CANCEL_ALL_CELL,
    FIRM_CELL,
    VENUE_CELL,
    Common,
    is_halted,
    journal_bytes,
    may_work,
    note_word,
    observe,
    take_in,
)
from shm.atomics import store_release
from shm.clock import monotonic_ns
from shm.counters import add
from shm.histogram import record
from shm.jit import njit
from shm.ring import Ring, claim, copy_record, publish, release_many, slot_of

_ORDER_BYTES, _REPORT_BYTES = ORDER.itemsize, REPORT.itemsize
_SENDING, _REPORT = int(JournalKind.SENDING), int(JournalKind.REPORT)
_NEW, _REPLACE, _CANCEL_ALL = int(IntentKind.NEW), int(IntentKind.REPLACE), int(IntentKind.CANCEL_ALL)
_TIMER = int(InputKind.TIMER)
_FROM_MARKET = int(OrderFlag.FROM_MARKET)
_ACK, _TRADE, _CANCELED = int(ReportKind.ACK), int(ReportKind.TRADE), int(ReportKind.CANCELED)
_EXPIRED, _REJECTED, _CANCEL_REJECTED = int(ReportKind.EXPIRED), int(ReportKind.REJECTED), int(ReportKind.CANCEL_REJECTED)
_NOT_SENT = int(ReportKind.NOT_SENT)
_KILLED, _TOO_OLD = int(ExecutionCode.KILLED), int(ExecutionCode.TOO_OLD_AT_SEND)
_FILLED_STATE, _REJECTED_STATE = int(OrderState.FILLED), int(OrderState.REJECTED)


class Execution(NamedTuple):
    """Context of one paper execution stage."""

    common: Common
    market: Ring  #: in
    orders: Ring  #: in
    reports: tuple[Ring, ...]  #: out: one a strategy in row order, then risk, then portfolio
    rings: NDArray[np.int64]  #: ring numbers: market, orders, then `reports` in order
    missed: NDArray[np.int64]  #: consumer -> reports that it has still to be given from the journal
    books: Books
    matching: Matching
    firm: NDArray[Any]  #: FIRM_LIMITS, one row
    latency: NDArray[np.int64]  #: [span, ...] histograms
    order: NDArray[Any]  #: ORDER, one row of scratch
    order_bytes: NDArray[np.uint8]
    report: NDArray[Any]  #: REPORT, one row of scratch
    report_bytes: NDArray[np.uint8]
    venue: NDArray[np.int64]  #: one cell: the venue's row


@njit
def work(ctx: Execution, now_ns: int) -> int:
    """Take in what came, let the venue act, publish what it said; return how much was done."""
    if not may_work(ctx.common):
        return 0
    done = observe(ctx.common, now_ns)
    if done > 0:
        _obey(ctx, now_ns)
    done += _drain_market(ctx, now_ns)
    done += _drain_orders(ctx, now_ns)
    if next_due_ns(ctx.matching) <= now_ns:
        note_word(ctx.common, _TIMER, next_due_ns(ctx.matching), now_ns)
        done += advance(ctx.matching, ctx.books, now_ns)
        done += _publish_due(ctx, now_ns)
    m = ctx.matching.words
    ctx.common.counters[ExecutionCounter.WORKING] = m[WORKING_COUNT] + m[ARRIVAL_COUNT]
    return done


@njit
def _obey(ctx: Execution, now_ns: int) -> None:
    """After a halt or kill changed: cancel every working order that its scope covers."""
    common = ctx.common
    halts = common.halts
    if halts[CANCEL_ALL_CELL] | halts[FIRM_CELL] | halts[VENUE_CELL + ctx.venue[0]] != 0:
        cancel_everything(ctx.matching, now_ns)
        return
    first = VENUE_CELL + common.venues[0]
    for strategy in range(len(halts) - first):
        if halts[first + strategy] != 0:
            row = ctx.order[0]
            row["order_id"] = 0
            row["ref_order_id"] = 0
            row["kind"] = _CANCEL_ALL
            row["strategy"] = strategy
            row["instrument"] = -1
            if on_order(ctx.matching, ctx.order, 0, now_ns) != 0:
                cancel_everything(ctx.matching, now_ns)


@njit
def _drain_market(ctx: Execution, now_ns: int) -> int:
    ring = ctx.market
    count = take_in(ctx.common, ring, ctx.rings[0], now_ns)
    if count == 0:
        return 0
    for k in range(count):
        slot = slot_of(ring, k)
        advance(ctx.matching, ctx.books, ring.slots[slot]["received_ns"])
        if apply_market(ctx.books, ctx.matching.valid, ring.slots, slot) != 0:
            add(ctx.common.counters, ExecutionCounter.BOOK_ERRORS, 1)
        on_market(ctx.matching, ctx.books, ring.slots, slot, now_ns)
    release_many(ring, count)
    return count


@njit
def _drain_orders(ctx: Execution, now_ns: int) -> int:
    ring = ctx.orders
    count = take_in(ctx.common, ring, ctx.rings[1], now_ns)
    if count == 0:
        return 0
    for k in range(count):
        ctx.order[0] = ring.slots[slot_of(ring, k)]
        _send(ctx, now_ns)
    release_many(ring, count)
    return count


@njit
def _send(ctx: Execution, now_ns: int) -> None:
    """Hand the order in the scratch row to the venue, unless it is killed or too old by now."""
    row = ctx.order[0]
    counters = ctx.common.counters
    makes_exposure = row["kind"] == _NEW or row["kind"] == _REPLACE
    if makes_exposure and is_halted(ctx.common, ctx.venue[0], as_int(row["strategy"])):
        _report_not_sent(ctx, _KILLED, now_ns)
        return
    if makes_exposure and now_ns - row["approved_ns"] > ctx.firm[0]["send_age_max_ns"]:
        _report_not_sent(ctx, _TOO_OLD, now_ns)
        return
    journal_bytes(ctx.common, _SENDING, 0, ctx.order_bytes, 0, _ORDER_BYTES)
    row["sent_ns"] = monotonic_ns()
    code = on_order(ctx.matching, ctx.order, 0, now_ns)
    if code != 0:
        _report_not_sent(ctx, code, now_ns)
        return
    if makes_exposure:
        add(counters, ExecutionCounter.SENT, 1)
    else:
        add(counters, ExecutionCounter.CANCELS_SENT, 1)
    if row["flags"] & _FROM_MARKET != 0:
        record_spans(ctx.latency, ctx.order, 0)


@njit
def record_spans(latency: NDArray[np.int64], orders: NDArray[Any], i: int) -> None:
    """Record every hop of a sent order that was decided on a market event; the hops add up to wire→sent exactly."""
    row = orders[i]
    record(latency[Span.WIRE_TO_DECODED], row["decoded_ns"] - row["received_ns"])
    record(latency[Span.DECODED_TO_DECIDED], row["decided_ns"] - row["decoded_ns"])
    record(latency[Span.DECIDED_TO_APPROVED], row["approved_ns"] - row["decided_ns"])
    record(latency[Span.APPROVED_TO_SENT], row["sent_ns"] - row["approved_ns"])
    record(latency[Span.WIRE_TO_SENT], row["sent_ns"] - row["received_ns"])


@njit
def _report_not_sent(ctx: Execution, reason: int, now_ns: int) -> None:
    """Report the order in the scratch row as proven not to have left."""
    begin_report(ctx.report, 0, ctx.order, 0)
    report = ctx.report[0]
    report["sent_ns"] = 0
    report["kind"] = _NOT_SENT
    report["state"] = _REJECTED_STATE
    report["reason"] = reason
    count_report(ctx)
    publish_report(ctx)


@njit
def _publish_due(ctx: Execution, now_ns: int) -> int:
    count = 0
    while count < BUDGET:
        index = next_report(ctx.matching, now_ns)
        if index < 0:
            break
        ctx.report[0] = ctx.matching.reports[index]
        count_report(ctx)
        publish_report(ctx)
        count += 1
    return count


@njit
def count_report(ctx: Any) -> None:
    """Count the report in the scratch row; `ctx` is an Execution, or a VenueExecution, which has the same fields for it."""
    counters, row = ctx.common.counters, ctx.report[0]
    kind = row["kind"]
    if kind == _ACK:
        add(counters, ExecutionCounter.ACKED, 1)
        if row["sent_ns"] != 0:
            record(ctx.latency[Span.SENT_TO_ACKED], monotonic_ns() - row["sent_ns"])
    elif kind == _TRADE:
        add(counters, ExecutionCounter.TRADES, 1)
        if row["state"] == _FILLED_STATE:
            add(counters, ExecutionCounter.FILLED, 1)
    elif kind == _CANCELED:
        add(counters, ExecutionCounter.CANCELED, 1)
    elif kind == _EXPIRED:
        add(counters, ExecutionCounter.EXPIRED, 1)
    elif kind == _REJECTED:
        add(counters, ExecutionCounter.REJECTED, 1)
    elif kind == _CANCEL_REJECTED:
        add(counters, ExecutionCounter.CANCEL_REJECTED, 1)
    elif kind == _NOT_SENT:
        add(counters, ExecutionCounter.NOT_SENT, 1)


@njit
def publish_report(ctx: Any) -> None:
    """Journal the report in the scratch row, then hand it to its strategy, to risk and to the portfolio.

    `ctx` is an Execution, or a VenueExecution, which has the same fields for it.
    """
    ctx.report[0]["reported_ns"] = monotonic_ns()
    last = len(ctx.reports)
    strategy = as_int(ctx.report[0]["strategy"])
    outputs = (1 << strategy) | (3 << (last - 2))
    journal_bytes(ctx.common, _REPORT, outputs, ctx.report_bytes, 0, _REPORT_BYTES)
    add(ctx.common.counters, ExecutionCounter.REPORTS, 1)
    for k in range(last):
        if k == strategy or k >= last - 2:
            _publish_to(ctx, k)


@njit
def _publish_to(ctx: Any, k: int) -> None:
    """Hand the report to consumer `k`; one that is behind gets it from the journal later, in order."""
    behind = control.BEHIND_RING + ctx.rings[2 + k]
    slot = claim(ctx.reports[k])
    if slot < 0 or ctx.common.control[behind] != 0:
        # SYNC behind: pairs with load_acquire in observe(). Only this stage writes the word.
        store_release(ctx.common.control, behind, 1)
        ctx.missed[k] += 1
        add(ctx.common.counters, ExecutionCounter.BEHIND, 1)
        return
    copy_record(ctx.reports[k], slot, ctx.report, 0)
    publish(ctx.reports[k])
