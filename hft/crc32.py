"""CRC32: the checksum of zlib, Ethernet and PNG inside kernels, eight bytes at a time by tables.

`hft/crc32c.py` has another polynomial, which processors know; this one is what venues put in their messages.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from shm.jit import njit

#: The reflected IEEE polynomial.
POLYNOMIAL = 0xEDB88320
_INVERT = 0xFFFFFFFF


def _tables() -> NDArray[np.int64]:
    """`[d, b]`: what byte `b` contributes to the CRC when `d` bytes follow it."""
    table = np.zeros((8, 256), np.int64)
    table[0] = np.arange(256)
    for _ in range(8):
        table[0] = np.where(table[0] & 1, (table[0] >> 1) ^ POLYNOMIAL, table[0] >> 1)
    for d in range(1, 8):
        table[d] = (table[d - 1] >> 8) ^ table[0, table[d - 1] & 0xFF]
    return table


_TABLES = _tables()


@njit
def _byte(data: NDArray[Any], at: int) -> int:
    return int(data[np.uint64(at)])


@njit
def crc32(data: NDArray[np.uint8], start: int, end: int) -> int:
    """The CRC-32 of `data[start:end]`, 0 to 2**32 - 1."""
    crc = _INVERT
    at = start
    while at + 8 <= end:
        low = _TABLES[7, _byte(data, at) ^ (crc & 0xFF)] ^ _TABLES[6, _byte(data, at + 1) ^ ((crc >> 8) & 0xFF)]
        low ^= _TABLES[5, _byte(data, at + 2) ^ ((crc >> 16) & 0xFF)] ^ _TABLES[4, _byte(data, at + 3) ^ (crc >> 24)]
        high = _TABLES[3, _byte(data, at + 4)] ^ _TABLES[2, _byte(data, at + 5)]
        high ^= _TABLES[1, _byte(data, at + 6)] ^ _TABLES[0, _byte(data, at + 7)]
        crc = low ^ high
        at += 8
    while at < end:
        crc = _TABLES[0, (crc ^ _byte(data, at)) & 0xFF] ^ (crc >> 8)
        at += 1
    return crc ^ _INVERT
