"""Every stage begins with the orders that an earlier epoch left, as journals tell of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from numpy.typing import NDArray

from hft import control
from hft.orders import order_id
from hft.records import ORDER, REPORT, VENUE_EVENT, IntentKind, JournalKind, OrderState, ReportKind, Side, VenueEventKind
from processes.adoption import Folding, LeftOrder, unpack_order
from processes.recovery import empty_positions, pack_rows
from support.engine import BID, BTC, Bench, row

LOTS = 1000
ACK, TRADE, CANCELED, UNKNOWN = ReportKind.ACK, ReportKind.TRADE, ReportKind.CANCELED, ReportKind.UNKNOWN


class Said(NamedTuple):
    """A journal entry of one record."""

    kind: JournalKind
    row: NDArray[Any]

    def records(self) -> NDArray[Any]:
        return self.row


def order(counter: int, **fields: int) -> NDArray[Any]:
    good = {"order_id": order_id(1, 0, counter), "price_ticks": BID - 100, "qty_lots": LOTS, "kind": IntentKind.NEW, "side": Side.BUY}
    return row(ORDER, **(good | fields))


def sent(about: NDArray[Any]) -> Said:
    return Said(JournalKind.SENDING, about)


def told(about: NDArray[Any], kind: ReportKind, state: OrderState, cum_lots: int = 0) -> Said:
    fields = {"order_id": int(about[0]["order_id"]), "kind": kind, "state": state, "cum_lots": cum_lots}
    return Said(JournalKind.REPORT, row(REPORT, **fields))


def amended(by: NDArray[Any]) -> Said:
    return Said(JournalKind.VENUE_EVENT, row(VENUE_EVENT, kind=VenueEventKind.AMENDED, request_id=int(by[0]["order_id"])))


def left(*entries: Said, begun: tuple[LeftOrder, ...] = ()) -> list[tuple[int, int, int, int, bool]]:
    """(counter, filled, counter of the id on the wire, filled before, acknowledged) of each order to adopt."""
    folding = Folding(list(begun))
    for entry in entries:
        folding.take(entry)  # type: ignore[arg-type]
    found = [unpack_order(one.pack()) for one in folding.left()]
    low = (1 << 32) - 1
    return [(int(o.order[0]["order_id"]) & low, o.cum_lots, o.wire_id & low, o.base_lots, bool(o.acked)) for o in found]


FIRST, SECOND = order(1), order(2)
CHANGE = order(2, kind=IntentKind.REPLACE, ref_order_id=order_id(1, 0, 1))


def test_what_was_sent_and_has_not_ended_is_left() -> None:
    assert left(sent(FIRST)) == [(1, 0, 1, 0, False)], "whether it arrived is for the venue to say"
    assert left(sent(FIRST), told(FIRST, ACK, OrderState.NEW)) == [(1, 0, 1, 0, True)]
    filled = told(FIRST, TRADE, OrderState.PARTIALLY_FILLED, 400)
    late = told(FIRST, UNKNOWN, OrderState.UNKNOWN, 400)
    assert left(sent(FIRST), sent(SECOND), filled, late) == [(1, 400, 1, 0, True), (2, 0, 2, 0, False)]


@pytest.mark.parametrize("state", [OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED])
def test_what_has_ended_is_not_left(state: OrderState) -> None:
    assert left(sent(FIRST), told(FIRST, CANCELED, state)) == []
    begun = LeftOrder(FIRST, 0, int(FIRST[0]["order_id"]))
    assert left(told(FIRST, CANCELED, state), begun=(begun,)) == [] and len(left(begun=(begun,))) == 1


def test_an_order_that_took_over_anothers_name_is_left_under_it() -> None:
    before = [sent(FIRST), told(FIRST, TRADE, OrderState.PARTIALLY_FILLED, 400), sent(CHANGE), amended(CHANGE)]
    after = [told(FIRST, CANCELED, OrderState.CANCELED, 400), told(CHANGE, ACK, OrderState.NEW)]
    assert left(*before, *after) == [(2, 0, 1, 400, True)]
    third = order(3, kind=IntentKind.REPLACE, ref_order_id=order_id(1, 0, 2))
    more = [
        told(CHANGE, TRADE, OrderState.PARTIALLY_FILLED, 100),
        sent(third),
        amended(third),
        told(CHANGE, CANCELED, OrderState.CANCELED, 100),
    ]
    assert left(*before, *after, *more, told(third, ACK, OrderState.NEW)) == [(3, 0, 1, 500, True)]


def test_neither_of_two_orders_is_adopted_of_which_one_may_have_replaced_the_other() -> None:
    before = [sent(FIRST), told(FIRST, ACK, OrderState.NEW), sent(CHANGE)]
    for more in ([], [told(CHANGE, UNKNOWN, OrderState.UNKNOWN)], [amended(CHANGE)]):
        assert left(*before, *more) == []
    assert left(*before, told(CHANGE, ReportKind.REJECTED, OrderState.REJECTED)) == [(1, 0, 1, 0, True)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """All stages in an epoch that begins with one bid of which 400 lots are filled; trading has not begun."""
    adopted = LeftOrder(FIRST, 400, int(FIRST[0]["order_id"]), 0, True)
    tables_of = Bench(tmp_path / "tables")
    session = {"positions": pack_rows(empty_positions(tables_of.loop.tables)), "orders": [adopted.pack()]}
    with tables_of, Bench(tmp_path / "1", session=session) as bench:
        yield bench


def test_an_adopted_order_counts_against_limits_before_anything_was_heard_of_it(bench: Bench) -> None:
    state = bench.stage("risk").context.state
    assert state.orders.lots[BTC].tolist() == [600, 0] and state.orders.counts[BTC] == 1 and state.unknown.tolist() == [1]
    assert state.positions["working_buy_lots"].tolist() == [600, 0]
    state.limits["open_orders_max"][BTC] = 1
    bench.put("market.binance.risk", bench.tops())
    bench.put("intents.mm.risk", bench.intent())
    bench.turn("risk")
    assert bench.take("orders.risk.binance").size == 0
    bench.put("intents.mm.risk", bench.intent(kind=IntentKind.CANCEL, ref_order_id=int(FIRST[0]["order_id"])))
    bench.turn("risk")
    (cancel,) = bench.take("orders.risk.binance")
    assert (cancel["kind"], cancel["ref_order_id"]) == (IntentKind.CANCEL, FIRST[0]["order_id"])


def test_its_strategy_has_it_and_is_not_told_of_the_halt_that_an_epoch_begins_with(bench: Bench) -> None:
    bench.control[control.READY] = 0
    bench.turn("strategy.mm")
    assert bench.take("intents.mm.risk").size == 0, "nothing is withdrawn"
    orders = bench.stage("strategy.mm").context.own.orders
    assert orders.lots[BTC].tolist() == [600, 0]
    ack = row(REPORT, order_id=int(FIRST[0]["order_id"]), kind=ACK, state=OrderState.PARTIALLY_FILLED, cum_lots=400, qty_lots=LOTS, side=1)
    bench.put("reports.binance.mm", ack)
    bench.turn("strategy.mm")
    assert orders.rows["state"][0] == OrderState.PARTIALLY_FILLED


def test_the_portfolio_shows_what_is_left_of_it(bench: Bench) -> None:
    portfolio = bench.stage("portfolio").context
    assert portfolio.positions["working_buy_lots"].tolist() == [600, 0, 600, 0]
    done = row(REPORT, order_id=int(FIRST[0]["order_id"]), kind=CANCELED, state=OrderState.CANCELED, cum_lots=400, qty_lots=LOTS, side=1)
    bench.put("reports.binance.portfolio", done)
    bench.turn("portfolio")
    assert not portfolio.positions["working_buy_lots"].any()
