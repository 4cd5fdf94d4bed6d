"""The naive book says what `hft.book` should: two dicts, sorted when asked."""

from __future__ import annotations


class NaiveBook:
    """Price -> size for each side; sides are +1 (bids) and -1 (asks)."""

    def __init__(self) -> None:
        self.sides: dict[int, dict[int, int]] = {1: {}, -1: {}}

    def set_level(self, side: int, price_ticks: int, qty_lots: int) -> None:
        if qty_lots == 0:
            self.sides[side].pop(price_ticks, None)
        else:
            self.sides[side][price_ticks] = qty_lots

    def levels(self, side: int) -> list[tuple[int, int]]:
        """Best first."""
        return sorted(self.sides[side].items(), key=lambda level: -side * level[0])

    def best(self, side: int) -> tuple[int, int]:
        """Price and size of the best level, or zeros."""
        return self.levels(side)[0] if self.sides[side] else (0, 0)

    def crossed(self) -> bool:
        return bool(self.sides[1] and self.sides[-1]) and max(self.sides[1]) >= min(self.sides[-1])
