"""Copying: whole records move, neighbours stay."""

from __future__ import annotations

import numpy as np
import pytest

from shm.copying import copy_from_words, copy_item, copy_to_words, expect_write
from shm.jit import JIT_ENABLED, njit

RECORD = np.dtype([("a", "<i8"), ("b", "<i4"), ("c", "<i2"), ("d", "i1", (2,)), ("e", "<i8", (3,))], align=True)
OTHER = np.dtype([("a", "<i8")])


@njit
def between(target, i, source, k):
    copy_item(target, i, source, k)


@njit
def through_words(words, start, source, k, target, i):
    copy_to_words(words, start, source, k)
    copy_from_words(target, i, words, start)


def plain(kernel):
    return getattr(kernel, "py_func", kernel)


def three():
    rows = np.zeros(3, RECORD)
    for i in range(3):
        rows[i] = (10 + i, -i, 7 * i, (i, -i), (i, 2**62, -(2**62)))
    return rows


@pytest.mark.parametrize("kernel", [between, plain(between)], ids=["compiled", "python"])
def test_one_record_is_copied_and_its_neighbours_are_not(kernel):
    source, target = three(), np.zeros(3, RECORD)
    kernel(target, 1, source, 2)
    assert target[1] == source[2]
    assert target[0] == target[2] == np.zeros(1, RECORD)[0]


@pytest.mark.parametrize("kernel", [through_words, plain(through_words)], ids=["compiled", "python"])
def test_a_record_survives_words(kernel):
    source, target, words = three(), np.zeros(3, RECORD), np.zeros(12, np.int64)
    kernel(words, 2, source, 1, target, 0)
    assert target[0] == source[1]
    assert words[2] == 11
    assert not words[:2].any() and not words[2 + RECORD.itemsize // 8 :].any()


@pytest.mark.skipif(not JIT_ENABLED, reason="about compiled code")
def test_records_of_different_dtypes_do_not_compile():
    from numba.core.errors import TypingError

    with pytest.raises(TypingError):
        between(np.zeros(1, OTHER), 0, three(), 0)


@njit
def expects(array, i, n_bytes):
    expect_write(array, i, n_bytes)


@pytest.mark.parametrize("kernel", [expects, plain(expects)], ids=["compiled", "python"])
@pytest.mark.parametrize("array", [three(), np.arange(12).reshape(3, 4), np.arange(24)[::8]], ids=["records", "rows", "strided"])
def test_what_is_expected_to_be_written_stays_as_it_is(kernel, array):
    before = array.copy()
    for i in range(len(array)):
        kernel(array, i, 3 * array.itemsize)
    assert (array == before).all()
