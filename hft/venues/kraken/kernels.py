"""Kraken kernels: what `codecs` dispatches to for a KrakenCodec."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from hft.records import IntentKind
from hft.units import as_int
from hft.venues.kraken import orders as requests
from hft.venues.kraken.limits import may_send_within, note_sent_within
from hft.venues.kraken.orders import KrakenCodec
from hft.venues.kraken.private import scan_private
from hft.venues.kraken.private_tables import filled_of, note_amend, remember
from shm.jit import njit

__all__ = ["encode", "may_send", "note_sent", "scan_private"]

_NEW, _REPLACE = int(IntentKind.NEW), int(IntentKind.REPLACE)


@njit
def encode(
    codec: KrakenCodec, orders: NDArray[Any], i: int, wire_id: int, ref_wire_id: int, utc_ns: int, out: NDArray[Any], at: int
) -> int:
    """Write a request as `orders.encode` does, and remember of it what its answers do not say.

    A REPLACE asks for its own size; the venue counts what was filled before, so that much is added for it.
    """
    kind, row = as_int(orders[i]["kind"]), as_int(orders[i]["instrument"])
    filled_lots = as_int(filled_of(codec.private.living, ref_wire_id) if kind == _REPLACE else 0)
    orders[i]["qty_lots"] += filled_lots
    end = requests.encode(codec, orders, i, wire_id, ref_wire_id, utc_ns, out, at)
    orders[i]["qty_lots"] -= filled_lots
    if end < 0:
        return end
    if kind == _NEW:
        remember(codec.private.living, wire_id, row)
    elif kind == _REPLACE:
        price_ticks, qty_lots = as_int(orders[i]["price_ticks"]), as_int(orders[i]["qty_lots"]) + filled_lots
        note_amend(codec.private.amends, as_int(orders[i]["order_id"]), ref_wire_id, price_ticks, qty_lots, row)
    return end


@njit
def may_send(codec: KrakenCodec, kind: int, instrument: int, now_ns: int, utc_ns: int) -> int:
    """How many ns to wait before a request of IntentKind `kind` may leave; 0: none."""
    return may_send_within(codec.limits, kind, instrument, now_ns)


@njit
def note_sent(codec: KrakenCodec, kind: int, instrument: int, now_ns: int, utc_ns: int) -> None:
    """Count such a request against the pair's counter."""
    note_sent_within(codec.limits, kind, instrument, now_ns)
