"""Coinbase kernels: what `hft/venues/codecs.py` calls a codec's kernels by, in one place."""

from __future__ import annotations

from hft.venues.coinbase.limits import may_send_within, note_sent_within
from hft.venues.coinbase.orders import CoinbaseCodec, encode
from hft.venues.coinbase.private import scan_private, scan_response
from shm.jit import njit

__all__ = ["encode", "may_send", "note_sent", "scan_private", "scan_response"]


@njit
def may_send(codec: CoinbaseCodec, kind: int, instrument: int, now_ns: int, utc_ns: int) -> int:
    """How many ns to wait before a request of IntentKind `kind` may leave; the venue counts by profile, not by instrument."""
    return may_send_within(codec.limits, kind, now_ns)


@njit
def note_sent(codec: CoinbaseCodec, kind: int, instrument: int, now_ns: int, utc_ns: int) -> None:
    """Count such a request."""
    note_sent_within(codec.limits, now_ns)
