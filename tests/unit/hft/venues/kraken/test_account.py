"""Kraken account: log-on, an order's whole life, queries and reconciliation, against the simulated venue in virtual time."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from hft.live_orders import slot_now
from hft.records import INSTRUMENT, VENUE_EVENT, IntentKind, OrderFlag, OrderState, Side, TimeInForce, VenueEventKind
from hft.venues.interface import HANDSHAKE_NS, AccountSession, Call, Credentials, Snapshot
from hft.venues.kraken.account import DEAD_MAN_S, OVERLAP_NS, KrakenAccount
from hft.venues.kraken.account_rows import client_id, order_id_of
from hft.venues.kraken.ids import bits_of
from hft.venues.kraken.orders import TOKEN_BYTES, new_codec
from hft.venues.kraken.pair_names import pair_names
from hft.venues.kraken.private_tables import LOST_MESSAGES, NEWEST_FILL_NS
from hft.venues.kraken.reconcile import PAGE, Reconciliation
from hft.venues.kraken.rest_budget import Budget
from support.bookings import nothing_booked
from support.kraken_trader import EPOCH, SECOND_NS, Trader, instruments


def connected(**options: Any) -> Trader:
    trader = Trader(**options)
    trader.driver.run(1)
    trader.connect()
    assert trader.account.ready
    return trader


def resting(trader: Trader, qty_lots: int = 1_000_000) -> int:
    """A buy order far below the market, acknowledged."""
    bid, _ = trader.touch()
    order_id = trader.send(IntentKind.NEW, price_ticks=bid - 20_000, qty_lots=qty_lots)
    trader.run(0.1)
    assert trader.of(order_id) == [("ACK", 0)]
    return order_id


def venue_orders(trader: Trader) -> list[Any]:
    return list(trader.private("OpenOrders")["result"]["open"].values())


def test_orders_may_leave_once_the_stream_and_its_snapshot_are_there() -> None:
    trader = Trader()
    trader.driver.run(1)
    session: AccountSession = trader.account
    assert session.endpoint() is None and trader.codec.words[TOKEN_BYTES] == 0
    trader.connect()
    assert session.ready and trader.codec.words[TOKEN_BYTES] > 0 and trader.calls == ["GetWebSocketsToken"]
    trader.disconnect()
    assert not session.ready and trader.codec.words[TOKEN_BYTES] == 0 and session.endpoint() is None
    trader.connect()
    assert session.ready and trader.calls == ["GetWebSocketsToken"] * 2, "each connection has a token of its own"


def test_a_connection_that_opens_before_its_token_came_subscribes_when_it_comes() -> None:
    trader = Trader()
    trader.silent = True
    trader._say(trader.account.prepare(0, trader.driver.utc_ns))
    trader.session = trader.driver.open()
    trader._say(trader.account.hello(trader.driver.now_ns, trader.driver.utc_ns))
    trader.silent = False
    trader.run(3)
    assert trader.account.ready


def test_an_order_is_acknowledged_and_canceled_once() -> None:
    trader = connected()
    order_id = resting(trader)
    assert [order["cl_ord_id"] for order in venue_orders(trader)] == [client_id(order_id)]
    trader.send(IntentKind.CANCEL, order_id)
    trader.run(0.1)
    assert trader.of(order_id) == [("ACK", 0), ("CANCELED", 0)] and venue_orders(trader) == []


def test_a_fill_counts_once_and_filled_adds_nothing() -> None:
    trader = connected()
    _, ask = trader.touch()
    order_id = trader.send(IntentKind.NEW, price_ticks=ask + 5000, qty_lots=3_000_000)
    trader.run(0.2)
    told = trader.of(order_id)
    assert told[0] == ("ACK", 0) and {kind for kind, _ in told[1:]} == {"TRADE"}
    assert sum(lots for _, lots in told) == 3_000_000 and trader.state(order_id) == OrderState.FILLED
    fees = sum(int(event["fee_e8"]) for event in trader.seen if event["kind"] == VenueEventKind.TRADE)
    history = trader.private("TradesHistory")["result"]["trades"].values()
    assert fees == sum(round(float(fill["fee"]) * 1e8) for fill in history) > 0


def test_an_order_that_finds_no_liquidity_expires() -> None:
    trader = connected()
    bid, _ = trader.touch()
    order_id = trader.send(IntentKind.NEW, price_ticks=bid - 20_000, tif=TimeInForce.IOC)
    trader.run(0.2)
    assert trader.of(order_id)[-1] == ("EXPIRED", 0)


def test_a_post_only_order_that_would_take_does_not() -> None:
    trader = connected()
    _, ask = trader.touch()
    order_id = trader.send(IntentKind.NEW, price_ticks=ask + 5000, flags=OrderFlag.POST_ONLY)
    trader.run(0.2)
    assert trader.of(order_id)[-1][0] in ("REJECTED", "CANCELED") and not any(lots for _, lots in trader.of(order_id))


def test_an_amendment_hands_the_wire_id_to_the_new_order() -> None:
    trader = connected()
    first = resting(trader)
    bid, ask = trader.touch()
    second = trader.send(IntentKind.REPLACE, first, price_ticks=bid - 10_000, qty_lots=2_000_000)
    trader.run(0.1)
    assert trader.of(first) == [("ACK", 0), ("CANCELED", 0)] and trader.of(second) == [("ACK", 0)]
    (order,) = venue_orders(trader)
    assert (order["cl_ord_id"], order["vol"], order["descr"]["price"]) == (client_id(first), "0.02000000", f"{(bid - 10_000) / 10:.1f}")
    third = trader.send(IntentKind.REPLACE, second, price_ticks=ask + 5000, qty_lots=2_000_000)
    trader.run(0.2)
    assert sum(lots for _, lots in trader.of(third)) == 2_000_000, "fills come under the first id and belong to the newest order"
    assert trader.state(third) == OrderState.FILLED and not any(lots for _, lots in trader.of(first) + trader.of(second))


@pytest.mark.parametrize("changed_again", [False, True])
def test_an_amendment_whose_answer_was_lost_is_found_out_by_its_terms(changed_again: bool) -> None:
    trader = connected()
    first = resting(trader)
    bid, _ = trader.touch()
    trader.deaf = True
    second = trader.send(IntentKind.REPLACE, first, price_ticks=bid - 10_000, qty_lots=2_000_000)
    if changed_again:
        trader.private("AmendOrder", cl_ord_id=client_id(first), limit_price=f"{(bid - 15_000) / 10:.1f}")
    trader.run(0.2)
    trader.disconnect()
    trader.deaf = False
    trader.connect()
    trader._say(trader.account.query(second, 0, trader.driver.now_ns, trader.driver.utc_ns))
    trader._take_events()
    kinds = [VenueEventKind(int(event["kind"])) for event in trader.seen[-2:]]
    if changed_again:
        assert kinds == [VenueEventKind.NOT_FOUND, VenueEventKind.STATUS]
        assert int(trader.seen[-2]["order_id"]) == second and int(trader.seen[-1]["order_id"]) == first
    else:
        assert kinds == [VenueEventKind.AMENDED, VenueEventKind.STATUS]
        assert trader.of(first)[-1] == ("CANCELED", 0) and trader.of(second)[-1] == ("ACK", 0)


def test_an_order_whose_answer_was_lost_is_asked_for_with_its_fills() -> None:
    trader = connected()
    _, ask = trader.touch()
    trader.deaf = True
    order_id = trader.send(IntentKind.NEW, price_ticks=ask + 5000, qty_lots=3_000_000)
    trader.run(0.2)
    trader.deaf = False
    assert trader.of(order_id) == []
    trader._say(trader.account.query(order_id, 0, trader.driver.now_ns, trader.driver.utc_ns))
    trader._take_events()
    assert sum(lots for _, lots in trader.of(order_id)) == 3_000_000 and trader.state(order_id) == OrderState.FILLED
    before = list(trader.told)
    trader._say(trader.account.query(order_id, 0, trader.driver.now_ns, trader.driver.utc_ns))
    trader._take_events()
    assert trader.told == before, "the stream, the query and its repetition have the same trade ids"


def test_an_order_that_never_arrived_is_not_found() -> None:
    trader = connected()
    trader._say(trader.account.query(EPOCH << 40 | 999, 0, trader.driver.now_ns, trader.driver.utc_ns))
    assert [int(event["kind"]) for event in trader.account.events] == [VenueEventKind.NOT_FOUND]
    assert int(trader.account.events[0]["order_id"]) == EPOCH << 40 | 999


def test_a_query_without_an_answer_makes_no_event_and_may_be_repeated() -> None:
    trader = connected()
    trader.silent = True
    for _ in range(2):
        trader._say(trader.account.query(EPOCH << 40 | 999, 0, trader.driver.now_ns, trader.driver.utc_ns))
    assert trader.account.events == [] and trader.calls.count("QueryOrders") == 2


@pytest.mark.parametrize("body", [b"<html>", b"{}", b'{"error":[],"result":5}', b'{"error":["EService:Unavailable"]}'])
def test_an_answer_that_is_none_proves_nothing(body: bytes) -> None:
    trader = connected()
    (call,) = trader.account.query(EPOCH << 40 | 999, 0, trader.driver.now_ns, trader.driver.utc_ns)
    assert isinstance(call, Call)
    trader.account.answer(call.tag, 200, body, trader.driver.now_ns, trader.driver.utc_ns)
    assert trader.account.events == []


def test_reconciliation_has_open_orders_fills_with_their_owners_and_balances() -> None:
    trader = connected()
    assert len(trader.reconcile().fills) == 0
    open_id = resting(trader)
    _, ask = trader.touch()
    filled_id = trader.send(IntentKind.NEW, price_ticks=ask + 5000, qty_lots=3_000_000)
    trader.run(0.2)
    streamed = {int(event["trade_id"]) for event in trader.seen if event["kind"] == VenueEventKind.TRADE}
    snapshot = trader.reconcile()
    assert snapshot.open_orders["order_id"].tolist() == [open_id] and snapshot.open_orders["state"].tolist() == [OrderState.NEW]
    assert set(snapshot.fills["trade_id"].tolist()) == streamed, "REST and the stream tell the same trades by the same ids"
    assert set(snapshot.fills["order_id"].tolist()) == {filled_id} and int(snapshot.fills["last_lots"].sum()) == 3_000_000
    held = [held for _, held in snapshot.balances.values()]
    assert any(float(text) > 0 for text in held) and all(float(free) >= 0 for free, _ in snapshot.balances.values())


def takes(trader: Trader, count: int = 1) -> list[int]:
    """So many orders that are filled at once."""
    ids = []
    for _ in range(count):
        ids.append(trader.send(IntentKind.NEW, price_ticks=trader.touch()[1] + 5000, qty_lots=1_000_000))
        trader.run(0.05)
    return ids


def test_a_fill_on_the_stream_before_the_reconciliation_hides_no_older_one() -> None:
    before = connected()
    before.reconcile()
    takes(before)
    before.deaf = True
    (missed,) = takes(before)
    before.run(12)
    before.disconnect()
    after = Trader(before.driver)
    after._counter, after.account._nonce = 1000, before.account._nonce + 10**9
    after.connect()
    takes(after)
    assert missed in after.reconcile().fills["order_id"]


def comparable(snapshot: Snapshot) -> tuple[list[Any], list[Any]]:
    """Open orders and fills without when they were received."""
    fields = [name for name in VENUE_EVENT.names or () if name not in ("received_ns", "exchange_ns", "reserved")]
    opened = sorted(snapshot.open_orders[fields].tolist())
    return opened, snapshot.fills[[*fields, "exchange_ns"]].tolist()


@pytest.mark.parametrize("fills", [0, 1, 10])
def test_a_reconciliation_needs_no_more_than_balances_where_the_stream_begins_with_the_rest(fills: int) -> None:
    trader = connected()
    trader.reconcile()
    resting(trader)
    takes(trader, 2)
    trader.deaf = True
    takes(trader, fills)
    trader.disconnect()
    trader.deaf = False
    trader.connect()
    trader.calls.clear()
    streamed = trader.reconcile()
    assert trader.calls == ["BalanceEx"] and len(streamed.open_orders) == 1
    trader.codec.private.words[NEWEST_FILL_NS] = 0
    asked = trader.reconcile()
    assert trader.calls[1:4] == ["OpenOrders", "TradesHistory", "BalanceEx"]
    assert comparable(streamed) == comparable(asked) and len(asked.fills) >= 2 + fills
    assert streamed.balances == asked.balances


def test_more_fills_than_the_stream_begins_with_are_asked_for() -> None:
    trader = connected()
    trader.reconcile()
    takes(trader)
    trader.run(OVERLAP_NS / SECOND_NS + 1)
    trader.deaf = True
    missed = set(takes(trader, 55))
    trader.disconnect()
    trader.deaf = False
    trader.connect()
    trader.calls.clear()
    snapshot = trader.reconcile()
    assert "TradesHistory" in trader.calls and missed <= set(snapshot.fills["order_id"].tolist())


@pytest.mark.parametrize("newest", ["booked", "of a pair that is not traded"])
def test_fills_are_paged_back_until_an_old_one_is_booked(newest: str) -> None:
    fills = {f"T{n:05d}-AAAAA-AAAAAA": {"pair": "XXBTZUSD", "ordertxid": "O", "time": 1000.0 - n} for n in range(120)}
    if newest != "booked":
        fills["T00000-AAAAA-AAAAAA"]["pair"] = "XETHZUSD"
    booked = {bits_of("T00000-AAAAA-AAAAAA")} if newest == "booked" else set()
    asked = Reconciliation(np.zeros(1, INSTRUMENT), {"XXBTZUSD": 0}, lambda row, trade_id: trade_id in booked, 0, None)
    waiting, pages = asked.begin(), 0
    while waiting:
        query = waiting.pop(0)
        answer: dict[str, Any] = {"open": {}}
        if query.what == "fills":
            pages += 1
            first = int(query.fields["ofs"])
            answer = {"trades": dict(list(fills.items())[first : first + PAGE])}
        waiting += asked.take(query, answer, 0) if query.what in ("open", "fills") else []
    assert pages == 3


def test_a_reconciliation_that_waits_for_the_counter_is_gone_on_with_when_it_is_asked_for_again() -> None:
    trader = connected()
    trader.reconcile()
    account, driver = trader.account, trader.driver
    trader.calls.clear()
    account._budget.refused(driver.now_ns)
    for _ in range(30):
        trader._say(account.reconcile(nothing_booked, driver.now_ns, driver.utc_ns))
        trader.run(1)
        if account.snapshot is not None:
            break
    assert account.snapshot is not None and trader.calls == ["OpenOrders", "TradesHistory", "BalanceEx"]


@pytest.mark.parametrize("complete", [False, True])
def test_a_reconciliation_says_nothing_of_the_next_connection(complete: bool) -> None:
    trader = connected()
    trader.reconcile()
    if not complete:
        trader.account._budget.refused(trader.driver.now_ns)
        trader._say(trader.account.reconcile(nothing_booked, trader.driver.now_ns, trader.driver.utc_ns))
    trader.calls.clear()
    trader.disconnect()
    trader.run(30)
    assert trader.account.snapshot is None and "OpenOrders" not in trader.calls


def test_a_fill_long_before_the_newest_that_was_missed_is_not_forgotten() -> None:
    trader = connected()
    trader.reconcile()
    takes(trader)
    trader.deaf = True
    (early,) = takes(trader)
    trader.run(2 * OVERLAP_NS / SECOND_NS)
    (late,) = takes(trader)
    trader.disconnect()
    trader.deaf = False
    for _ in range(2):
        trader.connect()
        assert {early, late} <= set(trader.reconcile().fills["order_id"].tolist())
        trader.codec.private.words[NEWEST_FILL_NS] = 0
        trader.disconnect()


def test_a_message_lost_from_the_sequence_ends_the_connection() -> None:
    trader = connected()
    order_id = resting(trader)
    trader.deaf = True
    trader.private("CancelOrder", cl_ord_id=client_id(order_id))
    trader.run(0.1)
    trader.deaf = False
    assert not trader.account.shutdown
    resting(trader)
    assert trader.codec.private.words[LOST_MESSAGES] > 0 and trader.account.shutdown


def test_the_timer_of_the_venue_is_set_again_and_again() -> None:
    trader = connected()
    order_id = resting(trader)
    trader.run(2 * DEAD_MAN_S)
    assert venue_orders(trader), "an engine that lives keeps its orders"
    trader.account.keep_armed = lambda now_ns: []  # type: ignore[method-assign]
    trader.run(DEAD_MAN_S + 1)
    assert venue_orders(trader) == [] and trader.of(order_id)[-1] == ("CANCELED", 0), "one that died loses them"


def test_a_key_that_is_refused_is_fatal_and_a_venue_that_is_down_is_not() -> None:
    made = new_codec(instruments(), ["BTC/USD"], [0])
    for error, fatal in (("EAPI:Invalid key", True), ("EService:Unavailable", False), ("EAPI:Invalid nonce", False)):
        account = KrakenAccount(Credentials("key", b"c2VjcmV0"), made, ["BTC/USD"], [0], "ws://sim")
        (call,) = account.prepare(1, 1)
        assert isinstance(call, Call)
        account.answer(call.tag, 200, json.dumps({"error": [error]}).encode(), 2, 2)
        assert bool(account.fatal) == fatal
        assert bool(account.tick(3 * SECOND_NS, 3)) != fatal, "asked again unless that is of no use"


def test_a_subscription_that_is_not_answered_ends_the_connection() -> None:
    trader = Trader()
    trader.driver.run(1)
    trader._say(trader.account.prepare(trader.driver.now_ns, trader.driver.utc_ns))
    trader.deaf = True
    trader.session = trader.driver.open()
    trader._say(trader.account.hello(trader.driver.now_ns, trader.driver.utc_ns))
    trader.run(HANDSHAKE_NS / SECOND_NS - 0.2)
    assert not trader.account.shutdown
    trader.run(0.4)
    assert trader.account.shutdown and not trader.account.ready


def test_the_venues_clock_is_known_from_its_pongs() -> None:
    trader = connected()
    trader.run(16)
    assert abs(trader.account.clock_offset_ns) <= 25_000_000
    trader.driver.fault(kind="clock_skew", skew_ms=250)
    trader.run(16 * 9)
    assert abs(trader.account.clock_offset_ns - 250_000_000) <= 25_000_000


def test_nonces_rise_though_the_clock_does_not() -> None:
    trader = connected()
    nonces = []
    for _ in range(3):
        (call,) = trader.account.query(EPOCH << 40 | 900 + len(nonces), 0, trader.driver.now_ns, 5)
        assert isinstance(call, Call)
        nonces.append(int(call.body.split(b"nonce=")[1].split(b"&")[0]))
        trader.account.answer(call.tag, 500, b"", trader.driver.now_ns, 5)
    assert nonces == sorted(set(nonces))


def test_one_question_is_under_way_at_a_time_so_that_nonces_arrive_in_order() -> None:
    trader = connected()
    account, now_ns, utc_ns = trader.account, trader.driver.now_ns, trader.driver.utc_ns
    account._streamed = None
    said = account.reconcile(nothing_booked, now_ns, utc_ns)
    for method in ("OpenOrders", "TradesHistory", "BalanceEx"):
        (call,) = said
        assert isinstance(call, Call) and call.target.endswith(method)
        assert account.tick(now_ns, utc_ns) == [] and account.query(7, 0, now_ns, utc_ns) == []
        said = account.answer(call.tag, 200, b'{"error":[],"result":{"open":{},"trades":{}}}', now_ns, utc_ns)
    (call,) = said
    assert isinstance(call, Call) and call.target.endswith("QueryOrders")


def test_questions_stay_within_the_counter_of_the_key() -> None:
    budget = Budget("pro")
    assert [budget.spend(2, 0) for _ in range(8)] == [True] * 7 + [False]
    assert [budget.spend(1, 0, urgent=True) for _ in range(6)] == [True] * 5 + [False], "19 of 20"
    assert not budget.spend(1, 5 * SECOND_NS) and budget.spend(1, 6 * SECOND_NS), "1 a second"
    budget.refused(7 * SECOND_NS)
    assert not budget.spend(1, 8 * SECOND_NS - 1, urgent=True) and budget.spend(1, 8 * SECOND_NS, urgent=True)


def test_a_question_for_an_order_lets_a_reconciliation_wait_for_the_counter() -> None:
    trader = connected()
    trader.reconcile()
    account, driver = trader.account, trader.driver
    while account._budget.spend(1, driver.now_ns):
        pass
    assert account.reconcile(nothing_booked, driver.now_ns, driver.utc_ns) == []
    (call,) = account.query(7, 0, driver.now_ns, driver.utc_ns)
    assert isinstance(call, Call) and call.target.endswith("QueryOrders")


def test_what_was_let_by_for_long_is_asked_in_spite_of_all_questions() -> None:
    trader = connected()
    trader.reconcile()
    account, driver, asked = trader.account, trader.driver, []
    while account._budget.spend(1, driver.now_ns, urgent=True):
        pass
    said = account.reconcile(nothing_booked, driver.now_ns, driver.utc_ns)
    for order_id in range(1, 60):
        driver.run(0.5)
        said += account.query(order_id, 0, driver.now_ns, driver.utc_ns)
        for call in said:
            assert isinstance(call, Call)
            asked.append(call.target.rpartition("/")[2])
            said = account.answer(call.tag, 200, b'{"error":["EService:Busy"]}', driver.now_ns, driver.utc_ns)
            break
    assert "QueryOrders" in asked[:10] and "OpenOrders" in asked


def test_a_refusal_for_the_counter_costs_a_reconciliation_nothing_but_time() -> None:
    trader = connected()
    trader.reconcile()
    account, driver = trader.account, trader.driver
    methods, refused = [], iter([False, True, False, True, True, False])
    said = account.reconcile(nothing_booked, driver.now_ns, driver.utc_ns)
    for _ in range(200):
        calls, said = [each for each in said if isinstance(each, Call)], []
        for call in calls:
            methods.append(call.target.rpartition("/")[2])
            told = {"error": ["EAPI:Rate limit exceeded"]}
            if not next(refused):
                told = {"error": [], "result": {} if methods[-1] == "BalanceEx" else {"open": {}, "trades": {}}}
            body = json.dumps(told).encode()
            said = account.answer(call.tag, 200, body, driver.now_ns, driver.utc_ns)
        driver.run(0.2)
        said = [*said, *account.tick(driver.now_ns, driver.utc_ns)]
    assert account.snapshot is not None and methods == [
        "OpenOrders",
        "TradesHistory",
        "TradesHistory",
        "BalanceEx",
        "BalanceEx",
        "BalanceEx",
    ]


def test_pairs_are_known_by_each_of_their_names() -> None:
    assert {"BTC/USD", "XBT/USD", "XBTUSD", "XXBTZUSD"} <= set(pair_names("BTC/USD"))
    assert {"ETHXBT", "XETHXXBT"} <= set(pair_names("ETH/BTC")) and {"XDGUSD", "XXDGZUSD"} <= set(pair_names("DOGE/USD"))


def test_only_ids_of_our_form_are_ours() -> None:
    assert order_id_of(client_id(EPOCH << 40 | 3)) == EPOCH << 40 | 3
    assert [order_id_of(text) for text in (None, 5, "", "f" * 16, "0" * 15, "6d1b345e-2821-40", "A" * 16)] == [0] * 7


def test_ids_on_the_wire_lead_to_the_newest_order() -> None:
    trader = connected()
    first = resting(trader)
    bid, _ = trader.touch()
    second = trader.send(IntentKind.REPLACE, first, price_ticks=bid - 10_000, side=Side.BUY)
    trader.run(0.1)
    assert int(trader.live.orders.rows[int(slot_now(trader.live, first))]["order_id"]) == second
