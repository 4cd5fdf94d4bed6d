"""Orders at the simulated Binance: replies, reports, filters, errors, and the same over REST."""

import json

import pytest

from support.binance_trader import LIMIT, Trader, code
from support.virtual_venue import SECOND_NS, VirtualVenue, recorded


def traders(**settings):
    driver = VirtualVenue(**settings)
    return driver, Trader(driver, "alice"), Trader(driver, "bob")


def touch(driver):
    """Best bid and ask."""
    book = driver.venue._player.market.book("BTCUSDT")
    return float(book.bids[0][0]), float(book.asks[0][0])


def test_an_order_rests_and_is_cancelled_with_replies_and_reports():
    _, alice, _ = traders()
    placed = alice.place(newClientOrderId="mine")
    assert placed["status"] == 200
    result = placed["result"]
    assert (result["clientOrderId"], result["status"], result["fills"], result["selfTradePreventionMode"]) == (
        "mine",
        "NEW",
        [],
        "EXPIRE_MAKER",
    )
    assert result["transactTime"] == result["workingTime"] == alice.utc_ms
    events, alice.events = alice.events, []
    assert [event["e"] for event in events] == ["executionReport", "outboundAccountPosition"]
    report = events[0]
    assert (report["x"], report["X"], report["c"], report["i"], report["w"], report["N"], report["t"]) == (
        "NEW",
        "NEW",
        "mine",
        result["orderId"],
        True,
        None,
        -1,
    )
    assert events[1]["B"] == [{"a": "USDT", "f": "99999500.00000000", "l": "500.00000000"}]
    canceled = alice.call("order.cancel", symbol="BTCUSDT", origClientOrderId="mine", newClientOrderId="done")["result"]
    assert (canceled["status"], canceled["origClientOrderId"], canceled["clientOrderId"]) == ("CANCELED", "mine", "done")
    report = alice.events[0]
    assert (report["x"], report["c"], report["C"]) == ("CANCELED", "done", "mine")
    assert code(alice.call("order.cancel", symbol="BTCUSDT", origClientOrderId="mine")) == (400, -2011, "Unknown order sent.")


def test_a_market_order_that_outruns_the_book_is_told_as_the_documentation_shows():
    driver, alice, bob = traders()
    _, ask = touch(driver)
    driver.venue._desk.exchange.show_book("BTCUSDT", [], [], 0)
    for price in (ask, ask + 0.01):
        bob.place(side="SELL", price=f"{price:.2f}", quantity="2")
    bob.reports()
    alice.place(type="MARKET", price=None, timeInForce=None, quantity="6")
    reports = [event for event in alice.events if event["e"] == "executionReport"]
    assert [(r["x"], r["X"], r["l"], r["z"]) for r in reports] == [
        ("NEW", "NEW", "0.00000000", "0.00000000"),
        ("TRADE", "PARTIALLY_FILLED", "2.00000000", "2.00000000"),
        ("TRADE", "PARTIALLY_FILLED", "2.00000000", "4.00000000"),
        ("EXPIRED", "EXPIRED", "0.00000000", "4.00000000"),
    ]
    assert [r["w"] for r in reports] == [True, False, False, False] and reports[3]["eR"] == "INSUFFICIENT_LIQUIDITY"
    assert len({r["T"] for r in reports} | {r["E"] for r in reports}) == 1 and alice.events[-1]["e"] == "outboundAccountPosition"
    assert [r["I"] for r in reports] == sorted({r["I"] for r in reports})
    assert bob.reports() == [("TRADE", "FILLED", "2.00000000", "2.00000000")] * 2


