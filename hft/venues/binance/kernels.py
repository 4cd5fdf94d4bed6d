"""Binance kernels: what `codecs` dispatches to for a BinanceCodec."""

from __future__ import annotations

from hft.venues.binance.limits import note_request, wait_ns
from hft.venues.binance.orders import BinanceCodec, encode
from hft.venues.binance.private import scan_private
from shm.jit import njit

__all__ = ["encode", "may_send", "note_sent", "scan_private"]


@njit
def may_send(codec: BinanceCodec, kind: int, instrument: int, now_ns: int, utc_ns: int) -> int:
    """How many ns to wait before a request of IntentKind `kind` may leave; 0: none."""
    return wait_ns(codec.limits, kind, utc_ns)


@njit
def note_sent(codec: BinanceCodec, kind: int, instrument: int, now_ns: int, utc_ns: int) -> None:
    """Count such a request against the venue's limits."""
    note_request(codec.limits, kind, now_ns, utc_ns)
