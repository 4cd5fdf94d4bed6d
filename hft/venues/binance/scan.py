"""Binance scanner: turns a market-data frame's bytes into MARKET records, in place and without floats.

Read are `depthUpdate`, `bookTicker`, `trade`, `serverShutdown` and replies to requests, raw or wrapped by a combined stream,
with keys in any order; and the REST depth snapshot (`scan_snapshot`). Unknown keys and events are stepped over and counted.
A frame that is not valid JSON, or holds anything but what the venue documents where we read it, is MALFORMED as a whole:
there is never a price from half a frame.

    {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255408,"s":"BTCUSDT","U":50093239208,
     "u":50093239224,"b":[["61837.63000000","3.78826000"]],"a":[]}}
    {"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}
    {"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",
     "T":1723161255342,"m":true,"M":true}
    {"e":"serverShutdown","E":1770123456789}
    {"result":null,"id":1}   {"code":2,"msg":"Invalid request"}   {"error":{"code":2,"msg":"..."},"id":1}
    {"lastUpdateId":50093239218,"bids":[["61837.63000000","3.78826000"]],"asks":[]}
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import MarketFlag, MarketKind
from hft.venues.binance import keys as key
from hft.venues.binance.fields import (
    event_kind,
    key_of,
    read_depth_head,
    read_levels,
    read_symbol,
    read_time,
)
from hft.venues.binance.plain import OTHERWISE, read_plain_depth
from hft.venues.binance.tables import Found, FrameKind, ScanCount, Scanner, new_scanner
from hft.venues.fields import read_lots, read_ticks, write_record
from hft.venues.json_bytes import (
    CLOSE_BRACE,
    COLON,
    COMMA,
    OPEN_BRACE,
    is_false,
    is_mark,
    is_true,
    read_integer,
    skip_mark,
    skip_name,
    skip_space,
    skip_value,
)
from shm.jit import njit

__all__ = ["Found", "FrameKind", "ScanCount", "Scanner", "new_scanner", "scan", "scan_snapshot"]

NO_ROOM, MALFORMED, OTHER = int(FrameKind.NO_ROOM), int(FrameKind.MALFORMED), int(FrameKind.OTHER)
DEPTH, QUOTE_FRAME, TRADE_FRAME, SNAPSHOT = int(FrameKind.DEPTH), int(FrameKind.QUOTE), int(FrameKind.TRADE), int(FrameKind.SNAPSHOT)
REPLY, REPLY_ERROR, UNKNOWN_SYMBOL = int(FrameKind.REPLY), int(FrameKind.REPLY_ERROR), int(FrameKind.UNKNOWN_SYMBOL)
COUNT_OF_KIND, COUNT_UNKNOWN_KEYS, OFF_LOT = -NO_ROOM, int(ScanCount.UNKNOWN_KEYS), int(ScanCount.OFF_LOT)

INSTRUMENT_FOUND, FIRST_ID, LAST_ID = int(Found.INSTRUMENT), int(Found.FIRST_ID), int(Found.LAST_ID)
EXCHANGE_NS, RECORDS, KEYS, ROOM = int(Found.EXCHANGE_NS), int(Found.RECORDS), int(Found.KEYS), int(Found.NO_ROOM)
TRADE, QUOTE, LAST, BID = int(MarketKind.TRADE), int(MarketKind.QUOTE), int(MarketFlag.LAST), int(MarketFlag.BID)


@njit
def scan(scanner: Scanner, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read the frame `data[start:end]`; write its MARKET records to `out` and what it was about to `scanner.found`.

    Returns a FrameKind. DEPTH gives a LEVEL for each level, bids and asks as they came, none flagged LAST; TRADE and QUOTE
    one record, flagged LAST. `decode_ns` is 0. A depth event found MALFORMED leaves its row in `found[INSTRUMENT]` if the
    symbol had been read. SNAPSHOT was only recognised: `scan_snapshot` reads it.
    """
    found = scanner.found
    found[INSTRUMENT_FOUND] = -1
    found[RECORDS] = 0
    found[KEYS] = 0
    found[ROOM] = 0
    kind = read_plain_depth(scanner, data, start, end, received_ns, out)
    if kind == OTHERWISE:
        found[ROOM] = 0
        kind = _scan_document(scanner, data, start, end, received_ns, out)
    if kind == MALFORMED and found[ROOM] == 1:
        kind = NO_ROOM
    scanner.counts[kind + COUNT_OF_KIND] += 1
    return kind


