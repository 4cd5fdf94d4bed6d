"""Cache lock: lets several processes compile into one cache of Numba's at the same time.

Numba saves a kernel by reading the index of its overloads, choosing a file name that is free in it, and writing both. Two processes that
compile one function for different types would choose the same name, and one of them would later be given the other's code.
"""

from __future__ import annotations

import fcntl
import os
from typing import Any

from numba.core.caching import IndexDataCacheFile

_save = IndexDataCacheFile.save


def _save_alone(self: Any, key: Any, data: Any) -> None:
    with open(os.path.join(self._cache_path, "lock"), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _save(self, key, data)


def lock_saves() -> None:
    """Save one kernel of a cache folder at a time, whichever process does; again, it changes nothing."""
    IndexDataCacheFile.save = _save_alone
