"""Socket requests of Kraken: envelopes, acknowledgements, refusals and the snapshots of public and private channels."""

from decimal import Decimal

import pytest

from hft.sim.kraken.keys import TOKEN_LIFE_NS
from support.krakensim import SECOND_NS, KrakenDriver


@pytest.fixture
def driver():
    return KrakenDriver(symbols=("BTC/USD", "ETH/USD"))


@pytest.fixture
def session(driver):
    return driver.open()


def test_the_venue_speaks_first_and_its_connection_ids_exceed_what_a_double_holds(driver, session):
    (status,) = driver.messages(session)
    assert status["channel"] == "status" and status["type"] == "update"
    (data,) = status["data"]
    assert data["system"] == "online" and data["api_version"] == "v2" and data["connection_id"] > 2**53


def test_each_symbol_is_acknowledged_and_then_begins_with_its_snapshot(driver, session):
    said = driver.subscribe(session, "book", symbol=["BTC/USD", "ETH/USD"], depth=25)
    assert [message.get("method", message.get("type")) for message in said] == ["subscribe", "snapshot"] * 2
    ack = said[0]
    assert ack["success"] and ack["req_id"] == 7 and ack["time_in"] <= ack["time_out"]
    assert ack["result"] == {"channel": "book", "depth": 25, "snapshot": True, "symbol": "BTC/USD"}
    assert [len(said[1]["data"][0][side]) for side in ("bids", "asks")] == [25, 25]


@pytest.mark.parametrize("depth", [27, 0, -10, 10.0, 1001, True, "10", None])
def test_a_refused_depth_leaves_the_socket_alive_without_data(driver, session, depth):
    (refusal,) = driver.subscribe(session, "book", symbol=["BTC/USD"], depth=depth)
    assert refusal["success"] is False and refusal["error"] == "Subscription depth not supported"
    driver.subscribe(session, "trade", symbol=["ETH/USD"])
    driver.run(5)
    assert not driver.messages(session, "book") and session.close is None
    assert len(driver.messages(session, "heartbeat")) == 5


def test_an_unknown_pair_is_refused_alone(driver, session):
    said = driver.subscribe(session, "trade", symbol=["DOGE/USD", "BTC/USD"])
    assert [message.get("success") for message in said] == [False, True, None]
    assert said[0]["error"] == "Currency pair not supported DOGE/USD" and said[0]["symbol"] == "DOGE/USD"


@pytest.mark.parametrize(
    ("params", "error"),
    [
        ({"channel": "ohlc", "symbol": ["BTC/USD"]}, "Channel not available"),
        ({"channel": "nonsense"}, "Channel not found"),
        ({}, "Channel not found"),
        ({"channel": "book"}, "Symbol(s) not found"),
        ({"channel": "book", "symbol": "BTC/USD"}, "Symbol(s) not found"),
        ({"channel": "book", "symbol": ["BTC/USD"], "speed": 1}, "Unsupported field: 'speed' for the given msg type: subscribe book"),
        ({"channel": "trade", "symbol": ["BTC/USD"], "snapshot": 1}, "Invalid value for field: 'snapshot'"),
        ({"channel": "ticker", "symbol": ["BTC/USD"], "event_trigger": "day"}, "Invalid value for field: 'event_trigger'"),
        ({"channel": "executions"}, "ESession:Invalid session"),
        ({"channel": "balances", "token": "x"}, "ESession:Invalid session"),
    ],
)
def test_what_cannot_be_subscribed_is_refused_in_words(driver, session, params, error):
    (refusal,) = driver.ask(session, {"method": "subscribe", "params": params, "req_id": 1})
    assert refusal["error"] == error and refusal["success"] is False and refusal["req_id"] == 1 and "result" not in refusal


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", "Malformed request"),
        (b"[1]", "Malformed request"),
        (b"\xff", "Malformed request"),
        (b"[" * 10_000, "Malformed request"),
        (b'{"method":5}', "Malformed request"),
        (b'{"method":"subscribe","params":[]}', "Malformed request"),
        (b'{"method":"ping","req_id":"x"}', "Malformed request"),
        (b'{"method":"dance"}', "Method(s) not found"),
        (b'{"method":"edit_order","params":{}}', "Method(s) not found"),
    ],
)
def test_what_is_no_request_is_refused_and_the_socket_lives(driver, session, body, error):
    (refusal,) = driver.ask(session, body)
    assert refusal["error"] == error and refusal["success"] is False and session.close is None


def test_a_ping_is_answered_by_method_and_a_ping_frame_by_frame(driver, session):
    (pong,) = driver.ask(session, {"method": "ping", "req_id": 101})
    assert pong["method"] == "pong" and pong["req_id"] == 101 and pong["time_in"].endswith("Z") and "success" not in pong
    driver.venue.receive(session, 9, b"abc", driver.now_ns)
    assert session.outbox == [(10, b"abc")]


