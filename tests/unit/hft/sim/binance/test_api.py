"""The WebSocket API's own manners: sessions, subscriptions, permissions, limits, errors, and faults of the order path."""

import json

import pytest

from hft.sim.binance.limits import ORDERS_10S_MAX, PATIENCE, WEIGHT_MAX
from hft.sim.venue import Ending, Opcode, RefusedError
from support.binance_trader import LIMIT, Trader, code, hmac_sign
from support.virtual_venue import MS, SECOND_NS, VirtualVenue


def raw(trader, payload):
    trader.driver.venue.receive(trader.session, Opcode.TEXT, payload, trader.driver.now_ns)
    return trader.collect()[-1]


def test_a_session_logs_on_with_ed25519_only_and_off_again():
    driver = VirtualVenue()
    bob = Trader(driver, "bob", subscribe=False)
    status = bob.call("session.status")["result"]
    assert status["apiKey"] == bob.key and status["authorizedSince"] == bob.utc_ms and status["userDataStream"] is False
    assert bob.place()["status"] == 200
    assert bob.call("session.logout")["result"]["apiKey"] is None
    assert code(bob.place())[:2] == (400, -1102)
    assert code(bob.call("userDataStream.subscribe"))[:2] == (401, -2015)
    alice = Trader(driver, "alice", subscribe=False)
    assert code(alice.call("session.logon"))[:2] == (400, -4056)


def test_a_signed_request_overrides_the_session():
    driver = VirtualVenue()
    bob, alice = Trader(driver, "bob"), Trader(driver, "alice")
    alice.session, alice_session = bob.session, alice.session
    assert alice.place(newClientOrderId="hers")["status"] == 200
    alice.session = alice_session
    assert alice.call("openOrders.status")["result"][0]["clientOrderId"] == "hers" and bob.call("openOrders.status")["result"] == []


def test_requests_with_a_wrong_signature_time_or_key_are_refused():
    driver = VirtualVenue()
    alice = Trader(driver, "alice", subscribe=False)
    assert code(alice.call("account.status", signature="0" * 64)) == (400, -1022, "Signature for this request is not valid.")
    assert code(alice.call("account.status", timestamp=alice.utc_ms - 5001))[1] == -1021
    assert code(alice.call("account.status", apiKey="nobody", signature="x"))[:2] == (401, -2015)
    assert alice.call("account.status", timestamp=alice.utc_ms * 1000)["status"] == 200
    driver.fault(kind="clock_skew", skew_ms=7000)
    assert code(alice.call("account.status"))[1] == -1021
    assert alice.call("time", signed=False)["result"]["serverTime"] == alice.utc_ms + 7000


def test_keys_may_do_only_what_they_may():
    driver = VirtualVenue()
    alice = Trader(driver, "alice", subscribe=False)
    order = alice.place()["result"]
    alice.key, alice.sign = "alice-read-only", lambda payload: hmac_sign(payload, "alice-read-only")
    assert alice.call("account.status")["result"]["canTrade"] is False
    for reply in (alice.place(), alice.call("order.cancel", symbol="BTCUSDT", orderId=order["orderId"])):
        assert code(reply) == (401, -2015, "Invalid API-key, IP, or permissions for action.")
    alice.key, alice.sign = "alice-cancel-only", lambda payload: hmac_sign(payload, "alice-cancel-only")
    assert code(alice.place())[0] == 401
    assert alice.call("openOrders.cancelAll", symbol="BTCUSDT")["status"] == 200


def test_subscriptions_carry_their_number_and_end_with_a_notice():
    driver = VirtualVenue()
    bob = Trader(driver, "bob")
    assert code(bob.call("userDataStream.subscribe"))[1] == -2035
    bob.place()
    assert bob.reports() == [("NEW", "NEW", "0.00000000", "0.00000000")]
    assert bob.call("session.subscriptions")["result"] == [{"subscriptionId": 0}]
    assert code(bob.call("userDataStream.unsubscribe", subscriptionId=7))[1] == -2036
    assert bob.call("userDataStream.unsubscribe", subscriptionId=0)["result"] == {}
    assert [event["e"] for event in bob.events] == ["eventStreamTerminated"]
    bob.events.clear()
    bob.place()
    assert bob.events == [] and bob.call("userDataStream.subscribe")["result"] == {"subscriptionId": 1}
    bob.events.clear()
    bob.call("session.logout")
    assert [event["e"] for event in bob.events] == ["eventStreamTerminated"]


def test_a_subscription_by_signature_outlives_a_log_out():
    driver = VirtualVenue()
    alice = Trader(driver, "alice")
    alice.call("session.logout", signed=False)
    alice.place()
    assert alice.reports() == [("NEW", "NEW", "0.00000000", "0.00000000")]


