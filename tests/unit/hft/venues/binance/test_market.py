"""Binance market: everything is in the URL; snapshots keep to the feed's part of the weight."""

from __future__ import annotations

from typing import Any

import pytest

from hft.venues.binance.market import LIFE_NS, SNAPSHOT_PAUSE_NS, BinanceMarket
from hft.venues.interface import Call, MarketSession, Outgoing

S = 1_000_000_000


def market(**options: Any) -> BinanceMarket:
    return BinanceMarket(["BTCUSDT", "ETHUSDT"], [3, 5], "wss://stream.binance.com:9443/", **options)


def calls(outgoing: list[Outgoing]) -> list[Call]:
    assert all(isinstance(one, Call) for one in outgoing)
    return [one for one in outgoing if isinstance(one, Call)]


def test_all_streams_are_named_in_the_url_and_nothing_else_is_said() -> None:
    session: MarketSession = market()
    streams = "btcusdt@depth@100ms/btcusdt@bookTicker/btcusdt@trade/ethusdt@depth@100ms/ethusdt@bookTicker/ethusdt@trade"
    assert session.endpoint().url == f"wss://stream.binance.com:9443/stream?streams={streams}" and session.endpoint().headers == ()
    assert session.hello(0) == [] and session.tick(0) == []
    assert 23 * 3600 * S < session.life_ns == LIFE_NS < 24 * 3600 * S


def test_binary_streams_have_their_own_names_and_a_key_in_the_handshake() -> None:
    endpoint = market(codec="sbe", api_key="k").endpoint()
    assert endpoint.url.endswith(
        "/stream?streams=btcusdt@depth/btcusdt@bestBidAsk/btcusdt@trade/ethusdt@depth/ethusdt@bestBidAsk/ethusdt@trade"
    )
    assert list(endpoint.headers) == [("X-MBX-APIKEY", "k")]
    with pytest.raises(ValueError, match="API key"):
        market(codec="sbe")


def test_more_streams_than_one_connection_takes_are_refused() -> None:
    with pytest.raises(ValueError, match="341"):
        BinanceMarket([f"A{i}" for i in range(342)], range(342), "wss://x")


def test_resync_asks_for_a_snapshot_whose_tag_is_the_row() -> None:
    (call,) = calls(market(snapshot_levels=5000).resync(5, S))
    assert (call.tag, call.method, call.target, call.weight) == (5, "GET", "/api/v3/depth?symbol=ETHUSDT&limit=5000", 250)


def test_snapshots_of_a_symbol_are_apart_and_wait_until_they_are_due() -> None:
    session = market()
    assert len(session.resync(3, S)) == 1
    assert session.resync(3, S) == [] and session.resync(3, S) == []
    assert len(session.resync(5, S)) == 1, "another symbol does not wait"
    assert session.tick(S + SNAPSHOT_PAUSE_NS - 1) == []
    assert [call.tag for call in calls(session.tick(S + SNAPSHOT_PAUSE_NS))] == [3]
    assert session.tick(2 * S) == []
    assert len(session.resync(3, 3 * S)) == 1 and session.resync(3, 3 * S) == []
    assert session.hello(3 * S) == [] and session.tick(4 * S) == [], "what waited for the connection before is of no use"


def test_snapshots_stay_within_the_feeds_part_of_the_weight_and_none_is_forgotten() -> None:
    session = market(snapshot_levels=1000, weight_per_minute=500)
    asked = [len(session.resync(3, step * S)) for step in range(5)]
    assert asked == [1, 1, 1, 0, 0], "150 of 500, 50 each"
    assert session.tick(60 * S - 1) == []
    assert len(session.tick(60 * S)) == 1
