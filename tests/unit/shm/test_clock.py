"""Clock: kernels and Python read the same two clocks."""

from __future__ import annotations

import time

import pytest

from shm.clock import monotonic_ns, realtime_ns
from shm.jit import njit


@njit
def monotonic_in_kernel():
    return monotonic_ns()


@njit
def realtime_in_kernel():
    return realtime_ns()


@pytest.mark.parametrize("read", [monotonic_ns, monotonic_in_kernel, getattr(monotonic_in_kernel, "py_func", monotonic_in_kernel)])
def test_monotonic_lies_between_two_readings_of_the_standard_clock(read):
    read()
    before, now, after = time.monotonic_ns(), read(), time.monotonic_ns()
    assert before <= now <= after


@pytest.mark.parametrize("read", [realtime_ns, realtime_in_kernel, getattr(realtime_in_kernel, "py_func", realtime_in_kernel)])
def test_realtime_lies_between_two_readings_of_the_standard_clock(read):
    read()
    before, now, after = time.time_ns(), read(), time.time_ns()
    assert before <= now <= after
