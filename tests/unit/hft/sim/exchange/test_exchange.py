"""What the exchange tells: events in order, budgets, statuses, timers, history, and the view from outside."""

import json

import pytest

from hft.sim.exchange.background import Background
from hft.sim.exchange.exchange import NEVER_NS, Exchange
from hft.sim.exchange.records import BUY, SELL, Account, EventKind, FeeAsset, Instrument, Kind, Reason, Refusal, Refused, Status, Stp, Tif
from hft.sim.exchange.view import Audit, state
from hft.sim.market import BookText, Event
from hft.sim.market import EventKind as MarketKind


def exchange(fee_asset=FeeAsset.RECEIVED, **options):
    pair = Instrument("PAIR", "BASE", "QUOTE", "0.01", "0.001", open_max=5, price_max="1000", qty_max="100", notional_min="0.5")
    accounts = [Account(name, {"BASE": "50", "QUOTE": "5000"}, "0.001", "0.002") for name in ("ann", "bob")]
    venue = Exchange([pair], accounts, fee_asset=fee_asset, first_order_id=100, first_trade_id=7, **options)
    venue.show_book("PAIR", [(9_990, 2_000), (9_980, 5_000)], [(10_010, 2_000), (10_020, 5_000)], 1)
    return venue, pair, *accounts


def told(venue):
    return [(event.kind.name, event.account.name) for event in venue.take_events()]


def test_a_taker_and_a_maker_are_told_in_order_and_balances_come_last():
    venue, pair, ann, bob = exchange()
    venue.place(ann, pair, BUY, price_ticks=10_000, qty_lots=1_000, client_id="a", now_ns=2)
    assert told(venue) == [("ACCEPTED", "ann"), ("BALANCE", "ann")]
    venue.place(bob, pair, SELL, price_ticks=9_990, qty_lots=2_500, client_id="b", now_ns=3)
    events = venue.take_events()
    assert [(event.kind.name, event.account.name) for event in events] == [
        ("ACCEPTED", "bob"),
        ("TRADED", "bob"),
        ("TRADED", "ann"),
        ("TRADED", "bob"),
        ("BALANCE", "bob"),
        ("BALANCE", "ann"),
    ]
    assert [event.number for event in events] == list(range(events[0].number, events[0].number + 6))
    first, maker, second = events[1].fill, events[2].fill, events[3].fill
    assert (first.trade_id, maker.trade_id, second.trade_id) == (7, 7, 8)
    assert first.counter_order_id == 100 and maker.counter_order_id == 101 and second.counter_order_id == 0
    assert (first.fee_asset, first.fee_e8, maker.fee_asset, maker.fee_e8) == ("QUOTE", 20_000_000, "BASE", 100_000)
    assert [event.done for event in events[1:4]] == [False, True, True]
    assert events[5].balances == {"BASE": (5_099_900_000, 0), "QUOTE": (490_000_000_000, 0)}


def test_a_level_is_not_taken_twice_until_it_shows_another_size():
    venue, pair, ann, bob = exchange()
    first = venue.place(ann, pair, BUY, price_ticks=10_010, qty_lots=1_500, tif=Tif.IOC, now_ns=2)
    second = venue.place(bob, pair, BUY, price_ticks=10_010, qty_lots=1_500, tif=Tif.IOC, now_ns=3)
    assert (first.cum_lots, second.cum_lots, second.reason) == (1_500, 500, Reason.IOC)
    venue.show_levels("PAIR", [], [(10_010, 2_000)], 4)
    assert venue.place(bob, pair, BUY, price_ticks=10_010, qty_lots=10, tif=Tif.IOC, now_ns=5).cum_lots == 0
    venue.show_levels("PAIR", [], [(10_010, 2_001)], 6)
    assert venue.place(bob, pair, BUY, price_ticks=10_010, qty_lots=9_000, tif=Tif.IOC, now_ns=7).cum_lots == 2_001


def test_a_smaller_size_keeps_the_place_in_the_queue_and_a_larger_one_loses_it():
    venue, pair, ann, bob = exchange()
    first = venue.place(ann, pair, BUY, price_ticks=10_000, qty_lots=1_000, now_ns=2)
    second = venue.place(bob, pair, BUY, price_ticks=10_000, qty_lots=1_000, now_ns=3)
    venue.amend(first, 4, qty_lots=900)
    venue.place(bob, pair, SELL, price_ticks=10_000, qty_lots=100, now_ns=5)
    assert (first.cum_lots, second.cum_lots) == (100, 0)
    venue.amend(first, 6, qty_lots=1_000)
    venue.place(ann, pair, SELL, price_ticks=10_000, qty_lots=100, now_ns=7)
    assert (first.cum_lots, second.cum_lots) == (100, 100)


