"""Binance private scanner: turns replies to order requests and account events into VENUE_EVENT rows, in place.

    {"id":"000001000000002a","status":200,"result":{...},"rateLimits":[...]}
    {"id":"000001000000002a","status":400,"error":{"code":-2010,"msg":"..."},"rateLimits":[...]}
    {"subscriptionId":0,"event":{"e":"executionReport",...}}

A request about an order has the order's id as 16 hex digits for its own; whatever has another id is for cold code. Everything that
is read is strict: a message that is no valid JSON, or not as documented where it is read, is MALFORMED as a whole.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import VenueEventKind, VenueEventSource, VenueReason
from hft.venues.binance.errors import Errors, classify
from hft.venues.binance.limits import note_answer
from hft.venues.binance.orders import ASKED_ID, ASKED_REF, BinanceCodec, asked_place
from hft.venues.binance.private_fields import (
    BAD,
    read_client,
    read_key,
    read_price,
    read_qty,
    read_row,
    read_side,
    read_signed,
    read_when,
    read_word,
)
from hft.venues.binance.private_limits import hold_back, learn_limits, read_retry
from hft.venues.binance.private_report import note_key, read_report
from hft.venues.binance.private_words import (
    AMENDED,
    CANCEL_RESPONSE,
    CANCEL_RESULT,
    CLIENT_ID,
    CODE,
    DATA,
    ERROR,
    EVENT,
    EXECUTED_QTY,
    EXECUTION_REPORT,
    EXPIRED_IN_MATCH,
    FAILURE,
    ID,
    L_ENVELOPE,
    L_EVENT,
    L_OUTCOME,
    L_REPORT,
    L_RESULT,
    L_STATUS,
    MSG,
    NEW_RESPONSE,
    NEW_RESULT,
    ORDER_ID,
    ORDER_STATUS,
    ORIG_CLIENT_ID,
    ORIG_QTY,
    P_MESSAGE,
    P_PART,
    P_REPORT,
    P_RESULT,
    PRICE,
    QTY,
    R_EVENT,
    RATE_LIMITS,
    RESULT,
    SERVER_SHUTDOWN,
    SIDE,
    STATUS,
    STATUS_KINDS,
    STREAM_TERMINATED,
    SUCCESS,
    SYMBOL,
    TRANSACT_TIME,
    PrivateWords,
    Reader,
    list_of,
)
from hft.venues.fields import begin_event, text_end
from hft.venues.json_bytes import OPEN_BRACE, OPEN_BRACKET, is_mark, is_null, read_integer, skip_space
from hft.venues.members import UNKNOWN, first_element, next_element, note_members
from hft.venues.outcomes import Scanned
from hft.venues.text import read_hex
from shm.jit import njit

_MALFORMED, _IGNORED, _COLD = int(Scanned.MALFORMED), int(Scanned.IGNORED), int(Scanned.COLD)
_REPLY = int(VenueEventSource.REPLY)
_ACK, _CANCELED, _REJECTED = int(VenueEventKind.ACK), int(VenueEventKind.CANCELED), int(VenueEventKind.REJECTED)
_CANCEL_REJECTED, _AMENDED = int(VenueEventKind.CANCEL_REJECTED), int(VenueEventKind.AMENDED)
_UNKNOWN, _THROTTLED = int(VenueEventKind.UNKNOWN), int(VenueEventKind.THROTTLED)
_UNKNOWN_ORDER, _SELF_TRADE = int(VenueReason.UNKNOWN_ORDER), int(VenueReason.SELF_TRADE)
#: What the event's field holds.
_CODE_MAX = (1 << 31) - 1


@njit
def scan_private(codec: BinanceCodec, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read one message, `data[start:end]`: how many VENUE_EVENT rows are in `out`, or a member of Scanned."""
    reader = Reader(codec.instruments, codec.symbols, codec.private, codec.asked, codec.limits, codec.errors)
    words = reader.words
    at = words.places[P_MESSAGE]
    past = note_members(list_of(words, L_ENVELOPE), data, skip_space(data, start, end), end, at)
    if past < 0 or skip_space(data, past, end) != end:
        return _MALFORMED
    if at[EVENT] >= 0:
        return _read_event(reader, data, at[EVENT], end, received_ns, out)
    if at[STATUS] < 0 or at[ID] < 0:
        return _COLD
    status, past = read_integer(data, at[STATUS], end)
    if past < 0:
        return _MALFORMED
    id_past = text_end(data, at[ID], end)
    request_id = read_hex(data, at[ID] + 1, id_past) if id_past >= 0 else 0
    if request_id > 0:
        note_answer(reader.limits, reader.asked[asked_place(request_id), ASKED_ID] == request_id)
    if at[RATE_LIMITS] >= 0 and not learn_limits(reader.words, reader.limits, data, at[RATE_LIMITS], end, received_ns):
        return _MALFORMED
    if request_id <= 0:
        return _COLD
    if status == 200:
        return _read_result(reader, data, at[RESULT], end, request_id, received_ns, out)
    return _read_error(reader, data, at[ERROR], end, status, request_id, received_ns, out)


