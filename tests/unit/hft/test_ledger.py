"""Ledger: fills to position, cost, P&L and fees, against exact fractions."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft import ledger
from hft.ledger import COST_FRACTION
from hft.records import POSITION, REPORT, FeeAsset, Side
from hft.units import WIDE
from support.naive_ledger import NaiveLedger
from support.risk_account import instrument_rows

#: Grids: Binance-like; finer than 1e-8 quote; lots finer than 1e-8 base; a lot of many 1e-8.
GRIDS = [
    {"ticklot_num": 10, "ticklot_den": 1, "lot_e8_num": 1000, "lot_e8_den": 1},
    {"ticklot_num": 1, "ticklot_den": 100, "lot_e8_num": 1, "lot_e8_den": 1},
    {"ticklot_num": 3, "ticklot_den": 1000, "lot_e8_num": 3, "lot_e8_den": 10},
    {"ticklot_num": 25, "ticklot_den": 10, "lot_e8_num": 700, "lot_e8_den": 1},
]


@pytest.fixture(params=["jit", "py"])
def body(request: pytest.FixtureRequest) -> Any:
    """Run each kernel compiled and as plain Python."""
    return (lambda f: f) if request.param == "jit" else (lambda f: getattr(f, "py_func", f))


def trade(side: int, price_ticks: int, lots: int, fee_e8: int = 0, asset: int = FeeAsset.QUOTE) -> Any:
    """One TRADE report."""
    reports = np.zeros(1, REPORT)
    for name, value in {"side": side, "last_price_ticks": price_ticks, "last_lots": lots, "fee_e8": fee_e8, "fee_asset": asset}.items():
        reports[0][name] = value
    return reports


def assert_row_is_exact(row: Any, instrument: Any, where: object) -> None:
    """The two identities of the module's docstring."""
    n, d = int(instrument["ticklot_num"]), int(instrument["ticklot_den"])
    left = (int(row["realised_e8"]) - int(row["cost_e8"])) * d + int(row["notional_remainder"])
    assert left == int(row["cash_ticklots"]) * n, where
    lot = Fraction(int(instrument["lot_e8_num"]), int(instrument["lot_e8_den"]))
    fee_lots = (int(row["fees_base_e8"]) - Fraction(int(row["base_fee_remainder"]), int(instrument["lot_e8_den"]))) / lot
    assert fee_lots.denominator == 1, where
    assert row["position_lots"] == row["bought_lots"] - row["sold_lots"] - fee_lots, where


FILLS = st.lists(
    st.tuples(
        st.sampled_from([1, -1]),
        st.integers(1, 10**8),
        st.integers(1, 10**6),
        st.integers(-(10**6), 10**9),
        st.sampled_from(list(FeeAsset)),
    ),
    max_size=40,
)


@given(fills=FILLS, grid=st.sampled_from(GRIDS), mark_ticks=st.integers(1, 10**8))
@settings(max_examples=200, deadline=None)
def test_ledger_equals_exact_fractions_on_random_fills(fills: list[tuple[int, ...]], grid: dict[str, int], mark_ticks: int) -> None:
    instruments = instrument_rows(1, **grid)
    positions, twin = np.zeros(1, POSITION), NaiveLedger(instruments[0])
    for count, (side, price, lots, fee, asset) in enumerate(fills, 1):
        assert ledger.apply_fill(positions, 0, instruments, trade(side, price, lots, fee, asset), 0) == 1
        twin.fill(side, price, lots, fee, asset)
        row = positions[0]
        assert_row_is_exact(row, instruments[0], fills[:count])
        assert row["position_lots"] == twin.position_lots
        # Whole units differ from the exact value by rounding alone: a unit a flip or flattening, never a drift.
        assert abs(int(row["realised_e8"]) - twin.realised_e8) <= count + 1, fills[:count]
        assert abs(int(row["turnover_e8"]) - twin.turnover_e8) <= count, fills[:count]
        assert row["fees_quote_e8"] == twin.fees[FeeAsset.QUOTE] and row["fees_other_e8"] == twin.fees[FeeAsset.OTHER]
    assert ledger.mark(positions, 0, instruments, mark_ticks, mark_ticks + 1, 5) == 1
    row, value = positions[0], twin.position_lots * (2 * mark_ticks + 1) * twin.ticklot / 2
    total = int(row["realised_e8"]) + int(row["unrealised_e8"])
    assert abs(total - (twin.cash_e8 + value)) <= 1, "realised + unrealised is cash plus position at the mark"


