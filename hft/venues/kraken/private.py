"""Kraken private: reads the replies to order requests and the `executions` channel into VENUE_EVENT rows.

    {"method":"add_order","result":{"order_id":"OUF4EM-FRGI2-MQMWZD","cl_ord_id":"<16 hex>"},"success":true,"req_id":123,..}
    {"method":"amend_order","error":"EOrder:Unknown order","success":false,"req_id":124,..}
    {"channel":"executions","type":"update","data":[{"order_id":"..","cl_ord_id":"..","exec_id":"TZX2WP-..","exec_type":"trade",
     "symbol":"BTC/USD","side":"buy","last_qty":0.5,"last_price":61837.6,"liquidity_ind":"m","order_status":"partially_filled",
     "fees":[{"asset":"USD","qty":1.23}],"timestamp":".."}],"sequence":7}

What becomes of them:

    add_order       taken: ACK; refused: REJECTED, THROTTLED or UNKNOWN, by what the error proves
    amend_order     taken: AMENDED, `order_id` the first wire id, `request_id` the amendment's own, terms as it asked; refused: REJECTED of
                    the amendment's order, and for an unknown order CANCEL_REJECTED of the one that was to change
    cancel_order    taken: nothing, for `canceled` says so with what was filled; refused: as the error says
    pending_new     nothing: it was validated, and is not live yet
    new             ACK
    trade           TRADE: a fill by its exec_id, also when it completes the order, which only `filled` says
    filled          STATUS FILLED with what was filled in all: no fill of its own, but it shows one that was lost
    canceled        CANCELED, or EXPIRED for what found no liquidity
    expired         EXPIRED
    amended         AMENDED; `request_id` is ours if the newest amendment of the order asked for these very terms, else 0
    restated, status, iceberg_refill        STATUS

Snapshots of `executions` are left to cold code. A message missing in a sequence is counted in `LOST_MESSAGES`.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import FeeAsset, Liquidity, OrderState, Side, VenueEventKind, VenueEventSource
from hft.units import as_int
from hft.venues.fields import begin_event, read_rfc3339, text_end
from hft.venues.json_bytes import MINUS, byte_at, read_integer, read_number, skip_space, to_decimals
from hft.venues.kraken import private_tables as t
from hft.venues.kraken.errors import classify
from hft.venues.kraken.ids import id_bits
from hft.venues.kraken.limits import COUNTER, FELL_NS
from hft.venues.kraken.orders import KrakenCodec
from hft.venues.kraken.private_fields import client_id_of, fee_e8_of, lots_of, ticks_of, word_of
from hft.venues.kraken.private_reply import read_reply
from hft.venues.kraken.private_tables import PrivateTables
from hft.venues.members import UNKNOWN, first_element, next_element, note_members
from hft.venues.outcomes import Scanned
from hft.venues.symbols import find_symbol
from shm.jit import njit

_IGNORED, _COLD, _MALFORMED = int(Scanned.IGNORED), int(Scanned.COLD), int(Scanned.MALFORMED)
_ACK, _TRADE, _CANCELED = int(VenueEventKind.ACK), int(VenueEventKind.TRADE), int(VenueEventKind.CANCELED)
_EXPIRED, _STATUS, _AMENDED = int(VenueEventKind.EXPIRED), int(VenueEventKind.STATUS), int(VenueEventKind.AMENDED)
_STREAM = int(VenueEventSource.STREAM)
_STATE_NEW, _STATE_FILLED = int(OrderState.NEW), int(OrderState.FILLED)
_STATE_PARTIALLY_FILLED = int(OrderState.PARTIALLY_FILLED)
_MAKER, _TAKER, _FEE_OTHER = int(Liquidity.MAKER), int(Liquidity.TAKER), int(FeeAsset.OTHER)
_BUY, _SELL = int(Side.BUY), int(Side.SELL)
_TOP, _ROW, _FEE = 0, 1, 2
#: Decimals of the units in which `limits.py` counts.
_UNIT_DECIMALS = 9


@njit
def scan_private(codec: KrakenCodec, data: NDArray[Any], start: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read one message of the private connection: how many VENUE_EVENT rows are in `out`, or a member of Scanned."""
    tables = codec.private
    places = tables.places[_TOP]
    past = note_members(tables.keys, data, skip_space(data, start, end), end, places)
    if past < 0 or skip_space(data, past, end) != end:
        return _MALFORMED
    if places[t.METHOD] >= 0:
        method, past = word_of(tables.values, data, places[t.METHOD], end)
        if past < 0:
            return _MALFORMED
        if method < t.ADD_ORDER:
            return _COLD
        return read_reply(codec, method, data, end, received_ns, out)
    if places[t.CHANNEL] < 0:
        return _COLD
    channel, past = word_of(tables.values, data, places[t.CHANNEL], end)
    if past < 0:
        return _MALFORMED
    if channel == t.HEARTBEAT:
        return _IGNORED
    if channel != t.EXECUTIONS and channel != t.BALANCES:
        return _COLD
    what = UNKNOWN
    if places[t.TYPE] >= 0:
        what, _ = word_of(tables.values, data, places[t.TYPE], end)
    if not _note_sequence(tables, channel, data, end) or places[t.DATA] < 0 or (what != t.SNAPSHOT and what != t.UPDATE):
        return _MALFORMED
    if channel == t.BALANCES:
        return _IGNORED
    return _COLD if what == t.SNAPSHOT else _read_executions(codec, data, places[t.DATA], end, received_ns, out)


