"""Digit words: eight bytes at once are read as they are one by one."""

from __future__ import annotations

import random

import numpy as np

from hft.venues.digit_words import fitting_digits, leading_digits, pair_values, pattern, trailing_zeros, value_of
from shm.jit import njit

SEED = 20_261_201


@njit
def leading(data, at):
    return leading_digits(data, at)


@njit
def fitting(data, at, text, limits):
    return fitting_digits(data, at, text, limits)


@njit
def lowest_bit(word):
    return trailing_zeros(word)


@njit
def value(word):
    return value_of(word)


def array(text: bytes) -> np.ndarray:
    return np.frombuffer(bytearray(b"7" + text + b"7"), np.uint8)


def some_word(rng: random.Random) -> bytes:
    text = bytearray(f"{rng.randrange(10**8):08d}".encode())
    for _ in range(rng.randrange(3)):
        text[rng.randrange(8)] = rng.choice([47, 58, 46, 34, 0, 127, 128, 255, rng.randrange(256)])
    return bytes(text)


def test_digits_in_front_are_counted_and_read() -> None:
    rng = random.Random(SEED)
    for _ in range(3000):
        text = some_word(rng)
        count = next((i for i, byte in enumerate(text) if not 48 <= byte <= 57), 8)
        found = tuple(int(part) for part in leading(array(text), 1))
        assert found == (count, int(text[:count] or b"0")), (SEED, text)
        assert leading_digits(array(text), 1) == found, (SEED, text)


def test_every_byte_ends_the_digits_or_is_one() -> None:
    for at in range(8):
        for byte in range(256):
            text = b"12345678"[:at] + bytes([byte]) + b"12345678"[at + 1 :]
            assert int(leading(array(text), 1)[0]) == (8 if 48 <= byte <= 57 else at), text


def test_a_pattern_fits_its_marks_and_any_digits_only() -> None:
    rng = random.Random(SEED)
    text, limits = pattern(b"00T00:00")
    good = b"17T16:43"
    for at in range(8):
        for byte in range(256):
            tried = good[:at] + bytes([byte]) + good[at + 1 :]
            fits = 48 <= byte <= 57 if good[at : at + 1].isdigit() else byte == good[at]
            wanted = int.from_bytes(
                bytes(b - 48 if 48 <= b <= 57 and m == 48 else 0 for b, m in zip(tried, b"00T00:00", strict=True)), "little"
            )
            assert int(fitting(array(tried), 1, text, limits)) == (wanted if fits else -1), tried
    for _ in range(2000):
        tried = bytes(rng.choice([good[i], rng.randrange(256)]) for i in range(8))
        fits = all(48 <= b <= 57 if m == 48 else b == m for b, m in zip(tried, b"00T00:00", strict=True))
        assert (int(fitting(array(tried), 1, text, limits)) >= 0) == fits, (SEED, tried)


def test_values_of_pairs_and_of_all_eight_digits() -> None:
    rng = random.Random(SEED)
    for _ in range(500):
        text = f"{rng.randrange(10**8):08d}"
        digits = int.from_bytes(bytes(int(digit) for digit in text), "little")
        assert int(value(np.int64(digits))) == value_of(digits) == int(text), (SEED, text)
        pairs = int(pair_values(digits)).to_bytes(8, "little")
        assert list(pairs[:7]) == [int(text[i : i + 2]) for i in range(7)], (SEED, text)


def test_the_lowest_bit_is_found() -> None:
    for bit in range(63):
        assert int(lowest_bit(np.int64(5 << bit if bit < 60 else 1 << bit))) == bit == trailing_zeros(1 << bit)
