"""Pieces: compares a message with the text that a venue always writes between its values, eight bytes at a time (ADR 15)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.crc32c import word_at
from hft.venues.json_bytes import BACKSLASH, JSON_QUOTE, SPACE, byte_at
from shm.jit import njit

_WORD_BYTES = 8


class Pieces(NamedTuple):
    """Texts of a venue; the number of one is its place."""

    words: NDArray[Any]  #: int64 [piece, word]: its bytes, the first in the lowest
    masks: NDArray[Any]  #: int64 [piece, word]: all bits of the bytes that it has
    sizes: NDArray[Any]  #: int64 [piece]: bytes


def new_pieces(texts: Sequence[str]) -> Pieces:
    """The table of `texts`, which are ASCII."""
    encoded = [text.encode() for text in texts]
    width = (max(len(text) for text in encoded) + _WORD_BYTES - 1) // _WORD_BYTES * _WORD_BYTES
    words = np.frombuffer(b"".join(text.ljust(width, b"\0") for text in encoded), "<i8").reshape(len(encoded), -1)
    masks = np.frombuffer(b"".join((b"\xff" * len(text)).ljust(width, b"\0") for text in encoded), "<i8").reshape(len(encoded), -1)
    return Pieces(words.copy(), masks.copy(), np.array([len(text) for text in encoded], np.int64))


@njit
def skip_piece(pieces: Pieces, data: NDArray[Any], at: int, piece: int) -> int:
    """Step over piece number `piece`; -1 if it is not there, `at` is -1, or `data` ends before the piece's last word does."""
    size = pieces.sizes[piece]
    count = (size + _WORD_BYTES - 1) >> 3
    if at < 0 or at + _WORD_BYTES * count > len(data):
        return -1
    differs = 0
    for k in range(count):
        differs |= (word_at(data, at + _WORD_BYTES * k) ^ pieces.words[piece, k]) & pieces.masks[piece, k]
    return at + size if differs == 0 else -1


@njit
def skip_plain_text(data: NDArray[Any], at: int, end: int) -> int:
    """Offset of the quote that ends a text of printable ASCII without escapes, or -1."""
    while 0 <= at < end:
        byte = byte_at(data, at)
        if byte == JSON_QUOTE:
            return at
        if byte < SPACE or byte == BACKSLASH or byte >= 127:
            return -1
        at += 1
    return -1
