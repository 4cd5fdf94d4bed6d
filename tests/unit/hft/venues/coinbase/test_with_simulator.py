"""The engine's Coinbase code speaks with the simulated venue: its books are the venue's, and what either side believes of orders is the same."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from hft.counters import FeedCounter
from hft.records import IntentKind, Liquidity, OrderFlag, OrderState, Side, TimeInForce, VenueEventKind, VenueReason
from hft.venues.coinbase.account_rows import order_id_of
from hft.venues.coinbase.capture import Player, survey
from support.coinbase_desk import PREFIX
from support.coinbase_trader import FeedClient, Trader
from support.coinbasesim import CoinbaseDriver

K, R = VenueEventKind, VenueReason
CHANNELS = ["level2_batch", "level2", "full"]
E8 = 100_000_000


def followed(channel: str, seconds: float = 2.5, seed: int = 1) -> FeedClient:
    client = FeedClient(channel, CoinbaseDriver(seed=seed))
    client.run(seconds)
    assert client.valid()
    return client


def agrees(client: FeedClient) -> bool:
    """Whether the book becomes the venue's; a batch may be under way."""
    for _ in range(40):
        if client.valid() and client.levels() == client.true_levels():
            return True
        client.run(0.05)
    return False


# --- books


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_lively_book_is_the_venues_in_every_level(channel: str) -> None:
    client = followed(channel, 5, seed=3)
    assert agrees(client)
    assert client.counters[FeedCounter.MALFORMED] == client.counters[FeedCounter.CROSSED] == client.counters[FeedCounter.GAPS] == 0
    assert client.counters[FeedCounter.HEARTBEATS] > 3 and [kind for kind, _ in client.told] == ["VALID"] and client.connects == 1


@pytest.mark.parametrize("channel", CHANNELS)
def test_trades_are_the_venues_with_the_aggressors_side(channel: str) -> None:
    client = followed(channel, 5)
    rows = {row["trade_id"]: row for row in client.driver.get("/products/BTC-USD/trades")}
    assert len(client.trades) > 50
    for trade_id, aggressor, ticks, lots in client.trades:
        row = rows[trade_id]
        assert (row["side"] == "sell") is (aggressor > 0)
        assert (Decimal(row["price"]), Decimal(row["size"])) == (Decimal(ticks) / 100, Decimal(lots) / E8)


@pytest.mark.parametrize("channel", CHANNELS)
def test_several_products_keep_books_of_their_own(channel: str) -> None:
    client = FeedClient(channel, CoinbaseDriver(symbols=("BTC-USD", "ETH-USD")), ("BTC-USD", "ETH-USD"))
    client.run(6)
    assert client.valid(0) and client.valid(1)
    for _ in range(40):
        equal = [client.levels(row) == client.true_levels(row) for row in (0, 1)]
        if all(equal):
            break
        client.run(0.05)
    assert all(equal)


@pytest.mark.parametrize(
    ("channel", "fault"),
    [
        ("level2_batch", {"kind": "crossed"}),
        ("level2", {"kind": "crossed"}),
        ("level2_batch", {"kind": "corrupt", "channel": "book", "how": "truncate"}),
        ("level2", {"kind": "corrupt", "channel": "book", "how": "bad_number"}),
        ("full", {"kind": "corrupt", "channel": "book", "how": "truncate"}),
        ("full", {"kind": "drop", "channel": "book", "count": 3}),
        ("full", {"kind": "reorder", "channel": "book"}),
        ("full", {"kind": "delay", "channel": "book", "delay_ms": 700}),
        ("level2_batch", {"kind": "silence", "channel": "any", "for_ms": 4000}),
    ],
)
def test_a_book_that_fell_out_of_step_comes_back_by_itself(channel: str, fault: dict[str, object]) -> None:
    client = followed(channel)
    client.driver.fault(**fault)
    # A subscription that is not answered is repeated after ten seconds.
    client.run(18 if fault["kind"] == "silence" else 6)
    assert [kind for kind, _ in client.told][:3] == ["VALID", "INVALID", "VALID"]
    assert agrees(client)


