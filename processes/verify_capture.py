"""Verify capture: runs a recorded capture through the venue's decoder and book, against the venue's own oracle.

Binance's oracle: after a diff with last id `u` is applied, best bid and ask, price and size, equal the newest `bookTicker`
whose id is at most `u`. The capture is read twice: first for its symbols, the digits that their prices and sizes need (so that
nothing is rounded) and whose snapshot is whose; then message by message through the very kernels that a feed runs.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from hft.book import book_at, level_count, state_hash
from hft.counters import FeedCounter
from hft.records import INSTRUMENT, MARKET, MarketKind, Side
from hft.venues.binance.feed import BinanceFeed, new_feed, on_disconnect, on_frame, on_snapshot
from hft.venues.binance.scan import ScanCount
from hft.websocket import Opcode
from processes.capture import CaptureError, Line, read_capture

#: Levels a side that a capture's book may have.
LEVELS_MAX = 20_000

#: Problems shown in full; all are counted.
SHOWN_MAX = 10

_DECIMALS_MAX = 18

#: (update id, state hash) of a book.
BOOK = np.dtype([("update_id", "<i8"), ("hash", "<i8")])
_BEST = np.dtype([("id", "<i8"), ("bid", "<i8"), ("bid_lots", "<i8"), ("ask", "<i8"), ("ask_lots", "<i8"), ("line", "<i8")])


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


class _Message(_Event):
    stream: Any = None
    data: _Event | None = None
    lastUpdateId: Any = None
    bids: Any = None
    asks: Any = None


_decode = msgspec.json.Decoder(_Message).decode


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


class Survey(NamedTuple):
    """A capture's symbols, and which snapshot belongs to which."""

    pairs: dict[str, Pair]
    snapshots: dict[tuple[int, float], str]  #: (line number, stamp) -> symbol
    messages: int


def _decimals(text: Any) -> int:
    """Digits after the point that a number needs; 0 for what is no number, which the decoder will refuse."""
    whole, _, fraction = text.partition(".") if isinstance(text, str) else ("", "", "")
    return min(len(fraction.rstrip("0")), _DECIMALS_MAX) if (whole + fraction).isdigit() else 0


