"""Dispatch: the type of the first argument chooses the kernel, compiled and as plain Python."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from shm.dispatch import by_type
from shm.jit import njit


class Sum(NamedTuple):
    values: NDArray[Any]


class Product(NamedTuple):
    factors: NDArray[Any]


@njit
def _sum(first: Sum, k: int, out: NDArray[Any]) -> int:
    out[0] = first.values[k] + 1
    return 1


@njit
def _product(first: Product, k: int, out: NDArray[Any]) -> int:
    out[0] = first.factors[k] * 10
    return 2


KERNELS: dict[type, Any] = {Sum: SimpleNamespace(apply=_sum), Product: SimpleNamespace(apply=_product)}
apply = by_type(KERNELS, "apply")


@njit
def called(first: Any, k: int, out: NDArray[Any]) -> int:
    return apply(first, k, out)


@pytest.mark.parametrize("call", [called, apply], ids=["kernel", "python"])
def test_the_type_of_the_first_argument_chooses(call: Any) -> None:
    out = np.zeros(1, np.int64)
    assert call(Sum(np.array([3, 4])), 1, out) == 1 and out[0] == 5
    assert call(Product(np.array([3, 4])), 1, out) == 2 and out[0] == 40


def test_an_unknown_type_is_named_as_plain_python() -> None:
    with pytest.raises(KeyError):
        apply(("something",), 0, np.zeros(1, np.int64))
