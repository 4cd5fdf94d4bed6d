"""The order desk of the simulated Binance: every signed method of the WebSocket API and its REST twin, on the exchange.

Each method takes who asks, the parameters without those of the signature, and the time; it returns the result as JSON text or
raises ApiError.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from hft.sim.binance.errors import NEW_ORDER, UNKNOWN_ORDER, ApiError
from hft.sim.binance.keys import ApiKey
from hft.sim.binance.limits import OrderLimits
from hft.sim.binance.new_order import (
    MAX_NUM_ORDER_AMENDS,
    NEW_ORDER_PARAMS,
    NewOrder,
    Pair,
    find_pair,
    read_new_order,
)
from hft.sim.binance.parameters import choice, client_id, decimal_e8, flag, integer, limit, only
from hft.sim.binance.reports import (
    Named,
    Tag,
    account_text,
    amended_text,
    canceled_text,
    order_text,
    placed_text,
    text8,
    trade_text,
)
from hft.sim.exchange.exchange import Exchange
from hft.sim.exchange.records import Account, EventKind, Kind, Order, Refusal, Refused

DAY_MS = 86_400_000
ROWS, ROWS_MAX = 500, 1000
ORDER_KEYS = frozenset(("symbol", "orderId", "origClientOrderId"))
CANCEL_KEYS = ORDER_KEYS | {"newClientOrderId", "cancelRestrictions"}
REPLACE_KEYS = NEW_ORDER_PARAMS | {
    "cancelReplaceMode",
    "cancelOrderId",
    "cancelOrigClientOrderId",
    "cancelNewClientOrderId",
    "cancelRestrictions",
    "orderRateLimitExceededMode",
}
RANGE_KEYS = frozenset(("symbol", "orderId", "startTime", "endTime", "limit"))


class Caller(NamedTuple):
    """Who asks."""

    key: ApiKey
    account: Account
    limits: OrderLimits
    unit_ns: int  #: what times in answers count


class OrderDesk:
    """Carries out the signed methods."""

    def __init__(self, exchange: Exchange, pairs: Mapping[str, Pair]) -> None:
        """`pairs` is by symbol."""
        self._exchange = exchange
        self._pairs = pairs
        self._made_ids = 0
        #: method -> what carries it out
        self.methods: Mapping[str, Callable[[Caller, Mapping[str, str], int], str]] = {
            "order.place": self.place,
            "order.test": self.test,
            "order.cancel": self.cancel,
            "order.cancelReplace": self.cancel_replace,
            "order.amend.keepPriority": self.amend,
            "openOrders.cancelAll": self.cancel_all,
            "order.status": self.status,
            "openOrders.status": self.open_orders,
            "allOrders": self.all_orders,
            "myTrades": self.my_trades,
            "account.status": self.account,
            "account.commission": self.commission,
            "account.rateLimits.orders": self.order_limits,
        }

    def place(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Place an order."""
        new = read_new_order(self._pairs, params)
        self._check_room(caller, utc_ns)
        return placed_text(self._place(caller, new, utc_ns), caller.unit_ns, new.response_type)

    def test(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Check an order, and do nothing."""
        rates = flag(params, "computeCommissionRates")
        new = read_new_order(self._pairs, {name: text for name, text in params.items() if name != "computeCommissionRates"})
        self._place(caller, new, utc_ns, dry_run=True)
        return _commission(caller.account, new.pair.instrument.symbol) if rates else "{}"

    def cancel(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Cancel an order."""
        only(params, CANCEL_KEYS)
        names = client_id(params, "newClientOrderId")
        order = self._find_open(caller, params)
        return self._cancel(caller, order, params, names, utc_ns)

    def cancel_all(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Cancel all orders of a pair."""
        only(params, frozenset(("symbol",)))
        instrument = find_pair(self._pairs, params).instrument
        orders = [order for order in caller.account.open.values() if order.instrument is instrument]
        if not orders:
            raise ApiError(*UNKNOWN_ORDER)
        return f"[{','.join([self._cancel(caller, order, {}, '', utc_ns) for order in orders])}]"

    def cancel_replace(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Cancel an order and place another: not atomic. What both legs came to is in the refusal's data."""
        only(params, REPLACE_KEYS)
        modes = ("STOP_ON_FAILURE", "ALLOW_FAILURE")
        stop = choice(params, "cancelReplaceMode", modes, (-1130, "Data sent for parameter 'cancelReplaceMode' is not valid.")) == modes[0]
        new = read_new_order(self._pairs, {name: text for name, text in params.items() if name in NEW_ORDER_PARAMS})
        full = caller.limits.exceeded(utc_ns)
        if full is not None and params.get("orderRateLimitExceededMode", "DO_NOTHING") != "CANCEL_ONLY":
            raise full
        canceled, cancel_error = self._cancel_leg(caller, params, utc_ns)
        if cancel_error is not None and stop:
            caller.limits.add(1, utc_ns)
            raise ApiError(400, -2022, "Order cancel-replace failed.", _legs(cancel_error, None, "FAILURE", "NOT_ATTEMPTED"))
        try:
            if full is not None:
                raise full
            placed = placed_text(self._place(caller, new, utc_ns), caller.unit_ns, new.response_type)
        except ApiError as new_error:
            if cancel_error is not None:
                raise ApiError(400, -2022, "Order cancel-replace failed.", _legs(cancel_error, new_error, "FAILURE", "FAILURE")) from None
            data = {**_legs(None, new_error, "SUCCESS", "FAILURE"), "cancelResponse": msgspec.Raw(canceled.encode())}
            raise ApiError(409, -2021, "Order cancel-replace partially failed.", data) from None
        if cancel_error is not None:
            data = {**_legs(cancel_error, None, "FAILURE", "SUCCESS"), "newOrderResponse": msgspec.Raw(placed.encode())}
            raise ApiError(409, -2021, "Order cancel-replace partially failed.", data)
        return f'{{"cancelResult":"SUCCESS","newOrderResult":"SUCCESS","cancelResponse":{canceled},"newOrderResponse":{placed}}}'

    def amend(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Make an order smaller; it keeps its place and gets a new client id."""
        only(params, ORDER_KEYS | {"newQty", "newClientOrderId"})
        pair = find_pair(self._pairs, params)
        new_id = client_id(params, "newClientOrderId") or self._made_id()
        lots = pair.lots(decimal_e8(params, "newQty"), "LOT_SIZE")
        order = self._find(caller, params, (400, -2013, "Order does not exist."))
        if not order.is_open:
            raise ApiError(400, -2038, "The requested action would change no state; rejecting.")
        if not order.cum_lots + order.prevented_lots < lots < order.qty_lots:
            raise ApiError(400, -2038, "Order was not amended: the new quantity must be less than the order's, and more than was executed.")
        assert isinstance(order.tag, Tag)
        if order.tag.amends >= MAX_NUM_ORDER_AMENDS:
            raise ApiError(400, -1013, "Filter failure: MAX_NUM_ORDER_AMENDS")
        names = Named(new_id, order.client_id)
        try:
            self._exchange.rename(order, new_id)
            self._exchange.amend(order, utc_ns, qty_lots=lots, note=names)
        except Refusal as refusal:
            self._exchange.rename(order, names.orig_client_id)
            raise _refused(refusal) from None
        order.tag.amends += 1
        execution_id = next(e.number for e in reversed(self._exchange.settlement.events) if e.kind is EventKind.AMENDED)
        return amended_text(order, names, execution_id, caller.unit_ns)

    def status(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Return an order."""
        only(params, ORDER_KEYS)
        return order_text(self._find(caller, params, (400, -2013, "Order does not exist.")), caller.unit_ns)

    def open_orders(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Return open orders, of a pair or all."""
        only(params, frozenset(("symbol",)))
        wanted = find_pair(self._pairs, params).instrument if "symbol" in params else None
        orders = [order for order in caller.account.open.values() if wanted in (None, order.instrument)]
        return f"[{','.join([order_text(order, caller.unit_ns) for order in orders])}]"

    def all_orders(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Return orders of a pair, open or not, oldest first: from an id on, in a range of time, or the newest."""
        only(params, RANGE_KEYS)
        instrument = find_pair(self._pairs, params).instrument
        rows, first = limit(params, ROWS, ROWS_MAX), integer(params, "orderId")
        start_ns, end_ns = _range(params)
        orders = [
            order
            for order in caller.account.orders.values()
            if order.instrument is instrument and order.order_id >= first and start_ns <= order.created_ns <= end_ns
        ]
        orders = orders[:rows] if first or "startTime" in params else orders[-rows:]
        return f"[{','.join([order_text(order, caller.unit_ns) for order in orders])}]"

    def my_trades(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Return fills of a pair, oldest first: of an order, from a trade id on, in a range of time, or the newest."""
        only(params, RANGE_KEYS | {"fromId"})
        instrument = find_pair(self._pairs, params).instrument
        rows, first, order_id = limit(params, ROWS, ROWS_MAX), integer(params, "fromId"), integer(params, "orderId")
        start_ns, end_ns = _range(params)
        fills = [
            fill
            for fill in caller.account.fills
            if fill.order.instrument is instrument
            and fill.trade_id >= first
            and order_id in (0, fill.order.order_id)
            and start_ns <= fill.at_ns <= end_ns
        ]
        fills = fills[:rows] if "fromId" in params or "startTime" in params or order_id else fills[-rows:]
        return f"[{','.join([trade_text(fill, caller.unit_ns) for fill in fills])}]"

    def account(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Return balances and rates."""
        only(params, frozenset(("omitZeroBalances",)))
        uid = 1 + list(self._exchange.accounts).index(caller.account.name)
        can_trade = "trade" in caller.key.can
        return account_text(caller.account, can_trade, utc_ns, caller.unit_ns, flag(params, "omitZeroBalances"), uid)

    def commission(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Return the rates of a pair."""
        only(params, frozenset(("symbol",)))
        return _commission(caller.account, find_pair(self._pairs, params).instrument.symbol)

    def order_limits(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> str:
        """Return the counts of unfilled orders."""
        only(params, frozenset())
        return f"[{caller.limits.text(utc_ns)}]"

    def _place(self, caller: Caller, new: NewOrder, utc_ns: int, dry_run: bool = False) -> Order:
        try:
            order = self._exchange.place(
                caller.account,
                new.pair.instrument,
                new.side,
                qty_lots=new.qty_lots,
                price_ticks=new.price_ticks,
                quote_qty_e8=new.quote_qty_e8,
                kind=new.kind,
                tif=new.tif,
                post_only=new.post_only,
                stp=new.stp,
                client_id=new.client_id or self._made_id(),
                tag=new.tag,
                now_ns=utc_ns,
                dry_run=dry_run,
            )
        except Refusal as refusal:
            raise _refused(refusal, new.kind) from None
        if not dry_run:
            caller.limits.add(1, utc_ns)
        return order

    def _check_room(self, caller: Caller, utc_ns: int) -> None:
        full = caller.limits.exceeded(utc_ns)
        if full is not None:
            raise full

    def _cancel_leg(self, caller: Caller, params: Mapping[str, str], utc_ns: int) -> tuple[str, ApiError | None]:
        leg = {
            name: params[source]
            for name, source in (("symbol", "symbol"), ("orderId", "cancelOrderId"), ("origClientOrderId", "cancelOrigClientOrderId"))
            if source in params
        }
        names = client_id(params, "cancelNewClientOrderId")
        try:
            return self._cancel(caller, self._find_open(caller, leg), params, names, utc_ns), None
        except ApiError as error:
            if error.code == -1102:
                raise
            return "", error

    def _cancel(self, caller: Caller, order: Order, params: Mapping[str, str], new_id: str, utc_ns: int) -> str:
        restriction = params.get("cancelRestrictions", "")
        if restriction not in ("", "ONLY_NEW", "ONLY_PARTIALLY_FILLED"):
            raise ApiError(400, -1130, "Data sent for parameter 'cancelRestrictions' is not valid.")
        if restriction and (restriction == "ONLY_NEW") != (order.cum_lots == 0):
            raise ApiError(400, -2011, "Order was not canceled due to cancel restrictions.")
        names = Named(new_id or self._made_id(), order.client_id)
        try:
            self._exchange.cancel(order, utc_ns, note=names)
        except Refusal as refusal:
            raise _refused(refusal) from None
        return canceled_text(order, names, caller.unit_ns)

    def _find(self, caller: Caller, params: Mapping[str, str], missing: tuple[int, int, str]) -> Order:
        """Return the order that is asked for by either id; by both, both must be its own. Raises ApiError."""
        instrument = find_pair(self._pairs, params).instrument
        if "orderId" not in params and "origClientOrderId" not in params:
            raise ApiError(400, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
        client = params.get("origClientOrderId", "")
        order = self._exchange.find(caller.account, order_id=integer(params, "orderId"), client_id=client)
        if order is None or order.instrument is not instrument or "orderId" in params and client not in ("", order.client_id):
            raise ApiError(*missing)
        return order

    def _find_open(self, caller: Caller, params: Mapping[str, str]) -> Order:
        order = self._find(caller, params, UNKNOWN_ORDER)
        if not order.is_open:
            raise ApiError(*UNKNOWN_ORDER)
        return order

    def _made_id(self) -> str:
        """Return a client id for a request without one: the next of a fixed sequence that looks like the venue's."""
        self._made_ids += 1
        return hashlib.md5(str(self._made_ids).encode(), usedforsecurity=False).hexdigest()[:22]


def _refused(refusal: Refusal, kind: Kind = Kind.LIMIT) -> ApiError:
    status, code, text = NEW_ORDER[refusal.why]
    if kind is Kind.MARKET and refusal.why in (Refused.QTY_TOO_LARGE, Refused.QTY_TOO_SMALL):
        text = "Filter failure: MARKET_LOT_SIZE"
    return ApiError(status, code, text)


def _legs(cancel: ApiError | None, new: ApiError | None, cancel_result: str, new_result: str) -> dict[str, object]:
    """Return the data of a cancelReplace that failed in part or whole; the caller puts in the answer of the other one."""
    return {
        "cancelResult": cancel_result,
        "newOrderResult": new_result,
        "cancelResponse": None if cancel is None else {"code": cancel.code, "msg": cancel.text},
        "newOrderResponse": None if new is None else {"code": new.code, "msg": new.text},
    }


def _range(params: Mapping[str, str]) -> tuple[int, int]:
    """Return the first and last time asked for, in ns. Raises ApiError."""
    start, end = integer(params, "startTime"), integer(params, "endTime")
    micro = max(len(params.get("startTime", "")), len(params.get("endTime", ""))) > 14
    unit_ns = 1_000 if micro else 1_000_000
    if start and end and (end - start) * unit_ns > DAY_MS * 1_000_000:
        raise ApiError(400, -1127, "More than 24 hours between startTime and endTime.")
    return start * unit_ns, end * unit_ns + unit_ns - 1 if end else 2**63


def _commission(account: Account, symbol: str) -> str:
    zero = '{"maker":"0.00000000","taker":"0.00000000","buyer":"0.00000000","seller":"0.00000000"}'
    standard = (
        f'{{"maker":"{text8(account.maker_rate_e8)}","taker":"{text8(account.taker_rate_e8)}","buyer":"0.00000000","seller":"0.00000000"}}'
    )
    discount = '{"enabledForAccount":false,"enabledForSymbol":false,"discountAsset":"BNB","discount":"0.00000000"}'
    return (
        f'{{"symbol":"{symbol}","standardCommission":{standard},"specialCommission":{zero},"taxCommission":{zero},'
        f'"standardCommissionForOrder":{standard},"taxCommissionForOrder":{zero},"discount":{discount}}}'
    )