def test_fills_pay_fees_out_of_what_they_bring_in():
    driver, alice, _ = traders()
    _, ask = touch(driver)
    result = alice.place(price=f"{ask:.2f}", quantity="0.00010", timeInForce="IOC")["result"]
    assert result["status"] == "FILLED"
    assert [fill["commissionAsset"] for fill in result["fills"]] == ["BTC"] and result["fills"][0]["commission"] == "0.00000010"
    trades = alice.call("myTrades", symbol="BTCUSDT")["result"]
    assert [(t["orderId"], t["isMaker"], t["isBuyer"], t["id"]) for t in trades] == [
        (result["orderId"], False, True, result["fills"][0]["tradeId"])
    ]
    balances = {b["asset"]: b for b in alice.call("account.status")["result"]["balances"]}
    assert balances["BTC"]["free"] == "100000.00009990"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"quantity": "0.000011"}, (-1013, "Filter failure: LOT_SIZE")),
        ({"quantity": "9000.1"}, (-1013, "Filter failure: LOT_SIZE")),
        ({"type": "MARKET", "price": None, "timeInForce": None, "quantity": "9000.1"}, (-1013, "Filter failure: MARKET_LOT_SIZE")),
        ({"price": "50000.001"}, (-1013, "Filter failure: PRICE_FILTER")),
        ({"price": "1000000.01"}, (-1013, "Filter failure: PRICE_FILTER")),
        ({"quantity": "0.00001"}, (-1013, "Filter failure: NOTIONAL")),
        ({"quantity": "500"}, (-1013, "Filter failure: NOTIONAL")),
        ({"price": "0.123456789"}, (-1111, "Parameter 'price' has too much precision.")),
        ({"price": "1e5"}, (-1100, None)),
        ({"price": "-1"}, (-1100, None)),
        ({"price": "0"}, (-1013, "Invalid price.")),
        ({"price": None}, (-1102, "Mandatory parameter 'price' was not sent, was empty/null, or malformed.")),
        ({"symbol": "NOPE"}, (-1121, "Invalid symbol.")),
        ({"side": "HOLD"}, (-1117, "Invalid side.")),
        ({"type": "LIMITED"}, (-1116, "Invalid orderType.")),
        ({"type": "STOP_LOSS", "stopPrice": "1"}, (-1013, "Filter failure: MAX_NUM_ALGO_ORDERS")),
        ({"timeInForce": "GTD"}, (-1115, "Invalid timeInForce.")),
        ({"type": "MARKET"}, (-1106, "Parameter 'price' sent when not required.")),
        ({"icebergQty": "1"}, (-1106, "Parameter 'icebergQty' sent when not required.")),
        ({"colour": "red"}, (-1104, "Not all sent parameters were read; read '6' parameter(s) but was sent '7'.")),
        ({"newClientOrderId": "with space"}, (-1100, None)),
        ({"newClientOrderId": "x" * 37}, (-1100, None)),
        ({"selfTradePreventionMode": "SOME"}, (-1130, None)),
        ({"type": "LIMIT_MAKER", "timeInForce": None, "price": "100000"}, (-2010, "Order would immediately match and take.")),
        ({"side": "SELL", "price": "100000", "quantity": "90"}, None),
    ],
)
def test_orders_that_break_a_rule_are_refused_in_the_venues_words(changes, expected):
    _, alice, _ = traders()
    reply = alice.place(**changes)
    if expected is None:
        assert reply["status"] == 200
        return
    assert (reply["status"], reply["error"]["code"]) == (400, expected[0])
    assert expected[1] in (None, reply["error"]["msg"]) and alice.events == []


def test_a_price_far_from_the_market_is_refused_once_there_were_trades():
    driver, alice, _ = traders()
    driver.open()
    driver.run(5)
    assert code(alice.place(price="100"))[1:] == (-1013, "Filter failure: PERCENT_PRICE_BY_SIDE")


def test_orders_beyond_funds_or_with_a_known_id_are_refused():
    _, alice, _ = traders()
    assert alice.place(newClientOrderId="a")["status"] == 200
    assert code(alice.place(newClientOrderId="a")) == (400, -2010, "Duplicate order sent.")
    for number in range(11):
        alice.place(price="60000.00", quantity="149", newClientOrderId=f"b{number}", timeInForce="GTC", side="BUY", type="LIMIT")
    assert code(alice.place(price="59000", quantity="150")) == (400, -2010, "Account has insufficient balance for requested action.")