@pytest.mark.parametrize("fee_asset", list(FeeAsset))
def test_a_budget_in_quote_is_spent_to_the_last_lot_it_can_buy(fee_asset):
    venue, pair, ann, bob = exchange(fee_asset)
    audit = Audit(venue)
    order = venue.place(ann, pair, BUY, kind=Kind.MARKET, quote_qty_e8=300 * 10**8, now_ns=2)
    price = 100.2 if fee_asset is FeeAsset.QUOTE else 100.1
    assert order.status.name == "FILLED" and order.qty_lots == order.cum_lots > 2_000
    left = 300 * 10**8 - order.cum_quote_e8 - (sum(f.fee_e8 for f in order.fills) if fee_asset is FeeAsset.QUOTE else 0)
    assert 0 <= left < price * 1.01 * 10**5
    assert [event.done for event in venue.take_events() if event.order is order] == [False, False, True]
    sale = venue.place(bob, pair, SELL, kind=Kind.MARKET, quote_qty_e8=100 * 10**8, now_ns=3)
    assert sale.status.name == "FILLED" and sale.cum_lots == 1_001
    audit.check()


def test_market_orders_expire_for_want_of_liquidity():
    venue, pair, ann, _ = exchange()
    order = venue.place(ann, pair, SELL, kind=Kind.MARKET, qty_lots=9_000, now_ns=2)
    assert (order.cum_lots, order.status.name, order.reason) == (7_000, "EXPIRED", Reason.NO_LIQUIDITY)


def test_refusals_change_nothing_and_name_why():
    venue, pair, ann, _ = exchange()
    before = state(venue)

    def refused(**order):
        with pytest.raises(Refusal) as caught:
            venue.place(ann, pair, order.pop("side", BUY), now_ns=2, **order)
        assert state(venue) == before and venue.take_events() == []
        return caught.value.why

    assert refused(price_ticks=10_010, qty_lots=1_000, post_only=True) is Refused.WOULD_TAKE
    assert refused(price_ticks=9_000, qty_lots=60_000) is Refused.INSUFFICIENT_FUNDS
    assert refused(side=SELL, price_ticks=11_000, qty_lots=50_001) is Refused.INSUFFICIENT_FUNDS
    assert refused(price_ticks=9_000, qty_lots=5) is Refused.NOTIONAL_TOO_SMALL
    assert refused(price_ticks=9_000, qty_lots=0) is Refused.QTY_TOO_SMALL
    assert refused(price_ticks=9_000, qty_lots=100_001) is Refused.QTY_TOO_LARGE
    assert refused(price_ticks=100_001, qty_lots=1_000) is Refused.PRICE_TOO_HIGH
    for status, order in [
        (Status.CANCEL_ONLY, {"price_ticks": 9_000, "post_only": True}),
        (Status.POST_ONLY, {"price_ticks": 9_000}),
        (Status.LIMIT_ONLY, {"kind": Kind.MARKET}),
    ]:
        pair.status = status
        before = state(venue)
        assert refused(qty_lots=1_000, **order) is Refused.STATUS
    pair.status = Status.TRADING
    for number in range(5):
        venue.place(ann, pair, BUY, price_ticks=9_000, qty_lots=100, client_id=str(number), now_ns=2)
    venue.take_events()
    before = state(venue)
    assert refused(price_ticks=9_000, qty_lots=100, client_id="0") is Refused.DUPLICATE_CLIENT_ID
    assert refused(price_ticks=9_000, qty_lots=100) is Refused.TOO_MANY_OPEN


@pytest.mark.parametrize(("fee_asset", "lots"), [(FeeAsset.RECEIVED, 50_000), (FeeAsset.QUOTE, 49_900)])
def test_an_order_may_hold_all_there_is_and_not_one_lot_more(fee_asset, lots):
    venue, pair, ann, _ = exchange(fee_asset)
    with pytest.raises(Refusal):
        venue.place(ann, pair, BUY, price_ticks=9_999, qty_lots=lots + 6, now_ns=2)
    venue.place(ann, pair, BUY, price_ticks=9_999, qty_lots=lots + 5, now_ns=2)
    assert 0 <= ann.free["QUOTE"] < 10**8 // 10
    assert ann.hold["QUOTE"] == 5000 * 10**8 - ann.free["QUOTE"]


def test_a_dry_run_leaves_no_trace():
    venue, pair, ann, _ = exchange()
    before = state(venue)
    venue.place(ann, pair, BUY, price_ticks=10_010, qty_lots=1_000, now_ns=2, dry_run=True)
    assert state(venue) == before and venue.take_events() == []
    assert venue.place(ann, pair, BUY, price_ticks=9_000, qty_lots=1_000, now_ns=2).order_id == 100


def test_nothing_can_be_cancelled_while_an_instrument_is_halted():
    venue, pair, ann, _ = exchange()
    order = venue.place(ann, pair, BUY, price_ticks=9_000, qty_lots=1_000, now_ns=2)
    pair.status = Status.HALTED
    with pytest.raises(Refusal):
        venue.cancel(order, 3)
    assert venue.cancel_all(ann, 3) == [] and order.is_open


