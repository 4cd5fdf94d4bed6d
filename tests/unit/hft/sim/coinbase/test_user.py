"""Channel `user` of the simulated Coinbase: what an account hears of its orders, and in which order."""

from decimal import Decimal

import pytest

from hft.sim.coinbase.keys import ALICE_KEY
from hft.sim.coinbase.wire import user_id
from hft.venues.coinbase.account_rows import halves
from support.coinbasesim import CoinbaseDriver

OID = "496ffbba-7dae-4864-97e8-a5bf52c6d0e2"


def trader(**options):
    driver = CoinbaseDriver(**options)
    return driver, driver.followed("user", key=ALICE_KEY, products=())


def heard(driver, session, *kinds):
    driver.collect()
    return [message for message in driver.messages(session, *kinds) if "user_id" in message]


def test_an_order_is_received_opens_and_is_done():
    driver, session = trader()
    row = driver.place(price="1000.00", size="0.1", client_oid=OID)
    driver.request("DELETE", f"/orders/{row['id']}", ALICE_KEY)
    received, opened, done = heard(driver, session)
    common = {"product_id": "BTC-USD", "side": "buy", "order_id": row["id"], "user_id": user_id("alice"), "profile_id": row["profile_id"]}
    for message in (received, opened, done):
        assert common.items() <= message.items() and message["time"].endswith("Z")
    assert [message["type"] for message in (received, opened, done)] == ["received", "open", "done"]
    assert (received["price"], received["size"], received["order_type"], received["client_oid"]) == ("1000.00", "0.10000000", "limit", OID)
    assert opened["remaining_size"] == "0.10000000" and "client_oid" not in opened
    assert (done["reason"], done["remaining_size"], done["price"]) == ("canceled", "0.10000000", "1000.00") and "cancel_reason" not in done
    assert received["sequence"] < opened["sequence"] < done["sequence"]


def test_a_taker_hears_matches_at_the_makers_price_and_then_what_rests():
    driver, session = trader()
    _, ask = driver.best()
    size = sum(Decimal(level[1]) for level in driver.book()["asks"][:3]) + Decimal("0.5")
    row = driver.place(price=driver.book()["asks"][2][0], size=str(size))
    said = heard(driver, session)
    matches = said[1:-1]
    assert [message["type"] for message in said] == ["received", *["match"] * len(matches), "open"] and len(matches) >= 3
    assert said[-1]["remaining_size"] == "0.50000000"
    first = matches[0]
    assert (first["price"], first["side"], first["taker_order_id"]) == (str(ask), "sell", row["id"])
    assert first["taker_user_id"] == first["user_id"] and first["taker_fee_rate"] == "0.006" and "maker_user_id" not in first
    assert halves(first["maker_order_id"]) != halves(row["id"])
    assert len({message["trade_id"] for message in matches}) == len(matches)


def test_maker_and_taker_hear_the_same_trade_each_with_their_own_members():
    driver, session = trader()
    other = driver.followed("user", key="bob-view")
    inside = driver.inside()
    maker = driver.place("bob-trade", side="sell", price=inside, size="0.001")
    taker = driver.place(price=inside, size="0.001")
    mine, (theirs,) = heard(driver, session, "match"), heard(driver, other, "match")
    (mine,) = mine
    same = ("trade_id", "maker_order_id", "taker_order_id", "side", "size", "price", "product_id", "time")
    assert [mine[name] for name in same] == [theirs[name] for name in same]
    assert (mine["maker_order_id"], mine["taker_order_id"], mine["side"]) == (maker["id"], taker["id"], "sell")
    assert theirs["maker_fee_rate"] == "0.004" and theirs["maker_profile_id"] == maker["profile_id"] and "taker_fee_rate" not in theirs
    assert [message["type"] for message in heard(driver, other)] == ["received", "open", "match", "done"]
    assert heard(driver, session, "done")[0]["remaining_size"] == "0.00000000"


def test_market_orders_are_done_without_price_and_rest():
    driver, session = trader()
    driver.place(type="market", funds="100.00")
    received, *matches, done = heard(driver, session)
    assert (received["order_type"], received["funds"]) == ("market", "100.00000000") and "size" not in received and "price" not in received
    assert matches and (done["type"], done["reason"]) == ("done", "filled") and "price" not in done and "remaining_size" not in done


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"time_in_force": "IOC", "price": "1000"}, "101:Time In Force"),
        ({"time_in_force": "FOK", "price": "1000"}, "101:Time In Force"),
    ],
)
def test_what_was_not_asked_to_be_cancelled_says_why(fields, reason):
    driver, session = trader()
    driver.place(size="0.1", **fields)
    received, done = heard(driver, session)
    assert (done["type"], done["reason"], done["cancel_reason"], done["remaining_size"]) == ("done", "canceled", reason, "0.10000000")
    assert received["type"] == "received"


