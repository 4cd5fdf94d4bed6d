"""Text: ids and numbers survive being written and read."""

from __future__ import annotations

import random

import numpy as np
import pytest

from hft.venues.text import HEX_BYTES, put_bytes, put_decimal, put_hex, read_hex

SEED = 20_260_101


def written(put: object, *args: int) -> bytes:
    out = np.zeros(64, np.uint8)
    return out[: put(*args, out, 0)].tobytes()  # type: ignore[operator]


def read(text: bytes) -> int:
    data = np.frombuffer(bytearray(text), np.uint8)
    return int(read_hex(data, 0, len(text)))


def test_order_ids_come_back_as_they_were_written() -> None:
    rng = random.Random(SEED)
    for value in [1, 2**63 - 1, 0xABCDEF, *(rng.randrange(1, 2**63) for _ in range(200))]:
        text = written(put_hex, value)
        assert len(text) == HEX_BYTES and text == f"{value:016x}".encode(), f"seed {SEED}"
        assert read(text) == value, f"seed {SEED}"


@pytest.mark.parametrize(
    "text",
    [b"", b"000000000000002", b"00000000000000020", b"000000000000002G", b"000000000000002A", b"-00000000000002a", b"8000000000000000"],
)
def test_ids_of_others_are_none_of_ours(text: bytes) -> None:
    assert read(text) == 0


def test_decimals_are_written_with_all_their_places() -> None:
    assert written(put_decimal, 0, 2) == b"0.00"
    assert written(put_decimal, 5, 0) == b"5"
    assert written(put_decimal, 6183763, 2) == b"61837.63"
    assert written(put_decimal, 7, 8) == b"0.00000007"


def test_decimals_of_every_length_and_place_are_written_digit_by_digit() -> None:
    rng = random.Random(20241)
    for _ in range(2000):
        units, decimals = rng.getrandbits(rng.randrange(1, 63)), rng.randrange(0, 19)
        digits = str(units).rjust(decimals + 1, "0")
        expected = digits if decimals == 0 else f"{digits[:-decimals]}.{digits[-decimals:]}"
        assert written(put_decimal, units, decimals).decode() == expected, (units, decimals)
    for units in [10**k + d for k in range(19) for d in (-1, 0, 1)]:
        assert written(put_decimal, units, 0).decode() == str(units)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (3, 3), (0, 1), (5, 12), (0, 40), (7, 40)])
def test_bytes_are_written_where_they_belong_and_nowhere_else(start: int, end: int) -> None:
    source, out = np.arange(1, 41, dtype=np.uint8), np.zeros(64, np.uint8)
    assert put_bytes(source, start, end, out, 9) == 9 + end - start
    assert out.tobytes() == bytes(9) + source[start:end].tobytes() + bytes(64 - 9 - end + start)
