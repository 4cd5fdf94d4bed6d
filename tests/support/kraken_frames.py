"""Kraken frames: what the scanner should find in one, by strict `json` and exact fractions; and messages to try it on."""

from __future__ import annotations

import json
import re
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from hft.records import INSTRUMENT, MARKET, MarketFlag
from hft.venues.kraken import tables as t
from hft.venues.kraken.scan import FrameKind, Scanner, scan
from hft.venues.kraken.tables import Found, PairStatus

SNAPSHOT = (
    b'{"channel":"book","type":"snapshot","data":[{"symbol":"BTC/USD","bids":[{"price":78871.5,"qty":0.01266503},'
    b'{"price":78868.4,"qty":0.00005100}],"asks":[{"price":78871.6,"qty":4.21103066}],"checksum":1406471562,'
    b'"timestamp":"2026-08-24T22:21:57.110183Z"}]}'
)
UPDATE = (
    b'{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":78858.8,"qty":0.00000000},'
    b'{"price":78857.0,"qty":0.34775324}],"asks":[],"checksum":2416540570,"timestamp":"2026-08-24T22:21:58.343688Z"}]}'
)
TRADE = (
    b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"sell","price":78871.5,"qty":0.00200000,'
    b'"ord_type":"market","trade_id":4665906,"timestamp":"2026-08-24T22:21:58.708706Z"},{"symbol":"BTC/USD","side":"buy",'
    b'"price":78871.6,"qty":1.5,"ord_type":"limit","trade_id":4665907,"timestamp":"2026-08-24T22:21:58.708707Z"}]}'
)
HEARTBEAT = b'{"channel":"heartbeat"}'
STATUS = (
    b'{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online","api_version":"v2",'
    b'"connection_id":15113583034416118705}]}'
)
INSTRUMENTS = (
    b'{"channel":"instrument","type":"snapshot","data":{"assets":[{"id":"USD","status":"enabled","margin_rate":0.025000}],"pairs":['
    b'{"symbol":"BTC/USD","base":"BTC","quote":"USD","status":"online","qty_precision":8,"qty_increment":1e-08,"price_precision":1,'
    b'"cost_precision":5,"marginable":true,"has_index":true,"cost_min":0.50,"tick_size":0.1,"price_increment":0.1,"qty_min":0.00010000}]}}'
)
TAKEN = (
    b'{"method":"subscribe","result":{"channel":"book","depth":10,"snapshot":true,"symbol":"BTC/USD"},"success":true,'
    b'"time_in":"2026-08-24T22:21:56.724795Z","time_out":"2026-08-24T22:21:56.724853Z"}'
)
REFUSED = (
    b'{"error":"Subscription depth not supported","method":"subscribe","success":false,"symbol":"BTC/USD",'
    b'"time_in":"2026-08-24T22:21:56.724795Z","time_out":"2026-08-24T22:21:56.724853Z","req_id":3}'
)
PONG = b'{"method":"pong","req_id":101,"time_in":"2026-08-24T22:21:56.724795Z","time_out":"2026-08-24T22:21:56.724853Z"}'

ALL = (SNAPSHOT, UPDATE, TRADE, HEARTBEAT, STATUS, INSTRUMENTS, TAKEN, REFUSED, PONG)

