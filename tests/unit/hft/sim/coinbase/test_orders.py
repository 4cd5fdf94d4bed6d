"""Orders at the simulated Coinbase by REST: what is taken, refused, listed and cancelled, and what it costs."""

import json
from decimal import Decimal

import pytest

from hft.sim.coinbase.keys import ALICE_KEY
from hft.sim.coinbase.rates import PRIVATE
from hft.sim.coinbase.wire import uuid_of
from hft.sim.exchange.view import Audit
from hft.sim.venue import Ending
from support.coinbasesim import SECOND_NS, CoinbaseDriver

OID = "496ffbba-7dae-4864-97e8-a5bf52c6d0e2"
ORDER = {"type": "limit", "side": "buy", "product_id": "BTC-USD", "price": "1000", "size": "0.1"}
BOB = "bob-trade"


def refused(body, status=400, driver=None):
    code, words = (driver or CoinbaseDriver()).refusal("POST", "/orders", ALICE_KEY, {**ORDER, **body})
    assert code == status
    return words


def accounts(driver, key=ALICE_KEY):
    return {row["currency"]: row for row in driver.get("/accounts", key)}


def test_an_order_is_pending_then_open_then_gone():
    driver = CoinbaseDriver()
    row = driver.place(price="1000.10", size="0.1", client_oid=OID.upper(), post_only=True)
    assert (row["status"], row["price"], row["size"], row["settled"]) == ("pending", "1000.10000000", "0.10000000", False)
    assert row["client_oid"] == OID and row["post_only"] is True and row["stp"] == "dc" and row["time_in_force"] == "GTC"
    found = driver.get(f"/orders/{row['id']}", ALICE_KEY)
    assert found["status"] == "open" and driver.get(f"/orders/client:{OID}", ALICE_KEY) == found
    assert driver.get("/orders", ALICE_KEY) == [found]
    assert accounts(driver)["USD"]["hold"] == "100.6100600000000000"
    response = driver.request("DELETE", f"/orders/{row['id']}?product_id=BTC-USD", ALICE_KEY)
    assert (response.status, json.loads(response.body)) == (200, row["id"])
    assert driver.get("/orders", ALICE_KEY) == [] and accounts(driver)["USD"]["hold"] == "0.0000000000000000"
    for method, target, words in (("GET", f"/orders/{row['id']}", "NotFound"), ("DELETE", f"/orders/client:{OID}", "order not found")):
        assert driver.refusal(method, target, ALICE_KEY) == (404, words)


def test_a_taker_pays_in_quote_and_its_fills_are_listed():
    driver = CoinbaseDriver()
    _, ask = driver.best()
    row = driver.place(price=ask + 100, size="0.05", client_oid=OID)
    done = driver.get(f"/orders/{row['id']}", ALICE_KEY)
    assert (done["status"], done["done_reason"], done["settled"], done["filled_size"]) == ("done", "filled", True, "0.05000000")
    fills = driver.get(f"/fills?order_id={row['id']}", ALICE_KEY)
    assert sum(Decimal(fill["size"]) for fill in fills) == Decimal("0.05")
    assert {(fill["liquidity"], fill["side"], fill["order_id"], fill["settled"]) for fill in fills} == {("T", "buy", row["id"], True)}
    cost = sum(Decimal(fill["size"]) * Decimal(fill["price"]) for fill in fills)
    assert abs(Decimal(done["executed_value"]) - cost) < Decimal("1e-6")
    fees = sum(Decimal(fill["fee"]) for fill in fills)
    assert fees == Decimal(done["fill_fees"]) and abs(fees - cost * Decimal("0.006")) < Decimal("1e-6")
    spent = Decimal(100_000_000) - Decimal(accounts(driver)["USD"]["balance"])
    assert spent == Decimal(done["executed_value"]) + fees
    assert driver.get("/fills?product_id=BTC-USD", ALICE_KEY) == fills and driver.get("/fills?product_id=BTC-USD", BOB) == []


