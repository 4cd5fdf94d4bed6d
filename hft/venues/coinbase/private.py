"""Coinbase private: reads the `user` channel and the answers to order requests into VENUE_EVENT rows.

    {"type":"received","time":..,"product_id":"BTC-USD","sequence":10,"order_id":"d50e..","size":"1.34","price":"502.1","side":"buy",
     "order_type":"limit","client_oid":"..","user_id":"..","profile_id":".."}
    {"type":"match","trade_id":10,"maker_order_id":"..","taker_order_id":"..","size":"5.23512","price":"400.23","side":"sell",
     "taker_user_id":"..","user_id":"..","taker_profile_id":"..","profile_id":"..","taker_fee_rate":"0.005",..}
    {"type":"done","order_id":"..","reason":"canceled","cancel_reason":"101:Time In Force","remaining_size":"0.5","side":"buy",..}

Only `received` says our client id. So the codec remembers which UUIDs are our orders, and how big they are: later messages then say
our id, and `done` what was filled in all, from which a lost match shows; nothing else would, since messages of `user` have no
sequence of their own. Of an order that is not remembered the venue's key is given.

An answer of 200 to a new order says that the API took it, not the engine: it is no ACK while the status is `pending`, but its UUID is
remembered. An answer of 200 to a cancel says so little that it makes no event; `done` does.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import IntentKind, Liquidity, OrderState, Side, VenueEventKind, VenueEventSource, VenueReason
from hft.units import E8, as_int, mul_div_half_even, mul_saturated
from hft.venues.coinbase import private_tables as t
from hft.venues.coinbase.errors import end_of_cancel_reason, is_refusal, reason_of_text, reason_of_unknown
from hft.venues.coinbase.limits import learn
from hft.venues.coinbase.orders import PREFIX, CoinbaseCodec
from hft.venues.coinbase.remembered import ENDED, LOTS, UNKNOWN_LOTS, order_of, place_of, remember
from hft.venues.coinbase.scan import read_time
from hft.venues.coinbase.uuids import read_uuid, venue_key
from hft.venues.fields import begin_event, read_ticks, text_end
from hft.venues.json_bytes import (
    JSON_QUOTE,
    OPEN_BRACKET,
    byte_at,
    is_mark,
    is_null,
    read_decimal,
    read_integer,
    skip_space,
    skip_string,
    skip_value,
)
from hft.venues.members import UNKNOWN, note_members, read_word
from hft.venues.outcomes import Scanned
from hft.venues.symbols import find_symbol
from shm.jit import njit

#: Rows that one message may make; `out` has room for them.
EVENTS_MAX = 2

_IGNORED, _COLD, _MALFORMED = int(Scanned.IGNORED), int(Scanned.COLD), int(Scanned.MALFORMED)
_ACK, _TRADE, _REJECTED = int(VenueEventKind.ACK), int(VenueEventKind.TRADE), int(VenueEventKind.REJECTED)
_CANCEL_REJECTED, _STATUS = int(VenueEventKind.CANCEL_REJECTED), int(VenueEventKind.STATUS)
_UNKNOWN_KIND, _THROTTLED = int(VenueEventKind.UNKNOWN), int(VenueEventKind.THROTTLED)
_REPLY, _STREAM = int(VenueEventSource.REPLY), int(VenueEventSource.STREAM)
_MAKER, _TAKER = int(Liquidity.MAKER), int(Liquidity.TAKER)
_STATE_FILLED = int(OrderState.FILLED)
_RATE_LIMIT, _UNKNOWN_ORDER = int(VenueReason.RATE_LIMIT), int(VenueReason.UNKNOWN_ORDER)
_UNKNOWN_SYMBOL = int(VenueReason.UNKNOWN_SYMBOL)
_NEW = int(IntentKind.NEW)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)


@njit
def scan_private(codec: CoinbaseCodec, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read one message of the `user` channel: how many VENUE_EVENT rows are in `out`, or a member of Scanned."""
    places = codec.places
    at = skip_space(data, start, end)
    past = note_members(codec.keys, data, at, end, places)
    if past < 0 or skip_space(data, past, end) != end or places[t.TYPE] < 0:
        return _MALFORMED
    kind, past = read_word(codec.kinds, data, places[t.TYPE], end)
    if past < 0:
        return _MALFORMED
    if kind == t.SUBSCRIPTIONS or kind == t.ERROR or kind == t.CHANGE:
        return _COLD
    if kind != t.RECEIVED and kind != t.OPEN and kind != t.MATCH and kind != t.DONE:
        return _IGNORED
    row = _read_row(codec, data, places[t.PRODUCT], end)
    if row < 0:
        return _MALFORMED if row < UNKNOWN else _IGNORED
    begin_event(out, 0, 0, _STREAM, received_ns)
    out[0]["instrument"] = row
    if places[t.TIME] < 0 or places[t.SIDE] < 0:
        return _MALFORMED
    out[0]["exchange_ns"] = read_time(data, places[t.TIME], end)
    number, past = read_word(codec.sides, data, places[t.SIDE], end)
    if number < 0 or out[0]["exchange_ns"] < 0:
        return _MALFORMED
    out[0]["side"] = _BUY if number == 0 else _SELL
    if kind == t.MATCH:
        return _read_match(codec, row, data, end, received_ns, out)
    if places[t.ORDER_ID] < 0:
        return _MALFORMED
    high, low, past = read_uuid(data, places[t.ORDER_ID], end)
    if past < 0:
        return _MALFORMED
    out[0]["venue_key"] = venue_key(high, low)
    if kind == t.RECEIVED:
        return _read_received(codec, row, high, low, data, end, out)
    out[0]["order_id"] = order_of(codec.remembered, high, low)
    if kind == t.OPEN:
        out[0]["kind"] = _ACK
        return 1
    return _read_done(codec, row, high, low, data, end, out)


