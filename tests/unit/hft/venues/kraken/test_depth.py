"""Kraken depth: whatever was done to the levels, the checksum by their parts is that of the ten best texts."""

from __future__ import annotations

import random
import zlib

import pytest

from hft.venues.kraken.depth import CHECKSUM_LEVELS, PRICE, SIZE, Depths, checksum, drop_worst, forget, new_depths, put_level, widen

SEED = 20_261_130


class Twin:
    """Both sides as dicts of digits, and the checksum of their texts."""

    def __init__(self) -> None:
        self.sides: tuple[dict[int, list[int]], dict[int, list[int]]] = ({}, {})

    def put(self, row: int, key: int, price: int, size: int) -> None:
        if size:
            self.sides[row][key] = [price, size]
        else:
            self.sides[row].pop(key, None)

    def drop(self, row: int, depth: int) -> None:
        while len(self.sides[row]) > depth:
            del self.sides[row][min(self.sides[row])]

    def widen(self, column: int, places: int) -> None:
        for side in self.sides:
            for digits in side.values():
                digits[column - PRICE] *= 10**places

    def checksum(self) -> int:
        texts = []
        for row in (1, 0):
            best = sorted(self.sides[row], reverse=True)[:CHECKSUM_LEVELS]
            texts += [f"{digits}" for key in best for digits in self.sides[row][key]]
        return zlib.crc32("".join(texts).encode())


def drop_all(depths: Depths, row: int) -> None:
    while drop_worst(depths, 1, row) != 0:
        pass


@pytest.mark.parametrize("seed", range(SEED, SEED + 4))
def test_the_checksum_by_parts_is_that_of_the_texts(seed: int) -> None:
    rng = random.Random(seed)
    twin, depths = Twin(), new_depths(2, 25)
    widest = 0
    for n in range(600):
        where = f"seed {seed} step {n}"
        what = rng.random()
        row = rng.randrange(2)
        if what < 0.01:
            forget(depths, 1)
            twin, widest = Twin(), 0
        elif what < 0.03 and widest < 4:
            column, places = rng.choice((PRICE, SIZE)), rng.randrange(1, 3)
            assert widen(depths, 1, column, places), where
            twin.widen(column, places)
            widest += places
        elif what < 0.1:
            drop_all(depths, row)
            twin.drop(row, 25)
        else:
            key = rng.randrange(1, 40) if row == 0 else -rng.randrange(41, 80)
            price, size = (
                abs(key) * 10 ** rng.randrange(10) + rng.randrange(3),
                rng.randrange(10 ** rng.randrange(1, 14)) * rng.randrange(4),
            )
            assert put_level(depths, 1, row, key, price, size), where
            twin.put(row, key, price, size)
        assert checksum(depths, 1) == twin.checksum(), where
        assert checksum(depths, 0) == 0, where


@pytest.mark.parametrize("digits", [1, 9, 10, 99_999_999, 100_000_000, 9_999_999_999_999_999, 10_000_000_000_000_000, (1 << 62) - 1])
def test_numbers_of_any_length_are_in_the_checksum(digits: int) -> None:
    for price, size in ((digits, 7), (7, digits), (digits, digits)):
        depths = new_depths(1, 10)
        assert put_level(depths, 0, 1, -5, price, size)
        assert checksum(depths, 0) == zlib.crc32(f"{price}{size}".encode())


def test_a_side_of_the_longest_texts_has_a_checksum() -> None:
    most = (1 << 62) - 1
    depths = new_depths(1, 10)
    for key in range(1, 11):
        assert put_level(depths, 0, 0, key, most, most) and put_level(depths, 0, 1, -key - 20, most, most)
    assert checksum(depths, 0) == zlib.crc32(f"{most}{most}".encode() * 20)


def test_what_would_not_fit_is_not_widened() -> None:
    depths = new_depths(1, 10)
    assert put_level(depths, 0, 0, 5, 3, 1 << 61) and widen(depths, 0, PRICE, 2) and not widen(depths, 0, SIZE, 1)
