"""Risk: drains intents, publishes orders; the only stage that can make one.

Reports and best prices come first, so that an intent is judged by what is known. An approved order is journaled before it is
published; a refusal goes back to its strategy with the code of the control. A full orders ring refuses; it never waits, and
the last slots are kept for cancels. A breaker that trips sets the kill word of its scope, to its code: stages obey it as they
obey `hftctl kill`, and the supervisor latches it. So it is with a stop-loss and its instrument's reduce word.
Limits are the config's, changed by the log in the control segment.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.breakers import ANY_PULL, ANY_TRIP, PULL
from hft.counters import REFUSAL_CODES, RiskCounter
from hft.funds import BASE, NO_ACCOUNT, QUOTE, SAID, begin
from hft.limit_changes import Changing
from hft.records import ORDER, REPORT, InputKind, IntentKind, JournalKind, OrderState, ReportKind, RiskCode
from hft.risk import RiskState, apply_report, approve, arm, check, note_age, observe_reduce, on_top
from hft.risk_state import FIRM_KILL, HALT, VENUE_KILL
from hft.topology import ORDER_SLOTS_FOR_CANCELS
from hft.units import as_int
from processes.common import (
    CANCEL_ALL_CELL,
    FIRM_CELL,
    HALT_CELL,
    VENUE_CELL,
    Common,
    journal_bytes,
    may_work,
    note_row,
    observe,
    take_changes,
    take_in,
)
from shm.atomics import load_acquire, store_release
from shm.clock import monotonic_ns
from shm.counters import add
from shm.jit import njit
from shm.ring import Ring, claim, copy_record, has_room, publish, release_many, slot_of

_ORDER_BYTES, _REPORT_BYTES = ORDER.itemsize, REPORT.itemsize
_ORDER, _VERDICT = int(JournalKind.ORDER), int(JournalKind.VERDICT)
_NEW, _REPLACE, _CANCEL_ALL = int(IntentKind.NEW), int(IntentKind.REPLACE), int(IntentKind.CANCEL_ALL)
_REFUSED, _REJECTED_STATE = int(ReportKind.REFUSED), int(OrderState.REJECTED)
_OK, _RING_BACKPRESSURE = int(RiskCode.OK), int(RiskCode.RING_BACKPRESSURE)
_BALANCE = int(InputKind.BALANCE)
_FIRST_CODE = 2000


class Risk(NamedTuple):
    """Context of the risk stage."""

    common: Common
    reports: tuple[Ring, ...]  #: in: one a venue
    markets: tuple[Ring, ...]  #: in: one a venue
    intents: tuple[Ring, ...]  #: in: one a strategy
    rings: NDArray[np.int64]  #: ring numbers: `reports`, `markets`, `intents`
    orders: tuple[Ring, ...]  #: out: one a venue
    refusals: tuple[Ring, ...]  #: out: one a strategy
    state: RiskState
    order: NDArray[Any]  #: ORDER, one row of scratch
    order_bytes: NDArray[np.uint8]
    report: NDArray[Any]  #: REPORT, one row of scratch
    report_bytes: NDArray[np.uint8]
    pull: NDArray[Any]  #: INTENT, one row of scratch: the CANCEL_ALL of a breaker
    changing: Changing  #: the limits of `state`
    balances_said: NDArray[np.int64]  #: venue -> how often its execution had said its balances when they were taken last


@njit
def work(ctx: Risk, now_ns: int) -> int:
    """Take in what came and judge every intent; return how much was done."""
    if not may_work(ctx.common):
        return 0
    done = observe(ctx.common, now_ns)
    if done > 0:
        _copy_halts(ctx)
    changes = take_changes(ctx.common, ctx.changing, now_ns)
    if changes > 0:
        done += changes
        _count_changes(ctx)
    for venue in range(len(ctx.balances_said)):
        done += _take_balances(ctx, venue, now_ns)
    for k in range(len(ctx.reports)):
        done += _drain_reports(ctx, k, now_ns)
    for k in range(len(ctx.markets)):
        done += _drain_market(ctx, k, now_ns)
    words = ctx.state.breakers.words
    if words[ANY_TRIP] | words[ANY_PULL] != 0:
        _act_on_breakers(ctx, now_ns)
    for k in range(len(ctx.intents)):
        done += _drain_intents(ctx, k, now_ns)
    return done


@njit
def _copy_halts(ctx: Risk) -> None:
    """Give the checks the halts that this stage observed and journaled."""
    seen, halts = ctx.common.halts, ctx.state.halts
    halts[HALT] = seen[HALT_CELL] | seen[CANCEL_ALL_CELL]
    halts[FIRM_KILL] = seen[FIRM_CELL]
    for k in range(len(seen) - VENUE_CELL):
        halts[VENUE_KILL + k] = seen[VENUE_CELL + k]
    reduces = ctx.common.reduces
    for row in range(len(reduces)):
        observe_reduce(ctx.state, row, reduces[row])
    if ctx.state.breakers.words[ANY_TRIP] != 0:
        return
    # What tripped here, and was told, is seen as killed before anybody can have armed it.
    tripped, firm = ctx.state.breakers.tripped, len(ctx.intents)
    for k in range(firm):
        if tripped[k] != 0 and seen[VENUE_CELL + len(ctx.orders) + k] == 0:
            arm(ctx.state, k)
    if tripped[firm] != 0 and seen[FIRM_CELL] == 0:
        arm(ctx.state, firm)


@njit
def _count_changes(ctx: Risk) -> None:
    """Say how many changes of limits were taken, and how many of them were not allowed."""
    taken, allowed = ctx.changing.counts[0], ctx.changing.counts[1]
    ctx.common.counters[RiskCounter.LIMITS_CHANGED] = allowed
    ctx.common.counters[RiskCounter.LIMITS_NOT_CHANGED] = taken - allowed
    # SYNC taken: pairs with the plain load of `hftctl risk set`, which waits for it.
    store_release(ctx.common.control, control.LIMIT_TAKEN, taken)


@njit
def _take_balances(ctx: Risk, venue: int, now_ns: int) -> int:
    """Journal and take what a venue's account had when the session began, if its execution has said it anew; return 1 if it has."""
    words, state = ctx.common.control, ctx.state
    if state.funds.known[venue] == NO_ACCOUNT:
        return 0
    # SYNC balances: pairs with store_release in Agreement.say_balances(). What is written meanwhile is counted again.
    said = load_acquire(words, control.VENUE_BALANCES + venue)
    if said == ctx.balances_said[venue]:
        return 0
    ctx.balances_said[venue] = said
    for row in range(len(state.instruments)):
        if state.instruments[row]["venue"] == venue:
            for which in (BASE, QUOTE):
                began_e8 = words[control.BALANCE + control.BALANCE_WORDS * row + which]
                note_row(ctx.common, _BALANCE, row, which, began_e8, now_ns)
                begin(state.funds, state.instruments, row, which, began_e8)
    state.funds.known[venue] = SAID
    return 1


