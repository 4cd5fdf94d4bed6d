"""Clock: tells the time inside kernels and out, on the same two clocks.

Every stamp of the engine is CLOCK_MONOTONIC of this boot; CLOCK_REALTIME only translates to venue time.
"""

from __future__ import annotations

from typing import Any

from numba.extending import overload

from shm.external import CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime_ns


def monotonic_ns() -> int:
    """CLOCK_MONOTONIC in ns."""
    return clock_gettime_ns(CLOCK_MONOTONIC)


def realtime_ns() -> int:
    """CLOCK_REALTIME in ns since 1970 UTC."""
    return clock_gettime_ns(CLOCK_REALTIME)


@overload(monotonic_ns)
def _monotonic_ns_compiled() -> Any:
    def body() -> Any:
        return clock_gettime_ns(CLOCK_MONOTONIC)

    return body


@overload(realtime_ns)
def _realtime_ns_compiled() -> Any:
    def body() -> Any:
        return clock_gettime_ns(CLOCK_REALTIME)

    return body
