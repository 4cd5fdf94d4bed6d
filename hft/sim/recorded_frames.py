"""A recording of a venue's book and trade messages as a market; how its lines are read is the venue's own.

Each symbol begins with its first recorded whole book. What follows comes at the messages' own times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from hft.sim.market import BookText, Event, EventKind, Hold, Level, Stamp, SymbolInfo, depth_body
from hft.sim.recording_index import RecordingError, RecordingFile, beginning

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
    """A book or trade message of a symbol that the venue knows."""

    at_ns: int  #: UTC, by its own time stamp
    snapshot: bool  #: or an update
    symbol: str
    changes: list[tuple[Side, Side]]  #: of the book: bids and asks
    trades: list[Trade]


#: Yields the messages of known symbols in order. Raises RecordingError at a line that is no message of the venue.
ReadFrames = Callable[[RecordingFile], Iterator[Frame]]


class Recording(NamedTuple):
    """What a first reading learned."""

    file: RecordingFile
    read: ReadFrames
    begin_ns: int
    span_ns: int
    infos: dict[str, SymbolInfo]
    #: symbol -> how many levels a side has at most; 0: all that there are
    depths: dict[str, int]
    #: symbol -> first whole book
    first: dict[str, tuple[Side, Side]]


class Survey:
    """Reads a recording once."""

    def __init__(self, file: RecordingFile, read: ReadFrames) -> None:
        self._file, self._read = file, read
        self.first: dict[str, tuple[Side, Side]] = {}
        self.begin_ns = self.end_ns = 0

    def frames(self) -> Iterator[Frame]:
        """Yield every message, and remember where each book begins. Raises RecordingError."""
        for frame in self._read(self._file):
            self.begin_ns, self.end_ns = self.begin_ns or frame.at_ns, max(self.end_ns, frame.at_ns)
            if frame.changes and frame.snapshot and frame.symbol not in self.first:
                self.first[frame.symbol] = frame.changes[0]
            yield frame

    def recording(self, infos: dict[str, SymbolInfo], depths: dict[str, int], known: str) -> Recording:
        """Return what was learned. Raises RecordingError, naming what is `known`, when there is no book."""
        if not self.first:
            raise RecordingError(f"{self._file.name}: there is no book snapshot of {known}{beginning(self._file)}")
        return Recording(self._file, self._read, self.begin_ns, self.end_ns - self.begin_ns, infos, depths, self.first)


class RecordedFrames:
    """Plays a recording once."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self._frames = recording.read(recording.file)
        self._next = next(self._frames, None)
        self._books = {symbol: (dict(bids), dict(asks)) for symbol, (bids, asks) in recording.first.items()}
        self._update_ids = dict.fromkeys(recording.first, 1)
        self._stamp: Stamp = int

    def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return the symbols."""
        return self._recording.infos

    def begin(self, stamp: Stamp, hold: Hold) -> None:
        """Stamp messages with `stamp`; there is nothing to hold at."""
        self._stamp = stamp

    def due_ns(self) -> int | None:
        """Return the position of the next message; None at the end."""
        return None if self._next is None else self._position(self._next)

    def held(self) -> bool:
        """Return False."""
        return False

    def advance(self, until_ns: int, limit: int) -> list[Event]:
        """Return the next events; see Market."""
        events: list[Event] = []
        while self._next is not None and len(events) < limit:
            at_ns = self._position(self._next)
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

    def _position(self, frame: Frame) -> int:
        """Return when a message is played; those that tell no time come with what follows."""
        return max(frame.at_ns - self._recording.begin_ns, 0)

    def _changes(self, at_ns: int, frame: Frame) -> list[Event]:
        """Apply a book message; return the levels that changed by it, those that fell out of the depth among them."""
        depth, before = self._recording.depths[frame.symbol], self._books[frame.symbol]
        if not depth and not frame.snapshot:
            told = zip(*frame.changes, strict=True)
            return self._diff(at_ns, frame.symbol, [_merged(side, levels) for side, levels in zip(before, told, strict=True)])
        bids, asks = ({}, {}) if frame.snapshot else (dict(before[0]), dict(before[1]))
        for told_bids, told_asks in frame.changes:
            bids.update(told_bids)
            asks.update(told_asks)
        after = (self._cut(frame.symbol, bids, True), self._cut(frame.symbol, asks, False))
        self._books[frame.symbol] = after
        return self._diff(at_ns, frame.symbol, [_difference(old, new) for old, new in zip(before, after, strict=True)])

    def _diff(self, at_ns: int, symbol: str, levels: list[list[Level]]) -> list[Event]:
        """Return the event that sets levels of bids and asks."""
        if not any(levels):
            return []
        self._update_ids[symbol] = update_id = self._update_ids[symbol] + 1
        body = depth_body(self._stamp(at_ns) // MS, symbol, update_id, update_id, *levels)
        return [Event(at_ns, EventKind.DEPTH, symbol, f"{symbol.lower()}@depth@100ms", body)]

    def _cut(self, symbol: str, side: Side, highest_first: bool) -> Side:
        """Return the levels of a side that are there, down to the recorded depth."""
        prices = sorted((price for price, qty in side.items() if qty), reverse=highest_first)
        return {price: side[price] for price in prices[: self._recording.depths[symbol] or None]}

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


def number_of(value: Any) -> Decimal:
    """Return a price or size. Raises ValueError or ArithmeticError when it is none."""
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(f"{value} is no price or size")
    return number


def _difference(old: Side, new: Side) -> list[Level]:
    gone = [(_text(price), _text(Decimal(0))) for price in old if price not in new]
    return gone + [(_text(price), _text(qty)) for price, qty in new.items() if old.get(price) != qty]


def _merged(side: Side, told: Iterable[Side]) -> list[Level]:
    """Set levels of a side; return those that changed."""
    before: Side = {}
    for levels in told:
        for price, qty in levels.items():
            before.setdefault(price, side.get(price, Decimal(0)))
            if qty:
                side[price] = qty
            else:
                side.pop(price, None)
    after = {price: side.get(price, Decimal(0)) for price in before}
    return [(_text(price), _text(qty)) for price, qty in after.items() if qty != before[price]]


def _text(value: Decimal) -> str:
    return f"{value:.8f}"