def test_ledger_bodies_agree_on_random_fills() -> None:
    seed = 20240808
    chance = random.Random(seed)
    for grid in GRIDS:
        instruments = instrument_rows(1, **grid)
        compiled, plain = np.zeros(1, POSITION), np.zeros(1, POSITION)
        for _ in range(300):
            fill = trade(
                chance.choice([1, -1]), chance.randint(1, 10**8), chance.randint(1, 10**6), chance.randint(-99, 10**6), chance.randint(0, 2)
            )
            ledger.apply_fill(compiled, 0, instruments, fill, 0)
            getattr(ledger.apply_fill, "py_func", ledger.apply_fill)(plain, 0, instruments, fill, 0)
        np.testing.assert_array_equal(compiled, plain, err_msg=f"seed {seed} grid {grid}")


def test_average_cost_does_not_drift_over_a_thousand_partial_closes(body: Any) -> None:
    instruments = instrument_rows(1, ticklot_num=1, ticklot_den=1)
    positions, twin = np.zeros(1, POSITION), NaiveLedger(instruments[0])
    for side, price, lots in [(1, 7, 1_000_003), (1, 8, 500_009), *[(-1, 9, 997)] * 1000]:
        body(ledger.apply_fill)(positions, 0, instruments, trade(side, price, lots), 0)
        twin.fill(side, price, lots, 0, FeeAsset.QUOTE)
        carried = positions[0]["cost_e8"] + Fraction(int(positions[0]["cost_remainder"]), COST_FRACTION)
        assert abs(carried - twin.cost_e8) < Fraction(1, 1000)


def test_buys_average_and_a_partial_sale_releases_average_cost(body: Any) -> None:
    instruments, positions = instrument_rows(1), np.zeros(1, POSITION)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 100, 10), 0)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 200, 10), 0)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.SELL, 190, 5, fee_e8=7), 0)
    row = positions[0]
    assert (row["position_lots"], row["cost_e8"], row["realised_e8"]) == (15, 22_500, 2_000)
    assert (row["fees_quote_e8"], row["fills"], row["turnover_e8"], row["cash_ticklots"]) == (7, 3, 39_500, -2_050)


def test_a_sale_through_zero_realises_the_long_and_opens_the_short(body: Any) -> None:
    instruments, positions = instrument_rows(1), np.zeros(1, POSITION)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 100, 10), 0)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.SELL, 110, 25), 0)
    row = positions[0]
    assert (row["position_lots"], row["realised_e8"], row["cost_e8"]) == (-15, 1_000, -16_500)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 100, 15), 0)
    assert (positions[0]["position_lots"], positions[0]["realised_e8"], positions[0]["cost_e8"]) == (0, 2_500, 0)


def test_a_base_fee_takes_whole_lots_rounded_up_so_that_the_position_can_be_sold(body: Any) -> None:
    instruments, positions = instrument_rows(1), np.zeros(1, POSITION)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 100, 10, fee_e8=700, asset=FeeAsset.BASE), 0)
    assert (positions[0]["position_lots"], positions[0]["base_fee_remainder"]) == (9, -300)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 100, 10, fee_e8=1700, asset=FeeAsset.BASE), 0)
    row = positions[0]
    assert (row["position_lots"], row["base_fee_remainder"], row["fees_base_e8"]) == (17, -600, 2_400)
    assert (row["realised_e8"], row["cost_e8"]) == (-3_000, 17_000), "what the fee took is lost at its average cost"


