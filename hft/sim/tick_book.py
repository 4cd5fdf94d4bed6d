"""The book of a market's symbol in ticks and lots."""

from __future__ import annotations

from collections.abc import Iterable

from hft.sim.ladder import Ladder
from hft.sim.market import BookText, DepthUpdate, Level
from hft.sim.synthetic import PLACES
from hft.sim.texts import fixed

#: (ticks, lots), or (key, lots) under the keys of Ladder
Change = tuple[int, int]


class TickBook:
    """The book of one symbol, under the keys of Ladder; it follows what a market says of it."""

    def __init__(self, price_decimals: int, qty_decimals: int) -> None:
        """Ticks and lots are units of the last of so many decimals."""
        self.price_decimals, self.qty_decimals = price_decimals, qty_decimals
        self.bids, self.asks = Ladder(), Ladder()
        self._tick_places = 10 ** (PLACES - price_decimals)
        self._lot_places = 10 ** (PLACES - qty_decimals)

    def load(self, book: BookText) -> None:
        """Fill an empty book."""
        for ticks, lots in self.in_units(book.bids):
            self.put(self.bids, ticks, lots)
        for ticks, lots in self.in_units(book.asks):
            self.put(self.asks, -ticks, lots)

    def apply(self, update: DepthUpdate) -> None:
        """Take the changes of a diff of the market."""
        for ticks, lots in self.in_units(update.b):
            self.put(self.bids, ticks, lots)
        for ticks, lots in self.in_units(update.a):
            self.put(self.asks, -ticks, lots)

    def apply_best(self, bid: Level, ask: Level) -> None:
        """Take the best levels, which may be ahead of the diffs: better ones are gone."""
        for ladder, sign, level in ((self.bids, 1, bid), (self.asks, -1, ask)):
            ((ticks, lots),) = self.in_units([level])
            while ladder.keys and ladder.keys[-1] > sign * ticks:
                self.put(ladder, ladder.keys[-1], 0)
            self.put(ladder, sign * ticks, lots)

    def put(self, ladder: Ladder, key: int, lots: int) -> None:
        """Set the size of a level of one of the sides."""
        change = lots - ladder.lots.get(key, 0)
        if change:
            ladder.change(key, change)

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
        """Return a price with the symbol's decimals."""
        return fixed(ticks, self.price_decimals)

    def qty_text(self, lots: int) -> str:
        """Return a size with the symbol's decimals."""
        return fixed(lots, self.qty_decimals)

    def text(self) -> tuple[list[Level], list[Level]]:
        """Return bids and asks as decimal text, best first."""
        bids = [(self.price_text(key), self.qty_text(lots)) for key, lots in self.bids.levels()]
        return bids, [(self.price_text(-key), self.qty_text(lots)) for key, lots in self.asks.levels()]

    def in_units(self, levels: Iterable[Level]) -> list[Change]:
        """Return the market's levels, always with 8 decimals, as (ticks, lots)."""
        return [(int(price.replace(".", "")) // self._tick_places, int(qty.replace(".", "")) // self._lot_places) for price, qty in levels]
