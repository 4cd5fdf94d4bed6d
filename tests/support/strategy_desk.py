"""Strategy desk: drives one strategy's callbacks the way its stage does, without rings or processes."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from hft.book import new_books
from hft.ledger import apply_fill
from hft.market_state import apply_market
from hft.orders import apply_report, insert_order, is_working, new_orders
from hft.records import INSTRUMENT, INTENT, MARKET, POSITION, IntentKind, MarketFlag, MarketKind, OrderState, ReportKind, Side
from shm.pinned import pin
from strategies.contract import STAGED, View, check_module, new_view, resolve_params

BUY, SELL = int(Side.BUY), int(Side.SELL)
STATES = {
    ReportKind.ACK: OrderState.NEW,
    ReportKind.CANCELED: OrderState.CANCELED,
    ReportKind.EXPIRED: OrderState.EXPIRED,
    ReportKind.REJECTED: OrderState.REJECTED,
    ReportKind.REFUSED: OrderState.REJECTED,
    ReportKind.NOT_SENT: OrderState.REJECTED,
}


def instrument_rows(count: int = 1) -> np.ndarray:
    """Instruments with tick 0.01, lot 0.001 and a minimum notional of 5."""
    rows = np.zeros(count, INSTRUMENT)
    rows["ticklot_num"], rows["ticklot_den"] = 1000, 1
    rows["lot_e8_num"], rows["lot_e8_den"] = 100_000, 1
    rows["price_ticks_min"], rows["price_ticks_max"] = 1, 10_000_000
    rows["qty_lots_min"], rows["qty_lots_max"] = 1, 1_000_000
    rows["notional_min_e8"] = 500_000_000
    return rows


class Desk:
    """A strategy on one valid book, and the orders and positions that its stage would keep."""

    def __init__(self, module: ModuleType, params: dict[str, float] | None = None, instruments: int = 1) -> None:
        self.module = module
        self.now_ns = 1_000_000_000_000
        self.last_trade_id = 0
        strategy = check_module(module)
        self.rows = instrument_rows(instruments)
        self.valid = np.zeros(instruments, np.int64)
        self.view: View = new_view(
            books=new_books(instruments, 16),
            valid=self.valid,
            orders=new_orders(64, instruments),
            positions=np.zeros(instruments, POSITION),
            instruments=self.rows,
            params=resolve_params(strategy, params or {}),
            strategy=3,
            epoch=9,
        )
        self.pinned = pin(self.view)

    def call(self, name: str, instrument: int = 0) -> list[dict[str, int]]:
        """Run a callback; return what it staged, entered in the order table."""
        returned = getattr(self.module, name)(self.pinned.cell, instrument, self.now_ns)
        staged = []
        for i in range(int(self.view.words[STAGED])):
            intent = self.view.intents[i]
            if intent["kind"] in (IntentKind.NEW, IntentKind.REPLACE):
                assert insert_order(self.view.orders, self.view.intents, i, self.now_ns) >= 0
            staged.append({field: int(intent[field]) for field in INTENT.names if field != "reserved"})
        self.view.words[STAGED] = 0
        assert returned == len(staged)
        return staged

    def market(self, kind: int, instrument: int = 0, side: int = SELL, **fields: int) -> None:
        rows = np.zeros(1, MARKET)
        rows[0]["kind"], rows[0]["instrument"] = kind, instrument
        rows[0]["flags"] = MarketFlag.BID if side == BUY else 0
        for name, value in fields.items():
            rows[0][name] = value
        assert apply_market(self.view.books, self.valid, rows, 0) == 0
        self.view.market[0] = rows[0]

    def show(self, bid: int, bid_lots: int, ask: int, ask_lots: int, instrument: int = 0) -> list[dict[str, int]]:
        """A whole new valid book of one level a side; returns what `on_book` staged."""
        self.market(MarketKind.RESET, instrument)
        self.market(MarketKind.LEVEL, instrument, BUY, price_ticks=bid, qty_lots=bid_lots)
        self.market(MarketKind.LEVEL, instrument, SELL, price_ticks=ask, qty_lots=ask_lots)
        self.market(MarketKind.VALID, instrument)
        return self.call("on_book", instrument)

    def wait(self, ms: float) -> Desk:
        self.now_ns += int(ms * 1_000_000)
        return self

    def report(self, kind: int, about: dict[str, int], lots: int = 0, price: int = 0, **fields: int) -> list[dict[str, int]]:
        """Report on an intent; returns what `on_report` staged."""
        row = self.view.report[0]
        slot = [s for s in range(len(self.view.orders.rows)) if self.view.orders.rows[s]["order_id"] == about["order_id"]]
        cum = int(self.view.orders.rows[slot[0]]["cum_lots"]) + lots if slot else 0
        leaves = about["qty_lots"] - cum
        state = STATES.get(ReportKind(kind), OrderState.FILLED if leaves == 0 else OrderState.PARTIALLY_FILLED)
        values: dict[str, Any] = {name: about[name] for name in ("order_id", "price_ticks", "qty_lots", "strategy", "instrument", "side")}
        values |= {
            "kind": kind,
            "state": state,
            "ref_order_id": about["ref_order_id"],
            "cum_lots": cum,
            "last_lots": lots,
            "last_price_ticks": price or about["price_ticks"],
        }
        values |= {"leaves_lots": leaves if kind in (ReportKind.ACK, ReportKind.TRADE) else 0, "reported_ns": self.now_ns, **fields}
        if kind == ReportKind.TRADE:
            self.last_trade_id += 1
            values["trade_id"] = self.last_trade_id
        for name, value in values.items():
            row[name] = value
        outcome = apply_report(self.view.orders, self.view.report, 0)
        if kind == ReportKind.TRADE and outcome >= 0:
            apply_fill(self.view.positions, about["instrument"], self.rows, self.view.report, 0)
        return self.call("on_report", about["instrument"])

    def working(self, instrument: int = 0) -> list[dict[str, int]]:
        """Own working orders, oldest first."""
        rows = [row for row in self.view.orders.rows if row["order_id"] and is_working(row["state"]) and row["instrument"] == instrument]
        return sorted(
            ({name: int(row[name]) for name in row.dtype.names if name != "reserved"} for row in rows), key=lambda r: r["order_id"]
        )

    def position(self, instrument: int = 0) -> int:
        return int(self.view.positions[instrument]["position_lots"])
