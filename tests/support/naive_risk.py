"""Naive risk: every control from first principles over plain lists, the readable twin of `hft.risk`."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil, floor
from statistics import median
from typing import Any

from hft.funds import NO_ACCOUNT, SAID
from hft.records import ExecutionCode, FeeAsset, IntentKind, Liquidity, MarketKind, OrderFlag, OrderState, ReportKind, RiskCode, VenueReason
from hft.risk_state import TOTAL_MISSING, TOTAL_PNL_E8
from support.naive_breakers import NaiveBreakers
from support.naive_fill_rate import NaiveFillRate
from support.naive_ledger import NaiveLedger
from support.naive_messages import NaiveMessages
from support.naive_orders import NaiveOrders
from support.naive_stops import NaiveStops

SECOND = 1_000_000_000


@dataclass
class Bucket:
    """A token bucket of exact fractions of an order."""

    rate: int
    tokens: Fraction = field(init=False)
    filled_ns: int = 0

    def __post_init__(self) -> None:
        self.tokens = Fraction(self.rate)

    def level(self, now_ns: int) -> Fraction:
        """Whole and part orders available."""
        return min(Fraction(self.rate), self.tokens + Fraction(max(now_ns - self.filled_ns, 0) * self.rate, SECOND))

    def take(self, now_ns: int) -> None:
        """Use one."""
        self.tokens = self.level(now_ns) - 1
        self.filled_ns = max(self.filled_ns, now_ns)


class NaiveRisk:
    """The firm as lists and dictionaries; limits and instruments are read from the same rows as the kernel's."""

    def __init__(self, state: Any, epoch: int, slots: int) -> None:
        self.rows, self.limits, self.firm, self.epoch = state.instruments, state.limits, state.firm[0], epoch
        count, strategies = len(state.instruments), len(state.approved)
        self.halted = False
        self.breakers, self.totals = NaiveBreakers(state.limits, self.firm, strategies), state.totals
        self.filled = NaiveFillRate(self.firm, strategies)
        self.messages = NaiveMessages(self.firm, strategies)
        self.orders = NaiveOrders(slots)
        self.ledgers = [NaiveLedger(row) for row in state.instruments]
        self.stops = NaiveStops(state.instruments, state.limits, strategies)
        self.touch: list[tuple[int, int, int]] = [(0, 0, 0)] * count
        self.valid = [False] * count
        self.mark = [0] * count
        self.closed_until = [0] * count
        self.event = [0] * count
        self.trades: list[list[tuple[int, int]]] = [[] for _ in range(count)]  #: when, price
        self.first_mid = [Fraction(0)] * count
        self.clocks: dict[int, tuple[int, int]] = {}  #: venue -> behind, UTC
        self.funds = state.funds.known, state.funds.free[:, :, 0]  #: known, and what each account began with
        self.recent: deque[tuple[int, tuple[int, ...]]] = deque()
        self.canceled: dict[int, int] = {}
        self.last_counter = [-1] * strategies
        self.strategy_buckets = [Bucket(int(self.firm["strategy_rate_per_s"])) for _ in range(strategies)]
        self.firm_bucket = Bucket(int(self.firm["firm_rate_per_s"]))

    def on_market(self, m: Any) -> None:
        """Take a MARKET record."""
        row, kind = int(m["instrument"]), int(m["kind"])
        bid, ask, received = self.touch[row]
        if kind in (MarketKind.TOP, MarketKind.QUOTE):
            bid, ask, received = int(m["price_ticks"]), int(m["ask_ticks"]), max(received, int(m["received_ns"]))
            self.event[row] = int(m["exchange_ns"]) or self.event[row]
        elif kind == MarketKind.TRADE:
            since = max([int(m["received_ns"]), *(at for at, _ in self.trades[row][-1:])])
            self.trades[row].append((since, int(m["price_ticks"])))
        elif kind == MarketKind.CLOCK:
            self.clocks[int(self.rows[row]["venue"])] = int(m["venue_id"]), int(m["exchange_ns"]) - int(m["received_ns"])
        elif kind in (MarketKind.VALID, MarketKind.INVALID, MarketKind.RESET):
            self.valid[row] = kind == MarketKind.VALID
            if kind == MarketKind.RESET:
                bid, ask = 0, 0
        self.touch[row] = bid, ask, received
        if self.valid[row] and 0 < bid < ask and kind in (MarketKind.TOP, MarketKind.QUOTE, MarketKind.VALID):
            if self.mark[row] != bid + ask or self.breakers.wild[row]:
                self.breakers.on_mid(row, bid + ask, received)
            self.mark[row] = bid + ask
            self.first_mid[row] = self.first_mid[row] or Fraction(bid + ask, 2)
            self._tell_pnl(received)
            self.stops.look(row, self.mark[row])

    def _tell_pnl(self, at_ns: int) -> None:
        """The kernel's own sum, which is rounded."""
        if not self.totals[TOTAL_MISSING]:
            self.breakers.on_pnl(int(self.totals[TOTAL_PNL_E8]), at_ns)

    def on_report(self, r: Any) -> int:
        """Take a REPORT record."""
        outcome = self.orders.apply(r)
        if outcome >= 0 and r["kind"] == ReportKind.TRADE:
            self.ledgers[int(r["instrument"])].fill(
                *(int(r[name]) for name in ("side", "last_price_ticks", "last_lots", "fee_e8", "fee_asset"))
            )
            self.stops.fill(r, self.mark[int(r["instrument"])])
        if outcome >= 0:
            self._tell_pnl(int(r["reported_ns"]))
            if r["kind"] == ReportKind.TRADE:
                self.breakers.on_fill(int(r["strategy"]), int(r["reported_ns"]))
                self.messages.on_fill(int(r["strategy"]), int(r["reported_ns"]))
                if self._is_dear(r):
                    self.breakers.on_fee(int(r["strategy"]))
                if self.filled.on_fill(int(r["strategy"]), self._gross_at(r), int(r["reported_ns"])):
                    self.breakers.on_fill_rate(int(r["strategy"]))
            elif r["kind"] == ReportKind.REJECTED and r["reason"] == VenueReason.MARKET_CLOSED:
                row = int(r["instrument"])
                self.closed_until[row] = max(self.closed_until[row], int(r["reported_ns"]) + int(self.limits[row]["closed_pause_ns"]))
            elif r["kind"] == ReportKind.REJECTED and r["reason"] not in (VenueReason.WOULD_TAKE, ExecutionCode.POST_ONLY_WOULD_TAKE):
                self.breakers.on_reject(int(r["strategy"]), int(r["reported_ns"]))
        return outcome

    def arm(self, scope: int) -> None:
        """-1: the firm."""
        self.breakers.rearm(scope)
        if scope >= 0:
            self.filled.forget(scope)

    def _gross_at(self, r: Any) -> int:
        """What a fill was worth."""
        row = self.rows[int(r["instrument"])]
        quote = round(Fraction(int(r["last_lots"]) * int(r["last_price_ticks"]) * int(row["ticklot_num"]), int(row["ticklot_den"])))
        return round(Fraction(quote * int(row["base_rate_e8"]), 10**8))

    def _is_dear(self, r: Any) -> bool:
        """Whether a fill's fee is not what the schedule says."""
        row, lots = self.rows[int(r["instrument"])], int(r["last_lots"])
        traded = round(Fraction(lots * int(row["lot_e8_num"]), int(row["lot_e8_den"])))
        if r["fee_asset"] == FeeAsset.QUOTE:
            traded = round(Fraction(lots * int(r["last_price_ticks"]) * int(row["ticklot_num"]), int(row["ticklot_den"])))
            traded = max(traded, int(row["notional_min_e8"]))
        rate = int(row["maker_fee_e8" if r["liquidity"] == Liquidity.MAKER else "taker_fee_e8"])
        most = round(Fraction(traded * max(rate, 0) * int(self.firm["fee_max_percent"]), 100 * 10**8))
        return bool(r["fee_asset"] != FeeAsset.OTHER and r["fee_e8"] > 0 and int(r["fee_e8"]) > most + 1)

    def on_intent(self, o: Any, now_ns: int) -> None:
        """Take how long an INTENT was on its way."""
        if int(o["flags"]) & OrderFlag.FROM_MARKET and now_ns - int(o["received_ns"]) > self.firm["late_after_ns"]:
            self.breakers.on_late(int(o["strategy"]), now_ns)

    def check(self, o: Any, now_ns: int) -> RiskCode:
        """The first control that refuses."""
        if o["kind"] == IntentKind.CANCEL_ALL:
            return RiskCode.OK
        if o["kind"] == IntentKind.CANCEL:
            return self._cancel(o, now_ns)
        for control in (self._standing, self._size, self._market, self._flow, self._exposure, self._funds):
            code = control(o, now_ns)
            if code:
                return code
        return RiskCode.OK

    def approve(self, o: Any, now_ns: int) -> None:
        """Commit what was found OK."""
        self.messages.on_message(int(o["strategy"]), now_ns)
        if o["kind"] == IntentKind.CANCEL:
            self.canceled[int(o["ref_order_id"])] = now_ns
        if o["kind"] not in (IntentKind.NEW, IntentKind.REPLACE):
            return
        self.orders.insert(o)
        self.last_counter[int(o["strategy"])] = int(o["order_id"]) & 0xFFFFFFFF
        self.strategy_buckets[int(o["strategy"])].take(now_ns)
        self.firm_bucket.take(now_ns)
        self.recent.append((now_ns + int(self.limits[int(o["instrument"])]["duplicate_window_ns"]), self._content(o)))

    def _content(self, o: Any) -> tuple[int, ...]:
        return tuple(int(o[name]) for name in ("instrument", "strategy", "side", "price_ticks", "qty_lots"))

    def _own(self, o: Any) -> bool:
        order = self.orders.orders.get(int(o["ref_order_id"]))
        return order is not None and order.working and order.strategy == o["strategy"] and order.instrument == o["instrument"]

    def _cancel(self, o: Any, now_ns: int) -> RiskCode:
        if not self._own(o):
            return RiskCode.UNKNOWN_ORDER
        before = self.canceled.get(int(o["ref_order_id"]))
        window = int(self.limits[int(o["instrument"])]["duplicate_window_ns"])
        return RiskCode.DUPLICATE_ORDER if before is not None and now_ns - before < window else RiskCode.OK

    def _standing(self, o: Any, now_ns: int) -> RiskCode:
        code = self.breakers.standing(int(o["strategy"]))
        if not code and now_ns < self.breakers.late_until[int(o["strategy"])]:
            code = RiskCode.LATENCY_BUDGET
        if code or self.halted:
            return code or RiskCode.SYSTEM_HALTED
        if not 0 <= now_ns - int(o["decided_ns"]) <= int(self.firm["intent_age_max_ns"]):
            return RiskCode.INTENT_STALE
        identity, strategy = int(o["order_id"]), int(o["strategy"])
        if identity >> 32 != self.epoch << 8 | strategy or identity & 0xFFFFFFFF <= self.last_counter[strategy]:
            return RiskCode.CLIENT_ID_REUSE
        if o["kind"] == IntentKind.REPLACE and not (self._own(o) and self.orders.orders[int(o["ref_order_id"])].side == o["side"]):
            return RiskCode.UNKNOWN_ORDER
        return RiskCode.OK

    def _size(self, o: Any, now_ns: int) -> RiskCode:
        row, limits = self.rows[int(o["instrument"])], self.limits[int(o["instrument"])]
        price, qty = int(o["price_ticks"]), int(o["qty_lots"])
        if price <= 0 or qty <= 0:
            return RiskCode.NON_FINITE_OR_SIGN
        if not row["price_ticks_min"] <= price <= row["price_ticks_max"] or qty > row["qty_lots_max"]:
            return RiskCode.TICK_LOT
        notional = Fraction(price * qty * int(row["ticklot_num"]), int(row["ticklot_den"]))
        if qty < row["qty_lots_min"]:
            return RiskCode.MIN_QTY_NOTIONAL
        if qty > limits["order_qty_max_lots"]:
            return RiskCode.MAX_ORDER_QTY
        if notional < int(row["notional_min_e8"]):
            return RiskCode.MIN_QTY_NOTIONAL
        return RiskCode.MAX_ORDER_NOTIONAL if notional > int(limits["order_notional_max_e8"]) else RiskCode.OK

    def _market(self, o: Any, now_ns: int) -> RiskCode:
        row, limits = int(o["instrument"]), self.limits[int(o["instrument"])]
        bid, ask, received = self.touch[row]
        if now_ns < self.closed_until[row]:
            return RiskCode.CANCEL_ONLY_MODE
        if not self.valid[row] or not 0 < bid < ask:
            return RiskCode.BOOK_INVALID
        if self.breakers.wild[row]:
            return RiskCode.VOLATILITY
        behind, utc = self.clocks.get(int(self.rows[row]["venue"]), (2**62, 0))
        if abs(behind) > self.firm["clock_offset_max_ns"]:
            return RiskCode.CLOCK_UNSAFE
        if abs(now_ns - received) > limits["book_age_max_ns"]:
            return RiskCode.STALE_BOOK
        if self.event[row] and now_ns + utc - self.event[row] > limits["book_age_max_ns"] + self.firm["clock_offset_max_ns"]:
            return RiskCode.STALE_BOOK
        if not self._vouched(row, now_ns):
            return RiskCode.CROSS_VENUE_DIVERGENCE
        passive, through = (Fraction(int(limits[name]), 10_000) for name in ("collar_passive_bp", "collar_through_bp"))
        below, above = (passive, through) if o["side"] == 1 else (through, passive)
        inside = bid * (1 - below) <= int(o["price_ticks"]) <= ask * (1 + above)
        if not inside:
            return RiskCode.PRICE_COLLAR_TOUCH
        if row in self.stops.reducing:
            return RiskCode.OK
        reference = floor(self._reference(row, now_ns)) if o["side"] == 1 else ceil(self._reference(row, now_ns))
        beyond = int(o["side"]) * (int(o["price_ticks"]) - reference)
        return RiskCode.PRICE_COLLAR_REF if beyond > Fraction(reference * int(limits["reference_max_bp"]), 10_000) else RiskCode.OK

    def _reference(self, row: int, now_ns: int) -> Fraction:
        """In ticks: the median of usable mids elsewhere, else the average of the last trades, else the first mid."""
        tick = Fraction(int(self.rows[row]["tick_units"]), 10 ** int(self.rows[row]["price_decimals"]))
        if usable := self._usable_peers(row, now_ns):
            return median(self._price(n) for n in usable) / tick
        if not self.trades[row]:
            return self.first_mid[row]
        average, rest, window = 1024 * self.trades[row][0][1], 0, int(self.limits[row]["reference_window_ns"])
        for (since, price), until in zip(self.trades[row], [*(at for at, _ in self.trades[row][1:]), now_ns], strict=True):
            moved = (1024 * price - average) * min(max(until - since, 0), window) + rest
            average, rest = average + round(Fraction(moved, window)), moved - round(Fraction(moved, window)) * window
        return Fraction(average, 1024)

    def _price(self, row: int) -> Fraction:
        """Its mid, in quote."""
        bid, ask, _ = self.touch[row]
        return Fraction((bid + ask) * int(self.rows[row]["tick_units"]), 2 * 10 ** int(self.rows[row]["price_decimals"]))

    def _peers(self, row: int) -> list[int]:
        def pair(n: int) -> tuple[int, int]:
            return int(self.rows[n]["base_asset"]), int(self.rows[n]["quote_asset"])

        return [n for n in range(len(self.rows)) if pair(n) == pair(row) and self.rows[n]["venue"] != self.rows[row]["venue"]]

    def _usable_peers(self, row: int, now_ns: int) -> list[int]:
        usable = [n for n in self._peers(row) if self.valid[n] and 0 < self.touch[n][0] < self.touch[n][1]]
        return [n for n in usable if abs(now_ns - self.touch[n][2]) <= self.limits[n]["book_age_max_ns"]]

    def _vouched(self, row: int, now_ns: int) -> bool:
        most = Fraction(int(self.limits[row]["divergence_max_bp"]), 10_000)
        near = [
            abs(self._price(n) - self._price(row)) <= most * min(self._price(n), self._price(row)) for n in self._usable_peers(row, now_ns)
        ]
        return all(near) and bool(near or not self._peers(row))

    def _flow(self, o: Any, now_ns: int) -> RiskCode:
        row = int(o["instrument"])
        if self.strategy_buckets[int(o["strategy"])].level(now_ns) < 1 or self.firm_bucket.level(now_ns) < 1:
            return RiskCode.ORDER_RATE
        if self.messages.is_over(int(o["strategy"]), now_ns):
            return RiskCode.ORDER_TO_TRADE
        if any(until > now_ns and content == self._content(o) for until, content in self.recent):
            return RiskCode.DUPLICATE_ORDER
        working = self.orders.working(row)
        full = len(self.orders.orders) == self.orders.slots and not self.orders.ended
        if len(working) >= self.limits[row]["open_orders_max"] or full:
            return RiskCode.OPEN_ORDERS
        venue = self.rows["venue"]
        unknown = [o for o in self.orders.orders.values() if o.state == OrderState.UNKNOWN and venue[o.instrument] == venue[row]]
        if len(unknown) >= self.firm["unknown_orders_max"]:
            return RiskCode.UNKNOWN_ORDERS
        against = [w.price_ticks for w in working if w.side == -int(o["side"])]
        crosses = any(p <= o["price_ticks"] if o["side"] == 1 else p >= o["price_ticks"] for p in against)
        return RiskCode.SELF_TRADE if crosses else RiskCode.OK

    def _worst(self, row: int, more: dict[int, int]) -> int:
        position = self.ledgers[row].position_lots
        buys, sells = (self.orders.leaves(row, side) + more.get(side, 0) for side in (1, -1))
        return max(abs(position + buys), abs(position - sells))

    def _gross(self, row: int, lots: int) -> int:
        instrument = self.rows[row]
        quote = round(Fraction(lots * self.mark[row] * int(instrument["ticklot_num"]), 2 * int(instrument["ticklot_den"])))
        return round(Fraction(quote * int(instrument["base_rate_e8"]), 10**8))

    def _signed(self, row: int, side: int, more: int) -> int:
        """What the position is worth, counted in the direction of `side`, after all that works on it and `more`."""
        lots = side * self.ledgers[row].position_lots + self.orders.leaves(row, side) + more
        return self._gross(row, lots)

    def _exposure(self, o: Any, now_ns: int) -> RiskCode:
        row, side, qty = int(o["instrument"]), int(o["side"]), int(o["qty_lots"])
        reached = side * self.ledgers[row].position_lots + self.orders.leaves(row, side) + qty
        if reached > self.limits[row]["position_max_lots"] or (int(o["flags"]) & 2 and reached > 0):
            return RiskCode.MAX_POSITION
        own = sum(w.leaves_lots for w in self.orders.working(row) if w.side == side and w.strategy == o["strategy"])
        if code := self.stops.refusal(row, int(o["strategy"]), side, own + qty):
            return code
        worst = [self._worst(n, {side: qty} if n == row else {}) for n in range(len(self.rows))]
        for n, lots in enumerate(worst):
            if lots and (not self.mark[n] or not self.rows[n]["base_rate_e8"]):
                return RiskCode.MAX_GROSS
        gross = sum(self._gross(n, lots) for n, lots in enumerate(worst))
        if worst[row] > self._worst(row, {}) and gross > self.firm["gross_max_e8"]:
            return RiskCode.MAX_GROSS
        net = sum(self._signed(n, side, qty if n == row else 0) for n in range(len(self.rows)))
        if net > self.firm["net_max_e8"]:
            return RiskCode.MAX_NET
        asset = [n for n in range(len(self.rows)) if self.rows[n]["base_asset"] == self.rows[row]["base_asset"]]
        share = sum(self._gross(n, worst[n]) for n in asset)
        most = int(self.firm["gross_max_e8"]) // 100 * int(self.firm["concentration_max_percent"])
        if worst[row] > self._worst(row, {}) and share > most:
            return RiskCode.CONCENTRATION
        return RiskCode.DAILY_LOSS if -self.pnl_e8() > int(self.firm["daily_loss_max_e8"]) else RiskCode.OK

    def _funds(self, o: Any, now_ns: int) -> RiskCode:
        row, venue = self.rows[int(o["instrument"])], int(self.rows[int(o["instrument"])]["venue"])
        known, began = self.funds
        if known[venue] == NO_ACCOUNT:
            return RiskCode.OK
        asset = int(row["quote_asset" if o["side"] == 1 else "base_asset"])
        old = self.orders.orders.get(int(o["ref_order_id"])) if o["kind"] == IntentKind.REPLACE else None
        given = old.leaves_lots if old is not None and old.working else 0
        buys = self._buys(int(o["instrument"]))
        after = buys - (old.price_ticks * given if old is not None else 0) + int(o["price_ticks"]) * int(o["qty_lots"])
        need = self._buy(row, after) - self._buy(row, buys)
        if o["side"] == -1:
            need = ceil(Fraction((int(o["qty_lots"]) - given) * int(row["lot_e8_num"]), int(row["lot_e8_den"])))
        free = int(began[venue, asset]) - sum(self._taken(n, asset) for n in range(len(self.rows)) if self.rows[n]["venue"] == venue)
        return RiskCode.OK if known[venue] == SAID and need <= free else RiskCode.BALANCE

    @staticmethod
    def _buy(row: Any, ticklots: int) -> int:
        cost = ceil(Fraction(ticklots * int(row["ticklot_num"]), int(row["ticklot_den"])))
        return cost + ceil(Fraction(cost * int(row["taker_fee_e8"]), 10**8))

    def _taken(self, n: int, asset: int) -> int:
        """What an instrument's fills and working orders take of an asset."""
        ledger, row, taken = self.ledgers[n], self.rows[n], 0
        if row["base_asset"] == asset:
            lots = self.orders.leaves(n, -1) - ledger.position_lots
            taken += ceil(lots * ledger.lot_e8 + ledger.base_fee_e8)
        if row["quote_asset"] == asset:
            taken += ceil(-ledger.cash_e8) + ledger.fees[FeeAsset.QUOTE] + self._buy(row, self._buys(n))
        return taken

    def _buys(self, n: int) -> int:
        """Price x leaves of an instrument's working buys."""
        return sum(w.price_ticks * w.leaves_lots for w in self.orders.working(n) if w.side == 1)

    def pnl_e8(self) -> Fraction:
        """P&L after quote fees in 1e-8 base currency, unrounded."""
        total = Fraction(0)
        for row, ledger in enumerate(self.ledgers):
            quote = ledger.realised_e8 + ledger.unrealised_e8(self.mark[row]) - ledger.fees[0]
            total += quote * Fraction(int(self.rows[row]["base_rate_e8"]), 10**8)
        return total
