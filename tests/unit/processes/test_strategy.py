"""Strategy stage: journals before it acts, stamps and publishes what callbacks stage, and stays quiet while halted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft import control
from hft.counters import StrategyCounter
from hft.records import (
    INTENT,
    MARKET,
    InputKind,
    IntentKind,
    InvalidReason,
    JournalKind,
    MarketFlag,
    MarketKind,
    OrderFlag,
    ReportKind,
    StopAction,
    TimeInForce,
)
from hft.replay import mask
from processes.common import ROTATE, TIMER_DUE
from processes.limit_log import append, limit_of
from strategies.contract import ON_BOOK, ON_DISCONNECT, ON_HALT, ON_REPORT, ON_TIMER, ON_TRADE
from support.engine import ASK, BID, BTC, BUY, ETH, SELL, Bench, recording_config, row

STAGE, MARKETS, REPORTS, REFUSALS, INTENTS = (
    "strategy.mm",
    "market.binance.mm",
    "reports.binance.mm",
    "reports.risk.mm",
    "intents.mm.risk",
)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A strategy that answers each book with two orders; its first timer is over."""
    with Bench(tmp_path, recording_config(orders=2, cancels=1), [STAGE]) as bench:
        bench.turn(STAGE)
        assert calls(bench, ON_TIMER) == [1, 1]
        yield bench


def calls(bench: Bench, which: int) -> list[int]:
    """How often a callback was called, by instrument."""
    found: list[int] = bench.stage(STAGE).context.own.ints[:, which].tolist()
    return found


def test_book_event_is_journaled_before_the_intents_it_led_to(bench: Bench) -> None:
    before = len(bench.kinds(STAGE))
    bench.put(MARKETS, bench.book())
    assert bench.turn(STAGE, 10) == 5
    assert bench.kinds(STAGE)[before:] == ["INPUT", "INTENT", "INTENT"]
    taken = bench.inputs(STAGE)[-1]
    assert (taken["kind"], taken["first"], taken["last"], taken["now_ns"]) == (InputKind.RECORDS, 0, 5, bench.now_ns)
    assert taken["ring"] == bench.topology.ring(MARKETS).number


def test_published_intents_are_what_was_journaled_and_carry_their_stamps(bench: Bench) -> None:
    event = bench.book()
    event["received_ns"], event["decode_ns"] = bench.now_ns - 5000, 700
    bench.put(MARKETS, event)
    bench.turn(STAGE)
    published = bench.take(INTENTS)
    journaled = np.concatenate([e.records() for e in bench.entries(STAGE) if e.kind == JournalKind.INTENT])
    assert published.tobytes() == journaled.tobytes()
    assert (published["received_ns"] == bench.now_ns - 5000).all() and (published["decoded_ns"] == bench.now_ns - 4300).all()
    assert (published["decided_ns"] >= bench.now_ns).all() and (published["flags"] & OrderFlag.FROM_MARKET != 0).all()
    assert published["price_ticks"].tolist() == [BID, BID - 1] and (published["kind"] == IntentKind.NEW).all()
    assert len(set(published["order_id"].tolist())) == 2
    assert bench.counter(STAGE, StrategyCounter.INTENTS) == 2 and bench.counter(STAGE, StrategyCounter.EVENTS) == 1
    own = bench.stage(STAGE).context.own.orders
    assert own.counts.tolist() == [2, 0], "staged orders are in the strategy's own table"


def test_what_is_decided_on_a_book_that_is_given_again_is_not_late(bench: Bench) -> None:
    event = bench.book()
    event["received_ns"] = bench.now_ns - 400_000_000
    event["flags"][[0, -1]] |= MarketFlag.LOST
    bench.put(MARKETS, event)
    bench.turn(STAGE)
    published = bench.take(INTENTS)
    assert len(published) == 2 and (published["received_ns"] == 0).all() and not (published["flags"] & OrderFlag.FROM_MARKET).any()


@pytest.mark.parametrize("leave", [0, 1])
def test_full_intents_ring_drops_and_counts_and_what_was_dropped_is_no_order(bench: Bench, leave: int) -> None:
    bench.fill(INTENTS, leave=leave)
    bench.put(MARKETS, bench.book())
    bench.turn(STAGE)
    assert bench.counter(STAGE, StrategyCounter.INTENTS) == leave
    assert bench.counter(STAGE, StrategyCounter.INTENTS_DROPPED) == 2 - leave
    assert bench.kinds(STAGE).count("INTENT") == leave
    assert bench.stage(STAGE).context.own.orders.counts.tolist() == [leave, 0]
    bench.take(INTENTS)
    bench.put(MARKETS, bench.top())
    bench.turn(STAGE)
    assert len(bench.take(INTENTS)) == 2, "there is room again"


