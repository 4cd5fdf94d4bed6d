"""The Kraken venue in virtual time: playback, liveness, limits, and the faults that strike sockets and books."""

import json

import pytest

from hft.sim.kraken.session import IDLE_LIMIT_NS
from hft.sim.kraken.venue import ATTEMPTS_MAX
from hft.sim.venue import Close, RefusedError
from support.krakensim import SECOND_NS, BookFollower, KrakenDriver


def books(driver, session):
    return [payload for payload in driver.sent[session.number] if payload.startswith(b'{"channel":"book"')]


def followed(driver, depth=10):
    session = driver.open()
    driver.subscribe(session, "book", symbol=["BTC/USD"], depth=depth)
    return session


@pytest.mark.parametrize("depth", [10, 25, 100, 500, 1000])
def test_every_checksum_of_a_lively_market_holds_at_every_depth(depth):
    driver = KrakenDriver(seed=depth)
    session = followed(driver, depth)
    driver.run(20)
    follower = BookFollower(depth)
    assert all(follower.message(payload) for payload in books(driver, session)) and follower.checked > 200
    state = json.loads(driver.venue.control("GET", "/book?symbol=BTC/USD", b"", driver.now_ns).body)
    assert follower.levels("bids") == [tuple(level) for level in state["bids"][:depth]]
    assert follower.levels("asks") == [tuple(level) for level in state["asks"][:depth]]


def test_late_followers_and_followers_of_other_depths_are_served_from_the_same_book():
    driver = KrakenDriver()
    early = followed(driver, 10)
    driver.run(3)
    late, deep = followed(driver, 10), followed(driver, 100)
    driver.run(3)
    for session, depth in ((early, 10), (late, 10), (deep, 100)):
        follower = BookFollower(depth)
        assert all(follower.message(payload) for payload in books(driver, session))
    assert books(driver, early)[-1] == books(driver, late)[-1]


def test_followers_come_and_go_while_it_plays():
    driver = KrakenDriver()
    followed(driver, 25)
    for _ in range(5):
        session = followed(driver, 10)
        driver.run(1)
        driver.venue.closed(session)
        driver.run(1)
    assert [client["topics"] for client in driver.state()["clients"]] == [["book:BTC/USD"]]


def test_the_same_seed_says_the_same_bytes():
    one, two = KrakenDriver(seed=5), KrakenDriver(seed=5)
    sessions = [followed(driver) for driver in (one, two)]
    for driver in (one, two):
        driver.run(5)
    assert one.sent[sessions[0].number] == two.sent[sessions[1].number]


def test_trades_are_told_and_the_next_subscriber_gets_the_last_fifty():
    driver = KrakenDriver()
    session = driver.open()
    driver.subscribe(session, "trade", symbol=["BTC/USD"])
    driver.run(20)
    told = [row for message in driver.messages(session, "trade") for row in message["data"]]
    _, snapshot = driver.subscribe(driver.open(), "trade", symbol=["BTC/USD"])
    assert snapshot["type"] == "snapshot" and snapshot["data"] == told[-50:] and len(told) > 50
    assert set(told[0]) == {"symbol", "side", "price", "qty", "ord_type", "trade_id", "timestamp"}


@pytest.mark.parametrize("trigger", ["trades", "bbo"])
def test_the_ticker_comes_with_trades_or_with_the_best_prices(trigger):
    driver = KrakenDriver()
    session = driver.open()
    driver.subscribe(session, "ticker", symbol=["BTC/USD"], event_trigger=trigger)
    driver.subscribe(session, "trade", symbol=["BTC/USD"])
    driver.run(5)
    tickers, trades = (driver.messages(session, channel)[1:] for channel in ("ticker", "trade"))
    assert (len(tickers) == len(trades)) is (trigger == "trades") and len(tickers) >= len(trades) > 5
    assert all(message["data"][0]["bid"] < message["data"][0]["ask"] for message in tickers)


