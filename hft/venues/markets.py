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


class SessionOrder(NamedTuple):
    """What the cold side of market data is opened with."""

    section: Venue
    symbols: list[str]  #: the venue's, as on the wire
    rows: list[int]  #: their rows in the instrument table
    credentials: Credentials | None
    utc_ns: Callable[[], int]
    #: Whether to subscribe to what books can be compared with, too, where they do not have it in themselves.
    oracle: bool = False


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


class Session(NamedTuple):
    """The cold side of a venue's market data."""

    session: MarketSession
    attempts: Attempts
    #: Whether whole books come as answers to Calls, and not by themselves on the connection.
    snapshots_by_call: bool


class Market(NamedTuple):
    """A venue's market data."""

    feed: Any  #: see `hft/venues/feeds.py`
    on_snapshot: Callable[..., int]  #: takes the answer to a resync's Call
    session: MarketSession
    attempts: Attempts
    #: Tells the feed that two connections deliver until a time; None where it cannot tell what came twice.
    overlap_until: Callable[[Any, int], None] | None = None


_SECOND_NS = 1_000_000_000


def open_market(venue: str, order: MarketOrder) -> Market:
    """Open the market data of a venue. Raises KeyError for a venue without any, ValueError for options that do not fit."""
    opened = open_session(venue, SessionOrder(order.section, order.symbols, order.rows, order.credentials, order.utc_ns))
    return _FEEDS[venue](order, opened)


def open_session(venue: str, order: SessionOrder) -> Session:
    """Open the cold side only, for who does not read books. Raises as `open_market` does."""
    return _SESSIONS[venue](order)


def _binance_session(order: SessionOrder) -> Session:
    from hft.venues.binance.market import BinanceMarket

    section = order.section
    key = "" if order.credentials is None else order.credentials.key
    session = BinanceMarket(
        order.symbols, order.rows, section.stream_url, codec=section.codec, snapshot_levels=section.snapshot_levels, api_key=key
    )
    return Session(session, Attempts(300, 300 * _SECOND_NS), snapshots_by_call=True)


def _binance(order: MarketOrder, opened: Session) -> Market:
    from hft.venues.binance import feed, sbe_feed

    make: Any = sbe_feed.new_sbe_feed if order.section.codec == "sbe" else feed.new_feed
    module: Any = sbe_feed if order.section.codec == "sbe" else feed
    made = make(order.instruments, order.symbols, order.rows, LEVELS_MAX, _silence_ns(order), order.counters)
    return Market(made, module.on_snapshot, opened.session, opened.attempts, module.overlap_until)


def _coinbase_session(order: SessionOrder) -> Session:
    from hft.venues.coinbase.market import CoinbaseMarket

    section = order.section
    utc_ns = None if order.credentials is None else order.utc_ns
    session = CoinbaseMarket(
        order.symbols,
        order.rows,
        section.stream_url,
        channel=section.channel,
        ticker=order.oracle,
        credentials=order.credentials,
        utc_ns=utc_ns,
    )
    return Session(session, Attempts(10, 2_500_000_000), snapshots_by_call=section.channel == "full")


def _coinbase(order: MarketOrder, opened: Session) -> Market:
    from hft.venues.coinbase import feed

    channel = order.section.channel
    made = feed.new_feed(order.instruments, order.symbols, order.rows, LEVELS_MAX, _silence_ns(order), order.counters, channel=channel)
    return Market(made, feed.on_snapshot, opened.session, opened.attempts)


def _kraken_session(order: SessionOrder) -> Session:
    from hft.venues.kraken.market import KrakenMarket

    session = KrakenMarket(order.symbols, order.rows, order.section.stream_url, depth=order.section.depth)
    return Session(session, Attempts(150, 600 * _SECOND_NS), snapshots_by_call=False)


def _kraken(order: MarketOrder, opened: Session) -> Market:
    from hft.venues.kraken import feed

    depth = order.section.depth
    made = feed.new_feed(order.instruments, order.symbols, order.rows, LEVELS_MAX, _silence_ns(order), order.counters, depth=depth)
    return Market(made, feed.on_snapshot, opened.session, opened.attempts)


def _silence_ns(order: MarketOrder) -> int:
    return order.section.silence_ms * 1_000_000


_SESSIONS: Mapping[str, Callable[[SessionOrder], Session]] = {
    "binance": _binance_session,
    "coinbase": _coinbase_session,
    "kraken": _kraken_session,
}
_FEEDS: Mapping[str, Callable[[MarketOrder, Session], Market]] = {"binance": _binance, "coinbase": _coinbase, "kraken": _kraken}
