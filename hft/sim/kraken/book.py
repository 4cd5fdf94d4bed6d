"""Kraken's public books: one book a pair, and a view of it for each depth that somebody follows.

A view is what its followers have: the best levels of each side. A message tells what became of those: removed levels first,
then changed ones and those that moved up into the depth. Of levels that fell out of it, it says nothing. So followers who
cut each side to the depth after the message, and those who cut after every level, both end with the same levels.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable

from hft.sim.kraken.pairs import Pair
from hft.sim.kraken.wire import fixed
from hft.sim.ladder import Ladder
from hft.sim.market import BookText, DepthUpdate, Level
from hft.sim.synthetic import PLACES

DEPTHS = (10, 25, 100, 500, 1000)
CHECKSUM_LEVELS = 10
#: In every this many messages of a view, a changed level comes twice: with half its size, then as it is.
REPEAT_PERIOD = 16
#: Below every key.
_BOTTOM = -(2**62)
#: (ticks, lots)
Change = tuple[int, int]


class PublicBook:
    """The book of one pair, in ticks and lots, under the keys of Ladder."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.bids, self.asks = Ladder(), Ladder()
        #: depth -> view, of depths that somebody follows
        self.views: dict[int, View] = {}
        self._tick_places = 10 ** (PLACES - pair.price_decimals)
        self._lot_places = 10 ** (PLACES - pair.qty_decimals)

    def load(self, book: BookText) -> None:
        """Fill an empty book."""
        for ticks, lots in self.in_units(book.bids):
            _put(self.bids, ticks, lots)
        for ticks, lots in self.in_units(book.asks):
            _put(self.asks, -ticks, lots)

    def apply(self, update: DepthUpdate) -> None:
        """Take the changes of a diff of the market."""
        for ticks, lots in self.in_units(update.b):
            _put(self.bids, ticks, lots)
        for ticks, lots in self.in_units(update.a):
            _put(self.asks, -ticks, lots)

    def apply_best(self, bid: Level, ask: Level) -> None:
        """Take the best levels, which may be ahead of the diffs: better ones are gone."""
        for ladder, sign, level in ((self.bids, 1, bid), (self.asks, -1, ask)):
            ((ticks, lots),) = self.in_units([level])
            while ladder.keys and ladder.keys[-1] > sign * ticks:
                _put(ladder, ladder.keys[-1], 0)
            _put(ladder, sign * ticks, lots)

    def view(self, depth: int) -> View:
        """Return the view of a depth, made if nobody followed it."""
        if depth not in self.views:
            self.views[depth] = View(self, depth)
        return self.views[depth]

    def take_changes(self) -> tuple[list[Change], list[Change]]:
        """Return (key, lots) of the levels that changed since the last call, bids and asks, best first; 0 lots is gone."""
        return self.bids.changes(), self.asks.changes()

    def best(self) -> tuple[Change, Change] | None:
        """Return the best bid and ask; None while a side is empty."""
        if not self.bids.keys or not self.asks.keys:
            return None
        bid, ask = self.bids.keys[-1], self.asks.keys[-1]
        return (bid, self.bids.lots[bid]), (-ask, self.asks.lots[ask])

    def price_text(self, ticks: int) -> str:
        """Return a price with the venue's decimals."""
        return fixed(ticks, self.pair.price_decimals)

    def qty_text(self, lots: int) -> str:
        """Return a size with the venue's decimals."""
        return fixed(lots, self.pair.qty_decimals)

    def checksum(self, extra_bid: Change | None = None) -> int:
        """Return the CRC-32 over the ten best asks and bids; `extra_bid` is one above all others that followers were told."""
        asks = [(-key, self.asks.lots[key]) for key in self.asks.keys[: -CHECKSUM_LEVELS - 1 : -1]]
        bids = [(key, self.bids.lots[key]) for key in self.bids.keys[: -CHECKSUM_LEVELS - 1 : -1]]
        if extra_bid is not None:
            bids = [extra_bid, *bids][:CHECKSUM_LEVELS]
        # Of a decimal text without its point and leading zeros, the units are what remains.
        return zlib.crc32("".join(f"{ticks}{lots}" for ticks, lots in (*asks, *bids)).encode())

    def in_units(self, levels: Iterable[Level]) -> list[Change]:
        """Return the market's levels, always with 8 decimals, as (ticks, lots)."""
        return [(int(price.replace(".", "")) // self._tick_places, int(qty.replace(".", "")) // self._lot_places) for price, qty in levels]


class View:
    """The best `depth` levels of each side, as its followers have them."""

    def __init__(self, book: PublicBook, depth: int) -> None:
        self._book, self._depth = book, depth
        #: Keys of the worst levels that followers have.
        self._bid_floor, self._ask_floor = self._floor(book.bids), self._floor(book.asks)
        self._messages = 0

    def snapshot(self, stamp: str) -> bytes:
        """Return the whole view as a message. Changes of the book must have been published."""
        bids = [(key, self._book.bids.lots[key]) for key in self._top(self._book.bids)]
        asks = [(-key, self._book.asks.lots[key]) for key in self._top(self._book.asks)]
        return self._message("snapshot", bids, asks, self._book.checksum(), stamp)

    def update(self, bid_changes: list[Change], ask_changes: list[Change], stamp: str, spoiled: Callable[[], bool]) -> bytes | None:
        """Return the message that tells followers of changes, if it tells them anything; `spoiled`: is its checksum wrong?"""
        bids = self._told(self._book.bids, bid_changes, self._bid_floor)
        asks = self._told(self._book.asks, ask_changes, self._ask_floor)
        self._bid_floor, self._ask_floor = self._floor(self._book.bids), self._floor(self._book.asks)
        if not bids and not asks:
            return None
        self._messages += 1
        if self._messages % REPEAT_PERIOD == 0:
            bids, asks = _repeated(bids), _repeated(asks)
        asks = [(-key, lots) for key, lots in asks]
        return self._message("update", bids, asks, self._book.checksum() ^ spoiled(), stamp)

    def cross(self, message: bytes) -> bytes:
        """Return a message with one more bid, at the second-best ask and in no book, and with a checksum that includes it."""
        asks = self._book.asks
        if not asks.keys:
            return message
        bid = (-asks.keys[-min(2, len(asks.keys))], 10 ** (self._book.pair.qty_decimals - 1))
        level = self._levels([bid])
        if b'"bids":[]' not in message:
            level += ","
        message = message.replace(b'"bids":[', b'"bids":[' + level.encode(), 1)
        return re.sub(rb'"checksum":\d+', f'"checksum":{self._book.checksum(bid)}'.encode(), message)

    def _told(self, ladder: Ladder, changes: list[Change], floor: int) -> list[Change]:
        """Return what followers must hear of one side, as (key, lots)."""
        new_floor = self._floor(ladder)
        gone = [(key, 0) for key, lots in changes if not lots and key >= floor]
        told = [(key, lots) for key, lots in changes if lots and key >= new_floor]
        told_keys = {key for key, _ in told}
        keys = ladder.keys
        for place in range(bisect_left(keys, floor) - 1, bisect_left(keys, new_floor) - 1, -1):
            if keys[place] not in told_keys:
                told.append((keys[place], ladder.lots[keys[place]]))
        return gone + told

    def _floor(self, ladder: Ladder) -> int:
        return ladder.keys[-self._depth] if len(ladder.keys) >= self._depth else _BOTTOM

    def _top(self, ladder: Ladder) -> list[int]:
        return ladder.keys[: -self._depth - 1 : -1]

    def _message(self, kind: str, bids: list[Change], asks: list[Change], checksum: int, stamp: str) -> bytes:
        return (
            f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"{self._book.pair.symbol}","bids":[{self._levels(bids)}],'
            f'"asks":[{self._levels(asks)}],"checksum":{checksum},"timestamp":"{stamp}"}}]}}'
        ).encode()

    def _levels(self, levels: list[Change]) -> str:
        pair = self._book.pair
        return ",".join(f'{{"price":{fixed(ticks, pair.price_decimals)},"qty":{fixed(lots, pair.qty_decimals)}}}' for ticks, lots in levels)


def _put(ladder: Ladder, key: int, lots: int) -> None:
    """Set the size of a level."""
    change = lots - ladder.lots.get(key, 0)
    if change:
        ladder.change(key, change)


def _repeated(levels: list[Change]) -> list[Change]:
    """Return levels with the first one that has a size told twice, in the middle and last."""
    place = next((i for i, (_, lots) in enumerate(levels) if lots > 1), None)
    if place is None:
        return levels
    key, lots = levels[place]
    return [*levels[:place], (key, lots // 2), *levels[place + 1 :], (key, lots)]
