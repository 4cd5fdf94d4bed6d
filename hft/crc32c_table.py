"""CRC32C tables: check journals without compiling anything, thousands of entries at a time.

A CRC without its initial and final inversion is linear: that of a run of bytes is the exclusive or of one table word a byte,
`POSITION[bytes after it][byte]`. So NumPy looks up every byte of a block at once and folds the runs.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

#: The reflected Castagnoli polynomial.
POLYNOMIAL = 0x82F63B78
#: A CRC begins with this and ends by inverting: `crc ^ INITIAL`.
INITIAL = 0xFFFFFFFF
#: Longest run folded at once; longer ones continue from their own state.
SEGMENT_BYTES = 1024


def _byte_table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & np.uint32(1), (table >> np.uint32(1)) ^ np.uint32(POLYNOMIAL), table >> np.uint32(1))
    return table


#: The CRC of each byte.
BYTE_TABLE = _byte_table()


@functools.cache
def position_table(positions: int = SEGMENT_BYTES) -> NDArray[np.uint32]:
    """`[d, b]`: what byte `b` contributes to the CRC when `d` bytes follow it; uint32, shape `(positions, 256)`."""
    table = np.empty((positions, 256), np.uint32)
    table[0] = BYTE_TABLE
    for d in range(1, positions):
        table[d] = (table[d - 1] >> np.uint32(8)) ^ BYTE_TABLE[table[d - 1] & np.uint32(0xFF)]
    return table


def checksum(data: bytes) -> int:
    """The CRC32C of `data`."""
    crc = INITIAL
    for byte in data:
        crc = int(BYTE_TABLE[(crc ^ byte) & 0xFF]) ^ (crc >> 8)
    return crc ^ INITIAL


def checksum_runs(data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The CRC32C of each run `data[starts[i]:ends[i]]`; runs are whole 8-byte words, at least one, in any order."""
    state = np.full(len(starts), INITIAL, np.int64)
    active = np.arange(len(starts))
    at = starts.copy()
    while len(active):
        until = np.minimum(at[active] + SEGMENT_BYTES, ends[active])
        state[active] = _continue(state[active], data, at[active], until)
        at[active] = until
        active = active[until < ends[active]]
    return state ^ INITIAL


def _continue(state: NDArray[np.int64], data: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """The CRC states after one segment each, of 8 to SEGMENT_BYTES bytes."""
    sizes = ends - starts
    firsts = np.cumsum(sizes) - sizes
    index = np.arange(int(sizes.sum())) - np.repeat(firsts, sizes)
    after = np.repeat(sizes, sizes) - 1 - index
    bytes_of_runs = data[np.repeat(starts, sizes) + index]
    table = position_table()
    folded = np.bitwise_xor.reduceat(table.ravel()[after * 256 + bytes_of_runs], firsts).astype(np.int64)
    for k in range(4):  # The old state acts as four bytes laid over the segment's first four.
        folded ^= table[sizes - 1 - k, (state >> (8 * k)) & 0xFF]
    return folded
