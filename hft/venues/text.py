"""Text: writes numbers and ids as the bytes of a request."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.units import as_int
from shm.jit import njit

_DIGIT_ZERO, _LETTER_A_LESS_TEN, _POINT = 48, 87, 46

#: Bytes of an order id as text.
HEX_BYTES = 16


@njit
def put_hex(value: int, out: NDArray[Any], at: int) -> int:
    """Write an order id as 16 lower-case hex digits; return the offset after it."""
    for k in range(HEX_BYTES):
        digit = (value >> (60 - 4 * k)) & 15
        out[at + k] = digit + (_DIGIT_ZERO if digit < 10 else _LETTER_A_LESS_TEN)
    return at + HEX_BYTES


@njit
def read_hex(data: NDArray[Any], start: int, end: int) -> int:
    """The order id that the 16 lower-case hex digits `data[start:end]` mean, or 0 if they are none of ours."""
    if end - start != HEX_BYTES:
        return 0
    value = as_int(0)
    for k in range(start, end):
        byte = as_int(data[k])
        if _DIGIT_ZERO <= byte <= 57:
            digit = byte - _DIGIT_ZERO
        elif 97 <= byte <= 102:
            digit = byte - _LETTER_A_LESS_TEN
        else:
            return 0
        if k == start and digit > 7:
            return 0
        value = (value << 4) | digit
    return value


@njit
def put_decimal(units: int, decimals: int, out: NDArray[Any], at: int) -> int:
    """Write non-negative `units` of 10^-decimals as decimal text; return the offset after it."""
    digits = as_int(1)
    rest = units // 10
    while rest > 0:
        digits += 1
        rest //= 10
    digits = max(digits, decimals + 1)
    end = at + digits + (1 if decimals > 0 else 0)
    place = end - 1
    rest = units
    for k in range(digits):
        if k == decimals and decimals > 0:
            out[place] = _POINT
            place -= 1
        out[place] = 48 + rest % 10
        rest //= 10
        place -= 1
    return end