def test_two_accounts_trade_at_the_makers_price():
    driver = CoinbaseDriver()
    driver.followed("ticker")
    inside = driver.inside()
    maker = driver.place(BOB, side="sell", price=inside, size="0.001", post_only=True)
    taker = driver.place(price=inside + 100, size="0.001")
    (made,), (taken,) = driver.get(f"/fills?order_id={maker['id']}", BOB), driver.get(f"/fills?order_id={taker['id']}", ALICE_KEY)
    assert (made["liquidity"], made["side"], taken["liquidity"], taken["side"]) == ("M", "sell", "T", "buy")
    assert made["trade_id"] == taken["trade_id"] and Decimal(made["price"]) == Decimal(taken["price"]) == inside


@pytest.mark.parametrize(("tif", "size", "status"), [("IOC", "1000000", "canceled"), ("FOK", "0.001", "filled")])
def test_orders_that_do_not_wait(tif, size, status):
    driver = CoinbaseDriver(customers=())
    _, ask = driver.best()
    row = driver.place(price=ask, size="0.00002" if tif == "FOK" else "100", time_in_force=tif)
    done = driver.get(f"/orders/{row['id']}", ALICE_KEY)
    assert (done["status"], done["done_reason"]) == ("done", status)


def test_a_fok_that_cannot_be_filled_leaves_nothing():
    driver = CoinbaseDriver()
    row = driver.place(price="1000", size="0.1", time_in_force="FOK")
    assert driver.refusal("GET", f"/orders/{row['id']}", ALICE_KEY) == (404, "NotFound")
    assert driver.get("/fills?product_id=BTC-USD", ALICE_KEY) == []


def test_an_order_with_a_life_ends_with_it():
    driver = CoinbaseDriver()
    row = driver.place(price="1000", size="0.1", time_in_force="GTT", cancel_after="min")
    assert row["expire_time"] == "2027-01-15T08:01:00.000Z"
    driver.run(59)
    assert len(driver.get("/orders", ALICE_KEY)) == 1
    driver.run(2)
    assert driver.get("/orders", ALICE_KEY) == []


def test_market_orders_take_a_size_or_funds_that_include_the_fee():
    driver = CoinbaseDriver()
    audit = Audit(driver.venue._exchange)
    sized = driver.place(type="market", side="sell", size="0.01")
    funded = driver.place(type="market", funds="500")
    assert "price" not in sized and "size" not in funded and funded["specified_funds"].startswith("500.0")
    row = driver.get(f"/orders/{funded['id']}", ALICE_KEY)
    spent = Decimal(row["executed_value"]) + Decimal(row["fill_fees"])
    assert row["done_reason"] == "filled" and Decimal("499.99") < spent <= 500
    audit.check()


