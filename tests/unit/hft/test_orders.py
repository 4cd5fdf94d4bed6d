"""Orders: the life-cycle table against its twin, the transitions one by one, and its bounds."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from hft import orders as book
from hft.orders import Outcome, new_orders, order_id
from hft.records import OrderState, ReportKind, Side
from support.naive_orders import NaiveOrders
from support.risk_account import NOW, fill, intent, report

S, K = OrderState, ReportKind


@pytest.fixture(params=["jit", "py"])
def body(request: pytest.FixtureRequest) -> Any:
    """Run each kernel compiled and as plain Python."""
    return (lambda f: f) if request.param == "jit" else (lambda f: getattr(f, "py_func", f))


def assert_table_is_sound(orders: book.Orders) -> None:
    """Every invariant that ties the arrays of the table to one another."""
    working = {
        slot for slot in range(len(orders.rows)) if orders.rows[slot]["order_id"] and book.is_working(int(orders.rows[slot]["state"]))
    }
    listed = [(row, k, int(orders.members[row, k])) for row in range(len(orders.counts)) for k in range(orders.counts[row])]
    assert {slot for _, _, slot in listed} == working and len(listed) == len(working)
    for row, k, slot in listed:
        order = orders.rows[slot]
        assert (order["instrument"], orders.place[slot]) == (row, k)
        assert orders.prices[row, k] == order["side"] * order["price_ticks"]
        assert order["leaves_lots"] == order["qty_lots"] - order["cum_lots"] > 0
    for row in range(len(orders.counts)):
        for column, side in ((0, Side.BUY), (1, Side.SELL)):
            leaves = sum(int(o["leaves_lots"]) for o in orders.rows if o["instrument"] == row and o["side"] == side)
            assert orders.lots[row, column] == leaves
        buys = [o for o in orders.rows if o["instrument"] == row and o["side"] == Side.BUY]
        assert orders.buy_ticklots[row] == sum(int(o["price_ticks"]) * int(o["leaves_lots"]) for o in buys)
    used = int(orders.words[book.USED])
    assert used == len(working) + orders.words[book.DONE_COUNT]
    assert sorted(int(cell) for cell in orders.cells if cell) == list(range(1, used + 1))
    for slot in range(used):
        assert book.find(orders, int(orders.rows[slot]["order_id"])) == slot


STEPS: list[tuple[S, dict[K, S | None]]] = [
    (S.PENDING_NEW, {K.ACK: S.NEW, K.CANCELED: S.CANCELED, K.EXPIRED: S.EXPIRED, K.REJECTED: S.REJECTED, K.CANCEL_REJECTED: S.PENDING_NEW}),
    (
        S.PENDING_NEW,
        {K.REFUSED: S.REJECTED, K.NOT_SENT: S.REJECTED, K.UNKNOWN: S.UNKNOWN, K.PENDING_CANCEL: S.PENDING_CANCEL, K.BUSTED: None},
    ),
    (S.NEW, {K.ACK: S.NEW, K.CANCELED: S.CANCELED, K.EXPIRED: S.EXPIRED, K.REJECTED: None, K.CANCEL_REJECTED: S.NEW, K.BUSTED: None}),
    (S.NEW, {K.REFUSED: None, K.NOT_SENT: None, K.UNKNOWN: S.UNKNOWN, K.PENDING_CANCEL: S.PENDING_CANCEL}),
    (S.PARTIALLY_FILLED, {K.ACK: S.PARTIALLY_FILLED, K.CANCELED: S.CANCELED, K.EXPIRED: S.EXPIRED, K.REJECTED: None, K.NOT_SENT: None}),
    (
        S.PARTIALLY_FILLED,
        {K.UNKNOWN: S.UNKNOWN, K.PENDING_CANCEL: S.PENDING_CANCEL, K.CANCEL_REJECTED: S.PARTIALLY_FILLED, K.REFUSED: None},
    ),
    (
        S.PENDING_CANCEL,
        {K.ACK: S.PENDING_CANCEL, K.CANCELED: S.CANCELED, K.EXPIRED: S.EXPIRED, K.UNKNOWN: S.UNKNOWN, K.CANCEL_REJECTED: S.NEW},
    ),
    (
        S.PENDING_CANCEL,
        {K.REJECTED: S.REJECTED, K.NOT_SENT: S.REJECTED, K.REFUSED: None, K.PENDING_CANCEL: S.PENDING_CANCEL, K.BUSTED: None},
    ),
    (
        S.UNKNOWN,
        {K.ACK: S.NEW, K.CANCELED: S.CANCELED, K.EXPIRED: S.EXPIRED, K.REJECTED: S.REJECTED, K.NOT_SENT: S.REJECTED, K.REFUSED: None},
    ),
    (S.UNKNOWN, {K.CANCEL_REJECTED: S.UNKNOWN, K.PENDING_CANCEL: S.UNKNOWN, K.UNKNOWN: S.UNKNOWN, K.BUSTED: None}),
]
REACH: dict[S, list[K]] = {
    S.PENDING_NEW: [],
    S.NEW: [K.ACK],
    S.PENDING_CANCEL: [K.ACK, K.PENDING_CANCEL],
    S.UNKNOWN: [K.UNKNOWN],
    S.PARTIALLY_FILLED: [K.ACK, K.TRADE],
    S.FILLED: [K.ACK, K.TRADE, K.TRADE],
    S.CANCELED: [K.CANCELED],
    S.EXPIRED: [K.EXPIRED],
    S.REJECTED: [K.REJECTED],
}


def reach(state: S, apply: Any = book.apply_report) -> tuple[book.Orders, Any]:
    """A table with one order of 1000 lots brought to `state`; each TRADE fills 500."""
    orders, order, filled = new_orders(4, 1), intent(), 0
    assert book.insert_order(orders, order, 0, NOW) == 0
    for kind in REACH[state]:
        filled += 500 if kind == K.TRADE else 0
        record = fill(order, 500, filled, trade_id=filled) if kind == K.TRADE else report(order, kind)
        assert apply(orders, record, 0) == Outcome.APPLIED
    assert orders.rows[0]["state"] == state
    return orders, order


@pytest.mark.parametrize(("start", "kind", "end"), [(start, kind, end) for start, moves in STEPS for kind, end in moves.items()])
def test_a_report_moves_an_order_as_the_table_says(body: Any, start: S, kind: K, end: S | None) -> None:
    orders, order = reach(start, body(book.apply_report))
    outcome = body(book.apply_report)(orders, report(order, kind), 0)
    assert outcome == (Outcome.BAD_TRANSITION if end is None else Outcome.APPLIED)
    assert orders.rows[0]["state"] == (start if end is None else end)
    assert_table_is_sound(orders)


@pytest.mark.parametrize("start", [S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED])
@pytest.mark.parametrize("kind", [k for k in K if k not in (K.TRADE, K.BUSTED)])
def test_an_ended_order_is_never_reopened_by_a_late_report(body: Any, start: S, kind: K) -> None:
    orders, order = reach(start)
    assert body(book.apply_report)(orders, report(order, kind), 0) == Outcome.STALE
    assert orders.rows[0]["state"] == start and orders.counts[0] == 0


@pytest.mark.parametrize("state", [S.PENDING_NEW, S.NEW, S.PARTIALLY_FILLED, S.PENDING_CANCEL, S.UNKNOWN])
def test_every_working_state_counts_its_leaves_in_full(state: S) -> None:
    orders, _ = reach(state)
    assert orders.lots[0, 0] == (500 if state == S.PARTIALLY_FILLED else 1000) and orders.counts[0] == 1


@pytest.mark.parametrize("state", [S.PENDING_NEW, S.NEW, S.PENDING_CANCEL, S.UNKNOWN])
def test_a_fill_is_taken_in_every_working_state(body: Any, state: S) -> None:
    orders, order = reach(state)
    assert body(book.apply_report)(orders, fill(order, 400), 0) == Outcome.APPLIED
    assert orders.rows[0]["state"] == (S.PENDING_CANCEL if state == S.PENDING_CANCEL else S.PARTIALLY_FILLED)
    assert (orders.rows[0]["leaves_lots"], orders.lots[0, 0]) == (600, 600)
    assert body(book.apply_report)(orders, fill(order, 600, 1000, trade_id=2), 0) == Outcome.APPLIED
    assert orders.rows[0]["state"] == S.FILLED and orders.lots[0, 0] == 0


@pytest.mark.parametrize("state", [S.CANCELED, S.EXPIRED, S.REJECTED])
def test_a_fill_after_the_end_is_taken_flagged_and_counted(body: Any, state: S) -> None:
    orders, order = reach(state)
    assert body(book.apply_report)(orders, fill(order, 400), 0) == Outcome.LATE_FILL
    assert (orders.rows[0]["cum_lots"], orders.rows[0]["leaves_lots"], orders.words[book.LATE_FILLS]) == (400, 0, 1)
    assert body(book.apply_report)(orders, fill(order, 400), 0) == Outcome.DUPLICATE_FILL


def test_duplicate_fill_by_trade_id_is_noop(body: Any) -> None:
    orders, order = reach(S.NEW)
    body(book.apply_report)(orders, fill(order, 100, 100, trade_id=5), 0)
    before = orders.rows.copy()
    assert body(book.apply_report)(orders, fill(order, 100, 200, trade_id=5), 0) == Outcome.DUPLICATE_FILL
    np.testing.assert_array_equal(orders.rows, before)


def test_cumulative_fill_baseline_monotone(body: Any) -> None:
    orders, order = reach(S.NEW)
    body(book.apply_report)(orders, fill(order, 300, 300, trade_id=1), 0)
    for cum_lots in (0, 100, 300):
        assert body(book.apply_report)(orders, fill(order, 100, cum_lots, trade_id=9), 0) == Outcome.REGRESSED
    assert (orders.rows[0]["cum_lots"], orders.rows[0]["leaves_lots"]) == (300, 700)


def test_a_trade_id_forgotten_after_many_fills_is_still_caught_by_cumulative_size(body: Any) -> None:
    orders, order = reach(S.NEW)
    for n in range(1, 21):
        assert body(book.apply_report)(orders, fill(order, 10, 10 * n, trade_id=n), 0) == Outcome.APPLIED
    assert body(book.apply_report)(orders, fill(order, 10, 10, trade_id=1), 0) == Outcome.REGRESSED
    assert body(book.apply_report)(orders, fill(order, 10, 210, trade_id=20), 0) == Outcome.DUPLICATE_FILL


@pytest.mark.parametrize(
    ("lots", "cum_lots", "outcome"), [(0, 10, -4), (-5, 10, -4), (20, 10, -4), (10, 30, 2), (1000, 1000, 0), (1001, 1001, 3)]
)
def test_a_fill_whose_sizes_disagree_is_refused_or_flagged(body: Any, lots: int, cum_lots: int, outcome: int) -> None:
    orders, order = reach(S.NEW)
    assert body(book.apply_report)(orders, fill(order, lots, cum_lots), 0) == outcome
    assert orders.rows[0]["cum_lots"] == (cum_lots if outcome >= 0 else 0)


def test_a_cancel_that_counts_a_fill_not_seen_is_a_gap_and_the_fill_is_still_taken(body: Any) -> None:
    orders, order = reach(S.PENDING_CANCEL)
    assert body(book.apply_report)(orders, report(order, K.CANCELED, cum_lots=250), 0) == Outcome.FILL_GAP
    assert body(book.apply_report)(orders, fill(order, 250), 0) == Outcome.LATE_FILL
    assert orders.words[book.FILL_GAPS] == 1


def test_a_rejected_cancel_returns_to_what_the_venue_said_last(body: Any) -> None:
    for before, said, after in [
        ([], None, S.PENDING_NEW),
        ([], K.ACK, S.NEW),
        ([K.ACK], K.TRADE, S.PARTIALLY_FILLED),
        ([K.ACK], None, S.NEW),
    ]:
        orders, order = new_orders(4, 1), intent()
        book.insert_order(orders, order, 0, NOW)
        for kind in [*before, K.PENDING_CANCEL]:
            body(book.apply_report)(orders, report(order, kind), 0)
        if said is not None:
            body(book.apply_report)(orders, fill(order, 1) if said == K.TRADE else report(order, said), 0)
        assert orders.rows[0]["state"] == S.PENDING_CANCEL
        body(book.apply_report)(orders, report(order, K.CANCEL_REJECTED), 0)
        assert orders.rows[0]["state"] == after


def test_unknown_becomes_partially_filled_by_an_acknowledgement_when_something_was_filled(body: Any) -> None:
    orders, order = reach(S.PARTIALLY_FILLED)
    body(book.apply_report)(orders, report(order, K.UNKNOWN), 0)
    body(book.apply_report)(orders, report(order, K.ACK), 0)
    assert orders.rows[0]["state"] == S.PARTIALLY_FILLED


def test_reports_of_orders_not_in_the_table_change_nothing_and_fills_are_flagged(body: Any) -> None:
    orders, stranger = new_orders(4, 1), intent(9)
    assert body(book.apply_report)(orders, report(stranger, K.ACK), 0) == Outcome.UNKNOWN_ORDER
    assert body(book.apply_report)(orders, fill(stranger, 10), 0) == Outcome.ORPHAN_FILL
    assert body(book.apply_report)(orders, fill(stranger, 0), 0) == Outcome.UNKNOWN_ORDER
    for kind in (-1, 0, 12, 1000):
        assert body(book.apply_report)(orders, report(stranger, kind), 0) in (Outcome.BAD_TRANSITION, Outcome.UNKNOWN_ORDER)
    assert orders.words[book.ORPHAN_FILLS] == 1


def test_a_report_of_no_kind_is_a_bad_transition_in_every_state(body: Any) -> None:
    for state in REACH:
        orders, order = reach(state)
        for kind in (-1, 0, 12, K.BUSTED):
            assert body(book.apply_report)(orders, report(order, kind), 0) == Outcome.BAD_TRANSITION


def test_the_table_refuses_when_full_of_working_orders_and_evicts_the_oldest_ended_one(body: Any) -> None:
    orders, records = new_orders(3, 1), [intent(n) for n in range(6)]
    insert = body(book.insert_order)
    assert [insert(orders, records[n], 0, NOW) for n in range(4)] == [0, 1, 2, -1]
    for n in (1, 0):
        book.apply_report(orders, report(records[n], K.CANCELED), 0)
    assert insert(orders, records[4], 0, NOW) == 1
    assert book.find(orders, int(records[1][0]["order_id"])) == -1
    assert book.find(orders, int(records[0][0]["order_id"])) == 0
    assert insert(orders, records[5], 0, NOW) == 0
    assert insert(orders, intent(7), 0, NOW) == -1
    assert_table_is_sound(orders)


@pytest.mark.parametrize(
    "bad", [{"order_id": 0}, {"order_id": -4}, {"instrument": 1}, {"instrument": -1}, {"side": 0}, {"qty_lots": 0}, {"qty_lots": -1}]
)
def test_insert_refuses_what_is_no_order(body: Any, bad: dict[str, int]) -> None:
    orders = new_orders(3, 1)
    assert body(book.insert_order)(orders, intent(0, **bad), 0, NOW) == -1
    assert orders.counts[0] == 0


def test_insert_refuses_an_id_that_is_present_even_when_ended(body: Any) -> None:
    orders, order = reach(S.CANCELED)
    assert body(book.insert_order)(orders, order, 0, NOW) == -1


def test_a_replacement_forgets_the_order_it_replaces_when_that_one_ends(body: Any) -> None:
    orders, old = new_orders(4, 1), intent(1)
    new = intent(2, ref_order_id=int(old[0]["order_id"]))
    book.insert_order(orders, old, 0, NOW)
    book.insert_order(orders, new, 0, NOW)
    assert orders.rows[1]["ref_order_id"] == old[0]["order_id"]
    body(book.apply_report)(orders, report(old, K.CANCELED), 0)
    assert orders.rows[1]["ref_order_id"] == 0


def test_order_id_packs_and_unpacks_and_refuses_to_wrap(body: Any) -> None:
    identity = body(order_id)(book.EPOCH_MAX, 255, book.COUNTER_MAX)
    assert identity == 2**63 - 1
    assert (body(book.id_epoch)(identity), body(book.id_strategy)(identity), body(book.id_counter)(identity)) == (2**23 - 1, 255, 2**32 - 1)
    for bad in [(0, 0, 0), (2**23, 0, 0), (1, 256, 0), (1, -1, 0), (1, 0, 2**32), (1, 0, -1)]:
        assert body(order_id)(*bad) == -1


def test_new_orders_refuses_an_empty_table() -> None:
    with pytest.raises(ValueError, match="must be positive, were 0 and 1"):
        new_orders(0, 1)


def drive(seed: int, steps: int, apply: Any, insert: Any, twin: NaiveOrders | None) -> book.Orders:
    """Random orders and reports, half of them implausible, into a small table; compare with the twin if there is one."""
    chance, orders, records = random.Random(seed), new_orders(12, 2), []
    for step in range(steps):
        where = f"seed {seed} step {step}"
        if chance.random() < 0.2 or not records:
            ref = int(chance.choice(records)[0]["order_id"]) if records and chance.random() < 0.3 else 0
            record = intent(
                step,
                strategy=chance.randrange(2),
                instrument=chance.randrange(2),
                side=chance.choice([1, -1]),
                price_ticks=chance.randint(1, 9),
                qty_lots=chance.randint(1, 20),
                ref_order_id=ref,
            )
            slot = insert(orders, record, 0, step)
            assert twin is None or (slot >= 0) == twin.insert(record[0]), where
            records = [*records[-30:], record]
        else:
            order = chance.choice(records)
            slot = book.find(orders, int(order[0]["order_id"]))
            taken = int(orders.rows[slot]["cum_lots"]) if slot >= 0 else 0
            lots = chance.randint(-1, 8)
            kind = chance.choice([K.TRADE, K.TRADE, chance.choice(list(K))])
            cum_lots = taken + lots + chance.choice([0, 0, 0, 0, 1, -1])
            record = fill(order, lots, cum_lots, trade_id=chance.choice([step, step, step // 9]))
            record[0]["kind"] = kind
            outcome = apply(orders, record, 0)
            assert twin is None or outcome == twin.apply(record[0]), where
        if twin is not None:
            for row in range(2):
                expected = [twin.leaves(row, 1), twin.leaves(row, -1), len(twin.working(row))]
                assert [*orders.lots[row].tolist(), int(orders.counts[row])] == expected, where
    if twin is not None:
        states = {
            int(o["order_id"]): (int(o["state"]), int(o["cum_lots"]), int(o["ref_order_id"]) if book.is_working(int(o["state"])) else 0)
            for o in orders.rows
            if o["order_id"]
        }
        assert states == {o.order_id: (o.state, o.cum_lots, o.ref_order_id if o.working else 0) for o in twin.orders.values()}, (
            f"seed {seed}"
        )
        assert_table_is_sound(orders)
    return orders


@pytest.mark.parametrize("seed", range(8))
def test_orders_equal_the_naive_twin_on_random_traffic(seed: int) -> None:
    drive(seed, 600, book.apply_report, book.insert_order, NaiveOrders(12))


def test_orders_bodies_leave_equal_tables_after_equal_histories() -> None:
    plain = [getattr(kernel, "py_func", kernel) for kernel in (book.apply_report, book.insert_order)]
    for mine, other in zip(drive(99, 800, book.apply_report, book.insert_order, None), drive(99, 800, *plain, None), strict=True):
        np.testing.assert_array_equal(mine, other, err_msg="seed 99")
