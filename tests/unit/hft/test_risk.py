"""Risk: every control on both sides of its boundary and without its inputs, and all of them against the naive twin."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from hft import risk
from hft.bounds import recent_slots
from hft.breakers import PULL
from hft.funds import BASE, NO_ACCOUNT, QUOTE, SAID, begin
from hft.orders import order_id
from hft.records import FIRM_LIMITS, LIMITS, MARKET, FeeAsset, IntentKind, MarketKind, OrderFlag, ReportKind, RiskCode, Side, VenueReason
from hft.risk_state import (
    BROKEN,
    HALT,
    LONG_E8,
    SHORT_E8,
    TOTAL_LONG_E8,
    TOTAL_SHORT_E8,
    VENUE_KILL,
    RiskState,
)
from hft.units import E8
from support.naive_risk import NaiveRisk
from support.risk_account import ASK, BID, EPOCH, NOW, UTC_NS, admit, fill, intent, new_account, report, tell, tell_clock

OK = RiskCode.OK
SECOND = 1_000_000_000
SUMS = [0, 1, 2, TOTAL_LONG_E8, TOTAL_SHORT_E8]


@pytest.fixture(params=["jit", "py"])
def check(request: pytest.FixtureRequest) -> Callable[..., RiskCode]:
    """`risk.check` of record 0, compiled and as plain Python."""
    kernel = risk.check if request.param == "jit" else getattr(risk.check, "py_func", risk.check)
    return lambda state, records, now_ns=NOW: RiskCode(kernel(state, records, 0, now_ns))


def test_check_passes_an_ordinary_order_of_every_kind(check: Any) -> None:
    state = new_account()
    assert check(state, intent()) == OK
    assert check(state, intent(side=Side.SELL, price_ticks=ASK)) == OK
    order = intent()
    admit(state, order)
    for kind in (IntentKind.CANCEL, IntentKind.REPLACE):
        assert check(state, intent(1, kind=kind, ref_order_id=int(order[0]["order_id"]), price_ticks=BID - 1)) == OK
    assert check(state, intent(1, kind=IntentKind.CANCEL_ALL)) == OK


def limit(field: str, value: int) -> Callable[[RiskState], None]:
    """Set one limit of instrument 0."""
    return lambda state: state.limits.__setitem__(field, value)


def firm(field: str, value: int) -> Callable[[RiskState], None]:
    """Set one limit of the firm."""
    return lambda state: state.firm.__setitem__(field, value)


def instrument(field: str, value: int) -> Callable[[RiskState], None]:
    """Set one field of both instruments."""
    return lambda state: state.instruments.__setitem__(field, value)


def share(gross_max_e8: int, percent: int) -> Callable[[RiskState], None]:
    """Set what one base asset may have."""
    return lambda state: (firm("gross_max_e8", gross_max_e8)(state), firm("concentration_max_percent", percent)(state))[0]


#: (code, change of the account, the last order admitted, the first refused)
BOUNDARIES: list[tuple[RiskCode, Callable[[RiskState], None], dict[str, int], dict[str, int]]] = [
    (RiskCode.MAX_ORDER_QTY, limit("order_qty_max_lots", 1000), {"qty_lots": 1000}, {"qty_lots": 1001}),
    (RiskCode.MAX_ORDER_NOTIONAL, limit("order_notional_max_e8", BID * 1000 * 10), {"price_ticks": BID}, {"price_ticks": BID + 1}),
    (RiskCode.MIN_QTY_NOTIONAL, instrument("notional_min_e8", BID * 1000 * 10), {"price_ticks": BID}, {"price_ticks": BID - 1}),
    (RiskCode.MIN_QTY_NOTIONAL, instrument("qty_lots_min", 500), {"qty_lots": 500}, {"qty_lots": 499}),
    (RiskCode.TICK_LOT, instrument("qty_lots_max", 1000), {"qty_lots": 1000}, {"qty_lots": 1001}),
    (RiskCode.TICK_LOT, instrument("price_ticks_max", BID), {"price_ticks": BID}, {"price_ticks": BID + 1}),
    (RiskCode.TICK_LOT, instrument("price_ticks_min", BID), {"price_ticks": BID}, {"price_ticks": BID - 1}),
    (RiskCode.NON_FINITE_OR_SIGN, limit("collar_passive_bp", 10_000), {"price_ticks": 50_000}, {"price_ticks": 0}),
    (RiskCode.NON_FINITE_OR_SIGN, limit("order_qty_max_lots", 1000), {"qty_lots": 900}, {"qty_lots": 0}),
    (RiskCode.NON_FINITE_OR_SIGN, limit("order_qty_max_lots", 1000), {"side": 1}, {"side": 0}),
    (RiskCode.NON_FINITE_OR_SIGN, limit("order_qty_max_lots", 1000), {"tif": 3}, {"tif": 4}),
    (RiskCode.NON_FINITE_OR_SIGN, limit("order_qty_max_lots", 1000), {"tif": 1}, {"tif": 0}),
    (RiskCode.NON_FINITE_OR_SIGN, limit("order_qty_max_lots", 1000), {"flags": 5}, {"flags": 8}),
    (RiskCode.NON_FINITE_OR_SIGN, limit("order_qty_max_lots", 1000), {"kind": IntentKind.NEW}, {"kind": 9}),
    # 500 bp below the bid and 50 bp above the ask for a buy; mirrored for a sell.
    (RiskCode.PRICE_COLLAR_TOUCH, limit("book_age_max_ns", 10), {"price_ticks": 5_700_000}, {"price_ticks": 5_699_999}),
    (RiskCode.PRICE_COLLAR_TOUCH, limit("book_age_max_ns", 10), {"price_ticks": 6_030_010}, {"price_ticks": 6_030_011}),
    (
        RiskCode.PRICE_COLLAR_TOUCH,
        limit("book_age_max_ns", 10),
        {"side": -1, "price_ticks": 5_970_000},
        {"side": -1, "price_ticks": 5_969_999},
    ),
    (
        RiskCode.PRICE_COLLAR_TOUCH,
        limit("book_age_max_ns", 10),
        {"side": -1, "price_ticks": 6_300_010},
        {"side": -1, "price_ticks": 6_300_011},
    ),
    (RiskCode.PRICE_COLLAR_REF, limit("reference_max_bp", 10), {"price_ticks": 6_006_005}, {"price_ticks": 6_006_006}),
    (
        RiskCode.PRICE_COLLAR_REF,
        limit("reference_max_bp", 10),
        {"side": -1, "price_ticks": 5_994_005},
        {"side": -1, "price_ticks": 5_994_004},
    ),
    (RiskCode.INTENT_STALE, firm("intent_age_max_ns", 100), {"decided_ns": NOW - 100}, {"decided_ns": NOW - 101}),
    (RiskCode.INTENT_STALE, firm("intent_age_max_ns", 100), {"decided_ns": NOW + 100}, {"decided_ns": NOW + 101}),
    (RiskCode.MAX_POSITION, limit("position_max_lots", 1000), {"qty_lots": 1000}, {"qty_lots": 1001}),
    (
        RiskCode.MAX_POSITION,
        limit("position_max_lots", 1000),
        {"qty_lots": 1000, "side": -1, "price_ticks": ASK},
        {"qty_lots": 1001, "side": -1, "price_ticks": ASK},
    ),
    # 1000 lots at the mid of 60000.05 are 600.0005 quote.
    (RiskCode.MAX_GROSS, firm("gross_max_e8", 60_000_050_000), {"qty_lots": 1000}, {"qty_lots": 1001}),
    (RiskCode.CONCENTRATION, share(100 * 60_000_050_000, 1), {"qty_lots": 1000}, {"qty_lots": 1001}),
    (RiskCode.MAX_NET, firm("net_max_e8", 60_000_050_000), {"qty_lots": 1000}, {"qty_lots": 1001}),
    (
        RiskCode.MAX_NET,
        firm("net_max_e8", 60_000_050_000),
        {"qty_lots": 1000, "side": -1, "price_ticks": ASK},
        {"qty_lots": 1001, "side": -1, "price_ticks": ASK},
    ),
]


@pytest.mark.parametrize(("code", "change", "inside", "outside"), BOUNDARIES, ids=lambda v: v.name if isinstance(v, RiskCode) else "")
def test_control_admits_the_limit_and_refuses_one_beyond(check: Any, code: RiskCode, change: Any, inside: Any, outside: Any) -> None:
    state = new_account()
    change(state)
    assert check(state, intent(**inside)) == OK
    assert check(state, intent(**outside)) == code


#: (code, what is taken away): the input of each control is missing or unusable.
MISSING: list[tuple[RiskCode, Callable[[RiskState], Any]]] = [
    (RiskCode.INSTRUMENT_NOT_ALLOWED, lambda s: s.allowed.fill(0)),
    (RiskCode.INSTRUMENT_NOT_ALLOWED, instrument("trading", 0)),
    (RiskCode.STRATEGY_NOT_APPROVED, lambda s: s.approved.fill(0)),
    (RiskCode.SYSTEM_HALTED, instrument("venue", 1)),
    (RiskCode.SYSTEM_HALTED, instrument("venue", -1)),
    (RiskCode.INTENT_STALE, firm("intent_age_max_ns", 0)),
    (RiskCode.TICK_LOT, instrument("price_ticks_max", 0)),
    (RiskCode.TICK_LOT, instrument("qty_lots_max", 0)),
    (RiskCode.MAX_ORDER_QTY, limit("order_qty_max_lots", 0)),
    (RiskCode.MAX_ORDER_NOTIONAL, limit("order_notional_max_e8", 0)),
    (RiskCode.MAX_ORDER_NOTIONAL, instrument("ticklot_den", 0)),
    (RiskCode.BOOK_INVALID, lambda s: tell(s, MarketKind.INVALID)),
    (RiskCode.BOOK_INVALID, lambda s: tell(s, MarketKind.RESET)),
    (RiskCode.BOOK_INVALID, lambda s: tell(s, MarketKind.TOP, bid=0)),
    (RiskCode.BOOK_INVALID, lambda s: tell(s, MarketKind.TOP, ask=0)),
    (RiskCode.BOOK_INVALID, lambda s: tell(s, MarketKind.TOP, bid=ASK, ask=ASK)),
    (RiskCode.BOOK_INVALID, lambda s: tell(s, MarketKind.TOP, bid=ASK + 1, ask=ASK)),
    (RiskCode.BOOK_INVALID, lambda s: tell(s, MarketKind.TOP, bid=BID, ask=1 << 47)),
    (RiskCode.CLOCK_UNSAFE, lambda s: s.clocks.fill(0)),
    (RiskCode.CLOCK_UNSAFE, firm("clock_offset_max_ns", 0)),
    (RiskCode.FEE_SANITY, firm("fee_max_percent", 0)),
    (RiskCode.ORDER_TO_TRADE, firm("messages_per_fill_max", 0)),
    (RiskCode.ORDER_TO_TRADE, firm("messages_window_ns", 0)),
    (RiskCode.STALE_BOOK, limit("book_age_max_ns", 0)),
    (RiskCode.PRICE_COLLAR_TOUCH, limit("collar_passive_bp", 0)),
    (RiskCode.PRICE_COLLAR_TOUCH, limit("collar_through_bp", 0)),
    (RiskCode.PRICE_COLLAR_TOUCH, limit("collar_passive_bp", 10_001)),
    (RiskCode.PRICE_COLLAR_REF, limit("reference_max_bp", 0)),
    (RiskCode.PRICE_COLLAR_REF, limit("reference_max_bp", 10_001)),
    (RiskCode.PRICE_COLLAR_REF, limit("reference_window_ns", 0)),
    (RiskCode.PRICE_COLLAR_REF, lambda s: s.traded.fill(0)),
    (RiskCode.ORDER_RATE, firm("strategy_rate_per_s", 0)),
    (RiskCode.ORDER_RATE, firm("firm_rate_per_s", 0)),
    (RiskCode.DUPLICATE_ORDER, limit("duplicate_window_ns", 0)),
    (RiskCode.OPEN_ORDERS, limit("open_orders_max", 0)),
    (RiskCode.UNKNOWN_ORDERS, firm("unknown_orders_max", 0)),
    (RiskCode.MAX_POSITION, limit("position_max_lots", 0)),
    (RiskCode.MAX_GROSS, firm("gross_max_e8", 0)),
    (RiskCode.MAX_GROSS, instrument("base_rate_e8", 0)),
    (RiskCode.MAX_GROSS, lambda s: s.positions.__setitem__("mark_ticks_x2", 0)),
    (RiskCode.DAILY_LOSS, firm("daily_loss_max_e8", 0)),
    (RiskCode.SYSTEM_HALTED, lambda s: s.totals.__setitem__(BROKEN, 1)),
]


@pytest.mark.parametrize(("code", "take_away"), MISSING, ids=lambda v: v.name if isinstance(v, RiskCode) else "")
def test_control_refuses_when_its_input_is_missing(check: Any, code: RiskCode, take_away: Any) -> None:
    state = new_account()
    take_away(state)
    assert check(state, intent()) == code


@pytest.mark.parametrize("field", [f for f in LIMITS.names if f != "reserved"])
def test_an_instrument_limit_of_zero_or_below_refuses_everything(check: Any, field: str) -> None:
    for value in (0, -1):
        state = new_account()
        state.limits[field] = value
        assert check(state, intent()) != OK


@pytest.mark.parametrize("field", [f for f in FIRM_LIMITS.names if f not in ("reserved", "send_age_max_ns")])
def test_a_firm_limit_of_zero_or_below_refuses_everything(check: Any, field: str) -> None:
    for value in (0, -1):
        state = new_account()
        state.firm[field] = value
        assert check(state, intent()) != OK


@pytest.mark.parametrize("word", range(5))
def test_any_halt_word_in_scope_refuses_new_orders_and_lets_cancels_pass(check: Any, word: int) -> None:
    state = new_account()  # halt, firm, venue 0, strategy 0, strategy 1
    order = intent()
    admit(state, order)
    state.halts[word] = 1
    in_scope = word != VENUE_KILL + 2
    assert check(state, intent(1)) == (RiskCode.SYSTEM_HALTED if in_scope else RiskCode.DUPLICATE_ORDER)
    assert check(state, intent(1, kind=IntentKind.CANCEL, ref_order_id=int(order[0]["order_id"]))) == OK
    assert check(state, intent(1, kind=IntentKind.CANCEL_ALL)) == OK


@pytest.mark.parametrize(("field", "value"), [("instrument", -1), ("instrument", 2), ("strategy", -1), ("strategy", 2)])
@pytest.mark.parametrize("kind", list(IntentKind))
def test_identity_is_the_one_control_that_every_kind_of_intent_meets(check: Any, field: str, value: int, kind: IntentKind) -> None:
    record = intent(order_id=order_id(EPOCH, 0, 1), kind=kind, **{field: value})
    expected = RiskCode.INSTRUMENT_NOT_ALLOWED if field == "instrument" else RiskCode.STRATEGY_NOT_APPROVED
    assert check(new_account(), record) == expected


def test_cancel_passes_everything_that_refuses_a_new_order(check: Any) -> None:
    for code, take_away in MISSING:
        state, order = new_account(), intent()
        admit(state, order)
        take_away(state)
        assert check(state, intent(1)) != OK, code
        cancel = intent(1, kind=IntentKind.CANCEL, ref_order_id=int(order[0]["order_id"]), price_ticks=0, qty_lots=0, side=0, decided_ns=0)
        assert check(state, cancel) == OK, code


@pytest.mark.parametrize("kind", [IntentKind.CANCEL, IntentKind.REPLACE])
def test_cancel_and_replace_of_an_order_that_is_not_ones_own_and_working_are_refused(check: Any, kind: IntentKind) -> None:
    state, order = new_account(), intent()
    admit(state, order)
    ref = int(order[0]["order_id"])
    more = {"kind": kind, "price_ticks": BID - 1, "ref_order_id": ref}
    assert check(state, intent(1, **more)) == OK
    assert check(state, intent(1, **(more | {"ref_order_id": ref + 1}))) == RiskCode.UNKNOWN_ORDER
    assert check(state, intent(1, **(more | {"ref_order_id": 0}))) == RiskCode.UNKNOWN_ORDER
    assert check(state, intent(1, **more, strategy=1)) == RiskCode.UNKNOWN_ORDER
    assert check(state, intent(1, **more, instrument=1)) == RiskCode.UNKNOWN_ORDER
    other_side = OK if kind == IntentKind.CANCEL else RiskCode.UNKNOWN_ORDER
    assert check(state, intent(1, **(more | {"price_ticks": ASK}), side=Side.SELL)) == other_side
    risk.apply_report(state, report(order, ReportKind.CANCELED), 0)
    assert check(state, intent(1, **more)) == RiskCode.UNKNOWN_ORDER


def test_an_identical_cancel_is_refused_within_the_window_only(check: Any) -> None:
    state, order = new_account(), intent()
    admit(state, order)
    cancel = intent(1, kind=IntentKind.CANCEL, ref_order_id=int(order[0]["order_id"]))
    admit(state, cancel)
    window_ns = int(state.limits[0]["duplicate_window_ns"])
    assert check(state, cancel, NOW + window_ns - 1) == RiskCode.DUPLICATE_ORDER
    assert check(state, cancel, NOW + window_ns) == OK


def test_a_cancel_is_no_repeat_when_its_slot_belonged_to_another_order(check: Any) -> None:
    state, order = new_account(slots=1), intent()
    admit(state, order)
    admit(state, intent(1, kind=IntentKind.CANCEL, ref_order_id=int(order[0]["order_id"])))
    risk.apply_report(state, report(order, ReportKind.CANCELED), 0)
    later = intent(2, price_ticks=BID - 1)
    admit(state, later)
    assert check(state, intent(3, kind=IntentKind.CANCEL, ref_order_id=int(later[0]["order_id"]))) == OK


@pytest.mark.parametrize(("age_ns", "code"), [(10, OK), (11, RiskCode.STALE_BOOK), (-10, OK), (-11, RiskCode.STALE_BOOK)])
def test_stale_book_counts_from_the_newest_top_or_quote(check: Any, age_ns: int, code: RiskCode) -> None:
    state = new_account()
    state.limits["book_age_max_ns"] = 10
    state.tops[0] = 0
    tell(state, MarketKind.VALID)
    tell(state, MarketKind.QUOTE, received_ns=NOW - age_ns)
    tell(state, MarketKind.TOP, received_ns=NOW - age_ns - 1000)
    assert check(state, intent()) == code


@pytest.mark.parametrize(("age_ns", "code"), [(40, OK), (41, RiskCode.STALE_BOOK), (-10_000, OK)])
@pytest.mark.parametrize("kind", [MarketKind.TOP, MarketKind.QUOTE])
def test_a_book_that_arrives_late_is_as_old_as_the_venue_says(check: Any, kind: MarketKind, age_ns: int, code: RiskCode) -> None:
    state = new_account()
    state.limits["book_age_max_ns"], state.firm["clock_offset_max_ns"] = 10, 30
    tell(state, kind, exchange_ns=NOW + UTC_NS - age_ns)
    tell(state, kind)
    assert check(state, intent()) == code, "what has no time changes nothing"
    tell(state, kind, exchange_ns=NOW + UTC_NS)
    assert check(state, intent()) == OK


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clock_that_is_wrong_stops_its_venue_until_it_is_right_again(check: Any, sign: int) -> None:
    state = new_account(3, venues=2, rows={"venue": [0, 0, 1], "base_asset": [0, 1, 2]})
    state.firm["clock_offset_max_ns"] = 1000
    for behind_ns, code in ((1000, OK), (1001, RiskCode.CLOCK_UNSAFE), (1000, OK), (3_600_000_000_000, RiskCode.CLOCK_UNSAFE)):
        tell_clock(state, sign * behind_ns)
        assert [check(state, intent(row, instrument=row)) for row in range(3)] == [code, code, OK]
    order = intent(0, instrument=2)
    admit(state, order)
    tell_clock(state, 2**62, row=2)
    assert check(state, intent(1, kind=IntentKind.CANCEL, instrument=2, ref_order_id=int(order[0]["order_id"]))) == OK


def test_a_fee_that_the_schedule_does_not_explain_stops_its_strategy_until_it_is_armed(check: Any) -> None:
    state = new_account()
    state.firm["fee_max_percent"] = 200
    for n, fee_e8 in enumerate((120_000_001, 120_000_002)):  # 0.2 % of 600 quote, and what may be rounded
        order = intent(n, price_ticks=BID - n)
        admit(state, order)
        risk.apply_report(state, fill(order, 1000, trade_id=n + 1, fee_e8=fee_e8), 0)
    assert check(state, intent(2, price_ticks=BID - 2)) == RiskCode.FEE_SANITY and check(state, intent(2, strategy=1)) == OK
    risk.arm(state, 0)
    assert check(state, intent(2, price_ticks=BID - 2)) == OK


def test_a_strategy_that_is_filled_for_much_more_than_expected_is_stopped_until_it_is_armed(check: Any) -> None:
    state = new_account()
    state.instruments["base_rate_e8"] = E8 // 2  # 1000 lots are worth 300.
    state.firm["filled_expected_e8"], state.firm["filled_max_percent"] = 300 * E8, 200
    for n, lots in enumerate((1000, 1000, 1)):
        order = intent(n, price_ticks=BID - n)
        admit(state, order)
        risk.apply_report(state, fill(order, lots, trade_id=n + 1), 0)
    assert check(state, intent(5, price_ticks=BID - 5)) == RiskCode.FILL_RATE_ANOMALY and check(state, intent(5, strategy=1)) == OK
    risk.arm(state, 0)
    for n in (5, 6):
        order = intent(n, price_ticks=BID - n)
        admit(state, order)
        risk.apply_report(state, fill(order, 1000, trade_id=n + 1), 0)
    assert check(state, intent(7, price_ticks=BID - 7)) == OK


def test_a_strategy_that_sends_much_for_each_fill_sends_no_new_orders_until_it_is_filled(check: Any) -> None:
    state, order = new_account(), intent(0)
    state.firm["messages_per_fill_max"] = 3
    admit(state, order)
    admit(state, intent(1, kind=IntentKind.CANCEL, ref_order_id=int(order[0]["order_id"])))
    assert check(state, intent(2, price_ticks=BID - 2)) == OK
    admit(state, intent(2, kind=IntentKind.REPLACE, ref_order_id=int(order[0]["order_id"]), price_ticks=BID - 1))
    assert check(state, intent(3, price_ticks=BID - 2)) == RiskCode.ORDER_TO_TRADE and check(state, intent(3, strategy=1)) == OK
    assert check(state, intent(3, kind=IntentKind.CANCEL_ALL)) == OK
    for n in range(2):
        risk.apply_report(state, fill(order, 400, 400 * (n + 1), trade_id=n + 1), 0)
    assert check(state, intent(3, price_ticks=BID - 2)) == OK


def test_a_book_that_was_invalid_is_usable_again_from_valid_on(check: Any) -> None:
    state = new_account()
    tell(state, MarketKind.INVALID)
    tell(state, MarketKind.TOP)
    assert check(state, intent()) == RiskCode.BOOK_INVALID
    tell(state, MarketKind.VALID)
    assert check(state, intent()) == OK
    tell(state, MarketKind.RESET)
    tell(state, MarketKind.VALID)
    assert check(state, intent()) == RiskCode.BOOK_INVALID, "the touch from before the reset is forgotten"
    tell(state, MarketKind.QUOTE)
    assert check(state, intent()) == OK


def test_records_of_other_kinds_or_rows_change_nothing() -> None:
    state, untouched = new_account(), new_account()
    tell(state, MarketKind.LEVEL)
    for row in (-1, 2, 99):
        tell(state, MarketKind.INVALID, row=row)
        tell(state, MarketKind.TRADE, row=row)
        tell_clock(state, 10**12, row=row)
    for price_ticks in (0, -1, 1 << 47):
        tell(state, MarketKind.TRADE, bid=price_ticks)
    np.testing.assert_array_equal(state.traded, untouched.traded)
    np.testing.assert_array_equal(state.clocks, untouched.clocks)
    np.testing.assert_array_equal(state.tops, untouched.tops)


def test_client_id_must_be_new_of_this_epoch_and_of_this_strategy(check: Any) -> None:
    state = new_account()
    admit(state, intent(5))
    for fields in [
        *({"order_id": order_id(EPOCH, 0, counter)} for counter in (5, 4, 0)),
        *({"order_id": order_id(epoch, 0, 6)} for epoch in (EPOCH - 1, EPOCH + 1)),
        {"order_id": order_id(EPOCH, 1, 6)},
        {"order_id": 0},
        {"order_id": -1},
    ]:
        assert check(state, intent(price_ticks=BID - 1, **fields)) == RiskCode.CLIENT_ID_REUSE, fields
    assert check(state, intent(6, price_ticks=BID - 1)) == OK
    assert check(state, intent(0, strategy=1, price_ticks=BID - 1)) == OK


def test_client_id_stays_used_after_its_order_ended(check: Any) -> None:
    state, order = new_account(slots=1), intent(5)
    admit(state, order)
    risk.apply_report(state, report(order, ReportKind.REJECTED), 0)
    admit(state, intent(6, price_ticks=BID - 1))
    assert check(state, order, NOW + 1_000_000_000) in (RiskCode.INTENT_STALE, RiskCode.CLIENT_ID_REUSE)
    order[0]["decided_ns"] = NOW + 1_000_000_000
    assert check(state, order, NOW + 1_000_000_000) == RiskCode.CLIENT_ID_REUSE


def test_duplicate_is_the_same_strategy_instrument_side_price_and_size_within_the_window(check: Any) -> None:
    state = new_account()
    admit(state, intent(0))
    assert check(state, intent(1)) == RiskCode.DUPLICATE_ORDER
    for other in ({"price_ticks": BID - 1}, {"qty_lots": 999}, {"strategy": 1}, {"instrument": 1}):
        assert check(state, intent(1, **other)) == OK, other
    window_ns = int(state.limits[0]["duplicate_window_ns"])
    for later_ns, code in ((window_ns - 1, RiskCode.DUPLICATE_ORDER), (window_ns, OK)):
        assert check(state, intent(1, decided_ns=NOW + later_ns), NOW + later_ns) == code


def test_duplicate_is_refused_when_its_memory_is_full(check: Any) -> None:
    state = new_account()
    state.recent[:] = (NOW + 1, 1, 1, 1)
    assert check(state, intent()) == RiskCode.DUPLICATE_ORDER
    assert check(state, intent(decided_ns=NOW + 1), NOW + 1) == OK


def test_recent_slots_follow_rate_and_window_between_their_bounds() -> None:
    limits, budget = np.zeros(1, LIMITS), np.zeros(1, FIRM_LIMITS)
    for rate, window_ns, slots in ((1, 1, 1024), (1000, 10**9, 8192), (10**6, 10**9, 65536)):
        limits[0]["duplicate_window_ns"], budget[0]["firm_rate_per_s"] = window_ns, rate
        assert recent_slots(limits, budget) == slots


@pytest.mark.parametrize("field", ["strategy_rate_per_s", "firm_rate_per_s"])
def test_order_rate_admits_a_second_at_once_then_one_each_interval(check: Any, field: str) -> None:
    state = new_account()
    state.firm[field] = 4
    for n in range(4):
        admit(state, intent(n, price_ticks=BID - n))
    now_ns = NOW + 250_000_000
    assert check(state, intent(4, price_ticks=BID - 9, decided_ns=now_ns - 1), now_ns - 1) == RiskCode.ORDER_RATE
    admit(state, intent(4, price_ticks=BID - 9, decided_ns=now_ns), now_ns)
    assert check(state, intent(5, price_ticks=BID - 10, decided_ns=now_ns), now_ns) == RiskCode.ORDER_RATE


def test_order_rate_is_counted_for_each_strategy_and_for_the_firm(check: Any) -> None:
    state = new_account()
    state.firm["strategy_rate_per_s"], state.firm["firm_rate_per_s"] = 2, 3
    for n in range(2):
        admit(state, intent(n, price_ticks=BID - n))
    assert check(state, intent(2, price_ticks=BID - 5)) == RiskCode.ORDER_RATE
    admit(state, intent(0, strategy=1))
    assert check(state, intent(1, strategy=1, price_ticks=BID - 5)) == RiskCode.ORDER_RATE


def test_order_rate_gains_nothing_when_time_runs_backwards(check: Any) -> None:
    state = new_account()
    state.firm["firm_rate_per_s"], state.limits["book_age_max_ns"] = 2, 10**10
    early_ns = NOW - 2_000_000_000
    admit(state, intent(0))
    admit(state, intent(1, price_ticks=BID - 1, decided_ns=early_ns), early_ns)
    assert check(state, intent(2, price_ticks=BID - 2, decided_ns=early_ns), early_ns) == RiskCode.ORDER_RATE
    assert check(state, intent(2, price_ticks=BID - 2)) == RiskCode.ORDER_RATE


def test_a_product_of_price_and_size_beyond_62_bits_is_refused_before_any_limit(check: Any) -> None:
    state = new_account()
    assert check(state, intent(price_ticks=2**40, qty_lots=2**21)) == RiskCode.TICK_LOT
    for price_ticks, qty_lots in ((2**40, 2**22), (2**62, 1), (2**63 - 1, 2**63 - 1)):
        assert check(state, intent(price_ticks=price_ticks, qty_lots=qty_lots)) == RiskCode.NON_FINITE_OR_SIGN


@pytest.mark.parametrize(("field", "outside"), [("order_notional_max_e8", 1), ("notional_min_e8", -1)])
def test_notional_limits_see_a_tenth_of_the_smallest_unit(check: Any, field: str, outside: int) -> None:
    state = new_account()
    state.instruments["ticklot_num"], state.instruments["ticklot_den"], state.instruments["notional_min_e8"] = 1, 10, 0
    (state.limits if field in LIMITS.names else state.instruments)[field] = BID // 10
    assert check(state, intent(price_ticks=BID, qty_lots=1)) == OK
    expected = RiskCode.MAX_ORDER_NOTIONAL if outside > 0 else RiskCode.MIN_QTY_NOTIONAL
    assert check(state, intent(price_ticks=BID + outside, qty_lots=1)) == expected


@pytest.mark.parametrize("kind", [None, ReportKind.ACK, ReportKind.UNKNOWN, ReportKind.PENDING_CANCEL])
def test_open_orders_count_working_unknown_and_canceling_ones(check: Any, kind: ReportKind | None) -> None:
    state, order = new_account(), intent(0)
    state.limits["open_orders_max"] = 2
    admit(state, order)
    if kind is not None:
        risk.apply_report(state, report(order, kind), 0)
    last = intent(1, price_ticks=BID - 1)
    admit(state, last)
    assert check(state, intent(2, price_ticks=BID - 2)) == RiskCode.OPEN_ORDERS
    assert check(state, intent(2, instrument=1)) == OK
    risk.apply_report(state, report(last, ReportKind.CANCELED), 0)
    assert check(state, intent(2, price_ticks=BID - 2)) == OK


def test_open_orders_refuse_when_the_order_table_itself_is_full(check: Any) -> None:
    state = new_account(slots=2)
    for n in range(2):
        admit(state, intent(n, price_ticks=BID - n))
    assert check(state, intent(2, price_ticks=BID - 2)) == RiskCode.OPEN_ORDERS


@pytest.mark.parametrize("kind", [None, ReportKind.ACK, ReportKind.UNKNOWN, ReportKind.PENDING_CANCEL])
@pytest.mark.parametrize("strategy", [0, 1])
def test_self_trade_is_refused_against_any_working_order_of_the_firm(check: Any, kind: ReportKind | None, strategy: int) -> None:
    state = new_account()
    for n, (side, price_ticks) in enumerate([(Side.SELL, ASK + 5), (Side.BUY, BID - 5)]):
        order = intent(n, side=side, price_ticks=price_ticks)
        admit(state, order)
        if kind is not None:
            risk.apply_report(state, report(order, kind), 0)
    mine = {"strategy": strategy, "qty_lots": 999}
    assert check(state, intent(2, **mine, price_ticks=ASK + 4)) == OK
    assert check(state, intent(2, **mine, price_ticks=ASK + 5)) == RiskCode.SELF_TRADE
    assert check(state, intent(2, **mine, side=Side.SELL, price_ticks=BID - 4)) == OK
    assert check(state, intent(2, **mine, side=Side.SELL, price_ticks=BID - 5)) == RiskCode.SELF_TRADE
    assert check(state, intent(2, **mine, instrument=1, price_ticks=ASK + 5)) == OK


@pytest.mark.parametrize("kind", [None, ReportKind.ACK, ReportKind.UNKNOWN, ReportKind.PENDING_CANCEL])
def test_position_counts_filled_working_and_unknown_in_full(check: Any, kind: ReportKind | None) -> None:
    state, first, second = new_account(), intent(0, qty_lots=400), intent(1, qty_lots=300)
    state.limits["position_max_lots"] = 1000
    admit(state, first)
    risk.apply_report(state, fill(first, 400), 0)
    admit(state, second)
    if kind is not None:
        risk.apply_report(state, report(second, kind), 0)
    assert check(state, intent(2, qty_lots=300, price_ticks=BID - 1)) == OK
    assert check(state, intent(2, qty_lots=301, price_ticks=BID - 1)) == RiskCode.MAX_POSITION
    assert check(state, intent(2, qty_lots=1400, side=Side.SELL, price_ticks=ASK)) == OK
    assert check(state, intent(2, qty_lots=1401, side=Side.SELL, price_ticks=ASK)) == RiskCode.MAX_POSITION


def test_position_beyond_its_limit_may_still_be_reduced_and_no_further(check: Any) -> None:
    state, order = new_account(), intent(0, qty_lots=5000)
    admit(state, order)
    risk.apply_report(state, fill(order, 5000), 0)
    state.limits["position_max_lots"] = 1000
    state.firm["gross_max_e8"] = 1
    assert check(state, intent(1, qty_lots=10)) == RiskCode.MAX_POSITION
    assert check(state, intent(1, qty_lots=5000, side=Side.SELL, price_ticks=ASK)) == OK
    state.firm["gross_max_e8"] = 10**18
    assert check(state, intent(1, qty_lots=6000, side=Side.SELL, price_ticks=ASK)) == OK
    assert check(state, intent(1, qty_lots=6001, side=Side.SELL, price_ticks=ASK)) == RiskCode.MAX_POSITION


def test_reduce_only_may_reach_zero_and_not_cross_it(check: Any) -> None:
    state, order = new_account(), intent(0, qty_lots=500)
    reduce_only = {"flags": OrderFlag.REDUCE_ONLY, "side": Side.SELL, "price_ticks": ASK}
    assert check(state, intent(1, qty_lots=500, **reduce_only)) == RiskCode.MAX_POSITION
    admit(state, order)
    risk.apply_report(state, fill(order, 500), 0)
    assert check(state, intent(1, qty_lots=500, **reduce_only)) == OK
    assert check(state, intent(1, qty_lots=501, **reduce_only)) == RiskCode.MAX_POSITION


def test_replace_counts_the_old_order_and_the_new_one(check: Any) -> None:
    state, old = new_account(), intent(0, qty_lots=600)
    state.limits["position_max_lots"] = 1000
    admit(state, old)
    replace = {"kind": IntentKind.REPLACE, "ref_order_id": int(old[0]["order_id"]), "price_ticks": BID - 1}
    assert check(state, intent(1, qty_lots=400, **replace)) == OK
    assert check(state, intent(1, qty_lots=401, **replace)) == RiskCode.MAX_POSITION


def test_gross_sums_worst_cases_over_instruments_in_the_base_currency(check: Any) -> None:
    state = new_account()
    state.instruments[1]["base_rate_e8"] = 2 * E8
    admit(state, intent(0, instrument=1, qty_lots=1000))
    mid_e8 = 60_000_050_000  # of 1000 lots
    state.firm["gross_max_e8"] = 3 * mid_e8
    assert check(state, intent(1, qty_lots=1000)) == OK
    state.firm["gross_max_e8"] = 3 * mid_e8 - 1
    assert check(state, intent(1, qty_lots=1000)) == RiskCode.MAX_GROSS


def test_gross_refuses_while_another_instrument_with_exposure_has_no_mark_or_rate(check: Any) -> None:
    for field, rows in (("mark_ticks_x2", "positions"), ("base_rate_e8", "instruments")):
        state = new_account()
        admit(state, intent(0, instrument=1))
        getattr(state, rows)[1][field] = 0
        risk.apply_report(state, report(intent(0, instrument=1), ReportKind.ACK), 0)
        assert check(state, intent(1)) == RiskCode.MAX_GROSS
        risk.apply_report(state, report(intent(0, instrument=1), ReportKind.CANCELED), 0)
        assert check(state, intent(1)) == OK, "nothing is exposed there any more"


def test_net_counts_long_against_short_over_instruments_and_what_works_on_one_side_only(check: Any) -> None:
    state = new_account()
    admit(state, intent(0, instrument=1, side=Side.SELL, price_ticks=ASK))
    state.firm["net_max_e8"] = 60_000_050_000
    assert check(state, intent(1, qty_lots=1000)) == OK and check(state, intent(1, qty_lots=1001)) == RiskCode.MAX_NET, "it only works"
    risk.apply_report(state, fill(intent(0, instrument=1, side=Side.SELL, price_ticks=ASK), 1000, price_ticks=ASK), 0)
    assert check(state, intent(1, qty_lots=2000)) == OK and check(state, intent(1, qty_lots=2001)) == RiskCode.MAX_NET, "it is short"
    assert check(state, intent(1, qty_lots=100, side=Side.SELL, price_ticks=ASK)) == RiskCode.MAX_NET
    state.firm["net_max_e8"] = 50_000_000_000
    assert check(state, intent(1, qty_lots=100)) == OK, "beyond its limit it may be reduced"


def test_concentration_is_the_share_of_the_gross_limit_that_one_base_asset_has_over_venues(check: Any) -> None:
    state = new_account(3, venues=2, rows={"base_asset": [0, 0, 1], "venue": [0, 1, 0]})
    state.firm["gross_max_e8"], state.firm["concentration_max_percent"] = 2 * 60_000_050_000, 50
    admit(state, intent(0, instrument=1, qty_lots=400))
    assert check(state, intent(1, qty_lots=600)) == OK and check(state, intent(1, qty_lots=601)) == RiskCode.CONCENTRATION
    assert check(state, intent(1, instrument=2, qty_lots=1000)) == OK
    assert check(state, intent(1, instrument=2, qty_lots=1001)) == RiskCode.CONCENTRATION
    state.firm["gross_max_e8"], state.firm["concentration_max_percent"] = 60_000_050_000, 30
    assert check(state, intent(1, instrument=1, side=Side.SELL, qty_lots=400, price_ticks=ASK)) == OK, "what adds nothing passes"


@pytest.mark.parametrize("reason", [VenueReason.MARKET_CLOSED, VenueReason.FILTER])
def test_nothing_is_sent_for_a_while_once_the_venue_has_said_that_the_market_is_closed(check: Any, reason: VenueReason) -> None:
    state, order = new_account(), intent(0)
    state.limits["book_age_max_ns"] = state.limits["closed_pause_ns"] = 5 * SECOND
    admit(state, order)
    risk.apply_report(state, report(order, ReportKind.REJECTED, reason=reason), 0)
    code = RiskCode.CANCEL_ONLY_MODE if reason == VenueReason.MARKET_CLOSED else OK
    end_ns = NOW + 5 * SECOND
    assert check(state, intent(1, qty_lots=900, decided_ns=end_ns - 1), end_ns - 1) == code
    assert check(state, intent(1, kind=IntentKind.CANCEL_ALL), NOW) == check(state, intent(1, instrument=1)) == OK
    assert check(state, intent(1, qty_lots=900, decided_ns=end_ns), end_ns) == OK
    assert state.breakers.counts[0].tolist() == [0, int(code == OK), 0], "a closed market is no fault of the strategy"


def test_a_strategy_whose_intents_are_late_too_often_is_paused_and_its_quotes_are_pulled(check: Any) -> None:
    state = new_account(3)
    state.allowed[0, 2] = 0
    state.firm["late_max"], state.firm["late_window_ns"] = 2, SECOND
    state.limits["book_age_max_ns"] = 10 * SECOND

    def decide(age_ns: int, at_ns: int, flags: int = OrderFlag.FROM_MARKET, strategy: int = 0) -> RiskCode:
        late = intent(1, flags=flags, received_ns=at_ns - age_ns, decided_ns=at_ns, strategy=strategy)
        risk.note_age(state, late, 0, at_ns)
        return check(state, late, at_ns)

    after_ns = int(state.firm[0]["late_after_ns"])
    for at_ns, age_ns, flags in ((0, after_ns, 4), (1, after_ns + 1, 0), (2, after_ns + 1, 4), (3, after_ns + 1, 4)):
        assert decide(age_ns, NOW + at_ns, flags) == OK
    assert not state.breakers.moves[:, PULL].any()
    assert decide(after_ns + 1, NOW + 2 + SECOND) == RiskCode.LATENCY_BUDGET
    assert state.breakers.moves[:, PULL].tolist() == [1, 1, 0] and decide(0, NOW + 2 + SECOND, strategy=1) == OK
    assert decide(0, NOW + 1 + 2 * SECOND) == RiskCode.LATENCY_BUDGET and decide(0, NOW + 2 + 2 * SECOND) == OK


def test_late_intents_over_more_than_the_window_pause_nobody(check: Any) -> None:
    state = new_account()
    state.firm["late_max"], state.firm["late_window_ns"], state.limits["book_age_max_ns"] = 1, SECOND, 10 * SECOND
    for k in range(5):
        at_ns = NOW + k * (SECOND + 1)
        late = intent(1, flags=OrderFlag.FROM_MARKET, received_ns=at_ns - SECOND, decided_ns=at_ns)
        risk.note_age(state, late, 0, at_ns)
        assert check(state, late, at_ns) == OK


def lose(state: RiskState, counter: int, lots: int, ticks: int, fee_e8: int = 0) -> None:
    """Buy `lots` and sell them `ticks` lower."""
    for n, (side, price_ticks) in enumerate([(Side.BUY, BID), (Side.SELL, BID - ticks)]):
        order = intent(counter + n, side=side, qty_lots=lots, price_ticks=price_ticks)
        admit(state, order)
        risk.apply_report(
            state, fill(order, lots, price_ticks=price_ticks, trade_id=counter + n, fee_e8=fee_e8, fee_asset=FeeAsset.QUOTE), 0
        )


def test_daily_loss_counts_realised_and_quote_fees_from_the_session_start(check: Any) -> None:
    state = new_account()
    lose(state, 0, 1000, 10, fee_e8=500)
    loss_e8 = 1000 * 10 * 10 + 2 * 500
    state.firm["daily_loss_max_e8"] = loss_e8
    assert check(state, intent(5)) in (OK, RiskCode.DUPLICATE_ORDER)
    state.firm["daily_loss_max_e8"] = loss_e8 - 1
    assert check(state, intent(5, qty_lots=999)) == RiskCode.DAILY_LOSS
    risk.start_session(state)
    assert check(state, intent(5, qty_lots=999)) == OK


def test_daily_loss_counts_the_open_position_at_the_mark(check: Any) -> None:
    state, order = new_account(), intent(0, price_ticks=BID)
    admit(state, order)
    risk.apply_report(state, fill(order, 1000), 0)
    tell(state, MarketKind.TOP, bid=BID - 20, ask=BID - 10)
    state.firm["daily_loss_max_e8"] = 15 * 1000 * 10
    assert check(state, intent(1, price_ticks=BID - 30)) == OK
    tell(state, MarketKind.TOP, bid=BID - 20, ask=BID - 11)
    assert check(state, intent(1, price_ticks=BID - 30)) == RiskCode.DAILY_LOSS


def test_orders_of_unknown_fate_stop_new_ones_at_their_venue_until_the_venue_says(check: Any) -> None:
    state = new_account(venues=2)
    state.instruments[1]["venue"] = 1
    tell_clock(state, row=1)
    state.firm["unknown_orders_max"] = 2
    sent = [intent(n, price_ticks=BID - n) for n in range(3)]
    for order in sent:
        admit(state, order)
    elsewhere = intent(9, instrument=1, price_ticks=BID - 9)
    for order, code in zip(sent[:2], (OK, RiskCode.UNKNOWN_ORDERS), strict=True):
        risk.apply_report(state, report(order, ReportKind.UNKNOWN), 0)
        assert (check(state, intent(8, price_ticks=BID - 8)), check(state, elsewhere)) == (code, OK)
    risk.apply_report(state, report(sent[2], ReportKind.ACK), 0)
    assert check(state, intent(8, price_ticks=BID - 8)) == RiskCode.UNKNOWN_ORDERS
    risk.apply_report(state, report(sent[0], ReportKind.CANCELED), 0)
    assert check(state, intent(8, price_ticks=BID - 8)) == OK


@pytest.mark.parametrize("kind", [MarketKind.TOP, MarketKind.QUOTE])
def test_a_wild_instrument_may_be_quoted_again_when_its_mid_has_stood_still_for_the_window(check: Any, kind: MarketKind) -> None:
    state = new_account()
    state.limits["move_max_bp"], state.limits["move_window_ns"] = 1, SECOND
    for received_ns, code in ((NOW, RiskCode.VOLATILITY), (NOW + SECOND // 2, RiskCode.VOLATILITY), (NOW + 2 * SECOND, OK)):
        tell(state, kind, bid=BID + 5000, ask=ASK + 5000, received_ns=received_ns)
        assert check(state, intent(decided_ns=received_ns), received_ns) == code


def test_a_fill_that_cannot_be_booked_halts_every_new_order(check: Any) -> None:
    state, order = new_account(), intent()
    admit(state, order)
    risk.apply_report(state, fill(order, 10, price_ticks=0), 0)
    assert check(state, intent(1)) == RiskCode.SYSTEM_HALTED
    state = new_account()
    risk.apply_report(state, fill(intent(3, instrument=55), 10), 0)
    assert check(state, intent(4)) == RiskCode.SYSTEM_HALTED


def test_dns_outage_never_terminates_order(check: Any) -> None:
    state, order = new_account(), intent()
    state.limits["position_max_lots"] = 1500
    admit(state, order)
    for _ in range(6):
        risk.apply_report(state, report(order, ReportKind.UNKNOWN), 0)
    assert check(state, intent(1, qty_lots=501)) == RiskCode.MAX_POSITION
    assert check(state, intent(1, qty_lots=500)) == OK


def test_check_changes_nothing_and_answers_the_same_again(check: Any) -> None:
    state = new_account()
    admit(state, intent(0))
    before = [np.copy(array) for array in flat(state)]
    for record in (intent(1, price_ticks=BID - 1), intent(1), intent(1, qty_lots=0), intent(1, kind=IntentKind.CANCEL)):
        assert check(state, record) == check(state, record)
    for kept, now in zip(before, flat(state), strict=True):
        np.testing.assert_array_equal(kept, now)


def flat(state: RiskState) -> list[Any]:
    """Every array of the state."""
    return [
        *state.orders,
        *state.breakers,
        *state.stops,
        *state.messages,
        *state.filled,
        *state.funds,
        *(array for array in state if isinstance(array, np.ndarray)),
    ]


#: (rows, field, +1 if more is tighter)
TIGHTER = [
    *(("limits", field, 1 if field == "duplicate_window_ns" else -1) for field in LIMITS.names if field != "reference_window_ns"),
    *(("firm", field, -1) for field in FIRM_LIMITS.names if field not in ("reserved", "send_age_max_ns")),
]


@pytest.mark.parametrize("seed", range(3))
def test_tightening_a_limit_never_admits_more(seed: int) -> None:
    state, _ = drive(seed, 60, KERNELS, False)
    chance, now_ns = random.Random(seed), int(state.tops[0, 2])
    for n in range(300):
        rows, field, tighter = chance.choice(TIGHTER)
        row, record, admitted = getattr(state, rows)[0], random_intent(chance, 1000 + n, state, now_ns), True
        kept = int(row[field])
        ladder = [max(kept * k // 8, 1) for k in range(17)] if tighter > 0 else [kept * k // 8 for k in range(16, -1, -1)]
        for value in ladder:
            row[field] = min(value, 10_000) if field.endswith("_bp") else value
            before, admitted = admitted, risk.check(state, record, 0, now_ns) == OK
            assert before or not admitted, f"seed {seed} intent {n}: {field} = {value} admits what a looser one refused"
        row[field] = kept


def random_intent(chance: random.Random, counter: int, state: RiskState, now_ns: int) -> Any:
    """An intent that is right in most ways and wrong in some."""
    side = chance.choice([1, -1])
    working = [int(o["order_id"]) for o in state.orders.rows if o["order_id"]]
    return intent(
        counter if chance.random() < 0.95 else max(counter - 30, 0),
        kind=chance.choices([1, 2, 3, 4], [40, 4, 2, 1])[0],
        ref_order_id=chance.choice(working) if working and chance.random() < 0.9 else 0,
        strategy=chance.randrange(2),
        instrument=chance.randrange(2),
        side=side,
        price_ticks=BID + chance.choice([-side * chance.randint(0, 3), -side, chance.randint(-60, 60), chance.randint(-400_000, 400_000)]),
        qty_lots=chance.choice([10, 500, 1000, 1000, 1000, chance.randint(1, 4000), chance.randint(-2000, 9000)]),
        flags=chance.choice([0, 0, 0, 0, 1, 2, 4]),
        received_ns=now_ns - chance.choice([0, 10_000_000, 10_000_001, 90_000_000]),
        decided_ns=now_ns - chance.choice([0, 0, 0, 0, 0, 0, 0, 1000, 50_000_000, 50_000_001]),
    )


def tight_account(chance: random.Random) -> RiskState:
    """Limits near enough for random traffic to meet all of them; each account is tight in a different place."""
    # Two instruments of one pair at two venues, or of two pairs at one.
    columns: dict[str, list[int]] = chance.choice([{"venue": [0, 1]}, {"base_asset": [0, 1]}]) | {"quote_asset": [2, 2]}
    state = new_account(slots=32, venues=2, rows=columns)
    state.limits["divergence_max_bp"] = chance.choice([1, 100])
    state.limits["reference_max_bp"], state.limits["reference_window_ns"] = (
        chance.choice([1, 40, *[10_000] * 4]),
        chance.choice([1, 30]) * SECOND,
    )
    state.firm["net_max_e8"] = chance.choice([2000 * E8, 100_000 * E8])
    state.firm["concentration_max_percent"] = chance.choice([20, 60, 100])
    state.firm["late_max"], state.firm["late_window_ns"] = chance.choice([(3, SECOND), (1000, SECOND)])
    state.limits["order_qty_max_lots"], state.limits["order_notional_max_e8"] = 6000, 3000 * E8
    state.limits["position_max_lots"] = chance.choice([4000, 9000, 100_000])
    state.limits["open_orders_max"] = chance.choice([2, 12, 40])
    state.firm["gross_max_e8"] = chance.choice([3000 * E8, 9000 * E8, 100_000 * E8])
    state.firm["daily_loss_max_e8"] = chance.choice([2 * E8, 40 * E8, 1000 * E8])
    state.firm["unknown_orders_max"] = chance.choice([1, 3, 100])
    state.firm["messages_per_fill_max"], state.firm["messages_window_ns"] = chance.choice([(4, 10 * SECOND), (1000, SECOND)])
    state.firm["filled_expected_e8"] = chance.choice([200 * E8, *[10**6 * E8] * 4])
    state.firm["filled_window_ns"], state.firm["filled_max_percent"] = SECOND, 300
    state.firm["fee_max_percent"] = chance.choice([500, *[10**6] * 4])
    state.firm["fills_max"], state.firm["rejects_max"] = chance.choice([2, 6, 1000]), chance.choice([1, 1, 1000])
    state.firm["rejects_window_ns"] = 10 * SECOND
    state.firm["drawdown_max_e8"] = chance.choice([3 * E8, 1000 * E8])
    state.firm["loss_rate_max_e8"], state.firm["loss_rate_window_ns"] = chance.choice([E8, 1000 * E8]), SECOND
    state.limits["move_window_ns"], state.limits["move_max_bp"] = SECOND, chance.choice([2, 10_000])
    state.limits["stop_loss_bp"] = chance.choice([1, 5, 10_000])
    state.firm["strategy_rate_per_s"], state.firm["firm_rate_per_s"] = chance.choice([(3, 5), (8, 10)])
    state.instruments["notional_min_e8"] = 6 * E8 + 5
    state.instruments[1]["base_rate_e8"] = 99_999_999
    for venue in range(2):
        state.funds.known[venue] = chance.choice([NO_ACCOUNT, SAID, SAID])
    for row, which, most_e8 in ((0, BASE, E8 // 10), (0, QUOTE, 5000 * E8), (1, BASE, E8 // 10), (1, QUOTE, 5000 * E8)):
        begin(state.funds, state.instruments, row, which, chance.choice([most_e8, 1000 * most_e8, chance.randrange(most_e8)]))
    return state


def random_market(chance: random.Random, now_ns: int) -> Any:
    """One MARKET record; most are ordinary tops."""
    market = np.zeros(1, MARKET)
    bid = BID + chance.choice([chance.randint(-30, 30)] * 9 + [1500])
    kind = chance.choices([3, 4, 6, 7, 5, 8, 2], [40, 40, 20, 1, 1, 5, 20])[0]
    market[0]["kind"], market[0]["instrument"], market[0]["received_ns"] = kind, chance.randrange(2), now_ns
    if kind in (MarketKind.TOP, MarketKind.QUOTE):
        market[0]["price_ticks"], market[0]["ask_ticks"] = bid, bid + chance.choices([10, 1, 5, 0], [20, 5, 5, 1])[0]
        market[0]["exchange_ns"] = chance.choices([0, now_ns + UTC_NS, now_ns + UTC_NS - 800_000_000], [10, 20, 1])[0]
    elif kind == MarketKind.TRADE:
        market[0]["price_ticks"] = bid
    elif kind == MarketKind.CLOCK:
        market[0]["exchange_ns"] = now_ns + UTC_NS
        market[0]["venue_id"] = chance.choice([*[0] * 6, 1, -1]) * (250_000_000 + chance.randrange(2))
    return market


def random_report(chance: random.Random, order: Any, state: RiskState, step: int) -> Any:
    """A report about one of the orders; fills are mostly consistent."""
    slot = (
        [int(o["order_id"]) for o in state.orders.rows].index(int(order[0]["order_id"]))
        if order[0]["order_id"] in state.orders.rows["order_id"]
        else -1
    )
    if slot >= 0 and chance.random() < 0.6:
        taken, leaves = int(state.orders.rows[slot]["cum_lots"]), int(state.orders.rows[slot]["leaves_lots"])
        lots = chance.randint(1, max(leaves, 1))
        price = int(order[0]["price_ticks"]) + chance.randint(-1000, 1000)
        return fill(order, lots, taken + lots, price, step, fee_e8=chance.randint(-9, 3000), fee_asset=chance.randrange(3))
    return report(
        order, chance.choice([*(k for k in ReportKind if k not in (ReportKind.TRADE, ReportKind.REFUSED)), *[ReportKind.REJECTED] * 3])
    )


def drive(seed: int, steps: int, kernels: Any, twin_wanted: bool) -> tuple[RiskState, Counter[RiskCode]]:
    """Random market, intents and reports; assert that the twin, if wanted, answers each check the same."""
    chance, now_ns, records, codes = random.Random(seed), NOW, [], Counter[RiskCode]()
    state = tight_account(chance)
    twin = NaiveRisk(state, EPOCH, 32) if twin_wanted else None
    for row in range(2):
        if twin is not None:
            twin.valid[row], twin.touch[row], twin.mark[row] = True, (BID, ASK, NOW), BID + ASK
            twin.first_mid[row] = Fraction(BID + ASK, 2)
            twin.breakers.on_mid(row, BID + ASK, NOW)
            twin.breakers.on_pnl(0, NOW)
            twin.clocks[int(state.instruments[row]["venue"])] = 0, UTC_NS
    check, approve, on_top, apply_report, observe_reduce, note_age = kernels
    for step in range(steps):
        now_ns += chance.choice([0, 1000, 10_000_000, 40_000_000])
        pick, where = chance.random(), f"seed {seed} step {step}"
        if pick < 0.35:
            market = random_market(chance, now_ns - chance.choice([0] * 9 + [600_000_000]))
            on_top(state, market, 0)
            if twin is not None:
                twin.on_market(market[0])
        elif pick < 0.6 and records:
            record = random_report(chance, chance.choice(records), state, step)
            record["reported_ns"], record["reason"] = (
                now_ns,
                chance.choice([0, 0, VenueReason.FILTER, VenueReason.WOULD_TAKE, VenueReason.MARKET_CLOSED]),
            )
            outcome = apply_report(state, record, 0)
            assert twin is None or twin.on_report(record[0]) == outcome, where
            for row in range(2):
                if chance.random() < (0.1 if state.stops.reducing[row] else 0.003):
                    word = 0 if state.stops.reducing[row] else 1
                    observe_reduce(state, row, word)
                    if twin is not None:
                        twin.stops.on_word(row, word, twin.mark[row])
            for scope in np.flatnonzero(state.breakers.tripped):
                if chance.random() < 0.1:
                    risk.arm(state, int(scope))
                    if twin is not None:
                        twin.arm(-1 if scope == 2 else int(scope))
        else:
            record = random_intent(chance, step, state, now_ns)
            note_age(state, record, 0, now_ns)
            if twin is not None:
                twin.on_intent(record[0], now_ns)
            code = RiskCode(check(state, record, 0, now_ns))
            assert twin is None or twin.check(record[0], now_ns) == code, where
            codes[code] += 1
            if code == OK:
                approve(state, record, 0, now_ns)
                if twin is not None:
                    twin.approve(record[0], now_ns)
                if record[0]["kind"] in (IntentKind.NEW, IntentKind.REPLACE):
                    records = [*records[-40:], record]
    return state, codes


KERNELS = (risk.check, risk.approve, risk.on_top, risk.apply_report, risk.observe_reduce, risk.note_age)


def test_risk_equals_the_naive_twin_on_random_traffic() -> None:
    seen: Counter[RiskCode] = Counter()
    for seed in range(64):
        seen += drive(seed, 500, KERNELS, True)[1]
    absent = set(RiskCode) - set(seen)
    assert absent <= {
        *(RiskCode.SYSTEM_HALTED, RiskCode.INSTRUMENT_NOT_ALLOWED, RiskCode.STRATEGY_NOT_APPROVED, RiskCode.TICK_LOT),
        RiskCode.RING_BACKPRESSURE,
    }, f"random traffic never met {absent}"


@pytest.mark.load
def test_risk_equals_the_naive_twin_on_much_random_traffic() -> None:
    for seed in range(1000, 1200):
        drive(seed, 1500, KERNELS, True)


def test_risk_bodies_leave_equal_states_after_equal_histories() -> None:
    plain = tuple(getattr(kernel, "py_func", kernel) for kernel in KERNELS)
    for seed in range(3):
        compiled_state, compiled_codes = drive(seed, 400, KERNELS, False)
        plain_state, plain_codes = drive(seed, 400, plain, False)
        assert compiled_codes == plain_codes, f"seed {seed}"
        for mine, other in zip(flat(compiled_state), flat(plain_state), strict=True):
            np.testing.assert_array_equal(mine, other, err_msg=f"seed {seed}")


def test_sums_over_instruments_equal_a_recomputation_after_random_traffic() -> None:
    for seed in range(4):
        state, _ = drive(seed, 500, KERNELS, False)
        totals = state.totals.copy()
        state.tops[:, [*range(4, 7), LONG_E8, SHORT_E8]] = 0
        state.totals[SUMS] = 0
        assets, state.assets[:] = state.assets.copy(), 0
        for row in range(2):
            risk.refresh(state, row)
        np.testing.assert_array_equal(state.totals[SUMS], totals[SUMS], err_msg=f"seed {seed}")
        np.testing.assert_array_equal(state.assets, assets, err_msg=f"seed {seed}")


def test_halt_words_are_laid_out_as_halt_firm_venues_strategies() -> None:
    state = new_account(venues=3, strategies=4)
    assert (HALT, VENUE_KILL, len(state.halts)) == (0, 2, 2 + 3 + 4)
