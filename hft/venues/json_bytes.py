"""JSON bytes: steps through JSON text in place, for scanners that read straight from a frame.

Every kernel takes `(data, at, end)`, with `at` the offset of the thing to read, and gives the offset just past it, or -1
if it is not there or not valid. So a text that was stepped over is valid JSON: quotes, escapes, UTF-8, numbers, nesting.
Reading never passes `end`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shm.jit import njit

JSON_QUOTE, BACKSLASH, COMMA, COLON = 34, 92, 44, 58
OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET = 123, 125, 91, 93
MINUS, PLUS, POINT, ZERO, NINE = 45, 43, 46, 48, 57
SPACE, TAB, NEWLINE, RETURN = 32, 9, 10, 13
LOWER_E, LOWER_F, LOWER_N, LOWER_T, LOWER_U, UPPER_E = 101, 102, 110, 116, 117, 69

#: Deepest nesting stepped over; one bit of an int64 each.
DEPTH_MAX = 60

#: Most digits in an integer that surely fits an int64.
DIGITS_MAX = 18

#: Values reach at most 2**62, so that one more digit cannot wrap.
UNITS_MAX = 1 << 62
_UNITS_BEFORE_DIGIT_MAX = (UNITS_MAX - 9) // 10


@njit
def byte_at(data: NDArray[Any], at: int) -> int:
    """The byte at an offset from 0 up. As an unsigned index it spares the wrap of negative ones, a third of a scan's time."""
    return int(data[np.uint64(at)])


@njit
def skip_space(data: NDArray[Any], at: int, end: int) -> int:
    """Step over white space, if any; never fails."""
    while at < end and (
        byte_at(data, at) == SPACE or byte_at(data, at) == NEWLINE or byte_at(data, at) == RETURN or byte_at(data, at) == TAB
    ):
        at += 1
    return at


@njit
def skip_mark(data: NDArray[Any], at: int, end: int, mark: int) -> int:
    """Step over white space, then exactly this byte."""
    if at < end and byte_at(data, at) == mark:
        return at + 1
    at = skip_space(data, at, end)
    return at + 1 if at < end and byte_at(data, at) == mark else -1


@njit
def is_mark(data: NDArray[Any], at: int, end: int, mark: int) -> bool:
    """Whether this byte is at `at`."""
    return at < end and byte_at(data, at) == mark


@njit
def is_text(data: NDArray[Any], at: int, end: int, text: NDArray[Any]) -> bool:
    """Whether exactly the bytes `text` lie in `at..end`."""
    if end - at != len(text):
        return False
    for i in range(len(text)):
        if byte_at(data, at + i) != text[i]:
            return False
    return True


@njit
def skip_name(data: NDArray[Any], at: int, end: int) -> int:
    """Step over a string of printable ASCII without escapes, as venues' keys are."""
    if at >= end or byte_at(data, at) != JSON_QUOTE:
        return -1
    at += 1
    while at < end and byte_at(data, at) != JSON_QUOTE:
        if byte_at(data, at) < SPACE or byte_at(data, at) == BACKSLASH or byte_at(data, at) >= 127:
            return -1
        at += 1
    return at + 1 if at < end else -1


@njit
def skip_string(data: NDArray[Any], at: int, end: int) -> int:
    """Step over any string."""
    if at >= end or byte_at(data, at) != JSON_QUOTE:
        return -1
    at += 1
    while at < end:
        byte = byte_at(data, at)
        if byte == JSON_QUOTE:
            return at + 1
        if byte < SPACE:
            return -1
        if byte == BACKSLASH:
            at = _skip_escape(data, at, end)
        elif byte < 128:
            at += 1
        else:
            at = _skip_multibyte(data, at, end)
        if at < 0:
            return -1
    return -1


@njit
def _skip_escape(data: NDArray[Any], at: int, end: int) -> int:
    if at + 1 >= end:
        return -1
    byte = byte_at(data, at + 1)
    if byte != LOWER_U:
        # " \ / b f n r t
        known = byte == 34 or byte == 92 or byte == 47 or byte == 98 or byte == 102 or byte == 110 or byte == 114 or byte == 116
        return at + 2 if known else -1
    if at + 6 > end:
        return -1
    for i in range(at + 2, at + 6):
        digit = ZERO <= byte_at(data, i) <= NINE or 65 <= byte_at(data, i) <= 70 or 97 <= byte_at(data, i) <= 102
        if not digit:
            return -1
    return at + 6


