"""Coinbase's public books: the levels of a market, and behind each level a queue of orders that adds up to it.

The market knows levels only. What is added to a level is a new order at the back of its queue; what goes is taken from the newest orders,
wholly or in part. A trade takes from the oldest. Everything that happens to an order is written down in `log`, in the order in which the
venue tells it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

from hft.sim.coinbase.products import Product
from hft.sim.ladder import Ladder
from hft.sim.market import BookText
from hft.sim.tick_book import TickBook

#: Orders into which the levels of a first book are divided at most.
PARTS_MAX = 3


class OrderKind(IntEnum):
    """What happened to an order."""

    RECEIVED = 1
    OPENED = 2
    MATCHED = 3
    CHANGED = 4
    FILLED = 5
    CANCELED = 6


class OrderEvent(NamedTuple):
    """Something that happened to an order of the market."""

    kind: OrderKind
    number: int  #: the order's; of a match, the maker's
    side: int  #: of a match, the maker's
    ticks: int
    lots: int  #: received: all; opened, canceled: what is left; matched: traded; changed: what is left now
    before_lots: int = 0  #: changed: what was left
    taker: int = 0  #: matched


class _Resting:
    """An order on the book."""

    __slots__ = ("lots", "number")

    def __init__(self, number: int, lots: int) -> None:
        self.number, self.lots = number, lots


class OrderBook(TickBook):
    """The book of one product."""

    def __init__(self, product: Product, next_number: Callable[[], int], trades_take: bool) -> None:
        """`trades_take` is whether the market's trades take from its levels by themselves; if not, a level's next size says it."""
        super().__init__(product.price_decimals, product.qty_decimals)
        self.log: list[OrderEvent] = []
        self._next_number, self._trades_take = next_number, trades_take
        #: side -> key -> orders, oldest first
        self._queues: dict[int, dict[int, list[_Resting]]] = {1: {}, -1: {}}

    def load(self, book: BookText) -> None:
        """Fill an empty book; nobody is told."""
        super().load(book)
        for side, ladder in ((1, self.bids), (-1, self.asks)):
            self._queues[side] = {key: self._divided(key, lots) for key, lots in ladder.lots.items()}
        self.log.clear()
        self.take_changes()

    def put(self, ladder: Ladder, key: int, lots: int) -> None:
        """Set the size of a level."""
        change = lots - ladder.lots.get(key, 0)
        super().put(ladder, key, lots)
        side = 1 if ladder is self.bids else -1
        if change > 0:
            self._open(side, key, change)
        elif change < 0:
            self._shrink(side, key, -change)

    def trade(self, aggressor: int, ticks: int, lots: int) -> None:
        """A taker of side `aggressor` traded at a price: against the oldest orders there."""
        side = -aggressor
        key, ladder = side * ticks, self.bids if side > 0 else self.asks
        if not self._trades_take:
            self._open(side, key, lots)
            self._queues[side][key].insert(0, self._queues[side][key].pop())
        elif ladder.lots.get(key, 0) < lots:
            # The market's diffs are behind its trades: what was placed and taken in between comes with the trade.
            self.put(ladder, key, lots)
        taker = self._next_number()
        self._note(OrderKind.RECEIVED, taker, aggressor, ticks, lots)
        rest = lots
        queue = self._queues[side][key]
        while rest:
            maker = queue[0]
            traded = min(rest, maker.lots)
            rest -= traded
            maker.lots -= traded
            self.log.append(OrderEvent(OrderKind.MATCHED, maker.number, side, ticks, traded, taker=taker))
            if not maker.lots:
                queue.pop(0)
                self._note(OrderKind.FILLED, maker.number, side, ticks, 0)
        self._note(OrderKind.FILLED, taker, aggressor, ticks, 0)
        if self._trades_take:
            ladder.change(key, -lots)
        if not queue:
            del self._queues[side][key]

    def orders(self, side: int, key: int) -> list[tuple[int, int]]:
        """Return (number, lots) of the orders of a level, oldest first."""
        return [(order.number, order.lots) for order in self._queues[side][key]]

    def take_log(self) -> list[OrderEvent]:
        """Return what happened since the last call."""
        log, self.log = self.log, []
        return log

    def _divided(self, key: int, lots: int) -> list[_Resting]:
        parts = min(1 + key % PARTS_MAX, lots)
        sizes = [lots // parts] * (parts - 1)
        return [_Resting(self._next_number(), size) for size in (*sizes, lots - sum(sizes))]

    def _open(self, side: int, key: int, lots: int) -> None:
        number = self._next_number()
        self._queues[side].setdefault(key, []).append(_Resting(number, lots))
        self._note(OrderKind.RECEIVED, number, side, abs(key), lots)
        self._note(OrderKind.OPENED, number, side, abs(key), lots)

    def _shrink(self, side: int, key: int, lots: int) -> None:
        """Take from the newest orders of a level."""
        queue = self._queues[side][key]
        while lots:
            newest = queue[-1]
            if newest.lots > lots:
                self.log.append(OrderEvent(OrderKind.CHANGED, newest.number, side, abs(key), newest.lots - lots, newest.lots))
                newest.lots -= lots
                return
            lots -= newest.lots
            queue.pop()
            self._note(OrderKind.CANCELED, newest.number, side, abs(key), newest.lots)
        if not queue:
            del self._queues[side][key]

    def _note(self, kind: OrderKind, number: int, side: int, ticks: int, lots: int) -> None:
        self.log.append(OrderEvent(kind, number, side, ticks, lots))
