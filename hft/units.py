"""Units multiplies and divides ticks, lots and money without losing a unit; `hft.decimals` has their text.

No number here is ever a float.
The kernels work on magnitudes below 2^62, the bound that `hft.bounds.prove_bounds` proves for every product that
limits allow. A value outside it saturates to `WIDE` with the right sign, which every limit is below: out of range
is refused by the comparison that follows, and never wraps.

Wide products are held in 31-bit limbs, so that no intermediate leaves int64 and the same body runs compiled and as
plain Python.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shm.jit import njit

#: First magnitude out of range; what saturated results equal.
WIDE = 1 << 62

#: Units of 10^-8, in which cost, P&L, turnover, fees and rates count.
E8 = 100_000_000

_LIMB_BITS = 31
_LIMB = (1 << _LIMB_BITS) - 1
_DOUBLE_LIMB = (1 << 62) - 1


@njit
def as_int(value: Any) -> int:
    """Return a field, an enum member or a number as int64 in compiled code, and as an unbounded int in plain Python."""
    return int(np.int64(value))


@njit
def multiply_wide(a: int, b: int) -> tuple[int, int]:
    """Return the product of two magnitudes below 2^62 as (high, low), each of 62 bits."""
    a_high, a_low = a >> _LIMB_BITS, a & _LIMB
    b_high, b_low = b >> _LIMB_BITS, b & _LIMB
    middle = a_high * b_low + a_low * b_high
    low = a_low * b_low + ((middle & _LIMB) << _LIMB_BITS)
    return a_high * b_high + (middle >> _LIMB_BITS) + (low >> 62), low & _DOUBLE_LIMB


@njit
def _quotient_limb(high: int, next_limb: int, divisor: int) -> tuple[int, int]:
    """Return one 31-bit quotient limb of (high, next_limb) / divisor and the remainder (Knuth 4.3.1 D, two limbs).

    `high` < `divisor`, and the divisor's top bit (bit 61) is set.
    """
    divisor_high, divisor_low = divisor >> _LIMB_BITS, divisor & _LIMB
    limb = high // divisor_high
    rest = high - limb * divisor_high
    # The estimate from the top limb is at most two too large.
    while limb > _LIMB or limb * divisor_low > ((rest << _LIMB_BITS) | next_limb):
        limb -= 1
        rest += divisor_high
    # rest < 2^32 throughout, so that every term fits int64.
    return limb, (rest << _LIMB_BITS) + next_limb - limb * divisor_low


@njit
def divide_wide(high: int, low: int, divisor: int) -> tuple[int, int]:
    """Return floor quotient and remainder of high * 2^62 + low by `divisor`; needs high < divisor < 2^62."""
    if high == 0:
        return low // divisor, low % divisor
    shift = 0
    for step in (32, 16, 8, 4, 2, 1):
        if divisor < (1 << (62 - step)):
            divisor <<= step
            shift += step
    high = (high << shift) | (low >> (62 - shift))
    low = (low & ((1 << (62 - shift)) - 1)) << shift
    first, rest = _quotient_limb(high, low >> _LIMB_BITS, divisor)
    second, rest = _quotient_limb(rest, low & _LIMB, divisor)
    return (first << _LIMB_BITS) | second, rest >> shift


@njit
def mul_add_div(a: int, b: int, carry: int, c: int) -> tuple[int, int]:
    """Return (q, r) with a * b + carry = q * c + r exactly, q rounded half-even and so |r| <= c / 2.

    |a|, |b|, |carry| and c are below 2^62 and c is positive; q saturates to +-WIDE, with r = 0, when its magnitude
    reaches 2^62 or an argument is out of range.
    """
    a, b, carry, c = as_int(a), as_int(b), as_int(carry), as_int(c)
    negative = (a < 0) != (b < 0)
    if a <= -WIDE or a >= WIDE or b <= -WIDE or b >= WIDE or carry <= -WIDE or carry >= WIDE or c <= 0 or c >= WIDE:
        return (-WIDE if negative else WIDE), 0
    high, low = multiply_wide(abs(a), abs(b))
    low += -carry if negative else carry
    if low < 0:
        if high > 0:
            high, low = high - 1, low + WIDE
        else:
            negative, low = not negative, -low
    elif low >= WIDE:
        high, low = high + 1, low - WIDE
    if high >= c:
        return (-WIDE if negative else WIDE), 0
    quotient, rest = divide_wide(high, low, c)
    if rest > c - rest or (rest == c - rest and quotient & 1 == 1):
        quotient, rest = quotient + 1, rest - c
    if quotient >= WIDE:
        quotient, rest = WIDE, 0
    return (-quotient, -rest) if negative else (quotient, rest)


@njit
def mul_div_half_even(a: int, b: int, c: int) -> tuple[int, int]:
    """Return (q, r) with a * b = q * c + r exactly and q rounded half-even; range as in `mul_add_div`."""
    return mul_add_div(a, b, 0, c)


@njit
def mul_saturated(a: int, b: int) -> int:
    """Return a * b, or +-WIDE when its magnitude would reach 2^62 or an argument's does."""
    a, b = as_int(a), as_int(b)
    if -_LIMB <= a <= _LIMB and -_LIMB <= b <= _LIMB:
        return a * b
    negative = (a < 0) != (b < 0)
    if a <= -WIDE or a >= WIDE or b <= -WIDE or b >= WIDE:
        return -WIDE if negative else WIDE
    high, low = multiply_wide(abs(a), abs(b))
    if high != 0:
        low = WIDE
    return -low if negative else low


@njit
def notional_e8(price_ticks: int, qty_lots: int, instruments: NDArray[Any], i: int) -> int:
    """Return price x size of instrument row `i` in 1e-8 quote, half-even; +-WIDE when out of range."""
    ticklots = mul_saturated(price_ticks, qty_lots)
    return mul_div_half_even(ticklots, instruments[i]["ticklot_num"], instruments[i]["ticklot_den"])[0]
