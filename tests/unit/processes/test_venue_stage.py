"""Execution at each venue, against its simulator: nothing lost, nothing doubled, nothing sent that may not be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from hft import control
from hft.counters import ExecutionCounter
from hft.live_orders import WINDOW_NS
from hft.orders import find, id_epoch
from hft.records import ORDER, ExecutionCode, IntentKind, OrderFlag, OrderState, ReportKind, Side, TimeInForce
from hft.sim.venue import Opcode
from hft.venues.codecs import encode
from hft.venues.kraken.limits import COUNTER
from processes import venue_stage
from processes.recovery import VenuePast
from processes.transport.wire import BYTES_IN, FD, STATE, WireState
from processes.venue_sending import UTC_OFFSET_NS
from processes.ws_line import DIRECT
from support.venue_desk import VenueDesk
from support.venue_sides import SIDES

AT_BINANCE = pytest.mark.parametrize("desk", ["binance"], indirect=True)
AT_KRAKEN = pytest.mark.parametrize("desk", ["kraken"], indirect=True)

READ_EVERY_NS = 2_000
PING = b"\x89\x00"


@pytest.fixture(params=list(SIDES))
def desk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueDesk]:
    with VenueDesk(tmp_path, monkeypatch, SIDES[request.param]()) as desk:
        yield desk


@pytest.fixture
def ready(desk: VenueDesk) -> VenueDesk:
    desk.step()
    desk.open()
    desk.run(0.5)
    assert desk.ready
    return desk


def test_orders_may_leave_once_the_account_is_reconciled(desk: VenueDesk) -> None:
    early = desk.send()
    desk.step()
    assert desk.reports(early) == ["NOT_SENT"] and desk.told[-1][0]["reason"] == ExecutionCode.NOT_CONNECTED
    desk.open()
    late = desk.send()
    desk.turn(desk.side.stage)
    assert not desk.ready
    desk.run(0.5)
    assert desk.reports(late) == ["NOT_SENT"] and desk.told[-1][0]["reason"] == ExecutionCode.NOT_RECONCILED
    assert desk.ready


def test_an_order_rests_and_is_canceled(ready: VenueDesk) -> None:
    order = ready.send()
    ready.run(0.05)
    assert ready.reports(order) == ["ACK"] and ready.open_orders() == ready.clients(order)
    ready.cancel(order)
    ready.run(0.05)
    assert ready.reports(order) == ["ACK", "PENDING_CANCEL", "CANCELED"] and ready.open_orders() == []
    assert ready.count(ExecutionCounter.WORKING) == 0 and ready.count(ExecutionCounter.SENT) == 1


def test_fills_are_what_the_venue_says(ready: VenueDesk) -> None:
    order = ready.send(price_ticks=ready.side.near_ask, qty_lots=2 * ready.side.lots, tif=TimeInForce.IOC)
    ready.run(0.1)
    assert ready.reports(order)[0] in ("ACK", "TRADE") and ready.state(order) in (OrderState.FILLED, OrderState.EXPIRED)
    assert ready.filled() == ready.side.traded() > 0


def test_what_the_venue_refuses_is_rejected_with_its_reason(ready: VenueDesk) -> None:
    order = ready.send(price_ticks=ready.side.near_ask, flags=OrderFlag.POST_ONLY)
    ready.run(0.05)
    assert ready.state(order) in (OrderState.REJECTED, OrderState.CANCELED) and ready.told[-1][0]["reason"] != 0
    assert ready.side.traded() == 0


def test_a_replaced_order_never_fills_beside_the_new_one(ready: VenueDesk) -> None:
    first = ready.send()
    ready.run(0.05)
    second = ready.send(price_ticks=ready.side.far_bid + 100, kind=IntentKind.REPLACE, ref_order_id=first)
    ready.run(0.05)
    assert ready.state(first) is OrderState.CANCELED and ready.state(second) is OrderState.NEW
    assert ready.open_orders() == ready.clients(first if ready.side.amends else second)
    third = ready.send(kind=IntentKind.REPLACE, ref_order_id=first)
    ready.run(0.05)
    if ready.side.amends:
        # The first order's id now means the second one.
        assert ready.state(second) is OrderState.CANCELED and ready.state(third) is OrderState.NEW and len(ready.open_orders()) == 1
    else:
        assert ready.reports(third) == ["NOT_SENT"]


@pytest.mark.parametrize("fills", [False, True], ids=["rests", "fills"])
def test_a_lost_acknowledgement_is_unknown_then_found_out_and_never_sent_again(ready: VenueDesk, fills: bool) -> None:
    ready.side.driver.fault(kind="lose_ack")
    order = ready.send(price_ticks=ready.side.near_ask if fills else ready.side.far_bid)
    ready.run(1.5)
    assert ready.state(order) in (OrderState.NEW, OrderState.FILLED, OrderState.PARTIALLY_FILLED)
    held = ready.side.held()
    assert len(held["open_orders"]) + len({fill["client_id"] for fill in held["fills"]}) == 1
    assert ready.count(ExecutionCounter.UNKNOWN) == 0 and ready.count(ExecutionCounter.SENT) == 1


def test_an_order_whose_connection_is_lost_is_unknown_until_the_next_one_tells(ready: VenueDesk) -> None:
    ready.hears = False
    order = ready.send()
    ready.step()
    ready.lose()
    ready.run(0.05)
    assert ready.state(order) is OrderState.UNKNOWN and not ready.ready
    refused = ready.send()
    ready.step()
    assert ready.reports(refused) == ["NOT_SENT"]
    ready.hears = True
    ready.open()
    ready.run_until(lambda: ready.ready, ready.side.answered_s)
    assert ready.state(order) is OrderState.NEW and ready.open_orders() == ready.clients(order)


def test_a_fill_that_no_connection_told_is_found_after_the_next_one(ready: VenueDesk) -> None:
    ready.hears = False
    order = ready.send(price_ticks=ready.side.near_ask)
    ready.step()
    ready.lose()
    ready.run(0.2)
    ready.hears = True
    ready.open()
    ready.run_until(lambda: ready.ready, ready.side.answered_s)
    assert ready.filled() == ready.side.traded() > 0
    assert ready.state(order) in (OrderState.FILLED, OrderState.PARTIALLY_FILLED, OrderState.NEW)


def test_an_order_that_never_arrived_is_rejected_only_on_the_venues_proof(ready: VenueDesk) -> None:
    with ready.lost_requests():
        order = ready.send()
    ready.run(1.0)
    assert ready.state(order) is OrderState.UNKNOWN
    ready.run_until(lambda: ready.state(order) is not OrderState.UNKNOWN, ready.side.answered_s)
    assert ready.state(order) is OrderState.REJECTED and ready.reports(order) == ["UNKNOWN", "REJECTED"]


def test_orders_in_doubt_are_found_out_within_two_seconds_of_the_last_moment_at_which_they_could_arrive(ready: VenueDesk) -> None:
    with ready.lost_requests():
        orders = [ready.send(price_ticks=ready.side.far_bid - 10 * place) for place in range(4)]
    ready.run(ready.execution.context.live.words[WINDOW_NS] / 1e9 - 1.0)
    assert {ready.state(order) for order in orders} == {OrderState.UNKNOWN}
    ready.run(3.0)
    assert {ready.state(order) for order in orders} == {OrderState.REJECTED}


@pytest.fixture
def venue_end(ready: VenueDesk) -> Iterator[socket.socket]:
    """The venue's end of a socket that the stage reads and writes from here on."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setblocking(False)
        ready.execution.wire.words[FD] = ours.fileno()
        ready.execution.context.line.words[DIRECT] = 1
        yield theirs
        ready.execution.context.line.words[DIRECT] = 0