@njit
def _skip_multibyte(data: NDArray[Any], at: int, end: int) -> int:
    """Step over one UTF-8 character of 2 to 4 bytes; overlong forms, surrogates and what is over U+10FFFF are invalid."""
    lead = byte_at(data, at)
    if 0xC2 <= lead <= 0xDF:
        more = 1
    elif 0xE0 <= lead <= 0xEF:
        more = 2
    elif 0xF0 <= lead <= 0xF4:
        more = 3
    else:
        return -1
    if at + more >= end:
        return -1
    second_min = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
    second_max = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
    if not second_min <= byte_at(data, at + 1) <= second_max:
        return -1
    for i in range(at + 2, at + more + 1):
        if not 0x80 <= byte_at(data, i) <= 0xBF:
            return -1
    return at + more + 1


@njit
def _skip_digits(data: NDArray[Any], at: int, end: int) -> int:
    start = at
    while at < end and ZERO <= byte_at(data, at) <= NINE:
        at += 1
    return at if at > start else -1


@njit
def skip_number(data: NDArray[Any], at: int, end: int) -> int:
    """Step over a JSON number."""
    if is_mark(data, at, end, MINUS):
        at += 1
    at = at + 1 if is_mark(data, at, end, ZERO) else _skip_digits(data, at, end)
    if at >= 0 and is_mark(data, at, end, POINT):
        at = _skip_digits(data, at + 1, end)
    if at >= 0 and (is_mark(data, at, end, LOWER_E) or is_mark(data, at, end, UPPER_E)):
        at += 1
        if is_mark(data, at, end, PLUS) or is_mark(data, at, end, MINUS):
            at += 1
        at = _skip_digits(data, at, end)
    return at


@njit
def is_true(data: NDArray[Any], at: int, end: int) -> bool:
    """Whether `true` starts here."""
    return (
        at + 4 <= end
        and byte_at(data, at) == LOWER_T
        and byte_at(data, at + 1) == 114
        and byte_at(data, at + 2) == LOWER_U
        and byte_at(data, at + 3) == LOWER_E
    )


@njit
def is_false(data: NDArray[Any], at: int, end: int) -> bool:
    """Whether `false` starts here."""
    started = at + 5 <= end and byte_at(data, at) == LOWER_F and byte_at(data, at + 1) == 97 and byte_at(data, at + 2) == 108
    return started and byte_at(data, at + 3) == 115 and byte_at(data, at + 4) == LOWER_E


@njit
def is_null(data: NDArray[Any], at: int, end: int) -> bool:
    """Whether `null` starts here."""
    return (
        at + 4 <= end
        and byte_at(data, at) == LOWER_N
        and byte_at(data, at + 1) == LOWER_U
        and byte_at(data, at + 2) == 108
        and byte_at(data, at + 3) == 108
    )


@njit
def _skip_scalar(data: NDArray[Any], at: int, end: int) -> int:
    if at >= end:
        return -1
    if byte_at(data, at) == JSON_QUOTE:
        return skip_string(data, at, end)
    if is_true(data, at, end) or is_null(data, at, end):
        return at + 4
    if is_false(data, at, end):
        return at + 5
    return skip_number(data, at, end)


@njit
def _skip_key(data: NDArray[Any], at: int, end: int) -> int:
    """Step over white space, any key, its colon, and white space."""
    at = skip_string(data, skip_space(data, at, end), end)
    if at >= 0:
        at = skip_mark(data, at, end, COLON)
    return skip_space(data, at, end) if at >= 0 else -1


