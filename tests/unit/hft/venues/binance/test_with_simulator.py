"""The codec and the account session speak with the simulated venue: what either side believes is the same."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from hft.book import best_ticks, book_at, level_lots, worse_ticks
from hft.counters import FeedCounter
from hft.decimals import parse_units
from hft.records import (
    INSTRUMENT,
    MARKET,
    ORDER,
    VENUE_EVENT,
    IntentKind,
    MarketKind,
    OrderFlag,
    OrderState,
    Side,
    TimeInForce,
    VenueEventKind,
    VenueReason,
)
from hft.sim.binance.keys import ALICE_KEY, ALICE_SECRET, BOB_KEY, BOB_PRIVATE_KEY
from hft.sim.venue import Opcode
from hft.venues.binance import feed as json_feed
from hft.venues.binance import sbe_feed
from hft.venues.binance.account import BinanceAccount
from hft.venues.binance.kernels import may_send
from hft.venues.binance.market import BinanceMarket
from hft.venues.binance.orders import REQUEST_BYTES_MAX, encode, encode_market, new_codec
from hft.venues.binance.private import scan_private
from hft.venues.binance.sync import overlap_until
from hft.venues.book_feed import LAST_ID, SYNCED, WANTS_SYNC
from hft.venues.interface import Booked, Call, Credentials, Outgoing, Text
from hft.venues.outcomes import Scanned
from support.bookings import nothing_booked
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

    def reconcile(self, booked: Booked = nothing_booked) -> Any:
        self.say(self.account.reconcile(booked, self.now_ns, self.utc_ns))
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
    assert len(client.reconcile(lambda row, trade_id: trade_id <= fills[-1]["trade_id"]).fills) == 0


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
    assert (refused["kind"], refused["reason"]) == (K.UNKNOWN, R.DUPLICATE_ID), "an order of that id lives"


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


class Follower:
    """A feed, the sessions of its connections, and the venue whose book it must have."""

    def __init__(self, module: Any, codec: str) -> None:
        self.driver = VirtualVenue(unlimited=True)
        table = np.zeros(1, INSTRUMENT)
        table["tick_units"], table["lot_units"], table["price_decimals"], table["qty_decimals"] = 1, 1, 2, 5
        make = module.new_sbe_feed if codec == "sbe" else module.new_feed
        self.module, self.counters = module, np.zeros(len(FeedCounter), np.int64)
        self.feed = make(table, ["BTCUSDT"], [0], 8000, 10**12, self.counters)
        self.market = BinanceMarket(["BTCUSDT"], [0], "ws://venue", codec=codec, api_key=BOB_KEY if codec == "sbe" else "")  # type: ignore[arg-type]
        self.out = np.zeros(65536, MARKET)
        self.sessions: list[Any] = []
        self.taken: list[int] = []
        self.told: dict[int, list[int]] = {int(MarketKind.TRADE): [], int(MarketKind.QUOTE): []}
        self.invalid = 0

    def open(self) -> None:
        endpoint = self.market.endpoint()
        target, headers = endpoint.url.removeprefix("ws://venue"), {name.lower(): value for name, value in endpoint.headers}
        session = self.driver.venue.open(self.driver.venue.admit(target, headers, self.driver.now_ns), self.driver.now_ns)
        self.driver.sent[session.number] = []
        self.sessions.append(session)
        self.taken.append(0)

    def run(self, seconds: float) -> None:
        until_ns = self.driver.now_ns + int(seconds * 10**9)
        while self.driver.now_ns < until_ns:
            self.driver.run(0.001, budget=1)
            for n, session in enumerate(self.sessions):
                sent = self.driver.sent[session.number]
                for opcode, payload in sent[self.taken[n] :]:
                    self._frame(int(opcode), bytes(payload))
                self.taken[n] = len(sent)
            if self.feed.state[0, WANTS_SYNC]:
                self.feed.state[0, WANTS_SYNC] = 0
                self._answer(self.market.resync(0, self.driver.now_ns))
            self._answer(self.market.tick(self.driver.now_ns))

    def _frame(self, opcode: int, payload: bytes) -> None:
        data: Any = np.frombuffer(bytearray(payload), np.uint8)
        count = int(self.module.on_frame(self.feed, data, 0, len(data), opcode, self.driver.now_ns, self.out))
        for record in self.out[:count]:
            if int(record["kind"]) in self.told:
                self.told[int(record["kind"])].append(int(record["venue_id"]))
            self.invalid += int(record["kind"]) == MarketKind.INVALID

    def _answer(self, outgoing: list[Outgoing]) -> None:
        for call in outgoing:
            assert isinstance(call, Call)
            body = self.driver.venue.request(call.method, call.target, {}, call.body, self.driver.now_ns).body
            data: Any = np.frombuffer(bytearray(body), np.uint8)
            self.module.on_snapshot(self.feed, call.tag, data, 0, len(data), self.driver.now_ns, self.out)

    def equals_the_venues(self) -> bool | None:
        """Whether the book is the venue's own; None while their update ids differ."""
        own = json.loads(self.driver.venue.control("GET", "/book?symbol=BTCUSDT", b"", self.driver.now_ns).body)
        if not self.feed.state[0, SYNCED] or own["lastUpdateId"] != self.feed.state[0, LAST_ID]:
            return None
        book, found = book_at(self.feed.books, 0), {}
        for side in (1, -1):
            price = best_ticks(book, side)
            while price:
                found[side, int(price)] = int(level_lots(book, side, price))
                price = worse_ticks(book, side, price)
        sides = ((1, own["bids"]), (-1, own["asks"]))
        return found == {(side, parse_units(price, 2)): parse_units(qty, 5) for side, levels in sides for price, qty in levels}


@pytest.mark.parametrize(("module", "codec"), [(json_feed, "json"), (sbe_feed, "sbe")], ids=["json", "sbe"])
def test_book_follows_the_venues_while_one_connection_replaces_the_other(module: Any, codec: str) -> None:
    follower = Follower(module, codec)
    follower.open()
    follower.run(0.5)
    overlap_until(follower.feed, follower.driver.now_ns + 10**9)
    follower.open()
    follower.run(0.3)
    first = follower.sessions.pop(0)
    follower.taken.pop(0)
    follower.driver.venue.closed(first)
    compared = 0
    for _ in range(150):
        follower.run(0.005)
        equal = follower.equals_the_venues()
        assert equal is not False
        compared += equal is True
    assert compared >= 3 and follower.invalid == 0 and follower.counters[FeedCounter.RESYNCS] == 1
    for kind, ids in follower.told.items():
        assert ids == sorted(set(ids)) and len(ids) > 3, MarketKind(kind).name
    assert follower.counters[FeedCounter.QUOTE_MISMATCHES] == 0
