"""Execution on paper: journals before it sends or says anything, obeys kills, and lets nobody wait for a full ring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hft import control
from hft.counters import ExecutionCounter
from hft.latency import Span
from hft.records import ORDER, ExecutionCode, IntentKind, JournalKind, OrderFlag, OrderState, ReportKind, TimeInForce
from shm.jit import JIT_ENABLED
from shm.layout import COUNT
from support.engine import ASK, BID, BTC, BUY, ETH, SELL, Bench, two_strategies

STAGE, MARKET_RING, ORDERS = "execution.binance", "market.binance.execution", "orders.risk.binance"
REPORTS = {"strategy": "reports.binance.mm", "risk": "reports.binance.risk", "portfolio": "reports.binance.portfolio"}
LATENCY_NS = 500_000  # of an order, and of its acknowledgement
MINUTE_NS = 60_000_000_000


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Execution with a valid book."""
    with Bench(tmp_path, None, [STAGE]) as bench:
        bench.put(MARKET_RING, bench.book())
        bench.turn(STAGE)
        yield bench


def reports(bench: Bench) -> np.ndarray:
    """What every consumer was told; they must have been told the same."""
    said = [bench.take(name) for name in REPORTS.values()]
    assert all(each.tobytes() == said[0].tobytes() for each in said)
    return said[0]


def settle(bench: Bench) -> list[str]:
    """Let everything under way happen; the kinds of the reports."""
    for _ in range(4):
        bench.turn(STAGE, LATENCY_NS)
    return [ReportKind(kind).name for kind in reports(bench)["kind"]]


def rest(bench: Bench, **fields: int) -> np.ndarray:
    """An order that rests, acknowledged."""
    order = bench.order(**fields)
    bench.put(ORDERS, order)
    bench.turn(STAGE)
    assert settle(bench) == ["ACK"]
    return order


def test_order_reaches_the_venue_after_its_latency_and_the_word_of_it_after_another(bench: Bench) -> None:
    order = bench.order()
    bench.put(ORDERS, order)
    assert bench.turn(STAGE) == 1 and len(reports(bench)) == 0
    bench.turn(STAGE, LATENCY_NS)
    assert len(reports(bench)) == 0
    bench.turn(STAGE, LATENCY_NS - 1)
    assert len(reports(bench)) == 0
    bench.turn(STAGE, 1)
    ack = reports(bench)
    assert ack["kind"].tolist() == [ReportKind.ACK] and ack["state"].tolist() == [OrderState.NEW]
    for field in ("order_id", "price_ticks", "qty_lots", "strategy", "instrument", "side", "received_ns", "decided_ns", "approved_ns"):
        assert ack[0][field] == order[0][field], field
    assert ack[0]["sent_ns"] > 0 and ack[0]["leaves_lots"] == 1000


def test_sending_is_journaled_before_and_reports_before_they_are_published(bench: Bench) -> None:
    before = len(bench.kinds(STAGE))
    bench.put(ORDERS, bench.order(tif=TimeInForce.IOC, price_ticks=ASK))
    bench.turn(STAGE)
    assert bench.kinds(STAGE)[before:] == ["INPUT", "SENDING"]
    for _ in range(4):
        bench.turn(STAGE, LATENCY_NS)
    journaled = [e for e in bench.entries(STAGE) if e.kind == JournalKind.REPORT]
    published = reports(bench)
    assert np.concatenate([e.records() for e in journaled]).tobytes() == published.tobytes()
    assert {e.aux for e in journaled} == {0b111} and "TRADE" in [ReportKind(k).name for k in published["kind"]]


def test_taker_and_maker_fills_are_reported_and_counted(bench: Bench) -> None:
    bench.put(ORDERS, bench.order(tif=TimeInForce.IOC, price_ticks=ASK, qty_lots=700))
    bench.turn(STAGE)
    assert settle(bench) == ["ACK", "TRADE"]
    counters = {name: bench.counter(STAGE, ExecutionCounter[name]) for name in ("SENT", "ACKED", "TRADES", "FILLED", "WORKING", "REPORTS")}
    assert counters == {"SENT": 1, "ACKED": 1, "TRADES": 1, "FILLED": 1, "WORKING": 0, "REPORTS": 2}
    rest(bench)
    assert bench.counter(STAGE, ExecutionCounter.WORKING) == 1
    # The ask falls through the resting bid.
    bench.put(MARKET_RING, bench.book(BTC, BID - 1000, BID - 500))
    bench.turn(STAGE)
    assert settle(bench) == ["TRADE"] and bench.counter(STAGE, ExecutionCounter.WORKING) == 0


