"""Public trades, and what a ticker states of a day of them."""

from __future__ import annotations

from typing import NamedTuple


class Trade(NamedTuple):
    """A public trade."""

    trade_id: int
    side: str  #: the taker's
    ticks: int
    lots: int
    at_ns: int


class Day:
    """What the ticker states of the trades since playback began, which stands for the last 24 hours."""

    def __init__(self) -> None:
        self.open = self.last = self.low = self.high = 0
        self.last_lots = self.volume_lots = self.turnover = self.count = 0

    def add(self, trade: Trade) -> None:
        """Take a trade."""
        self.open = self.open or trade.ticks
        self.low = min(self.low or trade.ticks, trade.ticks)
        self.high = max(self.high, trade.ticks)
        self.last, self.last_lots = trade.ticks, trade.lots
        self.volume_lots += trade.lots
        self.turnover += trade.ticks * trade.lots
        self.count += 1

    def vwap_ticks(self) -> int:
        """Return the average price, rounded down."""
        return self.turnover // self.volume_lots if self.volume_lots else 0
