"""Book bench: times one message from its bytes to an updated book with known best prices, against the usual ways in Python.

    frame's bytes -> [clock] the feed: scan, check, apply, records, best prices [clock]     ours
    frame's bytes -> [clock] decode, convert, dicts, check [clock]                          theirs: see `references`, `book_references`

Goals: every venue's flow through the kernel that its feed runs: Binance in JSON and in SBE, Coinbase `level2`, Kraken `book` with its
checksum verified by both. Method as in the codec bench; every run starts from the snapshots. Ours always gives the best prices; of
Binance's references only `..._best` do, so those compare like with like. `binance_sbe_json` is our JSON over our SBE, of the same updates.
After each run the best prices of all must agree, and ours the sum of those after each message.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.book import best_ticks, book_at
from hft.records import MARKET, MarketKind, Side
from hft.venues import feeds
from hft.venues.binance import feed as binance
from hft.venues.binance import sbe_feed as binance_sbe
from hft.venues.coinbase import feed as coinbase
from hft.venues.kraken import feed as kraken
from hft.venues.markets import LEVELS_MAX
from hft.websocket import Opcode
from processes.bench.book_flows import Flow, binance_flow, binance_sbe_flow, coinbase_flow, kraken_flow
from processes.bench.book_references import book_coinbase, book_kraken, coinbase_books, kraken_books
from processes.bench.codec import alternate, median_figures, median_ratio, ratio_range
from processes.bench.messages import PRICE_DECIMALS, Messages, load_messages
from processes.bench.references import (
    Sides,
    book_msgspec_float,
    book_msgspec_float_best,
    book_msgspec_lax,
    book_msgspec_lax_best,
    book_orjson_decimal,
    sides_of,
)
from processes.bench.report import finish
from shm.clock import monotonic_ns
from shm.jit import njit
from shm.pinned import pin, unpin

BUY, SELL = int(Side.BUY), int(Side.SELL)
_TOP = int(MarketKind.TOP)
#: Levels a side that Kraken's books have, as subscribed.
KRAKEN_DEPTH = 1000
_OUT_RECORDS = 4 * LEVELS_MAX

#: What a run gives: each message's span in ns, the best prices at the end in ticks, bid and ask of each symbol, and the sum of all.
Outcome = tuple[NDArray[Any], tuple[int, ...], int | None]

_BINANCE_REFERENCES: dict[str, Callable[[list[bytes], Sides, NDArray[Any]], None]] = {
    "orjson_decimal": book_orjson_decimal,
    "msgspec_float": book_msgspec_float,
    "msgspec_float_best": book_msgspec_float_best,
    "msgspec_lax_float": book_msgspec_lax,
    "msgspec_lax_float_best": book_msgspec_lax_best,
}


class Venue(NamedTuple):
    """A flow, our feed for it, and what it is compared with."""

    flow: Flow
    begin: Callable[[Flow, NDArray[Any]], Any]  #: a feed whose books are all valid
    references: Mapping[str, Callable[[], Outcome]]


@njit
def time_frames(cell: Any, data: NDArray[Any], offsets: NDArray[Any], opcode: int, out: NDArray[Any], spans_ns: NDArray[Any]) -> int:
    """Give the feed pinned in `cell`, as a stage holds it, each frame; fill `spans_ns`.

    Returns a sum of all best prices, or -1 - n if frame n moved no book.
    """
    (feed,) = unpin(cell)
    total = 0
    for n in range(len(spans_ns)):
        began_ns = monotonic_ns()
        count = feeds.on_frame(feed, data, offsets[n], offsets[n + 1], opcode, began_ns, out)
        spans_ns[n] = monotonic_ns() - began_ns
        if count == 0 or out[count - 1]["kind"] != _TOP:
            return -1 - n
        total += out[count - 1]["price_ticks"] + out[count - 1]["ask_ticks"]
    return total


def run(rounds: int = 7, messages: int | None = None) -> dict[str, Any]:
    """Run the bench over at most `messages` updates of each symbol of Binance, and of the other venues."""
    markets = load_messages(messages)
    venues = [
        Venue(binance_flow(markets), _begin_binance(markets, binance.new_feed), _binance_references(markets)),
        Venue(binance_sbe_flow(markets), _begin_binance(markets, binance_sbe.new_sbe_feed), {}),
        _coinbase(coinbase_flow(messages)),
        _kraken(kraken_flow(messages)),
    ]
    outcomes: dict[str, set[tuple[int, ...]]] = {}
    sums: dict[str, set[int]] = {}
    runs = {}
    for venue in venues:
        name = venue.flow.venue
        exchange = name.partition("_")[0]
        for key, one in {"ours": _ours(venue), **venue.references}.items():
            runs[f"{name}_{key}"] = _noting(one, outcomes.setdefault(exchange, set()), sums.setdefault(exchange, set()))
    figures = alternate(runs, rounds)
    for name, best in outcomes.items():
        if len(best) != 1 or len(sums[name]) != 1:
            raise AssertionError(f"{name}: the books disagree: best prices {sorted(best)}, sums {sorted(sums[name])}")
    return _document(venues, figures, {name: [sorted(best), sorted(sums[name])] for name, best in outcomes.items()})


def _noting(one: Callable[[], Outcome], outcomes: set[tuple[int, ...]], sums: set[int]) -> Callable[[], NDArray[Any]]:
    def run_one() -> NDArray[Any]:
        spans_ns, best, total = one()
        outcomes.add(best)
        if total is not None:
            sums.add(total)
        return spans_ns

    return run_one


def _document(venues: list[Venue], figures: dict[str, list[dict[str, float]]], outcome: Any) -> dict[str, Any]:
    results: dict[str, Any] = {}
    floor: dict[str, Any] = {}
    ratio: dict[str, Any] = {}
    for venue in venues:
        name = venue.flow.venue
        ours = figures[f"{name}_ours"]
        counted = {"messages": len(venue.flow.frames), "recorded": venue.flow.recorded}
        results[name] = median_figures(ours) | counted | {"ratio_range": {}}
        compared = {f"{name}_{key}": figures[f"{name}_{key}"] for key in venue.references}
        floor |= {key: median_figures(theirs) for key, theirs in compared.items()}
        if name == "binance_sbe":
            compared = {"binance_sbe_json": figures["binance_ours"]}
        for key, theirs in compared.items():
            ratio |= {key: median_ratio(theirs, ours, "median_ns"), f"{key}_mean": median_ratio(theirs, ours, "mean_ns")}
            results[name]["ratio_range"][key] = ratio_range(theirs, ours, "median_ns")
    results["rounds"] = len(figures["binance_ours"])
    return finish("book", results, floor, ratio, outcome)


def _ours(venue: Venue) -> Callable[[], Outcome]:
    flow = venue.flow
    out = np.zeros(_OUT_RECORDS, MARKET)
    data, offsets = flow.packed()

    def run_one() -> Outcome:
        feed = venue.begin(flow, out)
        spans_ns = np.zeros(len(flow.frames), np.int64)
        pinned = pin((feed,))
        total = int(time_frames(pinned.cell, data, offsets, flow.opcode, out, spans_ns))
        if total < 0:
            raise AssertionError(f"{flow.venue}: no book was moved by {flow.frames[-1 - total]!r}")
        books = [book_at(feed.books, row) for row in range(len(flow.symbols))]
        return spans_ns, tuple(int(best_ticks(book, side)) for book in books for side in (BUY, SELL)), total

    return run_one


def _counters() -> NDArray[np.int64]:
    return np.zeros(64, np.int64)


def _give(feed: Any, payloads: list[bytes], opcode: int, out: NDArray[Any]) -> None:
    for payload in payloads:
        feeds.on_frame(feed, np.frombuffer(bytearray(payload), np.uint8), 0, len(payload), opcode, 1, out)


def _begin_binance(markets: list[Messages], new_feed: Callable[..., Any]) -> Callable[[Flow, NDArray[Any]], Any]:
    def begin(flow: Flow, out: NDArray[Any]) -> Any:
        feed = new_feed(flow.instruments, flow.symbols, range(len(markets)), LEVELS_MAX, 0, _counters())
        _give(feed, flow.before, flow.opcode, out)
        for row, market in enumerate(markets):
            snapshot = np.frombuffer(bytearray(market.snapshot), np.uint8)
            if binance.on_snapshot(feed, row, snapshot, 0, len(snapshot), 1, out) == 0:
                raise AssertionError(f"the snapshot of {market.symbol} was not taken")
        return feed

    return begin


def _binance_references(markets: list[Messages]) -> dict[str, Callable[[], Outcome]]:
    return {name: _binance_reference(update, markets) for name, update in _BINANCE_REFERENCES.items()}


def _binance_reference(update: Callable[[list[bytes], Sides, NDArray[Any]], None], markets: list[Messages]) -> Callable[[], Outcome]:
    number: Any = Decimal if update is book_orjson_decimal else float

    def run_one() -> Outcome:
        spans, best = [], list[int]()
        for market in markets:
            sides = sides_of(market.snapshot, number)
            update(list(market.earlier), sides, np.zeros(len(market.earlier), np.int64))
            spans.append(np.zeros(len(market.frames), np.int64))
            update(market.frames, sides, spans[-1])
            best += [round(max(sides[0]) * 10**PRICE_DECIMALS), round(min(sides[1]) * 10**PRICE_DECIMALS)]
        return np.concatenate(spans), tuple(best), None

    return run_one


def _coinbase(flow: Flow) -> Venue:
    def begin(flow: Flow, out: NDArray[Any]) -> Any:
        rows = range(len(flow.symbols))
        feed = coinbase.new_feed(flow.instruments, flow.symbols, rows, LEVELS_MAX, 0, _counters(), "level2")
        _give(feed, flow.before, int(Opcode.TEXT), out)
        return feed

    def theirs() -> Outcome:
        books = coinbase_books(flow.before)
        spans_ns = np.zeros(len(flow.frames), np.int64)
        book_coinbase(flow.frames, books, spans_ns)
        pairs = [(max(books[symbol][0]), min(books[symbol][1])) for symbol in flow.symbols]
        return spans_ns, _in_ticks(flow, pairs), None

    return Venue(flow, begin, {"orjson_decimal": theirs})


def _kraken(flow: Flow) -> Venue:
    decimals = {
        name: (int(row["price_decimals"]), int(row["qty_decimals"])) for name, row in zip(flow.symbols, flow.instruments, strict=True)
    }

    def begin(flow: Flow, out: NDArray[Any]) -> Any:
        rows = range(len(flow.symbols))
        feed = kraken.new_feed(flow.instruments, flow.symbols, rows, LEVELS_MAX, 0, _counters(), KRAKEN_DEPTH)
        feed.state[:, kraken.TOLD_PRICE] = flow.instruments["price_decimals"]
        feed.state[:, kraken.TOLD_QTY] = flow.instruments["qty_decimals"]
        _give(feed, flow.before, int(Opcode.TEXT), out)
        return feed

    def theirs() -> Outcome:
        books = kraken_books(flow.before, decimals, KRAKEN_DEPTH)
        spans_ns = np.zeros(len(flow.frames), np.int64)
        book_kraken(flow.frames, books, spans_ns)
        pairs = [(books[symbol].bids.prices[-1], books[symbol].asks.prices[0]) for symbol in flow.symbols]
        return spans_ns, _in_ticks(flow, pairs), None

    return Venue(flow, begin, {"orjson_decimal": theirs})


def _in_ticks(flow: Flow, pairs: list[tuple[Decimal, Decimal]]) -> tuple[int, ...]:
    """Prices in ticks, which have the price's decimals."""
    decimals = [int(row["price_decimals"]) for row in flow.instruments]
    return tuple(int(price.scaleb(places)) for pair, places in zip(pairs, decimals, strict=True) for price in pair)
