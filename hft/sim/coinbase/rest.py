"""Coinbase's REST desk: routes, errors and public data. What went wrong is an HTTP status and `{"message":…}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from hft.sim.armed_faults import ArmedFaults
from hft.sim.coinbase.feed import SIDES, PublicFeed, best_of
from hft.sim.coinbase.pages import LIMIT_MAX, Query, number_of, one, page
from hft.sim.coinbase.products import Product, currencies, currency_row, product_row
from hft.sim.coinbase.rates import RequestRates
from hft.sim.coinbase.rest_private import PrivateRest
from hft.sim.coinbase.wire import CoinbaseError, milliseconds, uuid_of
from hft.sim.delivery import proxy_page
from hft.sim.exchange.exchange import Exchange
from hft.sim.ladder import Ladder
from hft.sim.texts import number, rfc3339
from hft.sim.venue import Response, json_response

#: First segments of paths that need a signature.
PRIVATE = ("accounts", "orders", "fills", "fees")
WORDS = {429: "Public rate limit exceeded", 500: "Internal server error", 502: "Bad gateway", 503: "Service unavailable", 504: "Timed out"}


class Asked(NamedTuple):
    """A request for public data."""

    query: Query
    now_ns: int


def refused(status: int, message: str) -> Response:
    """Return an answer that refuses."""
    return json_response({"message": message}, status)


def _parts(target: str) -> tuple[list[str], Query]:
    """Return the segments of a path and its query. Raises CoinbaseError."""
    try:
        parts = urlsplit(target)
        return [unquote(segment) for segment in parts.path.strip("/").split("/")], parse_qs(parts.query, keep_blank_values=True)
    except ValueError as error:
        raise CoinbaseError(400, "Bad Request") from error


class RestDesk:
    """Answers REST requests."""

    def __init__(self, feed: PublicFeed, exchange: Exchange, private: PrivateRest, rates: RequestRates, faults: ArmedFaults) -> None:
        self._feed, self._exchange, self._private, self._rates, self._faults = feed, exchange, private, rates, faults
        self._of_product: Mapping[str, Callable[[Product, Asked], Response]] = {
            "": self._product,
            "book": self._book,
            "trades": self._trades,
            "ticker": self._ticker,
            "stats": self._stats,
        }

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes, now_ns: int) -> Response:
        """Answer a request at UTC `now_ns`."""
        fault = self._faults.rest_error()
        if fault is not None:
            return proxy_page(fault.status) if fault.html else refused(fault.status, WORDS.get(fault.status, "Bad request"))
        try:
            if not headers.get("user-agent"):
                raise CoinbaseError(400, "User-Agent header is required.")
            segments, query = _parts(target)
            if segments[0] in PRIVATE:
                return self._private.answer(method, target, segments, query, headers, body, now_ns)
            self._rates.public(now_ns)
            if method != "GET":
                raise CoinbaseError(404, "NotFound")
            return self._public(segments, Asked(query, now_ns))
        except CoinbaseError as error:
            return refused(error.status, str(error))

    def _public(self, segments: list[str], asked: Asked) -> Response:
        if segments == ["time"]:
            return json_response({"iso": milliseconds(asked.now_ns), "epoch": number(asked.now_ns // 1_000_000, 3)})
        if segments == ["products"]:
            return json_response([self._product_row(product) for product in self._feed.products.values()])
        if segments[0] == "currencies" and len(segments) <= 2:
            known = currencies(self._feed.products.values())
            if len(segments) == 1:
                return json_response([currency_row(currency) for currency in known])
            if segments[1] in known:
                return json_response(currency_row(segments[1]))
        if segments[0] == "products" and 2 <= len(segments) <= 3:
            product = self._feed.products.get(segments[1].upper())
            what = self._of_product.get(segments[2] if len(segments) == 3 else "")
            if product is not None and what is not None:
                return what(product, asked)
        raise CoinbaseError(404, "NotFound")

    def _product_row(self, product: Product) -> dict[str, object]:
        return product_row(product, self._exchange.instruments[product.product_id].status)

    def _product(self, product: Product, asked: Asked) -> Response:
        return json_response(self._product_row(product))

    def _book(self, product: Product, asked: Asked) -> Response:
        level = one(asked.query, "level") or "1"
        if level not in ("1", "2", "3"):
            raise CoinbaseError(400, "Invalid level")
        symbol = product.product_id
        book = self._feed.feeds[symbol].book
        sides = {}
        for name, side, ladder in (("bids", 1, book.bids), ("asks", -1, book.asks)):
            sides[name] = self._orders(symbol, side, ladder) if level == "3" else self._levels(symbol, side, ladder, level == "1")
        # A stale snapshot has a sequence from before the stream.
        sequence = self._feed.sequences[symbol] - self._faults.stale_by(symbol)
        return json_response({**sides, "sequence": sequence, "auction_mode": False, "auction": None, "time": rfc3339(asked.now_ns)})

    def _levels(self, symbol: str, side: int, ladder: Ladder, best_only: bool) -> list[Any]:
        book = self._feed.feeds[symbol].book
        levels = ladder.levels()[:1] if best_only else ladder.levels()
        return [(book.price_text(abs(key)), book.qty_text(lots), len(book.orders(side, key))) for key, lots in levels]

    def _orders(self, symbol: str, side: int, ladder: Ladder) -> list[Any]:
        book = self._feed.feeds[symbol].book
        return [
            (book.price_text(abs(key)), book.qty_text(lots), uuid_of(number))
            for key in reversed(ladder.keys)
            for number, lots in book.orders(side, key)
        ]

    def _trades(self, product: Product, asked: Asked) -> Response:
        feed = self._feed.feeds[product.product_id]
        trades, headers = page(reversed(feed.trades), asked.query, LIMIT_MAX, lambda trade: trade.trade_id, number_of, str)
        rows = [
            {
                "trade_id": trade.trade_id,
                # The maker's.
                "side": "sell" if trade.side == SIDES[1] else "buy",
                "size": feed.book.qty_text(trade.lots),
                "price": feed.book.price_text(trade.ticks),
                "time": rfc3339(trade.at_ns),
            }
            for trade in trades
        ]
        return json_response(rows, headers=headers)

    def _ticker(self, product: Product, asked: Asked) -> Response:
        feed = self._feed.feeds[product.product_id]
        book = feed.book
        (bid, bid_lots), (ask, ask_lots) = best_of(book)
        # Before the first trade the best bid stands for the last price.
        last = feed.day.last or bid
        return json_response(
            {
                "ask": book.price_text(ask),
                "ask_size": book.qty_text(ask_lots),
                "bid": book.price_text(bid),
                "bid_size": book.qty_text(bid_lots),
                "volume": book.qty_text(feed.day.volume_lots),
                "trade_id": feed.last_trade_id,
                "price": book.price_text(last),
                "size": book.qty_text(feed.day.last_lots),
                "time": rfc3339(feed.trades[-1].at_ns if feed.trades else asked.now_ns),
            }
        )

    def _stats(self, product: Product, asked: Asked) -> Response:
        feed = self._feed.feeds[product.product_id]
        book, day = feed.book, feed.day
        prices = {"open": day.open, "high": day.high, "low": day.low, "last": day.last}
        volume = book.qty_text(day.volume_lots)
        return json_response({name: book.price_text(ticks) for name, ticks in prices.items()} | {"volume": volume, "volume_30day": volume})
