"""Coinbase account rows: REST answers about orders and fills as VENUE_EVENT rows, in plain Python.

Functions raise KeyError, ValueError or ArithmeticError for what is not as documented. Prices and sizes of ours lie on the grid; one that
does not is rounded down, because a fill must never be lost over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hft.records import VENUE_EVENT, FeeAsset, Liquidity, OrderState, Side, VenueEventKind, VenueEventSource
from hft.venues.coinbase.errors import reason_of
from hft.venues.coinbase.uuids import UUID_BYTES, venue_key

_HALF = 1 << 64
_SIDES = {"buy": Side.BUY, "sell": Side.SELL}
_ENDS = {"filled": OrderState.FILLED, "canceled": OrderState.CANCELED, "rejected": OrderState.REJECTED}
_LIVE = ("open", "active", "received")


def halves(text: str) -> tuple[int, int]:
    """A UUID as two signed 64-bit values. Raises ValueError if it is none."""
    if len(text) != UUID_BYTES or [len(part) for part in text.split("-")] != [8, 4, 4, 4, 12]:
        raise ValueError(f"expected a UUID, found {text[:UUID_BYTES]!r}")
    number = int(text.replace("-", ""), 16)
    high, low = number >> 64, number & (_HALF - 1)
    return high - _HALF if high >> 63 else high, low - _HALF if low >> 63 else low


def client_oid(prefix: int, order_id: int) -> str:
    """The client id of an order of ours."""
    digits = f"{prefix << 64 | order_id:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def order_id_of(prefix: int, text: Any) -> int:
    """Our order id in a client id; 0 if it is none of this installation's."""
    try:
        high, low = halves(text)
    except (ValueError, AttributeError, TypeError):
        return 0
    return low if high == prefix and low > 0 else 0


def key_of(text: str) -> int:
    """63 bits that stand for the venue's id of an order."""
    return int(venue_key(*halves(text)))


def event_of(kind: VenueEventKind, order_id: int, row: int, received_ns: int) -> Any:
    """A VENUE_EVENT row that says this much and nothing else."""
    event = np.zeros(1, VENUE_EVENT)[0]
    event["kind"], event["source"], event["order_id"], event["instrument"] = kind, VenueEventSource.QUERY, order_id, row
    event["cum_lots"], event["received_ns"] = -1, received_ns
    return event


def status_of(instruments: NDArray[Any], row: int, order: Mapping[str, Any], order_id: int, received_ns: int) -> Any | None:
    """STATUS of an order; None while it is `pending`: the engine has not said yet that it has it."""
    state = _state(order, instruments[row])
    if state is None:
        return None
    event = event_of(VenueEventKind.STATUS, order_id, row, received_ns)
    event["venue_key"], event["state"] = key_of(order["id"]), state
    event["price_ticks"] = _steps(order.get("price") or "0", instruments[row], "price_decimals", "tick_units")
    event["qty_lots"] = _lots(order.get("size") or "0", instruments[row])
    event["cum_lots"] = _lots(order["filled_size"], instruments[row])
    event["side"] = _SIDES[order["side"]]
    event["exchange_ns"] = time_ns(order.get("done_at") or order["created_at"])
    if state == OrderState.REJECTED:
        event["reason"] = reason_of(str(order.get("reject_reason", "")))
    return event


def _state(order: Mapping[str, Any], instrument: Any) -> OrderState | None:
    status = order["status"]
    filled = _lots(order["filled_size"], instrument)
    if status in _LIVE:
        return OrderState.PARTIALLY_FILLED if filled else OrderState.NEW
    if status == "pending":
        return None
    if status == "rejected":
        return OrderState.REJECTED
    if status not in ("done", "settled"):
        raise ValueError(f"status of an order: {status!r}")
    reason = order.get("done_reason")
    if reason in _ENDS:
        return _ENDS[reason]
    return OrderState.FILLED if filled and filled == _lots(order.get("size") or "0", instrument) else OrderState.CANCELED


def trade_of(instruments: NDArray[Any], row: int, fill: Mapping[str, Any], order_id: int, received_ns: int) -> Any:
    """TRADE as GET /fills tells it, with the fee that the venue booked, in 1e-8 quote, half-even."""
    event = event_of(VenueEventKind.TRADE, order_id, row, received_ns)
    event["venue_key"], event["trade_id"] = key_of(fill["order_id"]), int(fill["trade_id"])
    event["last_price_ticks"] = _steps(fill["price"], instruments[row], "price_decimals", "tick_units")
    event["last_lots"] = _lots(fill["size"], instruments[row])
    event["fee_e8"] = int(Decimal(fill["fee"]).scaleb(8).quantize(Decimal(1), ROUND_HALF_EVEN))
    event["fee_asset"] = FeeAsset.QUOTE
    event["side"] = _SIDES[fill["side"]]
    event["liquidity"] = Liquidity.MAKER if fill["liquidity"] == "M" else Liquidity.TAKER
    event["exchange_ns"] = time_ns(fill["created_at"])
    return event


def stacked(events: Sequence[Any]) -> NDArray[Any]:
    """Rows as one VENUE_EVENT array."""
    return np.array(list(events), VENUE_EVENT) if events else np.zeros(0, VENUE_EVENT)


def time_ns(text: str) -> int:
    """A time of the venue, `2020-03-11T20:48:46.622Z`, in ns since 1970. Raises ValueError."""
    whole, _, fraction = text.removesuffix("Z").removesuffix("+00:00").partition(".")
    if fraction and not (fraction.isascii() and fraction.isdigit()):
        raise ValueError(f"time: {text[:40]!r}")
    seconds = datetime.strptime(whole, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return int(seconds.timestamp()) * 10**9 + int(fraction[:9].ljust(9, "0"))


def _lots(text: str, instrument: Any) -> int:
    return _steps(text, instrument, "qty_decimals", "lot_units")


def _steps(text: str, instrument: Any, decimals: str, units: str) -> int:
    return int(Decimal(text).scaleb(int(instrument[decimals]))) // int(instrument[units])
