"""Whatever a client sends, the simulated Coinbase answers in its own words and keeps its books balanced."""

import json
import random

import pytest

from hft.sim.coinbase.keys import ALICE_KEY
from hft.sim.exchange.view import Audit
from support.coinbasesim import CoinbaseDriver, signed_message

VALUES = [
    None,
    True,
    0,
    -1,
    7,
    1.5,
    10**30,
    "",
    "x",
    "GTC",
    "buy",
    "limit",
    "market",
    "1000",
    "0.01",
    "1e-400",
    "1e400",
    "NaN",
    [],
    [1],
    {},
    {"a": 1},
]
FIELDS = [
    "type",
    "side",
    "product_id",
    "stp",
    "price",
    "size",
    "funds",
    "time_in_force",
    "cancel_after",
    "post_only",
    "client_oid",
    "profile_id",
]
TARGETS = [
    "//[",
    "/%ff",
    "/orders/%ff",
    "/orders/client:",
    "/orders?status=%00",
    "/orders?limit=1e9",
    "/orders?before=x&after=y",
    "/orders?start_date=0001-01-01T00:00:00Z",
    "/orders?end_date=9999-12-31T23:59:59Z",
    "/orders?after=2026-01-01",
    "/fills?product_id=BTC-USD&before=-1",
    "/fills?product_id=BTC-USD&after=" + "9" * 40,
    "/products/%2e%2e/book",
    "/products/BTC-USD/book?level=" + "1" * 100,
    "/products/BTC-USD/trades?limit=-1",
    "/accounts/",
    "/?x",
    "",
]


@pytest.mark.parametrize("seed", range(3))
def test_orders_of_any_values_are_taken_or_refused(seed):
    driver = CoinbaseDriver(seed=seed, unlimited=True)
    audit = Audit(driver.venue._exchange)
    rng = random.Random(seed)
    usual = {"type": "limit", "side": "buy", "product_id": "BTC-USD", "price": "50000", "size": "0.01"}
    statuses = set()
    for _ in range(1500):
        body = dict(usual)
        for name in rng.sample(FIELDS, rng.randint(0, 3)):
            body[name] = rng.choice(VALUES)
        response = driver.request("POST", "/orders", ALICE_KEY, body)
        statuses.add(response.status)
        document = json.loads(response.body)
        assert ("message" in document) is (response.status != 200), (body, response)
    assert statuses == {200, 400, 404}
    driver.request("DELETE", "/orders", ALICE_KEY)
    audit.check()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_targets_of_any_form_are_answered(method, target):
    driver = CoinbaseDriver()
    for key in ("", ALICE_KEY):
        response = driver.request(method, target, key)
        assert response.status in (200, 400, 401, 404) and json.loads(response.body) is not None


@pytest.mark.parametrize("timestamp", ["1e999999999", "-1e999999999", "1e-999999999", "sNaN", "0x10", "١٢٣", " 1", "1_0"])
def test_times_of_any_form_are_refused(timestamp):
    driver = CoinbaseDriver()
    response = driver.request("GET", "/fees", ALICE_KEY, **{"cb-access-timestamp": timestamp})
    assert response.status == 401
    message = {**signed_message(ALICE_KEY, driver.utc_ns), "timestamp": timestamp, "type": "subscribe", "channels": ["user"]}
    assert driver.say(driver.open(), message)[0]["message"] == "Authentication Failed"


@pytest.mark.parametrize("seed", range(3))
def test_messages_of_any_values_are_answered(seed):
    driver = CoinbaseDriver(unlimited=True)
    session, rng = driver.open(), random.Random(seed)
    names = [
        *VALUES,
        "ticker",
        "level2_batch",
        "status",
        {"name": "matches", "product_ids": ["BTC-USD"]},
        {"name": "matches", "product_ids": 3},
    ]
    for _ in range(500):
        message = {
            "type": rng.choice(["subscribe", "unsubscribe", *VALUES]),
            "channels": rng.choice([rng.sample(names, 2), ["ticker"], *VALUES]),
            "product_ids": rng.choice([["BTC-USD"], ["X"], *VALUES]),
        }
        for name in rng.sample(["key", "signature", "timestamp", "passphrase"], rng.choice([0, 0, 1, 4])):
            message[name] = rng.choice(VALUES)
        said = driver.say(session, message)
        assert said and said[0]["type"] in ("error", "subscriptions"), message
        assert session.close is None
