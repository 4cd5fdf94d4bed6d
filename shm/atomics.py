"""Atomics: order what two processes see of shared int64 words.

Every shared word goes through here: a plain read in a loop is hoisted out of it by the compiler. The Python bodies have the
same meaning on x86-64, where an aligned 8-byte load is an acquire and a store a release, and the interpreter neither hoists
nor reorders. Elsewhere only compiled code is ordered, so importing this module in Python mode is refused there.
"""

from __future__ import annotations

import platform
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from shm.jit import JIT_ENABLED

if not JIT_ENABLED and platform.machine() not in ("x86_64", "AMD64"):
    raise ImportError(f"kernels as plain Python need an x86-64 memory model, this is {platform.machine()}")


def load_acquire(words: NDArray[Any], index: int) -> int:
    """Read `words[index]`; nothing after it in program order is read before it."""
    value: int = words[index]
    return value


def store_release(words: NDArray[Any], index: int, value: int) -> None:
    """Write `words[index]`; everything before it in program order is visible first."""
    words[index] = value


def fence_acquire() -> None:
    """Keep earlier reads before later reads and writes."""


def fence_release() -> None:
    """Keep earlier reads and writes before later writes."""


def relax() -> None:
    """Tell the core that this is a waiting loop.

    Without it a core runs ahead through many copies of the loop, and must throw them away when the awaited word changes: that
    costs more than the pause.
    """


def _word_pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    view = context.make_array(array_type)(context, builder, array)
    checked = context.enable_boundscheck
    return cgutils.get_item_pointer(context, builder, array_type, view, [index], wraparound=False, boundscheck=checked)


def _is_word(words: Any, index: Any) -> bool:
    is_index = isinstance(index, (types.Integer, types.IntEnumMember))
    return is_index and isinstance(words, types.Array) and words.ndim == 1 and words.dtype == types.int64


@intrinsic
def _load_acquire(typing_context: Any, words: Any, index: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_word_pointer(context, builder, signature.args[0], args[0], args[1]), "acquire", 8)

    return types.int64(words, types.intp), codegen


@intrinsic
def _store_release(typing_context: Any, words: Any, index: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _word_pointer(context, builder, signature.args[0], args[0], args[1]), "release", 8)
        return context.get_dummy_value()

    return types.void(words, types.intp, types.int64), codegen


def _fence(ordering: str) -> Any:
    @intrinsic
    def fence(typing_context: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.fence(ordering)
            return context.get_dummy_value()

        return types.void(), codegen

    return fence


_fence_acquire = _fence("acquire")
_fence_release = _fence("release")


@intrinsic
def _relax(typing_context: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if platform.machine() in ("x86_64", "AMD64"):
            function_type = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), function_type), [])
        return context.get_dummy_value()

    return types.void(), codegen


@overload(load_acquire, inline="always")
def _load_acquire_compiled(words: Any, index: Any) -> Any:
    if _is_word(words, index):

        def body(words: Any, index: Any) -> Any:
            return _load_acquire(words, np.int64(index))

        return body
    return None


@overload(store_release, inline="always")
def _store_release_compiled(words: Any, index: Any, value: Any) -> Any:
    if _is_word(words, index) and isinstance(value, types.Integer):

        def body(words: Any, index: Any, value: Any) -> Any:
            _store_release(words, np.int64(index), value)

        return body
    return None


@overload(fence_acquire, inline="always")
def _fence_acquire_compiled() -> Any:
    def body() -> Any:
        _fence_acquire()

    return body


@overload(fence_release, inline="always")
def _fence_release_compiled() -> Any:
    def body() -> Any:
        _fence_release()

    return body


@overload(relax, inline="always")
def _relax_compiled() -> Any:
    def body() -> Any:
        _relax()

    return body
