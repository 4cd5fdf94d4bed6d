"""Binance account: scripted dialogues of log-on, queries and reconciliation, with both kinds of keys."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hft.records import INSTRUMENT, ORDER, FeeAsset, IntentKind, Liquidity, OrderState, Side, TimeInForce, VenueEventKind
from hft.venues.binance.account import ANSWER_NS, LIFE_NS, RETRY_NS, TIME_NS, BinanceAccount
from hft.venues.binance.kernels import may_send, note_sent
from hft.venues.binance.limits import COUNT, LIMIT, UNANSWERED, WEIGHT, WORDS
from hft.venues.binance.orders import ASKED_ID, ASKED_KEY, ASKED_ROW, REQUEST_BYTES_MAX, asked_place, encode, new_codec
from hft.venues.binance.signing import ws_payload
from hft.venues.interface import HANDSHAKE_NS, AccountSession, Call, Credentials, Outgoing, Text
from support.bookings import nothing_booked

SECOND_NS = 1_000_000_000
UTC_NS = 1_700_000_000 * SECOND_NS
SYMBOLS, ROWS, ASSETS = ["BTCUSDT", "ETHUSDT"], [1, 2], ["BTC", "USDT", "ETH"]
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PEM = PRIVATE.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
ED25519, HMAC = Credentials("ed-key", PEM), Credentials("hmac-key", b"secret")
OURS, FOREIGN = 0x1_0000_0000_2A, "web_1"
HEX = f"{OURS:016x}"


class Desk:
    """An account in virtual time; `said` are the requests that it has made and that were not answered."""

    def __init__(self, credentials: Credentials = ED25519) -> None:
        rows = np.zeros(3, INSTRUMENT)
        rows["tick_units"], rows["lot_units"], rows["price_decimals"], rows["qty_decimals"] = 1, 1, 2, 5
        rows["base_asset"], rows["quote_asset"] = (0, 0, 2), 1
        self.codec = new_codec(rows, SYMBOLS, ROWS, ASSETS, credentials=credentials)
        self.account = BinanceAccount(credentials, self.codec, SYMBOLS, ROWS, ASSETS, "wss://ws-api.binance.com:443")
        self.now_ns = SECOND_NS
        self.said: list[dict[str, Any]] = []

    @property
    def utc_ns(self) -> int:
        return UTC_NS + self.now_ns

    def hear(self, outgoing: list[Outgoing]) -> None:
        for one in outgoing:
            assert isinstance(one, Text)
            self.said.append(json.loads(one.data))

    def hello(self) -> None:
        self.hear(self.account.hello(self.now_ns, self.utc_ns))

    def tick(self, later_ns: int = 0) -> None:
        self.now_ns += later_ns
        self.hear(self.account.tick(self.now_ns, self.utc_ns))

    def take(self, message: Any) -> None:
        self.hear(self.account.take(json.dumps(message).encode(), self.now_ns, self.utc_ns))

    def next(self, method: str) -> dict[str, Any]:
        """The oldest unanswered request, which must be of this method."""
        assert self.said and self.said[0]["method"] == method, [one["method"] for one in self.said]
        return self.said.pop(0)

    def answer(self, method: str, result: Any) -> dict[str, Any]:
        request = self.next(method)
        self.take({"id": request["id"], "status": 200, "result": result})
        return request

    def refuse(self, method: str, code: int, status: int = 400, data: Any = None, msg: str = "no") -> dict[str, Any]:
        request = self.next(method)
        self.take({"id": request["id"], "status": status, "error": {"code": code, "msg": msg, "data": data}})
        return request

    def answer_time(self, ahead_ns: int = 0) -> None:
        self.answer("time", {"serverTime": (self.utc_ns + ahead_ns) // 10**6})

    def remembered(self, key: int, row: int = 1) -> None:
        """The kernels sent order OURS and heard the venue's id of it."""
        asked = self.codec.asked[asked_place(OURS)]
        asked[ASKED_ID], asked[ASKED_KEY], asked[ASKED_ROW] = OURS, key, row


