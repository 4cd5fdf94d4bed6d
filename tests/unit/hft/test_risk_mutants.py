"""Risk mutants: for each control, an order that it refuses, and that passes once its check is removed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hft import risk
from hft.controls import CONTROLS
from hft.funds import SAID
from hft.orders import order_id
from hft.records import IntentKind, MarketKind, OrderFlag, ReportKind, RiskCode, Side, VenueReason
from hft.risk_state import HALT, RiskState, observe_reduce
from hft.topology import ORDER_SLOTS_FOR_CANCELS
from hft.units import E8
from processes import risk as stage
from shm.jit import JIT_ENABLED
from support.engine import Bench
from support.risk_account import ASK, BID, EPOCH, NOW, admit, fill, intent, new_account, report, tell, tell_clock
from support.risk_mutants import check_without

Case = tuple[RiskState, Any]


def with_limit(field: str, value: int, **fields: int) -> Case:
    """An order against one limit of its instrument."""
    state = new_account()
    state.limits[field] = value
    return state, intent(1, **fields)


def with_firm(field: str, value: int, **fields: int) -> Case:
    """An order against one limit of the firm."""
    state = new_account()
    state.firm[field] = value
    return state, intent(1, **fields)


def with_row(field: str, value: int, **fields: int) -> Case:
    """An order against one property of its instrument."""
    state = new_account()
    state.instruments[field] = value
    return state, intent(1, **fields)


def after(state: RiskState, *told: Callable[[RiskState], object], **fields: int) -> Case:
    """An order after things have happened."""
    for happens in told:
        happens(state)
    return state, intent(9, **({"price_ticks": BID - 50} | fields))


def trades(counter: int, price_ticks: int = BID, **fields: int) -> Callable[[RiskState], object]:
    """An order of 1000 lots is filled at a price."""

    def happen(state: RiskState) -> None:
        order = intent(counter, price_ticks=BID - counter)
        admit(state, order)
        risk.apply_report(state, fill(order, 1000, price_ticks=price_ticks, trade_id=counter + 1, **fields), 0)

    return happen


def reports(kind: ReportKind, counter: int = 0, **fields: int) -> Callable[[RiskState], object]:
    """An order gets a report."""

    def happen(state: RiskState) -> None:
        order = intent(counter, price_ticks=BID - counter)
        admit(state, order)
        risk.apply_report(state, report(order, kind, **fields), 0)

    return happen


def late(state: RiskState) -> None:
    """Two late intents, one more than a strategy may have."""
    state.firm["late_max"] = 1
    for counter in range(2):
        risk.note_age(state, intent(counter, flags=OrderFlag.FROM_MARKET, received_ns=0), 0, NOW)


def firm(field: str, value: int) -> Callable[[RiskState], object]:
    """Set a limit of the firm before anything happens."""
    return lambda state: state.firm.__setitem__(field, value)


def limit(field: str, value: int) -> Callable[[RiskState], object]:
    """Set a limit of every instrument before anything happens."""
    return lambda state: state.limits.__setitem__(field, value)


def works(counter: int = 0, **fields: int) -> Callable[[RiskState], object]:
    """An order works."""
    return lambda state: admit(state, intent(counter, **fields))


def marks(bid: int, row: int = 0) -> Callable[[RiskState], object]:
    """The book moves."""
    return lambda state: tell(state, MarketKind.TOP, row=row, bid=bid, ask=bid + 10)


GROSS = 60_000_050_000  #: 1000 lots at the mid

CASES: dict[RiskCode, Callable[[], Case]] = {
    RiskCode.INSTRUMENT_NOT_ALLOWED: lambda: after(new_account(), lambda s: s.allowed.fill(0)),
    RiskCode.STRATEGY_NOT_APPROVED: lambda: after(new_account(), lambda s: s.approved.fill(0)),
    RiskCode.REPEATED_EXECUTION: lambda: after(new_account(), firm("fills_max", 1), trades(0), trades(1)),
    RiskCode.REJECT_STORM: lambda: after(
        new_account(), firm("rejects_max", 1), reports(ReportKind.REJECTED, 0), reports(ReportKind.REJECTED, 1)
    ),
    RiskCode.FEE_SANITY: lambda: after(new_account(), firm("fee_max_percent", 100), trades(0, fee_e8=60_000_002)),
    RiskCode.FILL_RATE_ANOMALY: lambda: after(
        new_account(), firm("filled_expected_e8", 300 * E8), firm("filled_max_percent", 199), trades(0)
    ),
    RiskCode.DRAWDOWN: lambda: after(new_account(), firm("drawdown_max_e8", E8), trades(0, BID + 50_000)),
    RiskCode.LOSS_RATE: lambda: after(new_account(), firm("loss_rate_max_e8", E8), trades(0, BID + 50_000)),
    RiskCode.LATENCY_BUDGET: lambda: after(new_account(), late),
    RiskCode.SYSTEM_HALTED: lambda: after(new_account(), lambda s: s.halts.__setitem__(HALT, 1)),
    RiskCode.INTENT_STALE: lambda: with_firm("intent_age_max_ns", 100, decided_ns=NOW - 101),
    RiskCode.CLIENT_ID_REUSE: lambda: after(new_account(), works(3), order_id=order_id(EPOCH, 0, 3)),
    RiskCode.UNKNOWN_ORDER: lambda: after(new_account(), kind=IntentKind.REPLACE, ref_order_id=77),
    RiskCode.NON_FINITE_OR_SIGN: lambda: after(new_account(), tif=4),
    RiskCode.TICK_LOT: lambda: with_row("qty_lots_max", 999),
    RiskCode.MIN_QTY_NOTIONAL: lambda: with_row("notional_min_e8", BID * 1000 * 10 + 1),
    RiskCode.MAX_ORDER_QTY: lambda: with_limit("order_qty_max_lots", 999),
    RiskCode.MAX_ORDER_NOTIONAL: lambda: with_limit("order_notional_max_e8", BID * 1000 * 10 - 1),
    RiskCode.CANCEL_ONLY_MODE: lambda: after(new_account(), reports(ReportKind.REJECTED, reason=VenueReason.MARKET_CLOSED)),
    RiskCode.BOOK_INVALID: lambda: after(new_account(), lambda s: tell(s, MarketKind.INVALID)),
    RiskCode.VOLATILITY: lambda: after(new_account(), limit("move_max_bp", 1), marks(BID + 10_000), price_ticks=BID),
    RiskCode.CLOCK_UNSAFE: lambda: after(new_account(), lambda s: tell_clock(s, 250_000_001)),
    RiskCode.STALE_BOOK: lambda: after(new_account(), lambda s: s.tops.__setitem__((0, 2), NOW - 600_000_000)),
    RiskCode.CROSS_VENUE_DIVERGENCE: lambda: after(new_account(venues=2, rows={"venue": [0, 1]}), marks(BID + 100_000, row=1)),
    RiskCode.PRICE_COLLAR_TOUCH: lambda: after(new_account(), price_ticks=BID - BID // 20 - 1),
    RiskCode.PRICE_COLLAR_REF: lambda: after(
        new_account(), limit("reference_max_bp", 10), lambda s: tell(s, MarketKind.TRADE, bid=BID - BID // 500), price_ticks=BID
    ),
    RiskCode.ORDER_RATE: lambda: after(new_account(), lambda s: s.buckets.fill(0), lambda s: s.buckets[:, 1].fill(NOW)),
    RiskCode.ORDER_TO_TRADE: lambda: after(new_account(), firm("messages_per_fill_max", 1), works()),
    RiskCode.DUPLICATE_ORDER: lambda: after(new_account(), works(0, price_ticks=BID - 50)),
    RiskCode.OPEN_ORDERS: lambda: after(new_account(), limit("open_orders_max", 1), works()),
    RiskCode.UNKNOWN_ORDERS: lambda: after(new_account(), firm("unknown_orders_max", 1), reports(ReportKind.UNKNOWN)),
    RiskCode.SELF_TRADE: lambda: after(new_account(), works(side=Side.SELL, price_ticks=ASK), price_ticks=ASK),
    RiskCode.MAX_POSITION: lambda: with_limit("position_max_lots", 999),
    RiskCode.STOP_LOSS: lambda: after(
        new_account(), limit("stop_loss_bp", 10), trades(0), marks(BID - BID // 500), price_ticks=BID - 13_000
    ),
    RiskCode.REDUCE_ONLY_MODE: lambda: after(new_account(), lambda s: observe_reduce(s, 0, 1)),
    RiskCode.MAX_GROSS: lambda: after(
        new_account(rows={"base_asset": [0, 1]}), firm("gross_max_e8", 2 * GROSS - 1), works(instrument=1), price_ticks=BID
    ),
    RiskCode.MAX_NET: lambda: with_firm("net_max_e8", GROSS - 1),
    RiskCode.CONCENTRATION: lambda: after(new_account(), firm("gross_max_e8", 2 * GROSS - 2), firm("concentration_max_percent", 50)),
    RiskCode.DAILY_LOSS: lambda: after(new_account(), firm("daily_loss_max_e8", E8), trades(0, BID + 50_000)),
    RiskCode.BALANCE: lambda: after(new_account(), lambda s: s.funds.known.fill(SAID)),
}

#: What the stage itself refuses; see below.
BY_THE_STAGE = {RiskCode.RING_BACKPRESSURE}


def test_every_control_has_a_mutant() -> None:
    assert {control.code for control in CONTROLS} == set(CASES) | BY_THE_STAGE


@pytest.mark.parametrize("code", CASES, ids=lambda code: code.name)
def test_an_order_that_a_control_refuses_passes_once_its_check_is_removed(code: RiskCode) -> None:
    state, order = CASES[code]()
    assert RiskCode(risk.check(state, order, 0, NOW)) == code
    mutant, removed = check_without(code)
    assert removed > 0 and RiskCode(mutant(state, order, 0, NOW)) == RiskCode.OK
    for other in CASES:
        if other != code:
            assert RiskCode(check_without(other)[0](state, order, 0, NOW)) == code, f"{other.name} is not what refuses it"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with Bench(tmp_path, None, ["risk"]) as bench:
        bench.put("market.binance.risk", bench.tops(0))
        bench.turn("risk")
        yield bench


@pytest.mark.skipif(JIT_ENABLED, reason="a compiled kernel calls what it was compiled with")
def test_an_order_takes_the_slots_of_cancels_once_nobody_asks_for_room(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for mutant in (False, True):
        if mutant:
            monkeypatch.setattr(stage, "has_room", lambda ring, count: True)
        bench.fill("orders.risk.binance", leave=ORDER_SLOTS_FOR_CANCELS)
        bench.put("intents.mm.risk", bench.intent(price_ticks=BID - 100 - mutant))
        bench.turn("risk")
        refused = [RiskCode(reason).name for reason in bench.take("reports.risk.mm")["reason"]]
        assert refused == ([] if mutant else ["RING_BACKPRESSURE"])
        bench.take("orders.risk.binance")
