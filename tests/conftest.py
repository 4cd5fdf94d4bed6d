"""Fixtures every test may use: recorded captures, instances of their own, and nothing left behind."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from processes import logs

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"


@pytest.fixture(scope="session")
def recorded() -> Callable[[str], Path]:
    """Path of a recorded capture; skips the test, with the reason, where the recordings are absent."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"recorded data {name} is not beside this checkout")
        return path

    return find


@pytest.fixture
def instance_name() -> Iterator[str]:
    """A random instance name; the test fails if a segment of it is left."""
    name = f"t{os.getpid()}-{secrets.token_hex(4)}"
    yield name
    left = sorted(path.name for path in Path("/dev/shm").glob(f"hft.{name}.*"))
    assert not left, f"left in shared memory: {left}"


@pytest.fixture(autouse=True)
def logs_on_stderr() -> Iterator[None]:
    """A test that silences the logs, or sends them to a file, does so for itself alone."""
    yield
    logs._file = None
