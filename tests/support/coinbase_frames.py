"""Coinbase frames: what the scanner should find in one, by strict `json` and exact fractions; and messages to try it on."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.records import INSTRUMENT, MARKET
from hft.venues.coinbase.scan import Found, FrameKind, Scanner, scan
from hft.venues.coinbase.tables import TYPES
from support.binance_frames import Refused, decimal, strict_json

ORDER = "d50ec984-77a8-460a-b958-66f114b0de9b"
MAKER, TAKER = "ac928c66-ca53-498f-9c13-a110027a60e8", "132fb6ae-456b-4654-b4e0-d681ac05cea1"
TIME = "2026-08-24T22:21:57.110183Z"
TIME_NS = 1787610117110183000

SNAPSHOT = b'{"type":"snapshot","product_id":"BTC-USD","bids":[["10101.10","0.45054140"]],"asks":[["10102.55","0.57753524"]]}'
UPDATE = (
    b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","22356.270000","0.00000000"],["sell","22356.30","1.00000000"]],'
    b'"time":"2026-08-24T22:21:57.110183Z"}'
)
MATCH = (
    b'{"type":"match","trade_id":10,"sequence":50,"maker_order_id":"ac928c66-ca53-498f-9c13-a110027a60e8",'
    b'"taker_order_id":"132fb6ae-456b-4654-b4e0-d681ac05cea1","time":"2026-08-24T22:21:57.110183Z","product_id":"BTC-USD",'
    b'"size":"5.23512","price":"400.23","side":"sell"}'
)
OPEN = (
    b'{"type":"open","time":"2026-08-24T22:21:57.110183Z","product_id":"BTC-USD","sequence":10,'
    b'"order_id":"d50ec984-77a8-460a-b958-66f114b0de9b","price":"200.2","remaining_size":"1.00","side":"sell"}'
)
DONE = (
    b'{"type":"done","time":"2026-08-24T22:21:57.110183Z","product_id":"BTC-USD","sequence":10,"price":"200.2",'
    b'"order_id":"d50ec984-77a8-460a-b958-66f114b0de9b","reason":"filled","side":"sell","remaining_size":"0"}'
)
RECEIVED = (
    b'{"type":"received","time":"2026-08-24T22:21:57.110183Z","product_id":"BTC-USD","sequence":12,'
    b'"order_id":"dddec984-77a8-460a-b958-66f114b0de9b","funds":"3000.234","side":"buy","order_type":"market"}'
)
CHANGE = (
    b'{"type":"change","reason":"modify_order","time":"2026-08-24T22:21:57.110183Z","sequence":24753,'
    b'"order_id":"c3f16063-77b1-408f-a743-88b7bc20cdcd","side":"buy","product_id":"BTC-USD","old_size":"80","new_size":"70",'
    b'"old_price":"7","new_price":"6"}'
)
HEARTBEAT = b'{"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2026-08-24T22:21:57.110183Z"}'
TICKER = (
    b'{"type":"ticker","sequence":37475248783,"product_id":"BTC-USD","price":"1285.22","open_24h":"1310.79","best_bid":"1285.04",'
    b'"best_bid_size":"0.46688654","best_ask":"1285.27","best_ask_size":"1.56637040","side":"buy",'
    b'"time":"2026-08-24T22:21:57.110183Z","trade_id":370843401,"last_size":"11.4396987"}'
)
SUBSCRIPTIONS = b'{"type":"subscriptions","channels":[{"name":"level2","product_ids":["BTC-USD"]}]}'
ERROR = b'{"type":"error","message":"Failed to subscribe","reason":"full channel requires authentication"}'

ALL = (SNAPSHOT, UPDATE, MATCH, OPEN, DONE, RECEIVED, CHANGE, HEARTBEAT, TICKER, SUBSCRIPTIONS, ERROR)
READ = tuple(FrameKind[kind] for kind in ("UPDATE", "MATCH", "OPEN", "DONE", "RECEIVED", "CHANGE", "HEARTBEAT", "TICKER", "LAST_MATCH"))

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


def instruments(tick_units: int = 1, lot_units: int = 1, price_decimals: int = 2, qty_decimals: int = 8, rows: int = 1) -> NDArray[Any]:
    """INSTRUMENT rows that differ in nothing."""
    table = np.zeros(rows, INSTRUMENT)
    table["tick_units"], table["lot_units"] = tick_units, lot_units
    table["price_decimals"], table["qty_decimals"] = price_decimals, qty_decimals
    return table


def scanned(scanner: Scanner, frame: bytes) -> dict[str, Any]:
    """What the scanner makes of a message, in the form of `expected`. The message's neighbours in the buffer are digits and quotes."""
    data = np.frombuffer(b'1"9' + frame + b'"77', np.uint8).copy()
    out = np.zeros(4, MARKET)
    kind = FrameKind(scan(scanner, data, 3, 3 + len(frame), 7, out))
    return summary(scanner, kind, out)


