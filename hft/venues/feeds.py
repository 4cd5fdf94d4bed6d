"""Feeds: every venue's market data behind one name, chosen by the feed's type, in kernels as in Python.

    on_frame(feed, data, start, end, opcode, received_ns, out)
        Take one message, `data[start:end]` of WebSocket Opcode `opcode`; write its MARKET records to `out`, return how many.
    on_timer(feed, now_ns, out)
        Do what is due; write the MARKET records of one event to `out`, return how many. Call again until it returns 0.
    on_disconnect(feed, now_ns, out)
        The connection is gone: make the first valid book invalid, return how many records. Call again until it returns 0.

Adding a venue adds a row to `FEEDS`.
"""

from __future__ import annotations

from typing import Any

from hft.venues.binance import feed as binance
from hft.venues.binance import sbe_feed as binance_sbe
from hft.venues.coinbase import feed as coinbase
from hft.venues.kraken import feed as kraken
from shm.dispatch import by_type

#: type of the feed -> the module of its kernels
FEEDS: dict[type, Any] = {
    binance.BinanceFeed: binance,
    binance_sbe.BinanceSbeFeed: binance_sbe,
    kraken.KrakenFeed: kraken,
    coinbase.CoinbaseFeed: coinbase,
}

on_frame = by_type(FEEDS, "on_frame")
on_timer = by_type(FEEDS, "on_timer")
on_disconnect = by_type(FEEDS, "on_disconnect")