@pytest.mark.parametrize(
    ("mode", "taker", "maker"),
    [
        ("EXPIRE_TAKER", [("NEW", "NEW"), ("TRADE_PREVENTION", "EXPIRED_IN_MATCH")], []),
        ("EXPIRE_MAKER", [("NEW", "NEW"), ("EXPIRED", "EXPIRED")], [("TRADE_PREVENTION", "EXPIRED_IN_MATCH")]),
        ("EXPIRE_BOTH", [("NEW", "NEW"), ("TRADE_PREVENTION", "EXPIRED_IN_MATCH")], [("TRADE_PREVENTION", "EXPIRED_IN_MATCH")]),
        ("NONE", [("NEW", "NEW"), ("TRADE", "FILLED")], [("TRADE", "PARTIALLY_FILLED")]),
        ("DECREMENT", [("NEW", "NEW"), ("TRADE_PREVENTION", "EXPIRED_IN_MATCH")], [("TRADE_PREVENTION", "NEW")]),
    ],
)
def test_self_trade_prevention_is_told_as_what_it_did(mode, taker, maker):
    driver, alice, _ = traders()
    bid, ask = touch(driver)
    price = f"{(bid + ask) / 2:.2f}"
    driver.venue._desk.exchange.show_book("BTCUSDT", [], [], 0)
    resting = alice.place(price=price, quantity="1")["result"]["orderId"]
    alice.events.clear()
    alice.place(side="SELL", price=price, quantity="0.4", timeInForce="IOC", selfTradePreventionMode=mode)
    reports = [event for event in alice.events if event["e"] == "executionReport"]
    assert [(r["x"], r["X"]) for r in reports if r["i"] != resting] == taker
    assert [(r["x"], r["X"]) for r in reports if r["i"] == resting] == maker


def test_amending_keeps_the_order_and_gives_it_a_new_client_id():
    _, alice, _ = traders()
    order = alice.place(newClientOrderId="first")["result"]
    alice.events.clear()
    reply = alice.call("order.amend.keepPriority", symbol="BTCUSDT", orderId=order["orderId"], newQty="0.004", newClientOrderId="second")[
        "result"
    ]
    assert (reply["amendedOrder"]["qty"], reply["amendedOrder"]["clientOrderId"]) == ("0.00400000", "second")
    report = alice.events[0]
    assert (report["x"], report["c"], report["C"], report["q"], report["I"]) == (
        "REPLACED",
        "second",
        "first",
        "0.00400000",
        reply["executionId"],
    )
    for quantity in ("0.004", "0.005"):
        assert code(alice.call("order.amend.keepPriority", symbol="BTCUSDT", origClientOrderId="second", newQty=quantity))[1] == -2038
    assert alice.call("order.status", symbol="BTCUSDT", origClientOrderId="second")["result"]["origQty"] == "0.00400000"
    assert code(alice.call("order.status", symbol="BTCUSDT", origClientOrderId="first"))[1] == -2013


def replace(trader, mode="STOP_ON_FAILURE", **more):
    params = {"cancelReplaceMode": mode, "cancelOrigClientOrderId": "old", **LIMIT, "newClientOrderId": "new", **more}
    return trader.call("order.cancelReplace", params)


