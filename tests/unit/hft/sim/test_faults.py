"""Faults and the control port."""

import json

import pytest

from hft.sim.venue import Opcode
from support.naive_follower import NaiveFollower
from support.virtual_venue import MS, VirtualVenue, follow


def test_a_dropped_depth_frame_is_a_gap_for_every_subscriber():
    driver = VirtualVenue()
    sessions = [driver.open(), driver.open()]
    driver.run(1)
    driver.fault(kind="drop_depth", count=2)
    driver.run(2)
    assert [follow(driver, session).gaps for session in sessions] == [1, 1]


def test_a_fault_strikes_only_its_symbol():
    driver = VirtualVenue()
    session = driver.open()
    driver.fault(kind="drop_depth", symbol="ETHUSDT")
    driver.run(2)
    assert follow(driver, session).gaps == 0


def test_a_duplicated_frame_comes_twice():
    driver = VirtualVenue()
    session = driver.open("/ws/btcusdt@depth@100ms")
    driver.fault(kind="duplicate")
    driver.run(1)
    texts = driver.texts(session)
    assert texts[0] == texts[1] and len(set(texts)) == len(texts) - 1


def test_a_crossed_frame_crosses_the_clients_book_and_a_snapshot_heals_it():
    driver, follower = VirtualVenue(), NaiveFollower()
    session = driver.open()
    follower.snapshot(driver.venue.request("GET", "/api/v3/depth?symbol=BTCUSDT&limit=5000", {}, b"", 0).body)
    driver.run(1)
    driver.fault(kind="crossed")
    driver.run(0.3)
    for message in driver.data(session):
        follower.message(json.dumps(message))
    assert follower.crossed > 0 and follower.gaps == 0
    follower.snapshot(driver.venue.request("GET", "/api/v3/depth?symbol=BTCUSDT&limit=5000", {}, b"", driver.now_ns).body)
    follower.crossed = 0
    driver.sent[session.number].clear()
    driver.run(2)
    for message in driver.data(session):
        follower.message(json.dumps(message))
    assert follower.crossed == 0


@pytest.mark.parametrize("how", ["truncate", "not_json", "not_utf8", "empty", "bad_number"])
def test_a_corrupt_frame_is_not_a_valid_message(how):
    driver = VirtualVenue()
    session = driver.open("/ws/btcusdt@depth@100ms")
    driver.fault(kind="corrupt", how=how)
    driver.run(1)
    first, *rest = driver.texts(session)
    if how == "bad_number":
        assert any(".x" in price for price, _ in json.loads(first)["b"] + json.loads(first)["a"])
    else:
        with pytest.raises(ValueError):
            json.loads(first.decode())
    assert rest and all(json.loads(body)["e"] == "depthUpdate" for body in rest)


def test_silence_stops_data_but_not_pings_and_what_was_not_sent_is_lost():
    driver = VirtualVenue()
    session = driver.open()
    driver.run(1)
    count = len(driver.sent[session.number])
    driver.fault(kind="silence", for_ms=30_000)
    driver.run(29.9)
    assert [opcode for opcode, _ in driver.sent[session.number][count:]] == [Opcode.PING]
    driver.run(2)
    assert follow(driver, session).gaps == 1


def test_slowness_delays_frames_and_requests_and_keeps_their_order():
    driver = VirtualVenue()
    session = driver.open()
    driver.run(1)
    driver.fault(kind="slow", delay_ms=700, for_ms=1000)
    count = len(driver.texts(session))
    driver.run(0.69)
    assert len(driver.texts(session)) == count
    assert driver.venue.request("GET", "/api/v3/ping", {}, b"", driver.now_ns).delay_ns == 700 * MS
    driver.run(3)
    follower = follow(driver, session)
    assert follower.gaps == 0 and len(driver.texts(session)) > count
    assert driver.venue.request("GET", "/api/v3/ping", {}, b"", driver.now_ns).delay_ns == 0


def test_disconnect_ends_every_connection_without_a_close_frame():
    driver = VirtualVenue()
    sessions = [driver.open(), driver.open()]
    driver.fault(kind="disconnect")
    assert [session.close.code for session in sessions] == [0, 0]


