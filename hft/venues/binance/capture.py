"""Binance capture: runs recorded messages through the feed's kernels, against the venue's own best prices.

found = survey(messages)                     # once through: symbols, decimals, whose snapshot is whose
player = Player(found)
for message in messages:                     # and once more
    player.take(message)                     # or player.connects() where a new connection began
player.report()

The oracle: after a diff with last id `u` is applied, best bid and ask, price and size, equal the newest `bookTicker` whose id is at
most `u`. Of SBE, whose `bestBidAsk` leaves out what newer prices made obsolete, only a best price of the very id `u` is compared.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from hft.book import book_at, level_count
from hft.counters import FeedCounter
from hft.records import INSTRUMENT, MARKET, MarketKind, Side
from hft.venues.binance import feed as json_kernels
from hft.venues.binance import sbe_feed as sbe_kernels
from hft.venues.binance.capture_sbe import read_sbe
from hft.venues.binance.scan import ScanCount
from hft.websocket import Opcode

#: Levels a side that a capture's book may have.
LEVELS_MAX = 20_000

#: Problems shown in full; all are counted.
SHOWN_MAX = 10

_DECIMALS_MAX = 18

_BEST = np.dtype([("id", "<i8"), ("bid", "<i8"), ("bid_lots", "<i8"), ("ask", "<i8"), ("ask_lots", "<i8"), ("line", "<i8")])


class CaptureEmpty(ValueError):
    """There is no market data of this venue among the messages."""


class Message(NamedTuple):
    """One recorded message."""

    payload: bytes
    symbol: str = ""  #: whose REST snapshot it is, if that was recorded
    binary: bool = False
    line: int = 0  #: of the capture's file, for whoever looks for it


class _Event(msgspec.Struct):
    """What the survey wants of a message; types as loose as they may be."""

    s: Any = None
    U: Any = None
    u: Any = None
    b: Any = None
    a: Any = None
    B: Any = None
    A: Any = None
    p: Any = None
    q: Any = None


class _Text(_Event):
    stream: Any = None
    data: _Event | None = None
    lastUpdateId: Any = None
    bids: Any = None
    asks: Any = None


_decode = msgspec.json.Decoder(_Text).decode


class Pair:
    """What the survey learned of one symbol."""

    def __init__(self) -> None:
        self.price_decimals = 0
        self.qty_decimals = 0
        self.first_id = 0
        self.last_id = 0

    def see(self, price: Any, size: Any) -> None:
        self.price_decimals = max(self.price_decimals, _decimals(price))
        self.qty_decimals = max(self.qty_decimals, _decimals(size))

    def see_levels(self, levels: Any) -> None:
        for level in levels if isinstance(levels, list) else ():
            if isinstance(level, list) and len(level) == 2:
                self.see(level[0], level[1])

    def see_ids(self, first: int, last: int) -> None:
        self.first_id = self.first_id or first
        self.last_id = last


class Survey(NamedTuple):
    """A capture's symbols, and which snapshot belongs to which."""

    pairs: dict[str, Pair]
    snapshots: dict[int, str]  #: place of a snapshot among the messages, from 1 -> symbol, "" if it fits none or several
    messages: int
    binary: bool  #: market data is in SBE


def _decimals(text: Any) -> int:
    """Digits after the point that a number needs; 0 for what is no number, which the decoder will refuse."""
    whole, _, fraction = text.partition(".") if isinstance(text, str) else ("", "", "")
    return min(len(fraction.rstrip("0")), _DECIMALS_MAX) if (whole + fraction).isdigit() else 0