def test_cancel_replace_tells_what_each_leg_came_to():
    _, alice, _ = traders()
    alice.place(newClientOrderId="old")
    both = replace(alice)["result"]
    assert (both["cancelResult"], both["newOrderResult"], both["newOrderResponse"]["clientOrderId"]) == ("SUCCESS", "SUCCESS", "new")
    stopped = replace(alice, newClientOrderId="newer")
    assert code(stopped)[:2] == (400, -2022) and stopped["error"]["data"]["newOrderResult"] == "NOT_ATTEMPTED"
    allowed = replace(alice, mode="ALLOW_FAILURE", newClientOrderId="newer")
    assert code(allowed)[:2] == (409, -2021) and allowed["error"]["data"]["newOrderResponse"]["clientOrderId"] == "newer"
    failed = replace(alice, mode="ALLOW_FAILURE", newClientOrderId="newer")
    assert code(failed)[:2] == (400, -2022) and failed["error"]["data"]["newOrderResponse"]["code"] == -2010
    partial = replace(alice, cancelOrigClientOrderId="new", newClientOrderId="newer")
    assert code(partial)[:2] == (409, -2021) and partial["error"]["data"]["cancelResponse"]["status"] == "CANCELED"
    status, body, _ = alice.rest(
        "POST", "/api/v3/order/cancelReplace", {**LIMIT, "cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrigClientOrderId": "x"}
    )
    assert (status, body["code"], body["data"]["cancelResponse"]["code"]) == (400, -2022, -2011)


def test_cancel_all_cancels_a_pair_and_refuses_when_there_is_nothing():
    _, alice, bob = traders()
    ids = [alice.place()["result"]["orderId"] for _ in range(3)]
    bob.place()
    assert [order["orderId"] for order in alice.call("openOrders.cancelAll", symbol="BTCUSDT")["result"]] == ids
    assert code(alice.call("openOrders.cancelAll", symbol="BTCUSDT"))[1] == -2011
    assert len(bob.call("openOrders.status")["result"]) == 1 and alice.call("openOrders.status", symbol="BTCUSDT")["result"] == []


def test_queries_page_by_id_and_time():
    driver, alice, _ = traders()
    _, ask = touch(driver)
    orders = []
    for _ in range(4):
        orders.append(alice.place(price=f"{ask:.2f}", quantity="0.0001", timeInForce="IOC")["result"])
        driver.now_ns += SECOND_NS
    ids = [order["orderId"] for order in orders]
    assert [o["orderId"] for o in alice.call("allOrders", symbol="BTCUSDT", limit=2)["result"]] == ids[2:]
    assert [o["orderId"] for o in alice.call("allOrders", symbol="BTCUSDT", orderId=ids[1], limit=2)["result"]] == ids[1:3]
    trades = [order["fills"][0]["tradeId"] for order in orders]
    assert [t["id"] for t in alice.call("myTrades", symbol="BTCUSDT", fromId=trades[1], limit=2)["result"]] == trades[1:3]
    assert [t["id"] for t in alice.call("myTrades", symbol="BTCUSDT", orderId=ids[3])["result"]] == trades[3:]
    begin = orders[1]["transactTime"]
    assert [t["id"] for t in alice.call("myTrades", symbol="BTCUSDT", startTime=begin, endTime=begin)["result"]] == trades[1:2]
    assert code(alice.call("myTrades", symbol="BTCUSDT", startTime=begin, endTime=begin + 86_400_001))[1] == -1127
    assert code(alice.call("order.status", symbol="BTCUSDT"))[1] == -1102


