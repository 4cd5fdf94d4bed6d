"""Kraken's public books: one book a pair, and a view of it for each depth that somebody follows.

A view is what its followers have: the best levels of each side. A message tells what became of those: removed levels first,
then changed ones and those that moved up into the depth. Of levels that fell out of it, it says nothing. So followers who
cut each side to the depth after the message, and those who cut after every level, both end with the same levels.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left
from collections.abc import Callable

from hft.sim.kraken.pairs import Pair
from hft.sim.ladder import Ladder
from hft.sim.texts import fixed
from hft.sim.tick_book import Change, TickBook

DEPTHS = (10, 25, 100, 500, 1000)
CHECKSUM_LEVELS = 10
#: In every this many messages of a view, a changed level comes twice: with half its size, then as it is.
REPEAT_PERIOD = 16
#: Below every key.
_BOTTOM = -(2**62)


class PublicBook(TickBook):
    """The book of one pair, and the views of it."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair.price_decimals, pair.qty_decimals)
        self.pair = pair
        #: depth -> view, of depths that somebody follows
        self.views: dict[int, View] = {}

    def view(self, depth: int) -> View:
        """Return the view of a depth, made if nobody followed it."""
        if depth not in self.views:
            self.views[depth] = View(self, depth)
        return self.views[depth]

    def checksum(self, extra_bid: Change | None = None) -> int:
        """Return the CRC-32 over the ten best asks and bids; `extra_bid` is one above all others that followers were told."""
        asks = [(-key, self.asks.lots[key]) for key in self.asks.keys[: -CHECKSUM_LEVELS - 1 : -1]]
        bids = [(key, self.bids.lots[key]) for key in self.bids.keys[: -CHECKSUM_LEVELS - 1 : -1]]
        if extra_bid is not None:
            bids = [extra_bid, *bids][:CHECKSUM_LEVELS]
        # Of a decimal text without its point and leading zeros, the units are what remains.
        return zlib.crc32("".join(f"{ticks}{lots}" for ticks, lots in (*asks, *bids)).encode())


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


def _repeated(levels: list[Change]) -> list[Change]:
    """Return levels with the first one that has a size told twice, in the middle and last."""
    place = next((i for i, (_, lots) in enumerate(levels) if lots > 1), None)
    if place is None:
        return levels
    key, lots = levels[place]
    return [*levels[:place], (key, lots // 2), *levels[place + 1 :], (key, lots)]
