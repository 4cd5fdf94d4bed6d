"""Binance fields: reads the parts of Binance's frames whose offsets are known: symbols, times, prices, levels.

Each part was stepped over as valid JSON, or is read strictly here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.book import VALUE_LIMIT
from hft.records import MarketKind
from hft.venues.binance import keys as key
from hft.venues.binance.tables import EVENT_KINDS, EVENT_WORDS, Found, FrameKind, ScanCount, Scanner
from hft.venues.fields import read_lots, read_ticks, text_end, write_record
from hft.venues.fixed8 import FIXED8_BYTES, PLACES8, fixed8
from hft.venues.json_bytes import (
    CLOSE_BRACKET,
    COMMA,
    JSON_QUOTE,
    OPEN_BRACKET,
    byte_at,
    is_mark,
    is_text,
    read_integer,
    skip_mark,
    skip_space,
)
from hft.venues.symbols import find_symbol
from shm.jit import njit

MALFORMED, OTHER, DEPTH = int(FrameKind.MALFORMED), int(FrameKind.OTHER), int(FrameKind.DEPTH)
UNKNOWN_SYMBOL, LEVEL = int(FrameKind.UNKNOWN_SYMBOL), int(MarketKind.LEVEL)
INSTRUMENT_FOUND, FIRST_ID, LAST_ID = int(Found.INSTRUMENT), int(Found.FIRST_ID), int(Found.LAST_ID)
EXCHANGE_NS, RECORDS, ROOM = int(Found.EXCHANGE_NS), int(Found.RECORDS), int(Found.NO_ROOM)
COUNT_OFF_LOT = int(ScanCount.OFF_LOT)
EVENTS = len(EVENT_WORDS)

#: Bytes that may be looked at from a plain level's bracket on.
PLAIN_LEVEL_BYTES = 2 * (2 + FIXED8_BYTES) + 1


@njit
def key_of(scanner: Scanner, data: NDArray[Any], name: int, past: int) -> int:
    """Number of the number whose quotes are at `name` and before `past`, or key.UNKNOWN."""
    if past - name == 3:
        letter = byte_at(data, name + 1)
        return letter - key.LETTERS_FROM if 65 <= letter <= 90 or 97 <= letter <= 122 else key.UNKNOWN
    for i in range(EVENTS, len(scanner.word_bytes)):
        if is_text(data, name + 1, past - 1, scanner.words[i, : scanner.word_bytes[i]]):
            return key.WORD_NUMBERS[i - EVENTS]
    return key.UNKNOWN


@njit
def event_kind(scanner: Scanner, data: NDArray[Any], end: int) -> int:
    """FrameKind by the value of "e"."""
    start = scanner.at[key.e]
    past = text_end(data, start, end)
    if past < 0:
        return MALFORMED
    for i in range(EVENTS):
        if is_text(data, start + 1, past, scanner.words[i, : scanner.word_bytes[i]]):
            return EVENT_KINDS[i]
    return OTHER


@njit
def read_symbol(scanner: Scanner, data: NDArray[Any], end: int, kind: int) -> int:
    """Look the event's symbol up; its row goes to `found`. Returns `kind`, UNKNOWN_SYMBOL or MALFORMED."""
    start = scanner.at[key.s]
    past = text_end(data, start, end)
    if past < 0:
        return MALFORMED
    row = find_symbol(scanner.symbols, data, start + 1, past)
    if row < 0:
        return UNKNOWN_SYMBOL
    scanner.found[INSTRUMENT_FOUND] = row
    return kind


@njit
def read_time(data: NDArray[Any], at: int, end: int) -> int:
    """Read a time of 16 digits (microseconds) or at most 13 (milliseconds) as ns, or -1."""
    value, past = read_integer(data, at, end)
    if past < 0 or past - at > 16 or 13 < past - at < 16:
        return -1
    unit_ns = 1_000 if past - at == 16 else 1_000_000
    return value * unit_ns if value < VALUE_LIMIT // unit_ns else -1


@njit
def read_depth_head(scanner: Scanner, data: NDArray[Any], end: int) -> int:
    """Read what a depth event says before its levels. Returns DEPTH if it is one; else the frame's kind."""
    found = scanner.found
    kind = event_kind(scanner, data, end)
    if kind != DEPTH:
        # Another event's keys mean something else; UNKNOWN_SYMBOL keeps the walk from asking again.
        return kind if kind == MALFORMED else UNKNOWN_SYMBOL
    kind = read_symbol(scanner, data, end, DEPTH)
    if kind != DEPTH:
        return kind
    first_id, first_past = read_integer(data, scanner.at[key.U], end)
    last_id, last_past = read_integer(data, scanner.at[key.u], end)
    found[FIRST_ID] = first_id
    found[LAST_ID] = last_id
    found[EXCHANGE_NS] = read_time(data, scanner.at[key.E], end)
    return MALFORMED if first_past < 0 or last_past < 0 or last_id < first_id or found[EXCHANGE_NS] < 0 else DEPTH