@pytest.mark.parametrize("word", [control.KILL_FIRM, control.kill_venue(0), control.kill_strategy(0), control.CANCEL_ALL])
def test_kill_cancels_what_works_and_what_is_under_way(bench: Bench, word: int) -> None:
    rest(bench)
    rest(bench, instrument=BTC, side=SELL, price_ticks=ASK + 100)
    bench.put(ORDERS, bench.order(price_ticks=BID - 300))
    bench.turn(STAGE)
    bench.control[word] = 1
    bench.turn(STAGE, 1)
    assert settle(bench) == ["ACK", "CANCELED", "CANCELED", "CANCELED"] and bench.counter(STAGE, ExecutionCounter.WORKING) == 0
    assert bench.counter(STAGE, ExecutionCounter.CANCELED) == 3


@pytest.mark.parametrize("word", [control.HALT, control.kill_venue(1), control.kill_strategy(1)])
def test_halt_or_anothers_kill_leaves_resting_orders_alone(bench: Bench, word: int) -> None:
    rest(bench)
    bench.control[word] = 1
    assert settle(bench) == [] and bench.counter(STAGE, ExecutionCounter.WORKING) == 1


def test_engine_that_is_not_ready_sends_nothing_new(bench: Bench) -> None:
    bench.control[control.READY] = 0
    bench.put(ORDERS, bench.order())
    bench.turn(STAGE)
    assert reports(bench)["reason"].tolist() == [ExecutionCode.KILLED]


@pytest.mark.parametrize("kind", [IntentKind.NEW, IntentKind.REPLACE])
@pytest.mark.parametrize("word", [control.HALT, control.KILL_FIRM, control.kill_venue(0), control.kill_strategy(0)])
def test_killed_new_order_is_proven_not_sent(bench: Bench, kind: int, word: int) -> None:
    bench.control[word] = 1
    order = bench.order(kind=kind)
    bench.put(ORDERS, order)
    bench.turn(STAGE)
    said = reports(bench)
    assert (said["kind"].tolist(), said["reason"].tolist()) == ([ReportKind.NOT_SENT], [ExecutionCode.KILLED])
    assert said[0]["order_id"] == order[0]["order_id"] and said[0]["leaves_lots"] == 0 and said[0]["sent_ns"] == 0
    assert "SENDING" not in bench.kinds(STAGE) and bench.counter(STAGE, ExecutionCounter.NOT_SENT) == 1
    assert settle(bench) == []


def test_cancel_passes_every_kill(bench: Bench) -> None:
    order = rest(bench)
    bench.control[control.HALT] = 1
    bench.put(ORDERS, bench.order(kind=IntentKind.CANCEL, ref_order_id=int(order[0]["order_id"])))
    bench.turn(STAGE)
    assert settle(bench) == ["CANCELED"] and bench.counter(STAGE, ExecutionCounter.CANCELS_SENT) == 1


@pytest.mark.parametrize(("age_ns", "kinds"), [(50_000_000, ["ACK"]), (50_000_001, ["NOT_SENT"]), (MINUTE_NS, ["NOT_SENT"])])
def test_order_too_old_at_send_is_not_sent(bench: Bench, age_ns: int, kinds: list[str]) -> None:
    bench.put(ORDERS, bench.order(approved_ns=bench.now_ns - age_ns))
    bench.turn(STAGE)
    said = bench.take(REPORTS["strategy"])
    assert all(reason == ExecutionCode.TOO_OLD_AT_SEND for reason in said["reason"].tolist())
    for name in ("risk", "portfolio"):
        bench.take(REPORTS[name])
    assert [ReportKind(kind).name for kind in said["kind"]] + settle(bench) == kinds


def test_old_cancel_is_sent_all_the_same(bench: Bench) -> None:
    order = rest(bench)
    cancel = bench.order(kind=IntentKind.CANCEL, ref_order_id=int(order[0]["order_id"]), approved_ns=bench.now_ns - MINUTE_NS)
    bench.put(ORDERS, cancel)
    bench.turn(STAGE)
    assert settle(bench) == ["CANCELED"]