def test_rest_does_what_the_socket_does():
    driver, alice, _ = traders()
    for in_body in (False, True):
        status, body, headers = alice.rest("POST", "/api/v3/order", LIMIT, in_body=in_body, newClientOrderId=f"r{in_body}")
        assert status == 200 and body["status"] == "NEW" and headers["X-MBX-ORDER-COUNT-10S"] == str(1 + in_body)
    alice.collect()
    assert [event["c"] for event in alice.events if event["e"] == "executionReport"] == ["rFalse", "rTrue"]
    assert alice.rest("GET", "/api/v3/order", symbol="BTCUSDT", origClientOrderId="rTrue")[1]["orderId"] == body["orderId"]
    assert len(alice.rest("GET", "/api/v3/openOrders")[1]) == 2
    assert alice.rest("PUT", "/api/v3/order/amend/keepPriority", symbol="BTCUSDT", orderId=body["orderId"], newQty="0.005")[0] == 200
    assert alice.rest("DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=body["orderId"])[1]["status"] == "CANCELED"
    assert len(alice.rest("DELETE", "/api/v3/openOrders", symbol="BTCUSDT")[1]) == 1
    assert alice.rest("POST", "/api/v3/order/test", LIMIT)[1] == {}
    assert alice.rest("GET", "/api/v3/account")[1]["canTrade"] is True
    assert alice.rest("GET", "/api/v3/account/commission", symbol="BTCUSDT")[1]["standardCommission"]["maker"] == "0.00100000"
    assert alice.rest("GET", "/api/v3/rateLimit/order")[1][0]["count"] == 2
    micro = alice.rest("GET", "/api/v3/allOrders", headers={"x-mbx-time-unit": "microsecond"}, symbol="BTCUSDT")[1]
    assert len(str(micro[0]["time"])) == 16
    assert driver.get("/api/v3/ticker/bookTicker?symbol=BTCUSDT")[1]["bidPrice"] == f"{touch(driver)[0]:.2f}000000"
    assert driver.get("/api/v3/ticker/price")[1][0]["symbol"] == "BTCUSDT" and driver.get("/api/v3/avgPrice?symbol=BTCUSDT")[0] == 200


def test_rest_refuses_bad_signatures_keys_and_times():
    driver, alice, _ = traders()
    assert alice.rest("GET", "/api/v3/account", headers={"x-mbx-apikey": ""})[:2] == (
        401,
        {"code": -2014, "msg": "API-key format invalid."},
    )
    assert alice.rest("GET", "/api/v3/account", headers={"x-mbx-apikey": "nobody"})[1]["code"] == -2015
    assert alice.rest("GET", "/api/v3/account", timestamp=1)[1]["code"] == -1021
    good, alice.sign = alice.sign, lambda payload: "0" * 64
    assert alice.rest("GET", "/api/v3/account")[:2] == (400, {"code": -1022, "msg": "Signature for this request is not valid."})
    alice.sign = good
    answer = driver.venue.request("GET", f"/api/v3/account?timestamp={alice.utc_ms}", {"x-mbx-apikey": alice.key}, b"", driver.now_ns)
    assert json.loads(answer.body)["code"] == -1102


def test_a_refused_status_of_a_pair_refuses_orders_and_shows_in_the_rules():
    driver, alice, _ = traders()
    alice.place(newClientOrderId="before")
    driver.fault(kind="instrument_status", symbol="BTCUSDT", status="cancel_only")
    assert code(alice.place()) == (400, -2010, "Market is closed.")
    assert driver.get("/api/v3/exchangeInfo")[1]["symbols"][0]["status"] == "CANCEL_ONLY"
    assert alice.call("order.cancel", symbol="BTCUSDT", origClientOrderId="before")["status"] == 200


def test_a_recorded_snapshot_is_what_accounts_trade_against_once_it_is_passed():
    driver = recorded()
    driver.open("/ws/btcusdt@depth@100ms")
    driver.run(1)
    assert driver.get("/api/v3/depth?symbol=BTCUSDT")[0] == 200
    driver.run(5)
    book = driver.venue._desk.exchange.books["BTCUSDT"]
    ours = [[-key if half is book.sells else key for key in half.shown] for half in (book.buys, book.sells)]
    theirs = driver.venue._player.market.book("BTCUSDT")
    units = driver.venue._background._units["BTCUSDT"]
    assert [sorted(side) for side in ours] == [sorted(units.ticks(price) for price, _ in side) for side in (theirs.bids, theirs.asks)]


def test_statistics_are_of_the_trades_that_are_remembered():
    driver = VirtualVenue()
    assert driver.get("/api/v3/ticker/24hr?symbol=BTCUSDT")[1]["count"] == 0
    driver.open()
    driver.run(5)
    found = driver.get("/api/v3/ticker/24hr")[1][0]
    assert float(found["lowPrice"]) <= float(found["weightedAvgPrice"]) <= float(found["highPrice"]) and found["count"] > 0
