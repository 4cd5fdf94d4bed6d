"""The exchange takes requests of accounts and what the background market does, and tells everything that follows as events.

Requests either raise Refusal, and nothing has changed, or are carried out whole before they return. Take the events
(`take_events`) after each call: they are the accounts' private streams, in order. Orders of accounts are not part of the
public book that the simulator publishes, and trades between accounts are not public trades.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from hft.sim.exchange.book import Book
from hft.sim.exchange.matching import Matcher
from hft.sim.exchange.records import (
    SELL,
    Account,
    Event,
    EventKind,
    FeeAsset,
    Instrument,
    Kind,
    Order,
    OrderStatus,
    Reason,
    Refusal,
    Refused,
    Status,
    Stp,
    Tif,
)
from hft.sim.exchange.settlement import Settlement

NEVER_NS = 2**62


class Exchange:
    """Accounts and books of one venue."""

    def __init__(
        self,
        instruments: Iterable[Instrument],
        accounts: Iterable[Account],
        *,
        fee_asset: FeeAsset,
        first_order_id: int = 1,
        first_trade_id: int = 1,
        history_max: int = 50_000,
    ) -> None:
        """Ids count up from the given ones; an account remembers `history_max` closed orders and as many fills."""
        self.instruments = {instrument.symbol: instrument for instrument in instruments}
        self.accounts = {account.name: account for account in accounts}
        self.books = {symbol: Book() for symbol in self.instruments}
        self.settlement = Settlement(fee_asset, history_max)
        self._matcher = Matcher(self.settlement, first_trade_id)
        self._next_order_id = first_order_id
        self._expiring: list[tuple[int, int, Order]] = []

    def take_events(self) -> list[Event]:
        """Return what happened since the last call, in order."""
        events = self.settlement.events
        if events:
            self.settlement.events = []
        return events

    def place(
        self,
        account: Account,
        instrument: Instrument,
        side: int,
        *,
        qty_lots: int = 0,
        price_ticks: int = 0,
        quote_qty_e8: int = 0,
        kind: Kind = Kind.LIMIT,
        tif: Tif = Tif.GTC,
        post_only: bool = False,
        stp: Stp = Stp.NONE,
        client_id: str = "",
        expires_ns: int = 0,
        tag: object = None,
        now_ns: int,
        dry_run: bool = False,
    ) -> Order:
        """Place an order and match it; return it, however it ended. Raises Refusal.

        A limit order needs price and size; a market order a size, or what it may spend or must bring in quote. `client_id`
        must be unused by the account's open orders. `dry_run` checks only: the order returned was never placed.
        """
        order = Order(
            self._next_order_id,
            account,
            instrument,
            side,
            kind,
            price_ticks,
            qty_lots,
            quote_qty_e8,
            client_id,
            tif,
            post_only,
            stp,
            expires_ns,
            tag,
            now_ns,
        )
        limit_key = -side * price_ticks if kind is Kind.LIMIT else None
        self._check(order, limit_key)
        if dry_run:
            return order
        self._next_order_id += 1
        account.orders[order.order_id] = account.open[order.order_id] = order
        account.open_count[instrument.symbol] = account.open_count.get(instrument.symbol, 0) + 1
        if client_id:
            account.by_client_id[client_id] = order
        self.settlement.tell(EventKind.ACCEPTED, order, now_ns)
        self._run(order, limit_key, now_ns)
        if order.is_open and expires_ns:
            heapq.heappush(self._expiring, (expires_ns, order.order_id, order))
        self.settlement.tell_balances(now_ns)
        return order

    def find(self, account: Account, *, order_id: int = 0, client_id: str = "") -> Order | None:
        """Return an order of the account by the venue's id, else the newest one with a client id; open or remembered."""
        return account.orders.get(order_id) if order_id else account.by_client_id.get(client_id)

    def find_open(self, account: Account, *, order_id: int = 0, client_id: str = "") -> Order:
        """Return an open order. Raises Refusal."""
        order = self.find(account, order_id=order_id, client_id=client_id)
        if order is None or not order.is_open:
            raise Refusal(Refused.UNKNOWN_ORDER)
        return order

    def cancel(self, order: Order, now_ns: int, reason: Reason = Reason.REQUESTED, note: object = "") -> None:
        """Cancel an open order; `note` comes back in the event. Raises Refusal."""
        self._cancel(order, now_ns, reason, note)
        self.settlement.tell_balances(now_ns)

    def cancel_all(
        self, account: Account, now_ns: int, instrument: Instrument | None = None, reason: Reason = Reason.REQUESTED, note: object = ""
    ) -> list[Order]:
        """Cancel all open orders of an account, or those in one instrument; return them, oldest first."""
        orders = [order for order in account.open.values() if instrument is None or order.instrument is instrument]
        orders = [order for order in orders if order.instrument.status is not Status.HALTED]
        for order in orders:
            self._cancel(order, now_ns, reason, note)
        self.settlement.tell_balances(now_ns)
        return orders

    def amend(
        self, order: Order, now_ns: int, *, qty_lots: int = 0, price_ticks: int = 0, post_only: bool = False, note: object = ""
    ) -> None:
        """Change an open limit order in place; 0 leaves as is, `qty_lots` is the new whole size. Raises Refusal.

        A smaller size keeps the place in the queue; a new price or a larger size goes to the back, and may trade at once
        (`post_only` refuses that for this change). A size of no more than was filled cancels the rest.
        """
        self._require_open(order)
        qty_lots, price_ticks = qty_lots or order.qty_lots, price_ticks or order.price_ticks
        leaves_lots = qty_lots - order.cum_lots - order.prevented_lots
        if leaves_lots <= 0:
            self._cancel(order, now_ns, Reason.AMENDED, note)
        elif price_ticks == order.price_ticks and leaves_lots <= order.leaves_lots:
            order.qty_lots, order.leaves_lots, order.updated_ns = qty_lots, leaves_lots, now_ns
            self.settlement.hold(order)
            self.settlement.tell(EventKind.AMENDED, order, now_ns, note=note)
        else:
            self._check_amend(order, qty_lots, leaves_lots, price_ticks, post_only)
            self.books[order.instrument.symbol].half(order.side).remove(order)
            order.leaves_lots = 0
            self.settlement.hold(order)
            order.qty_lots, order.leaves_lots, order.price_ticks, order.updated_ns = qty_lots, leaves_lots, price_ticks, now_ns
            self.settlement.tell(EventKind.AMENDED, order, now_ns, note=note)
            self._run(order, -order.side * price_ticks, now_ns)
        self.settlement.tell_balances(now_ns)

    def rename(self, order: Order, client_id: str) -> None:
        """Give an open order another client id, which must be unused by the account's open orders. Raises Refusal."""
        by_client_id = order.account.by_client_id
        known = by_client_id.get(client_id)
        if known is not None and known.is_open and known is not order:
            raise Refusal(Refused.DUPLICATE_CLIENT_ID)
        if by_client_id.get(order.client_id) is order:
            del by_client_id[order.client_id]
        order.client_id = client_id
        by_client_id[client_id] = order

    def cancel_all_after(self, account: Account, deadline_ns: int) -> None:
        """Cancel everything of an account when `deadline_ns` comes, unless called again before; 0 disarms."""
        account.dead_man_ns = deadline_ns

    def deadline_ns(self) -> int:
        """Return when `work` has something to do; NEVER_NS if only a request can change something."""
        deadline = self._expiring[0][0] if self._expiring else NEVER_NS
        return min([deadline, *(account.dead_man_ns for account in self.accounts.values() if account.dead_man_ns)])

    def work(self, now_ns: int) -> None:
        """End the orders whose time has come, and run the dead-man timers."""
        while self._expiring and self._expiring[0][0] <= now_ns:
            order = heapq.heappop(self._expiring)[2]
            if order.is_open:
                self.books[order.instrument.symbol].half(order.side).remove(order)
                self.settlement.end(order, OrderStatus.EXPIRED, Reason.TIME, now_ns)
        for account in self.accounts.values():
            if account.dead_man_ns and account.dead_man_ns <= now_ns:
                account.dead_man_ns = 0
                self.cancel_all(account, now_ns, reason=Reason.DEAD_MAN)
        self.settlement.tell_balances(now_ns)

    def show_levels(self, symbol: str, bids: Sequence[tuple[int, int]], asks: Sequence[tuple[int, int]], now_ns: int) -> None:
        """The background's levels changed to these (ticks, lots); 0 lots is gone. Reached orders fill."""
        book = self.books[symbol]
        for ticks, lots in bids:
            book.buys.show(ticks, lots)
        for ticks, lots in asks:
            book.sells.show(-ticks, lots)
        self._crossed(book, now_ns)

    def show_book(self, symbol: str, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], now_ns: int) -> None:
        """The background's whole book is this one, as (ticks, lots)."""
        book = self.books[symbol]
        book.buys.show_all(dict(bids))
        book.sells.show_all({-ticks: lots for ticks, lots in asks})
        self._crossed(book, now_ns)

    def show_best(self, symbol: str, bid: tuple[int, int], ask: tuple[int, int], now_ns: int) -> None:
        """The background's best levels are these (ticks, lots): better ones are gone."""
        book = self.books[symbol]
        book.buys.show_best(*bid)
        book.sells.show_best(-ask[0], ask[1])
        self._crossed(book, now_ns)

    def public_trade(self, symbol: str, aggressor: int, price_ticks: int, qty_lots: int, now_ns: int) -> None:
        """A taker of side `aggressor` traded in the background market."""
        self._matcher.public_trade(self.books[symbol], aggressor, price_ticks, qty_lots, now_ns)
        self.settlement.tell_balances(now_ns)

    def _check(self, order: Order, limit_key: int | None) -> None:
        """Refuse what may not be placed."""
        account, instrument = order.account, order.instrument
        if instrument.base not in account.free or instrument.quote not in account.free:
            for asset in (instrument.base, instrument.quote):
                account.free.setdefault(asset, 0)
                account.hold.setdefault(asset, 0)
        if instrument.status is not Status.TRADING:
            self._check_status(order, instrument.status)
        known = account.by_client_id.get(order.client_id)
        if known is not None and known.status is OrderStatus.OPEN:
            raise Refusal(Refused.DUPLICATE_CLIENT_ID)
        if instrument.open_max and account.open_count.get(instrument.symbol, 0) >= instrument.open_max:
            raise Refusal(Refused.TOO_MANY_OPEN)
        self._check_size(instrument, order.price_ticks, order.qty_lots, order.quote_qty_e8)
        self._check_funds(order, limit_key)
        if order.post_only and self._would_take(order, order.price_ticks):
            raise Refusal(Refused.WOULD_TAKE)

    def _check_status(self, order: Order, status: Status) -> None:
        if (
            status in (Status.CANCEL_ONLY, Status.HALTED)
            or status is Status.LIMIT_ONLY
            and order.kind is Kind.MARKET
            or status is Status.POST_ONLY
            and not order.post_only
        ):
            raise Refusal(Refused.STATUS)

    def _check_size(self, instrument: Instrument, price_ticks: int, qty_lots: int, quote_qty_e8: int) -> None:
        if instrument.price_max_ticks and price_ticks > instrument.price_max_ticks:
            raise Refusal(Refused.PRICE_TOO_HIGH)
        if quote_qty_e8:
            if quote_qty_e8 < instrument.notional_min_e8:
                raise Refusal(Refused.NOTIONAL_TOO_SMALL)
            return
        if qty_lots < instrument.qty_min_lots:
            raise Refusal(Refused.QTY_TOO_SMALL)
        if instrument.qty_max_lots and qty_lots > instrument.qty_max_lots:
            raise Refusal(Refused.QTY_TOO_LARGE)
        if price_ticks and instrument.cost_e8(price_ticks, qty_lots) < instrument.notional_min_e8:
            raise Refusal(Refused.NOTIONAL_TOO_SMALL)

    def _check_funds(self, order: Order, limit_key: int | None) -> None:
        account, settlement = order.account, self.settlement
        if order.kind is Kind.LIMIT or order.side == SELL and not order.quote_qty_e8:
            asset, need_e8 = settlement.need_e8(order, order.leaves_lots, order.price_ticks)
        elif order.side == SELL:
            asset, need_e8 = order.instrument.base, self._sell_budget_e8(order)
        elif order.quote_qty_e8:
            asset, need_e8 = order.instrument.quote, order.quote_qty_e8
        else:
            cost_e8 = self._matcher.reach(order, self.books[order.instrument.symbol], limit_key)[1]
            asset, need_e8 = order.instrument.quote, settlement.with_fee_e8(account, cost_e8)
        if account.free[asset] < need_e8:
            raise Refusal(Refused.INSUFFICIENT_FUNDS)

    def _sell_budget_e8(self, order: Order) -> int:
        """Return the base that a sale for `quote_qty_e8` takes at most: down the book as it is now."""
        half = self.books[order.instrument.symbol].buys
        instrument, need_lots, rest_e8 = order.instrument, 0, order.quote_qty_e8
        for key in half.keys_to(-(2**62)):
            found = half.left(key) + sum(maker.leaves_lots for maker in half.orders.get(key, {}).values())
            wanted = rest_e8 * instrument.cost_den // (key * instrument.cost_num)
            lots = min(found, wanted)
            need_lots += lots
            rest_e8 -= instrument.cost_e8(key, lots)
            if lots == wanted:
                break
        return need_lots * instrument.lot_e8

    def _would_take(self, order: Order, price_ticks: int) -> bool:
        best = self.books[order.instrument.symbol].half(-order.side).best_key()
        return best is not None and best >= -order.side * price_ticks

    def _check_amend(self, order: Order, qty_lots: int, leaves_lots: int, price_ticks: int, post_only: bool) -> None:
        if order.instrument.status in (Status.CANCEL_ONLY, Status.HALTED):
            raise Refusal(Refused.STATUS)
        self._check_size(order.instrument, price_ticks, qty_lots, 0)
        asset, need_e8 = self.settlement.need_e8(order, leaves_lots, price_ticks)
        if order.account.free[asset] + order.hold_e8 < need_e8:
            raise Refusal(Refused.INSUFFICIENT_FUNDS)
        if (order.post_only or post_only) and self._would_take(order, price_ticks):
            raise Refusal(Refused.WOULD_TAKE)

    def _run(self, order: Order, limit_key: int | None, now_ns: int) -> None:
        """Match an order that is in no book; let what is left rest or end."""
        settlement, book = self.settlement, self.books[order.instrument.symbol]
        if order.tif is Tif.FOK and self._matcher.reach(order, book, limit_key)[0] < order.leaves_lots:
            settlement.end(order, OrderStatus.EXPIRED, Reason.FOK, now_ns)
            return
        self._matcher.take(order, book, limit_key, now_ns)
        if order.status is not OrderStatus.OPEN:
            return
        if order.kind is Kind.MARKET:
            self._end_market(order, book, now_ns)
        elif order.tif is Tif.GTC:
            settlement.hold(order)
            book.half(order.side).add(order)
        else:
            settlement.end(order, OrderStatus.EXPIRED, Reason.IOC, now_ns)

    def _end_market(self, order: Order, book: Book, now_ns: int) -> None:
        """End what a market order left: a budget that buys not one lot more is spent."""
        best = book.half(-order.side).best_key()
        if order.quote_qty_e8 and order.fills and best is not None and not self._matcher.wanted(order, abs(best)):
            self.settlement.close(order, OrderStatus.FILLED, Reason.NONE, now_ns)
            events = self.settlement.events
            last = max(i for i, event in enumerate(events) if event.order is order)
            events[last] = events[last]._replace(done=True)
            return
        self.settlement.end(order, OrderStatus.EXPIRED, Reason.NO_LIQUIDITY, now_ns)

    def _require_open(self, order: Order) -> None:
        if not order.is_open:
            raise Refusal(Refused.UNKNOWN_ORDER)
        if order.instrument.status is Status.HALTED:
            raise Refusal(Refused.STATUS)

    def _cancel(self, order: Order, now_ns: int, reason: Reason, note: object) -> None:
        self._require_open(order)
        self.books[order.instrument.symbol].half(order.side).remove(order)
        self.settlement.end(order, OrderStatus.CANCELED, reason, now_ns, note)

    def _crossed(self, book: Book, now_ns: int) -> None:
        self._matcher.cross(book, now_ns)
        self.settlement.tell_balances(now_ns)