@pytest.mark.parametrize("word", [control.HALT, control.CANCEL_ALL, control.KILL_FIRM, control.kill_strategy(0)])
def test_halted_strategy_is_told_once_and_decides_nothing(bench: Bench, word: int) -> None:
    bench.control[word] = 1
    bench.put(MARKETS, bench.book())
    bench.turn(STAGE)
    assert calls(bench, ON_HALT) == [1, 1] and calls(bench, ON_BOOK) == [0, 0]
    assert [i["kind"] for i in bench.take(INTENTS)] == [IntentKind.CANCEL_ALL] * 2, "what on_halt stages is published"
    bench.put(MARKETS, bench.top(), trade(bench))
    bench.turn(STAGE, 100_000_000_000)
    assert calls(bench, ON_HALT) == [1, 1] and calls(bench, ON_TIMER) == [1, 1]
    assert calls(bench, ON_BOOK) == [0, 0] and calls(bench, ON_TRADE) == [0, 0]
    assert len(bench.take(INTENTS)) == 0
    assert bench.stage(STAGE).context.own.positions[BTC]["mark_ticks_x2"] == BID + ASK, "marks go on"


def test_strategy_decides_again_when_the_halt_ends(bench: Bench) -> None:
    bench.control[control.KILL_FIRM] = 1
    bench.put(MARKETS, bench.book())
    bench.turn(STAGE)
    bench.take(INTENTS)
    bench.control[control.KILL_FIRM] = 0
    bench.put(MARKETS, bench.top())
    bench.turn(STAGE)
    assert calls(bench, ON_HALT) == [1, 1] and calls(bench, ON_BOOK) == [1, 0] and len(bench.take(INTENTS)) == 2


def reduce(bench: Bench, word: int = 1) -> None:
    bench.control[control.reduce_instrument(BTC)] = word


def test_a_strategy_rests_in_an_instrument_that_may_only_be_reduced(bench: Bench) -> None:
    bench.put(MARKETS, bench.book(), bench.book(ETH))
    bench.turn(STAGE)
    bench.take(INTENTS)
    reduce(bench)
    bench.put(MARKETS, bench.top(), trade(bench), bench.top(ETH))
    bench.turn(STAGE, 60_000_000_000)
    taken = bench.inputs(STAGE)[-3]
    assert (taken["kind"], taken["first"], taken["value"]) == (InputKind.REDUCE, BTC, 1)
    assert calls(bench, ON_HALT) == [1, 0] and calls(bench, ON_BOOK) == [1, 2] and calls(bench, ON_TRADE) == [0, 0]
    assert calls(bench, ON_TIMER) == [1, 2]
    assert [(i["kind"], i["instrument"]) for i in bench.take(INTENTS)][:1] == [(IntentKind.CANCEL_ALL, BTC)]
    reduce(bench, 0)
    bench.put(MARKETS, bench.top())
    bench.turn(STAGE)
    assert calls(bench, ON_HALT) == [1, 0] and calls(bench, ON_BOOK) == [2, 2]


def close(bench: Bench, lots: int = 1000, side: int = BUY) -> list[dict[str, int]]:
    """What the stage sends by itself for a position of one fill, once its first timer after the reduce word has passed."""
    bench.put(MARKETS, bench.book())
    bench.turn(STAGE)
    orders = bench.take(INTENTS)
    filled = orders[:1].copy()
    filled["side"], filled["qty_lots"] = side, lots
    bench.put(REPORTS, bench.report(filled, ReportKind.TRADE), *(bench.report(o.reshape(1), ReportKind.CANCELED) for o in orders[1:]))
    reduce(bench)
    bench.turn(STAGE)
    assert [i["kind"] for i in bench.take(INTENTS)] == [IntentKind.CANCEL_ALL]
    return timer(bench)


def timer(bench: Bench) -> list[dict[str, int]]:
    """The orders of the next timer."""
    bench.turn(STAGE, 60_000_000_000)
    return [{name: int(i[name]) for name in ("kind", "instrument", "side", "price_ticks", "qty_lots", "tif")} for i in bench.take(INTENTS)]


@pytest.mark.parametrize(("side", "price"), [(BUY, BID), (SELL, ASK)])
def test_the_stage_closes_a_position_that_may_only_be_reduced_at_the_touch(bench: Bench, side: int, price: int) -> None:
    closing = {"kind": IntentKind.NEW, "instrument": BTC, "side": -side, "price_ticks": price, "qty_lots": 1000, "tif": TimeInForce.IOC}
    assert close(bench, side=side) == [closing]
    assert timer(bench) == [], "the first one has not ended"


