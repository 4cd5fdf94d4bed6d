"""Units: decimal text to integers by digits, and wide products divided exactly."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft import units
from hft.decimals import UnitsError, format_units, lots_to_qty, parse_units, price_to_ticks, qty_to_lots, ticks_to_price
from hft.records import INSTRUMENT
from hft.units import WIDE


def row(**fields: int) -> Any:
    """One INSTRUMENT row: ticks of 0.01, lots of 0.00001 unless told otherwise."""
    rows = np.zeros(1, INSTRUMENT)
    base = {"tick_units": 1, "lot_units": 1, "price_decimals": 2, "qty_decimals": 5, "ticklot_num": 10, "ticklot_den": 1}
    for name, value in (base | fields).items():
        rows[0][name] = value
    return rows[0]


@pytest.fixture(params=["jit", "py"])
def body(request: pytest.FixtureRequest) -> Any:
    """Run each kernel compiled and as plain Python."""
    return (lambda f: f) if request.param == "jit" else (lambda f: getattr(f, "py_func", f))


@pytest.mark.parametrize(
    ("text", "decimals", "expected"),
    [
        ("0", 0, 0),
        ("1.15", 2, 115),
        ("64000.10000000", 2, 6_400_010),
        ("0.00001", 5, 1),
        ("-12.5", 1, -125),
        ("4611686018427387903", 0, WIDE - 1),
        ("0.000000", 2, 0),
        ("7", 8, 700_000_000),
    ],
)
def test_parse_units_reads_digits_exactly(text: str, decimals: int, expected: int) -> None:
    assert parse_units(text, decimals) == expected


@pytest.mark.parametrize(
    "text",
    ["", " 1", "1 ", "+1", "1.", ".5", "1e3", "1E3", "1_0", "00", "01.5", "-0", "-0.00", "--1", "nan", "inf", "0x1", "１２", "1,5", "1.2.3"]
    + ["1.001", "9" * 20, "4611686018427387904", "46116860184273879.04", "0.-10000", "1\n", "٣"],
)
def test_parse_units_refuses_anything_but_a_plain_decimal_that_fits(text: str) -> None:
    with pytest.raises(UnitsError):
        parse_units(text, 2 if text != "4611686018427387904" else 0)


@given(value=st.integers(-(WIDE - 1), WIDE - 1), decimals=st.integers(0, 18))
def test_format_units_round_trips_through_parse_units(value: int, decimals: int) -> None:
    assert parse_units(format_units(value, decimals), decimals) == value


def test_price_to_ticks_refuses_a_price_off_the_grid_when_the_tick_is_wide() -> None:
    wide = row(tick_units=5)
    assert price_to_ticks("100.25", wide) == 2005
    with pytest.raises(UnitsError, match="multiple of the tick 0.05, was '100.26'"):
        price_to_ticks("100.26", wide)


def test_qty_to_lots_refuses_a_size_off_the_grid() -> None:
    assert qty_to_lots("0.00120", row()) == 120
    with pytest.raises(UnitsError):
        qty_to_lots("0.000001", row())
    with pytest.raises(UnitsError, match="lot size above 0"):
        qty_to_lots("1", row(lot_units=0))


def test_ticks_and_lots_become_text_with_the_instruments_decimals() -> None:
    assert ticks_to_price(6_400_010, row()) == "64000.10"
    assert ticks_to_price(2005, row(tick_units=5)) == "100.25"
    assert lots_to_qty(1, row()) == "0.00001"
    assert lots_to_qty(-250, row()) == "-0.00250"
    assert ticks_to_price(3, row(price_decimals=0)) == "3"


def naive_mul_add_div(a: int, b: int, carry: int, c: int) -> tuple[int, int]:
    """The same by Python's unbounded integers and Fraction's own half-even rounding."""
    total = a * b + carry
    quotient = round(Fraction(total, c))
    if abs(quotient) >= WIDE:
        return (WIDE if total > 0 else -WIDE), 0
    return quotient, total - quotient * c


SMALL = WIDE - 1
EDGES = [0, 1, 2, 3, 99, 100, 10**8, 2**31 - 1, 2**31, 2**31 + 1, 2**61 - 1, 2**61, 2**61 + 1, 2**62 - 2, 2**62 - 1]
WHOLE = st.one_of(st.sampled_from(EDGES), st.integers(0, SMALL), st.integers(0, 60).map(lambda n: 1 << n))


@given(a=WHOLE, b=WHOLE, carry=WHOLE, c=WHOLE, signs=st.tuples(*[st.sampled_from([1, -1])] * 3))
@settings(max_examples=3000, deadline=None)
def test_mul_add_div_equals_unbounded_integers(a: int, b: int, carry: int, c: int, signs: tuple[int, int, int]) -> None:
    a, b, carry, c = a * signs[0], b * signs[1], carry * signs[2], max(c, 1)
    expected = naive_mul_add_div(a, b, carry, c)
    assert tuple(units.mul_add_div(a, b, carry, c)) == expected
    assert tuple(getattr(units.mul_add_div, "py_func", units.mul_add_div)(a, b, carry, c)) == expected


def test_mul_add_div_equals_unbounded_integers_on_every_edge(body: Any) -> None:
    kernel = body(units.mul_add_div)
    for a in EDGES:
        for b in EDGES:
            for c in EDGES[1:]:
                for sign in (1, -1):
                    assert tuple(kernel(sign * a, b, 0, c)) == naive_mul_add_div(sign * a, b, 0, c), (sign, a, b, c)


def test_mul_div_half_even_is_exact_where_the_product_needs_128_bits(body: Any) -> None:
    assert tuple(body(units.mul_div_half_even)(10**15, 10**10, 10**10)) == (10**15, 0)
    assert tuple(body(units.mul_div_half_even)(-(10**15), 10**10, 3 * 10**10)) == (-333333333333333, -(10**10))


@pytest.mark.parametrize(
    ("a", "c", "expected"), [(1, 2, (0, 1)), (3, 2, (2, -1)), (5, 2, (2, 1)), (-1, 2, (0, -1)), (-3, 2, (-2, 1)), (7, 4, (2, -1))]
)
def test_mul_div_half_even_rounds_ties_to_even(body: Any, a: int, c: int, expected: tuple[int, int]) -> None:
    assert tuple(body(units.mul_div_half_even)(a, 1, c)) == expected


@pytest.mark.parametrize(
    ("a", "b", "carry", "c", "expected"),
    [
        (WIDE, 1, 0, 1, WIDE),
        (-WIDE, 1, 0, 1, -WIDE),
        (1, -WIDE, 0, 1, -WIDE),
        (-(2**63), -1, 0, 1, WIDE),
        (2**61, 2, 0, 1, WIDE),
        (1, 1, WIDE, 1, WIDE),
        (1, 1, 0, 0, WIDE),
        (1, 1, 0, -1, WIDE),
        (1, 1, 0, WIDE, WIDE),
    ],
)
def test_mul_add_div_saturates_instead_of_wrapping(body: Any, a: int, b: int, carry: int, c: int, expected: int) -> None:
    assert tuple(body(units.mul_add_div)(a, b, carry, c)) == (expected, 0)


@given(a=st.integers(-(2**63), 2**63 - 1), b=st.integers(-(2**63), 2**63 - 1))
@settings(max_examples=1000, deadline=None)
def test_mul_saturated_is_the_product_or_the_bound(a: int, b: int) -> None:
    inside = abs(a) < WIDE and abs(b) < WIDE
    expected = a * b if inside and abs(a * b) < WIDE else (-WIDE if (a < 0) != (b < 0) else WIDE)
    assert units.mul_saturated(a, b) == expected
    assert getattr(units.mul_saturated, "py_func", units.mul_saturated)(a, b) == expected


def test_notional_is_exact_in_the_quote_unit_and_saturates_when_it_does_not_fit(body: Any) -> None:
    rows = np.zeros(2, INSTRUMENT)
    rows[0] = row()
    rows[1] = row(ticklot_num=1, ticklot_den=100)
    assert body(units.notional_e8)(6_400_010, 100_000, rows, 0) == 6_400_010_000_000
    assert body(units.notional_e8)(6_400_010, 25, rows, 1) == 1_600_002
    assert body(units.notional_e8)(2**40, 2**40, rows, 0) == WIDE