def test_server_shutdown_is_announced_in_each_form_and_spares_new_connections():
    driver = VirtualVenue()
    raw, combined = driver.open("/ws"), driver.open("/stream")
    driver.fault(kind="server_shutdown", after_ms=500)
    driver.collect()
    fresh = driver.open("/ws")
    assert driver.data(raw)[0]["e"] == "serverShutdown"
    assert json.loads(driver.texts(combined)[0])["stream"] == "!serverShutdown"
    driver.run(0.4)
    assert raw.close is None
    driver.run(0.2)
    assert (raw.close.code, combined.close.code, fresh.close) == (1001, 1001, None)


def test_a_stale_snapshot_is_older_than_the_stream_once():
    driver = VirtualVenue()
    driver.fault(kind="stale_snapshot", behind=1000)
    stale, right = (driver.get("/api/v3/depth?symbol=BTCUSDT")[1]["lastUpdateId"] for _ in range(2))
    assert right - stale == 1000


@pytest.mark.parametrize(
    ("status", "html", "retry"), [(429, False, True), (418, False, True), (503, False, False), (502, True, False), (500, False, False)]
)
def test_rest_errors_are_answered_as_often_as_armed(status, html, retry):
    driver = VirtualVenue()
    driver.fault(kind="rest_error", status=status, html=html, count=2)
    for _ in range(2):
        response = driver.venue.request("GET", "/api/v3/ping", {}, b"", 0)
        assert response.status == status and response.body.startswith(b"<html>" if html else b'{"code":-10')
        assert ("Retry-After" in dict(response.headers)) == retry
    assert driver.get("/api/v3/ping")[0] == 200


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("POST", "/fault", b"", 400),
        ("POST", "/fault", b"\xff", 400),
        ("POST", "/fault", b'{"kind":"nonsense"}', 400),
        ("POST", "/fault", b'{"kind":"silence","for_s":1}', 400),
        ("POST", "/fault", b'{"kind":"silence","for_ms":-1}', 400),
        ("POST", "/fault", b'{"kind":"drop_depth","count":"1"}', 400),
        ("POST", "/fault", b'{"kind":"rest_error","status":200}', 400),
        ("GET", "/fault", b"", 405),
        ("POST", "/state", b"", 405),
        ("GET", "/nothing", b"", 404),
        ("GET", "/book", b"", 400),
        ("GET", "/account", b"", 400),
        ("GET", "/book?symbol=ETHUSDT", b"", 400),
    ],
)
def test_control_port_refuses_what_it_does_not_know(method, target, body, status):
    response = VirtualVenue().venue.control(method, target, body, 0)
    assert response.status == status and json.loads(response.body)["error"]


def test_control_port_tells_the_book():
    driver = VirtualVenue()
    driver.open()
    driver.run(1)
    book = json.loads(driver.venue.control("GET", "/book?symbol=BTCUSDT", b"", driver.now_ns).body)
    assert {"symbol": "BTCUSDT", **driver.get("/api/v3/depth?symbol=BTCUSDT&limit=5000")[1]} == book
    assert driver.state()["last_update_ids"] == {"BTCUSDT": book["lastUpdateId"]}


def test_control_port_tells_one_account_and_which_faults_wait():
    driver = VirtualVenue()
    found = json.loads(driver.venue.control("GET", "/account?name=bob", b"", 0).body)
    whole = driver.state()["exchange"]["accounts"]["bob"]
    assert found["account"] == {"balances": whole["balances"], "open_orders": [], "orders": 0, "fills": 0}
    assert found["faults"] == {"waiting": 0, "runs_ms": 0} and whole["repeated_client_ids"] == []
    for body in (b'{"kind":"lose_ack","count":3}', b'{"kind":"silence","for_ms":1500}'):
        driver.venue.control("POST", "/fault", body, 0)
    assert json.loads(driver.venue.control("GET", "/account?name=bob", b"", 500_000_000).body)["faults"] == {"waiting": 3, "runs_ms": 1000}
    assert driver.venue.control("GET", "/account?name=nobody", b"", 0).status == 400
