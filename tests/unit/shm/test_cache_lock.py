"""Numba's cache of kernels: one process saves into a folder at a time."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import Any

import pytest
from numba.core.caching import IndexDataCacheFile

import shm.jit  # noqa: F401  (it is what has saves locked)
from shm import cache_lock


def is_free(folder: Path) -> bool:
    """Whether another process could save there."""
    with (folder / "lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_folder_is_locked_while_a_kernel_is_saved_into_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free: list[bool] = []
    monkeypatch.setattr(cache_lock, "_save", lambda file, key, data: free.append(is_free(tmp_path)))
    IndexDataCacheFile(str(tmp_path), "some", "stamp").save("key", "data")
    assert free == [False] and is_free(tmp_path)


def test_a_save_that_fails_leaves_the_folder_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: Any, key: Any, data: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(cache_lock, "_save", fail)
    with pytest.raises(OSError, match="disk full"):
        IndexDataCacheFile(str(tmp_path), "some", "stamp").save("key", "data")
    assert is_free(tmp_path)


def test_what_was_saved_is_loaded_by_its_own_types(tmp_path: Path) -> None:
    first, second = (IndexDataCacheFile(str(tmp_path), "some", "stamp") for _ in range(2))
    first.save("of ints", "ints' code")
    second.save("of floats", "floats' code")
    assert (first.load("of ints"), first.load("of floats")) == ("ints' code", "floats' code")