def ready(credentials: Credentials = ED25519) -> Desk:
    desk = Desk(credentials)
    desk.hello()
    desk.answer_time()
    if credentials is ED25519:
        desk.answer("session.logon", {"apiKey": "ed-key"})
        desk.answer("userDataStream.subscribe", {"subscriptionId": 0})
    else:
        desk.answer("userDataStream.subscribe.signature", {"subscriptionId": 0})
    assert desk.account.ready and not desk.said
    return desk


def status(key: int = 12, state: str = "NEW", done: str = "0.00000", client: str = HEX, **more: Any) -> dict[str, Any]:
    order = {"symbol": "BTCUSDT", "orderId": key, "clientOrderId": client, "price": "100.00", "origQty": "1.00000", "executedQty": done}
    return order | {"status": state, "side": "SELL", "time": 1660801715639, "updateTime": 1660801717945} | more


def fill(number: int, key: int = 12, **more: Any) -> dict[str, Any]:
    trade = {"symbol": "BTCUSDT", "id": number, "orderId": key, "price": "99.50", "qty": "0.25000", "commission": "0.00012345"}
    return trade | {"commissionAsset": "BTC", "time": 1660801715793 + number, "isBuyer": False, "isMaker": True} | more


def test_ed25519_key_logs_on_and_then_only_tells_the_time() -> None:
    desk = Desk()
    session: AccountSession = desk.account
    endpoint = session.endpoint()
    assert endpoint is not None and endpoint.url == "wss://ws-api.binance.com:443/ws-api/v3"
    assert session.prepare(0, 0) == [] and session.answer(0, 200, b"", 0, 0) == []
    desk.hello()
    assert [one["method"] for one in desk.said] == ["time"] and "params" not in desk.said[0]
    desk.answer_time()
    params = dict(desk.answer("session.logon", {"apiKey": "ed-key"})["params"])
    PRIVATE.public_key().verify(base64.b64decode(params.pop("signature")), ws_payload(params))
    assert params == {"apiKey": "ed-key", "timestamp": desk.utc_ns // 10**6} and not session.ready
    assert "params" not in desk.answer("userDataStream.subscribe", {"subscriptionId": 0})
    assert session.ready
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    assert desk.said[0]["params"] == {"symbol": "BTCUSDT", "origClientOrderId": HEX, "timestamp": desk.utc_ns // 10**6}


def test_hmac_key_signs_each_request_and_logs_on_never() -> None:
    desk = ready(HMAC)
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    params = desk.said[0]["params"]
    assert params["apiKey"] == "hmac-key" and len(params["signature"]) == 64


def test_venues_clock_is_that_of_the_quickest_answer_and_is_used() -> None:
    desk = Desk()
    desk.hello()
    desk.now_ns += SECOND_NS
    request = desk.next("time")
    server_ns = UTC_NS + 5 * SECOND_NS
    desk.take({"id": request["id"], "status": 200, "result": {"serverTime": server_ns // 10**6}})
    assert desk.account.clock_offset_ns == server_ns + 500_000 - (UTC_NS + SECOND_NS + SECOND_NS // 2)
    assert desk.said[0]["params"]["timestamp"] == (desk.utc_ns + desk.account.clock_offset_ns) // 10**6
    desk.said.clear()
    desk.tick(TIME_NS)
    desk.now_ns += 10**6
    desk.answer_time(ahead_ns=2 * SECOND_NS)
    assert abs(desk.account.clock_offset_ns - 2 * SECOND_NS) < 2 * 10**6


@pytest.mark.parametrize(("code", "credentials"), [(-2015, ED25519), (-1022, ED25519), (-2014, HMAC)])
def test_key_that_is_refused_is_fatal_and_nothing_more_is_said(code: int, credentials: Credentials) -> None:
    desk = Desk(credentials)
    desk.hello()
    desk.answer_time()
    desk.refuse(desk.said[0]["method"], code, msg="Invalid API-key, IP, or permissions for action.")
    assert str(code) in desk.account.fatal and not desk.account.ready and desk.account.endpoint() is None
    desk.tick(TIME_NS)
    assert not desk.said


def test_log_on_refused_for_the_clock_begins_again_with_the_time() -> None:
    desk = Desk()
    desk.hello()
    desk.answer_time()
    desk.refuse("session.logon", -1021)
    assert not desk.account.fatal and not desk.said
    desk.tick(SECOND_NS)
    desk.answer_time(ahead_ns=3 * SECOND_NS)
    assert desk.said[0]["params"]["timestamp"] == (desk.utc_ns + desk.account.clock_offset_ns) // 10**6
    assert abs(desk.account.clock_offset_ns - 3 * SECOND_NS) < 10**6


def test_a_refusal_for_the_time_has_the_clock_asked_again_at_once() -> None:
    desk = ready()
    desk.tick(RETRY_NS)
    assert not desk.said
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    desk.refuse("order.status", -1021)
    desk.tick()
    desk.answer_time(ahead_ns=-7 * SECOND_NS)
    assert abs(desk.account.clock_offset_ns + 7 * SECOND_NS) < 2 * 10**6
    desk.account.ask_clock(desk.now_ns)
    desk.tick(RETRY_NS - 1)
    assert not desk.said, "it has just been asked"
    desk.tick(1)
    assert [one["method"] for one in desk.said] == ["time"]


def test_session_that_the_venue_revokes_is_fatal() -> None:
    desk = ready()
    desk.take({"id": None, "status": 401, "error": {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}})
    assert "-2015" in desk.account.fatal and not desk.account.ready


def test_stream_that_ends_asks_for_a_new_connection() -> None:
    desk = ready()
    desk.take({"subscriptionId": 0, "event": {"e": "eventStreamTerminated", "E": 1}})
    assert not desk.account.ready and desk.account.shutdown, "what was not told meanwhile is asked for on the next one"


def test_shutdown_of_the_venue_and_old_age_ask_for_a_new_connection() -> None:
    desk = ready()
    assert not desk.account.shutdown
    desk.take({"event": {"e": "serverShutdown", "E": 1770123456789}})
    assert desk.account.shutdown
    desk.hello()
    assert not desk.account.shutdown and not desk.account.ready
    desk = ready()
    desk.tick(LIFE_NS - 1)
    assert not desk.account.shutdown
    desk.tick(1)
    assert desk.account.shutdown


def test_log_on_without_an_answer_asks_for_a_new_connection() -> None:
    desk = Desk()
    desk.hello()
    desk.answer_time()
    desk.tick(HANDSHAKE_NS - 1)
    assert not desk.account.shutdown
    desk.tick(1)
    assert desk.account.shutdown


def test_time_that_is_not_told_asks_for_a_new_connection_and_one_that_is_refused_is_asked_for_again() -> None:
    desk = Desk()
    desk.hello()
    desk.refuse("time", -1003, 400)
    assert not desk.account.shutdown and not desk.said
    desk.tick(SECOND_NS)
    desk.next("time")
    desk.tick(HANDSHAKE_NS)
    assert desk.account.shutdown


def test_lost_connection_answers_nothing_that_was_sent_on_it() -> None:
    desk = ready()
    note_sent(desk.codec, int(IntentKind.NEW), 1, desk.now_ns, desk.utc_ns)
    assert desk.codec.limits[WEIGHT, UNANSWERED] == 1
    desk.account.lost(desk.now_ns)
    assert not desk.codec.limits[:WORDS, UNANSWERED].any()


def test_query_of_an_unfilled_order_gives_its_state() -> None:
    desk = ready()
    for _ in range(2):
        desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    assert len(desk.said) == 1, "asked once at a time"
    desk.answer("order.status", status(state="CANCELED"))
    (event,) = desk.account.events
    assert (event["kind"], event["state"], event["order_id"], event["instrument"]) == (VenueEventKind.STATUS, OrderState.CANCELED, OURS, 1)
    assert (event["price_ticks"], event["qty_lots"], event["cum_lots"], event["venue_key"]) == (10_000, 100_000, 0, 12)
    assert event["exchange_ns"] == 1660801717945 * 10**6 and event["side"] == Side.SELL
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    assert len(desk.said) == 1, "and again after the answer"


def test_query_of_a_filled_order_gives_the_fills_before_the_state() -> None:
    desk = ready()
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    desk.answer("order.status", status(state="PARTIALLY_FILLED", done="0.50000"))
    assert desk.account.events == []
    request = desk.answer("myTrades", [fill(8), fill(7, commissionAsset="USDT", isMaker=False, isBuyer=True)])
    assert request["params"]["orderId"] == 12 and request["params"]["symbol"] == "BTCUSDT"
    first, second, last = desk.account.events
    assert (first["trade_id"], second["trade_id"], last["kind"]) == (7, 8, VenueEventKind.STATUS)
    assert (first["fee_asset"], first["liquidity"], first["side"]) == (FeeAsset.QUOTE, Liquidity.TAKER, Side.BUY)
    assert (second["fee_asset"], second["liquidity"], second["fee_e8"], second["last_lots"]) == (
        FeeAsset.BASE,
        Liquidity.MAKER,
        12345,
        25_000,
    )
    assert (second["order_id"], second["last_price_ticks"], second["price_ticks"], second["qty_lots"]) == (OURS, 9950, 10_000, 100_000)
    assert (last["state"], last["cum_lots"]) == (OrderState.PARTIALLY_FILLED, 50_000)


def test_order_that_is_not_found_is_asked_for_by_the_id_that_a_cancel_leaves() -> None:
    desk = ready()
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    assert desk.refuse("order.status", -2013)["params"]["origClientOrderId"] == HEX
    assert desk.account.events == []
    assert desk.refuse("order.status", -2013)["params"]["origClientOrderId"] == "x" + HEX
    (event,) = desk.account.events
    assert (event["kind"], event["order_id"], event["instrument"]) == (VenueEventKind.NOT_FOUND, OURS, 1)


def test_order_whose_key_was_seen_is_asked_for_by_it_and_once() -> None:
    desk = ready()
    desk.remembered(key=77)
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    assert desk.refuse("order.status", -2013)["params"]["orderId"] == 77
    assert [int(event["kind"]) for event in desk.account.events] == [VenueEventKind.NOT_FOUND]


@pytest.mark.parametrize(
    "answer", [{"status": 504, "error": {"code": -1007, "msg": "Timeout"}}, {"status": 200, "result": {"orderId": "x"}}]
)
def test_query_without_a_good_answer_proves_nothing_and_may_be_repeated(answer: dict[str, Any]) -> None:
    desk = ready()
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    desk.take({"id": desk.next("order.status")["id"], **answer})
    assert desk.account.events == []
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    assert len(desk.said) == 1
    desk.said.clear()
    desk.tick(ANSWER_NS)
    desk.said.clear()
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    assert len(desk.said) == 1, "no answer at all is no answer either"


def test_reconciliation_gathers_open_orders_fills_and_balances() -> None:
    desk = ready()
    desk.remembered(key=13)
    desk.hear(desk.account.reconcile(lambda row, trade_id: trade_id < 6, desk.now_ns, desk.utc_ns))
    desk.answer("openOrders.status", [status(12, client="0000010000000007"), status(99, client=FOREIGN)])
    assert desk.answer("openOrders.status", [])["params"]["symbol"] == "ETHUSDT"
    request = desk.answer("myTrades", [fill(9, 14), fill(6, 12), fill(7, 13), fill(8, 14), fill(5, 11)])
    assert request["params"]["limit"] == 1000
    desk.answer("myTrades", [])
    balances = [{"asset": "BTC", "free": "1.3", "locked": "0.1"}]
    assert desk.answer("account.status", {"balances": balances})["params"]["omitZeroBalances"] is True
    assert desk.account.snapshot is None
    assert desk.answer("order.status", status(14, "FILLED", "0.5", client="x0000010000000009"))["params"]["orderId"] == 14
    snapshot = desk.account.snapshot
    assert snapshot is not None and not desk.said
    assert snapshot.open_orders["order_id"].tolist() == [0x10000000007, 0]
    assert (snapshot.open_orders["kind"] == VenueEventKind.STATUS).all() and snapshot.open_orders["state"].tolist() == [OrderState.NEW] * 2
    assert snapshot.fills["trade_id"].tolist() == [6, 7, 8, 9]
    assert snapshot.fills["order_id"].tolist() == [0x10000000007, OURS, 0x10000000009, 0x10000000009]
    assert (snapshot.fills["kind"] == VenueEventKind.TRADE).all() and snapshot.balances == {"BTC": ("1.3", "0.1")}


def test_a_reconciliation_says_nothing_of_the_next_connection() -> None:
    desk = ready()
    desk.hear(desk.account.reconcile(nothing_booked, desk.now_ns, desk.utc_ns))
    for method, result in (("openOrders.status", []),) * 2 + (("myTrades", []),) * 2 + (("account.status", {"balances": []}),):
        desk.answer(method, result)
    assert desk.account.snapshot is not None
    desk.account.lost(desk.now_ns)
    assert desk.account.snapshot is None


def test_reconciliation_pages_back_through_many_fills_until_one_is_booked() -> None:
    desk = ready()
    desk.hear(desk.account.reconcile(lambda row, trade_id: trade_id < 500, desk.now_ns, desk.utc_ns))
    for _ in ROWS:
        desk.answer("openOrders.status", [])
    newest = [fill(number, key=12) | {"time": 7_000_000 + number} for number in range(1000, 2000)]
    assert "endTime" not in desk.answer("myTrades", newest)["params"]
    desk.answer("myTrades", [])
    desk.answer("account.status", {"balances": []})
    older = [fill(number, key=12) | {"time": 7_000_000 + number} for number in range(400, 1001)]
    assert desk.answer("myTrades", older)["params"]["endTime"] == 7_001_000
    desk.answer("order.status", status(12, "FILLED", "1.0", client=FOREIGN))
    assert desk.account.snapshot is not None and desk.account.snapshot.fills["trade_id"].tolist() == list(range(500, 2000))
    assert not desk.account.snapshot.fills["order_id"].any(), "a foreign order's"


def test_fills_that_are_booked_cost_no_question() -> None:
    desk = ready()
    desk.hear(desk.account.reconcile(lambda row, trade_id: True, desk.now_ns, desk.utc_ns))
    for method, result in (("openOrders.status", []),) * 2 + (("myTrades", [fill(7, 13)]),) * 2 + (("account.status", {"balances": []}),):
        desk.answer(method, result)
    assert not desk.said and desk.account.snapshot is not None and len(desk.account.snapshot.fills) == 0


def test_reconciliation_with_a_missing_answer_gives_no_snapshot() -> None:
    desk = ready()
    desk.hear(desk.account.reconcile(nothing_booked, desk.now_ns, desk.utc_ns))
    desk.refuse("openOrders.status", -1007, 504)
    for method, result in (("openOrders.status", []), ("myTrades", []), ("myTrades", []), ("account.status", {"balances": []})):
        desk.answer(method, result)
    assert desk.account.snapshot is None
    desk.hear(desk.account.reconcile(nothing_booked, desk.now_ns, desk.utc_ns))
    for method, result in [("openOrders.status", [])] * 2 + [("myTrades", [])] * 2 + [("account.status", {"balances": []})]:
        desk.answer(method, result)  # type: ignore[arg-type]
    assert desk.account.snapshot is not None and len(desk.account.snapshot.fills) == 0


def test_newer_reconciliation_replaces_the_one_under_way() -> None:
    desk = ready()
    for _ in range(2):
        desk.hear(desk.account.reconcile(nothing_booked, desk.now_ns, desk.utc_ns))
    for _ in range(2):
        for method in ["openOrders.status"] * 2 + ["myTrades"] * 2 + ["account.status"]:
            assert desk.account.snapshot is None
            desk.answer(method, {"balances": []} if method == "account.status" else [])
    assert desk.account.snapshot is not None


def test_lost_connection_forgets_what_was_asked() -> None:
    desk = ready()
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    late = desk.said[0]["id"]
    desk.account.lost(desk.now_ns)
    assert not desk.account.ready
    desk.take({"id": late, "status": 200, "result": status()})
    assert desk.account.events == [] and desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns) == []
    desk.tick(TIME_NS)
    assert desk.said == desk.said[:1]


def test_queries_wait_for_their_weight_and_leave_the_rest_of_the_address_alone() -> None:
    desk = ready()
    desk.codec.limits[WEIGHT, LIMIT] = 100
    for number in range(1, 20):
        desk.hear(desk.account.query(number, 1, desk.now_ns, desk.utc_ns))
    # Of 100, 40 are execution's; 7 went into connecting, the time, the log-on and the subscription.
    assert len(desk.said) == 8 and int(desk.codec.limits[WEIGHT, COUNT]) == 39
    desk.tick(60 * SECOND_NS)
    assert len(desk.said) == 8 + 1 + 9, "the time, and what fits of the next minute"
    assert may_send(desk.codec, int(IntentKind.CANCEL), 1, desk.now_ns, desk.utc_ns) == 0


def test_ban_silences_the_session_until_it_ends() -> None:
    desk = ready()
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    until_ms = (desk.utc_ns + 5 * SECOND_NS) // 10**6
    desk.refuse("order.status", -1003, 418, {"serverTime": desk.utc_ns // 10**6, "retryAfter": until_ms})
    desk.hear(desk.account.query(OURS, 1, desk.now_ns, desk.utc_ns))
    assert not desk.said and may_send(desk.codec, int(IntentKind.NEW), 1, desk.now_ns, desk.utc_ns) > 0
    desk.tick(5 * SECOND_NS - 10**6)
    assert not desk.said
    desk.tick(10**6)
    assert [one["method"] for one in desk.said] == ["order.status"]


def test_ids_of_the_session_are_no_order_ids() -> None:
    desk = ready()
    order, request = np.zeros(1, ORDER), np.zeros(REQUEST_BYTES_MAX, np.uint8)
    order["order_id"], order["kind"], order["instrument"], order["side"], order["tif"] = OURS, IntentKind.NEW, 1, Side.BUY, TimeInForce.GTC
    order["price_ticks"], order["qty_lots"] = 1, 1
    end = encode(desk.codec, order, 0, OURS, 0, desk.utc_ns, request, 0)
    assert json.loads(bytes(request[:end]))["id"] == HEX
    desk.hear(desk.account.reconcile(nothing_booked, desk.now_ns, desk.utc_ns))
    assert all("-" in one["id"] and len(one["id"]) != 16 for one in desk.said)
    assert not any(isinstance(one, Call) for one in desk.account.tick(desk.now_ns, desk.utc_ns))


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"7", b"[]", b"null", b'{"event":[]}', b'{"id":null,"error":3}'])
def test_a_message_that_is_not_as_documented_ends_the_connection_and_raises_nothing(data: bytes) -> None:
    desk = ready()
    desk.hear(desk.account.take(data, desk.now_ns, desk.utc_ns))
    assert desk.account.shutdown
