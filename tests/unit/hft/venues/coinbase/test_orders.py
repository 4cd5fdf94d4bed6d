"""Coinbase orders: each request is valid HTTP with exactly the order's numbers, signed over what is sent."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import numpy as np
import pytest

from hft.records import IntentKind, OrderFlag, Side, TimeInForce
from hft.sim.coinbase.keys import WINDOW_NS
from hft.venues.codecs import Encoded
from hft.venues.coinbase.orders import REQUEST_BYTES_MAX, encode, encode_market, new_codec
from hft.venues.interface import Credentials
from support.coinbase_desk import HOST, KEYS, OID, ORDER_ID, PREFIX, SECRET, Request, codec, order, request_of, table

UTC_NS = 1_700_000_000_123_456_789


def encoded(rows: Any, wire_id: int = ORDER_ID, ref: int = 0, **options: Any) -> Request:
    out = np.full(REQUEST_BYTES_MAX + 5, 0x5A, np.uint8)
    end = int(encode(codec(**options), rows, 0, wire_id, ref, UTC_NS, out, 5))
    assert 5 < end <= REQUEST_BYTES_MAX + 5 and (out[:5] == 0x5A).all() and (out[end:] == 0x5A).all()
    return request_of(out[5:end].tobytes())


def sign(text: str, body: bytes = b"") -> str:
    return base64.b64encode(hmac.digest(SECRET, text.encode() + body, "sha256")).decode()


@pytest.mark.parametrize(
    ("side", "tif", "flags", "expected"),
    [
        (Side.BUY, TimeInForce.GTC, 0, {"side": "buy", "time_in_force": "GTC"}),
        (Side.SELL, TimeInForce.IOC, 0, {"side": "sell", "time_in_force": "IOC"}),
        (Side.SELL, TimeInForce.FOK, OrderFlag.REDUCE_ONLY, {"side": "sell", "time_in_force": "FOK"}),
        (Side.BUY, TimeInForce.GTC, OrderFlag.POST_ONLY, {"side": "buy", "time_in_force": "GTC", "post_only": True}),
    ],
)
def test_new_order_is_the_documented_request(side: Side, tif: TimeInForce, flags: int, expected: dict[str, Any]) -> None:
    request = encoded(order(side=side, tif=tif, flags=flags, instrument=1))
    assert (request.method, request.target) == ("POST", "/orders")
    assert json.loads(request.body) == expected | {
        "type": "limit",
        "product_id": "ETH-USD",
        "stp": "cn",
        "price": "61837.63",
        "size": "1.50000000",
        "client_oid": OID,
    }
    assert request.headers == {
        "Host": HOST,
        "User-Agent": "hft",
        "Accept-Encoding": "identity",
        "CB-ACCESS-KEY": "thekey",
        "CB-ACCESS-PASSPHRASE": "thepass",
        "CB-ACCESS-TIMESTAMP": "1699999971.123456",
        "CB-ACCESS-SIGN": sign("1699999971.123456POST/orders", request.body),
        "Content-Type": "application/json",
        "Content-Length": str(len(request.body)),
    }


@pytest.mark.parametrize("sign_query", [True, False])
@pytest.mark.parametrize(
    ("kind", "path"), [(IntentKind.CANCEL, f"/orders/client:{OID}"), (IntentKind.CANCEL_ALL, "/orders")], ids=["one", "all"]
)
def test_cancel_is_a_signed_delete_without_a_body(kind: IntentKind, path: str, sign_query: bool) -> None:
    request = encoded(order(kind), wire_id=7, ref=ORDER_ID, sign_query=sign_query)
    assert (request.method, request.target, request.body) == ("DELETE", f"{path}?product_id=BTC-USD", b"")
    signed = path + ("?product_id=BTC-USD" if sign_query else "")
    assert request.headers["CB-ACCESS-SIGN"] == sign(f"1700000000.123456DELETE{signed}")
    assert "Content-Length" not in request.headers and "Content-Type" not in request.headers


@pytest.mark.parametrize("window_ms", [1, 500, 1000, 30_000])
def test_an_order_is_refused_from_its_window_on_and_a_cancel_is_not(window_ms: int) -> None:
    """By the venue's own rule: a time stamp of more than 30 s ago, by its own clock, is refused."""
    new = encoded(order(), request_window_ms=window_ms)
    stamp_ns = int(new.headers["CB-ACCESS-TIMESTAMP"].replace(".", "")) * 1000
    assert 0 <= UTC_NS + window_ms * 1_000_000 - (stamp_ns + WINDOW_NS) < 1000, "to the microsecond that is written"
    canceled = encoded(order(IntentKind.CANCEL), wire_id=7, ref=ORDER_ID, request_window_ms=window_ms)
    assert canceled.headers["CB-ACCESS-TIMESTAMP"] == "1700000000.123456"


