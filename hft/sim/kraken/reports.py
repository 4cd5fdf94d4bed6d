"""Kraken's private channels: executions and ledger entries of what the exchange did, and the snapshots that begin them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from hft.sim.exchange.records import Account, Event, EventKind, Fill, Order, OrderStatus, Reason
from hft.sim.kraken.orders import order_txid, tag_of
from hft.sim.kraken.pairs import MONEY_DECIMALS, Pair
from hft.sim.kraken.rates import TradingLimits
from hft.sim.kraken.wire import identifier
from hft.sim.texts import number, rfc3339

FILLS_SNAPSHOT = 50
#: An order has fewer fills than this.
_FILLS_MAX = 1 << 24
REASONS = {
    Reason.REQUESTED: "User requested",
    Reason.DEAD_MAN: "Cancel all orders after timeout",
    Reason.AMENDED: "Amended to filled quantity",
    Reason.IOC: "Immediate or cancel",
    Reason.FOK: "Fill or kill",
    Reason.NO_LIQUIDITY: "No liquidity",
    Reason.STP: "Self trade prevention",
    Reason.TIME: "Order expired",
    Reason.VENUE: "Canceled by the venue",
}
Fields = dict[str, Any]


class Executions(NamedTuple):
    """What a subscriber of `executions` asked for."""

    order_status: bool
    ratecounter: bool


def exec_id(fill: Fill) -> str:
    """Return the identifier of an order's side of a trade."""
    place = next(i for i, known in enumerate(fill.order.fills) if known is fill)
    return identifier("T", fill.order.order_id * _FILLS_MAX + place + 1)


def average_price(order: Order, pair: Pair, cum_lots: int, cum_quote_e8: int) -> msgspec.Raw:
    """Return an average price, rounded down to the pair's decimals; 0 before the first fill."""
    units = cum_quote_e8 * 10**pair.price_decimals // (cum_lots * order.instrument.lot_e8) if cum_lots else 0
    return number(units, pair.price_decimals)


