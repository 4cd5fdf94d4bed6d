"""Book bench: times one depth update from text to an updated book with known best prices, against the usual ways in Python.

    frame's bytes -> [clock] scan, apply, best bid and ask [clock]    ours
    frame's bytes -> [clock] decode, convert, two dicts [clock]       theirs: see `references`

Every run starts from the recorded snapshot. Goals and method are those of the codec bench. Ours always gives the best prices;
of theirs only `..._best` do, so those compare like with like. After each run the best prices of all must agree.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.book import Book, apply_levels, best_ticks, new_book
from hft.records import MARKET, Side
from hft.venues.binance.scan import Found, FrameKind, Scanner, new_scanner, scan, scan_snapshot
from processes.bench.codec import LEVELS_MAX, alternate, report
from processes.bench.messages import PRICE_DECIMALS, Messages, instrument_row, load_messages
from processes.bench.references import (
    Sides,
    book_msgspec_float,
    book_msgspec_float_best,
    book_msgspec_lax,
    book_msgspec_lax_best,
    book_orjson_decimal,
    sides_of,
)
from shm.clock import monotonic_ns
from shm.jit import njit

RECORDS = int(Found.RECORDS)
DEPTH = int(FrameKind.DEPTH)
BUY, SELL = int(Side.BUY), int(Side.SELL)

_REFERENCES: dict[str, Callable[[list[bytes], Sides, NDArray[Any]], None]] = {
    "orjson_decimal": book_orjson_decimal,
    "msgspec_float": book_msgspec_float,
    "msgspec_float_best": book_msgspec_float_best,
    "msgspec_lax_float": book_msgspec_lax,
    "msgspec_lax_float_best": book_msgspec_lax_best,
}


@njit
def time_updates(scanner: Scanner, book: Book, data: NDArray[Any], offsets: NDArray[Any], out: NDArray[Any], spans_ns: NDArray[Any]) -> int:
    """Scan and apply each frame; fill `spans_ns`. Returns a sum of all best prices, or -1 if a frame was not applied."""
    total = 0
    for n in range(len(spans_ns)):
        began_ns = monotonic_ns()
        kind = scan(scanner, data, offsets[n], offsets[n + 1], began_ns, out)
        code = apply_levels(book, out, 0, scanner.found[RECORDS])
        bid, ask = best_ticks(book, BUY), best_ticks(book, SELL)
        spans_ns[n] = monotonic_ns() - began_ns
        if kind != DEPTH or code != 0:
            return -1
        total += bid + ask
    return total


def run(rounds: int = 7, messages: int | None = None) -> dict[str, Any]:
    """Run the bench over at most `messages` updates of each symbol."""
    markets = load_messages(messages)
    bests: set[tuple[int, ...]] = set()
    sums: set[int] = set()
    runs = {"ours": _ours(markets, bests, sums)} | {name: _theirs(one, markets, bests) for name, one in _REFERENCES.items()}
    figures = alternate(runs, rounds)
    if len(bests) != 1 or len(sums) != 1:
        raise AssertionError(f"the books disagree: best prices {sorted(bests)}, sums {sorted(sums)}")
    return report("book", figures, markets, [sorted(bests), sorted(sums)])


def _ours(markets: list[Messages], bests: set[tuple[int, ...]], sums: set[int]) -> Callable[[], NDArray[Any]]:
    out = np.zeros(LEVELS_MAX, MARKET)
    packed = [market.packed() for market in markets]

    def run_one() -> NDArray[Any]:
        spans, best, total = [], list[int](), 0
        for market, (data, offsets) in zip(markets, packed, strict=True):
            scanner, book = new_scanner(instrument_row(), [market.symbol]), new_book(LEVELS_MAX)
            snapshot = np.frombuffer(bytearray(market.snapshot), np.uint8)
            if scan_snapshot(scanner, 0, snapshot, 0, len(snapshot), 0, out) != FrameKind.SNAPSHOT:
                raise AssertionError(f"the snapshot of {market.symbol} was not read")
            apply_levels(book, out, 0, scanner.found[RECORDS])
            spans.append(np.zeros(len(market.frames), np.int64))
            one = time_updates(scanner, book, data, offsets, out, spans[-1])
            if one < 0:
                raise AssertionError(f"an update of {market.symbol} was not applied")
            total += one
            best += [int(best_ticks(book, BUY)), int(best_ticks(book, SELL))]
        bests.add(tuple(best))
        sums.add(total)
        return np.concatenate(spans)

    return run_one


def _theirs(
    update: Callable[[list[bytes], Sides, NDArray[Any]], None], markets: list[Messages], bests: set[tuple[int, ...]]
) -> Callable[[], NDArray[Any]]:
    from decimal import Decimal

    number: Any = Decimal if update is book_orjson_decimal else float

    def run_one() -> NDArray[Any]:
        spans, best = [], list[int]()
        for market in markets:
            sides = sides_of(market.snapshot, number)
            spans.append(np.zeros(len(market.frames), np.int64))
            update(market.frames, sides, spans[-1])
            best += [round(max(sides[0]) * 10**PRICE_DECIMALS), round(min(sides[1]) * 10**PRICE_DECIMALS)]
        bests.add(tuple(best))
        return np.concatenate(spans)

    return run_one
