"""Binance frames: what the scanner should find in one, by strict `json` and exact fractions; and frames to try it on."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from hft.records import INSTRUMENT, MARKET, MarketFlag, MarketKind
from hft.venues.binance.scan import Found, FrameKind, Scanner, new_scanner, scan

DECIMAL = re.compile(r"[0-9]+(\.[0-9]+)?")
INTEGER_MAX = 10**18

PREFIX = b'{"stream":"btcusdt@depth@100ms","data":'
DEPTH = (
    b'{"e":"depthUpdate","E":1723161255408,"s":"BTCUSDT","U":50093239208,"u":50093239224,'
    b'"b":[["61837.63000000","3.78826000"],["61820.99000000","0.00000000"]],"a":[["61837.64000000","1.54698000"]]}'
)
QUOTE = b'{"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}'
TRADE = (
    b'{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",'
    b'"T":1723161255342,"m":true,"M":true}'
)
SNAPSHOT = b'{"lastUpdateId":50093239218,"bids":[["61837.63000000","3.78826000"]],"asks":[["61837.64000000","1.54698000"]]}'


def instruments(tick_units: int = 1, lot_units: int = 1, price_decimals: int = 2, qty_decimals: int = 5, rows: int = 1) -> NDArray[Any]:
    """INSTRUMENT rows that differ in nothing."""
    table = np.zeros(rows, INSTRUMENT)
    table["tick_units"], table["lot_units"] = tick_units, lot_units
    table["price_decimals"], table["qty_decimals"] = price_decimals, qty_decimals
    return table


def btcusdt() -> Scanner:
    return new_scanner(instruments(), ["BTCUSDT"])


class Refused(Exception):
    """The strict reading found something that is not as documented."""


def scanned(scanner: Scanner, frame: bytes, levels_max: int = 4096, received_ns: int = 7) -> dict[str, Any]:
    """What the scanner makes of a frame, in the form of `expected`. The frame's neighbours in the buffer are digits and quotes."""
    data = np.frombuffer(b'1"9' + frame + b'"77', np.uint8).copy()
    out = np.zeros(levels_max, MARKET)
    kind = FrameKind(scan(scanner, data, 3, 3 + len(frame), received_ns, out))
    return summary(scanner, kind, out)


def summary(scanner: Scanner, kind: FrameKind, out: NDArray[Any]) -> dict[str, Any]:
    found = {field: int(scanner.found[field]) for field in Found}
    if kind not in (FrameKind.DEPTH, FrameKind.TRADE, FrameKind.QUOTE):
        return {"kind": kind}
    result: dict[str, Any] = {"kind": kind, "instrument": found[Found.INSTRUMENT], "last_id": found[Found.LAST_ID]}
    if kind == FrameKind.DEPTH:
        result["first_id"], result["exchange_ns"] = found[Found.FIRST_ID], found[Found.EXCHANGE_NS]
        records = out[: found[Found.RECORDS]]
        assert (records["kind"] == MarketKind.LEVEL).all()
        assert (records["venue_id"] == result["last_id"]).all() and (records["exchange_ns"] == result["exchange_ns"]).all()
        bids = records["flags"] & MarketFlag.BID != 0
        for name, chosen in (("b", records[bids]), ("a", records[~bids])):
            result[name] = list(zip(chosen["price_ticks"].tolist(), chosen["qty_lots"].tolist(), strict=True))
    else:
        fields = ("price_ticks", "qty_lots", "ask_ticks", "ask_lots", "exchange_ns", "flags", "venue_id", "instrument", "kind")
        result["record"] = {field: int(out[0][field]) for field in fields}
    return result


def expected(frame: bytes, table: NDArray[Any], symbols: list[str]) -> dict[str, Any]:
    """The naive reading of a frame; raises Refused for what must not be used."""
    document = strict_json(frame)
    if not isinstance(document, dict):
        raise Refused("no object")
    event = document.get("data") if "stream" in document or "data" in document else document
    if not isinstance(event, dict):
        return {"kind": FrameKind.OTHER}
    kind = _kind(event)
    if kind not in (FrameKind.DEPTH, FrameKind.TRADE, FrameKind.QUOTE):
        return {"kind": kind}
    symbol = event.get("s")
    if not isinstance(symbol, str):
        raise Refused("symbol")
    if symbol not in symbols:
        return {"kind": FrameKind.UNKNOWN_SYMBOL}
    return _event(event, kind, symbols.index(symbol), table)


