"""Binance SBE private scanner: turns binary replies to order requests and account events into VENUE_EVENT rows, in place.

Schema 3, versions 2 and later: what a later one appends is stepped over. A reply is wrapped (template 50): status, rate limits,
the request's id, and the result as a message of its own. Replies to changes in place and to canceling everything are left to cold
code, as is whatever has an id that no order has.

     50 reply               100 error        300 accepted         301, 302 accepted, with its state
    305 canceled            307 cancel and new order
    602 stream terminated   603 execution report   610 shutdown
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import VenueEventKind, VenueEventSource, VenueReason
from hft.venues.binance.errors import Errors, classify
from hft.venues.binance.limits import ORDERS_10S, ORDERS_DAY, RAW, WEIGHT, WINDOW_NS, learn, learn_ban, note_answer
from hft.venues.binance.orders import ASKED_ID, ASKED_REF, BinanceCodec, asked_place
from hft.venues.binance.private_report import note_key
from hft.venues.binance.private_words import Reader
from hft.venues.binance.sbe import (
    ABSENT,
    GROUP16_BYTES,
    GROUP32_BYTES,
    HEADER_BYTES,
    read_i8,
    read_i64,
    read_u16,
    read_u32,
    skip_group,
    skip_text,
)
from hft.venues.binance.sbe_report import EXPIRED_IN_MATCH, STATES, client_id, price_of, qty_of, read_report_sbe, side_of
from hft.venues.fields import begin_event
from hft.venues.json_bytes import byte_at
from hft.venues.outcomes import Scanned
from hft.venues.symbols import find_symbol
from hft.venues.text import read_hex
from shm.jit import njit

SCHEMA = 3
REPLY, ERROR, ACCEPTED, ACCEPTED_RESULT, ACCEPTED_FULL = 50, 100, 300, 301, 302
CANCELED, REPLACED, TERMINATED, REPORT, SHUTDOWN = 305, 307, 602, 603, 610

_MALFORMED, _IGNORED, _COLD = int(Scanned.MALFORMED), int(Scanned.IGNORED), int(Scanned.COLD)
_K = VenueEventKind
_ACK, _REJECTED = int(_K.ACK), int(_K.REJECTED)
_CANCEL_REJECTED, _UNKNOWN, _THROTTLED = int(_K.CANCEL_REJECTED), int(_K.UNKNOWN), int(_K.THROTTLED)
_FROM_REPLY, _SELF_TRADE = int(VenueEventSource.REPLY), int(VenueReason.SELF_TRADE)
_US, _SECOND_NS = 1_000, 1_000_000_000
_INTERVAL_S = (1, 60, 3600, 86_400)
_SUCCESS, _FAILURE, _NOT_ATTEMPTED = range(3)
_BANNED, _TOO_MANY, _TOO_MUCH_WEIGHT = 418, 429, -1003

# What we read of each root block.
_REPLY_BLOCK, _ERROR_BLOCK, _ACCEPTED_BLOCK, _RESULT_BLOCK = 3, 18, 24, 62
_LIMIT_BLOCK = 19


@njit
def scan_sbe_private(codec: BinanceCodec, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read one binary message, `data[start:end]`: how many VENUE_EVENT rows are in `out`, or a member of Scanned."""
    reader = Reader(codec.instruments, codec.symbols, codec.private, codec.asked, codec.limits, codec.errors)
    root = start + HEADER_BYTES
    if root > end or read_u16(data, start + 4) != SCHEMA:
        return _MALFORMED
    template, past_root = read_u16(data, start + 2), root + read_u16(data, start)
    if past_root > end:
        return _MALFORMED
    if template == REPORT:
        return read_report_sbe(reader, data, root, past_root, end, received_ns, out)
    if template == REPLY:
        return _read_reply(reader, data, root, past_root, end, received_ns, out)
    return _COLD if template == TERMINATED or template == SHUTDOWN else _IGNORED