@njit
def _read_row(codec: CoinbaseCodec, data: NDArray[Any], at: int, end: int) -> int:
    """Instrument row of a product, -1 if it is none of ours, -2 if there is none."""
    if at < 0:
        return UNKNOWN - 1
    past = text_end(data, at, end)
    return find_symbol(codec.symbols, data, at + 1, past) if past >= 0 else UNKNOWN - 1


@njit
def _read_size(codec: CoinbaseCodec, row: int, data: NDArray[Any], at: int, end: int) -> int:
    """A size in whole lots, or -1: absent, no decimal, or between two lots."""
    if at < 0:
        return -1
    scale = codec.instruments[row]
    units, past, rest = read_decimal(data, at, end, scale["qty_decimals"])
    if past < 0 or rest != 0:
        return -1
    lots = units // scale["lot_units"]
    return lots if lots * scale["lot_units"] == units else -1


@njit
def read_client_id(codec: CoinbaseCodec, data: NDArray[Any], at: int, end: int) -> int:
    """Our order id in a `client_oid`; 0 if there is none or it is not of this installation."""
    if at < 0:
        return 0
    high, low, past = read_uuid(data, at, end)
    return low if past >= 0 and high == codec.words[PREFIX] and low > 0 else 0


@njit
def _read_received(codec: CoinbaseCodec, row: int, high: int, low: int, data: NDArray[Any], end: int, out: NDArray[Any]) -> int:
    """The engine has the order: ACK, with its price and size."""
    places = codec.places
    out[0]["kind"] = _ACK
    order_id = read_client_id(codec, data, places[t.CLIENT_OID], end)
    out[0]["order_id"] = order_id
    lots = _read_size(codec, row, data, places[t.SIZE], end)
    if order_id > 0:
        remember(codec.remembered, high, low, order_id, lots)
    out[0]["qty_lots"] = max(lots, 0)
    if places[t.PRICE] >= 0 and not is_null(data, places[t.PRICE], end):
        ticks, past = read_ticks(data, places[t.PRICE], end, codec.instruments[row])
        if past < 0:
            return _MALFORMED
        out[0]["price_ticks"] = ticks
    return 1


