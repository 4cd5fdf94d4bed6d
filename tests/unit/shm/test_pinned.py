"""Pinned contexts: a kernel reads back what was pinned, called in the ordinary way or as it was resolved."""

from __future__ import annotations

from typing import Any

import numpy as np

from shm.jit import njit
from shm.pinned import pin, resolved, unpin


@njit
def _add_up(cell: Any, k: int) -> int:
    first, second = unpin(cell)
    second[0] += 1
    return first[k] + second[0]


def test_a_resolved_kernel_is_the_kernel_without_the_questions() -> None:
    first, second = np.array([10, 20]), np.zeros(1, np.int64)
    pinned = pin((first, second))
    call = resolved(_add_up, pinned.cell, 0)
    assert [int(_add_up(pinned.cell, 0)), int(call(pinned.cell, 1)), int(call(pinned.cell, 0))] == [11, 22, 13]
    assert second[0] == 3


def test_another_cell_of_the_same_type_may_take_its_place() -> None:
    one, other = pin((np.array([1]), np.zeros(1, np.int64))), pin((np.array([5]), np.zeros(1, np.int64)))
    call = resolved(_add_up, one.cell, 0)
    assert (int(call(one.cell, 0)), int(call(other.cell, 0))) == (2, 6)
