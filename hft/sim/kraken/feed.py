"""Kraken's public data: what a market's events become on channels `book`, `trade` and `ticker`, and in public REST."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import NamedTuple

import msgspec

from hft.sim.faults import Channel
from hft.sim.kraken.book import PublicBook
from hft.sim.kraken.pairs import Pair
from hft.sim.kraken.wire import unix_seconds
from hft.sim.market import BookText, Event, EventKind, Level, TradeText, decode_depth, decode_ticker, decode_trade
from hft.sim.texts import fixed, number, rfc3339
from hft.sim.trades import Day, Trade

TRADES_KEPT = 1000
TRADES_SNAPSHOT = 50

#: A key under which sessions subscribe: channel, symbol, and depth of a book or trigger of a ticker.
Topic = tuple[str, str, int | str]


class Frame(NamedTuple):
    """A message for the subscribers of a topic."""

    topic: Topic
    payload: bytes
    channel: Channel
    cross: Callable[[bytes], bytes] | None = None  #: adds a level that crosses the book


class PublicFeed:
    """The public side of the pairs."""

    def __init__(self, pairs: Mapping[str, Pair], spoiled: Callable[[str], bool]) -> None:
        """`spoiled` says of a symbol whether its next book message has a wrong checksum."""
        self.pairs = pairs
        self._spoiled = spoiled
        self.reset()

    def reset(self) -> None:
        """Begin with empty books."""
        self.books = {symbol: PublicBook(pair) for symbol, pair in self.pairs.items()}
        self.trades: dict[str, deque[Trade]] = {symbol: deque(maxlen=TRADES_KEPT) for symbol in self.pairs}
        self.days = {symbol: Day() for symbol in self.pairs}

    def load(self, symbol: str, book: BookText) -> None:
        """Begin with a book."""
        self.books[symbol].load(book)
        self.books[symbol].take_changes()

    def follow(self, event: Event, now_ns: int) -> Iterator[Frame]:
        """Take an event of the market at UTC `now_ns`; yield what it makes the venue publish."""
        book = self.books.get(event.symbol)
        if book is None:
            return
        if event.kind is EventKind.DEPTH:
            if event.stream.endswith("@100ms"):
                book.apply(decode_depth(event.body))
                yield from self._publish_book(book, now_ns)
        elif event.kind is EventKind.TICKER:
            ticker = decode_ticker(event.body)
            book.apply_best((ticker.b, ticker.B), (ticker.a, ticker.A))
            yield from self._publish_book(book, now_ns)
            yield Frame(("ticker", event.symbol, "bbo"), self.ticker(event.symbol, "update", now_ns), "public")
        elif event.kind is EventKind.TRADE:
            trade = self._trade(book, decode_trade(event.body), now_ns)
            self.trades[event.symbol].append(trade)
            self.days[event.symbol].add(trade)
            yield Frame(("trade", event.symbol, 0), self._trades(event.symbol, "update", [trade]), "public")
            yield Frame(("ticker", event.symbol, "trades"), self.ticker(event.symbol, "update", now_ns), "public")

    def book_snapshot(self, symbol: str, depth: int, now_ns: int) -> bytes:
        """Return the first message of a book subscription."""
        return self.books[symbol].view(depth).snapshot(rfc3339(now_ns))

    def trade_snapshot(self, symbol: str) -> bytes:
        """Return the last trades as the first message of a trade subscription."""
        return self._trades(symbol, "snapshot", list(self.trades[symbol])[-TRADES_SNAPSHOT:])

    def forget_view(self, symbol: str, depth: int) -> None:
        """Drop a view that nobody follows."""
        self.books[symbol].views.pop(depth, None)

    def ticker(self, symbol: str, kind: str, now_ns: int) -> bytes:
        """Return a ticker message."""
        pair, day = self.pairs[symbol], self.days[symbol]
        (bid, bid_lots), (ask, ask_lots) = self.books[symbol].best() or ((0, 0), (0, 0))
        prices = {"bid": bid, "ask": ask, "last": day.last, "vwap": day.vwap_ticks(), "low": day.low, "high": day.high}
        sizes = {"bid_qty": bid_lots, "ask_qty": ask_lots, "volume": day.volume_lots}
        change = day.last - day.open
        data = {
            "symbol": symbol,
            **{name: number(ticks, pair.price_decimals) for name, ticks in prices.items()},
            **{name: number(lots, pair.qty_decimals) for name, lots in sizes.items()},
            "change": number(change, pair.price_decimals),
            "change_pct": number(change * 10_000 // day.open if day.open else 0, 2),
            "timestamp": rfc3339(now_ns),
        }
        return msgspec.json.encode({"channel": "ticker", "type": kind, "data": [data]})

    def rest_depth(self, symbol: str, count: int, now_ns: int) -> dict[str, object]:
        """Return a book as REST `Depth` states it: sizes rounded to three digits, times in seconds."""
        book = self.books[symbol]
        bids = [(key, book.bids.lots[key]) for key in book.bids.keys[: -count - 1 : -1]]
        asks = [(-key, book.asks.lots[key]) for key in book.asks.keys[: -count - 1 : -1]]
        at_s = now_ns // 1_000_000_000
        thousandth = 10 ** (book.pair.qty_decimals - 3)

        def rows(levels: Iterable[tuple[int, int]]) -> list[tuple[str, str, int]]:
            return [(self.rest_price(symbol, ticks), fixed(max(1, lots // thousandth), 3), at_s) for ticks, lots in levels]

        return {"asks": rows(asks), "bids": rows(bids)}

    def rest_trades(self, symbol: str, since_ns: int, count: int) -> tuple[list[object], int]:
        """Return the oldest trades after a time as REST `Trades` states them, and the time of the last one in ns."""
        trades = [trade for trade in self.trades[symbol] if trade.at_ns > since_ns][:count]
        rows: list[object] = [
            [
                self.rest_price(symbol, trade.ticks),
                self.books[symbol].qty_text(trade.lots),
                unix_seconds(trade.at_ns),
                trade.side[0],
                "m",
                "",
                trade.trade_id,
            ]
            for trade in trades
        ]
        return rows, trades[-1].at_ns if trades else since_ns

    def rest_ticker(self, symbol: str) -> dict[str, object]:
        """Return what REST `Ticker` states."""
        book, day = self.books[symbol], self.days[symbol]
        (bid, bid_lots), (ask, ask_lots) = book.best() or ((0, 0), (0, 0))
        whole = 10**book.pair.qty_decimals
        price = self.rest_price

        def best(ticks: int, lots: int) -> list[str]:
            return [price(symbol, ticks), str(max(1, lots // whole)), fixed(lots // (whole // 1000), 3)]

        def twice(value: object) -> list[object]:
            return [value, value]

        return {
            "a": best(ask, ask_lots),
            "b": best(bid, bid_lots),
            "c": [price(symbol, day.last), book.qty_text(day.last_lots)],
            "v": twice(book.qty_text(day.volume_lots)),
            "p": twice(price(symbol, day.vwap_ticks())),
            "t": twice(day.count),
            "l": twice(price(symbol, day.low)),
            "h": twice(price(symbol, day.high)),
            "o": price(symbol, day.open),
        }

    def rest_price(self, symbol: str, ticks: int) -> str:
        """Return a price as public REST writes it, with 5 decimals."""
        decimals = self.pairs[symbol].price_decimals
        return fixed(ticks * 10 ** (5 - decimals), 5)

    def _publish_book(self, book: PublicBook, now_ns: int) -> Iterator[Frame]:
        bids, asks = book.take_changes()
        if not bids and not asks:
            return
        symbol, stamp = book.pair.symbol, rfc3339(now_ns)
        for depth, view in list(book.views.items()):  # a view that nobody follows is dropped on the way
            payload = view.update(bids, asks, stamp, partial(self._spoiled, symbol))
            if payload is not None:
                yield Frame(("book", symbol, depth), payload, "book", view.cross)

    def _trade(self, book: PublicBook, text: TradeText, now_ns: int) -> Trade:
        levels: list[Level] = [(text.p, text.q)]
        ((ticks, lots),) = book.in_units(levels)
        return Trade(text.t, "sell" if text.m else "buy", ticks, lots, now_ns)

    def _trades(self, symbol: str, kind: str, trades: list[Trade]) -> bytes:
        book = self.books[symbol]
        rows = ",".join(
            f'{{"symbol":"{symbol}","side":"{trade.side}","price":{book.price_text(trade.ticks)},"qty":{book.qty_text(trade.lots)},'
            f'"ord_type":"market","trade_id":{trade.trade_id},"timestamp":"{rfc3339(trade.at_ns)}"}}'
            for trade in trades
        )
        return f'{{"channel":"trade","type":"{kind}","data":[{rows}]}}'.encode()
