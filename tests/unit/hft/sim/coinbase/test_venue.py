"""The Coinbase venue in virtual time: playback, the control port, and the faults that strike sockets and books."""

import itertools
import json

import pytest

from hft.sim.faults import kinds
from hft.sim.venue import Close
from support.coinbasesim import CoinbaseDriver, LevelFollower, levels_of

ORDERS = ("received", "open", "match", "done", "change")


def test_playback_begins_with_the_first_subscription_or_order():
    driver = CoinbaseDriver()
    driver.run(3)
    assert not driver.state()["playing"]
    driver.place(price="1000", size="0.1")
    driver.run(1)
    assert driver.state()["playing"] and driver.state()["position_ns"] > 0


def test_the_state_tells_accounts_clients_and_counters():
    driver = CoinbaseDriver()
    driver.followed("user", "ticker", key="alice-view")
    driver.place(price="1000", size="0.1")
    state = driver.state()
    assert state["venue"] == "coinbase" and state["market"] == "synthetic" and state["counters"]["connections"] == 1
    (client,) = state["clients"]
    assert client == {"session": 1, "private": True, "topics": ["user:BTC-USD", "ticker:BTC-USD"], "accounts": ["alice"]}
    assert len(state["exchange"]["accounts"]["alice"]["open_orders"]) == 1


def test_the_control_port_refuses_what_it_does_not_know():
    driver = CoinbaseDriver()
    for method, target, body, status in (
        ("GET", "/book?symbol=X", b"", 400),
        ("POST", "/fault", b"{}", 400),
        ("GET", "/fault", b"", 405),
        ("GET", "/nosuch", b"", 404),
    ):
        assert driver.venue.control(method, target, body, 0).status == status


def test_rewinding_ends_connections_and_keeps_accounts_and_sequences():
    driver = CoinbaseDriver()
    session = driver.followed("level2", "full", key="alice-view")
    driver.place(price="1000", size="0.1")
    driver.run(5)
    before = driver.get("/products/BTC-USD/book")["sequence"]
    driver.venue.control("POST", "/rewind", b"", driver.now_ns)
    assert session.close == Close(1001, "playback begins again")
    driver.venue.closed(session)
    again = driver.followed("level2", "full", key="alice-view")
    driver.run(5)
    assert min(message["sequence"] for message in driver.messages(again, *ORDERS)) > before
    assert len(driver.get("/orders", "alice-view")) == 1


@pytest.mark.parametrize(("channel", "topic"), [("book", "level2"), ("public", "matches"), ("any", "ticker")])
def test_silence_is_of_data_only(channel, topic):
    driver = CoinbaseDriver()
    session = driver.followed("level2", "matches", "ticker", "heartbeat", key="alice-view")
    driver.run(2)
    kind = {"level2": "l2update", "matches": "match", "ticker": "ticker"}[topic]
    driver.fault(kind="silence", channel=channel, for_ms=5000)
    before = len(driver.messages(session, kind))
    driver.run(4.9)
    assert len(driver.messages(session, kind)) == before and len(driver.messages(session, "heartbeat")) == 6
    driver.run(5)
    assert len(driver.messages(session, kind)) > before


@pytest.mark.parametrize(("kind", "step"), [("drop", 2), ("duplicate", 0)])
def test_a_lost_or_repeated_order_message_shows_in_the_sequence(kind, step):
    driver = CoinbaseDriver()
    session = driver.followed("full", key="alice-view")
    driver.run(1)
    driver.fault(kind=kind, channel="book")
    driver.run(1)
    sequences = [message["sequence"] for message in driver.messages(session, *ORDERS)]
    steps = [after - before for before, after in itertools.pairwise(sequences)]
    assert sorted(set(steps)) == sorted({1, step}) and steps.count(step) == 1


@pytest.mark.parametrize("channel", ["level2", "level2_batch"])
def test_a_crossed_book_is_of_one_message_only(channel):
    driver = CoinbaseDriver()
    session = driver.followed(channel, key="alice-view")
    driver.run(1)
    driver.fault(kind="crossed")
    driver.run(1)
    follower = LevelFollower()
    for payload in driver.payloads(session, "snapshot", "l2update"):
        follower.message(payload)
    assert follower.crossed > 0
    driver.say(session, {"type": "unsubscribe", "product_ids": ["BTC-USD"], "channels": [channel]})
    driver.subscribe(session, channel, key="alice-view")
    follower.message(driver.payloads(session, "snapshot")[-1])
    assert follower.levels() == levels_of(driver.book())


@pytest.mark.parametrize("how", ["truncate", "not_json", "not_utf8", "empty", "bad_number"])
def test_damaged_frames_are_damaged(how):
    driver = CoinbaseDriver()
    session = driver.followed("level2", key="alice-view")
    driver.run(1)
    driver.fault(kind="corrupt", channel="book", how=how)
    before = len(driver.sent[session.number])
    driver.run(1)
    damaged = driver.sent[session.number][before]
    if how == "bad_number":
        assert b".x" in damaged
    else:
        with pytest.raises(ValueError, match="."):
            json.loads(damaged)


def test_connections_are_dropped_stalled_and_asked_to_leave():
    driver = CoinbaseDriver()
    public, private = driver.followed("ticker"), driver.followed("user", key="alice-view")
    driver.fault(kind="half_open", sockets="private", for_ms=1000)
    assert private.stalled_until_ns and not public.stalled_until_ns
    driver.fault(kind="disconnect", sockets="private")
    assert private.close == Close(0, "injected") and public.close is None
    driver.fault(kind="server_shutdown", after_ms=500)
    driver.run(0.6)
    assert public.close == Close(1001, "server shutdown")


def test_slow_delays_frames_and_answers_in_order():
    driver = CoinbaseDriver()
    session = driver.followed("matches")
    driver.run(2)
    driver.fault(kind="slow", delay_ms=500, for_ms=2000)
    assert driver.request("GET", "/time").delay_ns == 500_000_000
    driver.run(5)
    ids = [message["trade_id"] for message in driver.messages(session, "match")]
    assert ids == sorted(ids)


def test_every_fault_is_taken():
    driver = CoinbaseDriver()
    driver.followed("level2", "full", "user", key="alice-view")
    for kind in kinds():
        driver.fault(kind=kind)
    driver.run(1)
    assert driver.state()["counters"]["faults"] == len(kinds())


def test_every_client_is_asked_to_leave_at_the_end():
    driver = CoinbaseDriver()
    session = driver.followed("ticker")
    driver.venue.end("the simulator stops")
    assert session.close == Close(1001, "the simulator stops")


def test_at_unbounded_pace_the_market_plays_only_for_those_who_watch_it():
    driver = CoinbaseDriver(pace_per_mille=0)
    driver.followed("user", "heartbeat", key="alice-view")
    driver.now_ns += 100_000_000
    assert driver.venue.work(driver.now_ns, 10) == 0
    driver.followed("level2_batch")
    assert driver.venue.work(driver.now_ns, 10) >= 10
