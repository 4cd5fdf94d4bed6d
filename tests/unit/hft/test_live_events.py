"""Live events: the same events end in the same state, in whatever order they come; fills are taken once; only evidence ends an order."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from hft.live_events import on_event
from hft.live_orders import (
    ASK,
    ASKED_NS,
    FOLLOWER,
    FOREIGN,
    FREED,
    REPEATED,
    REPORTS_MAX,
    UNKNOWN_COUNT,
    WIRE_ID,
    LiveOrders,
    begin_cancel,
    begin_order,
    make_unknown,
    make_unsent,
    new_live_orders,
    note_request,
    overdue,
    question,
    slot_now,
)
from hft.orders import order_id
from hft.records import (
    ORDER,
    REPORT,
    VENUE_EVENT,
    IntentKind,
    OrderState,
    ReportKind,
    Side,
    TimeInForce,
    VenueEventKind,
    VenueReason,
)

WINDOW_NS, TIMEOUT_NS, PAUSE_NS = 1_000, 500, 100
FIRST, SECOND, CANCEL = (order_id(7, 0, counter) for counter in (1, 2, 3))
SIZE = 100
SAYS = VenueEventKind


class Desk:
    """A table with one order that was sent at time 1, and what was reported of it."""

    def __init__(self, sent: bool = True) -> None:
        self.book: LiveOrders = new_live_orders(16, 2, WINDOW_NS, TIMEOUT_NS, PAUSE_NS)
        self.events, self.reports = np.zeros(1, VENUE_EVENT), np.zeros(REPORTS_MAX, REPORT)
        self.told: list[tuple[int, ReportKind, int]] = []  #: order id, kind, last_lots
        self.now_ns = 10
        if sent:
            self.send(FIRST)

    def send(self, identity: int, kind: IntentKind = IntentKind.NEW, target: int = 0) -> int:
        order = np.zeros(1, ORDER)
        order["order_id"], order["ref_order_id"], order["kind"] = identity, target, kind
        order["price_ticks"], order["qty_lots"], order["side"], order["tif"] = 5_000, SIZE, Side.BUY, TimeInForce.GTC
        order["instrument"], order["sent_ns"] = 1, 1
        note_request(self.book, order, 0, target or identity)
        if kind in (IntentKind.NEW, IntentKind.REPLACE):
            slot = int(begin_order(self.book, order, 0, 1))
            self.book.orders.rows[slot]["sent_ns"] = 1
            return slot
        return -1

    def say(self, kind: SAYS, order: int = FIRST, **fields: int) -> int:
        event = self.events
        event[:] = np.zeros(1, VENUE_EVENT)
        event["kind"], event["order_id"], event["cum_lots"], event["instrument"] = kind, order, -1, -1
        for name, value in fields.items():
            event[name] = value
        return self._note(on_event(self.book, event, 0, self.now_ns, self.reports))

    def trade(self, trade_id: int, lots: int, order: int = FIRST, **fields: int) -> int:
        return self.say(SAYS.TRADE, order, trade_id=trade_id, last_lots=lots, last_price_ticks=5_000, instrument=1, side=1, **fields)

    def _note(self, count: int) -> int:
        for report in self.reports[:count]:
            self.told.append((int(report["order_id"]), ReportKind(int(report["kind"])), int(report["last_lots"])))
        return int(count)

    def row(self, identity: int = FIRST) -> Any:
        return self.book.orders.rows[slot_now(self.book, identity)]

    def state(self, identity: int = FIRST) -> OrderState:
        return OrderState(int(self.row(identity)["state"]))

    def filled(self) -> int:
        return sum(lots for _, kind, lots in self.told if kind is ReportKind.TRADE)

    def live(self, column: int, identity: int = FIRST) -> int:
        return int(self.book.live[slot_now(self.book, identity), column])


FAMILIES: dict[str, tuple[list[tuple[SAYS, dict[str, int]]], OrderState, int]] = {
    "filled by two": (
        [
            (SAYS.ACK, {"request_id": FIRST}),
            (SAYS.ACK, {}),
            (SAYS.TRADE, {"trade_id": 1, "last_lots": 40}),
            (SAYS.TRADE, {"trade_id": 2, "last_lots": 60}),
            (SAYS.TRADE, {"trade_id": 1, "last_lots": 40}),
            (SAYS.UNKNOWN, {"request_id": FIRST}),
        ],
        OrderState.FILLED,
        100,
    ),
    "canceled after a fill": (
        [
            (SAYS.ACK, {}),
            (SAYS.TRADE, {"trade_id": 1, "last_lots": 40}),
            (SAYS.TRADE, {"trade_id": 2, "last_lots": 10}),
            (SAYS.CANCELED, {"cum_lots": 50}),
            (SAYS.CANCELED, {"cum_lots": 50, "request_id": CANCEL}),
            (SAYS.STATUS, {"cum_lots": 50, "state": OrderState.CANCELED}),
        ],
        OrderState.CANCELED,
        50,
    ),
    "a cancel that lost the race": (
        [
            (SAYS.ACK, {}),
            (SAYS.TRADE, {"trade_id": 9, "last_lots": 100}),
            (SAYS.CANCEL_REJECTED, {"request_id": CANCEL}),
            (SAYS.STATUS, {"cum_lots": 100, "state": OrderState.FILLED}),
        ],
        OrderState.FILLED,
        100,
    ),
    "an unanswered order that lives": (
        [(SAYS.UNKNOWN, {"request_id": FIRST}), (SAYS.ACK, {}), (SAYS.STATUS, {"cum_lots": 0, "state": OrderState.NEW})],
        OrderState.NEW,
        0,
    ),
    "expired": (
        [(SAYS.ACK, {}), (SAYS.TRADE, {"trade_id": 5, "last_lots": 1}), (SAYS.EXPIRED, {"cum_lots": 1})],
        OrderState.EXPIRED,
        1,
    ),
    "refused": ([(SAYS.REJECTED, {"request_id": FIRST}), (SAYS.UNKNOWN, {"request_id": FIRST})], OrderState.REJECTED, 0),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_order_of_the_same_events_ends_in_the_same_state(name: str) -> None:
    events, state, filled = FAMILIES[name]
    for chosen in set(itertools.permutations(range(len(events)))):
        desk = Desk()
        desk.send(CANCEL, IntentKind.CANCEL, FIRST)
        for n in chosen:
            kind, fields = events[n]
            desk.say(kind, **{"instrument": 1, "side": 1, **fields})
        assert (desk.state(), int(desk.row()["cum_lots"]), desk.filled()) == (state, filled, filled), chosen
        ends = [kind for _, kind, _ in desk.told if kind in (ReportKind.CANCELED, ReportKind.EXPIRED, ReportKind.REJECTED)]
        assert len(ends) <= 1, chosen
        assert int(desk.book.words[UNKNOWN_COUNT]) == 0, chosen


def test_an_end_that_counts_more_fills_waits_for_them_and_asks() -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    assert desk.say(SAYS.CANCELED, cum_lots=30, reason=VenueReason.OTHER) == 0
    assert desk.state() is OrderState.NEW and desk.live(ASK) == 1
    assert desk.trade(1, 30) == 2
    assert desk.told[-2:] == [(FIRST, ReportKind.TRADE, 30), (FIRST, ReportKind.CANCELED, 0)]
    assert desk.reports[1]["reason"] == VenueReason.OTHER and desk.live(ASK) == 0


def test_a_fill_is_known_by_instrument_and_trade_id() -> None:
    desk = Desk()
    assert desk.trade(1, 10) == 1 and desk.trade(1, 10) == 0 and desk.trade(2, 10) == 1
    assert desk.book.words[REPEATED] == 1 and desk.filled() == 20


def test_an_event_without_our_id_is_understood_by_its_request_or_by_the_venues_id() -> None:
    desk = Desk()
    desk.send(CANCEL, IntentKind.CANCEL, FIRST)
    desk.say(SAYS.ACK, venue_key=77)
    assert desk.say(SAYS.REJECTED, order=0, request_id=CANCEL) == 1  # the cancel was refused, not the order
    assert desk.told[-1][1] is ReportKind.CANCEL_REJECTED and desk.reports[0]["ref_order_id"] == CANCEL
    assert desk.trade(1, 5, order=0, venue_key=77) == 1
    assert desk.say(SAYS.CANCELED, order=0, venue_key=77, cum_lots=5) == 1
    assert desk.state() is OrderState.CANCELED


def test_the_venues_id_of_another_instrument_is_another_order() -> None:
    desk = Desk()
    desk.say(SAYS.ACK, venue_key=77)
    assert desk.say(SAYS.CANCELED, order=0, venue_key=77, instrument=0, cum_lots=0) == 0
    assert desk.say(SAYS.CANCELED, order=0, venue_key=77, instrument=1, cum_lots=0) == 1


def test_what_is_not_ours_is_counted_and_changes_nothing() -> None:
    desk = Desk()
    assert desk.say(SAYS.ACK, order=0, venue_key=5) == 0
    assert desk.trade(1, 5, order=0, venue_key=5) == 0
    assert desk.say(SAYS.CANCELED, order=0, request_id=999) == 0
    assert desk.book.words[FOREIGN] == 3 and desk.told == []


def test_a_fill_of_an_order_that_is_no_longer_known_is_still_reported() -> None:
    desk = Desk()
    old = order_id(6, 3, 9)
    assert desk.trade(1, 5, order=old) == 1
    report = desk.reports[0]
    assert (report["order_id"], report["strategy"], report["instrument"], report["side"], report["last_lots"]) == (old, 3, 1, 1, 5)


def test_not_found_ends_an_order_only_twice_and_only_after_it_can_no_longer_arrive() -> None:
    desk = Desk()
    desk.say(SAYS.UNKNOWN, request_id=FIRST)
    for asked_ns in (WINDOW_NS // 2, WINDOW_NS + 1, WINDOW_NS + 2):
        desk.book.live[slot_now(desk.book, FIRST), ASKED_NS] = asked_ns
        assert desk.say(SAYS.NOT_FOUND) == 0
        assert desk.state() is OrderState.UNKNOWN and desk.live(ASK) == 1
    desk.book.live[slot_now(desk.book, FIRST), ASKED_NS] = WINDOW_NS + 3
    assert desk.say(SAYS.NOT_FOUND) == 1
    assert desk.state() is OrderState.REJECTED and desk.book.words[UNKNOWN_COUNT] == 0


def test_an_order_that_had_lived_cannot_arrive_again_so_not_found_counts_once_its_cancel_had_time() -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    for asked_ns in (TIMEOUT_NS + 1, TIMEOUT_NS + 2):
        desk.book.live[slot_now(desk.book, FIRST), ASKED_NS] = asked_ns
        assert desk.say(SAYS.NOT_FOUND) == 0
    desk.book.live[slot_now(desk.book, FIRST), ASKED_NS] = TIMEOUT_NS + 3
    assert desk.say(SAYS.NOT_FOUND) == 1
    assert desk.state() is OrderState.CANCELED


def test_not_found_of_an_order_that_had_lived_means_that_it_was_canceled() -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    for asked_ns in (WINDOW_NS + 2, WINDOW_NS + 3):
        desk.book.live[slot_now(desk.book, FIRST), ASKED_NS] = asked_ns
        desk.say(SAYS.NOT_FOUND)
    assert desk.state() is OrderState.CANCELED


def test_a_throttled_order_did_nothing_and_a_throttled_cancel_leaves_the_order() -> None:
    desk = Desk()
    desk.send(CANCEL, IntentKind.CANCEL, FIRST)
    desk.say(SAYS.ACK)
    desk.say(SAYS.THROTTLED, order=0, request_id=CANCEL)
    assert desk.state() is OrderState.NEW and desk.told[-1][1] is ReportKind.CANCEL_REJECTED
    desk.send(SECOND)
    desk.say(SAYS.THROTTLED, order=0, request_id=SECOND)
    assert desk.state(SECOND) is OrderState.REJECTED


def test_a_change_in_place_ends_the_old_order_and_keeps_its_id_on_the_wire() -> None:
    desk = Desk()
    desk.say(SAYS.ACK, venue_key=9)
    desk.trade(1, 30)
    desk.send(SECOND, IntentKind.REPLACE, FIRST)
    assert desk.say(SAYS.AMENDED, request_id=SECOND) == 2
    assert [told[:2] for told in desk.told[-2:]] == [(FIRST, ReportKind.CANCELED), (SECOND, ReportKind.ACK)]
    assert desk.live(WIRE_ID, SECOND) == FIRST
    # From now on the venue's messages with the first id, or its own, mean the second order.
    assert desk.trade(2, 70, order=FIRST) == 1
    assert desk.told[-1] == (SECOND, ReportKind.TRADE, 70)
    assert desk.trade(3, 30, order=0, venue_key=9) == 1
    assert desk.state(SECOND) is OrderState.FILLED
    assert desk.say(SAYS.AMENDED, request_id=SECOND) == 0


def test_what_was_filled_before_a_change_in_place_is_not_counted_twice() -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    desk.trade(1, 30)
    desk.send(SECOND, IntentKind.REPLACE, FIRST)
    desk.say(SAYS.AMENDED, request_id=SECOND)
    assert desk.say(SAYS.STATUS, state=OrderState.PARTIALLY_FILLED, cum_lots=30) == 0 and desk.live(ASK, SECOND) == 0
    desk.say(SAYS.STATUS, state=OrderState.PARTIALLY_FILLED, cum_lots=50)
    assert desk.live(ASK, SECOND) == 1, "20 of its own are missing"
    desk.trade(2, 20)
    assert desk.say(SAYS.CANCELED, cum_lots=50) == 1 and desk.state(SECOND) is OrderState.CANCELED


@pytest.mark.parametrize("fills_first", [True, False])
def test_a_change_in_place_that_a_fill_overtook_leaves_less_of_the_new_order(fills_first: bool) -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    desk.send(SECOND, IntentKind.REPLACE, FIRST)
    desk.trade(1, 30)
    desk.say(SAYS.AMENDED, request_id=SECOND)
    if fills_first:
        desk.trade(2, 70)
    desk.say(SAYS.STATUS, state=OrderState.FILLED, cum_lots=100)
    if not fills_first:
        assert desk.state(SECOND) is OrderState.NEW and desk.live(ASK, SECOND) == 1
        desk.trade(2, 70)
    assert desk.told[-2:] == [(SECOND, ReportKind.TRADE, 70), (SECOND, ReportKind.CANCELED, 0)]


def test_an_order_changed_in_place_is_asked_for_if_its_end_was_told_before_its_change() -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    desk.send(SECOND, IntentKind.REPLACE, FIRST)
    desk.trade(1, 100)
    assert desk.state() is OrderState.FILLED
    desk.say(SAYS.AMENDED, request_id=SECOND)
    assert desk.state(SECOND) is OrderState.NEW and desk.live(ASK, SECOND) == 1
    desk.say(SAYS.STATUS, state=OrderState.FILLED, cum_lots=100)
    assert desk.state(SECOND) is OrderState.CANCELED


def test_a_refused_change_in_place_ends_only_the_new_order() -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    desk.send(SECOND, IntentKind.REPLACE, FIRST)
    book = desk.book
    book.requests[SECOND & (len(book.requests) - 1), 2] = SECOND
    desk.say(SAYS.REJECTED, order=0, request_id=SECOND)
    assert desk.state() is OrderState.NEW and desk.state(SECOND) is OrderState.REJECTED


def test_an_order_without_an_answer_becomes_unknown_and_is_asked_for_at_intervals() -> None:
    desk = Desk()
    assert overdue(desk.book, TIMEOUT_NS + 1) == -1 and question(desk.book, TIMEOUT_NS) == -1
    slot = overdue(desk.book, TIMEOUT_NS + 2)
    assert slot >= 0
    assert desk._note(make_unknown(desk.book, slot, TIMEOUT_NS + 2, desk.events, desk.reports)) == 1
    assert desk.state() is OrderState.UNKNOWN and desk.book.words[UNKNOWN_COUNT] == 1
    assert overdue(desk.book, 10 * TIMEOUT_NS) == -1
    assert question(desk.book, 1_000) == slot and question(desk.book, 1_000 + PAUSE_NS - 1) == -1
    assert question(desk.book, 1_000 + PAUSE_NS) == slot
    desk.say(SAYS.STATUS, state=OrderState.NEW, cum_lots=0)
    assert desk.state() is OrderState.NEW and question(desk.book, 5_000) == -1 and desk.book.words[UNKNOWN_COUNT] == 0


def test_a_status_with_more_fills_than_seen_keeps_asking_until_they_came() -> None:
    desk = Desk()
    desk.say(SAYS.STATUS, state=OrderState.PARTIALLY_FILLED, cum_lots=20)
    assert question(desk.book, 1_000) >= 0
    desk.trade(1, 20)
    desk.say(SAYS.STATUS, state=OrderState.PARTIALLY_FILLED, cum_lots=20)
    assert question(desk.book, 2_000) == -1


def test_a_stuck_cancel_is_asked_for() -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    slot = slot_now(desk.book, FIRST)
    assert desk._note(begin_cancel(desk.book, slot, 100, desk.events, desk.reports)) == 1
    assert desk.state() is OrderState.PENDING_CANCEL
    assert question(desk.book, 100 + TIMEOUT_NS) == -1 and question(desk.book, 101 + TIMEOUT_NS) == slot


@pytest.mark.parametrize(("filled", "state"), [(0, OrderState.NEW), (40, OrderState.PARTIALLY_FILLED)])
def test_a_cancel_that_was_lost_leaves_an_order_that_works_and_can_be_canceled_again(filled: int, state: OrderState) -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    if filled:
        desk.trade(1, filled)
    slot = slot_now(desk.book, FIRST)
    desk._note(begin_cancel(desk.book, slot, 100, desk.events, desk.reports))
    for now_ns, reports in ((100 + TIMEOUT_NS, 0), (101 + TIMEOUT_NS, 1), (102 + TIMEOUT_NS, 0)):
        desk.now_ns = now_ns
        assert desk.say(SAYS.STATUS, state=state, cum_lots=filled) == reports, now_ns
    assert desk.told[-1] == (FIRST, ReportKind.CANCEL_REJECTED, 0) and desk.reports[0]["reason"] == VenueReason.TIMEOUT
    assert desk.state() is state and question(desk.book, 10_000) == -1
    assert desk._note(begin_cancel(desk.book, slot, 10_000, desk.events, desk.reports)) == 1
    desk.say(SAYS.CANCELED)
    assert desk.state() is OrderState.CANCELED


def test_a_cancel_that_arrives_after_all_ends_the_order() -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    desk._note(begin_cancel(desk.book, slot_now(desk.book, FIRST), 100, desk.events, desk.reports))
    desk.now_ns = 101 + TIMEOUT_NS
    desk.say(SAYS.STATUS, state=OrderState.NEW, cum_lots=0)
    desk.say(SAYS.CANCELED)
    assert desk.state() is OrderState.CANCELED


def test_what_never_left_is_not_sent() -> None:
    desk = Desk()
    slot = slot_now(desk.book, FIRST)
    assert desk._note(make_unsent(desk.book, slot, 3001, 50, desk.events, desk.reports)) == 1
    assert (desk.reports[0]["kind"], desk.reports[0]["reason"], desk.reports[0]["sent_ns"]) == (ReportKind.NOT_SENT, 3001, 0)
    assert desk.state() is OrderState.REJECTED


def test_a_follower_is_freed_by_the_end_of_the_order_before_it() -> None:
    desk = Desk()
    desk.say(SAYS.ACK)
    desk.send(SECOND, IntentKind.REPLACE, FIRST)
    desk.book.live[slot_now(desk.book, FIRST), FOLLOWER] = SECOND
    desk.trade(1, 10)
    assert desk.book.words[FREED] == 0
    desk.say(SAYS.CANCELED, cum_lots=10)
    assert desk.book.words[FREED] == SECOND
