"""Orders that an earlier epoch left are gone on with as configured: they rest, are filled once, and end, at each venue's simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from hft import control
from hft.records import IntentKind, OrderState, ReportKind
from processes.instance import Instance
from processes.recovery import known_balances, orders_left, pack_rows, recover_positions, venue_past
from support.venue_desk import VenueDesk
from support.venue_sides import SIDES

Later = Callable[[], Any]


@pytest.fixture(params=list(SIDES))
def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueDesk]:
    side = SIDES[request.param]()
    side.options = {**side.options, "open_orders_at_start": "adopt"}  # type: ignore[misc]
    with VenueDesk(tmp_path, monkeypatch, side) as desk:
        desk.step()
        desk.open()
        desk.run_until(lambda: desk.ready, 10)
        yield desk


@pytest.fixture
def begin_again(desk: VenueDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Later:
    """Another epoch that begins with what the first one, which is gone, has journaled; not connected yet."""

    @contextmanager
    def begin() -> Iterator[VenueDesk]:
        instance = Instance("some", tmp_path / "state")
        instance.make_folders()
        instance.journal_folder(1).symlink_to(desk.folder)
        desk.session = None
        began, past = known_balances(instance, desk.side.name, 1, 2), venue_past(instance, desk.side.name, 1, 2)
        session = {
            "positions": pack_rows(recover_positions(instance, desk.execution.tables, 1, 2)),
            "orders": [left.pack() for left in orders_left(instance, desk.config, 1, 2)],
            "begun": past.begun,
            "trades": past.trades,
            "balances": None if began is None else {asset: str(amount) for asset, amount in began.items()},
        }
        with VenueDesk(tmp_path / "2", monkeypatch, desk.side, session) as later:
            later._counter = 1000
            later.step()
            yield later

    return begin


def connect(desk: VenueDesk) -> None:
    desk.open()
    desk.run_until(lambda: desk.ready, 60)


def fill(desk: VenueDesk, parts: int) -> None:
    """The market takes a part of all that the account has open."""
    venue = desk.side.driver.venue
    for order in list(venue.exchange.accounts[desk.side.account].open.values()):
        order.queue_ahead_lots = 0
        utc_ns = desk.side.now_ns + 1_800_000_000 * 10**9
        venue.exchange.public_trade(order.instrument.symbol, -order.side, order.price_ticks, order.leaves_lots // parts, utc_ns)


def working(desk: VenueDesk) -> list[int]:
    """What the stage counts as working, by side, before anything was heard."""
    return [int(lots) for lots in desk.execution.context.live.orders.lots[0]]


def test_an_order_that_rests_is_adopted_and_its_strategy_may_cancel_it(desk: VenueDesk, begin_again: Later) -> None:
    order = desk.send()
    desk.run(0.1)
    clients = desk.open_orders()
    with begin_again() as later:
        assert working(later) == [desk.side.lots, 0], "it counts from the beginning"
        connect(later)
        assert later.open_orders() == clients and later.reports(order)[-1] == "ACK" and later.state(order) is OrderState.NEW
        later.cancel(order)
        later.run(1.0)
        assert later.state(order) is OrderState.CANCELED and later.open_orders() == [] and working(later) == [0, 0]
        assert later.control[control.venue_differs(0)] == 0


def test_an_adopted_order_is_replaced_and_never_are_there_two(desk: VenueDesk, begin_again: Later) -> None:
    order = desk.send()
    desk.run(0.1)
    with begin_again() as later:
        connect(later)
        other = later.send(kind=IntentKind.REPLACE, ref_order_id=order, price_ticks=desk.side.far_bid - 10)
        later.run(1.0)
        assert later.state(order) is OrderState.CANCELED and later.state(other) is OrderState.NEW and len(later.open_orders()) == 1
        later.cancel(other)
        later.run(1.0)
        assert later.state(other) is OrderState.CANCELED and later.open_orders() == []


@pytest.mark.parametrize("parts", [1, 2], ids=["in full", "in part"])
@pytest.mark.parametrize("when", ["before", "dead", "between"])
def test_each_fill_of_an_adopted_order_is_booked_once(desk: VenueDesk, begin_again: Later, parts: int, when: str) -> None:
    order = desk.send()
    desk.run(0.1)
    if when == "before":
        fill(desk, parts)
        desk.run(0.5)
    else:
        desk.session = None
    if when == "dead":
        fill(desk, parts)
    with begin_again() as later:
        if when == "between":
            later.open()
            later.run_until(lambda: later.execution._has_snapshot, 30)
            fill(later, parts)
        else:
            later.open()
        later.run_until(lambda: later.ready, 60)
        later.run(desk.side.answered_s)
        assert desk.filled() + later.filled() == desk.side.traded() == desk.side.lots * desk.side.lot / parts
        trades = [int(report[0]["trade_id"]) for each in (desk, later) for report in each.told if report[0]["kind"] == ReportKind.TRADE]
        assert len(trades) == len(set(trades))
        if parts == 1:
            assert OrderState.FILLED in (desk.state(order), *([later.state(order)] if later.reports(order) else []))
            assert later.open_orders() == [] and working(later) == [0, 0]
        else:
            assert later.state(order) is OrderState.PARTIALLY_FILLED and working(later) == [desk.side.lots // 2, 0]
        assert later.control[control.venue_differs(0)] == 0


def test_an_order_that_ended_meanwhile_ends_here(desk: VenueDesk, begin_again: Later) -> None:
    order = desk.send()
    desk.run(0.1)
    venue = desk.side.driver.venue
    for one in list(venue.exchange.accounts[desk.side.account].open.values()):
        venue.exchange.cancel(one, desk.side.now_ns)
    with begin_again() as later:
        connect(later)
        assert later.state(order) is OrderState.CANCELED and working(later) == [0, 0]


def test_an_order_that_never_arrived_counts_until_the_venue_has_proven_it(desk: VenueDesk, begin_again: Later) -> None:
    with desk.lost_requests():
        order = desk.send()
        desk.step()
    with begin_again() as later:
        assert working(later) == [desk.side.lots, 0]
        later.open()
        later.run_until(lambda: later.ready, 120)
        assert later.state(order) in (OrderState.REJECTED, OrderState.CANCELED) and working(later) == [0, 0]


def test_an_order_that_was_changed_in_place_is_adopted_under_its_first_name(desk: VenueDesk, begin_again: Later) -> None:
    first = desk.send()
    desk.run(0.1)
    fill(desk, 2)
    desk.run(0.3)
    second = desk.send(kind=IntentKind.REPLACE, ref_order_id=first, price_ticks=desk.side.far_bid - 10)
    desk.run(1.0)
    assert desk.state(second) is OrderState.NEW and len(desk.open_orders()) == 1
    with begin_again() as later:
        connect(later)
        assert later.state(second) is OrderState.NEW and len(later.open_orders()) == 1
        fill(later, 2)
        later.run(desk.side.answered_s)
        assert desk.filled() + later.filled() == desk.side.traded() > Decimal(0)
        later.cancel(second)
        later.run(1.0)
        assert later.state(second) is OrderState.CANCELED and later.open_orders() == []


@pytest.mark.parametrize("desk", ["binance", "kraken"], indirect=True)
def test_an_order_whose_replacement_was_withdrawn_before_it_was_heard_of_is_not_adopted(desk: VenueDesk, begin_again: Later) -> None:
    first = desk.send()
    desk.run(0.2)
    desk.hears = False
    second = desk.send(kind=IntentKind.REPLACE, ref_order_id=first, qty_lots=desk.side.lots * 10)
    desk.run(0.05)
    desk.cancel(second)
    desk.run(0.05)
    with begin_again() as later:
        assert working(later) == [0, 0], "which of the two lives is not known"
        connect(later)
        later.run(2.0)
        assert later.open_orders() == [] and later.execution.context.live.orders.lots.sum() == 0