def test_malformed_and_unknown_requests_are_answered_with_their_id_where_there_is_one():
    alice = Trader(VirtualVenue(), "alice", subscribe=False)
    assert raw(alice, b"{")["error"]["code"] == -1135 and raw(alice, b"[]")["id"] is None
    assert raw(alice, b'{"id":"abc","method":"no.such"}') == {
        "id": "abc",
        "status": 400,
        "error": {"code": -1020, "msg": "This operation is not supported."},
        "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000, "count": 5}],
    }
    assert raw(alice, b'{"id":5,"method":"ping","params":{"returnRateLimits":false}}') == {"id": 5, "status": 200, "result": {}}
    assert raw(alice, b'{"id":null,"method":"depth","params":{"symbol":"BTCUSDT","limit":5}}')["result"]["bids"]
    assert len(raw(alice, b'{"id":1,"method":"exchangeInfo","params":{"symbols":["BTCUSDT"]}}')["result"]["symbols"]) == 1


def test_the_url_chooses_units_and_limits():
    driver = VirtualVenue()
    alice = Trader(driver, "alice", "/ws-api/v3?timeUnit=microsecond&returnRateLimits=false")
    reply = alice.place()
    assert "rateLimits" not in reply and len(str(reply["result"]["transactTime"])) == 16 and len(str(alice.events[0]["T"])) == 16
    for target in ("/ws-api/v3?timeUnit=DAYS", "/ws-api/v3?returnRateLimits=7"):
        with pytest.raises(RefusedError):
            driver.venue.admit(target, {}, driver.now_ns)


