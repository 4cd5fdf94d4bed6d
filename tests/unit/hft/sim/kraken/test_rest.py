"""Kraken's public REST, its envelope, and the faults that strike REST."""

import json
from decimal import Decimal

import pytest

from hft.sim.kraken.rest import since
from hft.sim.kraken.wire import KrakenError
from hft.sim.texts import SECOND_NS
from hft.sim.venue import Ending
from support.krakensim import WALL_NS, KrakenDriver, signed


@pytest.fixture
def driver():
    made = KrakenDriver(symbols=("BTC/USD", "ETH/USD"))
    session = made.open()
    made.subscribe(session, "trade", symbol=["BTC/USD"])
    made.run(3)
    return made


def test_the_clock_is_the_venues(driver):
    assert driver.get("/0/public/Time")["result"] == {"unixtime": WALL_NS // SECOND_NS + 3, "rfc1123": "Fri, 15 Jan 27 08:00:03 +0000"}
    driver.fault(kind="clock_skew", skew_ms=10_000)
    assert driver.get("/0/public/SystemStatus")["result"] == {"status": "online", "timestamp": "2027-01-15T08:00:13Z"}


@pytest.mark.parametrize(
    ("pair", "listed"), [("XBTUSD", "XXBTZUSD"), ("XXBTZUSD", "XXBTZUSD"), ("BTC/USD", "BTC/USD"), ("XBT/USD", "XBT/USD")]
)
def test_a_pair_answers_to_each_of_its_names(driver, pair, listed):
    result = driver.get(f"/0/public/AssetPairs?pair={pair}")["result"]
    assert list(result) == [listed]
    described = result[listed]
    assert (described["pair_decimals"], described["lot_decimals"], described["tick_size"]) == (1, 8, "0.1")
    assert (described["base"], described["quote"], described["wsname"], described["status"]) == ("XXBT", "ZUSD", "XBT/USD", "online")


def test_all_pairs_and_assets_are_listed(driver):
    assert list(driver.get("/0/public/AssetPairs")["result"]) == ["XXBTZUSD", "XETHZUSD"]
    assert set(driver.get("/0/public/Assets")["result"]) == {"XXBT", "XETH", "ZUSD"}
    assert driver.get("/0/public/Assets?asset=XBT,ZUSD")["result"]["XXBT"]["altname"] == "XBT"


def test_depth_gives_the_best_levels_rounded_as_the_venue_does(driver):
    book = driver.get("/0/public/Depth?pair=XBTUSD&count=5")["result"]["XXBTZUSD"]
    assert [len(book[side]) for side in ("bids", "asks")] == [5, 5]
    bid, ask = driver.best()
    assert Decimal(book["bids"][0][0]) == bid and Decimal(book["asks"][0][0]) == ask
    price, qty, at_s = book["asks"][0]
    assert price.endswith("0000") and len(qty.partition(".")[2]) == 3 and at_s == WALL_NS // SECOND_NS + 3


def test_trades_go_on_where_the_last_answer_ended(driver):
    first = driver.get("/0/public/Trades?pair=XBTUSD&count=5")["result"]
    second = driver.get(f"/0/public/Trades?pair=XBTUSD&since={first['last']}")["result"]
    ids = [row[6] for row in first["XXBTZUSD"] + second["XXBTZUSD"]]
    assert len(first["XXBTZUSD"]) == 5 and ids == sorted(set(ids)) and len(ids) > 10
    assert all(row[3] in "bs" and row[4] == "m" for row in first["XXBTZUSD"])


def test_the_ticker_agrees_with_the_book_and_the_trades(driver):
    ticker = driver.get("/0/public/Ticker?pair=XBTUSD")["result"]["XXBTZUSD"]
    trades = driver.get("/0/public/Trades?pair=XBTUSD")["result"]["XXBTZUSD"]
    assert Decimal(ticker["b"][0]) == driver.best()[0] and ticker["c"][0] == trades[-1][0] and ticker["t"] == [len(trades)] * 2
    assert Decimal(ticker["v"][0]) == sum(Decimal(row[1]) for row in trades)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        ("/0/public/Nonsense", "EGeneral:Unknown method"),
        ("/0/private/Nonsense", "EGeneral:Unknown method"),
        ("/elsewhere", "EGeneral:Unknown method"),
        ("/0/private/Balance", "EGeneral:Unknown method"),
        ("/0/public/Depth", "EQuery:Unknown asset pair"),
        ("/0/public/Ticker?pair=XBTUSD,NOPE", "EQuery:Unknown asset pair"),
        ("/0/public/Assets?asset=NOPE", "EQuery:Unknown asset"),
        ("/0/public/Depth?pair=XBTUSD&count=0", "EGeneral:Invalid arguments"),
        ("/0/public/Trades?pair=XBTUSD&since=x", "EGeneral:Invalid arguments"),
        ("/0/public/Trades?pair=XBTUSD&since=1e30", "EGeneral:Invalid arguments"),
    ],
)
def test_what_cannot_be_answered_is_still_status_200_and_says_so_in_error(driver, target, error):
    assert driver.get(target) == {"error": [error]}


def test_times_are_seconds_or_nanoseconds():
    assert since("1700000000.5") == since("1700000000500000000") == 1_700_000_000_500_000_000
    with pytest.raises(KrakenError):
        since("-1")


def test_private_calls_are_counted_and_history_twice(driver):
    for _ in range(10):
        assert driver.private("TradesHistory")["error"] == []
    assert driver.private("Balance")["error"] == ["EAPI:Rate limit exceeded"]
    assert driver.private("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", price="50000", volume="1")["error"] == []
    driver.now_ns += SECOND_NS
    assert driver.private("Balance")["error"] == []


def test_a_fault_answers_the_next_requests_of_any_kind(driver):
    driver.fault(kind="rest_error", status=503, count=2)
    assert driver.get("/0/public/Time") == driver.private("Balance") == {"error": ["EService:Unavailable"]}
    driver.fault(kind="rest_error", status=502, html=True)
    response = driver.venue.request("GET", "/0/public/Time", {}, b"", driver.now_ns)
    assert response.status == 502 and b"<html>" in response.body


@pytest.mark.parametrize(("hang_up", "ending"), [(False, Ending.HELD), (True, Ending.DROPPED)])
def test_an_order_lives_although_its_answer_is_lost(driver, hang_up, ending):
    driver.fault(kind="lose_ack", action="place", hang_up=hang_up)
    fields = {"nonce": driver.next_nonce(), "pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "50000", "volume": "1"}
    response = driver.venue.request(*signed("AddOrder", "alice-trade", fields), driver.now_ns)
    assert response.ending is ending and len(driver.private("OpenOrders")["result"]["open"]) == 1


def test_an_order_request_is_refused_unexecuted(driver):
    driver.fault(kind="refuse_order", action="cancel", status=429)
    assert driver.private("CancelAll") == {"error": ["EOrder:Rate limit exceeded"]}
    assert driver.private("CancelAll")["result"] == {"count": 0}


def test_slow_answers_are_held(driver):
    driver.fault(kind="slow", delay_ms=300, for_ms=1000)
    assert driver.venue.request("GET", "/0/public/Time", {}, b"", driver.now_ns).delay_ns == 300_000_000


def test_post_bodies_of_public_calls_are_read_too(driver):
    response = driver.venue.request("POST", "/0/public/Depth", {"content-type": "application/json"}, b'{"pair":"XBTUSD","count":2}', 0)
    assert len(json.loads(response.body)["result"]["XXBTZUSD"]["bids"]) == 2
