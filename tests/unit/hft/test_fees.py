"""Fees: on both sides of the schedule's limit, in each asset, and with what a venue rounds."""

from __future__ import annotations

from typing import Any

import pytest

from hft import fees
from hft.records import FeeAsset, Liquidity
from support.risk_account import BID, fill, instrument_rows, intent

#: 1000 lots at 60,000 are 600 quote, or 0.01 base.
NOTIONAL_E8, BASE_E8 = 60_000_000_000, 1_000_000
MAKER, TAKER = 10_000, 50_000  #: 0.01 %, 0.05 %


@pytest.fixture(params=["jit", "py"])
def over(request: pytest.FixtureRequest) -> Any:
    """Whether a fee of a fill is over twice the schedule's."""
    kernel = fees.is_over_schedule if request.param == "jit" else getattr(fees.is_over_schedule, "py_func", fees.is_over_schedule)

    def ask(fee_e8: int, lots: int = 1000, maker_fee_e8: int = MAKER, **fields: int) -> bool:
        rows = instrument_rows(1, maker_fee_e8=maker_fee_e8, taker_fee_e8=TAKER)
        return bool(kernel(rows, fill(intent(), lots, price_ticks=BID, fee_e8=fee_e8, **fields), 0, 200))

    return ask


@pytest.mark.parametrize(
    ("liquidity", "rate_e8"), [(Liquidity.MAKER, MAKER), (Liquidity.TAKER, TAKER), (Liquidity.NONE, TAKER)], ids=lambda v: str(v)
)
@pytest.mark.parametrize(("asset", "traded_e8"), [(FeeAsset.QUOTE, NOTIONAL_E8), (FeeAsset.BASE, BASE_E8)], ids=lambda v: str(v))
def test_twice_the_schedule_and_a_unit_is_paid_and_one_more_is_not(
    over: Any, liquidity: int, rate_e8: int, asset: int, traded_e8: int
) -> None:
    most_e8 = 2 * traded_e8 * rate_e8 // 10**8
    assert not over(most_e8 + 1, liquidity=liquidity, fee_asset=asset)
    assert over(most_e8 + 2, liquidity=liquidity, fee_asset=asset)


def test_a_fill_below_the_least_notional_counts_as_one_of_it(over: Any) -> None:
    most_e8 = 2 * 5 * MAKER  # of 5 quote
    for lots in (1, 8):
        assert not over(most_e8 + 1, lots=lots, liquidity=Liquidity.MAKER)
        assert over(most_e8 + 2, lots=lots, liquidity=Liquidity.MAKER)


@pytest.mark.parametrize("maker_fee_e8", [0, -MAKER])
def test_where_the_schedule_gives_nothing_to_pay_one_unit_is_all(over: Any, maker_fee_e8: int) -> None:
    assert not over(1, maker_fee_e8=maker_fee_e8, liquidity=Liquidity.MAKER)
    assert over(2, maker_fee_e8=maker_fee_e8, liquidity=Liquidity.MAKER)


def test_rebates_and_fees_in_a_third_asset_are_never_over(over: Any) -> None:
    assert not over(-(10**12)) and not over(0)
    assert not over(10**12, fee_asset=FeeAsset.OTHER)
