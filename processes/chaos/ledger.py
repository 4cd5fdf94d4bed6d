"""Ledger: what an engine believes, followed from its journals while it runs: its books, its open orders, and what its fills moved.

Everything has the time at which the engine did it (CLOCK_MONOTONIC ns), so that nothing depends on how often the journals are looked at.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hft.journal_reader import Entry, JournalReader
from hft.records import FeeAsset, IntentKind, JournalKind, MarketKind, OrderState, ReportKind, Side
from hft.tables import Tables

_E8 = Decimal("1e-8")
_WORKING = {OrderState.NEW, OrderState.PARTIALLY_FILLED, OrderState.PENDING_CANCEL, OrderState.UNKNOWN, OrderState.PENDING_NEW}


class Open(NamedTuple):
    """An order that works, as a venue would tell it."""

    symbol: str
    side: str
    price: Decimal
    leaves: Decimal


class Outage(NamedTuple):
    """A time in which a book was of no use; `until_ns` is 0 while it lasts."""

    row: int
    last_event_ns: int  #: the newest event of the book before it
    from_ns: int
    until_ns: int


class Life(NamedTuple):
    """When an order was sent, and when it ended; 0 while it works."""

    row: int
    sent_ns: int
    ended_ns: int


class Ledger:
    """One engine with one venue, epoch after epoch."""

    def __init__(self, folder: Path, epoch: int, venue: str, tables: Tables, silence_ms: int) -> None:
        """Begin with the first entry of both journals; a valid book without an event for `silence_ms` is quiet."""
        self._tables, self._silence_ns, self._venue = tables, silence_ms * 1_000_000, venue
        self.epoch = epoch
        self._feed: JournalReader | None = JournalReader(folder, f"feed.{venue}", epoch)
        self._execution: JournalReader | None = JournalReader(folder, f"execution.{venue}", epoch)
        rows = tables.instrument_rows
        self._ticks = [Decimal(int(row["tick_units"])).scaleb(-int(row["price_decimals"])) for row in rows]
        self._lots = [Decimal(int(row["lot_units"])).scaleb(-int(row["qty_decimals"])) for row in rows]
        self._assets = [name.rpartition(".")[0].split("-") for name in tables.instruments]
        self._event_ns = [0] * len(tables.instruments)
        self._unknown: set[int] = set()
        self.valid = [False] * len(tables.instruments)
        self.outages: list[Outage] = []
        self.quiet: list[Outage] = []  #: times in which a valid book had no event for too long, once they are over
        self.lives: dict[int, Life] = {}
        self.open: dict[int, Open] = {}
        #: asset -> what fills and fees have moved
        self.moved: defaultdict[str, Decimal] = defaultdict(Decimal)
        #: instrument row -> base that fills have moved, with fees paid in it
        self.positions: defaultdict[int, Decimal] = defaultdict(Decimal)
        self.trade_ids: list[tuple[str, int]] = []  #: (symbol, trade id) of each fill, in order
        self.sent_ids: list[int] = []  #: order id of each request for a new order, replacing ones included
        self.sent = 0  #: requests, cancels included
        self.first_sent_ns = 0  #: when the epoch's first order was approved; 0 if none was

    def poll(self) -> None:
        """Take what has been journaled since."""
        for entry in _new(self._feed) if self._feed is not None else ():
            if entry.kind == JournalKind.MARKET:
                self._take_market(entry.records())
        for entry in _new(self._execution) if self._execution is not None else ():
            if entry.kind == JournalKind.SENDING:
                self._take_sending(entry.records()[0])
            elif entry.kind == JournalKind.REPORT:
                for report in entry.records():
                    self._take_report(report)

    def leave(self) -> None:
        """Take the rest of an epoch that has ended, and read its journals no more: they may change now."""
        self.poll()
        self._feed = self._execution = None

    def lose(self, reports: list[Any]) -> None:
        """Forget the fills among these, which a journal no longer has: they come again from the venue."""
        for report in reports:
            if report["kind"] == ReportKind.TRADE:
                row = int(report["instrument"])
                self._book(report, row, -1)
                self.trade_ids.remove((self._tables.symbols[row], int(report["trade_id"])))

    def follow(self, folder: Path, epoch: int) -> None:
        """Go on with the next epoch, in which the feed tells every book again and no order of before is known."""
        self.poll()
        self.epoch, self.first_sent_ns = epoch, 0
        self.valid = [False] * len(self.valid)
        self.open.clear()
        self._unknown.clear()
        if any(folder.glob(f"feed.{self._venue}.*.journal")):
            self._feed = JournalReader(folder, f"feed.{self._venue}", epoch)
        has_execution = any(folder.glob(f"execution.{self._venue}.*.journal"))  # Not if its process was killed while it began.
        self._execution = JournalReader(folder, f"execution.{self._venue}", epoch) if has_execution else None

    def forget_ended(self) -> None:
        """Keep only the lives of orders that work."""
        self.lives = {order_id: life for order_id, life in self.lives.items() if not life.ended_ns}

    @property
    def unknown(self) -> int:
        """How many orders' outcome is not known."""
        return len(self._unknown)

    @property
    def all_valid(self) -> bool:
        """Whether every book is valid."""
        return all(self.valid)

    def step(self, row: int) -> Decimal:
        """One lot of an instrument, in base."""
        return self._lots[row]

    def _take_market(self, records: Any) -> None:
        kinds = records["kind"]
        for k in np.flatnonzero((kinds == MarketKind.TOP) | (kinds == MarketKind.VALID) | (kinds == MarketKind.INVALID)):
            row, at_ns, kind = int(records["instrument"][k]), int(records["received_ns"][k]), int(kinds[k])
            if kind == MarketKind.TOP:
                since_ns = self._event_ns[row]
                if self.valid[row] and since_ns and at_ns - since_ns > self._silence_ns:
                    self.quiet.append(Outage(row, since_ns, since_ns + self._silence_ns, at_ns))
                self._event_ns[row] = at_ns
            elif kind == MarketKind.INVALID:
                if self.valid[row]:
                    self.outages.append(Outage(row, self._event_ns[row] or at_ns, at_ns, 0))
                self.valid[row] = False
            else:
                if not self.valid[row]:
                    self._end_outage(row, at_ns)
                self.valid[row] = True

    def _end_outage(self, row: int, at_ns: int) -> None:
        for place in range(len(self.outages) - 1, -1, -1):
            outage = self.outages[place]
            if outage.row == row:
                if not outage.until_ns:
                    self.outages[place] = outage._replace(until_ns=at_ns)
                return

    def _take_sending(self, order: Any) -> None:
        self.sent += 1
        if order["kind"] in (IntentKind.NEW, IntentKind.REPLACE):
            order_id = int(order["order_id"])
            self.sent_ids.append(order_id)
            self.first_sent_ns = self.first_sent_ns or int(order["approved_ns"])
            self.lives[order_id] = Life(int(order["instrument"]), int(order["approved_ns"]), 0)

    def _take_report(self, report: Any) -> None:
        order_id, row = int(report["order_id"]), int(report["instrument"])
        if report["kind"] == ReportKind.TRADE:
            self._take_fill(report, row)
        self._unknown.discard(order_id)
        if report["state"] not in _WORKING:
            self.open.pop(order_id, None)
            life = self.lives.get(order_id)
            if life is not None and not life.ended_ns:
                self.lives[order_id] = life._replace(ended_ns=int(report["reported_ns"]))
            return
        if report["state"] == OrderState.UNKNOWN:
            self._unknown.add(order_id)
        side = "BUY" if report["side"] == Side.BUY else "SELL"
        price, leaves = int(report["price_ticks"]) * self._ticks[row], int(report["leaves_lots"]) * self._lots[row]
        self.open[order_id] = Open(self._tables.symbols[row], side, price, leaves)

    def _take_fill(self, report: Any, row: int) -> None:
        self._book(report, row, 1)
        self.trade_ids.append((self._tables.symbols[row], int(report["trade_id"])))

    def _book(self, report: Any, row: int, times: int) -> None:
        """Book a fill as the venue does: what it costs is rounded down to 10^-8 of the quote asset. `times` is -1 to take it back."""
        side = int(report["side"])
        qty = int(report["last_lots"]) * self._lots[row]
        cost = (int(report["last_price_ticks"]) * self._ticks[row] * qty) // _E8 * _E8
        base, quote = self._assets[row]
        fee = int(report["fee_e8"]) * _E8
        in_base = fee if report["fee_asset"] == FeeAsset.BASE else Decimal(0)
        self.moved[base] += times * (side * qty - in_base)
        self.moved[quote] -= times * (side * cost + (fee if report["fee_asset"] == FeeAsset.QUOTE else 0))
        self.positions[row] += times * (side * qty - in_base)


def _new(reader: JournalReader) -> Iterator[Entry]:
    while found := reader.poll():
        yield from found