@njit
def _act_on_breakers(ctx: Risk, now_ns: int) -> None:
    """Kill what a breaker stopped, say what a stop-loss made reduce-only, and pull quotes as far as rings have room."""
    breakers, words = ctx.state.breakers, ctx.common.control
    firm = len(ctx.intents)
    breakers.words[ANY_TRIP] = breakers.words[ANY_PULL] = 0
    for scope in range(firm + 1):
        word = control.KILL_FIRM if scope == firm else control.KILL_STRATEGY + scope
        if breakers.tripped[scope] != 0 and words[word] == 0:
            # SYNC control: pairs with load_acquire in observe() of every stage; the code stands for itself.
            store_release(words, word, breakers.tripped[scope])
    untold = ctx.state.stops.untold
    for row in range(len(breakers.moves)):
        if untold[row] != 0:
            untold[row] = 0
            # SYNC reduce: pairs with load_acquire in observe() of risk and strategies; the code stands for itself.
            store_release(words, control.REDUCE + row, ctx.state.stops.reducing[row])
        if breakers.moves[row, PULL] != 0:
            _pull_quotes(ctx, row, now_ns)


@njit
def _pull_quotes(ctx: Risk, row: int, now_ns: int) -> None:
    """Cancel every order in an instrument; if the ring has no room for that, later."""
    venue, strategies = as_int(ctx.state.instruments[row]["venue"]), len(ctx.intents)
    if not has_room(ctx.orders[venue], strategies):
        ctx.state.breakers.words[ANY_PULL] = 1
        return
    ctx.state.breakers.moves[row, PULL] = 0
    pull = ctx.pull[0]
    for strategy in range(strategies):
        if ctx.state.allowed[strategy, row] != 0:
            pull["kind"] = _CANCEL_ALL
            pull["strategy"] = strategy
            pull["instrument"] = row
            pull["decided_ns"] = now_ns
            _order(ctx, ctx.pull, 0, venue)


@njit
def _drain_reports(ctx: Risk, k: int, now_ns: int) -> int:
    ring = ctx.reports[k]
    count = take_in(ctx.common, ring, ctx.rings[k], now_ns)
    if count == 0:
        return 0
    for n in range(count):
        apply_report(ctx.state, ring.slots, slot_of(ring, n))
    release_many(ring, count)
    add(ctx.common.counters, RiskCounter.REPORTS, count)
    return count


