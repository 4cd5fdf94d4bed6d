"""An order's life at Coinbase: from the request's bytes to its end, through the codec and the table of live orders."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from hft.live_events import on_event
from hft.live_orders import ASK, REPORTS_MAX, VENUE_KEY, begin_cancel, begin_order, make_unknown, new_live_orders, note_request, slot_now
from hft.records import ORDER, REPORT, IntentKind, Liquidity, OrderState, ReportKind, Side, TimeInForce, VenueReason
from hft.venues.codecs import encode, scan_private, scan_response
from hft.venues.coinbase.orders import REQUEST_BYTES_MAX
from support.coinbase_desk import ORDER_ID, array, body_of, codec, events_out, request_of
from support.coinbase_frames import MAKER, TAKER, message
from support.coinbase_frames import ORDER as UUID

CANCEL_ID = ORDER_ID + 1
SIZE = 150_000_000


class Desk:
    """One order of 1.5 BTC at 502.10, sent; what the venue says of it goes through the codec into the table."""

    def __init__(self, tif: TimeInForce = TimeInForce.GTC) -> None:
        self.codec, self.live = codec(), new_live_orders(16, 2, 1_000, 500, 100)
        self.events, self.reports = events_out(), np.zeros(REPORTS_MAX, REPORT)
        self.told: list[tuple[str, int]] = []  # kind, last_lots
        order = self._order(IntentKind.NEW, ORDER_ID)
        order["price_ticks"], order["qty_lots"], order["side"], order["tif"], order["sent_ns"] = 50_210, SIZE, Side.BUY, tif, 1
        out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
        end = int(encode(self.codec, order, 0, ORDER_ID, 0, 1, out, 0))
        self.oid = json.loads(request_of(out[:end].tobytes()).body)["client_oid"]
        note_request(self.live, order, 0, ORDER_ID)
        self.slot = int(begin_order(self.live, order, 0, 1))
        self.live.orders.rows[self.slot]["sent_ns"] = 1

    def _order(self, kind: IntentKind, identity: int) -> Any:
        order = np.zeros(1, ORDER)
        order["kind"], order["order_id"], order["instrument"] = kind, identity, 0
        return order

    def stream(self, *payloads: bytes) -> None:
        for payload in payloads:
            self._take(scan_private(self.codec, array(payload), 0, len(payload), 10, self.events))

    def answer(self, kind: IntentKind, identity: int, status: int, body: bytes) -> None:
        self._take(scan_response(self.codec, int(kind), identity, status, array(body), 0, len(body), 10, self.events))

    def cancel(self) -> None:
        order = self._order(IntentKind.CANCEL, CANCEL_ID)
        order["ref_order_id"] = ORDER_ID
        note_request(self.live, order, 0, ORDER_ID)
        scratch = events_out()
        self._note(begin_cancel(self.live, self.slot, 10, scratch, self.reports))

    def give_up(self) -> None:
        self._note(make_unknown(self.live, self.slot, 10, events_out(), self.reports))

    def _take(self, count: Any) -> None:
        for i in range(max(int(count), 0)):
            self._note(on_event(self.live, self.events, i, 10, self.reports))

    def _note(self, count: Any) -> None:
        self.told += [(ReportKind(int(report["kind"])).name, int(report["last_lots"])) for report in self.reports[: int(count)]]

    def received(self) -> bytes:
        said = {"order_id": UUID, "size": "1.5", "price": "502.1", "side": "buy", "client_oid": self.oid}
        return message("received", sequence=10, order_type="limit", **said)

    @property
    def state(self) -> OrderState:
        return OrderState(int(self.live.orders.rows[slot_now(self.live, ORDER_ID)]["state"]))

    @property
    def asks(self) -> bool:
        return bool(self.live.live[self.slot, ASK])


TAKEN = body_of(id=UUID, size="1.5", product_id="BTC-USD", side="buy", status="pending")
OPENED = message("open", sequence=12, order_id=UUID, price="502.1", remaining_size="1", side="buy")


def matched(trade_id: int, size: str, maker: bool) -> bytes:
    ids = {"maker_order_id": UUID if maker else MAKER, "taker_order_id": TAKER if maker else UUID, "trade_id": trade_id}
    mark = {"maker_fee_rate": "0.004"} if maker else {"taker_fee_rate": "0.006"}
    return message("match", sequence=11, size=size, price="502.1", side="buy" if maker else "sell", **ids, **mark)


def done(reason: str, remaining: str, **members: Any) -> bytes:
    return message("done", sequence=20, order_id=UUID, reason=reason, remaining_size=remaining, side="buy", **members)


@pytest.mark.parametrize("reply_first", [True, False])
def test_order_takes_rests_and_is_filled_each_thing_told_once(reply_first: bool) -> None:
    desk = Desk()
    if reply_first:
        desk.answer(IntentKind.NEW, ORDER_ID, 200, TAKEN)
        assert desk.told == [] and desk.state == OrderState.PENDING_NEW, "the API is not the engine"
    desk.stream(desk.received(), matched(1, "0.5", False), OPENED)
    if not reply_first:
        desk.answer(IntentKind.NEW, ORDER_ID, 200, TAKEN)
    desk.stream(matched(2, "0.4", True), matched(2, "0.4", True), matched(3, "0.6", True), done("filled", "0"))
    assert desk.told == [("ACK", 0), ("TRADE", 50_000_000), ("TRADE", 40_000_000), ("TRADE", 60_000_000)]
    assert desk.state == OrderState.FILLED and not desk.asks
    assert (desk.reports[0]["fee_e8"], desk.reports[0]["liquidity"]) == (120_504_000, Liquidity.MAKER)


def test_lost_match_shows_at_the_end_and_is_asked_for() -> None:
    for end in (done("filled", "0"), done("canceled", "0.5")):
        desk = Desk()
        desk.stream(desk.received(), matched(1, "0.5", False), OPENED, end)
        assert desk.state == OrderState.PARTIALLY_FILLED and desk.asks, "a fill is missing: no end yet"


def test_cancel_is_over_when_the_stream_says_so() -> None:
    desk = Desk()
    desk.stream(desk.received(), OPENED)
    desk.cancel()
    desk.answer(IntentKind.CANCEL, CANCEL_ID, 200, f'"{UUID}"'.encode())
    assert desk.state == OrderState.PENDING_CANCEL
    desk.stream(done("canceled", "1.5"))
    assert desk.state == OrderState.CANCELED and desk.told == [("ACK", 0), ("PENDING_CANCEL", 0), ("CANCELED", 0)]


def test_cancel_that_came_too_late_asks_what_became_of_the_order() -> None:
    desk = Desk()
    desk.stream(desk.received(), OPENED)
    desk.cancel()
    desk.answer(IntentKind.CANCEL, CANCEL_ID, 404, body_of(message="order not found"))
    assert desk.told[-1][0] == "CANCEL_REJECTED" and desk.asks


def test_rest_of_an_ioc_order_expires() -> None:
    desk = Desk(TimeInForce.IOC)
    desk.stream(desk.received(), matched(1, "0.5", False), done("canceled", "1", cancel_reason="101:Time In Force"))
    assert desk.state == OrderState.EXPIRED and desk.reports[0]["reason"] == VenueReason.NO_LIQUIDITY


def test_refused_order_never_lived() -> None:
    desk = Desk()
    desk.answer(IntentKind.NEW, ORDER_ID, 400, body_of(message="Insufficient funds"))
    assert desk.state == OrderState.REJECTED and desk.reports[0]["reason"] == VenueReason.INSUFFICIENT_BALANCE


@pytest.mark.parametrize("status", [0, 500, 504])
def test_order_of_a_broken_answer_is_unknown_until_the_stream_knows_it(status: int) -> None:
    desk = Desk()
    desk.answer(IntentKind.NEW, ORDER_ID, status, b"")
    assert desk.state == OrderState.UNKNOWN and desk.asks
    desk.stream(desk.received(), OPENED)
    assert desk.state == OrderState.NEW and not desk.asks


def test_stream_that_is_ahead_of_a_broken_answer_is_believed() -> None:
    desk = Desk()
    desk.stream(desk.received())
    desk.answer(IntentKind.NEW, ORDER_ID, 502, b"<html>")
    assert desk.state == OrderState.NEW and desk.told == [("ACK", 0)]


def test_forgotten_order_is_known_by_the_venues_key() -> None:
    desk = Desk()
    desk.stream(desk.received())
    desk.codec.remembered[:] = 0
    assert desk.live.live[desk.slot, VENUE_KEY] != 0
    desk.stream(matched(1, "1.5", True), done("filled", "0"))
    assert desk.state == OrderState.FILLED


def test_order_given_up_is_taken_back_by_a_fill() -> None:
    desk = Desk()
    desk.stream(desk.received())
    desk.give_up()
    assert desk.state == OrderState.UNKNOWN
    desk.stream(matched(1, "1.5", True))
    assert desk.state == OrderState.FILLED
