"""Kraken's private REST: balances, orders and trades of the key's account, and the order requests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from hft.sim.exchange.records import BUY, SELL, Account, Fill, Order, OrderStatus
from hft.sim.faults import Action
from hft.sim.kraken.keys import Key, Keyring, Permission
from hft.sim.kraken.orders import (
    ARGUMENTS,
    STP_TYPES,
    TIFS,
    Change,
    NewOrder,
    OrderDesk,
    check,
    check_deadline,
    order_txid,
    sensible,
    tag_of,
)
from hft.sim.kraken.pairs import MONEY_DECIMALS, Pair, assets, by_any_name
from hft.sim.kraken.reports import REASONS, average_price, exec_id
from hft.sim.kraken.trading import arm_dead_man
from hft.sim.kraken.wire import KrakenError, unix_seconds
from hft.sim.texts import SECOND_NS, fixed, parse_rfc3339

PAGE = 50
#: Of prices of trades.
REST_DECIMALS = 5
QUERY_MAX = 50
STP_NAMES = {name.replace("_", "-"): name for name in STP_TYPES}
#: method -> kind of request of the order path; other methods are no part of it
ACTIONS: Mapping[str, Action] = {
    "AddOrder": "place",
    "AmendOrder": "amend",
    "CancelOrder": "cancel",
    "CancelAll": "cancel",
    "CancelAllOrdersAfter": "cancel",
    "OpenOrders": "query",
    "ClosedOrders": "query",
    "QueryOrders": "query",
}
UNKNOWN_ORDER = "EOrder:Unknown order"


class PrivateRequest(NamedTuple):
    """A request whose signature is true."""

    key: Key
    fields: Mapping[str, Any]
    now_ns: int


class PrivateRest:
    """Answers private requests."""

    def __init__(self, desk: OrderDesk, pairs: Mapping[str, Pair], keyring: Keyring) -> None:
        self._desk, self._pairs, self._keyring = desk, pairs, keyring
        self._names, self._assets = by_any_name(pairs.values()), assets(pairs.values())
        modify, cancel = (Permission.MODIFY,), (Permission.MODIFY, Permission.CANCEL)
        either = (Permission.OPEN, Permission.CLOSED)
        self._methods: Mapping[str, tuple[tuple[Permission, ...], Callable[[Account, PrivateRequest], object]]] = {
            "GetWebSocketsToken": ((Permission.SOCKET,), self._token),
            "Balance": ((Permission.FUNDS,), self._balance),
            "BalanceEx": ((Permission.FUNDS,), self._balance_extended),
            "OpenOrders": ((Permission.OPEN,), self._open_orders),
            "ClosedOrders": ((Permission.CLOSED,), self._closed_orders),
            "QueryOrders": (either, self._query_orders),
            "TradesHistory": ((Permission.CLOSED,), self._trades_history),
            "QueryTrades": ((Permission.CLOSED,), self._query_trades),
            "AddOrder": (modify, self._add),
            "AmendOrder": (cancel, self._amend),
            "CancelOrder": (cancel, self._cancel),
            "CancelAll": (cancel, self._cancel_all),
            "CancelAllOrdersAfter": (cancel, self._cancel_after),
        }

    def knows(self, name: str) -> bool:
        """Return whether there is such a method."""
        return name in self._methods

    def call(self, name: str, request: PrivateRequest) -> object:
        """Carry out a method and return its result. Raises KrakenError."""
        permissions, function = self._methods[name]
        request.key.require(*permissions)
        return function(self._desk.account(request.key.account), request)

    def _token(self, account: Account, request: PrivateRequest) -> object:
        return {"token": self._keyring.new_token(request.key, request.now_ns), "expires": 900}

    def _balance(self, account: Account, request: PrivateRequest) -> object:
        return {self._assets[asset].rest_name: fixed(account.free[asset] + account.hold[asset], MONEY_DECIMALS) for asset in account.free}

    def _balance_extended(self, account: Account, request: PrivateRequest) -> object:
        return {
            self._assets[asset].rest_name: {
                "balance": fixed(account.free[asset] + account.hold[asset], MONEY_DECIMALS),
                "hold_trade": fixed(account.hold[asset], MONEY_DECIMALS),
            }
            for asset in account.free
        }

    def _open_orders(self, account: Account, request: PrivateRequest) -> object:
        orders = [order for order in account.open.values() if _wanted(order, request.fields)]
        return {"open": {order_txid(order): self._order(order, request.fields) for order in reversed(orders)}}

    def _closed_orders(self, account: Account, request: PrivateRequest) -> object:
        begin_ns, end_ns, skip = _window(request.fields)
        orders = [order for order in account.closed if _wanted(order, request.fields) and begin_ns <= order.updated_ns <= end_ns]
        page = orders[::-1][skip : skip + PAGE]
        return {"closed": {order_txid(order): self._order(order, request.fields) for order in page}, "count": len(orders)}

    def _query_orders(self, account: Account, request: PrivateRequest) -> object:
        fields = request.fields
        if fields.get("cl_ord_id"):
            found = [self._desk.find(account, client_id=str(fields["cl_ord_id"]))]
        else:
            found = [self._desk.find(account, txid) for txid in _listed(fields, "txid")]
        orders = [order for order in found if order is not None and _wanted(order, {**fields, "cl_ord_id": ""})]
        if not orders:
            raise KrakenError(UNKNOWN_ORDER)
        return {order_txid(order): self._order(order, fields) for order in orders}

    def _trades_history(self, account: Account, request: PrivateRequest) -> object:
        fields = request.fields
        fills = list(account.fills)
        if str(fields.get("start", "")).startswith("T"):
            places = [place for place, fill in enumerate(fills) if exec_id(fill) == fields["start"]]
            fills = fills[places[0] + 1 :] if places else fills
            fields = {name: value for name, value in fields.items() if name != "start"}
        begin_ns, end_ns, skip = _window(fields)
        fills = [fill for fill in fills if begin_ns <= fill.at_ns <= end_ns]
        page = fills[::-1][skip : skip + PAGE]
        return {"trades": {exec_id(fill): self._fill(fill) for fill in page}, "count": len(fills)}

    def _query_trades(self, account: Account, request: PrivateRequest) -> object:
        wanted = _listed(request.fields, "txid")
        known = {exec_id(fill): fill for fill in account.fills}
        found = {txid: self._fill(known[txid]) for txid in wanted if txid in known}
        if not found:
            raise KrakenError("EQuery:Unknown trade")
        return found

    def _add(self, account: Account, request: PrivateRequest) -> object:
        fields = request.fields
        pair = self._names.get(str(fields.get("pair", "")))
        if pair is None:
            raise KrakenError("EQuery:Unknown asset pair")
        self._desk.limits.add(account.name, pair.symbol, request.now_ns)
        new = read_form(pair, fields, request.now_ns)
        check_deadline(_deadline(fields), request.now_ns)
        dry_run = _flag(fields, "validate")
        order = self._desk.place(account, new, request.now_ns, dry_run)
        result: dict[str, object] = {"descr": {"order": self._described(order)}}
        if not dry_run:
            result["txid"] = [order_txid(order)]
            if new.client_id:
                result["cl_ord_id"] = new.client_id
        return result

    def _amend(self, account: Account, request: PrivateRequest) -> object:
        fields = request.fields
        txid, client_id = str(fields.get("txid", "")), str(fields.get("cl_ord_id", ""))
        if bool(txid) == bool(client_id):
            raise KrakenError(ARGUMENTS)
        order = self._desk.find_open(account, txid, client_id)
        check_deadline(_deadline(fields), request.now_ns)
        change = Change(_decimal(fields, "order_qty"), _decimal(fields, "limit_price"), _flag(fields, "post_only"))
        return {"amend_id": self._desk.amend(account, order, change, request.now_ns)}

    def _cancel(self, account: Account, request: PrivateRequest) -> object:
        fields = request.fields
        txid, client_id = str(fields.get("txid", "")), str(fields.get("cl_ord_id", ""))
        if txid.isascii() and txid.isdigit():
            orders = self._desk.with_userref(account, int(txid))
            if not orders:
                raise KrakenError(UNKNOWN_ORDER)
        elif txid or client_id:
            orders = [self._desk.find_open(account, txid, client_id)]
        else:
            raise KrakenError(f"{ARGUMENTS}:txid")
        for order in orders:
            self._desk.cancel(account, order, request.now_ns)
        return {"count": len(orders)}

    def _cancel_all(self, account: Account, request: PrivateRequest) -> object:
        return {"count": self._desk.cancel_all(account, request.now_ns)}

    def _cancel_after(self, account: Account, request: PrivateRequest) -> object:
        timeout = request.fields.get("timeout")
        if isinstance(timeout, str) and timeout.isascii() and timeout.isdigit() and len(timeout) < 10:
            timeout = int(timeout)
        return arm_dead_man(self._desk, account, timeout, request.now_ns)

    def _described(self, order: Order) -> str:
        pair, request = self._pairs[order.instrument.symbol], tag_of(order).request
        qty = fixed(order.qty_lots, pair.qty_decimals) if request.qty is not None else fixed(order.quote_qty_e8, MONEY_DECIMALS)
        price = f"limit {fixed(order.price_ticks, pair.price_decimals)}" if request.order_type == "limit" else "market"
        return f"{'buy' if order.side > 0 else 'sell'} {qty} {pair.alternative} @ {price}"

    def _order(self, order: Order, fields: Mapping[str, Any]) -> dict[str, object]:
        pair, request = self._pairs[order.instrument.symbol], tag_of(order).request
        zero = fixed(0, pair.price_decimals)
        price = fixed(order.price_ticks, pair.price_decimals)
        row: dict[str, object] = {
            "refid": None,
            "userref": request.userref or 0,
            **({"cl_ord_id": request.client_id} if request.client_id else {}),
            "status": {OrderStatus.OPEN: "open", OrderStatus.FILLED: "closed"}.get(order.status, order.status.name.lower()),
            "reason": REASONS.get(order.reason),
            "opentm": unix_seconds(order.created_ns),
            **({} if order.is_open else {"closetm": unix_seconds(order.updated_ns)}),
            "starttm": 0,
            "expiretm": unix_seconds(order.expires_ns) if order.expires_ns else 0,
            "descr": {
                "pair": pair.alternative,
                "type": "buy" if order.side > 0 else "sell",
                "ordertype": request.order_type,
                "price": price,
                "price2": "0",
                "leverage": "none",
                "order": self._described(order),
                "close": "",
            },
            "vol": fixed(order.qty_lots, pair.qty_decimals),
            "vol_exec": fixed(order.cum_lots, pair.qty_decimals),
            "cost": fixed(order.cum_quote_e8, MONEY_DECIMALS),
            "fee": fixed(sum(fill.fee_e8 for fill in order.fills), MONEY_DECIMALS),
            "price": bytes(average_price(order, pair, order.cum_lots, order.cum_quote_e8)).decode(),
            "stopprice": zero,
            "limitprice": zero,
            "misc": "",
            "oflags": "fciq,post" if request.post_only else "fciq",
        }
        if tag_of(order).amended:
            row["amended"] = True
        if order.fills and _flag(fields, "trades"):
            row["trades"] = [exec_id(fill) for fill in order.fills]
        return row

    def _fill(self, fill: Fill) -> dict[str, object]:
        order = fill.order
        pair = self._pairs[order.instrument.symbol]
        return {
            "ordertxid": order_txid(order),
            "postxid": "",
            "pair": pair.rest_name,
            "time": unix_seconds(fill.at_ns),
            "type": "buy" if order.side > 0 else "sell",
            "ordertype": tag_of(order).request.order_type,
            "price": fixed(fill.price_ticks * 10 ** (REST_DECIMALS - pair.price_decimals), REST_DECIMALS),
            "cost": fixed(fill.cost_e8, MONEY_DECIMALS),
            "fee": fixed(fill.fee_e8, MONEY_DECIMALS),
            "vol": fixed(fill.qty_lots, pair.qty_decimals),
            "margin": fixed(0, MONEY_DECIMALS),
            "misc": "",
            "trade_id": fill.trade_id,
            "maker": fill.maker,
        }


def read_form(pair: Pair, fields: Mapping[str, Any], now_ns: int) -> NewOrder:
    """Return an order of the form's fields, checked in itself. Raises KrakenError."""
    order_type, side, tif = fields.get("ordertype"), fields.get("type"), str(fields.get("timeinforce") or "gtc").lower()
    flags = [flag for flag in str(fields.get("oflags") or "").split(",") if flag]
    stp_type, userref = str(fields.get("stptype") or "cancel-newest"), fields.get("userref")
    choices = (
        (order_type in ("limit", "market"), "ordertype"),
        (side in ("buy", "sell"), "type"),
        (tif in TIFS, "timeinforce"),
        (stp_type in STP_NAMES, "stptype"),
        (set(flags) <= {"fciq", "post", "viqc", "nompp"}, "oflags"),
        (userref is None or str(userref).isascii() and str(userref).isdigit() and len(str(userref)) < 11, "userref"),
        (str(fields.get("leverage") or "none") in ("none", "0"), "leverage"),
        (not _flag(fields, "reduce_only"), "reduce_only"),
    )
    for fine, name in choices:
        if not fine:
            raise KrakenError(f"{ARGUMENTS}:{name}")
    volume, in_quote = _decimal(fields, "volume"), "viqc" in flags
    new = NewOrder(
        pair,
        BUY if side == "buy" else SELL,
        str(order_type),
        None if in_quote else volume,
        volume if in_quote else None,
        _decimal(fields, "price"),
        tif,
        _expiry(fields, now_ns),
        "post" in flags,
        str(fields.get("cl_ord_id") or ""),
        int(userref) if userref is not None else None,
        STP_NAMES[stp_type],
    )
    check(new, now_ns)
    return new


