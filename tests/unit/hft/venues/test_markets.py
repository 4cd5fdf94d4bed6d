"""Markets: every venue's market data opens, in each of its forms, with the session that belongs to it."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from hft.config import VENUES, Venue
from hft.records import INSTRUMENT
from hft.venues.feeds import FEEDS
from hft.venues.interface import Call, Credentials
from hft.venues.markets import MarketOrder, SessionOrder, open_market, open_session

KEYS = Credentials("thekey", b"c2VjcmV0", "thepass")
FORMS: list[tuple[str, dict[str, Any], str, bool]] = [
    ("binance", {}, "BinanceFeed", True),
    ("binance", {"codec": "sbe"}, "BinanceSbeFeed", True),
    ("coinbase", {}, "CoinbaseFeed", False),
    ("coinbase", {"channel": "full"}, "CoinbaseFeed", True),
    ("kraken", {"depth": 10}, "KrakenFeed", False),
]


def section(**options: Any) -> Venue:
    return msgspec.convert({"stream_url": "ws://127.0.0.1", "rest_url": "http://127.0.0.1", **options}, Venue)


def test_every_venue_is_here() -> None:
    assert {venue for venue, *_ in FORMS} == set(VENUES)


@pytest.mark.parametrize(("venue", "options", "feed", "by_call"), FORMS)
def test_market_data_opens_in_each_of_its_forms(venue: str, options: dict[str, Any], feed: str, by_call: bool) -> None:
    table = np.zeros(1, INSTRUMENT)
    table["tick_units"] = table["lot_units"] = 1
    order = MarketOrder(section(**options), table, ["X-Y"], [0], np.zeros(64, np.int64), KEYS, lambda: 1_800_000_000_000_000_000)
    market = open_market(venue, order)
    assert type(market.feed).__name__ == feed and type(market.feed) in FEEDS
    assert market.session.endpoint().url.startswith("ws://127.0.0.1")
    opened = open_session(venue, SessionOrder(order.section, ["X-Y"], [0], KEYS, order.utc_ns))
    said = opened.session.resync(0, 10**18)
    assert opened.snapshots_by_call == by_call == any(isinstance(each, Call) for each in said)


@pytest.mark.parametrize(("venue", "options", "feed", "by_call"), FORMS)
def test_only_feeds_that_know_a_message_by_its_id_take_two_connections(
    venue: str, options: dict[str, Any], feed: str, by_call: bool
) -> None:
    table = np.zeros(1, INSTRUMENT)
    table["tick_units"] = table["lot_units"] = 1
    market = open_market(venue, MarketOrder(section(**options), table, ["X-Y"], [0], np.zeros(64, np.int64), KEYS, lambda: 0))
    assert (market.overlap_until is not None) == (venue == "binance")
    if market.overlap_until is not None:
        market.overlap_until(market.feed, 7)
        assert 7 in market.feed.words


def test_a_venue_without_market_data_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        open_session("bitmex", SessionOrder(section(), ["X"], [0], None, lambda: 0))