@AT_BINANCE
def test_an_order_leaves_before_the_socket_is_read(ready: VenueDesk, venue_end: socket.socket) -> None:
    # A read would find that the venue has ended, and then nothing may be sent.
    venue_end.shutdown(socket.SHUT_WR)
    ready.send()
    ready.now_ns += READ_EVERY_NS
    ready.turn(ready.side.stage)
    assert ready.count(ExecutionCounter.SENT) == 1 and len(venue_end.recv(4096)) > 100
    assert ready.execution.wire.words[STATE] != WireState.OPEN


@AT_BINANCE
def test_the_socket_is_read_every_two_microseconds(ready: VenueDesk, venue_end: socket.socket) -> None:
    words = ready.execution.wire.words
    ready.now_ns += READ_EVERY_NS
    ready.turn(ready.side.stage)
    before = int(words[BYTES_IN])
    venue_end.send(PING)
    ready.now_ns += READ_EVERY_NS - 1
    ready.turn(ready.side.stage)
    assert words[BYTES_IN] == before
    ready.now_ns += 1
    ready.turn(ready.side.stage)
    assert words[BYTES_IN] == before + len(PING)


def test_a_kill_stops_new_orders_and_cancels_the_rest(ready: VenueDesk) -> None:
    order = ready.send()
    ready.run(0.05)
    ready.control[control.KILL_FIRM] = 1
    late = ready.send()
    ready.run(0.05)
    assert ready.state(order) is OrderState.CANCELED and ready.open_orders() == []
    assert ready.reports(late) == ["NOT_SENT"]


