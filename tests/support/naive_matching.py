"""Naive matching: the paper venue again, in plain objects and dictionaries, as the twin of `hft.matching`.

Unbounded, slow and written from the definition. Reports are tuples `(visible_ns, {field: value})`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hft.records import ExecutionCode, FeeAsset, IntentKind, Liquidity, OrderFlag, OrderState, ReportKind, RiskCode, TimeInForce

Level = tuple[int, int, int]  # instrument, side, price_ticks


@dataclass
class Own:
    """An own order at the venue."""

    order: dict[str, int]
    leaves: int
    cum: int = 0
    ahead: int = 0

    @property
    def side(self) -> int:
        return self.order["side"]

    @property
    def price(self) -> int:
        return self.order["price_ticks"]


@dataclass
class NaiveVenue:
    """One venue; `books[instrument][side]` is price -> size, kept by whoever drives it."""

    instruments: list[dict[str, int]]
    order_latency_ns: int
    ack_latency_ns: int
    orders_max: int
    ended_max: int
    books: list[dict[int, dict[int, int]]] = field(default_factory=list)
    valid: list[bool] = field(default_factory=list)
    flying: list[tuple[int, dict[str, int]]] = field(default_factory=list)
    working: list[Own] = field(default_factory=list)  # in time order
    ended: dict[int, tuple[Own, OrderState]] = field(default_factory=dict)  # id modulo ended_max -> the last that ended
    taken: dict[Level, tuple[int, int]] = field(default_factory=dict)  # level -> size shown when first taken, taken since
    reports: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    trades: int = 0

    def __post_init__(self) -> None:
        self.books = [{1: {}, -1: {}} for _ in self.instruments]
        self.valid = [False for _ in self.instruments]

    def send(self, order: dict[str, int], now_ns: int) -> None:
        self.flying.append((now_ns + self.order_latency_ns, order))

    def advance(self, now_ns: int) -> None:
        while self.flying and self.flying[0][0] <= now_ns:
            due_ns, order = self.flying.pop(0)
            self.arrive(order, due_ns)

    def find(self, order: dict[str, int]) -> Own | None:
        meant = [o for o in self.working if o.order["order_id"] == order["ref_order_id"] and o.order["instrument"] == order["instrument"]]
        return meant[0] if meant else None

    def arrive(self, order: dict[str, int], now: int) -> None:
        kind = order["kind"]
        if kind == IntentKind.CANCEL_ALL:
            mine = [o for o in self.working if (o.order["strategy"], o.order["instrument"]) == (order["strategy"], order["instrument"])]
            for own in sorted(mine, key=lambda o: (-o.side, -o.side * o.price)):
                self.end(own, ReportKind.CANCELED, OrderState.CANCELED, 0, now)
            return
        if kind == IntentKind.CANCEL and self.find(order) is None:
            self.reject_cancel(order, now)
            return
        if kind in (IntentKind.CANCEL, IntentKind.REPLACE):
            old = self.find(order)
            if old is None:
                self.say(order, ReportKind.REJECTED, OrderState.REJECTED, now, reason=ExecutionCode.UNKNOWN_ORDER)
                return
            self.end(old, ReportKind.CANCELED, OrderState.CANCELED, 0, now)
        if kind in (IntentKind.NEW, IntentKind.REPLACE):
            self.enter(order, now)

    def reject_cancel(self, order: dict[str, int], now: int) -> None:
        about = {**order, "order_id": order["ref_order_id"]}
        reason, state, cum = ExecutionCode.UNKNOWN_ORDER, OrderState.NONE, 0
        place = order["ref_order_id"] % self.ended_max
        if place in self.ended and self.ended[place][0].order["order_id"] == order["ref_order_id"]:
            own, state = self.ended[place]
            reason, cum = ExecutionCode.ALREADY_DONE, own.cum
            about |= {key: own.order[key] for key in ("price_ticks", "qty_lots", "side")}
        self.say(about, ReportKind.CANCEL_REJECTED, state, now, reason=reason, cum=cum, ref=order["order_id"])

    def against(self, order: dict[str, int]) -> int | None:
        """Price of the best own order that `order` would cross."""
        side, price = order["side"], order["price_ticks"]
        prices = [o.price for o in self.working if o.side == -side and o.order["instrument"] == order["instrument"]]
        best = max(prices, key=lambda p: -side * p, default=None)
        return best if best is not None and side * (price - best) >= 0 else None

    def enter(self, order: dict[str, int], now: int) -> None:
        instrument, side, price = order["instrument"], order["side"], order["price_ticks"]
        levels = self.books[instrument][-side]
        own_price = self.against(order)
        reason = 0
        if not self.valid[instrument]:
            reason = ExecutionCode.BOOK_INVALID
        elif order["flags"] & OrderFlag.POST_ONLY and (own_price is not None or any(side * (price - p) >= 0 for p in levels)):
            reason = ExecutionCode.POST_ONLY_WOULD_TAKE
        elif len(self.working) >= self.orders_max:
            reason = ExecutionCode.TABLE_FULL
        if reason:
            self.say(order, ReportKind.REJECTED, OrderState.REJECTED, now, reason=reason)
            return
        own = Own(order, leaves=order["qty_lots"])
        self.say(order, ReportKind.ACK, OrderState.NEW, now, leaves=own.leaves)
        reach = [p for p in sorted(levels, key=lambda p: side * p) if side * (price - p) >= 0]
        if own_price is not None:
            reach = [p for p in reach if side * (own_price - p) > 0]
        if order["tif"] != TimeInForce.FOK or sum(self.left(instrument, -side, p, levels[p]) for p in reach) >= own.leaves:
            for p in reach:
                lots = min(own.leaves, self.left(instrument, -side, p, levels[p]))
                if lots:
                    self.take(instrument, -side, p, levels[p], lots)
                    self.fill(own, p, lots, Liquidity.TAKER, now)
        if own.leaves == 0:
            self.ended[order["order_id"] % self.ended_max] = (own, OrderState.FILLED)
        elif order["tif"] != TimeInForce.GTC or own_price is not None:
            why = RiskCode.SELF_TRADE if own_price is not None else ExecutionCode.NO_LIQUIDITY
            self.say(order, ReportKind.EXPIRED, OrderState.EXPIRED, now, reason=why, cum=own.cum)
            self.ended[order["order_id"] % self.ended_max] = (own, OrderState.EXPIRED)
        else:
            own.ahead = self.left(instrument, side, price, self.books[instrument][side].get(price, 0))
            self.working.append(own)

    def left(self, instrument: int, side: int, price: int, shown: int) -> int:
        return max(0, shown - self.taken.get((instrument, side, price), (0, 0))[1])

    def take(self, instrument: int, side: int, price: int, shown: int, lots: int) -> None:
        first_shown, before = self.taken.get((instrument, side, price), (shown, 0))
        self.taken[instrument, side, price] = (first_shown, before + lots)

    def see(self, instrument: int, side: int, price: int, shown: int) -> None:
        if self.taken.get((instrument, side, price), (shown, 0))[0] != shown:
            del self.taken[instrument, side, price]

    def fill(self, own: Own, price: int, lots: int, liquidity: Liquidity, now: int) -> None:
        own.cum += lots
        own.leaves -= lots
        self.trades += 1
        state = OrderState.PARTIALLY_FILLED if own.leaves else OrderState.FILLED
        row = self.instruments[own.order["instrument"]]
        fee = naive_fee_e8(row, price, lots, row["maker_fee_e8"] if liquidity == Liquidity.MAKER else row["taker_fee_e8"])
        extra = {"last_price_ticks": price, "last_lots": lots, "trade_id": self.trades, "liquidity": liquidity}
        extra |= {"fee_e8": fee, "fee_asset": row["fee_asset"]}
        self.say(own.order, ReportKind.TRADE, state, now, cum=own.cum, leaves=own.leaves, **extra)

    def fill_maker(self, own: Own, lots: int, now: int) -> None:
        self.fill(own, own.price, lots, Liquidity.MAKER, now)
        if own.leaves == 0:
            self.working.remove(own)
            self.ended[own.order["order_id"] % self.ended_max] = (own, OrderState.FILLED)

    def end(self, own: Own, kind: ReportKind, state: OrderState, reason: int, now: int) -> None:
        self.say(own.order, kind, state, now, reason=reason, cum=own.cum)
        self.working.remove(own)
        self.ended[own.order["order_id"] % self.ended_max] = (own, state)

    def say(self, order: dict[str, int], kind: ReportKind, state: OrderState, now: int, **given: int) -> None:
        """Queue a report; `given` are cum, leaves, reason, ref or names of report fields."""
        report: dict[str, Any] = dict.fromkeys(("last_price_ticks", "last_lots", "fee_e8", "trade_id", "liquidity", "fee_asset"), 0)
        copied = ("order_id", "price_ticks", "qty_lots", "received_ns", "decided_ns", "approved_ns", "sent_ns")
        report |= {key: order[key] for key in (*copied, "strategy", "instrument", "side")}
        report |= {"kind": kind, "state": state, "reason": given.pop("reason", 0)}
        report |= {"cum_lots": given.pop("cum", 0), "leaves_lots": given.pop("leaves", 0)}
        report["ref_order_id"] = given.pop("ref", order["ref_order_id"] if order["kind"] == IntentKind.REPLACE else 0)
        self.reports.append((now + self.ack_latency_ns, {key: int(value) for key, value in (report | given).items()}))

    def of_side(self, instrument: int, side: int) -> list[Own]:
        """Own orders of a side in price-time order."""
        return sorted((o for o in self.working if o.side == side and o.order["instrument"] == instrument), key=lambda o: -side * o.price)

    def on_level(self, instrument: int, side: int, price: int, shown: int) -> None:
        self.see(instrument, side, price, shown)
        for own in self.of_side(instrument, side):
            if own.price == price:
                own.ahead = min(own.ahead, shown)

    def on_reset(self, instrument: int) -> None:
        self.valid[instrument] = False
        self.taken = {level: size for level, size in self.taken.items() if level[0] != instrument}

    def on_valid(self, instrument: int) -> None:
        self.valid[instrument] = True
        for own in self.working:
            if own.order["instrument"] == instrument:
                own.ahead = min(own.ahead, self.books[instrument][own.side].get(own.price, 0))

    def on_trade(self, instrument: int, aggressor: int, price: int, lots: int, now: int) -> None:
        if not self.valid[instrument]:
            return
        market_eaten = 0
        for own in self.of_side(instrument, -aggressor):
            if aggressor * (price - own.price) < 0:
                break
            if price == own.price:
                ate = min(lots, max(0, own.ahead - market_eaten))
                market_eaten += ate
                lots -= ate
                own.ahead = max(0, own.ahead - market_eaten)
            else:
                own.ahead = 0
            filled = min(lots, own.leaves)
            if filled:
                lots -= filled
                self.fill_maker(own, filled, now)

    def on_top(self, instrument: int, now: int) -> None:
        if self.valid[instrument]:
            for side in (1, -1):
                self.cross(instrument, side, dict(self.books[instrument][-side]), now)

    def on_quote(self, instrument: int, side: int, price: int, lots: int, now: int) -> None:
        """The venue's best on `side`; fills own orders of the other side."""
        if self.valid[instrument]:
            self.see(instrument, side, price, lots)
            if price:
                self.cross(instrument, -side, {price: lots}, now)

    def cross(self, instrument: int, side: int, shown: dict[int, int], now: int) -> None:
        for own in self.of_side(instrument, side):
            eats: list[tuple[int, int]] = []
            for price in sorted(shown, key=lambda p: side * p):
                lots = min(self.left(instrument, -side, price, shown[price]), own.leaves - sum(ate for _, ate in eats))
                if side * (own.price - price) >= 0 and lots:
                    eats.append((price, lots))
            if not eats:
                return
            for price, ate in eats:
                self.take(instrument, -side, price, shown[price], ate)
            self.fill_maker(own, sum(ate for _, ate in eats), now)


def naive_fee_e8(row: dict[str, int], price: int, lots: int, rate_e8: int) -> int:
    """Fee of a fill by fractions; `round` rounds halves to even."""
    amount = Fraction(price * lots * row["ticklot_num"], row["ticklot_den"])
    if row["fee_asset"] == FeeAsset.BASE:
        amount = Fraction(lots * row["lot_e8_num"], row["lot_e8_den"])
    return round(Fraction(round(amount) * rate_e8, 10**8))
