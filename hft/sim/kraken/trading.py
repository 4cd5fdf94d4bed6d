"""Kraken's trading methods of the private socket: each request becomes one reply, a cancellation one for each order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from hft.sim.exchange.records import BUY, SELL, Account, Order
from hft.sim.faults import Action
from hft.sim.kraken.keys import Key, Permission
from hft.sim.kraken.orders import ARGUMENTS, STP_TYPES, TIFS, Change, NewOrder, OrderDesk, check, check_deadline, order_txid, sensible
from hft.sim.kraken.pairs import Pair
from hft.sim.kraken.wire import KrakenError
from hft.sim.texts import SECOND_NS, parse_rfc3339, rfc3339_seconds

BATCH_ADD_MIN, BATCH_ADD_MAX = 2, 15
BATCH_CANCEL_MIN, BATCH_CANCEL_MAX = 2, 50
TIMEOUT_MAX_S = 86_400
#: Parameters that are understood; others of the venue's are refused rather than ignored, for they would change the order.
ORDER_FIELDS = {
    *("order_type", "side", "symbol", "order_qty", "cash_order_qty", "limit_price", "limit_price_type", "time_in_force", "expire_time"),
    *("deadline", "post_only", "reduce_only", "margin", "cl_ord_id", "order_userref", "stp_type", "fee_preference", "sender_sub_id"),
    *("validate", "token", "no_mpp"),
}
#: method -> kind of request
ACTIONS: Mapping[str, Action] = {
    "add_order": "place",
    "batch_add": "place",
    "amend_order": "amend",
    "cancel_order": "cancel",
    "cancel_all": "cancel",
    "batch_cancel": "cancel",
    "cancel_all_orders_after": "cancel",
}
#: Of a reply beside the envelope: `result`, `error` or `orders_cancelled`.
Reply = dict[str, Any]


class Asked(NamedTuple):
    """A request."""

    account: Account
    params: Mapping[str, Any]
    now_ns: int


class TradingMethods:
    """Answers the trading methods."""

    def __init__(self, desk: OrderDesk, pairs: Mapping[str, Pair]) -> None:
        self._desk, self._pairs = desk, pairs
        self._methods: Mapping[str, tuple[tuple[Permission, ...], Callable[[Asked], list[Reply]]]] = {
            "add_order": ((Permission.MODIFY,), self._add),
            "batch_add": ((Permission.MODIFY,), self._batch_add),
            "amend_order": ((Permission.MODIFY, Permission.CANCEL), self._amend),
            "cancel_order": ((Permission.MODIFY, Permission.CANCEL), self._cancel),
            "cancel_all": ((Permission.MODIFY, Permission.CANCEL), self._cancel_all),
            "batch_cancel": ((Permission.MODIFY, Permission.CANCEL), self._batch_cancel),
            "cancel_all_orders_after": ((Permission.MODIFY, Permission.CANCEL), self._cancel_after),
        }

    def call(self, method: str, key: Key, params: Mapping[str, Any], now_ns: int) -> list[Reply]:
        """Carry out a method of ACTIONS and return its replies. Raises KrakenError."""
        permissions, function = self._methods[method]
        key.require(*permissions)
        return function(Asked(self._desk.account(key.account), params, now_ns))

    def _add(self, asked: Asked) -> list[Reply]:
        params = asked.params
        pair = self._pair(params.get("symbol"))
        self._desk.limits.add(asked.account.name, pair.symbol, asked.now_ns)
        new = read_order(pair, params, asked.now_ns)
        check_deadline(_time(params, "deadline"), asked.now_ns)
        dry_run = _flag(params, "validate")
        order = self._desk.place(asked.account, new, asked.now_ns, dry_run)
        return [{"result": _references(new, "" if dry_run else order_txid(order))}]

    def _batch_add(self, asked: Asked) -> list[Reply]:
        """Check the whole batch, then place its orders one by one: those that the engine refuses do not stop the others."""
        params = asked.params
        pair = self._pair(params.get("symbol"))
        orders = params.get("orders")
        if not isinstance(orders, list) or not BATCH_ADD_MIN <= len(orders) <= BATCH_ADD_MAX:
            raise KrakenError(f"{ARGUMENTS}:orders")
        self._desk.limits.add(asked.account.name, pair.symbol, asked.now_ns, len(orders))
        news = [read_order(pair, order if isinstance(order, dict) else {}, asked.now_ns) for order in orders]
        check_deadline(_time(params, "deadline"), asked.now_ns)
        dry_run = _flag(params, "validate")
        results = []
        for new in news:
            try:
                order = self._desk.place(asked.account, new, asked.now_ns, dry_run)
                results.append(_references(new, "" if dry_run else order_txid(order)))
            except KrakenError as error:
                results.append({"error": str(error), "success": False, **_references(new, "")})
        return [{"result": results}]

    def _amend(self, asked: Asked) -> list[Reply]:
        params = asked.params
        order = self._one_open(asked, params)
        check_deadline(_time(params, "deadline"), asked.now_ns)
        if "display_qty" in params or "trigger_price" in params:
            raise KrakenError(ARGUMENTS)
        change = Change(_decimal(params, "order_qty"), _decimal(params, "limit_price"), _flag(params, "post_only"))
        amend_id = self._desk.amend(asked.account, order, change, asked.now_ns)
        named = {"cl_ord_id": params["cl_ord_id"]} if params.get("cl_ord_id") else {"order_id": order_txid(order)}
        return [{"result": {"amend_id": amend_id, **named}}]

    def _cancel(self, asked: Asked) -> list[Reply]:
        """Return one reply for each order that was named."""
        params = asked.params
        given = [name for name in ("order_id", "cl_ord_id", "order_userref") if name in params]
        if len(given) != 1 or not isinstance(params[given[0]], list) or not params[given[0]]:
            raise KrakenError(ARGUMENTS)
        replies: list[Reply] = []
        for name in params[given[0]]:
            try:
                for order in self._named(asked.account, given[0], name):
                    self._desk.cancel(asked.account, order, asked.now_ns)
                    named = {"cl_ord_id": order.client_id} if given[0] == "cl_ord_id" else {}
                    replies.append({"result": {**named, "order_id": order_txid(order)}})
            except KrakenError as error:
                replies.append({"error": str(error)})
        return replies

    def _cancel_all(self, asked: Asked) -> list[Reply]:
        return [{"result": {"count": self._desk.cancel_all(asked.account, asked.now_ns)}}]

    def _batch_cancel(self, asked: Asked) -> list[Reply]:
        lists = [(kind, asked.params.get(kind, [])) for kind in ("orders", "cl_ord_id")]
        names = [(kind, name) for kind, named in lists if isinstance(named, list) for name in named]
        if not BATCH_CANCEL_MIN <= len(names) <= BATCH_CANCEL_MAX:
            raise KrakenError(f"{ARGUMENTS}:orders")
        count = 0
        for kind, name in names:
            try:
                for order in self._named(asked.account, kind, name):
                    self._desk.cancel(asked.account, order, asked.now_ns)
                    count += 1
            except KrakenError:
                continue
        if not count:
            raise KrakenError("EOrder:Unknown order")
        return [{"orders_cancelled": count}]

    def _cancel_after(self, asked: Asked) -> list[Reply]:
        return [{"result": arm_dead_man(self._desk, asked.account, asked.params.get("timeout"), asked.now_ns)}]

    def _one_open(self, asked: Asked, params: Mapping[str, Any]) -> Order:
        txid, client_id = params.get("order_id"), params.get("cl_ord_id")
        if bool(txid) == bool(client_id):
            raise KrakenError(ARGUMENTS)
        return self._desk.find_open(asked.account, str(txid or ""), str(client_id or ""))

    def _named(self, account: Account, kind: str, name: object) -> list[Order]:
        """Return the open orders that a name of a kind means. Raises KrakenError."""
        if isinstance(name, int) and not isinstance(name, bool) and kind in ("order_userref", "orders"):
            orders = self._desk.with_userref(account, name)
            if not orders:
                raise KrakenError("EOrder:Unknown order")
            return orders
        if not isinstance(name, str) or kind == "order_userref":
            raise KrakenError(ARGUMENTS)
        return [self._desk.find_open(account, client_id=name) if kind == "cl_ord_id" else self._desk.find_open(account, name)]

    def _pair(self, symbol: object) -> Pair:
        if not isinstance(symbol, str) or symbol not in self._pairs:
            raise KrakenError("EQuery:Unknown asset pair")
        return self._pairs[symbol]


def read_order(pair: Pair, params: Mapping[str, Any], now_ns: int) -> NewOrder:
    """Return an order of the socket's parameters, checked in itself. Raises KrakenError."""
    unknown = [name for name in params if name not in ORDER_FIELDS]
    if unknown:
        raise KrakenError(f"{ARGUMENTS}:{unknown[0][:40]}")
    order_type, side, tif = params.get("order_type"), params.get("side"), params.get("time_in_force", "gtc")
    stp_type, userref = params.get("stp_type", "cancel_newest"), params.get("order_userref")
    choices = (
        (order_type in ("limit", "market"), "ordertype"),
        (side in ("buy", "sell"), "side"),
        (isinstance(tif, str) and tif.lower() in TIFS, "time_in_force"),
        (isinstance(stp_type, str) and stp_type in STP_TYPES, "stp_type"),
        (userref is None or isinstance(userref, int) and not isinstance(userref, bool), "userref"),
        (isinstance(params.get("cl_ord_id", ""), str), "cl_ord_id"),
        (params.get("limit_price_type", "static") == "static", "limit_price_type"),
        (params.get("fee_preference", "quote") == "quote", "fee_preference"),
        (not _flag(params, "margin"), "margin"),
        (not _flag(params, "reduce_only"), "reduce_only"),
    )
    for fine, name in choices:
        if not fine:
            raise KrakenError(f"{ARGUMENTS}:{name}")
    new = NewOrder(
        pair,
        BUY if side == "buy" else SELL,
        str(order_type),
        _decimal(params, "order_qty"),
        _decimal(params, "cash_order_qty"),
        _decimal(params, "limit_price"),
        str(tif).lower(),
        _time(params, "expire_time"),
        _flag(params, "post_only"),
        params.get("cl_ord_id", ""),
        userref,
        str(stp_type),
    )
    check(new, now_ns)
    return new


