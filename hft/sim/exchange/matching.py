"""Matching: price-time priority among accounts and the background market, and self-trade prevention.

The background is the market that the simulator plays. It does not react to accounts, so what they take of a displayed level
is remembered until that level shows another size. A resting order trades behind the size that was displayed at its price when
it came; public trades eat that queue, a smaller level cuts it, and the other side's levels at or through its price fill it,
at its own price. These are the rules of `hft.queue_model`, here for several accounts that also trade with each other.
"""

from __future__ import annotations

from hft.sim.exchange.book import Book, Half
from hft.sim.exchange.records import E8, EventKind, FeeAsset, Order, OrderStatus, Reason, Stp
from hft.sim.exchange.settlement import Settlement


class Matcher:
    """Matches orders of any instrument of one exchange."""

    def __init__(self, settlement: Settlement, first_trade_id: int) -> None:
        """Number trades from `first_trade_id` in each instrument."""
        self._settlement = settlement
        self._first_trade_id = first_trade_id
        self._trade_ids: dict[str, int] = {}

    def take(self, order: Order, book: Book, limit_key: int | None, now_ns: int) -> None:
        """Trade a new order against the other side down to `limit_key`; it may be over afterwards."""
        half = book.half(-order.side)
        while order.status is OrderStatus.OPEN:
            key = half.best_key()
            if key is None or limit_key is not None and key < limit_key or not self.wanted(order, abs(key)):
                return
            self._take_level(order, half, key, now_ns)

    def wanted(self, order: Order, price_ticks: int) -> int:
        """Return how many lots an order still wants at a price; a budget in quote buys whole lots only."""
        if not order.quote_qty_e8:
            return order.leaves_lots
        budget_e8 = order.quote_qty_e8 - order.spent_e8
        if order.side > 0 and self._settlement.fee_asset is FeeAsset.QUOTE:
            budget_e8 = budget_e8 * E8 // (E8 + order.account.taker_rate_e8)
        return budget_e8 * order.instrument.cost_den // (price_ticks * order.instrument.cost_num)

    def reach(self, order: Order, book: Book, limit_key: int | None) -> tuple[int, int]:
        """Return the lots that a new order could trade at once, and their cost in 10^-8 quote rounded up, without trading."""
        half = book.half(-order.side)
        lots = cost_e8 = 0
        for key in half.keys_to(-(2**62) if limit_key is None else limit_key):
            makers = half.orders.get(key)
            found = half.left(key)
            for maker in makers.values() if makers else ():
                if maker.account is not order.account or order.stp is Stp.NONE:
                    found += maker.leaves_lots
                elif order.stp is not Stp.EXPIRE_MAKER:
                    return lots, cost_e8
            found = min(found, order.leaves_lots - lots)
            lots += found
            cost_e8 += order.instrument.cost_up_e8(abs(key), found)
            if lots == order.leaves_lots:
                break
        return lots, cost_e8

    def cross(self, book: Book, now_ns: int) -> None:
        """Fill the resting orders that the background's other side has reached."""
        for side in (1, -1):
            half, other = book.half(side), book.half(-side)
            if half.orders:
                self._cross_half(half, other, now_ns)

    def public_trade(self, book: Book, aggressor: int, price_ticks: int, lots: int, now_ns: int) -> None:
        """Let a public trade eat the queue and the orders that stand against it, best price and oldest first."""
        half, trade_key = book.half(-aggressor), -aggressor * price_ticks
        if not half.orders:
            return
        eaten = 0
        for key in half.order_keys():
            if key < trade_key:
                break
            for order in list(half.orders[key].values()):
                if key > trade_key:
                    order.queue_ahead_lots = 0
                else:
                    ate = min(lots, max(0, order.queue_ahead_lots - eaten))
                    eaten += ate
                    lots -= ate
                filled = min(lots, order.leaves_lots)
                if filled:
                    lots -= filled
                    self._fill_maker(half, order, filled, 0, self._next_trade_id(order), now_ns)
        half.eat(trade_key, eaten)

    def _take_level(self, order: Order, half: Half, key: int, now_ns: int) -> None:
        """Trade at one price: the background ahead of each resting order, the order, at last the rest of the background."""
        price_ticks, left, eaten = abs(key), half.left(key), 0
        for maker in list(half.orders[key].values()) if key in half.orders else ():
            ahead = min(maker.queue_ahead_lots, left) - eaten
            if ahead > 0:
                eaten += self._take_background(order, price_ticks, ahead, now_ns)
            wanted = self.wanted(order, price_ticks) if order.is_open else 0
            if not wanted:
                break
            if maker.account is order.account and order.stp is not Stp.NONE:
                self._prevent(order, maker, half, wanted, now_ns)
                if not order.is_open:
                    break
                continue
            lots = min(wanted, maker.leaves_lots)
            trade_id = self._next_trade_id(order)
            self._settlement.fill(order, price_ticks, lots, False, trade_id, maker.order_id, now_ns)
            self._fill_maker(half, maker, lots, order.order_id, trade_id, now_ns)
        else:
            if left > eaten:
                eaten += self._take_background(order, price_ticks, left - eaten, now_ns)
        if eaten:
            half.take(key, eaten)

    def _take_background(self, order: Order, price_ticks: int, lots: int, now_ns: int) -> int:
        lots = min(lots, self.wanted(order, price_ticks))
        if lots:
            self._settlement.fill(order, price_ticks, lots, False, self._next_trade_id(order), 0, now_ns)
        return lots

    def _fill_maker(self, half: Half, order: Order, lots: int, counter_order_id: int, trade_id: int, now_ns: int) -> None:
        if lots == order.leaves_lots:
            half.remove(order)
        self._settlement.fill(order, order.price_ticks, lots, True, trade_id, counter_order_id, now_ns)

    def _prevent(self, order: Order, maker: Order, half: Half, wanted: int, now_ns: int) -> None:
        """Keep an account from trading with itself, as the taker's mode says."""
        if order.stp is Stp.DECREMENT:
            lots = min(wanted, maker.leaves_lots)
            self._decrement(maker, lots, now_ns)
            self._decrement(order, lots, now_ns)
            if not maker.leaves_lots:
                self._expire_maker(half, maker, now_ns)
            else:
                self._settlement.hold(maker)
            if not self.wanted(order, maker.price_ticks):
                self._settlement.end(order, OrderStatus.EXPIRED, Reason.STP, now_ns)
            return
        if order.stp is not Stp.EXPIRE_TAKER:
            self._expire_maker(half, maker, now_ns)
        if order.stp is not Stp.EXPIRE_MAKER:
            self._settlement.end(order, OrderStatus.EXPIRED, Reason.STP, now_ns)

    def _expire_maker(self, half: Half, maker: Order, now_ns: int) -> None:
        half.remove(maker)
        self._settlement.end(maker, OrderStatus.EXPIRED, Reason.STP, now_ns)

    def _decrement(self, order: Order, lots: int, now_ns: int) -> None:
        order.prevented_lots += lots
        order.updated_ns = now_ns
        if order.quote_qty_e8:
            order.spent_e8 = order.quote_qty_e8
        else:
            order.leaves_lots -= lots
        self._settlement.tell(EventKind.PREVENTED, order, now_ns)

    def _cross_half(self, half: Half, other: Half, now_ns: int) -> None:
        for key in half.order_keys():
            for order in list(half.orders[key].values()):
                crossing = 0
                while crossing < order.leaves_lots:
                    level = other.best_left_key()
                    if level is None or level < -key:
                        break
                    lots = min(other.left(level), order.leaves_lots - crossing)
                    other.take(level, lots)
                    crossing += lots
                if not crossing:
                    return
                self._fill_maker(half, order, crossing, 0, self._next_trade_id(order), now_ns)

    def _next_trade_id(self, order: Order) -> int:
        symbol = order.instrument.symbol
        trade_id = self._trade_ids.get(symbol, self._first_trade_id)
        self._trade_ids[symbol] = trade_id + 1
        return trade_id
