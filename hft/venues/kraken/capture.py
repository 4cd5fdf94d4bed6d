"""Kraken capture: runs recorded messages of WebSocket v1 or v2 through the feed's kernels, against the venue's own checksums.

found = survey(payloads)                     # once through: symbols, decimals, depths
player = Player(found)
for payload in payloads:                     # and once more
    player.take(payload)                     # or player.connects() where a new connection began
player.report()
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from hft.book import book_at, level_count
from hft.counters import FeedCounter
from hft.records import INSTRUMENT, MARKET, MarketKind, Side
from hft.venues.kraken.feed import DEPTHS, TOLD_PRICE, TOLD_QTY, KrakenFeed, new_feed, on_disconnect, on_frame
from hft.venues.kraken.tables import LEVELS_MAX, FrameKind, ScanCount
from hft.venues.kraken.v1 import new_keys, on_frame_v1
from hft.websocket import Opcode

_DECIMALS_MAX = 18
#: Digits after the point that the venue's pairs have at most: how far a checksum is searched for them.
_WIRE_DECIMALS_MAX = 10
#: Levels a side that a checksum is of.
_CHECKSUM_LEVELS = 10
#: Refused messages shown in full; all are counted.
_SHOWN_MAX = 10
_OUT_RECORDS = 2 * LEVELS_MAX + 8


class CaptureEmpty(ValueError):
    """There are no books or trades of this venue among the messages."""


@dataclass
class Pair:
    """What the survey learned of one symbol."""

    price_decimals: int = 0
    qty_decimals: int = 0
    depth: int = 0  #: as subscribed; 0 if nothing told
    snapshot_levels: int = 0
    counts: dict[str, int] = field(default_factory=lambda: {"book_updates": 0, "snapshots": 0, "trades": 0, "invalid": 0})
    learned: bool = False  #: the decimals are those that a snapshot's checksum was made with

    def see(self, price: Any, size: Any) -> None:
        self.price_decimals = max(self.price_decimals, _decimals(price))
        self.qty_decimals = max(self.qty_decimals, _decimals(size))

    def depth_or_least(self) -> int:
        """The depth subscribed, or the least of the venue's that holds the snapshot."""
        return self.depth if self.depth in DEPTHS else next((depth for depth in DEPTHS if depth >= self.snapshot_levels), DEPTHS[-1])


class Survey(NamedTuple):
    """A capture's symbols."""

    version: int  #: of the WebSocket protocol, 1 or 2
    pairs: dict[str, Pair]
    messages: int


def survey(payloads: Iterable[bytes]) -> Survey:
    """Read messages through. Raises CaptureEmpty if there is no Kraken market data among them."""
    pairs: dict[str, Pair] = {}
    precisions: dict[str, tuple[int, int]] = {}
    messages, versions = 0, [0, 0, 0]
    for payload in payloads:
        messages += 1
        try:
            message = json.loads(payload, parse_float=Decimal)
        except (ValueError, RecursionError):
            continue
        if isinstance(message, list):
            versions[1] += _see_v1(pairs, message)
        elif isinstance(message, dict):
            versions[2] += _see_v2(pairs, precisions, message)
    if not pairs:
        raise CaptureEmpty(f"no Kraken market data among {messages} messages: expected book or trade of WebSocket v1 or v2")
    for symbol, (price_decimals, qty_decimals) in precisions.items():
        if symbol in pairs and not pairs[symbol].learned:
            pair = pairs[symbol]
            pair.price_decimals = max(pair.price_decimals, price_decimals)
            pair.qty_decimals = max(pair.qty_decimals, qty_decimals)
    return Survey(1 if versions[1] > versions[2] else 2, pairs, messages)


def _see_v2(pairs: dict[str, Pair], precisions: dict[str, tuple[int, int]], message: dict[str, Any]) -> int:
    result, entries = message.get("result"), message.get("data")
    if message.get("method") == "subscribe" and isinstance(result, dict) and result.get("channel") == "book":
        if message.get("success") is True and isinstance(result.get("symbol"), str) and isinstance(result.get("depth"), int):
            _pair(pairs, result["symbol"]).depth = result["depth"]
        return 0
    if message.get("channel") == "instrument":
        _see_precisions(precisions, entries)
        return 0
    if message.get("channel") not in ("book", "trade") or not isinstance(entries, list):
        return 0
    seen = 0
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("symbol"), str):
            continue
        seen += 1
        pair = _pair(pairs, entry["symbol"])
        if message["channel"] == "trade":
            pair.see(entry.get("price"), entry.get("qty"))
            continue
        for side in ("bids", "asks"):
            levels = [level for level in entry.get(side) or () if isinstance(level, dict)]
            if message.get("type") == "snapshot":
                pair.snapshot_levels = max(pair.snapshot_levels, len(levels))
            for level in levels:
                pair.see(level.get("price"), level.get("qty"))
        if message.get("type") == "snapshot" and not pair.learned:
            _learn(pair, entry)
    return seen