@pytest.mark.parametrize("channel", CHANNELS)
def test_repeated_frames_change_nothing(channel: str) -> None:
    client = followed(channel)
    client.driver.fault(kind="duplicate", channel="book", count=20)
    client.run(4)
    assert [kind for kind, _ in client.told] == ["VALID"] and agrees(client)


@pytest.mark.parametrize("how", ["not_utf8", "not_json", "empty"])
def test_frames_that_are_none_are_counted(how: str) -> None:
    client = followed("level2")
    client.driver.fault(kind="corrupt", channel="public", how=how)
    client.run(3)
    assert client.counters[FeedCounter.MALFORMED] == 1


def test_a_stale_snapshot_is_not_believed() -> None:
    client = FeedClient("full", CoinbaseDriver())
    client.driver.fault(kind="stale_snapshot", behind=1_000_000)
    client.run(8)
    assert client.valid() and agrees(client)


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_lost_connection_costs_the_book_until_the_next(channel: str) -> None:
    client = followed(channel)
    client.driver.fault(kind="disconnect", sockets="any")
    client.run(5)
    assert client.connects == 2 and [kind for kind, _ in client.told] == ["VALID", "INVALID", "VALID"] and agrees(client)


def test_a_dead_connection_is_left_although_it_is_open() -> None:
    client = followed("level2")
    assert client.session is not None
    # Nothing comes any more, not even heartbeats.
    first, client.session.outbox = client.session, client.driver.sent[client.session.number]
    client.driver.venue.closed(first)
    client.run(8)
    assert client.connects == 2 and agrees(client)


def test_rewinding_begins_anew() -> None:
    client = followed("full")
    client.driver.venue.control("POST", "/rewind", b"", client.driver.now_ns)
    client.run(6)
    assert client.connects == 2 and agrees(client)


@pytest.mark.parametrize(("channel", "least"), [("level2", 100), ("full", 100), ("level2_batch", 15)])
def test_what_the_venue_says_is_consistent_by_the_oracle_of_captures(channel: str, least: int) -> None:
    driver = CoinbaseDriver(seed=6)
    session = driver.followed(channel, "ticker", "matches", "heartbeat", key="alice-view")
    first = driver.request("GET", "/products/BTC-USD/book?level=3").body
    driver.run(12)
    payloads = driver.sent[session.number]
    player = Player(survey(payloads, [("BTC-USD", first)] if channel == "full" else []))
    for place, payload in enumerate(payloads):
        assert player.take(payload), payload
        if place == 5 and channel == "full":
            player.snapshot("BTC-USD", first)
    report = player.report()
    assert report["gaps"] == report["crossed"] == report["refused"] == report["missed_trades"] == report["strange_makers"] == 0
    assert report["sides"]["opposite"] > 100 and report["sides"]["same"] == 0
    assert report["equal"] == report["compared"] > least


# --- orders


@pytest.fixture
def trader() -> Trader:
    trader = Trader()
    assert trader.account.ready and not trader.account.fatal and trader.account.fees == ("0.004", "0.006")
    return trader


def kinds(events: list[dict[str, int]]) -> list[K]:
    return [K(event["kind"]) for event in events]


def test_an_order_lives_and_is_cancelled(trader: Trader) -> None:
    order_id, events = trader.send(flags=int(OrderFlag.POST_ONLY))
    assert kinds(events) == [K.ACK, K.ACK] and {event["order_id"] for event in events} == {order_id}
    assert (events[0]["price_ticks"], events[0]["qty_lots"]) == (5_000_000, 1_000_000)
    (row,) = trader.held()["open_orders"]
    assert (row["price"], row["qty"]) == ("50000.00", "0.01000000") and order_id_of(PREFIX, row["client_id"]) == order_id
    _, events = trader.send(IntentKind.CANCEL, ref=order_id)
    assert kinds(events) == [K.CANCELED] and (events[0]["order_id"], events[0]["cum_lots"]) == (order_id, 0)
    assert trader.held()["open_orders"] == []


