"""Journals: what a test reads back from an engine's journals, and what follows from it by plain arithmetic."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from hft.config import Config, load
from hft.journal_reader import Entry, JournalReader
from hft.records import InputKind, IntentKind, JournalKind, MarketKind, ReportKind
from hft.replay import MarketJournal
from hft.tables import build_tables
from processes.instance import Instance
from support.live_engine import LiveEngine
from support.naive_ledger import NaiveLedger


def entries(instance: Instance, stage: str, epoch: int) -> Iterator[Entry]:
    """What the stage has journaled in the epoch so far; nothing if it has no journal."""
    folder = instance.journal_folder(epoch)
    if not any(folder.glob(f"{stage}.*.journal")):
        return
    reader = JournalReader(folder, stage, epoch)
    while found := reader.poll():
        yield from found


def reports(instance: Instance, epochs: Iterable[int], kind: ReportKind, venue: str = "binance") -> list[Any]:
    """The reports of one kind that the execution journaled, in order."""
    rows = []
    for epoch in epochs:
        for entry in entries(instance, f"execution.{venue}", epoch):
            if entry.kind == JournalKind.REPORT:
                rows += [row for row in entry.records() if row["kind"] == kind]
    return rows


def config_of(engine: LiveEngine) -> Config:
    """The config file that the engine was started with."""
    return load(engine.config)


def assert_positions_follow_from_fills(engine: LiveEngine, status: dict[str, Any]) -> int:
    """Compare every owner's position and P&L with the fills journaled in all epochs of the session; return the number of fills."""
    tables = build_tables(config_of(engine))
    owners = ("firm", *tables.strategies)
    books = {(owner, name): NaiveLedger(tables.instrument_rows[i]) for owner in owners for i, name in enumerate(tables.instruments)}
    fills = reports(engine.instance, [e for e in engine.instance.sessions() if e >= status["session"]], ReportKind.TRADE)
    seen: set[int] = set()
    for fill in fills:
        assert int(fill["trade_id"]) not in seen, f"trade {fill['trade_id']} twice"
        seen.add(int(fill["trade_id"]))
        name = tables.instruments[fill["instrument"]]
        for owner in ("firm", tables.strategies[fill["strategy"]]):
            args = (int(fill[field]) for field in ("side", "last_price_ticks", "last_lots", "fee_e8", "fee_asset"))
            books[owner, name].fill(*args)
    counts = dict.fromkeys(books, 0)
    for fill in fills:
        for owner in ("firm", tables.strategies[fill["strategy"]]):
            counts[owner, tables.instruments[fill["instrument"]]] += 1
    assert {(row["owner"], row["instrument"]) for row in status["positions"]} == set(books)
    for row in status["positions"]:
        _compare(row, books[row["owner"], row["instrument"]], counts[row["owner"], row["instrument"]])
    _compare_pnl(status)
    return len(fills)


def _compare(row: dict[str, Any], book: NaiveLedger, fills: int) -> None:
    expected = {
        "position_lots": book.position_lots,
        "fills": fills,
        "cash_ticklots": book.cash_e8 / book.ticklot,
        "fees_quote_e8": book.fees[0],
        "turnover_e8": book.turnover_e8,
    }
    assert {key: row[key] for key in expected} == expected, row
    # Average cost is divided half-even with the rest carried: never a unit off for each of the two.
    for key, exact in (("realised_e8", book.realised_e8), ("cost_e8", book.cost_e8)):
        assert abs(row[key] - exact) < Fraction(2), f"{row['owner']} {row['instrument']} {key}: {row[key]}, exactly {float(exact)}"
    if book.position_lots == 0:
        assert row["unrealised_e8"] == 0


def _compare_pnl(status: dict[str, Any]) -> None:
    """All rates are 1 in paper.toml: the firm's P&L is the plain sum of its rows."""
    firm = [row for row in status["positions"] if row["owner"] == "firm"]
    assert status["pnl"]["net_e8"] == sum(row["realised_e8"] + row["unrealised_e8"] - row["fees_quote_e8"] for row in firm)


def assert_no_order_on_an_invalid_book(engine: LiveEngine, epoch: int) -> int:
    """Follow risk's journal: whenever it approved an order, its own view of that book was valid. Return how often one became invalid."""
    config = config_of(engine)
    topology = config.topology()
    ring = topology.ring("market.binance.risk")
    feed = topology.stage(ring.producer)
    folder = engine.instance.journal_folder(epoch)
    market = MarketJournal(JournalReader(folder, feed.name, epoch), feed.outputs.index(ring))
    valid = np.zeros(len(config.instruments), np.bool_)
    invalidated = orders = 0
    for entry in entries(engine.instance, "risk", epoch):
        if entry.kind == JournalKind.INPUT:
            for row in entry.records():
                if row["kind"] == InputKind.RECORDS and row["ring"] == ring.number:
                    invalidated += _follow(valid, market.records(int(row["first"]), int(row["last"])))
        elif entry.kind == JournalKind.ORDER:
            for order in entry.records():
                if order["kind"] in (IntentKind.NEW, IntentKind.REPLACE):
                    orders += 1
                    assert valid[order["instrument"]], f"order {order['order_id']} was approved on an invalid book"
    assert orders, "no order was approved at all"
    return invalidated


def _follow(valid: Any, records: Any) -> int:
    invalidated = 0
    for record in records:
        if record["kind"] == MarketKind.VALID:
            valid[record["instrument"]] = True
        elif record["kind"] in (MarketKind.INVALID, MarketKind.RESET):
            invalidated += int(valid[record["instrument"]] and record["kind"] == MarketKind.INVALID)
            valid[record["instrument"]] = False
    return invalidated
