"""A market yields the events that a simulated venue publishes; this module says what an event and a market are.

Positions are nanoseconds since playback began, in the market's own time. Prices and sizes stay decimal text, as on the
wire, so that what was recorded and what is served are the same characters.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple, Protocol

import msgspec

#: Playback position in ns -> wall-clock UTC in ns.
Stamp = Callable[[int], int]

#: Asked before a recorded snapshot of a symbol is passed: should playback wait here?
Hold = Callable[[str], bool]

Level = tuple[str, str]

#: Diffs kept to bring an older snapshot up to date: over a minute and a half of them.
RECENT_DIFFS = 1000


class SimError(Exception):
    """What a simulator was given cannot be played. Its subclasses name the material."""


class EventKind(IntEnum):
    """What an event's body is."""

    DEPTH = 1  #: `depthUpdate`
    TICKER = 2  #: `bookTicker`
    TRADE = 3
    OTHER = 4
    BOOK = 5  #: nothing is published; the market's own book was replaced, by a recorded snapshot


class Event(NamedTuple):
    """One message of one stream."""

    at_ns: int  #: playback position
    kind: EventKind
    symbol: str
    stream: str  #: as clients subscribe to it, such as `btcusdt@depth@100ms`
    body: bytes  #: the JSON a raw stream carries


class SymbolInfo(NamedTuple):
    """A pair and the filters that `exchangeInfo` states for it; all numbers are decimal text."""

    symbol: str
    base: str
    quote: str
    tick: str
    lot: str
    price_max: str
    qty_max: str
    notional_min: str


class BookText(NamedTuple):
    """A book, best levels first, and the last update id that it includes."""

    last_update_id: int
    bids: list[Level]
    asks: list[Level]

    def body(self, limit: int) -> bytes:
        """Return the REST `depth` body with at most `limit` levels a side."""
        return msgspec.json.encode({"lastUpdateId": self.last_update_id, "bids": self.bids[:limit], "asks": self.asks[:limit]})


class DepthUpdate(msgspec.Struct):
    """A `depthUpdate` message: absolute sizes; a zero size removes the level."""

    E: int
    s: str
    U: int
    u: int
    b: list[Level]
    a: list[Level]


class TickerText(msgspec.Struct):
    """The best bid and ask of a `bookTicker` message."""

    b: str
    B: str
    a: str
    A: str


class TradeText(msgspec.Struct):
    """A `trade` message; `m` is whether the buyer is the maker."""

    p: str
    q: str
    m: bool
    t: int = 0


decode_depth = msgspec.json.Decoder(DepthUpdate).decode
decode_ticker = msgspec.json.Decoder(TickerText).decode
decode_trade = msgspec.json.Decoder(TradeText).decode


class Market(Protocol):
    """A source of events that knows the book at its position."""

    def symbols(self) -> Mapping[str, SymbolInfo]:
        """Return the pairs it plays, by name."""

    def begin(self, stamp: Stamp, hold: Hold) -> None:
        """Start at position 0. Called once, before `advance`."""

    def due_ns(self) -> int | None:
        """Return the position of the next event; None at the end."""

    def advance(self, until_ns: int, limit: int) -> list[Event]:
        """Return the next events up to a position, in order; stop soon after `limit` of them."""

    def held(self) -> bool:
        """Return whether the last `advance` stopped because `hold` said so."""

    def depth(self, symbol: str, limit: int) -> bytes:
        """Return a REST `depth` body from which a client can follow the stream."""

    def book(self, symbol: str) -> BookText:
        """Return the simulator's own book at the current position."""

    def last_update_id(self, symbol: str) -> int:
        """Return the id of the simulator's own book."""

    def describe(self) -> dict[str, object]:
        """Return facts for people: kind, seed or files, span."""


def depth_body(event_ms: int, symbol: str, first_id: int, last_id: int, bids: Iterable[Level], asks: Iterable[Level]) -> bytes:
    """Return a `depthUpdate` with the venue's own key order and no spaces."""
    bid_text = ",".join(f'["{price}","{qty}"]' for price, qty in bids)
    ask_text = ",".join(f'["{price}","{qty}"]' for price, qty in asks)
    return (f'{{"e":"depthUpdate","E":{event_ms},"s":"{symbol}","U":{first_id},"u":{last_id},"b":[{bid_text}],"a":[{ask_text}]}}').encode()


def is_zero(qty: str) -> bool:
    """Return whether a decimal text is zero."""
    return not qty.strip("0.")


class DiffMerger:
    """Merges 100 ms diffs of one symbol into the 1000 ms diffs of `<symbol>@depth`."""

    PERIOD_NS = 1_000_000_000

    def __init__(self, symbol: str) -> None:
        self._symbol = symbol
        self._due_ns = self.PERIOD_NS
        self._first_id = 0
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}

    def merge(self, at_ns: int, update: DepthUpdate) -> Event | None:
        """Take a diff; return the merged one when its period is over."""
        self._first_id = self._first_id or update.U
        self._bids.update(update.b)
        self._asks.update(update.a)
        if at_ns < self._due_ns:
            return None
        self._due_ns = at_ns - at_ns % self.PERIOD_NS + self.PERIOD_NS
        body = depth_body(update.E, self._symbol, self._first_id, update.u, self._bids.items(), self._asks.items())
        self._first_id = 0
        self._bids, self._asks = {}, {}
        return Event(at_ns, EventKind.DEPTH, self._symbol, f"{self._symbol.lower()}@depth", body)


class TextBook:
    """A book of decimal text that follows recorded diffs by the venue's rule."""

    def __init__(self, last_update_id: int) -> None:
        self.last_update_id = last_update_id
        #: False until a snapshot was loaded, and after a gap: levels may be missing or stale.
        self.exact = False
        self._bids: dict[str, str] = {}
        self._asks: dict[str, str] = {}
        #: Diffs since the book was last inexact: a snapshot may be older than what was already played.
        self._recent: deque[DepthUpdate] = deque(maxlen=RECENT_DIFFS)

    def load(self, snapshot: BookText) -> None:
        """Replace the book by a recorded snapshot and the diffs already seen that are newer."""
        self.last_update_id = snapshot.last_update_id
        self._bids, self._asks = dict(snapshot.bids), dict(snapshot.asks)
        self.exact = True
        recent, self._recent = self._recent, deque(maxlen=RECENT_DIFFS)
        for update in recent:
            self.apply(update)

    def apply(self, update: DepthUpdate) -> None:
        """Apply a diff unless the book already includes it; note a gap."""
        if update.u <= self.last_update_id:
            return
        if update.U > self.last_update_id + 1:
            self.exact = False
        if not self.exact:
            self._recent.append(update)
        for levels, changes in ((self._bids, update.b), (self._asks, update.a)):
            for price, qty in changes:
                if is_zero(qty):
                    levels.pop(price, None)
                else:
                    levels[price] = qty
        self.last_update_id = update.u

    def text(self) -> BookText:
        """Return the book, best levels first."""

        def price(level: Level) -> Decimal:
            return Decimal(level[0])

        return BookText(self.last_update_id, sorted(self._bids.items(), key=price, reverse=True), sorted(self._asks.items(), key=price))
