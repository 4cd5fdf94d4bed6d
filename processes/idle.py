"""Idle strategies: what a process does when a turn found no work.

The loop that calls them is `while running: idle(stage.do_work())`. A pinned, isolated core spins; a workstation backs off.
Parking rounds up by the kernel's timer slack (50 us unless the process lowered it), so a park shorter than that is not.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

IdleStrategy = Callable[[int], None]


def busy_spin() -> IdleStrategy:
    """Never give the core away."""

    def idle(work: int) -> None:
        return None

    return idle


def backoff(spins: int = 64, yields: int = 16, park_ns_min: int = 50_000, park_ns_max: int = 500_000) -> IdleStrategy:
    """Spin, then yield, then park for longer and longer; any work starts over."""
    turns = 0
    park_ns = park_ns_min

    def idle(work: int) -> None:
        nonlocal turns, park_ns
        if work > 0:
            turns, park_ns = 0, park_ns_min
            return
        turns += 1
        if turns <= spins:
            return
        if turns <= spins + yields:
            os.sched_yield()
            return
        time.sleep(park_ns * 1e-9)
        park_ns = min(park_ns * 2, park_ns_max)

    return idle


def sleeping(park_ns: int = 1_000_000) -> IdleStrategy:
    """Sleep whenever there is nothing to do: for stages that people watch."""

    def idle(work: int) -> None:
        if work == 0:
            time.sleep(park_ns * 1e-9)

    return idle


BY_NAME: dict[str, Callable[[], IdleStrategy]] = {"busy_spin": busy_spin, "backoff": backoff, "sleeping": sleeping}
