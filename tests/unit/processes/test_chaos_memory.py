"""Memory of a campaign's processes: what is flat, what grows, and what nobody can say."""

from __future__ import annotations

import os
import random

import pytest

from processes.chaos.memory import SLOPE_MAX_MB_PER_H, WARM_UP_S, growth, measure
from processes.chaos.rows import Row


def rows(mb_per_h: float, noise_mb: float, count: int = 300, warm_up_mb: float = 0.0) -> list[Row]:
    rng = random.Random(3)
    found = []
    for number in range(count):
        at_s = 6.0 * number
        megabytes = 100 + mb_per_h * at_s / 3600 + rng.gauss(0, noise_mb) + (warm_up_mb if at_s >= WARM_UP_S else 0)
        found.append(Row(number, "gap", [], at_s, held={"trade": (round(megabytes * 1024), 30)}))
    return found


@pytest.mark.parametrize(
    ("mb_per_h", "noise_mb", "verdict"),
    [(0.0, 0.1, "flat"), (0.5, 0.1, "flat"), (5.0, 0.1, "grows"), (SLOPE_MAX_MB_PER_H, 3.0, "inconclusive"), (-4.0, 0.1, "flat")],
)
def test_growth_is_judged_by_its_95_percent_bounds(mb_per_h: float, noise_mb: float, verdict: str) -> None:
    (found,) = growth(rows(mb_per_h, noise_mb))
    low, high = found["bounds_mb_per_h"]
    assert found["verdict"] == verdict and low <= found["mb_per_h"] <= high and low - 0.2 <= mb_per_h <= high + 0.2
    assert found["samples"] == 250 and found["files"] == [30, 30]


def test_what_happens_before_the_warm_up_is_over_does_not_count() -> None:
    (found,) = growth(rows(0.0, 0.01, warm_up_mb=50.0))
    assert found["verdict"] == "flat"


def test_a_short_campaign_says_nothing() -> None:
    (found,) = growth(rows(9.0, 0.0, count=60))
    assert found["verdict"] == "inconclusive" and found["mb_per_h"] is None and growth([]) == []


def test_a_process_is_measured_until_it_is_gone() -> None:
    held = measure(os.getpid())
    assert held is not None and held.anonymous_kb > 1000 and held.files >= 3
    assert measure(2**22 - 1) is None
