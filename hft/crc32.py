"""CRC32: the checksum of zlib, Ethernet and PNG inside kernels, of texts that are put together from parts.

`hft/crc32c.py` has another polynomial, which processors know; this one is what venues put in their messages.

A part's state is what eight bytes after the other make of 0. It is a remainder of polynomials over one bit, so that states add up by
exclusive or, and bytes behind a part multiply its state by a power of x. The checksum of parts one after the other therefore needs
no byte of them: a product for each, and one remainder of the sum.

    sum_of_terms = term(state, bytes_behind) ^ ...      # of each part
    checksum_of_terms(sum_of_terms, bytes_in_all)

Zero bytes at a part's front leave its state 0: a text shorter than its words is written behind zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from hft.units import as_int
from shm.inlining import InnerCompiler
from shm.jit import njit

#: The reflected IEEE polynomial.
POLYNOMIAL = 0xEDB88320
_INVERT = 0xFFFFFFFF

#: Most bytes that a term may be moved past.
BYTES_MAX = 1024


def _tables() -> NDArray[np.int64]:
    """`[d, b]`: what byte `b` contributes to the CRC when `d` bytes follow it."""
    table = np.zeros((8, 256), np.int64)
    table[0] = np.arange(256)
    for _ in range(8):
        table[0] = np.where(table[0] & 1, (table[0] >> 1) ^ POLYNOMIAL, table[0] >> 1)
    for d in range(1, 8):
        table[d] = (table[d - 1] >> 8) ^ table[0, table[d - 1] & 0xFF]
    return table


_TABLES = _tables()


def _factors() -> NDArray[np.int64]:
    """`[n]`: the factor that moves a state past `n` bytes: x**(8n - 33), as `reduced` multiplies by x**33.

    The lowest of a state's 32 bits is x**31: times x is a shift to the right, and divided by x one to the left.
    """
    factor = 1 << 31
    for _ in range(33):
        factor = ((factor ^ POLYNOMIAL) << 1) | 1 if factor >> 31 else factor << 1
    factors = np.zeros(BYTES_MAX + 1, np.int64)
    for n in range(len(factors)):
        factors[n] = factor
        factor = (factor >> 8) ^ int(_TABLES[0, factor & 0xFF])
    return factors


_FACTORS = _factors()


def carryless(a: int, b: int) -> int:
    """The product of two numbers of 32 bits as polynomials over one bit: of 63."""
    return carryless_by_bits(a, b)


@njit
def carryless_by_bits(a: int, b: int) -> int:
    """`carryless` where the processor has no instruction for it."""
    product = 0
    for i in range(32):
        product ^= (b << i) & -((a >> i) & 1)
    return product


@njit
def after_word(state: int, word: int) -> int:
    """The state after the eight bytes of the int64 `word`, the lowest first."""
    mixed = word ^ state
    low = _TABLES[7, mixed & 0xFF] ^ _TABLES[6, (mixed >> 8) & 0xFF]
    low ^= _TABLES[5, (mixed >> 16) & 0xFF] ^ _TABLES[4, (mixed >> 24) & 0xFF]
    high = _TABLES[3, (mixed >> 32) & 0xFF] ^ _TABLES[2, (mixed >> 40) & 0xFF]
    high ^= _TABLES[1, (mixed >> 48) & 0xFF] ^ _TABLES[0, (mixed >> 56) & 0xFF]
    return as_int(low ^ high)


@njit
def term(state: int, bytes_behind: int) -> int:
    """What a part of this state adds to a text that has so many bytes behind it, at most BYTES_MAX: 63 bits, not yet reduced."""
    return carryless(as_int(state), as_int(_FACTORS[bytes_behind]))


@njit
def reduced(terms: int) -> int:
    """The state that a sum of terms is."""
    return after_word(0, terms)


@njit
def checksum_of_terms(terms: int, bytes_in_all: int) -> int:
    """The CRC-32 of a text, 0 to 2**32 - 1, by the sum of its parts' terms. A checksum begins with all bits set, and inverts the last state."""
    return reduced(terms ^ term(_INVERT, bytes_in_all)) ^ _INVERT


def target_has_instruction() -> bool:
    """Whether the CPU that kernels are compiled for multiplies without carries; `NUMBA_CPU_NAME` counts, not only the host."""
    features = cpu_target.target_context.codegen().magic_tuple()[2].split(",")
    return "+pclmul" in features


@intrinsic
def _carryless_instruction(typing_context: Any, a: Any, b: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word_type = context.get_value_type(types.int64)
        pair_type = ir.VectorType(word_type, 2)
        lowest = ir.Constant(ir.IntType(32), 0)
        pairs = [builder.insert_element(ir.Constant(pair_type, [0, 0]), word, lowest) for word in args]
        function_type = ir.FunctionType(pair_type, [pair_type, pair_type, ir.IntType(8)])
        function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.x86.pclmulqdq")
        return builder.extract_element(builder.call(function, [*pairs, ir.Constant(ir.IntType(8), 0)]), lowest)

    return types.int64(types.int64, types.int64), codegen


@overload(carryless, jit_options={"pipeline_class": InnerCompiler})
def _carryless_compiled(a: Any, b: Any) -> Any:
    if target_has_instruction():

        def body(a: Any, b: Any) -> Any:
            return _carryless_instruction(np.int64(a), np.int64(b))

        return body

    def body_by_bits(a: Any, b: Any) -> Any:
        return carryless_by_bits(a, b)

    return body_by_bits
