"""Kraken scan: reads a WebSocket v2 message in place, and says what it is.

    {"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":78858.8,"qty":0.00000000}],"asks":[],
     "checksum":2416540570,"timestamp":"2026-08-24T22:21:58.343688Z"}]}
    {"channel":"heartbeat"}
    {"method":"subscribe","success":false,"error":"Subscription depth not supported","symbol":"BTC/USD","time_in":..}

Members may come in any order; in the usual one, levels are read on the way, so that they are touched once. A message that is not
valid JSON to its end, or not as documented where it is read, is refused as a whole.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.venues.fields import read_rfc3339
from hft.venues.json_bytes import OPEN_BRACE, is_false, is_mark, is_true, read_integer, skip_space, skip_value
from hft.venues.kraken import tables as t
from hft.venues.kraken.levels import EXCHANGE_NS, INSTRUMENT, NO_ROOM, RECORDS, UNKNOWN_KEYS, read_levels, read_row, read_trades
from hft.venues.kraken.plain import OTHERWISE, read_plain_update
from hft.venues.kraken.tables import Found, FrameKind, PairStatus, Scanner, new_scanner
from hft.venues.members import UNKNOWN, first_element, first_member, member, next_element, next_member, read_word
from shm.jit import njit

__all__ = ["Found", "FrameKind", "Scanner", "new_scanner", "scan"]

NO_ROOM_FRAME, MALFORMED, OTHER = int(FrameKind.NO_ROOM), int(FrameKind.MALFORMED), int(FrameKind.OTHER)
BOOK_SNAPSHOT, BOOK_UPDATE, TRADE_FRAME = int(FrameKind.BOOK_SNAPSHOT), int(FrameKind.BOOK_UPDATE), int(FrameKind.TRADE)
INSTRUMENT_FRAME, STATUS_FRAME, HEARTBEAT = int(FrameKind.INSTRUMENT), int(FrameKind.STATUS), int(FrameKind.HEARTBEAT)
SUBSCRIBED, REFUSED, REPLY = int(FrameKind.SUBSCRIBED), int(FrameKind.REFUSED), int(FrameKind.REPLY)
UNKNOWN_SYMBOL = int(FrameKind.UNKNOWN_SYMBOL)
CHECKSUM, SYSTEM = int(Found.CHECKSUM), int(Found.SYSTEM)
_STATUS_OTHER = int(PairStatus.OTHER)
_CHECKSUM_MAX = (1 << 32) - 1
_BUY, _SELL = 1, -1
_DECIMALS_MAX = 18


@njit
def scan(scanner: Scanner, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read the message `data[start:end]`; returns a FrameKind, and what it was about in `scanner.found`.

    BOOK_SNAPSHOT and BOOK_UPDATE leave levels in `scanner.levels`; TRADE has written records to `out`, the last flagged LAST;
    INSTRUMENT leaves rows in `scanner.told`. A book message found MALFORMED leaves its row if the symbol had been read.
    """
    found = scanner.found
    found[INSTRUMENT] = -1
    found[EXCHANGE_NS] = 0
    found[RECORDS] = 0
    found[NO_ROOM] = 0
    kind = read_plain_update(scanner, data, start, end)
    if kind == OTHERWISE:
        kind = _scan_document(scanner, data, start, end, received_ns, out)
    if kind == MALFORMED and found[NO_ROOM] == 1:
        kind = NO_ROOM_FRAME
    scanner.counts[kind - NO_ROOM_FRAME] += 1
    return kind


