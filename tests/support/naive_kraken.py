"""The naive Kraken book: the venue's rule on dicts of decimals and their texts, and what it makes valid and invalid."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal

from support.kraken_frames import book_message, checksum_of

Levels = list[tuple[str, str]]
Side = dict[Decimal, tuple[str, str]]


@dataclass
class NaiveKraken:
    """One symbol's book at one depth."""

    depth: int
    synced: bool = False
    bids: Side = field(default_factory=dict)
    asks: Side = field(default_factory=dict)

    def snapshot(self, bids: Levels, asks: Levels, checksum: int) -> str:
        self.bids, self.asks = {}, {}
        return self._take(bids, asks, checksum, "BOOK")

    def update(self, bids: Levels, asks: Levels, checksum: int) -> str:
        return self._take(bids, asks, checksum, "TOP") if self.synced else ""

    def _take(self, bids: Levels, asks: Levels, checksum: int, good: str) -> str:
        before, self.synced = self.synced, False
        for side, levels, reverse in ((self.bids, bids, True), (self.asks, asks, False)):
            for price, qty in levels:
                side.pop(Decimal(price), None)
                if Decimal(qty):
                    side[Decimal(price)] = (price, qty)
            for price in sorted(side, reverse=reverse)[self.depth :]:
                del side[price]
        if checksum_of(self.bids, self.asks) != checksum:
            return "INVALID 1008" if before else ""
        if self.bids and self.asks and max(self.bids) >= min(self.asks):
            return "INVALID 1002" if before else ""
        self.synced = True
        return good


class KrakenFlow:
    """A seeded venue: whole books and what it sends of them at one depth. Levels beyond the depth stay the venue's secret."""

    def __init__(self, seed: int, symbol: str, depth: int, price_decimals: int = 1, qty_decimals: int = 8) -> None:
        self.rng = random.Random(seed)
        self.symbol, self.depth = symbol, depth
        self.price_decimals, self.qty_decimals = price_decimals, qty_decimals
        self.middle = 500_000
        self.sides: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.seconds = 0
        for _ in range(4 * depth):
            self._change(self.rng.choice((1, -1)))

    def price(self, ticks: int) -> str:
        return f"{Decimal(ticks).scaleb(-self.price_decimals):.{self.price_decimals}f}"

    def qty(self, units: int) -> str:
        return f"{Decimal(units).scaleb(-self.qty_decimals):.{self.qty_decimals}f}"

    def snapshot(self) -> tuple[Levels, Levels, int]:
        return self._levels(1, self._top(1)), self._levels(-1, self._top(-1)), self.checksum()

    def update(self) -> tuple[Levels, Levels, int]:
        """Change a few levels; what moved within the depth, unsorted, a price perhaps twice."""
        before = {side: dict(self._top(side)) for side in (1, -1)}
        for _ in range(self.rng.randrange(1, 6)):
            self._change(self.rng.choice((1, -1)))
        sent: dict[int, Levels] = {}
        for side in (1, -1):
            after = dict(self._top(side))
            # Removals first: what falls out of the depth only because better levels came is not told.
            gone = [(ticks, 0) for ticks in before[side] if ticks not in self.sides[side]]
            changed = [(ticks, units) for ticks, units in after.items() if before[side].get(ticks) != units]
            twice = [(ticks, max(1, units // 2)) for ticks, units in changed if self.rng.random() < 0.2]
            self.rng.shuffle(changed)
            sent[side] = self._levels(side, twice + gone + changed)
        return sent[1], sent[-1], self.checksum()

    def message(self, what: str, levels: tuple[Levels, Levels, int]) -> bytes:
        self.seconds += 1
        return book_message(self.symbol, what, *levels, second=self.seconds)

    def checksum(self) -> int:
        texts = {side: {Decimal(t): (self.price(t), self.qty(q)) for t, q in self._top(side)} for side in (1, -1)}
        return checksum_of(texts[1], texts[-1])

    def _top(self, side: int) -> list[tuple[int, int]]:
        return sorted(self.sides[side].items(), key=lambda level: -side * level[0])[: self.depth]

    def _levels(self, side: int, levels: list[tuple[int, int]]) -> Levels:
        return [(self.price(ticks), self.qty(units)) for ticks, units in levels]

    def _change(self, side: int) -> None:
        levels = self.sides[side]
        if levels and self.rng.random() < 0.4:
            # Mostly near the best, where things happen.
            near = sorted(levels, key=lambda ticks: -side * ticks)
            del levels[near[min(int(self.rng.expovariate(0.3)), len(near) - 1)]]
            return
        ticks = self.middle - side * (1 + int(self.rng.expovariate(1 / (3 * self.depth))))
        levels[ticks] = self.rng.randrange(1, 10 ** self.rng.randrange(1, 12))
