"""A naive client follows a Binance book by the published rule, in exact decimals, and keeps every oracle it can."""

from __future__ import annotations

import json
from decimal import Decimal


class NaiveFollower:
    """One pair's book, from stream messages and one REST snapshot.

    `compared` counts diffs after which the best prices and sizes equalled the newest `bookTicker` not ahead of them.
    """

    def __init__(self) -> None:
        self.book_id = 0
        self.sides: dict[str, dict[Decimal, Decimal]] = {"b": {}, "a": {}}
        self.gaps = 0
        self.crossed = 0
        self.compared = 0
        self.unequal: list[tuple[int, object, object]] = []
        self.trades: list[dict] = []
        self._waiting: list[dict] = []
        self._tickers: list[tuple[int, tuple]] = []
        self._last_u = 0
        self._known: tuple | None = None

    def snapshot(self, body: bytes) -> None:
        """Load the REST snapshot and apply the diffs buffered so far."""
        message = json.loads(body)
        self.book_id = message["lastUpdateId"]
        for side, key in (("b", "bids"), ("a", "asks")):
            self.sides[side] = {Decimal(price): Decimal(qty) for price, qty in message[key]}
        waiting, self._waiting = self._waiting, []
        assert not waiting or waiting[0]["U"] <= self.book_id + 1, "the snapshot is older than the stream"
        for update in waiting:
            self._apply(update)

    def message(self, body: bytes | str) -> None:
        """Take the data of one stream message."""
        message = json.loads(body)
        if message.get("e") == "depthUpdate":
            if self._last_u and message["U"] != self._last_u + 1:
                self.gaps += 1
            self._last_u = message["u"]
            if self.book_id:
                self._apply(message)
            else:
                self._waiting.append(message)
        elif message.get("e") == "trade":
            self.trades.append(message)
        elif "A" in message:
            best = tuple(Decimal(message[key]) for key in ("b", "B", "a", "A"))
            self._tickers.append((message["u"], best))

    def best(self) -> tuple:
        """Return (bid, size, ask, size)."""
        bid, ask = max(self.sides["b"]), min(self.sides["a"])
        return bid, self.sides["b"][bid], ask, self.sides["a"][ask]

    def _apply(self, update: dict) -> None:
        if update["u"] <= self.book_id:
            return
        for side in ("b", "a"):
            for price, qty in update[side]:
                if Decimal(qty) == 0:
                    self.sides[side].pop(Decimal(price), None)
                else:
                    self.sides[side][Decimal(price)] = Decimal(qty)
        self.book_id = update["u"]
        best = self.best()
        self.crossed += best[0] >= best[2]
        newest = [ticker for u, ticker in self._tickers if u <= self.book_id]
        self._tickers = [(u, ticker) for u, ticker in self._tickers if u > self.book_id]
        if newest:
            self._known = newest[-1]
        if self._known is None:
            return
        self.compared += 1
        if best != self._known:
            self.unequal.append((self.book_id, best, self._known))
