"""Coinbase scan: reads a message of the WebSocket feed in place, and says what it is.

    {"type":"l2update","product_id":"SKL-BTC","changes":[["sell","0.00001306","660.5"]],"time":"2021-04-17T16:43:37.075687Z"}
    {"type":"match","trade_id":280232,"maker_order_id":"2a0da34e-61f7-4c36-88e5-c9dd15927b16","taker_order_id":"3c82abaa-..",
     "side":"sell","size":"985","price":"0.00001305","product_id":"SKL-BTC","sequence":177100030,"time":"2021-..Z"}
    {"type":"open","side":"sell","price":"2602.22","order_id":"26c22ff5-01b1-..","remaining_size":"0.1","product_id":"BTC-USD",..}
    {"type":"heartbeat","last_trade_id":17393422,"product_id":"BTC-USD","sequence":3419023015,"time":"2017-..Z"}
    {"type":"snapshot","product_id":"BTC-USD","bids":[["10101.10","0.45054140"]],"asks":[["10102.55","0.57753524"]]}
    {"type":"error","message":"Failed to subscribe","reason":"user channel requires authentication"}

Members may come in any order; in the usual one, changes are read on the way, so that they are touched once. A message that is not
valid JSON to its end, or not as documented where it is read, is refused as a whole: a size of "0.-10000", which the venue has
sent, is one. A time in the year 1, which it has sent too, is no time.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import MarketFlag, MarketKind
from hft.units import as_int
from hft.venues.coinbase import tables as t
from hft.venues.coinbase.plain import OTHERWISE, read_plain_update
from hft.venues.coinbase.tables import Found, FrameKind, ScanCount, Scanner, new_scanner
from hft.venues.coinbase.uuids import read_uuid
from hft.venues.fields import read_lots, read_rfc3339, read_ticks, text_end, write_record
from hft.venues.json_bytes import byte_at, is_null, read_integer, skip_space, skip_string, skip_value
from hft.venues.members import UNKNOWN, first_element, first_member, member, next_element, next_member, read_word
from hft.venues.symbols import find_symbol
from shm.jit import njit

__all__ = ["Found", "FrameKind", "Scanner", "new_scanner", "read_level", "read_time", "scan"]

NO_ROOM_FRAME, MALFORMED, OTHER = int(FrameKind.NO_ROOM), int(FrameKind.MALFORMED), int(FrameKind.OTHER)
UPDATE, MATCH, OPEN, DONE = int(FrameKind.UPDATE), int(FrameKind.MATCH), int(FrameKind.OPEN), int(FrameKind.DONE)
RECEIVED, CHANGE, HEARTBEAT = int(FrameKind.RECEIVED), int(FrameKind.CHANGE), int(FrameKind.HEARTBEAT)
TICKER, SNAPSHOT, LAST_MATCH = int(FrameKind.TICKER), int(FrameKind.SNAPSHOT), int(FrameKind.LAST_MATCH)
SUBSCRIPTIONS, ERROR, UNKNOWN_SYMBOL = int(FrameKind.SUBSCRIPTIONS), int(FrameKind.ERROR), int(FrameKind.UNKNOWN_SYMBOL)
INSTRUMENT, EXCHANGE_NS, RECORDS, SEQUENCE = int(Found.INSTRUMENT), int(Found.EXCHANGE_NS), int(Found.RECORDS), int(Found.SEQUENCE)
TRADE_ID, SIDE, PRICE_TICKS, QTY_LOTS = int(Found.TRADE_ID), int(Found.SIDE), int(Found.PRICE_TICKS), int(Found.QTY_LOTS)
ID_HIGH, ID_LOW, NO_ROOM = int(Found.ID_HIGH), int(Found.ID_LOW), int(Found.NO_ROOM)
OFF_LOT, UNKNOWN_KEYS = int(ScanCount.OFF_LOT), int(ScanCount.UNKNOWN_KEYS)
_QUOTE, _LAST = int(MarketKind.QUOTE), int(MarketFlag.LAST)


@njit
def scan(scanner: Scanner, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read the message `data[start:end]`; returns a FrameKind, and what it was about in `scanner.found`.

    UPDATE leaves its changes in `scanner.levels`, SNAPSHOT the offsets of its lists in `scanner.places`, TICKER a QUOTE record
    in `out` (`found[RECORDS]` is 0 if it said no sizes). A message about a book found MALFORMED leaves the row if the product had
    been read.
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
            return _refused(scanner, kind)
        if number == UNKNOWN:
            scanner.counts[UNKNOWN_KEYS] += 1
        elif places[number] >= 0:
            return _refused(scanner, kind)
        else:
            places[number] = at
        if number == t.CHANGES and kind == UPDATE and scanner.found[INSTRUMENT] >= 0:
            read = True
            at = _read_changes(scanner, data, at, end)
        elif number == t.TYPE:
            word, at = read_word(scanner.types, data, at, end)
            kind = word + UPDATE if word >= 0 else OTHER
        elif number == t.PRODUCT:
            at = _read_product(scanner, data, at, end)
        else:
            at = skip_value(data, at, end)
        at, more = next_member(data, at, end)
    if at < 0 or skip_space(data, at, end) != end:
        return _refused(scanner, kind)
    if kind == OTHER or kind == SUBSCRIPTIONS or kind == ERROR:
        return kind
    if places[t.PRODUCT] < 0:
        return MALFORMED
    if scanner.found[INSTRUMENT] < 0:
        return UNKNOWN_SYMBOL
    if not _read_body(scanner, kind, read, data, end, received_ns, out):
        return _refused(scanner, kind)
    return kind


@njit
def _refused(scanner: Scanner, kind: int) -> int:
    """A malformed message says nothing about a book unless it was about one."""
    if kind == TICKER or kind == HEARTBEAT or kind == LAST_MATCH:
        scanner.found[INSTRUMENT] = -1
    return MALFORMED


@njit
def _read_product(scanner: Scanner, data: NDArray[Any], at: int, end: int) -> int:
    """Read a product; its row goes to `found`. Returns the offset past it, or -1."""
    past = skip_string(data, at, end)
    if past < 0 or text_end(data, at, end) < 0:
        return past
    scanner.found[INSTRUMENT] = find_symbol(scanner.symbols, data, at + 1, past - 1)
    return past


@njit
def read_time(data: NDArray[Any], at: int, end: int) -> int:
    """Read a time: nanoseconds since 1970, 0 for one in the year 1, or -1."""
    exchange_ns, past = read_rfc3339(data, at, end)
    if past >= 0:
        return exchange_ns
    zeros = at + 6 <= end and byte_at(data, at + 1) == 48 and byte_at(data, at + 2) == 48 and byte_at(data, at + 3) == 48
    return 0 if zeros and byte_at(data, at + 4) == 49 and byte_at(data, at + 5) == 45 and skip_string(data, at, end) >= 0 else -1


@njit
def _read_side(scanner: Scanner, data: NDArray[Any], at: int, end: int) -> tuple[int, int]:
    """Read a side: (1 buy | -1 sell, offset past it), or (0, -1)."""
    number, past = read_word(scanner.sides, data, at, end)
    return (1 - 2 * number, past) if number >= 0 else (0, -1)


@njit
def read_level(scanner: Scanner, data: NDArray[Any], at: int, end: int, scale: Any) -> tuple[int, int, int]:
    """Read the rest of a level, `"price","size"`: (ticks, lots, offset past it), -1 for an offset if it is none."""
    ticks, at = read_ticks(data, at, end, scale)
    if ticks <= 0:
        return 0, 0, -1
    at, more = next_element(data, at, end)
    if not more:
        return 0, 0, -1
    lots, at = read_lots(scanner.counts, OFF_LOT, data, at, end, scale)
    return (ticks, lots, at) if lots >= 0 else (0, 0, -1)


@njit
def _read_changes(scanner: Scanner, data: NDArray[Any], at: int, end: int) -> int:
    """Read `[["buy","price","size"],...]` into `scanner.levels`; the offset past it, or -1."""
    found = scanner.found
    scale = scanner.instruments[found[INSTRUMENT]]
    n = 0
    at, more = first_element(data, at, end)
    while more:
        at, inner = first_element(data, at, end)
        if not inner:
            return -1
        side, at = _read_side(scanner, data, at, end)
        at, inner = next_element(data, at, end)
        if not inner:
            return -1
        ticks, lots, at = read_level(scanner, data, at, end, scale)
        at, inner = next_element(data, at, end)
        if at < 0 or inner:
            return -1
        if n == len(scanner.levels):
            found[NO_ROOM] = 1
            return -1
        level = scanner.levels[n]
        level[t.LEVEL_SIDE] = side
        level[t.LEVEL_TICKS] = ticks
        level[t.LEVEL_LOTS] = lots
        n += 1
        at, more = next_element(data, at, end)
    found[RECORDS] = n
    return at


@njit
def _read_body(scanner: Scanner, kind: int, read: bool, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]) -> bool:
    """Read what a message of this kind says of a product of ours; False if it is not as documented."""
    found, places = scanner.found, scanner.places
    if places[t.TIME] >= 0:
        found[EXCHANGE_NS] = read_time(data, places[t.TIME], end)
        if found[EXCHANGE_NS] < 0:
            return False
    if kind == UPDATE:
        return read or (places[t.CHANGES] >= 0 and _read_changes(scanner, data, places[t.CHANGES], end) >= 0)
    if kind == SNAPSHOT:
        return places[t.BIDS] >= 0 and places[t.ASKS] >= 0
    if kind == TICKER:
        return _read_ticker(scanner, data, end, received_ns, out)
    if not _read_integer(scanner, t.SEQUENCE, SEQUENCE, data, end):
        return False
    if kind == HEARTBEAT:
        return _read_integer(scanner, t.LAST_TRADE_ID, TRADE_ID, data, end)
    if kind == RECEIVED:
        return True
    return _read_order(scanner, kind, data, end)


@njit
def _read_integer(scanner: Scanner, key: int, cell: int, data: NDArray[Any], end: int) -> bool:
    if scanner.places[key] < 0:
        return False
    value, past = read_integer(data, scanner.places[key], end)
    scanner.found[cell] = value
    return past >= 0


@njit
def _read_order(scanner: Scanner, kind: int, data: NDArray[Any], end: int) -> bool:
    """Read a message about one order of the book: match, open, done, change."""
    found, places = scanner.found, scanner.places
    trade = kind == MATCH or kind == LAST_MATCH
    id_key = t.MAKER_ID if trade else t.ORDER_ID
    if places[id_key] < 0 or places[t.SIDE] < 0:
        return False
    found[ID_HIGH], found[ID_LOW], past = read_uuid(data, places[id_key], end)
    found[SIDE], side_past = _read_side(scanner, data, places[t.SIDE], end)
    if past < 0 or side_past < 0 or (trade and not _read_integer(scanner, t.TRADE_ID, TRADE_ID, data, end)):
        return False
    found[PRICE_TICKS] = 0
    found[QTY_LOTS] = -1
    if kind == DONE:
        # Its price and size are the order's, which the book knows better.
        return True
    scale = scanner.instruments[found[INSTRUMENT]]
    size_key = t.SIZE if trade else (t.REMAINING if kind == OPEN else t.NEW_SIZE)
    price_key = t.NEW_PRICE if kind == CHANGE and places[t.NEW_PRICE] >= 0 else t.PRICE
    if places[size_key] >= 0 and not (kind == CHANGE and is_null(data, places[size_key], end)):
        found[QTY_LOTS], past = read_lots(scanner.counts, OFF_LOT, data, places[size_key], end, scale)
        if past < 0:
            return False
    if places[price_key] >= 0 and not (kind == CHANGE and is_null(data, places[price_key], end)):
        found[PRICE_TICKS], past = read_ticks(data, places[price_key], end, scale)
        if past < 0:
            return False
    return kind == CHANGE or (found[PRICE_TICKS] > 0 and found[QTY_LOTS] > 0)


@njit
def _read_ticker(scanner: Scanner, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]) -> bool:
    """Read the best prices of a ticker as a QUOTE record; sizes are missing in old recordings, and then there is none."""
    found, places = scanner.found, scanner.places
    if places[t.BEST_BID_SIZE] < 0 or places[t.BEST_ASK_SIZE] < 0 or places[t.BEST_BID] < 0 or places[t.BEST_ASK] < 0:
        return True
    scale = scanner.instruments[found[INSTRUMENT]]
    bid_ticks, _ = read_ticks(data, places[t.BEST_BID], end, scale)
    bid_lots, _ = read_lots(scanner.counts, OFF_LOT, data, places[t.BEST_BID_SIZE], end, scale)
    ask_ticks, _ = read_ticks(data, places[t.BEST_ASK], end, scale)
    ask_lots, _ = read_lots(scanner.counts, OFF_LOT, data, places[t.BEST_ASK_SIZE], end, scale)
    if min(bid_ticks, bid_lots) < 0 or min(ask_ticks, ask_lots) < 0 or len(out) == 0:
        return False
    if bid_ticks == 0 or bid_lots == 0 or ask_ticks == 0 or ask_lots == 0:
        return True
    instrument, exchange_ns = as_int(found[INSTRUMENT]), found[EXCHANGE_NS]
    write_record(out, 0, _QUOTE, _LAST, instrument, received_ns, exchange_ns, 0, bid_ticks, bid_lots)
    out[0]["ask_ticks"] = ask_ticks
    out[0]["ask_lots"] = ask_lots
    found[RECORDS] = 1
    return True