@pytest.mark.parametrize("who", list(REPORTS))
def test_full_reports_ring_marks_its_consumer_behind_and_nobody_else(bench: Bench, who: str) -> None:
    bench.fill(REPORTS[who], leave=0)
    bench.put(ORDERS, bench.order())
    for _ in range(4):
        bench.turn(STAGE, LATENCY_NS)
    number = bench.topology.ring(REPORTS[who]).number
    assert np.flatnonzero(bench.control[control.BEHIND_RING : control.PROCESS]).tolist() == [number]
    assert bench.counter(STAGE, ExecutionCounter.BEHIND) == 1
    for other, name in REPORTS.items():
        if other != who:
            assert bench.take(name)["kind"].tolist() == [ReportKind.ACK], other
    assert bench.kinds(STAGE).count("REPORT") == 1, "the journal has what the ring could not take"
    # Its scope is halted: the strategy's own, or everyone's.
    bench.put(ORDERS, bench.order(price_ticks=BID - 400))
    bench.turn(STAGE)
    others = [name for other, name in REPORTS.items() if other != who]
    assert [bench.take(name)["reason"].tolist() for name in others] == [[ExecutionCode.KILLED]] * 2


def test_consumer_that_is_behind_gets_nothing_out_of_turn(bench: Bench) -> None:
    ring = REPORTS["portfolio"]
    bench.fill(ring, leave=0)
    bench.put(ORDERS, bench.order(price_ticks=BID - 200), bench.order(price_ticks=BID - 300))
    for _ in range(3):
        bench.turn(STAGE, LATENCY_NS)
    bench.take(ring)
    bench.put(ORDERS, bench.order())
    bench.turn(STAGE)
    assert len(bench.take(ring)) == 0, "room again, but what it missed must come first"
    assert bench.counter(STAGE, ExecutionCounter.BEHIND) == 3


@pytest.mark.skipif(JIT_ENABLED, reason="rings of two strategies are types of their own, a minute to compile")
def test_report_goes_to_its_own_strategy_and_behind_it_halts_only_that(tmp_path: Path) -> None:
    with Bench(tmp_path, two_strategies(), [STAGE]) as bench:
        bench.put(MARKET_RING, bench.book())
        bench.put(ORDERS, bench.order(strategy=1))
        for _ in range(4):
            bench.turn(STAGE, LATENCY_NS)
        assert len(bench.take("reports.binance.mm")) == 0
        assert [len(bench.take(f"reports.binance.{name}")) for name in ("arb", "risk", "portfolio")] == [1, 1, 1]
        assert [e.aux for e in bench.entries(STAGE) if e.kind == JournalKind.REPORT] == [0b1110]
        bench.fill("reports.binance.arb", leave=0)
        bench.put(ORDERS, bench.order(strategy=1, price_ticks=BID - 300))
        for _ in range(4):
            bench.turn(STAGE, LATENCY_NS)
        bench.take("reports.binance.risk")
        bench.put(ORDERS, bench.order(strategy=1, price_ticks=BID - 400), bench.order(strategy=0, price_ticks=BID - 500))
        for _ in range(4):
            bench.turn(STAGE, LATENCY_NS)
        said = bench.take("reports.binance.risk")
        assert {(int(r["strategy"]), ReportKind(r["kind"]).name) for r in said} == {(1, "NOT_SENT"), (1, "CANCELED"), (0, "ACK")}


def test_more_than_the_venue_can_hold_is_not_sent(bench: Bench) -> None:
    matching = bench.stage(STAGE).context.matching
    room = len(matching.arrivals) - 1
    for start in range(0, room + 64, 64):
        bench.put(ORDERS, *(bench.order(kind=IntentKind.CANCEL, ref_order_id=1) for _ in range(64)))
        bench.turn(STAGE)
        assert start or bench.counter(STAGE, ExecutionCounter.CANCELS_SENT) == 64
    said = bench.take(REPORTS["strategy"])
    assert set(said["reason"].tolist()) == {ExecutionCode.TABLE_FULL} and set(said["kind"].tolist()) == {ReportKind.NOT_SENT}
    assert bench.counter(STAGE, ExecutionCounter.CANCELS_SENT) + len(said) == len(range(0, room + 64, 64)) * 64


def test_hops_of_orders_decided_on_market_events_add_up_exactly(bench: Bench) -> None:
    latency = bench.stage(STAGE).context.latency
    start = bench.now_ns - 9_000_000
    stamps = {"received_ns": start, "decoded_ns": start + 1000, "decided_ns": start + 3000, "approved_ns": start + 6000}
    bench.put(ORDERS, bench.order(price_ticks=BID - 200), bench.order(price_ticks=BID - 300, flags=OrderFlag.FROM_MARKET, **stamps))
    bench.turn(STAGE)
    counts = {span.name: int(latency[span][COUNT]) for span in Span}
    assert counts == {name: int(name != "SENT_TO_ACKED") for name in counts}, "the order without an event is not measured"
    from shm.observe import Histogram

    sums = {span.name: Histogram(latency[span]).sum_ns for span in Span}
    assert sums["WIRE_TO_DECODED"] == 1000 and sums["DECODED_TO_DECIDED"] == 2000 and sums["DECIDED_TO_APPROVED"] == 3000
    assert sums["WIRE_TO_SENT"] == 6000 + sums["APPROVED_TO_SENT"]
    settle(bench)
    assert int(latency[Span.SENT_TO_ACKED][COUNT]) == 2