def test_heartbeats_come_once_a_second_while_anything_is_subscribed_even_in_silence():
    driver = KrakenDriver()
    session = driver.open()
    driver.run(5)
    assert driver.messages(session, "heartbeat") == []
    driver.subscribe(session, "book", symbol=["BTC/USD"])
    driver.fault(kind="silence", channel="book", for_ms=30_000)
    driver.run(30)
    assert len(driver.messages(session, "heartbeat")) == 30 and len(driver.messages(session, "book")) == 1
    driver.run(1)
    assert len(driver.messages(session, "book")) > 1
    driver.ask(session, {"method": "unsubscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}})
    before = len(driver.messages(session, "heartbeat"))
    driver.run(5)
    assert len(driver.messages(session, "heartbeat")) == before


def test_a_client_that_subscribes_to_nothing_and_says_nothing_is_dropped():
    driver = KrakenDriver()
    idle, talking, following = driver.open(), driver.open(), followed(driver)
    for _ in range(4):
        driver.run(IDLE_LIMIT_NS / SECOND_NS / 3)
        driver.ask(talking, {"method": "ping"})
    assert idle.close == Close(1000, "idle") and talking.close is None and following.close is None


def test_only_version_2_is_served_and_not_too_many_connections():
    driver = KrakenDriver()
    with pytest.raises(RefusedError, match="no such path"):
        driver.venue.admit("/v1", {}, 0)
    for _ in range(ATTEMPTS_MAX - 1):
        driver.venue.admit("/v2?x=1", {}, 0)
    with pytest.raises(RefusedError, match="connection attempts") as refusal:
        driver.venue.admit("/v2", {}, 0)
    assert refusal.value.status == 429
    driver.venue.admit("/v2", {}, 600 * SECOND_NS)


def test_a_wrong_checksum_comes_once_and_the_book_is_right_afterwards():
    driver = KrakenDriver()
    session = followed(driver)
    driver.run(1)
    driver.fault(kind="wrong_checksum", symbol="BTC/USD")
    driver.run(2)
    follower = BookFollower(10)
    assert [follower.message(payload) for payload in books(driver, session)].count(False) == 1
    assert follower.message(books(driver, session)[-1])


def test_a_lost_message_is_found_by_the_checksum_and_a_new_subscription_heals_it():
    driver = KrakenDriver()
    session = followed(driver)
    driver.run(1)
    driver.fault(kind="drop_depth", count=5)
    driver.run(2)
    follower = BookFollower(10)
    assert not all(follower.message(payload) for payload in books(driver, session))
    begin = len(books(driver, session))
    driver.ask(session, {"method": "unsubscribe", "params": {"channel": "book", "symbol": ["BTC/USD"]}})
    driver.subscribe(session, "book", symbol=["BTC/USD"])
    driver.run(2)
    assert all(follower.message(payload) for payload in books(driver, session)[begin:])


def test_a_crossed_book_carries_a_checksum_that_holds():
    driver = KrakenDriver()
    session = followed(driver)
    driver.run(1)
    driver.fault(kind="crossed", symbol="BTC/USD")
    driver.run(1)
    follower, crossed = BookFollower(10), 0
    for payload in books(driver, session):
        fine = follower.message(payload)
        if fine and float(follower.levels("bids")[0][0]) >= float(follower.levels("asks")[0][0]):
            crossed += 1
    assert crossed == 1


@pytest.mark.parametrize("how", ["truncate", "not_json", "not_utf8", "empty", "bad_number"])
def test_a_damaged_frame_is_damaged_as_asked(how):
    driver = KrakenDriver()
    session = followed(driver)
    driver.fault(kind="corrupt", channel="book", how=how)
    driver.run(1)
    damaged = 0
    for payload in driver.sent[session.number]:
        try:
            json.loads(payload)
        except ValueError:
            damaged += 1
    assert damaged == 1


def test_a_lost_private_message_leaves_a_gap_in_the_sequence():
    driver = KrakenDriver()
    session = driver.open()
    token = driver.token()
    driver.subscribe(session, "executions", token=token)
    driver.fault(kind="drop", channel="private")
    driver.trade(session, "add_order", token, order_type="limit", side="buy", symbol="BTC/USD", order_qty=1, limit_price=100)
    assert [message["sequence"] for message in driver.messages(session, "executions")] == [1, 3]


def test_acknowledgements_may_be_lost_and_pongs_are_not():
    driver = KrakenDriver()
    session = driver.open()
    driver.fault(kind="drop", channel="reply")
    (snapshot,) = driver.subscribe(session, "trade", symbol=["BTC/USD"])
    assert snapshot["channel"] == "trade"
    driver.fault(kind="silence", channel="reply")
    assert driver.ask(session, {"method": "ping"})[0]["method"] == "pong" and driver.ask(session, {"method": "nonsense"}) == []


def test_connections_are_dropped_by_kind():
    driver = KrakenDriver()
    public, private = followed(driver), driver.open()
    driver.subscribe(private, "balances")
    driver.fault(kind="disconnect", sockets="private", code=1012)
    assert private.close == Close(1012, "injected") and public.close is None
    driver.fault(kind="half_open", sockets="public", for_ms=100)
    assert public.stalled_until_ns == driver.now_ns + 100_000_000


def test_a_shutdown_is_announced_as_maintenance_and_then_happens():
    driver = KrakenDriver()
    session = followed(driver)
    driver.fault(kind="server_shutdown", after_ms=2000)
    driver.run(1)
    assert driver.messages(session, "status")[-1]["data"][0]["system"] == "maintenance" and session.close is None
    driver.run(1.5)
    assert session.close == Close(1001, "server shutdown")


def test_orders_rest_fill_and_are_told_while_the_market_plays():
    driver = KrakenDriver()
    session = driver.open()
    token = driver.token()
    driver.subscribe(session, "executions", token=token)
    bid, ask = driver.best()
    for step in range(4):
        for side, price in (("buy", float(bid) - step / 10), ("sell", float(ask) + step / 10)):
            driver.trade(
                session, "add_order", token, order_type="limit", side=side, symbol="BTC/USD", order_qty=0.01, limit_price=round(price, 1)
            )
    driver.run(60)
    rows = [row for message in driver.messages(session, "executions") for row in message["data"]]
    assert any(row["exec_type"] == "trade" and row["liquidity_ind"] == "m" for row in rows)
    assert driver.state()["exchange"]["accounts"]["alice"]["fills"]


def test_rewinding_closes_connections_and_plays_the_same_market_again():
    driver = KrakenDriver()
    session = followed(driver)
    driver.run(3)
    first = books(driver, session)
    assert driver.venue.control("POST", "/rewind", b"", driver.now_ns).status == 200
    assert session.close is not None
    driver.venue.closed(session)
    again = followed(driver)
    driver.run(3)
    stripped = [[json.loads(payload)["data"][0] | {"timestamp": ""} for payload in payloads] for payloads in (first, books(driver, again))]
    assert stripped[0] == stripped[1]


def test_an_order_that_the_rewound_market_reaches_is_filled_at_the_venues_time():
    driver = KrakenDriver()
    followed(driver)
    driver.run(1)
    driver.venue._exchange.show_book("BTC/USD", [(100, 1)], [(10_000_000, 1)], driver.utc_ns)
    driver.private("AddOrder", pair="XBTUSD", type="buy", ordertype="limit", price="70000", volume="0.01")
    driver.venue.control("POST", "/rewind", b"", driver.now_ns)
    (fill,) = driver.state()["exchange"]["accounts"]["alice"]["fills"]
    assert fill["maker"] and fill["at_ns"] == driver.utc_ns


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("GET", "/fault", b"", 405),
        ("GET", "/nowhere", b"", 404),
        ("POST", "/fault", b"{}", 400),
        ("GET", "/book?symbol=NOPE", b"", 400),
    ],
)
def test_the_control_port_refuses_what_it_does_not_know(method, target, body, status):
    assert KrakenDriver().venue.control(method, target, body, 0).status == status


def test_the_end_asks_every_client_to_leave():
    driver = KrakenDriver()
    session = driver.open()
    driver.venue.end("over")
    assert session.close == Close(1001, "over")
    driver.venue.receive(session, 2, b"", 0)
    other = driver.open()
    driver.venue.receive(other, 2, b"", 0)
    assert other.close == Close(1003, "Only text is understood")