def test_a_post_only_order_that_would_take_is_rejected_by_the_engine():
    driver = CoinbaseDriver()
    _, ask = driver.best()
    row = driver.place(price=ask, size="0.01", post_only=True, client_oid=OID)
    assert (row["status"], row["reject_reason"]) == ("rejected", "post only")
    assert driver.refusal("GET", f"/orders/client:{OID}", ALICE_KEY) == (404, "NotFound")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"type": "stop"}, "Invalid type"),
        ({"side": "both"}, "Invalid side"),
        ({"side": None}, "Invalid side"),
        ({"price": "0.001"}, "price is too accurate. Smallest unit is 0.01000000"),
        ({"size": "0.000000001"}, "size is too accurate. Smallest unit is 0.00000001"),
        ({"price": "x"}, "Invalid price"),
        ({"price": "-1"}, "Invalid price"),
        ({"price": True}, "Invalid price"),
        ({"size": "1e99"}, "Invalid size"),
        ({"size": "NaN"}, "Invalid size"),
        ({"size": None}, "price and size are required for limit orders"),
        ({"price": "1", "size": "0.5"}, "notional is too small. Minimum is 1"),
        ({"size": "1000000"}, "Insufficient funds"),
        ({"side": "sell", "size": "1000000"}, "Insufficient funds"),
        ({"time_in_force": "GTD"}, "Invalid time_in_force"),
        ({"time_in_force": "GTT"}, "Invalid cancel_after"),
        ({"cancel_after": "min"}, "Invalid cancel_after"),
        ({"time_in_force": "IOC", "post_only": True}, "Invalid post_only with this time_in_force"),
        ({"post_only": "yes"}, "Invalid post_only"),
        ({"stp": "xx"}, "Invalid stp"),
        ({"client_oid": "mine"}, "Invalid client_oid"),
        ({"profile_id": OID}, "Invalid profile_id"),
        ({"stop": "loss"}, "stop is not supported"),
        ({"max_floor": "1"}, "max_floor is not supported"),
        ({"type": "market", "size": None}, "size or funds is required"),
        ({"type": "market", "funds": "5"}, "size and funds together are not supported"),
        ({"type": "market", "size": None, "funds": "0.001"}, "funds is too accurate. Smallest unit is 0.01000000"),
        ({"type": "market", "size": None, "funds": "0.5"}, "notional is too small. Minimum is 1"),
    ],
)
def test_refusals_come_in_the_venues_words(body, words):
    assert refused(body) == words


def test_numbers_may_be_numbers():
    driver = CoinbaseDriver()
    assert driver.place(price=1000.1, size=1)["price"] == "1000.10000000"


def test_unknown_products_and_malformed_bodies_are_refused():
    assert refused({"product_id": "X-Y"}, 404) == "Product not found"
    driver = CoinbaseDriver()
    for body in (b"{", b"[]", b"\xff"):
        assert driver.refusal("POST", "/orders", ALICE_KEY, body) == (400, "Bad Request - Invalid JSON")
    assert driver.refusal("PUT", "/orders", ALICE_KEY) == (404, "NotFound")
    assert driver.refusal("GET", "/orders/a/b", ALICE_KEY) == (404, "NotFound")


def test_an_open_client_id_is_not_given_twice():
    driver = CoinbaseDriver()
    row = driver.place(price="1000", size="0.1", client_oid=OID)
    assert refused({"client_oid": OID}, driver=driver) == "Duplicate client_oid"
    driver.request("DELETE", f"/orders/{row['id']}", ALICE_KEY)
    assert driver.place(price="1000", size="0.1", client_oid=OID)["id"] != row["id"]


@pytest.mark.parametrize(
    ("status", "words"),
    [("post_only", "Post only mode"), ("cancel_only", "Cancel only mode"), ("halted", "Trading is disabled")],
)
def test_a_products_mode_refuses_orders(status, words):
    driver = CoinbaseDriver()
    row = driver.place(price="1000", size="0.1")
    driver.fault(kind="instrument_status", status=status)
    assert refused({}, driver=driver) == words
    if status == "halted":
        assert driver.refusal("DELETE", f"/orders/{row['id']}", ALICE_KEY) == (400, words)
    else:
        assert driver.request("DELETE", f"/orders/{row['id']}", ALICE_KEY).status == 200
    if status == "post_only":
        assert driver.place(price="1000", size="0.1", post_only=True)["status"] == "pending"


def test_only_limit_orders_in_limit_only_mode():
    driver = CoinbaseDriver()
    driver.fault(kind="instrument_status", status="limit_only")
    assert refused({"type": "market", "price": None}, driver=driver) == "Limit only mode"
    assert driver.place(price="1000", size="0.1")["status"] == "pending"


