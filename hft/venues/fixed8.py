"""Fixed eight: reads a decimal of eight places, as Binance writes all of its own, in a few instructions and no loop.

Eight bytes at a time: where the point is, whether all are digits, and their value, are found in one word each (SWAR).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from hft.crc32c import word_at
from shm.inlining import InnerCompiler

#: Bytes that may be looked at from the first digit on: at most seven whole digits, the point, eight more, the quote.
FIXED8_BYTES = 17

_PLACES, _WHOLE_DIGITS_MAX = 8, 7
_POINT, _QUOTE = ord("."), ord('"')
_ZEROS, _POINTS = 0x3030303030303030, 0x2E2E2E2E2E2E2E2E
_ONES, _HIGH_BITS = 0x0101010101010101, 0x8080808080808080 - (1 << 64)
#: Added to a byte it sets the high bit from 10 on.
_SIX_UNDER = 0x7676767676767676
_BYTE_PAIRS = 0x000000FF000000FF
_HUNDREDS, _ONES_AND_TENS = 0x000F424000000064, 0x0000271000000001


def fixed8(data: NDArray[Any], at: int) -> tuple[int, int, int]:
    """Read `digits.eightdigits"` at `data[at:]`: (whole, fraction in 1e-8, offset past the quote), or (0, 0, -1) if it is not that.

    Up to seven whole digits. The caller has made sure that `data` has FIXED8_BYTES bytes from `at` on.
    """
    text = data[at : at + FIXED8_BYTES].tobytes()
    point = text.find(b".")
    whole, fraction = text[:point], text[point + 1 : point + 1 + _PLACES]
    is_fixed = 0 < point <= _WHOLE_DIGITS_MAX and whole.isdigit() and len(fraction) == _PLACES and fraction.isdigit()
    if not is_fixed or text[point + 1 + _PLACES : point + 2 + _PLACES] != b'"':
        return 0, 0, -1
    return int(whole), int(fraction), at + point + 2 + _PLACES


@intrinsic
def _trailing_zeros(typing_context: Any, word: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), codegen


@overload(fixed8, jit_options={"forceinline": True, "pipeline_class": InnerCompiler})
def _fixed8_compiled(data: Any, at: Any) -> Any:
    def body(data: Any, at: Any) -> Any:
        word = word_at(data, at)
        differs = word ^ np.int64(_POINTS)
        # The high bit of a byte is set where it is 0; the lowest one is exact, and it is all that counts.
        points = (differs - np.int64(_ONES)) & ~differs & np.int64(_HIGH_BITS)
        if points == 0:
            return np.int64(0), np.int64(0), np.int64(-1)
        shift = _trailing_zeros(points) - np.int64(7)
        if shift == 0:
            return np.int64(0), np.int64(0), np.int64(-1)
        # The whole digits move to the end of the word, behind zeros.
        whole = (word ^ np.int64(_ZEROS)) << (np.int64(64) - shift)
        at = np.int64(at) + (shift >> np.int64(3)) + np.int64(1)
        fraction = word_at(data, at) ^ np.int64(_ZEROS)
        strange = ((whole + np.int64(_SIX_UNDER)) | whole | (fraction + np.int64(_SIX_UNDER)) | fraction) & np.int64(_HIGH_BITS)
        if strange != 0 or data[np.uint64(at + 8)] != _QUOTE:
            return np.int64(0), np.int64(0), np.int64(-1)
        return _value(whole), _value(fraction), at + np.int64(9)

    return body


def _value(digits: Any) -> int:
    """Value of eight digits, one a byte, the first in the lowest."""
    return int("".join(str(byte) for byte in int(digits).to_bytes(8, "little")))


@overload(_value, inline="always")
def _value_compiled(digits: Any) -> Any:
    def body(digits: Any) -> Any:
        pairs = digits * np.int64(10) + (digits >> np.int64(8))
        hundreds = (pairs & np.int64(_BYTE_PAIRS)) * np.int64(_HUNDREDS)
        rest = ((pairs >> np.int64(16)) & np.int64(_BYTE_PAIRS)) * np.int64(_ONES_AND_TENS)
        return ((hundreds + rest) >> np.int64(32)) & np.int64(0xFFFFFFFF)

    return body


def _places_table() -> NDArray[np.int64]:
    rows = []
    for kept in range(_PLACES + 1):
        cut = 10 ** (_PLACES - kept)
        # fraction // cut == fraction * reciprocal >> shift, because a fraction is below 2**27.
        shift = 27 + (cut - 1).bit_length()
        rows.append((10**kept, (1 << shift) // cut + (kept < _PLACES), shift, cut))
    return np.array(rows, np.int64)


#: By decimals kept, 0 to 8: units of a whole, reciprocal and shift that cut the fraction, what one kept unit is of it.
PLACES8 = _places_table()
