"""The market maker: where it quotes, when it moves, and what makes it stop."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hft.book import new_book, set_level
from hft.records import ExecutionCode, IntentKind, MarketKind, OrderFlag, OrderState, ReportKind, RiskCode, Side, TimeInForce
from hft.signals import SIGNALS, microprice_ticks, update_volatility, volatility
from strategies import market_maker as maker
from strategies.contract import resolve_params
from strategies.registry import load
from support.strategy_desk import Desk

BUY, SELL = int(Side.BUY), int(Side.SELL)
BID, ASK = 100_000, 100_010


def ready(**params: float) -> Desk:
    """A desk whose book has been valid for the warm-up; nothing is quoted yet."""
    desk = Desk(maker, {"half_spread_min_bp": 1, "requote_bp": 0.05, **params})
    assert desk.show(BID, 50, ASK, 50) == []
    return desk.wait(2000)


def quoted(**params: float) -> tuple[Desk, dict[str, int], dict[str, int]]:
    """A desk with both quotes acknowledged."""
    desk = ready(**params)
    bid, ask = desk.show(BID, 50, ASK, 50)
    for order in (bid, ask):
        assert desk.report(ReportKind.ACK, order) == []
    return desk.wait(2000), bid, ask


def test_maker_quotes_both_sides_around_the_microprice() -> None:
    bid, ask = ready().show(BID, 50, ASK, 50)
    # 1 bp of 100,005 is 10.0005 ticks.
    assert (bid["side"], bid["price_ticks"], ask["side"], ask["price_ticks"]) == (BUY, 99_994, SELL, 100_016)
    for order in (bid, ask):
        assert (order["kind"], order["tif"], order["flags"]) == (IntentKind.NEW, TimeInForce.GTC, OrderFlag.POST_ONLY)
        # 100 quote units at 1000.05 a unit of base, in lots of 0.001.
        assert order["qty_lots"] == 99


def test_maker_leans_towards_the_thinner_side() -> None:
    heavy_bid = ready().show(BID, 900, ASK, 100)
    heavy_ask = ready().show(BID, 100, ASK, 900)
    assert heavy_bid[0]["price_ticks"] > heavy_ask[0]["price_ticks"]
    assert heavy_bid[1]["price_ticks"] > heavy_ask[1]["price_ticks"]


def test_maker_quotes_nothing_before_the_warm_up_has_passed() -> None:
    desk = Desk(maker, {"warmup_ms": 1000})
    assert desk.show(BID, 50, ASK, 50) == []
    assert desk.wait(999).show(BID, 50, ASK, 50) == []
    assert len(desk.wait(1).show(BID, 50, ASK, 50)) == 2


def test_maker_quotes_nothing_on_an_invalid_or_one_sided_book() -> None:
    desk = ready()
    desk.view.ints[0, maker.EVENT_NS] = desk.now_ns
    desk.market(MarketKind.INVALID)
    assert desk.call("on_book") == [] and desk.call("on_timer") == []
    desk.market(MarketKind.RESET)
    desk.market(MarketKind.LEVEL, side=BUY, price_ticks=BID, qty_lots=5)
    desk.market(MarketKind.VALID)
    assert desk.call("on_book") == [] and desk.call("on_timer") == []


def test_maker_waits_while_its_orders_are_unanswered() -> None:
    desk = ready()
    assert len(desk.show(BID, 50, ASK, 50)) == 2
    assert desk.wait(5000).show(BID + 500, 50, ASK + 500, 50) == []


def test_maker_stays_while_its_target_moves_less_than_the_threshold() -> None:
    desk, _, _ = quoted(requote_bp=1, volatility_factor=0)
    assert desk.show(BID + 9, 50, ASK + 9, 50) == []
    moved = desk.show(BID + 12, 50, ASK + 12, 50)
    assert [(order["kind"], order["side"]) for order in moved] == [(IntentKind.REPLACE, BUY), (IntentKind.REPLACE, SELL)]


def test_maker_moves_a_quote_by_one_replace_of_the_old_order() -> None:
    desk, bid, ask = quoted(volatility_factor=0)
    moved = desk.show(BID + 15, 50, ASK + 15, 50)
    assert [order["ref_order_id"] for order in moved] == [bid["order_id"], ask["order_id"]]
    assert [order["price_ticks"] for order in moved] == [bid["price_ticks"] + 15, ask["price_ticks"] + 15]
    for old, new in zip((bid, ask), moved, strict=True):
        assert desk.report(ReportKind.CANCELED, old) == [] and desk.report(ReportKind.ACK, new) == []
    assert [order["order_id"] for order in desk.working()] == [order["order_id"] for order in moved]


def test_maker_keeps_the_interval_between_quotes_of_a_side() -> None:
    desk = ready(interval_ms=100, volatility_factor=0)
    for order in desk.show(BID, 50, ASK, 50):
        desk.report(ReportKind.ACK, order)
    assert desk.wait(99).show(BID + 15, 50, ASK + 15, 50) == []
    assert len(desk.wait(1).show(BID + 15, 50, ASK + 15, 50)) == 2


def test_maker_does_not_repeat_a_quote_within_the_duplicate_window() -> None:
    desk = ready(interval_ms=0, duplicate_ms=250)
    bid, ask = desk.show(BID, 50, ASK, 50)
    desk.report(ReportKind.ACK, ask)
    desk.report(ReportKind.ACK, bid)
    desk.report(ReportKind.EXPIRED, bid)
    assert desk.wait(249).show(BID, 50, ASK, 50) == []
    (again,) = desk.wait(1).show(BID, 50, ASK, 50)
    assert (again["price_ticks"], again["qty_lots"]) == (bid["price_ticks"], bid["qty_lots"])


def test_maker_shifts_both_quotes_down_at_once_when_it_has_bought() -> None:
    desk, bid, ask = quoted(requote_bp=100)
    staged = desk.report(ReportKind.TRADE, bid, lots=bid["qty_lots"])
    assert [(order["kind"], order["side"]) for order in staged] == [(IntentKind.NEW, BUY), (IntentKind.REPLACE, SELL)]
    assert staged[0]["price_ticks"] < bid["price_ticks"] and staged[1]["price_ticks"] < ask["price_ticks"]


def test_maker_shifts_both_quotes_up_at_once_when_it_has_sold() -> None:
    desk, bid, ask = quoted(requote_bp=100)
    staged = desk.report(ReportKind.TRADE, ask, lots=ask["qty_lots"])
    assert staged[0]["price_ticks"] > bid["price_ticks"] and staged[1]["price_ticks"] > ask["price_ticks"]


def test_maker_withdraws_the_growing_side_at_the_inventory_limit() -> None:
    desk, bid, _ = quoted(inventory_max_quote=100, size_quote=100, skew=0, volatility_factor=0)
    assert desk.report(ReportKind.TRADE, bid, lots=bid["qty_lots"]) == []
    assert desk.wait(5000).show(BID, 50, ASK, 50) == []
    assert [order["side"] for order in desk.working()] == [SELL]


def test_maker_remembers_more_than_its_last_quote_within_the_duplicate_window() -> None:
    desk = ready(interval_ms=0, duplicate_ms=250, volatility_factor=0, requote_bp=0)
    seen = []
    for move in (0, 1, 0):
        staged = desk.wait(10).show(BID + move, 50, ASK + move, 50)
        for order in staged:
            desk.report(ReportKind.ACK, order)
            if order["ref_order_id"]:
                desk.report(ReportKind.CANCELED, order | {"order_id": order["ref_order_id"]})
        seen.append(len(staged))
    assert seen == [2, 2, 0]
    assert len(desk.wait(250).show(BID, 50, ASK, 50)) == 2


def test_maker_holds_back_when_it_quoted_more_than_it_can_remember_within_the_duplicate_window() -> None:
    desk = ready(interval_ms=0, duplicate_ms=250, volatility_factor=0, requote_bp=0)
    seen = []
    for move in range(maker.RECENT_MAX + 1):
        staged = desk.wait(1).show(BID + move, 50, ASK + move, 50)
        for order in staged:
            desk.report(ReportKind.ACK, order)
            if order["ref_order_id"]:
                desk.report(ReportKind.CANCELED, order | {"order_id": order["ref_order_id"]})
        seen.append(len(staged))
    assert seen == [2] * maker.RECENT_MAX + [0]


def test_maker_cancels_a_working_quote_that_may_no_longer_grow_the_inventory() -> None:
    desk, bid, _ = quoted(inventory_max_quote=300, skew=0)
    desk.view.positions[0]["position_lots"] = 299
    staged = desk.show(BID, 50, ASK, 50)
    assert [(order["kind"], order["ref_order_id"]) for order in staged] == [(IntentKind.CANCEL, bid["order_id"])]
    assert desk.wait(500).show(BID, 50, ASK, 50) == []
    assert len(desk.wait(500).show(BID, 50, ASK, 50)) == 1


def test_maker_quotes_no_less_than_the_venue_takes() -> None:
    bid, ask = ready(size_quote=1).show(BID, 50, ASK, 50)
    assert bid["qty_lots"] * bid["price_ticks"] * 1000 >= 500_000_000
    assert ask["qty_lots"] == 5


def test_maker_quotes_nothing_outside_the_venues_price_range() -> None:
    desk = ready()
    desk.rows["price_ticks_max"] = 100_015
    assert [order["side"] for order in desk.show(BID, 50, ASK, 50)] == [BUY]


def test_maker_never_quotes_through_its_own_order() -> None:
    desk, _, ask = quoted(volatility_factor=0)
    far = desk.show(BID + 500, 50, ASK + 500, 50)
    # The bid's target is above the old ask, which works until its replacement is confirmed.
    assert [order["side"] for order in far] == [SELL]
    desk.report(ReportKind.CANCELED, ask)
    desk.report(ReportKind.ACK, far[0])
    (bid,) = desk.wait(500).show(BID + 500, 50, ASK + 500, 50)
    assert bid["side"] == BUY and bid["price_ticks"] < far[0]["price_ticks"]


def test_maker_withdraws_a_quote_that_it_may_not_move() -> None:
    desk, bid, _ = quoted(volatility_factor=0)
    moved = desk.show(BID - 500, 50, ASK - 500, 50)
    replacing = next(order for order in moved if order["ref_order_id"] == bid["order_id"])
    staged = desk.report(ReportKind.REFUSED, replacing, reason=RiskCode.ORDER_TO_TRADE)
    assert [(order["kind"], order["ref_order_id"]) for order in staged] == [(IntentKind.CANCEL, bid["order_id"])]


def test_maker_backs_off_twice_as_long_after_each_refusal_and_starts_over_after_an_ack() -> None:
    desk = ready(interval_ms=0, duplicate_ms=0, backoff_ms=100)
    for quiet_ms in (100, 200, 400):
        for order in desk.show(BID, 50, ASK, 50)[:1]:
            desk.report(ReportKind.REFUSED, order, reason=RiskCode.ORDER_RATE)
        for order in desk.working():
            desk.view.ints[0, maker.REFUSALS] -= 1
            desk.report(ReportKind.REJECTED, order, reason=ExecutionCode.POST_ONLY_WOULD_TAKE)
        assert desk.wait(quiet_ms - 1).show(BID, 50, ASK, 50) == []
        desk.wait(1)
    bid, ask = desk.show(BID, 50, ASK, 50)
    desk.report(ReportKind.ACK, ask)
    desk.report(ReportKind.REJECTED, bid)
    assert desk.wait(99).show(BID, 50, ASK, 50) == []
    assert len(desk.wait(1).show(BID, 50, ASK, 50)) == 1


def test_maker_backoff_stops_doubling() -> None:
    desk = ready(backoff_ms=100)
    (bid, _) = desk.show(BID, 50, ASK, 50)
    desk.view.ints[0, maker.REFUSALS] = 1000
    desk.report(ReportKind.REJECTED, bid)
    assert desk.view.ints[0, maker.QUIET_UNTIL_NS] - desk.now_ns == 6_400_000_000


@pytest.mark.parametrize("event", ["on_disconnect", "on_halt"])
def test_maker_withdraws_everything_and_warms_up_again(event: str) -> None:
    desk, bid, _ = quoted()
    (intent,) = desk.call(event)
    assert (intent["kind"], intent["instrument"]) == (IntentKind.CANCEL_ALL, 0)
    # A fill that was on its way brings no quote back.
    assert desk.report(ReportKind.TRADE, bid, lots=1) == []
    assert desk.call("on_timer") == []
    assert desk.show(BID, 50, ASK, 50) == []


@pytest.mark.parametrize("event", ["on_disconnect", "on_halt"])
def test_maker_asks_nothing_when_nothing_works(event: str) -> None:
    assert ready().call(event) == []


def test_maker_cancels_the_older_order_when_a_side_has_two() -> None:
    desk, old_bid, old_ask = quoted(volatility_factor=0)
    new_bid, new_ask = desk.show(BID + 15, 50, ASK + 15, 50)
    desk.report(ReportKind.CANCELED, old_ask)
    # The old bid still works after the new one was taken: its end was lost.
    for order in (new_bid, new_ask):
        desk.report(ReportKind.ACK, order)
    assert desk.wait(500).show(BID + 15, 50, ASK + 15, 50) == []
    (cancel,) = desk.wait(500).show(BID + 15, 50, ASK + 15, 50)
    assert cancel["kind"] == IntentKind.CANCEL and cancel["ref_order_id"] == old_bid["order_id"]


def test_maker_waits_for_an_unknown_order() -> None:
    desk, bid, _ = quoted(volatility_factor=0)
    desk.report(ReportKind.UNKNOWN, bid, state=OrderState.UNKNOWN)
    assert [order["side"] for order in desk.show(BID + 100, 50, ASK + 100, 50)] == [SELL]


def test_maker_timer_quotes_only_on_a_recent_book() -> None:
    desk = ready()
    assert desk.call("on_timer") == []
    desk.view.ints[0, maker.EVENT_NS] = desk.now_ns - 1_000_000_000
    assert len(desk.call("on_timer")) == 2


def test_maker_withdraws_from_a_valid_book_that_is_silent_and_asks_again_while_that_is_of_no_effect() -> None:
    desk, bid, ask = quoted(book_age_max_ms=700)
    desk.view.ints[0, maker.EVENT_NS] = desk.now_ns
    assert desk.wait(700).call("on_timer") == [], "an event this old still counts"
    (intent,) = desk.wait(1).call("on_timer")
    assert (intent["kind"], intent["instrument"]) == (IntentKind.CANCEL_ALL, 0)
    assert desk.wait(999).call("on_timer") == []
    (again,) = desk.wait(1).call("on_timer")
    assert again["kind"] == IntentKind.CANCEL_ALL
    for order in (bid, ask):
        desk.report(ReportKind.CANCELED, order)
    assert desk.wait(5000).call("on_timer") == []


def test_maker_asks_again_while_orders_work_on_an_invalid_book() -> None:
    desk, _, _ = quoted()
    desk.market(MarketKind.INVALID)
    assert len(desk.call("on_disconnect")) == 1 and desk.wait(999).call("on_timer") == []
    (intent,) = desk.wait(1).call("on_timer")
    assert intent["kind"] == IntentKind.CANCEL_ALL


def test_maker_trade_callback_does_nothing() -> None:
    assert quoted()[0].call("on_trade") == []


def spread_after(moves: list[int], **params: float) -> int:
    desk = Desk(maker, {"half_spread_min_bp": 0.1, "volatility_factor": 1, "warmup_ms": 0, "interval_ms": 1e4, **params})
    desk.show(BID, 50, ASK, 50)
    desk.view.ints[0, maker.QUOTED_NS : maker.QUOTED_NS + 2] = 0
    for order in desk.working():
        desk.report(ReportKind.ACK, order)
        desk.report(ReportKind.EXPIRED, order)
    for move in moves[:-1]:
        desk.view.ints[0, maker.QUIET_UNTIL_NS] = 2**62
        desk.wait(100).show(BID + move, 50, ASK + move, 50)
    desk.view.ints[0, maker.QUIET_UNTIL_NS] = 0
    bid, ask = desk.wait(100).show(BID + moves[-1], 50, ASK + moves[-1], 50)
    return ask["price_ticks"] - bid["price_ticks"]


def test_maker_widens_with_volatility() -> None:
    spreads = [spread_after([0 if k % 2 else size for k in range(40)] + [0]) for size in (0, 20, 60, 200)]
    assert spreads == sorted(spreads) and len(set(spreads)) == len(spreads), spreads


@pytest.mark.parametrize("seed", range(3))
def test_maker_learns_the_volatility_of_every_mid_it_is_shown(seed: int) -> None:
    generator = random.Random(seed)
    desk = Desk(maker, {"volatility_half_life_s": 5})
    expected = np.zeros((1, SIGNALS))
    mid = BID
    for _ in range(200):
        desk.wait(generator.choice([0, 1, 20, 100, 700]))
        mid += generator.randint(-9, 9)
        desk.show(mid, 50, mid + 10, 50)
        update_volatility(expected, 0, 2 * mid + 10, desk.now_ns, 5e9)
    assert volatility(desk.view.floats, 0) == volatility(expected, 0) > 0, f"seed {seed}"


def test_maker_does_not_take_the_move_while_its_book_was_invalid_for_volatility() -> None:
    desk, _, _ = quoted()
    desk.show(BID + 5, 50, ASK + 5, 50)
    before = volatility(desk.view.floats, 0)
    desk.call("on_disconnect")
    desk.wait(1000).show(2 * BID, 50, 2 * BID + 10, 50)
    assert volatility(desk.view.floats, 0) == before > 0


touches = st.tuples(st.integers(1, 10**7), st.integers(1, 10**5), st.integers(1, 10**9), st.integers(1, 10**9))


@settings(max_examples=300, deadline=None)
@given(touches, st.floats(0, 1e6), st.floats(0, 10), st.floats(-1, 1))
def test_target_bid_is_below_the_ask_and_neither_takes(
    touch: tuple[int, int, int, int], half: float, skew: float, inventory: float
) -> None:
    bid_ticks, spread, bid_lots, ask_lots = touch
    ask_ticks = bid_ticks + spread
    book = new_book(4)
    set_level(book, BUY, bid_ticks, bid_lots)
    set_level(book, SELL, ask_ticks, ask_lots)
    fair = float(microprice_ticks(book))
    assert bid_ticks - 1e-6 <= fair <= ask_ticks + 1e-6
    bid, ask = maker.target_ticks(bid_ticks, ask_ticks, fair, half, skew, inventory)
    assert bid < ask and bid < ask_ticks and ask > bid_ticks
    calm_bid, calm_ask = maker.target_ticks(bid_ticks, ask_ticks, fair, half, skew, 0.0)
    sign = (inventory > 0) - (inventory < 0)
    assert sign * (bid - calm_bid) <= 0 and sign * (ask - calm_ask) <= 0


def test_maker_params_are_in_the_order_of_their_names() -> None:
    strategy = load("market_maker")
    values = resolve_params(strategy, {})
    for place, param in enumerate(strategy.params):
        assert getattr(maker, param.name.upper()) == place and values[place] == param.default


class Exchange:
    """A venue that answers a desk's intents late and fills what a walking market reaches; checks each intent as it comes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.desk = Desk(maker, {"warmup_ms": 100, "interval_ms": 50, "inventory_max_quote": 300, "requote_bp": 0.05})
        self.mid = BID
        self.pending: list[tuple[int, dict[str, int]]] = []
        self.live: dict[int, dict[str, int]] = {}
        self.sent: dict[tuple[int, int, int], int] = {}
        self.fills = 0

    def accept(self, intents: list[dict[str, int]]) -> None:
        for intent in intents:
            if intent["kind"] in (IntentKind.NEW, IntentKind.REPLACE):
                assert self.desk.valid[0] == 1, "quoted on an invalid book"
                key = (intent["side"], intent["price_ticks"], intent["qty_lots"])
                assert self.desk.now_ns - self.sent.get(key, 0) >= 250_000_000, "repeated a quote within the window"
                self.sent[key] = self.desk.now_ns
                against = [o["price_ticks"] for o in self.desk.working() if o["side"] == -intent["side"]]
                assert all(intent["side"] * (intent["price_ticks"] - price) < 0 for price in against), "crossed itself"
                assert intent["qty_lots"] > 0
            self.pending.append((self.desk.now_ns + self.random.randint(1, 60) * 1_000_000, intent))
        for side in (BUY, SELL):
            assert len([o for o in self.desk.working() if o["side"] == side]) <= 2

    def answer(self, kind: int, order: dict[str, int], **fields: int) -> None:
        self.accept(self.desk.report(kind, order, **fields))

    def end(self, order_id: int) -> bool:
        order = self.live.pop(order_id, None)
        if order is not None:
            self.answer(ReportKind.CANCELED, order)
        return order is not None

    def deliver(self) -> None:
        due = [intent for at_ns, intent in self.pending if at_ns <= self.desk.now_ns]
        self.pending = [(at_ns, intent) for at_ns, intent in self.pending if at_ns > self.desk.now_ns]
        for intent in due:
            if intent["kind"] == IntentKind.CANCEL_ALL:
                for order_id in list(self.live):
                    self.end(order_id)
            elif intent["kind"] == IntentKind.CANCEL:
                if not self.end(intent["ref_order_id"]):
                    self.answer(ReportKind.CANCEL_REJECTED, intent | {"order_id": intent["ref_order_id"]})
            elif (
                intent["kind"] == IntentKind.REPLACE
                and not self.end(intent["ref_order_id"])
                or self.random.random() < 0.05
                or intent["side"] * (intent["price_ticks"] - self.mid - 5) > 5
            ):
                self.answer(ReportKind.REJECTED, intent)
            else:
                self.live[intent["order_id"]] = intent
                self.answer(ReportKind.ACK, intent)

    def step(self) -> None:
        self.desk.wait(self.random.choice([1, 5, 20, 60]))
        self.deliver()
        self.mid += self.random.choice([-30, -4, -1, 0, 0, 1, 4, 30])
        for order in list(self.live.values()):
            if order["side"] * (order["price_ticks"] - self.mid - 5) > -5:
                del self.live[order["order_id"]]
                self.fills += 1
                working = next(o for o in self.desk.working() if o["order_id"] == order["order_id"])
                self.answer(ReportKind.TRADE, order, lots=working["leaves_lots"])
        if self.random.random() < 0.01:
            self.desk.market(MarketKind.INVALID)
            self.accept(self.desk.call("on_disconnect"))
            self.accept(self.desk.call("on_timer"))
        sizes = self.random.randint(1, 99), self.random.randint(1, 99)
        self.accept(self.desk.show(self.mid, sizes[0], self.mid + 10, sizes[1]))


@pytest.mark.parametrize("seed", range(4))
def test_maker_keeps_its_rules_against_a_market_that_walks(seed: int) -> None:
    exchange = Exchange(seed)
    limit_lots = 300 * 10**8 // (BID * 1000) + 2
    for step in range(1500):
        try:
            exchange.step()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, step {step}: {error}") from error
        assert abs(exchange.desk.position()) <= limit_lots * 1.3, f"seed {seed}, step {step}"
    assert exchange.fills > 10, f"seed {seed}"
