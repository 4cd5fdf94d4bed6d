"""Public channels of the simulated Coinbase: books by levels and by orders, matches, tickers, heartbeats."""

import itertools
import json
from decimal import Decimal

import pytest

from hft.sim.coinbase.book import OrderBook, OrderKind
from hft.sim.coinbase.products import PRODUCTS
from hft.sim.market import BookText
from support.coinbasesim import SECOND_NS, CoinbaseDriver, LevelFollower, OrderFollower, levels_of

BTC = PRODUCTS["BTC-USD"]
ORDERS = ("received", "open", "match", "done", "change")


def book(trades_take=True, bids=(("100.00000000", "3.00000000"),), asks=(("101.00000000", "3.00000000"),)):
    made = OrderBook(BTC, itertools.count(1).__next__, trades_take)
    made.load(BookText(1, list(bids), list(asks)))
    return made


def told(made):
    return [(happened.kind.name, happened.number, happened.lots) for happened in made.take_log()]


def sums(made):
    """Every level is what its orders add up to."""
    for side, ladder in ((1, made.bids), (-1, made.asks)):
        assert {key: sum(lots for _, lots in made.orders(side, key)) for key in ladder.lots} == ladder.lots
    return made


def test_a_level_that_grows_is_a_new_order_and_one_that_shrinks_takes_the_newest_first():
    made = book(bids=[("100.00000000", "0.00000004")], asks=[])
    key = 10_000
    first = [number for number, _ in made.orders(1, key)]
    made.put(made.bids, key, 10)
    assert [name for name, _, _ in told(made)] == ["RECEIVED", "OPENED"]
    newest = made.orders(1, key)[-1]
    assert newest[1] == 6
    made.put(made.bids, key, 7)
    assert told(made) == [("CHANGED", newest[0], 3)]
    made.put(made.bids, key, 2)
    assert told(made)[0][0] == "CANCELED"
    sums(made).put(made.bids, key, 0)
    assert {name for name, _, _ in told(made)} == {"CANCELED"} and first
    assert not made.bids.keys


def test_a_trade_takes_the_oldest_orders_of_its_level():
    made = book(bids=[("100.00000000", "0.00000009")], asks=[])
    numbers = [number for number, _ in made.orders(1, 10_000)]
    sizes = dict(made.orders(1, 10_000))
    made.trade(-1, 10_000, sizes[numbers[0]] + 1)
    kinds = [happened for happened in made.take_log()]
    assert [happened.kind for happened in kinds[:3]] == [OrderKind.RECEIVED, OrderKind.MATCHED, OrderKind.FILLED]
    matches = [happened for happened in kinds if happened.kind is OrderKind.MATCHED]
    assert [match.number for match in matches] == numbers[:2] and {match.taker for match in matches} == {kinds[0].number}
    assert kinds[-1].kind is OrderKind.FILLED and kinds[-1].number == kinds[0].number
    assert sums(made).bids.lots[10_000] == 9 - sizes[numbers[0]] - 1


def test_a_trade_at_a_level_that_was_not_shown_opens_what_was_missing():
    made = book()
    made.trade(1, 10_050, 7)
    assert [name for name, _, _ in told(made)] == ["RECEIVED", "OPENED", "RECEIVED", "MATCHED", "FILLED", "FILLED"]
    assert -10_050 not in sums(made).asks.lots


def test_trades_that_a_level_tells_by_itself_leave_it_alone():
    made = book(trades_take=False)
    before = dict(made.bids.lots)
    made.trade(-1, 10_000, 5)
    assert [name for name, _, _ in told(made)] == ["RECEIVED", "OPENED", "RECEIVED", "MATCHED", "FILLED", "FILLED"]
    assert sums(made).bids.lots == before


@pytest.mark.parametrize(("channel", "key"), [("level2", "alice-view"), ("level2_batch", ""), ("level2_50", "")])
def test_levels_followed_are_the_true_book(channel, key):
    driver = CoinbaseDriver(seed=4)
    session = driver.followed(channel, key=key)
    driver.run(20)
    follower, taken = LevelFollower(), 0
    for _ in range(100):  # a batch may be under way
        payloads = driver.payloads(session, "snapshot", "l2update")
        for payload in payloads[taken:]:
            follower.message(payload)
        taken = len(payloads)
        if follower.levels() == levels_of(driver.book()):
            break
        driver.run(0.001)
    assert follower.levels() == levels_of(driver.book())
    assert follower.updates > 100 and follower.crossed == 0


def test_batches_come_every_fifty_milliseconds_with_every_level_once():
    driver = CoinbaseDriver()
    fast, slow = driver.followed("level2", key="alice-view"), driver.followed("level2_batch")
    driver.run(10)
    updates, batches = driver.messages(fast, "l2update"), driver.messages(slow, "l2update")
    assert 50 < len(batches) < len(updates) and len(batches) <= 200
    assert all(len({(side, price) for side, price, _ in batch["changes"]}) == len(batch["changes"]) for batch in batches)


