"""SBE market streams of the simulated Binance: the messages of the JSON streams in the venue's binary encoding.

Schema `spot_stream`, id 1 version 0, little endian: a header of block length, template, schema and version, the block, groups, and
the symbol as a string with its length before it. Prices and sizes are mantissas whose exponents are in the block.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from hft.sim.market import BookText, Event, EventKind, Level, SymbolInfo, decode_depth

SCHEMA_ID, SCHEMA_VERSION = 1, 0
TRADES, BEST_BID_ASK, DEPTH_SNAPSHOT, DEPTH_DIFF = 10000, 10001, 10002, 10003
SNAPSHOT_LEVELS = 20
#: What a stream is called here -> in JSON; `depth20` is made of the book.
STREAMS = {"trade": "trade", "bestBidAsk": "bookTicker", "depth": "depth@100ms", "depth20": "depth20"}

_HEADER = struct.Struct("<HHHH")
_TRADES = struct.Struct("<qqbb")
_GROUP32, _GROUP16 = struct.Struct("<HI"), struct.Struct("<HH")
_TRADE = struct.Struct("<qqqB")
_BEST = struct.Struct("<qqbbqqqq")
_SNAPSHOT = struct.Struct("<qqbb")
_DIFF = struct.Struct("<qqqbb")
_LEVEL = struct.Struct("<qq")


class _Trade(msgspec.Struct):
    E: int
    T: int
    t: int
    p: str
    q: str
    m: bool


class _Ticker(msgspec.Struct):
    u: int
    b: str
    B: str
    a: str
    A: str


_decode_trade = msgspec.json.Decoder(_Trade).decode
_decode_ticker = msgspec.json.Decoder(_Ticker).decode


def stream_key(name: str) -> str:
    """Return what an SBE stream is published under: the JSON stream it comes from, marked. Unknown streams never publish."""
    symbol, _, kind = name.partition("@")
    return f"sbe:{symbol}@{STREAMS[kind]}" if kind in STREAMS else f"none:{name}"


class Encoder:
    """Encodes the messages of one pair."""

    def __init__(self, info: SymbolInfo) -> None:
        self._price_places, self._qty_places = _places(info.tick), _places(info.lot)
        symbol = info.symbol.encode()
        self._symbol = bytes([len(symbol)]) + symbol

    def event(self, event: Event, at_us: int) -> bytes | None:
        """Return a market event; one that has no time of its own has `at_us`. None where there is no such stream."""
        if event.kind is EventKind.TRADE:
            trade = _decode_trade(event.body)
            block = _TRADES.pack(_us(trade.E), _us(trade.T), -self._price_places, -self._qty_places)
            row = _TRADE.pack(trade.t, self._price(trade.p), self._qty(trade.q), trade.m)
            return _header(TRADES, _TRADES) + block + _GROUP32.pack(_TRADE.size, 1) + row + self._symbol
        if event.kind is EventKind.TICKER:
            best = _decode_ticker(event.body)
            prices = (self._price(best.b), self._qty(best.B), self._price(best.a), self._qty(best.A))
            return _header(BEST_BID_ASK, _BEST) + _BEST.pack(at_us, best.u, *self._exponents(), *prices) + self._symbol
        if event.kind is EventKind.DEPTH:
            return self.diff(event.body)
        return None

    def diff(self, body: bytes) -> bytes:
        """Return a `depthUpdate`."""
        update = decode_depth(body)
        block = _DIFF.pack(_us(update.E), update.U, update.u, *self._exponents())
        return _header(DEPTH_DIFF, _DIFF) + block + self._levels(update.b) + self._levels(update.a) + self._symbol

    def snapshot(self, book: BookText, at_us: int) -> bytes:
        """Return the best levels of a book."""
        block = _SNAPSHOT.pack(at_us, book.last_update_id, *self._exponents())
        levels = self._levels(book.bids[:SNAPSHOT_LEVELS]) + self._levels(book.asks[:SNAPSHOT_LEVELS])
        return _header(DEPTH_SNAPSHOT, _SNAPSHOT) + block + levels + self._symbol

    def _exponents(self) -> tuple[int, int]:
        return -self._price_places, -self._qty_places

    def _levels(self, levels: Sequence[Level]) -> bytes:
        rows = b"".join([_LEVEL.pack(self._price(price), self._qty(qty)) for price, qty in levels])
        return _GROUP16.pack(_LEVEL.size, len(levels)) + rows

    def _price(self, text: str) -> int:
        return _mantissa(text, self._price_places)

    def _qty(self, text: str) -> int:
        return _mantissa(text, self._qty_places)


def _header(template: int, block: struct.Struct) -> bytes:
    return _HEADER.pack(block.size, template, SCHEMA_ID, SCHEMA_VERSION)


def _mantissa(text: str, places: int) -> int:
    """Return a decimal in units of 10^-places. Raises ValueError when it has more places."""
    whole, _, part = text.partition(".")
    kept, rest = part[:places], part[places:]
    if rest.strip("0"):
        raise ValueError(f"{text} has more than {places} places")
    return int(whole + kept.ljust(places, "0"))


def _places(step: str) -> int:
    """Return how many decimals multiples of a step have."""
    exponent = Decimal(step).normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def _us(stamp: int) -> int:
    """Return a stamp of a JSON message, in ms or us, in us."""
    return stamp * 1000 if stamp < 10**14 else stamp
