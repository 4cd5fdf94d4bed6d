"""Guards: opens what a guardian says to a venue: end every order of the account, and which ones are open. Plain Python, no kernels.

A guard makes requests and reads answers. Only a whole, well-formed answer to the question about open orders is one; whatever else comes
back raises Unclear. What a cancel is answered proves nothing, and is kept for people only.

Venues are imported when they are asked for, so that whoever trades one does not load the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from hft.venues.interface import Call, Credentials


class Unclear(Exception):
    """The answer does not say which orders are open; the message says what it was."""


class Guard(Protocol):
    """What a guardian says to one venue. Calls carry no tag yet; `utc_ns` is CLOCK_REALTIME."""

    #: How long after it was sent an order of the engine may still come to be known.
    window_ns: int
    #: How many questions may be asked at once, and how long it takes until one more may.
    burst: int
    refill_ns: int

    def cancels(self, utc_ns: int) -> list[Call]:
        """What ends every order of the account."""

    def question(self, utc_ns: int) -> Call:
        """What asks for the account's open orders."""

    def refused(self, status: int, body: bytes) -> str:
        """Why a cancel was not carried out, as far as its answer tells; "" if it was."""

    def open_orders(self, status: int, body: bytes) -> list[str]:
        """The orders that an answer lists, each in a few words. Raises Unclear."""


class GuardOrder(NamedTuple):
    """What a guard is opened with."""

    credentials: Credentials
    symbols: Sequence[str]  #: the venue's, as on the wire
    window_ms: int  #: `request_window_ms` of the engine's order entry
    tier: str  #: Kraken's


def open_guard(venue: str, order: GuardOrder) -> Guard:
    """Open the guard of a venue. Raises KeyError for a venue without one, ValueError for a secret that is none."""
    return _OPENERS[venue](order)


def read_json(status: int, body: bytes) -> Any:
    """The document of an answer of status 200. Raises Unclear."""
    if status == 0:
        raise Unclear("no answer")
    if status != 200:
        raise Unclear(f"HTTP {status}: {_head(body)}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Unclear(f"HTTP 200, but not JSON: {_head(body)}") from None


def _head(body: bytes) -> str:
    return body[:160].decode("utf-8", "replace")


def _binance(order: GuardOrder) -> Guard:
    from hft.venues.binance.guard import BinanceGuard

    return BinanceGuard(order.credentials, order.symbols, order.window_ms)


def _coinbase(order: GuardOrder) -> Guard:
    from hft.venues.coinbase.guard import CoinbaseGuard

    return CoinbaseGuard(order.credentials, order.window_ms)


def _kraken(order: GuardOrder) -> Guard:
    from hft.venues.kraken.guard import KrakenGuard

    return KrakenGuard(order.credentials, order.window_ms, order.tier)


_OPENERS: Mapping[str, Callable[[GuardOrder], Guard]] = {"binance": _binance, "coinbase": _coinbase, "kraken": _kraken}