def test_a_taker_is_filled_as_the_venue_says_fees_included(trader: Trader) -> None:
    order_id, events = trader.send(price_ticks=7_000_000, qty_lots=50_000_000)
    trades = [event for event in events if event["kind"] == K.TRADE]
    fills = trader.held()["fills"]
    assert len(trades) == len(fills) > 1 and sum(event["last_lots"] for event in trades) == 50_000_000
    for event, fill in zip(trades, fills, strict=True):
        assert (event["trade_id"], event["order_id"], event["liquidity"]) == (fill["trade_id"], order_id, Liquidity.TAKER)
        assert Decimal(event["last_price_ticks"]) / 100 == Decimal(fill["price"]) and event["side"] == Side.BUY
        # The venue's fee is rounded down where ours is to the nearest.
        assert abs(event["fee_e8"] - int(Decimal(fill["fee"]) * E8)) <= 1
    assert (events[-1]["kind"], events[-1]["state"], events[-1]["cum_lots"]) == (K.STATUS, OrderState.FILLED, 50_000_000)


def test_a_maker_is_filled_by_the_market(trader: Trader) -> None:
    bid, _ = trader.touch()
    ids = [trader.send(price_ticks=bid - place, qty_lots=10_000)[0] for place in range(8)]
    trader.run(60)
    trades = [event for event in trader.events if event["kind"] == K.TRADE]
    assert trades and {event["liquidity"] for event in trades} == {Liquidity.MAKER} and {event["order_id"] for event in trades} <= set(ids)
    assert sorted(event["trade_id"] for event in trades) == sorted(fill["trade_id"] for fill in trader.held()["fills"])


@pytest.mark.parametrize("tif", [TimeInForce.IOC, TimeInForce.FOK])
def test_what_does_not_wait_expires(trader: Trader, tif: TimeInForce) -> None:
    order_id, events = trader.send(tif=tif)
    assert (events[-1]["kind"], events[-1]["reason"], events[-1]["order_id"]) == (K.EXPIRED, R.NO_LIQUIDITY, order_id)
    _, events = trader.send(tif=tif, price_ticks=7_000_000, qty_lots=10_000)
    assert events[-1]["state"] == OrderState.FILLED


def test_a_market_order_sells(trader: Trader) -> None:
    order_id, events = trader.send(market=True, side=Side.SELL, qty_lots=2_000_000)
    trades = [event for event in events if event["kind"] == K.TRADE]
    assert sum(event["last_lots"] for event in trades) == 2_000_000 and {event["side"] for event in trades} == {Side.SELL}
    assert events[-1]["kind"] == K.STATUS and events[-1]["order_id"] == order_id


def test_a_post_only_order_that_would_take_never_lives(trader: Trader) -> None:
    order_id, events = trader.send(price_ticks=7_000_000, flags=int(OrderFlag.POST_ONLY))
    assert [(event["kind"], event["order_id"], event["reason"]) for event in events] == [(K.REJECTED, order_id, R.WOULD_TAKE)]


@pytest.mark.parametrize(
    ("status", "fields", "reason"),
    [
        ("trading", {"qty_lots": 10_000_000_000_000}, R.INSUFFICIENT_BALANCE),
        ("trading", {"price_ticks": 100, "qty_lots": 1000}, R.FILTER),
        ("cancel_only", {}, R.MARKET_CLOSED),
        ("post_only", {}, R.MARKET_CLOSED),
        ("halted", {}, R.MARKET_CLOSED),
    ],
)
def test_refusals_prove_that_an_order_never_lived(trader: Trader, status: str, fields: dict[str, int], reason: R) -> None:
    trader.driver.fault(kind="instrument_status", status=status)
    order_id, events = trader.send(**fields)
    assert [(event["kind"], event["order_id"], event["reason"]) for event in events] == [(K.REJECTED, order_id, reason)]


