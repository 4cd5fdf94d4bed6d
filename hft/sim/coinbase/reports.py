"""Coinbase's `user` channel: what the exchange did to an account's orders, in the messages of `full` with more members.

    received, match as taker .., open of what rests, match as maker .., done

The orders of accounts are not among the public ones, so `sequence` here rises with every message of a product but is not that of `full`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from hft.sim.coinbase.orders import request_of, tag_of
from hft.sim.coinbase.products import Product
from hft.sim.coinbase.rows import side_of
from hft.sim.coinbase.wire import profile_id, rate_text, user_id, uuid_of
from hft.sim.exchange.records import Event, EventKind, Fill, Kind, Order, Reason
from hft.sim.texts import fixed, rfc3339

#: What stands for the market's orders that accounts traded with is numbered from here.
FIRST_COUNTERPARTY = 1 << 61
CANCEL_REASONS = {
    Reason.IOC: "101:Time In Force",
    Reason.FOK: "101:Time In Force",
    Reason.TIME: "101:Time In Force",
    Reason.STP: "102:Self Trade Prevention",
    Reason.VENUE: "103:Admin",
    Reason.NO_LIQUIDITY: "106:Insufficient Liquidity",
}
Fields = dict[str, Any]


class Told(NamedTuple):
    """A message to an account about one of its orders."""

    account: str
    product: str
    payload: bytes


class Reporter:
    """Writes the messages."""

    def __init__(self, products: Mapping[str, Product], public_sequence: Callable[[str], int]) -> None:
        """`public_sequence` tells the newest sequence of a product's public messages."""
        self._products, self._public_sequence = products, public_sequence
        self._private: defaultdict[str, int] = defaultdict(int)

    def messages(self, events: Iterable[Event]) -> Iterator[Told]:
        """Yield what the events of one command are to their accounts, in order."""
        placed: list[Order] = []
        for event in events:
            order = event.order
            if order is None:
                # The command is over: what it left rests now.
                yield from self._opened(placed, event.at_ns)
                placed = []
            elif event.kind is EventKind.ACCEPTED:
                placed.append(order)
                yield self._told(order, self._received(order), event.at_ns)
            elif event.kind is EventKind.TRADED:
                assert event.fill is not None
                yield self._told(order, self._match(event.fill), event.at_ns)
                if event.done:
                    yield self._told(order, self._done(order, event), event.at_ns)
            elif event.kind is EventKind.PREVENTED:
                yield self._told(order, self._change(order, event), event.at_ns)
            elif event.kind in (EventKind.CANCELED, EventKind.EXPIRED):
                yield self._told(order, self._done(order, event), event.at_ns)
        yield from self._opened(placed, placed[0].updated_ns if placed else 0)

    def _opened(self, placed: list[Order], at_ns: int) -> Iterator[Told]:
        for order in placed:
            if order.is_open:
                rest = {
                    "type": "open",
                    "price": self._price(order, order.price_ticks),
                    "remaining_size": self._size(order, order.leaves_lots),
                }
                yield self._told(order, rest, at_ns)

    def _told(self, order: Order, fields: Fields, at_ns: int) -> Told:
        account, product = order.account.name, order.instrument.symbol
        self._private[product] += 1
        known = {"side": side_of(order.side), **({} if fields["type"] == "match" else {"order_id": uuid_of(order.order_id)})}
        frame = {
            "product_id": product,
            "time": rfc3339(at_ns),
            "sequence": self._public_sequence(product) + self._private[product],
            "profile_id": profile_id(account),
            "user_id": user_id(account),
        }
        return Told(account, product, msgspec.json.encode({**known, **fields, **frame}))

    def _received(self, order: Order) -> Fields:
        new = request_of(order)
        fields: Fields = {"type": "received", "order_type": new.order_type}
        if order.kind is Kind.LIMIT:
            fields["price"] = self._price(order, order.price_ticks)
        if new.size is not None:
            fields["size"] = self._size(order, order.qty_lots)
        if new.funds is not None:
            fields["funds"] = fixed(order.quote_qty_e8, 8)
        return fields | ({"client_oid": new.client_oid} if new.client_oid else {})

    def _match(self, fill: Fill) -> Fields:
        order, role = fill.order, "maker" if fill.maker else "taker"
        account = order.account
        own = uuid_of(order.order_id)
        other = uuid_of(fill.counter_order_id or FIRST_COUNTERPARTY + fill.trade_id)
        return {
            "type": "match",
            "trade_id": fill.trade_id,
            "maker_order_id": own if fill.maker else other,
            "taker_order_id": other if fill.maker else own,
            # The maker's.
            "side": side_of(order.side if fill.maker else -order.side),
            "size": self._size(order, fill.qty_lots),
            "price": self._price(order, fill.price_ticks),
            f"{role}_user_id": user_id(account.name),
            f"{role}_profile_id": profile_id(account.name),
            f"{role}_fee_rate": rate_text(account.maker_rate_e8 if fill.maker else account.taker_rate_e8),
        }

    def _change(self, order: Order, event: Event) -> Fields:
        """Return what self-trade prevention took."""
        tag = tag_of(order)
        taken_lots = event.prevented_lots - tag.prevented_lots
        tag.prevented_lots = event.prevented_lots
        price = {"price": self._price(order, order.price_ticks) if order.kind is Kind.LIMIT else None}
        if order.quote_qty_e8:
            return {"type": "change", "reason": "STP", "old_funds": fixed(order.quote_qty_e8, 8), "new_funds": fixed(0, 8), **price}
        sizes = {"old_size": self._size(order, event.leaves_lots + taken_lots), "new_size": self._size(order, event.leaves_lots)}
        return {"type": "change", "reason": "STP", **sizes, **price}

    def _done(self, order: Order, event: Event) -> Fields:
        filled = event.kind is EventKind.TRADED
        fields: Fields = {"type": "done", "reason": "filled" if filled else "canceled"}
        if order.kind is Kind.LIMIT:
            rest_lots = 0 if filled else event.qty_lots - event.cum_lots - event.prevented_lots
            fields |= {"price": self._price(order, order.price_ticks), "remaining_size": self._size(order, rest_lots)}
        if event.reason in CANCEL_REASONS:
            fields["cancel_reason"] = CANCEL_REASONS[event.reason]
        return fields

    def _price(self, order: Order, ticks: int) -> str:
        return fixed(ticks, self._products[order.instrument.symbol].price_decimals)

    def _size(self, order: Order, lots: int) -> str:
        return fixed(lots, self._products[order.instrument.symbol].qty_decimals)