@pytest.mark.parametrize(("stp", "left"), [("dc", []), ("co", ["buy"]), ("cn", ["sell"]), ("cb", [])])
def test_an_account_does_not_trade_with_itself(stp, left):
    driver = CoinbaseDriver()
    audit = Audit(driver.venue._exchange)
    driver.followed("ticker")
    price = driver.inside()
    driver.place(side="sell", price=price, size="0.001", post_only=True)
    driver.place(price=price, size="0.001", stp=stp)
    assert [row["side"] for row in driver.get("/orders", ALICE_KEY)] == left
    assert driver.get("/fills?product_id=BTC-USD", ALICE_KEY) == []
    audit.check()


def test_orders_are_listed_by_status_product_and_page():
    driver = CoinbaseDriver(symbols=("BTC-USD", "ETH-USD"))
    rows = []
    for place in range(7):
        driver.now_ns += SECOND_NS
        rows.append(driver.place(price=str(100 + place), size="0.1", product_id=("BTC-USD", "ETH-USD")[place % 2]))
    _, ask = driver.best()
    driver.now_ns += SECOND_NS
    done = driver.place(price=ask + 100, size="0.001")
    ids = [row["id"] for row in rows]

    def listed(query):
        return [row["id"] for row in driver.get(f"/orders?{query}", ALICE_KEY)]

    assert listed("") == listed("status=open&status=pending&status=active") == ids[::-1]
    assert listed("status=done") == [done["id"]] and listed("status=all") == [done["id"], *ids[::-1]]
    assert listed("product_id=ETH-USD") == ids[5::-2]
    assert listed("sortedBy=price&sorting=asc") == ids and listed("sorting=asc") == ids
    assert listed(f"start_date={rows[5]['created_at']}") == ids[:4:-1] and listed(f"end_date={rows[1]['created_at']}") == ids[1::-1]
    seen, after = [], ""
    while True:
        response = driver.request("GET", f"/orders?limit=3{after}", ALICE_KEY)
        page = json.loads(response.body)
        if not page:
            break
        seen += [row["id"] for row in page]
        after = f"&after={dict(response.headers)['CB-AFTER']}"
        driver.now_ns += SECOND_NS
    assert seen == ids[::-1]
    for query, words in (("status=x", "Invalid status"), ("sortedBy=x", "Invalid sorting"), ("after=x", "Invalid after")):
        assert driver.refusal("GET", f"/orders?{query}", ALICE_KEY) == (400, words)


def test_orders_of_one_moment_stay_on_one_page():
    driver = CoinbaseDriver()
    for _ in range(3):
        driver.place(price="100", size="0.1")
    assert len(driver.get("/orders?limit=2", ALICE_KEY)) == 3


def test_fills_come_newest_first_in_pages_and_need_an_order_or_a_product():
    driver = CoinbaseDriver()
    _, ask = driver.best()
    driver.place(price=ask + 100, size="2")
    fills = driver.get("/fills?product_id=BTC-USD", ALICE_KEY)
    ids = [fill["trade_id"] for fill in fills]
    assert len(ids) > 5 and ids == sorted(ids, reverse=True)
    response = driver.request("GET", "/fills?product_id=BTC-USD&limit=2", ALICE_KEY)
    assert json.loads(response.body) == fills[:2]
    older = driver.get(f"/fills?product_id=BTC-USD&limit={len(fills) - 2}&after={dict(response.headers)['CB-AFTER']}", ALICE_KEY)
    assert older == fills[2:] and driver.get(f"/fills?product_id=BTC-USD&before={ids[2]}", ALICE_KEY) == fills[:2]
    assert driver.refusal("GET", "/fills", ALICE_KEY) == (400, "Either order_id or product_id is required")
    assert driver.refusal("GET", "/fills?order_id=x", ALICE_KEY) == (400, "Invalid order id")
    assert driver.get(f"/fills?order_id={uuid_of(10**6)}", ALICE_KEY) == []


