"""Fixed eight: a decimal of eight places is read exactly, and anything else is left to others."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hft.venues.fixed8 import FIXED8_BYTES, PLACES8, fixed8

SEED = 20_261_125


def read(text: bytes) -> tuple[int, int, int]:
    data = np.frombuffer(bytearray(b"x" + text + bytes(FIXED8_BYTES)), np.uint8)
    whole, fraction, past = fixed8(data, 1)
    return int(whole), int(fraction), int(past) - 1 if past >= 0 else -1


def test_every_number_of_up_to_seven_digits_is_read() -> None:
    rng = random.Random(SEED)
    numbers = [(0, 0), (1, 0), (9_999_999, 99_999_999), (0, 1), (0, 99_999_999)]
    numbers += [(rng.randrange(10 ** rng.randrange(1, 8)), rng.randrange(10**8)) for _ in range(500)]
    for whole, fraction in numbers:
        text = f'{whole}.{fraction:08d}"'.encode()
        assert read(text + b',"') == (whole, fraction, len(text)), (SEED, text)


@pytest.mark.parametrize(
    "text",
    [
        b'.12345678"',
        b'12345678.12345678"',
        b'1.1234567"',
        b'1.123456789"',
        b"1.12345678,",
        b'1"',
        b'12"',
        b'-1.12345678"',
        b'1.1234567x"',
        b'1e5.12345678"',
    ],
)
def test_what_is_not_of_that_form_is_left_to_others(text: bytes) -> None:
    assert read(text)[2] == -1


def test_any_byte_out_of_place_is_noticed() -> None:
    rng = random.Random(SEED)
    good = b'61837.63000000"'
    for at in range(len(good)):
        for byte in range(256):
            text = good[:at] + bytes([byte]) + good[at + 1 :]
            whole, fraction, past = read(text)
            if past >= 0:
                head, _, tail = text.partition(b".")
                assert (whole, fraction) == (int(head), int(tail[:8])) and text[past - 1 : past] == b'"', (rng, text)


def test_cutting_a_fraction_by_reciprocal_is_exact() -> None:
    rng = random.Random(SEED)
    for kept, (units, reciprocal, shift, cut) in enumerate(PLACES8.tolist()):
        assert units == 10**kept and cut == 10 ** (8 - kept)
        for fraction in [0, 1, cut - 1, cut, 10**8 - 1, *(rng.randrange(10**8) for _ in range(200))]:
            assert (fraction * reciprocal) >> shift == fraction // cut, (SEED, kept, fraction)