def _event(event: dict[str, Any], kind: FrameKind, row: int, table: NDArray[Any]) -> dict[str, Any]:
    scale = table[row]
    if kind == FrameKind.DEPTH:
        result = {"kind": kind, "instrument": row, "last_id": integer(event, "u"), "first_id": integer(event, "U")}
        result["exchange_ns"] = time_ns(event, "E")
        for side in ("b", "a"):
            result[side] = [_level(pair, scale) for pair in _list(event, side)]
        if result["last_id"] < result["first_id"]:
            raise Refused("u < U")
        return result
    record = dict.fromkeys(("price_ticks", "qty_lots", "ask_ticks", "ask_lots", "exchange_ns", "flags", "venue_id"), 0)
    if kind == FrameKind.QUOTE:
        bid, ask = (_pair(event.get(p), event.get(q), scale) for p, q in (("b", "B"), ("a", "A")))
        if any((price == 0) != (lots == 0) for price, lots in (bid, ask)):
            raise Refused("a side is half empty")
        record |= {"price_ticks": bid[0], "qty_lots": bid[1], "ask_ticks": ask[0], "ask_lots": ask[1], "venue_id": integer(event, "u")}
        record |= {"flags": MarketFlag.LAST, "kind": MarketKind.QUOTE}
    else:
        price, lots = _pair(event.get("p"), event.get("q"), scale)
        if price <= 0 or lots <= 0 or not isinstance(event.get("m"), bool):
            raise Refused("trade")
        time_ns(event, "E")
        flags = MarketFlag.LAST | (0 if event["m"] else MarketFlag.BID)
        record |= {"price_ticks": price, "qty_lots": lots, "venue_id": integer(event, "t"), "exchange_ns": time_ns(event, "T")}
        record |= {"flags": int(flags), "kind": MarketKind.TRADE}
    return {"kind": kind, "instrument": row, "last_id": record["venue_id"], "record": record | {"instrument": row}}


def _kind(event: dict[str, Any]) -> FrameKind:
    if "e" in event:
        if not isinstance(event["e"], str):
            raise Refused("event name")
        kinds = {"depthUpdate": "DEPTH", "bookTicker": "QUOTE", "trade": "TRADE", "serverShutdown": "SHUTDOWN"}
        return FrameKind[kinds.get(event["e"], "OTHER")]
    if {"u", "s", "b", "B", "a", "A"} <= event.keys():
        return FrameKind.QUOTE
    if {"lastUpdateId", "bids", "asks"} <= event.keys():
        return FrameKind.SNAPSHOT
    if "error" in event or "code" in event:
        return FrameKind.REPLY_ERROR
    return FrameKind.REPLY if "result" in event else FrameKind.OTHER


def _level(pair: Any, scale: Any) -> tuple[int, int]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise Refused("level")
    price, lots = _pair(pair[0], pair[1], scale)
    if price <= 0:
        raise Refused("price")
    return price, lots


def _pair(price: Any, size: Any, scale: Any) -> tuple[int, int]:
    ticks = decimal(price) * 10 ** int(scale["price_decimals"]) / int(scale["tick_units"])
    lots = decimal(size) * 10 ** int(scale["qty_decimals"]) / int(scale["lot_units"])
    if ticks != int(ticks) or ticks >= 1 << 62 or lots >= 1 << 62:
        raise Refused("off tick or too big")
    return int(ticks), max(int(lots), 1 if lots > 0 else 0)


def decimal(text: Any) -> Fraction:
    if not isinstance(text, str) or not DECIMAL.fullmatch(text):
        raise Refused(f"decimal {text!r}")
    return Fraction(text)


def integer(event: dict[str, Any], key: str) -> int:
    value = event.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < INTEGER_MAX:
        raise Refused(f"{key} {value!r}")
    return value


def time_ns(event: dict[str, Any], key: str) -> int:
    digits = len(str(integer(event, key)))
    if digits > 16 or 13 < digits < 16:
        raise Refused("time")
    value = int(event[key]) * (1_000 if digits == 16 else 1_000_000)
    if value >= 1 << 62:
        raise Refused("time")
    return value


def _list(event: dict[str, Any], key: str) -> list[Any]:
    value = event.get(key)
    if not isinstance(value, list):
        raise Refused(key)
    return value


def strict_json(frame: bytes) -> Any:
    """Parse as RFC 8259 says; Refused for anything else."""

    def refuse(text: str) -> NoReturn:
        raise Refused(text)

    try:
        return json.loads(frame.decode("utf-8"), parse_constant=refuse, parse_float=Decimal)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from error