def summary(scanner: Scanner, kind: FrameKind, out: NDArray[Any]) -> dict[str, Any]:
    found = {name: int(scanner.found[name]) for name in Found}
    result: dict[str, Any] = {"kind": kind}
    if kind not in READ:
        return result
    result |= {"row": found[Found.INSTRUMENT], "time": found[Found.EXCHANGE_NS]}
    if kind == FrameKind.UPDATE:
        result["levels"] = [tuple(level) for level in scanner.levels[: found[Found.RECORDS]].tolist()]
    elif kind == FrameKind.TICKER:
        fields = ("price_ticks", "qty_lots", "ask_ticks", "ask_lots")
        result["quote"] = tuple(int(out[0][name]) for name in fields) if found[Found.RECORDS] else None
    else:
        result["sequence"] = found[Found.SEQUENCE]
    if kind in (FrameKind.MATCH, FrameKind.LAST_MATCH, FrameKind.HEARTBEAT):
        result["trade"] = found[Found.TRADE_ID]
    if kind in (FrameKind.MATCH, FrameKind.LAST_MATCH, FrameKind.OPEN, FrameKind.DONE, FrameKind.CHANGE):
        half = 1 << 64
        result["id"] = uuid.UUID(int=(found[Found.ID_HIGH] % half) * half + found[Found.ID_LOW] % half)
        result |= {"side": found[Found.SIDE], "ticks": found[Found.PRICE_TICKS], "lots": found[Found.QTY_LOTS]}
    return result


def expected(frame: bytes, table: NDArray[Any], symbols: list[str]) -> dict[str, Any]:
    """The naive reading of a message; raises Refused for what must not be used."""
    message = strict_json(frame)
    if not isinstance(message, dict):
        raise Refused("no object")
    if "type" in message and not isinstance(message["type"], str):
        raise Refused("type")
    if "product_id" in message and not isinstance(message["product_id"], str):
        raise Refused("product")
    kind = FrameKind(1 + TYPES.index(message["type"])) if message.get("type") in TYPES else FrameKind.OTHER
    if kind in (FrameKind.OTHER, FrameKind.SUBSCRIPTIONS, FrameKind.ERROR):
        return {"kind": kind}
    if "product_id" not in message:
        raise Refused("no product")
    if message["product_id"] not in symbols:
        return {"kind": FrameKind.UNKNOWN_SYMBOL}
    row = symbols.index(message["product_id"])
    result: dict[str, Any] = {"kind": kind, "row": row, "time": _time(message["time"]) if "time" in message else 0}
    if kind == FrameKind.SNAPSHOT:
        if "bids" not in message or "asks" not in message:
            raise Refused("no lists")
        return {"kind": kind}
    return result | _body(message, kind, table[row])


def _body(message: dict[str, Any], kind: FrameKind, scale: Any) -> dict[str, Any]:
    if kind == FrameKind.UPDATE:
        changes = message.get("changes")
        if not isinstance(changes, list) or not all(isinstance(change, list) and len(change) == 3 for change in changes):
            raise Refused("changes")
        return {"levels": [(_side(side), ticks_of(price, scale, 1), lots_of(size, scale)) for side, price, size in changes]}
    if kind == FrameKind.TICKER:
        return {"quote": _quote(message, scale)}
    result: dict[str, Any] = {"sequence": _integer(message, "sequence")}
    if kind == FrameKind.HEARTBEAT:
        return result | {"trade": _integer(message, "last_trade_id")}
    if kind == FrameKind.RECEIVED:
        return result
    trade = kind in (FrameKind.MATCH, FrameKind.LAST_MATCH)
    if trade:
        result["trade"] = _integer(message, "trade_id")
    result |= {"id": _uuid(message.get("maker_order_id" if trade else "order_id")), "side": _side(message.get("side"))}
    if kind == FrameKind.DONE:
        return result | {"ticks": 0, "lots": -1}
    if kind == FrameKind.CHANGE:
        price = message["new_price"] if "new_price" in message else message.get("price")
        size = message.get("new_size")
        return result | {
            "ticks": 0 if price is None else ticks_of(price, scale, 0),
            "lots": -1 if size is None else lots_of(size, scale),
        }
    size = message.get("size") if trade else message.get("remaining_size")
    result |= {"ticks": ticks_of(message.get("price"), scale, 1), "lots": lots_of(size, scale)}
    if result["lots"] == 0:
        raise Refused("size 0")
    return result


