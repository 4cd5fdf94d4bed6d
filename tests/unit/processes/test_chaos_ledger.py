"""Ledger of a campaign: what journals say, and how it is compared with what a venue says of the account."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from hft.config import Config
from hft.journal import JournalWriter, append, commit
from hft.records import MARKET, ORDER, REPORT, FeeAsset, IntentKind, JournalKind, MarketKind, OrderState, ReportKind, Side
from hft.tables import build_tables
from processes.chaos.agreement import balances_of, differences
from processes.chaos.ledger import Ledger, Open
from processes.chaos.sections import only, write_config
from support.engine import ROOT, row

MS = 1_000_000
VENUE = "binance"
#: What campaigns trade with.
SECTIONS = only(tomllib.loads((ROOT / "configs" / "paper-orders.toml").read_text()), VENUE)
TABLES = build_tables(msgspec.convert(SECTIONS, Config))


class Engine:
    """Journals of a feed and an execution, and the ledger that follows them."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.feed = JournalWriter(folder, f"feed.{VENUE}", 1, 1 << 20, 1, 1)
        self.execution = JournalWriter(folder, f"execution.{VENUE}", 1, 1 << 20, 1, 1)
        self.ledger = Ledger(folder, 1, VENUE, TABLES, 1000)

    def market(self, kind: MarketKind, at_ms: int, instrument: int = 0) -> None:
        self._write(self.feed, JournalKind.MARKET, row(MARKET, kind=kind, received_ns=at_ms * MS, instrument=instrument))

    def sends(self, order_id: int, kind: IntentKind = IntentKind.NEW) -> None:
        self._write(self.execution, JournalKind.SENDING, row(ORDER, order_id=order_id, kind=kind, approved_ns=order_id * MS))

    def reports(self, order_id: int, kind: ReportKind, state: OrderState, **fields: int) -> None:
        values = {"side": Side.BUY, "price_ticks": 6_000_000, "leaves_lots": 1000, "reported_ns": (order_id + 50) * MS} | fields
        self._write(self.execution, JournalKind.REPORT, row(REPORT, order_id=order_id, kind=kind, state=state, **values))

    def _write(self, writer: JournalWriter, kind: JournalKind, record: np.ndarray[Any, Any]) -> None:
        assert append(writer.context, kind, 0, 1, record.view(np.uint8), 0, record.nbytes) > 0
        commit(writer.context)
        self.ledger.poll()


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def account(bought: str = "0", spent: str = "0", orders: tuple[dict[str, str], ...] = ()) -> dict[str, Any]:
    btc, usdt = Decimal(100) + Decimal(bought), Decimal(1000) - Decimal(spent)
    return {
        "balances": {"BTC": {"free": str(btc), "hold": "0"}, "USDT": {"free": str(usdt - 10), "hold": "10"}},
        "open_orders": list(orders),
    }


BEGAN = balances_of(account())


def positions(lots: str = "0") -> list[dict[str, Any]]:
    return [{"instrument": "BTC-USDT.BINANCE", "position": lots}, {"instrument": "ETH-USDT.BINANCE", "position": "0"}]


def test_a_book_is_out_from_invalid_to_valid_and_its_last_event_is_known(engine: Engine) -> None:
    engine.market(MarketKind.INVALID, 1)
    engine.market(MarketKind.VALID, 2)
    engine.market(MarketKind.VALID, 2, instrument=1)
    assert engine.ledger.outages == [] and engine.ledger.all_valid, "a book that was never valid is not lost"
    engine.market(MarketKind.TOP, 10)
    engine.market(MarketKind.INVALID, 30)
    assert not engine.ledger.all_valid
    assert [tuple(outage) for outage in engine.ledger.outages] == [(0, 10 * MS, 30 * MS, 0)]
    engine.market(MarketKind.VALID, 90)
    assert engine.ledger.all_valid and engine.ledger.outages[0].until_ns == 90 * MS


