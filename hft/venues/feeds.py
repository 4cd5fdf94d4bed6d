"""Feeds: every venue's feed behind one name, chosen by the feed's type, in kernels as in Python.

A venue's feed module has `on_frame`, `on_timer` and `on_disconnect` as below; adding a venue adds a row to `FEEDS`.
"""

from __future__ import annotations

from typing import Any

from numba.extending import overload
from numpy.typing import NDArray

from hft.venues.binance import feed as binance

#: type of the feed -> the module of its kernels
FEEDS: dict[type, Any] = {binance.BinanceFeed: binance}


def on_frame(feed: Any, data: NDArray[Any], start: int, end: int, opcode: int, received_ns: int, out: NDArray[Any]) -> int:
    """Take one message, `data[start:end]` of WebSocket Opcode `opcode`; write its MARKET records to `out`, return how many."""
    return int(FEEDS[type(feed)].on_frame(feed, data, start, end, opcode, received_ns, out))


def on_timer(feed: Any, now_ns: int, out: NDArray[Any]) -> int:
    """Do what is due; write the MARKET records of one event to `out`. Call again until it returns 0."""
    return int(FEEDS[type(feed)].on_timer(feed, now_ns, out))


def on_disconnect(feed: Any, now_ns: int, out: NDArray[Any]) -> int:
    """The connection is gone: make the first valid book invalid. Call again until it returns 0."""
    return int(FEEDS[type(feed)].on_disconnect(feed, now_ns, out))


@overload(on_frame, inline="always")
def _on_frame_compiled(feed: Any, data: Any, start: Any, end: Any, opcode: Any, received_ns: Any, out: Any) -> Any:
    kernel = FEEDS[feed.instance_class].on_frame

    def body(feed: Any, data: Any, start: Any, end: Any, opcode: Any, received_ns: Any, out: Any) -> Any:
        return kernel(feed, data, start, end, opcode, received_ns, out)

    return body


@overload(on_timer, inline="always")
def _on_timer_compiled(feed: Any, now_ns: Any, out: Any) -> Any:
    kernel = FEEDS[feed.instance_class].on_timer

    def body(feed: Any, now_ns: Any, out: Any) -> Any:
        return kernel(feed, now_ns, out)

    return body
