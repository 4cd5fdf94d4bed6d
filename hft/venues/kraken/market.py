"""Kraken market: what the cold side of a market-data connection says: subscriptions, resyncs, pings.

A book is brought into step by subscribing its symbol anew, which brings a snapshot. A symbol that keeps falling out of step is
subscribed less and less often, and all messages share one budget, so that a storm of resyncs is no reason to be cut off.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from hft.venues.interface import Endpoint, Outgoing, Text
from hft.venues.pacing import MessageBudget, ResyncLimits, Resyncs

_SECOND_NS = 1_000_000_000

#: Symbols in one subscription; its answers come one by one.
SYMBOLS_IN_ONE = 50

#: Messages a second, and at once, that a connection sends. The venue's own limit is not told and moves.
MESSAGES_PER_S, MESSAGES_AT_ONCE = 5, 10

#: A symbol's resyncs are at least this far apart, doubling up to the most; one that held this long is forgiven.
RESYNC_LEAST_NS, RESYNC_MOST_NS, FORGIVEN_NS = 500_000_000, 30 * _SECOND_NS, 4 * _SECOND_NS

PING_NS = 15 * _SECOND_NS


def stream_endpoint(url: str) -> str:
    """The WebSocket v2 of a host: `/v2` is appended if it is not there."""
    url = url.rstrip("/")
    return url if url.endswith("/v2") else f"{url}/v2"


class KrakenMarket:
    """The market-data connection of some symbols; implements MarketSession."""

    #: The venue does not cut connections by age.
    life_ns = 0

    def __init__(
        self, symbols: Sequence[str], rows: Sequence[int], stream_url: str, depth: int = 100, trades: bool = True, instruments: bool = True
    ) -> None:
        """`depth` as the feed's; `instruments`: follow the status and precision of pairs, a snapshot of all pairs included."""
        self._symbols = dict(zip(rows, symbols, strict=True))
        self._url = stream_endpoint(stream_url)
        self._depth, self._trades, self._instruments = depth, trades, instruments
        self._request = 0
        self._resyncs = Resyncs(ResyncLimits(RESYNC_LEAST_NS, RESYNC_MOST_NS, FORGIVEN_NS))
        self._budget = MessageBudget(MESSAGES_AT_ONCE, MESSAGES_PER_S)
        self._ping_ns = 0
        self._queue: list[Text] = []

    def endpoint(self) -> Endpoint:
        """Where to connect."""
        return Endpoint(self._url)

    def hello(self, now_ns: int) -> list[Outgoing]:
        """Every subscription; what is over the budget follows by `tick`."""
        self._resyncs.clear()
        self._budget.renew(now_ns)
        self._ping_ns = now_ns + PING_NS
        self._queue = []
        if self._instruments:
            self._say("subscribe", {"channel": "instrument", "snapshot": True})
        names = list(self._symbols.values())
        for first in range(0, len(names), SYMBOLS_IN_ONE):
            self._say("subscribe", self._book(names[first : first + SYMBOLS_IN_ONE]))
        for first in range(0, len(names) if self._trades else 0, SYMBOLS_IN_ONE):
            self._say("subscribe", {"channel": "trade", "symbol": names[first : first + SYMBOLS_IN_ONE], "snapshot": False})
        return self._flush(now_ns)

    def resync(self, row: int, now_ns: int) -> list[Outgoing]:
        """Subscribe the book of an instrument row anew; at once, or by `tick` when its turn comes."""
        self._resyncs.want(row, now_ns)
        return self._due(now_ns)

    def tick(self, now_ns: int) -> list[Outgoing]:
        """Pings, and what was held back."""
        if now_ns >= self._ping_ns:
            self._ping_ns = now_ns + PING_NS
            self._say("ping", None)
        return self._due(now_ns)

    def _due(self, now_ns: int) -> list[Outgoing]:
        for row in self._resyncs.due(now_ns):
            symbol = self._symbols[row]
            self._say("unsubscribe", {"channel": "book", "symbol": [symbol], "depth": self._depth})
            self._say("subscribe", self._book([symbol]))
        return self._flush(now_ns)

    def _book(self, symbols: list[str]) -> dict[str, Any]:
        return {"channel": "book", "symbol": symbols, "depth": self._depth, "snapshot": True}

    def _say(self, method: str, params: dict[str, Any] | None) -> None:
        self._request += 1
        message = {"method": method} | ({"params": params} if params else {}) | {"req_id": self._request}
        self._queue.append(Text(json.dumps(message, separators=(",", ":")).encode()))

    def _flush(self, now_ns: int) -> list[Outgoing]:
        """As much of what waits as the budget lets through, in order."""
        count = self._budget.spend(len(self._queue), now_ns)
        said, self._queue = self._queue[:count], self._queue[count:]
        return list(said)
