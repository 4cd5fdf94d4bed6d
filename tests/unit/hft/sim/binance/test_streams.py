"""Sessions: subscriptions, properties, limits and liveness, in virtual time."""

import pytest

from hft.sim.player import START_GRACE_NS
from hft.sim.venue import Opcode, RefusedError
from support.virtual_venue import SECOND_NS, VirtualVenue, recorded


def test_raw_and_combined_streams_carry_the_same_bodies():
    driver = VirtualVenue()
    raw, combined = driver.open("/ws/btcusdt@bookTicker"), driver.open("/stream?streams=btcusdt@bookTicker")
    driver.run(3)
    bodies = driver.texts(raw)
    assert len(bodies) > 10
    assert driver.texts(combined) == [b'{"stream":"btcusdt@bookTicker","data":' + body + b"}" for body in bodies]


def test_nothing_is_lost_before_the_first_subscription_and_steps_may_take_a_moment():
    driver = recorded()
    session = driver.open("/ws")
    driver.run(10)
    assert driver.texts(session) == [] and not driver.state()["playing"]
    assert driver.ask(session, {"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}) == {"result": None, "id": 1}
    driver.now_ns += START_GRACE_NS - SECOND_NS // 4 - 1
    assert driver.venue.work(driver.now_ns, 100) == 0
    driver.ask(session, {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 2})
    driver.run(5)
    assert [message["u"] for message in driver.data(session)] == list(range(10, 20))


def test_subscriptions_can_be_listed_and_ended():
    driver = VirtualVenue()
    session = driver.open("/ws/btcusdt@trade")
    driver.ask(session, {"method": "SUBSCRIBE", "params": ["btcusdt@depth", "btcusdt@trade"], "id": "a1"})
    listed = {"result": ["btcusdt@trade", "btcusdt@depth"], "id": 3}
    assert driver.ask(session, {"method": "LIST_SUBSCRIPTIONS", "id": 3}) == listed
    assert driver.ask(session, {"method": "UNSUBSCRIBE", "params": ["btcusdt@trade", "nobody@trade"], "id": None}) == {
        "result": None,
        "id": None,
    }
    driver.run(3)
    assert {message["e"] for message in driver.data(session)} == {"depthUpdate"}


def test_combined_property_can_be_read_and_set():
    driver = VirtualVenue()
    session = driver.open("/ws/btcusdt@trade")
    assert driver.ask(session, {"method": "GET_PROPERTY", "params": ["combined"], "id": 1}) == {"result": False, "id": 1}
    assert driver.ask(session, {"method": "SET_PROPERTY", "params": ["combined", True], "id": 2}) == {"result": None, "id": 2}
    driver.run(3)
    assert all(payload.startswith(b'{"stream":"btcusdt@trade"') for payload in driver.texts(session))


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (b"", 3, "Invalid JSON"),
        (b"\xff", 3, "Invalid JSON"),
        (b'{"method"', 3, "Invalid JSON"),
        (b"[" * 100_000, 3, "Invalid JSON"),
        ([], 2, "expected an object"),
        ({"id": 1}, 2, "missing field `method`"),
        ({"method": "subscribe", "id": 1}, 2, "unknown variant `subscribe`"),
        ({"method": {"a": 1}, "id": 1}, 2, "unknown variant"),
        ({"method": "SUBSCRIBE", "id": 1}, 2, "missing field `params`"),
        ({"method": "SUBSCRIBE", "params": "x", "id": 1}, 2, "params must be a list"),
        ({"method": "SUBSCRIBE", "params": [1], "id": 1}, 2, "stream names must be strings"),
        ({"method": "SUBSCRIBE", "params": ["a"], "id": 1.5}, 2, "request ID"),
        ({"method": "SUBSCRIBE", "params": ["a"], "id": True}, 2, "request ID"),
        ({"method": "SUBSCRIBE", "params": ["a"], "id": 2**63}, 2, "request ID"),
        ({"method": "SUBSCRIBE", "params": ["a"], "id": "x" * 37}, 2, "request ID"),
        ({"method": "GET_PROPERTY", "params": [1], "id": 1}, 2, "property name must be a string"),
        ({"method": "GET_PROPERTY", "params": ["other"], "id": 1}, 0, "Unknown property"),
        ({"method": "GET_PROPERTY", "params": [], "id": 1}, 2, "wrong number of parameters"),
        ({"method": "SET_PROPERTY", "params": ["combined", 1], "id": 1}, 1, "Invalid value type"),
        ({"method": "SUBSCRIBE", "params": [f"s{n}@trade" for n in range(1025)], "id": 1}, 2, "at most 1024 streams"),
    ],
)
def test_bad_control_messages_get_the_venues_error_and_the_session_lives(request_, code, text):
    driver = VirtualVenue()
    session = driver.open("/ws")
    reply = driver.ask(session, request_)
    assert reply["code"] == code and text in reply["msg"]
    assert session.close is None and session.streams == {}


