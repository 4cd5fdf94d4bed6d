"""The bench taker: one order for each book."""

from __future__ import annotations

from hft.records import IntentKind, OrderFlag, Side, TimeInForce
from strategies import bench_taker
from support.strategy_desk import Desk


def test_bench_taker_sends_one_ioc_at_the_best_bid_for_each_book() -> None:
    desk = Desk(bench_taker, {"qty_lots": 3})
    for bid in (10_000, 10_005):
        (intent,) = desk.show(bid, 5, bid + 2, 5)
        assert (intent["kind"], intent["side"], intent["price_ticks"], intent["qty_lots"]) == (IntentKind.NEW, Side.BUY, bid, 3)
        assert (intent["tif"], intent["flags"]) == (TimeInForce.IOC, 0)


def test_bench_taker_rests_below_the_bid_when_told() -> None:
    (intent,) = Desk(bench_taker, {"post_only": 1, "away_ticks": 100}).show(10_000, 5, 10_002, 5)
    assert (intent["price_ticks"], intent["tif"], intent["flags"]) == (9_900, TimeInForce.GTC, OrderFlag.POST_ONLY)


def test_bench_taker_sends_nothing_without_a_positive_price() -> None:
    assert Desk(bench_taker, {"away_ticks": 10_000}).show(10_000, 5, 10_002, 5) == []


def test_bench_taker_answers_nothing_else() -> None:
    desk = Desk(bench_taker)
    assert [desk.call(name) for name in ("on_trade", "on_report", "on_timer", "on_disconnect", "on_halt")] == [[]] * 5