def test_a_kill_cancels_again_what_a_lost_cancel_left(ready: VenueDesk) -> None:
    order = ready.send()
    ready.run(0.05)
    with ready.lost_requests():
        ready.control[control.KILL_FIRM] = 1
    ready.run_until(lambda: ready.state(order) is OrderState.CANCELED, ready.side.answered_s)
    assert ready.open_orders() == []


def test_a_kill_while_nothing_can_be_sent_cancels_once_it_can(ready: VenueDesk) -> None:
    order = ready.send()
    ready.run(0.05)
    ready.lose()
    ready.run(0.05)
    ready.control[control.KILL_FIRM] = 1
    ready.run(0.05)
    ready.open()
    ready.run_until(lambda: ready.state(order) is OrderState.CANCELED, ready.side.answered_s)
    assert ready.open_orders() == []


def test_a_strategy_withdraws_all_its_orders(ready: VenueDesk) -> None:
    orders = [ready.send(), ready.send()]
    ready.run(0.05)
    ready.send(kind=IntentKind.CANCEL_ALL)
    ready.run(0.05)
    assert [ready.state(order) for order in orders] == [OrderState.CANCELED] * 2 and ready.open_orders() == []


def test_an_order_that_waited_too_long_does_not_leave(ready: VenueDesk) -> None:
    order = ready.send(approved_ns=ready.now_ns - 10_000_000_000)
    ready.run(0.02)
    assert ready.reports(order) == ["NOT_SENT"] and ready.told[-1][0]["reason"] == ExecutionCode.TOO_OLD_AT_SEND


