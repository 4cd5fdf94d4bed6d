"""Strategy: drains reports and market data, calls the strategy's callbacks, publishes what they stage.

The kernel is compiled once for every strategy: callbacks are pointers. What a callback stages is stamped, entered in the
strategy's own order table, journaled and published right after it returns.

While an instrument may only be reduced, the strategy rests in it, as in a halt, and if its limits say so the stage closes the
strategy's position: by intents like any other, which risk judges. Not where ledger and venue differ: what is held there is not known.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft import control
from hft.counters import StrategyCounter
from hft.ledger import apply_fill, mark
from hft.limit_changes import Changing
from hft.market_state import apply_market
from hft.orders import apply_report, insert_order
from hft.records import INTENT, InputKind, IntentKind, JournalKind, MarketFlag, MarketKind, OrderFlag, ReportKind, StopAction
from hft.units import as_int
from processes.common import (
    TIMER_DUE,
    Common,
    is_halted,
    journal_bytes,
    may_work,
    note_word,
    observe,
    take_changes,
    take_in,
)
from shm.clock import monotonic_ns
from shm.counters import add
from shm.jit import njit
from shm.ring import Ring, claim, copy_record, publish, release_many, slot_of
from strategies.closing import close_position
from strategies.contract import ON_BOOK, ON_DISCONNECT, ON_HALT, ON_REPORT, ON_TIMER, ON_TRADE, STAGED, View

_INTENT_BYTES = INTENT.itemsize
_INTENT, _TIMER = int(JournalKind.INTENT), int(InputKind.TIMER)
_NEW, _REPLACE = int(IntentKind.NEW), int(IntentKind.REPLACE)
_TOP, _TRADE_KIND = int(MarketKind.TOP), int(MarketKind.TRADE)
_LAST, _LOST = int(MarketFlag.LAST), int(MarketFlag.LOST)
_TRADE, _REFUSED = int(ReportKind.TRADE), int(ReportKind.REFUSED)
_FROM_MARKET, _CLOSE, _DIFFERING = int(OrderFlag.FROM_MARKET), int(StopAction.CLOSE), control.DIFFERING


class Strategy(NamedTuple):
    """Context of one strategy stage."""

    common: Common
    reports: tuple[Ring, ...]  #: in: one a venue, then risk's refusals
    markets: tuple[Ring, ...]  #: in: one a venue
    rings: NDArray[np.int64]  #: ring numbers: `reports`, then `markets`
    intents: Ring  #: out
    own: View  #: what the callbacks see
    cell: Any  #: the same view, pinned, as callbacks take it
    staged_bytes: NDArray[np.uint8]  #: bytes of own.intents
    subject: NDArray[np.int64]  #: the strategy's instruments
    settings: NDArray[np.int64]  #: strategy row, timer interval in ns
    limits: NDArray[Any]  #: LIMITS, one row an instrument
    changing: Changing  #: these limits
    resting: NDArray[np.int64]  #: instrument -> 1 while the strategy rests in it because it may only be reduced


@njit
def work(ctx: Strategy, callbacks: Any, now_ns: int) -> int:
    """Take in what came and decide; return how much was done."""
    if not may_work(ctx.common):
        return 0
    was_halted = _halted(ctx)
    done = observe(ctx.common, now_ns)
    if _halted(ctx) and not was_halted:
        for k in range(len(ctx.subject)):
            callbacks[ON_HALT](ctx.cell, ctx.subject[k], now_ns)
            _publish_staged(ctx, 0, 0, 0, now_ns)
    done += take_changes(ctx.common, ctx.changing, now_ns)
    if done > 0:
        _rest(ctx, callbacks, now_ns)
    for k in range(len(ctx.reports)):
        done += _drain_reports(ctx, callbacks, k, now_ns)
    for k in range(len(ctx.markets)):
        done += _drain_market(ctx, callbacks, k, now_ns)
    words = ctx.common.words
    if now_ns >= words[TIMER_DUE]:
        note_word(ctx.common, _TIMER, words[TIMER_DUE], now_ns)
        words[TIMER_DUE] = now_ns + ctx.settings[1]
        if not _halted(ctx):
            for k in range(len(ctx.subject)):
                instrument = ctx.subject[k]
                if ctx.resting[instrument] == 0:
                    callbacks[ON_TIMER](ctx.cell, instrument, now_ns)
                elif ctx.limits[instrument]["stop_action"] == _CLOSE and ctx.common.reduces[instrument] != _DIFFERING:
                    close_position(ctx.own, ctx.limits, instrument)
                _publish_staged(ctx, 0, 0, 0, now_ns)
        done += 1
    return done


@njit
def _halted(ctx: Strategy) -> bool:
    return is_halted(ctx.common, -1, ctx.settings[0])


@njit
def _rest(ctx: Strategy, callbacks: Any, now_ns: int) -> None:
    """Follow the reduce words: the strategy is told of each instrument that may only be reduced, as of a halt."""
    for k in range(len(ctx.subject)):
        instrument = ctx.subject[k]
        rests = as_int(ctx.common.reduces[instrument] != 0)
        if rests > ctx.resting[instrument]:
            callbacks[ON_HALT](ctx.cell, instrument, now_ns)
            _publish_staged(ctx, 0, 0, 0, now_ns)
        ctx.resting[instrument] = rests


@njit
def _drain_reports(ctx: Strategy, callbacks: Any, k: int, now_ns: int) -> int:
    ring = ctx.reports[k]
    count = take_in(ctx.common, ring, ctx.rings[k], now_ns)
    if count == 0:
        return 0
    view = ctx.own
    for n in range(count):
        view.report[0] = ring.slots[slot_of(ring, n)]
        report = view.report[0]
        instrument = as_int(report["instrument"])
        outcome = apply_report(view.orders, view.report, 0)
        if report["kind"] == _TRADE and outcome >= 0:
            apply_fill(view.positions, instrument, view.instruments, view.report, 0)
        elif report["kind"] == _REFUSED:
            add(ctx.common.counters, StrategyCounter.REFUSED, 1)
        callbacks[ON_REPORT](ctx.cell, instrument, now_ns)
        _publish_staged(ctx, 0, 0, 0, now_ns)
    release_many(ring, count)
    add(ctx.common.counters, StrategyCounter.REPORTS, count)
    return count


@njit
def _drain_market(ctx: Strategy, callbacks: Any, k: int, now_ns: int) -> int:
    ring = ctx.markets[k]
    count = take_in(ctx.common, ring, ctx.rings[len(ctx.reports) + k], now_ns)
    if count == 0:
        return 0
    for n in range(count):
        _take_market(ctx, callbacks, ring.slots, slot_of(ring, n), now_ns)
    release_many(ring, count)
    return count


@njit
def _take_market(ctx: Strategy, callbacks: Any, markets: NDArray[Any], i: int, now_ns: int) -> None:
    """Apply one record; decide when it completes an event."""
    view, market = ctx.own, markets[i]
    instrument = as_int(market["instrument"])
    was_valid = view.valid[instrument]
    if apply_market(view.books, view.valid, markets, i) != 0:
        add(ctx.common.counters, StrategyCounter.BOOK_ERRORS, 1)
    is_valid = view.valid[instrument]
    if was_valid != 0 and is_valid == 0:
        view.market[0] = market
        callbacks[ON_DISCONNECT](ctx.cell, instrument, now_ns)
        _publish_staged(ctx, 0, 0, 0, now_ns)
        return
    if market["flags"] & _LAST == 0:
        return
    kind = market["kind"]
    if kind == _TOP:
        mark(view.positions, instrument, view.instruments, market["price_ticks"], market["ask_ticks"], market["received_ns"])
    if is_valid == 0 or _halted(ctx) or ctx.resting[instrument] != 0:
        return
    if kind == _TOP:
        view.market[0] = market
        callbacks[ON_BOOK](ctx.cell, instrument, now_ns)
    elif kind == _TRADE_KIND:
        view.market[0] = market
        callbacks[ON_TRADE](ctx.cell, instrument, now_ns)
    else:
        return
    add(ctx.common.counters, StrategyCounter.EVENTS, 1)
    if market["flags"] & _LOST != 0:
        # How old a book is that is given again says nothing of how fast the way from the wire was.
        _publish_staged(ctx, 0, 0, 0, now_ns)
        return
    _publish_staged(ctx, market["received_ns"], market["received_ns"] + as_int(market["decode_ns"]), _FROM_MARKET, now_ns)


@njit
def _publish_staged(ctx: Strategy, received_ns: int, decoded_ns: int, flag: int, now_ns: int) -> None:
    """Stamp, enter, journal and publish what the callback staged; what does not fit the ring is dropped and counted."""
    view = ctx.own
    count = view.words[STAGED]
    if count == 0:
        return
    view.words[STAGED] = 0
    decided_ns = monotonic_ns()
    counters = ctx.common.counters
    for n in range(count):
        slot = claim(ctx.intents)
        if slot < 0:
            add(counters, StrategyCounter.INTENTS_DROPPED, count - n)
            return
        intent = view.intents[n]
        intent["received_ns"] = received_ns
        intent["decoded_ns"] = decoded_ns
        intent["decided_ns"] = decided_ns
        intent["flags"] |= flag
        if intent["kind"] == _NEW or intent["kind"] == _REPLACE:
            insert_order(view.orders, view.intents, n, now_ns)
        journal_bytes(ctx.common, _INTENT, 1, ctx.staged_bytes, n * _INTENT_BYTES, _INTENT_BYTES)
        copy_record(ctx.intents, slot, view.intents, n)
        publish(ctx.intents)
        add(counters, StrategyCounter.INTENTS, 1)
