"""REST: answers, error codes and request weights."""

import pytest

from support.virtual_venue import MS, SECOND_NS, WALL_NS, VirtualVenue


def test_rest_answers_ping_time_and_exchange_info():
    driver = VirtualVenue()
    assert driver.get("/api/v3/ping")[:2] == (200, {})
    assert driver.get("/api/v3/time")[1] == {"serverTime": WALL_NS // MS}
    assert driver.get("/api/v3/time", headers={"x-mbx-time-unit": "MICROSECOND"})[1] == {"serverTime": WALL_NS // 1000}
    status, info, headers = driver.get("/api/v3/exchangeInfo")
    filters = {row["filterType"]: row for row in info["symbols"][0]["filters"]}
    assert status == 200 and headers["X-MBX-USED-WEIGHT-1M"] == "23"
    assert info["symbols"][0]["symbol"] == "BTCUSDT" and info["symbols"][0]["status"] == "TRADING"
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000" and filters["LOT_SIZE"]["stepSize"] == "0.00001000"
    assert filters["NOTIONAL"]["minNotional"] == "5.00000000"
    assert driver.get("/api/v3/exchangeInfo?symbols=%5B%22BTCUSDT%22%5D")[1]["symbols"] == info["symbols"]


def test_rest_trades_are_those_of_the_stream():
    driver = VirtualVenue()
    session = driver.open("/ws/btcusdt@trade")
    driver.run(5)
    streamed = [(message["t"], message["p"], message["q"], message["m"]) for message in driver.data(session)]
    rows = driver.get("/api/v3/trades?symbol=BTCUSDT&limit=7")[1]
    assert [(row["id"], row["price"], row["qty"], row["isBuyerMaker"]) for row in rows] == streamed[-7:]


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/api/v3/depth", 400, -1102),
        ("/api/v3/depth?symbol=", 400, -1102),
        ("/api/v3/depth?symbol=btcusdt", 400, -1100),
        ("/api/v3/depth?symbol=ETHUSDT", 400, -1121),
        ("/api/v3/depth?symbol=BTCUSDT&limit=0", 400, -1130),
        ("/api/v3/depth?symbol=BTCUSDT&limit=-5", 400, -1100),
        ("/api/v3/depth?symbol=BTCUSDT&limit=%C2%B2", 400, -1100),
        ("/api/v3/depth?symbol=BTCUSDT&limit=", 400, -1100),
        ("/api/v3/depth?symbol=BTCUSDT&symbol=BTCUSDT", 400, -1101),
        ("/api/v3/depth?symbol=BTCUSDT&what=1", 400, -1104),
        ("/api/v3/depth?" + "&".join(f"a{n}=1" for n in range(60)), 400, -1101),
        ("/api/v3/exchangeInfo?symbol=NOPE", 400, -1121),
        ("/api/v3/exchangeInfo?symbols=BTC", 400, -1100),
        ("/api/v3/trades?symbol=BTCUSDT&limit=x", 400, -1100),
        ("/api/v3/nothing", 404, -1000),
        ("//[", 404, -1000),
    ],
)
def test_rest_refuses_with_status_and_code(target, status, code):
    got_status, body, _ = VirtualVenue().get(target)
    assert (got_status, body["code"]) == (status, code) and body["msg"]


def test_rest_takes_only_get():
    assert VirtualVenue().get("/api/v3/ping", method="POST")[0] == 405


@pytest.mark.parametrize(("limit", "weight"), [(1, 5), (100, 5), (101, 25), (500, 25), (501, 50), (1000, 50), (1001, 250), (5000, 250)])
def test_depth_costs_by_its_limit(limit, weight):
    assert VirtualVenue().get(f"/api/v3/depth?symbol=BTCUSDT&limit={limit}")[2]["X-MBX-USED-WEIGHT-1M"] == str(weight)


def test_weight_over_the_limit_is_429_until_the_wall_clock_minute_is_over():
    driver = VirtualVenue()
    driver.now_ns = 59 * SECOND_NS
    for _ in range(24):
        assert driver.get("/api/v3/depth?symbol=BTCUSDT&limit=5000")[0] == 200
    status, body, headers = driver.get("/api/v3/ping")
    assert (status, body["code"], headers["Retry-After"]) == (429, -1003, "1")
    driver.now_ns = 60 * SECOND_NS
    assert driver.get("/api/v3/ping")[2]["X-MBX-USED-WEIGHT-1M"] == "1"


def test_without_limits_weight_is_counted_but_never_refused():
    driver = VirtualVenue(unlimited=True)
    assert [driver.get("/api/v3/depth?symbol=BTCUSDT&limit=5000")[0] for _ in range(30)] == [200] * 30
