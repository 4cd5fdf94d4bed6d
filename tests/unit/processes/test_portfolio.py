"""Portfolio: books every fill for the firm and its strategy, and people read whole rows from outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.counters import PortfolioCounter
from hft.records import LAYOUT_ID, MARKET, POSITION, MarketFlag, MarketKind, ReportKind
from processes.recovery import empty_positions
from shm import observe
from shm.layout import Geometry, SegmentKind, cell_bytes
from shm.segment import Segment
from support.engine import ASK, BID, BTC, BUY, SELL, Bench, row

STAGE, MARKETS, REPORTS = "portfolio", "market.binance.portfolio", "reports.binance.portfolio"
FIRM_BTC, OWN_BTC = 0, 2


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path, None, [STAGE]) as bench:
        yield bench


def cells(bench: Bench) -> Any:
    """The shared rows as `hftctl status` reads them: from a segment, by a reader without numba."""
    shared = bench.stage(STAGE).context.cells
    geometry = Geometry(SegmentKind.CELL, cell_bytes(POSITION), len(shared))
    segment = Segment.create(f"hft.{bench.folder.name}.positions", LAYOUT_ID, geometry, shared.nbytes, 0)
    try:
        segment.array(0, np.int64, shared.size)[:] = shared.reshape(-1)
        return observe.cells(segment, POSITION)
    finally:
        segment.unlink()
        segment.close()


def test_fill_is_booked_on_the_firm_and_its_strategy_and_on_no_other_row(bench: Bench) -> None:
    order = bench.order(qty_lots=900)
    bench.put(REPORTS, bench.report(order, ReportKind.ACK), bench.report(order, ReportKind.TRADE, fee_e8=12))
    assert bench.turn(STAGE) == 2
    rows = cells(bench)
    assert rows["position_lots"].tolist() == [900, 0, 900, 0] and rows["fills"].tolist() == [1, 0, 1, 0]
    assert rows["fees_quote_e8"].tolist() == [12, 0, 12, 0]
    assert rows["cash_ticklots"].tolist() == [-900 * (BID - 100), 0, -900 * (BID - 100), 0]
    assert bench.counter(STAGE, PortfolioCounter.FILLS) == 1 and bench.counter(STAGE, PortfolioCounter.REPORTS) == 2
    assert rows[OWN_BTC]["strategy"] == 0 and rows[FIRM_BTC]["strategy"] == -1


@pytest.mark.parametrize("strategy", [1, 7, -1])
def test_fill_of_a_strategy_that_there_is_no_row_of_is_the_firms_alone_and_counted(bench: Bench, strategy: int) -> None:
    """Of an order of another session, which had more strategies. What lies beyond the rows is not to be written."""
    context = bench.stage(STAGE).context
    beyond = np.zeros(100, POSITION)
    beyond[: len(context.positions)] = context.positions
    order = bench.order(qty_lots=900)
    order["strategy"] = strategy
    with_room = context._replace(positions=beyond[: len(context.positions)])
    bench.stage(STAGE).context = with_room
    for kind, lots in ((ReportKind.ACK, 0), (ReportKind.TRADE, 400)):
        bench.put(REPORTS, bench.report(order, kind, **({"last_lots": lots} if lots else {})))
        bench.turn(STAGE)
        assert not beyond[len(context.positions) :].view(np.uint8).any()
    rows = cells(bench)
    assert rows["position_lots"].tolist() == [400, 0, 0, 0] and rows["fills"].tolist() == [1, 0, 0, 0]
    assert rows["working_buy_lots"].tolist() == [500, 0, 0, 0] and rows["cash_ticklots"].tolist() == [-400 * (BID - 100), 0, 0, 0]
    assert bench.counter(STAGE, PortfolioCounter.FILLS) == bench.counter(STAGE, PortfolioCounter.NO_STRATEGY) == 1


def test_working_sizes_follow_each_report(bench: Bench) -> None:
    buy, sell = bench.order(qty_lots=1000), bench.order(qty_lots=500, side=SELL, price_ticks=ASK)
    steps = [
        (bench.report(buy, ReportKind.ACK), 1000, 0),
        (bench.report(sell, ReportKind.ACK), 1000, 500),
        (bench.report(buy, ReportKind.TRADE, last_lots=300), 700, 500),
        (bench.report(sell, ReportKind.TRADE), 700, 0),
        (bench.report(buy, ReportKind.CANCELED, cum_lots=300), 0, 0),
    ]
    for report, buy_lots, sell_lots in steps:
        bench.put(REPORTS, report)
        bench.turn(STAGE)
        rows = cells(bench)
        for at in (FIRM_BTC, OWN_BTC):
            assert (rows[at]["working_buy_lots"], rows[at]["working_sell_lots"]) == (buy_lots, sell_lots), ReportKind(report[0]["kind"])
    assert cells(bench)["position_lots"].tolist() == [-200, 0, -200, 0]


def test_report_of_an_order_that_never_worked_changes_no_working_size(bench: Bench) -> None:
    bench.put(REPORTS, bench.report(bench.order(), ReportKind.NOT_SENT), bench.report(bench.order(), ReportKind.REJECTED))
    bench.turn(STAGE)
    assert not cells(bench)["working_buy_lots"].any() and not cells(bench)["working_sell_lots"].any()


def test_the_same_fill_twice_counts_once(bench: Bench) -> None:
    order = bench.order(qty_lots=1000)
    fill = bench.report(order, ReportKind.TRADE, last_lots=400)
    bench.put(REPORTS, bench.report(order, ReportKind.ACK), fill, fill)
    bench.turn(STAGE)
    assert cells(bench)["position_lots"].tolist() == [400, 0, 400, 0] and bench.counter(STAGE, PortfolioCounter.FILLS) == 1


@pytest.mark.parametrize("kind", [MarketKind.TOP, MarketKind.QUOTE])
def test_best_prices_revalue_every_row_of_the_instrument(bench: Bench, kind: int) -> None:
    order = bench.order(qty_lots=1000, price_ticks=BID)
    bench.put(REPORTS, bench.report(order, ReportKind.ACK), bench.report(order, ReportKind.TRADE))
    top = bench.top(BTC, BID + 999, BID + 1001)
    top["kind"] = kind
    bench.put(MARKETS, top)
    bench.turn(STAGE)
    rows = cells(bench)
    # 1000 lots of 1e-5 gain 1000 ticks of 0.01: 0.1 in quote, 1e7 in 1e-8.
    assert rows["unrealised_e8"].tolist() == [10_000_000, 0, 10_000_000, 0]
    assert rows["mark_ticks_x2"].tolist() == [2 * (BID + 1000), 0, 2 * (BID + 1000), 0]
    assert bench.counter(STAGE, PortfolioCounter.MARKS) == 1


def test_other_market_records_and_empty_sides_mark_nothing(bench: Bench) -> None:
    bench.put(MARKETS, bench.tops()[:2], row(MARKET, kind=MarketKind.TOP, flags=MarketFlag.LAST, price_ticks=BID))
    bench.turn(STAGE)
    assert not cells(bench)["mark_ticks_x2"].any()


def test_realised_profit_is_cash_of_a_round_trip(bench: Bench) -> None:
    for side, price in ((BUY, BID), (SELL, BID + 500)):
        order = bench.order(side=side, price_ticks=price, qty_lots=2000)
        bench.put(REPORTS, bench.report(order, ReportKind.ACK), bench.report(order, ReportKind.TRADE))
    bench.turn(STAGE)
    rows = cells(bench)
    assert rows["realised_e8"].tolist() == [10_000_000, 0, 10_000_000, 0] and rows["cash_ticklots"].tolist() == [1_000_000, 0, 1_000_000, 0]


def test_what_is_taken_in_is_journaled(bench: Bench) -> None:
    bench.put(REPORTS, bench.report(bench.order(), ReportKind.ACK))
    bench.put(MARKETS, bench.tops())
    bench.turn(STAGE)
    rings = [bench.topology.rings[int(i["ring"])].name for i in bench.inputs(STAGE)]
    assert rings == [REPORTS, MARKETS] and bench.kinds(STAGE) == ["INPUT", "INPUT"]


def test_switch_of_epoch_begins_with_recovered_positions_at_the_marks_of_before(bench: Bench, tmp_path: Path) -> None:
    order = bench.order(qty_lots=1000)
    bench.put(REPORTS, bench.report(order, ReportKind.ACK), bench.report(order, ReportKind.TRADE, last_lots=400))
    bench.put(MARKETS, bench.top())
    bench.turn(STAGE)
    bench.loop.close("epoch 2 follows")
    stage = bench.stage(STAGE)
    stage.positions = empty_positions(stage.tables)  # type: ignore[attr-defined]
    stage.positions["position_lots"] = [700, 0, 700, 0]  # type: ignore[attr-defined]
    bench.resources.epoch, bench.resources.folder = 2, tmp_path / "2"
    bench.loop.attach(bench.resources)
    bench.put(REPORTS, bench.report(bench.order(qty_lots=50), ReportKind.ACK))
    bench.turn(STAGE)
    rows = cells(bench)
    assert rows["position_lots"].tolist() == [700, 0, 700, 0] and rows["working_buy_lots"].tolist() == [50, 0, 50, 0]
    assert rows["mark_ticks_x2"].tolist() == [BID + ASK, 0, BID + ASK, 0]
