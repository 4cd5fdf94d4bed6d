"""Kraken private reply: reads the replies to order requests; what each becomes is in `private.py`."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import VenueEventKind, VenueEventSource, VenueReason
from hft.units import as_int
from hft.venues.fields import begin_event, text_end
from hft.venues.json_bytes import OPEN_BRACE, is_false, is_mark, is_true
from hft.venues.kraken import private_tables as t
from hft.venues.kraken.errors import classify
from hft.venues.kraken.ids import id_bits
from hft.venues.kraken.limits import learn
from hft.venues.kraken.orders import KrakenCodec
from hft.venues.kraken.private_fields import client_id_of, request_id_of
from hft.venues.kraken.private_tables import PrivateTables
from hft.venues.members import note_members
from hft.venues.outcomes import Scanned
from shm.jit import njit

_IGNORED, _COLD, _MALFORMED = int(Scanned.IGNORED), int(Scanned.COLD), int(Scanned.MALFORMED)
_ACK, _REJECTED = int(VenueEventKind.ACK), int(VenueEventKind.REJECTED)
_CANCEL_REJECTED, _AMENDED = int(VenueEventKind.CANCEL_REJECTED), int(VenueEventKind.AMENDED)
_UNKNOWN, _THROTTLED = int(VenueEventKind.UNKNOWN), int(VenueEventKind.THROTTLED)
_REPLY = int(VenueEventSource.REPLY)
_OTHER, _UNKNOWN_ORDER = int(VenueReason.OTHER), int(VenueReason.UNKNOWN_ORDER)
_TOP, _ROW = 0, 1


@njit
def read_reply(codec: KrakenCodec, method: int, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]) -> int:
    """Read the reply to an order request."""
    places = codec.private.places[_TOP]
    taken = places[t.SUCCESS] >= 0 and is_true(data, places[t.SUCCESS], end)
    if not taken and not (places[t.SUCCESS] >= 0 and is_false(data, places[t.SUCCESS], end)):
        return _MALFORMED
    request_id = request_id_of(data, places[t.REQUEST], end) if places[t.REQUEST] >= 0 else 0
    if not taken:
        return _read_refusal(codec, method, request_id, data, end, received_ns, out)
    if method == t.CANCEL_ORDER:
        return _IGNORED
    result = places[t.RESULT]
    row = codec.private.places[_ROW]
    if result < 0 or not is_mark(data, result, end, OPEN_BRACE) or note_members(codec.private.keys, data, result, end, row) < 0:
        return _MALFORMED
    begin_event(out, 0, _ACK if method == t.ADD_ORDER else _AMENDED, _REPLY, received_ns)
    event = out[0]
    event["request_id"] = request_id
    if row[t.CLIENT_ID] >= 0:
        event["order_id"] = client_id_of(data, row[t.CLIENT_ID], end)
    if row[t.ORDER_ID] >= 0:
        past = text_end(data, row[t.ORDER_ID], end)
        if past < 0:
            return _MALFORMED
        event["venue_key"] = id_bits(data, row[t.ORDER_ID] + 1, past)
    if method == t.AMEND_ORDER:
        _add_terms(codec.private, request_id, out)
    else:
        event["instrument"] = t.row_of(codec.private.living, request_id)
    if event["order_id"] == 0 and request_id == 0:
        return _IGNORED
    return 1


@njit
def _add_terms(tables: PrivateTables, request_id: int, out: NDArray[Any]) -> None:
    """Say in row 0 what the amendment asked for, if it is remembered."""
    place = t.amend_place(tables.amends, request_id)
    if place >= 0:
        amend = tables.amends[place]
        out[0]["order_id"] = amend[t.AMEND_WIRE]
        out[0]["price_ticks"] = amend[t.AMEND_TICKS]
        out[0]["qty_lots"] = amend[t.AMEND_LOTS]
        out[0]["instrument"] = amend[t.AMEND_ROW]


@njit
def _read_refusal(
    codec: KrakenCodec, method: int, request_id: int, data: NDArray[Any], end: int, received_ns: int, out: NDArray[Any]
) -> int:
    """Read a refusal; `order_id` stays 0, for it names the request only."""
    tables = codec.private
    at = tables.places[_TOP, t.ERROR]
    past = text_end(data, at, end) if at >= 0 else -1
    kind, reason = classify(codec.errors, data, at + 1, past) if past >= 0 else (_UNKNOWN, _OTHER)
    if request_id == 0:
        return _COLD
    place = t.amend_place(tables.amends, request_id) if method == t.AMEND_ORDER else -1
    row = t.row_of(tables.living, request_id) if place < 0 else as_int(tables.amends[place, t.AMEND_ROW])
    if kind == _THROTTLED and row >= 0:
        learn(codec.limits, row, received_ns)
    if kind == _CANCEL_REJECTED and (method == t.ADD_ORDER or method == t.AMEND_ORDER):
        kind = _REJECTED
        if place >= 0:
            # Whether it was filled or canceled must be found out.
            begin_event(out, 1, _CANCEL_REJECTED, _REPLY, received_ns)
            out[1]["order_id"] = tables.amends[place, t.AMEND_WIRE]
            out[1]["request_id"] = request_id
            out[1]["reason"] = reason
            out[1]["instrument"] = row
    begin_event(out, 0, kind, _REPLY, received_ns)
    out[0]["request_id"] = request_id
    out[0]["reason"] = reason
    out[0]["instrument"] = row
    if kind == _REJECTED and method == t.ADD_ORDER:
        t.forget(tables.living, request_id)
    return 2 if kind == _REJECTED and place >= 0 and reason == _UNKNOWN_ORDER else 1