def test_cancels_of_all_and_of_what_is_over():
    driver = CoinbaseDriver(symbols=("BTC-USD", "ETH-USD"))
    btc, eth = (driver.place(price="100", size="0.1", product_id=name)["id"] for name in ("BTC-USD", "ETH-USD"))
    other = driver.place(BOB, price="100", size="0.1")["id"]
    assert json.loads(driver.request("DELETE", "/orders?product_id=btc-USD", ALICE_KEY).body) == [btc]
    assert json.loads(driver.request("DELETE", "/orders", ALICE_KEY).body) == [eth]
    assert driver.refusal("DELETE", "/orders?product_id=X-Y", ALICE_KEY) == (404, "ProductNotFound")
    assert driver.refusal("DELETE", "/orders?Product_id=BTC-USD", ALICE_KEY) == (400, "BadRequest")
    assert driver.refusal("DELETE", f"/orders/{other}", ALICE_KEY) == (404, "order not found")
    assert driver.refusal("DELETE", "/orders/mine", ALICE_KEY) == (400, "Invalid order id")
    _, ask = driver.best()
    filled = driver.place(price=ask + 100, size="0.001")["id"]
    assert driver.refusal("DELETE", f"/orders/{filled}", ALICE_KEY) == (400, "Order already done")
    assert [row["id"] for row in driver.get("/orders", BOB)] == [other]


def test_a_product_takes_five_hundred_open_orders():
    driver = CoinbaseDriver(unlimited=True)
    for _ in range(500):
        driver.place(price="100", size="0.1")
    assert refused({}, driver=driver) == "Maximum of 500 open orders reached"


def test_accounts_and_fees_are_the_keys_own():
    driver = CoinbaseDriver()
    rows = accounts(driver)
    assert set(rows) == {"BTC", "USD"} and rows["BTC"]["available"] == "100000.0000000000000000"
    assert driver.get(f"/accounts/{rows['BTC']['id']}", ALICE_KEY) == rows["BTC"]
    assert driver.refusal("GET", f"/accounts/{rows['BTC']['id']}", BOB) == (404, "NotFound")
    assert driver.get("/fees", ALICE_KEY) == {"maker_fee_rate": "0.004", "taker_fee_rate": "0.006", "usd_volume": "0.00"}


def test_private_requests_are_limited_by_profile_and_fills_on_their_own():
    driver = CoinbaseDriver()
    statuses = [driver.request("GET", "/fees", ALICE_KEY).status for _ in range(PRIVATE[0] // 1000 + 1)]
    assert statuses == [200] * 30 + [429]
    assert driver.refusal("GET", "/fees", "alice-view") == (429, "Private rate limit exceeded")
    assert driver.request("GET", "/fees", BOB).status == 200
    fills = [driver.request("GET", "/fills?product_id=BTC-USD", ALICE_KEY).status for _ in range(21)]
    assert fills == [200] * 20 + [429]
    driver.now_ns += SECOND_NS
    assert [driver.request("GET", "/fees", ALICE_KEY).status for _ in range(16)] == [200] * 15 + [429]


def test_refused_requests_do_nothing_and_lost_answers_hide_orders_that_live():
    driver = CoinbaseDriver()
    driver.fault(kind="refuse_order", action="place", status=429)
    assert refused({}, 429, driver) == "Private rate limit exceeded"
    assert driver.get("/orders", ALICE_KEY) == []
    driver.fault(kind="lose_ack", action="place")
    assert driver.request("POST", "/orders", ALICE_KEY, {**ORDER, "client_oid": OID}).ending is Ending.HELD
    assert driver.get(f"/orders/client:{OID}", ALICE_KEY)["status"] == "open"
    driver.fault(kind="order_error", action="cancel", status=504, html=True)
    response = driver.request("DELETE", f"/orders/client:{OID}", ALICE_KEY)
    assert response.status == 504 and response.body.startswith(b"<html>") and driver.get("/orders", ALICE_KEY) == []
    driver.fault(kind="lose_ack", action="query", hang_up=True)
    assert driver.request("GET", "/orders", ALICE_KEY).ending is Ending.DROPPED