@njit
def _read_match(codec: CoinbaseCodec, row: int, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]) -> int:
    """A fill of ours; two if both orders are. The message's side is the maker's."""
    places = codec.places
    if places[t.MAKER_ID] < 0 or places[t.TAKER_ID] < 0 or places[t.TRADE_ID] < 0 or places[t.PRICE] < 0:
        return _MALFORMED
    trade_id, past = read_integer(data, places[t.TRADE_ID], end)
    ticks, price_past = read_ticks(data, places[t.PRICE], end, codec.instruments[row])
    lots = _read_size(codec, row, data, places[t.SIZE], end)
    maker_high, maker_low, maker_past = read_uuid(data, places[t.MAKER_ID], end)
    taker_high, taker_low, taker_past = read_uuid(data, places[t.TAKER_ID], end)
    if past < 0 or price_past < 0 or ticks <= 0 or lots <= 0 or maker_past < 0 or taker_past < 0:
        return _MALFORMED
    is_maker = places[t.MAKER_RATE] >= 0 or places[t.MAKER_PROFILE] >= 0 or places[t.MAKER_USER] >= 0
    is_taker = places[t.TAKER_RATE] >= 0 or places[t.TAKER_PROFILE] >= 0 or places[t.TAKER_USER] >= 0
    if not is_maker and not is_taker:
        # Nothing says whose it is but what is remembered.
        is_maker = order_of(codec.remembered, maker_high, maker_low) > 0
        is_taker = order_of(codec.remembered, taker_high, taker_low) > 0
        if not is_maker and not is_taker:
            return _COLD
    maker_side, exchange_ns = as_int(out[0]["side"]), as_int(out[0]["exchange_ns"])
    n = 0
    for maker in range(2):
        if (maker == 1 and not is_maker) or (maker == 0 and not is_taker):
            continue
        begin_event(out, n, 0, _STREAM, received_ns)
        out[n]["instrument"] = row
        high, low = (maker_high, maker_low) if maker == 1 else (taker_high, taker_low)
        fee_e8 = _fee_e8(codec, row, maker == 1, ticks, lots, data, places[t.MAKER_RATE if maker == 1 else t.TAKER_RATE], end)
        if fee_e8 < 0 and places[t.MAKER_RATE if maker == 1 else t.TAKER_RATE] >= 0:
            return _MALFORMED
        event = out[n]
        event["kind"] = _TRADE
        event["order_id"] = order_of(codec.remembered, high, low)
        event["venue_key"] = venue_key(high, low)
        event["trade_id"] = trade_id
        event["last_price_ticks"] = ticks
        event["last_lots"] = lots
        event["fee_e8"] = fee_e8
        event["exchange_ns"] = exchange_ns
        event["side"] = maker_side if maker == 1 else -maker_side
        event["liquidity"] = _MAKER if maker == 1 else _TAKER
        n += 1
    return n


@njit
def _fee_e8(codec: CoinbaseCodec, row: int, maker: bool, ticks: int, lots: int, data: NDArray[Any], at: int, end: int) -> int:
    """Fee in 1e-8 quote, half-even: by the rate in the message at `at`, or else the instrument's; -1 for a rate that is no decimal.

    The venue books fees to 16 decimals; GET /fills has them as booked.
    """
    scale = codec.instruments[row]
    rate_e8 = as_int(scale["maker_fee_e8"] if maker else scale["taker_fee_e8"])
    if at >= 0:
        rate_e8, past, rest = read_decimal(data, at, end, 8)
        if past < 0 or rest != 0:
            return -1
    ticklots = mul_saturated(mul_saturated(ticks, lots), scale["ticklot_num"])
    return mul_div_half_even(ticklots, rate_e8, mul_saturated(scale["ticklot_den"], E8))[0]


@njit
def _read_done(codec: CoinbaseCodec, row: int, high: int, low: int, data: NDArray[Any], end: int, out: NDArray[Any]) -> int:
    """The order has ended, and how much of it was filled, if its size is remembered."""
    places = codec.places
    if places[t.REASON] < 0:
        return _MALFORMED
    reason, _ = read_word(codec.kinds, data, places[t.REASON], end)
    if reason != t.FILLED_WORD and reason != t.CANCELED_WORD:
        return _MALFORMED
    event, remembered = out[0], codec.remembered
    place = place_of(remembered, high, low)
    size = as_int(remembered[place, LOTS]) if place >= 0 else as_int(UNKNOWN_LOTS)
    if place >= 0:
        remembered[place, LOTS] = ENDED
    remaining = _read_size(codec, row, data, places[t.REMAINING], end)
    if size >= 0 and 0 <= remaining <= size:
        event["qty_lots"] = size
        event["cum_lots"] = size - remaining
    if reason == t.FILLED_WORD:
        # Every fill came as a match before; if not, this says so.
        event["kind"] = _STATUS
        event["state"] = _STATE_FILLED
        return 1
    number = _read_cancel_number(codec, data, end)
    event["kind"], event["reason"] = end_of_cancel_reason(number)
    event["venue_code"] = number
    return 1