def _expiry(fields: Mapping[str, Any], now_ns: int) -> int:
    """Return when an order expires: a time in seconds, or `+` seconds from now; 0 is never."""
    text = str(fields.get("expiretm") or "0")
    relative = text.startswith("+")
    text = text.removeprefix("+")
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise KrakenError(f"{ARGUMENTS}:expiretm")
    return int(text) * SECOND_NS + (now_ns if relative else 0)


def _wanted(order: Order, fields: Mapping[str, Any]) -> bool:
    """Return whether an order passes the filters of a request."""
    request = tag_of(order).request
    userref, client_id = str(fields.get("userref") or ""), str(fields.get("cl_ord_id") or "")
    return (not userref or str(request.userref) == userref) and (not client_id or request.client_id == client_id)


def _window(fields: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return first and last time in ns, and how many rows to skip."""
    try:
        begin, end = (Decimal(str(fields.get(name) or default)) for name, default in (("start", "0"), ("end", "9000000000")))
        skip = int(str(fields.get("ofs") or 0))
    except (InvalidOperation, ValueError) as error:
        raise KrakenError(ARGUMENTS) from error
    if skip < 0:
        raise KrakenError(ARGUMENTS)
    return int(sensible(begin, "start") * SECOND_NS), int(sensible(end, "end") * SECOND_NS), skip


def _listed(fields: Mapping[str, Any], name: str) -> Iterable[str]:
    names = [txid for txid in str(fields.get(name) or "").split(",") if txid]
    if not names or len(names) > QUERY_MAX:
        raise KrakenError(f"{ARGUMENTS}:{name}")
    return names


def _decimal(fields: Mapping[str, Any], name: str) -> Decimal | None:
    """Return a number, which may be text or a JSON number."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    try:
        return sensible(Decimal(str(value)), name)
    except InvalidOperation as error:
        raise KrakenError(f"{ARGUMENTS}:{name}") from error


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    return str(fields.get(name) or "false").lower() in ("true", "1")


def _deadline(fields: Mapping[str, Any]) -> int:
    text = fields.get("deadline")
    if not text:
        return 0
    try:
        return parse_rfc3339(str(text))
    except ValueError as error:
        raise KrakenError(f"{ARGUMENTS}:deadline") from error
