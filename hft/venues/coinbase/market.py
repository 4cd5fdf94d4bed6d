"""Coinbase market: what the cold side of a market-data connection says: subscriptions and resyncs.

A book of level 2 is brought into step by subscribing its product anew, which brings a snapshot; one of `full` by a level 3 snapshot by
REST, which is large and public, and so asked for sparingly. A product that keeps falling out of step is asked for less and less often,
and all messages share one budget.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from hft.venues.coinbase.feed import CHANNELS
from hft.venues.coinbase.signing import USER_AGENT, signed_members
from hft.venues.interface import Call, Credentials, Endpoint, Outgoing, Text
from hft.venues.pacing import MessageBudget, ResyncLimits, Resyncs

_SECOND_NS = 1_000_000_000

#: Products in one message.
PRODUCTS_IN_ONE = 50

#: Messages a second, and at once, of the 8 and 20 that an address may send; two connections share an address.
MESSAGES_PER_S, MESSAGES_AT_ONCE = 4, 10

#: A product's resyncs are at least this far apart, doubling up to the most; one that held this long is forgiven.
RESYNC_LEAST_NS, RESYNC_MOST_NS, FORGIVEN_NS = 500_000_000, 30 * _SECOND_NS, 4 * _SECOND_NS
#: The same of level 3 snapshots.
SNAPSHOT_LEAST_NS = 2 * _SECOND_NS

#: Channels that the venue gives to authenticated connections only.
PRIVATE_CHANNELS = ("level2", "full")


class CoinbaseMarket:
    """The market-data connection of some products; implements MarketSession."""

    #: The venue does not cut connections by age.
    life_ns = 0

    def __init__(
        self,
        symbols: Sequence[str],
        rows: Sequence[int],
        stream_url: str,
        channel: str = "level2_batch",
        ticker: bool = False,
        credentials: Credentials | None = None,
        utc_ns: Callable[[], int] | None = None,
    ) -> None:
        """`channel` as the feed's; with `credentials` subscriptions are authenticated, at the time that `utc_ns` tells.

        Raises ValueError for a channel that does not exist, or that needs credentials which are not given.
        """
        if channel not in CHANNELS:
            raise ValueError(f"channel: expected one of {CHANNELS}, was {channel!r}")
        if channel in PRIVATE_CHANNELS and credentials is None:
            raise ValueError(f"channel {channel!r} needs credentials; level2_batch does not")
        if credentials is not None and utc_ns is None:
            raise ValueError("credentials are of no use without utc_ns: a signature has a time")
        self._symbols = dict(zip(rows, symbols, strict=True))
        self._url, self._channel, self._ticker = stream_url, channel, ticker
        self._credentials, self._utc_ns = credentials, utc_ns
        least_ns = SNAPSHOT_LEAST_NS if channel == "full" else RESYNC_LEAST_NS
        self._resyncs = Resyncs(ResyncLimits(least_ns, RESYNC_MOST_NS, FORGIVEN_NS))
        self._budget = MessageBudget(MESSAGES_AT_ONCE, MESSAGES_PER_S)
        self._queue: list[tuple[str, list[str], list[str]]] = []

    def endpoint(self) -> Endpoint:
        """Where to connect."""
        return Endpoint(self._url)

    def hello(self, now_ns: int) -> list[Outgoing]:
        """Every subscription, the first at once: the venue cuts a connection that has not subscribed within 5 seconds."""
        self._resyncs.clear()
        self._budget.renew(now_ns)
        channels = [self._channel, "heartbeat"]
        # The full channel has the matches among the rest.
        channels += ["matches"] if self._channel != "full" else []
        channels += ["ticker"] if self._ticker else []
        names = list(self._symbols.values())
        self._queue = [("subscribe", names[first : first + PRODUCTS_IN_ONE], channels) for first in range(0, len(names), PRODUCTS_IN_ONE)]
        return self._flush(now_ns)

    def resync(self, row: int, now_ns: int) -> list[Outgoing]:
        """Ask for the whole book of an instrument row; at once, or by `tick` when its turn comes. A Call's tag is the row."""
        self._resyncs.want(row, now_ns)
        return self.tick(now_ns)

    def tick(self, now_ns: int) -> list[Outgoing]:
        """What was held back."""
        calls: list[Outgoing] = []
        for row in self._resyncs.due(now_ns):
            symbol = self._symbols[row]
            if self._channel == "full":
                calls.append(Call(row, "GET", f"/products/{symbol}/book?level=3", (("User-Agent", USER_AGENT),)))
            else:
                self._queue.append(("unsubscribe", [symbol], [self._channel]))
                self._queue.append(("subscribe", [symbol], [self._channel]))
        return calls + self._flush(now_ns)

    def _flush(self, now_ns: int) -> list[Outgoing]:
        """As much of what waits as the budget lets through, in order, signed as it leaves."""
        count = self._budget.spend(len(self._queue), now_ns)
        said, self._queue = self._queue[:count], self._queue[count:]
        return [self._text(*message) for message in said]

    def _text(self, what: str, products: list[str], channels: list[str]) -> Text:
        message: dict[str, Any] = {"type": what, "product_ids": products, "channels": channels}
        if self._credentials is not None and self._utc_ns is not None and what == "subscribe":
            message |= signed_members(self._credentials, self._utc_ns())
        return Text(json.dumps(message, separators=(",", ":")).encode())
