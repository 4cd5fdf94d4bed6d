"""Symbols: finds an instrument's row by the symbol in a message, in place and in constant time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.crc32c import word_at
from hft.records import INSTRUMENT
from hft.units import as_int
from hft.venues.json_bytes import byte_at, is_text
from shm.jit import njit

SYMBOL_BYTES_MAX = 64
_WORD_BYTES = 8


class Symbols(NamedTuple):
    """Symbols as on the wire, and their rows in the instrument table."""

    texts: NDArray[Any]  #: uint8[symbols, 64]
    sizes: NDArray[Any]  #: int64[symbols]: bytes of each
    rows: NDArray[Any]  #: int64[symbols] -> instrument row
    tails: NDArray[Any]  #: int64[symbols]: the last eight bytes of each, see `_tail`
    slots: NDArray[Any]  #: int64[power of two]: hash -> symbol + 1, or 0


def new_symbols(instruments: NDArray[Any], symbols: Sequence[str], rows: Sequence[int] | None = None) -> Symbols:
    """The table of `symbols`; `rows` are their rows in `instruments`, by default 0, 1, 2, ...

    Raises ValueError for a repeated or overlong symbol, a row that is not in the table, or a scale that is not positive.
    """
    encoded = [symbol.encode() for symbol in symbols]
    rows = range(len(encoded)) if rows is None else rows
    if instruments.dtype != INSTRUMENT:
        raise ValueError(f"instruments: expected INSTRUMENT rows, got {instruments.dtype}")
    if len(set(encoded)) != len(encoded) or not all(0 < len(symbol) <= SYMBOL_BYTES_MAX for symbol in encoded):
        raise ValueError(f"symbols: expected distinct names of 1 to {SYMBOL_BYTES_MAX} bytes, got {list(symbols)}")
    if len(rows) != len(encoded) or any(not 0 <= row < len(instruments) for row in rows):
        raise ValueError(f"rows: expected {len(encoded)} rows below {len(instruments)}, got {list(rows)}")
    for row in rows:
        scale = instruments[row]
        decimals = (scale["price_decimals"], scale["qty_decimals"])
        if scale["tick_units"] <= 0 or scale["lot_units"] <= 0 or not all(0 <= places <= 18 for places in decimals):
            raise ValueError(f"instrument {row}: tick_units and lot_units must be positive, decimals 0 to 18")
    slots = np.zeros(max(16, 1 << (4 * len(encoded)).bit_length()), np.int64)
    texts, sizes = packed(encoded, SYMBOL_BYTES_MAX)
    tails = np.array([_tail(texts[i], 0, len(symbol)) for i, symbol in enumerate(encoded)], np.int64)
    for i in range(len(encoded)):
        slot = _hash(int(tails[i])) & (len(slots) - 1)
        while slots[slot]:
            slot = (slot + 1) & (len(slots) - 1)
        slots[slot] = i + 1
    return Symbols(texts, sizes, np.array(rows, np.int64), tails, slots)


def packed(texts: Sequence[bytes], width: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Texts as rows of uint8[len(texts), width], padded with zeros, and their sizes."""
    table = np.zeros((max(1, len(texts)), width), np.uint8)
    for i, text in enumerate(texts):
        table[i, : len(text)] = np.frombuffer(text, np.uint8)
    return table, np.array([len(text) for text in texts], np.int64)


@njit
def find_symbol(symbols: Symbols, data: NDArray[Any], start: int, end: int) -> int:
    """The instrument row of the symbol whose bytes are `data[start:end]`, or -1."""
    mask = len(symbols.slots) - 1
    size = end - start
    tail = _tail(data, start, end)
    slot = _hash(tail) & mask
    while symbols.slots[slot] != 0:
        i = symbols.slots[slot] - 1
        same = symbols.tails[i] == tail and symbols.sizes[i] == size
        if same and (size <= _WORD_BYTES or is_text(data, start, end, symbols.texts[i, :size])):
            return symbols.rows[i]
        slot = (slot + 1) & mask
    return -1


@njit
def _tail(data: NDArray[Any], start: int, end: int) -> int:
    """The last eight bytes of a text as a word, the last one highest; of a shorter text all bytes, in the lowest ones."""
    size = end - start
    if size <= 0:
        return 0
    if end >= _WORD_BYTES:
        word = as_int(word_at(data, end - _WORD_BYTES))
        return word if size >= _WORD_BYTES else (word >> (64 - 8 * size)) & ((1 << 8 * size) - 1)
    word = as_int(0)
    for i in range(start, end):
        word |= byte_at(data, i) << 8 * (i - start)
    return word


@njit
def _hash(tail: int) -> int:
    folded = tail ^ (tail >> 32)
    folded ^= folded >> 16
    return folded ^ (folded >> 7)