def test_orders_followed_are_the_true_book_and_the_sequence_has_no_gap():
    driver = CoinbaseDriver(seed=2)
    session = driver.followed("full", key="alice-view")
    driver.run(3)
    follower = OrderFollower()
    seen = driver.messages(session, *ORDERS)
    for message in seen[:-50]:
        follower.message(message)
    follower.snapshot(driver.get("/products/BTC-USD/book?level=3"))
    for message in seen[-50:]:
        follower.message(message)
    driver.run(20)
    for message in driver.messages(session, *ORDERS)[len(seen) :]:
        follower.message(message)
    assert follower.gaps == 0 and follower.levels() == levels_of(driver.book())
    assert {message["type"] for message in driver.messages(session)} == {*ORDERS, "subscriptions"}


def test_sequences_go_on_where_nobody_follows():
    driver = CoinbaseDriver()
    driver.followed("ticker")
    before = driver.get("/products/BTC-USD/book")["sequence"]
    driver.run(5)
    assert driver.get("/products/BTC-USD/book")["sequence"] > before + 100


def test_matches_have_the_makers_side_and_tickers_the_takers():
    driver = CoinbaseDriver()
    session = driver.followed("matches", "ticker")
    driver.run(20)
    matches = {message["trade_id"]: message for message in driver.messages(session, "match")}
    assert sorted(matches) == list(range(min(matches), max(matches) + 1))
    tickers = driver.messages(session, "ticker")
    assert len(tickers) > 20
    for ticker in tickers:
        match = matches[ticker["trade_id"]]
        assert {ticker["side"], match["side"]} == {"buy", "sell"} and ticker["price"] == match["price"]
        assert Decimal(ticker["best_bid"]) < Decimal(ticker["best_ask"]) and ticker["time"] == match["time"]
        assert Decimal(ticker["low_24h"]) <= Decimal(ticker["price"]) <= Decimal(ticker["high_24h"])


def test_a_later_subscriber_begins_with_the_last_match_and_ticker():
    driver = CoinbaseDriver()
    early = driver.followed("matches", "ticker")
    driver.run(5)
    late = driver.followed("matches", "ticker")
    (last,), (ticker,) = driver.messages(late, "last_match"), driver.messages(late, "ticker")
    assert {**last, "type": "match"} == driver.messages(early, "match")[-1] and ticker == driver.messages(early, "ticker")[-1]


def test_heartbeats_tell_the_newest_trade_and_sequence_each_second():
    driver = CoinbaseDriver(symbols=("BTC-USD", "ETH-USD"))
    session = driver.followed("heartbeat", "matches", products=("BTC-USD", "ETH-USD"))
    driver.run(10)
    beats = driver.messages(session, "heartbeat")
    assert [beat["product_id"] for beat in beats] == ["BTC-USD", "ETH-USD"] * 10
    assert beats[-1]["last_trade_id"] == max(m["trade_id"] for m in driver.messages(session, "match") if m["product_id"] == "ETH-USD")
    assert beats[0]["sequence"] < beats[2]["sequence"]


def test_status_comes_at_once_each_five_seconds_and_when_a_product_changes():
    driver = CoinbaseDriver()
    session = driver.open()
    driver.say(session, {"type": "subscribe", "channels": [{"name": "status"}]})
    driver.run(11)
    assert len(driver.messages(session, "status")) == 3
    driver.fault(kind="instrument_status", status="cancel_only")
    driver.collect()
    status = driver.messages(session, "status")[-1]
    assert status["products"][0]["cancel_only"] and [row["id"] for row in status["currencies"]] == ["BTC", "USD"]
    assert driver.get("/products/BTC-USD")["cancel_only"] is True


def test_the_same_seed_says_the_same_bytes():
    one, two = CoinbaseDriver(seed=5), CoinbaseDriver(seed=5)
    sessions = [driver.followed("level2", "full", "matches", "ticker", "heartbeat", key="bob-view") for driver in (one, two)]
    for driver in (one, two):
        driver.run(5)
    assert one.sent[sessions[0].number] == two.sent[sessions[1].number]


def test_times_of_messages_are_those_of_the_events():
    driver = CoinbaseDriver()
    session = driver.followed("level2", key="bob-view")
    driver.run(5, budget=3)
    times = [message["time"] for message in driver.messages(session, "l2update")]
    assert times == sorted(times) and len(set(times)) > 50


def test_prices_and_sizes_have_the_products_decimals():
    driver = CoinbaseDriver(symbols=("ETH-BTC",))
    session = driver.followed("level2", key="bob-view", products=("ETH-BTC",))
    bid = json.loads(driver.payloads(session, "snapshot")[0])["bids"][0]
    assert [len(text.partition(".")[2]) for text in bid] == [5, 8]
    assert driver.get("/products/ETH-BTC")["quote_increment"] == "0.00001"


def test_clients_that_never_subscribe_are_cut_after_five_seconds():
    driver = CoinbaseDriver()
    idle, busy = driver.open(), driver.followed("ticker")
    driver.run(4.9)
    assert idle.close is None
    driver.run(0.2)
    assert idle.close is not None and busy.close is None
    assert driver.now_ns < 6 * SECOND_NS
