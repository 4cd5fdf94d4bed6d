"""Codec bench: times the decoding of one depth update, text to numbers, against the usual ways in Python.

    frame's bytes -> [clock] scan [clock]                 ours: int64 ticks and lots, in records, every byte validated
    frame's bytes -> [clock] decode, convert [clock]      theirs: see `references`

Goals: the distribution over real messages, one after another, as a feed meets them. Not goals: the socket, the book.

Ours is timed inside compiled code (its clock costs about 25 ns), theirs around the statement in Python (about 60 ns); nothing is
subtracted from either. Rounds alternate, garbage collection is off, and a ratio is the median over rounds of theirs over ours.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.records import MARKET
from hft.venues.binance.scan import Found, FrameKind, Scanner, new_scanner, scan
from processes.bench.messages import Messages, instrument_row, load_messages
from processes.bench.references import decode_msgspec_float, decode_msgspec_lax, decode_orjson_decimal
from processes.bench.report import finish
from shm.clock import monotonic_ns
from shm.jit import njit

LEVELS_MAX = 20_000
RECORDS = int(Found.RECORDS)
DEPTH = int(FrameKind.DEPTH)

_REFERENCES = {"orjson_decimal": decode_orjson_decimal, "msgspec_float": decode_msgspec_float, "msgspec_lax_float": decode_msgspec_lax}


@njit
def time_scans(scanner: Scanner, data: NDArray[Any], offsets: NDArray[Any], out: NDArray[Any], spans_ns: NDArray[Any]) -> int:
    """Scan each frame; fill `spans_ns` and return how many levels there were, or -1 if a frame was not read."""
    levels = 0
    for n in range(len(spans_ns)):
        began_ns = monotonic_ns()
        kind = scan(scanner, data, offsets[n], offsets[n + 1], began_ns, out)
        spans_ns[n] = monotonic_ns() - began_ns
        if kind != DEPTH:
            return -1
        levels += scanner.found[RECORDS]
    return levels


def run(rounds: int = 7, messages: int | None = None) -> dict[str, Any]:
    """Run the bench over at most `messages` updates of each symbol."""
    markets = load_messages(messages)
    out = np.zeros(LEVELS_MAX, MARKET)
    scanners = [new_scanner(instrument_row(), [market.symbol]) for market in markets]
    packed = [market.packed() for market in markets]
    levels: set[int] = set()

    def ours() -> NDArray[Any]:
        spans = []
        total = 0
        for scanner, (data, offsets) in zip(scanners, packed, strict=True):
            spans.append(np.zeros(len(offsets) - 1, np.int64))
            total += _counted(time_scans(scanner, data, offsets, out, spans[-1]))
        levels.add(total)
        return np.concatenate(spans)

    runs = {"ours": ours} | {name: _theirs(decode, markets) for name, decode in _REFERENCES.items()}
    return _document(alternate(runs, rounds), markets, sorted(levels))


def _counted(levels: int) -> int:
    if levels < 0:
        raise AssertionError("a depth update was not read as one")
    return levels


def _theirs(decode: Callable[[list[bytes], NDArray[Any]], None], markets: list[Messages]) -> Callable[[], NDArray[Any]]:
    def run_one() -> NDArray[Any]:
        spans = [np.zeros(len(market.frames), np.int64) for market in markets]
        for market, spans_ns in zip(markets, spans, strict=True):
            decode(market.frames, spans_ns)
        return np.concatenate(spans)

    return run_one


def alternate(runs: dict[str, Callable[[], NDArray[Any]]], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Run each in turn, `rounds` times after one to warm up: name -> a summary of its spans for each round."""
    figures: dict[str, list[dict[str, float]]] = {name: [] for name in runs}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for turn in range(rounds + 1):
            for name, run_one in runs.items():
                spans_ns = run_one()
                if turn > 0:
                    tail = {f"p{p:g}_ns": float(np.percentile(spans_ns, p)) for p in (90, 99)}
                    figures[name].append({"median_ns": float(np.median(spans_ns)), "mean_ns": float(spans_ns.mean()), **tail})
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return figures


def median_figures(rounds: list[dict[str, float]]) -> dict[str, float]:
    """The median round of each figure, ns."""
    return {key: round(median(one[key] for one in rounds), 1) for key in rounds[0]}


def median_ratio(theirs: list[dict[str, float]], ours: list[dict[str, float]], figure: str) -> float:
    """Theirs over ours, the median of the rounds."""
    return round(median(_ratios(theirs, ours, figure)), 4)


def ratio_range(theirs: list[dict[str, float]], ours: list[dict[str, float]], figure: str) -> list[float]:
    """The least and the greatest of theirs over ours, round by round."""
    values = _ratios(theirs, ours, figure)
    return [round(min(values), 2), round(max(values), 2)]


def _ratios(theirs: list[dict[str, float]], ours: list[dict[str, float]], figure: str) -> list[float]:
    return [one[figure] / other[figure] for one, other in zip(theirs, ours, strict=True)]


def _document(figures: dict[str, list[dict[str, float]]], markets: list[Messages], outcome: Any) -> dict[str, Any]:
    ours = figures.pop("ours")
    results = {
        **median_figures(ours),
        "messages": sum(len(market.frames) for market in markets),
        "recorded": all(market.recorded for market in markets),
        "rounds": len(ours),
        "ratio_range": {f"binance_{name}": ratio_range(theirs, ours, "median_ns") for name, theirs in figures.items()},
    }
    ratio = {f"binance_{name}": median_ratio(theirs, ours, "median_ns") for name, theirs in figures.items()}
    ratio |= {f"binance_{name}_mean": median_ratio(theirs, ours, "mean_ns") for name, theirs in figures.items()}
    return finish("codec", results, {name: median_figures(theirs) for name, theirs in figures.items()}, ratio, outcome)
