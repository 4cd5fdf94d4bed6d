"""Kraken v1: reads the book messages of the frozen WebSocket v1, as recordings have them.

    [1360,{"as":[["0.000022900","13355.87450757","1618678123.481570"],...],"bs":[...]},"book-1000","ADA/XBT"]
    [1360,{"a":[["0.000022900","0.00000000","1618678134.1"]]},{"b":[...],"c":"974947235"},"book-1000","ADA/XBT"]

A snapshot has no checksum. The symbol comes last, so that a message is stepped over once before its levels are read.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.venues.fields import text_end
from hft.venues.json_bytes import JSON_QUOTE, OPEN_BRACE, is_mark, read_integer, read_number, skip_space, skip_value
from hft.venues.kraken.feed import KrakenFeed, on_update, on_whole_book
from hft.venues.kraken.levels import EXCHANGE_NS, INSTRUMENT, NO_ROOM, RECORDS, note_level, read_row
from hft.venues.kraken.scan import BOOK_SNAPSHOT, BOOK_UPDATE, CHECKSUM, MALFORMED, OTHER, UNKNOWN_SYMBOL
from hft.venues.kraken.tables import Scanner
from hft.venues.members import Words, first_element, first_member, member, new_words, next_element, next_member
from shm.jit import njit

#: Names of members that are read; their numbers.
KEYS = ("a", "b", "as", "bs", "c")
_ASKS, _BIDS, _ALL_ASKS, _ALL_BIDS, _CHECKSUM = range(5)
_ALL = (1 << _ALL_ASKS) | (1 << _ALL_BIDS)
_SEEN_CHECKSUM = 1 << _CHECKSUM
_CHECKSUM_MAX = (1 << 32) - 1


def new_keys() -> Words:
    """The words that `scan_v1` takes."""
    return new_words(KEYS)


@njit
def scan_v1(scanner: Scanner, keys: Words, data: NDArray[Any], start: int, end: int) -> int:
    """Read one v1 message to `scanner.levels`; returns BOOK_SNAPSHOT, BOOK_UPDATE, UNKNOWN_SYMBOL, OTHER or MALFORMED."""
    found = scanner.found
    found[INSTRUMENT] = -1
    found[EXCHANGE_NS] = 0
    found[RECORDS] = 0
    found[NO_ROOM] = 0
    first = skip_space(data, start, end)
    at = skip_value(data, first, end)
    if at < 0 or skip_space(data, at, end) != end:
        return MALFORMED
    last, before, objects = _last_elements(data, first, end)
    is_book = objects > 0 and is_mark(data, last, end, JSON_QUOTE) and _is_book(data, before, end)
    if not is_book:
        return OTHER
    found[INSTRUMENT], _ = read_row(scanner, data, last, end)
    if found[INSTRUMENT] < 0:
        return UNKNOWN_SYMBOL
    seen = 0
    at, more = first_element(data, first, end)
    while more:
        if is_mark(data, at, end, OPEN_BRACE):
            seen = _read_sides(scanner, keys, data, at, end, seen)
            if seen < 0:
                return MALFORMED
        at, more = next_element(data, skip_value(data, at, end), end)
    if seen & _ALL:
        return BOOK_SNAPSHOT
    return BOOK_UPDATE if seen & _SEEN_CHECKSUM else MALFORMED


@njit
def _last_elements(data: NDArray[Any], at: int, end: int) -> tuple[int, int, int]:
    """Offsets of the last element and of the one before it, and the number of objects, of an array that was stepped over."""
    last = before = -1
    objects = 0
    at, more = first_element(data, at, end)
    while more:
        before = last
        last = at
        objects += 1 if is_mark(data, at, end, OPEN_BRACE) else 0
        at, more = next_element(data, skip_value(data, at, end), end)
    return last, before, objects


@njit
def _is_book(data: NDArray[Any], at: int, end: int) -> bool:
    """Whether the channel's name is "book-<depth>"."""
    past = text_end(data, at, end) if at >= 0 else -1
    return past - at > 6 and data[at + 1] == 98 and data[at + 2] == 111 and data[at + 3] == 111 and data[at + 4] == 107


@njit
def _read_sides(scanner: Scanner, keys: Words, data: NDArray[Any], at: int, end: int, seen: int) -> int:
    """Read one object's levels and checksum; returns the names seen so far as bits, or -1."""
    at, more = first_member(data, at, end)
    while more:
        number, at = member(keys, data, at, end)
        if at < 0 or (number >= 0 and (seen >> number) & 1):
            return -1
        if number >= 0:
            seen |= 1 << number
        if number == _CHECKSUM:
            past = text_end(data, at, end)
            value, value_end = read_integer(data, at + 1, past) if past >= 0 else (-1, -1)
            if value_end != past or value > _CHECKSUM_MAX:
                return -1
            scanner.found[CHECKSUM] = value
            at = past + 1
        elif number >= 0:
            at = _read_side(scanner, data, at, end, 1 if number == _BIDS or number == _ALL_BIDS else -1)
        else:
            at = skip_value(data, at, end)
        at, more = next_member(data, at, end)
    return seen if at >= 0 else -1


@njit
def _read_side(scanner: Scanner, data: NDArray[Any], at: int, end: int, side: int) -> int:
    at, more = first_element(data, at, end)
    while more:
        if scanner.found[RECORDS] >= len(scanner.levels):
            scanner.found[NO_ROOM] = 1
            return -1
        at, more = next_element(data, _read_level(scanner, data, at, end, side), end)
    return at


@njit
def _read_level(scanner: Scanner, data: NDArray[Any], at: int, end: int, side: int) -> int:
    """Read `["price","size","time"]`, perhaps with an "r" for a level published anew; returns the offset past it, or -1."""
    at, more = first_element(data, at, end)
    price = price_decimals = qty = qty_decimals = -1
    place = 0
    while more:
        past = skip_value(data, at, end)
        if place < 2:
            digits, decimals = _quoted(data, at, past)
            if place == 0:
                price, price_decimals = digits, decimals
            else:
                qty, qty_decimals = digits, decimals
        place += 1
        at, more = next_element(data, past, end)
    if at < 0 or place < 3 or not note_level(scanner, side, price, price_decimals, qty, qty_decimals):
        return -1
    return at


@njit
def _quoted(data: NDArray[Any], at: int, past: int) -> tuple[int, int]:
    """(digits, decimals) of a quoted number in `at..past`; (-1, -1) if it is none."""
    if past - at < 3 or not is_mark(data, at, past, JSON_QUOTE):
        return -1, -1
    digits, decimals, number_end = read_number(data, at + 1, past - 1)
    return (digits, decimals) if number_end == past - 1 else (-1, -1)


@njit
def on_frame_v1(feed: KrakenFeed, keys: Words, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take one v1 message as `feed.on_frame` takes those of v2; -1 if it was refused."""
    kind = scan_v1(feed.scanner, keys, data, start, end)
    instrument = feed.scanner.found[INSTRUMENT]
    if kind == BOOK_SNAPSHOT:
        return on_whole_book(feed, instrument, False, received_ns, out)
    if kind == BOOK_UPDATE:
        return on_update(feed, instrument, True, received_ns, out)
    return -1 if kind == MALFORMED else 0
