"""Markets: opens a venue's market data: the feed for kernels and the session for cold code.

Venues are imported when they are asked for, so that whoever trades one does not load the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from hft.config import Venue
from hft.venues.interface import Credentials, MarketSession

#: Levels that a feed's book holds on each side: with both, half a market ring carries the whole book.
LEVELS_MAX = 8000


class MarketOrder(NamedTuple):
    """What market data is opened with."""

    section: Venue
    instruments: NDArray[Any]  #: INSTRUMENT rows, of all venues
    symbols: list[str]  #: the venue's, as on the wire
    rows: list[int]  #: their rows in `instruments`
    counters: NDArray[Any]  #: int64 by FeedCounter
    credentials: Credentials | None
    utc_ns: Callable[[], int]


class Attempts(NamedTuple):
    """How many connections an address may try to open."""

    most: int
    window_ns: int


class Market(NamedTuple):
    """A venue's market data."""

    feed: Any  #: see `hft/venues/feeds.py`
    on_snapshot: Callable[..., int]  #: takes the answer to a resync's Call
    session: MarketSession
    attempts: Attempts
    begin_overlap: Callable[[Any, int], None] | None = None  #: tells a feed that two connections deliver until a time


_SECOND_NS = 1_000_000_000


def open_market(venue: str, order: MarketOrder) -> Market:
    """Open the market data of a venue. Raises KeyError for a venue without any, ValueError for options that do not fit."""
    return _OPENERS[venue](order)


def _binance(order: MarketOrder) -> Market:
    from hft.venues.binance import feed, sbe_feed
    from hft.venues.binance.market import BinanceMarket
    from hft.venues.binance.sync import begin_overlap

    section = order.section
    key = "" if order.credentials is None else order.credentials.key
    session = BinanceMarket(
        order.symbols, order.rows, section.stream_url, codec=section.codec, snapshot_levels=section.snapshot_levels, api_key=key
    )
    silence_ns = section.silence_ms * 1_000_000
    options = (order.instruments, order.symbols, order.rows, LEVELS_MAX, silence_ns, order.counters)
    attempts = Attempts(300, 300 * _SECOND_NS)
    if section.codec == "sbe":
        return Market(sbe_feed.new_sbe_feed(*options), sbe_feed.on_snapshot, session, attempts, begin_overlap)
    return Market(feed.new_feed(*options), feed.on_snapshot, session, attempts, begin_overlap)


def _coinbase(order: MarketOrder) -> Market:
    from hft.venues.coinbase import feed
    from hft.venues.coinbase.market import CoinbaseMarket

    section = order.section
    utc_ns = None if order.credentials is None else order.utc_ns
    session = CoinbaseMarket(
        order.symbols, order.rows, section.stream_url, channel=section.channel, credentials=order.credentials, utc_ns=utc_ns
    )
    silence_ns = section.silence_ms * 1_000_000
    made = feed.new_feed(order.instruments, order.symbols, order.rows, LEVELS_MAX, silence_ns, order.counters, channel=section.channel)
    return Market(made, feed.on_snapshot, session, Attempts(400, 60 * _SECOND_NS))


def _kraken(order: MarketOrder) -> Market:
    from hft.venues.kraken import feed
    from hft.venues.kraken.market import KrakenMarket

    section = order.section
    session = KrakenMarket(order.symbols, order.rows, section.stream_url, depth=section.depth)
    silence_ns = section.silence_ms * 1_000_000
    made = feed.new_feed(order.instruments, order.symbols, order.rows, LEVELS_MAX, silence_ns, order.counters, depth=section.depth)
    return Market(made, feed.on_snapshot, session, Attempts(150, 600 * _SECOND_NS))


_OPENERS: Mapping[str, Callable[[MarketOrder], Market]] = {"binance": _binance, "coinbase": _coinbase, "kraken": _kraken}