def test_orders_do_not_trade_with_themselves(trader: Trader) -> None:
    trader.driver.followed("ticker")
    inside = int(trader.driver.inside() * 100)
    resting, _ = trader.send(side=Side.SELL, price_ticks=inside, qty_lots=100_000)
    taking, events = trader.send(price_ticks=inside, qty_lots=100_000)
    assert [(event["kind"], event["order_id"], event["reason"]) for event in events[1:]] == [(K.CANCELED, taking, R.SELF_TRADE)]
    assert len(trader.held()["open_orders"]) == 1 and resting


def test_cancelling_what_is_over_is_refused(trader: Trader) -> None:
    filled, _ = trader.send(price_ticks=7_000_000, qty_lots=10_000)
    gone, _ = trader.send()
    trader.send(IntentKind.CANCEL, ref=gone)
    for ref in (filled, gone, 12345):
        _, events = trader.send(IntentKind.CANCEL, ref=ref)
        assert [(event["kind"], event["reason"]) for event in events] == [(K.CANCEL_REJECTED, R.UNKNOWN_ORDER)]


def test_cancelling_all_takes_the_products_orders(trader: Trader) -> None:
    ids = {trader.send(price_ticks=4_000_000 + place)[0] for place in range(3)}
    _, events = trader.send(IntentKind.CANCEL_ALL)
    assert {(event["kind"], event["order_id"]) for event in events} == {(K.CANCELED, order_id) for order_id in ids}


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ({"kind": "order_error", "status": 503}, K.UNKNOWN, R.VENUE_DOWN),
        ({"kind": "order_error", "status": 504, "html": True}, K.UNKNOWN, R.TIMEOUT),
        ({"kind": "rest_error", "status": 502, "html": True}, K.UNKNOWN, R.VENUE_DOWN),
        ({"kind": "refuse_order", "status": 429}, K.THROTTLED, R.RATE_LIMIT),
    ],
)
def test_answers_that_prove_nothing_are_followed_by_a_question(trader: Trader, fault: dict[str, object], kind: K, reason: R) -> None:
    trader.driver.fault(**fault)
    order_id, events = trader.send()
    assert (events[0]["kind"], events[0]["reason"], events[0]["request_id"]) == (kind, reason, order_id)
    (found,) = trader.query(order_id)
    lives = fault["kind"] == "order_error"
    assert found["kind"] == (K.STATUS if lives else K.NOT_FOUND) and found["order_id"] == order_id
    assert len(trader.held()["open_orders"]) == lives


def test_an_order_whose_answer_is_lost_is_found_with_its_fills(trader: Trader) -> None:
    trader.driver.fault(kind="lose_ack", action="place")
    trader.driver.fault(kind="silence", channel="private", for_ms=1000)
    order_id, events = trader.send(price_ticks=7_000_000, qty_lots=1_000_000)
    assert events == []
    found = trader.query(order_id)
    assert [K(int(event["kind"])) for event in found][-1] == K.STATUS and found[-1]["state"] == OrderState.FILLED
    assert sum(int(event["last_lots"]) for event in found[:-1]) == 1_000_000
    assert [int(event["trade_id"]) for event in found[:-1]] == [fill["trade_id"] for fill in trader.held()["fills"]]


@pytest.mark.parametrize("skew_ms", [-20_000, 0, 20_000])
@pytest.mark.parametrize("on_way_s", [0.0, 0.9, 1.1, 5.0, 28.0])
def test_an_order_cannot_arrive_after_its_window_whatever_the_clocks_are(on_way_s: float, skew_ms: int) -> None:
    driver = CoinbaseDriver()
    driver.fault(kind="clock_skew", skew_ms=skew_ms)
    trader = Trader(driver)
    _, events = trader.send(on_way_s=on_way_s)
    refused = [(event["kind"], event["reason"]) == (K.REJECTED, R.CLOCK) for event in events]
    assert any(refused) == (on_way_s > 1.0) and len(trader.held()["open_orders"]) == (on_way_s < 1.0)


