"""Kraken ids: 62 bits that stand for an identifier of the venue, such as `OUF4EM-FRGI2-MQMWZD`, the same wherever it is read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.venues.json_bytes import byte_at
from shm.jit import njit

# Two polynomials modulo two primes below 2**31: products fit, and two identifiers of an account share all 62 bits by no likely chance.
_PRIMES = ((1 << 31) - 1, (1 << 31) - 19)
_FACTORS = (1_103_515_245, 1_540_483_477)


@njit
def id_bits(data: NDArray[Any], start: int, end: int) -> int:
    """62 bits for the text `data[start:end]`; never 0."""
    high = low = end - start
    for i in range(start, end):
        byte = byte_at(data, i)
        high = (high * _FACTORS[0] + byte) % _PRIMES[0]
        low = (low * _FACTORS[1] + byte) % _PRIMES[1]
    bits = (high << 31) | low
    return bits if bits != 0 else 1


def bits_of(text: str) -> int:
    """The same for a text."""
    data = np.frombuffer(bytearray(text.encode()), np.uint8)
    return int(id_bits(data, 0, len(data)))