def test_a_pair_is_followed_once_until_it_is_unsubscribed(driver, session):
    driver.subscribe(session, "book", symbol=["BTC/USD"], depth=10)
    assert driver.subscribe(session, "book", symbol=["BTC/USD"], depth=25)[0]["error"] == "Already subscribed"
    (done,) = driver.ask(session, {"method": "unsubscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 10}})
    assert done["success"] and done["result"] == {"channel": "book", "depth": 10, "symbol": "BTC/USD"}
    (again,) = driver.ask(session, {"method": "unsubscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}})
    assert again["error"] == "Subscription not found"
    assert driver.subscribe(session, "book", symbol=["BTC/USD"], depth=25)[0]["success"]


def test_a_subscription_without_snapshot_goes_straight_to_updates(driver, session):
    assert len(driver.subscribe(session, "book", symbol=["BTC/USD"], snapshot=False)) == 1
    driver.run(1)
    assert {message["type"] for message in driver.messages(session, "book")} == {"update"}


def test_the_instrument_channel_states_every_pair_and_what_becomes_of_it(driver, session):
    _, snapshot = driver.subscribe(session, "instrument")
    pairs = {pair["symbol"]: pair for pair in snapshot["data"]["pairs"]}
    assert pairs["BTC/USD"]["price_increment"] == Decimal("0.1") and pairs["BTC/USD"]["qty_precision"] == 8
    assert {asset["id"] for asset in snapshot["data"]["assets"]} == {"BTC", "ETH", "USD"}
    assert b'"qty_increment":1e-08' in driver.sent[session.number][-1]
    driver.fault(kind="instrument_status", symbol="ETH/USD", status="cancel_only")
    driver.collect()
    update = driver.messages(session, "instrument")[-1]
    assert update["type"] == "update" and [(pair["symbol"], pair["status"]) for pair in update["data"]["pairs"]] == [
        ("ETH/USD", "cancel_only")
    ]


def test_the_ack_of_executions_can_be_sent_back_as_a_subscription(driver, session):
    ack, snapshot = driver.subscribe(session, "executions")
    assert snapshot == {"channel": "executions", "type": "snapshot", "data": [], "sequence": 1}
    result = {name: value for name, value in ack["result"].items() if name != "maxratecount"}
    other = driver.open()
    assert driver.ask(other, {"method": "subscribe", "params": {**result, "token": driver.token()}})[0]["success"]


@pytest.mark.parametrize(("key", "channel", "fine"), [("alice-read-only", "executions", True), ("alice-cancel-only", "balances", True)])
def test_private_channels_need_a_key_that_may_read(driver, session, key, channel, fine):
    assert driver.subscribe(session, channel, token=driver.token(key))[0]["success"] is fine


@pytest.mark.parametrize("channel", ["executions", "balances"])
def test_a_private_channel_ends_and_begins_anew(driver, session, channel):
    token = driver.token()
    driver.subscribe(session, channel, token=token)
    assert driver.subscribe(session, channel, token=token)[0]["error"] == "Already subscribed"
    request = {"method": "unsubscribe", "params": {"channel": channel, "token": token}}
    assert driver.ask(session, request)[0]["result"] == {"channel": channel}
    assert driver.ask(session, request)[0]["error"] == "Subscription not found"
    assert driver.subscribe(session, channel, token=token)[1]["sequence"] == 1


def test_a_token_lives_on_with_its_subscription_and_only_on_that_connection(driver, session):
    token = driver.token()
    driver.subscribe(session, "executions", token=token)
    driver.now_ns += TOKEN_LIFE_NS
    assert driver.trade(session, "cancel_all", token)[0]["success"]
    other = driver.open()
    assert driver.trade(other, "cancel_all", token)[0]["error"] == "ESession:Invalid session"


METHODS = (
    *("subscribe", "unsubscribe", "add_order", "amend_order", "cancel_order", "cancel_all", "batch_add", "batch_cancel"),
    *("cancel_all_orders_after", "ping"),
)
FIELDS = (
    *("channel", "symbol", "depth", "order_id", "orders", "cl_ord_id", "order_userref", "order_qty", "cash_order_qty", "limit_price"),
    *("deadline", "expire_time", "timeout", "side", "order_type", "time_in_force", "stp_type", "validate", "post_only", "snap_orders"),
)
ODD = (None, True, -1, 10**30, 1.5, "", "x" * 3000, [], [None], [[]], {}, {"a": []}, ["BTC/USD", 7])


@pytest.mark.parametrize("method", METHODS)
def test_requests_of_any_shape_get_answers_and_never_end_the_venue(method):
    driver = KrakenDriver(unlimited=True)
    session, token = driver.open(), driver.token()
    fine = {"symbol": "BTC/USD", "order_type": "limit", "side": "buy", "order_qty": 1, "limit_price": 5, "token": token}
    for name in FIELDS:
        for value in ODD:
            replies = driver.ask(session, {"method": method, "params": {**fine, name: value}, "req_id": 3})
            assert replies and all("success" in reply or method == "ping" for reply in replies if "method" in reply), (name, value)
    assert session.close is None


def test_messages_after_the_end_of_a_session_change_nothing(driver, session):
    driver.fault(kind="disconnect", code=1001)
    assert driver.ask(session, {"method": "ping"}) == []
    assert driver.now_ns < SECOND_NS