def test_orders_that_an_earlier_epoch_left_are_canceled_at_the_start(
    ready: VenueDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = ready.send()
    ready.run(0.05)
    assert len(ready.open_orders()) == 1 and ready.state(left) is OrderState.NEW
    with VenueDesk(tmp_path / "2", monkeypatch, ready.side) as later:
        later.step()
        later.open()
        later.run_until(lambda: later.ready, 5)
        assert later.open_orders() == [] and later.told == []


def test_an_order_of_an_earlier_epoch_that_arrives_after_the_reconciliation_is_canceled(
    ready: VenueDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with VenueDesk(tmp_path / "2", monkeypatch, ready.side) as later:
        later.step()
        later.open()
        later.run(1.0)
        assert later.ready
        ready.run(0.05)
        late = ready.send()
        ready.run(0.05)
        assert ready.state(late) is OrderState.NEW and len(later.open_orders()) == 1
        later.run(1.0)
        assert later.ready and later.open_orders() == [] and later.told == []


def test_trades_of_before_the_session_are_booked_by_none_of_its_epochs_and_those_since_are_by_the_next(
    ready: VenueDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.send(price_ticks=ready.side.near_ask)
    ready.run(0.05)
    before = ready.filled()
    assert before > 0
    with VenueDesk(tmp_path / "2", monkeypatch, ready.side) as first:
        first.step()
        first.open()
        first.run(1.0)
        assert first.ready and first.told == []
        past = first.past()
        assert past.begun and past.trades
    ready.run(0.05)
    ready.hears = False
    missed = ready.send(price_ticks=ready.side.near_ask)
    ready.run(0.05)
    with VenueDesk(tmp_path / "3", monkeypatch, ready.side) as second:
        second.begin_after(past)
        booked = second.execution.bookings.is_booked
        assert all(booked(*trade) for trade in past.trades) and not booked(0, 1), "about those nothing is asked"
        second.step()
        second.open()
        second.run_until(lambda: second.ready, second.side.answered_s)
        assert second.filled() == second.side.traded() - before > 0
        assert {int(report[0]["order_id"]) for report in second.told if report[0]["kind"] == ReportKind.TRADE} == {missed}


@pytest.mark.parametrize("later_session", [False, True])
def test_where_a_journal_has_lost_its_history_fills_are_the_sessions_whose_orders_are(
    ready: VenueDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later_session: bool
) -> None:
    order = ready.send(price_ticks=ready.side.near_ask)
    ready.run(0.05)
    assert ready.filled() > 0
    with VenueDesk(tmp_path / "2", monkeypatch, ready.side) as second:
        second.begin_after(VenuePast(False, []), int(id_epoch(order)) + later_session)
        second.step()
        second.open()
        second.run_until(lambda: second.ready, second.side.answered_s)
        assert second.filled() == (0 if later_session else second.side.traded())
        assert second.past().begun and second.past().trades


@pytest.mark.parametrize("desk", ["binance", "kraken"], indirect=True)
def test_an_order_that_was_not_found_and_arrives_after_all_is_canceled(ready: VenueDesk) -> None:
    with ready.lost_requests():
        order = ready.send()
        ready.step()
    ready.run_until(lambda: ready.reports(order)[-1:] == ["REJECTED"], 60)
    ctx = ready.execution.context
    row, out = np.zeros(1, ORDER), np.zeros(4096, np.uint8)
    row[0] = ctx.live.sources[find(ctx.live.orders, order)]
    utc_ns = ready.now_ns + int(ctx.words[UTC_OFFSET_NS])
    ready.side.receive(ready.session, out[: encode(ctx.codec, row, 0, order, 0, utc_ns, out, 0)].tobytes())
    assert len(ready.open_orders()) == 1
    ready.run(1.0)
    assert ready.open_orders() == []


@AT_KRAKEN
def test_an_order_changed_in_place_is_known_when_its_first_name_has_left_the_table(
    desk: VenueDesk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(venue_stage, "ORDER_SLOTS", 8)
    with VenueDesk(tmp_path / "small", monkeypatch, desk.side) as small:
        small.step()
        small.open()
        small.run_until(lambda: small.ready, 30)
        first = small.send()
        small.run(0.3)
        second = small.send(kind=IntentKind.REPLACE, ref_order_id=first, qty_lots=small.side.lots * 2)
        small.run(0.3)
        for _ in range(12):
            other = small.send()
            small.run(0.2)
            small.cancel(other)
            small.run(0.2)
        assert find(small.execution.context.live.orders, first) < 0
        small.run(20)
        small.cancel(second)
        small.run(1.0)
        assert small.open_orders() == [] and small.state(second) is OrderState.CANCELED


def test_each_side_and_time_in_force_reaches_the_venue_as_it_was_meant(ready: VenueDesk) -> None:
    resting = ready.send(price_ticks=ready.side.near_ask, side=Side.SELL, flags=OrderFlag.POST_ONLY)
    killed = ready.send(tif=TimeInForce.FOK)
    gone = ready.send(tif=TimeInForce.IOC)
    ready.run(0.1)
    assert ready.state(resting) is OrderState.NEW
    assert ready.state(killed) is OrderState.EXPIRED and ready.state(gone) is OrderState.EXPIRED
    assert [order["side"] for order in ready.side.held()["open_orders"]] == ["SELL"]


@pytest.mark.parametrize("skew_ms", [-7000, 7000])
def test_orders_carry_the_venues_time_however_wrong_this_hosts_clock_is(desk: VenueDesk, skew_ms: int) -> None:
    desk.side.driver.fault(kind="clock_skew", skew_ms=skew_ms)
    desk.step()
    desk.open()
    desk.run(0.5)
    order = desk.send()
    desk.run(0.05)
    assert desk.state(order) is OrderState.NEW
    desk.run(40.0, step_ms=50)
    assert abs(desk.execution.desk.account.clock_offset_ns - skew_ms * 1_000_000) < 60_000_000, "measured again and again, and added once"
    later = desk.send()
    desk.run(0.05)
    assert desk.state(later) is OrderState.NEW


def test_a_host_whose_clock_is_set_goes_on_at_the_venues_time(ready: VenueDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    realtime_ns = venue_stage.realtime_ns
    monkeypatch.setattr(venue_stage, "realtime_ns", lambda: realtime_ns() + 100_000_000_000)
    ready.run(1.5)
    order = ready.send()
    ready.run(0.05)
    assert ready.state(order) is OrderState.NEW


def test_an_order_refused_for_its_time_has_the_venues_clock_asked_at_once(ready: VenueDesk) -> None:
    ready.run(3.0, step_ms=50)
    ready.side.driver.fault(kind="clock_skew", skew_ms=40_000)
    early = ready.send()
    ready.run(0.1)
    assert ready.state(early) is OrderState.REJECTED
    late = ready.send()
    ready.run(0.05)
    assert ready.state(late) is OrderState.NEW


def test_garbage_from_the_venue_is_counted_and_stops_nothing(ready: VenueDesk) -> None:
    assert ready.session is not None
    for text in (b"not json", b"{}", b'{"id":"zz","status":200}', b'{"event":{"e":"executionReport"}}', b'{"channel":"executions"}'):
        ready.session.outbox.append((Opcode.TEXT, text))
    order = ready.send()
    ready.run(0.05)
    assert ready.state(order) is OrderState.NEW


def test_a_private_message_that_cannot_be_read_ends_the_connection(ready: VenueDesk) -> None:
    malformed = {
        "binance": b'{"event":{"e":"executionReport"}}',
        "coinbase": b'{"type":"done","user_id":"","order_id":7}',
        "kraken": b'{"channel":"executions"}',
    }
    assert ready.session is not None and ready.link.dropped == 0
    ready.session.outbox.append((Opcode.TEXT, malformed[ready.side.name]))
    ready.run(0.05)
    assert ready.link.dropped > 0, "it may have been a fill"


@AT_KRAKEN
def test_kraken_ends_the_orders_of_an_engine_that_is_gone(ready: VenueDesk) -> None:
    order = ready.send()
    ready.run(100.0, step_ms=50)
    assert ready.state(order) is OrderState.NEW, "the timer is set again and again"
    ready.session = None  # Nothing of this engine arrives any more.
    ready.side.driver.run(61)
    assert ready.open_orders() == []


@AT_KRAKEN
@pytest.mark.parametrize("killed", [False, True], ids=["withdrawn", "killed"])
def test_orders_of_others_at_the_account_are_left_alone(ready: VenueDesk, killed: bool) -> None:
    driver, token = ready.side.driver, ready.execution.desk.account._token
    anothers = {"order_type": "limit", "side": "buy", "symbol": "BTC/USD", "limit_price": 40_000, "order_qty": 1}
    (reply,) = driver.trade(driver.open(), "add_order", token, **anothers)
    ours = ready.send()
    ready.run(0.05)
    assert reply["success"] and len(ready.open_orders()) == 2
    if killed:
        ready.control[control.KILL_FIRM] = 1
    else:
        ready.send(kind=IntentKind.CANCEL_ALL)
    ready.run(0.05)
    assert ready.state(ours) is OrderState.CANCELED and ready.open_orders() == [""]


def sold_into(desk: VenueDesk, price_ticks: int, qty: str) -> None:
    """Another customer sells at a price of ours."""
    driver = desk.side.driver
    sale = {"order_type": "limit", "side": "sell", "symbol": "BTC/USD", "time_in_force": "ioc"}
    numbers = {"limit_price": Decimal(price_ticks) / 10, "order_qty": Decimal(qty)}
    (reply,) = driver.trade(driver.open(), "add_order", driver.token("bob-trade"), **sale, **numbers)
    assert reply["success"], reply


@AT_KRAKEN
@pytest.mark.parametrize("overtaken", [False, True])
def test_an_order_that_is_changed_after_a_fill_has_its_own_size_or_what_the_fill_left(ready: VenueDesk, overtaken: bool) -> None:
    bid, ask = ready.side.driver.best()
    while ask - bid < Decimal("0.2"):
        ready.run(0.5)
        bid, ask = ready.side.driver.best()
    inside = int(ask * 10) - 1
    first = ready.send(price_ticks=inside)
    ready.step()
    sold_into(ready, inside, "0.004")
    if not overtaken:
        ready.step()
        assert ready.reports(first) == ["ACK", "TRADE"]
    second = ready.send(price_ticks=inside, qty_lots=900_000, kind=IntentKind.REPLACE, ref_order_id=first)
    ready.step()
    ready.step()
    (order,) = ready.side.held()["open_orders"]
    assert (order["qty"], order["filled"]) == ("0.00900000" if overtaken else "0.01300000", "0.00400000")
    assert ready.state(first) is OrderState.CANCELED and ready.state(second) is OrderState.NEW
    sold_into(ready, inside, order["qty"])
    ready.step()
    ready.step()
    assert ready.open_orders() == [] and ready.filled() == ready.side.traded() == Decimal(order["qty"])
    assert ready.state(second) is (OrderState.CANCELED if overtaken else OrderState.FILLED)
    assert ready.count(ExecutionCounter.WORKING) == 0


@AT_KRAKEN
def test_the_counter_of_a_pair_is_krakens_own(ready: VenueDesk) -> None:
    codec, venue = ready.execution.desk.codec, ready.side.driver.venue
    for _ in range(3):
        order = ready.send()
        ready.run(0.05)
        ready.cancel(order)
        ready.run(0.05)
    ready.run(0.05)
    venues = float(bytes(venue._reporter.rate_count(venue._exchange.accounts["alice"], "BTC/USD", ready.side.driver.utc_ns)))
    assert venues > 20 and abs(int(codec.limits[0, COUNTER]) / 1e9 - venues) < 1


@AT_KRAKEN
def test_orders_wait_for_krakens_counter_and_cancels_do_not(ready: VenueDesk) -> None:
    orders = []
    for _ in range(200):
        orders.append(ready.send())
        ready.run(0.01)
        ready.cancel(orders[-1])
        ready.run(0.01)
    unsent = [order for order in orders if ready.reports(order) == ["NOT_SENT"]]
    assert unsent and ready.told[-1][0]["reason"] == ExecutionCode.RATE_LIMITED and ready.open_orders() == []
    assert not any("REJECTED" in ready.reports(order) for order in orders), "the venue refused nothing"


def dead_man(desk: VenueDesk) -> int:
    """When the venue ends all orders of the account, in its own time; 0: never."""
    timer_ns: int = desk.side.driver.venue._exchange.accounts["alice"].dead_man_ns
    return timer_ns


@AT_KRAKEN
def test_the_dead_mans_timer_is_kept_armed_while_the_send_loop_takes_turns(ready: VenueDesk) -> None:
    first = dead_man(ready)
    assert first > 0
    ready.run(16, step_ms=100)
    assert dead_man(ready) > first + 15_000 * 1_000_000


@AT_KRAKEN
def test_a_send_loop_that_does_not_move_lets_the_dead_mans_timer_end_all_orders(ready: VenueDesk) -> None:
    ready.send()
    ready.run(0.05)
    assert len(ready.open_orders()) == 1
    armed = dead_man(ready)
    ready.turn = lambda stage: 0  # type: ignore[assignment,method-assign]
    ready.run(59, step_ms=100)
    assert dead_man(ready) == armed, "cold work alone must not arm it"
    ready.run(3, step_ms=100)
    assert ready.open_orders() == [] and dead_man(ready) == 0


@AT_KRAKEN
def test_the_dead_mans_timer_is_stopped_by_who_leaves_without_orders_and_by_nobody_else(ready: VenueDesk) -> None:
    order = ready.send()
    ready.run(0.05)
    ready.execution.disconnect(ready.now_ns)
    ready._exchange()
    assert dead_man(ready) > 0, "an order is left"
    ready.cancel(order)
    ready.run(0.1)
    ready.execution.disconnect(ready.now_ns)
    ready._exchange()
    assert dead_man(ready) == 0