def test_a_valid_book_without_an_event_for_too_long_was_quiet(engine: Engine) -> None:
    engine.market(MarketKind.VALID, 0)
    for at_ms in (10, 1010, 3000):
        engine.market(MarketKind.TOP, at_ms)
    assert [tuple(outage) for outage in engine.ledger.quiet] == [(0, 1010 * MS, 2010 * MS, 3000 * MS)]


def test_an_order_is_open_from_its_first_report_to_its_last(engine: Engine) -> None:
    engine.sends(5)
    assert engine.ledger.sent_ids == [5] and engine.ledger.open == {}
    engine.reports(5, ReportKind.ACK, OrderState.NEW)
    assert engine.ledger.open == {5: Open("BTCUSDT", "BUY", Decimal("60000.00"), Decimal("0.01000"))}
    engine.reports(5, ReportKind.UNKNOWN, OrderState.UNKNOWN)
    assert engine.ledger.unknown == 1
    engine.reports(5, ReportKind.CANCELED, OrderState.CANCELED, leaves_lots=0)
    assert engine.ledger.open == {} and engine.ledger.unknown == 0 and engine.ledger.lives[5].ended_ns == 55 * MS
    engine.ledger.forget_ended()
    assert engine.ledger.lives == {}


def test_a_cancel_is_a_request_and_no_order(engine: Engine) -> None:
    engine.sends(6, IntentKind.CANCEL)
    assert engine.ledger.sent == 1 and engine.ledger.sent_ids == []


def test_engine_and_venue_agree_when_fills_moved_what_balances_did(engine: Engine) -> None:
    engine.sends(5)
    fill = {"last_lots": 400, "last_price_ticks": 6_000_000, "leaves_lots": 600, "trade_id": 9, "fee_e8": 1000, "fee_asset": FeeAsset.BASE}
    engine.reports(5, ReportKind.TRADE, OrderState.PARTIALLY_FILLED, **fill)
    order = {"symbol": "BTCUSDT", "side": "BUY", "price": "60000", "qty": "0.01", "filled": "0.004"}
    there = account("0.00399", "240", (order,))
    assert differences(engine.ledger, TABLES, there, BEGAN, positions("0.00399")) == []
    assert engine.ledger.trade_ids == [("BTCUSDT", 9)]
    assert differences(engine.ledger, TABLES, account("0.00399", "240"), BEGAN, positions("0.00399")) == [
        "open only here: BUY 0.00600 BTCUSDT at 60000.00"
    ]
    (found,) = differences(engine.ledger, TABLES, account("0.004", "240", (order,)), BEGAN, positions("0.00399"))
    assert found.startswith("BTC: the venue moved 0.004")
    (found,) = differences(engine.ledger, TABLES, there, BEGAN, positions("0.003"))
    assert found.startswith("BTC-USDT.BINANCE: position 0.003")


def test_an_order_that_only_the_venue_knows_and_one_that_is_unknown_are_differences(engine: Engine) -> None:
    order = {"symbol": "BTCUSDT", "side": "BUY", "price": "60000", "qty": "0.01", "filled": "0"}
    assert differences(engine.ledger, TABLES, account(orders=(order,)), BEGAN, positions()) == [
        "open only at the venue: BUY 0.01 BTCUSDT at 60000"
    ]
    engine.reports(5, ReportKind.UNKNOWN, OrderState.UNKNOWN)
    assert differences(engine.ledger, TABLES, account(orders=(order,)), BEGAN, positions()) == ["1 orders unknown"]


