"""Waiting: the one place where a test with real processes waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

_PAUSE_S = 0.02
_T = TypeVar("_T")


def wait_until(predicate: Callable[[], _T], deadline_s: float, what: str) -> _T:
    """The first truthy answer of `predicate`; an AssertionError that names `what` and the last answer if none comes in time."""
    pause, until = threading.Event(), time.monotonic() + deadline_s
    while True:
        found = predicate()
        if found:
            return found
        assert time.monotonic() < until, f"not within {deadline_s:g} s: {what}; last seen: {found!r}"
        pause.wait(_PAUSE_S)
