"""Config text becomes rows by digits, exactly."""

from __future__ import annotations

from pathlib import Path

import pytest

from hft.config import ConfigError, parse
from hft.tables import build_tables, decimals_of

PAPER = (Path(__file__).resolve().parents[2] / "support" / "paper.toml").read_text()


def test_build_tables_scales_ticks_lots_and_money_exactly() -> None:
    tables = build_tables(parse(PAPER))
    row = tables.instrument_rows[0]
    assert tables.instruments[0] == "BTC-USDT.BINANCE" and tables.symbols[0] == "BTCUSDT"
    assert (row["tick_units"], row["price_decimals"], row["lot_units"], row["qty_decimals"]) == (1, 2, 1, 5)
    assert (row["ticklot_num"], row["ticklot_den"]) == (10, 1)  # 0.01 * 0.00001 = 1e-7 = 10 of 1e-8
    assert (row["lot_e8_num"], row["lot_e8_den"]) == (1000, 1)
    assert row["notional_min_e8"] == 5 * 10**8 and row["taker_fee_e8"] == 40_000
    assert (row["price_ticks_max"], row["qty_lots_max"]) == (100_000_000, 900_000_000)
    limits = tables.limit_rows[1]
    assert limits["order_qty_max_lots"] == 20_000 and limits["book_age_max_ns"] == 10**9
    assert tables.firm[0]["gross_max_e8"] == 100_000 * 10**8
    assert tables.allowed.tolist() == [[1, 1]]
    assert tables.rows_of_venue("binance") == [0, 1] and tables.rows_of_venue("kraken") == []


def test_build_tables_keeps_a_denominator_when_a_tick_lot_is_less_than_1e_8() -> None:
    tables = build_tables(parse(PAPER.replace('lot = "0.00001"', 'lot = "0.00000001"')))
    row = tables.instrument_rows[0]
    assert (row["ticklot_num"], row["ticklot_den"]) == (1, 100)
    assert (row["lot_e8_num"], row["lot_e8_den"]) == (1, 1)


def test_build_tables_refuses_a_limit_off_the_lot_grid() -> None:
    with pytest.raises(ConfigError, match=r"limits\.BTC-USDT\.BINANCE"):
        build_tables(parse(PAPER.replace('order_qty_max = "0.1"', 'order_qty_max = "0.1000001"')))


def test_build_tables_refuses_an_order_limit_over_the_position_limit() -> None:
    with pytest.raises(ConfigError, match="over position_max"):
        build_tables(parse(PAPER.replace('order_qty_max = "0.1"', 'order_qty_max = "0.6"')))


def test_build_tables_names_the_firm_when_a_firm_limit_is_out_of_range() -> None:
    with pytest.raises(ConfigError, match="firm: "):
        build_tables(parse(PAPER.replace('gross_max = "100000"', 'gross_max = "999999999999999"')))


@pytest.mark.parametrize(("text", "decimals"), [("0.01", 2), ("0.0500", 2), ("10", 0), ("1.000", 0), ("0.00000001", 8)])
def test_decimals_of_counts_the_digits_that_matter(text: str, decimals: int) -> None:
    assert decimals_of(text) == decimals