@njit(forceinline=True)
def _read_plain_level(data: NDArray[Any], at: int, end: int, price_places: Any, qty_places: Any) -> tuple[int, int, int]:
    """Read `["price","size"]` as the venue writes it: (ticks, lots, offset past it); -1 for an offset says to read it the long way.

    Prices are whole ticks and sizes whole lots of the decimals that PLACES8 rows are for.
    """
    if at + PLAIN_LEVEL_BYTES > len(data) or byte_at(data, at) != OPEN_BRACKET or byte_at(data, at + 1) != JSON_QUOTE:
        return 0, 0, -1
    price_whole, price_fraction, past = fixed8(data, at + 2)
    if past < 0 or byte_at(data, past) != COMMA or byte_at(data, past + 1) != JSON_QUOTE:
        return 0, 0, -1
    qty_whole, qty_fraction, past = fixed8(data, past + 2)
    if past < 0 or past >= end or byte_at(data, past) != CLOSE_BRACKET:
        return 0, 0, -1
    price_units = (price_fraction * price_places[1]) >> price_places[2]
    qty_units = (qty_fraction * qty_places[1]) >> qty_places[2]
    price_ticks = price_whole * price_places[0] + price_units
    if price_ticks == 0 or price_units * price_places[3] != price_fraction or qty_units * qty_places[3] != qty_fraction:
        return 0, 0, -1
    return price_ticks, qty_whole * qty_places[0] + qty_units, past + 1


@njit
def _read_level(scanner: Scanner, data: NDArray[Any], at: int, end: int, scale: Any) -> tuple[int, int, int]:
    """Read `["price","size"]` in any form that is valid: (ticks, lots, offset past it), -1 for an offset if it is not."""
    at = skip_mark(data, at, end, OPEN_BRACKET)
    if at < 0:
        return 0, 0, -1
    price_ticks, at = read_ticks(data, skip_space(data, at, end), end, scale)
    if price_ticks <= 0:
        return 0, 0, -1
    at = skip_mark(data, at, end, COMMA)
    if at < 0:
        return 0, 0, -1
    qty_lots, at = read_lots(scanner.counts, COUNT_OFF_LOT, data, skip_space(data, at, end), end, scale)
    if qty_lots < 0:
        return 0, 0, -1
    return price_ticks, qty_lots, skip_mark(data, at, end, CLOSE_BRACKET)


@njit
def read_levels(scanner: Scanner, data: NDArray[Any], at: int, end: int, flags: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read `[["price","size"],...]` into LEVEL records; offset past it, or -1 (and `found[NO_ROOM]` if `out` is full)."""
    found = scanner.found
    instrument = found[INSTRUMENT_FOUND]
    last_id, exchange_ns = found[LAST_ID], found[EXCHANGE_NS]
    scale = scanner.instruments[instrument]
    places = np.int64(scale["price_decimals"]), np.int64(scale["qty_decimals"])
    is_plain = scale["tick_units"] == 1 and scale["lot_units"] == 1 and max(places) < len(PLACES8)
    price_places, qty_places = PLACES8[places[0] if is_plain else 0], PLACES8[places[1] if is_plain else 0]
    n = found[RECORDS]
    at = skip_mark(data, at, end, OPEN_BRACKET)
    if at >= 0:
        past = skip_space(data, at, end)
        if is_mark(data, past, end, CLOSE_BRACKET):
            return past + 1
    while at >= 0:
        price_ticks, qty_lots, past = _read_plain_level(data, at, end, price_places, qty_places) if is_plain else (0, 0, -1)
        if past < 0:
            price_ticks, qty_lots, past = _read_level(scanner, data, at, end, scale)
        at = past
        if at < 0:
            return -1
        if n == len(out):
            found[ROOM] = 1
            return -1
        write_record(out, n, LEVEL, flags, instrument, received_ns, exchange_ns, last_id, price_ticks, qty_lots)
        n += 1
        at = skip_space(data, at, end)
        if is_mark(data, at, end, CLOSE_BRACKET):
            found[RECORDS] = n
            return at + 1
        at = skip_mark(data, at, end, COMMA)
    return -1
