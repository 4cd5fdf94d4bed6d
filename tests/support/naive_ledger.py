"""Naive ledger: positions by exact fractions, the readable twin of `hft.ledger`."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

from hft.records import FeeAsset


class NaiveLedger:
    """One position with average cost, in fractions of the quote and of a lot; nothing is ever rounded."""

    def __init__(self, instrument: Any) -> None:
        self.ticklot = Fraction(int(instrument["ticklot_num"]), int(instrument["ticklot_den"]))
        self.lot_e8 = Fraction(int(instrument["lot_e8_num"]), int(instrument["lot_e8_den"]))
        self.position_lots = 0
        self.cash_e8 = Fraction(0)
        self.cost_e8 = Fraction(0)
        self.realised_e8 = Fraction(0)
        self.turnover_e8 = Fraction(0)
        self.base_fee_e8 = Fraction(0)  # less the whole lots that were taken for it
        self.fees = {asset: 0 for asset in FeeAsset}

    def fill(self, side: int, price_ticks: int, lots: int, fee_e8: int, asset: int) -> None:
        """Book one fill."""
        value = side * price_ticks * lots * self.ticklot
        self.cash_e8 -= value
        self.turnover_e8 += abs(value)
        self._move(side * lots, value)
        self.fees[FeeAsset(asset)] += fee_e8
        if asset == FeeAsset.BASE:
            self.base_fee_e8 += fee_e8
            whole = ceil(self.base_fee_e8 / self.lot_e8)
            self.base_fee_e8 -= whole * self.lot_e8
            if whole:
                self._move(-whole, Fraction(0))

    def _move(self, change: int, value: Fraction) -> None:
        if self.position_lots * change < 0:
            closed = min(abs(change), abs(self.position_lots))
            released = self.cost_e8 * closed / abs(self.position_lots)
            paid = value * closed / abs(change)
            self.realised_e8 -= paid + released
            self.cost_e8 -= released
            value -= paid
        self.cost_e8 += value
        self.position_lots += change

    def unrealised_e8(self, mark_ticks_x2: int) -> Fraction:
        """P&L of the open position at half of bid + ask."""
        return self.position_lots * mark_ticks_x2 * self.ticklot / 2 - self.cost_e8
