"""Atomics: compiled and plain bodies mean the same, and the compiled ones are really atomic and ordered."""

from __future__ import annotations

import threading
from enum import IntEnum

import numpy as np
import pytest

from shm.atomics import fence_acquire, fence_release, load_acquire, relax, store_release
from shm.jit import JIT_ENABLED, njit

compiled_only = pytest.mark.skipif(not JIT_ENABLED, reason="about compiled code")


@njit
def move(words, source, target, increment):
    value = load_acquire(words, source)
    fence_acquire()
    fence_release()
    relax()
    store_release(words, target, value + increment)
    return value


@njit
def wait_for(words, index, tries):
    """Spin until a word is not 0; the value, or 0 after `tries`."""
    for _ in range(tries):
        value = load_acquire(words, index)
        if value != 0:
            return value
        relax()
    return 0


class Word(IntEnum):
    FIRST = 0
    SECOND = 1


@njit
def move_named(words):
    store_release(words, Word.FIRST, load_acquire(words, Word.SECOND))


@pytest.mark.parametrize("kernel", [move_named, getattr(move_named, "py_func", move_named)], ids=["compiled", "python"])
def test_a_word_may_be_named_by_an_enum(kernel):
    words = np.array([1, 2], np.int64)
    kernel(words)
    assert words.tolist() == [2, 2]


@pytest.mark.parametrize("kernel", [move, getattr(move, "py_func", move)], ids=["compiled", "python"])
def test_a_word_is_loaded_and_stored(kernel):
    words = np.array([10, 20, -(2**63), 2**63 - 2], np.int64)
    assert kernel(words, 1, 0, 5) == 20
    assert kernel(words, 3, 2, 1) == 2**63 - 2
    assert words.tolist() == [25, 20, 2**63 - 1, 2**63 - 2]


def test_the_same_functions_work_outside_kernels():
    words = np.zeros(2, np.int64)
    store_release(words, 1, 7)
    fence_release()
    fence_acquire()
    relax()
    assert load_acquire(words, 1) == 7


@compiled_only
def test_compiled_accesses_are_atomic_and_ordered():
    fresh = move.py_func
    kernel = __import__("numba").njit(_nrt=False)(fresh)
    kernel(np.zeros(2, np.int64), 0, 1, 1)
    (code,) = kernel.inspect_llvm().values()
    assert "load atomic i64" in code and "acquire" in code
    assert "store atomic i64" in code and "release" in code
    assert "fence acquire" in code and "fence release" in code
    assert "llvm.x86.sse2.pause" in code


@compiled_only
def test_a_waiting_kernel_sees_another_threads_store():
    words = np.zeros(1, np.int64)
    wait_for(words, 0, 1)
    seen = []
    waiter = threading.Thread(target=lambda: seen.append(wait_for(words, 0, 2_000_000_000)))
    waiter.start()
    store_release(words, 0, 77)
    waiter.join()
    assert seen == [77]


@compiled_only
@pytest.mark.parametrize("words", [np.zeros(2, np.int32), np.zeros((2, 2), np.int64), np.zeros(2)])
def test_anything_but_a_vector_of_int64_does_not_compile(words):
    from numba.core.errors import TypingError

    with pytest.raises(TypingError):
        move(words, 0, 1, 1)
