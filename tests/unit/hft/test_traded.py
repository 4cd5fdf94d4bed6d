"""Traded: the average of the last trades, each weighted by how long it was the last one."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest

from hft.traded import average, begin_at_mid, new_traded, note_trade

WINDOW_NS = 1000
ONE = 1 << 10


@pytest.fixture(params=["jit", "py"])
def kernels(request: pytest.FixtureRequest) -> tuple[Any, ...]:
    """The kernels, compiled and as plain Python."""
    found = (begin_at_mid, note_trade, average)
    return found if request.param == "jit" else tuple(getattr(kernel, "py_func", kernel) for kernel in found)


def test_without_a_price_or_a_window_there_is_no_average(kernels: Any) -> None:
    _, note, mean = kernels
    traded = new_traded(2)
    assert mean(traded, 0, 5, WINDOW_NS) == 0
    note(traded, 0, 7, 5, WINDOW_NS)
    assert mean(traded, 0, 5, 0) == mean(traded, 1, 5, WINDOW_NS) == 0


def test_the_first_mid_stands_in_until_the_first_trade_and_no_longer(kernels: Any) -> None:
    begin, note, mean = kernels
    traded = new_traded(1)
    begin(traded, 0, 7)
    begin(traded, 0, 99)
    assert mean(traded, 0, 10**15, WINDOW_NS) == 7 * ONE // 2
    note(traded, 0, 20, 100, WINDOW_NS)
    begin(traded, 0, 99)
    assert mean(traded, 0, 100, WINDOW_NS) == 20 * ONE


def test_a_print_counts_for_as_long_as_it_lasts(kernels: Any) -> None:
    _, note, mean = kernels
    traded = new_traded(1)
    for price_ticks, at_ns in ((1000, 0), (2000, 500), (1000, 510)):
        note(traded, 0, price_ticks, at_ns, WINDOW_NS)
    assert mean(traded, 0, 510, WINDOW_NS) == 1010 * ONE
    assert mean(traded, 0, 505, WINDOW_NS) == 1010 * ONE, "time does not run backwards"
    note(traded, 0, 3000, 510, WINDOW_NS)
    assert [mean(traded, 0, 510 + ns, WINDOW_NS) for ns in (0, 500, 1000, 5000)] == [1010 * ONE, 2005 * ONE, 3000 * ONE, 3000 * ONE]


def test_average_stays_within_what_was_traded_and_equals_fractions_to_a_thousandth_of_a_tick(kernels: Any) -> None:
    _, note, mean = kernels
    for seed in range(5):
        chance, traded, exact, last, at_ns, steps = random.Random(seed), new_traded(1), Fraction(0), 0, 0, 0
        for steps in range(200):
            price_ticks, before_ns = (1 << 47) - 1 - chance.randrange(1 << chance.randrange(1, 47)), at_ns
            at_ns += chance.choice([0, 1, 30, 700, 5000])
            exact = exact + (last - exact) * Fraction(min(at_ns - before_ns, WINDOW_NS), WINDOW_NS) if steps else Fraction(price_ticks)
            last = price_ticks
            note(traded, 0, price_ticks, at_ns, WINDOW_NS)
            assert abs(mean(traded, 0, at_ns, WINDOW_NS) - exact * ONE) <= steps + 1, f"seed {seed} step {steps}"


def test_an_average_of_many_trades_a_second_does_not_stand_still(kernels: Any) -> None:
    _, note, mean = kernels
    traded, window_ns = new_traded(1), 10**6
    note(traded, 0, 1000, 0, window_ns)
    note(traded, 0, 1100, 0, window_ns)
    for at_ns in range(1, 2001):
        note(traded, 0, 1100, at_ns, window_ns)
    assert abs(mean(traded, 0, 2000, window_ns) - (1100 - 100 * (1 - 1 / window_ns) ** 2000) * ONE) <= 1
    assert mean(traded, 0, 2000, window_ns) > 1000 * ONE + 100