class Reporter:
    """Writes the messages' rows."""

    def __init__(self, pairs: Mapping[str, Pair], accounts: Mapping[str, Account], limits: TradingLimits) -> None:
        self._pairs = pairs
        self._limits = limits
        #: account -> asset -> all of it in 10^-8, after each ledger entry
        self._totals = {
            name: defaultdict(int, {asset: account.free[asset] + account.hold[asset] for asset in account.free})
            for name, account in accounts.items()
        }
        self._ledger_entries = 0

    def execution_rows(self, event: Event) -> list[tuple[str, Fields]]:
        """Return the executions that an event of the exchange is, each with its exec_type, in order."""
        order = event.order
        if order is None:
            return []
        if event.kind is EventKind.ACCEPTED:
            return [("pending_new", self._details(order, "pending_new", event.at_ns)), ("new", self._short("new", "new", event))]
        if event.kind is EventKind.TRADED:
            assert event.fill is not None
            rows = [("trade", self._trade(event.fill, "partially_filled") | self._sums(order, event.cum_lots, event.cum_quote_e8))]
            return [*rows, ("filled", self._ended("filled", event))] if event.done else rows
        if event.kind is EventKind.AMENDED:
            return [("amended", self._amended(event))]
        if event.kind is EventKind.EXPIRED and event.reason is Reason.TIME:
            return [("expired", self._ended("expired", event))]
        if event.kind in (EventKind.CANCELED, EventKind.EXPIRED):
            return [("canceled", self._ended("canceled", event))]
        return []

    def order_snapshot(self, account: Account) -> list[Fields]:
        """Return the open orders as a snapshot lists them."""
        rows = []
        for order in account.open.values():
            row = self._details(order, "partially_filled" if order.cum_lots else "new", order.created_ns)
            row |= {"exec_type": "new", "amended": tag_of(order).amended} | self._sums(order, order.cum_lots, order.cum_quote_e8)
            rows.append(row)
        return rows

    def fill_snapshot(self, account: Account) -> list[Fields]:
        """Return the last fills, newest first."""
        return [self._trade(fill, _status_after(fill)) for fill in list(account.fills)[: -FILLS_SNAPSHOT - 1 : -1]]

    def balance_snapshot(self, account: Account) -> list[Fields]:
        """Return an account's assets as the snapshot of `balances` lists them."""
        rows = []
        for asset, total_e8 in self._totals[account.name].items():
            balance = number(total_e8, MONEY_DECIMALS)
            wallets = [{"type": "spot", "id": "main", "balance": balance}]
            rows.append({"asset": asset, "asset_class": "currency", "balance": balance, "wallets": wallets})
        return rows

    def ledger_rows(self, event: Event) -> list[Fields]:
        """Return the ledger entries of a trade, base and quote; each moves the balance that the next one states."""
        fill = event.fill
        if event.kind is not EventKind.TRADED or fill is None:
            return []
        order, totals = fill.order, self._totals[event.account.name]
        instrument = order.instrument
        moves = (
            (instrument.base, order.side * fill.qty_lots * instrument.lot_e8),
            (instrument.quote, -order.side * fill.cost_e8),
        )
        rows = []
        for asset, amount_e8 in moves:
            fee_e8 = fill.fee_e8 if asset == fill.fee_asset else 0
            totals[asset] += amount_e8 - fee_e8
            self._ledger_entries += 1
            rows.append(
                {
                    "ledger_id": identifier("L", self._ledger_entries),
                    "ref_id": exec_id(fill),
                    "timestamp": rfc3339(event.at_ns),
                    "type": "trade",
                    "asset": asset,
                    "asset_class": "currency",
                    "category": "trade",
                    "wallet_type": "spot",
                    "wallet_id": "main",
                    "amount": number(amount_e8, MONEY_DECIMALS),
                    "fee": number(fee_e8, MONEY_DECIMALS),
                    "balance": number(totals[asset], MONEY_DECIMALS),
                }
            )
        return rows

    def rate_count(self, account: Account, symbol: str, now_ns: int) -> msgspec.Raw:
        """Return a pair's rate counter."""
        return number(self._limits.counter(account.name, symbol).value(now_ns), 3)

    def _details(self, order: Order, status: str, at_ns: int) -> Fields:
        pair, request = self._pairs[order.instrument.symbol], tag_of(order).request
        row: Fields = {"order_id": order_txid(order), "symbol": pair.symbol}
        if request.cash_qty is not None:
            row["cash_order_qty"] = number(order.quote_qty_e8, MONEY_DECIMALS)
        else:
            row["order_qty"] = number(order.qty_lots, pair.qty_decimals)
        row |= {
            "cum_cost": number(order.cum_quote_e8 if status != "pending_new" else 0, MONEY_DECIMALS),
            "time_in_force": request.time_in_force.upper(),
            "exec_type": "pending_new",
            "side": _side(order),
            "order_type": request.order_type,
            **_references(order),
        }
        if request.order_type == "limit":
            row |= {"limit_price_type": "static", "limit_price": number(order.price_ticks, pair.price_decimals)}
        row["stop_price"] = number(0, pair.price_decimals)
        if order.expires_ns:
            row["expire_time"] = rfc3339(order.expires_ns)
        return row | {
            "order_status": status,
            "fee_usd_equiv": number(0, MONEY_DECIMALS),
            "fee_ccy_pref": "fciq",
            "timestamp": rfc3339(at_ns),
        }

    def _short(self, exec_type: str, status: str, event: Event) -> Fields:
        assert event.order is not None
        return {
            "timestamp": rfc3339(event.at_ns),
            "order_status": status,
            "exec_type": exec_type,
            **_references(event.order),
            "order_id": order_txid(event.order),
        }

    def _ended(self, exec_type: str, event: Event) -> Fields:
        assert event.order is not None
        fees_e8 = sum(fill.fee_e8 for fill in event.order.fills)
        row = self._short(exec_type, exec_type, event) | self._sums(event.order, event.cum_lots, event.cum_quote_e8)
        row["fee_usd_equiv"] = number(fees_e8, MONEY_DECIMALS)
        if exec_type != "filled":
            row["cancel_reason"] = row["reason"] = REASONS[event.reason]
        return row

    def _amended(self, event: Event) -> Fields:
        assert event.order is not None
        pair = self._pairs[event.order.instrument.symbol]
        row = self._short("amended", "partially_filled" if event.cum_lots else "new", event)
        return row | {
            "cum_qty": number(event.cum_lots, pair.qty_decimals),
            "reason": REASONS[Reason.REQUESTED],
            "amended": True,
            "order_qty": number(event.qty_lots, pair.qty_decimals),
            "limit_price": number(event.price_ticks, pair.price_decimals),
            "limit_price_type": "static",
        }

    def _trade(self, fill: Fill, status: str) -> Fields:
        order = fill.order
        pair = self._pairs[order.instrument.symbol]
        fee = number(fill.fee_e8, MONEY_DECIMALS)
        return {
            "order_id": order_txid(order),
            **_references(order),
            "exec_id": exec_id(fill),
            "exec_type": "trade",
            "trade_id": fill.trade_id,
            "symbol": pair.symbol,
            "side": _side(order),
            "last_qty": number(fill.qty_lots, pair.qty_decimals),
            "last_price": number(fill.price_ticks, pair.price_decimals),
            "liquidity_ind": "m" if fill.maker else "t",
            "cost": number(fill.cost_e8, MONEY_DECIMALS),
            "order_status": status,
            "order_type": tag_of(order).request.order_type,
            "timestamp": rfc3339(fill.at_ns),
            "fee_usd_equiv": fee,
            "fees": [{"asset": fill.fee_asset, "qty": fee}],
        }

    def _sums(self, order: Order, cum_lots: int, cum_quote_e8: int) -> Fields:
        pair = self._pairs[order.instrument.symbol]
        return {
            "cum_qty": number(cum_lots, pair.qty_decimals),
            "cum_cost": number(cum_quote_e8, MONEY_DECIMALS),
            "avg_price": average_price(order, pair, cum_lots, cum_quote_e8),
        }


def _side(order: Order) -> str:
    return "buy" if order.side > 0 else "sell"


def _references(order: Order) -> Fields:
    """Return the client's references; the venue states user reference 0 of an order without any."""
    request = tag_of(order).request
    row: Fields = {"cl_ord_id": request.client_id} if request.client_id else {"order_userref": request.userref or 0}
    return row | {"post_only": True} if request.post_only else row


def _status_after(fill: Fill) -> str:
    """Return what an order is by now, as the snapshot of its fills says."""
    status = fill.order.status
    if status is OrderStatus.OPEN:
        return "partially_filled"
    return "filled" if status is OrderStatus.FILLED else "canceled"
