"""Kraken account rows: REST answers and snapshots of `executions` as VENUE_EVENT rows, in plain Python.

Functions raise KeyError, ValueError, TypeError or ArithmeticError for what is not as documented. A price or size that is off the grid is
rounded down, because a fill must never be lost over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.records import VENUE_EVENT, FeeAsset, Liquidity, OrderState, Side, VenueEventKind, VenueEventSource
from hft.venues.kraken.ids import bits_of

_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_ENDS = {"closed": OrderState.FILLED, "filled": OrderState.FILLED, "canceled": OrderState.CANCELED, "expired": OrderState.EXPIRED}
_LIVE = ("open", "pending", "pending_new", "new", "partially_filled")


def client_id(order_id: int) -> str:
    """The client id of an order of ours."""
    return f"{order_id:016x}"


def order_id_of(text: Any) -> int:
    """Our order id in a client id; 0 if it is none of ours."""
    if not isinstance(text, str) or len(text) != 16 or any(letter not in "0123456789abcdef" for letter in text):
        return 0
    value = int(text, 16)
    return value if value < 1 << 63 else 0


def event_of(kind: VenueEventKind, order_id: int, row: int, received_ns: int) -> Any:
    """A VENUE_EVENT row that says this much and nothing else."""
    event = np.zeros(1, VENUE_EVENT)[0]
    event["kind"], event["source"], event["order_id"], event["instrument"] = kind, VenueEventSource.QUERY, order_id, row
    event["cum_lots"], event["received_ns"] = -1, received_ns
    return event


def status_of(instrument: Any, row: int, txid: str, order: Mapping[str, Any], order_id: int, received_ns: int) -> Any:
    """STATUS of an order as OpenOrders and QueryOrders tell it."""
    event = event_of(VenueEventKind.STATUS, order_id, row, received_ns)
    event["venue_key"] = bits_of(txid)
    _tell_state(event, instrument, str(order["status"]), order["vol"], order["vol_exec"])
    event["price_ticks"] = _steps(order["descr"]["price"], instrument, "price_decimals", "tick_units")
    event["side"] = _SIDES[order["descr"]["type"]]
    event["exchange_ns"] = seconds_ns(order.get("closetm") or order["opentm"])
    return event


def execution_of(instrument: Any, row: int, execution: Mapping[str, Any], received_ns: int) -> Any:
    """TRADE or STATUS of one row of a snapshot of `executions`."""
    order_id = order_id_of(execution.get("cl_ord_id"))
    if execution["exec_type"] == "trade":
        event = event_of(VenueEventKind.TRADE, order_id, row, received_ns)
        fees = execution.get("fees") or [{"asset": "", "qty": 0}]
        _tell_fill(event, instrument, execution["exec_id"], execution["last_price"], execution["last_qty"])
        event["liquidity"] = Liquidity.MAKER if execution.get("liquidity_ind") == "m" else Liquidity.TAKER
        event["fee_e8"], event["fee_asset"] = _e8(fees[0]["qty"]), _fee_asset(str(fees[0]["asset"]), str(execution["symbol"]))
    else:
        event = event_of(VenueEventKind.STATUS, order_id, row, received_ns)
        _tell_state(event, instrument, str(execution["order_status"]), execution["order_qty"], execution.get("cum_qty") or 0)
        event["price_ticks"] = _steps(execution.get("limit_price") or 0, instrument, "price_decimals", "tick_units")
    event["venue_key"], event["side"] = bits_of(execution["order_id"]), _SIDES[execution["side"]]
    event["exchange_ns"] = time_ns(execution["timestamp"])
    return event


def trade_of(instrument: Any, row: int, exec_id: str, fill: Mapping[str, Any], order_id: int, received_ns: int) -> Any:
    """TRADE as TradesHistory and QueryTrades tell it. Fees are in the quote asset, as no order of ours asks otherwise."""
    event = event_of(VenueEventKind.TRADE, order_id, row, received_ns)
    _tell_fill(event, instrument, exec_id, fill["price"], fill["vol"])
    event["venue_key"], event["side"] = bits_of(fill["ordertxid"]), _SIDES[fill["type"]]
    event["fee_e8"], event["fee_asset"] = _e8(fill["fee"]), FeeAsset.QUOTE
    if "maker" in fill:
        event["liquidity"] = Liquidity.MAKER if fill["maker"] else Liquidity.TAKER
    event["exchange_ns"] = seconds_ns(fill["time"])
    return event


def executions_of(
    instruments: NDArray[Any], rows: Mapping[str, int], executions: Sequence[Mapping[str, Any]], received_ns: int
) -> list[tuple[str, Any]]:
    """Rows of a snapshot of `executions`, those in pairs of `rows`, each with the venue's id of its order."""
    traded = [(rows.get(str(execution.get("symbol")), -1), execution) for execution in executions]
    return [
        (str(execution["order_id"]), execution_of(instruments[row], row, execution, received_ns)) for row, execution in traded if row >= 0
    ]


