"""The codec and the account session speak with the simulated venue: what either side believes is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hft.records import INSTRUMENT, ORDER, VENUE_EVENT, IntentKind, OrderFlag, OrderState, Side, TimeInForce, VenueEventKind, VenueReason
from hft.sim.binance.keys import ALICE_KEY, ALICE_SECRET, BOB_KEY, BOB_PRIVATE_KEY
from hft.sim.venue import Opcode
from hft.venues.binance.account import BinanceAccount
from hft.venues.binance.kernels import may_send
from hft.venues.binance.orders import REQUEST_BYTES_MAX, encode, encode_market, new_codec
from hft.venues.binance.private import scan_private
from hft.venues.interface import Credentials, Outgoing, Text
from hft.venues.outcomes import Scanned
from support.virtual_venue import MS, WALL_NS, VirtualVenue

K, R = VenueEventKind, VenueReason
PEM = b"-----BEGIN PRIVATE KEY-----\n" + BOB_PRIVATE_KEY.encode() + b"\n-----END PRIVATE KEY-----\n"
KEYS = {"hmac": Credentials(ALICE_KEY, ALICE_SECRET.encode()), "ed25519": Credentials(BOB_KEY, PEM)}
ASSETS = ["BTC", "USDT"]


class Client:
    """One connection of the engine's side, in the venue's virtual time."""

    def __init__(self, kind: str, driver: VirtualVenue | None = None, **options: Any) -> None:
        self.driver = driver or VirtualVenue()
        rows = np.zeros(1, INSTRUMENT)
        rows["tick_units"], rows["lot_units"], rows["price_decimals"], rows["qty_decimals"] = 1, 1, 2, 5
        rows["base_asset"], rows["quote_asset"] = 0, 1
        credentials = KEYS[kind]
        self.codec = new_codec(rows, ["BTCUSDT"], [0], ASSETS, credentials=credentials, **options)
        self.account = BinanceAccount(credentials, self.codec, ["BTCUSDT"], [0], ASSETS, "ws://venue")
        self.out, self.request = np.zeros(64, VENUE_EVENT), np.zeros(REQUEST_BYTES_MAX, np.uint8)
        self.events: list[dict[str, int]] = []
        self.connect()

    def connect(self) -> None:
        endpoint = self.account.endpoint()
        assert endpoint is not None
        self.session = self.driver.venue.open(
            self.driver.venue.admit(endpoint.url.removeprefix("ws://venue"), {}, self.now_ns), self.now_ns
        )
        self.driver.sent[self.session.number] = []
        self.say(self.account.hello(self.now_ns, self.utc_ns))

    @property
    def now_ns(self) -> int:
        return self.driver.now_ns

    @property
    def utc_ns(self) -> int:
        return WALL_NS + self.now_ns

    def say(self, outgoing: list[Outgoing]) -> None:
        for one in outgoing:
            assert isinstance(one, Text)
            self.driver.venue.receive(self.session, Opcode.TEXT, one.data, self.now_ns)
        if outgoing:
            self.hear()

    def hear(self) -> None:
        """Take what the venue said; cold messages go to the account, which may say more."""
        said = [bytes(payload) for opcode, payload in self.session.outbox if opcode == Opcode.TEXT]
        self.session.outbox.clear()
        for payload in said:
            data: Any = np.frombuffer(payload, np.uint8).copy()
            count = int(scan_private(self.codec, data, 0, len(data), self.now_ns, self.out))
            assert count != Scanned.MALFORMED, payload
            if count == Scanned.COLD:
                self.say(self.account.take(payload, self.now_ns, self.utc_ns))
            else:
                self.events += [
                    {name: int(row[name]) for name in VENUE_EVENT.names if name != "reserved"} for row in self.out[: max(0, count)]
                ]

    def order(
        self, order_id: int, kind: IntentKind = IntentKind.NEW, ref: int = 0, market: bool = False, **fields: Any
    ) -> list[dict[str, int]]:
        """Send a request; return the events that came with it."""
        orders = np.zeros(1, ORDER)
        values = {"side": Side.BUY, "tif": TimeInForce.GTC, "price_ticks": 50_000_00, "qty_lots": 1000} | fields
        for name, value in {"order_id": order_id, "kind": kind, **values}.items():
            orders[name] = value
        if market:
            end = encode_market(self.codec, orders, 0, order_id, self.utc_ns, self.request, 0)
        else:
            end = encode(self.codec, orders, 0, order_id, ref, self.utc_ns, self.request, 0)
        assert end > 0
        self.events.clear()
        self.driver.venue.receive(self.session, Opcode.TEXT, bytes(self.request[:end]), self.now_ns)
        self.hear()
        return list(self.events)

    def query(self, order_id: int) -> list[Any]:
        self.account.events.clear()
        self.say(self.account.query(order_id, 0, self.now_ns, self.utc_ns))
        return list(self.account.events)

    def reconcile(self, since: int = 0) -> Any:
        self.say(self.account.reconcile([since], self.now_ns, self.utc_ns))
        assert self.account.snapshot is not None
        return self.account.snapshot


@pytest.fixture(params=["hmac", "ed25519"])
def client(request: pytest.FixtureRequest) -> Client:
    client = Client(request.param)
    assert client.account.ready and not client.account.fatal
    return client


def told(events: list[dict[str, int]]) -> set[tuple[int, int]]:
    return {(event["kind"], event["order_id"]) for event in events}


def test_order_lives_is_queried_and_is_canceled(client: Client) -> None:
    events = client.order(11)
    assert told(events) == {(K.ACK, 11)} and len(events) == 2, "by the reply and by the stream"
    assert len({event["venue_key"] for event in events}) == 1
    (status,) = client.query(11)
    assert (status["state"], status["cum_lots"], status["price_ticks"], status["qty_lots"]) == (OrderState.NEW, 0, 50_000_00, 1000)
    events = client.order(12, IntentKind.CANCEL, ref=11)
    assert told(events) == {(K.CANCELED, 11)} and len(events) == 2
    (status,) = client.query(11)
    assert status["state"] == OrderState.CANCELED
    client.codec.asked[:] = 0
    (status,) = client.query(11)
    assert status["state"] == OrderState.CANCELED, "found by the id that the cancel left it with"
    assert [event["kind"] for event in client.query(99)] == [K.NOT_FOUND]
    (refused,) = client.order(13, IntentKind.CANCEL, ref=11)
    assert (refused["kind"], refused["reason"], refused["request_id"]) == (K.CANCEL_REJECTED, R.UNKNOWN_ORDER, 13)


def test_order_is_replaced_and_everything_is_canceled(client: Client) -> None:
    client.order(11)
    events = client.order(12, IntentKind.REPLACE, ref=11, price_ticks=49_000_00)
    assert told(events) == {(K.CANCELED, 11), (K.ACK, 12)}
    events = client.order(13, IntentKind.REPLACE, ref=11, price_ticks=49_000_00)
    assert [(event["kind"], event["order_id"], event["reason"]) for event in events] == [
        (K.CANCEL_REJECTED, 11, R.UNKNOWN_ORDER),
        (K.REJECTED, 0, R.UNKNOWN_ORDER),
    ]
    client.order(14)
    assert told(client.order(15, IntentKind.CANCEL_ALL)) == {(K.CANCELED, 12), (K.CANCELED, 14)}


def test_new_order_that_would_take_is_refused_after_its_cancel(client: Client) -> None:
    client.order(11)
    events = client.order(12, IntentKind.REPLACE, ref=11, price_ticks=80_000_00, flags=OrderFlag.POST_ONLY)
    assert (K.CANCELED, 11) in told(events)
    (refused,) = (event for event in events if event["kind"] == K.REJECTED)
    assert (refused["request_id"], refused["reason"], refused["venue_code"]) == (12, R.WOULD_TAKE, -2010)


def test_order_becomes_smaller_in_place(client: Client) -> None:
    client.codec.words[0] = 1
    client.order(11)
    events = client.order(12, IntentKind.REPLACE, ref=11, qty_lots=600)
    (reply,) = (event for event in events if event["request_id"])
    assert (reply["kind"], reply["order_id"], reply["request_id"], reply["qty_lots"]) == (K.AMENDED, 11, 12, 600)
    assert all(event["kind"] == K.AMENDED for event in events)
    (status,) = client.query(11)
    assert (status["state"], status["qty_lots"]) == (OrderState.NEW, 600)
    assert told(client.order(13, IntentKind.CANCEL, ref=11)) == {(K.CANCELED, 11)}


@pytest.mark.parametrize("market", [False, True])
def test_fills_are_told_by_the_stream_and_again_by_a_query(client: Client, market: bool) -> None:
    price = 0 if market else 80_000_00
    events = client.order(11, market=market, tif=TimeInForce.IOC, price_ticks=price, qty_lots=2000)
    fills = [event for event in events if event["kind"] == K.TRADE]
    assert fills and sum(fill["last_lots"] for fill in fills) == 2000 and fills[-1]["cum_lots"] == 2000
    *trades, status = client.query(11)
    assert (status["kind"], status["state"], status["cum_lots"]) == (K.STATUS, OrderState.FILLED, 2000)
    names = ("trade_id", "last_lots", "last_price_ticks", "fee_e8", "fee_asset", "liquidity", "side", "order_id", "venue_key", "instrument")
    assert [[int(trade[name]) for name in names] for trade in trades] == [[fill[name] for name in names] for fill in fills]
    snapshot = client.reconcile()
    assert snapshot.fills["trade_id"].tolist() == [fill["trade_id"] for fill in fills] and (snapshot.fills["order_id"] == 11).all()
    assert len(client.reconcile(since=fills[-1]["trade_id"]).fills) == 0


def test_refusals_of_the_venue_have_their_reasons(client: Client) -> None:
    for order_id in range(11):
        client.order(100 + order_id, price_ticks=60_000_00, qty_lots=14_900_000)
    for order, reason in (
        ({"qty_lots": 1, "price_ticks": 1000}, R.FILTER),
        ({"price_ticks": 80_000_00, "flags": OrderFlag.POST_ONLY}, R.WOULD_TAKE),
        ({"qty_lots": 15_000_000, "price_ticks": 59_000_00}, R.INSUFFICIENT_BALANCE),
    ):
        (refused,) = client.order(11, **order)
        assert (refused["kind"], refused["reason"], refused["request_id"], refused["order_id"]) == (K.REJECTED, reason, 11, 0), order
    client.order(21)
    (refused,) = client.order(21)
    assert (refused["kind"], refused["reason"]) == (K.REJECTED, R.DUPLICATE_ID)


def test_rest_of_an_order_that_must_fill_at_once_expires(client: Client) -> None:
    events = client.order(11, tif=TimeInForce.IOC)
    (expired,) = (event for event in events if event["kind"] == K.EXPIRED)
    assert (expired["order_id"], expired["cum_lots"], expired["reason"]) == (11, 0, R.NO_LIQUIDITY)
    (status,) = client.query(11)
    assert status["state"] == OrderState.EXPIRED


def test_reconciliation_after_a_lost_connection_tells_whose_everything_is(client: Client) -> None:
    client.order(11)
    client.order(12, side=Side.SELL, price_ticks=90_000_00)
    client.order(13, tif=TimeInForce.IOC, price_ticks=80_000_00)
    client.order(14, IntentKind.CANCEL, ref=12)
    client.account.lost(client.now_ns)
    client.codec.asked[:] = 0
    client.connect()
    snapshot = client.reconcile()
    assert snapshot.open_orders["order_id"].tolist() == [11] and snapshot.open_orders["state"].tolist() == [OrderState.NEW]
    assert len(snapshot.fills) > 0 and (snapshot.fills["order_id"] == 13).all()
    assert snapshot.balances["BTC"][0] and float(snapshot.balances["USDT"][1]) == pytest.approx(500.0)


@pytest.mark.parametrize(("fault", "kinds"), [({"kind": "order_error"}, {K.UNKNOWN, K.ACK}), ({"kind": "lose_ack"}, {K.ACK})])
def test_order_that_lives_although_its_answer_says_otherwise_is_found(client: Client, fault: dict[str, Any], kinds: set[K]) -> None:
    client.driver.fault(**fault)
    events = client.order(11)
    assert {event["kind"] for event in events} == kinds and not any(event["kind"] == K.REJECTED for event in events)
    (status,) = client.query(11)
    assert status["state"] == OrderState.NEW


@pytest.mark.parametrize("status", [429, 418])
def test_throttled_order_did_nothing_and_the_wait_is_kept(client: Client, status: int) -> None:
    client.driver.fault(kind="refuse_order", status=status, retry_after_s=30)
    (event,) = client.order(11)
    assert (event["kind"], event["request_id"], event["reason"]) == (K.THROTTLED, 11, R.RATE_LIMIT) and 0 < event[
        "retry_after_ns"
    ] <= 30 * 10**9
    assert (may_send(client.codec, int(IntentKind.CANCEL), 0, client.now_ns, client.utc_ns) > 0) == (event["venue_code"] == -1003)


def test_halted_instrument_and_shutdown_are_told(client: Client) -> None:
    client.driver.fault(kind="instrument_status", symbol="BTCUSDT", status="halted")
    (event,) = client.order(11)
    assert (event["kind"], event["reason"]) == (K.REJECTED, R.MARKET_CLOSED)
    client.driver.fault(kind="server_shutdown", after_ms=5000)
    client.hear()
    assert client.account.shutdown


def test_clock_of_the_venue_is_followed(client: Client) -> None:
    client.driver.fault(kind="clock_skew", skew_ms=7000)
    (refused,) = client.order(11)
    assert (refused["kind"], refused["reason"]) == (K.REJECTED, R.CLOCK)
    client.driver.now_ns += 40_000 * MS
    client.account.lost(client.now_ns)
    client.connect()
    assert client.account.ready and abs(client.account.clock_offset_ns - 7000 * MS) < 2 * MS


def test_wrong_key_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KEYS, "wrong", Credentials(ALICE_KEY, b"wrong"))
    client = Client("wrong")
    assert "-1022" in client.account.fatal and not client.account.ready