def test_the_stage_closes_in_parts_of_what_an_order_may_have(bench: Bench) -> None:
    limits = bench.stage(STAGE).context.limits
    assert [order["qty_lots"] for order in close(bench, 50_000)] == [10_000], "order_qty_max"
    own = bench.stage(STAGE).context.own
    for notional_e8, lots in ((BID * 10 * 700, 700), (BID * 10 * 700 - 1, 699)):
        limits["order_notional_max_e8"][BTC] = notional_e8
        own.orders.counts[BTC] = 0
        assert [order["qty_lots"] for order in timer(bench)] == [lots]


def test_the_stage_closes_within_limits_that_were_tightened(bench: Bench) -> None:
    limit = limit_of(bench.config, "limits.BTC-USDT.BINANCE.order_qty_max", "0.00700")
    append(bench.control, [limit.row, limit.field, limit.value, 0, 0])
    assert [order["qty_lots"] for order in close(bench)] == [700]
    assert InputKind.CONFIG in bench.inputs(STAGE)["kind"]


def test_the_stage_closes_nothing_where_what_is_held_is_not_known(bench: Bench) -> None:
    bench.stage(STAGE).context.own.positions["position_lots"][BTC] = 1000
    bench.put(MARKETS, bench.book())
    bench.control[control.venue_differs(0)] = 1
    bench.turn(STAGE)
    assert calls(bench, ON_HALT) == [1, 1] and not [i for i in bench.take(INTENTS) if i["kind"] == IntentKind.NEW]
    assert timer(bench) == []
    bench.control[control.venue_differs(0)] = 0
    reduce(bench)
    bench.turn(STAGE)
    assert [order["qty_lots"] for order in timer(bench)] == [1000], "but where a person wants it reduced"


@pytest.mark.parametrize("what", ["hold", "dust", "invalid book", "killed"])
def test_the_stage_closes_nothing(bench: Bench, what: str) -> None:
    if what == "hold":
        bench.stage(STAGE).context.limits["stop_action"] = StopAction.HOLD
    if what == "dust":
        bench.stage(STAGE).context.own.instruments["notional_min_e8"][BTC] = BID * 10 * 1000 + 1
    if what == "invalid book":
        bench.stage(STAGE).context.own.valid[BTC] = 0
        bench.control[control.reduce_instrument(BTC)] = 1
    if what == "killed":
        bench.control[control.KILL_FIRM] = 1
    if what in ("hold", "dust"):
        assert close(bench) == []
    else:
        bench.stage(STAGE).context.own.positions["position_lots"][BTC] = 1000
        reduce(bench)
        bench.turn(STAGE)
        bench.take(INTENTS)
        assert timer(bench) == []


def test_a_venues_kill_is_not_the_strategys(bench: Bench) -> None:
    bench.control[control.kill_venue(0)] = 1
    bench.put(MARKETS, bench.book())
    bench.turn(STAGE)
    assert calls(bench, ON_HALT) == [0, 0] and calls(bench, ON_BOOK) == [1, 0]


def trade(bench: Bench) -> Any:
    return row(MARKET, kind=MarketKind.TRADE, flags=MarketFlag.LAST, price_ticks=BID, qty_lots=5, received_ns=bench.now_ns)


def test_only_complete_events_of_valid_books_are_decided_on(bench: Bench) -> None:
    bench.put(MARKETS, bench.top(), trade(bench))
    bench.turn(STAGE)
    assert calls(bench, ON_BOOK) == [0, 0] and calls(bench, ON_TRADE) == [0, 0], "there is no valid book yet"
    event = bench.book(ETH)
    bench.put(MARKETS, event[:-1])
    bench.turn(STAGE)
    assert calls(bench, ON_BOOK) == [0, 0], "no record says that the event is complete"
    trade_of_eth = trade(bench)
    trade_of_eth["instrument"] = ETH
    bench.put(MARKETS, event[-1:], trade_of_eth)
    bench.turn(STAGE)
    assert calls(bench, ON_BOOK) == [0, 1] and calls(bench, ON_TRADE) == [0, 1]


@pytest.mark.parametrize("kind", [MarketKind.INVALID, MarketKind.RESET])
def test_book_that_becomes_invalid_is_told_once(bench: Bench, kind: int) -> None:
    bench.put(MARKETS, bench.book())
    bench.turn(STAGE)
    end = row(MARKET, kind=kind, flags=MarketFlag.LAST, venue_id=InvalidReason.GAP, received_ns=bench.now_ns)
    bench.put(MARKETS, end, end, bench.top())
    bench.turn(STAGE)
    assert calls(bench, ON_DISCONNECT) == [1, 0] and calls(bench, ON_BOOK) == [1, 0]


