"""Settlement moves money between accounts, holds and fees, and writes down what happened as events.

What accounts trade with the background market leaves or enters the world of accounts; `background` and `fees` count it,
so that every asset is conserved: accounts + background + fees stay what the accounts began with.
"""

from __future__ import annotations

from collections import defaultdict

from hft.sim.exchange.records import (
    E8,
    Account,
    Event,
    EventKind,
    FeeAsset,
    Fill,
    Order,
    OrderStatus,
    Reason,
)


class Settlement:
    """Money and events of one exchange."""

    def __init__(self, fee_asset: FeeAsset, history_max: int) -> None:
        """Remember `history_max` closed orders and as many fills an account."""
        self.fee_asset = fee_asset
        self._history_max = history_max
        #: What happened and was not taken yet.
        self.events: list[Event] = []
        self._event_count = 0
        self._touched: dict[Account, dict[str, None]] = {}
        #: asset -> 10^-8 of it that the background has received, and that was paid in fees
        self.background: defaultdict[str, int] = defaultdict(int)
        self.fees: defaultdict[str, int] = defaultdict(int)

    def need_e8(self, order: Order, lots: int, price_ticks: int) -> tuple[str, int]:
        """Return the asset and how much of it `lots` of an order hold at a price."""
        instrument = order.instrument
        if order.side < 0:
            return instrument.base, lots * instrument.lot_e8
        return instrument.quote, self.with_fee_e8(order.account, instrument.cost_up_e8(price_ticks, lots))

    def with_fee_e8(self, account: Account, cost_e8: int) -> int:
        """Return what a buy takes from its quote balance at most, rounded up."""
        if self.fee_asset is FeeAsset.RECEIVED:
            return cost_e8
        return -(-cost_e8 * (E8 + max(account.maker_rate_e8, account.taker_rate_e8)) // E8)

    def hold(self, order: Order) -> None:
        """Make the hold of a resting order what its leaves need; the difference goes to or comes from what is free."""
        asset, need_e8 = self.need_e8(order, order.leaves_lots, order.price_ticks)
        if need_e8 == order.hold_e8:
            return
        account = order.account
        account.free[asset] -= need_e8 - order.hold_e8
        account.hold[asset] += need_e8 - order.hold_e8
        order.hold_e8 = need_e8
        self._touch(account, asset)

    def fill(self, order: Order, price_ticks: int, lots: int, maker: bool, trade_id: int, counter_order_id: int, now_ns: int) -> Fill:
        """Settle one order's side of a trade and tell it. Of a resting order, the fill releases its part of the hold."""
        instrument, account = order.instrument, order.account
        cost_e8 = instrument.cost_e8(price_ticks, lots)
        base_e8 = lots * instrument.lot_e8
        order.cum_lots += lots
        order.cum_quote_e8 += cost_e8
        if order.quote_qty_e8:
            order.qty_lots = order.cum_lots
        else:
            order.leaves_lots -= lots
        if maker:
            self.hold(order)
        fee_asset, fee_e8 = self._move(order, cost_e8, base_e8, maker)
        self.fees[fee_asset] += fee_e8
        if not counter_order_id:
            self.background[instrument.base] -= order.side * base_e8
            self.background[instrument.quote] += order.side * cost_e8
        order.updated_ns = now_ns
        fill = Fill(trade_id, order, price_ticks, lots, cost_e8, fee_e8, fee_asset, maker, counter_order_id, now_ns)
        order.fills.append(fill)
        account.fills.append(fill)
        if len(account.fills) > self._history_max:
            account.fills.popleft()
        done = not order.leaves_lots and not order.quote_qty_e8
        if done:
            self.close(order, OrderStatus.FILLED, Reason.NONE, now_ns)
        self.tell(EventKind.TRADED, order, now_ns, fill=fill, done=done)
        return fill

    def _move(self, order: Order, cost_e8: int, base_e8: int, maker: bool) -> tuple[str, int]:
        """Exchange base for quote in what is free; return asset and amount of the fee."""
        account, instrument = order.account, order.instrument
        base, quote, free = instrument.base, instrument.quote, account.free
        rate_e8 = account.maker_rate_e8 if maker else account.taker_rate_e8
        self._touch(account, base)
        self._touch(account, quote)
        if order.side > 0 and self.fee_asset is FeeAsset.RECEIVED:
            fee_e8 = base_e8 * rate_e8 // E8
            free[quote] -= cost_e8
            free[base] += base_e8 - fee_e8
            order.spent_e8 += cost_e8
            return base, fee_e8
        fee_e8 = cost_e8 * rate_e8 // E8
        free[base] += order.side * base_e8
        free[quote] -= order.side * cost_e8 + fee_e8
        order.spent_e8 += cost_e8 + (fee_e8 if order.side > 0 else 0)
        return quote, fee_e8

    def end(self, order: Order, status: OrderStatus, reason: Reason, now_ns: int, note: object = "") -> None:
        """End an order that is in no book, and tell it."""
        self.close(order, status, reason, now_ns)
        self.tell(EventKind.CANCELED if status is OrderStatus.CANCELED else EventKind.EXPIRED, order, now_ns, note=note, done=True)

    def close(self, order: Order, status: OrderStatus, reason: Reason, now_ns: int) -> None:
        """Give back what an order holds, and file it."""
        account = order.account
        order.leaves_lots = 0
        if order.hold_e8:
            self.hold(order)
        order.status, order.reason, order.updated_ns = status, reason, now_ns
        del account.open[order.order_id]
        account.open_count[order.instrument.symbol] -= 1
        account.closed.append(order)
        if len(account.closed) > self._history_max:
            forgotten = account.closed.popleft()
            del account.orders[forgotten.order_id]
            if account.by_client_id.get(forgotten.client_id) is forgotten:
                del account.by_client_id[forgotten.client_id]

    def tell(self, kind: EventKind, order: Order, now_ns: int, fill: Fill | None = None, done: bool = False, note: object = "") -> None:
        """Write down what happened to an order."""
        self._event_count += 1
        self.events.append(
            Event(
                kind,
                self._event_count,
                now_ns,
                order.account,
                order,
                fill,
                order.reason,
                order.price_ticks,
                order.qty_lots,
                order.cum_lots,
                order.cum_quote_e8,
                order.leaves_lots,
                order.prevented_lots,
                done,
                note,
            )
        )

    def tell_balances(self, now_ns: int) -> None:
        """Write down the balances that changed since the last call, account by account."""
        if not self._touched:
            return
        for account, assets in self._touched.items():
            self._event_count += 1
            balances = {asset: (account.free[asset], account.hold[asset]) for asset in assets}
            self.events.append(
                Event(EventKind.BALANCE, self._event_count, now_ns, account, None, None, Reason.NONE, 0, 0, 0, 0, 0, 0, False, "", balances)
            )
        self._touched.clear()

    def _touch(self, account: Account, asset: str) -> None:
        touched = self._touched.get(account)
        if touched is None:
            touched = self._touched[account] = {}
        touched[asset] = None