def _quote(message: dict[str, Any], scale: Any) -> tuple[int, int, int, int] | None:
    keys = ("best_bid", "best_bid_size", "best_ask", "best_ask_size")
    if not all(key in message for key in keys):
        return None
    bid, bid_size, ask, ask_size = (message[key] for key in keys)
    quote = (ticks_of(bid, scale, 0), lots_of(bid_size, scale), ticks_of(ask, scale, 0), lots_of(ask_size, scale))
    return quote if all(quote) else None


def _side(text: Any) -> int:
    if text not in ("buy", "sell"):
        raise Refused(f"side {text!r}")
    return 1 if text == "buy" else -1


def ticks_of(text: Any, scale: Any, least: int) -> int:
    ticks = decimal(text) * 10 ** int(scale["price_decimals"]) / int(scale["tick_units"])
    if ticks != int(ticks) or not least <= ticks < 1 << 62:
        raise Refused(f"price {text!r}")
    return int(ticks)


def lots_of(text: Any, scale: Any) -> int:
    lots: Fraction = decimal(text) * 10 ** int(scale["qty_decimals"]) / int(scale["lot_units"])
    if lots >= 1 << 62:
        raise Refused(f"size {text!r}")
    return max(int(lots), 1 if lots > 0 else 0)


def _integer(message: dict[str, Any], key: str) -> int:
    value = message.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 10**18:
        raise Refused(f"{key} {value!r}")
    return value


def _uuid(text: Any) -> uuid.UUID:
    if not isinstance(text, str) or not _UUID.fullmatch(text):
        raise Refused(f"uuid {text!r}")
    return uuid.UUID(text)


def _time(text: Any) -> int:
    match = _TIME.fullmatch(text) if isinstance(text, str) else None
    if isinstance(text, str) and text.startswith("0001-"):
        return 0
    if match is None:
        raise Refused(f"time {text!r}")
    try:
        whole = datetime(*(int(part) for part in match.groups()[:6]), tzinfo=UTC)  # type: ignore[arg-type, misc]
    except ValueError as error:
        raise Refused(str(error)) from error
    if not 1970 <= whole.year <= 2099:
        raise Refused("year")
    return int(whole.timestamp()) * 10**9 + int((match.group(7) or "0").ljust(9, "0"))


def book_of(snapshot: bytes, scale: Any, orders: bool) -> dict[tuple[int, int], int]:
    """The naive reading of a snapshot of level 2, or with `orders` of level 3: (side, ticks) -> lots; raises Refused."""
    document = strict_json(snapshot)
    if not isinstance(document, dict):
        raise Refused("no object")
    if orders:
        _integer(document, "sequence")
    book: dict[tuple[int, int], int] = {}
    seen = set()
    for side, key in ((1, "bids"), (-1, "asks")):
        rows = document.get(key)
        if not isinstance(rows, list):
            raise Refused(key)
        for row in rows:
            if not isinstance(row, list) or len(row) != (3 if orders else 2):
                raise Refused("row")
            ticks, lots = ticks_of(row[0], scale, 1), lots_of(row[1], scale)
            if lots == 0 or (orders and _uuid(row[2]) in seen):
                raise Refused("size 0, or the same order twice")
            seen |= {_uuid(row[2])} if orders else set()
            book[side, ticks] = lots + (book.get((side, ticks), 0) if orders else 0)
    bids, asks = ([ticks for s, ticks in book if s == side] for side in (1, -1))
    if bids and asks and max(bids) >= min(asks):
        raise Refused("crossed")
    return book


def message(kind: str, product: str = "BTC-USD", **members: Any) -> bytes:
    """A message in the venue's form."""
    return json.dumps({"type": kind, "product_id": product, "time": TIME, **members}, separators=(",", ":")).encode()