def test_reconciliation_tells_what_the_venue_holds(trader: Trader) -> None:
    kept = {trader.send(price_ticks=4_000_000 + place)[0] for place in range(3)}
    trader.disconnect()
    filled, _ = trader.send(price_ticks=7_000_000, qty_lots=3_000_000)
    trader.run(2)
    trader.connect()
    assert trader.account.ready
    snapshot = trader.reconcile()
    assert {int(event["order_id"]) for event in snapshot.open_orders} == kept
    held = trader.held()
    assert [int(event["trade_id"]) for event in snapshot.fills] == [fill["trade_id"] for fill in held["fills"]]
    assert {int(event["order_id"]) for event in snapshot.fills} == {filled}
    assert [int(event["fee_e8"]) for event in snapshot.fills] == [int(Decimal(fill["fee"]) * E8) for fill in held["fills"]]
    for asset, (free, hold) in snapshot.balances.items():
        assert (Decimal(free), Decimal(hold)) == (Decimal(held["balances"][asset]["free"]), Decimal(held["balances"][asset]["hold"]))


def test_fills_of_many_pages_are_all_found(trader: Trader) -> None:
    first, _ = trader.send(price_ticks=7_000_000, qty_lots=10_000)
    since = trader.held()["fills"][-1]["trade_id"]
    trader.send(price_ticks=9_000_000, qty_lots=40 * E8, tif=TimeInForce.IOC)
    fills = trader.held()["fills"]
    assert len(fills) > 101
    snapshot = trader.reconcile(lambda row, trade_id: trade_id <= since)
    assert [int(event["trade_id"]) for event in snapshot.fills] == [
        fill["trade_id"] for fill in fills if fill["trade_id"] > since
    ] and first


def test_after_a_restart_fills_of_forgotten_orders_are_asked_for(trader: Trader) -> None:
    filled, _ = trader.send(price_ticks=7_000_000, qty_lots=1_000_000)
    again = Trader(trader.driver)
    snapshot = again.reconcile()
    assert {int(event["order_id"]) for event in snapshot.fills} == {filled}


def test_a_key_that_is_refused_is_fatal_and_a_wrong_clock_is_mended() -> None:
    driver = CoinbaseDriver()
    bad = Trader(driver, key="bob-view")
    _, events = bad.send()
    assert (events[0]["kind"], events[0]["reason"]) == (K.REJECTED, R.NO_PERMISSION)
    late = CoinbaseDriver()
    late.fault(kind="clock_skew", skew_ms=120_000)
    trader = Trader(late)
    trader.run(1)
    assert abs(trader.account.clock_offset_ns - 120_000_000_000) < 1_000_000_000
    if not trader.account.ready:
        trader.disconnect()
        trader.connect()
    assert trader.account.ready and not trader.account.fatal
    assert kinds(trader.send()[1])[0] == K.ACK


def test_the_stream_says_what_rest_says(trader: Trader) -> None:
    order_id, _ = trader.send(price_ticks=7_000_000, qty_lots=1_000_000)
    (row,) = [row for row in trader.driver.get("/orders?status=done", "alice-view") if order_id_of(PREFIX, row["client_oid"]) == order_id]
    trades = [event for event in trader.events if event["kind"] == K.TRADE]
    assert Decimal(row["filled_size"]) == Decimal(sum(event["last_lots"] for event in trades)) / E8
    assert trader.session is not None
    done = json.loads(trader.driver.payloads(trader.session, "done")[-1])
    assert done["order_id"] == row["id"] and done["reason"] == row["done_reason"]
