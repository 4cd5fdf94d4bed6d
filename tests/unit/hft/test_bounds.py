"""Bounds: what is proven at load, one fault at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hft.bounds import ConfigBoundsError, prove_bounds
from hft.records import FIRM_LIMITS, LIMITS
from support.risk_account import FIRM_ROW, LIMITS_ROW, instrument_rows


def tables() -> dict[str, Any]:
    """Two instruments with limits that hold."""
    limits, firm = np.zeros(2, LIMITS), np.zeros(1, FIRM_LIMITS)
    for name, value in LIMITS_ROW.items():
        limits[name] = value
    for name, value in FIRM_ROW.items():
        firm[name] = value
    return {"instruments": instrument_rows(2), "limits": limits, "firm": firm}


def test_prove_bounds_accepts_ordinary_limits() -> None:
    prove_bounds(**tables())


@pytest.mark.parametrize("table", ["limits", "firm"])
@pytest.mark.parametrize("value", [0, -1, 2**62])
def test_prove_bounds_refuses_any_limit_that_is_missing_or_out_of_range(table: str, value: int) -> None:
    for field in tables()[table].dtype.names:
        if field == "reserved":
            continue
        broken = tables()
        broken[table][-1][field] = value
        with pytest.raises(ConfigBoundsError, match=f"{'instrument 1' if table == 'limits' else 'firm'}: {field} must be set"):
            prove_bounds(**broken)


@pytest.mark.parametrize(
    ("table", "fields", "message"),
    [
        ("instruments", {"ticklot_num": 0}, "instrument 1: ticklot_num must be positive"),
        ("instruments", {"lot_e8_den": 0}, "instrument 1: lot_e8_den must be positive"),
        ("instruments", {"ticklot_den": 20}, "instrument 1: ticklot_den must be a power of ten, was 20"),
        ("instruments", {"price_ticks_min": 0}, "instrument 1: price_ticks_min must be positive"),
        ("instruments", {"price_ticks_max": 0}, "price_ticks_max must be at least price_ticks_min"),
        ("instruments", {"qty_lots_max": 0}, "qty_lots_max must be at least qty_lots_min"),
        ("instruments", {"taker_fee_e8": 10**8}, "taker_fee_e8 must be below 100%"),
        ("instruments", {"maker_fee_e8": -(10**8)}, "maker_fee_e8 must be below 100%"),
        ("instruments", {"base_rate_e8": -1}, "must not be negative"),
        ("instruments", {"price_ticks_max": 2**48}, "instrument 1: price_ticks_max x 2 x 10000 basis points = .* must be below 2\\^62"),
        ("instruments", {"ticklot_num": 10**4}, "price_ticks_max x 2 x position_max_lots x ticklot_num / ticklot_den = "),
        ("instruments", {"base_rate_e8": 10**12}, "x base_rate_e8 / 1e8 = "),
        ("instruments", {"lot_e8_num": 10**12}, "2 x position_max_lots x lot_e8_num"),
        ("limits", {"position_max_lots": 2**55}, "instrument 1: price_ticks_max x 2 x position_max_lots = "),
        ("limits", {"order_qty_max_lots": 2**45}, "instrument 1: price_ticks_max x order_qty_max_lots = "),
        ("limits", {"collar_passive_bp": 10_001}, "collar_passive_bp must be at most 10000, was 10001"),
        ("firm", {"firm_rate_per_s": 1_000_001}, "firm_rate_per_s must be at most 1000000"),
        ("firm", {"gross_max_e8": 2**61}, "firm: gross_max_e8 x 3 rows = .* must be below 2\\^62"),
    ],
)
def test_prove_bounds_names_the_row_and_the_product(table: str, fields: dict[str, int], message: str) -> None:
    broken = tables()
    for field, value in fields.items():
        broken[table][-1][field] = value
    with pytest.raises(ConfigBoundsError, match=message):
        prove_bounds(**broken)


def test_prove_bounds_refuses_tables_of_different_lengths() -> None:
    good = tables()
    with pytest.raises(ConfigBoundsError, match="one limits row an instrument, were 1 and 2"):
        prove_bounds(good["instruments"], good["limits"][:1], good["firm"])
    with pytest.raises(ConfigBoundsError, match="one row of firm limits, were 0"):
        prove_bounds(good["instruments"], good["limits"], good["firm"][:0])


def test_prove_bounds_admits_a_hundred_bitcoin_in_lots_of_1e_minus_8() -> None:
    """Ticks of 0.01 up to a million, lots of 1e-8: 2 x 10^18 tick-lots."""
    good = tables()
    good["instruments"][:] = instrument_rows(2, ticklot_num=1, ticklot_den=100, lot_e8_num=1)
    good["limits"]["position_max_lots"] = 10**10
    prove_bounds(**good)
    good["instruments"]["price_ticks_max"] = 10**9
    with pytest.raises(ConfigBoundsError):
        prove_bounds(**good)
