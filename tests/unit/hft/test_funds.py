"""Funds: an order against what its account has free, on both sides of it, through the life of what takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hft import risk
from hft.funds import BASE, NO_ACCOUNT, NOT_SAID, QUOTE, SAID, begin, covers
from hft.records import FeeAsset, IntentKind, ReportKind, RiskCode, Side
from hft.units import E8
from support.risk_account import ASK, BID, NOW, admit, fill, intent, new_account, report

OK, SHORT = RiskCode.OK, RiskCode.BALANCE
LOT_E8 = 1000
COST_E8 = BID * 10  #: of one lot at the bid
WITH_FEE_E8 = COST_E8 * 1001 // 1000


@pytest.fixture(params=["jit", "py"])
def check(request: pytest.FixtureRequest) -> Callable[..., RiskCode]:
    """`risk.check` of record 0, compiled and as plain Python."""
    kernel = risk.check if request.param == "jit" else getattr(risk.check, "py_func", risk.check)
    return lambda state, records, now_ns=NOW: RiskCode(kernel(state, records, 0, now_ns))


def account(base_e8: int, quote_e8: int, **rows: list[int]) -> risk.RiskState:
    """Two instruments of other bases and one quote at one venue; it has so much of the first base, and of the quote."""
    state = new_account(rows={"base_asset": [0, 1], "quote_asset": [2, 2]} | rows)
    state.funds.known[:] = SAID
    begin(state.funds, state.instruments, 0, BASE, base_e8)
    begin(state.funds, state.instruments, 0, QUOTE, quote_e8)
    return state


def buy(counter: int, lots: int, **fields: int) -> Any:
    return intent(counter, qty_lots=lots, **fields)


def sell(counter: int, lots: int, **fields: int) -> Any:
    return intent(counter, qty_lots=lots, side=Side.SELL, **({"price_ticks": ASK} | fields))


def test_a_buy_needs_its_notional_and_the_taker_fee_and_a_sell_its_size(check: Any) -> None:
    state = account(500 * LOT_E8, 1000 * WITH_FEE_E8)
    assert check(state, buy(0, 1000)) == OK and check(state, buy(0, 1001)) == SHORT
    assert check(state, sell(0, 500)) == OK and check(state, sell(0, 501)) == SHORT
    state = account(500 * LOT_E8 - 1, 1000 * WITH_FEE_E8 - 1)
    assert check(state, buy(0, 1000)) == check(state, sell(0, 500)) == SHORT
    assert check(state, intent(kind=IntentKind.CANCEL_ALL)) == OK


@pytest.mark.parametrize("kind", [None, ReportKind.ACK, ReportKind.UNKNOWN, ReportKind.PENDING_CANCEL])
def test_what_works_has_taken_its_part_whatever_is_known_of_it_until_it_ends(check: Any, kind: ReportKind | None) -> None:
    state = account(500 * LOT_E8, 1000 * WITH_FEE_E8)
    working = [buy(0, 600), sell(1, 300)]
    for order in working:
        admit(state, order)
        if kind is not None:
            risk.apply_report(state, report(order, kind), 0)
    rest = [(buy(2, 400), OK), (buy(2, 401), SHORT), (sell(2, 200), OK), (sell(2, 201), SHORT)]
    assert [check(state, order) for order, _ in rest] == [code for _, code in rest]
    assert check(state, buy(2, 400, instrument=1)) == OK and check(state, buy(2, 401, instrument=1)) == SHORT, "the quote asset is one"
    assert check(state, sell(2, 50, instrument=1)) == SHORT, "of the other base there is nothing"
    for order in working:
        risk.apply_report(state, report(order, ReportKind.CANCELED), 0)
    assert check(state, buy(3, 1000)) == check(state, sell(3, 500)) == OK


def test_fills_move_what_there_is(check: Any) -> None:
    state = account(0, 1000 * WITH_FEE_E8)
    order = buy(0, 600)
    admit(state, order)
    risk.apply_report(state, fill(order, 200, fee_e8=200 * COST_E8 // 1000), 0)
    assert check(state, sell(1, 200)) == OK and check(state, sell(1, 201)) == SHORT
    risk.apply_report(state, fill(order, 400, 600, trade_id=2), 0)
    spent_e8 = 600 * COST_E8 + 200 * COST_E8 // 1000
    state.instruments["taker_fee_e8"] = 0
    lots = (1000 * WITH_FEE_E8 - spent_e8) // COST_E8
    assert check(state, buy(1, lots)) == OK and check(state, buy(1, lots + 1)) == SHORT
    order = sell(2, 600)
    admit(state, order)
    risk.apply_report(state, fill(order, 600, price_ticks=2 * ASK, trade_id=3), 0)
    lots = (1000 * WITH_FEE_E8 - spent_e8 + 600 * 2 * ASK * 10) // COST_E8
    assert check(state, buy(3, lots)) == OK and check(state, buy(3, lots + 1)) == SHORT
    assert check(state, sell(3, 100)) == SHORT


def test_a_fee_in_the_base_asset_is_gone_to_the_last_part_of_a_lot(check: Any) -> None:
    state = account(0, 1000 * WITH_FEE_E8)
    order = buy(0, 600)
    admit(state, order)
    risk.apply_report(state, fill(order, 600, fee_e8=1, fee_asset=FeeAsset.BASE), 0)
    assert check(state, sell(1, 599)) == OK and check(state, sell(1, 600)) == SHORT


def test_a_replacing_order_has_what_the_old_one_gives_back(check: Any) -> None:
    state, bid, ask = account(500 * LOT_E8, 1000 * WITH_FEE_E8), buy(0, 1000), sell(1, 300)
    admit(state, bid)
    admit(state, ask)
    assert check(state, buy(2, 10)) == SHORT
    for make, order, most, price_ticks in ((buy, bid, 1000, BID - 1), (sell, ask, 500, ASK + 1)):
        replacing = {"kind": IntentKind.REPLACE, "ref_order_id": int(order[0]["order_id"]), "price_ticks": price_ticks}
        assert check(state, make(2, most, **replacing)) == OK and check(state, make(2, most + 1, **replacing)) == SHORT
    admit(state, sell(2, 500, kind=IntentKind.REPLACE, ref_order_id=int(ask[0]["order_id"])))
    assert check(state, sell(3, 10)) == SHORT, "until the old one is gone both count"


@pytest.mark.parametrize("fee_e8", [0, 1, 999, 1000, 1001])
def test_a_position_can_be_sold_whatever_its_fee_took(check: Any, fee_e8: int) -> None:
    state = account(0, 1000 * WITH_FEE_E8)
    order = buy(0, 600)
    admit(state, order)
    risk.apply_report(state, fill(order, 600, fee_e8=fee_e8, fee_asset=FeeAsset.BASE), 0)
    lots = int(state.positions[0]["position_lots"])
    assert check(state, sell(1, lots)) == OK and check(state, sell(1, lots + 1)) == SHORT


def test_until_the_venue_has_said_what_there_is_nothing_is_covered_and_without_an_account_everything(check: Any) -> None:
    state = account(10**6 * LOT_E8, 10**6 * WITH_FEE_E8)
    for known, code in ((NOT_SAID, SHORT), (NO_ACCOUNT, OK), (7, SHORT), (SAID, OK)):
        state.funds.known[:] = known
        assert check(state, buy(0, 10)) == check(state, sell(0, 10)) == code


def test_what_the_account_began_with_may_be_said_anew_and_counts_from_then_on(check: Any) -> None:
    state = account(500 * LOT_E8, 0)
    admit(state, sell(0, 300))
    begin(state.funds, state.instruments, 0, BASE, 400 * LOT_E8)
    assert check(state, sell(1, 100)) == OK and check(state, sell(1, 101)) == SHORT
    begin(state.funds, state.instruments, 0, BASE, -(2**63) + 1)
    assert check(state, sell(1, 100)) == SHORT
    begin(state.funds, state.instruments, 0, BASE, 2**63 - 1)
    assert check(state, sell(1, 100)) == OK


def test_what_is_out_of_range_is_not_covered() -> None:
    state = account(2**63 - 1, 2**63 - 1)
    state.instruments["taker_fee_e8"] = E8 - 1
    for ticks, lots, covered in ((1 << 40, 1 << 10, True), (1 << 40, 1 << 20, False), (1 << 61, 1 << 61, False)):
        assert covers(state.funds, state.instruments, state.orders, buy(0, lots, price_ticks=ticks), 0) == covered


def test_one_venues_account_covers_nothing_elsewhere(check: Any) -> None:
    state = new_account(venues=2, rows={"venue": [0, 1], "base_asset": [0, 0], "quote_asset": [2, 2]})
    state.funds.known[:] = SAID
    begin(state.funds, state.instruments, 0, QUOTE, 10**6 * WITH_FEE_E8)
    assert check(state, buy(0, 10)) == OK and check(state, buy(0, 10, instrument=1)) == SHORT
