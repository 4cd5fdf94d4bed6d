"""Compilation: the cache is keyed by all that decides code, a second process compiles nothing, and bounds are checked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shm import jit
from shm.jit import JIT_ENABLED, njit

ROOT = Path(jit.__file__).resolve().parent.parent
compiled_only = pytest.mark.skipif(not JIT_ENABLED, reason="about compiled code")

USE_KERNELS = """
import sys
import numpy as np
from shm import cell, histogram, ring
record = np.dtype([("a", "<i8"), ("b", "<i8", (7,))])
local, words, rows = ring.local_ring(record, 8), histogram.local_histogram(), np.zeros(1, record)
kernels = [ring.claim, ring.publish, ring.peek, ring.release, ring.room, ring.available, ring.copy_record, histogram.record, cell.write]
ring.claim(local), ring.copy_record(local, 0, rows, 0), ring.publish(local), ring.peek(local), ring.release(local)
ring.room(local), ring.available(local), histogram.record(words, 5), cell.write(cell.local_cell(record), rows, 0)
print(sum(sum(kernel.stats.cache_misses.values()) for kernel in kernels), sum(sum(kernel.stats.cache_hits.values()) for kernel in kernels))
"""

READ_OUTSIDE = """
import numpy as np
from shm.jit import njit
from shm.atomics import load_acquire
@njit(cache=False)
def plain(array, index):
    return array[index]
@njit(cache=False)
def atomic(words, index):
    return load_acquire(words, index)
caught = 0
for kernel in (plain, atomic):
    try:
        kernel(np.zeros(4, np.int64), 4)
    except IndexError:
        caught += 1
print(caught)
"""


def run(code, **environment):
    kept = {key: value for key, value in os.environ.items() if not key.startswith("NUMBA_")}
    arguments = [sys.executable, "-c", code]
    done = subprocess.run(arguments, cwd=ROOT, env=kept | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def tree(folder, text="A = 1\n"):
    (folder / "shm").mkdir(parents=True)
    (folder / "hft").mkdir()
    (folder / "hft" / "x.py").write_text(text)
    return folder


def test_the_cache_folder_changes_with_any_source(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    one, same, other = tree(tmp_path / "1"), tree(tmp_path / "2"), tree(tmp_path / "3", "A = 2\n")
    assert jit.cache_folder(one) == jit.cache_folder(same) != jit.cache_folder(other)
    assert jit.cache_folder(one).parent == tmp_path / "cache" / "hft" / "numba"
    (one / "hft" / "x.py").rename(one / "hft" / "y.py")
    assert jit.cache_folder(one) != jit.cache_folder(same)


def test_the_cache_folder_changes_with_bounds_checks(tmp_path, monkeypatch):
    before = jit.cache_folder(tree(tmp_path))
    monkeypatch.setattr(jit.config, "BOUNDSCHECK", 0 if jit.config.BOUNDSCHECK else 1)
    assert jit.cache_folder(tmp_path) != before


def test_the_cache_folder_is_in_the_users_cache_by_default(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert jit.cache_folder(tree(tmp_path)).is_relative_to(Path.home() / ".cache" / "hft")


@compiled_only
def test_a_second_process_compiles_nothing(tmp_path):
    cold = run(USE_KERNELS, XDG_CACHE_HOME=str(tmp_path))
    warm = run(USE_KERNELS, XDG_CACHE_HOME=str(tmp_path))
    assert (cold, warm) == ("9 0", "0 9")
    assert list(tmp_path.glob("hft/numba/*/*/*.nbc"))


@compiled_only
def test_reads_outside_an_array_raise_when_bounds_are_checked(tmp_path):
    assert run(READ_OUTSIDE, XDG_CACHE_HOME=str(tmp_path), NUMBA_BOUNDSCHECK="1") == "2"


@compiled_only
def test_a_kernel_makes_no_arrays_unless_declared():
    from numba.core.errors import TypingError

    def fresh(count):
        return np.zeros(count, np.int64)

    with pytest.raises(TypingError):
        njit(cache=False)(fresh)(3)
    assert njit(cache=False, allocates=True)(fresh)(3).tolist() == [0, 0, 0]


def test_division_by_zero_does_not_raise():
    @njit(cache=False)
    def halve(value, by):
        return value / by

    with np.errstate(divide="ignore"):
        assert halve(np.float64(1), np.float64(0)) == np.inf


def test_a_kernel_stays_a_plain_function_without_compilation():
    def identity(value):
        return value

    assert (njit(identity) is identity) == (not JIT_ENABLED)
    assert (njit("int64(int64)", cache=False)(identity) is identity) == (not JIT_ENABLED)
