"""CRC32: the kernel gives zlib's answer at every length and place."""

from __future__ import annotations

import random
import zlib

import numpy as np

from hft.crc32 import crc32

SEED = 20_260_103


def test_crc32_gives_the_published_answer() -> None:
    assert crc32(np.frombuffer(b"123456789", np.uint8).copy(), 0, 9) == 0xCBF43926


def test_crc32_agrees_with_zlib_at_every_length_and_alignment() -> None:
    data = random.Random(SEED).randbytes(80)
    array = np.frombuffer(data, np.uint8).copy()
    for start in range(9):
        for end in range(start, 80):
            assert crc32(array, start, end) == zlib.crc32(data[start:end]), (SEED, start, end)
