"""Playback by the Binance venue in virtual time: pace, snapshots, the end, looping."""

import json

import pytest

from hft.sim.player import SNAPSHOT_WAIT_NS, START_GRACE_NS
from hft.sim.venue import IDLE_NS, Opcode
from support.naive_follower import NaiveFollower
from support.virtual_venue import MS, SECOND_NS, WALL_NS, VirtualVenue, recorded


def test_playback_keeps_the_recorded_pace_and_the_exchange_clock_follows():
    driver = recorded()
    session = driver.open("/ws/btcusdt@depth@100ms")
    driver.run(0.2)
    driver.get("/api/v3/depth?symbol=BTCUSDT")
    assert [message["u"] for message in driver.data(session)] == [10, 11]
    driver.run(0.5)
    data = driver.data(session)
    assert [message["u"] for message in data] == list(range(10, 17))
    assert data[0]["E"] == (WALL_NS + START_GRACE_NS) // MS and data[-1]["E"] - data[0]["E"] == 600


def test_playback_at_ten_times_the_pace_takes_a_tenth():
    driver = recorded(pace_per_mille=10_000)
    session = driver.open("/ws/btcusdt@depth@100ms")
    driver.get("/api/v3/depth?symbol=BTCUSDT")
    driver.run(0.05 + 0.0451)
    assert len(driver.data(session)) == 5


def test_unbounded_playback_waits_for_a_subscriber_and_then_runs_to_the_end():
    driver = recorded(pace_per_mille=0)
    driver.run(5)
    assert driver.state()["position_ns"] == 0
    session = driver.open("/ws/btcusdt@depth@100ms")
    driver.get("/api/v3/depth?symbol=BTCUSDT")
    driver.run(1, budget=2)
    assert len(driver.data(session)) == 10 and driver.state()["finished"]


def test_unbounded_playback_stops_when_the_last_subscriber_leaves():
    driver = recorded(pace_per_mille=0)
    session = driver.open("/ws/btcusdt@depth@100ms")
    driver.now_ns = START_GRACE_NS
    driver.venue.work(driver.now_ns, 2)
    driver.venue.closed(session)
    assert driver.venue.work(driver.now_ns, 2) == 0 and driver.venue.deadline_ns() == IDLE_NS


@pytest.mark.parametrize("pace", [0, 1000, 50_000])
def test_a_depth_subscriber_gets_the_recorded_snapshot_even_if_it_asks_late(pace):
    driver = recorded(pace_per_mille=pace)
    session = driver.open("/ws/btcusdt@depth@100ms")
    driver.run(1.5)
    assert [message["u"] for message in driver.data(session)] == [10, 11, 12, 13]
    assert driver.get("/api/v3/depth?symbol=BTCUSDT&limit=1000")[1]["lastUpdateId"] == 13
    driver.run(5)
    data = driver.data(session)
    assert [message["u"] for message in data] == list(range(10, 20))
    if pace:
        assert data[4]["E"] - data[3]["E"] > 1000


def test_a_client_that_wants_no_snapshot_is_not_waited_for_and_one_that_never_asks_not_for_long():
    driver = recorded()
    driver.open("/ws/btcusdt@trade")
    driver.run(1.1)
    assert driver.state()["finished"]
    driver = recorded()
    session = driver.open("/ws/btcusdt@depth@100ms")
    driver.run(0.5 + SNAPSHOT_WAIT_NS / SECOND_NS - 0.2)
    assert len(driver.data(session)) == 4
    driver.run(1)
    assert len(driver.data(session)) == 10


def test_at_the_end_without_loop_the_session_stays_open_and_silent():
    driver = recorded()
    session = driver.open()
    driver.run(15)
    count = session.sent_count
    driver.run(30)
    state = driver.state()
    assert state["finished"] and not state["playing"] and session.close is None and session.sent_count == count
    assert any(opcode == Opcode.PING for opcode, _ in driver.sent[session.number])


def test_looping_closes_the_connection_and_the_next_subscriber_sees_the_same_ids_again():
    driver = recorded(loop=True)
    rounds = []
    for _ in range(3):
        session = driver.open("/ws/btcusdt@depth@100ms")
        driver.get("/api/v3/depth?symbol=BTCUSDT")
        driver.run(2)
        assert session.close.code == 1001
        rounds.append([message["u"] for message in driver.data(session)])
        driver.venue.closed(session)
        driver.run(5)
    assert rounds == [list(range(10, 20))] * 3 and driver.state()["counters"]["rounds"] == 3


def test_rewind_begins_again():
    driver = recorded()
    session = driver.open()
    driver.run(0.6)
    assert driver.venue.control("POST", "/rewind", b"", driver.now_ns).status == 200
    assert session.close.code == 1001 and driver.state()["position_ns"] == 0
    driver.venue.closed(session)
    again = driver.open()
    driver.run(0.1)
    assert driver.data(again)[0]["u"] == 10


def test_a_client_that_follows_the_rule_keeps_an_exact_book_whenever_it_asks_for_the_snapshot():
    for delay in (0.0, 0.33, 1.0):
        driver, follower = VirtualVenue(), NaiveFollower()
        session = driver.open()
        driver.run(delay)
        body = driver.venue.request("GET", "/api/v3/depth?symbol=BTCUSDT&limit=5000", {}, b"", driver.now_ns).body
        driver.run(5)
        messages = driver.data(session)
        for message in messages[:5]:
            follower.message(json.dumps(message))
        follower.snapshot(body)
        for message in messages[5:]:
            follower.message(json.dumps(message))
        assert (follower.gaps, follower.crossed, follower.unequal) == (0, 0, []) and follower.compared > 10
