"""A recording of Kraken's WebSocket v2 as a market: raw frames, one a line, with or without the receive time in ns before them.

Each pair begins with its first recorded snapshot. What follows comes at the frames' own times. Levels that fell out of the
recorded depth leave the market's book, as they left the books of those who listened; so books served from a recording have
its checksums, down to its depth.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from hft.sim.kraken.book import DEPTHS
from hft.sim.kraken.pairs import PAIRS, flow
from hft.sim.market import BookText, Event, EventKind, Hold, Stamp, SymbolInfo, depth_body
from hft.sim.recording_index import RecordingError, RecordingFile, beginning, numbered
from hft.sim.texts import decode_json, parse_rfc3339

MS = 1_000_000
#: price -> size of one side
Side = dict[Decimal, Decimal]


class Trade(NamedTuple):
    """A trade of a message."""

    id: int
    price: Decimal
    qty: Decimal
    sold: bool  #: the taker sold


class Frame(NamedTuple):
    """A book or trade message of a pair that the venue knows."""

    at_ns: int  #: UTC, by its own time stamp
    snapshot: bool  #: or an update
    symbol: str
    changes: list[tuple[Side, Side]]  #: of the book: bids and asks
    trades: list[Trade]


class Recording(NamedTuple):
    """What a first reading learned."""

    file: RecordingFile
    begin_ns: int
    span_ns: int
    #: symbol -> depth, and the first snapshot
    depths: dict[str, int]
    first: dict[str, tuple[Side, Side]]


def scan(file: RecordingFile) -> Recording:
    """Read a recording once. Raises RecordingError when it cannot be played."""
    begin_ns = end_ns = 0
    depths: dict[str, int] = {}
    first: dict[str, tuple[Side, Side]] = {}
    for frame in read_frames(file):
        begin_ns, end_ns = begin_ns or frame.at_ns, max(end_ns, frame.at_ns)
        if frame.changes and frame.snapshot and frame.symbol not in first:
            bids, asks = first[frame.symbol] = frame.changes[0]
            deepest = max(len(bids), len(asks))
            depths[frame.symbol] = next((depth for depth in DEPTHS if depth >= deepest), deepest)
    if not first:
        raise RecordingError(f"{file.name}: there is no book snapshot of {', '.join(PAIRS)}{beginning(file)}")
    return Recording(file, begin_ns, end_ns - begin_ns, depths, first)


def read_frames(file: RecordingFile) -> Iterator[Frame]:
    """Yield the messages of known pairs in order. Raises RecordingError at a line that is no message of this venue."""
    at_ns = 0
    for number, line in numbered(file):
        text = line.partition(b" ")[2] if line[:1].isdigit() else line
        try:
            message = decode_json(text)
            channel = message.get("channel")
            if channel not in ("book", "trade") or message["data"][0]["symbol"] not in PAIRS:
                continue
            rows = message["data"]
            at_ns = max(at_ns, parse_rfc3339(rows[-1]["timestamp"]) if "timestamp" in rows[-1] else at_ns)
            changes = [_levels(row) for row in rows] if channel == "book" else []
            trades = [_trade(row) for row in rows] if channel == "trade" else []
            yield Frame(at_ns, message["type"] == "snapshot", rows[0]["symbol"], changes, trades)
        except (msgspec.DecodeError, UnicodeDecodeError, AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise RecordingError(f"{file.place(number)}: expected a message of WebSocket v2, found {text[:60]!r} ({error})") from error


class RecordedKraken:
    """Plays a recording once."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._frames = read_frames(recording.file)
        self._next = next(self._frames, None)
        self._books = {symbol: (dict(bids), dict(asks)) for symbol, (bids, asks) in recording.first.items()}
        self._update_ids = dict.fromkeys(recording.first, 1)
        self._stamp: Stamp = int

    def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return the pairs."""
        return {symbol: flow(PAIRS[symbol]).info for symbol in self._books}

    def begin(self, stamp: Stamp, hold: Hold) -> None:
        """Stamp messages with `stamp`; there is nothing to hold at."""
        self._stamp = stamp

    def due_ns(self) -> int | None:
        """Return the position of the next message; None at the end."""
        return None if self._next is None else self._next.at_ns - self._recording.begin_ns

    def held(self) -> bool:
        """Return False."""
        return False

    def advance(self, until_ns: int, limit: int) -> list[Event]:
        """Return the next events; see Market."""
        events: list[Event] = []
        while self._next is not None and len(events) < limit:
            at_ns = self._next.at_ns - self._recording.begin_ns
            if at_ns > until_ns:
                break
            if self._next.symbol in self._books:
                events += self._trades(at_ns, self._next) if self._next.trades else self._changes(at_ns, self._next)
            self._next = next(self._frames, None)
        return events

    def depth(self, symbol: str, limit: int) -> bytes:
        """Return the book at this position."""
        return self.book(symbol).body(limit)

    def book(self, symbol: str) -> BookText:
        """Return the book at this position."""
        bids, asks = self._books[symbol]
        return BookText(
            self._update_ids[symbol],
            [(_text(price), _text(bids[price])) for price in sorted(bids, reverse=True)],
            [(_text(price), _text(asks[price])) for price in sorted(asks)],
        )

    def last_update_id(self, symbol: str) -> int:
        """Return a count of the book's changes."""
        return self._update_ids[symbol]

    def describe(self) -> dict[str, object]:
        """Return the file and its span."""
        return {"market": "recorded", "files": [self._recording.file.name], "span_ns": self._recording.span_ns}

    def _changes(self, at_ns: int, frame: Frame) -> list[Event]:
        """Apply a book message; return the levels that changed by it, those that fell out of the depth among them."""
        before = self._books[frame.symbol]
        bids, asks = ({}, {}) if frame.snapshot else (dict(before[0]), dict(before[1]))
        for told_bids, told_asks in frame.changes:
            bids.update(told_bids)
            asks.update(told_asks)
        after = (self._cut(frame.symbol, bids, True), self._cut(frame.symbol, asks, False))
        self._books[frame.symbol] = after
        levels = [_difference(old, new) for old, new in zip(before, after, strict=True)]
        if not any(levels):
            return []
        self._update_ids[frame.symbol] = update_id = self._update_ids[frame.symbol] + 1
        body = depth_body(self._stamp(at_ns) // MS, frame.symbol, update_id, update_id, *levels)
        return [Event(at_ns, EventKind.DEPTH, frame.symbol, f"{frame.symbol.lower()}@depth@100ms", body)]

    def _cut(self, symbol: str, side: Side, highest_first: bool) -> Side:
        """Return the levels of a side that are there, down to the recorded depth."""
        prices = sorted((price for price, qty in side.items() if qty), reverse=highest_first)
        return {price: side[price] for price in prices[: self._recording.depths[symbol]]}

    def _trades(self, at_ns: int, frame: Frame) -> list[Event]:
        if frame.snapshot:
            return []
        stamp_ms, stream = self._stamp(at_ns) // MS, f"{frame.symbol.lower()}@trade"
        bodies = [
            {
                "e": "trade",
                "E": stamp_ms,
                "s": frame.symbol,
                "t": trade.id,
                "p": _text(trade.price),
                "q": _text(trade.qty),
                "T": stamp_ms,
                "m": trade.sold,
                "M": True,
            }
            for trade in frame.trades
        ]
        return [Event(at_ns, EventKind.TRADE, frame.symbol, stream, msgspec.json.encode(body)) for body in bodies]


def _levels(row: Mapping[str, Any]) -> tuple[Side, Side]:
    """Return bids and asks of a message; of a price that comes twice, the last size."""
    bids, asks = ({_number(level["price"]): _number(level["qty"]) for level in row[name]} for name in ("bids", "asks"))
    return bids, asks


def _trade(row: Mapping[str, Any]) -> Trade:
    return Trade(int(row["trade_id"]), _number(row["price"]), _number(row["qty"]), row["side"] == "sell")


def _number(value: Any) -> Decimal:
    """Return a price or size. Raises ValueError or ArithmeticError when it is none."""
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{value} is no price or size")
    return number


def _difference(old: Side, new: Side) -> list[tuple[str, str]]:
    gone = [(_text(price), _text(Decimal(0))) for price in old if price not in new]
    return gone + [(_text(price), _text(qty)) for price, qty in new.items() if old.get(price) != qty]


def _text(value: Decimal) -> str:
    return f"{value:.8f}"
