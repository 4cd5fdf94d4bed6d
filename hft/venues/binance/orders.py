"""Binance orders: writes the text of `order.place` requests from prepared pieces.

The connection has logged on (`session.logon`), so a request carries a timestamp and no signature:

    {"id":"000001000000002a","method":"order.place","params":{"symbol":"BTCUSDT","side":"BUY","type":"LIMIT",
     "timeInForce":"GTC","price":"61837.63","quantity":"0.00100","newClientOrderId":"000001000000002a",
     "newOrderRespType":"ACK","timestamp":1723161255343}}

Everything that does not change is copied from `pieces`; a client id is the order id as 16 hex digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.records import OrderFlag, Side, TimeInForce
from hft.units import as_int
from hft.venues.text import put_decimal, put_hex
from shm.jit import njit

# Columns of OrderTemplates.pieces and of its lengths.
HEAD, PLACE, PRICE, QTY, CLIENT, TIME, TAIL = range(7)
_PIECES = 7
_PIECE_BYTES = 192

#: Longest request; whoever encodes gives this much room.
REQUEST_BYTES_MAX = 640

#: Variants of `order.place`, by tif and post-only: the piece PLACE of each.
_VARIANTS = ("LIMIT_MAKER", "GTC", "IOC", "FOK")

_BUY = int(Side.BUY)
_POST_ONLY = int(OrderFlag.POST_ONLY)
_MS = 1_000_000


class OrderTemplates(NamedTuple):
    """Prepared text by [instrument, side 0 buy | 1 sell, variant, piece]; made by `new_templates`."""

    pieces: NDArray[Any]  #: uint8 [..., _PIECE_BYTES]
    lengths: NDArray[Any]  #: int64 [...]
    instruments: NDArray[Any]  #: INSTRUMENT rows


def new_templates(instruments: NDArray[Any], symbols: Sequence[str]) -> OrderTemplates:
    """Prepare every instrument's pieces."""
    shape = (len(symbols), 2, len(_VARIANTS), _PIECES)
    pieces, lengths = np.zeros((*shape, _PIECE_BYTES), np.uint8), np.zeros(shape, np.int64)
    for row, symbol in enumerate(symbols):
        for side, side_name in enumerate(("BUY", "SELL")):
            for variant, name in enumerate(_VARIANTS):
                kind = '"type":"LIMIT_MAKER"' if variant == 0 else f'"type":"LIMIT","timeInForce":"{name}"'
                for piece, text in enumerate(_texts(symbol, side_name, kind)):
                    data = text.encode()
                    pieces[row, side, variant, piece, : len(data)] = np.frombuffer(data, np.uint8)
                    lengths[row, side, variant, piece] = len(data)
    return OrderTemplates(pieces, lengths, instruments)


def _texts(symbol: str, side: str, kind: str) -> tuple[str, ...]:
    return (
        '{"id":"',
        f'","method":"order.place","params":{{"symbol":"{symbol}","side":"{side}",{kind}',
        ',"price":"',
        '","quantity":"',
        '","newClientOrderId":"',
        '","newOrderRespType":"ACK","timestamp":',
        "}}",
    )


@njit(forceinline=True)
def encode_place(templates: OrderTemplates, orders: NDArray[Any], i: int, utc_ns: int, out: NDArray[Any], at: int) -> int:
    """Write the `order.place` request of ORDER record `i` at `out[at:]`; return the offset after it."""
    row = as_int(orders[i]["instrument"])
    side = 0 if orders[i]["side"] == _BUY else 1
    variant = 0 if orders[i]["flags"] & _POST_ONLY else as_int(orders[i]["tif"]) - (TimeInForce.GTC - 1)
    order_id = orders[i]["order_id"]
    scale = templates.instruments[row]
    at = _put(templates, row, side, variant, HEAD, out, at)
    at = put_hex(order_id, out, at)
    at = _put(templates, row, side, variant, PLACE, out, at)
    at = _put(templates, row, side, variant, PRICE, out, at)
    at = put_decimal(orders[i]["price_ticks"] * scale["tick_units"], scale["price_decimals"], out, at)
    at = _put(templates, row, side, variant, QTY, out, at)
    at = put_decimal(orders[i]["qty_lots"] * scale["lot_units"], scale["qty_decimals"], out, at)
    at = _put(templates, row, side, variant, CLIENT, out, at)
    at = put_hex(order_id, out, at)
    at = _put(templates, row, side, variant, TIME, out, at)
    at = put_decimal(utc_ns // _MS, 0, out, at)
    return _put(templates, row, side, variant, TAIL, out, at)


@njit(forceinline=True)
def _put(templates: OrderTemplates, row: int, side: int, variant: int, piece: int, out: NDArray[Any], at: int) -> int:
    length = templates.lengths[row, side, variant, piece]
    source = templates.pieces[row, side, variant, piece]
    for k in range(length):
        out[at + k] = source[k]
    return at + length