@njit
def _drain_market(ctx: Risk, k: int, now_ns: int) -> int:
    ring = ctx.markets[k]
    count = take_in(ctx.common, ring, ctx.rings[len(ctx.reports) + k], now_ns)
    if count == 0:
        return 0
    for n in range(count):
        on_top(ctx.state, ring.slots, slot_of(ring, n))
    release_many(ring, count)
    add(ctx.common.counters, RiskCounter.QUOTES, count)
    return count


@njit
def _drain_intents(ctx: Risk, k: int, now_ns: int) -> int:
    ring = ctx.intents[k]
    count = take_in(ctx.common, ring, ctx.rings[len(ctx.reports) + len(ctx.markets) + k], now_ns)
    if count == 0:
        return 0
    for n in range(count):
        _judge(ctx, ring.slots, slot_of(ring, n), k, now_ns)
    release_many(ring, count)
    add(ctx.common.counters, RiskCounter.INTENTS, count)
    return count


@njit
def _judge(ctx: Risk, intents: NDArray[Any], i: int, strategy: int, now_ns: int) -> None:
    """Approve the intent from the ring of `strategy`, or refuse it with the first control that it fails."""
    code = as_int(RiskCode.STRATEGY_NOT_APPROVED)
    if intents[i]["strategy"] == strategy:
        note_age(ctx.state, intents, i, now_ns)
        code = as_int(check(ctx.state, intents, i, now_ns))
    if code == _OK:
        venue = as_int(ctx.state.instruments[as_int(intents[i]["instrument"])]["venue"])
        kind = intents[i]["kind"]
        needed = 1 + ORDER_SLOTS_FOR_CANCELS if kind == _NEW or kind == _REPLACE else 1
        if has_room(ctx.orders[venue], needed):
            approve(ctx.state, intents, i, now_ns)
            _order(ctx, intents, i, venue)
            return
        code = as_int(_RING_BACKPRESSURE)
    _refuse(ctx, intents, i, strategy, code)


@njit
def _order(ctx: Risk, intents: NDArray[Any], i: int, venue: int) -> None:
    """Make the ORDER, journal it, publish it."""
    intent, order = intents[i], ctx.order[0]
    order["order_id"] = intent["order_id"]
    order["ref_order_id"] = intent["ref_order_id"]
    order["price_ticks"] = intent["price_ticks"]
    order["qty_lots"] = intent["qty_lots"]
    order["received_ns"] = intent["received_ns"]
    order["decoded_ns"] = intent["decoded_ns"]
    order["decided_ns"] = intent["decided_ns"]
    order["kind"] = intent["kind"]
    order["strategy"] = intent["strategy"]
    order["instrument"] = intent["instrument"]
    order["side"] = intent["side"]
    order["tif"] = intent["tif"]
    order["flags"] = intent["flags"]
    order["approved_ns"] = monotonic_ns()
    journal_bytes(ctx.common, _ORDER, 1 << venue, ctx.order_bytes, 0, _ORDER_BYTES)
    ring = ctx.orders[venue]
    copy_record(ring, claim(ring), ctx.order, 0)
    publish(ring)
    add(ctx.common.counters, RiskCounter.APPROVED, 1)


@njit
def _refuse(ctx: Risk, intents: NDArray[Any], i: int, strategy: int, code: int) -> None:
    """Journal the refusal and hand it to the strategy whose ring it came from."""
    intent, report = intents[i], ctx.report[0]
    report["order_id"] = intent["order_id"]
    report["ref_order_id"] = intent["ref_order_id"]
    report["price_ticks"] = intent["price_ticks"]
    report["qty_lots"] = intent["qty_lots"]
    report["received_ns"] = intent["received_ns"]
    report["decided_ns"] = intent["decided_ns"]
    report["kind"] = _REFUSED
    report["state"] = _REJECTED_STATE
    report["reason"] = code
    report["strategy"] = intent["strategy"]
    report["instrument"] = intent["instrument"]
    report["side"] = intent["side"]
    report["reported_ns"] = monotonic_ns()
    ring = ctx.refusals[strategy]
    slot = claim(ring)
    outputs = 1 << (len(ctx.orders) + strategy) if slot >= 0 else 0
    journal_bytes(ctx.common, _VERDICT, outputs, ctx.report_bytes, 0, _REPORT_BYTES)
    counters = ctx.common.counters
    add(counters, RiskCounter.REFUSED, 1)
    counters[RiskCounter.LAST_REFUSAL] = code
    if _FIRST_CODE <= code < _FIRST_CODE + REFUSAL_CODES:
        add(counters, RiskCounter.REFUSED_BY_CODE + code - _FIRST_CODE, 1)
    if slot < 0:
        add(counters, RiskCounter.REFUSALS_DROPPED, 1)
        return
    copy_record(ring, slot, ctx.report, 0)
    publish(ring)
