"""Pinned contexts: a kernel reads back what was pinned, called in the ordinary way or as it was resolved."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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


class Inner(NamedTuple):
    values: NDArray[np.int64]
    factor: int


class Outer(NamedTuple):
    name: str
    inners: tuple[Inner, Inner]
    pair: tuple[Inner, float]
    records: NDArray[Any]


@njit
def _scaled(inner: Any, k: int) -> int:
    return inner.values[k] * inner.factor


@njit
def _work(outer: Any, k: int) -> int:
    total = 0
    for inner in outer.inners:
        total += _scaled(inner, k)
        inner.values[k] += 1
    total += _scaled(outer.pair[0], k)
    outer.records[k]["b"] = total
    return total


@njit
def _nested(cell: Any, k: int) -> int:
    return _work(unpin(cell)[0], k)


def test_contexts_within_contexts_are_read_and_written_where_they_are() -> None:
    first, second, third = (Inner(np.array([1, 2, 3]) * 10**i, i + 2) for i in range(3))
    records = np.zeros(3, [("a", np.int32), ("b", np.int64)])
    outer = Outer("outer", (first, second), (third, 0.5), records)
    pinned = pin((outer,))
    assert _nested(pinned.cell, 1) == 2 * 2 + 20 * 3 + 200 * 4
    assert _nested(pinned.cell, 1) == 3 * 2 + 21 * 3 + 200 * 4
    assert (first.values[1], second.values[1], third.values[1]) == (4, 22, 200)
    assert records["b"].tolist() == [0, 869, 0]
