"""Plain numbers: every number is read as it is the long way, whatever its form and wherever the message ends."""

from __future__ import annotations

import random

import numpy as np

from hft.venues.json_bytes import read_decimal, read_number
from hft.venues.plain_numbers import plain_decimal, plain_number
from shm.jit import JIT_ENABLED

SEED = 20_261_202
TRIES = 20_000 if JIT_ENABLED else 4_000


def some_number(rng: random.Random) -> str:
    whole = "".join(rng.choice("0123456789") for _ in range(rng.choice([0, 1, 1, 2, 5, 6, 7, 8, 9])))
    places = "".join(rng.choice("0123456789") for _ in range(rng.choice([0, 1, 2, 7, 8, 9, 10, 11, 12, 19])))
    text = whole + rng.choice([".", ".", ".", ".", "", ".."]) + places
    if rng.random() < 0.2:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(["-", "+", "e1", "E-2", "x", " ", '"', "0"]) + text[at:]
    return text


def data_of(text: str, rng: random.Random) -> tuple[np.ndarray, int]:
    """A text and what stands behind it, and where the message ends: often well behind it, sometimes within."""
    behind = rng.choice([',"qty":0.00000000}],"asks":[]', "}" * 30, "9" * 30, ',"', "", "e5" + " " * 30])
    data = np.frombuffer(bytearray(("77" + text + behind).encode()), np.uint8)
    return data, len(data) - rng.choice([0, 0, 0, min(len(behind), 9), len(behind)])


def test_numbers_are_read_alike_both_ways() -> None:
    rng = random.Random(SEED)
    read = 0
    for _ in range(TRIES):
        data, end = data_of(some_number(rng), rng)
        wanted = tuple(int(part) for part in read_number(data, 2, end))
        assert tuple(int(part) for part in plain_number(data, 2, end)) == wanted, (SEED, data.tobytes(), end)
        read += wanted[2] >= 0
    assert read > TRIES // 4
    assert plain_number(data, -1, end)[2] == plain_decimal(data, -1, end, 2)[1] == -1


def test_quoted_decimals_are_read_alike_both_ways() -> None:
    rng = random.Random(SEED)
    read = 0
    for _ in range(TRIES):
        text = '"' + some_number(rng) + rng.choice(['"', '"', '"', "'", ""])
        data, end = data_of(text, rng)
        decimals = rng.randrange(19)
        wanted = tuple(int(part) for part in read_decimal(data, 2, end, decimals))
        assert tuple(int(part) for part in plain_decimal(data, 2, end, decimals)) == wanted, (SEED, data.tobytes(), end, decimals)
        read += wanted[1] >= 0
    assert read > TRIES // 4