def test_a_base_rebate_adds_whole_lots(body: Any) -> None:
    instruments, positions = instrument_rows(1), np.zeros(1, POSITION)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 100, 10, fee_e8=-1500, asset=FeeAsset.BASE), 0)
    assert (positions[0]["position_lots"], positions[0]["base_fee_remainder"], positions[0]["cost_e8"]) == (11, -500, 10_000)


def test_a_fee_in_another_asset_is_counted_and_in_no_pnl(body: Any) -> None:
    instruments, positions = instrument_rows(1), np.zeros(1, POSITION)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 100, 10, fee_e8=99, asset=FeeAsset.OTHER), 0)
    row = positions[0]
    assert (row["fees_other_e8"], row["fees_quote_e8"], row["position_lots"], row["realised_e8"]) == (99, 0, 10, 0)


@pytest.mark.parametrize(
    "bad",
    [
        {"last_lots": 0},
        {"last_lots": -1},
        {"last_price_ticks": 0},
        {"last_price_ticks": -5},
        {"side": 0},
        {"side": 2},
        {"fee_asset": 3},
        {"fee_asset": -1},
        {"last_lots": 2**61},
        {"last_price_ticks": 2**40, "last_lots": 2**40},
        {"fee_e8": 2**61},
        {"fee_e8": -(2**63)},
    ],
)
def test_a_fill_that_cannot_be_booked_changes_nothing(body: Any, bad: dict[str, int]) -> None:
    instruments, positions = instrument_rows(1), np.zeros(1, POSITION)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 100, 10), 0)
    before, fill = positions.copy(), trade(Side.SELL, 90, 5)
    for name, value in bad.items():
        fill[0][name] = value
    assert body(ledger.apply_fill)(positions, 0, instruments, fill, 0) == 0
    np.testing.assert_array_equal(positions, before)


@pytest.mark.parametrize("field", ["cash_ticklots", "cost_e8", "realised_e8", "position_lots", "turnover_e8", "bought_lots"])
def test_a_fill_is_refused_when_a_sum_has_no_room_left(body: Any, field: str) -> None:
    instruments, positions = instrument_rows(1), np.zeros(1, POSITION)
    positions[0][field] = WIDE // 2
    assert body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 100, 10), 0) == 0
    positions[0][field] = WIDE // 2 - 1
    assert body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 100, 10), 0) == 1


def test_mark_is_twice_the_mid_and_moves_unrealised_of_long_and_short(body: Any) -> None:
    instruments, positions = instrument_rows(1), np.zeros(1, POSITION)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.SELL, 100, 10), 0)
    assert positions[0]["unrealised_e8"] == 0
    assert body(ledger.mark)(positions, 0, instruments, 102, 105, 77) == 1
    row = positions[0]
    assert (row["mark_ticks_x2"], row["unrealised_e8"], row["mark_received_ns"]) == (207, -350, 77)
    body(ledger.apply_fill)(positions, 0, instruments, trade(Side.BUY, 103, 20), 0)
    assert positions[0]["unrealised_e8"] == 50, "a fill revalues at the mark it found"


@pytest.mark.parametrize(("bid", "ask"), [(0, 100), (100, 0), (100, 100), (101, 100), (-5, 100), (1, WIDE)])
def test_mark_keeps_the_last_one_when_the_market_is_one_sided_locked_or_crossed(body: Any, bid: int, ask: int) -> None:
    instruments, positions = instrument_rows(1), np.zeros(1, POSITION)
    body(ledger.mark)(positions, 0, instruments, 100, 102, 1)
    assert body(ledger.mark)(positions, 0, instruments, bid, ask, 2) == 0
    assert (positions[0]["mark_ticks_x2"], positions[0]["mark_received_ns"]) == (202, 1)
