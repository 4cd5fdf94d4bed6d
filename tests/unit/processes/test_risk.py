"""Risk stage: what it approves is an order, everything else goes back with a code; cancels always find room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft import control
from hft.config import Config
from hft.counters import RiskCounter
from hft.limit_changes import name_word
from hft.orders import order_id
from hft.records import (
    INTENT,
    MARKET,
    InputKind,
    IntentKind,
    InvalidReason,
    JournalKind,
    MarketFlag,
    MarketKind,
    OrderState,
    ReportKind,
    RiskCode,
    VenueReason,
)
from hft.tables import build_tables
from hft.topology import ORDER_SLOTS_FOR_CANCELS
from hft.units import E8
from processes.limit_log import append, limit_of
from processes.recovery import empty_positions, pack_rows
from shm.jit import JIT_ENABLED
from support.engine import BTC, SELL, Bench, paper_config, row, two_strategies
from support.risk_rings import INTENTS, MARKETS, ORDERS, REFUSALS, REPORTS, STAGE


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Risk with a valid book of each instrument."""
    with Bench(tmp_path, None, [STAGE]) as bench:
        bench.put(MARKETS, bench.tops(0), bench.tops(1, 260_000, 260_010))
        bench.turn(STAGE)
        yield bench


def judge(bench: Bench, *intents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What came out for these intents: orders, refusals."""
    bench.put(INTENTS, *intents)
    bench.turn(STAGE)
    return bench.take(ORDERS), bench.take(REFUSALS)


def test_good_intent_becomes_an_order_with_every_field_and_its_approval(bench: Bench) -> None:
    intent = bench.intent()
    orders, refusals = judge(bench, intent)
    assert len(orders) == 1 and len(refusals) == 0
    for field in INTENT.names or ():
        if field != "reserved":
            assert orders[0][field] == intent[0][field], field
    assert orders[0]["approved_ns"] >= bench.now_ns and orders[0]["sent_ns"] == 0
    assert bench.counter(STAGE, RiskCounter.APPROVED) == 1 and bench.counter(STAGE, RiskCounter.INTENTS) == 1


def test_input_is_journaled_before_the_order_and_the_order_is_what_was_published(bench: Bench) -> None:
    before = len(bench.kinds(STAGE))
    orders, _ = judge(bench, bench.intent())
    assert bench.kinds(STAGE)[before:] == ["INPUT", "ORDER"]
    entry = bench.entries(STAGE)[-1]
    assert entry.records().tobytes() == orders.tobytes() and entry.aux == 1


def test_refusal_goes_to_the_strategys_own_ring_with_the_code_and_is_journaled(bench: Bench) -> None:
    intent = bench.intent(qty_lots=10_001)
    orders, refusals = judge(bench, intent)
    assert len(orders) == 0 and len(refusals) == 1
    refusal = refusals[0]
    assert (refusal["reason"], refusal["kind"], refusal["state"]) == (RiskCode.MAX_ORDER_QTY, ReportKind.REFUSED, OrderState.REJECTED)
    for field in ("order_id", "price_ticks", "qty_lots", "strategy", "instrument", "side", "received_ns", "decided_ns"):
        assert refusal[field] == intent[0][field], field
    assert bench.counter(STAGE, RiskCounter.REFUSED) == 1
    assert bench.counter(STAGE, RiskCounter.LAST_REFUSAL) == RiskCode.MAX_ORDER_QTY
    assert bench.counter(STAGE, RiskCounter.REFUSED_BY_CODE + 10) == 1
    entry = bench.entries(STAGE)[-1]
    assert entry.kind == JournalKind.VERDICT and entry.records().tobytes() == refusals.tobytes() and entry.aux == 2


def test_a_refused_order_is_no_exposure_and_uses_up_nothing(bench: Bench) -> None:
    judge(bench, bench.intent(qty_lots=10_001))
    assert bench.stage(STAGE).context.state.orders.counts.tolist() == [0, 0]
    same_id = bench.intent(order_id=order_id(1, 0, 1))
    orders, _ = judge(bench, same_id)
    assert len(orders) == 1


def test_full_refusals_ring_still_journals_and_counts_what_it_could_not_say(bench: Bench) -> None:
    bench.fill(REFUSALS, leave=0)
    bench.put(INTENTS, bench.intent(qty_lots=10_001))
    bench.turn(STAGE)
    assert bench.counter(STAGE, RiskCounter.REFUSALS_DROPPED) == 1
    entry = bench.entries(STAGE)[-1]
    assert entry.kind == JournalKind.VERDICT and entry.aux == 0, "it went to no ring"


@pytest.mark.parametrize("strategy", [-1, 1, 7, 2**31 - 1])
def test_intent_of_another_strategy_than_its_rings_is_refused(bench: Bench, strategy: int) -> None:
    orders, refusals = judge(bench, bench.intent(strategy=strategy))
    assert len(orders) == 0 and refusals["reason"].tolist() == [RiskCode.STRATEGY_NOT_APPROVED]
    assert len(judge(bench, bench.intent())[0]) == 1


@pytest.mark.skipif(JIT_ENABLED, reason="rings of two strategies are types of their own, a minute to compile")
def test_intent_in_the_name_of_another_strategy_is_refused_to_the_one_whose_ring_it_came_from(tmp_path: Path) -> None:
    with Bench(tmp_path, two_strategies(), [STAGE]) as bench:
        bench.put(MARKETS, bench.tops())
        forged, own = bench.intent(strategy=1, order_id=order_id(1, 1, 1)), bench.intent(strategy=1, order_id=order_id(1, 1, 2))
        orders, refusals = judge(bench, forged)
        assert len(orders) == 0 and refusals["reason"].tolist() == [RiskCode.STRATEGY_NOT_APPROVED]
        assert len(bench.take("reports.risk.arb")) == 0
        bench.put("intents.arb.risk", own)
        bench.turn(STAGE)
        assert bench.take(ORDERS)["strategy"].tolist() == [1]
        bench.control[control.kill_strategy(0)] = 1
        bench.put("intents.arb.risk", bench.intent(strategy=1, order_id=order_id(1, 1, 3), price_ticks=5_999_800))
        orders, refusals = judge(bench, bench.intent())
        assert orders["strategy"].tolist() == [1] and refusals["reason"].tolist() == [RiskCode.SYSTEM_HALTED]


@pytest.mark.parametrize("instrument", [-1, 2, 2**31 - 1])
def test_intent_for_no_instrument_is_refused(bench: Bench, instrument: int) -> None:
    orders, refusals = judge(bench, bench.intent(instrument=instrument))
    assert len(orders) == 0 and refusals["reason"].tolist() == [RiskCode.INSTRUMENT_NOT_ALLOWED]


HALTS = [control.HALT, control.CANCEL_ALL, control.KILL_FIRM, control.kill_venue(0), control.kill_strategy(0)]


@pytest.mark.parametrize("word", HALTS)
def test_halt_in_any_scope_refuses_new_orders_and_passes_cancels(bench: Bench, word: int) -> None:
    working, _ = judge(bench, bench.intent())
    bench.control[word] = 1
    cancel = bench.intent(kind=IntentKind.CANCEL, ref_order_id=int(working[0]["order_id"]))
    orders, refusals = judge(bench, bench.intent(price_ticks=5_999_800), cancel)
    assert refusals["reason"].tolist() == [RiskCode.SYSTEM_HALTED]
    assert orders["kind"].tolist() == [IntentKind.CANCEL]
    bench.control[word] = 0
    orders, refusals = judge(bench, bench.intent(price_ticks=5_999_700))
    assert len(orders) == 1 and len(refusals) == 0


def test_another_strategys_kill_halts_nobody_here(bench: Bench) -> None:
    bench.control[control.kill_strategy(1)] = bench.control[control.kill_venue(1)] = 1
    assert len(judge(bench, bench.intent())[0]) == 1


@pytest.mark.parametrize("kind", [IntentKind.NEW, IntentKind.REPLACE])
def test_last_order_slots_are_kept_for_cancels(bench: Bench, kind: int) -> None:
    working, _ = judge(bench, bench.intent())
    ref = int(working[0]["order_id"])
    again = {"kind": kind, "price_ticks": 5_999_800} | ({"ref_order_id": ref} if kind == IntentKind.REPLACE else {})
    bench.fill(ORDERS, leave=ORDER_SLOTS_FOR_CANCELS)
    cancel = bench.intent(kind=IntentKind.CANCEL, ref_order_id=ref)
    bench.put(INTENTS, bench.intent(**again))
    bench.turn(STAGE)
    assert bench.take(REFUSALS)["reason"].tolist() == [RiskCode.RING_BACKPRESSURE]
    assert bench.stage(STAGE).context.state.orders.counts.tolist() == [1, 0], "a refused order is not counted"
    bench.put(INTENTS, cancel, bench.intent(kind=IntentKind.CANCEL_ALL))
    bench.turn(STAGE)
    assert len(bench.take(REFUSALS)) == 0 and bench.take(ORDERS)["kind"].tolist()[-2:] == [IntentKind.CANCEL, IntentKind.CANCEL_ALL]


def test_one_slot_more_than_kept_takes_a_new_order(bench: Bench) -> None:
    bench.fill(ORDERS, leave=ORDER_SLOTS_FOR_CANCELS + 1)
    bench.put(INTENTS, bench.intent())
    bench.turn(STAGE)
    assert len(bench.take(REFUSALS)) == 0 and bench.take(ORDERS)[-1]["kind"] == IntentKind.NEW


def test_orders_ring_that_is_quite_full_refuses_even_cancels_and_loses_none(bench: Bench) -> None:
    working, _ = judge(bench, bench.intent())
    bench.fill(ORDERS, leave=0)
    bench.put(INTENTS, bench.intent(kind=IntentKind.CANCEL, ref_order_id=int(working[0]["order_id"])))
    bench.turn(STAGE)
    assert bench.take(REFUSALS)["reason"].tolist() == [RiskCode.RING_BACKPRESSURE]
    bench.take(ORDERS)
    retry = bench.intent(kind=IntentKind.CANCEL, ref_order_id=int(working[0]["order_id"]))
    assert judge(bench, retry)[0]["kind"].tolist() == [IntentKind.CANCEL], "the refused cancel does not count as sent"


def test_reports_are_taken_before_intents_so_a_fill_counts_in_the_same_turn(bench: Bench) -> None:
    limit = 50_000
    for n in range(5):
        orders, _ = judge(bench, bench.intent(qty_lots=10_000, price_ticks=6_000_000 - n))
        bench.put(REPORTS, bench.report(orders, ReportKind.ACK), bench.report(orders, ReportKind.TRADE))
        bench.turn(STAGE, 20_000_000)
        bench.put(MARKETS, bench.tops())
    state = bench.stage(STAGE).context.state
    assert state.positions[BTC]["position_lots"] == limit
    bench.turn(STAGE)
    _, refusals = judge(bench, bench.intent(qty_lots=1000))
    assert refusals["reason"].tolist() == [RiskCode.MAX_POSITION]
    sold, _ = judge(bench, bench.intent(side=SELL, qty_lots=2000, price_ticks=6_000_200))
    # The fill and the intent that needs it come in one turn.
    bench.put(INTENTS, bench.intent(qty_lots=1500))
    bench.put(REPORTS, bench.report(sold, ReportKind.TRADE))
    bench.turn(STAGE)
    assert len(bench.take(ORDERS)) == 1 and len(bench.take(REFUSALS)) == 0


def test_no_book_an_invalid_book_and_an_old_book_refuse(bench: Bench, tmp_path: Path) -> None:
    with Bench(tmp_path / "none", None, [STAGE]) as empty:
        assert judge(empty, empty.intent())[1]["reason"].tolist() == [RiskCode.BOOK_INVALID]
    bench.put(MARKETS, row(MARKET, kind=MarketKind.INVALID, flags=MarketFlag.LAST, venue_id=InvalidReason.GAP))
    assert judge(bench, bench.intent())[1]["reason"].tolist() == [RiskCode.BOOK_INVALID]
    bench.put(MARKETS, bench.tops())
    bench.turn(STAGE)
    bench.now_ns += 1_000_000_001
    assert judge(bench, bench.intent())[1]["reason"].tolist() == [RiskCode.STALE_BOOK]
    assert bench.counter(STAGE, RiskCounter.QUOTES) == 4 + 4 + 1 + 4


def test_restored_positions_are_what_the_checks_begin_with(tmp_path: Path) -> None:
    positions = empty_positions(build_tables(paper_config()))
    positions["position_lots"][BTC] = 50_000
    with Bench(tmp_path, None, [STAGE], {"positions": pack_rows(positions)}) as bench:
        bench.put(MARKETS, bench.tops())
        assert judge(bench, bench.intent())[1]["reason"].tolist() == [RiskCode.MAX_POSITION]
        assert judge(bench, bench.intent(side=SELL, price_ticks=6_000_200))[0]["side"].tolist() == [SELL]


def test_a_loss_of_the_sessions_earlier_epochs_counts_against_the_daily_limit(tmp_path: Path) -> None:
    positions = empty_positions(build_tables(paper_config()))
    positions["realised_e8"][BTC] = -2001 * E8
    with Bench(tmp_path, None, [STAGE], {"positions": pack_rows(positions)}) as bench:
        bench.put(MARKETS, bench.tops())
        assert judge(bench, bench.intent())[1]["reason"].tolist() == [RiskCode.DAILY_LOSS]


def test_quotes_at_a_venue_whose_clock_is_no_longer_ours_are_pulled_once(bench: Bench) -> None:
    late = bench.tops()[-1:]
    assert late["kind"].tolist() == [MarketKind.CLOCK]
    late["venue_id"] = 10_000_000_000
    for expected in ([IntentKind.CANCEL_ALL] * 2, []):
        bench.put(MARKETS, late)
        bench.turn(STAGE)
        assert bench.take(ORDERS)["kind"].tolist() == expected


def tight(**changes: int) -> Any:
    """paper.toml with other limits of the firm, or of BTC-USDT where they begin with move_ or stop_."""

    def change(sections: dict[str, Any]) -> None:
        for name, value in changes.items():
            (sections["limits"]["BTC-USDT.BINANCE"] if name.startswith(("move_", "stop_")) else sections["firm"])[name] = value

    return paper_config(change)


@pytest.fixture
def rejecting(tmp_path: Path) -> Iterator[Bench]:
    """Risk with a valid book, which takes one venue reject of a strategy and not two."""
    with Bench(tmp_path, tight(rejects_max=1), [STAGE]) as bench:
        bench.put(MARKETS, bench.tops(0))
        bench.turn(STAGE)
        yield bench


def reject(bench: Bench, price_ticks: int) -> None:
    orders, _ = judge(bench, bench.intent(price_ticks=price_ticks))
    bench.put(REPORTS, bench.report(orders, ReportKind.REJECTED, reason=VenueReason.FILTER))


def test_a_breaker_refuses_in_the_turn_in_which_it_trips_and_kills_its_strategy(rejecting: Bench) -> None:
    word = control.kill_strategy(0)
    for n in range(2):
        assert rejecting.control[word] == 0
        reject(rejecting, 6_000_000 - n)
    orders, refusals = judge(rejecting, rejecting.intent(price_ticks=5_999_900))
    assert len(orders) == 0 and refusals["reason"].tolist() == [RiskCode.REJECT_STORM]
    assert rejecting.control[word] == RiskCode.REJECT_STORM and rejecting.control[control.KILL_FIRM] == 0
    _, refusals = judge(rejecting, rejecting.intent(price_ticks=5_999_900))
    assert refusals["reason"].tolist() == [RiskCode.REJECT_STORM], "the word is seen by now, and the breaker still says why"


def test_a_breaker_counts_anew_once_its_kill_is_armed(rejecting: Bench) -> None:
    for n in range(2):
        reject(rejecting, 6_000_000 - n)
    judge(rejecting, rejecting.intent(price_ticks=5_999_900))
    rejecting.turn(STAGE)
    rejecting.control[control.kill_strategy(0)] = 0
    reject(rejecting, 5_999_800)
    orders, refusals = judge(rejecting, rejecting.intent(price_ticks=5_999_700))
    assert len(orders) == 1 and len(refusals) == 0


def test_a_breaker_of_the_firm_kills_the_firm(tmp_path: Path) -> None:
    with Bench(tmp_path, tight(drawdown_max="0.01"), [STAGE]) as bench:
        bench.put(MARKETS, bench.tops(0))
        bench.turn(STAGE)
        orders, _ = judge(bench, bench.intent())
        bench.put(REPORTS, bench.report(orders, ReportKind.TRADE, fee_e8=E8 // 5))
        _, refusals = judge(bench, bench.intent(price_ticks=5_999_800))
        assert refusals["reason"].tolist() == [RiskCode.DRAWDOWN] and bench.control[control.KILL_FIRM] == RiskCode.DRAWDOWN


def test_a_mid_that_moves_too_far_pulls_the_quotes_of_its_instrument_once(tmp_path: Path) -> None:
    with Bench(tmp_path, tight(move_max_bp=1), [STAGE]) as bench:
        bench.put(MARKETS, bench.tops(0), bench.tops(1, 260_000, 260_010))
        bench.turn(STAGE)
        bench.put(MARKETS, bench.tops(0, 6_001_000, 6_001_010))
        orders, refusals = judge(bench, bench.intent(), bench.intent(instrument=1, price_ticks=260_000))
        assert [(IntentKind(order["kind"]).name, order["instrument"], order["strategy"]) for order in orders] == [
            ("CANCEL_ALL", 0, 0),
            ("NEW", 1, 0),
        ]
        assert refusals["reason"].tolist() == [RiskCode.VOLATILITY]
        bench.put(MARKETS, bench.tops(0, 6_001_010, 6_001_020))
        bench.turn(STAGE)
        assert len(bench.take(ORDERS)) == 0


def test_quotes_are_pulled_when_the_ring_has_room_for_it(tmp_path: Path) -> None:
    with Bench(tmp_path, tight(move_max_bp=1), [STAGE]) as bench:
        bench.put(MARKETS, bench.tops(0))
        bench.turn(STAGE)
        bench.fill(ORDERS, leave=0)
        bench.put(MARKETS, bench.tops(0, 6_001_000, 6_001_010))
        bench.turn(STAGE)
        assert IntentKind.CANCEL_ALL not in bench.take(ORDERS)["kind"]
        bench.turn(STAGE)
        assert bench.take(ORDERS)["kind"].tolist() == [IntentKind.CANCEL_ALL]


def test_a_stop_loss_cancels_what_works_says_so_in_its_word_and_lets_orders_only_reduce(tmp_path: Path) -> None:
    with Bench(tmp_path, tight(stop_loss_bp=100), [STAGE]) as bench:
        bench.put(MARKETS, bench.tops(0))
        bench.turn(STAGE)
        bought, _ = judge(bench, bench.intent())
        bench.put(REPORTS, bench.report(bought, ReportKind.TRADE))
        bench.turn(STAGE)
        word = control.reduce_instrument(BTC)
        assert bench.control[word] == 0
        bench.put(MARKETS, bench.tops(0, 5_900_000, 5_900_100))
        grows, shrinks = {"price_ticks": 5_899_900}, {"price_ticks": 5_900_200, "side": SELL}
        orders, refusals = judge(bench, bench.intent(**grows), bench.intent(**shrinks))
        assert orders["kind"].tolist() == [IntentKind.CANCEL_ALL, IntentKind.NEW] and refusals["reason"].tolist() == [RiskCode.STOP_LOSS]
        assert bench.control[word] == RiskCode.STOP_LOSS and bench.control[control.latching_words()].astype(bool).sum() == 1
        orders, refusals = judge(bench, bench.intent(**grows))
        assert len(orders) == 0 and refusals["reason"].tolist() == [RiskCode.STOP_LOSS], (
            "the word is seen by now, and nothing is pulled again"
        )
        assert bench.inputs(STAGE)[-2]["value"] == RiskCode.STOP_LOSS
        bench.control[word] = 0
        assert len(judge(bench, bench.intent(**grows, qty_lots=900))[0]) == 1, "armed"


def test_a_reduce_word_of_somebody_else_cancels_what_works_and_refuses_what_does_not_reduce(bench: Bench) -> None:
    bench.control[control.reduce_instrument(BTC)] = 1
    orders, refusals = judge(bench, bench.intent(), bench.intent(instrument=1, price_ticks=260_000))
    assert orders["kind"].tolist() == [IntentKind.CANCEL_ALL, IntentKind.NEW] and refusals["reason"].tolist() == [RiskCode.REDUCE_ONLY_MODE]


def at_venue() -> Config:
    """paper.toml with orders at the venue."""

    def change(sections: dict[str, Any]) -> None:
        sections["execution"]["binance"] = {"kind": "venue", "order_url": "ws://127.0.0.1:1", "rest_url": "http://127.0.0.1:1"}

    return paper_config(change)


def say_balances(bench: Bench, *words: int) -> None:
    """The venue's account began with so much of base and quote, instrument by instrument."""
    bench.control[control.BALANCE : control.BALANCE + len(words)] = words
    bench.control[control.venue_balances(0)] += 1


def test_orders_at_a_venue_wait_for_its_balances_which_are_journaled_and_then_cover_so_much(tmp_path: Path) -> None:
    with Bench(tmp_path, at_venue(), [STAGE]) as bench:
        bench.put(MARKETS, bench.tops())
        bench.turn(STAGE)
        assert judge(bench, bench.intent())[1]["reason"].tolist() == [RiskCode.BALANCE], "nobody knows what there is"
        say_balances(bench, 500 * 1000, 700 * E8, 3 * E8, 700 * E8)
        sells = [bench.intent(side=SELL, price_ticks=6_000_200, qty_lots=lots) for lots in (501, 500)]
        orders, refusals = judge(bench, *sells, bench.intent(qty_lots=1000), bench.intent(qty_lots=1001, price_ticks=5_999_000))
        assert orders["qty_lots"].tolist() == [500, 1000] and refusals["reason"].tolist() == [RiskCode.BALANCE] * 2
        said = bench.inputs(STAGE)
        said = said[said["kind"] == InputKind.BALANCE]
        assert said[["first", "last", "value"]].tolist() == [(0, 0, 500_000), (0, 1, 700 * E8), (1, 0, 3 * E8), (1, 1, 700 * E8)]
        assert bench.turn(STAGE) == 0, "what is known is not taken again"


def test_paper_orders_need_no_balance(bench: Bench) -> None:
    assert len(judge(bench, bench.intent())[0]) == 1
    say_balances(bench, 0, 0, 0, 0)
    assert len(judge(bench, bench.intent(qty_lots=900))[0]) == 1 and InputKind.BALANCE not in bench.inputs(STAGE)["kind"]


def test_positions_of_strategies_are_restored_for_their_stops(tmp_path: Path) -> None:
    positions = empty_positions(build_tables(paper_config()))
    own = len(positions) // 2 + BTC
    positions["position_lots"][[BTC, own]], positions["cost_e8"][[BTC, own]] = 1000, 70_000 * 1000 * 1000
    with Bench(tmp_path, None, [STAGE], {"positions": pack_rows(positions)}) as bench:
        bench.put(MARKETS, bench.tops())
        assert judge(bench, bench.intent())[1]["reason"].tolist() == [RiskCode.STOP_LOSS]


def log_change(bench: Bench, key: str, value: str, by: str = "ann", approved_by: str = "") -> None:
    limit = limit_of(bench.config, key, value)
    append(bench.control, [limit.row, limit.field, limit.value, name_word(by), name_word(approved_by) if approved_by else 0])


def test_a_tightened_limit_holds_for_the_next_intent_and_is_journaled_before_it(bench: Bench) -> None:
    log_change(bench, "limits.BTC-USDT.BINANCE.order_qty_max", "0.00999")
    orders, refusals = judge(bench, bench.intent(qty_lots=1000), bench.intent(qty_lots=999))
    assert refusals["reason"].tolist() == [RiskCode.MAX_ORDER_QTY] and orders["qty_lots"].tolist() == [999]
    row = next(i for i in bench.inputs(STAGE) if i["kind"] == InputKind.CONFIG)
    assert (row["first"], row["value"], row["by"], row["approved_by"]) == (BTC, 999, name_word("ann"), 0)
    assert bench.control[control.LIMIT_TAKEN] == 1 and bench.counter(STAGE, RiskCounter.LIMITS_CHANGED) == 1
    assert bench.stage(STAGE).tables.limit_rows[BTC]["order_qty_max_lots"] == 10_000, "the config's own are others' too"


def test_a_looser_limit_is_taken_with_two_names_only(bench: Bench) -> None:
    key = "limits.BTC-USDT.BINANCE.order_qty_max"
    log_change(bench, key, "0.005")
    log_change(bench, key, "0.01")
    assert judge(bench, bench.intent())[1]["reason"].tolist() == [RiskCode.MAX_ORDER_QTY]
    assert bench.counter(STAGE, RiskCounter.LIMITS_NOT_CHANGED) == 1
    log_change(bench, key, "0.01", approved_by="bob")
    assert len(judge(bench, bench.intent())[0]) == 1
    assert bench.inputs(STAGE)[-2]["approved_by"] == name_word("bob")
