"""Binance SBE: steps through Simple Binary Encoding as the venue writes it: little endian, block lengths on the wire.

    message: blockLength u16, templateId u16, schemaId u16, version u16, root block, groups, texts
    group:   blockLength u16, numInGroup u32 (or u16), that many blocks, each with texts of its own where the schema says so
    text:    length u8, bytes

Blocks are as long as they say: a newer version of a schema appends fields to them. Every kernel that steps gives the offset
past it, or -1 if it would end beyond `end`. A number is a mantissa, and an exponent that an earlier field holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.crc32c import word_at
from hft.units import as_int
from hft.venues.json_bytes import UNITS_MAX, byte_at
from shm.jit import njit

HEADER_BYTES = 8
GROUP32_BYTES, GROUP16_BYTES = 6, 4

#: An optional field that is absent; the lowest int64.
ABSENT = -(1 << 63)

_POWERS = np.array([10**i for i in range(19)], np.int64)
_POWER_MAX = len(_POWERS) - 1
#: The largest mantissa that a power of ten may multiply.
_MANTISSA_MAX = UNITS_MAX // _POWERS


@njit
def read_u16(data: NDArray[Any], at: int) -> int:
    """The u16 at `at`; the caller has checked the bounds, as for all that read."""
    return byte_at(data, at) | byte_at(data, at + 1) << 8


@njit
def read_u32(data: NDArray[Any], at: int) -> int:
    """The u32 at `at`."""
    return read_u16(data, at) | read_u16(data, at + 2) << 16


@njit
def read_i8(data: NDArray[Any], at: int) -> int:
    """The i8 at `at`."""
    byte = byte_at(data, at)
    return byte - 256 if byte > 127 else byte


@njit
def read_i64(data: NDArray[Any], at: int) -> int:
    """The i64 at `at`."""
    return int(word_at(data, at))


@njit
def skip_text(data: NDArray[Any], at: int, end: int) -> int:
    """Step over a text."""
    if at < 0 or at >= end:
        return -1
    past = at + 1 + byte_at(data, at)
    return past if past <= end else -1


@njit
def skip_group(data: NDArray[Any], at: int, end: int, header_bytes: int, block_bytes: int) -> int:
    """Step over a group without texts; also -1 if its blocks are shorter than `block_bytes`, which is what we read of each."""
    if at < 0 or at + header_bytes > end:
        return -1
    block = read_u16(data, at)
    count = read_u16(data, at + 2) if header_bytes == GROUP16_BYTES else read_u32(data, at + 2)
    past = at + header_bytes + block * count
    return past if past <= end and (count == 0 or block >= block_bytes) else -1


@njit
def step_scale(exponent: int, decimals: int, step_units: int) -> tuple[int, int, int]:
    """How a mantissa becomes steps of `step_units` * 10**-decimals: (factor, divisor, largest mantissa); the last is -1 if it cannot."""
    power = exponent + decimals
    if power < -_POWER_MAX or power > _POWER_MAX:
        return as_int(1), as_int(1), as_int(-1)
    if power >= 0:
        return as_int(_POWERS[power]), as_int(step_units), as_int(_MANTISSA_MAX[power])
    if step_units > _MANTISSA_MAX[-power]:
        return as_int(1), as_int(1), as_int(-1)
    return as_int(1), step_units * as_int(_POWERS[-power]), as_int(UNITS_MAX)


@njit
def to_steps(mantissa: int, factor: int, divisor: int, mantissa_max: int) -> tuple[int, int]:
    """Whole steps in a mantissa, and 1 if there was a rest; (-1, 0) if it is negative or too big."""
    if mantissa < 0 or mantissa > mantissa_max:
        return -1, 0
    units = mantissa * factor
    if divisor == 1:
        return units, 0
    steps = units // divisor
    return steps, 1 if steps * divisor != units else 0
