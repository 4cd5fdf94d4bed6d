"""Messages: on both sides of the limit, in count and in time, and against the naive twin."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from hft import messages
from hft.breakers import SLICES
from hft.messages import new_messages
from hft.records import FIRM_LIMITS
from support.naive_messages import NaiveMessages

SECOND = 1_000_000_000
WINDOW = 16 * SECOND
T0 = 1000 * WINDOW


class Box:
    """Two strategies that may send three messages for each fill; kernels are compiled ones or plain Python."""

    def __init__(self, compiled: bool = True, limit: int = 3) -> None:
        self.firm = np.zeros(1, FIRM_LIMITS)
        self.firm["messages_per_fill_max"], self.firm["messages_window_ns"] = limit, WINDOW
        self.state = new_messages(2)
        names = ("note_message", "note_message_filled", "is_over")
        kernels = [getattr(messages, name) for name in names]
        self._kernels = kernels if compiled else [getattr(kernel, "py_func", kernel) for kernel in kernels]

    def sends(self, at_ns: int, strategy: int = 0) -> None:
        self._kernels[0](self.state, self.firm, strategy, at_ns)

    def fills(self, at_ns: int, strategy: int = 0) -> None:
        self._kernels[1](self.state, self.firm, strategy, at_ns)

    def over(self, now_ns: int, strategy: int = 0) -> bool:
        return bool(self._kernels[2](self.state, self.firm, strategy, now_ns))


@pytest.fixture(params=["jit", "py"])
def box(request: pytest.FixtureRequest) -> Box:
    return Box(request.param == "jit")


def test_one_more_message_than_the_limit_for_each_fill_is_too_much_for_its_strategy_alone(box: Box) -> None:
    for _ in range(2):
        box.sends(T0)
    assert not box.over(T0)
    box.sends(T0)
    assert box.over(T0) and not box.over(T0, 1)
    box.fills(T0)
    assert box.over(T0), "the first fill is free"
    box.fills(T0)
    assert not box.over(T0)
    for _ in range(2):
        box.sends(T0)
    assert not box.over(T0)
    box.sends(T0)
    assert box.over(T0)


def test_messages_and_fills_count_while_they_are_in_the_window(box: Box) -> None:
    for _ in range(3):
        box.sends(T0)
    assert box.over(T0 + WINDOW)
    assert not box.over(T0 + WINDOW + WINDOW // SLICES), "it ends although nothing is told"
    box = Box()
    for _ in range(2):
        box.fills(T0)
    for _ in range(5):
        box.sends(T0 + WINDOW)
    assert not box.over(T0 + WINDOW)
    assert box.over(T0 + WINDOW + WINDOW // SLICES), "it begins although nothing is told"


def test_a_time_that_runs_backwards_counts_as_the_newest(box: Box) -> None:
    box.sends(T0 + WINDOW)
    for _ in range(2):
        box.sends(T0)
    assert box.over(T0 + 2 * WINDOW) and box.over(T0)


@pytest.mark.parametrize("field", ["messages_per_fill_max", "messages_window_ns"])
def test_without_a_limit_every_message_is_too_much(box: Box, field: str) -> None:
    for value in (0, -1):
        box.firm[field] = value
        box.fills(T0)
        box.sends(T0)
        assert box.over(T0)


@pytest.mark.parametrize("strategy", [-1, 2])
def test_a_strategy_that_does_not_exist_counts_for_nobody(box: Box, strategy: int) -> None:
    for _ in range(9):
        box.sends(T0, strategy)
        box.fills(T0, strategy)
    assert not box.over(T0) and not box.over(T0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_messages_equal_the_naive_twin_on_random_events(seed: int) -> None:
    chance: Any = random.Random(seed)
    box = Box(bool(seed % 2), chance.randint(1, 8))
    twin, at_ns = NaiveMessages(box.firm[0], 2), T0
    seen = set()
    for step in range(500):
        at_ns += chance.choice([0, 1, SECOND // 3, SECOND, 3 * SECOND, 20 * SECOND, -SECOND])
        strategy = chance.randrange(2)
        if chance.random() < 0.75:
            box.sends(at_ns, strategy)
            twin.on_message(strategy, at_ns)
        else:
            box.fills(at_ns, strategy)
            twin.on_fill(strategy, at_ns)
        now_ns = at_ns + chance.choice([0, 0, SECOND, WINDOW])
        over = [box.over(now_ns, k) for k in range(2)]
        assert over == [twin.is_over(k, now_ns) for k in range(2)], f"seed {seed} step {step}"
        seen.update(over)
    assert seen == {True, False}, f"seed {seed}"
