"""Virtual clock: a time that stands still until it is set, for every kernel and all Python of this process.

Kernels find the C library's `clock_gettime` by name when they are loaded. A virtual clock gives that name to a function of its own, so
it must be installed before any kernel that tells the time is loaded or compiled; a process that has installed it never gets the
host's clock back.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from numba import carray, cfunc, types

from shm import external
from shm.external import CLOCK_REALTIME, address_of, as_pointer
from shm.jit import JIT_ENABLED

_SECOND_NS = 1_000_000_000


class VirtualClock:
    """CLOCK_MONOTONIC is `now_ns`; CLOCK_REALTIME is that plus `utc_offset_ns`."""

    def __init__(self, utc_offset_ns: int) -> None:
        self._cell = np.array([0, utc_offset_ns], np.int64)
        self._function: Any = None

    @property
    def now_ns(self) -> int:
        """The time."""
        return int(self._cell[0])

    @now_ns.setter
    def now_ns(self, now_ns: int) -> None:
        self._cell[0] = now_ns

    def install(self) -> None:
        """Be the clock of this process from here on."""
        external.read_clock = self.read
        if JIT_ENABLED:
            self._function = _clock_gettime(address_of(self._cell))
            llvm.add_symbol("clock_gettime", self._function.address)

    def read(self, clock: int) -> int:
        """The time by a clock, outside kernels."""
        return int(self._cell[0] + self._cell[1]) if clock == CLOCK_REALTIME else int(self._cell[0])


def _clock_gettime(address: int) -> Any:
    """A C function like `clock_gettime` that reads the two words at `address`."""

    @cfunc(types.int32(types.int32, types.CPointer(types.int64)))
    def clock_gettime(clock: Any, timespec: Any) -> Any:
        cell = carray(as_pointer(address), 2, np.int64)
        now_ns = cell[0]
        if clock == CLOCK_REALTIME:
            now_ns += cell[1]
        timespec[0] = now_ns // _SECOND_NS
        timespec[1] = now_ns % _SECOND_NS
        return 0

    return clock_gettime
