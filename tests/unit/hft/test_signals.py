"""Do the signals equal what their definitions say, written out plainly?"""

from __future__ import annotations

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from hft.book import new_book, set_level
from hft.records import Side
from hft.signals import (
    SIGNALS,
    Signal,
    forget_mid,
    imbalance,
    microprice_ticks,
    mid_x2_ticks,
    update_flow,
    update_volatility,
    volatility,
)
from support.naive_book import NaiveBook

BUY, SELL = int(Side.BUY), int(Side.SELL)
HALF_LIFE_NS = 2e9


def new_rows(instruments: int) -> NDArray[np.float64]:
    """Rows as a strategy has them: wider than the signals need."""
    return np.zeros((instruments, SIGNALS + 2))


@pytest.mark.parametrize("seed", range(3))
def test_book_signals_equal_exact_arithmetic(seed: int) -> None:
    rng = random.Random(seed)
    book, naive = new_book(128, near_ticks=1024), NaiveBook()
    for step in range(400):
        side = rng.choice((BUY, SELL))
        price, lots = 10_000 - side * rng.randint(1, 30), rng.choice((0, 1, rng.randint(1, 10**9)))
        set_level(book, side, price, lots)
        naive.set_level(side, price, lots)
        (bid, bid_lots), (ask, ask_lots) = naive.best(BUY), naive.best(SELL)
        both = bid > 0 and ask > 0
        where = f"seed {seed} step {step}"
        assert mid_x2_ticks(book) == (bid + ask if both else 0), where
        exact = Fraction(bid * ask_lots + ask * bid_lots, bid_lots + ask_lots) if both else Fraction(0)
        assert microprice_ticks(book) == pytest.approx(float(exact), rel=1e-14), where
        for k in (1, 5, 100):
            bids, asks = (sum(lots for _, lots in naive.levels(each)[:k]) for each in (BUY, SELL))
            assert imbalance(book, k) == pytest.approx((bids - asks) / (bids + asks) if bids + asks else 0.0, abs=1e-14), where


def test_microprice_lies_nearer_to_the_thinner_side() -> None:
    book = new_book(4)
    set_level(book, BUY, 100, 30)
    set_level(book, SELL, 102, 10)
    assert microprice_ticks(book) == 101.5
    assert imbalance(book, 1) == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_volatility_equals_its_definition_on_irregular_updates(seed: int) -> None:
    rng = random.Random(seed)
    signals = new_rows(2)
    now_ns, mid, variance, last_mid, last_ns = 1_000_000_000, 200_000, 0.0, 0, 0
    for step in range(300):
        now_ns += rng.choice((0, 1_000, 50_000_000, 3_000_000_000))
        mid += rng.randint(-50, 50)
        offered = rng.choice((mid, mid, mid, 0))
        update_volatility(signals, 1, offered, now_ns, HALF_LIFE_NS)
        if offered and (last_mid == 0 or now_ns > last_ns):
            if last_mid:
                weight = 0.5 ** ((now_ns - last_ns) / HALF_LIFE_NS)
                variance = weight * variance + (1 - weight) * (offered / last_mid - 1) ** 2 / ((now_ns - last_ns) / 1e9)
            last_mid, last_ns = offered, now_ns
        assert volatility(signals, 1) == pytest.approx(math.sqrt(variance), rel=1e-9), f"seed {seed} step {step}"
    assert not signals[0].any() and not signals[1, SIGNALS:].any(), "touched what is not its own"


def test_volatility_counts_two_moves_in_one_instant_as_one_when_time_has_passed() -> None:
    signals = new_rows(1)
    for mid, now_ns in ((200_000, 0), (200_200, 1_000_000_000), (200_400, 1_000_000_000), (200_400, 3_000_000_000)):
        update_volatility(signals, 0, mid, now_ns, HALF_LIFE_NS)
    weight = 0.5**0.5
    first, second = (1 - weight) * 1e-3**2, 0.5 * (200_400 / 200_200 - 1) ** 2 / 2
    assert signals[0, Signal.VARIANCE] == pytest.approx(first * 0.5 + second)


def test_volatility_does_not_count_what_moved_while_the_mid_was_forgotten() -> None:
    signals = new_rows(1)
    for mid, now_ns in ((200_000, 0), (200_200, 1_000_000_000)):
        update_volatility(signals, 0, mid, now_ns, HALF_LIFE_NS)
    before = volatility(signals, 0)
    forget_mid(signals, 0)
    update_volatility(signals, 0, 300_000, 2_000_000_000, HALF_LIFE_NS)
    assert volatility(signals, 0) == before > 0
    update_volatility(signals, 0, 300_000, 4_000_000_000, HALF_LIFE_NS)
    assert volatility(signals, 0) == pytest.approx(before * 0.5**0.5), "the first mid after it begins the next interval"


def test_volatility_of_a_steady_walk_does_not_depend_on_how_often_it_is_looked_at() -> None:
    signals = new_rows(2)
    for i in range(1, 2001):
        mid = 2_000_000 + 2_000 * (i % 2)
        update_volatility(signals, 0, mid, i * 1_000_000_000, HALF_LIFE_NS)
        for extra in range(4):
            update_volatility(signals, 1, mid, i * 1_000_000_000 + (extra > 2), HALF_LIFE_NS)
    coarse, fine = signals[:, Signal.VARIANCE] ** 0.5
    assert coarse == pytest.approx(1e-3, rel=1e-2)
    assert fine == pytest.approx(coarse, rel=1e-2)


def test_flow_decays_by_half_in_a_half_life_and_tells_the_direction() -> None:
    signals = new_rows(1)
    assert update_flow(signals, 0, BUY, 100, 5_000_000_000, HALF_LIFE_NS) == 1.0
    assert update_flow(signals, 0, SELL, 50, 7_000_000_000, HALF_LIFE_NS) == pytest.approx(0.0)
    assert signals[0, Signal.VOLUME_LOTS] == pytest.approx(100.0)
    assert update_flow(signals, 0, SELL, 100, 7_000_000_000, HALF_LIFE_NS) == pytest.approx(-0.5)
    assert update_flow(signals, 0, SELL, 100, 6_000_000_000, HALF_LIFE_NS) == pytest.approx(-2 / 3), "time never runs back"
