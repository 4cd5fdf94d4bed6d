"""Fees are held against each instrument's schedule: a venue that takes much more than it says is not to be traded with."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import FeeAsset, Liquidity
from hft.units import E8, as_int, mul_div_half_even, mul_saturated
from shm.jit import njit

_PERCENT = 100


@njit
def is_over_schedule(instruments: NDArray[Any], reports: NDArray[Any], i: int, max_percent: int) -> bool:
    """Whether the fee of the TRADE in REPORT record `i` is above so many percent of the schedule's for it.

    Venues round up: one unit more is allowed, and a fill below the venue's least notional counts as one of that. A fill that was neither
    maker's nor taker's is held against the taker's rate, a rate below 0 against 0. What a fee in a third asset is worth is not known here.
    """
    fee_e8, asset = reports[i]["fee_e8"], as_int(reports[i]["fee_asset"])
    if fee_e8 <= 0 or asset == FeeAsset.OTHER:
        return False
    instrument = instruments[as_int(reports[i]["instrument"])]
    lots = reports[i]["last_lots"]
    if asset == FeeAsset.BASE:
        traded_e8 = mul_div_half_even(lots, instrument["lot_e8_num"], instrument["lot_e8_den"])[0]
    else:
        ticklots = mul_saturated(reports[i]["last_price_ticks"], lots)
        traded_e8 = mul_div_half_even(ticklots, instrument["ticklot_num"], instrument["ticklot_den"])[0]
        traded_e8 = max(traded_e8, instrument["notional_min_e8"])
    rate_e8 = instrument["maker_fee_e8"] if reports[i]["liquidity"] == Liquidity.MAKER else instrument["taker_fee_e8"]
    most_e8 = mul_div_half_even(traded_e8, max(rate_e8, 0) * max_percent, _PERCENT * E8)[0]
    return bool(fee_e8 > most_e8 + 1)
