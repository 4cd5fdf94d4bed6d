"""The levels behind recorded orders: what the messages of `full` and a whole book of orders make of each price."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from hft.sim.recorded_frames import Side, number_of

#: Messages that change the orders of a book.
MOVING = ("open", "match", "done", "change")
_SIDES = {"buy": 0, "sell": 1}


class _Order(NamedTuple):
    """An order on the book."""

    side: int  #: 0 buy, 1 sell
    price: Decimal
    size: Decimal


class RecordedOrders:
    """The orders of one product."""

    def __init__(self) -> None:
        self._orders: dict[str, _Order] = {}
        self._levels: tuple[Side, Side] = ({}, {})
        #: Messages since the beginning, until a whole book has come; those that it does not include are applied to it.
        self._waiting: list[Mapping[str, Any]] | None = []

    def load(self, book: Mapping[str, Any]) -> tuple[Side, Side]:
        """Take a whole book, with what came before it and is newer; return its levels.

        Raises LookupError, ValueError or ArithmeticError for what is none.
        """
        waiting, self._waiting = self._waiting or [], None
        self._orders, self._levels = {}, ({}, {})
        for side, name in enumerate(("bids", "asks")):
            for price, size, order_id in book[name]:
                self._put(str(order_id), _Order(side, number_of(price), number_of(size)))
        for message in waiting:
            if int(message["sequence"]) > int(book["sequence"]):
                self._apply(message)
        return dict(self._levels[0]), dict(self._levels[1])

    def take(self, message: Mapping[str, Any]) -> tuple[Side, Side] | None:
        """Take a message of MOVING; return the levels that it changed, if any. Raises as `load` does."""
        if self._waiting is not None:
            self._waiting.append(message)
            return None
        return self._apply(message)

    def _apply(self, message: Mapping[str, Any]) -> tuple[Side, Side] | None:
        kind = message["type"]
        order_id = str(message["maker_order_id" if kind == "match" else "order_id"])
        known = self._orders.get(order_id)
        if kind == "open":
            after = _Order(_SIDES[message["side"]], number_of(message["price"]), number_of(message["remaining_size"]))
        elif known is None:
            # It never was on the book.
            return None
        elif kind == "match":
            after = known._replace(size=known.size - number_of(message["size"]))
        elif kind == "done":
            after = known._replace(size=Decimal(0))
        else:
            price, size = message.get("new_price") or known.price, message.get("new_size") or known.size
            after = known._replace(price=number_of(price), size=number_of(size))
        changed: tuple[Side, Side] = ({}, {})
        for order in (self._take(order_id), self._put(order_id, after)):
            if order is not None:
                changed[order.side][order.price] = self._levels[order.side].get(order.price, Decimal(0))
        return changed

    def _take(self, order_id: str) -> _Order | None:
        """Take an order off its level."""
        order = self._orders.pop(order_id, None)
        if order is not None:
            self._add(order.side, order.price, -order.size)
        return order

    def _put(self, order_id: str, order: _Order) -> _Order | None:
        """Put an order on its level, if anything is left of it."""
        if order.size <= 0:
            return None
        self._orders[order_id] = order
        self._add(order.side, order.price, order.size)
        return order

    def _add(self, side: int, price: Decimal, size: Decimal) -> None:
        levels = self._levels[side]
        levels[price] = levels.get(price, Decimal(0)) + size
        if levels[price] <= 0:
            del levels[price]
