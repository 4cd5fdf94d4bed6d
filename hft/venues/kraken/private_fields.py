"""Kraken private fields: reads the parts that replies and executions have in common.

Each part was stepped over as valid JSON.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.venues.fields import text_end
from hft.venues.json_bytes import ZERO, byte_at, read_number, to_decimals
from hft.venues.members import UNKNOWN, Words, word_number
from hft.venues.text import read_hex
from shm.jit import njit

_E8_DECIMALS = 8
_ID_MAX = (1 << 63) - 1


@njit
def word_of(words: Words, data: NDArray[Any], at: int, end: int) -> tuple[int, int]:
    """Number of a text that was stepped over, or UNKNOWN, and the offset of its closing quote; -1 there if it is no plain text."""
    past = text_end(data, at, end)
    return (word_number(words, data, at + 1, past), past) if past >= 0 else (UNKNOWN, -1)


@njit
def client_id_of(data: NDArray[Any], at: int, end: int) -> int:
    """Our order id in a client id, or 0."""
    past = text_end(data, at, end)
    return read_hex(data, at + 1, past) if past >= 0 else 0


@njit
def ticks_of(scale: Any, data: NDArray[Any], at: int, end: int) -> int:
    """A price in ticks, rounded down; -1 if it is none."""
    digits, decimals, past = read_number(data, at, end)
    units, _ = to_decimals(digits, decimals, scale["price_decimals"])
    return units // scale["tick_units"] if past >= 0 and units >= 0 else -1


@njit
def lots_of(scale: Any, data: NDArray[Any], at: int, end: int) -> int:
    """A size in lots, rounded down; -1 if it is none."""
    digits, decimals, past = read_number(data, at, end)
    units, _ = to_decimals(digits, decimals, scale["qty_decimals"])
    return units // scale["lot_units"] if past >= 0 and units >= 0 else -1


@njit
def fee_e8_of(digits: int, decimals: int) -> int:
    """digits * 10**-decimals in 1e-8, half-even; -1 if it is too big."""
    units, rest = to_decimals(digits, decimals, _E8_DECIMALS)
    if units < 0 or rest == 0:
        return units
    power = 1
    for _ in range(decimals - _E8_DECIMALS):
        power *= 10
    twice = 2 * (digits - units * power)
    return units + 1 if twice > power or (twice == power and units & 1 == 1) else units


@njit
def request_id_of(data: NDArray[Any], at: int, end: int) -> int:
    """The whole number at `at`, or 0: it is none, or does not fit an id."""
    value = 0
    start = at
    while at < end and byte_at(data, at) ^ ZERO <= 9:
        digit = byte_at(data, at) ^ ZERO
        if value > (_ID_MAX - digit) // 10:
            return 0
        value = value * 10 + digit
        at += 1
    whole = at == end or (byte_at(data, at) != 46 and byte_at(data, at) | 32 != 101)
    return value if at > start and whole else 0
