"""Public REST of the simulated Coinbase: products, books, trades, time, errors and rates."""

import json
from decimal import Decimal

import pytest

from hft.sim.coinbase.rates import PUBLIC
from hft.sim.venue import RefusedError
from hft.venues.coinbase.rules import parse_rules
from support.coinbasesim import SECOND_NS, CoinbaseDriver, levels_of


def lively(seconds=5, **settings):
    driver = CoinbaseDriver(**settings)
    driver.followed("matches")
    driver.run(seconds)
    return driver


def test_products_are_what_our_own_rules_read():
    driver = CoinbaseDriver(symbols=("BTC-USD", "ETH-USD"))
    rules = parse_rules(driver.request("GET", "/products").body)
    assert [(rule.symbol, rule.status, rule.tick, rule.lot, rule.notional_min) for rule in rules] == [
        ("BTC-USD", "trading", "0.01", "0.00000001", "1"),
        ("ETH-USD", "trading", "0.01", "0.00000001", "1"),
    ]
    assert driver.get("/products/btc-usd") == driver.get("/products")[0]
    driver.fault(kind="instrument_status", symbol="ETH-USD", status="halted")
    assert [rule.status for rule in parse_rules(driver.request("GET", "/products").body)] == ["trading", "trading_disabled"]


def test_books_of_all_levels_are_the_same_book():
    driver = lively()
    one, two, three = (driver.get(f"/products/BTC-USD/book?level={level}") for level in (1, 2, 3))
    assert levels_of(two) == levels_of(driver.book()) and one["sequence"] == two["sequence"] == three["sequence"]
    assert [one["bids"], one["asks"]] == [two["bids"][:1], two["asks"][:1]]
    assert driver.get("/products/BTC-USD/book")["bids"] == one["bids"]
    for name in ("bids", "asks"):
        assert sum(row[2] for row in two[name]) == len(three[name]) == len({row[2] for row in three[name]})
        assert sum(Decimal(row[1]) for row in two[name]) == sum(Decimal(row[1]) for row in three[name])


def test_a_stale_snapshot_has_an_old_sequence_once():
    driver = lively()
    driver.fault(kind="stale_snapshot", behind=500)
    old, new = (driver.get("/products/BTC-USD/book?level=3") for _ in range(2))
    assert new["sequence"] - old["sequence"] == 500


def test_trades_come_newest_first_in_pages():
    driver = lively(20)
    response = driver.request("GET", "/products/BTC-USD/trades?limit=10")
    newest, headers = json.loads(response.body), dict(response.headers)
    assert headers["CB-BEFORE"] == str(newest[0]["trade_id"]) and headers["CB-AFTER"] == str(newest[-1]["trade_id"])
    older = driver.get(f"/products/BTC-USD/trades?limit=10&after={headers['CB-AFTER']}")
    assert [row["trade_id"] for row in newest + older] == list(range(newest[0]["trade_id"], newest[0]["trade_id"] - 20, -1))
    assert driver.get(f"/products/BTC-USD/trades?before={older[0]['trade_id']}") == newest
    assert driver.get(f"/products/BTC-USD/trades?before={headers['CB-BEFORE']}") == []
    assert set(newest[0]) == {"trade_id", "side", "size", "price", "time"}


def test_ticker_and_stats_agree_with_the_book_and_the_trades():
    driver = CoinbaseDriver()
    bid, ask = driver.best()
    assert driver.get("/products/BTC-USD/ticker")["price"] == str(bid)
    driver.followed("matches")
    driver.run(10)
    bid, ask = driver.best()
    ticker, stats, last = (driver.get(f"/products/BTC-USD/{name}") for name in ("ticker", "stats", "trades?limit=1"))
    assert (ticker["bid"], ticker["ask"]) == (str(bid), str(ask))
    assert (ticker["price"], ticker["trade_id"], ticker["size"]) == (last[0]["price"], last[0]["trade_id"], last[0]["size"])
    assert stats["last"] == ticker["price"] and stats["volume"] == ticker["volume"]


def test_time_is_the_venues_and_may_be_off():
    driver = CoinbaseDriver()
    driver.run(1.5)
    assert driver.get("/time") == {"iso": "2027-01-15T08:00:01.500Z", "epoch": 1800000001.5}
    driver.fault(kind="clock_skew", skew_ms=2000)
    assert driver.get("/time")["epoch"] == 1800000003.5


def test_currencies_are_listed():
    driver = CoinbaseDriver(symbols=("BTC-USD", "ETH-BTC"))
    assert [row["id"] for row in driver.get("/currencies")] == ["BTC", "USD", "ETH"]
    assert driver.get("/currencies/USD")["details"]["type"] == "fiat"


@pytest.mark.parametrize(
    ("method", "target", "status", "words"),
    [
        ("GET", "/nosuch", 404, "NotFound"),
        ("GET", "/products/X-Y", 404, "NotFound"),
        ("GET", "/products/BTC-USD/nosuch", 404, "NotFound"),
        ("GET", "/currencies/XXX", 404, "NotFound"),
        ("POST", "/products", 404, "NotFound"),
        ("GET", "/products/BTC-USD/book?level=4", 400, "Invalid level"),
        ("GET", "/products/BTC-USD/book?level=1&level=2", 400, "Invalid level"),
        ("GET", "/products/BTC-USD/trades?limit=0", 400, "Invalid limit"),
        ("GET", "/products/BTC-USD/trades?after=x", 400, "Invalid after"),
        ("GET", "/orders", 401, "CB-ACCESS-KEY header is required"),
    ],
)
def test_wrong_requests_are_refused_in_the_venues_words(method, target, status, words):
    assert CoinbaseDriver().refusal(method, target) == (status, words)


def test_a_request_says_who_asks():
    response = CoinbaseDriver().venue.request("GET", "/time", {}, b"", 0)
    assert (response.status, response.body) == (400, b'{"message":"User-Agent header is required."}')


def test_public_requests_are_limited_by_the_second_and_more_come_with_time():
    driver = CoinbaseDriver()
    statuses = [driver.request("GET", "/time").status for _ in range(PUBLIC[0] // 1000 + 1)]
    assert statuses == [200] * 15 + [429]
    assert driver.refusal("GET", "/time") == (429, "Public rate limit exceeded")
    driver.now_ns += SECOND_NS
    assert [driver.request("GET", "/time").status for _ in range(11)] == [200] * 10 + [429]
    free = CoinbaseDriver(unlimited=True)
    assert {free.request("GET", "/time").status for _ in range(100)} == {200}


def test_connections_are_limited_and_have_one_path():
    driver = CoinbaseDriver()
    for target in ("", "/", "/?", "/?x=1") * 5:
        driver.venue.admit(target, {}, 0)
    with pytest.raises(RefusedError, match="too many connections"):
        driver.venue.admit("/", {}, 0)
    with pytest.raises(RefusedError, match="no such path"):
        driver.venue.admit("/ws", {}, SECOND_NS)


def test_ordered_errors_come_once_as_json_or_as_a_page():
    driver = CoinbaseDriver()
    driver.fault(kind="rest_error", status=503)
    assert driver.refusal("GET", "/time") == (503, "Service unavailable")
    driver.fault(kind="rest_error", status=502, html=True)
    response = driver.request("GET", "/time")
    assert response.status == 502 and response.body.startswith(b"<html>")
    assert driver.request("GET", "/time").status == 200