@njit
def skip_value(data: NDArray[Any], at: int, end: int) -> int:
    """Step over any value, nested at most DEPTH_MAX deep."""
    objects = 0  # Bit 0: the innermost container is an object; bit 1: the one around it; and so on.
    depth = 0
    while True:
        if is_mark(data, at, end, OPEN_BRACE) or is_mark(data, at, end, OPEN_BRACKET):
            is_object = 1 if byte_at(data, at) == OPEN_BRACE else 0
            if depth == DEPTH_MAX:
                return -1
            objects = (objects << 1) | is_object
            depth += 1
            at = skip_space(data, at + 1, end)
            empty = is_mark(data, at, end, CLOSE_BRACE if is_object else CLOSE_BRACKET)
            if not empty:
                at = _skip_key(data, at, end) if is_object else at
                if at < 0:
                    return -1
                continue
        else:
            at = _skip_scalar(data, at, end)
            if at < 0:
                return -1
        # A value ended, or an empty container is about to: close what closes, until a comma or the outermost end.
        while depth > 0:
            at = skip_space(data, at, end)
            if is_mark(data, at, end, COMMA):
                break
            if not is_mark(data, at, end, CLOSE_BRACE if objects & 1 else CLOSE_BRACKET):
                return -1
            objects >>= 1
            depth -= 1
            at += 1
        if depth == 0:
            return at
        at = _skip_key(data, at + 1, end) if objects & 1 else skip_space(data, at + 1, end)
        if at < 0:
            return -1


@njit
def read_integer(data: NDArray[Any], at: int, end: int) -> tuple[int, int]:
    """Read a JSON integer of 1 to DIGITS_MAX digits, without sign: (value, offset past it), or (-1, -1)."""
    start = at
    value = 0
    while at < end and ZERO <= byte_at(data, at) <= NINE:
        if at - start == DIGITS_MAX:
            return -1, -1
        value = value * 10 + byte_at(data, at) - ZERO
        at += 1
    leading_zero = at - start > 1 and byte_at(data, start) == ZERO
    # A fraction or an exponent would make it another number.
    if at == start or leading_zero or is_mark(data, at, end, POINT) or is_mark(data, at, end, LOWER_E) or is_mark(data, at, end, UPPER_E):
        return -1, -1
    return value, at


@njit
def read_decimal(data: NDArray[Any], at: int, end: int, decimals: int) -> tuple[int, int, int]:
    """Read a quoted decimal, `"digits"` or `"digits.digits"`: (value in 10**-decimals, offset past the quote, rest).

    `decimals` is 0 to 18. `rest` is 1 if a digit beyond `decimals` was not 0; the value is then rounded down. Anything else
    is refused with (-1, -1, 0): a sign, an exponent, white space, a missing digit on either side of the point, a value over
    2**62.
    """
    if at >= end or byte_at(data, at) != JSON_QUOTE:
        return -1, -1, 0
    at += 1
    start = at
    value = 0
    while at < end:
        digit = byte_at(data, at) ^ ZERO
        if digit > 9:
            break
        if value > _UNITS_BEFORE_DIGIT_MAX:
            return -1, -1, 0
        value = value * 10 + digit
        at += 1
    if at == start or at >= end:
        return -1, -1, 0
    if at + 9 < end and byte_at(data, at) == POINT and byte_at(data, at + 9) == JSON_QUOTE and decimals <= 8:
        fraction = _eight_digits(data, at + 1)
        if fraction >= 0 and value <= _WHOLE_MAX[decimals]:
            # Division by a power of ten, as a product: exact for fractions of eight digits.
            units = (fraction * _RECIPROCALS[decimals]) >> _RECIPROCAL_SHIFTS[decimals]
            return value * _POWERS[decimals] + units, at + 10, 1 if units * _POWERS[8 - decimals] != fraction else 0
    return _read_fraction(data, at, end, decimals, value)