def test_only_where_the_venue_tells_rates_may_a_fee_be_rounded_otherwise(engine: Engine) -> None:
    fill = {"last_lots": 400, "last_price_ticks": 6_000_000, "leaves_lots": 0, "trade_id": 9, "fee_e8": 1000, "fee_asset": FeeAsset.QUOTE}
    engine.reports(5, ReportKind.TRADE, OrderState.FILLED, **fill)
    exact, off = account("0.004", "240.00001"), account("0.004", "240.00001001")
    assert differences(engine.ledger, TABLES, exact, BEGAN, positions("0.004")) == []
    assert len(differences(engine.ledger, TABLES, off, BEGAN, positions("0.004"))) == 1
    elsewhere = TABLES._replace(instruments=("BTC-USDT.COINBASE", "ETH-USDT.COINBASE"))
    assert differences(engine.ledger, elsewhere, off, BEGAN, []) == []
    further = account("0.004", "240.00001002")
    assert len(differences(engine.ledger, elsewhere, further, BEGAN, [])) == 1


def test_fills_that_a_journal_lost_are_forgotten_until_they_come_again(engine: Engine) -> None:
    fill = {"last_lots": 1000, "last_price_ticks": 6_000_000, "fee_e8": 60_000, "fee_asset": FeeAsset.QUOTE}
    engine.reports(5, ReportKind.TRADE, OrderState.PARTIALLY_FILLED, trade_id=7, **fill)
    moved, positions = dict(engine.ledger.moved), dict(engine.ledger.positions)
    engine.reports(5, ReportKind.TRADE, OrderState.FILLED, trade_id=8, **fill)
    lost = row(REPORT, kind=ReportKind.TRADE, side=Side.BUY, trade_id=8, **fill)
    engine.ledger.lose([row(REPORT, kind=ReportKind.ACK)[0], lost[0]])
    assert (engine.ledger.moved, engine.ledger.positions) == (moved, positions) and len(engine.ledger.trade_ids) == 1
    engine.ledger.leave()
    engine.reports(6, ReportKind.TRADE, OrderState.FILLED, trade_id=9, **fill)
    assert len(engine.ledger.trade_ids) == 1, "an epoch that has ended is read no more"


def test_sections_of_one_venue_are_written_so_that_they_can_be_read(tmp_path: Path) -> None:
    assert tomllib.loads(write_config(tmp_path / "one.toml", SECTIONS).read_text()) == SECTIONS


def test_a_new_epoch_knows_no_order_and_no_book_but_all_that_was_traded(tmp_path: Path) -> None:
    engine = Engine(tmp_path / "1")
    engine.market(MarketKind.VALID, 1)
    engine.market(MarketKind.VALID, 1, instrument=1)
    engine.sends(5)
    fill = {"last_lots": 400, "last_price_ticks": 6_000_000, "leaves_lots": 600, "trade_id": 9, "fee_e8": 1000, "fee_asset": FeeAsset.BASE}
    engine.reports(5, ReportKind.TRADE, OrderState.PARTIALLY_FILLED, **fill)
    assert engine.ledger.open and engine.ledger.all_valid and engine.ledger.first_sent_ns == 5 * MS
    later = tmp_path / "2"
    JournalWriter(later, f"feed.{VENUE}", 2, 1 << 20, 1, 1)
    engine.ledger.follow(later, 2)
    assert (engine.ledger.open, engine.ledger.all_valid, engine.ledger.first_sent_ns, engine.ledger.epoch) == ({}, False, 0, 2)
    assert differences(engine.ledger, TABLES, account("0.00399", "240"), BEGAN, positions("0.00399")) == []
    engine.ledger.poll()
    engine.execution = JournalWriter(tmp_path / "3", f"execution.{VENUE}", 3, 1 << 20, 1, 1)
    engine.ledger.follow(tmp_path / "3", 3)
    engine.sends(6)
    assert engine.ledger.sent_ids == [5, 6] and engine.ledger.first_sent_ns == 6 * MS, "the feed goes on with its journal of epoch 2"


def test_no_stop_loss_ends_a_campaigns_orders_and_no_guardian_kills_it() -> None:
    assert {section["stop_loss_bp"] for section in SECTIONS["limits"].values()} == {10_000} and "guardian" not in SECTIONS
    assert SECTIONS["firm"]["fills_window_ms"] == 1000 and SECTIONS["firm"]["daily_loss_max"] == "200000", (
        "no restart forgives what they count"
    )