_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)", re.ASCII)
_NUMBER = re.compile(r"(0|[1-9][0-9]*)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)


class Refused(Exception):
    """The strict reading found something that is not as documented."""


def instruments(tick_units: int = 1, lot_units: int = 1, price_decimals: int = 1, qty_decimals: int = 8, rows: int = 1) -> NDArray[Any]:
    """INSTRUMENT rows that differ in nothing."""
    table = np.zeros(rows, INSTRUMENT)
    table["tick_units"], table["lot_units"] = tick_units, lot_units
    table["price_decimals"], table["qty_decimals"] = price_decimals, qty_decimals
    return table


def scanned(scanner: Scanner, frame: bytes, trades_max: int = 256) -> dict[str, Any]:
    """What the scanner makes of a message, in the form of `expected`. The message's neighbours in the buffer are digits and quotes."""
    data = np.frombuffer(b'1"9' + frame + b'"77', np.uint8).copy()
    out = np.zeros(trades_max, MARKET)
    kind = FrameKind(scan(scanner, data, 3, 3 + len(frame), 7, out))
    return summary(scanner, kind, out)


def summary(scanner: Scanner, kind: FrameKind, out: NDArray[Any]) -> dict[str, Any]:
    found = {name: int(scanner.found[name]) for name in Found}
    result: dict[str, Any] = {"kind": kind}
    if kind in (FrameKind.BOOK_SNAPSHOT, FrameKind.BOOK_UPDATE):
        result |= {"row": found[Found.INSTRUMENT], "checksum": found[Found.CHECKSUM], "exchange_ns": found[Found.EXCHANGE_NS]}
        result["levels"] = [tuple(level) for level in scanner.levels[: found[Found.RECORDS]].tolist()]
    elif kind == FrameKind.TRADE:
        records = out[: found[Found.RECORDS]]
        assert (records["flags"] & MarketFlag.LAST != 0).tolist() == [False] * (len(records) - 1) + [True]
        fields = ("instrument", "venue_id", "price_ticks", "qty_lots", "exchange_ns")
        result["trades"] = [(*(int(r[f]) for f in fields), bool(r["flags"] & MarketFlag.BID)) for r in records]
    elif kind == FrameKind.INSTRUMENT:
        result["told"] = scanner.told.tolist()
    elif kind == FrameKind.STATUS:
        result["system"] = found[Found.SYSTEM]
    elif kind in (FrameKind.SUBSCRIBED, FrameKind.REFUSED):
        result["row"] = found[Found.INSTRUMENT]
    return result


def expected(frame: bytes, table: NDArray[Any], symbols: list[str]) -> dict[str, Any]:
    """The naive reading of a message; raises Refused for what must not be used."""
    message = strict_json(frame)
    if not isinstance(message, dict):
        raise Refused("no object")
    if "method" in message:
        return _reply(message, symbols)
    channel, what, data = message.get("channel"), message.get("type"), message.get("data")
    if channel == "heartbeat":
        return {"kind": FrameKind.HEARTBEAT}
    if what not in ("snapshot", "update") or channel not in ("book", "trade", "instrument", "status") or "data" not in message:
        if what in ("snapshot", "update") and (channel in ("book", "instrument", "status") or (channel == "trade" and what == "update")):
            raise Refused("no data")
        return {"kind": FrameKind.OTHER}
    if channel == "book":
        kind = FrameKind.BOOK_SNAPSHOT if what == "snapshot" else FrameKind.BOOK_UPDATE
        if not isinstance(data, list) or len(data) != 1:
            raise Refused("one book a message")
        return _book(object_of(data[0]), kind, table, symbols)
    if channel == "trade":
        return _trades(list_of(data), table, symbols) if what == "update" else {"kind": FrameKind.OTHER}
    if channel == "instrument":
        return _instruments(object_of(data), symbols)
    system = 0
    for entry in list_of(data):
        system = _word(object_of(entry).get("system")) if "system" in entry else int(PairStatus.OTHER)
    return {"kind": FrameKind.STATUS, "system": system}


def _reply(message: dict[str, Any], symbols: list[str]) -> dict[str, Any]:
    if message["method"] != "subscribe":
        return {"kind": FrameKind.REPLY}
    if not isinstance(message.get("success"), bool):
        raise Refused("success")
    result = message.get("result")
    symbol = message["symbol"] if "symbol" in message else result.get("symbol") if isinstance(result, dict) else None
    row = symbols.index(symbol) if isinstance(symbol, str) and symbol in symbols else -1
    return {"kind": FrameKind.SUBSCRIBED if message["success"] else FrameKind.REFUSED, "row": row}


def _book(book: dict[str, Any], kind: FrameKind, table: NDArray[Any], symbols: list[str]) -> dict[str, Any]:
    symbol, checksum = text_of(book.get("symbol")), integer_of(book.get("checksum"))
    if checksum >= 1 << 32:
        raise Refused("checksum")
    exchange_ns = time_ns(book["timestamp"]) if "timestamp" in book else 0
    if symbol not in symbols:
        return {"kind": FrameKind.UNKNOWN_SYMBOL}
    row = symbols.index(symbol)
    levels = []
    # In the order of the message, which a dict keeps.
    for name in (name for name in book if name in ("bids", "asks")):
        for level in list_of(book[name]):
            price, price_decimals = number_of(object_of(level).get("price"))
            qty, qty_decimals = number_of(level.get("qty"))
            ticks, lots = ticks_of(price, price_decimals, table[row]), lots_of(qty, qty_decimals, table[row])
            levels.append((1 if name == "bids" else -1, ticks, lots, price, price_decimals, qty, qty_decimals))
    if list(book).index("symbol") > min([list(book).index(name) for name in ("bids", "asks") if name in book], default=99):
        # Read after the symbol is known: what came before it is read last, bids first.
        late = [name for name in ("bids", "asks") if name in book and list(book).index(name) < list(book).index("symbol")]
        signs = [1 if name == "bids" else -1 for name in late]
        levels = [level for level in levels if level[0] not in signs] + sorted((lv for lv in levels if lv[0] in signs), key=lambda v: -v[0])
    return {"kind": kind, "row": row, "checksum": checksum, "exchange_ns": exchange_ns, "levels": levels}


def _trades(entries: list[Any], table: NDArray[Any], symbols: list[str]) -> dict[str, Any]:
    trades: list[tuple[int, int, int, int, int, bool]] = []
    for entry in entries:
        entry = object_of(entry)
        symbol = text_of(entry.get("symbol"))
        price, price_decimals = number_of(entry.get("price"))
        qty, qty_decimals = number_of(entry.get("qty"))
        trade_id, moment = integer_of(entry.get("trade_id")), time_ns(entry.get("timestamp"))
        if price == 0 or qty == 0 or entry.get("side") not in ("buy", "sell"):
            raise Refused("trade")
        if symbol not in symbols or (trades and trades[0][0] != symbols.index(symbol)):
            continue
        row = symbols.index(symbol)
        ticks, lots = ticks_of(price, price_decimals, table[row]), lots_of(qty, qty_decimals, table[row])
        trades.append((row, trade_id, ticks, lots, moment, entry["side"] == "buy"))
    return {"kind": FrameKind.TRADE, "trades": trades} if trades else {"kind": FrameKind.UNKNOWN_SYMBOL}


def _instruments(data: dict[str, Any], symbols: list[str]) -> dict[str, Any]:
    told = [[0, 0, 0, 0] for _ in symbols]
    for pair in list_of(data["pairs"]) if "pairs" in data else []:
        pair = object_of(pair)
        symbol, status = text_of(pair.get("symbol")), text_of(pair.get("status"))
        decimals = [integer_of(pair.get(name)) for name in ("price_precision", "qty_precision")]
        if max(decimals) > 18:
            raise Refused("precision")
        if symbol in symbols:
            told[symbols.index(symbol)] = [1, _word(status), *decimals]
    return {"kind": FrameKind.INSTRUMENT, "told": told}


def _word(text: Any) -> int:
    names = {status.name.lower(): int(status) for status in PairStatus if status is not PairStatus.UNKNOWN}
    return names.get(text_of(text), int(PairStatus.OTHER))


def ticks_of(digits: int, decimals: int, scale: Any) -> int:
    ticks = Fraction(digits, 10**decimals) * 10 ** int(scale["price_decimals"]) / int(scale["tick_units"])
    if ticks != int(ticks) or ticks <= 0:
        raise Refused("off tick")
    return int(ticks)


def lots_of(digits: int, decimals: int, scale: Any) -> int:
    lots = Fraction(digits, 10**decimals) * 10 ** int(scale["qty_decimals"]) / int(scale["lot_units"])
    return max(int(lots), 1 if lots > 0 else 0)


def number_of(value: Any) -> tuple[int, int]:
    """(digits, decimals) of a number as written."""
    match = _NUMBER.fullmatch(value.text) if isinstance(value, Number) else None
    if match is None:
        raise Refused(f"number {value!r}")
    digits, decimals = int(match[1] + (match[2] or "")), len(match[2] or "") - int(match[3] or 0)
    if decimals > 18 or digits >= 1 << 62:
        raise Refused("digits")
    if decimals < 0:
        digits, decimals = digits * 10**-decimals, 0
    if digits >= 1 << 62:
        raise Refused("digits")
    return digits, decimals


def integer_of(value: Any) -> int:
    if not isinstance(value, Number) or not re.fullmatch(r"0|[1-9][0-9]{0,17}", value.text, re.ASCII):
        raise Refused(f"integer {value!r}")
    return int(value.text)


def time_ns(value: Any) -> int:
    match = _TIME.fullmatch(value) if isinstance(value, str) else None
    try:
        moment = datetime(*(int(match[i]) for i in range(1, 7)), tzinfo=UTC) if match else None  # type: ignore[arg-type,misc]
    except ValueError:
        moment = None
    if match is None or moment is None or not 1970 <= moment.year <= 2099:
        raise Refused(f"time {value!r}")
    return int((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 10**9 + int((match[7] or "").ljust(9, "0"))


def object_of(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused("object")
    return value


def list_of(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise Refused("list")
    return value


def text_of(value: Any) -> str:
    if not isinstance(value, str):
        raise Refused("text")
    return value


class Number:
    """A JSON number by its text."""

    def __init__(self, text: str) -> None:
        self.text = text


def strict_json(frame: bytes) -> Any:
    """Parse as RFC 8259 says, numbers as their text; Refused for anything else."""

    def refuse(text: str) -> NoReturn:
        raise Refused(text)

    def pairs(members: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in members]
        if len(names) != len(set(names)):
            repeated = {name for name in names if names.count(name) > 1}
            if repeated & set(t.KEYS):
                raise Repeated(repeated)
        return dict(members)

    try:
        return json.loads(frame.decode("utf-8"), parse_constant=refuse, parse_float=Number, parse_int=Number, object_pairs_hook=pairs)
    except (ValueError, RecursionError) as error:
        raise Refused(str(error)) from error


class Repeated(Refused):
    """A known name stands twice in one object; where nothing is read of it, that may pass."""


def book_message(symbol: str, what: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]], checksum: int, second: int = 0) -> bytes:
    """One book message of levels as text."""
    sides = (",".join(f'{{"price":{price},"qty":{qty}}}' for price, qty in side) for side in (bids, asks))
    stamp = f"2026-08-24T22:{second // 60 % 60:02}:{second % 60:02}.345080Z"
    return (
        f'{{"channel":"book","type":"{what}","data":[{{"symbol":"{symbol}","bids":[{next(sides)}],"asks":[{next(sides)}],'
        f'"checksum":{checksum},"timestamp":"{stamp}"}}]}}'
    ).encode()


def checksum_of(bids: dict[Decimal, tuple[str, str]], asks: dict[Decimal, tuple[str, str]]) -> int:
    """The venue's checksum, of sides that map prices to their texts."""
    best = [asks[price] for price in sorted(asks)[:10]] + [bids[price] for price in sorted(bids, reverse=True)[:10]]
    return zlib.crc32("".join(text.replace(".", "").lstrip("0") for level in best for text in level).encode())
