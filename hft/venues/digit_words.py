"""Digit words: reads digits eight bytes at a time (SWAR), for forms of text that a venue always writes alike.

A digit is its byte ^ 48, and any other byte is then 10 or more. Which bytes are none, and what all of them mean, takes a few
instructions for a whole word, and no loop. Every function looks at bytes that the caller has made sure are there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from hft.crc32c import word_at
from hft.units import as_int
from shm.inlining import InnerCompiler
from shm.jit import njit

WORD_BYTES = 8

#: Eight times the byte "0".
EIGHT_ZEROS = 0x3030303030303030
#: The high bit of each byte.
HIGH_BITS = 0x8080808080808080 - (1 << 64)
#: Added to a byte below 128 it sets the high bit from 10 on.
SIX_UNDER = 0x7676767676767676
_BYTE_PAIRS = 0x000000FF000000FF
_HUNDREDS, _ONES_AND_TENS = 0x000F424000000064, 0x0000271000000001


def leading_digits(data: NDArray[Any], at: int) -> tuple[int, int]:
    """How many of the eight bytes at `at` are digits before one that is none, and their value; the value of no digits is 0."""
    text = data[at : at + WORD_BYTES].tobytes()
    count = 0
    while count < WORD_BYTES and text[count : count + 1].isdigit():
        count += 1
    return count, int(text[:count] or b"0")


@intrinsic
def _trailing_zeros(typing_context: Any, word: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


def trailing_zeros(word: Any) -> int:
    """Number of the lowest bit set of an int64 that is not 0."""
    return (int(word) & -int(word)).bit_length() - 1


@overload(trailing_zeros, inline="always")
def _trailing_zeros_compiled(word: Any) -> Any:
    def body(word: Any) -> Any:
        return _trailing_zeros(np.int64(word))

    return body


@overload(leading_digits, jit_options={"forceinline": True, "pipeline_class": InnerCompiler})
def _leading_digits_compiled(data: Any, at: Any) -> Any:
    def body(data: Any, at: Any) -> Any:
        word = word_at(data, at) ^ np.int64(EIGHT_ZEROS)
        # A byte that is no digit may carry into the next one: the lowest is exact, and it is all that counts.
        strange = ((word + np.int64(SIX_UNDER)) | word) & np.int64(HIGH_BITS)
        if strange == 0:
            return np.int64(8), value_of(word)
        bits = _trailing_zeros(strange) - np.int64(7)
        if bits == 0:
            return np.int64(0), np.int64(0)
        # The digits move to the end of the word, behind zeros.
        return bits >> np.int64(3), value_of(word << (np.int64(64) - bits))

    return body


def value_of(digits: Any) -> int:
    """Value of eight digits, one a byte, the first in the lowest."""
    return int("".join(str(byte) for byte in int(digits).to_bytes(WORD_BYTES, "little")))


@overload(value_of, inline="always")
def _value_of_compiled(digits: Any) -> Any:
    def body(digits: Any) -> Any:
        pairs = digits * np.int64(10) + (digits >> np.int64(8))
        hundreds = (pairs & np.int64(_BYTE_PAIRS)) * np.int64(_HUNDREDS)
        rest = ((pairs >> np.int64(16)) & np.int64(_BYTE_PAIRS)) * np.int64(_ONES_AND_TENS)
        return ((hundreds + rest) >> np.int64(32)) & np.int64(0xFFFFFFFF)

    return body


def pattern(text: bytes) -> tuple[int, int]:
    """What `fitting_digits` compares eight bytes with: "0" stands for any digit, any other byte for itself."""
    limits = bytes(0x76 if byte == ord("0") else 0x7F for byte in text)
    return int.from_bytes(text, "little"), int.from_bytes(limits, "little")


@njit
def fitting_digits(data: NDArray[Any], at: int, text: int, limits: int) -> int:
    """The digits of the eight bytes at `at`, one a byte, the first in the lowest, 0 where the pattern is no digit; -1 if they do not fit."""
    word = as_int(word_at(data, at)) ^ text
    return -1 if ((word + limits) | word) & HIGH_BITS != 0 else word


@njit
def pair_values(digits: int) -> int:
    """In each byte but the last, the value of the two digits from there on."""
    return digits * 10 + (digits >> 8)