@njit
def _read_reply(reader: Reader, data: NDArray[Any], root: int, groups: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    id_at = skip_group(data, groups, end, GROUP16_BYTES, _LIMIT_BLOCK)
    id_past = skip_text(data, id_at, end)
    if groups - root < _REPLY_BLOCK or id_past < 0 or id_past + 4 > end or id_past + 4 + read_u32(data, id_past) > end:
        return _MALFORMED
    request_id = read_hex(data, id_at + 1, id_past)
    if request_id > 0:
        note_answer(reader.limits, reader.asked[asked_place(request_id), ASKED_ID] == request_id)
    _learn_limits(reader.limits, data, groups, received_ns)
    if request_id <= 0:
        return _COLD
    start, end = id_past + 4, id_past + 4 + read_u32(data, id_past)
    status = read_u16(data, root + 1)
    if status != 200:
        return _read_error(reader, data, start, end, status, request_id, received_ns, out)
    if end - start >= HEADER_BYTES and read_u16(data, start + 2) == REPLACED:
        return _read_replaced(reader, data, start, end, request_id, received_ns, out)
    return _read_order(reader, data, start, end, request_id, received_ns, out, 0)


@njit
def _learn_limits(limits: NDArray[Any], data: NDArray[Any], group: int, received_ns: int) -> None:
    block, count = read_u16(data, group), read_u16(data, group + 2)
    for n in range(count):
        at = group + GROUP16_BYTES + n * block
        kind, interval, limit, used = byte_at(data, at), byte_at(data, at + 1), read_i64(data, at + 3), read_i64(data, at + 11)
        if interval >= len(_INTERVAL_S) or limit < 0 or used < 0:
            continue
        seconds = _INTERVAL_S[interval] * byte_at(data, at + 2)
        row = WEIGHT if kind == 2 else RAW if kind == 0 else -1
        if kind == 3:
            row = ORDERS_10S if seconds == 10 else ORDERS_DAY
        if row >= 0 and limits[row, WINDOW_NS] == seconds * _SECOND_NS:
            learn(limits, row, limit, used, received_ns)


@njit
def _read_order(
    reader: Reader, data: NDArray[Any], start: int, end: int, request_id: int, received_ns: int, out: NDArray[Any], n: int
) -> int:
    """Read an order's own reply into `out[n]`: 1, 0 if it is of another instrument, COLD if it is another message, or MALFORMED."""
    root = start + HEADER_BYTES
    if root > end or read_u16(data, start + 4) != SCHEMA:
        return _MALFORMED
    template, at = read_u16(data, start + 2), root + read_u16(data, start)
    if template != ACCEPTED and template != ACCEPTED_RESULT and template != ACCEPTED_FULL and template != CANCELED:
        return _COLD
    if at > end or at - root < (_ACCEPTED_BLOCK if template == ACCEPTED else _RESULT_BLOCK):
        return _MALFORMED
    if template == ACCEPTED_FULL:
        at = _skip_fills(data, _skip_fills(data, at, end), end)
    symbol_past = skip_text(data, at, end)
    client_past = skip_text(data, symbol_past, end)
    if client_past < 0:
        return _MALFORMED
    row_number = find_symbol(reader.symbols, data, at + 1, symbol_past)
    if row_number < 0:
        return 0
    # The first client id of a canceled order is the one it had.
    order_id = client_id(data, symbol_past, client_past)
    short = template == ACCEPTED
    key, time_us = read_i64(data, root if short else root + 2), read_i64(data, root + 16 if short else root + 18)
    kind, price, qty, cum, side, reason = _ACK, 0, 0, -1, 0, 0
    if not short:
        price = price_of(reader.instruments, row_number, read_i64(data, root + 26), read_i8(data, root))
        qty = qty_of(reader.instruments, row_number, read_i64(data, root + 34), read_i8(data, root + 1))
        cum = qty_of(reader.instruments, row_number, read_i64(data, root + 42), read_i8(data, root + 1))
        status, side = byte_at(data, root + 58), side_of(byte_at(data, root + 61))
        if status >= len(STATES) or STATES[status] < 0 or price < 0 or qty < 0 or cum < 0 or side == 0:
            return _MALFORMED
        kind = STATES[status]
        reason = _SELF_TRADE if status == EXPIRED_IN_MATCH else 0
    if key < 0 or time_us < 0:
        return _MALFORMED
    begin_event(out, n, kind, _FROM_REPLY, received_ns)
    row = out[n]
    row["order_id"] = order_id
    row["request_id"] = request_id
    row["venue_key"] = key
    row["price_ticks"] = price
    row["qty_lots"] = qty
    row["cum_lots"] = cum
    row["exchange_ns"] = time_us * _US
    row["instrument"] = row_number
    row["side"] = side
    row["reason"] = reason
    note_key(reader.asked, order_id, key)
    return 1


@njit
def _skip_fills(data: NDArray[Any], at: int, end: int) -> int:
    """Step over a group whose blocks have one text each."""
    if at < 0 or at + GROUP32_BYTES > end:
        return -1
    block, count = read_u16(data, at), read_u32(data, at + 2)
    at += GROUP32_BYTES
    for _ in range(count):
        at = skip_text(data, at + block, end)
        if at < 0:
            return -1
    return at


@njit
def _read_refusal(errors: Errors, data: NDArray[Any], start: int, end: int) -> tuple[int, int, int, int]:
    """Read an error message: (offset past its text or -1, VenueEventKind, VenueReason, code)."""
    root = start + HEADER_BYTES
    if root > end or read_u16(data, start + 4) != SCHEMA or read_u16(data, start + 2) != ERROR:
        return -1, 0, 0, 0
    at = root + read_u16(data, start)
    if at - root < _ERROR_BLOCK or at + 2 > end or at + 2 + read_u16(data, at) > end:
        return -1, 0, 0, 0
    code = read_u16(data, root)
    code -= 1 << 16 if code >= 1 << 15 else 0
    past = at + 2 + read_u16(data, at)
    kind, reason = classify(errors, code, data, at + 2, past)
    return past, kind, reason, code


@njit
def _tell(request_id: int, order_id: int, kind: int, reason: int, code: int, received_ns: int, out: NDArray[Any], n: int) -> int:
    begin_event(out, n, kind, _FROM_REPLY, received_ns)
    out[n]["order_id"] = order_id
    out[n]["request_id"] = request_id
    out[n]["reason"] = reason
    out[n]["venue_code"] = code
    return n + 1


@njit
def _read_error(
    reader: Reader, data: NDArray[Any], start: int, end: int, status: int, request_id: int, received_ns: int, out: NDArray[Any]
) -> int:
    past, kind, reason, code = _read_refusal(reader.errors, data, start, end)
    if past < 0:
        return _MALFORMED
    if past + 4 <= end and read_u32(data, past) > 0:
        if past + 4 + read_u32(data, past) > end:
            return _MALFORMED
        return _read_replaced(reader, data, past + 4, past + 4 + read_u32(data, past), request_id, received_ns, out)
    server_us, until_us = read_i64(data, start + HEADER_BYTES + 2), read_i64(data, start + HEADER_BYTES + 10)
    retry_ns = 0
    if until_us != ABSENT and server_us != ABSENT:
        retry_ns = max(0, until_us - server_us) * _US
    if until_us != ABSENT and (status == _BANNED or code == _TOO_MUCH_WEIGHT):
        learn_ban(reader.limits, until_us * _US)
    asked = reader.asked[asked_place(request_id)]
    if status >= 500:
        kind = _UNKNOWN
    elif status == _TOO_MANY or status == _BANNED:
        kind = _THROTTLED
    n = 0
    if kind == _CANCEL_REJECTED and asked[ASKED_ID] == request_id:
        if asked[ASKED_REF] != 0:
            n = _tell(request_id, asked[ASKED_REF], kind, reason, code, received_ns, out, n)
        kind = _REJECTED
    n = _tell(request_id, 0, kind, reason, code, received_ns, out, n)
    out[n - 1]["retry_after_ns"] = retry_ns
    return n


@njit
def _read_replaced(reader: Reader, data: NDArray[Any], start: int, end: int, request_id: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read how a cancelReplace went: the cancel first, then the new order."""
    root = start + HEADER_BYTES
    if root + 2 > end or read_u16(data, start + 4) != SCHEMA or read_u16(data, start + 2) != REPLACED or read_u16(data, start) < 2:
        return _MALFORMED
    canceled, placed, at = byte_at(data, root), byte_at(data, root + 1), root + read_u16(data, start)
    if at + 2 > end or canceled > _NOT_ATTEMPTED or placed > _NOT_ATTEMPTED:
        return _MALFORMED
    cancel_at, cancel_end = at + 2, at + 2 + read_u16(data, at)
    if cancel_end + 4 > end or cancel_end + 4 + read_u32(data, cancel_end) > end:
        return _MALFORMED
    new_at, new_end = cancel_end + 4, cancel_end + 4 + read_u32(data, cancel_end)
    n, reason, code = 0, 0, 0
    if canceled == _SUCCESS:
        n = _read_order(reader, data, cancel_at, cancel_end, request_id, received_ns, out, 0)
    elif canceled == _FAILURE:
        past, _, reason, code = _read_refusal(reader.errors, data, cancel_at, cancel_end)
        asked = reader.asked[asked_place(request_id)]
        if past < 0:
            return _MALFORMED
        if asked[ASKED_ID] == request_id and asked[ASKED_REF] != 0:
            n = _tell(request_id, asked[ASKED_REF], _CANCEL_REJECTED, reason, code, received_ns, out, 0)
    if n < 0:
        return _MALFORMED
    if placed == _SUCCESS:
        added = _read_order(reader, data, new_at, new_end, request_id, received_ns, out, n)
        return n + added if added >= 0 else _MALFORMED
    kind = _REJECTED
    if placed == _FAILURE:
        past, kind, reason, code = _read_refusal(reader.errors, data, new_at, new_end)
        if past < 0:
            return _MALFORMED
    return _tell(request_id, 0, kind, reason, code, received_ns, out, n)
