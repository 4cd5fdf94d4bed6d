"""Matching: examples of every rule, bounds, and random traffic against the naive twin."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from hft import matching as kernel
from hft.book import Books, new_books
from hft.market_state import apply_market
from hft.matching_state import FILLS_WITHHELD, NEVER_NS, TAKEN_FULL, WORKING_COUNT
from hft.records import (
    INSTRUMENT,
    MARKET,
    ORDER,
    REPORT,
    ExecutionCode,
    FeeAsset,
    IntentKind,
    Liquidity,
    MarketFlag,
    MarketKind,
    OrderFlag,
    OrderState,
    ReportKind,
    RiskCode,
    Side,
    TimeInForce,
)
from support.naive_matching import NaiveVenue, naive_fee_e8

BUY, SELL = int(Side.BUY), int(Side.SELL)
ORDER_LATENCY_NS, ACK_LATENCY_NS = 100, 30
REPORT_FIELDS = [name for name in REPORT.names if name not in ("reserved", "exchange_ns", "reported_ns")]


def instrument_rows(count: int = 1) -> np.ndarray:
    rows = np.zeros(count, INSTRUMENT)
    rows["ticklot_num"], rows["ticklot_den"] = 5, 10
    rows["lot_e8_num"], rows["lot_e8_den"] = 1000, 1
    rows["maker_fee_e8"], rows["taker_fee_e8"] = -10_000_001, 25_000_003
    return rows


class Venue:
    """Drives the kernels the way the execution stage does, one instruction or event at a time."""

    def __init__(self, instruments: int = 1, rows: np.ndarray | None = None, **options: Any) -> None:
        options = {"orders_max": 16, "order_latency_ns": ORDER_LATENCY_NS, "ack_latency_ns": ACK_LATENCY_NS} | options
        self.rows = instrument_rows(instruments) if rows is None else rows
        self.m = kernel.new_matching(self.rows, **options)
        self.books: Books = new_books(len(self.rows), 64)
        self.now_ns = 1000
        self.last_id = 0

    def order(self, side: int = BUY, price: int = 100, qty: int = 10, kind: int = IntentKind.NEW, **fields: Any) -> dict[str, int]:
        self.last_id += 1
        given = {"order_id": self.last_id, "side": side, "price_ticks": price, "qty_lots": qty, "kind": kind, "tif": TimeInForce.GTC}
        stamps = {"received_ns": self.now_ns - 9, "decided_ns": self.now_ns - 8, "approved_ns": self.now_ns - 7, "sent_ns": self.now_ns}
        return {name: int((given | stamps | fields).get(name, 0)) for name in ORDER.names if name != "reserved"}

    def send(self, order: dict[str, int]) -> int:
        rows = np.zeros(1, ORDER)
        for name, value in order.items():
            rows[0][name] = value
        return kernel.on_order(self.m, rows, 0, self.now_ns)

    def place(self, side: int = BUY, price: int = 100, qty: int = 10, **fields: Any) -> int:
        """Send an order and let it arrive; return its id."""
        order = self.order(side, price, qty, **fields)
        assert self.send(order) == 0
        self.wait(ORDER_LATENCY_NS)
        return order["order_id"]

    def cancel(self, order_id: int, **fields: Any) -> int:
        return self.place(0, 0, 0, kind=IntentKind.CANCEL, ref_order_id=order_id, **fields)

    def wait(self, ns: int) -> None:
        self.now_ns += ns
        kernel.advance(self.m, self.books, self.now_ns)
        assert kernel.check(self.m) == 0

    def market(self, kind: int, instrument: int = 0, flags: int = 0, **fields: int) -> None:
        """Apply one record to the book and hand it on."""
        kernel.advance(self.m, self.books, self.now_ns)
        rows = np.zeros(1, MARKET)
        rows[0]["kind"], rows[0]["instrument"], rows[0]["flags"] = kind, instrument, flags
        for name, value in fields.items():
            rows[0][name] = value
        assert apply_market(self.books, self.m.valid, rows, 0) == 0
        kernel.on_market(self.m, self.books, rows, 0, self.now_ns)
        assert kernel.check(self.m) == 0

    def level(self, side: int, price: int, qty: int, instrument: int = 0) -> None:
        self.market(MarketKind.LEVEL, instrument, flags=MarketFlag.BID if side == BUY else 0, price_ticks=price, qty_lots=qty)

    def show(self, bids: dict[int, int], asks: dict[int, int], instrument: int = 0) -> None:
        """A whole book, valid."""
        self.market(MarketKind.RESET, instrument)
        for side, levels in ((BUY, bids), (SELL, asks)):
            for price, qty in levels.items():
                self.level(side, price, qty, instrument)
        self.market(MarketKind.VALID, instrument)
        self.top(instrument)

    def change(self, side: int, *levels: tuple[int, int]) -> None:
        """A depth update: levels, then the top."""
        for price, qty in levels:
            self.level(side, price, qty)
        self.top()

    def top(self, instrument: int = 0) -> None:
        self.market(MarketKind.TOP, instrument, flags=MarketFlag.LAST)

    def trade(self, aggressor: int, price: int, qty: int) -> None:
        self.market(MarketKind.TRADE, flags=MarketFlag.LAST | (MarketFlag.BID if aggressor == BUY else 0), price_ticks=price, qty_lots=qty)

    def quote(self, bid: int, bid_qty: int, ask: int, ask_qty: int) -> None:
        self.market(MarketKind.QUOTE, flags=MarketFlag.LAST, price_ticks=bid, qty_lots=bid_qty, ask_ticks=ask, ask_lots=ask_qty)

    def pop(self, now_ns: int | None = None) -> dict[str, int] | None:
        i = kernel.next_report(self.m, self.now_ns if now_ns is None else now_ns)
        return None if i < 0 else {name: int(self.m.reports[i][name]) for name in REPORT.names if name != "reserved"}

    def reports(self) -> list[dict[str, int]]:
        """Everything reported so far, however long it would have to wait."""
        taken = []
        while (report := self.pop(NEVER_NS)) is not None:
            taken.append(report)
        return taken

    def story(self) -> list[tuple[str, int, int, int]]:
        """(kind, order id, lots filled, price filled at) of everything reported so far."""
        return [(ReportKind(r["kind"]).name, r["order_id"], r["last_lots"], r["last_price_ticks"]) for r in self.reports()]

    def fills(self) -> list[tuple[int, int, int]]:
        """(order id, lots, price) of the fills so far; other reports are dropped."""
        return [(order_id, lots, price) for kind, order_id, lots, price in self.story() if kind == "TRADE"]


@pytest.fixture
def venue() -> Venue:
    """Bids 99 x 5 and 98 x 7, asks 101 x 4 and 102 x 6."""
    venue = Venue()
    venue.show({99: 5, 98: 7}, {101: 4, 102: 6})
    return venue


def test_order_reaches_the_venue_after_the_order_latency_and_its_ack_shows_after_the_ack_latency(venue: Venue) -> None:
    sent_ns = venue.now_ns
    venue.send(venue.order(price=99))
    assert kernel.next_due_ns(venue.m) == sent_ns + ORDER_LATENCY_NS
    assert kernel.advance(venue.m, venue.books, sent_ns + ORDER_LATENCY_NS - 1) == 0
    assert kernel.advance(venue.m, venue.books, sent_ns + ORDER_LATENCY_NS) == 1
    visible_ns = sent_ns + ORDER_LATENCY_NS + ACK_LATENCY_NS
    assert kernel.next_due_ns(venue.m) == visible_ns
    assert venue.pop(visible_ns - 1) is None
    report = venue.pop(visible_ns)
    assert report is not None and report["kind"] == ReportKind.ACK and report["state"] == OrderState.NEW
    assert (report["leaves_lots"], report["cum_lots"], report["qty_lots"], report["price_ticks"]) == (10, 0, 10, 99)
    assert (report["received_ns"], report["decided_ns"], report["approved_ns"], report["sent_ns"]) == (991, 992, 993, 1000)
    assert kernel.next_due_ns(venue.m) == NEVER_NS


def test_report_carries_venue_time_in_utc_after_a_clock_record(venue: Venue) -> None:
    venue.market(MarketKind.CLOCK, exchange_ns=5_000_000, received_ns=1_000_000)
    sent_ns = venue.now_ns
    venue.place(price=99)
    assert venue.reports()[0]["exchange_ns"] == sent_ns + ORDER_LATENCY_NS + 4_000_000


def test_arrival_counts_at_its_own_time_when_advance_comes_late(venue: Venue) -> None:
    venue.send(venue.order(price=99))
    venue.wait(10 * ORDER_LATENCY_NS)
    assert venue.pop(1000 + ORDER_LATENCY_NS + ACK_LATENCY_NS) is not None


def test_post_only_is_rejected_when_it_would_take(venue: Venue) -> None:
    venue.place(BUY, 101, flags=OrderFlag.POST_ONLY)
    venue.place(BUY, 100, flags=OrderFlag.POST_ONLY)
    refused, taken_in = venue.reports()
    assert (refused["kind"], refused["reason"]) == (ReportKind.REJECTED, ExecutionCode.POST_ONLY_WOULD_TAKE)
    assert refused["state"] == OrderState.REJECTED and refused["leaves_lots"] == 0
    assert taken_in["kind"] == ReportKind.ACK


def test_marketable_order_takes_level_by_level_and_rests_with_what_is_left(venue: Venue) -> None:
    order_id = venue.place(BUY, 102, 12)
    reports = venue.reports()
    assert [(r["last_lots"], r["last_price_ticks"], r["leaves_lots"]) for r in reports] == [(0, 0, 12), (4, 101, 8), (6, 102, 2)]
    assert all(r["liquidity"] == Liquidity.TAKER for r in reports[1:])
    assert [r["trade_id"] for r in reports[1:]] == [1, 2]
    venue.trade(SELL, 102, 5)
    assert venue.fills() == [(order_id, 2, 102)]


def test_marketable_sell_takes_the_highest_bid_first(venue: Venue) -> None:
    order_id = venue.place(SELL, 98, 8)
    assert venue.fills() == [(order_id, 5, 99), (order_id, 3, 98)]


def test_taken_size_cannot_be_taken_twice_until_its_level_changes(venue: Venue) -> None:
    first = venue.place(BUY, 101, 3, tif=TimeInForce.IOC)
    second = venue.place(BUY, 101, 3, tif=TimeInForce.IOC)
    assert venue.fills() == [(first, 3, 101), (second, 1, 101)]
    venue.change(SELL, (101, 4))
    third = venue.place(BUY, 101, 3, tif=TimeInForce.IOC)
    assert venue.story() == [("ACK", third, 0, 0), ("EXPIRED", third, 0, 0)]
    venue.change(SELL, (101, 3))
    fourth = venue.place(BUY, 101, 5, tif=TimeInForce.IOC)
    assert venue.fills() == [(fourth, 3, 101)]


def test_ioc_expires_what_it_cannot_take(venue: Venue) -> None:
    venue.place(BUY, 101, 6, tif=TimeInForce.IOC)
    last = venue.reports()[-1]
    assert (last["kind"], last["reason"], last["cum_lots"], last["leaves_lots"]) == (ReportKind.EXPIRED, ExecutionCode.NO_LIQUIDITY, 4, 0)
    assert venue.m.words[WORKING_COUNT] == 0


@pytest.mark.parametrize(("qty", "filled"), [(10, 10), (11, 0)])
def test_fok_takes_all_or_nothing(venue: Venue, qty: int, filled: int) -> None:
    venue.place(BUY, 102, qty, tif=TimeInForce.FOK)
    reports = venue.reports()
    assert reports[-1]["kind"] == (ReportKind.TRADE if filled else ReportKind.EXPIRED)
    assert sum(r["last_lots"] for r in reports) == filled


def test_trade_at_the_price_eats_the_queue_ahead_then_the_order(venue: Venue) -> None:
    order_id = venue.place(BUY, 99, 10)
    venue.trade(SELL, 99, 5)
    assert venue.fills() == []
    venue.trade(SELL, 99, 4)
    assert venue.fills() == [(order_id, 4, 99)]
    venue.trade(SELL, 99, 100)
    (report,) = venue.reports()
    assert (report["last_lots"], report["state"], report["liquidity"]) == (6, OrderState.FILLED, Liquidity.MAKER)


def test_trade_that_ends_inside_the_queue_leaves_its_rest_ahead(venue: Venue) -> None:
    order_id = venue.place(BUY, 99, 10)
    venue.trade(SELL, 99, 3)
    venue.trade(SELL, 99, 3)
    assert venue.fills() == [(order_id, 1, 99)]


def test_trade_of_the_same_side_or_short_of_the_price_does_nothing(venue: Venue) -> None:
    venue.place(BUY, 98, 10)
    venue.trade(BUY, 98, 50)
    venue.trade(SELL, 99, 50)
    assert venue.fills() == []


def test_trade_through_the_price_fills_up_to_its_size_at_the_orders_price(venue: Venue) -> None:
    order_id = venue.place(BUY, 99, 10)
    venue.trade(SELL, 98, 4)
    assert venue.fills() == [(order_id, 4, 99)]


def test_smaller_level_cuts_the_queue_ahead_and_a_bigger_one_does_not_grow_it(venue: Venue) -> None:
    order_id = venue.place(BUY, 99, 10)
    venue.change(BUY, (99, 2))
    venue.change(BUY, (99, 50))
    venue.trade(SELL, 99, 3)
    assert venue.fills() == [(order_id, 1, 99)]


def test_level_update_after_a_trade_does_not_count_the_trade_again(venue: Venue) -> None:
    order_id = venue.place(BUY, 98, 10)
    venue.trade(SELL, 98, 3)
    venue.change(BUY, (98, 4))
    venue.trade(SELL, 98, 5)
    assert venue.fills() == [(order_id, 1, 98)]


def test_own_orders_at_one_price_share_the_queue_and_fill_in_time_order(venue: Venue) -> None:
    first = venue.place(BUY, 99, 2)
    venue.change(BUY, (99, 8))
    second = venue.place(BUY, 99, 2)
    venue.trade(SELL, 99, 6)
    assert venue.fills() == [(first, 1, 99)]
    # Ahead of the second: 8 shown, of which the trade ate 5, and the rest of the first.
    venue.trade(SELL, 99, 5)
    assert venue.fills() == [(first, 1, 99), (second, 1, 99)]


def test_better_priced_own_order_fills_first(venue: Venue) -> None:
    worse = venue.place(SELL, 101, 5)
    better = venue.place(SELL, 100, 5)
    venue.trade(BUY, 101, 7)
    assert venue.fills() == [(better, 5, 100)]
    venue.trade(BUY, 101, 7)
    assert venue.fills() == [(worse, 5, 101)]


def test_book_that_reaches_the_price_fills_up_to_the_size_shown_there_once(venue: Venue) -> None:
    order_id = venue.place(BUY, 100, 10)
    venue.change(SELL, (100, 3), (99, 2), (101, 4))
    assert venue.fills() == [(order_id, 5, 100)]
    venue.top()
    venue.change(SELL, (100, 3))
    assert venue.fills() == []
    venue.change(SELL, (100, 4))
    assert venue.fills() == [(order_id, 4, 100)]


def test_levels_within_an_unfinished_event_fill_nothing_before_its_top(venue: Venue) -> None:
    venue.place(BUY, 100, 10)
    venue.level(SELL, 100, 3)
    assert venue.fills() == []


def test_quote_that_reaches_the_price_fills_and_the_lagging_level_of_that_size_does_not_again(venue: Venue) -> None:
    order_id = venue.place(SELL, 100, 10)
    venue.quote(100, 6, 101, 4)
    assert venue.fills() == [(order_id, 6, 100)]
    venue.quote(100, 6, 102, 1)
    venue.change(BUY, (100, 6))
    assert venue.fills() == []


def test_cancel_frees_what_is_left_and_a_fill_before_it_wins(venue: Venue) -> None:
    order_id = venue.place(BUY, 100, 10)
    venue.send(venue.order(0, 0, 0, kind=IntentKind.CANCEL, ref_order_id=order_id))
    venue.wait(ORDER_LATENCY_NS - 1)
    venue.trade(SELL, 100, 4)
    venue.wait(1)
    venue.trade(SELL, 100, 4)
    assert venue.story() == [("ACK", order_id, 0, 0), ("TRADE", order_id, 4, 100), ("CANCELED", order_id, 0, 0)]


def test_cancel_is_rejected_with_what_became_of_the_order(venue: Venue) -> None:
    order_id = venue.place(BUY, 101, 4)
    venue.reports()
    cancel_id = venue.cancel(order_id)
    never_id = venue.cancel(777)
    done, unknown = venue.reports()
    assert (done["kind"], done["reason"], done["state"]) == (ReportKind.CANCEL_REJECTED, ExecutionCode.ALREADY_DONE, OrderState.FILLED)
    assert (done["order_id"], done["ref_order_id"], done["cum_lots"], done["qty_lots"]) == (order_id, cancel_id, 4, 4)
    assert (unknown["kind"], unknown["reason"]) == (ReportKind.CANCEL_REJECTED, ExecutionCode.UNKNOWN_ORDER)
    assert (unknown["order_id"], unknown["ref_order_id"]) == (777, never_id)


def test_replace_cancels_the_old_order_and_enters_the_new_one_at_the_back(venue: Venue) -> None:
    old = venue.place(BUY, 98, 10)
    new = venue.place(BUY, 99, 4, kind=IntentKind.REPLACE, ref_order_id=old)
    reports = venue.reports()
    assert [(r["kind"], r["order_id"], r["ref_order_id"]) for r in reports[1:]] == [
        (ReportKind.CANCELED, old, 0),
        (ReportKind.ACK, new, old),
    ]
    venue.trade(SELL, 97, 50)
    assert venue.fills() == [(new, 4, 99)]


def test_replace_of_a_filled_order_is_rejected_so_that_both_never_fill(venue: Venue) -> None:
    old = venue.place(BUY, 100, 10)
    new = venue.order(BUY, 99, 10, kind=IntentKind.REPLACE, ref_order_id=old)
    venue.send(new)
    venue.trade(SELL, 100, 10)
    venue.wait(ORDER_LATENCY_NS)
    last = venue.reports()[-1]
    assert (last["kind"], last["order_id"], last["reason"]) == (ReportKind.REJECTED, new["order_id"], ExecutionCode.UNKNOWN_ORDER)
    assert venue.m.words[WORKING_COUNT] == 0


def test_cancel_all_ends_the_strategys_orders_in_the_instrument_only() -> None:
    venue = Venue(instruments=2)
    venue.show({99: 5}, {101: 4}, 0)
    venue.show({99: 5}, {101: 4}, 1)
    mine = [venue.place(BUY, 98, strategy=1), venue.place(SELL, 102, strategy=1)]
    venue.place(BUY, 98, strategy=2)
    venue.place(BUY, 98, strategy=1, instrument=1)
    venue.reports()
    venue.place(0, 0, 0, kind=IntentKind.CANCEL_ALL, strategy=1)
    assert venue.story() == [("CANCELED", order_id, 0, 0) for order_id in mine]
    assert venue.m.words[WORKING_COUNT] == 2


def test_cancel_everything_ends_what_was_sent_before_it_and_is_sent_once() -> None:
    venue = Venue(instruments=2)
    venue.show({99: 5}, {101: 4}, 0)
    venue.show({99: 5}, {101: 4}, 1)
    first = venue.place(BUY, 98, strategy=1)
    flying = venue.order(BUY, 98, strategy=2, instrument=1)
    venue.send(flying)
    kernel.cancel_everything(venue.m, venue.now_ns)
    venue.wait(ORDER_LATENCY_NS // 2)
    kernel.cancel_everything(venue.m, venue.now_ns)
    late = venue.order(BUY, 98)
    venue.send(late)
    venue.wait(ORDER_LATENCY_NS)
    story = [(kind, order_id) for kind, order_id, _, _ in venue.story()]
    ids = (first, flying["order_id"], late["order_id"])
    assert story == [("ACK", ids[0]), ("ACK", ids[1]), ("CANCELED", ids[0]), ("CANCELED", ids[1]), ("ACK", ids[2])]


def test_invalid_book_fills_nothing_and_rejects_orders_but_cancels(venue: Venue) -> None:
    order_id = venue.place(BUY, 100, 10)
    venue.market(MarketKind.INVALID)
    venue.trade(SELL, 99, 50)
    venue.quote(98, 1, 99, 50)
    venue.change(SELL, (99, 50))
    refused = venue.place(BUY, 98)
    venue.cancel(order_id)
    story = venue.reports()
    assert [(r["kind"], r["order_id"]) for r in story[1:]] == [(ReportKind.REJECTED, refused), (ReportKind.CANCELED, order_id)]
    assert story[1]["reason"] == ExecutionCode.BOOK_INVALID


def test_book_is_invalid_before_its_first_valid() -> None:
    venue = Venue()
    venue.place(BUY, 98)
    assert venue.reports()[0]["reason"] == ExecutionCode.BOOK_INVALID


def test_replace_on_an_invalid_book_still_cancels_the_old_order(venue: Venue) -> None:
    old = venue.place(BUY, 98)
    venue.market(MarketKind.INVALID)
    venue.place(BUY, 97, kind=IntentKind.REPLACE, ref_order_id=old)
    assert [r["kind"] for r in venue.reports()] == [ReportKind.ACK, ReportKind.CANCELED, ReportKind.REJECTED]


def test_rebuilt_book_cuts_the_queue_ahead_to_what_it_shows(venue: Venue) -> None:
    order_id = venue.place(BUY, 99, 10)
    venue.show({98: 7}, {101: 4})
    venue.trade(SELL, 99, 2)
    assert venue.fills() == [(order_id, 2, 99)]


def test_order_takes_only_better_prices_than_an_own_order_against_it(venue: Venue) -> None:
    resting = venue.place(SELL, 102, 5)
    crossing = venue.place(BUY, 103, 20)
    reports = [r for r in venue.reports() if r["order_id"] == crossing]
    assert [(r["last_lots"], r["last_price_ticks"]) for r in reports[1:-1]] == [(4, 101)]
    assert (reports[-1]["kind"], reports[-1]["reason"]) == (ReportKind.EXPIRED, RiskCode.SELF_TRADE)
    assert venue.cancel(resting) and venue.story() == [("CANCELED", resting, 0, 0)]


def test_post_only_against_an_own_order_is_rejected(venue: Venue) -> None:
    venue.place(SELL, 100, 5)
    venue.place(BUY, 100, 5, flags=OrderFlag.POST_ONLY)
    assert venue.reports()[-1]["reason"] == ExecutionCode.POST_ONLY_WOULD_TAKE


@pytest.mark.parametrize("asset", list(FeeAsset))
@pytest.mark.parametrize("liquidity", [Liquidity.MAKER, Liquidity.TAKER])
def test_fee_is_the_amount_times_the_rate_half_even(asset: FeeAsset, liquidity: Liquidity) -> None:
    rows = instrument_rows()
    rows["fee_asset"] = asset
    venue = Venue(rows=rows)
    venue.show({99: 5}, {101: 7})
    if liquidity == Liquidity.TAKER:
        venue.place(BUY, 101, 7)
    else:
        venue.place(BUY, 100, 7)
        venue.trade(SELL, 100, 7)
    fill = venue.reports()[-1]
    rate = int(rows["taker_fee_e8" if liquidity == Liquidity.TAKER else "maker_fee_e8"][0])
    row = {name: int(rows[0][name]) for name in INSTRUMENT.names if name != "reserved"}
    assert fill["fee_e8"] == naive_fee_e8(row, fill["last_price_ticks"], 7, rate) != 0
    assert (fill["fee_asset"], fill["liquidity"]) == (asset, liquidity)


def test_order_is_rejected_when_the_table_is_full() -> None:
    venue = Venue(orders_max=2)
    venue.show({99: 5}, {101: 4})
    venue.place(BUY, 98)
    venue.place(BUY, 98)
    venue.place(BUY, 98)
    last = venue.reports()[-1]
    assert (last["kind"], last["reason"]) == (ReportKind.REJECTED, ExecutionCode.TABLE_FULL)
    venue.place(0, 0, 0, kind=IntentKind.CANCEL_ALL)
    venue.place(BUY, 98)
    assert venue.reports()[-1]["kind"] == ReportKind.ACK


def test_nothing_is_sent_when_too_much_is_in_flight_and_cancel_everything_still_is() -> None:
    venue = Venue(orders_max=2)
    venue.show({99: 5}, {101: 4})
    codes = [venue.send(venue.order(BUY, 98)) for _ in range(5)]
    assert codes == [0, 0, 0, ExecutionCode.TABLE_FULL, ExecutionCode.TABLE_FULL]
    kernel.cancel_everything(venue.m, venue.now_ns)
    venue.wait(ORDER_LATENCY_NS)
    assert venue.m.words[WORKING_COUNT] == 0
    assert [r["kind"] for r in venue.reports()].count(ReportKind.CANCELED) == 2


def test_order_that_would_take_too_many_levels_expires_and_never_rests_crossing() -> None:
    venue = Venue(walk_levels_max=2)
    venue.show({99: 5}, {101: 1, 102: 1, 103: 1})
    venue.place(BUY, 103, 5)
    reports = venue.reports()
    assert [r["last_price_ticks"] for r in reports[1:-1]] == [101, 102]
    assert (reports[-1]["kind"], reports[-1]["reason"]) == (ReportKind.EXPIRED, ExecutionCode.NO_LIQUIDITY)


def test_level_is_not_taken_when_taking_it_could_not_be_remembered() -> None:
    venue = Venue(walk_levels_max=1)
    venue.show({99: 5}, {101: 4})
    venue.place(BUY, 101, 1, tif=TimeInForce.IOC)
    venue.place(SELL, 99, 1, tif=TimeInForce.IOC)
    venue.place(BUY, 100, 5)
    venue.reports()
    venue.quote(99, 5, 100, 5)
    assert venue.fills() == [] and venue.m.words[TAKEN_FULL] == 1
    venue.place(0, 0, 0, kind=IntentKind.CANCEL_ALL)
    venue.level(SELL, 100, 5)
    venue.place(BUY, 100, 1)
    last = venue.reports()[-1]
    assert (last["kind"], last["reason"]) == (ReportKind.EXPIRED, ExecutionCode.NO_LIQUIDITY)
    assert venue.m.words[TAKEN_FULL] == 2


def test_fill_is_not_made_when_it_could_not_be_reported() -> None:
    venue = Venue(orders_max=1, walk_levels_max=1)
    venue.show({99: 5}, {101: 4})
    order_id = venue.place(BUY, 100, 1000)
    for _ in range(40):
        venue.trade(SELL, 100, 1)
    assert venue.m.words[FILLS_WITHHELD] > 0
    filled = len(venue.fills())
    venue.trade(SELL, 100, 1000)
    (report,) = venue.reports()
    assert report["order_id"] == order_id and report["last_lots"] == 1000 - filled and report["cum_lots"] == 1000


def test_arrivals_wait_for_room_when_reports_are_not_taken_and_no_order_is_lost() -> None:
    venue = Venue(orders_max=4, walk_levels_max=4)
    venue.show({99: 5}, {101: 4})
    sent: list[int] = []
    codes = set()
    for _ in range(60):
        order = venue.order(BUY, 98, tif=TimeInForce.IOC)
        codes.add(venue.send(order))
        if 0 in codes and len(codes) == 1:
            sent.append(order["order_id"])
        venue.wait(ORDER_LATENCY_NS)
    assert codes == {0, ExecutionCode.TABLE_FULL}
    assert kernel.next_due_ns(venue.m) <= venue.now_ns
    kernel.cancel_everything(venue.m, venue.now_ns)
    assert kernel.check(venue.m) == 0
    ended = []
    while reports := venue.reports():
        ended += [r["order_id"] for r in reports if r["kind"] == ReportKind.EXPIRED]
        venue.wait(ORDER_LATENCY_NS)
    assert ended == sent


def test_arrival_that_fills_level_by_level_waits_for_room_for_every_report() -> None:
    venue = Venue(orders_max=4, walk_levels_max=4)
    venue.show({99: 5}, {101: 1, 102: 1, 103: 1, 104: 1})
    for size in range(2, 12):
        venue.send(venue.order(BUY, 104, 1000, tif=TimeInForce.IOC))
        venue.wait(ORDER_LATENCY_NS)
        venue.change(SELL, *((price, size) for price in (101, 102, 103, 104)))
    assert kernel.next_due_ns(venue.m) <= venue.now_ns
    acks = 0
    while reports := venue.reports():
        acks += sum(r["kind"] == ReportKind.ACK for r in reports)
        venue.wait(ORDER_LATENCY_NS)
    assert acks == 10


@pytest.mark.parametrize("wrong", [{"orders_max": 0}, {"walk_levels_max": 0}, {"order_latency_ns": -1}, {"ack_latency_ns": -1}])
def test_new_matching_refuses_senseless_bounds(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="was|were"):
        Venue(**wrong)


class Pair:
    """The same random traffic into the kernels and into the naive twin."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        rows = instrument_rows(2)
        rows["fee_asset"][1] = FeeAsset.BASE
        self.venue = Venue(rows=rows, orders_max=12)
        plain = [{name: int(row[name]) for name in INSTRUMENT.names if name != "reserved"} for row in rows]
        self.naive = NaiveVenue(plain, ORDER_LATENCY_NS, ACK_LATENCY_NS, orders_max=12, ended_max=len(self.venue.m.done))
        self.mids = [100, 200]
        self.orders: dict[int, dict[str, int]] = {}
        self.seen: list[dict[str, int]] = []

    def step(self) -> None:
        self.venue.now_ns += self.random.choice([0, 1, 20, 60, 150])
        self.naive.advance(self.venue.now_ns)
        self.venue.wait(0)
        actions = [self.order, self.order, self.instruction, self.depth, self.depth, self.trade, self.quote, self.validity]
        self.random.choices(actions, weights=[4, 4, 5, 6, 6, 8, 6, 1])[0]()
        self.compare()

    def compare(self) -> None:
        while (report := self.venue.pop()) is not None:
            visible_ns, expected = self.naive.reports.pop(0)
            assert visible_ns <= self.venue.now_ns
            assert {name: report[name] for name in REPORT_FIELDS} == expected
            self.seen.append(report)
        assert not self.naive.reports or self.naive.reports[0][0] > self.venue.now_ns
        working = {int(self.venue.m.orders[s]["order_id"]): s for s in self.slots()}
        assert set(working) == {own.order["order_id"] for own in self.naive.working}
        for own in self.naive.working:
            row = self.venue.m.resting[working[own.order["order_id"]]]
            assert (row["cum_lots"], row["leaves_lots"], row["queue_ahead_lots"]) == (own.cum, own.leaves, own.ahead)

    def slots(self) -> list[int]:
        slots = []
        for head in self.venue.m.heads.ravel():
            while head >= 0:
                slots.append(int(head))
                head = self.venue.m.resting[head]["next"]
        return slots

    def order(self) -> None:
        instrument = self.random.randrange(2)
        fields: dict[str, int] = {"instrument": instrument, "strategy": self.random.randrange(2)}
        fields["tif"] = self.random.choices([TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK], weights=[8, 2, 1])[0]
        fields["flags"] = OrderFlag.POST_ONLY if self.random.random() < 0.3 and fields["tif"] == TimeInForce.GTC else 0
        price = self.mids[instrument] + self.random.randint(-5, 5)
        self.both_send(self.venue.order(self.random.choice([BUY, SELL]), price, self.random.randint(1, 12), **fields))

    def instruction(self) -> None:
        kind = self.random.choices([IntentKind.CANCEL, IntentKind.REPLACE, IntentKind.CANCEL_ALL], weights=[6, 5, 1])[0]
        recent = list(self.orders)[-20:]
        meant = self.random.choice(recent) if recent and self.random.random() < 0.95 else 10**9
        instrument = self.orders.get(meant, {"instrument": 0})["instrument"]
        fields = {"kind": kind, "ref_order_id": 0 if kind == IntentKind.CANCEL_ALL else meant, "instrument": instrument}
        if kind == IntentKind.REPLACE:
            price = self.mids[instrument] + self.random.randint(-5, 5)
            order = self.venue.order(self.random.choice([BUY, SELL]), price, self.random.randint(1, 12), **fields)
        else:
            order = self.venue.order(0, 0, 0, strategy=self.random.randrange(2), **fields)
        self.both_send(order)

    def both_send(self, order: dict[str, int]) -> None:
        assert self.venue.send(order) == 0
        self.naive.send(order, self.venue.now_ns)
        if order["kind"] in (IntentKind.NEW, IntentKind.REPLACE):
            self.orders[order["order_id"]] = order

    def level(self, instrument: int, side: int, price: int, qty: int) -> None:
        levels = self.naive.books[instrument][side]
        levels.pop(price, None)
        if qty:
            levels[price] = qty
        self.venue.level(side, price, qty, instrument)
        self.naive.on_level(instrument, side, price, qty)

    def depth(self) -> None:
        """Move the middle, drop what it crossed, and set some levels."""
        instrument = self.random.randrange(2)
        self.mids[instrument] += self.random.choice([-2, -1, 0, 0, 0, 1, 2])
        mid = self.mids[instrument]
        for side in (BUY, SELL):
            for price in [p for p in self.naive.books[instrument][side] if side * (mid - p) <= 0]:
                self.level(instrument, side, price, 0)
            for _ in range(self.random.randrange(4)):
                self.level(instrument, side, mid - side * self.random.randint(1, 4), self.random.choice([0, 1, 3, 5, 5, 9]))
        self.venue.top(instrument)
        self.naive.on_top(instrument, self.venue.now_ns)

    def trade(self) -> None:
        aggressor, qty = self.random.choice([BUY, SELL]), self.random.randint(1, 12)
        price = self.mids[0] + aggressor * self.random.randint(-1, 3)
        self.venue.trade(aggressor, price, qty)
        self.naive.on_trade(0, aggressor, price, qty, self.venue.now_ns)

    def quote(self) -> None:
        middle = self.mids[0] + self.random.randint(-3, 3)
        bid, ask = (middle - 1, self.random.randint(1, 6)), (middle + 1, self.random.randint(1, 6))
        self.venue.quote(*bid, *ask)
        self.naive.on_quote(0, BUY, *bid, self.venue.now_ns)
        self.naive.on_quote(0, SELL, *ask, self.venue.now_ns)

    def validity(self) -> None:
        instrument = self.random.randrange(2)
        if self.naive.valid[instrument] and self.random.random() < 0.5:
            self.venue.market(MarketKind.INVALID, instrument)
            self.naive.valid[instrument] = False
            return
        levels = {side: dict(self.naive.books[instrument][side]) for side in (BUY, SELL)}
        self.venue.market(MarketKind.RESET, instrument)
        self.naive.on_reset(instrument)
        for side in (BUY, SELL):
            self.naive.books[instrument][side].clear()
            for price, qty in levels[side].items():
                if self.random.random() < 0.8:
                    self.level(instrument, side, price, qty)
        self.venue.market(MarketKind.VALID, instrument)
        self.naive.on_valid(instrument)
        self.venue.top(instrument)
        self.naive.on_top(instrument, self.venue.now_ns)

    def conserve(self) -> None:
        """Each order's reports add up: fills within its size and limit, one end, nothing after the end."""
        for order_id, order in self.orders.items():
            own = [r for r in self.seen if r["order_id"] == order_id and r["kind"] != ReportKind.CANCEL_REJECTED]
            cum = 0
            for position, report in enumerate(own):
                cum += report["last_lots"]
                assert report["cum_lots"] == cum <= order["qty_lots"]
                if report["kind"] == ReportKind.TRADE:
                    assert order["side"] * (order["price_ticks"] - report["last_price_ticks"]) >= 0
                over = report["state"] in (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)
                assert over == (report["leaves_lots"] == 0)
                assert over or report["leaves_lots"] + cum == order["qty_lots"]
                assert not over or position == len(own) - 1


def run_pair(seed: int, steps: int) -> Pair:
    pair = Pair(seed)
    pair.validity()
    for _ in range(20):
        pair.depth()
    for step in range(steps):
        try:
            pair.step()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, step {step}: {error}") from error
    pair.conserve()
    return pair


@pytest.mark.parametrize("seed", range(12))
def test_matching_reports_what_the_naive_venue_reports_under_random_traffic(seed: int) -> None:
    pair = run_pair(seed, 400)
    kinds = {ReportKind(report["kind"]) for report in pair.seen}
    expected = {ReportKind.ACK, ReportKind.TRADE, ReportKind.CANCELED, ReportKind.EXPIRED, ReportKind.REJECTED, ReportKind.CANCEL_REJECTED}
    assert kinds == expected, f"seed {seed} did not reach {expected - kinds}"


@pytest.mark.load
@pytest.mark.parametrize("seed", range(100, 160))
def test_matching_reports_what_the_naive_venue_reports_under_much_random_traffic(seed: int) -> None:
    run_pair(seed, 4000)
