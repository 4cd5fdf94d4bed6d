"""Kraken's private REST: the order requests, and what reconciliation reads."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from hft.sim.exchange.view import Audit
from hft.sim.kraken.keys import ALICE_KEY, ALICE_SECRET, sign
from support.krakensim import SECOND_NS, KrakenDriver


@pytest.fixture
def driver():
    made = KrakenDriver(unlimited=True)
    made.audit = Audit(made.venue._exchange)
    yield made
    made.audit.check()


def add(driver, price="50000", volume="0.01", **fields):
    return driver.private("AddOrder", **{"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": price, "volume": volume, **fields})


def txid(answer):
    assert answer["error"] == []
    return answer["result"]["txid"][0]


def test_an_order_is_described_and_found_by_every_id(driver):
    answer = add(driver, cl_ord_id="mine", oflags="post", timeinforce="GTC")
    assert answer["result"]["descr"] == {"order": "buy 0.01000000 XBTUSD @ limit 50000.0"}
    order_id = txid(answer)
    opened = driver.private("OpenOrders")["result"]["open"]
    assert list(opened) == [order_id]
    order = opened[order_id]
    assert (order["status"], order["vol"], order["vol_exec"], order["cl_ord_id"], order["oflags"]) == (
        "open",
        "0.01000000",
        "0.00000000",
        "mine",
        "fciq,post",
    )
    assert order["descr"]["pair"] == "XBTUSD" and order["descr"]["price"] == "50000.0" and "closetm" not in order
    assert driver.private("QueryOrders", txid=order_id)["result"] == driver.private("QueryOrders", cl_ord_id="mine")["result"] == opened


def test_pairs_of_a_socket_are_understood_too(driver):
    assert add(driver, pair="BTC/USD")["error"] == []


def test_an_order_that_ended_is_closed_with_its_reason_and_its_trades(driver):
    filled = txid(add(driver, price=str(driver.best()[1] + 50)))
    canceled = txid(add(driver, userref=7))
    assert driver.private("CancelOrder", txid=canceled)["result"] == {"count": 1}
    closed = driver.private("ClosedOrders", trades=True)["result"]
    assert list(closed["closed"]) == [canceled, filled] and closed["count"] == 2
    assert closed["closed"][canceled]["reason"] == "User requested" and closed["closed"][canceled]["status"] == "canceled"
    order = closed["closed"][filled]
    assert order["status"] == "closed" and order["reason"] is None and order["vol_exec"] == "0.01000000"
    trades = driver.private("QueryTrades", txid=",".join(order["trades"]))["result"]
    assert sum(Decimal(trade["vol"]) for trade in trades.values()) == Decimal("0.01")
    assert sum(Decimal(trade["cost"]) for trade in trades.values()) == Decimal(order["cost"])
    assert sum(Decimal(trade["fee"]) for trade in trades.values()) == Decimal(order["fee"])
    assert list(driver.private("ClosedOrders", userref=7)["result"]["closed"]) == [canceled]


def test_history_goes_on_after_the_last_known_trade_and_comes_in_pages(driver):
    for _ in range(60):
        add(driver, price=str(driver.best()[1] + 50), volume="0.0001")
        driver.now_ns += SECOND_NS
    whole = driver.private("TradesHistory")["result"]
    assert whole["count"] >= 60 and len(whole["trades"]) == 50
    older = driver.private("TradesHistory", ofs=50)["result"]
    assert set(older["trades"]).isdisjoint(whole["trades"]) and len(older["trades"]) == whole["count"] - 50
    newest, second = list(whole["trades"])[:2]
    assert list(driver.private("TradesHistory", start=second)["result"]["trades"]) == [newest]
    since_s = whole["trades"][newest]["time"]
    assert newest in driver.private("TradesHistory", start=since_s)["result"]["trades"]
    assert driver.private("TradesHistory", end=1)["result"] == {"trades": {}, "count": 0}


def test_balances_are_whole_and_their_held_part_is_told_apart(driver):
    before = Decimal(driver.private("Balance")["result"]["ZUSD"])
    add(driver, price="50000", volume="2")
    extended = driver.private("BalanceEx")["result"]["ZUSD"]
    assert Decimal(extended["balance"]) == before and Decimal(extended["hold_trade"]) == 100_000 * Decimal("1.004")


def test_orders_are_amended_and_cancelled(driver):
    order_id = txid(add(driver, cl_ord_id="mine"))
    assert driver.private("AmendOrder", cl_ord_id="mine", limit_price="49000", order_qty="0.02")["result"]["amend_id"].startswith("T")
    order = driver.private("QueryOrders", txid=order_id)["result"][order_id]
    assert (order["descr"]["price"], order["vol"], order["amended"]) == ("49000.0", "0.02000000", True)
    assert driver.private("CancelOrder", cl_ord_id="mine")["result"] == {"count": 1}
    for _ in range(2):
        add(driver, userref=3)
    assert driver.private("CancelOrder", txid=3)["result"] == {"count": 2}
    assert driver.private("CancelOrder", txid=order_id)["error"] == ["EOrder:Unknown order"]
    add(driver)
    assert driver.private("CancelAll")["result"] == {"count": 1}


def test_the_dead_mans_switch_works_without_a_socket(driver):
    add(driver)
    assert set(driver.private("CancelAllOrdersAfter", timeout=5)["result"]) == {"currentTime", "triggerTime"}
    driver.run(6)
    assert driver.private("OpenOrders")["result"]["open"] == {}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"pair": "NOPE"}, "EQuery:Unknown asset pair"),
        ({"type": "hold"}, "EGeneral:Invalid arguments:type"),
        ({"ordertype": "iceberg"}, "EGeneral:Invalid arguments:ordertype"),
        ({"price": "1.23"}, "EOrder:Invalid price:BTC/USD price can only be specified up to 1 decimals."),
        ({"price": "x"}, "EGeneral:Invalid arguments:price"),
        ({"price": "1e999999999"}, "EGeneral:Invalid arguments:price"),
        ({"price": "NaN"}, "EGeneral:Invalid arguments:price"),
        ({"volume": ""}, "EGeneral:Invalid arguments:volume"),
        ({"volume": "0.00001"}, "EGeneral:Invalid arguments:volume minimum not met"),
        ({"volume": "9000000"}, "EOrder:Insufficient funds"),
        ({"timeinforce": "day"}, "EGeneral:Invalid arguments:timeinforce"),
        ({"stptype": "none"}, "EGeneral:Invalid arguments:stptype"),
        ({"oflags": "fcib"}, "EGeneral:Invalid arguments:oflags"),
        ({"leverage": "2"}, "EGeneral:Invalid arguments:leverage"),
        ({"reduce_only": "true"}, "EGeneral:Invalid arguments:reduce_only"),
        ({"userref": "-3"}, "EGeneral:Invalid arguments:userref"),
        ({"expiretm": "soon"}, "EGeneral:Invalid arguments:expiretm"),
        ({"deadline": "2020-01-01T00:00:00Z"}, "EService:Deadline elapsed"),
    ],
)
def test_an_order_that_may_not_be_is_refused_in_the_venues_words(driver, fields, error):
    assert add(driver, **fields) == {"error": [error]}
    assert driver.private("OpenOrders")["result"]["open"] == {}


def test_an_order_expires_after_relative_time_and_validation_places_nothing(driver):
    add(driver, timeinforce="GTD", expiretm="+5")
    assert "txid" not in add(driver, validate="true")["result"]
    driver.run(6)
    assert [order["status"] for order in driver.private("ClosedOrders")["result"]["closed"].values()] == ["expired"]


def test_a_market_order_may_be_in_quote(driver):
    order_id = txid(driver.private("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="600", oflags="viqc"))
    order = driver.private("QueryOrders", txid=order_id)["result"][order_id]
    assert order["status"] == "closed" and 590 < Decimal(order["cost"]) + Decimal(order["fee"]) <= 600


def test_json_bodies_are_signed_as_they_are_sent(driver):
    deadline = datetime.fromtimestamp(driver.utc_ns / 1e9 + 5, UTC).isoformat()
    body = json.dumps(
        {"nonce": "77", "pair": "XBTUSD", "type": "sell", "ordertype": "limit", "price": 90000.5, "volume": 0.1, "deadline": deadline}
    ).encode()
    headers = {"api-key": ALICE_KEY, "api-sign": sign(ALICE_SECRET, "/0/private/AddOrder", "77", body), "content-type": "application/json"}
    response = driver.venue.request("POST", "/0/private/AddOrder", headers, body, driver.now_ns)
    assert json.loads(response.body)["result"]["descr"]["order"] == "sell 0.10000000 XBTUSD @ limit 90000.5"


@pytest.mark.parametrize("method", ["QueryOrders", "QueryTrades", "CancelOrder", "AmendOrder"])
def test_requests_that_name_nothing_are_refused(driver, method):
    assert driver.private(method)["error"][0].startswith("EGeneral:Invalid arguments")
    assert driver.private(method, txid="OAAAAA-AAAAA-AAAAAA")["error"][0] in ("EOrder:Unknown order", "EQuery:Unknown trade")


@pytest.mark.parametrize(
    ("key", "allowed"),
    [
        ("alice-read-only", {"Balance", "BalanceEx", "OpenOrders", "ClosedOrders", "TradesHistory", "GetWebSocketsToken"}),
        ("bob-cancel-only", {"Balance", "BalanceEx", "OpenOrders", "ClosedOrders", "TradesHistory", "GetWebSocketsToken", "CancelAll"}),
    ],
)
def test_keys_do_what_they_may_and_no_more(driver, key, allowed):
    methods = ("Balance", "BalanceEx", "OpenOrders", "ClosedOrders", "TradesHistory", "GetWebSocketsToken", "CancelAll", "AddOrder")
    answers = {method: driver.private(method, key, pair="XBTUSD") for method in methods}
    assert {method for method, answer in answers.items() if answer["error"] == []} == allowed
    assert all(answer["error"] == ["EGeneral:Permission denied"] for method, answer in answers.items() if method not in allowed)


def test_accounts_do_not_see_each_other(driver):
    order_id = txid(add(driver, cl_ord_id="mine"))
    assert driver.private("OpenOrders", "bob-trade")["result"]["open"] == {}
    for fields in ({"txid": order_id}, {"cl_ord_id": "mine"}):
        for method in ("QueryOrders", "CancelOrder"):
            assert driver.private(method, "bob-trade", **fields)["error"] == ["EOrder:Unknown order"]