def survey(lines: Iterable[Line]) -> Survey:
    """Read a capture through. Raises CaptureError if there is no Binance market data in it."""
    pairs: dict[str, Pair] = {}
    found: list[tuple[Line, _Message]] = []
    messages = 0
    for line in lines:
        if line.connects:
            continue
        messages += 1
        try:
            message = _decode(line.payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue
        if isinstance(message.lastUpdateId, int):
            found.append((line, message))
        else:
            _see_event(pairs, message.data or message)
    if not pairs:
        raise CaptureError(f"no Binance market data among {messages} messages: expected depthUpdate, bookTicker or trade")
    snapshots = {}
    for line, message in found:
        symbol = line.symbol if line.symbol in pairs else _owner(pairs, message.lastUpdateId)
        if symbol:
            snapshots[line.number, line.stamp] = symbol
            pairs[symbol].see_levels(message.bids)
            pairs[symbol].see_levels(message.asks)
    return Survey(pairs, snapshots, messages)


def _see_event(pairs: dict[str, Pair], event: _Event) -> None:
    if not isinstance(event.s, str) or not 0 < len(event.s.encode()) <= 64:
        return
    pair = pairs.setdefault(event.s, Pair())
    if isinstance(event.U, int) and isinstance(event.u, int):
        pair.first_id = pair.first_id or event.U
        pair.last_id = event.u
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
    """Plays a capture through a feed's kernels and collects what the oracle needs."""

    def __init__(self, found: Survey) -> None:
        self.survey = found
        self.symbols = sorted(found.pairs)
        table = np.zeros(len(self.symbols), INSTRUMENT)
        table["tick_units"] = table["lot_units"] = 1
        table["price_decimals"] = [found.pairs[symbol].price_decimals for symbol in self.symbols]
        table["qty_decimals"] = [found.pairs[symbol].qty_decimals for symbol in self.symbols]
        self.counters = np.zeros(64, np.int64)
        rows = range(len(self.symbols))
        self.feed: BinanceFeed = new_feed(table, self.symbols, rows, LEVELS_MAX, 0, self.counters)
        self.out = np.zeros(2 * LEVELS_MAX + 8, MARKET)
        self.data = np.zeros(1 << 20, np.uint8)
        self.tops: list[list[tuple[int, ...]]] = [[] for _ in rows]
        self.quotes: list[list[tuple[int, ...]]] = [[] for _ in rows]
        self.refused: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()

    def play(self, lines: Iterable[Line]) -> Iterator[tuple[int, int]]:
        """Yield (instrument, update id) each time a book is valid at a new update."""
        for line in lines:
            if line.connects:
                while on_disconnect(self.feed, 0, self.out):
                    pass
                continue
            n = self._take(line)
            if n == 0:
                continue
            last = self.out[n - 1]
            row = int(last["instrument"])
            best = tuple(int(last[field]) for field in ("venue_id", "price_ticks", "qty_lots", "ask_ticks", "ask_lots"))
            if last["kind"] == MarketKind.TOP:
                self.tops[row].append((*best, line.number))
                yield row, best[0]
            elif last["kind"] == MarketKind.QUOTE:
                self.quotes[row].append((*best, line.number))

    def _take(self, line: Line) -> int:
        size = len(line.payload)
        if size > len(self.data):
            self.data = np.zeros(2 * size, np.uint8)
        self.data[:size] = np.frombuffer(line.payload, np.uint8)
        symbol = self.survey.snapshots.get((line.number, line.stamp))
        before = int(self.counters[FeedCounter.MALFORMED])
        if symbol is None:
            n = int(on_frame(self.feed, self.data, 0, size, int(Opcode.TEXT), 1, self.out))
            if line.number == 0 or line.payload.startswith(b'{"lastUpdateId"'):
                self._refuse(line, "a snapshot that fits none or several of the symbols")
        else:
            self.counts["snapshots"] += 1
            n = int(on_snapshot(self.feed, self.symbols.index(symbol), self.data, 0, size, 1, self.out))
        if self.counters[FeedCounter.MALFORMED] > before:
            self._refuse(line, "malformed")
        return n

    def _refuse(self, line: Line, reason: str) -> None:
        self.counts["refused"] += 1
        if len(self.refused) < SHOWN_MAX:
            self.refused.append({"line": line.number, "reason": reason, "found": line.payload[:80].decode("utf-8", "backslashreplace")})


def _compare(player: Player, row: int) -> tuple[int, int, list[dict[str, Any]]]:
    """(compared, equal, what differed) of one instrument."""
    tops, quotes = np.array(player.tops[row], _BEST), np.array(player.quotes[row], _BEST)
    quotes = quotes[np.argsort(quotes["id"], kind="stable")]
    newest = np.searchsorted(quotes["id"], tops["id"], side="right") - 1
    tops, quotes = tops[newest >= 0], quotes[newest[newest >= 0]]
    same = np.ones(len(tops), np.bool_)
    for field in ("bid", "bid_lots", "ask", "ask_lots"):
        same &= tops[field] == quotes[field]
    differing = []
    for top, quote in zip(tops[~same], quotes[~same], strict=True):
        record = {"symbol": player.symbols[row], "line": int(top["line"]), "update_id": int(top["id"])}
        differing.append(record | {"book": top.tolist()[1:5], "bookTicker": quote.tolist()[:5]})
    return len(tops), int(same.sum()), differing


def verify(venue: str, path: Path) -> dict[str, Any]:
    """Verify a capture; the document that `hftctl verify-capture` prints. Raises CaptureError."""
    if venue != "binance":
        raise CaptureError(f"captures of {venue!r} are not supported: expected binance")
    found = survey(_shown(path, "reading"))
    player = Player(found)
    for _ in player.play(_shown(path, "checking", found.messages)):
        pass
    compared = equal = 0
    differing: list[dict[str, Any]] = []
    symbols: dict[str, Any] = {}
    for row, symbol in enumerate(player.symbols):
        row_compared, row_equal, row_differing = _compare(player, row)
        compared, equal = compared + row_compared, equal + row_equal
        differing += row_differing
        symbols[symbol] = _symbol_report(player, row) | {"compared": row_compared, "equal": row_equal}
    counters, scans = player.counters, player.feed.scanner.counts
    return {
        "venue": venue,
        "capture": str(path),
        "messages": found.messages,
        "book_updates": sum(len(tops) for tops in player.tops),
        "compared": compared,
        "equal": equal,
        "gaps": int(counters[FeedCounter.GAPS]),
        "crossed": int(counters[FeedCounter.CROSSED]),
        "checksum_ok": 0,
        "checksum_bad": 0,
        "refused": player.counts["refused"],
        "snapshots": player.counts["snapshots"],
        "trades": int(scans[ScanCount.TRADE]),
        "quotes": int(scans[ScanCount.QUOTE]),
        "diffs": int(scans[ScanCount.DEPTH]),
        "ignored": int(scans[ScanCount.OTHER] + scans[ScanCount.REPLY] + scans[ScanCount.REPLY_ERROR]),
        "first_refused": player.refused,
        "first_differing": differing[:SHOWN_MAX],
        "symbols": symbols,
    }


def _symbol_report(player: Player, row: int) -> dict[str, Any]:
    pair, book = player.survey.pairs[player.symbols[row]], book_at(player.feed.books, row)
    return {
        "book_updates": len(player.tops[row]),
        "price_decimals": pair.price_decimals,
        "qty_decimals": pair.qty_decimals,
        "bids": int(level_count(book, Side.BUY)),
        "asks": int(level_count(book, Side.SELL)),
    }


def books(path: Path) -> dict[str, NDArray[Any]]:
    """symbol -> BOOK rows: the book's hash at every update id at which it was valid. Raises CaptureError."""
    player = Player(survey(read_capture(path)))
    rows: list[list[tuple[int, int]]] = [[] for _ in player.symbols]
    for row, update_id in player.play(read_capture(path)):
        rows[row].append((update_id, int(state_hash(book_at(player.feed.books, row)))))
    return {symbol: np.array(rows[row], BOOK) for row, symbol in enumerate(player.symbols)}


def _shown(path: Path, what: str, total: int | None = None) -> Iterator[Line]:
    """The capture's lines, with a bar on stderr if that is a terminal."""
    if not sys.stderr.isatty():
        yield from read_capture(path)
        return
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        for done, line in enumerate(read_capture(path)):
            if done % 1000 == 0:
                progress.update(task, completed=done)
            yield line


def print_capture(document: dict[str, Any]) -> None:
    """What was compared, and what was wrong."""
    click.echo(f"{document['messages']} messages: {document['diffs']} diffs, {document['quotes']} quotes, {document['trades']} trades")
    for symbol, row in document["symbols"].items():
        click.echo(f"{symbol:<16}{row['book_updates']:>8} book updates{row['compared']:>8} compared{row['equal']:>8} equal")
    click.echo(f"gaps {document['gaps']}, crossed {document['crossed']}, refused {document['refused']}")
    for refused in document["first_refused"]:
        click.echo(f"line {refused['line']}: {refused['reason']}: {refused['found']}")
    for one in document["first_differing"]:
        click.echo(f"line {one['line']}: {one['symbol']} at {one['update_id']}: book {one['book']}, bookTicker {one['bookTicker']}")
