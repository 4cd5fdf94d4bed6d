"""CRC32C: checksums words inside kernels, by the SSE4.2 instruction where the compiler may emit it, else by tables.

crc = INITIAL
crc = crc32c_word(crc, word)        # 8 bytes, little endian, as one int64
crc = crc32c_byte(crc, byte)
crc ^ INITIAL                       # the checksum

A word waits for the one before it, three cycles each. Long runs go faster as three lanes of LANE_WORDS words side by side: with `a` the
state after the first, and `b` and `c` the states after the others, each begun at 0, the state after all three is

crc = crc32c_past_lane(crc32c_past_lane(a) ^ b) ^ c
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from hft.crc32c_table import BYTE_TABLE, INITIAL, position_table
from shm.jit import njit

#: `[d, b]` as int64: byte `b` with `d` bytes after it in its word.
_WORD_TABLE: NDArray[np.int64] = np.ascontiguousarray(position_table(8).astype(np.int64))
_BYTE_TABLE: NDArray[np.int64] = BYTE_TABLE.astype(np.int64)

#: Words of a lane.
LANE_WORDS = 16
#: `[k, b]`: the state after a lane of zeros, of a state that is 0 but for byte `k`, which is `b`.
_LANE_TABLE: NDArray[np.int64] = np.ascontiguousarray(position_table(8 * LANE_WORDS)[:-5:-1].astype(np.int64))

#: Compiled code passes NumPy's integers, Python its own.
Word = int | np.int64


@njit
def crc32c_word_by_table(crc: Word, word: Word) -> int:
    """The CRC state after eight more bytes, by eight look-ups."""
    mixed = word ^ crc
    low = _WORD_TABLE[7, mixed & 0xFF] ^ _WORD_TABLE[6, (mixed >> 8) & 0xFF]
    low ^= _WORD_TABLE[5, (mixed >> 16) & 0xFF] ^ _WORD_TABLE[4, (mixed >> 24) & 0xFF]
    high = _WORD_TABLE[3, (mixed >> 32) & 0xFF] ^ _WORD_TABLE[2, (mixed >> 40) & 0xFF]
    high ^= _WORD_TABLE[1, (mixed >> 48) & 0xFF] ^ _WORD_TABLE[0, (mixed >> 56) & 0xFF]
    return low ^ high


@njit
def crc32c_past_lane(crc: Word) -> int:
    """The CRC state after LANE_WORDS words of zeros."""
    low = _LANE_TABLE[0, crc & 0xFF] ^ _LANE_TABLE[1, (crc >> 8) & 0xFF]
    return low ^ _LANE_TABLE[2, (crc >> 16) & 0xFF] ^ _LANE_TABLE[3, (crc >> 24) & 0xFF]


def crc32c_word(crc: Word, word: Word) -> int:
    """The CRC state after the eight bytes of the int64 `word`; `crc` is 0..2^32-1."""
    return crc32c_word_by_table(crc, word)


@njit
def crc32c_byte(crc: Word, byte: Word) -> int:
    """The CRC state after one more byte."""
    return _BYTE_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)


def word_at(data: NDArray[np.uint8], offset: int) -> int:
    """The int64 in `data[offset:offset + 8]`, little endian, at any alignment; the caller has checked the bounds."""
    return data[offset : offset + 8].view("<i8")[0]


@njit
def crc32c(data: NDArray[np.uint8], start: int, end: int) -> int:
    """The CRC32C of `data[start:end]`."""
    crc = INITIAL
    words_end = start + (((end - start) >> 3) << 3)
    for i in range(start, words_end, 8):
        crc = crc32c_word(crc, word_at(data, i))
    for i in range(words_end, end):
        crc = crc32c_byte(crc, np.int64(data[i]))
    return crc ^ INITIAL


def target_has_instruction() -> bool:
    """Whether the CPU that kernels are compiled for has SSE4.2; `NUMBA_CPU_NAME` counts, not only the host."""
    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    return "+sse4.2" in features and "-crc32" not in features


@intrinsic
def _crc32_instruction(typing_context: Any, crc: Any, word: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word_type = context.get_value_type(types.int64)
        function_type = ir.FunctionType(word_type, [word_type, word_type])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.x86.sse42.crc32.64.64")
        return builder.call(function, args)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def _load_word(typing_context: Any, data: Any, offset: Any) -> Any:
    # A slice viewed as int64 would mean the same, but costs 80 ns of reference counts and shape checks.
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        view = context.make_array(signature.args[0])(context, builder, args[0])
        pointer = cgutils.get_item_pointer(context, builder, signature.args[0], view, [args[1]], wraparound=False)
        word_type = context.get_value_type(types.int64)
        return builder.load(builder.bitcast(pointer, word_type.as_pointer()), align=1, typ=word_type)

    return types.int64(data, types.intp), codegen


@overload(word_at, inline="always")
def _word_at_compiled(data: Any, offset: Any) -> Any:
    if isinstance(data, types.Array) and data.ndim == 1 and data.layout == "C" and data.dtype == types.uint8:

        def body(data: Any, offset: Any) -> Any:
            return _load_word(data, offset)

        return body
    return None


@overload(crc32c_word)
def _crc32c_word_compiled(crc: Any, word: Any) -> Any:
    if not (isinstance(crc, types.Integer) and isinstance(word, types.Integer)):
        return None
    if target_has_instruction():

        def body(crc: Any, word: Any) -> Any:
            return _crc32_instruction(np.int64(crc), np.int64(word))

        return body

    def table_body(crc: Any, word: Any) -> Any:
        return crc32c_word_by_table(np.int64(crc), np.int64(word))

    return table_body
