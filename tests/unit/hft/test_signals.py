"""Do the signals equal what their definitions say, written out plainly?"""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest

from hft.book import new_book, set_level
from hft.records import Side
from hft.signals import Signal, imbalance, microprice_ticks, mid_x2_ticks, new_signals, update_flow, update_volatility
from support.naive_book import NaiveBook

BUY, SELL = int(Side.BUY), int(Side.SELL)
HALF_LIFE_NS = 2e9


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
    signals = new_signals(2)
    now_ns, mid, variance, last_mid, last_ns = 1_000_000_000, 200_000, 0.0, 0, 0
    for step in range(300):
        now_ns += rng.choice((0, 1_000, 50_000_000, 3_000_000_000))
        mid += rng.randint(-50, 50)
        offered = rng.choice((mid, mid, mid, 0))
        volatility = update_volatility(signals, 1, offered, now_ns, HALF_LIFE_NS)
        if offered and (last_mid == 0 or now_ns > last_ns):
            if last_mid:
                weight = 0.5 ** ((now_ns - last_ns) / HALF_LIFE_NS)
                variance = weight * variance + (1 - weight) * (offered / last_mid - 1) ** 2 / ((now_ns - last_ns) / 1e9)
            last_mid, last_ns = offered, now_ns
        assert volatility == pytest.approx(math.sqrt(variance), rel=1e-9), f"seed {seed} step {step}"
    assert not signals[0].any(), "another instrument's row is untouched"


def test_volatility_of_a_steady_walk_does_not_depend_on_how_often_it_is_looked_at() -> None:
    signals = new_signals(2)
    for i in range(1, 2001):
        mid = 2_000_000 + 2_000 * (i % 2)
        update_volatility(signals, 0, mid, i * 1_000_000_000, HALF_LIFE_NS)
        for extra in range(4):
            update_volatility(signals, 1, mid, i * 1_000_000_000 + (extra > 2), HALF_LIFE_NS)
    coarse, fine = signals[:, Signal.VARIANCE] ** 0.5
    assert coarse == pytest.approx(1e-3, rel=1e-2)
    assert fine == pytest.approx(coarse, rel=1e-2)


def test_flow_decays_by_half_in_a_half_life_and_tells_the_direction() -> None:
    signals = new_signals(1)
    assert update_flow(signals, 0, BUY, 100, 5_000_000_000, HALF_LIFE_NS) == 1.0
    assert update_flow(signals, 0, SELL, 50, 7_000_000_000, HALF_LIFE_NS) == pytest.approx(0.0)
    assert signals[0, Signal.VOLUME_LOTS] == pytest.approx(100.0)
    assert update_flow(signals, 0, SELL, 100, 7_000_000_000, HALF_LIFE_NS) == pytest.approx(-0.5)
    assert update_flow(signals, 0, SELL, 100, 6_000_000_000, HALF_LIFE_NS) == pytest.approx(-2 / 3), "time never runs back"
