"""Tick path: what the tick-to-trade benchmark must know of a venue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from numpy.typing import NDArray

from processes.bench.one_market import OneMarket

#: What an answer has where the peer puts the order's id in, by that id's length.
NO_ID = b"0"

#: The peer knows no limits. Far over any count of the bench, also in billionths, and in int64 a hundred times over.
NO_LIMIT = 1 << 55


class VenuePath(NamedTuple):
    """A venue's way from market data to an order. Texts of market data and orders keep their length for as long as the bench lasts."""

    venue: str
    market: OneMarket
    keys: str  #: of `[execution.<venue>]`, that this venue wants besides those of all
    connections: int  #: for orders
    qty_lots: int  #: of every order
    bid_ticks: int  #: the best bid before the first update
    snapshot: Callable[[], bytes]  #: the whole book before the first update
    #: (feed, text, now_ns, out) -> MARKET records: give the venue's feed that book
    give_snapshot: Callable[[Any, NDArray[Any], int, NDArray[Any]], int]
    updates: Callable[[int], Iterator[bytes]]  #: so many updates' texts
    admit: Callable[[Any], None]  #: have the codec take the account for logged on, and send without limits
    id_text: Callable[[int], bytes]  #: what in a request, and in the answer to it, tells which order; empty: the connection does
    refusal: bytes  #: the answer that ends an order, as it is on the wire, with NO_ID for each byte of that text