def test_orders_count_until_they_fill_in_windows_of_the_wall_clock():
    driver = VirtualVenue()
    alice, bob = Trader(driver, "alice"), Trader(driver, "bob")
    driver.now_ns = 5 * SECOND_NS

    def counts(reply):
        return [limit["count"] for limit in reply["rateLimits"]]

    for _ in range(ORDERS_10S_MAX):
        reply = alice.place(quantity="0.001", price="49999")
    assert counts(reply) == [ORDERS_10S_MAX, ORDERS_10S_MAX, 10]
    refused = alice.place()
    assert code(refused)[:2] == (429, -1015) and refused["error"]["data"]["retryAfter"] == (alice.utc_ms // 10_000 + 1) * 10_000
    assert bob.place(quantity="0.001")["status"] == 200
    driver.now_ns = 10 * SECOND_NS
    assert counts(alice.place(quantity="0.001"))[:2] == [1, ORDERS_10S_MAX + 1]
    ask = driver.venue._player.market.book("BTCUSDT").asks[0][0]
    assert alice.place(price=ask, quantity="0.001", timeInForce="IOC")["result"]["status"] == "FILLED"
    limits = alice.call("account.rateLimits.orders")["result"]
    assert [limit["count"] for limit in limits] == [1, ORDERS_10S_MAX + 1]


def test_weight_beyond_the_limit_is_429_then_a_ban_on_both_doors():
    driver = VirtualVenue()
    alice = Trader(driver, "alice", subscribe=False)
    while driver.venue.state(0)["weight_used"] + 20 <= WEIGHT_MAX:
        assert alice.call("account.status")["status"] == 200
    for _ in range(PATIENCE):
        reply = alice.call("account.status")
        assert code(reply)[:2] == (429, -1003) and reply["error"]["data"]["retryAfter"] > alice.utc_ms
    assert code(alice.call("account.status"))[:2] == (418, -1003)
    driver.now_ns += 61 * SECOND_NS
    status, body, headers = driver.get("/api/v3/ping")
    assert (status, body["code"], headers["Retry-After"]) == (418, -1003, "59")
    with pytest.raises(RefusedError):
        driver.venue.admit("/ws-api/v3", {}, driver.now_ns)
    driver.now_ns += 60 * SECOND_NS
    assert driver.get("/api/v3/ping")[0] == 200


def test_successful_orders_cost_nothing_and_refused_ones_their_weight():
    driver = VirtualVenue()
    alice = Trader(driver, "alice", subscribe=False)
    before = driver.venue.state(0)["weight_used"]
    alice.place(newClientOrderId="a")
    alice.call("order.cancel", symbol="BTCUSDT", origClientOrderId="a")
    assert driver.venue.state(0)["weight_used"] == before
    alice.call("order.cancel", symbol="BTCUSDT", origClientOrderId="a")
    alice.place(symbol="NOPE")
    assert driver.venue.state(0)["weight_used"] == before + 2


def test_a_lost_acknowledgement_leaves_the_order_live_as_often_as_asked():
    driver = VirtualVenue()
    alice = Trader(driver, "alice")
    driver.fault(kind="lose_ack", count=2)
    assert alice.place(newClientOrderId="a") is None
    assert [order["clientOrderId"] for order in alice.call("openOrders.status")["result"]] == ["a"]
    answer = driver.venue.request(*signed(alice, "b"), driver.now_ns)
    assert answer.ending is Ending.HELD
    assert alice.place(newClientOrderId="c")["status"] == 200
    assert [order["clientOrderId"] for order in alice.call("openOrders.status")["result"]] == ["a", "b", "c"]
    assert len(alice.reports()) == 3
    driver.fault(kind="lose_ack", action="cancel", hang_up=True)
    assert alice.call("openOrders.cancelAll", symbol="BTCUSDT") is None and alice.session.close.code == 0


def signed(trader, client_id):
    params = "&".join(f"{k}={v}" for k, v in {**LIMIT, "newClientOrderId": client_id, "timestamp": trader.utc_ms}.items())
    return "POST", f"/api/v3/order?{params}&signature={trader.sign(params)}", {"x-mbx-apikey": trader.key}, b""


@pytest.mark.parametrize("html", [False, True])
def test_an_error_may_hide_an_order_that_is_live(html):
    driver = VirtualVenue()
    alice = Trader(driver, "alice")
    driver.fault(kind="order_error", status=502, html=html, count=2)
    if html:
        driver.venue.receive(alice.session, Opcode.TEXT, json.dumps(request(alice, "a")).encode(), driver.now_ns)
        assert alice.session.outbox[0][1].startswith(b"<html>")
        alice.session.outbox.pop(0)
    else:
        assert code(alice.place(newClientOrderId="a"))[:2] == (504, -1007)
    answer = driver.venue.request(*signed(alice, "b"), driver.now_ns)
    assert answer.status == 502 and answer.body.startswith(b"<html>" if html else b"upstream")
    assert [order["clientOrderId"] for order in alice.call("openOrders.status")["result"]] == ["a", "b"]


def request(trader, client_id):
    params = {**LIMIT, "newClientOrderId": client_id, "apiKey": trader.key, "timestamp": trader.utc_ms}
    params["signature"] = trader.sign("&".join(f"{name}={params[name]}" for name in sorted(params)))
    return {"id": 1, "method": "order.place", "params": params}


def test_a_refused_order_was_not_carried_out():
    driver = VirtualVenue()
    alice = Trader(driver, "alice")
    driver.fault(kind="refuse_order", status=429, retry_after_s=3, count=2)
    reply = alice.place()
    assert code(reply)[:2] == (429, -1003) and reply["error"]["data"]["retryAfter"] == alice.utc_ms + 3000
    assert alice.rest("POST", "/api/v3/order", LIMIT)[2]["Retry-After"] == "3"
    driver.fault(kind="refuse_order", status=503, action="cancel")
    assert alice.place()["status"] == 200
    assert code(alice.call("openOrders.cancelAll", symbol="BTCUSDT"))[:2] == (503, -1008)
    assert len(alice.call("openOrders.status")["result"]) == 1


def test_private_frames_can_be_dropped_repeated_delayed_and_reordered():
    driver = VirtualVenue()
    alice = Trader(driver, "alice")

    def executions(**fault):
        alice.reports()
        driver.fault(channel="private", **fault)
        alice.place(quantity="0.001")
        return [event["e"] for event in alice.events]

    assert executions(kind="drop") == ["outboundAccountPosition"]
    assert executions(kind="duplicate") == ["executionReport", "executionReport", "outboundAccountPosition"]
    assert executions(kind="reorder") == ["outboundAccountPosition", "executionReport"]
    assert executions(kind="delay", delay_ms=300) == ["outboundAccountPosition"]
    assert driver.venue.deadline_ns() <= driver.now_ns + 300 * MS
    driver.venue.work(driver.now_ns + 299 * MS, 0)
    assert len(alice.session.outbox) == 0
    driver.venue.work(driver.now_ns + 300 * MS, 0)
    alice.collect()
    assert alice.events[-1]["e"] == "executionReport"
    assert executions(kind="silence", for_ms=1000) == []


def test_sockets_stall_or_drop_by_what_they_carry():
    driver = VirtualVenue()
    alice, stream = Trader(driver, "alice"), driver.open()
    driver.fault(kind="half_open", sockets="private", for_ms=800)
    assert (alice.session.stalled_until_ns, stream.stalled_until_ns) == (driver.now_ns + 800 * MS, 0)
    driver.fault(kind="disconnect", sockets="public", code=1001)
    assert stream.close.code == 1001 and alice.session.close is None
    driver.fault(kind="server_shutdown")
    alice.collect()
    assert alice.events[-1]["e"] == "serverShutdown"


def test_the_state_shows_accounts_orders_and_who_is_connected():
    driver = VirtualVenue()
    bob = Trader(driver, "bob")
    bob.place(newClientOrderId="x")
    state = driver.state()
    assert [o["client_id"] for o in state["exchange"]["accounts"]["bob"]["open_orders"]] == ["x"]
    assert state["clients"] == [{"session": 1, "api": True, "logged_on": "bob", "subscriptions": ["bob"]}]


def test_the_same_requests_at_the_same_times_get_the_same_bytes():
    def run():
        driver = VirtualVenue()
        bob, stream = Trader(driver, "bob"), driver.open()
        sent = []
        for number in range(40):
            driver.fault(kind=("drop", "duplicate", "reorder", "delay")[number % 4], channel="private")
            bob.place(price=f"{59_990 + number % 20}", newClientOrderId=f"c{number}", timeInForce=("GTC", "IOC")[number % 2])
            driver.run(0.2)
            sent += driver.sent[bob.session.number] + driver.sent[stream.number]
        return sent, driver.state()

    assert run() == run()
