"""Requests on the simulated Coinbase's socket: subscriptions, what confirms and what refuses them."""

import json

import pytest

from hft.sim.coinbase.requests import SAME_MAX
from hft.sim.venue import Close, Opcode
from support.coinbasesim import CoinbaseDriver, signed_message

NEEDS = "level2, level3, and full channels now require authentication. https://docs.cdp.coinbase.com/exchange/docs/websocket-auth"


def test_a_subscription_is_confirmed_with_everything_subscribed_so_far():
    driver = CoinbaseDriver(symbols=("BTC-USD", "ETH-USD"))
    session = driver.open()
    said = driver.say(
        session,
        {
            "type": "subscribe",
            "product_ids": ["BTC-USD"],
            "channels": ["heartbeat", {"name": "matches", "product_ids": ["ETH-USD"]}],
        },
    )
    assert said[0] == {
        "type": "subscriptions",
        "channels": [
            {"name": "heartbeat", "product_ids": ["BTC-USD"], "account_ids": None},
            {"name": "matches", "product_ids": ["BTC-USD", "ETH-USD"], "account_ids": None},
        ],
    }
    (more,) = driver.subscribe(session, "ticker", products=["ETH-USD"])
    assert [channel["name"] for channel in more["channels"]] == ["heartbeat", "matches", "ticker"]


def test_unsubscribing_takes_products_or_a_whole_channel():
    driver = CoinbaseDriver(symbols=("BTC-USD", "ETH-USD"))
    session = driver.followed("matches", "heartbeat", products=("BTC-USD", "ETH-USD"))
    (said,) = driver.say(session, {"type": "unsubscribe", "product_ids": ["BTC-USD"], "channels": ["matches"]})
    assert {channel["name"]: channel["product_ids"] for channel in said["channels"]} == {
        "matches": ["ETH-USD"],
        "heartbeat": ["BTC-USD", "ETH-USD"],
    }
    driver.say(session, {"type": "unsubscribe", "channels": ["heartbeat"]})
    (said,) = driver.say(session, {"type": "unsubscribe", "channels": ["matches"]})
    assert said["channels"] == []
    driver.run(5)
    assert driver.messages(session, "heartbeat", "match") == []


def test_a_whole_book_begins_each_new_subscription_and_only_new_ones():
    driver = CoinbaseDriver()
    session = driver.open()
    assert [message["type"] for message in driver.subscribe(session, "level2_batch")] == ["subscriptions", "snapshot"]
    assert [message["type"] for message in driver.subscribe(session, "level2_batch")] == ["subscriptions"]
    driver.say(session, {"type": "unsubscribe", "product_ids": ["BTC-USD"], "channels": ["level2_batch"]})
    assert [message["type"] for message in driver.subscribe(session, "level2_batch")] == ["subscriptions", "snapshot"]


@pytest.mark.parametrize("channel", ["level2", "full", "user"])
def test_private_channels_need_a_signature_each_time(channel):
    driver = CoinbaseDriver()
    session = driver.open()
    (refused,) = driver.subscribe(session, channel, "ticker")
    reason = "user channel requires authentication" if channel == "user" else NEEDS
    assert refused == {"type": "error", "message": "Failed to subscribe", "reason": reason}
    assert session.topics == {} and not session.private
    said = driver.subscribe(session, channel, key="alice-view")
    assert said[0]["channels"][0]["name"] == channel and session.private is (channel == "user")


def test_a_user_channel_without_products_is_of_all():
    driver = CoinbaseDriver(symbols=("BTC-USD", "ETH-USD"))
    (said,) = driver.subscribe(driver.open(), "user", products=(), key="alice-view")
    assert said["channels"][0]["product_ids"] == ["BTC-USD", "ETH-USD"]


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"key": "nobody"}, "Invalid API Key"),
        ({"signature": "x"}, "invalid signature"),
        ({"passphrase": "bob"}, "Invalid Passphrase"),
        ({"timestamp": "1"}, "request timestamp expired"),
    ],
)
def test_a_wrong_signature_fails_the_whole_request(wrong, reason):
    driver = CoinbaseDriver()
    session = driver.open()
    message = {
        "type": "subscribe",
        "product_ids": ["BTC-USD"],
        "channels": ["ticker"],
        **signed_message("alice-trade", driver.utc_ns),
        **wrong,
    }
    (refused,) = driver.say(session, message)
    assert refused["message"] == "Authentication Failed" and json.loads(refused["reason"]) == {"message": reason}
    assert session.topics == {}


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"type": "subscribe", "product_ids": ["BTC-USD"]}, "No channels provided"),
        ({"type": "subscribe", "channels": []}, "No channels provided"),
        ({"type": "subscribe", "channels": ["ohlc"]}, "ohlc is not a valid channel"),
        ({"type": "subscribe", "channels": [7]}, "7 is not a valid channel"),
        ({"type": "subscribe", "channels": ["ticker"]}, "No products provided for channel ticker"),
        ({"type": "subscribe", "channels": ["ticker"], "product_ids": ["X-Y"]}, "X-Y is not a valid product"),
        ({"type": "subscribe", "channels": ["ticker"], "product_ids": "BTC-USD"}, "product_ids must be a list of texts"),
        ({"type": "hello", "channels": ["ticker"]}, "Type has to be either subscribe or unsubscribe"),
    ],
)
def test_malformed_requests_are_refused_and_the_connection_lives_on(message, reason):
    driver = CoinbaseDriver()
    session = driver.open()
    (refused,) = driver.say(session, message)
    assert (refused["type"], refused["reason"]) == ("error", reason) and session.close is None
    assert driver.subscribe(session, "ticker")[0]["type"] == "subscriptions"


@pytest.mark.parametrize("payload", [b"{", b"[]", b"\xff", b"1"])
def test_what_is_no_object_is_malformed(payload):
    driver = CoinbaseDriver()
    assert driver.say(driver.open(), payload) == [{"type": "error", "message": "Malformed JSON"}]


def test_pings_are_answered_and_binary_ends_the_connection():
    driver = CoinbaseDriver()
    session = driver.open()
    driver.venue.receive(session, Opcode.PING, b"x", 0)
    assert session.outbox == [(Opcode.PONG, b"x")]
    driver.venue.receive(session, Opcode.BINARY, b"x", 0)
    assert session.close == Close(1003, "Only text is understood")


def test_an_account_has_ten_subscriptions_of_a_kind():
    driver = CoinbaseDriver(symbols=("BTC-USD", "ETH-USD"))
    sessions = []
    for _ in range(SAME_MAX):
        driver.run(1)
        sessions.append(driver.followed("full", key="alice-view"))
    extra = driver.open()
    (refused,) = driver.subscribe(extra, "full", key="alice-view")
    assert refused["reason"] == "more than 10 subscriptions to full of BTC-USD"
    for key, products in (("bob-view", ["BTC-USD"]), ("alice-view", ["ETH-USD"])):
        assert driver.subscribe(extra, "full", key=key, products=products)[0]["type"] == "subscriptions"
    driver.venue.closed(sessions[0])
    assert driver.subscribe(driver.open(), "full", key="alice-view")[0]["type"] == "subscriptions"


def test_who_says_too_much_is_cut():
    driver = CoinbaseDriver()
    session = driver.followed("ticker")
    for _ in range(100):
        driver.subscribe(session, "ticker")
    assert session.close == Close(1008, "ErrSlowRead")
    patient = CoinbaseDriver(unlimited=True)
    session = patient.followed("ticker")
    for _ in range(300):
        patient.subscribe(session, "ticker")
    assert session.close is None
