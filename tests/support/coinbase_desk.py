"""A Coinbase codec for tests, its key, and plain readings of what it writes and of the rows it reads."""

from __future__ import annotations

import base64
import json
from typing import Any, NamedTuple

import numpy as np

from hft.records import ORDER, VENUE_EVENT, IntentKind, Side, TimeInForce, VenueEventKind
from hft.venues.coinbase.orders import CoinbaseCodec, new_codec
from hft.venues.interface import Credentials
from support.coinbase_frames import instruments

SECRET = b"a" * 64
KEYS = Credentials("thekey", base64.b64encode(SECRET), "thepass")
PREFIX = 0x0123456789ABCDEF
SYMBOLS = ["BTC-USD", "ETH-USD"]
ORDER_ID = 0x1_0000_0000_2A
OID = "01234567-89ab-cdef-0000-01000000002a"
HOST = "api.exchange.coinbase.com"


def table() -> Any:
    """BTC-USD and ETH-USD: cents, 1e-8; fees of 0.4% and 0.6%."""
    rows = instruments(rows=2)
    rows["ticklot_num"], rows["ticklot_den"] = 1, 100
    rows["maker_fee_e8"], rows["taker_fee_e8"] = 400_000, 600_000
    return rows


def codec(**options: Any) -> CoinbaseCodec:
    return new_codec(table(), SYMBOLS, [0, 1], KEYS, HOST, PREFIX, **options)


def order(kind: IntentKind = IntentKind.NEW, **fields: Any) -> Any:
    rows = np.zeros(1, ORDER)
    rows["kind"], rows["order_id"], rows["side"], rows["tif"] = kind, ORDER_ID, Side.BUY, TimeInForce.GTC
    rows["price_ticks"], rows["qty_lots"] = 6_183_763, 150_000_000
    for name, value in fields.items():
        rows[name] = value
    return rows


class Request(NamedTuple):
    """An HTTP request in parts."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def request_of(data: bytes) -> Request:
    """Read exactly one HTTP/1.1 request."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("ascii").split("\r\n")
    method, target, version = first.split(" ")
    headers = dict(line.split(": ", 1) for line in lines)
    assert version == "HTTP/1.1" and len(headers) == len(lines)
    assert int(headers.get("Content-Length", "0")) == len(body)
    return Request(method, target, headers, body)


def array(data: bytes) -> Any:
    return np.frombuffer(bytearray(data or b" "), np.uint8)


def events_out() -> Any:
    """Rows that hold what another message left in them."""
    return np.frombuffer(bytearray(b"\x5a" * (VENUE_EVENT.itemsize * 64)), VENUE_EVENT)


def told(row: Any) -> dict[str, Any]:
    """What a VENUE_EVENT row says, without what it does not."""
    silent = {"cum_lots": -1, "instrument": -1}
    fields = {name: int(row[name]) for name in VENUE_EVENT.names or () if not name.startswith("reserved")}
    said = {name: value for name, value in fields.items() if value != silent.get(name, 0)}
    return said | {"kind": VenueEventKind(fields["kind"]).name}


def body_of(**members: Any) -> bytes:
    return json.dumps(members, separators=(",", ":")).encode()