@pytest.mark.parametrize("window_ms", [-1, 0, 30_001])
def test_a_window_that_the_venue_does_not_have_is_refused(window_ms: int) -> None:
    with pytest.raises(ValueError, match="request_window_ms: expected 1 to 30000"):
        codec(request_window_ms=window_ms)


def test_market_order_has_a_size_and_no_price() -> None:
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    end = encode_market(codec(), 0, int(Side.SELL), 150_000_000, ORDER_ID, UTC_NS, out, 0)
    request = request_of(out[:end].tobytes())
    expected = {"type": "market", "product_id": "BTC-USD", "side": "sell", "stp": "cn", "size": "1.50000000", "client_oid": OID}
    assert json.loads(request.body) == expected
    assert request.headers["CB-ACCESS-SIGN"] == sign("1699999971.123456POST/orders", request.body)


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (order(IntentKind.REPLACE), Encoded.SPLIT),
        (order(tif=TimeInForce.IOC, flags=OrderFlag.POST_ONLY), Encoded.NOT_EXPRESSIBLE),
        (order(tif=TimeInForce.FOK, flags=OrderFlag.POST_ONLY), Encoded.NOT_EXPRESSIBLE),
    ],
)
def test_what_one_request_cannot_say_is_refused(rows: Any, code: Encoded) -> None:
    assert encode(codec(), rows, 0, 1, 2, UTC_NS, np.zeros(REQUEST_BYTES_MAX, np.uint8), 0) == code


def test_longest_request_fits() -> None:
    keys = Credentials("k" * 128, KEYS.secret, "p" * 128)
    long = new_codec(table(), ["A" * 24, "B"], [0, 1], keys, "h" * 128, PREFIX)
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    rows = order(price_ticks=(1 << 62) - 1, qty_lots=(1 << 62) - 1, flags=OrderFlag.POST_ONLY)
    assert 0 < encode(long, rows, 0, (1 << 63) - 1, 0, UTC_NS, out, 0) < REQUEST_BYTES_MAX
    assert 0 < encode(long, order(IntentKind.CANCEL), 0, 1, (1 << 63) - 1, UTC_NS, out, 0) < REQUEST_BYTES_MAX


@pytest.mark.parametrize("stp", ["dc", "co", "cb"])
def test_self_trade_prevention_is_the_one_asked_for(stp: str) -> None:
    assert json.loads(encoded(order(), stp=stp).body)["stp"] == stp


@pytest.mark.parametrize(
    "change",
    [{"stp": "no"}, {"prefix": 0}, {"prefix": 1 << 63}, {"host": "a\r\nb"}, {"host": ""}]
    + [{"credentials": Credentials(key, KEYS.secret, "p")} for key in ("a\nb", "", "é", "k" * 129)]
    + [{"credentials": Credentials("k", b"?", "p")}],
)
def test_codec_that_could_not_send_a_request_is_refused(change: dict[str, Any]) -> None:
    options: dict[str, Any] = {"credentials": KEYS, "host": HOST, "prefix": PREFIX} | change
    with pytest.raises(ValueError, match="expected|must be"):
        new_codec(table(), ["A", "B"], [0, 1], **options)
