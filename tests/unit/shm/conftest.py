"""Names for segments that are gone when the test is."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest


@pytest.fixture
def name():
    """A segment name of this test's own; whatever was created under it as a prefix is removed afterwards."""
    unique = f"hft.t{os.getpid()}.{secrets.token_hex(4)}"
    yield unique
    for path in Path("/dev/shm").glob(f"{unique}*"):
        path.unlink()
