"""Binance market: where a market-data connection goes, and what it asks for besides.

All streams are named in the URL, so nothing is said after connecting, and pings are the venue's to begin. A book is brought into
step by a REST snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

from hft.venues.binance.limits import FEED_SHARE, depth_weight
from hft.venues.interface import Call, Endpoint, Outgoing

_SECOND_NS = 1_000_000_000
_MINUTE_NS = 60 * _SECOND_NS

#: The venue cuts a connection after 24 hours; this is a bit less.
LIFE_NS = (23 * 60 + 50) * _MINUTE_NS

#: A symbol's snapshots are at least this far apart.
SNAPSHOT_PAUSE_NS = 250_000_000

#: Streams of one connection, by the venue.
STREAMS_MAX = 1024

_STREAMS = {"json": ("depth@100ms", "bookTicker", "trade"), "sbe": ("depth", "bestBidAsk", "trade")}


class BinanceMarket:
    """The market-data connection of some symbols; implements MarketSession."""

    life_ns = LIFE_NS

    def __init__(
        self,
        symbols: Sequence[str],
        rows: Sequence[int],
        stream_url: str,
        *,
        codec: Literal["json", "sbe"] = "json",
        snapshot_levels: int = 1000,
        api_key: str = "",
        weight_per_minute: int = 6000,
    ) -> None:
        """`codec` "sbe" needs the `api_key` of an Ed25519 key; `weight_per_minute` is the venue's whole limit for this address.

        Raises ValueError for more streams than one connection takes, or a key that is missing.
        """
        if codec == "sbe" and not api_key:
            raise ValueError("codec sbe: the venue wants an API key in the handshake, and there is none")
        if len(symbols) * len(_STREAMS[codec]) > STREAMS_MAX:
            raise ValueError(f"{len(symbols)} symbols: expected at most {STREAMS_MAX // len(_STREAMS[codec])} on one connection")
        self._symbols = dict(zip(rows, symbols, strict=True))
        self._url, self._codec, self._api_key = stream_url.rstrip("/"), codec, api_key
        self._levels = snapshot_levels
        self._weight_max = weight_per_minute * FEED_SHARE // 100
        self._spent: list[tuple[int, int]] = []  # when, weight: snapshots of the last minute
        self._asked_ns: dict[int, int] = {}
        self._waiting: list[int] = []

    def endpoint(self) -> Endpoint:
        """The combined stream of every symbol."""
        streams = "/".join(f"{quote(symbol.lower())}@{kind}" for symbol in self._symbols.values() for kind in _STREAMS[self._codec])
        headers = (("X-MBX-APIKEY", self._api_key),) if self._codec == "sbe" else ()
        return Endpoint(f"{self._url}/stream?streams={streams}", headers)

    def hello(self, now_ns: int) -> list[Outgoing]:
        """Nothing: the URL has said it all. Snapshots that waited for an earlier connection are of no use."""
        self._waiting.clear()
        return []

    def resync(self, row: int, now_ns: int) -> list[Outgoing]:
        """Ask for a snapshot of an instrument row; the tag of the Call is the row. What the budget holds back follows by `tick`."""
        if row not in self._waiting:
            self._waiting.append(row)
        return self.tick(now_ns)

    def tick(self, now_ns: int) -> list[Outgoing]:
        """Snapshots that were held back and are due."""
        said: list[Outgoing] = []
        weight = depth_weight(self._levels)
        self._spent = [(spent_ns, cost) for spent_ns, cost in self._spent if now_ns - spent_ns < _MINUTE_NS]
        for row in list(self._waiting):
            if sum(cost for _, cost in self._spent) + weight > self._weight_max:
                break
            if now_ns - self._asked_ns.get(row, now_ns - SNAPSHOT_PAUSE_NS) < SNAPSHOT_PAUSE_NS:
                continue
            self._waiting.remove(row)
            self._asked_ns[row] = now_ns
            self._spent.append((now_ns, weight))
            target = f"/api/v3/depth?symbol={quote(self._symbols[row])}&limit={self._levels}"
            said.append(Call(row, "GET", target, weight=weight))
        return said
