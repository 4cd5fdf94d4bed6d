"""Members: steps through a JSON object member by member, for scanners that read values on the way.

    at, more = first_member(data, at, end)
    while more:
        number, at = member(words, data, at, end)     # at its value; -1 if the text is no member
        at = ...                                      # past the value
        at, more = next_member(data, at, end)         # at < 0: not valid

So an object that was stepped through is valid JSON. Names are printable ASCII without escapes, as the venue's are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hft.venues.json_bytes import (
    CLOSE_BRACE,
    CLOSE_BRACKET,
    COLON,
    COMMA,
    OPEN_BRACE,
    OPEN_BRACKET,
    is_mark,
    is_text,
    skip_mark,
    skip_name,
    skip_space,
    skip_string,
    skip_value,
)
from hft.venues.symbols import packed
from shm.jit import njit

#: What is no known word.
UNKNOWN = -1


class Words(NamedTuple):
    """Words of a venue; the number of one is its place."""

    texts: NDArray[Any]  #: uint8[words, longest]
    sizes: NDArray[Any]  #: int64[words]


def new_words(words: Sequence[str]) -> Words:
    """The table of `words`."""
    return Words(*packed([word.encode() for word in words], max(len(word) for word in words)))


@njit
def word_number(words: Words, data: NDArray[Any], start: int, end: int) -> int:
    """Number of the word whose bytes are `data[start:end]`, or UNKNOWN."""
    size = end - start
    for i in range(len(words.sizes)):
        if words.sizes[i] == size and is_text(data, start, end, words.texts[i, :size]):
            return i
    return UNKNOWN


@njit
def read_word(words: Words, data: NDArray[Any], at: int, end: int) -> tuple[int, int]:
    """Read a text of known words: (its number or UNKNOWN, offset past it), or (UNKNOWN, -1) if it is no string."""
    past = skip_string(data, at, end)
    if past < 0:
        return UNKNOWN, -1
    return word_number(words, data, at + 1, past - 1), past


@njit
def first_member(data: NDArray[Any], at: int, end: int) -> tuple[int, bool]:
    """Step into an object: (offset of its first name, True), (offset past it, False) if it is empty, (-1, False) if it is none."""
    if not is_mark(data, at, end, OPEN_BRACE):
        return -1, False
    at = skip_space(data, at + 1, end)
    if is_mark(data, at, end, CLOSE_BRACE):
        return at + 1, False
    return at, True


@njit
def member(words: Words, data: NDArray[Any], at: int, end: int) -> tuple[int, int]:
    """Step over a name and its colon: (number of the name or UNKNOWN, offset of the value), or (UNKNOWN, -1)."""
    past = skip_name(data, at, end)
    if past < 0:
        return UNKNOWN, -1
    number = word_number(words, data, at + 1, past - 1)
    past = skip_mark(data, past, end, COLON)
    if past < 0:
        return UNKNOWN, -1
    return number, skip_space(data, past, end)


@njit
def next_member(data: NDArray[Any], at: int, end: int) -> tuple[int, bool]:
    """After a value: (offset of the next name, True), (offset past the object, False), or (-1, False)."""
    if at < 0:
        return -1, False
    at = skip_space(data, at, end)
    if is_mark(data, at, end, COMMA):
        return skip_space(data, at + 1, end), True
    if is_mark(data, at, end, CLOSE_BRACE):
        return at + 1, False
    return -1, False


@njit
def first_element(data: NDArray[Any], at: int, end: int) -> tuple[int, bool]:
    """Step into an array: (offset of its first value, True), (offset past it, False) if it is empty, (-1, False) if it is none."""
    if not is_mark(data, at, end, OPEN_BRACKET):
        return -1, False
    at = skip_space(data, at + 1, end)
    if is_mark(data, at, end, CLOSE_BRACKET):
        return at + 1, False
    return at, True


@njit
def next_element(data: NDArray[Any], at: int, end: int) -> tuple[int, bool]:
    """After a value: (offset of the next one, True), (offset past the array, False), or (-1, False)."""
    if at < 0:
        return -1, False
    at = skip_space(data, at, end)
    if is_mark(data, at, end, COMMA):
        return skip_space(data, at + 1, end), True
    if is_mark(data, at, end, CLOSE_BRACKET):
        return at + 1, False
    return -1, False


@njit
def note_members(words: Words, data: NDArray[Any], at: int, end: int, places: NDArray[Any]) -> int:
    """Step over one object, and note the offset of the value of each word in `places`, -1 for one that is absent.

    Returns the offset past it, or -1: it is no valid object, or has a known name twice.
    """
    for i in range(len(words.sizes)):
        places[i] = -1
    at, more = first_member(data, at, end)
    while more:
        number, at = member(words, data, at, end)
        if at < 0:
            return -1
        if number != UNKNOWN:
            if places[number] >= 0:
                return -1
            places[number] = at
        at, more = next_member(data, skip_value(data, at, end), end)
    return at