@pytest.mark.parametrize(
    "target", ["/", "/wss/x", "/stream/x", "/ws/x?timeUnit=NANOSECOND", "/stream?streams=" + "/".join(f"a{n}@trade" for n in range(1025))]
)
def test_handshake_for_something_else_is_refused(target):
    with pytest.raises(RefusedError) as caught:
        VirtualVenue().open(target)
    assert caught.value.status == 404


def test_three_hundred_handshakes_in_five_minutes_are_the_limit():
    driver = VirtualVenue()
    for _ in range(300):
        driver.venue.admit("/ws", {}, driver.now_ns)
    with pytest.raises(RefusedError) as caught:
        driver.venue.admit("/ws", {}, driver.now_ns + 299 * SECOND_NS)
    assert caught.value.status == 429
    driver.venue.admit("/ws", {}, driver.now_ns + 300 * SECOND_NS)


def test_microseconds_are_given_to_those_who_ask():
    driver = VirtualVenue()
    fine, coarse = driver.open("/ws/btcusdt@trade?timeUnit=MICROSECOND"), driver.open("/ws/btcusdt@trade")
    driver.run(5)
    pairs = list(zip(driver.data(fine), driver.data(coarse), strict=True))
    assert pairs and all(a["E"] == b["E"] * 1000 and a["T"] == b["T"] * 1000 and a["p"] == b["p"] for a, b in pairs)


def test_five_messages_a_second_are_answered_and_a_sixth_ends_the_session():
    driver = VirtualVenue()
    session = driver.open("/ws")
    for opcode in (Opcode.TEXT, Opcode.PING, Opcode.PONG, Opcode.TEXT, Opcode.PING):
        driver.venue.receive(session, opcode, b"{}", 10 * SECOND_NS)
    assert session.close is None
    driver.venue.receive(session, Opcode.TEXT, b"{}", 11 * SECOND_NS)
    assert session.close is None
    for _ in range(5):
        driver.venue.receive(session, Opcode.TEXT, b"{}", 11 * SECOND_NS)
    assert session.close.code == 1008


def test_without_limits_any_number_of_messages_is_answered():
    driver = VirtualVenue(unlimited=True)
    session = driver.open("/ws")
    for _ in range(50):
        driver.venue.receive(session, Opcode.PING, b"x", 0)
    assert session.close is None and session.outbox == [(Opcode.PONG, b"x")] * 50


def test_pings_come_every_20_seconds_and_a_pong_with_their_payload_keeps_the_session():
    driver = VirtualVenue()
    session = driver.open("/ws")
    for _ in range(12):
        driver.run(20)
        pings = [payload for opcode, payload in driver.sent[session.number] if opcode == Opcode.PING]
        driver.venue.receive(session, Opcode.PONG, pings[-1], driver.now_ns)
    assert len(pings) == 12 and session.close is None


@pytest.mark.parametrize("payload", [None, b"", b"unsolicited"])
def test_a_session_without_a_right_pong_ends_60_seconds_after_the_ping(payload):
    driver = VirtualVenue()
    session = driver.open("/ws")
    driver.run(79.9)
    if payload is not None:
        driver.venue.receive(session, Opcode.PONG, payload, driver.now_ns)
    assert session.close is None
    driver.run(0.2)
    assert session.close.code == 1008


def test_a_session_ends_after_24_hours():
    driver = VirtualVenue()
    session = driver.open("/ws")
    session.tick(24 * 3600 * SECOND_NS - 1, 0)
    assert session.close is None
    session.tick(24 * 3600 * SECOND_NS, 0)
    assert session.close.code == 1001


def test_a_closed_session_gets_nothing_more():
    driver = VirtualVenue()
    session = driver.open()
    driver.run(1)
    driver.venue.closed(session)
    count = session.sent_count
    driver.run(1)
    assert session.sent_count == count and driver.state()["clients"] == []
