"""Book references: the usual way in Python to keep the books of Coinbase and of Kraken: orjson, Decimal and dicts.

A Kraken book is checked with each message, as the venue asks for: so its prices are kept sorted too, by bisection, and the digits of
each level beside it. Each function decodes and applies the frames, and fills `spans_ns`.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left, insort
from collections.abc import Sequence
from decimal import Decimal
from time import perf_counter_ns
from typing import Any, NamedTuple

import orjson
from numpy.typing import NDArray

#: Levels a side that Kraken's checksum covers.
_CHECKSUM_LEVELS = 10

#: product -> (bids, asks), each price -> size
CoinbaseBooks = dict[str, tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]]


class KrakenSide(NamedTuple):
    """One side of a book: prices ascending, and the digits of each level's texts."""

    prices: list[Decimal]
    digits: dict[Decimal, str]


class KrakenBook(NamedTuple):
    """One pair's book; the formats give a number the digits that the venue writes."""

    bids: KrakenSide
    asks: KrakenSide
    price_format: str
    qty_format: str
    depth: int


def coinbase_books(snapshots: Sequence[bytes]) -> CoinbaseBooks:
    """Books by their snapshots."""
    books: CoinbaseBooks = {}
    for message in map(orjson.loads, snapshots):
        bids, asks = ({Decimal(price): Decimal(size) for price, size in message[name]} for name in ("bids", "asks"))
        books[message["product_id"]] = bids, asks
    return books


def book_coinbase(frames: list[bytes], books: CoinbaseBooks, spans_ns: NDArray[Any]) -> None:
    """Apply each `l2update`."""
    for n, frame in enumerate(frames):
        began_ns = perf_counter_ns()
        message = orjson.loads(frame)
        bids, asks = books[message["product_id"]]
        for side, price_text, size_text in message["changes"]:
            book = bids if side == "buy" else asks
            price, size = Decimal(price_text), Decimal(size_text)
            if size:
                book[price] = size
            else:
                book.pop(price, None)
        spans_ns[n] = perf_counter_ns() - began_ns


def kraken_books(snapshots: Sequence[bytes], decimals: dict[str, tuple[int, int]], depth: int) -> dict[str, KrakenBook]:
    """Books by their snapshots; `decimals` are those of price and size."""
    books = {}
    for message in map(orjson.loads, snapshots):
        (data,) = message["data"]
        price_decimals, qty_decimals = decimals[data["symbol"]]
        sides = KrakenSide([], {}), KrakenSide([], {})
        book = KrakenBook(*sides, f"%.{price_decimals}f", f"%.{qty_decimals}f", depth)
        apply_kraken(book, data)
        books[data["symbol"]] = book
    return books


def book_kraken(frames: list[bytes], books: dict[str, KrakenBook], spans_ns: NDArray[Any]) -> None:
    """Apply each update and check the book. Raises ValueError if the checksum is another."""
    for n, frame in enumerate(frames):
        began_ns = perf_counter_ns()
        (data,) = orjson.loads(frame)["data"]
        apply_kraken(books[data["symbol"]], data)
        spans_ns[n] = perf_counter_ns() - began_ns


def apply_kraken(book: KrakenBook, data: dict[str, Any]) -> None:
    """Apply the levels of one message, cut to the depth, and check."""
    for side, levels in ((book.bids, data["bids"]), (book.asks, data["asks"])):
        prices, digits = side
        for level in levels:
            price_text, size = book.price_format % level["price"], level["qty"]
            price = Decimal(price_text)
            if size:
                if price not in digits:
                    insort(prices, price)
                digits[price] = _digits(price_text) + _digits(book.qty_format % size)
            elif digits.pop(price, None) is not None:
                del prices[bisect_left(prices, price)]
    while len(book.bids.prices) > book.depth:
        del book.bids.digits[book.bids.prices.pop(0)]
    while len(book.asks.prices) > book.depth:
        del book.asks.digits[book.asks.prices.pop()]
    texts = [book.asks.digits[price] for price in book.asks.prices[:_CHECKSUM_LEVELS]]
    texts += [book.bids.digits[price] for price in book.bids.prices[: -_CHECKSUM_LEVELS - 1 : -1]]
    if zlib.crc32("".join(texts).encode()) != data["checksum"]:
        raise ValueError(f"{data['symbol']}: the book has another checksum than {data['checksum']}")


def checksum_of(asks: Sequence[Sequence[str]], bids: Sequence[Sequence[str]]) -> int:
    """Kraken's checksum of a whole book by its texts, `[price, size, ...]` each."""
    best_asks = sorted(asks, key=lambda level: Decimal(level[0]))[:_CHECKSUM_LEVELS]
    best_bids = sorted(bids, key=lambda level: -Decimal(level[0]))[:_CHECKSUM_LEVELS]
    return zlib.crc32("".join(_digits(text) for level in best_asks + best_bids for text in level[:2]).encode())


def _digits(text: str) -> str:
    return text.replace(".", "").lstrip("0")