def _see_precisions(precisions: dict[str, tuple[int, int]], data: Any) -> None:
    """Note the decimals that the venue tells of its pairs."""
    for row in data.get("pairs") or () if isinstance(data, dict) else ():
        price, qty = (row.get("price_precision"), row.get("qty_precision")) if isinstance(row, dict) else (None, None)
        if isinstance(price, int) and isinstance(qty, int) and 0 <= price <= _DECIMALS_MAX and 0 <= qty <= _DECIMALS_MAX:
            precisions[str(row.get("symbol"))] = price, qty


def _learn(pair: Pair, entry: dict[str, Any]) -> None:
    """Find the decimals that a snapshot's checksum was made with: a recorder may have written fewer than the venue did."""
    sides = [
        [(level.get("price"), level.get("qty")) for level in entry.get(side) or () if isinstance(level, dict)] for side in ("asks", "bids")
    ]
    if not all(isinstance(value, Decimal | int) for levels in sides for level in levels for value in level):
        return
    for price_decimals in range(pair.price_decimals, _WIRE_DECIMALS_MAX + 1):
        for qty_decimals in range(pair.qty_decimals, _WIRE_DECIMALS_MAX + 1):
            if _checksum(sides, price_decimals, qty_decimals) == entry.get("checksum"):
                pair.price_decimals, pair.qty_decimals, pair.learned = price_decimals, qty_decimals, True
                return


def _checksum(sides: list[list[tuple[Any, Any]]], price_decimals: int, qty_decimals: int) -> int:
    asks, bids = sorted(sides[0])[:_CHECKSUM_LEVELS], sorted(sides[1], reverse=True)[:_CHECKSUM_LEVELS]
    text = "".join(f"{int(price * 10**price_decimals)}{int(qty * 10**qty_decimals)}" for price, qty in asks + bids)
    return zlib.crc32(text.encode())


def _see_v1(pairs: dict[str, Pair], message: list[Any]) -> int:
    if len(message) < 4 or not isinstance(message[-1], str) or not isinstance(message[-2], str):
        return 0
    if message[-2] == "trade":
        # Counted here: kernels read the books of this protocol only.
        _pair(pairs, message[-1]).counts["trades"] += len(message[1]) if isinstance(message[1], list) else 0
        return 1
    if not message[-2].startswith("book-"):
        return 0
    pair = _pair(pairs, message[-1])
    pair.depth = int(message[-2][5:]) if message[-2][5:].isdigit() else 0
    for sides in message[1:-2]:
        for levels in sides.values() if isinstance(sides, dict) else ():
            for level in levels if isinstance(levels, list) else ():
                if isinstance(level, list) and len(level) > 2 and all(isinstance(text, str) for text in level[:2]):
                    pair.see(_decimal(level[0]), _decimal(level[1]))
    return 1


def _pair(pairs: dict[str, Pair], symbol: str) -> Pair:
    return pairs.setdefault(symbol, Pair()) if 0 < len(symbol.encode()) <= 64 else Pair()


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except ArithmeticError:
        return None


def _decimals(value: Any) -> int:
    """Digits after the point of a number as written; 0 for what is no number, which the scanner will refuse."""
    exponent = value.as_tuple().exponent if isinstance(value, Decimal) else 0
    return min(-exponent, _DECIMALS_MAX) if isinstance(exponent, int) and exponent < 0 else 0


