"""Stops: a position on both sides of its stop-loss, and what passes while its instrument may only be reduced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hft import risk
from hft.breakers import ANY_PULL, ANY_TRIP, PULL
from hft.control import DIFFERING
from hft.records import IntentKind, MarketKind, ReportKind, RiskCode, Side
from hft.risk_state import RiskState, observe_reduce
from support.risk_account import ASK, BID, NOW, admit, fill, intent, new_account, report, tell

OK, STOP, REDUCE = RiskCode.OK, RiskCode.STOP_LOSS, RiskCode.REDUCE_ONLY_MODE


@pytest.fixture(params=["jit", "py"])
def check(request: pytest.FixtureRequest) -> Callable[..., RiskCode]:
    """`risk.check` of record 0, compiled and as plain Python."""
    kernel = risk.check if request.param == "jit" else getattr(risk.check, "py_func", risk.check)
    return lambda state, records, now_ns=NOW: RiskCode(kernel(state, records, 0, now_ns))


def holding(lots: int = 1000, strategy: int = 0, state: RiskState | None = None, counter: int = 0, bp: int = 100) -> RiskState:
    """An account in which a strategy bought (or sold) at BID, with stops at `bp`."""
    state = state or new_account()
    state.limits["stop_loss_bp"] = bp
    side = Side.BUY if lots > 0 else Side.SELL
    order = intent(counter, side=side, strategy=strategy, qty_lots=abs(lots), price_ticks=BID - 10 if lots > 0 else ASK + 10)
    admit(state, order)
    risk.apply_report(state, fill(order, abs(lots), price_ticks=BID, trade_id=counter + 1), 0)
    return state


def mark(state: RiskState, mid_x2: int) -> None:
    tell(state, MarketKind.TOP, bid=(mid_x2 - 1) // 2, ask=mid_x2 // 2 + 1)


def buys(counter: int = 9, **fields: int) -> Any:
    return intent(counter, **({"price_ticks": BID - 220_000} | fields))


def sells(counter: int = 9, **fields: int) -> Any:
    return buys(counter, **({"side": Side.SELL, "price_ticks": BID + 100_000} | fields))


@pytest.mark.parametrize(("lots", "at_limit"), [(1000, 2 * BID * 99 // 100), (-1000, 2 * BID * 101 // 100)])
def test_a_position_may_lose_its_limit_and_no_more(check: Any, lots: int, at_limit: int) -> None:
    state = holding(lots)
    mark(state, at_limit)
    assert check(state, buys()) == OK and check(state, sells()) == OK
    mark(state, at_limit - lots // 1000)
    grows, shrinks = (buys, sells) if lots > 0 else (sells, buys)
    assert check(state, grows()) == STOP and check(state, shrinks(qty_lots=1000)) == OK
    assert check(state, shrinks(qty_lots=1001)) == STOP, "across zero is no reduction"
    assert check(state, grows(instrument=1)) == OK
    mark(state, 2 * BID)
    assert check(state, grows()) == STOP, "a price that comes back ends nothing"


def test_a_stop_that_trips_has_the_quotes_pulled_and_its_word_set_once(check: Any) -> None:
    state = holding()
    mark(state, 2 * BID * 98 // 100)
    words = state.breakers.words
    assert state.stops.reducing.tolist() == [STOP, 0] and state.stops.untold.tolist() == [1, 0]
    assert state.breakers.moves[:, PULL].tolist() == [1, 0] and words[ANY_PULL] == words[ANY_TRIP] == 1
    state.stops.untold[0] = state.breakers.moves[0, PULL] = words[ANY_TRIP] = 0
    mark(state, 2 * BID * 97 // 100)
    observe_reduce(state, 0, int(STOP))
    assert state.stops.untold[0] == state.breakers.moves[0, PULL] == words[ANY_TRIP] == 0


def test_a_fill_at_a_bad_price_trips_like_a_mark(check: Any) -> None:
    state = new_account()
    state.limits["stop_loss_bp"] = 10
    order = intent(0)
    admit(state, order)
    risk.apply_report(state, fill(order, 1000, price_ticks=BID + 100_000), 0)
    assert check(state, buys()) == STOP


def test_each_strategys_position_has_a_stop_of_its_own(check: Any) -> None:
    state = holding(-1000, 1, holding(1000, 0), 1)
    assert state.positions[0]["position_lots"] == 0
    mark(state, 2 * BID * 98 // 100)
    assert check(state, buys()) == STOP, "the firm is flat, and has lost nothing"
    assert check(state, sells(qty_lots=1000)) == OK and check(state, sells(strategy=1)) == STOP
    assert check(state, buys(strategy=1, qty_lots=1000)) == OK


@pytest.mark.parametrize("kind", [None, ReportKind.ACK, ReportKind.UNKNOWN, ReportKind.PENDING_CANCEL])
def test_what_works_on_the_reducing_side_counts_in_full_while_only_reducing(check: Any, kind: ReportKind | None) -> None:
    state, order = holding(), sells(1, qty_lots=400)
    admit(state, order)
    if kind is not None:
        risk.apply_report(state, report(order, kind), 0)
    admit(state, sells(2, strategy=1, qty_lots=5000, price_ticks=BID + 100_001))
    observe_reduce(state, 0, 1)
    assert check(state, sells(qty_lots=600)) == OK and check(state, sells(qty_lots=601)) == REDUCE


def test_an_instrument_is_reduce_only_as_long_as_its_word_is_set(check: Any) -> None:
    state = new_account()
    observe_reduce(state, 0, 1)
    assert check(state, buys()) == check(state, sells()) == REDUCE and check(state, buys(instrument=1)) == OK
    assert check(state, buys(kind=IntentKind.CANCEL_ALL)) == OK and state.breakers.moves[0, PULL] == 1
    observe_reduce(state, 0, 0)
    assert check(state, buys()) == OK


def test_a_loss_that_was_armed_is_forgiven_and_as_much_again_is_not(check: Any) -> None:
    state = holding()
    mark(state, 2 * BID * 98 // 100)
    assert check(state, buys()) == STOP
    observe_reduce(state, 0, int(STOP))
    observe_reduce(state, 0, 0)
    mark(state, 2 * BID * 97 // 100)
    assert check(state, buys()) == OK
    mark(state, 2 * BID * 97 // 100 - 1)
    assert check(state, buys()) == STOP


def test_where_ledger_and_venue_differ_only_reducing_passes_and_nothing_is_forgiven_when_they_agree(check: Any) -> None:
    state = holding()
    mark(state, 2 * BID * 99 // 100)
    observe_reduce(state, 0, DIFFERING)
    assert check(state, buys()) == REDUCE and check(state, sells(qty_lots=1000)) == OK and state.breakers.moves[0, PULL] == 1
    mark(state, 2 * BID * 98 // 100)
    assert state.stops.untold[0] == 0, "what is held is not known"
    observe_reduce(state, 0, 0)
    assert check(state, buys()) == OK
    mark(state, 2 * BID * 98 // 100 - 2)
    assert check(state, buys()) == STOP, "the loss counts as it did before"


@pytest.mark.parametrize("word", [1, int(STOP)])
def test_a_difference_neither_hides_nor_ends_another_reason_to_reduce(check: Any, word: int) -> None:
    code = STOP if word == STOP else REDUCE
    state = new_account()
    for seen in (DIFFERING, word):
        observe_reduce(state, 0, seen)
    assert check(state, buys()) == code
    observe_reduce(state, 0, DIFFERING)
    assert check(state, buys()) == REDUCE, "armed, and still different"
    observe_reduce(state, 0, 0)
    assert check(state, buys()) == OK


def test_what_was_forgiven_ends_with_its_position(check: Any) -> None:
    state = holding()
    mark(state, 2 * BID * 90 // 100)
    observe_reduce(state, 0, int(STOP))
    observe_reduce(state, 0, 0)
    mark(state, 2 * BID)
    order = sells(5, qty_lots=1000)
    admit(state, order)
    risk.apply_report(state, fill(order, 1000, price_ticks=BID, trade_id=50), 0)
    holding(1001, 0, state, 6)
    mark(state, 2 * BID * 99 // 100 - 1)
    assert check(state, buys()) == STOP


def test_what_is_too_small_to_trade_has_no_stop(check: Any) -> None:
    state = holding(1000)
    value_e8 = BID * 98 // 100 * 1000 * 10
    for minimum_e8, code in ((value_e8 + 1, OK), (value_e8, STOP)):
        state.instruments["notional_min_e8"] = minimum_e8
        mark(state, 2 * BID)
        mark(state, 2 * BID * 98 // 100)
        state.instruments["notional_min_e8"] = 0
        assert check(state, buys()) == code


@pytest.mark.parametrize("field", ["stop_loss_bp", "stop_action"])
def test_a_stop_without_a_limit_refuses_everything(check: Any, field: str) -> None:
    state = new_account()
    state.limits[field] = 0
    assert check(state, buys()) == STOP