@njit
def _scan_document(scanner: Scanner, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    places = scanner.places
    for i in range(len(places)):
        places[i] = -1
    kind = OTHER
    read = False
    at, more = first_member(data, skip_space(data, start, end), end)
    while more:
        number, at = member(scanner.keys, data, at, end)
        if at < 0:
            return MALFORMED
        if number == UNKNOWN:
            scanner.counts[UNKNOWN_KEYS] += 1
        elif places[number] >= 0:
            return MALFORMED
        else:
            places[number] = at
        if number == t.DATA and places[t.CHANNEL] >= 0 and places[t.TYPE] >= 0:
            read = True
            kind = _channel_kind(scanner, data, end)
            at = _read_data(scanner, kind, data, at, end, received_ns, out)
        else:
            at = skip_value(data, at, end)
        at, more = next_member(data, at, end)
    if at < 0 or skip_space(data, at, end) != end:
        return _refused(scanner, kind)
    if places[t.METHOD] >= 0:
        return _read_reply(scanner, data, end)
    if places[t.CHANNEL] < 0:
        return OTHER
    if not read:
        kind = _channel_kind(scanner, data, end)
        if kind == HEARTBEAT or (kind == OTHER and places[t.DATA] < 0):
            return kind
        if places[t.DATA] < 0 or _read_data(scanner, kind, data, places[t.DATA], end, received_ns, out) < 0:
            return _refused(scanner, kind)
    if (kind == BOOK_SNAPSHOT or kind == BOOK_UPDATE or kind == TRADE_FRAME) and scanner.found[INSTRUMENT] < 0:
        return UNKNOWN_SYMBOL
    return kind


@njit
def _refused(scanner: Scanner, kind: int) -> int:
    """A malformed message says nothing about a book unless it was about one."""
    if kind != BOOK_SNAPSHOT and kind != BOOK_UPDATE:
        scanner.found[INSTRUMENT] = -1
    return MALFORMED


@njit
def _channel_kind(scanner: Scanner, data: NDArray[Any], end: int) -> int:
    """FrameKind by the values of "channel" and "type"; a snapshot of trades is history, which is not read."""
    channel, _ = read_word(scanner.values, data, scanner.places[t.CHANNEL], end)
    if channel == t.HEARTBEAT:
        return HEARTBEAT
    what = UNKNOWN
    if scanner.places[t.TYPE] >= 0:
        what, _ = read_word(scanner.values, data, scanner.places[t.TYPE], end)
    if what != t.SNAPSHOT and what != t.UPDATE:
        return OTHER
    if channel == t.BOOK:
        return BOOK_SNAPSHOT if what == t.SNAPSHOT else BOOK_UPDATE
    if channel == t.TRADE and what == t.UPDATE:
        return TRADE_FRAME
    if channel == t.INSTRUMENT:
        return INSTRUMENT_FRAME
    return STATUS_FRAME if channel == t.STATUS_CHANNEL else OTHER


@njit
def _read_data(scanner: Scanner, kind: int, data: NDArray[Any], at: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    if kind == BOOK_SNAPSHOT or kind == BOOK_UPDATE:
        at, more = first_element(data, at, end)
        if not more:
            return -1
        # One book a message: the checksum, and so the event, are of one symbol.
        at, more = next_element(data, _read_book(scanner, data, at, end), end)
        return -1 if more else at
    if kind == TRADE_FRAME:
        return read_trades(scanner, data, at, end, received_ns, out)
    if kind == INSTRUMENT_FRAME:
        return _read_instruments(scanner, data, at, end)
    if kind == STATUS_FRAME:
        return _read_status(scanner, data, at, end)
    return skip_value(data, at, end)


@njit
def _read_book(scanner: Scanner, data: NDArray[Any], at: int, end: int) -> int:
    """Read one book; its levels too, if the symbol is known."""
    found = scanner.found
    seen = 0
    row = bids_at = asks_at = -1
    at, more = first_member(data, at, end)
    while more:
        number, at = member(scanner.keys, data, at, end)
        if at < 0 or (number >= 0 and (seen >> number) & 1):
            return -1
        if number >= 0:
            seen |= 1 << number
        if number == t.SYMBOL:
            row, at = read_row(scanner, data, at, end)
            found[INSTRUMENT] = row
        elif number == t.BIDS and row >= 0:
            at = read_levels(scanner, data, at, end, _BUY)
        elif number == t.ASKS and row >= 0:
            at = read_levels(scanner, data, at, end, _SELL)
        elif number == t.CHECKSUM:
            found[CHECKSUM], at = read_integer(data, at, end)
        elif number == t.TIMESTAMP:
            found[EXCHANGE_NS], at = read_rfc3339(data, at, end)
        else:
            bids_at = at if number == t.BIDS else bids_at
            asks_at = at if number == t.ASKS else asks_at
            scanner.counts[UNKNOWN_KEYS] += 1 if number == UNKNOWN else 0
            at = skip_value(data, at, end)
        at, more = next_member(data, at, end)
    if at < 0 or not (seen >> t.SYMBOL) & 1 or not (seen >> t.CHECKSUM) & 1 or found[CHECKSUM] > _CHECKSUM_MAX:
        return -1
    if row >= 0 and bids_at >= 0 and read_levels(scanner, data, bids_at, end, _BUY) < 0:
        return -1
    if row >= 0 and asks_at >= 0 and read_levels(scanner, data, asks_at, end, _SELL) < 0:
        return -1
    return at


@njit
def _read_instruments(scanner: Scanner, data: NDArray[Any], at: int, end: int) -> int:
    """Read what is said of pairs of ours: `{"assets":[...],"pairs":[{"symbol":..,"status":..,"price_precision":..},...]}`."""
    scanner.told[:] = 0
    seen = False
    at, more = first_member(data, at, end)
    while more:
        number, at = member(scanner.keys, data, at, end)
        if at < 0 or (number == t.PAIRS and seen):
            return -1
        if number == t.PAIRS:
            seen = True
            at, another = first_element(data, at, end)
            while another:
                at, another = next_element(data, _read_pair(scanner, data, at, end), end)
        else:
            at = skip_value(data, at, end)
        at, more = next_member(data, at, end)
    return at


@njit
def _read_pair(scanner: Scanner, data: NDArray[Any], at: int, end: int) -> int:
    seen = 0
    row, status, price_decimals, qty_decimals = -1, _STATUS_OTHER, -1, -1
    at, more = first_member(data, at, end)
    while more:
        number, at = member(scanner.keys, data, at, end)
        if at < 0 or (number >= 0 and (seen >> number) & 1):
            return -1
        if number >= 0:
            seen |= 1 << number
        if number == t.SYMBOL:
            row, at = read_row(scanner, data, at, end)
        elif number == t.STATUS:
            status, at = read_word(scanner.statuses, data, at, end)
        elif number == t.PRICE_PRECISION:
            price_decimals, at = read_integer(data, at, end)
        elif number == t.QTY_PRECISION:
            qty_decimals, at = read_integer(data, at, end)
        else:
            at = skip_value(data, at, end)
        at, more = next_member(data, at, end)
    wanted = (1 << t.SYMBOL) | (1 << t.STATUS) | (1 << t.PRICE_PRECISION) | (1 << t.QTY_PRECISION)
    if at < 0 or seen & wanted != wanted or price_decimals > _DECIMALS_MAX or qty_decimals > _DECIMALS_MAX:
        return -1
    if row >= 0:
        told = scanner.told[row]
        told[t.TOLD] = 1
        told[t.TOLD_STATUS] = status if status > 0 else _STATUS_OTHER
        told[t.TOLD_PRICE_DECIMALS] = price_decimals
        told[t.TOLD_QTY_DECIMALS] = qty_decimals
    return at


@njit
def _read_status(scanner: Scanner, data: NDArray[Any], at: int, end: int) -> int:
    """Read `[{"system":"online",...}]`; the last one holds."""
    at, more = first_element(data, at, end)
    while more:
        status = UNKNOWN
        at, another = first_member(data, at, end)
        while another:
            number, at = member(scanner.keys, data, at, end)
            if at < 0:
                return -1
            if number == t.SYSTEM:
                status, at = read_word(scanner.statuses, data, at, end)
            else:
                at = skip_value(data, at, end)
            at, another = next_member(data, at, end)
        scanner.found[SYSTEM] = status if status > 0 else _STATUS_OTHER
        at, more = next_element(data, at, end)
    return at


@njit
def _read_reply(scanner: Scanner, data: NDArray[Any], end: int) -> int:
    """Tell whether a subscription was taken; the symbol is in the result, or beside the error."""
    places = scanner.places
    method, _ = read_word(scanner.values, data, places[t.METHOD], end)
    if method != t.SUBSCRIBE:
        return REPLY
    taken = places[t.SUCCESS] >= 0 and is_true(data, places[t.SUCCESS], end)
    if not taken and not (places[t.SUCCESS] >= 0 and is_false(data, places[t.SUCCESS], end)):
        return MALFORMED
    if places[t.SYMBOL] >= 0:
        scanner.found[INSTRUMENT], _ = read_row(scanner, data, places[t.SYMBOL], end)
    elif places[t.RESULT] >= 0 and is_mark(data, places[t.RESULT], end, OPEN_BRACE):
        at, more = first_member(data, places[t.RESULT], end)
        while more:
            number, at = member(scanner.keys, data, at, end)
            if at >= 0 and number == t.SYMBOL:
                scanner.found[INSTRUMENT], _ = read_row(scanner, data, at, end)
            at, more = next_member(data, skip_value(data, at, end) if at >= 0 else -1, end)
        if at < 0:
            scanner.found[INSTRUMENT] = -1
            return MALFORMED
    return SUBSCRIBED if taken else REFUSED