def test_each_terminal_kind_has_its_counter(bench: Bench) -> None:
    bench.put(ORDERS, bench.order(flags=OrderFlag.POST_ONLY, price_ticks=ASK), bench.order(tif=TimeInForce.IOC))
    bench.turn(STAGE)
    assert settle(bench) == ["REJECTED", "ACK", "EXPIRED"]
    bench.put(ORDERS, bench.order(kind=IntentKind.CANCEL, ref_order_id=12345))
    bench.turn(STAGE)
    assert settle(bench) == ["CANCEL_REJECTED"]
    names = ("REJECTED", "EXPIRED", "CANCEL_REJECTED", "CANCELED")
    assert [bench.counter(STAGE, ExecutionCounter[name]) for name in names] == [1, 1, 1, 0]


def test_bad_level_is_counted_and_nothing_fills_until_the_next_book(bench: Bench) -> None:
    bad = bench.book()[1:2]
    bad["price_ticks"] = -5
    bench.put(MARKET_RING, bad)
    bench.turn(STAGE)
    assert bench.counter(STAGE, ExecutionCounter.BOOK_ERRORS) == 1
    bench.put(ORDERS, bench.order())
    bench.turn(STAGE)
    assert settle(bench) == ["REJECTED"]
    bench.put(MARKET_RING, bench.book())
    bench.turn(STAGE)
    rest(bench)


def test_orders_of_both_instruments_and_sides_keep_apart(bench: Bench) -> None:
    bench.put(MARKET_RING, bench.book(ETH, 260_000, 260_010))
    bench.turn(STAGE)
    for instrument, side, price in ((BTC, BUY, BID - 5), (BTC, SELL, ASK + 5), (ETH, BUY, 259_990), (ETH, SELL, 260_020)):
        rest(bench, instrument=instrument, side=side, price_ticks=price)
    bench.put(ORDERS, bench.order(kind=IntentKind.CANCEL_ALL, instrument=ETH))
    bench.turn(STAGE)
    assert settle(bench) == ["CANCELED", "CANCELED"] and bench.counter(STAGE, ExecutionCounter.WORKING) == 2


def test_nothing_is_stale_in_the_scratch_order(bench: Bench) -> None:
    assert bench.stage(STAGE).context.order.dtype == ORDER
    bench.control[control.kill_strategy(0)] = 1
    bench.turn(STAGE)
    sent = bench.stage(STAGE).context.matching.arrivals[0]
    assert (sent["kind"], sent["strategy"], sent["instrument"], sent["order_id"]) == (IntentKind.CANCEL_ALL, 0, -1, 0)


@pytest.mark.parametrize("who", list(REPORTS))
def test_consumer_that_fell_behind_gets_all_it_missed_in_order_and_its_scope_is_free(bench: Bench, who: str) -> None:
    ring, stage = REPORTS[who], bench.stage(STAGE)
    bench.fill(ring, leave=1)
    bench.put(ORDERS, *(bench.order(price_ticks=BID - 100 * n) for n in range(1, 6)))
    for _ in range(3):
        bench.turn(STAGE, LATENCY_NS)
    assert bench.stage(STAGE).context.missed.tolist() == [4 if name == who else 0 for name in REPORTS]
    assert stage.cold(bench.now_ns) == 0, "no room yet"
    got = bench.take(ring)[-1:]
    bench.fill(ring, leave=3)
    assert stage.cold(bench.now_ns) == 3 and bench.control[control.BEHIND_RING : control.PROCESS].sum() == 1
    got = np.concatenate([got, bench.take(ring)[-3:]])
    assert stage.cold(bench.now_ns) == 1 and bench.control[control.BEHIND_RING : control.PROCESS].sum() == 0
    got = np.concatenate([got, bench.take(ring)])
    other = next(name for name in REPORTS if name != who)
    assert got.tobytes() == bench.take(REPORTS[other]).tobytes()
    bench.put(ORDERS, bench.order(price_ticks=BID - 700))
    for _ in range(3):
        bench.turn(STAGE, LATENCY_NS)
    assert bench.take(ring)["kind"].tolist() == [ReportKind.ACK]
