"""Requests are valid JSON with exactly the order's numbers, and signed where they must be."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import numpy as np
import pytest

from hft.records import INSTRUMENT, ORDER, IntentKind, OrderFlag, Side, TimeInForce
from hft.venues.binance.orders import (
    REQUEST_BYTES_MAX,
    BinanceCodec,
    encode,
    encode_amend,
    encode_market,
    new_codec,
)
from hft.venues.binance.signing import ws_payload
from hft.venues.interface import Credentials
from hft.venues.outcomes import Encoded
from hft.venues.text import put_decimal

UTC_NS = 1723161255343_999_999
ID, REF = 0x1_0000_0000_2A, 0x1_0000_0000_07
HEX, REF_HEX = "000001000000002a", "0000010000000007"
KEY = Credentials(
    "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A", b"NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
)


def _instruments() -> np.ndarray:
    rows = np.zeros(4, INSTRUMENT)
    rows["tick_units"], rows["price_decimals"] = (1, 5, 1, 1), (2, 0, 0, 0)
    rows["lot_units"], rows["qty_decimals"] = (1, 1, 1, 1), (5, 8, 0, 0)
    return rows


def order(kind: IntentKind = IntentKind.NEW, side: Side = Side.BUY, tif: TimeInForce = TimeInForce.GTC, flags: int = 0, **more: Any) -> Any:
    rows = np.zeros(1, ORDER)
    fields = {
        "order_id": ID,
        "instrument": 0,
        "price_ticks": 6183763,
        "qty_lots": 100,
        "kind": kind,
        "side": side,
        "tif": tif,
        "flags": flags,
    }
    for name, value in (fields | more).items():
        rows[name] = value
    return rows


def codec(**options: Any) -> BinanceCodec:
    return new_codec(_instruments(), ["BTCUSDT", "ETHUSDT"], [0, 1], **options)


def written(to: BinanceCodec, orders: Any, wire_id: int = ID, ref_wire_id: int = REF) -> dict[str, Any]:
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    end = encode(to, orders, 0, wire_id, ref_wire_id, UTC_NS, out, 7)
    assert end > 7, Encoded(end)
    assert not out[:7].any() and not out[end:].any()
    request: dict[str, Any] = json.loads(bytes(out[7:end]))
    return request


@pytest.mark.parametrize(
    ("side", "tif", "flags", "expected"),
    [
        (Side.BUY, TimeInForce.GTC, 0, {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}),
        (Side.SELL, TimeInForce.IOC, 0, {"side": "SELL", "type": "LIMIT", "timeInForce": "IOC"}),
        (Side.SELL, TimeInForce.FOK, 0, {"side": "SELL", "type": "LIMIT", "timeInForce": "FOK"}),
        (Side.BUY, TimeInForce.GTC, OrderFlag.POST_ONLY, {"side": "BUY", "type": "LIMIT_MAKER"}),
    ],
)
def test_new_order_is_placed_or_replaces_another(side: Side, tif: TimeInForce, flags: int, expected: dict[str, str]) -> None:
    request = written(codec(recv_window_ms=0, self_trade=""), order(side=side, tif=tif, flags=flags))
    assert request["id"] == HEX and request["method"] == "order.place"
    params = {"symbol": "BTCUSDT", "price": "61837.63", "quantity": "0.00100", "newClientOrderId": HEX, "newOrderRespType": "ACK"}
    assert request["params"] == {**params, **expected, "timestamp": 1723161255343}
    more = {"recvWindow": 1000, "selfTradePreventionMode": "EXPIRE_MAKER", "timestamp": 1723161255343}
    assert written(codec(), order(side=side, tif=tif, flags=flags)) == {**request, "params": {**params, **expected, **more}}
    replaced = written(codec(), order(IntentKind.REPLACE, side, tif, flags))
    assert replaced["id"] == HEX and replaced["method"] == "order.cancelReplace"
    ref = {"cancelOrigClientOrderId": REF_HEX, "cancelNewClientOrderId": "x" + REF_HEX, "cancelReplaceMode": "STOP_ON_FAILURE"}
    assert replaced["params"] == {**params, **expected, **more, **ref}


def test_scale_is_that_of_the_instrument() -> None:
    params = written(codec(), order(side=Side.SELL, instrument=1, price_ticks=123, qty_lots=7))["params"]
    assert (params["symbol"], params["price"], params["quantity"]) == ("ETHUSDT", "615", "0.00000007")


def test_cancel_leaves_the_order_with_an_id_that_still_tells_which_it_was() -> None:
    request = written(codec(recv_window_ms=500), order(IntentKind.CANCEL, price_ticks=0, qty_lots=0), wire_id=5)
    params = {"symbol": "BTCUSDT", "origClientOrderId": REF_HEX, "newClientOrderId": "x" + REF_HEX, "recvWindow": 500}
    assert request == {"id": HEX, "method": "order.cancel", "params": {**params, "timestamp": 1723161255343}}


def test_cancel_all_names_the_instrument() -> None:
    request = written(codec(recv_window_ms=0), order(IntentKind.CANCEL_ALL, instrument=1))
    assert request == {"id": HEX, "method": "openOrders.cancelAll", "params": {"symbol": "ETHUSDT", "timestamp": 1723161255343}}


def test_market_order_has_no_price() -> None:
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    end = encode_market(codec(self_trade="NONE"), order(side=Side.SELL), 0, ID, UTC_NS, out, 0)
    params = json.loads(bytes(out[:end]))["params"]
    assert "price" not in params and "timeInForce" not in params
    assert (params["type"], params["side"], params["quantity"], params["selfTradePreventionMode"]) == ("MARKET", "SELL", "0.00100", "NONE")


@pytest.mark.parametrize(
    "orders",
    [
        order(instrument=2),
        order(instrument=9),
        order(instrument=-1),
        order(qty_lots=0),
        order(price_ticks=0),
        order(tif=TimeInForce.IOC, flags=OrderFlag.POST_ONLY),
        order(tif=9),  # type: ignore[arg-type]
        order(kind=7),  # type: ignore[arg-type]
    ],
)
def test_what_the_venue_does_not_have_is_not_expressible(orders: Any) -> None:
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    assert encode(codec(), orders, 0, ID, REF, UTC_NS, out, 0) == Encoded.NOT_EXPRESSIBLE and not out.any()


def test_modes_that_change_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="DECREMENT"):
        codec(self_trade="DECREMENT")


@pytest.mark.parametrize(
    "orders",
    [
        order(),
        order(tif=TimeInForce.IOC, side=Side.SELL),
        order(flags=OrderFlag.POST_ONLY, instrument=1),
        order(IntentKind.REPLACE),
        order(IntentKind.CANCEL),
        order(IntentKind.CANCEL_ALL),
    ],
)
@pytest.mark.parametrize("options", [{}, {"recv_window_ms": 0, "self_trade": ""}])
def test_with_an_hmac_key_every_request_is_signed_over_its_sorted_parameters(orders: Any, options: dict[str, Any]) -> None:
    signed = written(codec(credentials=KEY, **options), orders)
    plain = written(codec(**options), orders)
    params = dict(signed["params"])
    signature = params.pop("signature")
    assert params == {**plain["params"], "apiKey": KEY.key} and signed["method"] == plain["method"]
    assert list(params) == sorted(params), "so that one text serves both"
    assert signature == hmac.new(KEY.secret, ws_payload(params), hashlib.sha256).hexdigest()


def test_longest_request_fits_its_room() -> None:
    long = new_codec(_instruments(), ["1" * 24], [0], credentials=KEY, recv_window_ms=60_000)
    text = json.dumps(written(long, order(IntentKind.REPLACE, price_ticks=2**62 - 1, qty_lots=2**62 - 1), wire_id=2**63 - 1))
    assert len(text) < REQUEST_BYTES_MAX
    with pytest.raises(ValueError, match="API key"):
        codec(credentials=Credentials("k" * 400, b"s"))


def test_order_made_smaller_keeps_its_place_where_that_is_allowed() -> None:
    to = codec(amend=True)
    written(to, order(), wire_id=REF, ref_wire_id=0)
    smaller = written(to, order(IntentKind.REPLACE, qty_lots=60))
    params = {"symbol": "BTCUSDT", "origClientOrderId": REF_HEX, "newClientOrderId": REF_HEX, "newQty": "0.00060", "recvWindow": 1000}
    assert smaller == {"id": HEX, "method": "order.amend.keepPriority", "params": {**params, "timestamp": 1723161255343}}
    for other in (
        order(IntentKind.REPLACE, qty_lots=60),
        order(IntentKind.REPLACE, qty_lots=80),
        order(IntentKind.REPLACE, qty_lots=50, price_ticks=6183764),
        order(IntentKind.REPLACE, qty_lots=50, side=Side.SELL),
        order(IntentKind.REPLACE, qty_lots=50, flags=OrderFlag.POST_ONLY),
    ):
        assert written(to, other)["method"] == "order.cancelReplace"
    assert written(to, order(IntentKind.REPLACE, qty_lots=50))["method"] == "order.amend.keepPriority"
    assert written(codec(), order(IntentKind.REPLACE, qty_lots=50))["method"] == "order.cancelReplace", "not unless it was asked for"
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    end = encode_amend(codec(), order(IntentKind.REPLACE, qty_lots=50), 0, ID, REF, UTC_NS, out, 0)
    assert json.loads(bytes(out[:end]))["params"]["newQty"] == "0.00050"


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [(0, 0, "0"), (0, 2, "0.00"), (5, 2, "0.05"), (100, 2, "1.00"), (123456, 3, "123.456"), (2**62, 8, "46116860184.27387904")],
)
def test_put_decimal_writes_every_digit(units: int, decimals: int, text: str) -> None:
    out = np.zeros(32, np.uint8)
    end = put_decimal(units, decimals, out, 1)
    assert bytes(out[1:end]) == text.encode()