def test_level_that_does_not_fit_the_book_makes_it_invalid_and_is_counted(bench: Bench) -> None:
    bench.put(MARKETS, bench.book())
    bench.turn(STAGE)
    bench.put(MARKETS, row(MARKET, kind=MarketKind.LEVEL, price_ticks=-1, qty_lots=5, received_ns=bench.now_ns))
    bench.turn(STAGE)
    assert bench.counter(STAGE, StrategyCounter.BOOK_ERRORS) == 1 and calls(bench, ON_DISCONNECT) == [1, 0]


def test_reports_move_orders_and_positions_before_the_callback(bench: Bench) -> None:
    bench.put(MARKETS, bench.book())
    bench.turn(STAGE)
    filled, canceled = (intent.reshape(1) for intent in bench.take(INTENTS))
    bench.put(REPORTS, bench.report(filled, ReportKind.ACK), bench.report(filled, ReportKind.TRADE), bench.report(canceled, ReportKind.ACK))
    assert bench.turn(STAGE) == 3
    own = bench.stage(STAGE).context.own
    assert own.positions[BTC]["position_lots"] == 1000 and own.orders.counts.tolist() == [1, 0] and calls(bench, ON_REPORT) == [3, 0]
    bench.put(REPORTS, bench.report(canceled, ReportKind.CANCELED))
    bench.turn(STAGE)
    assert own.orders.counts.tolist() == [0, 0] and bench.counter(STAGE, StrategyCounter.REPORTS) == 4


def test_the_same_fill_twice_counts_once(bench: Bench) -> None:
    bench.put(MARKETS, bench.book())
    bench.turn(STAGE)
    order = bench.take(INTENTS)[:1]
    fill = bench.report(order, ReportKind.TRADE, last_lots=400)
    bench.put(REPORTS, fill, fill)
    bench.turn(STAGE)
    assert bench.stage(STAGE).context.own.positions[BTC]["position_lots"] == 400


def test_refusals_of_risk_end_the_order_and_are_counted(bench: Bench) -> None:
    bench.put(MARKETS, bench.book())
    bench.turn(STAGE)
    bench.put(REFUSALS, *(bench.report(intent.reshape(1), ReportKind.REFUSED) for intent in bench.take(INTENTS)))
    bench.turn(STAGE)
    assert bench.counter(STAGE, StrategyCounter.REFUSED) == 2 and bench.stage(STAGE).context.own.orders.counts.tolist() == [0, 0]


def test_timer_fires_when_due_is_journaled_and_begins_again(bench: Bench) -> None:
    words = bench.stage(STAGE).context.common.words
    due_ns = int(words[TIMER_DUE])
    assert due_ns == bench.now_ns + 60_000_000_000
    assert bench.turn(STAGE, 59_999_999_999) == 0 and calls(bench, ON_TIMER) == [1, 1]
    assert bench.turn(STAGE, 1) == 1 and calls(bench, ON_TIMER) == [2, 2]
    last = bench.inputs(STAGE)[-1]
    assert (last["kind"], last["value"], last["now_ns"]) == (InputKind.TIMER, due_ns, bench.now_ns)


def test_turn_takes_a_bounded_number_of_records(bench: Bench) -> None:
    bench.put(MARKETS, *[bench.top()] * 100)
    assert [bench.turn(STAGE) for _ in range(3)] == [64, 36, 0]
    assert [(int(i["first"]), int(i["last"])) for i in bench.inputs(STAGE)[-2:]] == [(0, 64), (64, 100)]


def test_stage_that_needs_its_next_journal_file_does_nothing_until_it_has_it(bench: Bench) -> None:
    stage = bench.stage(STAGE)
    words = stage.context.common.journal.words
    bench.put(MARKETS, bench.book())
    limit = int(words[2])
    words[2] = int(words[0]) + 1000
    assert bench.turn(STAGE) == 0 and stage.context.common.words[ROTATE] == 1
    words[2] = limit
    assert stage.cold(bench.now_ns) == 1
    assert bench.turn(STAGE) == 5 and len(bench.take(INTENTS)) == 2


def test_equal_inputs_make_equal_intents_but_for_the_stamps(tmp_path: Path) -> None:
    made = []
    for folder in ("a", "b"):
        with Bench(tmp_path / folder, recording_config(orders=3), [STAGE]) as bench:
            bench.now_ns = 10**12
            for n in range(20):
                bench.put(MARKETS, bench.book(n % 2, BID + n, ASK + n))
                bench.turn(STAGE, 1000)
            made.append(mask(bench.take(INTENTS)).tobytes())
    assert made[0] == made[1] and len(made[0]) == 60 * INTENT.itemsize
