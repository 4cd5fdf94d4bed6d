"""Compilation: configures Numba once, for every kernel of the engine.

`njit` caches to disk, releases the GIL and divides like NumPy (no exceptions in kernels). Bounds checks follow
`NUMBA_BOUNDSCHECK`; `NUMBA_DISABLE_JIT=1` leaves every kernel a plain Python function.

Kernels do not count references: an array passed through a NamedTuple would otherwise cost two atomic operations at every call
of every kernel, and keep small kernels from being inlined (a ring was six times slower). So a kernel neither makes nor returns
new arrays (slices used inside are fine); a cold one that must is declared `@njit(allocates=True)`.

Numba's cache notices a changed file, but neither a changed constant imported from another file nor a changed bounds check.
So the cache folder itself is named by a hash of all sources, Numba's version and those settings. `NUMBA_CACHE_DIR`
overrides it; whoever sets it answers for that.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, overload

import numba
import numpy as np
from numba.core import config
from numba.core.errors import NumbaExperimentalFeatureWarning

from shm.cache_lock import lock_saves
from shm.inlining import Kernel

#: False when `NUMBA_DISABLE_JIT=1`: kernels then run as plain Python.
JIT_ENABLED: bool = not config.DISABLE_JIT

#: Packages whose sources may be compiled into a kernel.
_PACKAGES = ("shm", "hft", "strategies", "processes")

_OPTIONS: dict[str, Any] = {
    "nopython": True,
    "boundscheck": None,
    # Left unset, it would be taken over from whichever kernel is being compiled meanwhile.
    "forceinline": False,
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
}

_Kernel = TypeVar("_Kernel", bound=Callable[..., Any])


def build_hash(root: Path) -> str:
    """SHA-256 of all sources under `root`, of the versions of what compiles them, and of how."""
    digest = hashlib.sha256(f"{numba.__version__} {np.__version__} boundscheck={bool(config.BOUNDSCHECK)}".encode())
    for package in _PACKAGES:
        for source in sorted((root / package).rglob("*.py")):
            digest.update(str(source.relative_to(root)).encode() + b"\0")
            digest.update(source.read_bytes() + b"\0")
    return digest.hexdigest()


def cache_folder(root: Path) -> Path:
    """The cache folder for the sources under `root`, beneath `$XDG_CACHE_HOME` or `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "hft" / "numba" / build_hash(root)[:24]


def _configure() -> None:
    # Function types are marked experimental by Numba; strategies are passed as such on purpose.
    warnings.filterwarnings("ignore", category=NumbaExperimentalFeatureWarning)
    lock_saves()
    if JIT_ENABLED and not os.environ.get("NUMBA_CACHE_DIR"):
        config.CACHE_DIR = str(cache_folder(Path(__file__).resolve().parent.parent))


_configure()

#: What this process has loaded, as 63 bits that go into a word.
BUILD: int = int(build_hash(Path(__file__).resolve().parent.parent)[:16], 16) >> 1


@overload
def njit(function: _Kernel, /) -> _Kernel: ...


@overload
def njit(signature: str | list[Any], /, *, allocates: bool = False, **options: Any) -> Callable[[_Kernel], _Kernel]: ...


@overload
def njit(*, allocates: bool = False, **options: Any) -> Callable[[_Kernel], _Kernel]: ...


def njit(*args: Any, allocates: bool = False, **options: Any) -> Any:
    """Compile a kernel: `@njit`, `@njit(allocates=True)` or `@njit(signature)`; other options are Numba's own."""
    merged = {**_OPTIONS, "_nrt": allocates, **options}
    if len(args) == 1 and inspect.isfunction(args[0]):
        return _kernel(args[0], merged)

    def decorate(function: Any) -> Any:
        return _kernel(function, merged, *args)

    return decorate


def _kernel(function: Any, options: dict[str, Any], signature: Any = None) -> Any:
    if not JIT_ENABLED:
        return function
    kernel = Kernel(function, targetoptions={name: value for name, value in options.items() if name != "cache"})
    if options["cache"]:
        kernel.enable_caching()
    if signature is not None:
        kernel.compile(signature)
        kernel.disable_compile()
    return kernel
