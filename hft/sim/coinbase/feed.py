"""Coinbase's public data: what a market's events become on the public channels, and in public REST.

Every message about an order, and every match, takes the next `sequence` of its product; heartbeats and tickers state the newest one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from hft.sim.coinbase.book import OrderBook, OrderEvent, OrderKind
from hft.sim.coinbase.products import Product
from hft.sim.coinbase.wire import uuid_of
from hft.sim.faults import Channel
from hft.sim.market import BookText, Event, EventKind, decode_depth, decode_ticker, decode_trade
from hft.sim.texts import rfc3339
from hft.sim.tick_book import Change
from hft.sim.trades import Day, Trade

TRADES_KEPT = 1000
FIRST_SEQUENCE = 50_000_000_000
#: Orders of the market are numbered from here, far above those of accounts.
FIRST_NUMBER = 1 << 60
#: How long changes are gathered for `level2_batch`.
BATCH_NS = 50_000_000
SIDES = {1: "buy", -1: "sell"}

#: A key under which sessions subscribe: channel and product.
Topic = tuple[str, str]


class Frame(NamedTuple):
    """A message for the subscribers of a topic."""

    topic: Topic
    payload: bytes
    channel: Channel
    cross: Callable[[bytes], bytes] | None = None  #: adds a level that crosses the book


class ProductFeed:
    """What is published of one product."""

    def __init__(self, product: Product, book: OrderBook) -> None:
        self.product, self.book = product, book
        self.trades: deque[Trade] = deque(maxlen=TRADES_KEPT)
        self.day = Day()
        self.last_trade_id = 0
        #: The message of the last match, and of the last ticker.
        self.last_match = b""
        self.last_ticker = b""
        #: Position of trades whose ticker is due once nothing more happens then, or -1, and their time.
        self.traded_at_ns = -1
        self.traded_stamp = ""
        #: Levels that changed since the last batch, as (side, ticks); when the newest of them did.
        self.batch: dict[tuple[int, int], None] = {}
        self.batch_utc_ns = 0


class PublicFeed:
    """The public side of the products."""

    def __init__(self, products: Mapping[str, Product], wanted: Callable[[Topic], bool], trades_take: bool) -> None:
        """`wanted` is whether anybody subscribes to a topic; `trades_take` as of OrderBook."""
        self.products = products
        self._wanted, self._trades_take = wanted, trades_take
        #: product -> sequence of the newest message; goes on when playback begins again, as numbers of orders do
        self.sequences = {symbol: FIRST_SEQUENCE + place * 1_000_000_007 for place, symbol in enumerate(products)}
        self._number = FIRST_NUMBER
        self.reset()

    def reset(self) -> None:
        """Begin with empty books."""
        self.feeds = {
            symbol: ProductFeed(product, OrderBook(product, self._next_number, self._trades_take))
            for symbol, product in self.products.items()
        }

    def load(self, symbol: str, book: BookText) -> None:
        """Begin with a book."""
        self.feeds[symbol].book.load(book)

    def follow(self, event: Event, utc_ns: int) -> Iterator[Frame]:
        """Take an event of the market at UTC `utc_ns`; yield what it makes the venue publish."""
        feed = self.feeds.get(event.symbol)
        if feed is None:
            return
        book = feed.book
        if event.at_ns > feed.traded_at_ns:
            yield from self._tell_ticker(feed)
        if event.kind is EventKind.DEPTH:
            if not event.stream.endswith("@100ms"):
                return
            book.apply(decode_depth(event.body))
        elif event.kind is EventKind.TICKER:
            best = decode_ticker(event.body)
            book.apply_best((best.b, best.B), (best.a, best.A))
        elif event.kind is EventKind.TRADE:
            told = decode_trade(event.body)
            ((ticks, lots),) = book.in_units([(told.p, told.q)])
            feed.last_trade_id = max(feed.last_trade_id, told.t - 1)
            book.trade(-1 if told.m else 1, ticks, lots)
        stamp = rfc3339(utc_ns)
        traded = False
        for happened in book.take_log():
            traded |= happened.kind is OrderKind.MATCHED
            yield from self._tell_order(feed, happened, utc_ns, stamp)
        if traded:
            feed.traded_at_ns, feed.traded_stamp = event.at_ns, stamp
        yield from self._tell_levels(feed, utc_ns, stamp)

    def take_tickers(self) -> Iterator[Frame]:
        """Yield the tickers of the trades that were followed last."""
        for feed in self.feeds.values():
            yield from self._tell_ticker(feed)

    def snapshot(self, symbol: str) -> bytes:
        """Return the whole book as the first message of `level2`."""
        bids, asks = self.feeds[symbol].book.text()
        return msgspec.json.encode({"type": "snapshot", "product_id": symbol, "asks": asks, "bids": bids})

    def last_match(self, symbol: str) -> bytes:
        """Return the last match as the first message of `matches`; nothing before any."""
        return self.feeds[symbol].last_match.replace(b'"type":"match"', b'"type":"last_match"', 1)

    def heartbeat(self, symbol: str, utc_ns: int) -> bytes:
        """Return a heartbeat."""
        return (
            f'{{"type":"heartbeat","last_trade_id":{self.feeds[symbol].last_trade_id},"product_id":"{symbol}",'
            f'"sequence":{self.sequences[symbol]},"time":"{rfc3339(utc_ns)}"}}'
        ).encode()

    def take_batches(self) -> Iterator[Frame]:
        """Yield the changes gathered for `level2_batch`, each level with its size now."""
        for symbol, feed in self.feeds.items():
            if feed.batch:
                book = feed.book
                levels = [(side, ticks, (book.bids if side > 0 else book.asks).lots.get(side * ticks, 0)) for side, ticks in feed.batch]
                feed.batch = {}
                payload = _update(feed, levels, rfc3339(feed.batch_utc_ns))
                yield Frame(("level2_batch", symbol), payload, "book", self._crosser(feed))

    @property
    def gathers(self) -> bool:
        """Whether there are changes for `level2_batch`."""
        return any(feed.batch for feed in self.feeds.values())

    def _tell_order(self, feed: ProductFeed, happened: OrderEvent, utc_ns: int, stamp: str) -> Iterator[Frame]:
        symbol = feed.product.product_id
        self.sequences[symbol] += 1
        matched = happened.kind is OrderKind.MATCHED
        if matched:
            feed.last_trade_id += 1
            trade = Trade(feed.last_trade_id, SIDES[-happened.side], happened.ticks, happened.lots, utc_ns)
            feed.trades.append(trade)
            feed.day.add(trade)
        wanted = self._wanted(("full", symbol))
        if not matched and not wanted:
            return
        payload = order_message(feed, happened, self.sequences[symbol], stamp)
        if wanted:
            yield Frame(("full", symbol), payload, "book")
        if matched:
            feed.last_match = payload
            yield Frame(("matches", symbol), payload, "public")

    def _tell_ticker(self, feed: ProductFeed) -> Iterator[Frame]:
        """Yield one ticker for all trades of a moment, with what they left."""
        if feed.traded_at_ns >= 0:
            feed.traded_at_ns = -1
            feed.last_ticker = self._ticker(feed, feed.traded_stamp)
            yield Frame(("ticker", feed.product.product_id), feed.last_ticker, "public")

    def _tell_levels(self, feed: ProductFeed, utc_ns: int, stamp: str) -> Iterator[Frame]:
        bids, asks = feed.book.take_changes()
        if not bids and not asks:
            return
        symbol = feed.product.product_id
        levels = [(1, key, lots) for key, lots in bids] + [(-1, -key, lots) for key, lots in asks]
        if self._wanted(("level2_batch", symbol)):
            feed.batch.update(dict.fromkeys((side, ticks) for side, ticks, _ in levels))
            feed.batch_utc_ns = utc_ns
        if self._wanted(("level2", symbol)):
            yield Frame(("level2", symbol), _update(feed, levels, stamp), "book", self._crosser(feed))

    def _crosser(self, feed: ProductFeed) -> Callable[[bytes], bytes]:
        def cross(message: bytes) -> bytes:
            """Return an update with one more bid, at the second-best ask and in no book."""
            keys = feed.book.asks.keys
            if not keys:
                return message
            change = _change(feed, (1, -keys[-min(2, len(keys))], 10 ** (feed.product.qty_decimals - 1)))
            return message.replace(b'"changes":[', b'"changes":[' + change.encode() + b",", 1)

        return cross

    def _ticker(self, feed: ProductFeed, stamp: str) -> bytes:
        book, day, trade, symbol = feed.book, feed.day, feed.trades[-1], feed.product.product_id
        (bid, bid_lots), (ask, ask_lots) = best_of(book)
        volume = book.qty_text(day.volume_lots)
        return msgspec.json.encode(
            {
                "type": "ticker",
                "sequence": self.sequences[symbol],
                "product_id": symbol,
                "price": book.price_text(trade.ticks),
                "open_24h": book.price_text(day.open),
                "volume_24h": volume,
                "low_24h": book.price_text(day.low),
                "high_24h": book.price_text(day.high),
                "volume_30d": volume,
                "best_bid": book.price_text(bid),
                "best_bid_size": book.qty_text(bid_lots),
                "best_ask": book.price_text(ask),
                "best_ask_size": book.qty_text(ask_lots),
                "side": trade.side,
                "time": stamp,
                "trade_id": trade.trade_id,
                "last_size": book.qty_text(trade.lots),
            }
        )

    def _next_number(self) -> int:
        self._number += 1
        return self._number


def best_of(book: OrderBook) -> tuple[Change, Change]:
    """Return the best bid and ask; zeros while a side is empty."""
    return book.best() or ((0, 0), (0, 0))


def order_message(feed: ProductFeed, happened: OrderEvent, sequence: int, stamp: str) -> bytes:
    """Return a message of `full`."""
    book = feed.book
    price, size, side = book.price_text(happened.ticks), book.qty_text(happened.lots), SIDES[happened.side]
    if happened.kind is OrderKind.MATCHED:
        said = (
            f'"type":"match","trade_id":{feed.last_trade_id},"maker_order_id":"{uuid_of(happened.number)}",'
            f'"taker_order_id":"{uuid_of(happened.taker)}","side":"{side}","size":"{size}","price":"{price}"'
        )
    else:
        said = f'"order_id":"{uuid_of(happened.number)}","side":"{side}",'
        if happened.kind is OrderKind.RECEIVED:
            said = f'"type":"received",{said}"order_type":"limit","size":"{size}","price":"{price}"'
        elif happened.kind is OrderKind.OPENED:
            said = f'"type":"open",{said}"price":"{price}","remaining_size":"{size}"'
        elif happened.kind is OrderKind.CHANGED:
            old = book.qty_text(happened.before_lots)
            said = (
                f'"type":"change","reason":"modify_order",{said}"old_size":"{old}","new_size":"{size}",'
                f'"old_price":"{price}","new_price":"{price}"'
            )
        else:
            reason = "filled" if happened.kind is OrderKind.FILLED else "canceled"
            said = f'"type":"done",{said}"reason":"{reason}","price":"{price}","remaining_size":"{size}"'
    return f'{{{said},"product_id":"{feed.product.product_id}","sequence":{sequence},"time":"{stamp}"}}'.encode()


def _update(feed: ProductFeed, levels: list[tuple[int, int, int]], stamp: str) -> bytes:
    """Return a message of `level2` that sets levels, as (side, ticks, lots)."""
    changes = ",".join(_change(feed, level) for level in levels)
    return f'{{"type":"l2update","product_id":"{feed.product.product_id}","changes":[{changes}],"time":"{stamp}"}}'.encode()


def _change(feed: ProductFeed, level: tuple[int, int, int]) -> str:
    side, ticks, lots = level
    return f'["{SIDES[side]}","{feed.book.price_text(ticks)}","{feed.book.qty_text(lots)}"]'
