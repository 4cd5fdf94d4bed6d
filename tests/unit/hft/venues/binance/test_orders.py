"""The request text is valid JSON with exactly the order's numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hft.records import INSTRUMENT, ORDER, OrderFlag, Side, TimeInForce
from hft.venues.binance.orders import REQUEST_BYTES_MAX, encode_place, new_templates
from hft.venues.text import put_decimal


def _instruments() -> np.ndarray:
    rows = np.zeros(2, INSTRUMENT)
    rows["tick_units"], rows["price_decimals"] = (1, 5), (2, 0)
    rows["lot_units"], rows["qty_decimals"] = (1, 1), (5, 8)
    return rows


@pytest.mark.parametrize(
    ("side", "tif", "flags", "expected"),
    [
        (Side.BUY, TimeInForce.GTC, 0, {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}),
        (Side.SELL, TimeInForce.IOC, 0, {"side": "SELL", "type": "LIMIT", "timeInForce": "IOC"}),
        (Side.SELL, TimeInForce.FOK, 0, {"side": "SELL", "type": "LIMIT", "timeInForce": "FOK"}),
        (Side.BUY, TimeInForce.GTC, OrderFlag.POST_ONLY, {"side": "BUY", "type": "LIMIT_MAKER"}),
    ],
)
def test_encode_place_writes_the_documented_request(side: Side, tif: TimeInForce, flags: int, expected: dict[str, str]) -> None:
    order = np.zeros(1, ORDER)
    order["order_id"], order["instrument"], order["side"], order["tif"], order["flags"] = 0x1_0000_0000_2A, 0, side, tif, flags
    order["price_ticks"], order["qty_lots"] = 6183763, 100
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    end = encode_place(new_templates(_instruments(), ["BTCUSDT", "ETHUSDT"]), order, 0, 1723161255343_999_999, out, 7)
    request = json.loads(bytes(out[7:end]))
    client_id = "000001000000002a"
    assert request["id"] == client_id and request["method"] == "order.place"
    params = {"symbol": "BTCUSDT", "price": "61837.63", "quantity": "0.00100", "newClientOrderId": client_id}
    assert request["params"] == {**params, **expected, "newOrderRespType": "ACK", "timestamp": 1723161255343}


def test_encode_place_uses_the_scale_of_its_instrument() -> None:
    order = np.zeros(1, ORDER)
    order["order_id"], order["instrument"], order["side"], order["tif"] = 1, 1, Side.SELL, TimeInForce.GTC
    order["price_ticks"], order["qty_lots"] = 123, 7
    out = np.zeros(REQUEST_BYTES_MAX, np.uint8)
    end = encode_place(new_templates(_instruments(), ["BTCUSDT", "ETHUSDT"]), order, 0, 0, out, 0)
    params = json.loads(bytes(out[:end]))["params"]
    assert (params["symbol"], params["price"], params["quantity"]) == ("ETHUSDT", "615", "0.00000007")


@pytest.mark.parametrize(
    ("units", "decimals", "text"),
    [(0, 0, "0"), (0, 2, "0.00"), (5, 2, "0.05"), (100, 2, "1.00"), (123456, 3, "123.456"), (2**62, 8, "46116860184.27387904")],
)
def test_put_decimal_writes_every_digit(units: int, decimals: int, text: str) -> None:
    out = np.zeros(32, np.uint8)
    end = put_decimal(units, decimals, out, 1)
    assert bytes(out[1:end]) == text.encode()
