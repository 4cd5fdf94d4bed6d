"""Ledger turns fills into position, cost, P&L and fees, exactly; strategy, risk and portfolio book with this one kernel.

What always holds of a POSITION row, in whole numbers (n, d = the instrument's ticklot_num, ticklot_den):

    (realised_e8 - cost_e8) * d + notional_remainder = cash_ticklots * n
    position_lots = bought_lots - sold_lots - whole lots of base fees

so that realised + unrealised is cash plus position at the mark, whatever the path. `realised_e8` is before quote fees.

Rounding is half-even and what it leaves is carried: of the notional in `notional_remainder` (units of 1/d), of the cost
released by a partial close in `cost_remainder` (units of 2^-32), so that average cost does not drift over many closes.

A fee in the base asset takes whole lots out of the position (a rebate puts them in) at no cash: its value is in realised and
unrealised from then on, and `fees_base_e8` is not to be subtracted again. A lot of which a part is gone is taken out whole, so that the
position is never more than can be sold; what is left of it is -`base_fee_remainder` (1e-8 base divided by lot_e8_den). A fee in another
asset is counted in `fees_other_e8` and is in no P&L.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import FeeAsset, Side
from hft.units import WIDE, as_int, mul_add_div, mul_div_half_even, mul_saturated
from shm.jit import njit

#: Denominator of POSITION.cost_remainder.
COST_FRACTION = 1 << 32

_ROOM = WIDE >> 1


@njit
def _release(positions: NDArray[Any], i: int, closed_lots: int, open_lots: int) -> int:
    """Take the average cost of `closed_lots` of `open_lots` (both positive) out of row `i`; return it in 1e-8 quote."""
    cost_e8, remainder = positions[i]["cost_e8"], positions[i]["cost_remainder"]
    if closed_lots == open_lots:
        positions[i]["cost_e8"] = 0
        positions[i]["cost_remainder"] = 0
        return cost_e8
    released_e8, rest = mul_div_half_even(cost_e8, closed_lots, open_lots)
    fraction = mul_div_half_even(rest, COST_FRACTION, open_lots)[0] + mul_div_half_even(remainder, closed_lots, open_lots)[0]
    whole_e8, remainder = mul_add_div(remainder - fraction, 1, 0, COST_FRACTION)
    released_e8 -= whole_e8
    positions[i]["cost_e8"] = cost_e8 - released_e8
    positions[i]["cost_remainder"] = remainder
    return released_e8


@njit
def _move(positions: NDArray[Any], i: int, change_lots: int, value_e8: int) -> None:
    """Change the position by signed lots bought for signed `value_e8`: close first at average cost, open with the rest."""
    position_lots = positions[i]["position_lots"]
    closing_lots = as_int(0)
    if (position_lots > 0) != (change_lots > 0) and position_lots != 0:
        closing_lots = min(abs(change_lots), abs(position_lots))
    opening_e8 = value_e8
    if closing_lots > 0:
        closing_e8 = mul_div_half_even(value_e8, closing_lots, abs(change_lots))[0]
        opening_e8 = value_e8 - closing_e8
        positions[i]["realised_e8"] += -closing_e8 - _release(positions, i, closing_lots, abs(position_lots))
    positions[i]["cost_e8"] += opening_e8
    positions[i]["position_lots"] = position_lots + change_lots


@njit
def _take_base_fee(positions: NDArray[Any], i: int, fee_e8: int, lot_num: int, lot_den: int) -> None:
    """Move whole lots of an accumulated base fee out of the position, rounded up, and keep what that took too much."""
    owed = positions[i]["base_fee_remainder"] + fee_e8 * lot_den
    lots = -(-owed // lot_num)
    positions[i]["base_fee_remainder"] = owed - lots * lot_num
    if lots != 0:
        _move(positions, i, -lots, as_int(0))


@njit
def _has_room(positions: NDArray[Any], i: int) -> bool:
    """Return whether each sum of row `i` can take one more term below _ROOM and stay below 2^62."""
    sums = max(abs(positions[i]["cash_ticklots"]), abs(positions[i]["cost_e8"]), abs(positions[i]["realised_e8"]))
    sums = max(sums, abs(positions[i]["position_lots"]), abs(positions[i]["base_fee_remainder"]), positions[i]["turnover_e8"])
    return max(sums, positions[i]["bought_lots"], positions[i]["sold_lots"]) < _ROOM


@njit
def apply_fill(positions: NDArray[Any], i: int, instruments: NDArray[Any], reports: NDArray[Any], r: int) -> int:
    """Book the TRADE in REPORT record `r` on POSITION row `i`; return 1, or 0 and change nothing.

    0: size or price not positive, side not a Side, fee asset not a FeeAsset, or a sum that would leave the range that
    limits were proven for. Whoever books must treat 0 as a broken invariant: the position is no longer known.
    """
    row = as_int(positions[i]["instrument"])
    side, asset = as_int(reports[r]["side"]), as_int(reports[r]["fee_asset"])
    price_ticks, lots, fee_e8 = reports[r]["last_price_ticks"], reports[r]["last_lots"], reports[r]["fee_e8"]
    if price_ticks <= 0 or lots <= 0 or (side != Side.BUY and side != Side.SELL) or asset < 0 or asset > FeeAsset.OTHER:
        return 0
    num, den = instruments[row]["ticklot_num"], instruments[row]["ticklot_den"]
    lot_num, lot_den = instruments[row]["lot_e8_num"], instruments[row]["lot_e8_den"]
    ticklots = side * mul_saturated(price_ticks, lots)
    # What is bought for more than d units carries the rest to the next fill; the sign is that of value bought.
    value_e8, remainder = mul_add_div(ticklots, num, -positions[i]["notional_remainder"], den)
    fee_base = mul_saturated(fee_e8, lot_den)
    if lot_num <= 0 or lot_den <= 0 or max(abs(ticklots), abs(value_e8), abs(fee_base), lots) >= _ROOM or not _has_room(positions, i):
        return 0
    positions[i]["cash_ticklots"] -= ticklots
    positions[i]["notional_remainder"] = -remainder
    positions[i]["turnover_e8"] += abs(value_e8)
    if side == Side.BUY:
        positions[i]["bought_lots"] += lots
    else:
        positions[i]["sold_lots"] += lots
    positions[i]["fills"] += 1
    positions[i]["last_fill_ns"] = reports[r]["reported_ns"]
    _move(positions, i, side * lots, value_e8)
    if asset == FeeAsset.QUOTE:
        positions[i]["fees_quote_e8"] += fee_e8
    elif asset == FeeAsset.OTHER:
        positions[i]["fees_other_e8"] += fee_e8
    else:
        positions[i]["fees_base_e8"] += fee_e8
        _take_base_fee(positions, i, fee_e8, lot_num, lot_den)
    revalue(positions, i, instruments)
    return 1


@njit
def value_at_e8(lots: int, mark_ticks_x2: int, instruments: NDArray[Any], row: int) -> int:
    """Return signed `lots` at half of `mark_ticks_x2` (bid + ask) in 1e-8 quote, half-even; +-WIDE out of range."""
    num, den = instruments[row]["ticklot_num"], instruments[row]["ticklot_den"]
    return mul_div_half_even(mul_saturated(lots, mark_ticks_x2), num, 2 * den)[0]


@njit
def revalue(positions: NDArray[Any], i: int, instruments: NDArray[Any]) -> None:
    """Bring `unrealised_e8` up to the row's own mark; without a mark it is 0."""
    mark_ticks_x2 = positions[i]["mark_ticks_x2"]
    if mark_ticks_x2 <= 0:
        positions[i]["unrealised_e8"] = 0
        return
    value_e8 = value_at_e8(positions[i]["position_lots"], mark_ticks_x2, instruments, as_int(positions[i]["instrument"]))
    positions[i]["unrealised_e8"] = value_e8 - positions[i]["cost_e8"]


@njit
def mark(positions: NDArray[Any], i: int, instruments: NDArray[Any], bid_ticks: int, ask_ticks: int, received_ns: int) -> int:
    """Mark row `i` at the middle of a two-sided, uncrossed market; return 1, or 0 and keep the mark when it isn't one."""
    if bid_ticks <= 0 or ask_ticks <= bid_ticks or ask_ticks >= WIDE:
        return 0
    positions[i]["mark_ticks_x2"] = bid_ticks + ask_ticks
    positions[i]["mark_received_ns"] = received_ns
    revalue(positions, i, instruments)
    return 1