@njit
def _read_cancel_number(codec: CoinbaseCodec, data: NDArray[Any], end: int) -> int:
    """The number that `"cancel_reason":"101:Time In Force"` begins with; 0 without one."""
    at = codec.places[t.CANCEL_REASON]
    if at < 0 or byte_at(data, at) != JSON_QUOTE:
        return 0
    value = 0
    for i in range(at + 1, min(at + 4, end)):
        digit = byte_at(data, i) ^ 48
        if digit > 9:
            return 0
        value = value * 10 + digit
    return value


@njit
def scan_response(
    codec: CoinbaseCodec,
    kind: int,
    order_id: int,
    status: int,
    data: NDArray[Any],
    start: int,
    end: int,
    received_ns: int,
    out: NDArray[Any],
) -> int:
    """Read the answer to the request of IntentKind `kind` with this id; `data[start:end]` is its body, status 0 says that none came.

    How many VENUE_EVENT rows are in `out`. Only documented refusals prove that a request did nothing.
    """
    learn(codec.limits, status, received_ns)
    begin_event(out, 0, 0, _REPLY, received_ns)
    event, places = out[0], codec.places
    event["request_id"] = order_id
    event["order_id"] = order_id if kind == _NEW else 0
    event["venue_code"] = status
    at = skip_space(data, start, end)
    past = note_members(codec.keys, data, at, end, places)
    is_object = past >= 0 and skip_space(data, past, end) == end
    if status == 200:
        if kind == _NEW:
            return _read_taken(codec, order_id, is_object, data, end, out)
        # The id of the order that is being canceled, or a list of them.
        past = skip_value(data, at, end) if is_mark(data, at, end, OPEN_BRACKET) else skip_string(data, at, end)
        if is_object or (past >= 0 and skip_space(data, past, end) == end):
            return _IGNORED
        return _unknown(event, status)
    if status == 429:
        event["kind"] = _THROTTLED
        event["reason"] = _RATE_LIMIT
        return 1
    if not is_refusal(status) or not is_object or places[t.MESSAGE] < 0 or text_end(data, places[t.MESSAGE], end) < 0:
        return _unknown(event, status)
    reason = reason_of_text(data, places[t.MESSAGE] + 1, text_end(data, places[t.MESSAGE], end))
    if status == 404:
        reason = _UNKNOWN_SYMBOL if kind == _NEW else _UNKNOWN_ORDER
    event["kind"] = _REJECTED if kind == _NEW else _CANCEL_REJECTED
    event["reason"] = reason
    return 1


@njit
def _unknown(event: Any, status: int) -> int:
    event["kind"] = _UNKNOWN_KIND
    event["reason"] = reason_of_unknown(status)
    return 1


@njit
def _read_taken(codec: CoinbaseCodec, order_id: int, is_object: bool, data: NDArray[Any], end: int, out: NDArray[Any]) -> int:
    """The API took the order: remember its UUID; ACK once it says that the engine has it, REJECTED if the engine refused it."""
    places, event = codec.places, out[0]
    if not is_object or places[t.ID] < 0 or places[t.STATUS] < 0:
        return _unknown(event, 200)
    high, low, past = read_uuid(data, places[t.ID], end)
    word, status_past = read_word(codec.kinds, data, places[t.STATUS], end)
    row = _read_row(codec, data, places[t.PRODUCT], end)
    if past < 0 or status_past < 0:
        return _unknown(event, 200)
    event["venue_key"] = venue_key(high, low)
    event["venue_code"] = 0
    event["instrument"] = max(row, UNKNOWN)
    if order_of(codec.remembered, high, low) == 0:
        remember(codec.remembered, high, low, order_id, _read_size(codec, row, data, places[t.SIZE], end) if row >= 0 else -1)
    if word == t.REJECTED:
        event["kind"] = _REJECTED
        at = places[t.REJECT_REASON]
        event["reason"] = reason_of_text(data, at + 1, text_end(data, at, end)) if at >= 0 and text_end(data, at, end) >= 0 else 0
        return 1
    if word == t.OPEN or word == t.ACTIVE or word == t.RECEIVED or word == t.DONE:
        event["kind"] = _ACK
        return 1
    return _IGNORED
