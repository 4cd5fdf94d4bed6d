"""Coinbase feed: level 2 and orders case by case, seeded venues that it must agree with, and recorded messages."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hft.book import best_ticks, book_at, check, level_lots, worse_ticks
from hft.counters import FeedCounter
from hft.records import MARKET, InvalidReason, MarketFlag, MarketKind
from hft.venues.book_feed import LAST_ID, SHUTDOWN, SYNCED, WANTS_SYNC, republish
from hft.venues.coinbase import full as full_rule
from hft.venues.coinbase.capture import CaptureEmpty, Player, survey
from hft.venues.coinbase.feed import SNAPSHOT_WAIT_NS, new_feed, on_disconnect, on_frame, on_snapshot, on_timer
from hft.venues.coinbase.levels import WHOLE
from hft.venues.coinbase.resting import add_order, find_order, new_resting, remove_order
from hft.venues.coinbase.state import BUFFERED, ERROR_BYTES, ERRORS, MISSED_TRADES, ORDERS, STRANGE_MAKERS
from hft.websocket import Opcode
from shm.jit import JIT_ENABLED
from support import coinbase_frames as frames
from support.binance_frames import Refused
from support.coinbase_frames import MAKER, ORDER, TAKER, instruments, message
from support.naive_coinbase import Consumer, Venue
from support.scanner_fuzz import mutate

SILENCE_NS = 5_000_000_000
BIDS, ASKS = [["100.00", "1.00000000"], ["99.00", "2.00000000"]], [["101.00", "3.00000000"], ["102.00", "4.00000000"]]
STEPS = 3000 if JIT_ENABLED else 300


class Desk:
    """One feed of two products; every call returns what was published, and checks that the last of an event says so."""

    def __init__(self, channel: str = "level2_batch", levels_max: int = 1000, orders_max: int = 512) -> None:
        self.counters = np.zeros(len(FeedCounter), np.int64)
        table = instruments(rows=2)
        self.feed = new_feed(table, ["BTC-USD", "ETH-USD"], [0, 1], levels_max, SILENCE_NS, self.counters, channel, orders_max)
        self.out = np.zeros(20_000, MARKET)
        self.now_ns = 1000

    def _taken(self, taken: int) -> np.ndarray[Any, Any]:
        records = self.out[: int(taken)].copy()
        assert (records["flags"] & MarketFlag.LAST != 0).tolist() == [False] * (len(records) - 1) + [True] * (len(records) > 0)
        return records

    def frame(self, payload: bytes, opcode: int = Opcode.TEXT) -> np.ndarray[Any, Any]:
        data: Any = np.frombuffer(bytearray(payload), np.uint8)
        return self._taken(on_frame(self.feed, data, 0, len(data), int(opcode), self.now_ns, self.out))

    def snapshot(self, body: bytes, row: int = 0) -> np.ndarray[Any, Any]:
        data: Any = np.frombuffer(bytearray(body), np.uint8)
        return self._taken(on_snapshot(self.feed, row, data, 0, len(data), self.now_ns, self.out))

    def timer(self) -> np.ndarray[Any, Any]:
        return self._taken(on_timer(self.feed, self.now_ns, self.out))

    def disconnect(self) -> np.ndarray[Any, Any]:
        return self._taken(on_disconnect(self.feed, self.now_ns, self.out))

    def state(self, column: int, row: int = 0) -> int:
        return int(self.feed.state[row, column])

    def count(self, which: int) -> int:
        return int(self.counters[which])

    def book(self, row: int = 0) -> dict[tuple[int, int], int]:
        found, book = {}, book_at(self.feed.books, row)
        for side in (1, -1):
            price = best_ticks(book, side)
            while price:
                found[side, int(price)] = int(level_lots(book, side, price))
                price = worse_ticks(book, side, price)
        return found


def kinds(records: np.ndarray[Any, Any]) -> list[str]:
    return [MarketKind(kind).name for kind in records["kind"]]


def whole(bids: Any = BIDS, asks: Any = ASKS, product: str = "BTC-USD") -> bytes:
    return message("snapshot", product, bids=bids, asks=asks)


def update(*changes: tuple[str, str, str], product: str = "BTC-USD") -> bytes:
    return message("l2update", product, changes=changes)


def match(trade_id: int = 10, side: str = "sell", **members: Any) -> bytes:
    told = {"trade_id": trade_id, "maker_order_id": MAKER, "taker_order_id": TAKER, "side": side, "price": "100.50", "size": "0.5"}
    return message("match", **({"sequence": 50} | told | members))


def synced(**options: Any) -> Desk:
    desk = Desk(**options)
    assert kinds(desk.frame(whole())) == ["RESET", "LEVEL", "LEVEL", "LEVEL", "LEVEL", "VALID", "TOP"]
    return desk


def invalid(desk: Desk, records: np.ndarray[Any, Any], reason: int) -> None:
    """One INVALID for this reason was published, the book may not be used, and a whole one is wanted."""
    assert kinds(records) == ["INVALID"] and records[0]["venue_id"] == reason
    assert (desk.state(SYNCED), desk.state(WANTS_SYNC)) == (0, 1) and desk.count(FeedCounter.BOOKS_VALID) == 0


def test_changes_before_the_snapshot_are_of_no_use() -> None:
    desk = Desk()
    assert len(desk.frame(update(("buy", "100.00", "1")))) == 0
    assert desk.state(SYNCED) == 0 and desk.state(WANTS_SYNC) == 0, "the subscription brings a snapshot by itself"


def test_changes_set_absolute_sizes_and_are_closed_by_the_best_prices() -> None:
    desk = synced()
    records = desk.frame(update(("buy", "100.00", "0"), ("buy", "99.50", "5.0"), ("sell", "100.90", "6.00000000")))
    assert kinds(records) == ["LEVEL", "LEVEL", "LEVEL", "TOP"]
    top = records[-1]
    assert (top["price_ticks"], top["qty_lots"], top["ask_ticks"], top["ask_lots"]) == (9950, 500_000_000, 10_090, 600_000_000)
    assert (top["received_ns"], top["exchange_ns"]) == (1000, frames.TIME_NS)
    assert desk.book()[1, 9900] == 200_000_000 and (1, 10_000) not in desk.book()


def test_second_snapshot_replaces_the_book() -> None:
    desk = synced()
    records = desk.frame(whole([["90.00", "1"]], [["91.00", "1"]]))
    assert kinds(records) == ["RESET", "LEVEL", "LEVEL", "VALID", "TOP"] and desk.book() == {(1, 9000): 10**8, (-1, 9100): 10**8}
    assert desk.count(FeedCounter.BOOKS_VALID) == 1


def test_match_is_a_trade_of_the_other_side() -> None:
    desk = Desk()
    for side, aggressor_bought in (("sell", True), ("buy", False)):
        trade = desk.frame(match(side=side))[0]
        assert trade["kind"] == MarketKind.TRADE and bool(trade["flags"] & MarketFlag.BID) == aggressor_bought
        assert (trade["venue_id"], trade["price_ticks"], trade["qty_lots"]) == (10, 10_050, 50_000_000)
    assert len(desk.frame(match(trade_id=9, side="buy").replace(b'"match"', b'"last_match"'))) == 0, "history"


def test_ticker_is_a_quote_if_it_says_sizes() -> None:
    desk = Desk()
    records = desk.frame(frames.TICKER)
    assert kinds(records) == ["QUOTE"] and (records[0]["price_ticks"], records[0]["ask_ticks"]) == (128_504, 128_527)
    assert len(desk.frame(message("ticker", best_bid="1.00", best_ask="2.00"))) == 0
    assert desk.count(FeedCounter.MALFORMED) == 0


def test_crossed_book_is_invalid_and_wants_a_new_one() -> None:
    desk = synced()
    invalid(desk, desk.frame(update(("buy", "101.00", "1"))), InvalidReason.CROSSED)
    assert len(desk.frame(update(("buy", "101.00", "0")))) == 0, "nothing is applied to it any more"
    desk.feed.state[0, WANTS_SYNC] = 0
    assert len(desk.frame(whole([["101.00", "1"]], [["101.00", "1"]]))) == 0 and desk.state(WANTS_SYNC) == 1
    assert kinds(desk.frame(whole()))[-1] == "TOP"


@pytest.mark.parametrize(
    "frame",
    [update(("buy", "x", "1")), update(("buy", "100.001", "1")), update(("buy", "100.00", "0.-10000")), update(("buy", "1", "1"))[:-3]],
    ids=["no number", "off the tick", "the venue's own", "cut"],
)
def test_malformed_change_makes_its_book_invalid(frame: bytes) -> None:
    desk = synced()
    invalid(desk, desk.frame(frame), InvalidReason.MALFORMED)
    assert desk.count(FeedCounter.MALFORMED) == 1


@pytest.mark.parametrize("frame", [b"", b"{", b"\xff", b"[]x", b'{"type":1}', b'{"type":"l2update","changes":[]}', frames.HEARTBEAT[:-1]])
def test_frame_about_no_book_invalidates_none(frame: bytes) -> None:
    desk = synced()
    assert len(desk.frame(frame)) == 0 and desk.count(FeedCounter.MALFORMED) == 1 and desk.state(SYNCED) == 1


def test_binary_frame_is_malformed() -> None:
    desk = synced()
    assert len(desk.frame(frames.UPDATE, Opcode.BINARY)) == 0 and desk.count(FeedCounter.MALFORMED) == 1


@pytest.mark.parametrize("wrong", [[["x", "1"]], [["1.00", "0"]], [["1.00"]], [["1.00", "1", "1"]], {}], ids=str)
def test_snapshot_that_is_not_as_documented_is_not_used(wrong: Any) -> None:
    for sides in ((wrong, ASKS), (BIDS, wrong)):
        desk = synced()
        invalid(desk, desk.frame(whole(*sides)), InvalidReason.MALFORMED)


def test_refusal_of_a_subscription_is_kept_for_people() -> None:
    desk = synced()
    assert len(desk.frame(frames.ERROR)) == 0
    assert desk.feed.words[ERRORS] == 1 and desk.feed.refusal[: desk.feed.words[ERROR_BYTES]].tobytes() == frames.ERROR


def test_silence_is_that_of_a_product_heartbeats_included() -> None:
    desk = synced()
    desk.frame(whole(product="ETH-USD"))
    desk.now_ns += SILENCE_NS
    assert len(desk.timer()) == 0
    desk.frame(message("heartbeat", "ETH-USD", sequence=1, last_trade_id=0))
    desk.now_ns += 1
    records = desk.timer()
    assert kinds(records) == ["INVALID"] and (records[0]["instrument"], records[0]["venue_id"]) == (0, InvalidReason.SILENT)
    assert len(desk.timer()) == 0 and desk.state(SYNCED, 1) == 1 and desk.feed.words[SHUTDOWN] == 0
    assert desk.count(FeedCounter.HEARTBEATS) == 1


def test_connection_on_which_nothing_comes_is_replaced() -> None:
    desk = synced()
    desk.now_ns += SILENCE_NS + 1
    assert kinds(desk.timer()) == ["INVALID"] and len(desk.timer()) == 0 and desk.feed.words[SHUTDOWN] == 1
    assert len(desk.disconnect()) == 0 and desk.feed.words[SHUTDOWN] == 0


def test_trades_after_which_no_level_moves_make_the_book_invalid() -> None:
    desk = synced()
    desk.frame(match())
    for _ in range(6):
        desk.now_ns += SILENCE_NS // 6 + 1
        desk.frame(frames.HEARTBEAT)
        desk.frame(match(11))
    invalid(desk, desk.timer(), InvalidReason.SILENT)
    desk.frame(whole())
    desk.frame(match(12))
    desk.frame(update())
    desk.now_ns += SILENCE_NS + 1
    desk.frame(frames.HEARTBEAT)
    assert len(desk.timer()) == 0


def test_trades_that_heartbeats_tell_of_and_that_never_come_are_counted() -> None:
    desk = synced()
    desk.frame(match(10))
    for last, missed in ((11, 0), (11, 1), (14, 1), (14, 4)):
        desk.frame(message("heartbeat", sequence=1, last_trade_id=last))
        assert desk.state(MISSED_TRADES) == missed
    assert desk.state(SYNCED) == 1, "a lost trade says nothing of the book"


def test_whole_book_that_does_not_come_is_asked_for_again() -> None:
    desk = synced()
    desk.frame(update(("buy", "101.00", "1")))
    desk.feed.state[0, WANTS_SYNC] = 0
    desk.now_ns += SNAPSHOT_WAIT_NS
    for _ in range(2):
        desk.frame(frames.HEARTBEAT)
        desk.timer()
        assert desk.state(WANTS_SYNC) == (0 if desk.now_ns == 1000 + SNAPSHOT_WAIT_NS else 1)
        desk.now_ns += 1


def test_end_of_the_connection_makes_every_book_invalid() -> None:
    desk = synced()
    desk.frame(whole(product="ETH-USD"))
    assert [kinds(desk.disconnect()) for _ in range(3)] == [["INVALID"], ["INVALID"], []]
    assert desk.state(WANTS_SYNC) == 0 and desk.count(FeedCounter.BOOKS_VALID) == 0


def test_republished_book_is_the_book() -> None:
    desk, consumer = synced(), Consumer(1000)
    consumer.take(desk.out[: republish(desk.feed, 0, 5, desk.out)])
    assert consumer.valid and consumer.levels == desk.book()


def test_change_that_out_has_no_room_for_makes_the_book_invalid() -> None:
    desk = synced()
    desk.out = np.zeros(4, MARKET)
    invalid(desk, desk.frame(update(("buy", "98.00", "1"), ("buy", "97.00", "1"))), InvalidReason.BOOK_FULL)


def test_level_beyond_the_room_is_dropped_from_the_far_end_and_never_comes_back() -> None:
    desk = synced(levels_max=2)
    records = desk.frame(update(("buy", "99.50", "1")))
    assert [(int(r["price_ticks"]), int(r["qty_lots"])) for r in records[:-1]] == [(9900, 0), (9950, 10**8)], "first out, then in"
    assert desk.feed.bounds[0].tolist() == [9901, WHOLE]
    assert kinds(desk.frame(update(("buy", "98.00", "1"), ("buy", "99.00", "7")))) == ["TOP"], "below the bound"
    assert kinds(desk.frame(update(("buy", "99.50", "0"), ("buy", "99.00", "7"), ("buy", "99.01", "1")))) == ["LEVEL", "LEVEL", "TOP"]
    assert sorted(desk.book()) == [(-1, 10_100), (-1, 10_200), (1, 9901), (1, 10_000)]


def test_side_that_grows_thin_below_its_bound_wants_a_whole_book() -> None:
    bids = [[f"{100 - n}.00", "1"] for n in range(17)]
    desk = synced_with(whole(bids, ASKS), levels_max=16)
    assert desk.feed.bounds[0, 0] == 8401
    for n in range(14):
        assert kinds(desk.frame(update(("buy", f"{100 - n}.00", "0")))) == ["LEVEL", "TOP"]
    invalid(desk, desk.frame(update(("buy", "86.00", "0"))), InvalidReason.BOOK_FULL)


def synced_with(frame: bytes, **options: Any) -> Desk:
    desk = Desk(**options)
    assert kinds(desk.frame(frame))[-1] == "TOP"
    return desk


def prefix_of(levels: dict[tuple[int, int], int], desk: Desk) -> dict[tuple[int, int], int]:
    """The levels of a whole book that the feed should have: those down to its bounds."""
    bounds = desk.feed.bounds[0]
    return {(side, ticks): lots for (side, ticks), lots in levels.items() if ticks * side >= bounds[(1 - side) >> 1]}


@pytest.mark.parametrize("levels_max", [24, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_level_2_book_is_the_venues_down_to_its_bound_whatever_happens(seed: int, levels_max: int) -> None:
    venue, desk, consumer = Venue(seed), Desk(levels_max=levels_max), Consumer(levels_max)
    consumer.take(desk.frame(venue.snapshot()))
    resyncs = 0
    for step in range(STEPS):
        for said in venue.step()[1]:
            consumer.take(desk.frame(said))
        where = f"seed {seed} step {step}"
        if desk.state(WANTS_SYNC):
            assert consumer.reason == InvalidReason.BOOK_FULL and not consumer.valid, where
            consumer.take(desk.frame(venue.snapshot()))
            resyncs += 1
        assert desk.book() == prefix_of(venue.levels(), desk) == consumer.levels and consumer.valid, where
    assert check(book_at(desk.feed.books, 0)) == 0
    assert levels_max < 1000 or (resyncs == 0 and desk.feed.bounds[0].tolist() == [WHOLE, WHOLE])
    assert [trade for trade, _ in consumer.trades] == list(range(1, venue.trade_id + 1))


# The full channel.


def opened(sequence: int, order: str = ORDER, side: str = "buy", price: str = "100.00", size: str = "1") -> bytes:
    return message("open", sequence=sequence, order_id=order, side=side, price=price, remaining_size=size)


def done(sequence: int, order: str = ORDER, side: str = "buy") -> bytes:
    return message("done", sequence=sequence, order_id=order, side=side, reason="canceled")


def orders(sequence: int, bids: Any = (), asks: Any = ()) -> bytes:
    return json.dumps({"sequence": sequence, "bids": list(bids), "asks": list(asks), "auction_mode": False}).encode()


def full(sequence: int = 10, **options: Any) -> Desk:
    """A book of one bid at a sequence."""
    desk = Desk(channel="full", **options)
    assert kinds(desk.snapshot(orders(sequence, [["100.00", "1", ORDER]], [["101.00", "2", MAKER]])))[-1] == "TOP"
    return desk


def test_first_message_of_a_product_asks_for_its_orders_once() -> None:
    for first in (opened(5), frames.HEARTBEAT, match()):
        desk = Desk(channel="full")
        desk.frame(first)
        assert desk.state(WANTS_SYNC) == 1
        desk.feed.state[0, WANTS_SYNC] = 0
        desk.frame(opened(51))
        assert desk.state(WANTS_SYNC) == 0


def test_book_that_is_in_step_asks_for_nothing() -> None:
    desk = full()
    for said in (opened(11, TAKER), match(sequence=12), frames.HEARTBEAT):
        desk.frame(said)
        assert desk.state(SYNCED) == 1 and desk.state(WANTS_SYNC) == 0


def test_queued_messages_are_applied_on_the_snapshot_and_older_ones_dropped() -> None:
    desk = Desk(channel="full")
    for said in (opened(9, MAKER), opened(10, TAKER), done(11, TAKER), opened(12, ORDER, size="3")):
        desk.frame(said)
    assert kinds(desk.snapshot(orders(10, [["99.00", "1", TAKER], ["98.00", "1", MAKER]]))) == ["RESET", "LEVEL", "LEVEL", "VALID", "TOP"]
    assert desk.book() == {(1, 10_000): 3 * 10**8, (1, 9800): 10**8} and desk.state(LAST_ID) == 12 and desk.state(ORDERS) == 2


def test_snapshot_older_than_the_queue_is_stale_and_another_is_wanted() -> None:
    desk = Desk(channel="full")
    desk.frame(opened(12))
    desk.feed.state[0, WANTS_SYNC] = 0
    assert len(desk.snapshot(orders(10))) == 0 and desk.state(WANTS_SYNC) == 1 and desk.state(BUFFERED) == 1
    assert len(desk.snapshot(orders(11))) > 0 and desk.state(LAST_ID) == 12


def test_orders_are_asked_for_with_their_first_message_whenever_the_timer_ran() -> None:
    desk = Desk(channel="full")
    desk.frame(b'{"type":"subscriptions","channels":[]}')
    desk.timer()
    assert desk.state(WANTS_SYNC) == 0, "nothing proves that the subscription is in effect"
    desk.frame(opened(11))
    assert desk.state(WANTS_SYNC) == 1


def test_gap_inside_the_queue_asks_again() -> None:
    desk = Desk(channel="full")
    desk.frame(opened(11))
    desk.frame(opened(13, TAKER))
    desk.feed.state[0, WANTS_SYNC] = 0
    assert len(desk.snapshot(orders(10))) == 0
    assert (desk.state(WANTS_SYNC), desk.state(SYNCED), desk.count(FeedCounter.GAPS)) == (1, 0, 1)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", orders(10)[:-1], orders(10, [["100.00", "0", ORDER]]), orders(10, [["100.00", "1"]]), orders(10, [["1", "1", "x"]])]
    + [orders(10, [["100.00", "1", ORDER]] * 2), orders(10, [["101.00", "1", ORDER]], [["101.00", "1", MAKER]])],
)
def test_snapshot_of_orders_that_cannot_be_used_is_asked_for_again(body: bytes) -> None:
    desk = Desk(channel="full")
    assert len(desk.snapshot(body)) == 0 and desk.state(SYNCED) == 0 and desk.state(WANTS_SYNC) == 1


def test_gap_of_the_sequence_makes_the_book_invalid_and_what_follows_is_queued() -> None:
    desk = full()
    invalid(desk, desk.frame(opened(12, TAKER)), InvalidReason.GAP)
    assert desk.count(FeedCounter.GAPS) == 1 and desk.state(BUFFERED) == 1
    desk.feed.state[0, WANTS_SYNC] = 0
    desk.frame(done(13, TAKER))
    assert desk.state(WANTS_SYNC) == 0, "it was asked for already"
    assert len(desk.snapshot(orders(11, [["90.00", "1", ORDER]]))) > 0 and desk.book() == {(1, 9000): 10**8}


def test_message_that_is_not_new_is_dropped() -> None:
    desk = full()
    assert len(desk.frame(opened(10, TAKER))) == 0 and desk.state(LAST_ID) == 10 and desk.state(ORDERS) == 2


def test_match_takes_from_the_makers_order_in_one_event_with_its_trade() -> None:
    desk = full()
    records = desk.frame(match(sequence=11, price="101.00", size="0.5"))
    assert kinds(records) == ["TRADE", "LEVEL", "TOP"] and records[0]["flags"] == MarketFlag.BID
    assert desk.book()[-1, 10_100] == 150_000_000
    assert kinds(desk.frame(match(sequence=12, price="101.00", size="1.5"))) == ["TRADE", "LEVEL", "TOP"]
    assert desk.state(ORDERS) == 1 and len(desk.frame(done(13, MAKER, "sell"))) == 0


def test_match_behind_a_gap_is_a_trade_and_the_end_of_the_book() -> None:
    desk = full()
    records = desk.frame(match(sequence=13))
    assert kinds(records) == ["TRADE", "INVALID"] and desk.state(SYNCED) == 0


def test_match_of_a_maker_that_is_not_on_the_book_is_counted() -> None:
    desk = full()
    assert kinds(desk.frame(match(sequence=11, maker_order_id=TAKER))) == ["TRADE"] and desk.state(STRANGE_MAKERS) == 1


def test_change_sets_size_or_price_of_a_resting_order_only() -> None:
    desk = full()
    said = {"order_id": ORDER, "side": "buy", "old_size": "1"}
    assert kinds(desk.frame(message("change", sequence=11, new_size="0.25", price="100.00", **said))) == ["LEVEL", "TOP"]
    assert desk.book()[1, 10_000] == 25_000_000
    moved = message("change", sequence=12, new_size="0.5", old_price="100.00", new_price="99.00", **said)
    assert kinds(desk.frame(moved)) == ["LEVEL", "LEVEL", "TOP"] and desk.book() == {(1, 9900): 50_000_000, (-1, 10_100): 2 * 10**8}
    assert len(desk.frame(message("change", sequence=13, new_size="9", price=None, **(said | {"order_id": TAKER})))) == 0
    assert len(desk.frame(message("change", sequence=14, new_funds="9", price=None, new_size=None, **said))) == 0


def test_received_and_unknown_done_only_count_the_sequence() -> None:
    desk = full()
    assert len(desk.frame(message("received", sequence=11, order_id=TAKER, side="buy"))) == 0
    assert len(desk.frame(done(12, TAKER))) == 0 and desk.state(LAST_ID) == 12 and desk.state(SYNCED) == 1


def test_heartbeat_tells_of_a_lost_end_when_the_next_one_comes() -> None:
    desk = full()
    beat = message("heartbeat", sequence=12, last_trade_id=0)
    assert len(desk.frame(beat)) == 0, "what it tells of may be on its way"
    desk.frame(opened(11, TAKER))
    invalid(desk, desk.frame(beat), InvalidReason.GAP)
    desk = full()
    desk.frame(beat)
    desk.frame(opened(11, TAKER))
    desk.frame(done(12, TAKER))
    assert len(desk.frame(message("heartbeat", sequence=13, last_trade_id=0))) == 0 and desk.state(SYNCED) == 1


def test_more_orders_than_there_is_room_for_make_the_book_invalid() -> None:
    desk = full(orders_max=2)
    invalid(desk, desk.frame(opened(11, TAKER)), InvalidReason.BOOK_FULL)


def test_order_that_crosses_makes_the_book_invalid() -> None:
    desk = full()
    invalid(desk, desk.frame(opened(11, TAKER, price="101.00")), InvalidReason.CROSSED)


def test_queue_that_overflows_begins_again_with_the_newest(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk(channel="full")
    desk.feed.state[0, BUFFERED] = full_rule.BUFFER_EVENTS
    desk.frame(opened(20))
    assert desk.state(BUFFERED) == 1 and desk.feed.queued[0, 0, 0] == 20


@pytest.mark.parametrize("levels_max", [24, 1000])
@pytest.mark.parametrize("seed", range(4))
def test_full_book_is_the_venues_down_to_its_bound_through_lost_and_repeated_messages(seed: int, levels_max: int) -> None:
    venue, chance = Venue(seed), random.Random(seed)
    desk, consumer = Desk(channel="full", levels_max=levels_max), Consumer(levels_max)
    gaps = asked = 0
    for step in range(STEPS):
        if desk.state(WANTS_SYNC) and chance.random() < 0.3:
            asked += 1
            desk.feed.state[0, WANTS_SYNC] = 0
            consumer.take(desk.snapshot(venue.orders_snapshot()))
        for said in venue.step()[0]:
            roll = chance.random()
            if roll < 0.003:
                gaps += desk.state(SYNCED)
                continue
            for _ in range(2 if roll > 0.99 else 1):
                consumer.take(desk.frame(said))
        if chance.random() < 0.1:
            consumer.take(desk.frame(venue.heartbeat()))
        where = f"seed {seed} step {step}"
        assert consumer.valid == bool(desk.state(SYNCED)), where
        if consumer.valid and desk.state(LAST_ID) == venue.sequence:
            assert desk.book() == prefix_of(venue.levels(), desk) == consumer.levels, where
            assert desk.state(ORDERS) == len(venue.orders), where
    assert asked == desk.count(FeedCounter.RESYNCS), f"seed {seed}: every snapshot was of use"
    assert desk.count(FeedCounter.GAPS) >= gaps / 2 and desk.state(STRANGE_MAKERS) == 0
    assert desk.count(FeedCounter.RESYNCS) >= (2 if JIT_ENABLED else 1), f"seed {seed}"


@pytest.mark.parametrize("seed", range(3))
def test_resting_orders_are_found_whatever_was_removed(seed: int) -> None:
    chance, table, twin = random.Random(seed), new_resting(1, 32)[0], {}
    for step in range(4000):
        # Few different halves, so that many orders share a home.
        order = (chance.randrange(-4, 4), chance.randrange(12))
        place = find_order(table, *order)
        assert (place >= 0) == (order in twin), (seed, step)
        if place >= 0:
            assert (int(table[place, 2]), int(table[place, 3])) == twin[order], (seed, step)
            if chance.random() < 0.6:
                remove_order(table, place)
                del twin[order]
        elif len(twin) < 32:
            twin[order] = (chance.randrange(-99, 99), chance.randrange(1, 99))
            add_order(table, *order, *twin[order])
    assert all(find_order(table, *order) >= 0 for order in twin)


@pytest.mark.parametrize("orders_of", [False, True], ids=["level 2", "orders"])
def test_mutated_snapshots_are_read_exactly_or_refused(orders_of: bool) -> None:
    chance, desk = random.Random(9), Desk(channel="full" if orders_of else "level2")
    venue = Venue(2, orders=6)
    real = venue.orders_snapshot() if orders_of else venue.snapshot()
    taken = 0
    for n in range(20 * STEPS):
        mutant = mutate(real, real, chance)[:4000]
        where = f"mutant {n}: {mutant!r}"
        desk.feed.state[0, SYNCED] = 0
        records = desk.snapshot(mutant) if orders_of else desk.frame(mutant)
        if desk.state(SYNCED):
            taken += 1
            try:
                assert desk.book() == frames.book_of(mutant, desk.feed.scanner.instruments[0], orders_of), where
            except Refused as error:
                raise AssertionError(f"{where}: read, but must be refused: {error}") from error
        else:
            assert len(records) == 0, where
    assert taken > STEPS


# Recorded messages.


def payloads(path: Path) -> list[bytes]:
    lines = path.read_bytes().splitlines()
    return [line[line.find(b"{") :] for line in lines if line.startswith(b"{") or (b": {" in line and not line.startswith(b"wss"))]


def test_recorded_level_2_never_crosses_and_equals_the_tickers(recorded: Callable[[str], Path]) -> None:
    said = payloads(recorded("coinbase/level2_ticker_matches_2021.ws"))
    if not JIT_ENABLED:
        said = said[:2000]
    player = Player(survey(said))
    assert all(player.take(payload) for payload in said)
    report = player.report()
    if not JIT_ENABLED:
        assert (report["crossed"], report["refused"], report["gaps"], report["sides"]["same"]) == (0, 0, 0, 0)
        assert report["compared"] == report["equal"] > 10
        return
    assert (report["book_updates"], report["snapshots"], report["trades"], report["tickers"]) == (9719, 10, 97, 107)
    assert (report["crossed"], report["refused"], report["gaps"]) == (0, 0, 0)
    assert report["sides"] == {"opposite": 107, "same": 0}
    assert (report["compared"], report["equal"]) == (97, 97), "the other ten are of before the snapshots, or the last ones"


def test_recorded_full_channel_has_no_gap_and_one_that_is_cut_out_is_found(recorded: Callable[[str], Path]) -> None:
    said = payloads(recorded("coinbase/full_channel_2017-06-25.jsonl"))
    for skipped, gaps in ((None, 0), (5, 1)):
        player = Player(survey(said))
        assert all(player.take(payload) for n, payload in enumerate(said) if n != skipped)
        report = player.report()
        assert (report["gaps"], report["refused"], report["crossed"], report["heartbeats"]) == (gaps, 0, 0, 1)
    assert report["channel"] == "full"


def test_capture_begins_again_with_a_connection_and_refuses_what_is_none() -> None:
    venue = Venue(1)
    said = [venue.snapshot(), *(said for _ in range(50) for said in venue.step()[1])]
    player = Player(survey(said))
    assert all(player.take(payload) for payload in said) and not player.take(b"{")
    player.connects()
    assert player.take(said[-1]) and player.report()["refused"] == 1 and player.report()["symbols"]["BTC-USD"]["bids"] > 0
    with pytest.raises(CaptureEmpty):
        survey([b"{}", b"x", b"[]"])


def test_feed_of_a_channel_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="level3"):
        new_feed(instruments(), ["BTC-USD"], [0], 10, 0, np.zeros(64, np.int64), "level3")