#: For 0 to 8 decimals kept of eight: fraction // 10**(8 - decimals) == fraction * reciprocal >> shift, as fraction < 2**27.
_POWERS = tuple(10**i for i in range(9))
_WHOLE_MAX = tuple((UNITS_MAX >> 1) // power for power in _POWERS)
_RECIPROCAL_SHIFTS = tuple(27 + (10 ** (8 - kept) - 1).bit_length() for kept in range(9))
_RECIPROCALS = tuple((1 << shift) // 10 ** (8 - kept) + (kept < 8) for kept, shift in enumerate(_RECIPROCAL_SHIFTS))


@njit
def _four_bytes(data: NDArray[Any], at: int) -> int:
    """Four bytes as an integer, the first one lowest; compiled to one load."""
    return byte_at(data, at) | byte_at(data, at + 1) << 8 | byte_at(data, at + 2) << 16 | byte_at(data, at + 3) << 24


@njit
def _eight_digits(data: NDArray[Any], at: int) -> int:
    """Value of eight digits, or -1 if they are not all digits; four at a time, each in a byte of its own.

    A digit is its byte ^ 48; any other byte then is 10 or more, so that 6 more reach its upper four bits.
    """
    high = _four_bytes(data, at) ^ 0x30303030
    low = _four_bytes(data, at + 4) ^ 0x30303030
    if ((high + 0x06060606) | (low + 0x06060606) | high | low) & 0xF0F0F0F0 != 0:
        return -1
    high = (high * 10 + (high >> 8)) & 0x00FF00FF
    low = (low * 10 + (low >> 8)) & 0x00FF00FF
    high = (high * 100 + (high >> 16)) & 0xFFFF
    low = (low * 100 + (low >> 16)) & 0xFFFF
    return high * 10_000 + low


@njit
def _read_fraction(data: NDArray[Any], at: int, end: int, decimals: int, value: int) -> tuple[int, int, int]:
    """Read a decimal of any length on from after its whole digits, which are `value`."""
    missing = decimals
    rest = 0
    if byte_at(data, at) == POINT:
        at += 1
        start = at
        while at < end:
            digit = byte_at(data, at) ^ ZERO
            if digit > 9:
                break
            if missing > 0:
                if value > _UNITS_BEFORE_DIGIT_MAX:
                    return -1, -1, 0
                value = value * 10 + digit
                missing -= 1
            elif digit != 0:
                rest = 1
            at += 1
        if at == start:
            return -1, -1, 0
    if at >= end or byte_at(data, at) != JSON_QUOTE:
        return -1, -1, 0
    while missing > 0:
        if value > _UNITS_BEFORE_DIGIT_MAX:
            return -1, -1, 0
        value *= 10
        missing -= 1
    return value, at + 1, rest


@njit
def read_number(data: NDArray[Any], at: int, end: int) -> tuple[int, int, int]:
    """Read a JSON number that is not negative, not in quotes: (digits, decimals, offset past it), or (-1, -1, -1).

    The value is digits * 10**-decimals, both as written: 0.00100 is (100, 5), and 1e-08 is (1, 8). An exponent that leaves no
    decimals is multiplied out. Refused: a sign, digits of 2**62 or more, over 18 decimals, what is no JSON number.
    """
    start = at
    past = skip_number(data, at, end)
    if past < 0 or byte_at(data, at) == MINUS:
        return -1, -1, -1
    digits = 0
    decimals = 0
    whole = True
    while at < past:
        digit = byte_at(data, at) ^ ZERO
        if digit <= 9:
            if digits > _UNITS_BEFORE_DIGIT_MAX:
                return -1, -1, -1
            digits = digits * 10 + digit
            decimals += 0 if whole else 1
        elif whole and byte_at(data, at) == POINT:
            whole = False
        else:
            break
        at += 1
    if at < past:
        decimals -= _read_exponent(data, at + 1, past)
    if at == start or decimals > DIGITS_MAX:
        return -1, -1, -1
    while decimals < 0:
        if digits > _UNITS_BEFORE_DIGIT_MAX:
            return -1, -1, -1
        digits *= 10
        decimals = decimals + 1 if digits > 0 else 0
    return digits, decimals, past


@njit
def _read_exponent(data: NDArray[Any], at: int, past: int) -> int:
    """Value of the exponent that `skip_number` stepped over, at most a few thousand."""
    negative = byte_at(data, at) == MINUS
    value = 0
    while at < past:
        digit = byte_at(data, at) ^ ZERO
        if digit <= 9 and value < 1000:
            value = value * 10 + digit
        at += 1
    return -value if negative else value


@njit
def to_decimals(digits: int, decimals: int, wanted: int) -> tuple[int, int]:
    """digits * 10**-decimals in units of 10**-wanted: (units rounded down, 1 if anything was cut off); (-1, 0) from 2**62 on."""
    rest = 0
    while decimals < wanted:
        if digits > _UNITS_BEFORE_DIGIT_MAX:
            return -1, 0
        digits *= 10
        decimals += 1
    while decimals > wanted:
        if digits % 10 != 0:
            rest = 1
        digits //= 10
        decimals -= 1
    return digits, rest