@njit
def _read_event(reader: Reader, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    words = reader.words
    at = words.places[P_REPORT]
    if note_members(list_of(words, L_REPORT), data, start, end, at) < 0:
        return _MALFORMED
    event = read_word(words, L_EVENT, data, at[R_EVENT], end)
    if event == EXECUTION_REPORT:
        return read_report(reader, data, at, end, received_ns, out)
    if event == SERVER_SHUTDOWN or event == STREAM_TERMINATED:
        return _COLD
    return _IGNORED if event == UNKNOWN else _MALFORMED


@njit
def _read_result(reader: Reader, data: NDArray[Any], start: int, end: int, request_id: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read what a request achieved: one order, a list of canceled ones, or a cancel and a new order."""
    at = reader.words.places[P_RESULT]
    if start < 0:
        return _MALFORMED
    if is_mark(data, start, end, OPEN_BRACKET):
        return _read_canceled(reader, data, start, end, request_id, received_ns, out)
    if note_members(list_of(reader.words, L_RESULT), data, start, end, at) < 0:
        return _MALFORMED
    if at[CANCEL_RESULT] >= 0:
        return _read_replaced(reader, data, at, end, request_id, received_ns, out)
    if at[AMENDED] >= 0:
        time_ns, amended = read_when(data, at[TRANSACT_TIME], end), at[AMENDED]
        n = _read_order(reader, data, amended, end, request_id, received_ns, out, 0)
        if n < 0 or time_ns == BAD:
            return _MALFORMED
        out[0]["kind"] = _AMENDED
        out[0]["exchange_ns"] = time_ns
        return n
    return _read_order(reader, data, start, end, request_id, received_ns, out, 0)


@njit
def _read_canceled(reader: Reader, data: NDArray[Any], start: int, end: int, request_id: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read a list of canceled orders, as many as there is room for: the stream tells of each besides."""
    n = 0
    at, more = first_element(data, start, end)
    while more and n < len(out):
        places = reader.words.places[P_PART]
        past = note_members(list_of(reader.words, L_RESULT), data, at, end, places)
        if past < 0:
            return _MALFORMED
        # An order list has no order of its own here, and is none of ours.
        if places[ORDER_ID] >= 0:
            added = _read_order(reader, data, at, end, request_id, received_ns, out, n)
            if added < 0:
                return _MALFORMED
            n += added
        at, more = next_element(data, past, end)
    return n if at >= 0 else _MALFORMED


@njit
def _read_order(
    reader: Reader, data: NDArray[Any], start: int, end: int, request_id: int, received_ns: int, out: NDArray[Any], n: int
) -> int:
    """Read one order's reply into `out[n]`: 1, 0 if it is of another instrument, or MALFORMED."""
    words = reader.words
    at = words.places[P_PART]
    if n >= len(out) or start < 0 or note_members(list_of(words, L_RESULT), data, start, end, at) < 0:
        return _MALFORMED
    instrument = read_row(reader.symbols, data, at[SYMBOL], end)
    if instrument == BAD:
        return _MALFORMED
    if instrument == UNKNOWN:
        return 0
    canceled = at[ORIG_CLIENT_ID] >= 0
    client = read_client(data, at[ORIG_CLIENT_ID] if canceled else at[CLIENT_ID], end)
    key, time_ns = read_key(data, at[ORDER_ID], end), read_when(data, at[TRANSACT_TIME], end)
    price = read_price(reader.instruments, instrument, data, at[PRICE], end)
    qty = read_qty(reader.instruments, instrument, data, at[ORIG_QTY] if at[ORIG_QTY] >= 0 else at[QTY], end)
    cum, side = read_qty(reader.instruments, instrument, data, at[EXECUTED_QTY], end), read_side(reader.words, data, at[SIDE], end)
    if client == BAD or key < 0 or time_ns == BAD or price == BAD or qty == BAD or cum == BAD or side == BAD:
        return _MALFORMED
    kind, reason = _CANCELED if canceled else _ACK, 0
    if at[ORDER_STATUS] >= 0:
        status = read_word(words, L_STATUS, data, at[ORDER_STATUS], end)
        if status < 0:
            return _MALFORMED
        kind, reason = STATUS_KINDS[status], _SELF_TRADE if status == EXPIRED_IN_MATCH else 0
    begin_event(out, n, kind, _REPLY, received_ns)
    row = out[n]
    row["order_id"] = client
    row["request_id"] = request_id
    row["venue_key"] = key
    row["price_ticks"] = price
    row["qty_lots"] = qty
    row["cum_lots"] = cum if at[EXECUTED_QTY] >= 0 else -1
    row["exchange_ns"] = time_ns
    row["instrument"] = instrument
    row["side"] = side
    row["reason"] = reason
    note_key(reader.asked, client, key)
    return 1


@njit
def _read_replaced(
    reader: Reader, data: NDArray[Any], at: NDArray[Any], end: int, request_id: int, received_ns: int, out: NDArray[Any]
) -> int:
    """Read how a cancelReplace went, in a result or in an error's data: the cancel first, then the new order."""
    words = reader.words
    canceled, placed = read_word(words, L_OUTCOME, data, at[CANCEL_RESULT], end), read_word(words, L_OUTCOME, data, at[NEW_RESULT], end)
    cancel_at, new_at = at[CANCEL_RESPONSE], at[NEW_RESPONSE]
    if canceled < 0 or placed < 0:
        return _MALFORMED
    n = 0
    cancel_reason, cancel_code = 0, 0
    if canceled == SUCCESS:
        n = _read_order(reader, data, cancel_at, end, request_id, received_ns, out, 0)
    elif canceled == FAILURE:
        good, _, cancel_reason, cancel_code = _read_refusal(reader.words, reader.errors, data, cancel_at, end)
        if not good:
            return _MALFORMED
        n = _tell_uncanceled(reader.asked, request_id, cancel_reason, cancel_code, received_ns, out, 0)
    if n < 0:
        return _MALFORMED
    if placed == SUCCESS:
        added = _read_order(reader, data, new_at, end, request_id, received_ns, out, n)
        return n + added if added >= 0 else _MALFORMED
    kind, reason, code = _REJECTED, cancel_reason, cancel_code
    if placed == FAILURE:
        good, kind, reason, code = _read_refusal(reader.words, reader.errors, data, new_at, end)
        if not good:
            return _MALFORMED
    _tell_refused(request_id, kind, reason, code, received_ns, out, n)
    return n + 1


@njit
def _read_refusal(words: PrivateWords, errors: Errors, data: NDArray[Any], start: int, end: int) -> tuple[bool, int, int, int]:
    """Read `{"code":...,"msg":"..."}`: (whether it is that, VenueEventKind, VenueReason, code)."""
    at = words.places[P_PART]
    if start < 0 or note_members(list_of(words, L_RESULT), data, start, end, at) < 0:
        return False, 0, 0, 0
    code, good = read_signed(data, at[CODE], end)
    if not good or abs(code) > _CODE_MAX:
        return False, 0, 0, 0
    past = text_end(data, at[MSG], end) if at[MSG] >= 0 else -1
    # A message with escapes is none that we know.
    first = at[MSG] + 1 if past >= 0 else 0
    kind, reason = classify(errors, code, data, first, max(past, 0))
    return True, kind, reason, code


@njit
def _tell_refused(request_id: int, kind: int, reason: int, code: int, received_ns: int, out: NDArray[Any], n: int) -> None:
    begin_event(out, n, kind, _REPLY, received_ns)
    out[n]["request_id"] = request_id
    out[n]["reason"] = reason
    out[n]["venue_code"] = code


@njit
def _tell_uncanceled(all_asked: NDArray[Any], request_id: int, reason: int, code: int, received_ns: int, out: NDArray[Any], n: int) -> int:
    """Tell that the order which a REPLACE meant was not canceled, if that order is still remembered; the number of events."""
    asked = all_asked[asked_place(request_id)]
    if asked[ASKED_ID] != request_id or asked[ASKED_REF] == 0:
        return n
    _tell_refused(request_id, _CANCEL_REJECTED, reason, code, received_ns, out, n)
    out[n]["order_id"] = asked[ASKED_REF]
    return n + 1


@njit
def _read_error(
    reader: Reader,
    data: NDArray[Any],
    start: int,
    end: int,
    status: int,
    request_id: int,
    received_ns: int,
    out: NDArray[Any],
) -> int:
    """Read why a request failed, and what that proves."""
    good, kind, reason, code = _read_refusal(reader.words, reader.errors, data, start, end)
    if not good:
        return _MALFORMED
    retry_ns = 0
    data_at = reader.words.places[P_PART, DATA]
    if data_at >= 0 and is_mark(data, data_at, end, OPEN_BRACE):
        at = reader.words.places[P_RESULT]
        if note_members(list_of(reader.words, L_RESULT), data, data_at, end, at) < 0:
            return _MALFORMED
        if at[CANCEL_RESULT] >= 0:
            return _read_replaced(reader, data, at, end, request_id, received_ns, out)
        retry_ns = read_retry(reader.words, reader.limits, data, at, end, status, code, received_ns)
        if retry_ns < 0:
            return _MALFORMED
    elif data_at >= 0 and not is_null(data, data_at, end):
        return _MALFORMED
    if status >= 500:
        kind = _UNKNOWN
    elif status == 429 or status == 418:
        kind = _THROTTLED
        if data_at < 0:
            retry_ns = hold_back(reader.limits, status, code, received_ns)
    n = 0
    if kind == _CANCEL_REJECTED and reader.asked[asked_place(request_id), ASKED_ID] == request_id:
        # A change in place that found no order: the order it was to become never lived.
        n = _tell_uncanceled(reader.asked, request_id, reason, code, received_ns, out, 0)
        kind = _REJECTED
    _tell_refused(request_id, kind, reason, code, received_ns, out, n)
    out[n]["retry_after_ns"] = retry_ns
    return n + 1