@njit
def scan_snapshot(scanner: Scanner, instrument: int, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read a REST depth reply for one instrument: LEVEL records to `out`, `lastUpdateId` to `found[LAST_ID]`.

    Returns SNAPSHOT, MALFORMED (a level of size 0 included), NO_ROOM, or OTHER for another document, such as an error.
    """
    found = scanner.found
    found[INSTRUMENT_FOUND] = instrument
    found[RECORDS] = 0
    found[ROOM] = 0
    found[EXCHANGE_NS] = 0
    at = _walk(scanner, data, skip_space(data, start, end), end, received_ns, out)
    if at < 0 or skip_space(data, at, end) != end:
        return MALFORMED
    if found[KEYS] & key.SNAPSHOT != key.SNAPSHOT:
        return OTHER
    last_id, past = read_integer(data, scanner.at[key.LAST_UPDATE_ID], end)
    found[FIRST_ID] = last_id
    found[LAST_ID] = last_id
    if past < 0:
        return MALFORMED
    if read_levels(scanner, data, scanner.at[key.BIDS], end, BID, received_ns, out) < 0:
        return NO_ROOM if found[ROOM] == 1 else MALFORMED
    if read_levels(scanner, data, scanner.at[key.ASKS], end, 0, received_ns, out) < 0:
        return NO_ROOM if found[ROOM] == 1 else MALFORMED
    for i in range(found[RECORDS]):
        if out[i]["qty_lots"] == 0:
            return MALFORMED
    return SNAPSHOT


@njit
def _scan_document(scanner: Scanner, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    at = skip_space(data, start, end)
    first_key = skip_space(data, at + 1, end)
    past = skip_name(data, first_key, end)
    wrapped = past >= 0 and key_of(scanner, data, first_key, past) in (key.STREAM, key.DATA)
    if wrapped:
        at = _walk_wrapper(scanner, data, at, end, received_ns, out)
    else:
        at = _walk(scanner, data, at, end, received_ns, out)
    if at < 0 or skip_space(data, at, end) != end:
        return MALFORMED
    return _read_event(scanner, data, end, received_ns, out)


@njit
def _walk_wrapper(scanner: Scanner, data: NDArray[Any], at: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Step over `{"stream":...,"data":{...}}`, noting the keys of `data`."""
    at = skip_mark(data, at, end, OPEN_BRACE)
    has_data = False
    while at >= 0:
        name = skip_space(data, at, end)
        at = skip_name(data, name, end)
        number = key_of(scanner, data, name, at) if at >= 0 else key.UNKNOWN
        at = skip_mark(data, at, end, COLON) if at >= 0 else -1
        if at < 0:
            return -1
        at = skip_space(data, at, end)
        if number != key.DATA:
            at = skip_value(data, at, end)
        elif has_data:
            return -1
        else:
            has_data = True
            is_event = is_mark(data, at, end, OPEN_BRACE)
            at = _walk(scanner, data, at, end, received_ns, out) if is_event else skip_value(data, at, end)
        if at < 0:
            return -1
        at = skip_space(data, at, end)
        if is_mark(data, at, end, CLOSE_BRACE):
            return at + 1
        at = skip_mark(data, at, end, COMMA)
    return -1


@njit
def _walk(scanner: Scanner, data: NDArray[Any], at: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Step over one event's object, noting where the values of known keys are.

    The levels of a depth event are read on the way when its head came first, as it does; so they are touched once.
    """
    found = scanner.found
    at = skip_mark(data, at, end, OPEN_BRACE)
    if at < 0:
        return -1
    at = skip_space(data, at, end)
    if is_mark(data, at, end, CLOSE_BRACE):
        return at + 1
    keys = 0
    head = OTHER
    while True:
        name = at
        at = skip_name(data, name, end)
        if at < 0:
            return -1
        number = key_of(scanner, data, name, at)
        at = skip_mark(data, at, end, COLON)
        if at < 0 or number == key.STREAM or number == key.DATA:
            return -1
        at = skip_space(data, at, end)
        if number == key.UNKNOWN:
            scanner.counts[COUNT_UNKNOWN_KEYS] += 1
        else:
            if (keys >> number) & 1:
                return -1
            keys |= 1 << number
            scanner.at[number] = at
        if (number == key.b or number == key.a) and keys & key.DEPTH_HEAD == key.DEPTH_HEAD:
            if head == OTHER:
                head = read_depth_head(scanner, data, end)
            if head == DEPTH:
                keys |= 1 << (key.BIDS_READ if number == key.b else key.ASKS_READ)
                at = read_levels(scanner, data, at, end, BID if number == key.b else 0, received_ns, out)
            else:
                at = skip_value(data, at, end)
        else:
            at = skip_value(data, at, end)
        if at < 0:
            return -1
        at = skip_space(data, at, end)
        if is_mark(data, at, end, CLOSE_BRACE):
            found[KEYS] = keys
            return at + 1
        if not is_mark(data, at, end, COMMA):
            return -1
        at = skip_space(data, at + 1, end)


@njit
def _read_event(scanner: Scanner, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Tell what the event is whose keys were noted, and read what was not read on the way. Returns a FrameKind."""
    found = scanner.found
    keys = found[KEYS]
    if (keys >> key.e) & 1:
        kind = event_kind(scanner, data, end)
        if kind == DEPTH:
            return _read_depth(scanner, data, end, keys, received_ns, out)
        if kind == QUOTE_FRAME or kind == TRADE_FRAME:
            return _read_single(scanner, data, end, kind, keys, received_ns, out)
        return kind
    if keys & key.QUOTE == key.QUOTE:
        return _read_single(scanner, data, end, QUOTE_FRAME, keys, received_ns, out)
    if keys & key.SNAPSHOT == key.SNAPSHOT:
        return SNAPSHOT
    if (keys >> key.ERROR) & 1 or (keys >> key.CODE) & 1:
        return REPLY_ERROR
    return REPLY if (keys >> key.RESULT) & 1 else OTHER


@njit
def _read_depth(scanner: Scanner, data: NDArray[Any], end: int, keys: int, received_ns: int, out: NDArray[Any]) -> int:
    if keys & key.DEPTH != key.DEPTH:
        return MALFORMED
    if keys & key.DEPTH_READ == key.DEPTH_READ:
        return DEPTH
    # Some number came out of the usual order; a list that was read on the way stays read.
    if keys & key.DEPTH_READ == 0:
        kind = read_depth_head(scanner, data, end)
        if kind != DEPTH:
            return kind
    if not (keys >> key.BIDS_READ) & 1 and read_levels(scanner, data, scanner.at[key.b], end, BID, received_ns, out) < 0:
        return MALFORMED
    if not (keys >> key.ASKS_READ) & 1 and read_levels(scanner, data, scanner.at[key.a], end, 0, received_ns, out) < 0:
        return MALFORMED
    return DEPTH


@njit
def _read_single(scanner: Scanner, data: NDArray[Any], end: int, kind: int, keys: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read an event that becomes one record. A malformed one leaves no row in `found`: it says nothing about a book."""
    wanted = key.QUOTE if kind == QUOTE_FRAME else key.TRADE
    if keys & wanted != wanted:
        return MALFORMED
    looked_up = read_symbol(scanner, data, end, kind)
    if looked_up != kind:
        return looked_up
    if len(out) == 0:
        scanner.found[ROOM] = 1
    good = len(out) > 0
    if good and kind == QUOTE_FRAME:
        good = _read_quote(scanner, data, end, received_ns, out)
    elif good:
        good = _read_trade(scanner, data, end, received_ns, out)
    if not good:
        scanner.found[INSTRUMENT_FOUND] = -1
        return MALFORMED
    scanner.found[RECORDS] = 1
    return kind


@njit
def _read_quote(scanner: Scanner, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]) -> bool:
    """Read a bookTicker. A side that is empty has price and size 0; any other 0 is refused."""
    found, at = scanner.found, scanner.at
    scale = scanner.instruments[found[INSTRUMENT_FOUND]]
    update_id, past = read_integer(data, at[key.u], end)
    bid_ticks, _ = read_ticks(data, at[key.b], end, scale)
    bid_lots, _ = read_lots(scanner.counts, OFF_LOT, data, at[key.B], end, scale)
    ask_ticks, _ = read_ticks(data, at[key.a], end, scale)
    ask_lots, _ = read_lots(scanner.counts, OFF_LOT, data, at[key.A], end, scale)
    bid_good = (bid_ticks > 0 and bid_lots > 0) or (bid_ticks == 0 and bid_lots == 0)
    ask_good = (ask_ticks > 0 and ask_lots > 0) or (ask_ticks == 0 and ask_lots == 0)
    if past < 0 or not bid_good or not ask_good:
        return False
    found[LAST_ID] = update_id
    found[EXCHANGE_NS] = 0
    write_record(out, 0, QUOTE, LAST, found[INSTRUMENT_FOUND], received_ns, 0, update_id, bid_ticks, bid_lots)
    out[0]["ask_ticks"] = ask_ticks
    out[0]["ask_lots"] = ask_lots
    return True


@njit
def _read_trade(scanner: Scanner, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]) -> bool:
    """Read a trade, at its engine time T. If the buyer was the maker, the aggressor sold."""
    found, at = scanner.found, scanner.at
    scale = scanner.instruments[found[INSTRUMENT_FOUND]]
    trade_id, past = read_integer(data, at[key.t], end)
    event_ns = read_time(data, at[key.E], end)
    exchange_ns = read_time(data, at[key.T], end)
    price_ticks, _ = read_ticks(data, at[key.p], end, scale)
    qty_lots, _ = read_lots(scanner.counts, OFF_LOT, data, at[key.q], end, scale)
    buyer_made = is_true(data, at[key.m], end)
    if past < 0 or event_ns < 0 or exchange_ns < 0 or price_ticks <= 0 or qty_lots <= 0:
        return False
    if not buyer_made and not is_false(data, at[key.m], end):
        return False
    found[LAST_ID] = trade_id
    found[EXCHANGE_NS] = exchange_ns
    flags = LAST if buyer_made else LAST | BID
    write_record(out, 0, TRADE, flags, found[INSTRUMENT_FOUND], received_ns, exchange_ns, trade_id, price_ticks, qty_lots)
    return True
