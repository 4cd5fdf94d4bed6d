"""JSON bytes: numbers are read digit by digit, as exactly as their text says."""

from __future__ import annotations

import json
import random
from decimal import Decimal

import numpy as np
import pytest

from hft.venues.json_bytes import UNITS_MAX, read_number, to_decimals

SEED = 20_260_104


def read(text: str) -> tuple[int, int, int]:
    """What a number at the very end of its array is read as; the offset past it counts from its start."""
    data = np.frombuffer(bytearray(b"1," + text.encode()), np.uint8)
    digits, decimals, past = read_number(data, 2, len(data))
    return int(digits), int(decimals), int(past) - 2 if past >= 0 else -1


def made(rng: random.Random) -> str:
    whole = str(rng.randrange(10 ** rng.randrange(1, 12)))
    fraction = "." + "".join(rng.choice("0123456789") for _ in range(rng.randrange(1, 9))) if rng.random() < 0.8 else ""
    exponent = rng.choice(("", "", "e-08", "E-3", "e+2", "e0", "e5"))
    return whole + fraction + exponent


def test_numbers_are_what_their_text_says() -> None:
    rng = random.Random(SEED)
    for _ in range(2000):
        text = made(rng)
        digits, decimals, past = read(text)
        value = Decimal(text)
        if past < 0:
            fraction = max(0, -int(value.as_tuple().exponent))
            assert int(value.scaleb(fraction)) >= UNITS_MAX >> 4 or fraction > 18, f"seed {SEED}: {text}"
            continue
        assert past == len(text) and Decimal(digits).scaleb(-decimals) == value, f"seed {SEED}: {text}"


@pytest.mark.parametrize(
    ("text", "digits", "decimals"),
    [("0.00005100", 5100, 8), ("78871.5", 788715, 1), ("1e-08", 1, 8), ("40.0", 400, 1), ("5", 5, 0), ("1.5e3", 1500, 0), ("0e9", 0, 0)],
)
def test_trailing_zeros_are_kept(text: str, digits: int, decimals: int) -> None:
    assert read(text) == (digits, decimals, len(text))


@pytest.mark.parametrize(
    "text", ["", "-1", "-0", ".5", "1.", "+1", "1e", "1e+", '"1"', "e5", "NaN", "9" * 19, "0." + "0" * 18 + "1", "1e-19", "1e400"]
)
def test_what_is_no_such_number_is_refused(text: str) -> None:
    assert read(text) == (-1, -1, -1)


def test_a_leading_zero_ends_the_number_as_json_has_it() -> None:
    with pytest.raises(ValueError):
        json.loads("01")
    assert read("01") == (0, 0, 1)


def test_units_are_exact_or_say_that_they_are_not() -> None:
    rng = random.Random(SEED)
    for _ in range(2000):
        digits, decimals, wanted = rng.randrange(10 ** rng.randrange(1, 19)), rng.randrange(19), rng.randrange(19)
        units, rest = to_decimals(digits, decimals, wanted)
        exact = Decimal(digits).scaleb(wanted - decimals)
        if units < 0:
            assert exact >= UNITS_MAX >> 4
        else:
            assert units == int(exact) and rest == (exact != int(exact)), f"seed {SEED}: {digits} {decimals} {wanted}"
