"""Fixed eight: reads a decimal of eight places, as Binance writes all of its own, in a few instructions and no loop.

Eight bytes at a time: where the point is, whether all are digits, and their value, are found in one word each (SWAR).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from hft.crc32c import word_at
from hft.venues.digit_words import EIGHT_ZEROS, HIGH_BITS, SIX_UNDER, trailing_zeros, value_of
from shm.inlining import InnerCompiler

#: Bytes that may be looked at from the first digit on: at most seven whole digits, the point, eight more, the quote.
FIXED8_BYTES = 17

_PLACES, _WHOLE_DIGITS_MAX = 8, 7
_POINT, _QUOTE = ord("."), ord('"')
_POINTS, _ONES = 0x2E2E2E2E2E2E2E2E, 0x0101010101010101


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


@overload(fixed8, jit_options={"forceinline": True, "pipeline_class": InnerCompiler})
def _fixed8_compiled(data: Any, at: Any) -> Any:
    def body(data: Any, at: Any) -> Any:
        word = word_at(data, at)
        differs = word ^ np.int64(_POINTS)
        # The high bit of a byte is set where it is 0; the lowest one is exact, and it is all that counts.
        points = (differs - np.int64(_ONES)) & ~differs & np.int64(HIGH_BITS)
        if points == 0:
            return np.int64(0), np.int64(0), np.int64(-1)
        shift = trailing_zeros(points) - np.int64(7)
        if shift == 0:
            return np.int64(0), np.int64(0), np.int64(-1)
        # The whole digits move to the end of the word, behind zeros.
        whole = (word ^ np.int64(EIGHT_ZEROS)) << (np.int64(64) - shift)
        at = np.int64(at) + (shift >> np.int64(3)) + np.int64(1)
        fraction = word_at(data, at) ^ np.int64(EIGHT_ZEROS)
        strange = ((whole + np.int64(SIX_UNDER)) | whole | (fraction + np.int64(SIX_UNDER)) | fraction) & np.int64(HIGH_BITS)
        if strange != 0 or data[np.uint64(at + 8)] != _QUOTE:
            return np.int64(0), np.int64(0), np.int64(-1)
        return value_of(whole), value_of(fraction), at + np.int64(9)

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
