"""Coinbase capture: runs recorded messages through the feed's kernels, against what the venue says elsewhere.

found = survey(payloads, replies)            # once through: products, decimals, channels; replies are (product, level 3 snapshot)
player = Player(found)
for payload in payloads:                     # and once more
    player.take(payload)                     # or player.connects() where a new connection began, or player.snapshot(product, reply)
player.report()

The oracle: a `ticker` says the best prices at its time. Once the book moves on past that time, they must be those of a state that the
book had at it: several matches may share a time. A ticker from before the first change, or after the last, is not compared. Messages of
`level2_batch` leave out what the book was in between, so there only a ticker that has the time of a batch is. With the `full` channel
and no snapshot of it, a book is made of the orders that the capture itself opens; it then has fewer levels than the venue's, and tickers
are not compared.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from hft.book import best_ticks, book_at, level_count
from hft.counters import FeedCounter
from hft.decimals import UnitsError, parse_units
from hft.records import INSTRUMENT, MARKET, MarketKind, Side
from hft.venues.book_feed import LAST_ID, SYNCED, WANTS_SYNC
from hft.venues.coinbase.feed import CoinbaseFeed, new_feed, on_disconnect, on_frame, on_snapshot
from hft.venues.coinbase.state import BUFFERED, MISSED_TRADES, STRANGE_MAKERS
from hft.venues.coinbase.tables import CHANGES_MAX, ScanCount
from hft.websocket import Opcode

#: Levels a side that a capture's book may have, of level 2.
LEVELS_MAX = 65_536
#: Orders that a book of the `full` channel may have.
ORDERS_MAX = 1 << 16

_DECIMALS_MAX = 18
#: Refused messages shown in full; all are counted.
_SHOWN_MAX = 10
#: States of a book remembered for the tickers of their time.
_STATES = 256
#: Names of the channel that gathers changes.
BATCHES = ("level2_batch", "level2_50")
_ORDER_TYPES = ("received", "open", "done", "change")
#: Those that move a book of orders; they take matches from the same channel.
_MOVING_ORDERS = ("open", "match", "done", "change")


class CaptureEmpty(ValueError):
    """There is no market data of this venue among the messages."""


@dataclass
class Product:
    """What the survey learned of one product."""

    price_decimals: int = 0
    qty_decimals: int = 0
    orders: bool = False  #: messages of the `full` channel were seen
    counts: dict[str, int] = field(default_factory=lambda: {"book_updates": 0, "snapshots": 0, "trades": 0, "invalid": 0})

    def see(self, price: Any, size: Any) -> None:
        self.price_decimals = max(self.price_decimals, _decimals(price))
        self.qty_decimals = max(self.qty_decimals, _decimals(size))


class Survey(NamedTuple):
    """A capture's products."""

    products: dict[str, Product]
    messages: int
    snapshots: bool = False  #: there are level 3 snapshots among the messages
    batched: bool = False  #: changes of levels come in batches

    @property
    def channel(self) -> str:
        """What the books are made of."""
        return "full" if any(product.orders for product in self.products.values()) else "level2"


def survey(payloads: Iterable[bytes], replies: Iterable[tuple[str, bytes]] = ()) -> Survey:
    """Read messages through. Raises CaptureEmpty if there is no Coinbase market data among them."""
    products: dict[str, Product] = {}
    messages, batched = 0, False
    for payload in payloads:
        messages += 1
        try:
            message = json.loads(payload)
        except (ValueError, RecursionError):
            continue
        if not isinstance(message, dict) or not isinstance(message.get("type"), str):
            continue
        if message["type"] == "subscriptions":
            channels = message.get("channels") or []
            batched |= any(isinstance(channel, dict) and channel.get("name") in BATCHES for channel in channels)
        name = message.get("product_id")
        if isinstance(name, str) and 0 < len(name.encode()) <= 64:
            _see(products.setdefault(name, Product()), message)
    if not products:
        raise CaptureEmpty(f"no Coinbase market data among {messages} messages: expected l2update, match, ticker or order messages")
    snapshots = False
    for name, payload in replies:
        if name in products:
            snapshots = True
            _see(products[name], _document(payload))
    return Survey(products, messages, snapshots, batched)


def _see(product: Product, message: dict[str, Any]) -> None:
    product.orders = product.orders or message.get("type") in _ORDER_TYPES
    if message.get("type") == "ticker":
        return
    product.see(message.get("price"), message.get("size") or message.get("remaining_size"))
    product.see(message.get("new_price"), message.get("new_size"))
    for key, first in (("changes", 1), ("bids", 0), ("asks", 0)):
        levels = message.get(key)
        for level in levels if isinstance(levels, list) else ():
            if isinstance(level, list) and len(level) > first + 1:
                product.see(level[first], level[first + 1])


