"""UUIDs: reads and writes the venue's ids as two signed 64-bit halves."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.venues.json_bytes import JSON_QUOTE, MINUS, byte_at
from hft.venues.text import put_hex
from shm.jit import njit

#: Bytes of a UUID as text, without quotes.
UUID_BYTES = 36

_KEY_MAX = (1 << 63) - 1
_ZERO, _NINE, _UPPER_A, _UPPER_F, _LOWER_A, _LOWER_F = 48, 57, 65, 70, 97, 102


@njit
def _read_hex(data: NDArray[Any], start: int, end: int) -> int:
    """Value of up to eight hex digits, or -1."""
    value = 0
    for i in range(start, end):
        byte = byte_at(data, i)
        if _ZERO <= byte <= _NINE:
            digit = byte - _ZERO
        elif _LOWER_A <= byte <= _LOWER_F:
            digit = byte - _LOWER_A + 10
        elif _UPPER_A <= byte <= _UPPER_F:
            digit = byte - _UPPER_A + 10
        else:
            return -1
        value = (value << 4) | digit
    return value


@njit
def _signed(high: int, low: int) -> int:
    """Two 32-bit halves as one signed 64-bit value, which is the same number compiled and in plain Python."""
    return ((high - (1 << 32) if high >> 31 else high) << 32) | low


@njit
def read_uuid(data: NDArray[Any], at: int, end: int) -> tuple[int, int, int]:
    """Read a quoted UUID, `"d50ec984-77a8-460a-b958-66f114b0de9b"`: (high, low, offset past it), or (0, 0, -1)."""
    if at + UUID_BYTES + 2 > end or byte_at(data, at) != JSON_QUOTE or byte_at(data, at + UUID_BYTES + 1) != JSON_QUOTE:
        return 0, 0, -1
    at += 1
    if byte_at(data, at + 8) != MINUS or byte_at(data, at + 13) != MINUS or byte_at(data, at + 18) != MINUS:
        return 0, 0, -1
    first, second, third = _read_hex(data, at, at + 8), _read_hex(data, at + 9, at + 13), _read_hex(data, at + 14, at + 18)
    fourth, fifth = _read_hex(data, at + 19, at + 23), _read_hex(data, at + 24, at + 28)
    sixth = _read_hex(data, at + 28, at + 36)
    if byte_at(data, at + 23) != MINUS or min(first, second, third) < 0 or min(fourth, fifth, sixth) < 0:
        return 0, 0, -1
    return _signed(first, (second << 16) | third), _signed((fourth << 16) | fifth, sixth), at + UUID_BYTES + 1


@njit
def put_uuid(high: int, low: int, out: NDArray[Any], at: int) -> int:
    """Write a UUID in lower case, without quotes; return the offset after it."""
    put_hex(low, out, at + 20)
    put_hex(high, out, at)
    # 16 + 16 digits become 8-4-4-4-12, moved from the right so that nothing is written over before it was read.
    for i in range(4):
        out[at + 19 + i] = out[at + 20 + i]
    for i in range(3, -1, -1):
        out[at + 14 + i] = out[at + 12 + i]
    for i in range(3, -1, -1):
        out[at + 9 + i] = out[at + 8 + i]
    for place in (8, 13, 18, 23):
        out[at + place] = MINUS
    return at + UUID_BYTES


@njit
def venue_key(high: int, low: int) -> int:
    """63 bits that stand for a UUID; never 0."""
    key = (high ^ (low >> 1)) & _KEY_MAX
    return key if key != 0 else 1
