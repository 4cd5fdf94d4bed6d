"""Histogram: records latencies inside kernels, in HDR buckets with three significant digits from 1 ns to 68.7 s.

One writer each. Values above the range are counted at its end and negative ones at 0, while count, sum, minimum and maximum
stay exact. `shm/observe.py` reads it from outside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from shm.atomics import store_release
from shm.jit import njit
from shm.layout import (
    COUNT,
    HISTOGRAM_NS_MAX,
    HISTOGRAM_WORDS,
    MAX_NS,
    MIN_NS,
    SUB_BUCKETS,
    SUB_BUCKETS_HALF,
    SUB_BUCKETS_LOG2,
    SUM_NS,
    aligned_zeros,
    histogram_bytes,
)


def bit_length(value: int) -> int:
    """Bits needed for a non-negative value; 0 for 0."""
    return int(value).bit_length()


@intrinsic
def _leading_zeros(typing_context: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctlz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), codegen


@overload(bit_length, inline="always")
def _bit_length_compiled(value: Any) -> Any:
    def body(value: Any) -> Any:
        return 64 - _leading_zeros(value)

    return body


@njit
def bucket_of(value_ns: int) -> int:
    """The bucket that counts a value, which is clamped to the range."""
    value = min(max(value_ns, 0), HISTOGRAM_NS_MAX)
    scale = bit_length(value | (SUB_BUCKETS - 1)) - SUB_BUCKETS_LOG2
    return scale * SUB_BUCKETS_HALF + (value >> scale)


@njit
def record(words: NDArray[np.int64], value_ns: int) -> None:
    """Count one value."""
    words[HISTOGRAM_WORDS + bucket_of(value_ns)] += 1
    words[SUM_NS] += value_ns
    if words[COUNT] == 0 or value_ns < words[MIN_NS]:
        words[MIN_NS] = value_ns
    if words[COUNT] == 0 or value_ns > words[MAX_NS]:
        words[MAX_NS] = value_ns
    # SYNC histogram: pairs with load_acquire(COUNT) in observe.Histogram. The buckets hold at least COUNT values.
    store_release(words, COUNT, words[COUNT] + 1)


def local_histogram() -> NDArray[np.int64]:
    """A histogram in private memory."""
    return aligned_zeros(histogram_bytes()).view(np.int64)