def test_an_order_whose_life_ends_says_so():
    driver, session = trader()
    driver.place(size="0.1", price="1000", time_in_force="GTT", cancel_after="min")
    driver.run(61)
    assert heard(driver, session, "done")[0]["cancel_reason"] == "101:Time In Force"


@pytest.mark.parametrize("stp", ["dc", "co", "cn", "cb"])
def test_self_trade_prevention_is_told_as_change_and_done(stp):
    driver, session = trader()
    inside = driver.inside()
    resting = driver.place(side="sell", price=inside, size="0.003")["id"]
    taking = driver.place(price=inside, size="0.001", stp=stp)["id"]
    said = [(message["type"], message.get("order_id")) for message in heard(driver, session)][2:]
    expected = {
        "dc": [("received", taking), ("change", resting), ("change", taking), ("done", taking)],
        "co": [("received", taking), ("done", resting), ("open", taking)],
        "cn": [("received", taking), ("done", taking)],
        "cb": [("received", taking), ("done", resting), ("done", taking)],
    }
    assert said == expected[stp]
    dones = heard(driver, session, "done")
    assert {done["cancel_reason"] for done in dones} == {"102:Self Trade Prevention"}
    if stp == "dc":
        change = heard(driver, session, "change")[0]
        assert (change["reason"], change["old_size"], change["new_size"], change["price"]) == (
            "STP",
            "0.00300000",
            "0.00200000",
            str(inside),
        )


def test_resting_orders_are_filled_by_the_market_as_makers():
    driver, session = trader(seed=3)
    bid, _ = driver.best()
    for place in range(20):
        driver.place(price=bid - place * Decimal("0.01"), size="0.0001")
    driver.run(60)
    matches = heard(driver, session, "match")
    assert (
        matches and {message["maker_fee_rate"] for message in matches} == {"0.004"} and {message["side"] for message in matches} == {"buy"}
    )
    fills = driver.get("/fills?product_id=BTC-USD", ALICE_KEY)
    assert sorted(fill["trade_id"] for fill in fills) == sorted(message["trade_id"] for message in matches)


def test_only_own_orders_of_subscribed_products_are_heard():
    driver = CoinbaseDriver(symbols=("BTC-USD", "ETH-USD"))
    session = driver.followed("user", key=ALICE_KEY, products=("ETH-USD",))
    driver.place(price="1000", size="0.1")
    driver.place("bob-trade", price="100", size="0.1", product_id="ETH-USD")
    assert heard(driver, session) == []
    driver.place(price="100", size="0.1", product_id="ETH-USD")
    assert [message["type"] for message in heard(driver, session)] == ["received", "open"]


def test_sequences_rise_and_a_rejected_order_is_not_heard_of():
    driver, session = trader()
    _, ask = driver.best()
    driver.place(price=ask, size="0.01", post_only=True)
    assert heard(driver, session) == []
    for _ in range(3):
        driver.place(price=ask + 50, size="0.02")
        driver.run(1)
    sequences = [message["sequence"] for message in heard(driver, session)]
    assert sequences == sorted(set(sequences))


@pytest.mark.parametrize(("kind", "count"), [("drop", 0), ("duplicate", 2)])
def test_faults_strike_the_private_channel(kind, count):
    driver, session = trader()
    driver.fault(kind=kind, channel="private")
    driver.place(price="1000", size="0.1")
    assert [message["type"] for message in heard(driver, session)] == ["received"] * count + ["open"]


def test_messages_come_late_or_behind_the_next():
    driver, session = trader()
    driver.fault(kind="reorder", channel="private")
    driver.place(price="1000", size="0.1")
    assert [message["type"] for message in heard(driver, session)] == ["open", "received"]
    driver.fault(kind="delay", channel="private", delay_ms=300)
    driver.place(price="1000", size="0.2")
    assert [message["type"] for message in heard(driver, session)][2:] == ["open"]
    driver.run(0.4)
    assert [message["type"] for message in heard(driver, session)][2:] == ["open", "received"]
