"""Coinbase's rows: how REST states orders, fills and balances."""

from __future__ import annotations

from collections.abc import Mapping

from hft.sim.coinbase.orders import NewOrder, Placed, request_of
from hft.sim.coinbase.products import Product
from hft.sim.coinbase.wire import ORDER_DECIMALS, milliseconds, money, named_uuid, profile_id, user_id, uuid_of
from hft.sim.exchange.records import BUY, E8, Account, Fill, Order, OrderStatus
from hft.sim.texts import fixed, rfc3339

Row = dict[str, object]


def side_of(side: int) -> str:
    """Return how a side is written."""
    return "buy" if side == BUY else "sell"


def account_rows(account: Account) -> list[Row]:
    """Return an account's balances, one row a currency, which the venue calls an account."""
    return [
        {
            "id": account_id(account.name, currency),
            "currency": currency,
            "balance": money(free_e8 + account.hold[currency]),
            "hold": money(account.hold[currency]),
            "available": money(free_e8),
            "profile_id": profile_id(account.name),
            "trading_enabled": True,
        }
        for currency, free_e8 in account.free.items()
    ]


def account_id(account: str, currency: str) -> str:
    """Return the id of what an account has of a currency."""
    return named_uuid(f"account {account} {currency}")


def placed_row(account: Account, placed: Placed, now_ns: int) -> Row:
    """Return the answer to a request for an order: nothing has happened to it yet that is told, unless the engine rejected it."""
    row = _asked(account, placed.order_id, placed.request, now_ns)
    row |= {"fill_fees": money(0), "filled_size": fixed(0, ORDER_DECIMALS), "executed_value": money(0)}
    if placed.reject_reason:
        return row | {"status": "rejected", "reject_reason": placed.reject_reason, "done_reason": "rejected", "settled": False}
    return row | {"status": "pending", "settled": False}


def order_row(order: Order, products: Mapping[str, Product]) -> Row:
    """Return an order."""
    row = _asked(order.account, uuid_of(order.order_id), request_of(order), order.created_ns)
    decimals = products[order.instrument.symbol].qty_decimals
    row |= {
        "fill_fees": money(sum(fill.fee_e8 for fill in order.fills)),
        "filled_size": fixed(order.cum_lots * 10 ** (ORDER_DECIMALS - decimals), ORDER_DECIMALS),
        "executed_value": money(order.cum_quote_e8),
        "market_type": "spot",
    }
    if order.is_open:
        return row | {"status": "open", "settled": False}
    reason = "filled" if order.status is OrderStatus.FILLED else "canceled"
    return row | {"status": "done", "done_at": milliseconds(order.updated_ns), "done_reason": reason, "settled": True}


def _asked(account: Account, order_id: str, new: NewOrder, now_ns: int) -> Row:
    """Return what an order was asked for."""
    row: Row = {"id": order_id}
    if new.price is not None:
        row["price"] = f"{new.price:.{ORDER_DECIMALS}f}"
    if new.size is not None:
        row["size"] = f"{new.size:.{ORDER_DECIMALS}f}"
    if new.funds is not None:
        # What is left of the funds once the fee is paid, and the funds as they were asked for.
        funds_e8 = int(new.funds * E8)
        row["funds"] = money(funds_e8 * E8 // (E8 + account.taker_rate_e8))
        row["specified_funds"] = money(funds_e8)
    row |= {
        "product_id": new.product.product_id,
        "profile_id": profile_id(account.name),
        "side": side_of(new.side),
        "type": new.order_type,
        "stp": new.stp,
        "post_only": new.post_only,
        "created_at": rfc3339(now_ns),
    }
    if new.order_type == "limit":
        row["time_in_force"] = new.time_in_force
    if new.expires_ns:
        row["expire_time"] = milliseconds(new.expires_ns)
    if new.client_oid:
        row["client_oid"] = new.client_oid
    return row


def fill_row(fill: Fill, products: Mapping[str, Product]) -> Row:
    """Return a fill."""
    order = fill.order
    product = products[order.instrument.symbol]
    return {
        "created_at": milliseconds(fill.at_ns),
        "trade_id": fill.trade_id,
        "product_id": product.product_id,
        "order_id": uuid_of(order.order_id),
        "user_id": user_id(order.account.name),
        "profile_id": profile_id(order.account.name),
        "liquidity": "M" if fill.maker else "T",
        "price": fixed(fill.price_ticks * 10 ** (ORDER_DECIMALS - product.price_decimals), ORDER_DECIMALS),
        "size": fixed(fill.qty_lots * 10 ** (ORDER_DECIMALS - product.qty_decimals), ORDER_DECIMALS),
        "fee": money(fill.fee_e8),
        "side": side_of(order.side),
        "settled": True,
        "usd_volume": money(fill.cost_e8),
        "funding_currency": product.quote,
        "market_type": "spot",
    }
