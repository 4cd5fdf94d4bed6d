"""Copying: moves a whole record between arrays, as one block of a size known to the compiler."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

#: What one prefetch brings.
_FETCHED_BYTES = 64


def copy_item(target: NDArray[Any], i: int, source: NDArray[Any], k: int) -> None:
    """target[i] = source[k], for one-dimensional contiguous arrays of the same record dtype."""
    target[i] = source[k]


def copy_to_words(words: NDArray[np.int64], start: int, source: NDArray[Any], k: int) -> None:
    """Copy the record `source[k]` into `words[start:]`; its size is a multiple of 8 bytes."""
    words[start : start + source.itemsize // 8] = source[k : k + 1].view(np.int64)


def copy_from_words(target: NDArray[Any], i: int, words: NDArray[np.int64], start: int) -> None:
    """Copy `words[start:]` into the record `target[i]`; its size is a multiple of 8 bytes."""
    target[i : i + 1].view(np.int64)[:] = words[start : start + target.itemsize // 8]


def _block(size: Any) -> Any:
    """An intrinsic `copy(target, i, source, k)` of `size(target dtype, source dtype)` bytes."""

    @intrinsic
    def copy(typing_context: Any, target: Any, i: Any, source: Any, k: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            def pointer(position: int) -> Any:
                array_type = signature.args[position]
                view = context.make_array(array_type)(context, builder, args[position])
                index = [args[position + 1]]
                return cgutils.get_item_pointer(
                    context, builder, array_type, view, index, wraparound=False, boundscheck=context.enable_boundscheck
                )

            # A constant size lets the compiler use its widest moves instead of a loop or a call.
            cgutils.raw_memcpy(builder, pointer(0), pointer(2), ir.Constant(ir.IntType(64), 1), size(target.dtype, source.dtype))
            return context.get_dummy_value()

        return types.void(target, types.intp, source, types.intp), codegen

    return copy


_copy_item = _block(lambda target, source: target.size)
_copy_to_words = _block(lambda target, source: source.size)
_copy_from_words = _block(lambda target, source: target.size)


def _is_vector(array: Any) -> bool:
    return isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C"


def _is_records(array: Any) -> bool:
    return _is_vector(array) and isinstance(array.dtype, types.Record)


def _is_words(array: Any) -> bool:
    return _is_vector(array) and array.dtype == types.int64


@overload(copy_item, inline="always")
def _copy_item_compiled(target: Any, i: Any, source: Any, k: Any) -> Any:
    if _is_records(target) and _is_records(source) and target.dtype == source.dtype and target.mutable:

        def body(target: Any, i: Any, source: Any, k: Any) -> Any:
            _copy_item(target, i, source, k)

        return body
    return None


@overload(copy_to_words, inline="always")
def _copy_to_words_compiled(words: Any, start: Any, source: Any, k: Any) -> Any:
    if _is_words(words) and words.mutable and _is_records(source) and source.dtype.size % 8 == 0:

        def body(words: Any, start: Any, source: Any, k: Any) -> Any:
            _copy_to_words(words, start, source, k)

        return body
    return None


@overload(copy_from_words, inline="always")
def _copy_from_words_compiled(target: Any, i: Any, words: Any, start: Any) -> Any:
    if _is_words(words) and _is_records(target) and target.mutable and target.dtype.size % 8 == 0:

        def body(target: Any, i: Any, words: Any, start: Any) -> Any:
            _copy_from_words(target, i, words, start)

        return body
    return None


def expect_write(array: NDArray[Any], i: int, n_bytes: int) -> None:
    """Fetch the cache lines of the first `n_bytes` of `array[i]` for stores to come, without waiting for them."""


@intrinsic
def _expect_line(typing_context: Any, array: Any, i: Any, offset: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        stride = cgutils.unpack_tuple(builder, view.strides)[0]
        byte_pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        position = builder.add(builder.mul(args[1], stride), args[2])
        address = builder.gep(builder.bitcast(view.data, byte_pointer), [position])
        of_type = ir.FunctionType(ir.VoidType(), [byte_pointer, flag, flag, flag])
        prefetch = cgutils.get_or_insert_function(builder.module, of_type, "llvm.prefetch.p0")
        # A write, to be kept in every level, of data.
        builder.call(prefetch, [address, *(flag(value) for value in (1, 3, 1))])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), codegen


@overload(expect_write, inline="always")
def _expect_write_compiled(array: Any, i: Any, n_bytes: Any) -> Any:
    if not isinstance(array, types.Array):
        return None

    def body(array: Any, i: Any, n_bytes: Any) -> Any:
        for offset in range(0, n_bytes, _FETCHED_BYTES):
            _expect_line(array, i, offset)

    return body
