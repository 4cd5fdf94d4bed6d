"""One side of an instrument's book: the accounts' orders, and the levels that the background market displays.

Both lie under a *key* that is greatest at the best price: the ticks of a buy, minus the ticks of a sell.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from hft.sim.exchange.records import Order


class Half:
    """One side."""

    __slots__ = ("_order_keys", "_shown_keys", "orders", "shown", "taken")

    def __init__(self) -> None:
        #: key -> order id -> order, oldest first
        self.orders: dict[int, dict[int, Order]] = {}
        self._order_keys: list[int] = []
        #: key -> lots that the background displays
        self.shown: dict[int, int] = {}
        self._shown_keys: list[int] = []
        #: key -> lots of that which accounts have taken since it last changed
        self.taken: dict[int, int] = {}

    def add(self, order: Order) -> None:
        """Put an order at the back of its price, behind all that the background has left there."""
        key = order.side * order.price_ticks
        level = self.orders.get(key)
        if level is None:
            level = self.orders[key] = {}
            insort(self._order_keys, key)
        level[order.order_id] = order
        order.queue_ahead_lots = self.left(key)

    def remove(self, order: Order) -> None:
        """Take an order out."""
        key = order.side * order.price_ticks
        level = self.orders[key]
        del level[order.order_id]
        if not level:
            del self.orders[key]
            del self._order_keys[bisect_left(self._order_keys, key)]

    def order_keys(self) -> Iterable[int]:
        """Return the keys that have orders, best first; a copy."""
        return self._order_keys[::-1]

    def best_order_key(self) -> int | None:
        """Return the best key that has an order."""
        return self._order_keys[-1] if self._order_keys else None

    def left(self, key: int) -> int:
        """Return what can still be taken from the background at a key."""
        shown = self.shown.get(key, 0)
        return shown - self.taken.get(key, 0) if shown else 0

    def best_left_key(self) -> int | None:
        """Return the best key at which the background has something left."""
        taken = self.taken
        for key in reversed(self._shown_keys):
            if key not in taken or self.shown[key] > taken[key]:
                return key
        return None

    def best_key(self) -> int | None:
        """Return the best key at which anybody can be traded with."""
        shown, order = self.best_left_key(), self.best_order_key()
        if shown is None or order is not None and order > shown:
            return order
        return shown

    def keys_to(self, limit_key: int) -> list[int]:
        """Return the keys at `limit_key` or better at which there are orders or levels, best first."""
        keys = self._shown_keys[bisect_left(self._shown_keys, limit_key) :]
        orders = self._order_keys[bisect_left(self._order_keys, limit_key) :]
        if orders:
            keys = sorted({*keys, *orders})
        keys.reverse()
        return keys

    def take(self, key: int, lots: int) -> None:
        """Remember that an account took lots from a displayed level; those who wait behind them move up."""
        self.taken[key] = self.taken.get(key, 0) + lots
        self._move_up(key, lots)

    def show(self, key: int, lots: int) -> None:
        """Note that the background displays `lots` at a key (0: nothing). A level that changed is whole again."""
        before = self.shown.get(key, 0)
        if lots == before:
            return
        self.taken.pop(key, None)
        if not lots:
            del self.shown[key]
            del self._shown_keys[bisect_left(self._shown_keys, key)]
        else:
            self.shown[key] = lots
            if not before:
                insort(self._shown_keys, key)
        for order in self.orders.get(key, {}).values():
            order.queue_ahead_lots = min(order.queue_ahead_lots, lots)

    def show_best(self, key: int, lots: int) -> None:
        """Note that the background's best level is this one: all better ones are gone."""
        while self._shown_keys and self._shown_keys[-1] > key:
            self.show(self._shown_keys[-1], 0)
        self.show(key, lots)

    def show_all(self, levels: dict[int, int]) -> None:
        """Replace everything that the background displays."""
        for key in [key for key in self._shown_keys if key not in levels]:
            self.show(key, 0)
        for key, lots in levels.items():
            self.show(key, lots)

    def eat(self, key: int, lots: int) -> None:
        """Note that a public trade went through the queue at a key."""
        self._move_up(key, lots)

    def _move_up(self, key: int, lots: int) -> None:
        for order in self.orders.get(key, {}).values():
            order.queue_ahead_lots = max(0, order.queue_ahead_lots - lots)


class Book:
    """Both sides of an instrument."""

    __slots__ = ("buys", "sells")

    def __init__(self) -> None:
        self.buys, self.sells = Half(), Half()

    def half(self, side: int) -> Half:
        """Return the side on which orders of `side` rest."""
        return self.buys if side > 0 else self.sells
