"""Fill rate: on both sides of its boundary, in value and in time, and against the naive twin."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from hft import fill_rate
from hft.breakers import SLICES
from hft.fill_rate import new_fill_rate
from hft.records import FIRM_LIMITS
from support.naive_fill_rate import NaiveFillRate

SECOND = 1_000_000_000
WINDOW = 16 * SECOND
T0 = 1000 * WINDOW


class Box:
    """Two strategies that may be filled for five times what is usual, or 1000; kernels are compiled ones or plain Python."""

    def __init__(self, compiled: bool = True, expected_e8: int = 200) -> None:
        self.firm = np.zeros(1, FIRM_LIMITS)
        self.firm["filled_expected_e8"], self.firm["filled_max_percent"], self.firm["filled_window_ns"] = expected_e8, 500, WINDOW
        self.state = new_fill_rate(2)
        kernels = [fill_rate.note_filled, fill_rate.forget]
        self._kernels: list[Any] = kernels if compiled else [getattr(kernel, "py_func", kernel) for kernel in kernels]

    def fills(self, value_e8: int, at_ns: int, strategy: int = 0) -> bool:
        return bool(self._kernels[0](self.state, self.firm, strategy, value_e8, at_ns))

    def forget(self, strategy: int) -> None:
        self._kernels[1](self.state, strategy)


@pytest.fixture(params=["jit", "py"])
def box(request: pytest.FixtureRequest) -> Box:
    return Box(request.param == "jit")


def test_what_is_expected_may_be_filled_five_times_and_no_more_and_each_strategy_is_one_of_its_own(box: Box) -> None:
    assert not box.fills(600, T0) and not box.fills(400, T0 + 1)
    assert not box.fills(1000, T0 + 1, 1)
    assert box.fills(1, T0 + WINDOW)


def test_what_was_filled_before_the_window_does_not_count(box: Box) -> None:
    box.fills(1000, T0)
    assert not box.fills(1, T0 + WINDOW + WINDOW // SLICES)


def test_what_is_usual_grows_with_steady_fills_and_falls_when_they_end(box: Box) -> None:
    box.firm["filled_expected_e8"] = 200_000
    for k in range(3000):
        assert not box.fills(50_000, T0 + k * SECOND), "that is 850,000 in a window"
    end_ns = T0 + 3000 * SECOND
    assert not box.fills(3_400_000, end_ns)
    box.forget(0)
    assert not box.fills(4_200_000, end_ns + 1) and box.fills(100_000, end_ns + 2)
    box.forget(0)
    assert box.fills(1_000_001, end_ns + 2000 * WINDOW)


@pytest.mark.parametrize("quiet", [20, 50, 88, 89, 105, 106, 1000])
def test_what_is_usual_falls_by_each_slice_without_fills_however_many_there_are(box: Box, quiet: int) -> None:
    for k in range(20_000):
        box.fills(1_000_000, T0 + k * SECOND)
    usual_e8, last = int(box.state.newest[0, 1]), T0 + 19_999 * SECOND
    box.fills(0, last + quiet * SECOND)
    exact, begin = float(usual_e8), int(box.state.newest[0, 0]) - quiet
    for k in range(begin, begin + quiet):
        inside = max(0, SLICES + 1 - (k - begin))
        exact += (inside * 1_000_000 - exact) / (8 * SLICES)
    assert box.state.newest[0, 1] == pytest.approx(exact, rel=0.06)


def test_what_was_filled_before_arming_does_not_count(box: Box) -> None:
    assert box.fills(1001, T0)
    box.forget(0)
    assert not box.fills(1000, T0 + 1) and box.fills(1, T0 + 2)


@pytest.mark.parametrize("strategy", [-1, 2])
def test_a_strategy_that_does_not_exist_counts_for_nobody(box: Box, strategy: int) -> None:
    assert not box.fills(10**9, T0, strategy) and not box.fills(1000, T0)


def test_sums_do_not_wrap(box: Box) -> None:
    for _ in range(9):
        assert box.fills(2**63 - 1, T0)


@pytest.mark.parametrize("seed", range(20))
def test_fill_rate_equals_the_naive_twin_on_random_fills(seed: int) -> None:
    chance = random.Random(seed)
    box = Box(bool(seed % 2), chance.randint(50, 400))
    twin, at_ns, seen = NaiveFillRate(box.firm[0], 2), T0, set()
    for step in range(600):
        at_ns += chance.choice([0, 1, SECOND // 3, SECOND, 3 * SECOND, 20 * SECOND, -SECOND, *[2000 * SECOND] * (step % 50 == 0)])
        strategy, value_e8 = chance.randrange(2), chance.choice([chance.randint(0, 200), chance.randint(0, 900)])
        over = box.fills(value_e8, at_ns, strategy)
        assert over == twin.on_fill(strategy, value_e8, at_ns), f"seed {seed} step {step}"
        assert box.state.newest[strategy, 1] == twin.usual[strategy], f"seed {seed} step {step}"
        seen.add(over)
        if over and chance.random() < 0.5:
            box.forget(strategy)
            twin.forget(strategy)
    assert seen == {True, False}, f"seed {seed}"
