"""Fields: reads the parts of market data that every venue has in common: quoted prices and sizes, and writes MARKET records
and the beginnings of VENUE_EVENT rows.

Each part was stepped over as valid JSON, or is read strictly here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.units import as_int
from hft.venues.digit_words import fitting_digits, pair_values, pattern, value_of
from hft.venues.json_bytes import BACKSLASH, COLON, JSON_QUOTE, MINUS, PLUS, POINT, ZERO, byte_at, is_mark
from hft.venues.plain_numbers import plain_decimal
from shm.jit import njit

UPPER_T, UPPER_Z = 84, 90


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
    units, past, rest = plain_decimal(data, at, end, scale["price_decimals"])
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
    units, past, rest = plain_decimal(data, at, end, scale["qty_decimals"])
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


#: Days of a common year before each month; January is 1.
_DAYS_BEFORE = np.array((0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334), np.int64)
_MONTH_DAYS = np.array((0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), np.int64)
_FRACTION_DIGITS_MAX = 9

#: A time of six decimals, from behind its opening quote on, and where each word of it begins.
_TIME_BYTES = 28
_DATE, _DATE_LIMITS = pattern(b"0000-00-")
_CLOCK, _CLOCK_LIMITS = pattern(b"00T00:00")
_SECONDS, _SECONDS_LIMITS = pattern(b":00.0000")
_MICROS, _MICROS_LIMITS = pattern(b'000000Z"')
_CLOCK_AT, _SECONDS_AT, _MICROS_AT = 8, 16, 20


@njit
def _read_digits(data: NDArray[Any], at: int, end: int, count: int) -> int:
    """Value of exactly `count` digits, or -1."""
    if at + count > end:
        return -1
    value = 0
    for i in range(at, at + count):
        digit = byte_at(data, i) ^ ZERO
        if digit > 9:
            return -1
        value = value * 10 + digit
    return value


@njit
def read_rfc3339(data: NDArray[Any], at: int, end: int) -> tuple[int, int]:
    """Read a quoted UTC time, `"2026-08-24T22:21:57.110183Z"`: (nanoseconds since 1970, offset past the quote), or (-1, -1).

    Years 1970 to 2099, in which every fourth one is a leap year; no fraction or one of 1 to 9 digits; `Z` or `+00:00`.
    """
    if 0 <= at and at + 1 + _TIME_BYTES <= end and byte_at(data, at) == JSON_QUOTE:
        date = fitting_digits(data, at + 1, _DATE, _DATE_LIMITS)
        clock = fitting_digits(data, at + 1 + _CLOCK_AT, _CLOCK, _CLOCK_LIMITS)
        seconds = fitting_digits(data, at + 1 + _SECONDS_AT, _SECONDS, _SECONDS_LIMITS)
        micros = fitting_digits(data, at + 1 + _MICROS_AT, _MICROS, _MICROS_LIMITS)
        if date | clock | seconds | micros >= 0:
            # In each byte the value of two digits: year and month; day, hour and minute; second.
            date, clock, seconds = pair_values(date), pair_values(clock), pair_values(seconds)
            year, month, day = (date & 0xFF) * 100 + ((date >> 16) & 0xFF), (date >> 40) & 0xFF, clock & 0xFF
            hour, minute, second = (clock >> 24) & 0xFF, (clock >> 48) & 0xFF, (seconds >> 8) & 0xFF
            fraction_ns = value_of(micros << 16) * 1_000
            time_ns = _since_1970(year, month, day, hour, minute, second, fraction_ns)
            return time_ns, at + 1 + _TIME_BYTES if time_ns >= 0 else -1
    return _read_any_rfc3339(data, at, end)


@njit
def _since_1970(year: int, month: int, day: int, hour: int, minute: int, second: int, fraction_ns: int) -> int:
    """A time as nanoseconds since 1970; -1 if there is no such time in the years 1970 to 2099."""
    if not 1970 <= year <= 2099 or not 1 <= month <= 12 or not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 59:
        return -1
    leap = 1 if year & 3 == 0 else 0
    if not 1 <= day <= as_int(_MONTH_DAYS[month]) + (leap if month == 2 else 0):
        return -1
    days = (year - 1970) * 365 + (year - 1969) // 4 + as_int(_DAYS_BEFORE[month]) + (leap if month > 2 else 0) + day - 1
    return ((days * 24 + hour) * 60 + minute) * 60_000_000_000 + second * 1_000_000_000 + fraction_ns


@njit
def _read_any_rfc3339(data: NDArray[Any], at: int, end: int) -> tuple[int, int]:
    """Read such a time in any of its forms."""
    start = at + 1
    # "YYYY-MM-DDTHH:MM:SS is 20 bytes, and something follows.
    if at + 21 > end or byte_at(data, at) != JSON_QUOTE:
        return -1, -1
    marks = byte_at(data, start + 4) == MINUS and byte_at(data, start + 7) == MINUS and byte_at(data, start + 10) == UPPER_T
    if not marks or byte_at(data, start + 13) != COLON or byte_at(data, start + 16) != COLON:
        return -1, -1
    year, month, day = _read_digits(data, start, end, 4), _read_digits(data, start + 5, end, 2), _read_digits(data, start + 8, end, 2)
    hour, minute = _read_digits(data, start + 11, end, 2), _read_digits(data, start + 14, end, 2)
    second = _read_digits(data, start + 17, end, 2)
    at = start + 19
    fraction_ns = 0
    if byte_at(data, at) == POINT:
        at += 1
        digits = 0
        while at < end and digits < _FRACTION_DIGITS_MAX and byte_at(data, at) ^ ZERO <= 9:
            fraction_ns = fraction_ns * 10 + (byte_at(data, at) ^ ZERO)
            digits += 1
            at += 1
        if digits == 0:
            return -1, -1
        for _ in range(_FRACTION_DIGITS_MAX - digits):
            fraction_ns *= 10
    past = _skip_utc(data, at, end)
    time_ns = _since_1970(year, month, day, hour, minute, second, fraction_ns)
    return (time_ns, past) if past >= 0 and time_ns >= 0 else (-1, -1)


@njit
def _skip_utc(data: NDArray[Any], at: int, end: int) -> int:
    """Step over `Z"` or `+00:00"`, or -1."""
    if at + 2 <= end and byte_at(data, at) == UPPER_Z and byte_at(data, at + 1) == JSON_QUOTE:
        return at + 2
    if at + 7 > end or byte_at(data, at) != PLUS or byte_at(data, at + 3) != COLON or byte_at(data, at + 6) != JSON_QUOTE:
        return -1
    zero = _read_digits(data, at + 1, end, 2) == 0 and _read_digits(data, at + 4, end, 2) == 0
    return at + 7 if zero else -1


@njit
def begin_event(out: NDArray[Any], n: int, kind: int, source: int, received_ns: int) -> None:
    """Begin VENUE_EVENT row `n` as one that says nothing yet."""
    row = out[n]
    row["order_id"] = 0
    row["request_id"] = 0
    row["venue_key"] = 0
    row["trade_id"] = 0
    row["price_ticks"] = 0
    row["qty_lots"] = 0
    row["cum_lots"] = -1
    row["last_price_ticks"] = 0
    row["last_lots"] = 0
    row["fee_e8"] = 0
    row["exchange_ns"] = 0
    row["received_ns"] = received_ns
    row["retry_after_ns"] = 0
    row["reason"] = 0
    row["venue_code"] = 0
    row["kind"] = kind
    row["source"] = source
    row["state"] = 0
    row["instrument"] = -1
    row["side"] = 0
    row["liquidity"] = 0
    row["fee_asset"] = 0
    row["reserved4"] = 0
