"""Reference: the price collar at what is not an instrument's own book, on both sides of the limit and with each source missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hft import risk
from hft.control import DIFFERING
from hft.records import MarketKind, RiskCode, Side
from hft.reference import is_beyond_reference
from support.risk_account import ASK, BID, NOW, admit, fill, intent, new_account, tell

OK, BEYOND = RiskCode.OK, RiskCode.PRICE_COLLAR_REF
SECOND = 1_000_000_000


@pytest.fixture(params=["jit", "py"])
def check(request: pytest.FixtureRequest) -> Callable[..., RiskCode]:
    """`risk.check` of record 0, compiled and as plain Python."""
    kernel = risk.check if request.param == "jit" else getattr(risk.check, "py_func", risk.check)
    return lambda state, records, now_ns=NOW: RiskCode(kernel(state, records, 0, now_ns))


def venues(*bids: int) -> risk.RiskState:
    """One pair at venues of so many bids, each 10 ticks below its ask; a wrong mid elsewhere is no divergence, and 10 bp the collar."""
    state = new_account(len(bids), venues=len(bids), rows={"venue": list(range(len(bids)))})
    state.limits["divergence_max_bp"], state.limits["reference_max_bp"] = 10_000, 10
    state.limits["collar_passive_bp"] = state.limits["collar_through_bp"] = 10_000
    for row, bid in enumerate(bids):
        tell(state, MarketKind.TOP, row=row, bid=bid, ask=bid + 10)
    return state


def buys(check: Any, state: risk.RiskState, price_ticks: int, row: int = 0) -> RiskCode:
    """What becomes of a buy."""
    return RiskCode(check(state, intent(instrument=row, price_ticks=price_ticks)))


def highest(check: Any, state: risk.RiskState, now_ns: int = NOW) -> int:
    """The highest price at which instrument 0 may be bought."""
    low, high = 1, 90_000_000
    while high - low > 1:
        price_ticks = (low + high) // 2
        good = check(state, intent(price_ticks=price_ticks, qty_lots=100, decided_ns=now_ns), now_ns) == OK
        low, high = (price_ticks, high) if good else (low, price_ticks)
    return low


@pytest.mark.parametrize(
    ("elsewhere", "mid"),
    [
        ((5_999_995,), 6_000_000),
        ((5_999_995, 7_999_995), 7_000_000),
        ((7_999_995, 4_999_995, 5_999_995), 6_000_000),
        ((9_999_995, 5_999_995, 4_999_995, 5_999_995), 6_000_000),
        ((9_999_995, 5_999_995, 4_999_995, 6_999_995), 6_500_000),
        ((5_999_995, 5_999_995, 5_999_995, 9_999_995, 1_000_000 * 5), 6_000_000),
    ],
)
def test_the_reference_is_the_median_of_the_mids_elsewhere(check: Any, elsewhere: tuple[int, ...], mid: int) -> None:
    assert highest(check, venues(BID, *elsewhere)) == mid + mid // 1000


def test_a_sell_may_be_so_far_below_the_reference_and_any_order_on_its_own_side_of_it(check: Any) -> None:
    state = venues(BID, 5_999_995)
    sells = [intent(side=Side.SELL, price_ticks=price_ticks) for price_ticks in (5_994_000, 5_993_999, 6_400_000)]
    assert [check(state, order) for order in sells] == [OK, BEYOND, OK]
    assert buys(check, state, 5_000_000) == OK


def test_a_venue_without_a_usable_book_is_not_in_the_median_and_without_any_own_trades_are_the_reference(check: Any) -> None:
    state = venues(BID, 5_999_995, 7_999_995)
    tell(state, MarketKind.INVALID, row=2)
    assert highest(check, state) == 6_006_000
    tell(state, MarketKind.VALID, row=2)
    state.limits["book_age_max_ns"][1] = 5
    assert highest(check, state, NOW + 6) == 8_008_000
    # Nobody else has a book: that is refused as such, so the pair is only here.
    alone = venues(BID)
    assert highest(check, alone) == 6_006_005, "the first mid stands in"
    tell(alone, MarketKind.TRADE, bid=5_000_000)
    assert highest(check, alone) == 5_005_000
    tell(alone, MarketKind.TRADE, bid=7_000_000, received_ns=NOW)
    assert highest(check, alone) == 5_005_000, "a print that has not lasted does not move it"


def test_own_trades_are_averaged_over_the_window(check: Any) -> None:
    state = venues(BID)
    state.limits["reference_window_ns"], state.limits["book_age_max_ns"] = SECOND, 10 * SECOND
    tell(state, MarketKind.TRADE, bid=6_000_000, received_ns=NOW - SECOND)
    tell(state, MarketKind.TRADE, bid=7_000_000, received_ns=NOW)
    assert [highest(check, state, NOW + ns) for ns in (0, SECOND // 2, 2 * SECOND)] == [6_006_000, 6_506_500, 7_007_000]


def test_nothing_that_vouches_for_a_price_is_a_refusal(check: Any) -> None:
    state = venues(BID)
    assert buys(check, state, BID) == OK
    state.traded[:] = 0
    assert buys(check, state, BID) == check(state, intent(side=Side.SELL, price_ticks=ASK)) == BEYOND


def test_a_reference_between_two_ticks_counts_as_the_one_that_refuses_more(check: Any) -> None:
    state = venues(BID, 5_999_996)  # a mid of 6000001
    tell(state, MarketKind.TOP, row=1, bid=5_999_996, ask=6_000_007)  # 6000001.5
    state.limits["reference_max_bp"] = 10_000
    assert highest(check, state) == 12_000_002
    state.limits["reference_max_bp"] = 1
    lowest = [check(state, intent(side=Side.SELL, price_ticks=price_ticks)) for price_ticks in (5_999_402, 5_999_401)]
    assert lowest == [OK, BEYOND], "1 bp below 6000002"


def test_a_price_elsewhere_that_is_out_of_range_vouches_for_nothing(check: Any) -> None:
    state = venues(BID, BID)
    state.limits["divergence_max_bp"] = 10_000
    state.peers.tick_e12[0] = 1
    assert buys(check, state, BID) == RiskCode.CROSS_VENUE_DIVERGENCE
    state.peers.tick_e12[:] = 1 << 61
    assert buys(check, state, BID) == RiskCode.CROSS_VENUE_DIVERGENCE
    assert is_beyond_reference(state, intent(price_ticks=BID), 0, NOW)


@pytest.mark.parametrize(("word", "code"), [(RiskCode.STOP_LOSS, OK), (RiskCode.REDUCE_ONLY_MODE, OK), (DIFFERING, BEYOND)])
def test_what_is_to_be_closed_is_held_to_the_touch_alone(check: Any, word: int, code: RiskCode) -> None:
    state = venues(BID, BID)
    bought = intent(qty_lots=100)
    admit(state, bought)
    risk.apply_report(state, fill(bought, 100), 0)
    tell(state, MarketKind.TOP, bid=5_000_000, ask=5_000_010)
    closing = intent(1, side=Side.SELL, price_ticks=5_000_000, qty_lots=100)
    assert check(state, closing) == BEYOND
    risk.observe_reduce(state, 0, int(word))
    assert check(state, closing) == code
    state.limits["collar_through_bp"] = 10
    assert check(state, intent(1, side=Side.SELL, price_ticks=4_000_000, qty_lots=100)) == RiskCode.PRICE_COLLAR_TOUCH