def survey(messages: Iterable[Message]) -> Survey:
    """Read messages through. Raises CaptureEmpty if there is no Binance market data among them."""
    pairs: dict[str, Pair] = {}
    found: list[tuple[int, str, _Text]] = []
    place, binary = 0, False
    for place, message in enumerate(messages, 1):
        if message.binary:
            binary = _see_sbe(pairs, message.payload) or binary
            continue
        try:
            text = _decode(message.payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if isinstance(text.lastUpdateId, int):
            found.append((place, message.symbol, text))
        else:
            _see_event(pairs, text.data or text)
    if not pairs:
        raise CaptureEmpty(f"no Binance market data among {place} messages: expected depthUpdate, bookTicker or trade")
    snapshots = {}
    for at, told, text in found:
        symbol = snapshots[at] = told if told in pairs else _owner(pairs, text.lastUpdateId)
        if symbol:
            pairs[symbol].see_levels(text.bids)
            pairs[symbol].see_levels(text.asks)
    return Survey(pairs, snapshots, place, binary)


def _see_sbe(pairs: dict[str, Pair], payload: bytes) -> bool:
    told = read_sbe(payload)
    if told is None:
        return False
    pair = pairs.setdefault(told.symbol, Pair())
    pair.price_decimals = max(pair.price_decimals, told.price_decimals)
    pair.qty_decimals = max(pair.qty_decimals, told.qty_decimals)
    if told.last_id:
        pair.see_ids(told.first_id, told.last_id)
    return True


def _see_event(pairs: dict[str, Pair], event: _Event) -> None:
    if not isinstance(event.s, str) or not 0 < len(event.s.encode()) <= 64:
        return
    pair = pairs.setdefault(event.s, Pair())
    if isinstance(event.U, int) and isinstance(event.u, int):
        pair.see_ids(event.U, event.u)
        pair.see_levels(event.b)
        pair.see_levels(event.a)
    else:
        pair.see(event.b, event.B)
        pair.see(event.a, event.A)
        pair.see(event.p, event.q)


def _owner(pairs: dict[str, Pair], update_id: int) -> str:
    """Whose snapshot it is: it carries no symbol, only an id. Empty if more than one would fit."""
    with_book = [symbol for symbol, pair in pairs.items() if pair.last_id]
    fits = [symbol for symbol in with_book if pairs[symbol].first_id <= update_id + 1 and update_id <= pairs[symbol].last_id]
    return with_book[0] if len(with_book) == 1 else fits[0] if len(fits) == 1 else ""


class Player:
    """Plays messages through one feed and collects what the oracle needs."""

    def __init__(self, found: Survey) -> None:
        self.survey = found
        self.symbols = sorted(found.pairs)
        table = np.zeros(len(self.symbols), INSTRUMENT)
        table["tick_units"] = table["lot_units"] = 1
        table["price_decimals"] = [found.pairs[symbol].price_decimals for symbol in self.symbols]
        table["qty_decimals"] = [found.pairs[symbol].qty_decimals for symbol in self.symbols]
        rows = range(len(self.symbols))
        self.counters = np.zeros(64, np.int64)
        self._kernels: Any = sbe_kernels if found.binary else json_kernels
        make = sbe_kernels.new_sbe_feed if found.binary else json_kernels.new_feed
        self.feed: Any = make(table, self.symbols, rows, LEVELS_MAX, 0, self.counters)
        self.out = np.zeros(2 * LEVELS_MAX + 8, MARKET)
        self.data = np.zeros(1 << 20, np.uint8)
        self.tops: list[list[tuple[int, ...]]] = [[] for _ in rows]
        self.quotes: list[list[tuple[int, ...]]] = [[] for _ in rows]
        self.refused: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()
        #: (row, update id) of the book that the newest message moved, or None
        self.moved: tuple[int, int] | None = None

    def take(self, message: Message) -> bool:
        """Play one message; False if it was refused."""
        self.counts["messages"] += 1
        refused_before = self.counts["refused"]
        n = self._run(message)
        self.moved = None
        if n > 0:
            last = self.out[n - 1]
            row = int(last["instrument"])
            best = tuple(int(last[field]) for field in ("venue_id", "price_ticks", "qty_lots", "ask_ticks", "ask_lots"))
            if last["kind"] == MarketKind.TOP:
                self.tops[row].append((*best, message.line))
                self.moved = row, best[0]
            elif last["kind"] == MarketKind.QUOTE:
                self.quotes[row].append((*best, message.line))
        return self.counts["refused"] == refused_before

    def connects(self) -> None:
        """A new connection began here: no book is valid until its snapshot."""
        while self._kernels.on_disconnect(self.feed, 0, self.out):
            pass

    def _run(self, message: Message) -> int:
        payload, size = message.payload, len(message.payload)
        if size > len(self.data):
            self.data = np.zeros(2 * size, np.uint8)
        self.data[:size] = np.frombuffer(payload, np.uint8)
        symbol = self.survey.snapshots.get(self.counts["messages"])
        before = int(self.counters[FeedCounter.MALFORMED])
        if symbol is None:
            opcode = Opcode.BINARY if message.binary else Opcode.TEXT
            n = int(self._kernels.on_frame(self.feed, self.data, 0, size, int(opcode), 1, self.out))
        elif symbol:
            self.counts["snapshots"] += 1
            n = int(self._kernels.on_snapshot(self.feed, self.symbols.index(symbol), self.data, 0, size, 1, self.out))
        else:
            n = 0
            self._refuse(payload, "a snapshot that fits none or several of the symbols")
        if self.counters[FeedCounter.MALFORMED] > before:
            self._refuse(payload, "malformed")
        return n

    def _refuse(self, payload: bytes, reason: str) -> None:
        self.counts["refused"] += 1
        if len(self.refused) < SHOWN_MAX:
            shown = payload[:80].decode("utf-8", "backslashreplace")
            self.refused.append({"message": self.counts["messages"], "reason": reason, "found": shown})

    def report(self) -> dict[str, Any]:
        """What was played and compared."""
        symbols: dict[str, Any] = {}
        differing: list[dict[str, Any]] = []
        for row, symbol in enumerate(self.symbols):
            compared, equal, different = self._compare(row)
            symbols[symbol] = self._symbol(row) | {"compared": compared, "equal": equal}
            differing += different
        scanner = self.feed.sbe if self.survey.binary else self.feed.scanner
        return {
            "messages": self.counts["messages"],
            "book_updates": sum(len(tops) for tops in self.tops),
            "compared": sum(row["compared"] for row in symbols.values()),
            "equal": sum(row["equal"] for row in symbols.values()),
            "gaps": int(self.counters[FeedCounter.GAPS]),
            "crossed": int(self.counters[FeedCounter.CROSSED]),
            "checksum_ok": 0,
            "checksum_bad": 0,
            "refused": self.counts["refused"],
            "snapshots": self.counts["snapshots"],
            "trades": int(scanner.counts[ScanCount.TRADE]),
            "quotes": int(scanner.counts[ScanCount.QUOTE]),
            "diffs": int(scanner.counts[ScanCount.DEPTH]),
            "ignored": sum(int(self.feed.scanner.counts[count]) for count in (ScanCount.OTHER, ScanCount.REPLY, ScanCount.REPLY_ERROR)),
            "first_refused": self.refused,
            "first_differing": differing[:SHOWN_MAX],
            "symbols": symbols,
        }

    def _compare(self, row: int) -> tuple[int, int, list[dict[str, Any]]]:
        """(compared, equal, what differed) of one instrument."""
        tops, quotes = np.array(self.tops[row], _BEST), np.array(self.quotes[row], _BEST)
        quotes = quotes[np.argsort(quotes["id"], kind="stable")]
        newest = np.searchsorted(quotes["id"], tops["id"], side="right") - 1
        known = newest >= 0
        if self.survey.binary and len(quotes):
            known &= quotes["id"][newest] == tops["id"]
        tops, quotes = tops[known], quotes[newest[known]]
        same: NDArray[np.bool_] = np.ones(len(tops), np.bool_)
        for field in ("bid", "bid_lots", "ask", "ask_lots"):
            same &= tops[field] == quotes[field]
        differing = []
        for top, quote in zip(tops[~same], quotes[~same], strict=True):
            record = {"symbol": self.symbols[row], "line": int(top["line"]), "update_id": int(top["id"])}
            differing.append(record | {"book": top.tolist()[1:5], "bookTicker": quote.tolist()[:5]})
        return len(tops), int(same.sum()), differing

    def _symbol(self, row: int) -> dict[str, Any]:
        pair, book = self.survey.pairs[self.symbols[row]], book_at(self.feed.books, row)
        return {
            "book_updates": len(self.tops[row]),
            "price_decimals": pair.price_decimals,
            "qty_decimals": pair.qty_decimals,
            "bids": int(level_count(book, Side.BUY)),
            "asks": int(level_count(book, Side.SELL)),
        }
