"""Text: writes numbers and ids as the bytes of a request."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.units import as_int
from shm.jit import njit

_DIGIT_ZERO, _LETTER_A_LESS_TEN, _POINT = 48, 87, 46

#: First number that takes more than a word.
WORD_LIMIT = 100_000_000
_EIGHT_ZEROS, _BYTE_ONES = 0x3030303030303030, 0x0101010101010101

#: Bytes of an order id as text.
HEX_BYTES = 16


@njit
def put_bytes(source: NDArray[Any], start: int, end: int, out: NDArray[Any], at: int) -> int:
    """Write the bytes `source[start:end]`; return the offset after them."""
    # Unsigned indices are never wrapped around, so that this loop becomes vector instructions.
    into, out_of = np.uint64(at), np.uint64(start)
    for k in range(np.uint64(end - start)):
        out[into + np.uint64(k)] = source[out_of + np.uint64(k)]
    return at + end - start


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
def _eight_digits(value: int) -> int:
    """The digits of `value`, 0 to 99,999,999, one a byte, the first in the lowest: halves, quarters and single digits side by side."""
    fours = value // 10_000
    fours |= (value - fours * 10_000) << 32
    twos = (fours * 10_486 >> 20) & 0x7F_0000_007F
    twos |= (fours - twos * 100) << 16
    ones = (twos * 103 >> 10) & 0x000F_000F_000F_000F
    return ones | ((twos - ones * 10) << 8)


@njit
def whole_word(value: int) -> int:
    """The text of `value`, 0 to 99,999,999, as a word: eight digits, the first in the lowest byte."""
    return _eight_digits(value) | _EIGHT_ZEROS


@njit
def first_word(value: int) -> tuple[int, int]:
    """The text of `value`, 1 to 99,999,999, as (a word: bytes of 0, then its digits, how many digits)."""
    digits = _eight_digits(value)
    # All bits from the lowest one set upwards: in each byte from the first digit that is not 0 on, those of the text "0" too.
    shown = (digits | -digits) & _EIGHT_ZEROS
    return digits | shown, ((((shown >> 5) & _BYTE_ONES) * _BYTE_ONES) >> 56) & 0xFF


@njit
def _digit_count(value: int) -> int:
    count, bound = as_int(1), as_int(10)
    while value >= bound and count < 19:
        count += 1
        bound *= 10
    return count


@njit
def put_decimal(units: int, decimals: int, out: NDArray[Any], at: int) -> int:
    """Write non-negative `units` of 10^-decimals as decimal text; return the offset after it."""
    units = as_int(units)
    upper = units // WORD_LIMIT
    top = upper // WORD_LIMIT
    words = _eight_digits(units - upper * WORD_LIMIT), _eight_digits(upper - top * WORD_LIMIT), _eight_digits(top)
    digits = max(_digit_count(units), decimals + 1)
    for place in range(digits - 1, -1, -1):
        if place == decimals - 1:
            out[at] = _POINT
            at += 1
        word = words[place >> 3] if place < 24 else as_int(0)
        out[at] = _DIGIT_ZERO + ((word >> (56 - 8 * (place & 7))) & 15)
        at += 1
    return at
