"""Bounds proves at load that no product which the limits allow reaches 2^62, so that no kernel wraps.

Every limit must be positive: a missing one is an error at start, not a default.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import FIRM_LIMITS, LIMITS
from hft.units import E8, WIDE

#: Collars are fractions of the touch; beyond it a passive price would be negative.
BASIS_POINTS = 10_000

#: Orders a second above which a token bucket's arithmetic would leave its range.
RATE_MAX = 1_000_000


class ConfigBoundsError(ValueError):
    """A limit that is missing, or whose product reaches 2^62; the message names the row and the product."""


def prove_bounds(instruments: NDArray[Any], limits: NDArray[Any], firm: NDArray[Any]) -> None:
    """Raise ConfigBoundsError unless every limit is set and all that they admit fits.

    `instruments` (INSTRUMENT) and `limits` (LIMITS) are rows of the same number; `firm` is one FIRM_LIMITS row.
    """
    if len(instruments) == 0 or len(limits) != len(instruments):
        raise ConfigBoundsError(f"expected one limits row an instrument, were {len(limits)} and {len(instruments)}")
    if len(firm) != 1:
        raise ConfigBoundsError(f"expected one row of firm limits, were {len(firm)}")
    _prove_set("firm", firm[0], FIRM_LIMITS)
    for field in ("strategy_rate_per_s", "firm_rate_per_s"):
        if int(firm[0][field]) > RATE_MAX:
            raise ConfigBoundsError(f"firm: {field} must be at most {RATE_MAX}, was {firm[0][field]}")
    if int(firm[0]["concentration_max_percent"]) > 100:
        raise ConfigBoundsError(f"firm: concentration_max_percent must be at most 100, was {firm[0]['concentration_max_percent']}")
    # Sums over instruments must fit too.
    _prove("firm", f"gross_max_e8 x {len(instruments) + 1} rows", int(firm[0]["gross_max_e8"]) * (len(instruments) + 1))
    for row in range(len(instruments)):
        _prove_row(f"instrument {row}", {f: int(instruments[row][f]) for f in _INSTRUMENT_FIELDS}, limits[row])


def recent_slots(limits: NDArray[Any], firm: NDArray[Any]) -> int:
    """Return how many slots hold, a quarter full, all orders that the firm's rate admits in the longest duplicate window."""
    window_ns = int(limits["duplicate_window_ns"].max())
    orders_max = int(firm[0]["firm_rate_per_s"]) * (1_000_000_000 + window_ns) // 1_000_000_000
    return int(min(max(1 << (4 * orders_max - 1).bit_length(), 1 << 10), 1 << 16))


_INSTRUMENT_FIELDS = (
    *("ticklot_num", "ticklot_den", "lot_e8_num", "lot_e8_den", "price_ticks_min", "price_ticks_max", "qty_lots_min", "qty_lots_max"),
    *("maker_fee_e8", "taker_fee_e8", "base_rate_e8", "notional_min_e8"),
)


def _prove_set(where: str, row: Any, dtype: Any) -> None:
    for field in dtype.names:
        if field != "reserved" and not 0 < int(row[field]) < WIDE:
            raise ConfigBoundsError(f"{where}: {field} must be set, positive and below 2^62, was {row[field]}")


def _prove(where: str, product: str, value: int) -> None:
    if value >= WIDE:
        raise ConfigBoundsError(f"{where}: {product} = {value} must be below 2^62")


def _prove_row(where: str, instrument: dict[str, int], limits: Any) -> None:
    _prove_set(where, limits, LIMITS)
    for field in ("ticklot_num", "ticklot_den", "lot_e8_num", "lot_e8_den", "price_ticks_min", "qty_lots_min"):
        if not 0 < instrument[field] < WIDE:
            raise ConfigBoundsError(f"{where}: {field} must be positive and below 2^62, was {instrument[field]}")
    for low, high in (("price_ticks_min", "price_ticks_max"), ("qty_lots_min", "qty_lots_max")):
        if instrument[high] < instrument[low]:
            raise ConfigBoundsError(f"{where}: {high} must be at least {low}, were {instrument[high]} and {instrument[low]}")
    for field in ("ticklot_den", "lot_e8_den"):
        if str(instrument[field]).strip("0") != "1":
            raise ConfigBoundsError(f"{where}: {field} must be a power of ten, was {instrument[field]}")
    for field in ("maker_fee_e8", "taker_fee_e8"):
        if abs(instrument[field]) >= E8:
            raise ConfigBoundsError(f"{where}: {field} must be below 100%, was {instrument[field]}")
    if instrument["base_rate_e8"] < 0 or instrument["notional_min_e8"] < 0:
        raise ConfigBoundsError(f"{where}: base_rate_e8 and notional_min_e8 must not be negative")
    for field in ("collar_passive_bp", "collar_through_bp"):
        if int(limits[field]) > BASIS_POINTS:
            raise ConfigBoundsError(f"{where}: {field} must be at most {BASIS_POINTS}, was {limits[field]}")
    _prove_products(where, instrument, int(limits["order_qty_max_lots"]), int(limits["position_max_lots"]))


def _prove_products(where: str, instrument: dict[str, int], order_lots: int, position_lots: int) -> None:
    price, num, den = instrument["price_ticks_max"], instrument["ticklot_num"], instrument["ticklot_den"]
    _prove(where, "price_ticks_max x 2 x 10000 basis points", price * 2 * BASIS_POINTS)
    for size, lots in (("order_qty_max_lots", order_lots), ("2 x position_max_lots", 2 * position_lots)):
        _prove(where, f"price_ticks_max x {size}", price * lots)
        quote_e8 = -(-price * lots * num // den)
        _prove(where, f"price_ticks_max x {size} x ticklot_num / ticklot_den", quote_e8)
        rate = instrument["base_rate_e8"]
        _prove(where, f"price_ticks_max x {size} x ticklot_num / ticklot_den x base_rate_e8 / 1e8", -(-quote_e8 * rate // E8))
    _prove(where, "2 x position_max_lots x lot_e8_num", 2 * position_lots * instrument["lot_e8_num"])
