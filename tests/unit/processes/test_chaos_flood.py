"""Flood: one order now and then, a flood of cancels while nobody answers, and a new order once only their slots are left."""

from __future__ import annotations

from hft.records import IntentKind, ReportKind, RiskCode, TimeInForce
from hft.topology import ORDER_SLOTS_FOR_CANCELS, RING_SHAPES
from processes.chaos import flood
from support.strategy_desk import Desk

SLOTS = RING_SHAPES["orders"][1]


def desk_with_book() -> Desk:
    desk = Desk(flood)
    assert desk.show(10_000, 5, 10_002, 5) == []
    return desk


def test_an_order_that_ends_by_itself_leaves_about_once_a_second_far_from_the_market() -> None:
    desk = desk_with_book()
    (order,) = desk.call("on_timer")
    assert (order["kind"], order["tif"], order["price_ticks"]) == (IntentKind.NEW, TimeInForce.IOC, 9_950)
    assert order["price_ticks"] * order["qty_lots"] * 1000 >= 10 * 10**8, "it is worth what a venue takes"
    desk.wait(100).report(ReportKind.ACK, order)
    desk.report(ReportKind.EXPIRED, order)
    assert desk.wait(100).call("on_timer") == []
    assert len(desk.wait(1000).call("on_timer")) == 1


def test_an_order_that_is_not_answered_brings_cancels_until_only_their_slots_are_left_and_then_new_orders_until_one_is_refused() -> None:
    desk = desk_with_book()
    (order,) = desk.call("on_timer")
    assert desk.wait(200).call("on_timer") == []
    desk.wait(200)
    cancels = 0
    while (staged := desk.call("on_timer"))[0]["kind"] == IntentKind.CANCEL_ALL:
        cancels += len(staged)
    assert SLOTS - ORDER_SLOTS_FOR_CANCELS < cancels < SLOTS
    (more,) = staged
    assert more["kind"] == IntentKind.NEW
    desk.report(ReportKind.REFUSED, more, reason=RiskCode.ORDER_RATE)
    (last,) = desk.call("on_timer")
    desk.report(ReportKind.REFUSED, last, reason=RiskCode.RING_BACKPRESSURE)
    assert desk.wait(5000).call("on_timer") == [], "it waits for an answer"
    desk.report(ReportKind.NOT_SENT, order)
    assert len(desk.call("on_timer")) == 1


def test_an_order_that_risk_refused_is_not_waited_for() -> None:
    desk = desk_with_book()
    (order,) = desk.call("on_timer")
    desk.report(ReportKind.REFUSED, order, reason=RiskCode.ORDER_RATE)
    assert desk.wait(500).call("on_timer") == []
    assert [each["kind"] for each in desk.wait(1000).call("on_timer")] == [IntentKind.NEW]


def test_nothing_is_sent_without_a_book() -> None:
    assert Desk(flood).call("on_timer") == []
