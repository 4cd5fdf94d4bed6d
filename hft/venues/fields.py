"""Fields: reads the parts of market data that every venue has in common: quoted prices and sizes, and writes MARKET records.

Each part was stepped over as valid JSON, or is read strictly here.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.venues.json_bytes import BACKSLASH, JSON_QUOTE, byte_at, is_mark, read_decimal
from shm.jit import njit


@njit
def text_end(data: NDArray[Any], at: int, end: int) -> int:
    """Offset of the closing quote of a string that was stepped over; -1 if it is no string or has escapes."""
    if not is_mark(data, at, end, JSON_QUOTE):
        return -1
    at += 1
    while byte_at(data, at) != JSON_QUOTE:
        if byte_at(data, at) == BACKSLASH:
            return -1
        at += 1
    return at


@njit
def read_ticks(data: NDArray[Any], at: int, end: int, scale: Any) -> tuple[int, int]:
    """Read a quoted price: (ticks, offset past it), or (-1, -1) if it is no decimal or between two ticks."""
    units, past, rest = read_decimal(data, at, end, scale["price_decimals"])
    tick_units = scale["tick_units"]
    if past < 0 or rest != 0:
        return -1, -1
    if tick_units == 1:
        return units, past
    ticks = units // tick_units
    if ticks * tick_units != units:
        return -1, -1
    return ticks, past


@njit
def read_lots(counts: NDArray[Any], off_lot: int, data: NDArray[Any], at: int, end: int, scale: Any) -> tuple[int, int]:
    """Read a quoted size: (lots, offset past it), or (-1, -1) if it is no decimal.

    A venue that made its lots coarser keeps the finer orders that rested before: BTCUSDT, of 5 decimals, had "25.42618900"
    at 200000. Such a size is rounded down, but never to 0, which would say that the level is gone; and `counts[off_lot]` counts it.
    """
    units, past, rest = read_decimal(data, at, end, scale["qty_decimals"])
    lot_units = scale["lot_units"]
    if past < 0:
        return -1, -1
    lots = units
    if lot_units != 1:
        lots = units // lot_units
        rest += units - lots * lot_units
    if rest != 0:
        counts[off_lot] += 1
        lots = max(lots, 1)
    return lots, past


@njit
def write_record(
    out: NDArray[Any],
    n: int,
    kind: int,
    flags: int,
    instrument: int,
    received_ns: int,
    exchange_ns: int,
    venue_id: int,
    price_ticks: int,
    qty_lots: int,
) -> None:
    """Write one whole MARKET record but for its ask fields and decode_ns, which are 0."""
    record = out[n]
    record["received_ns"] = received_ns
    record["exchange_ns"] = exchange_ns
    record["venue_id"] = venue_id
    record["price_ticks"] = price_ticks
    record["qty_lots"] = qty_lots
    record["ask_ticks"] = 0
    record["ask_lots"] = 0
    record["decode_ns"] = 0
    record["instrument"] = instrument
    record["kind"] = kind
    record["flags"] = flags
