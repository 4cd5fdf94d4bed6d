"""Naive orders: the order life cycle in dictionaries, the readable twin of `hft.orders`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hft.orders import Outcome
from hft.records import OrderState as S
from hft.records import ReportKind as K

WORKING = (S.PENDING_NEW, S.NEW, S.PARTIALLY_FILLED, S.PENDING_CANCEL, S.UNKNOWN)
ENDS = {K.CANCELED: S.CANCELED, K.EXPIRED: S.EXPIRED, K.REJECTED: S.REJECTED, K.NOT_SENT: S.REJECTED, K.REFUSED: S.REJECTED}
BEFORE_THE_VENUE_SPOKE = (S.PENDING_NEW, S.PENDING_CANCEL, S.UNKNOWN)


@dataclass
class NaiveOrder:
    """One order and what it remembers."""

    order_id: int
    instrument: int
    strategy: int
    side: int
    price_ticks: int
    qty_lots: int
    ref_order_id: int = 0
    state: S = S.PENDING_NEW
    resume: S = S.PENDING_NEW
    cum_lots: int = 0
    trade_ids: list[int] = field(default_factory=list)

    @property
    def working(self) -> bool:
        """Whether it still counts against limits."""
        return self.state in WORKING

    @property
    def leaves_lots(self) -> int:
        """What may still fill."""
        return self.qty_lots - self.cum_lots if self.working else 0


class NaiveOrders:
    """Every order of the firm: order id -> order; the oldest ended one makes room when `slots` are taken."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.orders: dict[int, NaiveOrder] = {}
        self.ended: list[int] = []

    def insert(self, source: Any) -> bool:
        """Add an INTENT or ORDER record; False when there is no room or it is present."""
        identity = int(source["order_id"])
        if identity in self.orders:
            return False
        if len(self.orders) == self.slots:
            if not self.ended:
                return False
            del self.orders[self.ended.pop(0)]
        names = ("order_id", "instrument", "strategy", "side", "price_ticks", "qty_lots", "ref_order_id")
        self.orders[identity] = NaiveOrder(**{name: int(source[name]) for name in names})
        return True

    def working(self, instrument: int) -> list[NaiveOrder]:
        """The instrument's orders that count against limits."""
        return [o for o in self.orders.values() if o.working and o.instrument == instrument]

    def leaves(self, instrument: int, side: int) -> int:
        """Sum of what may still fill on one side."""
        return sum(o.leaves_lots for o in self.working(instrument) if o.side == side)

    def apply(self, report: Any) -> Outcome:
        """Apply a REPORT record."""
        order, kind = self.orders.get(int(report["order_id"])), int(report["kind"])
        if not 0 <= kind <= max(K):
            return Outcome.BAD_TRANSITION
        if order is None:
            return Outcome.ORPHAN_FILL if kind == K.TRADE and report["last_lots"] > 0 else Outcome.UNKNOWN_ORDER
        was_working = order.working
        outcome = self._trade(order, report) if kind == K.TRADE else self._state(order, K(kind) if kind else None, report)
        if was_working and not order.working:
            self.ended.append(order.order_id)
            for other in self.orders.values():
                if other.working and other.ref_order_id == order.order_id and other.instrument == order.instrument:
                    other.ref_order_id = 0
        return outcome

    def _trade(self, order: NaiveOrder, report: Any) -> Outcome:
        trade_id, last_lots, cum_lots = (int(report[name]) for name in ("trade_id", "last_lots", "cum_lots"))
        if trade_id in order.trade_ids[-8:]:
            return Outcome.DUPLICATE_FILL
        if cum_lots <= order.cum_lots:
            return Outcome.REGRESSED
        if last_lots <= 0 or cum_lots < order.cum_lots + last_lots:
            return Outcome.BAD_FILL
        outcome = Outcome.APPLIED if cum_lots == order.cum_lots + last_lots else Outcome.FILL_GAP
        order.trade_ids.append(trade_id)
        order.cum_lots = cum_lots
        if not order.working:
            outcome = Outcome.LATE_FILL
        elif cum_lots >= order.qty_lots:
            order.state = S.FILLED
        else:
            order.resume = S.PARTIALLY_FILLED
            if order.state != S.PENDING_CANCEL:
                order.state = S.PARTIALLY_FILLED
        return Outcome.OVERFILL if cum_lots > order.qty_lots else outcome

    def _state(self, order: NaiveOrder, kind: K | None, report: Any) -> Outcome:
        if kind is None or kind == K.BUSTED:
            return Outcome.BAD_TRANSITION
        if not order.working:
            return Outcome.STALE
        if kind in ENDS:
            if kind in (K.REJECTED, K.NOT_SENT) and order.state not in BEFORE_THE_VENUE_SPOKE:
                return Outcome.BAD_TRANSITION
            if kind == K.REFUSED and order.state != S.PENDING_NEW:
                return Outcome.BAD_TRANSITION
            order.state = ENDS[kind]
            return Outcome.FILL_GAP if report["cum_lots"] > order.cum_lots else Outcome.APPLIED
        acknowledged = S.PARTIALLY_FILLED if order.cum_lots else S.NEW
        if kind == K.ACK:
            order.resume = acknowledged
            if order.state in (S.PENDING_NEW, S.UNKNOWN):
                order.state = acknowledged
        elif kind == K.UNKNOWN:
            order.state = S.UNKNOWN
        elif kind == K.PENDING_CANCEL and order.state not in (S.UNKNOWN, S.PENDING_CANCEL):
            order.resume, order.state = order.state, S.PENDING_CANCEL
        elif kind == K.CANCEL_REJECTED and order.state == S.PENDING_CANCEL:
            order.state = order.resume
        return Outcome.APPLIED
