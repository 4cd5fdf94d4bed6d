"""Adoption: finds the orders that a session's earlier epochs left at a venue, so that the stages of a new epoch begin with them.

Every stage enters them as UNKNOWN, from the same journals, before anything else: they count against every limit, and what the venue says after it has
been connected, an ACK, fills or an end, reaches their strategy as for an order of its own.

An order whose replacement was under way, and that replacement, are not adopted: which of the two lives is not known. As orders that no journal
knows, they are canceled.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hft.adopted import adopt, lead_on
from hft.journal_reader import Entry
from hft.live_orders import LiveOrders, new_live_orders
from hft.records import ORDER, IntentKind, JournalKind, OrderState, VenueEventKind
from processes.errors import EngineError

_LIVE = (OrderState.NEW, OrderState.PARTIALLY_FILLED)
_ENDED = (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)
#: Ended orders that are remembered: one may be what a later order was made of.
_REMEMBERED = 1024


class LeftOrder(NamedTuple):
    """An order that an earlier epoch left at a venue."""

    order: NDArray[Any]  #: ORDER, one row
    cum_lots: int
    wire_id: int  #: client id that the venue knows it by
    base_lots: int = 0  #: filled under that id before
    acked: bool = False  #: whether the venue said that it was live

    def pack(self) -> list[Any]:
        """As JSON, for a SESSION entry."""
        return [base64.b64encode(self.order.tobytes()).decode(), self.cum_lots, self.wire_id, self.base_lots, self.acked]


def unpack_order(packed: list[Any]) -> LeftOrder:
    """What `LeftOrder.pack` packed."""
    return LeftOrder(np.frombuffer(base64.b64decode(packed[0]), ORDER).copy(), *packed[1:])


def enter_live(live: LiveOrders, adopted: list[LeftOrder], stage: str, now_ns: int) -> None:
    """Enter the orders at a venue. Raises EngineError if there is no room."""
    for left in adopted:
        identity = int(left.order[0]["order_id"])
        if left.wire_id != identity:
            lead_on(live, left.order, 0, left.wire_id, now_ns)
        if adopt(live, left.order, 0, left.cum_lots, left.wire_id, left.base_lots, int(left.acked), now_ns) < 0:
            raise EngineError(f"stage {stage}: no room for order {identity:#x}, which is to be adopted")


def warm_adoption() -> None:
    """Run every kernel that `enter_live` calls."""
    order = np.zeros(1, ORDER)
    order["order_id"], order["side"], order["qty_lots"] = 1, 1, 1
    enter_live(new_live_orders(4, 1, 0, 0, 0), [LeftOrder(order, 0, 2)], "warmed", 0)


class Folding:
    """Follows the orders of one execution through its journals."""

    def __init__(self, begun: list[LeftOrder]) -> None:
        self._working = {int(left.order[0]["order_id"]): left for left in begun}
        self._ended: OrderedDict[int, LeftOrder] = OrderedDict()
        self._unsettled: dict[int, int] = {}  #: replacing order -> the one that it replaces, until something is known of it

    def take(self, entry: Entry) -> None:
        """Take the next entry."""
        if entry.kind == JournalKind.SENDING:
            for order in entry.records():
                if order["kind"] in (IntentKind.NEW, IntentKind.REPLACE):
                    identity = int(order["order_id"])
                    self._working[identity] = LeftOrder(order.reshape(1).copy(), 0, identity)
                    if order["kind"] == IntentKind.REPLACE:
                        self._unsettled[identity] = int(order["ref_order_id"])
        elif entry.kind == JournalKind.VENUE_EVENT:
            for event in entry.records():
                if event["kind"] == VenueEventKind.AMENDED:
                    self._amend(int(event["request_id"]))
        elif entry.kind == JournalKind.REPORT:
            for report in entry.records():
                self._report(report)

    def _amend(self, identity: int) -> None:
        """The order took over the wire id of the one that it replaces."""
        left = self._working.get(identity)
        before = None if left is None else self._find(int(left.order[0]["ref_order_id"]))
        if left is not None and before is not None:
            self._working[identity] = left._replace(wire_id=before.wire_id, base_lots=before.base_lots + before.cum_lots)

    def _find(self, identity: int) -> LeftOrder | None:
        return self._working.get(identity) or self._ended.get(identity)

    def _report(self, report: Any) -> None:
        identity = int(report["order_id"])
        left = self._working.get(identity)
        if left is None:
            return
        # What this engine did to it (UNKNOWN, PENDING_CANCEL, a refused cancel) tells nothing of which of the two lives.
        if report["state"] in _LIVE or report["state"] in _ENDED or report["cum_lots"] > 0:
            self._unsettled.pop(identity, None)
        acked = left.acked or bool(report["state"] in _LIVE)
        self._working[identity] = left._replace(cum_lots=max(left.cum_lots, int(report["cum_lots"])), acked=acked)
        if report["state"] in _ENDED:
            self._ended[identity] = self._working.pop(identity)
            if len(self._ended) > _REMEMBERED:
                self._ended.popitem(last=False)

    def left(self) -> list[LeftOrder]:
        """The orders to adopt, oldest first."""
        doubtful = {*self._unsettled, *self._unsettled.values()}
        return [left for identity, left in self._working.items() if identity not in doubtful]
