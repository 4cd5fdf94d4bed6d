"""Kraken orders: each request has exactly the order's numbers, and the simulated venue carries it out."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from hft.records import INSTRUMENT, ORDER, IntentKind, OrderFlag, Side, TimeInForce
from hft.venues.kraken.orders import REQUEST_BYTES_MAX, KrakenCodec, encode, new_codec, put_time, set_token
from hft.venues.outcomes import Encoded
from support.krakensim import KrakenDriver, exact

ORDER_ID = (1 << 62) + (1 << 54) + 1
UTC_NS = 1_700_000_000_123_456_789


def table() -> Any:
    rows = np.zeros(2, INSTRUMENT)
    rows["tick_units"], rows["price_decimals"], rows["lot_units"], rows["qty_decimals"] = 1, 1, 1, 8
    return rows


def codec(token: str = "thetoken", **options: Any) -> KrakenCodec:
    made = new_codec(table(), ["BTC/USD", "ETH/USD"], [0, 1], **options)
    set_token(made, token)
    return made


def order(kind: IntentKind = IntentKind.NEW, **fields: int) -> Any:
    rows = np.zeros(1, ORDER)
    told = {"order_id": ORDER_ID, "side": Side.BUY, "tif": TimeInForce.GTC, "price_ticks": 618_376, "qty_lots": 150_000_000} | fields
    rows["kind"] = kind
    for name, value in told.items():
        rows[name] = value
    return rows


def encoded(rows: Any, of: KrakenCodec | None = None, utc_ns: int = UTC_NS) -> bytes:
    out = np.full(REQUEST_BYTES_MAX + 5, 0x5A, np.uint8)
    end = int(encode(of or codec(), rows, 0, ORDER_ID, ORDER_ID, utc_ns, out, 5))
    assert 5 < end <= REQUEST_BYTES_MAX + 5 and (out[:5] == 0x5A).all() and (out[end:] == 0x5A).all()
    return out[5:end].tobytes()


@pytest.mark.parametrize(
    ("side", "tif", "flags", "expected"),
    [
        (Side.BUY, TimeInForce.GTC, 0, {"side": "buy", "time_in_force": "gtc"}),
        (Side.SELL, TimeInForce.IOC, 0, {"side": "sell", "time_in_force": "ioc"}),
        (Side.SELL, TimeInForce.FOK, OrderFlag.REDUCE_ONLY, {"side": "sell", "time_in_force": "fok", "reduce_only": True}),
        (Side.BUY, TimeInForce.GTC, OrderFlag.POST_ONLY, {"side": "buy", "time_in_force": "gtc", "post_only": True}),
    ],
)
def test_new_order_is_the_documented_request(side: Side, tif: TimeInForce, flags: int, expected: dict[str, Any]) -> None:
    told = exact(encoded(order(side=side, tif=tif, flags=flags, instrument=1)))
    params = {"order_type": "limit", "symbol": "ETH/USD", "limit_price": Decimal("61837.6"), "order_qty": Decimal("1.50000000")}
    params |= {"cl_ord_id": f"{ORDER_ID:016x}", "deadline": "2023-11-14T22:13:25.123456Z", "token": "thetoken"}
    assert told == {"method": "add_order", "params": params | expected | {"stp_type": "cancel_newest"}, "req_id": ORDER_ID}


def test_amendment_and_cancels_name_the_order_by_its_client_id() -> None:
    client_id = f"{ORDER_ID:016x}"
    amend = exact(encoded(order(IntentKind.REPLACE)))
    assert amend["method"] == "amend_order" and amend["params"] == {
        "cl_ord_id": client_id,
        "limit_price": Decimal("61837.6"),
        "order_qty": Decimal("1.50000000"),
        "deadline": "2023-11-14T22:13:25.123456Z",
        "token": "thetoken",
    }
    cancel = exact(encoded(order(IntentKind.CANCEL)))
    assert cancel == {"method": "cancel_order", "params": {"cl_ord_id": [client_id], "token": "thetoken"}, "req_id": ORDER_ID}


def test_all_orders_of_the_account_are_never_canceled_at_once() -> None:
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    assert encode(codec(), order(IntentKind.CANCEL_ALL), 0, 1, 2, UTC_NS, out, 0) == Encoded.NOT_EXPRESSIBLE


@pytest.mark.parametrize("tif", [TimeInForce.IOC, TimeInForce.FOK])
def test_post_only_order_that_does_not_rest_is_refused(tif: TimeInForce) -> None:
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    rows = order(tif=tif, flags=OrderFlag.POST_ONLY)
    assert encode(codec(), rows, 0, 1, 2, UTC_NS, out, 0) == Encoded.NOT_EXPRESSIBLE


@pytest.mark.parametrize("kind", [IntentKind.NEW, IntentKind.CANCEL, IntentKind.REPLACE, IntentKind.CANCEL_ALL])
def test_nothing_is_sent_without_a_token(kind: IntentKind) -> None:
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    assert encode(codec(""), order(kind), 0, 1, 2, UTC_NS, out, 0) == Encoded.NOT_EXPRESSIBLE


def test_longest_request_fits() -> None:
    long = new_codec(table(), ["A" * 24, "B"], [0, 1])
    set_token(long, "t" * 256)
    rows = order(price_ticks=(1 << 62) - 1, qty_lots=(1 << 62) - 1, flags=OrderFlag.POST_ONLY | OrderFlag.REDUCE_ONLY)
    assert len(encoded(rows, long)) < REQUEST_BYTES_MAX


@pytest.mark.parametrize("change", [{"stp_type": "none"}, {"request_window_ms": 499}, {"request_window_ms": 60_001}, {"tier": "gold"}])
def test_codec_that_the_venue_would_refuse_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        codec(**change)


@pytest.mark.parametrize("token", ['a"b', "a\\b", "a b", "é", "t" * 257])
def test_token_that_would_break_a_message_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        codec(token)


def test_time_is_that_of_the_calendar() -> None:
    for seed in range(500):
        microseconds = random.Random(seed).randrange(4_000_000_000 * 10**6)
        out = np.zeros(40, np.uint8)
        text = out[: put_time(microseconds * 1000, out, 0)].tobytes().decode()
        whole = datetime.fromtimestamp(microseconds // 10**6, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        assert text == f"{whole}.{microseconds % 10**6:06d}Z", seed


def test_simulated_venue_carries_the_requests_out() -> None:
    driver = KrakenDriver()
    session = driver.open()
    of = codec(driver.token())

    def ask(kind: IntentKind, **fields: int) -> Any:
        (reply,) = driver.ask(session, encoded(order(kind, **fields), of, driver.utc_ns))
        return reply

    told = ask(IntentKind.NEW, price_ticks=1000, qty_lots=10_000_000, flags=int(OrderFlag.POST_ONLY))
    assert told["success"] and told["req_id"] == ORDER_ID and told["result"]["cl_ord_id"] == f"{ORDER_ID:016x}", told
    told = ask(IntentKind.REPLACE, price_ticks=1001, qty_lots=20_000_000)
    assert told["success"] and told["result"]["amend_id"], told
    assert ask(IntentKind.CANCEL)["success"]
    assert ask(IntentKind.CANCEL)["error"] == "EOrder:Unknown order"