def _decimals(text: Any) -> int:
    """Digits after the point that a number needs; 0 for what is no number, which the scanner will refuse."""
    whole, _, fraction = text.partition(".") if isinstance(text, str) else ("", "", "")
    return min(len(fraction.rstrip("0")), _DECIMALS_MAX) if (whole + fraction).isdigit() else 0


class Player:
    """Plays messages through one feed."""

    def __init__(self, found: Survey) -> None:
        self.survey = found
        self.symbols = sorted(found.products)
        self.refused: list[dict[str, Any]] = []
        self.counts = dict.fromkeys(("messages", "refused", "book_updates", "snapshots", "trades", "tickers", "compared", "equal"), 0)
        self.sides = dict.fromkeys(("opposite", "same"), 0)
        self.counters = np.zeros(64, np.int64)
        table = np.zeros(len(self.symbols), INSTRUMENT)
        table["tick_units"] = table["lot_units"] = 1
        table["price_decimals"] = [found.products[symbol].price_decimals for symbol in self.symbols]
        table["qty_decimals"] = [found.products[symbol].qty_decimals for symbol in self.symbols]
        rows = range(len(self.symbols))
        self.feed: CoinbaseFeed = new_feed(table, self.symbols, rows, LEVELS_MAX, 0, self.counters, found.channel, ORDERS_MAX)
        self.out = np.zeros(2 * max(LEVELS_MAX, CHANGES_MAX) + 8, MARKET)
        #: Types of messages that move a book of which all levels are known.
        self._moving: tuple[str, ...] = ("l2update",) if found.channel == "level2" else _MOVING_ORDERS if found.snapshots else ()
        self._data = np.zeros(1 << 20, np.uint8)
        self._tickers: dict[str, list[tuple[str, str, str]]] = {symbol: [] for symbol in self.symbols}
        self._states: dict[str, deque[tuple[str, int, int]]] = {symbol: deque(maxlen=_STATES) for symbol in self.symbols}
        self._makers: dict[tuple[str, int], str] = {}
        self._takers: dict[tuple[str, int], str] = {}

    def take(self, payload: bytes) -> bool:
        """Play one message; False if it was refused as malformed."""
        self.counts["messages"] += 1
        message = _document(payload)
        product, time = str(message.get("product_id")), str(message.get("time", ""))
        moves = message.get("type") in self._moving and product in self.survey.products
        if moves:
            self._compare(product, time)
        before = int(self.counters[FeedCounter.MALFORMED])
        data = self._bytes(payload)
        n = int(on_frame(self.feed, data, 0, len(payload), int(Opcode.TEXT), 1, self.out))
        self._count(n)
        if self.counters[FeedCounter.MALFORMED] > before:
            self.counts["refused"] += 1
            if len(self.refused) < _SHOWN_MAX:
                shown = payload[:80].decode("utf-8", "backslashreplace")
                self.refused.append({"message": self.counts["messages"], "reason": "malformed", "found": shown})
            return False
        self._note(message)
        self._begin()
        if moves or message.get("type") == "snapshot":
            self._stand(product, time if moves else "")
        return True

    def snapshot(self, product: str, payload: bytes) -> None:
        """Play a level 3 snapshot that a REST call brought; one that was not wanted changes nothing."""
        if product in self.symbols:
            self._count(int(on_snapshot(self.feed, self.symbols.index(product), self._bytes(payload), 0, len(payload), 1, self.out)))

    def _bytes(self, payload: bytes) -> Any:
        if len(payload) > len(self._data):
            self._data = np.zeros(2 * len(payload), np.uint8)
        self._data[: len(payload)] = np.frombuffer(payload, np.uint8)
        return self._data

    def _begin(self) -> None:
        """Begin the book of each product whose sequence begins here, or again here after a gap, from nothing, if no snapshot comes."""
        for row in range(len(self.symbols)) if self.survey.channel == "full" and not self.survey.snapshots else ():
            if self.feed.state[row, WANTS_SYNC] and self.feed.state[row, BUFFERED]:
                payload = b'{"sequence":%d,"bids":[],"asks":[]}' % (int(self.feed.queued[row, 0, 0]) - 1)
                self._count(int(on_snapshot(self.feed, row, self._bytes(payload), 0, len(payload), 1, self.out)))

    def _note(self, message: dict[str, Any]) -> None:
        """Remember what a later message is compared with."""
        kind, product, trade = message.get("type"), message.get("product_id"), message.get("trade_id")
        if product not in self.survey.products or not isinstance(trade, int):
            return
        if kind == "ticker":
            self.counts["tickers"] += 1
            if all(isinstance(message.get(key), str) for key in ("time", "best_bid", "best_ask")):
                self._tickers[product].append((message["time"], message["best_bid"], message["best_ask"]))
        if kind in ("ticker", "match", "last_match") and isinstance(message.get("side"), str):
            told, other = (self._takers, self._makers) if kind == "ticker" else (self._makers, self._takers)
            if (product, trade) in told:
                return
            told[product, trade] = message["side"]
            if (product, trade) in other:
                self.sides["same" if other[product, trade] == message["side"] else "opposite"] += 1

    def _stand(self, product: Any, time: str) -> None:
        """Remember the best prices after a change; a snapshot begins anew."""
        if product not in self._states:
            return
        row = self.symbols.index(product)
        if not time or self.feed.state[row, SYNCED] == 0:
            self._states[product].clear()
            return
        book = book_at(self.feed.books, row)
        self._states[product].append((time, int(best_ticks(book, Side.BUY)), int(best_ticks(book, Side.SELL))))

    def _compare(self, product: str, time: str) -> None:
        """Compare the tickers before `time` with what the book was then, now that it is about to move past them."""
        waiting, states = self._tickers[product], self._states[product]
        self._tickers[product] = [ticker for ticker in waiting if ticker[0] >= time]
        decimals = self.survey.products[product].price_decimals
        for at, bid, ask in (ticker for ticker in waiting if ticker[0] < time):
            before = [state for state in states if state[0] <= at]
            if not before or self.survey.batched and before[-1][0] != at:
                continue
            try:
                told = (parse_units(bid, decimals), parse_units(ask, decimals))
            except UnitsError:
                told = (-1, -1)
            self.counts["compared"] += 1
            self.counts["equal"] += told in [state[1:] for state in before if state[0] == before[-1][0]]

    def _count(self, n: int) -> None:
        if n <= 0:
            return
        first, last = self.out[0], self.out[n - 1]
        counts = self.survey.products[self.symbols[int(last["instrument"])]].counts
        if first["kind"] == MarketKind.TRADE:
            self.counts["trades"] += 1
            counts["trades"] += 1
        if last["kind"] == MarketKind.INVALID:
            counts["invalid"] += 1
        elif last["kind"] == MarketKind.TOP:
            name = "snapshots" if first["kind"] == MarketKind.RESET else "book_updates"
            self.counts[name] += 1
            counts[name] += 1

    def connects(self) -> None:
        """A new connection began here: no book is valid until its snapshot."""
        while on_disconnect(self.feed, 0, self.out):
            pass
        for product in self.symbols:
            self._tickers[product].clear()
            self._states[product].clear()

    def report(self) -> dict[str, Any]:
        """What was played and compared. `sides` counts trades of which both the maker's and the taker's side were told."""
        scans = self.feed.scanner.counts
        return {
            **self.counts,
            "channel": self.survey.channel,
            "gaps": int(self.counters[FeedCounter.GAPS]),
            "crossed": int(self.counters[FeedCounter.CROSSED]),
            "heartbeats": int(self.counters[FeedCounter.HEARTBEATS]),
            "sides": self.sides,
            "unknown_symbol": int(scans[ScanCount.UNKNOWN_SYMBOL]),
            "off_lot": int(scans[ScanCount.OFF_LOT]),
            "missed_trades": int(self.feed.state[:, MISSED_TRADES].sum()),
            "strange_makers": int(self.feed.state[:, STRANGE_MAKERS].sum()),
            "first_refused": self.refused,
            "symbols": {symbol: self._symbol(row, symbol) for row, symbol in enumerate(self.symbols)},
        }

    def _symbol(self, row: int, symbol: str) -> dict[str, Any]:
        product, book = self.survey.products[symbol], book_at(self.feed.books, row)
        return {
            **product.counts,
            "price_decimals": product.price_decimals,
            "qty_decimals": product.qty_decimals,
            "sequence": int(self.feed.state[row, LAST_ID]),
            "bids": int(level_count(book, Side.BUY)),
            "asks": int(level_count(book, Side.SELL)),
        }


def _document(payload: bytes) -> dict[str, Any]:
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return message if isinstance(message, dict) else {}
