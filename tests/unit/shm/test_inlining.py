"""Inlining: a kernel is compiled once for Python and once for kernels, and the code of all below ends up in the one that Python calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shm import inlining, ring
from shm.dispatch import by_type
from shm.inlining import Kernel
from shm.jit import JIT_ENABLED, njit
from shm.ring import Ring

pytestmark = pytest.mark.skipif(not JIT_ENABLED, reason="about compiled code")


@njit(cache=False)
def _double(value: int) -> int:
    return value * 2


@njit(cache=False)
def _not_called(value: int, really: bool) -> int:
    # Needed to compile this, then optimised away where `really` is known to be False.
    return _double(value) if really else value


@njit(cache=False)
def _upper(values: Any) -> int:
    total = 0
    for k in range(len(values)):
        total += _not_called(_double(values[k]), k > 1)
    return total


def defined(kernel: Any) -> list[str]:
    """Names of the compiled functions that are left in a kernel's code."""
    (compiled,) = kernel.overloads.values()
    return [function.name for function in compiled.library.get_defined_functions()]


def test_a_kernel_called_by_a_kernel_is_not_compiled_for_python() -> None:
    assert _upper(np.array([1, 2, 3])) == 2 + 4 + 12
    assert isinstance(_double, Kernel) and not _double.overloads and not _not_called.overloads
    assert _double(4) == 8 and len(_double.overloads) == 1


def test_what_is_small_or_has_one_caller_is_inlined_and_dropped() -> None:
    assert _upper(np.array([1, 2, 3])) == 18
    assert not [name for name in defined(_upper) if "_double" in name or "_not_called" in name]


def test_a_kernel_that_two_others_need_is_linked_though_the_first_drops_it() -> None:
    @njit(cache=False)
    def shared(values: Any) -> int:
        total = 0
        for value in values:
            total = total * 31 + value % 7 + value // 3
        return total

    @njit(cache=False)
    def needs_it_on_no_path(values: Any) -> int:
        if len(values) < 0:
            return shared(values)
        return 1

    @njit(cache=False)
    def needs_it(values: Any) -> int:
        return shared(values) + shared(values[1:])

    @njit(cache=False)
    def both(values: Any) -> int:
        return needs_it_on_no_path(values) + needs_it(values)

    values = np.array([3, 5, 8])
    assert both(values) == 1 + needs_it.py_func(values)


def test_a_call_to_code_that_was_not_linked_does_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    @njit(cache=False)
    def inner(values: Any) -> int:
        return values[0] + 1

    @njit(cache=False)
    def outer(values: Any) -> int:
        return inner(values)

    @njit(cache=False)
    def outermost(values: Any) -> int:
        return outer(values)

    monkeypatch.setattr(inlining._InnerLibrary, "_below", lambda self, found: {})
    with pytest.raises(RuntimeError, match="inner.*was not linked"):
        outermost(np.array([1]))


def test_kernels_chosen_by_type_are_inlined_too() -> None:
    choose = by_type({Ring: ring}, "room")

    @njit(cache=False)
    def rooms(of: Any) -> int:
        return choose(of) + 1

    assert rooms(ring.local_ring(np.dtype(np.int64), 8)) == 9
    assert len(defined(rooms)) <= 3
