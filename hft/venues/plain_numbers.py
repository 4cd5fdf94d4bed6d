"""Plain numbers: reads numbers in their usual form a word of digits at a time, and leaves any other to `json_bytes`.

Usual is: one to seven whole digits, the point, one to eleven more, and behind the number as many bytes as may be looked at. The
answers are those of `read_number` and of `read_decimal`, whichever way a number is read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.units import as_int
from hft.venues.digit_words import WORD_BYTES, leading_digits
from hft.venues.json_bytes import DIGITS_MAX, JSON_QUOTE, LOWER_E, POINT, UPPER_E, ZERO, byte_at, read_decimal, read_number
from shm.jit import njit

_WHOLE_MAX, _PLACES_MAX = 7, 11
#: Bytes that are looked at: whole digits, the point, and two words of digits.
_LOOKED_AT = _WHOLE_MAX + 1 + 2 * WORD_BYTES

_POWERS = np.array([10**i for i in range(DIGITS_MAX + 1)], np.int64)


@njit
def _read_places(data: NDArray[Any], at: int) -> tuple[int, int]:
    """How many digits are at `at`, and their value: up to _PLACES_MAX; (0, 0) if there are more, or none."""
    count, value = leading_digits(data, at)
    if count == WORD_BYTES:
        more, rest = leading_digits(data, at + WORD_BYTES)
        count += more
        if count > _PLACES_MAX:
            return as_int(0), as_int(0)
        value = value * as_int(_POWERS[more]) + rest
    return count, value


@njit
def plain_number(data: NDArray[Any], at: int, end: int) -> tuple[int, int, int]:
    """Read a JSON number as `read_number` does: (digits, decimals, offset past it), or (-1, -1, -1)."""
    if at < 0:
        return -1, -1, -1
    if at + _LOOKED_AT > end:
        return read_number(data, at, end)
    count, whole = leading_digits(data, at)
    point = at + count
    # JSON has no zeros in front of a number.
    leads = count == 1 or byte_at(data, at) != ZERO
    if not 0 < count <= _WHOLE_MAX or not leads or byte_at(data, point) != POINT:
        return read_number(data, at, end)
    places, fraction = _read_places(data, point + 1)
    past = point + 1 + places
    behind = byte_at(data, past)
    if places == 0 or behind == LOWER_E or behind == UPPER_E:
        return read_number(data, at, end)
    return whole * as_int(_POWERS[places]) + fraction, places, past


@njit
def plain_decimal(data: NDArray[Any], at: int, end: int, decimals: int) -> tuple[int, int, int]:
    """Read a quoted decimal as `read_decimal` does: (value in 10**-decimals, offset past the quote, rest), or (-1, -1, 0)."""
    if at < 0:
        return -1, -1, 0
    if at + 1 + _LOOKED_AT > end or byte_at(data, at) != JSON_QUOTE:
        return read_decimal(data, at, end, decimals)
    count, whole = leading_digits(data, at + 1)
    point = at + 1 + count
    if not 0 < count <= _WHOLE_MAX or count + decimals > DIGITS_MAX or byte_at(data, point) != POINT:
        return read_decimal(data, at, end, decimals)
    places, fraction = _read_places(data, point + 1)
    past = point + 1 + places
    if not 0 < places <= decimals or byte_at(data, past) != JSON_QUOTE:
        return read_decimal(data, at, end, decimals)
    return whole * as_int(_POWERS[decimals]) + fraction * as_int(_POWERS[decimals - places]), past + 1, 0