@njit
def _note_sequence(tables: PrivateTables, channel: int, data: NDArray[Any], end: int) -> bool:
    """Count the messages missing before this one; False if its number is none. A venue that gives none has none missing."""
    at = tables.places[_TOP, t.SEQUENCE]
    if at < 0:
        return True
    number, past = read_integer(data, at, end)
    cell = t.EXECUTIONS_SEQUENCE if channel == t.EXECUTIONS else t.BALANCES_SEQUENCE
    if past < 0:
        return False
    if tables.words[cell] != 0 and number != tables.words[cell] + 1:
        tables.words[t.LOST_MESSAGES] += 1
    tables.words[cell] = number
    return True


@njit
def _read_executions(codec: KrakenCodec, data: NDArray[Any], at: int, end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read an update; a row makes at most one event. More rows than `out` holds are left to cold code."""
    count = 0
    at, more = first_element(data, at, end)
    while more:
        if count >= len(out):
            return _COLD
        past = note_members(codec.private.keys, data, at, end, codec.private.places[_ROW])
        made = _read_execution(codec, data, end, received_ns, out, count) if past >= 0 else _MALFORMED
        if made < 0:
            return _MALFORMED
        count += made
        at, more = next_element(data, past, end)
    return count if at >= 0 else _MALFORMED


@njit
def _read_execution(codec: KrakenCodec, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any], i: int) -> int:
    """Read one row to `out[i]`: 1, 0 if it says nothing to us, or MALFORMED."""
    tables = codec.private
    row = tables.places[_ROW]
    if row[t.EXEC_TYPE] < 0 or row[t.ORDER_ID] < 0 or row[t.TIMESTAMP] < 0:
        return _MALFORMED
    exec_type, past = word_of(tables.values, data, row[t.EXEC_TYPE], end)
    key_end = text_end(data, row[t.ORDER_ID], end)
    exchange_ns, time_end = read_rfc3339(data, row[t.TIMESTAMP], end)
    if past < 0 or key_end < 0 or time_end < 0:
        return _MALFORMED
    begin_event(out, i, _STATUS, _STREAM, received_ns)
    event = out[i]
    event["venue_key"] = id_bits(data, row[t.ORDER_ID] + 1, key_end)
    event["exchange_ns"] = exchange_ns
    order_id = client_id_of(data, row[t.CLIENT_ID], end) if row[t.CLIENT_ID] >= 0 else 0
    event["order_id"] = order_id
    instrument = t.row_of(tables.living, order_id)
    if row[t.SYMBOL] >= 0:
        past = text_end(data, row[t.SYMBOL], end)
        instrument = find_symbol(codec.symbols, data, row[t.SYMBOL] + 1, past) if past >= 0 else -1
        if instrument < 0:
            return 0
        if order_id != 0 and (exec_type == t.PENDING_NEW or exec_type == t.NEW):
            t.remember(tables.living, order_id, instrument)
    event["instrument"] = instrument
    if not _read_terms(codec, instrument, data, end, received_ns, out, i):
        return _MALFORMED
    t.note_filled(tables.living, order_id, as_int(event["cum_lots"]))
    if exec_type == t.TRADE:
        return _read_trade(codec, instrument, data, end, out, i)
    return _read_state(codec, exec_type, data, end, out, i)


@njit
def _read_terms(codec: KrakenCodec, instrument: int, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any], i: int) -> bool:
    """Read side, terms, what was filled, and the pair's rate counter, as far as they are there; False if one is not valid."""
    tables = codec.private
    row, event = tables.places[_ROW], out[i]
    if row[t.SIDE] >= 0:
        side, _ = word_of(tables.values, data, row[t.SIDE], end)
        if side != t.BUY and side != t.SELL:
            return False
        event["side"] = _BUY if side == t.BUY else _SELL
    if instrument < 0:
        return True
    price_ticks = ticks_of(codec.instruments[instrument], data, row[t.LIMIT_PRICE], end) if row[t.LIMIT_PRICE] >= 0 else 0
    qty_lots = lots_of(codec.instruments[instrument], data, row[t.ORDER_QTY], end) if row[t.ORDER_QTY] >= 0 else 0
    cum_lots = lots_of(codec.instruments[instrument], data, row[t.CUM_QTY], end) if row[t.CUM_QTY] >= 0 else 0
    if price_ticks < 0 or qty_lots < 0 or cum_lots < 0:
        return False
    event["price_ticks"] = price_ticks
    event["qty_lots"] = qty_lots
    event["cum_lots"] = cum_lots if row[t.CUM_QTY] >= 0 else -1
    if row[t.RATE_COUNT] >= 0:
        digits, decimals, past = read_number(data, row[t.RATE_COUNT], end)
        counter, _ = to_decimals(digits, decimals, _UNIT_DECIMALS)
        if past < 0 or counter < 0:
            return False
        codec.limits[instrument, COUNTER] = counter
        codec.limits[instrument, FELL_NS] = received_ns
    return True


@njit
def _read_trade(codec: KrakenCodec, instrument: int, data: NDArray[Any], end: int, out: NDArray[Any], i: int) -> int:
    """Read a fill. A size below a lot cannot be ours."""
    tables = codec.private
    row, event = tables.places[_ROW], out[i]
    if row[t.EXEC_ID] < 0 or row[t.LAST_QTY] < 0 or row[t.LAST_PRICE] < 0 or row[t.SIDE] < 0 or instrument < 0:
        return _MALFORMED
    past = text_end(data, row[t.EXEC_ID], end)
    price_ticks = ticks_of(codec.instruments[instrument], data, row[t.LAST_PRICE], end)
    qty_lots = lots_of(codec.instruments[instrument], data, row[t.LAST_QTY], end)
    if past < 0 or price_ticks <= 0 or qty_lots <= 0:
        return _MALFORMED
    event["kind"] = _TRADE
    event["trade_id"] = id_bits(data, row[t.EXEC_ID] + 1, past)
    event["last_price_ticks"] = price_ticks
    event["last_lots"] = qty_lots
    if row[t.LIQUIDITY] >= 0:
        liquidity, _ = word_of(tables.values, data, row[t.LIQUIDITY], end)
        event["liquidity"] = _MAKER if liquidity == t.MAKER else _TAKER if liquidity == t.TAKER else 0
    if row[t.FEES] >= 0 and not _read_fee(tables, instrument, data, row[t.FEES], end, out, i):
        return _MALFORMED
    tables.words[t.NEWEST_FILL_NS] = max(tables.words[t.NEWEST_FILL_NS], event["exchange_ns"])
    return 1


@njit
def _read_fee(tables: PrivateTables, instrument: int, data: NDArray[Any], at: int, end: int, out: NDArray[Any], i: int) -> bool:
    """Read `[{"asset":"USD","qty":1.23}]`; the venue takes one asset a fill. False if it is not valid."""
    at, more = first_element(data, at, end)
    if at < 0 or not more:
        return at >= 0
    fee, event = tables.places[_FEE], out[i]
    if note_members(tables.keys, data, at, end, fee) < 0 or fee[t.ASSET] < 0 or fee[t.QTY] < 0:
        return False
    asset, past = word_of(tables.assets, data, fee[t.ASSET], end)
    negative = byte_at(data, fee[t.QTY]) == MINUS
    digits, decimals, number_end = read_number(data, fee[t.QTY] + (1 if negative else 0), end)
    if past < 0 or number_end < 0:
        return False
    fee_e8 = fee_e8_of(digits, decimals)
    if fee_e8 < 0:
        return False
    event["fee_e8"] = -fee_e8 if negative else fee_e8
    event["fee_asset"] = _FEE_OTHER
    for k in range(2):
        if asset == tables.asset_rows[instrument, k]:
            event["fee_asset"] = k
    return True


@njit
def _read_state(codec: KrakenCodec, exec_type: int, data: NDArray[Any], end: int, out: NDArray[Any], i: int) -> int:
    """Read what is no fill."""
    tables = codec.private
    event = out[i]
    if exec_type == t.PENDING_NEW:
        return 0
    if exec_type == t.NEW:
        event["kind"] = _ACK
    elif exec_type == t.FILLED:
        event["state"] = _STATE_FILLED
    elif exec_type == t.CANCELED or exec_type == t.EXPIRED:
        _read_end(tables, exec_type, data, end, out, i)
    elif exec_type == t.AMENDED:
        event["kind"] = _AMENDED
        event["request_id"] = t.amend_of_terms(tables.amends, event["order_id"], event["price_ticks"], event["qty_lots"])
    elif exec_type == t.RESTATED or exec_type == t.STATUS or exec_type == t.ICEBERG_REFILL:
        status = UNKNOWN
        if tables.places[_ROW, t.ORDER_STATUS] >= 0:
            status, _ = word_of(tables.values, data, tables.places[_ROW, t.ORDER_STATUS], end)
        if status != t.NEW and status != t.PARTIALLY_FILLED:
            return 0
        event["state"] = _STATE_NEW if status == t.NEW else _STATE_PARTIALLY_FILLED
    else:
        return 0
    if exec_type == t.FILLED or exec_type == t.CANCELED or exec_type == t.EXPIRED:
        t.forget(tables.living, event["order_id"])
    return 1


@njit
def _read_end(tables: PrivateTables, exec_type: int, data: NDArray[Any], end: int, out: NDArray[Any], i: int) -> None:
    """Say how the order ended, and why."""
    event = out[i]
    at = tables.places[_ROW, t.REASON]
    past = text_end(data, at, end) if at >= 0 else -1
    event["kind"] = _CANCELED if exec_type == t.CANCELED else _EXPIRED
    if past >= 0:
        kind, reason = classify(tables.ends, data, at + 1, past)
        event["reason"] = reason
        if exec_type == t.CANCELED and kind == _EXPIRED:
            event["kind"] = _EXPIRED
