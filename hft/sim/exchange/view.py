"""What an exchange looks like from outside: its whole state as decimal text, and the check that its books balance."""

from __future__ import annotations

from collections import Counter, defaultdict
from decimal import Decimal

from hft.sim.exchange.book import Book
from hft.sim.exchange.exchange import Exchange
from hft.sim.exchange.records import E8, Account, Fill, Order


def text_e8(amount_e8: int) -> str:
    """Return an amount as decimal text with 8 places."""
    whole, part = divmod(abs(amount_e8), E8)
    return f"{'-' if amount_e8 < 0 else ''}{whole}.{part:08d}"


def order_state(order: Order) -> dict[str, object]:
    """Return an order as JSON-able values."""
    instrument = order.instrument
    return {
        "order_id": order.order_id,
        "client_id": order.client_id,
        "symbol": instrument.symbol,
        "side": "BUY" if order.side > 0 else "SELL",
        "price": _decimal(order.price_ticks * instrument.tick),
        "qty": _decimal(order.qty_lots * instrument.lot),
        "filled": _decimal(order.cum_lots * instrument.lot),
        "cost": text_e8(order.cum_quote_e8),
        "status": order.status.name,
        "reason": order.reason.name,
    }


def fill_state(fill: Fill) -> dict[str, object]:
    """Return a fill as JSON-able values."""
    instrument = fill.order.instrument
    return {
        "trade_id": fill.trade_id,
        "order_id": fill.order.order_id,
        "client_id": fill.order.client_id,
        "symbol": instrument.symbol,
        "side": "BUY" if fill.order.side > 0 else "SELL",
        "price": _decimal(fill.price_ticks * instrument.tick),
        "qty": _decimal(fill.qty_lots * instrument.lot),
        "fee": text_e8(fill.fee_e8),
        "fee_asset": fill.fee_asset,
        "maker": fill.maker,
        "at_ns": fill.at_ns,
    }


def _balances(account: Account) -> dict[str, dict[str, str]]:
    return {asset: {"free": text_e8(free), "hold": text_e8(account.hold[asset])} for asset, free in account.free.items()}


def account_state(account: Account) -> dict[str, object]:
    """Return balances, open orders, remembered closed orders' count, and fills of an account.

    `traded` is bought minus sold base of every order remembered, before fees: what a follower's position must equal;
    `repeated_client_ids` are those that more than one order remembered has.
    """
    traded: defaultdict[str, Decimal] = defaultdict(Decimal)
    names = Counter(order.client_id for order in account.orders.values() if order.client_id)
    for order in account.orders.values():
        if order.cum_lots:
            traded[order.instrument.symbol] += order.side * order.cum_lots * order.instrument.lot
    return {
        "balances": _balances(account),
        "open_orders": [order_state(order) for order in account.open.values()],
        "repeated_client_ids": sorted(client_id for client_id, count in names.items() if count > 1),
        "closed_count": len(account.closed),
        "fills": [fill_state(fill) for fill in account.fills],
        "traded": {symbol: _decimal(amount) for symbol, amount in traded.items()},
    }


def account_now(exchange: Exchange, name: str) -> dict[str, object] | None:
    """Return the same of one account, with how many orders and fills are remembered instead of the fills; None if there is none."""
    account = exchange.accounts.get(name)
    if account is None:
        return None
    return {
        "balances": _balances(account),
        "open_orders": [order_state(order) for order in account.open.values()],
        "orders": len(account.orders),
        "fills": len(account.fills),
    }


def state(exchange: Exchange) -> dict[str, object]:
    """Return accounts by name, and the instruments' statuses."""
    return {
        "accounts": {name: account_state(account) for name, account in exchange.accounts.items()},
        "status": {symbol: instrument.status.value for symbol, instrument in exchange.instruments.items()},
    }


class Audit:
    """Checks an exchange's books against what its accounts had when the audit began."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._began = self._totals()

    def check(self) -> None:
        """Raise AssertionError, naming what does not balance."""
        exchange = self._exchange
        assert self._totals() == self._began, f"assets are not conserved: {self._began} became {self._totals()}"
        resting = {order.order_id for book in exchange.books.values() for order in _resting(book)}
        for account in exchange.accounts.values():
            holds: defaultdict[str, int] = defaultdict(int)
            for order in account.open.values():
                asset, need_e8 = exchange.settlement.need_e8(order, order.leaves_lots, order.price_ticks)
                assert order.hold_e8 == need_e8, f"order {order.order_id} holds {order.hold_e8}, needs {need_e8}"
                assert order.qty_lots == order.cum_lots + order.prevented_lots + order.leaves_lots, f"order {order.order_id}"
                holds[asset] += need_e8
            for asset, free in account.free.items():
                assert free >= 0, f"{account.name} has {free} of {asset}"
                assert account.hold[asset] == holds[asset], f"{account.name} holds {account.hold[asset]} {asset}, orders {holds[asset]}"
            assert account.open.keys() <= resting, f"{account.name} has open orders that do not rest"
            resting -= account.open.keys()
        assert not resting, f"orders rest that nobody has open: {sorted(resting)}"

    def _totals(self) -> dict[str, int]:
        settlement = self._exchange.settlement
        totals: defaultdict[str, int] = defaultdict(int)
        for amounts in (settlement.background, settlement.fees, *self._holdings()):
            for asset, amount in amounts.items():
                totals[asset] += amount
        return {asset: total for asset, total in sorted(totals.items()) if total}

    def _holdings(self) -> list[dict[str, int]]:
        accounts = self._exchange.accounts.values()
        return [account.free for account in accounts] + [account.hold for account in accounts]


def _resting(book: Book) -> list[Order]:
    return [order for half in (book.buys, book.sells) for level in half.orders.values() for order in level.values()]


def _decimal(value: Decimal) -> str:
    return f"{value:f}"
