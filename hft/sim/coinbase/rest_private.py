"""Coinbase's private REST: orders, fills, balances and fees of the key's account."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from hft.sim.armed_faults import ArmedFaults
from hft.sim.coinbase.keys import Key, Keyring, Permission
from hft.sim.coinbase.orders import OrderDesk, request_of
from hft.sim.coinbase.pages import Query, number_of, one, page, time_of
from hft.sim.coinbase.rates import RequestRates
from hft.sim.coinbase.rows import account_rows, fill_row, order_row, placed_row
from hft.sim.coinbase.wire import CoinbaseError, rate_text
from hft.sim.delivery import Delivery
from hft.sim.exchange.records import Account, Order
from hft.sim.faults import Action
from hft.sim.texts import decode_json, rfc3339
from hft.sim.venue import Response, json_response

PAGE = 100
#: Statuses that GET /orders knows; those of orders that may still trade are what it lists unless it is asked for others.
LIVE, STATUSES = ("open", "pending", "active", "received"), ("open", "pending", "active", "received", "rejected", "done", "settled", "all")
SORTS = ("created_at", "price", "size", "order_id", "side", "type")
REFUSALS = {429: "Private rate limit exceeded", 503: "Service unavailable"}
VIEW, TRADE = (Permission.VIEW, Permission.TRADE), (Permission.TRADE,)


class Asked(NamedTuple):
    """A request whose signature is true."""

    account: Account
    name: str  #: last segment of the path
    query: Query
    body: bytes
    now_ns: int


class _Route(NamedTuple):
    permissions: tuple[Permission, ...]
    answer: Callable[[Asked], Response]
    action: Action | None = None  #: kind of request of the order path


class PrivateRest:
    """Answers private requests."""

    def __init__(self, desk: OrderDesk, keyring: Keyring, rates: RequestRates, faults: ArmedFaults, delivery: Delivery) -> None:
        self._desk, self._keyring, self._rates, self._faults, self._delivery = desk, keyring, rates, faults, delivery
        #: (method, first segment, whether a second one names something) -> route
        self._routes: Mapping[tuple[str, str, bool], _Route] = {
            ("GET", "accounts", False): _Route(VIEW, self._accounts),
            ("GET", "accounts", True): _Route(VIEW, self._account),
            ("GET", "fees", False): _Route(VIEW, self._fees),
            ("GET", "fills", False): _Route(VIEW, self._fills, "query"),
            ("GET", "orders", False): _Route(VIEW, self._orders, "query"),
            ("GET", "orders", True): _Route(VIEW, self._order, "query"),
            ("POST", "orders", False): _Route(TRADE, self._place, "place"),
            ("DELETE", "orders", False): _Route(TRADE, self._cancel_all, "cancel"),
            ("DELETE", "orders", True): _Route(TRADE, self._cancel, "cancel"),
        }

    def answer(
        self, method: str, target: str, segments: list[str], query: Query, headers: Mapping[str, str], body: bytes, now_ns: int
    ) -> Response:
        """Answer a request at UTC `now_ns`. Raises CoinbaseError."""
        key: Key = self._keyring.authenticate(method, target, headers, body, now_ns)
        self._rates.private(key.account, segments[0] == "fills", now_ns)
        route = self._routes.get((method, segments[0], len(segments) == 2)) if len(segments) <= 2 else None
        if route is None:
            raise CoinbaseError(404, "NotFound")
        key.require(*route.permissions)
        asked = Asked(self._desk.account(key.account), segments[-1], query, body, now_ns)
        if route.action is None:
            return route.answer(asked)
        refusal = self._faults.refusal(route.action)
        if refusal is not None:
            raise CoinbaseError(refusal.status, REFUSALS.get(refusal.status, "Internal server error"))
        return self._delivery.answer(route.answer(asked), route.action)

    def _accounts(self, asked: Asked) -> Response:
        return json_response(account_rows(asked.account))

    def _account(self, asked: Asked) -> Response:
        row = next((row for row in account_rows(asked.account) if row["id"] == asked.name), None)
        if row is None:
            raise CoinbaseError(404, "NotFound")
        return json_response(row)

    def _fees(self, asked: Asked) -> Response:
        account = asked.account
        rates = {"maker_fee_rate": rate_text(account.maker_rate_e8), "taker_fee_rate": rate_text(account.taker_rate_e8)}
        return json_response({**rates, "usd_volume": "0.00"})

    def _place(self, asked: Asked) -> Response:
        try:
            fields = decode_json(asked.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise CoinbaseError(400, "Bad Request - Invalid JSON") from error
        if not isinstance(fields, dict):
            raise CoinbaseError(400, "Bad Request - Invalid JSON")
        placed = self._desk.place(asked.account, fields, asked.now_ns)
        return json_response(placed_row(asked.account, placed, asked.now_ns))

    def _cancel(self, asked: Asked) -> Response:
        return json_response(self._desk.cancel(asked.account, asked.name, asked.now_ns))

    def _cancel_all(self, asked: Asked) -> Response:
        if any(name not in ("product_id", "profile_id") for name in asked.query):
            raise CoinbaseError(400, "BadRequest")
        name = one(asked.query, "product_id")
        product = self._desk.product(name, "ProductNotFound") if name else None
        return json_response(self._desk.cancel_all(asked.account, product, asked.now_ns))

    def _order(self, asked: Asked) -> Response:
        """Answer an order; one that was cancelled before any of it was filled is forgotten."""
        order = self._desk.find(asked.account, asked.name)
        if order is None or _forgotten(order):
            raise CoinbaseError(404, "NotFound")
        return json_response(order_row(order, self._desk.products))

    def _orders(self, asked: Asked) -> Response:
        query = asked.query
        statuses = query.get("status") or LIVE
        if any(status not in STATUSES for status in statuses):
            raise CoinbaseError(400, "Invalid status")
        name, sorted_by, sorting = one(query, "product_id"), one(query, "sortedBy") or "created_at", one(query, "sorting") or "desc"
        if sorted_by not in SORTS or sorting not in ("asc", "desc"):
            raise CoinbaseError(400, "Invalid sorting")
        product = self._desk.product(name) if name else None
        wanted = [
            order
            for order in asked.account.orders.values()
            if (product is None or order.instrument.symbol == product.product_id) and _in(order, statuses) and not _forgotten(order)
        ]
        wanted = _between(wanted, one(query, "start_date"), one(query, "end_date"))
        orders, headers = page(reversed(wanted), query, PAGE, lambda order: order.created_ns // 1000, _microseconds, _written)
        if (sorted_by, sorting) != ("created_at", "desc"):
            orders.sort(key=_sort_key(sorted_by), reverse=sorting == "desc")
        return json_response([order_row(order, self._desk.products) for order in orders], headers=headers)

    def _fills(self, asked: Asked) -> Response:
        query = asked.query
        order_id, name = one(query, "order_id"), one(query, "product_id")
        if not order_id and not name:
            raise CoinbaseError(400, "Either order_id or product_id is required")
        product = self._desk.product(name) if name else None
        order = self._desk.find(asked.account, order_id) if order_id else None
        fills = [
            fill
            for fill in asked.account.fills
            if (product is None or fill.order.instrument.symbol == product.product_id) and (not order_id or fill.order is order)
        ]
        fills.sort(key=lambda fill: fill.trade_id, reverse=True)
        rows, headers = page(fills, query, PAGE, lambda fill: fill.trade_id, number_of, str)
        return json_response([fill_row(fill, self._desk.products) for fill in rows], headers=headers)


def _forgotten(order: Order) -> bool:
    return not order.is_open and not order.cum_lots


def _in(order: Order, statuses: Any) -> bool:
    return "all" in statuses or ("open" in statuses if order.is_open else "done" in statuses or "settled" in statuses)


def _between(orders: list[Order], begin: str, end: str) -> list[Order]:
    """Return the orders placed between two times, either of which may be missing. Raises CoinbaseError."""
    if begin:
        begin_ns = time_of(begin, "start_date")
        orders = [order for order in orders if order.created_ns >= begin_ns]
    if end:
        end_ns = time_of(end, "end_date")
        orders = [order for order in orders if order.created_ns <= end_ns]
    return orders


def _sort_key(name: str) -> Callable[[Order], Any]:
    keys: Mapping[str, Callable[[Order], Any]] = {
        "created_at": lambda order: order.order_id,
        "order_id": lambda order: order.order_id,
        "price": lambda order: order.price_ticks * order.instrument.tick,
        "size": lambda order: order.qty_lots * order.instrument.lot,
        "side": lambda order: -order.side,
        "type": lambda order: request_of(order).order_type,
    }
    return keys[name]


def _microseconds(text: str, name: str) -> int:
    return time_of(text, name) // 1000


def _written(microseconds: int) -> str:
    return rfc3339(microseconds * 1000)
