"""The naive Coinbase: a product's whole book of orders, what the venue says as it changes, and a consumer of what a feed publishes."""

from __future__ import annotations

import random
import uuid
from typing import Any

from hft.records import MarketFlag, MarketKind
from support.coinbase_frames import message

Levels = dict[tuple[int, int], int]  # (side, ticks) -> lots


def price(ticks: int) -> str:
    return f"{ticks // 100}.{ticks % 100:02d}"


def size(lots: int) -> str:
    return f"{lots // 10**8}.{lots % 10**8:08d}"


class Venue:
    """A seeded product: orders come, trade, change and go around a wandering middle; every step gives the messages of its channels."""

    def __init__(self, seed: int, product: str = "BTC-USD", spread: int = 40, orders: int = 120) -> None:
        self.chance, self.product, self.spread = random.Random(seed), product, spread
        self.orders: dict[str, tuple[int, int, int]] = {}  # id -> (side, ticks, lots)
        self.middle, self.sequence, self.trade_id = 50_000, 1000, 0
        for _ in range(orders):
            self._open(self.chance.choice((1, -1)))

    def levels(self) -> Levels:
        found: Levels = {}
        for side, ticks, lots in self.orders.values():
            found[side, ticks] = found.get((side, ticks), 0) + lots
        return found

    def best(self, side: int) -> int:
        prices = [ticks for s, ticks, _ in self.orders.values() if s == side]
        return (max(prices) if side > 0 else min(prices)) if prices else 0

    def snapshot(self) -> bytes:
        """Of level 2, unsorted."""
        levels = list(self.levels().items())
        self.chance.shuffle(levels)
        lists = {side: [[price(t), size(q)] for (s, t), q in levels if s == side] for side in (1, -1)}
        return message("snapshot", self.product, bids=lists[1], asks=lists[-1])

    def orders_snapshot(self) -> bytes:
        """Of level 3."""
        rows = {side: [[price(t), size(q), i] for i, (s, t, q) in self.orders.items() if s == side] for side in (1, -1)}
        return message("", self.product, sequence=self.sequence, bids=rows[1], asks=rows[-1])

    def step(self) -> tuple[list[bytes], list[bytes]]:
        """Do one thing: (messages of `full`, messages of `level2` and `matches`)."""
        before = self.levels()
        roll = self.chance.random()
        self.middle += self.chance.choice((-3, -1, 0, 0, 1, 3))
        side = self.chance.choice((1, -1))
        if roll < 0.45:
            full = self._open(side)
        elif roll < 0.6:
            full = self._take(side)
        elif roll < 0.9:
            full = self._cancel()
        else:
            full = self._change()
        after = self.levels()
        changed = [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)]
        changes = [["buy" if s > 0 else "sell", price(t), size(after.get((s, t), 0))] for s, t in sorted(changed)]
        matches = [m for m in full if b'"match"' in m]
        return full, matches + ([message("l2update", self.product, changes=changes)] if changes else [])

    def heartbeat(self) -> bytes:
        return message("heartbeat", self.product, sequence=self.sequence, last_trade_id=self.trade_id)

    def _say(self, kind: str, order: str, side: int, **members: Any) -> bytes:
        self.sequence += 1
        told = {"order_id": order, "sequence": self.sequence, "side": "buy" if side > 0 else "sell"}
        return message(kind, self.product, **(told | members))

    def _open(self, side: int) -> list[bytes]:
        order = str(uuid.UUID(int=self.chance.getrandbits(128)))
        ticks = self.middle - side * (1 + int(self.chance.expovariate(1 / self.spread)))
        other = self.best(-side)
        ticks = min(ticks, other - 1) if side > 0 and other else max(ticks, other + 1) if other else ticks
        lots = self.chance.randrange(1, 10 ** self.chance.randrange(1, 11))
        received = self._say("received", order, side, price=price(ticks), size=size(lots), order_type="limit")
        self.orders[order] = (side, ticks, lots)
        return [received, self._say("open", order, side, price=price(ticks), remaining_size=size(lots))]

    def _take(self, side: int) -> list[bytes]:
        """A market order of `side` takes from the best of the other one."""
        taker = str(uuid.UUID(int=self.chance.getrandbits(128)))
        said = [self._say("received", taker, side, size="1", order_type="market")]
        best = self.best(-side)
        for maker, (s, ticks, lots) in list(self.orders.items()):
            if s != -side or ticks != best:
                continue
            traded = self.chance.choice((lots, max(1, lots // 2)))
            self.trade_id += 1
            ids = {"maker_order_id": maker, "taker_order_id": taker, "trade_id": self.trade_id}
            said.append(self._say("match", maker, s, price=price(ticks), size=size(traded), **ids))
            self.orders[maker] = (s, ticks, lots - traded)
            if traded == lots:
                del self.orders[maker]
                said.append(self._say("done", maker, s, reason="filled", price=price(ticks), remaining_size="0"))
                continue
            break
        return [*said, self._say("done", taker, side, reason="filled")]

    def _cancel(self) -> list[bytes]:
        if not self.orders:
            return []
        order = self.chance.choice(list(self.orders))
        side, ticks, lots = self.orders.pop(order)
        return [self._say("done", order, side, reason="canceled", price=price(ticks), remaining_size=size(lots))]

    def _change(self) -> list[bytes]:
        if not self.orders:
            return []
        order = self.chance.choice(list(self.orders))
        side, ticks, lots = self.orders[order]
        smaller = max(1, lots // 2)
        if self.chance.random() < 0.5:
            self.orders[order] = (side, ticks, smaller)
            sizes = {"old_size": size(lots), "new_size": size(smaller)}
            return [self._say("change", order, side, reason="STP", price=price(ticks), **sizes)]
        moved = ticks - side * self.chance.randrange(1, 5)
        self.orders[order] = (side, moved, lots)
        members = {"old_size": size(lots), "new_size": size(lots), "old_price": price(ticks), "new_price": price(moved)}
        return [self._say("change", order, side, reason="modify_order", **members)]


class Consumer:
    """Follows MARKET records, as a strategy's book would; never has more levels a side than it has room for."""

    def __init__(self, levels_max: int) -> None:
        self.levels_max, self.valid, self.reason = levels_max, False, 0
        self.levels: Levels = {}
        self.trades: list[tuple[int, int]] = []  # (trade id, aggressor's side)

    def take(self, records: Any) -> None:
        for record in records:
            kind, side = record["kind"], 1 if record["flags"] & MarketFlag.BID else -1
            if kind == MarketKind.LEVEL:
                self.levels.pop((side, int(record["price_ticks"])), None)
                if record["qty_lots"]:
                    self.levels[side, int(record["price_ticks"])] = int(record["qty_lots"])
                assert sum(s == side for s, _ in self.levels) <= self.levels_max, "a consumer's book would be full"
            elif kind == MarketKind.RESET:
                self.levels, self.valid = {}, False
            elif kind == MarketKind.VALID:
                self.valid = True
            elif kind == MarketKind.INVALID:
                self.valid, self.reason = False, int(record["venue_id"])
            elif kind == MarketKind.TRADE:
                self.trades.append((int(record["venue_id"]), side))
            elif kind == MarketKind.TOP:
                bids, asks = ([t for s, t in self.levels if s == each] for each in (1, -1))
                best = (max(bids, default=0), min(asks, default=0))
                assert (int(record["price_ticks"]), int(record["ask_ticks"])) == best
