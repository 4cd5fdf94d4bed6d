"""Execution at a venue, against the simulated Binance: nothing lost, nothing doubled, nothing sent that may not be."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from hft import control
from hft.counters import ExecutionCounter
from hft.records import ExecutionCode, IntentKind, OrderFlag, OrderState, Side, TimeInForce
from hft.sim.venue import Opcode
from support.venue_desk import STAGE, VenueDesk

FAR_BID, NEAR_ASK = 5_000_000, 7_000_000


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueDesk]:
    with VenueDesk(tmp_path, monkeypatch) as desk:
        yield desk


@pytest.fixture
def ready(desk: VenueDesk) -> VenueDesk:
    desk.step()
    desk.open()
    desk.run(0.5)
    assert desk.ready
    return desk


def test_orders_may_leave_once_the_account_is_reconciled(desk: VenueDesk) -> None:
    early = desk.send(price_ticks=FAR_BID)
    desk.step()
    assert desk.reports(early) == ["NOT_SENT"] and desk.told[-1][0]["reason"] == ExecutionCode.NOT_CONNECTED
    desk.open()
    late = desk.send(price_ticks=FAR_BID)
    desk.turn(STAGE)
    assert not desk.ready
    desk.run(0.5)
    assert desk.reports(late) == ["NOT_SENT"] and desk.told[-1][0]["reason"] == ExecutionCode.NOT_RECONCILED
    assert desk.ready


def test_an_order_rests_and_is_canceled(ready: VenueDesk) -> None:
    order = ready.send(price_ticks=FAR_BID)
    ready.run(0.05)
    assert ready.reports(order) == ["ACK"] and len(ready.account()["open_orders"]) == 1
    ready.cancel(order)
    ready.run(0.05)
    assert ready.reports(order) == ["ACK", "PENDING_CANCEL", "CANCELED"] and ready.account()["open_orders"] == []
    assert ready.count(ExecutionCounter.WORKING) == 0 and ready.count(ExecutionCounter.SENT) == 1


def test_fills_are_what_the_venue_says(ready: VenueDesk) -> None:
    order = ready.send(price_ticks=NEAR_ASK, qty_lots=2000, tif=TimeInForce.IOC)
    ready.run(0.1)
    assert ready.reports(order)[0] in ("ACK", "TRADE") and ready.state(order) in (OrderState.FILLED, OrderState.EXPIRED)
    traded = Decimal(ready.account()["traded"].get("BTCUSDT", "0"))
    assert traded > 0 and Decimal(ready.filled_lots()) / 100_000 == traded


def test_what_the_venue_refuses_is_rejected_with_its_reason(ready: VenueDesk) -> None:
    order = ready.send(price_ticks=NEAR_ASK, flags=OrderFlag.POST_ONLY)
    ready.run(0.05)
    assert ready.reports(order) == ["REJECTED"] and ready.told[-1][0]["reason"] != 0


def test_a_replaced_order_never_fills_beside_the_new_one(ready: VenueDesk) -> None:
    first = ready.send(price_ticks=FAR_BID)
    ready.run(0.05)
    second = ready.send(price_ticks=FAR_BID + 100, kind=IntentKind.REPLACE, ref_order_id=first)
    ready.run(0.05)
    assert ready.state(first) is OrderState.CANCELED and ready.state(second) is OrderState.NEW
    assert [order["client_id"] for order in ready.account()["open_orders"]] == [f"{second:016x}"]
    third = ready.send(price_ticks=FAR_BID, kind=IntentKind.REPLACE, ref_order_id=first)
    ready.run(0.05)
    assert ready.reports(third) == ["NOT_SENT"]


@pytest.mark.parametrize("price_ticks", [FAR_BID, NEAR_ASK], ids=["rests", "fills"])
def test_a_lost_acknowledgement_is_unknown_then_found_out_and_never_sent_again(ready: VenueDesk, price_ticks: int) -> None:
    ready.driver.fault(kind="lose_ack")
    order = ready.send(price_ticks=price_ticks, qty_lots=500)
    ready.run(1.5)
    assert ready.state(order) in (OrderState.NEW, OrderState.FILLED, OrderState.PARTIALLY_FILLED)
    account = ready.account()
    assert len(account["open_orders"]) + len({fill["client_id"] for fill in account["fills"]}) == 1
    assert ready.count(ExecutionCounter.UNKNOWN) == 0 and ready.count(ExecutionCounter.SENT) == 1


def test_an_order_whose_connection_is_lost_is_unknown_until_the_next_one_tells(ready: VenueDesk) -> None:
    ready.hears = False
    order = ready.send(price_ticks=FAR_BID)
    ready.step()
    ready.lose()
    ready.run(0.05)
    assert ready.state(order) is OrderState.UNKNOWN and not ready.ready
    refused = ready.send(price_ticks=FAR_BID)
    ready.step()
    assert ready.reports(refused) == ["NOT_SENT"]
    ready.hears = True
    ready.open()
    ready.run(1.0)
    assert ready.state(order) is OrderState.NEW and ready.ready
    assert [found["client_id"] for found in ready.account()["open_orders"]] == [f"{order:016x}"]


def test_a_fill_that_no_connection_told_is_found_after_the_next_one(ready: VenueDesk) -> None:
    ready.hears = False
    order = ready.send(price_ticks=NEAR_ASK, qty_lots=500)
    ready.step()
    ready.lose()
    ready.run(0.2)
    ready.hears = True
    ready.open()
    ready.run(1.5)
    traded = Decimal(ready.account()["traded"].get("BTCUSDT", "0"))
    assert traded > 0 and Decimal(ready.filled_lots()) / 100_000 == traded
    assert ready.state(order) in (OrderState.FILLED, OrderState.PARTIALLY_FILLED, OrderState.NEW)


def test_an_order_that_never_arrived_is_rejected_only_on_the_venues_proof(ready: VenueDesk) -> None:
    session, ready.session = ready.session, None
    order = ready.send(price_ticks=FAR_BID)
    ready.step()
    ready._texts()  # The bytes left, and reached nobody.
    ready.session = session
    ready.run(1.0)
    assert ready.state(order) is OrderState.UNKNOWN
    ready.run(4.0)
    assert ready.state(order) is OrderState.REJECTED and ready.reports(order) == ["UNKNOWN", "REJECTED"]


def test_a_kill_stops_new_orders_and_cancels_the_rest(ready: VenueDesk) -> None:
    order = ready.send(price_ticks=FAR_BID)
    ready.run(0.05)
    ready.control[control.KILL_FIRM] = 1
    late = ready.send(price_ticks=FAR_BID)
    ready.run(0.05)
    assert ready.state(order) is OrderState.CANCELED and ready.account()["open_orders"] == []
    assert ready.reports(late) == ["NOT_SENT"]


def test_an_order_that_waited_too_long_does_not_leave(ready: VenueDesk) -> None:
    order = ready.send(price_ticks=FAR_BID, approved_ns=ready.now_ns - 10_000_000_000)
    ready.run(0.02)
    assert ready.reports(order) == ["NOT_SENT"] and ready.told[-1][0]["reason"] == ExecutionCode.TOO_OLD_AT_SEND


def test_orders_that_an_earlier_epoch_left_are_canceled_at_the_start(
    desk: VenueDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.step()
    desk.open()
    desk.run(0.5)
    left = desk.send(price_ticks=FAR_BID)
    desk.run(0.05)
    assert len(desk.account()["open_orders"]) == 1 and desk.state(left) is OrderState.NEW
    with VenueDesk(tmp_path / "2", monkeypatch, desk.driver) as later:
        later.step()
        later.open()
        later.run(1.0)
        assert later.ready and later.account()["open_orders"] == [] and later.told == []


def test_each_side_and_time_in_force_reaches_the_venue_as_it_was_meant(ready: VenueDesk) -> None:
    resting = ready.send(price_ticks=NEAR_ASK, side=Side.SELL, flags=OrderFlag.POST_ONLY)
    killed = ready.send(price_ticks=FAR_BID, tif=TimeInForce.FOK)
    gone = ready.send(price_ticks=FAR_BID, tif=TimeInForce.IOC)
    ready.run(0.1)
    assert ready.state(resting) is OrderState.NEW
    assert ready.state(killed) is OrderState.EXPIRED and ready.state(gone) is OrderState.EXPIRED
    assert [order["side"] for order in ready.account()["open_orders"]] == ["SELL"]


def test_garbage_from_the_venue_is_counted_and_stops_nothing(ready: VenueDesk) -> None:
    assert ready.session is not None
    for text in (b"not json", b"{}", b'{"id":"zz","status":200}', b'{"event":{"e":"executionReport"}}'):
        ready.session.outbox.append((Opcode.TEXT, text))
    order = ready.send(price_ticks=FAR_BID)
    ready.run(0.05)
    assert ready.state(order) is OrderState.NEW