def test_the_dead_man_timer_cancels_everything_once_unless_it_is_pushed_back():
    venue, pair, ann, bob = exchange()
    orders = [venue.place(account, pair, BUY, price_ticks=9_000, qty_lots=1_000, now_ns=2) for account in (ann, ann, bob)]
    venue.cancel_all_after(ann, 100)
    venue.work(99)
    venue.cancel_all_after(ann, 200)
    venue.work(150)
    assert all(order.is_open for order in orders) and venue.deadline_ns() == 200
    venue.take_events()
    venue.work(200)
    assert [order.is_open for order in orders] == [False, False, True] and venue.deadline_ns() == NEVER_NS
    assert {(event.kind, event.reason) for event in venue.take_events() if event.order} == {(EventKind.CANCELED, Reason.DEAD_MAN)}


def test_an_order_expires_at_its_time():
    venue, pair, ann, _ = exchange()
    order = venue.place(ann, pair, BUY, price_ticks=9_000, qty_lots=1_000, expires_ns=50, now_ns=2)
    assert venue.deadline_ns() == 50
    venue.work(49)
    assert order.is_open
    venue.work(50)
    assert (order.status.name, order.reason) == ("EXPIRED", Reason.TIME)


def test_self_trade_prevention_decrements_both_and_ends_the_smaller():
    venue, pair, ann, _ = exchange()
    audit = Audit(venue)
    resting = venue.place(ann, pair, BUY, price_ticks=10_000, qty_lots=1_000, now_ns=2)
    taker = venue.place(ann, pair, SELL, price_ticks=10_000, qty_lots=400, stp=Stp.DECREMENT, now_ns=3)
    assert (resting.leaves_lots, resting.prevented_lots, resting.is_open) == (600, 400, True)
    assert (taker.status.name, taker.reason, taker.prevented_lots) == ("EXPIRED", Reason.STP, 400)
    audit.check()


def test_orders_are_found_by_either_id_until_the_history_forgets_them():
    venue, pair, ann, bob = exchange(history_max=2)
    orders = []
    for number in range(3):
        orders.append(venue.place(ann, pair, BUY, price_ticks=9_000, qty_lots=100, client_id="same", now_ns=number))
        venue.cancel(orders[-1], 5)
    assert venue.find(ann, client_id="same") is orders[2] and venue.find(ann, order_id=101) is orders[1]
    assert venue.find(ann, order_id=100) is None and venue.find(bob, order_id=101) is None
    with pytest.raises(Refusal):
        venue.find_open(ann, client_id="same")


def test_the_background_follows_a_markets_events():
    venue, pair, ann, _ = exchange()
    background = Background(venue, {"MARKET": "PAIR"})
    background.load("MARKET", BookText(5, [("90.00", "1.000")], [("91.00", "2.000")]), 1)
    order = venue.place(ann, pair, BUY, price_ticks=9_000, qty_lots=1_000, now_ns=2)
    assert order.queue_ahead_lots == 1_000
    trade = Event(0, MarketKind.TRADE, "MARKET", "", b'{"p":"90.00","q":"1.400","m":true}')
    background.follow(trade, 3)
    assert order.cum_lots == 400
    background.follow(Event(0, MarketKind.TICKER, "MARKET", "", b'{"b":"88.00","B":"1","a":"90.00","A":"0.100"}'), 4)
    assert order.cum_lots == 500
    diff = b'{"e":"depthUpdate","E":1,"s":"MARKET","U":1,"u":2,"b":[["88.00","0"]],"a":[["89.50","9.000"]]}'
    background.follow(Event(0, MarketKind.DEPTH, "MARKET", "market@depth@100ms", diff), 5)
    assert order.status.name == "FILLED"
    background.follow(Event(0, MarketKind.TRADE, "OTHER", "", b""), 6)


def test_the_state_is_plain_json_in_decimals():
    venue, pair, ann, _ = exchange()
    venue.place(ann, pair, BUY, price_ticks=10_010, qty_lots=1_000, client_id="x", now_ns=2)
    venue.place(ann, pair, SELL, price_ticks=10_050, qty_lots=250, client_id="y", now_ns=3)
    found = json.loads(json.dumps(state(venue)))["accounts"]["ann"]
    assert found["traded"] == {"PAIR": "1.000"} and found["balances"]["BASE"] == {"free": "50.74800000", "hold": "0.25000000"}
    assert found["open_orders"][0]["client_id"] == "y" and found["open_orders"][0]["price"] == "100.50"
    assert found["fills"][0] == {
        "trade_id": 7,
        "order_id": 100,
        "client_id": "x",
        "symbol": "PAIR",
        "side": "BUY",
        "price": "100.10",
        "qty": "1.000",
        "fee": "0.00200000",
        "fee_asset": "BASE",
        "maker": False,
        "at_ns": 2,
    }
