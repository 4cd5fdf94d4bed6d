"""Binance account rows: answers to queries as VENUE_EVENT rows, in plain Python.

Prices and sizes of ours lie on the grid; one that does not is rounded down, because a fill must never be lost over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.records import VENUE_EVENT, FeeAsset, Liquidity, OrderState, Side, VenueEventKind, VenueEventSource
from hft.venues.binance.private_words import STATUSES
from hft.venues.binance.requests import CANCELED_MARK
from hft.venues.text import HEX_BYTES

_MS, _MICROSECOND_DIGITS = 1_000_000, 16
_HEX_DIGITS = frozenset("0123456789abcdef")


def order_id_of(client: str) -> int:
    """Our order id in a client id, with or without the mark of a canceled order; 0 if it is none of ours."""
    digits = client[1:] if len(client) == HEX_BYTES + 1 and client.startswith(CANCELED_MARK) else client
    if len(digits) != HEX_BYTES or not _HEX_DIGITS.issuperset(digits) or digits[0] > "7":
        return 0
    return int(digits, 16)


def client_of(order_id: int) -> str:
    """The client id of an order of ours."""
    return f"{order_id:0{HEX_BYTES}x}"


def event_of(kind: VenueEventKind, order_id: int, row: int, received_ns: int) -> Any:
    """A VENUE_EVENT row that says this much and nothing else."""
    event = np.zeros(1, VENUE_EVENT)[0]
    event["kind"], event["source"], event["order_id"], event["instrument"] = kind, VenueEventSource.QUERY, order_id, row
    event["cum_lots"], event["received_ns"] = -1, received_ns
    return event


def status_of(instruments: NDArray[Any], row: int, order: Mapping[str, Any], order_id: int, received_ns: int) -> Any:
    """STATUS of an order as `order.status` and `openOrders.status` tell it. Raises KeyError, ValueError for what is not as documented."""
    event = event_of(VenueEventKind.STATUS, order_id, row, received_ns)
    event["venue_key"] = int(order["orderId"])
    event["state"] = STATUSES[order["status"]][0] if order["status"] in STATUSES else OrderState.UNKNOWN
    event["price_ticks"] = _steps(order["price"], instruments[row], "price_decimals", "tick_units")
    event["qty_lots"] = _steps(order["origQty"], instruments[row], "qty_decimals", "lot_units")
    event["cum_lots"] = _steps(order["executedQty"], instruments[row], "qty_decimals", "lot_units")
    event["side"] = Side.BUY if order["side"] == "BUY" else Side.SELL
    event["exchange_ns"] = _time_ns(order.get("updateTime", order.get("time", 0)))
    return event


def trade_of(instruments: NDArray[Any], row: int, trade: Mapping[str, Any], order_id: int, assets: Sequence[str], received_ns: int) -> Any:
    """TRADE as `myTrades` tells it. Raises KeyError, ValueError for what is not as documented."""
    event = event_of(VenueEventKind.TRADE, order_id, row, received_ns)
    event["venue_key"], event["trade_id"] = int(trade["orderId"]), int(trade["id"])
    event["last_price_ticks"] = _steps(trade["price"], instruments[row], "price_decimals", "tick_units")
    event["last_lots"] = _steps(trade["qty"], instruments[row], "qty_decimals", "lot_units")
    event["fee_e8"] = int(Decimal(trade["commission"]).scaleb(8))
    event["fee_asset"] = _fee_asset(instruments[row], trade.get("commissionAsset"), assets)
    event["side"] = Side.BUY if trade["isBuyer"] else Side.SELL
    event["liquidity"] = Liquidity.MAKER if trade["isMaker"] else Liquidity.TAKER
    event["exchange_ns"] = _time_ns(trade["time"])
    return event


def stacked(events: Sequence[Any]) -> NDArray[Any]:
    """Rows as one VENUE_EVENT array."""
    return np.array(list(events), VENUE_EVENT) if events else np.zeros(0, VENUE_EVENT)


def _steps(text: str, instrument: Any, decimals: str, units: str) -> int:
    return int(Decimal(text).scaleb(int(instrument[decimals]))) // int(instrument[units])


def _time_ns(value: int) -> int:
    return value * (1_000 if len(str(value)) == _MICROSECOND_DIGITS else _MS)


def _fee_asset(instrument: Any, asset: str | None, assets: Sequence[str]) -> FeeAsset:
    for field, meaning in (("base_asset", FeeAsset.BASE), ("quote_asset", FeeAsset.QUOTE)):
        if assets and assets[int(instrument[field])] == asset:
            return meaning
    return FeeAsset.OTHER
