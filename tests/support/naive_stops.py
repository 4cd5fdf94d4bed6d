"""Naive stops: each strategy's position by exact fractions, the readable twin of `hft.stops`."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from hft.records import RiskCode
from support.naive_ledger import NaiveLedger


class NaiveStops:
    """Limits and instruments are read from the same rows as the kernel's."""

    def __init__(self, rows: Any, limits: Any, strategies: int) -> None:
        self.rows, self.limits = rows, limits
        self.owned = {(s, row): NaiveLedger(rows[row]) for s in range(strategies) for row in range(len(rows))}
        self.forgiven: dict[tuple[int, int], Fraction] = {}
        self.reducing: dict[int, RiskCode] = {}

    def fill(self, report: Any, mark_x2: int) -> None:
        """A strategy was filled."""
        key = int(report["strategy"]), int(report["instrument"])
        ledger = self.owned[key]
        before = ledger.position_lots
        ledger.fill(*(int(report[name]) for name in ("side", "last_price_ticks", "last_lots", "fee_e8", "fee_asset")))
        if before * ledger.position_lots <= 0:
            self.forgiven.pop(key, None)
        self.look(key[1], mark_x2)

    def _loss(self, key: tuple[int, int], mark_x2: int) -> Fraction | None:
        """In 1e-8 quote; None for a position without a mark or too small to trade."""
        ledger = self.owned[key]
        value = ledger.position_lots * mark_x2 * ledger.ticklot / 2
        if not value or abs(round(value)) < self.rows[key[1]]["notional_min_e8"]:
            return None
        return round(ledger.cost_e8) - Fraction(round(value))

    def look(self, row: int, mark_x2: int) -> None:
        """The mark or a position has changed."""
        for key, ledger in self.owned.items():
            loss = self._loss(key, mark_x2) if key[1] == row else None
            most = Fraction(abs(round(ledger.cost_e8)) * int(self.limits[row]["stop_loss_bp"]), 10_000)
            if loss is not None and loss - self.forgiven.get(key, 0) > most:
                self.reducing.setdefault(row, RiskCode.STOP_LOSS)

    def on_word(self, row: int, word: int, mark_x2: int) -> None:
        """The reduce word of an instrument was seen."""
        if word:
            self.reducing.setdefault(row, RiskCode.STOP_LOSS if word == RiskCode.STOP_LOSS else RiskCode.REDUCE_ONLY_MODE)
        elif self.reducing.pop(row, None):
            for key in self.owned:
                if key[1] == row:
                    self.forgiven[key] = max(self._loss(key, mark_x2) or Fraction(0), Fraction(0))

    def refusal(self, row: int, strategy: int, side: int, lots: int) -> RiskCode:
        """`lots`: the order and what its strategy has working on its side."""
        if row in self.reducing and side * self.owned[strategy, row].position_lots + lots > 0:
            return self.reducing[row]
        return RiskCode.OK