def newest_of(orders: Mapping[str, Mapping[str, Any]], order_id: int) -> str:
    """The venue's id of an order of ours, "" if there is none. Client ids are unique among open orders only: the newest of several counts."""
    txid = max(orders, key=lambda name: Decimal(orders[name]["opentm"]), default="")
    return txid if txid and order_id_of(orders[txid].get("cl_ord_id")) == order_id else ""


def amendment_of(terms: tuple[int, int], order_id: int, wire_id: int, status: Any) -> Any:
    """What became of an amendment to these ticks and lots: AMENDED if the order has them, by its status, else NOT_FOUND of the amendment."""
    row, received_ns = int(status["instrument"]), int(status["received_ns"])
    if (int(status["price_ticks"]), int(status["qty_lots"])) != terms:
        return event_of(VenueEventKind.NOT_FOUND, order_id, row, received_ns)
    event = event_of(VenueEventKind.AMENDED, wire_id, row, received_ns)
    event["request_id"] = order_id
    event["venue_key"], event["price_ticks"], event["qty_lots"] = status["venue_key"], status["price_ticks"], status["qty_lots"]
    return event


def stacked(events: Sequence[Any]) -> NDArray[Any]:
    """Rows as one VENUE_EVENT array."""
    return np.array(list(events), VENUE_EVENT) if events else np.zeros(0, VENUE_EVENT)


def seconds_ns(value: Any) -> int:
    """Seconds since 1970 with a fraction, in ns."""
    return int(Decimal(value).scaleb(9))


def time_ns(text: str) -> int:
    """A time of the socket, `2026-08-24T22:21:57.110183Z`, in ns since 1970. Raises ValueError."""
    whole, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    if fraction and not (fraction.isascii() and fraction.isdigit()):
        raise ValueError(f"time: {text[:40]!r}")
    seconds = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return int(seconds.timestamp()) * 10**9 + int(fraction[:9].ljust(9, "0"))


def _tell_state(event: Any, instrument: Any, status: str, qty: Any, filled: Any) -> None:
    if status not in _LIVE and status not in _ENDS:
        raise ValueError(f"status of an order: {status[:40]!r}")
    event["qty_lots"] = _steps(qty, instrument, "qty_decimals", "lot_units")
    event["cum_lots"] = _steps(filled, instrument, "qty_decimals", "lot_units")
    state = _ENDS.get(status, OrderState.PARTIALLY_FILLED if event["cum_lots"] else OrderState.NEW)
    # `closed` is said of an order that is filled; one whose rest was canceled is said to be canceled.
    event["state"] = OrderState.CANCELED if state == OrderState.FILLED and event["cum_lots"] < event["qty_lots"] else state


def _tell_fill(event: Any, instrument: Any, exec_id: str, price: Any, qty: Any) -> None:
    event["trade_id"] = bits_of(exec_id)
    event["last_price_ticks"] = _steps(price, instrument, "price_decimals", "tick_units")
    event["last_lots"] = _steps(qty, instrument, "qty_decimals", "lot_units")


def _fee_asset(asset: str, symbol: str) -> FeeAsset:
    base, _, quote = symbol.partition("/")
    return FeeAsset.QUOTE if asset == quote else FeeAsset.BASE if asset == base else FeeAsset.OTHER


def _e8(value: Any) -> int:
    return int(Decimal(value).scaleb(8).quantize(Decimal(1), ROUND_HALF_EVEN))


def _steps(value: Any, instrument: Any, decimals: str, units: str) -> int:
    return int(Decimal(value).scaleb(int(instrument[decimals]))) // int(instrument[units])