class Player:
    """Plays messages through one feed a depth, since a feed has one."""

    def __init__(self, found: Survey) -> None:
        self.survey = found
        self.symbols = sorted(found.pairs)
        self.refused: list[dict[str, Any]] = []
        self.counts = {"messages": 0, "refused": 0, "book_updates": 0, "snapshots": 0}
        self.counters = np.zeros(64, np.int64)
        self._keys = new_keys()
        table = np.zeros(len(self.symbols), INSTRUMENT)
        table["tick_units"] = table["lot_units"] = 1
        table["price_decimals"] = [found.pairs[symbol].price_decimals for symbol in self.symbols]
        table["qty_decimals"] = [found.pairs[symbol].qty_decimals for symbol in self.symbols]
        by_depth: dict[int, list[int]] = {}
        for row, symbol in enumerate(self.symbols):
            by_depth.setdefault(found.pairs[symbol].depth_or_least(), []).append(row)
        self.feeds: list[KrakenFeed] = [
            new_feed(table, [self.symbols[row] for row in rows], rows, depth, 0, self.counters, depth) for depth, rows in by_depth.items()
        ]
        for feed in self.feeds:
            for row in (row for row in feed.rows if found.pairs[self.symbols[row]].learned):
                feed.state[row, TOLD_PRICE] = table[row]["price_decimals"]
                feed.state[row, TOLD_QTY] = table[row]["qty_decimals"]
        self.out = np.zeros(_OUT_RECORDS, MARKET)
        self._data = np.zeros(1 << 20, np.uint8)

    def take(self, payload: bytes) -> bool:
        """Play one message; False if it was refused as malformed."""
        self.counts["messages"] += 1
        if len(payload) > len(self._data):
            self._data = np.zeros(2 * len(payload), np.uint8)
        self._data[: len(payload)] = np.frombuffer(payload, np.uint8)
        refused = False
        for feed in self.feeds:
            before = int(self.counters[FeedCounter.MALFORMED])
            if self.survey.version == 1:
                n = int(on_frame_v1(feed, self._keys, self._data, 0, len(payload), 1, self.out))
                refused = refused or n < 0
            else:
                n = int(on_frame(feed, self._data, 0, len(payload), int(Opcode.TEXT), 1, self.out))
                refused = refused or self.counters[FeedCounter.MALFORMED] > before
            if n > 0:
                self._count(n)
        if refused:
            self.counts["refused"] += 1
            if len(self.refused) < _SHOWN_MAX:
                shown = payload[:80].decode("utf-8", "backslashreplace")
                self.refused.append({"message": self.counts["messages"], "reason": "malformed", "found": shown})
        return not refused

    def _count(self, n: int) -> None:
        first, last = self.out[0], self.out[n - 1]
        pair = self.survey.pairs[self.symbols[int(last["instrument"])]]
        if last["kind"] == MarketKind.TRADE:
            pair.counts["trades"] += n
        elif last["kind"] == MarketKind.INVALID:
            pair.counts["invalid"] += 1
        else:
            name = "snapshots" if first["kind"] == MarketKind.RESET else "book_updates"
            self.counts[name] += 1
            pair.counts[name] += 1

    def connects(self) -> None:
        """A new connection began here: no book is valid until its snapshot."""
        for feed in self.feeds:
            while on_disconnect(feed, 0, self.out):
                pass

    def report(self) -> dict[str, Any]:
        """What was played and compared. An update of a book that is invalid is compared with nothing: it is `unverified`."""
        good, bad = int(self.counters[FeedCounter.CHECKSUM_OK]), int(self.counters[FeedCounter.CHECKSUM_BAD])
        return {
            **self.counts,
            "trades": sum(pair.counts["trades"] for pair in self.survey.pairs.values()),
            "compared": good + bad,
            "equal": good,
            "gaps": int(self.counters[FeedCounter.GAPS]),
            "crossed": int(self.counters[FeedCounter.CROSSED]),
            "checksum_ok": good,
            "checksum_bad": bad,
            "heartbeats": int(self.counters[FeedCounter.HEARTBEATS]),
            "unknown_symbol": sum(int(feed.scanner.counts[ScanCount.UNKNOWN_SYMBOL]) for feed in self.feeds[:1]),
            "first_refused": self.refused,
            "symbols": {symbol: self._symbol(row, symbol) for row, symbol in enumerate(self.symbols)},
        }

    def _symbol(self, row: int, symbol: str) -> dict[str, Any]:
        pair = self.survey.pairs[symbol]
        feed = next(feed for feed in self.feeds if row in feed.rows)
        book = book_at(feed.books, row)
        return {
            **pair.counts,
            "depth": pair.depth_or_least(),
            "price_decimals": pair.price_decimals,
            "qty_decimals": pair.qty_decimals,
            "bids": int(level_count(book, Side.BUY)),
            "asks": int(level_count(book, Side.SELL)),
        }


def is_malformed(kind: int) -> bool:
    """Whether a FrameKind says that a message was refused."""
    return kind in (FrameKind.MALFORMED, FrameKind.NO_ROOM)
