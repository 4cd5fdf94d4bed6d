"""Methods of the simulated Binance: their weights, what a key needs for them, and their REST twins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hft.sim.binance.public import weight_of as public_weight
from hft.sim.exchange.customers import Permission
from hft.sim.faults import Action


class Method(NamedTuple):
    """A signed method."""

    permission: Permission
    action: Action
    weight: int
    free: bool = False  #: costs its weight only when it fails
    counts: bool = False  #: its answers tell the counts of unfilled orders


SIGNED: Mapping[str, Method] = {
    "order.place": Method("trade", "place", 1, free=True, counts=True),
    "order.test": Method("trade", "query", 1),
    "order.cancel": Method("cancel", "cancel", 1, free=True),
    "order.cancelReplace": Method("trade", "place", 1, free=True, counts=True),
    "order.amend.keepPriority": Method("trade", "amend", 4),
    "openOrders.cancelAll": Method("cancel", "cancel", 1, free=True),
    "order.status": Method("read", "query", 4),
    "openOrders.status": Method("read", "query", 6),
    "allOrders": Method("read", "query", 20),
    "myTrades": Method("read", "query", 20),
    "account.status": Method("read", "query", 20),
    "account.commission": Method("read", "query", 20),
    "account.rateLimits.orders": Method("read", "query", 40),
}
PUBLIC = frozenset(("ping", "time", "exchangeInfo", "depth", "trades.recent", "ticker.book", "ticker.price", "ticker.24hr", "avgPrice"))

#: path -> verb -> method
ROUTES: Mapping[str, Mapping[str, str]] = {
    "/api/v3/ping": {"GET": "ping"},
    "/api/v3/time": {"GET": "time"},
    "/api/v3/exchangeInfo": {"GET": "exchangeInfo"},
    "/api/v3/depth": {"GET": "depth"},
    "/api/v3/trades": {"GET": "trades.recent"},
    "/api/v3/ticker/bookTicker": {"GET": "ticker.book"},
    "/api/v3/ticker/price": {"GET": "ticker.price"},
    "/api/v3/ticker/24hr": {"GET": "ticker.24hr"},
    "/api/v3/avgPrice": {"GET": "avgPrice"},
    "/api/v3/order": {"POST": "order.place", "DELETE": "order.cancel", "GET": "order.status"},
    "/api/v3/order/test": {"POST": "order.test"},
    "/api/v3/order/cancelReplace": {"POST": "order.cancelReplace"},
    "/api/v3/order/amend/keepPriority": {"PUT": "order.amend.keepPriority"},
    "/api/v3/openOrders": {"GET": "openOrders.status", "DELETE": "openOrders.cancelAll"},
    "/api/v3/allOrders": {"GET": "allOrders"},
    "/api/v3/myTrades": {"GET": "myTrades"},
    "/api/v3/account": {"GET": "account.status"},
    "/api/v3/account/commission": {"GET": "account.commission"},
    "/api/v3/rateLimit/order": {"GET": "account.rateLimits.orders"},
}


def weight_of(method: str, params: Mapping[str, str]) -> int:
    """Return the request weight of a method with these parameters, charged before it is looked at."""
    if method in PUBLIC:
        return public_weight(method, params)
    if method == "openOrders.status" and "symbol" not in params:
        return 80
    if method == "myTrades" and "orderId" in params:
        return 5
    if method == "order.test" and params.get("computeCommissionRates", "").lower() == "true":
        return 20
    spec = SIGNED[method]
    return 0 if spec.free else spec.weight