def arm_dead_man(desk: OrderDesk, account: Account, timeout: object, now_ns: int) -> dict[str, str]:
    """Set or stop an account's dead-man timer and return what the venue says of it. Raises KrakenError."""
    if not isinstance(timeout, int) or isinstance(timeout, bool) or not 0 <= timeout <= TIMEOUT_MAX_S:
        raise KrakenError(f"{ARGUMENTS}:timeout")
    at_ns = now_ns + timeout * SECOND_NS
    desk.exchange.cancel_all_after(account, at_ns if timeout else 0)
    return {"currentTime": rfc3339_seconds(now_ns), "triggerTime": rfc3339_seconds(at_ns) if timeout else "0"}


def _references(new: NewOrder, txid: str) -> Reply:
    row: Reply = {"order_id": txid} if txid else {}
    if new.client_id:
        row["cl_ord_id"] = new.client_id
    if new.userref is not None:
        row["order_userref"] = new.userref
    return row


def _decimal(params: Mapping[str, Any], name: str) -> Decimal | None:
    value = params.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise KrakenError(f"{ARGUMENTS}:{name}")
    return sensible(Decimal(value), name)


def _flag(params: Mapping[str, Any], name: str) -> bool:
    value = params.get(name, False)
    if not isinstance(value, bool):
        raise KrakenError(f"{ARGUMENTS}:{name}")
    return value


def _time(params: Mapping[str, Any], name: str) -> int:
    value = params.get(name)
    if value is None:
        return 0
    try:
        return parse_rfc3339(value)
    except (TypeError, ValueError) as error:
        raise KrakenError(f"{ARGUMENTS}:{name}") from error
